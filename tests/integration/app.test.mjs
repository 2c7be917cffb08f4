// Apps on the mobile and web SDK (in Node it speaks gRPC, as on phones): listening, offline work, convergence; and
// listening with the server SDK.
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fs, phone, switchAllOff, switchOff, until } from './support/app.mjs';
import { connect, disconnectAll } from './support/sdk.mjs';
import { skerryOnly, startServer } from './support/server.mjs';

let server;
before(async () => (server = await startServer()));
after(async () => {
  await switchAllOff();
  await disconnectAll();
  await server.close();
});

const pair = (of = server) => {
  const a = phone(of);
  return [a, phone(of, { project: a.project })];
};

/** Follows a document or a query: `seen` has all snapshots, `ids()` the last one's. */
function follow(what, { metadata = true } = {}) {
  const one = { seen: [], errors: [] };
  one.stop = fs.onSnapshot(what, { includeMetadataChanges: metadata }, (s) => one.seen.push(s), (e) => one.errors.push(e));
  Object.defineProperty(one, 'last', { get: () => one.seen.at(-1) });
  one.ids = () => one.last?.docs.map((d) => d.id).join();
  one.until = (condition, what_ = 'snapshot') =>
    until(() => {
      if (one.errors.length) throw one.errors[0];
      return one.last && condition(one.last);
    }, () => `${what_}; last: ${JSON.stringify(one.last?.docs?.map((d) => [d.id, d.data()]) ?? one.last?.data?.())}`);
  one.shows = (ids) => one.until((s) => !s.metadata.fromCache && one.ids() === ids, ids);
  return one;
}

test('a document is followed, with latency compensation and metadata', async () => {
  const [a, b] = pair();
  const mine = follow(fs.doc(a.db, 'c/x'));
  await mine.until((s) => !s.metadata.fromCache);
  assert.equal(mine.last.exists(), false);
  const theirs = follow(fs.doc(b.db, 'c/x'));
  await theirs.until((s) => !s.metadata.fromCache);
  const written = fs.setDoc(fs.doc(a.db, 'c/x'), { n: 1, t: fs.serverTimestamp() });
  await mine.until((s) => s.exists() && s.metadata.hasPendingWrites, 'the local view first');
  assert.equal(mine.last.data().t, null);
  assert.ok(mine.last.data({ serverTimestamps: 'estimate' }).t);
  await written;
  await mine.until((s) => s.exists() && !s.metadata.hasPendingWrites && s.data().t, 'the server’s view');
  await theirs.until((s) => s.exists() && s.data().t);
  assert.ok(mine.last.data().t.isEqual(theirs.last.data().t));
  assert.ok(theirs.seen.every((s) => !s.metadata.hasPendingWrites));
  await fs.deleteDoc(fs.doc(b.db, 'c/x'));
  await mine.until((s) => !s.exists());
});

test('queries of every kind are followed', async () => {
  const [a, b] = pair();
  const c = fs.collection(a.db, 'c');
  for (let n = 0; n < 8; n++)
    await fs.setDoc(fs.doc(a.db, `c/${n}`), { n, odd: n % 2 === 1, tags: [`t${n % 3}`, 'all'], text: 'abcdefgh'[n] });
  const c2 = fs.collection(b.db, 'c');
  const { query, where, orderBy, limit, limitToLast, startAt, startAfter, endBefore, endAt, or, and } = fs;
  const cases = [
    [query(c2), '0,1,2,3,4,5,6,7', '0,1,2,3,5,6,7,9'],
    [query(c2, where('n', '>', 4)), '5,6,7', '5,6,7,9'],
    [query(c2, where('odd', '==', true), where('n', '<', 6)), '1,3,5', '1,3,5'],
    [query(c2, orderBy('n', 'desc'), limit(2)), '7,6', '9,7'],
    [query(c2, orderBy('n'), limitToLast(2)), '6,7', '7,9'],
    [query(c2, orderBy('n'), startAt(2), endBefore(4)), '2,3', '2,3'],
    [query(c2, orderBy('n'), startAfter(5), endAt(9)), '6,7', '6,7,9'],
    [query(c2, where('n', 'in', [1, 4, 9])), '1,4', '1,9'],
    [query(c2, where('n', 'not-in', [0, 1, 2, 3, 4])), '5,6,7', '5,6,7,9'],
    [query(c2, where('n', '!=', 3)), '0,1,2,4,5,6,7', '0,1,2,5,6,7,9'],
    [query(c2, where('tags', 'array-contains', 't1')), '1,4,7', '1,7,9'],
    [query(c2, where('tags', 'array-contains-any', ['t0', 't2'])), '0,2,3,5,6', '0,2,3,5,6'],
    [query(c2, or(where('n', '==', 0), and(where('odd', '==', true), where('n', '>', 4)))), '0,5,7', '0,5,7,9'],
    [query(c2, where(fs.documentId(), '>=', '6')), '6,7', '6,7,9'],
    [query(fs.collectionGroup(b.db, 'c'), orderBy('n', 'desc'), limit(1)), '7', '9'],
  ];
  const all = cases.map(([what]) => follow(what));
  for (const [i, [, first]] of cases.entries()) await all[i].shows(first);
  const batch = fs.writeBatch(a.db);
  batch.delete(fs.doc(c, '4'));
  batch.set(fs.doc(c, '9'), { n: 9, odd: true, tags: ['t1'], text: 'z' });
  await batch.commit();
  for (const [i, [, , second]] of cases.entries()) await all[i].shows(second);
  for (const one of all) one.stop();
  const stopped = all.map((one) => one.seen.length);
  await fs.setDoc(fs.doc(c, '10'), { n: 10 });
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.deepEqual(all.map((one) => one.seen.length), stopped);
});

