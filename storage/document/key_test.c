#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "base/limits.h"
#include "storage/document/key.h"
#include "storage/kv.h"

#define ROOT "projects/demo/databases/(default)/documents"

static struct arena arena;

static int set_up(void **state) {
  (void)state;
  arena_init(&arena, NULL, 0, 64 << 20);
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  return 0;
}

static void assert_ok(status got) {
  if (got.code != STATUS_OK)
    fail_msg("%s: %s", status_code_name((int)got.code), got.message);
}

static struct doc_path path_of(str name) {
  struct doc_path path;
  assert_ok(doc_path_parse(name, &path));
  return path;
}

static str key_of(str name) {
  struct doc_path path = path_of(name);
  str key;
  assert_ok(doc_key_from_path(&path, &arena, &key));
  return key;
}

static int sign(int order) {
  return (order > 0) - (order < 0);
}

static bool within(struct doc_key_range range, str key) {
  return str_cmp(range.lower, key) <= 0 && str_cmp(key, range.upper) < 0;
}

/* The format is on disk: a change here is a new format of the store. */
static void test_bytes(void **state) {
  (void)state;
  static const char wanted[] = "\x03p\0\x01"
                               "\x03(default)\0\x01"
                               "\x03"
                               "c\0\x01"
                               "\x02\0\x02"
                               "42\0\x01\0\x01"
                               "\x03x\0\x01"
                               "\x03"
                               "a\0\xff"
                               "b\0\x01";
  str key = key_of(STR("projects/p/databases/(default)/documents/c/__id042__/x/a\0b"));
  assert_int_equal(key.len, sizeof wanted - 1);
  assert_memory_equal(key.ptr, wanted, key.len);
}

static void test_round_trip(void **state) {
  (void)state;
  const str names[] = {STR(ROOT),
                       STR(ROOT "/a"),
                       STR(ROOT "/a/b"),
                       STR(ROOT "/a/__id000__"),
                       STR(ROOT "/a/__id-9223372036854775808__/b/c"),
                       STR(ROOT "/a/__id120__/c"),
                       STR(ROOT "/\0\0/\0"),
                       STR(ROOT "/a/b/c/__id7__")};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    str key = key_of(names[i]);
    struct doc_path path;
    assert_ok(doc_key_to_path(key, &arena, &path));
    assert_true(str_eq(path.name, names[i]));
    size_t count;
    assert_ok(doc_key_segment_count(key, &count));
    assert_int_equal(count, path.segment_count);
  }
}

/* Random paths over ids that are chosen to collide. */
static uint64_t seed = 1;
static unsigned pick(unsigned bound) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(seed >> 33) % bound;
}

static str random_name(void) {
  const str ids[] = {STR("a"),        STR("a\0"),     STR("a\0\0"),
                     STR("a\x01"),    STR("aa"),      STR("\0"),
                     STR("\x01"),     STR("\x02"),    STR("\xf4\x8f\xbf\xbf"),
                     STR("b"),        STR("__id1__"), STR("__id01__"),
                     STR("__id10__"), STR("__id9__"), STR("__id0__"),
                     DOC_ID_LOWEST,   STR("__"),      STR("a\0\x01"),
                     STR("\xc3\xbf"), STR("~"),       STR(" ")};
  struct buf b = {0};
  static const char *const databases[] = {"projects/a/databases/d/documents",
                                          "projects/a-/databases/d/documents",
                                          "projects/a/databases/d1/documents"};
  buf_append_str(&b, str_from_cstr(databases[pick(3)]));
  unsigned segments = pick(6);
  for (unsigned i = 0; i < segments; i++) {
    str id = ids[pick(sizeof ids / sizeof ids[0])];
    struct doc_id_number number;
    if (i % 2 == 0 && doc_id_number(id, &number))
      id = ids[0];
    buf_append_byte(&b, '/');
    buf_append_str(&b, id);
  }
  str name = arena_str_copy(&arena, buf_str(&b));
  buf_fini(&b);
  return name;
}

static bool is_below(const struct doc_path *path, const struct doc_path *above) {
  return doc_path_same_database(path, above) && path->segment_count > above->segment_count &&
         (above->segment_count == 0 || (str_has_prefix(path->relative, above->relative) &&
                                        path->relative.ptr[above->relative.len] == '/'));
}

static void test_order_and_ranges(void **state) {
  (void)state;
  for (int round = 0; round < 20000; round++) {
    arena_reset(&arena);
    struct doc_path a = path_of(random_name()), b = path_of(random_name());
    str x = key_of(a.name), y = key_of(b.name);
    assert_int_equal(sign(str_cmp(x, y)), sign(doc_path_compare(&a, &b)));

    struct doc_path back;
    assert_ok(doc_key_to_path(x, &arena, &back));
    assert_true(str_eq(back.name, a.name));

    struct doc_key_range range;
    assert_ok(doc_key_descendants_range(&a, &arena, &range));
    assert_int_equal(within(range, y), is_below(&b, &a));
    assert_ok(doc_key_database_range(&a, &arena, &range));
    assert_int_equal(within(range, y), doc_path_same_database(&a, &b));
    if (doc_path_is_collection(&a)) {
      struct doc_path parent = doc_path_parent(&a);
      assert_ok(doc_key_children_range(&parent, doc_path_id(&a), &arena, &range));
      if (doc_path_is_document(&b))
        assert_int_equal(within(range, y), is_below(&b, &a));
    }
    str next;
    assert_ok(doc_key_skip_descendants(x, &arena, &next));
    bool before = str_cmp(y, next) < 0;
    assert_int_equal(before, doc_path_compare(&b, &a) <= 0 || is_below(&b, &a));

    if (b.segment_count > 0) {
      struct doc_path parent = doc_path_parent(&b);
      str prefix, wanted = key_of(parent.name);
      assert_ok(doc_key_ancestor(y, parent.segment_count, &prefix));
      assert_true(str_eq(prefix, wanted));
    }
  }
}

