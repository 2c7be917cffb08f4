/* Queries as wire bytes, which is how they come: bytes -> the runtime's check -> protobuf-c -> struct query.
 */
#include <math.h>

#include "tests/support/unit.h"
/* After unit.h. */
#include "rpc/wire_check.h"
#include "server/firestore/query_request.h"
#include "storage/document/wire_build.h"

#define ROOT "projects/p/databases/(default)/documents"

static void unpack_free(void *arena, void *memory) {
  (void)arena, (void)memory;
}
static void *unpack_alloc(void *arena, size_t size) {
  return arena_alloc(arena, size);
}
static const void *decode(const ProtobufCMessageDescriptor *type, str wire) {
  assert_status_ok(wire_check(type, wire));
  ProtobufCAllocator allocator = {unpack_alloc, unpack_free, &build_arena};
  const void *message = protobuf_c_message_unpack(type, &allocator, wire.len, (const uint8_t *)wire.ptr);
  assert_non_null(message);
  return message;
}

static status parse(str wire, struct query_request *ret) {
  struct doc_path parent;
  assert_status_ok(doc_path_parse_parent(STR(ROOT), &parent));
  return query_request_parse(&parent, decode(&google__firestore__v1__structured_query__descriptor, wire),
                             &build_arena, ret);
}

/* ---- Parts of a StructuredQuery ---- */

#define FIELD(path) raw_field(2, STR(path))
#define FROM(...) raw_field(2, JOIN(__VA_ARGS__))
#define C FROM(raw_field(2, STR("c")))
#define WHERE(filter) raw_field(3, filter)
#define FIELD_FILTER(path, op, value)                                                                        \
  raw_field(2, JOIN(raw_field(1, FIELD(path)), varint_field(2, op), raw_field(3, value)))
#define UNARY(path, op) raw_field(3, JOIN(varint_field(1, op), raw_field(2, FIELD(path))))
#define SUB(filter) raw_field(2, filter)
#define AND(...) raw_field(1, JOIN(varint_field(1, 1), __VA_ARGS__))
#define OR(...) raw_field(1, JOIN(varint_field(1, 2), __VA_ARGS__))
#define ORDER(path, direction) raw_field(4, JOIN(raw_field(1, FIELD(path)), varint_field(2, direction)))
#define START(before, ...) raw_field(7, JOIN(varint_field(2, before), __VA_ARGS__))
#define END(before, ...) raw_field(8, JOIN(varint_field(2, before), __VA_ARGS__))
#define CURSOR_VALUE(value) raw_field(1, value)
#define OFFSET(number) varint_field(6, (uint64_t)(int64_t)(number))
#define LIMIT(number) raw_field(5, varint_field(1, (uint64_t)(int64_t)(number)))
#define SELECT(...) raw_field(1, JOIN(__VA_ARGS__))
#define SELECTED(path) raw_field(2, FIELD(path))
#define VECTOR(...) V_MAP(M("__type__", V_STRING(STR("__vector__"))), M("value", V_ARRAY(__VA_ARGS__)))
#define NEAREST(...) raw_field(9, JOIN(__VA_ARGS__))
#define GOOD_NEAREST                                                                                         \
  raw_field(1, FIELD("v")), raw_field(2, VECTOR(ITEM(V_DOUBLE(1)))), varint_field(3, 2),                     \
      raw_field(4, varint_field(1, 7))

static void has_text(str wire, const char *wanted, int line) {
  struct query_request request;
  str text;
  status s = parse(wire, &request);
  if (s.code != STATUS_OK)
    fail_msg("line %d: %s", line, s.message);
  assert_status_ok(query_format(&request.query, &build_arena, &text));
  str begin = STR("from \"" ROOT "\"");
  assert_true(str_has_prefix(text, begin));
  if (!str_eq(str_from(text, begin.len), str_from_cstr(wanted)))
    fail_msg("line %d: " STR_FMT, line, STR_ARG(text));
}
#define TEXT(wanted, ...) has_text(JOIN(__VA_ARGS__), wanted, __LINE__)

static void is_refused(str wire, const char *reason, int line) {
  struct query_request request;
  status s = parse(wire, &request);
  if (s.code != STATUS_INVALID_ARGUMENT || strstr(s.message, reason) == NULL)
    fail_msg("line %d: %s: %s", line, status_code_name((int)s.code), s.message);
}
#define REFUSED(reason, ...) is_refused(JOIN(__VA_ARGS__), reason, __LINE__)

static void test_places(void **state) {
  (void)state;
  TEXT(" \"c\" order by __name__", C);
  TEXT(" all \"c\" order by __name__", FROM(raw_field(2, STR("c")), varint_field(3, 1)));
  TEXT(" all order by __name__", FROM(varint_field(3, 1)));
  TEXT(" order by __name__", NOTHING);
  REFUSED("more than one", C, C);
  REFUSED("invalid", FROM(raw_field(2, STR("a/b"))));
}

