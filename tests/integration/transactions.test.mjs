// Transactions: google.firestore.v1 by hand, then through the official client.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isEmulator, runSkerry, skerryOnly, startServer } from './support/server.mjs';
import { code, codeName, fails, freshDatabase, microsToTime, Rpc, timeToMicros, value } from './support/rpc.mjs';
import { connect, disconnectAll, FieldValue, Timestamp } from './support/sdk.mjs';
import { isUnderQemu, patient } from './support/wait.mjs';

let server, rpc;
before(async () => {
  server = await startServer();
  rpc = new Rpc(server.address);
});
after(async () => {
  await disconnectAll();
  rpc.close();
  await server.close();
});

// ---- By hand ----

/** A database with documents `a/1`: {n: 1} and so on, and what a test does with it. */
async function fixture(...documents) {
  const db = freshDatabase();
  const set = (path, n, more = {}) => ({ update: { name: db.doc(path), fields: { n: value.int(n) } }, ...more });
  const commit = (writes, transaction) => rpc.call('Commit', { database: db.name, writes, ...(transaction && { transaction }) });
  if (documents.length > 0) await commit(documents.map((path) => set(path, 1)));
  return {
    db, set, commit,
    begin: async (options) => (await rpc.call('BeginTransaction', { database: db.name, options })).transaction,
    rollback: (transaction) => rpc.call('Rollback', { database: db.name, transaction }),
    get: (path, transaction) => rpc.call('GetDocument', { name: db.doc(path), ...(transaction && { transaction }) }),
    batchGet: (paths, selector) => rpc.collect('BatchGetDocuments', { database: db.name, documents: paths.map(db.doc), ...selector }),
    list: (transaction, more = {}) => rpc.call('ListDocuments', { parent: db.root, collection_id: 'a', transaction, ...more }),
    n: async (path) => Number((await rpc.call('GetDocument', { name: db.doc(path) })).fields.n.integer_value),
  };
}
const OVER = isEmulator ? /invalid or closed/i : /The referenced transaction has expired or is no longer valid\./;
const NOT_AN_ID = isEmulator ? undefined : /Invalid transaction/;

test('begin, read, commit', async () => {
  const f = await fixture('a/1');
  for (const options of [undefined, {}, { read_write: {} }, { read_write: { concurrency_mode: 'OPTIMISTIC' } }]) {
    const id = await f.begin(options);
    const before = Number((await f.get('a/1', id)).fields.n.integer_value);
    const { write_results, commit_time } = await f.commit([f.set('a/1', before + 1)], id);
    assert.equal(write_results.length, 1);
    assert.ok(commit_time);
    assert.equal(await f.n('a/1'), before + 1);
  }
});

test('the id of a new transaction comes in the first response', async () => {
  const f = await fixture('a/1');
  for (const options of [{ read_write: {} }, { read_only: {} }, {}]) {
    const responses = await f.batchGet(['a/1', 'a/none', 'a/1'], { new_transaction: options });
    assert.ok(responses[0].transaction.length > 0);
    assert.equal(responses.filter((one) => one.transaction).length, 1);
    assert.deepEqual(responses.flatMap((one) => one.found?.name ?? one.missing ?? []), [f.db.doc('a/1'), f.db.doc('a/none')]);
    await f.commit([], responses[0].transaction);
  }
  if (isEmulator) return; // it answers UNKNOWN
  const [only, ...rest] = await f.batchGet([], { new_transaction: { read_write: {} } });
  assert.equal(rest.length, 0);
  await f.commit([f.set('a/1', 7)], only.transaction);
});

