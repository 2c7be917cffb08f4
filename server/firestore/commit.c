/* Everything that writes: CreateDocument, UpdateDocument, DeleteDocument, Commit and BatchWrite. Each becomes
 * one doc_commit (BatchWrite: one a write), parsed and checked on the call's thread; the answer is sent from
 * the store's. */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "server/firestore/handlers.h"
#include "server/firestore/request.h"
#include "server/firestore/write_request.h"
#include "storage/document/codec.h"

static str opaque(ProtobufCBinaryData bytes) {
  return str_make(bytes.data, bytes.len);
}

static struct doc_commit *new_commit(struct rpc_call *call, size_t write_count,
                                     void (*done)(struct doc_commit *, status, kv_version)) {
  struct arena *arena = rpc_call_arena(call);
  struct doc_commit *commit = ARENA_NEW(arena, struct doc_commit);
  struct doc_write *writes = ARENA_NEW_ARRAY(arena, struct doc_write, write_count);
  if (commit == NULL || writes == NULL)
    return NULL;
  *commit = write_request_commit(request_service(call), writes, write_count, arena, done, call);
  return commit;
}

static status enter(struct rpc_call *call, const struct doc_path *where, const struct access_caller **ret) {
  return access_enter(request_service(call)->options.access, call, ACCESS_WRITE, where, ret);
}

/* ---- Commit ---- */

struct commit_call {
  struct rpc_call *call;
  struct transaction *transaction; /* that this ends, or NULL */
};

static void commit_done(struct doc_commit *commit, status result, kv_version version) {
  struct commit_call *state = commit->user;
  struct rpc_call *call = state->call;
  transaction_release(state->transaction);
  Google__Firestore__V1__CommitResponse response = GOOGLE__FIRESTORE__V1__COMMIT_RESPONSE__INIT;
  struct arena arena;
  write_request_answer_arena(&arena);
  if (status_is_ok(&result))
    result = write_request_results(commit, version, &arena, &response.write_results, &response.commit_time);
  response.n_write_results = status_is_ok(&result) ? commit->write_count : 0;
  if (status_is_ok(&result))
    google_firestore_v1_firestore_commit_reply(call, &response);
  else
    rpc_call_finish(call, request_write_status(result));
  arena_fini(&arena);
}

static status commit_open(struct rpc_call *call, const Google__Firestore__V1__CommitRequest *request,
                          struct doc_commit **ret) {
  struct doc_path database;
  const struct access_caller *caller;
  STATUS_TRY(request_database(request_service(call), request->database, REQUEST_WRITES, &database));
  STATUS_TRY(enter(call, &database, &caller));
  struct doc_commit *commit = new_commit(call, request->n_writes, commit_done);
  struct commit_call *state = ARENA_NEW(rpc_call_arena(call), struct commit_call);
  if (commit == NULL || state == NULL)
    return write_request_no_memory();
  state->call = call;
  commit->user = state;
  for (size_t i = 0; i < request->n_writes; i++)
    STATUS_TRY(write_request_parse(&database, request->writes[i], rpc_call_arena(call), &commit->writes[i]));
  *ret = commit;
  STATUS_TRY(write_request_prepare(caller, commit));
  if (request->transaction.len == 0)
    return status_ok();
  /* Last, since a request that is wrong leaves the transaction open. */
  return transactions_take(request_service(call)->transactions,
                           str_make(request->transaction.data, request->transaction.len),
                           request_database_name(&database), request->n_writes > 0, commit->arena,
                           &commit->txn, &state->transaction);
}

void firestore_commit(struct rpc_call *call, const Google__Firestore__V1__CommitRequest *request) {
  struct doc_commit *commit = NULL;
  status result = commit_open(call, request, &commit);
  if (status_is_ok(&result))
    doc_commit_start(request_service(call)->options.store, commit);
  else
    rpc_call_finish(call, request_write_status(result));
}

/* ---- BatchWrite ---- */

