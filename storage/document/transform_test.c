#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <math.h>

#include <cmocka.h>

#include "base/limits.h"
#include "storage/document/codec.h"
#include "storage/document/size.h"
#include "storage/document/transform.h"
#include "storage/document/wire_build.h"

static struct arena arena;
static size_t comparisons; /* left */

static int set_up(void **state) {
  (void)state;
  wire_build_init();
  arena_init(&arena, NULL, 0, 64 << 20);
  comparisons = LIMIT_COMMIT_COMPARISONS;
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  wire_build_fini();
  return 0;
}

static const int64_t TIME_US = 1790000000123456;
#define TIME_VALUE V_TIME(1790000000, 123000000)

static struct doc_map decode(str wire) {
  struct doc_document document;
  status s = doc_decode_document(wire, &arena, &document);
  if (!status_is_ok(&s))
    fail_msg("%s", s.message);
  return document.fields;
}

static struct doc_value decode_value(str wire) {
  struct doc_value value;
  status s = doc_decode_value(wire, DOC_USE_FIELD, &arena, &value);
  if (!status_is_ok(&s))
    fail_msg("%s", s.message);
  return value;
}

static struct doc_field_path path(const char *text) {
  struct doc_field_path parsed;
  status s = doc_field_path_parse(str_from_cstr(text), &arena, &parsed);
  assert_true(status_is_ok(&s));
  return parsed;
}

static void assert_fields(struct doc_map map, str wanted, const char *what, size_t number) {
  str bytes;
  status s = doc_encode_fields(map, &arena, &bytes);
  assert_true(status_is_ok(&s));
  if (!str_eq(bytes, wanted))
    fail_msg("%s %zu: another result", what, number);
}

static struct doc_map apply(struct doc_map map, const struct doc_transform *transforms, size_t count,
                            struct doc_value *results) {
  struct doc_transform_plan plan;
  status s = doc_transform_plan_make(transforms, count, &arena, &plan);
  if (!status_is_ok(&s))
    fail_msg("%s", s.message);
  struct doc_map got;
  s = doc_transform_apply(map, &plan, TIME_US, &comparisons, &arena, &got, results);
  assert_true(status_is_ok(&s));
  return got;
}

#define NAN_VALUE V_DOUBLE((double)NAN)
#define CANONICAL_NAN fixed64_field(3, UINT64_C(0x7FF8000000000000))

