#include "bench/listeners.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "bench/requests.h"
#include "google/firestore/v1/firestore.skerry.h"

enum {
  EVENTS = 64,
  PREFIX_BYTES = 5,
  ARENA_BYTES = 32 * 1024 * 1024,
  BACK_OFF_MS =
      1000, /* the SDKs' first; then 1.5 times as long each time, up to a minute, give or take half */
  BACK_OFF_MAX_MS = 60000,
};

/* Field numbers of ListenResponse, TargetChange and DocumentChange, as tags. */
enum {
  TAG_TARGET_CHANGE = 2 << 3 | 2,
  TAG_DOCUMENT_CHANGE = 3 << 3 | 2,
  TAG_TYPE = 1 << 3,
  TAG_IDS = 2 << 3 | 2,
  TAG_ID = 2 << 3,
  TAG_TOKEN = 4 << 3 | 2,
  TAG_DOCUMENT_IDS = 5 << 3 | 2,
  TAG_DOCUMENT_ID = 5 << 3,
  TYPE_REMOVE = 2,
  TYPE_CURRENT = 3,
  TYPE_RESET = 4,
};

int64_t listeners_now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- What comes: just enough of the wire format, from servers that we trust ---- */

static uint64_t take_varint(str *at) {
  uint64_t value = 0;
  for (unsigned shift = 0; at->len > 0 && shift < 64; shift += 7) {
    uint8_t byte = (uint8_t)*at->ptr;
    *at = str_make(at->ptr + 1, at->len - 1);
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80)
      break;
  }
  return value;
}

static str take_bytes(str *at) {
  uint64_t len = take_varint(at);
  str bytes = str_make(at->ptr, len < at->len ? (size_t)len : at->len);
  *at = str_make(at->ptr + bytes.len, at->len - bytes.len);
  return bytes;
}

/* One field; of a number `ret_bytes` is empty. */
static uint64_t take_field(str *at, str *ret_bytes, uint64_t *ret_number) {
  uint64_t tag = take_varint(at);
  *ret_bytes = (str){0};
  *ret_number = 0;
  if ((tag & 7) == 2)
    *ret_bytes = take_bytes(at);
  else
    *ret_number = take_varint(at);
  return tag;
}

static void on_target_change(struct listener *stream, str at) {
  struct listeners *all = stream->all;
  uint64_t type = 0, ids = 0, number;
  str bytes;
  while (at.len > 0) {
    uint64_t tag = take_field(&at, &bytes, &number);
    if (tag == TAG_TYPE)
      type = number;
    else if (tag == TAG_ID)
      ids++;
    else if (tag == TAG_TOKEN && bytes.len > 0 && bytes.len <= sizeof stream->token) {
      memcpy(stream->token, bytes.ptr, bytes.len);
      stream->token_len = bytes.len;
    }
    for (; tag == TAG_IDS && bytes.len > 0; ids++)
      take_varint(&bytes);
  }
  if (type == TYPE_CURRENT) {
    uint64_t now_current = ids > 0 ? ids : all->options.targets;
    stream->current += (unsigned)now_current;
    all->current += now_current;
  }
  all->lost += type == TYPE_REMOVE ? ids : 0;
  all->resets += type == TYPE_RESET;
}

static void on_document_change(struct listener *stream, str at) {
  struct listeners *all = stream->all;
  uint64_t number;
  str bytes;
  while (at.len > 0) {
    uint64_t tag = take_field(&at, &bytes, &number);
    if (tag == TAG_DOCUMENT_ID) {
      all->changes++;
      all->last_target = stream->first_target + number - 1;
    }
    while (tag == TAG_DOCUMENT_IDS && bytes.len > 0) {
      all->changes++;
      all->last_target = stream->first_target + take_varint(&bytes) - 1;
    }
  }
  all->last_change_us = 0; /* the turn sets it */
}

