/* Keys of entries: they sort as (values, name) in the directions of their shape, a prefix is the beginning of
 * its own entries alone, and they can be taken apart again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"
#include "storage/document/key.h"
#include "storage/index/entry.h"

enum { ROUNDS = 40000, COLUMNS_MAX = 4 };

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
  arena_init(&arena, NULL, 0, 64 << 20);
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  return 0;
}

static int sign(int order) {
  return (order > 0) - (order < 0);
}

/* ---- Random paths, shapes and values ---- */

static str random_collection_id(void) {
  const str ids[] = {STR("a"), STR("a\0"), STR("a\0\x01"), STR("b"), STR("\x01"), STR("\xf4\x8f\xbf\xbf"),
                     STR("aa")};
  return ids[below(7)];
}
static str random_document_id(void) {
  const str numbers[] = {STR("__id7__"), STR("__id10__"), STR("__id007__")};
  return below(4) == 0 ? numbers[below(3)] : random_collection_id();
}

static struct doc_path path_of(const struct buf *name) {
  str copy = arena_str_copy(&arena, buf_str(name));
  struct doc_path path;
  status s = doc_path_parse(copy, &path);
  if (!status_is_ok(&s))
    fail_msg("%s", s.message);
  return path;
}

/* A document in the collection `last`, at random depth, in one of two databases. */
static struct doc_path random_document(str last, bool one_database) {
  struct buf name = {0};
  buf_printf(&name, "projects/p/databases/%s/documents", one_database || below(2) ? "d" : "dd");
  for (unsigned depth = below(3); depth > 0; depth--) {
    buf_append_byte(&name, '/');
    buf_append_str(&name, random_collection_id());
    buf_append_byte(&name, '/');
    buf_append_str(&name, random_document_id());
  }
  buf_append_byte(&name, '/');
  buf_append_str(&name, last);
  buf_append_byte(&name, '/');
  buf_append_str(&name, random_document_id());
  struct doc_path path = path_of(&name);
  buf_fini(&name);
  return path;
}

static struct doc_field_path random_field(void) {
  const str names[] = {STR("x"), STR("x\0"), STR("\0"), STR("y"), STR("xy"), STR("v")};
  size_t count = 1 + below(3);
  str *segments = ARENA_NEW_ARRAY(&arena, str, count);
  assert_non_null(segments);
  for (size_t i = 0; i < count; i++)
    segments[i] = names[below(6)];
  return (struct doc_field_path){segments, count};
}

static struct index_shape random_shape(void) {
  struct index_shape shape = {.kind = (enum index_kind)(1 + below(4)), .number = below(3)};
  struct index_column *columns = ARENA_NEW_ARRAY(&arena, struct index_column, COLUMNS_MAX);
  assert_non_null(columns);
  bool composite = shape.kind == INDEX_COMPOSITE;
  shape.columns = columns;
  shape.column_count = shape.kind == INDEX_GROUP_NAMES ? 0 : composite ? 1 + below(COLUMNS_MAX) : 1;
  for (size_t i = 0; i < shape.column_count; i++)
    columns[i] = (struct index_column){random_field(), composite && below(2) ? DOC_DESCENDING : DOC_ASCENDING,
                                       below(2) == 0};
  shape.group = composite ? below(2) == 0 : shape.kind != INDEX_FIELD;
  shape.name_order = composite && below(2) ? DOC_DESCENDING : DOC_ASCENDING;
  return shape;
}

static struct doc_value random_value(void) {
  const str texts[] = {STR(""), STR("\0"), STR("a"), STR("a\0"), STR("ab"), STR("\xff")};
  switch (below(5)) {
  case 0:
    return (struct doc_value){.type = DOC_NULL};
  case 1:
    return (struct doc_value){.type = DOC_INTEGER, .as.integer = (int64_t)below(3) - 1};
  case 2:
    return (struct doc_value){.type = DOC_DOUBLE, .as.number = (double)below(5) / 2 - 1};
  case 3:
    return (struct doc_value){.type = DOC_BYTES, .as.text = texts[below(6)]};
  default: {
    struct doc_value *items = ARENA_NEW_ARRAY(&arena, struct doc_value, 2);
    assert_non_null(items);
    for (int i = 0; i < 2; i++)
      items[i] = (struct doc_value){.type = DOC_STRING, .as.text = texts[below(5)]};
    return (struct doc_value){.type = DOC_ARRAY, .as.array = {items, below(3)}};
  }
  }
}

struct entry {
  struct doc_path document;
  struct doc_value values[COLUMNS_MAX];
  str prefix, key;
};

static void make_key(const struct index_shape *shape, struct entry *entry) {
  struct buf key = {0};
  struct doc_path parent = doc_path_parent(&entry->document);
  index_prefix(shape, &parent, doc_path_collection_id(&entry->document), &key);
  entry->prefix = arena_str_copy(&arena, buf_str(&key));
  for (size_t i = 0; i < shape->column_count; i++) {
    bool cut;
    doc_order_encode(&entry->values[i], shape->columns[i].order, &key, &cut);
  }
  index_put_document(shape, &entry->document, &key);
  assert_false(key.failed);
  entry->key = arena_str_copy(&arena, buf_str(&key));
  buf_fini(&key);
}

