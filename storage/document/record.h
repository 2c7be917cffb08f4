/* What is stored under a document's key in KV_DOCUMENTS, and how it becomes a Document message without being
 * decoded.
 *
 *   record = 0x01 (the format of the record)
 *            create time in microseconds, 8 bytes, little-endian
 *            update time - create time, varint
 *            fields in the canonical form (codec.h)
 *
 * It is a format on disk: another form gets another first byte. Any thread. */
#ifndef SKERRY_STORAGE_DOCUMENT_RECORD_H
#define SKERRY_STORAGE_DOCUMENT_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

struct doc_record {
  int64_t create_us, update_us; /* since 1970, 0 <= create <= update, year 9999 at most */
  str fields;                   /* canonical bytes; borrowed */
};

/* The most that stands before the fields. */
enum { DOC_RECORD_HEADER_MAX_BYTES = 1 + 8 + 10 };

/* Fails with RESOURCE_EXHAUSTED only. Times out of order are asserted. */
STATUS_MUST_USE status doc_record_encode(const struct doc_record *record, struct arena *arena, str *ret);

/* Borrows from `stored`. DATA_LOSS if it is no record; the fields are not looked into. */
STATUS_MUST_USE status doc_record_decode(str stored, struct doc_record *ret);

/* The Document message of a record: how long it is, and its bytes written to out[0, size). These two neither
 * allocate nor fail: GetDocument writes straight into the response's memory. */
size_t doc_document_wire_size(str name, const struct doc_record *record);
void doc_document_wire_write(str name, const struct doc_record *record, uint8_t *out);

#endif
