/* For tests: random documents, indexes and queries over a small world, where things meet often. All in
 * query_arena (query_build.h). */
#ifndef SKERRY_STORAGE_QUERY_RANDOM_BUILD_H
#define SKERRY_STORAGE_QUERY_RANDOM_BUILD_H

#include <math.h>
#include <stdio.h>

#include "storage/query/query_build.h"

struct random_source {
  uint64_t state;
  /* For fuzzing: bytes that decide instead, as long as there are some. */
  const uint8_t *bytes;
  size_t byte_count;
};

static uint64_t random_bits(struct random_source *r) {
  if (r->bytes != NULL) {
    if (r->byte_count == 0)
      return 0;
    r->byte_count--;
    return *r->bytes++;
  }
  r->state += UINT64_C(0x9E3779B97F4A7C15);
  uint64_t z = r->state;
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}
static size_t random_below(struct random_source *r, size_t bound) {
  return (size_t)(random_bits(r) % bound);
}
static bool random_chance(struct random_source *r, size_t percent) {
  return random_below(r, 100) < percent;
}

/* ---- Values ---- */

static const char *const random_fields[] = {"a", "b", "c", "m.x", "t", "m"};
static const char *const random_ids[] = {"1", "2", "3", "a", "b", "__id7__", "__id10__", "zz", "\xC3\xA9"};

/* The path of a document in the world, below the root. */
static UNUSED_OK const char *random_path(struct random_source *r) {
  static const char *const groups[] = {"c", "c", "d"};
  const char *path = "";
  size_t depth = random_chance(r, 65) ? 1 : random_chance(r, 70) ? 2 : 3;
  for (size_t i = 0; i < depth; i++)
    path = arena_printf(&query_arena, "%s%s%s/%s%s", path, i == 0 ? "" : "/", groups[random_below(r, 3)],
                        random_ids[random_below(r, sizeof random_ids / sizeof *random_ids)],
                        i + 1 == depth && random_chance(r, 70)
                            ? arena_printf(&query_arena, "%zu", random_below(r, 20)).ptr
                            : "")
               .ptr;
  return path;
}

static struct doc_value random_value(struct random_source *r, unsigned depth) {
  static const double numbers[] = {1, 1.5, -0.0, 2, 1e300, -3.25};
  switch (random_below(r, depth > 1 ? 12 : 16)) {
  case 0:
    return build_null();
  case 1:
    return build_boolean(random_chance(r, 50));
  case 2:
    return build_number(random_chance(r, 30) ? (double)NAN : numbers[random_below(r, 6)]);
  case 3:
    return build_number(numbers[random_below(r, 6)]);
  case 4:
    return build_timestamp((int64_t)random_below(r, 3) * 1000000);
  case 5:
    return build_text(DOC_BYTES, random_chance(r, 50) ? "a" : "b");
  case 6:
    return build_reference(random_chance(r, 50) ? "c/1" : "d/2");
  case 7:
    return build_geo_point((double)random_below(r, 2), 1);
  case 8:
  case 9: {
    static const char *const texts[] = {"", "a", "ab", "b", "\xC3\xA9"};
    return build_string(texts[random_below(r, 5)]);
  }
  case 12:
  case 13: {
    struct doc_value items[3];
    size_t count = random_below(r, 4);
    for (size_t i = 0; i < count; i++)
      do
        items[i] = random_value(r, depth + 1);
      while (items[i].type == DOC_ARRAY && r->bytes == NULL);
    return build_array(count, items);
  }
  case 14:
    return BUILD_MAP({STR("x"), random_value(r, depth + 1)});
  case 15:
    return BUILD_VECTOR((double)random_below(r, 3), (double)random_below(r, 3));
  default:
    return build_integer((int64_t)random_below(r, 5) - 1);
  }
}

/* Mostly small integers, so that equalities find something. */
static struct doc_value random_common(struct random_source *r) {
  return random_chance(r, 60) ? build_integer((int64_t)random_below(r, 3)) : random_value(r, 0);
}

static UNUSED_OK struct doc_map random_document(struct random_source *r) {
  struct doc_field fields[6];
  size_t count = 0;
  static const char *const names[] = {"a", "b", "c"};
  for (size_t i = 0; i < 3; i++)
    if (random_chance(r, 80))
      fields[count++] = (struct doc_field){str_from_cstr(names[i]), random_common(r)};
  if (random_chance(r, 50))
    fields[count++] = (struct doc_field){
        STR("m"), random_chance(r, 70) ? BUILD_MAP({STR("x"), random_common(r)}, {STR("y"), random_common(r)})
                                       : random_value(r, 0)};
  if (random_chance(r, 70)) {
    struct doc_value items[4];
    size_t item_count = random_below(r, 5);
    for (size_t i = 0; i < item_count; i++)
      do
        items[i] = random_common(r);
      while (items[i].type == DOC_ARRAY);
    fields[count++] = (struct doc_field){STR("t"), build_array(item_count, items)};
  }
  if (random_chance(r, 60))
    fields[count++] = (struct doc_field){
        STR("v"), BUILD_VECTOR((double)random_below(r, 9), (double)random_below(r, 9) - 4)};
  return build_map(count, fields).as.map;
}

