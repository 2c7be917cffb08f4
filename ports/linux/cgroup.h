/* The memory limit that control groups set on this process, version 1, 2 or both (hybrid).
 * https://docs.kernel.org/admin-guide/cgroup-v2.html, cgroups(7), proc_pid_mountinfo(5). */
#ifndef SKERRY_PORTS_LINUX_CGROUP_H
#define SKERRY_PORTS_LINUX_CGROUP_H

#include <stdint.h>

#define CGROUP_NO_LIMIT UINT64_MAX

/* The smallest limit of the process's groups and of every group above them, in bytes; CGROUP_NO_LIMIT if
 * there is none or the system does not say. Both limits of version 2 count: over memory.max the kernel kills,
 * over memory.high it stalls the process, which is no better. `root` is put before every path: "" is this
 * system, a test gives a folder with proc/self/{cgroup,mountinfo} and the groups. */
uint64_t cgroup_memory_limit(const char *root);

#endif
