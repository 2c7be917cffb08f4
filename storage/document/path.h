/* Resource names: projects/{project}/databases/{database}/documents[/{collection}/{document}...].
 *
 * A parsed path borrows from the name that it was parsed from; parsing copies nothing and needs no memory.
 * What is checked is the whole of the documented limits: ids of 1 to LIMIT_ID_BYTES bytes of UTF-8 without
 * '/', not "." or "..", not `__.*__` (a document may be called `__id[0-9]+__`, a numeric id, or
 * DOC_ID_LOWEST), LIMIT_PATH_DEPTH collections, LIMIT_NAME_BYTES for the name. Everything that does not hold
 * is INVALID_ARGUMENT with a message that names the part which is wrong. How a path becomes a key of the
 * store: key.h. Any thread. */
#ifndef SKERRY_STORAGE_DOCUMENT_PATH_H
#define SKERRY_STORAGE_DOCUMENT_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

struct doc_path {
  str name; /* the whole of it */
  str project, database;
  str relative; /* what follows "documents/": "rooms/a/messages/1"; empty for the root */
  /* Of `relative`. 0: the root of the database; odd: a collection; even: a document. */
  size_t segment_count;
};

/* The longest project and database id. Databases: the documented limit. Projects: room for ids with a domain
 * ("example.com:shop"). */
enum { DOC_PROJECT_ID_BYTES = 128, DOC_DATABASE_ID_BYTES = 63 };

/* Any of the three: the root, a collection, a document. */
STATUS_MUST_USE status doc_path_parse(str name, struct doc_path *ret);
/* A document only. */
STATUS_MUST_USE status doc_path_parse_document(str name, struct doc_path *ret);
/* What a request calls `parent`: the root or a document. */
STATUS_MUST_USE status doc_path_parse_parent(str name, struct doc_path *ret);
/* "projects/p/databases/d" alone: what a request calls `database`. The same as its root, but for `name`. */
STATUS_MUST_USE status doc_path_parse_database(str name, struct doc_path *ret);

static inline bool doc_path_is_document(const struct doc_path *path) {
  return path->segment_count > 0 && path->segment_count % 2 == 0;
}
static inline bool doc_path_is_collection(const struct doc_path *path) {
  return path->segment_count % 2 == 1;
}

/* The last segment: a document's or collection's own id. Empty for the root. */
str doc_path_id(const struct doc_path *path);
/* The id of the collection that holds a document (its collection group). Empty for anything but a document.
 */
str doc_path_collection_id(const struct doc_path *path);
/* One segment up: a document's collection, a collection's document or root. Not of the root (asserted). */
struct doc_path doc_path_parent(const struct doc_path *path);
/* Whether two paths lie in the same project and database. */
bool doc_path_same_database(const struct doc_path *a, const struct doc_path *b);

/* The collection `collection_id` under the root or a document (asserted) and, unless document_id is empty,
 * the document in it. The ids come from a request and are checked. The new name is in the arena
 * (RESOURCE_EXHAUSTED past its cap). An empty document id that came from a request is not "none": check it
 * with doc_document_id_check before. */
STATUS_MUST_USE status doc_path_child(const struct doc_path *parent, str collection_id, str document_id,
                                      struct arena *arena, struct doc_path *ret);

/* The rules for one id, as in the opening comment. */
STATUS_MUST_USE status doc_collection_id_check(str id);
STATUS_MUST_USE status doc_document_id_check(str id);

/* A numeric id, `__id[0-9]+__`: what it says as a number. Digits borrow from the id. */
struct doc_id_number {
  str digits;   /* without leading zeros; none for zero */
  size_t zeros; /* leading zeros: `__id7__` and `__id007__` are two ids */
};
/* The lowest id that there is. SDKs begin ranges of names with it (recursiveDelete), and it is the only
 * negative number; as a doc_id_number it has neither digits nor zeros. */
#define DOC_ID_LOWEST STR("__id-9223372036854775808__")
/* False if the id is not a numeric one. */
bool doc_id_number(str id, struct doc_id_number *ret);
/* Firestore's order of ids: numeric ones first, by number (of equal numbers the one with fewer leading zeros
 * first), then the others by their bytes. <0, 0, >0. */
int doc_id_compare(str a, str b);
/* Firestore's order of __name__: project, database, then segment by segment; a path comes before what lies
 * below it. The byte order of keys is the same. */
int doc_path_compare(const struct doc_path *a, const struct doc_path *b);

#endif
