/* What control groups allow this process, version 1, 2 or both (hybrid): the group that it is in and every
 * one above it that can be seen. https://docs.kernel.org/admin-guide/cgroup-v2.html, cgroups(7),
 * proc_pid_mountinfo(5). `root` is put before every path: "" is this system, a test gives a folder with
 * proc/self/{cgroup,mountinfo} and the groups. */
#ifndef SKERRY_PORTS_LINUX_CGROUP_H
#define SKERRY_PORTS_LINUX_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CGROUP_NO_LIMIT UINT64_MAX

/* The smallest limit of memory, in bytes; CGROUP_NO_LIMIT if there is none or the system does not say. Both
 * limits of version 2 count: over memory.max the kernel kills, over memory.high it stalls the process, which
 * is no better. */
uint64_t cgroup_memory_limit(const char *root);

struct cgroup_usage {
  uint64_t used_bytes; /* without clean pages of files that were not used lately */
  uint64_t limit_bytes;
};
/* Of the group that is nearest to its limit. False: none has one. */
bool cgroup_memory_usage(const char *root, struct cgroup_usage *ret);

/* Processors' time that it may use, in thousandths of a processor, by cpu.max or cpu.cfs_quota_us;
 * CGROUP_NO_LIMIT. */
uint64_t cgroup_cpu_limit(const char *root);

/* The file of version 2 that tells of stalls of the process's own group; false if there is none. */
bool cgroup_pressure_path(const char *root, char *path, size_t size);

#endif