static void on_message(struct listener *stream, str message) {
  str bytes;
  uint64_t number, tag = take_field(&message, &bytes, &number);
  if (tag == TAG_TARGET_CHANGE)
    on_target_change(stream, bytes);
  else if (tag == TAG_DOCUMENT_CHANGE)
    on_document_change(stream, bytes);
}

/* Takes whole messages off the front. */
static void take_messages(struct listener *stream, str *bytes) {
  while (bytes->len >= PREFIX_BYTES) {
    const uint8_t *head = (const uint8_t *)bytes->ptr;
    size_t len = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
    if (bytes->len < PREFIX_BYTES + len)
      return;
    on_message(stream, str_make(bytes->ptr + PREFIX_BYTES, len));
    *bytes = str_make(bytes->ptr + PREFIX_BYTES + len, bytes->len - PREFIX_BYTES - len);
  }
}

static void received(void *argument, struct channel_call *call, const uint8_t *data, size_t len) {
  struct listeners *all = argument;
  struct listener *stream = (void *)call;
  all->bytes_in += len;
  str bytes = str_make(data, len);
  if (stream->split.len > 0) {
    buf_append(&stream->split, data, len);
    bytes = buf_str(&stream->split);
  }
  take_messages(stream, &bytes);
  if (stream->split.len == 0) {
    buf_append_str(&stream->split, bytes);
  } else {
    size_t left = bytes.len;
    if (left > 0)
      memmove(stream->split.data, bytes.ptr, left);
    stream->split.len = left;
  }
}

/* It is opened again later, as SDKs do. */
static void refuse(struct listener *stream) {
  struct listeners *all = stream->all;
  all->current -= stream->current;
  stream->current = 0;
  stream->split.len = 0;
  all->refused++;
  double ms = BACK_OFF_MS;
  for (unsigned i = 0; i < stream->tries && ms < BACK_OFF_MAX_MS; i++)
    ms *= 1.5;
  stream->tries++;
  ms *= 0.5 + (double)(random_next(&all->random) >> 11) * 0x1p-53;
  stream->again_us = listeners_now_us() + (int64_t)(ms * 1000);
}

static void stream_ended(void *argument, struct channel_call *call, const status *result) {
  struct listeners *all = argument;
  struct listener *stream = (void *)call;
  if (result->code == STATUS_RESOURCE_EXHAUSTED || result->code == STATUS_UNAVAILABLE)
    refuse(stream);
  else
    all->lost += all->options.targets;
}

/* ---- What is sent ---- */

static bool append_framed(struct buf *to, const ProtobufCMessage *message) {
  size_t len = protobuf_c_message_get_packed_size(message);
  const uint8_t prefix[PREFIX_BYTES] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                                        (uint8_t)len};
  uint8_t *bytes = malloc(len + 1);
  if (bytes == NULL)
    return false;
  protobuf_c_message_pack(message, bytes);
  buf_append(to, prefix, sizeof prefix);
  buf_append(to, bytes, len);
  free(bytes);
  return !to->failed;
}

