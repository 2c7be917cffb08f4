/* Which entries documents have: by examples, at the limits, and for random changes of random documents under
 * random catalogs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "storage/document/wire_build.h"
#include "storage/index/update_check.h"

enum { ROUNDS = 6000 };

static struct arena arena;
static uint64_t random_state = UINT64_C(0x9E3779B97F4A7C15);

static unsigned below(unsigned bound) { /* xorshift64* */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (unsigned)(random_state * UINT64_C(0x2545F4914F6CDD1D) >> 33) % bound;
}

static int set_up(void **state) {
  (void)state;
  arena_init(&arena, NULL, 0, (size_t)1 << 30);
  wire_build_init();
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  wire_build_fini();
  arena_fini(&arena);
  return 0;
}

static struct doc_path path_of(str name) {
  struct doc_path path;
  status s = doc_path_parse_document(name, &path);
  assert_true(status_is_ok(&s));
  return path;
}

static const struct index_catalog plain = {.salt = 0};

/* What a client sent, as it is stored. */
static str stored(str document) {
  struct doc_document decoded;
  str bytes;
  status s = doc_decode_document(document, &arena, &decoded);
  if (!status_is_ok(&s))
    fail_msg("%s", s.message);
  s = doc_encode_fields(decoded.fields, &arena, &bytes);
  assert_true(status_is_ok(&s));
  return bytes;
}

static size_t change(const struct index_catalog *catalog, str old, str new) {
  struct doc_path document = path_of(STR("projects/p/databases/d/documents/a/b/c/d"));
  str from = stored(old), to = stored(new);
  return check_update(catalog, &document, &from, &to, &arena);
}

/* ---- Examples ---- */

static size_t count_of(str document) {
  struct doc_path path = path_of(STR("projects/p/databases/d/documents/c/d"));
  str fields = stored(document);
  return check_update(&plain, &path, NULL, &fields, &arena);
}

static void every_field_has_entries(void **state) {
  (void)state;
  assert_int_equal(count_of(NOTHING), 1); /* its name */
  assert_int_equal(count_of(F("a", V_INT(1))), 2);
  assert_int_equal(count_of(JOIN(F("a", V_INT(1)), F("b", V_NULL))), 3);
  /* A map, and each field in it. */
  assert_int_equal(count_of(F("m", V_MAP(M("x", V_INT(1)), M("y", V_MAP(M("z", V_INT(2))))))), 5);
  /* An array, and each different element; maps in it are elements and no more. */
  assert_int_equal(count_of(F("l", V_ARRAY(ITEM(V_INT(1)), ITEM(V_DOUBLE(1)), ITEM(V_STRING(STR("1")))))), 4);
  assert_int_equal(count_of(F("l", V_ARRAY(ITEM(V_MAP(M("x", V_INT(1)))), ITEM(V_MAP(M("x", V_INT(1))))))),
                   3);
  assert_int_equal(count_of(F("l", V_ARRAY(NOTHING))), 2);
  /* A vector is one value. */
  assert_int_equal(count_of(F("v", V_MAP(M("__type__", V_STRING(STR("__vector__"))),
                                         M("value", V_ARRAY(ITEM(V_DOUBLE(1)), ITEM(V_DOUBLE(2))))))),
                   2);
}