/* ---- Indexes ---- */

static UNUSED_OK const char *random_definitions(struct random_source *r) {
  char *text = arena_alloc(&query_arena, 16384);
  int len = snprintf(text, 16384, "{\"indexes\":[");
  size_t count = random_below(r, 7);
  for (size_t i = 0; i < count; i++) {
    size_t columns = 2 + random_below(r, 2), first = random_below(r, 5);
    len +=
        snprintf(text + len, 16384 - (size_t)len,
                 "%s{\"collectionGroup\":\"%s\",\"queryScope\":\"COLLECTION%s\",\"fields\":[",
                 i == 0 ? "" : ",", random_chance(r, 80) ? "c" : "d", random_chance(r, 40) ? "_GROUP" : "");
    for (size_t k = 0; k < columns; k++) {
      const char *field = random_fields[(first + k) % 5];
      if (strcmp(field, "t") == 0 && random_chance(r, 80))
        len += snprintf(text + len, 16384 - (size_t)len,
                        "%s{\"fieldPath\":\"%s\",\"arrayConfig\":\"CONTAINS\"}", k == 0 ? "" : ",", field);
      else
        len += snprintf(text + len, 16384 - (size_t)len, "%s{\"fieldPath\":\"%s\",\"order\":\"%s\"}",
                        k == 0 ? "" : ",", field, random_chance(r, 50) ? "ASCENDING" : "DESCENDING");
    }
    if (random_chance(r, 20))
      len += snprintf(text + len, 16384 - (size_t)len, ",{\"fieldPath\":\"__name__\",\"order\":\"%s\"}",
                      random_chance(r, 50) ? "ASCENDING" : "DESCENDING");
    len += snprintf(text + len, 16384 - (size_t)len, "]}");
  }
  len += snprintf(text + len, 16384 - (size_t)len, "],\"fieldOverrides\":[");
  bool any = false;
  for (size_t i = 0; i < 5; i++) {
    if (!random_chance(r, 25))
      continue;
    len +=
        snprintf(text + len, 16384 - (size_t)len,
                 "%s{\"collectionGroup\":\"c\",\"fieldPath\":\"%s\",\"indexes\":[%s%s%s]}", any ? "," : "",
                 random_fields[i],
                 random_chance(r, 60) ? "{\"queryScope\":\"COLLECTION\",\"order\":\"ASCENDING\"}," : "",
                 random_chance(r, 60) ? "{\"queryScope\":\"COLLECTION\",\"arrayConfig\":\"CONTAINS\"}," : "",
                 "{\"queryScope\":\"COLLECTION_GROUP\",\"order\":\"ASCENDING\"},"
                 "{\"queryScope\":\"COLLECTION_GROUP\",\"arrayConfig\":\"CONTAINS\"}");
    any = true;
  }
  snprintf(text + len, 16384 - (size_t)len, "]}");
  return text;
}

/* ---- Queries ---- */

static struct doc_value random_reference(struct random_source *r, const struct query *query) {
  const char *path;
  if (query->all_descendants || query->collection_id.len == 0) {
    path = random_path(r);
    if (query->parent.relative.len > 0)
      path = arena_printf(&query_arena, STR_FMT "/%s", STR_ARG(query->parent.relative), path).ptr;
  } else {
    path = arena_printf(&query_arena, STR_FMT "%s" STR_FMT "/%s", STR_ARG(query->parent.relative),
                        query->parent.relative.len > 0 ? "/" : "", STR_ARG(query->collection_id),
                        random_ids[random_below(r, sizeof random_ids / sizeof *random_ids)])
               .ptr;
  }
  return build_reference(path);
}

static struct doc_value random_operands(struct random_source *r, const struct query *query, bool names) {
  struct doc_value items[4];
  size_t count = 1 + random_below(r, 4);
  for (size_t i = 0; i < count; i++)
    items[i] = names ? random_reference(r, query) : random_common(r);
  return build_array(count, items);
}

