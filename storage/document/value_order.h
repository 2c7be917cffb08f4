/* Firestore's order of values: a comparison, and an encoding whose bytes sort the same.
 *
 * Order across types: null, boolean, number (NaN first; integers and doubles by their exact numbers; -0 = 0),
 * timestamp, string (bytes), bytes, reference (segment by segment, as doc_path_compare), geopoint (latitude,
 * longitude), array (element by element, a prefix first), vector (dimension, then elements), map (entry by
 * entry in the order of names: name, then value; a prefix first).
 * https://firebase.google.com/docs/firestore/manage-data/data-types
 *
 * Values are as value.h has them, at most DOC_TREE_DEPTH_MAX deep, which bounds the recursion. Any thread. */
#ifndef SKERRY_STORAGE_DOCUMENT_VALUE_ORDER_H
#define SKERRY_STORAGE_DOCUMENT_VALUE_ORDER_H

#include <stdbool.h>

#include "base/str.h"
#include "storage/document/value.h"

/* <0, 0, >0. Zero for numbers that are equal, 1 and 1.0. */
int doc_value_compare(const struct doc_value *a, const struct doc_value *b);

enum {
  /* The number of the byte format at the top of value_order.c. It is on disk, in index entries: a change of
   * any byte is a new number, and indexes are built again. */
  DOC_ORDER_FORMAT = 1,
  /* No encoding is longer: at most 4 bytes for each of the 1,500 that count (a map of empty strings whose
   * names are one U+0000) and then one numeric id in whole. */
  DOC_ORDER_MAX_BYTES = 8 * 1024,
};

enum doc_order { DOC_ASCENDING, DOC_DESCENDING };

/* Appends the encoding of a value. For values of which none was truncated, the order of the encodings as
 * unsigned bytes (memcmp) is doc_value_compare, reversed if descending. No encoding is the beginning of
 * another, so encodings can be put one after the other, in mixed directions and with a key (key.h) at the
 * end, and compare as tuples.
 *
 * Only the first LIMIT_INDEXED_VALUE_BYTES of a value count. What is longer is truncated, and *ret_truncated
 * is true; the order then still holds as "not after" (a < b gives encode(a) <= encode(b)), so whoever reads
 * an index compares the values themselves where an encoding was truncated. Out of memory: out->failed. */
void doc_order_encode(const struct doc_value *value, enum doc_order order, struct buf *out,
                      bool *ret_truncated);

/* ---- Reading encodings back ---- */

/* Takes one encoding off the front of *rest and gives its bytes. False: the bytes are none. */
bool doc_order_take(str *rest, enum doc_order order, str *ret);

/* The number that an ascending encoding of an integer or double stands for. False if it is another type.
 * *ret_integer is set if it is a whole number within int64 (the encoding does not say which type it had). */
bool doc_order_number(str encoded, double *ret, bool *ret_is_whole, int64_t *ret_integer);

/* The range of ascending encodings of all values of the same type as `value` in the sense of inequality
 * filters (integers and doubles together, without NaN): every encoding e of them has lower <= e < upper.
 * Both are static, at most 16 bytes. */
void doc_order_type_range(const struct doc_value *value, str *ret_lower, str *ret_upper);

#endif
