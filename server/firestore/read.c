/* GetDocument and BatchGetDocuments. Reading a document decodes nothing unless there is a mask: what is
 * stored is the wire form of its fields. */
#include <assert.h>
#include <stdlib.h>

#include "base/wire.h"
#include "server/firestore/handlers.h"
#include "server/firestore/request.h"
#include "storage/document/key.h"

/* ---- GetDocument ---- */

/* At which version to read, and the transaction, if there is one: the caller's to release. */
static status get_snapshot(const struct firestore_service *service,
                           const Google__Firestore__V1__GetDocumentRequest *request,
                           const struct doc_path *path, struct transaction **ret_transaction,
                           kv_snapshot *ret) {
  switch (request->consistency_selector_case) {
  case GOOGLE__FIRESTORE__V1__GET_DOCUMENT_REQUEST__CONSISTENCY_SELECTOR_TRANSACTION:
    STATUS_TRY(
        request_use_transaction(service, request->transaction, request_database_name(path), ret_transaction));
    *ret = transaction_snapshot(*ret_transaction);
    return status_ok();
  case GOOGLE__FIRESTORE__V1__GET_DOCUMENT_REQUEST__CONSISTENCY_SELECTOR_READ_TIME:
    return request_snapshot(service, request->read_time, ret);
  case GOOGLE__FIRESTORE__V1__GET_DOCUMENT_REQUEST__CONSISTENCY_SELECTOR__NOT_SET:
  default:
    return request_snapshot(service, NULL, ret);
  }
}

/* What was read, as the rules see it: before anybody hears whether it is there. */
static status judge_found(struct access_reading *reading, const struct doc_path *path,
                          const struct kv_value *value, struct doc_record *ret) {
  if (value->found)
    STATUS_TRY(doc_record_decode(value->bytes, ret));
  return access_judge_document(reading, path, value->found ? &ret->fields : NULL);
}

/* What the caller gets belongs to the transaction; what it does not get must not, or the commit would tell
 * whether that changed. */
static status read_document(struct access_reading *reading, const struct doc_path *path, kv_snapshot snapshot,
                            str key, struct transaction *transaction, struct kv_value *value,
                            struct doc_record *ret) {
  STATUS_TRY(kv_get(snapshot, KV_DOCUMENTS, key, value));
  STATUS_TRY(judge_found(reading, path, value, ret));
  return transaction == NULL ? status_ok() : transaction_read_document(transaction, key);
}

static status get_document(struct rpc_call *call, const Google__Firestore__V1__GetDocumentRequest *request,
                           struct kv_value *value, struct doc_path *ret_path, struct doc_record *ret) {
  const struct firestore_service *service = request_service(call);
  struct arena *arena = rpc_call_arena(call);
  STATUS_TRY(request_document(service, str_from_cstr(request->name), REQUEST_READS, ret_path));
  const struct access_caller *caller;
  STATUS_TRY(access_enter(service->options.access, call, ACCESS_READ, ret_path, &caller));
  const struct doc_mask *mask;
  STATUS_TRY(request_read_mask(request->mask, arena, &mask));
  str key;
  STATUS_TRY(doc_key_from_path(ret_path, arena, &key));
  struct transaction *transaction = NULL;
  kv_snapshot snapshot;
  STATUS_TRY(get_snapshot(service, request, ret_path, &transaction, &snapshot));
  struct access_reading reading;
  status result = access_reading_init(caller, ret_path, false, arena, &reading);
  if (status_is_ok(&result))
    result = read_document(&reading, ret_path, snapshot, key, transaction, value, ret);
  transaction_release(transaction);
  STATUS_TRY(result);
  if (!value->found)
    return status_make(STATUS_NOT_FOUND, "Document \"" STR_FMT "\" not found.", STR_ARG(ret_path->name));
  return request_project(ret, mask, arena);
}

