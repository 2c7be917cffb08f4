#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/limits.h"
#include "storage/document/value_order.h"

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

static int sign(int order) {
  return (order > 0) - (order < 0);
}

/* ---- Values ---- */

static struct doc_value integer(int64_t number) {
  return (struct doc_value){.type = DOC_INTEGER, .as.integer = number};
}
static struct doc_value number(double number) {
  return (struct doc_value){.type = DOC_DOUBLE, .as.number = number};
}
static struct doc_value boolean(bool boolean) {
  return (struct doc_value){.type = DOC_BOOLEAN, .as.boolean = boolean};
}
static struct doc_value timestamp(int64_t us) {
  return (struct doc_value){.type = DOC_TIMESTAMP, .as.timestamp_us = us};
}
static struct doc_value text(enum doc_type type, str bytes) {
  return (struct doc_value){.type = type, .as.text = bytes};
}
static struct doc_value string(str bytes) {
  return text(DOC_STRING, bytes);
}
static struct doc_value geo_point(double latitude, double longitude) {
  return (struct doc_value){
      .type = DOC_GEO_POINT, .as.geo_point.latitude = latitude, .as.geo_point.longitude = longitude};
}
static struct doc_value array(size_t count, const struct doc_value *items) {
  struct doc_value *copy = ARENA_NEW_ARRAY(&arena, struct doc_value, count);
  assert_non_null(copy);
  if (count > 0)
    memcpy(copy, items, count * sizeof *copy);
  return (struct doc_value){.type = DOC_ARRAY, .as.array = {copy, count}};
}
static struct doc_value map(size_t count, const struct doc_field *fields) {
  struct doc_field *copy = ARENA_NEW_ARRAY(&arena, struct doc_field, count);
  assert_non_null(copy);
  if (count > 0)
    memcpy(copy, fields, count * sizeof *copy);
  return (struct doc_value){.type = DOC_MAP, .as.map = {copy, count}};
}
static struct doc_value vector(size_t count, const struct doc_value *items) {
  return map(2, (struct doc_field[]){{STR("__type__"), string(STR("__vector__"))},
                                     {STR("value"), array(count, items)}});
}

#define ARRAY(...)                                                                                           \
  array(sizeof((struct doc_value[]){__VA_ARGS__}) / sizeof(struct doc_value),                                \
        (struct doc_value[]){__VA_ARGS__})
#define VECTOR(...)                                                                                          \
  vector(sizeof((struct doc_value[]){__VA_ARGS__}) / sizeof(struct doc_value),                               \
         (struct doc_value[]){__VA_ARGS__})

static str encoded(const struct doc_value *value, enum doc_order order, bool *ret_truncated) {
  struct buf out = {0};
  doc_order_encode(value, order, &out, ret_truncated);
  assert_false(out.failed);
  str copy = arena_str_copy(&arena, buf_str(&out));
  assert_non_null(copy.ptr);
  buf_fini(&out);
  return copy;
}

static void print_value(const struct doc_value *value, const char *name) {
  bool cut;
  str bytes = encoded(value, DOC_ASCENDING, &cut);
  print_error("%s: type %d:", name, (int)value->type);
  for (size_t i = 0; i < bytes.len && i < 40; i++)
    print_error(" %02x", (uint8_t)bytes.ptr[i]);
  print_error("\n");
}

/* Reading an encoding back: exactly its bytes are taken, whatever follows, and of less nothing; numbers come
 * back; and it is in its type's range. */
