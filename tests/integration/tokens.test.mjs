// Who calls: tokens of an OpenID Connect issuer, over TLS and through the real skerry-net; keys of service accounts,
// with the library that server SDKs use; what runs beside the server for it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { GoogleAuth, JWT } from 'google-auth-library';
import { Authority, opensslMissing } from './support/certificates.mjs';
import { Checker, Issuer, makeKey } from './support/issuer.mjs';
import { isUnderQemu, makeTempDir, removeDir, runSkerry, skerryBinary, skerryOnly, startServer } from './support/server.mjs';
import { patient, until } from './support/wait.mjs';

const options = { skip: skerryOnly || opensslMissing };
let directory, authority, certificate;
let made = 0;
before(() => {
  if (options.skip) return;
  directory = makeTempDir();
  authority = new Authority(directory);
  certificate = authority.server('issuer', { names: ['IP:127.0.0.1'] });
});
after(() => directory && removeDir(directory));

const dataDir = () => path.join(directory, `data${++made}`);

/** Runs `body` with an issuer and what makes checkers for it, and ends them. */
async function withIssuer(body, setting = 'audience=app') {
  const issuer = await new Issuer(certificate).start();
  const checkers = [];
  const check = (data = dataDir(), args = ['--issuer', `${issuer.url} audience=another`, '--issuer', `${issuer.url} ${setting}`, '--issuer-ca', authority.certFile]) => {
    const checker = new Checker(data, args);
    checkers.push(checker);
    return checker;
  };
  try {
    await body(issuer, check);
  } finally {
    for (const checker of checkers) await checker.close();
    await issuer.stop().catch(() => {});
  }
}
const hasKeys = (checker) => until(async () => (await checker.issuer()).keys > 0, 'keys');
const hasFailed = (checker) => until(async () => (await checker.issuer()).failures > 0, 'a failure');

test('tokens of an issuer that is discovered, with all algorithms', options, () =>
  withIssuer(async (issuer, check) => {
    issuer.keys.push(makeKey('ES256', 'k2'), makeKey('EdDSA', 'k3'));
    const checker = check();
    await hasKeys(checker);
    for (const key of issuer.keys) {
      const answer = await checker.verify(issuer.token({ name: 'Alice', roles: ['a', 'b'] }, key));
      assert.equal(answer.code, 'OK', answer.message);
      assert.deepEqual([answer.kind, answer.uid, answer.role], ['user', 'alice', 'none']);
    }
    assert.equal((await checker.verify(issuer.token({ aud: ['x', 'another'] }))).code, 'OK'); // a second value of the setting
    assert.deepEqual(issuer.requests, ['/.well-known/openid-configuration', '/keys']);
    const other = makeKey('RS256', 'k1');
    for (const token of [
      issuer.token({}, other),
      issuer.token({ aud: 'other' }),
      issuer.token({ exp: Math.floor(Date.now() / 1000) - 61 }),
      issuer.token({ iat: Math.floor(Date.now() / 1000) + 120 }),
      issuer.token({ sub: 'x'.repeat(129) }),
      issuer.token({}, issuer.keys[0], { alg: 'ES256' }),
      issuer.token({}, { ...issuer.keys[1], kid: 'k1' }),
      issuer.token().slice(0, -4),
      'owner',
    ]) {
      const answer = await checker.verify(token);
      assert.equal(answer.code, 'UNAUTHENTICATED', token);
      assert.ok(!answer.message.includes(token.slice(0, 20)) || token === 'owner');
    }
    assert.equal((await checker.ask('')).kind, 'signed out');
  }));

