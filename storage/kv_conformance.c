#include "storage/kv_conformance.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/unit.h"

static const struct kv_conformance *suite;
static int test_number;

static struct kv_store *open_store(int test) {
  struct kv_store *store = NULL;
  status s = suite->open(suite->argument, test, &store);
  if (!status_is_ok(&s))
    fail_msg("open: %s", s.message);
  return store;
}

static void disturb(struct kv_store *store, unsigned kind) {
  if (suite->disturb != NULL)
    suite->disturb(suite->argument, store, kind);
}

#define assert_ok assert_status_ok
#define assert_status assert_status_code

/* ---- Writing in one line ---- */

struct write {
  enum kv_space space;
  str key;
  bool deleted;
  str value;
};

struct writes {
  const struct write *writes;
  size_t count;
  int runs;
  kv_version resolved_at;
};

static status writes_resolve(void *argument, struct kv_reader *reader, kv_version version,
                             struct kv_batch *batch) {
  struct writes *w = argument;
  (void)reader;
  w->runs++;
  w->resolved_at = version;
  for (size_t i = 0; i < w->count; i++) {
    if (w->writes[i].deleted)
      kv_batch_delete(batch, w->writes[i].space, w->writes[i].key);
    else
      kv_batch_put(batch, w->writes[i].space, w->writes[i].key, w->writes[i].value);
  }
  return status_ok();
}

static kv_version write_all(struct kv_store *store, const struct write *writes, size_t count) {
  struct writes w = {.writes = writes, .count = count};
  struct kv_txn txn = {.resolve = writes_resolve, .argument = &w};
  kv_version version = 0;
  assert_ok(kv_commit_wait(store, &txn, &version));
  if (count > 0)
    assert_int_equal(version, w.resolved_at);
  return version;
}

static kv_version put(struct kv_store *store, enum kv_space space, str key, str value) {
  return write_all(store, &(struct write){space, key, false, value}, 1);
}

static kv_version del(struct kv_store *store, enum kv_space space, str key) {
  return write_all(store, &(struct write){space, key, true, {0}}, 1);
}

static kv_snapshot at(struct kv_store *store, kv_version version) {
  kv_snapshot snapshot;
  assert_ok(kv_snapshot_at(store, version, &snapshot));
  return snapshot;
}

static void expect(kv_snapshot snapshot, enum kv_space space, str key, const char *value) {
  struct kv_value got;
  assert_ok(kv_get(snapshot, space, key, &got));
  assert_int_equal(got.found, value != NULL);
  if (value != NULL)
    assert_true(str_eq(got.bytes, str_from_cstr(value)));
  kv_value_release(&got);
}

/* ---- Single rules ---- */

static void test_basics(void **state) {
  (void)state;
  struct kv_store *store = open_store(++test_number);
  kv_version none = kv_newest_version(store);
  assert_true(none > 0);
  expect(at(store, KV_LATEST), KV_DOCUMENTS, STR("a"), NULL);
  kv_version v1 = put(store, KV_DOCUMENTS, STR("a"), STR("1"));
  assert_true(v1 > none);
  kv_version v2 = put(store, KV_DOCUMENTS, STR("a"), STR(""));
  kv_version v3 = del(store, KV_DOCUMENTS, STR("a"));
  assert_true(v3 > v2 && v2 > v1);
  assert_int_equal(kv_newest_version(store), v3);
  expect(at(store, KV_LATEST), KV_DOCUMENTS, STR("a"), NULL);
  expect(at(store, v2), KV_DOCUMENTS, STR("a"), "");
  expect(at(store, v1), KV_DOCUMENTS, STR("a"), "1");
  expect(at(store, v1), KV_INDEX, STR("a"), NULL);
  struct kv_value got;
  assert_ok(kv_get(at(store, v2), KV_DOCUMENTS, STR("a"), &got));
  assert_int_equal(got.version, v2);
  kv_value_release(&got);
  kv_value_release(&got); /* again is nothing */
  assert_status(kv_get(at(store, v1), KV_DOCUMENTS, STR(""), &got), STATUS_INVALID_ARGUMENT);
  char *longest = calloc(1, KV_KEY_MAX_BYTES + 1);
  put(store, KV_INDEX, str_make(longest, KV_KEY_MAX_BYTES), STR("long"));
  expect(at(store, KV_LATEST), KV_INDEX, str_make(longest, KV_KEY_MAX_BYTES), "long");
  assert_status(kv_get(at(store, v1), KV_DOCUMENTS, str_make(longest, KV_KEY_MAX_BYTES + 1), &got),
                STATUS_INVALID_ARGUMENT);
  free(longest);
  kv_snapshot snapshot;
  assert_status(kv_snapshot_at(store, INT64_MAX, &snapshot), STATUS_FAILED_PRECONDITION);
  assert_status(kv_snapshot_at(store, 1, &snapshot), STATUS_FAILED_PRECONDITION);
  kv_close(store);
  store = open_store(test_number);
  assert_true(kv_newest_version(store) >= v3);
  expect(at(store, v1), KV_DOCUMENTS, STR("a"), "1");
  assert_true(put(store, KV_SYSTEM, STR("s"), STR("1")) > v3);
  kv_close(store);
}

