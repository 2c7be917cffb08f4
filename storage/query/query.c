#include "storage/query/query.h"

#include <assert.h>
#include <math.h>

#include "base/limits.h"
#include "storage/query/normal_form.h"

static status refuse(const char *reason) {
  return status_make(STATUS_INVALID_ARGUMENT, "%s", reason);
}

static bool same_field(const struct query_field *a, const struct query_field *b) {
  if (a->is_name || b->is_name)
    return a->is_name == b->is_name;
  return doc_field_path_compare(&a->path, &b->path) == 0;
}

/* ---- Filters ---- */

/* What is gathered over all filters. */
struct survey {
  const struct query *query;
  size_t field_filters; /* each value of a list is one */
  size_t not_filters;   /* `!=`, not-in, is-not-null, is-not-nan */
  bool has_not_in, has_disjunction;
  const struct query_field *unequal[LIMIT_QUERY_INEQUALITY_FIELDS]; /* with ranges and inequalities */
  size_t unequal_count;
};

const char *query_op_name(enum query_op op) {
  static const char *const names[] = {
      [QUERY_EQUAL] = "==",
      [QUERY_NOT_EQUAL] = "!=",
      [QUERY_LESS] = "<",
      [QUERY_LESS_OR_EQUAL] = "<=",
      [QUERY_GREATER] = ">",
      [QUERY_GREATER_OR_EQUAL] = ">=",
      [QUERY_IN] = "in",
      [QUERY_NOT_IN] = "not-in",
      [QUERY_ARRAY_CONTAINS] = "array-contains",
      [QUERY_ARRAY_CONTAINS_ANY] = "array-contains-any",
      [QUERY_IS_NULL] = "is-null",
      [QUERY_IS_NOT_NULL] = "is-not-null",
      [QUERY_IS_NAN] = "is-nan",
      [QUERY_IS_NOT_NAN] = "is-not-nan",
  };
  return names[op];
}

static bool takes_list(enum query_op op) {
  return op == QUERY_IN || op == QUERY_NOT_IN || op == QUERY_ARRAY_CONTAINS_ANY;
}
static bool is_not_filter(enum query_op op) {
  return op == QUERY_NOT_EQUAL || op == QUERY_NOT_IN || op == QUERY_IS_NOT_NULL || op == QUERY_IS_NOT_NAN;
}
static bool is_range(enum query_op op) {
  return op == QUERY_LESS || op == QUERY_LESS_OR_EQUAL || op == QUERY_GREATER || op == QUERY_GREATER_OR_EQUAL;
}

static status check_list(const struct query_filter *filter) {
  const char *name = query_op_name(filter->op);
  size_t count_max =
      filter->op == QUERY_NOT_IN ? (size_t)LIMIT_QUERY_NOT_IN : (size_t)LIMIT_QUERY_DISJUNCTIONS;
  if (filter->operand.type != DOC_ARRAY || filter->operand.as.array.count == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "`%s` requires a non-empty ArrayValue.", name);
  if (filter->operand.as.array.count > count_max)
    return status_make(STATUS_INVALID_ARGUMENT, "`%s` supports up to %zu comparison values.", name,
                       count_max);
  return status_ok();
}

static status check_name_value(const struct query *query, const struct doc_value *value, const char *what) {
  if (value->type != DOC_REFERENCE)
    return status_make(STATUS_INVALID_ARGUMENT, "%s for __name__ must be a document reference.", what);
  struct doc_path path;
  STATUS_TRY(doc_path_parse_document(value->as.text, &path));
  if (!doc_path_same_database(&path, &query->parent))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "%s for __name__ is in another database than the query: " STR_FMT, what,
                       STR_ARG(value->as.text));
  return status_ok();
}

static status check_name_filter(const struct query *query, const struct query_filter *filter) {
  if (filter->op == QUERY_ARRAY_CONTAINS || filter->op == QUERY_ARRAY_CONTAINS_ANY)
    return status_make(STATUS_INVALID_ARGUMENT, "__name__ is no array: it cannot be used with `%s`.",
                       query_op_name(filter->op));
  if (filter->op >= QUERY_IS_NULL)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "__name__ is a document reference: it cannot be used with `%s`.",
                       query_op_name(filter->op));
  if (!takes_list(filter->op))
    return check_name_value(query, &filter->operand, "A filter value");
  for (size_t i = 0; i < filter->operand.as.array.count; i++)
    STATUS_TRY(check_name_value(query, &filter->operand.as.array.items[i], "A filter value"));
  return status_ok();
}

