#include <math.h>
#include <stdio.h>

#include "tests/support/unit.h"
/* After unit.h. */
#include "base/limits.h"
#include "storage/query/match.h"
#include "storage/query/query_build.h"

/* ---- What is refused ---- */

#define I(number) build_integer(number)
#define EQ(field, value) build_filter(field, QUERY_EQUAL, value)
#define REF(path) build_reference(path)

static struct doc_value integers(size_t count) {
  struct doc_value items[200];
  assert_true(count <= UNIT_COUNT(items));
  for (size_t i = 0; i < count; i++)
    items[i] = I((int64_t)i);
  return build_array(count, items);
}

/* `count` filters on fields x0, x1 and so on, or on one field. */
static struct query_filter many(enum query_filter_kind kind, enum query_op op, size_t count, bool fields) {
  struct query_filter *filters = arena_calloc(&query_arena, count, sizeof *filters);
  for (size_t i = 0; i < count; i++)
    filters[i] = build_filter(fields ? arena_printf(&query_arena, "x%zu", i).ptr : "x", op, I((int64_t)i));
  return build_composite(kind, count, filters);
}

static struct query_filter nested(size_t depth) {
  struct query_filter filter = EQ("x", I(1));
  for (size_t i = 0; i < depth; i++)
    filter = BUILD_AND(filter);
  return filter;
}

static struct query with(struct query_filter where) {
  struct query query = build_query("", "c");
  query.where = build_copy(&where, sizeof where);
  return query;
}
static struct query ordered(size_t count, const struct query_order *orders) {
  struct query query = build_query("", "c");
  query.orders = build_copy(orders, count * sizeof *orders);
  query.order_count = count;
  return query;
}
#define ORDERED(...)                                                                                         \
  ordered(BUILD_COUNT(struct query_order, __VA_ARGS__), (struct query_order[]){__VA_ARGS__})

static void is_taken(struct query query, int line) {
  status s = query_prepare(&query, &query_arena);
  if (s.code != STATUS_OK)
    fail_msg("line %d: %s", line, s.message);
}
static void is_refused(struct query query, const char *reason, int line) {
  status s = query_prepare(&query, &query_arena);
  if (s.code != STATUS_INVALID_ARGUMENT || strstr(s.message, reason) == NULL)
    fail_msg("line %d: %s: %s", line, status_code_name((int)s.code), s.message);
}
#define TAKEN(query) is_taken(query, __LINE__)
#define REFUSED(query, reason) is_refused(query, reason, __LINE__)

static void test_operators_that_exclude_each_other(void **state) {
  (void)state;
  struct query_filter not_equal = build_filter("x", QUERY_NOT_EQUAL, I(1));
  struct query_filter not_in = build_filter("x", QUERY_NOT_IN, integers(2));
  struct query_filter not_null = build_unary("y", QUERY_IS_NOT_NULL),
                      not_nan = build_unary("y", QUERY_IS_NOT_NAN);
  REFUSED(with(BUILD_AND(not_equal, not_equal)), "Only a single");
  REFUSED(with(BUILD_AND(not_equal, not_in)), "Only a single");
  REFUSED(with(BUILD_AND(not_equal, not_null)), "Only a single");
  REFUSED(with(BUILD_AND(not_nan, not_null)), "Only a single");
  REFUSED(with(BUILD_OR(not_nan, not_equal)), "Only a single");
  TAKEN(with(BUILD_OR(not_equal, EQ("y", I(1)))));
  struct query_filter equal = EQ("y", I(1)), in = build_filter("y", QUERY_IN, integers(2));
  struct query_filter any = build_filter("y", QUERY_ARRAY_CONTAINS_ANY, integers(2));
  struct query_filter contains = build_filter("y", QUERY_ARRAY_CONTAINS, I(1));
  REFUSED(with(BUILD_AND(not_in, in)), "`not-in` cannot");
  REFUSED(with(BUILD_AND(not_in, any)), "`not-in` cannot");
  REFUSED(with(BUILD_AND(not_in, BUILD_OR(equal, equal))), "`not-in` cannot");
  REFUSED(with(BUILD_OR(not_in)), "`not-in` cannot");
  TAKEN(with(BUILD_AND(not_in, contains, equal)));
  TAKEN(with(BUILD_AND(not_equal, in, any)));
}

