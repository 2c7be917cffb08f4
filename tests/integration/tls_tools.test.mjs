// TLS and plaintext seen by other people's programs: openssl s_client, curl, h2load, and a client on C++ gRPC.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { grpc } from './support/packages.mjs';
import { makeTempDir, removeDir, runSkerry, skerryOnly, startServer } from './support/server.mjs';
import { Rpc, freshDatabase, value as v } from './support/rpc.mjs';
import { runTool, toolMissing } from './support/tool.mjs';
import { until } from './support/wait.mjs';
import { field, frame } from './support/wire.mjs';
import { ANY_PORT, Authority, OPEN, opensslMissing, tlsFlags } from './support/certificates.mjs';

const options = { skip: skerryOnly || opensslMissing };
const tool = (name) => ({ skip: options.skip || toolMissing(name) });
const db = freshDatabase('(default)', 'skerry');
const DOCUMENT = db.doc('c/x');
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'; // and empty SETTINGS

let directory, authority, server, address, grpcAddress, plain;
before(async () => {
  if (options.skip) return;
  directory = makeTempDir();
  authority = new Authority(directory);
  const certificates = [
    authority.server('one', { names: ['DNS:one.example', 'DNS:localhost', 'IP:127.0.0.1'] }),
    authority.server('one rsa', { key: 'rsa', names: ['DNS:one.example'] }),
    authority.server('two', { names: ['DNS:two.example', 'DNS:*.two.example'] }),
    authority.server('three', { key: 'ed25519', names: ['DNS:three.example'] }),
    authority.server('four', { key: 'p384', names: ['DNS:four.example'] }),
  ];
  server = await startServer({ args: [...ANY_PORT, '--listen', '127.0.0.1:0,grpc', ...tlsFlags(...certificates), ...OPEN] });
  [address, grpcAddress] = server.addresses().map((one) => one.replace(',grpc', ''));
  plain = await startServer({ args: [...ANY_PORT, '--plaintext', ...OPEN] });
  const tls = new Rpc(address.replace('127.0.0.1', 'localhost'), undefined, { credentials: grpc.credentials.createSsl(authority.cert) });
  for (const rpc of [tls, new Rpc(plain.address)]) {
    await rpc.call('Commit', { database: db.name, writes: [{ update: { name: DOCUMENT, fields: { n: v.int(1) } } }] });
    rpc.close();
  }
});
after(async () => {
  await server?.close();
  await plain?.close();
  if (directory) removeDir(directory);
});

/** What `skerry status` says of a method: {ok, failed}. */
function counts(of, method) {
  const { stdout } = runSkerry(['status', '--data', of.dataDir]);
  const [, ok, failed] = stdout.match(new RegExp(`/${method} +(\\d+) +(\\d+)`)) ?? [0, 0, 0];
  return { ok: Number(ok), failed: Number(failed) };
}

