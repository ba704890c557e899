// Scales of what should be 0 or more, the scales and mins of sub-blocks, with levels 0..top: make_qp_quants, one search to a lane.

// Of n values x and weights w. The best of 9 scales, then one level moved at a time. The reference keeps levels in a byte, where those
// of negative values wrap, and calculates on with what it reads there.
INLINE vf search_positive(const vf *x, const vf *w, int n, int top, vi *level) {
#define AT_MOST_TOP(v) smaller_int(nearest_lanes(v), (vi){0} + top)
    vf most = SPLAT(0.0f), error = SPLAT(0.0f);
    for (int i = 0; i < n; i++) most = larger(most, x[i]);
    vm flat = less(most, SPLAT(1e-15f));
    vf g = (float)top / most, scale = 1.0f / g;
    for (int i = 0; i < n; i++) {
        vf d = x[i] - scale * as_floats(nearest_lanes(g * x[i]) & 255);
        error += w[i] * d * d;
    }
    for (int k = -4; k <= 4; k++) {
        if (k == 0) continue;
        vf candidate = (0.1f * (float)k + (float)top) / most, new_error = SPLAT(0.0f);
        scale = 1.0f / candidate;
        for (int i = 0; i < n; i++) {
            vf d = x[i] - scale * as_floats(AT_MOST_TOP(candidate * x[i]));
            new_error += w[i] * d * d;
        }
        vm better = less(new_error, error);
        error = choose(better, new_error, error);
        g = choose(better, candidate, g);
    }
    vf sum_x = SPLAT(0.0f), sum_2 = SPLAT(0.0f), held[16];
    for (int i = 0; i < n; i++) {
        vi found = AT_MOST_TOP(g * x[i]);
        vf l = as_floats(found);
        sum_x += w[i] * x[i] * l;
        sum_2 += w[i] * l * l;
        held[i] = as_floats(found & 255);
    }
    for (int round = 0; round < 5; round++) {
        vm moved = NONE;
        for (int i = 0; i < n; i++) {
            vf wx = w[i] * x[i], a = sum_x - wx * held[i], b = sum_2 - w[i] * held[i] * held[i];
            vi next = AT_MOST_TOP(x[i] * b / a);
            vf l = as_floats(next);
            vm move = less(SPLAT(0.0f), a) & less(SPLAT(0.0f), b) & not(equal(l, held[i]));
            a += wx * l;
            b += w[i] * l * l;
            move &= less(sum_x * sum_x * b, a * a * sum_2);
            held[i] = choose(move, as_floats(next & 255), held[i]);
            sum_x = choose(move, a, sum_x);
            sum_2 = choose(move, b, sum_2);
            moved |= move;
        }
        if (!any(moved)) break;         // a lane where a round changed nothing repeats itself in the next
    }
#undef AT_MOST_TOP
    for (int i = 0; i < n; i++) level[i] = truncated(choose(flat, SPLAT(0.0f), held[i]));
    return choose(flat, SPLAT(0.0f), choose(less(SPLAT(0.0f), sum_2), sum_x / sum_2, SPLAT(0.0f)));
}

// Of up to 4 super-blocks of n sub-blocks: d and dmin, codes of the scales and mins
struct super { float d, dmin; uint8_t s[16], m[16]; };

INLINE void search_supers(const struct found *found, int blocks, int n, int top, struct super *out) {
    // column 2 b: the scales of super-block b; column 2 b + 1: its mins
    enum { SEARCHES = LANES > 8 ? LANES : 8 };
    float x[16][SEARCHES] = {0}, w[16][SEARCHES] = {0};
    for (int b = 0; b < blocks; b++)
        for (int j = 0; j < n; j++, found++) {
            x[j][2 * b] = found->scale; x[j][2 * b + 1] = found->min;
            w[j][2 * b] = w[j][2 * b + 1] = found->weight;
        }
    for (int first = 0; first < 2 * blocks; first += LANES) {
        vf values[16], weights[16];
        vi level[16];
        for (int j = 0; j < n; j++) { values[j] = load(x[j] + first); weights[j] = load(w[j] + first); }
        vf scale = search_positive(values, weights, n, top, level);
        for (int k = 0; k < LANES && first + k < 2 * blocks; k += 2, out++) {
            out->d = scale[k]; out->dmin = scale[k + 1];
            for (int j = 0; j < n; j++) { out->s[j] = (uint8_t)level[j][k]; out->m[j] = (uint8_t)level[j][k + 1]; }
        }
    }
}