/* The longest key: as many segments as there may be, the rest of the name U+0000. */
static void test_longest_key(void **state) {
  (void)state;
  char name[LIMIT_NAME_BYTES];
  memset(name, 0, sizeof name);
  memcpy(name, ROOT, sizeof ROOT - 1);
  size_t at = sizeof ROOT - 1;
  for (int i = 0; i < 2 * LIMIT_PATH_DEPTH; i++) {
    name[at] = '/';
    at += i < 4 ? 1401 : 2;
  }
  assert_true(at <= sizeof name);
  struct doc_path path = path_of(str_make(name, sizeof name));
  assert_int_equal(path.segment_count, 2 * LIMIT_PATH_DEPTH);
  str key, next;
  assert_ok(doc_key_from_path(&path, &arena, &key));
  assert_true(key.len > 12000 && key.len <= 12894);
  assert_ok(doc_key_skip_descendants(key, &arena, &next));
  assert_true(next.len <= KV_KEY_MAX_BYTES);
  struct doc_path back;
  assert_ok(doc_key_to_path(key, &arena, &back));
  assert_true(str_eq(back.name, path.name));
}

#define HEAD                                                                                                 \
  "\x03p\0\x01\x03"                                                                                          \
  "d\0\x01"

static void test_damaged_keys(void **state) {
  (void)state;
  const struct {
    const char *why;
    str key;
  } rows[] = {
      {"empty", STR("")},
      {"no database", STR("\x03p\0\x01")},
      {"cut before the end", STR("\x03p\0\x01\x03"
                                 "d\0")},
      {"cut in a text", STR(HEAD "\x03"
                                 "abc")},
      {"an unknown tag", STR(HEAD "\x04"
                                  "a\0\x01")},
      {"an unknown escape", STR(HEAD "\x03"
                                     "a\0\x02")},
      {"an upper bound", STR("\x03p\0\x01\x03"
                             "d\0\x02")},
      {"a bad project", STR("\x03 \0\x01\x03"
                            "d\0\x01")},
      {"an empty id", STR(HEAD "\x03\0\x01")},
      {"a slash in an id", STR(HEAD "\x03"
                                    "a/b\0\x01")},
      {"not UTF-8", STR(HEAD "\x03\xff\0\x01")},
      {"a reserved id", STR(HEAD "\x03__x__\0\x01")},
      {"a number as text", STR(HEAD "\x03"
                                    "c\0\x01\x03__id5__\0\x01")},
      {"a number as collection", STR(HEAD "\x02\0\x01"
                                          "5\0\0\0\x01")},
      {"a number with a zero first", STR(HEAD "\x03"
                                              "c\0\x01\x02\0\x02"
                                              "05\0\0\0\x01")},
      {"a number of other bytes", STR(HEAD "\x03"
                                           "c\0\x01\x02\0\x01"
                                           "x\0\0\0\x01")},
      {"a number without end", STR(HEAD "\x03"
                                        "c\0\x01\x02\0\x01"
                                        "5\0\0\0\x02")},
      {"a number cut", STR(HEAD "\x03"
                                "c\0\x01\x02\0\x09"
                                "5\0\0\0\x01")},
      {"a number too long", STR(HEAD "\x03"
                                     "c\0\x01\x02\0\x01"
                                     "5\xff\xff\0\x01")},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct doc_path path;
    status s = doc_key_to_path(rows[i].key, &arena, &path);
    if (s.code != STATUS_DATA_LOSS)
      fail_msg("%s: %s", rows[i].why, status_code_name((int)s.code));
  }
  size_t count;
  str prefix;
  assert_int_equal(doc_key_segment_count(STR("\x03p\0\x01"), &count).code, STATUS_DATA_LOSS);
  assert_int_equal(doc_key_segment_count(STR(HEAD "\x03"
                                                  "a"),
                                         &count)
                       .code,
                   STATUS_DATA_LOSS);
  assert_int_equal(doc_key_ancestor(STR(HEAD), 1, &prefix).code, STATUS_DATA_LOSS);
  assert_int_equal(doc_key_skip_descendants(STR(HEAD "\x03"), &arena, &prefix).code, STATUS_DATA_LOSS);
  assert_ok(doc_key_ancestor(STR(HEAD), 0, &prefix));
}

static void test_no_memory(void **state) {
  (void)state;
  struct arena none;
  arena_init(&none, NULL, 0, 0);
  struct doc_path path = path_of(STR(ROOT "/c/d"));
  str key = key_of(path.name), next;
  struct doc_key_range range;
  assert_int_equal(doc_key_from_path(&path, &none, &next).code, STATUS_RESOURCE_EXHAUSTED);
  assert_int_equal(doc_key_to_path(key, &none, &path).code, STATUS_RESOURCE_EXHAUSTED);
  assert_int_equal(doc_key_skip_descendants(key, &none, &next).code, STATUS_RESOURCE_EXHAUSTED);
  assert_int_equal(doc_key_descendants_range(&path, &none, &range).code, STATUS_RESOURCE_EXHAUSTED);
  arena_fini(&none);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bytes),
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_order_and_ranges),
      cmocka_unit_test(test_longest_key),
      cmocka_unit_test(test_damaged_keys),
      cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
