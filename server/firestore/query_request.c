#include "server/firestore/query_request.h"

#include "base/limits.h"
#include "storage/document/codec.h"

typedef Google__Firestore__V1__StructuredQuery structured_query;
typedef Google__Firestore__V1__StructuredQuery__Filter filter_message;
typedef Google__Firestore__V1__StructuredQuery__CompositeFilter composite_message;
typedef Google__Firestore__V1__StructuredQuery__FieldFilter field_filter_message;
typedef Google__Firestore__V1__StructuredQuery__UnaryFilter unary_message;
typedef Google__Firestore__V1__StructuredQuery__FieldReference field_message;
typedef Google__Firestore__V1__StructuredQuery__FindNearest nearest_message;
typedef Google__Firestore__V1__StructuredAggregationQuery__Aggregation aggregation_message;

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The query takes too much memory. Make it smaller.");
}

static status refuse(const char *reason) {
  return status_make(STATUS_INVALID_ARGUMENT, "%s", reason);
}

static status parse_value(const ProtobufCBinaryData *wire, struct arena *arena, struct doc_value *ret) {
  return doc_decode_value(str_make(wire->data, wire->len), DOC_USE_OPERAND, arena, ret);
}

static status parse_field(const field_message *wire, const char *what, struct arena *arena,
                          struct query_field *ret) {
  if (wire == NULL || wire->field_path[0] == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "%s lacks its field.", what);
  str path = str_from_cstr(wire->field_path);
  *ret = (struct query_field){.is_name = doc_field_path_is_name(path)};
  return ret->is_name ? status_ok() : doc_field_path_parse(path, arena, &ret->path);
}

/* ---- Filters ---- */

static bool field_filter_op(Google__Firestore__V1__StructuredQuery__FieldFilter__Operator wire,
                            enum query_op *ret) {
#define CASE(name, op)                                                                                       \
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__FIELD_FILTER__OPERATOR__##name:                              \
    *ret = QUERY_##op;                                                                                       \
    return true
  switch (wire) {
    CASE(LESS_THAN, LESS);
    CASE(LESS_THAN_OR_EQUAL, LESS_OR_EQUAL);
    CASE(GREATER_THAN, GREATER);
    CASE(GREATER_THAN_OR_EQUAL, GREATER_OR_EQUAL);
    CASE(EQUAL, EQUAL);
    CASE(NOT_EQUAL, NOT_EQUAL);
    CASE(ARRAY_CONTAINS, ARRAY_CONTAINS);
    CASE(IN, IN);
    CASE(ARRAY_CONTAINS_ANY, ARRAY_CONTAINS_ANY);
    CASE(NOT_IN, NOT_IN);
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__FIELD_FILTER__OPERATOR__OPERATOR_UNSPECIFIED:
  default:
    return false;
  }
#undef CASE
}

static bool unary_op(Google__Firestore__V1__StructuredQuery__UnaryFilter__Operator wire, enum query_op *ret) {
#define CASE(name)                                                                                           \
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__UNARY_FILTER__OPERATOR__##name:                              \
    *ret = QUERY_##name;                                                                                     \
    return true
  switch (wire) {
    CASE(IS_NULL);
    CASE(IS_NOT_NULL);
    CASE(IS_NAN);
    CASE(IS_NOT_NAN);
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__UNARY_FILTER__OPERATOR__OPERATOR_UNSPECIFIED:
  default:
    return false;
  }
#undef CASE
}

static status parse_field_filter(const field_filter_message *wire, struct arena *arena,
                                 struct query_filter *ret) {
  ret->kind = QUERY_FIELD_FILTER;
  if (!field_filter_op(wire->op, &ret->op))
    return refuse("Unknown FieldFilter operator.");
  STATUS_TRY(parse_field(wire->field, "A FieldFilter", arena, &ret->field));
  return parse_value(&wire->value, arena, &ret->operand);
}

static status parse_unary(const unary_message *wire, struct arena *arena, struct query_filter *ret) {
  ret->kind = QUERY_FIELD_FILTER;
  if (!unary_op(wire->op, &ret->op))
    return refuse("Unknown UnaryFilter operator.");
  bool has_field =
      wire->operand_type_case == GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__UNARY_FILTER__OPERAND_TYPE_FIELD;
  return parse_field(has_field ? wire->field : NULL, "A UnaryFilter", arena, &ret->field);
}

