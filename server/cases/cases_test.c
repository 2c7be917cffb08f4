#include <stdio.h>

#include "server/cases/coverage.h"
#include "server/cases/report.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"
#include "tests/support/unit.h"

enum { NOW_US = 1785585600 }; /* in seconds; some time in 2026 */

static struct arena arena;

static int set_up(void **state) {
  (void)state;
  arena_init(&arena, NULL, 0, CASES_ARENA_BYTES);
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  return 0;
}

static struct cases read_all(const char *json) {
  struct cases cases;
  assert_status_ok(cases_read(str_from_cstr(json), NOW_US * INT64_C(1000000), &arena, &cases));
  return cases;
}

/* A file with one case, of which `rest` are the names after its name. */
static const char *file_of(const char *rest) {
  return arena_printf(&arena, "{\"cases\": [{\"name\": \"it\", %s}]}", rest).ptr;
}

/* ---- Reading ---- */

static const char whole[] =
    "{\"project\": \"p\", \"database\": \"d\", \"time\": \"2026-08-01T12:00:00.123456Z\",\n"
    " \"documents\": {\"rooms/b\": {}, \"rooms/a\": {\"n\": null, \"t\": true, \"i\": 1, \"f\": 1.5, \"s\": "
    "\"x\",\n"
    "   \"list\": [1, {\"a\": []}], \"map\": {\"integerValue\": 1, \"b\": 2},\n"
    "   \"whole\": {\"doubleValue\": 2}, \"nan\": {\"doubleValue\": \"NaN\"}, \"big\": {\"integerValue\": "
    "\"-9223372036854775808\"},\n"
    "   \"time\": {\"timestampValue\": \"2026-08-01T14:00:00.5+02:00\"}, \"bytes\": {\"bytesValue\": "
    "\"aGk=\"},\n"
    "   \"ref\": {\"referenceValue\": \"rooms/b\"}, \"full\": {\"referenceValue\": "
    "\"projects/x/databases/y/documents/a/b\"},\n"
    "   \"point\": {\"geoPointValue\": {\"latitude\": 1.5, \"longitude\": -2}},\n"
    "   \"odd\": {\"mapValue\": {\"fields\": {\"stringValue\": \"a map\"}}},\n"
    "   \"array\": {\"arrayValue\": {\"values\": [{\"nullValue\": null}, {\"booleanValue\": false}]}}}},\n"
    " \"cases\": [\n"
    "  {\"name\": \"one\", \"get\": \"rooms/a\", \"expect\": \"allow\"},\n"
    "  {\"name\": \"two\", \"auth\": {\"uid\": \"ann\", \"token\": {\"admin\": true, \"sub\": \"other\"}}, "
    "\"time\":"
    " \"2020-01-01T00:00:00Z\",\n"
    "   \"documents\": {\"rooms/b\": null, \"rooms/c\": {\"x\": 1}}, \"list\": \"rooms/a/messages\",\n"
    "   \"where\": [[\"a.b\", \"==\", null], {\"or\": [[\"c\", \"in\", [1, 2]], {\"and\": [[\"d\", \">\", "
    "1], "
    "[\"__name__\", \">=\", \"m\"]]}]}],\n"
    "   \"orderBy\": [[\"d\", \"desc\"], \"e\"], \"limit\": 3, \"offset\": 2, \"expect\": \"deny\"},\n"
    "  {\"name\": \"three\", \"auth\": null, \"commit\": [{\"set\": \"rooms/a\", \"merge\": {\"map\": "
    "{\"b\": 3, "
    "\"c\": {}}},\n"
    "   \"remove\": [\"list\", \"map.x\"]}, {\"delete\": \"rooms/b\"}, {\"create\": \"rooms/c\", \"data\": "
    "{\"at\": "
    "{\"setToServerValue\": \"REQUEST_TIME\"}}}], \"expect\": \"deny\"},\n"
    "  {\"name\": \"four\", \"listGroup\": \"messages\", \"expect\": \"allow\"}]}";

static str stored_fields(const struct cases *cases, const struct cases_case *one, const char *relative) {
  struct doc_path path;
  struct doc_record record = {0};
  str key;
  str name = arena_printf(&arena, STR_FMT "/%s", STR_ARG(cases->root.name), relative);
  assert_status_ok(doc_path_parse_document(name, &path));
  assert_status_ok(doc_key_from_path(&path, &arena, &key));
  str stored = cases_state_get(&one->state, key);
  if (stored.len == 0)
    return (str){NULL, 0};
  assert_status_ok(doc_record_decode(stored, &record));
  return record.fields.ptr == NULL ? STR("") : record.fields;
}

