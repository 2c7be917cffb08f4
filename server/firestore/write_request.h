/* What the calls that write have in common (Commit, BatchWrite, the Write stream, and those of one document):
 * writes from the wire, the commit that they become, and its results as messages. */
#ifndef SKERRY_SERVER_FIRESTORE_WRITE_REQUEST_H
#define SKERRY_SERVER_FIRESTORE_WRITE_REQUEST_H

#include "server/firestore/request.h"

/* What a call answers whose arena is at its cap. In the header, so that clang-tidy sees that it is a failure.
 */
STATUS_MUST_USE static inline status write_request_no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED,
                     "The request needs more memory than a call may take. Split it.");
}

/* One write of a document that must lie in `database`. It borrows from `wire` and
 * `arena`. Its status may go to a client as it is, after request_write_status. */
STATUS_MUST_USE status write_request_parse(const struct doc_path *database,
                                           const Google__Firestore__V1__Write *wire, struct arena *arena,
                                           struct doc_write *ret);

/* A commit of `writes` (not prepared yet) with all that the service adds: limits, and what is derived from
 * documents. Every commit of documents is made here. */
struct doc_commit write_request_commit(const struct firestore_service *service, struct doc_write *writes,
                                       size_t count, struct arena *arena,
                                       void (*done)(struct doc_commit *, status, kv_version), void *user);

/* The last of making a commit, when its writes are complete: the rules will judge it (server/access), and
 * what can be checked beforehand is checked. */
STATUS_MUST_USE status write_request_prepare(const struct access_caller *caller, struct doc_commit *commit);

/* ---- Answers ----
 *
 * They are made after the commit, when nothing may go wrong any more: a client that hears RESOURCE_EXHAUSTED
 * sends its increments again. So an answer has an arena of its own, where a request that fitted into its call
 * has room enough, and which no other call's memory counts against. */
void write_request_answer_arena(struct arena *ret);

/* One write's result. */
STATUS_MUST_USE status write_request_result(const struct doc_write *write,
                                            const struct doc_write_result *result, struct arena *arena,
                                            Google__Firestore__V1__WriteResult *ret);

/* The results of all its writes (commit->write_count), and the time of the commit. */
STATUS_MUST_USE status write_request_results(const struct doc_commit *commit, kv_version version,
                                             struct arena *arena, Google__Firestore__V1__WriteResult ***ret,
                                             Google__Protobuf__Timestamp **ret_commit_time);

#endif
