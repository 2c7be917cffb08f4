/* What is let go in the background: history, the change log. And what is not. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "storage/rocksdb/store_internal.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

static const int64_t second = 1000000;
static struct port_simulated *port;
static char directory[64];

static struct kv_store *open_with(int64_t history_us, int64_t change_log_us, uint64_t change_log_bytes) {
  struct kv_store *store = NULL;
  struct kv_rocksdb_options options = {.directory = directory,
                                       .memory_bytes = 4 << 20,
                                       .port = port_simulated_port(port),
                                       .sync = KV_SYNC_RELAXED,
                                       .history_us = history_us,
                                       .change_log_us = change_log_us,
                                       .change_log_max_bytes = change_log_bytes};
  assert_status_ok(kv_rocksdb_open(&options, &store));
  return store;
}

static int set_up(void **state) {
  (void)state;
  port = test_port_new();
  test_directory_make(directory);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  test_directory_remove(directory);
  port_simulated_free(port);
  return 0;
}

static kv_version put(struct kv_store *store, const char *key, str value) {
  kv_version version = 0;
  assert_status_ok(test_put(store, str_from_cstr(key), value, &version));
  return version;
}

/* Overwritten values are given back to the disk once no one can read them; not a moment before. */
static void test_history_gives_space_back(void **state) {
  (void)state;
  static char value[20000];
  struct kv_store *store = open_with(3600 * second, 0, 0);
  unsigned seed = 1;
  kv_version versions[300];
  for (int i = 0; i < 300; i++) {
    for (size_t k = 0; k < sizeof value; k++)
      value[k] = (char)rand_r(&seed);
    versions[i] = put(store, "k", str_make(value, sizeof value));
    port_simulated_advance(port, second);
  }
  assert_status_ok(engine_compact(rocks_of(store)->engine));
  keeper_round(rocks_of(store));
  struct kv_info before, after;
  kv_info(store, &before);
  assert_true(before.data_bytes > 300 * sizeof value);
  /* A store at rest is not rewritten, though its last level holds history (see engine.cc). */
  nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
  kv_info(store, &after);
  assert_int_equal(after.written_bytes, before.written_bytes);
  for (int i = 0; i < 300; i++) {
    kv_snapshot snapshot;
    struct kv_value got;
    assert_status_ok(kv_snapshot_at(store, versions[i], &snapshot));
    assert_status_ok(kv_get(snapshot, KV_DOCUMENTS, STR("k"), &got));
    assert_true(got.found && got.version == versions[i]);
    kv_value_release(&got);
  }
  port_simulated_advance(port, 3600 * second);
  kv_version last = put(store, "other", STR("1"));
  keeper_round(rocks_of(store)); /* refused from here on */
  assert_int_equal(kv_oldest_version(store), last - 3600 * second);
  keeper_round(rocks_of(store)); /* and dropped */
  assert_status_ok(engine_compact(rocks_of(store)->engine));
  kv_info(store, &after);
  assert_true(after.data_bytes < 3 * sizeof value);
  kv_snapshot snapshot;
  struct kv_value got;
  assert_status_code(kv_snapshot_at(store, versions[299], &snapshot), STATUS_FAILED_PRECONDITION);
  assert_status_ok(kv_snapshot_at(store, kv_oldest_version(store), &snapshot));
  assert_status_ok(kv_get(snapshot, KV_DOCUMENTS, STR("k"), &got));
  /* Its version is older than history, and still told. */
  assert_true(got.found && got.version == versions[299]);
  kv_value_release(&got);
  kv_version oldest = kv_oldest_version(store);
  kv_close(store);
  store = open_with(3600 * second, 0, 0);
  assert_int_equal(kv_oldest_version(store), oldest); /* and not forgotten by a restart */
  kv_close(store);
}

static kv_version oldest_change(struct kv_store *store) {
  struct kv_info info;
  kv_info(store, &info);
  return info.oldest_change;
}

static void test_change_log_by_time(void **state) {
  (void)state;
  struct kv_store *store = open_with(3600 * second, 1000 * second, 0);
  kv_version first = put(store, "a", STR("1"));
  port_simulated_advance(port, 900 * second);
  kv_version second_version = put(store, "b", STR("1"));
  keeper_round(rocks_of(store));
  struct kv_changes *changes;
  assert_status_ok(kv_changes_open(store, first, KV_LATEST, &changes));
  kv_changes_close(changes);
  port_simulated_advance(port, 900 * second);
  kv_version last = put(store, "c", STR("1"));
  keeper_round(rocks_of(store));
  assert_int_equal(oldest_change(store), last - 1000 * second);
  assert_status_code(kv_changes_open(store, first, KV_LATEST, &changes), STATUS_OUT_OF_RANGE);
  assert_status_ok(kv_changes_open(store, second_version, KV_LATEST, &changes));
  struct kv_change change;
  assert_true(kv_changes_next(changes, &change));
  assert_int_equal(change.version, last);
  assert_false(kv_changes_next(changes, &change));
  kv_changes_close(changes);
  assert_status_code(kv_changes_open(store, last + 3600 * second, KV_LATEST, &changes), STATUS_OUT_OF_RANGE);
  kv_close(store);
}

