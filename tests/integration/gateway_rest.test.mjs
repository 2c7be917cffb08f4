// Many clients of HTTP/1.1 on a small box: the gateway has a place for few, and those who say nothing give theirs away
// without noticing. (Through TLS: what comes to a developer's port has no pump in front of the gateway.)
import assert from 'node:assert/strict';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { ANY_PORT, Authority, OPEN, opensslMissing, tlsFlags } from './support/certificates.mjs';
import { request } from './support/http.mjs';
import { makeTempDir, removeDir, runSkerry, skerryOnly, startServer } from './support/server.mjs';
import { until } from './support/wait.mjs';

const skip = skerryOnly || opensslMissing;
/** 64M have places for some 75. */
const CLIENTS = 160;
const PLACES = 76;
const files = makeTempDir();
let authority, server;
const start = (idle) => startServer({ args: [...ANY_PORT, ...OPEN, ...tlsFlags(authority.server()), '--projects', 'shop', '--profile', 'tiny', '--memory-limit', '64M', '--http-idle-timeout', idle] });

before(async () => {
  if (skip) return;
  authority = new Authority(files);
  server = await start('600s'); // longer than the test on any machine
});
after(() => {
  server?.discard();
  removeDir(files);
});

/** Each with one connection that it keeps. */
class Client {
  constructor(to = server) {
    this.server = to;
    this.agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    this.sockets = new Set();
    this.agent.on('free', (socket) => this.sockets.add(socket));
  }
  async get(path = '/v1/projects/shop/databases/(default)/documents/a/b') {
    const { status } = await request(this.server.port, path, { ca: authority.cert, agent: this.agent });
    assert.equal(status, 404);
    await sleep(0); // the agent has the socket back
  }
  get open() {
    return [...this.sockets].filter((one) => !one.destroyed).length;
  }
}
const atGateway = () => Number(runSkerry(['status', '--data', server.dataDir]).stdout.match(/^http +(\d+) connections/m)[1]);

test('more clients than places, one after the other: all keep their connections', { skip }, async () => {
  const clients = [];
  for (let i = 0; i < CLIENTS; i++) {
    clients.push(new Client());
    await clients[i].get();
  }
  assert.ok(atGateway() <= PLACES, `${atGateway()} at the gateway`);
  for (let turn = 0; turn < 2; turn++) for (const client of clients) await client.get();
  assert.deepEqual(clients.map((one) => [one.sockets.size, one.open]), clients.map(() => [1, 1]), 'nobody had to connect again');
  await until(() => atGateway() === 0, 'all to rest', 30_000);
  await Promise.all(clients.slice(0, 40).map((one) => one.get()));
  assert.deepEqual(clients.map((one) => [one.sockets.size, one.open]), clients.map(() => [1, 1]), 'nor after a rest');
  for (const client of clients) client.agent.destroy();
});

test('requests in pieces, with bodies, and several at once after a rest', { skip }, async () => {
  const client = new Client();
  await client.get();
  await until(() => atGateway() === 0, 'it to rest', 30_000);
  const [socket] = client.sockets;
  let text = '';
  socket.on('data', (bytes) => (text += bytes));
  const get = 'GET /v1/projects/shop/databases/(default)/documents/a/b HTTP/1.1\r\nhost: localhost\r\n\r\n';
  socket.write(get.slice(0, 3));
  await sleep(5000); // longer than what makes it rest: it must not, in the middle of a head
  socket.write(get.slice(3) + get + get);
  await until(() => text.match(/HTTP\/1.1 404/g)?.length === 3, 'three answers', 20_000);
  await until(() => atGateway() === 0, 'it to rest again', 30_000);
  const body = JSON.stringify({ fields: { a: { stringValue: 'x'.repeat(50_000) } } });
  socket.write(`PATCH /v1/projects/shop/databases/(default)/documents/a/c HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 20_000)}`);
  await sleep(5000);
  socket.write(body.slice(20_000));
  await until(() => /HTTP\/1.1 200/.test(text), 'the write', 20_000);
  socket.destroy();
});

test('those who rest for too long are ended, and may come again', { skip }, async () => {
  const other = await start('5s');
  const client = new Client(other);
  try {
    await client.get();
    await until(() => client.open === 0, 'the end of the connection', 60_000);
    await client.get();
  } finally {
    client.agent.destroy();
    other.discard();
  }
});

test('the server stops at once, with connections that rest', { skip }, async () => {
  const client = new Client();
  await client.get();
  await until(() => atGateway() === 0, 'it to rest', 30_000);
  await server.stop();
  await until(() => client.open === 0, 'the connection to end');
  client.agent.destroy();
});
