#include "server/firestore/write_request.h"

#include "base/limits.h"
#include "base/wire.h"
#include "storage/document/codec.h"

static str opaque(ProtobufCBinaryData bytes) {
  return str_make(bytes.data, bytes.len);
}

struct doc_commit write_request_commit(const struct firestore_service *service, struct doc_write *writes,
                                       size_t count, struct arena *arena,
                                       void (*done)(struct doc_commit *, status, kv_version), void *user) {
  return (struct doc_commit){.writes = writes,
                             .write_count = count,
                             .limits = service->options.limits,
                             .arena = arena,
                             .done = done,
                             .user = user,
                             .derive = &service->derive};
}

status write_request_prepare(const struct access_caller *caller, struct doc_commit *commit) {
  STATUS_TRY(access_review_commit(caller, commit));
  return doc_commit_prepare(commit);
}

/* ---- Writes from the wire ---- */

static status parse_array_operand(const Google__Firestore__V1__ArrayValue *wire, struct arena *arena,
                                  struct doc_value *ret) {
  struct doc_value *items = ARENA_NEW_ARRAY(arena, struct doc_value, wire->n_values);
  if (items == NULL)
    return write_request_no_memory();
  for (size_t i = 0; i < wire->n_values; i++)
    STATUS_TRY(doc_decode_value(opaque(wire->values[i]), DOC_USE_ELEMENT, arena, &items[i]));
  *ret = (struct doc_value){.type = DOC_ARRAY, .as.array = {items, wire->n_values}};
  return status_ok();
}

#define TRANSFORM(name) GOOGLE__FIRESTORE__V1__DOCUMENT_TRANSFORM__FIELD_TRANSFORM__TRANSFORM_TYPE_##name

static status parse_transform(const Google__Firestore__V1__DocumentTransform__FieldTransform *wire,
                              struct arena *arena, struct doc_transform *ret) {
  STATUS_TRY(doc_field_path_parse(str_from_cstr(wire->field_path), arena, &ret->path));
  switch (wire->transform_type_case) {
  case TRANSFORM(SET_TO_SERVER_VALUE):
    if (wire->set_to_server_value !=
        GOOGLE__FIRESTORE__V1__DOCUMENT_TRANSFORM__FIELD_TRANSFORM__SERVER_VALUE__REQUEST_TIME)
      break;
    ret->kind = DOC_TRANSFORM_SERVER_TIME;
    return status_ok();
  case TRANSFORM(INCREMENT):
    ret->kind = DOC_TRANSFORM_INCREMENT;
    return doc_decode_value(opaque(wire->increment), DOC_USE_FIELD, arena, &ret->operand);
  case TRANSFORM(MAXIMUM):
    ret->kind = DOC_TRANSFORM_MAXIMUM;
    return doc_decode_value(opaque(wire->maximum), DOC_USE_FIELD, arena, &ret->operand);
  case TRANSFORM(MINIMUM):
    ret->kind = DOC_TRANSFORM_MINIMUM;
    return doc_decode_value(opaque(wire->minimum), DOC_USE_FIELD, arena, &ret->operand);
  case TRANSFORM(APPEND_MISSING_ELEMENTS):
    ret->kind = DOC_TRANSFORM_APPEND_MISSING;
    return parse_array_operand(wire->append_missing_elements, arena, &ret->operand);
  case TRANSFORM(REMOVE_ALL_FROM_ARRAY):
    ret->kind = DOC_TRANSFORM_REMOVE_ALL;
    return parse_array_operand(wire->remove_all_from_array, arena, &ret->operand);
  case TRANSFORM(_NOT_SET):
  default:
    break;
  }
  return status_make(STATUS_INVALID_ARGUMENT,
                     "The transform of the field \"%s\" says nothing this server knows.", wire->field_path);
}

static status parse_transforms(Google__Firestore__V1__DocumentTransform__FieldTransform *const *wire,
                               size_t count, struct arena *arena, struct doc_transform_plan *ret) {
  if (count == 0)
    return status_ok();
  struct doc_transform *transforms = ARENA_NEW_ARRAY(arena, struct doc_transform, count);
  if (transforms == NULL)
    return write_request_no_memory();
  for (size_t i = 0; i < count; i++)
    STATUS_TRY(parse_transform(wire[i], arena, &transforms[i]));
  return doc_transform_plan_make(transforms, count, arena, ret);
}

#define OPERATION(name) GOOGLE__FIRESTORE__V1__WRITE__OPERATION_##name

