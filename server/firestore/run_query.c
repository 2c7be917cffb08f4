/* RunQuery: a query as a stream of documents.
 *
 *   begin -> [transaction] -> row -> row ... -> [last] -> over
 *
 * One turn makes messages until the reader is behind (then what is pinned in the store is let go of, and
 * `drained` goes on), or until others should have their turn (rpc_call_yield). A document that is not
 * projected goes from the store into its message as it is. The last message has what is known at the end
 * only: that there was no document, the rest of what was skipped, explain_metrics. */
#include <assert.h>

#include "base/wire.h"
#include "server/firestore/handlers.h"
#include "server/firestore/query_call.h"
#include "server/firestore/query_request.h"
#include "storage/document/codec.h"

/* google.firestore.v1.RunQueryResponse */
enum { DOCUMENT_FIELD = 1, READ_TIME_FIELD = 3, SKIPPED_FIELD = 4, DONE_FIELD = 6 };

/* After so much, other calls have their turn. */
enum {
  TURN_ROWS_MAX = 512,
  TURN_READ_MAX = 4 * QUERY_TURN_ENTRIES,
  TURN_DECODED_MAX = 2 * 1024 * 1024,
};

/* A row's projection, decoded and encoded; larger rows take more from malloc for the time of one row. */
enum { SCRATCH_BYTES = 16 * 1024 };

struct run_query {
  const struct access_caller *caller;
  struct query_call reading;
  struct query_request request;
  struct query_run *run; /* NULL: closed */
  bool explain, analyze;

  rpc_message message; /* that waits to be sent */
  uint64_t rows;
  uint64_t skipped_told;
  bool is_over; /* nothing follows `message` */

  struct arena scratch;
  str *projected; /* top-level fields that the projection needs */
  size_t projected_count;

  /* Of this turn. */
  size_t turn_rows, turn_decoded_bytes;
  uint64_t turn_start; /* entries and documents read before it */
};

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the response.");
}

/* ---- Messages ---- */

static uint64_t read_so_far(const struct run_query *q) {
  struct query_stats stats;
  query_run_stats(q->run, &stats);
  return stats.index_entries + stats.documents;
}

/* Results that were passed over since this was asked last. */
static uint32_t take_skipped(struct run_query *q) {
  if (q->request.query.offset == 0)
    return 0;
  struct query_stats stats;
  query_run_stats(q->run, &stats);
  uint64_t skipped = stats.skipped - q->skipped_told;
  q->skipped_told = stats.skipped;
  assert(skipped <= INT32_MAX); /* the offset is an int32 */
  return (uint32_t)skipped;
}

/* Leaves of the fields what the projection means. */
static status project(struct run_query *q, struct doc_record *record) {
  const struct doc_mask *mask = q->request.mask;
  if (mask == NULL)
    return status_ok();
  if (mask->count == 0) {
    record->fields = (str){NULL, 0};
    return status_ok();
  }
  q->turn_decoded_bytes += record->fields.len;
  struct doc_map fields;
  STATUS_TRY(doc_decode_some_fields(record->fields, q->projected, q->projected_count, &q->scratch, &fields));
  STATUS_TRY(doc_mask_project(fields, mask, &q->scratch, &fields));
  return doc_encode_fields(fields, &q->scratch, &record->fields);
}

static status document_message(struct run_query *q, const struct query_row *row, bool done,
                               rpc_message *ret) {
  struct doc_record record = row->record;
  STATUS_TRY(project(q, &record));
  int64_t read_time = q->reading.snapshot.version;
  uint32_t skipped = take_skipped(q);
  size_t document_size = doc_document_wire_size(row->name, &record);
  size_t size = wire_bytes_field_size(DOCUMENT_FIELD, document_size) +
                wire_timestamp_field_size(READ_TIME_FIELD, read_time) +
                (skipped == 0 ? 0 : 1 + wire_varint_size(skipped)) + (done ? 2 : 0);
  if (!rpc_message_alloc(size, ret))
    return no_memory();
  uint8_t *at = wire_put_bytes_head(ret->data, DOCUMENT_FIELD, document_size);
  doc_document_wire_write(row->name, &record, at);
  at = wire_put_timestamp(at + document_size, READ_TIME_FIELD, read_time);
  if (skipped != 0)
    at = wire_put_varint(wire_put_tag(at, SKIPPED_FIELD, WIRE_VARINT), skipped);
  if (done)
    at = wire_put_varint(wire_put_tag(at, DONE_FIELD, WIRE_VARINT), 1);
  assert(at == ret->data + size);
  return status_ok();
}

/* Any response without a document. */
static status pack(struct run_query *q, Google__Firestore__V1__RunQueryResponse *response, bool with_time) {
  struct wire_timestamp t = wire_timestamp_from_us(q->reading.snapshot.version);
  Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  time.seconds = t.seconds;
  time.nanos = t.nanos;
  response->read_time = with_time ? &time : NULL;
  bool packed = rpc_message_pack(&response->base, &q->message);
  response->read_time = NULL;
  return packed ? status_ok() : no_memory();
}

