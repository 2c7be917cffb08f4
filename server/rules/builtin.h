/* The functions and methods of the language: names, and how many arguments they take. What they do:
 * methods_*.c. */
#ifndef SKERRY_SERVER_RULES_BUILTIN_H
#define SKERRY_SERVER_RULES_BUILTIN_H

#include "server/rules/program.h"

/* id, name of the method or function, namespace ("" for a method, "*" for a function without one), least and
 * most arguments. Methods of the same name on different types are one. */
#define RULES_BUILTINS(X)                                                                                    \
  X(METHOD_SIZE, "size", "", 0, 0)                                                                           \
  X(METHOD_MATCHES, "matches", "", 1, 1)                                                                     \
  X(METHOD_SPLIT, "split", "", 1, 1)                                                                         \
  X(METHOD_REPLACE, "replace", "", 2, 2)                                                                     \
  X(METHOD_LOWER, "lower", "", 0, 0)                                                                         \
  X(METHOD_UPPER, "upper", "", 0, 0)                                                                         \
  X(METHOD_TRIM, "trim", "", 0, 0)                                                                           \
  X(METHOD_TO_UTF8, "toUtf8", "", 0, 0)                                                                      \
  X(METHOD_TO_HEX, "toHexString", "", 0, 0)                                                                  \
  X(METHOD_TO_BASE64, "toBase64", "", 0, 0)                                                                  \
  X(METHOD_CONCAT, "concat", "", 1, 1)                                                                       \
  X(METHOD_HAS_ALL, "hasAll", "", 1, 1)                                                                      \
  X(METHOD_HAS_ANY, "hasAny", "", 1, 1)                                                                      \
  X(METHOD_HAS_ONLY, "hasOnly", "", 1, 1)                                                                    \
  X(METHOD_JOIN, "join", "", 1, 1)                                                                           \
  X(METHOD_REMOVE_ALL, "removeAll", "", 1, 1)                                                                \
  X(METHOD_TO_SET, "toSet", "", 0, 0)                                                                        \
  X(METHOD_DIFFERENCE, "difference", "", 1, 1)                                                               \
  X(METHOD_INTERSECTION, "intersection", "", 1, 1)                                                           \
  X(METHOD_UNION, "union", "", 1, 1)                                                                         \
  X(METHOD_GET, "get", "", 2, 2)                                                                             \
  X(METHOD_KEYS, "keys", "", 0, 0)                                                                           \
  X(METHOD_VALUES, "values", "", 0, 0)                                                                       \
  X(METHOD_DIFF, "diff", "", 1, 1)                                                                           \
  X(METHOD_ADDED_KEYS, "addedKeys", "", 0, 0)                                                                \
  X(METHOD_REMOVED_KEYS, "removedKeys", "", 0, 0)                                                            \
  X(METHOD_CHANGED_KEYS, "changedKeys", "", 0, 0)                                                            \
  X(METHOD_UNCHANGED_KEYS, "unchangedKeys", "", 0, 0)                                                        \
  X(METHOD_AFFECTED_KEYS, "affectedKeys", "", 0, 0)                                                          \
  X(METHOD_BIND, "bind", "", 1, 1)                                                                           \
  X(METHOD_DATE, "date", "", 0, 0)                                                                           \
  X(METHOD_TIME, "time", "", 0, 0)                                                                           \
  X(METHOD_YEAR, "year", "", 0, 0)                                                                           \
  X(METHOD_MONTH, "month", "", 0, 0)                                                                         \
  X(METHOD_DAY, "day", "", 0, 0)                                                                             \
  X(METHOD_DAY_OF_WEEK, "dayOfWeek", "", 0, 0)                                                               \
  X(METHOD_DAY_OF_YEAR, "dayOfYear", "", 0, 0)                                                               \
  X(METHOD_HOURS, "hours", "", 0, 0)                                                                         \
  X(METHOD_MINUTES, "minutes", "", 0, 0)                                                                     \
  X(METHOD_SECONDS, "seconds", "", 0, 0)                                                                     \
  X(METHOD_NANOS, "nanos", "", 0, 0)                                                                         \
  X(METHOD_TO_MILLIS, "toMillis", "", 0, 0)                                                                  \
  X(METHOD_LATITUDE, "latitude", "", 0, 0)                                                                   \
  X(METHOD_LONGITUDE, "longitude", "", 0, 0)                                                                 \
  X(METHOD_DISTANCE, "distance", "", 1, 1)                                                                   \
  X(FUNCTION_GET, "get", "*", 1, 1)                                                                          \
  X(FUNCTION_EXISTS, "exists", "*", 1, 1)                                                                    \
  X(FUNCTION_GET_AFTER, "getAfter", "*", 1, 1)                                                               \
  X(FUNCTION_EXISTS_AFTER, "existsAfter", "*", 1, 1)                                                         \
  X(FUNCTION_DEBUG, "debug", "*", 1, 1)                                                                      \
  X(FUNCTION_INT, "int", "*", 1, 1)                                                                          \
  X(FUNCTION_FLOAT, "float", "*", 1, 1)                                                                      \
  X(FUNCTION_STRING, "string", "*", 1, 1)                                                                    \
  X(FUNCTION_BOOL, "bool", "*", 1, 1)                                                                        \
  X(FUNCTION_PATH, "path", "*", 1, 1)                                                                        \
  X(FIRESTORE_GET, "get", "firestore", 1, 1)                                                                 \
  X(FIRESTORE_EXISTS, "exists", "firestore", 1, 1)                                                           \
  X(MATH_ABS, "abs", "math", 1, 1)                                                                           \
  X(MATH_CEIL, "ceil", "math", 1, 1)                                                                         \
  X(MATH_FLOOR, "floor", "math", 1, 1)                                                                       \
  X(MATH_ROUND, "round", "math", 1, 1)                                                                       \
  X(MATH_SQRT, "sqrt", "math", 1, 1)                                                                         \
  X(MATH_POW, "pow", "math", 2, 2)                                                                           \
  X(MATH_IS_NAN, "isNaN", "math", 1, 1)                                                                      \
  X(MATH_IS_INFINITY, "isInfinity", "math", 1, 1)                                                            \
  X(TIMESTAMP_DATE, "date", "timestamp", 3, 3)                                                               \
  X(TIMESTAMP_VALUE, "value", "timestamp", 1, 1)                                                             \
  X(DURATION_ABS, "abs", "duration", 1, 1)                                                                   \
  X(DURATION_TIME, "time", "duration", 4, 4)                                                                 \
  X(DURATION_VALUE, "value", "duration", 2, 2)                                                               \
  X(LATLNG_VALUE, "value", "latlng", 2, 2)                                                                   \
  X(HASHING_CRC32, "crc32", "hashing", 1, 1)                                                                 \
  X(HASHING_CRC32C, "crc32c", "hashing", 1, 1)                                                               \
  X(HASHING_MD5, "md5", "hashing", 1, 1)                                                                     \
  X(HASHING_SHA256, "sha256", "hashing", 1, 1)

enum rules_builtin {
#define X(id, name, space, least, most) id,
  RULES_BUILTINS(X)
#undef X
      RULES_BUILTIN_COUNT
};

struct rules_builtin_info {
  const char *name, *space;
  uint8_t least, most;
};
const struct rules_builtin_info *rules_builtin_info(enum rules_builtin id);

/* RULES_BUILTIN_COUNT if there is none. `space` as above. */
enum rules_builtin rules_builtin_find(str space, str name);
bool rules_builtin_is_space(str name);

#endif
