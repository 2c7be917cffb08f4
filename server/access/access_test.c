/* Who comes in, what is judged and when a caller is stale: callers made by hand, a real store, real rules.
 * How calls become callers is tested by real clients (tests/integration/access*.test.mjs). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "ports/simulated.h"
#include "server/access/access.h"
#include "server/rules/fixture.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"
#include "storage/query/query.h"
#include "storage/rocksdb/store.h"
#include "storage/rocksdb/test_support.h"

#define DATABASE "projects/p/databases/(default)"
#define ROOT DATABASE "/documents/"
#define WALL_US INT64_C(1800000000000000)

static char directory[64];
static struct kv_store *store;
static struct port_simulated *simulated;

static int group_setup(void **state) {
  (void)state;
  test_directory_make(directory);
  arena_init(&fixture_arena, NULL, 0, 64 * 1024 * 1024);
  simulated = port_simulated_new();
  struct kv_rocksdb_options options = {.directory = directory, .clock_trusted = true};
  status result = kv_rocksdb_open(&options, &store);
  return simulated != NULL && status_is_ok(&result) ? 0 : 1;
}

static int group_teardown(void **state) {
  (void)state;
  kv_close(store);
  port_simulated_free(simulated);
  arena_fini(&fixture_arena);
  test_directory_remove(directory);
  return 0;
}

/* ---- Callers ---- */

static struct access *new_access(enum access_mode mode, bool dev) {
  struct access *access;
  port_simulated_set_wall(simulated, WALL_US);
  struct access_options options = {
      .mode = mode, .dev = dev, .port = port_simulated_port(simulated), .store = store};
  status result = access_new(&options, &access);
  assert_true(status_is_ok(&result));
  return access;
}

/* A user with that uid, or signed out. */
static struct access_caller user(struct access *access, const char *uid) {
  struct identity facts = {.kind = uid == NULL ? IDENTITY_SIGNED_OUT : IDENTITY_USER,
                           .uid = str_from_cstr(uid == NULL ? "" : uid),
                           .expires_us = IDENTITY_NEVER_EXPIRES};
  return (struct access_caller){
      .access = access, .identity = identity_new(&facts), .rules = access_rules(access)};
}

static struct access_caller account(struct access *access, enum identity_role role, const char *project) {
  struct identity facts = {.kind = IDENTITY_SERVICE_ACCOUNT,
                           .role = role,
                           .uid = STR("till@p"),
                           .project = str_from_cstr(project),
                           .expires_us = IDENTITY_NEVER_EXPIRES};
  return (struct access_caller){.access = access,
                                .may_read = role >= IDENTITY_ROLE_VIEWER,
                                .may_write = role >= IDENTITY_ROLE_EDITOR,
                                .identity = identity_new(&facts),
                                .rules = access_rules(access)};
}

static void release(struct access_caller *caller) {
  identity_unref(caller->identity);
  rules_unref(caller->rules);
}

static void assert_code(status result, enum status_code code) {
  if (result.code != code)
    fail_msg("wanted %s, got %s: %s", status_code_name((int)code), status_code_name((int)result.code),
             result.message);
}

static struct doc_path path_of(const char *relative) {
  struct doc_path path;
  status result = doc_path_parse_document(arena_printf(&fixture_arena, ROOT "%s", relative), &path);
  assert_true(status_is_ok(&result));
  return path;
}

/* ---- Coming in ---- */

/* What reading, reading all and writing say. */
static void assert_needs(struct access_caller caller, enum status_code read, enum status_code read_all,
                         enum status_code write) {
  struct doc_path where = path_of("c/x");
  assert_code(access_may_enter(&caller, ACCESS_READ, &where), read);
  assert_code(access_may_enter(&caller, ACCESS_READ_ALL, &where), read_all);
  assert_code(access_may_enter(&caller, ACCESS_WRITE, &where), write);
  release(&caller);
}

static const enum status_code OK = STATUS_OK, DENIED = STATUS_PERMISSION_DENIED, LATER = STATUS_UNAVAILABLE,
                              WHO = STATUS_UNAUTHENTICATED;

