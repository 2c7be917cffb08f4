/* What RunQuery, RunAggregationQuery and the lists that are queries have in common: when they read, what a
 * run may use, and what explain_options tells. */
#ifndef SKERRY_SERVER_FIRESTORE_QUERY_CALL_H
#define SKERRY_SERVER_FIRESTORE_QUERY_CALL_H

#include "server/firestore/request.h"
#include "server/firestore/transactions.h"
#include "storage/query/run.h"

/* A request's consistency_selector; at most one is set, or none: now. */
struct query_selector {
  bool has_transaction;
  ProtobufCBinaryData transaction;
  const Google__Firestore__V1__TransactionOptions *new_transaction;
  const Google__Protobuf__Timestamp *read_time;
  kv_version version; /* of a page token; 0: none */
};

struct query_call {
  struct rpc_call *call;
  struct firestore_service *service;
  kv_snapshot snapshot;
  struct transaction *transaction; /* or NULL */
  str new_transaction;             /* the id of the one that was begun, until the client has it; or empty */
  uint8_t id[TRANSACTION_ID_BYTES];
  str database; /* the full name */
  struct query_reads reads;
  struct query_run_options run_options;
  int64_t started_us;
};

/* Finds out when to read, and begins a transaction if one is asked for. The name of `parent` outlives the
 * call. query_call_end is owed, also after a failure (and harmless for a zeroed one). */
STATUS_MUST_USE status query_call_begin(struct rpc_call *call, const struct doc_path *parent,
                                        const struct query_selector *selector, struct query_call *ret);
/* Whether the caller may have what the prepared query finds. */
STATUS_MUST_USE status query_call_judge(struct rpc_call *call, const struct access_caller *caller,
                                        const struct doc_path *parent, const struct query *query);
/* Once the run is closed, and before the client hears of the end: a transaction must have all that was read
 * before its client can commit. A new one whose id the client did not get ends too. Gives what went wrong
 * with the transaction meanwhile. Again: does nothing. */
STATUS_MUST_USE status query_call_end(struct query_call *query);

/* Of a run that is about to be closed: reports the index that it would have liked, and if the call was slow,
 * notes the plan for the log. NULL is allowed. */
void query_call_report(const struct query_call *query, const struct query_run *run);

/* The answer to explain_options, in the arena. Without `analyzed`, the plan alone. */
struct query_analyzed {
  uint64_t results; /* given */
  bool aggregation; /* index entries are what is charged for */
};
STATUS_MUST_USE status query_call_explain(const struct query_call *query, const struct query_run *run,
                                          const struct query_analyzed *analyzed, struct arena *arena,
                                          Google__Firestore__V1__ExplainMetrics **ret);

#endif
