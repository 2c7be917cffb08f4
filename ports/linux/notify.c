/* The protocol of sd_notify(3): one datagram to the Unix socket that the environment names. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ports/port.h"

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