static struct entry random_entry(const struct index_shape *shape, const struct doc_path *document) {
  struct entry entry = {.document = *document};
  for (size_t i = 0; i < shape->column_count; i++)
    entry.values[i] = random_value();
  make_key(shape, &entry);
  return entry;
}

static bool is_over_group(const struct index_shape *shape) {
  return shape->group || shape->kind == INDEX_GROUP_FIELD || shape->kind == INDEX_GROUP_NAMES;
}

/* ---- Tests ---- */

static int wanted_order(const struct index_shape *shape, const struct entry *a, const struct entry *b) {
  for (size_t i = 0; i < shape->column_count; i++) {
    int order = sign(doc_value_compare(&a->values[i], &b->values[i]));
    if (order != 0)
      return shape->columns[i].order == DOC_ASCENDING ? order : -order;
  }
  int order = sign(doc_path_compare(&a->document, &b->document));
  return shape->name_order == DOC_ASCENDING ? order : -order;
}

static void keys_sort_as_values_and_names(void **state) {
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    uint64_t seed = random_state;
    arena_reset(&arena);
    struct index_shape shape = random_shape();
    struct doc_path one = random_document(STR("a"), true), other = random_document(STR("a"), true);
    if (!is_over_group(&shape)) { /* one collection, two documents of it */
      struct doc_path collection = doc_path_parent(&one);
      struct buf name = {0};
      buf_append_str(&name, collection.name);
      buf_append_byte(&name, '/');
      buf_append_str(&name, random_document_id());
      other = path_of(&name);
      buf_fini(&name);
    }
    struct entry a = random_entry(&shape, &one), b = random_entry(&shape, &other);
    if (below(2)) {
      memcpy(b.values, a.values, sizeof b.values);
      make_key(&shape, &b);
    }
    assert_true(str_eq(a.prefix, b.prefix));
    if (sign(str_cmp(a.key, b.key)) != wanted_order(&shape, &a, &b))
      fail_msg("state %llu: kind %d: keys sort otherwise than values and names", (unsigned long long)seed,
               (int)shape.kind);
  }
}

static bool same_columns(const struct index_shape *a, const struct index_shape *b) {
  if (a->kind == INDEX_GROUP_NAMES)
    return true;
  if (a->kind == INDEX_COMPOSITE)
    return a->number == b->number;
  return a->columns[0].elements == b->columns[0].elements &&
         doc_field_path_compare(&a->columns[0].field, &b->columns[0].field) == 0;
}

/* A composite's number says whether it is a group's, and of which group. */
static bool same_place(const struct index_shape *shape, const struct doc_path *a, const struct doc_path *b) {
  struct doc_path x = doc_path_parent(a), y = doc_path_parent(b);
  if (!is_over_group(shape))
    return str_eq(x.name, y.name);
  return doc_path_same_database(a, b) && str_eq(doc_path_collection_id(a), doc_path_collection_id(b));
}

static void prefixes_hold_their_own_alone(void **state) {
  (void)state;
  int same = 0;
  for (int round = 0; round < ROUNDS; round++) {
    uint64_t seed = random_state;
    arena_reset(&arena);
    struct index_shape shape = random_shape(), other = below(2) ? shape : random_shape();
    if (shape.kind == INDEX_COMPOSITE && other.kind == INDEX_COMPOSITE && shape.number == other.number)
      other.group = shape.group;
    bool one_group = shape.kind == INDEX_COMPOSITE && shape.group;
    str last = random_collection_id();
    struct doc_path x = random_document(last, false),
                    y = below(3) == 0 ? x : random_document(one_group ? last : random_collection_id(), false);
    struct entry a = random_entry(&shape, &x), b = random_entry(&other, &y);
    bool wanted = shape.kind == other.kind && same_columns(&shape, &other) && same_place(&shape, &x, &y);
    if (str_has_prefix(b.key, a.prefix) != wanted)
      fail_msg("state %llu: kinds %d and %d", (unsigned long long)seed, (int)shape.kind, (int)other.kind);
    same += wanted;
  }
  assert_in_range(same, ROUNDS / 50, ROUNDS / 2);
}

