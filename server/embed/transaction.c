/* Transactions of handlers: the Firestore service's own (server/firestore/transactions.h), begun, read
 * through and committed without a client between them.
 *
 *   skerry_transact -> [run: reads, writes] -> commit -> done
 *                           ^                    |
 *                           +---- ABORTED -------+
 *
 * `run` is first called on the caller's thread, and after an ABORTED on the store's, which answers commits.
 * Of several that collide one always wins, so each try is another's success. */
#include <assert.h>
#include <stdlib.h>

#include "server/embed/documents_inside.h"
#include "server/firestore/write_request.h"

enum { TRIES_MAX = 20 };

struct skerry_transaction {
  struct skerry_documents *documents;
  struct rpc_call *call;
  enum skerry_rights rights;
  const struct skerry_transaction_handlers *handlers;
  void *state;
  unsigned tries;
  bool is_in_lane;
  struct skerry_transaction *next; /* in the lane's queue */

  /* Of this run. */
  struct arena arena;
  struct access_caller *caller;
  struct transaction *transaction; /* read through, then taken by the commit */
  uint8_t id[TRANSACTION_ID_BYTES];
  struct doc_write *writes;
  size_t write_count, write_capacity;
  struct doc_commit commit;
};

struct arena *skerry_transaction_arena(struct skerry_transaction *t) {
  return &t->arena;
}

/* ---- Reading ---- */

static status open_reading(struct skerry_transaction *t, struct documents_reading *ret) {
  if (t->write_count > 0)
    return status_make(STATUS_FAILED_PRECONDITION, "A transaction reads first and then writes.");
  *ret = (struct documents_reading){.documents = t->documents,
                                    .caller = t->caller,
                                    .snapshot = transaction_snapshot(t->transaction),
                                    .transaction = t->transaction,
                                    .arena = &t->arena};
  return access_may_enter(t->caller, ACCESS_READ, &t->documents->root);
}

status skerry_transaction_get(struct skerry_transaction *t, str path, struct skerry_document *ret) {
  struct documents_reading reading;
  STATUS_TRY(open_reading(t, &reading));
  return documents_get(&reading, path, ret);
}

status skerry_transaction_query(struct skerry_transaction *t, const struct skerry_query *query,
                                struct skerry_document **ret, size_t *ret_count) {
  struct documents_reading reading;
  STATUS_TRY(open_reading(t, &reading));
  return documents_query(&reading, query, ret, ret_count);
}

/* ---- Writing ---- */

static status grow(struct skerry_transaction *t) {
  if (t->write_count == SKERRY_WRITES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "A transaction has at most %d writes.",
                       (int)SKERRY_WRITES_MAX);
  if (t->write_count < t->write_capacity)
    return status_ok();
  size_t capacity = t->write_capacity == 0 ? 4 : t->write_capacity * 2;
  struct doc_write *more = ARENA_NEW_ARRAY(&t->arena, struct doc_write, capacity);
  if (more == NULL)
    return documents_no_memory();
  if (t->write_count > 0)
    memcpy(more, t->writes, t->write_count * sizeof *more);
  t->writes = more;
  t->write_capacity = capacity;
  return status_ok();
}

static status add_write(struct skerry_transaction *t, str path, const struct doc_write *write,
                        enum skerry_expect expect) {
  struct doc_write added = *write;
  STATUS_TRY(access_may_enter(t->caller, ACCESS_WRITE, &t->documents->root));
  STATUS_TRY(documents_path(t->documents, path, &t->arena, &added.path));
  if (expect != SKERRY_ANYHOW)
    added.precondition =
        (struct doc_precondition){.kind = DOC_PRECONDITION_EXISTS, .exists = expect == SKERRY_EXISTING};
  STATUS_TRY(grow(t));
  t->writes[t->write_count++] = added;
  return status_ok();
}

status skerry_transaction_set(struct skerry_transaction *t, str path, struct skerry_fields *fields,
                              enum skerry_expect expect) {
  struct doc_write write = {.kind = DOC_WRITE_SET};
  STATUS_TRY(fields_check(fields, &write.fields));
  return add_write(t, path, &write, expect);
}

status skerry_transaction_update(struct skerry_transaction *t, str path, struct skerry_fields *fields) {
  struct doc_write write = {.kind = DOC_WRITE_SET};
  STATUS_TRY(fields_check(fields, &write.fields));
  size_t count = write.fields.count;
  struct doc_mask *mask = ARENA_NEW(&t->arena, struct doc_mask);
  struct doc_field_path *paths = ARENA_NEW_ARRAY(&t->arena, struct doc_field_path, count);
  if (mask == NULL || paths == NULL)
    return documents_no_memory();
  for (size_t i = 0; i < count; i++) /* sorted as the fields are */
    paths[i] = (struct doc_field_path){&write.fields.fields[i].name, 1};
  *mask = (struct doc_mask){paths, count};
  write.mask = mask;
  return add_write(t, path, &write, SKERRY_EXISTING);
}

status skerry_transaction_delete(struct skerry_transaction *t, str path, enum skerry_expect expect) {
  struct doc_write write = {.kind = DOC_WRITE_DELETE};
  return add_write(t, path, &write, expect);
}

/* ---- The way of one ---- */

static void end_attempt(struct skerry_transaction *t) {
  access_caller_unref(t->caller);
  t->caller = NULL;
  t->writes = NULL;
  t->write_count = t->write_capacity = 0;
}