static bool append_target(struct listener *stream, uint64_t number, bool resumes) {
  const struct listeners_options *options = &stream->all->options;
  char text[512];
  char *documents[] = {text};
  Google__Firestore__V1__ListenRequest request;
  Google__Firestore__V1__Target target;
  Google__Firestore__V1__Target__DocumentsTarget by_name;
  Google__Firestore__V1__Target__QueryTarget by_query;
  Google__Firestore__V1__StructuredQuery query;
  Google__Firestore__V1__StructuredQuery__CollectionSelector from, *froms[] = {&from};
  google__firestore__v1__listen_request__init(&request);
  google__firestore__v1__target__init(&target);
  google__firestore__v1__target__documents_target__init(&by_name);
  google__firestore__v1__target__query_target__init(&by_query);
  google__firestore__v1__structured_query__init(&query);
  google__firestore__v1__structured_query__collection_selector__init(&from);
  request.database = (char *)(uintptr_t)options->database; /* nobody writes it */
  request.target_change_case = GOOGLE__FIRESTORE__V1__LISTEN_REQUEST__TARGET_CHANGE_ADD_TARGET;
  request.add_target = &target;
  target.target_id = (int32_t)(number - stream->first_target + 1);
  char collection[64];
  if (options->kind == LISTEN_QUERY) {
    snprintf(text, sizeof text, "%s/documents", options->database);
    snprintf(collection, sizeof collection, "%s%llu", options->collection,
             (unsigned long long)(number % options->collections));
    from.collection_id = collection;
    query.n_from = 1;
    query.from = froms;
    by_query.parent = text;
    by_query.query_type_case = GOOGLE__FIRESTORE__V1__TARGET__QUERY_TARGET__QUERY_TYPE_STRUCTURED_QUERY;
    by_query.structured_query = &query;
    target.target_type_case = GOOGLE__FIRESTORE__V1__TARGET__TARGET_TYPE_QUERY;
    target.query = &by_query;
  } else {
    snprintf(text, sizeof text, "%s/documents/%s/w%010llu", options->database, options->collection,
             options->kind == LISTEN_ONE ? 0 : (unsigned long long)number);
    by_name.n_documents = 1;
    by_name.documents = documents;
    target.target_type_case = GOOGLE__FIRESTORE__V1__TARGET__TARGET_TYPE_DOCUMENTS;
    target.documents = &by_name;
  }
  if (resumes && stream->token_len > 0) {
    target.resume_type_case = GOOGLE__FIRESTORE__V1__TARGET__RESUME_TYPE_RESUME_TOKEN;
    target.resume_token = (ProtobufCBinaryData){stream->token_len, stream->token};
  }
  return append_framed(&stream->requests, &request.base);
}

/* bare_broadcast gives back what it gets, so here the stream hears that it is current. */
static bool append_greeting(struct listener *stream) {
  Google__Firestore__V1__ListenResponse response;
  Google__Firestore__V1__TargetChange change;
  google__firestore__v1__listen_response__init(&response);
  google__firestore__v1__target_change__init(&change);
  response.response_type_case = GOOGLE__FIRESTORE__V1__LISTEN_RESPONSE__RESPONSE_TYPE_TARGET_CHANGE;
  response.target_change = &change;
  change.target_change_type = GOOGLE__FIRESTORE__V1__TARGET_CHANGE__TARGET_CHANGE_TYPE__CURRENT;
  return append_framed(&stream->requests, &response.base);
}

static bool make_requests(struct listener *stream, bool resumes) {
  const struct listeners_options *options = &stream->all->options;
  buf_clear(&stream->requests);
  if (options->kind == LISTEN_BROADCAST)
    return append_greeting(stream);
  for (unsigned i = 0; i < options->targets; i++)
    if (!append_target(stream, stream->first_target + i, resumes))
      return false;
  return true;
}

/* ---- The writer ---- */

static void commit_ended(void *argument, struct channel_call *call, const status *result) {
  (void)call;
  struct listeners *all = argument;
  all->is_writing = false;
  all->written = *result;
}

/* What Skerry sends for such a commit, for bare_broadcast to send. */
static bool make_change(struct listeners *all, const Google__Firestore__V1__CommitRequest *commit,
                        struct buf *to) {
  Google__Firestore__V1__ListenResponse response;
  Google__Firestore__V1__DocumentChange change;
  int32_t ids[] = {1};
  google__firestore__v1__listen_response__init(&response);
  google__firestore__v1__document_change__init(&change);
  response.response_type_case = GOOGLE__FIRESTORE__V1__LISTEN_RESPONSE__RESPONSE_TYPE_DOCUMENT_CHANGE;
  response.document_change = &change;
  enum { TIMES_BYTES = 30 }; /* of create and update: as an unknown field behind the document */
  ProtobufCBinaryData document = commit->writes[0]->update;
  uint8_t *bytes = arena_alloc(&all->arena, document.len + TIMES_BYTES);
  if (bytes == NULL)
    return false;
  memcpy(bytes, document.data, document.len);
  bytes[document.len] = 15 << 3 | 2;
  bytes[document.len + 1] = TIMES_BYTES - 2;
  memset(bytes + document.len + 2, 0, TIMES_BYTES - 2);
  change.document = (ProtobufCBinaryData){document.len + TIMES_BYTES, bytes};
  change.n_target_ids = 1;
  change.target_ids = ids;
  return append_framed(to, &response.base);
}