test('what was read and changed since: ABORTED, and nothing is written', { skip: skerryOnly }, async (t) => {
  const reads = {
    'GetDocument': (f, id) => f.get('a/1', id),
    'GetDocument of a missing one': (f, id) => fails(f.get('a/2', id), code.NOT_FOUND),
    'BatchGetDocuments': (f, id) => f.batchGet(['a/3', 'a/1'], { transaction: id }),
    'BatchGetDocuments of a missing one': (f, id) => f.batchGet(['a/2'], { transaction: id }),
    'ListDocuments': (f, id) => f.list(id),
    'ListDocuments, an empty one': (f, id) => f.list(id, { parent: f.db.doc('a/1'), collection_id: 'sub' }),
  };
  const changes = {
    'GetDocument': (f) => [f.set('a/1', 2)],
    'GetDocument of a missing one': (f) => [f.set('a/2', 2)],
    'BatchGetDocuments': (f) => [{ delete: f.db.doc('a/1') }],
    'BatchGetDocuments of a missing one': (f) => [f.set('a/2', 2)],
    'ListDocuments': (f) => [f.set('a/1x', 2)], // a phantom
    'ListDocuments, an empty one': (f) => [f.set('a/1/sub/s', 2)],
  };
  for (const [what, read] of Object.entries(reads))
    for (const writes of [true, false])
      await t.test(`${what}, ${writes ? 'with a write' : 'without writes'}`, async () => {
        const f = await fixture('a/1', 'a/3', 'b/1');
        const id = await f.begin({ read_write: {} });
        await read(f, id);
        await f.commit(changes[what](f));
        await fails(f.commit(writes ? [f.set('b/1', 9)] : [], id), code.ABORTED, /try again/i);
        assert.equal(await f.n('b/1'), 1);
        await fails(f.commit([f.set('b/1', 9)], id), code.INVALID_ARGUMENT, OVER);
        await f.rollback(id);
      });
  await t.test('what it did not read does not matter', async () => {
    const f = await fixture('a/1', 'a/3', 'b/1');
    const id = await f.begin({ read_write: {} });
    await f.get('a/1', id);
    await f.list(id, { parent: f.db.doc('a/1'), collection_id: 'sub' });
    await f.commit([f.set('a/3', 2), f.set('a/2', 2), f.set('a/1/other/x', 1)]);
    await f.commit([f.set('b/1', 9)], id);
    assert.equal(await f.n('b/1'), 9);
  });
  await t.test('a page of a list: what lies behind it does not matter', async () => {
    for (const order_by of ['__name__', '__name__ desc']) {
      for (const changed of ['a/1', 'a/3', 'a/5']) {
        const f = await fixture('a/2', 'a/3', 'a/4', 'a/6', 'b/1');
        const id = await f.begin({ read_write: {} });
        const { next_page_token } = await f.list(id, { page_size: 2, order_by });
        assert.ok(next_page_token);
        await f.commit([f.set(changed, 2)]);
        const committed = await f.commit([], id).then(() => true, (error) => (assert.equal(error.code, code.ABORTED), false));
        const inPage = order_by.endsWith('desc') ? changed === 'a/5' : changed !== 'a/5'; // of 6, 4 or of 2, 3
        assert.equal(committed, !inPage, `${order_by} ${changed}`);
      }
    }
  });
  await t.test('all pages of a list are of one snapshot', async () => {
    const f = await fixture('a/1', 'a/2', 'a/3');
    const id = await f.begin({ read_write: {} });
    const first = await f.list(id, { page_size: 2 });
    await f.commit([f.set('a/4', 4), { delete: f.db.doc('a/3') }]);
    const second = await f.list(id, { page_size: 2, page_token: first.next_page_token });
    assert.deepEqual(second.documents.map((one) => one.name), [f.db.doc('a/3')]);
    await fails(f.commit([], id), code.ABORTED);
  });
});

test('reads of one snapshot', { skip: skerryOnly }, async () => {
  const f = await fixture('a/1', 'a/2');
  const id = await f.begin({ read_write: {} });
  await f.commit([f.set('a/1', 2)]); // nothing was read yet: this does no harm
  assert.equal((await f.get('a/1', id)).fields.n.integer_value, '2');
  await f.commit([f.set('a/2', 2)]);
  assert.equal((await f.get('a/2', id)).fields.n.integer_value, '1');
  await fails(f.commit([], id), code.ABORTED);
});

test('read-only', async () => {
  const f = await fixture('a/1');
  const id = await f.begin({ read_only: {} });
  await f.commit([f.set('a/1', 2)]);
  assert.equal((await f.get('a/1', id)).fields.n.integer_value, '1');
  assert.equal((await f.batchGet(['a/1'], { transaction: id }))[0].found.fields.n.integer_value, '1');
  assert.equal((await f.list(id)).documents[0].fields.n.integer_value, '1');
  await fails(f.commit([f.set('a/1', 3)], id), code.INVALID_ARGUMENT, /read-only/);
  assert.equal((await f.get('a/1', id)).fields.n.integer_value, '1'); // it is still open
  await f.commit([], id); // no conflict: it is a snapshot
  await fails(f.get('a/1', id), code.INVALID_ARGUMENT, OVER);
});

