/* Deletes the entries of indexes that are no more. The space of entries is walked place by place: what is
 * maintained is passed over with one seek, of the rest the keys are gathered and deleted in transactions,
 * which look again whether it is still so (an index may have come back meanwhile; its entries are then those
 * of commits). Nothing is remembered of where the sweep was: after a restart it begins again, over less. */
#include <assert.h>

#include "storage/index/entry_place.h"
#include "storage/index/work.h"

static status delete_if_unmaintained(const struct index_catalog *catalog, str key, struct arena *arena,
                                     struct kv_batch *batch) {
  struct index_place place;
  STATUS_TRY(index_place_parse(key, catalog, arena, &place));
  if (!index_place_is_maintained(&place, catalog))
    kv_batch_delete(batch, KV_INDEX, key);
  return status_ok();
}

static status resolve(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  (void)reader, (void)version;
  const struct index_sweep *sweep = argument;
  struct index_catalog *catalog = index_set_current(sweep->set);
  struct arena arena;
  status s = status_ok();
  arena_init(&arena, NULL, 0, WORK_ARENA_BYTES);
  for (size_t i = 0; i < sweep->keys.count && status_is_ok(&s); i++) {
    s = delete_if_unmaintained(catalog, sweep->keys.items[i], &arena, batch);
    arena_reset(&arena);
  }
  arena_fini(&arena);
  index_catalog_unref(catalog);
  return s;
}

static status keep_key(struct index_sweep *sweep, str key) {
  str copy = arena_str_copy(&sweep->keys.arena, key);
  if (copy.ptr == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  sweep->keys.items[sweep->keys.count++] = copy;
  return status_ok();
}

/* Gathers keys; the position becomes where the next step goes on. */
static status gather(struct index_sweep *sweep, const struct index_catalog *catalog, struct kv_iter *iter,
                     struct arena *arena, bool *ret_end) {
  struct buf after = {0};
  status s = status_ok();
  size_t seen = 0;
  bool more = kv_iter_next(iter);
  while (more && sweep->keys.count < WORK_DELETIONS && seen++ < WORK_LOOKED_AT && status_is_ok(&s)) {
    str key = kv_iter_key(iter);
    struct index_place place;
    status parsed = index_place_parse(key, catalog, arena, &place);
    if (!status_is_ok(&parsed) && parsed.code != STATUS_DATA_LOSS) {
      s = parsed;
    } else if (!status_is_ok(&parsed)) {
      more = kv_iter_next(iter); /* damage is verify's to tell */
    } else if (!index_place_is_maintained(&place, catalog)) {
      s = keep_key(sweep, key);
      more = kv_iter_next(iter);
    } else {
      index_prefix_end(place.shape.kind == INDEX_COMPOSITE ? str_make(key.ptr, 5) : place.prefix, &after);
      s = after.failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : s;
      more = status_is_ok(&s) && kv_iter_seek(iter, buf_str(&after));
    }
    arena_reset(arena);
  }
  if (status_is_ok(&s))
    s = kv_iter_status(iter);
  *ret_end = !more;
  buf_clear(&sweep->position);
  if (more && status_is_ok(&s))
    buf_append_str(&sweep->position, kv_iter_key(iter));
  buf_fini(&after);
  return s;
}

static status be_swept(void *argument, struct index_ledger *ledger, kv_version version, struct arena *arena,
                       bool *ret_changed) {
  (void)argument, (void)version, (void)arena;
  *ret_changed = index_ledger_swept(ledger);
  return status_ok();
}

status index_sweep_step(struct index_sweep *sweep, const struct index_catalog *catalog, bool *ret_done) {
  kv_snapshot snapshot;
  struct kv_iter *iter;
  struct arena arena;
  *ret_done = false;
  STATUS_TRY(kv_snapshot_at(sweep->store, KV_LATEST, &snapshot));
  STATUS_TRY(kv_iter_open(snapshot, KV_INDEX, buf_str(&sweep->position), (str){NULL, 0}, false, &iter));
  bool end;
  sweep->keys.count = 0;
  arena_init(&arena, NULL, 0, WORK_ARENA_BYTES);
  status s = gather(sweep, catalog, iter, &arena, &end);
  kv_iter_close(iter);
  if (status_is_ok(&s) && sweep->keys.count > 0) {
    struct kv_txn txn = {.resolve = resolve, .argument = sweep};
    kv_version version;
    s = kv_commit_wait(sweep->store, &txn, &version);
  }
  if (status_is_ok(&s) && end) {
    struct index_change change = {be_swept, NULL};
    s = index_set_change(sweep->set, &change);
    *ret_done = status_is_ok(&s);
  }
  arena_fini(&arena);
  arena_reset(&sweep->keys.arena);
  return s;
}
