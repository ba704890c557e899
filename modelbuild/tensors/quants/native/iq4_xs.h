// iq4_xs: d f16, u16 of upper and 4 bytes of lower bits of 6-bit scales, 8 times 16 bytes of nibbles as in q4_0.
// (quantize_row_iq4_nl_impl with blocks of 256)

INLINE void iq4_xs_blocks(const float *x, const float *w, int blocks, uint8_t *y) {
    float scales[CHUNK / 32];
    for (int j = 0; j < 8 * blocks; j += LANES) store(scales + j, search_uneven(x + 32 * j, w ? w + 32 * j : NULL));
    for (int b = 0; b < blocks; b++, x += 256, y += 136) {
        const float *scale = scales + 8 * b;
        float value = 0, magnitude = 0;
        for (int j = 0; j < 8; j++) {
            float a = __builtin_fabsf(scale[j]);
            if (a > magnitude) { magnitude = a; value = scale[j]; }
        }
        float d = -value / 32, to_code = d != 0.0f ? 1 / d : 0.0f;
        store16(y, half_of(d));
        unsigned high = 0;
        for (int j = 0; j < 8; j++) {
            int code = nearest(to_code * scale[j]);
            code = code < -32 ? -32 : code > 31 ? 31 : code;
            float step = d * (float)code;
            uneven_nibbles(x + 32 * j, step != 0.0f ? 1 / step : 0.0f, y + 8 + 16 * j);
            code += 32;
            if (j % 2 == 0) y[4 + j / 2] = (uint8_t)(code & 15);
            else y[4 + j / 2] |= (uint8_t)(code << 4);
            high |= (unsigned)code >> 4 << 2 * j;
        }
        store16(y + 2, (uint16_t)high);
    }
}

static void iq4_xs_pack(const float *x, int blocks, uint8_t *y) { iq4_xs_blocks(x, NULL, blocks, y); }
static void iq4_xs_pack_weighted(const float *x, const float *w, int blocks, uint8_t *y) { iq4_xs_blocks(x, w, blocks, y); }

static void iq4_xs_unpack(const uint8_t *y, float *x) {
    for (int j = 0; j < 8; j++) {
        int code = (y[4 + j / 2] >> j % 2 * 4 & 15) | (load16(y + 2) >> 2 * j & 3) << 4;
        uneven_values(y + 8 + 16 * j, load_half(y) * (float)(code - 32), x + 32 * j);
    }
}
