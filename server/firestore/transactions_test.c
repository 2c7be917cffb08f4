/* The table of open transactions and the turns, with a clock that the test moves. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "server/firestore/transactions.h"
#include "server/firestore/turns.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

#define DATABASE STR("projects/p/databases/(default)")
#define SECRET STR("0123456789abcdef0123456789abcdef")

struct fixture {
  char directory[64];
  struct port_simulated *simulated;
  struct kv_store *store;
  struct transactions *all;
};

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  test_directory_make(f->directory);
  f->simulated = test_port_new();
  struct kv_rocksdb_options options = {.directory = f->directory,
                                       .port = port_simulated_port(f->simulated),
                                       .sync = KV_SYNC_RELAXED,
                                       .clock_trusted = true};
  assert_status_ok(kv_rocksdb_open(&options, &f->store));
  assert_status_ok(transactions_new(f->store, port_simulated_port(f->simulated), SECRET, 0, &f->all));
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  transactions_free(f->all);
  kv_close(f->store);
  port_simulated_free(f->simulated);
  test_directory_remove(f->directory);
  free(f);
  return 0;
}

static void advance_ms(struct fixture *f, int64_t ms) {
  port_simulated_advance(f->simulated, ms * 1000);
}

/* An id outlives its transaction. */
struct id {
  char bytes[TRANSACTION_ID_BYTES];
};
static struct id id_of(const struct transaction *t) {
  struct id id;
  assert_int_equal(transaction_id(t).len, sizeof id.bytes);
  memcpy(id.bytes, transaction_id(t).ptr, sizeof id.bytes);
  return id;
}
static str id_str(const struct id *id) {
  return str_make(id->bytes, sizeof id->bytes);
}

static struct transaction *begin_as(struct fixture *f, bool read_only, str retry_id) {
  struct transaction_options options = {.read_only = read_only, .retry_id = retry_id, .database = DATABASE};
  struct transaction *t = NULL;
  assert_status_ok(transactions_begin(f->all, &options, &t));
  return t;
}
static struct id begin(struct fixture *f) {
  struct transaction *t = begin_as(f, false, (str){0});
  struct id id = id_of(t);
  transaction_release(t);
  return id;
}
static status try_use(struct fixture *f, const struct id *id, struct transaction **ret) {
  return transactions_use(f->all, id_str(id), DATABASE, ret);
}
static struct transaction *use(struct fixture *f, const struct id *id) {
  struct transaction *t = NULL;
  assert_status_ok(try_use(f, id, &t));
  return t;
}

static void assert_over(struct fixture *f, const struct id *id) {
  struct transaction *t;
  status s = try_use(f, id, &t);
  assert_status_code(s, STATUS_INVALID_ARGUMENT);
  /* SDKs start again for this text. */
  assert_string_equal(s.message, "The referenced transaction has expired or is no longer valid.");
}
static void assert_damaged(struct fixture *f, str id, str database) {
  struct transaction *t;
  status s = transactions_use(f->all, id, database, &t);
  assert_status_code(s, STATUS_INVALID_ARGUMENT);
  assert_non_null(strstr(s.message, "Invalid transaction"));
}

/* ---- Ids ---- */

static void test_ids(void **state) {
  struct fixture *f = *state;
  struct id id = begin(f);
  transaction_release(use(f, &id));
  assert_damaged(f, (str){0}, DATABASE);
  assert_damaged(f, STR("junk"), DATABASE);
  assert_damaged(f, str_make(id.bytes, sizeof id.bytes - 1), DATABASE);
  assert_damaged(f, id_str(&id), STR("projects/p/databases/other"));
  for (size_t i = 0; i < sizeof id.bytes; i++) {
    struct id other = id;
    other.bytes[i] ^= 1;
    assert_damaged(f, id_str(&other), DATABASE);
  }
  assert_status_code(transactions_rollback(f->all, STR("junk"), DATABASE), STATUS_INVALID_ARGUMENT);
  struct transaction_options options = {.retry_id = STR("junk"), .database = DATABASE};
  struct transaction *t;
  assert_status_code(transactions_begin(f->all, &options, &t), STATUS_INVALID_ARGUMENT);
  struct id second = begin(f);
  assert_memory_not_equal(id.bytes, second.bytes, sizeof id.bytes);
}

