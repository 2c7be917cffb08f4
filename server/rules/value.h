/* Values of the rules language while a request is judged. Small, by value; what they point to lies in the
 * rules, the request's bytes or the arena. Maps and lists of documents stay the bytes that are stored until
 * somebody looks, and then only what is looked at is decoded. */
#ifndef SKERRY_SERVER_RULES_VALUE_H
#define SKERRY_SERVER_RULES_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

struct rules_node;
struct rules_partial;
struct rules_evaluation;

enum rules_kind {
  VALUE_NULL,
  VALUE_BOOL,
  VALUE_INT,
  VALUE_FLOAT,
  VALUE_STRING,
  VALUE_BYTES,
  VALUE_TIMESTAMP,
  VALUE_DURATION,
  VALUE_LATLNG,
  VALUE_PATH,     /* items: its segments, strings */
  VALUE_LIST,     /* items, or `bytes` of an ArrayValue message if RULES_FLAG_WIRE */
  VALUE_SET,      /* items, each once */
  VALUE_MAP,      /* entries sorted by key, or `bytes` of map entries if RULES_FLAG_WIRE */
  VALUE_MAP_DIFF, /* items: the map that diff() was called on, the one it was compared with */
  VALUE_VECTOR,   /* bytes: map entries of the vector's map */
  VALUE_OBJECT,   /* request and what is in it, made into a map only if need be; count: enum rules_object */
  VALUE_ERROR,    /* error and where */
  /* In queries. */
  VALUE_UNKNOWN, /* any value or error; where: the expression that made it so */
  VALUE_PARTIAL, /* a field of the results, of which filters say something */
};

enum {
  RULES_FLAG_WIRE = 1,
  RULES_FLAG_TOP = 2, /* entries have the tag of Document.fields, not that of MapValue.fields */
  /* It was compared in a query: a number in it may be an integer or a double, `==` does not say. */
  RULES_FLAG_LOOSE = 4,
};

enum rules_object {
  RULES_OBJECT_REQUEST,
  RULES_OBJECT_AUTH,
  RULES_OBJECT_QUERY,
  RULES_OBJECT_RESOURCE,
  RULES_OBJECT_AFTER
};

struct rules_value {
  uint8_t kind; /* enum rules_kind */
  uint8_t flags;
  uint16_t error; /* VALUE_ERROR: enum rules_error */
  uint32_t count;
  union {
    bool boolean;
    int64_t integer;
    double number;
    str bytes;
    struct {
      int64_t seconds; /* since 1970; of a duration: with the sign of nanos */
      int32_t nanos;
    } time;
    struct {
      double latitude, longitude;
    } point;
    const struct rules_value *items;
    const struct rules_entry *entries;
    const struct rules_document *document; /* RULES_OBJECT_RESOURCE, RULES_OBJECT_AFTER */
    const struct rules_partial *partial;
    struct {
      const struct rules_node *at;
      uint16_t left, right; /* kinds of the operands, for the message */
    } where;
  } as;
};

struct rules_entry {
  str key;
  struct rules_value value;
};

/* Errors of an evaluation. From RULES_ERROR_FATAL on nothing absorbs them. */
enum rules_error {
  RULES_ERROR_NONE,
  RULES_ERROR_PROPERTY, /* no such member */
  RULES_ERROR_NULL,     /* a member of null, or of what has none */
  RULES_ERROR_TYPE,     /* not a bool where one is wanted */
  RULES_ERROR_OPERANDS, /* an operator or function does not take these types */
  RULES_ERROR_INDEX,
  RULES_ERROR_RANGE,
  RULES_ERROR_DIVISION,
  RULES_ERROR_OVERFLOW,
  RULES_ERROR_CONVERSION,
  RULES_ERROR_NAME,      /* a function or variable that does not exist */
  RULES_ERROR_ARGUMENTS, /* how many */
  RULES_ERROR_TIME,      /* out of range, no such date or unit */
  RULES_ERROR_POINT,
  RULES_ERROR_PATTERN,
  RULES_ERROR_PATTERN_LIMIT,
  RULES_ERROR_PATH, /* not a path of a document in this database */
  RULES_ERROR_BIND,
  RULES_ERROR_MISSING, /* get() of a document that does not exist */
  RULES_ERROR_READS,   /* the budget of reads */
  RULES_ERROR_NO_READER,
  RULES_ERROR_FATAL,
  RULES_ERROR_EVALUATIONS = RULES_ERROR_FATAL,
  RULES_ERROR_DEPTH,
  RULES_ERROR_WORK,
  RULES_ERROR_DAMAGED,
  RULES_ERROR_MEMORY,
  RULES_ERROR_READ_FAILED,
  RULES_ERROR_READ_LATER,
};

/* Three-valued: what holds for every result of a query. */
enum rules_truth { RULES_FALSE, RULES_TRUE, RULES_MAYBE };

