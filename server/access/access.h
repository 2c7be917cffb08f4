/* Who may do what. Every handler asks before it touches data; there is no other way in.
 *
 * A call's caller is found out once, from its token or certificate (server/tokens), and kept with the call:
 *
 *   whoever reaches the administration's socket   everything
 *   service accounts, "owner" in development      their role decides
 *   whoever comes, with access = open             everything
 *   whoever shows a certificate, with mtls        everything, unless a setting says who that is
 *   users, and those who are signed out           the security rules (server/rules); without rules nothing
 *
 * Two steps. access_enter says whether the caller comes in at all; if rules decide, each document, query and
 * commit is judged where it is read or written, by the functions below, against the state that the client
 * gets or the commit meets.
 *
 * A caller never changes and is counted by references. A call keeps its own to its end. A stream asks from
 * time to time whether it is stale (rules, keys or roles changed, the token expired), and renews it.
 *
 * Refusals. Of reads: PERMISSION_DENIED. Of writes: SDKs throw away what they queued when they hear that, so
 * it is a verdict of the rules or of a role; a server without rules says UNAVAILABLE. UNAUTHENTICATED: the
 * token is not good (SDKs fetch another and try again), or there has to be a certificate. Any thread. */
#ifndef SKERRY_SERVER_ACCESS_H
#define SKERRY_SERVER_ACCESS_H

#include <stdatomic.h>

#include "base/status.h"
#include "ports/port.h"
#include "rpc/call.h"
#include "server/access/mode.h"
#include "server/rules/rules.h"
#include "server/tokens/tokens.h"
#include "storage/document/write.h"
#include "storage/kv.h"

struct access_options {
  enum access_mode mode;
  bool dev;               /* without rules everybody is the owner; refusals say why */
  struct port *port;      /* NULL: port_linux() */
  struct kv_store *store; /* that rules read; the time is never before its newest commit. Not needed with
                              ACCESS_OPEN */
  struct tokens *tokens;  /* outlives it; NULL: nobody signs in */
};

struct access;

STATUS_MUST_USE status access_new(const struct access_options *options, struct access **ret);
void access_free(struct access *access); /* no caller is left; NULL allowed */

/* The rules from now on; takes the reference. NULL: none. */
void access_set_rules(struct access *access, struct rules *rules);
/* With a reference; NULL: none. */
struct rules *access_rules(struct access *access);

/* ---- Callers ---- */

struct access_caller {
  struct access *access;
  bool may_read, may_write;    /* all documents, without rules */
  struct identity *identity;   /* NULL: not asked for */
  struct rules *rules;         /* NULL: none decide */
  uint64_t generation;         /* of the rules and of the identity; only grows */
  _Atomic unsigned references; /* private */
};

enum access_need {
  ACCESS_READ,     /* documents or a query */
  ACCESS_READ_ALL, /* what rules have no word for: ids of collections, partitions */
  ACCESS_WRITE,
};

/* Whether the caller comes in; `where` is any path in the database. On success *ret belongs to the call. */
STATUS_MUST_USE status access_enter(struct access *access, struct rpc_call *call, enum access_need need,
                                    const struct doc_path *where, const struct access_caller **ret);

/* For what only owners may do, whatever `access` says: accounts of the project's users. OK for a service
 * account with the role owner, a certificate that the settings give it, or "owner" in development.
 * PERMISSION_DENIED; UNAUTHENTICATED: nobody has signed in, or the token is not good. */
STATUS_MUST_USE status access_enter_owner(struct access *access, const struct rpc_call *call, str project);

/* For streams. The call's caller, with a reference of its own. */
STATUS_MUST_USE status access_caller_new(struct access *access, const struct rpc_call *call,
                                         struct access_caller **ret);
bool access_caller_is_stale(const struct access_caller *caller);
struct access_caller *access_caller_ref(struct access_caller *caller);
void access_caller_unref(struct access_caller *caller); /* NULL allowed */
/* As access_enter, of a caller that is known. */
STATUS_MUST_USE status access_may_enter(const struct access_caller *caller, enum access_need need,
                                        const struct doc_path *where);

/* ---- Judging reads ---- */

/* What one request reads; also the budget and cache of what its rules read. One thread at a time.
 *
 * Rules read as it is now, whatever the request reads: with a read_time before its role was taken away, or in
 * a transaction that began then, nobody has it again. */
struct access_reading {
  const struct access_caller *caller;
  struct doc_path where; /* a path in the database */
  kv_snapshot snapshot;  /* that rules read at */
  struct arena *arena;   /* outlives it; a few KiB for each decision */
  struct rules_reads reads;
  struct rules_reader reader; /* private */
};

/* `several`: documents are judged, not one document or query. What kv_snapshot_at says. */
STATUS_MUST_USE status access_reading_init(const struct access_caller *caller, const struct doc_path *where,
                                           bool several, struct arena *arena, struct access_reading *ret);

/* A document as the client would get it, fields in canonical bytes; NULL: it is missing. OK if rules do not
 * decide. */
STATUS_MUST_USE status access_judge_document(struct access_reading *reading, const struct doc_path *document,
                                             const str *fields);
/* A prepared query. */
struct query;
STATUS_MUST_USE status access_judge_query(struct access_reading *reading, const struct query *query);
/* All documents of a collection under `parent`; with an empty id of all collections there. */
STATUS_MUST_USE status access_judge_collection(struct access_reading *reading, const struct doc_path *parent,
                                               str collection_id);

/* Whether rules have read documents for it: then their word is of that state only. */
bool access_reading_read(const struct access_reading *reading);

/* ---- Judging commits ---- */

/* Has the rules judge a commit, when it happens (storage/document/write.h): what they see is what it meets
 * and leaves. Nothing if they do not decide. Memory from commit->arena; the caller outlives the commit.
 * RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status access_review_commit(const struct access_caller *caller, struct doc_commit *commit);

#endif
