// The program: how it starts, what it refuses, how it stops, and its other subcommands.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { isUnderQemu, makeTempDir, removeDir, runSkerry, Server, skerryBinary, skerryOnly, startServer } from './support/server.mjs';
import { Rpc, code, fails, freshDatabase, value as v } from './support/rpc.mjs';
import { field, frame, openHttp2 } from './support/wire.mjs';
import { patient } from './support/wait.mjs';

const options = { skip: skerryOnly };
let directory;
before(() => (directory = makeTempDir()));
after(() => removeDir(directory));

let counter = 0;
const freshDir = () => path.join(directory, `data${++counter}`);

/** Runs `skerry serve` that must end by itself, with an error. */
function refused(args, { exit, says, env }) {
  const result = runSkerry(['serve', ...args], { env });
  assert.equal(result.signal, null, `it served:\n${result.stdout}`);
  assert.ok(exit.includes(result.code), `exit ${result.code}: ${result.stderr}`);
  assert.match(result.stderr, says);
  return result;
}

// ---- What serve refuses ----

test('insecure settings are refused, with what to do', options, async (t) => {
  const data = freshDir();
  const cases = [
    [['--listen', '0.0.0.0:0'], /TLS/],
    [['--listen', '[::]:0'], /TLS/],
    [['--dev', '--listen', '0.0.0.0:0'], /--lan --i-accept-open-access/],
    [['--dev', '--lan', '--listen', '0.0.0.0:0'], /--i-accept-open-access/],
    [['--dev', '--listen', '127.0.0.1:0', '--listen', '0.0.0.0:0'], /0\.0\.0\.0/],
    [['--access', 'open', '--listen', '127.0.0.1:0'], /--i-accept-open-access/],
    [['--access', 'mtls', '--listen', '127.0.0.1:0'], /TLS/],
  ];
  for (const [args, says] of cases) await t.test(args.join(' '), () => refused(['--data', data, ...args], { exit: [1], says }));
  assert.equal(fs.existsSync(data), false, 'nothing was made');
});

test('development mode says whether rules decide', options, async () => {
  const rules = path.join(directory, 'banner.rules');
  fs.writeFileSync(rules, "service cloud.firestore { match /databases/{d}/documents { match /{all=**} { allow read; } } }\n");
  for (const [more, says, silent] of [[[], /no access control, this machine only/, /rules/], [['--rules', rules], /rules decide for users/, /no access control/]]) {
    const server = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', ...more] });
    try {
      assert.match(server.stdout, says);
      assert.doesNotMatch(server.stdout, silent);
    } finally {
      await server.close();
    }
  }
});

test('mistakes in settings are refused, with their place', options, async (t) => {
  const flags = [
    [['--nope'], /--nope/],
    [['--listen'], /--listen/],
    [['--memory-limit', 'much'], /memory.limit.*much/],
    [['--threads', '1000'], /threads.*1000/],
    [['--access', 'all'], /deny\|mtls\|open/],
    [['stray'], /stray/],
    [['--listen', 'nowhere'], /nowhere/],
    [['--listen', '127.0.0.1:99999'], /99999/],
    [['--dev=perhaps'], /perhaps/],
  ];
  for (const [args, says] of flags) await t.test(args.join(' '), () => refused(['--data', freshDir(), ...args], { exit: [1, 2], says }));
  const files = [
    ['listen = 127.0.0.1:0\n\nnope = 1\n', /:3:.*nope/],
    ['dev = true\nthreads = 1000\n', /:2:.*threads/],
    ['# a comment\nthis is no setting\n', /:2:/],
    ['[section]\ndev = maybe\n', /:2:.*maybe/],
  ];
  for (const [text, says] of files)
    await t.test(JSON.stringify(text), () => {
      const file = path.join(directory, `settings${++counter}.ini`);
      fs.writeFileSync(file, text);
      const { stderr } = refused(['--data', freshDir(), '--config', file], { exit: [2], says });
      assert.ok(stderr.includes(file), stderr);
    });
  await t.test('a file that is not there', () => refused(['--config', path.join(directory, 'no.ini')], { exit: [2], says: /no\.ini/ }));
  await t.test('the environment', () => refused(['--data', freshDir()], { exit: [2], says: /SKERRY_THREADS.*many/, env: { SKERRY_THREADS: 'many' } }));
});

