// What the log says of calls: request ids that answers have too, traces, slow queries with their plans, every call if
// that is wanted; and never what documents or tokens hold.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { json, request } from './support/http.mjs';
import { Rpc } from './support/rpc.mjs';
import { connect, disconnectAll } from './support/sdk.mjs';
import { startServer } from './support/server.mjs';
import { until } from './support/wait.mjs';

const ROOT = 'projects/demo/databases/(default)/documents';
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736', SPAN = '00f067aa0ba902b7';
const traceparent = `00-${TRACE}-${SPAN}-01`;
const ID = /^[0-9a-f]{16}$/;
// What must not be in a log, wherever it stood in a request: field names are no contents, values and tokens are.
const SECRET = 'swordfish-7c1e', TOKEN = 'token-4d9a0b';

let server, rpc;
const servers = [];
async function start(...flags) {
  const one = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', ...flags] });
  servers.push(one);
  return one;
}
before(async () => {
  server = await start('--slow-call-log', '1ms', '--access-log');
  rpc = new Rpc(server.address);
});
after(async () => {
  rpc.close();
  await disconnectAll();
  for (const one of servers) await one.close();
});

/** The lines of a log as objects. Values are bare or quoted as in C. */
function lines(text) {
  return text.split('\n').filter((line) => line.startsWith('ts=')).map((line) => {
    const fields = { line };
    for (const [, name, quoted, bare] of line.matchAll(/(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))/g)) fields[name] = quoted ?? bare;
    return fields;
  });
}
const lineOf = async (from, condition) => until(() => lines(from.stderr).find(condition), () => `a line in\n${from.stderr}`, 5000);

/** The trailers of a unary call, whether it fails or not. */
async function trailers(client, method, request, options = {}) {
  let ended;
  const status = new Promise((resolve) => (ended = resolve));
  await client.call(method, request, { ...options, onCall: (call) => call.on('status', ended) }).catch(() => {});
  return (await status).metadata.getMap();
}

test('every call has a line with its id, which the answer has too: gRPC', async () => {
  const name = `${ROOT}/log/grpc`;
  const made = await trailers(rpc, 'CreateDocument', { parent: ROOT, collection_id: 'log', document_id: 'grpc', document: {} }, { metadata: { traceparent } });
  assert.match(made['skerry-request-id'], ID);
  const line = await lineOf(server, (one) => one.request_id === made['skerry-request-id']);
  assert.equal(line.msg, 'call');
  assert.equal(line.code, 'OK');
  assert.equal(line.method, '/google.firestore.v1.Firestore/CreateDocument');
  assert.match(line.peer, /^127\.0\.0\.1:\d+$/);
  assert.deepEqual([line.trace_id, line.parent_id], [TRACE, SPAN]);
  assert.ok(Number(line.duration_us) > 0 && Number(line.request_bytes) > 50 && Number(line.response_bytes) > 50, line.line);

  const missing = await trailers(rpc, 'GetDocument', { name: `${name}-not` }, { metadata: { traceparent: 'no-trace' } });
  const failed = await lineOf(server, (one) => one.request_id === missing['skerry-request-id']);
  assert.equal(failed.code, 'NOT_FOUND');
  assert.ok(failed.error.includes('not found'), failed.line);
  assert.equal(failed.trace_id, undefined);
  assert.equal(lines(server.stderr).filter((one) => one.request_id === failed.request_id).length, 1);
});

test('and JSON and gRPC-Web', async () => {
  const asked = await json(server.port, 'GET', `/v1/${ROOT}/log/none`, undefined, { headers: { traceparent, origin: 'https://app.example' } });
  assert.equal(asked.status, 404);
  assert.match(asked.headers['skerry-request-id'], ID);
  assert.match(asked.headers['access-control-expose-headers'], /skerry-request-id/);
  assert.equal((await lineOf(server, (one) => one.request_id === asked.headers['skerry-request-id'])).trace_id, TRACE);
  const streamed = await json(server.port, 'POST', `/v1/${ROOT}:runQuery`, { structuredQuery: { from: [{ collectionId: 'log' }] } });
  assert.match(streamed.headers['skerry-request-id'], ID);
  const body = Buffer.concat([Buffer.from([0, 0, 0, 0, 0])]);
  const web = await request(server.port, '/google.firestore.v1.Firestore/GetDocument', { method: 'POST', headers: { 'content-type': 'application/grpc-web+proto' }, body });
  assert.match(web.headers['skerry-request-id'], ID);
  assert.equal((await lineOf(server, (one) => one.request_id === web.headers['skerry-request-id'])).code, 'INVALID_ARGUMENT');
});

