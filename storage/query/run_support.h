/* For tests of runs: a real store whose documents are written with their index entries. */
#ifndef SKERRY_STORAGE_QUERY_RUN_SUPPORT_H
#define SKERRY_STORAGE_QUERY_RUN_SUPPORT_H

#include "storage/document/write.h"
#include "storage/query/run.h"

struct index_set;

struct run_store {
  char directory[64];
  struct kv_store *store;
  struct index_set *set;
};

/* `definitions` (firestore.indexes.json, or NULL) are complete from the beginning. */
void run_store_open(struct run_store *store, const char *definitions);
void run_store_close(struct run_store *store);
/* Commits the writes (path, fields and kind are enough), 500 at a time. */
kv_version run_store_write(struct run_store *store, struct doc_write *writes, size_t count);
/* Options for the newest version; release the catalog. */
struct query_run_options run_store_options(struct run_store *store);

/* Runs a prepared query to its end and gives the names of its rows, a line each, in the arena. With `pauses`
 * the run is paused after every step. */
status run_collect(const struct query *query, const struct query_run_options *options, bool pauses,
                   struct arena *arena, str *ret_names, struct query_stats *ret_stats);

#endif