test('read-only, at a time', async () => {
  const f = await fixture();
  const { commit_time } = await f.commit([f.set('a/1', 1)]);
  await f.commit([f.set('a/1', 2)]);
  const id = await f.begin({ read_only: { read_time: commit_time } });
  assert.equal((await f.get('a/1', id)).fields.n.integer_value, '1');
  await f.commit([], id);
  const [, response] = await f.batchGet(['a/1'], { new_transaction: { read_only: { read_time: commit_time } } });
  assert.equal(response.found.fields.n.integer_value, '1');
  const year = 365n * 86_400_000_000n, at = timeToMicros(commit_time);
  await fails(f.begin({ read_only: { read_time: microsToTime(at - year) } }), code.FAILED_PRECONDITION);
  await fails(f.begin({ read_only: { read_time: microsToTime(at + year) } }), code.INVALID_ARGUMENT);
});

test('ids that are over, damaged, or of another database', async (t) => {
  const f = await fixture('a/1'), other = await fixture('a/1');
  const uses = {
    GetDocument: (id, x = f) => x.get('a/1', id),
    BatchGetDocuments: (id, x = f) => x.batchGet(['a/1'], { transaction: id }),
    ListDocuments: (id, x = f) => x.list(id),
    Commit: (id, x = f) => x.commit([x.set('a/1', 5)], id),
  };
  const committed = await f.begin(), rolledBack = await f.begin(), repeated = await f.begin();
  await f.commit([], committed);
  await f.rollback(rolledBack);
  await f.rollback(rolledBack); // again: fine
  await f.rollback(committed);
  const next = await f.begin({ read_write: { retry_transaction: repeated } });
  for (const [method, use] of Object.entries(uses))
    await t.test(method, async () => {
      await fails(use(committed), code.INVALID_ARGUMENT, OVER);
      await fails(use(rolledBack), code.INVALID_ARGUMENT, OVER);
      if (!isEmulator) await fails(use(repeated), code.INVALID_ARGUMENT, OVER);
      await fails(use(Buffer.from('junk')), code.INVALID_ARGUMENT, NOT_AN_ID);
      await fails(use(Buffer.alloc(24, 'x')), code.INVALID_ARGUMENT, NOT_AN_ID);
      await fails(use(Buffer.alloc(100_000, 'x')), code.INVALID_ARGUMENT, NOT_AN_ID);
      await fails(use(next, other), code.INVALID_ARGUMENT);
    });
  await fails(f.begin({ read_write: { retry_transaction: Buffer.from('junk') } }), code.INVALID_ARGUMENT, NOT_AN_ID);
  await fails(f.rollback(Buffer.from('junk')), code.INVALID_ARGUMENT, NOT_AN_ID);
  await fails(f.rollback(undefined), code.INVALID_ARGUMENT, NOT_AN_ID);
  await fails(other.rollback(next), code.INVALID_ARGUMENT);
  await f.get('a/1', next);
});

test('a commit that is refused: when it ends the transaction, and when not', async () => {
  const f = await fixture('a/1');
  let id = await f.begin();
  await fails(f.commit([{}], id), code.INVALID_ARGUMENT); // not a write at all
  await f.commit([f.set('a/1', 2)], id);
  id = await f.begin();
  await fails(f.commit([f.set('a/none', 2, { current_document: { exists: true } })], id), code.NOT_FOUND);
  await fails(f.commit([f.set('a/1', 2)], id), code.INVALID_ARGUMENT, OVER);
});

test('`skerry status` counts them', { skip: skerryOnly }, async () => {
  const open = () => Number(runSkerry(['status', '--data', server.dataDir]).stdout.match(/, (\d+) transactions$/m)[1]);
  const f = await fixture();
  const before = open();
  const ids = await Promise.all([f.begin(), f.begin(), f.begin({ read_only: {} })]);
  assert.equal(open(), before + 3);
  await Promise.all(ids.map((id) => f.rollback(id)));
  assert.equal(open(), before);
});

test('after a restart', { skip: skerryOnly }, async () => {
  const own = await startServer();
  let client = new Rpc(own.address);
  const db = freshDatabase();
  const { transaction } = await client.call('BeginTransaction', { database: db.name });
  client.close();
  await own.stop();
  await own.start();
  client = new Rpc(own.address);
  await fails(client.call('Commit', { database: db.name, transaction }), code.INVALID_ARGUMENT, OVER);
  await client.call('Rollback', { database: db.name, transaction });
  client.close();
  await own.close();
});