static void test_lists(void **state) {
  (void)state;
  static const enum query_op ops[] = {QUERY_IN, QUERY_NOT_IN, QUERY_ARRAY_CONTAINS_ANY};
  for (size_t i = 0; i < UNIT_COUNT(ops); i++) {
    size_t most = ops[i] == QUERY_NOT_IN ? LIMIT_QUERY_NOT_IN : LIMIT_QUERY_DISJUNCTIONS;
    TAKEN(with(build_filter("x", ops[i], integers(most))));
    REFUSED(with(build_filter("x", ops[i], integers(most + 1))), "supports up to");
    REFUSED(with(build_filter("x", ops[i], build_array(0, NULL))), "non-empty ArrayValue");
    REFUSED(with(build_filter("x", ops[i], I(1))), "non-empty ArrayValue");
    TAKEN(with(build_filter("x", ops[i], BUILD_ARRAY(build_null(), build_number(NAN)))));
    TAKEN(with(build_filter("x", ops[i], BUILD_ARRAY(BUILD_ARRAY(I(1))))));
  }
}

static void test_array_contains_is_one_a_disjunction(void **state) {
  (void)state;
  struct query_filter one = build_filter("x", QUERY_ARRAY_CONTAINS, I(1));
  struct query_filter two = build_filter("x", QUERY_ARRAY_CONTAINS, I(2));
  struct query_filter any = build_filter("x", QUERY_ARRAY_CONTAINS_ANY, BUILD_ARRAY(I(3), I(4)));
  struct query_filter equal = EQ("y", I(1));
  REFUSED(with(BUILD_AND(one, two)), "one `array-contains`");
  REFUSED(with(BUILD_AND(one, build_filter("y", QUERY_ARRAY_CONTAINS, I(1)))), "one `array-contains`");
  REFUSED(with(BUILD_AND(one, any)), "one `array-contains`");
  REFUSED(with(BUILD_AND(any, build_filter("y", QUERY_ARRAY_CONTAINS_ANY, integers(2)))),
          "one `array-contains`");
  REFUSED(with(BUILD_AND(one, BUILD_OR(two, equal))), "one `array-contains`");
  TAKEN(with(BUILD_AND(one, one)));
  TAKEN(with(BUILD_OR(one, two, any)));
  TAKEN(with(BUILD_AND(any, build_filter("y", QUERY_IN, integers(3)))));
  /* What is never true counts like the rest. */
  REFUSED(with(BUILD_AND(one, build_filter("x", QUERY_ARRAY_CONTAINS, build_null()))),
          "one `array-contains`");
}

static void test_disjunctions(void **state) {
  (void)state;
  struct query_filter x5 = build_filter("x", QUERY_IN, integers(5)),
                      y6 = build_filter("y", QUERY_IN, integers(6));
  struct query_filter x6 = build_filter("x", QUERY_IN, integers(6)),
                      y8 = build_filter("y", QUERY_IN, integers(8));
  TAKEN(with(BUILD_AND(x5, y6)));
  REFUSED(with(BUILD_AND(x5, y8)), "Too many disjunctions");
  TAKEN(with(BUILD_AND(x6, x6))); /* 21 different ones */
  struct query_filter with_null =
      build_filter("y", QUERY_IN, BUILD_ARRAY(build_null(), I(1), I(2), I(3), I(4), I(5), I(6)));
  REFUSED(with(BUILD_AND(x5, with_null)), "Too many disjunctions");
  TAKEN(with(many(QUERY_OR, QUERY_EQUAL, 30, false)));
  REFUSED(with(many(QUERY_OR, QUERY_EQUAL, 31, false)), "Too many disjunctions");
  struct query_filter same[60];
  for (size_t i = 0; i < UNIT_COUNT(same); i++)
    same[i] = EQ("x", I(1));
  TAKEN(with(build_composite(QUERY_OR, UNIT_COUNT(same), same)));
  /* Two to the power of 50 without the limit. */
  struct query_filter pairs[50];
  for (size_t i = 0; i < UNIT_COUNT(pairs); i++)
    pairs[i] = BUILD_OR(EQ(arena_printf(&query_arena, "a%zu", i).ptr, I(1)),
                        EQ(arena_printf(&query_arena, "a%zu", i).ptr, I(2)));
  REFUSED(with(build_composite(QUERY_AND, UNIT_COUNT(pairs), pairs)), "Too many disjunctions");
}