static void only_what_differs_is_written(void **state) {
  (void)state;
  str one = JOIN(F("a", V_INT(1)), F("b", V_INT(2)));
  assert_int_equal(change(&plain, one, one), 0);
  assert_int_equal(change(&plain, one, JOIN(F("a", V_INT(1)), F("b", V_INT(3)))), 2);
  assert_int_equal(change(&plain, one, F("a", V_INT(1))), 1);
  /* 1 and 1.0 have one key; that it was an integer is in the value. */
  assert_int_equal(change(&plain, one, JOIN(F("a", V_DOUBLE(1)), F("b", V_INT(2)))), 1);
  assert_int_equal(change(&plain, F("l", V_ARRAY(ITEM(V_INT(1)))), F("l", V_ARRAY(ITEM(V_DOUBLE(1))))), 1);
  assert_int_equal(change(&plain, F("l", V_ARRAY(ITEM(V_INT(1)), ITEM(V_DOUBLE(1)))),
                          F("l", V_ARRAY(ITEM(V_DOUBLE(1)), ITEM(V_INT(1))))),
                   0);
  /* One more element: the array as a value, and the element. */
  assert_int_equal(change(&plain, F("l", V_ARRAY(ITEM(V_INT(1)), ITEM(V_INT(2)))),
                          F("l", V_ARRAY(ITEM(V_INT(2)), ITEM(V_INT(1)), ITEM(V_INT(3))))),
                   3);
  /* What differs past what is indexed changes nothing. */
  str x = repeat('x', 2000), y = JOIN(x, STR("y"));
  assert_int_equal(change(&plain, F("s", V_STRING(x)), F("s", V_STRING(y))), 0);
  assert_int_equal(change(&plain, F("s", V_STRING(str_make(x.ptr, 1500))), F("s", V_STRING(y))), 2);
}

static struct index_catalog with_composite(const struct index_column *columns, size_t count) {
  static struct index_catalog catalog;
  catalog = (struct index_catalog){.count = 1};
  catalog.composites[0].shape =
      (struct index_shape){.kind = INDEX_COMPOSITE, .number = 7, .columns = columns, .column_count = count};
  catalog.pointers[0] = &catalog.composites[0];
  return catalog;
}

static void composites_need_all_their_fields(void **state) {
  (void)state;
  str a[] = {STR("a")}, b[] = {STR("m"), STR("b")}, l[] = {STR("l")};
  struct index_column columns[] = {
      {{a, 1}, DOC_ASCENDING, false}, {{l, 1}, DOC_ASCENDING, true}, {{b, 2}, DOC_DESCENDING, false}};
  struct index_catalog catalog = with_composite(columns, 3);
  catalog.pointers[0] = &catalog.composites[0];
  str list = F("l", V_ARRAY(ITEM(V_INT(1)), ITEM(V_INT(2)), ITEM(V_INT(2)))),
      map = F("m", V_MAP(M("b", V_INT(5))));
  str whole = JOIN(F("a", V_INT(1)), list, map);
  /* a: 2 entries of the field and 2 * 2 of the index; all at once come and go. */
  assert_int_equal(change(&catalog, whole, JOIN(F("a", V_INT(2)), list, map)), 2 + 4);
  assert_int_equal(change(&catalog, whole, JOIN(F("a", V_DOUBLE(1)), list, map)), 1 + 2);
  assert_int_equal(change(&catalog, whole, JOIN(list, map)), 1 + 2);
  assert_int_equal(change(&catalog, whole, JOIN(F("a", V_INT(1)), F("l", V_INT(1)), map)), 2 + 2 + 2);
  assert_int_equal(change(&catalog, whole, JOIN(F("a", V_INT(1)), list, F("m", V_INT(1)))), 2 + 1 + 2);
  /* One element more is one entry more. */
  str longer = F("l", V_ARRAY(ITEM(V_INT(1)), ITEM(V_INT(3)), ITEM(V_INT(2))));
  assert_int_equal(change(&catalog, whole, JOIN(F("a", V_INT(1)), longer, map)), 2 + 1 + 1);
  /* A field that is in no index of it. */
  assert_int_equal(change(&catalog, JOIN(whole, F("z", V_INT(1))), JOIN(whole, F("z", V_INT(2)))), 2);
}

/* ---- Random changes ---- */

static struct doc_value random_value(unsigned depth, bool in_array);

static struct doc_map random_map(unsigned depth) {
  const str names[] = {STR("a"), STR("a\0"), STR("b"), STR("c"), STR("d")};
  struct doc_field *fields = ARENA_NEW_ARRAY(&arena, struct doc_field, 5);
  size_t count = 0;
  for (size_t i = 0; i < 5; i++)
    if (below(2))
      fields[count++] = (struct doc_field){names[i], random_value(depth + 1, false)};
  return (struct doc_map){fields, count};
}

