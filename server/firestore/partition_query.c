/* PartitionQuery: cursors that cut a collection group into parts of about the same size.
 *
 * One pass over the names of the group, in turns, keeps every stride-th name; when there are too many of
 * them, every second one is dropped and the stride doubles. So memory is bounded whatever the group holds,
 * and a part is at most a quarter off its share. Pages of one request read one version, so each finds the
 * same cursors. */
#include <stdlib.h>

#include "server/firestore/handlers.h"
#include "server/firestore/list_page.h"
#include "server/firestore/query_request.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"

enum { SAMPLES_A_PARTITION = 4, TURN_ROWS_MAX = 2048 };

struct partition_query {
  struct list_page page;
  struct query_call reading;
  struct query_request request;
  struct query_run *run; /* NULL: closed */
  size_t wanted;         /* cursors */

  /* samples[i] is the key of the document number i * stride, from 0; what a sample held is reused. */
  struct buf *samples;
  size_t sample_count, samples_max;
  uint64_t rows, stride;
};

/* ---- Sampling ---- */

static void halve(struct partition_query *p) {
  p->sample_count = p->samples_max / 2;
  for (size_t i = 1; i < p->sample_count; i++) {
    struct buf kept = p->samples[2 * i];
    p->samples[2 * i] = p->samples[i];
    p->samples[i] = kept;
  }
  p->stride *= 2;
}

static void sample(struct partition_query *p, str key) {
  if (p->rows++ % p->stride != 0)
    return;
  if (p->sample_count == p->samples_max) {
    halve(p);
    if ((p->rows - 1) % p->stride != 0)
      return;
  }
  struct buf *place = &p->samples[p->sample_count++];
  buf_clear(place);
  buf_append_str(place, key);
}

/* ---- The answer ---- */

static status encode_cursor(struct arena *arena, str key, Google__Firestore__V1__Cursor *cursor) {
  struct doc_path path;
  STATUS_TRY(doc_key_to_path(key, arena, &path));
  struct doc_value name = {.type = DOC_REFERENCE, .as.text = path.name};
  str encoded;
  STATUS_TRY(doc_encode_value(&name, arena, &encoded));
  cursor->values = ARENA_NEW(arena, ProtobufCBinaryData);
  if (cursor->values == NULL)
    return list_page_no_memory();
  *cursor->values = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)encoded.ptr, .len = encoded.len};
  cursor->n_values = 1;
  cursor->before = true; /* as an end exclusive, as a start inclusive */
  return status_ok();
}

