#include "ports/port.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "ports/linux/cgroup.h"

static int64_t clock_us(clockid_t clock) {
  struct timespec now;
  int failed = clock_gettime(clock, &now);
  assert(failed == 0);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t linux_wall_us(struct port *port) {
  (void)port;
  return clock_us(CLOCK_REALTIME);
}

static int64_t linux_monotonic_us(struct port *port) {
  (void)port;
  return clock_us(CLOCK_BOOTTIME);
}

static bool linux_clock_is_synchronised(struct port *port) {
  (void)port;
  struct timex state = {.modes = 0};
  return adjtimex(&state) != -1 && (state.status & STA_UNSYNC) == 0;
}

static status linux_disk(struct port *port, const char *path, struct port_disk *ret) {
  (void)port;
  struct statvfs info;
  int failed;
  do {
    failed = statvfs(path, &info);
  } while (failed != 0 && errno == EINTR);
  if (failed != 0) {
    char reason[128];
    return status_make(STATUS_UNAVAILABLE, "The system does not tell the space on the disk of %s: %s.", path,
                       strerror_r(errno, reason, sizeof reason));
  }
  *ret = (struct port_disk){.free_bytes = (uint64_t)info.f_bavail * info.f_frsize,
                            .total_bytes = (uint64_t)info.f_blocks * info.f_frsize};
  return status_ok();
}

/* /proc/self/statm: `size resident ...`, in pages. 0 if there is no /proc. */
static uint64_t resident_bytes(void) {
  char text[256];
  int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return 0;
  ssize_t got = read(fd, text, sizeof text);
  close(fd);
  str rest = str_make(text, got > 0 ? (size_t)got : 0);
  str_split(rest, ' ', &rest);
  uint64_t pages;
  if (!str_to_u64(str_split(rest, ' ', &rest), &pages))
    return 0;
  return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct port_memory linux_memory(struct port *port) {
  (void)port;
  struct sysinfo info;
  int failed = sysinfo(&info);
  assert(failed == 0);
  uint64_t physical = (uint64_t)info.totalram * info.mem_unit, group = cgroup_memory_limit("");
  return (struct port_memory){.limit_bytes = group < physical ? group : physical,
                              .resident_bytes = resident_bytes()};
}

static void raise_descriptors_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* refused: the soft limit is what there is */
  }
}

static uint64_t linux_descriptors_max(struct port *port) {
  (void)port;
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, raise_descriptors_limit);
  struct rlimit limit;
  int failed = getrlimit(RLIMIT_NOFILE, &limit);
  assert(failed == 0);
  return limit.rlim_cur;
}

/* The kernel refuses a mask smaller than its own number of cores, so the mask grows until it does not. */
static unsigned linux_cores(struct port *port) {
  (void)port;
  for (size_t bits = 1024; bits <= 65536; bits *= 2) {
    cpu_set_t *set = CPU_ALLOC(bits);
    if (set == NULL)
      break;
    size_t size = CPU_ALLOC_SIZE(bits);
    int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0)
      return (unsigned)count;
  }
  return 1;
}

struct port *port_linux(void) {
  static struct port port = {
      .wall_us = linux_wall_us,
      .monotonic_us = linux_monotonic_us,
      .clock_is_synchronised = linux_clock_is_synchronised,
      .disk = linux_disk,
      .memory = linux_memory,
      .descriptors_max = linux_descriptors_max,
      .cores = linux_cores,
  };
  return &port;
}
