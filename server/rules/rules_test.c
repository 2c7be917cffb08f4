#include <pthread.h>
#include <time.h>

#include "server/rules/fixture.h"
#include "server/rules/rules.h"
#include "tests/support/unit.h"

static int set_up(void **state) {
  (void)state;
  wire_build_init();
  arena_init(&fixture_arena, NULL, 0, 64 << 20);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  arena_fini(&fixture_arena);
  wire_build_fini();
  return 0;
}

/* The outcome of a get of t/a with these fields under `allow get: if EXPRESSION`. */
static struct rules_decision decide(const char *expression, str fields, const struct rules_auth *auth) {
  str body = arena_printf(&fixture_arena, "match /t/{id} { allow get: if %s; }", expression);
  struct rules *rules = fixture_rules(body.ptr);
  struct rules_document document = {STR("t/a"), fields};
  struct rules_request request = fixture_request(RULES_GET, "t/a");
  request.resource = &document;
  request.auth = auth;
  struct rules_decision decision = rules_decide(rules, &request, &fixture_arena);
  rules_unref(rules);
  return decision;
}

#define assert_outcome(expression, fields, wanted)                                                           \
  do {                                                                                                       \
    struct rules_decision decision_ = decide((expression), (fields), NULL);                                  \
    if (decision_.outcome != (wanted))                                                                       \
      fail_msg("%s: outcome %d, " STR_FMT, (expression), (int)decision_.outcome, STR_ARG(decision_.reason)); \
  } while (0)

/* ---- Compiling ---- */

static void assert_problem(const char *source, const char *wanted) {
  struct rules_problems problems;
  struct rules *rules = NULL;
  status s = rules_compile(str_from_cstr(source), &fixture_arena, &problems, &rules);
  bool found = false;
  for (size_t i = 0; i < problems.count; i++) {
    str line = arena_printf(&fixture_arena, "%u:%u: " STR_FMT, problems.items[i].line,
                            problems.items[i].column, STR_ARG(problems.items[i].text));
    found = found || strstr(line.ptr, wanted) != NULL;
  }
  if (!found)
    fail_msg("no \"%s\" but %s (%zu problems) in\n%s", wanted, s.message, problems.count, source);
  rules_unref(rules);
}

#define FIRESTORE(body)                                                                                      \
  "rules_version = '2';\nservice cloud.firestore {\n match /databases/{d}/documents {\n" body "\n }\n}\n"

static void problems_have_places(void **state) {
  (void)state;
  assert_problem("", "1:1: The file is empty.");
  assert_problem(FIRESTORE("match /a/{b} { allow read: if @; }"), "4:31: Unexpected '@'.");
  assert_problem(FIRESTORE("match /a/{b} { allow read if true; }"),
                 "4:27: Missing ':' before 'if' condition.");
  assert_problem(FIRESTORE("match /a/{b} { allow read: true; }"),
                 "4:28: Missing 'if' before conditional expression.");
  assert_problem(FIRESTORE("match /a/{b} { allow fly: if true; }"), "4:22: After 'allow' stands");
  assert_problem(FIRESTORE("match a/{b} { allow read; }"), "4:7: A path after 'match' begins with '/'.");
  assert_problem(FIRESTORE("match /a/{b}/ { allow read; }"), "4:14: A '/' in a path is followed by");
  assert_problem(FIRESTORE("match /a/{b}/c/{b} { allow read; }"), "4:16: Variable b already exists");
  assert_problem(FIRESTORE("match /{a=**}/c/{b=**} { allow read; }"),
                 "4:17: Invalid glob match expression. Only one");
  assert_problem(FIRESTORE("match /{a=**} { match /{b=**} { allow read; } }"),
                 "4:24: Invalid glob match expression. Only one");
  assert_problem(FIRESTORE("match /a/{b} { allow read: if 'abc; }"), "4:31: Missing a closing '.");
  assert_problem(FIRESTORE("match /a/{b} { allow read: if '\\q' == 'q'; }"), "4:32: Unknown escape");
  assert_problem(FIRESTORE("match /a/{b} { allow read: if 99999999999999999999 == 1; }"),
                 "4:31: Invalid number literal");
  assert_problem(FIRESTORE("match /a/{b} { allow read: if 0x10 == 1; }"),
                 "4:31: Invalid number literal 0x10.");
  assert_problem(FIRESTORE("match /a/{b} { allow read: if b is strin; }"),
                 "4:36: An unsupported type identifier");
  assert_problem(FIRESTORE("match /a/{b} { allow read: if b.matches('(?=a)'); }"),
                 "4:41: Invalid regular expression pattern.");
  assert_problem(FIRESTORE("match /a/{b} { allow read: if zork == 1; }"),
                 "4:31: Invalid variable name: zork.");
  assert_problem(FIRESTORE("match /a/{b} { allow read: if zork(1); }"), "4:31: Invalid function name: zork.");
  assert_problem(FIRESTORE("match /a/{b} { allow read: if b.zork(); }"),
                 "4:31: Invalid function name: zork.");
  assert_problem(FIRESTORE("match /a/{b} { allow read: if math.zork(1); }"),
                 "4:31: Invalid function name: math.zork.");
  assert_problem(FIRESTORE("match /a/{b} { allow read: if true; "), "7:1: Missing '}'");
  assert_problem("rules_version = '3';", "1:17: Unsupported rules version 3.");
  assert_problem("service cloud.firestore { match /{a=**}/b { allow read; } }",
                 "1:34: Invalid glob match expression. Glob matches are");
  assert_problem("service cloud.firestore {}", "must contain at least one declaration");
  assert_problem("service cloud.firestore { /* match", "1:27: This comment has no end");
  assert_problem("service a.b { match /x { allow read; } } service a.b { match /x { allow read; } }",
                 "Service a.b is already defined.");
  assert_problem("service cloud.firestore { function f() { let x = 1; return x; } }",
                 "1:42: Let bindings are not allowed");
  assert_problem("\xff", "The file is not valid UTF-8.");
}

