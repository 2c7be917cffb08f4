"""A client in Python, with Debian's python3-grpcio. Code is generated from the .proto first:

    python3 -m grpc_tools.protoc -I proto -I /usr/share/skerry/proto --python_out=gen --grpc_python_out=gen \\
        orders/v1/orders.proto google/api/annotations.proto google/api/http.proto
    PYTHONPATH=gen python3 client.py [ADDRESS]
"""
import sys

import grpc

from orders.v1 import orders_pb2, orders_pb2_grpc


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8080"
    with grpc.insecure_channel(address) as channel:
        orders = orders_pb2_grpc.OrdersStub(channel)
        counts = [orders_pb2.StockCount(product="rice", counted=7, price_cents=120),
                  orders_pb2.StockCount(product="salt", counted=3, price_cents=90)]
        for stock in orders.CountStock(iter(counts), timeout=20):
            print(f"stock: {stock.left} of {stock.product}")
        lines = [orders_pb2.OrderLine(product="rice", quantity=2), orders_pb2.OrderLine(product="salt", quantity=1)]
        order = orders.PlaceOrder(orders_pb2.PlaceOrderRequest(id="from-python", lines=lines), timeout=20)
        print(f"ordered: {order.id} for {order.total_cents} cents")
        try:
            orders.PlaceOrder(orders_pb2.PlaceOrderRequest(id="too-much", lines=[orders_pb2.OrderLine(product="salt", quantity=9)]), timeout=20)
        except grpc.RpcError as error:
            print(f"refused: {error.code().name}: {error.details()}")
        for order in orders.ListOrders(orders_pb2.ListOrdersRequest(), timeout=20):
            print(f"order: {order.id}, {order.total_cents} cents")


if __name__ == "__main__":
    main()
