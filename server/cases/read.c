/* The file, its documents and its cases. */
#include <stdlib.h>

#include "base/limits.h"
#include "server/cases/reader.h"
#include "server/json/json_time.h"
#include "server/tokens/claims.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"
#include "storage/document/record.h"

/* When the documents at the start were written: rules cannot see it. */
enum { DOCUMENT_TIME_US = 1 };

/* ---- Documents at the start ---- */

static status read_document(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                            struct cases_document *ret) {
  struct doc_path path;
  struct doc_map fields;
  struct doc_record record = {.create_us = DOCUMENT_TIME_US, .update_us = DOCUMENT_TIME_US};
  const struct doc_limits limits = DOC_LIMITS_DEFAULT;
  *ret = (struct cases_document){0};
  STATUS_TRY(cases_read_path(reader, at->name, at, &path));
  STATUS_TRY(doc_key_from_path(&path, reader->arena, &ret->key));
  if (json_is_null(json) && at->up->up != NULL)
    return status_ok();
  STATUS_TRY(cases_read_fields(reader, json, at, &fields));
  status result = doc_document_check(path.name, fields, &limits);
  if (!status_is_ok(&result))
    return cases_wrong_status(at, result);
  STATUS_TRY(doc_encode_fields(fields, reader->arena, &record.fields));
  return doc_record_encode(&record, reader->arena, &ret->record);
}

static status read_documents(struct cases_reader *reader, const json_t *json, const struct cases_place *up,
                             struct cases_state *ret) {
  struct cases_place at = {up, STR("documents"), CASES_NO_INDEX, false};
  if (json == NULL)
    return status_ok();
  if (!json_is_object(json))
    return cases_wrong(&at, "it must be an object, {\"rooms/a\": {...}}");
  if (json_object_size(json) > CASES_DOCUMENTS_MAX)
    return cases_wrong(&at, "there are more than %d", CASES_DOCUMENTS_MAX);
  struct cases_document *documents =
      ARENA_NEW_ARRAY(reader->arena, struct cases_document, json_object_size(json));
  size_t count = 0;
  const char *key;
  json_t *value;
  if (documents == NULL)
    return cases_no_memory();
  json_object_foreach((json_t *)(uintptr_t)json, key, value) {
    struct cases_place here = {&at, arena_str_copy(reader->arena, str_from_cstr(key)), CASES_NO_INDEX, false};
    if (here.name.ptr == NULL)
      return cases_no_memory();
    STATUS_TRY(read_document(reader, value, &here, &documents[count++]));
  }
  if (count > 1)
    qsort(documents, count, sizeof *documents, cases_document_compare);
  ret->documents = documents;
  ret->count = count;
  return status_ok();
}

/* ---- Who and when ---- */

static status add_claim(json_t *claims, const char *name, str uid) {
  if (json_object_get(claims, name) != NULL)
    return status_ok();
  return json_object_set_new(claims, name, json_stringn(uid.ptr, uid.len)) == 0 ? status_ok()
                                                                                : cases_no_memory();
}

static status read_claims(struct cases_reader *reader, json_t *claims, const struct cases_place *at,
                          struct rules_auth *auth) {
  struct doc_map fields;
  STATUS_TRY(add_claim(claims, "sub", auth->uid));
  STATUS_TRY(add_claim(claims, "user_id", auth->uid));
  status result = json_to_claims(claims, reader->arena, &fields);
  if (!status_is_ok(&result))
    return cases_wrong_status(at, result);
  return doc_encode_fields(fields, reader->arena, &auth->claims);
}

static status read_auth(struct cases_reader *reader, const json_t *json, const struct cases_place *up,
                        struct cases_case *ret) {
  static const char *const known[] = {"uid", "token", NULL};
  struct cases_place at = {up, STR("auth"), CASES_NO_INDEX, false};
  struct cases_place uid = {&at, STR("uid"), CASES_NO_INDEX, false},
                     token = {&at, STR("token"), CASES_NO_INDEX, false};
  if (json == NULL || json_is_null(json))
    return status_ok();
  STATUS_TRY(cases_check_object(json, &at, known));
  STATUS_TRY(cases_read_text(reader, json_object_get(json, "uid"), &uid, &ret->auth.uid));
  json_t *given = json_object_get(json, "token");
  if (given != NULL && !json_is_object(given))
    return cases_wrong(&token, "it must be an object, the claims of the token");
  ret->is_signed_in = true;
  json_t *claims = given != NULL ? json_incref(given) : json_object();
  status result = claims == NULL ? cases_no_memory() : read_claims(reader, claims, &token, &ret->auth);
  json_decref(claims);
  return result;
}

