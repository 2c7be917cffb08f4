#include <math.h>

#include "tests/support/unit.h"
/* After unit.h. */
#include "storage/document/value_order.h"
#include "storage/query/match.h"
#include "storage/query/query_build.h"

/* One value of each kind and border, in Firestore's order but for arrays and maps; the first is a field that
 * is not there. */
enum { CASE_VALUES = 36 };
static struct doc_value case_value(size_t at) {
  switch (at) {
  case 1:
    return build_null();
  case 2:
    return build_boolean(false);
  case 3:
    return build_boolean(true);
  case 4:
    return build_number(NAN);
  case 5:
    return build_number(-INFINITY);
  case 6:
    return build_number(-1.5);
  case 7:
    return build_number(-0.0);
  case 8:
    return build_integer(0);
  case 9:
    return build_integer(1);
  case 10:
    return build_number(1);
  case 11:
    return build_number(1.5);
  case 12:
    return build_number(INFINITY);
  case 13:
    return build_timestamp(0);
  case 14:
    return build_timestamp(1000001);
  case 15:
    return build_string("");
  case 16:
    return build_string("a");
  case 17:
    return build_string("b");
  case 18:
    return build_text(DOC_BYTES, "");
  case 19:
    return build_text(DOC_BYTES, "a");
  case 20:
    return build_reference("c/a");
  case 21:
    return build_reference("c/a/d/b");
  case 22:
    return build_geo_point(0, 0);
  case 23:
    return build_geo_point(0, 1);
  case 24:
    return build_array(0, NULL);
  case 25:
    return BUILD_ARRAY(build_integer(1));
  case 26:
    return BUILD_ARRAY(build_number(1), build_string("a"));
  case 27:
    return BUILD_ARRAY(build_null());
  case 28:
    return BUILD_ARRAY(build_number(NAN));
  case 29:
    return BUILD_ARRAY(BUILD_MAP({STR("a"), build_integer(1)}));
  case 30:
    return BUILD_VECTOR(1);
  case 31:
    return BUILD_VECTOR(1, 2);
  case 32:
    return build_map(0, NULL);
  case 33:
    return BUILD_MAP({STR("a"), build_integer(1)});
  case 34:
    return BUILD_MAP({STR("a"), build_null()});
  case 35:
    return BUILD_MAP({STR("a"), build_number(1)}, {STR("b"), BUILD_ARRAY(build_integer(1))});
  default:
    fail();
    return build_null();
  }
}

static struct doc_map case_document(size_t at) {
  if (at == 0)
    return BUILD_MAP({STR("g"), build_integer(1)}).as.map;
  return BUILD_MAP({STR("f"), case_value(at)}).as.map;
}

struct match_case {
  enum query_op op;
  size_t operand;
  const char *matches; /* '1' or '.' for each value */
};
static const struct match_case match_cases[] = {
#include "storage/query/match_cases.inc"
};

static void test_each_operator_over_each_type(void **state) {
  (void)state;
  struct doc_path path = build_path("c/a");
  for (size_t i = 0; i < UNIT_COUNT(match_cases); i++) {
    const struct match_case *one = &match_cases[i];
    bool in_array = one->op == QUERY_IN || one->op == QUERY_NOT_IN || one->op == QUERY_ARRAY_CONTAINS_ANY;
    struct doc_value operand = one->operand == 0 ? build_null() : case_value(one->operand);
    struct query_filter filter = build_filter("f", one->op, in_array ? BUILD_ARRAY(operand) : operand);
    struct query query = build_query("", "c");
    query.where = &filter;
    assert_status_ok(query_prepare(&query, &query_arena));
    for (size_t value = 0; value < CASE_VALUES; value++) {
      bool matches = query_matches(&query, &path, case_document(value));
      if (matches != (one->matches[value] == '1'))
        fail_msg("case %zu, operator %d, operand %zu, value %zu", i, (int)one->op, one->operand, value);
    }
  }
}

