/* Documents for handlers, over a real store: a handler runs what each test gives it, in a real call. What
 * users and apps see of it is tested with an installed program (tests/integration/library.test.mjs). */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/limits.h"
#include "ports/port.h"
#include "server/embed/documents_inside.h"
#include "server/rules/fixture.h"
#include "skerry/test/v1/test_service.skerry.h"
#include "storage/document/key.h"
#include "storage/index/catalog.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/raw_client.h"
#include "tests/support/unit.h"

/* Signed-out callers may do this much. */
#define RULES                                                                                                \
  " match /free/{x} { allow read, write; }"                                                                  \
  " match /look/{x} { allow read; }"                                                                         \
  " match /grow/{x} { allow read: if true; allow update: if request.resource.data.n > resource.data.n; }"

/* ---- A server whose one method does what a test says ---- */

static struct {
  char directory[64];
  struct kv_store *store;
  struct index_set *indexes;
  struct access *access;
  struct firestore_service *service;
  struct skerry_documents *documents;
  struct rpc_server *rpc;
  struct raw_channel channel;
} all;

/* Finishes the call, or has it finished. */
static void (*handler)(struct rpc_call *call);

/* Calls begin after what their test has set, and end before it looks: the thread sanitizer, which does not
 * see gRPC core, sees that by a mutex. */
static pthread_mutex_t handed_over = PTHREAD_MUTEX_INITIALIZER;
static void hand_over(void) {
  pthread_mutex_lock(&handed_over);
  pthread_mutex_unlock(&handed_over);
}

static void reply(struct rpc_call *call, status result) {
  hand_over();
  Skerry__Test__V1__EchoResponse response = SKERRY__TEST__V1__ECHO_RESPONSE__INIT;
  if (status_is_ok(&result))
    skerry_test_v1_echo_unary_reply(call, &response);
  else
    rpc_call_finish(call, result);
}

static void unary(struct rpc_call *call, const Skerry__Test__V1__EchoRequest *request) {
  (void)request;
  hand_over();
  handler(call);
}
static const struct skerry_test_v1_echo_handlers handlers = {.unary = unary};

static void set_rules(const char *text) {
  access_set_rules(all.access, text == NULL ? NULL : fixture_rules(text));
}

static int start(void **state) {
  (void)state;
  arena_init(&fixture_arena, NULL, 0, 64 * 1024 * 1024);
  test_directory_make(all.directory);
  struct kv_rocksdb_options store = {
      .directory = all.directory, .sync = KV_SYNC_RELAXED, .clock_trusted = true};
  assert_status_ok(kv_rocksdb_open(&store, &all.store));
  assert_status_ok(index_set_open(all.store, &all.indexes));
  struct access_options access = {.mode = ACCESS_DENY, .store = all.store};
  assert_status_ok(access_new(&access, &all.access));
  struct firestore_options options = {.store = all.store,
                                      .port = port_linux(),
                                      .indexes = all.indexes,
                                      .access = all.access,
                                      .any_project = true,
                                      .limits = DOC_LIMITS_DEFAULT};
  assert_status_ok(firestore_service_new(&options, &all.service));
  assert_status_ok(skerry_documents_new(all.service, "p", &all.documents));
  struct rpc_server_options rpc = {.threads = 2};
  assert_status_ok(rpc_server_new(&rpc, &all.rpc));
  assert_status_ok(rpc_server_add_service(all.rpc, &skerry_test_v1_echo_service, &handlers, all.documents));
  assert_status_ok(rpc_server_start(all.rpc));
  all.channel = raw_channel_open(all.rpc, "192.0.2.7:1234");
  set_rules(RULES);
  return 0;
}

static int stop(void **state) {
  (void)state;
  raw_channel_close(&all.channel);
  firestore_service_stop(all.service);
  rpc_server_drain(all.rpc, port_linux()->monotonic_us(port_linux()) + 5000000);
  rpc_server_free(all.rpc);
  skerry_documents_free(all.documents);
  firestore_service_free(all.service);
  access_free(all.access);
  index_set_close(all.indexes);
  kv_close(all.store);
  test_directory_remove(all.directory);
  arena_fini(&fixture_arena);
  return 0;
}

static status call(void (*what)(struct rpc_call *call)) {
  handler = what;
  hand_over();
  status result = raw_unary(&all.channel, "/skerry.test.v1.Echo/Unary", NULL, STR(""), NULL);
  hand_over();
  return result;
}

