/* Documents for the handlers of an integrator's services: installed as <skerry/documents.h>.
 *
 * They are the documents that the Firestore SDKs see: what is written here reaches their listeners, indexes
 * are kept, limits hold, a commit is durable when it is done.
 *
 * Paths are relative to the database: "orders/17", "shops/a/orders/17". They lie in the database "(default)"
 * of the first project in the setting `projects`. Ids that come from clients go through skerry_path, which
 * refuses those that would lead elsewhere.
 *
 * Rights. SKERRY_AS_CALLER does what a Firestore SDK with the same token could do: roles and security rules
 * decide. SKERRY_AS_SERVER does everything: the handler itself has to know whom it serves (skerry_caller_of).
 *
 * Memory. What is read lives in the arena that was given (or the transaction's) and is gone with it; strings
 * that are written are borrowed until the transaction is done.
 *
 * Threads. Any, by whoever owns the call. Reading may wait for the disk, like every handler's reading, and
 * for nothing else.
 *
 * Statuses, beside those that are said: INVALID_ARGUMENT for paths and values that a document cannot have;
 * PERMISSION_DENIED, UNAUTHENTICATED; RESOURCE_EXHAUSTED past the arena's cap or when the disk is full;
 * UNAVAILABLE and DATA_LOSS from the store. */
#ifndef SKERRY_SERVER_EMBED_DOCUMENTS_H
#define SKERRY_SERVER_EMBED_DOCUMENTS_H

#ifdef __cplusplus
#error                                                                                                       \
    "Skerry's headers are C11. Write handlers in C files, and call C++ from them by functions that are extern \"C\"."
#endif

#include "base/arena.h"
#include "base/status.h"
#include "rpc/call.h"
#include "storage/document/value.h"

struct skerry_documents;

enum {
  SKERRY_QUERY_LIMIT_MAX = 1000, /* documents of one query */
  SKERRY_QUERY_PARTS_MAX = 16,   /* its filters, its orders, the values of its cursor */
  SKERRY_WRITES_MAX = 500,       /* of one transaction */
};

/* ---- Who calls ---- */

enum skerry_caller_kind {
  SKERRY_CALLER_NOBODY,  /* showed nothing */
  SKERRY_CALLER_USER,    /* of an issuer: uid and claims are those of the token */
  SKERRY_CALLER_SERVICE, /* a service account, or a certificate that the settings name */
};

struct skerry_caller {
  enum skerry_caller_kind kind;
  bool may_read,
      may_write; /* all documents: by a role, or because access is open to everybody (as with --dev) */
  str uid;       /* a user's `sub`; a service's name; else empty */
  struct doc_map claims; /* of a user's token */
};

/* In the call's arena. UNAUTHENTICATED: the token is not good. Of a stream, asked again, it is who calls now:
 * tokens end. */
STATUS_MUST_USE status skerry_caller_of(struct skerry_documents *documents, struct rpc_call *call,
                                        struct skerry_caller *ret);

enum skerry_rights { SKERRY_AS_CALLER, SKERRY_AS_SERVER };

/* ---- Paths ---- */

/* "COLLECTION/ID" in the arena. The collection is the program's own word, perhaps a path ("shops/a/orders");
 * the id may come from a client: INVALID_ARGUMENT unless it is one id. */
STATUS_MUST_USE status skerry_path(struct arena *arena, const char *collection, str id, str *ret);

/* ---- Values ---- */

static inline struct doc_value skerry_null(void) {
  return (struct doc_value){.type = DOC_NULL};
}
static inline struct doc_value skerry_boolean(bool boolean) {
  return (struct doc_value){.type = DOC_BOOLEAN, .as.boolean = boolean};
}
static inline struct doc_value skerry_integer(int64_t integer) {
  return (struct doc_value){.type = DOC_INTEGER, .as.integer = integer};
}
static inline struct doc_value skerry_double(double number) {
  return (struct doc_value){.type = DOC_DOUBLE, .as.number = number};
}
static inline struct doc_value skerry_timestamp(int64_t us) {
  return (struct doc_value){.type = DOC_TIMESTAMP, .as.timestamp_us = us};
}
static inline struct doc_value skerry_string(str text) {
  return (struct doc_value){.type = DOC_STRING, .as.text = text};
}
static inline struct doc_value skerry_bytes(str bytes) {
  return (struct doc_value){.type = DOC_BYTES, .as.text = bytes};
}
static inline struct doc_value skerry_array(const struct doc_value *items, size_t count) {
  return (struct doc_value){.type = DOC_ARRAY, .as.array = {items, count}};
}
static inline struct doc_value skerry_map(struct doc_map map) {
  return (struct doc_value){.type = DOC_MAP, .as.map = map};
}

/* A map being made. Once the arena is at its cap it is `failed`, and the write of it RESOURCE_EXHAUSTED. */
struct skerry_fields {
  struct arena *arena;
  struct doc_field *fields;
  size_t count, capacity;
  bool failed;
};
/* {.arena = arena} is an empty one. A name that comes again replaces its value; names are borrowed. */
void skerry_fields_put(struct skerry_fields *fields, const char *name, struct doc_value value);
/* The map, sorted; the fields are not used any more. */
STATUS_MUST_USE status skerry_fields_map(struct skerry_fields *fields, struct doc_map *ret);

