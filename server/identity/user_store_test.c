/* The store of accounts over RocksDB: what one commit does to records and indexes, and that nothing is left
 * behind. After each test user_verify has to find no damage. */
#include <stdio.h>
#include <stdlib.h>

#include "server/identity/user_change.h"
#include "server/identity/user_verify.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

static struct {
  struct port_simulated *port;
  struct kv_store *store;
  struct arena arena;
  char directory[64];
} f;

static void open_store(void) {
  struct kv_rocksdb_options options = {
      .directory = f.directory, .port = port_simulated_port(f.port), .clock_trusted = true};
  assert_status_ok(kv_rocksdb_open(&options, &f.store));
  assert_status_ok(user_store_open(f.store));
}

static int set_up(void **state) {
  (void)state;
  f.port = test_port_new();
  test_directory_make(f.directory);
  arena_init(&f.arena, NULL, 0, 8 << 20);
  open_store();
  return 0;
}
static uint64_t damages(void) {
  struct user_verification found;
  assert_status_ok(user_verify(f.store, NULL, NULL, &found));
  return found.damages;
}
static int tear_down(void **state) {
  (void)state;
  assert_int_equal(damages(), 0);
  kv_close(f.store);
  arena_fini(&f.arena);
  test_directory_remove(f.directory);
  port_simulated_free(f.port);
  return 0;
}

/* ---- One commit ---- */

struct change {
  status (*run)(const struct user_view *view, struct kv_batch *batch, void *argument);
  void *argument;
};
static status resolve(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  const struct change *change = argument;
  const struct user_view view = {.reader = reader};
  (void)version;
  // cppcheck-suppress returnDanglingLifetime ; a status has no pointer to it
  return change->run(&view, batch, change->argument);
}
static status commit(status (*run)(const struct user_view *view, struct kv_batch *batch, void *argument),
                     void *argument) {
  struct change change = {run, argument};
  struct kv_txn txn = {.resolve = resolve, .argument = &change};
  kv_version version;
  return kv_commit_wait(f.store, &txn, &version);
}

static status put_new(const struct user_view *view, struct kv_batch *batch, void *user) {
  return user_store_put(view, batch, &f.arena, NULL, user);
}

/* Finds the user, copies it, has it changed, and puts it. */
struct edit {
  const char *uid;
  void (*edit)(user_record *user, struct kv_batch *batch);
};
static status run_edit(const struct user_view *view, struct kv_batch *batch, void *argument) {
  const struct edit *edit = argument;
  user_record *before;
  STATUS_TRY(user_store_find(view, STR("p"), str_from_cstr(edit->uid), &f.arena, &before));
  user_record *after = user_record_copy(&f.arena, before);
  edit->edit(after, batch);
  return user_store_put(view, batch, &f.arena, before, after);
}
static status edit(const char *uid, void (*how)(user_record *user, struct kv_batch *batch)) {
  struct edit argument = {uid, how};
  return commit(run_edit, &argument);
}
static status run_delete(const struct user_view *view, struct kv_batch *batch, void *uid) {
  user_record *user;
  STATUS_TRY(user_store_find(view, STR("p"), str_from_cstr(uid), &f.arena, &user));
  return user_store_delete(batch, &f.arena, user);
}

static status create(const char *uid, const char *email) {
  user_record user;
  user_record_init(&user, "p", uid, 1);
  user.email = (char *)(uintptr_t)email;
  return commit(put_new, &user);
}
static user_record *find(const char *uid) {
  struct user_view view;
  user_record *user = NULL;
  assert_status_ok(user_view_now(f.store, &view));
  assert_status_ok(user_store_find(&view, STR("p"), str_from_cstr(uid), &f.arena, &user));
  return user;
}
static const char *uid_of_email(const char *email) {
  struct user_view view;
  user_record *user = NULL;
  assert_status_ok(user_view_now(f.store, &view));
  assert_status_ok(user_store_find_email(&view, STR("p"), str_from_cstr(email), &f.arena, &user));
  return user == NULL ? "nobody" : user->uid;
}
/* All keys of accounts but the format. */
static size_t key_count(void) {
  struct user_view view;
  struct kv_iter *iter;
  size_t count = 0;
  assert_status_ok(user_view_now(f.store, &view));
  assert_status_ok(kv_iter_open(view.snapshot, KV_SYSTEM, STR("identity/"), STR("identity0"), false, &iter));
  while (kv_iter_next(iter))
    count += !str_eq(kv_iter_key(iter), STR("identity/format"));
  assert_status_ok(kv_iter_status(iter));
  kv_iter_close(iter);
  return count;
}