static void test_null_and_nan_in_a_prepared_query(void **state) {
  (void)state;
  struct doc_path path = build_path("c/a");
  struct query_filter null = build_filter("f", QUERY_EQUAL, build_null());
  struct query_filter nan = build_filter("f", QUERY_EQUAL, build_number(NAN));
  for (size_t value = 0; value < CASE_VALUES; value++) {
    assert_int_equal(query_filter_matches(&null, &path, case_document(value)), value == 1);
    assert_int_equal(query_filter_matches(&nan, &path, case_document(value)), value == 4);
  }
}

static void test_composites(void **state) {
  (void)state;
  struct doc_path path = build_path("c/a");
  struct doc_map fields = BUILD_MAP({STR("x"), build_integer(1)}, {STR("y"), build_integer(2)}).as.map;
  struct query_filter yes = build_filter("x", QUERY_EQUAL, build_integer(1));
  struct query_filter no = build_filter("y", QUERY_EQUAL, build_integer(1));
  struct query_filter all = BUILD_AND(yes, yes), one_not = BUILD_AND(yes, no);
  struct query_filter any = BUILD_OR(no, yes), none = BUILD_OR(no, no);
  struct query_filter nested = BUILD_AND(any, BUILD_OR(none, all));
  assert_true(query_filter_matches(&all, &path, fields));
  assert_false(query_filter_matches(&one_not, &path, fields));
  assert_true(query_filter_matches(&any, &path, fields));
  assert_false(query_filter_matches(&none, &path, fields));
  assert_true(query_filter_matches(&nested, &path, fields));
  struct query_filter empty_and = build_composite(QUERY_AND, 0, NULL);
  struct query_filter empty_or = build_composite(QUERY_OR, 0, NULL);
  assert_true(query_filter_matches(&empty_and, &path, fields));
  assert_false(query_filter_matches(&empty_or, &path, fields));
  const struct query_filter *parts[] = {&yes, &any}, *failing[] = {&yes, &no};
  assert_true(query_conjunction_matches(&(struct query_conjunction){parts, 2}, &path, fields));
  assert_false(query_conjunction_matches(&(struct query_conjunction){failing, 2}, &path, fields));
  assert_true(query_conjunction_matches(&(struct query_conjunction){NULL, 0}, &path, fields));
}

static void test_fields_in_maps(void **state) {
  (void)state;
  struct doc_map fields =
      BUILD_MAP({STR("a"), build_integer(1)},
                {STR("m"), BUILD_MAP({STR("k"), BUILD_MAP({STR("x y"), build_integer(2)})})},
                {STR("v"), BUILD_VECTOR(1, 2)})
          .as.map;
  const struct {
    const char *path;
    bool exists;
  } cases[] = {{"a", true},    {"b", false}, {"m.k", true},      {"m.k.`x y`", true}, {"m.k.`x y`.z", false},
               {"a.b", false}, {"v", true},  {"v.value", false}, {"m.x", false},      {"m.k.`x y `", false}};
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct doc_field_path path = build_field_path(cases[i].path);
    assert_int_equal(query_field_get(fields, &path) != NULL, cases[i].exists);
  }
}

