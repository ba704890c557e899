// q3_K: 32 bytes of third bits (as q5_K's fifth), 64 bytes of 2-bit levels, 12 bytes of 6-bit scales, d f16. (quantize_row_q3_K_ref)
// Of 128 elements, level byte l holds l, l + 32, l + 64 and l + 96.

// Of codes s of the scales, plus 32, and the levels of the search
INLINE void q3_k_superblock(const float *x, uint16_t d, const uint8_t *s, uint8_t *level, uint8_t *y) {
    uint8_t *codes = y + 96;
    for (int j = 0; j < 8; j++) codes[j] = (uint8_t)((s[j] & 15) | s[j + 8] << 4);
    for (int j = 0; j < 4; j++) codes[8 + j] = (uint8_t)(s[j] >> 4 | s[j + 4] >> 4 << 2 | s[j + 8] >> 4 << 4 | s[j + 12] >> 4 << 6);
    store16(y + 108, d);
    for (int j = 0; j < 16; j++) {
        float scale = widen(d) * (float)(s[j] - 32);
        if (scale == 0.0f) continue;            // the levels of the search stand
        for (int i = 16 * j; i < 16 * j + 16; i += LANES) store_bytes(level + i, clamp(nearest_lanes(load(x + i) / scale), -4, 3) + 4);
    }
    pack_bits(level, 2, y);
    pack_fours(level, y + 32);
}

// The scale of the largest magnitude gets the code -32.
INLINE void q3_k_superblock_by_largest(const float *x, const struct found *found, uint8_t *level, uint8_t *y) {
    float value = 0, magnitude = 0;
    for (int j = 0; j < 16; j++) {
        float a = __builtin_fabsf(found[j].scale);
        if (a > magnitude) { magnitude = a; value = found[j].scale; }
    }
    uint8_t s[16] = {0};
    uint16_t d = 0;
    if (value != 0.0f) {
        float to_code = -32.0f / value;
        d = half_of(1 / to_code);
        for (int j = 0; j < 16; j++) {
            int code = (int8_t)nearest(to_code * found[j].scale);
            s[j] = (uint8_t)((code < -32 ? -32 : code > 31 ? 31 : code) + 32);
        }
    }
    for (int j = 0; j < 16; j++)
        if (found[j].flat) memset(level + 16 * j, 0, 16);
    q3_k_superblock(x, d, s, level, y);
}

static void q3_k_pack(const float *x, int blocks, uint8_t *y) {
    struct found found[CHUNK / 16];
    uint8_t level[CHUNK];
    for (int j = 0; j < 16 * blocks; j += LANES) search_descent(x + 16 * j, 4, found + j, level + 16 * j);
    for (int b = 0; b < blocks; b++) q3_k_superblock_by_largest(x + 256 * b, found + 16 * b, level + 256 * b, y + 110 * b);
}

// (quantize_row_q3_K_impl)
static void q3_k_pack_weighted(const float *x, const float *w, int blocks, uint8_t *y) {
    struct found found[CHUNK / 16];
    for (int j = 0; j < 16 * blocks; j += LANES) search_symmetric(x + 16 * j, w + 16 * j, 16, 4, found + j);
    // one super-block to a lane: there are 4, as many as the lanes of the narrowest vectors
    float scale[16][LANES] = {0}, weight[16][LANES] = {0};
    vf scales[16], weights[16];
    for (int j = 0; j < 16; j++) {
        for (int b = 0; b < blocks; b++) { scale[j][b] = found[16 * b + j].scale; weight[j][b] = found[16 * b + j].weight; }
        scales[j] = load(scale[j]); weights[j] = load(weight[j]);
    }
    struct symmetric super = search_symmetric_columns(scales, weights, 16, 32, 1);
    uint32_t flat = lane_bits(super.flat);
    for (int b = 0; b < blocks; b++, x += 256, y += 110) {
        uint8_t s[16] = {0}, level[256];
        for (int j = 0; j < 16; j++) {
            int code = nearest(super.inverse[b] * scale[j][b]);
            if (!(flat >> b & 1)) s[j] = (uint8_t)((code < -32 ? -32 : code > 31 ? 31 : code) + 32);
            symmetric_levels_found(x + 16 * j, 16, 4, found + 16 * b + j, level + 16 * j);
        }
        q3_k_superblock(x, half_of(super.scale[b]), s, level, y);
    }
}

static void q3_k_unpack(const uint8_t *y, float *x) {
    const uint8_t *codes = y + 96;
    for (int j = 0; j < 16; j++) {
        int code = (codes[j % 8] >> j / 8 * 4 & 15) | (codes[8 + j % 4] >> j / 4 * 2 & 3) << 4;
        float scale = load_half(y + 108) * (float)(code - 32);
        const uint8_t *low = y + 32 + j / 8 * 32 + j % 2 * 16, *third = y + j % 2 * 16;
        for (int i = 0; i < 16; i++) {
            int level = (low[i] >> j % 8 / 2 * 2 & 3) | (third[i] >> j / 2 & 1) << 2;
            x[16 * j + i] = scale * (float)(level - 4);
        }
    }
}
