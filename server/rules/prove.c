/* What the filters of a query say of every document that it may give.
 *
 * A comparison of a rule with a field of the results is true if it is for all values that pass the filters,
 * false if it is for none, and unknown otherwise; a field that no filter is about may be missing, so nothing
 * is known of it. Ranges hold values of the operand's type only (integers and doubles together, never NaN),
 * `!=` and not-in leave out null, and no filter matches a document without its field: storage/query/match.h.
 */
#include <math.h>

#include "server/rules/evaluation.h"

/* Past it, integers and doubles do not convert exactly, and rules compare mixed numbers as doubles. */
#define EXACT_NUMBER_MAX 9007199254740992.0

struct rules_value rules_partial_root(struct rules_evaluation *e) {
  static const struct rules_partial root = {NULL, {NULL, 0}, 0};
  (void)e;
  return (struct rules_value){.kind = VALUE_PARTIAL, .as.partial = &root};
}

/* Whether the field is at the first partial->depth names of `path`. */
static bool is_prefix(const struct rules_partial *partial, const struct doc_field_path *path) {
  if (path->count < partial->depth)
    return false;
  for (; partial->outer != NULL; partial = partial->outer)
    if (!str_eq(path->segments[partial->depth - 1], partial->key))
      return false;
  return true;
}

static bool is_about(const struct rules_filter *filter, const struct rules_partial *partial) {
  return filter->field.count > 0 && filter->field.count == partial->depth &&
         is_prefix(partial, &filter->field);
}

/* Steps through the filters about this field. */
static const struct rules_filter *next_filter(struct rules_evaluation *e, const struct rules_partial *partial,
                                              size_t *at) {
  while (e->conjunction != NULL && *at < e->conjunction->filter_count && rules_work(e, 1)) {
    const struct rules_filter *filter = &e->conjunction->filters[(*at)++];
    if (is_about(filter, partial))
      return filter;
  }
  return NULL;
}

static struct rules_value operand(struct rules_evaluation *e, const struct rules_filter *filter) {
  return rules_value_from_wire(e, filter->value, RULES_FLAG_LOOSE);
}

bool rules_partial_exists(struct rules_evaluation *e, const struct rules_partial *partial) {
  if (partial->outer == NULL)
    return true;
  for (size_t i = 0; e->conjunction != NULL && i < e->conjunction->filter_count && rules_work(e, 1); i++)
    if (e->conjunction->filters[i].field.count > 0 && is_prefix(partial, &e->conjunction->filters[i].field))
      return true;
  return false;
}

struct rules_value rules_partial_member(struct rules_evaluation *e, const struct rules_value *partial,
                                        str key) {
  struct rules_partial *member = rules_memory(e, 1, sizeof *member);
  if (member == NULL)
    return rules_error_value(e, RULES_ERROR_MEMORY, NULL);
  *member = (struct rules_partial){partial->as.partial, key, partial->as.partial->depth + 1};
  const struct rules_filter *filter;
  for (size_t at = 0; (filter = next_filter(e, member, &at)) != NULL;)
    if (filter->op == RULES_EQUAL)
      return operand(e, filter);
  return (struct rules_value){.kind = VALUE_PARTIAL, .as.partial = member};
}

static bool is_inexact(const struct rules_value *value) {
  return rules_is_number(value) && !(fabs(rules_to_double(value)) < EXACT_NUMBER_MAX);
}

/* The order of two values of one class; false if they are of two, or have no order here. */
static bool order_of(const struct rules_value *a, const struct rules_value *b, int *ret) {
  bool unordered;
  return rules_compare(a, b, ret, &unordered) && !unordered && !is_inexact(a) && !is_inexact(b);
}

/* Everything that passes the filter `x OP bound` is of bound's class, so in it these hold of x. */
enum position { BELOW, AT_OR_BELOW, AT, AT_OR_ABOVE, ABOVE, ELSEWHERE, ANYWHERE };

