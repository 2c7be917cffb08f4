/* What the parts of the planner share: plan.c (branches), plan_choose.c (indexes), plan_bounds.c (ranges),
 * plan_text.c (for people). */
#ifndef SKERRY_STORAGE_QUERY_PLAN_INTERNAL_H
#define SKERRY_STORAGE_QUERY_PLAN_INTERNAL_H

#include "storage/query/plan.h"

/* One planning, on the caller's stack. */
struct planner {
  const struct query *query;
  const struct plan_options *options;
  struct arena *arena;
  struct query_plan *plan;
  struct buf scratch;
};

/* Filters of one conjunction by what they are good for. Equalities beyond the mask's bits are checked on
 * documents; no query that query_prepare lets pass has so many. */
enum { PLAN_EQUALITIES_MAX = 64 };

struct plan_part {
  const struct query_filter *equalities[PLAN_EQUALITIES_MAX]; /* QUERY_EQUAL, QUERY_ARRAY_CONTAINS */
  size_t equality_count;
  const struct query_filter **inequalities; /* the others, but those on __name__ */
  size_t inequality_count;
  /* The query's orders without those by a field that has one value here, and without __name__. */
  const struct query_order **orders;
  size_t order_count;
  bool name_descending;

  struct plan_range keys; /* of filters on __name__ and of the place */
  str *excluded_keys;
  size_t excluded_key_count;
  bool bounds_names; /* `keys` says more than the place of a collection */
};

/* ---- plan_choose.c ---- */

/* Which indexes a branch uses: sets source, reverse, in_order, direct, scans, columns, order_sources.
 * *ret_covered has a bit for each equality that the scans answer. */
STATUS_MUST_USE status plan_choose(struct planner *planner, const struct plan_part *part,
                                   struct plan_branch *branch, uint64_t *ret_covered);

/* ---- plan_bounds.c ---- */

/* Filters on __name__ as bounds of keys. */
STATUS_MUST_USE status plan_name_bounds(struct planner *planner, const struct query_filter *const *filters,
                                        size_t count, struct plan_part *part);

/* The ranges of a branch; PLAN_NOTHING if nothing is left. `first_field` is that of the first column of the
 * suffix, or NULL. Inequalities on it that the ranges say exactly get true in `exact`. */
STATUS_MUST_USE status plan_ranges(struct planner *planner, const struct plan_part *part,
                                   const struct doc_field_path *first_field, struct plan_branch *branch,
                                   bool *exact);

/* The query's cursors as a range of sort keys. *ret_nothing: nothing lies between them. */
STATUS_MUST_USE status plan_sort_cursors(struct planner *planner, struct plan_range *ret, bool *ret_nothing);

/* ---- plan_text.c ---- */

STATUS_MUST_USE status plan_describe(struct planner *planner);
/* The composite index for a part, as JSON. */
STATUS_MUST_USE status plan_missing_index(struct planner *planner, const struct plan_part *part, str *ret);

/* ---- plan.c ---- */

/* Moves what is in planner->scratch to the arena. */
STATUS_MUST_USE status plan_scratch_take(struct planner *planner, str *ret);

bool plan_fields_equal(const struct doc_field_path *a, const struct doc_field_path *b);

#endif
