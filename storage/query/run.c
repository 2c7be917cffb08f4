/* A run: the plan's streams put together (stream.h), and rows made of what comes out. */
#include "storage/query/run.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "storage/query/nearest.h"
#include "storage/query/sorter.h"
#include "storage/query/stream.h"

enum {
  MEMORY_MAX_BYTES = 8 * 1024 * 1024,
  /* What a run and each of its branches keep: positions, batches, scratch memory. */
  RUN_BYTES = 16 * 1024,
  BRANCH_BYTES = 16 * 1024,
  ROW_ARENA_MAX_BYTES = 64 * 1024 * 1024, /* a document as a tree and encoded again (nearest) */
};
#define SPILL_MAX_BYTES (UINT64_C(1) << 30)

struct query_run {
  struct stream_context context;
  struct query_plan *plan;
  struct index_catalog *catalog;
  struct stream *stream;
  size_t charged_bytes; /* to the budget, for the run itself */
  struct buf name;
  size_t name_base;  /* of it: the plan's place */
  struct arena rows; /* for nearest's records */
  bool ended;
};

bool stream_memory_take(struct stream_context *context, size_t bytes) {
  if (bytes > context->memory_max - context->memory_used)
    return false;
  if (context->budget != NULL && !memory_budget_take(context->budget, bytes))
    return false;
  context->memory_used += bytes;
  return true;
}

void stream_memory_give(struct stream_context *context, size_t bytes) {
  assert(bytes <= context->memory_used);
  context->memory_used -= bytes;
  if (context->budget != NULL)
    memory_budget_give(context->budget, bytes);
}

/* ---- Putting streams together ---- */

static bool needs_documents(const struct query_plan *plan, const struct plan_branch *branch) {
  return plan->sorts || branch->filter_count > 0 || branch->existing_count > 0;
}

/* Whether the items of the branches come with records to the end. */
static enum stream_records records_of(const struct query_plan *plan, bool wants_records) {
  if (plan->sorts)
    return wants_records || plan->query->nearest != NULL ? STREAM_SOME_RECORDS : STREAM_NO_RECORDS;
  bool reads = plan->branch_count == 1 &&
               (plan->branches[0].source == PLAN_DOCUMENTS || needs_documents(plan, &plan->branches[0]));
  return reads ? STREAM_ALL_RECORDS : STREAM_NO_RECORDS;
}

static status open_branch(struct query_run *run, const struct plan_branch *branch,
                          const struct stream_value_source *sources, struct stream **ret) {
  struct stream_context *context = &run->context;
  bool has_records = branch->source == PLAN_DOCUMENTS;
  struct stream *stream;
  STATUS_TRY(has_records ? stream_documents_open(context, branch, &stream)
                         : stream_index_open(context, branch, sources, &stream));
  if (needs_documents(run->plan, branch))
    STATUS_TRY(stream_fetch_open(context, stream, branch,
                                 has_records ? STREAM_ALL_RECORDS : STREAM_NO_RECORDS, run->plan->sorts,
                                 &stream));
  *ret = stream;
  return status_ok();
}

/* The plan's sort may forget all but the first of so many. */
static uint64_t best_of(const struct query *query) {
  bool fits = query->has_limit && query->limit <= SORTER_BEST_MAX && query->offset <= SORTER_BEST_MAX;
  return fits ? (uint64_t)(query->offset + query->limit) : 0;
}