static status add_cursor(struct partition_query *p, const struct buf *key) {
  if (key->failed)
    return list_page_no_memory();
  if (p->page.start.len > 0 && str_cmp(buf_str(key), p->page.start) <= 0)
    return status_ok();
  if (list_page_is_full(&p->page)) {
    p->page.has_more = true;
    return status_ok();
  }
  struct arena scratch;
  arena_init(&scratch, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  Google__Firestore__V1__Cursor cursor = GOOGLE__FIRESTORE__V1__CURSOR__INIT;
  status result = encode_cursor(&scratch, buf_str(key), &cursor);
  uint8_t *at = NULL;
  if (status_is_ok(&result)) {
    at = list_page_add(&p->page, google__firestore__v1__cursor__get_packed_size(&cursor));
    if (at == NULL)
      result = list_page_no_memory();
    else
      google__firestore__v1__cursor__pack(&cursor, at);
  }
  arena_fini(&scratch);
  buf_clear(&p->page.last);
  buf_append_str(&p->page.last, buf_str(key));
  return result;
}

/* The samples that lie nearest to where equal parts begin, each once. */
static status add_cursors(struct partition_query *p) {
  size_t last = 0;
  for (size_t i = 1; i <= p->wanted && !p->page.has_more; i++) {
    double begins = (double)p->rows * (double)i / (double)(p->wanted + 1);
    size_t nearest = (size_t)(begins / (double)p->stride + (p->stride == 1 ? 0 : 0.5));
    if (nearest <= last || nearest >= p->sample_count)
      continue;
    last = nearest;
    STATUS_TRY(add_cursor(p, &p->samples[nearest]));
  }
  return status_ok();
}

static void end(struct rpc_call *call, struct partition_query *p, status result) {
  rpc_message message = {0};
  query_run_close(p->run);
  p->run = NULL;
  status closed = query_call_end(&p->reading);
  if (status_is_ok(&result))
    result = closed;
  if (status_is_ok(&result))
    result = add_cursors(p);
  if (status_is_ok(&result))
    result = list_page_finish(&p->page, p->reading.snapshot.version, &message);
  list_page_fini(&p->page);
  for (size_t i = 0; p->samples != NULL && i < p->samples_max; i++)
    buf_fini(&p->samples[i]);
  if (status_is_ok(&result))
    rpc_call_reply(call, &message);
  else
    rpc_call_finish(call, result);
}

/* ---- Turns ---- */

static void work(struct rpc_call *call, void *state) {
  struct partition_query *p = state;
  for (size_t rows = 0; rows < TURN_ROWS_MAX; rows++) {
    enum query_step step = QUERY_END;
    struct query_row row;
    status result = query_run_next(p->run, &step, &row);
    if (status_is_ok(&result) && step == QUERY_TURN)
      break;
    if (!status_is_ok(&result) || step == QUERY_END) {
      end(call, p, result);
      return;
    }
    sample(p, row.key);
  }
  rpc_call_yield(call);
}

static void cancelled(struct rpc_call *call, void *state) {
  end(call, state, status_default(STATUS_CANCELLED));
}

static const struct rpc_call_events events = {.drained = work, .cancelled = cancelled};

/* ---- The request ---- */

static status check(const struct query *query) {
  bool is_plain = query->where == NULL && !query->has_limit && query->offset == 0 &&
                  query->start.count == 0 && query->end.count == 0 && query->nearest == NULL;
  bool by_name = query->order_count == 1 && !query->orders[0].descending;
  if (is_plain && by_name && query->all_descendants && query->collection_id.len > 0)
    return status_ok();
  return status_make(
      STATUS_INVALID_ARGUMENT,
      "A partition query is a collection group (all_descendants) ordered by __name__ ascending, "
      "without filters, other orders, limit, offset, cursors and find_nearest.");
}

static status parse(struct rpc_call *call, const Google__Firestore__V1__PartitionQueryRequest *request,
                    struct partition_query *p, struct query_selector *selector) {
  const struct firestore_service *service = p->page.service;
  struct arena *arena = p->page.arena;
  struct doc_path parent;
  STATUS_TRY(request_parent(service, request->parent, REQUEST_READS, &parent));
  const struct access_caller *caller;
  STATUS_TRY(access_enter(service->options.access, call, ACCESS_READ_ALL, &parent, &caller));
  if (parent.segment_count > 0)
    return status_make(STATUS_INVALID_ARGUMENT, "The parent of a partition query is the root of a database.");
  if (request->query_type_case != GOOGLE__FIRESTORE__V1__PARTITION_QUERY_REQUEST__QUERY_TYPE_STRUCTURED_QUERY)
    return status_make(STATUS_INVALID_ARGUMENT, "The request has no structured_query.");
  STATUS_TRY(query_request_parse(&parent, request->structured_query, arena, &p->request));
  STATUS_TRY(check(&p->request.query));
  p->request.query.names_only = true;
  if (request->partition_count <= 0)
    return status_make(STATUS_INVALID_ARGUMENT, "partition_count is not greater than zero.");
  p->wanted = request->partition_count > LIMIT_QUERY_PARTITIONS ? LIMIT_QUERY_PARTITIONS
                                                                : (size_t)request->partition_count;
  STATUS_TRY(list_page_set_size(&p->page, request->page_size));
  if (request->consistency_selector_case ==
      GOOGLE__FIRESTORE__V1__PARTITION_QUERY_REQUEST__CONSISTENCY_SELECTOR_READ_TIME)
    selector->read_time = request->read_time;
  p->page.request = arena_printf(arena, "PartitionQuery\n%zu\n" STR_FMT "\n%s", p->wanted,
                                 STR_ARG(p->request.query.collection_id), request->parent);
  return list_page_begin(&p->page, request->page_token, selector);
}

static status open_run(struct rpc_call *call, struct partition_query *p,
                       const struct query_selector *selector) {
  status begun = query_call_begin(call, &p->request.query.parent, selector, &p->reading);
  STATUS_TRY(list_page_check(&p->page, selector, &p->reading, begun));
  p->stride = 1;
  p->samples_max = SAMPLES_A_PARTITION * (p->wanted + 1);
  p->samples = ARENA_NEW_ARRAY(p->page.arena, struct buf, p->samples_max);
  if (p->samples == NULL)
    return list_page_no_memory();
  return query_run_open(&p->request.query, &p->reading.run_options, p->page.arena, &p->run);
}

void firestore_partition_query(struct rpc_call *call,
                               const Google__Firestore__V1__PartitionQueryRequest *request) {
  struct partition_query *p = ARENA_NEW(rpc_call_arena(call), struct partition_query);
  if (p == NULL) {
    rpc_call_finish(call, list_page_no_memory());
    return;
  }
  p->page = (struct list_page){.service = request_service(call), .arena = rpc_call_arena(call)};
  struct query_selector selector = {0};
  status result = parse(call, request, p, &selector);
  if (status_is_ok(&result))
    result = open_run(call, p, &selector);
  if (!status_is_ok(&result)) {
    end(call, p, result);
    return;
  }
  rpc_call_watch(call, &events, p);
  work(call, p);
}
