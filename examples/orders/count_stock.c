/* CountStock: a stream both ways. One count at a time: it is stored, answered, and only then the next is
 * taken.
 *
 *   waiting -> [message] -> storing -> [done] -> waiting ...
 *
 * The client may go at any time. While something is stored the call belongs to the transaction, which ends it
 * then; while it waits, `cancelled` ends it. */
#include <pthread.h>
#include <stdlib.h>

#include "orders.h"

struct count_stock {
  pthread_mutex_t mutex; /* guards the two flags: transactions end on another thread */
  bool is_storing, is_gone;
  char *product;
  int64_t counted, price_cents, difference;
};

static status run(struct skerry_transaction *transaction, void *state) {
  struct count_stock *count = state;
  struct arena *arena = skerry_transaction_arena(transaction);
  struct skerry_document stock;
  str path;
  STATUS_TRY(skerry_path(arena, "stock", str_from_cstr(count->product), &path));
  STATUS_TRY(skerry_transaction_get(transaction, path, &stock));
  count->difference = count->counted - skerry_get_integer(stock.fields, "left", 0);
  struct skerry_fields fields = {.arena = arena};
  skerry_fields_put(&fields, "left", skerry_integer(count->counted));
  skerry_fields_put(&fields, "price_cents", skerry_integer(count->price_cents));
  return skerry_transaction_set(transaction, path, &fields, SKERRY_ANYHOW);
}

/* Small, and one for each count: the queue is full only for a client that does not read at all. */
static status answer(struct rpc_call *call, const struct count_stock *count) {
  Orders__V1__Stock stock = ORDERS__V1__STOCK__INIT;
  stock.product = count->product;
  stock.left = count->counted;
  stock.price_cents = count->price_cents;
  stock.difference = count->difference;
  switch (orders_v1_orders_count_stock_send(call, &stock)) {
  case RPC_SEND_OK:
    return status_ok();
  case RPC_SEND_FULL:
    return status_make(STATUS_RESOURCE_EXHAUSTED, "Read the answers before you send more counts.");
  case RPC_SEND_CLOSED:
  default:
    return status_default(STATUS_CANCELLED);
  }
}

static void done(struct rpc_call *call, void *state, status result, int64_t commit_time_us) {
  (void)commit_time_us;
  struct count_stock *count = state;
  if (status_is_ok(&result))
    result = answer(call, count);
  pthread_mutex_lock(&count->mutex);
  count->is_storing = !status_is_ok(&result);
  if (count->is_gone)
    result = status_default(STATUS_CANCELLED);
  if (status_is_ok(&result))
    rpc_call_receive_next(call);
  pthread_mutex_unlock(&count->mutex);
  if (!status_is_ok(&result))
    rpc_call_finish(call, result);
}

static void cancelled(struct rpc_call *call, void *state) {
  struct count_stock *count = state;
  pthread_mutex_lock(&count->mutex);
  count->is_gone = true;
  bool is_storing = count->is_storing;
  pthread_mutex_unlock(&count->mutex);
  if (!is_storing)
    rpc_call_finish(call, status_default(STATUS_CANCELLED));
}

static void released(void *state) {
  struct count_stock *count = state;
  pthread_mutex_destroy(&count->mutex);
  free(count->product);
  free(count);
}

static const struct rpc_call_events events = {.cancelled = cancelled, .released = released};
static const struct skerry_transaction_handlers transaction_handlers = {.run = run, .done = done};

void orders_count_stock_open(struct rpc_call *call) {
  struct skerry_caller caller;
  status result = skerry_caller_of(rpc_call_service(call), call, &caller);
  if (status_is_ok(&result) && !caller.may_write)
    result = status_make(STATUS_PERMISSION_DENIED, "Only staff counts stock: services with the role editor.");
  struct count_stock *count = status_is_ok(&result) ? calloc(1, sizeof *count) : NULL;
  if (status_is_ok(&result) && count == NULL)
    result = status_default(STATUS_RESOURCE_EXHAUSTED);
  if (!status_is_ok(&result)) {
    rpc_call_finish(call, result);
    return;
  }
  pthread_mutex_init(&count->mutex, NULL);
  rpc_call_watch(call, &events, count);
}

/* Takes the message's place: false if the client has gone. */
static bool begin(struct count_stock *count, const Orders__V1__StockCount *message) {
  pthread_mutex_lock(&count->mutex);
  bool is_gone = count->is_gone;
  count->is_storing = !is_gone;
  pthread_mutex_unlock(&count->mutex);
  if (is_gone)
    return false;
  free(count->product);
  count->product = strdup(message->product);
  count->counted = message->counted;
  count->price_cents = message->price_cents;
  return true;
}

void orders_count_stock_message(struct rpc_call *call, const Orders__V1__StockCount *message) {
  struct count_stock *count = rpc_call_state(call);
  if (count == NULL || !begin(count, message))
    return; /* finished already */
  status result = status_ok();
  if (count->product == NULL)
    result = status_default(STATUS_RESOURCE_EXHAUSTED);
  else if (message->counted < 0 || message->price_cents < 0)
    result = status_make(STATUS_INVALID_ARGUMENT, "A count and a price are 0 or more.");
  if (status_is_ok(&result))
    skerry_transact(rpc_call_service(call), call, SKERRY_AS_SERVER, &transaction_handlers, count);
  else
    rpc_call_finish(call, result);
}

void orders_count_stock_half_close(struct rpc_call *call) {
  struct count_stock *count = rpc_call_state(call);
  if (count == NULL)
    return;
  pthread_mutex_lock(&count->mutex);
  bool is_gone = count->is_gone;
  count->is_storing = true; /* the call is finished here, not by `cancelled` */
  pthread_mutex_unlock(&count->mutex);
  if (!is_gone)
    rpc_call_finish(call, status_ok());
}
