/* What a client listens to: one target of a stream, made from an add_target, and its evaluation. */
#ifndef SKERRY_SERVER_FIRESTORE_LISTEN_TARGET_H
#define SKERRY_SERVER_FIRESTORE_LISTEN_TARGET_H

#include "base/memory_budget.h"
#include "server/firestore/query_request.h"
#include "server/firestore/request.h"
#include "server/firestore/resume_token.h"
#include "storage/change/matcher.h"

/* The answer of a query with a limit as the client has it, by name. One block of memory. */
struct listen_member {
  str name;
  int64_t update_us;
};
struct listen_members {
  size_t count, size_bytes;
  struct listen_member items[]; /* sorted by name; the names follow */
};

struct listen_target {
  struct change_target watch;
  int32_t id; /* 0 until the stream has chosen one */
  bool once;
  bool evaluated;             /* the client has, or is just being sent, the answer up to `known` */
  bool over;                  /* `once`, and current: removed with the next snapshot */
  bool starts_over;           /* the client knows something that cannot be gone on from: RESET first */
  bool has_expected;          /* the client wants an existence filter */
  uint64_t judged_generation; /* of the caller with whom it was judged (server/access) */
  kv_version judged_version;  /* the state that rules saw when it was judged, if they read documents: news of
                                 later versions is judged again. KV_LATEST: they read none */
  bool refused;               /* some news was kept back: it has to end */
  kv_version known; /* what the client has is the answer as of here, or a little later; 0: it has nothing */
  struct resume_target identity;  /* in tokens */
  struct listen_members *members; /* of a windowed query; NULL: none were sent */
  const str *names;               /* of a target of documents: as many as watch.key_count */
  struct query_request request;   /* of a query */
  struct memory_budget *budget;
  size_t charged_bytes; /* to the budget: the target, without its members */
  struct arena arena;   /* what does not fit into first_block */
  _Alignas(max_align_t) char first_block[];
};

/* Checks and copies what the client sent; nothing borrows from `wire`. Verdicts on the target, which end it
 * alone: INVALID_ARGUMENT, PERMISSION_DENIED, NOT_FOUND, UNIMPLEMENTED. RESOURCE_EXHAUSTED: the stream has to
 * end, so that the client comes back later. `resume` is what the client knows, as a version, or 0. */
STATUS_MUST_USE status listen_target_new(struct rpc_call *call, const struct access_caller *caller,
                                         const struct doc_path *database,
                                         const Google__Firestore__V1__Target *wire,
                                         struct memory_budget *budget, struct listen_target **ret);
/* After change_target_remove. NULL is allowed. */
void listen_target_free(struct listen_target *target);

/* Whether the caller may listen to it, by the rules as they are and the data as it is now. PERMISSION_DENIED
 * and others. */
STATUS_MUST_USE status listen_target_judge(struct listen_target *target, const struct access_caller *caller,
                                           const struct firestore_service *service,
                                           const struct doc_path *database);
/* A document of a target of documents, as it is now; fields NULL: it is missing. */
STATUS_MUST_USE status listen_target_judge_document(const struct access_caller *caller, str name,
                                                    const str *fields);

/* Takes the members over (NULL: none). */
void listen_target_set_members(struct listen_target *target, struct listen_members *members);

#endif