static void check_reading(const struct doc_value *value, str bytes, enum doc_order order) {
  char *followed = arena_alloc(&arena, bytes.len + 3);
  assert_non_null(followed);
  memcpy(followed, bytes.ptr, bytes.len);
  memcpy(followed + bytes.len, "\0\xff\x10", 3);
  str rest = str_make(followed, bytes.len + 3), taken;
  assert_true(doc_order_take(&rest, order, &taken));
  assert_int_equal(taken.len, bytes.len);
  assert_true(taken.ptr == followed && rest.ptr == followed + bytes.len && rest.len == 3);
  size_t steps = bytes.len < 200 ? 1 : bytes.len / 100;
  for (size_t len = 0; len < bytes.len; len += steps) {
    rest = str_make(followed, len);
    assert_false(doc_order_take(&rest, order, &taken));
  }
  if (order == DOC_DESCENDING)
    return;
  double number = 0;
  bool whole = false, is_number = value->type == DOC_INTEGER || value->type == DOC_DOUBLE;
  int64_t integer = 0;
  assert_int_equal(doc_order_number(bytes, &number, &whole, &integer), is_number);
  if (value->type == DOC_INTEGER)
    assert_true(whole && integer == value->as.integer && number == (double)value->as.integer);
  else if (value->type == DOC_DOUBLE)
    assert_true(isnan(value->as.number) ? isnan(number) && !whole : number == value->as.number);
  if (whole && value->type == DOC_DOUBLE)
    assert_true((double)integer == value->as.number);
  str lower, upper;
  doc_order_type_range(value, &lower, &upper);
  bool is_nan = value->type == DOC_DOUBLE && isnan(value->as.number);
  assert_int_equal(str_cmp(lower, bytes) <= 0 && str_cmp(bytes, upper) < 0, !is_nan);
}

/* The encodings agree with the comparison, in both directions, and neither is the beginning of the other. */
static void check_pair(const struct doc_value *a, const struct doc_value *b) {
  bool a_cut, b_cut;
  int wanted = sign(doc_value_compare(a, b));
  assert_int_equal(sign(doc_value_compare(b, a)), -wanted);
  str x = encoded(a, DOC_ASCENDING, &a_cut), y = encoded(b, DOC_ASCENDING, &b_cut);
  int got = sign(str_cmp(x, y));
  bool agree = a_cut || b_cut ? got == 0 || got == wanted : got == wanted;
  if (!agree || (got != 0 && (str_has_prefix(x, y) || str_has_prefix(y, x)))) {
    print_value(a, "a");
    print_value(b, "b");
    fail_msg("compared %d, encoded %d", wanted, got);
  }
  str u = encoded(a, DOC_DESCENDING, &a_cut), v = encoded(b, DOC_DESCENDING, &b_cut);
  assert_int_equal(sign(str_cmp(u, v)), -got);
  check_reading(a, x, DOC_ASCENDING);
  check_reading(b, v, DOC_DESCENDING);
}

/* ---- The order, by a table ---- */

/* The format is on disk: a change here is a new DOC_ORDER_FORMAT. */
static void test_bytes(void **state) {
  (void)state;
  const struct {
    struct doc_value value;
    str bytes;
  } rows[] = {
      {{.type = DOC_NULL}, STR("\x10")},
      {boolean(false), STR("\x18")},
      {boolean(true), STR("\x19")},
      {integer(1), STR("\x20\xbf\xf0\0\0\0\0\0\0")},
      {number(1), STR("\x20\xbf\xf0\0\0\0\0\0\0")},
      {number(-1), STR("\x20\x40\x0f\xff\xff\xff\xff\xff\xff")},
      {number(NAN), STR("\x20\0\0\0\0\0\0\0\0")},
      {integer((1LL << 53) + 1), STR("\x20\xc3\x40\0\0\0\0\0\0\0\x01")},
      {timestamp(1), STR("\x28\x80\0\0\0\0\0\0\x01")},
      {string(STR("a\0")), STR("\x30"
                               "a\0\xff\0\x01")},
      {text(DOC_BYTES, STR("")), STR("\x38\0\x01")},
      {text(DOC_REFERENCE, STR("c/__id07__")), STR("\x40\x03"
                                                   "c\0\x01\x02\0\x01"
                                                   "7\0\x01\0\x01\0")},
      {geo_point(0, -0.0), STR("\x48\x80\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0")},
      {ARRAY(boolean(true)), STR("\x50\x19\0")},
      {VECTOR(number(0)), STR("\x58\0\0\0\x01\x20\x80\0\0\0\0\0\0\0\0")},
      {map(1, (struct doc_field[]){{STR("a"), boolean(true)}}), STR("\x60\x02"
                                                                    "a\0\x01\x19\0")},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    bool cut;
    str got = encoded(&rows[i].value, DOC_ASCENDING, &cut);
    assert_false(cut);
    assert_int_equal(got.len, rows[i].bytes.len);
    assert_memory_equal(got.ptr, rows[i].bytes.ptr, got.len);
  }
}

