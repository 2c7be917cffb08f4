/* The state of indexes through its steps, and the catalogs that come of it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "storage/index/set.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

struct fixture {
  char directory[64];
  struct kv_store *store;
  struct index_set *set;
  struct arena arena;
};

static void open_all(struct fixture *f) {
  struct kv_rocksdb_options options = {
      .directory = f->directory, .memory_bytes = 4 << 20, .clock_trusted = true, .sync = KV_SYNC_RELAXED};
  assert_status_ok(kv_rocksdb_open(&options, &f->store));
  assert_status_ok(index_set_open(f->store, &f->set));
}
static void close_all(struct fixture *f) {
  index_set_close(f->set);
  kv_close(f->store);
}
static void reopen(struct fixture *f) {
  close_all(f);
  open_all(f);
}

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  test_directory_make(f->directory);
  open_all(f);
  arena_init(&f->arena, NULL, 0, 16 << 20);
  *state = f;
  return 0;
}
static int tear_down(void **state) {
  struct fixture *f = *state;
  close_all(f);
  test_directory_remove(f->directory);
  arena_fini(&f->arena);
  free(f);
  return 0;
}

static void apply(struct fixture *f, const char *json) {
  struct index_definitions definitions;
  assert_status_ok(index_definitions_parse(str_from_cstr(json), &f->arena, &definitions));
  assert_status_ok(index_set_apply(f->set, &definitions));
}

enum step { RETIRE, SWEEP, BUILD };

static status take_step(void *argument, struct index_ledger *state, kv_version version, struct arena *arena,
                        bool *ret_changed) {
  (void)arena;
  enum step step = *(enum step *)argument;
  *ret_changed = step == RETIRE  ? index_ledger_retire(state)
                 : step == SWEEP ? index_ledger_swept(state)
                                 : index_ledger_built(state, version);
  return status_ok();
}
static void step(struct fixture *f, enum step what) {
  struct index_change change = {take_step, &what};
  assert_status_ok(index_set_change(f->set, &change));
}

static struct doc_field_path path(struct fixture *f, const char *text) {
  struct doc_field_path field;
  assert_status_ok(doc_field_path_parse(str_from_cstr(text), &f->arena, &field));
  return field;
}
static unsigned maintained(struct fixture *f, const char *collection, const char *text) {
  struct index_catalog *catalog = index_set_current(f->set);
  struct doc_field_path field = path(f, text);
  unsigned has = index_catalog_field_maintained(catalog, str_from_cstr(collection), &field);
  index_catalog_unref(catalog);
  return has;
}
static unsigned usable(struct fixture *f, const char *collection, const char *text, kv_version version) {
  struct index_catalog *catalog = index_set_current(f->set);
  struct doc_field_path field = path(f, text);
  unsigned has = index_catalog_field_usable(catalog, str_from_cstr(collection), &field,
                                            version == 0 ? kv_newest_version(f->store) : version);
  index_catalog_unref(catalog);
  return has;
}

/* The only composite index on a collection, or one with number 0. */
static struct index_composite composite(struct fixture *f, const char *collection) {
  struct index_catalog *catalog = index_set_current(f->set);
  const struct index_composite *const *all;
  struct index_composite found = {0};
  size_t count = index_catalog_composites(catalog, str_from_cstr(collection), &all);
  assert_true(count <= 1);
  if (count == 1)
    found = *all[0];
  found.collection_id = found.text = (str){0}; /* they end with the catalog */
  index_catalog_unref(catalog);
  return found;
}

enum { AUTOMATIC = INDEX_HAS_VALUES | INDEX_HAS_ELEMENTS };

