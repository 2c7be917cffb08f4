/* The byte format, DOC_ORDER_FORMAT 1. All numbers are big-endian.
 *
 *   value     = 0x10                                  null
 *             | 0x18 | 0x19                           false | true
 *             | 0x20 number
 *             | 0x28 microseconds                     8 bytes, sign bit flipped
 *             | 0x30 text                             string
 *             | 0x38 text                             bytes
 *             | 0x40 segment* END                     reference; segment as in key.h, of the whole name
 *             | 0x48 double double                    geopoint
 *             | 0x50 value* END                       array
 *             | 0x58 dimension value* END             vector; dimension 4 bytes
 *             | 0x60 entry* END                       map; entry = 0x02 text value
 *   double    = 8 bytes: all bits flipped if negative, else the sign bit; all zero for NaN; -0 is 0
 *   number    = double, the largest that is not greater than the number, and for 2^53 <= |double| <= 2^63,
 * where an integer may lie between two doubles, what is missing (2 bytes) text      = bytes, 0x00 as 0x00
 * 0xFF, then 0x00 0x01 END       = 0x00
 *
 * Why the bytes sort as the values do: at every place where two encodings may first differ, either both have
 * a byte of the same field, whose order is the values', or one ends what the other goes on with, and END (and
 * the end of a text) is less than anything that can stand there. Why none is the beginning of another: all
 * lengths are fixed or marked by an end.
 *
 * Truncation: a budget of LIMIT_INDEXED_VALUE_BYTES, from which each byte of a text takes 1, each element,
 * entry and segment 1, and a number and the like its size. Where it is used up and the value goes on, the
 * encoding stops at once with CUT (within a text 0x00 0x02), which is greater than the end and what
 * everything longer gets there. What is left of the budget depends on the bytes before alone, so both
 * properties stay: two values that are equal up to there are cut at the same place.
 *
 * Descending is the same with all bits flipped. */
#include "storage/document/value_order.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/limits.h"
#include "storage/document/path.h"

enum {
  END = 0x00,
  CUT = 0x01,
  ENTRY = 0x02,
  SEGMENT_NUMBER = 0x02,
  SEGMENT_TEXT = 0x03,
  /* After a 0x00 in a text. */
  TEXT_END = 0x01,
  TEXT_CUT = 0x02,
  TEXT_NUL = 0xFF,
};

/* The first byte of an encoding, and the order across types. */
enum rank {
  RANK_NULL = 0x10,
  RANK_BOOLEAN = 0x18,
  RANK_NUMBER = 0x20,
  RANK_TIMESTAMP = 0x28,
  RANK_STRING = 0x30,
  RANK_BYTES = 0x38,
  RANK_REFERENCE = 0x40,
  RANK_GEO_POINT = 0x48,
  RANK_ARRAY = 0x50,
  RANK_VECTOR = 0x58,
  RANK_MAP = 0x60,
};

static enum rank rank_of(const struct doc_value *value) {
  switch (value->type) {
  case DOC_NULL:
    return RANK_NULL;
  case DOC_BOOLEAN:
    return RANK_BOOLEAN;
  case DOC_INTEGER:
  case DOC_DOUBLE:
    return RANK_NUMBER;
  case DOC_TIMESTAMP:
    return RANK_TIMESTAMP;
  case DOC_STRING:
    return RANK_STRING;
  case DOC_BYTES:
    return RANK_BYTES;
  case DOC_REFERENCE:
    return RANK_REFERENCE;
  case DOC_GEO_POINT:
    return RANK_GEO_POINT;
  case DOC_ARRAY:
    return RANK_ARRAY;
  case DOC_MAP:
    return doc_value_is_vector(value) ? RANK_VECTOR : RANK_MAP;
  }
  abort(); /* not a type of value.h */
}

static struct doc_array vector_elements(const struct doc_value *vector) {
  return doc_map_get(vector->as.map, STR("value"))->as.array;
}

/* The next segment of a name that may also be odd: there is always one more than there are slashes. */
static bool next_segment(str *rest, bool *more, str *ret) {
  if (!*more)
    return false;
  *more = rest->len > 0 && memchr(rest->ptr, '/', rest->len) != NULL;
  *ret = str_split(*rest, '/', rest);
  return true;
}

/* ---- Comparing ---- */

static int compare_integers(int64_t a, int64_t b) {
  return (a > b) - (a < b);
}

static int compare_doubles(double a, double b) {
  if (isnan(a) || isnan(b))
    return (isnan(b) != 0) - (isnan(a) != 0);
  return (a > b) - (a < b);
}