/* ---- Transactions that tests write as one function ---- */

struct script {
  enum skerry_rights rights;
  status (*run)(struct skerry_transaction *transaction);
};
static struct script script;
static int64_t commit_time_us;
static atomic_uint runs;

static status run_script(struct skerry_transaction *transaction, void *state) {
  (void)state;
  atomic_fetch_add(&runs, 1);
  return script.run(transaction);
}
static void script_done(struct rpc_call *rpc, void *state, status result, int64_t time_us) {
  (void)state;
  commit_time_us = time_us;
  reply(rpc, result);
}
static const struct skerry_transaction_handlers scripted = {.run = run_script, .done = script_done};

static void begin_script(struct rpc_call *rpc) {
  skerry_transact(rpc_call_service(rpc), rpc, script.rights, &scripted, NULL);
}
static status transact(enum skerry_rights rights, status (*run)(struct skerry_transaction *transaction)) {
  script = (struct script){rights, run};
  atomic_store(&runs, 0);
  return call(begin_script);
}

static struct doc_value value; /* what put writes */
static const char *path;       /* and where */
static enum skerry_expect expect;

static status put(struct skerry_transaction *transaction) {
  struct skerry_fields fields = {.arena = skerry_transaction_arena(transaction)};
  skerry_fields_put(&fields, "n", value);
  return skerry_transaction_set(transaction, str_from_cstr(path), &fields, expect);
}
static status put_as(enum skerry_rights rights, const char *where, struct doc_value what) {
  path = where;
  value = what;
  expect = SKERRY_ANYHOW;
  return transact(rights, put);
}

static struct skerry_document found; /* its fields are gone; n is kept */
static int64_t found_n;
static enum skerry_rights read_rights;

static void read_one(struct rpc_call *rpc) {
  status result =
      skerry_get(rpc_call_service(rpc), rpc, read_rights, str_from_cstr(path), rpc_call_arena(rpc), &found);
  if (status_is_ok(&result))
    found_n = skerry_get_integer(found.fields, "n", -1);
  reply(rpc, result);
}
static status get_as(enum skerry_rights rights, const char *where) {
  path = where;
  read_rights = rights;
  return call(read_one);
}

/* ---- Tests ---- */

static void test_write_and_read(void **state) {
  (void)state;
  assert_status_ok(get_as(SKERRY_AS_SERVER, "things/a"));
  assert_false(found.exists);
  assert_status_ok(put_as(SKERRY_AS_SERVER, "things/a", skerry_integer(7)));
  assert_status_ok(get_as(SKERRY_AS_SERVER, "things/a"));
  assert_true(found.exists);
  assert_int_equal(found_n, 7);
  assert_int_equal(found.update_time_us, commit_time_us);
}

static void test_expectations(void **state) {
  (void)state;
  path = "things/expect";
  value = skerry_integer(1);
  expect = SKERRY_EXISTING;
  assert_status_code(transact(SKERRY_AS_SERVER, put), STATUS_NOT_FOUND);
  expect = SKERRY_MISSING;
  assert_status_ok(transact(SKERRY_AS_SERVER, put));
  assert_status_code(transact(SKERRY_AS_SERVER, put), STATUS_ALREADY_EXISTS);
}

