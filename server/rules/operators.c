/* Operators but && and ||, with what they say of values that are not known. */
#include <math.h>

#include "server/rules/evaluation.h"

static struct rules_value negate(struct rules_evaluation *e, const struct rules_node *node,
                                 const struct rules_value *value) {
  struct rules_value result = *value;
  if (value->kind == VALUE_FLOAT) {
    result.as.number = -value->as.number;
  } else if (value->kind == VALUE_INT) {
    if (value->as.integer == INT64_MIN)
      return rules_error_value(e, RULES_ERROR_OVERFLOW, node);
    result.as.integer = -value->as.integer;
  } else if (value->kind == VALUE_DURATION) {
    result.as.time.seconds = -value->as.time.seconds;
    result.as.time.nanos = -value->as.time.nanos;
  } else {
    return rules_operand_error(e, node, value, NULL);
  }
  return result;
}

void rules_evaluate_unary(struct rules_evaluation *e, const struct rules_node *node,
                          struct rules_frame *frame, struct rules_value *ret) {
  struct rules_value value;
  rules_evaluate(e, node->children[0], frame, &value);
  if (value.kind == VALUE_ERROR)
    *ret = value;
  else if (rules_is_vague(&value))
    *ret = rules_unknown(node);
  else if (node->kind == NODE_NEGATE)
    *ret = negate(e, node, &value);
  else
    *ret =
        value.kind == VALUE_BOOL ? rules_bool(!value.as.boolean) : rules_operand_error(e, node, &value, NULL);
}

static struct rules_value integer_arithmetic(struct rules_evaluation *e, const struct rules_node *node,
                                             int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  if ((node->kind == NODE_DIVIDE || node->kind == NODE_MODULO) && b == 0)
    return rules_error_value(e, RULES_ERROR_DIVISION, node);
  if (node->kind == NODE_ADD)
    overflow = __builtin_add_overflow(a, b, &result);
  else if (node->kind == NODE_SUBTRACT)
    overflow = __builtin_sub_overflow(a, b, &result);
  else if (node->kind == NODE_MULTIPLY)
    overflow = __builtin_mul_overflow(a, b, &result);
  else if (b == -1) /* the quotient of the least number does not fit */
    overflow = node->kind == NODE_DIVIDE && __builtin_sub_overflow((int64_t)0, a, &result);
  else
    result = node->kind == NODE_DIVIDE ? a / b : a % b;
  return overflow ? rules_error_value(e, RULES_ERROR_OVERFLOW, node) : rules_int(result);
}

static double float_arithmetic(enum rules_node_kind kind, double a, double b) {
  return kind == NODE_ADD        ? a + b
         : kind == NODE_SUBTRACT ? a - b
         : kind == NODE_MULTIPLY ? a * b
         : kind == NODE_DIVIDE   ? a / b
                                 : fmod(a, b);
}

static struct rules_value join_texts(struct rules_evaluation *e, str a, str b) {
  char *text = rules_work(e, (a.len + b.len) / 64) ? rules_memory(e, a.len + b.len, 1) : NULL;
  if (text == NULL)
    return rules_error_value(e, e->fatal, NULL);
  if (a.len > 0)
    memcpy(text, a.ptr, a.len);
  if (b.len > 0)
    memcpy(text + a.len, b.ptr, b.len);
  return rules_string(str_make(text, a.len + b.len));
}

/* Timestamps and durations. */
static struct rules_value time_arithmetic(struct rules_evaluation *e, const struct rules_node *node,
                                          const struct rules_value *a, const struct rules_value *b) {
  bool stamp_a = a->kind == VALUE_TIMESTAMP, stamp_b = b->kind == VALUE_TIMESTAMP;
  bool adds = node->kind == NODE_ADD;
  if ((!adds && node->kind != NODE_SUBTRACT) || (adds && stamp_a && stamp_b) ||
      (!adds && stamp_b && !stamp_a))
    return rules_operand_error(e, node, a, b);
  int64_t seconds = adds ? a->as.time.seconds + b->as.time.seconds : a->as.time.seconds - b->as.time.seconds;
  int64_t nanos =
      adds ? (int64_t)a->as.time.nanos + b->as.time.nanos : (int64_t)a->as.time.nanos - b->as.time.nanos;
  struct rules_value result;
  if (!rules_time_make(stamp_a != stamp_b ? VALUE_TIMESTAMP : VALUE_DURATION, seconds, nanos, &result))
    return rules_error_value(e, RULES_ERROR_TIME, node);
  return result;
}

