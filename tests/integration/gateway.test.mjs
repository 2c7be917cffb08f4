// JSON over HTTP/1.1 on the port that gRPC has, by the bindings of google.api.http: plaintext in development, and TLS.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import zlib from 'node:zlib';
import { Authority, opensslMissing } from './support/certificates.mjs';
import { json, request } from './support/http.mjs';
import { connect, disconnectAll } from './support/sdk.mjs';
import { makeTempDir, removeDir, runSkerry, startServer } from './support/server.mjs';
import { patient } from './support/wait.mjs';

const ROOT = 'projects/demo/databases/(default)/documents';
let server;
before(async () => (server = await startServer()));
after(async () => {
  await disconnectAll();
  await server.close();
});

const call = (method, path, value, options) => json(server.port, method, `/v1/${path}`, value, options);
let collections = 0;
const collection = () => `${ROOT}/gateway${++collections}`;

test('a document is made, read, listed, changed and deleted', async () => {
  const rooms = collection();
  const fields = { title: { stringValue: 'Lobby' }, visits: { integerValue: '9007199254740993' }, open: { booleanValue: false } };
  const made = await call('POST', `${rooms}?documentId=lobby`, { fields });
  assert.equal(made.status, 200);
  assert.match(made.headers['content-type'], /^application\/json/);
  assert.equal(made.value.name, `${rooms}/lobby`);
  assert.deepEqual(made.value.fields, { open: fields.open, title: fields.title, visits: fields.visits });
  assert.match(made.value.createTime, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual((await call('GET', `${rooms}/lobby`)).value, made.value);
  assert.deepEqual((await call('GET', rooms)).value, { documents: [made.value] });
  const masked = await call('GET', `${rooms}/lobby?mask.fieldPaths=open&mask.fieldPaths=title`);
  assert.deepEqual(Object.keys(masked.value.fields).sort(), ['open', 'title']);

  const changed = await call('PATCH', `${rooms}/lobby?updateMask.fieldPaths=visits&currentDocument.exists=true`, { name: 'ignored: the path counts', fields: { visits: { integerValue: 1 } } });
  assert.equal(changed.status, 200, JSON.stringify(changed.value));
  assert.deepEqual(changed.value.fields, { ...made.value.fields, visits: { integerValue: '1' } });
  assert.deepEqual((await call('DELETE', `${rooms}/lobby`)).value, {});
  const gone = await call('GET', `${rooms}/lobby`);
  assert.equal(gone.status, 404);
  assert.equal(gone.value.error.code, 404);
  assert.equal(gone.value.error.status, 'NOT_FOUND');
  assert.match(gone.value.error.message, /not found/);
});

test('documents and collections at every depth are told apart', async () => {
  const rooms = collection();
  let path = rooms;
  for (let depth = 0; depth < 6; depth++) {
    const document = `${path}/d${depth}`;
    assert.equal((await call('POST', `${path}?documentId=d${depth}`, {})).status, 200, path);
    assert.equal((await call('GET', document)).value.name, document);
    assert.deepEqual((await call('GET', path)).value.documents.map((d) => d.name), [document]);
    assert.deepEqual((await call('POST', `${document}:listCollectionIds`, {})).value, {});
    path = `${document}/sub`;
  }
});

test('names with every kind of character', async () => {
  const rooms = collection();
  for (const id of ['a b', 'ä€😀', '100%', 'a+b', 'a&b=c?d#e', "it's", 'a:b', 'x:commit', '(default)', '.x', '..x', '"']) {
    const encoded = `${rooms}/${encodeURIComponent(id)}`;
    assert.equal((await call('PATCH', encoded, { fields: { id: { stringValue: id } } })).status, 200, id);
    const read = await call('GET', encoded);
    assert.equal(read.value.name, `${rooms}/${id}`);
    assert.equal(read.value.fields.id.stringValue, id);
  }
});

test('values keep what they are', async () => {
  const rooms = collection();
  const db = connect(server, { projectId: 'demo' });
  const fields = {
    nul: { stringValue: 'a\0b' }, empty: { stringValue: '' }, text: { stringValue: '"\\\u2028\u{1f600}' }, null: { nullValue: null },
    most: { integerValue: '9223372036854775807' }, least: { integerValue: '-9223372036854775808' }, nan: { doubleValue: 'NaN' }, infinite: { doubleValue: '-Infinity' },
    small: { doubleValue: 5e-324 }, tenth: { doubleValue: 0.1 }, bytes: { bytesValue: 'AP+A' }, time: { timestampValue: '1969-12-31T23:59:59.999999Z' },
    place: { geoPointValue: { latitude: -90, longitude: 180 } }, reference: { referenceValue: `${ROOT}/a/b` },
    list: { arrayValue: { values: [{ mapValue: { fields: { 'a.b': { booleanValue: true } } } }] } }, nothing: { mapValue: {} }, none: { arrayValue: {} },
    vector: { mapValue: { fields: { __type__: { stringValue: '__vector__' }, value: { arrayValue: { values: [{ doubleValue: 1 }, { doubleValue: 2.5 }] } } } } },
  };
  const made = await call('POST', `${rooms}?documentId=all`, { fields });
  assert.equal(made.status, 200, JSON.stringify(made.value));
  assert.deepEqual(made.value.fields, Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1))));
  const read = (await db.doc(`${rooms.split('/').at(-1)}/all`).get()).data();
  assert.equal(read.nul, 'a\0b');
  assert.ok(Number.isNaN(read.nan));
  await call('PATCH', `${rooms}/zero`, { fields: { zero: { doubleValue: -0 } } });
  const zero = await request(server.port, `/v1/${rooms}/zero`);
  assert.ok(Object.is((await db.doc(`${rooms.split('/').at(-1)}/zero`).get()).data().zero, 0) || zero.text.includes('"doubleValue":-0'));
});