static void an_empty_store_has_the_automatic_indexes(void **state) {
  struct fixture *f = *state;
  struct index_catalog *catalog = index_set_current(f->set), *naive = index_catalog_default();
  struct doc_field_path field = path(f, "a.b");
  assert_true(index_catalog_names_usable(catalog, 1));
  assert_true(index_catalog_names_usable(naive, 1));
  assert_int_equal(index_catalog_field_maintained(catalog, STR("c"), &field), AUTOMATIC);
  assert_int_equal(index_catalog_field_usable(naive, STR("c"), &field, 1), AUTOMATIC);
  assert_null(index_catalog_ttl(catalog, STR("c")));
  const struct index_composite *const *all;
  assert_int_equal(index_catalog_composites(naive, STR("c"), &all), 0);
  index_catalog_unref(catalog);
  index_catalog_unref(naive);
}

static void an_older_store_builds_them(void **state) {
  struct fixture *f = *state;
  close_all(f);
  test_directory_remove(f->directory);
  struct kv_rocksdb_options options = {.directory = f->directory, .clock_trusted = true};
  assert_status_ok(kv_rocksdb_open(&options, &f->store));
  kv_version version;
  assert_status_ok(test_put(f->store, STR("document"), STR("value"), &version));
  assert_status_ok(index_set_open(f->store, &f->set));
  reopen(f);
  assert_int_equal(maintained(f, "c", "a"), AUTOMATIC);
  assert_int_equal(usable(f, "c", "a", 0), 0);
  kv_version before = kv_newest_version(f->store);
  step(f, BUILD);
  reopen(f);
  assert_int_equal(usable(f, "c", "a", 0), AUTOMATIC);
  assert_int_equal(usable(f, "c", "a", before), 0);
}

#define INDEX_ON(collection, field)                                                                          \
  "{\"collectionGroup\":\"" collection                                                                       \
  "\",\"queryScope\":\"COLLECTION\",\"fields\":[{\"fieldPath\":\"" field                                     \
  "\",\"order\":\"ASCENDING\"},{\"fieldPath\":\"z\",\"order\":\"DESCENDING\"}]}"

static void a_composite_index_lives(void **state) {
  struct fixture *f = *state;
  apply(f, "{\"indexes\":[" INDEX_ON("c", "a") "]}");
  struct index_composite index = composite(f, "c");
  assert_int_equal(index.shape.number, 1);
  assert_int_equal(index.state, INDEX_BUILDING);
  assert_int_equal(index.shape.name_order, DOC_DESCENDING);
  kv_version before = kv_newest_version(f->store);
  step(f, BUILD);
  index = composite(f, "c");
  assert_int_equal(index.state, INDEX_READY);
  assert_true(index.ready_version > before && index.ready_version <= kv_newest_version(f->store));
  reopen(f);
  assert_int_equal(composite(f, "c").ready_version, index.ready_version);

  /* The same again changes nothing, not even the store. */
  kv_version newest = kv_newest_version(f->store);
  apply(f, "{\"indexes\":[" INDEX_ON("c", "a") "]}");
  assert_int_equal(kv_newest_version(f->store), newest);

  apply(f, "{\"indexes\":[" INDEX_ON("d", "a") "]}");
  assert_int_equal(composite(f, "c").state, INDEX_BUILDING); /* not to be used, but maintained */
  assert_int_equal(composite(f, "d").shape.number, 2);
  step(f, RETIRE);
  assert_int_equal(composite(f, "c").shape.number, 0);
  step(f, SWEEP);
  apply(f, "{\"indexes\":[" INDEX_ON("c", "a") "," INDEX_ON("d", "a") "]}");
  assert_int_equal(composite(f, "c").shape.number, 3); /* never the old one */
  assert_int_equal(composite(f, "d").shape.number, 2);
}

static void what_comes_back_in_time_was_never_gone(void **state) {
  struct fixture *f = *state;
  apply(f, "{\"indexes\":[" INDEX_ON("c", "a") "]}");
  step(f, BUILD);
  struct index_composite index = composite(f, "c");
  apply(f, "{}");
  apply(f, "{\"indexes\":[" INDEX_ON("c", "a") "]}");
  assert_int_equal(composite(f, "c").shape.number, 1);
  assert_int_equal(composite(f, "c").ready_version, index.ready_version);
}

