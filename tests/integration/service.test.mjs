// gRPC itself: health, reflection, unknown methods, deadlines, metadata, compression; and what this version answers for
// the methods that it does not have yet.
import assert from 'node:assert/strict';
import zlib from 'node:zlib';
import { after, before, test } from 'node:test';
import { grpc, protobuf } from './support/packages.mjs';
import { startServer, skerryOnly } from './support/server.mjs';
import { Rpc, callPath, code, fails, freshDatabase, loadProto, value as v } from './support/rpc.mjs';
import { field, frame, openHttp2, rawCall } from './support/wire.mjs';
import { patient } from './support/wait.mjs';

const FIRESTORE = 'google.firestore.v1.Firestore';

let server, rpc;
before(async () => {
  server = await startServer();
  rpc = new Rpc(server.address);
});
after(async () => {
  rpc.close();
  await server.close();
});

test('health', { skip: skerryOnly }, async (t) => {
  const health = new Rpc(server.address, loadProto('grpc/health/v1/health.proto').grpc.health.v1.Health);
  t.after(() => health.close());
  for (const service of ['', FIRESTORE])
    assert.deepEqual(await health.call('Check', { service }), { status: 'SERVING' });
  await fails(health.call('Check', { service: 'no.such.Service' }), code.NOT_FOUND);
  const { statuses } = await health.call('List', {});
  assert.equal(statuses[FIRESTORE].status, 'SERVING');

  const { path, requestSerialize, responseDeserialize } = health.service.Watch;
  const watch = (service) =>
    health.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, { service }, new grpc.Metadata(), { deadline: Date.now() + patient(5000) });
  for (const [service, status] of [['', 'SERVING'], ['no.such.Service', 'SERVICE_UNKNOWN']]) {
    const stream = watch(service);
    const first = await new Promise((resolve, reject) => stream.once('data', resolve).once('error', reject));
    assert.equal(first.status, status);
    stream.on('error', () => {});
    stream.cancel();
  }
});

test('reflection', { skip: skerryOnly }, async (t) => {
  for (const version of ['v1', 'v1alpha'])
    await t.test(version, async (t) => {
      const reflection = new Rpc(server.address, loadProto(`grpc/reflection/${version}/reflection.proto`).grpc.reflection[version].ServerReflection);
      t.after(() => reflection.close());
      const stream = reflection.open('ServerReflectionInfo');
      const answers = stream[Symbol.asyncIterator]();
      const ask = async (request) => {
        stream.write(request);
        return (await answers.next()).value;
      };
      const { list_services_response } = await ask({ list_services: '' });
      const services = list_services_response.service.map((one) => one.name);
      for (const name of [FIRESTORE, 'grpc.health.v1.Health', `grpc.reflection.${version}.ServerReflection`])
        assert.ok(services.includes(name), `${name} in ${services}`);

      // A generic tool needs every file that it can reach from the service.
      const files = new Map();
      const take = (answer) => {
        assert.ok(answer.file_descriptor_response, JSON.stringify(answer.error_response));
        for (const bytes of answer.file_descriptor_response.file_descriptor_proto) {
          const file = FileDescriptorProto.decode(bytes);
          files.set(file.name, file);
        }
      };
      take(await ask({ file_containing_symbol: FIRESTORE }));
      for (;;) {
        const missing = [...files.values()].flatMap((file) => file.dependency).find((name) => !files.has(name));
        if (!missing) break;
        take(await ask({ file_by_filename: missing }));
      }
      const service = files.get('google/firestore/v1/firestore.proto').service[0];
      assert.deepEqual(service.method.map((one) => one.name).filter((name) => ['Commit', 'GetDocument', 'Listen', 'Write'].includes(name)).sort(), ['Commit', 'GetDocument', 'Listen', 'Write']);
      take(await ask({ file_containing_symbol: `${FIRESTORE}.Commit` }));
      take(await ask({ file_containing_symbol: 'google.firestore.v1.Value' }));
      take(await ask({ file_containing_symbol: 'google.firestore.v1.StructuredQuery.CompositeFilter.Operator' }));
      for (const request of [{ file_containing_symbol: 'no.Such' }, { file_by_filename: 'no/such.proto' }, { file_containing_symbol: '' }]) {
        const { error_response } = await ask(request);
        assert.equal(error_response.error_code, code.NOT_FOUND);
        assert.ok(error_response.error_message.length > 5);
      }
      stream.end();
      assert.equal((await answers.next()).done, true);
    });
});

// What reflection sends, with the fields that this test looks at.
const FileDescriptorProto = protobuf.parse(`
  syntax = "proto3";
  message FileDescriptorProto { string name = 1; repeated string dependency = 3; repeated Service service = 6; }
  message Service { string name = 1; repeated Method method = 2; }
  message Method { string name = 1; }`).root.lookupType('FileDescriptorProto');

test('methods that nobody has', async () => {
  for (const path of [`/${FIRESTORE}/Nope`, '/nope.Nope/Nope', '/', '//', '/x', `/${FIRESTORE}`, `/${FIRESTORE}/getdocument`, '/skerry.admin.v1.Admin/GetStatus'])
    await assert.rejects(callPath(rpc, path), (error) => error.code === code.UNIMPLEMENTED, path);
});

test('methods that this version does not have', { skip: skerryOnly }, async (t) => {
  const db = freshDatabase();
  await t.test('ExecutePipeline', () => fails(rpc.collect('ExecutePipeline', { database: db.name }), code.UNIMPLEMENTED, /this version/i));
});

