#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "base/limits.h"
#include "storage/document/path.h"

#define ROOT "projects/demo/databases/(default)/documents"

static struct arena arena;

static int set_up(void **state) {
  (void)state;
  arena_init(&arena, NULL, 0, 1 << 20);
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  return 0;
}

static void assert_str(str got, const char *wanted) {
  assert_int_equal(got.len, strlen(wanted));
  assert_memory_equal(got.ptr == NULL ? "" : got.ptr, wanted, got.len);
}

static void assert_refused(status got, const char *wanted) {
  assert_int_equal(got.code, STATUS_INVALID_ARGUMENT);
  if (strstr(got.message, wanted) == NULL)
    fail_msg("\"%s\" does not say \"%s\"", got.message, wanted);
}

static void assert_ok(status got) {
  if (got.code != STATUS_OK)
    fail_msg("%s: %s", status_code_name((int)got.code), got.message);
}

/* `prefix`, then `count` bytes. */
static str padded(const char *prefix, char byte, size_t count) {
  size_t length = strlen(prefix);
  char *text = arena_alloc(&arena, length + count);
  assert_non_null(text);
  memcpy(text, prefix, length);
  memset(text + length, byte, count);
  return str_make(text, length + count);
}

static str collections(size_t count, bool with_document) {
  struct buf b = {0};
  buf_append_str(&b, STR(ROOT));
  for (size_t i = 0; i < count; i++)
    buf_append_str(&b, i + 1 < count || with_document ? STR("/c/d") : STR("/c"));
  str copy = arena_str_copy(&arena, buf_str(&b));
  buf_fini(&b);
  return copy;
}

static void test_parts(void **state) {
  (void)state;
  struct doc_path path;
  assert_ok(doc_path_parse(STR(ROOT "/rooms/a/messages/1"), &path));
  assert_str(path.project, "demo");
  assert_str(path.database, "(default)");
  assert_str(path.relative, "rooms/a/messages/1");
  assert_int_equal(path.segment_count, 4);
  assert_true(doc_path_is_document(&path));
  assert_str(doc_path_id(&path), "1");
  assert_str(doc_path_collection_id(&path), "messages");

  path = doc_path_parent(&path);
  assert_str(path.name, ROOT "/rooms/a/messages");
  assert_true(doc_path_is_collection(&path));
  assert_str(doc_path_id(&path), "messages");
  assert_str(doc_path_collection_id(&path), "");
  path = doc_path_parent(&path);
  path = doc_path_parent(&path);
  assert_str(path.name, ROOT "/rooms");
  path = doc_path_parent(&path);
  assert_str(path.name, ROOT);
  assert_int_equal(path.segment_count, 0);
  assert_str(doc_path_id(&path), "");
  assert_false(doc_path_is_document(&path));
}

static void test_kinds(void **state) {
  (void)state;
  struct doc_path path;
  assert_ok(doc_path_parse(STR(ROOT), &path));
  assert_ok(doc_path_parse(STR(ROOT "/c"), &path));
  assert_ok(doc_path_parse_document(STR(ROOT "/c/d"), &path));
  assert_ok(doc_path_parse_parent(STR(ROOT), &path));
  assert_ok(doc_path_parse_parent(STR(ROOT "/c/d"), &path));
  assert_refused(doc_path_parse_document(STR(ROOT "/c"), &path),
                 "Document name \"" ROOT "/c\" lacks \"/\" at index 45.");
  assert_refused(doc_path_parse_document(STR(ROOT), &path), "lacks \"/\" at index 43.");
  assert_refused(doc_path_parse_parent(STR(ROOT "/c"), &path), "Document parent name");
  assert_ok(doc_path_parse_database(STR("projects/p/databases/d"), &path));
  assert_str(path.project, "p");
  assert_str(path.database, "d");
  assert_refused(doc_path_parse_database(STR("projects/p/databases/d/documents"), &path),
                 "must end after the database id, at index 22.");
  assert_refused(doc_path_parse_database(STR("projects/p/databases/d/"), &path), "at index 22.");
}

