/* What this driver's tests share. */
#ifndef SKERRY_STORAGE_ROCKSDB_TEST_SUPPORT_H
#define SKERRY_STORAGE_ROCKSDB_TEST_SUPPORT_H

#include "ports/simulated.h"
#include "storage/rocksdb/store.h"

/* A simulated port whose wall clock is later than any build of this program. */
struct port_simulated *test_port_new(void);

/* A new directory under TMPDIR; removed by test_directory_remove. */
void test_directory_make(char path[64]);
void test_directory_remove(const char *path);

/* Commits one put and waits for it. */
status test_put(struct kv_store *store, str key, str value, kv_version *ret);
/* What the background does in time, at once: history moves on to what the clock says, and everything that
 * nobody can read any more is rewritten without. */
void test_let_go(struct kv_store *store);
/* How many of the files below the directory have these bytes in them. */
unsigned test_files_with(const char *directory, str bytes);
/* The value of `key` in KV_DOCUMENTS now; at most `capacity` bytes with the NUL. */
status test_get(struct kv_store *store, str key, char *value, size_t capacity, bool *ret_found);

#endif
