// Levels that stand for unevenly spaced values (iq4), and the scale of sub-blocks of 32 for them: quantize_row_iq4_nl_impl.

// kvalues_iq4nl, and the middle above each value but the last
static const float uneven[16] __attribute__((aligned(64))) =
    {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
static const float uneven_middle[16] __attribute__((aligned(64))) =
    {-115.5f, -93.5f, -74, -57, -42, -28.5f, -16, -4.5f, 7, 19, 31.5f, 45.5f, 61, 79, 101, 0};

// The level whose value is nearest, of two the higher: best_index_int8, whose comparison of two differences is exact where it is
// close, so the middle decides. Interval k = 0..14, from 14 k - 109 on, has middle k alone in it. For what is not NaN.
INLINE vi uneven_level(vf v) {
    vi k = truncated(at_most(at_least_0(v * (1.0f / 14) + 109.0f / 14), 14.0f));
    return plus_one(k, not(less(v, look_up(uneven_middle, k))));
}

// For LANES sub-blocks, with weights, or NULL for x * x: the scale with the least squared error
INLINE vf search_uneven(const float *x, const float *weight) {
    vf v[32], w[32], value = SPLAT(0.0f), magnitude = SPLAT(0.0f);
    load_columns(x, 32, v);
    if (weight) load_columns(weight, 32, w);
    for (int i = 0; i < 32; i++) {
        vf a = absolute(v[i]);
        value = choose(less(magnitude, a), v[i], value);
        magnitude = larger(a, magnitude);
        if (!weight) w[i] = v[i] * v[i];
    }
    vf scale = SPLAT(0.0f), best = SPLAT(0.0f);
    for (int step = -8; step <= 7; step++) {            // -8 stands for the first candidate, which need not beat one
        vf g = step == -8 ? 1.0f / (-value / uneven[0]) : ((float)step + uneven[0]) / value;
        vf sum_x = SPLAT(0.0f), sum_2 = SPLAT(0.0f);
        for (int i = 0; i < 32; i++) {
            vf q = look_up(uneven, uneven_level(g * v[i])), wq = w[i] * q;
            sum_x += wq * v[i];
            sum_2 += wq * q;
        }
        vm better = less(SPLAT(0.0f), sum_2);
        if (step != -8) better &= less(best * sum_2, sum_x * sum_x);
        vf new_scale = sum_x / sum_2;
        scale = choose(better, new_scale, scale);
        best = choose(better, new_scale * sum_x, best);
        if (step == -8) best = scale * sum_x;           // NaN where that is infinite: then no candidate beats it
    }
    return choose(less(magnitude, SPLAT(1e-15f)), SPLAT(0.0f), scale);
}

// 16 bytes of levels of 32 elements times g: level j in the low and level j + 16 in the high nibble
INLINE void uneven_nibbles(const float *x, float g, uint8_t *y) {
    for (int i = 0; i < 16; i += LANES) {
        vf a = smaller(load(x + i) * g, SPLAT(200.0f)), b = smaller(load(x + 16 + i) * g, SPLAT(200.0f));      // NaN becomes 200: level 15
        store_bytes(y + i, uneven_level(a) | uneven_level(b) << 4);
    }
}

INLINE void uneven_values(const uint8_t *y, float d, float *x) {
    for (int i = 0; i < 16; i++) {
        x[i] = d * uneven[y[i] & 15];
        x[i + 16] = d * uneven[y[i] >> 4];
    }
}
