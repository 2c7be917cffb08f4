// Machines that are not as they should be: a clock that began in 1970 or steps by years, a medium that can only be read, no random
// numbers yet, large pages. A library that is loaded before the program (tests/support/machine_shim.c) makes this one look so.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';

import { code, fails, freshDatabase, Rpc, value as v } from './support/rpc.mjs';
import { isEmulator, makeTempDir, removeDir, runSkerry, Server, startServer } from './support/server.mjs';
import { until } from './support/wait.mjs';

const SHIM = process.env.SKERRY_MACHINE_SHIM;
const skip = isEmulator || !SHIM ? 'needs the shim, which sanitizers and other processors do not take' : false;
const PLAIN = ['--listen', '127.0.0.1:0', '--access', 'open', '--i-accept-open-access', '--plaintext', '--projects', 'demo-skerry'];
const YEARS_S = 56 * 365 * 24 * 3600;

async function on(t, machine, options = {}) {
  const server = await startServer({ ...options, env: { LD_PRELOAD: SHIM, ...machine } });
  t.after(() => server.close());
  const rpc = new Rpc(server.address);
  t.after(() => rpc.close());
  return { server, rpc };
}

async function write(rpc, db, id, number) {
  const { commit_time } = await rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc(`c/${id}`), fields: { n: v.int(number) } } }] });
  return BigInt(commit_time.seconds) * 1_000_000n + BigInt(Math.floor((commit_time.nanos ?? 0) / 1000));
}

function status(server) {
  const { stdout } = runSkerry(['status', '--data', server.dataDir]);
  return stdout;
}

test('a box that boots in 1970: commit times never go back', { skip }, async (t) => {
  const dataDir = makeTempDir();
  t.after(() => removeDir(dataDir));
  const offset = path.join(dataDir, '.offset');
  fs.writeFileSync(offset, '0');
  const machine = { SKERRY_SHIM_WALL_OFFSET_S: offset };
  const store = path.join(dataDir, 'store');
  const db = freshDatabase('(default)', 'demo-skerry');
  const times = [];

  await t.test('first with the right time', async (t) => {
    const { rpc } = await on(t, machine, { dataDir: store, args: [...PLAIN, '--clock', 'trusted'] });
    times.push(await write(rpc, db, 'a', 1));
  });
  fs.writeFileSync(offset, `-${YEARS_S}`);
  await t.test('then in 1970', async (t) => {
    const { server, rpc } = await on(t, machine, { dataDir: store, args: PLAIN });
    times.push(await write(rpc, db, 'a', 2), await write(rpc, db, 'a', 3));
    assert.match(status(server), /clock {5}NOT TRUSTED \(not synchronised, and behind the newest commit by more than a day: set the time\)/);
    await until(() => /the clock is not trusted/.test(server.log), () => server.log); // its log arrives in its own time
    assert.equal((await rpc.call('GetDocument', { name: db.doc('c/a') })).fields.n.integer_value, '3');
  });
  fs.writeFileSync(offset, `${YEARS_S}`);
  await t.test('then in the far future, which nobody vouches for', async (t) => {
    const { rpc } = await on(t, machine, { dataDir: store, args: PLAIN });
    times.push(await write(rpc, db, 'a', 4));
    assert.ok(times.at(-1) - times[0] < 3_600_000_000n, 'a wrong clock is not believed');
  });
  fs.writeFileSync(offset, '0');
  await t.test('then it steps while the server runs', async (t) => {
    const { server, rpc } = await on(t, machine, { dataDir: store, args: [...PLAIN, '--clock', 'trusted', '--metrics', 'local'] });
    times.push(await write(rpc, db, 'a', 5));
    fs.writeFileSync(offset, `-${YEARS_S}`);
    times.push(await write(rpc, db, 'a', 6), await write(rpc, db, 'a', 7));
    const metrics = await (await fetch(`http://${server.address}/metrics`)).text();
    assert.ok(Number(metrics.match(/^skerry_clock_ahead_seconds (\S+)$/m)[1]) > YEARS_S / 2);
    assert.match(status(server), /behind the newest commit by more than a day: is it right\?/);
    fs.writeFileSync(offset, '0');
    times.push(await write(rpc, db, 'a', 8));
  });
  for (let i = 1; i < times.length; i++) assert.ok(times[i] > times[i - 1], `${times}`);
});

