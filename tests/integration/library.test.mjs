// The installed library as an integrator has it: examples/orders is built outside of the tree against an installed
// package, and driven by its own clients, by the SDK, over HTTP, and in production with rules and users.
import { Box, skip as noProduction } from './support/access.mjs'; // first
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { firestore, grpc, protoLoader } from './support/packages.mjs';
import { Rpc, code, fails } from './support/rpc.mjs';
import { Server, makeTempDir, removeDir } from './support/server.mjs';
import { until } from './support/wait.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const PYTHON = '/usr/bin/python3'; // Debian's, which its packages are for
const pythonMissing = spawnSync(PYTHON, ['-c', 'import grpc, grpc_tools']).status === 0 ? false : 'python3-grpcio or python3-grpc-tools is not installed';

const folder = makeTempDir();
const prefix = path.join(folder, 'installed'), source = path.join(folder, 'orders'), build = path.join(folder, 'build');
const run = (program, args, options = {}) => execFileSync(program, args, { encoding: 'utf8', timeout: 170_000, stdio: ['ignore', 'pipe', 'pipe'], ...options });

let server, orders, Orders;
before(async () => {
  run('cmake', ['--install', process.env.SKERRY_BUILD, '--prefix', prefix]);
  fs.cpSync(path.join(root, 'examples/orders'), source, { recursive: true });
  run('cmake', ['-S', source, '-B', build, '-G', 'Ninja', `-DCMAKE_PREFIX_PATH=${prefix}`, '-DCMAKE_C_FLAGS=-Wall -Wextra -Werror']);
  run('cmake', ['--build', build]);
  run('cmake', ['--install', build, '--prefix', prefix]); // skerry-net is looked for beside it
  process.env.SKERRY_BIN = path.join(prefix, 'bin/orders');
  const definition = protoLoader.loadSync('orders/v1/orders.proto', {
    keepCase: true, longs: String, defaults: true, includeDirs: [path.join(source, 'proto'), path.join(prefix, 'share/skerry/proto')],
  });
  Orders = grpc.loadPackageDefinition(definition).orders.v1.Orders;
  server = await new Server({ args: ['--dev', '--listen', '127.0.0.1:0', '--metrics', 'all'] }).start();
  orders = new Rpc(server.address, Orders);
});
after(async () => {
  orders?.close();
  await server?.close();
  removeDir(folder);
});

const line = (product, quantity) => ({ product, quantity });
const place = (who, id, ...lines) => who.call('PlaceOrder', { id, lines });
async function count(who, ...counts) {
  const stream = who.open('CountStock', { deadlineMs: 20_000 });
  for (const one of counts) stream.write(one);
  stream.end();
  const all = [];
  for await (const stock of stream) all.push(stock);
  return all;
}

test('the program has Skerry\'s commands under its own name', () => {
  assert.match(run(process.env.SKERRY_BIN, ['help']), /^orders 1\.0: services on Skerry [\d.]+\n/);
  assert.equal(run(process.env.SKERRY_BIN, ['version']), 'orders 1.0\n');
  assert.match(run(process.env.SKERRY_BIN, ['status', '--data', server.dataDir]), /serving/i);
});

test('a client in C', () => {
  assert.equal(run(path.join(build, 'orders-client'), [server.address]), 'stock: 10 of tea\nordered: from-c for 500 cents\norder: from-c, 500 cents\n');
  const again = spawnSync(path.join(build, 'orders-client'), [server.address], { encoding: 'utf8' });
  assert.equal(again.status, 1);
  assert.match(again.stderr, /^orders-client: ALREADY_EXISTS: /m);
});

