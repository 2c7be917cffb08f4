// Security rules in force, in production and over TLS: what users, people who are not signed in and services may read
// and write by each call of the API.
import { Box, cleanUp, db, openWrites, skip } from './support/access.mjs'; // first
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { RULES } from './support/access_rules.mjs';
import { firestore, sdk as fs } from './support/packages.mjs';
import { code, codeName, fails, value as v } from './support/rpc.mjs';
import { until } from './support/wait.mjs';

const DENIED = code.PERMISSION_DENIED;

let box, owner, alice, bob, nobody;
const put = (relative, fields) => ({ update: { name: db.doc(relative), fields } });
const seed = (documents) =>
  owner.call('Commit', { database: db.name, writes: Object.entries(documents).map(([name, fields]) => put(name, fields)) });
const get = (who, relative, rest) => who.call('GetDocument', { name: db.doc(relative), ...rest });
const commit = (who, ...writes) => who.call('Commit', { database: db.name, writes });
const query = (who, parent, collection, rest = {}, more = {}) =>
  who.collect('RunQuery', { parent, structured_query: { from: [{ collection_id: collection }], ...rest }, ...more })
    .then((all) => all.filter((one) => one.document).map((one) => one.document.name.split('/').at(-1)));
const equals = (field, value) => ({ where: { field_filter: { field: { field_path: field }, op: 'EQUAL', value } } });
const owned = (uid) => equals('owner', v.string(uid));
const isOpen = { open: v.bool(true) };
const exists = (wanted) => ({ current_document: { exists: wanted } });

before(async () => {
  if (skip) return;
  box = await Box.open(RULES);
  const key = box.key('owner');
  const client = box.service(key);
  await client.doc('public/a').set({ n: 1 });
  const { JWT } = await import('google-auth-library');
  const jwt = new JWT({ email: key.client_email, key: key.private_key, keyId: key.private_key_id });
  const headers = await jwt.getRequestHeaders('https://localhost/google.firestore.v1.Firestore');
  owner = box.raw(headers.get('authorization'));
  alice = box.as('alice');
  bob = box.as('bob');
  nobody = box.as(null);
  await seed({
    'public/b': { n: v.int(2) },
    'maybe/open': isOpen, 'maybe/shut': { open: v.bool(false) },
    'notes/a1': { owner: v.string('alice'), n: v.int(1) }, 'notes/a2': { owner: v.string('alice'), n: v.int(2) }, 'notes/b1': { owner: v.string('bob'), n: v.int(3) },
    'posts/p1': { published: v.bool(true), author: v.string('alice') }, 'posts/p2': { published: v.bool(false), author: v.string('alice') },
    'rooms/r': {}, 'rooms/r/members/alice': { role: v.string('writer') }, 'rooms/r/members/bob': { role: v.string('reader') }, 'rooms/r/messages/m': {},
    'users/alice/things/t': {}, 'users/bob/things/t': {},
    'users/alice/orders/o1': { buyer: v.string('alice') }, 'shops/s/orders/o2': { buyer: v.string('bob') },
    'accounts/a': { n: v.int(60) }, 'accounts/b': { n: v.int(40) },
    'counters/c': { n: v.int(0) }, 'box/x': { secret: v.string('yes') }, 'paged/p': {},
  });
});
after(async () => {
  await box?.close();
  cleanUp();
});