struct many {
  int first;
};

static status many_resolve(void *argument, struct kv_reader *reader, kv_version version,
                           struct kv_batch *batch) {
  const struct many *many = argument;
  unsigned seed = (unsigned)many->first;
  (void)reader, (void)version;
  for (int i = 0; i < 500; i++) {
    char key[512];
    for (size_t k = 0; k < sizeof key; k++)
      key[k] = (char)rand_r(&seed);
    kv_batch_put(batch, KV_DOCUMENTS, str_make(key, sizeof key), STR("1"));
  }
  return status_ok();
}

/* The front of the log goes when it is too large, and its files with it. */
static void test_change_log_by_size(void **state) {
  (void)state;
  const uint64_t max_bytes = 16 << 20;
  struct kv_store *store = open_with(3600 * second, 0, max_bytes);
  kv_version start = kv_newest_version(store);
  for (int i = 0; i < 120; i++) { /* thirty megabytes of changes */
    struct many many = {i};
    struct kv_txn txn = {.resolve = many_resolve, .argument = &many};
    assert_status_ok(kv_commit_wait(store, &txn, NULL));
    port_simulated_advance(port, second);
  }
  assert_status_ok(engine_compact(rocks_of(store)->engine));
  for (int i = 0; i < 100 && engine_family_bytes(rocks_of(store)->engine, ENGINE_CHANGES) > max_bytes; i++)
    keeper_round(rocks_of(store));
  assert_true(engine_family_bytes(rocks_of(store)->engine, ENGINE_CHANGES) <= max_bytes);
  kv_version oldest = oldest_change(store);
  assert_true(oldest > start && oldest < kv_newest_version(store));
  struct kv_changes *changes;
  assert_status_code(kv_changes_open(store, start, KV_LATEST, &changes), STATUS_OUT_OF_RANGE);
  assert_status_ok(kv_changes_open(store, oldest, KV_LATEST, &changes));
  struct kv_change change;
  int seen = 0;
  while (kv_changes_next(changes, &change)) {
    assert_true(change.version > oldest);
    seen++;
  }
  assert_status_ok(kv_changes_status(changes));
  int expected = (int)((kv_newest_version(store) - oldest + second - 1) / second) * 500;
  assert_int_equal(seen, expected);
  kv_changes_close(changes);
  kv_close(store);
}

/* A snapshot between commits is as fixed as any: no later commit falls before it. */
static void test_snapshot_after_the_newest_commit(void **state) {
  (void)state;
  struct kv_store *store = open_with(3600 * second, 0, 0);
  kv_version v = put(store, "k", STR("1"));
  port_simulated_advance(port, 10 * second);
  kv_snapshot snapshot;
  struct kv_value got;
  assert_status_ok(kv_snapshot_at(store, v + 9 * second, &snapshot));
  assert_status_code(kv_snapshot_at(store, v + 11 * second, &snapshot), STATUS_FAILED_PRECONDITION);
  assert_status_ok(kv_snapshot_at(store, v + 10 * second - 1, &snapshot));
  assert_true(put(store, "k", STR("2")) > snapshot.version);
  assert_status_ok(kv_get(snapshot, KV_DOCUMENTS, STR("k"), &got));
  assert_str_is(got.bytes, "1");
  kv_value_release(&got);
  kv_close(store);
}

/* The clock goes back, also over a restart; versions do not. */
static void test_clock_steps(void **state) {
  (void)state;
  struct kv_store *store = open_with(3600 * second, 0, 0);
  kv_version v = put(store, "k", STR("1"));
  port_simulated_set_wall(port, v - 86400 * second);
  kv_version next = put(store, "k", STR("2"));
  assert_int_equal(next, v + 1);
  kv_close(store);
  port_simulated_set_wall(port, 0);
  port_simulated_set_synchronised(port, false);
  store = open_with(3600 * second, 0, 0);
  assert_true(put(store, "k", STR("3")) > next);
  struct kv_info info;
  kv_info(store, &info);
  assert_false(info.clock_trusted);
  kv_clock_trust(store);
  kv_info(store, &info);
  assert_true(info.clock_trusted);
  kv_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_history_gives_space_back, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_change_log_by_time, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_change_log_by_size, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_snapshot_after_the_newest_commit, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_clock_steps, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
