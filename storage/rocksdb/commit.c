/* The commit pipeline.
 *
 * Parties. Any thread pushes a transaction on the queue, a stack of which the commit thread takes everything
 * at once and turns round: one atomic exchange on each side, and a lock only to wake a sleeping commit
 * thread. The commit thread makes a group of what has gathered, checks and resolves its members in order,
 * writes them as one batch with one sync, and publishes the newest version. The completion thread then calls
 * the members' `done`, in order, while the commit thread is at the next group. There are two groups, so that
 * the commit thread waits when answers are slower than commits.
 *
 * Invariants. Versions are strictly increasing in the order of the queue. A member sees the store and all
 * members before it (through the group's table of writes), never itself. Nobody outside sees a version before
 * `newest` is published, which is after the sync. `done` is called exactly once for each transaction, in
 * order, by the completion thread, or by the commit thread if the completion thread has nothing to do and
 * nobody waits: a lone commit then needs one switch of threads less. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/arena.h"
#include "storage/rocksdb/hash.h"
#include "storage/rocksdb/recent.h"
#include "storage/rocksdb/store_internal.h"

enum {
  /* One sync is shared by at most so many. Past it the time to resolve them outweighs the sync. */
  GROUP_TXNS_MAX = 1024,
  /* A group takes no more members once its writes have this size: it bounds the batch, and how much of the
   * log may be lost to one broken sync. One transaction alone may be larger. */
  GROUP_BYTES_MAX = 4 * 1024 * 1024,
  /* Memory for a group's writes: a few of the largest requests. Past it a transaction is refused. */
  GROUP_ARENA_MAX = 128 * 1024 * 1024,
  GROUP_FIRST_BLOCK = 128 * 1024,
  /* Transactions that wait. Past it we are not keeping up, and more waiting would only add time. */
  QUEUE_MAX = 16384,
  /* A group that the commit thread answers itself: fewer than what a switch of threads costs. */
  INLINE_DONE_MAX = 4,
  /* A record of the change log is cut at this size, to stay far under a block of the cache. */
  CHANGE_RECORD_BYTES = 64 * 1024,
  GROUPS = 2,
  GATHER_ENOUGH = 64, /* members: more would not make the sync much cheaper for each */
  GATHERS_SKIPPED_MAX = 127,
  /* The window of recent writes, and at most an eighth of the store's memory. */
  RECENT_BYTES = 4 * 1024 * 1024,
  /* Validating one transaction: comparisons of keys, and what a lookup, a step of the engine and a
   * microsecond are in them. About 50 ms in all, in which no other commit goes on; past it the transaction is
   * to try again. */
  VALIDATION_WORK_MAX = 4 * 1024 * 1024,
  WORK_OF_GET = 128,
  WORK_OF_STEP = 40,
  WORK_IN_A_US = 80,
  WALK_MIN = 64, /* steps: below it the window is faster than to begin to walk */
  /* What is told of groups: sizes from 1 to 1,023, writes and syncs from 64 microseconds to 2.1 s. */
  SIZE_FIRST_POWER = 1,
  SIZE_BOUNDS = 10,
  WRITE_FIRST_POWER = 6,
  WRITE_BOUNDS = 16,
};

/* One write of a member; its strings are in the group's arena. */
struct op {
  uint64_t hash;
  str key;
  str value; /* with the version before it */
  kv_version version;
  uint32_t space;
  bool deleted;
  bool replaced; /* by a later write of the same member */
};

/* A write of an index entry on its way into the batch. */
struct sorted_op {
  uint64_t word[2]; /* what follows in the key after what all keys begin with */
  const struct op *op;
};

struct member {
  struct kv_txn *txn;
  status *failure; /* from malloc, NULL if it succeeded */
  kv_version version;
  bool wrote;
};

struct group {
  struct member members[GROUP_TXNS_MAX];
  size_t member_count;
  struct op *ops;
  size_t op_count, op_capacity;
  uint32_t *table; /* hash -> index in ops + 1; a power of two, at most half full */
  size_t table_size;
  struct arena arena;
  struct engine_batch *batch;
  struct buf changes;
  bool has_published; /* `newest` has moved */
  _Alignas(16) char first_block[GROUP_FIRST_BLOCK];
};

