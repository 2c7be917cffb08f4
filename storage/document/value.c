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
  /* Every decoded map with `__type__` has passed as a vector (codec.h), so its form is enough. */
  const struct doc_field *fields = value->as.map.fields;
  return str_eq(fields[0].name, STR("__type__")) && fields[0].value.type == DOC_STRING &&
         str_eq(fields[0].value.as.text, STR("__vector__")) && str_eq(fields[1].name, STR("value")) &&
         fields[1].value.type == DOC_ARRAY;
}

bool doc_value_equal(const struct doc_value *a, const struct doc_value *b) {
  return doc_value_compare(a, b) == 0;
}
