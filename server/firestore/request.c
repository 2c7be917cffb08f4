#include "server/firestore/request.h"

#include "storage/document/codec.h"

static bool is_served(const struct firestore_service *service, str project) {
  if (service->options.any_project)
    return true;
  for (size_t i = 0; i < service->options.project_count; i++)
    if (str_eq(project, str_from_cstr(service->options.projects[i])))
      return true;
  return false;
}

static status check_served(const struct firestore_service *service, const struct doc_path *path,
                           enum request_side side) {
  if (is_served(service, path->project))
    return status_ok();
  /* An operator's slip must not make phones throw away what they queued. */
  return status_make(side == REQUEST_WRITES ? STATUS_UNAVAILABLE : STATUS_NOT_FOUND,
                     "The project \"" STR_FMT
                     "\" is not served here. The setting `projects` names those that are.",
                     STR_ARG(path->project));
}

status request_write_status(status result) {
  switch (result.code) {
  case STATUS_INTERNAL:
  case STATUS_UNKNOWN:
  case STATUS_DATA_LOSS:
  case STATUS_UNIMPLEMENTED:
    result.code = STATUS_UNAVAILABLE;
    return result;
  case STATUS_OK:
  case STATUS_CANCELLED:
  case STATUS_INVALID_ARGUMENT:
  case STATUS_DEADLINE_EXCEEDED:
  case STATUS_NOT_FOUND:
  case STATUS_ALREADY_EXISTS:
  case STATUS_PERMISSION_DENIED:
  case STATUS_RESOURCE_EXHAUSTED:
  case STATUS_FAILED_PRECONDITION:
  case STATUS_ABORTED:
  case STATUS_OUT_OF_RANGE:
  case STATUS_UNAVAILABLE:
  case STATUS_UNAUTHENTICATED: /* SDKs fetch another token, and keep what they queued */
    break;
  }
  return result;
}

status request_database(const struct firestore_service *service, const char *name, enum request_side side,
                        struct doc_path *ret) {
  STATUS_TRY(doc_path_parse_database(str_from_cstr(name), ret));
  return check_served(service, ret, side);
}

/* In most requests a name is a string of protobuf-c, which ends at U+0000 (the runtime refuses those that
 * hold one). In a Document it is not, and what is written under such a name could never be read. */
static status parse_document(str name, struct doc_path *ret) {
  if (name.len > 0 && memchr(name.ptr, '\0', name.len) != NULL)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "A document's name holds the character U+0000, which is not allowed here.");
  return doc_path_parse_document(name, ret);
}

status request_document(const struct firestore_service *service, str name, enum request_side side,
                        struct doc_path *ret) {
  STATUS_TRY(parse_document(name, ret));
  return check_served(service, ret, side);
}

status request_parent(const struct firestore_service *service, const char *name, enum request_side side,
                      struct doc_path *ret) {
  STATUS_TRY(doc_path_parse_parent(str_from_cstr(name), ret));
  return check_served(service, ret, side);
}

status request_document_in(const struct doc_path *database, str name, struct doc_path *ret) {
  struct doc_path path;
  STATUS_TRY(parse_document(name, &path));
  if (!doc_path_same_database(database, &path))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "The document is not in the request's database " STR_FMT ": " STR_FMT,
                       STR_ARG(database->name), STR_ARG(name));
  *ret = path;
  return status_ok();
}

status request_timestamp(const Google__Protobuf__Timestamp *timestamp, const char *field, int64_t *ret_us) {
  if (timestamp->seconds < -62135596800 || timestamp->seconds > 253402300799 || timestamp->nanos < 0 ||
      timestamp->nanos > 999999999)
    return status_make(STATUS_INVALID_ARGUMENT, "%s is not a time between the years 1 and 9999.", field);
  *ret_us = timestamp->seconds * 1000000 + timestamp->nanos / 1000;
  return status_ok();
}

status request_snapshot(const struct firestore_service *service, const Google__Protobuf__Timestamp *read_time,
                        kv_snapshot *ret) {
  struct kv_store *store = service->options.store;
  if (read_time == NULL)
    return kv_snapshot_at(store, KV_LATEST, ret);
  int64_t wanted = 0;
  STATUS_TRY(request_timestamp(read_time, "read_time", &wanted));
  if (read_time->nanos % 1000 != 0)
    return status_make(STATUS_INVALID_ARGUMENT, "read_time is finer than a microsecond.");
  if (wanted <= 0)
    return status_make(STATUS_INVALID_ARGUMENT, "read_time is not after 1970.");
  status result = kv_snapshot_at(store, wanted, ret);
  if (result.code == STATUS_FAILED_PRECONDITION && wanted > kv_newest_version(store))
    return status_make(STATUS_INVALID_ARGUMENT, "read_time is in the future.");
  return result;
}

