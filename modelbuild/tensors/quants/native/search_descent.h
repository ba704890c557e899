// Scale of sub-blocks of 16 with levels -n..n-1, moving one level at a time: make_q3_quants, one sub-block to a lane.

// For LANES sub-blocks. level[16 * k + i] is the level of element i of sub-block k, plus n.
// A lane where a round changed nothing repeats itself in the next, so no lane need be stopped by itself.
INLINE void search_descent(const float *x, int n, struct found *out, uint8_t *level) {
    vf v[16], w[16], wx[16], l[16], value = SPLAT(0.0f), magnitude = SPLAT(0.0f);
    load_columns(x, 16, v);
    for (int i = 0; i < 16; i++) {
        vf a = absolute(v[i]);
        value = choose(less(magnitude, a), v[i], value);
        magnitude = larger(a, magnitude);
        w[i] = v[i] * v[i];
        wx[i] = w[i] * v[i];
    }
    vm flat = less(magnitude, SPLAT(1e-15f));
    vf g = (float)-n / value, sum_x = SPLAT(0.0f), sum_2 = SPLAT(0.0f);
    for (int i = 0; i < 16; i++) {
        vf r = clamp_float(rounded(g * v[i]), (float)-n, (float)(n - 1));
        l[i] = r;
        sum_x += wx[i] * r;
        sum_2 += w[i] * r * r;
    }
    for (int round = 0; round < 5; round++) {
        vm moved = NONE;
        for (int i = 0; i < 16; i++) {
            vf r = l[i], a = sum_x - wx[i] * r, b = sum_2 - w[i] * r * r;
            vf exact = v[i] * b / a;
            vm move = less(SPLAT(0.0f), a) & not(flat);
            vf next = clamp_float(rounded(exact), (float)-n, (float)(n - 1));
            vm far = move & not(less(absolute(exact), SPLAT(4e6f)));
            if (__builtin_expect(any(far), 0)) next = as_floats(clamp(nearest_lanes(exact), -n, n - 1));
            move &= not(equal(next, r));
            if (!any(move)) continue;
            a += wx[i] * next;
            b += w[i] * next * next;
            move &= less(SPLAT(0.0f), b) & less(sum_x * sum_x * b, a * a * sum_2);
            l[i] = choose(move, next, r);
            sum_x = choose(move, a, sum_x);
            sum_2 = choose(move, b, sum_2);
            moved |= move;
        }
        if (!any(moved)) break;
    }
    vf scale = choose(less(SPLAT(0.0f), sum_2), sum_x / sum_2, SPLAT(0.0f));
    uint32_t zero = lane_bits(flat);
    for (int k = 0; k < LANES; k++) {
        out[k].flat = zero >> k & 1;
        out[k].scale = out[k].flat ? 0.0f : scale[k];
    }
    for (int first = 0; first < 16; first += LANES) {
        transpose(l + first);
        for (int k = 0; k < LANES; k++) store_bytes(level + 16 * k + first, truncated(l[first + k] + (float)n));
    }
}
