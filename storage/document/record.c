#include "storage/document/record.h"

#include <assert.h>

#include "base/wire.h"
#include "storage/document/wire_read.h"

enum {
  FORMAT = 1,
  DOCUMENT_NAME = 1,
  DOCUMENT_CREATE_TIME = 3,
  DOCUMENT_UPDATE_TIME = 4,
};

static const int64_t TIME_MAX_US = INT64_C(253402300799999999); /* the end of the year 9999 */

status doc_record_encode(const struct doc_record *record, struct arena *arena, str *ret) {
  assert(record->create_us >= 0 && record->update_us >= record->create_us &&
         record->update_us <= TIME_MAX_US);
  uint8_t *memory = arena_alloc(arena, DOC_RECORD_HEADER_MAX_BYTES + record->fields.len);
  if (memory == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "The documents of one request take too much memory. Send "
                                                  "fewer or smaller documents in a request.");
  uint8_t *at = memory;
  *at++ = FORMAT;
  for (unsigned i = 0; i < 8; i++)
    *at++ = (uint8_t)((uint64_t)record->create_us >> (8 * i));
  at = wire_put_varint(at, (uint64_t)(record->update_us - record->create_us));
  if (record->fields.len > 0)
    memcpy(at, record->fields.ptr, record->fields.len);
  *ret = str_make(memory, (size_t)(at - memory) + record->fields.len);
  return status_ok();
}

status doc_record_decode(str stored, struct doc_record *ret) {
  struct wire_reader in = wire_reader_make(stored);
  uint64_t create, since;
  if (stored.len == 0)
    return status_make(STATUS_DATA_LOSS, "A stored document is damaged: it is empty.");
  if (*in.at++ != FORMAT)
    return status_make(STATUS_DATA_LOSS, "A stored document is damaged: its first byte is no known format.");
  if (!wire_read_fixed(&in, 8, &create) || !wire_read_varint(&in, &since) || create > (uint64_t)TIME_MAX_US ||
      since > (uint64_t)TIME_MAX_US - create)
    return status_make(STATUS_DATA_LOSS, "A stored document is damaged: its times are wrong.");
  *ret = (struct doc_record){(int64_t)create, (int64_t)(create + since),
                             str_make(in.at, (size_t)(in.end - in.at))};
  return status_ok();
}

size_t doc_document_wire_size(str name, const struct doc_record *record) {
  return wire_bytes_field_size(DOCUMENT_NAME, name.len) + record->fields.len +
         wire_timestamp_field_size(DOCUMENT_CREATE_TIME, record->create_us) +
         wire_timestamp_field_size(DOCUMENT_UPDATE_TIME, record->update_us);
}

void doc_document_wire_write(str name, const struct doc_record *record, uint8_t *out) {
  uint8_t *at = wire_put_bytes(out, DOCUMENT_NAME, name);
  if (record->fields.len > 0)
    memcpy(at, record->fields.ptr, record->fields.len);
  at = wire_put_timestamp(at + record->fields.len, DOCUMENT_CREATE_TIME, record->create_us);
  wire_put_timestamp(at, DOCUMENT_UPDATE_TIME, record->update_us);
}
