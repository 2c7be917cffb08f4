// Stacks of threads: those that the profile says, with a guard page below each, of libraries' threads too; and what a client
// can nest as deep as it may, and deeper, on the smallest of them. Twice what was touched has to fit: frames of other
// processors and compilers are larger.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { json, request } from './support/http.mjs';
import { Listener, queryTarget } from './support/listen.mjs';
import { Rpc, callPath, code, fails, freshDatabase, value as v } from './support/rpc.mjs';
import { makeTempDir, removeDir, runSkerry, skerryOnly, startServer } from './support/server.mjs';
import { field, nest } from './support/wire.mjs';

const skip = skerryOnly;
const db = freshDatabase('(default)', 'shop');
const files = makeTempDir();
/** As deep as each may be (base/limits.h, server/rules/rules.h, server/json/json_read.h). */
const VALUE = 20, FILTER = 30, MESSAGE = 100, JSON_DEPTH = 200, CALLS = 20, LEVELS = 256, WRITTEN = 100, GROUPS = 200;
let server, rpc, owner, stackBytes;

/** Around `inner`, each kind of expression that contains another, `levels` deep. */
function expression(levels, inner) {
  const around = [[1, (x) => `(true && ${x})`], [2, (x) => `[${x}][0]`], [1, (x) => `(true ? ${x} : false)`], [2, (x) => `{'a': ${x}}.a`], [2, (x) => `!(!(${x}))`], [1, (x) => `(${x} == true)`]];
  for (let i = 0; levels >= around[i % around.length][0]; i++) {
    const [costs, wrap] = around[i % around.length];
    inner = wrap(inner);
    levels -= costs;
  }
  return inner;
}

/** Functions that call each other, to the depth at which a request is refused (minus `spare`). */
function deepRules(spare) {
  const each = Math.floor((LEVELS - spare) / CALLS) - 1;
  const pattern = `${'('.repeat(GROUPS)}a${')+'.repeat(GROUPS)}`;
  const functions = Array.from({ length: CALLS }, (_, i) => `function f${i}() { return ${expression(each, i + 1 < CALLS ? `f${i + 1}()` : `('aaaa'.matches('${pattern}') || true)`)}; }`);
  return `rules_version = '2';
service cloud.firestore { match /databases/{d}/documents {
  ${functions.join('\n  ')}
  match /deep/{id} { allow read, write: if f0(); }
  match /written/{id} { allow read, write: if ${expression(WRITTEN / 2 - 3, 'true')}; }
} }`;
}

/** {most, count}: of the stacks of that size the most that was touched, in bytes, and how many there are. */
function stacks(pid, bytes) {
  const found = [];
  let before, at;
  for (const line of fs.readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const head = line.match(/^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ 0\s*$/);
    if (head) [before, at] = [at, { from: parseInt(head[1], 16), to: parseInt(head[2], 16), rights: head[3] }];
    else if (/^[0-9a-f]+-/.test(line)) [before, at] = [at, undefined];
    const isStack = at && at.rights === 'rw-p' && at.to - at.from === bytes && before?.rights === '---p' && before.to === at.from;
    if (isStack && line.startsWith('Rss:')) found.push(Number(line.match(/\d+/)[0]) * 1024);
  }
  return { most: Math.max(0, ...found), count: found.length };
}

before(async () => {
  if (skip) return;
  stackBytes = Number(runSkerry(['profile', '--dev', '--profile', 'tiny', '--data', files]).stdout.match(/^stack=(\d+)$/m)[1]);
  fs.writeFileSync(path.join(files, 'rules'), deepRules(6));
  server = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--profile', 'tiny', '--rules', path.join(files, 'rules'), '--log-level', 'error'] });
  rpc = new Rpc(server.address, undefined, { authorization: null });
  owner = new Rpc(server.address);
});
after(() => {
  rpc?.close();
  owner?.close();
  server?.discard();
  removeDir(files);
});

const nested = (depth) => { let value = v.int(1); for (let i = 0; i < depth; i++) value = i % 2 ? { array_value: { values: [value] } } : { map_value: { fields: { m: value } } }; return value; };
const put = (name, fields) => ({ update: { name: db.doc(name), fields } });