test('a client in Python', { skip: pythonMissing }, () => {
  const gen = path.join(folder, 'gen');
  fs.mkdirSync(gen);
  run(PYTHON, ['-m', 'grpc_tools.protoc', '-I', path.join(source, 'proto'), '-I', path.join(prefix, 'share/skerry/proto'),
    `--python_out=${gen}`, `--grpc_python_out=${gen}`, 'orders/v1/orders.proto', 'google/api/annotations.proto', 'google/api/http.proto']);
  const said = run(PYTHON, [path.join(source, 'client.py'), server.address], { env: { ...process.env, PYTHONPATH: gen } });
  assert.match(said, /^stock: 7 of rice\nstock: 3 of salt\nordered: from-python for 330 cents\nrefused: FAILED_PRECONDITION: Of "salt" there are only 2 left\.\n/);
  assert.match(said, /^order: from-python, 330 cents$/m);
});

test('a client in Node', () => {
  fs.symlinkSync(path.join(root, 'tests/integration/node_modules'), path.join(source, 'node_modules'));
  const said = run(process.execPath, [path.join(source, 'client.mjs'), server.address], { env: { ...process.env, SKERRY_PROTO: path.join(prefix, 'share/skerry/proto') } });
  assert.match(said, /^stock: 5 of coffee\nordered: from-node for 800 cents\nrefused: ALREADY_EXISTS\n/);
  assert.match(said, /^order: from-node, 800 cents$/m);
});

test('JSON over HTTP, by the bindings', async () => {
  await count(orders, { product: 'sugar', counted: 5, price_cents: 100 });
  const url = `http://${server.address}/v1/orders`;
  const post = (body) => fetch(url, { method: 'POST', body: JSON.stringify(body) });
  const placed = await post({ id: 'from-http', lines: [line('sugar', 2)] });
  assert.equal(placed.status, 200);
  assert.deepEqual(await placed.json(), { id: 'from-http', customer: 'anybody', lines: [line('sugar', 2)], totalCents: '200' });
  const refused = await post({ id: 'more', lines: [line('sugar', 9)] });
  assert.equal(refused.status, 400);
  assert.equal((await refused.json()).error.status, 'FAILED_PRECONDITION');
  assert.ok((await (await fetch(url)).json()).some((order) => order.id === 'from-http'));
});

test('gRPC-Web', async () => {
  const answer = await fetch(`http://${server.address}/orders.v1.Orders/ListOrders`, {
    method: 'POST', headers: { 'content-type': 'application/grpc-web+proto' }, body: Buffer.alloc(5),
  });
  assert.equal(answer.status, 200);
  assert.match(Buffer.from(await answer.arrayBuffer()).toString('latin1'), /from-http[^]*grpc-status: ?0/);
});

test('the SDK sees what the service writes, live', async (t) => {
  process.env.FIRESTORE_EMULATOR_HOST = server.address;
  const db = new firestore.Firestore({ projectId: 'skerry' });
  delete process.env.FIRESTORE_EMULATOR_HOST;
  await count(orders, { product: 'milk', counted: 4, price_cents: 90 });
  const seen = [];
  const stop = db.doc('stock/milk').onSnapshot((snapshot) => seen.push(snapshot.get('left')));
  t.after(() => (stop(), db.terminate()));
  await until(() => seen.length === 1, 'the first snapshot');
  await place(orders, 'live', line('milk', 3));
  await until(() => seen.at(-1) === 1, 'the order to be seen');
  const order = await db.doc('orders/live').get();
  assert.deepEqual(order.data(), { customer: 'anybody', total_cents: 270, lines: [line('milk', 3)] });
  await db.doc('stock/milk').update({ left: 100 }); // and the service what the SDK writes
  assert.equal((await place(orders, 'more-milk', line('milk', 50))).total_cents, '4500');
});

test('orders at once: nothing is sold twice, and all that there is is sold', async () => {
  await count(orders, { product: 'last', counted: 30, price_cents: 1 }, { product: 'other', counted: 1000, price_cents: 1 });
  const results = await Promise.allSettled(Array.from({ length: 60 }, (_, i) => place(orders, `rush-${i}`, line('last', 1), line('other', 2))));
  const refused = results.filter((one) => one.status === 'rejected').map((one) => one.reason.code);
  assert.equal(results.length - refused.length, 30);
  assert.deepEqual(new Set(refused), new Set([code.FAILED_PRECONDITION]));
  const [{ difference }, other] = await count(orders, { product: 'last', counted: 0, price_cents: 1 }, { product: 'other', counted: 0, price_cents: 1 });
  assert.equal(difference, '0');
  assert.equal(other.difference, String(-(1000 - 60)));
});

