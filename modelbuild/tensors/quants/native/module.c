// modelbuild.tensors.quants._native: the kernels behind buffers, with the interpreter lock released.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "format.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

// Asked of the processor itself: clang's __builtin_cpu_supports knows no f16c before its release 19.
static int has_f16c(void) {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}
#endif

// Subnormals count and rounding is to nearest: whatever mode other libraries have left this thread in is set aside.
#if defined(__x86_64__)
static uint64_t enter_ieee_mode(void) { uint64_t mode = _mm_getcsr(); _mm_setcsr(0x1f80); return mode; }
static void leave_ieee_mode(uint64_t mode) { _mm_setcsr((unsigned)mode); }
#elif defined(__aarch64__)
static uint64_t enter_ieee_mode(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    return mode;
}
static void leave_ieee_mode(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
static uint64_t enter_ieee_mode(void) { return 0; }
static void leave_ieee_mode(uint64_t mode) { (void)mode; }
#endif

// The instruction sets that this processor has, best first; returns how many.
static int usable(const struct kernels **out) {
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && has_f16c();
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        out[n++] = &kernels_avx512;
    if (avx2) out[n++] = &kernels_avx2;
#endif
    out[n++] = &kernels_portable;
    return n;
}

static const struct kernels *kernels_named(const char *name) {
    const struct kernels *all[3];
    int n = usable(all);
    for (int i = 0; i < n; i++)
        if (!strcmp(all[i]->name, name)) return all[i];
    PyErr_Format(PyExc_ValueError, "no instruction set '%s' on this processor", name);
    return NULL;
}

static const struct format *format_of(const struct kernels *kernels, int ggml_type) {
    for (const struct format *format = kernels->formats; format->block; format++)
        if (format->ggml_type == ggml_type) return format;
    PyErr_Format(PyExc_ValueError, "no kernel for ggml type %d", ggml_type);
    return NULL;
}

// Bytes of one value of a dtype that kernels read or write; 0 and an exception for others
static int value_size(int dtype, int f64_too) {
    if (dtype == F32) return 4;
    if (dtype == F16 || dtype == BF16) return 2;
    if (dtype == F64 && f64_too) return 8;
    PyErr_Format(PyExc_ValueError, "ggml type %d is not a float dtype", dtype);
    return 0;
}

static PyObject *instruction_sets(PyObject *self, PyObject *ignored) {
    (void)self; (void)ignored;
    const struct kernels *all[3];
    int n = usable(all);
    PyObject *names = PyTuple_New(n);
    for (int i = 0; names && i < n; i++) {
        PyObject *name = PyUnicode_FromString(all[i]->name);
        if (!name || PyTuple_SetItem(names, i, name)) { Py_DECREF(names); return NULL; }
    }
    return names;
}

static int add_format(PyObject *rows, const struct format *f) {
    PyObject *row = Py_BuildValue("(iiiii)", f->ggml_type, f->block, f->bytes, f->half[0], f->half[1]);
    int failed = !row || PyList_Append(rows, row);
    Py_XDECREF(row);
    return failed;
}

static PyObject *formats(PyObject *self, PyObject *ignored) {
    (void)self; (void)ignored;
    static const struct format casts[] = {{.ggml_type = F32, .block = 1, .bytes = 4, .half = {-1, -1}}, {.ggml_type = F16, .block = 1, .bytes = 2, .half = {0, -1}},
                                          {.ggml_type = BF16, .block = 1, .bytes = 2, .half = {-1, -1}}, {0}};
    PyObject *rows = PyList_New(0);
    for (const struct format *f = casts; rows && f->block; f++)
        if (add_format(rows, f)) Py_CLEAR(rows);
    for (const struct format *f = kernels_portable.formats; rows && f->block; f++)
        if (add_format(rows, f)) Py_CLEAR(rows);
    return rows;
}

static PyObject *py_quantize(PyObject *self, PyObject *args) {
    (void)self;
    const char *name;
    int type, dtype;
    long long columns = 0;
    PyObject *source_object, *out_object, *weights_object = Py_None, *result = NULL;
    if (!PyArg_ParseTuple(args, "siiOO|OL:quantize", &name, &type, &dtype, &source_object, &out_object, &weights_object, &columns)) return NULL;
    const struct kernels *kernels = kernels_named(name);
    int size = kernels ? value_size(dtype, 0) : 0, casting = type == F32 || type == F16 || type == BF16;
    if (!size) return NULL;
    const struct format *format = casting ? NULL : format_of(kernels, type);
    if (!casting && !format) return NULL;
    int block = casting ? 1 : format->block, bytes = casting ? value_size(type, 0) : format->bytes;

    Py_buffer source, out, weights = {0};
    if (PyObject_GetBuffer(source_object, &source, PyBUF_SIMPLE)) return NULL;
    if (PyObject_GetBuffer(out_object, &out, PyBUF_WRITABLE)) { PyBuffer_Release(&source); return NULL; }
    int weighted = weights_object != Py_None;
    if (weighted && PyObject_GetBuffer(weights_object, &weights, PyBUF_SIMPLE)) {
        PyBuffer_Release(&out);
        PyBuffer_Release(&source);
        return NULL;
    }
    int64_t count = source.len / size;
    if (source.len % size || count % block || out.len != count / block * bytes)
        PyErr_Format(PyExc_ValueError, "%zd bytes of ggml type %d do not make %zd bytes of type %d", source.len, dtype, out.len, type);
    else if (weighted && (casting || !format->pack_weighted))
        PyErr_Format(PyExc_ValueError, "ggml type %d takes no weights", type);
    else if (weighted && (columns <= 0 || columns % block || count % columns || weights.len % 4 || weights.len / 4 != columns))
        PyErr_Format(PyExc_ValueError, "%zd bytes of weights do not fit rows of %lld values", weights.len, columns);
    else {
        struct positions at;
        Py_BEGIN_ALLOW_THREADS
        uint64_t mode = enter_ieee_mode();
        if (casting) at = kernels->cast(type, dtype, source.buf, count, out.buf);
        else if (weighted) at = kernels->quantize_weighted(format, dtype, source.buf, count, (struct importance){weights.buf, columns}, out.buf);
        else at = kernels->quantize(format, dtype, source.buf, count, out.buf);
        leave_ieee_mode(mode);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("(LL)", (long long)at.nonfinite, (long long)at.overflow);
    }
    if (weighted) PyBuffer_Release(&weights);
    PyBuffer_Release(&out);
    PyBuffer_Release(&source);
    return result;
}

static PyObject *py_dequantize(PyObject *self, PyObject *args) {
    (void)self;
    const char *name;
    int type;
    PyObject *source_object, *out_object, *result = NULL;
    if (!PyArg_ParseTuple(args, "siOO:dequantize", &name, &type, &source_object, &out_object)) return NULL;
    const struct kernels *kernels = kernels_named(name);
    if (!kernels) return NULL;
    int casting = type == F32 || type == F16 || type == BF16;
    const struct format *format = casting ? NULL : format_of(kernels, type);
    if (!casting && !format) return NULL;
    int block = casting ? 1 : format->block, bytes = casting ? value_size(type, 0) : format->bytes;

    Py_buffer source, out;
    if (PyObject_GetBuffer(source_object, &source, PyBUF_SIMPLE)) return NULL;
    if (PyObject_GetBuffer(out_object, &out, PyBUF_WRITABLE)) { PyBuffer_Release(&source); return NULL; }
    int64_t blocks = source.len / bytes;
    if (source.len % bytes || out.len != blocks * block * 4)
        PyErr_Format(PyExc_ValueError, "%zd bytes of ggml type %d do not make %zd bytes of f32", source.len, type, out.len);
    else {
        Py_BEGIN_ALLOW_THREADS
        uint64_t mode = enter_ieee_mode();
        if (casting) kernels->cast(F32, type, source.buf, blocks, out.buf);
        else kernels->dequantize(format, source.buf, blocks, out.buf);
        leave_ieee_mode(mode);
        Py_END_ALLOW_THREADS
        result = Py_None;
        Py_INCREF(result);
    }
    PyBuffer_Release(&out);
    PyBuffer_Release(&source);
    return result;
}

static PyObject *py_first_nonfinite(PyObject *self, PyObject *args) {
    (void)self;
    const char *name;
    int dtype;
    PyObject *source_object;
    if (!PyArg_ParseTuple(args, "siO:first_nonfinite", &name, &dtype, &source_object)) return NULL;
    const struct kernels *kernels = kernels_named(name);
    int size = kernels ? value_size(dtype, 1) : 0;
    if (!size) return NULL;
    Py_buffer source;
    if (PyObject_GetBuffer(source_object, &source, PyBUF_SIMPLE)) return NULL;
    int64_t at;
    Py_BEGIN_ALLOW_THREADS
    at = kernels->first_nonfinite(dtype, source.buf, source.len / size);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&source);
    return PyLong_FromLongLong(at);
}

