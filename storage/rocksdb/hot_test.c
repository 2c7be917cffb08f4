/* Hot documents: the table alone, and under a store whose commits and readers race. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/rocksdb/hot.h"
#include "storage/rocksdb/store.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

/* ---- The table ---- */

static bool finds(struct hot *hot, str key, kv_version snapshot, str value, kv_version version) {
  struct kv_value got;
  if (!hot_find(hot, key, snapshot, &got))
    return false;
  assert_true(got.found && str_eq(got.bytes, value));
  assert_int_equal(got.version, version);
  kv_value_release(&got);
  return true;
}

static void offer_twice(struct hot *hot, str key, kv_version snapshot, str value, kv_version version) {
  hot_offer(hot, key, snapshot, value, version);
  hot_offer(hot, key, snapshot, value, version);
}

static void test_what_is_offered_twice_is_found(void **state) {
  (void)state;
  struct hot *hot;
  assert_status_ok(hot_new(1 << 20, 10, &hot));
  hot_offer(hot, STR("a"), 20, STR("one"), 15);
  assert_false(finds(hot, STR("a"), 20, STR("one"), 15));
  hot_offer(hot, STR("a"), 20, STR("one"), 15);
  assert_true(finds(hot, STR("a"), 20, STR("one"), 15));
  assert_true(finds(hot, STR("a"), 15, STR("one"), 15));
  assert_true(finds(hot, STR("a"), INT64_MAX, STR("one"), 15));
  assert_false(finds(hot, STR("a"), 14, STR("one"), 15)); /* it was something else then */
  assert_false(finds(hot, STR("b"), 20, STR("one"), 15));
  hot_free(hot);
}

static void test_what_is_forgotten_is_not_taken_from_the_past(void **state) {
  (void)state;
  struct hot *hot;
  assert_status_ok(hot_new(1 << 20, 10, &hot));
  offer_twice(hot, STR("a"), 9, STR("before the start"), 5);
  assert_false(finds(hot, STR("a"), 9, STR(""), 0));
  offer_twice(hot, STR("a"), 20, STR("one"), 15);
  struct kv_value held;
  assert_true(hot_find(hot, STR("a"), 20, &held));
  hot_forget(hot, STR("a"), 21);
  assert_false(finds(hot, STR("a"), 20, STR("one"), 15));
  offer_twice(hot, STR("a"), 20, STR("one"), 15); /* by one who looked before 21 was there */
  assert_false(finds(hot, STR("a"), 25, STR("one"), 15));
  offer_twice(hot, STR("a"), 21, STR("two"), 21);
  assert_true(finds(hot, STR("a"), 25, STR("two"), 21));
  assert_true(str_eq(held.bytes, STR("one"))); /* until it is released, also past the end */
  hot_free(hot);
  assert_true(str_eq(held.bytes, STR("one")));
  kv_value_release(&held);
}

enum { BYTES = 1024 * 1024, NAMES = 5000, VALUE = 1000 };

static char filler[HOT_VALUE_BYTES_MAX + 1];

/* How many of the names from `first` on are there; they are offered before, if `offer`. */
static size_t count_found(struct hot *hot, unsigned first, unsigned count, bool offer) {
  size_t found = 0;
  char name[16];
  for (unsigned i = first; i < first + count; i++) {
    str key = str_make(name, (size_t)snprintf(name, sizeof name, "%u", i));
    if (offer)
      offer_twice(hot, key, 1, str_make(filler, VALUE), 1);
    found += finds(hot, key, 1, str_make(filler, VALUE), 1);
  }
  return found;
}

static void test_bounds(void **state) {
  (void)state;
  struct hot *hot;
  assert_status_ok(hot_new(BYTES, 0, &hot));
  offer_twice(hot, STR("large"), 1, str_make(filler, sizeof filler), 1);
  assert_false(finds(hot, STR("large"), 1, str_make(filler, sizeof filler), 1));
  offer_twice(hot, STR("fits"), 1, str_make(filler, sizeof filler - 1), 1);
  assert_true(finds(hot, STR("fits"), 1, str_make(filler, sizeof filler - 1), 1));
  assert_int_equal(count_found(hot, 0, NAMES, true), NAMES); /* each is taken, whatever was there before */
  assert_in_range(count_found(hot, 0, NAMES, false), BYTES / VALUE * 7 / 8, BYTES / VALUE);
  hot_free(hot);
}

/* What is found again and again stays while others come and go. Each table hashes by a seed of its own, and
 * in one of them more of the names than usual may share a shard's bytes: so many tables are asked. */
