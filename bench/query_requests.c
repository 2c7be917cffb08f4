#include "bench/query_requests.h"

#include <assert.h>

#include "base/wire.h"
#include "google/firestore/v1/firestore.skerry.h"

enum { FOUND = 20, TREES = 1000 };

/* google.firestore.v1 field numbers. */
enum {
  FIELDS = 2,
  ENTRY_KEY = 1,
  ENTRY_VALUE = 2,
  VALUE_INTEGER = 2,
  VALUE_ARRAY = 9,
  VALUE_STRING = 17,
  ARRAY_VALUES = 1
};

/* The same numbers in another order, so that neighbours in the order of scores are not neighbours by name: a
 * multiplication that has an inverse modulo 2^32. */
static uint64_t scattered(uint64_t number) {
  return number * UINT64_C(2654435761) & UINT64_C(0xffffffff);
}

static char *text_of(str s) {
  return (char *)(uintptr_t)s.ptr; /* protobuf-c's strings are not const; nobody writes them */
}

/* ---- Values, as bytes of the wire ---- */

static str integer_value(uint64_t number, struct arena *arena) {
  uint8_t *bytes = arena_alloc(arena, 11);
  if (bytes == NULL)
    return (str){0};
  uint8_t *end = wire_put_varint(wire_put_tag(bytes, VALUE_INTEGER, WIRE_VARINT), number);
  return str_make(bytes, (size_t)(end - bytes));
}

static str bytes_field(uint32_t field, str content, struct arena *arena) {
  uint8_t *bytes = arena_alloc(arena, wire_bytes_field_size(field, content.len));
  if (bytes == NULL || content.ptr == NULL)
    return (str){0};
  uint8_t *end = wire_put_bytes(bytes, field, content);
  return str_make(bytes, (size_t)(end - bytes));
}

static str joined(str a, str b, struct arena *arena) {
  char *bytes = arena_alloc(arena, a.len + b.len);
  if (bytes == NULL || a.ptr == NULL || b.ptr == NULL)
    return (str){0};
  memcpy(bytes, a.ptr, a.len);
  memcpy(bytes + a.len, b.ptr, b.len);
  return str_make(bytes, a.len + b.len);
}

static str tag_value(char kind, uint64_t number, struct arena *arena) {
  return bytes_field(VALUE_STRING, arena_printf(arena, "%c%llu", kind, (unsigned long long)number), arena);
}

static str tags_value(uint64_t number, struct arena *arena) {
  str items = joined(bytes_field(ARRAY_VALUES, tag_value('g', number / FOUND, arena), arena),
                     bytes_field(ARRAY_VALUES, tag_value('s', number % 7, arena), arena), arena);
  return bytes_field(VALUE_ARRAY, items, arena);
}

/* ---- Documents ---- */

static str entry(const char *name, str value, struct arena *arena) {
  str body = joined(bytes_field(ENTRY_KEY, str_from_cstr(name), arena),
                    bytes_field(ENTRY_VALUE, value, arena), arena);
  return bytes_field(FIELDS, body, arena);
}

str query_document_fields(uint64_t number, uint32_t bytes, uint64_t *random, struct arena *arena) {
  str fields = entry("group", integer_value(number / FOUND, arena), arena);
  fields = joined(fields, entry("band", integer_value(number / 100, arena), arena), arena);
  fields = joined(fields, entry("step", integer_value(number % 5, arena), arena), arena);
  fields = joined(fields, entry("score", integer_value(scattered(number), arena), arena), arena);
  fields = joined(fields, entry("tags", tags_value(number, arena), arena), arena);
  fields = joined(fields, entry("quad", integer_value(number / 4, arena), arena), arena);
  fields = joined(fields, entry("kind", integer_value(1, arena), arena), arena);
  str text = random_text(arena, random, bytes > fields.len ? bytes - fields.len : 0);
  return joined(fields, entry("text", bytes_field(VALUE_STRING, text, arena), arena), arena);
}

