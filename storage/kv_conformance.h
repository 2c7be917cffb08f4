/* A suite that every driver of storage/kv.h must pass. It knows nothing of the driver but how to open it, and
 * how to disturb it. */
#ifndef SKERRY_STORAGE_KV_CONFORMANCE_H
#define SKERRY_STORAGE_KV_CONFORMANCE_H

#include <stdint.h>

#include "storage/kv.h"

struct kv_conformance {
  const char *name;
  /* Opens the store; the first time for a `test` it is empty, then it is the one that was closed. */
  status (*open)(void *argument, int test, struct kv_store **ret);
  /* Does something that must not be seen: flushes, compacts, forgets what is before kv_oldest_version, lets
   * time pass. `kind` is any number. May be NULL. */
  void (*disturb)(void *argument, struct kv_store *store, unsigned kind);
  void *argument;
  int rounds; /* of the random test; each with a seed of its own */
};

/* Runs everything under cmocka; the number of failed tests. A failure of the random test prints its seed,
 * which the environment variable KV_SEED sets. */
int kv_conformance_run(const struct kv_conformance *conformance);

#endif
