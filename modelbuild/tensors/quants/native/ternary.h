// What tq1_0 and tq2_0 share: 256 values become 0, 1 or 2, for -d, 0 and d; d is the largest magnitude.
INLINE uint16_t ternary(const float *x, uint8_t *trit) {
    vf top = SPLAT(0.0f);
    for (int i = 0; i < 256; i += LANES) top = larger(absolute(load(x + i)), top);
    float d = 0;
    for (int k = 0; k < LANES; k++) if (top[k] > d) d = top[k];
    float g = d != 0.0f ? 1 / d : 0.0f;
    for (int i = 0; i < 256; i += LANES) store_bytes(trit + i, (away(load(x + i) * g) + 1) & 3);
    return half_of(d);
}
