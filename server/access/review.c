/* Rules over commits. They run on the store's commit thread, within the bounds of server/rules. */
#include "server/access/judge.h"

struct review {
  struct doc_review base;
  const struct access_caller *caller;
  struct doc_commit *commit;
  struct doc_path where;
  struct doc_view *view; /* while it runs */
  struct rules_reads reads;
};

static enum rules_read read_for_rules(void *argument, str relative, bool after, struct rules_document *ret) {
  struct review *review = argument;
  struct doc_path path;
  struct doc_found found;
  if (!judge_path(&review->where, relative, review->commit->arena, &path))
    return RULES_READ_FAILED;
  ret->path = relative;
  if (path.name.len == 0)
    return RULES_READ_MISSING;
  status result = doc_view_read(review->view, &path, after, &found);
  if (!status_is_ok(&result))
    return RULES_READ_FAILED;
  ret->fields = found.fields;
  return found.exists ? RULES_READ_FOUND : RULES_READ_MISSING;
}

static enum rules_operation operation_of(const struct doc_reviewed *document) {
  switch (document->wants) {
  case DOC_WANTS_TO_READ:
    return RULES_GET;
  case DOC_WANTS_TO_CREATE:
    return RULES_CREATE;
  case DOC_WANTS_TO_UPDATE:
    return RULES_UPDATE;
  case DOC_WANTS_TO_DELETE:
  default:
    return RULES_DELETE;
  }
}

/* Of what the server time in transforms is: milliseconds (storage/document/transform.h). */
static int64_t request_time_us(kv_version version) {
  return version / 1000 * 1000;
}

static status review_document(struct review *review, const struct doc_reviewed *document) {
  const struct rules_reader reader = {read_for_rules, review};
  struct rules_auth auth;
  struct rules_request request = judge_request(review->caller, &review->where, &auth);
  struct rules_document before = {document->path->relative, document->before.fields};
  struct rules_document after = {document->path->relative, document->after.fields};
  request.operation = operation_of(document);
  request.path = document->path->relative;
  request.time_us = request_time_us(doc_view_version(review->view));
  request.resource = document->before.exists ? &before : NULL;
  request.after = document->after.exists && request.operation != RULES_GET ? &after : NULL;
  request.reader = &reader;
  request.reads = &review->reads;
  return judge(review->caller, &request, review->commit->arena);
}

static status run(void *argument, struct doc_view *view) {
  struct review *review = argument;
  struct doc_reviewed document;
  review->view = view;
  review->reads = (struct rules_reads){.budget = review->commit->write_count > 1 ? RULES_READS_MULTIPLE
                                                                                 : RULES_READS_SINGLE,
                                       .arena = review->commit->arena};
  while (doc_view_next(view, &document))
    STATUS_TRY(review_document(review, &document));
  return status_ok();
}

status access_review_commit(const struct access_caller *caller, struct doc_commit *commit) {
  if (caller->may_write || commit->write_count == 0)
    return status_ok();
  struct review *review = ARENA_NEW(commit->arena, struct review);
  if (review == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  *review = (struct review){
      .base = {run, review}, .caller = caller, .commit = commit, .where = commit->writes[0].path};
  commit->review = &review->base;
  return status_ok();
}
