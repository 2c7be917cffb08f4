#include "server/access/judge.h"

#include "server/rules/query.h"
#include "storage/document/key.h"
#include "storage/query/query.h"

/* ---- What all requests have ---- */

struct rules_request judge_request(const struct access_caller *caller, const struct doc_path *where,
                                   struct rules_auth *auth) {
  const struct identity *identity = caller->identity;
  bool is_signed_in = identity != NULL && identity->kind == IDENTITY_USER;
  if (is_signed_in)
    *auth = (struct rules_auth){.uid = identity->uid, .claims = identity->claims};
  return (struct rules_request){
      .project = where->project, .database = where->database, .auth = is_signed_in ? auth : NULL};
}

status judge(const struct access_caller *caller, const struct rules_request *request, struct arena *arena) {
  struct rules_decision decision = rules_decide(caller->rules, request, arena);
  if (decision.outcome == RULES_ALLOW)
    return status_ok();
  if (decision.outcome != RULES_DENY)
    return status_make(STATUS_UNAVAILABLE, "The access rules could not be applied now: " STR_FMT,
                       STR_ARG(decision.reason));
  if (!access_explains(caller))
    return status_default(STATUS_PERMISSION_DENIED);
  if (decision.line == 0)
    return status_make(STATUS_PERMISSION_DENIED,
                       "Missing or insufficient permissions. No rule for " STR_FMT " allows this.",
                       STR_ARG(request->path));
  return status_make(STATUS_PERMISSION_DENIED, "Missing or insufficient permissions. Rules, %u:%u: " STR_FMT,
                     decision.line, decision.column, STR_ARG(decision.reason));
}

bool judge_path(const struct doc_path *where, str relative, struct arena *arena, struct doc_path *ret) {
  str name = arena_printf(arena, "projects/" STR_FMT "/databases/" STR_FMT "/documents/" STR_FMT,
                            STR_ARG(where->project), STR_ARG(where->database), STR_ARG(relative));
  if (name.ptr == NULL)
    return false;
  status result = doc_path_parse_document(name, ret);
  if (!status_is_ok(&result))
    ret->name.len = 0; /* no document can have that name */
  return true;
}

/* ---- Reads ---- */

static bool is_free(const struct access_reading *reading) {
  return reading->caller->may_read || reading->caller->rules == NULL;
}

status access_reading_init(const struct access_caller *caller, const struct doc_path *where, bool several,
                           struct arena *arena, struct access_reading *ret) {
  *ret = (struct access_reading){.caller = caller, .where = *where, .arena = arena};
  ret->reads.budget = several ? RULES_READS_MULTIPLE : RULES_READS_SINGLE;
  ret->reads.arena = arena;
  return is_free(ret) ? status_ok() : kv_snapshot_at(access_store(caller), KV_LATEST, &ret->snapshot);
}

static enum rules_read read_document(struct access_reading *reading, const struct doc_path *path,
                                     struct rules_document *ret) {
  str key;
  struct kv_value value = {0};
  struct doc_record record;
  status result = doc_key_from_path(path, reading->arena, &key);
  if (status_is_ok(&result))
    result = kv_get(reading->snapshot, KV_DOCUMENTS, key, &value);
  bool found = value.found;
  if (status_is_ok(&result) && found)
    result = doc_record_decode(value.bytes, &record);
  if (status_is_ok(&result) && found)
    ret->fields = arena_str_copy(reading->arena, record.fields);
  kv_value_release(&value);
  if (!status_is_ok(&result) || (found && ret->fields.ptr == NULL))
    return RULES_READ_FAILED;
  return found ? RULES_READ_FOUND : RULES_READ_MISSING;
}

/* Reading changes nothing: the state after it is the one before. */
static enum rules_read read_for_rules(void *argument, str relative, bool after, struct rules_document *ret) {
  (void)after;
  struct access_reading *reading = argument;
  struct doc_path path;
  if (!judge_path(&reading->where, relative, reading->arena, &path))
    return RULES_READ_FAILED;
  ret->path = relative;
  return path.name.len == 0 ? RULES_READ_MISSING : read_document(reading, &path, ret);
}

static status judge_reading(struct access_reading *reading, struct rules_request *request) {
  const struct rules_reader reader = {read_for_rules, reading};
  request->time_us = access_now_us(reading->caller);
  request->reader = &reader;
  request->reads = &reading->reads;
  return judge(reading->caller, request, reading->arena);
}

status access_judge_document(struct access_reading *reading, const struct doc_path *document,
                             const str *fields) {
  if (is_free(reading))
    return status_ok();
  struct rules_auth auth;
  struct rules_request request = judge_request(reading->caller, &reading->where, &auth);
  struct rules_document resource = {.path = document->relative};
  if (fields != NULL)
    resource.fields = *fields;
  request.operation = RULES_GET;
  request.path = document->relative;
  request.resource = fields == NULL ? NULL : &resource;
  return judge_reading(reading, &request);
}

status access_judge_query(struct access_reading *reading, const struct query *query) {
  if (is_free(reading))
    return status_ok();
  struct rules_auth auth;
  struct rules_query facts;
  struct rules_request request = judge_request(reading->caller, &reading->where, &auth);
  request.operation = RULES_LIST;
  STATUS_TRY(rules_query_make(query, reading->arena, &facts, &request.path));
  request.query = &facts;
  return judge_reading(reading, &request);
}

status access_judge_collection(struct access_reading *reading, const struct doc_path *parent,
                               str collection_id) {
  if (is_free(reading))
    return status_ok();
  if (collection_id.len == 0)
    return status_default(STATUS_PERMISSION_DENIED);
  struct query query = {.parent = *parent, .collection_id = collection_id};
  STATUS_TRY(query_prepare(&query, reading->arena));
  return access_judge_query(reading, &query);
}

bool access_reading_read(const struct access_reading *reading) {
  return reading->reads.entries != NULL;
}