static PyObject *py_add_product(PyObject *self, PyObject *args) {
    (void)self;
    const char *name;
    long long columns, rank;
    float scale;
    PyObject *x_object, *a_object, *b_object, *result = NULL;
    if (!PyArg_ParseTuple(args, "sOOOLLf:add_product", &name, &x_object, &a_object, &b_object, &columns, &rank, &scale)) return NULL;
    const struct kernels *kernels = kernels_named(name);
    if (!kernels) return NULL;
    Py_buffer x, a, b;
    if (PyObject_GetBuffer(x_object, &x, PyBUF_WRITABLE)) return NULL;
    if (PyObject_GetBuffer(a_object, &a, PyBUF_SIMPLE)) { PyBuffer_Release(&x); return NULL; }
    if (PyObject_GetBuffer(b_object, &b, PyBUF_SIMPLE)) { PyBuffer_Release(&a); PyBuffer_Release(&x); return NULL; }
    int64_t rows = columns > 0 ? x.len / 4 / columns : 0;
    if (columns <= 0 || rank <= 0 || columns > x.len || rank > a.len || x.len != rows * columns * 4 || a.len / 4 / rank != columns
        || a.len % (4 * rank) || b.len / 4 / rank != rows || b.len % (4 * rank))
        PyErr_Format(PyExc_ValueError, "%zd bytes do not fit factors of %zd and %zd bytes, rank %lld", x.len, a.len, b.len, rank);
    else {
        Py_BEGIN_ALLOW_THREADS
        uint64_t mode = enter_ieee_mode();
        kernels->add_product(a.buf, b.buf, rows, columns, rank, scale, x.buf);
        leave_ieee_mode(mode);
        Py_END_ALLOW_THREADS
        result = Py_None;
        Py_INCREF(result);
    }
    PyBuffer_Release(&b);
    PyBuffer_Release(&a);
    PyBuffer_Release(&x);
    return result;
}

static PyMethodDef methods[] = {
    {"instruction_sets", instruction_sets, METH_NOARGS, "Names of the instruction sets usable here, best first."},
    {"formats", formats, METH_NOARGS, "(ggml type, block, bytes, offset of an f16 scale, offset of another or -1) of every format that is made here."},
    {"quantize", py_quantize, METH_VARARGS,
     "quantize(instruction_set, ggml_type, dtype, source, out, weights=None, columns=0) -> (first not finite, first overflow), -1 for none."},
    {"dequantize", py_dequantize, METH_VARARGS, "dequantize(instruction_set, ggml_type, source, out): to f32."},
    {"first_nonfinite", py_first_nonfinite, METH_VARARGS, "first_nonfinite(instruction_set, dtype, source) -> position or -1."},
    {"add_product", py_add_product, METH_VARARGS, "add_product(instruction_set, x, a, b, columns, rank, scale): x += scale * b a, in f32."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#if defined(Py_mod_gil) && !defined(Py_LIMITED_API)
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_doc = "Kernels of the block formats.", .m_size = 0, .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module); }
