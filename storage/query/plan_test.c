/* Which plan a query gets: a table. */
#include "tests/support/unit.h"
/* After unit.h. */
#include "storage/index/set.h"
#include "storage/query/plan.h"
#include "storage/query/query_build.h"
#include "storage/query/run_support.h"

static struct run_store store;

#define FIELD(path, order) "{\"fieldPath\":\"" path "\",\"order\":\"" order "\"}"
#define UP(path) FIELD(path, "ASCENDING")
#define DOWN(path) FIELD(path, "DESCENDING")
#define CONTAINS(path) "{\"fieldPath\":\"" path "\",\"arrayConfig\":\"CONTAINS\"}"
#define INDEX(collection, scope, fields)                                                                     \
  "{\"collectionGroup\":\"" collection "\",\"queryScope\":\"" scope "\",\"fields\":[" fields "]}"

static const char definitions[] =
    "{\"indexes\":[" INDEX("c", "COLLECTION", UP("x") "," DOWN("time")) "," INDEX("c", "COLLECTION", UP("y") "," DOWN("time")) "," INDEX(
        "c", "COLLECTION",
        CONTAINS("tags") "," DOWN(
            "time")) "," INDEX("c", "COLLECTION",
                               UP("p") "," UP(
                                   "q")) "," INDEX("c", "COLLECTION_GROUP",
                                                   UP("x") "," UP(
                                                       "time")) "," INDEX("c", "COLLECTION",
                                                                          UP("r") "," UP("s") "," DOWN(
                                                                              "__name__")) "],"
                                                                                           "\"fieldOverrides"
                                                                                           "\":["
                                                                                           "{\"collectionGrou"
                                                                                           "p\":\"c\","
                                                                                           "\"fieldPath\":"
                                                                                           "\"exempt\","
                                                                                           "\"indexes\":[]},"
                                                                                           "{\"collectionGrou"
                                                                                           "p\":\"c\","
                                                                                           "\"fieldPath\":"
                                                                                           "\"grouped\","
                                                                                           "\"indexes\":["
                                                                                           "{\"queryScope\":"
                                                                                           "\"COLLECTION_"
                                                                                           "GROUP\","
                                                                                           "\"order\":"
                                                                                           "\"ASCENDING\"}]}]"
                                                                                           "}";

static int set_up(void **state) {
  query_build_init(state);
  run_store_open(&store, definitions);
  return 0;
}
static int tear_down(void **state) {
  run_store_close(&store);
  return query_build_fini(state);
}

/* ---- Queries in one line each ---- */

static struct query in(const char *collection) {
  return build_query("", collection);
}
static struct query where(struct query query, struct query_filter filter) {
  query.where = build_copy(&filter, sizeof filter);
  return query;
}
static struct query group(struct query query) {
  query.all_descendants = true;
  return query;
}
static struct query limit(struct query query, int64_t count) {
  query.has_limit = true;
  query.limit = count;
  return query;
}
static struct query by(struct query query, const char *field, bool descending) {
  struct query_order *orders = arena_alloc(&query_arena, (query.order_count + 1) * sizeof *orders);
  if (query.order_count > 0)
    memcpy(orders, query.orders, query.order_count * sizeof *orders);
  orders[query.order_count++] = build_order(field, descending);
  query.orders = orders;
  return query;
}
static struct query_filter is(const char *field, enum query_op op) {
  return build_filter(field, op, build_integer(1));
}
static struct query_filter eq(const char *field) {
  return is(field, QUERY_EQUAL);
}
#define AND BUILD_AND

static status plan(struct query query, kv_version version, enum query_index_mode mode,
                   struct query_plan **ret) {
  struct query *prepared = build_copy(&query, sizeof query);
  struct index_catalog *catalog = index_set_current(store.set);
  struct plan_options options = {catalog, version != 0 ? version : kv_newest_version(store.store), mode,
                                 false};
  assert_status_ok(query_prepare(prepared, &query_arena));
  status result = query_plan_make(prepared, &options, &query_arena, ret);
  index_catalog_unref(catalog); /* the set still holds it */
  return result;
}