static void documents_have_values_of_every_type(void **state) {
  (void)state;
  struct cases cases = read_all(whole);
  struct doc_map map;
  assert_status_ok(doc_decode_fields(stored_fields(&cases, &cases.items[0], "rooms/a"), &arena, &map));
  assert_int_equal(map.count, 17);
  assert_int_equal(doc_map_get(map, STR("n"))->type, DOC_NULL);
  assert_true(doc_map_get(map, STR("t"))->as.boolean);
  assert_int_equal(doc_map_get(map, STR("i"))->type, DOC_INTEGER);
  assert_int_equal(doc_map_get(map, STR("f"))->type, DOC_DOUBLE);
  assert_int_equal(doc_map_get(map, STR("list"))->as.array.count, 2);
  assert_int_equal(doc_map_get(map, STR("map"))->as.map.count, 2);
  assert_int_equal(doc_map_get(map, STR("whole"))->type, DOC_DOUBLE);
  assert_true(doc_map_get(map, STR("nan"))->as.number != doc_map_get(map, STR("nan"))->as.number);
  assert_true(doc_map_get(map, STR("big"))->as.integer == INT64_MIN);
  assert_true(doc_map_get(map, STR("time"))->as.timestamp_us == 1785585600500000);
  assert_int_equal(doc_map_get(map, STR("bytes"))->type, DOC_BYTES);
  assert_str_is(doc_map_get(map, STR("bytes"))->as.text, "hi");
  assert_str_is(doc_map_get(map, STR("ref"))->as.text, "projects/p/databases/d/documents/rooms/b");
  assert_str_is(doc_map_get(map, STR("full"))->as.text, "projects/x/databases/y/documents/a/b");
  assert_true(doc_map_get(map, STR("point"))->as.geo_point.longitude == -2);
  assert_str_is(doc_map_get(doc_map_get(map, STR("odd"))->as.map, STR("stringValue"))->as.text, "a map");
  assert_int_equal(doc_map_get(map, STR("array"))->as.array.items[1].type, DOC_BOOLEAN);
}

static void cases_have_their_parts(void **state) {
  (void)state;
  struct cases cases = read_all(whole);
  assert_int_equal(cases.count, 4);
  const struct cases_case *one = &cases.items[0], *two = &cases.items[1], *three = &cases.items[2];
  assert_int_equal(one->kind, CASES_GET);
  assert_str_is(one->path.relative, "rooms/a");
  assert_true(one->expects_allow && !one->is_signed_in && one->time_us == 1785585600123456);
  assert_non_null(stored_fields(&cases, one, "rooms/b").ptr);

  struct doc_map claims;
  assert_true(two->is_signed_in && !two->expects_allow && two->time_us == 1577836800000000);
  assert_str_is(two->auth.uid, "ann");
  assert_status_ok(doc_decode_fields(two->auth.claims, &arena, &claims));
  assert_true(doc_map_get(claims, STR("admin"))->as.boolean);
  assert_str_is(doc_map_get(claims, STR("sub"))->as.text, "other");
  assert_str_is(doc_map_get(claims, STR("user_id"))->as.text, "ann");
  assert_null(stored_fields(&cases, two, "rooms/b").ptr);
  assert_non_null(stored_fields(&cases, two, "rooms/a").ptr);
  assert_non_null(stored_fields(&cases, two, "rooms/c").ptr);
  str text;
  assert_status_ok(query_format(&two->query, &arena, &text));
  assert_int_equal(two->query.conjunction_count, 3); /* c == 1, c == 2, d > 1 and the name */
  assert_true(two->query.has_limit && two->query.limit == 3 && two->query.offset == 2);
  assert_int_equal(two->query.explicit_order_count, 2);
  assert_true(two->query.orders[0].descending && !two->query.orders[1].descending);
  assert_str_is(two->query.parent.relative, "rooms/a");
  assert_non_null(strstr(arena_str_copy(&arena, text).ptr, "rooms/a/messages/m"));

  assert_int_equal(three->write_count, 3);
  assert_int_equal(three->writes[0].precondition.kind, DOC_PRECONDITION_NONE);
  assert_int_equal(three->writes[0].mask->count, 4); /* list, map.b, map.c, map.x */
  assert_str_is(three->writes[0].mask->paths[2].segments[1], "c");
  assert_int_equal(three->writes[1].kind, DOC_WRITE_DELETE);
  assert_true(!three->writes[2].precondition.exists);
  assert_true(three->writes[2].fields.fields[0].value.as.timestamp_us == 1785585600123000);
  assert_true(cases.items[3].query.all_descendants && cases.items[3].query.parent.segment_count == 0);
}

