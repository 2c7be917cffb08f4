#include <stdio.h>

#include "base/limits.h"
#include "storage/index/catalog.h"
#include "storage/index/definition.h"
#include "tests/support/unit.h"

static struct arena arena;

static int set_up(void **state) {
  (void)state;
  arena_init(&arena, NULL, 0, 64 << 20);
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  return 0;
}

static struct index_definitions parse(const char *json) {
  struct index_definitions definitions = {0};
  assert_status_ok(index_definitions_parse(str_from_cstr(json), &arena, &definitions));
  return definitions;
}

static const char full[] =
    "{\"indexes\": [\n"
    " {\"collectionGroup\": \"orders\", \"queryScope\": \"COLLECTION\", \"apiScope\": \"ANY_API\",\n"
    "  \"density\": \"SPARSE_ALL\", \"multikey\": false, \"unique\": false, \"fields\": [\n"
    "   {\"fieldPath\": \"customer\", \"order\": \"ASCENDING\"},\n"
    "   {\"fieldPath\": \"tags\", \"arrayConfig\": \"CONTAINS\"},\n"
    "   {\"fieldPath\": \"at.`day of`\", \"order\": \"DESCENDING\"}]},\n"
    " {\"collectionGroup\": \"orders\", \"queryScope\": \"COLLECTION_GROUP\", \"fields\": [\n"
    "   {\"fieldPath\": \"a\", \"order\": \"DESCENDING\"}, {\"fieldPath\": \"__name__\", \"order\": "
    "\"ASCENDING\"},\n"
    "   {\"fieldPath\": \"v\", \"vectorConfig\": {\"dimension\": 3, \"flat\": {}}}]}],\n"
    " \"fieldOverrides\": [\n"
    "  {\"collectionGroup\": \"orders\", \"fieldPath\": \"notes\", \"indexes\": []},\n"
    "  {\"collectionGroup\": \"logs\", \"fieldPath\": \"*\", \"indexes\": [\n"
    "    {\"queryScope\": \"COLLECTION\", \"order\": \"DESCENDING\", \"density\": \"DENSE\"},\n"
    "    {\"queryScope\": \"COLLECTION_GROUP\", \"arrayConfig\": \"CONTAINS\"}]},\n"
    "  {\"collectionGroup\": \"logs\", \"fieldPath\": \"until\", \"ttl\": true}]}";

static void a_whole_file_is_read(void **state) {
  (void)state;
  struct index_definitions d = parse(full);
  assert_int_equal(d.composite_count, 2);
  const struct index_composite_definition *first = &d.composites[0], *second = &d.composites[1];
  assert_str_is(first->collection_id, "orders");
  assert_false(first->group);
  assert_int_equal(first->column_count, 3);
  assert_str_is(first->columns[0].field.segments[0], "customer");
  assert_true(first->columns[1].elements);
  assert_int_equal(first->columns[2].field.count, 2);
  assert_str_is(first->columns[2].field.segments[1], "day of");
  assert_int_equal(first->columns[2].order, DOC_DESCENDING);
  assert_int_equal(first->name_order, DOC_DESCENDING);
  assert_null(first->vector);
  assert_true(second->group);
  assert_int_equal(second->column_count, 1);
  assert_int_equal(second->name_order, DOC_ASCENDING);
  assert_non_null(second->vector);
  assert_int_equal(second->vector_dimension, 3);
  assert_int_equal(d.override_count, 3);
  assert_int_equal(d.overrides[0].has, 0);
  assert_false(d.overrides[0].inherits);
  assert_int_equal(d.overrides[1].field.count, 0);
  assert_int_equal(d.overrides[1].has, INDEX_HAS_VALUES | INDEX_HAS_GROUP_ELEMENTS);
  assert_true(d.overrides[2].ttl && d.overrides[2].inherits);
}

static void what_is_written_reads_the_same(void **state) {
  (void)state;
  static const char *const files[] = {
      full, "{}",
      "{\"indexes\":[{\"collectionGroup\":\"c\\u0000d\",\"fields\":[{\"fieldPath\":\"__name__\",\"order\":"
      "\"DESCENDING\"}]}]}"};
  for (size_t i = 0; i < UNIT_COUNT(files); i++) {
    struct index_definitions d = parse(files[i]), again = {0};
    struct buf text = {0}, second = {0};
    assert_status_ok(index_definitions_format(&d, &text));
    assert_status_ok(index_definitions_parse(buf_str(&text), &arena, &again));
    assert_int_equal(again.composite_count, d.composite_count);
    for (size_t k = 0; k < d.composite_count; k++)
      assert_true(index_composite_definition_equal(&d.composites[k], &again.composites[k]));
    assert_status_ok(index_definitions_format(&again, &second));
    assert_true(str_eq(buf_str(&text), buf_str(&second)));
    buf_fini(&text);
    buf_fini(&second);
  }
}

