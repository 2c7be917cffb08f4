// Requests within every single limit that are dear all the same, and many at once: the server stays quick for
// others, says what happened, and gives its memory back.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Rpc, code, codeName, fails, freshDatabase, value } from './support/rpc.mjs';
import { runSkerry, skerryOnly, startServer } from './support/server.mjs';
import { patient } from './support/wait.mjs';

const MIB = 1 << 20;
const TURN_MS = patient(8_000); // what took a minute or more; far above what it takes now, under sanitizers too

let server, rpc;
before(async () => {
  server = await startServer();
  rpc = new Rpc(server.address);
});
after(async () => {
  rpc?.close();
  await server?.close();
});

const set = (name, fields) => ({ update: { name, fields } });
const times = (count, make) => Array.from({ length: count }, (_, i) => make(i));

async function quick(work) {
  const start = Date.now();
  const result = await work;
  assert.ok(Date.now() - start < TURN_MS, `it took ${Date.now() - start} ms`);
  return result;
}

test('many small documents through one large mask', { skip: skerryOnly }, async () => {
  const db = freshDatabase();
  const names = times(1000, (i) => db.doc(`m/${i}`));
  await rpc.call('Commit', { database: db.name, writes: names.map((name) => set(name, { a: value.int(1), z: value.int(2) })) });
  const mask = { field_paths: ['z', ...times(400_000, (i) => `b${i}`)] };
  const got = await quick(rpc.collect('BatchGetDocuments', { database: db.name, documents: names, mask }));
  assert.equal(got.length, 1000);
  assert.ok(got.every((one) => Object.keys(one.found.fields).join() === 'z'));
  const page = await quick(rpc.call('ListDocuments', { parent: db.root, collection_id: 'm', page_size: 1000, mask }));
  assert.equal(page.documents.length, 1000);
});

test('large documents through a small mask: pages end early, streams take turns', { skip: skerryOnly }, async () => {
  const db = freshDatabase();
  const big = value.array(...times(60_000, () => value.null));
  const names = times(40, (i) => db.doc(`big/${String(i).padStart(2, '0')}`));
  for (const name of names)
    await rpc.call('Commit', { database: db.name, writes: [set(name, { a: value.int(1), big })] });
  const mask = { field_paths: ['a'] };
  const got = await quick(rpc.collect('BatchGetDocuments', { database: db.name, documents: names, mask }));
  assert.equal(got.length, 40);
  const listed = [];
  let token = '', pages = 0;
  do {
    const page = await rpc.call('ListDocuments', { parent: db.root, collection_id: 'big', mask, page_token: token });
    listed.push(...page.documents);
    token = page.next_page_token ?? '';
    pages++;
  } while (token);
  assert.deepEqual(listed.map((one) => one.name), names);
  assert.ok(pages > 1, 'one page decoded all of it');
});

test('array transforms that compare everything with everything', { skip: skerryOnly }, async () => {
  const db = freshDatabase();
  const inside = (last) => value.map({ a: value.array(...times(1500, () => value.null), last) });
  await rpc.call('Commit', { database: db.name, writes: [set(db.doc('a/a'), { f: value.array(...times(100, () => inside(value.int(1)))) })] });
  const transform = { field_path: 'f', remove_all_from_array: { values: [inside(value.int(2))] } };
  const writes = [{ transform: { document: db.doc('a/a'), field_transforms: times(500, () => transform) } }];
  await quick(fails(rpc.call('Commit', { database: db.name, writes }), code.INVALID_ARGUMENT, /compare too many/));
});

test('a commit that was made is not answered with an error, however large its answer', { skip: skerryOnly }, async () => {
  const db = freshDatabase();
  const writes = times(100_000, (i) => ({ delete: db.doc(`d/${i}`) }));
  writes.push(set(db.doc('made/it'), {}));
  const answer = await rpc.call('Commit', { database: db.name, writes }).catch((error) => error);
  const made = await rpc.call('GetDocument', { name: db.doc('made/it') }).then(() => true, () => false);
  assert.equal(answer.code === undefined, made, `${codeName(answer.code ?? 0)}, and it was ${made ? '' : 'not '}made`);
});

/** Resident, without what the store holds back until there is enough of it for a table. */
function ours() {
  const [, kib] = runSkerry(['status', '--data', server.dataDir]).stdout.match(/write buffers (\d+) KiB/);
  return server.residentBytes() - Number(kib) * 1024;
}

test('more at once than there is memory for is refused, and the memory comes back', { skip: skerryOnly }, async () => {
  const sanitized = server.isInstrumented;
  const db = freshDatabase();
  const blob = value.bytes(Buffer.alloc(700_000, 7));
  const one = await rpc.call('Commit', { database: db.name, writes: [set(db.doc('blob/0'), { blob })] });
  assert.ok(one.commit_time);
  await sleep(1500);
  const before = ours();
  let most = 0;
  const timer = setInterval(() => (most = Math.max(most, server.residentBytes())), 10);
  const storms = times(8, () => new Rpc(server.address, undefined, { 'grpc.use_local_subchannel_pool': 1 }));
  const outcomes = new Set();
  await Promise.all(times(600, (i) =>
    storms[i % 8].call('GetDocument', { name: db.doc('blob/0') }).then(() => outcomes.add('OK'), (error) => outcomes.add(codeName(error.code)))));
  await Promise.all(times(400, (i) =>
    storms[i % 8].call('Commit', { database: db.name, writes: [set(db.doc('blob/0'), { blob })] })
      .then(() => outcomes.add('OK'), (error) => outcomes.add(codeName(error.code)))));
  clearInterval(timer);
  for (const storm of storms) storm.close();
  for (const outcome of outcomes) assert.ok(['OK', 'RESOURCE_EXHAUSTED', 'UNAVAILABLE'].includes(outcome), outcome);
  if (sanitized) return;
  assert.ok(most < 600 * MIB, `${most >> 20} MiB at once`);
  let now;
  for (let i = 0; i < 40 && (now = ours()) > before + 12 * MIB; i++) await sleep(250);
  assert.ok(now <= before + 12 * MIB, `${before >> 20} MiB before, ${now >> 20} after`);
});
