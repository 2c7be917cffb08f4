/* A hostile TLS client that changes its keys all the time.
 *
 *   key_changes HOST_V4 PORT COUNT DATA     asks for COUNT changes of both sides' keys, with a byte of DATA
 *                                           between them (1) or nothing (0), and does not read meanwhile
 *
 * It speaks HTTP/2 as far as needed: a request whose body is those bytes. Prints how many changes it could
 * send, and whether the connection is then "alive" or "ended". No certificate is checked. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { FRAME_BYTES = 16384, COUNT_MAX = 60000 };

/* Preface, SETTINGS, HEADERS of a request (:method POST, :scheme https, :path /, te: trailers). */
static const char HELLO[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
                            "\0\0\x10\1\4\0\0\0\1\x83\x87\x84\0\2te\x08trailers";
static const char DATA_HEADER[] = "\0\x40\0\0\0\0\0\0\1"; /* DATA of FRAME_BYTES */

static int dial(const char *host, const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1 ||
      connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
    return -1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static SSL *handshake(int fd) {
  static const uint8_t protocols[] = "\2h2";
  SSL_CTX *context = SSL_CTX_new(TLS_method());
  SSL *ssl = SSL_new(context);
  SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
  SSL_set_alpn_protos(ssl, protocols, sizeof protocols - 1);
  SSL_set_min_proto_version(ssl, TLS1_3_VERSION);
  SSL_set_fd(ssl, fd);
  return SSL_connect(ssl) == 1 ? ssl : NULL;
}

static bool change(SSL *ssl, bool with_data, unsigned done) {
  if (with_data && done % FRAME_BYTES == 0 && SSL_write(ssl, DATA_HEADER, sizeof DATA_HEADER - 1) <= 0)
    return false;
  return SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_write(ssl, "x", with_data ? 1 : 0) >= 0;
}

/* Reads what has come by now: whether the end is not among it. */
static bool outlives(int fd, SSL *ssl) {
  char scratch[4096];
  struct timeval patience = {.tv_usec = 500000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  int got;
  while ((got = SSL_read(ssl, scratch, sizeof scratch)) > 0)
    continue;
  return SSL_get_error(ssl, got) == SSL_ERROR_WANT_READ;
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: %s HOST_V4 PORT COUNT DATA\n", argv[0]);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  unsigned long count = strtoul(argv[3], NULL, 10);
  count = count < COUNT_MAX ? count : COUNT_MAX;
  bool with_data = argv[4][0] == '1';
  int fd = dial(argv[1], argv[2]);
  SSL *ssl = fd < 0 ? NULL : handshake(fd);
  if (ssl == NULL || SSL_write(ssl, HELLO, sizeof HELLO - 1) <= 0)
    return 1;
  unsigned done = 0;
  while (done < count && change(ssl, with_data, done))
    done++;
  bool is_alive = outlives(fd, ssl);
  printf("%u %s\n", done, is_alive ? "alive" : "ended");
  return 0;
}
