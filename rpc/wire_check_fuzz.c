/* Whatever passes the check decodes with protobuf-c within the arena's cap, or fails cleanly. The first byte
 * chooses the type. */
#include <assert.h>
#include <stdint.h>

#include "base/arena.h"
#include "google/protobuf/descriptor.skerry.h"
#include "google/protobuf/struct.skerry.h"
#include "rpc/wire_check.h"
#include "skerry/test/v1/test_service.skerry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *take(void *arena, size_t size) {
  return arena_alloc(arena, size);
}

static void give(void *arena, void *pointer) {
  (void)arena;
  (void)pointer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const ProtobufCMessageDescriptor *const types[] = {
      &skerry__test__v1__echo_request__descriptor,
      &google__protobuf__struct__descriptor,
      &google__protobuf__file_descriptor_proto__descriptor,
  };
  if (size == 0)
    return 0;
  const ProtobufCMessageDescriptor *type = types[data[0] % 3];
  status result = wire_check(type, str_make(data + 1, size - 1));
  assert(result.code == STATUS_OK || result.code == STATUS_INVALID_ARGUMENT);
  if (result.code != STATUS_OK)
    return 0;
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  ProtobufCAllocator allocator = {take, give, &arena};
  ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, size - 1, data + 1);
  if (message != NULL) /* what was decoded can be walked to its end */
    assert(protobuf_c_message_get_packed_size(message) < (size_t)64 << 20);
  arena_fini(&arena);
  return 0;
}
