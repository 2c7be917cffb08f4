#include "ports/linux/pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

int pressure_trigger_open(const char *path) {
  /* A tenth of two seconds. Who may not lock memory gets windows of two seconds only. */
  static const char wanted[] = "some 200000 2000000";
  int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0)
    return -1;
  if (write(fd, wanted, sizeof wanted) < 0) { /* with its NUL, as the kernel's documentation has it */
    close(fd);
    return -1;
  }
  return fd;
}

bool pressure_trigger_wait(int *fd, int64_t wait_ms) {
  struct pollfd watched = {.fd = *fd, .events = POLLPRI};
  int count = poll(&watched, 1, wait_ms > INT_MAX ? INT_MAX : (int)wait_ms);
  if (count == 1 && (watched.revents & (POLLERR | POLLNVAL)) != 0) { /* the group is gone */
    close(*fd);
    *fd = -1;
    poll(NULL, 0, wait_ms > INT_MAX ? INT_MAX : (int)wait_ms);
    return false;
  }
  return count == 1 && (watched.revents & POLLPRI) != 0;
}

/* `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` */
uint64_t pressure_total_us(const char *path) {
  char text[256];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return 0;
  ssize_t got = read(fd, text, sizeof text);
  close(fd);
  str line = str_make(text, got > 0 ? (size_t)got : 0);
  line = str_split(line, '\n', &(str){NULL, 0});
  while (line.len > 0) {
    str word = str_split(line, ' ', &line);
    uint64_t total;
    if (str_has_prefix(word, STR("total=")) && str_to_u64(str_from(word, 6), &total))
      return total;
  }
  return 0;
}
