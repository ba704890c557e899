// x + scale * b a: what a pair of low-rank factors adds to a matrix.
// Each sum starts at 0 and goes by the rank, every operation rounded to float: so it has one value, whatever the lanes.

enum { TOGETHER_ROWS = 4 };     // rows that share what is loaded of a

INLINE void add_lanes(const uint8_t *a, const uint8_t *b, int64_t columns, int64_t rank, float scale, int rows, uint8_t *x) {
    vf sum[TOGETHER_ROWS] = {{0}};
    for (int64_t k = 0; k < rank; k++) {
        vf row = load(a + 4 * (size_t)(k * columns));
        for (int i = 0; i < rows; i++) {
            float factor;
            memcpy(&factor, b + 4 * (size_t)(i * rank + k), 4);
            sum[i] = sum[i] + SPLAT(factor) * row;
        }
    }
    for (int i = 0; i < rows; i++) {
        uint8_t *at = x + 4 * (size_t)(i * columns);
        store(at, load(at) + SPLAT(scale) * sum[i]);
    }
}

static void add_one_value(const uint8_t *a, const uint8_t *b, int64_t columns, int64_t rank, float scale, uint8_t *x) {
    float sum = 0, left, right, value;
    for (int64_t k = 0; k < rank; k++) {
        memcpy(&left, b + 4 * (size_t)k, 4);
        memcpy(&right, a + 4 * (size_t)(k * columns), 4);
        sum = sum + left * right;
    }
    memcpy(&value, x, 4);
    value = value + scale * sum;
    memcpy(x, &value, 4);
}

// x: [rows, columns], a: [rank, columns], b: [rows, rank], all f32 at any alignment
static void add_product(const uint8_t *a, const uint8_t *b, int64_t rows, int64_t columns, int64_t rank, float scale, uint8_t *x) {
    for (int64_t i = 0; i < rows; i += TOGETHER_ROWS) {
        int some = (int)(rows - i < TOGETHER_ROWS ? rows - i : TOGETHER_ROWS);
        const uint8_t *left = b + 4 * (size_t)(i * rank);
        int64_t j = 0;
        for (; j + LANES <= columns; j += LANES) {
            uint8_t *at = x + 4 * (size_t)(i * columns + j);
            if (some == TOGETHER_ROWS) add_lanes(a + 4 * (size_t)j, left, columns, rank, scale, TOGETHER_ROWS, at);
            else for (int k = 0; k < some; k++)
                add_lanes(a + 4 * (size_t)j, left + 4 * (size_t)(k * rank), columns, rank, scale, 1, at + 4 * (size_t)(k * columns));
        }
        for (; j < columns; j++)
            for (int k = 0; k < some; k++)
                add_one_value(a + 4 * (size_t)j, left + 4 * (size_t)(k * rank), columns, rank, scale, x + 4 * (size_t)((i + k) * columns + j));
    }
}
