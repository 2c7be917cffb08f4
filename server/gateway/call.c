#include "server/gateway/call.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/log.h"
#include "server/gateway/gateway_inside.h"
#include "server/gateway/web_frame.h"
#include "server/json/json_write.h"
#include "server/json/wire_walk.h"

enum {
  HTTP_UNAUTHORIZED = 401,
  HEADERS_MAX = 64,
  LARGE_BODY_BYTES = 64 * 1024, /* to read it takes longer than others should wait */
  KEPT_BYTES_MAX = 64 * 1024,   /* a larger answer counts as the call's memory until it has gone out */
};
static const char JSON_TYPE[] = "application/json; charset=UTF-8";

/* Events of rpc/local.h come one at a time; `room` and `over` come from libmicrohttpd's thread. `over` may
 * come while the call is being begun on another; then who begins ends it:
 *
 *   BEGINNING -> BEGUN   -> OVER   `over` ends the call
 *   BEGINNING -> FAILED  -> OVER   there is none, and `over` lets go of it
 *   BEGINNING -> OVER              who begins ends the call, or lets go of it */
enum call_step { CALL_BEGINNING, CALL_BEGUN, CALL_FAILED, CALL_OVER };

struct call {
  struct exchange *ex;
  struct rpc_local *local;
  _Atomic int step; /* enum call_step */
  const struct rpc_method *method;
  const struct schema_message *response;
  enum call_form form;
  const char *content_type;
  struct buf out; /* what is to be put next */
  unsigned messages;
  bool is_broken; /* an answer that has no JSON form: a mistake of ours */
};

static bool is_stream(const struct call *call) {
  return call->method->kind == RPC_SERVER_STREAM;
}

/* ---- Errors as JSON ---- */

/* Older clients know 400 and 403 (gateway_options.lenient_services). */
static unsigned http_status_of(const struct exchange *ex, enum status_code code) {
  unsigned number = gateway_http_status(code);
  return ex->is_lenient && (number == 404 || number == 409) ? 400 : number;
}

/* What they look into: [{"message": ..., "domain": "global", "reason": "invalid"}]. */
static void put_older_errors(str text, struct buf *out) {
  buf_append_str(out, STR(",\"errors\":[{\"message\":"));
  if (!json_write_string(text, out))
    buf_append_str(out, STR("\"\""));
  buf_append_str(out, STR(",\"domain\":\"global\",\"reason\":\"invalid\"}]"));
}

/* google.rpc.Status {code = 1, message = 2, details = 3}, as Google's REST APIs show it. */
static void put_error(const struct exchange *ex, unsigned http_status, const struct rpc_local_end *end,
                      struct buf *out) {
  const struct schema *schema = ex->gateway->schema;
  buf_printf(out, "{\"error\":{\"code\":%u,\"message\":", http_status);
  if (!json_write_string(end->text, out))
    buf_append_str(out, STR("\"\""));
  buf_printf(out, ",\"status\":\"%s\"", status_code_name((int)end->code));
  const struct schema_message *any = schema_find(schema, STR("google.protobuf.Any"));
  struct buf details = {0};
  for (size_t i = 0; i < end->trailer_count && any != NULL; i++) {
    if (!str_eq(end->trailers[i].name, STR("grpc-status-details-bin")))
      continue;
    struct wire_walk_field field;
    for (str rest = end->trailers[i].value; wire_walk(&rest, &field);) {
      if (field.number != 3 || field.type != WIRE_BYTES)
        continue;
      size_t before = details.len;
      buf_append_str(&details, before == 0 ? STR("") : STR(","));
      if (!json_write_message(schema, any, field.bytes, &details))
        details.len = before;
    }
  }
  if (details.len > 0) {
    buf_append_str(out, STR(",\"details\":["));
    buf_append_str(out, buf_str(&details));
    buf_append_byte(out, ']');
  }
  buf_fini(&details);
  if (ex->is_lenient)
    put_older_errors(end->text, out);
  buf_append_str(out, STR("}}"));
}

