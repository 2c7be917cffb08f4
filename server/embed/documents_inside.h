/* What the files of documents.h share. */
#ifndef SKERRY_SERVER_EMBED_DOCUMENTS_INSIDE_H
#define SKERRY_SERVER_EMBED_DOCUMENTS_INSIDE_H

#include <pthread.h>

#include "server/access/access.h"
#include "server/embed/documents.h"
#include "server/firestore/request.h"
#include "storage/query/query.h"

struct skerry_documents {
  struct firestore_service *service;
  struct doc_path root;       /* of the database; its name is allocated */
  struct access_caller owner; /* SKERRY_AS_SERVER */

  /* Transactions that lost against others are tried again one after the other (transaction.c). */
  pthread_mutex_t mutex;
  struct skerry_transaction *waiting, *waiting_last; /* with the mutex */
  bool is_trying;                                    /* likewise */
};

/* `project` is copied. */
STATUS_MUST_USE status skerry_documents_new(struct firestore_service *service, const char *project,
                                            struct skerry_documents **ret);
void skerry_documents_free(struct skerry_documents *documents); /* NULL allowed */

/* ---- documents.c ---- */

/* Whom the rights mean, with a reference, if they come in. */
STATUS_MUST_USE status documents_enter(struct skerry_documents *documents, struct rpc_call *call,
                                       enum skerry_rights rights, enum access_need need,
                                       struct access_caller **ret);

/* The full path of a document. */
STATUS_MUST_USE status documents_path(const struct skerry_documents *documents, str path, struct arena *arena,
                                      struct doc_path *ret);

/* One read: where, by whom, in which transaction. */
struct documents_reading {
  struct skerry_documents *documents;
  const struct access_caller *caller;
  kv_snapshot snapshot;
  struct transaction *transaction; /* or NULL */
  struct arena *arena;             /* of what is read */
};

STATUS_MUST_USE status documents_get(const struct documents_reading *reading, str path,
                                     struct skerry_document *ret);
/* A document that was read, with copies in the arena. */
STATUS_MUST_USE status documents_found(const struct documents_reading *reading, str path,
                                       const struct doc_record *record, struct skerry_document *ret);

/* ---- query.c ---- */

STATUS_MUST_USE status documents_query(const struct documents_reading *reading,
                                       const struct skerry_query *query, struct skerry_document **ret,
                                       size_t *ret_count);

/* ---- fields.c ---- */

/* The map as a document may have it: what the codec would take from a client. Sorts, copies. */
STATUS_MUST_USE status fields_check(struct skerry_fields *fields, struct doc_map *ret);
/* A value for a query. */
STATUS_MUST_USE status fields_check_operand(const struct doc_value *value, struct arena *arena,
                                            struct doc_value *ret);

STATUS_MUST_USE static inline status documents_no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The request needs more memory than a call may take.");
}

#endif
