/* Different field filters are numbered in the order in which they appear; there are at most
 * LIMIT_QUERY_PARTS, so a conjunction is a set of bits. AND is the product of its parts' sets, OR their
 * union, and duplicates fall out at each step; a step that leaves more than LIMIT_QUERY_DISJUNCTIONS ends it
 * all, so no step sees more than the square of that. */
#include "storage/query/normal_form.h"

#include <assert.h>
#include <math.h>

#include "base/limits.h"

status query_too_many_parts(void) {
  return status_make(STATUS_INVALID_ARGUMENT,
                     "The query has more than %d filters, orders and parent together; each value of an `in` "
                     "counts.",
                     LIMIT_QUERY_PARTS);
}

/* ---- Making it simpler ---- */

static bool is_nan(const struct doc_value *value) {
  return value->type == DOC_DOUBLE && isnan(value->as.number);
}

/* What equals nothing when a request compares with it. */
static bool is_unequal_to_all(const struct doc_value *value) {
  return value->type == DOC_NULL || is_nan(value);
}

static struct query_filter never(void) {
  return (struct query_filter){.kind = QUERY_OR};
}
static bool is_never(const struct query_filter *filter) {
  return filter->kind == QUERY_OR && filter->filter_count == 0;
}

static bool holds(const struct doc_value *items, size_t count, const struct doc_value *value) {
  for (size_t i = 0; i < count; i++)
    if (doc_value_equal(&items[i], value))
      return true;
  return false;
}

