/* A call of a method for a request over HTTP: the receiver of rpc/local.h that turns what comes into the
 * answer, as JSON or as gRPC-Web. */
#ifndef SKERRY_SERVER_GATEWAY_CALL_H
#define SKERRY_SERVER_GATEWAY_CALL_H

#include "rpc/message.h"
#include "server/gateway/exchange.h"
#include "server/gateway/url.h"
#include "server/json/schema.h"

enum call_form { CALL_JSON, CALL_WEB, CALL_WEB_TEXT };

struct binding;

/* What a request asks for. */
struct call_request {
  struct exchange *ex;
  const struct rpc_method *method;
  enum call_form form;
  const char *content_type; /* of the answer, static; JSON has its own */
  /* Makes the message of the body and of what the two below are. Any thread. */
  status (*read)(const struct call_request *request, rpc_message *ret);
  const struct binding *binding;
  str values[URL_VARIABLES_MAX];
};

/* Reads the message and begins the call, or answers why not: at once, or if the body is large, on the
 * gateway's thread for those. The request is copied. Within the dispatch. */
void call_start(const struct call_request *request);
/* Refuses a request for which there is no call, in the form. */
void call_answer(struct exchange *ex, enum call_form form, const char *content_type, const status *why);
/* A status as JSON; `http_status` 0: what the code stands for. */
void call_refuse(struct exchange *ex, unsigned http_status, const status *why);

#endif