test('flags win over the environment, that over the file', options, async () => {
  const file = path.join(directory, 'order.ini');
  fs.writeFileSync(file, 'dev = true\nprojects = from-file\nlog_level = error\ndata = /nonexistent/never\n');
  const server = await startServer({ args: ['--listen', '127.0.0.1:0', '--config', file], env: { SKERRY_DATA: '/nonexistent/neither' } });
  await server.close();
});

test('a data directory that cannot be used', options, async (t) => {
  const binary = path.join(directory, 'skerry');
  fs.copyFileSync(skerryBinary(), binary);
  fs.chmodSync(binary, 0o755);
  const dev = ['--dev', '--listen', '127.0.0.1:0'];
  const cases = {
    'is a file': (data) => fs.writeFileSync(data, 'x'),
    'holds something else': (data) => (fs.mkdirSync(data), fs.writeFileSync(path.join(data, 'letter.txt'), 'dear')),
    'has a newer format': (data) => (fs.mkdirSync(data), fs.writeFileSync(path.join(data, 'FORMAT'), 'skerry store\nformat 999 ready\n')),
    'has a format that nobody wrote': (data) => (fs.mkdirSync(data), fs.writeFileSync(path.join(data, 'FORMAT'), '\0\0\0\0')),
    'has lost its files': (data) => (fs.mkdirSync(data), fs.writeFileSync(path.join(data, 'FORMAT'), 'skerry store\nformat 1 ready\n')),
  };
  for (const [name, make] of Object.entries(cases))
    await t.test(name, () => {
      const data = freshDir();
      make(data);
      const before = listing(data);
      const { stderr } = refused(['--data', data, ...dev], { exit: [1, 2], says: /./ });
      assert.ok(stderr.includes(data), stderr);
      const verify = runSkerry(['verify', '--data', data]);
      assert.notEqual(verify.code, 0, verify.stdout);
      assert.ok(verify.stderr.length > 20, verify.stderr);
      assert.deepEqual(listing(data), before, 'nothing was changed');
    });
  await t.test('may not be read', { skip: process.getuid() !== 0 && 'needs root, to become somebody else' }, () => {
    const data = freshDir();
    fs.mkdirSync(data, { mode: 0o700 });
    fs.chmodSync(directory, 0o755);
    const nobody = { uid: 65534, gid: 65534, encoding: 'utf8', timeout: patient(10_000) };
    for (const words of [['serve', ...dev], ['verify']]) {
      const result = spawnSync(binary, [...words, '--data', data], nobody);
      assert.ok(result.status > 0, result.stdout);
      assert.match(result.stderr, /permission|cannot/i);
    }
  });
});

function listing(target) {
  if (!fs.statSync(target).isDirectory()) return fs.readFileSync(target, 'latin1');
  return fs.readdirSync(target, { recursive: true }).filter((name) => name !== 'rocksdb' && name !== 'rocksdb/LOCK').sort();
}

// ---- A server that runs ----

test('a second server on the same data is refused, and the first goes on', options, async () => {
  const server = await startServer();
  const rpc = new Rpc(server.address);
  try {
    const db = freshDatabase();
    refused(['--dev', '--listen', '127.0.0.1:0', '--data', server.dataDir], { exit: [1], says: /in use|another/i });
    await rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc('c/x') } }] });
    assert.equal(runSkerry(['status', '--data', server.dataDir]).code, 0, 'its admin socket still answers');
  } finally {
    rpc.close();
    await server.close();
  }
});

test('a port that is taken is refused', options, async () => {
  const other = net.createServer();
  await new Promise((resolve) => other.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = other.address();
    refused(['--dev', '--data', freshDir(), '--listen', `127.0.0.1:${port}`], { exit: [1, 2], says: new RegExp(`${port}.*in use|in use.*${port}`, 'i') });
  } finally {
    other.close();
  }
});

