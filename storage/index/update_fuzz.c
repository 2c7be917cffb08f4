/* An old and a new document from a client's bytes, under a catalog that the first bytes choose: the change of
 * the entries, applied to those of the old document, must give those of the new one, and touch no other. Then
 * the same bytes are taken as stored fields, which they mostly are not. */
#include <stdint.h>

#include "storage/index/update_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA_BYTES = 64 << 20, HEAD_BYTES = 4 };

/* Composite indexes over fields a to d, and fields in them. */
static void fill_catalog(struct index_catalog *catalog, const uint8_t head[HEAD_BYTES]) {
  static const str names[] = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}};
  static struct index_column columns[CHECK_COMPOSITES_MAX][CHECK_COLUMNS_MAX];
  static str segments[CHECK_COMPOSITES_MAX][CHECK_COLUMNS_MAX][2];
  unsigned bits = (unsigned)head[1] << 8 | head[2];
  *catalog = (struct index_catalog){.salt = head[0] % 64, .count = head[3] % (CHECK_COMPOSITES_MAX + 1)};
  for (size_t i = 0; i < catalog->count; i++, bits = bits * 40503u + 1) {
    size_t count = 1 + (bits >> 3) % CHECK_COLUMNS_MAX;
    for (size_t at = 0; at < count; at++) {
      segments[i][at][0] = names[(bits >> at) % 4];
      segments[i][at][1] = names[(bits >> (at + 4)) % 4];
      columns[i][at] = (struct index_column){.field = {segments[i][at], 1 + (bits >> (at + 7)) % 2},
                                             .order = (bits >> (at + 5)) % 2 ? DOC_DESCENDING : DOC_ASCENDING,
                                             .elements = at == bits % 6};
    }
    catalog->composites[i].shape =
        (struct index_shape){.kind = INDEX_COMPOSITE,
                             .group = (bits >> 9) % 2,
                             .number = (uint32_t)i,
                             .columns = columns[i],
                             .column_count = count,
                             .name_order = (bits >> 10) % 2 ? DOC_DESCENDING : DOC_ASCENDING};
    catalog->pointers[i] = &catalog->composites[i];
  }
}

static bool stored_form(str wire, struct arena *arena, str *ret) {
  struct doc_document document;
  status s = doc_decode_document(wire, arena, &document);
  if (!status_is_ok(&s))
    return false;
  s = doc_encode_fields(document.fields, arena, ret);
  CHECK(status_is_ok(&s));
  return true;
}

static status ignore(void *argument, str key, str value) {
  (void)argument;
  CHECK(key.len > 0 && value.len <= LIMIT_INDEX_COLUMNS);
  return status_ok();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < HEAD_BYTES + 2 || size > 64 * 1024)
    return 0;
  struct arena arena;
  struct index_catalog catalog;
  struct doc_path document;
  arena_init(&arena, NULL, 0, ARENA_BYTES);
  fill_catalog(&catalog, data);
  status s = doc_path_parse_document(STR("projects/p/databases/d/documents/a/b/c/__id7__"), &document);
  CHECK(status_is_ok(&s));
  size_t first = (size_t)data[HEAD_BYTES] << 8 | data[HEAD_BYTES + 1], rest = size - HEAD_BYTES - 2;
  first = first > rest ? rest : first;
  str left = str_make(data + HEAD_BYTES + 2, first),
      right = str_make(data + HEAD_BYTES + 2 + first, rest - first), old, new;
  bool has_old = stored_form(left, &arena, &old), has_new = stored_form(right, &arena, &new);
  if (has_old && has_new) {
    check_update(&catalog, &document, &old, &new, &arena);
    check_update(&catalog, &document, NULL, &new, &arena);
    check_update(&catalog, &document, &old, NULL, &arena);
  }
  s = index_visit(&catalog, NULL, &document, right, &arena, ignore, NULL);
  CHECK(s.code == STATUS_OK || s.code == STATUS_DATA_LOSS || s.code == STATUS_INVALID_ARGUMENT);
  arena_fini(&arena);
  return 0;
}
