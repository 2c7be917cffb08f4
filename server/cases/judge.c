#include "server/cases/judge.h"

#include "server/rules/commit.h"
#include "server/rules/query.h"
#include "storage/document/key.h"

struct judging {
  const struct cases *cases;
  const struct cases_case *one;
  const struct rules *rules;
  struct rules_coverage *last, *total;
  struct arena *arena;
  struct cases_result *result;
  struct cases_debug *newest_debug; /* of the judgement under way */
  size_t debug_count;
  struct rules_commit commit;
  status committed;
};

const char *cases_operation_name(enum rules_operation operation) {
  static const char *const names[] = {"get", "list", "create", "update", "delete"};
  return names[operation];
}

static void fail(struct judging *j, status failure) {
  j->result->outcome = CASES_IMPOSSIBLE;
  j->result->failure = failure;
}

/* ---- One decision ---- */

static void keep_debug(void *argument, uint32_t line, str text) {
  struct judging *j = argument;
  struct cases_judgement *judgement = j->result->deciding;
  struct cases_debug *debug =
      j->debug_count < CASES_DEBUG_MAX ? ARENA_NEW(j->arena, struct cases_debug) : NULL;
  if (debug == NULL)
    return;
  *debug = (struct cases_debug){line, arena_str_copy(j->arena, text), NULL};
  *(j->newest_debug == NULL ? &judgement->debug : &j->newest_debug->next) = debug;
  j->newest_debug = debug;
  j->debug_count++;
}

static void add_counts(struct judging *j) {
  for (size_t i = 0; i < rules_expression_count(j->rules); i++) {
    struct rules_coverage *total = &j->total[i];
    const struct rules_coverage *last = &j->last[i];
    total->true_count += last->true_count;
    total->false_count += last->false_count;
    total->null_count += last->null_count;
    total->error_count += last->error_count;
    total->other_count += last->other_count;
    total->unknown_count += last->unknown_count;
  }
}

/* False: that is all, the result says why. */
static bool decide(struct judging *j, const struct rules_request *from) {
  struct cases_judgement *judgement = ARENA_NEW(j->arena, struct cases_judgement);
  if (judgement == NULL) {
    fail(j, status_default(STATUS_RESOURCE_EXHAUSTED));
    return false;
  }
  *(j->result->deciding == NULL ? &j->result->judgements : &j->result->deciding->next) = judgement;
  j->result->deciding = judgement;
  j->newest_debug = NULL;
  j->debug_count = 0;
  memset(j->last, 0, rules_expression_count(j->rules) * sizeof *j->last);
  struct rules_request request = *from;
  request.trace = &judgement->trace;
  request.coverage = j->last;
  request.debug = keep_debug;
  request.debug_argument = j;
  judgement->operation = request.operation;
  judgement->path = request.path;
  judgement->decision = rules_decide(j->rules, &request, j->arena);
  add_counts(j);
  if (judgement->decision.outcome == RULES_ALLOW)
    return true;
  if (judgement->decision.outcome == RULES_DENY)
    j->result->outcome = CASES_DENIED;
  else
    fail(j, status_make(STATUS_UNAVAILABLE, STR_FMT, STR_ARG(judgement->decision.reason)));
  return false;
}

/* ---- Reads ---- */

/* The stored fields of a document, or none; false: that is a failure. */
static bool find_document(struct judging *j, const struct doc_path *path, bool *ret_found, str *ret_fields) {
  struct doc_record record = {0};
  str key;
  status result = doc_key_from_path(path, j->arena, &key);
  str stored = status_is_ok(&result) ? cases_state_get(&j->one->state, key) : (str){NULL, 0};
  if (stored.len > 0)
    result = doc_record_decode(stored, &record);
  *ret_found = stored.len > 0;
  *ret_fields = record.fields;
  return status_is_ok(&result);
}

/* Reading changes nothing: the state after it is the one before. */
static enum rules_read read_for_rules(void *argument, str relative, bool after, struct rules_document *ret) {
  (void)after;
  struct judging *j = argument;
  struct doc_path path;
  bool found;
  if (!rules_read_path(&j->cases->root, relative, j->arena, &path))
    return RULES_READ_FAILED;
  ret->path = relative;
  if (path.name.len == 0)
    return RULES_READ_MISSING;
  if (!find_document(j, &path, &found, &ret->fields))
    return RULES_READ_FAILED;
  return found ? RULES_READ_FOUND : RULES_READ_MISSING;
}