/* ---- Tests ---- */

static void set_other_email(user_record *user, struct kv_batch *batch) {
  (void)batch;
  user->email = (char *)(uintptr_t) "c@x.y";
}

static void test_addresses_are_one_users(void **state) {
  (void)state;
  assert_status_ok(create("u1", "a@x.y"));
  assert_status_ok(create("u2", "b@x.y"));
  assert_status_code(create("u1", ""), STATUS_ALREADY_EXISTS);
  assert_status_code(create("u3", "a@x.y"), STATUS_ALREADY_EXISTS);
  assert_null(find("u3"));
  assert_string_equal(uid_of_email("a@x.y"), "u1");
  assert_status_ok(edit("u1", set_other_email));
  assert_string_equal(uid_of_email("a@x.y"), "nobody");
  assert_string_equal(uid_of_email("c@x.y"), "u1");
  assert_status_code(edit("u2", set_other_email), STATUS_ALREADY_EXISTS);
  assert_string_equal(find("u2")->email, "b@x.y");
  assert_status_ok(create("u3", "a@x.y")); /* free again */
}

static char *provider_raw_id;
static void link_provider(user_record *user, struct kv_batch *batch) {
  static provider_record provider;
  (void)batch;
  skerry__identity__v1__stored_provider__init(&provider);
  provider.provider_id = (char *)(uintptr_t) "oidc.x";
  provider.raw_id = provider_raw_id;
  user->providers[0] = &provider;
  user->n_providers = 1;
}
static void unlink_provider(user_record *user, struct kv_batch *batch) {
  (void)batch;
  user->n_providers = 0;
}
static const char *uid_of_provider(const char *raw_id) {
  struct user_view view;
  user_record *user = NULL;
  assert_status_ok(user_view_now(f.store, &view));
  assert_status_ok(
      user_store_find_provider(&view, STR("p"), STR("oidc.x"), str_from_cstr(raw_id), &f.arena, &user));
  return user == NULL ? "nobody" : user->uid;
}

static void test_providers_users_are_one_users(void **state) {
  (void)state;
  assert_status_ok(create("u1", ""));
  assert_status_ok(create("u2", ""));
  provider_raw_id = (char *)(uintptr_t) "r1";
  assert_status_ok(edit("u1", link_provider));
  assert_status_code(edit("u2", link_provider), STATUS_ALREADY_EXISTS);
  provider_raw_id = (char *)(uintptr_t) "r2";
  assert_status_ok(edit("u1", link_provider)); /* another one in its place */
  assert_string_equal(uid_of_provider("r1"), "nobody");
  assert_string_equal(uid_of_provider("r2"), "u1");
  assert_status_ok(edit("u1", unlink_provider));
  assert_string_equal(uid_of_provider("r2"), "nobody");
}

static void add_sessions_and_codes(user_record *user, struct kv_batch *batch) {
  for (unsigned i = 0; i < USER_SESSIONS_MAX + 3; i++) {
    session_record session = SKERRY__IDENTITY__V1__STORED_SESSION__INIT;
    session.project = user->project;
    session.uid = user->uid;
    uint8_t id[REFRESH_TOKEN_SESSION_BYTES] = {(uint8_t)i};
    user_record *roomier = user_record_copy(&f.arena, user);
    *user = *roomier;
    assert_status_ok(user_store_add_session(batch, &f.arena, user, id, &session));
  }
  for (unsigned i = 0; i < USER_CODES_MAX + 2; i++) {
    code_record code = SKERRY__IDENTITY__V1__STORED_CODE__INIT;
    code.project = user->project;
    code.uid = user->uid;
    uint8_t key[CRYPTO_SHA256_BYTES] = {(uint8_t)i};
    user_record *roomier = user_record_copy(&f.arena, user);
    *user = *roomier;
    assert_status_ok(user_store_add_code(batch, &f.arena, user, key, &code));
  }
}
static unsigned recovery_of; /* which */
static status put_recovery(const struct user_view *view, struct kv_batch *batch, void *uid) {
  code_record code = SKERRY__IDENTITY__V1__STORED_CODE__INIT;
  uint8_t key[CRYPTO_SHA256_BYTES] = {0xff, (uint8_t)recovery_of};
  user_record *before;
  STATUS_TRY(user_store_find(view, STR("p"), str_from_cstr(uid), &f.arena, &before));
  user_record *user = user_record_copy(&f.arena, before);
  code.project = user->project;
  code.uid = user->uid;
  STATUS_TRY(user_store_add_recovery(view, batch, &f.arena, user, key, &code));
  return user_store_put(view, batch, &f.arena, before, user);
}
static void take_second_back(user_record *user, struct kv_batch *batch) {
  const uint8_t key[CRYPTO_SHA256_BYTES] = {0xff, 1};
  user_store_delete_codes(batch, user); /* are others */
  user_store_delete_recoveries(batch, user, key);
  assert_int_equal(user->n_recoveries, 1);
}