static void functions_are_checked(void **state) {
  (void)state;
  assert_problem(FIRESTORE("function f() { return f(); }"), "4:23: Recursive call is not allowed: f.");
  assert_problem(FIRESTORE("function f() { return g(); } function g() { return f(); }"),
                 "Recursive call is not allowed");
  assert_problem(FIRESTORE("function f(a,b,c,d,e,g,h,i) { return true; }"),
                 "4:10: Maximum allowed function arguments of 7");
  assert_problem(FIRESTORE("function f(a) { return true; } function f(b) { return true; }"),
                 "4:41: Function f is already defined.");
  assert_problem(FIRESTORE("function f(a) { return a; } match /a/{b} { allow read: if f(); }"),
                 "4:59: Incorrect number of arguments");
  assert_problem(FIRESTORE("function f(x) { let x = 1; return x == 1; }"),
                 "4:17: The identifier [x] is already bound");
  assert_problem(FIRESTORE("function f() { let x = 1; let x = 2; return x == 1; }"),
                 "4:27: The identifier [x] is already bound");
  assert_problem(FIRESTORE("function f() { let x = 1; }"), "4:27: Missing 'return'");
  assert_problem(FIRESTORE("function f() { return true; let x = 1; }"), "4:29: Missing '}'");
  assert_problem(FIRESTORE("function f() { return true; }"), "4:10: Unused function: f.");
  assert_problem(FIRESTORE("function f() { let a=1;let b=1;let c=1;let d=1;let e=1;let f=1;let g=1;let "
                           "h=1;let i=1;let j=1;let k=1; return a; }"),
                 "A function may have 10 variables at most.");
}

static str nested(const char *open, const char *middle, const char *close, size_t count) {
  struct buf out = {0};
  for (size_t i = 0; i < count; i++)
    buf_append_str(&out, str_from_cstr(open));
  buf_append_str(&out, str_from_cstr(middle));
  for (size_t i = 0; i < count; i++)
    buf_append_str(&out, str_from_cstr(close));
  buf_append_byte(&out, '\0');
  str copy = arena_str_copy(&fixture_arena, str_make(out.data, out.len - 1));
  buf_fini(&out);
  return copy;
}

static bool compiles(const char *source) {
  struct rules_problems problems;
  struct rules *rules = NULL;
  status s = rules_compile(str_from_cstr(source), &fixture_arena, &problems, &rules);
  rules_unref(rules);
  return status_is_ok(&s);
}

static bool expression_compiles(str expression) {
  str source = arena_printf(&fixture_arena, "service cloud.firestore { match /a { allow read: if %s; } }",
                            expression.ptr);
  return compiles(source.ptr);
}

static bool calls_compile(unsigned depth) {
  struct buf out = {0};
  buf_append_str(&out, STR("service cloud.firestore { match /a { allow read: if f1(); } "));
  for (unsigned i = 1; i < depth; i++)
    buf_printf(&out, "function f%u() { return f%u(); } ", i, i + 1);
  buf_printf(&out, "function f%u() { return true; } }", depth);
  buf_append_byte(&out, '\0');
  bool good = compiles((const char *)out.data);
  buf_fini(&out);
  return good;
}