test('a client that goes away while it waits for its turn leaves nothing behind', { skip: skerryOnly }, async () => {
  const f = await fixture('a/1');
  const lost = await f.begin();
  const read = (options = {}) =>
    rpc.collect('BatchGetDocuments',
      { database: f.db.name, documents: [f.db.doc('a/1')], new_transaction: { read_write: { retry_transaction: lost } } }, options);
  const [holder] = await read();
  const started = Date.now();
  await Promise.all([1, 2, 3].map(() => assert.rejects(read({ deadlineMs: 200 }), { code: code.DEADLINE_EXCEEDED })));
  await f.commit([f.set('a/1', 2)], holder.transaction);
  const [next] = await read({ deadlineMs: patient(5000) });
  assert.ok(Date.now() - started < patient(1000));
  await f.commit([f.set('a/1', 3)], next.transaction);
});

test('a client that holds a turn and does nothing keeps others for a moment only', { skip: skerryOnly }, async () => {
  const f = await fixture('a/1');
  const read = () => f.batchGet(['a/1'], { new_transaction: { read_write: { retry_transaction: lost } } });
  const lost = await f.begin();
  const [holder] = await read();
  const waiters = await Promise.all([1, 2, 3].map(async () => {
    const [{ transaction }] = await read();
    return f.commit([f.set('a/1', 2)], transaction).then(() => 'OK', (error) => codeName(error.code));
  }));
  assert.ok(waiters.includes('OK'), String(waiters));
  await fails(f.commit([f.set('a/1', 9)], holder.transaction), code.ABORTED);
});

// ---- Through the official client ----

test('runTransaction: read, write, result', async () => {
  const firestore = connect(server);
  const account = firestore.doc('accounts/a'), missing = firestore.doc('accounts/none');
  await account.set({ balance: 100 });
  const result = await firestore.runTransaction(async (transaction) => {
    const [one, two] = await transaction.getAll(account, missing);
    assert.equal(two.exists, false);
    transaction.update(account, { balance: one.get('balance') - 30 });
    transaction.create(missing, { balance: 30 });
    transaction.set(firestore.doc('log/1'), { at: FieldValue.serverTimestamp() });
    return one.get('balance');
  });
  assert.equal(result, 100);
  assert.equal((await account.get()).get('balance'), 70);
  assert.equal((await missing.get()).get('balance'), 30);
  await firestore.runTransaction(async (transaction) => {
    await transaction.get(account);
    transaction.delete(missing);
  });
  assert.equal((await missing.get()).exists, false);
});

test('runTransaction: writes without reads, reads without writes, nothing', async () => {
  const firestore = connect(server);
  const document = firestore.doc('c/x');
  await firestore.runTransaction(async (transaction) => void transaction.set(document, { n: 1 }));
  assert.equal(await firestore.runTransaction(async (transaction) => (await transaction.get(document)).get('n')), 1);
  assert.equal(await firestore.runTransaction(async () => 5), 5);
});

test('runTransaction: what throws is rolled back', async () => {
  const firestore = connect(server);
  const document = firestore.doc('c/x');
  await document.set({ n: 1 });
  let attempts = 0;
  await assert.rejects(
    firestore.runTransaction(async (transaction) => {
      attempts++;
      await transaction.get(document);
      transaction.update(document, { n: 2 });
      throw new Error('changed my mind');
    }),
    /changed my mind/,
  );
  assert.equal(attempts, 1);
  assert.equal((await document.get()).get('n'), 1);
  await document.update({ n: 3 }); // nothing is locked
});

test('runTransaction: a precondition that fails is not tried again', async () => {
  const firestore = connect(server);
  const document = firestore.doc('c/x');
  await document.set({ n: 1 });
  let attempts = 0;
  const create = firestore.runTransaction(async (transaction) => {
    attempts++;
    transaction.create(document, { n: 2 });
  });
  await fails(create, code.ALREADY_EXISTS);
  assert.equal(attempts, 1);
});

