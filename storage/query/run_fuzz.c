/* Any query that query_prepare lets pass has a plan, and runs to its end with the rows that matching every
 * document gives, whatever its order. The bytes choose the query (random_build.h); the documents are always
 * the same. */
#include <assert.h>
#include <stdlib.h>

#include "storage/index/catalog.h"
#include "storage/query/match.h"
#include "storage/query/random_build.h"
#include "storage/query/run_support.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { DOCUMENTS = 60 };

static struct run_store store;
static struct query_run_options options;
static struct doc_write *documents;
static struct arena kept; /* query_arena after the documents were made */

static void tear_down(void) {
  index_catalog_unref(options.catalog);
  run_store_close(&store);
  arena_fini(&kept);
}

static void set_up(void) {
  struct random_source r = {.state = 7};
  query_build_init(NULL);
  run_store_open(&store, random_definitions(&r));
  documents = arena_calloc(&query_arena, DOCUMENTS, sizeof *documents);
  for (size_t i = 0; i < DOCUMENTS; i++)
    documents[i] = (struct doc_write){.path = build_path(arena_printf(&query_arena, "c/%zu", i).ptr),
                                      .fields = random_document(&r)};
  run_store_write(&store, documents, DOCUMENTS);
  options = run_store_options(&store);
  kept = query_arena;
  atexit(tear_down);
}

static size_t naive_count(const struct query *query) {
  size_t count = 0;
  for (size_t i = 0; i < DOCUMENTS; i++)
    count += query_matches(query, &documents[i].path, documents[i].fields) &&
             query_within_cursors(query, &documents[i].path, documents[i].fields);
  count -= count < (size_t)query->offset ? count : (size_t)query->offset;
  return query->has_limit && count > (size_t)query->limit ? (size_t)query->limit : count;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  if (documents == NULL)
    set_up();
  if (size == 0)
    return 0;
  struct random_source r = {.bytes = bytes, .byte_count = size};
  struct query query;
  struct query_stats stats;
  str names;
  query_build_init(NULL);
  if (random_query(&r, &query)) {
    status result = run_collect(&query, &options, (bytes[0] & 1) != 0, &query_arena, &names, &stats);
    assert(result.code == STATUS_OK);
    assert(query.nearest != NULL || stats.rows == naive_count(&query));
  }
  arena_fini(&query_arena);
  return 0;
}
