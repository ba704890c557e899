/* Stands between a process and libc (LD_PRELOAD), counts the calls that change files below given folders, and at the Nth
 * does what `faults_arm` asked for. Until it is armed, and in a process that is not, every call goes straight through.
 *
 * Calls are counted before they are made: a failed call has changed nothing, a killed process has not made it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utime.h>

/* glibc's headers give some names below a prototype with attributes that a definition cannot repeat. */
#pragma GCC diagnostic ignored "-Wnonnull-compare"

enum kind {
    OPEN = 1 << 0, WRITE = 1 << 1, SYNC = 1 << 2, RENAME = 1 << 3, LINK = 1 << 4, UNLINK = 1 << 5, MKDIR = 1 << 6,
    RMDIR = 1 << 7, FLOCK = 1 << 8, LOCK = 1 << 9, CHMOD = 1 << 10, TRUNCATE = 1 << 11, TIMES = 1 << 12, CLONE = 1 << 13,
};

enum what { COUNT, FAIL, FAIL_ON, KILL, INTERRUPT, PAUSE };

static struct {
    _Atomic int armed;
    _Atomic long count;
    char roots[8][PATH_MAX];
    int root_count, kinds, what, error, log, ask, go;
    long nth;
} state;

static char *name_of(int kind) {
    static char *names[] = {"open", "write", "sync", "rename", "link", "unlink", "mkdir",
                            "rmdir", "flock", "lock", "chmod", "truncate", "times", "clone"};
    for (int i = 0; i < 14; i++)
        if (kind == 1 << i)
            return names[i];
    return "?";
}

/* `roots` are paths, a newline after each. A call of one of `kinds` on a path below one of them counts. What is counted is
 * written to the descriptor `log`, a line each. PAUSE writes a byte to `ask` and waits for one from `go`. */
void faults_arm(const char *roots, int kinds, long nth, int what, int error, int log, int ask, int go) {
    atomic_store(&state.armed, 0);
    state.root_count = 0;
    while (*roots && state.root_count < 8) {
        size_t length = strcspn(roots, "\n");
        if (length >= PATH_MAX)
            abort();
        memcpy(state.roots[state.root_count], roots, length);
        state.roots[state.root_count++][length] = 0;
        roots += length + (roots[length] != 0);
    }
    state.kinds = kinds, state.nth = nth, state.what = what, state.error = error;
    state.log = log, state.ask = ask, state.go = go;
    atomic_store(&state.count, 0);
    atomic_store(&state.armed, 1);
}

long faults_count(void) { return atomic_load(&state.count); }

static int below(const char *path) {
    for (int i = 0; i < state.root_count; i++) {
        size_t length = strlen(state.roots[i]);
        if (!strncmp(path, state.roots[i], length) && (path[length] == '/' || !path[length]))
            return 1;
    }
    return 0;
}

static void path_of(int fd, char *out) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
    out[length > 0 ? length : 0] = 0;
}

static void absolute(int folder, const char *path, char *out) {
    if (*path == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return;
    }
    char base[PATH_MAX] = "";
    if (folder == AT_FDCWD)
        syscall(SYS_getcwd, base, sizeof base);
    else
        path_of(folder, base);
    if (snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX)
        *out = 0;
}

static void say(long number, int kind, const char *path) {
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%ld %s %s\n", number, name_of(kind), path);
    if (state.log >= 0 && length > 0)
        syscall(SYS_write, state.log, line, (size_t)length);
}

/* Count a call; returns 0 for it to be made, -1 (errno set) for it to fail. */
static int met(int kind, const char *path) {
    if (!(state.kinds & kind) || !below(path))
        return 0;
    long number = atomic_fetch_add(&state.count, 1) + 1;
    if (state.what == COUNT || number >= state.nth)
        if (state.what == COUNT || number == state.nth || state.what == FAIL_ON)
            say(number, kind, path);
    if (number < state.nth || (number > state.nth && state.what != FAIL_ON))
        return 0;
    char byte = 0;
    switch (state.what) {
    case FAIL:
    case FAIL_ON:
        errno = state.error;
        return -1;
    case KILL:
        syscall(SYS_kill, getpid(), SIGKILL);
        for (;;)
            pause();
    case INTERRUPT:
        syscall(SYS_kill, getpid(), SIGINT);
        return 0;
    case PAUSE: {
        int before = errno;
        syscall(SYS_write, state.ask, &byte, 1);
        while (syscall(SYS_read, state.go, &byte, 1) < 0 && errno == EINTR)
            ;
        errno = before;
    }
    }
    return 0;
}