static void an_index_without_columns_is_none_on_disk(void **state) {
  struct fixture *f = *state;
  apply(f, "{\"indexes\":[{\"collectionGroup\":\"c\",\"fields\":[{\"fieldPath\":\"v\",\"vectorConfig\":"
           "{\"dimension\":3,\"flat\":{}}}]}]}");
  assert_int_equal(composite(f, "c").shape.number, 0);
  reopen(f);
  struct buf text = {0};
  assert_status_ok(index_set_format(f->set, &text));
  buf_append_byte(&text, 0);
  assert_non_null(strstr((char *)text.data, "vectorConfig"));
  buf_fini(&text);
}

#define EXEMPT_A "{\"collectionGroup\":\"c\",\"fieldPath\":\"a\",\"indexes\":[]}"

static void an_exemption_comes_and_goes(void **state) {
  struct fixture *f = *state;
  apply(f, "{\"fieldOverrides\":[" EXEMPT_A "]}");
  assert_int_equal(usable(f, "c", "a", 0), 0);
  assert_int_equal(maintained(f, "c", "a"), AUTOMATIC); /* until it is retired */
  assert_int_equal(maintained(f, "c", "b"), AUTOMATIC);
  step(f, RETIRE);
  assert_int_equal(maintained(f, "c", "a"), 0);
  assert_int_equal(maintained(f, "c", "a.x"), 0); /* what is inside goes along */
  assert_int_equal(maintained(f, "d", "a"), AUTOMATIC);
  reopen(f);
  assert_int_equal(maintained(f, "c", "a"), 0);

  /* Back before its old entries are gone: it waits. */
  apply(f, "{}");
  assert_int_equal(maintained(f, "c", "a"), 0);
  reopen(f);
  step(f, SWEEP);
  assert_int_equal(maintained(f, "c", "a"), AUTOMATIC);
  assert_int_equal(usable(f, "c", "a", 0), 0);
  assert_int_equal(usable(f, "c", "b", 0), AUTOMATIC);
  kv_version before = kv_newest_version(f->store);
  step(f, BUILD);
  reopen(f);
  assert_int_equal(usable(f, "c", "a", 0), AUTOMATIC);
  assert_int_equal(usable(f, "c", "a", before), 0);
  assert_int_equal(usable(f, "c", "b", before), AUTOMATIC);
}

static void the_nearest_override_counts(void **state) {
  struct fixture *f = *state;
  apply(
      f,
      "{\"fieldOverrides\":[{\"collectionGroup\":\"c\",\"fieldPath\":\"*\",\"indexes\":[]},"
      "{\"collectionGroup\":\"c\",\"fieldPath\":\"a\",\"indexes\":[{\"order\":\"ASCENDING\",\"queryScope\":"
      "\"COLLECTION_GROUP\"}]},{\"collectionGroup\":\"c\",\"fieldPath\":\"a.b\",\"indexes\":[{\"order\":"
      "\"ASCENDING\",\"queryScope\":\"COLLECTION\"}]},{\"collectionGroup\":\"c\",\"fieldPath\":\"t\",\"ttl\":"
      "true}]}");
  step(f, RETIRE);
  step(f, SWEEP);
  assert_int_equal(maintained(f, "c", "x"), 0);
  assert_int_equal(maintained(f, "c", "a"), INDEX_HAS_GROUP_VALUES);
  assert_int_equal(maintained(f, "c", "a.x"), INDEX_HAS_GROUP_VALUES);
  assert_int_equal(maintained(f, "c", "a.b"), INDEX_HAS_VALUES);
  assert_int_equal(maintained(f, "c", "a.b.c"), INDEX_HAS_VALUES);
  assert_int_equal(maintained(f, "c", "t"), INDEX_HAS_GROUP_VALUES);
  assert_int_equal(usable(f, "c", "a.b", 0), INDEX_HAS_VALUES); /* it was there before */
  assert_int_equal(usable(f, "c", "a", 0), 0);                  /* this is new */
  struct index_catalog *catalog = index_set_current(f->set);
  const struct index_ttl *ttls;
  assert_int_equal(index_catalog_ttls(catalog, &ttls), 1);
  assert_str_is(ttls[0].collection_id, "c");
  assert_str_is(index_catalog_ttl(catalog, STR("c"))->segments[0], "t");
  index_catalog_unref(catalog);
  step(f, BUILD);
  assert_int_equal(usable(f, "c", "a.q", 0), INDEX_HAS_GROUP_VALUES);
}