test('rules as deep as they may be, on every thread that asks them', { skip }, async () => {
  await rpc.call('Commit', { database: db.name, writes: [put('deep/a', { n: v.int(1) }), put('written/a', { n: v.int(1) })] });
  await rpc.call('GetDocument', { name: db.doc('deep/a') });
  const found = await rpc.collect('RunQuery', { parent: db.root, structured_query: { from: [{ collection_id: 'deep' }] } });
  assert.equal(found.filter((one) => one.document).length, 1);
  const listener = new Listener(rpc, db, { deadlineMs: 60_000 });
  listener.add(1, queryTarget(db.root, 'deep'));
  await listener.until(() => listener.names(1).length === 1);
  listener.stream.cancel();
  const open = (text) => `service cloud.firestore { match /a/{b} { allow read: if ${text.repeat(50_000)}`;
  for (const text of [deepRules(-20), open('('), open('!'), open('['), open('match /a {')]) {
    const body = { rules: { files: [{ content: text }] } };
    await json(server.port, 'PUT', '/emulator/v1/projects/shop:securityRules', body);
    await assert.rejects(rpc.call('GetDocument', { name: db.doc('deep/a') }), 'too deep, or no rules');
  }
});

test('documents, filters, JSON and messages as deep as they may be, and deeper', { skip }, async () => {
  await owner.call('Commit', { database: db.name, writes: [1, 2, 3].map((n) => put(`values/${n}`, { v: nested(VALUE) })) });
  await fails(owner.call('Commit', { database: db.name, writes: [put('values/x', { v: nested(VALUE + 2) })] }), code.INVALID_ARGUMENT);
  await owner.collect('RunQuery', { parent: db.root, structured_query: { from: [{ collection_id: 'values' }], order_by: [{ field: { field_path: 'v' } }] } });
  const filter = (depth) => (depth === 0 ? { field_filter: { field: { field_path: 'v' }, op: 'EQUAL', value: v.int(1) } } : { composite_filter: { op: depth % 2 ? 'AND' : 'OR', filters: [filter(depth - 1)] } });
  const query = (depth) => owner.collect('RunQuery', { parent: db.root, structured_query: { from: [{ collection_id: 'values' }], where: filter(depth) } });
  await query(FILTER - 2);
  await fails(query(FILTER + 5), code.INVALID_ARGUMENT);
  for (const depth of [MESSAGE - 4, MESSAGE + 1, 5000]) {
    // RunQueryRequest.structured_query.where, then CompositeFilter.filters in each other
    const bytes = field(2, field(3, nest(depth, [1, 2])));
    await callPath(owner, '/google.firestore.v1.Firestore/RunQuery', bytes).catch((error) => assert.equal(error.code, code.INVALID_ARGUMENT));
  }
  const patch = (value) => request(server.port, `/v1/${db.doc('values/j')}`, { method: 'PATCH', body: `{"fields":{"v":${value}}}`, headers: { authorization: 'Bearer owner', 'content-type': 'application/json' } });
  assert.equal((await patch(`${'{"mapValue":{"fields":{"a":'.repeat(VALUE)}{"nullValue":null}${'}}}'.repeat(VALUE)}`)).status, 200);
  for (const depth of [JSON_DEPTH - 10, JSON_DEPTH + 1, 50_000])
    for (const [open, close] of [['{"mapValue":{"fields":{"a":', '}}}'], ['{"arrayValue":{"values":[', ']}}'], ['[', ']'], ['{"a":', '}']]) {
      const levels = Math.ceil(depth / open.match(/[[{]/g).length);
      const { status } = await patch(`${open.repeat(levels)}{"nullValue":null}${close.repeat(levels)}`);
      assert.ok(status >= 400 && status < 500, `${status} for ${depth} levels of ${open}`);
    }
  await owner.call('GetDocument', { name: db.doc('values/1') });
});

test('all stacks are of the size that the profile says, above a guard page, and at most half of one was used', { skip }, (t) => {
  if (server.isInstrumented) return t.skip('its frames are others');
  const { most, count } = stacks(server.pid, stackBytes);
  const threads = fs.readdirSync(`/proc/${server.pid}/task`).length;
  t.diagnostic(`${threads} threads, stacks of ${stackBytes >> 10} KiB, at most ${most >> 10} KiB of one touched`);
  assert.ok(count >= threads - 1, `${count} stacks for ${threads} threads`); // the first thread's is the system's; ones that ended are kept
  assert.ok(most <= stackBytes / 2, `${most} bytes of ${stackBytes}`);
});
