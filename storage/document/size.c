#include "storage/document/size.h"

#include <assert.h>

enum { MAP_BYTES = 32, NAME_BYTES = 16, DIMENSION_BYTES = 8 };

size_t doc_name_size(str name) {
  static const char documents[] = "/documents/";
  const char *at = name.len == 0 ? NULL : memmem(name.ptr, name.len, documents, sizeof documents - 1);
  if (at == NULL)
    return NAME_BYTES;
  str path = str_from(name, (size_t)(at - name.ptr) + sizeof documents - 1);
  /* Each id counts one byte more: the slashes between them, and one for the last. */
  return path.len + 1 + NAME_BYTES;
}

/* A value without what is in it. */
static size_t shallow_size(const struct doc_value *value) {
  switch (value->type) {
  case DOC_NULL:
  case DOC_BOOLEAN:
    return 1;
  case DOC_INTEGER:
  case DOC_DOUBLE:
  case DOC_TIMESTAMP:
    return 8;
  case DOC_STRING:
    return value->as.text.len + 1;
  case DOC_BYTES:
    return value->as.text.len;
  case DOC_REFERENCE:
    return doc_name_size(value->as.text);
  case DOC_GEO_POINT:
    return 16;
  case DOC_MAP:
    return MAP_BYTES;
  case DOC_ARRAY:
    break;
  }
  return 0;
}

struct measure {
  size_t size;
  size_t depth; /* maps and arrays in each other, the value itself included; vectors do not count */
};

static struct measure measure(const struct doc_value *root) {
  struct {
    const struct doc_value *value;
    size_t next;
  } stack[DOC_TREE_DEPTH_MAX];
  stack[0].value = root;
  stack[0].next = 0;
  size_t depth = 0;
  struct measure sum = {0, 0};
  const struct doc_value *value = root;
  for (;;) {
    bool vector = doc_value_is_vector(value);
    sum.size += vector ? doc_value_child(value, 1)->as.array.count * DIMENSION_BYTES : shallow_size(value);
    if (value->type == DOC_ARRAY || value->type == DOC_MAP) {
      size_t inside = depth + (vector ? 0 : 1);
      if (inside > sum.depth)
        sum.depth = inside;
      if (!vector) {
        assert(depth < DOC_TREE_DEPTH_MAX);
        stack[depth].value = value;
        stack[depth++].next = 0;
      }
    }
    while (depth > 0 && stack[depth - 1].next == doc_value_count(stack[depth - 1].value))
      depth--;
    if (depth == 0)
      return sum;
    const struct doc_value *parent = stack[depth - 1].value;
    size_t at = stack[depth - 1].next++;
    if (parent->type == DOC_MAP)
      sum.size += parent->as.map.fields[at].name.len + 1;
    value = doc_value_child(parent, at);
  }
}

size_t doc_value_size(const struct doc_value *value) {
  return measure(value).size;
}

size_t doc_document_size(str name, struct doc_map fields) {
  const struct doc_value root = {.type = DOC_MAP, .as.map = fields};
  return doc_name_size(name) + measure(&root).size;
}

status doc_document_check(str name, struct doc_map fields, const struct doc_limits *limits) {
  const struct doc_value root = {.type = DOC_MAP, .as.map = fields};
  struct measure sum = measure(&root);
  size_t size = doc_name_size(name) + sum.size;
  if (name.len > 300)
    name.len = 300;
  if (sum.depth - 1 > LIMIT_VALUE_DEPTH) /* the document's own map does not count */
    return status_make(STATUS_INVALID_ARGUMENT,
                       "The document has more than %d maps and arrays in each other: " STR_FMT,
                       LIMIT_VALUE_DEPTH, STR_ARG(name));
  if (size > limits->document_bytes)
    return status_make(
        STATUS_INVALID_ARGUMENT,
        "The document cannot be written because its size (%zu bytes) is over the maximum of %zu "
        "bytes: " STR_FMT,
        size, limits->document_bytes, STR_ARG(name));
  return status_ok();
}
