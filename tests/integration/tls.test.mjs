// The official clients over TLS: whom they trust, whom the server lets in, and that all of the API works through it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { after, before, describe, test } from 'node:test';
import { firestore as sdk, grpc } from './support/packages.mjs';
import { makeTempDir, removeDir, runSkerry, Server, skerryOnly, startServer } from './support/server.mjs';
import { Rpc, code, fails, freshDatabase, loadProto, value as v } from './support/rpc.mjs';
import { patient, until } from './support/wait.mjs';
import { ANY_PORT, Authority, OPEN, opensslMissing, tlsFlags } from './support/certificates.mjs';

process.env.METADATA_SERVER_DETECTION = 'none';
delete process.env.FIRESTORE_EMULATOR_HOST;

const CALL_MS = patient(10_000);
const options = { skip: skerryOnly || opensslMissing };
const db = freshDatabase('(default)', 'skerry');
let directory, authority, stranger, box;
before(() => {
  if (options.skip) return;
  directory = makeTempDir();
  authority = new Authority(directory);
  stranger = new Authority(directory, 'Somebody Else');
  box = authority.server();
});
after(() => directory && removeDir(directory));

const credentials = (ca = authority, own) => grpc.credentials.createSsl(ca.cert, own?.key ?? null, own?.cert ?? null);
const localhost = (server) => `localhost:${server.port}`;

/** Opens a client, does `run` with it, closes it. */
async function withRpc(server, ca, own, run, settings = {}) {
  const rpc = new Rpc(localhost(server), settings.service, { credentials: credentials(ca, own), ...settings.options });
  try {
    return await run(rpc);
  } finally {
    rpc.close();
  }
}

const get = (rpc) => rpc.call('GetDocument', { name: db.doc('c/x') }, { deadlineMs: CALL_MS });
const put = (rpc, fields = {}) => rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc('c/x'), fields } }] }, { deadlineMs: CALL_MS });

/** Everything that the server SDK does, once. */
async function useSdk(server, sslCreds) {
  const client = new sdk.Firestore({ projectId: 'skerry', host: localhost(server), ssl: true, sslCreds });
  const seen = [];
  let waiting;
  try {
    const counter = client.doc(`sdk/counter${server.pid}`);
    const stop = counter.onSnapshot((one) => (seen.push(one.data()?.n), waiting?.()), (error) => (seen.push(error), waiting?.()));
    const until = async (wanted) => {
      while (seen.at(-1) !== wanted) {
        if (seen.at(-1) instanceof Error) throw seen.at(-1);
        await new Promise((resolve) => (waiting = resolve));
      }
    };
    await counter.set({ n: 1, text: 'ä'.repeat(50_000) });
    await until(1);
    assert.equal((await counter.get()).data().text.length, 50_000);
    for (let i = 0; i < 3; i++)
      await client.runTransaction(async (transaction) => {
        const { n } = (await transaction.get(counter)).data();
        transaction.update(counter, { n: n + 1 });
      });
    await until(4);
    const found = await client.collection('sdk').where('n', '==', 4).get();
    assert.deepEqual(found.docs.map((one) => one.id), [counter.id]);
    stop();
  } finally {
    await client.terminate();
  }
}