void firestore_get_document(struct rpc_call *call, const Google__Firestore__V1__GetDocumentRequest *request) {
  struct kv_value value = {0};
  struct doc_path path;
  struct doc_record record;
  status result = get_document(call, request, &value, &path, &record);
  if (status_is_ok(&result))
    request_reply_document(call, path.name, &record);
  else
    rpc_call_finish(call, result);
  kv_value_release(&value);
}

/* ---- BatchGetDocuments ---- */

/* google.firestore.v1.BatchGetDocumentsResponse */
enum { FOUND_FIELD = 1, MISSING_FIELD = 2, TRANSACTION_FIELD = 3, READ_TIME_FIELD = 4 };

/* Documents are read some at a time: enough to be cheap, few enough that a slow reader pins little. */
enum { BATCH_GET_CHUNK = 20 };

/* After so many documents, or bytes decoded for a mask, other calls have their turn. */
enum { TURN_DOCUMENTS_MAX = 512, TURN_DECODED_MAX = 2 * 1024 * 1024 };

/*   opened --+--> waiting (for a turn: turns.h) --+--> reading --> ended
 *            +------------------------------------+                            */
struct batch_get {
  enum { BATCH_GET_OPENED, BATCH_GET_WAITING, BATCH_GET_READING } stage;
  struct transaction *transaction; /* or NULL */
  bool owes_id;                    /* the transaction is new, and the client has not got its id yet */
  kv_snapshot snapshot;
  struct access_reading reading;
  const struct doc_mask *mask;
  size_t count, next; /* of names; next: not yet sent */
  str *names, *keys;  /* without duplicates, in the order of the request */
  struct kv_value values[BATCH_GET_CHUNK];
  size_t first, chunk; /* values[0, chunk) belong to names[first...] */
};

static status send_time_too_large(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the response.");
}

/* The response for one document, found or missing. It belongs to the transaction before the client knows it,
 * and not at all if the client may not know it (read_document). */
static status batch_get_message(struct batch_get *get, struct arena *arena, str name, str key,
                                const struct kv_value *value, rpc_message *ret) {
  struct doc_path path;
  struct doc_record record;
  STATUS_TRY(doc_path_parse_document(name, &path));
  STATUS_TRY(judge_found(&get->reading, &path, value, &record));
  if (get->transaction != NULL)
    STATUS_TRY(transaction_read_document(get->transaction, key));
  int64_t time = get->snapshot.version;
  size_t time_size = wire_timestamp_field_size(READ_TIME_FIELD, time);
  if (!value->found) {
    if (!rpc_message_alloc(wire_bytes_field_size(MISSING_FIELD, name.len) + time_size, ret))
      return send_time_too_large();
    wire_put_timestamp(wire_put_bytes(ret->data, MISSING_FIELD, name), READ_TIME_FIELD, time);
    return status_ok();
  }
  STATUS_TRY(request_project(&record, get->mask, arena));
  size_t size = doc_document_wire_size(name, &record);
  if (!rpc_message_alloc(wire_bytes_field_size(FOUND_FIELD, size) + time_size, ret))
    return send_time_too_large();
  uint8_t *at = wire_put_bytes_head(ret->data, FOUND_FIELD, size);
  doc_document_wire_write(name, &record, at);
  wire_put_timestamp(at + size, READ_TIME_FIELD, time);
  return status_ok();
}

static void release_chunk(struct batch_get *get) {
  for (size_t i = 0; i < get->chunk; i++)
    kv_value_release(&get->values[i]);
  get->chunk = 0;
}

static status read_chunk(struct batch_get *get) {
  release_chunk(get);
  size_t left = get->count - get->next;
  get->first = get->next;
  get->chunk = left < BATCH_GET_CHUNK ? left : BATCH_GET_CHUNK;
  return kv_get_many(get->snapshot, KV_DOCUMENTS, get->chunk, get->keys + get->first, get->values);
}

static void batch_get_end(struct rpc_call *call, struct batch_get *get, status result) {
  release_chunk(get);
  if (get->owes_id)
    transaction_abandon(get->transaction);
  else
    transaction_release(get->transaction);
  rpc_call_finish(call, result);
}

