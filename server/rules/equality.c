/* Whether values are equal, and their order. */
#include <math.h>

#include "server/rules/evaluation.h"

/* The next of a list, or of a map with its key; of a list the key is empty. False: there is none. */
static bool next_part(struct rules_cursor *in, bool has_keys, str *ret_key, struct rules_value *ret) {
  *ret_key = STR("");
  return has_keys ? rules_cursor_entry(in, ret_key, ret) : rules_cursor_item(in, ret);
}

static enum rules_truth equal_parts(struct rules_evaluation *e, const struct rules_value *a,
                                    const struct rules_value *b, bool have_keys, enum rules_equality how) {
  struct rules_cursor in_a = rules_cursor_make(e, a), in_b = rules_cursor_make(e, b);
  struct rules_value one, other;
  str key_a, key_b;
  enum rules_truth result = RULES_TRUE;
  for (;;) {
    bool has_a = next_part(&in_a, have_keys, &key_a, &one);
    bool has_b = next_part(&in_b, have_keys, &key_b, &other);
    if (has_a != has_b || (has_a && !str_eq(key_a, key_b)))
      return RULES_FALSE;
    if (!has_a)
      return result;
    enum rules_truth truth = rules_equal(e, &one, &other, how == EQUAL_SAME ? EQUAL_SAME : EQUAL_STRICT);
    if (truth == RULES_FALSE)
      return RULES_FALSE;
    if (truth == RULES_MAYBE)
      result = RULES_MAYBE;
  }
}

static enum rules_truth equal_sets(struct rules_evaluation *e, const struct rules_value *a,
                                   const struct rules_value *b) {
  if (a->count != b->count)
    return RULES_FALSE;
  for (uint32_t i = 0; i < a->count; i++) {
    enum rules_truth found = RULES_FALSE;
    for (uint32_t j = 0; j < b->count && found != RULES_TRUE; j++) {
      enum rules_truth truth = rules_equal(e, &a->as.items[i], &b->as.items[j], EQUAL_SAME);
      if (truth != RULES_FALSE)
        found = truth;
    }
    if (found != RULES_TRUE)
      return found;
  }
  return RULES_TRUE;
}

static enum rules_truth equal_numbers(const struct rules_value *a, const struct rules_value *b,
                                      enum rules_equality how) {
  bool loose = ((a->flags | b->flags) & RULES_FLAG_LOOSE) != 0;
  if (a->kind == b->kind && a->kind == VALUE_INT)
    return a->as.integer == b->as.integer ? RULES_TRUE : RULES_FALSE;
  if (a->kind != b->kind && how == EQUAL_STRICT && !loose)
    return RULES_FALSE;
  double one = rules_to_double(a), other = rules_to_double(b);
  bool both_nan = how == EQUAL_SAME && isnan(one) && isnan(other);
  return one == other || both_nan ? RULES_TRUE : RULES_FALSE;
}

enum rules_truth rules_equal(struct rules_evaluation *e, const struct rules_value *a,
                             const struct rules_value *b, enum rules_equality how) {
  if (!rules_work(e, 1))
    return RULES_FALSE;
  if (a->kind >= VALUE_ERROR || b->kind >= VALUE_ERROR)
    return RULES_MAYBE;
  if (rules_is_number(a) && rules_is_number(b))
    return equal_numbers(a, b, how);
  struct rules_value map_a, map_b;
  if (a->kind == VALUE_OBJECT) {
    map_a = rules_object_to_map(e, a);
    a = &map_a;
  }
  if (b->kind == VALUE_OBJECT) {
    map_b = rules_object_to_map(e, b);
    b = &map_b;
  }
  if (a->kind != b->kind)
    return RULES_FALSE;
  bool same;
  switch ((enum rules_kind)a->kind) {
  case VALUE_NULL:
    return RULES_TRUE;
  case VALUE_BOOL:
    same = a->as.boolean == b->as.boolean;
    break;
  case VALUE_STRING:
  case VALUE_BYTES:
    rules_work(e, a->as.bytes.len / 64);
    same = str_eq(a->as.bytes, b->as.bytes);
    break;
  case VALUE_TIMESTAMP:
  case VALUE_DURATION:
    same = a->as.time.seconds == b->as.time.seconds && a->as.time.nanos == b->as.time.nanos;
    break;
  case VALUE_LATLNG:
    same = a->as.point.latitude == b->as.point.latitude && a->as.point.longitude == b->as.point.longitude;
    break;
  case VALUE_PATH:
  case VALUE_LIST:
    return equal_parts(e, a, b, false, how);
  case VALUE_SET:
    return equal_sets(e, a, b);
  case VALUE_MAP:
  case VALUE_VECTOR:
    return equal_parts(e, a, b, true, how);
  case VALUE_INT:
  case VALUE_FLOAT:
  case VALUE_OBJECT:
  case VALUE_MAP_DIFF:
  case VALUE_ERROR:
  case VALUE_UNKNOWN:
  case VALUE_PARTIAL:
  default:
    return RULES_FALSE;
  }
  return same ? RULES_TRUE : RULES_FALSE;
}

bool rules_compare(const struct rules_value *a, const struct rules_value *b, int *ret, bool *ret_unordered) {
  *ret_unordered = false;
  if (rules_is_number(a) && rules_is_number(b)) {
    if (a->kind == VALUE_INT && b->kind == VALUE_INT) {
      *ret = (a->as.integer > b->as.integer) - (a->as.integer < b->as.integer);
      return true;
    }
    double left = rules_to_double(a), right = rules_to_double(b);
    *ret_unordered = isnan(left) || isnan(right);
    *ret = (left > right) - (left < right);
    return true;
  }
  if (a->kind != b->kind)
    return false;
  if (a->kind == VALUE_STRING || a->kind == VALUE_BYTES) {
    *ret = str_cmp(a->as.bytes, b->as.bytes);
    return true;
  }
  if (a->kind != VALUE_TIMESTAMP && a->kind != VALUE_DURATION)
    return false;
  *ret = (a->as.time.seconds > b->as.time.seconds) - (a->as.time.seconds < b->as.time.seconds);
  if (*ret == 0)
    *ret = (a->as.time.nanos > b->as.time.nanos) - (a->as.time.nanos < b->as.time.nanos);
  return true;
}
