// TLS as a weapon: handshakes that are begun in floods, records that are odd, keys that change all the time. Well-behaved
// clients call meanwhile, and what it costs is measured.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Wire, data, headers, ping } from './support/frames.mjs';
import { startHonest } from './support/honest.mjs';
import { request } from './support/hpack.mjs';
import { measure, mib, settle } from './support/process.mjs';
import { isEmulator, makeTempDir, removeDir, startServer } from './support/server.mjs';
import { patient } from './support/wait.mjs';

const MIB = 1 << 20;
const skip = isEmulator ? 'only skerry does this' : spawnSync('openssl', ['version']).error ? 'openssl is not installed' : false;
const KEY_CHANGES = process.env.SKERRY_KEY_CHANGES ?? '';
const HONEST_MS_MAX = 3000;
const GET = '/google.firestore.v1.Firestore/GetDocument';

let server, honest, directory, sanitized;
before(async () => {
  if (skip) return;
  directory = makeTempDir();
  const [cert, key] = ['cert.pem', 'key.pem'].map((name) => path.join(directory, name));
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert]);
  assert.equal(made.status, 0, String(made.stderr));
  server = await startServer({
    args: ['--listen', '127.0.0.1:0', '--log-level', 'error', '--clock', 'trusted', '--access', 'open', '--i-accept-open-access', '--tls-cert', cert, '--tls-key', key, '--handshake-timeout', '2s'],
  });
  sanitized = server.isInstrumented;
  honest = await startHonest(server.address, true);
  await sleep(300);
  await settle(server.pid);
});
after(async () => {
  if (skip) return;
  const { calls, failures, p50, p99, most } = await honest.stop();
  console.log(`a well-behaved client meanwhile: ${calls} calls, ${failures.length} failed, ms: p50 ${p50}, p99 ${p99}, most ${most}`);
  await server.close();
  removeDir(directory);
  assert.deepEqual(failures, []);
  assert.ok(most < HONEST_MS_MAX * (sanitized ? 5 : 1), `one call took ${most} ms`);
});

const connect = () =>
  new Promise((resolve) => {
    const socket = net.connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.once('connect', () => resolve(socket)).once('close', () => resolve(socket));
  });
const closing = (socket, ms = 5000) => (socket.destroyed ? Promise.resolve(true) : Promise.race([new Promise((resolve) => socket.once('close', () => resolve(true))), sleep(patient(ms)).then(() => false)]));
const cost = ({ cpu, grew, ms }) => `${cpu.toFixed(2)} s CPU, ${mib(grew)} more, ${ms} ms`;

