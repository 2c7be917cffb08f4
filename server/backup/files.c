#include "server/backup/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "server/tokens/file.h"

enum { LIST_MAX_BYTES = 4 * 1024 * 1024 };
#define LIST_NAME "LIST"

status files_join(const char *directory, const char *name, char ret[FILES_PATH_MAX_BYTES]) {
  int len = snprintf(ret, FILES_PATH_MAX_BYTES, "%s/%s", directory, name);
  if (len < 0 || len >= FILES_PATH_MAX_BYTES)
    return status_make(STATUS_FAILED_PRECONDITION, "A path in %s is too long.", directory);
  return status_ok();
}

static status make_directory(const char *path) {
  if (mkdir(path, 0700) == 0 || errno == EEXIST)
    return status_ok();
  return status_make(errno == ENOSPC || errno == EDQUOT ? STATUS_RESOURCE_EXHAUSTED : STATUS_UNAVAILABLE,
                     "The directory %s cannot be made: %s", path, strerror(errno));
}

/* ---- Saving ---- */

struct saving {
  const char *data, *to;
  struct buf list;
};

static bool is_the_store(const char *name) {
  return strcmp(name, "rocksdb") == 0 || strcmp(name, "FORMAT") == 0 || strcmp(name, "spill") == 0;
}

/* Hidden files, and what file_replace writes before it renames. */
static bool is_passing(const char *name) {
  return name[0] == '.' || str_has_suffix(str_from_cstr(name), STR(".new"));
}

static status save_file(struct saving *saving, const char *name) {
  char from[FILES_PATH_MAX_BYTES], to[FILES_PATH_MAX_BYTES];
  struct buf content = {0};
  STATUS_TRY(files_join(saving->data, name, from));
  STATUS_TRY(files_join(saving->to, name, to));
  if (strchr(name, '\n') != NULL)
    return status_make(STATUS_FAILED_PRECONDITION, "A file in %s has a line break in its name: remove it.",
                       saving->data);
  status s = file_read(from, FILES_FILE_MAX_BYTES, &content);
  if (status_is_ok(&s)) {
    s = file_replace(to, buf_str(&content));
    buf_printf(&saving->list, "%08" PRIx32 " %zu %s\n", crypto_crc32c(0, buf_str(&content)), content.len,
               name);
  } else if (s.code == STATUS_NOT_FOUND) {
    s = status_ok(); /* it went meanwhile */
  }
  buf_fini(&content);
  return s;
}

static status save_entry(struct saving *saving, const char *name, bool may_be_directory);

static status save_directory(struct saving *saving, const char *name) {
  char from[FILES_PATH_MAX_BYTES], to[FILES_PATH_MAX_BYTES], path[FILES_PATH_MAX_BYTES];
  STATUS_TRY(files_join(saving->data, name, from));
  STATUS_TRY(files_join(saving->to, name, to));
  STATUS_TRY(make_directory(to));
  DIR *d = opendir(from);
  if (d == NULL)
    return status_make(STATUS_FAILED_PRECONDITION, "%s cannot be read: %s", from, strerror(errno));
  status s = status_ok();
  for (struct dirent *entry; status_is_ok(&s) && (entry = readdir(d)) != NULL;) {
    if (is_passing(entry->d_name))
      continue;
    if (*name == '\0' && is_the_store(entry->d_name))
      continue;
    s = *name == '\0' ? files_join("", entry->d_name, path) : files_join(name, entry->d_name, path);
    if (status_is_ok(&s))
      s = save_entry(saving, *name == '\0' ? path + 1 : path, *name == '\0');
  }
  closedir(d);
  return s;
}

/* Sockets and links are left out. */
static status save_entry(struct saving *saving, const char *name, bool may_be_directory) {
  char from[FILES_PATH_MAX_BYTES];
  struct stat facts;
  STATUS_TRY(files_join(saving->data, name, from));
  if (lstat(from, &facts) != 0)
    return status_ok();
  if (S_ISREG(facts.st_mode))
    return save_file(saving, name);
  return S_ISDIR(facts.st_mode) && may_be_directory ? save_directory(saving, name) : status_ok();
}