test('--listen several times, also on Unix sockets and IPv6', options, async () => {
  const socket = path.join(directory, 'rpc.sock');
  const hasIpv6 = fs.existsSync('/proc/net/if_inet6') && fs.readFileSync('/proc/net/if_inet6', 'utf8').includes(' lo');
  const listen = ['127.0.0.1:0', '127.0.0.1:0', `unix:${socket}`, ...(hasIpv6 ? ['[::1]:0'] : [])];
  const server = await startServer({ args: ['--dev', ...listen.flatMap((one) => ['--listen', one])] });
  const db = freshDatabase();
  try {
    const addresses = server.addresses();
    assert.equal(addresses.length, listen.length, server.log);
    assert.equal(new Set(addresses).size, listen.length);
    for (const [i, address] of addresses.entries()) {
      const rpc = new Rpc(address);
      await rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc(`c/${i}`) } }] });
      assert.equal((await rpc.call('ListDocuments', { parent: db.root, collection_id: 'c' })).documents.length, i + 1);
      rpc.close();
    }
  } finally {
    await server.close();
  }
  assert.equal(fs.existsSync(socket), false, 'the socket file is removed');
});

test('what the process holds', options, async () => {
  const server = await startServer();
  try {
    const maps = fs.readFileSync(`/proc/${server.pid}/maps`, 'utf8');
    assert.doesNotMatch(maps, /libcrypto\.so\.3|libssl\.so\.3/, 'OpenSSL beside BoringSSL: their symbols have the same names');
    assert.equal(fs.statSync(server.dataDir).mode & 0o077, 0);
    assert.equal(fs.statSync(path.join(server.dataDir, 'admin.sock')).mode & 0o777, 0o600);
    assert.ok(isUnderQemu || server.residentBytes() < 40 << 20, `${server.residentBytes()} bytes resident when idle`);
  } finally {
    await server.close();
  }
});

test('without --dev: who may do what, and which projects are served', options, async (t) => {
  await t.test('deny', async () => {
    const server = await startServer({ args: ['--listen', '127.0.0.1:0', '--projects', 'shop'] });
    const rpc = new Rpc(server.address);
    try {
      const db = freshDatabase('(default)', 'shop');
      await fails(rpc.call('GetDocument', { name: db.doc('c/x') }), code.UNAUTHENTICATED, /token/); // the emulator's owner is nobody here
      rpc.authorization = null;
      await fails(rpc.call('GetDocument', { name: db.doc('c/x') }), code.PERMISSION_DENIED);
      await fails(rpc.call('ListDocuments', { parent: db.root, collection_id: 'c' }), code.PERMISSION_DENIED);
      // A phone keeps what it has queued until there are rules.
      await fails(rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc('c/x') } }] }), code.UNAVAILABLE);
    } finally {
      rpc.close();
      await server.close();
    }
  });
  await t.test('open', async () => {
    const server = await startServer({ args: ['--listen', '127.0.0.1:0', '--projects', 'shop,depot', '--access', 'open', '--i-accept-open-access', '--clock', 'trusted'] });
    const rpc = new Rpc(server.address);
    try {
      assert.match(server.stdout, /OPEN ACCESS/);
      for (const project of ['shop', 'depot']) {
        const db = freshDatabase('(default)', project);
        await rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc('c/x') } }] });
        await rpc.call('GetDocument', { name: db.doc('c/x') });
      }
      const other = freshDatabase('(default)', 'elsewhere');
      await fails(rpc.call('GetDocument', { name: other.doc('c/x') }), code.NOT_FOUND, /elsewhere.*projects/);
      await fails(rpc.call('ListDocuments', { parent: other.root, collection_id: 'c' }), code.NOT_FOUND, /elsewhere/);
      await fails(rpc.collect('BatchGetDocuments', { database: other.name, documents: [other.doc('c/x')] }), code.NOT_FOUND, /elsewhere/);
      await fails(rpc.call('Commit', { database: other.name, writes: [{ update: { name: other.doc('c/x') } }] }), code.UNAVAILABLE, /elsewhere/);
    } finally {
      rpc.close();
      await server.close();
    }
  });
});

// ---- The end ----