static const struct {
  const char *json; /* after "name", or a whole file that begins with something else than a quote */
  const char *message;
} wrong_files[] = {
    {"", "it is empty"},
    {"[]", "it is no JSON object"},
    {"{\"cases\": [}", "line 1, column 12"},
    {"{\"cases\": [], \"cases\": []}", "duplicate"},
    {"{\"a\": 1e999}", "line 1"},
    {"{}", "cases: it must be an array"},
    {"{\"cases\": []}", "cases: there is no case in it"},
    {"{\"case\": []}", "\"case\" is not known here"},
    {"{\"cases\": [1]}", "cases[0]: it must be an object"},
    {"{\"cases\": [{}]}", "cases[0].name: it must be a text"},
    {"{\"cases\": [{\"name\": \"\"}]}", "cases[0].name: it must be one line"},
    {"{\"cases\": [{\"name\": \"a\\nb\"}]}", "cases[0].name: it must be one line"},
    {"{\"project\": 1, \"cases\": []}", "project: it must be a text"},
    {"{\"project\": \"a/b\", \"cases\": []}", "projects/a/b"},
    {"{\"database\": \"d/documents/x\", \"cases\": []}", "ids"},
    {"{\"time\": \"today\", \"cases\": []}", "time: it must be a time"},
    {"{\"time\": \"1969-12-31T23:59:59Z\", \"cases\": []}", "time: it must be a time since 1970"},
    {"{\"documents\": [], \"cases\": []}", "documents: it must be an object"},
    {"{\"documents\": {\"rooms\": {}}, \"cases\": []}", "documents.rooms: "},
    {"{\"documents\": {\"rooms/a\": null}, \"cases\": []}", "documents.rooms/a: it must be an object"},
    {"{\"documents\": {\"rooms/a\": {\"x\": {\"timestampValue\": \"x\"}}}, \"cases\": []}",
     "documents.rooms/a.x: it must be a time"},
    {"{\"documents\": {\"rooms/a\": {\"x\": {\"setToServerValue\": \"REQUEST_TIME\"}}}, \"cases\": []}",
     "documents.rooms/a.x: setToServerValue is for the data of writes"},
    {"\"expect\": \"allow\"", "case \"it\": it lacks what is asked"},
    {"\"get\": \"a/b\"", "case \"it\": expect: it must be \"allow\" or \"deny\""},
    {"\"get\": \"a/b\", \"expect\": \"yes\"", "case \"it\": expect: it must be \"allow\" or \"deny\""},
    {"\"get\": \"a/b\", \"expect\": true", "case \"it\": expect: it must be a text"},
    {"\"get\": \"a\", \"expect\": \"deny\"", "case \"it\": get: "},
    {"\"get\": \"a//b\", \"expect\": \"deny\"", "case \"it\": get: "},
    {"\"get\": null, \"expect\": \"deny\"", "case \"it\": get: it must be a text"},
    {"\"get\": \"a/b\", \"data\": {}, \"expect\": \"deny\"", "case \"it\": \"data\" is not known here"},
    {"\"get\": \"a/b\", \"list\": \"a\", \"expect\": \"deny\"", "case \"it\": \"list\" is not known here"},
    {"\"get\": \"a/b\", \"expcet\": \"deny\"", "case \"it\": \"expcet\" is not known here"},
    {"\"get\": \"a/b\", \"auth\": \"ann\"", "case \"it\": auth: it must be an object"},
    {"\"get\": \"a/b\", \"auth\": {}", "case \"it\": auth.uid: it must be a text"},
    {"\"get\": \"a/b\", \"auth\": {\"uid\": \"a\", \"token\": 1}",
     "case \"it\": auth.token: it must be an object"},
    {"\"get\": \"a/b\", \"auth\": {\"uid\": \"a\", \"claims\": {}}",
     "case \"it\": auth: \"claims\" is not known"},
    {"\"get\": \"a/b\", \"auth\": {\"uid\": \"a\", \"token\": {\"x\": [[1]]}}",
     "case \"it\": auth.token: a claim"},
    {"\"get\": \"a/b\", \"time\": 5", "case \"it\": time: it must be a time"},
    {"\"get\": \"a/b\", \"documents\": {\"a/b\": {\"c\": {\"d\": [[1]]}}}", "case \"it\": documents.a/b: "},
    {"\"get\": \"a/b\", \"documents\": {\"a/b\": {\"__x__\": 1}}", "case \"it\": documents.a/b: "},
    {"\"get\": \"a/b\", \"documents\": {\"a/b\": {\"\": 1}}", "case \"it\": documents.a/b: "},
    {"\"list\": \"a/b\"", "case \"it\": list: it must be the path of a collection"},
    {"\"list\": \"a\", \"listGroup\": \"b\"", "case \"it\": it has both \"list\" and \"listGroup\""},
    {"\"list\": \"a\", \"where\": [\"x\"]", "case \"it\": where[0]: it must be an object"},
    {"\"list\": \"a\", \"where\": {}", "case \"it\": where: it must be an array"},
    {"\"list\": \"a\", \"where\": [[\"x\", \"==\"]]", "case \"it\": where[0]: a filter is"},
    {"\"list\": \"a\", \"where\": [[\"x\", \"=\", 1]]", "case \"it\": where[0][1]: it must be one of"},
    {"\"list\": \"a\", \"where\": [[\"x..y\", \"==\", 1]]", "case \"it\": where[0][0]: "},
    {"\"list\": \"a\", \"where\": [[\"x\", \"in\", 1]]", "case \"it\": "},
    {"\"list\": \"a\", \"where\": [[\"x\", \"in\", []]]", "case \"it\": "},
    {"\"list\": \"a\", \"where\": [{\"or\": []}]", "case \"it\": where[0].or: there is no filter in it"},
    {"\"list\": \"a\", \"where\": [{\"or\": [], \"and\": []}]", "case \"it\": where[0]: a filter is"},
    {"\"list\": \"a\", \"where\": [{\"or\": [[\"x\", \"==\", {\"bytesValue\": \"!\"}]]}]",
     "case \"it\": where[0].or[0][2]: it must be base64"},
    {"\"list\": \"a\", \"where\": [[\"__name__\", \"==\", 5]]", "case \"it\": "},
    {"\"list\": \"a\", \"where\": [[\"__name__\", \"==\", \"b/c/d\"]]", "case \"it\": where[0][2]: "},
    {"\"list\": \"a\", \"where\": [[\"x\", \"!=\", 1], [\"y\", \"!=\", 1]]", "case \"it\": "},
    {"\"list\": \"a\", \"orderBy\": \"x\"", "case \"it\": orderBy: it must be an array"},
    {"\"list\": \"a\", \"orderBy\": [[\"x\"]]", "case \"it\": orderBy[0]: an order is"},
    {"\"list\": \"a\", \"orderBy\": [[\"x\", \"up\"]]", "case \"it\": orderBy[0]: the direction"},
    {"\"list\": \"a\", \"limit\": -1", "case \"it\": limit: it must be an integer"},
    {"\"list\": \"a\", \"offset\": 1.5", "case \"it\": offset: it must be an integer"},
    {"\"commit\": []", "case \"it\": commit: there is no write in it"},
    {"\"commit\": {}", "case \"it\": commit: it must be an array"},
    {"\"commit\": [{}]", "case \"it\": commit[0]: it lacks one of"},
    {"\"commit\": [{\"get\": \"a/b\"}]", "case \"it\": commit[0]: \"get\" is not known here"},
    {"\"commit\": [{\"delete\": \"a/b\", \"set\": \"a/b\"}]",
     "commit[0]: it has both \"set\" and \"delete\""},
    {"\"commit\": [{\"delete\": \"a/b\"}], \"data\": {}", "case \"it\": \"data\" is not known here"},
    {"\"delete\": \"a/b\", \"data\": {}", "case \"it\": a delete has no data"},
    {"\"delete\": \"a/b\", \"remove\": []", "case \"it\": a delete has no data"},
    {"\"create\": \"a/b\"", "case \"it\": it lacks \"data\""},
    {"\"create\": \"a/b\", \"merge\": {}", "case \"it\": merge and remove go with update and set"},
    {"\"set\": \"a/b\", \"data\": {}, \"merge\": {}", "case \"it\": merge and remove go with"},
    {"\"update\": \"a\", \"data\": {}", "case \"it\": update: "},
    {"\"update\": \"a/b\", \"remove\": [\"x..y\"]", "case \"it\": "},
    {"\"update\": \"a/b\", \"remove\": \"x\"", "case \"it\": remove: it must be an array"},
    {"\"update\": \"a/b\", \"remove\": [5]", "case \"it\": remove[0]: it must be a text"},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"setToServerValue\": \"NOW\"}}",
     "case \"it\": data.x: it must be \"REQUEST_TIME\""},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"integerValue\": \"9223372036854775808\"}}",
     "data.x: it must be an integer"},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"integerValue\": 1.5}}", "data.x: it must be an integer"},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"doubleValue\": \"1\"}}", "data.x: it must be a number"},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"booleanValue\": 1}}", "data.x: it must be true or false"},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"nullValue\": 0}}", "data.x: it must be null"},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"referenceValue\": \"rooms\"}}", "data.x: "},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"referenceValue\": \"projects/x\"}}", "data: "},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"geoPointValue\": {\"latitude\": \"1\"}}}", "data.x: latitude"},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"geoPointValue\": {\"latitude\": 91}}}", "data: "},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"geoPointValue\": {\"lat\": 1}}}",
     "data.x: \"lat\" is not known"},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"arrayValue\": [1]}}", "data.x: it must be an object"},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"mapValue\": {\"x\": 1}}}", "data.x: \"x\" is not known"},
    {"\"set\": \"a/b\", \"data\": {\"x\": {\"mapValue\": {\"fields\": []}}}", "data.x: it must be an object"},
    {"\"set\": \"a/b\", \"data\": []", "case \"it\": data: it must be an object"},
};