test('deadlines', async () => {
  const db = freshDatabase();
  await fails(rpc.call('GetDocument', { name: db.doc('c/x') }, { deadlineMs: -1 }), code.DEADLINE_EXCEEDED);
  const session = openHttp2(server.address);
  try {
    const body = frame(field(1, db.doc('c/x')));
    for (const timeout of ['1n', '100u', '1m', '99999999H']) {
      const answer = await rawCall(session, `/${FIRESTORE}/GetDocument`, body, { headers: { 'grpc-timeout': timeout } });
      const wanted = timeout.endsWith('H') ? [code.NOT_FOUND] : [code.NOT_FOUND, code.DEADLINE_EXCEEDED, undefined];
      assert.ok(wanted.includes(answer.code), `${timeout}: ${JSON.stringify(answer)}`);
    }
  } finally {
    session.close();
  }
});

test('metadata of SDKs is taken', async () => {
  const db = freshDatabase();
  const metadata = {
    authorization: 'Bearer owner',
    'google-cloud-resource-prefix': db.name,
    'x-goog-request-params': `database=${encodeURIComponent(db.name)}`,
    'x-goog-api-client': 'gl-node/20 fire/12 grpc/1.9',
    'x-firebase-gmpid': '1:1:web:1',
    'odd-bin': Buffer.from([0, 255, 10]),
  };
  const { write_results } = await rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc('c/x') } }] }, { metadata });
  assert.equal(write_results.length, 1);
});

test('compressed requests', async () => {
  const db = freshDatabase();
  const gzip = new Rpc(server.address, undefined, { 'grpc.default_compression_algorithm': 2 });
  try {
    const text = v.string('compress me '.repeat(20_000));
    await gzip.call('Commit', { database: db.name, writes: [{ update: { name: db.doc('c/x'), fields: { text } } }] });
    assert.deepEqual((await gzip.call('GetDocument', { name: db.doc('c/x') })).fields, { text });
  } finally {
    gzip.close();
  }
});

test('compression that is wrong', { skip: skerryOnly }, async (t) => {
  const session = openHttp2(server.address);
  t.after(() => session.close());
  const message = field(1, freshDatabase().doc('c/x'));
  const cases = [
    ['gzip', frame(zlib.gzipSync(message), { compressed: 1 }), { 'grpc-encoding': 'gzip' }, [code.NOT_FOUND]],
    ['deflate', frame(zlib.deflateSync(message), { compressed: 1 }), { 'grpc-encoding': 'deflate' }, [code.NOT_FOUND, code.UNIMPLEMENTED]],
    ['named, not used', frame(message), { 'grpc-encoding': 'gzip' }, [code.NOT_FOUND]],
    ['unknown', frame(zlib.brotliCompressSync(message), { compressed: 1 }), { 'grpc-encoding': 'brotli' }, [code.UNIMPLEMENTED, code.INVALID_ARGUMENT]],
    ['used, not named', frame(zlib.gzipSync(message), { compressed: 1 }), {}, [code.INTERNAL, code.INVALID_ARGUMENT, code.UNIMPLEMENTED]],
    ['no gzip at all', frame(message, { compressed: 1 }), { 'grpc-encoding': 'gzip' }, [code.INTERNAL, code.INVALID_ARGUMENT]],
    ['cut off', frame(zlib.gzipSync(message).subarray(0, 15), { compressed: 1 }), { 'grpc-encoding': 'gzip' }, [code.INTERNAL, code.INVALID_ARGUMENT]],
  ];
  for (const [name, body, headers, wanted] of cases)
    await t.test(name, async () => {
      const answer = await rawCall(session, `/${FIRESTORE}/GetDocument`, body, { headers });
      assert.ok(wanted.includes(answer.code), JSON.stringify(answer));
      assert.ok(answer.message.length > 5, JSON.stringify(answer));
    });
});

test('many calls at once on one connection and on many', async () => {
  const db = freshDatabase();
  const rpcs = Array.from({ length: 10 }, (_, i) => new Rpc(server.address, undefined, { 'grpc.channel': i }));
  try {
    await Promise.all(rpcs.flatMap((one, i) => Array.from({ length: 100 }, (_, j) =>
      one.call('Commit', { database: db.name, writes: [{ update: { name: db.doc(`c/${i}-${j}`), fields: { i: v.int(i), j: v.int(j) } } }] }))));
    const read = await Promise.all(rpcs.flatMap((one, i) => Array.from({ length: 100 }, (_, j) => one.call('GetDocument', { name: db.doc(`c/${i}-${j}`) }))));
    assert.ok(read.every((document, at) => document.fields.i.integer_value === String(Math.floor(at / 100)) && document.fields.j.integer_value === String(at % 100)));
  } finally {
    for (const one of rpcs) one.close();
  }
});

test('a connection without a call is closed after connection_idle_max, one with a call is not', { skip: skerryOnly }, async (t) => {
  for (const mode of [['--dev'], ['--plaintext']]) {
    const own = await startServer({ args: ['--listen', '127.0.0.1:0', '--connection-idle-max', '1s', ...mode] });
    t.after(() => own.close());
    const idle = openHttp2(own.address);
    const idleEnded = new Promise((resolve) => idle.on('close', resolve));
    const busy = new Rpc(own.address, loadProto('grpc/health/v1/health.proto').grpc.health.v1.Health);
    t.after(() => busy.close());
    let busyEnded = false;
    const watch = busy.client.Watch({ service: '' });
    watch.on('data', () => {});
    watch.on('error', () => (busyEnded = true));
    watch.on('end', () => (busyEnded = true));
    const began = Date.now();
    await idleEnded;
    const took = Date.now() - began;
    assert.ok(took > 500 && took < patient(20_000), `closed after ${took} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    assert.equal(busyEnded, false);
    watch.cancel();
  }
});
