/* Transactions are serializable: three workloads that go wrong under anything weaker, each run twice: with
 * validation, when nothing may go wrong, and with the read sets thrown away before the commit, when the
 * checker must see that something did. The same over the whole server:
 * tests/integration/serializable.test.mjs. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/firestore/transactions.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

#define DATABASE STR("projects/p/databases/(default)")

enum {
  WRITERS = 6,
  ROUND_COMMITS = 1500, /* attempts of all writers together, in one round */
  ROUNDS_MAX = 20,      /* until something goes wrong, without validation */
};

struct work {
  struct kv_store *store;
  struct transactions *all;
  const struct workload *workload;
  bool validates;
  atomic_int attempts_left, writers_left, committed, aborted, anomalies;
};

/* One transaction as it goes: what it reads, it reads through this, and what it is to write gathers here. */
struct attempt {
  struct work *work;
  struct transaction *transaction;
  unsigned *seed;
  struct arena arena;
  struct {
    char key[16];
    int value; /* < 0: delete */
  } writes[4];
  size_t write_count;
};

struct workload {
  const char *name;
  void (*set_up)(struct attempt *a);
  void (*write)(struct attempt *a);     /* a random transaction */
  bool (*is_broken)(struct attempt *a); /* what no serial order allows; looks, and writes nothing */
};

/* ---- Reading and writing ---- */

static void must(status s) {
  if (s.code != STATUS_OK)
    fail_msg("%s", s.message);
}

static int read_one(struct attempt *a, const char *key) {
  struct kv_value value;
  must(transaction_read_document(a->transaction, str_from_cstr(key)));
  must(kv_get(transaction_snapshot(a->transaction), KV_DOCUMENTS, str_from_cstr(key), &value));
  int number = 0;
  if (value.found)
    memcpy(&number, value.bytes.ptr, sizeof number);
  kv_value_release(&value);
  return number;
}

/* The keys that begin with a letter; gives their number and the last byte of a random one. */
static int read_all(struct attempt *a, char letter, char *ret_some) {
  char lower[2] = {letter, 0}, upper[2] = {(char)(letter + 1), 0};
  struct kv_iter *iter;
  must(transaction_read_range(a->transaction, KV_DOCUMENTS, str_make(lower, 1), str_make(upper, 1)));
  must(kv_iter_open(transaction_snapshot(a->transaction), KV_DOCUMENTS, str_make(lower, 1),
                    str_make(upper, 1), false, &iter));
  int count = 0;
  while (kv_iter_next(iter)) {
    count++;
    if (rand_r(a->seed) % count == 0)
      *ret_some = kv_iter_key(iter).ptr[1];
  }
  must(kv_iter_status(iter));
  kv_iter_close(iter);
  return count;
}

static void write_one(struct attempt *a, const char *key, int value) {
  assert_true(a->write_count < UNIT_COUNT(a->writes));
  snprintf(a->writes[a->write_count].key, sizeof a->writes[0].key, "%s", key);
  a->writes[a->write_count++].value = value;
}

static status attempt_resolve(void *argument, struct kv_reader *reader, kv_version version,
                              struct kv_batch *batch) {
  const struct attempt *a = argument;
  (void)reader, (void)version;
  for (size_t i = 0; i < a->write_count; i++) {
    str key = str_from_cstr(a->writes[i].key);
    if (a->writes[i].value < 0)
      kv_batch_delete(batch, KV_DOCUMENTS, key);
    else
      kv_batch_put(batch, KV_DOCUMENTS, key, str_make(&a->writes[i].value, sizeof a->writes[i].value));
  }
  return status_ok();
}

static void attempt_begin(struct attempt *a, bool read_only) {
  struct transaction_options options = {.read_only = read_only, .database = DATABASE};
  must(transactions_begin(a->work->all, &options, &a->transaction));
  arena_init(&a->arena, NULL, 0, 1 << 20);
  a->write_count = 0;
}

static bool attempt_commit(struct attempt *a) {
  struct kv_txn txn = {.resolve = attempt_resolve, .argument = a};
  struct transaction *taken;
  must(transactions_take(a->work->all, transaction_id(a->transaction), DATABASE, a->write_count > 0,
                         &a->arena, &txn, &taken));
  if (!a->work->validates) /* the negative control */
    txn.key_count = txn.range_count = 0;
  status s = kv_commit_wait(a->work->store, &txn, NULL);
  if (s.code != STATUS_OK)
    assert_status_code(s, STATUS_ABORTED);
  transaction_release(taken);
  transaction_release(a->transaction);
  arena_fini(&a->arena);
  return s.code == STATUS_OK;
}

/* ---- Money moves between accounts: nothing is lost or made (lost updates, torn snapshots) ---- */

enum { ACCOUNTS = 4, MONEY = 100 };
static const char *const accounts[ACCOUNTS] = {"a1", "a2", "a3", "a4"};

static void bank_set_up(struct attempt *a) {
  for (size_t i = 0; i < ACCOUNTS; i++)
    write_one(a, accounts[i], MONEY);
}
static void bank_write(struct attempt *a) {
  size_t from = (size_t)rand_r(a->seed) % ACCOUNTS, to = (from + 1 + (size_t)rand_r(a->seed) % 3) % ACCOUNTS;
  int has = read_one(a, accounts[from]), gets = read_one(a, accounts[to]);
  sched_yield();
  int moves = has == 0 ? 0 : rand_r(a->seed) % (has + 1);
  write_one(a, accounts[from], has - moves);
  write_one(a, accounts[to], gets + moves);
}
static bool bank_is_broken(struct attempt *a) {
  int sum = 0;
  for (size_t i = 0; i < ACCOUNTS; i++)
    sum += read_one(a, accounts[i]);
  return sum != ACCOUNTS * MONEY;
}

