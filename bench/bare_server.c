#include "bench/bare_server.h"

#include <arpa/inet.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static int listen_on(const char *host, const char *port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
  socklen_t size = sizeof address;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || bind(fd, (struct sockaddr *)&address, size) != 0 ||
      listen(fd, 512) != 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
    perror("listen");
    exit(1);
  }
  printf("listening on %s:%u\n", host, ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

void bare_server_start(grpc_server *server, const char *host, const char *port) {
  (void)host, (void)port;
  grpc_server_start(server);
}

noreturn void bare_server_accept(grpc_server *server, const char *host, const char *port) {
  grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
  int listener = listen_on(host, port);
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    if (fd < 0)
      continue;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    grpc_server_add_channel_from_fd(server, fd, credentials);
  }
}
