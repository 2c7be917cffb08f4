/* Evaluates expressions. Each level of recursion is one call of rules_evaluate and one of a static function.
 */
#include <math.h>

#include "server/rules/builtin.h"
#include "server/rules/evaluation.h"

/* ---- Bounds ---- */

void rules_fail(struct rules_evaluation *e, enum rules_error error) {
  if (e->fatal == RULES_ERROR_NONE)
    e->fatal = error;
}

bool rules_work(struct rules_evaluation *e, size_t units) {
  if (e->fatal != RULES_ERROR_NONE)
    return false;
  if (units > RULES_WORK_MAX - e->work) {
    rules_fail(e, RULES_ERROR_WORK);
    return false;
  }
  e->work += units;
  return true;
}

void *rules_memory(struct rules_evaluation *e, size_t count, size_t size) {
  void *memory = arena_calloc(e->arena, count, size);
  if (memory == NULL)
    rules_fail(e, RULES_ERROR_MEMORY);
  return memory;
}

struct rules_value rules_error_value(struct rules_evaluation *e, enum rules_error error,
                                     const struct rules_node *at) {
  if (error >= RULES_ERROR_FATAL)
    rules_fail(e, error);
  return (struct rules_value){.kind = VALUE_ERROR, .error = (uint16_t)error, .as.where.at = at};
}

struct rules_value rules_operand_error(struct rules_evaluation *e, const struct rules_node *at,
                                       const struct rules_value *left, const struct rules_value *right) {
  struct rules_value error = rules_error_value(e, RULES_ERROR_OPERANDS, at);
  error.as.where.left = left->kind;
  error.as.where.right = right == NULL ? UINT16_MAX : right->kind;
  return error;
}

static struct rules_value unknown(const struct rules_node *at) {
  return (struct rules_value){.kind = VALUE_UNKNOWN, .as.where.at = at};
}

/* ---- Variables ---- */

static void evaluate_local(struct rules_evaluation *e, const struct rules_node *node,
                           struct rules_frame *frame, struct rules_value *ret) {
  struct rules_slot *slot = &frame->slots[node->number];
  if (!slot->is_done) {
    rules_evaluate(e, slot->node, slot->frame, &slot->value);
    slot->is_done = true;
  }
  *ret = slot->value;
}

static void evaluate_function(struct rules_evaluation *e, const struct rules_node *node,
                              struct rules_frame *caller, struct rules_value *ret) {
  const struct rules_function *function = node->as.function;
  struct rules_frame *frame = rules_memory(e, 1, sizeof *frame);
  if (frame == NULL)
    return;
  for (uint32_t i = 0; i < function->parameter_count; i++) {
    frame->slots[i].node = node->children[i];
    frame->slots[i].frame = caller;
  }
  for (uint32_t i = 0; i < function->let_count; i++) {
    frame->slots[function->parameter_count + i].node = function->lets[i].value;
    frame->slots[function->parameter_count + i].frame = frame;
  }
  rules_evaluate(e, function->result, frame, ret);
}

/* ---- Members ---- */

static void find_member(struct rules_evaluation *e, const struct rules_node *node,
                        const struct rules_value *target, str key, struct rules_value *ret) {
  if (target->kind == VALUE_UNKNOWN) {
    *ret = *target;
  } else if (target->kind == VALUE_PARTIAL) {
    *ret = rules_partial_member(e, target, key);
  } else if (target->kind == VALUE_OBJECT || target->kind == VALUE_MAP) {
    bool found = target->kind == VALUE_OBJECT ? rules_object_find(e, target, key, ret)
                                              : rules_map_find(e, target, key, ret);
    if (!found)
      *ret = rules_error_value(e, RULES_ERROR_PROPERTY, node);
  } else {
    *ret = rules_error_value(e, RULES_ERROR_NULL, node);
  }
}

