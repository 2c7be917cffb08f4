/* What the handlers of the Firestore service share: the service's state and the checks that every request
 * passes. */
#ifndef SKERRY_SERVER_FIRESTORE_REQUEST_H
#define SKERRY_SERVER_FIRESTORE_REQUEST_H

#include <pthread.h>

#include "base/limits.h"
#include "google/firestore/v1/firestore.skerry.h"
#include "server/firestore/service.h"
#include "server/firestore/transactions.h"
#include "storage/document/mask.h"
#include "storage/document/path.h"
#include "storage/document/record.h"
#include "storage/document/write.h"

enum { FIRESTORE_SECRET_BYTES = 32 };

/* Write streams that are open, so that a server that stops can end them. */
struct write_streams {
  pthread_mutex_t mutex;
  struct write_stream *first;
  bool stopping;
};

struct firestore_service {
  struct firestore_options options;
  struct transactions *transactions;
  struct listen_service *listen;
  struct write_streams write_streams;
  struct doc_derive derive;               /* what every commit has: index entries */
  uint8_t secret[FIRESTORE_SECRET_BYTES]; /* signs page tokens and ids of transactions */
};

static inline struct firestore_service *request_service(const struct rpc_call *call) {
  return rpc_call_service(call);
}

/* Whether a request is on the path of what SDKs queue (Commit, BatchWrite, Write). They throw the queue away
 * for most errors, so there a condition of the server is UNAVAILABLE or RESOURCE_EXHAUSTED, never a verdict
 * on the write. */
enum request_side { REQUEST_READS, REQUEST_WRITES };

/* The status that a client on the write path may see: INTERNAL, UNKNOWN, DATA_LOSS and UNIMPLEMENTED of ours
 * become UNAVAILABLE. */
status request_write_status(status result);

/* The name of a database, of a document, or of a parent, in a project that is served. */
STATUS_MUST_USE status request_database(const struct firestore_service *service, const char *name,
                                        enum request_side side, struct doc_path *ret);
STATUS_MUST_USE status request_document(const struct firestore_service *service, str name,
                                        enum request_side side, struct doc_path *ret);
STATUS_MUST_USE status request_parent(const struct firestore_service *service, const char *name,
                                      enum request_side side, struct doc_path *ret);
/* A document that must lie in `database`. */
STATUS_MUST_USE status request_document_in(const struct doc_path *database, str name, struct doc_path *ret);

/* A snapshot of now, or of read_time (NULL: now). `ret_read_time_us` (may be NULL) is what the client is
 * told. */
STATUS_MUST_USE status request_snapshot(const struct firestore_service *service,
                                        const Google__Protobuf__Timestamp *read_time, kv_snapshot *ret);

/* A Timestamp of years 1 to 9999, cut to microseconds. */
STATUS_MUST_USE status request_timestamp(const Google__Protobuf__Timestamp *timestamp, const char *field,
                                         int64_t *ret_us);

/* A mask for reading; *ret is NULL without one. */
STATUS_MUST_USE status request_read_mask(const Google__Firestore__V1__DocumentMask *mask, struct arena *arena,
                                         const struct doc_mask **ret);
STATUS_MUST_USE status request_write_mask(const Google__Firestore__V1__DocumentMask *mask,
                                          struct arena *arena, const struct doc_mask **ret);
STATUS_MUST_USE status request_precondition(const Google__Firestore__V1__Precondition *wire,
                                            struct doc_precondition *ret);

/* The full name of the database that `path`, which has one, is in: borrowed from it. */
str request_database_name(const struct doc_path *path);
/* Begins (and uses) a transaction as a request asks; `wire` NULL: read-write. Statuses as
 * transactions_begin. */
STATUS_MUST_USE status request_begin_transaction(const struct firestore_service *service,
                                                 const Google__Firestore__V1__TransactionOptions *wire,
                                                 str database, struct transaction **ret);
/* Uses the transaction that a request names. Statuses as transactions_use. */
STATUS_MUST_USE status request_use_transaction(const struct firestore_service *service,
                                               ProtobufCBinaryData id, str database,
                                               struct transaction **ret);

/* Leaves of `record` what the mask (NULL: all) means. */
STATUS_MUST_USE status request_project(struct doc_record *record, const struct doc_mask *mask,
                                       struct arena *arena);

/* Finishes a unary call that answers with a Document. */
void request_reply_document(struct rpc_call *call, str name, const struct doc_record *record);

#endif
