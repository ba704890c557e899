// q3_K: 32 bytes of third bits (as q5_K's fifth), 64 bytes of 2-bit levels, 12 bytes of 6-bit scales, d f16. (quantize_row_q3_K_ref)
// Of 128 elements, level byte l holds l, l + 32, l + 64 and l + 96.

INLINE void q3_k_superblock(const float *x, const struct found *found, uint8_t *level, uint8_t *y) {
    float value = 0, magnitude = 0;
    for (int j = 0; j < 16; j++) {
        float a = __builtin_fabsf(found[j].scale);
        if (a > magnitude) { magnitude = a; value = found[j].scale; }
    }
    uint8_t s[16] = {0}, *codes = y + 96;
    uint16_t d = 0;
    if (value != 0.0f) {
        float to_code = -32.0f / value;
        d = half_of(1 / to_code);
        for (int j = 0; j < 16; j++) {
            int code = (int8_t)nearest(to_code * found[j].scale);
            s[j] = (uint8_t)((code < -32 ? -32 : code > 31 ? 31 : code) + 32);
        }
    }
    for (int j = 0; j < 8; j++) codes[j] = (uint8_t)((s[j] & 15) | s[j + 8] << 4);
    for (int j = 0; j < 4; j++) codes[8 + j] = (uint8_t)(s[j] >> 4 | s[j + 4] >> 4 << 2 | s[j + 8] >> 4 << 4 | s[j + 12] >> 4 << 6);
    store16(y + 108, d);
    for (int j = 0; j < 16; j++, level += 16) {
        float scale = widen(d) * (float)(s[j] - 32);
        if (scale != 0.0f)                      // a scale of 0 keeps the levels of the search
            for (int i = 0; i < 16; i += LANES) store_bytes(level + i, clamp(nearest_lanes(load(x + 16 * j + i) / scale), -4, 3) + 4);
        else if (found[j].flat) memset(level, 0, 16);
    }
    level -= 256;
    pack_bits(level, 2, y);
    pack_fours(level, y + 32);
}

static void q3_k_pack(const float *x, int blocks, uint8_t *y) {
    struct found found[CHUNK / 16];
    uint8_t level[CHUNK];
    for (int j = 0; j < 16 * blocks; j += LANES) search_descent(x + 16 * j, 4, found + j, level + 16 * j);
    for (int b = 0; b < blocks; b++) q3_k_superblock(x + 256 * b, found + 16 * b, level + 256 * b, y + 110 * b);
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
