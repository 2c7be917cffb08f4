#include "ports/port.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "ports/linux/cgroup.h"
#include "ports/linux/pressure.h"

enum {
  /* Without a trigger: a stall is a twentieth of the time, and a question waits this long at a time. */
  STALLED_PARTS = 20,
  THOUSANDTHS = 1000,
};

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
                            .total_bytes = (uint64_t)info.f_blocks * info.f_frsize,
                            .read_only = (info.f_flag & ST_RDONLY) != 0};
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
                              .physical_bytes = physical,
                              .resident_bytes = resident_bytes()};
}

/* A line of /proc/meminfo, `Name:  1234 kB`, in bytes; 0 if it is not there. */
static uint64_t meminfo_bytes(str text, str name) {
  while (text.len > 0) {
    str line = str_split(text, '\n', &text);
    if (!str_eq(str_split(line, ':', &line), name))
      continue;
    while (line.len > 0 && line.ptr[0] == ' ')
      line = str_from(line, 1);
    uint64_t kib;
    return str_to_u64(str_split(line, ' ', &line), &kib) ? kib * 1024 : 0;
  }
  return 0;
}

static bool machine_usage(struct cgroup_usage *ret) {
  char bytes[4096];
  int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return false;
  ssize_t got = read(fd, bytes, sizeof bytes);
  close(fd);
  str text = str_make(bytes, got > 0 ? (size_t)got : 0);
  uint64_t total = meminfo_bytes(text, STR("MemTotal")), available = meminfo_bytes(text, STR("MemAvailable"));
  *ret = (struct cgroup_usage){.used_bytes = total > available ? total - available : 0, .limit_bytes = total};
  return total > 0 && available > 0;
}

/* Where stalls are told. The path is looked up once: a process stays in its group. */
struct stalls {
  bool is_open;
  char path[PATH_MAX];
  int trigger;
  uint64_t total_us;
  int64_t asked_us;
};

static void stalls_open(struct stalls *stalls) {
  if (!cgroup_pressure_path("", stalls->path, sizeof stalls->path))
    snprintf(stalls->path, sizeof stalls->path, "/proc/pressure/memory");
  stalls->trigger = pressure_trigger_open(stalls->path);
  stalls->total_us = pressure_total_us(stalls->path);
  stalls->asked_us = clock_us(CLOCK_BOOTTIME);
  stalls->is_open = true;
}

static bool stalls_wait(struct stalls *stalls, int64_t wait_ms) {
  bool fired = pressure_trigger_wait(&stalls->trigger, wait_ms);
  uint64_t total_us = pressure_total_us(stalls->path);
  int64_t now_us = clock_us(CLOCK_BOOTTIME);
  uint64_t stalled_us = total_us > stalls->total_us ? total_us - stalls->total_us : 0;
  bool long_enough = stalled_us > 0 && stalled_us * STALLED_PARTS > (uint64_t)(now_us - stalls->asked_us);
  stalls->total_us = total_us;
  stalls->asked_us = now_us;
  return fired || long_enough;
}

static struct port_pressure linux_pressure(struct port *port, int64_t wait_ms) {
  (void)port;
  static struct stalls stalls;
  if (!stalls.is_open)
    stalls_open(&stalls);
  struct port_pressure ret = {.stalled = stalls_wait(&stalls, wait_ms)};
  struct cgroup_usage group = {0}, machine = {0};
  bool has_group = cgroup_memory_usage("", &group), has_machine = machine_usage(&machine);
  bool group_is_fuller =
      has_group && (!has_machine || (double)group.used_bytes * (double)machine.limit_bytes >=
                                        (double)machine.used_bytes * (double)group.limit_bytes);
  const struct cgroup_usage *fullest = group_is_fuller ? &group : &machine;
  if (has_group || has_machine) {
    ret.used_bytes = fullest->used_bytes;
    ret.limit_bytes = fullest->limit_bytes;
  }
  return ret;
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
static unsigned affinity_cores(void) {
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

static unsigned linux_cores(struct port *port) {
  (void)port;
  unsigned cores = affinity_cores();
  uint64_t quota = cgroup_cpu_limit("");
  if (quota / THOUSANDTHS >= cores)
    return cores;
  return quota <= THOUSANDTHS ? 1 : (unsigned)((quota + THOUSANDTHS - 1) / THOUSANDTHS);
}

static uint32_t linux_page_bytes(struct port *port) {
  (void)port;
  return (uint32_t)sysconf(_SC_PAGESIZE);
}

static bool linux_entropy_is_ready(struct port *port) {
  (void)port;
  char byte;
  ssize_t got;
  do {
    got = getrandom(&byte, sizeof byte, GRND_NONBLOCK);
  } while (got < 0 && errno == EINTR);
  return got == sizeof byte || errno != EAGAIN; /* any other error is for who needs them to report */
}

struct port *port_linux(void) {
  static struct port port = {
      .wall_us = linux_wall_us,
      .monotonic_us = linux_monotonic_us,
      .clock_is_synchronised = linux_clock_is_synchronised,
      .disk = linux_disk,
      .memory = linux_memory,
      .pressure = linux_pressure,
      .descriptors_max = linux_descriptors_max,
      .cores = linux_cores,
      .page_bytes = linux_page_bytes,
      .entropy_is_ready = linux_entropy_is_ready,
  };
  return &port;
}