describe('reads', { skip }, () => {
  test('GetDocument', async () => {
    assert.equal((await get(nobody, 'public/a')).fields.n.integer_value, '1');
    assert.equal((await get(alice, 'notes/a1')).fields.n.integer_value, '1');
    assert.deepEqual(Object.keys((await get(alice, 'notes/a1', { mask: { field_paths: ['n'] } })).fields), ['n']); // rules see all of it
    for (const who of [bob, nobody]) await fails(get(who, 'notes/a1'), DENIED, /^Missing or insufficient permissions\.$/);
    await fails(get(alice, 'notes/none'), DENIED); // there is nothing to be its owner of
    await fails(get(nobody, 'maybe/none'), code.NOT_FOUND);
    await fails(get(nobody, 'maybe/shut'), DENIED);
    await get(nobody, 'maybe/open');
    await get(bob, 'rooms/r');
    await fails(get(box.as('carol'), 'rooms/r'), DENIED);
    await fails(get(nobody, 'elsewhere/x'), DENIED); // no rule
    await fails(get(alice, 'public/a/deeper/x'), DENIED);
  });

  test('BatchGetDocuments: found, missing, and one that is not for the caller', async () => {
    const batch = (who, ...names) => who.collect('BatchGetDocuments', { database: db.name, documents: names.map(db.doc) });
    const kinds = (await batch(nobody, 'maybe/open', 'maybe/none', 'public/a')).map((one) => (one.found ? 'found' : 'missing'));
    assert.deepEqual(kinds, ['found', 'missing', 'found']);
    await fails(batch(alice, 'notes/a1', 'notes/b1'), DENIED);
    await fails(batch(alice, 'notes/a1', 'notes/none'), DENIED);
    assert.equal((await batch(alice, 'notes/a1', 'notes/a2', 'users/alice/things/t')).length, 3);
    // Documents that rules read: twenty for one call, and one that was read is not read again.
    assert.equal((await batch(alice, 'rooms/r', 'rooms/r/messages/m', 'rooms/r/members/alice')).length, 3);
    const rooms = Array.from({ length: 21 }, (_, i) => `rooms/x${i}`);
    await seed(Object.fromEntries(rooms.flatMap((room) => [[room, {}], [`${room}/members/alice`, { role: v.string('reader') }]])));
    assert.equal((await batch(alice, ...rooms.slice(0, 20))).length, 20);
    await fails(batch(alice, ...rooms), DENIED);
  });

  test('ListDocuments, ListCollectionIds, PartitionQuery', async () => {
    const list = (who, parent, collection_id, rest) => who.call('ListDocuments', { parent, collection_id, ...rest });
    assert.equal((await list(nobody, db.root, 'public')).documents.length, 2);
    assert.equal((await list(alice, db.doc('users/alice'), 'things')).documents.length, 1);
    for (const rest of [{}, { page_size: 1 }, { order_by: 'n' }, { show_missing: true }, { mask: { field_paths: ['n'] } }]) {
      await fails(list(alice, db.root, 'notes', rest), DENIED); // some are not hers
      await fails(list(nobody, db.doc('users/alice'), 'things', rest), DENIED);
    }
    await fails(list(alice, db.doc('users/alice'), ''), DENIED); // all collections
    await fails(list(alice, db.root, 'users', { show_missing: true }), DENIED); // the names of all users
    await fails(list(alice, db.root, 'paged', { page_size: 5 }), DENIED);
    for (const who of [nobody, alice]) {
      await fails(who.call('ListCollectionIds', { parent: db.root }), DENIED);
      await fails(who.call('ListCollectionIds', { parent: db.doc('users/alice') }), DENIED);
      await fails(who.call('PartitionQuery', { parent: db.root, structured_query: { from: [{ collection_id: 'public', all_descendants: true }] }, partition_count: 2 }), DENIED);
    }
    assert.ok((await owner.call('ListCollectionIds', { parent: db.root })).collection_ids.includes('notes'));
  });

  test('RunQuery: where the query proves the rule for all that it may give', async () => {
    assert.deepEqual(await query(alice, db.root, 'notes', owned('alice')), ['a1', 'a2']);
    assert.deepEqual(await query(alice, db.root, 'notes', { ...owned('alice'), limit: { value: 1 } }), ['a1']);
    await fails(query(alice, db.root, 'notes'), DENIED);
    await fails(query(alice, db.root, 'notes', owned('bob')), DENIED);
    await fails(query(alice, db.root, 'notes', { limit: { value: 1 } }), DENIED); // although what comes is hers
    await fails(query(nobody, db.root, 'notes', owned('alice')), DENIED);
    assert.deepEqual(await query(nobody, db.root, 'posts', equals('published', v.bool(true))), ['p1']);
    assert.deepEqual(await query(alice, db.root, 'posts', equals('author', v.string('alice'))), ['p1', 'p2']);
    await fails(query(alice, db.root, 'posts'), DENIED);
    await fails(query(bob, db.root, 'posts', equals('author', v.string('alice'))), DENIED);
    assert.deepEqual(await query(bob, db.doc('rooms/r'), 'messages'), ['m']);
    await fails(query(box.as('carol'), db.doc('rooms/r'), 'messages'), DENIED);
    assert.deepEqual(await query(nobody, db.root, 'paged', { limit: { value: 10 } }), ['p']);
    await fails(query(nobody, db.root, 'paged', { limit: { value: 11 } }), DENIED);
    await fails(query(nobody, db.root, 'paged'), DENIED);
    const group = { from: [{ collection_id: 'orders', all_descendants: true }] };
    assert.deepEqual(await query(bob, db.root, 'orders', { ...group, ...equals('buyer', v.string('bob')) }), ['o2']);
    await fails(query(bob, db.root, 'orders', group), DENIED);
  });

  test('RunAggregationQuery', async () => {
    const aggregate = (who, collection, where = {}) =>
      who.collect('RunAggregationQuery', {
        parent: db.root,
        structured_aggregation_query: { structured_query: { from: [{ collection_id: collection }], ...where }, aggregations: [{ alias: 'c', count: {} }, { alias: 's', sum: { field: { field_path: 'n' } } }] },
      }).then(([{ result }]) => [result.aggregate_fields.c.integer_value, result.aggregate_fields.s.integer_value]);
    assert.deepEqual(await aggregate(alice, 'notes', owned('alice')), ['2', '3']);
    assert.deepEqual(await aggregate(nobody, 'public'), ['2', '3']);
    await fails(aggregate(alice, 'notes'), DENIED);
    await fails(aggregate(nobody, 'box', equals('secret', v.string('yes'))), DENIED);
  });

  test('transactions: each read is judged, and the commit', async () => {
    const begin = async (who) => (await who.call('BeginTransaction', { database: db.name })).transaction;
    const transaction = await begin(alice);
    const note = await get(alice, 'notes/a1', { transaction });
    await fails(get(alice, 'notes/b1', { transaction: await begin(alice) }), DENIED);
    await fails(query(alice, db.root, 'notes', {}, { transaction: await begin(alice) }), DENIED);
    await fails(query(alice, db.root, 'notes', {}, { new_transaction: {} }), DENIED);
    await fails(alice.collect('BatchGetDocuments', { database: db.name, documents: [db.doc('notes/b1')], new_transaction: {} }), DENIED);
    await fails(alice.call('Commit', { database: db.name, writes: [put('notes/b1', { owner: v.string('alice') })], transaction: await begin(alice) }), DENIED);
    const { write_results } = await alice.call('Commit', { database: db.name, writes: [put('notes/a1', note.fields)], transaction });
    assert.deepEqual(write_results[0].update_time, note.update_time);
  });

  test('what is not for a caller does not become a part of its transaction', async () => {
    // Or its commit would tell whether that changed.
    const { transaction } = await alice.call('BeginTransaction', { database: db.name });
    const read = (documents) => alice.collect('BatchGetDocuments', { database: db.name, documents: documents.map(db.doc), transaction });
    await read(['notes/a1']);
    await fails(get(alice, 'notes/b1', { transaction }), DENIED);
    await fails(read(['notes/b1']), DENIED);
    await seed({ 'notes/b1': { owner: v.string('bob'), n: v.int(3), changed: v.bool(true) } });
    await alice.call('Commit', { database: db.name, writes: [put('notes/a3', { owner: v.string('alice') })], transaction });
    await commit(alice, { delete: db.doc('notes/a3') });
  });
});

