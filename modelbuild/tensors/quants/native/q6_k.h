// q6_K: 128 bytes of low nibbles, 64 of upper bits, 16 scales i8, d f16. (quantize_row_q6_K_ref)
// Of 128 elements, low byte l holds l and l + 64, for l < 64; upper byte l holds l, l + 32, l + 64 and l + 96.

INLINE void q6_k_superblock(const float *x, const struct found *found, uint8_t *y) {
    float value = 0, magnitude = 0;
    for (int j = 0; j < 16; j++) {
        float a = __builtin_fabsf(found[j].scale);
        if (a > magnitude) { magnitude = a; value = found[j].scale; }
    }
    if (magnitude < 1e-15f) {
        memset(y, 0, 210);
        return;
    }
    float to_code = -128.0f / value;
    uint16_t d = half_of(1 / to_code);
    store16(y + 208, d);
    uint8_t level[256];
    for (int j = 0; j < 16; j++) {
        int code = nearest(to_code * found[j].scale);
        code = (int8_t)(code > 127 ? 127 : code);
        y[192 + j] = (uint8_t)code;
        float scale = widen(d) * (float)code;
        for (int i = 0; i < 16; i += LANES) {
            vf v = load(x + 16 * j + i);
            v = scale != 0.0f ? v / scale : found[j].inverse * v;       // a scale of 0 keeps the levels of the search
            vi l = clamp(nearest_lanes(v), -32, 31) + 32;
            if (scale == 0.0f && found[j].flat) l = (vi){0};
            store_bytes(level + 16 * j + i, l);
        }
    }
    for (int h = 0; h < 2; h++) {
        const uint8_t *e = level + 128 * h;
        for (int l = 0; l < 64; l++) y[64 * h + l] = (uint8_t)((e[l] & 15) | e[l + 64] << 4);
        for (int l = 0; l < 32; l++)
            y[128 + 32 * h + l] = (uint8_t)(e[l] >> 4 | e[l + 32] >> 4 << 2 | e[l + 64] >> 4 << 4 | e[l + 96] >> 4 << 6);
    }
}

static void q6_k_pack(const float *x, int blocks, uint8_t *y) {
    struct found found[CHUNK / 16];
    for (int j = 0; j < 16 * blocks; j += LANES) search_symmetric(x + 16 * j, NULL, 16, 32, found + j);
    for (int b = 0; b < blocks; b++) q6_k_superblock(x + 256 * b, found + 16 * b, y + 210 * b);
}

// (quantize_row_q6_K_impl)
static void q6_k_pack_weighted(const float *x, const float *w, int blocks, uint8_t *y) {
    struct found found[CHUNK / 16];
    for (int j = 0; j < 16 * blocks; j += LANES) search_symmetric(x + 16 * j, w + 16 * j, 16, 32, found + j);
    for (int b = 0; b < blocks; b++) q6_k_superblock(x + 256 * b, found + 16 * b, y + 210 * b);
}

static void q6_k_unpack(const uint8_t *y, float *x) {
    for (int j = 0; j < 16; j++) {
        int h = j / 8, first = j % 8 * 16;
        float scale = load_half(y + 208) * (float)(int8_t)y[192 + j];
        const uint8_t *low = y + 64 * h + first % 64, *high = y + 128 + 32 * h + first % 32;
        for (int i = 0; i < 16; i++) {
            int level = (low[i] >> first / 64 * 4 & 15) | (high[i] >> first / 32 * 2 & 3) << 4;
            x[16 * j + i] = scale * (float)(level - 32);
        }
    }
}
