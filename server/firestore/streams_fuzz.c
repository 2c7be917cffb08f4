/* The state machines of Listen and Write, driven through gRPC by a script of bytes, over a real store.
 *
 *   script = phases; a phase is one stream: kind, steps, how it ends
 *
 * Steps are well-formed messages with odd contents (ids in use, tokens of the stream before, of others, and
 * damaged), any bytes, and commits in between. The client reads only at the end of a phase. Whatever it
 * sends, a stream ends with a status that is the client's doing, and what a listener hears is consistent:
 * news is of targets that it was told of, read times do not go back. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "google/firestore/v1/firestore.skerry.h"
#include "ports/port.h"
#include "server/firestore/resume_token.h"
#include "server/firestore/service.h"
#include "storage/index/catalog.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/raw_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

#define DATABASE "projects/p/databases/(default)"
#define METHOD(name) "/google.firestore.v1.Firestore/" name
#define TARGET_TYPE(name) GOOGLE__FIRESTORE__V1__TARGET_CHANGE__TARGET_CHANGE_TYPE__##name

enum { PHASES_MAX = 4, STEPS_MAX = 40, TOLD_MAX = 2 * STEPS_MAX, TOKEN_MAX = 1024, NAME_MAX_BYTES = 128 };

/* ---- The server: one for all inputs ---- */

static struct {
  char directory[64];
  struct kv_store *store;
  struct index_set *indexes;
  struct firestore_service *service;
  struct access *access;
  struct rpc_server *rpc;
  struct raw_channel channel;
} all;

static void must(status s) {
  CHECK(status_is_ok(&s));
}

static void stop(void) {
  raw_channel_close(&all.channel);
  firestore_service_stop(all.service);
  rpc_server_drain(all.rpc, port_linux()->monotonic_us(port_linux()) + 5000000);
  rpc_server_free(all.rpc);
  firestore_service_free(all.service);
  access_free(all.access);
  index_set_close(all.indexes);
  kv_close(all.store);
  test_directory_remove(all.directory);
}

static void start(void) {
  test_directory_make(all.directory);
  struct kv_rocksdb_options store = {
      .directory = all.directory, .sync = KV_SYNC_RELAXED, .clock_trusted = true};
  must(kv_rocksdb_open(&store, &all.store));
  must(index_set_open(all.store, &all.indexes));
  struct access_options access = {.mode = ACCESS_OPEN};
  must(access_new(&access, &all.access));
  struct firestore_options options = {.store = all.store,
                                      .port = port_linux(),
                                      .indexes = all.indexes,
                                      .access = all.access,
                                      .any_project = true};
  must(firestore_service_new(&options, &all.service));
  struct rpc_server_options rpc = {.threads = 2};
  must(rpc_server_new(&rpc, &all.rpc));
  must(firestore_service_register(all.service, all.rpc));
  must(rpc_server_start(all.rpc));
  all.channel = raw_channel_open(all.rpc, "192.0.2.7:1234");
  CHECK(atexit(stop) == 0);
}

/* ---- The script ---- */

struct script {
  const uint8_t *data;
  size_t size, at;
  char token[TOKEN_MAX]; /* the last that the server gave */
  size_t token_len;
};

static uint8_t next(struct script *script) {
  return script->at < script->size ? script->data[script->at++] : 0;
}
static bool at_end(const struct script *script) {
  return script->at >= script->size;
}

static str next_bytes(struct script *script) {
  size_t len = next(script), left = script->size - script->at;
  len = len < left ? len : left;
  script->at += len;
  return str_make(script->data + script->at - len, len);
}

static void document_name(struct script *script, char ret[NAME_MAX_BYTES]) {
  uint8_t n = next(script);
  snprintf(ret, NAME_MAX_BYTES, DATABASE "/documents/%c/%u", n < 240 ? "cd"[n / 16 % 2] : '/', n % 16u);
}

/* None, the last, a damaged one, or any bytes. */
static ProtobufCBinaryData next_token(struct script *script, char room[TOKEN_MAX]) {
  uint8_t kind = next(script);
  ProtobufCBinaryData token = {0, (uint8_t *)room};
  if (kind % 4 == 0)
    return token;
  if (kind % 4 == 3) {
    str bytes = next_bytes(script);
    memcpy(room, bytes.ptr, bytes.len);
    token.len = bytes.len;
    return token;
  }
  memcpy(room, script->token, script->token_len);
  token.len = script->token_len;
  if (kind % 4 == 2 && token.len > 0)
    room[kind % token.len] ^= 4;
  return token;
}

