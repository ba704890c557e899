// The kernels for AVX-512: 16 lanes, comparisons into mask registers.
#if defined(__x86_64__)
#include <immintrin.h>
#define TARGET "avx512f,avx512bw,avx512vl,avx512dq,avx2,f16c"
#include "target.h"
#define KERNELS kernels_avx512
#define NAME "avx512"
#define LANES 16
#define TOGETHER 2      // groups of sub-blocks that the affine search interleaves to hide latency
#define ABREAST 6       // candidates that the symmetric search tries in one pass over the values; divides 18
#include "vectors.h"

typedef __mmask16 vm;
#define NONE ((vm)0)
INLINE vm less(vf a, vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ); }
INLINE vm equal(vf a, vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_EQ_OQ); }
INLINE vm not(vm m) { return (vm)~m; }
INLINE int any(vm m) { return m != 0; }
INLINE uint32_t lane_bits(vm m) { return m; }
INLINE uint32_t sign_bits(vi a) { return _mm512_movepi32_mask((__m512i)a); }
INLINE vf choose(vm m, vf a, vf b) { return (vf)_mm512_mask_blend_ps(m, (__m512)b, (__m512)a); }
INLINE vf larger(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vf smaller(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE vi larger_int(vi a, vi b) { return (vi)_mm512_max_epi32((__m512i)a, (__m512i)b); }
INLINE vi smaller_int(vi a, vi b) { return (vi)_mm512_min_epi32((__m512i)a, (__m512i)b); }
INLINE vi plus_one(vi a, vm where) { return (vi)_mm512_mask_add_epi32((__m512i)a, where, (__m512i)a, _mm512_set1_epi32(1)); }
INLINE vf look_up(const float *table, vi k) { return (vf)_mm512_permutexvar_ps((__m512i)k, _mm512_load_ps(table)); }     // of 16
INLINE vf root(vf a) { return (vf)_mm512_sqrt_ps((__m512)a); }
INLINE vf rounded(vf a) { return (vf)_mm512_roundscale_ps((__m512)a, 8); }
INLINE vi truncated(vf a) { return (vi)_mm512_cvttps_epi32((__m512)a); }
INLINE void store_bytes(uint8_t *p, vi a) { _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)a)); }
INLINE vf load_halves(const uint8_t *p) { return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
INLINE void store_halves(uint8_t *p, vf a) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph((__m512)a, 8)); }

#include "kernels.h"
#include "target_end.h"
#endif