describe('writes', { skip }, () => {
  const mine = { owner: v.string('alice') }, his = { owner: v.string('bob') };
  const create = (who, collection_id, document_id, fields) => who.call('CreateDocument', { parent: db.root, collection_id, document_id, document: { fields } });
  const update = (who, relative, fields, rest) => who.call('UpdateDocument', { document: { name: db.doc(relative), fields }, ...rest });
  const remove = (who, relative, rest) => who.call('DeleteDocument', { name: db.doc(relative), ...rest });

  test('CreateDocument, UpdateDocument, DeleteDocument', async () => {
    await create(alice, 'notes', 'n', mine);
    await fails(create(alice, 'notes', 'm', his), DENIED);
    await fails(create(nobody, 'notes', 'm', mine), DENIED);
    await fails(create(alice, 'notes', '', his), DENIED);
    await update(alice, 'notes/n', { ...mine, n: v.int(1) });
    await fails(update(bob, 'notes/n', his), DENIED);
    await fails(update(alice, 'notes/n', his), DENIED); // she may not give it away
    await fails(update(bob, 'notes/n', { n: v.int(9) }, { update_mask: { field_paths: ['n'] } }), DENIED);
    await update(alice, 'notes/n', { n: v.int(2) }, { update_mask: { field_paths: ['n'] } }); // merged: still hers
    await fails(remove(bob, 'notes/n'), DENIED);
    await remove(alice, 'notes/n');
    await fails(remove(alice, 'notes/n'), DENIED); // nobody's
    await remove(alice, 'users/alice/things/none'); // there is nothing, and it would be hers
    await fails(remove(alice, 'users/bob/things/none'), DENIED);
  });

  test('who may not write learns nothing of what is there; who may hears it', async () => {
    for (const name of ['notes/b1', 'notes/none']) {
      await fails(update(alice, name, his, exists(true)), DENIED, /^Missing or insufficient permissions\.$/);
      await fails(remove(alice, name, exists(true)), DENIED, /^Missing or insufficient permissions\.$/);
      await fails(create(alice, ...name.split('/'), his), DENIED, /^Missing or insufficient permissions\.$/);
      await fails(commit(alice, { verify: db.doc(name), ...exists(true) }), DENIED, /^Missing or insufficient permissions\.$/);
      await fails(commit(alice, { verify: db.doc(name), ...exists(false) }), DENIED, /^Missing or insufficient permissions\.$/);
    }
    await fails(create(alice, 'notes', 'a1', mine), code.ALREADY_EXISTS);
    await fails(update(alice, 'users/alice/things/none', {}, exists(true)), code.NOT_FOUND);
    await fails(remove(alice, 'users/alice/things/none', exists(true)), code.NOT_FOUND);
    await commit(alice, { verify: db.doc('notes/a1'), ...exists(true) });
    await fails(commit(alice, { verify: db.doc('users/alice/things/none'), ...exists(true) }), code.NOT_FOUND);
  });

  test('nor by a write behind it that fails', async () => {
    const probes = [
      { ...put('users/alice/things/none', {}), ...exists(true) },
      { ...put('users/alice/things/t', {}), ...exists(false) },
      { ...put('users/alice/things/t', {}), current_document: { update_time: { seconds: '1' } } },
      { verify: db.doc('users/alice/things/none'), ...exists(true) },
      put('users/alice/things/t', { blob: v.bytes('x'.repeat(1_100_000)) }),
    ];
    for (const probe of probes)
      for (const forbidden of [(name) => ({ ...put(name, his), ...exists(true) }), (name) => ({ delete: db.doc(name), ...exists(true) }), (name) => ({ verify: db.doc(name), ...exists(true) })]) {
        const told = async (name) => commit(alice, forbidden(name), probe).then(() => assert.fail('it went through'), (error) => `${error.code} ${error.details}`.replaceAll(name, 'NAME'));
        assert.equal(await told('notes/b1'), await told('notes/none'));
      }
  });

  test('an update time that does not fit is told as such, so that SDKs begin their transaction again', async () => {
    await seed({ 'counters/t': { n: v.int(5) } });
    const { update_time } = await get(nobody, 'counters/t');
    await commit(nobody, put('counters/t', { n: v.int(6) })); // by somebody else, meanwhile
    await fails(commit(nobody, { ...put('counters/t', { n: v.int(6) }), current_document: { update_time } }), code.FAILED_PRECONDITION);
    const told = (name) => commit(alice, { delete: db.doc(name), current_document: { update_time } }).catch((error) => `${error.code} ${error.details}`.replace(name, ''));
    assert.equal(await told('notes/b1'), await told('notes/none'));
  });

  test('writes that change nothing are judged too', async () => {
    const { fields } = await get(owner, 'notes/b1');
    await fails(commit(alice, put('notes/b1', fields)), DENIED);
    await fails(commit(nobody, put('public/a', { n: v.int(1) })), DENIED);
    await fails(commit(nobody, { update: { name: db.doc('public/a') }, update_mask: { field_paths: [] } }), DENIED);
    await commit(bob, put('notes/b1', fields));
  });

  test('a commit is judged whole, BatchWrite each write', async () => {
    await fails(commit(alice, put('notes/c1', mine), put('notes/c2', his)), DENIED);
    await fails(get(alice, 'notes/c1'), DENIED); // nothing was written
    const { status, write_results } = await alice.call('BatchWrite', { database: db.name, writes: [put('notes/c1', mine), put('notes/c2', his), { delete: db.doc('notes/b1') }, put('notes/c3', mine)] });
    assert.deepEqual(status.map((one) => codeName(one.code ?? 0)), ['OK', 'PERMISSION_DENIED', 'PERMISSION_DENIED', 'OK']);
    assert.equal(write_results.length, 4);
    await commit(alice, { delete: db.doc('notes/c1') }, { delete: db.doc('notes/c3') });
    // Several writes to one document are judged as what they do together.
    await fails(commit(alice, put('notes/c4', mine), put('notes/c4', his)), DENIED);
    await commit(alice, put('notes/c4', his), put('notes/c4', mine));
    await commit(alice, { delete: db.doc('notes/c4') });
    await fails(commit(alice, { delete: db.doc('notes/b1') }, put('notes/b1', mine)), DENIED);
  });

  test('getAfter and existsAfter see what the commit leaves', async () => {
    await fails(commit(alice, put('accounts/a', { n: v.int(50) })), DENIED);
    await fails(commit(alice, put('accounts/a', { n: v.int(50) }), put('accounts/b', { n: v.int(51) })), DENIED);
    await commit(alice, put('accounts/a', { n: v.int(50) }), put('accounts/b', { n: v.int(50) }));
    await fails(create(alice, 'pairs', 'x', {}), DENIED);
    await commit(alice, put('pairs/x', {}), put('halves/x', {}));
    await fails(commit(alice, put('pairs/y', {}), put('halves/x', {})), DENIED);
  });

  test('request.time is the server time of transforms', async () => {
    const stamped = (id) => ({ ...put(`rooms/r/messages/${id}`, { text: v.string('hi') }), update_transforms: [{ field_path: 'at', set_to_server_value: 'REQUEST_TIME' }], ...exists(false) });
    await commit(alice, stamped('m1'));
    await fails(commit(bob, stamped('m2')), DENIED); // a reader
    const now = Math.floor(Date.now() / 1000);
    await fails(commit(alice, put('rooms/r/messages/m3', { at: v.time(now) })), DENIED);
    await Promise.all(Array.from({ length: 30 }, (_, i) => commit(alice, stamped(`s${i}`))));
    const transform = { transform: { document: db.doc('rooms/r/messages/m1'), field_transforms: [{ field_path: 'n', increment: v.int(1) }] } };
    await fails(commit(alice, transform), DENIED); // nobody updates messages
  });

  test('what two commits do at once is judged one after the other', async () => {
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => commit(nobody, put('counters/c', { n: v.int(1) }))));
    assert.equal(results.filter((one) => one.status === 'fulfilled').length, 1);
    for (const one of results) if (one.status === 'rejected') assert.equal(codeName(one.reason.code), 'PERMISSION_DENIED');
  });

  test('a role that is taken away, and one that the same commit gives', async () => {
    await seed({ 'rooms/q': {}, 'rooms/q/members/alice': { role: v.string('writer') } });
    await get(alice, 'rooms/q');
    await owner.call('Commit', { database: db.name, writes: [{ delete: db.doc('rooms/q/members/alice') }] });
    await fails(get(alice, 'rooms/q'), DENIED);
    await fails(commit(alice, put('rooms/q/members/alice', { role: v.string('writer') }), put('rooms/q/messages/x', {})), DENIED);
  });

  test('the Write stream', async () => {
    const writes = await openWrites(alice);
    assert.equal((await writes.send(put('notes/w1', mine))).write_results.length, 1);
    assert.equal((await writes.send({ delete: db.doc('notes/w1') })).write_results.length, 1);
    assert.deepEqual(await writes.send(put('notes/w2', his)), { end: 'PERMISSION_DENIED', details: 'Missing or insufficient permissions.' });
    const signedOut = await openWrites(nobody);
    assert.equal((await signedOut.send(put('public/a', {}))).end, 'PERMISSION_DENIED');
    const another = await openWrites(nobody);
    assert.equal((await another.send(put('box/w', {}))).write_results.length, 1);
    another.close();
  });
});

