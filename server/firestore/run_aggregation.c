/* RunAggregationQuery: numbers over what a query finds, as a stream of one response. */
#include "base/wire.h"
#include "server/firestore/handlers.h"
#include "server/firestore/query_call.h"
#include "server/firestore/query_request.h"
#include "storage/document/codec.h"

struct run_aggregation {
  const struct access_caller *caller;
  struct query_call reading;
  struct query_request request;
  struct query_aggregate aggregates[QUERY_AGGREGATES_MAX];
  str aliases[QUERY_AGGREGATES_MAX];
  size_t count;
  struct query_aggregation *work; /* NULL: closed */
  bool explain, analyze;
};

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the response.");
}

/* ---- The response ---- */

enum { ENTRY_KEY_FIELD = 1, ENTRY_VALUE_FIELD = 2 };

/* One entry of AggregationResult.aggregate_fields. */
static status encode_entry(str alias, const struct doc_value *value, struct arena *arena,
                           ProtobufCBinaryData *ret) {
  str encoded;
  STATUS_TRY(doc_encode_value(value, arena, &encoded));
  size_t size = wire_bytes_field_size(ENTRY_KEY_FIELD, alias.len) +
                wire_bytes_field_size(ENTRY_VALUE_FIELD, encoded.len);
  uint8_t *bytes = arena_alloc(arena, size);
  if (bytes == NULL)
    return no_memory();
  wire_put_bytes(wire_put_bytes(bytes, ENTRY_KEY_FIELD, alias), ENTRY_VALUE_FIELD, encoded);
  *ret = (ProtobufCBinaryData){.data = bytes, .len = size};
  return status_ok();
}

static status encode_result(const struct run_aggregation *a, struct arena *arena,
                            Google__Firestore__V1__AggregationResult *ret) {
  struct doc_value values[QUERY_AGGREGATES_MAX];
  query_aggregation_results(a->work, values);
  ret->aggregate_fields = ARENA_NEW_ARRAY(arena, ProtobufCBinaryData, a->count);
  if (ret->aggregate_fields == NULL)
    return no_memory();
  ret->n_aggregate_fields = a->count;
  for (size_t i = 0; i < a->count; i++)
    STATUS_TRY(encode_entry(a->aliases[i], &values[i], arena, &ret->aggregate_fields[i]));
  return status_ok();
}

/* What was read belongs to the transaction before the client can know the result. */
static status close_work(struct run_aggregation *a) {
  query_call_report(&a->reading, a->work == NULL ? NULL : query_aggregation_run(a->work));
  query_aggregation_close(a->work);
  a->work = NULL;
  return query_call_end(&a->reading);
}

static status make_response(struct rpc_call *call, struct run_aggregation *a, rpc_message *ret) {
  struct arena *arena = rpc_call_arena(call);
  Google__Firestore__V1__RunAggregationQueryResponse response =
      GOOGLE__FIRESTORE__V1__RUN_AGGREGATION_QUERY_RESPONSE__INIT;
  Google__Firestore__V1__AggregationResult result = GOOGLE__FIRESTORE__V1__AGGREGATION_RESULT__INIT;
  Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  struct wire_timestamp t = wire_timestamp_from_us(a->reading.snapshot.version);
  time.seconds = t.seconds;
  time.nanos = t.nanos;
  bool plan_only = a->explain && !a->analyze;
  if (!plan_only) {
    STATUS_TRY(encode_result(a, arena, &result));
    response.result = &result;
    response.read_time = &time;
  }
  if (a->explain) {
    struct query_analyzed analyzed = {.results = 1, .aggregation = true};
    STATUS_TRY(query_call_explain(&a->reading, query_aggregation_run(a->work), plan_only ? NULL : &analyzed,
                                  arena, &response.explain_metrics));
  }
  str id = a->reading.new_transaction;
  response.transaction = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)id.ptr, .len = id.len};
  if (!rpc_message_pack(&response.base, ret))
    return no_memory();
  a->reading.new_transaction = (str){NULL, 0};
  status result_of_transaction = close_work(a);
  if (!status_is_ok(&result_of_transaction))
    rpc_message_discard(ret);
  return result_of_transaction;
}

/* ---- Turns ---- */

static void end(struct rpc_call *call, struct run_aggregation *a, status result) {
  status transaction = close_work(a);
  rpc_call_finish(call, status_is_ok(&result) ? transaction : result);
}