static void test_parts(void **state) {
  (void)state;
  TAKEN(with(many(QUERY_AND, QUERY_EQUAL, 100, true)));
  REFUSED(with(many(QUERY_AND, QUERY_EQUAL, 101, true)), "more than 100");
  REFUSED(with(many(QUERY_AND, QUERY_EQUAL, 3001, true)), "more than 100");
  struct query query = with(many(QUERY_AND, QUERY_EQUAL, 99, true));
  BUILD_ORDERS(&query, build_order("x", false));
  TAKEN(query);
  BUILD_ORDERS(&query, build_order("x", false), build_order("y", false));
  REFUSED(query, "more than 100");
  query = with(many(QUERY_AND, QUERY_EQUAL, 100, true));
  query.parent = build_path("d/a");
  REFUSED(query, "more than 100");
  query = with(BUILD_AND(build_filter("y", QUERY_IN, integers(5)), many(QUERY_AND, QUERY_EQUAL, 97, true)));
  REFUSED(query, "more than 100");
  struct query_order orders[101];
  for (size_t i = 0; i < UNIT_COUNT(orders); i++)
    orders[i] = build_order(arena_printf(&query_arena, "x%zu", i).ptr, false);
  query = build_query("", "c");
  query.orders = orders;
  query.order_count = 100;
  TAKEN(query);
  query.order_count = 101;
  REFUSED(query, "more than 100");
  TAKEN(with(many(QUERY_AND, QUERY_GREATER, 10, true)));
  REFUSED(with(many(QUERY_AND, QUERY_GREATER, 11, true)), "different fields");
  TAKEN(with(many(QUERY_AND, QUERY_GREATER, 50, false)));
}

static void test_nesting(void **state) {
  (void)state;
  TAKEN(with(nested(LIMIT_QUERY_FILTER_DEPTH)));
  REFUSED(with(nested(LIMIT_QUERY_FILTER_DEPTH + 1)), "nested");
  REFUSED(with(build_composite(QUERY_AND, 0, NULL)), "at least one");
  REFUSED(with(BUILD_AND(EQ("x", I(1)), build_composite(QUERY_OR, 0, NULL))), "at least one");
}

static void test_name_filters(void **state) {
  (void)state;
  for (int op = QUERY_EQUAL; op <= QUERY_GREATER_OR_EQUAL; op++) {
    TAKEN(with(build_filter("__name__", (enum query_op)op, REF("c/a"))));
    TAKEN(with(build_filter("__name__", (enum query_op)op, REF("other/a"))));
    REFUSED(with(build_filter("__name__", (enum query_op)op, build_string("a"))), "document reference");
    REFUSED(with(build_filter("__name__", (enum query_op)op, build_null())), "document reference");
  }
  struct doc_value foreign = build_text(DOC_REFERENCE, "projects/p/databases/q/documents/c/a");
  REFUSED(with(EQ("__name__", foreign)), "another database");
  TAKEN(with(build_filter("__name__", QUERY_IN, BUILD_ARRAY(REF("c/a"), REF("c/b")))));
  REFUSED(with(build_filter("__name__", QUERY_IN, BUILD_ARRAY(REF("c/a"), I(1)))), "document reference");
  REFUSED(with(build_filter("__name__", QUERY_NOT_IN, BUILD_ARRAY(REF("c/a"), foreign))), "another database");
  REFUSED(with(build_filter("__name__", QUERY_ARRAY_CONTAINS, REF("c/a"))), "__name__");
  REFUSED(with(build_filter("__name__", QUERY_ARRAY_CONTAINS_ANY, BUILD_ARRAY(REF("c/a")))), "__name__");
  for (int op = QUERY_IS_NULL; op <= QUERY_IS_NOT_NAN; op++)
    REFUSED(with(build_unary("__name__", (enum query_op)op)), "__name__");
}