static void test_recoveries_do_not_give_way(void **state) {
  (void)state;
  assert_status_ok(create("u1", ""));
  for (recovery_of = 0; recovery_of < USER_RECOVERIES_MAX; recovery_of++)
    assert_status_ok(commit(put_recovery, (void *)(uintptr_t) "u1"));
  assert_status_code(commit(put_recovery, (void *)(uintptr_t) "u1"), STATUS_RESOURCE_EXHAUSTED);
  assert_int_equal(key_count(), 1 + USER_RECOVERIES_MAX);
  assert_status_ok(edit("u1", take_second_back)); /* with the later ones */
  assert_int_equal(key_count(), 1 + 1);
  assert_status_ok(user_store_sweep_codes(f.store, 1)); /* it has gone, and makes room */
  for (recovery_of = 1; recovery_of <= USER_RECOVERIES_MAX; recovery_of++)
    assert_status_ok(commit(put_recovery, (void *)(uintptr_t) "u1"));
  assert_status_ok(commit(run_delete, (void *)(uintptr_t) "u1"));
  assert_int_equal(key_count(), 0);
}

static bool has_session(uint8_t first) {
  struct user_view view;
  session_record *session = NULL;
  const uint8_t id[REFRESH_TOKEN_SESSION_BYTES] = {first};
  assert_status_ok(user_view_now(f.store, &view));
  assert_status_ok(user_store_find_session(&view, id, &f.arena, &session));
  return session != NULL;
}
static void keep_one(user_record *user, struct kv_batch *batch) {
  const uint8_t id[REFRESH_TOKEN_SESSION_BYTES] = {5};
  user_store_end_sessions(batch, user, str_make(id, sizeof id));
}

static void test_deletion_leaves_nothing(void **state) {
  (void)state;
  assert_status_ok(create("u1", "a@x.y"));
  assert_status_ok(edit("u1", add_sessions_and_codes));
  assert_false(has_session(2)); /* gave way */
  assert_true(has_session(3));
  provider_raw_id = (char *)(uintptr_t) "r1";
  assert_status_ok(edit("u1", link_provider));
  assert_int_equal(key_count(), 3 + USER_SESSIONS_MAX + USER_CODES_MAX);
  assert_status_ok(edit("u1", keep_one));
  assert_true(has_session(5) && !has_session(6));
  assert_int_equal(key_count(), 3 + 1 + USER_CODES_MAX);
  assert_status_ok(commit(run_delete, (void *)(uintptr_t) "u1"));
  assert_int_equal(key_count(), 0);
}

static void add_traces(user_record *user, struct kv_batch *batch) {
  static const uint8_t id[REFRESH_TOKEN_SESSION_BYTES] = "Mf14Qw7Zr2Lx",
                       key[CRYPTO_SHA256_BYTES] = "Rt65Hn8Yc3Vk";
  session_record session = SKERRY__IDENTITY__V1__STORED_SESSION__INIT;
  code_record code = SKERRY__IDENTITY__V1__STORED_CODE__INIT;
  session.project = code.project = user->project;
  session.uid = code.uid = user->uid;
  code.email = user->email;
  assert_status_ok(user_store_add_session(batch, &f.arena, user, id, &session));
  assert_status_ok(user_store_add_code(batch, &f.arena, user, key, &code));
}

/* In the bytes of the files too, once history has expired and what nobody can read was rewritten. LZ4, which
 * the store compresses with, leaves bytes that are like no others as they are. */
