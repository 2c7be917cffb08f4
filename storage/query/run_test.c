/* What a run promises beside the right rows: turns, pauses, memory, spilling, reads, statistics, damage. */
#include <dirent.h>
#include <stdlib.h>

#include "tests/support/unit.h"
/* After unit.h. */
#include "base/limits.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"
#include "storage/index/set.h"
#include "storage/query/match.h"
#include "storage/query/query_build.h"
#include "storage/query/run_internal.h"
#include "storage/query/run_support.h"

enum { DOCUMENTS = 3000, SPARSE = 1000 };

static struct run_store store;
static struct query_run_options options;

/* rows/NNNN: n (its number), even ("yes", or none), big (a string of its own) and v (a vector). */
static int set_up(void **state) {
  query_build_init(state);
  run_store_open(&store, NULL);
  struct doc_write *writes = arena_calloc(&query_arena, DOCUMENTS, sizeof *writes);
  for (size_t i = 0; i < DOCUMENTS; i++) {
    struct doc_field fields[4] = {{STR("big"), build_string(arena_printf(&query_arena, "%200zu", i).ptr)},
                                  {STR("n"), build_integer((int64_t)(i * 7919 % DOCUMENTS))},
                                  {STR("v"), BUILD_VECTOR((double)i, 1)},
                                  {STR("w"), build_integer((int64_t)(i % SPARSE))}};
    writes[i] = (struct doc_write){.kind = DOC_WRITE_SET,
                                   .path = build_path(arena_printf(&query_arena, "rows/%04zu", i).ptr),
                                   .fields = build_map(4, fields).as.map};
  }
  run_store_write(&store, writes, DOCUMENTS);
  options = run_store_options(&store);
  return 0;
}
static int tear_down(void **state) {
  index_catalog_unref(options.catalog);
  run_store_close(&store);
  return query_build_fini(state);
}

static struct query *prepared(struct query query) {
  assert_status_ok(query_prepare(&query, &query_arena));
  return build_copy(&query, sizeof query);
}
static struct query of_rows(struct query_filter filter) {
  struct query query = build_query("", "rows");
  query.where = build_copy(&filter, sizeof filter);
  return query;
}
/* Two orders have no index: it sorts. */
static struct query sorting(void) {
  struct query query = build_query("", "rows");
  BUILD_ORDERS(&query, build_order("w", true), build_order("n", false));
  return query;
}

static void a_turn_ends_after_so_many_entries(void **state) {
  (void)state;
  struct query_run *run;
  struct query_row row;
  enum query_step step;
  size_t turns = 0, rows = 0;
  struct query *query = prepared(of_rows(BUILD_AND(build_filter("n", QUERY_GREATER, build_integer(-1)),
                                                   build_filter("w", QUERY_GREATER, build_integer(SPARSE)))));
  assert_status_ok(query_run_open(query, &options, &query_arena, &run));
  do {
    assert_status_ok(query_run_next(run, &step, &row));
    turns += step == QUERY_TURN;
    rows += step == QUERY_ROW;
  } while (step != QUERY_END);
  query_run_close(run);
  assert_int_equal(rows, 0);
  assert_true(turns >= DOCUMENTS / QUERY_TURN_ENTRIES);
}

static void long_work_comes_in_turns(void **state) {
  (void)state;
  struct query_run *run;
  struct query_row row;
  enum query_step step;
  size_t turns = 0;
  struct query query = sorting();
  query.has_limit = true;
  query.limit = 1;
  assert_status_ok(query_run_open(prepared(query), &options, &query_arena, &run));
  do {
    assert_status_ok(query_run_next(run, &step, &row));
    turns += step == QUERY_TURN;
  } while (step != QUERY_END);
  query_run_close(run);
  assert_true(turns >= DOCUMENTS / QUERY_TURN_ENTRIES);
}

