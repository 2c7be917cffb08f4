/* A program of one's own with Skerry inside: installed as <skerry/server.h>.
 *
 *   static status start(struct skerry_server *server, void *argument) {
 *     return skerry_server_add_service(server, &shop_v1_shop_service, &shop_handlers,
 *                                      skerry_server_documents(server));
 *   }
 *   int main(int argc, char **argv) {
 *     return skerry_main(argc, argv, &(struct skerry_program){.name = "shop", .start = start});
 *   }
 *
 * The program has Skerry's subcommands and settings under its own name ("shop serve --dev"). Its services
 * stand beside Skerry's on every address of the server: the same TLS, limits, load shedding, health,
 * reflection, metrics and log, and, with google.api.http bindings, JSON over HTTP. What is not there by
 * itself is access: a handler asks who calls, or reads and writes as the caller (documents.h). */
#ifndef SKERRY_SERVER_EMBED_SERVER_H
#define SKERRY_SERVER_EMBED_SERVER_H

#ifdef __cplusplus
#error                                                                                                       \
    "Skerry's headers are C11. Write handlers in C files, and call C++ from them by functions that are extern \"C\"."
#endif

#include "base/status.h"
#include "rpc/method.h"

struct skerry_server;
struct skerry_documents;

struct skerry_program {
  const char *name;    /* for its help and its messages; NULL: "skerry" */
  const char *version; /* NULL: Skerry's */
  /* The store is open and nothing is served yet: add services here. May block. A failure ends the program
   * with its message. NULL: none of its own. */
  status (*start)(struct skerry_server *server, void *argument);
  /* All calls are finished and the store is still open. Called if `start` was, also after it failed. NULL:
   * nothing to do. */
  void (*stop)(void *argument);
  void *argument; /* of both */
};

/* Runs the subcommand that the arguments name, as the main of a program does, and gives its exit code: 0, 1
 * for a failure, 2 for a mistake in how it was called. `program` outlives it; NULL: Skerry alone. Once a
 * process, before any thread was started. */
int skerry_main(int argc, char **argv, const struct skerry_program *program);

/* During `start`. `service` and `handlers` as generated, both static; `state` is what rpc_call_service gives
 * to the handlers. ALREADY_EXISTS: there is a service of that name. */
STATUS_MUST_USE status skerry_server_add_service(struct skerry_server *server,
                                                 const struct rpc_service *service, const void *handlers,
                                                 void *state);

/* The documents of the server, for handlers; until `stop` has returned. */
struct skerry_documents *skerry_server_documents(struct skerry_server *server);

#endif