bool listeners_write(struct listeners *all, uint64_t number, uint32_t count, uint32_t bytes) {
  char collection[64];
  uint64_t next = number;
  struct request_options request = {.mode = LOAD_COMMIT,
                                    .database = all->options.database,
                                    .collection = all->options.collection,
                                    .documents = count,
                                    .bytes = bytes,
                                    .writes = 1,
                                    .unique = true,
                                    .next = &next};
  if (all->options.kind == LISTEN_QUERY) {
    snprintf(collection, sizeof collection, "%s%llu", all->options.collection, (unsigned long long)number);
    request.collection = collection;
    request.mode = LOAD_FILL;
    request.unique = false;
    request.writes = count;
    next = 0;
  }
  arena_reset(&all->arena);
  const Google__Firestore__V1__CommitRequest *commit = request_make(&request, &all->random, &all->arena);
  struct buf framed = {0};
  bool made =
      commit != NULL && (all->options.kind == LISTEN_BROADCAST ? make_change(all, commit, &framed)
                                                               : append_framed(&framed, &commit->base));
  if (made) {
    all->commit = (struct channel_call){.message = arena_str_copy(&all->arena, buf_str(&framed))};
    made = all->commit.message.ptr != NULL;
  }
  buf_fini(&framed);
  struct channel *writer = all->channels[all->options.connections];
  all->is_writing = made && writer != NULL && channel_start(writer, &all->commit);
  return all->is_writing;
}

/* ---- Connections ---- */

static void watch(struct listeners *all, int operation, unsigned number, bool for_writing) {
  struct epoll_event event = {.events = EPOLLIN | (for_writing ? (uint32_t)EPOLLOUT : 0), .data.u32 = number};
  epoll_ctl(all->epoll, operation, channel_fd(all->channels[number]), &event);
}

static void lose_connection(struct listeners *all, unsigned number) {
  epoll_ctl(all->epoll, EPOLL_CTL_DEL, channel_fd(all->channels[number]), NULL);
  channel_close(all->channels[number]);
  all->channels[number] = NULL;
  if (number == all->options.connections) {
    all->is_writing = false;
    all->written = status_make(STATUS_UNAVAILABLE, "The writer's connection has ended.");
    return;
  }
  for (unsigned i = number; i < all->stream_count; i += all->options.connections)
    refuse(&all->streams[i]);
}

static void work(struct listeners *all, unsigned number) {
  struct channel *channel = all->channels[number];
  if (channel == NULL)
    return;
  bool waited = channel_wants_write(channel);
  if (!channel_work(channel))
    lose_connection(all, number);
  else if (channel_wants_write(channel) != waited)
    watch(all, EPOLL_CTL_MOD, number, !waited);
}

static status connect_channel(struct listeners *all, unsigned number) {
  bool is_writer = number == all->options.connections, is_bare = all->options.kind == LISTEN_BROADCAST;
  const struct rpc_method *methods = google_firestore_v1_firestore_service.methods;
  const char *path = is_writer ? methods[GOOGLE_FIRESTORE_V1_FIRESTORE_COMMIT].path
                               : methods[GOOGLE_FIRESTORE_V1_FIRESTORE_LISTEN].path;
  if (is_bare)
    path = is_writer ? "/skerry.test.v1.Echo/Broadcast" : "/skerry.test.v1.Echo/Subscribe";
  const struct channel_options options = {.target = all->options.target,
                                          .path = path,
                                          .authorization = all->options.authorization,
                                          .database = all->options.database,
                                          .ended = is_writer ? commit_ended : stream_ended,
                                          .received = is_writer ? NULL : received,
                                          .argument = all};
  STATUS_TRY(channel_open(&options, &all->channels[number]));
  watch(all, EPOLL_CTL_ADD, number, false);
  return status_ok();
}

