/* A handler's query into the query that the Firestore service runs. */
#include "server/embed/documents_inside.h"
#include "storage/index/set.h"
#include "storage/query/run.h"

static const enum query_op ops[] = {
    [SKERRY_EQUAL] = QUERY_EQUAL,     [SKERRY_NOT_EQUAL] = QUERY_NOT_EQUAL,
    [SKERRY_LESS] = QUERY_LESS,       [SKERRY_LESS_OR_EQUAL] = QUERY_LESS_OR_EQUAL,
    [SKERRY_GREATER] = QUERY_GREATER, [SKERRY_GREATER_OR_EQUAL] = QUERY_GREATER_OR_EQUAL,
    [SKERRY_IN] = QUERY_IN,           [SKERRY_ARRAY_CONTAINS] = QUERY_ARRAY_CONTAINS,
};

static status make_field(const char *text, struct arena *arena, struct query_field *ret) {
  str path = str_from_cstr(text);
  *ret = (struct query_field){.is_name = doc_field_path_is_name(path)};
  return ret->is_name ? status_ok() : doc_field_path_parse(path, arena, &ret->path);
}

static status make_filter(const struct skerry_filter *from, struct arena *arena, struct query_filter *ret) {
  if ((size_t)from->op >= sizeof ops / sizeof ops[0])
    return status_make(STATUS_INVALID_ARGUMENT, "A filter has an unknown operator.");
  *ret = (struct query_filter){.kind = QUERY_FIELD_FILTER, .op = ops[from->op]};
  STATUS_TRY(make_field(from->field, arena, &ret->field));
  if (ret->field.is_name)
    return status_make(STATUS_INVALID_ARGUMENT, "__name__ orders, it does not filter: read by the path.");
  STATUS_TRY(fields_check_operand(&from->value, arena, &ret->operand));
  if (ret->op == QUERY_IN && ret->operand.type != DOC_ARRAY)
    return status_make(STATUS_INVALID_ARGUMENT, "The value of SKERRY_IN is an array.");
  /* In queries, comparing with null is an operator of its own. */
  if (ret->operand.type == DOC_NULL && (ret->op == QUERY_EQUAL || ret->op == QUERY_NOT_EQUAL))
    ret->op = ret->op == QUERY_EQUAL ? QUERY_IS_NULL : QUERY_IS_NOT_NULL;
  return status_ok();
}

static status make_where(const struct skerry_query *from, struct arena *arena, struct query *query) {
  if (from->filter_count == 0)
    return status_ok();
  struct query_filter *filters = ARENA_NEW_ARRAY(arena, struct query_filter, from->filter_count);
  struct query_filter *all = ARENA_NEW(arena, struct query_filter);
  if (filters == NULL || all == NULL)
    return documents_no_memory();
  for (size_t i = 0; i < from->filter_count; i++)
    STATUS_TRY(make_filter(&from->filters[i], arena, &filters[i]));
  *all = (struct query_filter){.kind = QUERY_AND, .filters = filters, .filter_count = from->filter_count};
  query->where = from->filter_count == 1 ? filters : all;
  return status_ok();
}

static status make_orders(const struct skerry_query *from, struct arena *arena, struct query *query) {
  struct query_order *orders = ARENA_NEW_ARRAY(arena, struct query_order, from->order_count);
  if (orders == NULL)
    return documents_no_memory();
  for (size_t i = 0; i < from->order_count; i++) {
    orders[i].descending = from->orders[i].descending;
    STATUS_TRY(make_field(from->orders[i].field, arena, &orders[i].field));
  }
  query->orders = orders;
  query->order_count = from->order_count;
  return status_ok();
}

/* For __name__ a cursor has the document's path, which becomes its full name. */
static status make_cursor_value(const struct documents_reading *reading, const struct query_field *field,
                                const struct doc_value *from, struct doc_value *ret) {
  if (!field->is_name)
    return fields_check_operand(from, reading->arena, ret);
  struct doc_path path;
  if (from->type != DOC_STRING)
    return status_make(STATUS_INVALID_ARGUMENT, "The cursor's value for __name__ is a document's path.");
  STATUS_TRY(documents_path(reading->documents, from->as.text, reading->arena, &path));
  *ret = (struct doc_value){.type = DOC_REFERENCE, .as.text = path.name};
  return status_ok();
}