static void test_rights(void **state) {
  (void)state;
  assert_status_ok(put_as(SKERRY_AS_CALLER, "free/x", skerry_integer(1)));
  assert_status_ok(put_as(SKERRY_AS_SERVER, "look/x", skerry_integer(1)));
  assert_status_ok(put_as(SKERRY_AS_SERVER, "shut/x", skerry_integer(1)));
  assert_status_ok(get_as(SKERRY_AS_CALLER, "look/x"));
  assert_status_code(put_as(SKERRY_AS_CALLER, "look/x", skerry_integer(2)), STATUS_PERMISSION_DENIED);
  assert_status_code(get_as(SKERRY_AS_CALLER, "shut/x"), STATUS_PERMISSION_DENIED);
  assert_status_code(get_as(SKERRY_AS_CALLER, "shut/missing"), STATUS_PERMISSION_DENIED);
  assert_status_code(put_as(SKERRY_AS_CALLER, "shut/x", skerry_integer(2)), STATUS_PERMISSION_DENIED);
  assert_status_ok(get_as(SKERRY_AS_SERVER, "shut/x"));
  assert_int_equal(found_n, 1);
  /* What rules say of the states before and after. */
  assert_status_ok(put_as(SKERRY_AS_SERVER, "grow/x", skerry_integer(5)));
  assert_status_code(put_as(SKERRY_AS_CALLER, "grow/x", skerry_integer(4)), STATUS_PERMISSION_DENIED);
  assert_status_ok(put_as(SKERRY_AS_CALLER, "grow/x", skerry_integer(6)));
  set_rules(NULL);
  assert_status_code(get_as(SKERRY_AS_CALLER, "free/x"), STATUS_PERMISSION_DENIED);
  assert_status_code(put_as(SKERRY_AS_CALLER, "free/x", skerry_integer(1)), STATUS_PERMISSION_DENIED);
  assert_status_ok(get_as(SKERRY_AS_SERVER, "free/x"));
  set_rules(RULES);
}

static void test_values_that_no_document_has(void **state) {
  (void)state;
  struct doc_value ones[] = {skerry_integer(1)}, nested[] = {skerry_array(ones, 1)};
  struct doc_field odd[] = {{STR("__odd__"), skerry_null()}};
  const struct doc_value wrong[] = {
      skerry_string(STR("\xff")),
      skerry_array(nested, 1),
      skerry_map((struct doc_map){odd, 1}),
      skerry_timestamp(INT64_MAX),
      {.type = DOC_REFERENCE, .as.text = STR("nowhere")},
      {.type = DOC_GEO_POINT, .as.geo_point = {91, 0}},
  };
  for (size_t i = 0; i < UNIT_COUNT(wrong); i++)
    assert_status_code(put_as(SKERRY_AS_SERVER, "things/wrong", wrong[i]), STATUS_INVALID_ARGUMENT);
  struct doc_field levels[DOC_TREE_DEPTH_MAX + 8];
  struct doc_value deep = skerry_null();
  for (size_t i = 0; i < UNIT_COUNT(levels); i++) {
    levels[i] = (struct doc_field){STR("m"), deep};
    deep = skerry_map((struct doc_map){&levels[i], 1});
  }
  assert_status_code(put_as(SKERRY_AS_SERVER, "things/wrong", deep), STATUS_INVALID_ARGUMENT);
  assert_status_ok(get_as(SKERRY_AS_SERVER, "things/wrong"));
  assert_false(found.exists);
  assert_status_ok(put_as(SKERRY_AS_SERVER, "things/right", skerry_string(STR("a\0b"))));
  assert_status_ok(put_as(SKERRY_AS_SERVER, "things/right", skerry_double(NAN)));
}

static void test_paths(void **state) {
  (void)state;
  static const char *const wrong[] = {"",           "things",    "things/",     "/things/a",
                                      "things/a/b", "things/..", "things/__x__"};
  for (size_t i = 0; i < UNIT_COUNT(wrong); i++)
    assert_status_code(get_as(SKERRY_AS_SERVER, wrong[i]), STATUS_INVALID_ARGUMENT);
  struct arena arena;
  str made;
  arena_init(&arena, NULL, 0, 64 * 1024);
  assert_status_ok(skerry_path(&arena, "shops/s/orders", STR("17"), &made));
  assert_str_is(made, "shops/s/orders/17");
  static const char *const ids[] = {"", "a/b", ".", "..", "__x__", "\xff"};
  for (size_t i = 0; i < UNIT_COUNT(ids); i++)
    assert_status_code(skerry_path(&arena, "c", str_from_cstr(ids[i]), &made), STATUS_INVALID_ARGUMENT);
  arena_fini(&arena);
}