static void one_field(void **state) {
  (void)state;
  struct {
    enum doc_transform_kind kind;
    str old, operand, wanted; /* Values; old NOTHING: missing */
  } cases[] = {
      {DOC_TRANSFORM_SERVER_TIME, NOTHING, V_NULL, TIME_VALUE},
      {DOC_TRANSFORM_SERVER_TIME, V_INT(1), V_NULL, TIME_VALUE},

      {DOC_TRANSFORM_INCREMENT, V_INT(1), V_INT(2), V_INT(3)},
      {DOC_TRANSFORM_INCREMENT, V_INT(INT64_MAX), V_INT(1), V_INT(INT64_MAX)},
      {DOC_TRANSFORM_INCREMENT, V_INT(INT64_MAX - 1), V_INT(1), V_INT(INT64_MAX)},
      {DOC_TRANSFORM_INCREMENT, V_INT(INT64_MIN), V_INT(-1), V_INT(INT64_MIN)},
      {DOC_TRANSFORM_INCREMENT, V_INT(1), V_DOUBLE(0.5), V_DOUBLE(1.5)},
      {DOC_TRANSFORM_INCREMENT, V_DOUBLE(0.5), V_INT(1), V_DOUBLE(1.5)},
      {DOC_TRANSFORM_INCREMENT, V_DOUBLE(0.5), V_DOUBLE(0.5), V_DOUBLE(1.0)},
      {DOC_TRANSFORM_INCREMENT, V_DOUBLE(1e308), V_DOUBLE(1e308), V_DOUBLE((double)INFINITY)},
      {DOC_TRANSFORM_INCREMENT, V_DOUBLE((double)INFINITY), V_DOUBLE(-(double)INFINITY), CANONICAL_NAN},
      {DOC_TRANSFORM_INCREMENT, V_STRING(STR("1")), V_INT(2), V_INT(2)},
      {DOC_TRANSFORM_INCREMENT, V_NULL, V_DOUBLE(2.0), V_DOUBLE(2.0)},
      {DOC_TRANSFORM_INCREMENT, NOTHING, V_INT(2), V_INT(2)},

      {DOC_TRANSFORM_MAXIMUM, V_INT(1), V_INT(2), V_INT(2)},
      {DOC_TRANSFORM_MAXIMUM, V_INT(2), V_INT(1), V_INT(2)},
      {DOC_TRANSFORM_MAXIMUM, V_INT(2), V_DOUBLE(2.5), V_DOUBLE(2.5)},
      {DOC_TRANSFORM_MAXIMUM, V_DOUBLE(1.5), V_INT(2), V_INT(2)},
      {DOC_TRANSFORM_MAXIMUM, V_INT(3), V_DOUBLE(3.0), V_INT(3)},
      {DOC_TRANSFORM_MAXIMUM, V_DOUBLE(3.0), V_INT(3), V_DOUBLE(3.0)},
      {DOC_TRANSFORM_MAXIMUM, V_DOUBLE(-0.0), V_INT(0), V_DOUBLE(-0.0)},
      {DOC_TRANSFORM_MAXIMUM, V_INT(0), V_DOUBLE(-0.0), V_INT(0)},
      {DOC_TRANSFORM_MAXIMUM, V_INT(INT64_MAX), V_DOUBLE(0x1p63), V_DOUBLE(0x1p63)},
      {DOC_TRANSFORM_MAXIMUM, V_INT((INT64_C(1) << 53) + 1), V_DOUBLE(0x1p53), V_INT((INT64_C(1) << 53) + 1)},
      {DOC_TRANSFORM_MAXIMUM, V_INT(5), NAN_VALUE, CANONICAL_NAN},
      {DOC_TRANSFORM_MAXIMUM, NAN_VALUE, V_INT(5), CANONICAL_NAN},
      {DOC_TRANSFORM_MAXIMUM, V_BOOL(1), V_INT(-5), V_INT(-5)},
      {DOC_TRANSFORM_MAXIMUM, NOTHING, V_INT(-5), V_INT(-5)},

      {DOC_TRANSFORM_MINIMUM, V_INT(1), V_INT(2), V_INT(1)},
      {DOC_TRANSFORM_MINIMUM, V_INT(2), V_DOUBLE(1.5), V_DOUBLE(1.5)},
      {DOC_TRANSFORM_MINIMUM, V_DOUBLE(3.0), V_INT(3), V_DOUBLE(3.0)},
      {DOC_TRANSFORM_MINIMUM, V_DOUBLE(0.0), V_DOUBLE(-0.0), V_DOUBLE(0.0)},
      {DOC_TRANSFORM_MINIMUM, V_INT(5), NAN_VALUE, CANONICAL_NAN},
      {DOC_TRANSFORM_MINIMUM, NAN_VALUE, V_INT(5), CANONICAL_NAN},
      {DOC_TRANSFORM_MINIMUM, V_MAP(NOTHING), V_INT(5), V_INT(5)},

      {DOC_TRANSFORM_APPEND_MISSING, NOTHING, V_ARRAY(ITEM(V_INT(2)), ITEM(V_INT(1))),
       V_ARRAY(ITEM(V_INT(2)), ITEM(V_INT(1)))},
      {DOC_TRANSFORM_APPEND_MISSING, V_INT(5), V_ARRAY(ITEM(V_NULL)), V_ARRAY(ITEM(V_NULL))},
      {DOC_TRANSFORM_APPEND_MISSING, V_ARRAY(ITEM(V_INT(1)), ITEM(V_INT(1)), ITEM(V_NULL), ITEM(NAN_VALUE)),
       V_ARRAY(ITEM(V_DOUBLE(1.0)), ITEM(V_STRING(STR("z"))), ITEM(V_NULL), ITEM(NAN_VALUE), ITEM(V_BOOL(0)),
               ITEM(V_STRING(STR("z")))),
       V_ARRAY(ITEM(V_INT(1)), ITEM(V_INT(1)), ITEM(V_NULL), ITEM(CANONICAL_NAN), ITEM(V_STRING(STR("z"))),
               ITEM(V_BOOL(0)))},
      {DOC_TRANSFORM_APPEND_MISSING, V_ARRAY(NOTHING), V_ARRAY(ITEM(V_DOUBLE(1.0)), ITEM(V_INT(1))),
       V_ARRAY(ITEM(V_DOUBLE(1.0)))},
      {DOC_TRANSFORM_APPEND_MISSING, V_ARRAY(ITEM(V_MAP(M("a", V_INT(1))))),
       V_ARRAY(ITEM(V_MAP(M("a", V_DOUBLE(1.0)))), ITEM(V_MAP(M("a", V_INT(2))))),
       V_ARRAY(ITEM(V_MAP(M("a", V_INT(1)))), ITEM(V_MAP(M("a", V_INT(2)))))},
      {DOC_TRANSFORM_APPEND_MISSING, NOTHING, V_ARRAY(NOTHING), V_ARRAY(NOTHING)},

      {DOC_TRANSFORM_REMOVE_ALL,
       V_ARRAY(ITEM(V_INT(1)), ITEM(V_INT(2)), ITEM(V_DOUBLE(1.0)), ITEM(NAN_VALUE)),
       V_ARRAY(ITEM(V_INT(1)), ITEM(NAN_VALUE), ITEM(V_NULL)), V_ARRAY(ITEM(V_INT(2)))},
      {DOC_TRANSFORM_REMOVE_ALL, V_STRING(STR("x")), V_ARRAY(ITEM(V_INT(1))), V_ARRAY(NOTHING)},
      {DOC_TRANSFORM_REMOVE_ALL, NOTHING, V_ARRAY(ITEM(V_INT(1))), V_ARRAY(NOTHING)},
      {DOC_TRANSFORM_REMOVE_ALL, V_ARRAY(ITEM(V_INT(1))), V_ARRAY(NOTHING), V_ARRAY(ITEM(V_INT(1)))},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct doc_transform transform = {path("f"), cases[i].kind, decode_value(cases[i].operand)};
    str old = cases[i].old.len == 0 ? F("a", V_NULL) : JOIN(F("a", V_NULL), F("f", cases[i].old));
    struct doc_value result;
    struct doc_map got = apply(decode(old), &transform, 1, &result);
    assert_fields(got, JOIN(F("a", V_NULL), F("f", cases[i].wanted)), "case", i);
    str bytes;
    status s = doc_encode_value(&result, &arena, &bytes);
    assert_true(status_is_ok(&s));
    bool array = cases[i].kind == DOC_TRANSFORM_APPEND_MISSING || cases[i].kind == DOC_TRANSFORM_REMOVE_ALL;
    if (!str_eq(bytes, array ? V_NULL : cases[i].wanted))
      fail_msg("case %zu: another transform result", i);
  }
}