/** A real first flight, as a client of this kind says it: taken from one that connects to a listener of ours. */
async function hello(options = {}) {
  const listener = net.createServer();
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const flight = new Promise((resolve) => listener.once('connection', (socket) => (socket.on('error', () => {}), socket.once('data', (bytes) => (resolve(bytes), socket.destroy())))));
  const client = tls.connect({ port: listener.address().port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'], ...options });
  client.on('error', () => {});
  const bytes = await flight;
  client.destroy();
  listener.close();
  return bytes;
}

test('first flights in a flood: the server answers each with a signature', { skip }, async (t) => {
  const first = await hello();
  let count = 0;
  const measured = await measure(server.pid, async () => {
    const until = Date.now() + 3000;
    const one = async () => {
      while (Date.now() < until) {
        const socket = await connect();
        const answered = new Promise((resolve) => socket.once('data', resolve));
        socket.write(first);
        await Promise.race([answered, closing(socket, 2000)]);
        socket.destroy();
        count++;
      }
    };
    await Promise.all(Array.from({ length: 30 }, one));
    await settle(server.pid);
  });
  t.diagnostic(`${count} first flights: ${cost(measured)}, ${((measured.cpu * 1e6) / count).toFixed(0)} us each`);
  assert.ok(sanitized || measured.grew < 16 * MIB);
});

test('handshakes that are finished, in a flood', { skip }, async (t) => {
  let count = 0;
  const measured = await measure(server.pid, async () => {
    const until = Date.now() + 2000;
    const one = async () => {
      while (Date.now() < until) {
        const wire = new Wire(server.address, { secure: true, hello: false });
        await wire.connected;
        wire.close();
        count++;
      }
    };
    await Promise.all(Array.from({ length: 10 }, one));
    await settle(server.pid);
  });
  t.diagnostic(`${count} handshakes: ${cost(measured)}, ${((measured.cpu * 1e6) / count).toFixed(0)} us each`);
});

const record = (kind, bytes, version = 0x0301) => Buffer.concat([Buffer.from([kind, version >> 8, version & 255, bytes.length >> 8, bytes.length & 255]), bytes]);

test('first flights that are none', { skip }, async (t) => {
  const first = await hello();
  const body = first.subarray(5);
  const handshake = (length, bytes) => Buffer.concat([Buffer.from([1, length >> 16, (length >> 8) & 255, length & 255]), bytes]);
  const byByte = Buffer.concat([...body].map((byte) => record(22, Buffer.from([byte]))));
  const cases = {
    'a hello of 16 MB, announced': record(22, handshake(0xffffff, Buffer.alloc(16000))),
    'a hello of 60 KB, in records of 16 KB': Buffer.concat([record(22, handshake(60_000, Buffer.alloc(16000))), ...Array.from({ length: 3 }, () => record(22, Buffer.alloc(15_000)))]),
    'a record of 64 KB, announced': Buffer.from([22, 3, 1, 0xff, 0xff, 1]),
    'empty records, thousands': Buffer.alloc(5 * 20_000, record(22, Buffer.alloc(0))),
    'alerts, thousands': Buffer.alloc(7 * 20_000, record(21, Buffer.from([1, 0]))),
    'changes of cipher, thousands': Buffer.alloc(6 * 20_000, record(20, Buffer.from([1]))),
    'application data first': record(23, Buffer.alloc(1000)),
    'SSL 2': Buffer.from('802e0100020015000000100100800200800300800400800500800600400700c0', 'hex'),
    'TLS 1.0': await hello({ minVersion: 'TLSv1', maxVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }).catch(() => record(22, handshake(4, Buffer.alloc(4)))),
    'a hello and then garbage': Buffer.concat([first, Buffer.alloc(100_000, 0x17)]),
    'random bytes': Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919 + (i >> 3) * 31) & 255)),
  };
  const measured = await measure(server.pid, async () => {
    for (const [what, bytes] of Object.entries(cases)) {
      const socket = await connect();
      socket.resume();
      socket.write(bytes);
      assert.ok(await closing(socket, 6000), `${what}: it stays open`);
    }
    await settle(server.pid);
  });
  t.diagnostic(`${Object.keys(cases).length} cases: ${cost(measured)}`);
  assert.ok(sanitized || measured.grew < 8 * MIB);
  const slow = await connect();
  slow.write(byByte);
  assert.ok(await Promise.race([new Promise((resolve) => slow.once('data', () => resolve(true))), sleep(patient(3000))]), 'a hello in records of one byte is answered');
  slow.destroy();
});

test('a hello that is changed at each of its bytes', { skip }, async (t) => {
  const first = await hello();
  const measured = await measure(server.pid, async () => {
    for (let at = 0; at < first.length; at += 16)
      await Promise.all(Array.from({ length: Math.min(16, first.length - at) }, async (_, i) => {
        const bytes = Buffer.from(first);
        bytes[at + i] ^= 1 << (at + i) % 8;
        const socket = await connect();
        socket.resume();
        socket.write(bytes);
        socket.end();
        await closing(socket, 4000);
        socket.destroy();
      }));
    await settle(server.pid);
  });
  t.diagnostic(`${first.length} hellos: ${cost(measured)}`);
  assert.ok(server.running);
});

test('HTTP/2 in records of one byte', { skip }, async (t) => {
  const wire = new Wire(server.address, { secure: { maxVersion: 'TLSv1.3' }, hello: false });
  await wire.connected;
  const bytes = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]), headers(1, request(GET, Array.from({ length: 20 }, (_, i) => [`x-${i}`, 'v'.repeat(200)]))), data(1, Buffer.from([0, 0, 0, 0, 0]))]);
  const measured = await measure(server.pid, async () => {
    for (const byte of bytes) wire.socket.write(Buffer.from([byte]));
    assert.ok(await wire.until((one) => one.ended.has(1), 5000), 'it is answered');
    await settle(server.pid);
  });
  t.diagnostic(`${bytes.length} records: ${cost(measured)}`);
  wire.close();
});

