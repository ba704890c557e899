// The kernels of one instruction set: included once by avx512.c, avx2.c and portable.c, which define the vector operations.
#include "lanes.h"
#include "packing.h"
#include "extremes.h"
#include "search_affine.h"
#include "search_symmetric.h"
#include "search_descent.h"
#include "search_uneven.h"
#include "search_positive.h"
#include "ternary.h"
#include "q4_0.h"
#include "q4_1.h"
#include "q5_0.h"
#include "q5_1.h"
#include "q8_0.h"
#include "q2_k.h"
#include "q3_k.h"
#include "q4_k.h"
#include "q5_k.h"
#include "q6_k.h"
#include "iq4_nl.h"
#include "iq4_xs.h"
#include "tq1_0.h"
#include "tq2_0.h"
#include "mxfp4.h"
#include "nvfp4.h"

static const struct format formats[] = {
    {Q4_0, 32, 18, {0, -1}, q4_0_pack, q4_0_unpack, q4_0_pack_weighted, {WHOLE_ROW, 1, 0}},
    {Q4_1, 32, 20, {0, 2}, q4_1_pack, q4_1_unpack, q4_1_pack_weighted, {WHOLE_ROW, 1, 0}},
    {Q5_0, 32, 22, {0, -1}, q5_0_pack, q5_0_unpack, q5_0_pack_weighted, {WHOLE_ROW, 1, 0}},
    {Q5_1, 32, 24, {0, 2}, q5_1_pack, q5_1_unpack, q5_1_pack_weighted, {WHOLE_ROW, 1, 0}},
    {Q8_0, 32, 34, {0, -1}, q8_0_pack, q8_0_unpack, NULL, {0}},
    {Q2_K, 256, 84, {80, 82}, q2_k_pack, q2_k_unpack, q2_k_pack_weighted, {256, 1, 256}},
    {Q3_K, 256, 110, {108, -1}, q3_k_pack, q3_k_unpack, q3_k_pack_weighted, {256, 2, 256}},
    {Q4_K, 256, 144, {0, 2}, q4_k_pack, q4_k_unpack, q4_k_pack_weighted, {256, 2, 256}},
    {Q5_K, 256, 176, {0, 2}, q5_k_pack, q5_k_unpack, q5_k_pack_weighted, {256, 2, 256}},
    {Q6_K, 256, 210, {208, -1}, q6_k_pack, q6_k_unpack, q6_k_pack_weighted, {0, 0, 0}},
    {IQ4_NL, 32, 18, {0, -1}, iq4_nl_pack, iq4_nl_unpack, iq4_nl_pack_weighted, {32, 1, 16}},
    {IQ4_XS, 256, 136, {0, -1}, iq4_xs_pack, iq4_xs_unpack, iq4_xs_pack_weighted, {256, 1, 128}},
    {TQ1_0, 256, 54, {52, -1}, tq1_0_pack, tq1_0_unpack, NULL, {0}},
    {TQ2_0, 256, 66, {64, -1}, tq2_0_pack, tq2_0_unpack, NULL, {0}},
    {MXFP4, 32, 17, {-1, -1}, mxfp4_pack, mxfp4_unpack, NULL, {0}},
    {NVFP4, 64, 36, {-1, -1}, nvfp4_pack, nvfp4_unpack, NULL, {0}},
    {0},
};

#include "drive.h"
#include "product.h"

const struct kernels KERNELS = {NAME, formats, quantize, quantize_weighted, cast, dequantize, first_nonfinite, add_product};
