#include "rpc/message.h"

#include <assert.h>
#include <grpc/slice.h>
#include <stdlib.h>

#include "rpc/call.h"
#include "rpc/message_slice.h"

_Static_assert(sizeof(grpc_slice) <= sizeof(((rpc_message *)0)->impl), "a slice fits in a message");

/* gRPC's own allocation ends the program when memory is out: fine for a few bytes, not for what a client's
 * request made large. */
enum { SLICE_BYTES_FROM_GRPC_MAX = 64 * 1024 };

bool rpc_message_alloc(size_t len, rpc_message *ret) {
  assert(ret != NULL);
  grpc_slice slice;
  if (len <= SLICE_BYTES_FROM_GRPC_MAX) {
    /* Never an inlined slice: `data` points into it, and messages are copied by value. */
    slice = grpc_slice_malloc_large(len);
  } else {
    void *bytes = malloc(len);
    if (bytes == NULL)
      return false;
    slice = grpc_slice_new(bytes, len, free);
  }
  ret->data = GRPC_SLICE_START_PTR(slice);
  ret->len = len;
  memcpy(ret->impl, &slice, sizeof slice);
  return true;
}

void rpc_message_discard(rpc_message *message) {
  if (message->data == NULL)
    return;
  grpc_slice_unref(rpc_message_take_slice(message));
}

grpc_slice rpc_message_take_slice(rpc_message *message) {
  assert(message->data != NULL);
  grpc_slice slice;
  memcpy(&slice, message->impl, sizeof slice);
  assert(GRPC_SLICE_START_PTR(slice) == message->data);
  *message = (rpc_message){0};
  return slice;
}

bool rpc_message_pack(const ProtobufCMessage *message, rpc_message *ret) {
  if (!rpc_message_alloc(protobuf_c_message_get_packed_size(message), ret))
    return false;
  size_t written = protobuf_c_message_pack(message, ret->data);
  assert(written == ret->len);
  (void)written;
  return true;
}