static void test_order_of_everything(void **state) {
  (void)state;
  const struct doc_value sorted[] = {
      {.type = DOC_NULL},
      boolean(false),
      boolean(true),
      number(NAN),
      number(-INFINITY),
      number(-1.7976931348623157e308),
      number(-0x1.0000000000001p63),
      integer(INT64_MIN),
      integer(INT64_MIN + 1),
      integer(INT64_MIN + 1023),
      integer(INT64_MIN + 1024),
      integer(INT64_MIN + 1025),
      number(-0x1p53 - 2),
      integer(-(1LL << 53) - 1),
      integer(-(1LL << 53)),
      number(-0x1p53 + 1),
      integer(-1),
      number(-0.5),
      number(-2.2250738585072014e-308),
      number(-4.9e-324),
      integer(0),
      number(4.9e-324),
      number(0.5),
      integer(1),
      number(0x1p53 - 1),
      integer(1LL << 53),
      integer((1LL << 53) + 1),
      number(0x1p53 + 2),
      integer((1LL << 53) + 3),
      number(0x1p62),
      integer((1LL << 62) + 1),
      integer((1LL << 62) + 1023),
      number(0x1.0000000000001p62),
      integer(INT64_MAX - 1),
      integer(INT64_MAX),
      number(0x1p63),
      number(0x1.0000000000001p63),
      number(INFINITY),
      timestamp(INT64_MIN),
      timestamp(-1),
      timestamp(0),
      timestamp(1),
      string(STR("")),
      string(STR("\0")),
      string(STR("\0\0")),
      string(STR("\0\x01")),
      string(STR("\x01")),
      string(STR("a")),
      string(STR("a\0")),
      string(STR("a\x01")),
      string(STR("aa")),
      string(STR("b")),
      string(STR("\xef\xbf\xbd")),
      string(STR("\xf0\x90\x80\x80")),
      text(DOC_BYTES, STR("")),
      text(DOC_BYTES, STR("\0")),
      text(DOC_BYTES, STR("\x01")),
      text(DOC_BYTES, STR("\xff")),
      text(DOC_BYTES, STR("\xff\0")),
      text(DOC_BYTES, STR("\xff\xff")),
      text(DOC_REFERENCE, STR("projects/p/databases/d/documents/c/__id2__")),
      text(DOC_REFERENCE, STR("projects/p/databases/d/documents/c/__id10__")),
      text(DOC_REFERENCE, STR("projects/p/databases/d/documents/c/a")),
      text(DOC_REFERENCE, STR("projects/p/databases/d/documents/c/a/b/c")),
      text(DOC_REFERENCE, STR("projects/p/databases/d/documents/c/a!")),
      text(DOC_REFERENCE, STR("projects/p/databases/d1/documents/c/a")),
      geo_point(-90, 180),
      geo_point(0, -180),
      geo_point(0, 0),
      geo_point(1, -180),
      array(0, NULL),
      ARRAY({.type = DOC_NULL}),
      ARRAY({.type = DOC_NULL}, {.type = DOC_NULL}),
      ARRAY(integer(1)),
      ARRAY(integer(1), integer(-5)),
      ARRAY(integer(2)),
      ARRAY(string(STR("a"))),
      ARRAY(string(STR("a")), integer(1)),
      ARRAY(string(STR("a\0"))),
      vector(0, NULL),
      VECTOR(number(5)),
      VECTOR(number(1), number(2)),
      VECTOR(number(1), number(3)),
      map(0, NULL),
      map(1, (struct doc_field[]){{STR("\0"), boolean(true)}}),
      map(1, (struct doc_field[]){{STR("__type__"), string(STR("__vector__"))}}),
      map(1, (struct doc_field[]){{STR("a"), integer(1)}}),
      map(2, (struct doc_field[]){{STR("a"), integer(1)}, {STR("b"), integer(1)}}),
      map(1, (struct doc_field[]){{STR("a"), integer(2)}}),
      map(1, (struct doc_field[]){{STR("a\0"), integer(0)}}),
      map(1, (struct doc_field[]){{STR("aa"), integer(0)}}),
      map(1, (struct doc_field[]){{STR("b"), integer(0)}}),
  };
  enum { COUNT = sizeof sorted / sizeof sorted[0] };
  for (size_t i = 0; i < COUNT; i++)
    for (size_t j = 0; j < COUNT; j++) {
      if (sign(doc_value_compare(&sorted[i], &sorted[j])) != (i > j) - (i < j)) {
        print_value(&sorted[i], "a");
        print_value(&sorted[j], "b");
        fail_msg("rows %zu and %zu", i, j);
      }
      check_pair(&sorted[i], &sorted[j]);
    }
}