static void keep_token(struct script *script, ProtobufCBinaryData token) {
  CHECK(token.len <= sizeof script->token);
  if (token.len == 0)
    return;
  memcpy(script->token, token.data, token.len);
  script->token_len = token.len;
}

/* ---- Messages ---- */

static bool send_message(struct raw_call *call, const ProtobufCMessage *message) {
  struct buf bytes = {0};
  CHECK(buf_reserve(&bytes, protobuf_c_message_get_packed_size(message) + 1));
  bytes.len = protobuf_c_message_pack(message, bytes.data);
  bool sent = raw_call_send(call, buf_str(&bytes));
  buf_fini(&bytes);
  return sent;
}

/* A document with the field n, or a deletion. `name` and `room` back the write. */
static void next_write(struct script *script, char name[NAME_MAX_BYTES], uint8_t room[2 * NAME_MAX_BYTES],
                       Google__Firestore__V1__Write *ret) {
  google__firestore__v1__write__init(ret);
  document_name(script, name);
  uint8_t n = next(script);
  size_t len = strlen(name);
  if (n % 3 == 0) {
    ret->operation_case = GOOGLE__FIRESTORE__V1__WRITE__OPERATION_DELETE;
    ret->delete_ = name;
    return;
  }
  const uint8_t fields[] = {0x12, 7, 0x0a, 1,      'n',
                            0x12, 2, 0x10, n % 128}; /* {fields: {n: {integer_value}}} */
  room[0] = 0x0a;
  room[1] = (uint8_t)len;
  memcpy(room + 2, name, len);
  memcpy(room + 2 + len, fields, sizeof fields);
  ret->operation_case = GOOGLE__FIRESTORE__V1__WRITE__OPERATION_UPDATE;
  ret->update = (ProtobufCBinaryData){2 + len + sizeof fields, room};
}

static void commit_something(struct script *script) {
  char name[NAME_MAX_BYTES];
  uint8_t room[2 * NAME_MAX_BYTES];
  Google__Firestore__V1__Write write, *writes[] = {&write};
  Google__Firestore__V1__CommitRequest request = GOOGLE__FIRESTORE__V1__COMMIT_REQUEST__INIT;
  next_write(script, name, room, &write);
  request.database = (char *)(uintptr_t)DATABASE;
  request.n_writes = 1;
  request.writes = writes;
  struct buf bytes = {0};
  CHECK(buf_reserve(&bytes, google__firestore__v1__commit_request__get_packed_size(&request) + 1));
  bytes.len = google__firestore__v1__commit_request__pack(&request, bytes.data);
  status s = raw_unary(&all.channel, METHOD("Commit"), NULL, buf_str(&bytes), NULL);
  CHECK(s.code == STATUS_OK || s.code == STATUS_INVALID_ARGUMENT);
  buf_fini(&bytes);
}

/* ---- The ends of streams ---- */

static void check_end(status s) {
  CHECK(s.code != STATUS_UNKNOWN && s.code != STATUS_INTERNAL && s.code != STATUS_DATA_LOSS &&
        s.code != STATUS_UNAVAILABLE && s.code != STATUS_DEADLINE_EXCEEDED);
}

/* Cancelled, or half-closed so that everything is answered; by the parity of the next byte. */
static void end_sending(struct script *script, struct raw_call *call) {
  if (next(script) % 2 == 1)
    raw_call_cancel(call);
  else
    raw_call_half_close(call);
}

/* ---- Listen ---- */

struct heard {
  int32_t told[TOLD_MAX];
  size_t told_count;
  int64_t read_us;
};

static size_t find(const struct heard *heard, int32_t id) {
  size_t at = 0;
  while (at < heard->told_count && heard->told[at] != id)
    at++;
  return at;
}

static void check_told(const struct heard *heard, const int32_t *ids, size_t count) {
  for (size_t i = 0; i < count; i++)
    CHECK(find(heard, ids[i]) < heard->told_count);
}

static void hear_target(struct script *script, struct heard *heard,
                        const Google__Firestore__V1__TargetChange *change) {
  size_t at = change->n_target_ids == 1 ? find(heard, change->target_ids[0]) : TOLD_MAX;
  if (change->target_change_type == TARGET_TYPE(ADD)) {
    CHECK(change->n_target_ids == 1 && at == heard->told_count && at < TOLD_MAX);
    heard->told[heard->told_count++] = change->target_ids[0];
  } else if (change->target_change_type == TARGET_TYPE(REMOVE)) {
    CHECK(change->n_target_ids == 1);
    if (at < heard->told_count)
      heard->told[at] = heard->told[--heard->told_count];
  } else {
    check_told(heard, change->target_ids, change->n_target_ids);
    CHECK(change->n_target_ids == 1 || change->target_change_type == TARGET_TYPE(NO_CHANGE));
    CHECK(change->resume_token.len <= RESUME_TOKEN_BYTES_MAX);
    keep_token(script, change->resume_token);
  }
  if (change->n_target_ids == 0 && change->read_time != NULL) {
    int64_t read_us = change->read_time->seconds * 1000000 + change->read_time->nanos / 1000;
    CHECK(read_us >= heard->read_us);
    heard->read_us = read_us;
  }
}

