/* gRPC-Web's framing (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md): messages and trailers,
 * each behind a byte of flags and a length; in the text form all of it in base64. No I/O; any thread. */
#ifndef SKERRY_SERVER_GATEWAY_WEB_FRAME_H
#define SKERRY_SERVER_GATEWAY_WEB_FRAME_H

#include "base/status.h"
#include "rpc/local.h"

enum { WEB_FRAME_HEAD_BYTES = 5 };

/* The one message of a request's body. `scratch` holds it if the body is text. INVALID_ARGUMENT: not one
 * message, or broken. UNIMPLEMENTED: compressed. RESOURCE_EXHAUSTED: no memory. */
STATUS_MUST_USE status web_frame_read(str body, bool is_text, struct buf *scratch, str *ret);

/* Appends one frame each, in base64 if `is_text`. */
void web_frame_message(str message, bool is_text, struct buf *out);
void web_frame_trailers(const struct rpc_local_end *end, bool is_text, struct buf *out);

/* "grpc-timeout" in microseconds. False: it is none. */
bool web_timeout(str text, int64_t *ret_us);

#endif
