/* Plans for people: the indexes used (explain), the index that is missing, and one line for tests. */
#include "storage/query/plan_internal.h"

static const char *direction(bool descending) {
  return descending ? "DESC" : "ASC";
}

static void put_field(struct planner *planner, const struct doc_field_path *field, struct buf *out) {
  str text = doc_field_path_format(field, planner->arena);
  if (text.ptr == NULL)
    out->failed = true;
  buf_append_str(out, text);
}

/* "(customer ASC, time DESC, __name__ DESC)", as they are read. */
static void put_properties(struct planner *planner, const struct index_shape *shape, bool reverse,
                           struct buf *out) {
  buf_append_byte(out, '(');
  for (size_t i = 0; i < shape->column_count; i++) {
    put_field(planner, &shape->columns[i].field, out);
    buf_append_str(out, STR(" "));
    buf_append_str(out,
                   shape->columns[i].elements
                       ? STR("CONTAINS")
                       : str_from_cstr(direction((shape->columns[i].order == DOC_DESCENDING) != reverse)));
    buf_append_str(out, STR(", "));
  }
  buf_append_str(out, STR("__name__ "));
  buf_append_str(out, str_from_cstr(direction((shape->name_order == DOC_DESCENDING) != reverse)));
  buf_append_byte(out, ')');
}

static str scope_of(const struct query *query) {
  return query->collection_id.len == 0 ? STR("Database")
         : query->all_descendants      ? STR("Collection Group")
                                       : STR("Collection");
}

static status describe_scan(struct planner *planner, const struct index_shape *shape, bool reverse,
                            struct query_used_index *into, size_t *count) {
  str properties;
  put_properties(planner, shape, reverse, &planner->scratch);
  STATUS_TRY(plan_scratch_take(planner, &properties));
  for (size_t i = 0; i < *count; i++)
    if (str_eq(into[i].properties, properties))
      return status_ok();
  into[(*count)++] = (struct query_used_index){scope_of(planner->query), properties};
  return status_ok();
}

status plan_describe(struct planner *planner) {
  static const struct index_shape documents = {.kind = INDEX_GROUP_NAMES, .name_order = DOC_ASCENDING};
  struct query_plan *plan = planner->plan;
  size_t total = 0, count = 0;
  for (size_t i = 0; i < plan->branch_count; i++)
    total += plan->branches[i].source == PLAN_INDEX ? plan->branches[i].scan_count : 1;
  struct query_used_index *used = ARENA_NEW_ARRAY(planner->arena, struct query_used_index, total);
  if (used == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < plan->branch_count; i++) {
    const struct plan_branch *branch = &plan->branches[i];
    if (branch->source == PLAN_DOCUMENTS)
      STATUS_TRY(describe_scan(planner, &documents, branch->reverse, used, &count));
    for (size_t k = 0; k < branch->scan_count; k++)
      STATUS_TRY(describe_scan(planner, branch->scans[k].shape, branch->reverse, used, &count));
  }
  plan->used = used;
  plan->used_count = count;
  return status_ok();
}

/* ---- The missing index ---- */

static void put_json(str text, struct buf *out) {
  static const char hex[] = "0123456789abcdef";
  buf_append_byte(out, '"');
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i];
    if (c < 0x20) {
      buf_append_str(out, STR("\\u00"));
      buf_append_byte(out, (uint8_t)hex[c >> 4]);
      buf_append_byte(out, (uint8_t)hex[c & 15]);
      continue;
    }
    if (c == '"' || c == '\\')
      buf_append_byte(out, '\\');
    buf_append_byte(out, c);
  }
  buf_append_byte(out, '"');
}

