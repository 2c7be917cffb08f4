/* Random trees of filters and random documents: what the filters of a request mean, said once more and as
 * plainly as can be, the prepared tree and the normal form agree. A seed in SKERRY_TEST_SEED repeats a run.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "tests/support/unit.h"
/* After unit.h. */
#include "base/limits.h"
#include "storage/document/value_order.h"
#include "storage/query/match.h"
#include "storage/query/query_build.h"

enum { TREES = 20000, DOCUMENTS = 40 };

static uint64_t seed;

static size_t below(size_t bound) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (size_t)((seed >> 20) % bound);
}

/* ---- Random things ---- */

static struct doc_value random_scalar(void) {
  switch (below(9)) {
  case 0:
    return build_null();
  case 1:
    return build_number(NAN);
  case 2:
    return build_number(1);
  case 3:
    return build_number(1.5);
  case 4:
    return build_string("x");
  case 5:
    return build_boolean(true);
  default:
    return build_integer((int64_t)below(3));
  }
}

static struct doc_value random_list(size_t count_max) {
  struct doc_value items[4];
  size_t count = 1 + below(count_max);
  for (size_t i = 0; i < count; i++)
    items[i] = random_scalar();
  return build_array(count, items);
}

static struct doc_value random_value(void) {
  switch (below(8)) {
  case 0:
    return random_list(3);
  case 1:
    return BUILD_MAP({STR("k"), random_scalar()});
  case 2:
    return BUILD_VECTOR((double)below(2), 1);
  default:
    return random_scalar();
  }
}

static const char *const field_names[] = {"a", "b", "c"};

static struct query_filter random_leaf(void) {
  /* Of the operators of which a query may have one only, few. */
  static const enum query_op ops[] = {QUERY_EQUAL,
                                      QUERY_EQUAL,
                                      QUERY_EQUAL,
                                      QUERY_LESS,
                                      QUERY_LESS_OR_EQUAL,
                                      QUERY_GREATER,
                                      QUERY_IN,
                                      QUERY_IN,
                                      QUERY_GREATER_OR_EQUAL,
                                      QUERY_IS_NULL,
                                      QUERY_ARRAY_CONTAINS,
                                      QUERY_ARRAY_CONTAINS_ANY,
                                      QUERY_IS_NAN,
                                      QUERY_IN,
                                      QUERY_EQUAL};
  static const enum query_op single_ops[] = {QUERY_NOT_EQUAL, QUERY_NOT_IN, QUERY_IS_NOT_NULL,
                                             QUERY_IS_NOT_NAN};
  enum query_op op = below(12) == 0 ? single_ops[below(4)] : ops[below(UNIT_COUNT(ops))];
  bool takes_list = op == QUERY_IN || op == QUERY_NOT_IN || op == QUERY_ARRAY_CONTAINS_ANY;
  return build_filter(field_names[below(3)], op, takes_list ? random_list(4) : random_value());
}

static struct query_filter random_tree(unsigned depth) {
  if (depth == 0 || below(3) == 0)
    return random_leaf();
  struct query_filter parts[4];
  size_t count = 1 + below(4);
  for (size_t i = 0; i < count; i++)
    parts[i] = random_tree(depth - 1);
  return build_composite(below(2) == 0 ? QUERY_AND : QUERY_OR, count, parts);
}

static struct doc_map random_document(void) {
  struct doc_field fields[3];
  size_t count = 0;
  for (size_t i = 0; i < 3; i++)
    if (below(6) != 0)
      fields[count++] = (struct doc_field){str_from_cstr(field_names[i]), random_value()};
  return build_map(count, fields).as.map;
}

/* ---- What a request means ---- */

static bool is_nan(const struct doc_value *value) {
  return value->type == DOC_DOUBLE && isnan(value->as.number);
}
static bool is_number(const struct doc_value *value) {
  return value->type == DOC_INTEGER || value->type == DOC_DOUBLE;
}

/* As in SQL: null is equal and unequal to nothing, NaN equal to nothing. */
static bool equals(const struct doc_value *value, const struct doc_value *operand) {
  return operand->type != DOC_NULL && !is_nan(operand) && doc_value_compare(value, operand) == 0;
}

static bool same_type(const struct doc_value *value, const struct doc_value *operand) {
  if (value->type == DOC_NULL || is_nan(value) || is_nan(operand))
    return false;
  if (is_number(value) && is_number(operand))
    return true;
  return value->type == operand->type && doc_value_is_vector(value) == doc_value_is_vector(operand);
}

static bool in_array(const struct doc_value *value, const struct doc_value *operand) {
  for (size_t i = 0; value->type == DOC_ARRAY && i < value->as.array.count; i++)
    if (equals(&value->as.array.items[i], operand))
      return true;
  return false;
}

