#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <stdio.h>

#include <cmocka.h>

#include "storage/document/codec.h"
#include "storage/document/mask.h"
#include "storage/document/wire_build.h"

static struct arena arena;

static int set_up(void **state) {
  (void)state;
  wire_build_init();
  arena_init(&arena, NULL, 0, 16 << 20);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  wire_build_fini();
  return 0;
}

static struct doc_map decode(str wire) {
  struct doc_document document;
  status s = doc_decode_document(wire, &arena, &document);
  if (!status_is_ok(&s))
    fail_msg("%s", s.message);
  return document.fields;
}

/* `wire` is sorted: what the map must be. */
static void assert_map(struct doc_map map, str wire, const char *what) {
  str bytes;
  status s = doc_encode_fields(map, &arena, &bytes);
  assert_true(status_is_ok(&s));
  if (!str_eq(bytes, wire))
    fail_msg("%s: another result", what);
}

/* Paths in one text, with spaces between them. */
static struct doc_mask parse(const char *text, enum doc_mask_use use) {
  str paths[16], rest = str_from_cstr(text);
  size_t count = 0;
  while (rest.len > 0)
    paths[count++] = str_split(rest, ' ', &rest);
  struct doc_mask mask;
  status s = doc_mask_parse(paths, count, use, &arena, &mask);
  if (!status_is_ok(&s))
    fail_msg("%s", s.message);
  return mask;
}

static void paths_are_sorted_and_covered(void **state) {
  (void)state;
  struct doc_mask mask = parse("e.f b a.c.d a.b e a.b.x a.b", DOC_MASK_READ);
  const char *wanted[] = {"a.b", "a.c.d", "b", "e"};
  assert_int_equal(mask.count, 4);
  for (size_t i = 0; i < 4; i++) {
    str text = doc_field_path_format(&mask.paths[i], &arena);
    assert_true(str_eq(text, str_from_cstr(wanted[i])));
  }
  assert_int_equal(parse("", DOC_MASK_READ).count, 0);
  assert_int_equal(parse("__name__", DOC_MASK_READ).count, 0);
  assert_int_equal(parse("`__name__` a", DOC_MASK_READ).count, 1);
}

static void bad_paths_are_refused(void **state) {
  (void)state;
  str bad[] = {STR(""), STR("a..b"), STR("1a"), STR("`a"), STR("a.__x__"), STR("\xFF")};
  struct doc_mask mask;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    str paths[] = {STR("good"), bad[i]};
    status s = doc_mask_parse(paths, 2, DOC_MASK_READ, &arena, &mask);
    assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  }
  str name = STR("__name__");
  status s = doc_mask_parse(&name, 1, DOC_MASK_WRITE, &arena, &mask);
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
}

#define VECTOR V_MAP(M("__type__", V_STRING(STR("__vector__"))), M("value", V_ARRAY(ITEM(V_DOUBLE(1.0)))))

static void projection(void **state) {
  (void)state;
  struct doc_map map =
      decode(JOIN(F("a", V_MAP(M("b", V_INT(1)), M("c", V_MAP(M("d", V_INT(2)), M("e", V_INT(3)))))),
                  F("f-g", V_INT(4)), F("n", V_NULL), F("v", VECTOR), F("z", V_ARRAY(NOTHING))));
  struct {
    const char *mask;
    str wanted;
  } cases[] = {
      {"", NOTHING},
      {"n", F("n", V_NULL)},
      {"`f-g` n", JOIN(F("f-g", V_INT(4)), F("n", V_NULL))},
      {"a.c", F("a", V_MAP(M("c", V_MAP(M("d", V_INT(2)), M("e", V_INT(3))))))},
      {"a.b a.c.e", F("a", V_MAP(M("b", V_INT(1)), M("c", V_MAP(M("e", V_INT(3))))))},
      {"a a.b", F("a", V_MAP(M("b", V_INT(1)), M("c", V_MAP(M("d", V_INT(2)), M("e", V_INT(3))))))},
      {"missing n.x z.y a.c.x.y a.b.q", NOTHING},
      {"v", F("v", VECTOR)},
      {"v.value", NOTHING},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct doc_mask mask = parse(cases[i].mask, DOC_MASK_READ);
    struct doc_map got;
    status s = doc_mask_project(map, &mask, &arena, &got);
    assert_true(status_is_ok(&s));
    assert_map(got, cases[i].wanted, cases[i].mask);
  }
}