static void hear(struct script *script, struct heard *heard, str bytes) {
  Google__Firestore__V1__ListenResponse *response =
      google__firestore__v1__listen_response__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
  CHECK(response != NULL);
  switch (response->response_type_case) {
  case GOOGLE__FIRESTORE__V1__LISTEN_RESPONSE__RESPONSE_TYPE_TARGET_CHANGE:
    hear_target(script, heard, response->target_change);
    break;
  case GOOGLE__FIRESTORE__V1__LISTEN_RESPONSE__RESPONSE_TYPE_DOCUMENT_CHANGE: {
    const Google__Firestore__V1__DocumentChange *change = response->document_change;
    CHECK(change->n_target_ids > 0);
    check_told(heard, change->target_ids, change->n_target_ids);
    check_told(heard, change->removed_target_ids, change->n_removed_target_ids);
    break;
  }
  case GOOGLE__FIRESTORE__V1__LISTEN_RESPONSE__RESPONSE_TYPE_DOCUMENT_DELETE:
    CHECK(response->document_delete->n_removed_target_ids > 0);
    check_told(heard, response->document_delete->removed_target_ids,
               response->document_delete->n_removed_target_ids);
    break;
  case GOOGLE__FIRESTORE__V1__LISTEN_RESPONSE__RESPONSE_TYPE_DOCUMENT_REMOVE:
    CHECK(response->document_remove->n_removed_target_ids > 0);
    check_told(heard, response->document_remove->removed_target_ids,
               response->document_remove->n_removed_target_ids);
    break;
  case GOOGLE__FIRESTORE__V1__LISTEN_RESPONSE__RESPONSE_TYPE_FILTER:
    check_told(heard, &response->filter->target_id, 1);
    break;
  case GOOGLE__FIRESTORE__V1__LISTEN_RESPONSE__RESPONSE_TYPE__NOT_SET:
  default:
    abort();
  }
  google__firestore__v1__listen_response__free_unpacked(response, NULL);
}

static bool add_target(struct script *script, struct raw_call *call) {
  uint8_t id = next(script), form = next(script);
  char name[NAME_MAX_BYTES], token[TOKEN_MAX], *names[] = {name, name};
  Google__Firestore__V1__ListenRequest request = GOOGLE__FIRESTORE__V1__LISTEN_REQUEST__INIT;
  Google__Firestore__V1__Target target = GOOGLE__FIRESTORE__V1__TARGET__INIT;
  Google__Firestore__V1__Target__DocumentsTarget documents =
      GOOGLE__FIRESTORE__V1__TARGET__DOCUMENTS_TARGET__INIT;
  Google__Firestore__V1__Target__QueryTarget query = GOOGLE__FIRESTORE__V1__TARGET__QUERY_TARGET__INIT;
  Google__Firestore__V1__StructuredQuery structured = GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__INIT;
  Google__Firestore__V1__StructuredQuery__CollectionSelector
      from = GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__COLLECTION_SELECTOR__INIT,
      *froms[] = {&from};
  Google__Protobuf__Int32Value limit = GOOGLE__PROTOBUF__INT32_VALUE__INIT, expected = limit;
  request.database = (char *)(uintptr_t)(form == 255 ? "projects/p/databases/other" : DATABASE);
  request.target_change_case = GOOGLE__FIRESTORE__V1__LISTEN_REQUEST__TARGET_CHANGE_ADD_TARGET;
  request.add_target = &target;
  target.target_id = id == 255 ? -1 : id % 6;
  target.once = (form & 0x10) != 0;
  if ((form & 0x20) != 0) {
    target.resume_type_case = GOOGLE__FIRESTORE__V1__TARGET__RESUME_TYPE_RESUME_TOKEN;
    target.resume_token = next_token(script, token);
    expected.value = form % 7;
    target.expected_count = (form & 0x40) != 0 ? &expected : NULL;
  }
  if (form % 4 == 0) {
    document_name(script, name);
    documents.n_documents = form / 4 % 3;
    documents.documents = names;
    target.target_type_case = GOOGLE__FIRESTORE__V1__TARGET__TARGET_TYPE_DOCUMENTS;
    target.documents = &documents;
  } else {
    from.collection_id = (char *)(uintptr_t)(form % 4 == 1 ? "d" : "c");
    limit.value = 3;
    structured.n_from = 1;
    structured.from = froms;
    structured.limit = form % 4 == 3 ? &limit : NULL;
    query.parent = (char *)(uintptr_t)DATABASE "/documents";
    query.query_type_case = GOOGLE__FIRESTORE__V1__TARGET__QUERY_TARGET__QUERY_TYPE_STRUCTURED_QUERY;
    query.structured_query = &structured;
    target.target_type_case = GOOGLE__FIRESTORE__V1__TARGET__TARGET_TYPE_QUERY;
    target.query = &query;
  }
  return send_message(call, &request.base);
}

