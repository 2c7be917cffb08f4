#include "storage/query/match.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "storage/document/value_order.h"

const struct doc_value *query_field_get(struct doc_map fields, const struct doc_field_path *path) {
  const struct doc_value *value = doc_map_get(fields, path->segments[0]);
  for (size_t i = 1; i < path->count && value != NULL; i++) {
    if (value->type != DOC_MAP || doc_value_is_vector(value))
      return NULL;
    value = doc_map_get(value->as.map, path->segments[i]);
  }
  return value;
}

/* The value of any field; that of __name__ is made in *storage. */
static const struct doc_value *value_of(const struct query_field *field, const struct doc_path *path,
                                        struct doc_map fields, struct doc_value *storage) {
  if (!field->is_name)
    return query_field_get(fields, &field->path);
  *storage = (struct doc_value){.type = DOC_REFERENCE, .as.text = path->name};
  return storage;
}

/* ---- Filters ---- */

static bool is_nan(const struct doc_value *value) {
  return value->type == DOC_DOUBLE && isnan(value->as.number);
}

/* Whether a range filter compares the two at all. */
static bool comparable(const struct doc_value *a, const struct doc_value *b) {
  if (is_nan(a) || is_nan(b))
    return false;
  if (a->type == DOC_INTEGER || a->type == DOC_DOUBLE)
    return b->type == DOC_INTEGER || b->type == DOC_DOUBLE;
  return a->type == b->type && doc_value_is_vector(a) == doc_value_is_vector(b);
}

static bool is_one_of(const struct doc_value *value, struct doc_array values) {
  for (size_t i = 0; i < values.count; i++)
    if (doc_value_equal(value, &values.items[i]))
      return true;
  return false;
}

static bool shares_element(const struct doc_value *value, struct doc_array wanted) {
  if (value->type != DOC_ARRAY)
    return false;
  for (size_t i = 0; i < wanted.count; i++)
    if (is_one_of(&wanted.items[i], value->as.array))
      return true;
  return false;
}

static bool value_matches(const struct query_filter *filter, const struct doc_value *value) {
  const struct doc_value *operand = &filter->operand;
  switch (filter->op) {
  case QUERY_EQUAL:
    return doc_value_equal(value, operand);
  case QUERY_NOT_EQUAL:
    return value->type != DOC_NULL && !doc_value_equal(value, operand);
  case QUERY_LESS:
    return comparable(value, operand) && doc_value_compare(value, operand) < 0;
  case QUERY_LESS_OR_EQUAL:
    return comparable(value, operand) && doc_value_compare(value, operand) <= 0;
  case QUERY_GREATER:
    return comparable(value, operand) && doc_value_compare(value, operand) > 0;
  case QUERY_GREATER_OR_EQUAL:
    return comparable(value, operand) && doc_value_compare(value, operand) >= 0;
  case QUERY_IN:
    return is_one_of(value, operand->as.array);
  case QUERY_NOT_IN:
    return value->type != DOC_NULL && !is_one_of(value, operand->as.array);
  case QUERY_ARRAY_CONTAINS:
    return value->type == DOC_ARRAY && is_one_of(operand, value->as.array);
  case QUERY_ARRAY_CONTAINS_ANY:
    return shares_element(value, operand->as.array);
  case QUERY_IS_NULL:
    return value->type == DOC_NULL;
  case QUERY_IS_NOT_NULL:
    return value->type != DOC_NULL;
  case QUERY_IS_NAN:
    return is_nan(value);
  case QUERY_IS_NOT_NAN:
    return value->type != DOC_NULL && !is_nan(value);
  }
  abort(); /* not an operator of query.h */
}

bool query_filter_matches(const struct query_filter *filter, const struct doc_path *path,
                          struct doc_map fields) {
  if (filter->kind == QUERY_FIELD_FILTER) {
    struct doc_value storage;
    const struct doc_value *value = value_of(&filter->field, path, fields, &storage);
    return value != NULL && value_matches(filter, value);
  }
  bool is_or = filter->kind == QUERY_OR;
  for (size_t i = 0; i < filter->filter_count; i++)
    if (query_filter_matches(&filter->filters[i], path, fields) == is_or)
      return is_or;
  return !is_or;
}

bool query_conjunction_matches(const struct query_conjunction *conjunction, const struct doc_path *path,
                               struct doc_map fields) {
  for (size_t i = 0; i < conjunction->filter_count; i++)
    if (!query_filter_matches(conjunction->filters[i], path, fields))
      return false;
  return true;
}

/* ---- Place and order ---- */

static bool is_below(const struct doc_path *path, const struct doc_path *parent) {
  if (!doc_path_same_database(path, parent))
    return false;
  str above = parent->relative;
  return above.len == 0 || (path->relative.len > above.len && path->relative.ptr[above.len] == '/' &&
                            str_has_prefix(path->relative, above));
}

