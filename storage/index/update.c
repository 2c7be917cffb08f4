/* Which entries a document has, and what a change of it changes. The fields of the old and of the new
 * document are walked side by side, both being sorted by name: a field whose bytes are the same in both is
 * passed by, any other is decoded, and so down into maps. A document that comes or goes is a change from or
 * to nothing.
 *
 * Limits are of the whole document, of which a change sees a part. So a bound is taken of what the fields can
 * come to by their sizes alone, and only where that is past a limit are the entries counted. */
#include <assert.h>
#include <stdlib.h>

#include "storage/document/codec.h"
#include "storage/document/wire_read.h"
#include "storage/index/catalog.h"
#include "storage/index/entry_parts.h"
#include "storage/index/entry_writer.h"

enum {
  OLD = 0,
  NEW = 1,
  FIRST_BLOCK_BYTES = 8 * 1024,
};

/* A field of the document itself, in the old and the new state. */
struct top_field {
  str name;
  str wire[2];                      /* ptr NULL: does not exist */
  const struct doc_value *value[2]; /* NULL: not decoded yet */
  bool changed;
};

/* The elements of an array as items: made once for all indexes of its field. */
struct known_items {
  const struct doc_value *array;
  enum doc_order order;
  struct index_items items;
};

/* An entry's columns in a composite index, of the old or the new document. */
struct side {
  bool exists;
  struct buf head, rest;
  uint8_t flags[LIMIT_INDEX_COLUMNS];
  struct index_frame frame;
  struct index_items items;
};

struct update {
  struct index_writer writer;
  const struct index_catalog *catalog;
  struct arena arena;
  struct top_field *fields;
  size_t field_count;

  str segments[DOC_TREE_DEPTH_MAX + 1]; /* the field path that the walk is at */
  size_t depth, path_bytes;
  struct buf names;     /* the same as in keys */
  struct buf head;      /* of the field's entries */
  struct buf single[2]; /* the encoded value */
  struct index_item single_item[2];
  struct known_items known[2];
  struct side sides[2];
};

static bool out_of_memory(struct update *u) {
  return index_writer_out_of_memory(&u->writer);
}

static bool failed(struct update *u, status failure) {
  u->writer.failure = failure;
  return false;
}

/* ---- Items ---- */

static uint8_t encode(const struct doc_value *value, enum doc_order order, struct buf *out) {
  bool truncated;
  doc_order_encode(value, order, out, &truncated);
  return (uint8_t)((truncated ? INDEX_TRUNCATED : 0) | (value->type == DOC_INTEGER ? INDEX_INTEGER : 0));
}

/* One item, a value; none for NULL. */
static bool make_single(struct update *u, unsigned which, const struct doc_value *value,
                        struct index_items *ret) {
  *ret = (struct index_items){0};
  if (value == NULL)
    return true;
  struct buf *bytes = &u->single[which];
  bytes->len = 0;
  uint8_t flags = encode(value, DOC_ASCENDING, bytes);
  if (bytes->failed)
    return out_of_memory(u);
  u->single_item[which] = (struct index_item){buf_str(bytes), flags};
  *ret = (struct index_items){&u->single_item[which], 1};
  return true;
}

static int compare_items(const void *left, const void *right) {
  const struct index_item *a = left, *b = right;
  return str_cmp(a->bytes, b->bytes);
}

/* An item for each different element of an array; none for another value. Of equal numbers one is left, which
 * is an integer if one of them is. */
