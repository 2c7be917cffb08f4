/* What a query is allowed is what each of its documents would be allowed: random filters, random conditions,
 * random documents. Where rules allow the query, they must allow a get of every document that passes its
 * filters. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "server/rules/fixture.h"
#include "server/rules/query.h"
#include "storage/document/codec.h"
#include "storage/query/match.h"
#include "tests/support/unit.h"

static uint64_t random_state;

static uint32_t below(uint32_t count) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(random_state >> 33) % count;
}

static const char *const fields[] = {"a", "b", "m"};
static const char *const texts[] = {"", "k", "p"};

/* A document's value, or a filter's. Numbers are integers or halves: 1 and 1.0 both pass `== 1`, which rules
 * are documented to take for the same. */
static struct doc_value random_value(bool may_be_list) {
  struct doc_value value = {.type = DOC_NULL};
  switch (below(may_be_list ? 7 : 6)) {
  case 0:
    value.type = DOC_BOOLEAN;
    value.as.boolean = below(2) == 0;
    break;
  case 1:
  case 2:
    value.type = DOC_INTEGER;
    value.as.integer = (int64_t)below(4) - 1;
    break;
  case 3:
    value.type = DOC_DOUBLE;
    value.as.number = 0.5 + (double)below(3);
    break;
  case 4:
    value.type = DOC_STRING;
    value.as.text = str_from_cstr(texts[below(3)]);
    break;
  case 6: {
    struct doc_value *items = ARENA_NEW_ARRAY(&fixture_arena, struct doc_value, 2);
    size_t count = below(3);
    for (size_t i = 0; i < count; i++)
      items[i] = random_value(false);
    value.type = DOC_ARRAY;
    value.as.array = (struct doc_array){items, count};
    break;
  }
  default:
    break;
  }
  return value;
}

static struct doc_map random_document(void) {
  struct doc_field *all = ARENA_NEW_ARRAY(&fixture_arena, struct doc_field, 3);
  size_t count = 0;
  for (size_t i = 0; i < 3; i++) {
    if (below(5) == 0)
      continue;
    all[count].name = str_from_cstr(fields[i]);
    all[count].value = random_value(true);
    if (i == 2 && below(3) > 0) { /* m: a map */
      struct doc_field *inner = ARENA_NEW(&fixture_arena, struct doc_field);
      *inner = (struct doc_field){STR("x"), random_value(true)};
      all[count].value = (struct doc_value){.type = DOC_MAP, .as.map = {inner, below(4) > 0}};
    }
    count++;
  }
  return (struct doc_map){all, count};
}

/* ---- Filters ---- */

static struct query_filter random_filter(void) {
  static const enum query_op ops[] = {QUERY_EQUAL,         QUERY_EQUAL,   QUERY_LESS,
                                      QUERY_LESS_OR_EQUAL, QUERY_GREATER, QUERY_GREATER_OR_EQUAL,
                                      QUERY_NOT_EQUAL,     QUERY_NOT_IN,  QUERY_ARRAY_CONTAINS,
                                      QUERY_IS_NOT_NULL,   QUERY_IN};
  struct query_filter filter = {.kind = QUERY_FIELD_FILTER, .op = ops[below(UNIT_COUNT(ops))]};
  str *segments = ARENA_NEW_ARRAY(&fixture_arena, str, 2);
  uint32_t which = below(4);
  segments[0] = str_from_cstr(fields[which < 3 ? which : 2]);
  segments[1] = STR("x");
  filter.field.path = (struct doc_field_path){segments, which == 3 ? 2 : 1};
  bool takes_list = filter.op == QUERY_NOT_IN || filter.op == QUERY_IN;
  filter.operand = random_value(!takes_list && filter.op != QUERY_ARRAY_CONTAINS);
  if (takes_list) {
    struct doc_value *items = ARENA_NEW_ARRAY(&fixture_arena, struct doc_value, 2);
    items[0] = random_value(false);
    items[1] = random_value(false);
    filter.operand = (struct doc_value){.type = DOC_ARRAY, .as.array = {items, 1 + below(2)}};
  }
  return filter;
}

static struct query_filter random_where(void) {
  struct query_filter *filters = ARENA_NEW_ARRAY(&fixture_arena, struct query_filter, 3);
  size_t count = 1 + below(3);
  for (size_t i = 0; i < count; i++)
    filters[i] = random_filter();
  return (struct query_filter){
      .kind = below(4) == 0 ? QUERY_OR : QUERY_AND, .filters = filters, .filter_count = count};
}

/* ---- Conditions ---- */

