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

/* The field of that name, or NULL. */
const struct doc_value *doc_map_get(struct doc_map map, str name);

bool doc_value_is_vector(const struct doc_value *value);

/* Whether two values are the same value in the same type (Firestore's array transforms and "unchanged" use
 * it): integer 1 and double 1.0 are equal as numbers; NaN equals NaN; -0.0 equals 0. */
bool doc_value_equal(const struct doc_value *a, const struct doc_value *b);

#endif
