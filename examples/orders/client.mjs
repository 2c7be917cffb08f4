// A client for Node, with the packages @grpc/grpc-js and @grpc/proto-loader: node client.mjs [ADDRESS]
// SKERRY_PROTO says where Skerry's .proto files are, if not in /usr/share/skerry/proto.
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const here = path.dirname(fileURLToPath(import.meta.url));
const definition = loader.loadSync('orders/v1/orders.proto', {
  includeDirs: [path.join(here, 'proto'), process.env.SKERRY_PROTO ?? '/usr/share/skerry/proto'],
  keepCase: true, longs: Number, defaults: true,
});
const { Orders } = grpc.loadPackageDefinition(definition).orders.v1;

const client = new Orders(process.argv[2] ?? '127.0.0.1:8080', grpc.credentials.createInsecure());
const deadline = () => ({ deadline: Date.now() + 20_000 });

const counting = client.CountStock(new grpc.Metadata(), deadline());
counting.write({ product: 'coffee', counted: 5, price_cents: 400 });
for await (const stock of counting) {
  console.log(`stock: ${stock.left} of ${stock.product}`);
  counting.end(); // one product is enough
}

const placeOrder = (order) => new Promise((resolve, reject) => {
  client.PlaceOrder(order, new grpc.Metadata(), deadline(), (error, answer) => (error ? reject(error) : resolve(answer)));
});
const order = await placeOrder({ id: 'from-node', lines: [{ product: 'coffee', quantity: 2 }] });
console.log(`ordered: ${order.id} for ${order.total_cents} cents`);
await placeOrder({ id: 'from-node', lines: [{ product: 'coffee', quantity: 2 }] }).catch((error) => console.log(`refused: ${grpc.status[error.code]}`));

for await (const one of client.ListOrders({}, new grpc.Metadata(), deadline())) console.log(`order: ${one.id}, ${one.total_cents} cents`);
client.close();