static status parse_filter(const filter_message *wire, struct arena *arena, struct query_filter *ret);

static status parse_composite(const composite_message *wire, struct arena *arena, struct query_filter *ret) {
  switch (wire->op) {
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__COMPOSITE_FILTER__OPERATOR__AND:
    ret->kind = QUERY_AND;
    break;
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__COMPOSITE_FILTER__OPERATOR__OR:
    ret->kind = QUERY_OR;
    break;
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__COMPOSITE_FILTER__OPERATOR__OPERATOR_UNSPECIFIED:
  default:
    return refuse("Unknown CompositeFilter operator.");
  }
  struct query_filter *filters = ARENA_NEW_ARRAY(arena, struct query_filter, wire->n_filters);
  if (filters == NULL)
    return no_memory();
  for (size_t i = 0; i < wire->n_filters; i++)
    STATUS_TRY(parse_filter(wire->filters[i], arena, &filters[i]));
  ret->filters = filters;
  ret->filter_count = wire->n_filters;
  return status_ok();
}

/* As deep as the runtime let the message be (LIMIT_MESSAGE_DEPTH). */
static status parse_filter(const filter_message *wire, struct arena *arena, struct query_filter *ret) {
  *ret = (struct query_filter){.kind = QUERY_FIELD_FILTER};
  switch (wire->filter_type_case) {
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__FILTER__FILTER_TYPE_COMPOSITE_FILTER:
    return parse_composite(wire->composite_filter, arena, ret);
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__FILTER__FILTER_TYPE_FIELD_FILTER:
    return parse_field_filter(wire->field_filter, arena, ret);
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__FILTER__FILTER_TYPE_UNARY_FILTER:
    return parse_unary(wire->unary_filter, arena, ret);
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__FILTER__FILTER_TYPE__NOT_SET:
  default:
    return refuse("A Filter has neither composite_filter nor field_filter nor unary_filter.");
  }
}

static status parse_where(const structured_query *wire, struct arena *arena, struct query *query) {
  if (wire->where == NULL)
    return status_ok();
  struct query_filter *where = ARENA_NEW(arena, struct query_filter);
  if (where == NULL)
    return no_memory();
  query->where = where;
  return parse_filter(wire->where, arena, where);
}

/* ---- From, orders, cursors ---- */

static status parse_from(const structured_query *wire, struct query *query) {
  if (wire->n_from > 1)
    return refuse("StructuredQuery.from cannot have more than one collection selector.");
  if (wire->n_from == 1) {
    query->collection_id = str_from_cstr(wire->from[0]->collection_id);
    query->all_descendants = wire->from[0]->all_descendants != 0;
  }
  return status_ok();
}

static status parse_orders(const structured_query *wire, struct arena *arena, struct query *query) {
  struct query_order *orders = ARENA_NEW_ARRAY(arena, struct query_order, wire->n_order_by);
  if (orders == NULL)
    return no_memory();
  for (size_t i = 0; i < wire->n_order_by; i++) {
    STATUS_TRY(parse_field(wire->order_by[i]->field, "An Order", arena, &orders[i].field));
    switch (wire->order_by[i]->direction) {
    case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__DIRECTION__DIRECTION_UNSPECIFIED:
    case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__DIRECTION__ASCENDING:
      break;
    case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__DIRECTION__DESCENDING:
      orders[i].descending = true;
      break;
    default:
      return refuse("Unknown direction of an Order.");
    }
  }
  query->orders = orders;
  query->order_count = wire->n_order_by;
  return status_ok();
}

static status parse_cursor(const Google__Firestore__V1__Cursor *wire, bool is_start, struct arena *arena,
                           struct query *query) {
  if (wire == NULL)
    return status_ok();
  struct query_cursor cursor = {.count = wire->n_values, .before = wire->before != 0};
  /* Without values it is before or after all documents. */
  if (cursor.count == 0) {
    if (cursor.before != is_start) {
      query->has_limit = true;
      query->limit = 0;
    }
    return status_ok();
  }
  struct doc_value *values = ARENA_NEW_ARRAY(arena, struct doc_value, cursor.count);
  if (values == NULL)
    return no_memory();
  for (size_t i = 0; i < cursor.count; i++)
    STATUS_TRY(parse_value(&wire->values[i], arena, &values[i]));
  cursor.values = values;
  *(is_start ? &query->start : &query->end) = cursor;
  return status_ok();
}

