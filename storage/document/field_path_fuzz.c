/* A field path is refused or comes back, segment for segment, from its canonical text. */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/limits.h"
#include "storage/document/field_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  struct doc_field_path path, again;
  status s = doc_field_path_parse(str_make(data, size), &arena, &path);
  CHECK(s.code == STATUS_OK || s.code == STATUS_INVALID_ARGUMENT);
  if (s.code == STATUS_OK) {
    CHECK(path.count > 0);
    for (size_t i = 0; i < path.count; i++) {
      s = doc_field_name_check(path.segments[i]);
      CHECK(s.code == STATUS_OK);
    }
    str text = doc_field_path_format(&path, &arena);
    CHECK(text.ptr != NULL && text.len <= size);
    s = doc_field_path_parse(text, &arena, &again);
    CHECK(s.code == STATUS_OK && doc_field_path_compare(&path, &again) == 0);
    CHECK(str_eq(doc_field_path_format(&again, &arena), text));
  }
  arena_fini(&arena);
  return 0;
}
