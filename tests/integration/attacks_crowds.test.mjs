// Many connections at once: those that never get to the point, those that are opened and left, more than are allowed, more
// than there are descriptors for. Well-behaved clients are served before, meanwhile and after, and the memory comes back.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startCrowd } from './support/crowd.mjs';
import { Wire } from './support/frames.mjs';
import { startHonest } from './support/honest.mjs';
import { cpuSeconds, descriptors, measure, mib, settle } from './support/process.mjs';
import { Rpc, codeName, value as v } from './support/rpc.mjs';
import { isUnderQemu, makeTempDir, removeDir, skerryOnly, startServer } from './support/server.mjs';

const MIB = 1 << 20;
const has = (program, ...args) => !spawnSync(program, args).error;
const noOpenssl = has('openssl', 'version') ? false : 'openssl is not installed';
const noPrlimit = has('prlimit', '--version') ? false : 'prlimit is not installed';
const hardLimit = Number(spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout.trim()) || 1 << 20;

const COMMON = ['--listen', '127.0.0.1:0', '--log-level', 'error', '--clock', 'trusted', '--access', 'open', '--i-accept-open-access'];
const plain = (...args) => keep(startServer({ args: [...(process.env.SKERRY_ATTACK_BARE === '1' ? ['--dev', ...COMMON.slice(0, 4)] : ['--plaintext', ...COMMON]), ...args] }));

// What a test that fails leaves behind.
const left = [];
const keep = async (made) => (left.push(await made), made);
const honestly = (...how) => keep(startHonest(...how));
const crowdOf = (...how) => keep(startCrowd(...how));
afterEach(async () => {
  for (const one of left.splice(0)) await (one.leave ?? one.end ?? one.discard).call(one);
});

let certificate;
/** A server with TLS, and an ECDSA certificate made now. */
async function secure(...args) {
  certificate ??= makeTempDir();
  process.once('exit', () => removeDir(certificate));
  const [cert, key] = ['cert.pem', 'key.pem'].map((name) => path.join(certificate, name));
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert]);
  assert.equal(made.status, 0, String(made.stderr));
  return keep(startServer({ args: [...COMMON, '--tls-cert', cert, '--tls-key', key, ...args] }));
}

async function served(server, isSecure, ms = 200) {
  const client = await honestly(server.address, isSecure);
  await sleep(ms);
  const result = await client.stop();
  assert.deepEqual(result.failures, []);
  return result;
}
/** Until the server has noticed that they are gone. */
async function emptied(server) {
  for (let i = 0; i < 100 && descriptors(server.pid) > 80; i++) await sleep(100);
}
const times = ({ calls, p50, p99, most }) => `${calls} calls, ms: p50 ${p50}, p99 ${p99}, most ${most}`;

// ---- Slow ones ----

async function slowOnes(t, server, isSecure, kinds, each) {
  await served(server, isSecure);
  const honest = await honestly(server.address, isSecure);
  let crowds;
  const measured = await measure(server.pid, async () => {
    crowds = await Promise.all(kinds.map((kind, i) => crowdOf(server.address, kind, each, `127.0.0.${i + 1}`)));
    const until = Date.now() + 9000;
    for (;;) {
      const states = await Promise.all(crowds.map((crowd) => crowd.state()));
      if (states.every((state) => state.closed === state.opened) || Date.now() > until) return states;
      await sleep(100);
    }
  });
  const result = await honest.stop();
  for (const crowd of crowds) await crowd.leave();
  for (const [i, state] of measured.result.entries()) t.diagnostic(`${kinds[i]}: ${state.opened} connections, ${state.closed} closed, ${state.firstClosedMs} to ${state.lastClosedMs} ms after the first was begun`);
  t.diagnostic(`${mib(measured.grew)} more, ${measured.cpu.toFixed(2)} s CPU; a well-behaved client meanwhile: ${times(result)}, ${result.failures.length} failed`);
  for (const [i, state] of measured.result.entries()) assert.equal(state.closed, state.opened, `${kinds[i]}: some stay`);
  assert.deepEqual(result.failures, []);
  await server.close();
}

test('2,000 that say it slowly, without TLS', { skip: skerryOnly }, async (t) => {
  const kinds = ['silent', 'half a preface', 'a preface, byte by byte', 'a preface and no SETTINGS', 'no acknowledgement', 'half a HEADERS frame', 'HEADERS without an end'];
  await slowOnes(t, await plain('--handshake-timeout', '1500ms', '--handshakes-max', '20000'), false, kinds, 290);
});

test('2,000 that say it slowly, with TLS', { skip: skerryOnly || noOpenssl }, async (t) => {
  const kinds = ['silent', 'half a TLS hello', 'a TLS hello, byte by byte', 'TLS and silent'];
  await slowOnes(t, await secure('--handshake-timeout', '2s', '--handshakes-max', '20000'), true, kinds, 500);
});

