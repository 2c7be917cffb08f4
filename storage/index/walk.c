/* The walk over all documents. A step gathers keys at a snapshot; the transaction then reads each document
 * again as it stands at its own commit and puts the entries that it has then. Every commit that comes later
 * maintains the index itself, so it does not matter what happens in between.
 *
 * Where the walk is, is stored with each transaction:
 *
 *   index/walk = generation (8 bytes, little-endian), documents done (8), counted (8), failed (8), position
 *
 * and counts only as long as the generation is the ledger's: after new definitions the walk begins again. The
 * transaction looks at the ledger that is current when it commits; if that is another, it does nothing. */
#include <assert.h>

#include "base/log.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"
#include "storage/document/record.h"
#include "storage/index/work.h"

#define WALK_KEY STR("index/walk")
enum { WALK_HEADER_BYTES = 32 };

static void put64(struct buf *out, uint64_t n) {
  for (unsigned i = 0; i < 8; i++)
    buf_append_byte(out, (uint8_t)(n >> (8 * i)));
}
static uint64_t get64(const char *bytes) {
  uint64_t n = 0;
  for (unsigned i = 0; i < 8; i++)
    n |= (uint64_t)(unsigned char)bytes[i] << (8 * i);
  return n;
}

/* ---- Opening ---- */

