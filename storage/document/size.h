/* The documented storage size of values and documents, by which they are limited.
 * https://firebase.google.com/docs/firestore/storage-size
 *
 *   text             its UTF-8 bytes + 1 (strings, field names, collection and document ids)
 *   document name    its ids as text + 16; a reference is the size of the name that it holds
 *   null, boolean    1
 *   integer, double, timestamp   8
 *   point            16
 *   bytes            their count
 *   array            its items
 *   map              its names and values + 32
 *   vector           8 a dimension
 *   document         its name, the names and values of its fields + 32
 *
 * Nothing allocates or recurses. Any thread. */
#ifndef SKERRY_STORAGE_DOCUMENT_SIZE_H
#define SKERRY_STORAGE_DOCUMENT_SIZE_H

#include <stddef.h>

#include "base/limits.h"
#include "base/status.h"
#include "base/str.h"
#include "storage/document/value.h"

/* Settings of a database. */
struct doc_limits {
  size_t document_bytes;
};
#define DOC_LIMITS_DEFAULT ((struct doc_limits){.document_bytes = LIMIT_DOCUMENT_BYTES})

/* `name` is a document's full resource name (its ids after "documents/" count). */
size_t doc_name_size(str name);
size_t doc_value_size(const struct doc_value *value);
size_t doc_document_size(str name, struct doc_map fields);

/* What holds for a document as a whole and so can be broken by its merging with another or by transforms,
 * not by decoding alone: its size and its nesting. To be called on what is about to be stored.
 * INVALID_ARGUMENT. */
STATUS_MUST_USE status doc_document_check(str name, struct doc_map fields, const struct doc_limits *limits);

#endif