test('-0 keeps its sign', async () => {
  const rooms = collection();
  const made = await request(server.port, `/v1/${rooms}?documentId=zero`, { method: 'POST', body: '{"fields":{"zero":{"doubleValue":-0}}}' });
  assert.match(made.text, /"doubleValue":-0[,}]/);
  assert.ok(Object.is((await connect(server, { projectId: 'demo' }).doc(`${rooms.split('/').at(-1)}/zero`).get()).data().zero, -0));
});

test('commit with transforms, transactions, batches and streams of responses', async () => {
  const rooms = collection();
  const write = (id, n) => ({ update: { name: `${rooms}/${id}`, fields: { n: { integerValue: n } } } });
  const committed = await call('POST', `${ROOT}:commit`, { writes: [write('a', 1), { ...write('b', 2), updateTransforms: [{ fieldPath: 'at', setToServerValue: 'REQUEST_TIME' }] }] });
  assert.equal(committed.status, 200, JSON.stringify(committed.value));
  assert.equal(committed.value.writeResults.length, 2);
  assert.ok(committed.value.commitTime);
  const begun = await call('POST', `${ROOT}:beginTransaction`, {});
  const got = await call('POST', `${ROOT}:batchGet`, { documents: [`${rooms}/a`, `${rooms}/none`], transaction: begun.value.transaction });
  assert.deepEqual(got.value.map((one) => one.found?.name ?? one.missing), [`${rooms}/a`, `${rooms}/none`]);
  assert.equal((await call('POST', `${ROOT}:commit`, { transaction: begun.value.transaction, writes: [write('a', 3)] })).status, 200);
  const query = { from: [{ collectionId: rooms.split('/').at(-1) }], orderBy: [{ field: { fieldPath: 'n' }, direction: 'DESCENDING' }], limit: 1 };
  const found = await call('POST', `${ROOT}:runQuery`, { structuredQuery: query });
  assert.equal(found.value[0].document.name, `${rooms}/a`);
  const counted = await call('POST', `${ROOT}:runAggregationQuery`, { structuredAggregationQuery: { structuredQuery: { from: query.from }, aggregations: [{ alias: 'all', count: {} }] } });
  assert.equal(counted.value[0].result.aggregateFields.all.integerValue, '2');
  const batch = await call('POST', `${ROOT}:batchWrite`, { writes: [write('c', 1), { update: { name: `${rooms}/none` }, currentDocument: { exists: true } }] });
  assert.deepEqual(batch.value.status.map((one) => one.code ?? 0), [0, 5]);
  const lost = await call('POST', `${ROOT}:commit`, { transaction: begun.value.transaction, writes: [] });
  assert.equal(lost.status, 400);
});