static void parse_limits(const structured_query *wire, struct query *query) {
  query->offset = wire->offset;
  query->has_limit = wire->limit != NULL;
  query->limit = wire->limit != NULL ? wire->limit->value : 0;
}

/* ---- find_nearest ---- */

static bool parse_measure(Google__Firestore__V1__StructuredQuery__FindNearest__DistanceMeasure wire,
                          enum query_distance *ret) {
#define CASE(name)                                                                                           \
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__FIND_NEAREST__DISTANCE_MEASURE__##name:                      \
    *ret = QUERY_##name;                                                                                     \
    return true
  switch (wire) {
    CASE(EUCLIDEAN);
    CASE(COSINE);
    CASE(DOT_PRODUCT);
  case GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__FIND_NEAREST__DISTANCE_MEASURE__DISTANCE_MEASURE_UNSPECIFIED:
  default:
    return false;
  }
#undef CASE
}

/* It is the name of one field, dots and all, as the emulator has it and the documentation says. */
static status parse_result_field(const char *wire, struct arena *arena, struct doc_field_path *ret) {
  str name = str_from_cstr(wire);
  if (name.len == 0)
    return status_ok();
  STATUS_TRY(doc_field_name_check(name));
  str *segment = ARENA_NEW(arena, str);
  if (segment == NULL)
    return no_memory();
  *segment = name;
  *ret = (struct doc_field_path){segment, 1};
  return status_ok();
}

static status parse_nearest(const nearest_message *wire, struct arena *arena, struct query *query) {
  if (wire == NULL)
    return status_ok();
  struct query_nearest *nearest = ARENA_NEW(arena, struct query_nearest);
  if (nearest == NULL)
    return no_memory();
  struct query_field field;
  STATUS_TRY(parse_field(wire->vector_field, "FindNearest.vector_field", arena, &field));
  if (field.is_name)
    return refuse("FindNearest.vector_field cannot be __name__, which is no vector.");
  nearest->field = field.path;
  if (!parse_measure(wire->distance_measure, &nearest->measure))
    return refuse("Unknown FindNearest.distance_measure.");
  STATUS_TRY(parse_value(&wire->query_vector, arena, &nearest->vector));
  nearest->limit = wire->limit == NULL ? 0 : wire->limit->value;
  nearest->has_threshold = wire->distance_threshold != NULL;
  nearest->threshold = wire->distance_threshold == NULL ? 0 : wire->distance_threshold->value;
  STATUS_TRY(parse_result_field(wire->distance_result_field, arena, &nearest->result_field));
  query->nearest = nearest;
  return status_ok();
}

/* ---- Projection ---- */

/* find_nearest comes after select, so what it adds stays. */
static size_t result_paths(const struct query *query, struct arena *arena, str *ret) {
  if (query->nearest == NULL || query->nearest->result_field.count == 0)
    return 0;
  *ret = doc_field_path_format(&query->nearest->result_field, arena);
  return 1;
}

static status parse_select(const structured_query *wire, struct arena *arena, struct query_request *ret) {
  ret->mask = NULL;
  if (wire->select == NULL || wire->select->n_fields == 0)
    return status_ok();
  size_t count = wire->select->n_fields;
  str *paths = ARENA_NEW_ARRAY(arena, str, count + 1);
  struct doc_mask *mask = ARENA_NEW(arena, struct doc_mask);
  if (paths == NULL || mask == NULL)
    return no_memory();
  bool names_only = true;
  for (size_t i = 0; i < count; i++) {
    paths[i] = str_from_cstr(wire->select->fields[i]->field_path);
    names_only = names_only && doc_field_path_is_name(paths[i]);
  }
  count += result_paths(&ret->query, arena, &paths[count]);
  if (arena->exhausted)
    return no_memory();
  STATUS_TRY(doc_mask_parse(paths, count, DOC_MASK_READ, arena, mask));
  ret->mask = mask;
  ret->query.names_only = names_only && ret->query.nearest == NULL;
  return status_ok();
}