static bool remove_target(struct script *script, struct raw_call *call) {
  Google__Firestore__V1__ListenRequest request = GOOGLE__FIRESTORE__V1__LISTEN_REQUEST__INIT;
  request.database = (char *)(uintptr_t)DATABASE;
  request.target_change_case = GOOGLE__FIRESTORE__V1__LISTEN_REQUEST__TARGET_CHANGE_REMOVE_TARGET;
  request.remove_target = next(script) % 6;
  return send_message(call, &request.base);
}

static void listen_phase(struct script *script) {
  struct raw_call *call = raw_call_open(&all.channel, METHOD("Listen"), NULL);
  struct heard heard = {0};
  bool open = true;
  for (int steps = 0; open && steps < STEPS_MAX && !at_end(script); steps++) {
    uint8_t step = next(script) % 8;
    if (step < 3)
      open = add_target(script, call);
    else if (step == 3)
      open = remove_target(script, call);
    else if (step < 6)
      commit_something(script);
    else if (step == 6)
      open = raw_call_send(call, next_bytes(script));
    else
      break;
  }
  end_sending(script, call);
  str bytes;
  while (raw_call_receive(call, &bytes, NULL))
    hear(script, &heard, bytes);
  check_end(raw_call_finish(call));
  raw_call_free(call);
}

/* ---- Write ---- */

static bool write_something(struct script *script, struct raw_call *call) {
  char name[NAME_MAX_BYTES], token[TOKEN_MAX];
  uint8_t room[2 * NAME_MAX_BYTES];
  Google__Firestore__V1__Write write, *writes[] = {&write, &write};
  Google__Firestore__V1__WriteRequest request = GOOGLE__FIRESTORE__V1__WRITE_REQUEST__INIT;
  next_write(script, name, room, &write);
  request.stream_token = next_token(script, token);
  request.n_writes = next(script) % 3;
  request.writes = writes;
  return send_message(call, &request.base);
}

/* Counts the response; its token is the next one's. */
static bool receive_answer(struct script *script, struct raw_call *call) {
  str bytes;
  if (!raw_call_receive(call, &bytes, NULL))
    return false;
  Google__Firestore__V1__WriteResponse *response =
      google__firestore__v1__write_response__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
  CHECK(response != NULL && response->stream_token.len > 0);
  keep_token(script, response->stream_token);
  google__firestore__v1__write_response__free_unpacked(response, NULL);
  return true;
}

static void write_phase(struct script *script) {
  struct raw_call *call = raw_call_open(&all.channel, METHOD("Write"), NULL);
  Google__Firestore__V1__WriteRequest hello = GOOGLE__FIRESTORE__V1__WRITE_REQUEST__INIT;
  uint8_t form = next(script);
  unsigned sent = 1, answered = 0;
  hello.database = (char *)(uintptr_t)(form % 8 == 7 ? "nonsense" : DATABASE);
  hello.stream_id = (char *)(uintptr_t)(form % 8 == 6 ? "0123" : "");
  bool open = form % 8 == 5 || (send_message(call, &hello.base) && receive_answer(script, call));
  answered += open && form % 8 != 5;
  for (int steps = 0; open && steps < STEPS_MAX && !at_end(script); steps++, sent++) {
    uint8_t step = next(script) % 8;
    if (step < 6)
      open = write_something(script, call);
    else if (step == 6)
      open = raw_call_send(call, next_bytes(script));
    else
      break;
  }
  end_sending(script, call);
  while (receive_answer(script, call))
    CHECK(++answered <= sent);
  check_end(raw_call_finish(call));
  raw_call_free(call);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct script script = {.data = data, .size = size};
  if (all.rpc == NULL)
    start();
  for (int phases = 0; phases < PHASES_MAX && !at_end(&script); phases++) {
    if (next(&script) % 3 == 0)
      write_phase(&script);
    else
      listen_phase(&script);
  }
  return 0;
}