test('a stream that fails before anything came is an array of one error', async () => {
  const failed = await call('POST', `${ROOT}:runQuery`, { structuredQuery: { from: [{ collectionId: 'a' }, { collectionId: 'b' }] } });
  assert.equal(failed.status, 400);
  assert.equal(failed.value[0].error.status, 'INVALID_ARGUMENT');
});

test('many documents stream, and a reader that stops is let go', async () => {
  const rooms = collection();
  const filler = 'x'.repeat(10_000);
  for (let i = 0; i < 4; i++) {
    const writes = Array.from({ length: 250 }, (_, k) => ({ update: { name: `${rooms}/d${i * 250 + k}`, fields: { filler: { stringValue: filler } } } }));
    assert.equal((await call('POST', `${ROOT}:commit`, { writes })).status, 200);
  }
  const body = JSON.stringify({ structuredQuery: { from: [{ collectionId: rooms.split('/').at(-1) }] } });
  const all = await request(server.port, `/v1/${ROOT}:runQuery`, { method: 'POST', body });
  assert.equal(all.headers['transfer-encoding'], 'chunked');
  assert.equal(all.json().filter((one) => one.document).length, 1000);
  const failedBefore = Number(runSkerry(['status', '--data', server.dataDir]).stdout.match(/Firestore\/RunQuery +\d+ +(\d+)/)[1]);
  await new Promise((resolve, reject) => {
    const sent = http.request({ host: '127.0.0.1', port: server.port, path: `/v1/${ROOT}:runQuery`, method: 'POST', agent: false }, (response) => {
      response.once('data', () => (response.pause(), setTimeout(() => (response.destroy(), resolve()), 300)));
    });
    sent.on('error', reject);
    sent.end(body);
  });
  const failed = () => Number(runSkerry(['status', '--data', server.dataDir]).stdout.match(/Firestore\/RunQuery +\d+ +(\d+)/)[1]);
  const deadline = Date.now() + patient(15_000);
  while (failed() === failedBefore && Date.now() < deadline) await new Promise((next) => setTimeout(next, 200));
  assert.equal(failed(), failedBefore + 1);
});

test('what is wrong with a request is said', async () => {
  const cases = [
    ['POST', `${ROOT}:commit`, '{"writes":[{"nothing":1}]}', 400, /unknown field "nothing"/],
    ['POST', `${ROOT}:commit`, '{', 400, /Invalid JSON/],
    ['POST', `${ROOT}:commit`, '[]', 400, /object/],
    ['POST', `${ROOT}:commit?pageSize=1`, '{}', 400, /parameter "pageSize"/],
    ['GET', `${ROOT}/a/b?nothing=1`, undefined, 400, /no parameter "nothing"/],
    ['GET', `${ROOT}/a?pageSize=x`, undefined, 400, /whole number/],
    ['GET', `${ROOT}/a?pageSize=%zz`, undefined, 400, /not well formed/],
    ['GET', `${ROOT}/a/../b`, undefined, 400, /path/],
    ['GET', `${ROOT}/a/%2e%2e/b`, undefined, 400, /path/],
    ['GET', `${ROOT}//b`, undefined, 400, /path/],
    ['GET', `${ROOT}/a/%`, undefined, 400, /path/],
    ['PUT', `${ROOT}/a/b`, '{}', 405, /no PUT here, but GET, HEAD, PATCH, DELETE/],
    ['GET', `${ROOT}:commit`, undefined, 405, /no GET here, but POST/],
    ['POST', `${ROOT}/a/b`, '{}', 405, /no POST here/],
    ['GET', 'nowhere', undefined, 404, /nothing at GET/],
    ['POST', `${ROOT}:listen`, '{}', 404, /nothing/],
    ['GET', `${ROOT}/a/b%00`, undefined, 400, /U\+0000|path|name/],
    ['GET', `${ROOT}/__a__/b`, undefined, 400, /./],
  ];
  for (const [method, path, body, status, text] of cases) {
    const answer = await request(server.port, `/v1/${path}`, { method, body });
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    assert.match(answer.json().error.message, text, path);
  }
  const other = await request(server.port, '/google.firestore.v1.Firestore/Commit', { method: 'POST', headers: { 'content-type': 'application/grpc' } });
  assert.equal(other.status, 415);
});

