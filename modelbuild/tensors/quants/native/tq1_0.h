// tq1_0: 52 bytes of base-3 digits, d f16. (quantize_row_tq1_0_ref)
// Byte m < 32 holds elements m + 32 n, n = 0..4; 32 + m, m < 16, holds 160 + m + 16 n, n = 0..4; 48 + m, m < 4, holds 240 + m + 4 n, n = 0..3.
// The digits, first one highest, are a fraction of 256: multiplying a byte by 3 moves the next digit out at the top.

INLINE uint8_t tq1_0_byte(const uint8_t *trit, int stride, int digits) {
    unsigned v = 0;
    for (int n = 0; n < 5; n++) v = v * 3 + (n < digits ? trit[stride * n] : 0);
    return (uint8_t)((v * 256 + 242) / 243);
}

static void tq1_0_pack(const float *x, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks--, x += 256, y += 54) {
        uint8_t trit[256];
        store16(y + 52, ternary(x, trit));
        for (int m = 0; m < 32; m++) y[m] = tq1_0_byte(trit + m, 32, 5);
        for (int m = 0; m < 16; m++) y[32 + m] = tq1_0_byte(trit + 160 + m, 16, 5);
        for (int m = 0; m < 4; m++) y[48 + m] = tq1_0_byte(trit + 240 + m, 4, 4);
    }
}

INLINE void tq1_0_values(const uint8_t *y, int bytes, int digits, float d, float *x) {
    uint8_t power = 1;
    for (int n = 0; n < digits; n++, power = (uint8_t)(power * 3))
        for (int m = 0; m < bytes; m++) x[bytes * n + m] = (float)(((uint8_t)(y[m] * power) * 3 >> 8) - 1) * d;
}

static void tq1_0_unpack(const uint8_t *y, float *x) {
    float d = load_half(y + 52);
    tq1_0_values(y, 32, 5, d, x);
    tq1_0_values(y + 32, 16, 5, d, x + 160);
    tq1_0_values(y + 48, 4, 4, d, x + 240);
}
