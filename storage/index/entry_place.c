#include "storage/index/entry_place.h"

#include <assert.h>

#include "base/limits.h"
#include "storage/document/key.h"

enum { NUMBER_BYTES = 4, PLACE_END = 0x00, NAME_NUL = 0xFF, NAME_END = 0x01 };

static status damaged(void) {
  return status_make(STATUS_DATA_LOSS, "An index entry is damaged: its key is none of an index.");
}

static status no_memory(void) {
  return status_default(STATUS_RESOURCE_EXHAUSTED);
}

static const struct index_composite *find_number(const struct index_catalog *catalog, uint32_t number) {
  size_t low = 0, high = catalog->composite_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const struct index_composite *one = &catalog->composites[middle];
    if (one->shape.number == number)
      return one;
    if (one->shape.number < number)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

/* Takes one name of a field path, unescaped. */
static status take_name(str *rest, struct arena *arena, str *ret) {
  char *name = arena_alloc(arena, rest->len);
  size_t len = 0, at = 0;
  if (name == NULL)
    return no_memory();
  for (;; at++) {
    if (at + 1 >= rest->len)
      return damaged();
    if (rest->ptr[at] != 0) {
      name[len++] = rest->ptr[at];
      continue;
    }
    unsigned char next = (unsigned char)rest->ptr[++at];
    if (next == NAME_END)
      break;
    if (next != NAME_NUL)
      return damaged();
    name[len++] = 0;
  }
  *ret = str_make(name, len);
  *rest = str_from(*rest, at + 1);
  return status_ok();
}

static status take_field(str *rest, struct arena *arena, struct index_column *ret) {
  str segments[DOC_TREE_DEPTH_MAX + 1];
  size_t count = 0;
  /* A name does not begin with 0x00 0x01 or the end with a mode: names are not empty, modes are letters. */
  while (rest->len >= 2 && !(rest->ptr[0] == PLACE_END && (unsigned char)rest->ptr[1] != NAME_NUL)) {
    if (count == sizeof segments / sizeof segments[0])
      return damaged();
    STATUS_TRY(take_name(rest, arena, &segments[count++]));
  }
  if (count == 0 || rest->len < 2 || (rest->ptr[1] != 'v' && rest->ptr[1] != 'e'))
    return damaged();
  str *kept = ARENA_NEW_ARRAY(arena, str, count);
  if (kept == NULL)
    return no_memory();
  memcpy(kept, segments, count * sizeof *kept);
  *ret = (struct index_column){.field = {kept, count}, .elements = rest->ptr[1] == 'e'};
  *rest = str_from(*rest, 2);
  return status_ok();
}

/* A collection's path: segments up to an end that no segment begins with. */
static bool take_collection(str *rest) {
  size_t count = 0;
  str ignored;
  while (rest->len > 0 && rest->ptr[0] != PLACE_END) {
    if (!doc_key_take_segment(rest, &ignored))
      return false;
    count++;
  }
  if (rest->len == 0 || count % 2 == 0)
    return false;
  *rest = str_from(*rest, 1);
  return true;
}

static status parse_single(str key, str rest, struct arena *arena, struct index_place *place) {
  struct doc_path path;
  status named = doc_key_to_path(place->collection, arena, &path);
  if (!status_is_ok(&named))
    return named.code == STATUS_RESOURCE_EXHAUSTED ? named : damaged();
  place->collection_id = doc_path_id(&path);
  STATUS_TRY(take_field(&rest, arena, &place->column));
  place->shape.group = place->shape.kind == INDEX_GROUP_FIELD;
  place->shape.column_count = 1;
  place->prefix = str_make(key.ptr, key.len - rest.len);
  return status_ok();
}

status index_place_parse(str key, const struct index_catalog *catalog, struct arena *arena,
                         struct index_place *ret) {
  *ret = (struct index_place){.is_known = true};
  if (key.len == 0)
    return damaged();
  ret->shape.kind = (enum index_kind)(unsigned char)key.ptr[0];
  str rest = str_from(key, 1), ignored;
  if (ret->shape.kind == INDEX_COMPOSITE) {
    if (rest.len < NUMBER_BYTES)
      return damaged();
    for (unsigned i = 0; i < NUMBER_BYTES; i++)
      ret->shape.number = ret->shape.number << 8 | (unsigned char)rest.ptr[i];
    rest = str_from(rest, NUMBER_BYTES);
    ret->prefix = str_make(key.ptr, 1 + NUMBER_BYTES);
    const struct index_composite *known = find_number(catalog, ret->shape.number);
    ret->is_known = known != NULL;
    if (known == NULL)
      return status_ok();
    ret->shape = known->shape;
  }
  str from = rest;
  for (unsigned i = 0; i < 2; i++)
    if (!doc_key_take_segment(&rest, &ignored))
      return damaged();
  ret->database = str_make(from.ptr, from.len - rest.len);
  if (ret->shape.kind == INDEX_GROUP_FIELD || ret->shape.kind == INDEX_GROUP_NAMES) {
    if (!doc_key_take_segment(&rest, &ignored))
      return damaged();
    ret->collection = str_make(from.ptr, from.len - rest.len);
  } else if (ret->shape.kind == INDEX_FIELD || (ret->shape.kind == INDEX_COMPOSITE && !ret->shape.group)) {
    if (!take_collection(&rest))
      return damaged();
    ret->collection = str_make(from.ptr, from.len - rest.len - 1);
  } else if (ret->shape.kind != INDEX_COMPOSITE) {
    return damaged();
  }
  ret->prefix = str_make(key.ptr, key.len - rest.len);
  if (ret->shape.kind == INDEX_FIELD || ret->shape.kind == INDEX_GROUP_FIELD)
    return parse_single(key, rest, arena, ret);
  if (ret->shape.kind == INDEX_GROUP_NAMES)
    ret->shape.group = true;
  return status_ok();
}

unsigned index_place_has(const struct index_place *place) {
  bool elements = place->column.elements;
  if (place->shape.kind == INDEX_FIELD)
    return elements ? INDEX_HAS_ELEMENTS : INDEX_HAS_VALUES;
  assert(place->shape.kind == INDEX_GROUP_FIELD);
  return elements ? INDEX_HAS_GROUP_ELEMENTS : INDEX_HAS_GROUP_VALUES;
}

bool index_place_is_maintained(const struct index_place *place, const struct index_catalog *catalog) {
  if (place->shape.kind == INDEX_GROUP_NAMES)
    return true;
  if (place->shape.kind == INDEX_COMPOSITE)
    return find_number(catalog, place->shape.number) != NULL;
  unsigned maintained = index_catalog_field_maintained(catalog, place->collection_id, &place->column.field);
  return (maintained & index_place_has(place)) != 0;
}

status index_place_document_key(const struct index_place *place, str key, struct buf *out) {
  str values[LIMIT_INDEX_COLUMNS], document;
  struct index_shape shape = place->shape;
  if (shape.kind == INDEX_FIELD || shape.kind == INDEX_GROUP_FIELD)
    shape.columns = &place->column;
  STATUS_TRY(index_entry_split(&shape, str_from(key, place->prefix.len), values, &document));
  buf_clear(out);
  buf_append_str(out, shape.group ? place->database : place->collection);
  index_document_key(&shape, document, out);
  return out->failed ? no_memory() : status_ok();
}

void index_prefix_end(str prefix, struct buf *out) {
  while (prefix.len > 0 && (unsigned char)prefix.ptr[prefix.len - 1] == 0xFF)
    prefix.len--;
  buf_clear(out);
  if (prefix.len == 0)
    return;
  buf_append(out, prefix.ptr, prefix.len - 1);
  buf_append_byte(out, (uint8_t)(prefix.ptr[prefix.len - 1] + 1));
}
