/* The first byte chooses a type, the rest is JSON. What is taken is written, and that reads as the same
 * again. */
#include <assert.h>

#include "google/firestore/v1/firestore.skerry.h"
#include "google/protobuf/field_mask.skerry.h"
#include "google/protobuf/struct.skerry.h"
#include "google/protobuf/wrappers.skerry.h"
#include "google/rpc/error_details.skerry.h"
#include "google/rpc/status.skerry.h"
#include "server/json/json_read.h"
#include "server/json/json_write.h"
#include "skerry/test/v1/test_service.skerry.h"

static const char *const types[] = {"google.firestore.v1.CommitRequest",
                                    "google.firestore.v1.Value",
                                    "google.firestore.v1.RunQueryRequest",
                                    "google.protobuf.Value",
                                    "google.protobuf.Any",
                                    "google.protobuf.FieldMask",
                                    "google.rpc.Status",
                                    "skerry.test.v1.EchoRequest",
                                    "google.protobuf.Timestamp",
                                    "google.firestore.v1.ListenRequest",
                                    "google.protobuf.DoubleValue",
                                    "google.protobuf.Duration"};

enum { TYPE_COUNT = sizeof types / sizeof types[0], OUT_BYTES_MAX = 4 << 20 };

static const struct schema *get_schema(void) {
  static struct schema *schema;
  static const struct rpc_file *const files[] = {
      &google_firestore_v1_firestore_proto, &google_protobuf_field_mask_proto, &google_protobuf_struct_proto,
      &google_protobuf_wrappers_proto,      &google_rpc_error_details_proto,   &google_rpc_status_proto,
      &skerry_test_v1_test_service_proto};
  if (schema == NULL) {
    status result = schema_new(files, sizeof files / sizeof files[0], &schema);
    assert(status_is_ok(&result));
  }
  return schema;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  const struct schema *schema = get_schema();
  const struct schema_message *type = schema_find(schema, str_from_cstr(types[data[0] % TYPE_COUNT]));
  struct buf wire = {.max_bytes = OUT_BYTES_MAX}, text = {0}, wire_again = {0}, text_again = {0};
  str json = str_make(data + 1, size - 1);
  status result = json_read_message(schema, type, json, &wire);
  /* Some is written that is not taken, so what may fail is only the writing: a map's key that comes twice,
   * more depth than messages may have. */
  if (status_is_ok(&result) &&
      json_write_message(schema, type, wire.len == 0 ? STR("") : buf_str(&wire), &text) && !text.failed) {
    result = json_read_message(schema, type, buf_str(&text), &wire_again);
    assert(status_is_ok(&result));
    bool written =
        json_write_message(schema, type, wire_again.len == 0 ? STR("") : buf_str(&wire_again), &text_again);
    assert(written && str_eq(buf_str(&text), buf_str(&text_again)));
  }
  buf_fini(&wire_again);
  struct buf ignored = {0};
  json_merge_fields(type, json, &ignored);
  buf_fini(&ignored);
  struct buf from_wire = {.max_bytes = OUT_BYTES_MAX};
  (void)json_write_message(schema, type, json, &from_wire); /* whatever the bytes are */
  buf_fini(&from_wire);
  buf_fini(&wire);
  buf_fini(&text);
  buf_fini(&text_again);
  return 0;
}
