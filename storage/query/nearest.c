#include "storage/query/nearest.h"

#include "base/limits.h"
#include "storage/document/codec.h"
#include "storage/document/mask.h"

status nearest_add_result(const struct query_nearest *nearest, double distance, str fields,
                          struct arena *arena, str *ret) {
  const struct doc_field_path *path = &nearest->result_field;
  /* Deeper than any document: the others stay as they are, this one is left out. */
  if (path->count == 0 || path->count > LIMIT_VALUE_DEPTH) {
    *ret = fields;
    return status_ok();
  }
  struct doc_map map, changed;
  struct doc_value value = {.type = DOC_DOUBLE, .as.number = distance};
  struct doc_field *made = ARENA_NEW_ARRAY(arena, struct doc_field, path->count);
  if (made == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = path->count; i-- > 0;) {
    made[i] = (struct doc_field){path->segments[i], value};
    value = (struct doc_value){.type = DOC_MAP, .as.map = {&made[i], 1}};
  }
  struct doc_mask mask = {path, 1};
  STATUS_TRY(doc_decode_fields(fields, arena, &map));
  STATUS_TRY(doc_mask_merge(map, value.as.map, &mask, arena, &changed));
  return doc_encode_fields(changed, arena, ret);
}