test('more orders than a page', async () => {
  await count(orders, { product: 'many', counted: 1000, price_cents: 1 });
  const ids = Array.from({ length: 120 }, (_, i) => `page-${String(i).padStart(3, '0')}`);
  await Promise.all(ids.map((id) => place(orders, id, line('many', 1))));
  const listed = (await orders.collect('ListOrders', {})).map((order) => order.id).filter((id) => id.startsWith('page-'));
  assert.deepEqual(listed, ids);
});

test('what is wrong with a request is said', async () => {
  await fails(place(orders, 'x'), code.INVALID_ARGUMENT, /1 to 100 lines/);
  await fails(place(orders, 'a/b', line('tea', 1)), code.INVALID_ARGUMENT);
  await fails(place(orders, '..', line('tea', 1)), code.INVALID_ARGUMENT);
  await fails(place(orders, 'y', line('a/b/c', 1)), code.INVALID_ARGUMENT);
  await fails(place(orders, 'y', line('none', 1)), code.NOT_FOUND, /"none"/);
  await fails(place(orders, 'y', line('tea', -1)), code.INVALID_ARGUMENT);
  await fails(count(orders, { product: 'tea', counted: -1 }), code.INVALID_ARGUMENT);
});

test('health, reflection and metrics know the service', async (t) => {
  const { loadProto } = await import('./support/rpc.mjs');
  const health = new Rpc(server.address, loadProto('grpc/health/v1/health.proto').grpc.health.v1.Health);
  t.after(() => health.close());
  assert.deepEqual(await health.call('Check', { service: 'orders.v1.Orders' }), { status: 'SERVING' });
  const reflection = new Rpc(server.address, loadProto('grpc/reflection/v1/reflection.proto').grpc.reflection.v1.ServerReflection);
  t.after(() => reflection.close());
  const stream = reflection.open('ServerReflectionInfo');
  stream.write({ list_services: '' });
  const { value } = await stream[Symbol.asyncIterator]().next();
  stream.cancel();
  assert.ok(value.list_services_response.service.some((one) => one.name === 'orders.v1.Orders'));
  const metrics = await (await fetch(`http://${server.address}/metrics`)).text();
  assert.match(metrics, /skerry_calls_finished_total\{method="\/orders\.v1\.Orders\/PlaceOrder",code="OK"\} [1-9]/);
});

test('streams that are given up', async () => {
  for (let i = 0; i < 20; i++) {
    const stream = orders.open('CountStock', { deadlineMs: 20_000 });
    stream.on('error', () => {});
    for (let j = 0; j < i; j++) stream.write({ product: `gone${j}`, counted: j, price_cents: 1 });
    if (i % 2) await new Promise((resolve) => setImmediate(resolve));
    stream.cancel();
  }
  assert.equal((await count(orders, { product: 'after', counted: 1, price_cents: 1 })).length, 1);
});

