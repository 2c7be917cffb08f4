#include "storage/document/transform.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/limits.h"
#include "storage/document/value_order.h"

/* A step of the plan: one transform, with its place in the caller's order. Steps are sorted by path and then
 * by that place, so what happens in one map stands together, and what happens to one field in order. */
struct doc_transform_step {
  const struct doc_transform *transform;
  size_t index;
  size_t operand_weight; /* of the heaviest item of an array transform's operand */
};

static status exhausted(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED,
                     "The transforms and documents of one request take too much memory. Split it.");
}

static bool is_number(const struct doc_value *value) {
  return value->type == DOC_INTEGER || value->type == DOC_DOUBLE;
}

/* ---- The plan ---- */

static int compare_steps(const void *left, const void *right) {
  const struct doc_transform_step *a = left, *b = right;
  int order = doc_field_path_compare(&a->transform->path, &b->transform->path);
  return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

static status check_transform(const struct doc_transform *transform) {
  if (transform->path.count > LIMIT_VALUE_DEPTH + 1)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "A transform's field path leads through more than %d maps in each other.",
                       LIMIT_VALUE_DEPTH);
  switch (transform->kind) {
  case DOC_TRANSFORM_SERVER_TIME:
    return status_ok();
  case DOC_TRANSFORM_INCREMENT:
  case DOC_TRANSFORM_MAXIMUM:
  case DOC_TRANSFORM_MINIMUM:
    return is_number(&transform->operand)
               ? status_ok()
               : status_make(STATUS_INVALID_ARGUMENT,
                             "The operand of increment, maximum and minimum must be an integer or a double.");
  case DOC_TRANSFORM_APPEND_MISSING:
  case DOC_TRANSFORM_REMOVE_ALL:
    assert(transform->operand.type == DOC_ARRAY);
    return status_ok();
  }
  return status_ok();
}

/* What a comparison with a value may cost: one for each value in it, and for so many bytes of text. */
static size_t weight(const struct doc_value *root) {
  enum { TEXT_BYTES = 64 };
  struct {
    const struct doc_value *value;
    size_t next;
  } stack[DOC_TREE_DEPTH_MAX];
  size_t depth = 0, sum = 0;
  for (const struct doc_value *value = root;;) {
    bool is_text = value->type == DOC_STRING || value->type == DOC_BYTES || value->type == DOC_REFERENCE;
    sum += 1 + (is_text ? value->as.text.len / TEXT_BYTES : 0);
    if (doc_value_count(value) > 0) {
      assert(depth < DOC_TREE_DEPTH_MAX);
      stack[depth].value = value;
      stack[depth++].next = 0;
    }
    while (depth > 0 && stack[depth - 1].next == doc_value_count(stack[depth - 1].value))
      depth--;
    if (depth == 0)
      return sum;
    value = doc_value_child(stack[depth - 1].value, stack[depth - 1].next++);
  }
}

static size_t operand_weight(const struct doc_transform *transform) {
  size_t heaviest = 0;
  if (transform->kind != DOC_TRANSFORM_APPEND_MISSING && transform->kind != DOC_TRANSFORM_REMOVE_ALL)
    return 0;
  for (size_t i = 0; i < transform->operand.as.array.count; i++) {
    size_t one = weight(&transform->operand.as.array.items[i]);
    heaviest = one > heaviest ? one : heaviest;
  }
  return heaviest;
}

status doc_transform_plan_make(const struct doc_transform *transforms, size_t count, struct arena *arena,
                               struct doc_transform_plan *ret) {
  if (count > LIMIT_TRANSFORMS_PER_DOCUMENT)
    return status_make(STATUS_INVALID_ARGUMENT, "A write may hold at most %d transforms; this one has %zu.",
                       LIMIT_TRANSFORMS_PER_DOCUMENT, count);
  struct doc_transform_step *steps = ARENA_NEW_ARRAY(arena, struct doc_transform_step, count);
  if (steps == NULL)
    return exhausted();
  for (size_t i = 0; i < count; i++) {
    STATUS_TRY(check_transform(&transforms[i]));
    steps[i] = (struct doc_transform_step){&transforms[i], i, operand_weight(&transforms[i])};
  }
  if (count > 1)
    qsort(steps, count, sizeof *steps, compare_steps);
  for (size_t i = 1; i < count; i++) {
    const struct doc_field_path *above = &steps[i - 1].transform->path, *path = &steps[i].transform->path;
    if (path->count > above->count && doc_field_path_has_prefix(path, above))
      return status_make(STATUS_INVALID_ARGUMENT,
                         "Cannot transform the property \"" STR_FMT
                         "\" and a property nested in it at the same time.",
                         STR_ARG(above->segments[above->count - 1]));
  }
  *ret = (struct doc_transform_plan){steps, count};
  return status_ok();
}

