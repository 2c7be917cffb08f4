#include "storage/query/aggregate.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/limits.h"
#include "storage/document/codec.h"
#include "storage/document/value_order.h"
#include "storage/index/entry.h"
#include "storage/query/match.h"
#include "storage/query/run_internal.h"
#include "storage/query/sum.h"

struct query_aggregation {
  const struct query_aggregate *aggregates;
  size_t count;
  struct query query; /* as asked, with the fields as orders */
  struct query_run *run;

  /* The different fields that are summed or averaged. */
  const struct doc_field_path *fields[QUERY_AGGREGATES_MAX];
  struct query_sum sums[QUERY_AGGREGATES_MAX];
  size_t field_count;
  str names[QUERY_AGGREGATES_MAX]; /* their top-level names, sorted, each once */
  size_t name_count;

  bool covered;       /* values come from index entries */
  uint64_t rows, max; /* that count, and how many suffice */
  bool done;
  struct arena scratch; /* a row's fields */
  _Alignas(max_align_t) char first_block[4096];
};

/* ---- Opening ---- */

static size_t field_number(const struct query_aggregation *a, const struct doc_field_path *field) {
  size_t at = 0;
  while (at < a->field_count && doc_field_path_compare(a->fields[at], field) != 0)
    at++;
  return at;
}

/* In lexicographic order, as they become orders. */
static void add_field(struct query_aggregation *a, const struct doc_field_path *field) {
  if (field_number(a, field) < a->field_count)
    return;
  size_t at = a->field_count++;
  for (; at > 0 && doc_field_path_compare(a->fields[at - 1], field) > 0; at--)
    a->fields[at] = a->fields[at - 1];
  a->fields[at] = field;
}

static void add_name(struct query_aggregation *a, str name) {
  size_t at = 0;
  while (at < a->name_count && str_cmp(a->names[at], name) < 0)
    at++;
  if (at < a->name_count && str_eq(a->names[at], name))
    return;
  memmove(&a->names[at + 1], &a->names[at], (a->name_count - at) * sizeof a->names[0]);
  a->names[at] = name;
  a->name_count++;
}

static void gather(struct query_aggregation *a) {
  uint64_t max = 0;
  bool bounded = true;
  for (size_t i = 0; i < a->count; i++) {
    const struct query_aggregate *one = &a->aggregates[i];
    bounded = bounded && one->op == QUERY_COUNT && one->up_to > 0;
    if (one->op == QUERY_COUNT) {
      max = (uint64_t)one->up_to > max ? (uint64_t)one->up_to : max;
      continue;
    }
    add_field(a, &one->field);
    add_name(a, one->field.segments[0]);
  }
  a->max = bounded ? max : UINT64_MAX;
}

static bool is_order(const struct query *query, const struct doc_field_path *field) {
  for (size_t i = 0; i < query->order_count; i++)
    if (!query->orders[i].field.is_name && doc_field_path_compare(&query->orders[i].field.path, field) == 0)
      return true;
  return false;
}

/* Where the fields cannot be orders: rows without them are passed over. */
static bool orders_are_fixed(const struct query *query) {
  bool positions = query->has_limit || query->offset > 0 || query->start.count > 0 || query->end.count > 0;
  bool ends_with_name = query->explicit_order_count == query->order_count;
  return query->nearest != NULL || (ends_with_name && positions);
}

