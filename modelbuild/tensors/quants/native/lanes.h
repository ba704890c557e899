// What the kernels build from the few operations that each instruction set defines.

// a where it is 0 or more, as a float's bits order like ints there; uses integer ports, which the searches leave idle
INLINE vf at_least_0(vf a) { return (vf)larger_int((vi)a, (vi){0}); }
// the smaller of a, not negative, and b > 0
INLINE vf at_most(vf a, float b) { return (vf)smaller_int((vi)a, (vi)SPLAT(b)); }

INLINE vi clamp(vi a, int low, int high) { return smaller_int(larger_int(a, (vi){0} + low), (vi){0} + high); }
INLINE vf clamp_float(vf a, float low, float high) { return larger(smaller(a, SPLAT(high)), SPLAT(low)); }

// nearest_int of ggml-quants.c for any a, NaN and infinity too; `rounded` gives the same for |a| < 2^22
INLINE vi nearest_lanes(vf a) { return ((vi)(a + MAGIC) & 0x7fffff) - 0x400000; }

INLINE vf largest_in_each(vf *row) {            // lane k: the largest value in row[k]; destroys the rows
#define DO(s) for (int i = 0; i < LANES; i += 2 * s) row[i] = larger(EVEN_##s(row[i], row[i + s]), ODD_##s(row[i], row[i + s]));
    STAGES(DO)
#undef DO
    return row[0];
}
INLINE vf smallest_in_each(vf *row) {
#define DO(s) for (int i = 0; i < LANES; i += 2 * s) row[i] = smaller(EVEN_##s(row[i], row[i + s]), ODD_##s(row[i], row[i + s]));
    STAGES(DO)
#undef DO
    return row[0];
}

// 1/d, and 0 for 0
INLINE vf inverse(vf d) { return choose(equal(d, SPLAT(0.0f)), SPLAT(0.0f), 1.0f / d); }

// Round half away from zero, then to int: (int)roundf(a). Adding the largest float below 0.5 is exact for every a.
INLINE vi away(vf a) { return truncated(a + (vf)(((vi)a & INT32_MIN) | 0x3effffff)); }

// Scale, negated minimum and (to work the levels out again) inverse scale and minimum of the winning candidate of a sub-block's search;
// where weights were given, their sum. flat: all its levels are 0.
struct found { float scale, min, inverse, low, weight; int flat; };
