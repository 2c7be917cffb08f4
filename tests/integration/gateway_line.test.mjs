// More requests of HTTP/1.1 at once than the gateway has places for: they wait in line, in their order, and who waits too
// long is told to try again later. (Not on a developer's port, which has no pump in front of the gateway.)
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ANY_PORT, OPEN } from './support/certificates.mjs';
import { runSkerry, skerryOnly, startServer } from './support/server.mjs';
import { until } from './support/wait.mjs';

const skip = skerryOnly;
/** 64M have places for some 75. */
const PLACES = 76;
const LINE_MS = 10_000;
const GET = 'GET /v1/projects/shop/databases/(default)/documents/a/b HTTP/1.1\r\nHost: x\r\n\r\n';
/** A stream that nothing ends. */
const HELD = 'POST /grpc.health.v1.Health/Watch HTTP/1.1\r\nHost: x\r\nContent-Type: application/grpc-web+proto\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0';
let server;

before(async () => {
  if (!skip) server = await startServer({ args: [...ANY_PORT, '--plaintext', ...OPEN, '--projects', 'shop', '--profile', 'tiny', '--memory-limit', '64M', '--metrics', 'local', '--connections-max', '3000', '--connections-per-address-max', '3000', '--handshakes-max', '3000'] });
});
after(() => server?.discard());

/** A connection that keeps what it got, and when it ended. */
class Raw {
  constructor() {
    this.text = '';
    this.socket = net.connect(server.port, '127.0.0.1').setNoDelay();
    this.socket.on('data', (bytes) => (this.text += bytes)).on('error', () => {}).once('close', () => (this.closed = true));
    this.connected = new Promise((resolve) => this.socket.once('connect', resolve));
  }
  async send(text) {
    await this.connected;
    this.at = Date.now();
    this.socket.write(text);
    return this;
  }
  get status() {
    return Number(this.text.match(/^HTTP\/1\.1 (\d+)/)?.[1] ?? 0);
  }
}
const many = (count, text) => Promise.all(Array.from({ length: count }, () => new Raw().send(text)));
const drop = (all) => all.forEach((one) => one.socket.destroy());
const places = () => Number(runSkerry(['status', '--data', server.dataDir]).stdout.match(/^http +(\d+) connections/m)[1]);
async function metric(name) {
  const text = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
  return Number(text.match(new RegExp(`^${name} (\\d+)`, 'm'))[1]);
}
function tally(all) {
  const sum = {};
  for (const one of all) {
    const what = one.closed && !one.status ? 'closed' : one.status;
    sum[what] = (sum[what] ?? 0) + 1;
  }
  return sum;
}
const empty = () => until(() => places() === 0, () => runSkerry(['status', '--data', server.dataDir]).stdout, 30_000);
/** All places and some in line. */
async function fill() {
  await empty();
  const holders = await many(PLACES + 4, HELD);
  await until(() => places() >= 70, () => `${places()} of the places are taken: ${JSON.stringify(tally(holders))}; ${holders[0].text}`, 10_000);
  return holders;
}

test('a thousand at once are all answered', { skip }, async () => {
  const all = await Promise.all(Array.from({ length: 1000 }, () => new Raw()).map(async (one) => (await one.connected, one)));
  await Promise.all(all.map((one) => one.send(GET)));
  await until(() => all.every((one) => one.status || one.closed), () => `answers: ${JSON.stringify(tally(all))}`, 30_000);
  assert.deepEqual(tally(all), { 404: 1000 });
  drop(all);
});

test('who finds no place waits for one', { skip }, async () => {
  const holders = await fill();
  const waiting = await many(20, GET);
  await sleep(1000);
  assert.deepEqual(tally(waiting), { 0: 20 }, 'they wait');
  drop(holders.slice(0, 40));
  await until(() => waiting.every((one) => one.status || one.closed), () => `answers: ${JSON.stringify(tally(waiting))}`, 8000);
  assert.deepEqual(tally(waiting), { 404: 20 });
  waiting.forEach((one) => (one.text = ''));
  await Promise.all(waiting.map((one) => one.send(GET)));
  await until(() => waiting.every((one) => one.status), 'the next answers on the same connections');
  drop([...holders, ...waiting]);
});

test('who waits too long is told to come later, and that the server lives', { skip }, async () => {
  const before = await metric('skerry_http_busy_total');
  const holders = await fill();
  const waiting = await many(20, GET);
  const gone = await many(20, GET);
  await sleep(500);
  drop(gone); // these are not answered, nor counted
  await until(() => waiting.every((one) => one.closed), () => `answers: ${JSON.stringify(tally(waiting))}`, 40_000);
  drop(holders);
  for (const one of waiting) {
    assert.equal(one.status, 503, one.text);
    assert.match(one.text, /^HTTP\/1\.1 503 [^]*\r\nRetry-After: 2\r\n/);
    const [head, body] = one.text.split('\r\n\r\n');
    assert.equal(Number(head.match(/Content-Length: (\d+)/)[1]), body.length);
    assert.deepEqual(JSON.parse(body).error, { code: 503, message: 'This server is overloaded. Try again after the time given.', status: 'UNAVAILABLE' });
    assert.ok(Date.now() - one.at >= LINE_MS - 1500, 'not at once');
  }
  await empty();
  assert.equal((await metric('skerry_http_busy_total')) - before, 20 + holders.filter((one) => one.status === 503).length);
  assert.equal(await metric('skerry_http_line'), 0);
});

test('those in line hold little memory together', { skip }, async () => {
  const holders = await fill();
  const resident = server.residentBytes();
  const large = `POST /v1/projects/shop/databases/(default)/documents:commit HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n${' '.repeat(59_999)}`;
  const all = await many(200, large);
  await until(() => all.filter((one) => one.status === 503).length >= 180, () => `answers: ${JSON.stringify(tally(all))}`, 8000);
  assert.ok(server.residentBytes() - resident < 8 << 20, `${server.residentBytes() - resident} bytes more`);
  drop([...holders, ...all]);
});

test('connections that never get to a request do not keep the places', { skip }, async () => {
  await empty();
  const beginners = await many(PLACES + 4, 'G');
  await until(() => places() >= 70, 'the places to be taken');
  const one = await new Raw().send(GET);
  await until(() => one.status || one.closed, 'an answer', 9000);
  assert.equal(one.status, 404, one.text);
  drop([...beginners, one]);
});

test('the server stops at once, with some in line', { skip }, async () => {
  const holders = await fill();
  const waiting = await many(20, GET);
  await sleep(200);
  await server.stop();
  await until(() => [...holders, ...waiting].every((one) => one.closed), 'all to end', 15_000);
  assert.ok(waiting.every((one) => one.status === 503 || !one.text), JSON.stringify(tally(waiting)));
  drop([...holders, ...waiting]);
});