static void test_batches(void **state) {
  (void)state;
  struct kv_store *store = open_store(++test_number);
  const struct write twice[] = {{KV_DOCUMENTS, STR("k"), false, STR("1")},
                                {KV_DOCUMENTS, STR("x"), false, STR("x")},
                                {KV_DOCUMENTS, STR("k"), true, {0}},
                                {KV_DOCUMENTS, STR("k"), false, STR("2")},
                                {KV_DOCUMENTS, STR("x"), true, {0}}};
  kv_version before = kv_newest_version(store);
  kv_version v = write_all(store, twice, 5);
  expect(at(store, KV_LATEST), KV_DOCUMENTS, STR("k"), "2");
  expect(at(store, KV_LATEST), KV_DOCUMENTS, STR("x"), NULL);
  struct kv_changes *changes;
  assert_ok(kv_changes_open(store, before, KV_LATEST, &changes));
  struct kv_change change;
  int seen = 0;
  while (kv_changes_next(changes, &change)) {
    assert_int_equal(change.version, v);
    assert_int_equal(change.deleted, str_eq(change.key, STR("x")));
    seen++;
  }
  assert_ok(kv_changes_status(changes));
  assert_int_equal(seen, 2); /* each key once */
  kv_changes_close(changes);
  /* An empty batch changes nothing and makes no version. */
  kv_version same = write_all(store, NULL, 0);
  assert_int_equal(same, v);
  assert_int_equal(kv_newest_version(store), v);
  kv_close(store);
}

/* Numbered keys read at once, in both orders and with gaps: a large value, a missing key, one that was
 * written often and many that were deleted lie between. */
static void test_neighbours(void **state) {
  (void)state;
  enum {
    COUNT = 300,
    LARGE = 70,
    MISSING = 15,
    OFTEN = 17,
    DELETED = 100,
    TIMES = 100,
    LARGE_BYTES = 100000
  };
  struct kv_store *store = open_store(++test_number);
  char names[COUNT][24];
  static struct write writes[COUNT];
  for (size_t i = 0; i < COUNT; i++) {
    snprintf(names[i], sizeof names[i], "things/%010zu", i * 10);
    writes[i] = (struct write){KV_DOCUMENTS, str_from_cstr(names[i]), i == MISSING, str_from_cstr(names[i])};
  }
  char *large = malloc(LARGE_BYTES);
  memset(large, 'l', LARGE_BYTES);
  writes[LARGE].value = str_make(large, LARGE_BYTES);
  kv_version first = write_all(store, writes, COUNT);
  for (int i = 0; i < TIMES; i++)
    put(store, KV_DOCUMENTS, writes[OFTEN].key, STR("again"));
  for (size_t i = DELETED; i < COUNT; i++)
    writes[i].deleted = true;
  write_all(store, writes + DELETED, COUNT - DELETED - 1);
  for (size_t stride = 1; stride < COUNT / 4; stride += stride / 2 + 1) {
    for (int way = 0; way < 4; way++) {
      bool is_old = way >= 2, reverse = way % 2 == 1;
      str keys[COUNT];
      struct kv_value got[COUNT];
      size_t count = (COUNT - 1) / stride + 1;
      for (size_t i = 0; i < count; i++)
        keys[reverse ? count - 1 - i : i] = writes[i * stride].key;
      assert_ok(kv_get_many(at(store, is_old ? first : KV_LATEST), KV_DOCUMENTS, count, keys, got));
      for (size_t i = 0; i < count; i++) {
        struct kv_value one;
        assert_ok(kv_get(at(store, is_old ? first : KV_LATEST), KV_DOCUMENTS, keys[i], &one));
        assert_int_equal(got[i].found, one.found);
        assert_true(str_eq(got[i].bytes, one.bytes) && got[i].version == one.version);
        kv_value_release(&one);
        kv_value_release(&got[i]);
      }
    }
  }
  free(large);
  kv_close(store);
}

/* Resolve sees the state before its own commit, also after it has written. */
static status alternating_resolve(void *argument, struct kv_reader *reader, kv_version version,
                                  struct kv_batch *batch) {
  (void)argument, (void)version;
  for (int i = 0; i < 3; i++) {
    char key[] = {(char)('a' + i)};
    kv_batch_put(batch, KV_DOCUMENTS, str_make(key, 1), STR("new"));
    struct kv_value got;
    STATUS_TRY(kv_reader_get(reader, KV_DOCUMENTS, str_make(key, 1), &got));
    bool is_old = got.found ? str_eq(got.bytes, STR("old")) : i != 1;
    kv_value_release(&got);
    if (!is_old)
      return status_make(STATUS_INTERNAL, "resolve saw its own write");
  }
  return status_ok();
}

