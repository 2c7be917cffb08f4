/* Aggregations over a real store: known answers, and random ones against a naive reading of all documents.
 * SKERRY_TEST_SEED chooses others. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/unit.h"
/* After unit.h. */
#include "storage/query/aggregate.h"
#include "storage/query/match.h"
#include "storage/query/random_build.h"
#include "storage/query/run_support.h"
#include "storage/query/sum.h"

#define I(number) build_integer(number)
#define D(number) build_number(number)

static struct query_aggregate count_of(int64_t up_to) {
  return (struct query_aggregate){.op = QUERY_COUNT, .up_to = up_to};
}
static struct query_aggregate of(enum query_aggregate_op op, const char *field) {
  return (struct query_aggregate){.op = op, .field = build_field_path(field)};
}

/* ret_results has room for `count`. */
static void aggregate(struct run_store *store, const struct query *query,
                      const struct query_aggregate *wanted, size_t count, bool pauses,
                      struct doc_value *ret_results, struct query_stats *ret_stats) {
  struct query_run_options options = run_store_options(store);
  struct query_aggregation *aggregation;
  assert_status_ok(query_aggregation_open(query, wanted, count, &options, &query_arena, &aggregation));
  for (bool done = false; !done;) {
    assert_status_ok(query_aggregation_work(aggregation, &done));
    if (pauses && !done)
      query_aggregation_pause(aggregation);
  }
  query_aggregation_results(aggregation, ret_results);
  query_run_stats(query_aggregation_run(aggregation), ret_stats);
  query_aggregation_close(aggregation);
  index_catalog_unref(options.catalog);
}

static bool same(struct doc_value a, struct doc_value b) {
  if (a.type != b.type)
    return false;
  if (a.type == DOC_NULL)
    return true;
  if (a.type == DOC_INTEGER)
    return a.as.integer == b.as.integer;
  return (isnan(a.as.number) && isnan(b.as.number)) || a.as.number == b.as.number ||
         fabs(a.as.number - b.as.number) <= 1e-12 * fabs(b.as.number);
}

/* ---- Known answers ---- */

static struct run_store store;

static void write(size_t count, struct doc_write *writes) {
  run_store_write(&store, writes, count);
}
static struct doc_write set(const char *path, struct doc_value fields) {
  return (struct doc_write){.kind = DOC_WRITE_SET, .path = build_path(path), .fields = fields.as.map};
}

static int open_store(void **state) {
  query_build_init(state);
  run_store_open(&store, "{\"indexes\":[{\"collectionGroup\":\"c\",\"queryScope\":\"COLLECTION\",\"fields\":["
                         "{\"fieldPath\":\"k\",\"order\":\"ASCENDING\"},"
                         "{\"fieldPath\":\"x\",\"order\":\"ASCENDING\"}]}],\"fieldOverrides\":[]}");
  struct doc_write writes[] = {
      set("c/a", BUILD_MAP({STR("k"), I(1)}, {STR("x"), I(1)}, {STR("y"), I(2)})),
      set("c/b", BUILD_MAP({STR("k"), I(1)}, {STR("x"), I(2)})),
      set("c/d", BUILD_MAP({STR("k"), I(2)}, {STR("y"), I(3)})),
      set("c/e", BUILD_MAP({STR("k"), I(1)}, {STR("x"), build_string("t")}, {STR("y"), D(10)})),
      set("c/f", BUILD_MAP({STR("k"), I(2)}, {STR("x"), build_null()}, {STR("y"), build_null()})),
      set("c/g", BUILD_MAP({STR("k"), I(1)}, {STR("z"), BUILD_MAP({STR("q"), I(4)})})),
      set("i/a", BUILD_MAP({STR("x"), I(INT64_MAX)})),
      set("i/b", BUILD_MAP({STR("x"), I(1)})),
      set("n/a", BUILD_MAP({STR("x"), D(NAN)})),
      set("n/b", BUILD_MAP({STR("x"), I(1)})),
      set("m/a", BUILD_MAP({STR("x"), D(2)})),
      set("m/b", BUILD_MAP({STR("x"), I(9007199254740993)})),
  };
  write(UNIT_COUNT(writes), writes);
  return 0;
}
static int close_store(void **state) {
  run_store_close(&store);
  return query_build_fini(state);
}

