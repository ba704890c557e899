// mxfp4: a power of two e u8, 16 bytes of e2m1 floats as the nibbles of q4_0. (quantize_row_mxfp4_ref)

// kvalues_mxfp4: twice the value of a level
static const float e2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 2^(e - 128)
INLINE float half_power_of_two(int e) { return float_of(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23); }

// floorf(log2f(a)) for a > 0. Just below a power of two 2^k the logarithm rounds up to k: k - log2(a) is ulps * 2^-24 / ln 2,
// half the distance of floats next to k is 2^-24 times the largest power of two in k - 1 (k > 0) or -k.
INLINE int floor_log2(float a) {
    int shift = a < 0x1p-126f ? 32 : 0;
    uint32_t bits = bits_of(shift ? a * 0x1p32f : a);
    int k = (int)(bits >> 23) - 126 - shift, ulps = 0x800000 - (int)(bits & 0x7fffff);
    int spacing = k > 0 ? k - 1 : -k;
    static const uint8_t rounded_up[8] = {0, 1, 2, 5, 11, 22, 44, 88};         // floor(2^p * ln 2)
    return spacing && ulps <= rounded_up[31 - __builtin_clz((unsigned)spacing)] ? k : k - 1;
}

static void mxfp4_pack(const float *x, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks -= LANES, x += 32 * LANES) {
        vf top[LANES];
        for (int k = 0; k < LANES; k++) {
            vf a = absolute(load(x + 32 * k));
            for (int i = LANES; i < 32; i += LANES) a = larger(absolute(load(x + 32 * k + i)), a);
            top[k] = a;
        }
        vf largest = largest_in_each(top);
        for (int k = 0; k < LANES && k < blocks; k++, y += 17) {
            y[0] = largest[k] > 0 ? (uint8_t)(floor_log2(largest[k]) - 2 + 127) : 0;
            float d = half_power_of_two(y[0]), middle[8];
            // Above the middle of two values the higher is nearer, at it the lower one is taken; a value that overflows never is.
            for (int l = 0; l < 7; l++) middle[l] = e2m1[l + 1] * d > 3.4028235e38f ? __builtin_inff() : (e2m1[l] + e2m1[l + 1]) * 0.5f * d;
            for (int i = 0; i < 16; i += LANES) {
                vi level[2];
                for (int h = 0; h < 2; h++) {
                    vf v = load(x + 32 * k + 16 * h + i), a = absolute(v);
                    level[h] = (vi){0};
                    for (int l = 0; l < 7; l++) level[h] = plus_one(level[h], less(SPLAT(middle[l]), a));
                    level[h] |= (vi)v >> 31 & (vi)(level[h] > 0) & 8;           // no negative zero
                }
                store_bytes(y + 1 + i, level[0] | level[1] << 4);
            }
        }
    }
}

static void mxfp4_unpack(const uint8_t *y, float *x) {
    float d = half_power_of_two(y[0]);
    for (int i = 0; i < 16; i++) {
        int a = y[1 + i] & 15, b = y[1 + i] >> 4;
        x[i] = e2m1[a] * d;
        x[i + 16] = e2m1[b] * d;
    }
}
