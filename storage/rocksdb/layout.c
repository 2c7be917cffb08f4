#include "storage/rocksdb/layout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static status from_errno(const char *what, const char *path) {
  int error = errno;
  enum status_code code = STATUS_UNAVAILABLE;
  if (error == EACCES || error == EPERM || error == EROFS)
    code = STATUS_PERMISSION_DENIED;
  else if (error == ENOSPC || error == EDQUOT)
    code = STATUS_RESOURCE_EXHAUSTED;
  else if (error == ENOTDIR || error == ENAMETOOLONG || error == ENOENT || error == ELOOP)
    code = STATUS_FAILED_PRECONDITION;
  return status_make(code, "%s %s: %s.%s", what, path, strerror(error),
                     error == EROFS
                         ? " Mount its file system for writing; the kernel takes that away after errors of "
                           "the medium (see `dmesg`)."
                         : "");
}

static status join(const char *directory, const char *name, char *path) {
  int len = snprintf(path, LAYOUT_PATH_MAX_BYTES, "%s/%s", directory, name);
  if (len < 0 || len >= LAYOUT_PATH_MAX_BYTES)
    return status_make(STATUS_FAILED_PRECONDITION, "The path of the data directory is too long.");
  return status_ok();
}

/* Sockets, hidden files and the file system's own folder do not make a directory somebody else's. */
static status holds_foreign_files(const char *directory, bool *ret) {
  DIR *d = opendir(directory);
  if (d == NULL)
    return from_errno("Cannot read the data directory", directory);
  *ret = false;
  for (struct dirent *entry; !*ret && (entry = readdir(d)) != NULL;) {
    struct stat s;
    if (entry->d_name[0] == '.' || strcmp(entry->d_name, "lost+found") == 0)
      continue;
    if (fstatat(dirfd(d), entry->d_name, &s, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(s.st_mode))
      continue;
    *ret = true;
  }
  closedir(d);
  return status_ok();
}

static status directory_sync(const char *directory) {
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return from_errno("Cannot open", directory);
  int result = fsync(fd);
  status s = result == 0 ? status_ok() : from_errno("Cannot sync", directory);
  close(fd);
  return s;
}

/* Replaces FORMAT as a whole, durably. */
static status format_write(const char *directory, const char *state) {
  char path[LAYOUT_PATH_MAX_BYTES], temporary[LAYOUT_PATH_MAX_BYTES], text[64];
  STATUS_TRY(join(directory, "FORMAT", path));
  STATUS_TRY(join(directory, ".FORMAT.new", temporary));
  int len = snprintf(text, sizeof text, "skerry store\nformat %d %s\n", LAYOUT_FORMAT, state);
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0)
    return from_errno("Cannot write", temporary);
  errno = 0;
  bool written = write(fd, text, (size_t)len) == len && fsync(fd) == 0;
  if (!written && errno == 0)
    errno = ENOSPC;
  status s = written ? status_ok() : from_errno("Cannot write", temporary);
  close(fd);
  if (!status_is_ok(&s))
    return s;
  if (rename(temporary, path) != 0)
    return from_errno("Cannot write", path);
  return directory_sync(directory);
}

static status format_parse(const char *directory, const char *text, struct layout *ret) {
  int format = 0, end = 0;
  char state[16] = "";
  // NOLINTNEXTLINE(cert-err34-c): nine digits always fit
  if (sscanf(text, "skerry store\nformat %9d %15s%n", &format, state, &end) < 2 || format < 1)
    return status_make(STATUS_DATA_LOSS,
                       "The file FORMAT in %s is damaged: restore it from a backup, or, if you know that the "
                       "store is whole, write \"skerry store\" and \"format %d ready\" into it, one a line.",
                       directory, LAYOUT_FORMAT);
  if (format > LAYOUT_FORMAT)
    return status_make(STATUS_FAILED_PRECONDITION,
                       "The data in %s has format %d, and this program knows up to %d: start the newer "
                       "version that wrote it.",
                       directory, format, LAYOUT_FORMAT);
  ret->format = format;
  ret->is_new = strcmp(state, "new") == 0;
  ret->is_restoring = strcmp(state, "restoring") == 0;
  return status_ok();
}

