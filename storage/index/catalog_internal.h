/* What a catalog is made of, for this directory. */
#ifndef SKERRY_STORAGE_INDEX_CATALOG_INTERNAL_H
#define SKERRY_STORAGE_INDEX_CATALOG_INTERNAL_H

#include <stdatomic.h>

#include "storage/index/ledger.h"

/* Everything that is defined for one collection id. */
struct index_group {
  str collection_id;
  const struct index_composite **composites; /* NULL-free, in the order of their numbers */
  size_t composite_count;
  struct index_rules rules;
  const struct index_ttl *ttl; /* or NULL */
};

struct index_catalog {
  _Atomic uint32_t refs;
  struct arena arena; /* of all that follows */
  struct index_ledger ledger;
  struct index_composite *composites; /* of ledger.composites those with a number */
  size_t composite_count;
  struct index_ttl *ttls;
  size_t ttl_count;
  struct index_group **table; /* by hash of the collection id; a power of two, at most half full */
  size_t table_size;          /* 0: nothing is defined */
};

/* A catalog of a stored state, or (text empty) of the default one. */
STATUS_MUST_USE status index_catalog_make(str state_text, kv_version automatic_ready,
                                          struct index_catalog **ret);

#endif
