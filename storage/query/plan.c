#include "storage/query/plan.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/query/plan_internal.h"

status plan_scratch_take(struct planner *planner, str *ret) {
  str copy = planner->scratch.failed ? (str){0} : arena_str_copy(planner->arena, buf_str(&planner->scratch));
  if (copy.ptr == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  buf_clear(&planner->scratch);
  *ret = copy;
  return status_ok();
}

bool plan_fields_equal(const struct doc_field_path *a, const struct doc_field_path *b) {
  return doc_field_path_compare(a, b) == 0;
}

void plan_put_sort_name(str key, bool descending, struct buf *out) {
  size_t start = out->len;
  buf_append_str(out, key);
  buf_append_byte(out, 0);
  if (descending && !out->failed)
    for (size_t i = start; i < out->len; i++)
      out->data[i] = (uint8_t)~out->data[i];
}

/* ---- The place ---- */

static struct doc_path root_of(const struct doc_path *path) {
  struct doc_path root = *path;
  if (path->segment_count == 0)
    return root;
  root.name.len = (size_t)(path->relative.ptr - path->name.ptr) - 1;
  root.relative = (str){0};
  root.segment_count = 0;
  return root;
}

static status find_place(struct planner *planner) {
  const struct query *query = planner->query;
  struct query_plan *plan = planner->plan;
  if (query->collection_id.len > 0 && !query->all_descendants) {
    STATUS_TRY(doc_path_child(&query->parent, query->collection_id, (str){0}, planner->arena, &plan->where));
    STATUS_TRY(doc_key_children_range(&query->parent, query->collection_id, planner->arena, &plan->place));
    STATUS_TRY(doc_key_from_path(&plan->where, planner->arena, &plan->where_key));
    plan->place_key = plan->where_key;
    return status_ok();
  }
  plan->where = root_of(&query->parent);
  STATUS_TRY(doc_key_from_path(&plan->where, planner->arena, &plan->where_key));
  STATUS_TRY(doc_key_from_path(&query->parent, planner->arena, &plan->place_key));
  return doc_key_descendants_range(&query->parent, planner->arena, &plan->place);
}

/* ---- One conjunction ---- */

static bool has_name_filter(const struct query_conjunction *conjunction) {
  for (size_t i = 0; i < conjunction->filter_count; i++)
    if (conjunction->filters[i]->field.is_name)
      return true;
  return false;
}

static bool is_constant(const struct plan_part *part, const struct doc_field_path *field) {
  for (size_t i = 0; i < part->equality_count; i++)
    if (part->equalities[i]->op == QUERY_EQUAL && plan_fields_equal(&part->equalities[i]->field.path, field))
      return true;
  return false;
}

static status part_make(struct planner *planner, const struct query_conjunction *conjunction,
                        struct plan_part *part) {
  const struct query *query = planner->query;
  *part = (struct plan_part){0};
  part->inequalities =
      ARENA_NEW_ARRAY(planner->arena, const struct query_filter *, conjunction->filter_count);
  part->orders = ARENA_NEW_ARRAY(planner->arena, const struct query_order *, query->order_count);
  if (part->inequalities == NULL || part->orders == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < conjunction->filter_count; i++) {
    const struct query_filter *filter = conjunction->filters[i];
    assert(filter->kind == QUERY_FIELD_FILTER);
    if (filter->field.is_name)
      continue;
    if ((filter->op == QUERY_EQUAL || filter->op == QUERY_ARRAY_CONTAINS) &&
        part->equality_count < PLAN_EQUALITIES_MAX)
      part->equalities[part->equality_count++] = filter;
    else
      part->inequalities[part->inequality_count++] = filter;
  }
  for (size_t i = 0; i < query->order_count; i++) {
    if (query->orders[i].field.is_name) {
      part->name_descending = query->orders[i].descending;
      break;
    }
    if (!is_constant(part, &query->orders[i].field.path))
      part->orders[part->order_count++] = &query->orders[i];
  }
  return plan_name_bounds(planner, conjunction->filters, conjunction->filter_count, part);
}

static bool is_truncated(struct planner *planner, const struct doc_value *value) {
  bool truncated = false;
  doc_order_encode(value, DOC_ASCENDING, &planner->scratch, &truncated);
  buf_clear(&planner->scratch);
  return truncated;
}

/* The field whose values the first column of the suffix has. */
static const struct doc_field_path *first_field(const struct plan_branch *branch) {
  if (branch->source != PLAN_INDEX || branch->column_count == 0)
    return NULL;
  return &branch->scans[0].shape->columns[branch->scans[0].equality_columns].field;
}

static bool in_suffix(const struct plan_branch *branch, const struct doc_field_path *field) {
  if (branch->source != PLAN_INDEX)
    return false;
  const struct plan_scan *scan = &branch->scans[0];
  for (size_t i = scan->equality_columns; i < scan->shape->column_count; i++)
    if (plan_fields_equal(&scan->shape->columns[i].field, field))
      return true;
  return false;
}

/* What the documents have to be read for. */
static status leave_rest(struct planner *planner, const struct plan_part *part, uint64_t covered,
                         const bool *exact, struct plan_branch *branch) {
  const struct query_filter **filters = ARENA_NEW_ARRAY(planner->arena, const struct query_filter *,
                                                        part->equality_count + part->inequality_count);
  const struct doc_field_path **existing =
      ARENA_NEW_ARRAY(planner->arena, const struct doc_field_path *, planner->query->order_count);
  if (filters == NULL || existing == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < part->equality_count; i++)
    if ((covered >> i & 1) == 0 || is_truncated(planner, &part->equalities[i]->operand))
      filters[branch->filter_count++] = part->equalities[i];
  for (size_t i = 0; i < part->inequality_count; i++)
    if (!exact[i])
      filters[branch->filter_count++] = part->inequalities[i];
  for (size_t i = 0; i < part->order_count; i++)
    if (!in_suffix(branch, &part->orders[i]->field.path))
      existing[branch->existing_count++] = &part->orders[i]->field.path;
  branch->filters = filters;
  branch->existing = existing;
  return status_ok();
}

static status branch_make(struct planner *planner, const struct plan_part *part, struct plan_branch *branch) {
  uint64_t covered;
  *branch = (struct plan_branch){0};
  bool *exact = ARENA_NEW_ARRAY(planner->arena, bool, part->inequality_count);
  if (exact == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  STATUS_TRY(plan_choose(planner, part, branch, &covered));
  STATUS_TRY(plan_ranges(planner, part, first_field(branch), branch, exact));
  return leave_rest(planner, part, covered, exact, branch);
}

static bool is_whole_place(const struct plan_branch *branch) {
  return branch->source == PLAN_DOCUMENTS ||
         (branch->source == PLAN_INDEX && branch->scans[0].shape->kind == INDEX_GROUP_NAMES);
}

/* ---- All of them ---- */

static bool filters_names(const struct query_filter *filter) {
  if (filter->kind == QUERY_FIELD_FILTER)
    return filter->field.is_name;
  for (size_t i = 0; i < filter->filter_count; i++)
    if (filters_names(&filter->filters[i]))
      return true;
  return false;
}

/* Instead of several branches of which one reads the whole place anyway: one that checks all filters. */
static status collapse(struct planner *planner, struct plan_branch *branches, size_t *count) {
  static const struct query_conjunction none = {NULL, 0};
  const struct query_filter **filters = ARENA_NEW_ARRAY(planner->arena, const struct query_filter *, 1);
  if (filters == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  struct plan_part part;
  STATUS_TRY(part_make(planner, &none, &part));
  /* Orders have no constants here; use_place needs no index but the place's. */
  STATUS_TRY(branch_make(planner, &part, &branches[0]));
  filters[0] = planner->query->where;
  branches[0].filters = filters;
  branches[0].filter_count = 1;
  branches[0].filters_names = filters_names(planner->query->where);
  *count = 1;
  return status_ok();
}

static status add_missing(struct planner *planner, const struct plan_part *part,
                          const struct plan_branch *branch) {
  if (branch->direct || planner->plan->missing.len > 0 || planner->query->collection_id.len == 0)
    return status_ok();
  STATUS_TRY(plan_missing_index(planner, part, &planner->plan->missing));
  if (planner->options->mode == QUERY_STRICT)
    return status_make(
        STATUS_FAILED_PRECONDITION,
        "The query requires an index. Add it to \"indexes\" in firestore.indexes.json: " STR_FMT,
        STR_ARG(planner->plan->missing));
  return status_ok();
}

static status branches_make(struct planner *planner) {
  const struct query *query = planner->query;
  struct plan_branch *branches =
      ARENA_NEW_ARRAY(planner->arena, struct plan_branch, query->conjunction_count + 1);
  if (branches == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  size_t count = 0;
  bool reads_all = false;
  for (size_t i = 0; i < query->conjunction_count; i++) {
    struct plan_part part;
    STATUS_TRY(part_make(planner, &query->conjunctions[i], &part));
    STATUS_TRY(branch_make(planner, &part, &branches[count]));
    STATUS_TRY(add_missing(planner, &part, &branches[count]));
    reads_all = reads_all || (is_whole_place(&branches[count]) && !has_name_filter(&query->conjunctions[i]));
    if (branches[count].source != PLAN_NOTHING)
      count++;
  }
  if (reads_all && count > 1)
    STATUS_TRY(collapse(planner, branches, &count));
  planner->plan->branches = branches;
  planner->plan->branch_count = count;
  for (size_t i = 0; i < count; i++)
    planner->plan->sorts = planner->plan->sorts || !branches[i].in_order;
  if (planner->options->any_order && count == 1)
    planner->plan->sorts = false;
  bool nothing = false;
  if (planner->plan->sorts)
    STATUS_TRY(plan_sort_cursors(planner, &planner->plan->cursors, &nothing));
  if (nothing)
    planner->plan->branch_count = 0;
  return status_ok();
}

/* ---- Fields to decode ---- */

static int compare_names(const void *a, const void *b) {
  return str_cmp(*(const str *)a, *(const str *)b);
}

static size_t filter_fields(const struct query_filter *filter, str *into) {
  if (filter->kind == QUERY_FIELD_FILTER) {
    if (filter->field.is_name)
      return 0;
    if (into != NULL)
      *into = filter->field.path.segments[0];
    return 1;
  }
  size_t count = 0;
  for (size_t i = 0; i < filter->filter_count; i++)
    count += filter_fields(&filter->filters[i], into == NULL ? NULL : into + count);
  return count;
}

static size_t branch_fields(const struct query_plan *plan, const struct plan_branch *branch, str *into) {
  size_t count = 0;
  for (size_t i = 0; i < branch->filter_count; i++)
    count += filter_fields(branch->filters[i], into == NULL ? NULL : into + count);
  for (size_t i = 0; i < branch->existing_count; i++, count++)
    if (into != NULL)
      into[count] = branch->existing[i]->segments[0];
  for (size_t i = 0; plan->sorts && i < plan->query->order_count; i++) {
    if (plan->query->orders[i].field.is_name)
      continue;
    if (into != NULL)
      into[count] = plan->query->orders[i].field.path.segments[0];
    count++;
  }
  return count;
}

static status list_fields(struct planner *planner, struct plan_branch *branch) {
  size_t count = branch_fields(planner->plan, branch, NULL), kept = 0;
  str *names = ARENA_NEW_ARRAY(planner->arena, str, count);
  if (names == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  branch_fields(planner->plan, branch, names);
  if (count > 1)
    qsort(names, count, sizeof *names, compare_names);
  for (size_t i = 0; i < count; i++)
    if (kept == 0 || !str_eq(names[i], names[kept - 1]))
      names[kept++] = names[i];
  branch->decoded = names;
  branch->decoded_count = kept;
  return status_ok();
}

static status plan_fill(struct planner *planner) {
  STATUS_TRY(find_place(planner));
  STATUS_TRY(branches_make(planner));
  for (size_t i = 0; i < planner->plan->branch_count; i++)
    STATUS_TRY(list_fields(planner, (struct plan_branch *)(uintptr_t)&planner->plan->branches[i]));
  return plan_describe(planner);
}

status query_plan_make(const struct query *query, const struct plan_options *options, struct arena *arena,
                       struct query_plan **ret) {
  struct query_plan *plan = ARENA_NEW(arena, struct query_plan);
  if (plan == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  assert(query->order_count > 0 && query->orders[query->order_count - 1].field.is_name);
  plan->query = query;
  struct planner planner = {.query = query, .options = options, .arena = arena, .plan = plan};
  status result = plan_fill(&planner);
  buf_fini(&planner.scratch);
  if (status_is_ok(&result))
    *ret = plan;
  return result;
}