static void expect(struct query query, const char *wanted, bool missing, int line) {
  struct query_plan *made;
  str text;
  assert_status_ok(plan(query, 0, QUERY_AUTO, &made));
  assert_status_ok(query_plan_format(made, &query_arena, &text));
  if (!str_eq(text, str_from_cstr(wanted)) || (made->missing.len > 0) != missing)
    fail_msg("line %d: \"%.*s\", missing \"%.*s\"", line, STR_ARG(text), STR_ARG(made->missing));
  status strict = plan(query, 0, QUERY_STRICT, &made);
  if ((strict.code == STATUS_FAILED_PRECONDITION) != missing)
    fail_msg("line %d: strict: %s", line, strict.message);
}
#define DIRECT(query, wanted) expect(query, wanted, false, __LINE__)
#define MISSING(query, wanted) expect(query, wanted, true, __LINE__)

static void without_filters(void **state) {
  (void)state;
  DIRECT(in("c"), "documents");
  DIRECT(by(in("c"), "__name__", true), "documents backwards");
  DIRECT(by(in("c"), "a", false), "a+");
  DIRECT(by(in("c"), "a", true), "a+ backwards");
  DIRECT(group(in("c")), "names");
  DIRECT(group(by(in("c"), "__name__", true)), "names backwards");
  MISSING(group(by(in("c"), "a", false)), "names sort");
  DIRECT(group(by(in("c"), "grouped", false)), "grouped+");
  MISSING(by(in("c"), "exempt", false), "documents sort");
  MISSING(by(by(in("c"), "a", false), "b", false), "documents sort");
  DIRECT(by(by(in("c"), "p", false), "q", false), "p+,q+");
  DIRECT(by(by(in("c"), "p", true), "q", true), "p+,q+ backwards");
  MISSING(by(by(in("c"), "p", true), "q", false), "documents sort");
  MISSING(by(by(by(in("c"), "p", false), "q", false), "__name__", true), "documents sort");
  DIRECT(by(by(by(in("c"), "r", false), "s", false), "__name__", true), "r+,s+");
}

static void with_equalities(void **state) {
  (void)state;
  DIRECT(where(in("c"), eq("a")), "a=");
  DIRECT(where(by(in("c"), "__name__", true), eq("a")), "a= backwards");
  DIRECT(where(in("c"), AND(eq("a"), eq("b"))), "a= join b=");
  DIRECT(where(in("c"), AND(eq("p"), eq("q"))), "p=,q=");
  DIRECT(where(in("c"), AND(eq("a"), eq("q"), eq("p"))), "p=,q= join a=");
  DIRECT(where(in("c"), AND(eq("a"), is("tags", QUERY_ARRAY_CONTAINS))), "a= join tags[]");
  DIRECT(where(by(in("c"), "a", true), eq("a")), "a= backwards");
  MISSING(where(in("c"), eq("exempt")), "documents filter 1");
  MISSING(where(in("c"), AND(eq("a"), eq("exempt"))), "a= filter 1");
  MISSING(where(group(in("c")), eq("a")), "names filter 1");
}