/* A run that is paused pins nothing: the store can only be closed when nothing is open. */
static void a_paused_run_pins_nothing(void **state) {
  (void)state;
  struct run_store other;
  run_store_open(&other, NULL);
  struct doc_write writes[] = {
      {.path = build_path("c/1"), .fields = BUILD_MAP({STR("a"), build_integer(1)}).as.map},
      {.path = build_path("c/2"), .fields = BUILD_MAP({STR("a"), build_integer(1)}).as.map}};
  run_store_write(&other, writes, 2);
  struct query_run_options its = run_store_options(&other);
  struct query_filter filter = build_filter("a", QUERY_IN, BUILD_ARRAY(build_integer(1), build_integer(2)));
  struct query query = build_query("", "c");
  query.where = &filter;
  struct query_run *run;
  struct query_row row;
  enum query_step step;
  assert_status_ok(query_run_open(prepared(query), &its, &query_arena, &run));
  assert_status_ok(query_run_next(run, &step, &row));
  assert_int_equal(step, QUERY_ROW);
  query_run_pause(run);
  index_catalog_unref(its.catalog); /* the run has its own reference */
  run_store_close(&other);          /* asserts that nothing is open */
  query_run_close(run);
}

static void memory_is_charged_and_given_back(void **state) {
  (void)state;
  struct memory_budget budget;
  struct query_run *run;
  struct query_row row;
  enum query_step step;
  memory_budget_init(&budget, 64 << 20);
  struct query_run_options charged = options;
  charged.budget = &budget;
  assert_status_ok(query_run_open(prepared(sorting()), &charged, &query_arena, &run));
  do
    assert_status_ok(query_run_next(run, &step, &row));
  while (step == QUERY_TURN);
  assert_true(atomic_load(&budget.used_bytes) > (size_t)DOCUMENTS * 200);
  query_run_close(run);
  assert_int_equal(atomic_load(&budget.used_bytes), 0);
  budget.max_bytes = 1000;
  assert_status_code(query_run_open(prepared(sorting()), &charged, &query_arena, &run),
                     STATUS_RESOURCE_EXHAUSTED);
}

static size_t files_in(const char *path) {
  DIR *directory = opendir(path);
  size_t count = 0;
  while (readdir(directory) != NULL)
    count++;
  closedir(directory);
  return count;
}

static void a_sort_spills_within_its_bounds(void **state) {
  (void)state;
  struct query_run_options small = options;
  struct query_stats in_memory, spilled, failed;
  str expected, got;
  struct query *query = prepared(sorting());
  assert_status_ok(run_collect(query, &options, false, &query_arena, &expected, &in_memory));
  assert_int_equal(in_memory.spilled_bytes, 0);
  assert_int_equal(in_memory.rows, DOCUMENTS);
  small.memory_bytes_max = 100 * 1024;
  size_t files = files_in(store.directory);
  assert_status_ok(run_collect(query, &small, true, &query_arena, &got, &spilled));
  assert_true(spilled.spilled_bytes > (uint64_t)DOCUMENTS * 200);
  assert_true(str_eq(got, expected));
  assert_int_equal(files_in(store.directory), files);
  small.spill_bytes_max = 50 * 1024;
  assert_status_code(run_collect(query, &small, false, &query_arena, &got, &failed),
                     STATUS_RESOURCE_EXHAUSTED);
  small.spill_bytes_max = 0;
  small.spill_directory = NULL;
  assert_status_code(run_collect(query, &small, false, &query_arena, &got, &failed),
                     STATUS_RESOURCE_EXHAUSTED);
  small.spill_directory = "/nonexistent";
  assert_status_code(run_collect(query, &small, false, &query_arena, &got, &failed), STATUS_UNAVAILABLE);
}

/* The best few need no file, however many there are to choose from. */
static void a_limit_keeps_a_sort_in_memory(void **state) {
  (void)state;
  struct query_run_options small = options;
  struct query_stats stats;
  str got;
  small.memory_bytes_max = 100 * 1024;
  small.spill_directory = NULL;
  struct query query = sorting();
  query.has_limit = true;
  query.limit = 50;
  assert_status_ok(run_collect(prepared(query), &small, false, &query_arena, &got, &stats));
  assert_int_equal(stats.rows, 50);
  assert_int_equal(stats.documents, DOCUMENTS); /* none was read again */
}

