// The kernels for AVX2: 8 lanes.
#if defined(__x86_64__)
#include <immintrin.h>
#define TARGET "avx2,f16c"
#include "target.h"
#define KERNELS kernels_avx2
#define NAME "avx2"
#define LANES 8
#define TOGETHER 2      // groups of sub-blocks that the affine search interleaves to hide latency
#define ABREAST 3       // candidates that the symmetric search tries in one pass over the values; divides 18
#include "vectors.h"

typedef vi vm;
#define NONE ((vm){0})
INLINE vm less(vf a, vf b) { return (vm)(a < b); }
INLINE vm equal(vf a, vf b) { return (vm)(a == b); }
INLINE vm not(vm m) { return ~m; }
INLINE uint32_t lane_bits(vm m) { return (uint32_t)_mm256_movemask_ps((__m256)m); }
INLINE uint32_t sign_bits(vi a) { return (uint32_t)_mm256_movemask_ps((__m256)a); }
INLINE int any(vm m) { return lane_bits(m) != 0; }
INLINE vf choose(vm m, vf a, vf b) { return (vf)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)m); }
INLINE vf larger(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vf smaller(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE vi larger_int(vi a, vi b) { return (vi)_mm256_max_epi32((__m256i)a, (__m256i)b); }
INLINE vi smaller_int(vi a, vi b) { return (vi)_mm256_min_epi32((__m256i)a, (__m256i)b); }
INLINE vi plus_one(vi a, vm where) { return a - where; }
INLINE vf look_up(const float *table, vi k) {           // of 16
    __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(table), (__m256i)k), high = _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8), (__m256i)k);
    return (vf)_mm256_blendv_ps(low, high, (__m256)(k << 28));
}
INLINE vf root(vf a) { return (vf)_mm256_sqrt_ps((__m256)a); }
INLINE vf rounded(vf a) { return (vf)_mm256_round_ps((__m256)a, 8); }
INLINE vi truncated(vf a) { return (vi)_mm256_cvttps_epi32((__m256)a); }
INLINE void store_bytes(uint8_t *p, vi a) {
    a &= 255;
    __m128i words = _mm_packus_epi32(_mm256_castsi256_si128((__m256i)a), _mm256_extracti128_si256((__m256i)a, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(words, words));
}
INLINE vf load_halves(const uint8_t *p) { return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
INLINE void store_halves(uint8_t *p, vf a) { _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph((__m256)a, 8)); }

#include "kernels.h"
#include "target_end.h"
#endif