static void test_roles_and_needs(void **state) {
  (void)state;
  struct access *access = new_access(ACCESS_DENY, false);
  for (int with_rules = 0; with_rules < 2; with_rules++) {
    assert_needs(account(access, IDENTITY_ROLE_VIEWER, ""), OK, OK, DENIED);
    assert_needs(account(access, IDENTITY_ROLE_EDITOR, ""), OK, OK, OK);
    assert_needs(account(access, IDENTITY_ROLE_OWNER, "p"), OK, OK, OK);
    assert_needs(account(access, IDENTITY_ROLE_OWNER, "q"), DENIED, DENIED, DENIED);
    if (!with_rules) { /* phones keep what they wrote */
      assert_needs(user(access, "alice"), DENIED, DENIED, LATER);
      assert_needs(user(access, NULL), DENIED, DENIED, LATER);
    } else { /* rules have no word for collection ids */
      assert_needs(user(access, "alice"), OK, DENIED, OK);
      assert_needs(user(access, NULL), OK, DENIED, OK);
    }
    access_set_rules(access, fixture_rules("match /c/{id} { allow read: if false; }"));
  }
  access_free(access);
}

static void test_mtls_wants_a_certificate(void **state) {
  (void)state;
  struct access *access = new_access(ACCESS_MTLS, false);
  assert_needs(user(access, NULL), WHO, WHO, WHO);
  assert_needs(user(access, "alice"), DENIED, DENIED,
               LATER); /* a token is not a certificate, but it is good */
  access_set_rules(access, fixture_rules("match /c/{id} { allow read; }"));
  assert_needs(user(access, NULL), OK, DENIED, OK); /* rules decide */
  access_free(access);
}

/* ---- Staleness ---- */

static void test_stale(void **state) {
  (void)state;
  struct access *access = new_access(ACCESS_DENY, false);
  struct access_caller caller = user(access, "alice");
  assert_false(access_caller_is_stale(&caller));
  access_set_rules(access, fixture_rules("match /c/{id} { allow read; }"));
  assert_true(access_caller_is_stale(&caller));
  release(&caller);

  struct identity facts = {
      .kind = IDENTITY_USER, .uid = STR("alice"), .expires_us = WALL_US + 10 * INT64_C(1000000)};
  struct access_caller expiring = {.access = access, .identity = identity_new(&facts), .generation = 1};
  assert_false(access_caller_is_stale(&expiring));
  port_simulated_set_wall(simulated, WALL_US + 10 * INT64_C(1000000) - 1);
  assert_false(access_caller_is_stale(&expiring));
  port_simulated_set_wall(simulated, WALL_US + 10 * INT64_C(1000000));
  assert_true(access_caller_is_stale(&expiring));
  release(&expiring);
  access_free(access);
}

/* ---- Judging ---- */

static str fields_of(const char *name, const char *value) {
  struct doc_field field = {str_from_cstr(name), {.type = DOC_STRING, .as.text = str_from_cstr(value)}};
  str encoded;
  status result = doc_encode_fields((struct doc_map){&field, 1}, &fixture_arena, &encoded);
  assert_true(status_is_ok(&result));
  return encoded;
}

static enum status_code judge_get(const struct access_caller *caller, const char *relative,
                                  const str *fields) {
  struct access_reading reading;
  struct doc_path path = path_of(relative);
  status result = access_reading_init(caller, &path, false, &fixture_arena, &reading);
  if (status_is_ok(&result))
    result = access_judge_document(&reading, &path, fields);
  return result.code;
}

static void test_documents(void **state) {
  (void)state;
  struct access *access = new_access(ACCESS_DENY, false);
  access_set_rules(access, fixture_rules("match /c/{id} { allow get: if resource == null"
                                         "  || resource.data.owner == request.auth.uid; }"));
  struct access_caller alice = user(access, "alice"), nobody = user(access, NULL);
  struct access_caller viewer = account(access, IDENTITY_ROLE_VIEWER, "");
  str hers = fields_of("owner", "alice"), his = fields_of("owner", "bob");
  assert_int_equal(judge_get(&alice, "c/x", &hers), OK);
  assert_int_equal(judge_get(&alice, "c/x", &his), DENIED);
  assert_int_equal(judge_get(&alice, "c/x", NULL), OK);
  assert_int_equal(judge_get(&alice, "d/x", NULL), DENIED);
  assert_int_equal(judge_get(&nobody, "c/x", &hers), DENIED);
  assert_int_equal(judge_get(&viewer, "d/x", &hers), OK);
  release(&alice);
  release(&nobody);
  release(&viewer);
  access_free(access);
}