status query_request_parse(const struct doc_path *parent, const Google__Firestore__V1__StructuredQuery *wire,
                           struct arena *arena, struct query_request *ret) {
  *ret = (struct query_request){.query.parent = *parent};
  struct query *query = &ret->query;
  STATUS_TRY(parse_from(wire, query));
  STATUS_TRY(parse_where(wire, arena, query));
  STATUS_TRY(parse_orders(wire, arena, query));
  parse_limits(wire, query);
  STATUS_TRY(parse_cursor(wire->start_at, true, arena, query));
  STATUS_TRY(parse_cursor(wire->end_at, false, arena, query));
  STATUS_TRY(parse_nearest(wire->find_nearest, arena, query));
  STATUS_TRY(parse_select(wire, arena, ret));
  return query_prepare(query, arena);
}

/* ---- Aggregations ---- */

static status parse_count(const Google__Firestore__V1__StructuredAggregationQuery__Aggregation__Count *wire,
                          struct query_aggregate *ret) {
  ret->op = QUERY_COUNT;
  if (wire->up_to == NULL)
    return status_ok();
  if (wire->up_to->value <= 0)
    return refuse("The up_to of a count aggregation must be greater than zero.");
  ret->up_to = wire->up_to->value;
  return status_ok();
}

static status parse_number(enum query_aggregate_op op, const field_message *wire, struct arena *arena,
                           struct query_aggregate *ret) {
  struct query_field field;
  STATUS_TRY(parse_field(wire, "An Aggregation", arena, &field));
  if (field.is_name)
    return refuse("__name__ is no number: it cannot be summed or averaged.");
  *ret = (struct query_aggregate){.op = op, .field = field.path};
  return status_ok();
}

static status parse_aggregate(const aggregation_message *wire, struct arena *arena,
                              struct query_aggregate *ret) {
  *ret = (struct query_aggregate){.op = QUERY_COUNT};
  switch (wire->operator_case) {
  case GOOGLE__FIRESTORE__V1__STRUCTURED_AGGREGATION_QUERY__AGGREGATION__OPERATOR_COUNT:
    return parse_count(wire->count, ret);
  case GOOGLE__FIRESTORE__V1__STRUCTURED_AGGREGATION_QUERY__AGGREGATION__OPERATOR_SUM:
    return parse_number(QUERY_SUM, wire->sum->field, arena, ret);
  case GOOGLE__FIRESTORE__V1__STRUCTURED_AGGREGATION_QUERY__AGGREGATION__OPERATOR_AVG:
    return parse_number(QUERY_AVERAGE, wire->avg->field, arena, ret);
  case GOOGLE__FIRESTORE__V1__STRUCTURED_AGGREGATION_QUERY__AGGREGATION__OPERATOR__NOT_SET:
  default:
    return refuse("An Aggregation has neither count nor sum nor avg.");
  }
}

/* Those without one are field_1, field_2 and so on, counted by themselves. */
static status parse_alias(const aggregation_message *wire, unsigned *unnamed, struct arena *arena, str *ret) {
  str alias = str_from_cstr(wire->alias);
  if (alias.len > 0)
    STATUS_TRY(doc_field_name_check(alias));
  else
    alias = arena_printf(arena, "field_%u", ++*unnamed);
  if (alias.ptr == NULL)
    return no_memory();
  *ret = alias;
  return status_ok();
}

status query_request_parse_aggregates(const Google__Firestore__V1__StructuredAggregationQuery *wire,
                                      struct arena *arena, struct query_aggregate *ret_aggregates,
                                      str *ret_aliases, size_t *ret_count) {
  size_t count = wire->n_aggregations;
  if (count < 1 || count > QUERY_AGGREGATES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "A query has one to %d aggregations; this one has %zu.",
                       QUERY_AGGREGATES_MAX, count);
  unsigned unnamed = 0;
  for (size_t i = 0; i < count; i++) {
    STATUS_TRY(parse_aggregate(wire->aggregations[i], arena, &ret_aggregates[i]));
    STATUS_TRY(parse_alias(wire->aggregations[i], &unnamed, arena, &ret_aliases[i]));
    for (size_t k = 0; k < i; k++)
      if (str_eq(ret_aliases[k], ret_aliases[i]))
        return status_make(STATUS_INVALID_ARGUMENT, "Two aggregations have the alias \"" STR_FMT "\".",
                           STR_ARG(ret_aliases[i]));
  }
  *ret_count = count;
  return status_ok();
}