/** A call that is under way for as long as its answer, of 20 MB, is not read: {finish(): Promise<answer>}. */
async function slowCall(server, rpc) {
  const db = freshDatabase();
  const paths = Array.from({ length: 20 }, (_, i) => `c/${i}`);
  const text = v.string('x'.repeat(1_000_000));
  for (const one of paths) await rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc(one), fields: { text } } }] });
  const session = openHttp2(server.address);
  const stream = session.request({ ':method': 'POST', ':path': '/google.firestore.v1.Firestore/BatchGetDocuments', 'content-type': 'application/grpc', te: 'trailers' });
  const answer = { bytes: 0 };
  const closed = new Promise((resolve) => {
    stream.on('trailers', (trailers) => (answer.code = Number(trailers['grpc-status'])));
    stream.on('data', (chunk) => (answer.bytes += chunk.length));
    stream.on('error', (error) => (answer.error = error.message));
    stream.on('close', () => resolve(answer));
  });
  stream.pause();
  stream.end(frame(Buffer.concat([field(1, db.name), ...paths.map((one) => field(2, db.doc(one)))])));
  await new Promise((resolve) => stream.once('response', resolve));
  return {
    async finish() {
      stream.resume();
      const result = await closed;
      session.destroy();
      return result;
    },
    drop: () => session.destroy(),
  };
}

async function running(args, run) {
  const server = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', ...args] });
  const rpc = new Rpc(server.address);
  try {
    await run(server, rpc, await slowCall(server, rpc));
  } finally {
    rpc.close();
    server.discard();
  }
}

async function endsWithin(server, ms) {
  const started = Date.now();
  const late = sleep(patient(ms), 'late', { ref: false });
  const end = await Promise.race([server.ended, late]);
  assert.notEqual(end, 'late', `it still runs after ${patient(ms)} ms:\n${server.log}`);
  return { ...end, after: Date.now() - started };
}

test('SIGTERM: calls under way finish, new ones are refused, exit 0', options, () =>
  running(['--drain-timeout', '20s'], async (server, rpc, call) => {
    server.signal('SIGTERM');
    await sleep(500);
    assert.ok(server.running, 'it waits for the call');
    const late = new Rpc(server.address);
    await fails(late.call('GetDocument', { name: freshDatabase().doc('c/x') }, { deadlineMs: 2000 }), code.UNAVAILABLE).catch((error) => {
      if (!/DEADLINE_EXCEEDED/.test(error.message)) throw error;
    });
    late.close();
    const answer = await call.finish();
    assert.equal(answer.code, code.OK, JSON.stringify(answer));
    assert.ok(answer.bytes > 20_000_000);
    const end = await endsWithin(server, 5000);
    assert.equal(end.code, 0, server.log);
  }));

test('SIGTERM: a call that does not finish is cancelled at the deadline, exit 0', options, () =>
  running(['--drain-timeout', '1s'], async (server, rpc, call) => {
    server.signal('SIGTERM');
    const end = await endsWithin(server, 6000);
    assert.equal(end.code, 0, server.log);
    assert.ok(end.after >= 700, `it waited ${end.after} ms`);
    call.drop();
  }));

test('SIGTERM twice ends it at once, and nothing is lost', options, () =>
  running(['--drain-timeout', '60s'], async (server, rpc, call) => {
    const db = freshDatabase();
    await rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc('c/x') } }] });
    server.signal('SIGTERM');
    await sleep(300);
    assert.ok(server.running);
    server.signal('SIGTERM');
    const end = await endsWithin(server, 2000);
    assert.ok(end.code !== null, 'by itself');
    call.drop();
    await server.start();
    const again = new Rpc(server.address);
    assert.ok(await again.call('GetDocument', { name: db.doc('c/x') }));
    again.close();
    await server.stop();
  }));

for (const signal of ['SIGINT', 'SIGHUP'])
  test(`${signal} stops it like SIGTERM`, options, async () => {
    const server = await startServer();
    server.signal(signal);
    assert.equal((await endsWithin(server, 5000)).code, 0, server.log);
    server.discard();
  });

// ---- The other subcommands ----