static void nesting_is_bounded(void **state) {
  (void)state;
  assert_true(compiles(nested("match /a { ", "allow read;", " }", 0).ptr) == false);
  str ten = nested("match /a { ", "allow read;", " }", RULES_MATCH_DEPTH_MAX),
      eleven = nested("match /a { ", "allow read;", " }", RULES_MATCH_DEPTH_MAX + 1);
  assert_true(compiles(arena_printf(&fixture_arena, "service cloud.firestore { %s }", ten.ptr).ptr));
  assert_false(compiles(arena_printf(&fixture_arena, "service cloud.firestore { %s }", eleven.ptr).ptr));
  assert_true(expression_compiles(nested("(", "true", ")", 90)));
  assert_true(expression_compiles(nested("!", "true", "", 90)));
  assert_true(expression_compiles(nested("[", "true", "]", 90)));
  const char *const opens[] = {
      "(", "[", "!", "-", "f(", "{'a':", "true ? true : ", "/a/$(", "a[", "1+", "a."};
  const char *const closes[] = {")", "]", "", "", ")", "}", "", ")", "]", "", ""};
  for (size_t i = 0; i < UNIT_COUNT(opens); i++)
    assert_false(expression_compiles(nested(opens[i], "a", closes[i], 5000)));
  assert_true(expression_compiles(nested("true && ", "true", "", 900))); /* one level, however many */
  assert_true(calls_compile(RULES_CALL_DEPTH_MAX));
  assert_false(calls_compile(RULES_CALL_DEPTH_MAX + 1));
  assert_false(calls_compile(5000));
}

static void many_problems_are_some(void **state) {
  (void)state;
  struct rules_problems problems;
  struct rules *rules = NULL;
  str source = nested("allow fly; ", "", "", 1000);
  source = arena_printf(&fixture_arena, "service cloud.firestore { match /a { %s } }", source.ptr);
  assert_status_code(rules_compile(source, &fixture_arena, &problems, &rules), STATUS_INVALID_ARGUMENT);
  assert_int_equal(problems.count, RULES_PROBLEMS_MAX);
  assert_true(problems.has_more);
  assert_int_equal(problems.error_count, 1000);
  for (size_t i = 1; i < problems.count; i++)
    assert_true(problems.items[i - 1].column < problems.items[i].column ||
                problems.items[i - 1].line < problems.items[i].line);
  char *large = calloc(1, RULES_SOURCE_BYTES_MAX + 1);
  assert_non_null(large);
  memset(large, ' ', RULES_SOURCE_BYTES_MAX + 1);
  assert_status_code(
      rules_compile(str_make(large, RULES_SOURCE_BYTES_MAX + 1), &fixture_arena, &problems, &rules),
      STATUS_INVALID_ARGUMENT);
  free(large);
}

static void other_services_are_kept(void **state) {
  (void)state;
  struct rules_problems problems;
  struct rules *rules = NULL;
  assert_status_ok(
      rules_compile(STR("rules_version = '2'; service firebase.storage { match /b/{bucket}/o { match "
                        "/images/{name} { allow get: if resource.size < 10 && name == 'x'; } } }"),
                    &fixture_arena, &problems, &rules));
  struct rules_request request = fixture_request(RULES_GET, "images/x");
  assert_int_equal(rules_decide(rules, &request, &fixture_arena).outcome, RULES_DENY);
  struct rules_document file = {STR("b/k/o/images/x"), F("size", V_INT(5))};
  request.service = STR("firebase.storage");
  request.path = file.path;
  request.resource = &file;
  assert_int_equal(rules_decide(rules, &request, &fixture_arena).outcome, RULES_ALLOW);
  file.fields = F("size", V_INT(50));
  assert_int_equal(rules_decide(rules, &request, &fixture_arena).outcome, RULES_DENY);
  rules_unref(rules);
}

/* ---- Evaluation ---- */

static void reasons_have_places(void **state) {
  (void)state;
  struct rules_decision decision = decide("resource.data.zork == 1", F("a", V_INT(1)), NULL);
  assert_int_equal(decision.outcome, RULES_DENY);
  assert_str_is(decision.reason, "Property zork is undefined on object.");
  assert_int_equal(decision.line, 4);
  assert_int_equal(decision.column, 31);
  decision = decide("request.auth.uid == 'a'", NOTHING, NULL);
  assert_str_is(decision.reason, "Null value error: it has no members.");
  decision = decide("'a' + 1 == 'b'", NOTHING, NULL);
  assert_str_is(decision.reason, "Unsupported operation error. Received: string + int.");
  decision = decide("1", NOTHING, NULL);
  assert_str_is(decision.reason, "Type error. Received: [int] Expected: [bool].");
}

