/* The table of open transactions.
 *
 * One mutex guards the table, its lists and the members of every transaction; nothing slow happens under it,
 * and nothing is called with it held. A transaction stands in the table and in two lists: `by_age`, oldest
 * first, and, while no call uses it, `idle`, the longest idle first; so what is to expire is at the heads.
 * One that is over has left all three and is freed by its last user. */
#include "server/firestore/transactions.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/crypto.h"
#include "base/limits.h"
#include "ports/port.h"
#include "server/firestore/service.h"
#include "server/firestore/turns.h"
#include "storage/index/catalog.h"

enum {
  BUCKETS = 4096,          /* a power of two */
  EVICT_IDLE_MS = 5000,    /* to make room for another: longer than a round trip and some thought */
  FIRST_BLOCK_BYTES = 512, /* of the read set: a handful of names */
  RUN_BYTES = 8,           /* parts of an id */
  NUMBER_BYTES = 8,
  SIGNATURE_BYTES = TRANSACTION_ID_BYTES - RUN_BYTES - NUMBER_BYTES,
};

/* One thing that was read, in the transaction's arena. */
struct read {
  struct read *next;
  enum kv_space space;
  bool is_range;
  str lower, upper; /* of a document: its key, and nothing */
};

struct transaction {
  struct transactions *all;
  struct transaction *next_in_bucket, *prev_by_age, *next_by_age, *prev_idle, *next_idle;
  uint64_t number;
  uint8_t id[TRANSACTION_ID_BYTES];
  bool read_only;
  bool lost_before; /* it repeats another */
  bool has_read;    /* something: the snapshot stands */
  bool over;
  unsigned users;
  int64_t begun_us, used_us;
  kv_snapshot snapshot;
  struct turn turn; /* guarded by the turns */
  enum status_code failure;
  const char *failure_text;
  size_t key_count, range_count;
  struct read *reads; /* newest first */
  struct arena arena; /* of the reads */
  _Alignas(max_align_t) char first_block[FIRST_BLOCK_BYTES];
};

struct transactions {
  struct kv_store *store;
  struct port *port;
  struct turns *turns;
  uint8_t secret[CRYPTO_SHA256_BYTES];
  uint8_t run[RUN_BYTES];
  struct memory_budget budget; /* of all read sets */

  pthread_mutex_t lock; /* guards what follows */
  uint64_t last_number;
  size_t count;
  struct transaction *by_age, *idle;
  struct transaction *buckets[BUCKETS];
};

status transactions_new(struct kv_store *store, struct port *port, str secret, size_t read_bytes_max,
                        struct transactions **ret) {
  struct transactions *all = calloc(1, sizeof *all);
  if (all == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  status result = turns_new(port, &all->turns);
  if (!status_is_ok(&result)) {
    free(all);
    return result;
  }
  all->store = store;
  all->port = port;
  /* A key of its own: what is signed here must be of no use elsewhere. */
  crypto_hmac_sha256(secret, STR("transaction ids"), all->secret);
  crypto_random(all->run, sizeof all->run);
  memory_budget_init(&all->budget, read_bytes_max > 0 ? read_bytes_max : LIMIT_TRANSACTIONS_READ_BYTES);
  pthread_mutex_init(&all->lock, NULL);
  *ret = all;
  return status_ok();
}

/* ---- Ids ---- */

static void sign(const struct transactions *all, const uint8_t *id, str database,
                 uint8_t ret[SIGNATURE_BYTES]) {
  uint8_t inner[CRYPTO_SHA256_BYTES], mac[CRYPTO_SHA256_BYTES], text[RUN_BYTES + NUMBER_BYTES + sizeof inner];
  str secret = str_make(all->secret, sizeof all->secret);
  crypto_sha256(database, inner); /* so that what is signed has one length */
  memcpy(text, id, RUN_BYTES + NUMBER_BYTES);
  memcpy(text + RUN_BYTES + NUMBER_BYTES, inner, sizeof inner);
  crypto_hmac_sha256(secret, str_make(text, sizeof text), mac);
  memcpy(ret, mac, SIGNATURE_BYTES);
}

static void id_make(const struct transactions *all, uint64_t number, str database,
                    uint8_t ret[TRANSACTION_ID_BYTES]) {
  memcpy(ret, all->run, RUN_BYTES);
  memcpy(ret + RUN_BYTES, &number, NUMBER_BYTES);
  sign(all, ret, database, ret + RUN_BYTES + NUMBER_BYTES);
}

/* *ret_number is 0 for an id of another run. */
static status id_check(const struct transactions *all, str id, str database, uint64_t *ret_number) {
  uint8_t bytes[TRANSACTION_ID_BYTES], signature[SIGNATURE_BYTES];
  bool valid = id.len == TRANSACTION_ID_BYTES;
  if (valid) {
    memcpy(bytes, id.ptr, sizeof bytes);
    sign(all, bytes, database, signature);
    valid = crypto_equal(str_make(signature, sizeof signature),
                         str_make(bytes + RUN_BYTES + NUMBER_BYTES, SIGNATURE_BYTES));
  }
  if (!valid)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "Invalid transaction: the id is not one that this server gave for this database.");
  *ret_number = 0;
  if (memcmp(bytes, all->run, RUN_BYTES) == 0)
    memcpy(ret_number, bytes + RUN_BYTES, NUMBER_BYTES);
  return status_ok();
}