/* Exactly: the integer is never made a double. */
static int compare_integer_to_double(int64_t integer, double number) {
  if (isnan(number))
    return 1;
  if (number >= 0x1p63)
    return -1;
  if (number < -0x1p63)
    return 1;
  int64_t whole = (int64_t)number; /* toward zero; what is left is exact */
  int order = compare_integers(integer, whole);
  return order != 0 ? order : compare_doubles((double)whole, number);
}

static int compare_numbers(const struct doc_value *a, const struct doc_value *b) {
  if (a->type == DOC_INTEGER)
    return b->type == DOC_INTEGER ? compare_integers(a->as.integer, b->as.integer)
                                  : compare_integer_to_double(a->as.integer, b->as.number);
  return b->type == DOC_INTEGER ? -compare_integer_to_double(b->as.integer, a->as.number)
                                : compare_doubles(a->as.number, b->as.number);
}

static int compare_references(str a, str b) {
  bool more_a = true, more_b = true;
  for (;;) {
    str x, y;
    bool has_a = next_segment(&a, &more_a, &x), has_b = next_segment(&b, &more_b, &y);
    if (!has_a || !has_b)
      return (int)has_a - (int)has_b;
    int order = doc_id_compare(x, y);
    if (order != 0)
      return order;
  }
}

static int compare(const struct doc_value *a, const struct doc_value *b, unsigned depth);

static int compare_arrays(struct doc_array a, struct doc_array b, unsigned depth) {
  for (size_t i = 0; i < a.count && i < b.count; i++) {
    int order = compare(&a.items[i], &b.items[i], depth + 1);
    if (order != 0)
      return order;
  }
  return (a.count > b.count) - (a.count < b.count);
}

static int compare_maps(struct doc_map a, struct doc_map b, unsigned depth) {
  for (size_t i = 0; i < a.count && i < b.count; i++) {
    int order = str_cmp(a.fields[i].name, b.fields[i].name);
    if (order == 0)
      order = compare(&a.fields[i].value, &b.fields[i].value, depth + 1);
    if (order != 0)
      return order;
  }
  return (a.count > b.count) - (a.count < b.count);
}

static int compare_vectors(struct doc_array a, struct doc_array b, unsigned depth) {
  if (a.count != b.count)
    return a.count < b.count ? -1 : 1;
  return compare_arrays(a, b, depth);
}

static int compare(const struct doc_value *a, const struct doc_value *b, unsigned depth) {
  assert(depth <= DOC_TREE_DEPTH_MAX);
  enum rank rank = rank_of(a), other = rank_of(b);
  if (rank != other)
    return rank < other ? -1 : 1;
  switch (rank) {
  case RANK_NULL:
    return 0;
  case RANK_BOOLEAN:
    return (int)a->as.boolean - (int)b->as.boolean;
  case RANK_NUMBER:
    return compare_numbers(a, b);
  case RANK_TIMESTAMP:
    return compare_integers(a->as.timestamp_us, b->as.timestamp_us);
  case RANK_STRING:
  case RANK_BYTES:
    return str_cmp(a->as.text, b->as.text);
  case RANK_REFERENCE:
    return compare_references(a->as.text, b->as.text);
  case RANK_GEO_POINT: {
    int order = compare_doubles(a->as.geo_point.latitude, b->as.geo_point.latitude);
    return order != 0 ? order : compare_doubles(a->as.geo_point.longitude, b->as.geo_point.longitude);
  }
  case RANK_ARRAY:
    return compare_arrays(a->as.array, b->as.array, depth);
  case RANK_VECTOR:
    return compare_vectors(vector_elements(a), vector_elements(b), depth);
  case RANK_MAP:
    return compare_maps(a->as.map, b->as.map, depth);
  }
  return 0;
}

int doc_value_compare(const struct doc_value *a, const struct doc_value *b) {
  return compare(a, b, 0);
}

/* ---- Encoding ---- */

struct encoder {
  struct buf *out;
  size_t left; /* of the budget */
  bool cut;
};

static void spend(struct encoder *e, size_t cost) {
  e->left -= cost < e->left ? cost : e->left;
}

/* Before something that may be left out: false, and cut, if the budget is used up. */
static bool may_go_on(struct encoder *e) {
  if (e->left == 0) {
    buf_append_byte(e->out, CUT);
    e->cut = true;
    return false;
  }
  spend(e, 1);
  return true;
}

