/* The one codec between google.firestore.v1 on the wire (Document, Value, MapValue, ArrayValue) and trees
 * (value.h). No document passes through protobuf-c: it cuts strings at U+0000, accepts invalid UTF-8, keeps
 * duplicate keys, recurses without a limit and takes up to 72 times a message's size.
 *
 * Decoding what a client sent
 *   Protobuf's own rules: a map key that comes again replaces the value before it; of a oneof the last member
 *   counts, and a message-typed member that comes again directly merges into itself (arrays are appended,
 *   maps united, times and points filled member by member); unknown fields, known ones with another wire
 *   type, groups, and members of a oneof that others replace are skipped without a look into them. Broken
 *   wire bytes are INVALID_ARGUMENT.
 *
 *   Firestore's rules, each INVALID_ARGUMENT with a message that names the field:
 *     - strings, names and references are UTF-8 (U+0000 is a character like others);
 *     - field names: doc_field_name_check (1 to LIMIT_ID_BYTES bytes, not `__.*__`), in maps as well;
 *     - a string or bytes: at most LIMIT_VALUE_BYTES;
 *     - at most LIMIT_VALUE_DEPTH maps and arrays in each other (neither the document's own map nor vectors
 *       count), and no array directly in an array;
 *     - timestamps: years 1 to 9999, nanos 0 to 999,999,999; cut down to microseconds, before 1970 too;
 *     - points: latitude -90 to 90, longitude -180 to 180;
 *     - references: full names of documents (path.h);
 *     - a map with `__type__` is a vector: {"__type__": "__vector__", "value": [doubles]} and nothing else,
 *       of 1 to LIMIT_VECTOR_DIMENSIONS doubles;
 *     - a Value without a member, or with one that exists for queries and pipelines only (field and variable
 *       references, functions, pipelines), is refused.
 *
 *   Every NaN becomes the same NaN. -0.0 stays what it is: it is equal to 0 and sorts with it, but a reader
 *   gets back the sign that was written.
 *
 * The canonical form, in which documents are stored and compared
 *   Document.fields entries (tag 0x12) one after the other, sorted by the bytes of the key and unique, in
 *   them key and value always present; MapValue's entries likewise (tag 0x0A); one member a Value, present
 *   also when it is false, zero or empty; lengths, tags and numbers in the fewest bytes; seconds, nanos,
 *   latitude and longitude left out when zero (all bits). So a Document message is its name, the stored
 *   bytes and its times, concatenated (record.h), and equal bytes mean equal documents.
 *
 * Memory: trees and encodings are in the arena, strings borrow from the wire bytes, which must live as long
 * as the tree. A tree is 40 bytes a map entry and 24 an array item beside its strings: never more than about
 * 7 times the wire bytes (but for messages sent in pieces to be merged, which are put together first). Past
 * the arena's cap everything answers RESOURCE_EXHAUSTED. Nothing recurses; the time is linear in the wire
 * bytes but for the sorting of keys. Any thread. */
#ifndef SKERRY_STORAGE_DOCUMENT_CODEC_H
#define SKERRY_STORAGE_DOCUMENT_CODEC_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "storage/document/value.h"

struct doc_document {
  str name; /* as it was sent, UTF-8 but not parsed; empty if left out */
  struct doc_map fields;
};

/* A Document message from a client. Its create_time and update_time are the server's to set: ignored. Not
 * checked here, since the name may come from elsewhere in the request: the name, and the document's size
 * (doc_document_check). */
STATUS_MUST_USE status doc_decode_document(str wire, struct arena *arena, struct doc_document *ret);

/* What a single Value is for decides what it may be. */
enum doc_use {
  DOC_USE_FIELD,   /* the value of a field */
  DOC_USE_ELEMENT, /* an element of an array (array transforms): not an array */
  DOC_USE_OPERAND, /* in a query: arrays may stand directly in one array (the operand of `in`) */
};

/* A Value message from a client. */
STATUS_MUST_USE status doc_decode_value(str wire, enum doc_use use, struct arena *arena,
                                        struct doc_value *ret);

/* The fields of a stored document (doc_record.fields). What is not in the canonical form's order and limits
 * is DATA_LOSS; the characters of strings are not checked again. */
STATUS_MUST_USE status doc_decode_fields(str stored, struct arena *arena, struct doc_map *ret);

/* The canonical bytes of a document's fields. Fails with RESOURCE_EXHAUSTED only. */
STATUS_MUST_USE status doc_encode_fields(struct doc_map fields, struct arena *arena, str *ret);

/* The canonical bytes of a Value message: what a response holds as a Value. RESOURCE_EXHAUSTED only. */
STATUS_MUST_USE status doc_encode_value(const struct doc_value *value, struct arena *arena, str *ret);

/* ---- Stored fields without decoding all of them ---- */

/* Takes the next field of canonical bytes: its name and the Value message, borrowed. False at the end and,
 * with *ret_damaged true, where the bytes are not canonical. Start with *rest = the stored fields. */
bool doc_fields_next(str *rest, str *ret_name, str *ret_value, bool *ret_damaged);

/* A Value that doc_fields_next gave. DATA_LOSS, RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status doc_decode_stored_value(str value, struct arena *arena, struct doc_value *ret);

/* Decodes only the top-level fields whose names are in `names` (sorted, unique) from canonical bytes, in one
 * pass: a map with those that exist. DATA_LOSS, RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status doc_decode_some_fields(str stored, const str *names, size_t count, struct arena *arena,
                                              struct doc_map *ret);

#endif