static void test_places(void **state) {
  (void)state;
  REFUSED(build_query("", "a/b"), "invalid");
  REFUSED(build_query("", "__x__"), "reserved");
  struct query query = build_query("d/a", "");
  TAKEN(query);
  query.all_descendants = true;
  TAKEN(query);
  BUILD_ORDERS(&query, build_order("__name__", true));
  TAKEN(query);
  BUILD_ORDERS(&query, build_order("x", false));
  REFUSED(query, "any id");
  query = with(EQ("x", I(1)));
  query.collection_id = (str){NULL, 0};
  REFUSED(query, "any id");
  query = with(build_filter("__name__", QUERY_GREATER, REF("c/a")));
  query.collection_id = (str){NULL, 0};
  TAKEN(query);
}

static void test_order_rules(void **state) {
  (void)state;
  REFUSED(ORDERED(build_order("__name__", false), build_order("x", false)), "after __name__");
  REFUSED(ORDERED(build_order("__name__", false), build_order("__name__", false)), "after __name__");
  REFUSED(ORDERED(build_order("x", false), build_order("x", true)), "twice");
  TAKEN(ORDERED(build_order("x", false), build_order("x.y", true), build_order("__name__", false)));
  struct query query = with(build_filter("x", QUERY_GREATER, I(1)));
  BUILD_ORDERS(&query, build_order("__name__", false));
  REFUSED(query, "before");
  BUILD_ORDERS(&query, build_order("x", false), build_order("__name__", true));
  TAKEN(query);
  query = with(build_filter("__name__", QUERY_GREATER, REF("c/a")));
  BUILD_ORDERS(&query, build_order("__name__", false));
  TAKEN(query);
}

static void test_numbers(void **state) {
  (void)state;
  struct query query = build_query("", "c");
  query.has_limit = true;
  TAKEN(query);
  query.limit = -1;
  REFUSED(query, "limit is negative");
  query = build_query("", "c");
  query.offset = -1;
  REFUSED(query, "offset is negative");
}

static void test_cursors(void **state) {
  (void)state;
  struct query query = ORDERED(build_order("x", false), build_order("__name__", false));
  query.start = BUILD_CURSOR(true, I(1), REF("c/a"));
  query.end = BUILD_CURSOR(true, build_string("any type"));
  TAKEN(query);
  query.end = BUILD_CURSOR(true, I(1), REF("c/a"), I(1));
  REFUSED(query, "more values");
  query.end = BUILD_CURSOR(true, I(1), build_string("a"));
  REFUSED(query, "document reference");
  query.end = BUILD_CURSOR(true, I(1), build_text(DOC_REFERENCE, "projects/p/databases/q/documents/c/a"));
  REFUSED(query, "another database");
  query = ORDERED(build_order("x", false));
  query.start = BUILD_CURSOR(true, I(1), REF("c/a")); /* the order of names is not one that was given */
  REFUSED(query, "more values");
  query = build_query("", "c");
  query.start = BUILD_CURSOR(true, REF("c/a"));
  REFUSED(query, "more values");
}