status write_request_parse(const struct doc_path *database, const Google__Firestore__V1__Write *wire,
                           struct arena *arena, struct doc_write *ret) {
  str name;
  STATUS_TRY(request_precondition(wire->current_document, &ret->precondition));
  switch (wire->operation_case) {
  case OPERATION(UPDATE): {
    struct doc_document document;
    ret->kind = DOC_WRITE_SET;
    STATUS_TRY(doc_decode_document(opaque(wire->update), arena, &document));
    STATUS_TRY(request_write_mask(wire->update_mask, arena, &ret->mask));
    STATUS_TRY(parse_transforms(wire->update_transforms, wire->n_update_transforms, arena, &ret->transforms));
    ret->fields = document.fields;
    name = document.name;
    break;
  }
  case OPERATION(DELETE):
    ret->kind = DOC_WRITE_DELETE;
    name = str_from_cstr(wire->delete_);
    break;
  case OPERATION(VERIFY):
    ret->kind = DOC_WRITE_VERIFY;
    if (ret->precondition.kind == DOC_PRECONDITION_NONE)
      return status_make(STATUS_INVALID_ARGUMENT, "A verify has no current_document to check.");
    name = str_from_cstr(wire->verify);
    break;
  case OPERATION(TRANSFORM):
    ret->kind = DOC_WRITE_TRANSFORM;
    if (wire->transform->n_field_transforms == 0)
      return status_make(STATUS_INVALID_ARGUMENT, "A transform has no field_transforms.");
    STATUS_TRY(parse_transforms(wire->transform->field_transforms, wire->transform->n_field_transforms, arena,
                                &ret->transforms));
    name = str_from_cstr(wire->transform->document);
    break;
  case OPERATION(_NOT_SET):
  default:
    return status_make(STATUS_INVALID_ARGUMENT,
                       "A write has no operation: set update, delete, transform or verify.");
  }
  if (ret->kind != DOC_WRITE_SET && (wire->update_mask != NULL || wire->n_update_transforms > 0))
    return status_make(STATUS_INVALID_ARGUMENT, "update_mask and update_transforms go with update only.");
  return request_document_in(database, name, &ret->path);
}

/* ---- Answers ---- */

void write_request_answer_arena(struct arena *ret) {
  arena_init(ret, NULL, 0, LIMIT_CALL_ARENA_BYTES);
}

static status make_timestamp(int64_t us, struct arena *arena, Google__Protobuf__Timestamp **ret) {
  Google__Protobuf__Timestamp *timestamp = ARENA_NEW(arena, Google__Protobuf__Timestamp);
  if (timestamp == NULL)
    return write_request_no_memory();
  google__protobuf__timestamp__init(timestamp);
  struct wire_timestamp time = wire_timestamp_from_us(us);
  timestamp->seconds = time.seconds;
  timestamp->nanos = time.nanos;
  *ret = timestamp;
  return status_ok();
}

status write_request_result(const struct doc_write *write, const struct doc_write_result *result,
                            struct arena *arena, Google__Firestore__V1__WriteResult *ret) {
  google__firestore__v1__write_result__init(ret);
  if (result->update_time_us != 0)
    STATUS_TRY(make_timestamp(result->update_time_us, arena, &ret->update_time));
  if (write->transforms.count == 0)
    return status_ok();
  ret->transform_results = ARENA_NEW_ARRAY(arena, ProtobufCBinaryData, write->transforms.count);
  if (ret->transform_results == NULL)
    return write_request_no_memory();
  ret->n_transform_results = write->transforms.count;
  for (size_t i = 0; i < write->transforms.count; i++) {
    str bytes;
    STATUS_TRY(doc_encode_value(&result->transform_results[i], arena, &bytes));
    ret->transform_results[i] = (ProtobufCBinaryData){bytes.len, (uint8_t *)(uintptr_t)bytes.ptr};
  }
  return status_ok();
}

status write_request_results(const struct doc_commit *commit, kv_version version, struct arena *arena,
                             Google__Firestore__V1__WriteResult ***ret,
                             Google__Protobuf__Timestamp **ret_commit_time) {
  size_t count = commit->write_count;
  Google__Firestore__V1__WriteResult *results =
      ARENA_NEW_ARRAY(arena, Google__Firestore__V1__WriteResult, count);
  Google__Firestore__V1__WriteResult **pointers =
      ARENA_NEW_ARRAY(arena, Google__Firestore__V1__WriteResult *, count);
  if (results == NULL || pointers == NULL)
    return write_request_no_memory();
  STATUS_TRY(make_timestamp(version, arena, ret_commit_time));
  for (size_t i = 0; i < count; i++) {
    STATUS_TRY(write_request_result(&commit->writes[i], &commit->results[i], arena, &results[i]));
    pointers[i] = &results[i];
  }
  *ret = pointers;
  return status_ok();
}