static void wrong_files_are_refused_with_the_place(void **state) {
  (void)state;
  struct cases cases;
  for (size_t i = 0; i < UNIT_COUNT(wrong_files); i++) {
    const char *json = wrong_files[i].json;
    str text = str_from_cstr(json[0] == '"' ? file_of(json) : json);
    status result = cases_read(text, 1, &arena, &cases);
    if (result.code != STATUS_INVALID_ARGUMENT || strstr(result.message, wrong_files[i].message) == NULL)
      fail_msg("%s: %s: \"%s\", not \"%s\"", json, status_code_name((int)result.code), result.message,
               wrong_files[i].message);
  }
}

static str repeat(const char *before, const char *middle, const char *after, size_t times) {
  struct buf out = {0};
  for (size_t i = 0; i < times; i++)
    buf_append_str(&out, str_from_cstr(before));
  buf_append_str(&out, str_from_cstr(middle));
  for (size_t i = 0; i < times; i++)
    buf_append_str(&out, str_from_cstr(after));
  str copy = arena_str_copy(&arena, buf_str(&out));
  buf_fini(&out);
  return copy;
}

static void sizes_are_bounded(void **state) {
  (void)state;
  struct cases cases;
  const char *const deep[] = {repeat("{\"a\": ", "1", "}", 22).ptr, repeat("{\"a\": ", "1", "}", 60).ptr,
                              repeat("[{\"a\": ", "1", "}]", 20).ptr,
                              repeat("{\"mapValue\": {\"fields\": {\"a\": ", "1", "}}}", 22).ptr,
                              repeat("{\"a\": ", "1", "}", 5000).ptr};
  for (size_t i = 0; i < UNIT_COUNT(deep); i++) {
    str text = arena_printf(
        &arena, "{\"cases\": [{\"name\": \"it\", \"set\": \"a/b\", \"data\": {\"x\": %s}}]}", deep[i]);
    assert_status_code(cases_read(text, 1, &arena, &cases), STATUS_INVALID_ARGUMENT);
  }
  str or = repeat("{\"or\": [", "[\"x\", \"==\", 1]", "]}", 31);
  str text = arena_printf(
      &arena, "{\"cases\": [{\"name\": \"it\", \"list\": \"a\", \"where\": [" STR_FMT "]}]}", STR_ARG(or));
  assert_status_code(cases_read(text, 1, &arena, &cases), STATUS_INVALID_ARGUMENT);
  text = arena_printf(&arena, "{\"cases\": [%s{}]}", repeat("{},", "", "", CASES_MAX).ptr);
  status result = cases_read(text, 1, &arena, &cases);
  assert_non_null(strstr(result.message, "10001 of them are more"));
  text = arena_printf(&arena, "{\"cases\": [{\"name\": \"it\", \"commit\": [%s{}]}]}",
                      repeat("{},", "", "", CASES_WRITES_MAX).ptr);
  result = cases_read(text, 1, &arena, &cases);
  assert_non_null(strstr(result.message, "501 of them are more"));
}

