/* JSON from outside, by jansson: with a bound on its depth, checked before jansson recurses, and without
 * objects that have a name twice. For this directory and for files that people write; jansson is seen through
 * it where scripts/lint-layers says. */
#ifndef SKERRY_SERVER_TOKENS_JSON_H
#define SKERRY_SERVER_TOKENS_JSON_H

#include <jansson.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

/* The object that `text` is, to be freed with json_decref, or NULL: it is not valid JSON (RFC 8259), not an
 * object, deeper than depth_max objects and arrays in each other, has a name twice in one object, a string or
 * name with U+0000, or a number that neither int64_t nor double holds; or there is no memory. */
json_t *json_object_parse(str text, unsigned depth_max);
/* The same, for files that people write: INVALID_ARGUMENT says the line and column of what is wrong. */
STATUS_MUST_USE status json_object_read(str text, unsigned depth_max, json_t **ret);

/* The string under `name`, borrowed. False if it is missing or not a string; then *ret is empty. */
bool json_object_get_str(const json_t *object, const char *name, str *ret);

#endif
