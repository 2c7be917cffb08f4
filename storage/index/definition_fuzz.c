/* A file of indexes is refused with a reason, or comes back the same from its canonical text. */
#include <stdint.h>
#include <stdlib.h>

#include "storage/index/definition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena arena;
  struct index_definitions definitions, again;
  arena_init(&arena, NULL, 0, 16 << 20);
  status s = index_definitions_parse(str_make(data, size), &arena, &definitions);
  CHECK(s.code == STATUS_OK || (s.code == STATUS_INVALID_ARGUMENT && s.message[0] != '\0'));
  if (s.code == STATUS_OK) {
    struct buf text = {0}, second = {0};
    s = index_definitions_format(&definitions, &text);
    CHECK(s.code == STATUS_OK);
    s = index_definitions_parse(buf_str(&text), &arena, &again);
    CHECK(s.code == STATUS_OK);
    CHECK(again.composite_count == definitions.composite_count);
    for (size_t i = 0; i < again.composite_count; i++)
      CHECK(index_composite_definition_equal(&again.composites[i], &definitions.composites[i]));
    CHECK(again.override_count == definitions.override_count);
    s = index_definitions_format(&again, &second);
    CHECK(s.code == STATUS_OK && str_eq(buf_str(&text), buf_str(&second)));
    buf_fini(&text);
    buf_fini(&second);
  }
  arena_fini(&arena);
  return 0;
}
