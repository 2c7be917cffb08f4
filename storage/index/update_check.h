/* For tests: a catalog that says what a test wants, and the check that a change of a document's entries is
 * right: applied to the entries that it had, it gives those that it has, and touches no other. What it has is
 * also made in a second way, straight from index_prefix, doc_order_encode and index_put_document. */
#ifndef SKERRY_STORAGE_INDEX_UPDATE_CHECK_H
#define SKERRY_STORAGE_INDEX_UPDATE_CHECK_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "storage/document/codec.h"
#include "storage/index/catalog.h"
#include "storage/kv_driver.h"

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                        \
      abort();                                                                                               \
    }                                                                                                        \
  } while (0)

/* ---- The catalog ---- */

enum { CHECK_COMPOSITES_MAX = 4, CHECK_COLUMNS_MAX = 4 };

struct index_catalog {
  struct index_composite composites[CHECK_COMPOSITES_MAX];
  const struct index_composite *pointers[CHECK_COMPOSITES_MAX];
  size_t count;
  unsigned salt; /* 0: every field as without definitions; else each field in its own ways */
};

size_t index_catalog_composites(const struct index_catalog *catalog, str collection_id,
                                const struct index_composite *const **ret) {
  (void)collection_id;
  *ret = catalog->pointers;
  return catalog->count;
}

unsigned index_catalog_field_maintained(const struct index_catalog *catalog, str collection_id,
                                        const struct doc_field_path *field) {
  (void)collection_id;
  unsigned hash = catalog->salt;
  if (hash == 0)
    return INDEX_HAS_VALUES | INDEX_HAS_ELEMENTS;
  for (size_t i = 0; i < field->count; i++)
    for (size_t at = 0; at < field->segments[i].len; at++)
      hash = (hash ^ (uint8_t)field->segments[i].ptr[at]) * 2654435761u;
  return hash >> 16 & 15;
}

/* ---- Entries that a test holds ---- */

struct kept {
  str key, value;
};

struct entries {
  struct kept *items; /* sorted by key */
  size_t count, capacity;
  struct arena *arena;
};

