#include "storage/index/entry.h"

#include <assert.h>

#include "base/limits.h"
#include "storage/document/key.h"
#include "storage/index/entry_parts.h"

/* The bytes of the format in entry.h. */
enum {
  PLACE_END = 0x00,
  FIELD_END = 0x00,
  NAME_NUL = 0xFF, /* after 0x00 in a name: the byte 0x00 */
  NAME_END = 0x01, /* after 0x00: the end of the name */
  MODE_VALUE = 'v',
  MODE_ELEMENT = 'e',
  DOCUMENT_END = 0xFF, /* of a descending one */
};

/* The longest key: of names of collection groups, which is a collection's id (with nothing but U+0000 in it)
 * before a document's key. What else there is has a shorter place or is checked (LIMIT_INDEX_ENTRY_BYTES). */
static_assert(1 + 3 + 2 * LIMIT_ID_BYTES + 3 * (2 * LIMIT_PATH_DEPTH + 2) + 2 * LIMIT_NAME_BYTES + 1 <=
                  KV_KEY_MAX_BYTES,
              "every document has its entry of names");

static bool is_group(const struct index_shape *shape) {
  return shape->kind == INDEX_GROUP_FIELD || shape->kind == INDEX_GROUP_NAMES || shape->group;
}

void index_put_field_name(str name, struct buf *out) {
  const char *nul;
  while (name.len > 0 && (nul = memchr(name.ptr, 0, name.len)) != NULL) {
    size_t before = (size_t)(nul - name.ptr);
    buf_append(out, name.ptr, before);
    buf_append(out, (const uint8_t[]){0, NAME_NUL}, 2);
    name = str_from(name, before + 1);
  }
  buf_append_str(out, name);
  buf_append(out, (const uint8_t[]){0, NAME_END}, 2);
}

void index_put_mode(bool elements, struct buf *out) {
  buf_append(out, (const uint8_t[]){FIELD_END, elements ? MODE_ELEMENT : MODE_VALUE}, 2);
}

void index_put_place(enum index_kind kind, uint32_t number, bool group, const struct doc_path *where,
                     str group_id, struct buf *out) {
  buf_append_byte(out, (uint8_t)kind);
  if (kind == INDEX_COMPOSITE)
    buf_append(out,
               (const uint8_t[]){(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                                 (uint8_t)number},
               4);
  doc_key_put_database(where, out);
  if (kind == INDEX_GROUP_FIELD || kind == INDEX_GROUP_NAMES) {
    doc_key_put_segment(group_id, out);
  } else if (!group) {
    assert(doc_path_is_collection(where));
    doc_key_put_relative(where, out);
    buf_append_byte(out, PLACE_END);
  }
}

void index_prefix(const struct index_shape *shape, const struct doc_path *where, str group_id,
                  struct buf *out) {
  index_put_place(shape->kind, shape->number, is_group(shape), where, group_id, out);
  if (shape->kind != INDEX_FIELD && shape->kind != INDEX_GROUP_FIELD)
    return;
  assert(shape->column_count == 1);
  const struct index_column *column = &shape->columns[0];
  for (size_t i = 0; i < column->field.count; i++)
    index_put_field_name(column->field.segments[i], out);
  index_put_mode(column->elements, out);
}

static void invert(uint8_t *at, size_t count) {
  for (size_t i = 0; i < count; i++)
    at[i] = (uint8_t)~at[i];
}

void index_put_document(const struct index_shape *shape, const struct doc_path *document, struct buf *out) {
  assert(doc_path_is_document(document));
  size_t start = out->len;
  if (is_group(shape))
    doc_key_put_relative(document, out);
  else
    doc_key_put_segment(doc_path_id(document), out);
  if (shape->name_order == DOC_ASCENDING || out->failed)
    return;
  invert(out->data + start, out->len - start);
  buf_append_byte(out, DOCUMENT_END);
}

status index_entry_split(const struct index_shape *shape, str tail, str *ret_values, str *ret_document) {
  bool good = true;
  for (size_t i = 0; i < shape->column_count && good; i++)
    good = doc_order_take(&tail, shape->columns[i].order, &ret_values[i]);
  if (good && shape->name_order == DOC_DESCENDING)
    good = tail.len > 1 && (uint8_t)tail.ptr[tail.len - 1] == DOCUMENT_END;
  if (!good || tail.len == 0)
    return status_make(STATUS_DATA_LOSS, "An index entry is damaged. Run `skerry verify`.");
  *ret_document = tail;
  return status_ok();
}

void index_document_key(const struct index_shape *shape, str document, struct buf *out) {
  if (shape->name_order == DOC_ASCENDING) {
    buf_append_str(out, document);
    return;
  }
  assert(document.len > 0); /* index_entry_split saw its end */
  size_t start = out->len;
  buf_append(out, document.ptr, document.len - 1);
  if (!out->failed)
    invert(out->data + start, out->len - start);
}