static status open_branches(struct query_run *run, const struct stream_value_source *sources,
                            bool keeps_records, struct stream **ret) {
  const struct query_plan *plan = run->plan;
  struct stream **streams = calloc(plan->branch_count + 1, sizeof *streams);
  if (streams == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  status result = status_ok();
  size_t count = 0;
  while (count < plan->branch_count && status_is_ok(&result)) {
    result = open_branch(run, &plan->branches[count], sources, &streams[count]);
    if (status_is_ok(&result))
      count++;
  }
  if (!status_is_ok(&result)) {
    for (size_t i = 0; i < count; i++)
      stream_close(streams[i]);
  } else if (plan->sorts) {
    result = stream_sort_open(&run->context, streams, count, best_of(plan->query), keeps_records, ret);
  } else if (count != 1) {
    result = stream_union_open(&run->context, streams, count, ret);
  } else {
    *ret = streams[0];
  }
  free(streams);
  return result;
}

static status open_streams(struct query_run *run, const struct stream_value_source *sources,
                           bool wants_records) {
  const struct query *query = run->plan->query;
  struct stream_context *context = &run->context;
  enum stream_records records = records_of(run->plan, wants_records);
  struct stream *stream;
  STATUS_TRY(open_branches(run, sources, records == STREAM_SOME_RECORDS, &stream));
  if (query->has_limit || query->offset > 0)
    STATUS_TRY(stream_limit_open(context, stream, &stream));
  if (query->nearest != NULL) {
    if (records != STREAM_ALL_RECORDS)
      STATUS_TRY(stream_fetch_open(context, stream, NULL, records, false, &stream));
    STATUS_TRY(stream_nearest_open(context, stream, &stream));
    records = STREAM_SOME_RECORDS;
  }
  if (wants_records && records != STREAM_ALL_RECORDS)
    STATUS_TRY(stream_fetch_open(context, stream, NULL, records, false, &stream));
  run->stream = stream;
  return status_ok();
}

/* ---- Opening ---- */

static void context_init(struct query_run *run, const struct query_run_options *options) {
  const struct query *query = run->plan->query;
  bool has_few = query->has_limit && query->limit < INT64_MAX - query->offset;
  run->context = (struct stream_context){
      .snapshot = options->snapshot,
      .plan = run->plan,
      .sort_keys = !run->plan->sorts && run->plan->branch_count > 1,
      .rows_wanted = has_few ? (uint64_t)(query->offset + query->limit) : UINT64_MAX,
      .budget = options->budget,
      .memory_max = options->memory_bytes_max > 0 ? options->memory_bytes_max : MEMORY_MAX_BYTES,
      .sorters = run->plan->sorts && query->nearest != NULL ? 2 : 1,
      .spill_directory = options->spill_directory,
      .spill_max = options->spill_bytes_max > 0 ? options->spill_bytes_max : SPILL_MAX_BYTES,
  };
  if (options->reads != NULL)
    run->context.reads = *options->reads;
}

/* Whether the order decides what is in the answer. */
static bool order_matters(const struct query *query) {
  return query->has_limit || query->offset > 0 || query->start.count > 0 || query->end.count > 0;
}

static status run_open(const struct query *query, const struct query_run_options *options, bool any_order,
                       struct arena *arena, struct query_run **ret) {
  struct plan_options plan_options = {options->catalog, options->snapshot.version, options->mode, any_order};
  struct query_plan *plan;
  STATUS_TRY(query_plan_make(query, &plan_options, arena, &plan));
  size_t charge = RUN_BYTES + plan->branch_count * BRANCH_BYTES;
  if (options->budget != NULL && !memory_budget_take(options->budget, charge))
    return status_make(STATUS_RESOURCE_EXHAUSTED,
                       "The server's memory for calls is used up. Please try again later.");
  struct query_run *run = calloc(1, sizeof *run);
  if (run == NULL) {
    if (options->budget != NULL)
      memory_budget_give(options->budget, charge);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  run->plan = plan;
  run->charged_bytes = charge;
  run->catalog = index_catalog_ref(options->catalog);
  context_init(run, options);
  arena_init(&run->rows, NULL, 0, ROW_ARENA_MAX_BYTES);
  run->rows.budget = options->budget;
  buf_append_str(&run->name, plan->where.name);
  run->name_base = run->name.len;
  *ret = run;
  return status_ok();
}

status query_run_open(const struct query *query, const struct query_run_options *options, struct arena *arena,
                      struct query_run **ret) {
  struct query_run *run;
  STATUS_TRY(run_open(query, options, query->nearest != NULL && !order_matters(query), arena, &run));
  status result = open_streams(run, NULL, !query->names_only);
  if (!status_is_ok(&result)) {
    query_run_close(run);
    return result;
  }
  *ret = run;
  return result;
}

/* ---- Values for aggregations ---- */

/* The equality that a field has in the only conjunction. */
static const struct doc_value *equal_value(const struct query *query, const struct doc_field_path *field) {
  const struct query_conjunction *all = &query->conjunctions[0];
  for (size_t i = 0; i < all->filter_count; i++)
    if (all->filters[i]->op == QUERY_EQUAL && !all->filters[i]->field.is_name &&
        doc_field_path_compare(&all->filters[i]->field.path, field) == 0)
      return &all->filters[i]->operand;
  return NULL;
}

/* Where the branch's indexes have the field. */
static bool find_column(const struct plan_branch *branch, const struct doc_field_path *field,
                        struct stream_value_source *ret) {
  for (size_t i = 0; i < branch->scan_count; i++) {
    const struct index_shape *shape = branch->scans[i].shape;
    for (size_t k = 0; k < shape->column_count; k++)
      if (!shape->columns[k].elements && doc_field_path_compare(&shape->columns[k].field, field) == 0 &&
          (i == 0 || k < branch->scans[i].equality_columns)) {
        *ret = (struct stream_value_source){i, k};
        return true;
      }
  }
  return false;
}

static status cover_field(struct query_run *run, const struct doc_field_path *field, struct arena *arena,
                          struct stream_value_source *ret_source, struct query_value *ret,
                          bool *ret_covered) {
  const struct query_plan *plan = run->plan;
  const struct plan_branch *branch = &plan->branches[0];
  *ret_covered = plan->branch_count == 1 && plan->query->conjunction_count == 1 &&
                 branch->source == PLAN_INDEX && !needs_documents(plan, branch) &&
                 find_column(branch, field, ret_source);
  if (!*ret_covered || ret_source->column >= branch->scans[ret_source->scan].equality_columns)
    return status_ok();
  const struct doc_value *equal = equal_value(plan->query, field);
  struct buf encoded = {0};
  bool truncated;
  assert(equal != NULL);
  doc_order_encode(equal, DOC_ASCENDING, &encoded, &truncated);
  ret->encoded = encoded.failed ? (str){0} : arena_str_copy(arena, buf_str(&encoded));
  buf_fini(&encoded);
  return ret->encoded.ptr == NULL ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

static status open_values(struct query_run *run, const struct doc_field_path *const *fields, size_t count,
                          struct arena *arena, bool *ret_covered) {
  struct stream_value_source *sources = ARENA_NEW_ARRAY(arena, struct stream_value_source, count);
  struct query_value *values = ARENA_NEW_ARRAY(arena, struct query_value, count);
  if (sources == NULL || values == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  bool covered = true;
  for (size_t i = 0; i < count && covered; i++)
    STATUS_TRY(cover_field(run, fields[i], arena, &sources[i], &values[i], &covered));
  if (covered) {
    run->context.values = values;
    run->context.value_count = count;
  }
  *ret_covered = covered;
  return open_streams(run, covered && count > 0 ? sources : NULL, !covered);
}

status query_run_open_values(const struct query *query, const struct doc_field_path *const *fields,
                             size_t field_count, const struct query_run_options *options, struct arena *arena,
                             struct query_run **ret, bool *ret_covered) {
  struct query_run *run;
  STATUS_TRY(run_open(query, options, !order_matters(query), arena, &run));
  status result = open_values(run, fields, field_count, arena, ret_covered);
  if (!status_is_ok(&result)) {
    query_run_close(run);
    return result;
  }
  *ret = run;
  return result;
}

const struct query_value *query_run_values(const struct query_run *run) {
  return run->context.values;
}

/* ---- Rows ---- */

static status make_row(struct query_run *run, const struct stream_item *item, struct query_row *ret) {
  const struct query_plan *plan = run->plan;
  const struct query_nearest *nearest = plan->query->nearest;
  run->name.len = run->name_base;
  if (!str_has_prefix(item->key, plan->where_key) ||
      !doc_key_append_names(str_from(item->key, plan->where_key.len), &run->name))
    return status_make(STATUS_DATA_LOSS, "The stored name of a document is damaged. Run `skerry verify`.");
  if (run->name.failed)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  struct query_row row = {.key = item->key, .name = buf_str(&run->name)};
  if (item->record.len > 0)
    STATUS_TRY(doc_record_decode(item->record, &row.record));
  if (nearest != NULL) {
    row.distance = nearest_take_distance(nearest, item->sort_key);
    arena_reset(&run->rows);
    if (item->record.len > 0)
      STATUS_TRY(
          nearest_add_result(nearest, row.distance, row.record.fields, &run->rows, &row.record.fields));
  }
  *ret = row;
  return status_ok();
}

status query_run_next(struct query_run *run, enum query_step *ret_step, struct query_row *ret) {
  assert(!run->ended);
  enum stream_step step;
  struct stream_item item;
  run->context.work_left = QUERY_TURN_ENTRIES;
  STATUS_TRY(stream_next(run->stream, &step, &item));
  if (step == STREAM_ITEM) {
    STATUS_TRY(make_row(run, &item, ret));
    run->context.stats.rows++;
  }
  run->ended = step == STREAM_END;
  *ret_step = step == STREAM_ITEM ? QUERY_ROW : step == STREAM_TURN ? QUERY_TURN : QUERY_END;
  return status_ok();
}

status query_run_count(struct query_run *run, uint64_t max, uint64_t *ret_count, bool *ret_done) {
  assert(!run->ended);
  uint64_t count = 0;
  enum stream_step step = STREAM_ITEM;
  run->context.work_left = QUERY_TURN_ENTRIES;
  while (count < max && step == STREAM_ITEM) {
    struct stream_item item;
    STATUS_TRY(stream_next(run->stream, &step, &item));
    count += step == STREAM_ITEM;
  }
  run->context.stats.rows += count;
  run->ended = step == STREAM_END;
  *ret_count = count;
  *ret_done = run->ended;
  return status_ok();
}

void query_run_pause(struct query_run *run) {
  stream_pause(run->stream);
}

void query_run_close(struct query_run *run) {
  if (run == NULL)
    return;
  stream_close(run->stream);
  assert(run->context.memory_used == 0);
  if (run->context.budget != NULL)
    memory_budget_give(run->context.budget, run->charged_bytes);
  index_catalog_unref(run->catalog);
  buf_fini(&run->name);
  arena_fini(&run->rows);
  free(run);
}

/* ---- About the run ---- */

void query_run_stats(const struct query_run *run, struct query_stats *ret) {
  *ret = run->context.stats;
}

size_t query_run_used_indexes(const struct query_run *run, const struct query_used_index **ret) {
  *ret = run->plan->used;
  return run->plan->used_count;
}

status query_run_describe(const struct query_run *run, struct arena *arena, str *ret) {
  struct query_stats stats;
  str plan;
  query_run_stats(run, &stats);
  STATUS_TRY(query_plan_format(run->plan, arena, &plan));
  str text = arena_printf(arena,
                          STR_FMT "; %" PRIu64 " index entries and %" PRIu64 " documents read, %" PRIu64
                                  " rows, %" PRIu64 " skipped, %" PRIu64 " bytes spilled%s",
                          STR_ARG(plan), stats.index_entries, stats.documents, stats.rows, stats.skipped,
                          stats.spilled_bytes, run->plan->missing.len > 0 ? "; an index is missing" : "");
  if (text.ptr == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  *ret = text;
  return status_ok();
}

str query_run_missing_index(const struct query_run *run) {
  return run->plan->missing;
}
