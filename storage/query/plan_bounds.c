/* Filters and cursors as ranges of bytes.
 *
 * A cut is a place between encodings: before or after all that begin with some bytes. It keeps its meaning
 * when a column is stored descending (bits flipped: what was before is after), which plain bounds do not;
 * they are made at the end. */
#include <assert.h>
#include <math.h>

#include "storage/query/plan_internal.h"

struct cut {
  str bytes;
  bool after;
};

struct interval {
  struct cut lower, upper;
};

struct intervals {
  struct interval *items;
  size_t count;
};

static int cut_compare(struct cut a, struct cut b) {
  size_t shorter = a.bytes.len < b.bytes.len ? a.bytes.len : b.bytes.len;
  int order = str_cmp(str_make(a.bytes.ptr, shorter), str_make(b.bytes.ptr, shorter));
  if (order != 0)
    return order;
  if (a.bytes.len < b.bytes.len) /* b lies within what begins with a's bytes */
    return a.after ? 1 : -1;
  if (a.bytes.len > b.bytes.len)
    return b.after ? -1 : 1;
  return (int)a.after - (int)b.after;
}

static void intersect(struct intervals *set, struct interval with) {
  size_t kept = 0;
  for (size_t i = 0; i < set->count; i++) {
    struct interval item = set->items[i];
    if (cut_compare(with.lower, item.lower) > 0)
      item.lower = with.lower;
    if (cut_compare(with.upper, item.upper) < 0)
      item.upper = with.upper;
    if (cut_compare(item.lower, item.upper) < 0)
      set->items[kept++] = item;
  }
  set->count = kept;
}

/* Takes what begins with `bytes` out of the set, which has room for one more. */
static void punch(struct intervals *set, str bytes) {
  struct cut from = {bytes, false}, to = {bytes, true};
  for (size_t i = 0; i < set->count; i++) {
    struct interval *item = &set->items[i];
    if (cut_compare(item->lower, from) > 0 || cut_compare(to, item->upper) > 0)
      continue;
    struct interval right = {to, item->upper};
    item->upper = from;
    memmove(item + 2, item + 1, (set->count - i - 1) * sizeof *item);
    item[1] = right;
    set->count++;
    break;
  }
  intersect(set, (struct interval){{{0}, false}, {{0}, true}}); /* drops what became empty */
}

/* ---- Values ---- */

static status encode(struct planner *planner, const struct doc_value *value, enum doc_order order, str *ret,
                     bool *ret_truncated) {
  doc_order_encode(value, order, &planner->scratch, ret_truncated);
  return plan_scratch_take(planner, ret);
}

static bool is_nan(const struct doc_value *value) {
  return value->type == DOC_DOUBLE && isnan(value->as.number);
}

static status apply_range(struct planner *planner, const struct query_filter *filter, struct intervals *set,
                          bool *ret_exact) {
  const struct doc_value *operand = &filter->operand;
  bool truncated;
  str value, lower, upper;
  STATUS_TRY(encode(planner, operand, DOC_ASCENDING, &value, &truncated));
  doc_order_type_range(operand, &lower, &upper);
  struct interval range = {{lower, false}, {upper, false}};
  if (is_nan(operand) || operand->type == DOC_NULL) {
    /* Of its whole type, NaN among the numbers; the filter itself says the rest. */
    range.lower.bytes = str_make(lower.ptr, 1);
    intersect(set, range);
    *ret_exact = false;
    return status_ok();
  }
  /* What has the same beginning as a truncated operand may lie on either side of it. */
  if (filter->op == QUERY_LESS)
    range.upper = (struct cut){value, truncated};
  else if (filter->op == QUERY_LESS_OR_EQUAL)
    range.upper = (struct cut){value, true};
  else if (filter->op == QUERY_GREATER)
    range.lower = (struct cut){value, !truncated};
  else
    range.lower = (struct cut){value, false};
  intersect(set, range);
  *ret_exact = !truncated;
  return status_ok();
}

static status apply_hole(struct planner *planner, const struct doc_value *value, struct intervals *set,
                         bool *ret_exact) {
  bool truncated;
  str bytes;
  STATUS_TRY(encode(planner, value, DOC_ASCENDING, &bytes, &truncated));
  if (truncated)
    *ret_exact = false;
  else
    punch(set, bytes);
  return status_ok();
}

