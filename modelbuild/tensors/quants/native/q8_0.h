// q8_0: d f16, 32 levels i8. (quantize_row_q8_0_ref)

static void q8_0_pack(const float *x, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks -= LANES, x += 32 * LANES) {
        vf top[LANES];
        for (int k = 0; k < LANES; k++) {
            vf a = absolute(load(x + 32 * k));
            for (int i = LANES; i < 32; i += LANES) a = larger(absolute(load(x + 32 * k + i)), a);
            top[k] = a;
        }
        vf d = largest_in_each(top) / 127.0f, id = inverse(d);
        uint8_t half[2 * LANES];
        store_halves(half, d);
        for (int k = 0; k < LANES && k < blocks; k++, y += 34) {
            memcpy(y, half + 2 * k, 2);
            for (int i = 0; i < 32; i += LANES) store_bytes(y + 2 + i, away(load(x + 32 * k + i) * id[k]));
        }
    }
}

static void q8_0_unpack(const uint8_t *y, float *x) {
    float d = load_half(y);
    for (int i = 0; i < 32; i++) x[i] = (float)(int8_t)y[2 + i] * d;
}
