/* Building, dropping, TTL and verify on a real store. What is right is judged by index_verify, which compares
 * every document's entries (index_visit) with what is stored; that it finds what is wrong is tested here too.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/limits.h"
#include "ports/port.h"
#include "storage/document/key.h"
#include "storage/index/build.h"
#include "storage/index/derive.h"
#include "storage/index/set.h"
#include "storage/index/verify.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

#define ROOT "projects/p/databases/(default)/documents/"

struct fixture {
  char directory[64];
  struct kv_store *store;
  struct index_set *set;
};

static void open_store(struct fixture *f) {
  struct kv_rocksdb_options options = {
      .directory = f->directory, .memory_bytes = 4 << 20, .clock_trusted = true, .sync = KV_SYNC_RELAXED};
  assert_status_ok(kv_rocksdb_open(&options, &f->store));
}
static void open_all(struct fixture *f) {
  open_store(f);
  assert_status_ok(index_set_open(f->store, &f->set));
}
static void close_all(struct fixture *f) {
  index_set_close(f->set);
  f->set = NULL;
  kv_close(f->store);
}

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  test_directory_make(f->directory);
  open_all(f);
  *state = f;
  return 0;
}
static int tear_down(void **state) {
  struct fixture *f = *state;
  close_all(f);
  test_directory_remove(f->directory);
  free(f);
  return 0;
}

static void apply(struct fixture *f, const char *json) {
  struct arena arena;
  struct index_definitions definitions;
  arena_init(&arena, NULL, 0, 16 << 20);
  assert_status_ok(index_definitions_parse(str_from_cstr(json), &arena, &definitions));
  assert_status_ok(index_set_apply(f->set, &definitions));
  arena_fini(&arena);
}

/* ---- Commits ---- */

struct waiter {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool done;
  status result;
};

static void wake(struct doc_commit *commit, status result, kv_version version) {
  (void)version;
  struct waiter *waiter = commit->user;
  pthread_mutex_lock(&waiter->lock);
  waiter->result = result;
  waiter->done = true;
  pthread_cond_signal(&waiter->changed);
  pthread_mutex_unlock(&waiter->lock);
}

