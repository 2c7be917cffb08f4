#include "server/tokens/claims.h"

#include <assert.h>
#include <stdlib.h>

/* What is wrong with a claim, or NULL; *ret is valid only then. Recurses as deep as the JSON is, which
 * was bounded when it was read. */
static const char *convert(const json_t *json, bool in_array, struct arena *arena, struct doc_value *ret);

static int compare_fields(const void *a, const void *b) {
  const struct doc_field *left = a, *right = b;
  return str_cmp(left->name, right->name);
}

static const char NO_MEMORY[] = "there is no memory";

static const char *convert_object(const json_t *json, bool is_claim, struct arena *arena,
                                  struct doc_map *ret) {
  size_t count = json_object_size(json), at = 0;
  struct doc_field *fields = ARENA_NEW_ARRAY(arena, struct doc_field, count);
  if (fields == NULL)
    return NO_MEMORY;
  json_t *object = (json_t *)(uintptr_t)json; /* the iterator wants it so, and changes nothing */
  for (void *i = json_object_iter(object); i != NULL; i = json_object_iter_next(object, i)) {
    str name = str_from_cstr(json_object_iter_key(i));
    if (name.len == 0)
      return "a claim has an empty name";
    if (is_claim && str_eq(name, STR("__type__")))
      return "a claim has the reserved name \"__type__\" in it";
    assert(at < count);
    fields[at].name = arena_str_copy(arena, name);
    if (fields[at].name.ptr == NULL)
      return NO_MEMORY;
    const char *problem = convert(json_object_iter_value(i), false, arena, &fields[at].value);
    if (problem != NULL)
      return problem;
    at++;
  }
  if (count > 1)
    qsort(fields, count, sizeof *fields, compare_fields);
  *ret = (struct doc_map){fields, count};
  return NULL;
}

static const char *convert_array(const json_t *json, struct arena *arena, struct doc_array *ret) {
  size_t count = json_array_size(json);
  struct doc_value *items = ARENA_NEW_ARRAY(arena, struct doc_value, count);
  if (items == NULL)
    return NO_MEMORY;
  for (size_t i = 0; i < count; i++) {
    const char *problem = convert(json_array_get(json, i), true, arena, &items[i]);
    if (problem != NULL)
      return problem;
  }
  *ret = (struct doc_array){items, count};
  return NULL;
}

static const char *convert(const json_t *json, bool in_array, struct arena *arena, struct doc_value *ret) {
  switch (json_typeof(json)) {
  case JSON_OBJECT:
    ret->type = DOC_MAP;
    return convert_object(json, true, arena, &ret->as.map);
  case JSON_ARRAY:
    if (in_array)
      return "a claim holds an array directly in an array, which rules cannot read";
    ret->type = DOC_ARRAY;
    return convert_array(json, arena, &ret->as.array);
  case JSON_STRING:
    ret->type = DOC_STRING;
    ret->as.text = arena_str_copy(arena, str_make(json_string_value(json), json_string_length(json)));
    return ret->as.text.ptr == NULL ? NO_MEMORY : NULL;
  case JSON_INTEGER:
    ret->type = DOC_INTEGER;
    ret->as.integer = (int64_t)json_integer_value(json);
    return NULL;
  case JSON_REAL:
    ret->type = DOC_DOUBLE;
    ret->as.number = json_real_value(json);
    return NULL;
  case JSON_TRUE:
  case JSON_FALSE:
    ret->type = DOC_BOOLEAN;
    ret->as.boolean = json_is_true(json);
    return NULL;
  case JSON_NULL:
    ret->type = DOC_NULL;
    return NULL;
  }
  return "a claim is of a kind that is not known";
}

status json_to_claims(const json_t *json, struct arena *arena, struct doc_map *ret) {
  struct doc_map claims;
  const char *problem = convert_object(json, false, arena, &claims);
  if (problem != NULL)
    return status_make(problem == NO_MEMORY ? STATUS_RESOURCE_EXHAUSTED : STATUS_INVALID_ARGUMENT, "%s",
                       problem);
  *ret = claims;
  return status_ok();
}
