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

static str naive(const struct query *query, const struct world *world) {
  size_t found[DOCUMENTS + CHANGES], count = 0;
  for (size_t i = 0; i < world->count; i++)
    if (query_matches(query, &world->documents[i].path, world->documents[i].fields) &&
        query_within_cursors(query, &world->documents[i].path, world->documents[i].fields))
      found[count++] = i;
  sort_query = query;
  sort_world = world;
  qsort(found, count, sizeof *found, compare);
  struct buf names = {0};
  for (size_t i = (size_t)query->offset;
       i < count && (!query->has_limit || i < (size_t)(query->offset + query->limit)); i++) {
    buf_append_str(&names, world->documents[found[i]].path.name);
    buf_append_byte(&names, '\n');
  }
  str copy = arena_str_copy(&query_arena, buf_str(&names));
  buf_fini(&names);
  return copy;
}

/* ---- The comparison ---- */

static void check(struct run_store *store, const struct query *query, const struct world *world,
                  struct random_source *r, uint64_t seed, size_t at, size_t *ret_rows) {
  struct query_run_options options = run_store_options(store);
  struct query_stats stats;
  str got, wanted = naive(query, world), text = {0}, plan_text = {0};
  bool pauses = random_chance(r, 40);
  if (random_chance(r, 40))
    options.memory_bytes_max = 4000; /* a few documents */
  assert_status_ok(kv_snapshot_at(store->store, world->version, &options.snapshot));
  status result = run_collect(query, &options, pauses, &query_arena, &got, &stats);
  if (result.code != STATUS_OK || !str_eq(got, wanted)) {
    struct query_plan *plan;
    struct plan_options plan_options = {options.catalog, world->version, QUERY_AUTO, false};
    assert_status_ok(query_format(query, &query_arena, &text));
    assert_status_ok(query_plan_make(query, &plan_options, &query_arena, &plan));
    assert_status_ok(query_plan_format(plan, &query_arena, &plan_text));
    fprintf(stderr, "seed %llu, query %zu%s, memory %zu: %s\nplan: %.*s\nwanted:\n%.*sgot (%s):\n%.*s",
            (unsigned long long)seed, at, pauses ? ", pauses" : "", options.memory_bytes_max, text.ptr,
            STR_ARG(plan_text), STR_ARG(wanted), result.message, STR_ARG(got));
    fail();
  }
  *ret_rows += stats.rows;
  index_catalog_unref(options.catalog);
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
  for (size_t i = 0; i < QUERIES; i++)
    if (random_query(&r, &query))
      check(&store, &query, random_chance(&r, 30) ? before : after, &r, seed, i, ret_rows);
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