test('more that wait than are allowed: the oldest give way', { skip: skerryOnly }, async (t) => {
  const server = await plain('--handshake-timeout', '60s', '--handshakes-max', '200');
  const honest = await honestly(server.address);
  const crowd = await crowdOf(server.address, 'silent', 3000);
  await sleep(300);
  const { opened, closed } = await crowd.state();
  const result = await honest.stop();
  t.diagnostic(`${opened} opened, ${closed} gave way; a well-behaved client meanwhile: ${times(result)}, ${result.failures.length} failed`);
  assert.ok(opened - closed <= 200, `${opened - closed} wait`);
  assert.deepEqual(result.failures, []);
  await crowd.leave();
  await server.close();
});

// ---- Those that stay ----

/** As many as asked for and as descriptors allow: what each costs, and that all of it comes back. */
async function staying(t, server, isSecure, kind, wanted, bytesMax) {
  const count = Math.min(wanted, Math.floor((hardLimit - 600) / 3));
  await served(server, isSecure, 400);
  await settle(server.pid);
  const honest = await honestly(server.address, isSecure);
  const before = server.residentBytes(), cpu = cpuSeconds(server.pid);
  const parts = isSecure ? 2 : 4;
  const started = Date.now();
  const crowds = await Promise.all(Array.from({ length: parts }, (_, i) => crowdOf(server.address, kind, Math.floor(count / parts), `127.0.1.${i + 1}`)));
  const ms = Date.now() - started;
  await settle(server.pid);
  const spent = cpuSeconds(server.pid) - cpu;
  const states = await Promise.all(crowds.map((crowd) => crowd.state()));
  const open = states.reduce((sum, state) => sum + state.opened - state.closed, 0);
  const each = (server.residentBytes() - before) / open;
  const used = descriptors(server.pid);
  const result = await honest.stop();
  for (const crowd of crowds) await crowd.leave();
  await emptied(server);
  await settle(server.pid);
  await served(server, isSecure);
  const bound = 24 * MIB + open * 300;
  for (let i = 0; i < 100 && server.residentBytes() - before > bound; i++) await sleep(100);
  const after = server.residentBytes();
  t.diagnostic(`${kind}: ${open} stay (opened in ${ms} ms with ${spent.toFixed(2)} s CPU, ${used} descriptors), ${(each / 1024).toFixed(1)} KiB each, ${mib(after - before)} more after they left; a well-behaved client meanwhile: ${times(result)}, ${result.failures.length} failed`);
  assert.ok(open >= Math.floor(count / parts) * parts * 0.99, `${open} of ${count}`);
  assert.deepEqual(result.failures, []);
  assert.ok(descriptors(server.pid) <= 100, 'descriptors come back');
  if (isUnderQemu || before > 150 * MIB) return; // sanitizers keep what is freed
  assert.ok(each < bytesMax, `${each} bytes`);
  assert.ok(after - before <= bound, mib(after - before));
}

const ROOMY = ['--connections-max', '30000', '--handshakes-max', '30000', '--handshake-timeout', '60s'];

test('6,000 silent ones', { skip: skerryOnly }, async (t) => {
  const server = await plain(...ROOMY);
  await staying(t, server, false, 'silent', 6000, 4 * 1024);
  await server.close();
});

test('3,000 that have opened HTTP/2', { skip: skerryOnly }, async (t) => {
  const server = await plain(...ROOMY);
  await staying(t, server, false, 'open', 3000, 40 * 1024);
  await server.close();
});

test('800 that have finished TLS, and as many that have opened HTTP/2', { skip: skerryOnly || noOpenssl }, async (t) => {
  const server = await secure(...ROOMY);
  await staying(t, server, true, 'TLS and silent', 800, 32 * 1024);
  await staying(t, server, true, 'TLS and open', 800, 64 * 1024);
  await server.close();
});

test('connections_max and connections_per_address_max hold, and let in again', { skip: skerryOnly }, async (t) => {
  const server = await plain('--connections-max', '400', '--connections-per-address-max', '150', '--handshake-timeout', '3s');
  const wire = new Wire(server.address); // one that was there before
  await wire.until((one) => one.settings, 3000);
  const crowds = await Promise.all([2, 3, 4, 5].map((i) => crowdOf(server.address, 'open', 300, `127.0.0.${i}`)));
  await sleep(500);
  const states = await Promise.all(crowds.map((crowd) => crowd.state()));
  const open = states.map((state) => state.opened - state.closed);
  t.diagnostic(`of 4 x 300 stay ${open}`);
  assert.ok(open.every((count) => count <= 150), `${open}`);
  const sum = open.reduce((a, b) => a + b);
  assert.ok(sum <= 400 && sum >= 380, `${sum}`);
  assert.ok(!wire.isEnded, 'who was there stays');
  for (const crowd of crowds) await crowd.leave();
  await emptied(server);
  await served(server);
  wire.close();
  await server.close();
});

