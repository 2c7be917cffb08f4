/* Documents in memory, as far as reads and one commit need a store. Nothing that is committed stays. */
#ifndef SKERRY_SERVER_CASES_STORE_H
#define SKERRY_SERVER_CASES_STORE_H

#include "storage/document/path.h"
#include "storage/kv_driver.h"

struct cases_document {
  str key;    /* storage/document/key.h */
  str record; /* storage/document/record.h; empty: taken away */
};

/* Documents over others. */
struct cases_state {
  const struct cases_document *documents; /* sorted by key, unique */
  size_t count;
  const struct cases_state *below; /* where no document of this key is above; NULL: nothing */
};

/* For qsort. */
int cases_document_compare(const void *a, const void *b);

/* The record of a document, or empty: it is missing. */
str cases_state_get(const struct cases_state *state, str key);

/* A store that holds the state and whose next commit has that version. Only kv_commit works on it: at once,
 * in the caller's thread. In the caller's memory; needs no end. */
struct cases_store {
  struct kv_store base;
  const struct cases_state *state;
  kv_version version;
};
void cases_store_init(struct cases_store *store, const struct cases_state *state, kv_version version);

#endif