describe('subcommands', options, () => {
  let server, rpc, db;
  before(async () => {
    if (skerryOnly) return;
    server = await startServer();
    rpc = new Rpc(server.address);
    db = freshDatabase('(default)', 'skerry');
    const fields = {
      text: v.string('a "quoted"\n\0 line'), n: v.int('-9223372036854775808'), half: v.double(0.5), nan: v.double(NaN), at: v.time(0, 1000), bytes: v.bytes([1, 2, 3]),
      where: v.point(1.5, -2), other: v.ref(db.doc('rooms/b')), list: v.array(v.null, v.bool(true), v.map({})), map: v.map({ deep: v.map({ er: v.string('x') }) }),
      vector: v.map({ __type__: v.string('__vector__'), value: v.array(v.double(1), v.double(2)) }),
    };
    await rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc('rooms/a'), fields } }, { update: { name: db.doc('rooms/b') } }, { update: { name: db.doc('rooms/a/seats/1') } }] });
  });
  after(async () => {
    if (skerryOnly) return;
    rpc.close();
    await server.close();
  });

  const run = (...args) => runSkerry(args, { env: { SKERRY_TARGET: server.address, SKERRY_DATA: server.dataDir } });

  test('version', () => {
    for (const word of ['version', '--version']) {
      const { code, stdout } = run(word);
      assert.equal(code, 0);
      assert.match(stdout, /^skerry \d+\.\d+\.\d+\n$/);
    }
  });
  test('help', () => {
    for (const words of [['help'], ['--help'], ['-h'], []]) {
      const { code, stdout } = runSkerry(words);
      assert.equal(code, 0);
      for (const command of ['serve', 'status', 'get', 'list', 'verify', 'version', 'help']) assert.match(stdout, new RegExp(`skerry ${command}\\b`));
    }
    const { stdout } = run('help', 'settings');
    for (const setting of ['listen', 'data', 'dev', 'access', 'projects', 'memory_limit', 'drain_timeout']) assert.match(stdout, new RegExp(`^ +${setting} `, 'm'));
  });
  test('an unknown command', () => {
    const { code, stderr } = run('nope');
    assert.equal(code, 2);
    assert.match(stderr, /nope/);
  });
  test('status', async () => {
    await fails(rpc.call('GetDocument', { name: db.doc('no/no') }), code.NOT_FOUND);
    const { code: exit, stdout, stderr } = run('status');
    assert.equal(exit, 0, stderr);
    assert.match(stdout, /^skerry \d/);
    assert.match(stdout, /SERVING.*development mode/);
    assert.ok(stdout.includes(server.address), stdout);
    assert.ok(stdout.includes(server.dataDir), stdout);
    assert.match(stdout, /Commit +\d+/);
    const line = stdout.split('\n').find((one) => /GetDocument\b/.test(one)).trim().split(/\s+/);
    assert.ok(Number(line.at(-3)) >= 1, `failed calls are counted: ${line}`);
    const elsewhere = runSkerry(['status', '--data', path.join(directory, 'nowhere')]);
    assert.equal(elsewhere.code, 1);
    assert.match(elsewhere.stderr, /no server runs/);
  });
  test('get', () => {
    for (const word of ['rooms/a', db.doc('rooms/a')]) {
      const { code: exit, stdout, stderr } = run('get', word);
      assert.equal(exit, 0, stderr);
      const text = stdout.slice(stdout.indexOf('": ') + 3);
      const shown = JSON.parse(text);
      assert.equal(shown.text, 'a "quoted"\n\0 line');
      assert.equal(shown.nan, 'NaN');
      assert.equal(shown.half, 0.5);
      assert.equal(shown.at, '1970-01-01T00:00:00.000001Z');
      assert.equal(shown.bytes, 'AQID');
      assert.deepEqual(shown.list, [null, true, {}]);
      assert.deepEqual(shown.map, { deep: { er: 'x' } });
      assert.match(text, /"n": -9223372036854775808/);
    }
    const missing = run('get', 'rooms/none');
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /NOT_FOUND.*rooms\/none/);
    assert.equal(run('get').code, 2);
    assert.equal(run('get', '--nope').code, 2);
    assert.equal(run('get', 'rooms').code, 1);
  });
  test('list', () => {
    assert.deepEqual(run('list').stdout.trim().split('\n'), ['rooms']);
    assert.deepEqual(run('list', 'rooms/a').stdout.trim().split('\n'), ['seats']);
    const { stdout } = run('list', 'rooms');
    assert.match(stdout, /rooms\/a"/);
    assert.match(stdout, /rooms\/b"/);
  });
  test('get from nobody', async () => {
    const { code: exit, stderr } = runSkerry(['get', '--target', '127.0.0.1:1', 'rooms/a']);
    assert.equal(exit, 1);
    assert.match(stderr, /UNAVAILABLE/);
  });
});

// ---- Damage ----

