/* Aggregations over a query: count, sum and average, several at once.
 *
 * Where the plan reads indexes only (no residual filter) and the aggregated fields are columns of them, no
 * document is read. Rules (google/firestore/v1/query.proto, StructuredAggregationQuery;
 * https://firebase.google.com/docs/firestore/query-data/aggregation-queries): a sum of integers is an integer
 * unless it does not fit, then a double; of nothing, 0; NaN makes NaN; values that are no numbers do not
 * count; the average of nothing is null. count stops at up_to. Only documents that have all summed and
 * averaged fields are looked at, by count too; the fields are orders of the query after those that it has, as
 * ranges and inequalities are, which is seen with a limit or an offset. */
#ifndef SKERRY_STORAGE_QUERY_AGGREGATE_H
#define SKERRY_STORAGE_QUERY_AGGREGATE_H

#include "storage/query/run.h"

enum query_aggregate_op { QUERY_COUNT, QUERY_SUM, QUERY_AVERAGE };

struct query_aggregate {
  enum query_aggregate_op op;
  int64_t up_to;               /* QUERY_COUNT; 0: no bound */
  struct doc_field_path field; /* QUERY_SUM, QUERY_AVERAGE */
};

enum { QUERY_AGGREGATES_MAX = 5 };

struct query_aggregation;

/* As query_run_open. `aggregates` live as long as the aggregation; 1 to QUERY_AGGREGATES_MAX. */
STATUS_MUST_USE status query_aggregation_open(const struct query *query,
                                              const struct query_aggregate *aggregates, size_t count,
                                              const struct query_run_options *options, struct arena *arena,
                                              struct query_aggregation **ret);
/* Works for a turn (run.h). *ret_done: the results may be asked for, and it is not called again. */
STATUS_MUST_USE status query_aggregation_work(struct query_aggregation *aggregation, bool *ret_done);
/* As query_run_pause. */
void query_aggregation_pause(struct query_aggregation *aggregation);
/* ret[0, count), after `done`. */
void query_aggregation_results(const struct query_aggregation *aggregation, struct doc_value *ret);
/* Underneath: for stats, used indexes and the missing index. */
const struct query_run *query_aggregation_run(const struct query_aggregation *aggregation);
void query_aggregation_close(struct query_aggregation *aggregation); /* NULL is allowed */

#endif
