// Extremes of LANES blocks of 32, lane k for block k: what the formats with one scale for 32 values start from.

INLINE void extremes(const float *x, vf *low, vf *high) {
    vf lows[LANES], highs[LANES];
    for (int k = 0; k < LANES; k++) {
        vf a = load(x + 32 * k), b = a;
        for (int i = LANES; i < 32; i += LANES) {
            vf v = load(x + 32 * k + i);
            a = smaller(v, a); b = larger(v, b);
        }
        lows[k] = a; highs[k] = b;
    }
    *low = smallest_in_each(lows); *high = largest_in_each(highs);
}

INLINE vf first_with_magnitude(const float *x, vf value, uint32_t which) {
    for (; which; which &= which - 1) {
        int k = __builtin_ctz(which);
        for (int i = 0; i < 32; i += LANES) {
            vf v = load(x + 32 * k + i);
            uint32_t same = lane_bits(equal(absolute(v), SPLAT(__builtin_fabsf(value[k]))));
            if (same) { value[k] = v[__builtin_ctz(same)]; break; }
        }
    }
    return value;
}

// The value of the largest magnitude; of two opposite ones the first; +0 for zeros
INLINE vf first_absmax(const float *x) {
    vf low, high;
    extremes(x, &low, &high);
    vf value = choose(less(high, -low), low, high) + 0.0f;
    uint32_t tied = lane_bits(equal(high, -low) & not(equal(high, SPLAT(0.0f))));
    return __builtin_expect(tied != 0, 0) ? first_with_magnitude(x, value, tied) : value;
}

// Minimum and range; a minimum of zero has the sign of the first zero
INLINE void low_and_range(const float *x, vf *low, vf *range) {
    vf high;
    extremes(x, low, &high);
    *range = high - *low + 0.0f;        // two zeros differ by +0 in the reference, which takes the first for both
    uint32_t zero = lane_bits(equal(*low, SPLAT(0.0f)));
    if (__builtin_expect(zero != 0, 0)) *low = first_with_magnitude(x, *low, zero);
}