static int at(int kind, int folder, const char *path) {
    char full[PATH_MAX];
    if (!atomic_load(&state.armed) || !path || !(state.kinds & kind))
        return 0;
    absolute(folder, path, full);
    return met(kind, full);
}

static int on(int kind, int fd) {
    char full[PATH_MAX];
    if (!atomic_load(&state.armed) || !(state.kinds & kind))
        return 0;
    path_of(fd, full);
    return met(kind, full);
}

/* Of two names the one below a root counts, and the second first: that is what changes. */
static int between(int kind, int old_folder, const char *old, int new_folder, const char *new) {
    char full[PATH_MAX];
    if (!atomic_load(&state.armed) || !old || !new)
        return 0;
    absolute(new_folder, new, full);
    if (!below(full))
        absolute(old_folder, old, full);
    return met(kind, full);
}

#define NEXT(name)                                                                                                            \
    static __typeof__(&name) next;                                                                                           \
    if (!next)                                                                                                                \
        next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define CALL(result, name, parameters, arguments, test)                                                                      \
    result name parameters {                                                                                                 \
        NEXT(name);                                                                                                           \
        return (test) ? (result)-1 : next arguments;                                                                         \
    }

static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC); }

#define OPENS(name)                                                                                                           \
    int name(const char *path, int flags, ...) {                                                                             \
        NEXT(name);                                                                                                           \
        va_list more;                                                                                                         \
        va_start(more, flags);                                                                                                \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                                              \
        va_end(more);                                                                                                         \
        return writes(flags) && at(OPEN, AT_FDCWD, path) ? -1 : next(path, flags, mode);                                     \
    }
#define OPENS_AT(name)                                                                                                        \
    int name(int folder, const char *path, int flags, ...) {                                                                 \
        NEXT(name);                                                                                                           \
        va_list more;                                                                                                         \
        va_start(more, flags);                                                                                                \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                                              \
        va_end(more);                                                                                                         \
        return writes(flags) && at(OPEN, folder, path) ? -1 : next(folder, path, flags, mode);                               \
    }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)
CALL(int, creat, (const char *path, mode_t mode), (path, mode), at(OPEN, AT_FDCWD, path))
CALL(int, creat64, (const char *path, mode_t mode), (path, mode), at(OPEN, AT_FDCWD, path))

CALL(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), on(WRITE, fd))
CALL(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), on(WRITE, fd))
CALL(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t offset), (fd, data, size, offset), on(WRITE, fd))
CALL(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t offset), (fd, data, size, offset), on(WRITE, fd))
CALL(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t offset), (fd, parts, count, offset), on(WRITE, fd))
CALL(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t offset), (fd, parts, count, offset), on(WRITE, fd))
CALL(ssize_t, pwritev2, (int fd, const struct iovec *parts, int count, off_t offset, int flags), (fd, parts, count, offset, flags), on(WRITE, fd))
CALL(ssize_t, pwritev64v2, (int fd, const struct iovec *parts, int count, off64_t offset, int flags), (fd, parts, count, offset, flags), on(WRITE, fd))
CALL(ssize_t, copy_file_range, (int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags), (in, from, out, to, size, flags), on(WRITE, out))

CALL(int, fsync, (int fd), (fd), on(SYNC, fd))
CALL(int, fdatasync, (int fd), (fd), on(SYNC, fd))

