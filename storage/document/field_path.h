/* Field paths: "address.city", "`a.b`.c". Segments are simple, [A-Za-z_][A-Za-z0-9_]*, or stand in back
 * quotes, in which \` is a back quote and \\ a backslash; dots separate them.
 * (google/firestore/v1/document.proto, Document.fields.) Any thread. */
#ifndef SKERRY_STORAGE_DOCUMENT_FIELD_PATH_H
#define SKERRY_STORAGE_DOCUMENT_FIELD_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

/* The names of fields, from the outermost map inwards, without quotes and escapes. At least one. */
struct doc_field_path {
  const str *segments;
  size_t count;
};

/* Reads a path. INVALID_ARGUMENT for: no text, an empty segment, a bad character or quote, invalid UTF-8, a
 * segment `__.*__` (`__name__` too: ask doc_field_path_is_name before where the document's name is meant),
 * more than LIMIT_ID_BYTES bytes (segments without quotes and escapes, and a dot between them). The array of
 * segments is in the arena (RESOURCE_EXHAUSTED past its cap); segments borrow from `text` or, if they held
 * escapes, from the arena. */
STATUS_MUST_USE status doc_field_path_parse(str text, struct arena *arena, struct doc_field_path *ret);

/* Whether `text` is `__name__`, quoted or not: the document's name where a request allows it as a field. */
bool doc_field_path_is_name(str text);

/* The rules for the name of one field of a map in a document: 1 to LIMIT_ID_BYTES bytes of UTF-8, not
 * `__.*__`. */
STATUS_MUST_USE status doc_field_name_check(str name);

/* The one canonical text: quotes only where they are needed. {NULL, 0} if the arena is at its cap. */
str doc_field_path_format(const struct doc_field_path *path, struct arena *arena);

/* Segment by segment by their bytes; a path comes before what it is the beginning of. <0, 0, >0. */
int doc_field_path_compare(const struct doc_field_path *a, const struct doc_field_path *b);

/* Whether `prefix` is `path` or an ancestor of it. */
bool doc_field_path_has_prefix(const struct doc_field_path *path, const struct doc_field_path *prefix);

#endif
