#include "storage/document/value.h"

#include "storage/document/value_order.h"

const struct doc_value *doc_map_get(struct doc_map map, str name) {
  size_t low = 0, high = map.count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = str_cmp(map.fields[middle].name, name);
    if (order == 0)
      return &map.fields[middle].value;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

bool doc_value_is_vector(const struct doc_value *value) {
  if (value->type != DOC_MAP || value->as.map.count != 2)
    return false;
  const struct doc_value *type = doc_map_get(value->as.map, STR("__type__"));
  const struct doc_value *elements = doc_map_get(value->as.map, STR("value"));
  if (type == NULL || type->type != DOC_STRING || !str_eq(type->as.text, STR("__vector__")) ||
      elements == NULL || elements->type != DOC_ARRAY)
    return false;
  for (size_t i = 0; i < elements->as.array.count; i++)
    if (elements->as.array.items[i].type != DOC_DOUBLE)
      return false;
  return true;
}

bool doc_value_equal(const struct doc_value *a, const struct doc_value *b) {
  return doc_value_compare(a, b) == 0;
}