static void test_ids_of_another_run(void **state) {
  struct fixture *f = *state;
  struct id id = begin(f);
  struct transactions *first = f->all;
  assert_status_ok(
      transactions_new(f->store, port_simulated_port(f->simulated), SECRET, 0, &f->all)); /* a restart */
  begin(f); /* the same number */
  assert_over(f, &id);
  assert_status_ok(transactions_rollback(f->all, id_str(&id), DATABASE));
  transaction_release(begin_as(f, false, id_str(&id)));
  transactions_free(f->all);
  assert_status_ok(transactions_new(f->store, port_simulated_port(f->simulated),
                                    STR("the secret of another server"), 0, &f->all));
  assert_damaged(f, id_str(&id), DATABASE);
  transactions_free(f->all);
  f->all = first;
}

/* ---- Lifetime ---- */

static void test_idle(void **state) {
  struct fixture *f = *state;
  struct id kept = begin(f), left = begin(f), busy = begin(f);
  struct transaction *in_use = use(f, &busy);
  advance_ms(f, LIMIT_TRANSACTION_IDLE_MS - 1);
  transaction_release(use(f, &kept));
  advance_ms(f, 1);
  assert_over(f, &left);
  transaction_release(use(f, &kept));
  transaction_release(in_use); /* only now it begins to be idle */
  assert_int_equal(transactions_open(f->all), 2);
  advance_ms(f, LIMIT_TRANSACTION_IDLE_MS);
  transactions_tick(f->all);
  assert_int_equal(transactions_open(f->all), 0);
  assert_over(f, &kept);
  assert_over(f, &busy);
}

static void test_total(void **state) {
  struct fixture *f = *state;
  struct id id = begin(f);
  for (int64_t ms = 0; ms < LIMIT_TRANSACTION_MS - 30000; ms += 30000) {
    advance_ms(f, 30000);
    transaction_release(use(f, &id));
  }
  struct transaction *t = use(f, &id);
  advance_ms(f, 30000);
  assert_over(f, &id);
  assert_status_code(transaction_read_document(t, STR("k")), STATUS_INVALID_ARGUMENT);
  assert_status_code(transaction_status(t), STATUS_INVALID_ARGUMENT);
  transaction_release(t);
}

static void test_rollback_and_retry(void **state) {
  struct fixture *f = *state;
  struct id id = begin(f);
  assert_status_ok(transactions_rollback(f->all, id_str(&id), DATABASE));
  assert_over(f, &id);
  assert_status_ok(transactions_rollback(f->all, id_str(&id), DATABASE));
  struct id first = begin(f);
  transaction_release(begin_as(f, false, id_str(&first)));
  assert_over(f, &first);
  struct id used = begin(f);
  struct transaction *t = use(f, &used);
  assert_status_ok(transactions_rollback(f->all, id_str(&used), DATABASE));
  assert_status_code(transaction_read_document(t, STR("k")), STATUS_INVALID_ARGUMENT);
  transaction_release(t);
  struct transaction *unseen = begin_as(f, false, (str){0});
  struct id unseen_id = id_of(unseen);
  transaction_abandon(unseen);
  assert_over(f, &unseen_id);
}

/* ---- Bounds ---- */

static void test_number(void **state) {
  struct fixture *f = *state;
  struct id first = begin(f);
  advance_ms(f, 1000);
  for (int i = 1; i < LIMIT_TRANSACTIONS; i++)
    begin(f);
  struct transaction_options options = {.database = DATABASE};
  struct transaction *t = NULL;
  assert_status_code(transactions_begin(f->all, &options, &t), STATUS_RESOURCE_EXHAUSTED);
  transaction_release(use(f, &first)); /* nobody is idle for long */
  assert_int_equal(transactions_open(f->all), LIMIT_TRANSACTIONS);
  advance_ms(f, 5000);
  transaction_release(use(f, &first)); /* now it is the second that is idle the longest */
  struct id more = begin(f);
  assert_int_equal(transactions_open(f->all), LIMIT_TRANSACTIONS);
  transaction_release(use(f, &first));
  transaction_release(use(f, &more));
}

static size_t read_until_refused(struct transaction *t) {
  char key[1000];
  size_t count = 0;
  for (;; count++) {
    memset(key, 'k', sizeof key);
    memcpy(key, &count, sizeof count);
    status s = transaction_read_document(t, str_make(key, sizeof key));
    if (s.code == STATUS_OK)
      continue;
    assert_status_code(s, STATUS_RESOURCE_EXHAUSTED);
    assert_status_code(transaction_status(t), STATUS_RESOURCE_EXHAUSTED);
    return count;
  }
}