describe('openssl s_client', options, () => {
  const connect = (args, run) => runTool('openssl', ['s_client', '-connect', address, '-CAfile', authority.certFile, ...args], run);
  const works = async (args, wanted) => {
    const { all } = await connect(args);
    assert.match(all, /Verify return code: 0/, all);
    for (const one of [wanted].flat()) assert.match(all, one);
  };
  /** The server says so itself; what this openssl would not even try is no proof. */
  const refused = async (args, alert) => {
    const { all } = await connect(args);
    assert.match(all, new RegExp(`SSL alert number ${alert}\\b`), all);
  };
  const PROTOCOL_VERSION = 70, HANDSHAKE_FAILURE = 40, NO_RENEGOTIATION = 100, NO_APPLICATION_PROTOCOL = 120;

  test('TLS 1.3 and 1.2', async () => {
    await works(['-tls1_3'], /New, TLSv1\.3, Cipher is TLS_(AES_(128|256)_GCM|CHACHA20)/);
    await works(['-tls1_2'], /New, TLSv1\.2, Cipher is ECDHE-ECDSA-(AES128-GCM|CHACHA20)/);
  });
  for (const version of ['tls1_1', 'tls1'])
    test(`${version} is refused`, () => refused([`-${version}`, '-cipher', 'DEFAULT@SECLEVEL=0'], PROTOCOL_VERSION));

  test('with TLS 1.2, suites without forward secrecy or AEAD are refused', async () => {
    const suites = ['ECDHE-ECDSA-AES128-SHA256', 'ECDHE-ECDSA-AES256-SHA384', 'ECDHE-ECDSA-AES128-SHA', 'ECDHE-RSA-AES128-SHA256',
      'ECDHE-RSA-AES256-SHA', 'AES128-GCM-SHA256', 'AES256-SHA256', 'AES128-SHA', 'DHE-RSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES128-CCM'];
    for (const suite of suites) await refused(['-tls1_2', '-servername', 'one.example', '-cipher', `${suite}:@SECLEVEL=0`], HANDSHAKE_FAILURE);
  });
  test('each suite of TLS 1.2 that is served', async () => {
    for (const key of ['ECDSA', 'RSA'])
      for (const suite of ['AES128-GCM-SHA256', 'AES256-GCM-SHA384', 'CHACHA20-POLY1305'])
        await works(['-tls1_2', '-servername', 'one.example', '-cipher', `ECDHE-${key}-${suite}`], [new RegExp(`Cipher is ECDHE-${key}-${suite}`), key === 'RSA' ? /CN = one rsa/ : /CN = one$/m]);
  });

  test('the certificate follows the name that is asked for', async () => {
    const cases = [['one.example', 'one'], ['two.example', 'two'], ['a.two.example', 'two'], ['three.example', 'three'], ['four.example', 'four'], ['TWO.example', 'two'], ['nobody.example', 'one']];
    for (const version of ['-tls1_3', '-tls1_2'])
      for (const [name, subject] of cases) await works([version, '-servername', name], new RegExp(`subject=CN = ${subject}$`, 'm'));
    await works(['-noservername'], /subject=CN = one$/m);
    await works(['-servername', 'three.example'], /Peer signature type: ed25519/);
  });
  test('and what the client can check', async () => {
    await works(['-tls1_3', '-servername', 'one.example', '-sigalgs', 'rsa_pss_rsae_sha256'], [/subject=CN = one rsa$/m, /Peer signature type: RSA-PSS/]);
    await works(['-tls1_3', '-servername', 'one.example', '-sigalgs', 'ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256'], /subject=CN = one$/m);
    await works(['-tls1_2', '-servername', 'one.example', '-sigalgs', 'RSA+SHA256:RSA-PSS+SHA256'], /subject=CN = one rsa$/m);
    await refused(['-tls1_3', '-servername', 'one.example', '-sigalgs', 'ecdsa_secp521r1_sha512'], HANDSHAKE_FAILURE);
  });

  test('ALPN', async () => {
    await works(['-alpn', 'h2'], /ALPN protocol: h2/);
    await works(['-alpn', 'h2,http/1.1'], /ALPN protocol: http\/1\.1/);
    await works([], /No ALPN negotiated/);
    await refused(['-alpn', 'ftp'], NO_APPLICATION_PROTOCOL);
  });

  test('renegotiation is refused', async () => {
    const { all } = await connect(['-tls1_2'], { until: (all) => all.includes('Verify return code'), last: 'R\n' });
    assert.match(all, /RENEGOTIATING/);
    assert.match(all, new RegExp(`SSL alert number ${NO_RENEGOTIATION}\\b`), all);
  });

  test('a session is resumed, also after the certificates were read again', async () => {
    for (const version of ['-tls1_3', '-tls1_2']) {
      const file = path.join(directory, `session${version}`);
      const input = version === '-tls1_3' ? PREFACE : ''; // with TLS 1.3 the ticket comes with the server's first bytes
      const first = await connect([version, '-alpn', 'h2', '-sess_out', file], { input, until: () => fs.existsSync(file) });
      assert.match(first.all, /^New, TLS/m);
      assert.ok(fs.existsSync(file), first.all);
      const again = () => connect([version, '-alpn', 'h2', '-sess_in', file], { input, until: (all) => all.includes('Reused, ') });
      assert.match((await again()).all, /^Reused, TLS/m, version);
      const before = server.stderr.split('certificates reloaded').length;
      server.signal('SIGHUP');
      await until(() => server.stderr.split('certificates reloaded').length > before, 'the reload', 5000);
      assert.match((await again()).all, /^Reused, TLS/m, `${version}, after the reload`);
    }
    assert.ok(Number(runSkerry(['status', '--data', server.dataDir]).stdout.match(/(\d+) resumed/)[1]) >= 4);
  });
  test('a session that the server did not make is not resumed', async () => {
    const file = path.join(directory, 'session-tls1_2');
    const other = await startServer({ args: [...ANY_PORT, ...tlsFlags(authority.server('other')), ...OPEN] });
    try {
      const { all } = await runTool('openssl', ['s_client', '-connect', other.address, '-tls1_2', '-CAfile', authority.certFile, '-sess_in', file]);
      assert.match(all, /^New, TLS/m);
    } finally {
      await other.close();
    }
  });
});