test('certificates as Google gives them, at the URL of the setting', options, async () => {
  const issuer = await new Issuer(certificate).start();
  const signer = authority.server('signer', { key: 'rsa', names: ['DNS:signer'] });
  issuer.certificates = { g1: signer.cert.toString() };
  const key = { alg: 'RS256', kid: 'g1', privateKey: signer.key };
  const checker = new Checker(dataDir(), ['--issuer', `${issuer.url} audience=app project=shop keys=${issuer.url}/certificates`, '--issuer-ca', authority.certFile]);
  try {
    await hasKeys(checker);
    const answer = await checker.verify(issuer.token({}, key));
    assert.equal(answer.code, 'OK', answer.message);
    assert.equal(answer.project, 'shop');
    assert.deepEqual(issuer.requests, ['/certificates']);
  } finally {
    await checker.close();
    await issuer.stop();
  }
});

test('a flood of unknown keys makes no request for each', options, () =>
  withIssuer(async (issuer, check) => {
    const checker = check();
    await hasKeys(checker);
    const before = issuer.requests.length;
    const stranger = makeKey('RS256', 'x');
    const token = issuer.token({}, stranger);
    for (let i = 0; i < 300; i++) {
      const answer = await checker.verify(i % 2 ? token : issuer.token({}, { ...stranger, kid: `x${i}` }));
      assert.equal(answer.code, 'UNAUTHENTICATED');
    }
    assert.equal(issuer.requests.length, before);
  }));

test('known keys go on being good when the issuer is gone, after a restart too', options, () =>
  withIssuer(async (issuer, check) => {
    const data = dataDir();
    const first = check(data);
    await hasKeys(first);
    await issuer.stop();
    assert.equal((await first.verify(issuer.token())).code, 'OK');
    const second = check(data);
    assert.equal((await second.verify(issuer.token())).code, 'OK'); // at once
    await hasFailed(second);
    assert.equal((await second.verify(issuer.token({ n: 1 }))).code, 'OK');
    assert.equal((await second.verify(issuer.token({}, makeKey('RS256', 'new')))).code, 'UNAVAILABLE');
    const third = check(); // knows nothing
    await hasFailed(third);
    const answer = await third.verify(issuer.token());
    assert.equal(answer.code, 'UNAVAILABLE');
    await issuer.start(issuer.port);
    await hasKeys(third); // within seconds
    assert.equal((await third.verify(issuer.token())).code, 'OK');
  }));

test('answers that are not to be believed', options, async (t) => {
  const cases = {
    'a redirect': (request, response) => response.writeHead(302, { location: '/keys' }).end(),
    'another issuer': (request, response) => response.end(JSON.stringify({ issuer: 'https://evil.example', jwks_uri: 'https://evil.example/keys' })),
    'keys elsewhere': (request, response, issuer) => response.end(JSON.stringify({ issuer: issuer.url, jwks_uri: 'https://evil.example/keys' })),
    'no JSON': (request, response) => response.end('<html>Welcome to the harbour Wi-Fi</html>'),
    'no end': (request, response) => {
      const more = () => !response.destroyed && response.write('x'.repeat(65536), more);
      more();
    },
    'an error': (request, response) => response.writeHead(500).end(),
  };
  for (const [name, answer] of Object.entries(cases))
    await t.test(name, () =>
      withIssuer(async (issuer, check) => {
        issuer.answer = (request, response) => (answer(request, response, issuer), true);
        const checker = check();
        await hasFailed(checker);
        assert.equal((await checker.verify(issuer.token())).code, 'UNAVAILABLE');
        assert.equal(issuer.count('/keys'), 0);
      }),
    );
});

test('an issuer whose certificate nobody vouches for', options, () =>
  withIssuer(async (issuer, check) => {
    const checker = check(dataDir(), ['--issuer', `${issuer.url} audience=app`]);
    await hasFailed(checker);
    assert.match((await checker.issuer()).problem, /certificate/i);
    const other = new Authority(directory);
    const second = check(dataDir(), ['--issuer', `${issuer.url} audience=app`, '--issuer-ca', other.certFile]);
    await hasFailed(second);
    // A good certificate of another name.
    const third = check(dataDir(), ['--issuer', `https://localhost:${issuer.port} audience=app`, '--issuer-ca', authority.certFile]);
    await hasFailed(third);
    assert.equal(issuer.requests.length, 0);
  }));

