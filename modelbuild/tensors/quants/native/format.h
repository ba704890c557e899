// What the module and the kernels of all instruction sets share: the shape of a format, scalars, half precision.
#ifndef MODELBUILD_FORMAT_H
#define MODELBUILD_FORMAT_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels need a little-endian machine"
#endif

#if FLT_EVAL_METHOD != 0 || defined(__FAST_MATH__)
#error "the kernels need float arithmetic as written: each operation rounded to float"
#endif

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

// ggml's enum ggml_type
enum { F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8, Q2_K = 10, Q3_K = 11, Q4_K = 12, Q5_K = 13, Q6_K = 14,
       IQ4_NL = 20, IQ4_XS = 23, F64 = 28, BF16 = 30, TQ1_0 = 34, TQ2_0 = 35, MXFP4 = 39, NVFP4 = 40 };

enum { CHUNK = 1024 };          // floats that a kernel takes at a time: 4 super-blocks, 32 blocks of 32

// Write `blocks` blocks to y. x is aligned to 4, finite, and readable for CHUNK floats; what lies beyond the blocks is zero.
typedef void pack_function(const float *x, int blocks, uint8_t *y);
// The same with the weight of each element, any floats, in w as the elements are in x.
typedef void pack_weighted_function(const float *x, const float *w, int blocks, uint8_t *y);
// Read one block.
typedef void unpack_function(const uint8_t *y, float *x);

// How the weight of an element x comes from the importance of its column: times sqrt(v + x * x), where v is the sum of squares of the
// `span` elements that x is among, times `times`, divided by `over`.
struct spread {
    int span;                   // WHOLE_ROW: as many as there are columns, and `over` is that, too
    float times, over;          // times 0: the weight is the importance
};
enum { WHOLE_ROW = 0 };

struct format {
    int ggml_type, block, bytes;
    int half[2];                // where in a block its f16 scales stand; -1: no further one
    pack_function *pack;
    unpack_function *unpack;
    pack_weighted_function *pack_weighted;      // NULL: importances change nothing
    struct spread spread;
};

// An importance matrix: f32 for each column of a row.
struct importance { const uint8_t *of_column; int64_t columns; };

struct positions { int64_t nonfinite, overflow; };      // the first element of each kind, or -1

// One table for each instruction set. `formats` ends with a format of block 0. Counts are of elements; buffers have any alignment.
struct kernels {
    const char *name;
    const struct format *formats;
    struct positions (*quantize)(const struct format *format, int dtype, const uint8_t *source, int64_t count, uint8_t *out);
    struct positions (*quantize_weighted)(const struct format *format, int dtype, const uint8_t *source, int64_t count, struct importance importance,
                                          uint8_t *out);
    struct positions (*cast)(int to, int dtype, const uint8_t *source, int64_t count, uint8_t *out);
    void (*dequantize)(const struct format *format, const uint8_t *source, int64_t blocks, uint8_t *out);
    int64_t (*first_nonfinite)(int dtype, const uint8_t *source, int64_t count);
    void (*add_product)(const uint8_t *a, const uint8_t *b, int64_t rows, int64_t columns, int64_t rank, float scale, uint8_t *x);
};
extern const struct kernels kernels_avx512, kernels_avx2, kernels_portable;

static inline uint32_t bits_of(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static inline float float_of(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }

// nearest_int of ggml-quants.c: round half to even; the bits also define the result for what doesn't fit
#define MAGIC 12582912.0f
static inline int nearest(float f) { return (int)(bits_of(f + MAGIC) & 0x7fffff) - 0x400000; }

// f32 -> f16: nearest even, NaN to 0x7e00 with its sign
static inline uint16_t half_of(float f) {
    uint32_t w = bits_of(f), sign = (w >> 16) & 0x8000, a = w & 0x7fffffff;
    if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (a >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
    if (a < 0x38800000) return (uint16_t)(sign | (bits_of(float_of(a) + 0.5f) & 0xffff));   // subnormal half: its unit 2^-24 is the ulp of 0.5
    a += 0xc8000fff + ((a >> 13) & 1);
    return (uint16_t)(sign | a >> 13);
}

static inline float widen(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, a = (uint32_t)(h & 0x7fff) << 13;
    uint32_t finite = bits_of(float_of(a) * 0x1p112f);          // exact, subnormal halves too
    return float_of(sign | (a < 0x0f800000 ? finite : a | 0x7f800000));
}

static inline uint16_t bf16_of(float f) {
    uint32_t w = bits_of(f);
    if ((w & 0x7fffffff) > 0x7f800000) return (uint16_t)(w >> 16 | 0x40);
    return (uint16_t)((w + 0x7fff + (w >> 16 & 1)) >> 16);
}

static inline uint16_t load16(const uint8_t *p) { uint16_t h; memcpy(&h, p, 2); return h; }
static inline void store16(uint8_t *p, uint16_t h) { memcpy(p, &h, 2); }
static inline float load_half(const uint8_t *p) { return widen(load16(p)); }

#endif
