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

/* The process's group in the hierarchy of version 1 with that controller, or in version 2: lines of
 * `number:controllers:path`, with version 2 as `0::path`. Empty if it is in none. */
static str group_path(str cgroup_file, str controller, bool version2) {
  while (cgroup_file.len > 0) {
    str path = str_split(cgroup_file, '\n', &cgroup_file);
    str number = str_split(path, ':', &path);
    str controllers = str_split(path, ':', &path);
    if (version2 ? str_eq(number, STR("0")) && controllers.len == 0 : list_has(controllers, ',', controller))
      return path;
  }
  return (str){NULL, 0};
}

struct mount {
  str shows; /* the folder of the hierarchy that is mounted */
  str point; /* where */
  bool is_version1, is_version2;
};

/* `id parent device shows point options [optional...] - type source super-options` */
static struct mount mount_parse(str line, str controller) {
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
  mount.is_version1 = str_eq(type, STR("cgroup")) && list_has(line, ',', controller);
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

/* ---- What a group's files say ---- */

/* A group that can be seen, on the way from the process's own up to the top of the mount. */
struct group {
  const char *root, *folder;
  bool version2, is_own;
  struct buf *scratch; /* of the last file */
};

static bool group_read(const struct group *group, const char *file) {
  char path[PATH_MAX];
  int wanted = snprintf(path, sizeof path, "%s/%s", group->folder, file);
  return wanted >= 0 && (size_t)wanted < sizeof path && read_file(group->root, path, group->scratch);
}

/* A number in decimal, `unknown` if the file says something else ("max", -1) or is not there. */
static uint64_t number_read(const struct group *group, const char *file, uint64_t unknown) {
  str rest;
  uint64_t number;
  bool is_number =
      group_read(group, file) && str_to_u64(str_split(buf_str(group->scratch), '\n', &rest), &number);
  return is_number ? number : unknown;
}

/* Zero is what a limit looks like that was never meant. */
static uint64_t limit_read(const struct group *group, const char *file) {
  uint64_t limit = number_read(group, file, CGROUP_NO_LIMIT);
  return limit > 0 ? limit : CGROUP_NO_LIMIT;
}

static uint64_t smaller(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static uint64_t memory_limit(const struct group *group) {
  if (!group->version2)
    return limit_read(group, "memory.limit_in_bytes");
  return smaller(limit_read(group, "memory.max"), limit_read(group, "memory.high"));
}

/* A line `name number` of memory.stat. */
static uint64_t stat_read(const struct group *group, str name) {
  uint64_t number;
  if (!group_read(group, "memory.stat"))
    return 0;
  for (str rest = buf_str(group->scratch); rest.len > 0;) {
    str line = str_split(rest, '\n', &rest);
    if (str_eq(str_split(line, ' ', &line), name) && str_to_u64(line, &number))
      return number;
  }
  return 0;
}

static uint64_t memory_used(const struct group *group) {
  uint64_t used = number_read(group, group->version2 ? "memory.current" : "memory.usage_in_bytes", 0);
  uint64_t droppable = stat_read(group, group->version2 ? STR("inactive_file") : STR("total_inactive_file"));
  return used > droppable ? used - droppable : 0;
}

/* In thousandths. cpu.max has `quota period` or `max period`; version 1 a file for each, and -1 for no quota.
 */
static uint64_t cpu_limit(const struct group *group) {
  uint64_t quota = 0, period = 0;
  if (group->version2) {
    str line;
    if (!group_read(group, "cpu.max"))
      return CGROUP_NO_LIMIT;
    line = buf_str(group->scratch);
    line = str_split(line, '\n', &(str){NULL, 0});
    if (!str_to_u64(str_split(line, ' ', &line), &quota) || !str_to_u64(line, &period))
      return CGROUP_NO_LIMIT;
  } else {
    quota = number_read(group, "cpu.cfs_quota_us", 0);
    period = number_read(group, "cpu.cfs_period_us", 0);
  }
  return quota == 0 || period == 0 || quota > UINT64_MAX / 1000 ? CGROUP_NO_LIMIT : quota * 1000 / period;
}

/* ---- The walk ---- */

typedef void visitor(void *argument, const struct group *group);

/* From the process's group up to what the mount shows. */
static void mount_walk(const char *root, const struct mount *mount, str path, struct buf *scratch,
                       visitor *visit, void *argument) {
  char folder[PATH_MAX];
  if (!unescape(mount->point, folder, sizeof folder))
    return;
  size_t top = strlen(folder);
  str below = path_below(path, mount->shows);
  if (below.len >= sizeof folder - top)
    return;
  if (below.len > 0)
    memcpy(folder + top, below.ptr, below.len);
  size_t end = top + below.len;
  struct group group = {root, folder, mount->is_version2, true, scratch};
  for (;;) {
    folder[end] = '\0';
    visit(argument, &group);
    if (end == top)
      return;
    group.is_own = false;
    do {
      end--;
    } while (end > top && folder[end] != '/');
  }
}

static void walk(const char *root, str controller, visitor *visit, void *argument) {
  struct buf groups = {0}, mounts = {0}, scratch = {0};
  if (read_file(root, "/proc/self/cgroup", &groups) && read_file(root, "/proc/self/mountinfo", &mounts)) {
    for (str rest = buf_str(&mounts); rest.len > 0;) {
      struct mount mount = mount_parse(str_split(rest, '\n', &rest), controller);
      if (!mount.is_version1 && !mount.is_version2)
        continue;
      str path = group_path(buf_str(&groups), controller, mount.is_version2);
      mount_walk(root, &mount, path, &scratch, visit, argument);
    }
  }
  buf_fini(&groups);
  buf_fini(&mounts);
  buf_fini(&scratch);
}

static void visit_memory_limit(void *argument, const struct group *group) {
  uint64_t *limit = argument;
  *limit = smaller(*limit, memory_limit(group));
}

uint64_t cgroup_memory_limit(const char *root) {
  uint64_t limit = CGROUP_NO_LIMIT;
  walk(root, STR("memory"), visit_memory_limit, &limit);
  return limit;
}

static void visit_memory_usage(void *argument, const struct group *group) {
  struct cgroup_usage *fullest = argument;
  struct cgroup_usage usage = {.limit_bytes = memory_limit(group)};
  if (usage.limit_bytes == CGROUP_NO_LIMIT || usage.limit_bytes > (uint64_t)INT64_MAX / 2)
    return; /* version 1 says nearly 2^63 where there is no limit */
  usage.used_bytes = memory_used(group);
  if (fullest->limit_bytes == 0 || (double)usage.used_bytes * (double)fullest->limit_bytes >
                                       (double)fullest->used_bytes * (double)usage.limit_bytes)
    *fullest = usage;
}

bool cgroup_memory_usage(const char *root, struct cgroup_usage *ret) {
  *ret = (struct cgroup_usage){0};
  walk(root, STR("memory"), visit_memory_usage, ret);
  return ret->limit_bytes > 0;
}

static void visit_cpu_limit(void *argument, const struct group *group) {
  uint64_t *limit = argument;
  *limit = smaller(*limit, cpu_limit(group));
}

uint64_t cgroup_cpu_limit(const char *root) {
  uint64_t limit = CGROUP_NO_LIMIT;
  walk(root, STR("cpu"), visit_cpu_limit, &limit);
  return limit;
}

struct found_path {
  char *path;
  size_t size;
  bool found;
};

static void visit_pressure(void *argument, const struct group *group) {
  struct found_path *found = argument;
  if (!group->is_own || !group->version2 || found->found || !group_read(group, "memory.pressure"))
    return;
  int wanted = snprintf(found->path, found->size, "%s%s/memory.pressure", group->root, group->folder);
  found->found = wanted >= 0 && (size_t)wanted < found->size;
}

bool cgroup_pressure_path(const char *root, char *path, size_t size) {
  struct found_path found = {path, size, false};
  walk(root, STR("memory"), visit_pressure, &found);
  return found.found;
}
