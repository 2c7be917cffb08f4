/* Two values are built from the input, byte by byte; their encodings must sort as the values compare, in both
 * directions, neither may be the beginning of the other, and they can be read back. Then the input itself is
 * read as encodings, which it mostly is not. */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "storage/document/value_order.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

struct source {
  const uint8_t *at, *end;
  struct arena *arena;
};

static unsigned take(struct source *s) {
  return s->at == s->end ? 0 : *s->at++;
}

static uint64_t take_bits(struct source *s) {
  uint64_t bits = 0;
  for (int i = 0; i < 8; i++)
    bits = bits << 8 | take(s);
  return bits;
}

static double take_double(struct source *s) {
  uint64_t bits = take_bits(s);
  double number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

/* Bytes of the input, and sometimes a long run of one byte, so that limits are reached. */
static str take_text(struct source *s) {
  unsigned length = take(s);
  if (length < 128) {
    size_t left = (size_t)(s->end - s->at), size = length < left ? length : left;
    str text = str_make(s->at, size);
    s->at += size;
    return text;
  }
  size_t size = (size_t)(length - 128) * 16 + take(s) % 16;
  char *run = arena_alloc(s->arena, size + 1);
  CHECK(run != NULL);
  memset(run, (int)take(s), size);
  run[size] = (char)take(s);
  return str_make(run, size + 1);
}

static struct doc_value take_value(struct source *s, unsigned depth);

static struct doc_value take_array(struct source *s, unsigned depth) {
  size_t count = take(s) % 16;
  struct doc_value *items = ARENA_NEW_ARRAY(s->arena, struct doc_value, count);
  CHECK(items != NULL);
  for (size_t i = 0; i < count; i++)
    items[i] = take_value(s, depth + 1);
  return (struct doc_value){.type = DOC_ARRAY, .as.array = {items, count}};
}

static struct doc_value take_map(struct source *s, unsigned depth) {
  size_t wanted = take(s) % 8, count = 0;
  struct doc_field *fields = ARENA_NEW_ARRAY(s->arena, struct doc_field, wanted);
  CHECK(fields != NULL);
  for (size_t i = 0; i < wanted; i++) {
    str name = take_text(s);
    if (count > 0 && str_cmp(fields[count - 1].name, name) >= 0)
      continue; /* the form of value.h: sorted and unique */
    fields[count].name = name;
    fields[count++].value = take_value(s, depth + 1);
  }
  return (struct doc_value){.type = DOC_MAP, .as.map = {fields, count}};
}

static struct doc_value take_vector(struct source *s, unsigned depth) {
  struct doc_field *fields = ARENA_NEW_ARRAY(s->arena, struct doc_field, 2);
  CHECK(fields != NULL);
  fields[0] = (struct doc_field){STR("__type__"), {.type = DOC_STRING, .as.text = STR("__vector__")}};
  fields[1] = (struct doc_field){STR("value"), take_array(s, depth + 1)};
  return (struct doc_value){.type = DOC_MAP, .as.map = {fields, 2}};
}

static struct doc_value take_value(struct source *s, unsigned depth) {
  struct doc_value value = {.type = (enum doc_type)(take(s) % (DOC_MAP + 2))};
  bool deep = depth >= DOC_TREE_DEPTH_MAX - 1; /* a vector is two in each other */
  switch ((int)value.type) {
  case DOC_BOOLEAN:
    value.as.boolean = take(s) % 2 == 1;
    break;
  case DOC_INTEGER:
    value.as.integer = (int64_t)take_bits(s);
    break;
  case DOC_DOUBLE:
    value.as.number = take_double(s);
    break;
  case DOC_TIMESTAMP:
    value.as.timestamp_us = (int64_t)take_bits(s);
    break;
  case DOC_STRING:
  case DOC_BYTES:
  case DOC_REFERENCE:
    value.as.text = take_text(s);
    break;
  case DOC_GEO_POINT:
    value.as.geo_point.latitude = take_double(s);
    value.as.geo_point.longitude = take_double(s);
    break;
  case DOC_ARRAY:
    return deep ? (struct doc_value){.type = DOC_NULL} : take_array(s, depth);
  case DOC_MAP:
    return deep ? (struct doc_value){.type = DOC_NULL} : take_map(s, depth);
  case DOC_MAP + 1:
    return deep ? (struct doc_value){.type = DOC_NULL} : take_vector(s, depth);
  default:
    break;
  }
  return value;
}

static int sign(int order) {
  return (order > 0) - (order < 0);
}

/* One encoding is taken from several, its number is the value's, and it lies in its type's range. */
static void check_reading(const struct doc_value *value, str both, size_t first, enum doc_order order) {
  str rest = both, taken, lower, upper;
  CHECK(doc_order_take(&rest, order, &taken) && taken.len == first);
  CHECK(doc_order_take(&rest, order, &taken) && rest.len == 0);
  if (order == DOC_DESCENDING)
    return;
  str encoded = str_make(both.ptr, first);
  double number = 0;
  int64_t integer = 0;
  bool whole = false, is_number = doc_order_number(encoded, &number, &whole, &integer);
  bool is_nan = value->type == DOC_DOUBLE && value->as.number != value->as.number;
  CHECK(is_number == (value->type == DOC_INTEGER || value->type == DOC_DOUBLE));
  CHECK(value->type != DOC_INTEGER || (whole && integer == value->as.integer));
  CHECK(value->type != DOC_DOUBLE || is_nan || number == value->as.number);
  doc_order_type_range(value, &lower, &upper);
  CHECK(is_nan != (str_cmp(lower, encoded) <= 0 && str_cmp(encoded, upper) < 0));
}

static void check_hostile(str input, enum doc_order order) {
  str rest = input, taken;
  double number;
  int64_t integer;
  bool whole;
  while (doc_order_take(&rest, order, &taken)) {
    CHECK(taken.len > 0);
    str again = taken, same;
    CHECK(doc_order_take(&again, order, &same) && again.len == 0);
    (void)doc_order_number(taken, &number, &whole, &integer);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  check_hostile(str_make(data, size), DOC_ASCENDING);
  check_hostile(str_make(data, size), DOC_DESCENDING);
  struct arena arena;
  arena_init(&arena, NULL, 0, 64 << 20);
  struct source source = {data, data + size, &arena};
  struct doc_value a = take_value(&source, 0), b = take_value(&source, 0);
  int wanted = sign(doc_value_compare(&a, &b));
  CHECK(sign(doc_value_compare(&b, &a)) == -wanted);

  struct buf x = {0}, y = {0}, u = {0}, v = {0};
  bool a_cut, b_cut, cut;
  doc_order_encode(&a, DOC_ASCENDING, &x, &a_cut);
  doc_order_encode(&b, DOC_ASCENDING, &y, &b_cut);
  doc_order_encode(&a, DOC_DESCENDING, &u, &cut);
  CHECK(cut == a_cut);
  doc_order_encode(&b, DOC_DESCENDING, &v, &cut);
  CHECK(cut == b_cut && !x.failed && !y.failed && !u.failed && !v.failed);
  CHECK(x.len <= DOC_ORDER_MAX_BYTES && y.len <= DOC_ORDER_MAX_BYTES);

  int got = sign(str_cmp(buf_str(&x), buf_str(&y)));
  CHECK(got == wanted || ((a_cut || b_cut) && got == 0));
  CHECK(sign(str_cmp(buf_str(&u), buf_str(&v))) == -got);
  CHECK(got == 0 || (!str_has_prefix(buf_str(&x), buf_str(&y)) && !str_has_prefix(buf_str(&y), buf_str(&x))));
  size_t x_len = x.len, u_len = u.len;
  buf_append_str(&x, buf_str(&y));
  buf_append_str(&u, buf_str(&v));
  CHECK(!x.failed && !u.failed);
  check_reading(&a, buf_str(&x), x_len, DOC_ASCENDING);
  check_reading(&a, buf_str(&u), u_len, DOC_DESCENDING);
  buf_fini(&x);
  buf_fini(&y);
  buf_fini(&u);
  buf_fini(&v);
  arena_fini(&arena);
  return 0;
}