static void test_reads_between_writes(void **state) {
  (void)state;
  struct kv_store *store = open_store(++test_number);
  put(store, KV_DOCUMENTS, STR("b"), STR("old"));
  kv_close(store);
  store = open_store(test_number); /* so that this is the first transaction of a store */
  struct kv_txn txn = {.resolve = alternating_resolve};
  kv_version version;
  assert_ok(kv_commit_wait(store, &txn, &version));
  expect(at(store, KV_LATEST), KV_DOCUMENTS, STR("b"), "new");
  kv_close(store);
}

static status refuse_resolve(void *argument, struct kv_reader *reader, kv_version version,
                             struct kv_batch *batch) {
  (void)argument, (void)reader, (void)version;
  kv_batch_put(batch, KV_DOCUMENTS, STR("half"), STR("1"));
  return status_make(STATUS_NOT_FOUND, "refused");
}

static status bad_key_resolve(void *argument, struct kv_reader *reader, kv_version version,
                              struct kv_batch *batch) {
  (void)argument, (void)reader, (void)version;
  kv_batch_put(batch, KV_DOCUMENTS, STR("half"), STR("1"));
  kv_batch_put(batch, KV_DOCUMENTS, STR(""), STR("1"));
  return status_ok();
}

static void test_refusals(void **state) {
  (void)state;
  struct kv_store *store = open_store(++test_number);
  struct kv_txn txn = {.resolve = refuse_resolve};
  assert_status(kv_commit_wait(store, &txn, NULL), STATUS_NOT_FOUND);
  txn.resolve = bad_key_resolve;
  assert_status(kv_commit_wait(store, &txn, NULL), STATUS_INVALID_ARGUMENT);
  expect(at(store, KV_LATEST), KV_DOCUMENTS, STR("half"), NULL);
  kv_close(store);
}

static status try_with(struct kv_store *store, kv_version read_version, const struct kv_key *key,
                       const struct kv_range *range) {
  struct write write = {KV_SYSTEM, STR("touched"), false, STR("1")};
  struct writes w = {.writes = &write, .count = 1};
  struct kv_txn txn = {.read_version = read_version,
                       .keys = key,
                       .key_count = key != NULL,
                       .ranges = range,
                       .range_count = range != NULL,
                       .resolve = writes_resolve,
                       .argument = &w};
  return kv_commit_wait(store, &txn, NULL);
}

static void test_conflicts(void **state) {
  (void)state;
  struct kv_store *store = open_store(++test_number);
  put(store, KV_DOCUMENTS, STR("m"), STR("1"));
  put(store, KV_DOCUMENTS, STR("d"), STR("1"));
  kv_version v = put(store, KV_DOCUMENTS, STR("z"), STR("1"));
  const struct kv_key m = {KV_DOCUMENTS, STR("m")}, d = {KV_DOCUMENTS, STR("d")},
                      none = {KV_DOCUMENTS, STR("none")}, other = {KV_INDEX, STR("m")};
  const struct kv_range all = {KV_DOCUMENTS, {0}, {0}}, low = {KV_DOCUMENTS, STR("a"), STR("e")},
                        middle = {KV_DOCUMENTS, STR("m"), STR("n")},
                        empty = {KV_DOCUMENTS, STR("n"), STR("m")}, end = {KV_DOCUMENTS, STR("n"), {0}};
  for (int i = 0; i < 3; i++) {
    assert_ok(try_with(store, v, &m, NULL));
    assert_ok(try_with(store, v, &none, NULL));
    assert_ok(try_with(store, v, NULL, &all));
    disturb(store, (unsigned)i);
  }
  put(store, KV_DOCUMENTS, STR("m"), STR("2"));
  for (unsigned i = 0; i < 3; i++) {
    assert_status(try_with(store, v, &m, NULL), STATUS_ABORTED);
    assert_ok(try_with(store, v, &d, NULL));
    assert_ok(try_with(store, v, &other, NULL));
    assert_ok(try_with(store, KV_LATEST, &m, NULL));
    assert_status(try_with(store, v, NULL, &all), STATUS_ABORTED);
    assert_status(try_with(store, v, NULL, &middle), STATUS_ABORTED);
    assert_ok(try_with(store, v, NULL, &low));
    assert_ok(try_with(store, v, NULL, &empty));
    assert_ok(try_with(store, v, NULL, &end));
    disturb(store, i);
  }
  kv_version after = del(store, KV_DOCUMENTS, STR("d"));
  for (unsigned i = 0; i < 3; i++) {
    assert_status(try_with(store, v, &d, NULL), STATUS_ABORTED); /* a deletion counts */
    assert_status(try_with(store, v, NULL, &low), STATUS_ABORTED);
    assert_ok(try_with(store, after, NULL, &all));
    disturb(store, i);
  }
  put(store, KV_DOCUMENTS, STR("none"), STR("1")); /* a phantom */
  assert_status(try_with(store, after, &none, NULL), STATUS_ABORTED);
  assert_status(try_with(store, after, NULL, &end), STATUS_ABORTED);
  kv_close(store);
}