describe('the firebase package', { skip }, () => {
  test('a user reads, queries, writes and follows what rules allow', async () => {
    const { db: phone } = box.phone('dora');
    const note = fs.doc(phone, 'notes/d1');
    await fs.setDoc(note, { owner: 'dora', n: 1 });
    await fs.updateDoc(note, { n: fs.increment(1), at: fs.serverTimestamp() });
    assert.equal((await fs.getDocFromServer(note)).data().n, 2);
    await assert.rejects(fs.getDocFromServer(fs.doc(phone, 'notes/b1')), { code: 'permission-denied' });
    await assert.rejects(fs.setDoc(fs.doc(phone, 'notes/d2'), { owner: 'bob' }), { code: 'permission-denied' });
    await assert.rejects(fs.getDocsFromServer(fs.collection(phone, 'notes')), { code: 'permission-denied' });
    const own = fs.query(fs.collection(phone, 'notes'), fs.where('owner', '==', 'dora'));
    assert.deepEqual((await fs.getDocsFromServer(own)).docs.map((one) => one.id), ['d1']);
    assert.equal((await fs.getCountFromServer(own)).data().count, 1);
    await assert.rejects(fs.getCountFromServer(fs.collection(phone, 'notes')), { code: 'permission-denied' });
    await fs.runTransaction(phone, async (t) => t.update(note, { n: (await t.get(note)).data().n + 1 }));
    const batch = fs.writeBatch(phone);
    batch.set(fs.doc(phone, 'notes/d3'), { owner: 'dora' }).update(note, { owner: 'eve' });
    await assert.rejects(batch.commit(), { code: 'permission-denied' });
    const seen = [];
    const stop = fs.onSnapshot(own, (s) => seen.push(s.docs.map((one) => one.id).join()), (error) => seen.push(error.code));
    await until(() => seen.at(-1) === 'd1', 'the first');
    await fs.setDoc(fs.doc(phone, 'notes/d4'), { owner: 'dora' });
    await until(() => seen.at(-1) === 'd1,d4', 'the second');
    stop();
    const errors = [];
    fs.onSnapshot(fs.collection(phone, 'notes'), () => {}, (error) => errors.push(error.code));
    await until(() => errors.length, 'the refusal');
    assert.deepEqual(errors, ['permission-denied']);
  });

  test('signing in and out: another user, other documents', async () => {
    const { db: phone, auth } = box.phone(null);
    const note = fs.doc(phone, 'notes/a1');
    await fs.getDocFromServer(fs.doc(phone, 'public/a'));
    await assert.rejects(fs.getDocFromServer(note), { code: 'permission-denied' });
    auth.signIn('alice');
    assert.equal((await fs.getDocFromServer(note)).data().owner, 'alice');
    auth.signIn('bob');
    await assert.rejects(fs.getDocFromServer(note), { code: 'permission-denied' });
    auth.signIn('alice');
    assert.equal((await fs.getDocFromServer(note)).exists(), true);
    auth.signIn(null);
    await assert.rejects(fs.getDocFromServer(note), { code: 'permission-denied' });
  });

  test('claims', async () => {
    const editor = box.phone('eve', { editor: true }), plain = box.phone('eve');
    await fs.setDoc(fs.doc(editor.db, 'posts/e1'), { published: false, author: 'eve' });
    await assert.rejects(fs.setDoc(fs.doc(plain.db, 'posts/e2'), { published: false, author: 'eve' }), { code: 'permission-denied' });
    assert.equal((await fs.getDocFromServer(fs.doc(plain.db, 'posts/e1'))).data().author, 'eve');
  });

  test('transactions of several phones under a rule that counts', async () => {
    await seed({ 'counters/many': { n: v.int(0) } });
    const phones = [box.phone('alice'), box.phone('bob'), box.phone(null)];
    await Promise.all(phones.map(async ({ db: phone }) => {
      for (let i = 0; i < 3; i++)
        await fs.runTransaction(phone, async (t) => {
          const counter = fs.doc(phone, 'counters/many');
          t.update(counter, { n: (await t.get(counter)).data().n + 1 });
        }, { maxAttempts: 30 });
    }));
    assert.equal((await get(nobody, 'counters/many')).fields.n.integer_value, '9');
  });
});