test('a slow issuer holds nobody up', options, () =>
  withIssuer(async (issuer, check) => {
    issuer.answer = () => true; // never
    const other = await new Issuer(certificate).start();
    const checker = check(dataDir(), ['--issuer', `${issuer.url} audience=app`, '--issuer', `${other.url} audience=app`, '--issuer-ca', authority.certFile]);
    await until(() => issuer.requests.length > 0, 'a request');
    await until(async () => (await checker.issuers())[1].keys > 0, "the other's keys", 10_000);
    assert.equal((await checker.verify(other.token())).code, 'OK');
    await other.stop();
    const answer = await checker.verify(issuer.token());
    assert.equal(answer.code, 'UNAVAILABLE');
    assert.ok(answer.us < patient(100_000), `${answer.us} us`);
    const begin = Date.now();
    await checker.close(); // nor the end
    assert.ok(Date.now() - begin < patient(3000));
    checker.close = async () => {};
  }));

// ---- Service accounts, and the processes of a server ----

function children(pid, program = 'skerry-net') {
  const { stdout } = spawnSync('ps', ['-o', 'pid=,args=', '--ppid', String(pid)], { encoding: 'utf8' });
  return stdout.trim().split('\n').filter((line) => line.includes(program)).map((line) => parseInt(line, 10));
}

const key = (server, ...args) => runSkerry(['key', ...args, '--data', server.dataDir]);

test('skerry key: tokens of google-auth-library are taken until the key is revoked', options, async () => {
  const server = await startServer({ args: ['--listen', '127.0.0.1:0', '--clock', 'trusted', '--projects', 'shop'] });
  try {
    const created = key(server, 'create', 'till-1', '--role', 'viewer', '--expires', '30');
    assert.equal(created.code, 0, created.stderr);
    const credentials = JSON.parse(created.stdout);
    assert.deepEqual([credentials.type, credentials.project_id], ['service_account', 'shop']);
    assert.match(credentials.private_key, /^-----BEGIN PRIVATE KEY-----\n/);
    assert.ok(!server.log.includes('PRIVATE') && !created.stderr.includes('PRIVATE'));
    for (const file of fs.readdirSync(path.join(server.dataDir, 'tokens')))
      assert.ok(!fs.readFileSync(path.join(server.dataDir, 'tokens', file), 'utf8').includes('PRIVATE'));

    // As Firestore's client asks for them: towards Google's host, and towards another.
    const auth = new GoogleAuth({ credentials });
    auth.useJWTAccessWithScope = true;
    auth.defaultServicePath = 'firestore.googleapis.com';
    const scoped = new GoogleAuth({ credentials, scopes: ['https://www.googleapis.com/auth/cloud-platform', 'https://www.googleapis.com/auth/datastore'] });
    scoped.useJWTAccessWithScope = true;
    const grpc = new JWT({ email: credentials.client_email, key: credentials.private_key, keyId: credentials.private_key_id });
    const headers = [];
    for (const client of [await auth.getClient(), await scoped.getClient()])
      headers.push((await client.getRequestHeaders('https://box.local/google.firestore.v1.Firestore')).get('authorization'));
    headers.push((await grpc.getRequestHeaders('https://box.local:8443/google.firestore.v1.Firestore')).get('authorization'));
    const other = (await grpc.getRequestHeaders('https://storage.googleapis.com/')).get('authorization');

    const checker = new Checker(server.dataDir, ['--projects', 'shop']);
    for (const header of headers) {
      const answer = await checker.ask(header);
      assert.equal(answer.code, 'OK', answer.message);
      assert.deepEqual([answer.kind, answer.role, answer.uid, answer.project], ['service account', 'viewer', 'till-1@shop.iam.skerry.local', 'shop']);
    }
    assert.equal((await checker.ask(other)).code, 'UNAUTHENTICATED');
    await checker.close();

    assert.match(key(server, 'list').stdout, new RegExp(`^${credentials.private_key_id}  viewer  till-1@shop.iam.skerry.local  20`));
    assert.equal(key(server, 'revoke', credentials.private_key_id).code, 0);
    assert.equal(key(server, 'revoke', credentials.private_key_id).code, 1);
    assert.equal(key(server, 'list').stdout, '');
    const second = new Checker(server.dataDir, ['--projects', 'shop']);
    assert.equal((await second.ask(headers[0])).code, 'UNAUTHENTICATED');
    await second.close();

    assert.equal(key(server, 'create', 'Till').code, 1);
    assert.equal(key(server, 'create', 'till', '--project', 'elsewhere').code, 1);
    assert.equal(key(server, 'create', 'till', '--role', 'king').code, 1);
    assert.equal(key(server, 'create', 'till', '--expires', '0').code, 1);
    assert.equal(key(server, 'create').code, 2);
  } finally {
    await server.close();
  }
});