describe('curl', tool('curl'), () => {
  const curl = (...args) => runTool('curl', ['-sS', '--max-time', '10', '--cacert', authority.certFile, '-i', ...args]);
  const said = (result, number, text) => {
    assert.equal(result.code, 0, result.stderr);
    assert.match(result.stdout, new RegExp(`^HTTP/1\\.1 ${number} `));
    assert.match(result.stdout, number === 404 ? /^Content-Type: application\/json/im : /^Content-Type: text\/plain/im);
    assert.match(result.stdout, text);
  };
  test('https:// speaks HTTP/1.1', async () => {
    for (const args of [[], ['--http2'], ['--http1.1'], ['-d', 'x'.repeat(100_000)], ['-T', authority.certFile]]) said(await curl('-H', 'Expect:', ...args, `https://${address}/x`), 404, /nothing at/);
    assert.match((await curl(`https://${address}/healthz`)).stdout, /\r\n\r\nok\n$/);
  });
  test('http:// to the port with TLS is told so', async () => {
    for (const args of [[], ['-d', 'x'], ['--http2']]) said(await curl(...args, `http://${address}/`), 400, /TLS/);
  });
  test('on an address for gRPC only it gets HTTP/2, whose rules it breaks', async () => {
    const { code: exit, all, stdout } = await curl('-v', '--http2', `https://${grpcAddress}/`);
    assert.match(all, /ALPN: server accepted h2/);
    assert.match(all, /GOAWAY/);
    assert.notEqual(exit, 0);
    assert.doesNotMatch(stdout, /^HTTP/m);
    assert.match(runSkerry(['status', '--data', server.dataDir]).stdout, /^guard +connections ended:.* header/m);
  });
  test('a call of gRPC', async () => {
    const body = path.join(directory, 'body'), answer = path.join(directory, 'answer');
    fs.writeFileSync(body, frame(field(1, DOCUMENT)));
    const call = ['-H', 'content-type: application/grpc', '-H', 'te: trailers', '--data-binary', `@${body}`, '-o', answer, '-D', '-'];
    const where = '/google.firestore.v1.Firestore/GetDocument';
    for (const args of [['--http2', `https://${grpcAddress}${where}`], ['--http2-prior-knowledge', `http://${plain.address}${where}`]]) {
      const { code: exit, stdout, stderr } = await curl(...call, ...args);
      assert.equal(exit, 0, stderr);
      assert.match(stdout, /^HTTP\/2 200/);
      assert.match(stdout, /^grpc-status: 0/m);
      assert.ok(fs.readFileSync(answer).includes(DOCUMENT));
    }
  });
  test('plaintext: HTTP/1.1', async () => {
    for (const args of [[], ['--http2'], ['-d', 'x'.repeat(100_000)], ['--http1.0']]) said(await curl(...args, `http://${plain.address}/x`), 404, /nothing at/);
  });
});