static void a_new_walk_begins_with_what_is_new(void **state) {
  struct fixture *f = *state;
  struct index_catalog *catalog = index_set_current(f->set);
  uint64_t generation = catalog->ledger.generation;
  index_catalog_unref(catalog);
  apply(f, "{\"indexes\":[" INDEX_ON("c", "a") "]}");
  catalog = index_set_current(f->set);
  assert_true(catalog->ledger.generation > generation);
  assert_true(index_ledger_is_building(&catalog->ledger));
  index_catalog_unref(catalog);
}

static void it_tells_what_there_is(void **state) {
  struct fixture *f = *state;
  apply(f, "{\"indexes\":[" INDEX_ON("c", "a") "],\"fieldOverrides\":[" EXEMPT_A "]}");
  struct buf text = {0};
  assert_status_ok(index_set_describe(f->set, &text));
  buf_append_byte(&text, 0);
  assert_non_null(strstr((char *)text.data, "building  c COLLECTION a ASC, z DESC\n"));
  assert_non_null(strstr((char *)text.data, "dropping  c field a: not indexed\n"));
  buf_fini(&text);
}

/* ---- Threads ---- */

struct readers {
  struct index_set *set;
  atomic_bool stop;
  atomic_ulong seen;
};

static void *read_catalogs(void *argument) {
  struct readers *r = argument;
  str segment = STR("a");
  struct doc_field_path field = {&segment, 1};
  while (!atomic_load(&r->stop)) {
    struct index_catalog *catalog = index_set_current(r->set);
    const struct index_composite *const *all;
    size_t count = index_catalog_composites(catalog, STR("c"), &all);
    for (size_t i = 0; i < count; i++)
      atomic_fetch_add(&r->seen, all[i]->shape.number + all[i]->text.len);
    atomic_fetch_add(&r->seen, index_catalog_field_maintained(catalog, STR("c"), &field));
    index_catalog_unref(catalog);
  }
  return NULL;
}

static void catalogs_are_read_while_they_change(void **state) {
  struct fixture *f = *state;
  struct readers readers = {.set = f->set};
  pthread_t threads[3];
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, read_catalogs, &readers), 0);
  for (int i = 0; i < 20 || (atomic_load(&readers.seen) == 0 && i < 20000);
       i++) { /* until the threads ran, too */
    apply(f, i % 2 == 0 ? "{\"indexes\":[" INDEX_ON("c", "a") "]}" : "{\"fieldOverrides\":[" EXEMPT_A "]}");
    step(f, RETIRE);
    step(f, SWEEP);
    step(f, BUILD);
  }
  atomic_store(&readers.stop, true);
  for (size_t i = 0; i < 3; i++)
    pthread_join(threads[i], NULL);
  assert_true(atomic_load(&readers.seen) > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(an_empty_store_has_the_automatic_indexes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_older_store_builds_them, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_composite_index_lives, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_comes_back_in_time_was_never_gone, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_index_without_columns_is_none_on_disk, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_exemption_comes_and_goes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_nearest_override_counts, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_new_walk_begins_with_what_is_new, set_up, tear_down),
      cmocka_unit_test_setup_teardown(it_tells_what_there_is, set_up, tear_down),
      cmocka_unit_test_setup_teardown(catalogs_are_read_while_they_change, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