static void test_filters(void **state) {
  (void)state;
  static const char *const ops[] = {NULL, "<", "<=", ">", ">=", "==", "!=", "array-contains"};
  for (unsigned op = 1; op < UNIT_COUNT(ops); op++) {
    bool orders = op < 5 || op == 6;
    str wanted = arena_printf(&build_arena, " \"c\" where a.b %s 1 order by %s__name__", ops[op],
                              orders ? "a.b, " : "");
    has_text(JOIN(C, WHERE(FIELD_FILTER("a.b", op, V_INT(1)))), wanted.ptr, __LINE__);
  }
  str list = V_ARRAY(ITEM(V_INT(1)), ITEM(V_STRING(STR("a\0b"))));
  TEXT(" \"c\" where a in [1, \"a\\x00b\"] order by __name__", C, WHERE(FIELD_FILTER("a", 8, list)));
  TEXT(" \"c\" where a array-contains-any [1, \"a\\x00b\"] order by __name__", C,
       WHERE(FIELD_FILTER("a", 9, list)));
  TEXT(" \"c\" where a not-in [1, \"a\\x00b\"] order by a, __name__", C, WHERE(FIELD_FILTER("a", 10, list)));
  TEXT(" \"c\" where a in [[1], [2]] order by __name__", C,
       WHERE(FIELD_FILTER("a", 8, V_ARRAY(ITEM(V_ARRAY(ITEM(V_INT(1)))), ITEM(V_ARRAY(ITEM(V_INT(2))))))));
  TEXT(" \"c\" where a == nan order by __name__", C, WHERE(UNARY("a", 2)));
  TEXT(" \"c\" where a == null order by __name__", C, WHERE(UNARY("a", 3)));
  TEXT(" \"c\" where a is-not-nan order by a, __name__", C, WHERE(UNARY("a", 4)));
  TEXT(" \"c\" where a is-not-null order by a, __name__", C, WHERE(UNARY("a", 5)));
  TEXT(" \"c\" where (a == 1 and (b == 2 or `c d` == null)) order by __name__", C,
       WHERE(AND(SUB(FIELD_FILTER("a", 5, V_INT(1))),
                 SUB(OR(SUB(FIELD_FILTER("b", 5, V_INT(2))), SUB(UNARY("`c d`", 3)))))));
  TEXT(" \"c\" where __name__ == ref \"" ROOT "/c/a\" order by __name__", C,
       WHERE(FIELD_FILTER("__name__", 5, V_REFERENCE(STR(ROOT "/c/a")))));
  TEXT(" \"c\" where __name__ != ref \"" ROOT "/c/a\" order by __name__", C,
       WHERE(FIELD_FILTER("`__name__`", 6, V_REFERENCE(STR(ROOT "/c/a")))));
}

static void test_bad_filters(void **state) {
  (void)state;
  REFUSED("neither", C, WHERE(NOTHING));
  REFUSED("neither", C, WHERE(AND(SUB(NOTHING))));
  REFUSED("at least one", C, WHERE(AND(NOTHING)));
  REFUSED("CompositeFilter operator", C, WHERE(raw_field(1, SUB(FIELD_FILTER("a", 5, V_INT(1))))));
  REFUSED("CompositeFilter operator", C, WHERE(raw_field(1, varint_field(1, 3))));
  REFUSED("FieldFilter operator", C, WHERE(FIELD_FILTER("a", 0, V_INT(1))));
  REFUSED("FieldFilter operator", C, WHERE(FIELD_FILTER("a", 11, V_INT(1))));
  REFUSED("UnaryFilter operator", C, WHERE(UNARY("a", 1)));
  REFUSED("lacks its field", C, WHERE(raw_field(3, varint_field(1, 2))));
  REFUSED("lacks its field", C, WHERE(raw_field(2, JOIN(varint_field(2, 5), raw_field(3, V_INT(1))))));
  REFUSED("lacks its field", C, WHERE(FIELD_FILTER("", 5, V_INT(1))));
  REFUSED("a..b", C, WHERE(FIELD_FILTER("a..b", 5, V_INT(1))));
  REFUSED("__x__", C, WHERE(FIELD_FILTER("__x__", 5, V_INT(1))));
  REFUSED("", C, WHERE(FIELD_FILTER("a", 5, NOTHING)));
  REFUSED("", C, WHERE(FIELD_FILTER("a", 5, STR("\xff"))));
  REFUSED("reference", C, WHERE(FIELD_FILTER("__name__", 5, V_STRING(STR("a")))));
}

