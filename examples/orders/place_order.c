/* PlaceOrder: a transaction that reads what is in stock, takes from it and writes the order. Customers may
 * not write stock themselves, so the server does: it checks the caller first. */
#include "orders.h"

struct place_order {
  const Orders__V1__PlaceOrderRequest *request;
  str customer, path;
  int64_t total_cents;
};

/* Takes one line from its product, which *ret_price_cents is the price of. */
static status take(struct skerry_transaction *transaction, const struct skerry_document *stock,
                   const Orders__V1__OrderLine *line) {
  int64_t left = skerry_get_integer(stock->fields, "left", 0);
  if (left < line->quantity)
    return status_make(STATUS_FAILED_PRECONDITION, "Of \"%s\" there are only %lld left.", line->product,
                       (long long)left);
  struct skerry_fields fields = {.arena = skerry_transaction_arena(transaction)};
  skerry_fields_put(&fields, "left", skerry_integer(left - line->quantity));
  return skerry_transaction_update(transaction, stock->path, &fields);
}

static status write_order(struct skerry_transaction *transaction, const struct place_order *order) {
  struct arena *arena = skerry_transaction_arena(transaction);
  size_t count = order->request->n_lines;
  struct doc_value *lines = ARENA_NEW_ARRAY(arena, struct doc_value, count);
  if (lines == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < count; i++) {
    struct skerry_fields line = {.arena = arena};
    struct doc_map map;
    skerry_fields_put(&line, "product", skerry_string(str_from_cstr(order->request->lines[i]->product)));
    skerry_fields_put(&line, "quantity", skerry_integer(order->request->lines[i]->quantity));
    STATUS_TRY(skerry_fields_map(&line, &map));
    lines[i] = skerry_map(map);
  }
  struct skerry_fields fields = {.arena = arena};
  skerry_fields_put(&fields, "customer", skerry_string(order->customer));
  skerry_fields_put(&fields, "total_cents", skerry_integer(order->total_cents));
  skerry_fields_put(&fields, "lines", skerry_array(lines, count));
  return skerry_transaction_set(transaction, order->path, &fields, SKERRY_MISSING);
}

/* May run again when others take from the same products: so it begins with the total at zero. */
static status run(struct skerry_transaction *transaction, void *state) {
  struct place_order *order = state;
  struct arena *arena = skerry_transaction_arena(transaction);
  size_t count = order->request->n_lines;
  struct skerry_document *stock = ARENA_NEW_ARRAY(arena, struct skerry_document, count);
  if (stock == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  order->total_cents = 0;
  for (size_t i = 0; i < count; i++) { /* a transaction reads first and then writes */
    const Orders__V1__OrderLine *line = order->request->lines[i];
    str path;
    STATUS_TRY(skerry_path(arena, "stock", str_from_cstr(line->product), &path));
    STATUS_TRY(skerry_transaction_get(transaction, path, &stock[i]));
    if (!stock[i].exists)
      return status_make(STATUS_NOT_FOUND, "There is no product \"%s\".", line->product);
    order->total_cents += skerry_get_integer(stock[i].fields, "price_cents", 0) * line->quantity;
  }
  for (size_t i = 0; i < count; i++)
    STATUS_TRY(take(transaction, &stock[i], order->request->lines[i]));
  return write_order(transaction, order);
}

static void done(struct rpc_call *call, void *state, status result, int64_t commit_time_us) {
  (void)commit_time_us;
  const struct place_order *order = state;
  if (!status_is_ok(&result)) {
    rpc_call_finish(call, result);
    return;
  }
  Orders__V1__Order response = ORDERS__V1__ORDER__INIT;
  response.id = order->request->id;
  response.customer = orders_text(order->customer);
  response.total_cents = order->total_cents;
  response.lines = order->request->lines;
  response.n_lines = order->request->n_lines;
  orders_v1_orders_place_order_reply(call, &response);
}

static const struct skerry_transaction_handlers transaction_handlers = {.run = run, .done = done};

static status check_lines(const Orders__V1__PlaceOrderRequest *request) {
  if (request->n_lines < 1 || request->n_lines > ORDER_LINES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "An order has 1 to %d lines.", (int)ORDER_LINES_MAX);
  for (size_t i = 0; i < request->n_lines; i++) {
    const Orders__V1__OrderLine *line = request->lines[i];
    if (line->quantity < 1 || line->quantity > QUANTITY_MAX)
      return status_make(STATUS_INVALID_ARGUMENT, "A line's quantity is 1 to %d.", (int)QUANTITY_MAX);
    for (size_t other = 0; other < i; other++)
      if (strcmp(line->product, request->lines[other]->product) == 0)
        return status_make(STATUS_INVALID_ARGUMENT, "Two lines are for \"%s\": make them one.",
                           line->product);
  }
  return status_ok();
}

static status open(struct rpc_call *call, const Orders__V1__PlaceOrderRequest *request,
                   struct place_order **ret) {
  struct arena *arena = rpc_call_arena(call);
  struct place_order *order = ARENA_NEW(arena, struct place_order);
  if (order == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  order->request = request;
  STATUS_TRY(orders_customer(call, &order->customer));
  STATUS_TRY(check_lines(request));
  STATUS_TRY(skerry_path(arena, "orders", str_from_cstr(request->id), &order->path));
  *ret = order;
  return status_ok();
}

void orders_place_order(struct rpc_call *call, const Orders__V1__PlaceOrderRequest *request) {
  struct place_order *order = NULL;
  status result = open(call, request, &order);
  if (status_is_ok(&result))
    skerry_transact(rpc_call_service(call), call, SKERRY_AS_SERVER, &transaction_handlers, order);
  else
    rpc_call_finish(call, result);
}
