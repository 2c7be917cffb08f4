#include "server/gateway/exchange.h"

#include <assert.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#include "rpc/deflate.h"
#include "rpc/local.h"
#include "rpc/request_id.h"
#include "server/gateway/framing.h"
#include "server/gateway/gateway_inside.h"

enum {
  STREAM_BLOCK_BYTES = 32 * 1024,
  COMPRESSED_BYTES_MIN = 1024,
  GZIP_LEVEL = 3, /* fast: an answer is compressed once, and read over a network that is slower than either */
  CHARGED_BYTES_MIN = 4096,
  /* That a client may send past the limit before it is cut off; until then it is told when it is done. */
  EXCESS_BYTES_MAX = 1 << 20,
};

/* ---- Life ---- */

struct exchange *exchange_new(struct gateway *gateway, struct connection *connection, const char *target) {
  size_t len = strlen(target);
  struct exchange *ex = calloc(1, sizeof *ex + len + 1);
  if (ex == NULL)
    return NULL;
  memcpy(ex + 1, target, len + 1);
  ex->gateway = gateway;
  ex->connection = connection;
  ex->peer = connection->peer;
  ex->id = rpc_local_request_id(gateway->options.rpc);
  ex->target = str_make(ex + 1, len);
  ex->path = str_split(ex->target, '?', &ex->query);
  /* The form that proxies get, which servers take too (RFC 9112, section 3.2.2). */
  if (str_has_prefix(ex->path, STR("http://")) || str_has_prefix(ex->path, STR("https://"))) {
    str rest = str_from(ex->path, str_has_prefix(ex->path, STR("https")) ? 8 : 7);
    str authority = str_split(rest, '/', &rest);
    ex->path = rest.ptr == NULL ? STR("/") : str_make(rest.ptr - 1, rest.len + 1);
    (void)authority;
  }
  atomic_init(&ex->refs, 1);
  pthread_mutex_init(&ex->mutex, NULL);
  arena_init(&ex->arena, NULL, 0, EXCHANGE_ARENA_BYTES);
  return ex;
}

void exchange_ref(struct exchange *ex) {
  atomic_fetch_add_explicit(&ex->refs, 1, memory_order_relaxed);
}

void exchange_unref(struct exchange *ex) {
  if (atomic_fetch_sub_explicit(&ex->refs, 1, memory_order_acq_rel) > 1)
    return;
  if (ex->charged > 0)
    memory_budget_give(&ex->gateway->memory, ex->charged);
  arena_fini(&ex->arena);
  buf_fini(&ex->body);
  buf_fini(&ex->headers);
  buf_fini(&ex->out);
  rpc_deflater_free(ex->deflater);
  pthread_mutex_destroy(&ex->mutex);
  free(ex);
}

/* Counts what the exchange holds now. False: all connections together have no more; it is not counted then.
 */
static bool charge(struct exchange *ex, size_t holds) {
  if (holds <= ex->charged || (ex->charged == 0 && holds < CHARGED_BYTES_MIN))
    return true;
  if (!memory_budget_take(&ex->gateway->memory, holds - ex->charged))
    return false;
  ex->charged = holds;
  return true;
}

/* ---- The request's headers ---- */

const char *exchange_header(const struct exchange *ex, const char *name) {
  return MHD_lookup_connection_value(ex->mhd, MHD_HEADER_KIND, name);
}

struct visit {
  void (*visit)(void *argument, str name, str value);
  void *argument;
};

static enum MHD_Result visit_header(void *argument, enum MHD_ValueKind kind, const char *name,
                                    size_t name_len, const char *value, size_t value_len) {
  (void)kind;
  const struct visit *visit = argument;
  visit->visit(visit->argument, str_make(name, name_len), str_make(value, value == NULL ? 0 : value_len));
  return MHD_YES;
}

void exchange_each_header(const struct exchange *ex, void (*visit)(void *argument, str name, str value),
                          void *argument) {
  struct visit all = {visit, argument};
  MHD_get_connection_values_n(ex->mhd, MHD_HEADER_KIND, visit_header, &all);
}

/* ---- Answering ---- */

bool exchange_own(struct exchange *ex, const struct exchange_owner *owner, void *state) {
  pthread_mutex_lock(&ex->mutex);
  bool is_there = ex->mhd != NULL;
  if (is_there) {
    ex->owner = owner;
    ex->owner_state = state;
  }
  pthread_mutex_unlock(&ex->mutex);
  return is_there;
}

