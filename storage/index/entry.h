/* Entries of the space KV_INDEX: their keys, and which of them a document has.
 *
 *   key = kind, database, place, columns, document
 *
 *   INDEX_FIELD        0x01 db  collection 0x00  field mode  value            id
 *   INDEX_GROUP_FIELD  0x02 db  group            field mode  value            path
 *   INDEX_COMPOSITE    0x03 number(4, big-endian) db  [collection 0x00]  value...   id, or path for a group's
 *   INDEX_GROUP_NAMES  0x04 db  group                                         path
 *
 *   db, collection, group, id, path   segments as in storage/document/key.h: project and database; the whole
 *                                     path of a collection; a collection's id; the document's own id; all
 *                                     segments of its path after the database
 *   field    each name of the field path as a text of value_order.h (0x00 as 0x00 0xFF, then 0x00 0x01), 0x00
 *   mode     'v' the field's value; 'e' one element of the array that it holds, each different one once
 *   value    storage/document/value_order.h, ascending in INDEX_FIELD and INDEX_GROUP_FIELD (a scan backwards
 *            gives the other direction, names included), each in its own direction in INDEX_COMPOSITE; there
 *            the document too has a direction, that of the last column unless the definition names another:
 *            descending, its bytes and one 0x00 after them are inverted (without that end, a document
 *            would come before those below it in this direction too)
 *
 * So what a query with equalities asks for is one range, in the order of documents; a document's key in
 * KV_DOCUMENTS is the beginning that the scan knows (the collection's key, or the database's) and the entry's
 * end; and scopes do not mix: a collection's scan never sees another collection with the same id.
 *
 *   value of an entry = empty, or one byte for each column: INDEX_TRUNCATED, INDEX_INTEGER
 *
 * It is a format on disk, with the number INDEX_FORMAT: when that changes, indexes are built again. */
#ifndef SKERRY_STORAGE_INDEX_ENTRY_H
#define SKERRY_STORAGE_INDEX_ENTRY_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "storage/document/field_path.h"
#include "storage/document/path.h"
#include "storage/document/value_order.h"
#include "storage/kv.h"

enum { INDEX_FORMAT = 1 };

enum index_kind { INDEX_FIELD = 1, INDEX_GROUP_FIELD = 2, INDEX_COMPOSITE = 3, INDEX_GROUP_NAMES = 4 };

struct index_column {
  struct doc_field_path field;
  enum doc_order order;
  bool elements; /* of the array in the field, one entry each (array-contains) */
};

/* One physical index, as entries are laid out in it. */
struct index_shape {
  enum index_kind kind;
  bool group;      /* over all collections with one id; false: each collection by itself */
  uint32_t number; /* INDEX_COMPOSITE */
  const struct index_column *columns;
  size_t column_count; /* INDEX_FIELD, INDEX_GROUP_FIELD: 1, ascending; INDEX_GROUP_NAMES: 0 */
  enum doc_order name_order;
};

/* Flags of a column in an entry's value. */
enum {
  INDEX_TRUNCATED = 1, /* only the beginning of the value is in the key: ask the document */
  INDEX_INTEGER = 2,   /* the number is an integer_value (its key is that of an equal double) */
};
static inline unsigned index_entry_flags(str entry_value, size_t column) {
  return column < entry_value.len ? (unsigned char)entry_value.ptr[column] : 0;
}

/* Appends what all entries of a shape in one place begin with: up to where the columns' values begin. `where`
 * is the collection for a shape that is not a group's; for a group's it is the database (its root path), and
 * group_id the collection id. Out of memory: out->failed. */
void index_prefix(const struct index_shape *shape, const struct doc_path *where, str group_id,
                  struct buf *out);

/* Appends the end of an entry's key: the document, in the shape's direction. */
void index_put_document(const struct index_shape *shape, const struct doc_path *document, struct buf *out);

/* Takes an entry apart: `tail` is its key without the prefix. ret_values[0, column_count) are the encoded
 * values and *ret_document the end, both borrowed from `tail` and as they stand there (inverted if
 * descending). DATA_LOSS if it does not have that form; what the document's bytes say is not looked at. */
STATUS_MUST_USE status index_entry_split(const struct index_shape *shape, str tail, str *ret_values,
                                         str *ret_document);

/* Makes the key in KV_DOCUMENTS from the end of an entry: appends it to `out`, in which `where`'s key (the
 * collection's, or the database's for a group) already stands. */
void index_document_key(const struct index_shape *shape, str document, struct buf *out);

/* ---- Which entries a document has ---- */

struct index_catalog; /* catalog.h */

/* Writes the difference that a change of a document makes to its entries: what it had and has no longer is
 * deleted, what it has new is put, what stays is not touched. `old_fields` and `new_fields` are canonical
 * (storage/document/codec.h), NULL where the document did not or does not exist. Only fields whose bytes
 * differ are decoded, and those that a changed composite entry needs. A field whose path is longer than a
 * query may name (LIMIT_ID_BYTES) is in no index. To be called inside `resolve`; scratch memory counts
 * against the arena's budget and is given back at the end. INVALID_ARGUMENT, before anything is written or in
 * the middle: the document would have more than LIMIT_INDEX_ENTRIES entries, more than
 * LIMIT_INDEX_ENTRIES_BYTES of keys in all, or one of more than LIMIT_INDEX_ENTRY_BYTES, which is the
 * documented sum: its name, its values as they are indexed, and 32. That limit concerns composite indexes
 * alone; the longest key is longer. DATA_LOSS: stored fields are broken. */
STATUS_MUST_USE status index_update(const struct index_catalog *catalog, const struct doc_path *document,
                                    const str *old_fields, const str *new_fields, struct arena *arena,
                                    struct kv_batch *batch);

/* Visits every entry that a document has under a catalog (for building, and for verify). `only` (may be
 * NULL): entries of that composite index alone. The strings live until visit returns; its failure ends the
 * visit and is returned. INVALID_ARGUMENT for an entry that index_update would refuse. */
STATUS_MUST_USE status index_visit(const struct index_catalog *catalog, const struct index_shape *only,
                                   const struct doc_path *document, str fields, struct arena *arena,
                                   status (*visit)(void *argument, str key, str value), void *argument);

#endif
