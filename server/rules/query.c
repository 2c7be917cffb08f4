#include "server/rules/query.h"

#include "storage/document/codec.h"

static status out_of_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The query is too large.");
}

static enum rules_filter_op op_of(enum query_op op) {
  static const enum rules_filter_op ops[] = {
      [QUERY_EQUAL] = RULES_EQUAL,
      [QUERY_NOT_EQUAL] = RULES_NOT_EQUAL,
      [QUERY_LESS] = RULES_LESS,
      [QUERY_LESS_OR_EQUAL] = RULES_LESS_OR_EQUAL,
      [QUERY_GREATER] = RULES_GREATER,
      [QUERY_GREATER_OR_EQUAL] = RULES_GREATER_OR_EQUAL,
      [QUERY_IN] = RULES_EXISTS, /* these four are taken apart in the normal form */
      [QUERY_NOT_IN] = RULES_NOT_IN,
      [QUERY_ARRAY_CONTAINS] = RULES_ARRAY_CONTAINS,
      [QUERY_ARRAY_CONTAINS_ANY] = RULES_EXISTS,
      [QUERY_IS_NULL] = RULES_EXISTS,
      [QUERY_IS_NOT_NULL] = RULES_NOT_NULL,
      [QUERY_IS_NAN] = RULES_EXISTS,
      [QUERY_IS_NOT_NAN] = RULES_NOT_NULL,
  };
  return ops[op];
}

static status make_filter(const struct query_filter *filter, struct arena *arena, struct rules_filter *ret) {
  ret->field = filter->field.path;
  if (filter->field.is_name)
    ret->field.count = 0;
  ret->op = op_of(filter->op);
  if (ret->op == RULES_NOT_NULL || ret->op == RULES_EXISTS)
    return status_ok();
  return doc_encode_value(&filter->operand, arena, &ret->value);
}

/* Its filters, and that the fields of the orders are there. */
static status make_conjunction(const struct query *query, const struct query_conjunction *conjunction,
                               struct arena *arena, struct rules_conjunction *ret) {
  struct rules_filter *filters =
      ARENA_NEW_ARRAY(arena, struct rules_filter, conjunction->filter_count + query->order_count);
  if (filters == NULL)
    return out_of_memory();
  size_t count = 0;
  for (size_t i = 0; i < conjunction->filter_count; i++)
    STATUS_TRY(make_filter(conjunction->filters[i], arena, &filters[count++]));
  for (size_t i = 0; i < query->order_count; i++)
    if (!query->orders[i].field.is_name)
      filters[count++] = (struct rules_filter){.field = query->orders[i].field.path, .op = RULES_EXISTS};
  *ret = (struct rules_conjunction){.filters = filters, .filter_count = count};
  return status_ok();
}

static status make_orders(const struct query *query, struct arena *arena, struct rules_query *ret) {
  struct rules_order *orders = ARENA_NEW_ARRAY(arena, struct rules_order, query->explicit_order_count);
  if (orders == NULL)
    return out_of_memory();
  for (size_t i = 0; i < query->explicit_order_count; i++) {
    const struct query_order *order = &query->orders[i];
    orders[i].field =
        order->field.is_name ? STR("__name__") : doc_field_path_format(&order->field.path, arena);
    orders[i].descending = order->descending;
    if (orders[i].field.ptr == NULL)
      return out_of_memory();
  }
  ret->orders = orders;
  ret->order_count = query->explicit_order_count;
  return status_ok();
}

static str path_of(const struct query *query, struct arena *arena) {
  if (query->collection_id.len == 0)
    return query->parent.relative;
  if (query->parent.relative.len == 0)
    return query->collection_id;
  return arena_printf(arena, STR_FMT "/" STR_FMT, STR_ARG(query->parent.relative),
                      STR_ARG(query->collection_id));
}

status rules_query_make(const struct query *query, struct arena *arena, struct rules_query *ret,
                        str *ret_path) {
  struct rules_query made = {.all_descendants = query->all_descendants,
                             .has_limit = query->has_limit,
                             .limit = query->limit,
                             .offset = query->offset};
  struct rules_conjunction *conjunctions =
      ARENA_NEW_ARRAY(arena, struct rules_conjunction, query->conjunction_count);
  str path = path_of(query, arena);
  if (conjunctions == NULL || (path.ptr == NULL && query->collection_id.len > 0))
    return out_of_memory();
  for (size_t i = 0; i < query->conjunction_count; i++)
    STATUS_TRY(make_conjunction(query, &query->conjunctions[i], arena, &conjunctions[i]));
  made.conjunctions = conjunctions;
  made.conjunction_count = query->conjunction_count;
  STATUS_TRY(make_orders(query, arena, &made));
  *ret = made;
  *ret_path = path;
  return status_ok();
}