bool exchange_disown(struct exchange *ex) {
  pthread_mutex_lock(&ex->mutex);
  bool is_there = ex->mhd != NULL;
  ex->owner = NULL;
  pthread_mutex_unlock(&ex->mutex);
  return is_there;
}

static bool is_header_text(str text, bool is_name) {
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i];
    if (c < 0x20 || c == 0x7f || (is_name && (c == ' ' || c == ':')))
      return false;
  }
  return text.len > 0;
}

void exchange_add_header(struct exchange *ex, str name, str value) {
  if (!is_header_text(name, true) || !is_header_text(value, false))
    return;
  pthread_mutex_lock(&ex->mutex);
  if (!ex->answered) {
    buf_append_str(&ex->headers, name);
    buf_append_byte(&ex->headers, 0);
    buf_append_str(&ex->headers, value);
    buf_append_byte(&ex->headers, 0);
  }
  pthread_mutex_unlock(&ex->mutex);
}

/* With the mutex held. */
static void wake(struct exchange *ex) {
  if (!ex->suspended)
    return;
  ex->suspended = false;
  MHD_resume_connection(ex->mhd);
}

static bool is_compressible(const struct exchange *ex, const char *content_type) {
  return ex->accepts_gzip &&
         (strncmp(content_type, "application/", 12) == 0 || strncmp(content_type, "text/", 5) == 0);
}

/* False: it is left as it was. */
static bool compress(struct buf *bytes) {
  struct buf out = {0};
  out.data = rpc_deflate(RPC_GZIP, GZIP_LEVEL, buf_str(bytes), &out.len, &out.capacity);
  if (out.data == NULL)
    return false;
  buf_fini(bytes);
  *bytes = out;
  return true;
}

void exchange_answer(struct exchange *ex, unsigned http_status, const char *content_type, struct buf *body) {
  struct buf out = *body;
  *body = (struct buf){0};
  bool compressed =
      !out.failed && out.len >= COMPRESSED_BYTES_MIN && is_compressible(ex, content_type) && compress(&out);
  if (compressed)
    exchange_add_header(ex, STR("Content-Encoding"), STR("gzip"));
  pthread_mutex_lock(&ex->mutex);
  if (ex->answered || ex->mhd == NULL) {
    pthread_mutex_unlock(&ex->mutex);
    buf_fini(&out);
    return;
  }
  ex->answered = true;
  ex->http_status = http_status;
  ex->content_type = content_type;
  ex->aborted = ex->aborted || out.failed;
  ex->out = out;
  wake(ex);
  pthread_mutex_unlock(&ex->mutex);
}

void exchange_answer_text(struct exchange *ex, unsigned http_status, const char *content_type, str body) {
  struct buf out = {0};
  buf_append_str(&out, body);
  exchange_answer(ex, http_status, content_type, &out);
}

/* Where there is no memory for it, the stream goes out as it is. */
static void begin_compressing(struct exchange *ex) {
  pthread_mutex_lock(&ex->mutex);
  bool has_room = charge(ex, ex->charged + RPC_DEFLATER_BYTES);
  pthread_mutex_unlock(&ex->mutex);
  ex->deflater = has_room ? rpc_deflater_new(RPC_GZIP, GZIP_LEVEL) : NULL;
  if (ex->deflater != NULL)
    exchange_add_header(ex, STR("Content-Encoding"), STR("gzip"));
}

void exchange_begin(struct exchange *ex, unsigned http_status, const char *content_type) {
  if (is_compressible(ex, content_type))
    begin_compressing(ex);
  pthread_mutex_lock(&ex->mutex);
  if (!ex->answered) {
    ex->answered = ex->is_stream = true;
    ex->http_status = http_status;
    ex->content_type = content_type;
    wake(ex);
  }
  pthread_mutex_unlock(&ex->mutex);
}

/* With the mutex held. */
static void append(struct exchange *ex, str bytes) {
  if (ex->mhd == NULL || ex->aborted)
    return;
  size_t deflater_bytes = ex->deflater != NULL ? RPC_DEFLATER_BYTES : 0;
  buf_append_str(&ex->out, bytes);
  ex->aborted = ex->out.failed || !charge(ex, ex->out.capacity + deflater_bytes);
  wake(ex);
}