static void an_alternative_met_twice_is_given_once_also_from_files(void **state) {
  (void)state;
  struct query_run_options small = options;
  struct query_stats stats;
  str got;
  small.memory_bytes_max = 60 * 1024;
  struct query query = of_rows(BUILD_OR(build_filter("n", QUERY_LESS, build_integer(2000)),
                                        build_filter("n", QUERY_GREATER_OR_EQUAL, build_integer(1000))));
  BUILD_ORDERS(&query, build_order("w", false), build_order("n", false));
  assert_status_ok(run_collect(prepared(query), &small, false, &query_arena, &got, &stats));
  assert_true(stats.spilled_bytes > 0);
  assert_int_equal(stats.rows, DOCUMENTS);
}

static void a_short_answer_costs_little(void **state) {
  (void)state;
  struct query_stats stats;
  str got;
  struct query *query = prepared(of_rows(build_filter("w", QUERY_EQUAL, build_integer(5))));
  assert_status_ok(run_collect(query, &options, false, &query_arena, &got, &stats));
  assert_int_equal(stats.rows, 3);
  assert_int_equal(stats.index_entries, 3);
  assert_int_equal(stats.documents, 3);
  /* A limit reads no document that it does not give, an offset none that it passes over. */
  struct query limited = of_rows(build_filter("n", QUERY_GREATER, build_integer(100)));
  limited.has_limit = true;
  limited.limit = 5;
  limited.offset = 40;
  assert_status_ok(run_collect(prepared(limited), &options, false, &query_arena, &got, &stats));
  assert_int_equal(stats.documents, 5);
  assert_int_equal(stats.index_entries, 45);
  assert_int_equal(stats.skipped, 40);
  /* Names come from the index alone. */
  limited.names_only = true;
  assert_status_ok(run_collect(prepared(limited), &options, false, &query_arena, &got, &stats));
  assert_int_equal(stats.documents, 0);
}

/* Two scans of 1,500 entries each that have nothing in common are not read through. */
static void a_join_leaps(void **state) {
  (void)state;
  struct run_store other;
  run_store_open(&other, NULL);
  struct doc_write *writes = arena_calloc(&query_arena, DOCUMENTS, sizeof *writes);
  for (size_t i = 0; i < DOCUMENTS; i++)
    writes[i] = (struct doc_write){.path = build_path(arena_printf(&query_arena, "c/%04zu", i).ptr),
                                   .fields = BUILD_MAP({STR("a"), build_integer(i < DOCUMENTS / 2)},
                                                       {STR("b"), build_integer(i >= DOCUMENTS / 2)})
                                                 .as.map};
  run_store_write(&other, writes, DOCUMENTS);
  struct query_run_options its = run_store_options(&other);
  struct query query = build_query("", "c");
  struct query_filter filter = BUILD_AND(build_filter("a", QUERY_EQUAL, build_integer(1)),
                                         build_filter("b", QUERY_EQUAL, build_integer(1)));
  query.where = &filter;
  struct query_stats stats;
  str got;
  assert_status_ok(run_collect(prepared(query), &its, false, &query_arena, &got, &stats));
  assert_int_equal(stats.rows, 0);
  assert_true(stats.index_entries < 20);
  index_catalog_unref(its.catalog);
  run_store_close(&other);
}

/* ---- What a transaction is told ---- */

struct seen {
  size_t ranges, documents;
  str lower, upper;
};
static void see_range(void *argument, enum kv_space space, str lower, str upper) {
  struct seen *seen = argument;
  assert_int_equal(space, KV_INDEX);
  seen->ranges++;
  seen->lower = arena_str_copy(&query_arena, lower);
  seen->upper = arena_str_copy(&query_arena, upper);
}
static void see_document(void *argument, str key) {
  (void)key;
  ((struct seen *)argument)->documents++;
}