static bool make_elements(struct update *u, unsigned which, const struct doc_value *array,
                          enum doc_order order, struct index_items *ret) {
  struct known_items *known = &u->known[which];
  *ret = (struct index_items){0};
  if (array == NULL || array->type != DOC_ARRAY || array->as.array.count == 0)
    return true;
  if (known->array != array || known->order != order) {
    size_t count = array->as.array.count, kept = 0;
    struct index_item *items = ARENA_NEW_ARRAY(&u->arena, struct index_item, count);
    if (items == NULL)
      return out_of_memory(u);
    struct buf *bytes = &u->single[which];
    for (size_t i = 0; i < count; i++) {
      bytes->len = 0;
      items[i].flags = encode(&array->as.array.items[i], order, bytes);
      if (bytes->failed || (items[i].bytes = arena_str_copy(&u->arena, buf_str(bytes))).ptr == NULL)
        return out_of_memory(u);
    }
    qsort(items, count, sizeof *items, compare_items);
    for (size_t i = 0; i < count; i++) {
      if (kept > 0 && str_eq(items[kept - 1].bytes, items[i].bytes))
        items[kept - 1].flags |= items[i].flags;
      else
        items[kept++] = items[i];
    }
    *known = (struct known_items){array, order, {items, kept}};
  }
  *ret = known->items;
  return true;
}

/* Equal, and of one type in their flags. */
static bool same_element(const struct doc_value *a, const struct doc_value *b) {
  return a->type == b->type && doc_value_equal(a, b);
}

/* A small change of a large array, as arrayUnion and arrayRemove make them: only the elements that are not
 * the same in both, from the front or from the end, become items. *ret is false where that does not do,
 * because they are many, or one of them may have its entry for another element too. */
static bool make_few_elements(struct update *u, const struct doc_value *old, const struct doc_value *new,
                              struct index_items items[2], bool *ret) {
  enum { FEW = 16 };
  *ret = false;
  if (old == NULL || new == NULL || old->type != DOC_ARRAY || new->type != DOC_ARRAY)
    return true;
  struct doc_array arrays[2] = {old->as.array, new->as.array};
  size_t least = arrays[OLD].count < arrays[NEW].count ? arrays[OLD].count : arrays[NEW].count, front = 0,
         end = 0;
  while (front < least && same_element(&arrays[OLD].items[front], &arrays[NEW].items[front]))
    front++;
  while (end < least - front && same_element(&arrays[OLD].items[arrays[OLD].count - 1 - end],
                                             &arrays[NEW].items[arrays[NEW].count - 1 - end]))
    end++;
  if (arrays[OLD].count - front - end + arrays[NEW].count - front - end > FEW)
    return true;
  const struct doc_array all = arrays[NEW];
  for (unsigned which = 0; which < 2; which++) {
    struct doc_array few = {.count = arrays[which].count - front - end};
    items[which] = (struct index_items){0};
    if (few.count == 0)
      continue;
    few.items = arrays[which].items + front;
    for (size_t i = 0; i < few.count; i++)
      for (size_t at = 0; at < front + end; at++)
        if (doc_value_equal(&few.items[i], &all.items[at < front ? at : all.count - 1 - (at - front)]))
          return true;
    struct doc_value *array = arena_alloc(&u->arena, sizeof *array);
    if (array == NULL)
      return out_of_memory(u);
    *array = (struct doc_value){.type = DOC_ARRAY, .as.array = few};
    if (!make_elements(u, which, array, DOC_ASCENDING, &items[which]))
      return false;
    for (size_t i = 0; i < items[which].count; i++)
      if ((items[which].items[i].flags & INDEX_TRUNCATED) != 0)
        return true;
  }
  *ret = true;
  return true;
}

/* ---- Single fields ---- */

static bool change_kind(struct update *u, enum index_kind kind, bool elements, struct index_items olds,
                        struct index_items news) {
  static const uint8_t no_flags[1] = {0};
  if (olds.count + news.count == 0)
    return true;
  str place = index_writer_place(&u->writer, kind);
  if (place.ptr == NULL)
    return false;
  u->head.len = 0;
  buf_append_str(&u->head, place);
  buf_append_str(&u->head, buf_str(&u->names));
  index_put_mode(elements, &u->head);
  if (u->head.failed || u->names.failed)
    return out_of_memory(u);
  const struct index_frame frame = {.head = buf_str(&u->head),
                                    .rest = kind == INDEX_FIELD ? u->writer.id : u->writer.path,
                                    .flags = no_flags,
                                    .column_count = 1,
                                    .size_bytes = u->writer.document->name.len + INDEX_ENTRY_EXTRA_BYTES};
  return index_writer_change(&u->writer, &frame, olds, &frame, news);
}