static void test_orders_and_cursors(void **state) {
  (void)state;
  TEXT(" \"c\" order by a, b desc, __name__ desc", C, ORDER("a", 1), ORDER("b", 2));
  TEXT(" \"c\" order by a, __name__", C, ORDER("a", 0));
  TEXT(" \"c\" order by __name__ desc", C, ORDER("__name__", 2));
  REFUSED("direction", C, ORDER("a", 3));
  REFUSED("lacks its field", C, raw_field(4, varint_field(2, 1)));
  TEXT(" \"c\" order by a, __name__ start after [1] end before [\"z\"]", C, ORDER("a", 1),
       START(0, CURSOR_VALUE(V_INT(1))), END(1, CURSOR_VALUE(V_STRING(STR("z")))));
  TEXT(" \"c\" order by a, __name__ start before [1, ref \"" ROOT "/c/a\"]", C, ORDER("a", 1),
       ORDER("__name__", 1), START(1, CURSOR_VALUE(V_INT(1)), CURSOR_VALUE(V_REFERENCE(STR(ROOT "/c/a")))));
  REFUSED("more values", C, START(1, CURSOR_VALUE(V_INT(1))));
  REFUSED("", C, ORDER("a", 1), START(1, CURSOR_VALUE(NOTHING)));
  /* Before all, after all. */
  TEXT(" \"c\" order by __name__", C, START(1, NOTHING), END(0, NOTHING));
  TEXT(" \"c\" order by __name__ limit 0", C, START(0, NOTHING));
  TEXT(" \"c\" order by __name__ limit 0", C, LIMIT(5), END(1, NOTHING));
}

static void test_limits(void **state) {
  (void)state;
  TEXT(" \"c\" order by __name__ offset 2 limit 3", C, OFFSET(2), LIMIT(3));
  TEXT(" \"c\" order by __name__ limit 0", C, raw_field(5, NOTHING));
  REFUSED("offset", C, OFFSET(-1));
  REFUSED("limit", C, LIMIT(-1));
}

static void test_projections(void **state) {
  (void)state;
  struct query_request request;
  assert_status_ok(parse(C, &request));
  assert_null(request.mask);
  assert_status_ok(parse(JOIN(C, SELECT(NOTHING)), &request));
  assert_null(request.mask);
  assert_status_ok(parse(JOIN(C, SELECT(SELECTED("b"), SELECTED("a.x"), SELECTED("b"))), &request));
  assert_int_equal(request.mask->count, 2);
  assert_false(request.query.names_only);
  assert_status_ok(parse(JOIN(C, SELECT(SELECTED("__name__"))), &request));
  assert_int_equal(request.mask->count, 0);
  assert_true(request.query.names_only);
  assert_status_ok(parse(JOIN(C, SELECT(SELECTED("__name__"), SELECTED("a"))), &request));
  assert_int_equal(request.mask->count, 1);
  assert_false(request.query.names_only);
  REFUSED("a..b", C, SELECT(SELECTED("a..b")));
  REFUSED("", C, SELECT(SELECTED("")));
  assert_status_ok(parse(
      JOIN(C, SELECT(SELECTED("__name__")), NEAREST(GOOD_NEAREST, raw_field(5, STR("d.e")))), &request));
  assert_int_equal(request.mask->count, 1);
  assert_str_is(request.mask->paths[0].segments[0], "d.e");
  assert_false(request.query.names_only);
}

static void test_nearest(void **state) {
  (void)state;
  TEXT(
      " \"c\" order by __name__ nearest 7 by cosine of v to {\"__type__\": \"__vector__\", \"value\": [1.0]}",
      C, NEAREST(GOOD_NEAREST));
  TEXT(" \"c\" order by __name__ nearest 7 by dot product of v to {\"__type__\": \"__vector__\", \"value\": "
       "[1.0]} within 0.5 as `d.e`",
       C,
       NEAREST(GOOD_NEAREST, varint_field(3, 3), raw_field(6, double_field(1, 0.5)),
               raw_field(5, STR("d.e"))));
  REFUSED("limit", C, NEAREST(GOOD_NEAREST, raw_field(4, varint_field(1, 0))));
  REFUSED("distance_measure", C, NEAREST(GOOD_NEAREST, varint_field(3, 0)));
  REFUSED("distance_measure", C, NEAREST(GOOD_NEAREST, varint_field(3, 4)));
  REFUSED("__x__", C, NEAREST(GOOD_NEAREST, raw_field(5, STR("__x__"))));
  REFUSED("finite", C, NEAREST(GOOD_NEAREST, raw_field(6, double_field(1, (double)NAN))));
  REFUSED("no vector", C, NEAREST(GOOD_NEAREST, raw_field(1, FIELD("__name__"))));
  REFUSED("lacks its field", C, NEAREST(varint_field(3, 1)));
  REFUSED("", C, NEAREST(raw_field(1, FIELD("v")), varint_field(3, 1)));
  REFUSED("vector", C, NEAREST(GOOD_NEAREST, raw_field(2, V_INT(1))));
  REFUSED("cannot be used", C, LIMIT(1), NEAREST(GOOD_NEAREST));
}