static void test_equal_numbers(void **state) {
  (void)state;
  const struct doc_value pairs[][2] = {{integer(0), number(-0.0)},
                                       {number(0), number(-0.0)},
                                       {integer(1), number(1)},
                                       {integer(INT64_MIN), number(-0x1p63)},
                                       {integer(1LL << 53), number(0x1p53)},
                                       {number(NAN), number(-NAN)},
                                       {integer(1LL << 62), number(0x1p62)},
                                       {geo_point(0, -0.0), geo_point(-0.0, 0)}};
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    assert_int_equal(doc_value_compare(&pairs[i][0], &pairs[i][1]), 0);
    assert_true(doc_value_equal(&pairs[i][0], &pairs[i][1]));
    check_pair(&pairs[i][0], &pairs[i][1]);
  }
}

/* ---- Random values ---- */

static uint64_t seed = 7;
static uint64_t random_bits(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}
static unsigned pick(unsigned bound) {
  return (unsigned)((random_bits() >> 20) % bound);
}

static int64_t random_integer(void) {
  static const int64_t edges[] = {0, 1LL << 52, 1LL << 53, 1LL << 54, 1LL << 62, INT64_MAX - 1024, INT64_MAX};
  int64_t at = edges[pick(7)];
  uint64_t number = (uint64_t)at + pick(7) - 3;
  if (pick(4) == 0)
    number = random_bits() >> pick(64);
  return (int64_t)(pick(2) ? number : 0 - number);
}

static double random_double(void) {
  static const double edges[] = {0,
                                 1,
                                 0x1p52,
                                 0x1p53,
                                 0x1p54,
                                 0x1p62,
                                 0x1p63,
                                 4.9e-324,
                                 2.2250738585072014e-308,
                                 1.7976931348623157e308,
                                 INFINITY,
                                 NAN,
                                 0.5};
  double value = edges[pick(sizeof edges / sizeof edges[0])];
  switch (pick(4)) {
  case 0:
    value = nextafter(value, INFINITY);
    break;
  case 1:
    value = nextafter(value, -INFINITY);
    break;
  case 2: {
    uint64_t bits = random_bits();
    memcpy(&value, &bits, sizeof value);
    break;
  }
  default:
    break;
  }
  return pick(2) ? value : -value;
}

static str random_text(const str *of, unsigned count, char separator, unsigned parts_max) {
  struct buf b = {0};
  for (unsigned parts = pick(parts_max + 1), i = 0; i < parts; i++) {
    if (i > 0 && separator != 0)
      buf_append(&b, &separator, 1);
    buf_append_str(&b, of[pick(count)]);
  }
  str copy = arena_str_copy(&arena, buf_str(&b));
  buf_fini(&b);
  return copy;
}

static str random_string(void) {
  const str of[] = {STR("\0"),      STR("\x01"), STR("\x02"), STR("a"), STR("b"), STR("\xf4\x8f\xbf\xbf"),
                    STR("\xc3\xbf")};
  return random_text(of, 7, 0, 4);
}

static struct doc_value random_value(unsigned depth);

static struct doc_value random_map(unsigned depth) {
  const str names[] = {STR("\0"), STR("a"), STR("a\0"), STR("a\x01"), STR("aa"), STR("b"), STR("value")};
  struct doc_field fields[7];
  size_t count = 0;
  for (size_t i = 0; i < 7; i++)
    if (pick(3) == 0)
      fields[count++] = (struct doc_field){names[i], random_value(depth + 1)};
  return map(count, fields);
}