static struct rules_request base_request(const struct judging *j) {
  return (struct rules_request){.project = j->cases->root.project,
                                .database = j->cases->root.database,
                                .auth = j->one->is_signed_in ? &j->one->auth : NULL,
                                .time_us = j->one->time_us};
}

static void judge_read(struct judging *j) {
  const struct rules_reader reader = {read_for_rules, j};
  struct rules_reads reads = {.budget = RULES_READS_SINGLE, .arena = j->arena};
  struct rules_request request = base_request(j);
  struct rules_document resource = {0};
  struct rules_query query;
  status result = status_ok();
  bool found = false;
  request.reader = &reader;
  request.reads = &reads;
  if (j->one->kind == CASES_GET) {
    request.operation = RULES_GET;
    resource.path = request.path = j->one->path.relative;
    if (!find_document(j, &j->one->path, &found, &resource.fields))
      result = status_default(STATUS_RESOURCE_EXHAUSTED);
    request.resource = found ? &resource : NULL;
  } else {
    request.operation = RULES_LIST;
    request.query = &query;
    result = rules_query_make(&j->one->query, j->arena, &query, &request.path);
  }
  if (!status_is_ok(&result))
    fail(j, result);
  else if (decide(j, &request))
    j->result->outcome = CASES_ALLOWED;
}

/* ---- Commits ---- */

static status judge_document(void *argument, const struct rules_request *request) {
  return decide(argument, request) ? status_ok() : status_default(STATUS_PERMISSION_DENIED);
}

static status review(void *argument, struct doc_view *view) {
  struct judging *j = argument;
  return rules_commit_review(&j->commit, view);
}

static void on_commit(struct doc_commit *commit, status result, kv_version version) {
  (void)version;
  struct judging *j = commit->user;
  j->committed = result;
}

static void judge_commit(struct judging *j) {
  const struct doc_review reviewer = {review, j};
  struct cases_store store;
  size_t count = j->one->write_count;
  struct doc_write *writes = ARENA_NEW_ARRAY(j->arena, struct doc_write, count);
  if (writes == NULL) {
    fail(j, status_default(STATUS_RESOURCE_EXHAUSTED));
    return;
  }
  memcpy(writes, j->one->writes, count * sizeof *writes);
  struct doc_commit commit = {.writes = writes,
                              .write_count = count,
                              .limits = DOC_LIMITS_DEFAULT,
                              .arena = j->arena,
                              .done = on_commit,
                              .user = j};
  cases_store_init(&store, &j->one->state, j->one->time_us);
  /* Without rules first: a create of what exists is a mistake of the case, whatever rules say of it. */
  j->committed = doc_commit_prepare(&commit);
  if (status_is_ok(&j->committed))
    doc_commit_start(&store.base, &commit);
  if (!status_is_ok(&j->committed)) {
    fail(j, j->committed);
    return;
  }
  j->commit = (struct rules_commit){.request = base_request(j),
                                    .where = j->cases->root,
                                    .write_count = count,
                                    .arena = j->arena,
                                    .judge = judge_document,
                                    .argument = j};
  commit.review = &reviewer;
  doc_commit_start(&store.base, &commit);
  if (status_is_ok(&j->committed))
    j->result->outcome = CASES_ALLOWED;
  else if (j->committed.code != STATUS_PERMISSION_DENIED)
    fail(j, j->committed);
}

void cases_judge(const struct cases *cases, const struct cases_case *one, const struct rules *rules,
                 struct rules_coverage *last, struct rules_coverage *total, struct arena *arena,
                 struct cases_result *ret) {
  *ret = (struct cases_result){.outcome = CASES_DENIED, .failure = status_ok()};
  struct judging j = {.cases = cases,
                      .one = one,
                      .rules = rules,
                      .last = last,
                      .total = total,
                      .arena = arena,
                      .result = ret,
                      .committed = status_ok()};
  if (one->kind == CASES_COMMIT)
    judge_commit(&j);
  else
    judge_read(&j);
}
