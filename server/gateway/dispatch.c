/* Where a request goes. */
#include <string.h>

#include "base/log.h"
#include "rpc/local.h"
#include "rpc/request_id.h"
#include "server/gateway/call.h"
#include "server/gateway/gateway_inside.h"

enum { REFUSALS_BURST = 20 }; /* lines a second */
static const char TEXT_TYPE[] = "text/plain; charset=UTF-8";

unsigned gateway_http_status(enum status_code code) {
  /* google/rpc/code.proto */
  switch (code) {
  case STATUS_OK:
    return 200;
  case STATUS_CANCELLED:
    return 499;
  case STATUS_INVALID_ARGUMENT:
  case STATUS_FAILED_PRECONDITION:
  case STATUS_OUT_OF_RANGE:
    return 400;
  case STATUS_DEADLINE_EXCEEDED:
    return 504;
  case STATUS_NOT_FOUND:
    return 404;
  case STATUS_ALREADY_EXISTS:
  case STATUS_ABORTED:
    return 409;
  case STATUS_PERMISSION_DENIED:
    return 403;
  case STATUS_UNAUTHENTICATED:
    return 401;
  case STATUS_RESOURCE_EXHAUSTED:
    return 429;
  case STATUS_UNIMPLEMENTED:
    return 501;
  case STATUS_UNAVAILABLE:
    return 503;
  case STATUS_UNKNOWN:
  case STATUS_INTERNAL:
  case STATUS_DATA_LOSS:
    break;
  }
  return 500;
}

/* Neither the query nor the body, which hold what is nobody's business. */
void gateway_note_refusal(struct exchange *ex, const status *why) {
  static struct log_limiter limiter;
  uint32_t suppressed = 0;
  struct rpc_request_id id;
  atomic_fetch_add_explicit(&ex->gateway->refused, 1, memory_order_relaxed);
  if (!log_enabled(LOG_LEVEL_INFO) || !log_limiter_pass(&limiter, REFUSALS_BURST, &suppressed))
    return;
  rpc_request_id_write(ex->id, &id);
  log_event(LOG_LEVEL_INFO, "request refused", LOG_CSTR("verb", ex->verb), LOG_STR("path", ex->path),
            LOG_CSTR("code", status_code_name((int)why->code)), LOG_CSTR("error", why->message),
            LOG_CSTR("request_id", id.digits), LOG_CSTR("peer", ex->peer.address),
            LOG_INT("suppressed", suppressed));
}

void gateway_refuse(struct exchange *ex, unsigned http_status, const status *why) {
  gateway_note_refusal(ex, why);
  call_refuse(ex, http_status, why);
}

static bool is_get(const struct exchange *ex) {
  return strcmp(ex->verb, "GET") == 0 || strcmp(ex->verb, "HEAD") == 0;
}

/* What load balancers and people ask for. */
static bool dispatch_own(struct exchange *ex) {
  struct rpc_server *rpc = ex->gateway->options.rpc;
  if (!is_get(ex))
    return false;
  if (str_eq(ex->path, STR("/healthz"))) {
    exchange_answer_text(ex, 200, TEXT_TYPE, STR("ok\n"));
  } else if (str_eq(ex->path, STR("/readyz"))) {
    bool is_ready = rpc_server_is_serving(rpc, "");
    exchange_answer_text(ex, is_ready ? 200 : 503, TEXT_TYPE, is_ready ? STR("ok\n") : STR("not ready\n"));
  } else if (str_eq(ex->path, STR("/")) && ex->gateway->options.dev) {
    exchange_answer_text(ex, 200, TEXT_TYPE, STR("Ok\n"));
  } else {
    return false;
  }
  return true;
}

void gateway_dispatch(struct exchange *ex) {
  const char *content_type = exchange_header(ex, "content-type");
  status why;
  if (cors_apply(ex) || dispatch_own(ex))
    return;
  if (content_type != NULL && strncmp(content_type, "application/grpc-web", 20) == 0) {
    web_dispatch(ex, content_type);
    return;
  }
  if (content_type != NULL && strncmp(content_type, "application/grpc", 16) == 0) {
    why = status_make(STATUS_INVALID_ARGUMENT, "gRPC needs HTTP/2, and this came over HTTP/1.1.");
    gateway_refuse(ex, 415, &why);
    return;
  }
  struct url_path path = {.count = 0};
  if (!str_eq(ex->path, STR("/")) && !url_path_split(ex->path, &path)) {
    why = status_make(STATUS_INVALID_ARGUMENT, "The path is not well formed.");
    gateway_refuse(ex, 0, &why);
    return;
  }
  if (path.count > 0 && (routes_dispatch(ex, &path) || rest_dispatch(ex, &path)))
    return;
  why = status_make(STATUS_NOT_FOUND, "There is nothing at %s " STR_FMT ".", ex->verb, STR_ARG(ex->path));
  gateway_refuse(ex, 0, &why);
}
