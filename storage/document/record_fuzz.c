/* Bytes as if from a damaged store: no record, or one that can be written again and becomes a Document. */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "storage/document/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  struct doc_record record, again;
  status s = doc_record_decode(str_make(data, size), &record);
  CHECK(s.code == STATUS_OK || s.code == STATUS_DATA_LOSS);
  if (s.code == STATUS_OK) {
    str bytes, name = STR("projects/p/databases/d/documents/c/i");
    s = doc_record_encode(&record, &arena, &bytes);
    CHECK(s.code == STATUS_OK && bytes.len <= size);
    s = doc_record_decode(bytes, &again);
    CHECK(s.code == STATUS_OK && again.create_us == record.create_us && again.update_us == record.update_us &&
          str_eq(again.fields, record.fields));
    size_t wire_size = doc_document_wire_size(name, &record);
    uint8_t *out = malloc(wire_size);
    CHECK(out != NULL && wire_size > record.fields.len + name.len);
    doc_document_wire_write(name, &record, out);
    free(out);
  }
  arena_fini(&arena);
  return 0;
}
