// systemd's protocols: a manager that the test runs (tests/support/service_manager.c) hands over sockets and hears what it is told.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import test from 'node:test';

import { loadProto, Rpc } from './support/rpc.mjs';
import { isEmulator, isUnderQemu, makeTempDir, removeDir, runSkerry, skerryBinary } from './support/server.mjs';
import { until } from './support/wait.mjs';

const MANAGER = process.env.SKERRY_SERVICE_MANAGER;
const skip = isEmulator || !MANAGER || isUnderQemu ? 'needs the manager, and the program as its own child' : false;
const PLAIN = ['--access', 'open', '--i-accept-open-access', '--plaintext', '--projects', 'demo-skerry'];
const SIGNALS = os.constants.signals;

class Managed {
  constructor(t, managing, args = PLAIN) {
    this.dataDir = makeTempDir();
    this.lines = [];
    this.stderr = '';
    this.child = spawn(MANAGER, [...managing, '--', skerryBinary(), 'serve', '--data', this.dataDir, ...args]);
    readline.createInterface(this.child.stdout).on('line', (line) => this.lines.push(line));
    this.child.stderr.on('data', (chunk) => (this.stderr += chunk));
    this.closed = new Promise((resolve) => this.child.on('close', (code) => resolve(code)));
    t.after(async () => {
      this.child.stdin.end(); // kills what still runs
      await this.closed;
      removeDir(this.dataDir);
    });
  }
  say(line) {
    this.child.stdin.write(`${line}\n`);
  }
  signal(name) {
    this.say(`signal ${SIGNALS[name]}`);
  }
  heard(text) {
    return this.lines.filter((line) => line.startsWith('notify ') && line.includes(text)).length;
  }
  hears(text, times = 1) {
    return until(() => this.heard(text) >= times, () => `"${text}" in\n${this.lines.join('\n')}\n${this.stderr}`);
  }
  address(name) {
    return this.lines.find((line) => line.startsWith(`socket ${name} `)).split(' ')[2];
  }
}

async function isServing(address) {
  const health = new Rpc(address, loadProto('grpc/health/v1/health.proto').grpc.health.v1.Health);
  try {
    return (await health.call('Check', { service: '' })).status === 'SERVING';
  } finally {
    health.close();
  }
}

test('it serves on the sockets that it is given, and says when', { skip }, async (t) => {
  const unixPath = path.join(makeTempDir(), 'skerry.sock');
  t.after(() => removeDir(path.dirname(unixPath)));
  const managed = new Managed(t, ['--socket', 'apps', '--socket', 'grpc', '--unix', 'local', unixPath], [...PLAIN, '--listen', '127.0.0.1:1']);
  await managed.hears('READY=1');
  for (const name of ['apps', 'grpc']) assert.ok(await isServing(managed.address(name)), name);
  assert.ok(await isServing(`unix:${unixPath}`));
  await managed.hears('STATUS=Serving');
  assert.ok(managed.heard('STATUS=Opening the store') === 1);
  const { stdout } = runSkerry(['status', '--data', managed.dataDir]);
  assert.match(stdout, new RegExp(`listens   ${managed.address('apps')}\nlistens   ${managed.address('grpc')}(,grpc)?\nlistens   unix:${unixPath}\n`));
  assert.equal(managed.heard('WATCHDOG'), 0); // nobody asked

  managed.signal('SIGTERM');
  assert.equal(await managed.closed, 0);
  assert.equal(managed.heard('STOPPING=1'), 1);
  assert.equal(managed.lines.at(-1), 'ended 0');
});

test('while it reads its files again it says so', { skip }, async (t) => {
  const managed = new Managed(t, ['--socket', 'apps']);
  await managed.hears('READY=1');
  managed.signal('SIGHUP');
  await managed.hears('READY=1', 2);
  const told = managed.lines.filter((line) => /RELOADING|READY/.test(line));
  assert.match(told[1], /^notify RELOADING=1 \| MONOTONIC_USEC=[1-9]\d+$/);
  assert.ok(await isServing(managed.address('apps')));
});

test('the watchdog is fed while all threads answer, and not while one does not', { skip }, async (t) => {
  for (const thread of ['commit', 'rpc-queue']) {
    const managed = new Managed(t, ['--socket', 'apps', '--watchdog', '2000000'], [...PLAIN, '--threads', '2']);
    await managed.hears('READY=1');
    await managed.hears('WATCHDOG=1', 3);
    managed.say(`freeze ${thread}`);
    await until(() => managed.stderr.includes('no sign of life'), () => managed.stderr);
    const fed = managed.heard('WATCHDOG=1');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.equal(managed.heard('WATCHDOG=1'), fed, `${thread} stands still`);
    managed.say('thaw');
    await managed.hears('WATCHDOG=1', fed + 2);
    managed.signal('SIGTERM');
    assert.equal(await managed.closed, 0);
  }
});

test('what is no listening stream socket is refused', { skip }, async (t) => {
  const managed = new Managed(t, ['--socket', 'apps', '--datagram']);
  assert.equal(await managed.closed, 1);
  assert.match(managed.stderr, /handed over descriptor 4, which is no listening stream socket/);
  assert.equal(managed.heard('READY'), 0);
});

test('sockets for another process are left alone', { skip: isEmulator }, async (t) => {
  const directory = makeTempDir();
  t.after(() => removeDir(directory));
  const child = spawn(skerryBinary(), ['serve', '--dev', '--listen', '127.0.0.1:0', '--data', directory], {
    env: { ...process.env, LISTEN_FDS: '1', LISTEN_PID: '1', WATCHDOG_USEC: 'soon', NOTIFY_SOCKET: '/nowhere/at/all' },
  });
  let out = '';
  child.stdout.on('data', (chunk) => (out += chunk));
  await until(() => /listens on 127\.0\.0\.1:(\d+)/.test(out), () => out);
  const port = Number(out.match(/listens on 127\.0\.0\.1:(\d+)/)[1]);
  await new Promise((resolve, reject) => net.connect(port, '127.0.0.1', function () { this.destroy(); resolve(); }).on('error', reject));
  const ended = new Promise((resolve) => child.on('close', resolve));
  child.kill('SIGTERM');
  assert.equal(await ended, 0);
});
