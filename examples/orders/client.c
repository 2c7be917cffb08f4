/* A client in C: counts stock, places an order, lists the orders. orders-client ADDRESS */
#include <stdio.h>

#include "orders/v1/orders.skerry.h"

enum { RESPONSES_BYTES_MAX = 1024 * 1024 };

static status count_stock(struct rpc_client *client, struct arena *arena) {
  struct orders_v1_orders_count_stock_stream stream;
  STATUS_TRY(orders_v1_orders_count_stock_open(client, NULL, &stream));
  Orders__V1__StockCount count = ORDERS__V1__STOCK_COUNT__INIT;
  count.product = "tea";
  count.counted = 10;
  count.price_cents = 250;
  const Orders__V1__Stock *stock;
  status sent = orders_v1_orders_count_stock_send_request(stream, &count);
  if (status_is_ok(&sent) && orders_v1_orders_count_stock_receive(stream, arena, &stock))
    printf("stock: %lld of %s\n", (long long)stock->left, stock->product);
  orders_v1_orders_count_stock_half_close(stream);
  return orders_v1_orders_count_stock_finish(stream, NULL, NULL);
}

static status place_order(struct rpc_client *client, struct arena *arena) {
  Orders__V1__OrderLine line = ORDERS__V1__ORDER_LINE__INIT, *lines[] = {&line};
  Orders__V1__PlaceOrderRequest request = ORDERS__V1__PLACE_ORDER_REQUEST__INIT;
  const Orders__V1__Order *order;
  line.product = "tea";
  line.quantity = 2;
  request.id = "from-c";
  request.lines = lines;
  request.n_lines = 1;
  STATUS_TRY(orders_v1_orders_place_order_call(client, NULL, &request, arena, &order));
  printf("ordered: %s for %lld cents\n", order->id, (long long)order->total_cents);
  return status_ok();
}

static status list_orders(struct rpc_client *client, struct arena *arena) {
  Orders__V1__ListOrdersRequest request = ORDERS__V1__LIST_ORDERS_REQUEST__INIT;
  struct orders_v1_orders_list_orders_stream stream;
  const Orders__V1__Order *order;
  STATUS_TRY(orders_v1_orders_list_orders_open(client, NULL, &request, &stream));
  while (orders_v1_orders_list_orders_receive(stream, arena, &order))
    printf("order: %s, %lld cents\n", order->id, (long long)order->total_cents);
  return orders_v1_orders_list_orders_finish(stream, NULL, NULL);
}

static status run(const char *address, struct arena *arena) {
  struct rpc_client *client;
  STATUS_TRY(rpc_client_open(address, false, &client));
  status result = count_stock(client, arena);
  if (status_is_ok(&result))
    result = place_order(client, arena);
  if (status_is_ok(&result))
    result = list_orders(client, arena);
  rpc_client_close(client);
  return result;
}

int main(int argc, char **argv) {
  struct arena arena;
  arena_init(&arena, NULL, 0, RESPONSES_BYTES_MAX);
  status result = run(argc > 1 ? argv[1] : "127.0.0.1:8080", &arena);
  arena_fini(&arena);
  if (!status_is_ok(&result))
    fprintf(stderr, "orders-client: %s: %s\n", status_code_name((int)result.code), result.message);
  return status_is_ok(&result) ? 0 : 1;
}