static void older_spelling_means_the_same(void **state) {
  (void)state;
  struct index_definitions old = parse(
      "{\"indexes\": [{\"collectionId\": \"c\", \"fields\": [{\"fieldPath\": \"a\", \"mode\": \"ASCENDING\"},"
      "{\"fieldPath\": \"b\", \"mode\": \"ARRAY_CONTAINS\"}]}]}");
  struct index_definitions now =
      parse("{\"indexes\": [{\"collectionGroup\": \"c\", \"queryScope\": \"COLLECTION\", \"fields\": ["
            "{\"fieldPath\": \"a\", \"order\": \"ASCENDING\"}, {\"fieldPath\": \"b\", \"arrayConfig\": "
            "\"CONTAINS\"}]}]}");
  assert_true(index_composite_definition_equal(&old.composites[0], &now.composites[0]));
}

static void the_same_index_twice_is_one(void **state) {
  (void)state;
  const char *json =
      "{\"indexes\": [{\"collectionGroup\": \"c\", \"fields\": [{\"fieldPath\": \"a\", \"order\": "
      "\"ASCENDING\"}]}, {\"collectionGroup\": \"c\", \"queryScope\": \"COLLECTION\", \"fields\": "
      "[{\"fieldPath\": \"`a`\", \"order\": \"ASCENDING\"}]}]}";
  assert_int_equal(parse(json).composite_count, 1);
}

#define INDEX(fields) "{\"indexes\":[{\"collectionGroup\":\"c\",\"fields\":[" fields "]}]}"
#define A_ASC "{\"fieldPath\":\"a\",\"order\":\"ASCENDING\"}"
#define OVERRIDE(rest) "{\"fieldOverrides\":[{\"collectionGroup\":\"c\"," rest "}]}"

static void mistakes_are_refused_with_their_place(void **state) {
  (void)state;
  static const struct {
    const char *json, *message;
  } cases[] = {
      {"", "line 1"},
      {"{\n\"indexes\": [,]}", "line 2"},
      {"[]", "must be an object"},
      {"{\"indexes\": [], \"indexes\": []}", "duplicate"},
      {"{\"index\": []}", "\"index\" is not known"},
      {"{\"indexes\": {}}", "indexes: it must be an array"},
      {"{\"indexes\": [1]}", "indexes[0]: it must be an object"},
      {"{\"indexes\": [{\"fields\": []}]}", "indexes[0].collectionGroup: it is missing"},
      {"{\"indexes\": [{\"collectionGroup\": 7}]}", "indexes[0].collectionGroup: it must be a text"},
      {"{\"indexes\": [{\"collectionGroup\": \"a/b\"}]}", "indexes[0].collectionGroup"},
      {"{\"indexes\": [{\"collectionGroup\": \"a\", \"queryScope\": \"DATABASE\"}]}",
       "indexes[0].queryScope: it must be COLLECTION or COLLECTION_GROUP"},
      {"{\"indexes\": [{\"collectionGroup\": \"a\", \"unique\": true}]}", "indexes[0].unique"},
      {"{\"indexes\": [{\"collectionGroup\": \"a\", \"density\": true}]}", "indexes[0].density"},
      {INDEX(""), "indexes[0]: it has no \"fields\""},
      {INDEX("{\"fieldPath\":\"a\"}"), "indexes[0].fields[0]: it needs either"},
      {INDEX("{\"fieldPath\":\"a\",\"order\":\"ASCENDING\",\"arrayConfig\":\"CONTAINS\"}"), "needs either"},
      {INDEX(A_ASC ",{\"fieldPath\":\"b\",\"order\":\"UP\"}"),
       "indexes[0].fields[1].order: it must be ASCENDING or DESCENDING"},
      {INDEX("{\"fieldPath\":\"b\",\"arrayConfig\":\"ALL\"}"), "fields[0].arrayConfig: it must be CONTAINS"},
      {INDEX("{\"order\":\"ASCENDING\"}"), "indexes[0].fields[0].fieldPath: it is missing"},
      {INDEX("{\"fieldPath\":\"a..b\",\"order\":\"ASCENDING\"}"), "indexes[0].fields[0].fieldPath: "},
      {INDEX("{\"fieldPath\":\"*\",\"order\":\"ASCENDING\"}"), "fieldOverrides only"},
      {INDEX(A_ASC "," A_ASC), "indexes[0].fields[1]: the field \"a\" is there already"},
      {INDEX("{\"fieldPath\":\"__name__\",\"order\":\"ASCENDING\"}," A_ASC), "after __name__"},
      {INDEX("{\"fieldPath\":\"__name__\",\"arrayConfig\":\"CONTAINS\"}"), "not an array"},
      {INDEX("{\"fieldPath\":\"a\",\"arrayConfig\":\"CONTAINS\"},{\"fieldPath\":\"b\",\"arrayConfig\":"
             "\"CONTAINS\"}"),
       "indexes[0].fields[1]: an index has one array field"},
      {INDEX("{\"fieldPath\":\"a\",\"vectorConfig\":{\"dimension\":0,\"flat\":{}}}"),
       "indexes[0].fields[0].vectorConfig.dimension"},
      {INDEX("{\"fieldPath\":\"a\",\"vectorConfig\":{\"dimension\":3,\"flat\":{\"x\":1}}}"),
       "fields[0].vectorConfig.flat: \"x\" is not known"},
      {INDEX("{\"fieldPath\":\"__name__\",\"vectorConfig\":{\"dimension\":3}}"), "a field of the document"},
      {OVERRIDE("\"fieldPath\":\"a\""), "fieldOverrides[0]: it has neither"},
      {OVERRIDE("\"fieldPath\":\"*\",\"ttl\":true"), "fieldOverrides[0]: a TTL policy"},
      {OVERRIDE("\"fieldPath\":\"__name__\",\"indexes\":[]"), "always indexed"},
      {OVERRIDE("\"fieldPath\":\"a\",\"indexes\":[{\"order\":\"ASCENDING\",\"foo\":1}]"),
       "fieldOverrides[0].indexes[0]: \"foo\" is not known"},
      {"{\"fieldOverrides\":[{\"collectionGroup\":\"c\",\"fieldPath\":\"a\",\"indexes\":[]},"
       "{\"collectionGroup\":\"c\",\"fieldPath\":\"`a`\",\"indexes\":[]}]}",
       "fieldOverrides[1]: the same field as in fieldOverrides[0]"},
      {"{\"fieldOverrides\":[{\"collectionGroup\":\"c\",\"fieldPath\":\"a\",\"ttl\":true},"
       "{\"collectionGroup\":\"c\",\"fieldPath\":\"b\",\"ttl\":true}]}",
       "fieldOverrides[1]: a collection group has one TTL field"},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct index_definitions d;
    status s = index_definitions_parse(str_from_cstr(cases[i].json), &arena, &d);
    assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
    if (strstr(s.message, cases[i].message) == NULL)
      fail_msg("%s: \"%s\" has no \"%s\"", cases[i].json, s.message, cases[i].message);
  }
}

