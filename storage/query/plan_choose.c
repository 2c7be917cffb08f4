/* Which indexes answer a conjunction (the rules at the top of plan.h). */
#include <assert.h>

#include "storage/query/plan_internal.h"

/* An index that has some of the equalities in front and a wanted suffix behind them. */
struct candidate {
  const struct index_shape *shape;
  uint64_t covers;                     /* equalities */
  const struct query_filter **columns; /* the equality of each leading column */
  size_t equality_columns;
};

struct candidates {
  struct candidate *items;
  size_t count;
};

static bool is_elements(const struct query_filter *filter) {
  return filter->op == QUERY_ARRAY_CONTAINS;
}

static unsigned needed_for(bool group, bool elements) {
  return group ? (elements ? INDEX_HAS_GROUP_ELEMENTS : INDEX_HAS_GROUP_VALUES)
               : (elements ? INDEX_HAS_ELEMENTS : INDEX_HAS_VALUES);
}

static bool is_usable(const struct planner *planner, const struct doc_field_path *field, bool elements) {
  const struct query *query = planner->query;
  if (query->collection_id.len == 0)
    return false;
  unsigned has = index_catalog_field_usable(planner->options->catalog, query->collection_id, field,
                                            planner->options->version);
  return (has & needed_for(query->all_descendants, elements)) != 0;
}

