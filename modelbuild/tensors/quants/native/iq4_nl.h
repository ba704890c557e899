// iq4_nl: d f16, 16 bytes of nibbles as in q4_0. (quantize_row_iq4_nl_impl with blocks of 32)

INLINE void iq4_nl_blocks(const float *x, const float *w, int blocks, uint8_t *y) {
    for (int first = 0; first < blocks; first += LANES, x += 32 * LANES) {
        vf scale = search_uneven(x, w ? w + 32 * first : NULL), g = inverse(scale);
        uint8_t half[2 * LANES];
        store_halves(half, scale);
        for (int k = 0; k < LANES && first + k < blocks; k++, y += 18) {
            memcpy(y, half + 2 * k, 2);
            uneven_nibbles(x + 32 * k, g[k], y + 2);
        }
    }
}

static void iq4_nl_pack(const float *x, int blocks, uint8_t *y) { iq4_nl_blocks(x, NULL, blocks, y); }
static void iq4_nl_pack_weighted(const float *x, const float *w, int blocks, uint8_t *y) { iq4_nl_blocks(x, w, blocks, y); }

static void iq4_nl_unpack(const uint8_t *y, float *x) { uneven_values(y + 2, load_half(y), x); }