static status walk_open(struct index_walk *walk, const struct index_ledger *ledger) {
  kv_snapshot snapshot;
  struct kv_value stored = {0};
  STATUS_TRY(kv_snapshot_at(walk->store, KV_LATEST, &snapshot));
  STATUS_TRY(kv_get(snapshot, KV_SYSTEM, WALK_KEY, &stored));
  buf_clear(&walk->position);
  walk->generation = ledger->generation;
  walk->built = walk->counted = walk->failed = 0;
  walk->counting = true;
  walk->gave_up = false;
  str bytes = stored.bytes;
  if (stored.found && bytes.len >= WALK_HEADER_BYTES && get64(bytes.ptr) == ledger->generation) {
    walk->built = get64(bytes.ptr + 8);
    walk->counted = get64(bytes.ptr + 16);
    walk->failed = get64(bytes.ptr + 24);
    walk->counting = false;
    buf_append_str(&walk->position, str_from(bytes, WALK_HEADER_BYTES));
  }
  kv_value_release(&stored);
  walk->is_open = true;
  atomic_store(&walk->set->built, walk->built);
  atomic_store(&walk->set->to_build, walk->counted);
  return walk->position.failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

/* ---- What is to be built ---- */

static bool group_has_building(const struct index_ledger *ledger, str collection_id) {
  for (size_t i = 0; i < ledger->composite_count; i++) {
    const struct index_ledger_composite *one = &ledger->composites[i];
    if (!one->retiring && one->ready == INDEX_NOT_READY &&
        str_eq(one->definition.collection_id, collection_id))
      return true;
  }
  return false;
}

static bool rules_are_building(const struct index_ledger *ledger, str collection_id) {
  for (size_t i = 0; i < ledger->rule_count; i++)
    if (str_eq(ledger->rules[i].collection_id, collection_id) && index_rule_is_building(&ledger->rules[i]))
      return true;
  return false;
}

static bool concerns(const struct index_ledger *ledger, str collection_id) {
  return ledger->automatic_ready == INDEX_NOT_READY || group_has_building(ledger, collection_id) ||
         rules_are_building(ledger, collection_id);
}

/* ---- The transaction ---- */

struct building {
  struct index_walk *walk;
  const struct index_catalog *catalog; /* in resolve: the current one */
  struct kv_reader *reader;
  struct kv_batch *batch;
  uint64_t built;
  str position; /* after this step */
  uint64_t failed;
  status failure; /* of the last document that failed, with its name */
  bool is_stale;  /* other definitions hold now */
};

static status put_entry(void *argument, str key, str value) {
  struct building *b = argument;
  kv_batch_put(b->batch, KV_INDEX, key, value);
  return status_ok();
}

/* Of single fields and names: only what is not there yet, so that nothing that a query of a transaction has
 * read in an index that is ready looks changed. */
static status put_missing_entry(void *argument, str key, str value) {
  struct building *b = argument;
  if (key.ptr[0] == INDEX_COMPOSITE)
    return status_ok();
  struct kv_value stored = {0};
  STATUS_TRY(kv_reader_get(b->reader, KV_INDEX, key, &stored));
  bool same = stored.found && str_eq(stored.bytes, value);
  kv_value_release(&stored);
  return same ? status_ok() : put_entry(argument, key, value);
}

static status put_composites(struct building *b, const struct doc_path *path, str fields,
                             struct arena *arena) {
  const struct index_composite *const *all;
  size_t count = index_catalog_composites(b->catalog, doc_path_collection_id(path), &all);
  const struct index_ledger *ledger = &b->catalog->ledger;
  for (size_t i = 0; i < count; i++) {
    bool building = false;
    for (size_t k = 0; k < ledger->composite_count; k++)
      building |= ledger->composites[k].number == all[i]->shape.number && !ledger->composites[k].retiring &&
                  ledger->composites[k].ready == INDEX_NOT_READY;
    if (building)
      STATUS_TRY(index_visit(b->catalog, &all[i]->shape, path, fields, arena, put_entry, b));
  }
  return status_ok();
}

static status put_document(struct building *b, const struct doc_path *path, str stored, struct arena *arena) {
  const struct index_ledger *ledger = &b->catalog->ledger;
  struct doc_record record;
  STATUS_TRY(doc_record_decode(stored, &record));
  STATUS_TRY(put_composites(b, path, record.fields, arena));
  if (ledger->automatic_ready != INDEX_NOT_READY && !rules_are_building(ledger, doc_path_collection_id(path)))
    return status_ok();
  return index_visit(b->catalog, NULL, path, record.fields, arena, put_missing_entry, b);
}

/* A document that cannot be indexed, by its own fault, does not keep the others from it: but then the index
 * is not whole and does not become ready. */
static status build_document(struct building *b, str key, struct arena *arena) {
  struct kv_value stored = {0};
  struct doc_path path;
  STATUS_TRY(kv_reader_get(b->reader, KV_DOCUMENTS, key, &stored));
  status s = stored.found ? doc_key_to_path(key, arena, &path) : status_ok();
  bool named = stored.found && status_is_ok(&s);
  if (named)
    s = put_document(b, &path, stored.bytes, arena);
  kv_value_release(&stored);
  if (s.code != STATUS_INVALID_ARGUMENT && s.code != STATUS_DATA_LOSS)
    return s;
  b->failed++;
  b->failure =
      status_make(s.code, STR_FMT ": %s", STR_ARG(named ? path.name : STR("(unreadable key)")), s.message);
  return status_ok();
}

static status put_record(const struct building *b) {
  struct buf record = {0};
  put64(&record, b->walk->generation);
  put64(&record, b->built);
  put64(&record, b->walk->counted);
  put64(&record, b->walk->failed + b->failed);
  buf_append_str(&record, b->position);
  if (!record.failed)
    kv_batch_put(b->batch, KV_SYSTEM, WALK_KEY, buf_str(&record));
  bool failed = record.failed;
  buf_fini(&record);
  return failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

static status resolve(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  (void)version;
  struct building *b = argument;
  struct index_walk *walk = b->walk;
  struct index_catalog *catalog = index_set_current(walk->set);
  struct arena arena;
  b->catalog = catalog;
  b->reader = reader;
  b->batch = batch;
  b->failed = 0;
  b->is_stale = catalog->ledger.generation != walk->generation;
  status s = status_ok();
  arena_init(&arena, NULL, 0, WORK_ARENA_BYTES);
  for (size_t i = 0; i < walk->keys.count && status_is_ok(&s) && !b->is_stale; i++) {
    s = build_document(b, walk->keys.items[i], &arena);
    arena_reset(&arena);
  }
  if (status_is_ok(&s) && !b->is_stale)
    s = put_record(b);
  arena_fini(&arena);
  index_catalog_unref(catalog);
  return s;
}

static status commit(struct index_walk *walk, uint64_t built, struct buf *position) {
  struct building b = {.walk = walk, .built = built, .position = buf_str(position)};
  struct kv_txn txn = {.resolve = resolve, .argument = &b};
  kv_version version;
  STATUS_TRY(kv_commit_wait(walk->store, &txn, &version));
  if (b.is_stale) {
    walk->is_open = false;
    return status_ok();
  }
  walk->built = built;
  walk->failed += b.failed;
  if (b.failed > 0)
    log_event(LOG_LEVEL_ERROR, "a document cannot be indexed", LOG_CSTR("reason", b.failure.message));
  atomic_store(&walk->set->built, built);
  struct buf old = walk->position;
  walk->position = *position;
  *position = old;
  return status_ok();
}

/* ---- A step ---- */

/* Gathers the documents that come next and what they concern; `position` becomes the key after them. */
static status gather(struct index_walk *walk, const struct index_ledger *ledger, struct buf *position,
                     uint64_t *ret_seen, bool *ret_end) {
  kv_snapshot snapshot;
  struct kv_iter *iter;
  struct arena arena;
  STATUS_TRY(kv_snapshot_at(walk->store, KV_LATEST, &snapshot));
  STATUS_TRY(kv_iter_open(snapshot, KV_DOCUMENTS, buf_str(&walk->position), (str){NULL, 0}, false, &iter));
  size_t bytes = 0;
  status s = status_ok();
  *ret_seen = 0;
  arena_init(&arena, NULL, 0, WORK_ARENA_BYTES);
  bool more = true;
  while (walk->keys.count < WORK_DOCUMENTS && bytes < WORK_DOCUMENT_BYTES && *ret_seen < WORK_LOOKED_AT &&
         (more = kv_iter_next(iter))) {
    ++*ret_seen;
    str key = kv_iter_key(iter);
    buf_clear(position);
    buf_append_str(position, key);
    buf_append_byte(position, 0); /* the first key after it */
    if (walk->counting)
      continue;
    struct doc_path path;
    status named = doc_key_to_path(key, &arena, &path);
    if (!status_is_ok(&named) || concerns(ledger, doc_path_collection_id(&path))) {
      str copy = arena_str_copy(&walk->keys.arena, key);
      if (copy.ptr == NULL || position->failed) {
        s = status_default(STATUS_RESOURCE_EXHAUSTED);
        break;
      }
      walk->keys.items[walk->keys.count++] = copy;
      bytes += kv_iter_value(iter).len;
    }
    arena_reset(&arena);
  }
  if (status_is_ok(&s))
    s = kv_iter_status(iter);
  *ret_end = !more;
  kv_iter_close(iter);
  arena_fini(&arena);
  return s;
}

static void counted(struct index_walk *walk, struct buf *position, uint64_t seen, bool end) {
  walk->counted += seen;
  atomic_store(&walk->set->to_build, walk->counted);
  buf_clear(&walk->position);
  if (end)
    walk->counting = false; /* and from the beginning */
  else
    buf_append_str(&walk->position, buf_str(position));
}

static status become_ready(void *argument, struct index_ledger *ledger, kv_version version,
                           struct arena *arena, bool *ret_changed) {
  (void)arena;
  const struct index_walk *walk = argument;
  *ret_changed = ledger->generation == walk->generation && index_ledger_built(ledger, version);
  return status_ok();
}

static status forget(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  (void)argument, (void)reader, (void)version;
  kv_batch_delete(batch, KV_SYSTEM, WALK_KEY);
  return status_ok();
}

/* The next start of the program tries again, from the beginning. */
static status give_up(struct index_walk *walk) {
  struct kv_txn txn = {.resolve = forget};
  kv_version version;
  STATUS_TRY(kv_commit_wait(walk->store, &txn, &version));
  walk->gave_up = true;
  log_event(LOG_LEVEL_ERROR, "indexes do not become ready: correct these documents, and start again",
            LOG_INT("documents", walk->failed));
  return status_make(STATUS_FAILED_PRECONDITION, "%llu documents could not be indexed: see the log.",
                     (unsigned long long)walk->failed);
}

static status finish(struct index_walk *walk, bool *ret_done) {
  walk->is_open = false;
  if (walk->failed > 0)
    return give_up(walk);
  *ret_done = true;
  struct index_change change = {become_ready, walk};
  STATUS_TRY(index_set_change(walk->set, &change));
  log_event(LOG_LEVEL_INFO, "indexes are built", LOG_INT("documents", walk->built));
  return status_ok();
}

static status step(struct index_walk *walk, const struct index_ledger *ledger, bool *ret_done) {
  struct buf position = {0};
  uint64_t seen;
  bool end;
  status s = gather(walk, ledger, &position, &seen, &end);
  if (status_is_ok(&s) && walk->counting) {
    counted(walk, &position, seen, end);
  } else if (status_is_ok(&s)) {
    if (seen > 0)
      s = commit(walk, walk->built + seen, &position);
    if (status_is_ok(&s) && end && walk->is_open)
      s = finish(walk, ret_done);
  }
  buf_fini(&position);
  return s;
}

status index_walk_step(struct index_walk *walk, const struct index_catalog *catalog, bool *ret_done) {
  status s = status_ok();
  *ret_done = false;
  if (!walk->is_open || walk->generation != catalog->ledger.generation)
    s = walk_open(walk, &catalog->ledger);
  walk->keys.count = 0;
  if (status_is_ok(&s))
    s = step(walk, &catalog->ledger, ret_done);
  arena_reset(&walk->keys.arena);
  return s;
}
