/* Queries, written as SDKs write them. */
#include <math.h>

#include "base/limits.h"
#include "server/cases/reader.h"

static const json_t *element(const json_t *array, size_t at) {
  return json_array_get(array, at);
}

static status read_field(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                         struct query_field *ret) {
  str text;
  STATUS_TRY(cases_read_text(reader, json, at, &text));
  *ret = (struct query_field){.is_name = doc_field_path_is_name(text)};
  if (ret->is_name)
    return status_ok();
  status result = doc_field_path_parse(text, reader->arena, &ret->path);
  return status_is_ok(&result) ? result : cases_wrong_status(at, result);
}

/* ---- Filters ---- */

static bool op_of(str text, enum query_op *ret) {
  for (int op = QUERY_EQUAL; op <= QUERY_ARRAY_CONTAINS_ANY; op++)
    if (str_eq(text, str_from_cstr(query_op_name((enum query_op)op)))) {
      *ret = (enum query_op)op;
      return true;
    }
  return false;
}

/* SDKs ask for null and NaN with operators of their own. */
static void use_unary(struct query_filter *filter) {
  bool is_null = filter->operand.type == DOC_NULL;
  bool is_nan = filter->operand.type == DOC_DOUBLE && isnan(filter->operand.as.number);
  if (filter->op == QUERY_EQUAL && (is_null || is_nan))
    filter->op = is_null ? QUERY_IS_NULL : QUERY_IS_NAN;
  else if (filter->op == QUERY_NOT_EQUAL && (is_null || is_nan))
    filter->op = is_null ? QUERY_IS_NOT_NULL : QUERY_IS_NOT_NAN;
}

/* What __name__ is compared with may be an id in the collection, or a path. */
static status use_reference(struct cases_reader *reader, const struct query *query,
                            const struct cases_place *at, struct doc_value *value) {
  struct doc_path path;
  if (value->type != DOC_STRING)
    return status_ok();
  str relative = value->as.text;
  if (!query->all_descendants && (relative.len == 0 || memchr(relative.ptr, '/', relative.len) == NULL)) {
    str parent = query->parent.relative;
    relative = arena_printf(reader->arena, STR_FMT "%s" STR_FMT "/" STR_FMT, STR_ARG(parent),
                            parent.len > 0 ? "/" : "", STR_ARG(query->collection_id), STR_ARG(relative));
    if (relative.ptr == NULL)
      return cases_no_memory();
  }
  STATUS_TRY(cases_read_path(reader, relative, at, &path));
  *value = (struct doc_value){.type = DOC_REFERENCE, .as.text = path.name};
  return status_ok();
}

static status use_references(struct cases_reader *reader, const struct query *query,
                             const struct cases_place *at, struct doc_value *value) {
  if (value->type != DOC_ARRAY)
    return use_reference(reader, query, at, value);
  size_t count = value->as.array.count;
  struct doc_value *items = ARENA_NEW_ARRAY(reader->arena, struct doc_value, count);
  if (items == NULL)
    return cases_no_memory();
  for (size_t i = 0; i < count; i++) {
    items[i] = value->as.array.items[i];
    STATUS_TRY(use_reference(reader, query, at, &items[i]));
  }
  value->as.array.items = items;
  return status_ok();
}

static status read_field_filter(struct cases_reader *reader, const struct query *query, const json_t *json,
                                const struct cases_place *at, struct query_filter *ret) {
  if (json_array_size(json) != 3)
    return cases_wrong(at, "a filter is [\"field\", \"==\", value]");
  struct cases_place first = {at, {NULL, 0}, 0, false}, second = {at, {NULL, 0}, 1, false},
                     third = {at, {NULL, 0}, 2, false};
  str op;
  *ret = (struct query_filter){.kind = QUERY_FIELD_FILTER};
  STATUS_TRY(read_field(reader, element(json, 0), &first, &ret->field));
  STATUS_TRY(cases_read_text(reader, element(json, 1), &second, &op));
  if (!op_of(op, &ret->op))
    return cases_wrong(&second, "it must be one of == != < <= > >= in not-in array-contains "
                                "array-contains-any");
  STATUS_TRY(cases_read_operand(reader, element(json, 2), &third, &ret->operand));
  if (ret->field.is_name)
    return use_references(reader, query, &third, &ret->operand);
  use_unary(ret);
  return status_ok();
}

static status read_filters(struct cases_reader *reader, const struct query *query, const json_t *json,
                           const struct cases_place *at, unsigned depth, struct query_filter *ret);

static status read_filter(struct cases_reader *reader, const struct query *query, const json_t *json,
                          const struct cases_place *at, unsigned depth, struct query_filter *ret) {
  static const char *const known[] = {"and", "or", NULL};
  if (json_is_array(json))
    return read_field_filter(reader, query, json, at, ret);
  if (depth == LIMIT_QUERY_FILTER_DEPTH)
    return cases_wrong(at, "there are more than %d filters in each other", LIMIT_QUERY_FILTER_DEPTH);
  STATUS_TRY(cases_check_object(json, at, known));
  const json_t *either = json_object_get(json, "or"), *all = json_object_get(json, "and");
  if ((either == NULL) == (all == NULL))
    return cases_wrong(at, "a filter is [\"field\", \"==\", value], {\"or\": [...]} or {\"and\": [...]}");
  struct cases_place here = {at, either != NULL ? STR("or") : STR("and"), CASES_NO_INDEX, false};
  STATUS_TRY(read_filters(reader, query, either != NULL ? either : all, &here, depth + 1, ret));
  ret->kind = either != NULL ? QUERY_OR : QUERY_AND;
  return ret->filter_count > 0 ? status_ok() : cases_wrong(&here, "there is no filter in it");
}

