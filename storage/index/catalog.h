/* Which indexes there are.
 *
 * Every field of every document is indexed by itself, in the scope of its collection: its value, and, if it
 * is an array, each element (entry.h: INDEX_FIELD); maps are indexed as a value and field by field. Every
 * document is in the index of names of its collection group. On top of that come definitions, as the Firebase
 * command line's firestore.indexes.json has them: composite indexes, and overrides for single fields (indexed
 * for collection groups as well, only in some ways, or not at all; or a TTL policy). Definitions hold for all
 * databases of a store.
 *
 * An index that is new on existing data is built in the background (build.h). From the moment it is in the
 * catalog every commit maintains it; queries use it from its ready_version on (a snapshot from before that
 * does not have it whole). A definition that goes away is no longer used or maintained at once, and its
 * entries are deleted in the background.
 *
 * An `index_catalog` is one state of all that, never changed, shared by reference count. An `index_set` holds
 * the current one for a store and makes new ones. Any thread.
 *
 * Order matters for readers: first the snapshot, then the catalog. The entries of an index that a catalog has
 * are deleted only after it is no longer the current one, so at versions that such a snapshot does not see.
 * Commits take the catalog in `resolve` (derive.h). A read-write transaction that has read through
 * indexes has INDEX_LEDGER_KEY of KV_SYSTEM in its read set: it then does not commit past the dropping of an
 * index that it relied on. */
#ifndef SKERRY_STORAGE_INDEX_CATALOG_H
#define SKERRY_STORAGE_INDEX_CATALOG_H

#include "storage/index/definition.h"
#include "storage/index/entry.h"
#include "storage/kv.h"

enum index_state { INDEX_BUILDING, INDEX_READY };

/* A composite index. */
struct index_composite {
  struct index_shape shape;
  str collection_id;
  enum index_state state;
  kv_version ready_version; /* INDEX_READY: snapshots from it on see the index whole */
  uint64_t built, to_build; /* documents, roughly; for progress */
  str text;                 /* "orders COLLECTION customer ASC, time DESC": for people */
};

struct index_catalog;

struct index_catalog *index_catalog_ref(struct index_catalog *catalog);
void index_catalog_unref(struct index_catalog *catalog); /* NULL is allowed */
/* A catalog without definitions in which the automatic indexes are ready since version 0: for tests and for
 * naive uses. NULL without memory. */
struct index_catalog *index_catalog_default(void);

/* All composite indexes on a collection id, in the order of their numbers. *ret is valid as long as the
 * catalog. */
size_t index_catalog_composites(const struct index_catalog *catalog, str collection_id,
                                const struct index_composite *const **ret);

/* How a single field of a collection group is indexed. */
enum {
  INDEX_HAS_VALUES = 1,         /* INDEX_FIELD, mode 'v' */
  INDEX_HAS_ELEMENTS = 2,       /* INDEX_FIELD, mode 'e' */
  INDEX_HAS_GROUP_VALUES = 4,   /* INDEX_GROUP_FIELD, mode 'v' */
  INDEX_HAS_GROUP_ELEMENTS = 8, /* INDEX_GROUP_FIELD, mode 'e' */
};
/* What commits maintain. */
unsigned index_catalog_field_maintained(const struct index_catalog *catalog, str collection_id,
                                        const struct doc_field_path *field);
/* What a query at `version` may use: maintained, and complete since before it. */
unsigned index_catalog_field_usable(const struct index_catalog *catalog, str collection_id,
                                    const struct doc_field_path *field, kv_version version);
/* Whether the index of names of collection groups may be used at `version` (it is an automatic one). */
bool index_catalog_names_usable(const struct index_catalog *catalog, kv_version version);

/* The field of a TTL policy of a collection group, or NULL. TTL implies INDEX_HAS_GROUP_VALUES for it. */
const struct doc_field_path *index_catalog_ttl(const struct index_catalog *catalog, str collection_id);
/* All TTL policies. */
struct index_ttl {
  str collection_id;
  struct doc_field_path field;
};
size_t index_catalog_ttls(const struct index_catalog *catalog, const struct index_ttl **ret);

/* ---- The indexes of a store ---- */

struct index_set;

#define INDEX_LEDGER_KEY STR("index/ledger") /* in KV_SYSTEM: changes with every change of the catalog */

/* Reads the definitions and states from KV_SYSTEM. Where the store has documents but no automatic indexes of
 * INDEX_FORMAT (it is older), they are marked as building. Blocks; at start only. */
STATUS_MUST_USE status index_set_open(struct kv_store *store, struct index_set **ret);
void index_set_close(struct index_set *set); /* NULL is allowed */

/* The current catalog, with a reference for the caller. On the commit thread and for each query: cheap. */
struct index_catalog *index_set_current(struct index_set *set);

/* The catalog as a store has it, without changing anything: for tools on a store that is open for reading
 * only. A store of before indexes gives one in which all is building. */
STATUS_MUST_USE status index_catalog_load(struct kv_store *store, struct index_catalog **ret);

/* Makes the definitions those given: what is not in them any more is dropped, what is new begins to be built.
 * `definitions` are copied. Durable when it returns. Blocks for a commit. */
STATUS_MUST_USE status index_set_apply(struct index_set *set, const struct index_definitions *definitions);

/* The definitions as they stand, in the form of index_definitions_format. */
STATUS_MUST_USE status index_set_format(struct index_set *set, struct buf *out);

/* What there is and how far it is, for people. */
enum index_progress { INDEX_IS_READY, INDEX_IS_BUILDING, INDEX_IS_WAITING, INDEX_IS_DROPPING };
struct index_info {
  enum index_progress progress;
  str text; /* "orders COLLECTION customer ASC, time DESC", "logs field until: values; TTL" */
};
struct index_work_info {
  bool building, sweeping;
  uint64_t documents_built, documents_to_build; /* of the walk that is under way */
};
const char *index_progress_text(enum index_progress progress); /* "ready" */
/* The automatic indexes, then each composite index, then each override. The text lives until visit returns.
 * RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status index_set_visit(struct index_set *set,
                                       void (*visit)(void *argument, const struct index_info *info),
                                       void *argument, struct index_work_info *ret);

/* One line for each index and override with its state and progress, for `skerry index list`. */
STATUS_MUST_USE status index_set_describe(struct index_set *set, struct buf *out);

#endif
