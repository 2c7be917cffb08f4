/* The matcher over a real store: documents written by key, listeners on several threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ports/port.h"
#include "storage/change/matcher.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"
#include "storage/query/query_build.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

enum { QUEUE_EVENTS = 64, QUEUE_BYTES = 64 * 1024 };

static struct kv_store *store;
static struct change_matcher *matcher;
static struct memory_budget budget;
static char directory[64];

/* ---- A listener that waits ---- */

struct client {
  struct change_listener listener;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  bool woken;
  kv_version seen; /* the last snapshot */
  unsigned matched, left, touched, lost;
};

static void wake(struct change_listener *listener) {
  struct client *client = (struct client *)listener;
  pthread_mutex_lock(&client->mutex);
  client->woken = true;
  pthread_cond_signal(&client->changed);
  pthread_mutex_unlock(&client->mutex);
}

static void client_init(struct client *client) {
  memset(client, 0, sizeof *client);
  pthread_mutex_init(&client->mutex, NULL);
  pthread_cond_init(&client->changed, NULL);
  change_listener_init(&client->listener, matcher, wake);
}

static void take(struct client *client, const struct change_event *event) {
  client->matched += event->kind == CHANGE_MATCHED;
  client->left += event->kind == CHANGE_LEFT;
  client->touched += event->kind == CHANGE_TOUCHED;
  if (event->kind == CHANGE_SNAPSHOT) {
    assert_true(event->version >= client->seen);
    client->seen = event->version;
  }
  if (event->kind == CHANGE_MATCHED || event->kind == CHANGE_LEFT) {
    assert_true(event->version > client->seen);
    assert_true(event->version > event->target->since);
    assert_int_equal(event->document->exists, event->kind == CHANGE_MATCHED || event->document->exists);
    change_document_release(event->document);
  }
  if (event->kind == CHANGE_LOST) {
    client->lost++;
    assert_true(change_listener_recover(&client->listener) >= client->seen);
  }
}

/* Takes events until the snapshot of `version`. */
static void reach(struct client *client, kv_version version) {
  struct change_event event;
  while (client->seen < version) {
    if (change_listener_take(&client->listener, &event)) {
      take(client, &event);
      continue;
    }
    pthread_mutex_lock(&client->mutex);
    while (!client->woken)
      pthread_cond_wait(&client->changed, &client->mutex);
    client->woken = false;
    pthread_mutex_unlock(&client->mutex);
  }
}

/* ---- Writing ---- */

struct put {
  str key;
  struct doc_map fields;
  bool deleted;
};

static status resolve(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  (void)reader;
  const struct put *put = argument;
  if (put->deleted) {
    kv_batch_delete(batch, KV_DOCUMENTS, put->key);
    return status_ok();
  }
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  struct doc_record record = {.create_us = version, .update_us = version};
  str bytes = {NULL, 0};
  status result = doc_encode_fields(put->fields, &arena, &record.fields);
  if (status_is_ok(&result))
    result = doc_record_encode(&record, &arena, &bytes);
  if (status_is_ok(&result))
    kv_batch_put(batch, KV_DOCUMENTS, put->key, bytes);
  arena_fini(&arena);
  return result;
}

static str key_of(const char *relative, struct arena *arena) {
  char name[256];
  struct doc_path path;
  str key;
  int length = snprintf(name, sizeof name, "%s/%s", BUILD_ROOT, relative);
  assert_status_ok(doc_path_parse(str_make(name, (size_t)length), &path));
  assert_status_ok(doc_key_from_path(&path, arena, &key));
  return key;
}

static kv_version write_document(const char *relative, int64_t n, bool deleted) {
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  struct doc_field field = {STR("n"), {.type = DOC_INTEGER, .as.integer = n}};
  struct put put = {key_of(relative, &arena), {&field, 1}, deleted};
  struct kv_txn txn = {.resolve = resolve, .argument = &put};
  kv_version version;
  assert_status_ok(kv_commit_wait(store, &txn, &version));
  arena_fini(&arena);
  return version;
}

/* ---- Queries ---- */

struct query_text {
  const char *collection;
  bool all_descendants, limited;
  int equals; /* n ==, or -1 */
};

