/* The filters of a query, made simpler and taken apart into conjunctions: what query_prepare (query.h) does
 * with `where` after it has checked each filter. */
#ifndef SKERRY_STORAGE_QUERY_NORMAL_FORM_H
#define SKERRY_STORAGE_QUERY_NORMAL_FORM_H

#include "storage/query/query.h"

/* An equal tree: comparisons with null and NaN that are never true are gone, those that are always true
 * became QUERY_IS_NOT_NULL, QUERY_IS_NULL and QUERY_IS_NAN became QUERY_EQUAL; lists hold each value once,
 * and lists of one became a single comparison; composites of one became that one, and composites in
 * composites of the same kind are part of them. A QUERY_OR of none is what never matches. The tree is in the
 * arena and borrows from `filter`, whose depth is bounded. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status query_filter_simplify(const struct query_filter *filter, struct arena *arena,
                                             struct query_filter *ret);

/* Whether a field filter of a request matches nothing because it compares with null or NaN. */
bool query_filter_is_never(const struct query_filter *filter);

/* The disjunctive normal form of a checked tree, as query.h describes it. INVALID_ARGUMENT, as if comparisons
 * that are never true were like others: more than LIMIT_QUERY_PARTS different field filters, each value of a
 * list by itself (*ret_filter_count says how many); more than LIMIT_QUERY_DISJUNCTIONS conjunctions, on the
 * way or in the end; two QUERY_ARRAY_CONTAINS in one. Time is bounded by the number of filters and list
 * values in the tree times LIMIT_QUERY_PARTS comparisons. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status query_normal_form(const struct query_filter *where, struct arena *arena,
                                         const struct query_conjunction **ret_conjunctions,
                                         size_t *ret_conjunction_count, size_t *ret_filter_count);

/* What a query with more than LIMIT_QUERY_PARTS filters, orders and parent is told. */
status query_too_many_parts(void);

#endif
