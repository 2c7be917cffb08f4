/* What nobody uses goes, and nothing else; over RocksDB, by the simulated clock. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/identity/idle.h"
#include "server/identity/user_change.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

static const int64_t DAY_US = INT64_C(24) * 3600 * 1000000, HOUR_US = INT64_C(3600) * 1000000;

static struct {
  struct port_simulated *port;
  struct kv_store *store;
  struct idle *idle;
  struct arena arena;
  char directory[64];
  char ended[64]; /* whom `ended` named last */
  unsigned ended_count;
} f;

static void ended(void *argument, str uid) {
  (void)argument;
  snprintf(f.ended, sizeof f.ended, STR_FMT, STR_ARG(uid));
  f.ended_count++;
}

static void open_idle(int64_t anonymous_us, int64_t session_us) {
  struct idle_options options = {
      .store = f.store, .anonymous_us = anonymous_us, .session_us = session_us, .ended = ended};
  assert_status_ok(idle_new(&options, &f.idle));
}

static void open_store(void) {
  struct kv_rocksdb_options options = {
      .directory = f.directory, .port = port_simulated_port(f.port), .clock_trusted = true};
  assert_status_ok(kv_rocksdb_open(&options, &f.store));
  assert_status_ok(user_store_open(f.store));
}

static int set_up(void **state) {
  (void)state;
  memset(&f, 0, sizeof f);
  f.port = test_port_new();
  test_directory_make(f.directory);
  arena_init(&f.arena, NULL, 0, 8 << 20);
  open_store();
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  idle_free(f.idle);
  kv_close(f.store);
  arena_fini(&f.arena);
  test_directory_remove(f.directory);
  port_simulated_free(f.port);
  return 0;
}

static int64_t now_us(void) {
  return port_simulated_port(f.port)->wall_us(port_simulated_port(f.port));
}

/* ---- Accounts ---- */

struct person {
  const char *uid, *email;
  bool anonymous, disabled;
  char session; /* the byte that its session's id is made of; 0: it has none */
};

static const uint8_t *session_id(char byte) {
  static uint8_t id[REFRESH_TOKEN_SESSION_BYTES];
  memset(id, byte, sizeof id);
  return id;
}

static status resolve_person(void *argument, struct kv_reader *reader, kv_version version,
                             struct kv_batch *batch) {
  const struct person *person = argument;
  const struct user_view view = {.reader = reader};
  user_record made;
  session_record session;
  (void)version;
  user_record_init(&made, "p", person->uid, now_us());
  user_record *user = user_record_copy(&f.arena, &made);
  user->email = (char *)(uintptr_t)(person->email == NULL ? "" : person->email);
  user->anonymous = person->anonymous;
  user->disabled = person->disabled;
  skerry__identity__v1__stored_session__init(&session);
  session.project = user->project;
  session.uid = user->uid;
  session.rotated_us = now_us();
  if (person->session != 0)
    STATUS_TRY(user_store_add_session(batch, &f.arena, user, session_id(person->session), &session));
  return user_store_put(&view, batch, &f.arena, NULL, user);
}
static void add(struct person person) {
  struct kv_txn txn = {.resolve = resolve_person, .argument = &person};
  kv_version version;
  assert_status_ok(kv_commit_wait(f.store, &txn, &version));
}

/* As a refresh does. */
static status resolve_refresh(void *argument, struct kv_reader *reader, kv_version version,
                              struct kv_batch *batch) {
  const struct user_view view = {.reader = reader};
  session_record *session;
  (void)version;
  STATUS_TRY(user_store_find_session(&view, session_id(*(char *)argument), &f.arena, &session));
  if (session == NULL)
    return status_default(STATUS_NOT_FOUND);
  session->rotated_us = now_us();
  return user_store_put_session(batch, &f.arena, session_id(*(char *)argument), session);
}
static status refresh(char session) {
  struct kv_txn txn = {.resolve = resolve_refresh, .argument = &session};
  kv_version version;
  return kv_commit_wait(f.store, &txn, &version);
}