static void test_refused_names(void **state) {
  (void)state;
  static const struct {
    const char *name, *says;
  } rows[] = {
      {"", "lacks \"projects\" at index 0."},
      {"/", "lacks \"projects\" at index 0."},
      {"project/p", "lacks \"projects\" at index 0."},
      {"projects", "lacks \"/\" at index 8."},
      {"projects/", "Project id \"\" is malformed"},
      {"projects//databases/d/documents", "Project id \"\" is malformed"},
      {"projects/p", "lacks \"/\" at index 10."},
      {"projects/p/", "lacks \"databases\" at index 11."},
      {"projects/p/databases", "lacks \"/\" at index 20."},
      {"projects/p/databases/", "Database id \"\" is malformed"},
      {"projects/p/databases/d", "lacks \"/\" at index 22."},
      {"projects/p/databases/d/", "lacks \"documents\" at index 23."},
      {"projects/p/databases/d/document", "lacks \"documents\" at index 23."},
      {"projects/p/databases/d/documentsx", "lacks \"documents\" at index 23."},
      {ROOT "/", "has invalid trailing \"/\"."},
      {ROOT "/c/", "has invalid trailing \"/\"."},
      {ROOT "/c/d/", "has invalid trailing \"/\"."},
      {ROOT "//d", "lacks a resource id at index 44."},
      {ROOT "/c//e", "lacks a resource id at index 46."},
      {ROOT "/./d", "Collection id \".\" is invalid"},
      {ROOT "/c/..", "Resource id \"..\" is invalid"},
      {ROOT "/__c__/d", "Collection id \"__c__\" is invalid because it is reserved."},
      {ROOT "/__id1__/d", "Collection id \"__id1__\" is invalid because it is reserved."},
      {ROOT "/c/____", "Resource id \"____\" is invalid because it is reserved."},
      {ROOT "/c/__id__", "Resource id \"__id__\" is invalid because it is reserved."},
      {ROOT "/c/__id1x__", "Resource id \"__id1x__\" is invalid because it is reserved."},
      {ROOT "/c/\xff", "is not valid UTF-8."},
      {ROOT "/c/\xed\xa0\x80", "is not valid UTF-8."},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct doc_path path;
    assert_refused(doc_path_parse(str_from_cstr(rows[i].name), &path), rows[i].says);
  }
}

static void test_accepted_ids(void **state) {
  (void)state;
  static const char *const names[] = {ROOT "/.../....",
                                      ROOT "/__/___",
                                      ROOT "/__c/d__",
                                      ROOT "/c/__id007__",
                                      ROOT "/c/__id0__",
                                      ROOT "/ / ",
                                      ROOT "/\xf0\x9f\x8c\x8a/\xc3\xa9",
                                      ROOT "/c/a.b*[]~"};
  struct doc_path path;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    assert_ok(doc_path_parse_document(str_from_cstr(names[i]), &path));
  assert_ok(doc_path_parse(STR(ROOT "/a\0b/\0"), &path));
  assert_int_equal(path.segment_count, 2);
}

static void test_project_and_database_ids(void **state) {
  (void)state;
  static const struct {
    const char *name;
    bool ok;
  } rows[] = {
      {"projects/example.com:shop-1/databases/(default)", true},
      {"projects/Test_1/databases/db", true},
      {"projects/-a/databases/db", false},
      {"projects/a b/databases/db", false},
      {"projects/\xc3\xa9/databases/db", false},
      {"projects/p/databases/(default", false},
      {"projects/p/databases/Db", false},
      {"projects/p/databases/1db", false},
      {"projects/p/databases/db-", false},
      {"projects/p/databases/d_b", false},
      {"projects/p/databases/a-1", true},
  };
  struct doc_path path;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    status s = doc_path_parse_database(str_from_cstr(rows[i].name), &path);
    if (status_is_ok(&s) != rows[i].ok)
      fail_msg("%s: %s", rows[i].name, s.message);
  }
  assert_ok(doc_path_parse_database(padded("projects/p/databases/", 'd', DOC_DATABASE_ID_BYTES), &path));
  assert_refused(
      doc_path_parse_database(padded("projects/p/databases/", 'd', DOC_DATABASE_ID_BYTES + 1), &path),
      "Database id");
  str project = padded("projects/", 'p', DOC_PROJECT_ID_BYTES + 1);
  assert_refused(doc_path_parse_database(project, &path), "Project id");
  project.len--;
  assert_refused(doc_path_parse_database(project, &path), "lacks \"/\" at index 137.");
}

