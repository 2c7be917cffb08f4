#include "server/firestore/erase.h"

#include <pthread.h>

#include "server/firestore/request.h"
#include "server/firestore/write_request.h"
#include "storage/document/key.h"

enum { WRITES_A_COMMIT = 400, ROUND_BYTES_MAX = 32 << 20 };

/* A commit, and who waits for it. */
struct round {
  struct doc_write writes[WRITES_A_COMMIT];
  size_t count;
  struct doc_commit commit;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  bool is_done;
  status result;
};

static void round_done(struct doc_commit *commit, status result, kv_version version) {
  (void)version;
  struct round *round = commit->user;
  pthread_mutex_lock(&round->mutex);
  round->is_done = true;
  round->result = result;
  pthread_cond_signal(&round->changed);
  pthread_mutex_unlock(&round->mutex);
}

/* The first documents that there are. */
static status collect(kv_snapshot snapshot, struct doc_key_range range, struct arena *arena,
                      struct round *round) {
  struct kv_iter *iter;
  status result = status_ok();
  STATUS_TRY(kv_iter_open(snapshot, KV_DOCUMENTS, range.lower, range.upper, false, &iter));
  while (round->count < WRITES_A_COMMIT && status_is_ok(&result) && kv_iter_next(iter)) {
    struct doc_write *write = &round->writes[round->count++];
    *write = (struct doc_write){.kind = DOC_WRITE_DELETE};
    str key = arena_str_copy(arena, kv_iter_key(iter));
    result = key.ptr == NULL ? status_default(STATUS_RESOURCE_EXHAUSTED)
                             : doc_key_to_path(key, arena, &write->path);
  }
  if (status_is_ok(&result))
    result = kv_iter_status(iter);
  kv_iter_close(iter);
  return result;
}

static status commit(struct firestore_service *service, struct arena *arena, struct round *round) {
  round->commit = write_request_commit(service, round->writes, round->count, arena, round_done, round);
  STATUS_TRY(doc_commit_prepare(&round->commit));
  doc_commit_start(service->options.store, &round->commit);
  pthread_mutex_lock(&round->mutex);
  while (!round->is_done)
    pthread_cond_wait(&round->changed, &round->mutex);
  pthread_mutex_unlock(&round->mutex);
  return round->result;
}

static status erase_some(struct firestore_service *service, struct doc_key_range range, struct arena *arena,
                         bool *ret_more) {
  kv_snapshot snapshot;
  struct round *round = ARENA_NEW(arena, struct round);
  if (round == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  STATUS_TRY(kv_snapshot_at(service->options.store, KV_LATEST, &snapshot));
  STATUS_TRY(collect(snapshot, range, arena, round));
  *ret_more = round->count == WRITES_A_COMMIT;
  if (round->count == 0)
    return status_ok();
  pthread_mutex_init(&round->mutex, NULL);
  pthread_cond_init(&round->changed, NULL);
  status result = commit(service, arena, round);
  pthread_cond_destroy(&round->changed);
  pthread_mutex_destroy(&round->mutex);
  return result;
}

status firestore_erase_database(struct firestore_service *service, const char *database) {
  struct doc_path path;
  struct doc_key_range range;
  struct arena names, arena;
  bool more = true;
  STATUS_TRY(request_database(service, database, REQUEST_READS, &path));
  arena_init(&names, NULL, 0, ROUND_BYTES_MAX);
  status result = doc_key_database_range(&path, &names, &range);
  while (status_is_ok(&result) && more) {
    arena_init(&arena, NULL, 0, ROUND_BYTES_MAX);
    result = erase_some(service, range, &arena, &more);
    arena_fini(&arena);
  }
  arena_fini(&names);
  return result;
}
