#include "server/firestore/list_order.h"

#include "storage/document/codec.h"
#include "storage/document/key.h"
#include "storage/query/match.h"

/* After so many rows, or bytes decoded for a mask, other calls have their turn. */
enum { TURN_ROWS_MAX = 512, TURN_DECODED_MAX = 2 * 1024 * 1024 };

struct ordered {
  struct list_page page;
  struct query_call reading;
  struct query query;
  struct query_run *run; /* NULL: closed */
  struct arena scratch;  /* one row's memory */
};

static void end(struct rpc_call *call, struct ordered *o, status result) {
  rpc_message message = {0};
  query_call_report(&o->reading, o->run);
  query_run_close(o->run);
  o->run = NULL;
  status transaction = query_call_end(&o->reading);
  if (status_is_ok(&result))
    result = transaction;
  if (status_is_ok(&result))
    result = list_page_finish(&o->page, o->reading.snapshot.version, &message);
  list_page_fini(&o->page);
  arena_fini(&o->scratch);
  if (status_is_ok(&result))
    rpc_call_reply(call, &message);
  else
    rpc_call_finish(call, result);
}

static status add_row(struct ordered *o, const struct query_row *row, size_t *decoded_bytes) {
  struct doc_record record = row->record;
  *decoded_bytes += o->page.mask == NULL ? 0 : record.fields.len;
  STATUS_TRY(request_project(&record, o->page.mask, &o->scratch));
  uint8_t *at = list_page_add(&o->page, doc_document_wire_size(row->name, &record));
  if (at == NULL)
    return list_page_no_memory();
  doc_document_wire_write(row->name, &record, at);
  buf_clear(&o->page.last);
  buf_append_str(&o->page.last, row->key);
  return status_ok();
}

static void work(struct rpc_call *call, void *state) {
  struct ordered *o = state;
  size_t decoded_bytes = 0;
  for (size_t rows = 0; rows < TURN_ROWS_MAX && decoded_bytes < TURN_DECODED_MAX; rows++) {
    enum query_step step = QUERY_END;
    struct query_row row;
    status result = query_run_next(o->run, &step, &row);
    if (status_is_ok(&result) && step == QUERY_TURN)
      break;
    bool is_full = list_page_is_full(&o->page);
    o->page.has_more = step == QUERY_ROW && is_full;
    if (status_is_ok(&result) && step == QUERY_ROW && !is_full)
      result = add_row(o, &row, &decoded_bytes);
    arena_reset(&o->scratch);
    if (!status_is_ok(&result) || step == QUERY_END || is_full) {
      end(call, o, result);
      return;
    }
  }
  rpc_call_yield(call);
}

static void cancelled(struct rpc_call *call, void *state) {
  end(call, state, status_default(STATUS_CANCELLED));
}

static const struct rpc_call_events events = {.drained = work, .cancelled = cancelled};

/* The place after a document, as it was at the version of the pages. */
static status start_after(struct ordered *o, str key, struct arena *arena) {
  struct kv_value stored = {0};
  STATUS_TRY(kv_get(o->reading.snapshot, KV_DOCUMENTS, key, &stored));
  str bytes = stored.found ? arena_str_copy(arena, stored.bytes) : (str){NULL, 0};
  kv_value_release(&stored);
  if (bytes.ptr == NULL)
    return list_page_no_memory(); /* a page ends with a document that there is: so it is the arena */
  struct doc_path path;
  struct doc_record record;
  struct doc_map fields;
  STATUS_TRY(doc_key_to_path(key, arena, &path));
  STATUS_TRY(doc_record_decode(bytes, &record));
  STATUS_TRY(doc_decode_fields(record.fields, arena, &fields));
  struct doc_value *values = ARENA_NEW_ARRAY(arena, struct doc_value, o->query.order_count);
  if (values == NULL)
    return list_page_no_memory();
  for (size_t i = 0; i < o->query.order_count; i++) {
    const struct query_field *field = &o->query.orders[i].field;
    const struct doc_value *value = field->is_name ? NULL : query_field_get(fields, &field->path);
    if (field->is_name)
      values[i] = (struct doc_value){.type = DOC_REFERENCE, .as.text = path.name};
    else if (value != NULL)
      values[i] = *value;
    else
      return status_make(STATUS_DATA_LOSS, "A page ended with a document that the list does not hold.");
  }
  o->query.start = (struct query_cursor){.values = values, .count = o->query.order_count};
  return status_ok();
}

/* The orders as asked and, so that a cursor can say it, the name, which query_prepare would add. */
static status set_orders(struct query *query, const struct query_order *orders, size_t count,
                         struct arena *arena) {
  bool has_name = false;
  for (size_t i = 0; i < count; i++)
    has_name = has_name || orders[i].field.is_name;
  struct query_order *all = ARENA_NEW_ARRAY(arena, struct query_order, count + 1);
  if (all == NULL)
    return list_page_no_memory();
  memcpy(all, orders, count * sizeof *orders);
  if (!has_name)
    all[count] = (struct query_order){.field.is_name = true, .descending = orders[count - 1].descending};
  query->orders = all;
  query->order_count = has_name ? count : count + 1;
  return status_ok();
}

static status open_run(struct rpc_call *call, const struct query_selector *selector, struct ordered *o) {
  struct arena *arena = rpc_call_arena(call);
  status begun = query_call_begin(call, &o->query.parent, selector, &o->reading);
  STATUS_TRY(list_page_check(&o->page, selector, &o->reading, begun));
  if (o->page.start.len > 0)
    STATUS_TRY(start_after(o, o->page.start, arena));
  STATUS_TRY(query_prepare(&o->query, arena));
  STATUS_TRY(query_run_open(&o->query, &o->reading.run_options, arena, &o->run));
  return status_ok();
}

void list_ordered(struct rpc_call *call, const struct doc_path *parent, str collection_id,
                  const struct query_order *orders, size_t order_count, const struct list_page *page,
                  const struct query_selector *selector) {
  struct ordered *o = ARENA_NEW(rpc_call_arena(call), struct ordered);
  if (o == NULL) {
    rpc_call_finish(call, list_page_no_memory());
    return;
  }
  o->page = *page;
  o->query.parent = *parent;
  o->query.collection_id = collection_id;
  o->query.has_limit = true;
  o->query.limit = (int64_t)page->items_max + 1; /* one more tells whether there are more */
  arena_init(&o->scratch, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  o->scratch.budget = rpc_call_arena(call)->budget;
  status result = set_orders(&o->query, orders, order_count, rpc_call_arena(call));
  if (status_is_ok(&result))
    result = open_run(call, selector, o);
  if (!status_is_ok(&result)) {
    end(call, o, result);
    return;
  }
  rpc_call_watch(call, &events, o);
  work(call, o);
}