CALL(int, rename, (const char *old, const char *new), (old, new), between(RENAME, AT_FDCWD, old, AT_FDCWD, new))
CALL(int, renameat, (int from, const char *old, int to, const char *new), (from, old, to, new), between(RENAME, from, old, to, new))
CALL(int, renameat2, (int from, const char *old, int to, const char *new, unsigned flags), (from, old, to, new, flags), between(RENAME, from, old, to, new))
CALL(int, link, (const char *old, const char *new), (old, new), between(LINK, AT_FDCWD, old, AT_FDCWD, new))
CALL(int, linkat, (int from, const char *old, int to, const char *new, int flags), (from, old, to, new, flags), between(LINK, from, old, to, new))
CALL(int, symlink, (const char *text, const char *path), (text, path), at(LINK, AT_FDCWD, path))
CALL(int, symlinkat, (const char *text, int folder, const char *path), (text, folder, path), at(LINK, folder, path))
CALL(int, unlink, (const char *path), (path), at(UNLINK, AT_FDCWD, path))
CALL(int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags), at(flags & AT_REMOVEDIR ? RMDIR : UNLINK, folder, path))
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), at(MKDIR, AT_FDCWD, path))
CALL(int, mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), at(MKDIR, folder, path))
CALL(int, rmdir, (const char *path), (path), at(RMDIR, AT_FDCWD, path))

CALL(int, flock, (int fd, int operation), (fd, operation), !(operation & LOCK_UN) && on(FLOCK, fd))
CALL(int, chmod, (const char *path, mode_t mode), (path, mode), at(CHMOD, AT_FDCWD, path))
CALL(int, fchmod, (int fd, mode_t mode), (fd, mode), on(CHMOD, fd))
CALL(int, fchmodat, (int folder, const char *path, mode_t mode, int flags), (folder, path, mode, flags), at(CHMOD, folder, path))
CALL(int, ftruncate, (int fd, off_t size), (fd, size), on(TRUNCATE, fd))
CALL(int, ftruncate64, (int fd, off64_t size), (fd, size), on(TRUNCATE, fd))
CALL(int, truncate, (const char *path, off_t size), (path, size), at(TRUNCATE, AT_FDCWD, path))
CALL(int, truncate64, (const char *path, off64_t size), (path, size), at(TRUNCATE, AT_FDCWD, path))
CALL(int, utime, (const char *path, const struct utimbuf *times), (path, times), at(TIMES, AT_FDCWD, path))
CALL(int, utimes, (const char *path, const struct timeval times[2]), (path, times), at(TIMES, AT_FDCWD, path))
CALL(int, futimens, (int fd, const struct timespec times[2]), (fd, times), on(TIMES, fd))
CALL(int, utimensat, (int folder, const char *path, const struct timespec times[2], int flags), (folder, path, times, flags), path ? at(TIMES, folder, path) : on(TIMES, folder))

/* These two give the error itself. */
int posix_fallocate(int fd, off_t offset, off_t size) {
    NEXT(posix_fallocate);
    return on(TRUNCATE, fd) ? state.error : next(fd, offset, size);
}
int posix_fallocate64(int fd, off64_t offset, off64_t size) {
    NEXT(posix_fallocate64);
    return on(TRUNCATE, fd) ? state.error : next(fd, offset, size);
}

static int takes_lock(int command, void *argument) {
    return (command == F_SETLK || command == F_SETLKW) && ((struct flock *)argument)->l_type != F_UNLCK;
}

#define CONTROLS(name)                                                                                                        \
    int name(int fd, int command, ...) {                                                                                     \
        NEXT(name);                                                                                                           \
        va_list more;                                                                                                         \
        va_start(more, command);                                                                                              \
        void *argument = va_arg(more, void *);                                                                               \
        va_end(more);                                                                                                         \
        return takes_lock(command, argument) && on(LOCK, fd) ? -1 : next(fd, command, argument);                             \
    }
CONTROLS(fcntl)
CONTROLS(fcntl64)

#define FICLONE_REQUEST 0x40049409
int ioctl(int fd, unsigned long request, ...) {
    NEXT(ioctl);
    va_list more;
    va_start(more, request);
    void *argument = va_arg(more, void *);
    va_end(more);
    return request == FICLONE_REQUEST && on(CLONE, fd) ? -1 : next(fd, request, argument);
}
