/* Accidents at counted writes: loaded before the C library (LD_PRELOAD), so that Python, Arrow and safetensors all meet them.

   What changes a file below one folder is counted, in one process: opening a file to make it, writing, syncing, renaming,
   removing, making folders and links. At a given count the process gets a signal, or the call fails as a full or a broken disk
   makes it fail, or a folder is renamed. The clock of the wall can be set back as well. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static char folder[PATH_MAX], moved_from[PATH_MAX], moved_to[PATH_MAX];
static size_t length;
static long at;
static int signal_number, error_number;
static pid_t counts_in;
static atomic_long counted;
static int list = -1;
static long step_every, step_seconds;
static atomic_long clock_calls;

enum { NEVER_FAILS, BROKEN, BROKEN_OR_FULL };

/* Count what this process does below `path`. At call `number` (0: at none) it gets `signal`, or `error` as errno. */
void accident_arm(const char *path, long number, int with_signal, int with_error) {
    snprintf(folder, sizeof folder, "%s", path);
    length = strlen(folder);
    at = number;
    signal_number = with_signal;
    error_number = with_error;
    counted = 0;
    counts_in = getpid();
}

/* At the call that was named, rename a folder of the machine. */
void accident_rename(const char *from, const char *to) {
    snprintf(moved_from, sizeof moved_from, "%s", from);
    snprintf(moved_to, sizeof moved_to, "%s", to);
}

/* From now on each counted call gets a line in a file: its name and its path. */
void accident_list(const char *path) { REAL(open); list = real(path, O_WRONLY | O_CREAT | O_TRUNC, 0644); }

long accident_count(void) { return counted; }

/* Every `every` looks at the clock, it is set back by `seconds`. */
void accident_clock(long every, long seconds) {
    step_every = every;
    step_seconds = seconds;
}

static int is_meant(const char *path) {
    return length && path && counts_in == getpid() && !strncmp(path, folder, length);
}

/* Whether the count has just been reached is left in `*now`; the errno that the call is to fail with, or 0. */
static int strike(const char *call, const char *path, int fails, int *now) {
    long number = ++counted;
    if (list >= 0) dprintf(list, "%s %s\n", call, path + length);
    *now = at && number == at;
    if (!at || number < at) return 0;
    if (*now && moved_from[0]) { REAL(rename); real(moved_from, moved_to); }
    if (*now && signal_number && signal_number != SIGKILL) kill(getpid(), signal_number);
    if (!error_number || fails == NEVER_FAILS) return 0;
    if (error_number == ENOSPC) return fails == BROKEN_OR_FULL ? ENOSPC : 0; /* it stays full */
    return *now ? error_number : 0; /* a broken place is met once */
}

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

static int strike_path(const char *call, const char *path, int fails) {
    int now;
    if (!is_meant(path)) return 0;
    int error = strike(call, path, fails, &now);
    if (now && signal_number == SIGKILL) die();
    return error;
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int saved = errno;
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    errno = saved;
    if (n < 0) return 0;
    path[n] = 0;
    return 1;
}

static int is_meant_fd(int fd, char *path) {
    return length && counts_in == getpid() && path_of(fd, path) && is_meant(path);
}

static int strike_fd(const char *call, int fd, int fails) {
    char path[PATH_MAX];
    return is_meant_fd(fd, path) ? strike_path(call, path, fails) : 0;
}

/* A write is torn: half of it gets to the file before a kill or before the disk is full. */
ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    char path[PATH_MAX];
    int now;
    if (!is_meant_fd(fd, path)) return real(fd, data, size);
    int error = strike("write", path, BROKEN_OR_FULL, &now);
    if (now && signal_number == SIGKILL) { if (size > 1) real(fd, data, size / 2); die(); }
    if (error == ENOSPC && now && size > 1) return real(fd, data, size / 2);
    if (error) { errno = error; return -1; }
    return real(fd, data, size);
}

#define FAIL_IF(condition) { int error = condition; if (error) { errno = error; return -1; } }

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    REAL(pwrite);
    FAIL_IF(strike_fd(__func__, fd, BROKEN_OR_FULL))
    return real(fd, data, size, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    FAIL_IF(strike_fd(__func__, fd, BROKEN_OR_FULL))
    return real(fd, data, size, offset);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    FAIL_IF(strike_fd(__func__, fd, BROKEN_OR_FULL))
    return real(fd, parts, count);
}
ssize_t sendfile(int out, int in, off_t *offset, size_t size) {
    REAL(sendfile);
    FAIL_IF(strike_fd(__func__, out, BROKEN_OR_FULL))
    return real(out, in, offset, size);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
    REAL(sendfile64);
    FAIL_IF(strike_fd(__func__, out, BROKEN_OR_FULL))
    return real(out, in, offset, size);
}
int fsync(int fd) {
    REAL(fsync);
    FAIL_IF(strike_fd(__func__, fd, BROKEN))
    return real(fd);
}
int fdatasync(int fd) {
    REAL(fdatasync);
    FAIL_IF(strike_fd(__func__, fd, BROKEN))
    return real(fd);
}
int rename(const char *from, const char *to) {
    REAL(rename);
    FAIL_IF(strike_path(__func__, to, BROKEN_OR_FULL))
    return real(from, to);
}
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    FAIL_IF(strike_path(__func__, path, BROKEN_OR_FULL))
    return real(path, mode);
}
int symlink(const char *target, const char *path) {
    REAL(symlink);
    FAIL_IF(strike_path(__func__, path, BROKEN_OR_FULL))
    return real(target, path);
}
int unlink(const char *path) {
    REAL(unlink);
    strike_path(__func__, path, NEVER_FAILS);
    return real(path);
}
int unlinkat(int fd, const char *path, int flags) {
    REAL(unlinkat);
    if (path[0] == '/') strike_path(__func__, path, NEVER_FAILS); else strike_fd(__func__, fd, NEVER_FAILS);
    return real(fd, path, flags);
}
int rmdir(const char *path) {
    REAL(rmdir);
    strike_path(__func__, path, NEVER_FAILS);
    return real(path);
}

static int opening(const char *path, int flags) {
    return (flags & (O_WRONLY | O_RDWR)) ? strike_path("open", path, (flags & O_CREAT) ? BROKEN_OR_FULL : BROKEN) : 0;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        FAIL_IF(opening(path, flags)) \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int fd, const char *path, int flags, ...) { \
        REAL(name); \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        FAIL_IF(opening(path, flags)) \
        return real(fd, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

static long set_back(void) {
    if (!step_every) return 0;
    return (++clock_calls / step_every) * step_seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int result = real(clock, now);
    if (!result && clock == CLOCK_REALTIME) now->tv_sec -= set_back();
    return result;
}
time_t time(time_t *now) {
    struct timespec own;
    clock_gettime(CLOCK_REALTIME, &own);
    if (now) *now = own.tv_sec;
    return own.tv_sec;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(gettimeofday);
    int result = real(now, zone);
    if (!result) now->tv_sec -= set_back();
    return result;
}
