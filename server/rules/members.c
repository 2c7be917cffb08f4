/* What is in a value: a.b, a[b], a[b:c]. */
#include "server/rules/evaluation.h"

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

void rules_evaluate_member(struct rules_evaluation *e, const struct rules_node *node,
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

void rules_evaluate_index(struct rules_evaluation *e, const struct rules_node *node,
                          struct rules_frame *frame, struct rules_value *ret) {
  struct rules_value target, index;
  rules_evaluate(e, node->children[0], frame, &target);
  rules_evaluate(e, node->children[1], frame, &index);
  size_t size;
  if (target.kind == VALUE_ERROR || index.kind == VALUE_ERROR) {
    *ret = target.kind == VALUE_ERROR ? target : index;
  } else if (target.kind == VALUE_UNKNOWN || rules_is_vague(&index)) {
    *ret = rules_unknown(node);
  } else if (target.kind == VALUE_MAP || target.kind == VALUE_OBJECT || target.kind == VALUE_PARTIAL) {
    if (index.kind == VALUE_STRING)
      find_member(e, node, &target, index.as.bytes, ret);
    else
      *ret =
          target.kind == VALUE_PARTIAL ? rules_unknown(node) : rules_operand_error(e, node, &target, &index);
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

void rules_evaluate_slice(struct rules_evaluation *e, const struct rules_node *node,
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
    *ret = rules_unknown(node);
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