struct pipeline {
  struct rocks_store *store;
  _Atomic(struct kv_txn *) pushed; /* newest first */
  _Atomic uint64_t queue_len;
  struct kv_txn *waiting; /* the commit thread's: taken, in order, not in a group yet */
  uint64_t hash_seed;     /* clients choose keys; they must not choose where they fall */
  struct recent recent;   /* the commit thread's: with the members of the group before the one at work */

  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t pushed_changed, groups_changed;
  bool closing;          /* no new transactions */
  bool committed_all;    /* the commit thread has ended */
  _Atomic bool refusing; /* as `closing`, for those who push */
  _Atomic int pushing;   /* who is between looking at `refusing` and having pushed */
  struct group *free_groups[GROUPS];
  size_t free_count;
  struct group *finished[GROUPS]; /* oldest first */
  size_t finished_count;
  bool is_answering; /* the completion thread is at work */

  unsigned gathers_skipped, gathers_to_skip; /* the commit thread's: see gather_wait */

  _Atomic uint64_t commits, groups, document_bytes, applied_bytes;
  struct histogram group_size, group_write_us; /* the commit thread adds */
  pthread_t commit_thread, completion_thread;
  struct group group_memory[GROUPS];
};

struct reader {
  struct kv_reader base;
  struct pipeline *pipeline;
  struct group *group;
};

struct batch {
  struct kv_batch base;
  struct pipeline *pipeline;
  struct group *group;
  kv_version version;
  size_t first_op; /* of this member */
  status failure;
};

/* ---- The table of a group's writes ---- */

static uint64_t key_hash(const struct pipeline *p, unsigned space, str key) {
  return rocks_hash(p->hash_seed ^ space, key);
}

static uint32_t *table_slot(const struct group *g, uint64_t hash, unsigned space, str key) {
  size_t at = (size_t)hash & (g->table_size - 1);
  while (g->table[at] != 0) {
    const struct op *op = &g->ops[g->table[at] - 1];
    if (op->hash == hash && op->space == space && str_eq(op->key, key))
      break;
    at = (at + 1) & (g->table_size - 1);
  }
  return &g->table[at];
}

static const struct op *group_find(const struct pipeline *p, const struct group *g, unsigned space, str key) {
  if (g->table_size == 0) /* the first member of a new group has written, but nothing is entered yet */
    return NULL;
  uint32_t slot = *table_slot(g, key_hash(p, space, key), space, key);
  return slot == 0 ? NULL : &g->ops[slot - 1];
}

/* Room in the table for all ops; only those before `count` are entered. */
static bool table_reserve(struct group *g, size_t count) {
  if (g->op_count * 2 <= g->table_size)
    return true;
  size_t size = g->table_size == 0 ? 1024 : g->table_size;
  while (size < g->op_count * 2)
    size *= 2;
  uint32_t *table = calloc(size, sizeof *table);
  if (table == NULL)
    return false;
  free(g->table);
  g->table = table;
  g->table_size = size;
  for (size_t i = 0; i < count; i++)
    *table_slot(g, g->ops[i].hash, g->ops[i].space, g->ops[i].key) = (uint32_t)i + 1;
  return true;
}

/* A member succeeded: from now on the next ones see its writes. */
static bool table_enter(struct group *g, size_t first_op) {
  if (!table_reserve(g, first_op))
    return false;
  for (size_t i = first_op; i < g->op_count; i++) {
    uint32_t *slot = table_slot(g, g->ops[i].hash, g->ops[i].space, g->ops[i].key);
    if (*slot > first_op)
      g->ops[*slot - 1].replaced = true;
    *slot = (uint32_t)i + 1;
  }
  return true;
}

static void group_clear(struct group *g) {
  /* A large table is cheaper to make again than to clear for each small group. */
  if (g->table_size > 16384 || g->op_capacity > 16384) {
    free(g->table);
    free(g->ops);
    g->table = NULL;
    g->ops = NULL;
    g->table_size = g->op_capacity = 0;
  } else if (g->op_count > 0) {
    memset(g->table, 0, g->table_size * sizeof *g->table);
  }
  g->member_count = g->op_count = 0;
  g->has_published = false;
  arena_reset(&g->arena);
  if (engine_batch_bytes(g->batch) > GROUP_BYTES_MAX) {
    engine_batch_free(g->batch);
    g->batch = engine_batch_new();
  }
  engine_batch_clear(g->batch);
  if (g->changes.capacity > CHANGE_RECORD_BYTES * 4)
    buf_fini(&g->changes);
  buf_clear(&g->changes);
}

/* ---- What resolve reads and writes through ---- */