static void make_query(const struct query_text *text, struct arena *arena, struct query *ret) {
  static const str segments[] = {{"n", 1}};
  *ret = (struct query){.collection_id = str_from_cstr(text->collection),
                        .all_descendants = text->all_descendants,
                        .has_limit = text->limited,
                        .limit = 3};
  assert_status_ok(doc_path_parse_parent(STR(BUILD_ROOT), &ret->parent));
  if (text->equals >= 0) {
    struct query_filter *filter = ARENA_NEW(arena, struct query_filter);
    filter->kind = QUERY_FIELD_FILTER;
    filter->op = QUERY_EQUAL;
    filter->field.path = (struct doc_field_path){segments, 1};
    filter->operand = (struct doc_value){.type = DOC_DOUBLE, .as.number = text->equals};
    ret->where = filter;
  }
  assert_status_ok(query_prepare(ret, arena));
}

/* ---- Set-up ---- */

static int setup(void **state) {
  (void)state;
  test_directory_make(directory);
  struct kv_rocksdb_options options = {
      .directory = directory, .clock_trusted = true, .sync = KV_SYNC_RELAXED};
  assert_status_ok(kv_rocksdb_open(&options, &store));
  write_document("first/1", 1, false);
  memory_budget_init(&budget, 1 << 20);
  struct change_matcher_options matching = {.store = store,
                                            .port = port_linux(),
                                            .budget = &budget,
                                            .queue_events_max = QUEUE_EVENTS,
                                            .queue_bytes_max = QUEUE_BYTES,
                                            .heartbeat_us = 1000};
  assert_status_ok(change_matcher_new(&matching, &matcher));
  return 0;
}

static int teardown(void **state) {
  (void)state;
  change_matcher_free(matcher);
  assert_int_equal(budget.used_bytes, 0);
  kv_close(store);
  test_directory_remove(directory);
  return 0;
}

/* ---- Tests ---- */

static void test_places(void **state) {
  (void)state;
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  static const struct query_text texts[] = {
      {"c", false, false, -1}, {"c", true, false, -1}, {"", false, false, -1}, {"", true, false, -1},
      {"c", false, false, 5},  {"c", true, false, 5},  {"c", false, true, -1},
  };
  struct query queries[UNIT_COUNT(texts)];
  struct change_target targets[UNIT_COUNT(texts) + 1] = {0};
  struct client clients[UNIT_COUNT(targets)];
  str key = key_of("c/1", &arena);
  for (size_t i = 0; i < UNIT_COUNT(targets); i++) {
    client_init(&clients[i]);
    if (i < UNIT_COUNT(texts)) {
      make_query(&texts[i], &arena, &queries[i]);
      targets[i].query = &queries[i];
    } else {
      targets[i].keys = &key;
      targets[i].key_count = 1;
    }
    assert_status_ok(change_target_add(&clients[i].listener, &targets[i]));
  }
  static const struct {
    const char *relative;
    int n; /* -1: deleted */
  } writes[] = {{"c/1", 5}, {"c/2", 6},  {"d/1/c/3", 5}, {"c/1", 7},
                {"e/1", 5}, {"c/2", -1}, {"c/9", 5},     {"c/1", 5}};
  kv_version last = 0;
  for (size_t i = 0; i < UNIT_COUNT(writes); i++) {
    last = write_document(writes[i].relative, writes[i].n, writes[i].n < 0);
    reach(&clients[3], last); /* which sees all: so each write is a batch of its own */
  }
  /*                 c   c*  any  all  c=5 c*=5 limit document */
  const unsigned matched[] = {5, 6, 6, 7, 3, 4, 0, 3}, left[] = {1, 1, 1, 1, 1, 1, 0, 0};
  for (size_t i = 0; i < UNIT_COUNT(targets); i++) {
    reach(&clients[i], last);
    assert_int_equal(clients[i].matched, matched[i]);
    assert_int_equal(clients[i].left, left[i]);
    assert_int_equal(clients[i].touched, i == 6 ? 6 : 0);
    assert_int_equal(clients[i].lost, 0);
  }
  for (size_t i = 0; i < UNIT_COUNT(targets); i++)
    change_listener_fini(&clients[i].listener);
  arena_fini(&arena);
}