static void test_nearest(void **state) {
  (void)state;
  struct query_nearest good = {.field = build_field_path("v"), .vector = BUILD_VECTOR(1, 2), .limit = 1},
                       nearest = good;
  struct query query = with(BUILD_OR(EQ("x", I(1)), EQ("y", I(1))));
  query.nearest = &nearest;
  TAKEN(query);
  assert_status_code(query_check_listen(&query), STATUS_INVALID_ARGUMENT);
  nearest.limit = 1000;
  TAKEN(query);
  nearest.limit = 1001;
  REFUSED(query, "no more than 1000");
  nearest.limit = 0;
  REFUSED(query, "no more than 1000");
  nearest = good, nearest.vector = BUILD_ARRAY(build_number(1));
  REFUSED(query, "vector");
  nearest = good, nearest.field.count = 0;
  REFUSED(query, "vector_field");
  nearest = good, nearest.has_threshold = true, nearest.threshold = -1;
  TAKEN(query);
  nearest.threshold = NAN;
  REFUSED(query, "finite");
  nearest.threshold = -INFINITY;
  REFUSED(query, "finite");
  nearest = good;
  query.has_limit = true;
  REFUSED(query, "cannot be used with");
  query.has_limit = false, query.offset = 1;
  REFUSED(query, "cannot be used with");
  query.offset = 0;
  BUILD_ORDERS(&query, build_order("x", false));
  TAKEN(query);
  query.end = BUILD_CURSOR(true, I(1));
  REFUSED(query, "cannot be used with");
  query.nearest = NULL;
  assert_status_ok(query_check_listen(&query));
}

/* ---- What is completed ---- */

static void has_text(struct query query, const char *wanted, int line) {
  str text;
  assert_status_ok(query_prepare(&query, &query_arena));
  assert_status_ok(query_format(&query, &query_arena, &text));
  static const char begin[] = "from \"" BUILD_ROOT "\" \"c\"";
  if (!str_has_prefix(text, str_from_cstr(begin)))
    fail_msg("line %d: " STR_FMT, line, STR_ARG(text));
  text = str_from(text, sizeof begin - 1);
  if (!str_eq(text, str_from_cstr(wanted)))
    fail_msg("line %d: " STR_FMT, line, STR_ARG(text));
}
#define TEXT(query, wanted) has_text(query, wanted, __LINE__)

static void test_implicit_orders(void **state) {
  (void)state;
  TEXT(build_query("", "c"), " order by __name__");
  TEXT(ORDERED(build_order("a", true)), " order by a desc, __name__ desc");
  TEXT(ORDERED(build_order("a", true), build_order("b", false)), " order by a desc, b, __name__");
  TEXT(ORDERED(build_order("a", true), build_order("__name__", false)), " order by a desc, __name__");
  struct query_filter b = build_filter("b", QUERY_GREATER, I(1)), a_x = build_filter("a.x", QUERY_LESS, I(1));
  struct query_filter a = build_filter("a", QUERY_NOT_EQUAL, I(1)), c = EQ("c", I(1));
  struct query query = with(BUILD_AND(b, a_x, a, c));
  TEXT(query, " where (b > 1 and a.x < 1 and a != 1 and c == 1) order by a, a.x, b, __name__");
  BUILD_ORDERS(&query, build_order("b", true));
  TEXT(query,
       " where (b > 1 and a.x < 1 and a != 1 and c == 1) order by b desc, a desc, a.x desc, __name__ desc");
  BUILD_ORDERS(&query, build_order("d", true), build_order("a.x", false));
  TEXT(query, " where (b > 1 and a.x < 1 and a != 1 and c == 1) order by d desc, a.x, a, b, __name__");
  TEXT(with(build_unary("a", QUERY_IS_NOT_NAN)), " where a is-not-nan order by a, __name__");
  TEXT(with(build_unary("a", QUERY_IS_NOT_NULL)), " where a is-not-null order by a, __name__");
  TEXT(with(build_filter("a", QUERY_NOT_IN, BUILD_ARRAY(I(1)))), " where a not-in [1] order by a, __name__");
  TEXT(with(build_filter("a", QUERY_IN, integers(2))), " where a in [0, 1] order by __name__");
  TEXT(with(BUILD_AND(build_filter("__name__", QUERY_GREATER, REF("c/a")), b)),
       " where (__name__ > ref \"" BUILD_ROOT "/c/a\" and b > 1) order by b, __name__");
}