static void test_fields(void **state) {
  (void)state;
  struct arena arena;
  struct doc_map map;
  arena_init(&arena, NULL, 0, 64 * 1024);
  struct skerry_fields fields = {.arena = &arena};
  for (int i = 30; i > 0; i--)
    skerry_fields_put(&fields, arena_printf(&arena, "f%02d", i).ptr, skerry_integer(i));
  skerry_fields_put(&fields, "f07", skerry_boolean(true)); /* replaces */
  assert_status_ok(skerry_fields_map(&fields, &map));
  assert_int_equal(map.count, 30);
  for (size_t i = 1; i < map.count; i++)
    assert_true(str_cmp(map.fields[i - 1].name, map.fields[i].name) < 0);
  assert_int_equal(skerry_get_integer(map, "f30", -1), 30);
  assert_int_equal(skerry_get_integer(map, "f07", -1), -1); /* of another type */
  assert_true(skerry_get_boolean(map, "f07", false));
  assert_str_is(skerry_get_string(map, "f01"), "");
  arena_fini(&arena);
  arena_init(&arena, NULL, 0, 16);
  struct skerry_fields none = {.arena = &arena};
  skerry_fields_put(&none, "a", skerry_null());
  assert_status_code(skerry_fields_map(&none, &map), STATUS_RESOURCE_EXHAUSTED);
  arena_fini(&arena);
}

static status update_missing(struct skerry_transaction *transaction) {
  struct skerry_fields fields = {.arena = skerry_transaction_arena(transaction)};
  skerry_fields_put(&fields, "n", skerry_integer(3));
  return skerry_transaction_update(transaction, STR("things/none"), &fields);
}
static status update_one_field(struct skerry_transaction *transaction) {
  struct skerry_fields both = {.arena = skerry_transaction_arena(transaction)}, one = both;
  skerry_fields_put(&both, "n", skerry_integer(1));
  skerry_fields_put(&both, "other.with dots", skerry_integer(2));
  STATUS_TRY(skerry_transaction_set(transaction, STR("things/u"), &both, SKERRY_ANYHOW));
  skerry_fields_put(&one, "n", skerry_integer(3));
  return skerry_transaction_update(transaction, STR("things/u"), &one);
}
static status check_update(struct skerry_transaction *transaction) {
  struct skerry_document document;
  STATUS_TRY(skerry_transaction_get(transaction, STR("things/u"), &document));
  bool right = skerry_get_integer(document.fields, "n", 0) == 3 &&
               skerry_get_integer(document.fields, "other.with dots", 0) == 2;
  return right ? status_ok() : status_make(STATUS_INTERNAL, "not as it was written");
}
static status delete_it(struct skerry_transaction *transaction) {
  return skerry_transaction_delete(transaction, STR("things/u"), SKERRY_EXISTING);
}

static void test_update_and_delete(void **state) {
  (void)state;
  assert_status_code(transact(SKERRY_AS_SERVER, update_missing), STATUS_NOT_FOUND);
  assert_status_ok(transact(SKERRY_AS_SERVER, update_one_field));
  assert_status_ok(transact(SKERRY_AS_SERVER, check_update));
  assert_status_ok(transact(SKERRY_AS_SERVER, delete_it));
  assert_status_code(transact(SKERRY_AS_SERVER, delete_it), STATUS_NOT_FOUND);
}

static status read_after_write(struct skerry_transaction *transaction) {
  struct skerry_document document;
  STATUS_TRY(put(transaction));
  return skerry_transaction_get(transaction, STR("things/a"), &document);
}
static status too_many_writes(struct skerry_transaction *transaction) {
  for (int i = 0; i < SKERRY_WRITES_MAX; i++)
    STATUS_TRY(put(transaction));
  return put(transaction);
}
static status fail_in_the_end(struct skerry_transaction *transaction) {
  STATUS_TRY(put(transaction));
  return status_make(STATUS_OUT_OF_RANGE, "of its own");
}

static void test_what_ends_a_transaction(void **state) {
  (void)state;
  assert_status_ok(put_as(SKERRY_AS_SERVER, "things/end", skerry_integer(1)));
  value = skerry_integer(2);
  assert_status_code(transact(SKERRY_AS_SERVER, read_after_write), STATUS_FAILED_PRECONDITION);
  assert_status_code(transact(SKERRY_AS_SERVER, too_many_writes), STATUS_INVALID_ARGUMENT);
  assert_status_code(transact(SKERRY_AS_SERVER, fail_in_the_end), STATUS_OUT_OF_RANGE);
  assert_status_ok(get_as(SKERRY_AS_SERVER, "things/end"));
  assert_int_equal(found_n, 1); /* nothing of it was written */
  assert_int_equal(transactions_open(all.service->transactions), 0);
}

/* ---- Queries ---- */