static struct seen seen_of(struct query query, size_t steps) {
  struct seen seen = {0};
  struct query_reads reads = {see_range, see_document, &seen};
  struct query_run_options told = options;
  struct query_run *run;
  struct query_row row;
  enum query_step step = QUERY_ROW;
  told.reads = &reads;
  assert_status_ok(query_run_open(prepared(query), &told, &query_arena, &run));
  for (size_t i = 0; i < steps && step != QUERY_END; i++)
    assert_status_ok(query_run_next(run, &step, &row));
  query_run_close(run);
  return seen;
}

static void reads_are_told_as_far_as_they_went(void **state) {
  (void)state;
  struct query query = of_rows(build_filter("n", QUERY_GREATER, build_integer(100)));
  struct seen all = seen_of(query, DOCUMENTS + 1);
  assert_int_equal(all.ranges, 1);
  assert_true(all.documents > DOCUMENTS / 2);
  query.has_limit = true;
  query.limit = 3;
  struct seen some = seen_of(query, 10);
  assert_int_equal(some.documents, 3);
  assert_true(str_eq(some.lower, all.lower) && str_cmp(some.upper, all.upper) < 0);
  query.limit = 0x7FFF;
  BUILD_ORDERS(&query, build_order("n", true));
  struct seen backwards = seen_of(query, 3);
  assert_true(str_eq(backwards.upper, all.upper) && str_cmp(backwards.lower, all.lower) > 0);
}

/* ---- Rows ---- */

static void nearest_puts_the_distance_into_the_record(void **state) {
  (void)state;
  struct query_nearest nearest = {.field = build_field_path("v"),
                                  .vector = BUILD_VECTOR(100, 1),
                                  .measure = QUERY_EUCLIDEAN,
                                  .limit = 3,
                                  .result_field = build_field_path("v.distance")};
  struct query query = build_query("", "rows");
  query.nearest = &nearest;
  struct query_run *run;
  struct query_row row;
  enum query_step step;
  static const double wanted[] = {0, 1, 1};
  size_t rows = 0;
  assert_status_ok(query_run_open(prepared(query), &options, &query_arena, &run));
  for (;;) {
    assert_status_ok(query_run_next(run, &step, &row));
    if (step == QUERY_END)
      break;
    if (step != QUERY_ROW)
      continue;
    struct doc_map fields;
    assert_true(rows < UNIT_COUNT(wanted));
    assert_status_ok(doc_decode_fields(row.record.fields, &query_arena, &fields));
    const struct doc_value *distance = query_field_get(fields, &nearest.result_field);
    assert_non_null(distance);
    assert_true(distance->as.number == wanted[rows] && row.distance == wanted[rows]);
    assert_true(row.record.update_us > 0);
    rows++;
  }
  query_run_close(run);
  assert_int_equal(rows, 3);
}

/* Also where the best do not fit into the memory, and all are sorted in files. */
static void nearest_ends_at_its_limit(void **state) {
  (void)state;
  struct query_nearest nearest = {.field = build_field_path("v"),
                                  .vector = BUILD_VECTOR(100, 1),
                                  .measure = QUERY_EUCLIDEAN,
                                  .limit = 500};
  struct query query = build_query("", "rows");
  struct query_run_options small = options;
  struct query_stats in_memory, spilled;
  str expected, got;
  query.nearest = &nearest;
  small.memory_bytes_max = 100 * 1024;
  assert_status_ok(run_collect(prepared(query), &options, false, &query_arena, &expected, &in_memory));
  assert_int_equal(in_memory.rows, 500);
  assert_status_ok(run_collect(prepared(query), &small, false, &query_arena, &got, &spilled));
  assert_true(spilled.spilled_bytes > 0);
  assert_int_equal(spilled.rows, 500);
  assert_true(str_eq(got, expected));
}