static void values_of_every_type_are_read(void **state) {
  (void)state;
  str fields = JOIN(F("a", V_ARRAY(ITEM(V_INT(-5)), ITEM(V_MAP(M("k", V_STRING(STR("v"))))))),
                    F("b", V_BYTES(STR("\x01\xff"))), F("d", V_DOUBLE(-2.5)), F("g", V_POINT(1.5, -2.5)),
                    F("n", V_NULL), F("r", V_REFERENCE(STR("projects/p/databases/(default)/documents/u/x"))),
                    F("t", V_TIME(-1, 500000000)), F("u", V_STRING(STR("a\0b"))),
                    F("v", V_MAP(M("__type__", V_STRING(STR("__vector__"))),
                                 M("value", V_ARRAY(ITEM(V_DOUBLE(1)), ITEM(V_DOUBLE(2)))))));
  assert_outcome("resource.data.a[0] == -5 && resource.data.a[1].k == 'v'", fields, RULES_ALLOW);
  assert_outcome("resource.data.b.toHexString() == '01FF'", fields, RULES_ALLOW);
  assert_outcome("resource.data.d == -2.5", fields, RULES_ALLOW);
  assert_outcome("resource.data.g == latlng.value(1.5, -2.5)", fields, RULES_ALLOW);
  assert_outcome("resource.data.n == null", fields, RULES_ALLOW);
  assert_outcome("resource.data.r == /databases/(default)/documents/u/x", fields, RULES_ALLOW);
  assert_outcome("resource.data.t.toMillis() == -500 && resource.data.t.year() == 1969", fields, RULES_ALLOW);
  assert_outcome("resource.data.u.size() == 3 && resource.data.u == 'a\\u0000b'", fields, RULES_ALLOW);
  assert_outcome("resource.data.v is vector && !(resource.data.v is map)", fields, RULES_ALLOW);
}

static void damaged_bytes_are_no_verdict(void **state) {
  (void)state;
  assert_outcome("'zork' in resource.data", STR("\x12\x7f"), RULES_FAILED);
  assert_outcome("!('zork' in resource.data)", STR("\x12\x7f"), RULES_FAILED);
  assert_outcome("!('zork' in resource.data) || true", STR("\x12\x7f"), RULES_FAILED);
  assert_outcome("resource.data.a == 1", F("a", STR("\x10")), RULES_FAILED);
  assert_outcome("resource.data.a == 1", F("a", STR("\x7a\x00")), RULES_FAILED);
  assert_outcome("true", STR("\x12\x7f"), RULES_ALLOW); /* nobody looks */
}

static void expressions_are_counted(void **state) {
  (void)state;
  str many = nested("id == 'x' || ", "true", "", RULES_EVALUATIONS_MAX / 2 - 10),
      more = nested("id == 'x' || ", "true", "", RULES_EVALUATIONS_MAX / 2 + 10);
  assert_outcome(many.ptr, NOTHING, RULES_ALLOW);
  assert_outcome(more.ptr, NOTHING, RULES_DENY);
}

/* Functions that each are as deep as an expression may be, and call the next one there. */
static enum rules_outcome call_deep(unsigned first) {
  struct buf body = {0};
  str deep = nested("!", "", "", 60);
  buf_append_str(&body, STR("match /t/{id} { "));
  for (unsigned i = first; i < RULES_CALL_DEPTH_MAX; i++)
    buf_printf(&body, "function f%u() { return %s f%u(); } ", i, deep.ptr, i + 1);
  buf_printf(&body, "function f%d() { return id == 'a'; } allow get: if f%u(); }", RULES_CALL_DEPTH_MAX,
             first);
  buf_append_byte(&body, 0);
  struct rules *rules = fixture_rules((const char *)body.data);
  buf_fini(&body);
  struct rules_request request = fixture_request(RULES_GET, "t/a");
  struct rules_decision decision = rules_decide(rules, &request, &fixture_arena);
  rules_unref(rules);
  return decision.outcome;
}

static void recursion_is_bounded(void **state) {
  (void)state;
  assert_int_equal(call_deep(RULES_CALL_DEPTH_MAX - 3), RULES_ALLOW);
  assert_int_equal(call_deep(1), RULES_DENY);
}

