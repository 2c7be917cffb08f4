#include "server/tokens/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES_MAX = 4096 };

status file_read(const char *path, size_t bytes_max, struct buf *ret) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0)
    return status_make(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_FAILED_PRECONDITION,
                       "The file %s cannot be opened: %s", path, strerror(errno));
  struct stat facts;
  status result = status_ok();
  if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode) || (uint64_t)facts.st_size > bytes_max)
    result =
        status_make(STATUS_FAILED_PRECONDITION, "%s is no plain file of at most %zu bytes", path, bytes_max);
  size_t before = ret->len;
  while (status_is_ok(&result)) {
    if (!buf_reserve(ret, 4096)) {
      result = status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to read %s", path);
      break;
    }
    ssize_t got = read(fd, ret->data + ret->len, 4096);
    if (got == 0)
      break;
    if (got < 0 && errno != EINTR)
      result = status_make(STATUS_FAILED_PRECONDITION, "%s cannot be read: %s", path, strerror(errno));
    if (got > 0)
      ret->len += (size_t)got;
    if (ret->len - before > bytes_max) /* it grew meanwhile */
      result = status_make(STATUS_FAILED_PRECONDITION, "%s is larger than %zu bytes", path, bytes_max);
  }
  close(fd);
  return result;
}

/* 0 or an errno. */
static int write_all(int fd, str bytes) {
  while (bytes.len > 0) {
    ssize_t written = write(fd, bytes.ptr, bytes.len);
    if (written < 0 && errno != EINTR)
      return errno;
    if (written > 0)
      bytes = str_from(bytes, (size_t)written);
  }
  return fsync(fd) != 0 ? errno : 0;
}

static int sync_directory_of(const char *path) {
  char directory[PATH_BYTES_MAX];
  const char *slash = strrchr(path, '/');
  int len = slash == NULL ? snprintf(directory, sizeof directory, ".")
                          : snprintf(directory, sizeof directory, "%.*s", (int)(slash - path + 1), path);
  if (len < 0 || (size_t)len >= sizeof directory)
    return ENAMETOOLONG;
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return errno;
  int error = fsync(fd) != 0 ? errno : 0;
  close(fd);
  return error;
}

status file_replace(const char *path, str content) {
  char temporary[PATH_BYTES_MAX];
  int len = snprintf(temporary, sizeof temporary, "%s.new", path);
  int error = len < 0 || (size_t)len >= sizeof temporary ? ENAMETOOLONG : 0;
  int fd = -1;
  if (error == 0) {
    unlink(temporary); /* left over from a power cut */
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    error = fd < 0 ? errno : write_all(fd, content);
  }
  if (fd >= 0 && close(fd) != 0 && error == 0)
    error = errno;
  if (error == 0 && rename(temporary, path) != 0)
    error = errno;
  if (error == 0)
    error = sync_directory_of(path);
  else if (fd >= 0)
    unlink(temporary);
  return error == 0 ? status_ok()
                    : status_make(STATUS_UNAVAILABLE, "%s cannot be written: %s", path, strerror(error));
}