static status fill(struct skerry_transaction *transaction) {
  struct arena *arena = skerry_transaction_arena(transaction);
  for (int i = 0; i < 25; i++) {
    struct skerry_fields fields = {.arena = arena};
    skerry_fields_put(&fields, "n", skerry_integer(i));
    skerry_fields_put(&fields, "odd", skerry_boolean(i % 2 == 1));
    str where = arena_printf(arena, "look/q%02d", i);
    STATUS_TRY(skerry_transaction_set(transaction, where, &fields, SKERRY_ANYHOW));
  }
  return status_ok();
}

static struct skerry_query query;
static char answer[256]; /* the values of n */

static void run_query(struct rpc_call *rpc) {
  struct skerry_document *documents;
  size_t count;
  status result = skerry_query_run(rpc_call_service(rpc), rpc, read_rights, &query, rpc_call_arena(rpc),
                                   &documents, &count);
  answer[0] = '\0';
  for (size_t i = 0; status_is_ok(&result) && i < count; i++)
    snprintf(answer + strlen(answer), sizeof answer - strlen(answer), "%d ",
             (int)skerry_get_integer(documents[i].fields, "n", -1));
  reply(rpc, result);
}

static void test_queries(void **state) {
  (void)state;
  assert_status_ok(transact(SKERRY_AS_SERVER, fill));
  read_rights = SKERRY_AS_CALLER;
  struct skerry_filter filters[] = {{"odd", SKERRY_EQUAL, skerry_boolean(true)},
                                    {"n", SKERRY_LESS, skerry_integer(10)}};
  struct skerry_order down[] = {{"n", true}}, by_name[] = {{"__name__", false}};
  struct doc_value after = skerry_integer(7), after_name = skerry_string(STR("look/q21"));
  query = (struct skerry_query){.collection = "look", .filters = filters, .filter_count = 2, .limit = 100};
  assert_status_ok(call(run_query));
  assert_string_equal(answer, "1 3 5 7 9 ");
  query.orders = down;
  query.order_count = 1;
  query.limit = 2;
  assert_status_ok(call(run_query));
  assert_string_equal(answer, "9 7 ");
  query.after = &after;
  query.after_count = 1;
  assert_status_ok(call(run_query));
  assert_string_equal(answer, "5 3 ");
  struct doc_value choice[] = {skerry_integer(2), skerry_integer(24)};
  struct skerry_filter in = {"n", SKERRY_IN, skerry_array(choice, 2)};
  query = (struct skerry_query){.collection = "look", .filters = &in, .filter_count = 1, .limit = 10};
  assert_status_ok(call(run_query));
  assert_string_equal(answer, "2 24 ");
  query = (struct skerry_query){.collection = "look",
                                .orders = by_name,
                                .order_count = 1,
                                .after = &after_name,
                                .after_count = 1,
                                .limit = 9};
  assert_status_ok(call(run_query));
  assert_string_equal(answer, "22 23 24 1 "); /* and look/x, of another test */
  query.collection = "shut";
  query.after_count = 0;
  assert_status_code(call(run_query), STATUS_PERMISSION_DENIED);
}

static void test_queries_that_are_wrong(void **state) {
  (void)state;
  read_rights = SKERRY_AS_SERVER;
  struct skerry_filter filter = {"n", SKERRY_IN, skerry_integer(1)};
  const struct skerry_query wrong[] = {
      {.collection = "look"},
      {.collection = "look", .limit = SKERRY_QUERY_LIMIT_MAX + 1},
      {.collection = "a/b", .limit = 1},
      {.collection = "look", .parent = "look", .limit = 1},
      {.collection = "look", .filters = &filter, .filter_count = 1, .limit = 1},
      {.collection = "look", .after = &filter.value, .after_count = 1, .limit = 1},
      {.collection = "look", .filters = &filter, .filter_count = SKERRY_QUERY_PARTS_MAX + 1, .limit = 1},
  };
  for (size_t i = 0; i < UNIT_COUNT(wrong); i++) {
    query = wrong[i];
    assert_status_code(call(run_query), STATUS_INVALID_ARGUMENT);
  }
}

/* ---- Contention ---- */

enum { CALLERS = 8, ROUNDS = 25 };