/* ---- Many threads ---- */

enum { COUNTERS = 5, COUNTING_THREADS = 8, COUNTS = 150 };

struct counting {
  struct kv_store *store;
  unsigned seed;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int open, done, aborted;
  kv_version last_done;
};

struct counted {
  struct counting *owner;
  struct kv_txn txn;
  struct kv_key key;
  char name[2];
  bool checked;
  int done_calls;
};

static status counted_resolve(void *argument, struct kv_reader *reader, kv_version version,
                              struct kv_batch *batch) {
  struct counted *c = argument;
  struct kv_value got;
  (void)version;
  STATUS_TRY(kv_reader_get(reader, KV_DOCUMENTS, c->key.key, &got));
  unsigned n = 0;
  if (got.found)
    memcpy(&n, got.bytes.ptr, sizeof n);
  kv_value_release(&got);
  n++;
  kv_batch_put(batch, KV_DOCUMENTS, c->key.key, str_make(&n, sizeof n));
  kv_batch_put(batch, KV_INDEX, c->key.key, str_make(&n, sizeof n));
  return status_ok();
}

/* Every version has the same in both spaces. */
static void check_counted(kv_snapshot snapshot, str key) {
  struct kv_value document, index;
  assert_ok(kv_get(snapshot, KV_DOCUMENTS, key, &document));
  assert_ok(kv_get(snapshot, KV_INDEX, key, &index));
  assert_true(document.found == index.found && document.version == index.version &&
              str_eq(document.bytes, index.bytes));
  kv_value_release(&document);
  kv_value_release(&index);
}

static void counted_done(void *argument, status result, kv_version version) {
  struct counted *c = argument;
  struct counting *owner = c->owner;
  if (status_is_ok(&result)) { /* it is visible by now */
    kv_snapshot snapshot;
    struct kv_value got;
    assert_ok(kv_snapshot_at(owner->store, KV_LATEST, &snapshot));
    assert_true(snapshot.version >= version);
    assert_ok(kv_get(snapshot, KV_DOCUMENTS, c->key.key, &got));
    assert_true(got.found && got.version >= version);
    kv_value_release(&got);
    check_counted(snapshot, c->key.key);
    assert_ok(kv_snapshot_at(owner->store, version, &snapshot));
    check_counted(snapshot, c->key.key);
  }
  pthread_mutex_lock(&owner->lock);
  assert_int_equal(++c->done_calls, 1);
  if (status_is_ok(&result)) {
    assert_true(version > owner->last_done); /* answers come in the order of versions */
    owner->last_done = version;
    owner->done++;
  } else {
    assert_int_equal(result.code, STATUS_ABORTED);
    assert_true(c->checked);
    owner->aborted++;
  }
  owner->open--;
  pthread_cond_broadcast(&owner->changed);
  pthread_mutex_unlock(&owner->lock);
}

static void *count_main(void *argument) {
  struct counting *owner = argument;
  struct counted *all = calloc(COUNTS, sizeof *all);
  pthread_mutex_lock(&owner->lock);
  unsigned seed = owner->seed++;
  pthread_mutex_unlock(&owner->lock);
  for (int i = 0; i < COUNTS; i++) {
    struct counted *c = &all[i];
    c->owner = owner;
    c->name[0] = (char)('a' + rand_r(&seed) % COUNTERS);
    c->key = (struct kv_key){KV_DOCUMENTS, str_make(c->name, 1)};
    c->txn = (struct kv_txn){.resolve = counted_resolve, .done = counted_done, .argument = c};
    c->checked = rand_r(&seed) % 4 == 0;
    if (c->checked) {
      c->txn.read_version = kv_newest_version(owner->store);
      c->txn.keys = &c->key;
      c->txn.key_count = 1;
    }
    pthread_mutex_lock(&owner->lock);
    owner->open++;
    pthread_mutex_unlock(&owner->lock);
    kv_commit(owner->store, &c->txn);
  }
  pthread_mutex_lock(&owner->lock);
  while (owner->open > 0)
    pthread_cond_wait(&owner->changed, &owner->lock);
  pthread_mutex_unlock(&owner->lock);
  free(all);
  return NULL;
}

