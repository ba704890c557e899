// The kernels in vector extensions alone, 4 lanes: NEON on arm64, whatever the compiler makes of them elsewhere; SSE2 on x86-64, where
// some operations have an instruction that compilers don't find.
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#define KERNELS kernels_portable
#define NAME "portable"
#define LANES 4
#define TOGETHER 2      // groups of sub-blocks that the affine search interleaves to hide latency
#define ABREAST 3       // candidates that the symmetric search tries in one pass over the values; divides 18
#include "vectors.h"

typedef vi vm;
#define NONE ((vm){0})
INLINE vm less(vf a, vf b) { return (vm)(a < b); }
INLINE vm equal(vf a, vf b) { return (vm)(a == b); }
INLINE vm not(vm m) { return ~m; }
INLINE vf choose(vm m, vf a, vf b) { return (vf)(((vi)a & m) | ((vi)b & ~m)); }
INLINE vi choose_int(vm m, vi a, vi b) { return (a & m) | (b & ~m); }
INLINE vi larger_int(vi a, vi b) { return choose_int((vm)(a > b), a, b); }
INLINE vi smaller_int(vi a, vi b) { return choose_int((vm)(a < b), a, b); }
INLINE vi plus_one(vi a, vm where) { return a - where; }
INLINE vf look_up(const float *table, vi k) { return (vf){table[k[0]], table[k[1]], table[k[2]], table[k[3]]}; }        // of 16
INLINE vf rounded(vf a) { return (a + MAGIC) - MAGIC; }
INLINE vf load_halves(const uint8_t *p) {                        // as widen
    vi h = __builtin_convertvector(*(const vh_unaligned *)p, vi), a = (h & 0x7fff) << 13;
    vi finite = (vi)((vf)a * 0x1p112f);
    return (vf)(choose_int((vm)(a < 0x0f800000), finite, a | 0x7f800000) | (h & 0x8000) << 16);
}
INLINE void store_halves(uint8_t *p, vf v) {                    // as half_of
    vi a = (vi)absolute(v), h = (a + (int)0xc8000fff + (a >> 13 & 1)) >> 13;
    h = choose_int((vm)(a < 0x38800000), (vi)((vf)a + 0.5f), h);
    h = choose_int((vm)(a < 0x477ff000), h, choose_int((vm)(a > 0x7f800000), (vi){0} + 0x7e00, (vi){0} + 0x7c00));
    *(vh_unaligned *)p = __builtin_convertvector((h & 0x7fff) | ((vi)v >> 16 & 0x8000), vh_unaligned);
}

#if defined(__SSE2__)
INLINE uint32_t lane_bits(vm m) { return (uint32_t)_mm_movemask_ps((__m128)m); }
INLINE uint32_t sign_bits(vi a) { return (uint32_t)_mm_movemask_ps((__m128)a); }
INLINE int any(vm m) { return lane_bits(m) != 0; }
INLINE vf larger(vf a, vf b) { return (vf)_mm_max_ps((__m128)a, (__m128)b); }
INLINE vf smaller(vf a, vf b) { return (vf)_mm_min_ps((__m128)a, (__m128)b); }
INLINE vf root(vf a) { return (vf)_mm_sqrt_ps((__m128)a); }
INLINE vi truncated(vf a) { return (vi)_mm_cvttps_epi32((__m128)a); }
INLINE void store_bytes(uint8_t *p, vi a) {
    __m128i words = _mm_packs_epi32((__m128i)(a & 255), (__m128i)(a & 255));
    int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    memcpy(p, &bytes, 4);
}
#else
INLINE uint32_t lane_bits(vm m) { m &= (vm){1, 2, 4, 8}; return (uint32_t)((m[0] | m[1]) | (m[2] | m[3])); }
INLINE uint32_t sign_bits(vi a) { return lane_bits(a >> 31); }
INLINE int any(vm m) { return ((m[0] | m[1]) | (m[2] | m[3])) != 0; }
INLINE vf larger(vf a, vf b) { return choose(less(b, a), a, b); }
INLINE vf smaller(vf a, vf b) { return choose(less(a, b), a, b); }
INLINE vf root(vf a) { for (int k = 0; k < 4; k++) a[k] = __builtin_sqrtf(a[k]); return a; }
INLINE vi truncated(vf a) {             // as x86 has it: what doesn't fit gives -2^31
    vm fits = less((vf)((vi)a & 0x7fffffff), SPLAT(2147483648.0f));
    return choose_int(fits, __builtin_convertvector((vf)((vi)a & fits), vi), (vi){0} + INT32_MIN);
}
INLINE void store_bytes(uint8_t *p, vi a) { *(vb_unaligned *)p = __builtin_convertvector(a, vb_unaligned); }
#endif

#include "kernels.h"