bool exchange_put(struct exchange *ex, str bytes) {
  struct buf packed = {0};
  if (ex->deflater != NULL) { /* without the mutex: it takes time */
    rpc_deflater_put(ex->deflater, bytes, false, &packed);
    bytes = packed.len == 0 ? STR("") : buf_str(&packed);
  }
  pthread_mutex_lock(&ex->mutex);
  if (packed.failed) {
    ex->aborted = true;
    wake(ex);
  }
  append(ex, bytes);
  ex->room_wanted = ex->out.len - ex->out_at >= EXCHANGE_ROOM_BYTES && !ex->aborted && ex->mhd != NULL;
  bool has_room = !ex->room_wanted;
  pthread_mutex_unlock(&ex->mutex);
  buf_fini(&packed);
  return has_room;
}

void exchange_end(struct exchange *ex) {
  struct buf last = {0};
  if (ex->deflater != NULL)
    rpc_deflater_put(ex->deflater, STR(""), true, &last);
  pthread_mutex_lock(&ex->mutex);
  ex->aborted = ex->aborted || last.failed;
  if (last.len > 0)
    append(ex, buf_str(&last));
  ex->is_stream = false;
  if (ex->mhd != NULL)
    wake(ex);
  pthread_mutex_unlock(&ex->mutex);
  buf_fini(&last);
}

void exchange_abort(struct exchange *ex) {
  pthread_mutex_lock(&ex->mutex);
  ex->aborted = true;
  if (ex->mhd != NULL)
    wake(ex);
  pthread_mutex_unlock(&ex->mutex);
}

/* ---- To libmicrohttpd ---- */

/* A piece of a stream; its thread. */
static ssize_t read_stream(void *argument, uint64_t position, char *to, size_t room) {
  (void)position;
  struct exchange *ex = argument;
  void (*tell)(void *owner) = NULL;
  ssize_t result = 0;
  pthread_mutex_lock(&ex->mutex);
  size_t there = ex->out.len - ex->out_at;
  if (ex->aborted) {
    /* Told of an error (END_WITH_ERROR), libmicrohttpd closes the connection and then forgets it until its
     * thread happens to come by: its place stays taken. It finishes with those that it cannot write to. */
    shutdown(ex->connection->fd, SHUT_RDWR);
    *to = '!';
    result = 1;
  } else if (there > 0) {
    size_t taken = there < room ? there : room;
    memcpy(to, ex->out.data + ex->out_at, taken);
    ex->out_at += taken;
    if (ex->out_at == ex->out.len) {
      buf_clear(&ex->out);
      ex->out_at = 0;
    }
    if (ex->room_wanted && there - taken <= EXCHANGE_ROOM_BYTES / 2) {
      ex->room_wanted = false;
      tell = ex->owner != NULL ? ex->owner->room : NULL;
    }
    result = (ssize_t)taken;
  } else if (!ex->is_stream) {
    result = MHD_CONTENT_READER_END_OF_STREAM;
  } else {
    ex->suspended = true;
    MHD_suspend_connection(ex->mhd);
  }
  pthread_mutex_unlock(&ex->mutex);
  if (tell != NULL)
    tell(ex->owner_state);
  return result;
}

static void release_stream(void *argument) {
  exchange_unref(argument);
}

static struct MHD_Response *make_response(struct exchange *ex, bool is_whole) {
  struct MHD_Response *response;
  if (is_whole) {
    static char nothing[1];
    bool is_empty = ex->out.len == 0;
    response = MHD_create_response_from_buffer(ex->out.len, is_empty ? nothing : (char *)ex->out.data,
                                               is_empty ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (response != NULL && ex->out.len > 0)
      ex->out = (struct buf){0};
    return response;
  }
  response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, ex,
                                               release_stream);
  if (response != NULL)
    exchange_ref(ex);
  return response;
}

static void add_headers(struct exchange *ex, struct MHD_Response *response) {
  if (*ex->content_type != '\0')
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, ex->content_type);
  const char *at = (const char *)ex->headers.data, *end = at + ex->headers.len;
  bool may_be_kept = false;
  while (at < end && !ex->headers.failed) {
    const char *value = at + strlen(at) + 1;
    MHD_add_response_header(response, at, value);
    may_be_kept = may_be_kept || strcasecmp(at, MHD_HTTP_HEADER_CACHE_CONTROL) == 0;
    at = value + strlen(value) + 1;
  }
  struct rpc_request_id id;
  rpc_request_id_write(ex->id, &id);
  MHD_add_response_header(response, RPC_REQUEST_ID_HEADER, id.digits);
  if (!may_be_kept) /* it is for whoever asked, and may be a token */
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  /* What people have stored is no page, whatever it looks like. */
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  if (ex->wants_close)
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
}