static void test_threads(void **state) {
  (void)state;
  struct counting owner = {.store = open_store(++test_number), .seed = 1};
  pthread_mutex_init(&owner.lock, NULL);
  pthread_cond_init(&owner.changed, NULL);
  pthread_t threads[COUNTING_THREADS];
  for (int i = 0; i < COUNTING_THREADS; i++)
    pthread_create(&threads[i], NULL, count_main, &owner);
  for (int i = 0; i < COUNTING_THREADS; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(owner.done + owner.aborted, COUNTING_THREADS * COUNTS);
  int sum = 0;
  for (int i = 0; i < COUNTERS; i++) {
    char name = (char)('a' + i);
    struct kv_value got;
    int n = 0;
    assert_ok(kv_get(at(owner.store, KV_LATEST), KV_DOCUMENTS, str_make(&name, 1), &got));
    if (got.found)
      memcpy(&n, got.bytes.ptr, sizeof n);
    kv_value_release(&got);
    sum += n;
  }
  assert_int_equal(sum, owner.done); /* none lost, none twice */
  struct kv_info info;
  kv_info(owner.store, &info);
  assert_int_equal(info.commits, owner.done);
  assert_true(info.groups <= info.commits);
  kv_close(owner.store);
  pthread_cond_destroy(&owner.changed);
  pthread_mutex_destroy(&owner.lock);
}

/* ---- Phantoms ---- */

/* Threads book seats: each counts those that are taken, and takes another if there are fewer than there may
 * be. What others write elsewhere in between, `noise` keys at a time, makes drivers validate in other ways.
 */
enum { SEATS = 24, BOOKING_THREADS = 8 };

struct booking {
  struct kv_store *store;
  size_t noise;
  pthread_mutex_t lock;
  unsigned next_seat, conflicts;
  pthread_barrier_t seen; /* all have seen the seats once before anybody takes one, so they meet */
};

static status noise_resolve(void *argument, struct kv_reader *reader, kv_version version,
                            struct kv_batch *batch) {
  const struct booking *b = argument;
  (void)reader, (void)version;
  for (size_t i = 0; i < b->noise; i++) {
    char key[16];
    int len = snprintf(key, sizeof key, "noise%zu", i);
    kv_batch_put(batch, KV_INDEX, str_make(key, (size_t)len), (str){0});
  }
  return status_ok();
}

static unsigned seats_taken(kv_snapshot snapshot) {
  struct kv_iter *iter;
  assert_ok(kv_iter_open(snapshot, KV_DOCUMENTS, STR("seat/"), STR("seat0"), false, &iter));
  unsigned count = 0;
  while (kv_iter_next(iter))
    count++;
  assert_ok(kv_iter_status(iter));
  kv_iter_close(iter);
  return count;
}

static status book(struct booking *b, kv_snapshot seen, unsigned seat) {
  char key[32];
  int len = snprintf(key, sizeof key, "seat/%u", seat);
  struct write write = {KV_DOCUMENTS, str_make(key, (size_t)len), false, STR("taken")};
  struct writes w = {.writes = &write, .count = 1};
  struct kv_range range = {KV_DOCUMENTS, STR("seat/"), STR("seat0")};
  struct kv_txn txn = {.read_version = seen.version,
                       .ranges = &range,
                       .range_count = 1,
                       .resolve = writes_resolve,
                       .argument = &w};
  return kv_commit_wait(b->store, &txn, NULL);
}

static void *booking_main(void *argument) {
  struct booking *b = argument;
  for (unsigned attempt = 0;; attempt++) {
    kv_snapshot seen = at(b->store, KV_LATEST);
    if (seats_taken(seen) >= SEATS)
      return NULL;
    if (attempt == 0)
      pthread_barrier_wait(&b->seen);
    if (b->noise > 0 && attempt % (b->noise > 10000 ? 16 : 4) == 0) {
      struct kv_txn noise = {.resolve = noise_resolve, .argument = b};
      assert_ok(kv_commit_wait(b->store, &noise, NULL));
    }
    pthread_mutex_lock(&b->lock);
    unsigned seat = b->next_seat++;
    pthread_mutex_unlock(&b->lock);
    status s = book(b, seen, seat);
    if (s.code != STATUS_OK)
      assert_status(s, STATUS_ABORTED);
    pthread_mutex_lock(&b->lock);
    b->conflicts += s.code == STATUS_ABORTED;
    pthread_mutex_unlock(&b->lock);
  }
}

static void test_phantoms(void **state) {
  (void)state;
  static const size_t noises[] = {0, 4000, 40000};
  for (size_t i = 0; i < sizeof noises / sizeof noises[0]; i++) {
    struct booking b = {.store = open_store(++test_number), .noise = noises[i]};
    pthread_mutex_init(&b.lock, NULL);
    pthread_barrier_init(&b.seen, NULL, BOOKING_THREADS);
    pthread_t threads[BOOKING_THREADS];
    for (size_t t = 0; t < BOOKING_THREADS; t++)
      assert_int_equal(pthread_create(&threads[t], NULL, booking_main, &b), 0);
    for (size_t t = 0; t < BOOKING_THREADS; t++)
      pthread_join(threads[t], NULL);
    assert_int_equal(seats_taken(at(b.store, KV_LATEST)), SEATS);
    assert_true(b.conflicts > 0); /* they did meet */
    pthread_barrier_destroy(&b.seen);
    pthread_mutex_destroy(&b.lock);
    kv_close(b.store);
  }
}

/* ---- A random life against a model ---- */

enum { MODEL_KEYS = 48, MODEL_STEPS = 600 };

struct entry {
  kv_version version;
  bool deleted;
  unsigned value; /* its length and bytes follow from it */
};

struct history {
  struct entry *entries;
  size_t count;
};

struct model {
  struct kv_store *store;
  uint64_t random;
  char names[MODEL_KEYS][8]; /* in order */
  str keys[MODEL_KEYS];
  struct history of[KV_SPACE_COUNT][MODEL_KEYS];
  kv_version *versions; /* of all commits */
  size_t version_count;
  unsigned values;
};

static unsigned pick(struct model *m, unsigned below) {
  m->random ^= m->random << 13;
  m->random ^= m->random >> 7;
  m->random ^= m->random << 17;
  return (unsigned)(m->random >> 20) % below;
}

static int by_bytes(const void *a, const void *b) {
  return str_cmp(*(const str *)a, *(const str *)b);
}

/* Keys that are easily confused: prefixes of each other, with bytes 0 and 255 at the end. */
static void model_keys(struct model *m) {
  static const char alphabet[] = {'\0', '\1', 'a', 'b', '\x7f', '\x80', '\xff'};
  for (size_t i = 0; i < MODEL_KEYS;) {
    size_t len = 1 + pick(m, 7);
    for (size_t k = 0; k < len; k++)
      m->names[i][k] = alphabet[pick(m, k < 2 ? 3 : sizeof alphabet)];
    m->keys[i] = str_make(m->names[i], len);
    bool is_new = true;
    for (size_t k = 0; k < i; k++)
      is_new = is_new && !str_eq(m->keys[i], m->keys[k]);
    i += is_new;
  }
  qsort(m->keys, MODEL_KEYS, sizeof m->keys[0], by_bytes);
}

static str value_bytes(unsigned value, char *buffer) {
  size_t len = value % 5 == 0 ? value % 3000 : value % 40;
  for (size_t i = 0; i < len; i++)
    buffer[i] = (char)(value * 31 + i);
  return str_make(buffer, len);
}

static const struct entry *model_get(const struct model *m, unsigned space, size_t key, kv_version version) {
  const struct history *h = &m->of[space][key];
  for (size_t i = h->count; i > 0; i--)
    if (h->entries[i - 1].version <= version)
      return h->entries[i - 1].deleted ? NULL : &h->entries[i - 1];
  return NULL;
}

static void model_commit(struct model *m) {
  static char buffers[6][3000];
  struct write writes[6];
  unsigned spaces[6], keys[6], values[6];
  size_t count = 1 + pick(m, 6);
  for (size_t i = 0; i < count; i++) {
    spaces[i] = pick(m, KV_SPACE_COUNT);
    keys[i] = pick(m, MODEL_KEYS);
    values[i] = m->values++;
    writes[i] = (struct write){(enum kv_space)spaces[i], m->keys[keys[i]], pick(m, 3) == 0,
                               value_bytes(values[i], buffers[i])};
  }
  kv_version version = write_all(m->store, writes, count);
  assert_true(m->version_count == 0 || version > m->versions[m->version_count - 1]);
  m->versions = realloc(m->versions, (m->version_count + 1) * sizeof *m->versions);
  m->versions[m->version_count++] = version;
  for (size_t i = 0; i < count; i++) {
    struct history *h = &m->of[spaces[i]][keys[i]];
    if (h->count == 0 || h->entries[h->count - 1].version != version) {
      h->entries = realloc(h->entries, (h->count + 1) * sizeof *h->entries);
      h->count++;
    }
    h->entries[h->count - 1] = (struct entry){version, writes[i].deleted, values[i]};
  }
}

/* Any version that can be read, near the end more often than not. */
static kv_version any_version(struct model *m) {
  if (m->version_count == 0 || pick(m, 3) == 0)
    return kv_newest_version(m->store);
  kv_version version = m->versions[m->version_count - 1 - pick(m, (unsigned)m->version_count)];
  version -= pick(m, 4) == 0;
  kv_version oldest = kv_oldest_version(m->store);
  return version < oldest ? oldest : version;
}

static void check_entry(const struct entry *expected, str bytes, kv_version version) {
  char buffer[3000];
  assert_non_null(expected);
  str wanted = value_bytes(expected->value, buffer);
  assert_int_equal(bytes.len, wanted.len);
  if (wanted.len > 0)
    assert_memory_equal(bytes.ptr, wanted.ptr, wanted.len);
  assert_int_equal(version, expected->version);
}

static void check_value(const struct entry *expected, struct kv_value *got) {
  assert_int_equal(got->found, expected != NULL);
  if (expected != NULL)
    check_entry(expected, got->bytes, got->version);
  kv_value_release(got);
}

static void model_check_gets(struct model *m) {
  kv_version version = any_version(m);
  kv_snapshot snapshot = at(m->store, version);
  unsigned space = pick(m, KV_SPACE_COUNT);
  struct kv_value got;
  for (int i = 0; i < 8; i++) {
    size_t key = pick(m, MODEL_KEYS);
    assert_ok(kv_get(snapshot, (enum kv_space)space, m->keys[key], &got));
    check_value(model_get(m, space, key, version), &got);
  }
  struct kv_value many[MODEL_KEYS * 2];
  str keys[MODEL_KEYS * 2];
  for (size_t i = 0; i < MODEL_KEYS * 2; i++)
    keys[i] = m->keys[i * 7 % MODEL_KEYS];
  size_t count = pick(m, MODEL_KEYS * 2 + 1);
  assert_ok(kv_get_many(snapshot, (enum kv_space)space, count, keys, many));
  for (size_t i = 0; i < count; i++)
    check_value(model_get(m, space, i * 7 % MODEL_KEYS, version), &many[i]);
}

/* Keys in order, up or down: a driver may read neighbours together. */
static void model_check_neighbours(struct model *m) {
  kv_version version = any_version(m);
  unsigned space = pick(m, KV_SPACE_COUNT);
  size_t stride = 1 + pick(m, 4), start = pick(m, MODEL_KEYS), count = 0, at_keys[MODEL_KEYS];
  bool reverse = pick(m, 2) == 0;
  str keys[MODEL_KEYS];
  struct kv_value many[MODEL_KEYS];
  for (size_t i = start; i < MODEL_KEYS; i += stride)
    at_keys[count++] = reverse ? MODEL_KEYS - 1 - i : i;
  for (size_t i = 0; i < count; i++)
    keys[i] = m->keys[at_keys[i]];
  assert_ok(kv_get_many(at(m->store, version), (enum kv_space)space, count, keys, many));
  for (size_t i = 0; i < count; i++)
    check_value(model_get(m, space, at_keys[i], version), &many[i]);
}

static str any_bound(struct model *m) {
  return pick(m, 4) == 0 ? (str){0} : m->keys[pick(m, MODEL_KEYS)];
}

/* The first key in the scan's direction from index `from` that is there and within the bounds, or -1. */
static int model_scan(struct model *m, unsigned space, int from, bool reverse, str lower, str upper,
                      kv_version version) {
  for (int i = from; i >= 0 && i < MODEL_KEYS; i += reverse ? -1 : 1)
    if (str_cmp(m->keys[i], lower) >= 0 && (upper.len == 0 || str_cmp(m->keys[i], upper) < 0) &&
        model_get(m, space, (size_t)i, version) != NULL)
      return i;
  return -1;
}

static void model_check_scan(struct model *m) {
  kv_version version = any_version(m);
  unsigned space = pick(m, KV_SPACE_COUNT);
  bool reverse = pick(m, 2) == 0;
  str lower = any_bound(m), upper = any_bound(m);
  struct kv_iter *iter;
  assert_ok(kv_iter_open(at(m->store, version), (enum kv_space)space, lower, upper, reverse, &iter));
  int position = reverse ? MODEL_KEYS : -1;
  for (int moves = 0; moves < MODEL_KEYS + 4; moves++) {
    bool moved;
    if (pick(m, 10) == 0) {
      position = (int)pick(m, MODEL_KEYS);
      moved = kv_iter_seek(iter, m->keys[position]);
    } else {
      position += reverse ? -1 : 1;
      moved = kv_iter_next(iter);
    }
    position = model_scan(m, space, position, reverse, lower, upper, version);
    assert_ok(kv_iter_status(iter));
    assert_int_equal(moved, position >= 0);
    if (!moved) {
      assert_false(kv_iter_next(iter)); /* and stays there */
      break;
    }
    assert_true(str_eq(kv_iter_key(iter), m->keys[position]));
    check_entry(model_get(m, space, (size_t)position, version), kv_iter_value(iter), kv_iter_version(iter));
    if (pick(m, 20) == 0)
      model_commit(m); /* a scan does not see what comes after its snapshot */
  }
  kv_iter_close(iter);
}

static void model_check_changes(struct model *m) {
  if (m->version_count == 0)
    return;
  struct kv_info info;
  kv_info(m->store, &info);
  size_t first = pick(m, (unsigned)m->version_count), last = pick(m, (unsigned)m->version_count);
  kv_version since = m->versions[first], until = m->versions[last];
  if (since > until)
    return;
  struct kv_changes *changes;
  if (since < info.oldest_change) {
    assert_status(kv_changes_open(m->store, since, until, &changes), STATUS_OUT_OF_RANGE);
    return;
  }
  assert_ok(kv_changes_open(m->store, since, until, &changes));
  size_t expected = 0, seen = 0;
  for (size_t key = 0; key < MODEL_KEYS; key++)
    for (size_t i = 0; i < m->of[KV_DOCUMENTS][key].count; i++) {
      kv_version version = m->of[KV_DOCUMENTS][key].entries[i].version;
      expected += version > since && version <= until;
    }
  struct kv_change change;
  kv_version before = since;
  while (kv_changes_next(changes, &change)) {
    assert_true(change.version >= before && change.version > since && change.version <= until);
    before = change.version;
    size_t key = 0;
    while (key < MODEL_KEYS && !str_eq(m->keys[key], change.key))
      key++;
    assert_true(key < MODEL_KEYS && change.space == KV_DOCUMENTS);
    const struct entry *now = model_get(m, KV_DOCUMENTS, key, change.version);
    assert_int_equal(change.deleted, now == NULL);
    assert_true(now == NULL || now->version == change.version);
    seen++;
  }
  assert_ok(kv_changes_status(changes));
  assert_int_equal(seen, expected);
  kv_changes_close(changes);
}

static void model_check_conflict(struct model *m) {
  unsigned space = pick(m, KV_SPACE_COUNT);
  kv_version since = any_version(m);
  str lower = any_bound(m), upper = any_bound(m);
  bool changed = false;
  for (size_t key = 0; key < MODEL_KEYS; key++) {
    const struct history *h = &m->of[space][key];
    if (h->count > 0 && h->entries[h->count - 1].version > since && str_cmp(m->keys[key], lower) >= 0 &&
        (upper.len == 0 || str_cmp(m->keys[key], upper) < 0))
      changed = true;
  }
  struct writes w = {0};
  struct kv_range range = {(enum kv_space)space, lower, upper};
  struct kv_txn txn = {
      .read_version = since, .ranges = &range, .range_count = 1, .resolve = writes_resolve, .argument = &w};
  assert_status(kv_commit_wait(m->store, &txn, NULL), changed ? STATUS_ABORTED : STATUS_OK);
  size_t key = pick(m, MODEL_KEYS);
  const struct history *h = &m->of[space][key];
  struct kv_key one = {(enum kv_space)space, m->keys[key]};
  txn.range_count = 0;
  txn.keys = &one;
  txn.key_count = 1;
  changed = h->count > 0 && h->entries[h->count - 1].version > since;
  assert_status(kv_commit_wait(m->store, &txn, NULL), changed ? STATUS_ABORTED : STATUS_OK);
}

static void model_check_too_old(struct model *m) {
  kv_snapshot snapshot;
  assert_status(kv_snapshot_at(m->store, kv_oldest_version(m->store) - 1, &snapshot),
                STATUS_FAILED_PRECONDITION);
}

static void life(uint64_t seed) {
  struct model *m = calloc(1, sizeof *m);
  m->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
  model_keys(m);
  int test = ++test_number;
  m->store = open_store(test);
  for (int step = 0; step < MODEL_STEPS; step++) {
    unsigned what = pick(m, 100);
    if (what < 40)
      model_commit(m);
    else if (what < 50)
      model_check_gets(m);
    else if (what < 55)
      model_check_neighbours(m);
    else if (what < 75)
      model_check_scan(m);
    else if (what < 82)
      model_check_changes(m);
    else if (what < 90)
      model_check_conflict(m);
    else if (what < 91)
      model_check_too_old(m);
    else if (what < 98)
      disturb(m->store, pick(m, 1000));
    else {
      kv_close(m->store);
      m->store = open_store(test);
    }
  }
  uint64_t damages = 1;
  assert_ok(kv_verify(m->store, NULL, NULL, &damages));
  assert_int_equal(damages, 0);
  kv_close(m->store);
  for (unsigned space = 0; space < KV_SPACE_COUNT; space++)
    for (size_t key = 0; key < MODEL_KEYS; key++)
      free(m->of[space][key].entries);
  free(m->versions);
  free(m);
}

static void test_random(void **state) {
  (void)state;
  const char *given = getenv("KV_SEED");
  uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)getpid() * 1000;
  for (int round = 0; round < suite->rounds; round++, seed++) {
    printf("random life: KV_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    life(seed);
  }
}

int kv_conformance_run(const struct kv_conformance *conformance) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_basics),   cmocka_unit_test(test_reads_between_writes),
      cmocka_unit_test(test_batches),  cmocka_unit_test(test_neighbours),
      cmocka_unit_test(test_refusals), cmocka_unit_test(test_conflicts),
      cmocka_unit_test(test_threads),  cmocka_unit_test(test_phantoms),
      cmocka_unit_test(test_random),
  };
  suite = conformance;
  test_number = 0;
  return cmocka_run_group_tests_name(conformance->name, tests, NULL, NULL);
}
