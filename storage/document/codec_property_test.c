/* Random documents, written on the wire in every way that protobuf allows, against their canonical form and,
 * where protoc is at hand, against what protobuf's own implementation makes of the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/document/codec.h"
#include "storage/document/mask.h"
#include "storage/document/wire_build.h"

enum { ROUNDS = 3000, REFERENCE_ROUNDS = 24, DEPTH = 4, WIDTH = 5 };

static struct arena arena;
static uint64_t random_state;

static uint64_t next_random(void) { /* xorshift64*, a seed repeats a run */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * UINT64_C(0x2545F4914F6CDD1D);
}
static size_t below(size_t bound) {
  return (size_t)(next_random() >> 33) % bound;
}

/* ---- Random trees ---- */

static struct doc_value random_value(size_t depth, bool in_array);

static str random_name(void) {
  static const char *const names[] = {
      "a", "b", "c", "d", "ab", "a b", "\xC3\xA9", "_", "__x", "value", "\xF0\x9F\x90\x9A"};
  return str_from_cstr(names[below(sizeof names / sizeof names[0])]);
}

static struct doc_map random_map(size_t depth) {
  struct doc_field *fields = (void *)build_room(WIDTH * sizeof *fields);
  size_t count = 0;
  for (size_t i = below(WIDTH + 1); i > 0; i--) {
    str name = random_name();
    size_t at = 0;
    while (at < count && str_cmp(fields[at].name, name) < 0)
      at++;
    if (at < count && str_eq(fields[at].name, name))
      continue;
    memmove(fields + at + 1, fields + at, (count - at) * sizeof *fields);
    fields[at] = (struct doc_field){name, random_value(depth, false)};
    count++;
  }
  return (struct doc_map){fields, count};
}

static struct doc_value random_scalar(void) {
  static const double doubles[] = {0.0, -0.0, 1.0, -1.5, 1e300, 5e-324, 0.1};
  static const char *const texts[] = {"", "x", "some longer text than eight bytes", "\xE2\x82\xAC"};
  static const int64_t times[] = {0, 1, -1, -62135596800000000, 253402300799999999, 1790000000123456};
  str text = str_from_cstr(texts[below(4)]);
  switch (below(9)) {
  case 0:
    return (struct doc_value){.type = DOC_NULL};
  case 1:
    return (struct doc_value){.type = DOC_BOOLEAN, .as.boolean = below(2)};
  case 2:
    return (struct doc_value){.type = DOC_INTEGER, .as.integer = (int64_t)(next_random() >> below(64))};
  case 3:
    return (struct doc_value){.type = DOC_DOUBLE, .as.number = doubles[below(7)]};
  case 4:
    return (struct doc_value){.type = DOC_TIMESTAMP, .as.timestamp_us = times[below(6)]};
  case 5:
    return (struct doc_value){.type = DOC_STRING, .as.text = below(4) ? text : STR("a\0b")};
  case 6:
    return (struct doc_value){.type = DOC_BYTES, .as.text = below(4) ? text : STR("\xFF\0\xFE")};
  case 7:
    return (struct doc_value){.type = DOC_REFERENCE, .as.text = STR("projects/p/databases/d/documents/c/i")};
  default:
    return (struct doc_value){.type = DOC_GEO_POINT, .as.geo_point = {doubles[below(4)], doubles[below(4)]}};
  }
}

static struct doc_value random_value(size_t depth, bool in_array) {
  if (depth == 0 || below(3) > 0)
    return random_scalar();
  if (in_array || below(2))
    return (struct doc_value){.type = DOC_MAP, .as.map = random_map(depth - 1)};
  struct doc_value *items = (void *)build_room(WIDTH * sizeof *items);
  size_t count = below(WIDTH);
  for (size_t i = 0; i < count; i++)
    items[i] = random_value(depth - 1, true);
  return (struct doc_value){.type = DOC_ARRAY, .as.array = {items, count}};
}

/* ---- Writing it in odd ways ---- */

struct style {
  bool all; /* what protoc's text cannot say too: unknown fields, keys that come again */
};

/* A length-delimited field, its length sometimes in more bytes than needed. */
static str odd_field(uint32_t number, str bytes) {
  if (below(8) > 0)
    return raw_field(number, bytes);
  uint8_t *at = build_room(bytes.len + 20);
  uint8_t *end = wire_put_tag(at, number, WIRE_BYTES);
  uint64_t len = bytes.len;
  for (int i = 0; i < 4; i++, len >>= 7)
    *end++ = (uint8_t)(len | 0x80);
  *end++ = (uint8_t)len;
  memcpy(end, bytes.ptr == NULL ? "" : bytes.ptr, bytes.len);
  return str_make(at, (size_t)(end - at) + bytes.len);
}

