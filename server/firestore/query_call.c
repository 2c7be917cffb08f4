#include "server/firestore/query_call.h"

#include <assert.h>
#include <inttypes.h>

#include "ports/port.h"

/* ---- When to read ---- */

/* The id is kept beside: the transaction may be gone before the client was told. */
static status begin_transaction(struct query_call *query,
                                const Google__Firestore__V1__TransactionOptions *wire) {
  STATUS_TRY(request_begin_transaction(query->service, wire, query->database, &query->transaction));
  str id = transaction_id(query->transaction);
  assert(id.len == sizeof query->id);
  memcpy(query->id, id.ptr, id.len);
  query->new_transaction = str_make(query->id, sizeof query->id);
  return status_ok();
}

static status find_snapshot(struct query_call *query, const struct query_selector *selector) {
  if (selector->new_transaction != NULL) {
    STATUS_TRY(begin_transaction(query, selector->new_transaction));
  } else if (selector->has_transaction) {
    STATUS_TRY(
        request_use_transaction(query->service, selector->transaction, query->database, &query->transaction));
  } else if (selector->version != 0) {
    return kv_snapshot_at(query->service->options.store, selector->version, &query->snapshot);
  } else {
    return request_snapshot(query->service, selector->read_time, &query->snapshot);
  }
  query->snapshot = transaction_snapshot(query->transaction);
  query->reads = transaction_query_reads(query->transaction);
  return status_ok();
}

status query_call_begin(struct rpc_call *call, const struct doc_path *parent,
                        const struct query_selector *selector, struct query_call *ret) {
  struct firestore_service *service = request_service(call);
  const struct firestore_options *options = &service->options;
  *ret = (struct query_call){.call = call,
                             .service = service,
                             .database = request_database_name(parent),
                             .started_us = options->port->monotonic_us(options->port)};
  STATUS_TRY(find_snapshot(ret, selector));
  ret->run_options = (struct query_run_options){.snapshot = ret->snapshot,
                                                .catalog = index_set_current(options->indexes),
                                                .mode = options->queries.index_mode,
                                                .budget = rpc_call_arena(call)->budget,
                                                .memory_bytes_max = options->queries.memory_bytes_max,
                                                .spill_directory = options->queries.spill_directory,
                                                .spill_bytes_max = options->queries.spill_bytes_max,
                                                .reads = ret->transaction == NULL ? NULL : &ret->reads};
  return status_ok();
}

status query_call_judge(struct rpc_call *call, const struct access_caller *caller,
                        const struct doc_path *parent, const struct query *query) {
  struct access_reading judged;
  STATUS_TRY(access_reading_init(caller, parent, false, rpc_call_arena(call), &judged));
  return access_judge_query(&judged, query);
}

status query_call_end(struct query_call *query) {
  index_catalog_unref(query->run_options.catalog);
  query->run_options.catalog = NULL;
  if (query->transaction == NULL)
    return status_ok();
  status result = transaction_status(query->transaction);
  if (query->new_transaction.len > 0)
    transaction_abandon(query->transaction);
  else
    transaction_release(query->transaction);
  query->transaction = NULL;
  return result;
}

static int64_t duration_us(const struct query_call *query) {
  struct port *port = query->service->options.port;
  return port->monotonic_us(port) - query->started_us;
}

void query_call_report(const struct query_call *query, const struct query_run *run) {
  if (run == NULL)
    return;
  str missing = query_run_missing_index(run), plan;
  if (missing.len > 0)
    index_advisor_note(query->service->options.advisor, missing, duration_us(query));
  if (!rpc_call_is_slow(query->call))
    return;
  status described = query_run_describe(run, rpc_call_arena(query->call), &plan);
  if (status_is_ok(&described)) /* without memory the line goes without it */
    rpc_call_note(query->call, plan);
}

/* ---- explain_options ---- */

/* Messages of google.protobuf.Struct in an arena. Everything that is made becomes NULL once there is no
 * memory, and `failed` is true. */
struct builder {
  struct arena *arena;
  bool failed;
};

static void *keep(struct builder *b, void *made) {
  b->failed = b->failed || made == NULL;
  return made;
}

static Google__Protobuf__Struct *new_struct(struct builder *b, size_t fields_max) {
  Google__Protobuf__Struct *made = keep(b, ARENA_NEW(b->arena, Google__Protobuf__Struct));
  if (made == NULL)
    return NULL;
  google__protobuf__struct__init(made);
  made->fields = keep(b, ARENA_NEW_ARRAY(b->arena, Google__Protobuf__Struct__FieldsEntry *, fields_max));
  return made;
}