/* The time under "time", of the file or of a case. */
static status read_time(const json_t *object, const struct cases_place *up, int64_t *time_us) {
  const json_t *json = json_object_get(object, "time");
  struct cases_place at = {up, STR("time"), CASES_NO_INDEX, false};
  int64_t seconds;
  int32_t nanos;
  if (json == NULL)
    return status_ok();
  if (!json_is_string(json) ||
      !json_timestamp_read(str_make(json_string_value(json), json_string_length(json)), &seconds, &nanos) ||
      seconds < 1)
    return cases_wrong(&at, "it must be a time since 1970, as in \"2026-08-01T12:00:00Z\"");
  *time_us = seconds * 1000000 + nanos / 1000;
  return status_ok();
}

/* ---- What is asked ---- */

static const char *const get_names[] = {"name", "expect", "auth", "time", "documents", "get", NULL};
static const char *const list_names[] = {"name",      "expect", "auth",    "time",  "documents", "list",
                                         "listGroup", "where",  "orderBy", "limit", "offset",    NULL};
static const char *const commit_names[] = {"name", "expect", "auth", "time", "documents", "commit", NULL};
static const char *const write_names[] = {"name",   "expect", "auth", "time",  "documents", "create", "set",
                                          "update", "delete", "data", "merge", "remove",    NULL};
static const char *const one_write_names[] = {"create", "set",   "update", "delete",
                                              "data",   "merge", "remove", NULL};

static status read_commit(struct cases_reader *reader, const json_t *json, const struct cases_place *up,
                          struct cases_case *ret) {
  struct cases_place at = {up, STR("commit"), CASES_NO_INDEX, false};
  STATUS_TRY(cases_check_array(json, &at, CASES_WRITES_MAX));
  size_t count = json_array_size(json);
  if (count == 0)
    return cases_wrong(&at, "there is no write in it");
  ret->writes = ARENA_NEW_ARRAY(reader->arena, struct doc_write, count);
  ret->write_count = count;
  if (ret->writes == NULL)
    return cases_no_memory();
  for (size_t i = 0; i < count; i++) {
    at.index = i;
    STATUS_TRY(cases_check_object(json_array_get(json, i), &at, one_write_names));
    STATUS_TRY(cases_read_write(reader, json_array_get(json, i), &at, &ret->writes[i]));
  }
  return status_ok();
}

static status read_get(struct cases_reader *reader, const json_t *json, const struct cases_place *up,
                       struct cases_case *ret) {
  struct cases_place at = {up, STR("get"), CASES_NO_INDEX, false};
  str path;
  STATUS_TRY(cases_read_text(reader, json, &at, &path));
  return cases_read_path(reader, path, &at, &ret->path);
}

static status read_operation(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                             struct cases_case *ret) {
  if (json_object_get(json, "get") != NULL) {
    STATUS_TRY(cases_check_object(json, at, get_names));
    ret->kind = CASES_GET;
    return read_get(reader, json_object_get(json, "get"), at, ret);
  }
  if (json_object_get(json, "list") != NULL || json_object_get(json, "listGroup") != NULL) {
    STATUS_TRY(cases_check_object(json, at, list_names));
    ret->kind = CASES_LIST;
    if (json_object_get(json, "list") != NULL && json_object_get(json, "listGroup") != NULL)
      return cases_wrong(at, "it has both \"list\" and \"listGroup\"");
    return cases_read_query(reader, json, at, &ret->query);
  }
  ret->kind = CASES_COMMIT;
  if (json_object_get(json, "commit") != NULL) {
    STATUS_TRY(cases_check_object(json, at, commit_names));
    return read_commit(reader, json_object_get(json, "commit"), at, ret);
  }
  STATUS_TRY(cases_check_object(json, at, write_names));
  bool is_write = json_object_get(json, "create") != NULL || json_object_get(json, "set") != NULL ||
                  json_object_get(json, "update") != NULL || json_object_get(json, "delete") != NULL;
  if (!is_write)
    return cases_wrong(at, "it lacks what is asked: one of \"get\", \"list\", \"listGroup\", \"create\", "
                           "\"set\", \"update\", \"delete\" and \"commit\"");
  ret->writes = ARENA_NEW(reader->arena, struct doc_write);
  ret->write_count = 1;
  return ret->writes == NULL ? cases_no_memory() : cases_read_write(reader, json, at, ret->writes);
}

/* ---- Cases ---- */

static status read_expect(struct cases_reader *reader, const json_t *json, const struct cases_place *up,
                          bool *ret) {
  struct cases_place at = {up, STR("expect"), CASES_NO_INDEX, false};
  str text = {NULL, 0};
  if (json != NULL)
    STATUS_TRY(cases_read_text(reader, json, &at, &text));
  *ret = str_eq(text, STR("allow"));
  return *ret || str_eq(text, STR("deny")) ? status_ok()
                                           : cases_wrong(&at, "it must be \"allow\" or \"deny\"");
}