static status remove_document(void *argument, struct kv_reader *reader, kv_version version,
                              struct kv_batch *batch) {
  (void)reader, (void)version;
  kv_batch_delete(batch, KV_DOCUMENTS, *(const str *)argument);
  return status_ok();
}

static void an_entry_without_a_document_is_damage(void **state) {
  (void)state;
  struct run_store other;
  run_store_open(&other, NULL);
  struct doc_write write = {.path = build_path("c/1"),
                            .fields = BUILD_MAP({STR("a"), build_integer(1)}).as.map};
  str key, got;
  run_store_write(&other, &write, 1);
  assert_status_ok(doc_key_from_path(&write.path, &query_arena, &key));
  struct kv_txn txn = {.resolve = remove_document, .argument = &key};
  kv_version version;
  assert_status_ok(kv_commit_wait(other.store, &txn, &version));
  struct query_run_options its = run_store_options(&other);
  struct query query = build_query("", "c");
  struct query_filter filter = build_filter("a", QUERY_EQUAL, build_integer(1));
  struct query_stats stats;
  query.where = &filter;
  assert_status_code(run_collect(prepared(query), &its, false, &query_arena, &got, &stats), STATUS_DATA_LOSS);
  index_catalog_unref(its.catalog);
  run_store_close(&other);
}

/* Values that are equal in what is indexed of them are told apart by the document. */
static void long_values_are_compared_whole(void **state) {
  (void)state;
  struct run_store other;
  run_store_open(&other, NULL);
  char *texts[3];
  struct doc_write writes[3];
  for (size_t i = 0; i < 3; i++) {
    texts[i] = arena_calloc(&query_arena, 1, LIMIT_INDEXED_VALUE_BYTES + 100);
    memset(texts[i], 'x', LIMIT_INDEXED_VALUE_BYTES + 50);
    texts[i][LIMIT_INDEXED_VALUE_BYTES + 20] = (char)('a' + i);
    writes[i] = (struct doc_write){.path = build_path(arena_printf(&query_arena, "c/%zu", i).ptr),
                                   .fields = BUILD_MAP({STR("a"), build_string(texts[i])},
                                                       {STR("t"), BUILD_ARRAY(build_string(texts[i]))})
                                                 .as.map};
  }
  run_store_write(&other, writes, 3);
  struct query_run_options its = run_store_options(&other);
  struct doc_value middle = build_string(texts[1]);
  static const struct {
    const char *field;
    enum query_op op;
    size_t rows;
  } cases[] = {{"a", QUERY_EQUAL, 1},         {"a", QUERY_NOT_EQUAL, 2}, {"a", QUERY_LESS, 1},
               {"a", QUERY_LESS_OR_EQUAL, 2}, {"a", QUERY_GREATER, 1},   {"a", QUERY_GREATER_OR_EQUAL, 2},
               {"t", QUERY_ARRAY_CONTAINS, 1}};
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct query query = build_query("", "c");
    struct query_filter filter = build_filter(cases[i].field, cases[i].op, middle);
    struct query_stats stats;
    str got;
    query.where = &filter;
    assert_status_ok(run_collect(prepared(query), &its, false, &query_arena, &got, &stats));
    assert_int_equal(stats.rows, cases[i].rows);
  }
  index_catalog_unref(its.catalog);
  run_store_close(&other);
}

static void a_cursor_may_lie_outside_of_the_collection(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    bool descending = (i & 1) != 0, after = (i & 2) != 0;
    struct query query = of_rows(build_filter("w", QUERY_EQUAL, build_integer(5)));
    BUILD_ORDERS(&query, build_order("__name__", descending));
    query.start = BUILD_CURSOR(true, build_reference(after ? "zoo/1" : "apes/1"));
    status made = query_prepare(&query, &query_arena);
    if (made.code != STATUS_OK)
      continue; /* refused before it comes here */
    struct query_stats stats;
    str got;
    assert_status_ok(run_collect(&query, &options, false, &query_arena, &got, &stats));
    assert_int_equal(stats.rows, descending == after ? 3 : 0);
  }
}

