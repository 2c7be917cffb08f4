/* The first byte chooses: the rest is a resource name, or a key as if from a damaged store. Either is refused
 * or comes back byte for byte through its key or its name. */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "storage/document/key.h"
#include "storage/kv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

static void check_path(const struct doc_path *path, struct arena *arena) {
  str key, above;
  size_t count;
  struct doc_path back;
  status s = doc_key_from_path(path, arena, &key);
  CHECK(s.code == STATUS_OK && key.len <= KV_KEY_MAX_BYTES);
  s = doc_key_to_path(key, arena, &back);
  CHECK(s.code == STATUS_OK && str_eq(back.name, path->name) && doc_path_compare(path, &back) == 0);
  s = doc_key_segment_count(key, &count);
  CHECK(s.code == STATUS_OK && count == path->segment_count && back.segment_count == count);
  if (count == 0)
    return;

  struct doc_path parent = doc_path_parent(path), again;
  s = doc_path_parse(parent.name, &again);
  CHECK(s.code == STATUS_OK && doc_path_compare(&parent, path) < 0);
  s = doc_key_ancestor(key, count - 1, &above);
  CHECK(s.code == STATUS_OK && str_cmp(above, key) < 0);
  s = doc_key_to_path(above, arena, &again);
  CHECK(s.code == STATUS_OK && str_eq(again.name, parent.name));
  struct doc_key_range range;
  s = doc_key_descendants_range(&parent, arena, &range);
  CHECK(s.code == STATUS_OK && str_cmp(range.lower, key) < 0 && str_cmp(key, range.upper) < 0);
  if (doc_path_is_document(path)) {
    struct doc_path root = doc_path_parent(&parent);
    s = doc_path_child(&root, doc_path_collection_id(path), doc_path_id(path), arena, &again);
    CHECK(s.code == STATUS_OK && str_eq(again.name, path->name));
  }
}

static void check_key(str key, struct arena *arena) {
  struct doc_path path;
  str again;
  size_t count;
  status s = doc_key_to_path(key, arena, &path);
  CHECK(s.code == STATUS_OK || s.code == STATUS_DATA_LOSS);
  if (s.code == STATUS_OK) {
    s = doc_key_from_path(&path, arena, &again);
    CHECK(s.code == STATUS_OK && str_eq(again, key));
    check_path(&path, arena);
  }
  s = doc_key_segment_count(key, &count);
  CHECK(s.code == STATUS_OK || s.code == STATUS_DATA_LOSS);
  s = doc_key_skip_descendants(key, arena, &again);
  CHECK(s.code == STATUS_OK || s.code == STATUS_DATA_LOSS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  str input = str_make(data + 1, size - 1);
  struct doc_path path;
  if (data[0] % 2 == 0) {
    status s = doc_path_parse(input, &path);
    CHECK(s.code == STATUS_OK || s.code == STATUS_INVALID_ARGUMENT);
    if (s.code == STATUS_OK)
      check_path(&path, &arena);
    s = doc_path_parse_database(input, &path);
    CHECK(s.code == STATUS_OK || s.code == STATUS_INVALID_ARGUMENT);
  } else {
    check_key(input, &arena);
  }
  arena_fini(&arena);
  return 0;
}