static struct doc_value random_value(unsigned depth) {
  const str bytes[] = {STR("\0"), STR("\x01"), STR("\x02"), STR("\xff"), STR("\xfe"), STR("a")};
  const str ids[] = {STR("c"),        STR("c\0"), STR("__id1__"), STR("__id01__"),
                     STR("__id10__"), STR("d"),   STR("")};
  struct doc_value items[4];
  size_t count = pick(4);
  switch (pick(depth < 4 ? 13 : 9)) {
  case 0:
    return (struct doc_value){.type = DOC_NULL};
  case 1:
    return boolean(pick(2) == 1);
  case 2:
    return integer(random_integer());
  case 3:
    return number(random_double());
  case 4:
    return timestamp((int64_t)random_bits() >> pick(64));
  case 5:
    return string(random_string());
  case 6:
    return text(DOC_BYTES, random_text(bytes, 6, 0, 4));
  case 7:
    return text(DOC_REFERENCE, random_text(ids, 7, '/', 5));
  case 8:
    return geo_point(random_double(), random_double());
  case 9:
    for (size_t i = 0; i < count; i++)
      items[i] = number(random_double());
    return vector(count, items);
  case 10:
  case 11:
    for (size_t i = 0; i < count; i++)
      items[i] = random_value(depth + 1);
    return array(count, items);
  default:
    return random_map(depth);
  }
}

/* A value that often shares much with `value`. */
static struct doc_value like(const struct doc_value *value) {
  struct doc_value changed = *value;
  if (value->type == DOC_ARRAY && value->as.array.count > 0) {
    changed = array(value->as.array.count, value->as.array.items);
    size_t at = pick((unsigned)changed.as.array.count);
    struct doc_value *items = ARENA_NEW_ARRAY(&arena, struct doc_value, changed.as.array.count);
    memcpy(items, changed.as.array.items, changed.as.array.count * sizeof *items);
    items[at] = pick(3) ? like(&items[at]) : random_value(3);
    changed.as.array.items = items;
    changed.as.array.count -= pick(3) == 0;
    return changed;
  }
  if (value->type == DOC_MAP && value->as.map.count > 0 && !doc_value_is_vector(value)) {
    struct doc_field *fields = ARENA_NEW_ARRAY(&arena, struct doc_field, value->as.map.count);
    memcpy(fields, value->as.map.fields, value->as.map.count * sizeof *fields);
    size_t at = pick((unsigned)value->as.map.count);
    fields[at].value = like(&fields[at].value);
    changed.as.map = (struct doc_map){fields, value->as.map.count - (pick(3) == 0)};
    return changed;
  }
  if (value->type == DOC_INTEGER)
    return pick(2) ? number((double)value->as.integer) : integer((int64_t)((uint64_t)value->as.integer + 1));
  if (value->type == DOC_DOUBLE && fabs(value->as.number) < 0x1p62)
    return pick(2) ? number(nextafter(value->as.number, INFINITY)) : integer((int64_t)value->as.number);
  return pick(2) ? *value : random_value(2);
}

static void test_random_pairs(void **state) {
  (void)state;
  for (int round = 0; round < 60000; round++) {
    arena_reset(&arena);
    struct doc_value a = random_value(0);
    struct doc_value b = pick(2) ? like(&a) : random_value(0);
    check_pair(&a, &a);
    check_pair(&a, &b);
  }
}

static void test_transitive(void **state) {
  (void)state;
  for (int round = 0; round < 60000; round++) {
    arena_reset(&arena);
    struct doc_value a = random_value(1), b = like(&a), c = like(&b);
    int ab = doc_value_compare(&a, &b), bc = doc_value_compare(&b, &c), ac = doc_value_compare(&a, &c);
    if (ab <= 0 && bc <= 0)
      assert_true(ac <= 0);
    if (ab >= 0 && bc >= 0)
      assert_true(ac >= 0);
    if (ab == 0)
      assert_int_equal(sign(bc), sign(ac));
  }
}