static void merging(void **state) {
  (void)state;
  str deep = V_MAP(M("b", V_INT(1)), M("c", V_MAP(M("d", V_INT(2)))));
  struct {
    str old, new;
    const char *mask;
    str wanted;
  } cases[] = {
      {F("a", V_INT(1)), F("a", V_INT(2)), "", F("a", V_INT(1))},
      {F("a", V_INT(1)), F("a", V_INT(2)), "a", F("a", V_INT(2))},
      {F("a", V_INT(1)), JOIN(F("a", V_INT(2)), F("b", V_INT(3))), "b",
       JOIN(F("a", V_INT(1)), F("b", V_INT(3)))},
      {JOIN(F("a", V_INT(1)), F("b", V_INT(2))), NOTHING, "a", F("b", V_INT(2))},
      {JOIN(F("b", V_INT(1)), F("d", V_INT(1))), JOIN(F("a", V_INT(2)), F("c", V_INT(2)), F("e", V_INT(2))),
       "e c a",
       JOIN(F("a", V_INT(2)), F("b", V_INT(1)), F("c", V_INT(2)), F("d", V_INT(1)), F("e", V_INT(2)))},
      /* nested: set, made, deleted, left alone */
      {F("a", deep), F("a", V_MAP(M("c", V_MAP(M("d", V_INT(9)))))), "a.c.d",
       F("a", V_MAP(M("b", V_INT(1)), M("c", V_MAP(M("d", V_INT(9))))))},
      {NOTHING, F("a", V_MAP(M("c", V_MAP(M("d", V_INT(9)), M("e", V_INT(8)))))), "a.c.d",
       F("a", V_MAP(M("c", V_MAP(M("d", V_INT(9))))))},
      {F("a", deep), NOTHING, "a.c.d", F("a", V_MAP(M("b", V_INT(1)), M("c", V_MAP(NOTHING))))},
      {F("a", deep), F("a", V_MAP(M("b", V_INT(5)))), "a.b a.c.d",
       F("a", V_MAP(M("b", V_INT(5)), M("c", V_MAP(NOTHING))))},
      {F("a", deep), F("a", V_INT(7)), "a", F("a", V_INT(7))},
      {F("a", deep), F("a", V_INT(7)), "a.b", F("a", V_MAP(M("c", V_MAP(M("d", V_INT(2))))))},
      /* something else in the way is replaced, but not for a deletion */
      {F("a", V_INT(1)), F("a", V_MAP(M("b", V_INT(2)))), "a.b", F("a", V_MAP(M("b", V_INT(2))))},
      {F("a", V_INT(1)), NOTHING, "a.b", F("a", V_INT(1))},
      {F("a", V_INT(1)), F("a", V_MAP(NOTHING)), "a.b", F("a", V_INT(1))},
      {NOTHING, F("a", V_MAP(M("x", V_INT(1)))), "a.b.c", NOTHING},
      {NOTHING, NOTHING, "a.b.c", NOTHING},
      {F("a", V_MAP(NOTHING)), NOTHING, "a.b", F("a", V_MAP(NOTHING))},
      /* a vector is one value */
      {F("a", VECTOR), F("a", V_MAP(M("value", V_INT(2)))), "a.value", F("a", V_MAP(M("value", V_INT(2))))},
      {F("a", VECTOR), NOTHING, "a.value", F("a", VECTOR)},
      {F("a", V_INT(1)), F("a", VECTOR), "a.value", F("a", V_INT(1))},
      {F("a", V_INT(1)), F("a", VECTOR), "a", F("a", VECTOR)},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct doc_mask mask = parse(cases[i].mask, DOC_MASK_WRITE);
    struct doc_map old = decode(cases[i].old), got;
    status s = doc_mask_merge(old, decode(cases[i].new), &mask, &arena, &got);
    assert_true(status_is_ok(&s));
    char what[100];
    snprintf(what, sizeof what, "case %zu, %s", i, cases[i].mask);
    assert_map(got, cases[i].wanted, what);
    assert_map(old, cases[i].old, "the old one is not changed");
  }
}

