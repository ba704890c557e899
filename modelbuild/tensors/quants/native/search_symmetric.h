// Scale of sub-blocks with levels -n..n-1: make_qx_quants with rmse_type 1, one sub-block to a lane.

struct symmetric { vf scale, inverse; vm flat; };       // inverse scale of the winning candidate; flat lanes have scale 0

// Of columns v and weights w, `size` of each. Candidate k = -9..9 takes the value of the largest magnitude to the level -(n + 0.1 k).
// wild: values may be large, infinite or NaN.
INLINE struct symmetric search_symmetric_columns(const vf *v, const vf *w, int size, int n, int wild) {
    vf wx[32], value = SPLAT(0.0f), magnitude = SPLAT(0.0f);
    for (int i = 0; i < size; i++) {
        vf a = absolute(v[i]);
        value = choose(less(magnitude, a), v[i], value);
        magnitude = larger(a, magnitude);
        wx[i] = w[i] * v[i];
    }
    vm flat = less(magnitude, SPLAT(1e-15f));

#define LEVEL(v) (wild ? as_floats(nearest_lanes(v)) : rounded(v))
#define BELOW(l) smaller(l, SPLAT((float)(n - 1)))
#define BOTH(l) larger(BELOW(l), SPLAT((float)-n))
    vf best_inverse = (float)-n / value, sum_x = SPLAT(0.0f), sum_2 = SPLAT(0.0f);
    for (int i = 0; i < size; i++) {
        vf l = BOTH(LEVEL(best_inverse * v[i]));
        sum_x += wx[i] * l;
        sum_2 += w[i] * l * l;
    }
    vf scale = choose(equal(sum_2, SPLAT(0.0f)), SPLAT(0.0f), sum_x / sum_2), best = scale * sum_x;
    for (int k = -9; k <= 9;) {
        vf inverse[ABREAST], sums_x[ABREAST], sums_2[ABREAST];
        for (int c = 0; c < ABREAST; c++, k++) {
            if (k == 0) k++;
            inverse[c] = -((float)n + 0.1f * (float)k) / value;
            sums_x[c] = sums_2[c] = SPLAT(0.0f);
        }
#define TRY(CLAMPED) for (int i = 0; i < size; i++) UNROLL(8) for (int c = 0; c < ABREAST; c++) { \
            vf l = LEVEL(inverse[c] * v[i]); \
            l = CLAMPED; \
            sums_x[c] += wx[i] * l; \
            sums_2[c] += w[i] * l * l; \
        }
        // the last candidate of this pass is below k
        if (wild) TRY(BOTH(l))
        else if (k <= -5) TRY(l)                // |level| <= n - 0.6: no clamp can act
        else if (k <= 5) TRY(BELOW(l))          // |level| <= n + 0.4: only the upper one can
        else TRY(BOTH(l))
        for (int c = 0; c < ABREAST; c++) {
            vm better = less(SPLAT(0.0f), sums_2[c]) & less(best * sums_2[c], sums_x[c] * sums_x[c]);
            vf new_scale = sums_x[c] / sums_2[c];
            scale = choose(better, new_scale, scale);
            best = choose(better, new_scale * sums_x[c], best);
            best_inverse = choose(better, inverse[c], best_inverse);
        }
    }
#undef LEVEL
#undef BELOW
#undef BOTH
#undef TRY
    return (struct symmetric){choose(flat, SPLAT(0.0f), scale), best_inverse, flat};
}

// For LANES sub-blocks of `size`, 16 or 32, with weights, or NULL for x * x
INLINE void search_symmetric(const float *x, const float *weight, int size, int n, struct found *out) {
    vf v[32], w[32], sum = SPLAT(0.0f);
    load_columns(x, size, v);
    if (weight) load_columns(weight, size, w);
    else for (int i = 0; i < size; i++) w[i] = v[i] * v[i];
    if (weight) for (int i = 0; i < size; i++) sum += w[i];
    struct symmetric found = search_symmetric_columns(v, w, size, n, 0);
    uint32_t flat = lane_bits(found.flat);
    for (int k = 0; k < LANES; k++) {
        out[k].flat = flat >> k & 1;
        out[k].scale = found.scale[k];
        out[k].inverse = found.inverse[k];
        if (weight) out[k].weight = sum[k];
    }
}

// Levels of `size` elements as the search found them, plus n (flat: 0), natural order
INLINE void symmetric_levels_found(const float *x, int size, int n, const struct found *found, uint8_t *level) {
    if (found->flat) memset(level, 0, (size_t)size);
    else for (int i = 0; i < size; i += LANES) store_bytes(level + i, clamp(nearest_lanes(found->inverse * load(x + i)), -n, n - 1) + n);
}
