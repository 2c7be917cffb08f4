/* gRPC's own TLS listener, for what ours is measured against. The certificate and its key are the PEM files
 * that the environment names in BARE_CERT and BARE_KEY. */
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/bare_server.h"

enum { FILE_BYTES_MAX = 65536 };

static const char *read_file(const char *variable) {
  static char contents[2][FILE_BYTES_MAX];
  static unsigned count;
  const char *path = getenv(variable);
  FILE *file = path == NULL ? NULL : fopen(path, "r");
  if (file == NULL) {
    fprintf(stderr, "%s does not name a file\n", variable);
    exit(1);
  }
  char *to = contents[count++];
  to[fread(to, 1, FILE_BYTES_MAX - 1, file)] = '\0';
  fclose(file);
  return to;
}

void bare_server_start(grpc_server *server, const char *host, const char *port) {
  grpc_ssl_pem_key_cert_pair pair = {.private_key = read_file("BARE_KEY"),
                                     .cert_chain = read_file("BARE_CERT")};
  grpc_server_credentials *credentials = grpc_ssl_server_credentials_create(NULL, &pair, 1, 0, NULL);
  char address[256];
  snprintf(address, sizeof address, "%s:%s", host, port);
  if (credentials == NULL || grpc_server_add_http2_port(server, address, credentials) == 0) {
    fprintf(stderr, "cannot listen on %s\n", address);
    exit(1);
  }
  grpc_server_start(server);
}

noreturn void bare_server_accept(grpc_server *server, const char *host, const char *port) {
  (void)server;
  printf("listening on %s:%s\n", host, port);
  fflush(stdout);
  for (;;)
    pause();
}