static status put_json_field(struct planner *planner, const struct doc_field_path *field, const char *how,
                             bool *first) {
  str text = doc_field_path_format(field, planner->arena);
  if (text.ptr == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  struct buf *out = &planner->scratch;
  buf_append_str(out, *first ? STR("{\"fieldPath\":") : STR(",{\"fieldPath\":"));
  put_json(text, out);
  buf_append_str(out, str_from_cstr(how));
  *first = false;
  return status_ok();
}

static bool is_listed(const struct plan_part *part, size_t before, const struct query_filter *filter) {
  for (size_t i = 0; i < before; i++)
    if (part->equalities[i]->op == filter->op &&
        plan_fields_equal(&part->equalities[i]->field.path, &filter->field.path))
      return true;
  return false;
}

status plan_missing_index(struct planner *planner, const struct plan_part *part, str *ret) {
  struct buf *out = &planner->scratch;
  bool first = true;
  buf_append_str(out, STR("{\"collectionGroup\":"));
  put_json(planner->query->collection_id, out);
  buf_append_str(out, planner->query->all_descendants
                          ? STR(",\"queryScope\":\"COLLECTION_GROUP\",\"fields\":[")
                          : STR(",\"queryScope\":\"COLLECTION\",\"fields\":["));
  for (size_t i = 0; i < part->equality_count; i++)
    if (!is_listed(part, i, part->equalities[i]))
      STATUS_TRY(put_json_field(planner, &part->equalities[i]->field.path,
                                part->equalities[i]->op == QUERY_ARRAY_CONTAINS
                                    ? ",\"arrayConfig\":\"CONTAINS\"}"
                                    : ",\"order\":\"ASCENDING\"}",
                                &first));
  for (size_t i = 0; i < part->order_count; i++)
    STATUS_TRY(put_json_field(
        planner, &part->orders[i]->field.path,
        part->orders[i]->descending ? ",\"order\":\"DESCENDING\"}" : ",\"order\":\"ASCENDING\"}", &first));
  /* The name follows the last column's direction; where the query wants another, it is said. */
  bool last_descending = part->order_count > 0 && part->orders[part->order_count - 1]->descending;
  if (part->name_descending != last_descending) {
    buf_append_str(out, STR(",{\"fieldPath\":\"__name__\",\"order\":"));
    buf_append_str(out, part->name_descending ? STR("\"DESCENDING\"}") : STR("\"ASCENDING\"}"));
  }
  buf_append_str(out, STR("]}"));
  return plan_scratch_take(planner, ret);
}

/* ---- One line ---- */

static void put_branch(struct planner *planner, const struct plan_branch *branch, struct buf *out) {
  if (branch->source == PLAN_DOCUMENTS)
    buf_append_str(out, STR("documents"));
  for (size_t i = 0; i < branch->scan_count; i++) {
    const struct plan_scan *scan = &branch->scans[i];
    if (i > 0)
      buf_append_str(out, STR(" join "));
    if (scan->shape->column_count == 0)
      buf_append_str(out, STR("names"));
    for (size_t k = 0; k < scan->shape->column_count; k++) {
      const struct index_column *column = &scan->shape->columns[k];
      if (k > 0)
        buf_append_byte(out, ',');
      put_field(planner, &column->field, out);
      buf_append_str(out, column->elements                  ? STR("[]")
                          : k < scan->equality_columns      ? STR("=")
                          : column->order == DOC_DESCENDING ? STR("-")
                                                            : STR("+"));
    }
  }
  if (branch->range_count > 1)
    buf_printf(out, " ranges %zu", branch->range_count);
  if (branch->reverse)
    buf_append_str(out, STR(" backwards"));
  if (branch->filter_count > 0)
    buf_printf(out, " filter %zu", branch->filter_count);
}

status query_plan_format(const struct query_plan *plan, struct arena *arena, str *ret) {
  struct planner planner = {.query = plan->query, .arena = arena};
  struct buf *out = &planner.scratch;
  if (plan->branch_count == 0)
    buf_append_str(out, STR("nothing"));
  for (size_t i = 0; i < plan->branch_count; i++) {
    if (i > 0)
      buf_append_str(out, STR(" or "));
    put_branch(&planner, &plan->branches[i], out);
  }
  if (plan->sorts)
    buf_append_str(out, STR(" sort"));
  status result = plan_scratch_take(&planner, ret);
  buf_fini(&planner.scratch);
  return result;
}
