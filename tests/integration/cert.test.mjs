// `skerry cert`: what it makes, what it says, and its exit codes. What is in the certificates is tested in C
// (server/listener/certificate_test.c); here Node's own reader looks at them.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { makeTempDir, removeDir, runSkerry, skerryOnly } from './support/server.mjs';

const options = { skip: skerryOnly };
let directory;
before(() => (directory = makeTempDir()));
after(() => removeDir(directory));

const read = (dir, name) => new crypto.X509Certificate(fs.readFileSync(path.join(dir, name)));

function ok(...args) {
  const result = runSkerry(['cert', ...args]);
  assert.equal(result.code, 0, result.stderr);
  return result.stdout;
}

function fails(exit, says, ...args) {
  const result = runSkerry(['cert', ...args]);
  assert.equal(result.code, exit, `${args.join(' ')}: ${result.stderr}`);
  assert.match(result.stderr, says);
}

test('a CA, a server under it and a client', options, () => {
  const dir = path.join(directory, 'new');
  const said = ok('new', dir);
  assert.deepEqual(fs.readdirSync(dir).sort(), ['ca.key', 'ca.pem', 'server.key', 'server.pem']);
  const [ca, server] = [read(dir, 'ca.pem'), read(dir, 'server.pem')];
  assert.ok(ca.ca && server.checkIssued(ca) && server.verify(ca.publicKey));
  assert.ok(server.checkHost('localhost'));
  for (const address of ['127.0.0.1', '::1']) assert.ok(server.checkIP(address));
  assert.ok(server.checkPrivateKey(crypto.createPrivateKey(fs.readFileSync(path.join(dir, 'server.key')))));
  const spki = server.publicKey.export({ type: 'spki', format: 'der' });
  const pin = crypto.createHash('sha256').update(spki).digest('base64');
  assert.ok(said.includes(`sha256/${pin}`));
  assert.ok(said.includes(server.fingerprint256.replaceAll(':', '').toLowerCase()));
  assert.ok(said.includes(`skerry serve --tls-cert ${dir}/server.pem --tls-key ${dir}/server.key`));

  const client = ok('new', dir, '--client', 'alice', '--days', '30');
  const alice = read(dir, 'alice.pem');
  assert.ok(alice.checkIssued(ca));
  assert.equal(alice.subject, 'CN=alice');
  assert.match(client, /30 days left/);
  assert.deepEqual(read(dir, 'ca.pem').raw, ca.raw, 'the CA is the same');

  assert.match(ok('show', path.join(dir, 'server.pem')), /names +localhost, 127\.0\.0\.1, ::1/);
});

test('names of one\'s own, in either way of writing flags', options, () => {
  const dir = path.join(directory, 'names');
  ok('new', '--name', 'api.example.com', dir, '--name=192.0.2.7');
  assert.equal(read(dir, 'server.pem').subjectAltName, 'DNS:api.example.com, IP Address:192.0.2.7');
});

test('what cannot be done, and mistakes', options, () => {
  const dir = path.join(directory, 'new');
  const before = fs.readFileSync(path.join(dir, 'server.key'));
  fails(1, /server\.pem is there already: move it away/, 'new', dir);
  assert.deepEqual(fs.readFileSync(path.join(dir, 'server.key')), before);
  fails(1, /there is no file/, 'show', path.join(dir, 'none.pem'));
  fails(1, /holds a private key and no certificate/, 'show', path.join(dir, 'ca.key'));
  fails(1, /cannot make the directory/, 'new', path.join(dir, 'no/such'));
  const usage = /skerry cert new DIR/;
  for (const args of [[], ['new'], ['show'], ['make', dir], ['new', dir, 'more'], ['new', dir, '--days', '0'], ['new', dir, '--days', '3651'],
    ['new', dir, '--nope'], ['new', dir, '--name'], ['new', dir, '--client', 'a', '--name', 'b'], ['show', 'x', '--days', '3']])
    fails(2, usage, ...args);
  const fresh = path.join(directory, 'fresh');
  for (const name of ['../x', '', '.x', 'a/b', 'ca', 'server']) fails(2, /cannot be a client's name/, 'new', fresh, `--client=${name}`);
  fails(2, /neither a DNS name nor an IP address/, 'new', fresh, '--name', 'a b');
  assert.equal(fs.existsSync(fresh), false, 'nothing was made');
  fs.rmSync(path.join(dir, 'ca.key'));
  fails(1, /there is no file .*ca\.key/, 'new', dir, '--client', 'bob');
  assert.equal(fs.existsSync(path.join(dir, 'bob.pem')), false);
});
