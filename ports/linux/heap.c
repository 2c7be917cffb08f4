#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/str.h"
#include "ports/port.h"

enum {
  /* Each arena keeps free memory of its own, and threads spread over 8 times the cores by default. Two are
   * enough: the threads' small allocations come from their own caches, a call's memory from its arena. */
  ARENAS = 2,
  /* From this size on memory comes from mmap and goes back the moment it is freed. It is glibc's own value at
   * the start; set, it no longer grows (up to 32 MiB) with the sizes that clients make us free. A call's
   * arena takes blocks just below it. */
  MMAP_THRESHOLD_BYTES = 128 * 1024,
  /* Free memory at the top of the heap that is kept. Less would cost a system call for every other request;
   * this is small against the 24 MB of an idle server. */
  TRIM_THRESHOLD_BYTES = 512 * 1024,
  /* How much more than asked for the heap grows by, for the same reason. */
  TOP_PAD_BYTES = 128 * 1024,
};

void port_memory_configure(void) {
  mallopt(M_ARENA_MAX, ARENAS);
  mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
  mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES);
  mallopt(M_TOP_PAD, TOP_PAD_BYTES);
}

void port_memory_trim(void) {
  malloc_trim(TOP_PAD_BYTES);
}

/* The first line of a mapping in /proc/self/smaps, `from-to rights offset device inode path`: false for other
 * lines. *ret_is_file: it is a file's, and nobody may write. */
static bool parse_mapping(const char *line, uintptr_t *ret_from, uintptr_t *ret_to, bool *ret_is_file) {
  char *end;
  uintptr_t from = (uintptr_t)strtoull(line, &end, 16);
  if (end == line || *end != '-')
    return false;
  *ret_from = from;
  *ret_to = (uintptr_t)strtoull(end + 1, &end, 16);
  str rest = str_from_cstr(end);
  str_split(rest, ' ', &rest);
  str rights = str_split(rest, ' ', &rest);
  str_split(rest, ' ', &rest); /* offset */
  str_split(rest, ' ', &rest); /* device */
  bool has_inode = !str_eq(str_split(rest, ' ', &rest), STR("0"));
  *ret_is_file = has_inode && (str_eq(rights, STR("r-xp")) || str_eq(rights, STR("r--p")));
  return true;
}

/* Only where no page is anonymous: the loader has changed some of what looks read-only, and that would be
 * lost. Not with 32 bits: under qemu, the only place where we can try it, programs of ARM crash afterwards.
 */
void port_memory_settle(void) {
  if (sizeof(void *) < 8)
    return;
  static const char anonymous[] = "Anonymous:";
  char line[512];
  uintptr_t from = 0, to = 0;
  bool is_file = false;
  FILE *maps = fopen("/proc/self/smaps", "re");
  if (maps == NULL)
    return;
  while (fgets(line, sizeof line, maps) != NULL) {
    if (parse_mapping(line, &from, &to, &is_file) || strncmp(line, anonymous, sizeof anonymous - 1) != 0)
      continue;
    if (is_file && strtoull(line + sizeof anonymous - 1, NULL, 10) == 0)
      (void)madvise((void *)from, to - from, MADV_DONTNEED); /* refused: it stays */
    is_file = false;
  }
  fclose(maps);
}

uint64_t port_memory_free_bytes(void) {
  struct mallinfo2 info = mallinfo2();
  return (uint64_t)info.fordblks;
}