static void several_fields(void **state) {
  (void)state;
  str old = JOIN(
      F("a", V_MAP(M("x", V_INT(1)))), F("m", V_INT(5)),
      F("v", V_MAP(M("__type__", V_STRING(STR("__vector__"))), M("value", V_ARRAY(ITEM(V_DOUBLE(1.0)))))));
  struct doc_value one = decode_value(V_INT(1)), ten = decode_value(V_INT(10));
  struct doc_transform transforms[] = {
      {path("z.deep.er"), DOC_TRANSFORM_INCREMENT, one}, {path("a.x"), DOC_TRANSFORM_INCREMENT, ten},
      {path("a.w"), DOC_TRANSFORM_SERVER_TIME, one},     {path("a.x"), DOC_TRANSFORM_MAXIMUM, ten},
      {path("m.n"), DOC_TRANSFORM_INCREMENT, one},       {path("a.x"), DOC_TRANSFORM_INCREMENT, one},
      {path("v.value"), DOC_TRANSFORM_INCREMENT, one},
  };
  struct doc_value results[7];
  struct doc_map map = decode(old);
  struct doc_map got = apply(map, transforms, 7, results);
  assert_fields(got,
                JOIN(F("a", V_MAP(M("w", TIME_VALUE), M("x", V_INT(12)))), F("m", V_MAP(M("n", V_INT(1)))),
                     F("v", V_MAP(M("value", V_INT(1)))), F("z", V_MAP(M("deep", V_MAP(M("er", V_INT(1))))))),
                "several", 0);
  assert_fields(map, old, "the old one is not changed", 0);
  int64_t wanted[] = {1, 11, 0, 11, 1, 12, 1};
  for (size_t i = 0; i < 7; i++)
    assert_true(i == 2 ? results[i].type == DOC_TIMESTAMP : results[i].as.integer == wanted[i]);

  struct doc_transform_plan none = {0};
  status s = doc_transform_apply(map, &none, TIME_US, &comparisons, &arena, &got, NULL);
  assert_true(status_is_ok(&s));
  assert_fields(got, old, "none", 0);
}