test('every answer over HTTP has an id, and what is refused before there is a call has a line with it', async () => {
  const refusals = [
    ['POST', `/v1/${ROOT}:commit?key=${TOKEN}`, { body: `{"writes":[{"nothing":"${SECRET}"}]}` }, 400, 'INVALID_ARGUMENT'],
    ['POST', `/v1/${ROOT}:commit`, { body: `{"transaction":"${SECRET}"}` }, 400, 'INVALID_ARGUMENT'], // no base64
    ['POST', `/v1/${ROOT}:commit`, { body: `{"writes":[{"update":{"name":"${ROOT}/a/b","fields":{"a":{"integerValue":"${SECRET}"}}}}]}` }, 400, 'INVALID_ARGUMENT'],
    ['POST', `/v1/${ROOT}:commit`, { body: `{"writes":"${SECRET}"` }, 400, 'INVALID_ARGUMENT'],
    ['POST', `/v1/${ROOT}:commit`, { body: `"${SECRET}"${' '.repeat(100_000)}` }, 400, 'INVALID_ARGUMENT'], // read on another thread
    ['GET', `/v1/${ROOT}/log?pageSize=${SECRET}`, {}, 400, 'INVALID_ARGUMENT'],
    ['GET', `/v1/nothing/here?a=${SECRET}`, {}, 404, 'NOT_FOUND'],
    // Where a name should be; of a real token the end is what counts.
    ['GET', `/v1/${ROOT}/log?${'t'.repeat(64)}${TOKEN}`, {}, 400, 'INVALID_ARGUMENT'],
    ['POST', `/v1/${ROOT}:commit?${'t'.repeat(64)}${TOKEN}`, {}, 400, 'INVALID_ARGUMENT'],
    ['POST', `/v1/${ROOT}:commit`, { body: `{"${'t'.repeat(64)}${TOKEN}":1}` }, 400, 'INVALID_ARGUMENT'],
    ['POST', '/google.firestore.v1.Firestore/GetDocument', { headers: { 'content-type': 'application/grpc-web' }, body: `\0${SECRET}` }, 200, 'INVALID_ARGUMENT'],
    ['POST', '/google.firestore.v1.Firestore/None', { headers: { 'content-type': 'application/grpc-web' } }, 200, 'UNIMPLEMENTED'],
  ];
  for (const [method, path, options, status, code] of refusals) {
    const answer = await request(server.port, path, { method, ...options, headers: { authorization: `Bearer ${TOKEN}`, ...options.headers } });
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.headers['skerry-request-id'], ID, path);
    const line = await lineOf(server, (one) => one.request_id === answer.headers['skerry-request-id']);
    assert.deepEqual([line.msg, line.verb, line.path, line.code], ['request refused', method, path.split('?')[0], code]);
    assert.ok(line.error.length > 5 && line.peer.startsWith('127.0.0.1:'), line.line);
  }
  for (const [method, path, headers, status] of [['GET', '/healthz', {}, 200], ['HEAD', '/healthz', {}, 200], ['OPTIONS', '/v1/x', { origin: 'https://a.example', 'access-control-request-method': 'POST' }, 204]]) {
    const answer = await request(server.port, path, { method, headers });
    assert.equal(answer.status, status);
    assert.match(answer.headers['skerry-request-id'], ID, path);
  }
  // One whose call ends before its handler has said anything.
  const late = await json(server.port, 'GET', `/v1/${ROOT}/log/none`, undefined, { headers: { 'grpc-timeout': '1n' } });
  assert.equal(late.status, 504);
  assert.equal((await lineOf(server, (one) => one.request_id === late.headers['skerry-request-id'])).code, 'DEADLINE_EXCEEDED');
});

test('ids do not repeat', async () => {
  await Promise.all(Array.from({ length: 300 }, (_, i) => json(server.port, 'GET', `/v1/${ROOT}/log/n${i}`)));
  const ids = lines(server.stderr).filter((one) => one.msg === 'call').map((one) => one.request_id);
  assert.ok(ids.length > 300);
  assert.equal(new Set(ids).size, ids.length);
});

