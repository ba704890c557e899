/* Which of many files are not as they were: a stat and a comparison for each, without an object of Python's. */

#include <Python.h>

#include <string.h>
#include <sys/stat.h>

#ifdef __APPLE__
#define NANOSECONDS(info, which) ((info).st_##which##timespec.tv_sec * 1000000000LL + (info).st_##which##timespec.tv_nsec)
#else
#define NANOSECONDS(info, which) ((info).st_##which##tim.tv_sec * 1000000000LL + (info).st_##which##tim.tv_nsec)
#endif

/* Whether the number that a text begins with is this one; the text goes on behind it and one more character. */
static int is_next(const char **seen, unsigned long long number)
{
    unsigned long long found = 0;
    const char *at = *seen;
    int sign = *at == '-';
    for (at += sign; *at >= '0' && *at <= '9'; at++)
        found = 10 * found + (unsigned long long)(*at - '0');
    *seen = at + (*at == ':');
    return (sign ? 0 - found : found) == number;
}

/* As `signature` in files.py. */
static int is_same(const char *path, const char *seen)
{
    struct stat info;

    if (stat(path, &info) != 0)
        return *seen == '\0' && lstat(path, &info) != 0;
    return *seen && is_next(&seen, (unsigned long long)info.st_dev) && is_next(&seen, (unsigned long long)info.st_ino) &&
           is_next(&seen, (unsigned long long)info.st_size) && is_next(&seen, (unsigned long long)NANOSECONDS(info, m)) &&
           is_next(&seen, (unsigned long long)NANOSECONDS(info, c)) && !*seen;
}

/* Other threads run meanwhile: the paths lie in an object that nobody changes. */
static PyObject *changed(PyObject *module, PyObject *files)
{
    char *at;
    Py_ssize_t size;
    (void)module;
    if (PyBytes_AsStringAndSize(files, &at, &size) < 0)
        return NULL;
    PyObject *found = PyList_New(0);
    const char *end = at + size;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t number = 0; found && at < end; number++) {
        const char *path = at, *seen = path + strlen(path) + 1;
        if (seen > end)
            seen = end;
        at = (char *)seen + strlen(seen) + 1;
        if (is_same(path, seen))
            continue;
        Py_BLOCK_THREADS
        PyObject *item = PyLong_FromSsize_t(number);
        if (!item || PyList_Append(found, item) < 0)
            Py_CLEAR(found);
        Py_XDECREF(item);
        Py_UNBLOCK_THREADS
    }
    Py_END_ALLOW_THREADS
    return found;
}

static PyMethodDef methods[] = {
    {"changed", changed, METH_O, "The numbers of the files that are not as they were: paths and signatures in turn, with a NUL between."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_stats", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__stats(void)
{
    return PyModule_Create(&module);
}