static void lack_of_memory_is_no_fault_of_the_file(void **state) {
  (void)state;
  bool succeeded = false;
  for (size_t cap = 0; cap < 200000 && !succeeded; cap += 97) {
    struct arena small;
    struct cases cases;
    arena_init(&small, NULL, 0, cap);
    status result = cases_read(str_from_cstr(whole), 1, &small, &cases);
    succeeded = status_is_ok(&result);
    if (!succeeded && result.code != STATUS_RESOURCE_EXHAUSTED)
      fail_msg("with %zu bytes: %s", cap, result.message);
    arena_fini(&small);
  }
  assert_true(succeeded);
}

/* ---- Judging ---- */

static const char source[] =
    "rules_version = '2';\n"
    "service cloud.firestore {\n"
    "  match /databases/{database}/documents {\n"
    "    function room(id) { return get(/databases/$(database)/documents/rooms/$(id)).data; }\n"
    "    match /rooms/{id} {\n"
    "      allow get: if resource.data.public == true || request.auth.uid in resource.data.members;\n"
    "      allow list: if resource.data.public == true && request.query.limit <= 10;\n"
    "      allow create: if request.resource.data.at == request.time;\n"
    "      allow update: if request.resource.data.diff(resource.data).affectedKeys().hasOnly(['title', "
    "'last']);\n"
    "      allow delete: if debug(request.auth.token.admin) == true;\n"
    "    }\n"
    "    match /rooms/{id}/messages/{message} {\n"
    "      allow read: if request.auth.uid in room(id).members;\n"
    "      allow create: if getAfter(/databases/$(database)/documents/rooms/$(id)).data.last == message;\n"
    "    }\n"
    "    match /clock/{id} { allow read: if request.time < timestamp.date(2026, 1, 1); }\n"
    "  }\n"
    "}\n";