describe('h2load', tool('h2load'), () => {
  const REQUESTS = 4000;
  async function load(of, url, ...args) {
    const body = path.join(directory, 'load');
    fs.writeFileSync(body, frame(field(1, DOCUMENT)));
    const before = counts(of, 'google.firestore.v1.Firestore/GetDocument');
    const { stdout, stderr } = await runTool('h2load', ['-n', String(REQUESTS), '-c', '16', '-m', '16', '-t', '1', '-d', body,
      '-H', 'content-type: application/grpc', '-H', 'te: trailers', ...args, `${url}/google.firestore.v1.Firestore/GetDocument`]);
    assert.match(stdout, new RegExp(`${REQUESTS} done, ${REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout`), stdout + stderr);
    assert.match(stdout, new RegExp(`status codes: ${REQUESTS} 2xx`));
    const now = counts(of, 'google.firestore.v1.Firestore/GetDocument'); // 200 is all that h2load sees, whatever gRPC's status is
    assert.deepEqual([now.ok - before.ok, now.failed - before.failed], [REQUESTS, 0]);
    return stdout;
  }
  test('over TLS', async () => assert.match(await load(server, `https://${address}`, '--npn-list=h2'), /TLS Protocol: TLSv1\.3/));
  test('over TLS, with its own list of protocols, on an address for gRPC only', () => load(server, `https://${grpcAddress}`));
  test('over TLS, in small windows', () => load(server, `https://${address}`, '--npn-list=h2', '-w', '10', '-W', '12'));
  test('plaintext', () => load(plain, `http://${plain.address}`));
});

describe('a client on C++ gRPC', { skip: options.skip || (process.env.SKERRY_GRPCPP_CLIENT ? false : 'it was not built: libgrpc++-dev is not installed') }, () => {
  const run = async (of, ca, own) => {
    const files = own ? [own.certFile, own.keyFile] : [];
    const { code: exit, stdout, stderr } = await runTool(process.env.SKERRY_GRPCPP_CLIENT, [`localhost:${of.split(':').at(-1)}`, ca.certFile, DOCUMENT, ...files]);
    assert.equal(exit, 0, stderr);
    return stdout.trim().split('\n').map((line) => line.split(' ')).map(([method, number, ...rest]) => ({ method, code: Number(number), text: rest.join(' ') }));
  };
  const got = ([health, document]) => {
    assert.deepEqual([health.code, health.text], [0, '0801'], JSON.stringify(health));
    assert.equal(document.code, 0, JSON.stringify(document));
    assert.ok(Buffer.from(document.text, 'hex').includes(DOCUMENT));
  };
  test('with a pinned authority', async () => {
    got(await run(address, authority));
    got(await run(grpcAddress, authority));
  });
  test('a wrong authority', async () => {
    const answers = await run(address, new Authority(directory, 'Somebody Else'));
    assert.deepEqual(answers.map((one) => one.code), [14, 14], JSON.stringify(answers));
  });
  test('a client certificate', async () => {
    const flags = [...ANY_PORT, ...tlsFlags(authority.server('box')), '--tls-client-ca', authority.certFile, '--access', 'mtls', '--clock', 'trusted'];
    const strict = await startServer({ args: [...flags, '--tls-client-certificates', 'required'] });
    try {
      const answers = await run(strict.address, authority, authority.client('service'));
      assert.deepEqual(answers.map((one) => one.code), [0, 5], JSON.stringify(answers)); // it is let in; there is no document
      await until(() => /code=NOT_FOUND.* certificate=service$/m.test(strict.stderr), () => strict.stderr, 5000);
      assert.deepEqual((await run(strict.address, authority)).map((one) => one.code), [14, 14]);
    } finally {
      await strict.close();
    }
  });
});