static str noise(const struct style *style) {
  if (!style->all || below(6) > 0)
    return NOTHING;
  switch (below(4)) {
  case 0:
    return varint_field(1000, next_random());
  case 1:
    return raw_field(99, STR("\xFF\xFF"));
  case 2:
    return STR("\xC3\x3E\x08\x01\xC4\x3E"); /* a group */
  default:
    return STR("\xFD\x3E\x01\x02\x03\x04");
  }
}

static str odd_value(const struct doc_value *value, const struct style *style);

static str odd_entries(struct doc_map map, uint32_t number, const struct style *style) {
  str parts[3 * WIDTH + 1];
  size_t count = 0;
  for (size_t i = 0; i < map.count; i++) { /* values that will be replaced come first */
    if (!style->all || below(6) > 0)
      continue;
    struct doc_value other = random_value(1, false);
    parts[count++] = ENTRY(number, map.fields[i].name, odd_value(&other, style));
  }
  size_t order[WIDTH];
  for (size_t i = 0; i < map.count; i++) {
    size_t at = below(i + 1);
    order[i] = order[at];
    order[at] = i;
  }
  for (size_t i = 0; i < map.count; i++) {
    const struct doc_field *field = &map.fields[order[i]];
    str key = odd_field(1, field->name), value = odd_field(2, odd_value(&field->value, style));
    str entry = below(4) == 0 ? JOIN(value, noise(style), key) : JOIN(key, noise(style), value);
    if (below(8) == 0) /* a value that the real one merges into, and so replaces */
      entry = JOIN(raw_field(2, field->value.type == DOC_INTEGER ? V_NULL : V_INT(5)), entry);
    parts[count++] = odd_field(number, entry);
    parts[count++] = noise(style);
  }
  return join_all(parts, count);
}

/* The body of an array or map, in one or two pieces that merge into it. */
static str odd_pieces(const struct doc_value *value, const struct style *style) {
  uint32_t number = value->type == DOC_ARRAY ? 9 : 6;
  if (value->type == DOC_MAP) {
    struct doc_map map = value->as.map;
    size_t cut = below(4) == 0 ? below(map.count + 1) : map.count;
    str first = odd_field(number, odd_entries((struct doc_map){map.fields, cut}, 1, style));
    struct doc_map rest = {map.fields + cut, map.count - cut};
    return rest.count == 0 ? first
                           : JOIN(first, noise(style), odd_field(number, odd_entries(rest, 1, style)));
  }
  str items[WIDTH] = {0};
  size_t count = value->as.array.count, cut = below(4) == 0 ? below(count + 1) : count;
  for (size_t i = 0; i < count; i++)
    items[i] = JOIN(odd_field(1, odd_value(&value->as.array.items[i], style)), noise(style));
  str first = odd_field(number, join_all(items, cut));
  return cut == count ? first
                      : JOIN(first, noise(style), odd_field(number, join_all(items + cut, count - cut)));
}

static str odd_scalar(const struct doc_value *value) {
  str bytes;
  status s = doc_encode_value(value, &arena, &bytes);
  assert_true(status_is_ok(&s));
  if (value->type == DOC_TIMESTAMP && below(2)) { /* members the other way round, and zero ones said */
    int64_t us = value->as.timestamp_us;
    struct wire_timestamp t = wire_timestamp_from_us(us);
    str nanos = varint_field(2, (uint64_t)t.nanos), seconds = varint_field(1, (uint64_t)t.seconds);
    return below(2) ? raw_field(10, JOIN(nanos, seconds))
                    : JOIN(raw_field(10, seconds), raw_field(10, nanos));
  }
  return bytes;
}

static str odd_value(const struct doc_value *value, const struct style *style) {
  bool container = value->type == DOC_ARRAY || value->type == DOC_MAP;
  str bytes = container ? odd_pieces(value, style) : odd_scalar(value);
  if (below(8) == 0) { /* another member first, of another type so that nothing merges */
    str other = value->type == DOC_INTEGER ? V_MAP(M("q", V_INT(5))) : V_INT(5);
    bytes = JOIN(other, noise(style), bytes);
  }
  return JOIN(noise(style), bytes, noise(style));
}

/* ---- Properties ---- */

static int set_up(void **state) {
  (void)state;
  wire_build_init();
  arena_init(&arena, NULL, 0, (size_t)256 << 20);
  const char *seed = getenv("SKERRY_TEST_SEED");
  random_state = seed == NULL ? 20260801 : strtoull(seed, NULL, 10) | 1;
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  wire_build_fini();
  return 0;
}

