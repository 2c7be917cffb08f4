/* Documents whose time has come. Of each policy and database the index of the field, in the scope of the
 * collection group, has them in front, oldest first: from the lowest time to now is one range, in which
 * nothing but times stands. Each document goes by a commit of its own, on the condition that it is as it was
 * read; many are under way at once and share a sync.
 *
 * Now is the clock of commits (the version that one would get), not the wall: a machine that was switched on
 * with a wrong date must not delete everything. */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"
#include "storage/index/derive.h"
#include "storage/index/entry_place.h"
#include "storage/index/work.h"

/* Deletions that are under way. */
struct deletions {
  pthread_mutex_t lock; /* guards the next two */
  pthread_cond_t changed;
  size_t open;
  uint64_t deleted;
  status failure; /* of the store, not of one document */
};

struct deletion {
  struct deletions *all;
  struct arena arena;
  struct doc_write write;
  struct doc_commit commit;
};

static status take_version(void *argument, struct kv_reader *reader, kv_version version,
                           struct kv_batch *batch) {
  (void)reader, (void)batch;
  *(kv_version *)argument = version;
  return status_ok();
}

static status now_us(const struct index_expiry *expiry, int64_t *ret) {
  kv_version newest;
  struct kv_txn txn = {.resolve = take_version, .argument = ret};
  return kv_commit_wait(expiry->store, &txn, &newest);
}

/* ---- Deleting ---- */

static void deletion_free(struct deletion *deletion) {
  arena_fini(&deletion->arena);
  free(deletion);
}

static void deleted(struct doc_commit *commit, status result, kv_version version) {
  (void)version;
  struct deletion *deletion = commit->user;
  struct deletions *all = deletion->all;
  deletion_free(deletion);
  pthread_mutex_lock(&all->lock);
  all->open--;
  if (status_is_ok(&result))
    all->deleted++;
  else if (result.code != STATUS_FAILED_PRECONDITION && result.code != STATUS_NOT_FOUND)
    all->failure = result; /* the document itself was changed in those two: it is looked at again later */
  pthread_cond_signal(&all->changed);
  pthread_mutex_unlock(&all->lock);
}

