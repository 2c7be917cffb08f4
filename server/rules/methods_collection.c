/* Lists and sets. */
#include "server/rules/builtin.h"
#include "server/rules/evaluation.h"

static bool is_collection(const struct rules_value *value) {
  return value->kind == VALUE_LIST || value->kind == VALUE_SET;
}

/* Sets take 1 and 1.0 for the same, lists do not. */
static enum rules_truth contains(struct rules_evaluation *e, const struct rules_value *items,
                                 const struct rules_value *wanted) {
  struct rules_cursor cursor = rules_cursor_make(e, items);
  struct rules_value item;
  enum rules_truth result = RULES_FALSE;
  while (rules_cursor_item(&cursor, &item)) {
    enum rules_truth truth =
        rules_equal(e, &item, wanted, items->kind == VALUE_SET ? EQUAL_SAME : EQUAL_STRICT);
    if (truth == RULES_TRUE)
      return truth;
    if (truth == RULES_MAYBE)
      result = truth;
  }
  return result;
}

/* Whether all items of `some` are in `items`. */
static enum rules_truth has_all(struct rules_evaluation *e, const struct rules_value *items,
                                const struct rules_value *some) {
  struct rules_cursor cursor = rules_cursor_make(e, some);
  struct rules_value item;
  enum rules_truth result = RULES_TRUE;
  while (rules_cursor_item(&cursor, &item)) {
    enum rules_truth truth = contains(e, items, &item);
    if (truth == RULES_FALSE)
      return truth;
    if (truth == RULES_MAYBE)
      result = truth;
  }
  return result;
}

static enum rules_truth has_any(struct rules_evaluation *e, const struct rules_value *items,
                                const struct rules_value *some) {
  struct rules_cursor cursor = rules_cursor_make(e, some);
  struct rules_value item;
  enum rules_truth result = RULES_FALSE;
  while (rules_cursor_item(&cursor, &item)) {
    enum rules_truth truth = contains(e, items, &item);
    if (truth == RULES_TRUE)
      return truth;
    if (truth == RULES_MAYBE)
      result = truth;
  }
  return result;
}

/* The items of `from` of which `keep` says so by whether they are in `other`; of both, if `other_too`. Each
 * once if `kind` is a set. */
static void gather(struct rules_evaluation *e, enum rules_kind kind, const struct rules_value *from,
                   const struct rules_value *other, bool keep_common, bool keep_rest, bool other_too,
                   struct rules_value *ret) {
  size_t most = rules_count(e, from) + (other_too ? rules_count(e, other) : 0), count = 0;
  struct rules_value *items = rules_memory(e, most, sizeof *items);
  if (items == NULL)
    return;
  for (int pass = 0; pass < (other_too ? 2 : 1); pass++) {
    struct rules_cursor cursor = rules_cursor_make(e, pass == 0 ? from : other);
    struct rules_value item;
    while (count < most && rules_cursor_item(&cursor, &item)) {
      bool is_common = pass == 0 && other != NULL && !(keep_common && keep_rest) &&
                       contains(e, other, &item) == RULES_TRUE;
      if (is_common ? !keep_common : !keep_rest)
        continue;
      struct rules_value so_far = rules_items(VALUE_SET, items, count);
      if (kind == VALUE_SET && contains(e, &so_far, &item) != RULES_FALSE)
        continue;
      items[count++] = item;
    }
  }
  *ret = rules_items(kind, items, count);
}

static bool join(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  str separator = call->arguments[0].as.bytes, text;
  struct rules_cursor cursor = rules_cursor_make(e, call->target);
  struct rules_value item;
  struct buf out = {.max_bytes = 4 * 1024 * 1024};
  bool good = true;
  for (bool first = true; good && rules_cursor_item(&cursor, &item); first = false) {
    good = rules_to_text(e, &item, &text);
    if (!first && good)
      buf_append_str(&out, separator);
    if (good)
      buf_append_str(&out, text);
  }
  str copy = out.failed ? (str){NULL, 0} : arena_str_copy(e->arena, buf_str(&out));
  buf_fini(&out);
  if (copy.ptr == NULL)
    rules_fail(e, RULES_ERROR_MEMORY);
  *ret = rules_string(copy);
  return good;
}

static bool call_on_list(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  const struct rules_value *list = call->target, *argument = call->arguments;
  if ((enum rules_builtin)call->node->number == METHOD_JOIN)
    return argument->kind == VALUE_STRING && join(e, call, ret);
  if (call->node->number == METHOD_TO_SET) {
    gather(e, VALUE_SET, list, NULL, true, true, false, ret);
    return true;
  }
  if (call->argument_count != 1 || argument->kind != VALUE_LIST)
    return false;
  if (call->node->number == METHOD_CONCAT)
    gather(e, VALUE_LIST, list, argument, true, true, true, ret);
  else if (call->node->number == METHOD_REMOVE_ALL)
    gather(e, VALUE_LIST, list, argument, false, true, false, ret);
  else
    return false;
  return true;
}

static bool call_on_set(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  const struct rules_value *set = call->target, *argument = call->arguments;
  if (call->argument_count != 1 || argument->kind != VALUE_SET)
    return false;
  if (call->node->number == METHOD_UNION)
    gather(e, VALUE_SET, set, argument, true, true, true, ret);
  else if (call->node->number == METHOD_INTERSECTION)
    gather(e, VALUE_SET, set, argument, true, false, false, ret);
  else if (call->node->number == METHOD_DIFFERENCE)
    gather(e, VALUE_SET, set, argument, false, true, false, ret);
  else
    return false;
  return true;
}

bool rules_call_collection(struct rules_evaluation *e, const struct rules_call *call,
                           struct rules_value *ret) {
  const struct rules_value *target = call->target, *argument = call->arguments;
  if (target == NULL || !is_collection(target))
    return false;
  if (call->node->number == METHOD_SIZE) {
    *ret = rules_int((int64_t)rules_count(e, target));
    return true;
  }
  bool fits = call->argument_count == 1 && is_collection(argument) &&
              (target->kind == VALUE_SET || argument->kind == VALUE_LIST);
  switch ((unsigned)call->node->number) {
  case METHOD_HAS_ALL:
    *ret = rules_truth_value(fits ? has_all(e, target, argument) : RULES_FALSE, call->node);
    return fits;
  case METHOD_HAS_ANY:
    *ret = rules_truth_value(fits ? has_any(e, target, argument) : RULES_FALSE, call->node);
    return fits;
  case METHOD_HAS_ONLY: /* nothing but these */
    *ret = rules_truth_value(fits ? has_all(e, argument, target) : RULES_FALSE, call->node);
    return fits;
  default:
    return target->kind == VALUE_LIST ? call_on_list(e, call, ret) : call_on_set(e, call, ret);
  }
}