static status note_unequal(struct survey *survey, const struct query_field *field) {
  for (size_t i = 0; i < survey->unequal_count; i++)
    if (same_field(survey->unequal[i], field))
      return status_ok();
  if (survey->unequal_count == LIMIT_QUERY_INEQUALITY_FIELDS)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "The query has ranges and inequalities on more than %d different fields.",
                       LIMIT_QUERY_INEQUALITY_FIELDS);
  survey->unequal[survey->unequal_count++] = field;
  return status_ok();
}

/* What is never true does not make its field an order; but not-in with more than null does. */
static bool asks_no_order(const struct query_filter *filter) {
  if (filter->op != QUERY_NOT_IN)
    return query_filter_is_never(filter);
  for (size_t i = 0; i < filter->operand.as.array.count; i++)
    if (filter->operand.as.array.items[i].type != DOC_NULL)
      return false;
  return true;
}

static status check_field_filter(struct survey *survey, const struct query_filter *filter) {
  if (takes_list(filter->op))
    STATUS_TRY(check_list(filter));
  survey->field_filters += takes_list(filter->op) ? filter->operand.as.array.count : 1;
  if (survey->field_filters > (size_t)LIMIT_QUERY_PARTS * LIMIT_QUERY_DISJUNCTIONS)
    return query_too_many_parts(); /* even if most of them are the same */
  if (filter->field.is_name)
    STATUS_TRY(check_name_filter(survey->query, filter));
  else if (survey->query->collection_id.len == 0)
    return refuse("A query over collections of any id can have filters on __name__ only.");
  if ((is_not_filter(filter->op) || is_range(filter->op)) && !asks_no_order(filter))
    STATUS_TRY(note_unequal(survey, &filter->field));
  if (is_not_filter(filter->op))
    survey->not_filters++;
  if (filter->op == QUERY_NOT_IN)
    survey->has_not_in = true;
  if (filter->op == QUERY_IN || filter->op == QUERY_ARRAY_CONTAINS_ANY)
    survey->has_disjunction = true;
  return status_ok();
}

static status check_filter(struct survey *survey, const struct query_filter *filter, unsigned depth) {
  if (filter->kind == QUERY_FIELD_FILTER)
    return check_field_filter(survey, filter);
  if (depth == LIMIT_QUERY_FILTER_DEPTH)
    return status_make(STATUS_INVALID_ARGUMENT, "More than %d composite filters are nested in each other.",
                       LIMIT_QUERY_FILTER_DEPTH);
  if (filter->filter_count == 0)
    return refuse("A composite filter must have at least one sub-filter.");
  if (filter->kind == QUERY_OR)
    survey->has_disjunction = true;
  for (size_t i = 0; i < filter->filter_count; i++)
    STATUS_TRY(check_filter(survey, &filter->filters[i], depth + 1));
  return status_ok();
}

static status check_where(struct survey *survey) {
  if (survey->query->where == NULL)
    return status_ok();
  STATUS_TRY(check_filter(survey, survey->query->where, 0));
  if (survey->not_filters > 1)
    return refuse("Only a single `!=`, `not-in`, `is-not-null` or `is-not-nan` filter is allowed per query.");
  if (survey->has_not_in && survey->has_disjunction)
    return refuse("`not-in` cannot be used in the same query with `in`, `array-contains-any` or OR.");
  return status_ok();
}

static status take_where_apart(struct query *query, struct arena *arena) {
  size_t filter_count = 0;
  if (query->where == NULL) {
    static const struct query_conjunction all = {NULL, 0};
    query->conjunctions = &all;
    query->conjunction_count = 1;
  } else {
    struct query_filter *simple = ARENA_NEW(arena, struct query_filter);
    if (simple == NULL)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    STATUS_TRY(query_normal_form(query->where, arena, &query->conjunctions, &query->conjunction_count,
                                 &filter_count));
    STATUS_TRY(query_filter_simplify(query->where, arena, simple));
    query->where = simple;
  }
  size_t parts = filter_count + query->order_count + (query->parent.segment_count > 0);
  return parts > LIMIT_QUERY_PARTS ? query_too_many_parts() : status_ok();
}

/* ---- Orders ---- */

static bool is_ordered(const struct query *query, const struct query_field *field) {
  for (size_t i = 0; i < query->order_count; i++)
    if (same_field(&query->orders[i].field, field))
      return true;
  return false;
}