static str encode(struct doc_map map) {
  str bytes;
  status s = doc_encode_fields(map, &arena, &bytes);
  assert_true(status_is_ok(&s));
  return bytes;
}

static str canonical(str wire) {
  struct doc_document document;
  status s = doc_decode_document(wire, &arena, &document);
  if (!status_is_ok(&s))
    fail_msg("%s", s.message);
  return encode(document.fields);
}

static void trees_come_back(void **state) {
  (void)state;
  const struct style style = {.all = true};
  for (int round = 0; round < ROUNDS; round++) {
    uint64_t seed = random_state;
    struct doc_map tree = random_map(DEPTH), stored;
    str bytes = encode(tree);
    status s = doc_decode_fields(bytes, &arena, &stored);
    const struct doc_value a = {.type = DOC_MAP, .as.map = tree};
    const struct doc_value b = {.type = DOC_MAP, .as.map = stored};
    if (!status_is_ok(&s) || !doc_value_equal(&a, &b) || !str_eq(canonical(bytes), bytes))
      fail_msg("state %llu: a tree does not come back", (unsigned long long)seed);
    if (!str_eq(canonical(odd_entries(tree, 2, &style)), bytes))
      fail_msg("state %llu: another form of the same document is not the same", (unsigned long long)seed);
    arena_reset(&arena);
    arena_reset(&build_arena);
  }
}

static str value_bytes(const struct doc_value *value) {
  str bytes;
  status s = doc_encode_value(value, &arena, &bytes);
  assert_true(status_is_ok(&s));
  return bytes;
}

/* The names of some of a map's fields, and of some that are not there, in order. */
static size_t random_names(struct doc_map map, str *ret) {
  size_t count = 0;
  for (size_t i = 0; i < map.count; i++) {
    if (below(3) == 0)
      ret[count++] = arena_printf(&arena, STR_FMT "!", STR_ARG(map.fields[i].name));
    if (below(2))
      ret[count++] = map.fields[i].name;
  }
  for (size_t i = 1; i < count; i++)
    for (size_t at = i; at > 0 && str_cmp(ret[at - 1], ret[at]) > 0; at--) {
      str moved = ret[at];
      ret[at] = ret[at - 1];
      ret[at - 1] = moved;
    }
  return count;
}

/* Stored fields read one by one, and some of them, are those of the whole. */
static void parts_are_those_of_the_whole(void **state) {
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    struct doc_map map = random_map(DEPTH), some;
    str bytes = encode(map), rest = bytes, name, value, names[2 * WIDTH];
    struct doc_value decoded;
    bool damaged = true;
    for (size_t i = 0; i < map.count; i++) {
      assert_true(doc_fields_next(&rest, &name, &value, &damaged));
      assert_true(str_eq(name, map.fields[i].name) && str_eq(value, value_bytes(&map.fields[i].value)));
      status s = doc_decode_stored_value(value, &arena, &decoded);
      assert_true(status_is_ok(&s) && str_eq(value_bytes(&decoded), value));
    }
    assert_false(doc_fields_next(&rest, &name, &value, &damaged) || damaged);

    size_t count = random_names(map, names), found = 0;
    status s = doc_decode_some_fields(bytes, names, count, &arena, &some);
    assert_true(status_is_ok(&s));
    for (size_t i = 0; i < count; i++) {
      const struct doc_value *field = doc_map_get(map, names[i]), *got = doc_map_get(some, names[i]);
      assert_true((field == NULL) == (got == NULL));
      if (field == NULL)
        continue;
      assert_true(str_eq(value_bytes(field), value_bytes(got)));
      found++;
    }
    assert_int_equal(some.count, found);
    arena_reset(&arena);
    arena_reset(&build_arena);
  }
}

/* Cut or changed bytes are refused or read as something, and nothing is read past their end. */
static void damaged_parts(void **state) {
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    str whole = encode(random_map(DEPTH));
    size_t len = below(whole.len + 1);
    char *copy = malloc(len + 1); /* so that the sanitizer sees the end */
    assert_non_null(copy);
    if (len > 0)
      memcpy(copy, whole.ptr, len);
    if (len > 0 && below(2))
      copy[below(len)] = (char)next_random();
    str rest = str_make(copy, len), name, value, wanted[] = {STR("a"), STR("b"), STR("value")};
    struct doc_value decoded;
    struct doc_map some;
    bool damaged;
    while (doc_fields_next(&rest, &name, &value, &damaged)) {
      status s = doc_decode_stored_value(value, &arena, &decoded);
      assert_true(s.code == STATUS_OK || s.code == STATUS_DATA_LOSS);
    }
    assert_true(damaged || rest.len == 0);
    status s = doc_decode_some_fields(str_make(copy, len), wanted, 3, &arena, &some);
    assert_true(s.code == STATUS_OK || s.code == STATUS_DATA_LOSS);
    free(copy);
    arena_reset(&arena);
    arena_reset(&build_arena);
  }
}

