/* Which of many files are not as they were: a stat and a comparison for each, without an object of Python's. */

#include <Python.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#ifdef __APPLE__
#define NANOSECONDS(info, which) ((info).st_##which##timespec.tv_sec * 1000000000LL + (info).st_##which##timespec.tv_nsec)
#else
#define NANOSECONDS(info, which) ((info).st_##which##tim.tv_sec * 1000000000LL + (info).st_##which##tim.tv_nsec)
#endif

/* As `signature` in files.py. */
static int is_same(const char *path, const char *seen)
{
    struct stat info;
    char now[128];

    if (stat(path, &info) != 0)
        return *seen == '\0' && lstat(path, &info) != 0;
    snprintf(now, sizeof now, "%llu:%llu:%lld:%lld:%lld", (unsigned long long)info.st_dev, (unsigned long long)info.st_ino,
             (long long)info.st_size, NANOSECONDS(info, m), NANOSECONDS(info, c));
    return strcmp(now, seen) == 0;
}

static PyObject *changed(PyObject *module, PyObject *files)
{
    char *at;
    Py_ssize_t size;
    (void)module;
    if (PyBytes_AsStringAndSize(files, &at, &size) < 0)
        return NULL;
    PyObject *found = PyList_New(0);
    const char *end = at + size;
    for (Py_ssize_t number = 0; found && at < end; number++) {
        const char *path = at, *seen = path + strlen(path) + 1;
        if (seen > end)
            seen = end;
        at = (char *)seen + strlen(seen) + 1;
        if (is_same(path, seen))
            continue;
        PyObject *item = PyLong_FromSsize_t(number);
        if (!item || PyList_Append(found, item) < 0)
            Py_CLEAR(found);
        Py_XDECREF(item);
    }
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