static status single_field(struct planner *planner, const struct doc_field_path *field, bool elements,
                           const struct index_shape **ret) {
  struct index_shape *shape = ARENA_NEW(planner->arena, struct index_shape);
  struct index_column *column = ARENA_NEW(planner->arena, struct index_column);
  if (shape == NULL || column == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  *column = (struct index_column){.field = *field, .order = DOC_ASCENDING, .elements = elements};
  bool group = planner->query->all_descendants;
  *shape = (struct index_shape){.kind = group ? INDEX_GROUP_FIELD : INDEX_FIELD,
                                .group = group,
                                .columns = column,
                                .column_count = 1,
                                .name_order = DOC_ASCENDING};
  *ret = shape;
  return status_ok();
}

/* ---- Candidates ---- */

/* The first equality on a column's field that the candidate does not have yet, or SIZE_MAX. */
static size_t equality_on(const struct plan_part *part, const struct index_column *column, uint64_t taken) {
  for (size_t i = 0; i < part->equality_count; i++)
    if ((taken >> i & 1) == 0 && is_elements(part->equalities[i]) == column->elements &&
        plan_fields_equal(&part->equalities[i]->field.path, &column->field))
      return i;
  return SIZE_MAX;
}

/* Whether columns[0, count) and the name are the orders, forwards or backwards. */
static bool is_suffix(const struct plan_part *part, const struct index_column *columns, size_t count,
                      enum doc_order name_order, size_t order_count, bool reverse) {
  if (count != order_count || ((name_order == DOC_DESCENDING) != reverse) != part->name_descending)
    return false;
  for (size_t i = 0; i < count; i++)
    if (columns[i].elements || !plan_fields_equal(&columns[i].field, &part->orders[i]->field.path) ||
        ((columns[i].order == DOC_DESCENDING) != reverse) != part->orders[i]->descending)
      return false;
  return true;
}

static status add_composites(struct planner *planner, const struct plan_part *part, size_t order_count,
                             bool reverse, struct candidates *into) {
  const struct index_composite *const *composites;
  size_t count =
      planner->query->collection_id.len == 0
          ? 0
          : index_catalog_composites(planner->options->catalog, planner->query->collection_id, &composites);
  struct candidate *items =
      ARENA_NEW_ARRAY(planner->arena, struct candidate, count + part->equality_count + 1);
  if (items == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  into->items = items;
  for (size_t c = 0; c < count; c++) {
    const struct index_shape *shape = &composites[c]->shape;
    if (composites[c]->state != INDEX_READY || composites[c]->ready_version > planner->options->version ||
        shape->group != planner->query->all_descendants)
      continue;
    struct candidate candidate = {
        .shape = shape,
        .columns = ARENA_NEW_ARRAY(planner->arena, const struct query_filter *, shape->column_count)};
    if (candidate.columns == NULL)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    size_t at = 0, equality;
    for (; at < shape->column_count; at++) {
      equality = equality_on(part, &shape->columns[at], candidate.covers);
      if (equality == SIZE_MAX)
        break;
      candidate.covers |= UINT64_C(1) << equality;
      candidate.columns[at] = part->equalities[equality];
    }
    candidate.equality_columns = at;
    if (is_suffix(part, shape->columns + at, shape->column_count - at, shape->name_order, order_count,
                  reverse))
      items[into->count++] = candidate;
  }
  return status_ok();
}

static status add_equalities(struct planner *planner, const struct plan_part *part, struct candidates *into) {
  for (size_t i = 0; i < part->equality_count; i++) {
    const struct query_filter *equality = part->equalities[i];
    if (!is_usable(planner, &equality->field.path, is_elements(equality)))
      continue;
    struct candidate candidate = {.covers = UINT64_C(1) << i,
                                  .columns = ARENA_NEW_ARRAY(planner->arena, const struct query_filter *, 1),
                                  .equality_columns = 1};
    if (candidate.columns == NULL)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    candidate.columns[0] = equality;
    STATUS_TRY(single_field(planner, &equality->field.path, is_elements(equality), &candidate.shape));
    into->items[into->count++] = candidate;
  }
  return status_ok();
}

/* What has the suffix of the first `order_count` orders and the name. */
static status gather(struct planner *planner, const struct plan_part *part, size_t order_count, bool reverse,
                     struct candidates *ret) {
  *ret = (struct candidates){0};
  STATUS_TRY(add_composites(planner, part, order_count, reverse, ret));
  if (order_count == 0) {
    if (part->name_descending == reverse)
      STATUS_TRY(add_equalities(planner, part, ret));
  } else if (order_count == 1 && part->orders[0]->descending == part->name_descending &&
             part->name_descending == reverse && is_usable(planner, &part->orders[0]->field.path, false)) {
    struct candidate candidate = {0};
    STATUS_TRY(single_field(planner, &part->orders[0]->field.path, false, &candidate.shape));
    ret->items[ret->count++] = candidate;
  }
  return status_ok();
}

/* Puts those first that together cover as much as possible, by always taking the one that covers most of what
 * is left; *ret_count is how many. */
static uint64_t cover(struct candidates *candidates, size_t *ret_count) {
  uint64_t covered = 0;
  size_t used = 0;
  while (used < candidates->count) {
    size_t best = used;
    int best_gain = -1;
    for (size_t i = used; i < candidates->count; i++) {
      int gain = __builtin_popcountll(candidates->items[i].covers & ~covered);
      if (gain > best_gain) {
        best = i;
        best_gain = gain;
      }
    }
    if (best_gain == 0 && used > 0)
      break;
    struct candidate chosen = candidates->items[best];
    candidates->items[best] = candidates->items[used];
    candidates->items[used++] = chosen;
    covered |= chosen.covers;
  }
  *ret_count = used;
  return covered;
}

/* ---- Branches ---- */

static status scan_prefix(struct planner *planner, const struct candidate *candidate, str *ret) {
  const struct query *query = planner->query;
  index_prefix(candidate->shape, &planner->plan->where, query->collection_id, &planner->scratch);
  bool truncated;
  for (size_t i = 0; i < candidate->equality_columns; i++)
    doc_order_encode(&candidate->columns[i]->operand, candidate->shape->columns[i].order, &planner->scratch,
                     &truncated);
  return plan_scratch_take(planner, ret);
}

static status use(struct planner *planner, const struct candidate *chosen, size_t count, bool reverse,
                  struct plan_branch *branch) {
  assert(count > 0);
  struct plan_scan *scans = ARENA_NEW_ARRAY(planner->arena, struct plan_scan, count);
  size_t column_count = chosen[0].shape->column_count - chosen[0].equality_columns;
  enum doc_order *columns = ARENA_NEW_ARRAY(planner->arena, enum doc_order, column_count);
  if (scans == NULL || columns == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < count; i++) {
    scans[i] = (struct plan_scan){.shape = chosen[i].shape, .equality_columns = chosen[i].equality_columns};
    assert(chosen[i].shape->column_count - chosen[i].equality_columns == column_count);
    STATUS_TRY(scan_prefix(planner, &chosen[i], &scans[i].prefix));
  }
  for (size_t i = 0; i < column_count; i++)
    columns[i] = chosen[0].shape->columns[chosen[0].equality_columns + i].order;
  branch->source = PLAN_INDEX;
  branch->reverse = reverse;
  branch->scans = scans;
  branch->scan_count = count;
  branch->columns = columns;
  branch->column_count = column_count;
  return status_ok();
}

static const struct query_filter *constant_of(const struct plan_part *part, const struct query_field *field) {
  for (size_t i = 0; i < part->equality_count; i++)
    if (!is_elements(part->equalities[i]) &&
        plan_fields_equal(&part->equalities[i]->field.path, &field->path))
      return part->equalities[i];
  return NULL;
}

static status order_sources(struct planner *planner, const struct plan_part *part,
                            struct plan_branch *branch) {
  const struct query *query = planner->query;
  struct plan_order_source *sources =
      ARENA_NEW_ARRAY(planner->arena, struct plan_order_source, query->order_count);
  if (sources == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  size_t column = 0;
  bool truncated;
  for (size_t i = 0; i < query->order_count && !query->orders[i].field.is_name; i++) {
    const struct query_filter *equality = constant_of(part, &query->orders[i].field);
    if (equality == NULL) {
      sources[i].column = column++;
      continue;
    }
    sources[i].is_constant = true;
    doc_order_encode(&equality->operand, query->orders[i].descending ? DOC_DESCENDING : DOC_ASCENDING,
                     &planner->scratch, &truncated);
    STATUS_TRY(plan_scratch_take(planner, &sources[i].constant));
  }
  assert(branch->source != PLAN_INDEX || column == branch->column_count);
  branch->order_sources = sources;
  return status_ok();
}

static status use_in_order(struct planner *planner, const struct plan_part *part,
                           const struct candidate *chosen, size_t count, bool reverse,
                           struct plan_branch *branch) {
  STATUS_TRY(use(planner, chosen, count, reverse, branch));
  branch->in_order = true;
  return order_sources(planner, part, branch);
}

/* ---- The rules ---- */

/* Rule 6. */
static status use_place(struct planner *planner, const struct plan_part *part, struct plan_branch *branch) {
  const struct query *query = planner->query;
  branch->in_order = part->order_count == 0;
  branch->reverse = branch->in_order && part->name_descending;
  branch->direct = branch->in_order && part->equality_count == 0 && part->inequality_count == 0;
  if (query->all_descendants && query->collection_id.len > 0 &&
      index_catalog_names_usable(planner->options->catalog, planner->options->version)) {
    struct candidate names = {0};
    struct index_shape *shape = ARENA_NEW(planner->arena, struct index_shape);
    if (shape == NULL)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    *shape = (struct index_shape){.kind = INDEX_GROUP_NAMES, .group = true, .name_order = DOC_ASCENDING};
    names.shape = shape;
    STATUS_TRY(use(planner, &names, 1, branch->reverse, branch));
  } else {
    branch->source = PLAN_DOCUMENTS;
  }
  return branch->in_order ? order_sources(planner, part, branch) : status_ok();
}

/* Rule 5: the first order's field if it has an inequality, or any. */
static status use_inequality(struct planner *planner, const struct plan_part *part,
                             struct plan_branch *branch, bool *ret_used) {
  const struct doc_field_path *field = NULL;
  for (size_t i = 0; i < part->inequality_count; i++) {
    const struct doc_field_path *path = &part->inequalities[i]->field.path;
    if (!is_usable(planner, path, false))
      continue;
    if (field == NULL || (part->order_count > 0 && plan_fields_equal(path, &part->orders[0]->field.path)))
      field = path;
  }
  *ret_used = field != NULL;
  if (field == NULL)
    return status_ok();
  struct candidate candidate = {0};
  STATUS_TRY(single_field(planner, field, false, &candidate.shape));
  return use(planner, &candidate, 1, false, branch);
}

struct choice {
  struct candidates candidates;
  size_t count;
  uint64_t covered;
  bool reverse;
};

/* The better of the two directions. */
static status best_choice(struct planner *planner, const struct plan_part *part, size_t order_count,
                          struct choice *ret) {
  struct choice best = {0};
  for (int reverse = 0; reverse < 2; reverse++) {
    struct choice choice = {.reverse = reverse != 0};
    STATUS_TRY(gather(planner, part, order_count, choice.reverse, &choice.candidates));
    choice.covered = cover(&choice.candidates, &choice.count);
    int gain = __builtin_popcountll(choice.covered) - __builtin_popcountll(best.covered);
    if (choice.count > 0 && (best.count == 0 || gain > 0 || (gain == 0 && choice.count < best.count)))
      best = choice;
  }
  *ret = best;
  return status_ok();
}

status plan_choose(struct planner *planner, const struct plan_part *part, struct plan_branch *branch,
                   uint64_t *ret_covered) {
  struct choice ordered, joined;
  *ret_covered = 0;
  uint64_t all = part->equality_count == 64 ? UINT64_MAX : (UINT64_C(1) << part->equality_count) - 1;
  STATUS_TRY(best_choice(planner, part, part->order_count, &ordered));
  branch->direct = ordered.count > 0 && ordered.covered == all;
  if (branch->direct || (ordered.covered != 0 && (planner->query->has_limit || part->order_count == 0))) {
    *ret_covered = ordered.covered;
    return use_in_order(planner, part, ordered.candidates.items, ordered.count, ordered.reverse, branch);
  }
  if (part->order_count > 0 && part->equality_count > 0) {
    struct plan_part by_name = *part;
    by_name.order_count = 0;
    by_name.name_descending = false; /* what is sorted is read forwards */
    STATUS_TRY(best_choice(planner, &by_name, 0, &joined));
    if (joined.covered != 0) {
      *ret_covered = joined.covered;
      return use(planner, joined.candidates.items, joined.count, joined.reverse, branch);
    }
  }
  if (ordered.count > 0) {
    *ret_covered = ordered.covered;
    return use_in_order(planner, part, ordered.candidates.items, ordered.count, ordered.reverse, branch);
  }
  bool used;
  STATUS_TRY(use_inequality(planner, part, branch, &used));
  return used ? status_ok() : use_place(planner, part, branch);
}
