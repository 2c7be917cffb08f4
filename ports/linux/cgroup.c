/* A process is in a group of each hierarchy: /proc/self/cgroup names it by its path from the hierarchy's
 * root, /proc/self/mountinfo tells where hierarchies are mounted and which folder of them the mount shows. In
 * a container the mount often shows only the container's own group, so that folder is taken off the path; if
 * the path is not below it, the mount itself is all that can be seen. */
#include "ports/linux/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/str.h"

enum { FILE_BYTES_MAX = 256 * 1024 }; /* mountinfo of a host with a thousand containers */

/* False if the file is missing or unreadable. What does not fit is left out. */
static bool read_file(const char *root, const char *path, struct buf *ret) {
  char full[PATH_MAX];
  int wanted = snprintf(full, sizeof full, "%s%s", root, path);
  if (wanted < 0 || (size_t)wanted >= sizeof full)
    return false;
  int fd = open(full, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return false;
  buf_clear(ret);
  ssize_t got = 1;
  while (got > 0 && ret->len < FILE_BYTES_MAX && buf_reserve(ret, 4096)) {
    got = read(fd, ret->data + ret->len, 4096);
    if (got > 0)
      ret->len += (size_t)got;
  }
  close(fd);
  return got >= 0 && !ret->failed;
}

static bool list_has(str list, char separator, str word) {
  while (list.ptr != NULL)
    if (str_eq(str_split(list, separator, &list), word))
      return true;
  return false;
}

/* The process's group in version 1's memory hierarchy or in version 2: lines of `number:controllers:path`,
 * with version 2 as `0::path`. Empty if it is in none. */
static str group_path(str cgroup_file, bool version2) {
  while (cgroup_file.len > 0) {
    str path = str_split(cgroup_file, '\n', &cgroup_file);
    str number = str_split(path, ':', &path);
    str controllers = str_split(path, ':', &path);
    if (version2 ? str_eq(number, STR("0")) && controllers.len == 0
                 : list_has(controllers, ',', STR("memory")))
      return path;
  }
  return (str){NULL, 0};
}

struct mount {
  str shows; /* the folder of the hierarchy that is mounted */
  str point; /* where */
  bool is_version1_memory, is_version2;
};

/* `id parent device shows point options [optional...] - type source super-options` */
static struct mount mount_parse(str line) {
  struct mount mount = {0};
  for (int field = 0; field < 3; field++)
    str_split(line, ' ', &line);
  mount.shows = str_split(line, ' ', &line);
  mount.point = str_split(line, ' ', &line);
  while (line.len > 0 && !str_eq(str_split(line, ' ', &line), STR("-")))
    continue;
  str type = str_split(line, ' ', &line);
  str_split(line, ' ', &line);
  mount.is_version2 = str_eq(type, STR("cgroup2"));
  mount.is_version1_memory = str_eq(type, STR("cgroup")) && list_has(line, ',', STR("memory"));
  return mount;
}

/* Writes a mount point with its escapes (`\040` for a space) undone; false if it does not fit. */
static bool unescape(str from, char *out, size_t out_size) {
  size_t used = 0;
  for (size_t at = 0; at < from.len; at++) {
    unsigned char c = (unsigned char)from.ptr[at];
    if (c == '\\' && from.len - at > 3) {
      c = 0;
      for (size_t digit = 1; digit <= 3; digit++)
        c = (unsigned char)(c << 3 | ((unsigned char)from.ptr[at + digit] & 7));
      at += 3;
    }
    if (used + 1 >= out_size)
      return false;
    out[used++] = (char)c;
  }
  out[used] = '\0';
  return true;
}

/* The group's path below what the mount shows, "" for the mount itself, which is also the answer where the
 * group is outside of it. */
static str path_below(str group, str shows) {
  str nothing = {NULL, 0};
  if (shows.len > 1) {
    if (!str_has_prefix(group, shows))
      return nothing;
    group = str_from(group, shows.len);
  }
  if (group.len < 2 || group.ptr[0] != '/' || list_has(group, '/', STR("..")))
    return nothing;
  return group;
}

/* A limit file holds bytes in decimal or "max". Zero is what a limit looks like that was never meant. */
static uint64_t limit_read(const char *root, const char *folder, const char *file, struct buf *scratch) {
  char path[PATH_MAX];
  int wanted = snprintf(path, sizeof path, "%s/%s", folder, file);
  if (wanted < 0 || (size_t)wanted >= sizeof path || !read_file(root, path, scratch))
    return CGROUP_NO_LIMIT;
  str rest;
  uint64_t limit;
  bool is_number = str_to_u64(str_split(buf_str(scratch), '\n', &rest), &limit);
  return is_number && limit > 0 ? limit : CGROUP_NO_LIMIT;
}

static uint64_t smaller(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

/* The smallest limit of the group and of those above it that the mount shows. */
static uint64_t mount_limit(const char *root, const struct mount *mount, str group, struct buf *scratch) {
  char folder[PATH_MAX];
  if (!unescape(mount->point, folder, sizeof folder))
    return CGROUP_NO_LIMIT;
  size_t top = strlen(folder);
  str below = path_below(group, mount->shows);
  if (below.len >= sizeof folder - top)
    return CGROUP_NO_LIMIT;
  if (below.len > 0)
    memcpy(folder + top, below.ptr, below.len);
  size_t end = top + below.len;
  uint64_t limit = CGROUP_NO_LIMIT;
  for (;;) {
    folder[end] = '\0';
    if (mount->is_version2) {
      limit = smaller(limit, limit_read(root, folder, "memory.max", scratch));
      limit = smaller(limit, limit_read(root, folder, "memory.high", scratch));
    } else {
      limit = smaller(limit, limit_read(root, folder, "memory.limit_in_bytes", scratch));
    }
    if (end == top)
      return limit;
    do {
      end--;
    } while (end > top && folder[end] != '/');
  }
}

uint64_t cgroup_memory_limit(const char *root) {
  struct buf groups = {0}, mounts = {0}, scratch = {0};
  uint64_t limit = CGROUP_NO_LIMIT;
  if (read_file(root, "/proc/self/cgroup", &groups) && read_file(root, "/proc/self/mountinfo", &mounts)) {
    for (str rest = buf_str(&mounts); rest.len > 0;) {
      struct mount mount = mount_parse(str_split(rest, '\n', &rest));
      if (!mount.is_version1_memory && !mount.is_version2)
        continue;
      str group = group_path(buf_str(&groups), mount.is_version2);
      limit = smaller(limit, mount_limit(root, &mount, group, &scratch));
    }
  }
  buf_fini(&groups);
  buf_fini(&mounts);
  buf_fini(&scratch);
  return limit;
}