static void test_deletion_leaves_no_bytes(void **state) {
  (void)state;
  static const char *const traces[] = {"Xq81Tb6Ud9", "Wz37Gm4Pe0@x.y", "Kp52Fs1Ih5",
                                       "Jv64Ao3Nk8", "Bn93Ce7Wy2",     "Ys28Lg5Dz4"};
  user_record user;
  user_record_init(&user, "p", traces[0], 1);
  user.email = (char *)(uintptr_t)traces[1];
  user.display_name = (char *)(uintptr_t)traces[3];
  user.password = (char *)(uintptr_t)traces[4];
  user.custom_claims = (char *)(uintptr_t)traces[5];
  assert_status_ok(commit(put_new, &user));
  provider_raw_id = (char *)(uintptr_t)traces[2];
  assert_status_ok(edit(traces[0], link_provider));
  assert_status_ok(edit(traces[0], add_traces));
  test_let_go(f.store); /* into tables */
  for (size_t i = 0; i < UNIT_COUNT(traces); i++)
    assert_true(test_files_with(f.directory, str_from_cstr(traces[i])) > 0);
  assert_true(test_files_with(f.directory, STR("Mf14Qw7Zr2Lx")) > 0);
  assert_true(test_files_with(f.directory, STR("Rt65Hn8Yc3Vk")) > 0);

  assert_status_ok(commit(run_delete, (void *)(uintptr_t)traces[0]));
  test_let_go(f.store);
  assert_true(test_files_with(f.directory, str_from_cstr(traces[0])) > 0); /* history has it */
  port_simulated_advance(f.port, INT64_C(2) * 3600 * 1000000);
  assert_status_ok(create("somebody", "else@x.y")); /* history goes by commits */
  test_let_go(f.store);
  kv_close(f.store);
  open_store(); /* a new manifest: the old one names the ends of tables */
  for (size_t i = 0; i < UNIT_COUNT(traces); i++)
    assert_int_equal(test_files_with(f.directory, str_from_cstr(traces[i])), 0);
  assert_int_equal(test_files_with(f.directory, STR("Mf14Qw7Zr2Lx")), 0);
  assert_int_equal(test_files_with(f.directory, STR("Rt65Hn8Yc3Vk")), 0);
}

static status put_code(const struct user_view *view, struct kv_batch *batch, void *expires_us) {
  code_record code = SKERRY__IDENTITY__V1__STORED_CODE__INIT;
  uint8_t key[CRYPTO_SHA256_BYTES];
  (void)view;
  crypto_random(key, sizeof key);
  code.expires_us = *(int64_t *)expires_us;
  return user_store_add_code(batch, &f.arena, NULL, key, &code);
}

static void test_old_codes_are_swept(void **state) {
  (void)state;
  int64_t times[] = {100, 200, 300};
  for (size_t i = 0; i < UNIT_COUNT(times); i++)
    assert_status_ok(commit(put_code, &times[i]));
  assert_status_ok(user_store_sweep_codes(f.store, 200));
  assert_int_equal(key_count(), 1);
  assert_status_ok(user_store_sweep_codes(f.store, 299));
  assert_int_equal(key_count(), 1);
  for (unsigned i = 0; i < 1100; i++) /* more than are deleted in one commit */
    assert_status_ok(commit(put_code, &times[0]));
  assert_status_ok(user_store_sweep_codes(f.store, 300));
  assert_int_equal(key_count(), 0);
}

static void test_pages(void **state) {
  (void)state;
  struct user_view view;
  user_record *users[3];
  size_t count;
  static const char *const uids[] = {"b", "a", "c", "d"};
  for (size_t i = 0; i < UNIT_COUNT(uids); i++)
    assert_status_ok(create(uids[i], ""));
  user_record other;
  user_record_init(&other, "p2", "e", 1);
  assert_status_ok(commit(put_new, &other));
  assert_status_ok(user_view_now(f.store, &view));
  assert_status_ok(user_store_list(&view, STR("p"), STR(""), 3, &f.arena, users, &count));
  assert_int_equal(count, 3);
  assert_string_equal(users[2]->uid, "c");
  assert_status_ok(user_store_list(&view, STR("p"), STR("c"), 3, &f.arena, users, &count));
  assert_int_equal(count, 1); /* not another project's */
  assert_string_equal(users[0]->uid, "d");
}

/* What no commit of this server's does: one key is put (value), or deleted (NULL). */
struct breakage {
  str key;
  const char *value;
};
static status put_raw(const struct user_view *view, struct kv_batch *batch, void *argument) {
  const struct breakage *breakage = argument;
  (void)view;
  if (breakage->value == NULL)
    kv_batch_delete(batch, KV_SYSTEM, breakage->key);
  else
    kv_batch_put(batch, KV_SYSTEM, breakage->key, str_from_cstr(breakage->value));
  return status_ok();
}

static char told[2][96];
static size_t told_count;
static void remember(void *argument, str text) {
  (void)argument;
  assert_true(text.len < sizeof told[0] && told_count < UNIT_COUNT(told));
  snprintf(told[told_count++], sizeof told[0], STR_FMT, STR_ARG(text));
}

