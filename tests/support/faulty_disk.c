/* Preloaded before libc by tests: counts the system calls that touch one folder and, at the N-th, kills the process or
 * lets the call fail as a full, failing or read-only disk would. Everything else passes through. Linux, glibc. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PASS, KILL, TORN, FAIL, FULL, NEVER };  /* NEVER: calls of one name fail always (no hard links) */

static char prefix[4096], never_name[32];
static int mode = PASS, at = 0, error = 0, count = 0, hit = 0, log_fd = -1;
static unsigned char below[65536];

/* What the worker calls through ctypes. */
void faulty_arm(const char *folder, int new_mode, int new_at, int new_error, const char *log) {
    snprintf(prefix, sizeof prefix, "%s", folder);
    count = hit = 0, at = new_at, error = new_error;
    log_fd = log[0] ? syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644) : -1;
    mode = new_mode;
}
void faulty_never(const char *name, int new_error) {
    snprintf(never_name, sizeof never_name, "%s", name);
    error = new_error;
}
int faulty_hit(void) { return hit; }

static int inside(const char *path) { return prefix[0] && path && !strncmp(path, prefix, strlen(prefix)); }
static int inside_fd(int fd) { return prefix[0] && fd >= 0 && fd < (int)sizeof below && below[fd]; }

static void note(const char *name, const char *path) {
    char line[5000];
    if (log_fd < 0) return;
    int size = snprintf(line, sizeof line, "%s %s\n", name, path ? path : "");
    syscall(SYS_write, log_fd, line, size);
}

static void die(void) {
    syscall(SYS_kill, (pid_t)syscall(SYS_getpid), SIGKILL);
}

/* 0: go on; -1: fail with errno; 1: of this write only half is to be done. `grows`: the call needs space (a full disk refuses it). */
static int step(const char *name, const char *path, int grows, int writes) {
    note(name, path);
    if (never_name[0] && !strcmp(name, never_name)) return errno = error, -1;
    if (mode == PASS) return 0;
    count++;
    if (mode == FULL) {
        if (count < at || !grows) return 0;
        hit++;
        return hit == 1 && writes ? 1 : (errno = error, -1);  /* a full disk first takes what it can */
    }
    if (count != at) return 0;
    hit = 1;
    if (mode == TORN && writes) return 1;
    if (mode == KILL || mode == TORN) die();
    return errno = error, -1;
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

static int opened(int fd, int is_inside) {
    if (fd >= 0 && fd < (int)sizeof below) below[fd] = is_inside;
    return fd;
}

#define OPEN(name)                                                                                          \
    int name(const char *path, int flags, ...) {                                                            \
        REAL(int, #name, const char *, int, ...);                                                           \
        va_list rest; va_start(rest, flags); mode_t permissions = va_arg(rest, mode_t); va_end(rest);       \
        int is_inside = inside(path);                                                                       \
        if (is_inside && step(flags & O_CREAT ? "create" : "open", path, !!(flags & O_CREAT), 0)) return -1; \
        return opened(real(path, flags, permissions), is_inside);                                           \
    }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                                                        \
    int name(int folder, const char *path, int flags, ...) {                                                \
        REAL(int, #name, int, const char *, int, ...);                                                      \
        va_list rest; va_start(rest, flags); mode_t permissions = va_arg(rest, mode_t); va_end(rest);       \
        int is_inside = inside(path);                                                                       \
        if (is_inside && step(flags & O_CREAT ? "create" : "open", path, !!(flags & O_CREAT), 0)) return -1; \
        return opened(real(folder, path, flags, permissions), is_inside);                                   \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (inside_fd(fd)) {
        int what = step("write", "", 1, 1);
        if (what < 0) return -1;
        if (what > 0) {
            ssize_t written = real(fd, data, (size + 1) / 2);
            if (mode == TORN) die();
            return written;
        }
    }
    return real(fd, data, size);
}

#define ON_FD(name)                                                       \
    int name(int fd) {                                                    \
        REAL(int, #name, int);                                            \
        if (inside_fd(fd) && step(#name, "", 0, 0)) return -1;            \
        return real(fd);                                                  \
    }
ON_FD(fsync)
ON_FD(fdatasync)

int close(int fd) {
    REAL(int, "close", int);
    int was = inside_fd(fd);
    if (fd >= 0 && fd < (int)sizeof below) below[fd] = 0;
    if (was && step("close", "", 0, 0)) {
        int kept = errno;
        real(fd);
        return errno = kept, -1;
    }
    return real(fd);
}
int fchmod(int fd, mode_t permissions) {
    REAL(int, "fchmod", int, mode_t);
    if (inside_fd(fd) && step("fchmod", "", 0, 0)) return -1;
    return real(fd, permissions);
}
int ftruncate64(int fd, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    if (inside_fd(fd) && step("ftruncate", "", 0, 0)) return -1;
    return real(fd, size);
}
int flock(int fd, int operation) {
    REAL(int, "flock", int, int);
    if (inside_fd(fd) && step("flock", "", 0, 0)) return -1;
    return real(fd, operation);
}
int link(const char *from, const char *to) {
    REAL(int, "link", const char *, const char *);
    if (inside(to) && step("link", to, 1, 0)) return -1;
    return real(from, to);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(int, "linkat", int, const char *, int, const char *, int);
    if (inside(to) && step("link", to, 1, 0)) return -1;
    return real(a, from, b, to, flags);
}
int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    if (inside(to) && step("rename", to, 0, 0)) return -1;
    return real(from, to);
}
int renameat(int a, const char *from, int b, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    if (inside(to) && step("rename", to, 0, 0)) return -1;
    return real(a, from, b, to);
}
int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    if (inside(path) && step("unlink", path, 0, 0)) return -1;
    return real(path);
}
int unlinkat(int folder, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    if (inside(path) && step("unlink", path, 0, 0)) return -1;
    return real(folder, path, flags);
}
int mkdir(const char *path, mode_t permissions) {
    REAL(int, "mkdir", const char *, mode_t);
    if (inside(path) && step("mkdir", path, 1, 0)) return -1;
    return real(path, permissions);
}
int mkdirat(int folder, const char *path, mode_t permissions) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    if (inside(path) && step("mkdir", path, 1, 0)) return -1;
    return real(folder, path, permissions);
}