/* Recursion, comparisons of large lists, and patterns: each within its bound. */
static void work_is_bounded(void **state) {
  (void)state;
  struct buf items = {0};
  for (int i = 0; i < 20000; i++)
    buf_append_str(&items, ITEM(V_INT(i)));
  str fields = F("l", raw_field(9, buf_str(&items)));
  assert_outcome("resource.data.l.size() == 20000", fields, RULES_ALLOW);
  assert_outcome("19999 in resource.data.l", fields, RULES_ALLOW);
  assert_outcome("resource.data.l == resource.data.l", fields, RULES_ALLOW);
  assert_outcome("resource.data.l.hasAll(resource.data.l) || true", fields, RULES_DENY);
  assert_outcome("resource.data.l.toSet().size() == 20000", fields, RULES_DENY);
  buf_clear(&items);
  for (int i = 0; i < 20000; i++) {
    str name = arena_printf(&fixture_arena, "item %d", i % 15000);
    buf_append_str(&items, ITEM(V_STRING(name)));
  }
  fields = F("l", raw_field(9, buf_str(&items)));
  assert_outcome("resource.data.l.toSet().size() == 15000", fields, RULES_ALLOW);
  assert_outcome("resource.data.l.hasAll(resource.data.l) && resource.data.l.hasOnly(resource.data.l)",
                 fields, RULES_ALLOW);
  assert_outcome("resource.data.l.removeAll(resource.data.l) == []", fields, RULES_ALLOW);
  assert_outcome("resource.data.l.toSet().difference(['item 1', 'x'].toSet()).size() == 14999", fields,
                 RULES_ALLOW);
  assert_outcome("resource.data.l.toSet().union(['item 1', 'x', 5].toSet()).size() == 15002", fields,
                 RULES_ALLOW);
  buf_fini(&items);
  str text = F("s", V_STRING(repeat('a', 30000)));
  assert_outcome("resource.data.s.matches('(a+)+')", text, RULES_ALLOW);
  assert_outcome("resource.data.s.matches('(a|aa)*b')", text, RULES_DENY);
  assert_outcome("!resource.data.s.matches('(a|aa)*b')", text, RULES_ALLOW); /* answered, and quickly */
  assert_outcome("!resource.data.s.matches('(.*)(.*)(.*)(.*)(.*)[^a]')", text, RULES_ALLOW);
  assert_outcome("!resource.data.s.matches('(a|aa)*b')", F("s", V_STRING(repeat('a', 300000))), RULES_DENY);
  assert_outcome("resource.data.s.split('(a*)*b').size() == 1", text, RULES_DENY);
  assert_outcome("resource.data.s.replace('a', 'bb').size() == 2000", F("s", V_STRING(repeat('a', 1000))),
                 RULES_ALLOW);
  assert_outcome("resource.data.s.replace('a', 'bb').size() == 2000000",
                 F("s", V_STRING(repeat('a', 1000000))), RULES_DENY);
}

static void patterns_are_re2(void **state) {
  (void)state;
  const char *const refused[] = {
      "(a)\\\\1", "(?=a)", "(?!a)",   "(?<=a)",    "(?<!a)", "(?>a)",   "a++",     "a*+",
      "a?+",      "(?R)",  "(?1)",    "(*ACCEPT)", "\\\\Z",  "\\\\G",   "\\\\K",   "\\\\h",
      "\\\\R",    "\\\\X", "a{1001}", "a**",       "[a",     "(a",      "a)",      "\\\\",
      "(?#c)",    "(?x)a", "(?<n>a)", "\\\\k<n>",  "\\\\g1", "[[.a.]]", "[[=a=]]", "\\\\C"};
  for (size_t i = 0; i < UNIT_COUNT(refused); i++)
    if (expression_compiles(arena_printf(&fixture_arena, "'a'.matches('%s')", refused[i])))
      fail_msg("%s is no RE2", refused[i]);
  const char *const equal[][2] = {
      {"(?P<n>a)b", "ab"},   {"\\\\Qa.b\\\\E", "a.b"},  {"[[:alpha:]]+", "abc"},
      {"[^[:space:]]", "a"}, {"\\\\pL", "é"},           {"\\\\x41\\\\x{e9}", "Aé"},
      {"(?i:a)B", "AB"},     {"a{,2}", "a{,2}"},        {"a{2}?", "aa"},
      {"[]a]+", "a]"},       {"[\\\\d-]+", "1-2"},      {"a|b|", ""},
      {"^a$", "a"},          {"\\\\Aa\\\\z", "a"},      {"[\\\\s]", " "},
      {"x*?", "xx"},         {"(a|ab)(c|bcd)", "abcd"}, {"[a-c&&]", "&"}};
  for (size_t i = 0; i < UNIT_COUNT(equal); i++) {
    str expression = arena_printf(&fixture_arena, "'%s'.matches('%s')", equal[i][1], equal[i][0]);
    assert_outcome(expression.ptr, NOTHING, RULES_ALLOW);
  }
  assert_outcome("'a\\n'.matches('a$')", NOTHING, RULES_DENY);
  assert_outcome("'a\\u000b'.matches('a\\\\s')", NOTHING, RULES_DENY);
  assert_outcome("'a\\u000b'.matches('a[\\\\s]')", NOTHING, RULES_DENY);
}

/* ---- Reads ---- */

struct store {
  unsigned reads;
  enum rules_read answer;
  str fields;
  char last[128];
  bool last_after;
};

static enum rules_read read_from(void *argument, str path, bool after, struct rules_document *ret) {
  struct store *store = argument;
  store->reads++;
  store->last_after = after;
  snprintf(store->last, sizeof store->last, STR_FMT, STR_ARG(path));
  *ret = (struct rules_document){path, store->fields};
  return store->answer;
}

static enum rules_outcome decide_with(struct store *store, struct rules_reads *reads,
                                      const char *expression) {
  str body = arena_printf(&fixture_arena, "match /t/{id} { allow get: if %s; }", expression);
  struct rules *rules = fixture_rules(body.ptr);
  const struct rules_reader reader = {read_from, store};
  struct rules_request request = fixture_request(RULES_GET, "t/a");
  request.reader = &reader;
  request.reads = reads;
  enum rules_outcome outcome = rules_decide(rules, &request, &fixture_arena).outcome;
  rules_unref(rules);
  return outcome;
}

