/* Loaded before a program (LD_PRELOAD), it makes the machine look different, as the environment says. Where
 * nothing is said the system answers.
 *
 *   SKERRY_SHIM_WALL_OFFSET_S   seconds that the wall clock is off; or the name of a file that has them
 *   SKERRY_SHIM_PAGE            bytes of a page, as sysconf tells
 *   SKERRY_SHIM_READ_ONLY       the name of a file: while it exists, every medium can only be read
 *   SKERRY_SHIM_NO_SYNC         the name of a file: while it exists, syncs fail as on such a medium
 *   SKERRY_SHIM_MEMINFO         the name of a file that is read instead of /proc/meminfo
 *   SKERRY_SHIM_NO_ENTROPY      the name of a file: while it exists, random numbers are not there yet */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static void *original(const char *name) {
  void *function = dlsym(RTLD_NEXT, name);
  if (function == NULL)
    abort();
  return function;
}

static bool file_is_there(const char *variable) {
  const char *name = getenv(variable);
  return name != NULL && access(name, F_OK) == 0;
}

int open(const char *path, int flags, ...) {
  static int (*real)(const char *, int, ...);
  if (real == NULL)
    real = (int (*)(const char *, int, ...))(uintptr_t)original("open");
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  const char *instead = getenv("SKERRY_SHIM_MEMINFO");
  return real(instead != NULL && strcmp(path, "/proc/meminfo") == 0 ? instead : path, flags, mode);
}

static long wall_offset(void) {
  const char *text = getenv("SKERRY_SHIM_WALL_OFFSET_S");
  char bytes[32] = "";
  if (text == NULL || *text != '/')
    return text == NULL ? 0 : strtol(text, NULL, 10);
  int fd = open(text, O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? 0 : read(fd, bytes, sizeof bytes - 1);
  if (fd >= 0)
    close(fd);
  return got > 0 ? strtol(bytes, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *ret) {
  static int (*real)(clockid_t, struct timespec *);
  if (real == NULL)
    real = (int (*)(clockid_t, struct timespec *))(uintptr_t)original("clock_gettime");
  int result = real(clock, ret);
  if (result == 0 && clock == CLOCK_REALTIME)
    ret->tv_sec += wall_offset();
  return result;
}

long sysconf(int name) {
  static long (*real)(int);
  if (real == NULL)
    real = (long (*)(int))(uintptr_t)original("sysconf");
  const char *page = getenv("SKERRY_SHIM_PAGE");
  return name == _SC_PAGESIZE && page != NULL ? strtol(page, NULL, 10) : real(name);
}

int statvfs(const char *path, struct statvfs *ret) {
  static int (*real)(const char *, struct statvfs *);
  if (real == NULL)
    real = (int (*)(const char *, struct statvfs *))(uintptr_t)original("statvfs");
  int result = real(path, ret);
  if (result == 0 && file_is_there("SKERRY_SHIM_READ_ONLY"))
    ret->f_flag |= ST_RDONLY;
  return result;
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (real == NULL)
    real = (int (*)(int))(uintptr_t)original("fdatasync");
  if (file_is_there("SKERRY_SHIM_NO_SYNC")) {
    errno = EROFS;
    return -1;
  }
  return real(fd);
}

ssize_t getrandom(void *bytes, size_t count, unsigned flags) {
  static ssize_t (*real)(void *, size_t, unsigned);
  if (real == NULL)
    real = (ssize_t(*)(void *, size_t, unsigned))(uintptr_t)original("getrandom");
  if ((flags & GRND_NONBLOCK) != 0 && file_is_there("SKERRY_SHIM_NO_ENTROPY")) {
    errno = EAGAIN;
    return -1;
  }
  return real(bytes, count, flags);
}
