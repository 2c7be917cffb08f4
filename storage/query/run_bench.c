/* Numbers for queries without a server around them:
 *
 *   run_bench [documents [measurement]]     (default 100000, all)
 *
 * The documents have 300 bytes; each value of `group` is on 20 of them. For comparison the same 20 documents
 * are read by their keys, and an iterator is opened for nothing. One thread. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "storage/document/key.h"
#include "storage/index/catalog.h"
#include "storage/query/query_build.h"
#include "storage/query/run_internal.h"
#include "storage/query/run_support.h"

enum { RESULT = 20, MEASURE_MS = 1500, WRITE_AT_ONCE = 500 };

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(status s) {
  if (s.code == STATUS_OK)
    return;
  fprintf(stderr, "%s\n", s.message);
  abort();
}

/* ---- Data ---- */

static char filler[200];

/* Scattered, so that the documents of a group do not lie together. */
static const char *document_path(size_t i) {
  unsigned long long scattered = ((unsigned long long)i + 1) * 0x9E3779B97F4A7C15ULL;
  return arena_printf(&query_arena, "orders/%016llx", scattered).ptr;
}

static void load(struct run_store *store, size_t count) {
  memset(filler, 'x', sizeof filler - 1);
  for (size_t i = 0; i < count; i += WRITE_AT_ONCE) {
    struct doc_write writes[WRITE_AT_ONCE] = {0};
    for (size_t k = 0; k < WRITE_AT_ONCE; k++) {
      int64_t n = (int64_t)(i + k), groups = (int64_t)(count / RESULT);
      writes[k] = (struct doc_write){
          .kind = DOC_WRITE_SET,
          .path = build_path(document_path(i + k)),
          .fields = BUILD_MAP({STR("all"), build_integer(1)}, {STR("filler"), build_string(filler)},
                              {STR("group"), build_integer(n % groups)},
                              {STR("half"), build_integer(n / groups % 2)}, {STR("n"), build_integer(n)},
                              {STR("other"), build_integer(n % (groups / 4))},
                              {STR("tags"), BUILD_ARRAY(build_integer(n % groups), build_string("every"))})
                        .as.map};
    }
    run_store_write(store, writes, WRITE_AT_ONCE);
    arena_reset(&query_arena);
  }
}

/* ---- Measuring ---- */

struct bench {
  struct run_store *store;
  struct query_run_options options;
  size_t groups, at;
};

static size_t next_group(struct bench *b) {
  b->at = (b->at + 7919) % b->groups;
  return b->at;
}

static size_t run(struct bench *b, struct query *query) {
  struct query_run *open;
  enum query_step step;
  struct query_row row;
  size_t rows = 0;
  must(query_prepare(query, &query_arena));
  must(query_run_open(query, &b->options, &query_arena, &open));
  do {
    must(query_run_next(open, &step, &row));
    rows += step == QUERY_ROW;
  } while (step != QUERY_END);
  query_run_close(open);
  return rows;
}

static struct query with(struct query_filter where) {
  struct query query = build_query("", "orders");
  query.where = build_copy(&where, sizeof where);
  return query;
}

#define GROUP(b) build_integer((int64_t)next_group(b))