static str exists_times(size_t count) {
  struct buf out = {0};
  for (size_t i = 0; i < count; i++)
    buf_printf(&out, "exists(/databases/$(database)/documents/x/d%zu) && ", i);
  buf_append_str(&out, STR("true"));
  buf_append_byte(&out, '\0');
  str copy = arena_str_copy(&fixture_arena, str_make(out.data, out.len - 1));
  buf_fini(&out);
  return copy;
}

static void reads_have_a_budget(void **state) {
  (void)state;
  struct store store = {.answer = RULES_READ_FOUND, .fields = F("v", V_INT(1))};
  struct rules_reads reads = {.budget = RULES_READS_SINGLE, .arena = &fixture_arena};
  assert_int_equal(decide_with(&store, &reads, exists_times(10).ptr), RULES_ALLOW);
  assert_int_equal(store.reads, 10);
  assert_int_equal(reads.budget, 0);
  /* Known ones cost nothing, in later evaluations too. */
  assert_int_equal(decide_with(&store, &reads, exists_times(10).ptr), RULES_ALLOW);
  assert_int_equal(store.reads, 10);
  assert_int_equal(decide_with(&store, &reads, exists_times(11).ptr), RULES_DENY);
  /* The budget of many documents is not that of one. */
  reads = (struct rules_reads){.budget = RULES_READS_MULTIPLE, .arena = &fixture_arena};
  assert_int_equal(decide_with(&store, &reads, exists_times(11).ptr), RULES_DENY);
  assert_int_equal(reads.budget, 10);
  assert_int_equal(decide_with(&store, &reads,
                               "get(/databases/(default)/documents/x/y).data.v == 1 && "
                               "exists(/databases/(default)/documents/x/y)"),
                   RULES_ALLOW);
  assert_string_equal(store.last, "x/y");
  assert_false(store.last_after);
  assert_int_equal(decide_with(&store, &reads, "getAfter(/databases/(default)/documents/x/y).data.v == 1"),
                   RULES_ALLOW);
  assert_true(store.last_after);
}

static void reads_may_not_be_possible(void **state) {
  (void)state;
  struct rules_reads reads = {.budget = RULES_READS_SINGLE, .arena = &fixture_arena};
  struct store store = {.answer = RULES_READ_MISSING};
  const char *get = "get(/databases/(default)/documents/x/y).data.v == 1 || true";
  assert_int_equal(decide_with(&store, &reads, get), RULES_ALLOW); /* an error, absorbed */
  reads.entries = NULL;
  store.answer = RULES_READ_LATER;
  assert_int_equal(decide_with(&store, &reads, get), RULES_LATER);
  store.answer = RULES_READ_FAILED;
  assert_int_equal(decide_with(&store, &reads, get), RULES_FAILED);
  assert_int_equal(reads.budget, 9);
  const char *const wrong[] = {"exists(/x/y)",
                               "exists(/databases/other/documents/x/y)",
                               "exists(/databases/(default)/documents/x)",
                               "exists(/databases/(default)/documents)",
                               "exists(/databases/(default)/documents/x/$('y/z'))",
                               "exists(/databases/(default)/documents/x/..)"};
  unsigned before = store.reads;
  for (size_t i = 0; i < UNIT_COUNT(wrong); i++)
    assert_int_equal(decide_with(&store, &reads, wrong[i]), RULES_DENY);
  assert_int_equal(store.reads, before);
  assert_outcome("exists(/databases/(default)/documents/x/y)", NOTHING, RULES_DENY); /* no reader */
}

/* ---- Memory, threads, explanations ---- */

static void memory_is_bounded(void **state) {
  (void)state;
  struct rules *rules =
      fixture_rules("function f(x) { let y = [x, x]; return y.toSet().size() == 1 && {'a': y}.a.join(',') == "
                    "'1,1' && '1'.matches(string(x)); } "
                    "match /t/{id} { allow get: if f(resource.data.v) && resource.data.diff({'v': "
                    "2}).changedKeys().hasOnly(['v']) && request.path[3] == 't'; }");
  struct rules_document document = {STR("t/a"), F("v", V_INT(1))};
  struct rules_request request = fixture_request(RULES_GET, "t/a");
  request.resource = &document;
  enum rules_outcome outcome = RULES_FAILED;
  for (size_t cap = 0; outcome != RULES_ALLOW && cap < 1 << 20; cap += 512) {
    struct arena small;
    arena_init(&small, NULL, 0, cap);
    outcome = rules_decide(rules, &request, &small).outcome;
    assert_true(outcome == RULES_FAILED || outcome == RULES_ALLOW);
    arena_fini(&small);
  }
  assert_int_equal(outcome, RULES_ALLOW);
  rules_unref(rules);
}