static void entries_are_taken_apart(void **state) {
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    arena_reset(&arena);
    struct index_shape shape = random_shape();
    struct doc_path document = random_document(STR("c"), false);
    struct entry entry = random_entry(&shape, &document);
    str tail = str_from(entry.key, entry.prefix.len), values[COLUMNS_MAX], end, wanted;
    status s = index_entry_split(&shape, tail, values, &end);
    assert_true(status_is_ok(&s));
    const char *at = tail.ptr;
    for (size_t i = 0; i < shape.column_count; i++) {
      struct buf value = {0};
      bool cut;
      doc_order_encode(&entry.values[i], shape.columns[i].order, &value, &cut);
      assert_true(str_eq(values[i], buf_str(&value)) && values[i].ptr == at);
      at += values[i].len;
      buf_fini(&value);
    }
    /* What a scan knows, and the entry's end, are the document's key. */
    struct doc_path where = doc_path_parent(&document);
    struct buf key = {0};
    doc_key_put_database(&where, &key);
    if (!is_over_group(&shape))
      doc_key_put_relative(&where, &key);
    index_document_key(&shape, end, &key);
    s = doc_key_from_path(&document, &arena, &wanted);
    assert_true(status_is_ok(&s) && str_eq(wanted, buf_str(&key)));
    buf_fini(&key);
    /* Of less or of other bytes there is an error, or something else, and nothing past the end. */
    size_t len = below((unsigned)tail.len);
    char *cut = malloc(len + 1);
    assert_non_null(cut);
    memcpy(cut, tail.ptr, len);
    if (len > 0 && below(2))
      cut[below((unsigned)len)] = (char)below(256);
    s = index_entry_split(&shape, str_make(cut, len), values, &end);
    assert_true(s.code == STATUS_OK || s.code == STATUS_DATA_LOSS);
    assert_true(len > 0 || s.code == STATUS_DATA_LOSS);
    free(cut);
  }
}

static str filled(char byte, size_t count) {
  char *bytes = arena_alloc(&arena, count);
  assert_non_null(bytes);
  memset(bytes, byte, count);
  return str_make(bytes, count);
}

/* A document whose name has `bytes` bytes: ids of one character, as long as may be, at the end of `depth`
 * collections. */
static struct doc_path long_document(char fill, int depth, size_t bytes) {
  struct buf name = {0};
  buf_append_str(&name, STR("projects/p/databases/(default)/documents"));
  for (int i = 0; i < depth; i++)
    buf_append_str(&name, STR("/c/d"));
  for (bool collection = true; name.len < bytes || !collection; collection = !collection) {
    size_t left = bytes - name.len - 1, share = left > 3 ? (left - 1) / 2 : left;
    buf_append_byte(&name, '/');
    buf_append_str(&name, filled(fill, collection ? (share > LIMIT_ID_BYTES ? LIMIT_ID_BYTES : share)
                                                  : (left > LIMIT_ID_BYTES ? LIMIT_ID_BYTES : left)));
    if (!collection && left > LIMIT_ID_BYTES && left - LIMIT_ID_BYTES < 4)
      break;
  }
  struct doc_path path = path_of(&name);
  buf_fini(&name);
  assert_true(doc_path_is_document(&path) && path.name.len > LIMIT_NAME_BYTES - 4);
  return path;
}

/* The longest names give keys that the store takes: those of names always (U+0000 takes two bytes), those of
 * fields with ordinary characters. */
static void the_longest_keys_fit(void **state) {
  (void)state;
  for (int depth = 0; depth < LIMIT_PATH_DEPTH - 4; depth += 19) {
    struct index_shape names = {.kind = INDEX_GROUP_NAMES, .group = true};
    struct entry entry = {.document = long_document(0, depth, LIMIT_NAME_BYTES)};
    make_key(&names, &entry);
    assert_true(entry.key.len <= KV_KEY_MAX_BYTES);

    struct index_column column = {{(str[]){filled('n', LIMIT_ID_BYTES)}, 1}, DOC_ASCENDING, false};
    entry = (struct entry){
        .document = long_document('x', depth, LIMIT_NAME_BYTES),
        .values = {{.type = DOC_STRING, .as.text = filled('v', 2 * LIMIT_INDEXED_VALUE_BYTES)}}};
    for (int kind = INDEX_FIELD; kind <= INDEX_GROUP_FIELD; kind++) {
      struct index_shape shape = {
          .kind = (enum index_kind)kind, .group = kind != INDEX_FIELD, .columns = &column, .column_count = 1};
      make_key(&shape, &entry);
      assert_true(entry.key.len <= KV_KEY_MAX_BYTES);
    }
  }
}

static void without_memory_it_says_so(void **state) {
  (void)state;
  struct index_shape shape = random_shape();
  shape.name_order = DOC_DESCENDING;
  struct doc_path document = random_document(STR("c"), true), parent = doc_path_parent(&document);
  for (size_t max = 1; max < 20; max++) {
    struct buf key = {.max_bytes = max};
    index_prefix(&shape, &parent, STR("c"), &key);
    index_put_document(&shape, &document, &key);
    index_document_key(&shape, STR("abc"), &key);
    assert_true(key.failed);
    buf_fini(&key);
  }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {TEST(keys_sort_as_values_and_names), TEST(prefixes_hold_their_own_alone),
                                     TEST(entries_are_taken_apart), TEST(the_longest_keys_fit),
                                     TEST(without_memory_it_says_so)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
