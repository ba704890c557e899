// The kernels in vector extensions alone, 4 lanes: SSE2 on x86-64, NEON on arm64, whatever the compiler makes of them elsewhere.
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
INLINE uint32_t lane_bits(vm m) { m &= (vm){1, 2, 4, 8}; return (uint32_t)((m[0] | m[1]) | (m[2] | m[3])); }
INLINE uint32_t sign_bits(vi a) { return lane_bits(a >> 31); }
INLINE int any(vm m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
INLINE vf choose(vm m, vf a, vf b) { return (vf)(((vi)a & m) | ((vi)b & ~m)); }
INLINE vi choose_int(vm m, vi a, vi b) { return (a & m) | (b & ~m); }
INLINE vf larger(vf a, vf b) { return choose(less(b, a), a, b); }
INLINE vf smaller(vf a, vf b) { return choose(less(a, b), a, b); }
INLINE vi larger_int(vi a, vi b) { return choose_int((vm)(a > b), a, b); }
INLINE vi smaller_int(vi a, vi b) { return choose_int((vm)(a < b), a, b); }
INLINE vi plus_one(vi a, vm where) { return a - where; }
INLINE vf look_up(const float *table, vi k) { return (vf){table[k[0]], table[k[1]], table[k[2]], table[k[3]]}; }        // of 16
INLINE vf root(vf a) { for (int k = 0; k < 4; k++) a[k] = __builtin_sqrtf(a[k]); return a; }
INLINE vf rounded(vf a) { return (a + MAGIC) - MAGIC; }
INLINE vi truncated(vf a) {             // as x86 has it: what doesn't fit gives -2^31
    vm fits = less((vf)((vi)a & 0x7fffffff), SPLAT(2147483648.0f));
    return choose_int(fits, __builtin_convertvector((vf)((vi)a & fits), vi), (vi){0} + INT32_MIN);
}
INLINE vf load_halves(const uint8_t *p) { vf a; for (int k = 0; k < 4; k++) a[k] = load_half(p + 2 * k); return a; }
INLINE void store_halves(uint8_t *p, vf a) { for (int k = 0; k < 4; k++) store16(p + 2 * k, half_of(a[k])); }

#include "kernels.h"