static void put_big_endian(struct encoder *e, uint64_t number, unsigned size) {
  uint8_t bytes[8];
  for (unsigned i = 0; i < size; i++)
    bytes[i] = (uint8_t)(number >> 8 * (size - 1 - i));
  buf_append(e->out, bytes, size);
}

static void put_double(struct encoder *e, double number) {
  uint64_t bits = 0;
  if (!isnan(number)) {
    number += 0.0; /* -0 becomes 0 */
    memcpy(&bits, &number, sizeof bits);
    bits ^= bits >> 63 != 0 ? UINT64_MAX : UINT64_C(1) << 63;
  }
  put_big_endian(e, bits, 8);
  spend(e, 8);
}

static void put_number(struct encoder *e, double number, unsigned missing) {
  put_double(e, number);
  if (fabs(number) >= 0x1p53 && fabs(number) <= 0x1p63)
    put_big_endian(e, missing, 2);
}

static void put_integer(struct encoder *e, int64_t integer) {
  uint64_t magnitude = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
  unsigned missing = 0;
  if (magnitude > UINT64_C(1) << 53) {
    /* A double has 53 bits of it; those below are what is missing. In two's complement, taking them away
     * goes down for negative numbers too. */
    unsigned below = 11 - (unsigned)__builtin_clzll(magnitude);
    missing = (unsigned)((uint64_t)integer & ((UINT64_C(1) << below) - 1));
    integer -= (int64_t)missing;
  }
  put_number(e, (double)integer, missing);
}

static void put_text(struct encoder *e, str text) {
  bool cut = text.len > e->left;
  if (cut)
    text.len = e->left;
  spend(e, text.len);
  const char *nul;
  while (text.len > 0 && (nul = memchr(text.ptr, 0, text.len)) != NULL) {
    size_t before = (size_t)(nul - text.ptr);
    buf_append(e->out, text.ptr, before);
    buf_append(e->out, (const uint8_t[]){0, TEXT_NUL}, 2);
    text = str_from(text, before + 1);
  }
  buf_append_str(e->out, text);
  buf_append(e->out, (const uint8_t[]){0, cut ? TEXT_CUT : TEXT_END}, 2);
  e->cut = e->cut || cut;
}

static void put_segment(struct encoder *e, str id) {
  struct doc_id_number number;
  if (!doc_id_number(id, &number)) {
    buf_append_byte(e->out, SEGMENT_TEXT);
    put_text(e, id);
    return;
  }
  buf_append_byte(e->out, SEGMENT_NUMBER); /* not cut within: the count in front must stay true */
  put_big_endian(e, number.digits.len, 2);
  buf_append_str(e->out, number.digits);
  put_big_endian(e, number.zeros, 2);
  buf_append(e->out, (const uint8_t[]){0, TEXT_END}, 2);
  spend(e, number.digits.len + 4);
}

static void put_reference(struct encoder *e, str name) {
  str id;
  for (bool more = true; next_segment(&name, &more, &id);) {
    if (!may_go_on(e))
      return;
    put_segment(e, id);
    if (e->cut)
      return;
  }
  buf_append_byte(e->out, END);
}

static void put_value(struct encoder *e, const struct doc_value *value, unsigned depth);

static void put_elements(struct encoder *e, struct doc_array array, unsigned depth) {
  for (size_t i = 0; i < array.count; i++) {
    if (!may_go_on(e))
      return;
    put_value(e, &array.items[i], depth + 1);
    if (e->cut)
      return;
  }
  buf_append_byte(e->out, END);
}

static void put_map(struct encoder *e, struct doc_map map, unsigned depth) {
  for (size_t i = 0; i < map.count; i++) {
    if (!may_go_on(e))
      return;
    buf_append_byte(e->out, ENTRY);
    put_text(e, map.fields[i].name);
    if (e->cut)
      return;
    put_value(e, &map.fields[i].value, depth + 1);
    if (e->cut)
      return;
  }
  buf_append_byte(e->out, END);
}

