// gRPC-Web by its two usual packages, binary and text, over plaintext and TLS.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-web';
import { Authority, opensslMissing, OPEN, tlsFlags } from './support/certificates.mjs';
import { loadRegistry } from './support/descriptors.mjs';
import { fetchTrusting, request } from './support/http.mjs';
import { makeTempDir, removeDir, startServer } from './support/server.mjs';
import { xhrClass } from './support/xhr.mjs';

const ROOT = 'projects/demo/databases/(default)/documents';
const SERVICE = 'google.firestore.v1.Firestore';
const registry = loadRegistry();
const service = registry.getService(SERVICE);
const type = (name) => registry.getMessage(`google.firestore.v1.${name}`);
const value = (kind, of) => ({ valueType: { case: kind, value: of } });

let directory, authority;
const servers = {};
before(async () => {
  servers.plaintext = await startServer();
  if (opensslMissing) return;
  directory = makeTempDir();
  authority = new Authority(directory);
  servers.tls = await startServer({ args: [...tlsFlags(authority.server()), '--listen', '127.0.0.1:0', '--projects', 'demo', ...OPEN] });
});
after(async () => {
  for (const server of Object.values(servers)) await server.close();
  if (directory) removeDir(directory);
});

for (const kind of ['plaintext', 'tls'])
  describe(`@connectrpc/connect-web, ${kind}`, { skip: kind === 'tls' && opensslMissing }, () => {
    let client;
    before(() => {
      const ca = kind === 'tls' ? authority.cert : undefined;
      const transport = createGrpcWebTransport({ baseUrl: `${ca ? 'https' : 'http'}://localhost:${servers[kind].port}`, fetch: fetchTrusting(ca), useBinaryFormat: true });
      client = createClient(service, transport);
    });

    test('unary calls, and errors with their codes', async () => {
      const name = `${ROOT}/connect/one`;
      const made = await client.createDocument({ parent: ROOT, collectionId: 'connect', documentId: 'one', document: { fields: { nul: value('stringValue', 'a\0b'), n: value('integerValue', 7n) } } });
      assert.equal(made.name, name);
      const read = await client.getDocument({ name });
      assert.equal(read.fields.nul.valueType.value, 'a\0b');
      assert.equal(read.fields.n.valueType.value, 7n);
      await assert.rejects(client.getDocument({ name: `${ROOT}/connect/none` }), (error) => error instanceof ConnectError && error.code === Code.NotFound && /not found/.test(error.message));
      await assert.rejects(client.getDocument({ name: 'ä%\n' }), (error) => error.code === Code.InvalidArgument);
    });

    test('a stream of responses', async () => {
      const writes = Array.from({ length: 300 }, (_, i) => ({ operation: { case: 'update', value: { name: `${ROOT}/stream/d${i}`, fields: { text: value('stringValue', 'x'.repeat(5000)) } } } }));
      await client.commit({ database: 'projects/demo/databases/(default)', writes });
      const query = { from: [{ collectionId: 'stream' }] };
      let count = 0;
      for await (const response of client.runQuery({ parent: ROOT, queryType: { case: 'structuredQuery', value: query } })) count += response.document ? 1 : 0;
      assert.equal(count, 300);
      const failing = client.runQuery({ parent: ROOT, queryType: { case: 'structuredQuery', value: { from: [{ collectionId: 'a' }, { collectionId: 'b' }] } } });
      await assert.rejects(async () => { for await (const _ of failing); }, (error) => error.code === Code.InvalidArgument);
      for await (const _ of client.runQuery({ parent: ROOT, queryType: { case: 'structuredQuery', value: query } })) break; // the reader leaves
    });

    test('a deadline that has passed', async () => {
      const body = Buffer.from(toBinary(type('GetDocumentRequest'), create(type('GetDocumentRequest'), { name: `${ROOT}/connect/one` })));
      const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]);
      const options = { method: 'POST', headers: { 'content-type': 'application/grpc-web+proto', 'grpc-timeout': '0m' }, body: frame, ca: kind === 'tls' ? authority.cert : undefined };
      assert.match((await request(servers[kind].port, `/${SERVICE}/GetDocument`, options)).text, /grpc-status:4\r\n/);
      options.headers['grpc-timeout'] = '10S';
      assert.match((await request(servers[kind].port, `/${SERVICE}/GetDocument`, options)).text, /grpc-status:0\r\n/);
    });

    test('methods that stream requests, and ones that are not there', async () => {
      const answer = async (path) => {
        const options = { method: 'POST', headers: { 'content-type': 'application/grpc-web+proto' }, body: Buffer.alloc(5), ca: kind === 'tls' ? authority.cert : undefined };
        return (await request(servers[kind].port, path, options)).text;
      };
      assert.match(await answer(`/${SERVICE}/Listen`), /grpc-status:12\r\n/);
      assert.match(await answer(`/${SERVICE}/Nothing`), /grpc-status:12\r\n/);
      assert.match(await answer('/grpc.health.v1.Health/Check'), /grpc-status:0\r\n/);
    });
  });