static bool change_field(struct update *u, const struct doc_value *old, const struct doc_value *new) {
  const struct doc_field_path path = {u->segments, u->depth};
  unsigned has = index_catalog_field_maintained(u->catalog, u->writer.collection_id, &path);
  struct index_items olds, news;
  if ((has & (INDEX_HAS_VALUES | INDEX_HAS_GROUP_VALUES)) != 0) {
    if (!make_single(u, OLD, old, &olds) || !make_single(u, NEW, new, &news))
      return false;
    if ((has & INDEX_HAS_VALUES) != 0 && !change_kind(u, INDEX_FIELD, false, olds, news))
      return false;
    if ((has & INDEX_HAS_GROUP_VALUES) != 0 && !change_kind(u, INDEX_GROUP_FIELD, false, olds, news))
      return false;
  }
  if ((has & (INDEX_HAS_ELEMENTS | INDEX_HAS_GROUP_ELEMENTS)) != 0) {
    struct index_items few[2];
    bool are_few;
    if (!make_few_elements(u, old, new, few, &are_few))
      return false;
    if (!are_few && (!make_elements(u, OLD, old, DOC_ASCENDING, &few[OLD]) ||
                     !make_elements(u, NEW, new, DOC_ASCENDING, &few[NEW])))
      return false;
    olds = few[OLD];
    news = few[NEW];
    if ((has & INDEX_HAS_ELEMENTS) != 0 && !change_kind(u, INDEX_FIELD, true, olds, news))
      return false;
    if ((has & INDEX_HAS_GROUP_ELEMENTS) != 0 && !change_kind(u, INDEX_GROUP_FIELD, true, olds, news))
      return false;
  }
  return true;
}

static bool change_value(struct update *u, str name, const struct doc_value *old,
                         const struct doc_value *new);

static struct doc_map fields_of(const struct doc_value *value) {
  bool has_fields = value != NULL && value->type == DOC_MAP && !doc_value_is_vector(value);
  return has_fields ? value->as.map : (struct doc_map){0};
}

static bool change_maps(struct update *u, struct doc_map old, struct doc_map new) {
  for (size_t i = 0, j = 0; i < old.count || j < new.count;) {
    int order = i == old.count ? 1 : j == new.count ? -1 : str_cmp(old.fields[i].name, new.fields[j].name);
    const struct doc_field *a = order <= 0 ? &old.fields[i++] : NULL,
                           *b = order >= 0 ? &new.fields[j++] : NULL;
    if (!change_value(u, a != NULL ? a->name : b->name, a != NULL ? &a->value : NULL,
                      b != NULL ? &b->value : NULL))
      return false;
  }
  return true;
}

/* A field and, if it is a map, the fields in it. The recursion is as deep as documents may be. What no query
 * can name, since the path is too long, is in no index. */
static bool change_value(struct update *u, str name, const struct doc_value *old,
                         const struct doc_value *new) {
  assert(u->depth < sizeof u->segments / sizeof u->segments[0]);
  size_t names_len = u->names.len, path_bytes = u->path_bytes;
  u->path_bytes += name.len + (u->depth > 0); /* a dot */
  bool good = true;
  if (u->path_bytes <= LIMIT_ID_BYTES) {
    u->segments[u->depth++] = name;
    index_put_field_name(name, &u->names);
    good = change_field(u, old, new) && change_maps(u, fields_of(old), fields_of(new));
    u->depth--;
  }
  u->names.len = names_len;
  u->path_bytes = path_bytes;
  return good;
}

