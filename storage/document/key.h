/* Keys of the space KV_DOCUMENTS: paths as bytes that sort as Firestore sorts __name__.
 *
 *   key     = segment(project) segment(database) segment(collection) segment(document) ...
 *   segment = 0x02 number 0x00 0x01      a numeric id, `__id[0-9]+__`
 *           | 0x03 text 0x00 0x01        any other id; a byte 0x00 in it is written 0x00 0xFF
 *   number  = count of digits without leading zeros (2 bytes, big-endian), those digits in ASCII,
 *             count of leading zeros (2 bytes); both counts zero: DOC_ID_LOWEST
 *
 * It is a format on disk, part of the store's format number. What follows from it:
 *   - no segment is the beginning of another, so a key is the beginning of exactly the keys below it:
 *     a document comes first, its descendants follow it directly, then its next sibling. What lies below a
 *     document or a collection is one range;
 *   - the end of that range is the key with its last byte, 0x01, made 0x02;
 *   - a key is never longer than KV_KEY_MAX_BYTES: at most 3 bytes for each of the 200 + 2 segments and two
 * for each byte of a name of 6 KiB, 12,894 bytes (asserted at compile time, reached in the test).
 *
 * Functions that take a key from the store answer DATA_LOSS if it is not a key that doc_key_from_path makes.
 * Functions that make one fail only when the arena is at its cap (RESOURCE_EXHAUSTED). Any thread. */
#ifndef SKERRY_STORAGE_DOCUMENT_KEY_H
#define SKERRY_STORAGE_DOCUMENT_KEY_H

#include <stddef.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "storage/document/path.h"

/* lower <= key < upper, as kv_iter_open takes them. */
struct doc_key_range {
  str lower, upper;
};

/* The key of a document; of a collection or the root, the beginning of all keys below it (no value is stored
 * there). */
STATUS_MUST_USE status doc_key_from_path(const struct doc_path *path, struct arena *arena, str *ret);

/* The path of a document's key, or of a beginning that doc_key_ancestor gave; its name is in the arena. */
STATUS_MUST_USE status doc_key_to_path(str key, struct arena *arena, struct doc_path *ret);

/* Segments after project and database: 2 for "rooms/a". */
STATUS_MUST_USE status doc_key_segment_count(str key, size_t *ret);

/* The beginning of `key` that has segment_count segments after project and database (at most as many as it
 * has, DATA_LOSS if not): the ancestor's key, borrowed from `key`. */
STATUS_MUST_USE status doc_key_ancestor(str key, size_t segment_count, str *ret);

/* The smallest key after `key` and everything below it. For a scan that wants siblings only, and for going on
 * after the last document of a page. */
STATUS_MUST_USE status doc_key_skip_descendants(str key, struct arena *arena, str *ret);

/* Everything in the database of `path`. */
STATUS_MUST_USE status doc_key_database_range(const struct doc_path *path, struct arena *arena,
                                              struct doc_key_range *ret);
/* Everything below `path`, without the document itself. */
STATUS_MUST_USE status doc_key_descendants_range(const struct doc_path *path, struct arena *arena,
                                                 struct doc_key_range *ret);
/* The documents of the collection `collection_id` under the root or a document, and all below them. The id
 * was checked. */
STATUS_MUST_USE status doc_key_children_range(const struct doc_path *parent, str collection_id,
                                              struct arena *arena, struct doc_key_range *ret);

/* ---- Parts of keys, for those that put keys together (storage/index) ---- */

/* Append to `out` (out of memory: out->failed): one segment; project and database; the segments after them.
 */
void doc_key_put_segment(str id, struct buf *out);
void doc_key_put_database(const struct doc_path *path, struct buf *out);
void doc_key_put_relative(const struct doc_path *path, struct buf *out);
/* Takes one segment off the front of *rest and gives its bytes. False if there is none. */
bool doc_key_take_segment(str *rest, str *ret);

/* Appends to a name what the segments in `rest` say, a '/' before each. False if they are no segments. */
bool doc_key_append_names(str rest, struct buf *out);

/* How the list calls scan, forwards, with n = parent->segment_count:
 *
 *   ListDocuments: over doc_key_children_range(parent, id). A key of n + 2 segments is a document of the
 *     collection: give it, and seek to doc_key_skip_descendants of it. A key of more segments belongs to a
 *     document that does not exist: doc_key_ancestor(key, n + 2) is its key. With show_missing give that
 *     name (doc_key_to_path); seek to doc_key_skip_descendants of the ancestor.
 *   ListCollectionIds: over doc_key_descendants_range(parent). doc_key_ancestor(key, n + 1) is the
 * collection; doc_path_id of its doc_key_to_path is the id; seek to doc_key_skip_descendants of it. Backwards
 * a document comes after its descendants: take the ancestor of n + 2 segments, seek to it; if the scan then
 * stands on another key, it does not exist. */

#endif
