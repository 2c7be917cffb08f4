#include "server/backup/renew.h"

#include <stdlib.h>

#include "server/firestore/service.h"
#include "storage/document/record.h"
#include "storage/rocksdb/backup.h"

enum { BATCH_DOCUMENTS_MAX = 1000, BATCH_BYTES_MAX = 1024 * 1024, ARENA_BYTES_MAX = 64 * 1024 * 1024 };

struct document {
  str key, record;
};

/* What one commit writes. */
struct batch {
  struct arena arena;
  struct document documents[BATCH_DOCUMENTS_MAX];
  size_t count, bytes;
};

static status write_batch(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *to) {
  (void)reader;
  struct batch *batch = argument;
  struct arena arena;
  status s = status_ok();
  arena_init(&arena, NULL, 0, ARENA_BYTES_MAX);
  for (size_t i = 0; i < batch->count && status_is_ok(&s); i++) {
    struct doc_record record;
    str encoded;
    s = doc_record_decode(batch->documents[i].record, &record);
    if (!status_is_ok(&s))
      break;
    record.update_us = version;
    s = doc_record_encode(&record, &arena, &encoded);
    if (status_is_ok(&s))
      kv_batch_put(to, KV_DOCUMENTS, batch->documents[i].key, encoded);
  }
  arena_fini(&arena);
  return s;
}

static status flush(struct kv_store *store, struct batch *batch) {
  struct kv_txn txn = {.resolve = write_batch, .argument = batch};
  kv_version version;
  status s = batch->count == 0 ? status_ok() : kv_commit_wait(store, &txn, &version);
  batch->count = batch->bytes = 0;
  arena_reset(&batch->arena);
  return s;
}

static status add(struct batch *batch, str key, str record) {
  struct document *document = &batch->documents[batch->count];
  document->key = arena_str_copy(&batch->arena, key);
  document->record = arena_str_copy(&batch->arena, record);
  if (document->key.ptr == NULL || document->record.ptr == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  batch->count++;
  batch->bytes += key.len + record.len;
  return status_ok();
}

static status walk(struct kv_store *store, struct batch *batch, uint64_t *documents) {
  kv_snapshot snapshot;
  struct kv_iter *iter;
  STATUS_TRY(kv_snapshot_at(store, KV_LATEST, &snapshot));
  STATUS_TRY(kv_iter_open(snapshot, KV_DOCUMENTS, (str){NULL, 0}, (str){NULL, 0}, false, &iter));
  status s = status_ok();
  while (status_is_ok(&s) && kv_iter_next(iter)) {
    s = add(batch, kv_iter_key(iter), kv_iter_value(iter));
    ++*documents;
    if (status_is_ok(&s) && (batch->count == BATCH_DOCUMENTS_MAX || batch->bytes >= BATCH_BYTES_MAX))
      s = flush(store, batch);
  }
  if (status_is_ok(&s))
    s = kv_iter_status(iter);
  kv_iter_close(iter);
  return status_is_ok(&s) ? flush(store, batch) : s;
}

static status forget_secret(void *argument, struct kv_reader *reader, kv_version version,
                            struct kv_batch *batch) {
  (void)argument, (void)reader, (void)version;
  firestore_forget_secret(batch);
  return status_ok();
}

status renew_store(struct kv_store *store, uint64_t *ret_documents) {
  struct batch *batch = calloc(1, sizeof *batch);
  if (batch == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  arena_init(&batch->arena, NULL, 0, ARENA_BYTES_MAX);
  uint64_t documents = 0;
  status s = walk(store, batch, &documents);
  arena_fini(&batch->arena);
  free(batch);
  STATUS_TRY(s);
  struct kv_txn txn = {.resolve = forget_secret};
  kv_version version;
  STATUS_TRY(kv_commit_wait(store, &txn, &version)); /* the last commit: its version is the moment */
  STATUS_TRY(kv_rocksdb_forget_past(store));
  *ret_documents = documents;
  return status_ok();
}