bool query_covers(const struct query *query, const struct doc_path *path) {
  assert(doc_path_is_document(path));
  if (!is_below(path, &query->parent))
    return false;
  size_t direct = query->parent.segment_count + 2;
  if (query->all_descendants ? path->segment_count < direct : path->segment_count != direct)
    return false;
  return query->collection_id.len == 0 || str_eq(doc_path_collection_id(path), query->collection_id);
}

bool query_matches(const struct query *query, const struct doc_path *path, struct doc_map fields) {
  if (!query_covers(query, path))
    return false;
  for (size_t i = 0; i < query->order_count; i++)
    if (!query->orders[i].field.is_name && query_field_get(fields, &query->orders[i].field.path) == NULL)
      return false;
  return query->where == NULL || query_filter_matches(query->where, path, fields);
}

/* The document's place less the cursor's. */
static int compare_to_cursor(const struct query *query, const struct query_cursor *cursor,
                             const struct doc_path *path, struct doc_map fields) {
  for (size_t i = 0; i < cursor->count; i++) {
    const struct query_order *order = &query->orders[i];
    struct doc_value storage;
    const struct doc_value *value = value_of(&order->field, path, fields, &storage);
    assert(value != NULL);
    int difference = doc_value_compare(value, &cursor->values[i]);
    if (difference != 0)
      return order->descending ? -difference : difference;
  }
  return 0;
}

bool query_within_cursors(const struct query *query, const struct doc_path *path, struct doc_map fields) {
  if (query->start.count > 0) {
    int place = compare_to_cursor(query, &query->start, path, fields);
    if (place < 0 || (place == 0 && !query->start.before))
      return false;
  }
  if (query->end.count > 0) {
    int place = compare_to_cursor(query, &query->end, path, fields);
    if (place > 0 || (place == 0 && query->end.before))
      return false;
  }
  return true;
}

int query_compare(const struct query *query, const struct doc_path *a_path, struct doc_map a_fields,
                  const struct doc_path *b_path, struct doc_map b_fields) {
  for (size_t i = 0; i < query->order_count; i++) {
    const struct query_order *order = &query->orders[i];
    int difference = 0;
    if (order->field.is_name) {
      difference = doc_path_compare(a_path, b_path);
    } else {
      const struct doc_value *a = query_field_get(a_fields, &order->field.path);
      const struct doc_value *b = query_field_get(b_fields, &order->field.path);
      assert(a != NULL && b != NULL);
      difference = doc_value_compare(a, b);
    }
    if (difference != 0)
      return order->descending ? -difference : difference;
  }
  return 0; /* the same document */
}

/* ---- find_nearest ---- */

static struct doc_array elements_of(const struct doc_value *vector) {
  return doc_map_get(vector->as.map, STR("value"))->as.array;
}

/* A decoded vector holds doubles only (codec.h). */
static double dot_product(struct doc_array a, struct doc_array b) {
  double sum = 0;
  for (size_t i = 0; i < a.count; i++)
    sum += a.items[i].as.number * b.items[i].as.number;
  return sum;
}

static double euclidean(struct doc_array a, struct doc_array b) {
  double sum = 0;
  for (size_t i = 0; i < a.count; i++) {
    double difference = a.items[i].as.number - b.items[i].as.number;
    sum += difference * difference;
  }
  return sqrt(sum);
}

static double cosine(struct doc_array a, struct doc_array b) {
  double square = dot_product(a, a), other = dot_product(b, b), both = square * other;
  /* One root of both rounds once, so that parallel vectors are at 0; but it may pass what a double holds. */
  double lengths = isnormal(both) ? sqrt(both) : sqrt(square) * sqrt(other);
  return 1 - dot_product(a, b) / lengths;
}

static double distance(enum query_distance measure, struct doc_array a, struct doc_array b) {
  switch (measure) {
  case QUERY_EUCLIDEAN:
    return euclidean(a, b);
  case QUERY_COSINE:
    return cosine(a, b);
  case QUERY_DOT_PRODUCT:
    return dot_product(a, b);
  }
  abort(); /* not a measure of query.h */
}

int query_distance_compare(enum query_distance measure, double a, double b) {
  if (isnan(a) || isnan(b))
    return (isnan(a) != 0) - (isnan(b) != 0);
  int order = (a > b) - (a < b);
  return measure == QUERY_DOT_PRODUCT ? -order : order;
}

bool query_distance_to(const struct query_nearest *nearest, struct doc_map fields, double *ret) {
  const struct doc_value *value = query_field_get(fields, &nearest->field);
  if (value == NULL || !doc_value_is_vector(value))
    return false;
  struct doc_array elements = elements_of(value), wanted = elements_of(&nearest->vector);
  if (elements.count != wanted.count)
    return false;
  double found = distance(nearest->measure, elements, wanted);
  if (nearest->has_threshold &&
      (isnan(found) || query_distance_compare(nearest->measure, found, nearest->threshold) > 0))
    return false;
  *ret = found;
  return true;
}