/* SDKs know this text and start again when they hear it. */
static status no_longer_valid(void) {
  return status_make(STATUS_INVALID_ARGUMENT,
                     "The referenced transaction has expired or is no longer valid.");
}

/* ---- The table; with the lock held ---- */

static struct transaction **bucket(struct transactions *all, uint64_t number) {
  return &all->buckets[number & (BUCKETS - 1)];
}

static struct transaction *find(struct transactions *all, uint64_t number) {
  struct transaction *t = *bucket(all, number);
  while (t != NULL && t->number != number)
    t = t->next_in_bucket;
  return t;
}

static void enter(struct transactions *all, struct transaction *t) {
  LL_PREPEND2(*bucket(all, t->number), t, next_in_bucket);
  DL_APPEND2(all->by_age, t, prev_by_age, next_by_age);
  all->count++;
}

static void begin_use(struct transactions *all, struct transaction *t) {
  if (t->users++ == 0)
    DL_DELETE2(all->idle, t, prev_idle, next_idle);
}

/* Takes it out of the table. If nobody uses it, it goes to the list of those that are to be freed after the
 * lock is let go. */
static void end(struct transactions *all, struct transaction *t, struct transaction **dead) {
  assert(!t->over);
  t->over = true;
  LL_DELETE2(*bucket(all, t->number), t, next_in_bucket);
  DL_DELETE2(all->by_age, t, prev_by_age, next_by_age);
  all->count--;
  if (t->users > 0)
    return;
  DL_DELETE2(all->idle, t, prev_idle, next_idle);
  LL_PREPEND2(*dead, t, next_in_bucket);
}

static void expire(struct transactions *all, int64_t now_us, struct transaction **dead) {
  while (all->by_age != NULL && now_us - all->by_age->begun_us >= LIMIT_TRANSACTION_MS * INT64_C(1000))
    end(all, all->by_age, dead);
  while (all->idle != NULL && now_us - all->idle->used_us >= LIMIT_TRANSACTION_IDLE_MS * INT64_C(1000))
    end(all, all->idle, dead);
}

static bool make_room(struct transactions *all, int64_t now_us, struct transaction **dead) {
  if (all->count < LIMIT_TRANSACTIONS)
    return true;
  if (all->idle == NULL || now_us - all->idle->used_us < EVICT_IDLE_MS * INT64_C(1000))
    return false;
  end(all, all->idle, dead);
  return true;
}

/* ---- Without the lock ---- */