static void test_read_set_size(void **state) {
  struct fixture *f = *state;
  struct id id = begin(f);
  struct transaction *t = use(f, &id);
  size_t count = read_until_refused(t);
  assert_in_range(count, 3000, LIMIT_TRANSACTION_READ_BYTES / 1000);
  transaction_release(t);
  assert_over(f, &id); /* what is not in the set is not validated */

  enum { MANY = 12 };
  struct transaction *many[MANY];
  size_t total = 0, refused_early = 0;
  for (size_t i = 0; i < MANY; i++) {
    many[i] = begin_as(f, false, (str){0});
    size_t one = read_until_refused(many[i]);
    refused_early += one < count;
    total += one;
    if (one == count)
      continue;
  }
  assert_true(total * 1000 <= LIMIT_TRANSACTIONS_READ_BYTES);
  assert_true(refused_early > 0);
  for (size_t i = 0; i < MANY; i++)
    transaction_release(many[i]);
  struct transaction *again = begin_as(f, false, (str){0});
  assert_int_equal(read_until_refused(again), count); /* all was given back */
  transaction_release(again);
}

/* ---- What is committed ---- */

static void test_take(void **state) {
  struct fixture *f = *state;
  struct id id = begin(f);
  kv_version before, after;
  assert_status_ok(test_put(f->store, STR("a"), STR("1"), &before));
  struct transaction *t = use(f, &id);
  assert_int_equal(transaction_snapshot(t).version, before); /* nothing was read yet: it is today's */
  assert_status_ok(transaction_read_document(t, STR("a")));
  assert_status_ok(transaction_read_document(t, STR("a")));
  struct query_reads reads = transaction_query_reads(t);
  reads.range(reads.argument, KV_INDEX, STR("b"), STR("c"));
  reads.range(reads.argument, KV_DOCUMENTS, STR("d"), (str){0});
  reads.document(reads.argument, STR("e"));
  assert_status_ok(transaction_status(t));
  assert_status_ok(test_put(f->store, STR("a"), STR("2"), &after));
  struct transaction *second = use(f, &id);
  assert_ptr_equal(second, t);
  assert_int_equal(transaction_snapshot(second).version, before);
  transaction_release(second);

  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  struct kv_txn txn = {0};
  struct transaction *taken = NULL;
  assert_status_ok(transactions_take(f->all, id_str(&id), DATABASE, true, &arena, &txn, &taken));
  assert_over(f, &id);
  assert_status_code(transactions_take(f->all, id_str(&id), DATABASE, true, &arena, &txn, &taken),
                     STATUS_INVALID_ARGUMENT);
  assert_status_code(transaction_read_document(t, STR("late")), STATUS_INVALID_ARGUMENT);
  transaction_release(t);
  assert_int_equal(txn.read_version, before);
  assert_int_equal(txn.key_count, 3);
  assert_str_is(txn.keys[0].key, "e");
  assert_str_is(txn.keys[1].key, "a");
  assert_int_equal(txn.range_count, 2);
  assert_int_equal(txn.ranges[1].space, KV_INDEX);
  assert_str_is(txn.ranges[1].lower, "b");
  assert_str_is(txn.ranges[1].upper, "c");
  assert_str_is(txn.ranges[0].lower, "d");
  assert_int_equal(txn.ranges[0].upper.len, 0);
  assert_int_equal(txn.keys[2].space, KV_SYSTEM); /* since it read through an index: */
  assert_true(str_eq(txn.keys[2].key, INDEX_LEDGER_KEY));
  transaction_release(taken);
  arena_fini(&arena);
}

static void test_read_only(void **state) {
  struct fixture *f = *state;
  kv_version old, new;
  assert_status_ok(test_put(f->store, STR("a"), STR("1"), &old));
  struct transaction *t = begin_as(f, true, (str){0});
  struct id id = id_of(t);
  transaction_release(t);
  assert_status_ok(test_put(f->store, STR("a"), STR("2"), &new));
  t = use(f, &id);
  transaction_turn_came(t);
  assert_int_equal(transaction_snapshot(t).version, old); /* that of its beginning */
  assert_status_ok(transaction_read_document(t, STR("a")));
  transaction_release(t);
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  struct kv_txn txn = {0};
  assert_status_code(transactions_take(f->all, id_str(&id), DATABASE, true, &arena, &txn, &t),
                     STATUS_INVALID_ARGUMENT);
  assert_status_ok(transactions_take(f->all, id_str(&id), DATABASE, false, &arena, &txn, &t));
  assert_int_equal(txn.read_version, KV_LATEST);
  assert_int_equal(txn.key_count, 0);
  transaction_release(t);
  arena_fini(&arena);

  struct transaction_options options = {.read_only = true, .read_version = old, .database = DATABASE};
  assert_status_ok(transactions_begin(f->all, &options, &t));
  assert_int_equal(transaction_snapshot(t).version, old);
  transaction_release(t);
  options.read_version = 1;
  assert_status_code(transactions_begin(f->all, &options, &t), STATUS_FAILED_PRECONDITION);
}