static void put_field(struct buf *out) {
  static const char *const names[] = {"resource.data.a",
                                      "resource.data.b",
                                      "resource.data.m",
                                      "resource.data.m.x",
                                      "resource.data['a']",
                                      "resource.data.get('a', 1)",
                                      "id",
                                      "resource.data.get(['m', 'x'], 0)"};
  buf_append_str(out, str_from_cstr(names[below(UNIT_COUNT(names))]));
}

static void put_literal(struct buf *out) {
  static const char *const literals[] = {"0",    "1",  "2",   "-1",  "0.5", "1.5", "true", "false",
                                         "null", "''", "'k'", "'p'", "[]",  "[1]", "['k']"};
  buf_append_str(out, str_from_cstr(literals[below(UNIT_COUNT(literals))]));
}

static void put_condition(struct buf *out, unsigned depth);

static void put_comparison(struct buf *out) {
  static const char *const operators[] = {"==", "!=", "<", "<=", ">", ">="};
  static const char *const types[] = {"int", "float", "number", "string", "bool", "list", "map", "timestamp"};
  switch (below(9)) {
  case 0:
    buf_append_str(out, STR("("));
    put_field(out);
    buf_printf(out, " is %s)", types[below(UNIT_COUNT(types))]);
    return;
  case 1:
    put_field(out);
    buf_append_str(out, STR(" in ["));
    put_literal(out);
    buf_append_str(out, STR(", "));
    put_literal(out);
    buf_append_str(out, STR("]"));
    return;
  case 2:
    put_literal(out);
    buf_append_str(out, STR(" in "));
    put_field(out);
    return;
  case 3:
    buf_printf(out, "'%s' in resource.data", fields[below(3)]);
    return;
  case 4:
    put_field(out);
    buf_printf(out, ".%s([", below(2) == 0 ? "hasAny" : "hasAll");
    put_literal(out);
    buf_append_str(out, STR("])"));
    return;
  case 5: /* arithmetic and the like */
    buf_append_str(out, STR("("));
    put_field(out);
    buf_append_str(out, below(2) == 0 ? STR(" / 2 == ") : STR(" + 1 > "));
    put_literal(out);
    buf_append_str(out, STR(")"));
    return;
  case 6:
    buf_append_str(out, STR("(string("));
    put_field(out);
    buf_append_str(out, STR(") == '1')"));
    return;
  default:
    buf_append_str(out, STR("("));
    put_field(out);
    buf_printf(out, " %s ", operators[below(UNIT_COUNT(operators))]);
    put_literal(out);
    buf_append_str(out, STR(")"));
  }
}

static void put_condition(struct buf *out, unsigned depth) {
  uint32_t kind = depth == 0 ? 0 : below(7);
  if (kind <= 2) {
    put_comparison(out);
    return;
  }
  if (kind == 3)
    buf_append_str(out, STR("!"));
  buf_append_str(out, STR("("));
  put_condition(out, depth - 1);
  if (kind != 3) {
    buf_append_str(out, kind == 4 ? STR(" && ") : kind == 5 ? STR(" || ") : STR(" ? "));
    put_condition(out, depth - 1);
  }
  if (kind == 6) {
    buf_append_str(out, STR(" : "));
    put_condition(out, depth - 1);
  }
  buf_append_str(out, STR(")"));
}

/* ---- The property ---- */

static bool allows_get(struct rules *rules, struct doc_map document) {
  struct rules_document stored = {STR("t/p"), {NULL, 0}};
  assert_status_ok(doc_encode_fields(document, &fixture_arena, &stored.fields));
  struct rules_request request = fixture_request(RULES_GET, "t/p");
  request.resource = &stored;
  return rules_decide(rules, &request, &fixture_arena).outcome == RULES_ALLOW;
}

static size_t proven, refuted;

