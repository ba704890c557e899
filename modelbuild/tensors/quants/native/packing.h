// Arrangements of levels that several formats share.

// 32 codes of 4 bits in 16 bytes: byte i holds i and i + 16
INLINE void pack_nibbles(const uint8_t *level, uint8_t *y) {
    for (int i = 0; i < 16; i++) y[i] = (uint8_t)(level[i] | level[i + 16] << 4);
}

// Bit 4 of 32 codes as a u32, and the others as `pack_nibbles` has them, in 20 bytes
INLINE void pack_fifth_and_nibbles(const uint8_t *level, uint8_t *y) {
    uint32_t fifth = 0;
    for (int i = 0; i < 32; i++) fifth |= (uint32_t)(level[i] >> 4 & 1) << i;
    memcpy(y, &fifth, 4);
    for (int i = 0; i < 16; i++) y[4 + i] = (uint8_t)((level[i] & 15) | level[i + 16] << 4);
}

// 256 codes of 2 bits (what is above is dropped) in 64 bytes: of 128 elements, byte l holds l, l + 32, l + 64 and l + 96
INLINE void pack_fours(const uint8_t *level, uint8_t *y) {
    for (int h = 0; h < 2; h++, level += 128, y += 32)
        for (int l = 0; l < 32; l++)
            y[l] = (uint8_t)((level[l] & 3) | (level[l + 32] & 3) << 2 | (level[l + 64] & 3) << 4 | (level[l + 96] & 3) << 6);
}

// Bit `bit` of 256 levels in 32 bytes: element i is bit i / 32 of byte i % 32
INLINE void pack_bits(const uint8_t *level, int bit, uint8_t *y) {
    for (int l = 0; l < 32; l++) {
        int bits = 0;
        for (int j = 0; j < 8; j++) bits |= (level[32 * j + l] >> bit & 1) << j;
        y[l] = (uint8_t)bits;
    }
}

// 256 codes of 4 bits (what is above is dropped) in 128 bytes: of 64 elements, byte l holds l and l + 32
INLINE void pack_pairs(const uint8_t *level, uint8_t *y) {
    for (int c = 0; c < 4; c++, level += 64, y += 32)
        for (int l = 0; l < 32; l++) y[l] = (uint8_t)((level[l] & 15) | level[l + 32] << 4);
}