static void answer_error(struct exchange *ex, unsigned http_status, const struct rpc_local_end *end,
                         bool in_array) {
  struct buf out = {0};
  if (http_status == 0)
    http_status = http_status_of(ex, end->code);
  buf_append_str(&out, in_array ? STR("[") : STR(""));
  put_error(ex, http_status, end, &out);
  buf_append_str(&out, in_array ? STR("]\n") : STR("\n"));
  if (http_status == HTTP_UNAUTHORIZED)
    exchange_add_header(ex, STR("WWW-Authenticate"), STR("Bearer"));
  exchange_answer(ex, http_status, JSON_TYPE, &out);
}

void call_refuse(struct exchange *ex, unsigned http_status, const status *why) {
  const struct rpc_local_end end = {.code = why->code, .text = str_from_cstr(why->message)};
  answer_error(ex, http_status, &end, false);
}

void call_answer(struct exchange *ex, enum call_form form, const char *content_type, const status *why) {
  const struct rpc_local_end end = {.code = why->code, .text = str_from_cstr(why->message)};
  gateway_note_refusal(ex, why);
  if (form == CALL_JSON) {
    answer_error(ex, 0, &end, false);
    return;
  }
  struct buf out = {0};
  web_frame_trailers(&end, form == CALL_WEB_TEXT, &out);
  exchange_answer(ex, 200, content_type, &out);
}

/* ---- What the call says ---- */

static void on_headers(struct rpc_local *local, void *argument, const struct rpc_local_header *headers,
                       size_t count) {
  (void)local;
  struct call *call = argument;
  for (size_t i = 0; i < count; i++) {
    struct buf value = {0};
    if (str_has_suffix(headers[i].name, STR("-bin")))
      base64_encode(headers[i].value, &value);
    else
      buf_append_str(&value, headers[i].value);
    if (!value.failed && value.len > 0)
      exchange_add_header(call->ex, headers[i].name, buf_str(&value));
    buf_fini(&value);
  }
}

/* A broken one is logged, and ends the call in `finished`. */
static void put_json(struct call *call, str message) {
  if (json_write_message(call->ex->gateway->schema, call->response, message, &call->out))
    return;
  call->is_broken = true;
  log_event(LOG_LEVEL_ERROR, "a response has no JSON form", LOG_CSTR("method", call->method->path));
}

static void flush(struct call *call, bool *ret_has_room) {
  *ret_has_room = true;
  if (call->out.len > 0 && !call->out.failed)
    *ret_has_room = exchange_put(call->ex, buf_str(&call->out));
  if (call->out.failed)
    exchange_abort(call->ex);
  buf_fini(&call->out);
  call->out = (struct buf){0};
}

static void on_message(struct rpc_local *local, void *argument, str message) {
  struct call *call = argument;
  bool is_first = call->messages++ == 0, has_room = true;
  if (call->form == CALL_JSON && is_stream(call))
    buf_append_str(&call->out, is_first ? STR("[") : STR(",\n"));
  if (call->form == CALL_JSON)
    put_json(call, message);
  else
    web_frame_message(message, call->form == CALL_WEB_TEXT, &call->out);
  if (is_stream(call) && !call->is_broken) {
    if (is_first)
      exchange_begin(call->ex, 200, call->content_type);
    flush(call, &has_room);
  }
  if (is_stream(call) ? has_room : message.len < KEPT_BYTES_MAX)
    rpc_local_taken(local);
}

static void finish_web(struct call *call, const struct rpc_local_end *end) {
  bool has_room;
  web_frame_trailers(end, call->form == CALL_WEB_TEXT, &call->out);
  if (call->messages > 0 && is_stream(call)) {
    flush(call, &has_room);
    exchange_end(call->ex);
  } else {
    exchange_answer(call->ex, 200, call->content_type, &call->out);
  }
}

static void finish_json(struct call *call, const struct rpc_local_end *end) {
  bool has_room, has_begun = is_stream(call) && call->messages > 0;
  if (!has_begun && end->code != STATUS_OK) {
    answer_error(call->ex, 0, end, is_stream(call));
    return;
  }
  if (!is_stream(call)) {
    buf_append_byte(&call->out, '\n');
    exchange_answer(call->ex, 200, call->content_type, &call->out);
    return;
  }
  if (!has_begun) {
    exchange_answer_text(call->ex, 200, call->content_type, STR("[]\n"));
    return;
  }
  if (end->code != STATUS_OK) {
    buf_append_str(&call->out, STR(",\n"));
    put_error(call->ex, http_status_of(call->ex, end->code), end, &call->out);
  }
  buf_append_str(&call->out, STR("]\n"));
  flush(call, &has_room);
  exchange_end(call->ex);
}