describe('TLS, without client certificates', options, () => {
  let server;
  before(async () => {
    if (!options.skip) server = await startServer({ args: [...ANY_PORT, ...tlsFlags(box), ...OPEN] });
  });
  after(() => server?.close());

  test('grpc-js with a pinned authority: unary, streams, health', () =>
    withRpc(server, authority, null, async (rpc) => {
      await put(rpc, { text: v.string('x'.repeat(300_000)) });
      assert.equal((await get(rpc)).fields.text.string_value.length, 300_000);
      const answers = await rpc.collect('BatchGetDocuments', { database: db.name, documents: [db.doc('c/x'), db.doc('c/none')] });
      assert.deepEqual(answers.map((one) => Boolean(one.found)), [true, false]);
      await fails(rpc.call('GetDocument', { name: db.doc('c/none') }), code.NOT_FOUND);
      const listen = rpc.open('Listen');
      const shown = new Promise((resolve, reject) => {
        listen.on('data', (one) => one.document_change && resolve(one.document_change.document.name));
        listen.on('error', reject);
      });
      listen.write({ database: db.name, add_target: { target_id: 1, documents: { documents: [db.doc('c/x')] } } });
      assert.equal(await shown, db.doc('c/x'));
      listen.on('error', () => {});
      listen.cancel();
      const service = loadProto('grpc/health/v1/health.proto').grpc.health.v1.Health;
      await withRpc(server, authority, null, async (health) => assert.deepEqual(await health.call('Check', { service: '' }), { status: 'SERVING' }), { service });
    }));

  test('a wrong authority, a wrong name and no TLS: the client does not come through', async () => {
    const refused = (ca, settings) => withRpc(server, ca, null, (rpc) => fails(get(rpc), code.UNAVAILABLE, settings.says), settings);
    await refused(stranger, { says: /certificate|self.signed|issuer/i });
    await refused(authority, { says: /elsewhere\.example|altname|hostname/i, options: { 'grpc.ssl_target_name_override': 'elsewhere.example' } });
    const plain = new Rpc(localhost(server));
    await fails(get(plain), code.UNAVAILABLE);
    plain.close();
  });

  test('@google-cloud/firestore: set, get, query, transaction, listener', () => useSdk(server, credentials()));

  test('a certificate that nobody asks for does no harm', () => withRpc(server, authority, stranger.client('guest'), (rpc) => put(rpc)));

  test('the firebase package, in a process that trusts the authority', async () => {
    const { stdout } = await runPhone(server, { NODE_EXTRA_CA_CERTS: authority.certFile });
    assert.deepEqual(JSON.parse(stdout), { read: { n: 1 }, seen: [1, 2], fromServer: true });
  });

  test('the firebase package, in a process that does not trust it', async () => {
    const { stdout } = await runPhone(server, { PHONE_PATIENCE_MS: '2500' });
    assert.deepEqual(JSON.parse(stdout), { offline: true });
  });

  test('OpenSSL is not in the process, also when it speaks TLS', () => {
    const maps = fs.readFileSync(`/proc/${server.pid}/maps`, 'utf8');
    const cryptography = new Set([...maps.matchAll(/\/\S*\/lib(?:ssl|crypto|grpc|curl)\b\S*/g)].map(([name]) => name));
    const others = [...cryptography].filter((name) => !name.includes('/android/'));
    assert.deepEqual(others, [], 'beside BoringSSL: their symbols have the same names');
    assert.equal(cryptography.size, 2, 'BoringSSL is there');
  });

  test('status tells of the certificate and of handshakes', () => {
    const { code: exit, stdout } = runSkerry(['status', '--data', server.dataDir]);
    assert.equal(exit, 0);
    assert.match(stdout, /^tls +[1-9]\d* handshakes, \d+ resumed, \d+ failed/m);
    assert.match(stdout, /localhost.*\(ECDSA P-256\) until 20\d\d/);
  });
});