str query_document_name(const struct request_options *options, uint64_t number, bool grouped,
                        struct arena *arena) {
  unsigned long long n = number;
  return grouped ? arena_printf(arena, "%s/documents/trees/%04llu/leaves/%010llu", options->database,
                                n % TREES, n)
                 : arena_printf(arena, "%s/documents/things/%010llu", options->database, n);
}

/* ---- Queries ---- */

/* What a query needs, in one piece. */
struct parts {
  Google__Firestore__V1__RunQueryRequest request;
  Google__Firestore__V1__RunAggregationQueryRequest count_request;
  Google__Firestore__V1__StructuredAggregationQuery aggregation_query;
  Google__Firestore__V1__StructuredAggregationQuery__Aggregation aggregation, *aggregations[1];
  Google__Firestore__V1__StructuredAggregationQuery__Aggregation__Count count;
  Google__Firestore__V1__StructuredQuery query;
  Google__Firestore__V1__StructuredQuery__CollectionSelector from, *froms[1];
  Google__Firestore__V1__StructuredQuery__Filter top, filters[5], *pointers[5];
  Google__Firestore__V1__StructuredQuery__CompositeFilter composite;
  Google__Firestore__V1__StructuredQuery__FieldFilter field_filters[5];
  Google__Firestore__V1__StructuredQuery__FieldReference fields[6];
  Google__Firestore__V1__StructuredQuery__Order order, *orders[1];
  Google__Protobuf__Int32Value limit;
  size_t filter_count, field_count;
};

#define OP(name) GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__FIELD_FILTER__OPERATOR__##name

static Google__Firestore__V1__StructuredQuery__FieldReference *field(struct parts *parts, const char *name) {
  Google__Firestore__V1__StructuredQuery__FieldReference *to = &parts->fields[parts->field_count++];
  google__firestore__v1__structured_query__field_reference__init(to);
  to->field_path = text_of(str_from_cstr(name));
  return to;
}

static void filter(struct parts *parts, const char *name,
                   Google__Firestore__V1__StructuredQuery__FieldFilter__Operator op, str value) {
  size_t at = parts->filter_count++;
  Google__Firestore__V1__StructuredQuery__FieldFilter *to = &parts->field_filters[at];
  google__firestore__v1__structured_query__field_filter__init(to);
  to->field = field(parts, name);
  to->op = op;
  to->value = (ProtobufCBinaryData){value.len, (uint8_t *)(uintptr_t)value.ptr};
  google__firestore__v1__structured_query__filter__init(&parts->filters[at]);
  parts->filters[at].filter_type_case =
      GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__FILTER__FILTER_TYPE_FIELD_FILTER;
  parts->filters[at].field_filter = to;
  parts->pointers[at] = &parts->filters[at];
}

static void combine(struct parts *parts, bool any) {
  if (parts->filter_count == 1) {
    parts->query.where = &parts->filters[0];
    return;
  }
  google__firestore__v1__structured_query__composite_filter__init(&parts->composite);
  parts->composite.op = any ? GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__COMPOSITE_FILTER__OPERATOR__OR
                            : GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__COMPOSITE_FILTER__OPERATOR__AND;
  parts->composite.n_filters = parts->filter_count;
  parts->composite.filters = parts->pointers;
  google__firestore__v1__structured_query__filter__init(&parts->top);
  parts->top.filter_type_case = GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__FILTER__FILTER_TYPE_COMPOSITE_FILTER;
  parts->top.composite_filter = &parts->composite;
  parts->query.where = &parts->top;
}

static void ordered(struct parts *parts, const char *name, int32_t limit) {
  google__firestore__v1__structured_query__order__init(&parts->order);
  parts->order.field = field(parts, name);
  parts->order.direction = GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__DIRECTION__ASCENDING;
  parts->orders[0] = &parts->order;
  parts->query.n_order_by = 1;
  parts->query.order_by = parts->orders;
  google__protobuf__int32_value__init(&parts->limit);
  parts->limit.value = limit;
  parts->query.limit = &parts->limit;
}