static void plans_are_checked(void **state) {
  (void)state;
  struct doc_value one = decode_value(V_INT(1)), text = decode_value(V_STRING(STR("x")));
  struct doc_transform_plan plan;
  struct doc_transform nested[] = {{path("a.b"), DOC_TRANSFORM_SERVER_TIME, one},
                                   {path("a.c"), DOC_TRANSFORM_SERVER_TIME, one},
                                   {path("a"), DOC_TRANSFORM_SERVER_TIME, one}};
  status s = doc_transform_plan_make(nested, 3, &arena, &plan);
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  s = doc_transform_plan_make(nested, 2, &arena, &plan);
  assert_int_equal(s.code, STATUS_OK);
  for (enum doc_transform_kind kind = DOC_TRANSFORM_INCREMENT; kind <= DOC_TRANSFORM_MINIMUM; kind++) {
    struct doc_transform bad = {path("a"), kind, text};
    s = doc_transform_plan_make(&bad, 1, &arena, &plan);
    assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  }
  static struct doc_transform many[LIMIT_TRANSFORMS_PER_DOCUMENT + 1];
  for (size_t i = 0; i < LIMIT_TRANSFORMS_PER_DOCUMENT + 1; i++)
    many[i] = (struct doc_transform){path("a"), DOC_TRANSFORM_INCREMENT, one};
  s = doc_transform_plan_make(many, LIMIT_TRANSFORMS_PER_DOCUMENT + 1, &arena, &plan);
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  static struct doc_value results[LIMIT_TRANSFORMS_PER_DOCUMENT];
  struct doc_map got = apply((struct doc_map){NULL, 0}, many, LIMIT_TRANSFORMS_PER_DOCUMENT, results);
  assert_fields(got, F("a", V_INT(LIMIT_TRANSFORMS_PER_DOCUMENT)), "many", 0);
}

static void depth_is_checked(void **state) {
  (void)state;
  struct doc_value one = decode_value(V_INT(1));
  struct doc_limits limits = DOC_LIMITS_DEFAULT;
  for (size_t over = 0; over < 2; over++) {
    char text[64] = "a";
    for (size_t i = 0; i < LIMIT_VALUE_DEPTH + over; i++)
      strcat(text, ".a");
    struct doc_transform transform = {path(text), DOC_TRANSFORM_INCREMENT, one};
    struct doc_transform_plan plan;
    status s = doc_transform_plan_make(&transform, 1, &arena, &plan);
    assert_int_equal(s.code, over ? STATUS_INVALID_ARGUMENT : STATUS_OK);
    if (over)
      continue;
    struct doc_value result;
    struct doc_map got = apply((struct doc_map){NULL, 0}, &transform, 1, &result);
    s = doc_document_check(STR("x"), got, &limits);
    assert_int_equal(s.code, STATUS_OK);
    /* An array at the same place is one level too many. */
    transform.kind = DOC_TRANSFORM_REMOVE_ALL;
    transform.operand = decode_value(V_ARRAY(NOTHING));
    got = apply((struct doc_map){NULL, 0}, &transform, 1, &result);
    s = doc_document_check(STR("x"), got, &limits);
    assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  }
}

