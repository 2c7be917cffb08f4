// `firebase/firestore/lite`: the official SDK's REST flavour, which posts JSON as text/plain.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { deleteApp, initializeApp } from 'firebase/app';
import * as lite from 'firebase/firestore/lite';
import { startServer } from './support/server.mjs';

lite.setLogLevel('silent');
let server, app, db;
const token = `${Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')}.${Buffer.from('{"sub":"alice","user_id":"alice"}').toString('base64url')}.`;

before(async () => {
  server = await startServer();
  app = initializeApp({ projectId: 'lite', apiKey: 'none', appId: 'app' }, 'lite');
  db = lite.initializeFirestore(app, { host: server.address, ssl: false });
});
after(async () => {
  await lite.terminate(db);
  await deleteApp(app);
  await server.close();
});

test('documents: set, get, update, delete, transforms', async () => {
  const room = lite.doc(db, 'rooms/lobby');
  await lite.setDoc(room, { title: 'Lobby', visits: 0, tags: ['a'], place: new lite.GeoPoint(1, 2), nul: 'a\0b', bytes: lite.Bytes.fromUint8Array(new Uint8Array([0, 255])), when: lite.Timestamp.fromMillis(1234567), none: null, half: 0.5 });
  await lite.updateDoc(room, { visits: lite.increment(2), seen: lite.serverTimestamp(), tags: lite.arrayUnion('b') });
  const read = await lite.getDoc(room);
  assert.ok(read.exists());
  const data = read.data();
  assert.equal(data.visits, 2);
  assert.deepEqual(data.tags, ['a', 'b']);
  assert.equal(data.nul, 'a\0b');
  assert.equal(data.place.longitude, 2);
  assert.deepEqual([...data.bytes.toUint8Array()], [0, 255]);
  assert.equal(data.when.toMillis(), 1234567);
  assert.ok(data.seen instanceof lite.Timestamp);
  await lite.deleteDoc(room);
  assert.equal((await lite.getDoc(room)).exists(), false);
});

test('queries and aggregations', async () => {
  const scores = lite.collection(db, 'scores');
  await Promise.all(Array.from({ length: 20 }, (_, i) => lite.setDoc(lite.doc(scores, `s${i}`), { n: i, even: i % 2 === 0 })));
  const found = await lite.getDocs(lite.query(scores, lite.where('even', '==', true), lite.orderBy('n', 'desc'), lite.limit(3)));
  assert.deepEqual(found.docs.map((one) => one.data().n), [18, 16, 14]);
  assert.equal((await lite.getDocs(lite.query(scores, lite.where('n', '>', 100)))).size, 0);
  assert.equal((await lite.getCount(scores)).data().count, 20);
  const sums = (await lite.getAggregate(scores, { all: lite.sum('n'), mean: lite.average('n') })).data();
  assert.deepEqual(sums, { all: 190, mean: 9.5 });
});

test('batches and transactions', async () => {
  const batch = lite.writeBatch(db);
  batch.set(lite.doc(db, 'accounts/a'), { amount: 100 }).set(lite.doc(db, 'accounts/b'), { amount: 0 });
  await batch.commit();
  const move = () => lite.runTransaction(db, async (transaction) => {
    const a = await transaction.get(lite.doc(db, 'accounts/a')), b = await transaction.get(lite.doc(db, 'accounts/b'));
    transaction.update(a.ref, { amount: a.data().amount - 10 }).update(b.ref, { amount: b.data().amount + 10 });
  });
  for (let i = 0; i < 5; i++) await move();
  assert.equal((await lite.getDoc(lite.doc(db, 'accounts/a'))).data().amount, 50);
  assert.equal((await lite.getDoc(lite.doc(db, 'accounts/b'))).data().amount, 50);
});

test('errors have the codes that the SDK knows', async () => {
  await assert.rejects(lite.updateDoc(lite.doc(db, 'rooms/none'), { a: 1 }), (error) => error.code === 'not-found' && /No document to update/.test(error.message));
  await assert.rejects(lite.setDoc(lite.doc(db, 'rooms/__bad__'), {}), (error) => error.code === 'failed-precondition' && /reserved/.test(error.message)); // the SDK goes by the HTTP status, 400
});

test('with a token', async () => {
  const other = initializeApp({ projectId: 'lite', apiKey: 'none', appId: 'app' }, 'signed-in');
  const signedIn = lite.initializeFirestore(other, {});
  const [host, port] = server.address.split(':');
  lite.connectFirestoreEmulator(signedIn, host, Number(port), { mockUserToken: token });
  await lite.setDoc(lite.doc(signedIn, 'rooms/mine'), { by: 'alice' });
  assert.equal((await lite.getDoc(lite.doc(signedIn, 'rooms/mine'))).data().by, 'alice');
  await lite.terminate(signedIn);
  await deleteApp(other);
});
