#include <dirent.h>
#include <sys/resource.h>

#include "ports/port.h"

enum { USAGE_BLOCK_BYTES = 512 }; /* whatever the file system's are */

static uint64_t entries(const char *directory) {
  uint64_t count = 0;
  DIR *all = opendir(directory);
  if (all == NULL)
    return 0;
  for (const struct dirent *entry = readdir(all); entry != NULL; entry = readdir(all))
    count += entry->d_name[0] != '.';
  closedir(all);
  return count;
}

static uint64_t microseconds(const struct timeval *time) {
  return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

void port_process_read(struct port_process *ret) {
  *ret = (struct port_process){0};
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    ret->cpu_us = microseconds(&usage.ru_utime) + microseconds(&usage.ru_stime);
    ret->resident_bytes_max = (uint64_t)usage.ru_maxrss * 1024;
    ret->page_faults = (uint64_t)usage.ru_majflt;
    ret->disk_read_bytes = (uint64_t)usage.ru_inblock * USAGE_BLOCK_BYTES;
    ret->disk_written_bytes = (uint64_t)usage.ru_oublock * USAGE_BLOCK_BYTES;
  }
  ret->threads = entries("/proc/self/task");
  uint64_t descriptors = entries("/proc/self/fd");
  ret->descriptors = descriptors > 0 ? descriptors - 1 : 0; /* without the one that looked */
}