static void test_names(void **state) {
  (void)state;
  const struct {
    enum query_op op;
    const char *name, *operand;
    bool matches;
  } cases[] = {
      {QUERY_EQUAL, "c/a", "c/a", true},
      {QUERY_EQUAL, "c/b", "c/a", false},
      {QUERY_NOT_EQUAL, "c/b", "c/a", true},
      {QUERY_LESS, "c/__id9__", "c/__id10__", true}, /* by number */
      {QUERY_LESS, "c/__id10__", "c/a", true},
      {QUERY_GREATER, "c/b", "c/a", true},
      {QUERY_GREATER, "c/a/d/x", "c/a", true},
      {QUERY_LESS, "c/a/d/x", "c/a!", true}, /* segment by segment, not byte by byte */
      {QUERY_GREATER_OR_EQUAL, "c/a", "c/a", true},
      {QUERY_GREATER, "c/a", "c/a", false},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct query_filter filter = build_filter("__name__", cases[i].op, build_reference(cases[i].operand));
    struct doc_path path = build_path(cases[i].name);
    if (query_filter_matches(&filter, &path, (struct doc_map){0}) != cases[i].matches)
      fail_msg("case %zu", i);
  }
  struct query_filter in =
      build_filter("__name__", QUERY_IN, BUILD_ARRAY(build_reference("c/a"), build_reference("c/b")));
  struct doc_path b = build_path("c/b"), c = build_path("c/c");
  assert_true(query_filter_matches(&in, &b, (struct doc_map){0}));
  assert_false(query_filter_matches(&in, &c, (struct doc_map){0}));
  in.op = QUERY_NOT_IN;
  assert_false(query_filter_matches(&in, &b, (struct doc_map){0}));
  assert_true(query_filter_matches(&in, &c, (struct doc_map){0}));
}

static void test_places(void **state) {
  (void)state;
  const struct {
    const char *parent, *collection;
    bool all;
    const char *document;
    bool covered;
  } cases[] = {
      {"", "c", false, "c/a", true},
      {"", "c", false, "d/a", false},
      {"", "c", false, "d/a/c/b", false},
      {"", "c", true, "d/a/c/b", true},
      {"", "c", true, "c/a", true},
      {"", "c", true, "c/a/d/b", false},
      {"", "", false, "c/a", true},
      {"", "", false, "c/a/d/b", false},
      {"", "", true, "c/a/d/b", true},
      {"d/a", "c", false, "d/a/c/b", true},
      {"d/a", "c", false, "d/ab/c/b", false},
      {"d/a", "c", false, "c/b", false},
      {"d/a", "c", true, "d/a/e/f/c/b", true},
      {"d/a", "", true, "d/a", false},
      {"d/a", "", true, "d/a/c/b", true},
      {"d/a", "d", true, "d/a", false},
      {"d/a", "c", true, "d/b/c/b", false},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct query query = build_query(cases[i].parent, cases[i].collection);
    query.all_descendants = cases[i].all;
    struct doc_path path = build_path(cases[i].document);
    if (query_covers(&query, &path) != cases[i].covered)
      fail_msg("case %zu", i);
  }
  struct query query = build_query("", "c");
  struct doc_path elsewhere;
  assert_status_ok(doc_path_parse(STR("projects/p/databases/other/documents/c/a"), &elsewhere));
  assert_false(query_covers(&query, &elsewhere));
}

static void test_orders_want_their_fields(void **state) {
  (void)state;
  struct query query = build_query("", "c");
  BUILD_ORDERS(&query, build_order("f", false), build_order("__name__", false));
  struct doc_path path = build_path("c/a");
  for (size_t value = 0; value < CASE_VALUES; value++)
    assert_int_equal(query_matches(&query, &path, case_document(value)), value != 0);
}

/* As the emulator gave them. */
static const size_t ordered[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18,
                                 19, 20, 21, 22, 23, 24, 27, 28, 25, 26, 29, 30, 31, 32, 34, 33, 35};

static void test_order_across_types(void **state) {
  (void)state;
  struct query query = build_query("", "c");
  BUILD_ORDERS(&query, build_order("f", false), build_order("__name__", false));
  for (size_t i = 0; i < UNIT_COUNT(ordered); i++)
    for (size_t k = 0; k < UNIT_COUNT(ordered); k++) {
      struct doc_path a, b;
      a = build_path(arena_printf(&query_arena, "c/v%02zu", ordered[i]).ptr);
      b = build_path(arena_printf(&query_arena, "c/v%02zu", ordered[k]).ptr);
      int order = query_compare(&query, &a, case_document(ordered[i]), &b, case_document(ordered[k]));
      assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
    }
}