test('a medium that becomes read-only and is mounted for writing again', { skip }, async (t) => {
  const flag = path.join(makeTempDir(), 'read-only'), noSync = `${flag}-sync`;
  t.after(() => removeDir(path.dirname(flag)));
  const { server, rpc } = await on(t, { SKERRY_SHIM_READ_ONLY: flag, SKERRY_SHIM_NO_SYNC: noSync }, { args: PLAIN });
  const db = freshDatabase('(default)', 'demo-skerry');
  await write(rpc, db, 'a', 1);
  for (let round = 0; round < 2; round++) {
    if (round === 1) { // as the kernel does it: first an error, then the remount
      fs.writeFileSync(noSync, '');
      await fails(write(rpc, db, 'b', round), code.UNAVAILABLE);
    }
    fs.writeFileSync(flag, '');
    await fails(write(rpc, db, 'b', round), code.UNAVAILABLE, /no writes for now/);
    await until(() => server.log.match(/health changed.*can only be read/g)?.length > round, () => server.log);
    assert.equal((await rpc.call('GetDocument', { name: db.doc('c/a') })).fields.n.integer_value, '1');
    assert.match(status(server), /PROBLEM {3}The file system of the store can only be read/);
    fs.rmSync(noSync, { force: true });
    fs.unlinkSync(flag);
    await until(async () => await write(rpc, db, 'b', round).catch(() => null), () => server.log);
    assert.doesNotMatch(status(server), /PROBLEM {3}The file/);
    await until(() => server.log.match(/healthy again/g)?.length > round, () => server.log);
  }
});

test('memory that gets short around it: caches shrink, everything goes on', { skip }, async (t) => {
  const meminfo = path.join(makeTempDir(), 'meminfo');
  t.after(() => removeDir(path.dirname(meminfo)));
  const total = 1_000_000;
  const available = (kib) => fs.writeFileSync(meminfo, `MemTotal: ${total} kB\nMemFree: 1 kB\nMemAvailable:   ${kib} kB\n`);
  available(500_000);
  const { server, rpc } = await on(t, { SKERRY_SHIM_MEMINFO: meminfo }, { args: [...PLAIN, '--metrics', 'local', '--memory-limit', '128M'] });
  const metric = async (name) => Number((await (await fetch(`http://${server.address}/metrics`)).text()).match(new RegExp(`^${name} (\\S+)$`, 'm'))[1]);
  const db = freshDatabase('(default)', 'demo-skerry');
  await write(rpc, db, 'a', 1);
  assert.equal(await metric('skerry_caches_sixteenths'), 16);
  const capacity = await metric('skerry_rocksdb_cache_capacity_bytes');

  available(10_000);
  await until(async () => (await metric('skerry_caches_sixteenths')) === 1, () => server.log);
  assert.ok((await metric('skerry_rocksdb_cache_capacity_bytes')) <= capacity / 16);
  await until(() => /memory is short: caches shrink/.test(server.log), () => server.log);
  assert.match(status(server), /PROBLEM {3}memory is short around the server \(966 of 976 MiB used\): caches shrunk to 1\/16/);
  await write(rpc, db, 'b', 2);
  for (const id of ['a', 'b']) assert.equal((await rpc.call('GetDocument', { name: db.doc(`c/${id}`) })).fields.n.integer_value, id === 'a' ? '1' : '2');

  available(500_000); // at ease for half a minute, a step up
  await until(async () => (await metric('skerry_caches_sixteenths')) > 1, () => server.log, 90_000);
  await until(() => /memory is at ease: caches grow/.test(server.log), () => server.log);
});

