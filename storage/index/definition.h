/* Index definitions as the Firebase command line writes them: firestore.indexes.json.
 *
 *   { "indexes": [ { "collectionGroup": "orders", "queryScope": "COLLECTION" | "COLLECTION_GROUP",
 *                    "fields": [ { "fieldPath": "customer", "order": "ASCENDING" | "DESCENDING" }
 *                              | { "fieldPath": "tags", "arrayConfig": "CONTAINS" }
 *                              | { "fieldPath": "embedding", "vectorConfig": { "dimension": 768, "flat": {} }
 * } ] } ], "fieldOverrides": [ { "collectionGroup": "orders", "fieldPath": "notes" | "*", "ttl": false,
 *                           "indexes": [ { "queryScope": "COLLECTION", "order": "ASCENDING" },
 *                                        { "queryScope": "COLLECTION_GROUP", "arrayConfig": "CONTAINS" } ] }
 * ] }
 *
 * https://firebase.google.com/docs/reference/firestore/indexes. "density" and the like are accepted and say
 * nothing here. An order in either direction serves both. A vector field makes nothing on disk: find_nearest
 * reads what the rest of the index leaves. Any thread. */
#ifndef SKERRY_STORAGE_INDEX_DEFINITION_H
#define SKERRY_STORAGE_INDEX_DEFINITION_H

#include "base/arena.h"
#include "base/status.h"
#include "storage/document/field_path.h"
#include "storage/index/entry.h"

struct index_composite_definition {
  str collection_id;
  bool group;
  const struct index_column *columns; /* without vector fields and without __name__ */
  size_t column_count;
  enum doc_order name_order;           /* as given, or that of the last column */
  const struct doc_field_path *vector; /* or NULL */
  uint32_t vector_dimension;           /* as given; it says nothing here */
};

struct index_override {
  str collection_id;
  struct doc_field_path field; /* count 0: "*", every field that has no override of its own */
  unsigned has;                /* INDEX_HAS_... (catalog.h) */
  bool inherits;               /* the file gives a TTL policy alone: indexed as without an override */
  bool ttl;
};

struct index_definitions {
  const struct index_composite_definition *composites;
  size_t composite_count;
  const struct index_override *overrides;
  size_t override_count;
};

/* INVALID_ARGUMENT with the place in the file for everything that is not as above, for more than
 * LIMIT_INDEX_COLUMNS columns, more than LIMIT_COMPOSITE_INDEXES indexes, two arrays in one index, a field
 * twice, two TTL fields of one collection group. The result is in the arena. */
STATUS_MUST_USE status index_definitions_parse(str json, struct arena *arena, struct index_definitions *ret);

/* Whether two definitions mean the same index. */
bool index_composite_definition_equal(const struct index_composite_definition *a,
                                      const struct index_composite_definition *b);

/* The same back as JSON, in a canonical form: what is stored, and what `skerry index list --json` prints. */
STATUS_MUST_USE status index_definitions_format(const struct index_definitions *definitions, struct buf *out);

#endif