static inline struct rules_value rules_bool(bool boolean) {
  return (struct rules_value){.kind = VALUE_BOOL, .as.boolean = boolean};
}
static inline struct rules_value rules_int(int64_t integer) {
  return (struct rules_value){.kind = VALUE_INT, .as.integer = integer};
}
static inline struct rules_value rules_float(double number) {
  return (struct rules_value){.kind = VALUE_FLOAT, .as.number = number};
}
static inline struct rules_value rules_string(str text) {
  return (struct rules_value){.kind = VALUE_STRING, .as.bytes = text};
}
static inline struct rules_value rules_null(void) {
  return (struct rules_value){.kind = VALUE_NULL};
}
static inline struct rules_value rules_map_of_fields(str fields) {
  return (struct rules_value){
      .kind = VALUE_MAP, .flags = RULES_FLAG_WIRE | RULES_FLAG_TOP, .as.bytes = fields};
}
static inline struct rules_value rules_items(enum rules_kind kind, const struct rules_value *items,
                                             size_t count) {
  return (struct rules_value){.kind = (uint8_t)kind, .count = (uint32_t)count, .as.items = items};
}
static inline struct rules_value rules_truth_value(enum rules_truth truth, const struct rules_node *at) {
  return truth == RULES_MAYBE ? (struct rules_value){.kind = VALUE_UNKNOWN, .as.where.at = at}
                              : rules_bool(truth == RULES_TRUE);
}
static inline bool rules_is_number(const struct rules_value *value) {
  return value->kind == VALUE_INT || value->kind == VALUE_FLOAT;
}
static inline bool rules_is_vague(const struct rules_value *value) {
  return value->kind >= VALUE_UNKNOWN || (rules_is_number(value) && (value->flags & RULES_FLAG_LOOSE) != 0);
}
static inline double rules_to_double(const struct rules_value *value) {
  return value->kind == VALUE_INT ? (double)value->as.integer : value->as.number;
}

/* "int", "map_diff": the language's names of types. */
const char *rules_kind_name(enum rules_kind kind);

/* A Value message. Bytes that are none end the evaluation (RULES_ERROR_DAMAGED). */
struct rules_value rules_value_from_wire(struct rules_evaluation *e, str wire, uint8_t flags);

/* The path that a reference is: without its project. */
struct rules_value rules_path_from_reference(struct rules_evaluation *e, str reference);

/* Walks. Lists, sets, paths and vectors; maps. The value must not be changed meanwhile. */
struct rules_cursor {
  struct rules_evaluation *e;
  const struct rules_value *value;
  str rest;
  uint32_t at;
};
struct rules_cursor rules_cursor_make(struct rules_evaluation *e, const struct rules_value *value);
bool rules_cursor_item(struct rules_cursor *cursor, struct rules_value *ret);
/* With `ret` NULL the value is not decoded. */
bool rules_cursor_entry(struct rules_cursor *cursor, str *ret_key, struct rules_value *ret);

/* A member of a map (not an object). False: there is none. */
bool rules_map_find(struct rules_evaluation *e, const struct rules_value *map, str key,
                    struct rules_value *ret);
/* Items or entries. */
size_t rules_count(struct rules_evaluation *e, const struct rules_value *value);
/* A list as items in the arena. */
bool rules_list_items(struct rules_evaluation *e, const struct rules_value *list, struct rules_value *ret);

/* How equal: */
enum rules_equality {
  EQUAL_OPERATOR, /* `==`: 1 is 1.0, but in lists and maps it is not; NaN is not NaN */
  EQUAL_STRICT,   /* `in` and the methods of lists: 1 is not 1.0 */
  EQUAL_SAME,     /* sets and diff(): 1 is 1.0 at any depth, NaN is NaN */
};
/* Never an error. RULES_MAYBE if one of them is not known. */
enum rules_truth rules_equal(struct rules_evaluation *e, const struct rules_value *a,
                             const struct rules_value *b, enum rules_equality how);

/* <0, 0, >0 of two values that `<` compares: numbers, strings, bytes, timestamps, durations. False: it does
 * not compare these. NaN is neither: *ret_unordered. */
bool rules_compare(const struct rules_value *a, const struct rules_value *b, int *ret, bool *ret_unordered);

/* The text of string(value); false: there is none for this type. */
bool rules_to_text(struct rules_evaluation *e, const struct rules_value *value, str *ret);
/* Any value as a developer wants to see it in a log, cut at a few hundred bytes. */
void rules_describe(struct rules_evaluation *e, const struct rules_value *value, struct buf *out,
                    unsigned depth);

/* The size of a string as the language counts it: UTF-16 code units. */
size_t rules_text_units(str text);
/* The path's segments with '/' between and before them. */
str rules_path_text(struct rules_evaluation *e, const struct rules_value *path);
/* A text taken apart at '/'; empty segments are left out. */
struct rules_value rules_path_from_text(struct rules_evaluation *e, str text);

#endif