static void on_finished(struct rpc_local *local, void *argument, const struct rpc_local_end *end) {
  (void)local;
  struct call *call = argument;
  static const char broken[] = "The response has no JSON form.";
  const struct rpc_local_end internal = {.code = STATUS_INTERNAL, .text = {broken, sizeof broken - 1}};
  if (call->is_broken && is_stream(call) && call->messages > 1) {
    exchange_abort(call->ex);
    return;
  }
  if (call->is_broken) {
    buf_fini(&call->out);
    call->out = (struct buf){0};
    answer_error(call->ex, 0, &internal, is_stream(call));
  } else if (call->form == CALL_JSON) {
    finish_json(call, end);
  } else {
    finish_web(call, end);
  }
}

static void on_aborted(struct rpc_local *local, void *argument) {
  (void)local;
  struct call *call = argument;
  exchange_abort(call->ex);
}

static void on_closed(void *argument) {
  struct call *call = argument;
  exchange_unref(call->ex);
  buf_fini(&call->out);
  free(call);
}

static const struct rpc_local_events events = {on_headers, on_message, on_finished, on_aborted, on_closed};

/* ---- What the client does ---- */

static void on_room(void *argument) {
  struct call *call = argument;
  rpc_local_taken(call->local);
}

static void on_over(void *argument) {
  struct call *call = argument;
  int before = atomic_exchange(&call->step, CALL_OVER);
  if (before == CALL_BEGUN)
    rpc_local_end(call->local);
  else if (before == CALL_FAILED)
    on_closed(call);
}

static const struct exchange_owner owner = {on_room, on_over};

/* ---- Metadata ---- */

struct metadata {
  struct arena *arena;
  struct rpc_local_header items[HEADERS_MAX];
  size_t count;
  bool too_many;
};

