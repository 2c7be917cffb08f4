/* Whether indexes and documents agree: for `skerry verify`, and for tests. */
#ifndef SKERRY_STORAGE_INDEX_VERIFY_H
#define SKERRY_STORAGE_INDEX_VERIFY_H

#include "storage/index/catalog.h"

struct index_verification {
  uint64_t documents, entries;
  uint64_t missing;     /* a document has no entry where it should */
  uint64_t superfluous; /* an entry whose document has it not, or does not exist, or of no index */
  uint64_t wrong;       /* an entry with another value than its document gives it */
  uint64_t unreadable;  /* documents that cannot be read: their entries are not looked at */
};

/* Walks over documents and entries as of now, in memory of one document. `report` (may be NULL) gets a text
 * for each of the first INDEX_VERIFY_REPORTS disagreements. What is being built or dropped may be there in
 * part. Whatever happens meanwhile to a store in use does not disturb it, but for a catalog that changes. */
enum { INDEX_VERIFY_REPORTS = 1000 };
STATUS_MUST_USE status index_verify(struct kv_store *store, const struct index_catalog *catalog,
                                    void (*report)(void *argument, str text), void *argument,
                                    struct index_verification *ret);

static inline uint64_t index_verification_damages(const struct index_verification *v) {
  return v->missing + v->superfluous + v->wrong;
}

#endif