/* ---- The document's own fields ---- */

static bool damaged(struct update *u) {
  return failed(u,
                status_make(STATUS_DATA_LOSS, "A stored document is damaged: its fields do not come one by "
                                              "one."));
}

static bool count_fields(struct update *u, str fields, size_t *ret) {
  str name, value;
  bool is_damaged;
  *ret = 0;
  while (doc_fields_next(&fields, &name, &value, &is_damaged))
    ++*ret;
  return !is_damaged || damaged(u);
}

/* Brings the fields of both states together, by name. Their form has been seen by count_fields. */
static bool merge_fields(struct update *u, str old, str new) {
  size_t old_count, new_count;
  if (!count_fields(u, old, &old_count) || !count_fields(u, new, &new_count))
    return false;
  u->fields = arena_alloc(&u->arena, (old_count + new_count) * sizeof *u->fields);
  if (u->fields == NULL)
    return out_of_memory(u);
  str names[2], values[2], last = {0};
  bool ignored, more[2] = {doc_fields_next(&old, &names[OLD], &values[OLD], &ignored),
                           doc_fields_next(&new, &names[NEW], &values[NEW], &ignored)};
  while (more[OLD] || more[NEW]) {
    int order = !more[OLD] ? 1 : !more[NEW] ? -1 : str_cmp(names[OLD], names[NEW]);
    struct top_field *field = &u->fields[u->field_count++];
    *field = (struct top_field){.name = names[order <= 0 ? OLD : NEW]};
    if (u->field_count > 1 && str_cmp(last, field->name) >= 0)
      return damaged(u);
    last = field->name;
    if (order <= 0) {
      field->wire[OLD] = values[OLD];
      more[OLD] = doc_fields_next(&old, &names[OLD], &values[OLD], &ignored);
    }
    if (order >= 0) {
      field->wire[NEW] = values[NEW];
      more[NEW] = doc_fields_next(&new, &names[NEW], &values[NEW], &ignored);
    }
    field->changed = order != 0 || !str_eq(field->wire[OLD], field->wire[NEW]);
  }
  return true;
}

/* The value of a field in one of the states, decoded when it is first asked for; *ret is NULL if there is
 * none. */
static bool field_value(struct update *u, struct top_field *field, unsigned which,
                        const struct doc_value **ret) {
  *ret = NULL;
  if (field->wire[which].ptr == NULL)
    return true;
  unsigned from = field->changed ? which : NEW;
  if (field->value[from] == NULL) {
    struct doc_value *value = arena_alloc(&u->arena, sizeof *value);
    if (value == NULL)
      return out_of_memory(u);
    status s = doc_decode_stored_value(field->wire[from], &u->arena, value);
    if (!status_is_ok(&s))
      return failed(u, s);
    field->value[from] = value;
  }
  *ret = field->value[from];
  return true;
}

static bool change_fields(struct update *u) {
  for (size_t i = 0; i < u->field_count; i++) {
    struct top_field *field = &u->fields[i];
    const struct doc_value *old, *new;
    if (field->changed && (!field_value(u, field, OLD, &old) || !field_value(u, field, NEW, &new) ||
                           !change_value(u, field->name, old, new)))
      return false;
  }
  return true;
}

/* ---- Composite indexes ---- */

