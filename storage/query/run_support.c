#include "storage/query/run_support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/index/derive.h"
#include "storage/index/set.h"
#include "storage/rocksdb/test_support.h"

static void must(status s, const char *what) {
  if (s.code == STATUS_OK)
    return;
  fprintf(stderr, "%s: %s: %s\n", what, status_code_name((int)s.code), s.message);
  abort();
}

static status build_all(void *argument, struct index_ledger *ledger, kv_version version, struct arena *arena,
                        bool *ret_changed) {
  (void)argument, (void)arena;
  *ret_changed = index_ledger_built(ledger, version);
  return status_ok();
}

void run_store_open(struct run_store *store, const char *definitions) {
  test_directory_make(store->directory);
  struct kv_rocksdb_options options = {.directory = store->directory,
                                       .memory_bytes = 64 << 20,
                                       .clock_trusted = true,
                                       .sync = KV_SYNC_RELAXED};
  must(kv_rocksdb_open(&options, &store->store), "open");
  must(index_set_open(store->store, &store->set), "indexes");
  if (definitions == NULL)
    return;
  struct arena arena;
  arena_init(&arena, NULL, 0, 16 << 20);
  struct index_definitions parsed;
  struct index_change built = {build_all, NULL};
  must(index_definitions_parse(str_from_cstr(definitions), &arena, &parsed), definitions);
  must(index_set_apply(store->set, &parsed), "apply");
  must(index_set_change(store->set, &built), "build");
  arena_fini(&arena);
}

void run_store_close(struct run_store *store) {
  index_set_close(store->set);
  kv_close(store->store);
  test_directory_remove(store->directory);
}

/* ---- Writing ---- */

struct waiter {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  bool done;
  status result;
  kv_version version;
};

static void wake(struct doc_commit *commit, status result, kv_version version) {
  struct waiter *waiter = commit->user;
  pthread_mutex_lock(&waiter->mutex);
  waiter->done = true;
  waiter->result = result;
  waiter->version = version;
  pthread_cond_signal(&waiter->changed);
  pthread_mutex_unlock(&waiter->mutex);
}

static kv_version commit_some(struct run_store *store, struct doc_write *writes, size_t count) {
  struct arena arena;
  arena_init(&arena, NULL, 0, (size_t)256 << 20);
  struct doc_derive derive = index_derive(store->set);
  struct waiter waiter = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  struct doc_commit commit = {.writes = writes,
                              .write_count = count,
                              .limits = DOC_LIMITS_DEFAULT,
                              .arena = &arena,
                              .done = wake,
                              .user = &waiter,
                              .derive = &derive};
  must(doc_commit_prepare(&commit), "prepare");
  doc_commit_start(store->store, &commit);
  pthread_mutex_lock(&waiter.mutex);
  while (!waiter.done)
    pthread_cond_wait(&waiter.changed, &waiter.mutex);
  pthread_mutex_unlock(&waiter.mutex);
  must(waiter.result, "commit");
  arena_fini(&arena);
  return waiter.version;
}

kv_version run_store_write(struct run_store *store, struct doc_write *writes, size_t count) {
  enum { AT_ONCE = 500 };
  kv_version version = 0;
  for (size_t i = 0; i < count; i += AT_ONCE)
    version = commit_some(store, writes + i, count - i < AT_ONCE ? count - i : AT_ONCE);
  return version;
}

struct query_run_options run_store_options(struct run_store *store) {
  struct query_run_options options = {.catalog = index_set_current(store->set),
                                      .spill_directory = store->directory};
  must(kv_snapshot_at(store->store, KV_LATEST, &options.snapshot), "snapshot");
  return options;
}

/* ---- Reading ---- */

static status collect(struct query_run *run, bool pauses, struct buf *names) {
  for (;;) {
    enum query_step step;
    struct query_row row;
    STATUS_TRY(query_run_next(run, &step, &row));
    if (step == QUERY_END)
      return status_ok();
    if (step == QUERY_ROW) {
      buf_append_str(names, row.name);
      buf_append_byte(names, '\n');
    }
    if (pauses)
      query_run_pause(run);
  }
}

status run_collect(const struct query *query, const struct query_run_options *options, bool pauses,
                   struct arena *arena, str *ret_names, struct query_stats *ret_stats) {
  struct query_run *run;
  struct buf names = {0};
  STATUS_TRY(query_run_open(query, options, arena, &run));
  status result = collect(run, pauses, &names);
  query_run_stats(run, ret_stats);
  query_run_close(run);
  *ret_names = arena_str_copy(arena, buf_str(&names));
  buf_fini(&names);
  return result;
}