test('in production: users, services and rules', { skip: noProduction }, async (t) => {
  const box = await Box.open(fs.readFileSync(path.join(source, 'orders.rules'), 'utf8'));
  t.after(() => box.close());
  const as = (authorization) => {
    const rpc = new Rpc(`localhost:${box.server.port}`, Orders, { credentials: grpc.credentials.createSsl(), authorization });
    t.after(() => rpc.close());
    return rpc;
  };
  const user = (uid) => as(`Bearer ${box.token(uid)}`);
  const key = box.key('editor');
  const { JWT } = await import('google-auth-library');
  const headers = await new JWT({ email: key.client_email, key: key.private_key, keyId: key.private_key_id })
    .getRequestHeaders('https://localhost/google.firestore.v1.Firestore');
  const staff = as(headers.get('authorization')), alice = user('alice'), bob = user('bob'), nobody = as(null);

  assert.equal((await count(staff, { product: 'tea', counted: 10, price_cents: 5 })).length, 1);
  await fails(count(alice, { product: 'tea', counted: 99, price_cents: 5 }), code.PERMISSION_DENIED);
  await fails(count(nobody, { product: 'tea', counted: 99, price_cents: 5 }), code.PERMISSION_DENIED);
  await fails(place(nobody, 'n', line('tea', 1)), code.UNAUTHENTICATED);
  await fails(place(as('Bearer nonsense'), 'n', line('tea', 1)), code.UNAUTHENTICATED);
  assert.equal((await place(alice, 'a', line('tea', 1))).customer, 'alice');
  await place(bob, 'b', line('tea', 2));
  assert.deepEqual((await alice.collect('ListOrders', {})).map((order) => order.id), ['a']);
  assert.deepEqual((await bob.collect('ListOrders', {})).map((order) => order.id), ['b']);

  await box.reload('service cloud.firestore { match /databases/{d}/documents { match /none/{x} { allow read; } } }');
  await fails(alice.collect('ListOrders', {}), code.PERMISSION_DENIED); // as the caller: the rules decide
  assert.equal((await place(alice, 'c', line('tea', 1))).customer, 'alice'); // as the server: the handler does
});

test('it stops as Skerry does, and its data is there again', async () => {
  const { dataDir } = server;
  const again = new Server({ dataDir });
  await server.stop();
  await again.start();
  const rpc = new Rpc(again.address, Orders);
  try {
    await fails(place(rpc, 'from-c', line('tea', 1)), code.ALREADY_EXISTS);
  } finally {
    rpc.close();
    await again.stop();
  }
  await server.start(); // for `after`
});

test('the pkg-config file has all that a program needs', () => {
  const pkg = (...args) => run('pkg-config', [...args, 'skerry'], {
    env: { ...process.env, PKG_CONFIG_PATH: fs.readdirSync(path.join(prefix, 'lib')).flatMap((one) => [path.join(prefix, 'lib', one, 'pkgconfig'), path.join(prefix, 'lib/pkgconfig')]).join(':') },
  }).trim().split(/\s+/);
  const file = path.join(folder, 'alone.c');
  fs.writeFileSync(file, `
    #include <stdio.h>
    #include "skerry/documents.h"
    #include "skerry/server.h"
    static status start(struct skerry_server *server, void *argument) {
      printf("%s\\n", skerry_server_documents(server) != NULL ? (const char *)argument : "none");
      return status_make(STATUS_FAILED_PRECONDITION, "There is no shop.");
    }
    static void stop(void *argument) { printf("stopped %s\\n", (const char *)argument); }
    int main(int argc, char **argv) {
      struct skerry_program program = {.name = "shop", .start = start, .stop = stop, .argument = "it"};
      return skerry_main(argc, argv, argc > 2 ? &program : NULL);
    }
  `);
  run('cc', ['-std=c11', ...pkg('--cflags'), file, '-o', path.join(folder, 'alone'), ...pkg('--libs')]);
  assert.match(run(path.join(folder, 'alone'), ['version']), /^skerry \d/);
  // A start that fails ends the program with its message, and stop is called.
  const failed = spawnSync(path.join(folder, 'alone'), ['serve', '--dev', '--listen', '127.0.0.1:0', '--data', path.join(folder, 'alone-data')], { encoding: 'utf8' });
  assert.equal(failed.status, 1, failed.stderr);
  assert.match(failed.stderr, /^shop serve: There is no shop\.$/m);
  assert.equal(failed.stdout, 'it\nstopped it\n');
});

test('each installed header stands alone', () => {
  const include = path.join(prefix, 'include');
  for (const header of fs.readdirSync(include, { recursive: true }).filter((one) => one.endsWith('.h'))) {
    const file = path.join(folder, 'header.c');
    fs.writeFileSync(file, `#include "${header.replace('skerry/proto/', '')}"\nint nothing;\n`);
    run('cc', ['-std=c11', '-Wall', '-Wextra', '-Werror', '-Wstrict-prototypes', '-fsyntax-only', `-I${include}`, `-I${include}/skerry/proto`, file]);
  }
});