/* Where all x with `x OP bound` lie as seen from `known`. */
static enum position position(enum rules_filter_op op, const struct rules_value *bound,
                              const struct rules_value *known) {
  int order; /* of the bound and what is asked about */
  if (bound->kind != known->kind && !(rules_is_number(bound) && rules_is_number(known)))
    return bound->kind == VALUE_NULL ? ANYWHERE : ELSEWHERE; /* other class: never equal */
  if (!order_of(bound, known, &order))
    return ANYWHERE;
  if (op == RULES_LESS || op == RULES_LESS_OR_EQUAL)
    return order < 0 || (order == 0 && op == RULES_LESS) ? BELOW : order == 0 ? AT_OR_BELOW : ANYWHERE;
  return order > 0 || (order == 0 && op == RULES_GREATER) ? ABOVE : order == 0 ? AT_OR_ABOVE : ANYWHERE;
}

static enum rules_truth inverse(enum rules_truth truth) {
  return truth == RULES_TRUE ? RULES_FALSE : truth == RULES_FALSE ? RULES_TRUE : RULES_MAYBE;
}

static enum rules_truth truth_at(enum position where, enum rules_node_kind operation) {
  switch ((unsigned)operation) {
  case NODE_EQUAL:
    return where == BELOW || where == ABOVE || where == ELSEWHERE ? RULES_FALSE : RULES_MAYBE;
  case NODE_LESS:
    return where == BELOW ? RULES_TRUE : where == AT_OR_ABOVE || where == ABOVE ? RULES_FALSE : RULES_MAYBE;
  case NODE_LESS_OR_EQUAL:
    return where == BELOW || where == AT_OR_BELOW ? RULES_TRUE : where == ABOVE ? RULES_FALSE : RULES_MAYBE;
  case NODE_GREATER:
    return where == ABOVE ? RULES_TRUE : where == AT_OR_BELOW || where == BELOW ? RULES_FALSE : RULES_MAYBE;
  case NODE_GREATER_OR_EQUAL:
    return where == ABOVE || where == AT_OR_ABOVE ? RULES_TRUE : where == BELOW ? RULES_FALSE : RULES_MAYBE;
  default:
    return RULES_MAYBE;
  }
}

/* `x == known` where the filter says what x is not: not null, and none of these. */
static enum rules_truth equal_despite(struct rules_evaluation *e, const struct rules_filter *filter,
                                      const struct rules_value *known) {
  if (known->kind == VALUE_NULL)
    return RULES_FALSE;
  if (filter->op == RULES_NOT_NULL)
    return RULES_MAYBE;
  struct rules_value excluded = operand(e, filter), item;
  if (is_inexact(known))
    return RULES_MAYBE;
  if (filter->op == RULES_NOT_EQUAL)
    return rules_equal(e, &excluded, known, EQUAL_OPERATOR) == RULES_TRUE ? RULES_FALSE : RULES_MAYBE;
  if (excluded.kind != VALUE_LIST)
    return RULES_MAYBE;
  struct rules_cursor cursor = rules_cursor_make(e, &excluded);
  while (rules_cursor_item(&cursor, &item))
    if (rules_equal(e, &item, known, EQUAL_OPERATOR) == RULES_TRUE)
      return RULES_FALSE;
  return RULES_MAYBE;
}

static enum rules_truth prove_by_one(struct rules_evaluation *e, const struct rules_filter *filter,
                                     enum rules_node_kind operation, const struct rules_value *known) {
  struct rules_value bound;
  switch (filter->op) {
  case RULES_LESS:
  case RULES_LESS_OR_EQUAL:
  case RULES_GREATER:
  case RULES_GREATER_OR_EQUAL:
    bound = operand(e, filter);
    return truth_at(position(filter->op, &bound, known), operation);
  case RULES_NOT_EQUAL:
  case RULES_NOT_IN:
  case RULES_NOT_NULL:
    return operation == NODE_EQUAL ? equal_despite(e, filter, known) : RULES_MAYBE;
  case RULES_ARRAY_CONTAINS: /* an array */
    return operation == NODE_EQUAL && known->kind != VALUE_LIST ? RULES_FALSE : RULES_MAYBE;
  case RULES_EQUAL:
  case RULES_EXISTS:
    return RULES_MAYBE;
  }
  return RULES_MAYBE;
}