static void test_a_full_queue_is_lost_and_recovers(void **state) {
  (void)state;
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  static const struct query_text text = {"q", false, false, -1};
  struct query query;
  struct change_target target = {.query = &query};
  struct client slow, fast;
  make_query(&text, &arena, &query);
  client_init(&slow);
  client_init(&fast);
  struct change_target same = target;
  assert_status_ok(change_target_add(&slow.listener, &target));
  assert_status_ok(change_target_add(&fast.listener, &same));
  kv_version last = 0;
  for (int i = 0; i < 200; i++) {
    last = write_document("q/1", i, false);
    reach(&fast, last);
  }
  assert_int_equal(fast.lost, 0);
  assert_int_equal(fast.matched, 200);
  reach(&slow, last);
  assert_int_equal(slow.lost, 1);
  assert_true(target.since >= last);
  last = write_document("q/2", 1, false);
  reach(&slow, last);
  assert_int_equal(slow.matched, 1);
  change_target_remove(&target);
  last = write_document("q/2", 2, false);
  reach(&fast, last);
  struct change_event event;
  while (change_listener_take(&slow.listener, &event))
    assert_int_equal(event.kind, CHANGE_SNAPSHOT);
  change_listener_fini(&slow.listener);
  change_listener_fini(&fast.listener);
  arena_fini(&arena);
}

/* Whether the thread sleeps, because there are no targets, or gathers, because nobody wanted the last batch:
 * a target that is added begins with what was committed before. */
static void test_a_target_begins_at_the_newest_version(void **state) {
  (void)state;
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  static const struct query_text text = {"w", false, false, -1}, other = {"nothing", false, false, -1};
  struct query query, nothing;
  make_query(&text, &arena, &query);
  make_query(&other, &arena, &nothing);
  for (int i = 0; i < 100; i++) {
    struct client client, idle;
    struct change_target target = {.query = &query}, idle_target = {.query = &nothing};
    client_init(&client);
    client_init(&idle);
    if (i % 20 == 0) { /* a heartbeat takes a second */
      assert_status_ok(change_target_add(&idle.listener, &idle_target));
      reach(&idle, write_document("w/2", i, false));
    }
    kv_version before = write_document("w/1", i, false);
    assert_status_ok(change_target_add(&client.listener, &target));
    assert_true(target.since >= before);
    kv_version after = write_document("w/1", i + 1000, false);
    reach(&client, after);
    assert_int_equal(client.matched, 1);
    change_listener_fini(&client.listener);
    change_listener_fini(&idle.listener);
  }
  arena_fini(&arena);
}

/* ---- Many threads ---- */

static atomic_bool writing;

static void *churn(void *argument) {
  unsigned seed = (unsigned)(uintptr_t)argument;
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  struct client client;
  client_init(&client);
  while (atomic_load(&writing)) {
    struct query_text text = {"t", rand_r(&seed) % 2 == 0, rand_r(&seed) % 3 == 0, rand_r(&seed) % 8 - 1};
    struct query query;
    make_query(&text, &arena, &query);
    struct change_target target = {.query = &query};
    assert_status_ok(change_target_add(&client.listener, &target));
    kv_version wanted = target.since;
    reach(&client, wanted);
    struct change_event event;
    for (int i = 0; i < 5; i++)
      if (change_listener_take(&client.listener, &event))
        take(&client, &event);
    change_target_remove(&target);
    arena_reset(&arena);
  }
  change_listener_fini(&client.listener);
  arena_fini(&arena);
  return NULL;
}

static void test_listeners_come_and_go_while_documents_change(void **state) {
  (void)state;
  pthread_t threads[3];
  atomic_store(&writing, true);
  for (uintptr_t i = 0; i < UNIT_COUNT(threads); i++)
    assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
  for (int i = 0; i < 300; i++) {
    char name[32];
    snprintf(name, sizeof name, i % 3 == 0 ? "x/1/t/%d" : "t/%d", i % 7);
    write_document(name, i % 8, i % 5 == 0);
  }
  atomic_store(&writing, false);
  for (size_t i = 0; i < UNIT_COUNT(threads); i++)
    pthread_join(threads[i], NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_places),
      cmocka_unit_test(test_a_full_queue_is_lost_and_recovers),
      cmocka_unit_test(test_a_target_begins_at_the_newest_version),
      cmocka_unit_test(test_listeners_come_and_go_while_documents_change),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
