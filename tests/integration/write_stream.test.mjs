// The Write stream: the mobile SDK's writes, and what no SDK would send.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fs, phone, switchAllOff, until } from './support/app.mjs';
import { Rpc, code, codeName, freshDatabase, value } from './support/rpc.mjs';
import { Server, skerryOnly, startServer } from './support/server.mjs';
import { patient } from './support/wait.mjs';

let server, rpc;
before(async () => {
  server = await startServer();
  rpc = new Rpc(server.address);
});
after(async () => {
  await switchAllOff();
  rpc.close();
  await server.close();
});

const fieldsOf = async (one, relative, through = rpc) =>
  (await through.call('GetDocument', { name: `${one.root}/${relative}` })).fields;

/** A Write stream by hand: next() gives a response, or {end: status}. */
function openStream() {
  const stream = rpc.open('Write', { deadlineMs: patient(15_000) });
  const came = [], waiting = [];
  const put = (one) => (waiting.length ? waiting.shift()(one) : came.push(one));
  stream.on('data', put);
  stream.on('error', (error) => put({ end: codeName(error.code), details: error.details }));
  stream.on('status', (status) => status.code === code.OK && put({ end: 'OK' }));
  const next = () => (came.length ? Promise.resolve(came.shift()) : new Promise((resolve) => waiting.push(resolve)));
  return { stream, send: (request) => stream.write(request), next };
}
async function greeted(database) {
  const one = openStream();
  one.send({ database: database.name });
  const hello = await one.next();
  assert.ok(hello.stream_id.length > 0 && hello.stream_token.length > 0);
  return { ...one, token: hello.stream_token };
}
const set = (database, relative, fields) => ({ update: { name: database.doc(relative), fields } });

test('the SDK writes every kind of write', async () => {
  const one = phone(server), { db } = one;
  await fs.setDoc(fs.doc(db, 'c/a'), { n: 1, s: 'x\0y', list: [1] });
  await fs.updateDoc(fs.doc(db, 'c/a'), {
    n: fs.increment(2), t: fs.serverTimestamp(), list: fs.arrayUnion(2), 'm.deep': true, s: fs.deleteField(),
  });
  const fields = await fieldsOf(one, 'c/a');
  assert.equal(fields.n.integer_value, '3');
  assert.ok(fields.t.timestamp_value);
  assert.deepEqual(fields.list.array_value.values.map((v) => v.integer_value), ['1', '2']);
  assert.equal(fields.m.map_value.fields.deep.boolean_value, true);
  assert.equal(fields.s, undefined);
  await fs.setDoc(fs.doc(db, 'c/a'), { o: 1 }, { merge: true });
  assert.equal((await fieldsOf(one, 'c/a')).n.integer_value, '3');
  const added = await fs.addDoc(fs.collection(db, 'c'), { added: true });
  assert.equal((await fieldsOf(one, added.path)).added.boolean_value, true);
  await fs.deleteDoc(fs.doc(db, 'c/a'));
  await assert.rejects(fieldsOf(one, 'c/a'), { code: code.NOT_FOUND });
});

test('a batch of the SDK is applied whole or not at all', async () => {
  const one = phone(server), { db } = one;
  const batch = fs.writeBatch(db);
  for (let i = 0; i < 300; i++) batch.set(fs.doc(db, `c/${i}`), { i });
  await batch.commit();
  assert.equal((await fieldsOf(one, 'c/299')).i.integer_value, '299');
  const bad = fs.writeBatch(db);
  bad.set(fs.doc(db, 'c/fine'), {});
  bad.update(fs.doc(db, 'c/missing'), { x: 1 });
  await assert.rejects(bad.commit(), { code: 'not-found' });
  await assert.rejects(fieldsOf(one, 'c/fine'), { code: code.NOT_FOUND });
});

test('writes of the SDK that follow each other without waiting keep their order', async () => {
  const one = phone(server), { db } = one;
  const all = [];
  for (let i = 1; i <= 60; i++) all.push(fs.setDoc(fs.doc(db, 'c/last'), { i }), fs.updateDoc(fs.doc(db, 'c/last'), { sum: fs.increment(i) }));
  await Promise.all(all);
  const fields = await fieldsOf(one, 'c/last');
  assert.deepEqual([fields.i.integer_value, fields.sum.integer_value], ['60', '60']);
});

