#include <stdlib.h>

#include "server/embed/documents_inside.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"

/* ---- The database ---- */

status skerry_documents_new(struct firestore_service *service, const char *project,
                            struct skerry_documents **ret) {
  struct buf name = {0};
  struct skerry_documents *documents = calloc(1, sizeof *documents);
  buf_printf(&name, "projects/%s/databases/(default)/documents", project);
  status result = documents == NULL || name.failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
  if (status_is_ok(&result))
    result = doc_path_parse(buf_str(&name), &documents->root);
  if (!status_is_ok(&result)) {
    buf_fini(&name);
    free(documents);
    return result;
  }
  documents->service = service;
  documents->owner =
      (struct access_caller){.access = service->options.access, .may_read = true, .may_write = true};
  atomic_init(&documents->owner.references, 1);
  pthread_mutex_init(&documents->mutex, NULL);
  *ret = documents;
  return result;
}

void skerry_documents_free(struct skerry_documents *documents) {
  if (documents == NULL)
    return;
  struct buf name = {.data = (uint8_t *)(uintptr_t)documents->root.name.ptr};
  buf_fini(&name);
  pthread_mutex_destroy(&documents->mutex);
  free(documents);
}

/* ---- Who ---- */

status documents_enter(struct skerry_documents *documents, struct rpc_call *call, enum skerry_rights rights,
                       enum access_need need, struct access_caller **ret) {
  if (rights == SKERRY_AS_SERVER) {
    *ret = access_caller_ref(&documents->owner);
    return status_ok();
  }
  struct access_caller *caller;
  STATUS_TRY(access_caller_new(documents->service->options.access, call, &caller));
  status result = access_may_enter(caller, need, &documents->root);
  if (status_is_ok(&result))
    *ret = caller;
  else
    access_caller_unref(caller);
  return result;
}

static status describe(const struct identity *identity, struct arena *arena, struct skerry_caller *ret) {
  switch (identity->kind) {
  case IDENTITY_SIGNED_OUT:
    return status_ok();
  case IDENTITY_USER:
    ret->kind = SKERRY_CALLER_USER;
    break;
  case IDENTITY_SERVICE_ACCOUNT:
  case IDENTITY_OWNER:
    ret->kind = SKERRY_CALLER_SERVICE;
    break;
  }
  ret->uid = arena_str_copy(arena, identity->uid);
  str claims = arena_str_copy(arena, identity->claims);
  if (ret->uid.ptr == NULL || claims.ptr == NULL)
    return documents_no_memory();
  return doc_decode_fields(claims, arena, &ret->claims);
}

status skerry_caller_of(struct skerry_documents *documents, struct rpc_call *call,
                        struct skerry_caller *ret) {
  struct access_caller *caller;
  STATUS_TRY(access_caller_new(documents->service->options.access, call, &caller));
  struct skerry_caller found = {.may_read = caller->may_read, .may_write = caller->may_write};
  status result = status_ok();
  if (caller->identity != NULL)
    result = describe(caller->identity, rpc_call_arena(call), &found);
  access_caller_unref(caller);
  if (status_is_ok(&result))
    *ret = found;
  return result;
}

/* ---- Paths ---- */

status skerry_path(struct arena *arena, const char *collection, str id, str *ret) {
  STATUS_TRY(doc_document_id_check(id));
  str path = arena_printf(arena, "%s/" STR_FMT, collection, STR_ARG(id));
  if (path.ptr == NULL)
    return documents_no_memory();
  *ret = path;
  return status_ok();
}

status documents_path(const struct skerry_documents *documents, str path, struct arena *arena,
                      struct doc_path *ret) {
  str root = documents->root.name;
  if (path.len > LIMIT_NAME_BYTES)
    return status_make(STATUS_INVALID_ARGUMENT, "The path of a document is too long.");
  str name = arena_printf(arena, STR_FMT "/" STR_FMT, STR_ARG(root), STR_ARG(path));
  if (name.ptr == NULL)
    return documents_no_memory();
  if (memchr(name.ptr, '\0', name.len) != NULL)
    return status_make(STATUS_INVALID_ARGUMENT, "The path of a document holds the character U+0000.");
  return doc_path_parse_document(name, ret);
}

/* ---- Reading ---- */

status documents_found(const struct documents_reading *reading, str path, const struct doc_record *record,
                       struct skerry_document *ret) {
  str copy = arena_str_copy(reading->arena, path), fields = arena_str_copy(reading->arena, record->fields);
  if (copy.ptr == NULL || fields.ptr == NULL)
    return documents_no_memory();
  *ret = (struct skerry_document){
      .path = copy, .exists = true, .create_time_us = record->create_us, .update_time_us = record->update_us};
  return doc_decode_fields(fields, reading->arena, &ret->fields);
}

static status read_found(const struct documents_reading *reading, const struct doc_path *path, str key,
                         const struct kv_value *value, struct skerry_document *ret) {
  struct doc_record record;
  struct access_reading judged;
  if (value->found)
    STATUS_TRY(doc_record_decode(value->bytes, &record));
  STATUS_TRY(access_reading_init(reading->caller, path, false, reading->arena, &judged));
  STATUS_TRY(access_judge_document(&judged, path, value->found ? &record.fields : NULL));
  /* What the caller does not get must not be in the read set: the commit would tell whether it changed. */
  if (reading->transaction != NULL)
    STATUS_TRY(transaction_read_document(reading->transaction, key));
  if (value->found)
    return documents_found(reading, path->relative, &record, ret);
  *ret = (struct skerry_document){.path = path->relative};
  return status_ok();
}

status documents_get(const struct documents_reading *reading, str path, struct skerry_document *ret) {
  struct doc_path parsed;
  str key;
  STATUS_TRY(documents_path(reading->documents, path, reading->arena, &parsed));
  STATUS_TRY(doc_key_from_path(&parsed, reading->arena, &key));
  struct kv_value value = {0};
  status result = kv_get(reading->snapshot, KV_DOCUMENTS, key, &value);
  if (status_is_ok(&result))
    result = read_found(reading, &parsed, key, &value, ret);
  kv_value_release(&value);
  return result;
}

static status open_reading(struct skerry_documents *documents, struct rpc_call *call,
                           enum skerry_rights rights, struct arena *arena, struct access_caller **ret_caller,
                           struct documents_reading *ret) {
  *ret = (struct documents_reading){.documents = documents, .arena = arena};
  STATUS_TRY(kv_snapshot_at(documents->service->options.store, KV_LATEST, &ret->snapshot));
  STATUS_TRY(documents_enter(documents, call, rights, ACCESS_READ, ret_caller));
  ret->caller = *ret_caller;
  return status_ok();
}

status skerry_get(struct skerry_documents *documents, struct rpc_call *call, enum skerry_rights rights,
                  str path, struct arena *arena, struct skerry_document *ret) {
  struct access_caller *caller;
  struct documents_reading reading;
  STATUS_TRY(open_reading(documents, call, rights, arena, &caller, &reading));
  status result = documents_get(&reading, path, ret);
  access_caller_unref(caller);
  return result;
}

status skerry_query_run(struct skerry_documents *documents, struct rpc_call *call, enum skerry_rights rights,
                        const struct skerry_query *query, struct arena *arena, struct skerry_document **ret,
                        size_t *ret_count) {
  struct access_caller *caller;
  struct documents_reading reading;
  STATUS_TRY(open_reading(documents, call, rights, arena, &caller, &reading));
  status result = documents_query(&reading, query, ret, ret_count);
  access_caller_unref(caller);
  return result;
}
