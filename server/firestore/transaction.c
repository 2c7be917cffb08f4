/* BeginTransaction and Rollback. Reads and Commit take a transaction's id; see transactions.h. */
#include "server/firestore/handlers.h"
#include "server/firestore/request.h"

static status begin_open(struct rpc_call *call, const Google__Firestore__V1__BeginTransactionRequest *request,
                         struct transaction **ret) {
  const struct firestore_service *service = request_service(call);
  struct doc_path database;
  STATUS_TRY(request_database(service, request->database, REQUEST_READS, &database));
  const struct access_caller *caller;
  STATUS_TRY(access_enter(service->options.access, call, ACCESS_READ, &database, &caller));
  return request_begin_transaction(service, request->options, request_database_name(&database), ret);
}

void firestore_begin_transaction(struct rpc_call *call,
                                 const Google__Firestore__V1__BeginTransactionRequest *request) {
  struct transaction *transaction = NULL;
  status result = begin_open(call, request, &transaction);
  if (!status_is_ok(&result)) {
    rpc_call_finish(call, result);
    return;
  }
  Google__Firestore__V1__BeginTransactionResponse response =
      GOOGLE__FIRESTORE__V1__BEGIN_TRANSACTION_RESPONSE__INIT;
  uint8_t id[TRANSACTION_ID_BYTES];
  memcpy(id, transaction_id(transaction).ptr, sizeof id);
  response.transaction = (ProtobufCBinaryData){sizeof id, id};
  transaction_release(transaction); /* the client may be faster than this thread */
  google_firestore_v1_firestore_begin_transaction_reply(call, &response);
}

void firestore_rollback(struct rpc_call *call, const Google__Firestore__V1__RollbackRequest *request) {
  const struct firestore_service *service = request_service(call);
  struct doc_path database;
  const struct access_caller *caller;
  status result = request_database(service, request->database, REQUEST_READS, &database);
  if (status_is_ok(&result))
    result = access_enter(service->options.access, call, ACCESS_READ, &database, &caller);
  if (status_is_ok(&result))
    result = transactions_rollback(service->transactions,
                                   str_make(request->transaction.data, request->transaction.len),
                                   request_database_name(&database));
  Google__Protobuf__Empty response = GOOGLE__PROTOBUF__EMPTY__INIT;
  if (status_is_ok(&result))
    google_firestore_v1_firestore_rollback_reply(call, &response);
  else
    rpc_call_finish(call, result);
}