/* A field that should be there with that type; otherwise what is given, or an empty string. */
int64_t skerry_get_integer(struct doc_map map, const char *name, int64_t otherwise);
bool skerry_get_boolean(struct doc_map map, const char *name, bool otherwise);
str skerry_get_string(struct doc_map map, const char *name);

/* ---- Reading ---- */

struct skerry_document {
  str path;
  bool exists; /* false: the rest is empty */
  int64_t create_time_us, update_time_us;
  struct doc_map fields;
};

/* As it is now. NOT an error if there is none. */
STATUS_MUST_USE status skerry_get(struct skerry_documents *documents, struct rpc_call *call,
                                  enum skerry_rights rights, str path, struct arena *arena,
                                  struct skerry_document *ret);

enum skerry_operator {
  SKERRY_EQUAL,
  SKERRY_NOT_EQUAL,
  SKERRY_LESS,
  SKERRY_LESS_OR_EQUAL,
  SKERRY_GREATER,
  SKERRY_GREATER_OR_EQUAL,
  SKERRY_IN, /* the value is an array of what the field may be */
  SKERRY_ARRAY_CONTAINS,
};

/* As the SDKs' queries, with their rules. Fields are field paths ("address.city"); "__name__" orders by the
 * document's path. */
struct skerry_query {
  const char *parent;     /* the document whose collection it is; NULL or "": the database */
  const char *collection; /* the id */
  bool all_descendants;   /* every collection of that id below the parent */
  const struct skerry_filter {
    const char *field;
    enum skerry_operator op;
    struct doc_value value;
  } * filters; /* all hold */
  size_t filter_count;
  const struct skerry_order {
    const char *field;
    bool descending;
  } * orders;
  size_t order_count;
  /* Goes on after the document whose order fields have these values; count 0: from the start. */
  const struct doc_value *after;
  size_t after_count;
  unsigned limit; /* 1 to SKERRY_QUERY_LIMIT_MAX */
};

/* All documents of the answer, as of now, in the arena. */
STATUS_MUST_USE status skerry_query_run(struct skerry_documents *documents, struct rpc_call *call,
                                        enum skerry_rights rights, const struct skerry_query *query,
                                        struct arena *arena, struct skerry_document **ret, size_t *ret_count);

/* ---- Transactions ---- */

/* Reads, then writes. What `run` reads is of one moment, and the commit takes place only if nothing of it was
 * changed meanwhile (a document that appeared in the answer of a query counts); otherwise `run` starts again
 * from the beginning. */
struct skerry_transaction;

struct skerry_transaction_handlers {
  /* Reads and queues writes. It may run several times, the first time before skerry_transact returns, later
   * on a thread of the store's: it is short, waits for nothing, and changes nothing outside but what the last
   * run leaves in `state`. A failure ends the transaction with nothing written. */
  status (*run)(struct skerry_transaction *transaction, void *state);
  /* Once, at the end, perhaps before skerry_transact returns: the writes are durable and visible, or `result`
   * says why nothing was written (ABORTED: too many others wrote the same). It finishes the call, or goes on
   * with it. `commit_time_us` is the update time of what was written. */
  void (*done)(struct rpc_call *call, void *state, status result, int64_t commit_time_us);
};

/* The caller owns the call until `done`. `handlers` is static; `state` lives until `done` returns. Several
 * transactions of one call may run at once. */
void skerry_transact(struct skerry_documents *documents, struct rpc_call *call, enum skerry_rights rights,
                     const struct skerry_transaction_handlers *handlers, void *state);

/* Memory of this run of `run`; what is in it stays until `done` returns or `run` starts again. */
struct arena *skerry_transaction_arena(struct skerry_transaction *transaction);

/* As skerry_get and skerry_query_run, as of the transaction's moment. FAILED_PRECONDITION after a write. */
STATUS_MUST_USE status skerry_transaction_get(struct skerry_transaction *transaction, str path,
                                              struct skerry_document *ret);
STATUS_MUST_USE status skerry_transaction_query(struct skerry_transaction *transaction,
                                                const struct skerry_query *query,
                                                struct skerry_document **ret, size_t *ret_count);

/* What has to be there for the write, or the transaction fails with ALREADY_EXISTS or NOT_FOUND. */
enum skerry_expect { SKERRY_ANYHOW, SKERRY_MISSING, SKERRY_EXISTING };

/* The document has these fields and no others. */
STATUS_MUST_USE status skerry_transaction_set(struct skerry_transaction *transaction, str path,
                                              struct skerry_fields *fields, enum skerry_expect expect);
/* Changes these fields of a document that exists, and no others. */
STATUS_MUST_USE status skerry_transaction_update(struct skerry_transaction *transaction, str path,
                                                 struct skerry_fields *fields);
STATUS_MUST_USE status skerry_transaction_delete(struct skerry_transaction *transaction, str path,
                                                 enum skerry_expect expect);

#endif