/* A path of 750 names, far deeper than any document, costs nothing but its length. */
static void deep_paths(void **state) {
  (void)state;
  char text[1500];
  for (size_t i = 0; i < sizeof text; i++)
    text[i] = i % 2 == 0 ? 'a' : '.';
  str path = str_make(text, sizeof text - 1);
  struct doc_mask mask;
  status s = doc_mask_parse(&path, 1, DOC_MASK_WRITE, &arena, &mask);
  assert_true(status_is_ok(&s));
  str value = V_INT(1);
  for (int i = 0; i < 20; i++)
    value = V_MAP(M("a", value));
  struct doc_map map = decode(F("a", value)), got;
  s = doc_mask_merge(map, map, &mask, &arena, &got);
  assert_true(status_is_ok(&s));
  assert_map(got, F("a", value), "merged");
  s = doc_mask_project(map, &mask, &arena, &got);
  assert_true(status_is_ok(&s));
  assert_map(got, NOTHING, "projected");
}

/* Many documents may be read with one large mask: what a document costs goes with its own size, not with the
 * mask's. Walking the mask for each would take a minute here. */
static void large_masks(void **state) {
  (void)state;
  enum { PATHS = 200000, DOCUMENTS = 50000 };
  str *paths = ARENA_NEW_ARRAY(&arena, str, PATHS);
  assert_non_null(paths);
  for (size_t i = 0; i < PATHS; i++)
    paths[i] = arena_printf(&arena, i % 2 == 0 ? "a.f%zu" : "g%zu", i);
  struct doc_mask mask;
  status s = doc_mask_parse(paths, PATHS, DOC_MASK_READ, &arena, &mask);
  assert_true(status_is_ok(&s));
  struct doc_map got;
  str wanted = F("a", V_MAP(M("f0", V_INT(1))));
  struct doc_map map = decode(wanted);
  for (size_t i = 0; i < DOCUMENTS; i++) {
    struct arena scratch;
    arena_init(&scratch, NULL, 0, 100000);
    s = doc_mask_project(map, &mask, &scratch, &got);
    assert_true(status_is_ok(&s) && got.count == 1);
    arena_fini(&scratch);
  }
  s = doc_mask_project(map, &mask, &arena, &got);
  assert_true(status_is_ok(&s));
  assert_map(got, wanted, "projected");
}

static void memory_runs_out(void **state) {
  (void)state;
  struct doc_mask mask = parse("a.b", DOC_MASK_READ);
  struct doc_map map = decode(F("a", V_MAP(M("b", V_INT(1))))), got;
  str path = STR("a.b");
  struct arena none;
  arena_init(&none, NULL, 0, 0);
  status s = doc_mask_parse(&path, 1, DOC_MASK_READ, &none, &mask);
  assert_int_equal(s.code, STATUS_RESOURCE_EXHAUSTED);
  s = doc_mask_project(map, &mask, &none, &got);
  assert_int_equal(s.code, STATUS_RESOURCE_EXHAUSTED);
  s = doc_mask_merge(map, map, &mask, &none, &got);
  assert_int_equal(s.code, STATUS_RESOURCE_EXHAUSTED);
  arena_fini(&none);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(paths_are_sorted_and_covered),
      TEST(bad_paths_are_refused),
      TEST(projection),
      TEST(merging),
      TEST(deep_paths),
      TEST(large_masks),
      TEST(memory_runs_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