static void evaluate_member(struct rules_evaluation *e, const struct rules_node *node,
                            struct rules_frame *frame, struct rules_value *ret) {
  struct rules_value target;
  rules_evaluate(e, node->children[0], frame, &target);
  if (target.kind == VALUE_ERROR)
    *ret = target;
  else
    find_member(e, node, &target, node->text, ret);
}

/* UTF-16 code units, which is what the language calls characters. */
static bool text_offset(str text, size_t units, size_t *ret) {
  size_t at = 0, seen = 0;
  while (at < text.len && seen < units) {
    unsigned char c = (unsigned char)text.ptr[at];
    at += c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    seen += c < 0xF0 ? 1 : 2;
  }
  *ret = at;
  return seen == units && at <= text.len; /* not in the middle of a character */
}

/* [from, to) of a string, list or path; the bounds were checked against `size`. */
static struct rules_value take_range(struct rules_evaluation *e, const struct rules_node *node,
                                     const struct rules_value *target, size_t from, size_t to) {
  if (target->kind == VALUE_STRING) {
    size_t begin, end;
    if (!text_offset(target->as.bytes, from, &begin) || !text_offset(target->as.bytes, to, &end))
      return rules_error_value(e, RULES_ERROR_INDEX, node);
    return rules_string(str_make(target->as.bytes.ptr + begin, end - begin));
  }
  return rules_items((enum rules_kind)target->kind, target->as.items + from, to - from);
}

static bool index_size(struct rules_evaluation *e, struct rules_value *target, size_t *ret) {
  if (target->kind == VALUE_STRING) {
    rules_work(e, target->as.bytes.len / 64);
    *ret = rules_text_units(target->as.bytes);
    return true;
  }
  if (target->kind == VALUE_LIST && !rules_list_items(e, target, target))
    return false;
  *ret = target->count;
  return target->kind == VALUE_LIST || target->kind == VALUE_PATH;
}

static void evaluate_index(struct rules_evaluation *e, const struct rules_node *node,
                           struct rules_frame *frame, struct rules_value *ret) {
  struct rules_value target, index;
  rules_evaluate(e, node->children[0], frame, &target);
  rules_evaluate(e, node->children[1], frame, &index);
  size_t size;
  if (target.kind == VALUE_ERROR || index.kind == VALUE_ERROR) {
    *ret = target.kind == VALUE_ERROR ? target : index;
  } else if (target.kind == VALUE_UNKNOWN || rules_is_vague(&index)) {
    *ret = unknown(node);
  } else if (target.kind == VALUE_MAP || target.kind == VALUE_OBJECT || target.kind == VALUE_PARTIAL) {
    if (index.kind == VALUE_STRING)
      find_member(e, node, &target, index.as.bytes, ret);
    else
      *ret = target.kind == VALUE_PARTIAL ? unknown(node) : rules_operand_error(e, node, &target, &index);
  } else if (index.kind != VALUE_INT || !index_size(e, &target, &size)) {
    *ret = rules_operand_error(e, node, &target, &index);
  } else if (index.as.integer < 0 || (uint64_t)index.as.integer >= size) {
    *ret = rules_error_value(e, RULES_ERROR_INDEX, node);
  } else if (target.kind == VALUE_STRING) {
    *ret = take_range(e, node, &target, (size_t)index.as.integer, (size_t)index.as.integer + 1);
  } else {
    *ret = target.as.items[index.as.integer];
  }
}

