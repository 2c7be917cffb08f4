/* Tunings of all kinds keep the same data, one opens what the other wrote, and commits gather. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/rocksdb/store_internal.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

enum { KEYS = 500, ROUNDS = 6, VALUE_BYTES = 400 };

static const struct kv_rocksdb_tuning spares = {.write_buffer_sixteenths = 8,
                                                .level0_tables = 3,
                                                .lazy_merges = true,
                                                .zstd = true,
                                                .background_bytes_per_second = 64 << 20,
                                                .gather_us = 500};
static const struct kv_rocksdb_tuning reads = {.level0_tables = 4, .background_jobs = 4};

static struct kv_store *open_with(const char *directory, const struct kv_rocksdb_tuning *tuning) {
  struct kv_store *store = NULL;
  struct kv_rocksdb_options options = {
      .directory = directory, .memory_bytes = 8 << 20, .tuning = *tuning, .clock_trusted = true};
  assert_status_ok(kv_rocksdb_open(&options, &store));
  return store;
}

struct many {
  int round;
};

static size_t value_of(int key, int round, char value[VALUE_BYTES]) {
  unsigned seed = (unsigned)(key * 1000 + round);
  for (size_t i = 0; i < VALUE_BYTES; i++)
    value[i] = (char)('a' + rand_r(&seed) % 20);
  snprintf(value, VALUE_BYTES, "%d in round %d", key, round);
  return VALUE_BYTES;
}

static status put_all(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  const struct many *many = argument;
  (void)reader, (void)version;
  for (int key = 0; key < KEYS; key++) {
    char name[16], value[VALUE_BYTES];
    snprintf(name, sizeof name, "key%05d", key);
    kv_batch_put(batch, KV_DOCUMENTS, str_from_cstr(name),
                 str_make(value, value_of(key, many->round, value)));
    kv_batch_put(batch, KV_INDEX, str_from_cstr(name), (str){0});
  }
  return status_ok();
}

static kv_version put_round(struct kv_store *store, int round) {
  struct many many = {round};
  struct kv_txn txn = {.resolve = put_all, .argument = &many};
  kv_version version = 0;
  assert_status_ok(kv_commit_wait(store, &txn, &version));
  assert_status_ok(engine_flush(rocks_of(store)->engine)); /* a run each */
  return version;
}

static void expect_round(struct kv_store *store, kv_version version, int round) {
  char wanted[VALUE_BYTES];
  kv_snapshot snapshot;
  struct kv_iter *iter;
  int key = 0;
  assert_status_ok(kv_snapshot_at(store, version, &snapshot));
  assert_status_ok(kv_iter_open(snapshot, KV_DOCUMENTS, (str){0}, (str){0}, false, &iter));
  for (; kv_iter_next(iter); key++)
    assert_true(str_eq(kv_iter_value(iter), str_make(wanted, value_of(key, round, wanted))));
  assert_status_ok(kv_iter_status(iter));
  kv_iter_close(iter);
  assert_int_equal(key, KEYS);
}

static void one_opens_what_the_other_wrote(void **state) {
  (void)state;
  char directory[64];
  kv_version versions[2 * ROUNDS];
  const struct kv_rocksdb_tuning *tunings[] = {&spares, &reads, &spares, &reads};
  int rounds = 0;
  test_directory_make(directory);
  for (size_t i = 0; i < UNIT_COUNT(tunings); i++) {
    struct kv_store *store = open_with(directory, tunings[i]);
    for (int end = rounds + ROUNDS / 2; rounds < end; rounds++)
      versions[rounds] = put_round(store, rounds);
    for (int round = 0; round < rounds; round++)
      expect_round(store, versions[round], round);
    if (i == 2)
      assert_status_ok(engine_compact(rocks_of(store)->engine));
    uint64_t damages = 0;
    assert_status_ok(kv_verify(store, NULL, NULL, &damages));
    assert_int_equal(damages, 0);
    kv_close(store);
  }
  test_directory_remove(directory);
}

static void what_was_written_is_counted(void **state) {
  (void)state;
  char directory[64];
  test_directory_make(directory);
  struct kv_store *store = open_with(directory, &reads);
  put_round(store, 0);
  struct kv_info info;
  kv_info(store, &info);
  uint64_t documents = KEYS * (8 + 8 + VALUE_BYTES); /* key, version, value */
  assert_int_equal(info.document_bytes, documents);
  assert_int_equal(info.applied_bytes, documents + KEYS * (8 + 8));
  assert_true(info.log_bytes > info.applied_bytes && info.log_bytes < 2 * info.applied_bytes);
  assert_true(info.flushed_bytes > documents / 4);
  assert_status_ok(engine_compact(rocks_of(store)->engine));
  kv_info(store, &info);
  assert_true(info.compacted_bytes > documents / 4);
  assert_int_equal(info.written_bytes, info.log_bytes + info.flushed_bytes + info.compacted_bytes);
  kv_close(store);
  test_directory_remove(directory);
}

enum { WRITERS = 8, WRITES = 100 };

static void *write_some(void *argument) {
  struct kv_store *store = argument;
  char name[32];
  for (int i = 0; i < WRITES; i++) {
    snprintf(name, sizeof name, "w%lx-%d", (unsigned long)pthread_self(), i);
    assert_status_ok(test_put(store, str_from_cstr(name), STR("x"), NULL));
  }
  return NULL;
}

/* Those who write at once share syncs; who writes alone is not held up by a wait for nobody each time. */
static void commits_gather(void **state) {
  (void)state;
  char directory[64];
  pthread_t threads[WRITERS];
  struct kv_info info;
  struct kv_rocksdb_tuning patient = {.gather_us = 20000};
  test_directory_make(directory);
  struct kv_store *store = open_with(directory, &patient);
  for (int i = 0; i < WRITERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, write_some, store), 0);
  for (int i = 0; i < WRITERS; i++)
    pthread_join(threads[i], NULL);
  kv_info(store, &info);
  assert_int_equal(info.commits, WRITERS * WRITES);
  assert_true(info.groups <= info.commits / 3);
  kv_close(store);
  test_directory_remove(directory);
}

static int64_t now_us(void) {
  struct port *port = port_linux();
  return port->monotonic_us(port);
}

static void a_lone_writer_hardly_waits(void **state) {
  (void)state;
  char directory[64];
  struct kv_rocksdb_tuning patient = {.gather_us = 100000};
  test_directory_make(directory);
  struct kv_store *store = open_with(directory, &patient);
  int64_t begin = now_us();
  for (int i = 0; i < 3; i++)
    write_some(store); /* 300 commits: waits before the 1st, 3rd, 7th, ..., 255th */
  int64_t took = now_us() - begin;
  if (took > 300 * 100000 / 2)
    fail_msg("300 commits waited for %lld us: each one for nobody", (long long)took);
  kv_close(store);
  test_directory_remove(directory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_opens_what_the_other_wrote),
      cmocka_unit_test(what_was_written_is_counted),
      cmocka_unit_test(commits_gather),
      cmocka_unit_test(a_lone_writer_hardly_waits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