static const char documents[] = "{\"time\": \"2026-08-01T12:00:00.123456Z\", \"documents\": {\n"
                                " \"rooms/a\": {\"public\": true, \"members\": [\"ann\"], \"title\": \"A\", "
                                "\"deep\": {\"x\": 1, \"y\": 2}},\n"
                                " \"rooms/b\": {\"public\": false, \"members\": [\"ann\", \"ben\"], "
                                "\"title\": \"B\"}}, \"cases\": [{\"name\": "
                                "\"it\",\n";

struct judged {
  struct cases cases;
  struct cases_outline outline;
  struct cases_result result;
  struct rules_coverage *last, *total;
  struct rules *rules;
};

static void judged_fini(struct judged *judged) {
  rules_unref(judged->rules);
}

static struct judged judge(const char *rest) {
  struct judged judged = {.rules = NULL};
  static struct rules_problems problems;
  assert_status_ok(rules_compile(str_from_cstr(source), &arena, &problems, &judged.rules));
  assert_int_equal(problems.count, 0);
  judged.cases = read_all(arena_printf(&arena, "%s%s}]}", documents, rest).ptr);
  size_t count = rules_expression_count(judged.rules);
  judged.last = ARENA_NEW_ARRAY(&arena, struct rules_coverage, count);
  judged.total = ARENA_NEW_ARRAY(&arena, struct rules_coverage, count);
  assert_status_ok(cases_outline_make(judged.rules, STR("firestore.rules"), &arena, &judged.outline));
  cases_judge(&judged.cases, judged.cases.items, judged.rules, judged.last, judged.total, &arena,
              &judged.result);
  return judged;
}

static const struct {
  enum cases_outcome outcome;
  const char *rest;
} verdicts[] = {
    {CASES_ALLOWED, "\"get\": \"rooms/a\""},
    {CASES_DENIED, "\"get\": \"rooms/b\""},
    {CASES_DENIED, "\"get\": \"rooms/missing\""},
    {CASES_ALLOWED, "\"get\": \"rooms/b\", \"auth\": {\"uid\": \"ben\"}"},
    {CASES_DENIED, "\"get\": \"rooms/b\", \"auth\": {\"uid\": \"eve\"}"},
    {CASES_ALLOWED, "\"get\": \"rooms/c\", \"documents\": {\"rooms/c\": {\"public\": true}}"},
    {CASES_DENIED, "\"get\": \"rooms/a\", \"documents\": {\"rooms/a\": null}"},
    {CASES_ALLOWED, "\"list\": \"rooms\", \"where\": [[\"public\", \"==\", true]], \"limit\": 10"},
    {CASES_DENIED, "\"list\": \"rooms\", \"where\": [[\"public\", \"==\", true]], \"limit\": 11"},
    {CASES_DENIED, "\"list\": \"rooms\", \"where\": [[\"public\", \"in\", [true, false]]], \"limit\": 1"},
    {CASES_DENIED, "\"list\": \"rooms\", \"limit\": 10"},
    {CASES_DENIED, "\"listGroup\": \"messages\""},
    {CASES_ALLOWED, "\"list\": \"rooms/b/messages\", \"auth\": {\"uid\": \"ben\"}"},
    {CASES_DENIED, "\"list\": \"rooms/a/messages\", \"auth\": {\"uid\": \"ben\"}"},
    {CASES_ALLOWED, "\"create\": \"rooms/c\", \"data\": {\"at\": {\"setToServerValue\": \"REQUEST_TIME\"}}"},
    {CASES_DENIED,
     "\"create\": \"rooms/c\", \"data\": {\"at\": {\"timestampValue\": \"2026-08-01T12:00:00Z\"}}"},
    {CASES_ALLOWED, "\"set\": \"rooms/c\", \"merge\": {\"at\": {\"setToServerValue\": \"REQUEST_TIME\"}}"},
    {CASES_ALLOWED, "\"update\": \"rooms/a\", \"merge\": {\"title\": \"X\"}"},
    {CASES_ALLOWED, "\"update\": \"rooms/a\", \"merge\": {\"deep\": {\"x\": 1}}"}, /* which leaves y */
    {CASES_DENIED, "\"update\": \"rooms/a\", \"merge\": {\"deep\": {\"x\": 2}}"},
    {CASES_DENIED, "\"update\": \"rooms/a\", \"remove\": [\"deep.x\"]"},
    {CASES_ALLOWED, "\"update\": \"rooms/a\", \"remove\": [\"title\"]"},
    {CASES_DENIED, "\"update\": \"rooms/a\", \"data\": {\"title\": \"X\"}"}, /* the others are gone */
    {CASES_DENIED, "\"set\": \"rooms/a\", \"data\": {\"title\": \"X\"}"},
    {CASES_IMPOSSIBLE, "\"create\": \"rooms/a\", \"data\": {}"},
    {CASES_IMPOSSIBLE, "\"update\": \"rooms/c\", \"data\": {}"},
    {CASES_DENIED, "\"delete\": \"rooms/a\", \"auth\": {\"uid\": \"ann\"}"},
    {CASES_ALLOWED, "\"delete\": \"rooms/a\", \"auth\": {\"uid\": \"ann\", \"token\": {\"admin\": true}}"},
    {CASES_ALLOWED, "\"delete\": \"rooms/z\", \"auth\": {\"uid\": \"ann\", \"token\": {\"admin\": true}}"},
    {CASES_DENIED, "\"create\": \"rooms/a/messages/1\", \"data\": {}"},
    {CASES_ALLOWED,
     "\"commit\": [{\"create\": \"rooms/a/messages/1\", \"data\": {}}, {\"update\": \"rooms/a\", "
     "\"merge\": {\"last\": \"1\"}}]"},
    {CASES_DENIED,
     "\"commit\": [{\"create\": \"rooms/a/messages/1\", \"data\": {}}, {\"update\": \"rooms/a\", "
     "\"merge\": {\"last\": \"2\"}}]"},
    {CASES_IMPOSSIBLE, "\"commit\": [{\"delete\": \"rooms/a\"}, {\"update\": \"rooms/a\", \"data\": {}}]"},
    {CASES_DENIED, "\"get\": \"clock/a\""},
    {CASES_ALLOWED, "\"get\": \"clock/a\", \"time\": \"2025-12-31T23:59:59Z\""},
    {CASES_DENIED, "\"get\": \"elsewhere/a\""},
};

