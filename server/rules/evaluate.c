/* Evaluates expressions. Each level of recursion is one call of rules_evaluate and one of a static function.
 */
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
    *ret = rules_unknown(node);
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
      doubt = rules_unknown(node->children[i]);
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
    *ret = rules_unknown(node);
  } else {
    *ret = condition.kind == VALUE_ERROR ? condition : rules_error_value(e, RULES_ERROR_TYPE, node);
    if (condition.kind != VALUE_ERROR)
      ret->as.where.left = condition.kind;
  }
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
    *ret = member.kind == VALUE_PARTIAL && !rules_partial_exists(e, member.as.partial)
               ? rules_unknown(call->node)
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
    *ret = rules_unknown(node);
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
    rules_evaluate_member(e, node, frame, ret);
    return;
  case NODE_INDEX:
    rules_evaluate_index(e, node, frame, ret);
    return;
  case NODE_SLICE:
    rules_evaluate_slice(e, node, frame, ret);
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
    rules_evaluate_unary(e, node, frame, ret);
    return;
  case NODE_AND:
  case NODE_OR:
    evaluate_logic(e, node, frame, ret);
    return;
  case NODE_TERNARY:
    evaluate_ternary(e, node, frame, ret);
    return;
  case NODE_IS:
    rules_evaluate_is(e, node, frame, ret);
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
    rules_evaluate_binary(e, node, frame, ret);
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
