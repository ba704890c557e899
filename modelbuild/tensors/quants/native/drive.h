// From buffers to kernels and back: chunks of f32, checks for what is not finite, casts.

static int size_of(int dtype) { return dtype == F64 ? 8 : dtype == F32 ? 4 : 2; }

static void load_chunk(int dtype, const uint8_t *source, int n, float *x) {
    int i = 0;
    if (dtype == F32) memcpy(x, source, 4 * (size_t)n);
    else if (dtype == BF16) {
        for (; i + LANES <= n; i += LANES) store(x + i, (vf)(__builtin_convertvector(*(const vh_unaligned *)(source + 2 * i), vi) << 16));
        for (; i < n; i++) x[i] = float_of((uint32_t)load16(source + 2 * i) << 16);
    } else {
        for (; i + LANES <= n; i += LANES) store(x + i, load_halves(source + 2 * i));
        for (; i < n; i++) x[i] = load_half(source + 2 * i);
    }
}

static int all_finite(const float *x, int n) {      // n is a multiple of LANES
    vi top = {0};
    for (int i = 0; i < n; i += LANES) top = larger_int(top, (vi)absolute(load(x + i)));
    return !any(equal((vf)(top & 0x7f800000), SPLAT(__builtin_inff())));
}

#define FIRST_NONFINITE(name, type, exponent) \
    static int64_t name(const uint8_t *source, int64_t count) { \
        enum { STRETCH = 4096 / sizeof(type) }; \
        for (int64_t first = 0; first < count; first += STRETCH) { \
            int n = (int)(count - first < STRETCH ? count - first : STRETCH); \
            type found = 0, bits; \
            for (int i = 0; i < n; i++) { \
                memcpy(&bits, source + (size_t)(first + i) * sizeof bits, sizeof bits); \
                found |= (type)((bits & exponent) == exponent); \
            } \
            if (found) for (int i = 0; i < n; i++) { \
                memcpy(&bits, source + (size_t)(first + i) * sizeof bits, sizeof bits); \
                if ((bits & exponent) == exponent) return first + i; \
            } \
        } \
        return -1; \
    }
FIRST_NONFINITE(first_nonfinite_f16, uint16_t, 0x7c00)
FIRST_NONFINITE(first_nonfinite_bf16, uint16_t, 0x7f80)
FIRST_NONFINITE(first_nonfinite_f32, uint32_t, 0x7f800000)
FIRST_NONFINITE(first_nonfinite_f64, uint64_t, 0x7ff0000000000000)

static int64_t first_nonfinite(int dtype, const uint8_t *source, int64_t count) {
    switch (dtype) {
        case F16: return first_nonfinite_f16(source, count);
        case BF16: return first_nonfinite_bf16(source, count);
        case F32: return first_nonfinite_f32(source, count);
        default: return first_nonfinite_f64(source, count);
    }
}

static int overflows(const uint8_t *half) { return (half[1] & 0x7c) == 0x7c; }

// Sums of squares, each in order, of 4 sequences that start `stride` apart: 4 at a time, since additions wait for one another
INLINE void add_squares(const float *x, int stride, int n, float *sum) {
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 4; k++) sum[k] += x[k * stride + i] * x[k * stride + i];
}

// The sums of squares of 4 rows; those from `rows` on are not there
static void add_squares_of_rows(int dtype, const uint8_t *source, int64_t columns, int64_t rows, float *sum) {
    enum { STRETCH = 256 };
    float x[4 * STRETCH] __attribute__((aligned(64))) = {0};
    for (int k = 0; k < 4; k++) sum[k] = 0;
    for (int64_t first = 0; first < columns; first += STRETCH) {
        int n = (int)(columns - first < STRETCH ? columns - first : STRETCH);
        for (int64_t k = 0; k < 4 && k < rows; k++)
            load_chunk(dtype, source + (size_t)(k * columns + first) * (size_t)size_of(dtype), n, x + k * STRETCH);
        add_squares(x, STRETCH, n, sum);
    }
}

// What weighing a chunk needs: the whole source, and of 4 rows from `row` on the sums of squares
struct weigher { struct spread spread; struct importance importance; int dtype; const uint8_t *source; int64_t rows, row; float sum[4]; };