static void evaluate_slice(struct rules_evaluation *e, const struct rules_node *node,
                           struct rules_frame *frame, struct rules_value *ret) {
  struct rules_value parts[3];
  bool vague = false;
  for (uint32_t i = 0; i < 3; i++) {
    rules_evaluate(e, node->children[i], frame, &parts[i]);
    if (parts[i].kind == VALUE_ERROR) {
      *ret = parts[i];
      return;
    }
    vague = vague || rules_is_vague(&parts[i]);
  }
  size_t size;
  if (vague) {
    *ret = unknown(node);
  } else if (parts[1].kind != VALUE_INT || parts[2].kind != VALUE_INT || !index_size(e, &parts[0], &size)) {
    *ret = rules_operand_error(e, node, &parts[0], &parts[1]);
  } else if (parts[1].as.integer < 0 || parts[2].as.integer < 1 || (uint64_t)parts[1].as.integer >= size ||
             (uint64_t)parts[2].as.integer > size) {
    *ret =
        rules_error_value(e, RULES_ERROR_INDEX, node); /* both ends must be there, as the language has it */
  } else if (parts[1].as.integer > parts[2].as.integer) {
    *ret = rules_error_value(e, RULES_ERROR_RANGE, node);
  } else {
    *ret = take_range(e, node, &parts[0], (size_t)parts[1].as.integer, (size_t)parts[2].as.integer);
  }
}

/* ---- Literals of lists, maps and paths ---- */

/* All children, or *ret is an error or unknown. */
static struct rules_value *evaluate_children(struct rules_evaluation *e, const struct rules_node *node,
                                             uint32_t first, struct rules_frame *frame,
                                             struct rules_value *ret) {
  struct rules_value *values = rules_memory(e, node->child_count - first, sizeof *values);
  bool vague = false;
  for (uint32_t i = first; values != NULL && i < node->child_count; i++) {
    rules_evaluate(e, node->children[i], frame, &values[i - first]);
    if (values[i - first].kind == VALUE_ERROR) {
      *ret = values[i - first];
      return NULL;
    }
    vague = vague || rules_is_vague(&values[i - first]);
  }
  if (vague)
    *ret = unknown(node);
  return vague ? NULL : values;
}

static void evaluate_list(struct rules_evaluation *e, const struct rules_node *node,
                          struct rules_frame *frame, struct rules_value *ret) {
  const struct rules_value *items = evaluate_children(e, node, 0, frame, ret);
  if (items != NULL)
    *ret = rules_items(VALUE_LIST, items, node->child_count);
}

static void evaluate_map(struct rules_evaluation *e, const struct rules_node *node, struct rules_frame *frame,
                         struct rules_value *ret) {
  const struct rules_value *parts = evaluate_children(e, node, 0, frame, ret);
  struct rules_entry *entries =
      parts == NULL ? NULL : rules_memory(e, node->child_count / 2, sizeof *entries);
  if (entries == NULL)
    return;
  uint32_t count = 0;
  for (uint32_t i = 0; i < node->child_count; i += 2) {
    if (parts[i].kind != VALUE_STRING) {
      *ret = rules_operand_error(e, node, &parts[i], NULL);
      return;
    }
    uint32_t at = count; /* sorted as they come; there are few */
    while (at > 0 && rules_work(e, 1) && str_cmp(entries[at - 1].key, parts[i].as.bytes) > 0)
      at--;
    if (at > 0 && str_eq(entries[at - 1].key, parts[i].as.bytes)) {
      entries[at - 1].value = parts[i + 1];
      continue;
    }
    memmove(entries + at + 1, entries + at, (count - at) * sizeof *entries);
    entries[at] = (struct rules_entry){parts[i].as.bytes, parts[i + 1]};
    count++;
  }
  *ret = (struct rules_value){.kind = VALUE_MAP, .count = count, .as.entries = entries};
}

/* A path within a path contributes its segments. */
static void evaluate_path(struct rules_evaluation *e, const struct rules_node *node,
                          struct rules_frame *frame, struct rules_value *ret) {
  const struct rules_value *parts = evaluate_children(e, node, 0, frame, ret);
  size_t count = 0;
  if (parts == NULL)
    return;
  for (uint32_t i = 0; i < node->child_count; i++)
    count += parts[i].kind == VALUE_PATH ? parts[i].count : 1;
  struct rules_value *segments = rules_memory(e, count, sizeof *segments);
  size_t at = 0;
  for (uint32_t i = 0; segments != NULL && i < node->child_count; i++) {
    str text;
    if (parts[i].kind == VALUE_PATH) {
      for (uint32_t j = 0; j < parts[i].count; j++)
        segments[at++] = parts[i].as.items[j];
    } else if (rules_to_text(e, &parts[i], &text)) {
      segments[at++] = rules_string(text);
    } else {
      *ret = rules_operand_error(e, node, &parts[i], NULL);
      return;
    }
  }
  *ret = rules_items(VALUE_PATH, segments, count);
}