test('HEAD, OPTIONS and other verbs', async () => {
  const rooms = collection();
  await call('POST', `${rooms}?documentId=a`, {});
  const got = await request(server.port, `/v1/${rooms}/a`), head = await request(server.port, `/v1/${rooms}/a`, { method: 'HEAD' });
  assert.deepEqual([head.status, head.text, head.headers['content-length']], [200, '', got.headers['content-length']]);
  assert.equal(got.headers['x-content-type-options'], 'nosniff');
  assert.equal((await request(server.port, `/v1/${rooms}/none`, { method: 'HEAD' })).status, 404);
  for (const [path, allow] of [[`/v1/${rooms}/a`, 'GET, HEAD, PATCH, DELETE'], [`/v1/${rooms}`, 'GET, HEAD, POST'], [`/v1/${ROOT}:commit`, 'POST'], ['/healthz', 'GET, HEAD']]) {
    const options = await request(server.port, path, { method: 'OPTIONS' });
    assert.deepEqual([options.status, options.headers.allow], [204, allow], path);
    const put = await request(server.port, path, { method: 'PUT' });
    assert.deepEqual([put.status, put.headers.allow, put.json().error.code], [405, allow, 405], path);
  }
  assert.equal((await request(server.port, '/v1/nothing', { method: 'OPTIONS' })).status, 404);
  const packed = await request(server.port, `/v1/${rooms}/a`, { method: 'PATCH', headers: { 'content-encoding': 'gzip' }, body: zlib.gzipSync('{}') });
  assert.deepEqual([packed.status, packed.json().error.code], [415, 415]);
  const large = await request(server.port, `/v1/${rooms}/a`, { method: 'PATCH', headers: { expect: '100-continue', 'content-length': 2 }, body: '{}' });
  assert.equal(large.status, 200);
});

test('parameters of Google’s APIs that concern the transport are ignored', async () => {
  const rooms = collection();
  assert.equal((await call('GET', `${rooms}?key=abc&alt=json&prettyPrint=false&$alt=json`)).status, 200);
});

test('health', async () => {
  for (const path of ['/healthz', '/readyz']) {
    const answer = await request(server.port, path);
    assert.deepEqual([answer.status, answer.text], [200, 'ok\n']);
    assert.equal((await request(server.port, path, { method: 'HEAD' })).text, '');
  }
  assert.equal((await request(server.port, '/')).text, 'Ok\n');
});

test('large answers are compressed for those who take it', async () => {
  const rooms = collection();
  await call('POST', `${rooms}?documentId=large`, { fields: { text: { stringValue: 'abc '.repeat(5000) } } });
  const plain = await request(server.port, `/v1/${rooms}/large`);
  assert.equal(plain.headers['content-encoding'], undefined);
  const small = await request(server.port, '/healthz', { headers: { 'accept-encoding': 'gzip' } });
  assert.equal(small.headers['content-encoding'], undefined);
  const refused = await request(server.port, `/v1/${rooms}/large`, { headers: { 'accept-encoding': 'gzip;q=0, deflate' } });
  assert.equal(refused.headers['content-encoding'], undefined);
  const packed = await request(server.port, `/v1/${rooms}/large`, { headers: { 'accept-encoding': 'deflate, gzip;q=0.5' } });
  assert.equal(packed.headers['content-encoding'], 'gzip');
  assert.ok(packed.body.length < 2000);
  assert.deepEqual(zlib.gunzipSync(packed.body).toString(), plain.text);
});

