// Index definitions of a running server: `skerry index`, the setting `indexes`, TTL, and what verify says afterwards.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { Server, makeTempDir, removeDir, runSkerry, skerryOnly } from './support/server.mjs';
import { Rpc, code, fails, freshDatabase, value as v } from './support/rpc.mjs';

const composite = { collectionGroup: 'orders', queryScope: 'COLLECTION', fields: [{ fieldPath: 'customer', order: 'ASCENDING' }, { fieldPath: 'time', order: 'DESCENDING' }] };
const ttl = { collectionGroup: 'orders', fieldPath: 'until', ttl: true, indexes: [] };

async function withServer(options, run) {
  const directory = makeTempDir();
  const server = new Server(options);
  const index = (...args) => runSkerry(['index', ...args, '--data', server.dataDir]);
  const file = (definitions) => {
    const name = path.join(directory, 'firestore.indexes.json');
    fs.writeFileSync(name, typeof definitions === 'string' ? definitions : JSON.stringify(definitions));
    return name;
  };
  try {
    await server.start();
    await run({ server, index, file });
    await server.stop();
    const { code, stdout } = runSkerry(['verify', '--data', server.dataDir]);
    assert.equal(code, 0, stdout);
  } finally {
    server.discard();
    removeDir(directory);
  }
}

async function until(what, holds) {
  for (let i = 0; i < 200; i++) {
    if (await holds()) return;
    await sleep(50);
  }
  assert.fail(`${what}: not within 10 s`);
}

async function write(server, count, fields) {
  const rpc = new Rpc(server.address);
  const db = freshDatabase();
  const writes = Array.from({ length: count }, (_, i) => ({ update: { name: db.doc(`orders/o${i}`), fields: fields(i) } }));
  await rpc.call('Commit', { database: db.name, writes });
  return { rpc, db };
}

test('definitions are applied, listed, built and dropped', { skip: skerryOnly }, () =>
  withServer({}, async ({ server, index, file }) => {
    const { rpc } = await write(server, 500, (i) => ({ customer: v.string(`c${i % 7}`), time: v.int(i) }));
    rpc.close();
    assert.match(index('list').stdout, /^ready +every field, automatically$/m);
    const applied = index('apply', file({ indexes: [composite], fieldOverrides: [{ collectionGroup: 'orders', fieldPath: 'note', indexes: [] }] }));
    assert.equal(applied.code, 0, applied.stderr);
    await until('the index is built', () => /^ready +orders COLLECTION customer ASC, time DESC$/m.test(index('list').stdout));
    assert.match(index('list').stdout, /^ready +orders field note: not indexed$/m);
    const { stdout } = index('list', '--json');
    assert.deepEqual(JSON.parse(stdout).indexes, [composite]);
    assert.match(runSkerry(['status', '--data', server.dataDir]).stdout, /^indexes +3 ready, 0 building, 0 dropping$/m);

    await server.stop();
    await server.start();
    assert.match(index('list').stdout, /^ready +orders COLLECTION customer ASC, time DESC$/m);
    assert.equal(index('apply', file('{}')).code, 0);
    await until('all is dropped', () => !/dropping|COLLECTION/.test(index('list').stdout));
  }));

test('mistakes are told with their place and change nothing', { skip: skerryOnly }, () =>
  withServer({}, async ({ index, file }) => {
    for (const [text, message] of [
      ['{"indexes": [{"collectionGroup": "c", "fields": [{"fieldPath": "a", "order": "UP"}]}]}', /INVALID_ARGUMENT: indexes\[0\]\.fields\[0\]\.order: /],
      ['{"indexes": [}', /INVALID_ARGUMENT: .*line 1/],
      ['{"index": []}', /"index" is not known/],
    ]) {
      const { code, stderr } = index('apply', file(text));
      assert.equal(code, 1);
      assert.match(stderr, message);
    }
    assert.equal(index('apply', '/nowhere/file.json').code, 1);
    assert.equal(index('frobnicate').code, 2);
    assert.equal(index('list', '--json').stdout.trim(), JSON.stringify({ indexes: [], fieldOverrides: [] }, null, 2));
    assert.match(index('suggest').stderr, /No query has missed/);
  }));