/* ---- && and ||, which absorb errors ---- */

static void evaluate_logic(struct rules_evaluation *e, const struct rules_node *node,
                           struct rules_frame *frame, struct rules_value *ret) {
  bool decisive = node->kind == NODE_OR; /* the value that decides, whatever the others are */
  struct rules_value doubt = rules_bool(!decisive), value;
  for (uint32_t i = 0; i < node->child_count && e->fatal == RULES_ERROR_NONE; i++) {
    rules_evaluate(e, node->children[i], frame, &value);
    if (value.kind == VALUE_BOOL) {
      if (value.as.boolean == decisive) {
        *ret = value;
        return;
      }
    } else if (value.kind >= VALUE_UNKNOWN) {
      doubt = unknown(node->children[i]);
    } else if (doubt.kind == VALUE_BOOL) {
      doubt = value.kind == VALUE_ERROR ? value : rules_error_value(e, RULES_ERROR_TYPE, node->children[i]);
      if (value.kind != VALUE_ERROR)
        doubt.as.where.left = value.kind;
    }
  }
  *ret = doubt;
}

static void evaluate_ternary(struct rules_evaluation *e, const struct rules_node *node,
                             struct rules_frame *frame, struct rules_value *ret) {
  struct rules_value condition;
  rules_evaluate(e, node->children[0], frame, &condition);
  if (condition.kind == VALUE_BOOL) {
    rules_evaluate(e, node->children[condition.as.boolean ? 1 : 2], frame, ret);
  } else if (condition.kind >= VALUE_UNKNOWN) {
    *ret = unknown(node);
  } else {
    *ret = condition.kind == VALUE_ERROR ? condition : rules_error_value(e, RULES_ERROR_TYPE, node);
    if (condition.kind != VALUE_ERROR)
      ret->as.where.left = condition.kind;
  }
}

/* ---- Operators ---- */

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

static void evaluate_unary(struct rules_evaluation *e, const struct rules_node *node,
                           struct rules_frame *frame, struct rules_value *ret) {
  struct rules_value value;
  rules_evaluate(e, node->children[0], frame, &value);
  if (value.kind == VALUE_ERROR)
    *ret = value;
  else if (rules_is_vague(&value))
    *ret = unknown(node);
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
    return unknown(node);
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
    return unknown(node);
  if (b->kind == VALUE_PARTIAL)
    return rules_truth_value(rules_prove_contains(e, b, a), node);
  if (b->kind == VALUE_LIST || b->kind == VALUE_SET)
    return rules_truth_value(a->kind == VALUE_PARTIAL ? partial_is_in(e, a, b) : is_in(e, a, b), node);
  if (b->kind != VALUE_MAP && b->kind != VALUE_OBJECT)
    return rules_operand_error(e, node, a, b);
  if (a->kind == VALUE_PARTIAL)
    return unknown(node);
  if (a->kind != VALUE_STRING)
    return rules_operand_error(e, node, a, b);
  return rules_bool(b->kind == VALUE_MAP ? rules_map_find(e, b, a->as.bytes, &ignored)
                                         : rules_object_find(e, b, a->as.bytes, &ignored));
}

static void evaluate_binary(struct rules_evaluation *e, const struct rules_node *node,
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
    *ret = rules_is_vague(&a) || rules_is_vague(&b) ? unknown(node) : arithmetic(e, node, &a, &b);
}

