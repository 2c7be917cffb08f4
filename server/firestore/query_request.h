/* StructuredQuery and StructuredAggregationQuery from the wire into struct query (storage/query/query.h). */
#ifndef SKERRY_SERVER_FIRESTORE_QUERY_REQUEST_H
#define SKERRY_SERVER_FIRESTORE_QUERY_REQUEST_H

#include "google/firestore/v1/query.pb-c.h"
#include "storage/document/mask.h"
#include "storage/query/aggregate.h"
#include "storage/query/query.h"

struct query_request {
  struct query query; /* prepared */
  /* The projection; NULL: whole documents. The result field of find_nearest is always part of it. */
  const struct doc_mask *mask;
};

/* `parent` is the request's, parsed and served. Everything is in the arena. INVALID_ARGUMENT for all that
 * production refuses. */
STATUS_MUST_USE status query_request_parse(const struct doc_path *parent,
                                           const Google__Firestore__V1__StructuredQuery *wire,
                                           struct arena *arena, struct query_request *ret);

/* The aggregations of a request, with their aliases (given, or field_1...). ret_* have room for
 * QUERY_AGGREGATES_MAX. */
STATUS_MUST_USE status query_request_parse_aggregates(
    const Google__Firestore__V1__StructuredAggregationQuery *wire, struct arena *arena,
    struct query_aggregate *ret_aggregates, str *ret_aliases, size_t *ret_count);

#endif