static size_t equality(struct bench *b) {
  struct query query = with(build_filter("group", QUERY_EQUAL, GROUP(b)));
  return run(b, &query);
}
static size_t two_equalities(struct bench *b) {
  struct doc_value group = GROUP(b);
  struct doc_value other = build_integer(group.as.integer % (int64_t)(b->groups / 4));
  struct query query =
      with(BUILD_AND(build_filter("group", QUERY_EQUAL, group), build_filter("other", QUERY_EQUAL, other)));
  return run(b, &query);
}
static size_t range_with_limit(struct bench *b) {
  struct query query = with(build_filter("n", QUERY_GREATER, build_integer((int64_t)next_group(b) * 19)));
  query.has_limit = true;
  query.limit = RESULT;
  return run(b, &query);
}
static size_t array_contains(struct bench *b) {
  struct query query = with(build_filter("tags", QUERY_ARRAY_CONTAINS, GROUP(b)));
  return run(b, &query);
}
static size_t or_of_five(struct bench *b) {
  struct query query = with(BUILD_AND(
      build_filter("group", QUERY_IN, BUILD_ARRAY(GROUP(b), GROUP(b), GROUP(b), GROUP(b), GROUP(b)))));
  query.has_limit = true;
  query.limit = RESULT;
  return run(b, &query);
}
static size_t top_of_group(struct bench *b) {
  struct query query = with(build_filter("group", QUERY_EQUAL, GROUP(b)));
  BUILD_ORDERS(&query, build_order("n", true));
  query.has_limit = true;
  query.limit = RESULT;
  return run(b, &query);
}
static size_t names_of_group(struct bench *b) {
  struct query query = with(build_filter("group", QUERY_EQUAL, GROUP(b)));
  query.names_only = true;
  return run(b, &query);
}
static size_t get_many(struct bench *b) {
  str keys[RESULT];
  struct kv_value values[RESULT] = {0};
  size_t group = next_group(b);
  for (size_t i = 0; i < RESULT; i++) {
    struct doc_path path = build_path(document_path(group + i * b->groups));
    must(doc_key_from_path(&path, &query_arena, &keys[i]));
  }
  must(kv_get_many(b->options.snapshot, KV_DOCUMENTS, RESULT, keys, values));
  size_t found = 0;
  for (size_t i = 0; i < RESULT; i++) {
    found += values[i].found;
    kv_value_release(&values[i]);
  }
  return found;
}
static size_t open_iterator(struct bench *b) {
  struct kv_iter *iter;
  must(kv_iter_open(b->options.snapshot, KV_INDEX, STR("\x01"), STR("\x02"), false, &iter));
  kv_iter_close(iter);
  return 1;
}
static size_t open_and_seek(struct bench *b) {
  struct kv_iter *iter;
  must(kv_iter_open(b->options.snapshot, KV_INDEX, STR("\x01"), STR("\x02"), false, &iter));
  bool any = kv_iter_next(iter);
  kv_iter_close(iter);
  return any;
}
static size_t count_all(struct bench *b) {
  struct query query = with(build_filter("all", QUERY_EQUAL, build_integer(1)));
  struct query_run *open;
  bool covered, done = false;
  size_t total = 0;
  must(query_prepare(&query, &query_arena));
  must(query_run_open_values(&query, NULL, 0, &b->options, &query_arena, &open, &covered));
  while (!done) {
    uint64_t count;
    must(query_run_count(open, UINT64_MAX, &count, &done));
    total += (size_t)count;
  }
  query_run_close(open);
  return total;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static const char *only; /* or NULL */

static void measure(struct bench *b, const char *name, size_t (*once)(struct bench *b)) {
  enum { SAMPLES = 200000 };
  if (only != NULL && strcmp(only, name) != 0)
    return;
  static double took[SAMPLES];
  size_t calls = 0, rows = 0;
  double start = now_s(), before = start;
  while (before - start < MEASURE_MS / 1000.0 && calls < SAMPLES) {
    rows += once(b);
    arena_reset(&query_arena);
    double now = now_s();
    took[calls++] = now - before;
    before = now;
  }
  qsort(took, calls, sizeof *took, compare_doubles);
  printf("%-18s %9.0f calls/s %10.0f rows/s  p50 %8.1f us  p99 %8.1f us\n", name,
         (double)calls / (before - start), (double)rows / (before - start), took[calls / 2] * 1e6,
         took[calls * 99 / 100] * 1e6);
}

int main(int argc, char **argv) {
  size_t count = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 100000;
  only = argc > 2 ? argv[2] : NULL;
  count -= count % WRITE_AT_ONCE;
  if (count == 0)
    count = WRITE_AT_ONCE;
  struct run_store store;
  query_build_init(NULL);
  run_store_open(&store, NULL);
  double start = now_s();
  load(&store, count);
  printf("%zu documents written in %.1f s\n", count, now_s() - start);
  struct bench b = {.store = &store, .options = run_store_options(&store), .groups = count / RESULT};
  for (int round = 0; round < 2; round++) {
    measure(&b, "get_many of 20", get_many);
    measure(&b, "open an iterator", open_iterator);
    measure(&b, "open and seek", open_and_seek);
    measure(&b, "equality", equality);
    measure(&b, "names only", names_of_group);
    measure(&b, "two equalities", two_equalities);
    measure(&b, "range and limit", range_with_limit);
    measure(&b, "array-contains", array_contains);
    measure(&b, "or of five", or_of_five);
    measure(&b, "equality and order", top_of_group);
    measure(&b, "count of all", count_all);
  }
  index_catalog_unref(b.options.catalog);
  run_store_close(&store);
  query_build_fini(NULL);
  return 0;
}
