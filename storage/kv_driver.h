/* What an engine puts behind storage/kv.h. Every store begins with a `struct kv_store`; kv.c checks the
 * arguments that every engine would have to check and calls through the table. */
#ifndef SKERRY_STORAGE_KV_DRIVER_H
#define SKERRY_STORAGE_KV_DRIVER_H

#include "storage/kv.h"

/* The functions of kv.h with the same meaning; keys have been checked, `space` is in range. */
struct kv_driver {
  const char *name;
  status (*snapshot_at)(struct kv_store *store, kv_version version, kv_snapshot *ret);
  status (*get)(kv_snapshot snapshot, enum kv_space space, str key, struct kv_value *ret);
  status (*get_many)(kv_snapshot snapshot, enum kv_space space, size_t count, const str *keys,
                     struct kv_value *ret);
  void (*value_release)(void *pin); /* never NULL */
  status (*iter_open)(kv_snapshot snapshot, enum kv_space space, str lower, str upper, bool reverse,
                      struct kv_iter **ret);
  bool (*iter_next)(struct kv_iter *iter);
  bool (*iter_seek)(struct kv_iter *iter, str key);
  str (*iter_key)(const struct kv_iter *iter);
  str (*iter_value)(const struct kv_iter *iter);
  kv_version (*iter_version)(const struct kv_iter *iter);
  status (*iter_status)(const struct kv_iter *iter);
  void (*iter_close)(struct kv_iter *iter);
  status (*reader_get)(struct kv_reader *reader, enum kv_space space, str key, struct kv_value *ret);
  void (*batch_write)(struct kv_batch *batch, enum kv_space space, str key, bool deleted, str value);
  void (*batch_fail)(struct kv_batch *batch, const status *failure); /* refuses the transaction */
  void (*commit)(struct kv_store *store, struct kv_txn *txn);
  status (*changes_open)(struct kv_store *store, kv_version since, kv_version until, struct kv_changes **ret);
  bool (*changes_next)(struct kv_changes *changes, struct kv_change *ret);
  status (*changes_status)(const struct kv_changes *changes);
  void (*changes_close)(struct kv_changes *changes);
  void (*subscribe)(struct kv_store *store, void (*published)(void *argument, kv_version version),
                    void *argument);
  void (*info)(struct kv_store *store, struct kv_info *ret);
  void (*figures)(struct kv_store *store, void (*visit)(void *argument, const struct kv_figure *figure),
                  void *argument);
  kv_version (*newest_version)(struct kv_store *store);
  kv_version (*oldest_version)(struct kv_store *store);
  void (*clock_trust)(struct kv_store *store);
  void (*caches_limit)(struct kv_store *store, unsigned sixteenths);
  status (*verify)(struct kv_store *store, void (*report)(void *argument, str text), void *argument,
                   uint64_t *ret_damages);
  void (*close)(struct kv_store *store);
};

/* The head of every store, iterator, reader, batch and cursor of a driver. A pin begins with one too. */
struct kv_store {
  const struct kv_driver *driver;
};
struct kv_iter {
  const struct kv_driver *driver;
};
struct kv_reader {
  const struct kv_driver *driver;
};
struct kv_batch {
  const struct kv_driver *driver;
};
struct kv_changes {
  const struct kv_driver *driver;
};
struct kv_pin {
  const struct kv_driver *driver;
};

#endif
