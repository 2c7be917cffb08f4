/* The set of a store, for those in this directory who move it on: build.c and its parts. */
#ifndef SKERRY_STORAGE_INDEX_SET_H
#define SKERRY_STORAGE_INDEX_SET_H

#include <pthread.h>
#include <stdatomic.h>

#include "storage/index/catalog_internal.h"

struct index_set {
  struct kv_store *store;
  pthread_mutex_t lock; /* guards `current` */
  struct index_catalog *current;
  pthread_mutex_t change_lock;      /* one change at a time */
  _Atomic uint64_t built, to_build; /* documents of the walk that is under way, roughly */
};

/* Changes the ledger by a function, in a transaction: `make` gets the ledger as it is stored and the version
 * of the commit, and gives false where there is nothing to do (*ret_changed false then). It runs in resolve.
 * Publishes the new catalog once the commit is durable. */
struct index_change {
  status (*make)(void *argument, struct index_ledger *ledger, kv_version version, struct arena *arena,
                 bool *ret_changed);
  void *argument;
};
STATUS_MUST_USE status index_set_change(struct index_set *set, const struct index_change *change);

#endif