static struct top_field *find_field(const struct update *u, str name) {
  size_t low = 0, high = u->field_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = str_cmp(u->fields[middle].name, name);
    if (order == 0)
      return &u->fields[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

/* *ret is NULL where the document has no such field. */
static bool column_value(struct update *u, const struct doc_field_path *path, unsigned which,
                         const struct doc_value **ret) {
  struct top_field *field = find_field(u, path->segments[0]);
  const struct doc_value *value = NULL;
  if (field != NULL && !field_value(u, field, which, &value))
    return false;
  for (size_t i = 1; i < path->count && value != NULL; i++)
    value = doc_map_get(fields_of(value), path->segments[i]);
  *ret = value;
  return true;
}

/* Head: the place and the columns before the elements; rest: the columns after them, and the document. */
static bool make_side(struct update *u, const struct index_composite *index, unsigned which) {
  static const struct index_item whole = {{NULL, 0}, 0};
  const struct index_shape *shape = &index->shape;
  struct side *side = &u->sides[which];
  struct buf *out = &side->head;
  assert(shape->column_count <= LIMIT_INDEX_COLUMNS);
  side->head.len = side->rest.len = 0;
  side->items = (struct index_items){&whole, 1};
  side->exists = false;
  side->frame = (struct index_frame){.flags = side->flags,
                                     .column_count = shape->column_count,
                                     .item_column = shape->column_count,
                                     .size_bytes = u->writer.document->name.len + INDEX_ENTRY_EXTRA_BYTES};
  index_put_place(INDEX_COMPOSITE, shape->number, shape->group, &u->writer.collection,
                  u->writer.collection_id, out);
  for (size_t i = 0; i < shape->column_count; i++) {
    const struct index_column *column = &shape->columns[i];
    const struct doc_value *value;
    if (!column_value(u, &column->field, which, &value))
      return false;
    if (value == NULL || (column->elements && value->type != DOC_ARRAY))
      return true;
    if (column->elements) {
      if (!make_elements(u, which, value, column->order, &side->items))
        return false;
      side->frame.item_column = i;
      side->flags[i] = 0;
      out = &side->rest;
      continue;
    }
    size_t start = out->len;
    side->flags[i] = encode(value, column->order, out);
    size_t len = out->len - start;
    side->frame.size_bytes += len < LIMIT_INDEXED_VALUE_BYTES ? len : (size_t)LIMIT_INDEXED_VALUE_BYTES;
  }
  index_put_document(shape, u->writer.document, &side->rest);
  if (side->head.failed || side->rest.failed)
    return out_of_memory(u);
  side->frame.head = buf_str(&side->head);
  side->frame.rest = buf_str(&side->rest);
  side->exists = true;
  return true;
}

static bool concerns(const struct update *u, const struct index_composite *index) {
  for (size_t i = 0; i < index->shape.column_count; i++) {
    const struct top_field *field = find_field(u, index->shape.columns[i].field.segments[0]);
    if (field != NULL && field->changed)
      return true;
  }
  return false;
}

static bool change_composite(struct update *u, const struct index_composite *index) {
  if (!concerns(u, index))
    return true;
  if (!make_side(u, index, OLD) || !make_side(u, index, NEW))
    return false;
  const struct side *old = &u->sides[OLD], *new = &u->sides[NEW];
  const struct index_items none = {0};
  return index_writer_change(&u->writer, &old->frame, old->exists ? old->items : none, &new->frame,
                             new->exists ? new->items : none);
}

/* ---- The name ---- */

static bool change_name(struct update *u, bool exists) {
  static const struct index_item name = {{NULL, 0}, 0};
  const struct index_items none = {0}, one = {&name, 1};
  struct index_frame frame = {.head = index_writer_place(&u->writer, INDEX_GROUP_NAMES)};
  frame.rest = u->writer.path;
  return frame.head.ptr != NULL &&
         index_writer_change(&u->writer, &frame, exists ? none : one, &frame, exists ? one : none);
}

/* ---- All of it ---- */

static bool init(struct update *u, const struct index_catalog *catalog, const struct doc_path *document,
                 const struct arena *caller, void *first) {
  *u = (struct update){.catalog = catalog};
  arena_init(&u->arena, first, FIRST_BLOCK_BYTES, LIMIT_CALL_ARENA_BYTES);
  u->arena.budget = caller->budget;
  return index_writer_init(&u->writer, document, &u->arena);
}

static void fini(struct update *u) {
  buf_fini(&u->names);
  buf_fini(&u->head);
  for (unsigned i = 0; i < 2; i++) {
    buf_fini(&u->single[i]);
    buf_fini(&u->sides[i].head);
    buf_fini(&u->sides[i].rest);
  }
  index_writer_fini(&u->writer);
  arena_fini(&u->arena);
}

/* NULL: the document does not exist. */
static bool change_document(struct update *u, const str *old, const str *new) {
  const struct index_composite *const *composites;
  if (!change_fields(u))
    return false;
  size_t count = index_catalog_composites(u->catalog, u->writer.collection_id, &composites);
  for (size_t i = 0; i < count; i++)
    if (!change_composite(u, composites[i]))
      return false;
  return (old == NULL) == (new == NULL) || change_name(u, new != NULL);
}

/* ---- Limits of the whole document ---- */

/* The first byte of stored values of two types: the tags of Value.map_value and array_value. */
enum { WIRE_MAP = 6 << 3 | 2, WIRE_ARRAY = 9 << 3 | 2 };

/* More than the entries of a document can be, from the sizes of its fields alone. */
struct bound {
  uint64_t entries, bytes;
};

/* The elements of a stored array; of what is damaged more than there can be. */
static uint64_t count_elements(str wire) {
  struct wire_reader in = wire_reader_make(wire);
  struct wire_field field;
  uint64_t count = 0;
  if (wire_read_field(&in, &field) != WIRE_READ_FIELD || field.type != WIRE_BYTES)
    return wire.len;
  in = wire_reader_make(field.bytes);
  while (wire_read_field(&in, &field) == WIRE_READ_FIELD)
    count++;
  return in.at == in.end ? count : wire.len;
}

enum { SCOPES = 2 }; /* a collection's and a group's */

/* Of one field; `around` is what the document's place and name take in a key. A field takes 8 bytes of a
 * stored map, and a stored byte at most 4 of an encoding (value_order.h). */
static void bound_field(const struct update *u, const struct top_field *field, uint64_t around,
                        struct bound *bound) {
  enum { SMALL = 32 /* an encoding that is no text */, COUNTED_BYTES = 8192 };
  str wire = field->wire[NEW];
  uint64_t len = wire.len, each = around + 2 * field->name.len + SMALL;
  if (wire.len > 0 && (uint8_t)wire.ptr[0] == WIRE_ARRAY) {
    const struct doc_field_path path = {&field->name, 1};
    unsigned has = index_catalog_field_maintained(u->catalog, u->writer.collection_id, &path);
    uint64_t scopes =
        ((has & INDEX_HAS_ELEMENTS) != 0 ? 1 : 0) + ((has & INDEX_HAS_GROUP_ELEMENTS) != 0 ? 1 : 0);
    uint64_t elements = len < COUNTED_BYTES ? len / 4 + 1 : count_elements(wire);
    bound->entries += SCOPES + scopes * elements;
    bound->bytes += SCOPES * (each + DOC_ORDER_MAX_BYTES) + scopes * (elements * each + 4 * len);
  } else if (wire.len > 0 && (uint8_t)wire.ptr[0] == WIRE_MAP) {
    uint64_t path = 2 * len < 2 * LIMIT_ID_BYTES ? 2 * len : 2 * LIMIT_ID_BYTES;
    uint64_t value = 4 * LIMIT_VALUE_DEPTH * len; /* once in each map around it */
    uint64_t entries = 2 * (len / 8 + 1); /* arrays in it: as values, and each element takes 4 bytes */
    bound->entries += SCOPES * entries;
    bound->bytes += SCOPES * (entries * (each + path) + value + DOC_ORDER_MAX_BYTES);
  } else {
    bound->entries += SCOPES;
    bound->bytes += SCOPES * (each + (2 * len < DOC_ORDER_MAX_BYTES ? 2 * len : DOC_ORDER_MAX_BYTES));
  }
}

static void bound_composites(const struct update *u, size_t fields_len, uint64_t around,
                             struct bound *bound) {
  const struct index_composite *const *composites;
  size_t count = index_catalog_composites(u->catalog, u->writer.collection_id, &composites);
  for (size_t i = 0; i < count; i++) {
    const struct index_shape *shape = &composites[i]->shape;
    uint64_t entries = 1;
    for (size_t at = 0; at < shape->column_count; at++)
      if (shape->columns[at].elements)
        entries = fields_len / 4 + 1;
    bound->entries += entries;
    bound->bytes += entries * (around + 4 * fields_len + 16 * shape->column_count);
  }
}

static bool may_pass_limits(const struct update *u, str fields) {
  const struct doc_path *document = u->writer.document;
  uint64_t around = 2 * document->name.len + 3 * document->segment_count + 16;
  struct bound bound = {.entries = 1, .bytes = around};
  for (size_t i = 0; i < u->field_count; i++)
    if (u->fields[i].wire[NEW].ptr != NULL)
      bound_field(u, &u->fields[i], around, &bound);
  bound_composites(u, fields.len, around, &bound);
  return bound.entries > LIMIT_INDEX_ENTRIES || bound.bytes > LIMIT_INDEX_ENTRIES_BYTES;
}

/* Makes all entries of a document and only counts them. */
static status count_entries(const struct index_catalog *catalog, const struct doc_path *document, str fields,
                            struct arena *arena) {
  _Alignas(max_align_t) char first[FIRST_BLOCK_BYTES];
  struct update u;
  bool good = init(&u, catalog, document, arena, first) && merge_fields(&u, (str){NULL, 0}, fields) &&
              change_document(&u, NULL, &fields);
  status result = good ? status_ok() : u.writer.failure;
  fini(&u);
  return result;
}

/* ---- What callers see ---- */

status index_update(const struct index_catalog *catalog, const struct doc_path *document,
                    const str *old_fields, const str *new_fields, struct arena *arena,
                    struct kv_batch *batch) {
  _Alignas(max_align_t) char first[FIRST_BLOCK_BYTES];
  const str nothing = {NULL, 0};
  struct update u;
  bool good = init(&u, catalog, document, arena, first);
  u.writer.batch = batch;
  good = good && merge_fields(&u, old_fields != NULL ? *old_fields : nothing,
                              new_fields != NULL ? *new_fields : nothing);
  if (good && new_fields != NULL && may_pass_limits(&u, *new_fields)) {
    u.writer.failure = count_entries(catalog, document, *new_fields, arena);
    good = status_is_ok(&u.writer.failure);
  }
  good = good && change_document(&u, old_fields, new_fields);
  status result = good ? status_ok() : u.writer.failure;
  fini(&u);
  return result;
}

/* The entry or entries of one composite index. */
static bool visit_composite(struct update *u, const struct index_catalog *catalog,
                            const struct index_shape *only) {
  const struct index_composite *const *composites;
  size_t count = index_catalog_composites(catalog, u->writer.collection_id, &composites);
  for (size_t i = 0; i < count; i++)
    if (composites[i]->shape.number == only->number)
      return change_composite(u, composites[i]);
  return true;
}

status index_visit(const struct index_catalog *catalog, const struct index_shape *only,
                   const struct doc_path *document, str fields, struct arena *arena,
                   status (*visit)(void *argument, str key, str value), void *argument) {
  _Alignas(max_align_t) char first[FIRST_BLOCK_BYTES];
  struct update u;
  bool good = init(&u, catalog, document, arena, first);
  u.writer.visit = visit;
  u.writer.argument = argument;
  good = good && merge_fields(&u, (str){NULL, 0}, fields) &&
         (only != NULL ? visit_composite(&u, catalog, only) : change_document(&u, NULL, &fields));
  status result = good ? status_ok() : u.writer.failure;
  fini(&u);
  return result;
}
