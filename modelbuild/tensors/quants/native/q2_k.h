// q2_K: 16 bytes of 4-bit scales (low) and mins (high), 64 bytes of 2-bit levels as in q3_K, d, dmin f16. (quantize_row_q2_K_ref)

static void q2_k_pack(const float *x, int blocks, uint8_t *y) {
    struct found found[CHUNK / 16];
    for (int j = 0; j < 16 * blocks; j += TOGETHER * LANES)
        search_affine(x + 16 * j, NULL, (struct affine){16, 3, -0.5f, 0.1f, 15, 1}, found + j);
    for (int b = 0; b < blocks; b++, x += 256, y += 84) {
        const struct found *sub = found + 16 * b;
        float top_scale = 0, top_min = 0;
        for (int j = 0; j < 16; j++) {
            if (sub[j].scale > top_scale) top_scale = sub[j].scale;
            if (sub[j].min > top_min) top_min = sub[j].min;
        }
        float to_scale = 15.0f / top_scale, to_min = 15.0f / top_min;
        uint16_t d = top_scale > 0 ? half_of(top_scale / 15.0f) : 0, dmin = top_min > 0 ? half_of(top_min / 15.0f) : 0;
        store16(y + 80, d);
        store16(y + 82, dmin);
        uint8_t level[256];
        for (int j = 0; j < 16; j++) {
            int s = top_scale > 0 ? nearest(to_scale * sub[j].scale) : 0, m = top_min > 0 ? nearest(to_min * sub[j].min) : 0;
            y[j] = (uint8_t)(s | m * 16);
            affine_levels(x + 16 * j, 16, 3, widen(d) * (float)(y[j] & 15), widen(dmin) * (float)(y[j] >> 4), sub + j, level + 16 * j);
        }
        pack_fours(level, y + 16);
    }
}

// (quantize_row_q2_K_impl)
static void q2_k_pack_weighted(const float *x, const float *w, int blocks, uint8_t *y) {
    struct found found[CHUNK / 16];
    struct super super[CHUNK / 256];
    for (int j = 0; j < 16 * blocks; j += TOGETHER * LANES) search_affine(x + 16 * j, w + 16 * j, WEIGHTED_AFFINE(16, 3), found + j);
    search_supers(found, blocks, 16, 15, super);
    for (int b = 0; b < blocks; b++, x += 256, y += 84) {
        uint16_t d = half_of(super[b].d), dmin = half_of(super[b].dmin);
        uint8_t level[256];
        store16(y + 80, d);
        store16(y + 82, dmin);
        for (int j = 0; j < 16; j++) {
            y[j] = (uint8_t)(super[b].s[j] | super[b].m[j] << 4);
            affine_levels(x + 16 * j, 16, 3, widen(d) * (float)(y[j] & 15), widen(dmin) * (float)(y[j] >> 4), found + 16 * b + j, level + 16 * j);
        }
        pack_fours(level, y + 16);
    }
}

static void q2_k_unpack(const uint8_t *y, float *x) {
    float d = load_half(y + 80), dmin = load_half(y + 82);
    for (int j = 0; j < 16; j++) {
        float scale = d * (float)(y[j] & 15), min = dmin * (float)(y[j] >> 4);
        const uint8_t *levels = y + 16 + j / 8 * 32 + j % 2 * 16;
        for (int i = 0; i < 16; i++) x[16 * j + i] = scale * (float)(levels[i] >> j % 8 / 2 * 2 & 3) - min;
    }
}