static void traces_and_coverage_explain(void **state) {
  (void)state;
  struct rules *rules =
      fixture_rules("match /t/{id} {\n allow get: if resource.data.x == 1;\n allow get: if id == 'z';\n "
                    "allow write: if true;\n allow get: if id == 'a' && debug(true);\n}");
  struct rules_document document = {STR("t/a"), F("v", V_INT(1))};
  struct rules_request request = fixture_request(RULES_GET, "t/a");
  static struct rules_trace trace;
  trace.count = 0;
  struct rules_coverage *coverage =
      ARENA_NEW_ARRAY(&fixture_arena, struct rules_coverage, rules_expression_count(rules));
  assert_non_null(coverage);
  request.resource = &document;
  request.trace = &trace;
  request.coverage = coverage;
  struct rules_decision decision = rules_decide(rules, &request, &fixture_arena);
  assert_int_equal(decision.outcome, RULES_ALLOW);
  assert_int_equal(decision.line, 8);
  assert_int_equal(trace.count, 3);
  assert_int_equal(trace.entries[0].line, 5);
  assert_str_is(trace.entries[0].reason, "Property x is undefined on object.");
  assert_str_is(trace.entries[1].reason, "false");
  assert_int_equal(trace.entries[2].outcome, RULES_ALLOW);
  unsigned errors = 0, truths = 0, lies = 0;
  for (size_t i = 0; i < rules_expression_count(rules); i++) {
    errors += coverage[i].error_count;
    truths += coverage[i].true_count;
    lies += coverage[i].false_count;
    struct rules_position at = rules_expression_position(rules, i);
    assert_true(at.line >= 5 && at.line <= 8 && at.line == at.end_line && at.column < at.end_column);
  }
  assert_int_equal(errors, 2); /* resource.data.x and the comparison */
  assert_int_equal(truths, 4); /* id == 'a', true, debug(true), && */
  assert_int_equal(lies, 1);
  assert_str_is(str_make(rules_source(rules).ptr, 13), "rules_version");
  rules_unref(rules);
}

struct debugged {
  char text[256];
  uint32_t line;
};
static void keep_debug(void *argument, uint32_t line, str text) {
  struct debugged *kept = argument;
  kept->line = line;
  snprintf(kept->text, sizeof kept->text, STR_FMT, STR_ARG(text));
}

static void debug_shows_values(void **state) {
  (void)state;
  struct debugged kept = {"", 0};
  struct rules *rules = fixture_rules(
      "match /t/{id} { allow get: if debug({'a': [1, 'x', null, 1.5], 'p': /a/$(id)}).size() == 2; }");
  struct rules_request request = fixture_request(RULES_GET, "t/a");
  request.debug = keep_debug;
  request.debug_argument = &kept;
  assert_int_equal(rules_decide(rules, &request, &fixture_arena).outcome, RULES_ALLOW);
  assert_string_equal(kept.text, "{a: [1, x, null, 1.5], p: /a/a}");
  assert_int_equal(kept.line, 4);
  rules_unref(rules);
}

static const char owner_only[] = "match /users/{user} { allow read, write: if request.auth.uid == user; }";

static void *decide_often(void *argument) {
  struct rules *rules = rules_ref(argument);
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  const struct rules_auth auth = {STR("alice"), {NULL, 0}};
  struct rules_request request = fixture_request(RULES_GET, "users/alice");
  request.auth = &auth;
  size_t allowed = 0;
  for (int i = 0; i < 2000; i++) {
    request.path = i % 2 == 0 ? STR("users/alice") : STR("users/bob");
    allowed += rules_decide(rules, &request, &arena).outcome == RULES_ALLOW;
    arena_reset(&arena);
  }
  arena_fini(&arena);
  rules_unref(rules);
  return allowed == 1000 ? argument : NULL;
}

static void threads_share_rules(void **state) {
  (void)state;
  pthread_t threads[4];
  struct rules *rules = fixture_rules(owner_only);
  for (size_t i = 0; i < UNIT_COUNT(threads); i++)
    assert_int_equal(pthread_create(&threads[i], NULL, decide_often, rules), 0);
  for (size_t i = 0; i < UNIT_COUNT(threads); i++) {
    void *good;
    pthread_join(threads[i], &good);
    assert_ptr_equal(good, rules);
  }
  rules_unref(rules);
}