/* Queues the answer if there is one, or sends the connection to sleep. With the mutex held. */
static enum MHD_Result queue_or_sleep(struct exchange *ex) {
  if (ex->aborted)
    return MHD_NO;
  if (!ex->answered) {
    ex->suspended = true;
    MHD_suspend_connection(ex->mhd);
    return MHD_YES;
  }
  struct MHD_Response *response = make_response(ex, !ex->is_stream);
  if (response == NULL)
    return MHD_NO;
  add_headers(ex, response);
  enum MHD_Result result = MHD_queue_response(ex->mhd, ex->http_status, response);
  MHD_destroy_response(response);
  return result;
}

static int answer_now(struct exchange *ex) {
  pthread_mutex_lock(&ex->mutex);
  enum MHD_Result result = queue_or_sleep(ex);
  pthread_mutex_unlock(&ex->mutex);
  return (int)result;
}

/* ---- From libmicrohttpd ---- */

/* What the framing is, and whether there is one way to read it. False: answered. */
static bool check_head(struct exchange *ex, const char *version) {
  struct framing framing = {0};
  framing_init(&framing, version);
  exchange_each_header(ex, framing_header, &framing);
  const char *wrong = framing_wrong(&framing);
  status why;
  unsigned http_status = 400;
  if (wrong != NULL) {
    why = status_make(STATUS_INVALID_ARGUMENT, "%s", wrong);
  } else if (framing.length > ex->gateway->options.body_bytes_max) {
    why = status_make(STATUS_RESOURCE_EXHAUSTED, "The request's body is larger than %u bytes.",
                      ex->gateway->options.body_bytes_max);
    http_status = 413;
  } else {
    ex->accepts_gzip = framing.accepts_gzip;
    return true;
  }
  ex->wants_close = true;
  gateway_refuse(ex, http_status, &why);
  return false;
}

static void take_body(struct exchange *ex, const char *bytes, size_t len) {
  size_t received = atomic_fetch_add_explicit(&ex->body_received, len, memory_order_relaxed) + len;
  if (received > ex->gateway->options.body_bytes_max)
    ex->body_too_large = true;
  if (ex->body_too_large || ex->body_no_memory) {
    buf_fini(&ex->body);
    ex->body = (struct buf){0};
    return;
  }
  buf_append(&ex->body, bytes, len);
  if (ex->body.failed || !charge(ex, ex->body.capacity))
    ex->body_no_memory = true;
}

static void dispatch(struct exchange *ex) {
  status why;
  unsigned http_status = ex->body_too_large ? 413 : 503;
  if (ex->body_too_large)
    why = status_make(STATUS_RESOURCE_EXHAUSTED, "The request's body is larger than %u bytes.",
                      ex->gateway->options.body_bytes_max);
  else if (ex->body_no_memory)
    why = status_make(STATUS_RESOURCE_EXHAUSTED, "This server has no memory for the request now. Try again.");
  else {
    gateway_dispatch(ex);
    return;
  }
  ex->wants_close = true;
  gateway_refuse(ex, http_status, &why);
}

int exchange_run(struct exchange *ex, struct MHD_Connection *mhd, const char *verb, const char *version,
                 const char *upload, size_t *upload_len) {
  if (!ex->began) {
    ex->began = true;
    pthread_mutex_lock(&ex->mutex);
    ex->mhd = mhd;
    pthread_mutex_unlock(&ex->mutex);
    if (strlen(verb) < sizeof ex->verb)
      memcpy(ex->verb, verb, strlen(verb) + 1);
    gateway_set_phase(ex, CONNECTION_BODY);
    if (check_head(ex, version))
      return (int)MHD_YES;
    ex->dispatched = true;
    return answer_now(ex);
  }
  if (*upload_len > 0) {
    take_body(ex, upload, *upload_len);
    *upload_len = 0;
    return ex->body_received > ex->gateway->options.body_bytes_max + (size_t)EXCESS_BYTES_MAX ? (int)MHD_NO
                                                                                              : (int)MHD_YES;
  }
  if (!ex->dispatched) {
    ex->dispatched = true;
    gateway_set_phase(ex, CONNECTION_WORKING);
    dispatch(ex);
  }
  return answer_now(ex);
}

void exchange_completed(struct exchange *ex) {
  pthread_mutex_lock(&ex->mutex);
  ex->mhd = NULL;
  ex->suspended = false;
  void (*tell)(void *owner) = ex->owner != NULL ? ex->owner->over : NULL;
  void *state = ex->owner_state;
  ex->owner = NULL;
  pthread_mutex_unlock(&ex->mutex);
  if (tell != NULL)
    tell(state);
  exchange_unref(ex);
}
