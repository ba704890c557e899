// Scale of sub-blocks of 16 with levels -n..n-1: make_qx_quants with rmse_type 1 and weights x * x, one sub-block to a lane.

// For LANES sub-blocks. Candidate k = -9..9 takes the value of the largest magnitude to the level -(n + 0.1 k).
INLINE void search_symmetric(const float *x, int n, struct found *out) {
    vf v[16], w[16], wx[16], value = SPLAT(0.0f), magnitude = SPLAT(0.0f);
    load_columns(x, 16, v);
    for (int i = 0; i < 16; i++) {
        vf a = absolute(v[i]);
        value = choose(less(magnitude, a), v[i], value);
        magnitude = larger(a, magnitude);
        w[i] = v[i] * v[i];
        wx[i] = w[i] * v[i];
    }
    vm flat = less(magnitude, SPLAT(1e-15f));

#define BELOW(l) smaller(l, SPLAT((float)(n - 1)))
#define BOTH(l) larger(BELOW(l), SPLAT((float)-n))
    vf best_inverse = (float)-n / value, sum_x = SPLAT(0.0f), sum_2 = SPLAT(0.0f);
    for (int i = 0; i < 16; i++) {
        vf l = BOTH(rounded(best_inverse * v[i]));
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
#define TRY(CLAMPED) for (int i = 0; i < 16; i++) UNROLL(8) for (int c = 0; c < ABREAST; c++) { \
            vf l = rounded(inverse[c] * v[i]); \
            l = CLAMPED; \
            sums_x[c] += wx[i] * l; \
            sums_2[c] += w[i] * l * l; \
        }
        // the last candidate of this pass is below k
        if (k <= -5) TRY(l)                     // |level| <= n - 0.6: no clamp can act
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
#undef BELOW
#undef BOTH
#undef TRY
    uint32_t zero = lane_bits(flat);
    for (int k = 0; k < LANES; k++) {
        out[k].flat = zero >> k & 1;
        out[k].scale = out[k].flat ? 0.0f : scale[k];
        out[k].inverse = best_inverse[k];
    }
}
