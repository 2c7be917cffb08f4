#include "storage/rocksdb/log_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"

enum { BLOCK_BYTES = 32768, HEAD_BYTES = 7, TYPE_WHOLE = 1, TYPE_FIRST = 2, TYPE_LAST = 4 };
enum { PATH_BYTES = 4200, FILES_MAX = 1024 };

/* The type of the record at `at`, or 0 if there is none; *ret_next is the place after it. */
static int record_at(str log, size_t at, size_t *ret_next) {
  size_t block_left = BLOCK_BYTES - at % BLOCK_BYTES;
  if (block_left < HEAD_BYTES || log.len - at < HEAD_BYTES)
    return 0;
  const unsigned char *head = (const unsigned char *)log.ptr + at;
  size_t len = head[4] | (size_t)head[5] << 8;
  int type = head[6];
  if (type < TYPE_WHOLE || type > TYPE_LAST || len > block_left - HEAD_BYTES ||
      len > log.len - at - HEAD_BYTES)
    return 0;
  uint32_t stored = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 24;
  uint32_t crc = crypto_crc32c(0, str_make(head + 6, len + 1));
  if (stored != ((crc >> 15) | (crc << 17)) + UINT32_C(0xa282ead8))
    return 0;
  *ret_next = at + HEAD_BYTES + len;
  return type;
}

/* The end of a block that is too short for a record's head is filled with zeros. */
static size_t skip_filling(size_t at) {
  size_t block_left = BLOCK_BYTES - at % BLOCK_BYTES;
  return block_left < HEAD_BYTES ? at + block_left : at;
}

bool log_scan_bytes(str log, bool *ret_broken) {
  size_t at = 0, next = 0;
  while (at = skip_filling(at), at < log.len && record_at(log, at, &next) != 0)
    at = next;
  *ret_broken = at < log.len;
  for (size_t k = at + 1; k < log.len; k++) {
    int type = record_at(log, k, &next);
    if (type == TYPE_WHOLE || type == TYPE_FIRST)
      return true;
  }
  return false;
}

static status scan_file(const char *path, bool *ret_begins, bool *ret_broken, bool *ret_damaged) {
  struct stat s;
  status result = status_ok();
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  void *mapped = MAP_FAILED;
  if (fd < 0 || fstat(fd, &s) != 0)
    result = status_make(STATUS_UNAVAILABLE, "Cannot read %s: %s.", path, strerror(errno));
  if (status_is_ok(&result) && s.st_size > 0) {
    mapped = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED)
      result = status_make(STATUS_UNAVAILABLE, "Cannot read %s: %s.", path, strerror(errno));
  }
  if (mapped != MAP_FAILED) {
    str log = str_make(mapped, (size_t)s.st_size);
    size_t next;
    *ret_begins = record_at(log, 0, &next) != 0;
    *ret_damaged = log_scan_bytes(log, ret_broken);
    munmap(mapped, log.len);
  }
  if (fd >= 0)
    close(fd);
  return result;
}

static int by_number(const void *a, const void *b) {
  unsigned long long x = *(const unsigned long long *)a, y = *(const unsigned long long *)b;
  return (x > y) - (x < y);
}

status log_scan_directory(const char *directory, bool *ret_damaged) {
  unsigned long long numbers[FILES_MAX];
  size_t count = 0;
  DIR *d = opendir(directory);
  if (d == NULL)
    return status_make(STATUS_UNAVAILABLE, "Cannot read %s: %s.", directory, strerror(errno));
  for (struct dirent *entry; (entry = readdir(d)) != NULL && count < FILES_MAX;)
    if (str_has_suffix(str_from_cstr(entry->d_name), STR(".log")))
      numbers[count++] = strtoull(entry->d_name, NULL, 10);
  closedir(d);
  qsort(numbers, count, sizeof numbers[0], by_number);
  bool broken_before = false;
  *ret_damaged = false;
  for (size_t i = 0; i < count && !*ret_damaged; i++) {
    char path[PATH_BYTES];
    bool begins = false, broken = false, damaged = false;
    snprintf(path, sizeof path, "%s/%06llu.log", directory, numbers[i]);
    STATUS_TRY(scan_file(path, &begins, &broken, &damaged));
    /* A log is begun only after the one before it was synced to its end. */
    *ret_damaged = damaged || (broken_before && begins);
    broken_before = broken_before || broken;
  }
  return status_ok();
}