/* How many intervals more a filter may make. */
static size_t holes_of(const struct query_filter *filter) {
  return filter->op == QUERY_NOT_IN ? filter->operand.as.array.count + 1 : 2;
}

static status apply_filter(struct planner *planner, const struct query_filter *filter, struct intervals *set,
                           bool *ret_exact) {
  static const struct doc_value null = {.type = DOC_NULL}, nan = {.type = DOC_DOUBLE, .as.number = NAN};
  *ret_exact = true;
  switch (filter->op) {
  case QUERY_LESS:
  case QUERY_LESS_OR_EQUAL:
  case QUERY_GREATER:
  case QUERY_GREATER_OR_EQUAL:
    return apply_range(planner, filter, set, ret_exact);
  case QUERY_NOT_EQUAL:
    STATUS_TRY(apply_hole(planner, &null, set, ret_exact));
    return apply_hole(planner, &filter->operand, set, ret_exact);
  case QUERY_NOT_IN:
    STATUS_TRY(apply_hole(planner, &null, set, ret_exact));
    for (size_t i = 0; i < filter->operand.as.array.count; i++) {
      const struct doc_value *item = &filter->operand.as.array.items[i];
      STATUS_TRY(apply_hole(planner, item, set, ret_exact));
      if (item->type == DOC_NULL)
        *ret_exact = false;
    }
    return status_ok();
  case QUERY_IS_NOT_NULL:
    return apply_hole(planner, &null, set, ret_exact);
  case QUERY_IS_NOT_NAN:
    STATUS_TRY(apply_hole(planner, &null, set, ret_exact));
    return apply_hole(planner, &nan, set, ret_exact);
  case QUERY_EQUAL:
  case QUERY_IN:
  case QUERY_ARRAY_CONTAINS:
  case QUERY_ARRAY_CONTAINS_ANY:
  case QUERY_IS_NULL:
  case QUERY_IS_NAN:
    *ret_exact = false;
    return status_ok();
  }
  return status_ok();
}