static void free_all(struct transactions *all, struct transaction *dead) {
  while (dead != NULL) {
    struct transaction *t = dead;
    dead = t->next_in_bucket;
    turns_leave(all->turns, &t->turn);
    arena_fini(&t->arena);
    free(t);
  }
}

void transactions_free(struct transactions *all) {
  if (all == NULL)
    return;
  struct transaction *dead = NULL;
  while (all->by_age != NULL) {
    assert(all->by_age->users == 0);
    end(all, all->by_age, &dead);
  }
  free_all(all, dead);
  turns_free(all->turns);
  pthread_mutex_destroy(&all->lock);
  free(all);
}

void transactions_tick(struct transactions *all) {
  struct transaction *dead = NULL;
  int64_t now_us = all->port->monotonic_us(all->port);
  pthread_mutex_lock(&all->lock);
  expire(all, now_us, &dead);
  pthread_mutex_unlock(&all->lock);
  free_all(all, dead);
  turns_tick(all->turns);
}

size_t transactions_open(struct transactions *all) {
  pthread_mutex_lock(&all->lock);
  size_t count = all->count;
  pthread_mutex_unlock(&all->lock);
  return count;
}

void transactions_stats(struct transactions *all, struct firestore_stats *ret) {
  ret->transactions = transactions_open(all);
  ret->transactions_memory_bytes = memory_budget_used(&all->budget);
  ret->transactions_memory_bytes_max = all->budget.max_bytes;
}

/* ---- Begin, use, release ---- */