static struct doc_value random_array(unsigned depth) {
  size_t count = below(6);
  struct doc_value *items = ARENA_NEW_ARRAY(&arena, struct doc_value, count);
  for (size_t i = 0; i < count; i++)
    items[i] = random_value(depth + 1, true);
  return (struct doc_value){.type = DOC_ARRAY, .as.array = {items, count}};
}

static struct doc_value random_value(unsigned depth, bool in_array) {
  const str texts[] = {STR(""), STR("x"), STR("x\0"), repeat('y', 1600)};
  switch (below(depth > 3 ? 5 : 8)) {
  case 0:
    return (struct doc_value){.type = DOC_INTEGER, .as.integer = below(3)};
  case 1:
    return (struct doc_value){.type = DOC_DOUBLE, .as.number = below(3)};
  case 2:
    return (struct doc_value){.type = DOC_BOOLEAN, .as.boolean = below(2)};
  case 3:
    return (struct doc_value){.type = DOC_STRING, .as.text = texts[below(4)]};
  case 4:
    return (struct doc_value){.type = DOC_NULL};
  case 5: {
    struct doc_field *fields = ARENA_NEW_ARRAY(&arena, struct doc_field, 2);
    struct doc_value *items = ARENA_NEW_ARRAY(&arena, struct doc_value, 2);
    for (size_t i = 0; i < 2; i++)
      items[i] = (struct doc_value){.type = DOC_DOUBLE, .as.number = below(2)};
    fields[0] = (struct doc_field){STR("__type__"), {.type = DOC_STRING, .as.text = STR("__vector__")}};
    fields[1] = (struct doc_field){STR("value"), {.type = DOC_ARRAY, .as.array = {items, 2}}};
    return (struct doc_value){.type = DOC_MAP, .as.map = {fields, 2}};
  }
  case 6:
    if (!in_array)
      return random_array(depth);
    return (struct doc_value){.type = DOC_MAP, .as.map = random_map(depth)};
  default:
    return (struct doc_value){.type = DOC_MAP, .as.map = random_map(depth)};
  }
}

/* Another map that shares most with `map`. */
static struct doc_map like(struct doc_map map, unsigned depth) {
  struct doc_field *fields = ARENA_NEW_ARRAY(&arena, struct doc_field, map.count);
  size_t count = 0;
  for (size_t i = 0; i < map.count; i++) {
    struct doc_value value = map.fields[i].value;
    if (value.type == DOC_MAP && !doc_value_is_vector(&value) && below(2))
      value.as.map = like(value.as.map, depth + 1);
    else if (below(3) == 0)
      value = random_value(depth + 1, false);
    if (below(6) > 0)
      fields[count++] = (struct doc_field){map.fields[i].name, value};
  }
  return (struct doc_map){fields, count};
}

static struct index_catalog *random_catalog(void) {
  static struct index_catalog catalog;
  const str names[] = {STR("a"), STR("a\0"), STR("b"), STR("c"), STR("d")};
  catalog = (struct index_catalog){.salt = below(3) == 0 ? 0 : 1 + below(1000), .count = below(4)};
  for (size_t i = 0; i < catalog.count; i++) {
    size_t count = 1 + below(CHECK_COLUMNS_MAX), elements = below(CHECK_COLUMNS_MAX + 2);
    struct index_column *columns = ARENA_NEW_ARRAY(&arena, struct index_column, count);
    for (size_t at = 0; at < count; at++) {
      str *segments = ARENA_NEW_ARRAY(&arena, str, 2);
      segments[0] = names[below(5)];
      segments[1] = names[below(5)];
      columns[at] = (struct index_column){
          {segments, 1 + (below(3) == 0)}, below(2) ? DOC_DESCENDING : DOC_ASCENDING, at == elements};
    }
    catalog.composites[i].shape =
        (struct index_shape){.kind = INDEX_COMPOSITE,
                             .group = below(2),
                             .number = (uint32_t)i,
                             .columns = columns,
                             .column_count = count,
                             .name_order = below(2) ? DOC_DESCENDING : DOC_ASCENDING};
    catalog.pointers[i] = &catalog.composites[i];
  }
  return &catalog;
}

