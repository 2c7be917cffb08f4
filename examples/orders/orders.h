/* What the handlers of the orders service share. */
#ifndef ORDERS_H
#define ORDERS_H

#include "orders/v1/orders.skerry.h"
#include "skerry/documents.h"

enum { ORDER_LINES_MAX = 100, QUANTITY_MAX = 1000000 };

/* place_order.c, list_orders.c, count_stock.c */
void orders_place_order(struct rpc_call *call, const Orders__V1__PlaceOrderRequest *request);
void orders_list_orders(struct rpc_call *call, const Orders__V1__ListOrdersRequest *request);
void orders_count_stock_open(struct rpc_call *call);
void orders_count_stock_message(struct rpc_call *call, const Orders__V1__StockCount *count);
void orders_count_stock_half_close(struct rpc_call *call);

/* Whose orders: a user's id, or "anybody" where access is open to everybody, as with --dev. UNAUTHENTICATED
 * for who is not signed in. */
status orders_customer(struct rpc_call *call, str *ret);

/* The text of a message's field: protobuf-c wants it without const. */
static inline char *orders_text(str text) {
  return (char *)(uintptr_t)text.ptr;
}

#endif