/* Each write is a commit of its own; the last to be done answers. */
struct batch_write {
  struct rpc_call *call;
  struct doc_write *writes;
  size_t count;
  struct doc_commit *commits;
  status *results; /* of each write */
  atomic_size_t left;
};

static status make_batch_response(struct batch_write *batch, struct arena *arena,
                                  Google__Firestore__V1__BatchWriteResponse *ret) {
  Google__Firestore__V1__WriteResult *results =
      ARENA_NEW_ARRAY(arena, Google__Firestore__V1__WriteResult, batch->count);
  Google__Rpc__Status *statuses = ARENA_NEW_ARRAY(arena, Google__Rpc__Status, batch->count);
  ret->write_results = ARENA_NEW_ARRAY(arena, Google__Firestore__V1__WriteResult *, batch->count);
  ret->status = ARENA_NEW_ARRAY(arena, Google__Rpc__Status *, batch->count);
  if (results == NULL || statuses == NULL || ret->write_results == NULL || ret->status == NULL)
    return write_request_no_memory();
  ret->n_write_results = ret->n_status = batch->count;
  for (size_t i = 0; i < batch->count; i++) {
    const struct doc_commit *commit = &batch->commits[i];
    google__rpc__status__init(&statuses[i]);
    google__firestore__v1__write_result__init(&results[i]);
    if (status_is_ok(&batch->results[i]))
      STATUS_TRY(write_request_result(&batch->writes[i], &commit->results[0], arena, &results[i]));
    statuses[i].code = (int32_t)batch->results[i].code;
    statuses[i].message = batch->results[i].message;
    ret->write_results[i] = &results[i];
    ret->status[i] = &statuses[i];
  }
  return status_ok();
}

static void batch_write_answer(struct batch_write *batch) {
  Google__Firestore__V1__BatchWriteResponse response = GOOGLE__FIRESTORE__V1__BATCH_WRITE_RESPONSE__INIT;
  struct arena arena;
  write_request_answer_arena(&arena);
  status result = make_batch_response(batch, &arena, &response);
  if (status_is_ok(&result))
    google_firestore_v1_firestore_batch_write_reply(batch->call, &response);
  else
    rpc_call_finish(batch->call, request_write_status(result));
  arena_fini(&arena);
}

static void one_is_done(struct batch_write *batch) {
  if (atomic_fetch_sub(&batch->left, 1) == 1)
    batch_write_answer(batch);
}

static void batch_commit_done(struct doc_commit *commit, status result, kv_version version) {
  (void)version;
  struct batch_write *batch = commit->user;
  batch->results[commit - batch->commits] = request_write_status(result);
  one_is_done(batch);
}

static int compare_names(const void *a, const void *b) {
  const struct doc_write *const *left = a, *const *right = b;
  return str_cmp((*left)->path.name, (*right)->path.name);
}

static status refuse_duplicates(const struct batch_write *batch, struct arena *arena) {
  const struct doc_write **sorted = ARENA_NEW_ARRAY(arena, const struct doc_write *, batch->count);
  if (sorted == NULL)
    return write_request_no_memory();
  for (size_t i = 0; i < batch->count; i++)
    sorted[i] = &batch->writes[i];
  if (batch->count > 1)
    qsort(sorted, batch->count, sizeof *sorted, compare_names);
  for (size_t i = 1; i < batch->count; i++)
    if (str_eq(sorted[i - 1]->path.name, sorted[i]->path.name))
      return status_make(STATUS_INVALID_ARGUMENT,
                         "BatchWrite takes one write a document; two are for " STR_FMT,
                         STR_ARG(sorted[i]->path.name));
  return status_ok();
}