static status parse_mask(const Google__Firestore__V1__DocumentMask *mask, enum doc_mask_use use,
                         struct arena *arena, const struct doc_mask **ret) {
  if (mask == NULL) {
    *ret = NULL;
    return status_ok();
  }
  str *paths = ARENA_NEW_ARRAY(arena, str, mask->n_field_paths);
  struct doc_mask *parsed = ARENA_NEW(arena, struct doc_mask);
  if (paths == NULL || parsed == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < mask->n_field_paths; i++)
    paths[i] = str_from_cstr(mask->field_paths[i]);
  STATUS_TRY(doc_mask_parse(paths, mask->n_field_paths, use, arena, parsed));
  *ret = parsed;
  return status_ok();
}

status request_read_mask(const Google__Firestore__V1__DocumentMask *mask, struct arena *arena,
                         const struct doc_mask **ret) {
  return parse_mask(mask, DOC_MASK_READ, arena, ret);
}

status request_write_mask(const Google__Firestore__V1__DocumentMask *mask, struct arena *arena,
                          const struct doc_mask **ret) {
  return parse_mask(mask, DOC_MASK_WRITE, arena, ret);
}

status request_precondition(const Google__Firestore__V1__Precondition *wire, struct doc_precondition *ret) {
  *ret = (struct doc_precondition){.kind = DOC_PRECONDITION_NONE};
  if (wire == NULL)
    return status_ok();
  switch (wire->condition_type_case) {
  case GOOGLE__FIRESTORE__V1__PRECONDITION__CONDITION_TYPE_EXISTS:
    ret->kind = DOC_PRECONDITION_EXISTS;
    ret->exists = wire->exists;
    break;
  case GOOGLE__FIRESTORE__V1__PRECONDITION__CONDITION_TYPE_UPDATE_TIME:
    ret->kind = DOC_PRECONDITION_UPDATE_TIME;
    STATUS_TRY(request_timestamp(wire->update_time, "current_document.update_time", &ret->update_time_us));
    if (wire->update_time->nanos % 1000 != 0)
      return status_make(STATUS_INVALID_ARGUMENT,
                         "current_document.update_time is finer than a microsecond.");
    break;
  case GOOGLE__FIRESTORE__V1__PRECONDITION__CONDITION_TYPE__NOT_SET:
  default:
    break;
  }
  return status_ok();
}

str request_database_name(const struct doc_path *path) {
  return str_make(path->name.ptr, (size_t)(path->database.ptr + path->database.len - path->name.ptr));
}

status request_begin_transaction(const struct firestore_service *service,
                                 const Google__Firestore__V1__TransactionOptions *wire, str database,
                                 struct transaction **ret) {
  struct transaction_options options = {.database = database};
  if (wire != NULL && wire->mode_case == GOOGLE__FIRESTORE__V1__TRANSACTION_OPTIONS__MODE_READ_WRITE) {
    ProtobufCBinaryData retry = wire->read_write->retry_transaction;
    options.retry_id = str_make(retry.data, retry.len);
  }
  if (wire != NULL && wire->mode_case == GOOGLE__FIRESTORE__V1__TRANSACTION_OPTIONS__MODE_READ_ONLY) {
    options.read_only = true;
    if (wire->read_only->consistency_selector_case ==
        GOOGLE__FIRESTORE__V1__TRANSACTION_OPTIONS__READ_ONLY__CONSISTENCY_SELECTOR_READ_TIME) {
      kv_snapshot snapshot;
      STATUS_TRY(request_snapshot(service, wire->read_only->read_time, &snapshot));
      options.read_version = snapshot.version;
    }
  }
  return transactions_begin(service->transactions, &options, ret);
}

status request_use_transaction(const struct firestore_service *service, ProtobufCBinaryData id, str database,
                               struct transaction **ret) {
  return transactions_use(service->transactions, str_make(id.data, id.len), database, ret);
}

status request_project(struct doc_record *record, const struct doc_mask *mask, struct arena *arena) {
  if (mask == NULL)
    return status_ok();
  struct doc_map fields;
  STATUS_TRY(doc_decode_fields(record->fields, arena, &fields));
  STATUS_TRY(doc_mask_project(fields, mask, arena, &fields));
  return doc_encode_fields(fields, arena, &record->fields);
}

void request_reply_document(struct rpc_call *call, str name, const struct doc_record *record) {
  rpc_message message;
  if (!rpc_message_alloc(doc_document_wire_size(name, record), &message)) {
    rpc_call_finish(call, status_default(STATUS_RESOURCE_EXHAUSTED));
    return;
  }
  doc_document_wire_write(name, record, message.data);
  rpc_call_reply(call, &message);
}