static struct rules_value arithmetic(struct rules_evaluation *e, const struct rules_node *node,
                                     const struct rules_value *a, const struct rules_value *b) {
  bool time_a = a->kind == VALUE_TIMESTAMP || a->kind == VALUE_DURATION,
       time_b = b->kind == VALUE_TIMESTAMP || b->kind == VALUE_DURATION;
  if (a->kind == VALUE_INT && b->kind == VALUE_INT)
    return integer_arithmetic(e, node, a->as.integer, b->as.integer);
  if (rules_is_number(a) && rules_is_number(b))
    return rules_float(
        float_arithmetic((enum rules_node_kind)node->kind, rules_to_double(a), rules_to_double(b)));
  if (a->kind == VALUE_STRING && b->kind == VALUE_STRING && node->kind == NODE_ADD)
    return join_texts(e, a->as.bytes, b->as.bytes);
  if (time_a && time_b)
    return time_arithmetic(e, node, a, b);
  return rules_operand_error(e, node, a, b);
}

/* `b OP a` as `a OP' b`. */
static enum rules_node_kind mirror(enum rules_node_kind kind) {
  return kind == NODE_LESS               ? NODE_GREATER
         : kind == NODE_GREATER          ? NODE_LESS
         : kind == NODE_LESS_OR_EQUAL    ? NODE_GREATER_OR_EQUAL
         : kind == NODE_GREATER_OR_EQUAL ? NODE_LESS_OR_EQUAL
                                         : kind;
}

static struct rules_value compare(struct rules_evaluation *e, const struct rules_node *node,
                                  const struct rules_value *a, const struct rules_value *b) {
  enum rules_node_kind kind = (enum rules_node_kind)node->kind;
  if (a->kind == VALUE_UNKNOWN || b->kind == VALUE_UNKNOWN ||
      (a->kind == VALUE_PARTIAL && b->kind == VALUE_PARTIAL))
    return rules_unknown(node);
  if (a->kind == VALUE_PARTIAL)
    return rules_truth_value(rules_prove_comparison(e, a->as.partial, kind, b), node);
  if (b->kind == VALUE_PARTIAL)
    return rules_truth_value(rules_prove_comparison(e, b->as.partial, mirror(kind), a), node);
  if (kind == NODE_EQUAL || kind == NODE_NOT_EQUAL) {
    enum rules_truth truth = rules_equal(e, a, b, EQUAL_OPERATOR);
    if (truth != RULES_MAYBE && kind == NODE_NOT_EQUAL)
      truth = truth == RULES_TRUE ? RULES_FALSE : RULES_TRUE;
    return rules_truth_value(truth, node);
  }
  int order;
  bool unordered;
  rules_work(e, (a->kind == VALUE_STRING || a->kind == VALUE_BYTES) ? a->as.bytes.len / 64 : 1);
  if (!rules_compare(a, b, &order, &unordered))
    return rules_operand_error(e, node, a, b);
  return rules_bool(!unordered && (kind == NODE_LESS            ? order < 0
                                   : kind == NODE_GREATER       ? order > 0
                                   : kind == NODE_LESS_OR_EQUAL ? order <= 0
                                                                : order >= 0));
}

static enum rules_truth is_in(struct rules_evaluation *e, const struct rules_value *value,
                              const struct rules_value *items) {
  struct rules_cursor cursor = rules_cursor_make(e, items);
  struct rules_value item;
  enum rules_truth result = RULES_FALSE;
  while (rules_cursor_item(&cursor, &item)) {
    enum rules_truth truth = rules_equal(e, value, &item, EQUAL_STRICT);
    if (truth == RULES_TRUE)
      return RULES_TRUE;
    if (truth == RULES_MAYBE)
      result = RULES_MAYBE;
  }
  return result;
}