static status add_orders(struct query_aggregation *a, struct arena *arena) {
  struct query *query = &a->query;
  if (a->field_count == 0 || orders_are_fixed(query))
    return status_ok();
  struct query_order *orders =
      ARENA_NEW_ARRAY(arena, struct query_order, query->order_count + QUERY_AGGREGATES_MAX);
  if (orders == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  struct query_order name = query->orders[query->order_count - 1];
  assert(name.field.is_name);
  size_t count = query->order_count - 1;
  memcpy(orders, query->orders, count * sizeof *orders);
  for (size_t i = 0; i < a->field_count; i++)
    if (!is_order(query, a->fields[i]))
      orders[count++] = (struct query_order){.field.path = *a->fields[i], .descending = name.descending};
  orders[count++] = name;
  query->orders = orders;
  query->order_count = count;
  return status_ok();
}

static status open_run(struct query_aggregation *a, const struct query_run_options *options,
                       struct arena *arena) {
  /* The rows of find_nearest come sorted by distance, from documents. */
  if (a->query.nearest != NULL)
    return query_run_open(&a->query, options, arena, &a->run);
  return query_run_open_values(&a->query, a->fields, a->field_count, options, arena, &a->run, &a->covered);
}

status query_aggregation_open(const struct query *query, const struct query_aggregate *aggregates,
                              size_t count, const struct query_run_options *options, struct arena *arena,
                              struct query_aggregation **ret) {
  assert(count >= 1 && count <= QUERY_AGGREGATES_MAX);
  struct query_aggregation *a = ARENA_NEW(arena, struct query_aggregation);
  if (a == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  a->aggregates = aggregates;
  a->count = count;
  a->query = *query;
  gather(a);
  a->query.names_only = a->field_count == 0;
  STATUS_TRY(add_orders(a, arena));
  STATUS_TRY(open_run(a, options, arena));
  arena_init(&a->scratch, a->first_block, sizeof a->first_block, LIMIT_CALL_ARENA_BYTES);
  a->scratch.budget = options->budget;
  *ret = a;
  return status_ok();
}

/* ---- Rows ---- */

static void add_encoded(struct query_sum *sum, const struct query_value *value) {
  double number;
  bool is_whole;
  int64_t integer;
  if (!doc_order_number(value->encoded, &number, &is_whole, &integer))
    return;
  if (is_whole && (value->flags & INDEX_INTEGER) != 0)
    query_sum_add_integer(sum, integer);
  else
    query_sum_add_double(sum, number);
}

static status add_record(struct query_aggregation *a, const struct doc_record *record) {
  struct doc_map fields;
  const struct doc_value *values[QUERY_AGGREGATES_MAX];
  arena_reset(&a->scratch);
  STATUS_TRY(doc_decode_some_fields(record->fields, a->names, a->name_count, &a->scratch, &fields));
  for (size_t i = 0; i < a->field_count; i++) {
    values[i] = query_field_get(fields, a->fields[i]);
    if (values[i] == NULL)
      return status_ok();
  }
  for (size_t i = 0; i < a->field_count; i++)
    query_sum_add(&a->sums[i], values[i]);
  a->rows++;
  return status_ok();
}

static status add_row(struct query_aggregation *a, const struct query_row *row) {
  if (a->field_count > 0 && !a->covered)
    return add_record(a, &row->record);
  const struct query_value *values = a->field_count > 0 ? query_run_values(a->run) : NULL;
  for (size_t i = 0; i < a->field_count; i++)
    add_encoded(&a->sums[i], &values[i]);
  a->rows++;
  return status_ok();
}

static status work_over_rows(struct query_aggregation *a) {
  struct query_row row;
  enum query_step step;
  /* A row for each entry is a turn as well. */
  for (size_t i = 0; i < QUERY_TURN_ENTRIES; i++) {
    STATUS_TRY(query_run_next(a->run, &step, &row));
    if (step == QUERY_ROW) {
      STATUS_TRY(add_row(a, &row));
      continue;
    }
    a->done = step == QUERY_END;
    break;
  }
  return status_ok();
}

static status work_counting(struct query_aggregation *a) {
  uint64_t more = 0;
  STATUS_TRY(query_run_count(a->run, a->max - a->rows, &more, &a->done));
  a->rows += more;
  a->done = a->done || a->rows == a->max;
  return status_ok();
}

status query_aggregation_work(struct query_aggregation *aggregation, bool *ret_done) {
  assert(!aggregation->done);
  STATUS_TRY(aggregation->field_count == 0 ? work_counting(aggregation) : work_over_rows(aggregation));
  *ret_done = aggregation->done;
  return status_ok();
}

/* ---- The end ---- */

static struct doc_value count_value(uint64_t rows, int64_t up_to) {
  int64_t count = up_to > 0 && rows > (uint64_t)up_to ? up_to : (int64_t)rows;
  return (struct doc_value){.type = DOC_INTEGER, .as.integer = count};
}

static struct doc_value result_of(const struct query_aggregation *a, const struct query_aggregate *one) {
  switch (one->op) {
  case QUERY_COUNT:
    return count_value(a->rows, one->up_to);
  case QUERY_SUM:
    return query_sum_value(&a->sums[field_number(a, &one->field)]);
  case QUERY_AVERAGE:
    return query_sum_average(&a->sums[field_number(a, &one->field)]);
  }
  abort(); /* not an operator of aggregate.h */
}

void query_aggregation_results(const struct query_aggregation *aggregation, struct doc_value *ret) {
  assert(aggregation->done);
  for (size_t i = 0; i < aggregation->count; i++)
    ret[i] = result_of(aggregation, &aggregation->aggregates[i]);
}

void query_aggregation_pause(struct query_aggregation *aggregation) {
  query_run_pause(aggregation->run);
}

const struct query_run *query_aggregation_run(const struct query_aggregation *aggregation) {
  return aggregation->run;
}

void query_aggregation_close(struct query_aggregation *aggregation) {
  if (aggregation == NULL)
    return;
  query_run_close(aggregation->run);
  arena_fini(&aggregation->scratch);
}