status files_save(const char *data, const char *to, uint32_t *ret_checksum) {
  struct saving saving = {.data = data, .to = to, .list = {.max_bytes = LIST_MAX_BYTES}};
  char path[FILES_PATH_MAX_BYTES];
  status s = files_join(to, LIST_NAME, path);
  if (status_is_ok(&s))
    s = save_directory(&saving, "");
  if (status_is_ok(&s) && saving.list.failed)
    s = status_make(STATUS_RESOURCE_EXHAUSTED, "There are too many files in %s.", data);
  if (status_is_ok(&s))
    s = file_replace(path, buf_str(&saving.list));
  *ret_checksum = crypto_crc32c(0, buf_str(&saving.list));
  buf_fini(&saving.list);
  return s;
}

/* ---- Checking and restoring ---- */

static status damaged(const char *path) {
  return status_make(STATUS_DATA_LOSS,
                     "The backup's file %s is missing or damaged: it is not what was written.", path);
}

/* Of a path of LIST "a/b": makes data/a. */
static status make_parent(const char *data, const char *name) {
  char path[FILES_PATH_MAX_BYTES];
  const char *slash = strchr(name, '/');
  STATUS_TRY(files_join(data, name, path));
  if (slash == NULL)
    return status_ok();
  path[strlen(data) + 1 + (size_t)(slash - name)] = '\0';
  return make_directory(path);
}

/* A name that stays in its directory: what the list says was checked, but is not ours alone to write. */
static bool is_inside(const char *name) {
  return *name != '\0' && *name != '/' && *name != '.' && strstr(name, "/.") == NULL;
}

static status check_file(const char *from, const char *line, const char *data) {
  char path[FILES_PATH_MAX_BYTES], target[FILES_PATH_MAX_BYTES];
  uint32_t checksum = 0;
  int at = 0;
  // NOLINTNEXTLINE(cert-err34-c): eight digits always fit
  if (sscanf(line, "%8" SCNx32 " %*[0-9] %n", &checksum, &at) < 1 || at == 0 || !is_inside(line + at))
    return damaged(from);
  struct buf content = {0};
  STATUS_TRY(files_join(from, line + at, path));
  status s = file_read(path, FILES_FILE_MAX_BYTES, &content);
  if (!status_is_ok(&s) || crypto_crc32c(0, buf_str(&content)) != checksum)
    s = damaged(path);
  if (status_is_ok(&s) && data != NULL) {
    s = files_join(data, line + at, target);
    if (status_is_ok(&s))
      s = make_parent(data, line + at);
    if (status_is_ok(&s))
      s = file_replace(target, buf_str(&content));
  }
  buf_fini(&content);
  return s;
}

status files_check(const char *from, uint32_t checksum, const char *data) {
  char path[FILES_PATH_MAX_BYTES];
  struct buf list = {0};
  STATUS_TRY(files_join(from, LIST_NAME, path));
  status s = file_read(path, LIST_MAX_BYTES, &list);
  if (!status_is_ok(&s) || crypto_crc32c(0, buf_str(&list)) != checksum)
    s = damaged(path);
  buf_append_byte(&list, 0);
  if (status_is_ok(&s) && list.failed)
    s = status_default(STATUS_RESOURCE_EXHAUSTED);
  char *rest = NULL;
  for (char *line = status_is_ok(&s) ? strtok_r((char *)list.data, "\n", &rest) : NULL;
       status_is_ok(&s) && line != NULL; line = strtok_r(NULL, "\n", &rest))
    s = check_file(from, line, data);
  buf_fini(&list);
  return s;
}

/* ---- Removing ---- */

static void remove_below(int parent, const char *name, int depth) {
  if (unlinkat(parent, name, 0) == 0 || depth == 0)
    return;
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (d == NULL) {
    if (fd >= 0)
      close(fd);
    return;
  }
  for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      remove_below(dirfd(d), entry->d_name, depth - 1);
  }
  closedir(d);
  unlinkat(parent, name, AT_REMOVEDIR);
}

void files_remove(const char *directory) {
  remove_below(AT_FDCWD, directory, 3);
}
