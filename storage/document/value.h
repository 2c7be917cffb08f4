/* A google.firestore.v1.Value as a tree in an arena, in the one form that the store knows:
 * map fields sorted by the bytes of their names and unique, timestamps cut to microseconds, every string
 * valid UTF-8 (U+0000 allowed). Trees are made by the codec (codec.h) and never changed in place by others:
 * functions that change a map give a new one that shares what did not change. Strings borrow from the bytes
 * that were decoded or from the arena. */
#ifndef SKERRY_STORAGE_DOCUMENT_VALUE_H
#define SKERRY_STORAGE_DOCUMENT_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* In Firestore's order across types, but that integers and doubles compare as numbers with each other
 * (value_order.h). */
enum doc_type {
  DOC_NULL,
  DOC_BOOLEAN,
  DOC_INTEGER,
  DOC_DOUBLE,
  DOC_TIMESTAMP,
  DOC_STRING,
  DOC_BYTES,
  DOC_REFERENCE,
  DOC_GEO_POINT,
  DOC_ARRAY,
  DOC_MAP, /* a vector is the map {"__type__": "__vector__", "value": [doubles]}: doc_value_is_vector */
};

struct doc_value;
struct doc_field;

struct doc_array {
  const struct doc_value *items;
  size_t count;
};

struct doc_map {
  const struct doc_field *fields; /* sorted by name, unique */
  size_t count;
};

struct doc_value {
  enum doc_type type;
  union {
    bool boolean;
    int64_t integer;
    double number;
    int64_t timestamp_us; /* since 1970; years 1 to 9999 */
    str text;             /* DOC_STRING, DOC_BYTES, DOC_REFERENCE */
    struct {
      double latitude, longitude;
    } geo_point;
    struct doc_array array;
    struct doc_map map;
  } as;
};

struct doc_field {
  str name;
  struct doc_value value;
};

/* No tree is deeper: what is decoded has at most LIMIT_VALUE_DEPTH maps and arrays in each other, and a
 * transform puts at most as many on top of that. Walks that must not recurse have a stack of this size and
 * assert. */
enum { DOC_TREE_DEPTH_MAX = 64 };

/* What is directly in a value: items of an array, fields of a map, nothing in others. */
static inline size_t doc_value_count(const struct doc_value *value) {
  return value->type == DOC_ARRAY ? value->as.array.count : value->type == DOC_MAP ? value->as.map.count : 0;
}
static inline const struct doc_value *doc_value_child(const struct doc_value *value, size_t at) {
  return value->type == DOC_ARRAY ? &value->as.array.items[at] : &value->as.map.fields[at].value;
}

/* The field of that name, or NULL. */
const struct doc_value *doc_map_get(struct doc_map map, str name);

bool doc_value_is_vector(const struct doc_value *value);

/* Whether two values are equal to Firestore (array transforms, filters): numbers by what they are, so 1
 * equals 1.0 and -0.0 equals 0, and NaN equals NaN; everything else only in its own type. Does not recurse.
 */
bool doc_value_equal(const struct doc_value *a, const struct doc_value *b);

#endif