static void test_damages_are_told(void **state) {
  (void)state;
  /* A session of no account, a code of one that does not name it; field 1 is the project, 2 the uid. */
  static const char SESSION_OF[] = "\x0a\1p\x12\2u9", CODE_OF[] = "\x0a\1p\x12\2u1";
  const struct {
    struct breakage breakage;
    const char *wanted;
  } cases[] = {
      {{STR("identity/email/p\0a@x.y"), NULL}, "account u1: it is not found by its address"},
      {{STR("identity/email/p\0a@x.y"), "u2"}, "account u1: it is not found by its address"},
      {{STR("identity/email/p\0other@x.y"), "u1"},
       "account u1: an address leads to it that it does not have"},
      {{STR("identity/email/p\0other@x.y"), "u9"},
       "account u9: an address leads to it that it does not have"},
      {{STR("identity/email/p2\0a@x.y"), "u1"}, "account u1: an address leads to it that it does not have"},
      {{STR("identity/email/nothing"), "u1"}, "account u1: the key of an address is damaged"},
      {{STR("identity/provider/p\0oidc.x\0r1"), NULL},
       "account u1: it is not found by a provider that it has"},
      {{STR("identity/provider/p\0oidc.x\0r9"), "u1"},
       "account u1: a provider leads to it that it does not have"},
      {{STR("identity/provider/p\0oidc.y\0r1"), "u1"},
       "account u1: a provider leads to it that it does not have"},
      {{STR("identity/session/\5\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), NULL},
       "account u1: it names a session that is not there"},
      {{STR("identity/session/0123456789abcdef"), SESSION_OF},
       "account u9: a session is there that it does not name"},
      {{STR("identity/code/0123456789abcdef0123456789abcdef"), CODE_OF},
       "account u1: a code is there that it does not name"},
      {{STR("identity/code/0123456789abcdef0123456789abcdef"), "\xff"},
       "account (of a code): a record of it cannot be read"},
      {{STR("identity/user/p\0u3"), "\xff"}, "account u3: a record of it cannot be read"},
      {{STR("identity/user/p\0u3"), ""}, "account u3: its record is another's"},
  };
  assert_status_ok(create("u1", "a@x.y"));
  assert_status_ok(create("u2", "b@x.y"));
  assert_status_ok(edit("u1", add_sessions_and_codes));
  provider_raw_id = (char *)(uintptr_t) "r1";
  assert_status_ok(edit("u1", link_provider));
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct breakage breakage = cases[i].breakage;
    struct user_verification found;
    struct user_view view;
    struct kv_value before = {0};
    assert_int_equal(damages(), 0);
    assert_status_ok(user_view_now(f.store, &view));
    assert_status_ok(kv_get(view.snapshot, KV_SYSTEM, breakage.key, &before));
    assert_status_ok(commit(put_raw, &breakage));
    told_count = 0;
    assert_status_ok(user_verify(f.store, remember, NULL, &found));
    assert_string_equal(told[0], cases[i].wanted);
    bool leads_elsewhere = breakage.value != NULL && before.found; /* told from both sides */
    assert_int_equal(found.damages, leads_elsewhere ? 2 : 1);
    char value[512] = "";
    assert_true(before.bytes.len < sizeof value);
    if (before.found)
      memcpy(value, before.bytes.ptr, before.bytes.len);
    breakage.value = before.found ? value : NULL;
    kv_value_release(&before);
    assert_status_ok(commit(put_raw, &breakage));
  }
}

static status put_format(const struct user_view *view, struct kv_batch *batch, void *argument) {
  (void)view;
  (void)argument;
  kv_batch_put(batch, KV_SYSTEM, STR("identity/format"), STR("2"));
  return status_ok();
}

static void test_formats(void **state) {
  (void)state;
  assert_status_ok(create("u1", "a@x.y"));
  kv_close(f.store);
  open_store(); /* known */
  assert_string_equal(uid_of_email("a@x.y"), "u1");
  assert_status_ok(commit(put_format, NULL));
  assert_status_code(user_store_open(f.store), STATUS_FAILED_PRECONDITION);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_addresses_are_one_users),
      TEST(test_providers_users_are_one_users),
      TEST(test_deletion_leaves_nothing),
      TEST(test_deletion_leaves_no_bytes),
      TEST(test_old_codes_are_swept),
      TEST(test_recoveries_do_not_give_way),
      TEST(test_pages),
      TEST(test_damages_are_told),
      TEST(test_formats),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
