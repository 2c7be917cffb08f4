/* What the bare servers have in common: connections, accepted here and handed to gRPC core. */
#ifndef SKERRY_BENCH_BARE_SERVER_H
#define SKERRY_BENCH_BARE_SERVER_H

#include <grpc/grpc.h>
#include <stdnoreturn.h>

/* Before any call is asked for: starts the server, with its queues registered. */
void bare_server_start(grpc_server *server, const char *host, const char *port);
/* Listens, prints "listening on ADDRESS:PORT", and accepts until the process is killed. */
noreturn void bare_server_accept(grpc_server *server, const char *host, const char *port);

#endif
