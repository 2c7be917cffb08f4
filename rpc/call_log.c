/* What the log says of calls: one line for each that failed or was slow, or for every one. Runs when a call
 * is over, on its queue's thread, and only if there is something to say. No contents of messages, and of the
 * request's headers the trace alone. */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "rpc/runtime.h"
#include "rpc/trace_context.h"

enum {
  CLIENT_ERRORS_BURST = 20, /* lines a second for what clients do wrong */
  SERVER_ERRORS_BURST = 50,
  SLOW_BURST = 50,
  ACCESS_BURST = 5000, /* a megabyte a second: a disk of a small box lives on */
  FIELDS_MAX = 20,
};

struct fields {
  struct log_field items[FIELDS_MAX + 1]; /* the last one ends it */
  size_t count;
};

static void add(struct fields *fields, struct log_field field) {
  assert(fields->count < FIELDS_MAX);
  fields->items[fields->count++] = field;
}

static bool is_ours(enum status_code code) {
  return code == STATUS_INTERNAL || code == STATUS_UNKNOWN || code == STATUS_DATA_LOSS ||
         code == STATUS_UNAVAILABLE;
}

/* Long for what it does. Streams of requests live as long as their client wants, and so do those of health
 * and reflection. */
static bool is_slow(const struct rpc_call *call, int64_t duration_us) {
  const struct rpc_method *method = call->entry->method;
  int64_t slow_us = (int64_t)call->server->options.slow_call_ms * 1000;
  return slow_us > 0 && duration_us >= slow_us && method != NULL && !call->entry->is_own &&
         (method->kind == RPC_UNARY || method->kind == RPC_SERVER_STREAM);
}

bool rpc_call_is_slow(const struct rpc_call *call) {
  struct port *port = call->server->options.port;
  return call->server->options.slow_call_ms > 0 && is_slow(call, port->monotonic_us(port) - call->started_us);
}

void rpc_call_misused(const struct rpc_call *call, const char *how) {
  log_event(LOG_LEVEL_ERROR, "a handler misuses its call: the program ends",
            LOG_CSTR("method", call->entry->method != NULL ? call->entry->method->path : "unknown"),
            LOG_CSTR("mistake", how));
  abort();
}

void rpc_call_note(struct rpc_call *call, str note) {
  call->note = note;
}

static void fill(const struct rpc_call *call, int64_t duration_us, uint32_t suppressed,
                 const struct rpc_request_id *id, struct fields *fields) {
  struct rpc_trace trace;
  str header;
  add(fields, LOG_CSTR("method", call->entry->method != NULL ? call->entry->method->path : "unknown"));
  add(fields, LOG_CSTR("code", status_code_name((int)call->code)));
  if (call->code != STATUS_OK)
    add(fields, LOG_CSTR("error", call->text != NULL ? call->text : ""));
  add(fields, LOG_CSTR("request_id", id->digits));
  add(fields, LOG_CSTR("peer", call->peer->address));
  add(fields, LOG_INT("duration_us", duration_us));
  if (call->waited_us >= 0) /* before the runtime had it */
    add(fields, LOG_INT("waited_us", call->waited_us));
  add(fields, LOG_INT("request_bytes", call->request_bytes));
  add(fields, LOG_INT("response_bytes", call->response_bytes));
  if (rpc_call_metadata(call, RPC_TRACE_HEADER, &header) && rpc_trace_parse(header, &trace)) {
    add(fields, LOG_STR("trace_id", trace.trace_id));
    add(fields, LOG_STR("parent_id", trace.parent_id));
  }
  if (call->note.len > 0)
    add(fields, LOG_STR("plan", call->note));
  add(fields, LOG_INT("suppressed", suppressed));
  if (call->peer->has_certificate) /* the last, because not every call has one */
    add(fields, LOG_CSTR("certificate", call->peer->certificate_name));
}

void rpc_call_log(struct rpc_call *call, int64_t duration_us) {
  static struct log_limiter of_clients, of_server, of_slow, of_all;
  bool all = call->server->options.access_log, failed = call->code != STATUS_OK,
       slow = is_slow(call, duration_us);
  bool ours = failed && is_ours(call->code);
  if (!all && !failed && !slow)
    return;
  enum log_level level = ours || slow ? LOG_LEVEL_WARN : LOG_LEVEL_INFO;
  struct log_limiter *limiter = all ? &of_all : ours ? &of_server : failed ? &of_clients : &of_slow;
  uint32_t burst = all      ? ACCESS_BURST
                   : ours   ? SERVER_ERRORS_BURST
                   : failed ? CLIENT_ERRORS_BURST
                            : SLOW_BURST;
  uint32_t suppressed = 0;
  if (!log_enabled(level) || !log_limiter_pass(limiter, burst, &suppressed))
    return;
  struct rpc_request_id id;
  struct fields fields = {.count = 0};
  rpc_request_id_write(call->id, &id);
  fill(call, duration_us, suppressed, &id, &fields);
  fields.items[fields.count] = (struct log_field){NULL, LOG_FIELD_END, {0, 0}, 0};
  log_event_(level, all ? "call" : failed ? "call failed" : "slow call", fields.items);
}