test('nobody ever sees half a commit', async () => {
  const [a, b] = pair();
  const left = follow(fs.query(fs.collection(b.db, 'l'), fs.orderBy('n'), fs.limit(3))), whole = follow(fs.collection(b.db, 'l'));
  for (let round = 0; round < 25; round++) {
    const batch = fs.writeBatch(a.db);
    for (let i = 0; i < 5; i++) batch.set(fs.doc(a.db, `l/${i}`), { n: i, round });
    await batch.commit();
  }
  for (const one of [left, whole]) {
    await one.until((s) => s.docs.length && s.docs[0].data().round === 24);
    for (const s of one.seen) assert.ok(new Set(s.docs.map((d) => d.data().round)).size <= 1, 'all of one commit');
  }
});

test('offline: writes are seen locally, arrive later, and both converge', async () => {
  const [a, b] = pair();
  const shown = [a, b].map((one) => follow(fs.query(fs.collection(one.db, 'c'), fs.orderBy('n'))));
  for (let n = 0; n < 3; n++) await fs.setDoc(fs.doc(a.db, `c/${n}`), { n });
  await Promise.all(shown.map((one) => one.shows('0,1,2')));
  await fs.disableNetwork(a.db);
  await shown[0].until((s) => s.metadata.fromCache);
  const late = [fs.setDoc(fs.doc(a.db, 'c/5'), { n: 5 }), fs.deleteDoc(fs.doc(a.db, 'c/0')), fs.updateDoc(fs.doc(a.db, 'c/1'), { n: fs.increment(10) })];
  await shown[0].until((s) => shown[0].ids() === '2,5,1' && s.metadata.hasPendingWrites);
  await fs.deleteDoc(fs.doc(b.db, 'c/2'));
  await fs.setDoc(fs.doc(b.db, 'c/3'), { n: 3 });
  await shown[1].shows('0,1,3');
  await fs.enableNetwork(a.db);
  await Promise.all(late);
  await Promise.all(shown.map((one) => one.shows('3,5,1')));
});

test('a server that is killed and comes back: listeners resume, nothing is lost', { skip: skerryOnly }, async () => {
  const own = await startServer();
  own.options.args = ['--dev', '--listen', own.address];
  const [a, b] = pair(own);
  const ids = (from, to) => Array.from({ length: to - from }, (_, i) => String(from + i));
  const shown = follow(fs.query(fs.collection(b.db, 'c'), fs.orderBy('n')));
  await Promise.all(ids(0, 10).map((id) => fs.setDoc(fs.doc(a.db, `c/${id}`), { n: Number(id) })));
  await shown.shows(ids(0, 10).join());
  for (let round = 1; round <= 2; round++) {
    const writes = ids(round * 10, round * 10 + 10).map((id) => fs.setDoc(fs.doc(a.db, `c/${id}`), { n: Number(id) }));
    if (round === 2) await own.stop();
    else await own.kill();
    await own.start();
    await Promise.all(writes);
    await shown.shows(ids(0, round * 10 + 10).join());
  }
  await switchOff(a);
  await switchOff(b);
  await own.close();
});

test('transactions while others look on', async () => {
  const [a, b] = pair();
  await fs.setDoc(fs.doc(a.db, 'c/n'), { n: 0 });
  const shown = follow(fs.doc(b.db, 'c/n'));
  const add = (db) => fs.runTransaction(db, async (t) => {
    const doc = await t.get(fs.doc(db, 'c/n'));
    t.update(doc.ref, { n: doc.data().n + 1 });
  });
  for (let i = 0; i < 5; i++) await Promise.all([add(a.db), add(b.db)]);
  await shown.until((s) => s.data()?.n === 10);
  const values = shown.seen.filter((s) => !s.metadata.hasPendingWrites && s.exists()).map((s) => s.data().n);
  assert.deepEqual(values, [...values].sort((x, y) => x - y));
});

test('getDocs, counts and one-time reads beside listeners', async () => {
  const [a] = pair();
  for (let n = 0; n < 4; n++) await fs.setDoc(fs.doc(a.db, `c/${n}`), { n });
  const shown = follow(fs.collection(a.db, 'c'));
  assert.equal((await fs.getDocs(fs.query(fs.collection(a.db, 'c'), fs.where('n', '>', 1)))).size, 2);
  assert.equal((await fs.getDoc(fs.doc(a.db, 'c/3'))).data().n, 3);
  assert.equal((await fs.getDocFromServer(fs.doc(a.db, 'c/9'))).exists(), false);
  await shown.shows('0,1,2,3');
});

