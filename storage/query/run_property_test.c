/* Whatever the plan, a run gives what filtering and sorting all documents by match.h gives: random documents,
 * indexes and queries; also with so little memory that sorts spill, with a pause after every row, and at an
 * older snapshot. SKERRY_TEST_SEED and SKERRY_TEST_ROUNDS choose others. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/unit.h"
/* After unit.h. */
#include "storage/query/match.h"
#include "storage/query/plan.h"
#include "storage/query/random_build.h"
#include "storage/query/run_internal.h"
#include "storage/query/run_support.h"

enum { DOCUMENTS = 160, CHANGES = 60, QUERIES = 250 };

/* The documents at one version. */
struct world {
  kv_version version;
  struct {
    struct doc_path path;
    struct doc_map fields;
  } documents[DOCUMENTS + CHANGES];
  size_t count;
};

static void world_set(struct world *world, struct doc_path path, struct doc_map fields, bool exists) {
  size_t at = 0;
  while (at < world->count && !str_eq(world->documents[at].path.name, path.name))
    at++;
  if (exists) {
    world->documents[at].path = path;
    world->documents[at].fields = fields;
    world->count += at == world->count;
  } else if (at < world->count) {
    world->documents[at] = world->documents[--world->count];
  }
}

static void change(struct run_store *store, struct random_source *r, struct world *world, size_t count,
                   size_t deletes) {
  struct doc_write *writes = arena_calloc(&query_arena, count, sizeof *writes);
  for (size_t i = 0; i < count; i++) {
    bool is_delete = world->count > 0 && random_chance(r, deletes);
    struct doc_path path = is_delete || random_chance(r, deletes)
                               ? world->documents[random_below(r, world->count)].path
                               : build_path(random_path(r));
    writes[i] = (struct doc_write){.kind = is_delete ? DOC_WRITE_DELETE : DOC_WRITE_SET, .path = path};
    if (!is_delete)
      writes[i].fields = random_document(r);
    world_set(world, path, writes[i].fields, !is_delete);
  }
  world->version = run_store_write(store, writes, count);
}

/* ---- The truth ---- */

static const struct query *sort_query;
static const struct world *sort_world;

static int compare(const void *a, const void *b) {
  size_t i = *(const size_t *)a, k = *(const size_t *)b;
  return query_compare(sort_query, &sort_world->documents[i].path, sort_world->documents[i].fields,
                       &sort_world->documents[k].path, sort_world->documents[k].fields);
}

static int compare_distances(const void *a, const void *b) {
  size_t i = *(const size_t *)a, k = *(const size_t *)b;
  const struct query_nearest *nearest = sort_query->nearest;
  double x = 0, y = 0;
  query_distance_to(nearest, sort_world->documents[i].fields, &x);
  query_distance_to(nearest, sort_world->documents[k].fields, &y);
  int order = query_distance_compare(nearest->measure, x, y);
  return order != 0 ? order
                    : doc_path_compare(&sort_world->documents[i].path, &sort_world->documents[k].path);
}

static size_t keep_nearest(size_t *found, size_t count) {
  size_t kept = 0;
  double distance;
  for (size_t i = 0; i < count; i++)
    if (query_distance_to(sort_query->nearest, sort_world->documents[found[i]].fields, &distance))
      found[kept++] = found[i];
  qsort(found, kept, sizeof *found, compare_distances);
  return kept < (size_t)sort_query->nearest->limit ? kept : (size_t)sort_query->nearest->limit;
}

static str naive(const struct query *query, const struct world *world, size_t *ret_count) {
  size_t found[DOCUMENTS + CHANGES], count = 0;
  for (size_t i = 0; i < world->count; i++)
    if (query_matches(query, &world->documents[i].path, world->documents[i].fields) &&
        query_within_cursors(query, &world->documents[i].path, world->documents[i].fields))
      found[count++] = i;
  sort_query = query;
  sort_world = world;
  qsort(found, count, sizeof *found, compare);
  size_t offset = (size_t)query->offset < count ? (size_t)query->offset : count;
  memmove(found, found + offset, (count - offset) * sizeof *found);
  count -= offset;
  if (query->has_limit && count > (size_t)query->limit)
    count = (size_t)query->limit;
  if (query->nearest != NULL)
    count = keep_nearest(found, count);
  struct buf names = {0};
  for (size_t i = 0; i < count; i++) {
    buf_append_str(&names, world->documents[found[i]].path.name);
    buf_append_byte(&names, '\n');
  }
  str copy = arena_str_copy(&query_arena, buf_str(&names));
  buf_fini(&names);
  *ret_count = count;
  return copy;
}

/* ---- What a transaction would remember ---- */

struct seen {
  struct kv_key keys[4096];
  struct kv_range ranges[256];
  size_t key_count, range_count;
};

static void see_range(void *argument, enum kv_space space, str lower, str upper) {
  struct seen *seen = argument;
  assert_true(seen->range_count < UNIT_COUNT(seen->ranges));
  seen->ranges[seen->range_count++] =
      (struct kv_range){space, arena_str_copy(&query_arena, lower), arena_str_copy(&query_arena, upper)};
}