test('a write that is refused does not take those behind it along', async () => {
  const one = phone(server), { db } = one;
  await fs.setDoc(fs.doc(db, 'c/n'), { n: 0 });
  const results = await Promise.allSettled([
    fs.updateDoc(fs.doc(db, 'c/n'), { n: fs.increment(1) }),
    fs.updateDoc(fs.doc(db, 'c/none'), { n: 1 }),
    fs.updateDoc(fs.doc(db, 'c/n'), { n: fs.increment(10) }),
    fs.updateDoc(fs.doc(db, 'c/none'), { n: 1 }),
    fs.updateDoc(fs.doc(db, 'c/n'), { n: fs.increment(100) }),
  ]);
  assert.deepEqual(results.map((r) => r.status), ['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled']);
  assert.equal((await fieldsOf(one, 'c/n')).n.integer_value, '111');
});

test('what was written offline arrives when the network is back', async () => {
  const one = phone(server), { db } = one;
  await fs.setDoc(fs.doc(db, 'c/n'), { n: 0 });
  await fs.disableNetwork(db);
  const all = [];
  for (let i = 0; i < 25; i++) all.push(fs.updateDoc(fs.doc(db, 'c/n'), { n: fs.increment(1) }));
  assert.equal((await fieldsOf(one, 'c/n')).n.integer_value, '0');
  await fs.enableNetwork(db);
  await Promise.all(all);
  assert.equal((await fieldsOf(one, 'c/n')).n.integer_value, '25');
});

test('a server that is killed in the middle loses nothing that was acknowledged, and the rest arrives later',
  { skip: skerryOnly }, async () => {
    const own = await startServer();
    const flags = ['--dev', '--listen', own.address];
    const one = phone(own), { db } = one;
    let acknowledged = 0;
    const all = [];
    // Each write is a document of its own and counts itself: what is applied twice shows.
    for (let i = 0; i < 120; i++)
      all.push(fs.setDoc(fs.doc(db, `c/${i}`), { n: fs.increment(1), i }).then(() => acknowledged++));
    await until(() => acknowledged > 20, 'some are acknowledged');
    await own.kill();
    own.options.args = flags;
    await own.start();
    await Promise.all(all);
    const again = new Rpc(own.address);
    let doubled = 0;
    for (let i = 0; i < 120; i++) {
      const n = Number((await fieldsOf(one, `c/${i}`, again)).n.integer_value);
      assert.ok(n >= 1);
      doubled += n - 1;
    }
    // The protocol cannot tell whether a commit without an answer was applied; one was under way at most.
    assert.ok(doubled <= 1, `${doubled} writes were applied twice`);
    again.close();
    await fs.terminate(db);
    await own.close();
  });

test('by hand: pipelined writes are answered in order, with results and tokens', async () => {
  const database = freshDatabase(), one = await greeted(database);
  for (let i = 0; i < 50; i++)
    one.send({
      database: database.name, stream_token: one.token,
      writes: [{ ...set(database, `c/${i}`, { i: value.int(i) }), update_transforms: [{ field_path: 'n', increment: value.int(i) }] }],
    });
  const tokens = new Set();
  for (let i = 0; i < 50; i++) {
    const response = await one.next();
    assert.equal(response.write_results[0].transform_results[0].integer_value, String(i));
    assert.ok(response.commit_time && response.write_results[0].update_time);
    assert.equal(response.stream_id ?? '', '');
    tokens.add(response.stream_token.toString('hex'));
  }
  assert.equal(tokens.size, 50);
  one.stream.end();
  assert.deepEqual(await one.next(), { end: 'OK' });
});

test('by hand: a failure ends the stream, and what follows it is not applied', async () => {
  const database = freshDatabase(), one = await greeted(database);
  one.send({ stream_token: one.token, writes: [set(database, 'c/first', {})] });
  one.send({ writes: [{ ...set(database, 'c/x', {}), current_document: { exists: true } }] });
  one.send({ writes: [set(database, 'c/last', {})] });
  assert.ok((await one.next()).commit_time);
  assert.equal((await one.next()).end, 'NOT_FOUND');
  await rpc.call('GetDocument', { name: database.doc('c/first') });
  await assert.rejects(rpc.call('GetDocument', { name: database.doc('c/last') }), { code: code.NOT_FOUND });
});

