/* Inside of the gateway: what its files share. */
#ifndef SKERRY_SERVER_GATEWAY_GATEWAY_INSIDE_H
#define SKERRY_SERVER_GATEWAY_GATEWAY_INSIDE_H

#include "server/gateway/exchange.h"
#include "server/gateway/gateway.h"
#include "server/gateway/url.h"
#include "server/gateway/worker.h"
#include "server/json/schema.h"

struct MHD_Daemon;

enum connection_phase {
  CONNECTION_IDLE,
  CONNECTION_HEAD,
  CONNECTION_BODY,
  CONNECTION_WORKING,
  CONNECTION_ENDED /* shut down; libmicrohttpd will notice */
};

/* With the gateway's mutex. */
struct connection {
  int fd;
  struct rpc_peer peer;
  enum connection_phase phase;
  int64_t since_us; /* in this phase */
  struct exchange *exchange;
  uint64_t requests;         /* that are over */
  struct gateway_link *link; /* NULL: nobody has one */
  struct connection *previous, *next;
};

struct gateway_link {
  _Atomic unsigned holders;      /* who took it, and the connection; the last one frees it */
  struct connection *connection; /* with the gateway's mutex; NULL: closed */
};

/* A google.api.http binding of a method that can be called so. */
struct binding {
  const struct rpc_method *method;
  const char *verb;
  str body; /* "", "*" or a field's name */
  bool is_lenient;
  struct url_template path;
};

struct route {
  const char *verb;
  struct url_template path;
  void (*handle)(void *argument, struct gateway_request *request);
  void *argument;
};

/* A request for a route, on its way to the thread for those. */
struct gateway_request {
  struct worker_job job; /* the first */
  struct exchange *exchange;
  const struct route *route;
  str values[URL_VARIABLES_MAX];
  str authorization;
};

struct gateway {
  struct gateway_options options;
  struct arena arena; /* of what is made at start */
  struct schema *schema;
  struct binding *bindings; /* those with a verb first, then those with more literals */
  size_t binding_count;
  struct route routes[GATEWAY_ROUTES_MAX];
  size_t route_count;
  struct memory_budget memory;
  struct MHD_Daemon *daemon;
  _Atomic uint64_t requests, refused, connection_ids;

  pthread_mutex_t mutex;
  struct connection **by_fd; /* on their way to libmicrohttpd */
  size_t by_fd_count;
  struct connection *connections; /* that it has */
  uint64_t open, open_max;
  uint64_t pending; /* in by_fd */
  uint64_t ended;   /* of the open ones */

  struct worker routes_worker; /* runs the routes' handlers */
  struct worker bodies_worker; /* reads large bodies of calls */
};

static inline int64_t gateway_now_us(const struct gateway *gateway) {
  return gateway->options.port->monotonic_us(gateway->options.port);
}
void gateway_set_phase(struct exchange *ex, enum connection_phase phase);

/* exchange.c: what libmicrohttpd calls. `mhd_result` is its enum MHD_Result. */
struct exchange *exchange_new(struct gateway *gateway, struct connection *connection, const char *target);
int exchange_run(struct exchange *ex, struct MHD_Connection *mhd, const char *verb, const char *version,
                 const char *upload, size_t *upload_len);
void exchange_completed(struct exchange *ex);

/* dispatch.c: a complete request; answers, or has it answered later. On libmicrohttpd's thread. */
void gateway_dispatch(struct exchange *ex);
/* Answers of the gateway's own. */
/* `http_status` 0: what the code stands for. */
void gateway_refuse(struct exchange *ex, unsigned http_status, const status *why);
/* Counts and logs a request that is refused before there is a call, which would have a line of its own. */
void gateway_note_refusal(struct exchange *ex, const status *why);
unsigned gateway_http_status(enum status_code code);

/* rest.c: bindings. `verb` is the request's, or GET for HEAD: libmicrohttpd leaves the body out. False: none
 * matches. */
STATUS_MUST_USE status rest_init(struct gateway *gateway);
bool rest_dispatch(struct exchange *ex, const char *verb, const struct url_path *path);
bool rest_matches(struct exchange *ex, const char *verb, const struct url_path *path);

/* web.c: gRPC-Web; the content type begins with "application/grpc-web". */
void web_dispatch(struct exchange *ex, const char *content_type);

/* routes.c, likewise. */
bool routes_dispatch(struct exchange *ex, const char *verb, const struct url_path *path);
bool routes_match(struct exchange *ex, const char *verb, const struct url_path *path);

/* cors.c: adds what a page's browser wants to see. True: it was a preflight, and is answered. */
bool cors_apply(struct exchange *ex);

#endif
