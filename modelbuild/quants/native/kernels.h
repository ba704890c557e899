// The kernels of one instruction set: included once by avx512.c, avx2.c and portable.c, which define the vector operations.
#include "lanes.h"
#include "packing.h"
#include "extremes.h"
#include "search_affine.h"
#include "search_symmetric.h"
#include "search_descent.h"
#include "search_uneven.h"
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

static const struct format formats[] = {
    {Q4_0, 32, 18, {0, -1}, q4_0_pack, q4_0_unpack},
    {Q4_1, 32, 20, {0, 2}, q4_1_pack, q4_1_unpack},
    {Q5_0, 32, 22, {0, -1}, q5_0_pack, q5_0_unpack},
    {Q5_1, 32, 24, {0, 2}, q5_1_pack, q5_1_unpack},
    {Q8_0, 32, 34, {0, -1}, q8_0_pack, q8_0_unpack},
    {Q2_K, 256, 84, {80, 82}, q2_k_pack, q2_k_unpack},
    {Q3_K, 256, 110, {108, -1}, q3_k_pack, q3_k_unpack},
    {Q4_K, 256, 144, {0, 2}, q4_k_pack, q4_k_unpack},
    {Q5_K, 256, 176, {0, 2}, q5_k_pack, q5_k_unpack},
    {Q6_K, 256, 210, {208, -1}, q6_k_pack, q6_k_unpack},
    {IQ4_NL, 32, 18, {0, -1}, iq4_nl_pack, iq4_nl_unpack},
    {IQ4_XS, 256, 136, {0, -1}, iq4_xs_pack, iq4_xs_unpack},
    {TQ1_0, 256, 54, {52, -1}, tq1_0_pack, tq1_0_unpack},
    {TQ2_0, 256, 66, {64, -1}, tq2_0_pack, tq2_0_unpack},
    {MXFP4, 32, 17, {-1, -1}, mxfp4_pack, mxfp4_unpack},
    {0},
};

#include "drive.h"

const struct kernels KERNELS = {NAME, formats, quantize, cast, dequantize, first_nonfinite};