/* The id of a new transaction comes alone and first (google/firestore/v1/firestore.proto). */
static status transaction_message(struct run_query *q) {
  Google__Firestore__V1__RunQueryResponse response = GOOGLE__FIRESTORE__V1__RUN_QUERY_RESPONSE__INIT;
  str id = q->reading.new_transaction;
  response.transaction = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)id.ptr, .len = id.len};
  STATUS_TRY(pack(q, &response, false));
  q->reading.new_transaction = (str){NULL, 0};
  return status_ok();
}

static status progress_message(struct run_query *q) {
  Google__Firestore__V1__RunQueryResponse response = GOOGLE__FIRESTORE__V1__RUN_QUERY_RESPONSE__INIT;
  response.skipped_results = (int32_t)take_skipped(q);
  return response.skipped_results == 0 ? status_ok() : pack(q, &response, true);
}

/* ---- The end of the run ---- */

/* Before the client can know that this is the end: what was read belongs to its transaction by then. */
static status close_run(struct run_query *q) {
  query_call_report(&q->reading, q->run);
  query_run_close(q->run);
  q->run = NULL;
  q->is_over = true;
  return query_call_end(&q->reading);
}

/* What is to be said after the last row, if anything is. */
static status last_message(struct rpc_call *call, struct run_query *q) {
  Google__Firestore__V1__RunQueryResponse response = GOOGLE__FIRESTORE__V1__RUN_QUERY_RESPONSE__INIT;
  bool plan_only = q->explain && !q->analyze;
  if (q->explain) {
    struct query_analyzed analyzed = {.results = q->rows};
    STATUS_TRY(query_call_explain(&q->reading, q->run, plan_only ? NULL : &analyzed, rpc_call_arena(call),
                                  &response.explain_metrics));
  }
  if (!plan_only) {
    response.skipped_results = (int32_t)take_skipped(q);
    response.continuation_selector_case =
        GOOGLE__FIRESTORE__V1__RUN_QUERY_RESPONSE__CONTINUATION_SELECTOR_DONE;
    response.done = true;
  }
  STATUS_TRY(close_run(q));
  if (q->rows > 0 && !q->explain && response.skipped_results == 0)
    return status_ok();
  return pack(q, &response, !plan_only);
}

static void end(struct rpc_call *call, struct run_query *q, status result) {
  rpc_message_discard(&q->message);
  query_call_report(&q->reading, q->run);
  query_run_close(q->run);
  q->run = NULL;
  status transaction = query_call_end(&q->reading);
  arena_fini(&q->scratch);
  if (status_is_ok(&result))
    result = transaction;
  rpc_call_finish(call, result);
}

/* ---- Turns ---- */

static status on_row(struct run_query *q, const struct query_row *row) {
  const struct query *query = &q->request.query;
  q->rows++;
  q->turn_rows++;
  bool done = !q->explain && query->has_limit && query->nearest == NULL && q->rows == (uint64_t)query->limit;
  STATUS_TRY(document_message(q, row, done, &q->message));
  return done ? close_run(q) : status_ok();
}

/* Makes at most one message. */
static status step(struct rpc_call *call, struct run_query *q, bool *ret_turn_is_over) {
  if (q->reading.new_transaction.len > 0)
    return transaction_message(q);
  if (q->explain && !q->analyze)
    return last_message(call, q);
  enum query_step next = QUERY_END;
  struct query_row row;
  STATUS_TRY(query_run_next(q->run, &next, &row));
  switch (next) {
  case QUERY_ROW: {
    status result = on_row(q, &row);
    arena_reset(&q->scratch);
    return result;
  }
  case QUERY_TURN:
    *ret_turn_is_over = true;
    return progress_message(q);
  case QUERY_END:
    break;
  }
  return last_message(call, q);
}

static bool turn_is_over(const struct run_query *q) {
  return q->turn_rows >= TURN_ROWS_MAX || q->turn_decoded_bytes >= TURN_DECODED_MAX ||
         (q->run != NULL && read_so_far(q) - q->turn_start >= TURN_READ_MAX);
}

static void pump(struct rpc_call *call, void *state) {
  struct run_query *q = state;
  q->turn_rows = q->turn_decoded_bytes = 0;
  q->turn_start = q->run == NULL ? 0 : read_so_far(q);
  for (bool over = false;;) {
    enum rpc_send sent = q->message.data == NULL ? RPC_SEND_OK : rpc_call_send(call, &q->message);
    if (sent == RPC_SEND_FULL) {
      if (q->run != NULL) /* it may be long until the reader goes on */
        query_run_pause(q->run);
      return;
    }
    if (sent == RPC_SEND_CLOSED) {
      end(call, q, status_default(STATUS_CANCELLED));
      return;
    }
    if (q->is_over) {
      end(call, q, status_ok());
      return;
    }
    if (over || turn_is_over(q)) {
      rpc_call_yield(call);
      return;
    }
    status result = step(call, q, &over);
    if (!status_is_ok(&result)) {
      end(call, q, result);
      return;
    }
  }
}