/** Runs support/phone.mjs to its end. */
async function runPhone(server, env) {
  const script = path.join(path.dirname(fileURLToPath(import.meta.url)), 'support/phone.mjs');
  const { GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: _, ...ours } = process.env; // it would replace what node trusts
  const child = spawn(process.execPath, [script, localhost(server)], { env: { ...ours, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) child[name].on('data', (chunk) => (output[name] += chunk));
  const timer = setTimeout(() => child.kill('SIGKILL'), patient(25_000));
  const exit = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  assert.equal(exit, 0, `${output.stderr}\n${server.log}`);
  return output;
}

describe('client certificates', options, () => {
  const certificates = {};
  before(() => {
    if (options.skip) return;
    certificates.phone = authority.client('phone');
    certificates.rsa = authority.client('rsa phone', { key: 'rsa' });
    certificates.ed25519 = authority.client('ed25519 phone', { key: 'ed25519' });
    certificates.foreign = stranger.client('phone');
    certificates.expired = authority.client('old phone', { expired: true });
    certificates.server = authority.server('not a client');
  });
  const flags = (mode) => [...ANY_PORT, ...tlsFlags(box), '--tls-client-ca', authority.certFile, '--tls-client-certificates', mode, '--access', 'mtls', '--clock', 'trusted'];
  const asked = (server, name, run) => withRpc(server, authority, name && certificates[name], run);
  /** The handshake fails: at the server, so with TLS 1.3 the client may have thought that it was through. */
  const turnedAway = (server, name) => asked(server, name, (rpc) => fails(get(rpc), code.UNAVAILABLE));

  test('required: who shows one of the authority is let in, others end in the handshake', async (t) => {
    const server = await startServer({ args: flags('required') });
    try {
      for (const name of ['phone', 'rsa', 'ed25519'])
        await t.test(name, () => asked(server, name, async (rpc) => {
          await put(rpc);
          await get(rpc);
        }));
      for (const name of [undefined, 'foreign', 'expired', 'server']) await t.test(`${name ?? 'none'}: refused`, () => turnedAway(server, name));
      await t.test('what the refused are told', async () => {
        const wanted = { none: /CERTIFICATE_REQUIRED/, foreign: /UNKNOWN_CA/, expired: /CERTIFICATE_EXPIRED/, server: /ALERT/ };
        for (const [name, alert] of Object.entries(wanted)) assert.match(await handshakeError(server, certificates[name]), alert, name);
      });
      await t.test('the server SDK with a certificate', () => useSdk(server, credentials(authority, certificates.phone)));
      assert.match(server.stderr, /TLS failed/, 'and it is logged');
      const { stdout } = runSkerry(['status', '--data', server.dataDir]);
      assert.ok(Number(stdout.match(/^tls .* (\d+) failed/m)[1]) >= 7, stdout);
    } finally {
      await server.close();
    }
  });

  test('optional: everybody may connect, the API is for those with a certificate', async (t) => {
    const server = await startServer({ args: flags('optional') });
    try {
      await asked(server, 'phone', (rpc) => put(rpc));
      await asked(server, undefined, async (rpc) => {
        rpc.authorization = null;
        await fails(get(rpc), code.UNAUTHENTICATED, /certificate/);
        await fails(put(rpc), code.UNAUTHENTICATED, /certificate/); // a phone keeps what it has queued
        await fails(rpc.collect('BatchGetDocuments', { database: db.name, documents: [db.doc('c/x')] }), code.UNAUTHENTICATED);
        await fails(rpc.collect('RunQuery', { parent: db.root, structured_query: { from: [{ collection_id: 'c' }] } }), code.UNAUTHENTICATED);
        await fails(rpc.call('ListCollectionIds', { parent: db.root }), code.UNAUTHENTICATED);
        await fails(rpc.call('BeginTransaction', { database: db.name }), code.UNAUTHENTICATED);
        const listen = rpc.open('Listen');
        const cause = new Promise((resolve, reject) => listen.on('error', reject).on('data', (one) => resolve(one.target_change?.cause)));
        listen.write({ database: db.name, add_target: { target_id: 1, documents: { documents: [db.doc('c/x')] } } });
        assert.equal((await cause)?.code, code.UNAUTHENTICATED, 'the target is removed');
        listen.on('error', () => {});
        listen.cancel();
        const write = rpc.open('Write');
        await fails(new Promise((resolve, reject) => {
          write.on('error', reject).on('end', () => resolve('it ended'));
          write.once('data', ({ stream_token }) => {
            write.on('data', resolve);
            write.write({ stream_token, writes: [{ update: { name: db.doc('c/y') } }] });
          });
          write.write({ database: db.name });
        }), code.UNAUTHENTICATED, /certificate/);
        rpc.authorization = 'Bearer owner';
        await fails(get(rpc), code.UNAUTHENTICATED, /token/);
      });
      for (const name of ['foreign', 'expired']) await t.test(`${name}: refused`, () => turnedAway(server, name));
      await asked(server, 'phone', async (rpc) => {
        await fails(rpc.call('GetDocument', { name: db.doc('c/y') }), code.NOT_FOUND); // and nobody wrote it
      });
      const lines = () => server.stderr.split('\n').filter((line) => line.includes('"call failed"'));
      await until(() => /code=NOT_FOUND/.test(lines().at(-1)), 'the last line', 5000);
      const failed = lines();
      assert.ok(failed.some((line) => /code=UNAUTHENTICATED/.test(line)));
      for (const line of failed) assert.equal(/ certificate=phone$/.test(line), /code=NOT_FOUND/.test(line), line);
    } finally {
      await server.close();
    }
  });

  test('access = mtls without a certificate to ask for is refused at the start', () => {
    const { code: exit, stderr } = runSkerry(['serve', '--data', path.join(directory, 'never'), ...ANY_PORT, ...tlsFlags(box), '--access', 'mtls']);
    assert.equal(exit, 1);
    assert.match(stderr, /tls_client_certificates/);
  });
});

/** With TLS 1.3 a server says after the client's handshake what it thinks of its certificate. */
function handshakeError(server, own) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ port: server.port, host: '127.0.0.1', servername: 'localhost', ca: authority.cert, cert: own?.cert, key: own?.key, ALPNProtocols: ['h2'] });
    socket.setTimeout(CALL_MS, () => reject(new Error('nothing came')));
    socket.on('error', (error) => resolve(`${error.code} ${error.message}`));
    socket.on('close', () => resolve('closed without a word'));
  });
}

test('files that cannot be used stop the start, and are named', options, () => {
  const other = authority.server('other');
  const broken = path.join(directory, 'broken.pem');
  fs.writeFileSync(broken, '-----BEGIN CERTIFICATE-----\nnope\n-----END CERTIFICATE-----\n');
  const cases = [
    [['--tls-cert', path.join(directory, 'none.pem'), '--tls-key', box.keyFile], /none\.pem/],
    [['--tls-cert', broken, '--tls-key', box.keyFile], /broken\.pem/],
    [['--tls-cert', box.certFile, '--tls-key', other.keyFile], /does not belong/],
    [['--tls-cert', box.certFile], /tls_key/],
    [[...tlsFlags(box), '--tls-client-certificates', 'required'], /tls_client_ca/],
    [[...tlsFlags(box), '--tls-client-ca', broken, '--tls-client-certificates', 'required'], /broken\.pem/],
    [[...tlsFlags(box), '--plaintext'], /plaintext/],
  ];
  for (const [args, says] of cases) {
    const result = runSkerry(['serve', '--data', path.join(directory, 'never'), ...ANY_PORT, ...args, ...OPEN]);
    assert.ok(result.code > 0, `it served: ${args}`);
    assert.match(result.stderr, says);
  }
});

test('development mode with TLS: a certificate for the phone on the desk', options, async () => {
  const server = await new Server({ args: ['--dev', ...ANY_PORT, ...tlsFlags(box)] }).start();
  try {
    await withRpc(server, authority, null, async (rpc) => {
      const any = freshDatabase();
      await rpc.call('Commit', { database: any.name, writes: [{ update: { name: any.doc('c/x') } }] });
    });
  } finally {
    await server.close();
  }
});
