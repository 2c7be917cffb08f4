#include "orders.h"
#include "skerry/server.h"

static const struct orders_v1_orders_handlers handlers = {
    .place_order = orders_place_order,
    .list_orders = orders_list_orders,
    .count_stock = {.open = orders_count_stock_open,
                    .message = orders_count_stock_message,
                    .half_close = orders_count_stock_half_close},
};

status orders_customer(struct rpc_call *call, str *ret) {
  struct skerry_caller caller;
  STATUS_TRY(skerry_caller_of(rpc_call_service(call), call, &caller));
  if (caller.kind == SKERRY_CALLER_NOBODY && !caller.may_read)
    return status_make(STATUS_UNAUTHENTICATED, "Please sign in to order.");
  *ret = caller.kind == SKERRY_CALLER_NOBODY ? STR("anybody") : caller.uid;
  return status_ok();
}

static status start(struct skerry_server *server, void *argument) {
  (void)argument;
  return skerry_server_add_service(server, &orders_v1_orders_service, &handlers,
                                   skerry_server_documents(server));
}

int main(int argc, char **argv) {
  static const struct skerry_program program = {.name = "orders", .version = "1.0", .start = start};
  return skerry_main(argc, argv, &program);
}
