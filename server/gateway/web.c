/* gRPC-Web: a request of one message, an answer of messages and trailers. */
#include <string.h>

#include "rpc/local.h"
#include "server/gateway/call.h"
#include "server/gateway/gateway_inside.h"
#include "server/gateway/web_frame.h"

static status make_message(str bytes, rpc_message *ret) {
  if (!rpc_message_alloc(bytes.len, ret))
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  if (bytes.len > 0)
    memcpy(ret->data, bytes.ptr, bytes.len);
  return status_ok();
}

void web_dispatch(struct exchange *ex, const char *content_type) {
  bool is_text = strncmp(content_type, "application/grpc-web-text", 25) == 0;
  enum call_form form = is_text ? CALL_WEB_TEXT : CALL_WEB;
  const char *answers = is_text ? "application/grpc-web-text+proto" : "application/grpc-web+proto";
  const struct rpc_method *method = rpc_local_method(ex->gateway->options.rpc, ex->path);
  struct buf scratch = {0};
  rpc_message message = {0};
  str bytes = {0};
  status result = status_ok();
  if (strcmp(ex->verb, "POST") != 0)
    result = status_make(STATUS_INVALID_ARGUMENT, "gRPC-Web calls are POST.");
  else if (method == NULL)
    result = status_make(STATUS_UNIMPLEMENTED, "unknown method " STR_FMT, STR_ARG(ex->path));
  if (status_is_ok(&result))
    result = web_frame_read(ex->body.len == 0 ? STR("") : buf_str(&ex->body), is_text, &scratch, &bytes);
  if (status_is_ok(&result) && bytes.len > ex->gateway->options.message_bytes_max)
    result = status_make(STATUS_RESOURCE_EXHAUSTED, "The message is larger than %u bytes.",
                         ex->gateway->options.message_bytes_max);
  if (status_is_ok(&result))
    result = make_message(bytes, &message);
  buf_fini(&scratch);
  if (status_is_ok(&result))
    call_begin(ex, method, form, answers, &message);
  else
    call_answer(ex, form, answers, &result);
}