static void check_known(struct query query, size_t count, const struct query_aggregate *wanted,
                        const struct doc_value *values, int documents, int line) {
  struct doc_value results[QUERY_AGGREGATES_MAX];
  struct query_stats stats;
  assert_status_ok(query_prepare(&query, &query_arena));
  aggregate(&store, &query, wanted, count, false, results, &stats);
  for (size_t i = 0; i < count; i++)
    if (!same(results[i], values[i]))
      fail_msg("line %d: aggregate %zu is %g", line, i,
               results[i].type == DOC_DOUBLE ? results[i].as.number : (double)results[i].as.integer);
  if (documents >= 0 && stats.documents != (uint64_t)documents)
    fail_msg("line %d: %" PRIu64 " documents read", line, stats.documents);
}
#define LIST(...) __VA_ARGS__
#define CHECK(query, documents, wanted, values)                                                              \
  check_known(query, BUILD_COUNT(struct query_aggregate, wanted), (struct query_aggregate[]){wanted},        \
              (struct doc_value[]){values}, documents, __LINE__)

static struct query all_of(const char *collection) {
  return build_query("", collection);
}
static struct query where(const char *field, enum query_op op, struct doc_value operand) {
  struct query query = build_query("", "c");
  struct query_filter filter = build_filter(field, op, operand);
  query.where = build_copy(&filter, sizeof filter);
  return query;
}

/* As the emulator answers; and where indexes suffice no document is read. */
static void test_known_answers(void **state) {
  (void)state;
  CHECK(all_of("c"), -1, LIST(count_of(0)), LIST(I(6)));
  CHECK(all_of("c"), -1, LIST(count_of(4)), LIST(I(4)));
  CHECK(all_of("c"), -1, LIST(count_of(2), count_of(3), count_of(9)), LIST(I(2), I(3), I(6)));
  CHECK(all_of("nothing"), -1, LIST(count_of(0), of(QUERY_SUM, "x"), of(QUERY_AVERAGE, "x")),
        LIST(I(0), I(0), build_null()));
  CHECK(all_of("c"), 0, LIST(of(QUERY_SUM, "x")), LIST(I(3)));
  CHECK(all_of("c"), 0, LIST(of(QUERY_SUM, "y"), of(QUERY_AVERAGE, "y")), LIST(D(15), D(5)));
  CHECK(all_of("c"), -1, LIST(of(QUERY_SUM, "x"), of(QUERY_SUM, "y")), LIST(I(1), D(12)));
  CHECK(all_of("c"), -1, LIST(count_of(0), of(QUERY_SUM, "x"), of(QUERY_SUM, "y")), LIST(I(3), I(1), D(12)));
  CHECK(all_of("c"), 0, LIST(count_of(2), of(QUERY_SUM, "x")), LIST(I(2), I(3)));
  CHECK(all_of("c"), 0, LIST(count_of(0), of(QUERY_SUM, "z.q")), LIST(I(1), I(4)));
  CHECK(all_of("c"), 0, LIST(of(QUERY_SUM, "x"), of(QUERY_SUM, "x"), of(QUERY_AVERAGE, "x")),
        LIST(I(3), I(3), D(1.5)));
  CHECK(where("k", QUERY_EQUAL, I(1)), 0, LIST(count_of(0)), LIST(I(4)));
  CHECK(where("k", QUERY_EQUAL, I(1)), 0, LIST(count_of(0), of(QUERY_SUM, "x")), LIST(I(3), I(3)));
  CHECK(where("k", QUERY_EQUAL, I(1)), 0, LIST(of(QUERY_SUM, "k")), LIST(I(4)));
  CHECK(where("k", QUERY_EQUAL, D(1)), 0, LIST(of(QUERY_SUM, "k")), LIST(I(4)));
  CHECK(where("k", QUERY_EQUAL, I(1)), -1, LIST(of(QUERY_SUM, "y")), LIST(D(12)));
  CHECK(where("x", QUERY_GREATER, I(0)), 0, LIST(of(QUERY_SUM, "x"), count_of(0)), LIST(I(3), I(2)));
  CHECK(where("x", QUERY_EQUAL, build_null()), -1, LIST(count_of(0), of(QUERY_SUM, "y")), LIST(I(0), I(0)));
  CHECK(all_of("i"), 0, LIST(of(QUERY_SUM, "x")), LIST(D(0x1p63)));
  CHECK(all_of("n"), 0, LIST(of(QUERY_SUM, "x"), of(QUERY_AVERAGE, "x")), LIST(D(NAN), D(NAN)));
  CHECK(all_of("m"), 0, LIST(of(QUERY_SUM, "x")), LIST(D(9007199254740996)));
  struct query limited = all_of("c");
  limited.has_limit = true;
  limited.limit = 2;
  CHECK(limited, -1, LIST(count_of(0)), LIST(I(2)));
  CHECK(limited, -1, LIST(count_of(0), of(QUERY_SUM, "x")), LIST(I(2), I(1))); /* null, 1 */
  limited.has_limit = false;
  limited.offset = 1;
  CHECK(limited, -1, LIST(count_of(0)), LIST(I(5)));
  CHECK(limited, -1, LIST(count_of(0), of(QUERY_SUM, "y")), LIST(I(3), D(15)));
}