test('no random numbers at the start: it waits and says so', { skip }, async (t) => {
  const flag = path.join(makeTempDir(), 'none');
  t.after(() => removeDir(path.dirname(flag)));
  fs.writeFileSync(flag, '');
  const server = new Server({ args: PLAIN, env: { LD_PRELOAD: SHIM, SKERRY_SHIM_NO_ENTROPY: flag } });
  t.after(() => server.close());
  const started = server.start();
  await until(() => /waiting for the kernel's random numbers/.test(server.log), () => server.log);
  assert.equal(server.addresses().length, 0);
  fs.unlinkSync(flag);
  await started;
});

for (const page of [16384, 65536])
  test(`pages of ${page} bytes`, { skip }, async (t) => {
    const { server, rpc } = await on(t, { SKERRY_SHIM_PAGE: String(page) }, { args: PLAIN });
    const db = freshDatabase('(default)', 'demo-skerry');
    for (let i = 0; i < 50; i++) await write(rpc, db, `d${i}`, i);
    const { documents } = await rpc.call('ListDocuments', { parent: `${db.name}/documents`, collection_id: 'c', page_size: 100 });
    assert.equal(documents.length, 50);
    await server.kill();
    await server.start();
    const again = new Rpc(server.address);
    t.after(() => again.close());
    assert.equal((await again.call('GetDocument', { name: db.doc('c/d7') })).fields.n.integer_value, '7');
    await until(() => server.log.includes(`page_bytes=${page}`), () => server.log);
  });

test('data directories that cannot be used are refused with what to do', { skip: isEmulator }, async (t) => {
  const directory = makeTempDir();
  t.after(() => removeDir(directory));
  fs.writeFileSync(path.join(directory, 'file'), '');
  const cases = [
    [path.join(directory, 'file'), /is not a directory/],
    [path.join(directory, 'file', 'below'), /Not a directory/],
    [path.join(directory, 'no', 'such', 'parent'), /Cannot make the data directory/],
    ['/proc/skerry', /Cannot make the data directory/],
    [directory, /holds files, but no store of Skerry/],
  ];
  for (const [data, text] of cases) {
    const { code: exit, stderr } = runSkerry(['serve', '--dev', '--listen', '127.0.0.1:0', '--data', data]);
    assert.notEqual(exit, 0);
    assert.match(stderr, text);
  }
});

test('profiles and doctor', { skip: isEmulator }, async (t) => {
  for (const [args, text] of [
    [['--profile', 'huge'], /profile is "huge": it is one of auto\|tiny\|small\|medium\|large/],
    [['--memory-limit', '16M'], /the server needs 48M/],
  ]) {
    const { code: exit, stderr } = runSkerry(['serve', '--dev', '--data', '/nonexistent/x', ...args]);
    assert.equal(exit, 2);
    assert.match(stderr, text);
  }
  const { stdout } = runSkerry(['profile', '--profile', 'small']);
  assert.match(stdout, /^profile=small\nmachine_profile=\w+\nmemory_limit=\d+\nmemory_max=\d+\nconnections_max=4000\nstack=524288\n$/);
  assert.match(runSkerry(['profile', '--profile', 'small', '--connections-max', '7']).stdout, /connections_max=7\n/);
  assert.match(runSkerry(['help', 'profiles']).stdout, /tiny +small +medium +large/);

  const directory = makeTempDir();
  t.after(() => removeDir(directory));
  const doctor = runSkerry(['doctor', '--data', directory, '--clock', 'trusted']);
  assert.match(doctor.stdout, /medium +a sync takes/);
  assert.match(doctor.stdout, /profile +\w+ fits/);
  assert.deepEqual(fs.readdirSync(directory), []); // nothing stays
  const wrong = runSkerry(['doctor', '--data', '/proc/skerry', '--clock', 'trusted']);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stdout, /WRONG +No file can be written in \/proc/);
});

for (const profile of ['tiny', 'small', 'medium', 'large'])
  test(`the profile ${profile} serves`, { skip: isEmulator }, async (t) => {
    const server = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--profile', profile] });
    t.after(() => server.close());
    const rpc = new Rpc(server.address);
    t.after(() => rpc.close());
    const db = freshDatabase('(default)', 'demo-skerry');
    await Promise.all(Array.from({ length: 200 }, (_, i) => write(rpc, db, `d${i}`, i)));
    await server.stop();
    await server.start();
    const again = new Rpc(server.address);
    t.after(() => again.close());
    assert.equal((await again.call('GetDocument', { name: db.doc('c/d199') })).fields.n.integer_value, '199');
    assert.match(status(server), new RegExp(`profile ${profile}\n`));
  });