static status parse_many(size_t indexes, size_t columns) {
  struct buf json = {0};
  struct index_definitions d;
  buf_append_str(&json, STR("{\"indexes\":["));
  for (size_t i = 0; i < indexes; i++) {
    buf_printf(&json, "%s{\"collectionGroup\":\"c%zu\",\"fields\":[", i > 0 ? "," : "", i);
    for (size_t k = 0; k < columns; k++)
      buf_printf(&json, "%s{\"fieldPath\":\"f%zu\",\"order\":\"ASCENDING\"}", k > 0 ? "," : "", k);
    buf_append_str(&json, STR("]}"));
  }
  buf_append_str(&json, STR("]}"));
  status s = index_definitions_parse(buf_str(&json), &arena, &d);
  buf_fini(&json);
  return s;
}

static void limits_hold(void **state) {
  (void)state;
  assert_status_ok(parse_many(1, LIMIT_INDEX_COLUMNS));
  assert_status_code(parse_many(1, LIMIT_INDEX_COLUMNS + 1), STATUS_INVALID_ARGUMENT);
  assert_status_ok(parse_many(LIMIT_COMPOSITE_INDEXES, 1));
  assert_status_code(parse_many(LIMIT_COMPOSITE_INDEXES + 1, 1), STATUS_INVALID_ARGUMENT);
  struct buf large = {0};
  while (large.len <= LIMIT_INDEX_FILE_BYTES)
    buf_append_str(&large, STR("                                                                "));
  struct index_definitions d;
  assert_status_code(index_definitions_parse(buf_str(&large), &arena, &d), STATUS_INVALID_ARGUMENT);
  buf_fini(&large);
  struct arena small;
  arena_init(&small, NULL, 0, 512);
  assert_status_code(index_definitions_parse(str_from_cstr(full), &small, &d), STATUS_RESOURCE_EXHAUSTED);
  arena_fini(&small);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_whole_file_is_read, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_is_written_reads_the_same, set_up, tear_down),
      cmocka_unit_test_setup_teardown(older_spelling_means_the_same, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_same_index_twice_is_one, set_up, tear_down),
      cmocka_unit_test_setup_teardown(mistakes_are_refused_with_their_place, set_up, tear_down),
      cmocka_unit_test_setup_teardown(limits_hold, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