static void see_document(void *argument, str key) {
  struct seen *seen = argument;
  assert_true(seen->key_count < UNIT_COUNT(seen->keys));
  seen->keys[seen->key_count++] = (struct kv_key){KV_DOCUMENTS, arena_str_copy(&query_arena, key)};
}

static status touch(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  (void)argument, (void)reader, (void)version;
  kv_batch_put(batch, KV_SYSTEM, STR("test"), STR("x"));
  return status_ok();
}

/* Whether a transaction that read this at `version` could commit now. */
static bool could_commit(struct run_store *store, const struct seen *seen, kv_version version) {
  struct kv_txn txn = {.read_version = version,
                       .keys = seen->keys,
                       .key_count = seen->key_count,
                       .ranges = seen->ranges,
                       .range_count = seen->range_count,
                       .resolve = touch};
  kv_version committed;
  status result = kv_commit_wait(store->store, &txn, &committed);
  if (result.code != STATUS_ABORTED)
    assert_status_ok(result);
  return result.code == STATUS_OK;
}

/* ---- The comparison ---- */

static void fail_with(const struct query *query, const struct query_run_options *options, const char *what,
                      str wanted, str got) {
  struct query_plan *plan;
  struct plan_options plan_options = {options->catalog, options->snapshot.version, QUERY_AUTO, false};
  str text, plan_text;
  assert_status_ok(query_format(query, &query_arena, &text));
  assert_status_ok(query_plan_make(query, &plan_options, &query_arena, &plan));
  assert_status_ok(query_plan_format(plan, &query_arena, &plan_text));
  fail_msg("%s: memory %zu: %.*s\nplan: %.*s\nwanted:\n%.*sgot:\n%.*s", what, options->memory_bytes_max,
           STR_ARG(text), STR_ARG(plan_text), STR_ARG(wanted), STR_ARG(got));
}

/* Counting goes another way, in any order where none matters. */
static void check_count(const struct query *query, const struct query_run_options *options, size_t wanted) {
  struct query_run *run;
  bool covered, done = false;
  uint64_t total = 0, count;
  assert_status_ok(query_run_open_values(query, NULL, 0, options, &query_arena, &run, &covered));
  while (!done) {
    assert_status_ok(query_run_count(run, 7, &count, &done));
    total += count;
  }
  query_run_close(run);
  if (total != wanted)
    fail_with(query, options, "count", str_make("", 0), str_make("", 0));
}

static void check(struct run_store *store, const struct query *query, const struct world *world,
                  const struct world *newer, struct random_source *r, const char *what, size_t *ret_rows) {
  struct seen *seen = calloc(1, sizeof *seen);
  struct query_reads reads = {see_range, see_document, seen};
  struct query_run_options options = run_store_options(store);
  struct query_stats stats;
  size_t count, newer_count;
  str got, wanted = naive(query, world, &count);
  bool pauses = random_chance(r, 40);
  options.reads = &reads;
  if (random_chance(r, 40))
    options.memory_bytes_max = 6000; /* a few documents */
  assert_status_ok(kv_snapshot_at(store->store, world->version, &options.snapshot));
  assert_status_ok(run_collect(query, &options, pauses, &query_arena, &got, &stats));
  if (!str_eq(got, wanted))
    fail_with(query, &options, what, wanted, got);
  if (!str_eq(naive(query, newer, &newer_count), wanted) && could_commit(store, seen, world->version))
    fail_with(query, &options, "a change of the answer was not seen", wanted, got);
  options.reads = NULL;
  check_count(query, &options, count);
  *ret_rows += (size_t)stats.rows;
  index_catalog_unref(options.catalog);
  free(seen);
}

static void round_of(uint64_t seed, size_t *ret_rows) {
  struct random_source r = {.state = seed};
  struct run_store store;
  struct world *before = calloc(1, sizeof *before), *after = calloc(1, sizeof *after);
  run_store_open(&store, random_definitions(&r));
  change(&store, &r, before, DOCUMENTS, 0);
  *after = *before;
  change(&store, &r, after, CHANGES, 40);
  struct query query;
  for (size_t i = 0; i < QUERIES; i++) {
    if (!random_query(&r, &query))
      continue;
    if (random_chance(&r, 10))
      query.nearest = random_nearest(&r);
    check(&store, &query, random_chance(&r, 40) ? before : after, after, &r,
          arena_printf(&query_arena, "seed %llu, query %zu", (unsigned long long)seed, i).ptr, ret_rows);
  }
  run_store_close(&store);
  free(before);
  free(after);
}

static void runs_give_what_a_naive_scan_gives(void **state) {
  (void)state;
  const char *seed_text = getenv("SKERRY_TEST_SEED"), *rounds_text = getenv("SKERRY_TEST_ROUNDS");
  uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 10) : 1;
  uint64_t rounds = rounds_text != NULL ? strtoull(rounds_text, NULL, 10) : 12;
  size_t rows = 0;
  for (uint64_t i = 0; i < rounds; i++) {
    round_of(seed + i, &rows);
    arena_reset(&query_arena);
  }
  printf("seeds %llu to %llu, %zu rows\n", (unsigned long long)seed, (unsigned long long)(seed + rounds - 1),
         rows);
  assert_true(rows > rounds * QUERIES);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(runs_give_what_a_naive_scan_gives)};
  return cmocka_run_group_tests(tests, query_build_init, query_build_fini);
}
