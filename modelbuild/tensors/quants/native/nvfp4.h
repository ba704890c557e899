// nvfp4: four scales u8 (e4m3 without a sign), one for each 16 of 64 elements, then 8 bytes of e2m1 floats for each 16:
// element j in the low nibble of byte j, j + 8 in the high one. (quantize_row_nvfp4_ref)

// Half of what a code stands for, and nothing for the one that is no number. (ggml_ue4m3_to_fp32)
INLINE float half_e4m3(int code) {
    int exponent = code >> 3 & 15, fraction = code & 7;
    if (code == 0x7f) return 0;
    return exponent ? float_of((uint32_t)(exponent + 119) << 23 | (uint32_t)fraction << 20) : (float)fraction * 0x1p-10f;
}

// (ggml_fp32_to_ue4m3)
INLINE int code_e4m3(float x) {
    if (!(x > 0)) return 0;
    if (x > 448) x = 448;
    uint32_t bits = bits_of(x);
    int exponent = (int)(bits >> 23) - 120;
    if (exponent <= 0) {
        int small = (int)(x * 512 + 0.5f);
        return small > 7 ? 7 : small;
    }
    // A fraction that is rounded up to eight goes on in the exponent; from 248 on the largest code is taken.
    int code = exponent * 8 + (int)(bits >> 20 & 7) + (int)(bits >> 19 & 1);
    return code >= 15 * 8 ? 0x7e : code;
}

static void nvfp4_pack(const float *x, int blocks, uint8_t *y) {
    for (; blocks > 0; blocks--, x += 64, y += 36) {
        for (int part = 0; part < 4; part++) {
            const float *v = x + 16 * part;
            float top = 0, middle[7];
            for (int i = 0; i < 16; i++) top = __builtin_fabsf(v[i]) > top ? __builtin_fabsf(v[i]) : top;
            y[part] = (uint8_t)code_e4m3(top / 6);
            float d = half_e4m3(y[part]);
            // Above the middle of two values the higher is nearer, at it the lower one is taken. All middles are exact.
            for (int l = 0; l < 7; l++) middle[l] = (e2m1[l] + e2m1[l + 1]) * 0.5f * d;
            uint8_t level[16];
            for (int i = 0; i < 16; i++) {
                float a = __builtin_fabsf(v[i]);
                int found = 0;
                for (int l = 0; l < 7; l++) found += a > middle[l];
                // Far above all values several may be equally near as floats: the lowest is taken.
                if (a > 12 * d)
                    while (found && a - e2m1[found - 1] * d == a - e2m1[found] * d) found--;
                level[i] = (uint8_t)(found | (v[i] < 0 && found ? 8 : 0));
            }
            // Without a scale all levels are equally far.
            for (int i = 0; i < 8; i++) y[4 + 8 * part + i] = d > 0 ? (uint8_t)(level[i] | level[i + 8] << 4) : 0;
        }
    }
}

static void nvfp4_unpack(const uint8_t *y, float *x) {
    for (int part = 0; part < 4; part++) {
        float d = half_e4m3(y[part]);
        for (int i = 0; i < 8; i++) {
            int packed = y[4 + 8 * part + i];
            x[16 * part + i] = e2m1[packed & 15] * d;
            x[16 * part + i + 8] = e2m1[packed >> 4] * d;
        }
    }
}