/* ---- Bench ---- */

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void bench_decision(const char *what, const char *body, const struct rules_request *request) {
  enum { ROUNDS = 100, CALLS = 2000 };
  static _Alignas(max_align_t) char first[16384];
  struct arena arena;
  struct rules *rules = fixture_rules(body);
  arena_init(&arena, first, sizeof first, 1 << 20);
  double best = 1e18;
  enum rules_outcome outcome = RULES_DENY;
  for (int round = 0; round < ROUNDS; round++) {
    double start = now_ns();
    for (int i = 0; i < CALLS; i++) {
      outcome = rules_decide(rules, request, &arena).outcome;
      arena_reset(&arena);
    }
    double took = (now_ns() - start) / CALLS;
    best = took < best ? took : best;
  }
  printf("%s: %.0f ns (%s)\n", what, best, outcome == RULES_ALLOW ? "allowed" : "denied");
  arena_fini(&arena);
  rules_unref(rules);
}

static void bench_compile(void) {
  struct buf source = {0};
  unsigned lines = 3;
  buf_append_str(
      &source,
      STR("rules_version = '2';\nservice cloud.firestore {\nmatch /databases/{database}/documents {\n"));
  for (unsigned i = 0; lines < 1000; i++, lines += 6)
    buf_printf(&source,
               "function valid%u(data) { return data.keys().hasAll(['name', 'age']) && data.name is string "
               "&& data.name.size() < 100; }\n"
               "match /collection%u/{id} {\n"
               "  allow read: if request.auth != null && request.auth.uid == resource.data.owner || "
               "resource.data.visibility == 'public';\n"
               "  allow create: if valid%u(request.resource.data) && "
               "request.resource.data.email.matches('^[^@]+@[^@]+$');\n"
               "  allow update: if valid%u(request.resource.data) && "
               "request.resource.data.diff(resource.data).affectedKeys().hasOnly(['name', 'age']);\n}\n",
               i, i, i, i);
  buf_append_str(&source, STR("}\n}\n"));
  double best = 1e18;
  for (int round = 0; round < 20; round++) {
    struct rules_problems problems;
    struct rules *rules = NULL;
    double start = now_ns();
    status s = rules_compile(buf_str(&source), &fixture_arena, &problems, &rules);
    double took = now_ns() - start;
    assert_true(status_is_ok(&s));
    best = took < best ? took : best;
    rules_unref(rules);
  }
  printf("compiling %u lines, %zu bytes: %.2f ms\n", lines, source.len, best / 1e6);
  buf_fini(&source);
}

static int bench(void) {
  set_up(NULL);
  bench_compile();
  const struct rules_auth auth = {
      STR("alice"), JOIN(F("email", V_STRING(STR("a@example.com"))), F("sub", V_STRING(STR("alice"))))};
  struct rules_document document = {
      STR("users/alice"),
      JOIN(F("age", V_INT(42)), F("name", V_STRING(STR("Skerry"))), F("owner", V_STRING(STR("alice"))))};
  struct rules_request request = fixture_request(RULES_UPDATE, "users/alice");
  request.auth = &auth;
  request.resource = request.after = &document;
  bench_decision("owner by path", owner_only, &request);
  bench_decision("owner by field",
                 "match /users/{user} { allow read, write: if request.auth.uid == resource.data.owner; }",
                 &request);
  bench_decision("schema",
                 "function valid(d) { return d.keys().hasAll(['name', 'age']) && d.name is string && "
                 "d.name.size() < 100 && d.age is int && d.age >= 0; }"
                 "match /users/{user} { allow write: if valid(request.resource.data) && "
                 "request.resource.data.diff(resource.data).affectedKeys().hasOnly(['name', 'age']); }",
                 &request);
  bench_decision(
      "a pattern",
      "match /users/{user} { allow write: if request.auth.token.email.matches('^[^@]+@example[.]com$'); }",
      &request);
  const struct rules_filter filter = {{(const str[]){STR("owner")}, 1}, RULES_EQUAL, V_STRING(STR("alice"))};
  const struct rules_conjunction conjunction = {.filters = &filter, .filter_count = 1};
  const struct rules_query query = {.conjunctions = &conjunction, .conjunction_count = 1};
  request.operation = RULES_LIST;
  request.path = STR("users");
  request.query = &query;
  bench_decision("a query by owner",
                 "match /users/{user} { allow list: if request.auth.uid == resource.data.owner; }", &request);
  return tear_down(NULL);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "bench") == 0)
    return bench();
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(problems_have_places),
      TEST(functions_are_checked),
      TEST(nesting_is_bounded),
      TEST(many_problems_are_some),
      TEST(other_services_are_kept),
      TEST(reasons_have_places),
      TEST(values_of_every_type_are_read),
      TEST(damaged_bytes_are_no_verdict),
      TEST(expressions_are_counted),
      TEST(recursion_is_bounded),
      TEST(work_is_bounded),
      TEST(patterns_are_re2),
      TEST(reads_have_a_budget),
      TEST(reads_may_not_be_possible),
      TEST(memory_is_bounded),
      TEST(traces_and_coverage_explain),
      TEST(debug_shows_values),
      TEST(threads_share_rules),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