/* The values of a list that can equal something, each once. */
static status simplify_list(const struct doc_value *list, struct arena *arena, struct doc_value *ret) {
  struct doc_value *items = ARENA_NEW_ARRAY(arena, struct doc_value, list->as.array.count);
  if (items == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  size_t count = 0;
  for (size_t i = 0; i < list->as.array.count; i++) {
    const struct doc_value *item = &list->as.array.items[i];
    if (!is_unequal_to_all(item) && !holds(items, count, item))
      items[count++] = *item;
  }
  *ret = (struct doc_value){.type = DOC_ARRAY, .as.array = {items, count}};
  return status_ok();
}

bool query_filter_is_never(const struct query_filter *filter) {
  const struct doc_value *operand = &filter->operand;
  switch (filter->op) {
  case QUERY_EQUAL:
  case QUERY_LESS:
  case QUERY_LESS_OR_EQUAL:
  case QUERY_GREATER:
  case QUERY_GREATER_OR_EQUAL:
  case QUERY_ARRAY_CONTAINS:
    return is_unequal_to_all(operand);
  case QUERY_NOT_EQUAL:
    return operand->type == DOC_NULL;
  case QUERY_IN:
  case QUERY_ARRAY_CONTAINS_ANY:
    for (size_t i = 0; i < operand->as.array.count; i++)
      if (!is_unequal_to_all(&operand->as.array.items[i]))
        return false;
    return true;
  case QUERY_NOT_IN:
    for (size_t i = 0; i < operand->as.array.count; i++)
      if (operand->as.array.items[i].type == DOC_NULL)
        return true;
    return false;
  case QUERY_IS_NULL:
  case QUERY_IS_NOT_NULL:
  case QUERY_IS_NAN:
  case QUERY_IS_NOT_NAN:
    return false;
  }
  return false;
}

static status simplify_any_of(const struct query_filter *filter, enum query_op single, struct arena *arena,
                              struct query_filter *ret) {
  *ret = *filter;
  STATUS_TRY(simplify_list(&filter->operand, arena, &ret->operand));
  if (ret->operand.as.array.count == 1) {
    ret->op = single;
    ret->operand = ret->operand.as.array.items[0];
  }
  return status_ok();
}

static status simplify_not_in(const struct query_filter *filter, struct arena *arena,
                              struct query_filter *ret) {
  *ret = *filter;
  STATUS_TRY(simplify_list(&filter->operand, arena, &ret->operand));
  if (ret->operand.as.array.count == 0)
    ret->op = QUERY_IS_NOT_NULL;
  return status_ok();
}

static status simplify_field_filter(const struct query_filter *filter, struct arena *arena,
                                    struct query_filter *ret) {
  *ret = *filter;
  if (query_filter_is_never(filter)) {
    *ret = never();
    return status_ok();
  }
  switch (filter->op) {
  case QUERY_NOT_EQUAL:
    if (is_nan(&filter->operand))
      ret->op = QUERY_IS_NOT_NULL;
    break;
  case QUERY_IN:
    return simplify_any_of(filter, QUERY_EQUAL, arena, ret);
  case QUERY_ARRAY_CONTAINS_ANY:
    return simplify_any_of(filter, QUERY_ARRAY_CONTAINS, arena, ret);
  case QUERY_NOT_IN:
    return simplify_not_in(filter, arena, ret);
  case QUERY_IS_NULL:
    ret->op = QUERY_EQUAL;
    ret->operand = (struct doc_value){.type = DOC_NULL};
    break;
  case QUERY_IS_NAN:
    ret->op = QUERY_EQUAL;
    ret->operand = (struct doc_value){.type = DOC_DOUBLE, .as.number = (double)NAN};
    break;
  case QUERY_EQUAL:
  case QUERY_LESS:
  case QUERY_LESS_OR_EQUAL:
  case QUERY_GREATER:
  case QUERY_GREATER_OR_EQUAL:
  case QUERY_ARRAY_CONTAINS:
  case QUERY_IS_NOT_NULL:
  case QUERY_IS_NOT_NAN:
    break;
  }
  return status_ok();
}

/* `parts` are the simplified parts of a composite of that kind. */
static status join(enum query_filter_kind kind, const struct query_filter *parts, size_t part_count,
                   struct arena *arena, struct query_filter *ret) {
  size_t count = 0;
  for (size_t i = 0; i < part_count; i++)
    count += parts[i].kind == kind ? parts[i].filter_count : 1;
  struct query_filter *filters = ARENA_NEW_ARRAY(arena, struct query_filter, count);
  if (filters == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  count = 0;
  for (size_t i = 0; i < part_count; i++) {
    if (parts[i].kind != kind)
      filters[count++] = parts[i];
    else
      for (size_t k = 0; k < parts[i].filter_count; k++)
        filters[count++] = parts[i].filters[k];
  }
  *ret = count == 1 ? filters[0]
                    : (struct query_filter){.kind = kind, .filters = filters, .filter_count = count};
  return status_ok();
}

status query_filter_simplify(const struct query_filter *filter, struct arena *arena,
                             struct query_filter *ret) {
  if (filter->kind == QUERY_FIELD_FILTER)
    return simplify_field_filter(filter, arena, ret);
  struct query_filter *parts = ARENA_NEW_ARRAY(arena, struct query_filter, filter->filter_count);
  if (parts == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < filter->filter_count; i++) {
    STATUS_TRY(query_filter_simplify(&filter->filters[i], arena, &parts[i]));
    if (filter->kind == QUERY_AND && is_never(&parts[i])) {
      *ret = never();
      return status_ok();
    }
  }
  return join(filter->kind, parts, filter->filter_count, arena, ret);
}

/* ---- The normal form ---- */

struct bits {
  uint64_t words[2];
};
_Static_assert(LIMIT_QUERY_PARTS <= 128, "a filter is a bit");

static struct bits bit(size_t at) {
  struct bits one = {{0, 0}};
  one.words[at / 64] = UINT64_C(1) << at % 64;
  return one;
}
static bool bits_meet(struct bits a, struct bits b) {
  return ((a.words[0] & b.words[0]) | (a.words[1] & b.words[1])) != 0;
}
static struct bits bits_union(struct bits a, struct bits b) {
  return (struct bits){{a.words[0] | b.words[0], a.words[1] | b.words[1]}};
}
static bool bits_equal(struct bits a, struct bits b) {
  return a.words[0] == b.words[0] && a.words[1] == b.words[1];
}
static size_t bits_count(struct bits a) {
  size_t low = (size_t)__builtin_popcountll(a.words[0]), high = (size_t)__builtin_popcountll(a.words[1]);
  return low + high;
}
static bool bits_have(struct bits a, size_t at) {
  return (a.words[at / 64] >> at % 64 & 1) != 0;
}

/* With room for one too many, which is noticed at the end of a step. */
struct conjunctions {
  struct bits items[LIMIT_QUERY_DISJUNCTIONS + 1];
  size_t count;
};

struct former {
  struct query_filter *filters; /* the different ones */
  size_t count, capacity;
};

static void add(struct conjunctions *set, struct bits conjunction) {
  for (size_t i = 0; i < set->count; i++)
    if (bits_equal(set->items[i], conjunction))
      return;
  if (set->count <= LIMIT_QUERY_DISJUNCTIONS)
    set->items[set->count++] = conjunction;
}

static status check_count(const struct conjunctions *set) {
  if (set->count <= LIMIT_QUERY_DISJUNCTIONS)
    return status_ok();
  return status_make(STATUS_INVALID_ARGUMENT,
                     "Too many disjunctions after normalization: more than the maximum of %d. Values of `in` "
                     "and `array-contains-any` and parts of an OR add up, and multiply under an AND.",
                     LIMIT_QUERY_DISJUNCTIONS);
}

static int compare_fields(const struct query_field *a, const struct query_field *b) {
  if (a->is_name || b->is_name)
    return (int)a->is_name - (int)b->is_name;
  return doc_field_path_compare(&a->path, &b->path);
}

static bool same_field_filter(const struct query_filter *a, const struct query_filter *b) {
  if (a->op != b->op || compare_fields(&a->field, &b->field) != 0)
    return false;
  return a->op >= QUERY_IS_NULL || doc_value_equal(&a->operand, &b->operand);
}

static status number(struct former *former, const struct query_filter *filter, struct bits *ret) {
  size_t at = 0;
  while (at < former->count && !same_field_filter(&former->filters[at], filter))
    at++;
  if (at == former->count) {
    if (former->count == former->capacity)
      return query_too_many_parts();
    former->filters[former->count++] = *filter;
  }
  *ret = bit(at);
  return status_ok();
}

static status form_field_filter(struct former *former, const struct query_filter *filter,
                                struct conjunctions *ret) {
  bool is_list = filter->op == QUERY_IN || filter->op == QUERY_ARRAY_CONTAINS_ANY;
  if (!is_list) {
    ret->count = 1;
    return number(former, filter, &ret->items[0]);
  }
  struct query_filter single = *filter;
  single.op = filter->op == QUERY_IN ? QUERY_EQUAL : QUERY_ARRAY_CONTAINS;
  ret->count = 0;
  for (size_t i = 0; i < filter->operand.as.array.count; i++) {
    struct bits one;
    single.operand = filter->operand.as.array.items[i];
    STATUS_TRY(number(former, &single, &one));
    add(ret, one);
  }
  return check_count(ret);
}

static status form(struct former *former, const struct query_filter *filter, struct conjunctions *ret);

static status form_and(struct former *former, const struct query_filter *filter, struct conjunctions *ret) {
  ret->count = 1;
  ret->items[0] = (struct bits){{0, 0}};
  for (size_t part = 0; part < filter->filter_count; part++) {
    struct conjunctions more, product = {.count = 0};
    STATUS_TRY(form(former, &filter->filters[part], &more));
    for (size_t i = 0; i < ret->count; i++)
      for (size_t k = 0; k < more.count; k++)
        add(&product, bits_union(ret->items[i], more.items[k]));
    STATUS_TRY(check_count(&product));
    *ret = product;
  }
  return status_ok();
}

static status form_or(struct former *former, const struct query_filter *filter, struct conjunctions *ret) {
  ret->count = 0;
  for (size_t part = 0; part < filter->filter_count; part++) {
    struct conjunctions more;
    STATUS_TRY(form(former, &filter->filters[part], &more));
    for (size_t i = 0; i < more.count; i++)
      add(ret, more.items[i]);
    STATUS_TRY(check_count(ret));
  }
  return status_ok();
}

static status form(struct former *former, const struct query_filter *filter, struct conjunctions *ret) {
  switch (filter->kind) {
  case QUERY_AND:
    return form_and(former, filter, ret);
  case QUERY_OR:
    return form_or(former, filter, ret);
  case QUERY_FIELD_FILTER:
    break;
  }
  return form_field_filter(former, filter, ret);
}

static size_t count_field_filters(const struct query_filter *filter) {
  if (filter->kind == QUERY_FIELD_FILTER)
    return filter->op == QUERY_IN || filter->op == QUERY_ARRAY_CONTAINS_ANY ? filter->operand.as.array.count
                                                                            : 1;
  size_t count = 0;
  for (size_t i = 0; i < filter->filter_count; i++)
    count += count_field_filters(&filter->filters[i]);
  return count;
}

static status check_array_contains(const struct former *former, const struct conjunctions *conjunctions) {
  for (size_t i = 0; i < conjunctions->count; i++) {
    size_t count = 0;
    for (size_t k = 0; k < former->count; k++)
      count += former->filters[k].op == QUERY_ARRAY_CONTAINS && bits_have(conjunctions->items[i], k);
    if (count > 1)
      return status_make(
          STATUS_INVALID_ARGUMENT,
          "A maximum of one `array-contains` filter is allowed per disjunction, and none beside "
          "`array-contains-any`.");
  }
  return status_ok();
}

/* Makes each filter simple; conjunctions with one that is never true fall out. */
static status settle(struct former *former, struct conjunctions *conjunctions, struct arena *arena) {
  struct bits nevers = {{0, 0}};
  for (size_t k = 0; k < former->count; k++) {
    struct query_filter simple;
    STATUS_TRY(simplify_field_filter(&former->filters[k], arena, &simple));
    if (is_never(&simple))
      nevers = bits_union(nevers, bit(k));
    else
      former->filters[k] = simple;
  }
  size_t count = 0;
  for (size_t i = 0; i < conjunctions->count; i++)
    if (!bits_meet(conjunctions->items[i], nevers))
      conjunctions->items[count++] = conjunctions->items[i];
  conjunctions->count = count;
  return status_ok();
}

static status give(const struct former *former, const struct conjunctions *conjunctions, struct arena *arena,
                   const struct query_conjunction **ret) {
  struct query_conjunction *items = ARENA_NEW_ARRAY(arena, struct query_conjunction, conjunctions->count);
  if (items == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < conjunctions->count; i++) {
    struct bits bits = conjunctions->items[i];
    size_t count = bits_count(bits), at = 0;
    const struct query_filter **filters = ARENA_NEW_ARRAY(arena, const struct query_filter *, count);
    if (filters == NULL)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    for (size_t k = 0; k < former->count; k++)
      if (bits_have(bits, k))
        filters[at++] = &former->filters[k];
    assert(at == count);
    items[i] = (struct query_conjunction){filters, count};
  }
  *ret = items;
  return status_ok();
}

status query_normal_form(const struct query_filter *where, struct arena *arena,
                         const struct query_conjunction **ret_conjunctions, size_t *ret_conjunction_count,
                         size_t *ret_filter_count) {
  struct former former = {.capacity = count_field_filters(where)};
  if (former.capacity > LIMIT_QUERY_PARTS)
    former.capacity = LIMIT_QUERY_PARTS;
  former.filters = ARENA_NEW_ARRAY(arena, struct query_filter, former.capacity);
  if (former.filters == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  struct conjunctions conjunctions;
  STATUS_TRY(form(&former, where, &conjunctions));
  STATUS_TRY(check_array_contains(&former, &conjunctions));
  STATUS_TRY(settle(&former, &conjunctions, arena));
  STATUS_TRY(give(&former, &conjunctions, arena, ret_conjunctions));
  *ret_conjunction_count = conjunctions.count;
  *ret_filter_count = former.count;
  return status_ok();
}