static void evaluate_is(struct rules_evaluation *e, const struct rules_node *node, struct rules_frame *frame,
                        struct rules_value *ret) {
  struct rules_value value;
  rules_evaluate(e, node->children[0], frame, &value);
  uint16_t type = node->number;
  if (value.kind == VALUE_ERROR)
    *ret = value;
  else if (value.kind == VALUE_UNKNOWN ||
           (rules_is_vague(&value) && (type == VALUE_INT || type == VALUE_FLOAT)))
    *ret = unknown(node);
  else if (value.kind == VALUE_PARTIAL)
    *ret = rules_truth_value(rules_prove_type(e, value.as.partial, type), node);
  else if (type == TYPE_NUMBER)
    *ret = rules_bool(rules_is_number(&value));
  else
    *ret = rules_bool(value.kind == type || (value.kind == VALUE_OBJECT && type == VALUE_MAP));
}

/* ---- Calls ---- */

/* What can be said of a field of which only filters are known. */
static bool call_on_partial(struct rules_evaluation *e, const struct rules_call *call,
                            struct rules_value *ret) {
  const struct rules_value *target = call->target, *argument = call->arguments;
  enum rules_truth result = call->node->number == METHOD_HAS_ANY ? RULES_MAYBE : RULES_TRUE;
  struct rules_value item;
  if (call->node->number == METHOD_GET && call->argument_count == 2 && argument->kind == VALUE_STRING) {
    struct rules_value member = rules_partial_member(e, target, argument->as.bytes);
    *ret = member.kind == VALUE_PARTIAL && !rules_partial_exists(e, member.as.partial) ? unknown(call->node)
                                                                                       : member;
    return true;
  }
  if ((call->node->number != METHOD_HAS_ANY && call->node->number != METHOD_HAS_ALL) ||
      call->argument_count != 1 || (argument->kind != VALUE_LIST && argument->kind != VALUE_SET))
    return false;
  struct rules_cursor cursor = rules_cursor_make(e, argument);
  while (rules_cursor_item(&cursor, &item)) {
    enum rules_truth truth = rules_prove_item(e, target->as.partial, &item);
    if (call->node->number == METHOD_HAS_ANY ? truth == RULES_TRUE : truth != RULES_TRUE)
      result = truth == RULES_TRUE ? RULES_TRUE : RULES_MAYBE;
  }
  if (call->node->number == METHOD_HAS_ALL && rules_count(e, argument) == 0)
    result = RULES_MAYBE; /* is it a list at all? */
  *ret = rules_truth_value(result, call->node);
  return true;
}

static void evaluate_call(struct rules_evaluation *e, const struct rules_node *node,
                          struct rules_frame *frame, struct rules_value *ret) {
  bool is_method = node->kind == NODE_METHOD;
  const struct rules_builtin_info *info = rules_builtin_info((enum rules_builtin)node->number);
  uint32_t first = is_method ? 1 : 0, count = node->child_count - first;
  if (count < info->least || count > info->most) {
    *ret = rules_error_value(e, RULES_ERROR_ARGUMENTS, node);
    return;
  }
  struct rules_value values[5];
  bool vague = false;
  for (uint32_t i = 0; i < node->child_count; i++) {
    rules_evaluate(e, node->children[i], frame, &values[i]);
    if (values[i].kind == VALUE_ERROR) {
      *ret = values[i];
      return;
    }
    vague = vague || rules_is_vague(&values[i]);
  }
  struct rules_call call = {node, is_method ? &values[0] : NULL, values + first, count};
  if (!vague || node->number == FUNCTION_DEBUG)
    rules_call_builtin(e, &call, ret);
  else if (!is_method || values[0].kind != VALUE_PARTIAL || (count > 0 && rules_is_vague(&values[1])) ||
           !call_on_partial(e, &call, ret))
    *ret = unknown(node);
}

/* ---- All of it ---- */