static status make_cursor(const struct documents_reading *reading, const struct skerry_query *from,
                          struct query *query) {
  if (from->after_count == 0)
    return status_ok();
  if (from->after_count > from->order_count)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "A query's cursor has more values than the query has orders.");
  struct doc_value *values = ARENA_NEW_ARRAY(reading->arena, struct doc_value, from->after_count);
  if (values == NULL)
    return documents_no_memory();
  for (size_t i = 0; i < from->after_count; i++)
    STATUS_TRY(make_cursor_value(reading, &query->orders[i].field, &from->after[i], &values[i]));
  query->start = (struct query_cursor){.values = values, .count = from->after_count, .before = false};
  return status_ok();
}

static status make_parent(const struct documents_reading *reading, const char *parent, struct doc_path *ret) {
  if (parent != NULL && *parent != '\0')
    return documents_path(reading->documents, str_from_cstr(parent), reading->arena, ret);
  *ret = reading->documents->root;
  return status_ok();
}

static status make_query(const struct documents_reading *reading, const struct skerry_query *from,
                         struct query *ret) {
  if (from->limit < 1 || from->limit > SKERRY_QUERY_LIMIT_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "A query's limit is 1 to %d.", (int)SKERRY_QUERY_LIMIT_MAX);
  if (from->filter_count > SKERRY_QUERY_PARTS_MAX || from->order_count > SKERRY_QUERY_PARTS_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "A query has at most %d filters and as many orders.",
                       (int)SKERRY_QUERY_PARTS_MAX);
  *ret = (struct query){.collection_id = str_from_cstr(from->collection),
                        .all_descendants = from->all_descendants,
                        .has_limit = true,
                        .limit = from->limit};
  STATUS_TRY(doc_collection_id_check(ret->collection_id));
  STATUS_TRY(make_parent(reading, from->parent, &ret->parent));
  STATUS_TRY(make_where(from, reading->arena, ret));
  STATUS_TRY(make_orders(from, reading->arena, ret));
  STATUS_TRY(make_cursor(reading, from, ret));
  return query_prepare(ret, reading->arena);
}

/* ---- Running it ---- */

struct answer {
  struct skerry_document *documents;
  size_t count;
};

static status read_rows(const struct documents_reading *reading, struct query_run *run, size_t limit,
                        struct answer *ret) {
  size_t name_start = reading->documents->root.name.len + 1;
  for (;;) {
    enum query_step step;
    struct query_row row;
    STATUS_TRY(query_run_next(run, &step, &row));
    if (step == QUERY_END)
      return status_ok();
    if (step == QUERY_TURN)
      continue;
    if (ret->count == limit)
      return status_make(STATUS_INTERNAL, "A query gave more than its limit.");
    STATUS_TRY(
        documents_found(reading, str_from(row.name, name_start), &row.record, &ret->documents[ret->count]));
    ret->count++;
  }
}

static status run_query(const struct documents_reading *reading, const struct query *query,
                        struct index_catalog *catalog, struct answer *ret) {
  const struct firestore_options *options = &reading->documents->service->options;
  struct query_reads reads;
  if (reading->transaction != NULL)
    reads = transaction_query_reads(reading->transaction);
  struct query_run_options run_options = {.snapshot = reading->snapshot,
                                          .catalog = catalog,
                                          .mode = options->queries.index_mode,
                                          .budget = reading->arena->budget,
                                          .memory_bytes_max = options->queries.memory_bytes_max,
                                          .spill_directory = options->queries.spill_directory,
                                          .spill_bytes_max = options->queries.spill_bytes_max,
                                          .reads = reading->transaction == NULL ? NULL : &reads};
  struct query_run *run;
  STATUS_TRY(query_run_open(query, &run_options, reading->arena, &run));
  status result = read_rows(reading, run, (size_t)query->limit, ret);
  query_run_close(run);
  if (status_is_ok(&result) && reading->transaction != NULL)
    result = transaction_status(reading->transaction); /* whether all of what was read is in its set */
  return result;
}

status documents_query(const struct documents_reading *reading, const struct skerry_query *query,
                       struct skerry_document **ret, size_t *ret_count) {
  struct query prepared;
  struct access_reading judged;
  STATUS_TRY(make_query(reading, query, &prepared));
  STATUS_TRY(access_reading_init(reading->caller, &prepared.parent, false, reading->arena, &judged));
  STATUS_TRY(access_judge_query(&judged, &prepared));
  struct answer answer = {.documents = ARENA_NEW_ARRAY(reading->arena, struct skerry_document, query->limit)};
  if (answer.documents == NULL)
    return documents_no_memory();
  struct index_catalog *catalog = index_set_current(reading->documents->service->options.indexes);
  status result = run_query(reading, &prepared, catalog, &answer);
  index_catalog_unref(catalog);
  if (!status_is_ok(&result))
    return result;
  *ret = answer.documents;
  *ret_count = answer.count;
  return result;
}