static void put_value(struct encoder *e, const struct doc_value *value, unsigned depth) {
  assert(depth <= DOC_TREE_DEPTH_MAX);
  enum rank rank = rank_of(value);
  buf_append_byte(e->out, (uint8_t)(rank == RANK_BOOLEAN && value->as.boolean ? rank + 1 : rank));
  switch (rank) {
  case RANK_NULL:
  case RANK_BOOLEAN:
    break;
  case RANK_NUMBER:
    if (value->type == DOC_INTEGER)
      put_integer(e, value->as.integer);
    else
      put_number(e, value->as.number, 0);
    break;
  case RANK_TIMESTAMP:
    put_big_endian(e, (uint64_t)value->as.timestamp_us ^ UINT64_C(1) << 63, 8);
    spend(e, 8);
    break;
  case RANK_STRING:
  case RANK_BYTES:
    put_text(e, value->as.text);
    break;
  case RANK_REFERENCE:
    put_reference(e, value->as.text);
    break;
  case RANK_GEO_POINT:
    put_double(e, value->as.geo_point.latitude);
    put_double(e, value->as.geo_point.longitude);
    break;
  case RANK_ARRAY:
    put_elements(e, value->as.array, depth);
    break;
  case RANK_VECTOR: {
    struct doc_array elements = vector_elements(value);
    put_big_endian(e, elements.count, 4);
    put_elements(e, elements, depth);
    break;
  }
  case RANK_MAP:
    put_map(e, value->as.map, depth);
    break;
  }
}

void doc_order_encode(const struct doc_value *value, enum doc_order order, struct buf *out,
                      bool *ret_truncated) {
  struct encoder e = {.out = out, .left = LIMIT_INDEXED_VALUE_BYTES};
  size_t start = out->len;
  put_value(&e, value, 0);
  assert(out->len - start <= DOC_ORDER_MAX_BYTES);
  if (order == DOC_DESCENDING)
    for (size_t i = start; i < out->len; i++)
      out->data[i] = (uint8_t)~out->data[i];
  *ret_truncated = e.cut;
}

/* ---- Reading ---- */

/* The bytes of an encoding, ascending or flipped. */
struct order_reader {
  const uint8_t *at, *end;
  uint8_t flip; /* 0xFF if descending */
};

static bool read_byte(struct order_reader *r, uint8_t *ret) {
  if (r->at == r->end)
    return false;
  *ret = *r->at++ ^ r->flip;
  return true;
}

static bool skip(struct order_reader *r, size_t size) {
  if ((size_t)(r->end - r->at) < size)
    return false;
  r->at += size;
  return true;
}

static bool read_big_endian(struct order_reader *r, unsigned size, uint64_t *ret) {
  if ((size_t)(r->end - r->at) < size)
    return false;
  uint64_t number = 0;
  for (unsigned i = 0; i < size; i++)
    number = number << 8 | (uint8_t)(*r->at++ ^ r->flip);
  *ret = number;
  return true;
}

/* To its end, or to where it was cut. */
static bool skip_text(struct order_reader *r, bool *ret_cut) {
  for (;;) {
    const uint8_t *nul = r->at == r->end ? NULL : memchr(r->at, r->flip, (size_t)(r->end - r->at));
    if (nul == NULL || nul + 1 == r->end)
      return false;
    uint8_t next = nul[1] ^ r->flip;
    r->at = nul + 2;
    if (next == TEXT_NUL)
      continue;
    *ret_cut = next == TEXT_CUT;
    return next == TEXT_END || next == TEXT_CUT;
  }
}

/* Whether a double of these sortable bits is followed by what it lacks: 2^53 <= |double| <= 2^63. */
static bool has_missing(uint64_t sortable) {
  uint64_t magnitude = (sortable >> 63 != 0 ? sortable : ~sortable) << 1 >> 1;
  return magnitude >= UINT64_C(0x4340000000000000) && magnitude <= UINT64_C(0x43E0000000000000);
}

static bool skip_number(struct order_reader *r) {
  uint64_t sortable;
  return read_big_endian(r, 8, &sortable) && (!has_missing(sortable) || skip(r, 2));
}

/* After 0x40. */
static bool skip_reference(struct order_reader *r, bool *ret_cut) {
  for (*ret_cut = false; !*ret_cut;) {
    uint8_t byte;
    uint64_t digits;
    if (!read_byte(r, &byte))
      return false;
    if (byte == END)
      return true;
    if (byte == CUT)
      *ret_cut = true;
    else if (byte == SEGMENT_TEXT
                 ? !skip_text(r, ret_cut)
                 : byte != SEGMENT_NUMBER || !read_big_endian(r, 2, &digits) || !skip(r, (size_t)digits + 4))
      return false;
  }
  return true;
}

/* What follows the first byte of a value that is no array, vector or map. */
static bool skip_scalar(struct order_reader *r, uint8_t rank, bool *ret_cut) {
  switch (rank) {
  case RANK_NULL:
  case RANK_BOOLEAN:
  case RANK_BOOLEAN + 1:
    return true;
  case RANK_NUMBER:
    return skip_number(r);
  case RANK_TIMESTAMP:
    return skip(r, 8);
  case RANK_STRING:
  case RANK_BYTES:
    return skip_text(r, ret_cut);
  case RANK_REFERENCE:
    return skip_reference(r, ret_cut);
  case RANK_GEO_POINT:
    return skip(r, 16);
  default:
    return false;
  }
}