static void test_simple_filters(void **state) {
  (void)state;
  struct doc_value null = build_null(), nan = build_number(NAN);
#define WHERE(filter, wanted) TEXT(with(filter), " where " wanted " order by __name__")
  WHERE(build_unary("a", QUERY_IS_NULL), "a == null");
  WHERE(build_unary("a", QUERY_IS_NAN), "a == nan");
  WHERE(EQ("a", null), "()");
  WHERE(EQ("a", nan), "()");
  WHERE(build_filter("a", QUERY_IN, BUILD_ARRAY(null, I(1), nan, build_number(1), I(2))), "a in [1, 2]");
  WHERE(build_filter("a", QUERY_IN, BUILD_ARRAY(null, I(1))), "a == 1");
  WHERE(build_filter("a", QUERY_IN, BUILD_ARRAY(null)), "()");
  WHERE(build_filter("a", QUERY_ARRAY_CONTAINS_ANY, BUILD_ARRAY(null, I(1))), "a array-contains 1");
  WHERE(build_filter("a", QUERY_ARRAY_CONTAINS, nan), "()");
  WHERE(BUILD_OR(EQ("a", null), EQ("b", I(1))), "b == 1");
  WHERE(BUILD_AND(EQ("a", null), EQ("b", I(1))), "()");
  WHERE(BUILD_AND(BUILD_AND(EQ("a", I(1)), BUILD_AND(EQ("b", I(1)))), BUILD_OR(BUILD_OR(EQ("c", I(1))))),
        "(a == 1 and b == 1 and c == 1)");
  WHERE(BUILD_OR(EQ("a", I(1)), BUILD_OR(EQ("b", I(1)), BUILD_AND(EQ("c", I(1)), EQ("d", I(1))))),
        "(a == 1 or b == 1 or (c == 1 and d == 1))");
  WHERE(build_filter("a", QUERY_NOT_EQUAL, null), "()");
  WHERE(build_filter("a", QUERY_NOT_IN, BUILD_ARRAY(null)), "()");
  WHERE(build_filter("a", QUERY_GREATER_OR_EQUAL, null), "()");
  WHERE(build_filter("a", QUERY_LESS, nan), "()");
#undef WHERE
#define WHERE(filter, wanted) TEXT(with(filter), " where " wanted " order by a, __name__")
  WHERE(build_filter("a", QUERY_NOT_EQUAL, nan), "a is-not-null");
  WHERE(build_filter("a", QUERY_NOT_IN, BUILD_ARRAY(I(1), null)), "()");
  WHERE(build_filter("a", QUERY_NOT_IN, BUILD_ARRAY(I(1), nan)), "a not-in [1]");
  WHERE(build_filter("a", QUERY_NOT_IN, BUILD_ARRAY(nan)), "a is-not-null");
  /* What is never true asks for no order; what is beside it does. */
  WHERE(BUILD_OR(BUILD_AND(build_filter("c", QUERY_LESS, nan), build_filter("a", QUERY_LESS, I(1))),
                 EQ("b", I(1))),
        "b == 1");
#undef WHERE
}