static void test_limits(void **state) {
  (void)state;
  struct doc_path path;
  assert_ok(doc_path_parse(padded(ROOT "/", 'c', LIMIT_ID_BYTES), &path));
  assert_refused(doc_path_parse(padded(ROOT "/", 'c', LIMIT_ID_BYTES + 1), &path), "longer than 1500 bytes");
  assert_ok(doc_path_parse(padded(ROOT "/c/", 'd', LIMIT_ID_BYTES), &path));
  assert_refused(doc_path_parse(padded(ROOT "/c/", 'd', LIMIT_ID_BYTES + 1), &path),
                 "longer than 1500 bytes");

  assert_ok(doc_path_parse_document(collections(LIMIT_PATH_DEPTH, true), &path));
  assert_int_equal(path.segment_count, 2 * LIMIT_PATH_DEPTH);
  assert_refused(doc_path_parse(collections(LIMIT_PATH_DEPTH + 1, false), &path),
                 "more than 100 collections");
  assert_refused(doc_path_parse(collections(LIMIT_PATH_DEPTH + 1, true), &path), "more than 100 collections");

  str name = padded(ROOT "/c/d", '/', LIMIT_NAME_BYTES + 1 - sizeof(ROOT "/c/d") + 1);
  char *bytes = arena_alloc(&arena, name.len);
  memcpy(bytes, name.ptr, name.len);
  for (size_t i = sizeof(ROOT "/c/d"); i < name.len; i++)
    if (i % 1000 != 0)
      bytes[i] = 'x';
  bytes[name.len - 1] = 'x';
  assert_int_equal(name.len, LIMIT_NAME_BYTES + 1);
  assert_refused(doc_path_parse(str_make(bytes, name.len), &path), "is longer than 6144 bytes");
  assert_ok(doc_path_parse(str_make(bytes, name.len - 1), &path));
}

static void test_id_checks(void **state) {
  (void)state;
  assert_ok(doc_collection_id_check(STR("rooms")));
  assert_ok(doc_document_id_check(STR("__id12__")));
  assert_ok(doc_document_id_check(padded("", 'x', LIMIT_ID_BYTES)));
  assert_refused(doc_document_id_check(padded("", 'x', LIMIT_ID_BYTES + 1)), "longer than 1500 bytes");
  assert_refused(doc_collection_id_check(STR("")), "Collection id \"\" is invalid because it is empty.");
  assert_refused(doc_collection_id_check(STR("a/b")),
                 "Collection id \"a/b\" is invalid because it contains \"/\".");
  assert_refused(doc_document_id_check(STR("a/b")),
                 "Resource id \"a/b\" is invalid because it contains \"/\".");
  assert_refused(doc_collection_id_check(STR("__id1__")), "is reserved.");
  assert_refused(doc_document_id_check(STR("__a__")), "is reserved.");
  assert_refused(doc_document_id_check(STR("..")), "is \".\" or \"..\".");
  assert_refused(doc_document_id_check(STR("\xc0\x80")), "is not valid UTF-8.");
}

static void test_numeric_ids(void **state) {
  (void)state;
  struct doc_id_number number;
  assert_true(doc_id_number(STR("__id0070__"), &number));
  assert_int_equal(number.zeros, 2);
  assert_str(number.digits, "70");
  assert_true(doc_id_number(STR("__id00__"), &number));
  assert_int_equal(number.zeros, 2);
  assert_str(number.digits, "");
  assert_false(doc_id_number(STR("__id__"), &number));
  assert_false(doc_id_number(STR("__id-1__"), &number));
  assert_true(doc_id_number(DOC_ID_LOWEST, &number));
  assert_true(number.digits.len == 0 && number.zeros == 0);
  assert_false(doc_id_number(STR("__id1_"), &number));
  assert_false(doc_id_number(STR(""), &number));
  /* What cannot be an id is no number either: its digits are counted in two bytes of a key. */
  str longest = padded("__id", '1', LIMIT_ID_BYTES + 1 - 4);
  char *bytes = arena_alloc(&arena, longest.len);
  memcpy(bytes, longest.ptr, longest.len);
  bytes[longest.len - 1] = bytes[longest.len - 2] = bytes[longest.len - 3] = '_';
  assert_true(doc_id_number(str_make(bytes, LIMIT_ID_BYTES), &number));
  bytes[longest.len - 3] = '1';
  assert_false(doc_id_number(str_make(bytes, longest.len), &number));
}

static void test_message_of_a_long_name(void **state) {
  (void)state;
  struct doc_path path;
  str name = padded(ROOT "/c/", 'x', 1000);
  char *bytes = arena_alloc(&arena, name.len + 1);
  memcpy(bytes, name.ptr, name.len);
  bytes[name.len] = '/';
  memcpy(bytes + 239, "\xc3\xa9", 2); /* the cut falls within it */
  status s = doc_path_parse_document(str_make(bytes, name.len + 1), &path);
  assert_refused(s, "...\" has invalid trailing \"/\".");
  assert_null(strstr(s.message, "\xef\xbf\xbd"));
}