/* ---- Numbers ---- */

static double as_double(const struct doc_value *number) {
  return number->type == DOC_INTEGER ? (double)number->as.integer : number->as.number;
}

static struct doc_value add(const struct doc_value *a, const struct doc_value *b) {
  if (a->type == DOC_INTEGER && b->type == DOC_INTEGER) {
    int64_t sum;
    if (__builtin_add_overflow(a->as.integer, b->as.integer, &sum))
      sum = b->as.integer > 0 ? INT64_MAX : INT64_MIN;
    return (struct doc_value){.type = DOC_INTEGER, .as.integer = sum};
  }
  return (struct doc_value){.type = DOC_DOUBLE, .as.number = as_double(a) + as_double(b)};
}

static bool is_nan(const struct doc_value *value) {
  return value->type == DOC_DOUBLE && isnan(value->as.number);
}

static const struct doc_value *extreme(const struct doc_value *old, const struct doc_value *operand,
                                       bool maximum) {
  if (is_nan(old) || is_nan(operand)) /* in the order of values NaN is the least: not what is meant here */
    return is_nan(old) ? old : operand;
  int order = doc_value_compare(operand, old);
  return (maximum ? order > 0 : order < 0) ? operand : old;
}

/* ---- Arrays: the operand's items are sorted, so that each item of the field is looked up in them ---- */

struct operand_item {
  const struct doc_value *value;
  size_t index;
  bool found;
};