static void long_arrays_stay_fast(void **state) {
  (void)state;
  enum { COUNT = 100000 }; /* by pairs: 10^10 comparisons */
  str *items = calloc(COUNT, sizeof *items);
  for (size_t i = 0; i < COUNT; i++)
    items[i] = ITEM(V_INT(i));
  str even = raw_field(9, join_all(items, COUNT / 2)), all = raw_field(9, join_all(items, COUNT));
  free(items);
  struct doc_transform transform = {path("f"), DOC_TRANSFORM_APPEND_MISSING, decode_value(all)};
  struct doc_value result;
  struct doc_map got = apply(decode(F("f", even)), &transform, 1, &result);
  assert_fields(got, F("f", all), "appended", 0);
  transform.kind = DOC_TRANSFORM_REMOVE_ALL;
  got = apply(got, &transform, 1, &result);
  assert_fields(got, F("f", V_ARRAY(NOTHING)), "removed", 0);
}

/* Many operands that are almost equal to many large items: each is compared to its end. */
static void comparisons_run_out(void **state) {
  (void)state;
  enum { ITEMS = 100, VALUES = 1000, TRANSFORMS = 500 };
  struct doc_value *values = ARENA_NEW_ARRAY(&arena, struct doc_value, VALUES);
  struct doc_value *items = ARENA_NEW_ARRAY(&arena, struct doc_value, ITEMS);
  assert_true(values != NULL && items != NULL);
  for (size_t i = 0; i < VALUES; i++)
    values[i].type = DOC_NULL;
  const struct doc_field large = {STR("a"), {.type = DOC_ARRAY, .as.array = {values, VALUES}}};
  for (size_t i = 0; i < ITEMS; i++)
    items[i] = (struct doc_value){.type = DOC_MAP, .as.map = {&large, 1}};
  const struct doc_field field = {STR("f"), {.type = DOC_ARRAY, .as.array = {items, ITEMS}}};
  static struct doc_transform transforms[TRANSFORMS];
  static struct doc_value results[TRANSFORMS];
  for (size_t i = 0; i < TRANSFORMS; i++)
    transforms[i] = (struct doc_transform){
        path("f"), DOC_TRANSFORM_APPEND_MISSING, {.type = DOC_ARRAY, .as.array = {items, 1}}};
  const struct doc_map map = {&field, 1};
  apply(map, transforms, 300, results);
  assert_true(comparisons < 10 << 20 && comparisons > 1 << 20);
  struct doc_transform_plan plan;
  struct doc_map got;
  status s = doc_transform_plan_make(transforms, TRANSFORMS, &arena, &plan);
  assert_true(status_is_ok(&s));
  s = doc_transform_apply(map, &plan, TIME_US, &comparisons, &arena, &got, results);
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
}

static void memory_runs_out(void **state) {
  (void)state;
  struct doc_transform transform = {path("f"), DOC_TRANSFORM_APPEND_MISSING,
                                    decode_value(V_ARRAY(ITEM(V_NULL)))};
  struct doc_transform_plan plan;
  status s = doc_transform_plan_make(&transform, 1, &arena, &plan);
  assert_true(status_is_ok(&s));
  struct arena none;
  arena_init(&none, NULL, 0, 0);
  struct doc_map got;
  struct doc_value result;
  s = doc_transform_apply((struct doc_map){NULL, 0}, &plan, TIME_US, &comparisons, &none, &got, &result);
  assert_int_equal(s.code, STATUS_RESOURCE_EXHAUSTED);
  s = doc_transform_plan_make(&transform, 1, &none, &plan);
  assert_int_equal(s.code, STATUS_RESOURCE_EXHAUSTED);
  arena_fini(&none);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(one_field),           TEST(several_fields),        TEST(plans_are_checked),
      TEST(depth_is_checked),    TEST(long_arrays_stay_fast), TEST(memory_runs_out),
      TEST(comparisons_run_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