static void cancelled(struct rpc_call *call, void *state) {
  end(call, state, status_default(STATUS_CANCELLED));
}

static const struct rpc_call_events events = {.drained = pump, .cancelled = cancelled};

/* ---- The request ---- */

static struct query_selector selector_of(const Google__Firestore__V1__RunQueryRequest *request) {
  struct query_selector selector = {0};
  switch (request->consistency_selector_case) {
  case GOOGLE__FIRESTORE__V1__RUN_QUERY_REQUEST__CONSISTENCY_SELECTOR_TRANSACTION:
    selector.has_transaction = true;
    selector.transaction = request->transaction;
    break;
  case GOOGLE__FIRESTORE__V1__RUN_QUERY_REQUEST__CONSISTENCY_SELECTOR_NEW_TRANSACTION:
    selector.new_transaction = request->new_transaction;
    break;
  case GOOGLE__FIRESTORE__V1__RUN_QUERY_REQUEST__CONSISTENCY_SELECTOR_READ_TIME:
    selector.read_time = request->read_time;
    break;
  case GOOGLE__FIRESTORE__V1__RUN_QUERY_REQUEST__CONSISTENCY_SELECTOR__NOT_SET:
  default:
    break;
  }
  return selector;
}

/* The top-level fields that the projection's paths begin with; the paths are sorted. */
static status find_projected(struct run_query *q, struct arena *arena) {
  const struct doc_mask *mask = q->request.mask;
  if (mask == NULL)
    return status_ok();
  q->projected = ARENA_NEW_ARRAY(arena, str, mask->count);
  if (q->projected == NULL)
    return no_memory();
  for (size_t i = 0; i < mask->count; i++) {
    str name = mask->paths[i].segments[0];
    if (q->projected_count == 0 || !str_eq(q->projected[q->projected_count - 1], name))
      q->projected[q->projected_count++] = name;
  }
  return status_ok();
}

static status parse(struct rpc_call *call, const Google__Firestore__V1__RunQueryRequest *request,
                    struct run_query *q, struct doc_path *ret_parent) {
  const struct firestore_service *service = request_service(call);
  struct arena *arena = rpc_call_arena(call);
  STATUS_TRY(request_parent(service, request->parent, REQUEST_READS, ret_parent));
  STATUS_TRY(access_enter(service->options.access, call, ACCESS_READ, ret_parent, &q->caller));
  if (request->query_type_case != GOOGLE__FIRESTORE__V1__RUN_QUERY_REQUEST__QUERY_TYPE_STRUCTURED_QUERY)
    return status_make(STATUS_INVALID_ARGUMENT, "The request has no structured_query.");
  STATUS_TRY(query_request_parse(ret_parent, request->structured_query, arena, &q->request));
  /* The SDKs read create_time and update_time of a projection of names too, and they are the document's. */
  q->request.query.names_only = false;
  q->explain = request->explain_options != NULL;
  q->analyze = q->explain && request->explain_options->analyze;
  STATUS_TRY(find_projected(q, arena));
  void *memory = arena_alloc(arena, q->request.mask == NULL ? 0 : SCRATCH_BYTES);
  if (memory == NULL)
    return no_memory();
  arena_init(&q->scratch, memory, q->request.mask == NULL ? 0 : SCRATCH_BYTES, LIMIT_CALL_ARENA_BYTES);
  q->scratch.budget = arena->budget;
  return status_ok();
}

void firestore_run_query(struct rpc_call *call, const Google__Firestore__V1__RunQueryRequest *request) {
  struct run_query *q = ARENA_NEW(rpc_call_arena(call), struct run_query);
  if (q == NULL) {
    rpc_call_finish(call, no_memory());
    return;
  }
  arena_init(&q->scratch, NULL, 0, 0);
  struct query_selector selector = selector_of(request);
  struct doc_path parent;
  status result = parse(call, request, q, &parent);
  if (status_is_ok(&result))
    result = query_call_begin(call, &parent, &selector, &q->reading);
  if (status_is_ok(&result))
    result = query_call_judge(call, q->caller, &parent, &q->request.query);
  if (status_is_ok(&result))
    result = query_run_open(&q->request.query, &q->reading.run_options, rpc_call_arena(call), &q->run);
  if (!status_is_ok(&result)) {
    end(call, q, result);
    return;
  }
  rpc_call_watch(call, &events, q);
  pump(call, q);
}