test('streams are compressed as they go, for those who take it', async () => {
  const rooms = collection();
  const writes = Array.from({ length: 400 }, (_, i) => ({ update: { name: `${rooms}/d${i}`, fields: { i: { integerValue: i }, text: { stringValue: `room number ${i}` } } } }));
  writes.push({ update: { name: `${rooms}/noise`, fields: { bytes: { bytesValue: randomBytes(700_000).toString('base64') } } } });
  assert.equal((await call('POST', `${ROOT}:commit`, { writes })).status, 200);
  const query = (headers, where = {}) => request(server.port, `/v1/${ROOT}:runQuery`, { method: 'POST', headers, body: JSON.stringify({ structuredQuery: { from: [{ collectionId: rooms.split('/').at(-1) }], ...where } }) });
  const plain = await query({}), packed = await query({ 'accept-encoding': 'gzip' });
  assert.deepEqual([plain.headers['content-encoding'], packed.headers['content-encoding'], packed.headers['transfer-encoding']], [undefined, 'gzip', 'chunked']);
  const whole = zlib.gunzipSync(packed.body).toString();
  assert.deepEqual(JSON.parse(whole).map((one) => one.document), plain.json().map((one) => one.document));
  assert.ok(packed.body.length < plain.body.length - 100_000, `${packed.body.length} of ${plain.body.length}`);
  const few = await query({ 'accept-encoding': 'gzip' }, { where: { fieldFilter: { field: { fieldPath: 'i' }, op: 'GREATER_THAN_OR_EQUAL', value: { integerValue: 0 } } } });
  assert.ok(few.body.length < 20_000, `${few.body.length}`);
  assert.equal(JSON.parse(zlib.gunzipSync(few.body)).length, 400);
  const none = await query({ 'accept-encoding': 'gzip' }, { where: { fieldFilter: { field: { fieldPath: 'i' }, op: 'EQUAL', value: { integerValue: -1 } } } });
  assert.ok(JSON.parse(none.headers['content-encoding'] ? zlib.gunzipSync(none.body) : none.body).every((one) => !one.document));
});

test('connections are kept, and requests may follow each other without waiting', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (let i = 0; i < 20; i++) assert.equal((await request(server.port, '/healthz', { agent })).status, 200);
  assert.equal(Object.values(agent.freeSockets).flat().length, 1);
  agent.destroy();
});

test('pages of all origins in development', async () => {
  const answer = await request(server.port, '/healthz', { headers: { origin: 'https://a.example' } });
  assert.equal(answer.headers['access-control-allow-origin'], 'https://a.example');
  const preflight = await request(server.port, `/v1/${ROOT}:commit`, { method: 'OPTIONS', headers: { origin: 'https://a.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-goog-api-client,authorization' } });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers['access-control-allow-headers'], 'x-goog-api-client,authorization');
  assert.match(preflight.headers['access-control-allow-methods'], /PATCH/);
});

test('a database is emptied, another one stays', async () => {
  const other = ROOT.replace('demo', 'other').replace('(default)', 'second');
  for (const root of [ROOT, other, other.replace('second', 'second2')]) assert.equal((await json(server.port, 'POST', `/v1/${root}/kept?documentId=one`, {})).status, 200);
  const writes = Array.from({ length: 1000 }, (_, i) => ({ update: { name: `${other}/many/d${i}/below/e`, fields: { i: { integerValue: i } } } }));
  assert.equal((await json(server.port, 'POST', `/v1/${other}:commit`, { writes })).status, 200);
  const erased = await request(server.port, `/emulator/v1/${other}`, { method: 'DELETE' });
  assert.deepEqual([erased.status, erased.json()], [200, {}]);
  for (const path of [`${other}/kept/one`, `${other}/many/d7/below/e`]) assert.equal((await json(server.port, 'GET', `/v1/${path}`)).status, 404);
  for (const root of [ROOT, other.replace('second', 'second2')]) assert.equal((await json(server.port, 'GET', `/v1/${root}/kept/one`)).status, 200);
  assert.equal((await request(server.port, `/emulator/v1/${other}`, { method: 'DELETE' })).status, 200);
});