static void cases_are_judged_as_the_server_would(void **state) {
  (void)state;
  static const char *const names[] = {"allowed", "denied", "impossible"};
  for (size_t i = 0; i < UNIT_COUNT(verdicts); i++) {
    struct judged judged = judge(
        arena_printf(&arena, "%s, \"expect\": \"%s\"", verdicts[i].rest, i % 2 == 0 ? "allow" : "deny").ptr);
    if (judged.result.outcome != verdicts[i].outcome)
      fail_msg("%s: %s, not %s", verdicts[i].rest, names[judged.result.outcome], names[verdicts[i].outcome]);
    bool is_expected = verdicts[i].outcome == (i % 2 == 0 ? CASES_ALLOWED : CASES_DENIED);
    assert_int_equal(cases_is_expected(judged.cases.items, &judged.result), is_expected);
    judged_fini(&judged);
  }
}

/* ---- Reports ---- */

static str report(const struct judged *judged, bool trace) {
  struct buf out = {0};
  cases_report_failure(&judged->outline, judged->cases.items, &judged->result, judged->last, &out);
  if (trace)
    cases_report_trace(&judged->outline, &judged->result, &out);
  assert_false(out.failed);
  str copy = arena_str_copy(&arena, buf_str(&out));
  buf_fini(&out);
  return copy;
}

static const struct {
  const char *rest, *line;
} reports[] = {
    {"\"get\": \"rooms/b\", \"auth\": {\"uid\": \"eve\"}, \"expect\": \"allow\"",
     "FAIL it: expected allow, got deny: get rooms/b: firestore.rules:6:7: false, namely 6:21 "
     "resource.data.public == true and 6:53 request.auth.uid in resource.data.members\n"},
    {"\"get\": \"rooms/a\", \"expect\": \"deny\"",
     "FAIL it: expected deny, got allow: get rooms/a: firestore.rules:6:7: this allows it\n"},
    {"\"get\": \"elsewhere/a\", \"expect\": \"allow\"",
     "FAIL it: expected allow, got deny: get elsewhere/a: firestore.rules:1:1: no allow statement is for "
     "this\n"},
    {"\"create\": \"rooms/c\", \"data\": {}, \"expect\": \"allow\"",
     "FAIL it: expected allow, got deny: create rooms/c: firestore.rules:8:24: Property at is undefined on "
     "object.\n"},
    {"\"create\": \"rooms/a\", \"data\": {}, \"expect\": \"deny\"",
     "FAIL it: expected deny, got no verdict: Document already exists: "
     "projects/demo/databases/(default)/documents/rooms/a\n"},
};

static void a_failure_is_one_line_with_the_reason(void **state) {
  (void)state;
  for (size_t i = 0; i < UNIT_COUNT(reports); i++) {
    struct judged judged = judge(reports[i].rest);
    assert_str_is(report(&judged, false), reports[i].line);
    judged_fini(&judged);
  }
}