/* Three encodings after each other, in mixed directions, compare as tuples. */
static void test_composites(void **state) {
  (void)state;
  for (int round = 0; round < 20000; round++) {
    arena_reset(&arena);
    struct buf x = {0}, y = {0};
    enum doc_order orders[3];
    int wanted = 0;
    for (int i = 0; i < 3; i++) {
      struct doc_value a = random_value(2), b = pick(3) ? a : like(&a);
      enum doc_order order = orders[i] = pick(2) ? DOC_ASCENDING : DOC_DESCENDING;
      bool cut;
      doc_order_encode(&a, order, &x, &cut);
      doc_order_encode(&b, order, &y, &cut);
      if (wanted == 0)
        wanted = sign(doc_value_compare(&a, &b)) * (order == DOC_ASCENDING ? 1 : -1);
    }
    str rest = buf_str(&x), taken;
    for (int i = 0; i < 3; i++)
      assert_true(doc_order_take(&rest, orders[i], &taken));
    assert_int_equal(rest.len, 0);
    buf_append_str(&x, STR("\x03path\0\x01"));
    buf_append_str(&y, STR("\x03path\0\x01"));
    assert_int_equal(sign(str_cmp(buf_str(&x), buf_str(&y))), wanted);
    buf_fini(&x);
    buf_fini(&y);
  }
}

/* A range has the values of its type and no others: integers and doubles are one, NaN is in none. */
static void test_type_ranges(void **state) {
  (void)state;
  for (int round = 0; round < 20000; round++) {
    arena_reset(&arena);
    struct doc_value a = random_value(3), b = random_value(3);
    str lower, upper;
    bool cut, same = a.type == b.type;
    if (a.type == DOC_MAP && b.type == DOC_MAP)
      same = doc_value_is_vector(&a) == doc_value_is_vector(&b);
    if ((a.type == DOC_INTEGER || a.type == DOC_DOUBLE) && (b.type == DOC_INTEGER || b.type == DOC_DOUBLE))
      same = b.type == DOC_INTEGER || !isnan(b.as.number);
    doc_order_type_range(&a, &lower, &upper);
    assert_true(lower.len <= 16 && upper.len <= 16);
    str bytes = encoded(&b, DOC_ASCENDING, &cut);
    assert_int_equal(str_cmp(lower, bytes) <= 0 && str_cmp(bytes, upper) < 0, same);
  }
}

/* What no value gives is refused, and never read past its end. */
static void test_not_an_encoding(void **state) {
  (void)state;
  const str bad[] = {STR(""),
                     STR("\x11"),
                     STR("\xff"),
                     STR("\x20\xbf"),
                     STR("\x20\xc3\x40\0\0\0\0\0\0\0"), /* lacks what is missing */
                     STR("\x30"
                         "abc"),
                     STR("\x30"
                         "a\0\x03"),
                     STR("\x30"
                         "a\0"),
                     STR("\x40\x04"),
                     STR("\x40\x02\xff\xff"
                         "1\0\0\0\x01"),
                     STR("\x50\x02"),
                     STR("\x58\0\0"),
                     STR("\x60\x10\0"),
                     STR("\x60\x02"
                         "a\0\x01\0")};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char *copy = arena_alloc(&arena, bad[i].len + 1), *flipped = arena_alloc(&arena, bad[i].len + 1);
    for (size_t at = 0; at < bad[i].len; at++) {
      copy[at] = bad[i].ptr[at];
      flipped[at] = (char)~bad[i].ptr[at];
    }
    str rest = str_make(copy, bad[i].len), taken;
    assert_false(doc_order_take(&rest, DOC_ASCENDING, &taken));
    rest = str_make(flipped, bad[i].len);
    assert_false(doc_order_take(&rest, DOC_DESCENDING, &taken));
  }
  char deep[200];
  memset(deep, 0x50, 100);
  memset(deep + 100, 0, 100);
  str rest = str_make(deep, sizeof deep), taken;
  assert_false(doc_order_take(&rest, DOC_ASCENDING, &taken));
  double number;
  int64_t integer;
  bool whole;
  assert_false(doc_order_number(STR("\x20\xc3\xe0\0\0\0\0\0\0\x04\0"), &number, &whole, &integer));
  assert_false(doc_order_number(STR("\x20\xbf\xf0\0\0\0\0\0\0\0"), &number, &whole, &integer));
  assert_false(doc_order_number(STR(""), &number, &whole, &integer));
}

