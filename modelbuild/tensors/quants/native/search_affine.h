// Scale and minimum of sub-blocks with levels 0..top: make_qkx2_quants and make_qkx3_quants, one sub-block to a lane.

struct affine {
    int n;                      // elements of a sub-block: 16 or 32
    int top;
    float start, step;          // candidate s = 0..steps has the inverse scale (start + step * s + top) / range
    int steps;
    int absolute;               // q2_K: weights |x| and errors |d|; else weights sqrt(mean of x * x) + |x| and errors d * d
};
// The candidates where weights are given
#define WEIGHTED_AFFINE(n, top) ((struct affine){n, top, -0.9f, 0.05f, 36, 0})

INLINE vf penalty(vf d, int linear) { if (linear) return absolute(d); return d * d; }

#define EACH_GROUP UNROLL(4) for (int g = 0; g < TOGETHER; g++)

// For TOGETHER * LANES sub-blocks, with weights or NULL. The groups are interleaved to hide the latency of additions.
INLINE void search_affine(const float *x, const float *weight, const struct affine how, struct found *out) {
    // One array: separate ones lie 4 KiB apart, which costs up to a factor 3 on Zen 4, depending on the address of the stack.
    struct { vf x, w, level; } e[32][TOGETHER];
    vf low[TOGETHER], high[TOGETHER], lowest[TOGETHER], sum_w[TOGETHER], sum_wx[TOGETHER];
    vf g_inverse[TOGETHER], scale[TOGETHER], error[TOGETHER], best_inverse[TOGETHER], best_low[TOGETHER];
    vm flat[TOGETHER];
    for (int g = 0; g < TOGETHER; g++) {
        vf column[32], weights[32], average = SPLAT(0.0f);
        load_columns(x + how.n * LANES * g, how.n, column);
        if (weight) load_columns(weight + how.n * LANES * g, how.n, weights);
        else if (!how.absolute) {
            for (int i = 0; i < how.n; i++) average += column[i] * column[i];
            average = root(average / (float)how.n);
        }
        vf a = column[0], b = column[0], sw, swx;
        for (int i = 0; i < how.n; i++) {
            vf v = column[i], w = absolute(v);
            if (weight) w = weights[i];
            else if (!how.absolute) w = average + w;
            e[i][g].x = v; e[i][g].w = w;
            a = smaller(v, a); b = larger(v, b);
            if (i == 0) { sw = w; swx = w * v; } else { sw += w; swx += w * v; }
        }
        lowest[g] = a; high[g] = b; sum_w[g] = sw; sum_wx[g] = swx;
        low[g] = a = choose(less(SPLAT(0.0f), a), SPLAT(0.0f), a);
        flat[g] = equal(b, a);
        best_inverse[g] = g_inverse[g] = (float)how.top / (b - a);
        scale[g] = 1.0f / g_inverse[g]; best_low[g] = a; error[g] = SPLAT(0.0f);
    }

    // The level of element i. Rounding by instruction is nearest_int as long as |v| < 2^22; where a lane can leave that, all go the exact way.
    // The largest level belongs to the maximum, so a candidate below top + 0.45 needs no upper clamp.
#define RANGE(g) (high[g] - low[g])
#define UNSAFE(g) (not(less(SPLAT(1e-36f), RANGE(g)) & less(RANGE(g), SPLAT(1e36f)) & less(low[g] - lowest[g], RANGE(g) * 1e5f)) & not(flat[g]))
#define SCALED (g_inverse[g] * (e[i][g].x - low[g]))
#define EXACT as_floats(clamp(nearest_lanes(SCALED), 0, how.top))
#define FAST at_most(at_least_0(rounded(SCALED)), (float)how.top)
#define FAST_BELOW at_least_0(rounded(SCALED))
#define WEIGHED(d) (e[i][g].w * penalty(d, how.absolute))

    vm unsafe = NONE;
    EACH_GROUP unsafe |= UNSAFE(g);
#define FIRST_ERROR(LEVEL) for (int i = 0; i < how.n; i++) EACH_GROUP { \
        vf d = scale[g] * (LEVEL) + low[g] - e[i][g].x; \
        error[g] += WEIGHED(d); \
    }
    if (any(unsafe)) FIRST_ERROR(EXACT) else FIRST_ERROR(FAST)

    for (int s = 0; s <= how.steps; s++) {
        float c = how.start + how.step * (float)s + (float)how.top;
        vf sum_l[TOGETHER], sum_l2[TOGETHER], sum_xl[TOGETHER], new_error[TOGETHER], new_scale[TOGETHER], new_low[TOGETHER], D[TOGETHER];
        unsafe = NONE;
        EACH_GROUP {
            sum_l[g] = sum_l2[g] = sum_xl[g] = new_error[g] = SPLAT(0.0f);
            g_inverse[g] = c / RANGE(g);
            unsafe |= UNSAFE(g);
        }
#define SUMS(LEVEL) for (int i = 0; i < how.n; i++) EACH_GROUP { \
            vf l = (LEVEL), wl = e[i][g].w * l; \
            e[i][g].level = l; \
            sum_l[g] += wl; sum_l2[g] += wl * l; sum_xl[g] += wl * e[i][g].x; \
        }
        if (any(unsafe)) SUMS(EXACT)
        else if (c < (float)how.top + 0.45f) SUMS(FAST_BELOW)
        else SUMS(FAST)
        EACH_GROUP {
            D[g] = sum_w[g] * sum_l2[g] - sum_l[g] * sum_l[g];
            vf a = (sum_w[g] * sum_xl[g] - sum_wx[g] * sum_l[g]) / D[g], b = (sum_l2[g] * sum_wx[g] - sum_l[g] * sum_xl[g]) / D[g];
            vm positive = less(SPLAT(0.0f), b);
            if (any(positive)) {
                b = choose(positive, SPLAT(0.0f), b);
                a = choose(positive, sum_xl[g] / sum_l2[g], a);
            }
            new_scale[g] = a; new_low[g] = b;
        }
        for (int i = 0; i < how.n; i++) EACH_GROUP {
            vf d = new_scale[g] * e[i][g].level + new_low[g] - e[i][g].x;
            new_error[g] += WEIGHED(d);
        }
        EACH_GROUP {
            vm better = less(SPLAT(0.0f), D[g]) & less(new_error[g], error[g]) & not(flat[g]);
            error[g] = choose(better, new_error[g], error[g]);
            scale[g] = choose(better, new_scale[g], scale[g]);
            best_inverse[g] = choose(better, g_inverse[g], best_inverse[g]);
            best_low[g] = choose(better, low[g], best_low[g]);
            low[g] = choose(better, new_low[g], low[g]);
        }
    }
    for (int g = 0; g < TOGETHER; g++) {
        uint32_t zero = lane_bits(flat[g]);
        for (int k = 0; k < LANES; k++, out++) {
            out->flat = zero >> k & 1;
            out->scale = out->flat ? 0.0f : scale[g][k];
            out->min = -low[g][k];
            out->inverse = best_inverse[g][k];
            out->low = best_low[g][k];
            if (weight) out->weight = sum_w[g][k] + 0.0f;       // the reference starts from 0, which makes a sum of -0 that
        }
    }