static void explain_names_the_indexes(void **state) {
  (void)state;
  struct query_run *run;
  const struct query_used_index *used;
  struct query query = of_rows(build_filter("n", QUERY_GREATER, build_integer(100)));
  BUILD_ORDERS(&query, build_order("n", true));
  assert_status_ok(query_run_open(prepared(query), &options, &query_arena, &run));
  assert_int_equal(query_run_used_indexes(run, &used), 1);
  assert_str_is(used[0].scope, "Collection");
  assert_str_is(used[0].properties, "(n DESC, __name__ DESC)");
  assert_int_equal(query_run_missing_index(run).len, 0);
  query_run_close(run);
}

/* They are read in batches of few, some of them twice where a batch was too much; each is given once. */
static void large_documents_are_all_given(void **state) {
  (void)state;
  enum { LARGE = 50, BYTES = 100000, EVERY = 3 };
  struct run_store other;
  run_store_open(&other, NULL);
  char *text = arena_alloc(&query_arena, BYTES + 1);
  memset(text, 'l', BYTES);
  text[BYTES] = 0;
  struct doc_write *writes = arena_calloc(&query_arena, LARGE, sizeof *writes);
  struct buf expected = {0};
  for (size_t i = 0; i < LARGE; i++) {
    const char *path = arena_printf(&query_arena, "c/%04zu", i).ptr;
    const char *value = i % EVERY == 0 ? text : "small";
    writes[i] = (struct doc_write){
        .path = build_path(path),
        .fields = BUILD_MAP({STR("a"), build_integer(1)}, {STR("text"), build_string(value)}).as.map};
    buf_append_str(&expected, writes[i].path.name);
    buf_append_byte(&expected, '\n');
  }
  run_store_write(&other, writes, LARGE);
  struct query_run_options its = run_store_options(&other);
  for (int way = 0; way < 4; way++) {
    struct query query = build_query("", "c");
    struct query_filter filter = build_filter("a", QUERY_EQUAL, build_integer(1));
    query.where = &filter;
    if (way >= 2) { /* sorted: reads all first */
      BUILD_ORDERS(&query, build_order("text", true), build_order("a", false));
      query.has_limit = true;
      query.limit = LARGE;
    }
    str names;
    struct query_stats stats;
    assert_status_ok(run_collect(prepared(query), &its, way % 2 == 1, &query_arena, &names, &stats));
    assert_int_equal(stats.rows, LARGE);
    if (way < 2)
      assert_true(str_eq(names, buf_str(&expected)));
  }
  buf_fini(&expected);
  index_catalog_unref(its.catalog);
  run_store_close(&other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_turn_ends_after_so_many_entries),
      cmocka_unit_test(long_work_comes_in_turns),
      cmocka_unit_test(a_paused_run_pins_nothing),
      cmocka_unit_test(memory_is_charged_and_given_back),
      cmocka_unit_test(a_sort_spills_within_its_bounds),
      cmocka_unit_test(a_limit_keeps_a_sort_in_memory),
      cmocka_unit_test(an_alternative_met_twice_is_given_once_also_from_files),
      cmocka_unit_test(a_short_answer_costs_little),
      cmocka_unit_test(a_join_leaps),
      cmocka_unit_test(reads_are_told_as_far_as_they_went),
      cmocka_unit_test(nearest_puts_the_distance_into_the_record),
      cmocka_unit_test(nearest_ends_at_its_limit),
      cmocka_unit_test(an_entry_without_a_document_is_damage),
      cmocka_unit_test(long_values_are_compared_whole),
      cmocka_unit_test(a_cursor_may_lie_outside_of_the_collection),
      cmocka_unit_test(explain_names_the_indexes),
      cmocka_unit_test(large_documents_are_all_given),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