static user_record *find(const char *uid) {
  struct user_view view;
  user_record *user = NULL;
  assert_status_ok(user_view_now(f.store, &view));
  assert_status_ok(user_store_find(&view, STR("p"), str_from_cstr(uid), &f.arena, &user));
  return user;
}

/* ---- Time ---- */

static void tick(void) {
  idle_tick(f.idle);
  idle_wait(f.idle);
}
/* Until one more walk is over. */
static void walk(void) {
  struct idle_info before, now;
  idle_info(f.idle, &before);
  for (unsigned i = 0; i < 3 * IDLE_REST_TICKS; i++) {
    tick();
    idle_info(f.idle, &now);
    if (now.walks > before.walks)
      return;
  }
  fail_msg("no walk came to its end");
}
/* While the server runs. */
static void pass_days(unsigned days) {
  for (unsigned i = 0; i < 2 * days; i++) {
    port_simulated_advance(f.port, DAY_US / 2);
    assert_status_ok(test_put(f.store, STR("something"), STR("x"), &(kv_version){0}));
    tick();
  }
}

/* ---- Tests ---- */

static void test_who_comes_back_stays(void **state) {
  (void)state;
  open_idle(30 * DAY_US, 0);
  add((struct person){"gone", .anonymous = true, .session = 1});
  add((struct person){"there", .anonymous = true, .session = 2});
  add((struct person){"signed out", .anonymous = true});
  add((struct person){"kept", .anonymous = true, .disabled = true, .session = 3});
  add((struct person){"ann", "ann@x.y", .session = 4});
  walk();
  pass_days(29);
  assert_status_ok(refresh(2));
  walk();
  assert_non_null(find("gone"));
  assert_int_equal(f.ended_count, 0);
  pass_days(2);
  walk();
  assert_null(find("gone"));
  assert_null(find("signed out"));
  assert_int_equal(refresh(1).code, STATUS_NOT_FOUND);
  assert_non_null(find("there"));
  assert_non_null(find("kept"));
  assert_non_null(find("ann"));
  assert_status_ok(refresh(4));
  assert_int_equal(f.ended_count, 2);
  struct idle_info info;
  idle_info(f.idle, &info);
  assert_int_equal(info.deleted, 2);
  walk();
  idle_info(f.idle, &info);
  assert_int_equal(info.accounts, 3);
}

static void test_nothing_goes_by_default(void **state) {
  (void)state;
  open_idle(0, 0);
  add((struct person){"a", .anonymous = true, .session = 1});
  pass_days(100);
  walk();
  assert_non_null(find("a"));
  assert_status_ok(refresh(1));
}

static void test_sessions_end(void **state) {
  (void)state;
  open_idle(0, 30 * DAY_US);
  add((struct person){"ann", "ann@x.y", .session = 1});
  add((struct person){"ben", "ben@x.y", .session = 2});
  pass_days(20);
  assert_status_ok(refresh(2));
  pass_days(11);
  walk();
  assert_int_equal(refresh(1).code, STATUS_NOT_FOUND);
  assert_int_equal(find("ann")->n_sessions, 0);
  assert_string_equal(f.ended, "ann");
  assert_int_equal(f.ended_count, 1);
  assert_status_ok(refresh(2));
  assert_int_equal(find("ben")->n_sessions, 1);
}

/* The box was off, or its clock jumped: nobody could come back. */
static void test_time_that_is_missing_is_given_back(void **state) {
  (void)state;
  open_idle(30 * DAY_US, 0);
  add((struct person){"a", .anonymous = true, .session = 1});
  walk();
  idle_free(f.idle);
  kv_close(f.store);
  port_simulated_advance(f.port, 100 * DAY_US);
  open_store();
  open_idle(30 * DAY_US, 0);
  add((struct person){"b", .anonymous = true, .session = 2}); /* the store sees the time */
  walk();
  assert_non_null(find("a"));
  pass_days(15);
  for (unsigned i = 0; i < 2 + IDLE_SAVE_TICKS; i++)
    tick();
  idle_free(f.idle); /* a restart does not forget it */
  open_idle(30 * DAY_US, 0);
  pass_days(14);
  walk();
  assert_non_null(find("a"));
  pass_days(2);
  walk();
  assert_null(find("a"));

  add((struct person){"c", .anonymous = true, .session = 3});
  port_simulated_set_wall(f.port, now_us() + 3650 * DAY_US);
  assert_status_ok(test_put(f.store, STR("something"), STR("x"), &(kv_version){0}));
  walk();
  assert_non_null(find("c"));
}