static size_t entries_find(const struct entries *e, str key, bool *ret_found) {
  size_t low = 0, high = e->count;
  *ret_found = false;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = str_cmp(e->items[middle].key, key);
    *ret_found = order == 0;
    if (order == 0)
      return middle;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void entries_insert(struct entries *e, size_t at, str key, str value) {
  if (e->count == e->capacity) {
    e->capacity = e->capacity == 0 ? 32 : e->capacity * 2;
    e->items = realloc(e->items, e->capacity * sizeof *e->items);
    CHECK(e->items != NULL);
  }
  memmove(e->items + at + 1, e->items + at, (e->count - at) * sizeof *e->items);
  e->items[at] = (struct kept){arena_str_copy(e->arena, key), arena_str_copy(e->arena, value)};
  CHECK(e->items[at].key.ptr != NULL && e->items[at].value.ptr != NULL);
  e->count++;
}

/* A visitor: no entry comes twice. */
static status entries_add(void *argument, str key, str value) {
  struct entries *e = argument;
  bool found;
  size_t at = entries_find(e, key, &found);
  CHECK(!found && key.len <= KV_KEY_MAX_BYTES);
  entries_insert(e, at, key, value);
  return status_ok();
}

static void entries_equal(const struct entries *a, const struct entries *b) {
  CHECK(a->count == b->count);
  for (size_t i = 0; i < a->count; i++)
    CHECK(str_eq(a->items[i].key, b->items[i].key) && str_eq(a->items[i].value, b->items[i].value));
}

/* ---- A batch that is applied at once ---- */

struct check_batch {
  struct kv_batch base;
  struct entries *entries;
  struct entries touched;
};

static void check_batch_write(struct kv_batch *base, enum kv_space space, str key, bool deleted, str value) {
  struct check_batch *batch = (struct check_batch *)base;
  struct entries *e = batch->entries;
  bool found, twice;
  size_t at = entries_find(&batch->touched, key, &twice);
  CHECK(!twice && space == KV_INDEX);
  entries_insert(&batch->touched, at, key, (str){NULL, 0});
  at = entries_find(e, key, &found);
  if (deleted) {
    CHECK(found);
    memmove(e->items + at, e->items + at + 1, (e->count - at - 1) * sizeof *e->items);
    e->count--;
  } else if (found) {
    CHECK(!str_eq(e->items[at].value, value)); /* what stays is not touched */
    e->items[at].value = arena_str_copy(e->arena, value);
  } else {
    entries_insert(e, at, key, value);
  }
}

static void check_batch_fail(struct kv_batch *base, const status *failure) {
  (void)base;
  (void)failure;
  CHECK(false);
}

static const struct kv_driver check_driver = {.batch_write = check_batch_write,
                                              .batch_fail = check_batch_fail};

/* ---- The second way ---- */

struct second {
  const struct doc_path *document;
  struct doc_path collection;
  struct entries *entries;
};

static unsigned flags_of(const struct doc_value *value, bool cut) {
  return (cut ? INDEX_TRUNCATED : 0) | (value->type == DOC_INTEGER ? INDEX_INTEGER : 0);
}

/* Adds the entry; one that is there already (an equal element) gets the flags of both. */
static void second_add(const struct second *s, const struct index_shape *shape,
                       const struct doc_value *const *values) {
  struct buf key = {0};
  uint8_t flags[CHECK_COLUMNS_MAX] = {0};
  bool any = false, found;
  index_prefix(shape, &s->collection, doc_path_collection_id(s->document), &key);
  for (size_t i = 0; i < shape->column_count; i++) {
    bool cut;
    assert(values != NULL); /* only names have no columns */
    doc_order_encode(values[i], shape->columns[i].order, &key, &cut);
    flags[i] = (uint8_t)flags_of(values[i], cut);
  }
  index_put_document(shape, s->document, &key);
  CHECK(!key.failed);
  size_t at = entries_find(s->entries, buf_str(&key), &found);
  for (size_t i = 0; i < shape->column_count; i++) {
    if (found)
      flags[i] |= (uint8_t)index_entry_flags(s->entries->items[at].value, i);
    any = any || flags[i] != 0;
  }
  str value = str_make(flags, any ? shape->column_count : 0);
  if (found)
    s->entries->items[at].value = arena_str_copy(s->entries->arena, value);
  else
    entries_insert(s->entries, at, buf_str(&key), value);
  buf_fini(&key);
}

static void second_values(const struct second *s, const struct index_shape *shape,
                          const struct doc_value **values, size_t column) {
  if (column == shape->column_count) {
    second_add(s, shape, values);
    return;
  }
  if (!shape->columns[column].elements) {
    second_values(s, shape, values, column + 1);
    return;
  }
  const struct doc_value *array = values[column];
  if (array->type != DOC_ARRAY)
    return;
  for (size_t i = 0; i < array->as.array.count; i++) {
    values[column] = &array->as.array.items[i];
    second_values(s, shape, values, column + 1);
  }
  values[column] = array;
}

static const struct doc_value *second_get(struct doc_map map, const struct doc_field_path *path) {
  const struct doc_value *value = doc_map_get(map, path->segments[0]);
  for (size_t i = 1; i < path->count && value != NULL; i++)
    value = value->type != DOC_MAP || doc_value_is_vector(value)
                ? NULL
                : doc_map_get(value->as.map, path->segments[i]);
  return value;
}

static void second_fields(const struct second *s, const struct index_catalog *catalog, struct doc_map map,
                          str *segments, size_t depth) {
  for (size_t i = 0; i < map.count; i++) {
    const struct doc_value *value = &map.fields[i].value;
    segments[depth] = map.fields[i].name;
    struct index_column column = {.field = {segments, depth + 1}};
    size_t bytes = depth;
    for (size_t at = 0; at <= depth; at++)
      bytes += segments[at].len;
    if (bytes > LIMIT_ID_BYTES)
      continue;
    unsigned has = index_catalog_field_maintained(catalog, STR("c"), &column.field);
    for (unsigned bit = 0; bit < 4; bit++) {
      struct index_shape shape = {.kind = bit < 2 ? INDEX_FIELD : INDEX_GROUP_FIELD,
                                  .group = bit >= 2,
                                  .columns = &column,
                                  .column_count = 1};
      column.elements = bit % 2 == 1;
      if ((has & 1u << bit) != 0)
        second_values(s, &shape, (const struct doc_value *[]){value}, 0);
    }
    if (value->type == DOC_MAP && !doc_value_is_vector(value))
      second_fields(s, catalog, value->as.map, segments, depth + 1);
  }
}

static void second_composite(const struct second *s, const struct index_composite *index,
                             struct doc_map map) {
  const struct doc_value *values[CHECK_COLUMNS_MAX];
  for (size_t i = 0; i < index->shape.column_count; i++)
    if ((values[i] = second_get(map, &index->shape.columns[i].field)) == NULL)
      return;
  second_values(s, &index->shape, values, 0);
}

static void second_all(const struct index_catalog *catalog, const struct doc_path *document, str fields,
                       struct entries *entries) {
  struct second s = {document, doc_path_parent(document), entries};
  struct index_shape names = {.kind = INDEX_GROUP_NAMES, .group = true};
  str segments[DOC_TREE_DEPTH_MAX + 1];
  struct doc_map map;
  status decoded = doc_decode_fields(fields, entries->arena, &map);
  CHECK(status_is_ok(&decoded));
  second_add(&s, &names, NULL);
  second_fields(&s, catalog, map, segments, 0);
  for (size_t i = 0; i < catalog->count; i++)
    second_composite(&s, catalog->pointers[i], map);
}

/* ---- The check ---- */

/* The entries of a document, seen in both ways; NULL: it does not exist. */
static void visit_all(const struct index_catalog *catalog, const struct doc_path *document, const str *fields,
                      struct arena *arena, struct entries *ret) {
  *ret = (struct entries){.arena = arena};
  if (fields == NULL)
    return;
  struct entries other = {.arena = arena}, parts = {.arena = arena};
  status s = index_visit(catalog, NULL, document, *fields, arena, entries_add, ret);
  CHECK(status_is_ok(&s));
  second_all(catalog, document, *fields, &other);
  entries_equal(ret, &other);
  /* Composite by composite it is the same. */
  size_t in_composites = 0;
  for (size_t i = 0; i < ret->count; i++)
    in_composites += ret->items[i].key.ptr[0] == INDEX_COMPOSITE;
  for (size_t i = 0; i < catalog->count; i++) {
    s = index_visit(catalog, &catalog->pointers[i]->shape, document, *fields, arena, entries_add, &parts);
    CHECK(status_is_ok(&s));
  }
  CHECK(parts.count == in_composites);
  free(other.items);
  free(parts.items);
}

/* Returns how many entries were written. */
static size_t check_update(const struct index_catalog *catalog, const struct doc_path *document,
                           const str *old, const str *new, struct arena *arena) {
  struct entries had, has;
  visit_all(catalog, document, old, arena, &had);
  visit_all(catalog, document, new, arena, &has);
  struct check_batch batch = {{&check_driver}, &had, {.arena = arena}};
  status s = index_update(catalog, document, old, new, arena, &batch.base);
  CHECK(status_is_ok(&s));
  entries_equal(&had, &has);
  size_t touched = batch.touched.count;
  free(had.items);
  free(has.items);
  free(batch.touched.items);
  return touched;
}

#endif