test('a slow query has its plan, and contents and tokens are nowhere', async () => {
  const quiet = await start('--slow-call-log', '1ms'); // and not every call
  const db = connect(quiet, { projectId: 'demo' });
  const client = new Rpc(quiet.address, undefined, { authorization: null });
  const batch = db.bulkWriter();
  for (let i = 0; i < 3000; i++) batch.set(db.doc(`slow/d${i}`), { text: `${SECRET} ${i}`, n: i % 7, list: [SECRET] });
  await batch.close();
  const query = (structuredQuery, from, headers = {}) => json(from.port, 'POST', `/v1/${ROOT}:runQuery`, { structuredQuery: { from: [{ collectionId: 'slow' }], ...structuredQuery } }, { headers });
  const found = await query({
    where: { compositeFilter: { op: 'AND', filters: [
      { fieldFilter: { field: { fieldPath: 'n' }, op: 'GREATER_THAN', value: { integerValue: '1' } } },
      { fieldFilter: { field: { fieldPath: 'text' }, op: 'GREATER_THAN', value: { stringValue: SECRET } } },
    ] } },
    orderBy: [{ field: { fieldPath: 'n' } }, { field: { fieldPath: 'text' } }],
  }, quiet, { authorization: 'Bearer owner', 'x-other': TOKEN });
  assert.ok(found.value.length > 1000);
  const line = await lineOf(quiet, (one) => one.request_id === found.headers['skerry-request-id']);
  assert.equal(line.msg, 'slow call');
  assert.equal(line.level, 'warn');
  assert.match(line.plan, /^n\+ filter 1 sort; \d{4,} index entries and \d+ documents read, \d{4} rows/);
  assert.match(line.plan, /; an index is missing$/);

  // Contents and tokens in all the places where requests have them, in calls that fail too.
  await query({ where: { fieldFilter: { field: { fieldPath: 'text' }, op: 'IN', value: { stringValue: SECRET } } } }, quiet);
  await query({ where: { fieldFilter: { field: { fieldPath: 'text' }, op: 'EQUAL', value: { stringValue: 7, what: SECRET } } } }, quiet);
  await json(quiet.port, 'PATCH', `/v1/${ROOT}/slow/d1?currentDocument.updateTime=2020-01-01T00:00:00Z`, { fields: { text: { stringValue: SECRET } } });
  await json(quiet.port, 'PATCH', `/v1/${ROOT}/slow/d1`, { fields: { text: { mapValue: { fields: { [`__${'x'.repeat(3)}__`]: { stringValue: SECRET } } } } } });
  await json(quiet.port, 'GET', `/v1/${ROOT}/slow/none?access_token=${TOKEN}`, undefined, { headers: { authorization: `Bearer ${TOKEN}.${TOKEN}.${TOKEN}` } });
  await trailers(client, 'GetDocument', { name: `${ROOT}/slow/none` }, { metadata: { authorization: `Bearer ${TOKEN}`, cookie: TOKEN } });
  await trailers(client, 'Commit', { database: 'projects/demo/databases/(default)', writes: [{ update: { name: `${ROOT}/slow/d2`, fields: { a: { string_value: SECRET } } }, current_document: { exists: false } }] });
  await trailers(client, 'Commit', { database: 'projects/demo/databases/(default)', transaction: Buffer.from(SECRET), writes: [] });
  await until(() => lines(quiet.stderr).filter((one) => one.msg === 'call failed').length >= 5, () => quiet.stderr, 5000);
  assert.ok(!lines(quiet.stderr).some((one) => one.msg === 'call'));
  for (const text of [quiet.log, server.log]) {
    assert.ok(!text.includes(SECRET), text.split('\n').find((one) => one.includes(SECRET)));
    assert.ok(!text.includes(TOKEN), text.split('\n').find((one) => one.includes(TOKEN)));
    assert.ok(!/Bearer|owner/.test(text.replaceAll('--', '')), text.match(/.*(Bearer|owner).*/)?.[0]);
  }
  client.close();
});

test('off, only failures have a line and a trailer', async () => {
  const plain = await start();
  const client = new Rpc(plain.address);
  const made = await trailers(client, 'CreateDocument', { parent: ROOT, collection_id: 'log', document_id: 'x', document: {} });
  assert.equal(made['skerry-request-id'], undefined);
  const missing = await trailers(client, 'GetDocument', { name: `${ROOT}/log/none` });
  const line = await lineOf(plain, (one) => one.request_id === missing['skerry-request-id']);
  assert.equal(line.msg, 'call failed');
  assert.ok(!plain.stderr.includes('CreateDocument'));
  client.close();
});
