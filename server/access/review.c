/* Rules over commits. They run on the store's commit thread, within the bounds of server/rules. */
#include "server/access/judge.h"
#include "server/rules/commit.h"

struct review {
  struct doc_review base;
  const struct access_caller *caller;
  struct rules_auth auth;
  struct rules_commit rules;
};

static status judge_document(void *argument, const struct rules_request *request) {
  const struct review *review = argument;
  return judge(review->caller, request, review->rules.arena);
}

static status run(void *argument, struct doc_view *view) {
  struct review *review = argument;
  return rules_commit_review(&review->rules, view);
}

status access_review_commit(const struct access_caller *caller, struct doc_commit *commit) {
  if (caller->may_write || commit->write_count == 0)
    return status_ok();
  struct review *review = ARENA_NEW(commit->arena, struct review);
  if (review == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  review->base = (struct doc_review){run, review};
  review->caller = caller;
  review->rules = (struct rules_commit){.where = commit->writes[0].path,
                                        .write_count = commit->write_count,
                                        .arena = commit->arena,
                                        .judge = judge_document,
                                        .argument = review};
  review->rules.request = judge_request(caller, &review->rules.where, &review->auth);
  commit->review = &review->base;
  return status_ok();
}