static status increment(struct skerry_transaction *transaction) {
  struct skerry_document document;
  STATUS_TRY(skerry_transaction_get(transaction, STR("things/counter"), &document));
  struct skerry_fields fields = {.arena = skerry_transaction_arena(transaction)};
  skerry_fields_put(&fields, "n", skerry_integer(skerry_get_integer(document.fields, "n", 0) + 1));
  return skerry_transaction_set(transaction, STR("things/counter"), &fields, SKERRY_ANYHOW);
}

static void *increment_often(void *failures) {
  struct raw_channel channel = raw_channel_open(all.rpc, "192.0.2.8:1");
  for (int i = 0; i < ROUNDS; i++) {
    status result = raw_unary(&channel, "/skerry.test.v1.Echo/Unary", NULL, STR(""), NULL);
    if (!status_is_ok(&result))
      atomic_fetch_add((atomic_uint *)failures, 1);
  }
  raw_channel_close(&channel);
  return NULL;
}

static void test_increments_at_once(void **state) {
  (void)state;
  pthread_t threads[CALLERS];
  atomic_uint failures = 0;
  script = (struct script){SKERRY_AS_SERVER, increment};
  handler = begin_script;
  for (size_t i = 0; i < CALLERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, increment_often, &failures), 0);
  for (size_t i = 0; i < CALLERS; i++)
    pthread_join(threads[i], NULL);
  hand_over();
  assert_int_equal(failures, 0);
  assert_status_ok(get_as(SKERRY_AS_SERVER, "things/counter"));
  assert_int_equal(found_n, CALLERS * ROUNDS);
  assert_int_equal(transactions_open(all.service->transactions), 0);
  assert_false(all.documents->is_trying);
}

/* A document that appears in what a query found is a conflict. The first run has it appear. */
static status count_and_write(struct skerry_transaction *transaction) {
  struct skerry_document *documents;
  size_t count;
  struct skerry_query all_of_it = {.collection = "phantoms", .limit = 10};
  STATUS_TRY(skerry_transaction_query(transaction, &all_of_it, &documents, &count));
  if (atomic_load(&runs) == 1) {
    struct doc_path where;
    str key = {NULL, 0};
    struct arena arena;
    arena_init(&arena, NULL, 0, 64 * 1024);
    status result = documents_path(all.documents, STR("phantoms/p"), &arena, &where);
    struct doc_record record = {.create_us = 1, .update_us = 1};
    str bytes = {NULL, 0};
    if (status_is_ok(&result))
      result = doc_key_from_path(&where, &arena, &key);
    if (status_is_ok(&result))
      result = doc_record_encode(&record, &arena, &bytes);
    kv_version version;
    if (status_is_ok(&result))
      result = test_put(all.store, key, bytes, &version);
    arena_fini(&arena);
    STATUS_TRY(result);
  }
  struct skerry_fields fields = {.arena = skerry_transaction_arena(transaction)};
  skerry_fields_put(&fields, "n", skerry_integer((int64_t)count));
  return skerry_transaction_set(transaction, STR("things/count"), &fields, SKERRY_ANYHOW);
}

static void test_phantoms(void **state) {
  (void)state;
  assert_status_ok(transact(SKERRY_AS_SERVER, count_and_write));
  assert_int_equal(atomic_load(&runs), 2);
  assert_status_ok(get_as(SKERRY_AS_SERVER, "things/count"));
  assert_int_equal(found_n, 1);
}

static void who(struct rpc_call *rpc) {
  struct skerry_caller caller;
  status result = skerry_caller_of(rpc_call_service(rpc), rpc, &caller);
  if (status_is_ok(&result) && (caller.kind != SKERRY_CALLER_NOBODY || caller.may_read || caller.may_write))
    result = status_make(STATUS_INTERNAL, "somebody else");
  reply(rpc, result);
}

static void test_nobody_is_nobody(void **state) {
  (void)state;
  assert_status_ok(call(who));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_write_and_read),
      cmocka_unit_test(test_expectations),
      cmocka_unit_test(test_rights),
      cmocka_unit_test(test_values_that_no_document_has),
      cmocka_unit_test(test_paths),
      cmocka_unit_test(test_fields),
      cmocka_unit_test(test_update_and_delete),
      cmocka_unit_test(test_what_ends_a_transaction),
      cmocka_unit_test(test_queries),
      cmocka_unit_test(test_queries_that_are_wrong),
      cmocka_unit_test(test_increments_at_once),
      cmocka_unit_test(test_phantoms),
      cmocka_unit_test(test_nobody_is_nobody),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