/* ---- Turns ---- */

static void count_up(void *argument) {
  atomic_fetch_add((atomic_int *)argument, 1);
}

static bool waits(struct transaction *t, const char *key, atomic_int *came) {
  str one = str_from_cstr(key);
  return transaction_turn_wait(t, &one, 1, count_up, came);
}

static void test_turns(void **state) {
  struct fixture *f = *state;
  atomic_int came[4] = {0};
  struct id lost = begin(f);
  struct transaction *calm = begin_as(f, false, (str){0});
  assert_false(waits(calm, "k", &came[0])); /* no contention, no queue */
  struct transaction *first = begin_as(f, false, id_str(&lost));
  assert_false(waits(first, "k", &came[0])); /* opens the queue: its turn */
  struct transaction *second = begin_as(f, false, id_str(&lost)), *third = begin_as(f, false, (str){0});
  assert_true(waits(second, "k", &came[1]));
  assert_true(waits(third, "k", &came[2]));
  struct transaction *elsewhere = begin_as(f, false, (str){0}), *reads = begin_as(f, true, (str){0});
  assert_false(waits(elsewhere, "other", &came[3]));
  assert_false(waits(reads, "k", &came[3]));
  assert_status_ok(transaction_read_document(elsewhere, STR("other")));
  assert_false(waits(elsewhere, "k", &came[3])); /* it has read: it would hold what others wait for */

  kv_version newer;
  assert_status_ok(test_put(f->store, STR("k"), STR("1"), &newer));
  struct id first_id = id_of(first);
  transaction_release(first);
  assert_int_equal(came[1], 0); /* between its calls the turn stays its own */
  assert_status_ok(transactions_rollback(f->all, id_str(&first_id), DATABASE));
  assert_int_equal(came[1], 1);
  assert_int_equal(came[2], 0);
  assert_true(transaction_snapshot(second).version < newer);
  transaction_turn_came(second);
  assert_int_equal(transaction_snapshot(second).version, newer);
  transaction_abandon(second);
  assert_int_equal(came[2], 1);
  transaction_abandon(third);
  assert_false(waits(calm, "k", &came[0])); /* the queue is gone with the last */
  assert_int_equal(came[0] + came[3], 0);
  transaction_release(calm);
  transaction_release(elsewhere);
  transaction_release(reads);
}

static void test_turns_end(void **state) {
  struct fixture *f = *state;
  atomic_int came[4] = {0};
  struct id lost = begin(f);
  struct transaction *t[4];
  for (size_t i = 0; i < 4; i++)
    t[i] = begin_as(f, false, id_str(&lost));
  assert_false(waits(t[0], "k", &came[0]));
  for (size_t i = 1; i < 4; i++)
    assert_true(waits(t[i], "k", &came[i]));
  assert_true(transaction_turn_give_up(t[2]));
  assert_false(transaction_turn_give_up(t[2]));
  advance_ms(f, TURN_HELD_MS - 1);
  transactions_tick(f->all);
  assert_int_equal(came[1], 0);
  advance_ms(f, 1);
  transactions_tick(f->all);
  assert_int_equal(came[1], 1); /* the holder had its time */
  assert_false(transaction_turn_give_up(t[1]));
  struct transaction *late = begin_as(f, false, (str){0});
  atomic_int late_came = 0;
  assert_true(waits(late, "k", &late_came));
  advance_ms(f, TURN_WAIT_MS);
  transactions_tick(f->all);
  assert_int_equal(came[3], 1);
  assert_int_equal(late_came, 1);
  for (size_t i = 0; i < 4; i++)
    transaction_abandon(t[i]);
  transaction_abandon(late);
  assert_int_equal(came[0] + came[2], 0);
  struct transaction *next = begin_as(f, false, (str){0});
  assert_false(waits(next, "k", &came[0])); /* nothing is left behind */
  transaction_release(next);
}