static void check_one(uint64_t seed) {
  random_state = seed;
  struct doc_path parent;
  assert_status_ok(doc_path_parse_parent(STR("projects/p/databases/(default)/documents"), &parent));
  struct query_filter where = random_where();
  struct query query = {.parent = parent, .collection_id = STR("t"), .where = &where};
  status prepared = query_prepare(&query, &fixture_arena);
  if (!status_is_ok(&prepared))
    return;
  struct rules_query for_rules;
  struct rules_request request = fixture_request(RULES_LIST, "t");
  assert_status_ok(rules_query_make(&query, &fixture_arena, &for_rules, &request.path));
  assert_str_is(request.path, "t");
  request.query = &for_rules;
  struct buf condition = {0};
  put_condition(&condition, 3);
  buf_append_byte(&condition, '\0');
  str body =
      arena_printf(&fixture_arena, "match /t/{id} { allow read: if %s; }", (const char *)condition.data);
  buf_fini(&condition);
  struct rules *rules = fixture_rules(body.ptr);
  bool allowed = rules_decide(rules, &request, &fixture_arena).outcome == RULES_ALLOW;
  proven += allowed;
  refuted += !allowed;
  struct doc_path path;
  assert_status_ok(doc_path_parse(STR("projects/p/databases/(default)/documents/t/p"), &path));
  for (int i = 0; allowed && i < 60; i++) {
    struct doc_map document = random_document();
    if (!query_matches(&query, &path, document) || allows_get(rules, document))
      continue;
    str text, stored;
    assert_status_ok(query_format(&query, &fixture_arena, &text));
    assert_status_ok(doc_encode_fields(document, &fixture_arena, &stored));
    fail_msg("seed %llu: the query " STR_FMT
             " was allowed under\n%s\nbut may give a document that is not (%zu bytes)",
             (unsigned long long)seed, STR_ARG(text), body.ptr, stored.len);
  }
  rules_unref(rules);
}

static void queries_are_allowed_only_if_all_documents_are(void **state) {
  (void)state;
  const char *given = getenv("SKERRY_SEED"), *rounds = getenv("SKERRY_ROUNDS");
  uint64_t first = given == NULL ? 20261127 : strtoull(given, NULL, 10);
  size_t count = rounds == NULL ? 20000 : strtoul(rounds, NULL, 10);
  arena_init(&fixture_arena, NULL, 0, 64 << 20);
  for (size_t i = 0; i < count; i++) {
    check_one(first + i * 7919);
    arena_reset(&fixture_arena);
  }
  arena_fini(&fixture_arena);
  printf("%zu queries allowed, %zu refused\n", proven, refuted);
  assert_true(proven > count / 50); /* else nothing was tested */
}

/* ---- What must be proven, and what must not ---- */

static enum rules_outcome decide_query(const char *condition, const struct rules_filter *filters,
                                       size_t count) {
  str body = arena_printf(&fixture_arena, "match /t/{id} { allow list: if %s; }", condition);
  struct rules *rules = fixture_rules(body.ptr);
  const struct rules_conjunction conjunction = {.filters = filters, .filter_count = count};
  const struct rules_query query = {.conjunctions = &conjunction, .conjunction_count = 1};
  struct rules_request request = fixture_request(RULES_LIST, "t");
  request.query = &query;
  enum rules_outcome outcome = rules_decide(rules, &request, &fixture_arena).outcome;
  rules_unref(rules);
  return outcome;
}

static void each_operator_proves_something(void **state) {
  (void)state;
  static const struct {
    enum rules_filter_op op;
    int value; /* -1: none */
    const char *proven, *not_proven;
  } cases[] = {
      {RULES_EQUAL, 5, "resource.data.n == 5", "resource.data.n == 6"},
      {RULES_EQUAL, 5,
       "resource.data.n != 6 && resource.data.n < 6 && resource.data.n is number && resource.data.n in [5]",
       "resource.data.n is int"},
      {RULES_EQUAL, 5, "!(resource.data.n == 6)", "resource.data.n + 1 == 6"},
      {RULES_LESS, 5, "resource.data.n < 5", "resource.data.n < 4"},
      {RULES_LESS, 5,
       "resource.data.n <= 5 && resource.data.n < 6 && resource.data.n != 5 && !(resource.data.n > 5)",
       "resource.data.n > 0"},
      {RULES_LESS_OR_EQUAL, 5, "resource.data.n <= 5 && resource.data.n < 6 && resource.data.n is number",
       "resource.data.n < 5"},
      {RULES_GREATER, 5,
       "resource.data.n > 5 && resource.data.n >= 5 && resource.data.n > 4 && resource.data.n != null",
       "resource.data.n > 6"},
      {RULES_GREATER_OR_EQUAL, 5, "resource.data.n >= 5 && resource.data.n > 4 && 'n' in resource.data",
       "resource.data.n > 5"},
      {RULES_GREATER, 5, "5 < resource.data.n && !(resource.data.n in [1, 5, 'x'])",
       "resource.data.n in [6]"},
      {RULES_NOT_EQUAL, 5, "resource.data.n != 5 && resource.data.n != null && 'n' in resource.data",
       "resource.data.n != 6"},
      {RULES_NOT_NULL, -1, "resource.data.n != null", "resource.data.n != 5"},
      {RULES_EXISTS, -1, "'n' in resource.data", "resource.data.n != null"},
      {RULES_ARRAY_CONTAINS, 5,
       "5 in resource.data.n && resource.data.n.hasAny([5, 6]) && resource.data.n is list",
       "resource.data.n.hasAll([5, 6])"},
      {RULES_EQUAL, 5, "resource != null && resource.data is map", "!('zork' in resource.data)"},
      {RULES_EQUAL, 5, "resource.data.zork == 1 || resource.data.n == 5",
       "resource.data.zork == 1 || resource.data.n == 6"},
      {RULES_EQUAL, 5, "resource.data.get('n', 0) == 5", "resource.data.get('zork', 5) == 5"},
      {RULES_EQUAL, 5, "request.query.limit == null && request.path == /databases/(default)/documents/t",
       "id != 'x'"},
      {RULES_EQUAL, 5, "request.query.offset == 0", "exists(/databases/(default)/documents/t/$(id))"},
  };
  arena_init(&fixture_arena, NULL, 0, 64 << 20);
  wire_build_init();
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    const struct rules_filter filter = {
        {(const str[]){STR("n")}, 1}, cases[i].op, cases[i].value < 0 ? NOTHING : V_INT(cases[i].value)};
    if (decide_query(cases[i].proven, &filter, 1) != RULES_ALLOW)
      fail_msg("not proven: %s", cases[i].proven);
    if (decide_query(cases[i].not_proven, &filter, 1) != RULES_DENY)
      fail_msg("proven: %s", cases[i].not_proven);
  }
  const struct rules_filter huge = {
      {(const str[]){STR("n")}, 1}, RULES_GREATER, V_INT(INT64_C(9007199254740992))};
  assert_int_equal(decide_query("resource.data.n > 9007199254740992.0", &huge, 1),
                   RULES_DENY); /* 2^53 + 1 is not, as a double */
  wire_build_fini();
  arena_fini(&fixture_arena);
}

