// The README's commands for TLS do what they say, and the hook for ACME clients puts renewed certificates into place.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import './support/packages.mjs';
import { Firestore } from '@google-cloud/firestore';
import grpc from '@grpc/grpc-js';
import { makeTempDir, removeDir, runSkerry, skerryOnly, startServer } from './support/server.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const hook = path.join(root, 'examples/acme/deploy-hook');
const options = { skip: skerryOnly };

let folder;
before(() => (folder = makeTempDir()));
after(() => removeDir(folder));

/** The fingerprint that a client sees. */
function served(port, ca) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: '127.0.0.1', port, ca, ALPNProtocols: ['h2'] }, () => {
      resolve(socket.getPeerCertificate().fingerprint256.replaceAll(':', '').toLowerCase());
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

function newCertificate(directory, name = 'localhost') {
  const made = runSkerry(['cert', 'new', directory, '--name', name, '--name', '127.0.0.1']);
  assert.equal(made.code, 0, made.stderr);
  return made.stdout.match(/server\.pem[\s\S]*?sha256 +([0-9a-f]{64})/)[1];
}

test("the README's commands for TLS", options, async () => {
  const [, block] = fs.readFileSync(path.join(root, 'README.md'), 'utf8').match(/^## With TLS\n\n((?: {4}.*\n)+)/m);
  const [make, serve] = block.replaceAll('\\\n', ' ').trim().split('\n').map((line) => line.trim().split(/\s+/));
  assert.deepEqual(make.slice(0, 3), ['build/release/skerry', 'cert', 'new']);
  assert.equal(runSkerry(make.slice(1), { cwd: folder }).code, 0);
  assert.deepEqual(serve.slice(0, 2), ['build/release/skerry', 'serve']);
  const args = serve.slice(2).map((word) => word.replace(/^127\.0\.0\.1:\d+$/, '127.0.0.1:0').replace(/^certs\//, `${folder}/certs/`));
  const server = await startServer({ args });
  const ca = fs.readFileSync(path.join(folder, 'certs/ca.pem'));
  const db = new Firestore({ projectId: 'demo', host: `localhost:${server.port}`, ssl: true, sslCreds: grpc.credentials.createSsl(ca) });
  try {
    await db.doc('rooms/lobby').set({ title: 'Lobby' });
    assert.deepEqual((await db.doc('rooms/lobby').get()).data(), { title: 'Lobby' });
  } finally {
    await db.terminate();
    await server.close();
  }
});

test('the hook for ACME clients', options, async () => {
  const place = path.join(folder, 'tls');
  const run = (args, env) => spawnSync(hook, args, { encoding: 'utf8', env: { ...process.env, SKERRY_TLS_DIR: place, SKERRY_USER: String(process.getuid()), ...env } });
  assert.equal(run([], { RENEWED_LINEAGE: '' }).status, 2);

  const first = path.join(folder, 'first');
  const one = newCertificate(first);
  const done = run([path.join(first, 'server.pem'), path.join(first, 'server.key')]);
  assert.equal(done.status, 0, done.stderr);
  assert.equal(fs.statSync(path.join(place, 'privkey.pem')).mode & 0o777, 0o600);
  const server = await startServer({
    args: ['--listen', '127.0.0.1:0', '--tls-cert', path.join(place, 'fullchain.pem'), '--tls-key', path.join(place, 'privkey.pem')],
  });
  try {
    assert.equal(await served(server.port, fs.readFileSync(path.join(first, 'ca.pem'))), one);

    // As certbot calls it, with the next one, of another CA.
    const lineage = path.join(folder, 'second');
    const two = newCertificate(lineage);
    fs.copyFileSync(path.join(lineage, 'server.pem'), path.join(lineage, 'fullchain.pem'));
    fs.copyFileSync(path.join(lineage, 'server.key'), path.join(lineage, 'privkey.pem'));
    const ca = fs.readFileSync(path.join(lineage, 'ca.pem'));
    assert.equal(run([], { RENEWED_LINEAGE: lineage }).status, 0);
    let seen;
    for (let i = 0; i < 100 && seen !== two; i++) {
      await sleep(100);
      seen = await served(server.port, ca).catch((error) => error.code);
    }
    assert.equal(seen, two);

    // A key of another certificate: the old pair stays, the log says why.
    assert.equal(run([path.join(first, 'server.pem'), path.join(lineage, 'server.key')]).status, 0);
    for (let i = 0; i < 100 && !/certificates/.test(server.log.split('\n').filter((line) => /level=error/.test(line)).join()); i++) await sleep(100);
    assert.match(server.log, /level=error.*certificates/);
    assert.equal(await served(server.port, ca), two);
  } finally {
    await server.close();
  }
});