static status format_read(const char *directory, struct layout *ret, bool *ret_found) {
  char path[LAYOUT_PATH_MAX_BYTES], text[128];
  STATUS_TRY(join(directory, "FORMAT", path));
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) {
    *ret_found = false;
    return status_ok();
  }
  if (fd < 0)
    return from_errno("Cannot read", path);
  ssize_t len = read(fd, text, sizeof text - 1);
  status s = len >= 0 ? status_ok() : from_errno("Cannot read", path);
  close(fd);
  STATUS_TRY(s);
  text[len] = '\0';
  *ret_found = true;
  return format_parse(directory, text, ret);
}

status layout_open(const char *directory, bool read_only, struct layout *ret) {
  memset(ret, 0, sizeof *ret);
  STATUS_TRY(join(directory, "rocksdb", ret->engine_path));
  if (!read_only && mkdir(directory, 0700) != 0 && errno != EEXIST)
    return from_errno("Cannot make the data directory", directory);
  struct stat about;
  if (stat(directory, &about) == 0 && !S_ISDIR(about.st_mode))
    return status_make(STATUS_FAILED_PRECONDITION, "%s is not a directory.", directory);
  if (access(directory, read_only ? R_OK | X_OK : R_OK | W_OK | X_OK) != 0)
    return from_errno("Cannot use the data directory", directory);
  bool found = false, foreign = false;
  STATUS_TRY(format_read(directory, ret, &found));
  if (found)
    return status_ok();
  STATUS_TRY(holds_foreign_files(directory, &foreign));
  if (foreign)
    return status_make(STATUS_FAILED_PRECONDITION,
                       "%s holds files, but no store of Skerry (no file FORMAT): name an empty directory.",
                       directory);
  if (read_only)
    return status_make(STATUS_NOT_FOUND, "There is no store in %s.", directory);
  ret->format = LAYOUT_FORMAT;
  ret->is_new = true;
  return format_write(directory, "new");
}

/* Unlike holds_foreign_files, minds every name. */
static status check_empty(const char *directory) {
  DIR *d = opendir(directory);
  if (d == NULL)
    return from_errno("Cannot read", directory);
  status s = status_ok();
  for (struct dirent *entry; status_is_ok(&s) && (entry = readdir(d)) != NULL;) {
    const char *name = entry->d_name;
    if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "lost+found") != 0)
      s = status_make(STATUS_FAILED_PRECONDITION,
                      "%s is not empty: restore into an empty directory, or one that does not exist.",
                      directory);
  }
  closedir(d);
  return s;
}

status layout_begin_restore(const char *directory, struct layout *ret) {
  memset(ret, 0, sizeof *ret);
  STATUS_TRY(join(directory, "rocksdb", ret->engine_path));
  if (mkdir(directory, 0700) != 0 && errno != EEXIST)
    return from_errno("Cannot make the data directory", directory);
  STATUS_TRY(check_empty(directory));
  if (chmod(directory, 0700) != 0)
    return from_errno("Cannot keep others out of", directory);
  ret->format = LAYOUT_FORMAT;
  ret->is_restoring = true;
  return format_write(directory, "restoring");
}

status layout_in_use(const char *directory) {
  return status_make(STATUS_FAILED_PRECONDITION,
                     "The store in %s is in use by another process: stop that one first.", directory);
}

status layout_lock(struct layout *layout, const char *directory) {
  char path[LAYOUT_PATH_MAX_BYTES];
  STATUS_TRY(join(layout->engine_path, "LOCK", path)); /* the engine's own lock, which servers hold */
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT)
    return status_ok(); /* nobody has opened these files yet */
  if (fd < 0)
    return from_errno("Cannot open", path);
  struct flock shared = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
  if (fcntl(fd, F_SETLK, &shared) != 0) {
    status s =
        errno == EACCES || errno == EAGAIN ? layout_in_use(directory) : from_errno("Cannot lock", path);
    close(fd);
    return s;
  }
  layout->is_locked = true;
  layout->lock_fd = fd;
  return status_ok();
}

void layout_unlock(struct layout *layout) {
  if (layout->is_locked)
    close(layout->lock_fd);
  layout->is_locked = false;
}

status layout_mark_ready(const char *directory) {
  return format_write(directory, "ready");
}
