#include "server/cases/store.h"

#include <stdlib.h>

int cases_document_compare(const void *a, const void *b) {
  const struct cases_document *left = a, *right = b;
  return str_cmp(left->key, right->key);
}

str cases_state_get(const struct cases_state *state, str key) {
  struct cases_document wanted = {.key = key};
  for (; state != NULL; state = state->below) {
    const struct cases_document *found = state->count == 0
                                             ? NULL
                                             : bsearch(&wanted, state->documents, state->count,
                                                       sizeof *state->documents, cases_document_compare);
    if (found != NULL)
      return found->record;
  }
  return (str){NULL, 0};
}

/* ---- The part of a driver that commits use ---- */

struct store_reader {
  struct kv_reader base;
  const struct cases_state *state;
};

struct store_batch {
  struct kv_batch base;
  status failure;
};

static status reader_get(struct kv_reader *reader, enum kv_space space, str key, struct kv_value *ret) {
  const struct store_reader *own = (struct store_reader *)reader;
  str record = space == KV_DOCUMENTS ? cases_state_get(own->state, key) : (str){NULL, 0};
  *ret = (struct kv_value){.bytes = record, .found = record.len > 0, .version = record.len > 0};
  return status_ok();
}

static void batch_write(struct kv_batch *batch, enum kv_space space, str key, bool deleted, str value) {
  (void)batch;
  (void)space;
  (void)key;
  (void)deleted;
  (void)value;
}

static void batch_fail(struct kv_batch *batch, const status *failure) {
  ((struct store_batch *)batch)->failure = *failure;
}

static void commit(struct kv_store *store, struct kv_txn *txn);

static const struct kv_driver driver = {.name = "cases",
                                        .reader_get = reader_get,
                                        .batch_write = batch_write,
                                        .batch_fail = batch_fail,
                                        .commit = commit};

static void commit(struct kv_store *store, struct kv_txn *txn) {
  const void *whole = store; /* it is the first member; 32-bit ARM wants more alignment for the whole */
  const struct cases_store *own = whole;
  struct store_reader reader = {{&driver}, own->state};
  struct store_batch batch = {{&driver}, status_ok()};
  status result = txn->resolve(txn->argument, &reader.base, own->version, &batch.base);
  if (status_is_ok(&result))
    result = batch.failure;
  txn->done(txn->argument, result, own->version);
}

void cases_store_init(struct cases_store *store, const struct cases_state *state, kv_version version) {
  *store = (struct cases_store){{&driver}, state, version};
}
