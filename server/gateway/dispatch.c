/* Where a request goes. */
#include <string.h>
#include <strings.h>

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

/* HEAD is GET of which libmicrohttpd sends no body. */
static const char *verb_of(const struct exchange *ex) {
  return strcmp(ex->verb, "HEAD") == 0 ? "GET" : ex->verb;
}

static bool is_own(const struct exchange *ex) {
  return str_eq(ex->path, STR("/healthz")) || str_eq(ex->path, STR("/readyz")) ||
         (str_eq(ex->path, STR("/")) && ex->gateway->options.dev);
}

/* What load balancers and people ask for. */
static bool dispatch_own(struct exchange *ex, const char *verb) {
  if (!is_own(ex) || strcmp(verb, "GET") != 0)
    return false;
  bool is_ready = rpc_server_is_serving(ex->gateway->options.rpc, "");
  if (str_eq(ex->path, STR("/healthz")))
    exchange_answer_text(ex, 200, TEXT_TYPE, STR("ok\n"));
  else if (str_eq(ex->path, STR("/readyz")))
    exchange_answer_text(ex, is_ready ? 200 : 503, TEXT_TYPE, is_ready ? STR("ok\n") : STR("not ready\n"));
  else
    exchange_answer_text(ex, 200, TEXT_TYPE, STR("Ok\n"));
  return true;
}

/* ---- What is not there ---- */

/* "GET, HEAD, POST": what else the path is there for; empty: nothing. */
static void put_allowed(struct exchange *ex, const struct url_path *path, struct buf *out) {
  static const char *const verbs[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
    bool is_get = i == 0;
    if (!(is_get && is_own(ex)) &&
        !(path->count > 0 && (routes_match(ex, verbs[i], path) || rest_matches(ex, verbs[i], path))))
      continue;
    buf_printf(out, "%s%s%s", out->len == 0 ? "" : ", ", verbs[i], is_get ? ", HEAD" : "");
  }
}

/* With another verb it would be there, or it is not at all. */
static void answer_missing(struct exchange *ex, const struct url_path *path) {
  struct buf allowed = {0};
  put_allowed(ex, path, &allowed);
  if (allowed.len == 0) {
    status why =
        status_make(STATUS_NOT_FOUND, "There is nothing at %s " STR_FMT ".", ex->verb, STR_ARG(ex->path));
    gateway_refuse(ex, 0, &why);
    return;
  }
  exchange_add_header(ex, STR("Allow"), buf_str(&allowed));
  if (strcmp(ex->verb, "OPTIONS") == 0) {
    exchange_answer_text(ex, 204, "", STR(""));
  } else {
    status why = status_make(STATUS_UNIMPLEMENTED, "There is no %s here, but " STR_FMT ".", ex->verb,
                             STR_ARG(buf_str(&allowed)));
    gateway_refuse(ex, 405, &why);
  }
  buf_fini(&allowed);
}

/* Bodies are taken as they are: what is inflated may be a thousand times as large. */
static bool is_encoded(const struct exchange *ex) {
  const char *encoding = exchange_header(ex, "content-encoding");
  return encoding != NULL && *encoding != '\0' && strcasecmp(encoding, "identity") != 0;
}

static void refuse_kind(struct exchange *ex, const char *text) {
  status why = status_make(STATUS_INVALID_ARGUMENT, "%s", text);
  gateway_refuse(ex, 415, &why);
}

void gateway_dispatch(struct exchange *ex) {
  const char *content_type = exchange_header(ex, "content-type"), *verb = verb_of(ex);
  struct url_path path = {.count = 0};
  if (cors_apply(ex) || dispatch_own(ex, verb))
    return;
  if (is_encoded(ex)) {
    refuse_kind(ex, "Compressed bodies are not taken (Content-Encoding): send it as it is.");
  } else if (content_type != NULL && strncmp(content_type, "application/grpc-web", 20) == 0) {
    web_dispatch(ex, content_type);
  } else if (content_type != NULL && strncmp(content_type, "application/grpc", 16) == 0) {
    refuse_kind(ex, "gRPC needs HTTP/2, and this came over HTTP/1.1.");
  } else if (!str_eq(ex->path, STR("/")) && !url_path_split(ex->path, &path)) {
    status why = status_make(STATUS_INVALID_ARGUMENT, "The path is not well formed.");
    gateway_refuse(ex, 0, &why);
  } else if (path.count == 0 || (!routes_dispatch(ex, verb, &path) && !rest_dispatch(ex, verb, &path))) {
    answer_missing(ex, &path);
  }
}