static void start(struct listeners *all, unsigned stream_number) {
  struct listener *stream = &all->streams[stream_number];
  unsigned number = stream_number % all->options.connections;
  stream->again_us = 0;
  stream->call.message = buf_str(&stream->requests);
  stream->call.stays_open = true;
  if (all->channels[number] == NULL) {
    status connected = connect_channel(all, number);
    (void)connected; /* shown by its absence */
  }
  if (all->channels[number] == NULL || !channel_start(all->channels[number], &stream->call))
    refuse(stream);
}

static void open_again(struct listeners *all) {
  int64_t now_us = listeners_now_us();
  for (unsigned i = 0; i < all->stream_count; i++)
    if (all->streams[i].again_us != 0 && all->streams[i].again_us <= now_us) {
      start(all, i);
      work(all, i % all->options.connections);
    }
}

void listeners_turn(struct listeners *all, int timeout_ms) {
  if (all->is_writing)
    work(all, all->options.connections);
  if (all->refused > 0)
    open_again(all);
  struct epoll_event events[EVENTS];
  all->last_change_us = all->last_change_us == 0 ? listeners_now_us() : all->last_change_us;
  int ready = epoll_wait(all->epoll, events, EVENTS, timeout_ms);
  for (int i = 0; i < ready; i++)
    work(all, events[i].data.u32);
  if (all->last_change_us == 0)
    all->last_change_us = listeners_now_us();
}

status listeners_init(struct listeners *all, const struct listeners_options *options) {
  *all = (struct listeners){.options = *options,
                            .random = (uint64_t)listeners_now_us() << 20 | 1,
                            .stream_count = options->connections * options->streams,
                            .epoll = epoll_create1(EPOLL_CLOEXEC)};
  arena_init(&all->arena, NULL, 0, ARENA_BYTES);
  all->channels = calloc(options->connections + 1, sizeof *all->channels);
  all->streams = calloc(all->stream_count, sizeof *all->streams);
  if (all->channels == NULL || all->streams == NULL || all->epoll < 0)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "No memory or descriptors for the streams.");
  for (unsigned i = 0; i < all->stream_count; i++) {
    all->streams[i].all = all;
    all->streams[i].first_target = (uint64_t)i * options->targets;
  }
  return connect_channel(all, options->connections);
}

/* Each connection sends what it has to say before the next one is made: the server closes those that say
 * nothing. */
status listeners_open(struct listeners *all, bool resumes) {
  unsigned connections = all->options.connections;
  all->current = all->bytes_in = all->resets = all->refused = all->lost = 0;
  for (unsigned i = 0; i < all->stream_count; i++) {
    struct listener *stream = &all->streams[i];
    stream->current = stream->tries = 0;
    stream->split.len = 0;
    if (!make_requests(stream, resumes))
      return status_make(STATUS_RESOURCE_EXHAUSTED, "No memory for the requests.");
  }
  for (unsigned i = 0; i < connections; i++) {
    STATUS_TRY(connect_channel(all, i));
    for (unsigned j = i; j < all->stream_count; j += connections)
      start(all, j);
    work(all, i);
  }
  return status_ok();
}

void listeners_close(struct listeners *all) {
  for (unsigned i = 0; i < all->options.connections; i++) {
    channel_close(all->channels[i]);
    all->channels[i] = NULL;
  }
}

void listeners_fini(struct listeners *all) {
  for (unsigned i = 0; all->channels != NULL && i <= all->options.connections; i++)
    channel_close(all->channels[i]);
  for (unsigned i = 0; all->streams != NULL && i < all->stream_count; i++) {
    buf_fini(&all->streams[i].requests);
    buf_fini(&all->streams[i].split);
  }
  free(all->channels);
  free(all->streams);
  arena_fini(&all->arena);
  if (all->epoll >= 0)
    close(all->epoll);
}
