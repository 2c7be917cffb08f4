/* A call of a method for a request over HTTP: the receiver of rpc/local.h that turns what comes into the
 * answer, as JSON or as gRPC-Web. */
#ifndef SKERRY_SERVER_GATEWAY_CALL_H
#define SKERRY_SERVER_GATEWAY_CALL_H

#include "rpc/message.h"
#include "server/gateway/exchange.h"
#include "server/json/schema.h"

enum call_form { CALL_JSON, CALL_WEB, CALL_WEB_TEXT };

/* Begins it, or answers why not. Takes the message. Within the dispatch. `content_type` of the answer,
 * static.
 */
void call_begin(struct exchange *ex, const struct rpc_method *method, enum call_form form,
                const char *content_type, rpc_message *message);
/* A status where there is no call, in the form. */
void call_answer(struct exchange *ex, enum call_form form, const char *content_type, const status *why);
/* A status as JSON; `http_status` 0: what the code stands for. */
void call_refuse(struct exchange *ex, unsigned http_status, const status *why);

#endif