static int compare_operand_items(const void *left, const void *right) {
  const struct operand_item *a = left, *b = right;
  int order = doc_value_compare(a->value, b->value);
  return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

static int compare_operand_indexes(const void *left, const void *right) {
  const struct operand_item *a = left, *b = right;
  return (a->index > b->index) - (a->index < b->index);
}

/* The operand's items sorted, of equal ones the first only. */
static struct operand_item *sort_operand(struct doc_array operand, struct arena *arena, size_t *ret_count) {
  struct operand_item *items = ARENA_NEW_ARRAY(arena, struct operand_item, operand.count);
  if (items == NULL)
    return NULL;
  for (size_t i = 0; i < operand.count; i++)
    items[i] = (struct operand_item){&operand.items[i], i, false};
  if (operand.count > 1)
    qsort(items, operand.count, sizeof *items, compare_operand_items);
  size_t kept = 0;
  for (size_t i = 0; i < operand.count; i++)
    if (kept == 0 || !doc_value_equal(items[kept - 1].value, items[i].value))
      items[kept++] = items[i];
  *ret_count = kept;
  return items;
}

static struct operand_item *find_operand(struct operand_item *items, size_t count,
                                         const struct doc_value *value) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = doc_value_compare(items[middle].value, value);
    if (order == 0)
      return &items[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

/* Takes what looking for each of `items` among `operands` costs from the commit's share. */
static status take_comparisons(size_t items, size_t operands, size_t operand_weight, size_t *left) {
  size_t steps = 1, cost;
  while (operands >> steps > 0)
    steps++;
  if (__builtin_mul_overflow(items, steps * operand_weight, &cost) || cost > *left)
    return status_make(STATUS_INVALID_ARGUMENT, "The array transforms of this commit compare too many values "
                                                "with each other. Split it, or keep smaller arrays.");
  *left -= cost;
  return status_ok();
}

/* APPEND_MISSING and REMOVE_ALL: both look for what the array and the operand share. */
static status transform_array(struct doc_array old, const struct doc_transform *transform,
                              struct arena *arena, struct doc_value *ret) {
  bool append = transform->kind == DOC_TRANSFORM_APPEND_MISSING;
  struct doc_array operand = transform->operand.as.array;
  size_t wanted_count = 0, count = 0;
  struct operand_item *wanted = sort_operand(operand, arena, &wanted_count);
  struct doc_value *items = arena_alloc(arena, (old.count + (append ? operand.count : 0)) * sizeof *items);
  if (wanted == NULL || items == NULL)
    return exhausted();
  for (size_t i = 0; i < old.count; i++) {
    struct operand_item *match = find_operand(wanted, wanted_count, &old.items[i]);
    if (match != NULL)
      match->found = true;
    if (append || match == NULL)
      items[count++] = old.items[i];
  }
  if (append) {
    if (wanted_count > 1)
      qsort(wanted, wanted_count, sizeof *wanted, compare_operand_indexes);
    for (size_t i = 0; i < wanted_count; i++)
      if (!wanted[i].found)
        items[count++] = *wanted[i].value;
  }
  *ret = (struct doc_value){.type = DOC_ARRAY, .as.array = {items, count}};
  return status_ok();
}

/* ---- Application ---- */

struct application {
  int64_t time_us;
  struct arena *arena;
  struct doc_value *results;
  size_t *comparisons_left;
};

/* One transform of a field whose value is *value (NULL: missing); the new one goes to *ret, which may be the
 * same memory. */
static status transform_value(const struct application *app, const struct doc_transform_step *step,
                              const struct doc_value *value, struct doc_value *ret) {
  const struct doc_transform *transform = step->transform;
  struct doc_value new = transform->operand;
  struct doc_value *result = &app->results[step->index];
  switch (transform->kind) {
  case DOC_TRANSFORM_SERVER_TIME:
    new = (struct doc_value){.type = DOC_TIMESTAMP, .as.timestamp_us = app->time_us - app->time_us % 1000};
    break;
  case DOC_TRANSFORM_INCREMENT:
    if (value != NULL && is_number(value))
      new = add(value, &transform->operand);
    break;
  case DOC_TRANSFORM_MAXIMUM:
  case DOC_TRANSFORM_MINIMUM:
    if (value != NULL && is_number(value))
      new = *extreme(value, &transform->operand, transform->kind == DOC_TRANSFORM_MAXIMUM);
    break;
  case DOC_TRANSFORM_APPEND_MISSING:
  case DOC_TRANSFORM_REMOVE_ALL: {
    struct doc_array old = {NULL, 0};
    if (value != NULL && value->type == DOC_ARRAY)
      old = value->as.array;
    STATUS_TRY(take_comparisons(old.count, transform->operand.as.array.count, step->operand_weight,
                                app->comparisons_left));
    STATUS_TRY(transform_array(old, transform, app->arena, ret));
    *result = (struct doc_value){.type = DOC_NULL};
    return status_ok();
  }
  }
  *ret = *result = new;
  return status_ok();
}

static status transform_map(const struct application *app, struct doc_map map,
                            const struct doc_transform_step *steps, size_t step_count, size_t level,
                            struct doc_map *ret);

/* All steps of one field of a map. */
static status transform_field(const struct application *app, const struct doc_value *old,
                              const struct doc_transform_step *steps, size_t step_count, size_t level,
                              struct doc_value *ret) {
  if (steps[0].transform->path.count > level + 1) {
    struct doc_map inner = {NULL, 0};
    if (old != NULL && old->type == DOC_MAP && !doc_value_is_vector(old))
      inner = old->as.map;
    STATUS_TRY(transform_map(app, inner, steps, step_count, level + 1, &inner));
    *ret = (struct doc_value){.type = DOC_MAP, .as.map = inner};
    return status_ok();
  }
  for (size_t i = 0; i < step_count; i++) {
    STATUS_TRY(transform_value(app, &steps[i], old, ret));
    old = ret;
  }
  return status_ok();
}

/* Recurses as deep as paths are: LIMIT_VALUE_DEPTH + 1 at most, by check_transform. */
static status transform_map(const struct application *app, struct doc_map map,
                            const struct doc_transform_step *steps, size_t step_count, size_t level,
                            struct doc_map *ret) {
  assert(level <= LIMIT_VALUE_DEPTH);
  struct doc_field *fields = arena_alloc(app->arena, (map.count + step_count) * sizeof *fields);
  if (fields == NULL)
    return exhausted();
  size_t count = 0, at = 0;
  for (size_t first = 0, next; first < step_count; first = next) {
    str name = steps[first].transform->path.segments[level];
    next = first + 1;
    while (next < step_count && str_eq(steps[next].transform->path.segments[level], name))
      next++;
    while (at < map.count && str_cmp(map.fields[at].name, name) < 0)
      fields[count++] = map.fields[at++];
    const struct doc_value *old = NULL;
    if (at < map.count && str_eq(map.fields[at].name, name))
      old = &map.fields[at++].value;
    fields[count].name = name;
    STATUS_TRY(transform_field(app, old, steps + first, next - first, level, &fields[count].value));
    count++;
  }
  while (at < map.count)
    fields[count++] = map.fields[at++];
  *ret = (struct doc_map){fields, count};
  return status_ok();
}

status doc_transform_apply(struct doc_map map, const struct doc_transform_plan *plan, int64_t time_us,
                           size_t *comparisons_left, struct arena *arena, struct doc_map *ret,
                           struct doc_value *results) {
  assert(time_us >= 0);
  if (plan->count == 0) {
    *ret = map;
    return status_ok();
  }
  const struct application app = {time_us, arena, results, comparisons_left};
  return transform_map(&app, map, plan->steps, plan->count, 0, ret);
}