static status reader_of_group_get(struct pipeline *p, struct group *g, enum kv_space space, str key,
                                  struct kv_value *ret) {
  const struct op *op = group_find(p, g, space, key);
  if (op != NULL) {
    *ret = (struct kv_value){0};
    if (!op->deleted)
      *ret = (struct kv_value){str_from(op->value, ENGINE_VALUE_PREFIX_BYTES), true, op->version, NULL};
    return status_ok();
  }
  if (space == KV_DOCUMENTS && hot_find(p->store->hot, key, INT64_MAX, ret))
    return status_ok();
  struct engine_pin *pin = NULL;
  str bytes = {0};
  int64_t version = 0;
  status s = engine_get(p->store->engine, space, key, INT64_MAX, &pin, &bytes, &version);
  if (!status_is_ok(&s)) {
    rocks_saw(p->store, &s);
    return s;
  }
  *ret = (struct kv_value){0};
  if (pin == NULL)
    return s;
  pin->driver = &rocks_driver;
  pin->owner = NULL; /* the commit thread is inside the gate for the whole group */
  *ret = (struct kv_value){bytes, true, version, pin};
  return s;
}

status rocks_reader_get(struct kv_reader *base, enum kv_space space, str key, struct kv_value *ret) {
  struct reader *reader = (struct reader *)base;
  return reader_of_group_get(reader->pipeline, reader->group, space, key, ret);
}

static bool ops_reserve(struct group *g) {
  if (g->op_count < g->op_capacity)
    return true;
  size_t capacity = g->op_capacity == 0 ? 256 : g->op_capacity * 2;
  struct op *ops = realloc(g->ops, capacity * sizeof *ops);
  if (ops == NULL)
    return false;
  g->ops = ops;
  g->op_capacity = capacity;
  return true;
}

void rocks_batch_fail(struct kv_batch *base, const status *failure) {
  struct batch *batch = (void *)base;
  if (status_is_ok(&batch->failure))
    batch->failure = *failure;
}

void rocks_batch_write(struct kv_batch *base, enum kv_space space, str key, bool deleted, str value) {
  struct batch *batch = (void *)base;
  struct group *g = batch->group;
  size_t value_len = deleted ? 0 : ENGINE_VALUE_PREFIX_BYTES + value.len;
  char *copy = ops_reserve(g) ? arena_alloc(&g->arena, key.len + value_len) : NULL;
  if (copy == NULL) {
    status failure = status_make(STATUS_RESOURCE_EXHAUSTED, "The commit is too large.");
    rocks_batch_fail(base, &failure);
    return;
  }
  memcpy(copy, key.ptr, key.len);
  if (!deleted) {
    rocks_encode64(copy + key.len, (uint64_t)batch->version, false);
    if (value.len > 0)
      memcpy(copy + key.len + ENGINE_VALUE_PREFIX_BYTES, value.ptr, value.len);
  }
  g->ops[g->op_count++] = (struct op){
      .hash = key_hash(batch->pipeline, space, key),
      .key = str_make(copy, key.len),
      .value = str_make(copy + key.len, value_len),
      .version = batch->version,
      .space = space,
      .deleted = deleted,
  };
}

/* ---- One member ---- */

static status conflict(void) {
  return status_default(STATUS_ABORTED);
}

/* What is left of the work that validating one transaction may take, in comparisons of keys. */
struct validation {
  kv_version since;
  int64_t writes; /* since then, as the window knows */
  uint64_t work_left;
};

static bool spend(struct validation *v, uint64_t work) {
  bool enough = work <= v->work_left;
  v->work_left = enough ? v->work_left - work : 0;
  return enough;
}

static status check_key(struct pipeline *p, struct group *g, const struct kv_key *key, struct validation *v) {
  if (v->writes != RECENT_UNKNOWN) {
    uint64_t hash = key_hash(p, key->space, key->key);
    return spend(v, 1) && !recent_has_key(&p->recent, v->since, key->space, hash) ? status_ok() : conflict();
  }
  if (!spend(v, WORK_OF_GET) || group_find(p, g, key->space, key->key) != NULL)
    return conflict();
  int64_t version = 0;
  STATUS_TRY(engine_key_version(p->store->engine, key->space, key->key, &version));
  return version > v->since ? conflict() : status_ok();
}

static bool group_has_range(const struct group *g, const struct kv_range *range) {
  for (size_t i = 0; i < g->op_count; i++) {
    const struct op *op = &g->ops[i];
    if (op->space == range->space && str_cmp(op->key, range->lower) >= 0 &&
        (range->upper.len == 0 || str_cmp(op->key, range->upper) < 0))
      return true;
  }
  return false;
}

