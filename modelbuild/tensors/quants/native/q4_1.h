// q4_1: d, minimum f16, 16 bytes with level j in the low and level j + 16 in the high nibble. (quantize_row_q4_1_ref)

static void q4_1_pack(const float *x, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks -= LANES, x += 32 * LANES) {
        vf low, range;
        low_and_range(x, &low, &range);
        vf d = range / 15.0f, id = inverse(d);
        uint8_t half[2 * LANES], half_low[2 * LANES];
        store_halves(half, d);
        store_halves(half_low, low);
        for (int k = 0; k < LANES && k < blocks; k++, y += 20) {
            memcpy(y, half + 2 * k, 2);
            memcpy(y + 2, half_low + 2 * k, 2);
            for (int i = 0; i < 16; i += LANES) {
                vi a = smaller_int(truncated((load(x + 32 * k + i) - low[k]) * id[k] + 0.5f), (vi){0} + 15);
                vi b = smaller_int(truncated((load(x + 32 * k + 16 + i) - low[k]) * id[k] + 0.5f), (vi){0} + 15);
                store_bytes(y + 4 + i, a | b << 4);
            }
        }
    }
}

// (quantize_row_q4_1_impl)
static void q4_1_pack_weighted(const float *x, const float *w, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks -= TOGETHER * LANES, x += 32 * TOGETHER * LANES, w += 32 * TOGETHER * LANES) {
        struct found found[TOGETHER * LANES];
        search_affine(x, w, WEIGHTED_AFFINE(32, 15), found);
        for (int k = 0; k < TOGETHER * LANES && k < blocks; k++, y += 20) {
            uint8_t level[32];
            affine_levels_found(x + 32 * k, 32, 15, found + k, level);
            store16(y, half_of(found[k].scale));
            store16(y + 2, half_of(-found[k].min));
            pack_nibbles(level, y + 4);
        }
    }
}

static void q4_1_unpack(const uint8_t *y, float *x) {
    float d = load_half(y), low = load_half(y + 2);
    for (int i = 0; i < 16; i++) {
        x[i] = (float)(y[4 + i] & 15) * d + low;
        x[i + 16] = (float)(y[4 + i] >> 4) * d + low;
    }
}