test('by hand: what no client should send', async () => {
  const database = freshDatabase(), other = freshDatabase();
  const cases = [
    ['no database', [{}], 'INVALID_ARGUMENT'],
    ['a database that is none', [{ database: 'x' }], 'INVALID_ARGUMENT'],
    ['writes in the greeting', [{ database: database.name, writes: [set(database, 'c/a', {})] }], 'INVALID_ARGUMENT'],
    ['another database', [{ database: database.name }, { database: other.name, writes: [] }], 'INVALID_ARGUMENT'],
    ['a document of another database', [{ database: database.name }, { writes: [set(other, 'c/a', {})] }], 'INVALID_ARGUMENT'],
    ['no operation', [{ database: database.name }, { writes: [{}] }], 'INVALID_ARGUMENT'],
    ['a late stream_id', [{ database: database.name }, { stream_id: 'x' }], 'INVALID_ARGUMENT'],
  ];
  // Verdicts on the stream, not on the writes: SDKs keep what they queued for these.
  if (!skerryOnly)
    cases.push(
      ['a stream to resume', [{ database: database.name, stream_id: 'x', stream_token: Buffer.from('y') }], 'ABORTED'],
      ['a token from elsewhere', [{ database: database.name }, { stream_token: Buffer.alloc(16), writes: [] }], 'ABORTED'],
    );
  for (const [what, requests, wanted] of cases) {
    const one = openStream();
    for (const request of requests) one.send(request);
    let last;
    do last = await one.next();
    while (!last.end);
    assert.equal(last.end, wanted, `${what}: ${last.details}`);
  }
});

test('by hand: half-closed at once, left alone, and gone in the middle', async () => {
  const database = freshDatabase();
  const silent = openStream();
  silent.stream.end();
  assert.equal((await silent.next()).end, 'OK');
  const left = await greeted(database);
  const leavers = await Promise.all(Array.from({ length: 20 }, () => greeted(database)));
  for (const [i, one] of leavers.entries()) {
    one.send({ writes: [set(database, `c/${i}`, {})] });
    one.stream.cancel();
    assert.equal((await one.next()).end, 'CANCELLED');
  }
  left.send({ writes: [set(database, 'c/left', {})] });
  assert.ok((await left.next()).commit_time);
  left.stream.cancel();
});

test('a server that stops ends idle streams, so that it need not wait for them', { skip: skerryOnly }, async () => {
  const own = await startServer(), one = new Rpc(own.address), database = freshDatabase();
  const streams = ['Write', 'Listen', 'Write'].map((method) => one.open(method));
  const ended = streams.map((stream) => new Promise((resolve) => stream.on('error', resolve)));
  const greeted_ = new Promise((resolve) => streams[0].once('data', resolve));
  streams[0].write({ database: database.name });
  streams[1].write({ database: database.name, add_target: { target_id: 1, documents: { documents: [database.doc('c/a')] } } });
  for (const stream of streams) stream.on('data', () => {});
  await greeted_;
  const start = Date.now();
  await own.stop();
  assert.ok(Date.now() - start < patient(5000), `it took ${Date.now() - start} ms`);
  for (const error of await Promise.all(ended)) assert.equal(codeName(error.code), 'UNAVAILABLE');
  one.close();
  own.discard();
});

test('a server that stops answers what it commits, and then ends the stream', { skip: skerryOnly }, async () => {
  for (const [round, wait] of [0, 1, 2, 5, 10, 20].entries()) {
    const own = await startServer(), one = new Rpc(own.address), database = freshDatabase();
    const stream = one.open('Write'), answers = [];
    const ended = new Promise((resolve) => stream.on('error', resolve));
    const greeted_ = new Promise((resolve) => stream.once('data', resolve));
    stream.write({ database: database.name });
    const { stream_token } = await greeted_;
    stream.on('data', (answer) => answers.push(answer));
    const text = value.string('x'.repeat(10_000));
    for (let batch = 0; batch < 5; batch++)
      stream.write({ stream_token, writes: Array.from({ length: 100 }, (_, i) => set(database, `c/${batch}-${i}`, { text })) });
    await new Promise((resolve) => setTimeout(resolve, wait));
    const start = Date.now();
    await own.stop();
    assert.ok(Date.now() - start < patient(5000), `it took ${Date.now() - start} ms`);
    assert.equal(codeName((await ended).code), 'UNAVAILABLE', `round ${round}`);
    one.close();
    await own.start();
    const again = new Rpc(own.address);
    const stored = await again.collect('RunQuery', { parent: database.root, structured_query: { from: [{ collection_id: 'c' }], select: { fields: [{ field_path: '__name__' }] } } });
    assert.equal(stored.filter((one) => one.document).length, answers.length * 100, 'what was committed was answered');
    again.close();
    await own.close();
  }
});