test('6,400 connections that come and go', { skip: skerryOnly }, async (t) => {
  const server = await plain('--handshake-timeout', '2s');
  await served(server);
  await settle(server.pid);
  const honest = await honestly(server.address);
  const measured = await measure(server.pid, async () => {
    for (let round = 0; round < 2; round++) {
      const crowds = await Promise.all(['silent', 'half a preface', 'open', 'no acknowledgement'].map((kind, i) => crowdOf(server.address, kind, 800, `127.0.2.${i + 1}`)));
      for (const crowd of crowds) await crowd.leave();
    }
    await settle(server.pid);
  });
  const result = await honest.stop();
  t.diagnostic(`6,400 connections in ${measured.ms} ms: ${measured.cpu.toFixed(2)} s CPU, ${mib(measured.grew)} more at most; a well-behaved client meanwhile: ${times(result)}, ${result.failures.length} failed`);
  assert.deepEqual(result.failures, []);
  await server.close();
});

// ---- No descriptors ----

test('without descriptors: no spinning, the store lives, and it recovers', { skip: skerryOnly || noPrlimit }, async (t) => {
  const server = await plain('--handshake-timeout', '60s', '--memory-limit', '64M');
  const rpc = new Rpc(server.address);
  const commit = (i) => rpc.call('Commit', { database: 'projects/skerry/databases/(default)', writes: [{ update: { name: `projects/skerry/databases/(default)/documents/c/${i}`, fields: { f: v.bytes(Buffer.alloc(500_000, i)) } } }] })
    .then(() => 'OK', (error) => codeName(error.code));
  assert.equal(await commit(0), 'OK');
  const limit = descriptors(server.pid) + 60;
  assert.equal(spawnSync('prlimit', ['--pid', String(server.pid), `--nofile=${limit}:${limit}`]).status, 0);
  const crowd = await crowdOf(server.address, 'open', 300);
  await sleep(300);
  const silent = await crowdOf(server.address, 'silent', 300, '127.0.0.9');
  await sleep(500);
  const cpu = cpuSeconds(server.pid);
  await sleep(1500);
  const spent = (cpuSeconds(server.pid) - cpu) / 1.5;
  const used = descriptors(server.pid);
  const outcome = {};
  for (let i = 1; i <= 80; i++) {
    const how = await commit(i);
    outcome[how] = (outcome[how] ?? 0) + 1;
  }
  await crowd.leave();
  await silent.leave();
  await emptied(server);
  // What had failed may show once more while the store puts itself right.
  const back = Date.now();
  let row = 0;
  for (let i = 100; row < 20 && Date.now() - back < 15_000; i++) {
    row = (await commit(i)) === 'OK' ? row + 1 : 0;
    if (row === 0) await sleep(100);
  }
  const backMs = Date.now() - back;
  t.diagnostic(`${used} of ${limit} descriptors in use: ${(spent * 100).toFixed(0)}% of a core; 40 MB of commits meanwhile: ${JSON.stringify(outcome)}, 20 in a row after ${backMs} ms`);
  assert.ok(server.running, server.log);
  assert.ok(used >= limit - 5, 'they were all in use');
  assert.ok(spent < 0.3, `${spent} of a core`);
  await served(server);
  assert.equal(row, 20, 'it writes again');
  rpc.close();
  await server.close();
});

test('with a small limit of descriptors connections are refused before the store has none', { skip: skerryOnly || noPrlimit }, async (t) => {
  const server = await keep(startServer({ limits: ['prlimit', '--nofile=300:300'], args: ['--plaintext', ...COMMON, '--memory-limit', '64M'] }));
  const rpc = new Rpc(server.address);
  const commit = (i) => rpc.call('Commit', { database: 'projects/skerry/databases/(default)', writes: [{ update: { name: `projects/skerry/databases/(default)/documents/c/${i}`, fields: { f: v.bytes(Buffer.alloc(500_000, i)) } } }] });
  await commit(0);
  const crowd = await crowdOf(server.address, 'open', 400);
  await sleep(300);
  for (let i = 1; i <= 60; i++) await commit(i);
  const { opened, closed } = await crowd.state();
  t.diagnostic(`a limit of 300: ${opened - closed} of ${opened} connections stay, ${descriptors(server.pid)} descriptors in use, 30 MB written meanwhile`);
  await crowd.leave();
  await emptied(server);
  await served(server);
  rpc.close();
  await server.close();
});