static void groups_and_names(void **state) {
  (void)state;
  arena_init(&fixture_arena, NULL, 0, 64 << 20);
  wire_build_init();
  struct rules *rules =
      fixture_rules("match /{p=**}/songs/{id} { allow list: if id == 'x'; } match /a/{b}/t/{id} { allow "
                    "list: if true; } match /{c}/{d} { allow list: if c == 't' && resource == null; }");
  const struct rules_conjunction all = {.filter_count = 0};
  struct rules_query query = {.conjunctions = &all, .conjunction_count = 1, .all_descendants = true};
  struct rules_request request = fixture_request(RULES_LIST, "songs");
  request.query = &query;
  assert_int_equal(rules_decide(rules, &request, &fixture_arena).outcome, RULES_DENY); /* id is not known */
  const struct rules_filter name = {
      .op = RULES_EQUAL, .value = V_REFERENCE(STR("projects/p/databases/(default)/documents/a/b/songs/x"))};
  const struct rules_conjunction one = {.filters = &name, .filter_count = 1};
  query.conjunctions = &one;
  assert_int_equal(rules_decide(rules, &request, &fixture_arena).outcome, RULES_ALLOW);
  const struct rules_filter wrong = {
      .op = RULES_EQUAL, .value = V_REFERENCE(STR("projects/p/databases/(default)/documents/a/b/songs/y"))};
  const struct rules_conjunction both[] = {one, {.filters = &wrong, .filter_count = 1}};
  query.conjunctions = both;
  query.conjunction_count = 2;
  assert_int_equal(rules_decide(rules, &request, &fixture_arena).outcome, RULES_DENY);
  query = (struct rules_query){.conjunctions = &all, .conjunction_count = 1};
  request.path = STR("a/x/t");
  assert_int_equal(rules_decide(rules, &request, &fixture_arena).outcome, RULES_ALLOW);
  query.all_descendants = true;
  assert_int_equal(rules_decide(rules, &request, &fixture_arena).outcome, RULES_DENY); /* deeper ones too */
  request.path = STR("t");
  query = (struct rules_query){.conjunctions = &one, .conjunction_count = 1};
  const struct rules_conjunction missing = {
      .filters = &name, .filter_count = 1, .is_known = true, .document = NULL};
  query.conjunctions = &missing;
  request.path = STR("a/b/songs");
  assert_int_equal(rules_decide(rules, &request, &fixture_arena).outcome, RULES_ALLOW);
  rules_unref(rules);
  wire_build_fini();
  arena_fini(&fixture_arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_operator_proves_something),
      cmocka_unit_test(groups_and_names),
      cmocka_unit_test(queries_are_allowed_only_if_all_documents_are),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