const wanting = (customer) => ({
  from: [{ collection_id: 'orders' }],
  where: { field_filter: { field: { field_path: 'customer' }, op: 'EQUAL', value: v.string(customer) } },
  order_by: [{ field: { field_path: 'time' }, direction: 'DESCENDING' }],
});

test('auto serves a query without its index and suggests it; strict refuses until it is there', { skip: skerryOnly }, async () => {
  const query = (rpc, db, customer) => rpc.collect('RunQuery', { parent: db.root, structured_query: wanting(customer) });
  const names = (responses) => responses.filter((one) => one.document).map(({ document }) => document.name.split('/').at(-1));
  const fields = (i) => ({ customer: v.string(`c${i % 7}`), time: v.int(i) });
  const expected = Array.from({ length: 100 }, (_, i) => i).filter((i) => i % 7 === 3).reverse().map((i) => `o${i}`);
  let suggested;
  await withServer({}, async ({ server, index }) => {
    const { rpc, db } = await write(server, 100, fields);
    for (let i = 0; i < 3; i++) assert.deepEqual(names(await query(rpc, db, 'c3')), expected);
    rpc.close();
    const { stdout, stderr } = index('suggest');
    suggested = stdout;
    assert.match(stderr, /^wanted by 3 queries, [0-9.]+ ms each: /m);
    assert.deepEqual(JSON.parse(stdout).indexes, [composite]);
    assert.match(server.log, /a composite index would help/);
  });
  await withServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--index-mode', 'strict'] }, async ({ server, index, file }) => {
    const { rpc, db } = await write(server, 100, fields);
    await fails(query(rpc, db, 'c3'), code.FAILED_PRECONDITION, /index/);
    assert.equal(index('apply', file(suggested)).code, 0);
    await until('the index is built', () => /^ready +orders COLLECTION/m.test(index('list').stdout));
    assert.deepEqual(names(await query(rpc, db, 'c3')), expected);
    assert.match(index('suggest').stderr, /No query has missed/);
    rpc.close();
  });
});

test('the setting `indexes` holds at each start; TTL deletes what is due', { skip: skerryOnly }, async () => {
  const directory = makeTempDir();
  const name = path.join(directory, 'firestore.indexes.json');
  fs.writeFileSync(name, JSON.stringify({ indexes: [], fieldOverrides: [ttl] }));
  await withServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--indexes', name] }, async ({ server, index, file }) => {
    assert.match(index('apply', file('{}')).stdout, /next start/);
    const now = Math.floor(Date.now() / 1000);
    const { rpc, db } = await write(server, 200, (i) => ({ until: v.time(i % 2 === 0 ? now - 60 : now + 3600, 0) }));
    rpc.close();
    await server.stop();
    await server.start(); // TTL looks at once, then every minute
    assert.match(index('list').stdout, /orders field until: group values; TTL/);
    const again = new Rpc(server.address);
    let left;
    await until('expired documents are gone', async () => {
      left = (await again.call('ListDocuments', { parent: db.root, collection_id: 'orders', page_size: 300 })).documents;
      return left.length <= 100;
    });
    assert.equal(left.length, 100);
    for (const { fields } of left) assert.ok(Number(fields.until.timestamp_value.seconds) > now);
    again.close();
  });
  fs.writeFileSync(name, '{"indexes": 1}');
  const { code, stderr } = runSkerry(['serve', '--dev', '--listen', '127.0.0.1:0', '--data', path.join(directory, 'data'), '--indexes', name]);
  assert.equal(code, 2);
  assert.match(stderr, /firestore\.indexes\.json: indexes: it must be an array/);
  removeDir(directory);
});
