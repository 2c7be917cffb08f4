/* Loaded before a program (LD_PRELOAD), it makes the machine look different, as the environment says. Where
 * nothing is said the system answers.
 *
 *   SKERRY_SHIM_WALL_OFFSET_S   seconds that the wall clock is off; or the name of a file that has them
 *   SKERRY_SHIM_PAGE            bytes of a page, as sysconf tells
 *   SKERRY_SHIM_READ_ONLY       the name of a file: while it exists, every medium can only be read
 *   SKERRY_SHIM_NO_SYNC         the name of a file: while it exists, syncs fail as on such a medium
 *   SKERRY_SHIM_MEMINFO         the name of a file that is read instead of /proc/meminfo
 *   SKERRY_SHIM_NO_ENTROPY      the name of a file: while it exists, random numbers are not there yet
 *   SKERRY_SHIM_DIE             the name of a file: while it exists, writes to the store's log (*.log) are
 * counted, each by a byte that is added to it. Its first line says at which the process dies, and how:
 *                               "before 2", "half 2" (half of the bytes are written) or "after 2"; "count" is
 * never */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
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

/* ---- Dying in the middle of a write ---- */

static ssize_t real_write(int fd, const void *bytes, size_t count) {
  static ssize_t (*real)(int, const void *, size_t);
  if (real == NULL)
    real = (ssize_t(*)(int, const void *, size_t))(uintptr_t)original("write");
  return real(fd, bytes, count);
}

static bool is_log(int fd) {
  char link[32], name[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t len = readlink(link, name, sizeof name);
  return len > 4 && memcmp(name + len - 4, ".log", 4) == 0;
}

/* Which of the writes to the log this is, from 1, and what is to become of which; 0: nothing is counted. The
 * store has one thread that writes them. */
static unsigned long count_write(const char *name, char ret_how[8], unsigned long *ret_at) {
  char bytes[4096];
  int fd = open(name, O_RDWR | O_APPEND | O_CLOEXEC);
  if (fd < 0)
    return 0;
  if (real_write(fd, "+", 1) != 1)
    abort();
  ssize_t len = pread(fd, bytes, sizeof bytes - 1, 0);
  close(fd);
  const char *line_end = len <= 0 ? NULL : memchr(bytes, '\n', (size_t)len);
  if (line_end == NULL)
    return 0;
  *ret_at = 0;
  bytes[len] = '\0';
  if (sscanf(bytes, "%7s %lu", ret_how, ret_at) < 1)
    abort();
  return (unsigned long)(bytes + len - line_end - 1);
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;)
    pause();
}

ssize_t write(int fd, const void *bytes, size_t count) {
  const char *name = getenv("SKERRY_SHIM_DIE");
  char how[8];
  unsigned long at = 0;
  if (name == NULL || !is_log(fd) || count_write(name, how, &at) != at || at == 0)
    return real_write(fd, bytes, count);
  size_t kept = strcmp(how, "before") == 0 ? 0 : strcmp(how, "half") == 0 ? count / 2 : count;
  if (kept > 0 && real_write(fd, bytes, kept) != (ssize_t)kept)
    abort();
  die();
  return -1;
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
