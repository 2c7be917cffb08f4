/* google.firestore.v1.Firestore: the document API, over storage/document. Handlers check the request, ask for
 * access, read at a snapshot or hand a commit to the store, and answer; they hold no state between calls. */
#ifndef SKERRY_SERVER_FIRESTORE_SERVICE_H
#define SKERRY_SERVER_FIRESTORE_SERVICE_H

#include "base/status.h"
#include "ports/port.h"
#include "rpc/server.h"
#include "server/access/access.h"
#include "server/firestore/index_advisor.h"
#include "storage/document/size.h"
#include "storage/kv.h"
#include "storage/query/run.h"

struct firestore_service;

/* What one query may use (storage/query/run.h). */
struct firestore_query_options {
  enum query_index_mode index_mode;
  size_t memory_bytes_max;     /* 0: the default of query_run_options */
  uint64_t spill_bytes_max;    /* likewise */
  const char *spill_directory; /* for what does not fit; NULL: nothing is written */
};

struct port;

/* All pointers outlive the service. */
struct firestore_options {
  struct kv_store *store;
  struct port *port;         /* NULL: port_linux() */
  struct index_set *indexes; /* what commits maintain and queries use */
  struct firestore_query_options queries;
  struct index_advisor *advisor; /* is told which indexes queries miss; or NULL */
  struct access *access;
  const char *const *projects; /* that are served */
  size_t project_count;
  bool any_project; /* --dev */
  struct doc_limits limits;
  size_t transactions_memory_bytes_max; /* for their read sets; 0: LIMIT_TRANSACTIONS_READ_BYTES */
  size_t listen_memory_bytes_max;       /* for live targets and their queues; 0: LIMIT_LISTEN_MEMORY_BYTES */
};

/* Reads (or makes, once for a store) the secret that page tokens are signed with. Blocks for that. */
STATUS_MUST_USE status firestore_service_new(const struct firestore_options *options,
                                             struct firestore_service **ret);
/* Forgets that secret: every token that was given out is then one of another store. For a store that no
 * server has open. */
void firestore_forget_secret(struct kv_batch *batch);
STATUS_MUST_USE status firestore_service_register(struct firestore_service *service,
                                                  struct rpc_server *server);
/* Work that waits for time to pass: to be called about once a second. */
void firestore_service_tick(struct firestore_service *service);
/* The server begins to stop: streams that would stay open end with UNAVAILABLE. Any thread. */
void firestore_service_stop(struct firestore_service *service);
struct firestore_stats {
  size_t transactions;                                             /* that are open */
  size_t transactions_memory_bytes, transactions_memory_bytes_max; /* what they have read */
  size_t listen_streams, listen_targets;
  size_t listen_queued;     /* streams that have something to do and wait for a thread */
  size_t listen_evaluating; /* streams whose targets are being evaluated */
  size_t listen_waiting;    /* streams that wait for that */
  size_t listen_memory_bytes, listen_memory_bytes_max;
  uint64_t listeners_lost; /* ever: how often a listener did not keep up and had to catch up */
};
/* Any thread. */
void firestore_service_stats(struct firestore_service *service, struct firestore_stats *ret);
void firestore_service_free(
    struct firestore_service *service); /* after the server is drained; NULL allowed */

#endif
