// q4_0: d f16, 16 bytes with level j in the low and level j + 16 in the high nibble. (quantize_row_q4_0_ref)

static void q4_0_pack(const float *x, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks -= LANES, x += 32 * LANES) {
        vf d = first_absmax(x) / -8.0f, id = inverse(d);
        uint8_t half[2 * LANES];
        store_halves(half, d);
        for (int k = 0; k < LANES && k < blocks; k++, y += 18) {
            memcpy(y, half + 2 * k, 2);
            for (int i = 0; i < 16; i += LANES) {
                vi a = smaller_int(truncated(load(x + 32 * k + i) * id[k] + 8.5f), (vi){0} + 15);
                vi b = smaller_int(truncated(load(x + 32 * k + 16 + i) * id[k] + 8.5f), (vi){0} + 15);
                store_bytes(y + 2 + i, a | b << 4);
            }
        }
    }
}

// (quantize_row_q4_0_impl)
static void q4_0_pack_weighted(const float *x, const float *w, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks -= LANES, x += 32 * LANES, w += 32 * LANES) {
        struct found found[LANES];
        search_symmetric(x, w, 32, 8, found);
        for (int k = 0; k < LANES && k < blocks; k++, y += 18) {
            uint8_t level[32];
            symmetric_levels_found(x + 32 * k, 32, 8, found + k, level);
            store16(y, half_of(found[k].scale));
            pack_nibbles(level, y + 2);
        }
    }
}

static void q4_0_unpack(const uint8_t *y, float *x) {
    float d = load_half(y);
    for (int i = 0; i < 16; i++) {
        x[i] = (float)((y[2 + i] & 15) - 8) * d;
        x[i + 16] = (float)((y[2 + i] >> 4) - 8) * d;
    }
}