static void test_conjunctions(void **state) {
  (void)state;
  struct query query = build_query("", "c");
  assert_status_ok(query_prepare(&query, &query_arena));
  assert_int_equal(query.conjunction_count, 1);
  assert_int_equal(query.conjunctions[0].filter_count, 0);
  query = with(EQ("a", build_null()));
  assert_status_ok(query_prepare(&query, &query_arena));
  assert_int_equal(query.conjunction_count, 0);
  struct query_filter in = build_filter("a", QUERY_IN, BUILD_ARRAY(I(1), I(2), build_number(2)));
  query = with(BUILD_AND(in, EQ("b", I(1)), BUILD_OR(EQ("c", I(1)), EQ("b", I(1)))));
  assert_status_ok(query_prepare(&query, &query_arena));
  assert_int_equal(query.conjunction_count, 4);
  static const char *const wanted[] = {"a1b1c1", "a1b1", "a2b1c1", "a2b1"};
  for (size_t i = 0; i < 4; i++) {
    char text[40] = "", *at = text;
    for (size_t k = 0; k < query.conjunctions[i].filter_count; k++) {
      const struct query_filter *filter = query.conjunctions[i].filters[k];
      assert_int_equal(filter->op, QUERY_EQUAL);
      at += snprintf(at, 10, "%c%d", filter->field.path.segments[0].ptr[0], (int)filter->operand.as.integer);
    }
    assert_string_equal(text, wanted[i]);
  }
}

static void test_texts_of_values(void **state) {
  (void)state;
#define VALUE(value, wanted) TEXT(with(EQ("a", value)), " where a == " wanted " order by __name__")
  VALUE(build_boolean(true), "true");
  VALUE(I(-5), "-5");
  VALUE(build_number(5), "5.0");
  VALUE(build_number(-0.0), "-0.0");
  VALUE(build_number(0.1), "0.10000000000000001");
  VALUE(build_number(1e300), "1.0000000000000001e+300");
  VALUE(build_number(-INFINITY), "-inf");
  VALUE(build_timestamp(-1), "time -1");
  VALUE(build_string("a\"b\\c\n\x7f\xc3\xa9"), "\"a\\\"b\\\\c\\x0a\\x7f\xc3\xa9\"");
  VALUE(build_text(DOC_BYTES, "a\n"), "bytes 610a");
  VALUE(build_geo_point(1, -0.5), "point 1.0 -0.5");
  VALUE(BUILD_ARRAY(I(1), build_null(), build_string("]")), "[1, null, \"]\"]");
  VALUE(BUILD_MAP({STR("k"), I(1)}, {STR("l m"), build_map(0, NULL)}), "{\"k\": 1, \"l m\": {}}");
#undef VALUE
  struct query query = ORDERED(build_order("`x y`", false));
  query.start = BUILD_CURSOR(true, I(1));
  query.end = BUILD_CURSOR(false, build_string("z"));
  query.offset = 2, query.has_limit = true, query.limit = 3, query.names_only = true;
  TEXT(query, " order by `x y`, __name__ start before [1] end after [\"z\"] offset 2 limit 3 names");
  struct query_nearest nearest = {.field = build_field_path("v"),
                                  .vector = BUILD_VECTOR(1),
                                  .limit = 4,
                                  .measure = QUERY_COSINE,
                                  .has_threshold = true,
                                  .threshold = 0.5,
                                  .result_field = build_field_path("d")};
  query = build_query("", "c");
  query.nearest = &nearest;
  TEXT(query,
       " order by __name__ nearest 4 by cosine of v to {\"__type__\": \"__vector__\", \"value\": [1.0]} "
       "within 0.5 as d");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, query_build_init, query_build_fini)
  const struct CMUnitTest tests[] = {
      TEST(test_operators_that_exclude_each_other),
      TEST(test_lists),
      TEST(test_array_contains_is_one_a_disjunction),
      TEST(test_disjunctions),
      TEST(test_parts),
      TEST(test_nesting),
      TEST(test_name_filters),
      TEST(test_places),
      TEST(test_order_rules),
      TEST(test_numbers),
      TEST(test_cursors),
      TEST(test_nearest),
      TEST(test_implicit_orders),
      TEST(test_simple_filters),
      TEST(test_conjunctions),
      TEST(test_texts_of_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