static void test_short_rests_are_not_given_back(void **state) {
  (void)state;
  open_idle(30 * DAY_US, 0);
  add((struct person){"a", .anonymous = true, .session = 1});
  for (unsigned night = 0; night < 31; night++) {
    idle_free(f.idle);
    open_idle(30 * DAY_US, 0);
    port_simulated_advance(f.port, 14 * HOUR_US);
    assert_status_ok(test_put(f.store, STR("something"), STR("x"), &(kv_version){0}));
    tick();
    port_simulated_advance(f.port, 10 * HOUR_US);
    assert_status_ok(test_put(f.store, STR("something"), STR("x"), &(kv_version){0}));
    for (unsigned i = 0; i < 2 + IDLE_SAVE_TICKS; i++)
      tick();
  }
  walk();
  assert_null(find("a"));
}

/* More than a step can see and change: all go, in bounded commits, and those between them stay. */
static void test_many(void **state) {
  (void)state;
  enum { MANY = 2 * IDLE_STEP + 10 };
  char uid[32];
  open_idle(30 * DAY_US, 0);
  for (unsigned i = 0; i < MANY; i++) {
    snprintf(uid, sizeof uid, "u%05u", i);
    add((struct person){uid, .anonymous = i % 3 != 0});
    arena_reset(&f.arena);
  }
  walk();
  struct idle_info info;
  idle_info(f.idle, &info);
  assert_int_equal(info.accounts, MANY);
  pass_days(31);
  walk();
  walk();
  idle_info(f.idle, &info);
  assert_int_equal(info.accounts, (MANY + 2) / 3);
  assert_int_equal(info.deleted, MANY - (MANY + 2) / 3);
  assert_int_equal(f.ended_count, info.deleted);
}

/* Who comes back between the look and the commit is seen there: the commit thread is busy meanwhile. */
static _Atomic bool held;
static status resolve_held(void *argument, struct kv_reader *reader, kv_version version,
                           struct kv_batch *batch) {
  (void)argument;
  (void)reader;
  (void)version;
  (void)batch;
  while (held) {
  }
  return status_ok();
}
static void done_held(void *argument, status result, kv_version version) {
  (void)argument;
  (void)version;
  (void)result;
}
static void test_who_is_faster_stays(void **state) {
  (void)state;
  add((struct person){"a", .anonymous = true, .session = 1});
  add((struct person){"b", .anonymous = true, .session = 2});
  port_simulated_advance(f.port, 31 * DAY_US);
  assert_status_ok(test_put(f.store, STR("something"), STR("x"), &(kv_version){0}));
  open_idle(30 * DAY_US, 0);
  tick(); /* notes the time; the next one looks */
  assert_non_null(find("a"));
  struct kv_txn hold = {.resolve = resolve_held, .done = done_held};
  char session = 1;
  struct kv_txn back = {.resolve = resolve_refresh, .done = done_held, .argument = &session};
  held = true;
  kv_commit(f.store, &hold);
  kv_commit(f.store, &back);
  idle_tick(f.idle); /* sees both as they were */
  held = false;
  idle_wait(f.idle);
  assert_non_null(find("a"));
  assert_null(find("b"));
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      CASE(test_who_comes_back_stays),
      CASE(test_nothing_goes_by_default),
      CASE(test_sessions_end),
      CASE(test_time_that_is_missing_is_given_back),
      CASE(test_short_rests_are_not_given_back),
      CASE(test_many),
      CASE(test_who_is_faster_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
