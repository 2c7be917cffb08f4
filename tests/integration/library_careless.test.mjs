// Programs on the installed library whose handlers do what they should not: what can be noticed ends the program with a
// word about whose mistake it was, the rest does no harm. Built with CMake's Makefiles, warnings as errors, and with C++.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { grpc, protoLoader } from './support/packages.mjs';
import { Rpc, code, fails } from './support/rpc.mjs';
import { Server, makeTempDir, removeDir, runSkerry } from './support/server.mjs';
import { until } from './support/wait.mjs';

const folder = makeTempDir();
const prefix = path.join(folder, 'installed'), source = fileURLToPath(new URL('careless', import.meta.url)), build = path.join(folder, 'build');
const run = (program, args) => execFileSync(program, args, { encoding: 'utf8', timeout: 170_000, stdio: ['ignore', 'pipe', 'pipe'] });

let Careless;
before(() => {
  run('cmake', ['--install', process.env.SKERRY_BUILD, '--prefix', prefix]);
  run('cmake', ['-S', source, '-B', build, '-G', 'Unix Makefiles', `-DCMAKE_PREFIX_PATH=${prefix}`, '-DCMAKE_C_FLAGS=-Wall -Wextra -Werror', '-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror']);
  run('cmake', ['--build', build]);
  process.env.SKERRY_BIN = path.join(build, 'careless');
  Careless = grpc.loadPackageDefinition(protoLoader.loadSync(path.join(source, 'careless.proto'), { keepCase: true, defaults: true })).careless.v1.Careless;
});
after(() => removeDir(folder));

async function begin(t, ...args) {
  const server = await new Server({ args: ['--dev', '--listen', '127.0.0.1:0', ...args] }).start();
  const rpc = new Rpc(server.address, Careless);
  t.after(async () => {
    rpc.close();
    if (server.running) await server.close();
    else removeDir(server.dataDir); // ended, as it should
  });
  return { server, rpc };
}

const status = (server) => runSkerry(['status', '--data', server.dataDir]).stdout;
const residentKib = (server) => Number(fs.readFileSync(`/proc/${server.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]);

/** A server that a mistake ends: what it said. */
async function ends(t, ask) {
  const { server, rpc } = await begin(t);
  await ask(rpc).catch(() => {});
  assert.equal((await server.ended).signal, 'SIGABRT');
  return server.stderr;
}

test('what is right goes on being right', async (t) => {
  const { rpc } = await begin(t);
  assert.deepEqual(await rpc.call('Act', { what: 'once' }), { number: 4, refused: 0, text: 'once' });
  assert.equal((await rpc.call('Act', { what: 'transaction' })).text, 'after the commit');
});

test('a C++ compiler is told that the headers are C', () => {
  for (const header of ['skerry/server.h', 'skerry/documents.h', 'rpc/call.h']) {
    const { status: exit, stderr } = spawnSync('c++', ['-fsyntax-only', `-I${prefix}/include`, `-I${prefix}/include/skerry`, '-x', 'c++', '-'], { input: `#include "${header}"\n`, encoding: 'utf8' });
    assert.equal(exit, 1);
    assert.match(stderr, /error: .*Skerry's headers are C11/);
  }
});

for (const [what, ask, mistake] of [
  ['an answer twice', (rpc) => rpc.call('Act', { what: 'twice' }), /method=\/careless\.v1\.Careless\/Act mistake="it was finished already"/],
  ['OK without an answer', (rpc) => rpc.call('Act', { what: 'nothing' }), /method=\/careless\.v1\.Careless\/Act mistake="finished with OK, and without the one response/],
  ['a message after the end', (rpc) => rpc.collect('Flood', { what: 'after', count: 1 }), /method=\/careless\.v1\.Careless\/Flood mistake="sent to after it was finished"/],
])
  test(`${what} ends the program, which says whose mistake it is`, async (t) => assert.match(await ends(t, ask), mistake));

test('an answer after the client has gone, with documents read before it', async (t) => {
  const { server, rpc } = await begin(t);
  let call;
  const late = rpc.call('Act', { what: 'late' }, { deadlineMs: 120_000, onCall: (one) => (call = one) });
  late.catch(() => {});
  await until(() => /1 calls under way/.test(status(server)), 'the call to be under way');
  call.cancel();
  await fails(late, code.CANCELLED);
  await until(async () => /Careless\/Act +\d+/.test(status(server)), 'the call to be over');
  assert.equal((await rpc.call('Act', { what: 'once' })).text, 'once');
});

test('10,000 messages to a client that does not read, whatever the queue says', async (t) => {
  const { server, rpc } = await begin(t);
  const before = residentKib(server);
  const stream = rpc.open('Flood', { deadlineMs: 60_000 });
  stream.write({ what: 'all', count: 10_000 });
  stream.end();
  await until(() => /Careless\/Flood +\d+/.test(status(server)), 'the handler to be done');
  const after = residentKib(server);
  assert.ok(after - before < 8192, `${before} KiB, then ${after}`); // the queue is bounded
  const error = await (async () => { for await (const _ of stream); })().catch((reason) => reason);
  assert.equal(error.code, code.OUT_OF_RANGE);
  assert.ok(Number(error.details.match(/refused (\d+)/)[1]) > 5000, error.details); // and said so
  assert.equal((await rpc.call('Act', { what: 'once' })).text, 'once');
});

test('calls that are never answered: the server stops all the same, and names their method', async (t) => {
  const { server, rpc } = await begin(t, '--drain-timeout', '1s');
  const calls = [1, 2].map(() => rpc.call('Act', { what: 'never' }, { deadlineMs: 120_000 }).catch((reason) => reason));
  const late = rpc.call('Act', { what: 'late' }, { deadlineMs: 120_000 }).catch((reason) => reason); // reads documents when all is cancelled
  await until(() => /3 calls under way/.test(status(server)), 'the calls to be under way');
  server.child.kill('SIGTERM');
  assert.deepEqual(await server.ended, { code: 1, signal: null }, server.stderr);
  assert.match(server.stderr, /msg="handlers do not finish calls that were cancelled" method=\/careless\.v1\.Careless\/Act calls=2/);
  for (const one of [...calls, late]) assert.ok((await one) instanceof Error);
});
