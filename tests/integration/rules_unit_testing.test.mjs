// @firebase/rules-unit-testing, as apps test their rules with the official emulator, against `skerry serve --dev`.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { assertFails, assertSucceeds, initializeTestEnvironment } from '@firebase/rules-unit-testing';
import { collection, deleteDoc, doc, getDoc, getDocs, onSnapshot, query, runTransaction, serverTimestamp, setDoc, setLogLevel, updateDoc, where, writeBatch } from 'firebase/firestore';
import { skerryOnly, startServer } from './support/server.mjs';
import { until } from './support/wait.mjs';

const options = { skip: skerryOnly };
setLogLevel('silent');

const RULES = `rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /users/{id} {
      allow read, write: if request.auth.uid == id;
    }
    match /notes/{id} {
      allow read: if resource.data.owner == request.auth.uid;
      allow create: if request.resource.data.owner == request.auth.uid && request.resource.data.at == request.time;
      allow update: if resource.data.owner == request.auth.uid && request.resource.data.owner == resource.data.owner;
      allow delete: if request.auth.token.admin == true;
    }
    match /rooms/{room} {
      allow read: if true;
      allow create: if existsAfter(/databases/$(database)/documents/rooms/$(room)/members/$(request.auth.uid));
      match /members/{uid} {
        allow read: if exists(/databases/$(database)/documents/rooms/$(room)/members/$(request.auth.uid));
        allow create: if request.auth.uid == uid && getAfter(/databases/$(database)/documents/rooms/$(room)).data.owner == uid;
      }
    }
  }
}`;

let server, env, alice, bob, admin, nobody;
before(async () => {
  if (options.skip) return;
  server = await startServer();
  const [host, port] = server.address.split(':');
  env = await initializeTestEnvironment({ projectId: 'demo-rules', firestore: { host, port: Number(port), rules: RULES } });
  alice = env.authenticatedContext('alice').firestore();
  bob = env.authenticatedContext('bob').firestore();
  admin = env.authenticatedContext('carol', { admin: true }).firestore();
  nobody = env.unauthenticatedContext().firestore();
});
after(async () => {
  await env?.cleanup();
  await server?.close();
});

test('owners, fields, claims and times', options, async () => {
  await assertSucceeds(setDoc(doc(alice, 'users/alice'), { a: 1 }));
  await assertFails(setDoc(doc(alice, 'users/bob'), { a: 1 }));
  await assertSucceeds(getDoc(doc(alice, 'users/alice')));
  await assertFails(getDoc(doc(bob, 'users/alice')));
  await assertFails(getDoc(doc(nobody, 'users/alice')));
  await assertSucceeds(setDoc(doc(alice, 'notes/1'), { owner: 'alice', at: serverTimestamp() }));
  await assertFails(setDoc(doc(alice, 'notes/2'), { owner: 'alice', at: new Date() }));
  await assertFails(setDoc(doc(bob, 'notes/2'), { owner: 'alice', at: serverTimestamp() }));
  await assertFails(updateDoc(doc(alice, 'notes/1'), { owner: 'bob' }));
  await assertSucceeds(updateDoc(doc(alice, 'notes/1'), { text: 'x' }));
  await assertFails(updateDoc(doc(alice, 'notes/none'), { text: 'x' }));
  await assertFails(deleteDoc(doc(alice, 'notes/1')));
  await assertSucceeds(deleteDoc(doc(admin, 'notes/1')));
  await assertFails(getDoc(doc(admin, 'elsewhere/1')));
});

test('queries are allowed if their filters prove the rule', options, async () => {
  const notes = collection(alice, 'notes');
  await assertFails(getDocs(notes));
  await assertSucceeds(getDocs(query(notes, where('owner', '==', 'alice'))));
  await assertFails(getDocs(query(notes, where('owner', '==', 'bob'))));
  await assertFails(getDocs(query(notes, where('owner', 'in', ['alice', 'bob']))));
  await assertFails(getDocs(query(notes, where('owner', '>=', 'alice'))));
});

test('a commit is judged as a whole', options, async () => {
  const batch = writeBatch(alice);
  batch.set(doc(alice, 'rooms/r'), { owner: 'alice' });
  batch.set(doc(alice, 'rooms/r/members/alice'), {});
  await assertSucceeds(batch.commit());
  await assertFails(setDoc(doc(alice, 'rooms/s'), { owner: 'alice' }));
  await assertFails(setDoc(doc(bob, 'rooms/r/members/bob'), {}));
  await assertSucceeds(getDocs(collection(alice, 'rooms/r/members')));
  await assertFails(getDocs(collection(bob, 'rooms/r/members')));
  await assertFails(runTransaction(bob, async (transaction) => transaction.get(doc(bob, 'rooms/r/members/alice'))));
});

test('listeners hear it when they may not listen any more', options, async () => {
  await env.withSecurityRulesDisabled((context) => setDoc(doc(context.firestore(), 'notes/l'), { owner: 'alice' }));
  const seen = [];
  const stop = onSnapshot(doc(alice, 'notes/l'), (snapshot) => seen.push(snapshot.data()), (error) => seen.push(error.code));
  await until(() => seen.length === 1, 'the document');
  await env.withSecurityRulesDisabled((context) => setDoc(doc(context.firestore(), 'notes/l'), { owner: 'bob' }));
  await until(() => seen.length === 2, 'the end');
  stop();
  assert.deepEqual(seen, [{ owner: 'alice' }, 'permission-denied']);
});

test('the rest of the environment: rules off, an empty database, rules that are wrong', options, async () => {
  await env.withSecurityRulesDisabled(async (context) => {
    await setDoc(doc(context.firestore(), 'any/where'), { x: 1 });
    assert.equal((await getDocs(collection(context.firestore(), 'any'))).size, 1);
  });
  await env.clearFirestore();
  await env.withSecurityRulesDisabled(async (context) => assert.equal((await getDocs(collection(context.firestore(), 'any'))).size, 0));
  const [host, port] = server.address.split(':');
  const wrong = initializeTestEnvironment({ projectId: 'demo-wrong', firestore: { host, port: Number(port), rules: 'service cloud.firestore { match /a { allow raed; } }' } });
  await assert.rejects(wrong, /1:\d+/);
  await assertSucceeds(getDoc(doc(alice, 'users/alice'))); // the rules before are still in force
});