/** A data directory with 3,000 documents, part of it in table files and part in the log, made by a server that was killed. */
async function makeData() {
  const server = new Server({ args: ['--dev', '--listen', '127.0.0.1:0', '--profile', 'medium', '--memory-limit', '208M'] }); // write buffers of 8 MB
  const db = freshDatabase();
  for (let round = 0; round < 2; round++) {
    await server.start();
    const rpc = new Rpc(server.address);
    for (let i = 0; i < 3; i++)
      await rpc.call('Commit', { database: db.name, writes: Array.from({ length: 500 }, (_, k) => ({ update: { name: db.doc(`c/${round}-${i}-${k}`), fields: { bytes: v.bytes(crypto.randomBytes(6000)) } } })) });
    rpc.close();
    await server.kill();
  }
  return { directory: server.dataDir, discard: () => server.discard(), db };
}

test('verify, and damage', options, async (t) => {
  const data = await makeData();
  const copy = () => {
    const target = freshDir();
    fs.cpSync(data.directory, target, { recursive: true, filter: (one) => !one.endsWith('.sock') });
    return target;
  };
  const filesOf = (target, pattern) => fs.readdirSync(path.join(target, 'rocksdb')).filter((one) => pattern.test(one)).map((one) => path.join(target, 'rocksdb', one));
  const largest = (files) => files.sort((a, b) => fs.statSync(b).size - fs.statSync(a).size)[0];
  const flip = (file, at) => {
    const bytes = fs.readFileSync(file);
    bytes[Math.floor(bytes.length * at)] ^= 0x55;
    fs.writeFileSync(file, bytes);
  };
  try {
    await t.test('whole', () => {
      const { code: exit, stdout, stderr } = runSkerry(['verify', '--data', copy()]);
      assert.equal(exit, 0, stderr + stdout);
      assert.match(stdout, /^3000 documents, \d+ index entries, 0 damages$/m);
    });
    await t.test('no directory', () => {
      const { code: exit, stderr } = runSkerry(['verify', '--data', path.join(directory, 'nowhere')]);
      assert.equal(exit, 1);
      assert.match(stderr, /nowhere/);
    });
    const damages = {
      'a table file, in the middle': (target) => flip(largest(filesOf(target, /\.sst$/)), 0.5),
      'a table file, its end': (target) => flip(largest(filesOf(target, /\.sst$/)), 0.999),
      'a table file that is gone': (target) => fs.rmSync(largest(filesOf(target, /\.sst$/))),
      'a table file that is cut off': (target) => fs.truncateSync(largest(filesOf(target, /\.sst$/)), 1000),
      'the log, in the middle': (target) => flip(largest(filesOf(target, /\.log$/)), 0.3),
      'the manifest, in the middle': (target) => flip(largest(filesOf(target, /^MANIFEST/)), 0.5),
      'the manifest is gone': (target) => fs.rmSync(largest(filesOf(target, /^MANIFEST/))),
      'CURRENT is gone': (target) => fs.rmSync(path.join(target, 'rocksdb', 'CURRENT')),
      'all engine files are gone': (target) => fs.rmSync(path.join(target, 'rocksdb'), { recursive: true }),
    };
    for (const [name, damage] of Object.entries(damages))
      await t.test(name, async () => {
        const target = copy();
        damage(target);
        const verify = runSkerry(['verify', '--data', target]);
        assert.equal(verify.code, 1, `${verify.stdout}${verify.stderr}`);
        assert.match(verify.stdout + verify.stderr, /damage|missing|lost|corrupt|no such file/i);
        // The server starts and tells of what it touches, or it does not start; it does not make documents disappear.
        const server = new Server({ dataDir: target });
        try {
          await server.start();
        } catch (error) {
          assert.match(error.message, /damage|missing|lost|verify|corrupt|no such file/i);
          return;
        }
        const rpc = new Rpc(server.address);
        try {
          let found = 0;
          let page_token = '';
          do {
            const page = await rpc.call('ListDocuments', { parent: data.db.root, collection_id: 'c', page_size: 500, page_token });
            found += page.documents?.length ?? 0;
            page_token = page.next_page_token ?? '';
          } while (page_token !== '');
          assert.equal(found, 3000, 'documents have disappeared in silence');
        } catch (error) {
          if (error.code !== code.DATA_LOSS && error.code !== code.UNAVAILABLE) throw error;
        } finally {
          rpc.close();
          server.discard();
        }
      });
  } finally {
    data.discard();
  }
});