static status batch_write_open(struct rpc_call *call, const Google__Firestore__V1__BatchWriteRequest *request,
                               struct batch_write **ret) {
  struct arena *arena = rpc_call_arena(call);
  struct doc_path database;
  const struct access_caller *caller;
  STATUS_TRY(request_database(request_service(call), request->database, REQUEST_WRITES, &database));
  STATUS_TRY(enter(call, &database, &caller));
  struct batch_write *batch = ARENA_NEW(arena, struct batch_write);
  if (batch == NULL)
    return write_request_no_memory();
  size_t count = request->n_writes;
  batch->call = call;
  batch->count = count;
  batch->writes = ARENA_NEW_ARRAY(arena, struct doc_write, count);
  batch->commits = ARENA_NEW_ARRAY(arena, struct doc_commit, count);
  batch->results = ARENA_NEW_ARRAY(arena, status, count);
  if (batch->writes == NULL || batch->commits == NULL || batch->results == NULL)
    return write_request_no_memory();
  for (size_t i = 0; i < count; i++)
    STATUS_TRY(write_request_parse(&database, request->writes[i], rpc_call_arena(call), &batch->writes[i]));
  STATUS_TRY(refuse_duplicates(batch, arena));
  for (size_t i = 0; i < count; i++) {
    struct doc_commit *commit = &batch->commits[i];
    *commit =
        write_request_commit(request_service(call), &batch->writes[i], 1, arena, batch_commit_done, batch);
    batch->results[i] = write_request_prepare(caller, commit);
  }
  *ret = batch;
  return status_ok();
}

void firestore_batch_write(struct rpc_call *call, const Google__Firestore__V1__BatchWriteRequest *request) {
  struct batch_write *batch = NULL;
  status result = batch_write_open(call, request, &batch);
  if (!status_is_ok(&result)) {
    rpc_call_finish(call, request_write_status(result));
    return;
  }
  struct kv_store *store = request_service(call)->options.store;
  size_t count = batch->count;
  /* One more than the writes, so that nothing is answered while this loop still looks at the batch. */
  atomic_init(&batch->left, count + 1);
  for (size_t i = 0; i < count; i++) {
    if (status_is_ok(&batch->results[i]))
      doc_commit_start(store, &batch->commits[i]);
    else
      one_is_done(batch);
  }
  one_is_done(batch);
}

/* ---- Create, update, delete one document ---- */

/* What a call that answers with a document needs at the end. */
struct document_call {
  struct rpc_call *call;
  const struct doc_mask *mask; /* of the answer */
};

static void document_call_done(struct doc_commit *commit, status result, kv_version version) {
  (void)version;
  struct document_call *state = commit->user;
  struct doc_record record = commit->results[0].record;
  struct arena arena;
  write_request_answer_arena(&arena);
  if (status_is_ok(&result))
    result = request_project(&record, state->mask, &arena);
  if (status_is_ok(&result))
    request_reply_document(state->call, commit->writes[0].path.name, &record);
  else
    rpc_call_finish(state->call, request_write_status(result));
  arena_fini(&arena);
}

static status document_call_open(struct rpc_call *call, const Google__Firestore__V1__DocumentMask *mask,
                                 struct doc_commit **ret) {
  struct arena *arena = rpc_call_arena(call);
  struct document_call *state = ARENA_NEW(arena, struct document_call);
  struct doc_commit *commit = new_commit(call, 1, document_call_done);
  if (state == NULL || commit == NULL)
    return write_request_no_memory();
  state->call = call;
  commit->user = state;
  commit->keep_records = true;
  *ret = commit;
  return request_read_mask(mask, arena, &state->mask);
}

static status prepare_document(struct rpc_call *call, struct doc_commit *commit) {
  const struct access_caller *caller;
  STATUS_TRY(enter(call, &commit->writes[0].path, &caller));
  return write_request_prepare(caller, commit);
}

/* 20 characters of 62, as the SDKs make ids: 119 bits. */
static str generate_id(char out[20]) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  size_t filled = 0;
  while (filled < 20) {
    uint8_t bytes[32];
    crypto_random(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes && filled < 20; i++)
      if (bytes[i] < 62 * 4) /* all letters equally likely */
        out[filled++] = letters[bytes[i] % 62];
  }
  return str_make(out, 20);
}

