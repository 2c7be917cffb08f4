/* For tests: values, filters and queries in short forms. Everything lies in one static arena, freed by
 * query_build_fini. */
#ifndef SKERRY_STORAGE_QUERY_QUERY_BUILD_H
#define SKERRY_STORAGE_QUERY_QUERY_BUILD_H

#include <stdlib.h>

#include "base/arena.h"
#include "storage/query/query.h"

#define BUILD_DATABASE "projects/p/databases/(default)"
#define BUILD_ROOT BUILD_DATABASE "/documents"

#define UNUSED_OK __attribute__((unused))

static struct arena query_arena;

static UNUSED_OK int query_build_init(void **state) {
  (void)state;
  arena_init(&query_arena, NULL, 0, (size_t)256 << 20);
  return 0;
}
static UNUSED_OK int query_build_fini(void **state) {
  (void)state;
  arena_fini(&query_arena);
  return 0;
}

static UNUSED_OK void *build_copy(const void *bytes, size_t size) {
  void *copy = arena_alloc(&query_arena, size);
  if (copy == NULL)
    abort();
  if (size > 0)
    memcpy(copy, bytes, size);
  return copy;
}

/* ---- Values ---- */

static UNUSED_OK struct doc_value build_null(void) {
  return (struct doc_value){.type = DOC_NULL};
}
static UNUSED_OK struct doc_value build_boolean(bool boolean) {
  return (struct doc_value){.type = DOC_BOOLEAN, .as.boolean = boolean};
}
static UNUSED_OK struct doc_value build_integer(int64_t integer) {
  return (struct doc_value){.type = DOC_INTEGER, .as.integer = integer};
}
static UNUSED_OK struct doc_value build_number(double number) {
  return (struct doc_value){.type = DOC_DOUBLE, .as.number = number};
}
static UNUSED_OK struct doc_value build_timestamp(int64_t us) {
  return (struct doc_value){.type = DOC_TIMESTAMP, .as.timestamp_us = us};
}
static UNUSED_OK struct doc_value build_text(enum doc_type type, const char *text) {
  return (struct doc_value){.type = type, .as.text = str_from_cstr(text)};
}
static UNUSED_OK struct doc_value build_string(const char *text) {
  return build_text(DOC_STRING, text);
}
/* `path` is below the root of the database. */
static UNUSED_OK struct doc_value build_reference(const char *path) {
  return (struct doc_value){.type = DOC_REFERENCE,
                            .as.text = arena_printf(&query_arena, BUILD_ROOT "/%s", path)};
}
static UNUSED_OK struct doc_value build_geo_point(double latitude, double longitude) {
  return (struct doc_value){
      .type = DOC_GEO_POINT, .as.geo_point.latitude = latitude, .as.geo_point.longitude = longitude};
}
static UNUSED_OK struct doc_value build_array(size_t count, const struct doc_value *items) {
  return (struct doc_value){.type = DOC_ARRAY, .as.array = {build_copy(items, count * sizeof *items), count}};
}
/* Sorted by name. */
static UNUSED_OK struct doc_value build_map(size_t count, const struct doc_field *fields) {
  return (struct doc_value){.type = DOC_MAP, .as.map = {build_copy(fields, count * sizeof *fields), count}};
}
static UNUSED_OK struct doc_value build_vector(size_t count, const double *numbers) {
  struct doc_value *items = arena_alloc(&query_arena, count * sizeof *items);
  if (items == NULL)
    abort();
  for (size_t i = 0; i < count; i++)
    items[i] = build_number(numbers[i]);
  return build_map(2, (struct doc_field[]){
                          {STR("__type__"), build_string("__vector__")},
                          {STR("value"), {.type = DOC_ARRAY, .as.array = {items, count}}},
                      });
}
#define BUILD_COUNT(type, ...) (sizeof((type[]){__VA_ARGS__}) / sizeof(type))
#define BUILD_ARRAY(...)                                                                                     \
  build_array(BUILD_COUNT(struct doc_value, __VA_ARGS__), (struct doc_value[]){__VA_ARGS__})
#define BUILD_VECTOR(...) build_vector(BUILD_COUNT(double, __VA_ARGS__), (double[]){__VA_ARGS__})
#define BUILD_MAP(...)                                                                                       \
  build_map(BUILD_COUNT(struct doc_field, __VA_ARGS__), (struct doc_field[]){__VA_ARGS__})

/* ---- Parts of queries ---- */

static UNUSED_OK struct doc_path build_path(const char *path) {
  struct doc_path parsed;
  status s =
      doc_path_parse(arena_printf(&query_arena, BUILD_ROOT "%s%s", *path == '\0' ? "" : "/", path), &parsed);
  if (s.code != STATUS_OK)
    abort();
  return parsed;
}
static UNUSED_OK struct doc_field_path build_field_path(const char *text) {
  struct doc_field_path path;
  status s = doc_field_path_parse(str_from_cstr(text), &query_arena, &path);
  if (s.code != STATUS_OK)
    abort();
  return path;
}
static UNUSED_OK struct query_field build_field(const char *text) {
  if (strcmp(text, "__name__") == 0)
    return (struct query_field){.is_name = true};
  return (struct query_field){.path = build_field_path(text)};
}
static UNUSED_OK struct query_filter build_filter(const char *field, enum query_op op,
                                                  struct doc_value operand) {
  return (struct query_filter){
      .kind = QUERY_FIELD_FILTER, .field = build_field(field), .op = op, .operand = operand};
}
static UNUSED_OK struct query_filter build_unary(const char *field, enum query_op op) {
  return build_filter(field, op, build_null());
}
static UNUSED_OK struct query_filter build_composite(enum query_filter_kind kind, size_t count,
                                                     const struct query_filter *filters) {
  return (struct query_filter){
      .kind = kind, .filters = build_copy(filters, count * sizeof *filters), .filter_count = count};
}
#define BUILD_AND(...)                                                                                       \
  build_composite(QUERY_AND, BUILD_COUNT(struct query_filter, __VA_ARGS__),                                  \
                  (struct query_filter[]){__VA_ARGS__})
#define BUILD_OR(...)                                                                                        \
  build_composite(QUERY_OR, BUILD_COUNT(struct query_filter, __VA_ARGS__),                                   \
                  (struct query_filter[]){__VA_ARGS__})
static UNUSED_OK struct query_order build_order(const char *field, bool descending) {
  return (struct query_order){.field = build_field(field), .descending = descending};
}
#define BUILD_ORDERS(query, ...)                                                                             \
  ((query)->order_count = BUILD_COUNT(struct query_order, __VA_ARGS__),                                      \
   (query)->orders =                                                                                         \
       build_copy((struct query_order[]){__VA_ARGS__}, sizeof((struct query_order[]){__VA_ARGS__})))
static UNUSED_OK struct query_cursor build_cursor(bool before, size_t count, const struct doc_value *values) {
  return (struct query_cursor){
      .values = build_copy(values, count * sizeof *values), .count = count, .before = before};
}
#define BUILD_CURSOR(before, ...)                                                                            \
  build_cursor(before, BUILD_COUNT(struct doc_value, __VA_ARGS__), (struct doc_value[]){__VA_ARGS__})

/* Of the collection `collection_id` directly below `parent`, not prepared. */
static UNUSED_OK struct query build_query(const char *parent, const char *collection_id) {
  return (struct query){.parent = build_path(parent), .collection_id = str_from_cstr(collection_id)};
}

#endif
