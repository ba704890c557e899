// Vectors of LANES floats and ints, and what can be said of them without naming an instruction set.
// Plain operators on them are one IEEE operation in each lane; nothing here contracts or reorders.
#include "format.h"

#define INLINE static inline __attribute__((always_inline))
#define PRAGMA_OF(x) _Pragma(#x)
#ifdef __clang__
#define UNROLL(n) PRAGMA_OF(unroll n)
#else
#define UNROLL(n) PRAGMA_OF(GCC unroll n)
#endif

typedef float vf __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * LANES), may_alias));
typedef float vf_unaligned __attribute__((vector_size(4 * LANES), aligned(1), may_alias));
typedef uint16_t vh_unaligned __attribute__((vector_size(2 * LANES), aligned(1), may_alias));
typedef uint8_t vb_unaligned __attribute__((vector_size(LANES), aligned(1), may_alias));

#define SPLAT(f) ((vf){0} + (f))

INLINE vf load(const void *p) { return *(const vf_unaligned *)p; }
INLINE void store(void *p, vf a) { *(vf_unaligned *)p = a; }
INLINE vf as_floats(vi a) { return __builtin_convertvector(a, vf); }
INLINE vf absolute(vf a) { return (vf)((vi)a & 0x7fffffff); }

// EVEN_s: lanes whose number lacks bit s, from a; in the gaps the same ones from b. ODD_s: likewise the lanes that have it.
// Of LANES rows, taking EVEN and ODD of rows i and i + s for s = 1, 2, 4, … transposes; combining the two instead reduces.
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif
#if LANES == 4
#define EVEN_1(a, b) SHUFFLE(a, b, 0, 4, 2, 6)
#define ODD_1(a, b) SHUFFLE(a, b, 1, 5, 3, 7)
#define EVEN_2(a, b) SHUFFLE(a, b, 0, 1, 4, 5)
#define ODD_2(a, b) SHUFFLE(a, b, 2, 3, 6, 7)
#define STAGES(DO) DO(1) DO(2)
#elif LANES == 8
#define EVEN_1(a, b) SHUFFLE(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define ODD_1(a, b) SHUFFLE(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
#define EVEN_2(a, b) SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define ODD_2(a, b) SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define EVEN_4(a, b) SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define ODD_4(a, b) SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#define STAGES(DO) DO(1) DO(2) DO(4)
#elif LANES == 16
#define EVEN_1(a, b) SHUFFLE(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30)
#define ODD_1(a, b) SHUFFLE(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31)
#define EVEN_2(a, b) SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define ODD_2(a, b) SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define EVEN_4(a, b) SHUFFLE(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27)
#define ODD_4(a, b) SHUFFLE(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31)
#define EVEN_8(a, b) SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define ODD_8(a, b) SHUFFLE(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
#define STAGES(DO) DO(1) DO(2) DO(4) DO(8)
#endif

INLINE void transpose(vf *row) {
#define DO(s) \
    UNROLL(16) for (int i = 0; i < LANES; i++) if (!(i & s)) { \
        vf even = EVEN_##s(row[i], row[i + s]), odd = ODD_##s(row[i], row[i + s]); \
        row[i] = even; row[i + s] = odd; \
    }
    STAGES(DO)
#undef DO
}

// One sub-block to a lane: column[i] lane k = x[k * n + i]; n is a multiple of LANES
INLINE void load_columns(const float *x, int n, vf *column) {
    for (int first = 0; first < n; first += LANES) {
        for (int k = 0; k < LANES; k++) column[first + k] = load(x + k * n + first);
        transpose(column + first);
    }
}
