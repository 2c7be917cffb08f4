#include "server/listener/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 512 };

/* ---- TCP ---- */

/* "host:port" or "[host]:port" into two strings. */
static bool split_host(const char *address, char host[static 256], char port[static 8]) {
  const char *colon = strrchr(address, ':');
  if (colon == NULL || strlen(colon + 1) == 0 || strlen(colon + 1) > 5)
    return false;
  uint64_t number;
  if (!str_to_u64(str_from_cstr(colon + 1), &number) || number > 65535)
    return false;
  str name = str_make(address, (size_t)(colon - address));
  if (name.len >= 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']')
    name = str_make(name.ptr + 1, name.len - 2);
  else if (memchr(name.ptr, ':', name.len) != NULL) /* an IPv6 address without its brackets */
    return false;
  if (name.len == 0 || name.len > 255)
    return false;
  memcpy(host, name.ptr, name.len);
  host[name.len] = '\0';
  memcpy(port, colon + 1, strlen(colon + 1) + 1);
  return true;
}

/* "127.0.0.1:80" or "[::1]:80". */
static void name_address(const struct sockaddr_storage *from, char *out, size_t size) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (from->ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const void *)from;
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    snprintf(out, size, "[%s]:%u", text, ntohs(v6->sin6_port));
  } else {
    const struct sockaddr_in *v4 = (const void *)from;
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    snprintf(out, size, "%s:%u", text, ntohs(v4->sin_port));
  }
}

static status open_tcp(const char *address, struct listener_socket *ret) {
  char host[256], port[8];
  if (!split_host(address, host, port))
    return status_make(
        STATUS_INVALID_ARGUMENT,
        "\"%s\" is not an address to listen on; write 127.0.0.1:8080, [::1]:8080 or unix:/path", address);
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE},
                  *found;
  int problem = getaddrinfo(host, port, &hints, &found);
  if (problem != 0)
    return status_make(STATUS_INVALID_ARGUMENT, "cannot listen on %s: %s", address, gai_strerror(problem));
  int on = 1;
  struct sockaddr_storage bound = {0};
  socklen_t size = sizeof bound;
  int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
  if (ok && found->ai_family == AF_INET6) /* [::] is IPv6 alone, so that 0.0.0.0 can be given beside it */
    ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0;
  ok = ok && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0 &&
       getsockname(fd, (struct sockaddr *)&bound, &size) == 0;
  int error = errno;
  freeaddrinfo(found);
  if (!ok) {
    if (fd >= 0)
      close(fd);
    return status_make(STATUS_FAILED_PRECONDITION, "cannot listen on %s: %s%s", address, strerror(error),
                       error == EADDRINUSE ? " (name another with --listen)" : "");
  }
  ret->fd = fd;
  ret->is_unix = false;
  name_address(&bound, ret->address, sizeof ret->address);
  return status_ok();
}

/* ---- Unix ---- */

/* Removes the file of a socket that nobody listens on any more. False (errno) if somebody does, or it is no
 * socket. */
static bool remove_stale(const struct sockaddr_un *name) {
  struct stat info;
  if (lstat(name->sun_path, &info) != 0)
    return errno == ENOENT;
  if (!S_ISSOCK(info.st_mode)) {
    errno = EEXIST;
    return false;
  }
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return false;
  bool refused = connect(fd, (const struct sockaddr *)name, sizeof *name) != 0 && errno == ECONNREFUSED;
  close(fd);
  if (!refused) {
    errno = EADDRINUSE;
    return false;
  }
  return unlink(name->sun_path) == 0;
}

static status open_unix(const char *path, struct listener_socket *ret) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  if (strlen(path) == 0 || strlen(path) >= sizeof name.sun_path)
    return status_make(STATUS_INVALID_ARGUMENT, "the path of a Unix socket has 1 to %zu bytes: \"%s\"",
                       sizeof name.sun_path - 1, path);
  memcpy(name.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  /* The mode before the bind: the file never exists with another one. */
  bool ok = fd >= 0 && fchmod(fd, S_IRUSR | S_IWUSR) == 0 && remove_stale(&name) &&
            bind(fd, (struct sockaddr *)&name, sizeof name) == 0;
  if (ok && (chmod(path, S_IRUSR | S_IWUSR) != 0 || listen(fd, BACKLOG) != 0)) {
    unlink(path);
    ok = false;
  }
  if (!ok) {
    int error = errno;
    if (fd >= 0)
      close(fd);
    return status_make(STATUS_FAILED_PRECONDITION, "cannot listen on unix:%s: %s", path, strerror(error));
  }
  ret->fd = fd;
  ret->is_unix = true;
  snprintf(ret->address, sizeof ret->address, "unix:%s", path);
  return status_ok();
}

status listener_socket_open(const char *address, struct listener_socket *ret) {
  return strncmp(address, "unix:", 5) == 0 ? open_unix(address + 5, ret) : open_tcp(address, ret);
}

status listener_socket_take(int fd, struct listener_socket *ret) {
  struct sockaddr_storage bound = {0};
  socklen_t size = sizeof bound;
  if (getsockname(fd, (struct sockaddr *)&bound, &size) != 0)
    return status_make(STATUS_FAILED_PRECONDITION, "the socket %d has no address: %s", fd, strerror(errno));
  if (bound.ss_family != AF_UNIX && bound.ss_family != AF_INET && bound.ss_family != AF_INET6)
    return status_make(STATUS_FAILED_PRECONDITION, "the socket %d is neither of TCP nor a Unix socket", fd);
  *ret = (struct listener_socket){.fd = fd, .is_unix = bound.ss_family == AF_UNIX, .is_taken = true};
  if (!ret->is_unix) {
    name_address(&bound, ret->address, sizeof ret->address);
    return status_ok();
  }
  const struct sockaddr_un *name = (const void *)&bound;
  size_t path_offset = offsetof(struct sockaddr_un, sun_path);
  size_t length = size > path_offset ? size - path_offset : 0;
  bool is_abstract = length > 0 && name->sun_path[0] == '\0'; /* shown with an @ */
  snprintf(ret->address, sizeof ret->address, "unix:%s%.*s", is_abstract ? "@" : "",
           (int)(length - is_abstract), name->sun_path + is_abstract);
  return status_ok();
}

void listener_socket_close(struct listener_socket *socket) {
  if (socket->fd < 0)
    return;
  if (socket->is_unix && !socket->is_taken)
    unlink(socket->address + strlen("unix:"));
  close(socket->fd);
  socket->fd = -1;
}

/* ---- Peers ---- */

void listener_socket_peer(int fd, const struct sockaddr_storage *from, struct rpc_peer *ret,
                          uint64_t *ret_place) {
  *ret = (struct rpc_peer){0};
  *ret_place = 0;
  if (from->ss_family == AF_UNIX) {
    struct ucred who = {0};
    socklen_t size = sizeof who;
    ret->is_local_socket = true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) {
      ret->uid = who.uid;
      ret->pid = (uint32_t)who.pid;
    } else {
      ret->uid = UINT32_MAX; /* nobody: never root by mistake */
    }
    snprintf(ret->address, sizeof ret->address, "unix:pid=%u,uid=%u", ret->pid, ret->uid);
    return;
  }
  name_address(from, ret->address, sizeof ret->address);
  if (from->ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const void *)from;
    memcpy(ret_place, &v6->sin6_addr, sizeof *ret_place); /* the /64: whoever has one has all of it */
    *ret_place |= 1;
  } else {
    const struct sockaddr_in *v4 = (const void *)from;
    *ret_place = ((uint64_t)v4->sin_addr.s_addr << 1 | 1) << 8;
  }
}