/* Filters and order of one mode, about document `number`. */
static void fill_query(enum load_mode mode, struct parts *parts, uint64_t number, struct arena *arena) {
  if (mode == LOAD_QUERY_JOIN) {
    filter(parts, "band", OP(EQUAL), integer_value(number / 100, arena));
    filter(parts, "step", OP(EQUAL), integer_value(number % 5, arena));
  } else if (mode == LOAD_QUERY_RANGE) {
    filter(parts, "score", OP(GREATER_THAN_OR_EQUAL), integer_value(scattered(number) / 2, arena));
    ordered(parts, "score", FOUND);
  } else if (mode == LOAD_QUERY_CONTAINS) {
    filter(parts, "tags", OP(ARRAY_CONTAINS), tag_value('g', number / FOUND, arena));
  } else if (mode == LOAD_QUERY_OR) {
    for (uint64_t i = 0; i < 5; i++)
      filter(parts, "quad", OP(EQUAL), integer_value(number / FOUND * 5 + i, arena));
  } else if (mode == LOAD_QUERY_COUNT) {
    filter(parts, "kind", OP(EQUAL), integer_value(1, arena));
  } else { /* LOAD_QUERY_EQUAL, LOAD_QUERY_GROUP */
    filter(parts, "group", OP(EQUAL), integer_value(number / FOUND, arena));
  }
  combine(parts, mode == LOAD_QUERY_OR);
}

static const void *count_of(struct parts *parts, char *parent) {
  google__firestore__v1__structured_aggregation_query__aggregation__count__init(&parts->count);
  google__firestore__v1__structured_aggregation_query__aggregation__init(&parts->aggregation);
  parts->aggregation.operator_case =
      GOOGLE__FIRESTORE__V1__STRUCTURED_AGGREGATION_QUERY__AGGREGATION__OPERATOR_COUNT;
  parts->aggregation.count = &parts->count;
  parts->aggregations[0] = &parts->aggregation;
  google__firestore__v1__structured_aggregation_query__init(&parts->aggregation_query);
  parts->aggregation_query.query_type_case =
      GOOGLE__FIRESTORE__V1__STRUCTURED_AGGREGATION_QUERY__QUERY_TYPE_STRUCTURED_QUERY;
  parts->aggregation_query.structured_query = &parts->query;
  parts->aggregation_query.n_aggregations = 1;
  parts->aggregation_query.aggregations = parts->aggregations;
  google__firestore__v1__run_aggregation_query_request__init(&parts->count_request);
  parts->count_request.parent = parent;
  parts->count_request.query_type_case =
      GOOGLE__FIRESTORE__V1__RUN_AGGREGATION_QUERY_REQUEST__QUERY_TYPE_STRUCTURED_AGGREGATION_QUERY;
  parts->count_request.structured_aggregation_query = &parts->aggregation_query;
  return &parts->count_request;
}

const void *query_request_make(const struct request_options *options, uint64_t *random, struct arena *arena) {
  struct parts *parts = ARENA_NEW(arena, struct parts);
  char *parent = text_of(arena_printf(arena, "%s/documents", options->database));
  if (parts == NULL || parent == NULL)
    return NULL;
  google__firestore__v1__structured_query__init(&parts->query);
  google__firestore__v1__structured_query__collection_selector__init(&parts->from);
  bool grouped = options->mode == LOAD_QUERY_GROUP;
  parts->from.collection_id = text_of(grouped ? STR("leaves") : STR("things"));
  parts->from.all_descendants = grouped;
  parts->froms[0] = &parts->from;
  parts->query.n_from = 1;
  parts->query.from = parts->froms;
  uint64_t documents = options->documents == 0 ? 1 : options->documents;
  fill_query(options->mode, parts, random_next(random) % documents, arena);
  if (arena->exhausted)
    return NULL;
  if (options->mode == LOAD_QUERY_COUNT)
    return count_of(parts, parent);
  google__firestore__v1__run_query_request__init(&parts->request);
  parts->request.parent = parent;
  parts->request.query_type_case = GOOGLE__FIRESTORE__V1__RUN_QUERY_REQUEST__QUERY_TYPE_STRUCTURED_QUERY;
  parts->request.structured_query = &parts->query;
  return &parts->request;
}