test('runTransaction: a conflict is tried again', { skip: skerryOnly }, async () => {
  const firestore = connect(server);
  const document = firestore.doc('c/x');
  await document.set({ n: 1 });
  let attempts = 0;
  await firestore.runTransaction(async (transaction) => {
    const n = (await transaction.get(document)).get('n');
    if (attempts++ === 0) await document.update({ n: 10 });
    transaction.update(document, { n: n + 1 });
  });
  assert.equal(attempts, 2);
  assert.equal((await document.get()).get('n'), 11);
  attempts = 0;
  await fails(
    firestore.runTransaction(async (transaction) => {
      const n = (await transaction.get(document)).get('n');
      attempts++;
      await document.update({ n: n + 1 });
      transaction.update(document, { n: 0 });
    }, { maxAttempts: 2 }),
    code.ABORTED,
  );
  assert.equal(attempts, 2);
});

test('runTransaction: read-only', async () => {
  const firestore = connect(server);
  const document = firestore.doc('c/x');
  const { writeTime } = await document.set({ n: 1 });
  await document.update({ n: 2 });
  const read = (options) =>
    firestore.runTransaction(async (transaction) => (await transaction.get(document)).get('n'), { readOnly: true, ...options });
  assert.equal(await read(), 2);
  assert.equal(await read({ readTime: writeTime }), 1);
  await fails(read({ readTime: Timestamp.fromMillis(Date.now() - 30 * 86_400_000) }), code.FAILED_PRECONDITION);
  // Beside a read-only one others write.
  await firestore.runTransaction(async (transaction) => {
    assert.equal((await transaction.get(document)).get('n'), 2);
    await document.update({ n: 3 });
    assert.equal((await transaction.get(document)).get('n'), 2);
  }, { readOnly: true });
});

test('runTransaction: queries and aggregations in it', async () => {
  const firestore = connect(server);
  const seats = firestore.collection('seats');
  await Promise.all([1, 2, 3].map((n) => seats.doc(`s${n}`).set({ n, free: n !== 2 })));
  await firestore.runTransaction(async (transaction) => {
    const free = await transaction.get(seats.where('free', '==', true).orderBy('n').limit(1));
    const { count } = (await transaction.get(seats.where('free', '==', true).count())).data();
    assert.deepEqual([free.docs.map((one) => one.id), count], [['s1'], 2]);
    transaction.update(free.docs[0].ref, { free: false });
  });
  assert.equal((await seats.where('free', '==', true).get()).size, 1);
  const counted = await firestore.runTransaction(async (transaction) => (await transaction.get(seats.count())).data().count, { readOnly: true });
  assert.equal(counted, 3);
});

for (const [what, read] of Object.entries({
  query: async (transaction, free) => (await transaction.get(free)).size,
  'query that finds nothing': async (transaction, free) => (await transaction.get(free.where('n', '>', 5))).size,
  count: async (transaction, free) => (await transaction.get(free.count())).data().count,
}))
  test(`runTransaction: a phantom in a ${what} is a conflict`, { skip: skerryOnly }, async () => {
    const firestore = connect(server);
    const seats = firestore.collection('seats'), result = firestore.doc('results/r');
    await seats.doc('s1').set({ n: 1, free: true });
    const seen = [];
    await firestore.runTransaction(async (transaction) => {
      seen.push(await read(transaction, seats.where('free', '==', true)));
      if (seen.length === 1) {
        await seats.doc('taken').set({ n: 6, free: false }); // not in what was read
        await seats.doc('s6').set({ n: 6, free: true });
      }
      transaction.set(result, { seen: seen.at(-1) });
    });
    assert.equal(seen.length, 2);
    assert.equal((await result.get()).get('seen'), seen[0] + 1);
  });

test('runTransaction: 16 at once that increment one document', async () => {
  const firestore = connect(server);
  const document = firestore.doc('counters/one');
  await document.set({ n: 0 });
  let attempts = 0;
  const started = Date.now();
  await Promise.all(Array.from({ length: 16 }, () =>
    firestore.runTransaction(async (transaction) => {
      attempts++;
      const n = (await transaction.get(document)).get('n');
      transaction.update(document, { n: n + 1 });
    })));
  const took = Date.now() - started;
  assert.equal((await document.get()).get('n'), 16);
  console.log(`# 16 increments: ${took} ms, ${attempts} attempts`);
  if (!isEmulator) {
    assert.ok(attempts < (isUnderQemu ? 4 : 2) * 16, `${attempts} attempts`); // who lost once has its turn then, for a second
    assert.ok(took < patient(4000), `${took} ms`); // the client waits for up to 1.5 s before its second attempt
  }
});