test('net_program: skerry-net may be elsewhere, and if it is not there that is said', options, () =>
  withIssuer(async (issuer, check) => {
    const elsewhere = path.join(directory, 'elsewhere');
    fs.symlinkSync(process.env.SKERRY_NET_PROGRAM ?? path.join(path.dirname(skerryBinary()), 'skerry-net'), elsewhere);
    const args = ['--issuer', `${issuer.url} audience=app`, '--issuer-ca', authority.certFile, '--net-program'];
    const checker = check(dataDir(), [...args, elsewhere]);
    await hasKeys(checker);
    assert.equal(children(checker.child.pid, isUnderQemu ? 'skerry-net' : elsewhere).length, 1);
    const server = runSkerry(['serve', '--data', dataDir(), '--listen', '127.0.0.1:0', '--clock', 'trusted', ...args, '/nonexistent/net']);
    assert.equal(server.code, 1);
    assert.match(server.stderr, /\/nonexistent\/net cannot be run: No such file/);
  }));

test('skerry-net is apart, and ends with the server, however that ends', options, () =>
  withIssuer(async (issuer) => {
    const args = ['--listen', '127.0.0.1:0', '--clock', 'trusted', '--issuer', `${issuer.url} audience=app`, '--issuer-ca', authority.certFile, '--net-user', 'nobody'];
    const server = await startServer({ args });
    try {
      await until(() => issuer.count('/keys') > 0, 'keys to be fetched');
      const [child] = children(server.pid);
      assert.ok(child > 0);
      assert.doesNotMatch(fs.readFileSync(`/proc/${server.pid}/maps`, 'utf8'), /libcrypto\.so\.3|libcurl/);
      assert.match(fs.readFileSync(`/proc/${child}/maps`, 'utf8'), /libcurl/);
      const [, uid] = fs.readFileSync(`/proc/${child}/status`, 'utf8').match(/^Uid:\t(\d+)\t/m);
      assert.equal(Number(uid) !== 0, true, 'it does not run as root'); // and if the server does, as somebody else
      if (!isUnderQemu) assert.equal(fs.readFileSync(`/proc/${child}/environ`, 'utf8'), ''); // there a shell has started it
      const open = fs.readdirSync(`/proc/${child}/fd`).map((fd) => fs.readlinkSync(`/proc/${child}/fd/${fd}`));
      assert.ok(!open.some((name) => name.includes(server.dataDir)), open.join('\n'));
      await until(() => runSkerry(['status', '--data', server.dataDir]).stdout.includes(`${issuer.url}: 1 keys, fetched`), 'status');
      await server.kill();
      await until(() => !fs.existsSync(`/proc/${child}`) || fs.readFileSync(`/proc/${child}/stat`, 'utf8').includes(') Z'), 'its end', 5000);
      await server.start();
      await until(() => children(server.pid).length === 1, 'a new one');
      await server.stop();
    } finally {
      server.discard();
    }
  }));