/* The values of a column that the inequalities leave, ascending. */
static status value_intervals(struct planner *planner, const struct plan_part *part,
                              const struct doc_field_path *field, struct intervals *ret, bool *exact) {
  size_t room = 1;
  for (size_t i = 0; i < part->inequality_count; i++)
    if (plan_fields_equal(&part->inequalities[i]->field.path, field))
      room += holes_of(part->inequalities[i]);
  struct intervals set = {ARENA_NEW_ARRAY(planner->arena, struct interval, room), 1};
  if (set.items == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  set.items[0] = (struct interval){{{0}, false}, {{0}, true}};
  for (size_t i = 0; i < part->inequality_count; i++)
    if (plan_fields_equal(&part->inequalities[i]->field.path, field))
      STATUS_TRY(apply_filter(planner, part->inequalities[i], &set, &exact[i]));
  assert(set.count <= room);
  *ret = set;
  return status_ok();
}

/* ---- Plain bounds ---- */

/* The smallest bytes after all that begin with `bytes`. False if there are none. */
static status after_prefix(struct planner *planner, str bytes, bool *ret_any, str *ret) {
  size_t len = bytes.len;
  while (len > 0 && (unsigned char)bytes.ptr[len - 1] == 0xFF)
    len--;
  *ret_any = len > 0;
  if (len == 0)
    return status_ok();
  buf_append(&planner->scratch, bytes.ptr, len);
  if (!planner->scratch.failed)
    planner->scratch.data[len - 1]++;
  return plan_scratch_take(planner, ret);
}

static status after_key(struct planner *planner, str key, str *ret) {
  buf_append_str(&planner->scratch, key);
  buf_append_byte(&planner->scratch, 0);
  return plan_scratch_take(planner, ret);
}

/* Narrows a range. An empty `lower` bounds nothing; neither does an empty `upper`. */
static void narrow(struct plan_range *range, struct plan_range by) {
  if (str_cmp(by.lower, range->lower) > 0)
    range->lower = by.lower;
  if (by.upper.len > 0 && (range->upper.len == 0 || str_cmp(by.upper, range->upper) < 0))
    range->upper = by.upper;
}

static bool is_empty(struct plan_range range) {
  return range.upper.len > 0 && str_cmp(range.lower, range.upper) >= 0;
}

/* Bytes that no suffix and no key is less than: as both bounds, an empty range. */
static const struct plan_range nothing = {{"\0", 1}, {"\0", 1}};

/* Flips bits where a column is stored descending. */
static status stored(struct planner *planner, str bytes, bool flip, str *ret) {
  if (!flip) {
    *ret = bytes;
    return status_ok();
  }
  buf_append_str(&planner->scratch, bytes);
  if (!planner->scratch.failed)
    for (size_t i = 0; i < bytes.len; i++)
      planner->scratch.data[i] = (uint8_t)~planner->scratch.data[i];
  return plan_scratch_take(planner, ret);
}

static status interval_range(struct planner *planner, struct interval interval, bool descending,
                             struct plan_range *ret) {
  struct cut lower = interval.lower, upper = interval.upper;
  if (descending) {
    lower = (struct cut){interval.upper.bytes, !interval.upper.after};
    upper = (struct cut){interval.lower.bytes, !interval.lower.after};
  }
  bool any = true;
  STATUS_TRY(stored(planner, lower.bytes, descending, &lower.bytes));
  STATUS_TRY(stored(planner, upper.bytes, descending, &upper.bytes));
  struct plan_range range = {lower.bytes, upper.bytes};
  if (lower.after)
    STATUS_TRY(after_prefix(planner, lower.bytes, &any, &range.lower));
  if (!any || (!upper.after && upper.bytes.len == 0)) {
    *ret = nothing;
    return status_ok();
  }
  if (upper.after) {
    STATUS_TRY(after_prefix(planner, upper.bytes, &any, &range.upper));
    if (!any)
      range.upper = (str){0};
  }
  *ret = range;
  return status_ok();
}

/* ---- Names ---- */

static status key_of(struct planner *planner, str name, str *ret) {
  struct doc_path path;
  STATUS_TRY(doc_path_parse(name, &path));
  return doc_key_from_path(&path, planner->arena, ret);
}

static status exclude(struct planner *planner, const struct doc_value *value, struct plan_part *part) {
  if (value->type != DOC_REFERENCE)
    return status_ok();
  return key_of(planner, value->as.text, &part->excluded_keys[part->excluded_key_count++]);
}

static status bound_by_name(struct planner *planner, const struct query_filter *filter,
                            struct plan_part *part) {
  struct plan_range range = {{0}, {0}};
  str key, after;
  if (filter->op == QUERY_NOT_EQUAL)
    return exclude(planner, &filter->operand, part);
  if (filter->op == QUERY_NOT_IN) {
    for (size_t i = 0; i < filter->operand.as.array.count; i++)
      STATUS_TRY(exclude(planner, &filter->operand.as.array.items[i], part));
    return status_ok();
  }
  if (filter->op == QUERY_IS_NOT_NULL || filter->op == QUERY_IS_NOT_NAN)
    return status_ok();
  if (filter->operand.type != DOC_REFERENCE || filter->op == QUERY_ARRAY_CONTAINS) {
    part->keys = nothing;
    return status_ok();
  }
  STATUS_TRY(key_of(planner, filter->operand.as.text, &key));
  STATUS_TRY(after_key(planner, key, &after));
  if (filter->op == QUERY_EQUAL || filter->op == QUERY_GREATER_OR_EQUAL)
    range.lower = key;
  if (filter->op == QUERY_GREATER)
    range.lower = after;
  if (filter->op == QUERY_EQUAL || filter->op == QUERY_LESS_OR_EQUAL)
    range.upper = after;
  if (filter->op == QUERY_LESS)
    range.upper = key;
  narrow(&part->keys, range);
  return status_ok();
}

status plan_name_bounds(struct planner *planner, const struct query_filter *const *filters, size_t count,
                        struct plan_part *part) {
  size_t excluded = 0;
  part->keys = (struct plan_range){planner->plan->place.lower, planner->plan->place.upper};
  part->bounds_names = planner->query->all_descendants && planner->query->parent.segment_count > 0;
  for (size_t i = 0; i < count; i++) {
    if (!filters[i]->field.is_name)
      continue;
    part->bounds_names = true;
    if (filters[i]->op == QUERY_NOT_EQUAL)
      excluded++;
    else if (filters[i]->op == QUERY_NOT_IN)
      excluded += filters[i]->operand.as.array.count;
  }
  part->excluded_keys = ARENA_NEW_ARRAY(planner->arena, str, excluded);
  if (part->excluded_keys == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < count; i++)
    if (filters[i]->field.is_name)
      STATUS_TRY(bound_by_name(planner, filters[i], part));
  return status_ok();
}

/* Bounds of keys as bounds of what follows `where` in them. */
static struct plan_range below(struct plan_range keys, str where) {
  struct plan_range range = {{0}, {0}};
  if (str_has_prefix(keys.lower, where))
    range.lower = str_from(keys.lower, where.len);
  else if (str_cmp(keys.lower, where) > 0)
    return nothing;
  if (keys.upper.len == 0)
    return range;
  if (str_has_prefix(keys.upper, where)) {
    if (keys.upper.len == where.len)
      return nothing;
    range.upper = str_from(keys.upper, where.len);
  } else if (str_cmp(keys.upper, where) < 0) {
    return nothing;
  }
  return range;
}

/* ---- Cursors ---- */

/* A place in the query's order: before or after everything that begins with the bytes. */
struct position {
  str bytes;
  bool after;
  bool is_complete; /* the bytes are those of one document */
};

/* Appends the document's part: what follows `where`. False: the document lies outside of it, after it
 * (*ret_after) or before it in the order of keys. */
static bool put_document(struct planner *planner, str key, str where, bool descending, bool *ret_after) {
  if (!str_has_prefix(key, where)) {
    *ret_after = str_cmp(key, where) > 0;
    return false;
  }
  size_t start = planner->scratch.len;
  buf_append_str(&planner->scratch, str_from(key, where.len));
  if (descending) {
    buf_append_byte(&planner->scratch, 0);
    if (!planner->scratch.failed)
      for (size_t i = start; i < planner->scratch.len; i++)
        planner->scratch.data[i] = (uint8_t)~planner->scratch.data[i];
  }
  return true;
}

/* In a branch's suffixes, or keys of documents, as they are stored. */
static status cursor_position(struct planner *planner, const struct plan_branch *branch,
                              const struct query_cursor *cursor, struct position *ret) {
  const struct query *query = planner->query;
  str where = branch->source == PLAN_DOCUMENTS ? (str){0} : planner->plan->where_key;
  struct position position = {.after = !cursor->before};
  struct buf *out = &planner->scratch;
  bool truncated;
  for (size_t i = 0; i < cursor->count && i < query->order_count; i++) {
    const struct query_order *order = &query->orders[i];
    if (order->field.is_name) {
      str key;
      bool after;
      STATUS_TRY(key_of(planner, cursor->values[i].as.text, &key));
      position.is_complete = put_document(planner, key, where, order->descending != branch->reverse, &after);
      if (!position.is_complete)
        position.after = after != order->descending;
      break;
    }
    const struct plan_order_source *source = &branch->order_sources[i];
    if (!source->is_constant) {
      doc_order_encode(&cursor->values[i], branch->columns[source->column], out, &truncated);
      continue;
    }
    size_t start = out->len;
    doc_order_encode(&cursor->values[i], order->descending ? DOC_DESCENDING : DOC_ASCENDING, out, &truncated);
    if (out->failed)
      break;
    int compared = str_cmp(source->constant, str_make(out->data + start, out->len - start));
    out->len = start;
    if (compared != 0) {
      position.after = compared < 0;
      break;
    }
  }
  STATUS_TRY(plan_scratch_take(planner, &position.bytes));
  *ret = position;
  return status_ok();
}

/* As a plain bound of stored bytes. */
static status position_bound(struct planner *planner, struct position position, bool reverse, bool is_lower,
                             struct plan_range *ret) {
  bool any = true;
  str bound = position.bytes;
  if (position.after != reverse) {
    if (position.is_complete)
      STATUS_TRY(after_key(planner, position.bytes, &bound));
    else
      STATUS_TRY(after_prefix(planner, position.bytes, &any, &bound));
  } else if (bound.len == 0 && !is_lower) {
    *ret = nothing;
    return status_ok();
  }
  if (!any)
    *ret = is_lower ? nothing : (struct plan_range){{0}, {0}};
  else
    *ret = is_lower ? (struct plan_range){bound, {0}} : (struct plan_range){{0}, bound};
  return status_ok();
}

static status cursor_range(struct planner *planner, const struct plan_branch *branch,
                           struct plan_range *ret) {
  struct plan_range range = {{0}, {0}}, bound;
  struct position position;
  if (planner->query->start.count > 0) {
    STATUS_TRY(cursor_position(planner, branch, &planner->query->start, &position));
    STATUS_TRY(position_bound(planner, position, branch->reverse, !branch->reverse, &bound));
    narrow(&range, bound);
  }
  if (planner->query->end.count > 0) {
    STATUS_TRY(cursor_position(planner, branch, &planner->query->end, &position));
    STATUS_TRY(position_bound(planner, position, branch->reverse, branch->reverse, &bound));
    narrow(&range, bound);
  }
  *ret = range;
  return status_ok();
}

static status sort_position(struct planner *planner, const struct query_cursor *cursor,
                            struct position *ret) {
  struct buf *out = &planner->scratch;
  bool truncated;
  for (size_t i = 0; i < cursor->count && i < planner->query->order_count; i++) {
    const struct query_order *order = &planner->query->orders[i];
    if (!order->field.is_name) {
      doc_order_encode(&cursor->values[i], order->descending ? DOC_DESCENDING : DOC_ASCENDING, out,
                       &truncated);
      continue;
    }
    str key;
    STATUS_TRY(key_of(planner, cursor->values[i].as.text, &key));
    plan_put_sort_name(key, order->descending, out);
  }
  *ret = (struct position){.after = !cursor->before};
  return plan_scratch_take(planner, &ret->bytes);
}

status plan_sort_cursors(struct planner *planner, struct plan_range *ret, bool *ret_nothing) {
  struct plan_range range = {{0}, {0}}, bound;
  struct position position;
  if (planner->query->start.count > 0) {
    STATUS_TRY(sort_position(planner, &planner->query->start, &position));
    STATUS_TRY(position_bound(planner, position, false, true, &bound));
    narrow(&range, bound);
  }
  if (planner->query->end.count > 0) {
    STATUS_TRY(sort_position(planner, &planner->query->end, &position));
    STATUS_TRY(position_bound(planner, position, false, false, &bound));
    narrow(&range, bound);
  }
  *ret = range;
  *ret_nothing = is_empty(range);
  return status_ok();
}

/* ---- A branch ---- */

status plan_ranges(struct planner *planner, const struct plan_part *part,
                   const struct doc_field_path *first_field, struct plan_branch *branch, bool *exact) {
  struct intervals intervals = {NULL, 1};
  if (first_field != NULL)
    STATUS_TRY(value_intervals(planner, part, first_field, &intervals, exact));
  struct plan_range *ranges = ARENA_NEW_ARRAY(planner->arena, struct plan_range, intervals.count);
  if (ranges == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  branch->checks_keys = part->bounds_names;
  branch->keys = part->keys;
  branch->excluded_keys = part->excluded_keys;
  branch->excluded_key_count = part->excluded_key_count;

  bool by_name = branch->source == PLAN_DOCUMENTS || branch->column_count == 0;
  bool is_ascending = branch->source == PLAN_DOCUMENTS || branch->scans[0].shape->name_order == DOC_ASCENDING;
  struct plan_range cursors = {{0}, {0}};
  if (branch->in_order)
    STATUS_TRY(cursor_range(planner, branch, &cursors));
  size_t kept = 0;
  for (size_t i = 0; i < intervals.count; i++) {
    bool descending = branch->column_count > 0 && branch->columns[0] == DOC_DESCENDING;
    struct plan_range range = {{0}, {0}};
    if (first_field != NULL)
      STATUS_TRY(interval_range(planner, intervals.items[descending ? intervals.count - 1 - i : i],
                                descending, &range));
    else if (branch->source == PLAN_DOCUMENTS)
      range = part->keys;
    else if (by_name && is_ascending)
      range = below(part->keys, planner->plan->where_key);
    narrow(&range, cursors);
    if (!is_empty(range))
      ranges[kept++] = range;
  }
  if (by_name && is_ascending)
    branch->checks_keys = part->excluded_key_count > 0;
  branch->ranges = ranges;
  branch->range_count = kept;
  if (kept == 0 || is_empty(part->keys))
    branch->source = PLAN_NOTHING;
  return status_ok();
}