static void test_collections(void **state) {
  (void)state;
  struct access *access = new_access(ACCESS_DENY, false);
  access_set_rules(access, fixture_rules("match /c/{id} { allow list; }"
                                         "match /d/{id} { allow list: if resource.data.owner == 'alice'; }"));
  struct access_caller alice = user(access, "alice"), editor = account(access, IDENTITY_ROLE_EDITOR, "");
  struct doc_path root;
  status result = doc_path_parse_parent(STR(DATABASE "/documents"), &root);
  assert_true(status_is_ok(&result));
  static const struct {
    const char *collection;
    enum status_code code;
  } cases[] = {{"c", STATUS_OK}, {"d", STATUS_PERMISSION_DENIED}, {"", STATUS_PERMISSION_DENIED}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct access_reading reading;
    str collection = str_from_cstr(cases[i].collection);
    result = access_reading_init(&alice, &root, false, &fixture_arena, &reading);
    assert_true(status_is_ok(&result));
    assert_code(access_judge_collection(&reading, &root, collection), cases[i].code);
    assert_false(access_reading_read(&reading));
    result = access_reading_init(&editor, &root, false, &fixture_arena, &reading);
    assert_true(status_is_ok(&result));
    assert_code(access_judge_collection(&reading, &root, collection), STATUS_OK);
  }
  release(&alice);
  release(&editor);
  access_free(access);
}

/* Rules that cannot be applied are a condition of the server: writes are not lost for it. */
static void test_no_memory_is_no_verdict(void **state) {
  (void)state;
  struct access *access = new_access(ACCESS_DENY, false);
  access_set_rules(access, fixture_rules("match /c/{id} { allow get: if resource.data.a + 'x' == 'bx'; }"));
  struct access_caller alice = user(access, "alice");
  struct doc_path path = path_of("c/x");
  str fields = fields_of("a", "b");
  bool allowed = false, refused = false;
  for (size_t cap = 0; cap < 64 * 1024 && !allowed; cap += 16) {
    struct arena arena;
    struct access_reading reading;
    arena_init(&arena, NULL, 0, cap);
    status result = access_reading_init(&alice, &path, false, &arena, &reading);
    assert_true(status_is_ok(&result));
    result = access_judge_document(&reading, &path, &fields);
    assert_int_not_equal(result.code, STATUS_PERMISSION_DENIED);
    allowed = status_is_ok(&result);
    refused = refused || result.code == STATUS_UNAVAILABLE;
    arena_fini(&arena);
  }
  assert_true(allowed && refused);
  release(&alice);
  access_free(access);
}

/* Only developers are told why. */
static void test_what_refusals_say(void **state) {
  (void)state;
  for (int dev = 0; dev < 2; dev++) {
    struct access *access = new_access(ACCESS_DENY, dev);
    access_set_rules(access, fixture_rules("match /c/{id} { allow get: if resource.data.none == 1; }"));
    struct access_caller alice = user(access, "alice");
    struct access_reading reading;
    struct doc_path path = path_of("c/x");
    str fields = fields_of("a", "b");
    status result = access_reading_init(&alice, &path, false, &fixture_arena, &reading);
    assert_true(status_is_ok(&result));
    result = access_judge_document(&reading, &path, &fields);
    assert_code(result, STATUS_PERMISSION_DENIED);
    if (dev)
      assert_non_null(strstr(result.message, "Rules, 4:"));
    else
      assert_string_equal(result.message, "Missing or insufficient permissions.");
    release(&alice);
    access_free(access);
  }
}

static void test_review_only_where_rules_decide(void **state) {
  (void)state;
  struct access *access = new_access(ACCESS_DENY, false);
  access_set_rules(access, fixture_rules("match /c/{id} { allow write; }"));
  struct access_caller alice = user(access, "alice"), editor = account(access, IDENTITY_ROLE_EDITOR, "");
  struct doc_write write = {.kind = DOC_WRITE_DELETE, .path = path_of("c/x")};
  struct doc_commit commit = {.writes = &write, .write_count = 1, .arena = &fixture_arena};
  assert_code(access_review_commit(&editor, &commit), STATUS_OK);
  assert_null(commit.review);
  assert_code(access_review_commit(&alice, &commit), STATUS_OK);
  assert_non_null(commit.review);
  struct doc_commit empty = {.arena = &fixture_arena};
  assert_code(access_review_commit(&alice, &empty), STATUS_OK);
  assert_null(empty.review);
  release(&alice);
  release(&editor);
  access_free(access);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_roles_and_needs),
      cmocka_unit_test(test_mtls_wants_a_certificate),
      cmocka_unit_test(test_stale),
      cmocka_unit_test(test_documents),
      cmocka_unit_test(test_collections),
      cmocka_unit_test(test_no_memory_is_no_verdict),
      cmocka_unit_test(test_what_refusals_say),
      cmocka_unit_test(test_review_only_where_rules_decide),
  };
  return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