static status create_document_open(struct rpc_call *call,
                                   const Google__Firestore__V1__CreateDocumentRequest *request,
                                   struct doc_commit **ret) {
  const struct firestore_service *service = request_service(call);
  struct arena *arena = rpc_call_arena(call);
  struct doc_path parent;
  struct doc_document document;
  STATUS_TRY(document_call_open(call, request->mask, ret));
  STATUS_TRY(request_parent(service, request->parent, REQUEST_WRITES, &parent));
  STATUS_TRY(doc_collection_id_check(str_from_cstr(request->collection_id)));
  STATUS_TRY(doc_decode_document(opaque(request->document), arena, &document));
  if (document.name.len > 0)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "document.name must not be set: use collection_id and document_id.");
  char generated[20];
  str id = str_from_cstr(request->document_id);
  if (id.len == 0)
    id = generate_id(generated);
  else
    STATUS_TRY(doc_document_id_check(id));
  struct doc_write *write = &(*ret)->writes[0];
  write->kind = DOC_WRITE_SET;
  write->fields = document.fields;
  write->precondition = (struct doc_precondition){.kind = DOC_PRECONDITION_EXISTS, .exists = false};
  STATUS_TRY(doc_path_child(&parent, str_from_cstr(request->collection_id), id, arena, &write->path));
  return prepare_document(call, *ret);
}

static status update_document_open(struct rpc_call *call,
                                   const Google__Firestore__V1__UpdateDocumentRequest *request,
                                   struct doc_commit **ret) {
  const struct firestore_service *service = request_service(call);
  struct arena *arena = rpc_call_arena(call);
  struct doc_document document;
  STATUS_TRY(document_call_open(call, request->mask, ret));
  struct doc_write *write = &(*ret)->writes[0];
  write->kind = DOC_WRITE_SET;
  STATUS_TRY(doc_decode_document(opaque(request->document), arena, &document));
  STATUS_TRY(request_document(service, document.name, REQUEST_WRITES, &write->path));
  write->fields = document.fields;
  STATUS_TRY(request_write_mask(request->update_mask, arena, &write->mask));
  STATUS_TRY(request_precondition(request->current_document, &write->precondition));
  return prepare_document(call, *ret);
}

static void document_call_start(struct rpc_call *call, struct doc_commit *commit, status result) {
  if (status_is_ok(&result))
    doc_commit_start(request_service(call)->options.store, commit);
  else
    rpc_call_finish(call, request_write_status(result));
}

void firestore_create_document(struct rpc_call *call,
                               const Google__Firestore__V1__CreateDocumentRequest *request) {
  struct doc_commit *commit = NULL;
  status result = create_document_open(call, request, &commit);
  document_call_start(call, commit, result);
}

void firestore_update_document(struct rpc_call *call,
                               const Google__Firestore__V1__UpdateDocumentRequest *request) {
  struct doc_commit *commit = NULL;
  status result = update_document_open(call, request, &commit);
  document_call_start(call, commit, result);
}

static void delete_done(struct doc_commit *commit, status result, kv_version version) {
  (void)version;
  Google__Protobuf__Empty response = GOOGLE__PROTOBUF__EMPTY__INIT;
  if (status_is_ok(&result))
    google_firestore_v1_firestore_delete_document_reply(commit->user, &response);
  else
    rpc_call_finish(commit->user, request_write_status(result));
}

static status delete_document_open(struct rpc_call *call,
                                   const Google__Firestore__V1__DeleteDocumentRequest *request,
                                   struct doc_commit **ret) {
  const struct firestore_service *service = request_service(call);
  struct doc_commit *commit = new_commit(call, 1, delete_done);
  if (commit == NULL)
    return write_request_no_memory();
  struct doc_write *write = &commit->writes[0];
  write->kind = DOC_WRITE_DELETE;
  STATUS_TRY(request_document(service, str_from_cstr(request->name), REQUEST_WRITES, &write->path));
  STATUS_TRY(request_precondition(request->current_document, &write->precondition));
  *ret = commit;
  return prepare_document(call, commit);
}

void firestore_delete_document(struct rpc_call *call,
                               const Google__Firestore__V1__DeleteDocumentRequest *request) {
  struct doc_commit *commit = NULL;
  status result = delete_document_open(call, request, &commit);
  document_call_start(call, commit, result);
}