/* A partial field in a list of known values: in it if it equals one, not in it if it equals none. */
static enum rules_truth partial_is_in(struct rules_evaluation *e, const struct rules_value *partial,
                                      const struct rules_value *items) {
  struct rules_cursor cursor = rules_cursor_make(e, items);
  struct rules_value item;
  enum rules_truth result = RULES_FALSE;
  while (rules_cursor_item(&cursor, &item)) {
    enum rules_truth truth = rules_prove_comparison(e, partial->as.partial, NODE_EQUAL, &item);
    if (truth == RULES_TRUE)
      return RULES_TRUE;
    if (truth == RULES_MAYBE)
      result = RULES_MAYBE;
  }
  return items->count == 0 && (items->flags & RULES_FLAG_WIRE) == 0 ? RULES_MAYBE
                                                                    : result; /* it may not be there */
}

static struct rules_value evaluate_in(struct rules_evaluation *e, const struct rules_node *node,
                                      const struct rules_value *a, const struct rules_value *b) {
  struct rules_value ignored;
  if (a->kind == VALUE_UNKNOWN || b->kind == VALUE_UNKNOWN ||
      (a->kind == VALUE_PARTIAL && b->kind == VALUE_PARTIAL))
    return rules_unknown(node);
  if (b->kind == VALUE_PARTIAL)
    return rules_truth_value(rules_prove_contains(e, b, a), node);
  if (b->kind == VALUE_LIST || b->kind == VALUE_SET)
    return rules_truth_value(a->kind == VALUE_PARTIAL ? partial_is_in(e, a, b) : is_in(e, a, b), node);
  if (b->kind != VALUE_MAP && b->kind != VALUE_OBJECT)
    return rules_operand_error(e, node, a, b);
  if (a->kind == VALUE_PARTIAL)
    return rules_unknown(node);
  if (a->kind != VALUE_STRING)
    return rules_operand_error(e, node, a, b);
  return rules_bool(b->kind == VALUE_MAP ? rules_map_find(e, b, a->as.bytes, &ignored)
                                         : rules_object_find(e, b, a->as.bytes, &ignored));
}

void rules_evaluate_binary(struct rules_evaluation *e, const struct rules_node *node,
                           struct rules_frame *frame, struct rules_value *ret) {
  struct rules_value a, b;
  rules_evaluate(e, node->children[0], frame, &a);
  if (a.kind == VALUE_ERROR) {
    *ret = a;
    return;
  }
  rules_evaluate(e, node->children[1], frame, &b);
  if (b.kind == VALUE_ERROR)
    *ret = b;
  else if (node->kind == NODE_IN)
    *ret = evaluate_in(e, node, &a, &b);
  else if (node->kind < NODE_ADD)
    *ret = compare(e, node, &a, &b);
  else
    *ret = rules_is_vague(&a) || rules_is_vague(&b) ? rules_unknown(node) : arithmetic(e, node, &a, &b);
}

void rules_evaluate_is(struct rules_evaluation *e, const struct rules_node *node, struct rules_frame *frame,
                       struct rules_value *ret) {
  struct rules_value value;
  rules_evaluate(e, node->children[0], frame, &value);
  uint16_t type = node->number;
  if (value.kind == VALUE_ERROR)
    *ret = value;
  else if (value.kind == VALUE_UNKNOWN ||
           (rules_is_vague(&value) && (type == VALUE_INT || type == VALUE_FLOAT)))
    *ret = rules_unknown(node);
  else if (value.kind == VALUE_PARTIAL)
    *ret = rules_truth_value(rules_prove_type(e, value.as.partial, type), node);
  else if (type == TYPE_NUMBER)
    *ret = rules_bool(rules_is_number(&value));
  else
    *ret = rules_bool(value.kind == type || (value.kind == VALUE_OBJECT && type == VALUE_MAP));
}
