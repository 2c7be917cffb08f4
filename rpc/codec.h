/* Requests from gRPC's byte buffers to messages in an arena, and responses to byte buffers. Everything here
 * treats its input as hostile and takes memory from the given arena only. Any thread. */
#ifndef SKERRY_RPC_CODEC_H
#define SKERRY_RPC_CODEC_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>

#include "base/arena.h"
#include "base/status.h"
#include "rpc/deflate.h"
#include "rpc/message.h"
#include "rpc/method.h"

/* How the peer compressed this message. False: in a way that we do not know. */
bool rpc_codec_encoding(const grpc_byte_buffer *buffer, enum rpc_encoding *ret);
const char *rpc_codec_encoding_name(enum rpc_encoding encoding); /* as in grpc-encoding */

/* Inflates where the buffer is compressed, checks the wire form (rpc/wire_check.h) and decodes. The message
 * is `const ProtobufCMessage *`, or `const str *` if the type is opaque; it lives in `arena`, and an opaque
 * one may point into `buffer`: keep both. `buffer` is not changed.
 *
 * RESOURCE_EXHAUSTED: longer than message_bytes_max, before or after inflating, or more than the arena's cap
 * when decoded. INVALID_ARGUMENT: malformed. UNIMPLEMENTED: unknown compression. */
STATUS_MUST_USE status rpc_codec_decode(const grpc_byte_buffer *buffer, const struct rpc_type *type,
                                        size_t message_bytes_max, struct arena *arena, const void **ret);

/* Replaces the message by its compressed form if that is smaller. False: it is left as it was. */
bool rpc_codec_compress(enum rpc_encoding encoding, rpc_message *message);

#endif
