/* The methods, for the table in service.c. */
#ifndef SKERRY_SERVER_FIRESTORE_HANDLERS_H
#define SKERRY_SERVER_FIRESTORE_HANDLERS_H

#include "google/firestore/v1/firestore.skerry.h"

/* read.c */
void firestore_get_document(struct rpc_call *call, const Google__Firestore__V1__GetDocumentRequest *request);
void firestore_batch_get_documents(struct rpc_call *call,
                                   const Google__Firestore__V1__BatchGetDocumentsRequest *request);
/* list.c */
void firestore_list_documents(struct rpc_call *call,
                              const Google__Firestore__V1__ListDocumentsRequest *request);
void firestore_list_collection_ids(struct rpc_call *call,
                                   const Google__Firestore__V1__ListCollectionIdsRequest *request);
/* run_query.c, run_aggregation.c, partition_query.c */
void firestore_run_query(struct rpc_call *call, const Google__Firestore__V1__RunQueryRequest *request);
void firestore_run_aggregation_query(struct rpc_call *call,
                                     const Google__Firestore__V1__RunAggregationQueryRequest *request);
void firestore_partition_query(struct rpc_call *call,
                               const Google__Firestore__V1__PartitionQueryRequest *request);
/* commit.c */
void firestore_create_document(struct rpc_call *call,
                               const Google__Firestore__V1__CreateDocumentRequest *request);
void firestore_update_document(struct rpc_call *call,
                               const Google__Firestore__V1__UpdateDocumentRequest *request);
void firestore_delete_document(struct rpc_call *call,
                               const Google__Firestore__V1__DeleteDocumentRequest *request);
void firestore_commit(struct rpc_call *call, const Google__Firestore__V1__CommitRequest *request);
void firestore_batch_write(struct rpc_call *call, const Google__Firestore__V1__BatchWriteRequest *request);
/* listen.c */
void firestore_listen_open(struct rpc_call *call);
void firestore_listen_message(struct rpc_call *call, const Google__Firestore__V1__ListenRequest *message);
void firestore_listen_half_close(struct rpc_call *call);
/* write_stream.c */
void firestore_write_open(struct rpc_call *call);
void firestore_write_message(struct rpc_call *call, const Google__Firestore__V1__WriteRequest *request);
void firestore_write_half_close(struct rpc_call *call);
struct write_streams;
void firestore_write_tick(struct write_streams *streams); /* about once a second */
void firestore_write_stop(struct write_streams *streams); /* ends them with UNAVAILABLE */
/* transaction.c */
void firestore_begin_transaction(struct rpc_call *call,
                                 const Google__Firestore__V1__BeginTransactionRequest *request);
void firestore_rollback(struct rpc_call *call, const Google__Firestore__V1__RollbackRequest *request);

#endif