enum rules_truth rules_prove_comparison(struct rules_evaluation *e, const struct rules_partial *partial,
                                        enum rules_node_kind operation, const struct rules_value *known) {
  if (known->kind >= VALUE_ERROR)
    return RULES_MAYBE;
  bool is_inequality = operation == NODE_NOT_EQUAL;
  if (partial->outer == NULL) { /* resource.data is a map */
    enum rules_truth truth = known->kind == VALUE_MAP ? RULES_MAYBE : RULES_FALSE;
    return operation == NODE_EQUAL ? truth : is_inequality ? inverse(truth) : RULES_MAYBE;
  }
  const struct rules_filter *filter;
  for (size_t at = 0; (filter = next_filter(e, partial, &at)) != NULL;) {
    enum rules_truth truth = prove_by_one(e, filter, is_inequality ? NODE_EQUAL : operation, known);
    if (truth != RULES_MAYBE)
      return is_inequality ? inverse(truth) : truth;
  }
  return RULES_MAYBE;
}

enum rules_truth rules_prove_item(struct rules_evaluation *e, const struct rules_partial *partial,
                                  const struct rules_value *value) {
  const struct rules_filter *filter;
  for (size_t at = 0; (filter = next_filter(e, partial, &at)) != NULL;) {
    if (filter->op != RULES_ARRAY_CONTAINS)
      continue;
    struct rules_value item = operand(e, filter);
    if (rules_equal(e, &item, value, EQUAL_STRICT) == RULES_TRUE)
      return RULES_TRUE;
  }
  return RULES_MAYBE;
}

enum rules_truth rules_prove_contains(struct rules_evaluation *e, const struct rules_value *partial,
                                      const struct rules_value *value) {
  if (rules_prove_item(e, partial->as.partial, value) == RULES_TRUE)
    return RULES_TRUE;
  if (value->kind != VALUE_STRING)
    return RULES_MAYBE;
  struct rules_value member = rules_partial_member(e, partial, value->as.bytes);
  return member.kind != VALUE_PARTIAL || rules_partial_exists(e, member.as.partial) ? RULES_TRUE
                                                                                    : RULES_MAYBE;
}

/* The type that the filter leaves, or VALUE_UNKNOWN. Numbers are VALUE_INT. */
static enum rules_kind class_of(struct rules_evaluation *e, const struct rules_filter *filter) {
  if (filter->op == RULES_ARRAY_CONTAINS)
    return VALUE_LIST;
  if (filter->op != RULES_LESS && filter->op != RULES_LESS_OR_EQUAL && filter->op != RULES_GREATER &&
      filter->op != RULES_GREATER_OR_EQUAL)
    return VALUE_UNKNOWN;
  struct rules_value bound = operand(e, filter);
  return rules_is_number(&bound) ? VALUE_INT : (enum rules_kind)bound.kind;
}

enum rules_truth rules_prove_type(struct rules_evaluation *e, const struct rules_partial *partial,
                                  uint16_t type) {
  /* Something is below it: it is a map. */
  for (size_t i = 0; e->conjunction != NULL && i < e->conjunction->filter_count && rules_work(e, 1); i++) {
    const struct rules_filter *filter = &e->conjunction->filters[i];
    if (filter->field.count > partial->depth && is_prefix(partial, &filter->field))
      return type == VALUE_MAP ? RULES_TRUE : RULES_FALSE;
  }
  if (partial->outer == NULL)
    return type == VALUE_MAP ? RULES_TRUE : RULES_FALSE;
  const struct rules_filter *filter;
  for (size_t at = 0; (filter = next_filter(e, partial, &at)) != NULL;) {
    enum rules_kind kind = class_of(e, filter);
    if (kind == VALUE_INT)
      return type == TYPE_NUMBER                        ? RULES_TRUE
             : type == VALUE_INT || type == VALUE_FLOAT ? RULES_MAYBE
                                                        : RULES_FALSE;
    if (kind != VALUE_UNKNOWN && kind != VALUE_NULL)
      return kind == type ? RULES_TRUE : RULES_FALSE;
  }
  return RULES_MAYBE;
}