/* ---- Random ones ---- */

enum { DOCUMENTS = 120, QUERIES = 400 };

struct world {
  struct doc_path paths[DOCUMENTS];
  struct doc_map fields[DOCUMENTS];
  size_t count;
};
static const struct world *sort_world;
static const struct query *sort_query;

static int compare(const void *a, const void *b) {
  size_t i = *(const size_t *)a, k = *(const size_t *)b;
  return query_compare(sort_query, &sort_world->paths[i], sort_world->fields[i], &sort_world->paths[k],
                       sort_world->fields[k]);
}

static bool has_all(const struct query_aggregate *wanted, size_t count, struct doc_map fields) {
  for (size_t i = 0; i < count; i++)
    if (wanted[i].op != QUERY_COUNT && query_field_get(fields, &wanted[i].field) == NULL)
      return false;
  return true;
}

/* The query whose orders hold the fields, as aggregate.h says. */
static struct query with_orders(const struct query *query, const struct query_aggregate *wanted,
                                size_t count) {
  struct query_order orders[16];
  struct query_order name = query->orders[query->order_count - 1];
  size_t order_count = query->order_count - 1, first = order_count;
  memcpy(orders, query->orders, order_count * sizeof *orders);
  for (size_t i = 0; i < count; i++) {
    bool there = wanted[i].op == QUERY_COUNT;
    for (size_t k = 0; k < order_count; k++)
      there = there || doc_field_path_compare(&orders[k].field.path, &wanted[i].field) == 0;
    if (!there)
      orders[order_count++] =
          (struct query_order){.field.path = wanted[i].field, .descending = name.descending};
  }
  for (size_t i = first; i < order_count; i++)
    for (size_t k = i + 1; k < order_count; k++)
      if (doc_field_path_compare(&orders[k].field.path, &orders[i].field.path) < 0) {
        struct query_order swapped = orders[i];
        orders[i] = orders[k];
        orders[k] = swapped;
      }
  orders[order_count++] = name;
  struct query result = *query;
  result.orders = build_copy(orders, order_count * sizeof *orders);
  result.order_count = order_count;
  return result;
}