static str encode(struct doc_map map) {
  str bytes;
  status s = doc_encode_fields(map, &arena, &bytes);
  assert_true(status_is_ok(&s));
  return bytes;
}

static void random_changes(void **state) {
  (void)state;
  size_t touched = 0;
  for (int round = 0; round < ROUNDS; round++) {
    arena_reset(&arena);
    arena_reset(&build_arena);
    struct index_catalog *catalog = random_catalog();
    struct doc_path document = path_of(below(2) ? STR("projects/p/databases/d/documents/c/x")
                                                : STR("projects/p/databases/d/documents/c/x/c/__id7__"));
    struct doc_map map = random_map(0);
    str old = encode(map), new = encode(like(map, 0));
    touched += check_update(catalog, &document, below(6) ? &old : NULL, below(6) ? &new : NULL, &arena);
  }
  assert_true(touched > ROUNDS);
}

/* ---- Limits ---- */

static status update_of(const struct index_catalog *catalog, str name, const str *old, const str *new,
                        struct entries *entries) {
  struct doc_path document = path_of(name);
  struct check_batch batch = {{&check_driver}, entries, {.arena = &arena}};
  status s = index_update(catalog, &document, old, new, &arena, &batch.base);
  free(batch.touched.items);
  return s;
}

/* An array of `count` different numbers, or of equal ones. */
static str array_of(size_t count, bool different) {
  struct doc_value *items = ARENA_NEW_ARRAY(&arena, struct doc_value, count);
  for (size_t i = 0; i < count; i++)
    items[i] =
        (struct doc_value){.type = DOC_INTEGER, .as.integer = different ? (int64_t)(i * 7919 % count) : 1};
  struct doc_field field = {STR("l"), {.type = DOC_ARRAY, .as.array = {items, count}}};
  return encode((struct doc_map){&field, 1});
}

static void numbers_of_entries_are_limited(void **state) {
  (void)state;
  const str name = STR("projects/p/databases/d/documents/c/x");
  struct entries entries = {.arena = &arena};
  str fits = array_of(LIMIT_INDEX_ENTRIES - 2, true), more = array_of(LIMIT_INDEX_ENTRIES - 1, true),
      equal = array_of(100000, false);
  status s = update_of(&plain, name, NULL, &more, &entries);
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  assert_non_null(strstr(s.message, "40000"));
  assert_int_equal(entries.count, 0); /* refused before anything is written */
  s = update_of(&plain, name, NULL, &equal, &entries);
  assert_true(status_is_ok(&s));
  assert_int_equal(entries.count, 3);
  entries.count = 0;
  s = update_of(&plain, name, NULL, &fits, &entries);
  assert_true(status_is_ok(&s));
  assert_int_equal(entries.count, LIMIT_INDEX_ENTRIES);
  free(entries.items);
}

/* The whole document counts, not what a change writes. */
static void a_small_change_may_pass_a_limit(void **state) {
  (void)state;
  const str name = STR("projects/p/databases/d/documents/c/x");
  struct entries entries = {.arena = &arena};
  str big = array_of(LIMIT_INDEX_ENTRIES - 2, true), field = F("z", V_INT(1)), both = JOIN(big, field);
  status s = update_of(&plain, name, NULL, &big, &entries);
  assert_true(status_is_ok(&s));
  s = update_of(&plain, name, &big, &both, &entries);
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  assert_int_equal(entries.count, LIMIT_INDEX_ENTRIES);
  free(entries.items);
}

static void bytes_of_entries_are_limited(void **state) {
  (void)state;
  str long_name =
      JOIN(STR("projects/p/databases/d/documents/"), repeat('c', 1400), STR("/"), repeat('d', 1400));
  struct entries entries = {.arena = &arena};
  str fits = array_of(2500, true), more = array_of(3100, true);
  status s = update_of(&plain, long_name, NULL, &more, &entries);
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  assert_non_null(strstr(s.message, "8 MiB"));
  s = update_of(&plain, long_name, NULL, &fits, &entries);
  assert_true(status_is_ok(&s));
  free(entries.items);
}

