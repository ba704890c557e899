// q4_K: d, dmin f16, 12 bytes of 6-bit scales and mins, 128 bytes of levels: of 64 elements, byte l holds l and l + 32. (quantize_row_q4_K_ref)

static void q4_k_pack(const float *x, int blocks, uint8_t *y) {
    struct found found[CHUNK / 32];
    for (int j = 0; j < 8 * blocks; j += TOGETHER * LANES)
        search_affine(x + 32 * j, NULL, (struct affine){32, 15, -1.0f, 0.1f, 20, 0}, found + j);
    for (int b = 0; b < blocks; b++, x += 256, y += 144) {
        uint8_t level[256];
        affine_superblock_by_largest(x, 15, found + 8 * b, y, level);
        pack_pairs(level, y + 16);
    }
}

// (quantize_row_q4_K_impl)
static void q4_k_pack_weighted(const float *x, const float *w, int blocks, uint8_t *y) {
    struct found found[CHUNK / 32];
    struct super super[CHUNK / 256];
    for (int j = 0; j < 8 * blocks; j += TOGETHER * LANES) search_affine(x + 32 * j, w + 32 * j, WEIGHTED_AFFINE(32, 15), found + j);
    search_supers(found, blocks, 8, 63, super);
    for (int b = 0; b < blocks; b++, x += 256, y += 144) {
        uint8_t *s = super[b].s, *m = super[b].m;
        for (int j = 0; j < 4; j++) {           // no clamp: bits 6 and 7 of code j meet those of code j + 4, which are packed there
            s[j + 4] = (uint8_t)((s[j + 4] & 63) | s[j] >> 6 << 4); s[j] &= 63;
            m[j + 4] = (uint8_t)((m[j + 4] & 63) | m[j] >> 6 << 4); m[j] &= 63;
        }
        uint8_t level[256];
        affine_superblock(x, 15, found + 8 * b, half_of(super[b].d), half_of(super[b].dmin), s, m, y, level);
        pack_pairs(level, y + 16);
    }
}

static void q4_k_unpack(const uint8_t *y, float *x) {
    for (int j = 0; j < 8; j++) {
        float d, m;
        affine_scale(y, j, &d, &m);
        for (int l = 0; l < 32; l++) x[32 * j + l] = d * (float)(y[16 + j / 2 * 32 + l] >> j % 2 * 4 & 15) - m;
    }
}