/* ---- Truncation ---- */

static str repeated(char byte, size_t count, const char *then) {
  size_t tail = strlen(then);
  char *bytes = arena_alloc(&arena, count + tail);
  assert_non_null(bytes);
  memset(bytes, byte, count);
  memcpy(bytes + count, then, tail);
  return str_make(bytes, count + tail);
}

static bool is_truncated(struct doc_value value) {
  bool cut;
  str bytes = encoded(&value, DOC_ASCENDING, &cut);
  assert_true(bytes.len <= DOC_ORDER_MAX_BYTES);
  return cut;
}

static void test_truncation_limit(void **state) {
  (void)state;
  enum { LIMIT = LIMIT_INDEXED_VALUE_BYTES };
  assert_false(is_truncated(string(repeated('a', LIMIT, ""))));
  assert_true(is_truncated(string(repeated('a', LIMIT + 1, ""))));
  assert_false(is_truncated(text(DOC_BYTES, repeated(0, LIMIT, ""))));
  assert_true(is_truncated(text(DOC_BYTES, repeated(0, LIMIT + 1, ""))));
  assert_false(is_truncated(ARRAY(string(repeated('a', LIMIT - 1, "")))));
  assert_true(is_truncated(ARRAY(string(repeated('a', LIMIT, "")))));
  assert_true(is_truncated(ARRAY(string(repeated('a', LIMIT - 1, "")), boolean(true))));

  /* An element takes 1 and its size: 9 for numbers and times, 17 for points. */
  struct doc_value many[3][LIMIT / 9 + 2];
  for (size_t i = 0; i < LIMIT / 9 + 2; i++) {
    many[0][i] = integer((int64_t)i);
    many[1][i] = timestamp((int64_t)i);
    many[2][i] = geo_point(1, (double)i);
  }
  for (int i = 0; i < 3; i++) {
    size_t fits = i < 2 ? (LIMIT + 8) / 9 : (LIMIT + 16) / 17;
    assert_false(is_truncated(array(fits, many[i])));
    assert_true(is_truncated(array(fits + 1, many[i])));
  }

  /* What goes on comes after what ends there, in all that can end. */
  str all = repeated('a', LIMIT - 4, "");
  struct doc_value tail = string(repeated('a', LIMIT - 1, ""));
  const struct doc_value pairs[][2] = {
      {string(repeated('a', LIMIT, "")), string(repeated('a', LIMIT, "b"))},
      {ARRAY(tail), ARRAY(tail, boolean(true))},
      {ARRAY(ARRAY(string(repeated('a', LIMIT - 2, "")))),
       ARRAY(ARRAY(string(repeated('a', LIMIT - 2, "")), boolean(true)))},
      {map(1, (struct doc_field[]){{all, string(STR("abc"))}}),
       map(2, (struct doc_field[]){{all, string(STR("abc"))}, {STR("b"), boolean(true)}})},
      {text(DOC_REFERENCE, repeated('a', LIMIT - 1, "")),
       text(DOC_REFERENCE, repeated('a', LIMIT - 1, "/c"))}};
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    assert_false(is_truncated(pairs[i][0]));
    assert_true(is_truncated(pairs[i][1]));
    bool unused;
    assert_true(str_cmp(encoded(&pairs[i][0], DOC_ASCENDING, &unused),
                        encoded(&pairs[i][1], DOC_ASCENDING, &unused)) < 0);
    check_pair(&pairs[i][0], &pairs[i][1]);
  }

  struct doc_value b[3] = {string(repeated('a', LIMIT, "")), string(repeated('a', LIMIT, "b")),
                           string(repeated('a', LIMIT, "c"))};
  bool cut;
  str exact = encoded(&b[0], DOC_ASCENDING, &cut), x = encoded(&b[1], DOC_ASCENDING, &cut),
      y = encoded(&b[2], DOC_ASCENDING, &cut);
  assert_true(str_eq(x, y));
  assert_true(str_cmp(exact, x) < 0);
}

