#include "server/rules/commit.h"

bool rules_read_path(const struct doc_path *where, str relative, struct arena *arena, struct doc_path *ret) {
  str name = arena_printf(arena, "projects/" STR_FMT "/databases/" STR_FMT "/documents/" STR_FMT,
                          STR_ARG(where->project), STR_ARG(where->database), STR_ARG(relative));
  if (name.ptr == NULL)
    return false;
  status result = doc_path_parse_document(name, ret);
  if (!status_is_ok(&result))
    ret->name.len = 0;
  return true;
}

static enum rules_read read_for_rules(void *argument, str relative, bool after, struct rules_document *ret) {
  struct rules_commit *commit = argument;
  struct doc_path path;
  struct doc_found found;
  if (!rules_read_path(&commit->where, relative, commit->arena, &path))
    return RULES_READ_FAILED;
  ret->path = relative;
  if (path.name.len == 0)
    return RULES_READ_MISSING;
  status result = doc_view_read(commit->view, &path, after, &found);
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

static status review_document(struct rules_commit *commit, const struct doc_reviewed *document) {
  const struct rules_reader reader = {read_for_rules, commit};
  struct rules_request request = commit->request;
  struct rules_document before = {document->path->relative, document->before.fields};
  struct rules_document after = {document->path->relative, document->after.fields};
  request.operation = operation_of(document);
  request.path = document->path->relative;
  request.time_us = request_time_us(doc_view_version(commit->view));
  request.resource = document->before.exists ? &before : NULL;
  request.after = document->after.exists && request.operation != RULES_GET ? &after : NULL;
  request.reader = &reader;
  request.reads = &commit->reads;
  // cppcheck-suppress returnDanglingLifetime ; a status holds no pointers
  return commit->judge(commit->argument, &request);
}

status rules_commit_review(struct rules_commit *commit, struct doc_view *view) {
  struct doc_reviewed document;
  commit->view = view;
  commit->reads = (struct rules_reads){
      .budget = commit->write_count > 1 ? RULES_READS_MULTIPLE : RULES_READS_SINGLE, .arena = commit->arena};
  while (doc_view_next(view, &document))
    STATUS_TRY(review_document(commit, &document));
  return status_ok();
}