static void test_directions(void **state) {
  (void)state;
  struct query query = build_query("", "c");
  BUILD_ORDERS(&query, build_order("x", true), build_order("y", false), build_order("__name__", true));
  struct doc_path a = build_path("c/a"), b = build_path("c/b");
  struct doc_map one = BUILD_MAP({STR("x"), build_integer(1)}, {STR("y"), build_integer(2)}).as.map;
  struct doc_map two = BUILD_MAP({STR("x"), build_integer(2)}, {STR("y"), build_integer(1)}).as.map;
  struct doc_map three = BUILD_MAP({STR("x"), build_integer(1)}, {STR("y"), build_integer(3)}).as.map;
  assert_true(query_compare(&query, &a, one, &b, two) > 0);
  assert_true(query_compare(&query, &a, one, &b, three) < 0);
  assert_true(query_compare(&query, &a, one, &b, one) > 0);
  assert_int_equal(query_compare(&query, &a, one, &a, one), 0);
}

static void test_cursors(void **state) {
  (void)state;
  struct query query = build_query("", "c");
  BUILD_ORDERS(&query, build_order("x", false), build_order("y", true), build_order("__name__", true));
  struct doc_path a = build_path("c/a");
  struct doc_map fields = BUILD_MAP({STR("x"), build_integer(1)}, {STR("y"), build_integer(2)}).as.map;
#define INTEGERS(...) BUILD_ARRAY(__VA_ARGS__).as.array
  const struct {
    struct doc_array values;
    int place; /* of the document: -1 before, 0 at, 1 after the values */
  } cases[] = {
      {INTEGERS(build_integer(0)), 1},
      {INTEGERS(build_number(1)), 0},
      {INTEGERS(build_integer(2)), -1},
      {INTEGERS(build_string("")), -1}, /* another type: by the order across types */
      {INTEGERS(build_null()), 1},
      {INTEGERS(build_integer(1), build_integer(2)), 0},
      {INTEGERS(build_integer(1), build_integer(1)), -1}, /* descending */
      {INTEGERS(build_integer(1), build_integer(3)), 1},
      {INTEGERS(build_integer(1), build_integer(2), build_reference("c/a")), 0},
      {INTEGERS(build_integer(1), build_integer(2), build_reference("c/b")), 1},
      {INTEGERS(build_integer(1), build_integer(2), build_reference("b/z")), -1},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++)
    for (int before = 0; before < 2; before++) {
      struct query_cursor cursor = build_cursor(before != 0, cases[i].values.count, cases[i].values.items);
      int place = cases[i].place;
      query.start = cursor, query.end = (struct query_cursor){0};
      assert_int_equal(query_within_cursors(&query, &a, fields), place > 0 || (place == 0 && before));
      query.start = (struct query_cursor){0}, query.end = cursor;
      assert_int_equal(query_within_cursors(&query, &a, fields), place < 0 || (place == 0 && !before));
    }
}

