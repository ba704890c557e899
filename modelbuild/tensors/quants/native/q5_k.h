// q5_K: as q4_K, with 32 bytes of fifth bits before the others: element i is bit i / 32 of byte i % 32. (quantize_row_q5_K_ref)

static void q5_k_pack(const float *x, int blocks, uint8_t *y) {
    struct found found[CHUNK / 32];
    for (int j = 0; j < 8 * blocks; j += TOGETHER * LANES)
        search_affine(x + 32 * j, NULL, (struct affine){32, 31, -0.5f, 0.1f, 15, 0}, found + j);
    for (int b = 0; b < blocks; b++, x += 256, y += 176) {
        uint8_t level[256];
        affine_superblock_by_largest(x, 31, found + 8 * b, y, level);
        pack_bits(level, 4, y + 16);
        pack_pairs(level, y + 48);
    }
}

// (quantize_row_q5_K_impl)
static void q5_k_pack_weighted(const float *x, const float *w, int blocks, uint8_t *y) {
    struct found found[CHUNK / 32];
    struct super super[CHUNK / 256];
    for (int j = 0; j < 8 * blocks; j += TOGETHER * LANES) search_affine(x + 32 * j, w + 32 * j, WEIGHTED_AFFINE(32, 31), found + j);
    search_supers(found, blocks, 8, 63, super);
    for (int b = 0; b < blocks; b++, x += 256, y += 176) {
        uint8_t *s = super[b].s, *m = super[b].m;
        for (int j = 0; j < 8; j++) {
            if (s[j] > 63) s[j] = 63;
            if (m[j] > 63) m[j] = 63;
        }
        uint8_t level[256];
        affine_superblock(x, 31, found + 8 * b, half_of(super[b].d), half_of(super[b].dmin), s, m, y, level);
        pack_bits(level, 4, y + 16);
        pack_pairs(level, y + 48);
    }
}

static void q5_k_unpack(const uint8_t *y, float *x) {
    for (int j = 0; j < 8; j++) {
        float d, m;
        affine_scale(y, j, &d, &m);
        for (int l = 0; l < 32; l++) {
            int level = (y[48 + j / 2 * 32 + l] >> j % 2 * 4 & 15) | (y[16 + l] >> j & 1) << 4;
            x[32 * j + l] = d * (float)level - m;
        }
    }
}