// Weights of n elements x from `first` on, and zeros up to CHUNK
static void weigh(struct weigher *by, const float *x, int64_t first, int n, float *w) {
    const struct spread spread = by->spread;
    int64_t columns = by->importance.columns;
    for (int i = 0; i < n;) {
        int64_t column = (first + i) % columns, run = columns - column < n - i ? columns - column : n - i;
        memcpy(w + i, by->importance.of_column + 4 * column, 4 * (size_t)run);
        i += (int)run;
    }
    memset(w + n, 0, sizeof(float) * (size_t)(CHUNK - n));
    if (spread.times == 0) return;
    int step = spread.span == WHOLE_ROW ? 32 : spread.span;
    float sum[CHUNK / 32] = {0}, over = spread.span == WHOLE_ROW ? (float)columns : spread.over;
    if (spread.span != WHOLE_ROW)
        for (int j = 0; j < n / step; j += 4) add_squares(x + j * step, step, step, sum + j);
    else for (int i = 0; i < n; i += step) {
        int64_t row = (first + i) / columns;
        if (row >= by->row + 4) {
            by->row = row;
            add_squares_of_rows(by->dtype, by->source + (size_t)(row * columns) * (size_t)size_of(by->dtype), columns, by->rows - row, by->sum);
        }
        sum[i / step] = by->sum[row - by->row];
    }
    for (int i = 0; i < n; i += step) {
        vf v = SPLAT(spread.times * sum[i / step] / over);
        for (int j = i; j < i + step; j += LANES) store(w + j, load(w + j) * root(v + load(x + j) * load(x + j)));
    }
}

// With a weigher or NULL
INLINE struct positions quantize_chunks(const struct format *format, int dtype, const uint8_t *source, int64_t count, struct weigher *weigher,
                                        uint8_t *out) {
    float buffer[CHUNK] __attribute__((aligned(64)));
    int in_place = dtype == F32 && (uintptr_t)source % sizeof(float) == 0;
    struct positions at = {-1, -1};
    for (int64_t first = 0; first < count; first += CHUNK) {
        const uint8_t *from = source + (size_t)first * size_of(dtype);
        int n = (int)(count - first < CHUNK ? count - first : CHUNK), blocks = n / format->block;
        const float *x = buffer;
        if (in_place && n == CHUNK) x = (const float *)from;
        else {
            load_chunk(dtype, from, n, buffer);
            memset(buffer + n, 0, sizeof(float) * (size_t)(CHUNK - n));
        }
        if (!all_finite(x, CHUNK)) {
            int64_t position = first + first_nonfinite(dtype, from, n);
            return (struct positions){position, -1};
        }
        if (weigher) {
            float weights[CHUNK] __attribute__((aligned(64)));
            weigh(weigher, x, first, n, weights);
            format->pack_weighted(x, weights, blocks, out);
        } else format->pack(x, blocks, out);
        for (int h = 0; h < 2 && format->half[h] >= 0; h++)
            for (int b = 0; b < blocks; b++)
                if (overflows(out + b * format->bytes + format->half[h])) {
                    int64_t position = first + b * format->block;
                    if (at.overflow < 0 || position < at.overflow) at.overflow = position;
                }
        out += blocks * format->bytes;
    }
    return at;
}

// Both end early at a value that is not finite. A scale that overflows is written like any other.
static struct positions quantize(const struct format *format, int dtype, const uint8_t *source, int64_t count, uint8_t *out) {
    return quantize_chunks(format, dtype, source, count, NULL, out);
}

static struct positions quantize_weighted(const struct format *format, int dtype, const uint8_t *source, int64_t count, struct importance importance,
                                          uint8_t *out) {
    struct weigher weigher = {format->spread, importance, dtype, source, count / importance.columns, -4, {0}};
    return quantize_chunks(format, dtype, source, count, &weigher, out);
}

// Writes everything, whatever it meets.
static struct positions cast(int to, int dtype, const uint8_t *source, int64_t count, uint8_t *out) {
    struct positions at = {first_nonfinite(dtype, source, count), -1};
    if (to == dtype) {
        memcpy(out, source, (size_t)count * size_of(to));
        return at;
    }
    float x[CHUNK] __attribute__((aligned(64)));
    for (int64_t first = 0; first < count; first += CHUNK, out += CHUNK * size_of(to)) {
        int n = (int)(count - first < CHUNK ? count - first : CHUNK), i = 0;
        load_chunk(dtype, source + (size_t)first * size_of(dtype), n, x);
        if (to == F32) {
            memcpy(out, x, sizeof(float) * (size_t)n);
            continue;
        }
        if (n == CHUNK && all_finite(x, CHUNK)) {       // the instructions for vectors keep the bits of a NaN, ggml does not
            for (; i < CHUNK; i += LANES) {
                if (to == F16) store_halves(out + 2 * i, load(x + i));
                else {
                    vi w = (vi)load(x + i);
                    *(vh_unaligned *)(out + 2 * i) = __builtin_convertvector((w + 0x7fff + (w >> 16 & 1)) >> 16, vh_unaligned);
                }
            }
        }
        for (; i < n; i++) store16(out + 2 * i, to == F16 ? half_of(x[i]) : bf16_of(x[i]));
        if (at.nonfinite < 0 && at.overflow < 0) {
            int64_t over = first_nonfinite(to, out, n);
            if (over >= 0) at.overflow = first + over;
        }
    }
    return at;
}

static void dequantize(const struct format *format, const uint8_t *source, int64_t blocks, uint8_t *out) {
    float x[256];
    size_t size = sizeof(float) * (size_t)format->block;
    for (int64_t b = 0; b < blocks; b++, source += format->bytes, out += size) {
        format->unpack(source, x);
        memcpy(out, x, size);
    }
}
