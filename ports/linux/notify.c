/* The protocols of sd_notify(3): one datagram to the Unix socket that the environment names, and
 * sd_listen_fds(3): descriptors from 3 on, for the process that the environment names. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "ports/port.h"

enum { FIRST_DESCRIPTOR = 3 };

void port_notify(const char *state) {
  const char *path = getenv("NOTIFY_SOCKET");
  if (path == NULL || (path[0] != '/' && path[0] != '@'))
    return;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (length < 2 || length >= sizeof address.sun_path)
    return;
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') /* an abstract name: it begins with NUL and ends where the address does */
    address.sun_path[0] = '\0';
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return;
  socklen_t address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  /* A service manager that does not listen is its own problem: it will say that the start timed out. */
  (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, address_length);
  close(fd);
}

void port_notify_reloading(void) {
  struct timespec now;
  char text[64];
  /* CLOCK_MONOTONIC, whatever our own clock is: it is compared with the manager's. */
  if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
    return;
  snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
           (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
  port_notify(text);
}

/* The number that a variable holds; `absent` without it, UINT64_MAX if it is something else. */
static uint64_t variable(const char *name, uint64_t absent) {
  const char *text = getenv(name);
  uint64_t number;
  if (text == NULL)
    return absent;
  return str_to_u64(str_from_cstr(text), &number) ? number : UINT64_MAX;
}

uint64_t port_watchdog_us(void) {
  uint64_t interval = variable("WATCHDOG_USEC", 0), self = (uint64_t)getpid();
  return interval == UINT64_MAX || variable("WATCHDOG_PID", self) != self ? 0 : interval;
}

static status socket_take(int fd) {
  int type = 0, listens = 0, flags = fcntl(fd, F_GETFL), descriptor_flags = fcntl(fd, F_GETFD);
  socklen_t type_size = sizeof type, listens_size = sizeof listens;
  if (flags < 0 || descriptor_flags < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) != 0 ||
      getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) != 0 || type != SOCK_STREAM ||
      !listens)
    return status_make(
        STATUS_FAILED_PRECONDITION,
        "The service manager handed over descriptor %d, which is no listening stream socket: the socket "
        "unit needs ListenStream= and Accept=no.",
        fd);
  if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, descriptor_flags | FD_CLOEXEC) != 0)
    return status_make(STATUS_FAILED_PRECONDITION, "The socket %d of the service manager cannot be used: %s.",
                       fd, strerror(errno));
  return status_ok();
}

static status sockets_take(struct port_socket *ret, unsigned *ret_count) {
  uint64_t count = variable("LISTEN_FDS", 0);
  if (count == 0 || variable("LISTEN_PID", 0) != (uint64_t)getpid())
    return status_ok();
  if (count > PORT_SOCKETS_MAX)
    return status_make(STATUS_FAILED_PRECONDITION,
                       "The service manager hands over more than %d sockets (LISTEN_FDS).",
                       (int)PORT_SOCKETS_MAX);
  const char *names = getenv("LISTEN_FDNAMES");
  str rest = str_from_cstr(names == NULL ? "" : names);
  for (unsigned i = 0; i < count; i++) {
    str name = str_split(rest, ':', &rest);
    ret[i] = (struct port_socket){.fd = FIRST_DESCRIPTOR + (int)i};
    snprintf(ret[i].name, sizeof ret[i].name, STR_FMT, STR_ARG(name));
    STATUS_TRY(socket_take(ret[i].fd));
  }
  *ret_count = (unsigned)count;
  return status_ok();
}

status port_sockets_take(struct port_socket ret[PORT_SOCKETS_MAX], unsigned *ret_count) {
  *ret_count = 0;
  status result = sockets_take(ret, ret_count);
  unsetenv("LISTEN_FDS");
  unsetenv("LISTEN_PID");
  unsetenv("LISTEN_FDNAMES");
  return result;
}
