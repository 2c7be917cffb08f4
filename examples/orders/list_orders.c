/* ListOrders: a stream of responses, read in pages. When the client is behind, the queue is full: the handler
 * returns, and `drained` goes on where it stopped. */
#include <string.h>

#include "orders.h"

enum { PAGE = 50, PAGE_BYTES_MAX = 4 * 1024 * 1024 };

struct list_orders {
  str customer;
  struct arena arena; /* of the page */
  struct skerry_document *page;
  size_t count, next;
  struct arena last_arena; /* of the path that the next page comes after */
  str last;
  bool is_last_page;
};

static status read_page(struct rpc_call *call, struct list_orders *list) {
  arena_reset(&list->arena);
  struct skerry_filter mine = {"customer", SKERRY_EQUAL, skerry_string(list->customer)};
  struct skerry_order by_id = {.field = "__name__"};
  struct doc_value after = skerry_string(list->last);
  struct skerry_query query = {.collection = "orders",
                               .filters = &mine,
                               .filter_count = 1,
                               .orders = &by_id,
                               .order_count = 1,
                               .after = &after,
                               .after_count = list->last.len == 0 ? 0 : 1,
                               .limit = PAGE};
  list->next = list->count = 0;
  STATUS_TRY(skerry_query_run(rpc_call_service(call), call, SKERRY_AS_CALLER, &query, &list->arena,
                              &list->page, &list->count));
  list->is_last_page = list->count < PAGE;
  if (list->is_last_page)
    return status_ok();
  arena_reset(&list->last_arena);
  list->last = arena_str_copy(&list->last_arena, list->page[list->count - 1].path);
  return list->last.ptr == NULL ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

/* The lines of a stored order. Another program may have written it, so what has another form is left out. */
static status make_lines(const struct doc_map *fields, struct arena *arena, Orders__V1__Order *order) {
  const struct doc_value *lines = doc_map_get(*fields, STR("lines"));
  if (lines == NULL || lines->type != DOC_ARRAY)
    return status_ok();
  size_t count = lines->as.array.count;
  Orders__V1__OrderLine *made = ARENA_NEW_ARRAY(arena, Orders__V1__OrderLine, count);
  order->lines = ARENA_NEW_ARRAY(arena, Orders__V1__OrderLine *, count);
  if (made == NULL || order->lines == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < count; i++) {
    const struct doc_value *line = &lines->as.array.items[i];
    if (line->type != DOC_MAP)
      continue;
    str product = arena_str_copy(arena, skerry_get_string(line->as.map, "product")); /* ends in NUL */
    if (product.ptr == NULL)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    orders__v1__order_line__init(&made[i]);
    made[i].product = orders_text(product);
    made[i].quantity = (int32_t)skerry_get_integer(line->as.map, "quantity", 0);
    order->lines[order->n_lines++] = &made[i];
  }
  return status_ok();
}

static status send(struct rpc_call *call, struct list_orders *list, enum rpc_send *ret) {
  const struct skerry_document *document = &list->page[list->next];
  Orders__V1__Order order = ORDERS__V1__ORDER__INIT;
  str id = arena_str_copy(&list->arena, str_from(document->path, strlen("orders/")));
  str customer = arena_str_copy(&list->arena, skerry_get_string(document->fields, "customer"));
  if (id.ptr == NULL || customer.ptr == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  order.id = orders_text(id);
  order.customer = orders_text(customer);
  order.total_cents = skerry_get_integer(document->fields, "total_cents", 0);
  STATUS_TRY(make_lines(&document->fields, &list->arena, &order));
  *ret = orders_v1_orders_list_orders_send(call, &order);
  return status_ok();
}

static void end(struct rpc_call *call, struct list_orders *list, status result) {
  arena_fini(&list->arena);
  arena_fini(&list->last_arena);
  rpc_call_finish(call, result);
}

/* The next order to the queue, or the next page from the store. */
static status step(struct rpc_call *call, struct list_orders *list, enum rpc_send *ret_sent) {
  *ret_sent = RPC_SEND_OK;
  if (list->next == list->count)
    return read_page(call, list);
  STATUS_TRY(send(call, list, ret_sent));
  if (*ret_sent == RPC_SEND_OK)
    list->next++;
  return *ret_sent == RPC_SEND_CLOSED ? status_default(STATUS_CANCELLED) : status_ok();
}

static void pump(struct rpc_call *call, void *state) {
  struct list_orders *list = state;
  while (list->next < list->count || !list->is_last_page) {
    enum rpc_send sent;
    status result = step(call, list, &sent);
    if (!status_is_ok(&result)) {
      end(call, list, result);
      return;
    }
    if (sent == RPC_SEND_FULL)
      return; /* the same one again after `drained` */
  }
  end(call, list, status_ok());
}

static void cancelled(struct rpc_call *call, void *state) {
  end(call, state, status_default(STATUS_CANCELLED));
}

static const struct rpc_call_events events = {.drained = pump, .cancelled = cancelled};

void orders_list_orders(struct rpc_call *call, const Orders__V1__ListOrdersRequest *request) {
  (void)request;
  struct list_orders *list = ARENA_NEW(rpc_call_arena(call), struct list_orders);
  status result =
      list == NULL ? status_default(STATUS_RESOURCE_EXHAUSTED) : orders_customer(call, &list->customer);
  if (!status_is_ok(&result)) {
    rpc_call_finish(call, result);
    return;
  }
  arena_init(&list->arena, NULL, 0, PAGE_BYTES_MAX);
  arena_init(&list->last_arena, NULL, 0, PAGE_BYTES_MAX);
  rpc_call_watch(call, &events, list);
  pump(call, list);
}
