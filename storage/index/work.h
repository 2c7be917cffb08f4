/* The kinds of background work, each in bounded steps that build.c puts in order. Internal to this directory.
 *
 * A step gets the catalog that it goes by: one that every commit from now on has too, or a newer one
 * (build.c sees to it). It gives *ret_done when its work is through. Everything belongs to one thread. */
#ifndef SKERRY_STORAGE_INDEX_WORK_H
#define SKERRY_STORAGE_INDEX_WORK_H

#include "storage/index/build.h"
#include "storage/index/set.h"

enum {
  /* One transaction of building takes so much: it runs on the commit thread, where foreground commits wait
   * for it. A millisecond or so. */
  WORK_DOCUMENTS = 64,
  WORK_DOCUMENT_BYTES = 128 * 1024,
  /* Deletions are only keys. */
  WORK_DELETIONS = 512,
  /* Entries or documents that are looked at in one step. */
  WORK_LOOKED_AT = 4096,
  /* Expired documents that are deleted at once. */
  WORK_EXPIRED = 64,
  WORK_ARENA_BYTES = 64 * 1024 * 1024,
};

/* Keys that a step gathered. */
struct work_keys {
  struct arena arena;
  str items[WORK_DELETIONS];
  size_t count;
};

/* walk.c: the walk over all documents that builds what is building. */
struct index_walk {
  struct kv_store *store;
  struct index_set *set;
  bool is_open;
  uint64_t generation; /* of the ledger that it builds */
  bool counting;       /* first the documents are counted, for the progress */
  struct buf position; /* the first key that is not done yet; empty: the beginning */
  uint64_t built, counted, failed;
  bool gave_up; /* documents could not be indexed: not again before the generation is another */
  struct work_keys keys;
};
STATUS_MUST_USE status index_walk_step(struct index_walk *walk, const struct index_catalog *catalog,
                                       bool *ret_done);

/* sweep.c: deletes entries that nothing maintains. */
struct index_sweep {
  struct kv_store *store;
  struct index_set *set;
  struct buf position;
  struct work_keys keys;
};
STATUS_MUST_USE status index_sweep_step(struct index_sweep *sweep, const struct index_catalog *catalog,
                                        bool *ret_done);

/* ttl.c: deletes documents whose time has come. A round goes over all policies and databases once. */
struct index_expiry {
  struct kv_store *store;
  struct index_set *set;
  size_t policy;       /* the next one of the catalog's */
  struct buf database; /* project and database; empty: before the first */
  struct buf position; /* in the index; empty: the beginning of the policy in the database */
  uint64_t deleted;    /* ever */
  struct work_keys keys;
};
STATUS_MUST_USE status index_expiry_step(struct index_expiry *expiry, const struct index_catalog *catalog,
                                         bool *ret_done);

#endif
