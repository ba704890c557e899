// q5_1: d, minimum f16, u32 of fifth bits (bit j of level j), 16 bytes of low nibbles as in q4_0. (quantize_row_q5_1_ref)

static void q5_1_pack(const float *x, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks -= LANES, x += 32 * LANES) {
        vf low, range;
        low_and_range(x, &low, &range);
        vf d = range / 31.0f, id = inverse(d);
        uint8_t half[2 * LANES], half_low[2 * LANES];
        store_halves(half, d);
        store_halves(half_low, low);
        for (int k = 0; k < LANES && k < blocks; k++, y += 24) {
            uint32_t fifth = 0;
            for (int i = 0; i < 16; i += LANES) {       // unlike q4_1, no clamp
                vi a = truncated((load(x + 32 * k + i) - low[k]) * id[k] + 0.5f);
                vi b = truncated((load(x + 32 * k + 16 + i) - low[k]) * id[k] + 0.5f);
                fifth |= sign_bits(a << 27) << i | sign_bits(b << 27) << (i + 16);
                store_bytes(y + 8 + i, (a & 15) | b << 4);
            }
            memcpy(y, half + 2 * k, 2);
            memcpy(y + 2, half_low + 2 * k, 2);
            memcpy(y + 4, &fifth, 4);
        }
    }
}

// (quantize_row_q5_1_impl)
static void q5_1_pack_weighted(const float *x, const float *w, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks -= TOGETHER * LANES, x += 32 * TOGETHER * LANES, w += 32 * TOGETHER * LANES) {
        struct found found[TOGETHER * LANES];
        search_affine(x, w, WEIGHTED_AFFINE(32, 31), found);
        for (int k = 0; k < TOGETHER * LANES && k < blocks; k++, y += 24) {
            uint8_t level[32];
            affine_levels_found(x + 32 * k, 32, 31, found + k, level);
            store16(y, half_of(found[k].scale));
            store16(y + 2, half_of(-found[k].min));
            pack_fifth_and_nibbles(level, y + 4);
        }
    }
}

static void q5_1_unpack(const uint8_t *y, float *x) {
    float d = load_half(y), low = load_half(y + 2);
    uint32_t fifth;
    memcpy(&fifth, y + 4, 4);
    for (int i = 0; i < 16; i++) {
        x[i] = (float)((y[8 + i] & 15) | (int)(fifth >> i & 1) << 4) * d + low;
        x[i + 16] = (float)(y[8 + i] >> 4 | (int)(fifth >> (i + 16) & 1) << 4) * d + low;
    }
}