for (const kind of ['plaintext', 'tls'])
  for (const format of ['binary', 'text'])
    describe(`grpc-web, ${format}, ${kind}`, { skip: kind === 'tls' && opensslMissing }, () => {
      let web, client;
      const host = () => `${kind === 'tls' ? 'https' : 'http'}://localhost:${servers[kind].port}`;
      const method = (name, way) => {
        const descriptor = service.methods.find((one) => one.name === name);
        return new web.MethodDescriptor(`/${SERVICE}/${name}`, way, Object, Object, (message) => toBinary(descriptor.input, message), (bytes) => fromBinary(descriptor.output, bytes));
      };
      const unary = (name, message) => client.thenableCall(`${host()}/${SERVICE}/${name}`, message, {}, method(name, 'unary'));
      before(async () => {
        globalThis.XMLHttpRequest = xhrClass(kind === 'tls' ? authority.cert : undefined);
        web = (await import('grpc-web')).default;
        client = new web.GrpcWebClientBase({ format });
      });

      test('unary calls and errors', async () => {
        const name = `${ROOT}/web/${format}`;
        const document = create(type('Document'), { name, fields: { text: value('stringValue', 'ä\0') } });
        await unary('UpdateDocument', create(type('UpdateDocumentRequest'), { document }));
        const read = await unary('GetDocument', create(type('GetDocumentRequest'), { name }));
        assert.equal(read.fields.text.valueType.value, 'ä\0');
        await assert.rejects(unary('GetDocument', create(type('GetDocumentRequest'), { name: `${name}-none` })), (error) => error.code === 5 && /not found/.test(error.message));
      });

      test('a stream of responses', { skip: format === 'binary' && 'the package streams text only' }, async () => {
        for (let i = 0; i < 20; i++) await unary('UpdateDocument', create(type('UpdateDocumentRequest'), { document: { name: `${ROOT}/webstream/d${i}`, fields: { n: value('integerValue', BigInt(i)) } } }));
        const asked = create(type('RunQueryRequest'), { parent: ROOT, queryType: { case: 'structuredQuery', value: { from: [{ collectionId: 'webstream' }] } } });
        const seen = await new Promise((resolve, reject) => {
          const names = [];
          const stream = client.serverStreaming(`${host()}/${SERVICE}/RunQuery`, asked, {}, method('RunQuery', 'server_streaming'));
          stream.on('data', (response) => response.document && names.push(response.document.name));
          stream.on('error', reject);
          stream.on('end', () => resolve(names));
        });
        assert.equal(seen.length, 20);
      });
    });

describe('broken bodies', () => {
  const cases = { nothing: [], 'half a head': [0, 0], 'too short': [0, 0, 0, 0, 9, 1], 'too long': [0, 0, 0, 0, 1, 1, 1], compressed: [1, 0, 0, 0, 0], trailers: [128, 0, 0, 0, 0], 'no message': [0, 0, 0, 0, 2, 10, 9] };
  for (const [name, bytes] of Object.entries(cases))
    test(name, async () => {
      for (const text of [false, true]) {
        const body = text ? Buffer.from(bytes).toString('base64') : Buffer.from(bytes);
        const answer = await request(servers.plaintext.port, `/${SERVICE}/GetDocument`, { method: 'POST', headers: { 'content-type': `application/grpc-web${text ? '-text' : ''}` }, body });
        assert.equal(answer.status, 200);
        const frame = text ? Buffer.from(answer.text, 'base64').toString() : answer.text;
        assert.match(frame, name === 'compressed' ? /grpc-status:12\r\n/ : /grpc-status:3\r\n/, name);
      }
    });
  test('what is not base64', async () => {
    const answer = await request(servers.plaintext.port, `/${SERVICE}/GetDocument`, { method: 'POST', headers: { 'content-type': 'application/grpc-web-text' }, body: '!!!!' });
    assert.match(Buffer.from(answer.text, 'base64').toString(), /grpc-status:3\r\n/);
  });
});