test('what a client remembers wrongly is found out by the existence filter', async () => {
  const [a, b] = pair();
  for (let n = 0; n < 10; n++) await fs.setDoc(fs.doc(a.db, `c/${n}`), { n });
  const all = fs.collection(b.db, 'c');
  const first = follow(all);
  await first.shows('0,1,2,3,4,5,6,7,8,9');
  first.stop();
  await fs.disableNetwork(b.db);
  const batch = fs.writeBatch(a.db);
  for (let n = 0; n < 5; n++) batch.delete(fs.doc(a.db, `c/${n}`));
  await batch.commit();
  await fs.enableNetwork(b.db);
  const again = follow(all);
  await again.shows('5,6,7,8,9');
});

test('a server that was put back to an older state: the existence filter tells, limbo documents are resolved', { skip: skerryOnly }, async () => {
  const own = await startServer(), at = own.address, copy = `${own.dataDir}-copy`;
  const listenOn = async (address) => ((own.options.args = ['--dev', '--listen', address]), own.start());
  const [a, b] = pair(own);
  const mismatches = [], unhook = fs._TestingHooks.onExistenceFilterMismatch((one) => mismatches.push(one));
  for (let n = 0; n < 5; n++) await fs.setDoc(fs.doc(a.db, `c/${n}`), { n });
  await own.stop();
  cpSync(own.dataDir, copy, { recursive: true });
  await listenOn(at);
  const shown = follow(fs.query(fs.collection(b.db, 'c'), fs.orderBy('n'))), few = follow(fs.query(fs.collection(b.db, 'c'), fs.orderBy('n', 'desc'), fs.limit(3)));
  for (let n = 5; n < 10; n++) await fs.setDoc(fs.doc(a.db, `c/${n}`), { n });
  await shown.shows('0,1,2,3,4,5,6,7,8,9');
  await few.shows('9,8,7');
  await own.stop();
  rmSync(own.dataDir, { recursive: true });
  cpSync(copy, own.dataDir, { recursive: true });
  rmSync(copy, { recursive: true });
  // A commit that the phones do not see: so the store's time is past their tokens'.
  await listenOn('127.0.0.1:0');
  const other = phone(own, { project: a.project });
  await fs.setDoc(fs.doc(other.db, 'd/x'), {});
  await switchOff(other);
  await own.stop();
  await listenOn(at);
  await shown.shows('0,1,2,3,4');
  await few.shows('4,3,2');
  assert.deepEqual(mismatches.map((one) => [one.localCacheCount, one.existenceFilterCount, one.bloomFilter?.applied]), [[10, 5, true]]);
  unhook();
  await switchOff(a);
  await switchOff(b);
  await own.close();
});

test('what a phone has kept and is gone: limbo documents of a query with a limit are resolved', async () => {
  const a = phone(server), keep = fs.memoryLocalCache({ garbageCollector: fs.memoryLruGarbageCollector() });
  const b = phone(server, { project: a.project, settings: { localCache: keep } });
  for (let n = 0; n < 8; n++) await fs.setDoc(fs.doc(a.db, `c/${n}`), { n });
  const all = follow(fs.collection(b.db, 'c'));
  await all.shows('0,1,2,3,4,5,6,7');
  all.stop();
  await fs.disableNetwork(b.db);
  await fs.deleteDoc(fs.doc(a.db, 'c/0'));
  await fs.setDoc(fs.doc(a.db, 'c/1'), { n: 100 });
  const first = follow(fs.query(fs.collection(b.db, 'c'), fs.orderBy('n'), fs.limit(3)));
  await first.until(() => first.ids() === '0,1,2', 'what the phone remembers');
  await fs.enableNetwork(b.db);
  await first.shows('2,3,4');
  await fs.setDoc(fs.doc(a.db, 'c/2'), { n: 50 });
  await first.shows('3,4,5');
});

test('the server SDK follows documents and queries', async () => {
  const db = connect(server);
  const docs = [], queries = [], limited = [];
  const fail = (error) => assert.fail(error);
  const stops = [
    db.doc('c/3').onSnapshot((s) => docs.push(s.exists ? s.data().n : null), fail),
    db.collection('c').where('n', '>=', 2).onSnapshot((s) => queries.push(s.docs.map((d) => d.id).join()), fail),
    db.collection('c').orderBy('n').limitToLast(2).onSnapshot((s) => limited.push(s.docs.map((d) => d.id).join()), fail),
  ];
  await until(() => docs.length && queries.length && limited.length);
  assert.deepEqual([docs[0], queries[0], limited[0]], [null, '', '']);
  for (let n = 0; n < 5; n++) await db.doc(`c/${n}`).set({ n });
  await until(() => docs.at(-1) === 3 && queries.at(-1) === '2,3,4' && limited.at(-1) === '3,4', () => JSON.stringify([docs, queries, limited]));
  await db.doc('c/3').delete();
  await until(() => docs.at(-1) === null && queries.at(-1) === '2,4' && limited.at(-1) === '2,4', () => JSON.stringify([docs, queries, limited]));
  for (const stop of stops) stop();
});