/* Once the call is finished the server, and with it the budget of its calls, may be gone. */
static void leave_budget(struct arena *arena) {
  if (arena->budget != NULL && arena->used_bytes > 0)
    memory_budget_give(arena->budget, arena->used_bytes);
  arena->budget = NULL;
}

static void finish(struct skerry_transaction *t, status result, kv_version version) {
  end_attempt(t);
  leave_budget(&t->arena);
  t->handlers->done(t->call, t->state, result, version);
  arena_fini(&t->arena);
  free(t);
}

/* ---- The lane ---- */

/* True: it may be tried now. False: it waits, and lane_leave gives it to another thread. */
static bool lane_enter(struct skerry_transaction *t) {
  struct skerry_documents *documents = t->documents;
  pthread_mutex_lock(&documents->mutex);
  bool is_free = !documents->is_trying;
  documents->is_trying = true;
  t->is_in_lane = true;
  t->next = NULL;
  if (!is_free && documents->waiting == NULL)
    documents->waiting = t;
  else if (!is_free)
    documents->waiting_last->next = t;
  if (!is_free)
    documents->waiting_last = t;
  pthread_mutex_unlock(&documents->mutex);
  return is_free;
}

/* The next one, which is the caller's to try, or NULL. Before the call of `t` is finished: `documents` may be
 * gone after it. */
static struct skerry_transaction *lane_leave(struct skerry_transaction *t) {
  struct skerry_documents *documents = t->documents;
  if (!t->is_in_lane)
    return NULL;
  pthread_mutex_lock(&documents->mutex);
  struct skerry_transaction *next = documents->waiting;
  if (next == NULL)
    documents->is_trying = false;
  else
    documents->waiting = next->next;
  pthread_mutex_unlock(&documents->mutex);
  return next;
}

/* ---- Trying ---- */

static void commit_done(struct doc_commit *commit, status result, kv_version version);

static status begin(struct skerry_transaction *t) {
  struct firestore_service *service = t->documents->service;
  struct transaction_options options = {.database = request_database_name(&t->documents->root)};
  STATUS_TRY(documents_enter(t->documents, t->call, t->rights, ACCESS_READ, &t->caller));
  STATUS_TRY(transactions_begin(service->transactions, &options, &t->transaction));
  str id = transaction_id(t->transaction);
  assert(id.len == sizeof t->id);
  memcpy(t->id, id.ptr, id.len);
  return status_ok();
}

/* What was read goes with the commit; without writes there is nothing to commit, and what was read was of one
 * moment anyway. */
static status prepare(struct skerry_transaction *t) {
  struct firestore_service *service = t->documents->service;
  t->commit = write_request_commit(service, t->writes, t->write_count, &t->arena, commit_done, t);
  STATUS_TRY(write_request_prepare(t->caller, &t->commit));
  transaction_release(t->transaction);
  t->transaction = NULL;
  return transactions_take(service->transactions, str_make(t->id, sizeof t->id),
                           request_database_name(&t->documents->root), true, &t->arena, &t->commit.txn,
                           &t->transaction);
}

/* One run. True: its commit is under way. False: it is over, with *ret_result. */
static bool attempt(struct skerry_transaction *t, status *ret_result, kv_version *ret_version) {
  t->tries++;
  arena_reset(&t->arena);
  status result = begin(t);
  if (status_is_ok(&result))
    result = t->handlers->run(t, t->state);
  *ret_version = t->transaction == NULL ? 0 : transaction_snapshot(t->transaction).version;
  if (status_is_ok(&result) && t->write_count > 0) {
    result = prepare(t);
    if (status_is_ok(&result)) {
      doc_commit_start(t->documents->service->options.store, &t->commit);
      return true;
    }
  }
  if (t->transaction != NULL)
    transaction_abandon(t->transaction);
  t->transaction = NULL;
  *ret_result = result;
  return false;
}

/* Tries `t` and, each time that one is over at once, the next of the lane. */
static void go(struct skerry_transaction *t) {
  status result;
  kv_version version;
  while (t != NULL && !attempt(t, &result, &version)) {
    struct skerry_transaction *next = lane_leave(t);
    finish(t, result, version);
    t = next;
  }
}

static void commit_done(struct doc_commit *commit, status result, kv_version version) {
  struct skerry_transaction *t = commit->user;
  transaction_release(t->transaction);
  t->transaction = NULL;
  if (result.code == STATUS_ABORTED && t->tries < TRIES_MAX && !rpc_call_is_cancelled(t->call)) {
    end_attempt(t);
    if (t->is_in_lane || lane_enter(t))
      go(t);
    return;
  }
  struct skerry_transaction *next = lane_leave(t);
  finish(t, result, version);
  go(next);
}

void skerry_transact(struct skerry_documents *documents, struct rpc_call *call, enum skerry_rights rights,
                     const struct skerry_transaction_handlers *handlers, void *state) {
  struct skerry_transaction *t = calloc(1, sizeof *t);
  if (t == NULL) {
    handlers->done(call, state, status_default(STATUS_RESOURCE_EXHAUSTED), 0);
    return;
  }
  *t = (struct skerry_transaction){
      .documents = documents, .call = call, .rights = rights, .handlers = handlers, .state = state};
  arena_init(&t->arena, NULL, 0, rpc_call_arena(call)->cap_bytes);
  t->arena.budget = rpc_call_arena(call)->budget;
  go(t);
}