static void count_coverage(struct rules_evaluation *e, const struct rules_node *node,
                           const struct rules_value *value) {
  struct rules_coverage *coverage = &e->request->coverage[node->index];
  if (value->kind == VALUE_BOOL && value->as.boolean)
    coverage->true_count++;
  else if (value->kind == VALUE_BOOL)
    coverage->false_count++;
  else if (value->kind == VALUE_NULL)
    coverage->null_count++;
  else if (value->kind == VALUE_ERROR)
    coverage->error_count++;
  else if (value->kind >= VALUE_UNKNOWN)
    coverage->unknown_count++;
  else
    coverage->other_count++;
}

static void evaluate_kind(struct rules_evaluation *e, const struct rules_node *node,
                          struct rules_frame *frame, struct rules_value *ret) {
  switch ((enum rules_node_kind)node->kind) {
  case NODE_LITERAL:
    *ret = node->as.literal;
    return;
  case NODE_LOCAL:
    evaluate_local(e, node, frame, ret);
    return;
  case NODE_CAPTURE:
    *ret = e->captures[node->number];
    return;
  case NODE_REQUEST:
    *ret = rules_request_object();
    return;
  case NODE_RESOURCE:
    *ret = rules_resource_value(e);
    return;
  case NODE_NAME:
  case NODE_CALL:
    *ret = rules_error_value(e, RULES_ERROR_NAME, node);
    return;
  case NODE_MEMBER:
    evaluate_member(e, node, frame, ret);
    return;
  case NODE_INDEX:
    evaluate_index(e, node, frame, ret);
    return;
  case NODE_SLICE:
    evaluate_slice(e, node, frame, ret);
    return;
  case NODE_METHOD:
  case NODE_BUILTIN:
    evaluate_call(e, node, frame, ret);
    return;
  case NODE_FUNCTION:
    evaluate_function(e, node, frame, ret);
    return;
  case NODE_LIST:
    evaluate_list(e, node, frame, ret);
    return;
  case NODE_MAP:
    evaluate_map(e, node, frame, ret);
    return;
  case NODE_PATH:
    evaluate_path(e, node, frame, ret);
    return;
  case NODE_NOT:
  case NODE_NEGATE:
    evaluate_unary(e, node, frame, ret);
    return;
  case NODE_AND:
  case NODE_OR:
    evaluate_logic(e, node, frame, ret);
    return;
  case NODE_TERNARY:
    evaluate_ternary(e, node, frame, ret);
    return;
  case NODE_IS:
    evaluate_is(e, node, frame, ret);
    return;
  case NODE_IN:
  case NODE_EQUAL:
  case NODE_NOT_EQUAL:
  case NODE_LESS:
  case NODE_LESS_OR_EQUAL:
  case NODE_GREATER:
  case NODE_GREATER_OR_EQUAL:
  case NODE_ADD:
  case NODE_SUBTRACT:
  case NODE_MULTIPLY:
  case NODE_DIVIDE:
  case NODE_MODULO:
    evaluate_binary(e, node, frame, ret);
    return;
  }
}

void rules_evaluate(struct rules_evaluation *e, const struct rules_node *node, struct rules_frame *frame,
                    struct rules_value *ret) {
  if (node->kind == NODE_LITERAL && e->request->coverage == NULL) {
    *ret = node->as.literal;
    return;
  }
  ret->kind = VALUE_NULL;
  if (node->kind != NODE_LITERAL && ++e->evaluations > RULES_EVALUATIONS_MAX)
    rules_fail(e, RULES_ERROR_EVALUATIONS);
  if (++e->depth > RULES_DEPTH_MAX)
    rules_fail(e, RULES_ERROR_DEPTH);
  if (e->fatal == RULES_ERROR_NONE)
    evaluate_kind(e, node, frame, ret);
  e->depth--;
  if (e->fatal != RULES_ERROR_NONE && (ret->kind != VALUE_ERROR || ret->error < RULES_ERROR_FATAL))
    *ret = rules_error_value(e, e->fatal, node);
  if (e->request->coverage != NULL)
    count_coverage(e, node, ret);
}
