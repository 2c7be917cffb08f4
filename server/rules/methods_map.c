/* Maps and what diff() gives. Both maps' keys are sorted, so they are gone through once. */
#include "server/rules/builtin.h"
#include "server/rules/evaluation.h"

static void keys_or_values(struct rules_evaluation *e, const struct rules_value *map, bool wants_keys,
                           struct rules_value *ret) {
  size_t count = rules_count(e, map), at = 0;
  struct rules_value *items = rules_memory(e, count, sizeof *items), value;
  struct rules_cursor cursor = rules_cursor_make(e, map);
  str key;
  while (items != NULL && at < count && rules_cursor_entry(&cursor, &key, wants_keys ? NULL : &value))
    items[at++] = wants_keys ? rules_string(key) : value;
  *ret = rules_items(VALUE_LIST, items, at);
}

/* get(key, default), get([key, key], default). */
static bool get(struct rules_evaluation *e, const struct rules_value *map, const struct rules_call *call,
                struct rules_value *ret) {
  const struct rules_value *key = &call->arguments[0];
  if (key->kind == VALUE_STRING) {
    if (!rules_map_find(e, map, key->as.bytes, ret))
      *ret = call->arguments[1];
    return true;
  }
  if (key->kind != VALUE_LIST)
    return false;
  struct rules_value here = *map, step;
  struct rules_cursor cursor = rules_cursor_make(e, key);
  while (rules_cursor_item(&cursor, &step)) {
    if (step.kind != VALUE_STRING)
      return false;
    if (here.kind != VALUE_MAP || !rules_map_find(e, &here, step.as.bytes, &here)) {
      *ret = call->arguments[1];
      return true;
    }
  }
  *ret = here;
  return true;
}

static bool diff(struct rules_evaluation *e, const struct rules_value *map, const struct rules_call *call,
                 struct rules_value *ret) {
  struct rules_value *pair = rules_memory(e, 2, sizeof *pair);
  if (pair == NULL)
    return true;
  pair[0] = *map;
  pair[1] = call->arguments[0].kind == VALUE_OBJECT ? rules_object_to_map(e, &call->arguments[0])
                                                    : call->arguments[0];
  if (pair[1].kind != VALUE_MAP)
    return false;
  *ret = rules_items(VALUE_MAP_DIFF, pair, 2);
  return true;
}

static void put_key(struct rules_value *items, size_t *count, bool wanted, str key) {
  if (wanted)
    items[(*count)++] = rules_string(key);
}

/* The keys that only the first map has, only the second, and that both have with different or equal values.
 */
static bool changes(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  enum rules_builtin which = (enum rules_builtin)call->node->number;
  bool affected = which == METHOD_AFFECTED_KEYS;
  if (!affected && which != METHOD_ADDED_KEYS && which != METHOD_REMOVED_KEYS &&
      which != METHOD_CHANGED_KEYS && which != METHOD_UNCHANGED_KEYS)
    return false;
  const struct rules_value *now = &call->target->as.items[0], *before = &call->target->as.items[1];
  struct rules_value *items = rules_memory(e, rules_count(e, now) + rules_count(e, before), sizeof *items);
  if (items == NULL)
    return true;
  struct rules_cursor in_now = rules_cursor_make(e, now), in_before = rules_cursor_make(e, before);
  struct rules_value value, old;
  str key = {NULL, 0}, old_key = {NULL, 0};
  size_t count = 0;
  bool has = rules_cursor_entry(&in_now, &key, &value),
       has_old = rules_cursor_entry(&in_before, &old_key, &old);
  while (has || has_old) {
    int order = !has ? 1 : !has_old ? -1 : str_cmp(key, old_key);
    if (order < 0) {
      put_key(items, &count, affected || which == METHOD_ADDED_KEYS, key);
    } else if (order > 0) {
      put_key(items, &count, affected || which == METHOD_REMOVED_KEYS, old_key);
    } else {
      bool same = rules_equal(e, &value, &old, EQUAL_SAME) == RULES_TRUE;
      put_key(items, &count, same ? which == METHOD_UNCHANGED_KEYS : affected || which == METHOD_CHANGED_KEYS,
              key);
    }
    if (order <= 0)
      has = rules_cursor_entry(&in_now, &key, &value);
    if (order >= 0)
      has_old = rules_cursor_entry(&in_before, &old_key, &old);
  }
  *ret = rules_items(VALUE_SET, items, count);
  return true;
}

bool rules_call_map(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  if (call->target == NULL)
    return false;
  if (call->target->kind == VALUE_MAP_DIFF)
    return changes(e, call, ret);
  struct rules_value map =
      call->target->kind == VALUE_OBJECT ? rules_object_to_map(e, call->target) : *call->target;
  if (map.kind != VALUE_MAP)
    return false;
  switch ((unsigned)call->node->number) {
  case METHOD_SIZE:
    *ret = rules_int((int64_t)rules_count(e, &map));
    return true;
  case METHOD_KEYS:
    keys_or_values(e, &map, true, ret);
    return true;
  case METHOD_VALUES:
    keys_or_values(e, &map, false, ret);
    return true;
  case METHOD_GET:
    return get(e, &map, call, ret);
  case METHOD_DIFF:
    return diff(e, &map, call, ret);
  default:
    return false;
  }
}