/* ---- Aggregations ---- */

#define COUNT(...) raw_field(1, JOIN(__VA_ARGS__))
#define UP_TO(number) raw_field(1, varint_field(1, (uint64_t)(int64_t)(number)))
#define SUM(path) raw_field(2, raw_field(1, FIELD(path)))
#define AVG(path) raw_field(3, raw_field(1, FIELD(path)))
#define ALIAS(alias) raw_field(7, STR(alias))
#define AGGREGATION(...) raw_field(3, JOIN(__VA_ARGS__))

static struct query_aggregate aggregates[QUERY_AGGREGATES_MAX];
static str aliases[QUERY_AGGREGATES_MAX];

static status parse_aggregates(str wire, size_t *ret_count) {
  return query_request_parse_aggregates(
      decode(&google__firestore__v1__structured_aggregation_query__descriptor, wire), &build_arena,
      aggregates, aliases, ret_count);
}
static void are_refused(str wire, const char *reason, int line) {
  size_t count;
  status s = parse_aggregates(wire, &count);
  if (s.code != STATUS_INVALID_ARGUMENT || strstr(s.message, reason) == NULL)
    fail_msg("line %d: %s: %s", line, status_code_name((int)s.code), s.message);
}
#define AGGREGATES_REFUSED(reason, ...) are_refused(JOIN(__VA_ARGS__), reason, __LINE__)

static void test_aggregates(void **state) {
  (void)state;
  size_t count;
  assert_status_ok(
      parse_aggregates(JOIN(AGGREGATION(COUNT(UP_TO(5))), AGGREGATION(SUM("a.b"), ALIAS("total")),
                            AGGREGATION(AVG("`x y`")), AGGREGATION(COUNT(NOTHING), ALIAS("a.b"))),
                       &count));
  assert_int_equal(count, 4);
  assert_int_equal(aggregates[0].op, QUERY_COUNT);
  assert_int_equal(aggregates[0].up_to, 5);
  assert_int_equal(aggregates[1].op, QUERY_SUM);
  assert_int_equal(aggregates[1].field.count, 2);
  assert_int_equal(aggregates[2].op, QUERY_AVERAGE);
  assert_str_is(aggregates[2].field.segments[0], "x y");
  assert_int_equal(aggregates[3].up_to, 0);
  static const char *const wanted[] = {"field_1", "total", "field_2", "a.b"};
  for (size_t i = 0; i < count; i++)
    assert_str_is(aliases[i], wanted[i]);
}

static void test_bad_aggregates(void **state) {
  (void)state;
  str one = AGGREGATION(COUNT(NOTHING));
  AGGREGATES_REFUSED("one to 5", NOTHING);
  AGGREGATES_REFUSED("one to 5", one, one, one, one, one, one);
  AGGREGATES_REFUSED("greater than zero", AGGREGATION(COUNT(UP_TO(0))));
  AGGREGATES_REFUSED("greater than zero", AGGREGATION(COUNT(UP_TO(-1))));
  AGGREGATES_REFUSED("neither", AGGREGATION(ALIAS("a")));
  AGGREGATES_REFUSED("alias", AGGREGATION(COUNT(NOTHING), ALIAS("a")), AGGREGATION(SUM("x"), ALIAS("a")));
  AGGREGATES_REFUSED("alias", one, AGGREGATION(COUNT(NOTHING), ALIAS("field_1")));
  AGGREGATES_REFUSED("__x__", AGGREGATION(COUNT(NOTHING), ALIAS("__x__")));
  AGGREGATES_REFUSED("lacks its field", AGGREGATION(raw_field(2, NOTHING)));
  AGGREGATES_REFUSED("__name__", AGGREGATION(SUM("__name__")));
  AGGREGATES_REFUSED("a..b", AGGREGATION(AVG("a..b")));
  size_t count;
  assert_status_ok(parse_aggregates(JOIN(one, one, one, one, one), &count));
  assert_int_equal(count, 5);
}

static int set_up(void **state) {
  (void)state;
  wire_build_init();
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  wire_build_fini();
  return 0;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_places),         TEST(test_filters),
      TEST(test_bad_filters),    TEST(test_orders_and_cursors),
      TEST(test_limits),         TEST(test_projections),
      TEST(test_nearest),        TEST(test_aggregates),
      TEST(test_bad_aggregates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