static struct doc_mask random_mask(void) {
  str texts[WIDTH];
  size_t count = below(WIDTH + 1);
  for (size_t i = 0; i < count; i++) {
    str segments[DEPTH];
    struct doc_field_path path = {segments, 1 + below(DEPTH)};
    for (size_t at = 0; at < path.count; at++)
      segments[at] = random_name();
    texts[i] = doc_field_path_format(&path, &arena);
  }
  struct doc_mask mask;
  status s = doc_mask_parse(texts, count, DOC_MASK_WRITE, &arena, &mask);
  assert_true(status_is_ok(&s));
  return mask;
}

static str encode_projection(struct doc_map map, const struct doc_mask *mask) {
  struct doc_map fields;
  status s = doc_mask_project(map, mask, &arena, &fields);
  assert_true(status_is_ok(&s));
  return encode(fields);
}

/* After a merge the mask shows the same of the result as of the new document, a second merge changes nothing,
 * and a document merged into itself stays as it is. */
static void merging_sets_what_the_mask_means(void **state) {
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    uint64_t seed = random_state;
    struct doc_map old = random_map(DEPTH), new = random_map(DEPTH), merged, again;
    struct doc_mask mask = random_mask();
    status s = doc_mask_merge(old, new, &mask, &arena, &merged);
    assert_true(status_is_ok(&s));
    s = doc_mask_merge(merged, new, &mask, &arena, &again);
    assert_true(status_is_ok(&s));
    str bytes = encode(merged);
    if (!str_eq(canonical(bytes), bytes) || !str_eq(encode(again), bytes) ||
        !str_eq(encode_projection(merged, &mask), encode_projection(new, &mask)))
      fail_msg("state %llu: merged wrongly", (unsigned long long)seed);
    s = doc_mask_merge(old, old, &mask, &arena, &again);
    assert_true(status_is_ok(&s));
    if (!str_eq(encode(again), encode(old)))
      fail_msg("state %llu: merging a document into itself changes it", (unsigned long long)seed);
    arena_reset(&arena);
    arena_reset(&build_arena);
  }
}

static str read_all(const char *path) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  uint8_t *bytes = build_room(1 << 20);
  size_t len = fread(bytes, 1, 1 << 20, file);
  fclose(file);
  return str_make(bytes, len);
}

/* What protobuf's own implementation reads in `wire`, written again with its maps in order. */
static str reference(const char *folder, str wire) {
  char path[256], command[2048];
  snprintf(path, sizeof path, "%s/in", folder);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(wire.ptr, 1, wire.len, file), wire.len);
  fclose(file);
  snprintf(
      command, sizeof command,
      "set -e; p='%s -I %s --%%s=google.firestore.v1.Document google/firestore/v1/document.proto'; cd %s; "
      "$(printf \"$p\" decode) < in > text; $(printf \"$p\" encode) --deterministic_output < text > out",
      SKERRY_PROTOC, SKERRY_PROTO_ROOT, folder);
  if (system(command) != 0)
    fail_msg("protoc failed: %s", command);
  snprintf(path, sizeof path, "%s/out", folder);
  return read_all(path);
}

static void protobuf_agrees(void **state) {
  (void)state;
  char folder[] = "/tmp/skerry-codec-XXXXXX";
  assert_non_null(mkdtemp(folder));
  const struct style style = {.all = false};
  for (int round = 0; round < REFERENCE_ROUNDS; round++) {
    uint64_t seed = random_state;
    struct doc_map tree = random_map(DEPTH);
    str wire = odd_entries(tree, 2, &style), bytes = encode(tree);
    if (!str_eq(reference(folder, wire), bytes))
      fail_msg("state %llu: protobuf reads something else", (unsigned long long)seed);
  }
  const char *const files[] = {"in", "text", "out"};
  for (size_t i = 0; i < 3; i++) {
    char path[64];
    snprintf(path, sizeof path, "%s/%s", folder, files[i]);
    unlink(path);
  }
  rmdir(folder);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {TEST(trees_come_back), TEST(parts_are_those_of_the_whole),
                                     TEST(damaged_parts), TEST(merging_sets_what_the_mask_means),
                                     TEST(protobuf_agrees)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