test('many clients at once', async () => {
  const rooms = collection();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  await Promise.all(Array.from({ length: 500 }, async (_, i) => {
    const path = `/v1/${rooms}/d${i}`;
    const made = await json(server.port, 'PATCH', path, { fields: { n: { integerValue: i } } }, { agent });
    assert.equal(made.status, 200);
    assert.equal((await json(server.port, 'GET', path, undefined, { agent })).value.fields.n.integerValue, String(i));
  }));
  agent.destroy();
});

test('large bodies are read beside others, and whatever becomes of their clients', async () => {
  const rooms = collection();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
  const large = (id, n) => ({ writes: [{ update: { name: `${rooms}/${id}`, fields: { list: { arrayValue: { values: Array.from({ length: n }, (_, i) => ({ integerValue: String(i) })) } } } } }] });
  const commits = Array.from({ length: 12 }, async (_, i) => {
    const answer = await call('POST', `${ROOT}:commit`, large(`d${i}`, 20_000 + i), { agent });
    assert.equal(answer.status, 200, JSON.stringify(answer.value));
  });
  const gone = JSON.stringify(large('gone', 60_000));
  for (let i = 0; i < 12; i++) {
    const sent = http.request({ host: '127.0.0.1', port: server.port, path: `/v1/${ROOT}:commit`, method: 'POST', agent: false, headers: { 'content-length': gone.length } });
    sent.on('error', () => {});
    sent.end(gone, () => setTimeout(() => sent.destroy(), i * 3));
  }
  for (let i = 0; i < 50; i++) assert.equal((await request(server.port, '/healthz', { agent })).status, 200);
  await Promise.all(commits);
  for (let i = 0; i < 12; i++) assert.equal((await call('GET', `${rooms}/d${i}`)).value.fields.list.arrayValue.values.length, 20_000 + i);
  agent.destroy();
});

describe('TLS', { skip: opensslMissing }, () => {
  let directory, authority, own, secure;
  before(async () => {
    directory = makeTempDir();
    authority = new Authority(directory);
    const certificate = authority.server();
    own = authority.client('phone');
    secure = await startServer({
      args: ['--listen', '127.0.0.1:0', '--tls-cert', certificate.certFile, '--tls-key', certificate.keyFile, '--tls-client-ca', authority.certFile, '--tls-client-certificates', 'optional',
        '--projects', 'demo', '--clock', 'trusted', '--access', 'mtls', '--cors-origins', 'https://app.example'],
    });
  });
  after(async () => {
    await secure.close();
    removeDir(directory);
  });
  test('a certificate’s owner gets in, others are refused', async () => {
    const path = `/v1/${ROOT}/tls/one`;
    const refused = await json(secure.port, 'GET', path, undefined, { ca: authority.cert });
    assert.equal(refused.status, 401);
    assert.equal(refused.headers['www-authenticate'], 'Bearer');
    assert.equal(refused.value.error.status, 'UNAUTHENTICATED');
    const taken = await json(secure.port, 'PATCH', path, {}, { ca: authority.cert, cert: own.cert, key: own.key });
    assert.equal(taken.status, 200, JSON.stringify(taken.value));
  });
  test('large bodies both ways', async () => {
    const text = 'y'.repeat(900_000);
    const options = { ca: authority.cert, cert: own.cert, key: own.key };
    const made = await json(secure.port, 'PATCH', `/v1/${ROOT}/tls/large`, { fields: { text: { stringValue: text } } }, options);
    assert.equal(made.status, 200);
    assert.equal((await json(secure.port, 'GET', `/v1/${ROOT}/tls/large`, undefined, options)).value.fields.text.stringValue, text);
  });
  test('only pages of the origins that are set may read answers', async () => {
    const asked = (origin) => request(secure.port, '/healthz', { ca: authority.cert, headers: { origin } });
    assert.equal((await asked('https://app.example')).headers['access-control-allow-origin'], 'https://app.example');
    assert.equal((await asked('https://other.example')).headers['access-control-allow-origin'], undefined);
  });
  test('nothing of development is there', async () => {
    assert.equal((await request(secure.port, '/', { ca: authority.cert })).status, 404);
    assert.equal((await request(secure.port, `/emulator/v1/${ROOT}`, { ca: authority.cert, method: 'DELETE' })).status, 404);
  });
});
