// q5_0: d f16, u32 of fifth bits (bit j of level j), 16 bytes of low nibbles as in q4_0. (quantize_row_q5_0_ref)

static void q5_0_pack(const float *x, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks -= LANES, x += 32 * LANES) {
        vf d = first_absmax(x) / -16.0f, id = inverse(d);
        uint8_t half[2 * LANES];
        store_halves(half, d);
        for (int k = 0; k < LANES && k < blocks; k++, y += 22) {
            uint32_t fifth = 0;
            for (int i = 0; i < 16; i += LANES) {
                vi a = smaller_int(truncated(load(x + 32 * k + i) * id[k] + 16.5f), (vi){0} + 31);
                vi b = smaller_int(truncated(load(x + 32 * k + 16 + i) * id[k] + 16.5f), (vi){0} + 31);
                fifth |= sign_bits(a << 27) << i | sign_bits(b << 27) << (i + 16);
                store_bytes(y + 6 + i, (a & 15) | b << 4);
            }
            memcpy(y, half + 2 * k, 2);
            memcpy(y + 2, &fifth, 4);
        }
    }
}

// (quantize_row_q5_0_impl)
static void q5_0_pack_weighted(const float *x, const float *w, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks -= LANES, x += 32 * LANES, w += 32 * LANES) {
        struct found found[LANES];
        search_symmetric(x, w, 32, 16, found);
        for (int k = 0; k < LANES && k < blocks; k++, y += 22) {
            uint8_t level[32];
            symmetric_levels_found(x + 32 * k, 32, 16, found + k, level);
            store16(y, half_of(found[k].scale));
            pack_fifth_and_nibbles(level, y + 2);
        }
    }
}

static void q5_0_unpack(const uint8_t *y, float *x) {
    float d = load_half(y);
    uint32_t fifth;
    memcpy(&fifth, y + 2, 4);
    for (int i = 0; i < 16; i++) {
        x[i] = (float)(((y[6 + i] & 15) | (int)(fifth >> i & 1) << 4) - 16) * d;
        x[i + 16] = (float)((y[6 + i] >> 4 | (int)(fifth >> (i + 16) & 1) << 4) - 16) * d;
    }
}