static status start_deletion(struct index_expiry *expiry, struct deletions *all,
                             const struct doc_derive *derive, str key, int64_t update_us) {
  struct deletion *deletion = calloc(1, sizeof *deletion);
  if (deletion == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  deletion->all = all;
  arena_init(&deletion->arena, NULL, 0, WORK_ARENA_BYTES);
  struct doc_write *write = &deletion->write;
  write->kind = DOC_WRITE_DELETE;
  write->precondition =
      (struct doc_precondition){.kind = DOC_PRECONDITION_UPDATE_TIME, .update_time_us = update_us};
  deletion->commit = (struct doc_commit){.writes = write,
                                         .write_count = 1,
                                         .arena = &deletion->arena,
                                         .done = deleted,
                                         .user = deletion,
                                         .derive = derive};
  status s = doc_key_to_path(key, &deletion->arena, &write->path);
  if (status_is_ok(&s))
    s = doc_commit_prepare(&deletion->commit);
  if (!status_is_ok(&s)) {
    deletion_free(deletion);
    return s;
  }
  pthread_mutex_lock(&all->lock);
  all->open++;
  pthread_mutex_unlock(&all->lock);
  doc_commit_start(expiry->store, &deletion->commit);
  return s;
}

/* The document as it is read now: it may have changed since the entry was seen, and then has another. */
static status delete_if_due(struct index_expiry *expiry, struct deletions *all,
                            const struct doc_derive *derive, kv_snapshot snapshot, str key) {
  struct kv_value stored = {0};
  struct doc_record record;
  STATUS_TRY(kv_get(snapshot, KV_DOCUMENTS, key, &stored));
  status s = stored.found ? doc_record_decode(stored.bytes, &record) : status_ok();
  if (status_is_ok(&s) && stored.found)
    s = start_deletion(expiry, all, derive, key, record.update_us);
  kv_value_release(&stored);
  return s;
}

static status delete_all(struct index_expiry *expiry, kv_snapshot snapshot) {
  struct deletions all = {.failure = status_ok()};
  struct doc_derive derive = index_derive(expiry->set);
  status s = status_ok();
  pthread_mutex_init(&all.lock, NULL);
  pthread_cond_init(&all.changed, NULL);
  for (size_t i = 0; i < expiry->keys.count && status_is_ok(&s); i++)
    s = delete_if_due(expiry, &all, &derive, snapshot, expiry->keys.items[i]);
  pthread_mutex_lock(&all.lock);
  while (all.open > 0)
    pthread_cond_wait(&all.changed, &all.lock);
  pthread_mutex_unlock(&all.lock);
  pthread_mutex_destroy(&all.lock);
  pthread_cond_destroy(&all.changed);
  expiry->deleted += all.deleted;
  if (all.deleted > 0)
    log_event(LOG_LEVEL_DEBUG, "expired documents are deleted", LOG_INT("documents", all.deleted));
  STATUS_TRY(s);
  return all.failure;
}

/* ---- Finding ---- */

/* What the index of a policy begins with in a database. */
static status policy_prefix(const struct index_ttl *ttl, str database, struct arena *arena, struct buf *out) {
  struct doc_path root;
  STATUS_TRY(doc_key_to_path(database, arena, &root));
  struct index_column column = {.field = ttl->field};
  struct index_shape shape = {
      .kind = INDEX_GROUP_FIELD, .group = true, .columns = &column, .column_count = 1};
  index_prefix(&shape, &root, ttl->collection_id, out);
  return out->failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

/* The range of times up to now. */
static status due_range(const struct index_expiry *expiry, const struct index_ttl *ttl, int64_t now,
                        struct arena *arena, struct buf *lower, struct buf *upper) {
  struct doc_value value = {.type = DOC_TIMESTAMP, .as.timestamp_us = now};
  str least, ignored;
  bool truncated;
  STATUS_TRY(policy_prefix(ttl, buf_str(&expiry->database), arena, upper));
  buf_append_str(lower, buf_str(upper));
  doc_order_type_range(&value, &least, &ignored);
  buf_append_str(lower, least);
  doc_order_encode(&value, DOC_ASCENDING, upper, &truncated);
  return lower->failed || upper->failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

/* The documents of the entries in [lower, upper), from the position on. */
static status gather(struct index_expiry *expiry, const struct index_catalog *catalog, kv_snapshot snapshot,
                     str lower, str upper, struct arena *arena, bool *ret_end) {
  struct kv_iter *iter;
  struct buf document = {0};
  str from = expiry->position.len > 0 ? buf_str(&expiry->position) : lower;
  STATUS_TRY(kv_iter_open(snapshot, KV_INDEX, from, upper, false, &iter));
  status s = status_ok();
  *ret_end = false;
  while (status_is_ok(&s) && expiry->keys.count < WORK_EXPIRED) {
    *ret_end = !kv_iter_next(iter);
    if (*ret_end)
      break;
    struct index_place place;
    s = index_place_parse(kv_iter_key(iter), catalog, arena, &place);
    if (status_is_ok(&s))
      s = index_place_document_key(&place, kv_iter_key(iter), &document);
    str copy = status_is_ok(&s) ? arena_str_copy(&expiry->keys.arena, buf_str(&document)) : (str){NULL, 0};
    if (status_is_ok(&s) && copy.ptr == NULL)
      s = status_default(STATUS_RESOURCE_EXHAUSTED);
    if (status_is_ok(&s))
      expiry->keys.items[expiry->keys.count++] = copy;
    buf_clear(&expiry->position);
    buf_append_str(&expiry->position, kv_iter_key(iter));
    buf_append_byte(&expiry->position, 0);
  }
  if (status_is_ok(&s))
    s = kv_iter_status(iter);
  kv_iter_close(iter);
  buf_fini(&document);
  return s;
}

/* The next database that has documents; false in *ret_found after the last. */
static status next_database(struct index_expiry *expiry, kv_snapshot snapshot, bool *ret_found) {
  struct kv_iter *iter;
  struct buf after = {0};
  index_prefix_end(buf_str(&expiry->database), &after);
  status s = kv_iter_open(snapshot, KV_DOCUMENTS, buf_str(&after), (str){NULL, 0}, false, &iter);
  buf_fini(&after);
  STATUS_TRY(s);
  str database = {NULL, 0};
  *ret_found = kv_iter_next(iter);
  s = kv_iter_status(iter);
  if (*ret_found && status_is_ok(&s))
    s = doc_key_ancestor(kv_iter_key(iter), 0, &database);
  buf_clear(&expiry->database);
  buf_clear(&expiry->position);
  if (*ret_found && status_is_ok(&s))
    buf_append_str(&expiry->database, database);
  kv_iter_close(iter);
  return s;
}

static bool is_usable(const struct index_catalog *catalog, const struct index_ttl *ttl, kv_version version) {
  unsigned usable = index_catalog_field_usable(catalog, ttl->collection_id, &ttl->field, version);
  return (usable & INDEX_HAS_GROUP_VALUES) != 0;
}

/* Goes on to the next database, or policy, and says whether there is one. */
static status step(struct index_expiry *expiry, const struct index_catalog *catalog, kv_snapshot snapshot,
                   struct arena *arena, bool *ret_done) {
  const struct index_ttl *ttls;
  size_t count = index_catalog_ttls(catalog, &ttls);
  *ret_done = expiry->policy >= count;
  if (*ret_done || !is_usable(catalog, &ttls[expiry->policy], snapshot.version)) {
    expiry->policy = *ret_done ? 0 : expiry->policy + 1;
    return status_ok();
  }
  if (expiry->database.len == 0) {
    bool found;
    STATUS_TRY(next_database(expiry, snapshot, &found));
    expiry->policy += !found;
    return status_ok();
  }
  struct buf lower = {0}, upper = {0};
  bool end = false;
  int64_t now;
  status s = now_us(expiry, &now);
  if (status_is_ok(&s))
    s = due_range(expiry, &ttls[expiry->policy], now, arena, &lower, &upper);
  if (status_is_ok(&s))
    s = gather(expiry, catalog, snapshot, buf_str(&lower), buf_str(&upper), arena, &end);
  buf_fini(&lower);
  buf_fini(&upper);
  if (status_is_ok(&s))
    s = delete_all(expiry, snapshot);
  if (status_is_ok(&s) && end) {
    bool found;
    s = next_database(expiry, snapshot, &found);
    expiry->policy += status_is_ok(&s) && !found;
  }
  return s;
}

status index_expiry_step(struct index_expiry *expiry, const struct index_catalog *catalog, bool *ret_done) {
  kv_snapshot snapshot;
  struct arena arena;
  STATUS_TRY(kv_snapshot_at(expiry->store, KV_LATEST, &snapshot));
  arena_init(&arena, NULL, 0, WORK_ARENA_BYTES);
  expiry->keys.count = 0;
  status s = step(expiry, catalog, snapshot, &arena, ret_done);
  arena_reset(&expiry->keys.arena);
  arena_fini(&arena);
  return s;
}
