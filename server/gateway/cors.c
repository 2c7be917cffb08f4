/* What browsers ask before they let a page read an answer
 * (https://fetch.spec.whatwg.org/#http-cors-protocol). Answers depend on no cookies, so none are allowed. */
#include <string.h>

#include "server/gateway/gateway_inside.h"

static bool is_allowed(const struct gateway_options *o, const char *origin) {
  for (size_t i = 0; i < o->cors_origin_count; i++)
    if (strcmp(o->cors_origins[i], "*") == 0 || strcmp(o->cors_origins[i], origin) == 0)
      return true;
  return false;
}

bool cors_apply(struct exchange *ex) {
  const char *origin = exchange_header(ex, "origin");
  const char *method = exchange_header(ex, "access-control-request-method");
  bool is_preflight = origin != NULL && method != NULL && strcmp(ex->verb, "OPTIONS") == 0;
  if (origin == NULL)
    return false;
  exchange_add_header(ex, STR("Vary"), STR("Origin"));
  if (is_allowed(&ex->gateway->options, origin)) {
    exchange_add_header(ex, STR("Access-Control-Allow-Origin"), str_from_cstr(origin));
    exchange_add_header(ex, STR("Access-Control-Expose-Headers"),
                        STR("grpc-status, grpc-message, grpc-status-details-bin, skerry-request-id"));
    if (is_preflight) {
      const char *headers = exchange_header(ex, "access-control-request-headers");
      exchange_add_header(ex, STR("Access-Control-Allow-Methods"), STR("GET, POST, PUT, PATCH, DELETE"));
      exchange_add_header(ex, STR("Access-Control-Max-Age"), STR("7200"));
      if (headers != NULL)
        exchange_add_header(ex, STR("Access-Control-Allow-Headers"), str_from_cstr(headers));
    }
  } else {
    /* A page may send, though it does not get to read the answer, and the browser shows the certificate of
     * whoever looks at the page: that is not his word. */
    ex->peer.has_certificate = false;
  }
  if (is_preflight)
    exchange_answer_text(ex, 204, "", STR(""));
  return is_preflight;
}