/* Of several keys the first in order that has a queue; who opens takes the first in order. */
static void test_turns_of_several_keys(void **state) {
  struct fixture *f = *state;
  atomic_int came = 0;
  struct id lost = begin(f);
  str cb[] = {STR("c"), STR("b")}, ba[] = {STR("b"), STR("a")};
  struct transaction *first = begin_as(f, false, id_str(&lost)), *second = begin_as(f, false, (str){0}),
                     *third = begin_as(f, false, (str){0});
  assert_false(transaction_turn_wait(first, cb, 2, count_up, &came));
  assert_true(transaction_turn_wait(second, ba, 2, count_up, &came));
  assert_false(transaction_turn_wait(third, &cb[0], 1, count_up, &came));
  transaction_abandon(first);
  assert_int_equal(came, 1);
  transaction_abandon(second);
  transaction_abandon(third);
}

/* ---- Threads ---- */

enum { THREADS = 4, ROUNDS = 2000, SHARED = 8 };

struct shared {
  struct fixture *f;
  pthread_mutex_t lock;
  struct id ids[SHARED];
  atomic_int waiting, came;
};

static struct id shared_id(struct shared *s, size_t at) {
  pthread_mutex_lock(&s->lock);
  struct id id = s->ids[at];
  pthread_mutex_unlock(&s->lock);
  return id;
}

static void renew(struct shared *s, size_t at, struct id old) {
  struct transaction_options options = {.retry_id = id_str(&old), .database = DATABASE};
  struct transaction *t;
  if (transactions_begin(s->f->all, &options, &t).code != STATUS_OK)
    abort();
  struct id id = id_of(t);
  str key = STR("hot");
  if (transaction_turn_wait(t, &key, 1, count_up, &s->came)) {
    atomic_fetch_add(&s->waiting, 1);
    if (transaction_turn_give_up(t))
      atomic_fetch_sub(&s->waiting, 1);
    else
      while (atomic_load(&s->came) == 0) /* it was told, or is about to be */
        sched_yield();
    transaction_turn_came(t);
  }
  transaction_release(t);
  pthread_mutex_lock(&s->lock);
  s->ids[at] = id;
  pthread_mutex_unlock(&s->lock);
}

static void *work(void *argument) {
  struct shared *s = argument;
  unsigned seed = (unsigned)(uintptr_t)&seed;
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  for (int i = 0; i < ROUNDS; i++) {
    unsigned random = (unsigned)rand_r(&seed);
    size_t at = random % SHARED;
    struct id id = shared_id(s, at);
    struct transaction *t;
    struct kv_txn txn = {0};
    switch (random / SHARED % 8) {
    case 0:
      if (transactions_take(s->f->all, id_str(&id), DATABASE, true, &arena, &txn, &t).code == STATUS_OK) {
        for (size_t k = 0; k < txn.key_count; k++)
          if (txn.keys[k].key.len != 5)
            abort();
        transaction_release(t);
      }
      renew(s, at, id);
      break;
    case 1:
      if (transactions_rollback(s->f->all, id_str(&id), DATABASE).code != STATUS_OK)
        abort();
      renew(s, at, id);
      break;
    case 2:
      transactions_tick(s->f->all);
      break;
    default:
      if (try_use(s->f, &id, &t).code != STATUS_OK)
        break;
      if (transaction_snapshot(t).store != s->f->store)
        abort();
      status ignored = transaction_read_document(t, STR("12345"));
      ignored = transaction_read_range(t, KV_DOCUMENTS, STR("1"), STR("2"));
      (void)ignored;
      transaction_release(t);
    }
    arena_reset(&arena);
  }
  arena_fini(&arena);
  return NULL;
}

static void test_threads(void **state) {
  struct shared s = {.f = *state};
  pthread_mutex_init(&s.lock, NULL);
  for (size_t i = 0; i < SHARED; i++)
    s.ids[i] = begin(s.f);
  pthread_t threads[THREADS];
  for (size_t i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, work, &s), 0);
  for (size_t i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  assert_in_range(transactions_open(s.f->all), 1, THREADS * ROUNDS);
  pthread_mutex_destroy(&s.lock);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_ids),
      TEST(test_ids_of_another_run),
      TEST(test_idle),
      TEST(test_total),
      TEST(test_rollback_and_retry),
      TEST(test_number),
      TEST(test_read_set_size),
      TEST(test_take),
      TEST(test_read_only),
      TEST(test_turns),
      TEST(test_turns_end),
      TEST(test_turns_of_several_keys),
      TEST(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