static struct query_filter random_field_filter(struct random_source *r, const struct query *query) {
  bool is_name = random_chance(r, 8);
  const char *field = is_name ? "__name__" : random_fields[random_below(r, 6)];
  struct doc_value operand = is_name ? random_reference(r, query) : random_common(r);
  static const enum query_op ops[] = {QUERY_EQUAL,
                                      QUERY_EQUAL,
                                      QUERY_EQUAL,
                                      QUERY_LESS,
                                      QUERY_LESS_OR_EQUAL,
                                      QUERY_GREATER,
                                      QUERY_GREATER_OR_EQUAL,
                                      QUERY_NOT_EQUAL,
                                      QUERY_IN,
                                      QUERY_NOT_IN,
                                      QUERY_ARRAY_CONTAINS,
                                      QUERY_ARRAY_CONTAINS_ANY,
                                      QUERY_IS_NULL,
                                      QUERY_IS_NOT_NULL,
                                      QUERY_IS_NAN,
                                      QUERY_IS_NOT_NAN};
  enum query_op op = ops[random_below(r, is_name ? 10 : sizeof ops / sizeof *ops)];
  if (op == QUERY_IN || op == QUERY_NOT_IN || op == QUERY_ARRAY_CONTAINS_ANY)
    operand = random_operands(r, query, is_name);
  if (op == QUERY_ARRAY_CONTAINS || op == QUERY_ARRAY_CONTAINS_ANY)
    field = random_chance(r, 85) ? "t" : field;
  return build_filter(field, op, operand);
}

static struct query_filter random_filter(struct random_source *r, const struct query *query, unsigned depth) {
  if (depth >= 2 || random_chance(r, 45))
    return random_field_filter(r, query);
  struct query_filter filters[3];
  size_t count = 1 + random_below(r, 3);
  for (size_t i = 0; i < count; i++)
    filters[i] = random_filter(r, query, depth + 1);
  return build_composite(random_chance(r, 70) ? QUERY_AND : QUERY_OR, count, filters);
}

static void random_orders(struct random_source *r, struct query *query) {
  struct query_order orders[3];
  size_t count = random_chance(r, 40) ? 0 : 1 + random_below(r, 3);
  bool descending = random_chance(r, 50);
  for (size_t i = 0; i < count; i++)
    orders[i] = build_order(random_chance(r, 15) ? "__name__" : random_fields[random_below(r, 6)],
                            random_chance(r, 75) ? descending : !descending);
  query->orders = build_copy(orders, count * sizeof *orders);
  query->order_count = count;
}

static struct query_cursor random_cursor(struct random_source *r, const struct query *query, size_t orders) {
  struct doc_value values[4];
  size_t count = 1 + random_below(r, orders);
  for (size_t i = 0; i < count; i++) {
    bool is_name = i >= query->order_count || query->orders[i].field.is_name;
    values[i] = is_name ? random_reference(r, query) : random_common(r);
  }
  return build_cursor(random_chance(r, 50), count, values);
}

/* For a query that is prepared. */
static UNUSED_OK const struct query_nearest *random_nearest(struct random_source *r) {
  struct doc_value vector =
      BUILD_VECTOR((double)random_below(r, 9), (double)random_below(r, 9) - 4, (double)random_below(r, 2));
  struct query_nearest nearest = {
      .field = build_field_path("v"),
      .vector = random_chance(r, 90) ? BUILD_VECTOR(1, (double)random_below(r, 5) - 2) : vector,
      .measure = (enum query_distance)random_below(r, 3),
      .limit = 1 + (int32_t)random_below(r, 8),
      .has_threshold = random_chance(r, 30),
      .threshold = (double)random_below(r, 8) / 2};
  if (random_chance(r, 50))
    nearest.result_field = build_field_path(random_chance(r, 50) ? "a" : "m.far.away");
  return build_copy(&nearest, sizeof nearest);
}

/* Prepared; false if it is one that is refused. */
static UNUSED_OK bool random_query(struct random_source *r, struct query *ret) {
  static const char *const parents[] = {"", "", "", "", "c/1", "c/2", "d/1"};
  static const char *const collections[] = {"c", "c", "c", "c", "d", "d", "nowhere", ""};
  struct query query = build_query(parents[random_below(r, 7)], collections[random_below(r, 8)]);
  query.all_descendants = random_chance(r, 35);
  if (random_chance(r, 85)) {
    struct query_filter where = random_filter(r, &query, 0);
    query.where = build_copy(&where, sizeof where);
  }
  random_orders(r, &query);
  if (query.order_count > 0 && random_chance(r, 40)) {
    if (random_chance(r, 60))
      query.start = random_cursor(r, &query, query.order_count);
    if (random_chance(r, 60))
      query.end = random_cursor(r, &query, query.order_count);
  } else if (random_chance(r, 10)) {
    query.start = random_cursor(r, &query, 1);
  }
  query.has_limit = random_chance(r, 50);
  query.limit = query.has_limit ? 1 + (int64_t)random_below(r, 12) : 0;
  query.offset = random_chance(r, 20) ? (int64_t)random_below(r, 6) : 0;
  query.names_only = random_chance(r, 20);
  status prepared = query_prepare(&query, &query_arena);
  *ret = query;
  return prepared.code == STATUS_OK;
}

#endif
