/* The background work on indexes: building what is new, deleting the entries of what was dropped, and the
 * deletion of documents whose TTL has passed.
 *
 * Building. The index is in the catalog first, so every commit from then on maintains it; then all documents
 * that there are, are walked, and for each a transaction of the store puts its entries as it stands at that
 * moment (some hundred documents a transaction, at a rate that leaves the foreground most of the machine). A
 * restart goes on where the work stood. At the end the index becomes ready with a version.
 *
 * TTL. For each policy the index of the field (collection group scope) is read from the oldest time to now,
 * every minute; documents are deleted through the ordinary commit path with the precondition that they are
 * unchanged, so listeners, history and the change log see it. Until then they stay visible, as documented.
 *
 * One thread for all of it, which sleeps while there is nothing to do. */
#ifndef SKERRY_STORAGE_INDEX_BUILD_H
#define SKERRY_STORAGE_INDEX_BUILD_H

#include "storage/index/catalog.h"

struct index_worker;

struct index_worker_options {
  struct kv_store *store;
  struct index_set *set;
  struct port *port;           /* NULL: port_linux() */
  uint32_t ttl_interval_ms;    /* 0: 60000 */
  uint32_t documents_a_second; /* of building; 0: as fast as half of the time allows */
};

STATUS_MUST_USE status index_worker_start(const struct index_worker_options *options,
                                          struct index_worker **ret);
/* Tells the worker that the definitions changed. */
void index_worker_wake(struct index_worker *worker);
void index_worker_stop(struct index_worker *worker); /* NULL is allowed */

/* Does everything that is to do now, on this thread: for tests and tools. No worker may run. */
STATUS_MUST_USE status index_work_all(const struct index_worker_options *options);

#endif
