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

static status read_request(const struct call_request *request, rpc_message *ret) {
  const struct buf *body = &request->ex->body;
  struct buf scratch = {0};
  str bytes = {0};
  size_t most = request->ex->gateway->options.message_bytes_max;
  status result = web_frame_read(body->len == 0 ? STR("") : buf_str(body), request->form == CALL_WEB_TEXT,
                                 &scratch, &bytes);
  if (status_is_ok(&result) && bytes.len > most)
    result = status_make(STATUS_RESOURCE_EXHAUSTED, "The message is larger than %zu bytes.", most);
  if (status_is_ok(&result))
    result = make_message(bytes, ret);
  buf_fini(&scratch);
  return result;
}

void web_dispatch(struct exchange *ex, const char *content_type) {
  bool is_text = strncmp(content_type, "application/grpc-web-text", 25) == 0;
  struct call_request request = {.ex = ex,
                                 .method = rpc_local_method(ex->gateway->options.rpc, ex->path),
                                 .form = is_text ? CALL_WEB_TEXT : CALL_WEB,
                                 .content_type = is_text ? "application/grpc-web-text+proto"
                                                         : "application/grpc-web+proto",
                                 .read = read_request};
  status result = status_ok();
  if (strcmp(ex->verb, "POST") != 0)
    result = status_make(STATUS_INVALID_ARGUMENT, "gRPC-Web calls are POST.");
  else if (request.method == NULL)
    result = status_make(STATUS_UNIMPLEMENTED, "unknown method " STR_FMT, STR_ARG(ex->path));
  if (status_is_ok(&result))
    call_start(&request);
  else
    call_answer(ex, request.form, request.content_type, &result);
}