static void with_orders_and_ranges(void **state) {
  (void)state;
  DIRECT(where(by(in("c"), "time", true), eq("x")), "x=,time-");
  DIRECT(where(by(in("c"), "time", false), eq("x")), "x=,time- backwards");
  DIRECT(where(by(in("c"), "time", true), AND(eq("x"), eq("y"))), "x=,time- join y=,time-");
  DIRECT(where(by(in("c"), "time", true), AND(eq("x"), is("tags", QUERY_ARRAY_CONTAINS))),
         "x=,time- join tags[],time-");
  DIRECT(where(in("c"), AND(eq("x"), is("time", QUERY_GREATER))), "x=,time- backwards");
  DIRECT(where(in("c"), is("a", QUERY_GREATER)), "a+");
  DIRECT(where(in("c"), is("a", QUERY_NOT_EQUAL)), "a+ ranges 3");
  DIRECT(where(in("c"), AND(is("p", QUERY_GREATER), is("q", QUERY_LESS))), "p+,q+ filter 1");
  MISSING(where(in("c"), AND(is("a", QUERY_GREATER), is("b", QUERY_LESS))), "a+ filter 1 sort");
  MISSING(where(by(in("c"), "b", false), eq("a")), "a= sort");
  MISSING(limit(where(by(in("c"), "b", false), eq("a")), 5), "a= sort");
  MISSING(where(by(in("c"), "time", true), AND(eq("x"), eq("a"))), "x= join a= sort");
  MISSING(limit(where(by(in("c"), "time", true), AND(eq("x"), eq("a"))), 5), "x=,time- filter 1");
  MISSING(where(by(in("c"), "a", true), eq("exempt")), "a+ backwards filter 1");
  DIRECT(where(group(by(in("c"), "time", false)), eq("x")), "x=,time+");
  MISSING(where(by(in("d"), "time", true), eq("x")), "x= sort");
}

static void with_alternatives(void **state) {
  (void)state;
  struct doc_value values = BUILD_ARRAY(build_integer(1), build_integer(2));
  DIRECT(where(in("c"), build_filter("a", QUERY_IN, values)), "a= or a=");
  DIRECT(where(by(in("c"), "time", true), build_filter("x", QUERY_IN, values)), "x=,time- or x=,time-");
  MISSING(where(in("c"), BUILD_OR(eq("a"), eq("exempt"))), "documents filter 1");
  DIRECT(where(in("c"), BUILD_OR(eq("a"), AND(eq("b"), eq("x")))), "a= or b= join x=");
  DIRECT(where(in("c"), build_filter("__name__", QUERY_EQUAL, build_reference("c/1"))), "documents");
  DIRECT(where(in("c"), AND(eq("a"), build_filter("__name__", QUERY_GREATER, build_reference("c/1")))), "a=");
}

static void the_missing_index_is_said(void **state) {
  (void)state;
  struct query_plan *made;
  struct query query = where(by(in("c"), "b.c", true), AND(eq("a"), is("tags", QUERY_ARRAY_CONTAINS)));
  const char *wanted = INDEX("c", "COLLECTION", UP("a") "," CONTAINS("tags") "," DOWN("b.c"));
  assert_status_ok(plan(query, 0, QUERY_AUTO, &made));
  assert_str_is(made->missing, wanted);
  status strict = plan(query, 0, QUERY_STRICT, &made);
  assert_int_equal(strict.code, STATUS_FAILED_PRECONDITION);
  assert_non_null(strstr(strict.message, "The query requires an index."));
  assert_non_null(strstr(strict.message, wanted));

  struct index_definitions parsed; /* it can be put into the file as it is */
  str file = arena_printf(&query_arena, "{\"indexes\":[%s]}", wanted);
  assert_status_ok(index_definitions_parse(file, &query_arena, &parsed));
}

static void an_index_is_not_used_before_it_was_ready(void **state) {
  (void)state;
  struct query_plan *made;
  str text;
  assert_status_ok(plan(where(by(in("c"), "time", true), eq("x")), 1, QUERY_AUTO, &made));
  assert_status_ok(query_plan_format(made, &query_arena, &text));
  assert_str_is(text, "x= sort");
}

static void what_excludes_itself_reads_nothing(void **state) {
  (void)state;
  DIRECT(where(in("c"), AND(is("a", QUERY_GREATER), build_filter("a", QUERY_LESS, build_integer(0)))),
         "nothing");
  DIRECT(where(in("c"), build_filter("__name__", QUERY_EQUAL, build_reference("d/1"))), "nothing");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_filters),
      cmocka_unit_test(with_equalities),
      cmocka_unit_test(with_orders_and_ranges),
      cmocka_unit_test(with_alternatives),
      cmocka_unit_test(the_missing_index_is_said),
      cmocka_unit_test(an_index_is_not_used_before_it_was_ready),
      cmocka_unit_test(what_excludes_itself_reads_nothing),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