/* ---- Doctors on call: who leaves sees that another stays (write skew) ---- */

static void doctors_set_up(struct attempt *a) {
  write_one(a, "d1", 1);
  write_one(a, "d2", 1);
}
static void doctors_write(struct attempt *a) {
  int on = read_one(a, "d1") + read_one(a, "d2");
  sched_yield();
  const char *who = rand_r(a->seed) % 2 == 0 ? "d1" : "d2";
  write_one(a, who, on < 2);
}
static bool doctors_is_broken(struct attempt *a) {
  return read_one(a, "d1") + read_one(a, "d2") == 0;
}

/* ---- Seats: who books counts those that are taken (phantoms) ---- */

enum { SEATS = 5 };

static void seats_set_up(struct attempt *a) {
  write_one(a, "s ", 1);
}
static void seats_write(struct attempt *a) {
  char some = 0, key[3] = "s?";
  int taken = read_all(a, 's', &some);
  sched_yield();
  bool books = taken < SEATS && (taken == 0 || rand_r(a->seed) % 4 > 0);
  if (books)
    some = (char)('A' + rand_r(a->seed) % 50);
  key[1] = some;
  write_one(a, key, books ? 1 : -1);
}
static bool seats_is_broken(struct attempt *a) {
  char some;
  return read_all(a, 's', &some) > SEATS;
}

/* ---- Running ---- */

static const struct workload workloads[] = {
    {"money", bank_set_up, bank_write, bank_is_broken},
    {"doctors", doctors_set_up, doctors_write, doctors_is_broken},
    {"seats", seats_set_up, seats_write, seats_is_broken},
};

static void *writer_main(void *argument) {
  struct work *w = argument;
  unsigned seed = (unsigned)(uintptr_t)&seed;
  struct attempt a = {.work = w, .seed = &seed};
  while (atomic_fetch_sub(&w->attempts_left, 1) > 0) {
    attempt_begin(&a, false);
    w->workload->write(&a);
    atomic_fetch_add(attempt_commit(&a) ? &w->committed : &w->aborted, 1);
  }
  atomic_fetch_sub(&w->writers_left, 1);
  return NULL;
}

/* Looks all the time, in read-only transactions, which never conflict. */
static void *checker_main(void *argument) {
  struct work *w = argument;
  unsigned seed = 1;
  struct attempt a = {.work = w, .seed = &seed};
  bool last = false;
  while (!last) {
    last = atomic_load(&w->writers_left) == 0;
    attempt_begin(&a, true);
    if (w->workload->is_broken(&a))
      atomic_fetch_add(&w->anomalies, 1);
    assert_true(attempt_commit(&a));
  }
  return NULL;
}

static void set_up(struct work *w) {
  unsigned seed = 1;
  struct attempt a = {.work = w, .seed = &seed};
  attempt_begin(&a, false);
  w->workload->set_up(&a);
  assert_true(attempt_commit(&a));
}

static void round_run(struct work *w) {
  atomic_store(&w->attempts_left, ROUND_COMMITS);
  atomic_store(&w->writers_left, WRITERS);
  pthread_t threads[WRITERS + 1];
  for (size_t i = 0; i <= WRITERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, i < WRITERS ? writer_main : checker_main, w), 0);
  for (size_t i = 0; i <= WRITERS; i++)
    pthread_join(threads[i], NULL);
}

static void run(bool validates) {
  for (size_t i = 0; i < UNIT_COUNT(workloads); i++) {
    char directory[64];
    test_directory_make(directory);
    struct port_simulated *simulated = test_port_new();
    struct port *port = port_simulated_port(simulated);
    struct kv_rocksdb_options options = {
        .directory = directory, .port = port, .sync = KV_SYNC_RELAXED, .clock_trusted = true};
    struct work w = {.workload = &workloads[i], .validates = validates};
    assert_status_ok(kv_rocksdb_open(&options, &w.store));
    assert_status_ok(transactions_new(w.store, port, STR("secret"), 0, &w.all));
    set_up(&w);
    int rounds = validates ? 3 : ROUNDS_MAX;
    for (int round = 0; round < rounds && (validates || w.anomalies == 0); round++)
      round_run(&w);
    printf("%s, %s validation: %d committed, %d aborted, %d times something impossible seen\n",
           workloads[i].name, validates ? "with" : "without", w.committed, w.aborted, w.anomalies);
    if (validates)
      assert_int_equal(w.anomalies, 0);
    else
      assert_true(w.anomalies > 0);
    assert_true(validates ? w.aborted > 0 : w.aborted == 0); /* they did meet */
    assert_int_equal(transactions_open(w.all), 0);
    transactions_free(w.all);
    kv_close(w.store);
    port_simulated_free(simulated);
    test_directory_remove(directory);
  }
}

static void test_with_validation(void **state) {
  (void)state;
  run(true);
}

static void test_without_validation(void **state) {
  (void)state;
  run(false);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_with_validation),
      cmocka_unit_test(test_without_validation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
