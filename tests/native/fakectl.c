/* LD_PRELOAD: lets the real libnvidia-ml find a loaded kernel module of the version in FAKE_KMOD.
 *
 * The library opens /dev/nvidiactl and asks the module by ioctl whether the two fit together; the layout of that
 * question is public in the open kernel module (nv-ioctl.h, nv-ioctl-numbers.h). Nothing else of a driver is
 * imitated: every further ioctl fails. No device node is made or linked on the machine that runs the tests. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))

enum { DRIVER_MAJOR = 195, CONTROL_MINOR = 255, CHECK_VERSION = 210, QUERY_ONLY = '2', MAX_DESCRIPTORS = 1024 };

struct version_check {
    unsigned int command, recognized;
    char version[64]; /* in: the library's; out: the module's */
};

static char is_control[MAX_DESCRIPTORS];

static int is_control_path(const char *path) { return path && !strcmp(path, "/dev/nvidiactl"); }

static int is_node_path(const char *path)
{
    return path && (!strncmp(path, "/dev/nvidia", 11) || !strncmp(path, "/dev/char/195:", 14));
}

static int open_path(const char *function, const char *path, int flags, mode_t mode)
{
    int (*next)(const char *, int, ...) = NEXT(int (*)(const char *, int, ...), function);
    int descriptor = next(is_control_path(path) ? "/dev/null" : path, flags, mode);
    if (descriptor >= 0 && descriptor < MAX_DESCRIPTORS)
        is_control[descriptor] = (char)is_control_path(path);
    return descriptor;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return open_path(#name, path, flags, mode); \
    }

OPEN(open)
OPEN(open64)

static int is_control_node(const char *path, struct stat *out)
{
    if (!is_control_path(path))
        return 0;
    memset(out, 0, sizeof *out);
    out->st_mode = S_IFCHR | 0666;
    out->st_rdev = makedev(DRIVER_MAJOR, CONTROL_MINOR);
    return 1;
}

int stat(const char *path, struct stat *out)
{
    return is_control_node(path, out) ? 0 : NEXT(int (*)(const char *, struct stat *), "stat")(path, out);
}

int stat64(const char *path, struct stat64 *out)
{
    if (is_control_node(path, (struct stat *)out)) /* the same layout on 64-bit machines */
        return 0;
    return NEXT(int (*)(const char *, struct stat64 *), "stat64")(path, out);
}

/* What stat was called by programs built before glibc 2.33. */
int __xstat(int version, const char *path, struct stat *out)
{
    if (is_control_node(path, out))
        return 0;
    return NEXT(int (*)(int, const char *, struct stat *), "__xstat")(version, path, out);
}

int __xstat64(int version, const char *path, struct stat64 *out)
{
    if (is_control_node(path, (struct stat *)out))
        return 0;
    return NEXT(int (*)(int, const char *, struct stat64 *), "__xstat64")(version, path, out);
}

int unlink(const char *path) { return is_node_path(path) ? 0 : NEXT(int (*)(const char *), "unlink")(path); }

int symlink(const char *target, const char *path)
{
    return is_node_path(path) ? 0 : NEXT(int (*)(const char *, const char *), "symlink")(target, path);
}

static int check_version(struct version_check *check)
{
    const char *module = getenv("FAKE_KMOD");
    int fits;
    if (!module)
        return -1;
    fits = check->command == QUERY_ONLY || !strncmp(check->version, module, sizeof check->version);
    check->recognized = (unsigned int)fits;
    strncpy(check->version, module, sizeof check->version - 1);
    return fits ? 0 : -1;
}

int ioctl(int descriptor, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (descriptor < 0 || descriptor >= MAX_DESCRIPTORS || !is_control[descriptor])
        return NEXT(int (*)(int, unsigned long, ...), "ioctl")(descriptor, request, argument);
    if (_IOC_NR(request) == CHECK_VERSION && _IOC_SIZE(request) == sizeof(struct version_check)
        && check_version(argument) == 0)
        return 0;
    errno = EINVAL;
    return -1;
}
