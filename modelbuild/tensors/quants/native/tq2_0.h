// tq2_0: 64 bytes of 2-bit digits as q3_K's levels, d f16. (quantize_row_tq2_0_ref)

static void tq2_0_pack(const float *x, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks--, x += 256, y += 66) {
        uint8_t trit[256];
        store16(y + 64, ternary(x, trit));
        pack_fours(trit, y);
    }
}

static void tq2_0_unpack(const uint8_t *y, float *x) {
    float d = load_half(y + 64);
    for (int h = 0; h < 2; h++)
        for (int n = 0; n < 4; n++)
            for (int m = 0; m < 32; m++) x[128 * h + 32 * n + m] = (float)((y[32 * h + m] >> 2 * n & 3) - 1) * d;
}