/* What the engine knows: everything but the members of this group. */
static status check_range_by_walk(struct pipeline *p, struct group *g, const struct kv_range *range,
                                  uint64_t steps_max, struct validation *v, enum engine_changed *ret) {
  if (!spend(v, g->op_count) || group_has_range(g, range)) {
    *ret = ENGINE_CHANGED;
    return status_ok();
  }
  struct port *port = p->store->port;
  int64_t before_us = port->monotonic_us(port);
  STATUS_TRY(engine_range_changed(p->store->engine, range->space, range->lower, range->upper, v->since,
                                  steps_max, ret));
  if (!spend(v, (uint64_t)(port->monotonic_us(port) - before_us) * WORK_IN_A_US))
    *ret = ENGINE_CHANGED;
  return status_ok();
}

/* The engine walks over what was read, the window over what was written. Which way is shorter is not known
 * before, so the engine is asked first for as long as the window would take. */
static status check_range(struct pipeline *p, struct group *g, const struct kv_range *range,
                          struct validation *v) {
  if (rocks_is_empty_range(range->lower, range->upper))
    return status_ok();
  bool in_window = v->writes != RECENT_UNKNOWN;
  uint64_t steps_max = (in_window ? (uint64_t)v->writes : v->work_left) / WORK_OF_STEP;
  enum engine_changed changed = ENGINE_NOT_KNOWN;
  if (steps_max >= WALK_MIN)
    STATUS_TRY(check_range_by_walk(p, g, range, steps_max, v, &changed));
  if (changed == ENGINE_NOT_KNOWN && in_window)
    changed = spend(v, (uint64_t)v->writes) &&
                      !recent_has_range(&p->recent, v->since, range->space, range->lower, range->upper)
                  ? ENGINE_UNCHANGED
                  : ENGINE_CHANGED;
  return changed == ENGINE_UNCHANGED ? status_ok() : conflict();
}

/* Each version after the snapshot must still be there to be seen: so a snapshot from before the kept history
 * cannot be checked, and the transaction starts again; as one does whose check would hold up all others. */
static status check_read_set(struct pipeline *p, struct group *g, const struct kv_txn *txn) {
  if (txn->read_version == KV_LATEST || txn->key_count + txn->range_count == 0)
    return status_ok();
  if (txn->read_version < atomic_load(&p->store->oldest_history))
    return conflict();
  struct validation v = {.since = txn->read_version,
                         .writes = recent_count(&p->recent, txn->read_version),
                         .work_left = VALIDATION_WORK_MAX};
  if (v.writes == 0)
    return status_ok();
  for (size_t i = 0; i < txn->key_count; i++)
    STATUS_TRY(check_key(p, g, &txn->keys[i], &v));
  for (size_t i = 0; i < txn->range_count; i++)
    STATUS_TRY(check_range(p, g, &txn->ranges[i], &v));
  return status_ok();
}

static kv_version version_take(struct rocks_store *store) {
  pthread_mutex_lock(&store->clock_lock);
  kv_version version = version_clock_next(&store->clock);
  if (store->first_in_flight == 0)
    store->first_in_flight = version;
  pthread_mutex_unlock(&store->clock_lock);
  return version;
}

static void versions_landed(struct rocks_store *store) {
  pthread_mutex_lock(&store->clock_lock);
  store->first_in_flight = 0;
  pthread_mutex_unlock(&store->clock_lock);
}

static status out_of_memory = {STATUS_RESOURCE_EXHAUSTED, "The server is out of memory."};

static void member_fail(struct member *m, const status *failure) {
  if (m->failure != NULL)
    return;
  m->failure = malloc(sizeof *m->failure);
  if (m->failure == NULL)
    m->failure = &out_of_memory;
  else
    *m->failure = *failure;
}

static status member_resolve(struct pipeline *p, struct group *g, struct member *m) {
  STATUS_TRY(check_read_set(p, g, m->txn));
  m->version = version_take(p->store);
  struct reader reader = {.base.driver = &rocks_driver, .pipeline = p, .group = g};
  struct batch batch = {.base.driver = &rocks_driver,
                        .pipeline = p,
                        .group = g,
                        .version = m->version,
                        .first_op = g->op_count,
                        .failure = status_ok()};
  status s = m->txn->resolve(m->txn->argument, &reader.base, m->version, &batch.base);
  if (status_is_ok(&s))
    s = batch.failure;
  if (status_is_ok(&s) && !table_enter(g, batch.first_op))
    s = status_default(STATUS_RESOURCE_EXHAUSTED);
  if (!status_is_ok(&s))
    g->op_count = batch.first_op;
  for (size_t i = batch.first_op; i < g->op_count; i++)
    recent_add(&p->recent, m->version, g->ops[i].space, g->ops[i].hash, g->ops[i].key);
  m->wrote = g->op_count > batch.first_op;
  return s;
}

/* ---- A group ---- */