/* Distances of the emulator. */
static void test_distances(void **state) {
  (void)state;
  const double one_two[] = {1, 2}, zero[] = {0, 0}, huge[] = {1e200, 1e200};
  const struct {
    enum query_distance measure;
    const double *query, vector[2];
    double distance;
  } cases[] = {
      {QUERY_EUCLIDEAN, one_two, {1, 2}, 0},
      {QUERY_EUCLIDEAN, one_two, {-0.0, 3}, 1.4142135623730951},
      {QUERY_EUCLIDEAN, one_two, {0, 0}, 2.23606797749979},
      {QUERY_EUCLIDEAN, one_two, {4, 8}, 6.708203932499369},
      {QUERY_EUCLIDEAN, one_two, {INFINITY, 1}, INFINITY},
      {QUERY_EUCLIDEAN, huge, {1e200, 1e200}, 0},
      {QUERY_EUCLIDEAN, huge, {1, 2}, INFINITY},
      {QUERY_COSINE, one_two, {1, 2}, 0},
      {QUERY_COSINE, one_two, {4, 8}, 0},
      {QUERY_COSINE, one_two, {-0.0, 3}, 0.10557280900008414},
      {QUERY_COSINE, one_two, {1e200, 1e200}, 1},
      {QUERY_COSINE, one_two, {-1, -2}, 2},
      {QUERY_COSINE, one_two, {0, 0}, NAN},
      {QUERY_COSINE, one_two, {INFINITY, 1}, NAN},
      {QUERY_COSINE, zero, {1, 2}, NAN},
      {QUERY_DOT_PRODUCT, one_two, {4, 8}, 20},
      {QUERY_DOT_PRODUCT, one_two, {-1, -2}, -5},
      {QUERY_DOT_PRODUCT, one_two, {1e200, 1e200}, 3e200},
      {QUERY_DOT_PRODUCT, zero, {INFINITY, 1}, NAN},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct query_nearest nearest = {.field = build_field_path("v"),
                                    .vector = build_vector(2, cases[i].query),
                                    .measure = cases[i].measure};
    struct doc_map fields = BUILD_MAP({STR("v"), build_vector(2, cases[i].vector)}).as.map;
    double found = -7;
    assert_true(query_distance_to(&nearest, fields, &found));
    if (isnan(cases[i].distance) ? !isnan(found)
                                 : isnan(found) || fabs(found - cases[i].distance) > fabs(found) * 1e-15)
      fail_msg("case %zu: %.17g is not %.17g", i, found, cases[i].distance);
  }
}

static void test_distances_that_do_not_count(void **state) {
  (void)state;
  struct query_nearest nearest = {
      .field = build_field_path("m.v"), .vector = BUILD_VECTOR(1, 2), .has_threshold = true, .threshold = 1};
  const struct {
    struct doc_value vector;
    enum query_distance measure;
    bool counts;
  } cases[] = {
      {BUILD_VECTOR(1, 2), QUERY_EUCLIDEAN, true},
      {BUILD_VECTOR(1, 3), QUERY_EUCLIDEAN, true},
      {BUILD_VECTOR(1, 3.5), QUERY_EUCLIDEAN, false},
      {BUILD_VECTOR(1), QUERY_EUCLIDEAN, false},
      {BUILD_VECTOR(1, 2, 3), QUERY_EUCLIDEAN, false},
      {BUILD_ARRAY(build_number(1), build_number(2)), QUERY_EUCLIDEAN, false},
      {build_null(), QUERY_EUCLIDEAN, false},
      {BUILD_VECTOR(0, 0), QUERY_COSINE, false}, /* NaN */
      {BUILD_VECTOR(1, 0), QUERY_DOT_PRODUCT, true},
      {BUILD_VECTOR(0.5, 0), QUERY_DOT_PRODUCT, false},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct doc_map fields = BUILD_MAP({STR("m"), BUILD_MAP({STR("v"), cases[i].vector})}).as.map;
    double found;
    nearest.measure = cases[i].measure;
    if (query_distance_to(&nearest, fields, &found) != cases[i].counts)
      fail_msg("case %zu", i);
  }
  assert_true(query_distance_compare(QUERY_EUCLIDEAN, 1, 2) < 0);
  assert_true(query_distance_compare(QUERY_DOT_PRODUCT, 1, 2) > 0);
  assert_true(query_distance_compare(QUERY_DOT_PRODUCT, NAN, -INFINITY) > 0);
  assert_true(query_distance_compare(QUERY_COSINE, INFINITY, NAN) < 0);
  assert_int_equal(query_distance_compare(QUERY_COSINE, NAN, NAN), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, query_build_init, query_build_fini)
  const struct CMUnitTest tests[] = {
      TEST(test_each_operator_over_each_type),
      TEST(test_null_and_nan_in_a_prepared_query),
      TEST(test_composites),
      TEST(test_fields_in_maps),
      TEST(test_names),
      TEST(test_places),
      TEST(test_orders_want_their_fields),
      TEST(test_order_across_types),
      TEST(test_directions),
      TEST(test_cursors),
      TEST(test_distances),
      TEST(test_distances_that_do_not_count),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