static void one_entry_is_limited(void **state) {
  (void)state;
  const str name = STR("projects/p/databases/d/documents/c/x");
  str segments[6] = {STR("a"), STR("b"), STR("c"), STR("d"), STR("e"), STR("f")};
  struct index_column columns[6];
  struct doc_field fields[6];
  for (size_t i = 0; i < 6; i++) {
    columns[i] = (struct index_column){{&segments[i], 1}, DOC_ASCENDING, false};
    fields[i] = (struct doc_field){segments[i], {.type = DOC_STRING, .as.text = repeat('v', 3000)}};
  }
  str document = encode((struct doc_map){fields, 6});
  struct index_catalog six = with_composite(columns, 6);
  six.pointers[0] = &six.composites[0];
  struct entries entries = {.arena = &arena};
  status s = update_of(&six, name, NULL, &document, &entries);
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  assert_non_null(strstr(s.message, "7680"));
  entries.count = 0;
  six.composites[0].shape.column_count = 5;
  s = update_of(&six, name, NULL, &document, &entries);
  assert_true(status_is_ok(&s));
  free(entries.items);
}

/* No query can name a field whose path is longer than LIMIT_ID_BYTES: it has no entry, and what is above it
 * has. */
static void paths_that_no_query_names(void **state) {
  (void)state;
  str value = V_INT(1);
  for (int i = 0; i < 5; i++)
    value = V_MAP(ENTRY(1, repeat('n', 400), value));
  assert_int_equal(count_of(ENTRY(2, repeat('n', 400), value)), 1 + 3);
}

static void broken_fields_are_damage(void **state) {
  (void)state;
  const str name = STR("projects/p/databases/d/documents/c/x");
  struct entries entries = {.arena = &arena};
  str good = stored(JOIN(F("a", V_INT(1)), F("b", V_STRING(STR("x")))));
  for (size_t len = 1; len < good.len; len++) {
    str cut = str_make(good.ptr, len);
    if (len == stored(F("a", V_INT(1))).len)
      continue;
    status s = update_of(&plain, name, NULL, &cut, &entries);
    assert_int_equal(s.code, STATUS_DATA_LOSS);
  }
  str unsorted = JOIN(F("b", V_INT(1)), F("a", V_INT(1)));
  status s = update_of(&plain, name, NULL, &unsorted, &entries);
  assert_int_equal(s.code, STATUS_DATA_LOSS);
  s = update_of(&plain, name, &unsorted, NULL, &entries);
  assert_int_equal(s.code, STATUS_DATA_LOSS);
  free(entries.items);
}

static status stop_at_two(void *argument, str key, str value) {
  (void)key;
  (void)value;
  return ++*(int *)argument == 2 ? status_make(STATUS_ABORTED, "Enough.") : status_ok();
}

static void a_visitor_may_stop(void **state) {
  (void)state;
  struct doc_path document = path_of(STR("projects/p/databases/d/documents/c/x"));
  str fields = array_of(10, true);
  int seen = 0;
  status s = index_visit(&plain, NULL, &document, fields, &arena, stop_at_two, &seen);
  assert_int_equal(s.code, STATUS_ABORTED);
  assert_int_equal(seen, 2);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {TEST(every_field_has_entries),
                                     TEST(only_what_differs_is_written),
                                     TEST(composites_need_all_their_fields),
                                     TEST(random_changes),
                                     TEST(numbers_of_entries_are_limited),
                                     TEST(a_small_change_may_pass_a_limit),
                                     TEST(bytes_of_entries_are_limited),
                                     TEST(one_entry_is_limited),
                                     TEST(paths_that_no_query_names),
                                     TEST(broken_fields_are_damage),
                                     TEST(a_visitor_may_stop)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