static void change_record_put(struct pipeline *p, struct group *g, kv_version version, uint32_t part) {
  char key[CHANGE_KEY_BYTES];
  change_key_encode(key, version, part);
  engine_batch_put(p->store->engine, g->batch, ENGINE_CHANGES, str_make(key, sizeof key), 0,
                   buf_str(&g->changes));
  buf_clear(&g->changes);
}

static void op_encode(struct pipeline *p, struct group *g, const struct op *op) {
  if (op->deleted)
    engine_batch_delete(p->store->engine, g->batch, op->space, op->key, op->version);
  else
    engine_batch_put(p->store->engine, g->batch, op->space, op->key, op->version, op->value);
}

static uint64_t big_endian(str bytes, size_t at) {
  uint64_t number = 0;
  for (size_t i = at; i < at + 8; i++)
    number = number << 8 | (i < bytes.len ? (uint8_t)bytes.ptr[i] : 0);
  return number;
}

static int compare_sorted(const void *left, const void *right) {
  const struct sorted_op *a = left, *b = right;
  for (size_t i = 0; i < 2; i++)
    if (a->word[i] != b->word[i])
      return a->word[i] < b->word[i] ? -1 : 1;
  int order = str_cmp(a->op->key, b->op->key);
  return order != 0 ? order : (a->op > b->op) - (a->op < b->op); /* one key: in the order of versions */
}

/* Index entries are most of what is written, and the engine inserts neighbours one after the other at half
 * the cost: so they go in the order of their keys. What all have in common in front, and that is much, is not
 * compared again and again. */