static void work(struct rpc_call *call, void *state) {
  struct run_aggregation *a = state;
  bool done = a->explain && !a->analyze;
  status result = done ? status_ok() : query_aggregation_work(a->work, &done);
  if (status_is_ok(&result) && !done) {
    rpc_call_yield(call);
    return;
  }
  rpc_message message = {0};
  if (status_is_ok(&result))
    result = make_response(call, a, &message);
  /* The queue is empty, so it takes the message, or the client is gone. */
  if (status_is_ok(&result) && rpc_call_send(call, &message) != RPC_SEND_OK) {
    rpc_message_discard(&message);
    result = status_default(STATUS_CANCELLED);
  }
  end(call, a, result);
}

static void cancelled(struct rpc_call *call, void *state) {
  end(call, state, status_default(STATUS_CANCELLED));
}

static const struct rpc_call_events events = {.drained = work, .cancelled = cancelled};

/* ---- The request ---- */

static struct query_selector selector_of(const Google__Firestore__V1__RunAggregationQueryRequest *request) {
  struct query_selector selector = {0};
  switch (request->consistency_selector_case) {
  case GOOGLE__FIRESTORE__V1__RUN_AGGREGATION_QUERY_REQUEST__CONSISTENCY_SELECTOR_TRANSACTION:
    selector.has_transaction = true;
    selector.transaction = request->transaction;
    break;
  case GOOGLE__FIRESTORE__V1__RUN_AGGREGATION_QUERY_REQUEST__CONSISTENCY_SELECTOR_NEW_TRANSACTION:
    selector.new_transaction = request->new_transaction;
    break;
  case GOOGLE__FIRESTORE__V1__RUN_AGGREGATION_QUERY_REQUEST__CONSISTENCY_SELECTOR_READ_TIME:
    selector.read_time = request->read_time;
    break;
  case GOOGLE__FIRESTORE__V1__RUN_AGGREGATION_QUERY_REQUEST__CONSISTENCY_SELECTOR__NOT_SET:
  default:
    break;
  }
  return selector;
}

static status parse(struct rpc_call *call, const Google__Firestore__V1__RunAggregationQueryRequest *request,
                    struct run_aggregation *a, struct doc_path *ret_parent) {
  const struct firestore_service *service = request_service(call);
  struct arena *arena = rpc_call_arena(call);
  STATUS_TRY(request_parent(service, request->parent, REQUEST_READS, ret_parent));
  STATUS_TRY(access_enter(service->options.access, call, ACCESS_READ, ret_parent, &a->caller));
  const Google__Firestore__V1__StructuredAggregationQuery *wire =
      request->query_type_case ==
              GOOGLE__FIRESTORE__V1__RUN_AGGREGATION_QUERY_REQUEST__QUERY_TYPE_STRUCTURED_AGGREGATION_QUERY
          ? request->structured_aggregation_query
          : NULL;
  if (wire == NULL || wire->query_type_case !=
                          GOOGLE__FIRESTORE__V1__STRUCTURED_AGGREGATION_QUERY__QUERY_TYPE_STRUCTURED_QUERY)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "The request has no structured_aggregation_query with a structured_query.");
  STATUS_TRY(query_request_parse(ret_parent, wire->structured_query, arena, &a->request));
  STATUS_TRY(query_request_parse_aggregates(wire, arena, a->aggregates, a->aliases, &a->count));
  a->explain = request->explain_options != NULL;
  a->analyze = a->explain && request->explain_options->analyze;
  return status_ok();
}

void firestore_run_aggregation_query(struct rpc_call *call,
                                     const Google__Firestore__V1__RunAggregationQueryRequest *request) {
  struct run_aggregation *a = ARENA_NEW(rpc_call_arena(call), struct run_aggregation);
  if (a == NULL) {
    rpc_call_finish(call, no_memory());
    return;
  }
  struct query_selector selector = selector_of(request);
  struct doc_path parent;
  status result = parse(call, request, a, &parent);
  if (status_is_ok(&result))
    result = query_call_begin(call, &parent, &selector, &a->reading);
  if (status_is_ok(&result))
    result = query_call_judge(call, a->caller, &parent, &a->request.query);
  if (status_is_ok(&result))
    result = query_aggregation_open(&a->request.query, a->aggregates, a->count, &a->reading.run_options,
                                    rpc_call_arena(call), &a->work);
  if (!status_is_ok(&result)) {
    end(call, a, result);
    return;
  }
  rpc_call_watch(call, &events, a);
  work(call, a);
}