/** openssl s_client, which asks for another handshake ("R") at the beginning of a line. */
function sClient(args, input, ms) {
  const result = spawnSync('openssl', ['s_client', '-connect', server.address, '-alpn', 'h2', ...args], { input, timeout: ms, encoding: 'latin1', maxBuffer: 64 * MIB });
  return result.stdout + result.stderr;
}

test('another handshake in TLS 1.2 is refused', { skip }, async () => {
  const said = sClient(['-tls1_2'], 'R\n', 4000);
  assert.match(said, /Protocol\s*:\s*TLSv1\.2/);
  assert.match(said, /RENEGOTIATING/);
  assert.match(said, /no renegotiation|alert|error|unexpected/i);
});

test('keys that change all the time', { skip: skip || (fs.existsSync(KEY_CHANGES) ? false : 'SKERRY_KEY_CHANGES names no program: build key_changes') }, async (t) => {
  for (const [what, count, withData] of [['with a byte between them', 40_000, '1'], ['with nothing between them', 40_000, '0']]) {
    let sent, outcome = '';
    const measured = await measure(server.pid, async () => {
      const child = spawn(KEY_CHANGES, ['127.0.0.1', String(server.port), String(count), withData], { stdio: ['ignore', 'pipe', 'inherit'] });
      child.stdout.on('data', (chunk) => (outcome += chunk));
      const timer = setTimeout(() => child.kill('SIGKILL'), patient(8000));
      await new Promise((resolve) => child.once('exit', resolve));
      clearTimeout(timer);
      await settle(server.pid);
    });
    sent = parseInt(outcome);
    t.diagnostic(`${outcome.trim()}: ${sent} of ${count} changes ${what}: ${cost(measured)}, ${((measured.cpu * 1e5) / sent).toFixed(2)} s for 100,000`);
    assert.ok(sent > 0, 'it began');
    assert.ok(sanitized || measured.grew < 4 * MIB, mib(measured.grew));
    if (withData === '0') assert.match(outcome, /ended/, 'it is stopped');
  }
});

test('data before the handshake is over (0-RTT) is not offered', { skip }, async () => {
  let session;
  const socket = tls.connect({ host: '127.0.0.1', port: server.port, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  socket.on('error', () => {});
  socket.on('session', (one) => (session = one));
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0');
  for (let i = 0; i < 100 && !session; i++) await sleep(20);
  socket.destroy();
  assert.ok(session, 'there are tickets');
  const file = path.join(directory, 'session.pem');
  sClient(['-tls1_3', '-sess_out', file], `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${'\0\0\0\x04\0\0\0\0\0'}`, 2500);
  const said = spawnSync('openssl', ['sess_id', '-in', file, '-text', '-noout'], { encoding: 'utf8' }).stdout;
  if (said) assert.match(said, /Max Early Data: 0/);
});

test('the guard behind TLS: a flood of pings', { skip }, async (t) => {
  const wire = new Wire(server.address, { secure: true });
  await wire.until((one) => one.settings, 3000);
  const measured = await measure(server.pid, async () => {
    wire.write(Buffer.alloc(17 * 100_000, ping()));
    assert.ok(await wire.until((one) => one.goaway, 3000), 'no GOAWAY');
    assert.match(wire.goaway.text, /too many frames/);
    await wire.over(4000);
    wire.close();
    await settle(server.pid);
  });
  t.diagnostic(`100,000 pings: ${cost(measured)}`);
  assert.ok(sanitized || (measured.cpu < 0.5 && measured.grew < 4 * MIB));
});

test('an offence while nobody reads: the connection does not stay', { skip }, async () => {
  const wire = new Wire(server.address, { secure: true, paused: true });
  await wire.connected;
  wire.write(Buffer.alloc(17 * 1000, ping()));
  assert.ok(await closing(wire.socket.resume(), 6000));
});