/* What concerns the connection or the body, and names of gRPC's and the guard's own. */
static bool is_dropped(str name) {
  static const char *const names[] = {"accept",
                                      "accept-encoding",
                                      "accept-language",
                                      "connection",
                                      "content-length",
                                      "content-type",
                                      "content-encoding",
                                      "expect",
                                      "host",
                                      "keep-alive",
                                      "origin",
                                      "proxy-connection",
                                      "referer",
                                      "skerry-connection",
                                      "te",
                                      "trailer",
                                      "transfer-encoding",
                                      "upgrade"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (str_eq(name, str_from_cstr(names[i])))
      return true;
  return str_has_prefix(name, STR("grpc-")) || str_has_prefix(name, STR("sec-")) ||
         str_has_prefix(name, STR("access-control-"));
}

static bool is_legal(str name, str value) {
  for (size_t i = 0; i < name.len; i++) {
    char c = name.ptr[i];
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
      return false;
  }
  for (size_t i = 0; i < value.len; i++)
    if (value.ptr[i] < 0x20 || value.ptr[i] > 0x7e)
      return false;
  return name.len > 0;
}

static void add_metadata(void *argument, str name, str value) {
  struct metadata *m = argument;
  str lower = arena_str_copy(m->arena, name);
  if (lower.ptr == NULL) {
    m->too_many = true;
    return;
  }
  for (size_t i = 0; i < lower.len; i++)
    ((char *)(uintptr_t)lower.ptr)[i] = (char)tolower((unsigned char)lower.ptr[i]);
  if (is_dropped(lower) || !is_legal(lower, value))
    return;
  if (str_has_suffix(lower, STR("-bin"))) {
    struct buf bytes = {0};
    bool ok = base64_decode(value, &bytes) && !bytes.failed;
    value = ok ? arena_str_copy(m->arena, bytes.len == 0 ? STR("") : buf_str(&bytes)) : STR("");
    buf_fini(&bytes);
    if (!ok)
      return;
  } else {
    value = arena_str_copy(m->arena, value);
  }
  if (m->count == HEADERS_MAX || value.ptr == NULL) {
    m->too_many = true;
    return;
  }
  m->items[m->count++] = (struct rpc_local_header){lower, value};
}

static int64_t timeout_us(struct exchange *ex) {
  const char *text = exchange_header(ex, "grpc-timeout");
  int64_t us;
  return text != NULL && web_timeout(str_from_cstr(text), &us) ? us : INT64_MAX;
}

/* ---- Beginning ---- */

/* A request with what its headers say, which can be read within the dispatch only. */
struct start {
  struct worker_job job; /* the first */
  struct call_request request;
  struct metadata metadata;
  int64_t timeout_us;
};

static struct call *call_new(const struct call_request *request) {
  struct exchange *ex = request->ex;
  struct call *call = calloc(1, sizeof *call);
  if (call == NULL)
    return NULL;
  *call = (struct call){.ex = ex,
                        .method = request->method,
                        .form = request->form,
                        .content_type = request->form == CALL_JSON ? JSON_TYPE : request->content_type,
                        .response =
                            schema_find(ex->gateway->schema, str_from_cstr(request->method->response.name))};
  exchange_ref(ex);
  return call;
}

/* Takes the message. OK too if the client has gone, and there is nobody to answer. */
static status begin(const struct start *start, rpc_message *message) {
  struct exchange *ex = start->request.ex;
  struct call *call = call_new(&start->request);
  if (call == NULL) {
    rpc_message_discard(message);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  if (!exchange_own(ex, &owner, call)) {
    rpc_message_discard(message);
    on_closed(call);
    return status_ok();
  }
  struct rpc_local_request request = {.id = ex->id,
                                      .path = call->method->path,
                                      .peer = &ex->peer,
                                      .metadata = start->metadata.items,
                                      .metadata_count = start->metadata.count,
                                      .timeout_us = start->timeout_us,
                                      .message = *message};
  *message = (rpc_message){0};
  status result = rpc_local_begin(ex->gateway->options.rpc, &request, &events, call, &call->local);
  if (status_is_ok(&result)) {
    if (atomic_exchange(&call->step, CALL_BEGUN) == CALL_OVER)
      rpc_local_end(call->local);
  } else if (exchange_disown(ex) || atomic_exchange(&call->step, CALL_FAILED) == CALL_OVER) {
    on_closed(call);
  }
  return result;
}

static void proceed(const struct start *start) {
  const struct call_request *request = &start->request;
  rpc_message message = {0};
  status result = start->metadata.too_many
                      ? status_make(STATUS_RESOURCE_EXHAUSTED, "The request has too many headers.")
                      : request->read(request, &message);
  if (status_is_ok(&result))
    result = begin(start, &message);
  if (!status_is_ok(&result))
    call_answer(request->ex, request->form, request->content_type, &result);
}

static void proceed_later(struct worker_job *job) {
  struct start *start = (void *)job; /* in the exchange's memory */
  struct exchange *ex = start->request.ex;
  proceed(start);
  exchange_unref(ex);
}

static void fill(struct start *start, const struct call_request *request) {
  start->job = (struct worker_job){.run = proceed_later};
  start->request = *request;
  start->metadata.arena = &request->ex->arena;
  start->metadata.count = 0;
  start->metadata.too_many = false;
  exchange_each_header(request->ex, add_metadata, &start->metadata);
  start->timeout_us = timeout_us(request->ex);
}

void call_start(const struct call_request *request) {
  struct exchange *ex = request->ex;
  if (ex->body.len < LARGE_BODY_BYTES) {
    struct start start;
    fill(&start, request);
    proceed(&start);
    return;
  }
  struct start *start = arena_alloc(&ex->arena, sizeof *start);
  bool has_room = start != NULL;
  if (has_room) {
    fill(start, request);
    exchange_ref(ex);
    has_room = worker_post(&ex->gateway->bodies_worker, &start->job);
    if (!has_room)
      exchange_unref(ex);
  }
  if (!has_room) {
    status why = status_make(STATUS_RESOURCE_EXHAUSTED, "Too many large requests wait. Try again.");
    call_answer(ex, request->form, request->content_type, &why);
  }
}