#undef RANGE
#undef UNSAFE
#undef SCALED
#undef EXACT
#undef FAST
#undef FAST_BELOW
#undef WEIGHED
#undef FIRST_ERROR
#undef SUMS
}

// Levels of n elements as the search found them, natural order
INLINE void affine_levels_found(const float *x, int n, int top, const struct found *found, uint8_t *level) {
    for (int i = 0; i < n; i += LANES) {
        vf v = found->flat ? SPLAT(0.0f) : found->inverse * (load(x + i) - found->low);
        store_bytes(level + i, clamp(nearest_lanes(v), 0, top));
    }
}

// Levels of n elements with the final scale and minimum, natural order; with a scale of 0 those of the search stand.
INLINE void affine_levels(const float *x, int n, int top, float d, float m, const struct found *found, uint8_t *level) {
    if (d == 0.0f) affine_levels_found(x, n, top, found, level);
    else for (int i = 0; i < n; i += LANES) store_bytes(level + i, clamp(nearest_lanes((load(x + i) + m) / d), 0, top));
}

// The 16 bytes that q4_K and q5_K blocks start with, d and dmin as f16 and 6-bit codes s and m of 8 scales and mins, and 256 levels.
INLINE void affine_superblock(const float *x, int top, const struct found *found, uint16_t d, uint16_t dmin, const uint8_t *s, const uint8_t *m,
                              uint8_t *y, uint8_t *level) {
    uint8_t *codes = y + 4;
    store16(y, d);
    store16(y + 2, dmin);
    for (int j = 0; j < 4; j++) {
        codes[j] = (uint8_t)(s[j] | s[j + 4] >> 4 << 6);
        codes[j + 4] = (uint8_t)(m[j] | m[j + 4] >> 4 << 6);
        codes[j + 8] = (uint8_t)((s[j + 4] & 15) | (m[j + 4] & 15) << 4);
    }
    for (int j = 0; j < 8; j++) affine_levels(x + 32 * j, 32, top, widen(d) * s[j], widen(dmin) * m[j], found + j, level + 32 * j);
}

// With the scales and mins of a search without weights: the largest gets the code 63.
INLINE void affine_superblock_by_largest(const float *x, int top, const struct found *found, uint8_t *y, uint8_t *level) {
    float top_scale = 0, top_min = 0;
    for (int j = 0; j < 8; j++) {
        if (found[j].scale > top_scale) top_scale = found[j].scale;
        if (found[j].min > top_min) top_min = found[j].min;
    }
    float to_scale = top_scale > 0 ? 63.0f / top_scale : 0.0f, to_min = top_min > 0 ? 63.0f / top_min : 0.0f;
    uint16_t d = half_of(top_scale / 63.0f), dmin = half_of(top_min / 63.0f);
    uint8_t s[8], m[8];
    for (int j = 0; j < 8; j++) {
        uint8_t a = (uint8_t)nearest(to_scale * found[j].scale), b = (uint8_t)nearest(to_min * found[j].min);
        s[j] = a > 63 ? 63 : a;
        m[j] = b > 63 ? 63 : b;
    }
    affine_superblock(x, top, found, d, dmin, s, m, y, level);
}

// Scale and minimum of sub-block j from those 16 bytes
INLINE void affine_scale(const uint8_t *y, int j, float *scale, float *min) {
    const uint8_t *codes = y + 4;
    int s = j < 4 ? codes[j] & 63 : (codes[j + 4] & 15) | codes[j - 4] >> 6 << 4;
    int m = j < 4 ? codes[j + 4] & 63 : codes[j + 4] >> 4 | codes[j] >> 6 << 4;
    *scale = load_half(y) * (float)s;
    *min = load_half(y + 2) * (float)m;
}