static void test_child(void **state) {
  (void)state;
  struct doc_path root, child;
  assert_ok(doc_path_parse(STR(ROOT), &root));
  assert_ok(doc_path_child(&root, STR("rooms"), STR("a"), &arena, &child));
  assert_str(child.name, ROOT "/rooms/a");
  assert_str(child.project, "demo");
  assert_str(child.database, "(default)");
  assert_str(child.relative, "rooms/a");
  struct doc_path same, below;
  assert_ok(doc_path_parse(child.name, &same));
  assert_int_equal(same.segment_count, child.segment_count);
  assert_ok(doc_path_child(&child, STR("messages"), STR(""), &arena, &below));
  assert_str(below.name, ROOT "/rooms/a/messages");
  assert_str(below.relative, "rooms/a/messages");
  assert_int_equal(below.segment_count, 3);

  struct doc_path database;
  assert_ok(doc_path_parse_database(STR("projects/p/databases/d"), &database));
  assert_ok(doc_path_child(&database, STR("c"), STR("d"), &arena, &child));
  assert_str(child.name, "projects/p/databases/d/documents/c/d");

  assert_refused(doc_path_child(&root, STR("__c__"), STR("a"), &arena, &child), "Collection id");
  assert_refused(doc_path_child(&root, STR("c"), STR("a/b"), &arena, &child), "Resource id");
  struct doc_path deep;
  assert_ok(doc_path_parse(collections(LIMIT_PATH_DEPTH, true), &deep));
  assert_refused(doc_path_child(&deep, STR("c"), STR(""), &arena, &child), "more than 100 collections");
  str long_id = padded("", 'x', LIMIT_ID_BYTES);
  struct doc_path at = root;
  assert_ok(doc_path_child(&at, long_id, long_id, &arena, &at));
  assert_ok(doc_path_child(&at, long_id, STR("d"), &arena, &at));
  assert_refused(doc_path_child(&at, long_id, long_id, &arena, &child), "is longer than 6144 bytes");

  struct arena none;
  arena_init(&none, NULL, 0, 0);
  assert_int_equal(doc_path_child(&root, STR("c"), STR("d"), &none, &child).code, STATUS_RESOURCE_EXHAUSTED);
  arena_fini(&none);
}

static void test_order(void **state) {
  (void)state;
  const str sorted[] = {STR("projects/a/databases/d/documents/z"),
                        STR(ROOT),
                        STR(ROOT "/a"),
                        STR(ROOT "/a/__id-9223372036854775808__"),
                        STR(ROOT "/a/__id0__"),
                        STR(ROOT "/a/__id00__"),
                        STR(ROOT "/a/__id2__"),
                        STR(ROOT "/a/__id2__/b/c"),
                        STR(ROOT "/a/__id02__"),
                        STR(ROOT "/a/__id10__"),
                        STR(ROOT "/a/__id99999999999999999999__"),
                        STR(ROOT "/a/\0"),
                        STR(ROOT "/a/A"),
                        STR(ROOT "/a/__"),
                        STR(ROOT "/a/a"),
                        STR(ROOT "/a/a/b"),
                        STR(ROOT "/a/a/b/c"),
                        STR(ROOT "/a/a\0"),
                        STR(ROOT "/a/a!"),
                        STR(ROOT "/a/\xef\xbf\xbd"),
                        STR(ROOT "/a/\xf0\x90\x80\x80"),
                        STR(ROOT "/b")};
  enum { COUNT = sizeof sorted / sizeof sorted[0] };
  struct doc_path paths[COUNT];
  for (size_t i = 0; i < COUNT; i++)
    assert_ok(doc_path_parse(sorted[i], &paths[i]));
  for (size_t i = 0; i < COUNT; i++)
    for (size_t j = 0; j < COUNT; j++) {
      int order = doc_path_compare(&paths[i], &paths[j]);
      assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
    }
  assert_true(doc_path_same_database(&paths[1], &paths[2]));
  assert_false(doc_path_same_database(&paths[0], &paths[1]));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_parts),
      cmocka_unit_test(test_kinds),
      cmocka_unit_test(test_refused_names),
      cmocka_unit_test(test_accepted_ids),
      cmocka_unit_test(test_project_and_database_ids),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_id_checks),
      cmocka_unit_test(test_numeric_ids),
      cmocka_unit_test(test_message_of_a_long_name),
      cmocka_unit_test(test_child),
      cmocka_unit_test(test_order),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