static void test_what_is_used_stays(void **state) {
  (void)state;
  enum { USED = 50, TABLES = 20 };
  size_t found = 0;
  for (unsigned table = 0; table < TABLES; table++) {
    struct hot *hot;
    assert_status_ok(hot_new(BYTES, 0, &hot));
    assert_int_equal(count_found(hot, 0, USED, true), USED);
    for (unsigned first = USED; first < NAMES; first += USED) {
      count_found(hot, first, USED, true);
      count_found(hot, 0, USED, false);
    }
    found += count_found(hot, 0, USED, false);
    hot_free(hot);
  }
  assert_in_range(found, TABLES * USED * 9 / 10, TABLES * USED);
}

/* ---- Under a store ---- */

enum { KEYS = 8, COMMITS = 4000, READERS = 3 };

static struct kv_store *store;
static atomic_bool writing;

static str key_number(unsigned i, char out[8]) {
  return str_make(out, (size_t)snprintf(out, 8, "k%u", i));
}

/* A document holds its own version, and all of a commit's documents have the same; so what a reader sees at
 * its snapshot says whether it is too old, too new or half. */
static status write_all(void *argument, struct kv_reader *reader, kv_version version,
                        struct kv_batch *batch) {
  for (unsigned i = 0; i < KEYS; i++) {
    char key[8];
    struct kv_value value;
    STATUS_TRY(kv_reader_get(reader, KV_DOCUMENTS, key_number(i, key), &value));
    kv_version before = 0;
    if (value.found)
      memcpy(&before, value.bytes.ptr, sizeof before);
    kv_version last = *(kv_version *)argument;
    kv_value_release(&value);
    if (before != last)
      return status_make(STATUS_INTERNAL, "the commit thread read an old value");
    kv_batch_put(batch, KV_DOCUMENTS, key_number(i, key), str_make((const char *)&version, sizeof version));
  }
  *(kv_version *)argument = version;
  return status_ok();
}

static void *read_all(void *argument) {
  uint64_t *bad = argument;
  kv_version seen = 0;
  while (atomic_load(&writing)) {
    kv_snapshot snapshot;
    char names[KEYS][8];
    str keys[KEYS];
    struct kv_value values[KEYS];
    for (unsigned i = 0; i < KEYS; i++)
      keys[i] = key_number(i, names[i]);
    status s = kv_snapshot_at(store, KV_LATEST, &snapshot);
    if (status_is_ok(&s))
      s = kv_get_many(snapshot, KV_DOCUMENTS, KEYS, keys, values);
    if (!status_is_ok(&s)) {
      *bad += 1;
      continue;
    }
    /* All of one commit, the last that is visible: so none is older than the newest one seen. */
    kv_version first = values[0].version;
    for (unsigned i = 0; i < KEYS; i++) {
      kv_version holds = 0;
      if (values[i].found)
        memcpy(&holds, values[i].bytes.ptr, sizeof holds);
      *bad += holds != values[i].version || holds != first || holds < seen || holds > snapshot.version;
      kv_value_release(&values[i]);
    }
    seen = first;
    struct kv_value one;
    s = kv_get(snapshot, KV_DOCUMENTS, keys[1], &one);
    *bad += !status_is_ok(&s) || one.version != first;
    kv_value_release(&one);
  }
  return NULL;
}

static void test_readers_never_see_an_old_document(void **state) {
  (void)state;
  char directory[64];
  test_directory_make(directory);
  struct kv_rocksdb_options options = {
      .directory = directory, .clock_trusted = true, .sync = KV_SYNC_RELAXED};
  assert_status_ok(kv_rocksdb_open(&options, &store));
  pthread_t threads[READERS];
  uint64_t bad[READERS] = {0};
  kv_version last = 0, version;
  struct kv_txn txn = {.resolve = write_all, .argument = &last};
  assert_status_ok(kv_commit_wait(store, &txn, &version));
  atomic_store(&writing, true);
  for (size_t i = 0; i < READERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, read_all, &bad[i]), 0);
  for (int i = 0; i < COMMITS; i++) {
    txn = (struct kv_txn){.resolve = write_all, .argument = &last};
    assert_status_ok(kv_commit_wait(store, &txn, &version));
  }
  atomic_store(&writing, false);
  for (size_t i = 0; i < READERS; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(bad[i], 0);
  }
  kv_close(store);
  test_directory_remove(directory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_is_offered_twice_is_found),
      cmocka_unit_test(test_what_is_forgotten_is_not_taken_from_the_past),
      cmocka_unit_test(test_bounds),
      cmocka_unit_test(test_what_is_used_stays),
      cmocka_unit_test(test_readers_never_see_an_old_document),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