static status check_orders(const struct query *query) {
  if (query->order_count > LIMIT_QUERY_PARTS)
    return query_too_many_parts();
  for (size_t i = 0; i < query->order_count; i++) {
    const struct query_field *field = &query->orders[i].field;
    if (i > 0 && query->orders[i - 1].field.is_name)
      return refuse(
          "The orders of a query cannot go on after __name__, which is different for each document.");
    for (size_t k = 0; k < i; k++)
      if (same_field(&query->orders[k].field, field))
        return refuse("The orders of a query cannot name a field twice.");
    if (!field->is_name && query->collection_id.len == 0)
      return refuse("A query over collections of any id can be ordered by __name__ only.");
  }
  return status_ok();
}

/* The fields that must be ordered and are not, in their order. */
static size_t missing_orders(const struct survey *survey, const struct query_field **ret) {
  size_t count = 0;
  for (size_t i = 0; i < survey->unequal_count; i++) {
    const struct query_field *field = survey->unequal[i];
    if (field->is_name || is_ordered(survey->query, field))
      continue;
    size_t at = count++;
    for (; at > 0 && doc_field_path_compare(&ret[at - 1]->path, &field->path) > 0; at--)
      ret[at] = ret[at - 1];
    ret[at] = field;
  }
  return count;
}

static status complete_orders(struct query *query, const struct survey *survey, struct arena *arena) {
  const struct query_field *missing[LIMIT_QUERY_INEQUALITY_FIELDS];
  size_t missing_count = missing_orders(survey, missing), count = query->order_count;
  const struct query_order *last = count == 0 ? NULL : &query->orders[count - 1];
  bool has_name = last != NULL && last->field.is_name, descending = last != NULL && last->descending;
  if (has_name && missing_count > 0)
    return refuse("A query that is ordered by __name__ must be ordered by the fields of its ranges and "
                  "inequalities before.");
  query->explicit_order_count = count;
  assert(count == 0 || query->orders != NULL);
  if (has_name)
    return status_ok();
  struct query_order *orders = ARENA_NEW_ARRAY(arena, struct query_order, count + missing_count + 1);
  if (orders == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < count; i++)
    orders[i] = query->orders[i];
  for (size_t i = 0; i < missing_count; i++)
    orders[count++] = (struct query_order){.field = *missing[i], .descending = descending};
  orders[count++] = (struct query_order){.field.is_name = true, .descending = descending};
  query->orders = orders;
  query->order_count = count;
  return status_ok();
}

/* ---- The rest ---- */

static status check_cursor(const struct query *query, const struct query_cursor *cursor) {
  if (cursor->count > query->explicit_order_count)
    return refuse("A cursor has more values than the query has orders in order_by.");
  for (size_t i = 0; i < cursor->count; i++)
    if (query->orders[i].field.is_name)
      STATUS_TRY(check_name_value(query, &cursor->values[i], "A cursor value"));
  return status_ok();
}

static status check_nearest(const struct query *query) {
  const struct query_nearest *nearest = query->nearest;
  if (nearest == NULL)
    return status_ok();
  if (query->has_limit || query->offset != 0 || query->start.count > 0 || query->end.count > 0)
    return refuse("find_nearest cannot be used with limit, offset or cursors of the query.");
  if (nearest->field.count == 0)
    return refuse("find_nearest requires a vector_field.");
  if (!doc_value_is_vector(&nearest->vector))
    return refuse("find_nearest requires a query_vector that is a vector.");
  if (nearest->limit < 1 || nearest->limit > LIMIT_NEAREST_RESULTS)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "find_nearest requires a limit: a positive integer of no more than %d.",
                       LIMIT_NEAREST_RESULTS);
  if (nearest->has_threshold && !isfinite(nearest->threshold))
    return refuse("The distance_threshold of find_nearest must be a finite number.");
  return status_ok();
}

status query_prepare(struct query *query, struct arena *arena) {
  assert(!doc_path_is_collection(&query->parent));
  if (query->collection_id.len > 0)
    STATUS_TRY(doc_collection_id_check(query->collection_id));
  if (query->offset < 0)
    return refuse("The offset is negative.");
  if (query->has_limit && query->limit < 0)
    return refuse("The limit is negative.");
  struct survey survey = {.query = query};
  STATUS_TRY(check_where(&survey));
  STATUS_TRY(check_orders(query));
  STATUS_TRY(take_where_apart(query, arena));
  STATUS_TRY(complete_orders(query, &survey, arena));
  STATUS_TRY(check_cursor(query, &query->start));
  STATUS_TRY(check_cursor(query, &query->end));
  return check_nearest(query);
}

status query_check_listen(const struct query *query) {
  return query->nearest == NULL ? status_ok() : refuse("find_nearest is not supported by listeners.");
}
