/* Whose an entry is, read from its key alone: the other direction of index_prefix, for what walks over all
 * entries (the sweep of dropped indexes, TTL, verify). Internal to this directory. */
#ifndef SKERRY_STORAGE_INDEX_ENTRY_PLACE_H
#define SKERRY_STORAGE_INDEX_ENTRY_PLACE_H

#include "storage/index/catalog_internal.h"

struct index_place {
  struct index_shape shape; /* of INDEX_COMPOSITE the catalog's, or only kind and number if it is not in it */
  struct index_column column; /* what shape.columns is, of single fields */
  bool is_known;              /* false: a composite index that the catalog does not have */
  str prefix;                 /* the key up to where the values begin; borrowed, like the next two */
  str database;               /* project and database, as in keys of documents */
  str collection; /* the collection's key in KV_DOCUMENTS (of single fields of a group: as if at the root) */
  str collection_id; /* of single fields; in the arena */
};

/* DATA_LOSS if it is no entry's key; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status index_place_parse(str key, const struct index_catalog *catalog, struct arena *arena,
                                         struct index_place *ret);

/* What INDEX_HAS_... a single field's entry is one of. */
unsigned index_place_has(const struct index_place *place);

/* Whether commits maintain what the place belongs to. */
bool index_place_is_maintained(const struct index_place *place, const struct index_catalog *catalog);

/* Sets `out` to the key in KV_DOCUMENTS of the document of an entry in that place. DATA_LOSS. */
STATUS_MUST_USE status index_place_document_key(const struct index_place *place, str key, struct buf *out);

/* Sets `out` to the first key after all that begin with `prefix`; empty if there is none. */
void index_prefix_end(str prefix, struct buf *out);

#endif
