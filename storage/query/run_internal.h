/* Runs for aggregations: rows without documents, with values from index entries where the plan has them. */
#ifndef SKERRY_STORAGE_QUERY_RUN_INTERNAL_H
#define SKERRY_STORAGE_QUERY_RUN_INTERNAL_H

#include "storage/query/run.h"

/* As query_run_open, for an aggregation that needs the values of `fields` (which live as long as the run) and
 * no more. Documents are read only if the plan has to filter on them or *ret_covered is false: some field is
 * neither a column of the indexes nor an equality. The order of rows is not kept where nothing depends on
 * it. */
STATUS_MUST_USE status query_run_open_values(const struct query *query,
                                             const struct doc_field_path *const *fields, size_t field_count,
                                             const struct query_run_options *options, struct arena *arena,
                                             struct query_run **ret, bool *ret_covered);

/* A field's value in an index entry. */
struct query_value {
  str encoded;    /* value_order.h, ascending */
  unsigned flags; /* INDEX_TRUNCATED, INDEX_INTEGER (storage/index/entry.h) */
};

/* The values of the fields for the row that query_run_next gave last: as many as there are fields, valid as
 * long as the row. Only if they are covered; otherwise take them from the row's record. */
const struct query_value *query_run_values(const struct query_run *run);

/* Goes on as query_run_next, but only counts: rows up to `max`, until a turn is over. *ret_done: the end is
 * reached. */
STATUS_MUST_USE status query_run_count(struct query_run *run, uint64_t max, uint64_t *ret_count,
                                       bool *ret_done);

#endif