status transactions_begin(struct transactions *all, const struct transaction_options *options,
                          struct transaction **ret) {
  uint64_t lost_number = 0;
  if (options->retry_id.len > 0)
    STATUS_TRY(id_check(all, options->retry_id, options->database, &lost_number));
  kv_snapshot snapshot;
  STATUS_TRY(kv_snapshot_at(all->store, options->read_only ? options->read_version : KV_LATEST, &snapshot));
  struct transaction *t = calloc(1, sizeof *t), *dead = NULL;
  if (t == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  t->all = all;
  t->read_only = options->read_only;
  t->lost_before = options->retry_id.len > 0 && !options->read_only;
  t->snapshot = snapshot;
  t->users = 1;
  t->begun_us = t->used_us = all->port->monotonic_us(all->port);
  arena_init(&t->arena, t->first_block, sizeof t->first_block, LIMIT_TRANSACTION_READ_BYTES);
  t->arena.budget = &all->budget;

  pthread_mutex_lock(&all->lock);
  expire(all, t->begun_us, &dead);
  struct transaction *lost = lost_number == 0 ? NULL : find(all, lost_number);
  if (lost != NULL)
    end(all, lost, &dead);
  bool has_room = make_room(all, t->begun_us, &dead);
  if (has_room) {
    t->number = ++all->last_number;
    id_make(all, t->number, options->database, t->id);
    enter(all, t);
  }
  pthread_mutex_unlock(&all->lock);
  free_all(all, dead);
  if (has_room) {
    *ret = t;
    return status_ok();
  }
  arena_fini(&t->arena);
  free(t);
  return status_make(STATUS_RESOURCE_EXHAUSTED, "Too many transactions are open. Please try again.");
}

status transactions_use(struct transactions *all, str id, str database, struct transaction **ret) {
  uint64_t number;
  STATUS_TRY(id_check(all, id, database, &number));
  kv_snapshot now;
  STATUS_TRY(kv_snapshot_at(all->store, KV_LATEST, &now));
  struct transaction *dead = NULL;
  pthread_mutex_lock(&all->lock);
  expire(all, all->port->monotonic_us(all->port), &dead);
  struct transaction *t = number == 0 ? NULL : find(all, number);
  if (t != NULL) {
    begin_use(all, t);
    if (t->users == 1 && !t->has_read && !t->read_only)
      t->snapshot = now;
  }
  pthread_mutex_unlock(&all->lock);
  free_all(all, dead);
  if (t == NULL)
    return no_longer_valid();
  *ret = t;
  return status_ok();
}

static void release(struct transaction *t, bool end_it) {
  struct transactions *all = t->all;
  struct transaction *dead = NULL;
  int64_t now_us = all->port->monotonic_us(all->port);
  pthread_mutex_lock(&all->lock);
  assert(t->users > 0);
  if (end_it && !t->over)
    end(all, t, &dead);
  if (--t->users == 0) {
    t->used_us = now_us;
    if (t->over)
      LL_PREPEND2(dead, t, next_in_bucket);
    else
      DL_APPEND2(all->idle, t, prev_idle, next_idle);
  }
  pthread_mutex_unlock(&all->lock);
  free_all(all, dead);
}

void transaction_release(struct transaction *t) {
  if (t != NULL)
    release(t, false);
}

void transaction_abandon(struct transaction *t) {
  release(t, true);
}

str transaction_id(const struct transaction *t) {
  return str_make(t->id, sizeof t->id);
}

/* Others may set it only while nobody else uses the transaction. */
kv_snapshot transaction_snapshot(const struct transaction *t) {
  return t->snapshot;
}

/* ---- Turns ---- */

bool transaction_turn_wait(struct transaction *t, const str *keys, size_t count, void (*came)(void *argument),
                           void *argument) {
  if (t->read_only)
    return false;
  pthread_mutex_lock(&t->all->lock);
  bool is_first = !t->has_read && t->users == 1 && !t->over;
  pthread_mutex_unlock(&t->all->lock);
  return is_first && turns_enter(t->all->turns, &t->turn, keys, count, t->lost_before, came, argument);
}

void transaction_turn_came(struct transaction *t) {
  if (t->read_only)
    return;
  kv_snapshot now;
  status fresh = kv_snapshot_at(t->all->store, KV_LATEST, &now);
  if (!status_is_ok(&fresh)) /* reading will say so */
    return;
  pthread_mutex_lock(&t->all->lock);
  if (t->users == 1 && !t->has_read)
    t->snapshot = now;
  pthread_mutex_unlock(&t->all->lock);
}

bool transaction_turn_give_up(struct transaction *t) {
  return turns_give_up(t->all->turns, &t->turn);
}

/* ---- What was read ---- */

static status failure_of(const struct transaction *t) {
  if (t->failure != STATUS_OK)
    return status_make(t->failure, "%s", t->failure_text);
  return t->over ? no_longer_valid() : status_ok();
}

/* A read that is not in the set would not be validated, so the transaction cannot go on without it. */
static void fail(struct transaction *t) {
  t->failure = STATUS_RESOURCE_EXHAUSTED;
  t->failure_text = t->arena.over_budget
                        ? "The open transactions have read too much together. Please try again."
                        : "The transaction has read too much: a few ten thousand documents are possible.";
  struct transaction *dead = NULL;
  end(t->all, t, &dead);
  assert(dead == NULL); /* the caller uses it */
}

static str copy(struct transaction *t, str bytes) {
  return bytes.len == 0 ? (str){0} : arena_str_copy(&t->arena, bytes);
}

static status add(struct transaction *t, enum kv_space space, bool is_range, str lower, str upper) {
  if (t->read_only)
    return status_ok();
  pthread_mutex_lock(&t->all->lock);
  status result = failure_of(t);
  struct read *last = t->reads;
  bool again = last != NULL && last->space == space && last->is_range == is_range &&
               str_eq(last->lower, lower) && str_eq(last->upper, upper);
  if (status_is_ok(&result) && !again) {
    struct read *read = ARENA_NEW(&t->arena, struct read);
    if (read != NULL)
      *read = (struct read){t->reads, space, is_range, copy(t, lower), copy(t, upper)};
    if (t->arena.exhausted) {
      fail(t);
      result = failure_of(t);
    } else {
      t->reads = read;
      t->has_read = true;
      *(is_range ? &t->range_count : &t->key_count) += 1;
    }
  }
  pthread_mutex_unlock(&t->all->lock);
  return result;
}

status transaction_read_document(struct transaction *t, str key) {
  return add(t, KV_DOCUMENTS, false, key, (str){0});
}

status transaction_read_range(struct transaction *t, enum kv_space space, str lower, str upper) {
  return add(t, space, true, lower, upper);
}

static void query_read_range(void *argument, enum kv_space space, str lower, str upper) {
  status ignored = transaction_read_range(argument, space, lower, upper); /* transaction_status tells */
  (void)ignored;
}

static void query_read_document(void *argument, str key) {
  status ignored = transaction_read_document(argument, key);
  (void)ignored;
}

struct query_reads transaction_query_reads(struct transaction *t) {
  return (struct query_reads){query_read_range, query_read_document, t};
}

status transaction_status(const struct transaction *t) {
  pthread_mutex_lock(&t->all->lock);
  status result = failure_of(t);
  pthread_mutex_unlock(&t->all->lock);
  return result;
}

/* ---- The end ---- */

/* Whoever has read through indexes relies on commits to keep them up: the ledger changes before an index that
 * is dropped is no longer kept up (storage/index/catalog.h). */
static bool has_read_indexes(const struct transaction *t) {
  for (const struct read *read = t->reads; read != NULL; read = read->next)
    if (read->space == KV_INDEX)
      return true;
  return false;
}

static status fill(const struct transaction *t, struct arena *arena, struct kv_txn *txn) {
  struct kv_key *keys = ARENA_NEW_ARRAY(arena, struct kv_key, t->key_count + 1);
  struct kv_range *ranges = ARENA_NEW_ARRAY(arena, struct kv_range, t->range_count);
  if (keys == NULL || ranges == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  size_t key = 0, range = 0;
  for (const struct read *read = t->reads; read != NULL; read = read->next)
    if (read->is_range)
      ranges[range++] = (struct kv_range){read->space, read->lower, read->upper};
    else
      keys[key++] = (struct kv_key){read->space, read->lower};
  assert(key == t->key_count && range == t->range_count);
  if (has_read_indexes(t))
    keys[key++] = (struct kv_key){KV_SYSTEM, INDEX_LEDGER_KEY};
  txn->read_version = t->has_read ? t->snapshot.version : KV_LATEST;
  txn->keys = keys;
  txn->key_count = key;
  txn->ranges = ranges;
  txn->range_count = range;
  return status_ok();
}

status transactions_take(struct transactions *all, str id, str database, bool has_writes, struct arena *arena,
                         struct kv_txn *txn, struct transaction **ret) {
  uint64_t number;
  STATUS_TRY(id_check(all, id, database, &number));
  struct transaction *dead = NULL;
  pthread_mutex_lock(&all->lock);
  expire(all, all->port->monotonic_us(all->port), &dead);
  struct transaction *t = number == 0 ? NULL : find(all, number);
  bool refused = t != NULL && t->read_only && has_writes;
  if (t != NULL && !refused) {
    begin_use(all, t);
    end(all, t, &dead); /* nobody adds to the reads from here on */
  }
  pthread_mutex_unlock(&all->lock);
  free_all(all, dead);
  if (refused)
    return status_make(STATUS_INVALID_ARGUMENT, "A read-only transaction cannot write.");
  if (t == NULL)
    return no_longer_valid();
  status result = fill(t, arena, txn);
  if (status_is_ok(&result))
    *ret = t;
  else
    transaction_release(t);
  return result;
}

status transactions_rollback(struct transactions *all, str id, str database) {
  uint64_t number;
  STATUS_TRY(id_check(all, id, database, &number));
  struct transaction *dead = NULL;
  pthread_mutex_lock(&all->lock);
  struct transaction *t = number == 0 ? NULL : find(all, number);
  if (t != NULL)
    end(all, t, &dead);
  pthread_mutex_unlock(&all->lock);
  free_all(all, dead);
  return status_ok();
}