/* Long values that differ near the limit, in every shape. */
static struct doc_value near_limit(void) {
  static const char *const tails[] = {"", "a", "b", "\x01", "aa"};
  size_t length = LIMIT_INDEXED_VALUE_BYTES - pick(12);
  str tail = str_from_cstr(tails[pick(5)]);
  char fill = pick(4) ? 'a' : 0;
  switch (pick(6)) {
  case 0:
    return string(repeated(fill, length, tail.ptr));
  case 1:
    return ARRAY(string(repeated(fill, length - 3, tail.ptr)), random_value(3), random_value(3));
  case 2:
    return map(2, (struct doc_field[]){{repeated(fill, length - 5, tail.ptr), random_value(3)},
                                       {STR("\xf4\x8f\xbf\xbf"), random_value(3)}});
  case 3:
    return text(DOC_REFERENCE, repeated('c', length - 4, pick(2) ? "/__id12345__" : "/c/d"));
  case 4: {
    struct doc_value items[400];
    size_t count = 160 + pick(12);
    for (size_t i = 0; i < count; i++)
      items[i] = number(i < 164 ? 1 : random_double());
    return pick(2) ? vector(count, items) : array(count, items);
  }
  default: {
    struct doc_value items[LIMIT_INDEXED_VALUE_BYTES + 8];
    size_t count = LIMIT_INDEXED_VALUE_BYTES - 4 + pick(12);
    for (size_t i = 0; i < count; i++)
      items[i] = i + 8 < LIMIT_INDEXED_VALUE_BYTES ? string(STR("")) : random_value(4);
    return array(count, items);
  }
  }
}

static void test_truncation_keeps_order(void **state) {
  (void)state;
  int truncated = 0;
  for (int round = 0; round < 6000; round++) {
    arena_reset(&arena);
    struct doc_value a = near_limit(), b = near_limit();
    check_pair(&a, &b);
    truncated += is_truncated(a);
  }
  assert_true(truncated > 1000 && truncated < 6000);
}

static void test_longest_encoding(void **state) {
  (void)state;
  struct doc_value empty[800];
  for (size_t i = 0; i < 800; i++)
    empty[i] = map(1, (struct doc_field[]){{STR("\0"), string(STR(""))}});
  assert_true(is_truncated(array(800, empty)));
  char id[LIMIT_ID_BYTES];
  memset(id, '1', sizeof id);
  memcpy(id, "__id", 4);
  memcpy(id + sizeof id - 2, "__", 2);
  struct doc_value wide[500];
  for (size_t i = 0; i < 500; i++)
    wide[i] = i % 300 < 299 ? empty[i] : text(DOC_REFERENCE, str_make(id, sizeof id));
  assert_true(is_truncated(array(500, wide)));
  /* As deep as a document may be. */
  struct doc_value value = integer(1);
  for (int i = 0; i < DOC_TREE_DEPTH_MAX; i++)
    value = i % 2 ? ARRAY(value) : map(1, (struct doc_field[]){{STR("a"), value}});
  assert_false(is_truncated(value));
  check_pair(&value, &value);
}

static void test_no_memory(void **state) {
  (void)state;
  for (size_t max = 1; max < 40; max++) {
    struct buf out = {.max_bytes = max};
    struct doc_value value = VECTOR(number(1), number(2), number(3), number(4));
    bool cut;
    doc_order_encode(&value, DOC_DESCENDING, &out, &cut);
    assert_true(out.failed);
    buf_fini(&out);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_type_ranges),
      cmocka_unit_test(test_not_an_encoding),
      cmocka_unit_test(test_bytes),
      cmocka_unit_test(test_order_of_everything),
      cmocka_unit_test(test_equal_numbers),
      cmocka_unit_test(test_random_pairs),
      cmocka_unit_test(test_transitive),
      cmocka_unit_test(test_composites),
      cmocka_unit_test(test_truncation_limit),
      cmocka_unit_test(test_truncation_keeps_order),
      cmocka_unit_test(test_longest_encoding),
      cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