static status read_name(struct cases_reader *reader, const json_t *json, const struct cases_place *up,
                        str *ret) {
  struct cases_place at = {up, STR("name"), CASES_NO_INDEX, false};
  STATUS_TRY(cases_read_text(reader, json_object_get(json, "name"), &at, ret));
  if (ret->len == 0 || ret->len > CASES_NAME_BYTES_MAX || memchr(ret->ptr, '\n', ret->len) != NULL)
    return cases_wrong(&at, "it must be one line of 1 to %d bytes", CASES_NAME_BYTES_MAX);
  return status_ok();
}

static status read_case(struct cases_reader *reader, const json_t *json, const struct cases_place *up,
                        const struct cases_state *start, struct cases_case *ret) {
  if (!json_is_object(json))
    return cases_wrong(up, "it must be an object, {...}");
  STATUS_TRY(read_name(reader, json, up, &ret->name));
  struct cases_place at = {NULL, ret->name, CASES_NO_INDEX, true};
  STATUS_TRY(read_time(json, &at, &reader->time_us));
  ret->time_us = reader->time_us;
  ret->state.below = start;
  STATUS_TRY(read_documents(reader, json_object_get(json, "documents"), &at, &ret->state));
  STATUS_TRY(read_operation(reader, json, &at, ret));
  STATUS_TRY(read_auth(reader, json_object_get(json, "auth"), &at, ret));
  return read_expect(reader, json_object_get(json, "expect"), &at, &ret->expects_allow);
}

static status read_cases(struct cases_reader *reader, const json_t *json, struct cases *ret) {
  struct cases_place at = {NULL, STR("cases"), CASES_NO_INDEX, false};
  struct cases_state *start = ARENA_NEW(reader->arena, struct cases_state);
  STATUS_TRY(cases_check_array(json, &at, CASES_MAX));
  size_t count = json_array_size(json);
  if (count == 0)
    return cases_wrong(&at, "there is no case in it");
  ret->items = ARENA_NEW_ARRAY(reader->arena, struct cases_case, count);
  if (ret->items == NULL || start == NULL)
    return cases_no_memory();
  *start = (struct cases_state){.documents = ret->documents, .count = ret->document_count};
  ret->count = count;
  int64_t time_us = reader->time_us;
  for (size_t i = 0; i < count; i++) {
    at.index = i;
    reader->time_us = time_us;
    STATUS_TRY(read_case(reader, json_array_get(json, i), &at, start, &ret->items[i]));
  }
  return status_ok();
}

/* ---- The file ---- */

static status read_id(struct cases_reader *reader, const json_t *object, const char *name, str *id) {
  const json_t *json = json_object_get(object, name);
  struct cases_place at = {NULL, str_from_cstr(name), CASES_NO_INDEX, false};
  return json == NULL ? status_ok() : cases_read_text(reader, json, &at, id);
}

static status read_database(struct cases_reader *reader, const json_t *json, struct doc_path *ret) {
  str project = STR("demo"), database = STR("(default)");
  STATUS_TRY(read_id(reader, json, "project", &project));
  STATUS_TRY(read_id(reader, json, "database", &database));
  str name = arena_printf(reader->arena, "projects/" STR_FMT "/databases/" STR_FMT "/documents",
                          STR_ARG(project), STR_ARG(database));
  if (name.ptr == NULL)
    return cases_no_memory();
  status result = doc_path_parse(name, ret);
  if (status_is_ok(&result) && ret->segment_count > 0)
    result = cases_wrong(NULL, "project and database must be ids");
  return status_is_ok(&result) ? result : cases_wrong_status(NULL, result);
}

static status read_file(struct cases_reader *reader, const json_t *json, struct cases *ret) {
  static const char *const known[] = {"project", "database", "time", "documents", "cases", NULL};
  struct cases_state start = {0};
  STATUS_TRY(cases_check_object(json, NULL, known));
  STATUS_TRY(read_database(reader, json, &ret->root));
  reader->root = ret->root;
  STATUS_TRY(read_time(json, NULL, &reader->time_us));
  STATUS_TRY(read_documents(reader, json_object_get(json, "documents"), NULL, &start));
  ret->documents = start.documents;
  ret->document_count = start.count;
  return read_cases(reader, json_object_get(json, "cases"), ret);
}

status cases_read(str text, int64_t now_us, struct arena *arena, struct cases *ret) {
  struct cases_reader reader = {.arena = arena, .time_us = now_us};
  struct cases cases = {0};
  json_t *json;
  STATUS_TRY(json_object_read(text, CASES_JSON_DEPTH_MAX, &json));
  status result = read_file(&reader, json, &cases);
  json_decref(json);
  if (status_is_ok(&result))
    *ret = cases;
  return result;
}