/* The response that begins a stream with a new transaction. */
static status transaction_message(const struct batch_get *get, rpc_message *ret) {
  str id = transaction_id(get->transaction);
  if (!rpc_message_alloc(wire_bytes_field_size(TRANSACTION_FIELD, id.len), ret))
    return send_time_too_large();
  wire_put_bytes(ret->data, TRANSACTION_FIELD, id);
  return status_ok();
}

/* The next response. */
static status next_message(struct batch_get *get, size_t *decoded_bytes, rpc_message *ret) {
  if (get->owes_id)
    return transaction_message(get, ret);
  if (get->next >= get->first + get->chunk)
    STATUS_TRY(read_chunk(get));
  const struct kv_value *value = &get->values[get->next - get->first];
  /* A masked document takes memory for the time of its encoding only. */
  struct arena scratch;
  arena_init(&scratch, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  status result = batch_get_message(get, &scratch, get->names[get->next], get->keys[get->next], value, ret);
  arena_fini(&scratch);
  *decoded_bytes += get->mask == NULL ? 0 : value->bytes.len;
  return result;
}

static void begin_reading(struct batch_get *get) {
  if (get->transaction != NULL) {
    if (get->stage == BATCH_GET_WAITING)
      transaction_turn_came(get->transaction);
    get->snapshot = transaction_snapshot(get->transaction);
  }
  get->stage = BATCH_GET_READING;
}

/* Sends until everything is sent, the reader is behind, or it has been long enough. */
static void batch_get_pump(struct rpc_call *call, void *state) {
  struct batch_get *get = state;
  if (get->stage != BATCH_GET_READING)
    begin_reading(get);
  size_t decoded_bytes = 0;
  for (size_t turn = 0;; turn++) {
    if (get->next == get->count && !get->owes_id) {
      batch_get_end(call, get, status_ok());
      return;
    }
    if (turn >= TURN_DOCUMENTS_MAX || decoded_bytes >= TURN_DECODED_MAX) {
      release_chunk(get);
      rpc_call_yield(call);
      return;
    }
    rpc_message message;
    status result = next_message(get, &decoded_bytes, &message);
    if (!status_is_ok(&result)) {
      batch_get_end(call, get, result);
      return;
    }
    enum rpc_send sent = rpc_call_send(call, &message);
    if (sent != RPC_SEND_OK)
      rpc_message_discard(&message);
    if (sent == RPC_SEND_FULL) {
      release_chunk(get); /* it may be long until the reader goes on: nothing stays pinned */
      return;
    }
    if (sent == RPC_SEND_CLOSED) {
      batch_get_end(call, get, status_default(STATUS_CANCELLED));
      return;
    }
    if (get->owes_id)
      get->owes_id = false;
    else
      get->next++;
  }
}

static void batch_get_cancelled(struct rpc_call *call, void *state) {
  struct batch_get *get = state;
  /* Told already that its turn came: the pump is on its way, and will find the stream closed. */
  if (get->stage == BATCH_GET_WAITING && !transaction_turn_give_up(get->transaction))
    return;
  batch_get_end(call, get, status_default(STATUS_CANCELLED));
}

static void batch_get_turn_came(void *argument) {
  rpc_call_wake(argument); /* the pump runs on the queue's thread */
}

static const struct rpc_call_events batch_get_events = {.drained = batch_get_pump,
                                                        .cancelled = batch_get_cancelled};

struct sorted_key {
  str key;
  size_t index;
};

static int compare_keys(const void *a, const void *b) {
  const struct sorted_key *left = a, *right = b;
  int order = str_cmp(left->key, right->key);
  return order != 0 ? order : (left->index > right->index) - (left->index < right->index);
}

/* The same name twice is answered once (BatchGetDocumentsRequest.documents). */
static status drop_duplicates(struct batch_get *get, struct arena *arena) {
  if (get->count < 2)
    return status_ok();
  struct sorted_key *sorted = ARENA_NEW_ARRAY(arena, struct sorted_key, get->count);
  if (sorted == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < get->count; i++)
    sorted[i] = (struct sorted_key){get->keys[i], i};
  qsort(sorted, get->count, sizeof *sorted, compare_keys);
  for (size_t i = 1; i < get->count; i++)
    if (str_eq(sorted[i - 1].key, sorted[i].key))
      get->keys[sorted[i].index].len = 0;
  size_t kept = 0;
  for (size_t i = 0; i < get->count; i++) {
    if (get->keys[i].len == 0)
      continue;
    get->keys[kept] = get->keys[i];
    get->names[kept++] = get->names[i];
  }
  get->count = kept;
  return status_ok();
}

/* The last of opening: a transaction that was begun is ended by batch_get_end. */
static status batch_get_selector(const struct firestore_service *service,
                                 const Google__Firestore__V1__BatchGetDocumentsRequest *request, str database,
                                 struct batch_get *get) {
  switch (request->consistency_selector_case) {
  case GOOGLE__FIRESTORE__V1__BATCH_GET_DOCUMENTS_REQUEST__CONSISTENCY_SELECTOR_READ_TIME:
    return request_snapshot(service, request->read_time, &get->snapshot);
  case GOOGLE__FIRESTORE__V1__BATCH_GET_DOCUMENTS_REQUEST__CONSISTENCY_SELECTOR_TRANSACTION:
    return request_use_transaction(service, request->transaction, database, &get->transaction);
  case GOOGLE__FIRESTORE__V1__BATCH_GET_DOCUMENTS_REQUEST__CONSISTENCY_SELECTOR_NEW_TRANSACTION:
    STATUS_TRY(request_begin_transaction(service, request->new_transaction, database, &get->transaction));
    get->owes_id = true;
    return status_ok();
  case GOOGLE__FIRESTORE__V1__BATCH_GET_DOCUMENTS_REQUEST__CONSISTENCY_SELECTOR__NOT_SET:
  default:
    return request_snapshot(service, NULL, &get->snapshot);
  }
}

static status batch_get_open(struct rpc_call *call,
                             const Google__Firestore__V1__BatchGetDocumentsRequest *request,
                             struct batch_get **ret) {
  const struct firestore_service *service = request_service(call);
  struct arena *arena = rpc_call_arena(call);
  struct doc_path database;
  STATUS_TRY(request_database(service, request->database, REQUEST_READS, &database));
  const struct access_caller *caller;
  STATUS_TRY(access_enter(service->options.access, call, ACCESS_READ, &database, &caller));
  struct batch_get *get = ARENA_NEW(arena, struct batch_get);
  if (get == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  get->count = request->n_documents;
  get->names = ARENA_NEW_ARRAY(arena, str, get->count);
  get->keys = ARENA_NEW_ARRAY(arena, str, get->count);
  if (get->names == NULL || get->keys == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < get->count; i++) {
    struct doc_path path;
    STATUS_TRY(request_document_in(&database, str_from_cstr(request->documents[i]), &path));
    STATUS_TRY(doc_key_from_path(&path, arena, &get->keys[i]));
    get->names[i] = path.name;
  }
  STATUS_TRY(drop_duplicates(get, arena));
  STATUS_TRY(access_reading_init(caller, &database, get->count > 1, arena, &get->reading));
  STATUS_TRY(request_read_mask(request->mask, arena, &get->mask));
  *ret = get;
  return batch_get_selector(service, request, request_database_name(&database), get);
}

void firestore_batch_get_documents(struct rpc_call *call,
                                   const Google__Firestore__V1__BatchGetDocumentsRequest *request) {
  struct batch_get *get = NULL;
  status result = batch_get_open(call, request, &get);
  if (!status_is_ok(&result)) {
    rpc_call_finish(call, result);
    return;
  }
  assert(get != NULL);
  rpc_call_watch(call, &batch_get_events, get);
  if (get->transaction != NULL) {
    get->stage = BATCH_GET_WAITING; /* before its turn may come */
    if (transaction_turn_wait(get->transaction, get->keys, get->count, batch_get_turn_came, call))
      return;
  }
  batch_get_pump(call, get);
}
