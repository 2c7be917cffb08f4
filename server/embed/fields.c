/* Maps and values for handlers. What is written goes through the codec once, so that a document that a
 * handler made obeys the same rules as one that a client sent. */
#include <assert.h>
#include <stdlib.h>

#include "server/embed/documents_inside.h"
#include "storage/document/codec.h"

enum { FIRST_CAPACITY = 8 };

/* ---- Making maps ---- */

static bool grow(struct skerry_fields *fields) {
  size_t capacity = fields->capacity == 0 ? FIRST_CAPACITY : fields->capacity * 2;
  struct doc_field *more = ARENA_NEW_ARRAY(fields->arena, struct doc_field, capacity);
  if (more == NULL)
    return false;
  if (fields->count > 0)
    memcpy(more, fields->fields, fields->count * sizeof *more);
  fields->fields = more;
  fields->capacity = capacity;
  return true;
}

void skerry_fields_put(struct skerry_fields *fields, const char *name, struct doc_value value) {
  assert(fields->arena != NULL);
  struct doc_field field = {str_from_cstr(name), value};
  for (size_t i = 0; i < fields->count; i++)
    if (str_eq(fields->fields[i].name, field.name)) {
      fields->fields[i] = field;
      return;
    }
  if (fields->failed || (fields->count == fields->capacity && !grow(fields))) {
    fields->failed = true;
    return;
  }
  fields->fields[fields->count++] = field;
}

static int compare_names(const void *a, const void *b) {
  const struct doc_field *left = a, *right = b;
  return str_cmp(left->name, right->name);
}

status skerry_fields_map(struct skerry_fields *fields, struct doc_map *ret) {
  if (fields->failed)
    return documents_no_memory();
  if (fields->count > 1)
    qsort(fields->fields, fields->count, sizeof *fields->fields, compare_names);
  *ret = (struct doc_map){fields->fields, fields->count};
  return status_ok();
}

/* ---- Reading them ---- */

static const struct doc_value *find(struct doc_map map, const char *name, enum doc_type type) {
  const struct doc_value *value = doc_map_get(map, str_from_cstr(name));
  return value != NULL && value->type == type ? value : NULL;
}

int64_t skerry_get_integer(struct doc_map map, const char *name, int64_t otherwise) {
  const struct doc_value *value = find(map, name, DOC_INTEGER);
  return value == NULL ? otherwise : value->as.integer;
}

bool skerry_get_boolean(struct doc_map map, const char *name, bool otherwise) {
  const struct doc_value *value = find(map, name, DOC_BOOLEAN);
  return value == NULL ? otherwise : value->as.boolean;
}

str skerry_get_string(struct doc_map map, const char *name) {
  const struct doc_value *value = find(map, name, DOC_STRING);
  return value == NULL ? STR("") : value->as.text;
}

/* ---- Checking ---- */

/* The codec's walks have a stack of that depth and assert it. */
static bool is_too_deep(const struct doc_value *value, unsigned depth_left) {
  size_t count = doc_value_count(value);
  if (count > 0 && depth_left == 0)
    return true;
  for (size_t i = 0; i < count; i++)
    if (is_too_deep(doc_value_child(value, i), depth_left - 1))
      return true;
  return false;
}

static status check(const struct doc_value *value, enum doc_use use, struct arena *arena,
                    struct doc_value *ret) {
  str wire;
  if (is_too_deep(value, DOC_TREE_DEPTH_MAX - 1))
    return status_make(STATUS_INVALID_ARGUMENT, "A value has too many maps and arrays in each other.");
  STATUS_TRY(doc_encode_value(value, arena, &wire));
  return doc_decode_value(wire, use, arena, ret);
}

/* Field by field: as one value, the document's own map would count for the depth. */
status fields_check(struct skerry_fields *fields, struct doc_map *ret) {
  STATUS_TRY(skerry_fields_map(fields, ret));
  for (size_t i = 0; i < fields->count; i++) {
    struct doc_field *field = &fields->fields[i];
    STATUS_TRY(doc_field_name_check(field->name));
    STATUS_TRY(check(&field->value, DOC_USE_FIELD, fields->arena, &field->value));
  }
  return status_ok();
}

status fields_check_operand(const struct doc_value *value, struct arena *arena, struct doc_value *ret) {
  return check(value, DOC_USE_OPERAND, arena, ret);
}