static status index_encode(struct pipeline *p, struct group *g, size_t count) {
  if (count == 0)
    return status_ok();
  struct sorted_op *sorted = arena_alloc(&g->arena, count * sizeof *sorted);
  if (sorted == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  size_t filled = 0, common = SIZE_MAX;
  for (size_t i = 0; i < g->op_count; i++) {
    const struct op *op = &g->ops[i];
    if (op->space != KV_INDEX || op->replaced)
      continue;
    str first = filled == 0 ? op->key : sorted[0].op->key;
    common = common < op->key.len ? common : op->key.len;
    for (size_t at = 0; at < common; at++)
      if (first.ptr[at] != op->key.ptr[at])
        common = at;
    sorted[filled++].op = op;
  }
  assert(filled == count);
  for (size_t i = 0; i < count; i++)
    for (size_t word = 0; word < 2; word++)
      sorted[i].word[word] = big_endian(sorted[i].op->key, common + 8 * word);
  qsort(sorted, count, sizeof *sorted, compare_sorted);
  for (size_t i = 0; i < count; i++)
    op_encode(p, g, sorted[i].op);
  return status_ok();
}

/* Writes of one member stand together, so each version makes its own records. */
static status group_encode(struct pipeline *p, struct group *g) {
  uint32_t part = 0;
  kv_version version = 0;
  size_t index_count = 0;
  for (size_t i = 0; i < g->op_count; i++) {
    const struct op *op = &g->ops[i];
    if (op->replaced)
      continue;
    if (op->version != version || g->changes.len >= CHANGE_RECORD_BYTES) {
      if (g->changes.len > 0)
        change_record_put(p, g, version, part);
      part = op->version == version ? part + 1 : 0;
      version = op->version;
    }
    if (op->space == KV_INDEX) {
      index_count++;
      continue;
    }
    op_encode(p, g, op);
    if (op->space == KV_DOCUMENTS)
      change_record_add(&g->changes, KV_DOCUMENTS, op->deleted, op->key);
  }
  if (g->changes.len > 0)
    change_record_put(p, g, version, part);
  STATUS_TRY(index_encode(p, g, index_count));
  rocks_meta_put(p->store, g->batch, META_LAST, version);
  return g->changes.failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

static void group_write(struct pipeline *p, struct group *g, kv_version newest) {
  struct rocks_store *store = p->store;
  uint64_t applied = 0, documents = 0;
  for (size_t i = 0; i < g->op_count; i++) {
    const struct op *op = &g->ops[i];
    size_t bytes = op->key.len + op->value.len;
    applied += op->replaced ? 0 : bytes;
    if (op->space == KV_DOCUMENTS) {
      hot_forget(store->hot, op->key, op->version);
      documents += op->replaced ? 0 : bytes;
    }
  }
  status s = group_encode(p, g);
  if (status_is_ok(&s)) {
    int64_t begin_us = store->port->monotonic_us(store->port);
    s = engine_write(store->engine, g->batch, store->options.sync == KV_SYNC_ON);
    histogram_add(&p->group_write_us, (uint64_t)(store->port->monotonic_us(store->port) - begin_us));
  }
  if (status_is_ok(&s)) {
    atomic_store(&store->newest, newest);
    g->has_published = true;
    atomic_fetch_add_explicit(&p->applied_bytes, applied, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->document_bytes, documents, memory_order_relaxed);
    if (store->options.sync == KV_SYNC_RELAXED)
      atomic_store_explicit(&store->log_is_dirty, true, memory_order_relaxed);
    return;
  }
  /* It may be on the medium, and be there when the store is open again, or not. */
  recent_forget(&p->recent, newest);
  rocks_engine_failed(store, &s);
  if (s.code == STATUS_DATA_LOSS)
    s.code = STATUS_UNAVAILABLE;
  /* Those that wrote nothing too: what they saw, and were content with, may be what was just lost. */
  for (size_t i = 0; i < g->member_count; i++)
    member_fail(&g->members[i], &s);
}

static void group_fail(struct group *g, const status *failure) {
  for (size_t i = 0; i < g->member_count; i++)
    member_fail(&g->members[i], failure);
}

/* The members from `first` on wait for the next group. */
static void group_put_back(struct pipeline *p, struct group *g, size_t first) {
  atomic_fetch_add(&p->queue_len, g->member_count - first);
  while (g->member_count > first) {
    struct kv_txn *txn = g->members[--g->member_count].txn;
    txn->next = p->waiting;
    p->waiting = txn;
  }
}

static void group_run(struct pipeline *p, struct group *g) {
  struct rocks_store *store = p->store;
  status s = rocks_write_status(store, GROUP_BYTES_MAX);
  if (status_is_ok(&s))
    s = rocks_enter(store);
  if (!status_is_ok(&s)) {
    group_fail(g, &s);
    return;
  }
  kv_version newest = atomic_load(&store->newest);
  size_t written = 0;
  for (size_t i = 0; i < g->member_count; i++) {
    if (arena_used_bytes(&g->arena) > GROUP_BYTES_MAX) {
      group_put_back(p, g, i);
      break;
    }
    struct member *m = &g->members[i];
    s = member_resolve(p, g, m);
    if (!status_is_ok(&s)) {
      rocks_saw(store, &s);
      if (s.code == STATUS_DATA_LOSS)
        s.code = STATUS_UNAVAILABLE; /* clients throw away what they queued on DATA_LOSS */
      member_fail(m, &s);
    } else if (m->wrote) {
      newest = m->version;
      written++;
    } else {
      m->version = newest; /* it wrote nothing: it saw this version */
    }
  }
  if (g->op_count > 0)
    group_write(p, g, newest);
  versions_landed(store);
  rocks_leave(store);
  if (g->has_published) {
    atomic_fetch_add_explicit(&p->commits, written, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->groups, 1, memory_order_relaxed);
    histogram_add(&p->group_size, written);
  }
}

static void group_answer(struct pipeline *p, struct group *g) {
  static const status fine = {STATUS_OK, ""};
  if (g->has_published)
    rocks_publish(p->store);
  for (size_t i = 0; i < g->member_count; i++) {
    struct member *m = &g->members[i];
    const status *failure = m->failure;
    m->txn->done(m->txn->argument, failure != NULL ? *failure : fine, failure != NULL ? 0 : m->version);
    if (failure != &out_of_memory)
      free(m->failure);
  }
  group_clear(g);
}

/* ---- The threads ---- */

static void waiting_refill(struct pipeline *p) {
  struct kv_txn *newest_first = atomic_exchange(&p->pushed, NULL);
  struct kv_txn **end = &p->waiting;
  while (*end != NULL)
    end = &(*end)->next;
  struct kv_txn *in_order = NULL;
  while (newest_first != NULL) {
    struct kv_txn *next = newest_first->next;
    newest_first->next = in_order;
    in_order = newest_first;
    newest_first = next;
  }
  *end = in_order;
}

/* Waits for transactions. False: closing, and nothing is left. */
static bool wait_for_work(struct pipeline *p) {
  if (p->waiting != NULL)
    return true;
  waiting_refill(p);
  if (p->waiting != NULL)
    return true;
  pthread_mutex_lock(&p->lock);
  while (atomic_load(&p->pushed) == NULL && !p->closing)
    pthread_cond_wait(&p->pushed_changed, &p->lock);
  pthread_mutex_unlock(&p->lock);
  waiting_refill(p);
  return p->waiting != NULL;
}

static struct group *group_take(struct pipeline *p) {
  pthread_mutex_lock(&p->lock);
  while (p->free_count == 0)
    pthread_cond_wait(&p->groups_changed, &p->lock);
  struct group *g = p->free_groups[--p->free_count];
  pthread_mutex_unlock(&p->lock);
  return g;
}

/* Where syncs are dear for the medium, the group waits a little for more members. A client that commits one
 * after the other would only wait for itself: each time that nobody came the next waits are left out, twice
 * as many as before. */
static void gather_wait(struct pipeline *p) {
  uint32_t gather_us = p->store->options.tuning.gather_us;
  uint64_t before = atomic_load(&p->queue_len);
  if (gather_us == 0 || before >= GATHER_ENOUGH)
    return;
  if (p->gathers_skipped < p->gathers_to_skip) {
    p->gathers_skipped++;
    return;
  }
  nanosleep(&(struct timespec){.tv_nsec = (long)gather_us * 1000}, NULL);
  p->gathers_skipped = 0;
  if (atomic_load(&p->queue_len) > before)
    p->gathers_to_skip = 0;
  else if (p->gathers_to_skip < GATHERS_SKIPPED_MAX)
    p->gathers_to_skip = p->gathers_to_skip * 2 + 1;
}

static void group_gather(struct pipeline *p, struct group *g) {
  waiting_refill(p);
  while (p->waiting != NULL && g->member_count < GROUP_TXNS_MAX) {
    struct kv_txn *txn = p->waiting;
    p->waiting = txn->next;
    g->members[g->member_count++] = (struct member){.txn = txn};
  }
  atomic_fetch_sub(&p->queue_len, g->member_count);
}

static bool group_answer_inline(struct pipeline *p, struct group *g) {
  if (g->member_count > INLINE_DONE_MAX || atomic_load(&p->pushed) != NULL || p->waiting != NULL)
    return false;
  pthread_mutex_lock(&p->lock);
  bool idle = p->finished_count == 0 && !p->is_answering;
  pthread_mutex_unlock(&p->lock);
  if (!idle)
    return false;
  group_answer(p, g);
  pthread_mutex_lock(&p->lock);
  p->free_groups[p->free_count++] = g;
  pthread_mutex_unlock(&p->lock);
  return true;
}

static void *commit_main(void *argument) {
  struct pipeline *p = argument;
  pthread_setname_np(pthread_self(), "commit");
  while (wait_for_work(p)) {
    struct group *g = group_take(p);
    gather_wait(p);
    group_gather(p, g);
    group_run(p, g);
    if (group_answer_inline(p, g))
      continue;
    pthread_mutex_lock(&p->lock);
    p->finished[p->finished_count++] = g;
    pthread_cond_broadcast(&p->groups_changed);
    pthread_mutex_unlock(&p->lock);
  }
  pthread_mutex_lock(&p->lock);
  p->committed_all = true;
  pthread_cond_broadcast(&p->groups_changed);
  pthread_mutex_unlock(&p->lock);
  return NULL;
}

static void *completion_main(void *argument) {
  struct pipeline *p = argument;
  pthread_mutex_lock(&p->lock);
  for (;;) {
    while (p->finished_count == 0 && !p->committed_all)
      pthread_cond_wait(&p->groups_changed, &p->lock);
    if (p->finished_count == 0)
      break;
    struct group *g = p->finished[0];
    p->finished[0] = p->finished[1];
    p->finished_count--;
    p->is_answering = true;
    pthread_mutex_unlock(&p->lock);
    group_answer(p, g);
    pthread_mutex_lock(&p->lock);
    p->is_answering = false;
    p->free_groups[p->free_count++] = g;
    pthread_cond_broadcast(&p->groups_changed);
  }
  pthread_mutex_unlock(&p->lock);
  return NULL;
}

/* ---- From outside ---- */

static status push(struct pipeline *p, struct kv_txn *txn) {
  if (atomic_load(&p->refusing))
    return status_make(STATUS_UNAVAILABLE, "The store is closing.");
  if (atomic_fetch_add(&p->queue_len, 1) >= QUEUE_MAX) {
    atomic_fetch_sub(&p->queue_len, 1);
    return status_make(STATUS_RESOURCE_EXHAUSTED, "Too many writes are waiting. Please try again.");
  }
  struct kv_txn *head = atomic_load(&p->pushed);
  do {
    txn->next = head;
  } while (!atomic_compare_exchange_weak(&p->pushed, &head, txn));
  if (head == NULL) { /* the commit thread may be asleep; whoever pushed first wakes it for all */
    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->pushed_changed);
    pthread_mutex_unlock(&p->lock);
  }
  return status_ok();
}

void rocks_commit(struct kv_store *base, struct kv_txn *txn) {
  struct pipeline *p = rocks_of(base)->pipeline;
  status s;
  if (p == NULL) {
    s = status_make(STATUS_UNAVAILABLE, "The store is open for reading only.");
  } else {
    atomic_fetch_add(&p->pushing, 1);
    s = push(p, txn);
    atomic_fetch_sub(&p->pushing, 1);
  }
  if (!status_is_ok(&s))
    txn->done(txn->argument, s, 0);
}

uint64_t pipeline_queue_len(struct rocks_store *store) {
  return store->pipeline == NULL ? 0 : atomic_load(&store->pipeline->queue_len);
}

static void summarize(const struct histogram *histogram, unsigned first_power, unsigned bounds,
                      struct histogram_summary *ret) {
  struct histogram_counts counts = {0};
  histogram_counts_add(&counts, histogram);
  histogram_summarize(&counts, first_power, bounds, ret);
}

void pipeline_counts(struct rocks_store *store, struct kv_info *ret) {
  struct pipeline *p = store->pipeline;
  if (p == NULL)
    return;
  ret->commit_queue_len = atomic_load(&p->queue_len);
  ret->commits = atomic_load(&p->commits);
  ret->groups = atomic_load(&p->groups);
  ret->applied_bytes = atomic_load(&p->applied_bytes);
  ret->document_bytes = atomic_load(&p->document_bytes);
  summarize(&p->group_size, SIZE_FIRST_POWER, SIZE_BOUNDS, &ret->group_size);
  summarize(&p->group_write_us, WRITE_FIRST_POWER, WRITE_BOUNDS, &ret->group_write_us);
  summarize(&store->late_sync_us, WRITE_FIRST_POWER, WRITE_BOUNDS, &ret->late_sync_us);
}

static void pipeline_free(struct pipeline *p) {
  for (size_t i = 0; i < GROUPS; i++) {
    struct group *g = &p->group_memory[i];
    free(g->ops);
    free(g->table);
    buf_fini(&g->changes);
    engine_batch_free(g->batch);
    arena_fini(&g->arena);
  }
  recent_fini(&p->recent);
  pthread_cond_destroy(&p->groups_changed);
  pthread_cond_destroy(&p->pushed_changed);
  pthread_mutex_destroy(&p->lock);
  free(p);
}

status pipeline_start(struct rocks_store *store) {
  struct pipeline *p = calloc(1, sizeof *p);
  if (p == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  p->store = store;
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->pushed_changed, NULL);
  pthread_cond_init(&p->groups_changed, NULL);
  for (size_t i = 0; i < GROUPS; i++) {
    struct group *g = &p->group_memory[i];
    arena_init(&g->arena, g->first_block, sizeof g->first_block, GROUP_ARENA_MAX);
    g->batch = engine_batch_new();
    p->free_groups[p->free_count++] = g;
  }
  int error = getrandom(&p->hash_seed, sizeof p->hash_seed, 0) == sizeof p->hash_seed ? 0 : errno;
  size_t recent_bytes = store->options.memory_bytes / 8;
  status recent = recent_init(&p->recent, recent_bytes < RECENT_BYTES ? recent_bytes : RECENT_BYTES,
                              atomic_load(&store->newest));
  if (error == 0 && !status_is_ok(&recent))
    error = ENOMEM;
  if (error == 0)
    error = pthread_create(&p->commit_thread, NULL, commit_main, p);
  if (error != 0) {
    pipeline_free(p);
    return status_make(STATUS_RESOURCE_EXHAUSTED, "Cannot start the commit thread: %s.", strerror(error));
  }
  store->pipeline = p;
  error = pthread_create(&p->completion_thread, NULL, completion_main, p);
  if (error == 0)
    return status_ok();
  pthread_mutex_lock(&p->lock);
  p->closing = true;
  pthread_cond_signal(&p->pushed_changed);
  pthread_mutex_unlock(&p->lock);
  pthread_join(p->commit_thread, NULL);
  store->pipeline = NULL;
  pipeline_free(p);
  return status_make(STATUS_RESOURCE_EXHAUSTED, "Cannot start the completion thread: %s.", strerror(error));
}

void pipeline_stop(struct rocks_store *store) {
  struct pipeline *p = store->pipeline;
  atomic_store(&p->refusing, true);
  while (atomic_load(&p->pushing) > 0)
    sched_yield();
  pthread_mutex_lock(&p->lock);
  p->closing = true;
  pthread_cond_signal(&p->pushed_changed);
  pthread_mutex_unlock(&p->lock);
  pthread_join(p->commit_thread, NULL);
  pthread_join(p->completion_thread, NULL);
  store->pipeline = NULL;
  pipeline_free(p);
}