static void naive(const struct query *query, const struct world *world, const struct query_aggregate *wanted,
                  size_t count, struct doc_value *ret) {
  size_t found[DOCUMENTS], found_count = 0;
  struct query ordered = with_orders(query, wanted, count);
  for (size_t i = 0; i < world->count; i++)
    if (query_matches(query, &world->paths[i], world->fields[i]) &&
        query_within_cursors(query, &world->paths[i], world->fields[i]) &&
        has_all(wanted, count, world->fields[i]))
      found[found_count++] = i;
  sort_query = &ordered;
  sort_world = world;
  qsort(found, found_count, sizeof *found, compare);
  size_t first = (size_t)query->offset < found_count ? (size_t)query->offset : found_count;
  size_t end = query->has_limit && (size_t)query->limit < found_count - first ? first + (size_t)query->limit
                                                                              : found_count;
  for (size_t i = 0; i < count; i++) {
    struct query_sum sum = {0};
    for (size_t k = first; k < end && wanted[i].op != QUERY_COUNT; k++)
      query_sum_add(&sum, query_field_get(world->fields[found[k]], &wanted[i].field));
    int64_t rows = (int64_t)(end - first);
    ret[i] = wanted[i].op == QUERY_SUM ? query_sum_value(&sum)
             : wanted[i].op == QUERY_AVERAGE
                 ? query_sum_average(&sum)
                 : I(wanted[i].up_to > 0 && rows > wanted[i].up_to ? wanted[i].up_to : rows);
  }
}

static void fill(struct run_store *filled, struct random_source *r, struct world *world) {
  struct doc_write writes[DOCUMENTS];
  for (size_t i = 0; i < DOCUMENTS; i++) {
    struct doc_path path = build_path(random_path(r));
    struct doc_map fields = random_document(r);
    size_t at = 0;
    while (at < world->count && !str_eq(world->paths[at].name, path.name))
      at++;
    world->paths[at] = path;
    world->fields[at] = fields;
    world->count += at == world->count;
    writes[i] = (struct doc_write){.kind = DOC_WRITE_SET, .path = path, .fields = fields};
  }
  run_store_write(filled, writes, DOCUMENTS);
}

/* An order by __name__ that the client gave is the only one with a limit or cursors: there the fields are no
 * orders. */
static bool orders_are_fixed(const struct query *query) {
  bool positions = query->has_limit || query->offset > 0 || query->start.count > 0 || query->end.count > 0;
  return query->explicit_order_count == query->order_count && positions;
}

static void check_random(struct run_store *filled, struct random_source *r, const struct world *world,
                         uint64_t seed, size_t at) {
  struct query query;
  struct query_aggregate wanted[QUERY_AGGREGATES_MAX];
  struct doc_value results[QUERY_AGGREGATES_MAX], truth[QUERY_AGGREGATES_MAX];
  struct query_stats stats;
  if (!random_query(r, &query))
    return;
  size_t count = 1 + random_below(r, QUERY_AGGREGATES_MAX);
  bool only_count = random_chance(r, 30) || orders_are_fixed(&query);
  for (size_t i = 0; i < count; i++)
    wanted[i] = only_count || random_chance(r, 30)
                    ? count_of(random_chance(r, 40) ? 1 + (int64_t)random_below(r, 20) : 0)
                    : of(random_chance(r, 50) ? QUERY_SUM : QUERY_AVERAGE, random_fields[random_below(r, 3)]);
  aggregate(filled, &query, wanted, count, random_chance(r, 30), results, &stats);
  naive(&query, world, wanted, count, truth);
  for (size_t i = 0; i < count; i++)
    if (!same(results[i], truth[i])) {
      str text;
      assert_status_ok(query_format(&query, &query_arena, &text));
      fail_msg("seed %" PRIu64 ", query %zu, aggregate %zu (%d): " STR_FMT, seed, at, i, (int)wanted[i].op,
               STR_ARG(text));
    }
}

static void test_random_ones(void **state) {
  (void)state;
  const char *given = getenv("SKERRY_TEST_SEED");
  uint64_t first = given == NULL ? 1 : strtoull(given, NULL, 10);
  for (uint64_t seed = first; seed < first + 6; seed++) {
    struct random_source r = {.state = seed};
    struct run_store filled;
    struct world *world = calloc(1, sizeof *world);
    run_store_open(&filled, random_definitions(&r));
    fill(&filled, &r, world);
    for (size_t i = 0; i < QUERIES; i++)
      check_random(&filled, &r, world, seed, i);
    run_store_close(&filled);
    free(world);
    arena_reset(&query_arena);
  }
  printf("seeds %" PRIu64 " to %" PRIu64 "\n", first, first + 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_known_answers, open_store, close_store),
      cmocka_unit_test_setup_teardown(test_random_ones, query_build_init, query_build_fini),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
