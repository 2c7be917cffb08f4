#include "server/firestore/listen_target.h"

#include <stdlib.h>

#include "storage/document/key.h"

enum { SCRATCH_BYTES = 16 * 1024 };

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "Too many targets are listened to. Please try again later.");
}

/* ---- Messages that stay ---- */

static void *unpack_alloc(void *arena, size_t size) {
  return arena_alloc(arena, size);
}
static void unpack_free(void *arena, void *pointer) {
  (void)arena;
  (void)pointer;
}

/* The message's own memory ends with the handler, so its query is packed and unpacked into the target's. */
static const Google__Firestore__V1__StructuredQuery *
copy_query(const Google__Firestore__V1__StructuredQuery *wire, struct arena *arena) {
  size_t size = protobuf_c_message_get_packed_size(&wire->base);
  uint8_t *bytes = malloc(size + 1);
  if (bytes == NULL)
    return NULL;
  protobuf_c_message_pack(&wire->base, bytes);
  ProtobufCAllocator allocator = {unpack_alloc, unpack_free, arena};
  const Google__Firestore__V1__StructuredQuery *copy =
      google__firestore__v1__structured_query__unpack(&allocator, size, bytes);
  free(bytes);
  return copy;
}

/* ---- Judging ---- */

static status judge_query(struct listen_target *target, const struct access_caller *caller,
                          const struct doc_path *database) {
  struct arena arena;
  struct access_reading reading;
  arena_init(&arena, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  status result = access_reading_init(caller, database, false, &arena, &reading);
  if (status_is_ok(&result))
    result = access_judge_query(&reading, target->watch.query);
  if (status_is_ok(&result))
    target->judged_version = access_reading_read(&reading) ? reading.snapshot.version : KV_LATEST;
  arena_fini(&arena);
  return result;
}

static status judge_stored(const struct access_caller *caller, const struct firestore_service *service,
                           str name, str key) {
  kv_snapshot now;
  struct kv_value value = {0};
  struct doc_record record = {0};
  STATUS_TRY(request_snapshot(service, NULL, &now));
  STATUS_TRY(kv_get(now, KV_DOCUMENTS, key, &value));
  status result = value.found ? doc_record_decode(value.bytes, &record) : status_ok();
  if (status_is_ok(&result))
    result = listen_target_judge_document(caller, name, value.found ? &record.fields : NULL);
  kv_value_release(&value);
  return result;
}

status listen_target_judge(struct listen_target *target, const struct access_caller *caller,
                           const struct firestore_service *service, const struct doc_path *database) {
  STATUS_TRY(access_may_enter(caller, ACCESS_READ, database));
  target->judged_version = KV_LATEST;
  if (caller->may_read)
    return status_ok();
  if (target->watch.query != NULL)
    return judge_query(target, caller, database);
  for (size_t i = 0; i < target->watch.key_count; i++)
    STATUS_TRY(judge_stored(caller, service, target->names[i], target->watch.keys[i]));
  return status_ok();
}

status listen_target_judge_document(const struct access_caller *caller, str name, const str *fields) {
  if (caller->may_read)
    return status_ok();
  struct doc_path path;
  struct arena arena;
  struct access_reading reading;
  STATUS_TRY(doc_path_parse_document(name, &path));
  arena_init(&arena, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  status result = access_reading_init(caller, &path, false, &arena, &reading);
  if (status_is_ok(&result))
    result = access_judge_document(&reading, &path, fields);
  arena_fini(&arena);
  return result;
}

/* ---- Parsing ---- */

#define TARGET(name) GOOGLE__FIRESTORE__V1__TARGET__TARGET_TYPE_##name
#define QUERY_TARGET(name) GOOGLE__FIRESTORE__V1__TARGET__QUERY_TARGET__QUERY_TYPE_##name

static status parse_documents(const struct doc_path *database,
                              const Google__Firestore__V1__Target__DocumentsTarget *wire, struct arena *arena,
                              struct listen_target *ret) {
  size_t count = wire->n_documents;
  if (count == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "The target has no documents.");
  if (count > LIMIT_LISTEN_DOCUMENTS)
    return status_make(STATUS_INVALID_ARGUMENT, "A target has at most %d documents.", LIMIT_LISTEN_DOCUMENTS);
  str *names = ARENA_NEW_ARRAY(arena, str, count), *keys = ARENA_NEW_ARRAY(arena, str, count);
  if (names == NULL || keys == NULL)
    return no_memory();
  for (size_t i = 0; i < count; i++) {
    struct doc_path path;
    names[i] = arena_str_copy(arena, str_from_cstr(wire->documents[i]));
    if (names[i].ptr == NULL)
      return no_memory();
    STATUS_TRY(request_document_in(database, names[i], &path));
    STATUS_TRY(doc_key_from_path(&path, arena, &keys[i]));
  }
  ret->names = names;
  ret->watch.keys = keys;
  ret->watch.key_count = count;
  return status_ok();
}

static status parse_query(struct rpc_call *call, const struct doc_path *database,
                          const Google__Firestore__V1__Target__QueryTarget *wire, struct arena *arena,
                          struct listen_target *ret) {
  if (wire->query_type_case != QUERY_TARGET(STRUCTURED_QUERY) || wire->structured_query == NULL)
    return status_make(STATUS_INVALID_ARGUMENT, "The target has no structured_query.");
  const struct firestore_service *service = request_service(call);
  str name = arena_str_copy(arena, str_from_cstr(wire->parent));
  const Google__Firestore__V1__StructuredQuery *query = copy_query(wire->structured_query, arena);
  if (name.ptr == NULL || query == NULL)
    return no_memory();
  struct doc_path parent;
  STATUS_TRY(request_parent(service, name.ptr, REQUEST_READS, &parent));
  if (!doc_path_same_database(database, &parent))
    return status_make(STATUS_INVALID_ARGUMENT, "The query is not in the stream's database.");
  STATUS_TRY(query_request_parse(&parent, query, arena, &ret->request));
  STATUS_TRY(query_check_listen(&ret->request.query));
  ret->watch.query = &ret->request.query;
  ret->watch.alone = ret->request.mask != NULL;
  return status_ok();
}

static status parse(struct rpc_call *call, const struct doc_path *database,
                    const Google__Firestore__V1__Target *wire, struct arena *arena,
                    struct listen_target *ret) {
  status result;
  switch (wire->target_type_case) {
  case TARGET(DOCUMENTS):
    result = parse_documents(database, wire->documents, arena, ret);
    break;
  case TARGET(QUERY):
    result = parse_query(call, database, wire->query, arena, ret);
    break;
  case TARGET(_NOT_SET):
  default:
    return status_make(STATUS_INVALID_ARGUMENT, "The target has neither a query nor documents.");
  }
  return result;
}

/* ---- What the client knows already ---- */

static bool identify(const Google__Firestore__V1__Target *wire, struct resume_target *ret) {
  const ProtobufCMessage *what =
      wire->target_type_case == TARGET(QUERY) ? &wire->query->base : &wire->documents->base;
  size_t size = protobuf_c_message_get_packed_size(what);
  uint8_t *bytes = malloc(size + 1);
  if (bytes == NULL)
    return false;
  protobuf_c_message_pack(what, bytes);
  bytes[size] = (uint8_t)wire->target_type_case;
  *ret = resume_target_of(str_make(bytes, size + 1));
  free(bytes);
  return true;
}

/* The version that a client's token or read_time says; 0 if there is none that can be used. */
static kv_version resume_version(const struct firestore_service *service, const struct doc_path *database,
                                 const Google__Firestore__V1__Target *wire, struct resume_target identity) {
  int64_t version = 0;
  bool usable = false;
  if (wire->resume_type_case == GOOGLE__FIRESTORE__V1__TARGET__RESUME_TYPE_RESUME_TOKEN) {
    usable = resume_token_decode(str_make(service->secret, sizeof service->secret),
                                 request_database_name(database), identity,
                                 str_make(wire->resume_token.data, wire->resume_token.len), &version);
  } else if (wire->resume_type_case == GOOGLE__FIRESTORE__V1__TARGET__RESUME_TYPE_READ_TIME) {
    status result = request_timestamp(wire->read_time, "read_time", &version);
    usable = status_is_ok(&result) && version > 0;
  }
  return usable ? version : 0;
}

static bool knows_something(const Google__Firestore__V1__Target *wire) {
  return wire->resume_type_case == GOOGLE__FIRESTORE__V1__TARGET__RESUME_TYPE_READ_TIME ||
         (wire->resume_type_case == GOOGLE__FIRESTORE__V1__TARGET__RESUME_TYPE_RESUME_TOKEN &&
          wire->resume_token.len > 0);
}

/* ---- Memory: first how much, then as much ---- */

static struct listen_target *new_target(size_t first_bytes, struct memory_budget *budget, size_t cap_bytes) {
  first_bytes = (first_bytes + _Alignof(max_align_t) - 1) / _Alignof(max_align_t) * _Alignof(max_align_t);
  size_t size = sizeof(struct listen_target) + first_bytes;
  if (!memory_budget_take(budget, size))
    return NULL;
  struct listen_target *target = calloc(1, size);
  if (target == NULL) {
    memory_budget_give(budget, size);
    return NULL;
  }
  target->budget = budget;
  target->charged_bytes = size;
  arena_init(&target->arena, target->first_block, first_bytes, cap_bytes);
  target->arena.budget = budget;
  return target;
}

status listen_target_new(struct rpc_call *call, const struct access_caller *caller,
                         const struct doc_path *database, const Google__Firestore__V1__Target *wire,
                         struct memory_budget *budget, struct listen_target **ret) {
  _Alignas(max_align_t) char scratch_block[SCRATCH_BYTES];
  struct listen_target scratch = {0};
  struct arena arena;
  size_t cap_bytes = rpc_call_arena(call)->cap_bytes;
  arena_init(&arena, scratch_block, sizeof scratch_block, cap_bytes);
  status result = parse(call, database, wire, &arena, &scratch);
  /* What went past the scratch goes past the first block too; such targets are rare. */
  size_t used = arena.blocks != NULL ? 0 : (size_t)(arena.at - arena.first);
  arena_fini(&arena);
  STATUS_TRY(result);
  struct listen_target *target = new_target(used, budget, cap_bytes);
  if (target == NULL)
    return no_memory();
  result = parse(call, database, wire, &target->arena, target);
  if (status_is_ok(&result))
    result = listen_target_judge(target, caller, request_service(call), database);
  target->judged_generation = caller->generation;
  if (status_is_ok(&result) && !identify(wire, &target->identity))
    result = no_memory();
  if (!status_is_ok(&result)) {
    listen_target_free(target);
    return result;
  }
  target->id = wire->target_id;
  target->once = wire->once;
  target->known = resume_version(request_service(call), database, wire, target->identity);
  target->starts_over = target->known == 0 && knows_something(wire);
  target->has_expected = wire->expected_count != NULL && target->known > 0;
  *ret = target;
  return status_ok();
}

void listen_target_set_members(struct listen_target *target, struct listen_members *members) {
  if (target->members != NULL)
    memory_budget_give(target->budget, target->members->size_bytes);
  free(target->members);
  target->members = members;
  if (members != NULL)
    memory_budget_charge(target->budget, members->size_bytes);
}

void listen_target_free(struct listen_target *target) {
  if (target == NULL)
    return;
  listen_target_set_members(target, NULL);
  arena_fini(&target->arena);
  memory_budget_give(target->budget, target->charged_bytes);
  free(target);
}