static void the_trace_has_every_document_and_what_debug_wrote(void **state) {
  (void)state;
  struct judged judged =
      judge("\"commit\": [{\"update\": \"rooms/a\", \"merge\": {\"title\": \"X\"}}, {\"delete\": "
            "\"rooms/b\"}], \"auth\": {\"uid\": \"ann\", \"token\": {\"admin\": false}}, "
            "\"expect\": \"allow\"");
  assert_str_is(
      report(&judged, true),
      "FAIL it: expected allow, got deny: delete rooms/b: firestore.rules:10:7: false, namely 10:24 "
      "debug(request.auth.token.admin) == true\n"
      "    update rooms/a\n"
      "      firestore.rules:9:7: allows\n"
      "    delete rooms/b\n"
      "      firestore.rules:10:7: does not allow: false\n"
      "      firestore.rules:10: debug: false\n");
  judged_fini(&judged);
}

/* ---- Coverage ---- */

static const char *covered(void (*put)(const struct cases_outline *, const struct rules_coverage *,
                                       struct buf *),
                           const struct judged *judged) {
  struct buf out = {0};
  put(&judged->outline, judged->total, &out);
  assert_false(out.failed);
  str copy = arena_str_copy(&arena, buf_str(&out));
  buf_fini(&out);
  return copy.ptr;
}

static void coverage_counts_what_was_evaluated(void **state) {
  (void)state;
  struct judged judged = judge("\"get\": \"rooms/b\", \"auth\": {\"uid\": \"ben\"}, \"expect\": \"allow\"");
  const char *summary = covered(cases_coverage_summary, &judged);
  assert_non_null(strstr(summary, "expressions were evaluated, 3 to true, 2 to false.\n"));
  assert_non_null(strstr(summary, "by line: 4, 7-10, 13-14, 16\n"));
  const char *text = covered(cases_coverage_text, &judged);
  assert_non_null(strstr(text, "\n         1        1        0 |    6        allow get: if"));
  assert_non_null(strstr(text, "\n     never                   |    7        allow list: if"));
  assert_non_null(strstr(text, "\n                             |    5      match /rooms"));
  assert_non_null(
      strstr(text, "\nNever evaluated:\n  4:32 get(/databases/$(database)/documents/rooms/$(id)).data\n"));
  assert_non_null(strstr(text, "\nNever true:\n  6:21 resource.data.public == true\n"));
  assert_non_null(strstr(text, "\nNever false:\n  6:21 resource.data.public == true || request.auth.uid in"));
  cases_judge(&judged.cases, judged.cases.items, judged.rules, judged.last, judged.total, &arena,
              &judged.result);
  text = covered(cases_coverage_text, &judged);
  assert_non_null(strstr(text, "\n         2        2        0 |    6        allow get: if"));
  judged_fini(&judged);
}

/* Without its elements, the page's source is the source. */
static void the_page_shows_the_source(void **state) {
  (void)state;
  struct judged judged = judge("\"get\": \"rooms/b\", \"auth\": {\"uid\": \"ben\"}, \"expect\": \"allow\"");
  const char *page = covered(cases_coverage_html, &judged);
  const char *at = strstr(page, "<pre>") + 5, *end = strstr(page, "</pre>");
  struct buf plain = {0};
  size_t open = 0, opened = 0;
  while (at < end) {
    if (strncmp(at, "</span>", 7) == 0) {
      assert_true(open-- > 0);
      at += 7;
    } else if (*at == '<') {
      open++;
      opened++;
      at = strchr(at, '>') + 1;
    } else if (*at == '&') {
      buf_append_byte(&plain, strncmp(at, "&lt;", 4) == 0     ? '<'
                              : strncmp(at, "&gt;", 4) == 0   ? '>'
                              : strncmp(at, "&quot;", 6) == 0 ? '"'
                                                              : '&');
      at = strchr(at, ';') + 1;
    } else {
      buf_append_byte(&plain, (uint8_t)*at++);
    }
  }
  assert_int_equal(open, 0);
  assert_int_equal(opened, judged.outline.count);
  assert_str_is(buf_str(&plain), source);
  buf_fini(&plain);
  assert_non_null(strstr(page, "<span class=\"never-true\" title=\"evaluated 1: true 0, false 1, "));
  assert_non_null(strstr(page, "<span class=\"never\" title=\"never evaluated\">"));
  judged_fini(&judged);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(documents_have_values_of_every_type, set_up, tear_down),
      cmocka_unit_test_setup_teardown(cases_have_their_parts, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wrong_files_are_refused_with_the_place, set_up, tear_down),
      cmocka_unit_test_setup_teardown(sizes_are_bounded, set_up, tear_down),
      cmocka_unit_test_setup_teardown(lack_of_memory_is_no_fault_of_the_file, set_up, tear_down),
      cmocka_unit_test_setup_teardown(cases_are_judged_as_the_server_would, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_failure_is_one_line_with_the_reason, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_trace_has_every_document_and_what_debug_wrote, set_up, tear_down),
      cmocka_unit_test_setup_teardown(coverage_counts_what_was_evaluated, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_page_shows_the_source, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
