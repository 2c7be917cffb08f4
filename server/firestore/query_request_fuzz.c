/* Bytes as a StructuredQuery or, by the first byte, a StructuredAggregationQuery: refused, or a query that
 * keeps its own rules and whose normal form says the same of a document as its filters do. */
#include <stdint.h>
#include <stdlib.h>

#include "base/limits.h"
#include "rpc/wire_check.h"
#include "server/firestore/query_request.h"
#include "storage/query/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

static void unpack_free(void *arena, void *memory) {
  (void)arena, (void)memory;
}
static void *unpack_alloc(void *arena, size_t size) {
  return arena_alloc(arena, size);
}

static const void *decode(const ProtobufCMessageDescriptor *type, str wire, struct arena *arena) {
  status s = wire_check(type, wire);
  ProtobufCAllocator allocator = {unpack_alloc, unpack_free, arena};
  return s.code != STATUS_OK
             ? NULL
             : (const void *)protobuf_c_message_unpack(type, &allocator, wire.len, (const uint8_t *)wire.ptr);
}

static bool any_conjunction_matches(const struct query *query, const struct doc_path *path,
                                    struct doc_map fields) {
  for (size_t i = 0; i < query->conjunction_count; i++)
    if (query_conjunction_matches(&query->conjunctions[i], path, fields))
      return true;
  return false;
}

/* Documents made of the query's own operands. */
static void check_normal_form(const struct query *query, const struct doc_path *path) {
  for (size_t i = 0; i < query->conjunction_count; i++)
    for (size_t k = 0; k < query->conjunctions[i].filter_count; k++) {
      const struct query_filter *filter = query->conjunctions[i].filters[k];
      if (filter->field.is_name)
        continue;
      struct doc_field field = {filter->field.path.segments[0], filter->operand};
      struct doc_map fields = {&field, 1};
      bool matches = query->where == NULL || query_filter_matches(query->where, path, fields);
      CHECK(matches == any_conjunction_matches(query, path, fields));
    }
}

static void check_query(const struct query *query, struct arena *arena) {
  CHECK(query->conjunction_count <= LIMIT_QUERY_DISJUNCTIONS);
  CHECK(query->order_count > 0 && query->orders[query->order_count - 1].field.is_name);
  CHECK(query->explicit_order_count <= query->order_count);
  CHECK(query->start.count <= query->explicit_order_count && query->end.count <= query->explicit_order_count);
  str text, again;
  status s = query_format(query, arena, &text);
  CHECK(s.code == STATUS_OK);
  struct doc_path path;
  s = doc_path_parse(STR("projects/p/databases/d/documents/c/a"), &path);
  CHECK(s.code == STATUS_OK);
  check_normal_form(query, &path);
  /* A prepared query is prepared. */
  struct query copy = *query;
  copy.order_count = copy.explicit_order_count;
  if (query->where != NULL && query->conjunction_count > 0 && query->where->kind == QUERY_FIELD_FILTER &&
      query->where->op != QUERY_EQUAL) {
    s = query_prepare(&copy, arena);
    CHECK(s.code == STATUS_OK);
    s = query_format(&copy, arena, &again);
    CHECK(s.code == STATUS_OK && str_eq(text, again));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0 || size > 64 * 1024)
    return 0;
  struct arena arena;
  arena_init(&arena, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  struct doc_path parent;
  status s = doc_path_parse(STR("projects/p/databases/d/documents"), &parent);
  CHECK(s.code == STATUS_OK);
  str wire = str_make(data + 1, size - 1);
  if (data[0] % 4 != 0) {
    const void *message = decode(&google__firestore__v1__structured_query__descriptor, wire, &arena);
    struct query_request request;
    if (message != NULL) {
      s = query_request_parse(&parent, message, &arena, &request);
      CHECK(s.code == STATUS_OK || s.code == STATUS_INVALID_ARGUMENT);
      if (s.code == STATUS_OK)
        check_query(&request.query, &arena);
    }
  } else {
    const void *message =
        decode(&google__firestore__v1__structured_aggregation_query__descriptor, wire, &arena);
    struct query_aggregate aggregates[QUERY_AGGREGATES_MAX];
    str aliases[QUERY_AGGREGATES_MAX];
    size_t count;
    if (message != NULL) {
      s = query_request_parse_aggregates(message, &arena, aggregates, aliases, &count);
      CHECK(s.code == STATUS_OK ? count >= 1 && count <= QUERY_AGGREGATES_MAX
                                : s.code == STATUS_INVALID_ARGUMENT);
    }
  }
  arena_fini(&arena);
  return 0;
}