describe('@google-cloud/firestore with a key of skerry key create', { skip }, () => {
  test('an editor reads and writes everything, past the rules', async () => {
    const client = box.service(box.key('editor'));
    await client.doc('anything/x').set({ n: 1, at: firestore.FieldValue.serverTimestamp() });
    assert.equal((await client.doc('notes/a1').get()).data().owner, 'alice');
    assert.ok((await client.collection('notes').get()).size >= 3);
    assert.ok((await client.listCollections()).some((one) => one.id === 'anything'));
    assert.equal((await client.collection('anything').count().get()).data().count, 1);
    await client.runTransaction(async (t) => t.update(client.doc('anything/x'), { n: (await t.get(client.doc('anything/x'))).data().n + 1 }));
    const partitions = [];
    for await (const one of client.collectionGroup('things').getPartitions(2)) partitions.push(one);
    assert.ok(partitions.length >= 1);
    const seen = [];
    const stop = client.doc('anything/x').onSnapshot((s) => seen.push(s.data()?.n), (error) => seen.push(error));
    await until(() => seen.at(-1) === 2, () => `the listener: ${seen}`);
    await client.doc('anything/x').delete();
    await until(() => seen.length === 2, 'its end');
    stop();
    const writer = client.bulkWriter();
    const written = [writer.set(client.doc('anything/y'), {}), writer.delete(client.doc('anything/y'))];
    await writer.close();
    await Promise.all(written);
  });

  test('a viewer reads everything and writes nothing', async () => {
    const client = box.service(box.key('viewer'));
    assert.equal((await client.doc('notes/b1').get()).data().owner, 'bob');
    await assert.rejects(client.doc('notes/b1').set({}), (error) => error.code === DENIED && /may only read/.test(error.message));
    await assert.rejects(client.doc('box/x').set({}), { code: DENIED }); // not even what anybody may
    await assert.rejects(client.runTransaction(async (t) => t.set(client.doc('box/x'), {})), { code: DENIED });
    const writer = client.bulkWriter();
    writer.onWriteError(() => false);
    const written = writer.set(client.doc('box/x'), {}).then(() => 'written', (error) => error.code);
    await writer.close();
    assert.equal(await written, DENIED);
  });

  test('an account of another project', async () => {
    const client = box.service(box.key('owner', 'stranger', 'other'));
    await assert.rejects(client.doc('public/a').get(), (error) => error.code === DENIED && /another project/.test(error.message));
    const there = box.service(box.key('owner', 'stranger2', 'other'), { projectId: 'other' });
    await there.doc('x/y').set({ n: 1 });
    assert.equal((await there.doc('x/y').get()).data().n, 1);
    await fails(alice.call('GetDocument', { name: 'projects/other/databases/(default)/documents/public/a' }), DENIED, /another project/);
  });
});
