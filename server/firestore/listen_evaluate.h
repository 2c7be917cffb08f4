/* Bringing a client up to a target's answer at one version, message by message, in turns.
 *
 *   what the client has            how
 *   nothing                        all that matches
 *   the answer at `known`          what changed since, by the change log: each changed document is sent as it
 * is now, or as gone. Where the log does not reach back: RESET, and all that matches a window (limit, offset)
 * the whole answer again; what it had already is left out, what fell out is gone. After a new connection the
 * members are not known: RESET, and all that matches
 *
 * A document that changed and is not in the answer is told as gone; to users, whom rules keep from others'
 * documents, only if they may have it: it was in the answer before. Where the history does not say, the
 * filter tells, or RESET and everything.
 *
 * And with an expected count, an existence filter with the names of all that match. One thread at a time. */
#ifndef SKERRY_SERVER_FIRESTORE_LISTEN_EVALUATE_H
#define SKERRY_SERVER_FIRESTORE_LISTEN_EVALUATE_H

#include "rpc/message.h"
#include "server/firestore/listen_target.h"

struct listen_evaluation {
  struct listen_target *target; /* NULL: none is under way */
  kv_version version;
  bool sent_reset; /* the client has to hear CURRENT again */

  /* Private. */
  struct firestore_service *service;
  const struct access_caller *caller; /* of the step */
  struct memory_budget *budget;
  kv_snapshot snapshot;
  enum listen_phase {
    LISTEN_DOCUMENTS,
    LISTEN_RESET_FIRST,
    LISTEN_ROWS,
    LISTEN_FALLEN_OUT,
    LISTEN_LOG,
    LISTEN_CHANGED,
    LISTEN_COUNT,
    LISTEN_FILTER,
    LISTEN_DONE,
  } phase;
  struct arena arena;   /* plan, keys */
  struct arena scratch; /* of one document */
  struct query counted; /* the query, for names only */
  struct query_run *run;
  struct kv_changes *changes;
  kv_snapshot known; /* what the client has is as of here, if has_known: the history reaches back so far */
  bool has_known;
  struct listen_changed {
    str key;
    bool was_in; /* the answer, in between: the client may have heard of it */
  } * changed;
  size_t key_count, key_capacity, at;
  struct buf digests;
  struct listen_member *members; /* of a window, as found */
  size_t member_count, member_capacity;
};

/* Starts one; `evaluation` is zeroed or was ended. FAILED_PRECONDITION: the version is out of the history. */
STATUS_MUST_USE status listen_evaluation_begin(struct listen_evaluation *evaluation,
                                               struct firestore_service *service,
                                               struct memory_budget *budget, struct listen_target *target,
                                               kv_version version);

enum listen_step { LISTEN_MESSAGE, LISTEN_TURN, LISTEN_END };
/* Works for a turn; documents of a target of documents are judged for the caller. LISTEN_MESSAGE: *ret is to
 * be sent. LISTEN_END: the client has the answer at the version.
 */
STATUS_MUST_USE status listen_evaluation_step(struct listen_evaluation *evaluation,
                                              const struct access_caller *caller, enum listen_step *ret_step,
                                              rpc_message *ret);
/* Lets go of what is pinned in the store until the next step. */
void listen_evaluation_pause(struct listen_evaluation *evaluation);
void listen_evaluation_end(struct listen_evaluation *evaluation); /* of zeroed memory: nothing */

#endif