/* One document set, or deleted if `fields` is NULL. Without a set: as a store of before indexes. */
static status commit(struct kv_store *store, struct index_set *set, const char *path,
                     const struct doc_map *fields) {
  struct waiter waiter = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  struct arena arena;
  arena_init(&arena, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  struct doc_write write = {.kind = fields == NULL ? DOC_WRITE_DELETE : DOC_WRITE_SET};
  if (fields != NULL)
    write.fields = *fields;
  struct doc_derive derive = index_derive(set);
  struct doc_commit one = {.writes = &write,
                           .write_count = 1,
                           .limits = DOC_LIMITS_DEFAULT,
                           .arena = &arena,
                           .done = wake,
                           .user = &waiter,
                           .derive = set == NULL ? NULL : &derive};
  char name[256];
  snprintf(name, sizeof name, ROOT "%s", path);
  status s = doc_path_parse_document(str_from_cstr(name), &write.path);
  if (status_is_ok(&s))
    s = doc_commit_prepare(&one);
  if (status_is_ok(&s)) {
    doc_commit_start(store, &one);
    pthread_mutex_lock(&waiter.lock);
    while (!waiter.done)
      pthread_cond_wait(&waiter.changed, &waiter.lock);
    pthread_mutex_unlock(&waiter.lock);
    s = waiter.result;
  }
  arena_fini(&arena);
  return s;
}

static struct doc_value integer(int64_t n) {
  return (struct doc_value){.type = DOC_INTEGER, .as.integer = n};
}
static struct doc_value timestamp(int64_t us) {
  return (struct doc_value){.type = DOC_TIMESTAMP, .as.timestamp_us = us};
}

static unsigned next_random(unsigned *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

/* A random change to one of a few hundred documents. */
static void commit_random(struct kv_store *store, struct index_set *set, unsigned *seed) {
  static const char *const collections[] = {"c", "d", "e/x/c", "e/y/c"};
  char path[64];
  snprintf(path, sizeof path, "%s/%u", collections[next_random(seed) % 4], next_random(seed) % 80);
  if (next_random(seed) % 8 == 0) {
    assert_status_ok(commit(store, set, path, NULL));
    return;
  }
  struct doc_value elements[3];
  for (size_t i = 0; i < 3; i++)
    elements[i] = integer(next_random(seed) % 5);
  struct doc_field inside[] = {{STR("x"), integer(next_random(seed) % 3)}};
  struct doc_field fields[] = {
      {STR("a"), integer(next_random(seed) % 10)},
      {STR("b"), {.type = DOC_STRING, .as.text = STR("text")}},
      {STR("m"), {.type = DOC_MAP, .as.map = {inside, 1}}},
      {STR("tags"), {.type = DOC_ARRAY, .as.array = {elements, next_random(seed) % 4}}},
  };
  struct doc_map map = {fields + next_random(seed) % 2, 0};
  map.count = 3;
  assert_status_ok(commit(store, set, path, &map));
}

static void commit_many(struct kv_store *store, struct index_set *set, unsigned seed, unsigned count) {
  for (unsigned i = 0; i < count; i++)
    commit_random(store, set, &seed);
}

/* ---- Judging ---- */

static void print_report(void *argument, str text) {
  (void)argument;
  print_message(STR_FMT "\n", STR_ARG(text));
}

static struct index_verification verify(struct fixture *f, void (*report)(void *argument, str text),
                                        void *argument) {
  struct index_catalog *catalog = index_set_current(f->set);
  struct index_verification result = {0};
  assert_status_ok(index_verify(f->store, catalog, report, argument, &result));
  index_catalog_unref(catalog);
  return result;
}

static void assert_whole(struct fixture *f) {
  struct index_verification result = verify(f, print_report, NULL);
  assert_int_equal(result.missing, 0);
  assert_int_equal(result.superfluous, 0);
  assert_int_equal(result.wrong, 0);
  assert_int_equal(result.unreadable, 0);
}

static void assert_all_ready(struct fixture *f) {
  struct index_catalog *catalog = index_set_current(f->set);
  assert_false(index_ledger_is_building(&catalog->ledger));
  assert_false(index_ledger_is_retiring(&catalog->ledger));
  assert_false(catalog->ledger.sweep);
  index_catalog_unref(catalog);
}

static void work(struct fixture *f) {
  struct index_worker_options options = {.store = f->store, .set = f->set};
  assert_status_ok(index_work_all(&options));
  assert_all_ready(f);
}

/* Entries whose keys begin with `prefix`. */
static size_t count_entries(struct fixture *f, str prefix) {
  kv_snapshot snapshot;
  struct kv_iter *iter;
  size_t count = 0;
  assert_status_ok(kv_snapshot_at(f->store, KV_LATEST, &snapshot));
  assert_status_ok(kv_iter_open(snapshot, KV_INDEX, prefix, (str){NULL, 0}, false, &iter));
  while (kv_iter_next(iter) && str_has_prefix(kv_iter_key(iter), prefix))
    count++;
  kv_iter_close(iter);
  return count;
}

struct entry_change {
  str deleted, put, value;
};

static status change_entries(void *argument, struct kv_reader *reader, kv_version version,
                             struct kv_batch *batch) {
  (void)reader, (void)version;
  const struct entry_change *change = argument;
  if (change->deleted.len > 0)
    kv_batch_delete(batch, KV_INDEX, change->deleted);
  if (change->put.len > 0)
    kv_batch_put(batch, KV_INDEX, change->put, change->value);
  return status_ok();
}

static void change_entry(struct fixture *f, struct entry_change change) {
  struct kv_txn txn = {.resolve = change_entries, .argument = &change};
  kv_version version;
  assert_status_ok(kv_commit_wait(f->store, &txn, &version));
}

/* The first entry whose key begins with `prefix`, in memory from malloc. */
static struct buf first_entry(struct fixture *f, str prefix, struct buf *ret_value) {
  kv_snapshot snapshot;
  struct kv_iter *iter;
  struct buf key = {0};
  assert_status_ok(kv_snapshot_at(f->store, KV_LATEST, &snapshot));
  assert_status_ok(kv_iter_open(snapshot, KV_INDEX, prefix, (str){NULL, 0}, false, &iter));
  assert_true(kv_iter_next(iter));
  assert_true(str_has_prefix(kv_iter_key(iter), prefix));
  buf_append_str(&key, kv_iter_key(iter));
  buf_append_str(ret_value, kv_iter_value(iter));
  kv_iter_close(iter);
  return key;
}

#define COMPOSITES                                                                                           \
  "{\"collectionGroup\":\"c\",\"queryScope\":\"COLLECTION\",\"fields\":[{\"fieldPath\":\"a\",\"order\":"     \
  "\"ASCENDING\"},{\"fieldPath\":\"b\",\"order\":\"DESCENDING\"}]},"                                         \
  "{\"collectionGroup\":\"c\",\"queryScope\":\"COLLECTION_GROUP\",\"fields\":[{\"fieldPath\":\"tags\","      \
  "\"arrayConfig\":\"CONTAINS\"},{\"fieldPath\":\"m.x\",\"order\":\"ASCENDING\"}]}"
#define OVERRIDES                                                                                            \
  "{\"collectionGroup\":\"c\",\"fieldPath\":\"a\",\"indexes\":[{\"queryScope\":\"COLLECTION_GROUP\","        \
  "\"order\":"                                                                                               \
  "\"ASCENDING\"}]},{\"collectionGroup\":\"d\",\"fieldPath\":\"*\",\"indexes\":[]}"

static void what_is_new_is_built(void **state) {
  struct fixture *f = *state;
  commit_many(f->store, f->set, 1, 600);
  assert_whole(f);
  apply(f, "{\"indexes\":[" COMPOSITES "],\"fieldOverrides\":[" OVERRIDES "]}");
  assert_int_equal(count_entries(f, STR("\x03")), 0);
  work(f);
  assert_true(count_entries(f, STR("\x03\0\0\0\1")) > 20);
  assert_true(count_entries(f, STR("\x03\0\0\0\2")) > 20);
  assert_true(count_entries(f, STR("\x02")) > 20);
  assert_whole(f);
  commit_many(f->store, f->set, 2, 300);
  assert_whole(f);
}

static void what_goes_is_deleted(void **state) {
  struct fixture *f = *state;
  apply(f, "{\"indexes\":[" COMPOSITES "],\"fieldOverrides\":[" OVERRIDES "]}");
  commit_many(f->store, f->set, 3, 600);
  work(f);
  size_t single = count_entries(f, STR("\x01"));
  apply(f, "{}");
  commit_many(f->store, f->set, 4, 50);
  work(f);
  assert_int_equal(count_entries(f, STR("\x03")), 0);
  assert_int_equal(count_entries(f, STR("\x02")), 0);
  assert_true(count_entries(f, STR("\x01")) > single); /* the exemptions are gone too */
  assert_whole(f);
  apply(f, "{\"fieldOverrides\":[{\"collectionGroup\":\"c\",\"fieldPath\":\"*\",\"indexes\":[]},"
           "{\"collectionGroup\":\"d\",\"fieldPath\":\"*\",\"indexes\":[]}]}");
  work(f);
  assert_int_equal(count_entries(f, STR("\x01")), 0);
  assert_whole(f);
}

static status retire(void *argument, struct index_ledger *ledger, kv_version version, struct arena *arena,
                     bool *ret_changed) {
  (void)argument, (void)version, (void)arena;
  *ret_changed = index_ledger_retire(ledger);
  return status_ok();
}

static void what_comes_back_meets_no_old_entries(void **state) {
  struct fixture *f = *state;
  commit_many(f->store, f->set, 9, 300);
  apply(f, "{\"fieldOverrides\":[" OVERRIDES "]}");
  struct index_change change = {retire, NULL};
  assert_status_ok(index_set_change(f->set, &change));
  commit_many(f->store, f->set, 10, 300); /* old entries of `a` stay where they are */
  apply(f, "{}");
  commit_many(f->store, f->set, 11, 100);
  work(f);
  assert_whole(f);
}

static void an_older_store_gets_its_indexes(void **state) {
  struct fixture *f = *state;
  close_all(f);
  test_directory_remove(f->directory);
  open_store(f);
  commit_many(f->store, NULL, 5, 600);
  assert_status_ok(index_set_open(f->store, &f->set));
  commit_many(f->store, f->set, 6, 30);
  assert_int_equal(verify(f, NULL, NULL).missing, 0); /* what is being built may be missing */
  work(f);
  assert_true(count_entries(f, STR("\x04")) > 100);
  assert_whole(f);
}

static void a_document_that_cannot_be_indexed_keeps_the_index_back(void **state) {
  struct fixture *f = *state;
  enum { ELEMENTS = 21000 }; /* half of the entries that a document may have, and a composite index more */
  struct doc_value *elements = calloc(ELEMENTS, sizeof *elements);
  for (int i = 0; i < ELEMENTS; i++)
    elements[i] = integer(i);
  struct doc_field fields[] = {{STR("m"), integer(1)},
                               {STR("tags"), {.type = DOC_ARRAY, .as.array = {elements, ELEMENTS}}}};
  struct doc_map map = {fields, 2};
  assert_status_ok(commit(f->store, f->set, "c/large", &map));
  apply(f,
        "{\"indexes\":[{\"collectionGroup\":\"c\",\"fields\":[{\"fieldPath\":\"tags\",\"arrayConfig\":"
        "\"CONTAINS\"},{\"fieldPath\":\"m\",\"order\":\"ASCENDING\"}]}],\"fieldOverrides\":["
        "{\"collectionGroup\":\"c\",\"fieldPath\":\"tags\",\"indexes\":[{\"queryScope\":\"COLLECTION_GROUP\","
        "\"arrayConfig\":\"CONTAINS\"},{\"queryScope\":\"COLLECTION\",\"arrayConfig\":\"CONTAINS\"}]}]}");
  struct index_worker_options options = {.store = f->store, .set = f->set};
  assert_status_code(index_work_all(&options), STATUS_FAILED_PRECONDITION);
  struct index_catalog *catalog = index_set_current(f->set);
  assert_true(index_ledger_is_building(&catalog->ledger));
  index_catalog_unref(catalog);
  map.count = 1;
  assert_status_ok(commit(f->store, f->set, "c/large", &map));
  work(f);
  assert_whole(f);
  free(elements);
}

/* ---- While commits go on ---- */

struct writers {
  struct fixture *f;
  atomic_bool stop;
  atomic_uint next_seed;
};

static void *write_on(void *argument) {
  struct writers *w = argument;
  unsigned seed = atomic_fetch_add(&w->next_seed, 1);
  while (!atomic_load(&w->stop))
    commit_random(w->f->store, w->f->set, &seed);
  return NULL;
}

static void sleep_ms(long ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

static bool is_settled(struct fixture *f) {
  struct index_catalog *catalog = index_set_current(f->set);
  const struct index_ledger *ledger = &catalog->ledger;
  bool settled = !index_ledger_is_building(ledger) && !index_ledger_is_retiring(ledger) && !ledger->sweep;
  index_catalog_unref(catalog);
  return settled;
}

static void indexes_come_and_go_under_commits(void **state) {
  struct fixture *f = *state;
  static const char *const definitions[] = {
      "{\"indexes\":[" COMPOSITES "]}",
      "{\"fieldOverrides\":[" OVERRIDES "]}",
      "{}",
      "{\"indexes\":[" COMPOSITES "],\"fieldOverrides\":[" OVERRIDES "]}",
  };
  commit_many(f->store, f->set, 7, 200);
  struct writers writers = {.f = f, .next_seed = 100};
  struct index_worker_options options = {.store = f->store, .set = f->set, .ttl_interval_ms = 10};
  struct index_worker *worker;
  pthread_t threads[3];
  assert_status_ok(index_worker_start(&options, &worker));
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, write_on, &writers), 0);
  for (size_t round = 0; round < 12; round++) {
    apply(f, definitions[round % 4]);
    index_worker_wake(worker);
    for (int i = 0; i < 2000 && !is_settled(f) && round % 3 != 0; i++) /* every third in the middle of work */
      sleep_ms(5);
  }
  for (int i = 0; i < 6000 && !is_settled(f); i++)
    sleep_ms(5);
  atomic_store(&writers.stop, true);
  for (size_t i = 0; i < 3; i++)
    pthread_join(threads[i], NULL);
  index_worker_stop(worker);
  assert_all_ready(f);
  assert_whole(f);
}

/* Entries of fields are in the order of their names: those of `a` lie before where the sweep of `z` is. */
static void a_sweep_begins_again_for_what_goes_meanwhile(void **state) {
#define FOR_GROUP(field)                                                                                     \
  "{\"collectionGroup\":\"c\",\"fieldPath\":\"" field                                                        \
  "\",\"indexes\":[{\"queryScope\":\"COLLECTION_GROUP\","                                                    \
  "\"order\":\"ASCENDING\"}]}"
  struct fixture *f = *state;
  enum { DOCUMENTS = 3000 };
  char path[32];
  struct doc_field fields[] = {{STR("a"), integer(1)}, {STR("z"), integer(2)}};
  struct doc_map map = {fields, 2};
  apply(f, "{\"fieldOverrides\":[" FOR_GROUP("a") "," FOR_GROUP("z") "]}");
  for (int i = 0; i < DOCUMENTS; i++) {
    snprintf(path, sizeof path, "c/%d", i);
    assert_status_ok(commit(f->store, f->set, path, &map));
  }
  work(f);
  assert_int_equal(count_entries(f, STR("\x02")), 2 * DOCUMENTS);
  apply(f, "{\"fieldOverrides\":[" FOR_GROUP("a") "]}");
  struct index_worker_options options = {.store = f->store, .set = f->set};
  struct index_worker *worker;
  assert_status_ok(index_worker_start(&options, &worker));
  size_t left = 2 * DOCUMENTS;
  for (int i = 0; i < 20000 && left == 2 * DOCUMENTS; i++)
    left = count_entries(f, STR("\x02"));
  assert_in_range(left, DOCUMENTS + 1, 2 * DOCUMENTS - 1); /* in the middle */
  apply(f, "{}");
  index_worker_wake(worker);
  for (int i = 0; i < 6000 && !is_settled(f); i++)
    sleep_ms(5);
  index_worker_stop(worker);
  assert_all_ready(f);
  assert_int_equal(count_entries(f, STR("\x02")), 0);
  assert_whole(f);
}

static uint64_t built_so_far(struct fixture *f) {
  return atomic_load(&f->set->built);
}

static void a_stopped_walk_goes_on(void **state) {
  struct fixture *f = *state;
  char path[32];
  struct doc_field fields[] = {{STR("a"), integer(1)}, {STR("b"), integer(2)}};
  struct doc_map map = {fields, 2};
  for (int i = 0; i < 1000; i++) {
    snprintf(path, sizeof path, "c/%d", i);
    assert_status_ok(commit(f->store, f->set, path, &map));
  }
  apply(f, "{\"indexes\":[" COMPOSITES "]}");
  struct index_worker_options options = {.store = f->store, .set = f->set, .documents_a_second = 400};
  struct index_worker *worker;
  assert_status_ok(index_worker_start(&options, &worker));
  for (int i = 0; i < 4000 && built_so_far(f) < 128; i++)
    sleep_ms(5);
  index_worker_stop(worker);
  uint64_t built = built_so_far(f);
  assert_in_range(built, 128, 900);
  assert_int_equal(count_entries(f, STR("\x03\0\0\0\1")), built);
  struct buf text = {0};
  assert_status_ok(index_set_describe(f->set, &text));
  buf_append_byte(&text, 0);
  assert_non_null(strstr((char *)text.data, "of about 1000 documents done"));
  buf_fini(&text);

  /* What is before its position is not looked at again: an entry that is taken away there stays away. */
  struct buf value = {0}, key = first_entry(f, STR("\x03\0\0\0\1"), &value);
  change_entry(f, (struct entry_change){.deleted = buf_str(&key)});
  close_all(f);
  open_all(f);
  work(f);
  assert_int_equal(built_so_far(f), 1000);
  assert_int_equal(count_entries(f, STR("\x03\0\0\0\1")), 999);
  change_entry(f, (struct entry_change){.put = buf_str(&key), .value = buf_str(&value)});
  assert_whole(f);
  buf_fini(&key);
  buf_fini(&value);
}

/* ---- TTL ---- */

#define TTL                                                                                                  \
  "{\"fieldOverrides\":[{\"collectionGroup\":\"c\",\"fieldPath\":\"until\",\"ttl\":true,\"indexes\":[]}]}"

static bool exists(struct fixture *f, const char *path) {
  struct arena arena;
  struct doc_path parsed;
  kv_snapshot snapshot;
  struct kv_value value;
  char name[256];
  str key;
  arena_init(&arena, NULL, 0, 1 << 20);
  snprintf(name, sizeof name, ROOT "%s", path);
  assert_status_ok(doc_path_parse_document(str_from_cstr(name), &parsed));
  assert_status_ok(doc_key_from_path(&parsed, &arena, &key));
  assert_status_ok(kv_snapshot_at(f->store, KV_LATEST, &snapshot));
  assert_status_ok(kv_get(snapshot, KV_DOCUMENTS, key, &value));
  bool found = value.found;
  kv_value_release(&value);
  arena_fini(&arena);
  return found;
}

static int64_t wall_us(void) {
  return port_linux()->wall_us(port_linux());
}

static void set_until(struct fixture *f, const char *path, struct doc_value until) {
  struct doc_field fields[] = {{STR("until"), until}};
  struct doc_map map = {fields, 1};
  assert_status_ok(commit(f->store, f->set, path, &map));
}

static void only_what_is_due_expires(void **state) {
  struct fixture *f = *state;
  int64_t now = wall_us(), hour = INT64_C(3600) * 1000000;
  struct doc_value inside[] = {timestamp(now - hour)};
  char path[32];
  for (int i = 0; i < 200; i++) {
    snprintf(path, sizeof path, "%s/due%d", i % 2 == 0 ? "c" : "e/x/c", i);
    set_until(f, path, timestamp(now - hour + i));
  }
  set_until(f, "c/ancient", timestamp(INT64_C(-60000000000000000)));
  set_until(f, "c/future", timestamp(now + hour));
  set_until(f, "c/number", integer(1));
  set_until(f, "c/null", (struct doc_value){.type = DOC_NULL});
  set_until(f, "c/text", (struct doc_value){.type = DOC_STRING, .as.text = STR("2000-01-01")});
  set_until(f, "c/array", (struct doc_value){.type = DOC_ARRAY, .as.array = {inside, 1}});
  set_until(f, "d/elsewhere", timestamp(now - hour));
  apply(f, TTL);
  struct index_worker_options options = {.store = f->store, .set = f->set};
  assert_status_ok(index_work_all(&options)); /* builds the index of the field */
  assert_status_ok(index_work_all(&options));
  for (int i = 0; i < 200; i++) {
    snprintf(path, sizeof path, "%s/due%d", i % 2 == 0 ? "c" : "e/x/c", i);
    assert_false(exists(f, path));
  }
  assert_false(exists(f, "c/ancient"));
  static const char *const staying[] = {"c/future", "c/number", "c/null", "c/text", "c/array", "d/elsewhere"};
  for (size_t i = 0; i < UNIT_COUNT(staying); i++)
    assert_true(exists(f, staying[i]));
  assert_whole(f);
}

static void what_is_put_off_in_time_stays(void **state) {
  struct fixture *f = *state;
  apply(f, TTL);
  work(f);
  struct index_worker_options options = {.store = f->store, .set = f->set, .ttl_interval_ms = 1};
  struct index_worker *worker;
  assert_status_ok(index_worker_start(&options, &worker));
  int64_t past = wall_us() - 1000000, future = past + INT64_C(3600) * 1000000;
  char path[32];
  for (int i = 0; i < 1500; i++) {
    snprintf(path, sizeof path, "c/%d", i % 50);
    set_until(f, path, timestamp(past));
    set_until(f, path, timestamp(future));
    assert_true(exists(f, path));
  }
  for (int i = 0; i < 50; i++) {
    snprintf(path, sizeof path, "c/%d", i);
    assert_true(exists(f, path));
  }
  index_worker_stop(worker);
  assert_whole(f);
}

static void a_wrong_clock_deletes_nothing(void **state) {
  struct fixture *f = *state;
  close_all(f);
  test_directory_remove(f->directory);
  struct port_simulated *simulated = test_port_new();
  struct port *port = port_simulated_port(simulated);
  int64_t now = port->wall_us(port), day = INT64_C(86400) * 1000000;
  struct kv_rocksdb_options options = {.directory = f->directory, .port = port};
  assert_status_ok(kv_rocksdb_open(&options, &f->store));
  assert_status_ok(index_set_open(f->store, &f->set));
  apply(f, TTL);
  struct index_worker_options work_options = {.store = f->store, .set = f->set, .port = port};
  assert_status_ok(index_work_all(&work_options));
  set_until(f, "c/later", timestamp(now + day));
  set_until(f, "c/due", timestamp(now - day));
  port_simulated_set_synchronised(simulated, false);
  port_simulated_advance(simulated, INT64_C(3600) * 1000000); /* that is looked at now and then */
  port_simulated_set_wall(simulated, now + 1000 * day);
  assert_status_ok(index_work_all(&work_options));
  assert_true(exists(f, "c/later"));
  assert_false(exists(f, "c/due"));
  close_all(f);
  port_simulated_free(simulated);
  open_all(f); /* for the tear-down */
}

/* ---- Verify ---- */

static void keep_report(void *argument, str text) {
  struct buf *out = argument;
  buf_append_str(out, text);
  buf_append_byte(out, '\n');
}

static void assert_reported(struct fixture *f, const char *text) {
  struct buf reports = {0};
  verify(f, keep_report, &reports);
  buf_append_byte(&reports, 0);
  if (strstr((char *)reports.data, text) == NULL)
    fail_msg("\"%s\" is not in:\n%s", text, (char *)reports.data);
  buf_fini(&reports);
}

static void verify_finds_what_is_wrong(void **state) {
  static const char *const kinds[] = {"\x01", "\x02", "\x03", "\x04"};
  struct fixture *f = *state;
  apply(f, "{\"indexes\":[" COMPOSITES "],\"fieldOverrides\":[" OVERRIDES "]}");
  commit_many(f->store, f->set, 8, 300);
  work(f);
  for (size_t i = 0; i < UNIT_COUNT(kinds); i++) {
    struct buf value = {0}, key = first_entry(f, str_from_cstr(kinds[i]), &value), more = {0};
    change_entry(f, (struct entry_change){.deleted = buf_str(&key)});
    struct index_verification result = verify(f, NULL, NULL);
    assert_int_equal(result.missing, 1);
    assert_int_equal(index_verification_damages(&result), 1);
    assert_reported(f, "it is missing");
    assert_reported(f, "index entry of " ROOT);

    change_entry(f, (struct entry_change){.put = buf_str(&key), .value = STR("wrong")});
    result = verify(f, NULL, NULL);
    assert_int_equal(result.wrong, 1);
    assert_int_equal(index_verification_damages(&result), 1);
    change_entry(f, (struct entry_change){.put = buf_str(&key), .value = buf_str(&value)});
    assert_whole(f);

    /* The same of another document: its id is a byte longer. */
    bool inverted = i == 2; /* the first composite index is descending in names */
    buf_append(&more, key.data, key.len - (inverted ? 3 : 2));
    buf_append_str(&more, inverted ? STR("\x85\xFF\xFE\xFF") : STR("z\0\1"));
    change_entry(f, (struct entry_change){.put = buf_str(&more), .value = buf_str(&value)});
    result = verify(f, NULL, NULL);
    assert_int_equal(result.superfluous, 1);
    assert_int_equal(index_verification_damages(&result), 1);
    assert_reported(f, "the document does not exist");
    change_entry(f, (struct entry_change){.deleted = buf_str(&more)});
    assert_whole(f);
    buf_fini(&more);
    buf_fini(&value);
    buf_fini(&key);
  }
  change_entry(f, (struct entry_change){.put = STR("\x03\0\0\0\x63 rest")});
  assert_reported(f, "no such index is defined");
  change_entry(f, (struct entry_change){.deleted = STR("\x03\0\0\0\x63 rest"), .put = STR("\x05")});
  assert_reported(f, "its key is damaged");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_is_new_is_built, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_goes_is_deleted, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_comes_back_meets_no_old_entries, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_older_store_gets_its_indexes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_document_that_cannot_be_indexed_keeps_the_index_back, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(indexes_come_and_go_under_commits, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_sweep_begins_again_for_what_goes_meanwhile, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_stopped_walk_goes_on, set_up, tear_down),
      cmocka_unit_test_setup_teardown(only_what_is_due_expires, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_is_put_off_in_time_stays, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_wrong_clock_deletes_nothing, set_up, tear_down),
      cmocka_unit_test_setup_teardown(verify_finds_what_is_wrong, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
