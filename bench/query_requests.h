/* The requests of the loads that query: documents with fields that indexes can find, and queries of which
 * each finds 20 (but for the count).
 *
 * Document number n of `documents` has 300 bytes in all, in the collection "things":
 *   group   n / 20              20 documents each
 *   band    n / 100, step n % 5 together 20 documents: two equalities joined
 *   score   n, scattered        a range with an order and a limit
 *   tags    ["g<n / 20>", "s<n % 7>"]
 *   quad    n / 4               five of them: an OR
 *   kind    1                   all: the count
 *   text    filler
 * and with `grouped` in "trees/<n % 1000>/leaves", for the collection group. */
#ifndef SKERRY_BENCH_QUERY_REQUESTS_H
#define SKERRY_BENCH_QUERY_REQUESTS_H

#include "bench/requests.h"

/* The fields of document number `number`, as bytes of Document.fields entries, in the arena. */
str query_document_fields(uint64_t number, uint32_t bytes, uint64_t *random, struct arena *arena);
/* Its full name. */
str query_document_name(const struct request_options *options, uint64_t number, bool grouped,
                        struct arena *arena);

/* LOAD_QUERY_...: a RunQueryRequest or RunAggregationQueryRequest. NULL: no memory. */
const void *query_request_make(const struct request_options *options, uint64_t *random, struct arena *arena);

#endif