static bool leaf_means(const struct query_filter *filter, const struct doc_value *value) {
  const struct doc_value *operand = &filter->operand;
  bool any = false, has_null = false, any_element = false;
  for (size_t i = 0; operand->type == DOC_ARRAY && i < operand->as.array.count; i++) {
    any = any || equals(value, &operand->as.array.items[i]);
    any_element = any_element || in_array(value, &operand->as.array.items[i]);
    has_null = has_null || operand->as.array.items[i].type == DOC_NULL;
  }
  int order = doc_value_compare(value, operand);
  switch (filter->op) {
  case QUERY_EQUAL:
    return equals(value, operand);
  case QUERY_NOT_EQUAL:
    return value->type != DOC_NULL && operand->type != DOC_NULL && !equals(value, operand);
  case QUERY_LESS:
    return same_type(value, operand) && order < 0;
  case QUERY_LESS_OR_EQUAL:
    return same_type(value, operand) && order <= 0;
  case QUERY_GREATER:
    return same_type(value, operand) && order > 0;
  case QUERY_GREATER_OR_EQUAL:
    return same_type(value, operand) && order >= 0;
  case QUERY_IN:
    return any;
  case QUERY_NOT_IN:
    return value->type != DOC_NULL && !has_null && !any;
  case QUERY_ARRAY_CONTAINS:
    return in_array(value, operand);
  case QUERY_ARRAY_CONTAINS_ANY:
    return any_element;
  case QUERY_IS_NULL:
    return value->type == DOC_NULL;
  case QUERY_IS_NOT_NULL:
    return value->type != DOC_NULL;
  case QUERY_IS_NAN:
    return is_nan(value);
  case QUERY_IS_NOT_NAN:
    return value->type != DOC_NULL && !is_nan(value);
  }
  fail();
  return false;
}

static bool means(const struct query_filter *filter, struct doc_map fields) {
  if (filter->kind == QUERY_FIELD_FILTER) {
    const struct doc_value *value = query_field_get(fields, &filter->field.path);
    return value != NULL && leaf_means(filter, value);
  }
  size_t count = 0;
  for (size_t i = 0; i < filter->filter_count; i++)
    count += means(&filter->filters[i], fields);
  return filter->kind == QUERY_AND ? count == filter->filter_count : count > 0;
}

/* ---- The property ---- */

static bool any_conjunction_matches(const struct query *query, const struct doc_path *path,
                                    struct doc_map fields) {
  for (size_t i = 0; i < query->conjunction_count; i++)
    if (query_conjunction_matches(&query->conjunctions[i], path, fields))
      return true;
  return false;
}

static void check_form(const struct query *query) {
  assert_true(query->conjunction_count <= LIMIT_QUERY_DISJUNCTIONS);
  for (size_t i = 0; i < query->conjunction_count; i++)
    for (size_t k = 0; k < query->conjunctions[i].filter_count; k++) {
      const struct query_filter *filter = query->conjunctions[i].filters[k];
      assert_int_equal(filter->kind, QUERY_FIELD_FILTER);
      assert_true(filter->op != QUERY_IN && filter->op != QUERY_ARRAY_CONTAINS_ANY &&
                  filter->op != QUERY_IS_NULL && filter->op != QUERY_IS_NAN);
    }
}

static size_t check_tree(const struct doc_path *path, size_t *matches) {
  struct query_filter tree = random_tree(3);
  struct query query = build_query("", "c");
  query.where = &tree;
  status s = query_prepare(&query, &query_arena);
  if (s.code != STATUS_OK) {
    assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
    return 0;
  }
  check_form(&query);
  for (size_t i = 0; i < DOCUMENTS; i++) {
    struct doc_map fields = random_document();
    bool wanted = means(&tree, fields);
    *matches += wanted;
    if (query_filter_matches(query.where, path, fields) != wanted ||
        any_conjunction_matches(&query, path, fields) != wanted) {
      str text = {NULL, 0};
      (void)!query_format(&query, &query_arena, &text).code;
      fail_msg(STR_FMT " should%s match", STR_ARG(text), wanted ? "" : " not");
    }
  }
  return 1;
}

static void test_all_say_the_same(void **state) {
  (void)state;
  const char *given = getenv("SKERRY_TEST_SEED");
  seed = given == NULL ? 20260801 : strtoull(given, NULL, 10) | 1;
  printf("seed %" PRIu64 "\n", seed);
  size_t taken = 0, matches = 0;
  for (size_t i = 0; i < TREES; i++) {
    arena_reset(&query_arena);
    struct doc_path path = build_path("c/a");
    taken += check_tree(&path, &matches);
  }
  /* Enough of them say something. */
  assert_true(taken > TREES / 3);
  assert_in_range(matches, taken * DOCUMENTS / 20, taken * DOCUMENTS / 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_all_say_the_same, query_build_init, query_build_fini),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