/* One value, arrays and maps in each other without recursion: of those that are open it is only to be known
 * which are maps. */
static bool skip_value(struct order_reader *r) {
  bool is_map[DOC_TREE_DEPTH_MAX + 1], cut = false;
  size_t open = 0;
  do {
    uint8_t byte;
    if (!read_byte(r, &byte))
      return false;
    if (open > 0 && (byte == END || byte == CUT)) {
      open = byte == CUT ? 0 : open - 1;
      continue;
    }
    if (open > 0 && is_map[open - 1]) {
      if (byte != ENTRY || !skip_text(r, &cut))
        return false;
      if (cut)
        return true;
      if (!read_byte(r, &byte))
        return false;
    }
    bool container = byte == RANK_ARRAY || byte == RANK_MAP || byte == RANK_VECTOR;
    if (container ? open > DOC_TREE_DEPTH_MAX || (byte == RANK_VECTOR && !skip(r, 4))
                  : !skip_scalar(r, byte, &cut))
      return false;
    if (container)
      is_map[open++] = byte == RANK_MAP;
  } while (open > 0 && !cut);
  return true;
}

bool doc_order_take(str *rest, enum doc_order order, str *ret) {
  if (rest->len == 0)
    return false;
  const uint8_t *start = (const uint8_t *)rest->ptr;
  struct order_reader r = {start, start + rest->len, order == DOC_DESCENDING ? 0xFF : 0};
  if (!skip_value(&r))
    return false;
  size_t size = (size_t)(r.at - start);
  *ret = str_make(rest->ptr, size);
  *rest = str_from(*rest, size);
  return true;
}

bool doc_order_number(str encoded, double *ret, bool *ret_is_whole, int64_t *ret_integer) {
  const uint8_t *start = (const uint8_t *)encoded.ptr;
  struct order_reader r = {start, encoded.len == 0 ? start : start + encoded.len, 0};
  uint8_t rank;
  uint64_t sortable, missing = 0;
  if (!read_byte(&r, &rank) || rank != RANK_NUMBER || !read_big_endian(&r, 8, &sortable))
    return false;
  /* Integers within int64 lack less than 1,024, the distance of the largest doubles there. */
  if ((has_missing(sortable) && (!read_big_endian(&r, 2, &missing) || missing > 1023)) || r.at != r.end)
    return false;
  uint64_t bits = sortable ^ (sortable >> 63 != 0 ? UINT64_C(1) << 63 : UINT64_MAX);
  double number;
  memcpy(&number, &bits, sizeof number);
  /* cppcheck reads no hexadecimal floats. */
  // cppcheck-suppress incorrectLogicOperator
  bool whole = number >= -0x1p63 && number < 0x1p63 && (double)(int64_t)number == number;
  *ret_is_whole = whole;
  *ret = number;
  if (!whole)
    return true;
  *ret_integer = (int64_t)number + (int64_t)missing;
  if (missing > 0)
    *ret = (double)*ret_integer;
  return true;
}

void doc_order_type_range(const struct doc_value *value, str *ret_lower, str *ret_upper) {
  /* Every rank and the byte after it; of booleans, which have two. */
  static const char ranks[] = {RANK_NULL,      RANK_NULL + 1,      RANK_BOOLEAN,   RANK_BOOLEAN + 2,
                               RANK_TIMESTAMP, RANK_TIMESTAMP + 1, RANK_STRING,    RANK_STRING + 1,
                               RANK_BYTES,     RANK_BYTES + 1,     RANK_REFERENCE, RANK_REFERENCE + 1,
                               RANK_GEO_POINT, RANK_GEO_POINT + 1, RANK_ARRAY,     RANK_ARRAY + 1,
                               RANK_VECTOR,    RANK_VECTOR + 1,    RANK_MAP,       RANK_MAP + 1};
  enum rank rank = rank_of(value);
  if (rank == RANK_NUMBER) {
    *ret_lower = STR("\x20\0\0\0\0\0\0\0\x01"); /* right after NaN */
    *ret_upper = STR("\x21");
    return;
  }
  for (size_t i = 0; i < sizeof ranks; i += 2)
    if (ranks[i] == (char)rank) {
      *ret_lower = str_make(&ranks[i], 1);
      *ret_upper = str_make(&ranks[i + 1], 1);
      return;
    }
  abort(); /* a rank without a range */
}