static Google__Protobuf__Value *add_field(struct builder *b, Google__Protobuf__Struct *to, const char *name) {
  Google__Protobuf__Struct__FieldsEntry *entry =
      keep(b, ARENA_NEW(b->arena, Google__Protobuf__Struct__FieldsEntry));
  Google__Protobuf__Value *value = keep(b, ARENA_NEW(b->arena, Google__Protobuf__Value));
  str key = arena_str_copy(b->arena, str_from_cstr(name));
  if (keep(b, (void *)(uintptr_t)key.ptr) == NULL || b->failed)
    return NULL;
  google__protobuf__struct__fields_entry__init(entry);
  google__protobuf__value__init(value);
  entry->key = (char *)(uintptr_t)key.ptr;
  entry->value = value;
  to->fields[to->n_fields++] = entry;
  return value;
}

static void add_text(struct builder *b, Google__Protobuf__Struct *to, const char *name, str text) {
  Google__Protobuf__Value *value = b->failed ? NULL : add_field(b, to, name);
  str copy = arena_str_copy(b->arena, text);
  if (keep(b, (void *)(uintptr_t)copy.ptr) == NULL || value == NULL)
    return;
  value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
  value->string_value = (char *)(uintptr_t)copy.ptr;
}

/* Numbers are texts there, as production has them: a Struct's own are doubles. */
static void add_number(struct builder *b, Google__Protobuf__Struct *to, const char *name, uint64_t number) {
  add_text(b, to, name, arena_printf(b->arena, "%" PRIu64, number));
}

static Google__Firestore__V1__PlanSummary *plan_summary(struct builder *b, const struct query_run *run) {
  const struct query_used_index *used;
  size_t count = query_run_used_indexes(run, &used);
  Google__Firestore__V1__PlanSummary *plan = keep(b, ARENA_NEW(b->arena, Google__Firestore__V1__PlanSummary));
  Google__Protobuf__Struct **indexes = keep(b, ARENA_NEW_ARRAY(b->arena, Google__Protobuf__Struct *, count));
  if (b->failed)
    return NULL;
  google__firestore__v1__plan_summary__init(plan);
  for (size_t i = 0; i < count; i++) {
    indexes[i] = new_struct(b, 2);
    add_text(b, indexes[i], "query_scope", used[i].scope);
    add_text(b, indexes[i], "properties", used[i].properties);
  }
  plan->indexes_used = indexes;
  plan->n_indexes_used = count;
  return plan;
}

/* What a metered service would charge for: a read for each document, or, where documents are not given, for
 * each thousand index entries; at least one. */
static uint64_t read_operations(const struct query_stats *stats, const struct query_analyzed *analyzed) {
  uint64_t reads = analyzed->aggregation ? (stats->index_entries + 999) / 1000 + stats->documents
                                         : analyzed->results + stats->skipped;
  return reads == 0 ? 1 : reads;
}

static Google__Firestore__V1__ExecutionStats *execution_stats(struct builder *b,
                                                              const struct query_call *query,
                                                              const struct query_run *run,
                                                              const struct query_analyzed *analyzed) {
  int64_t took_us = duration_us(query);
  struct query_stats stats;
  query_run_stats(run, &stats);
  Google__Firestore__V1__ExecutionStats *ret =
      keep(b, ARENA_NEW(b->arena, Google__Firestore__V1__ExecutionStats));
  Google__Protobuf__Duration *duration = keep(b, ARENA_NEW(b->arena, Google__Protobuf__Duration));
  Google__Protobuf__Struct *debug = new_struct(b, 4);
  if (b->failed)
    return NULL;
  google__protobuf__duration__init(duration);
  duration->seconds = took_us / 1000000;
  duration->nanos = (int32_t)(took_us % 1000000) * 1000;
  add_number(b, debug, "documents_scanned", stats.documents);
  add_number(b, debug, "index_entries_scanned", stats.index_entries);
  add_number(b, debug, "results_skipped", stats.skipped);
  add_number(b, debug, "spilled_bytes", stats.spilled_bytes);
  google__firestore__v1__execution_stats__init(ret);
  ret->results_returned = (int64_t)analyzed->results;
  ret->execution_duration = duration;
  ret->read_operations = (int64_t)read_operations(&stats, analyzed);
  ret->debug_stats = debug;
  return ret;
}

status query_call_explain(const struct query_call *query, const struct query_run *run,
                          const struct query_analyzed *analyzed, struct arena *arena,
                          Google__Firestore__V1__ExplainMetrics **ret) {
  struct builder b = {.arena = arena};
  Google__Firestore__V1__ExplainMetrics *metrics =
      keep(&b, ARENA_NEW(arena, Google__Firestore__V1__ExplainMetrics));
  if (metrics != NULL) {
    google__firestore__v1__explain_metrics__init(metrics);
    metrics->plan_summary = plan_summary(&b, run);
    if (analyzed != NULL)
      metrics->execution_stats = execution_stats(&b, query, run, analyzed);
  }
  if (b.failed)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  *ret = metrics;
  return status_ok();
}