/* An array of them; all, until the caller says something else. Recurses LIMIT_QUERY_FILTER_DEPTH deep. */
static status read_filters(struct cases_reader *reader, const struct query *query, const json_t *json,
                           const struct cases_place *at, unsigned depth, struct query_filter *ret) {
  STATUS_TRY(cases_check_array(json, at, LIMIT_QUERY_PARTS));
  size_t count = json_array_size(json);
  struct query_filter *filters = ARENA_NEW_ARRAY(reader->arena, struct query_filter, count);
  if (filters == NULL)
    return cases_no_memory();
  for (size_t i = 0; i < count; i++) {
    struct cases_place here = {at->up, at->name, i, false};
    STATUS_TRY(read_filter(reader, query, element(json, i), &here, depth, &filters[i]));
  }
  *ret = (struct query_filter){.kind = QUERY_AND, .filters = filters, .filter_count = count};
  return status_ok();
}

static status read_where(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                         struct query *query) {
  struct cases_place here = {at, STR("where"), CASES_NO_INDEX, false};
  struct query_filter *where = ARENA_NEW(reader->arena, struct query_filter);
  if (json == NULL)
    return status_ok();
  if (where == NULL)
    return cases_no_memory();
  STATUS_TRY(read_filters(reader, query, json, &here, 0, where));
  query->where = where->filter_count == 0 ? NULL : where->filter_count == 1 ? where->filters : where;
  return status_ok();
}

/* ---- Orders and limits ---- */

static status read_order(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                         struct query_order *ret) {
  *ret = (struct query_order){.descending = false};
  if (!json_is_array(json))
    return read_field(reader, json, at, &ret->field);
  str direction;
  if (json_array_size(json) != 2)
    return cases_wrong(at, "an order is \"field\" or [\"field\", \"desc\"]");
  STATUS_TRY(cases_read_text(reader, element(json, 1), at, &direction));
  ret->descending = str_eq(direction, STR("desc"));
  if (!ret->descending && !str_eq(direction, STR("asc")))
    return cases_wrong(at, "the direction of an order is \"asc\" or \"desc\"");
  return read_field(reader, element(json, 0), at, &ret->field);
}

static status read_orders(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                          struct query *query) {
  if (json == NULL)
    return status_ok();
  struct cases_place here = {at, STR("orderBy"), CASES_NO_INDEX, false};
  STATUS_TRY(cases_check_array(json, &here, LIMIT_QUERY_PARTS));
  size_t count = json_array_size(json);
  struct query_order *orders = ARENA_NEW_ARRAY(reader->arena, struct query_order, count);
  if (orders == NULL)
    return cases_no_memory();
  for (size_t i = 0; i < count; i++) {
    here.index = i;
    STATUS_TRY(read_order(reader, element(json, i), &here, &orders[i]));
  }
  query->orders = orders;
  query->order_count = count;
  return status_ok();
}

static status read_number(const json_t *json, const char *name, const struct cases_place *at, int64_t *ret) {
  struct cases_place here = {at, str_from_cstr(name), CASES_NO_INDEX, false};
  if (json == NULL)
    return status_ok();
  if (!json_is_integer(json) || json_integer_value(json) < 0 || json_integer_value(json) > INT32_MAX)
    return cases_wrong(&here, "it must be an integer, 0 or more");
  *ret = (int64_t)json_integer_value(json);
  return status_ok();
}

/* ---- Where it looks ---- */

static status read_from(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                        struct query *query) {
  bool is_group = json_object_get(json, "listGroup") != NULL;
  const char *name = is_group ? "listGroup" : "list";
  struct cases_place here = {at, str_from_cstr(name), CASES_NO_INDEX, false};
  struct doc_path path;
  str text;
  STATUS_TRY(cases_read_text(reader, json_object_get(json, name), &here, &text));
  str full = arena_printf(reader->arena, STR_FMT "/" STR_FMT, STR_ARG(reader->root.name), STR_ARG(text));
  if (full.ptr == NULL)
    return cases_no_memory();
  status result = doc_path_parse(full, &path);
  if (!status_is_ok(&result))
    return cases_wrong_status(&here, result);
  if (!doc_path_is_collection(&path))
    return cases_wrong(&here, "it must be the path of a collection, as in \"rooms\" or \"rooms/a/messages\"");
  query->collection_id = doc_path_id(&path);
  query->parent = doc_path_parent(&path);
  query->all_descendants = is_group;
  return status_ok();
}

status cases_read_query(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                        struct query *ret) {
  struct query query = {.has_limit = json_object_get(json, "limit") != NULL};
  STATUS_TRY(read_from(reader, json, at, &query));
  STATUS_TRY(read_where(reader, json_object_get(json, "where"), at, &query));
  STATUS_TRY(read_orders(reader, json_object_get(json, "orderBy"), at, &query));
  STATUS_TRY(read_number(json_object_get(json, "limit"), "limit", at, &query.limit));
  STATUS_TRY(read_number(json_object_get(json, "offset"), "offset", at, &query.offset));
  status result = query_prepare(&query, reader->arena);
  if (!status_is_ok(&result))
    return cases_wrong_status(at, result);
  *ret = query;
  return status_ok();
}
