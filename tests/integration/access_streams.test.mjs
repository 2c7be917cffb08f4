// Access to what is already open: listeners and Write streams while documents, roles, rules, tokens and keys change.
import { Box, cleanUp, db, openWrites, skip } from './support/access.mjs'; // first
import assert from 'node:assert/strict';
import fsFiles from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { JWT } from 'google-auth-library';
import { RULES } from './support/access_rules.mjs';
import { Listener, documentsTarget, queryTarget } from './support/listen.mjs';
import { sdk as fs } from './support/packages.mjs';
import { code, fails, value as v } from './support/rpc.mjs';
import { patient, until } from './support/wait.mjs';

const put = (relative, fields) => ({ update: { name: db.doc(relative), fields } });
const commit = (who, ...writes) => who.call('Commit', { database: db.name, writes });
const equals = (field, value) => ({ where: { field_filter: { field: { field_path: field }, op: 'EQUAL', value } } });
const query = (parent, collection, where) => ({ query: { parent, structured_query: { from: [{ collection_id: collection }], ...where } } });
const mine = (uid) => query(db.root, 'notes', equals('owner', v.string(uid)));
const note = (owner, more = {}) => ({ owner: v.string(owner), ...more });
const removed = (one, id) => one.until(() => one.targets.get(id).removed, `the end of target ${id}`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The header of a service account. */
async function authorizationOf(key) {
  const jwt = new JWT({ email: key.client_email, key: key.private_key, keyId: key.private_key_id });
  return (await jwt.getRequestHeaders('https://localhost/google.firestore.v1.Firestore')).get('authorization');
}
const listeners = [];
function listen(who, options) {
  const one = new Listener(who, db, options);
  listeners.push(one);
  return one;
}
const closeListeners = () => Promise.all(listeners.splice(0).map((one) => one.close()));
after(cleanUp);

describe('listeners', { skip }, () => {
  let box, owner, alice, bob, nobody;
  before(async () => {
    box = await Box.open(RULES);
    owner = box.raw(await authorizationOf(box.key('owner')));
    [alice, bob, nobody] = [box.as('alice'), box.as('bob'), box.as(null)];
    await commit(owner, put('notes/a', note('alice')), put('notes/b', note('bob')), put('public/p', {}), put('maybe/x', { open: v.bool(true) }),
      put('rooms/r', {}), put('rooms/r/members/alice', { role: v.string('reader') }), put('rooms/r/messages/m', {}), put('posts/p', { published: v.bool(true), author: v.string('bob') }));
  });
  after(async () => {
    await closeListeners();
    await box.close();
  });

  test('targets are refused one by one, the stream stays', async () => {
    const one = listen(alice);
    one.add(1, documentsTarget(db.doc('notes/a')));
    one.add(2, documentsTarget(db.doc('notes/b')));
    one.add(3, mine('alice'));
    one.add(4, mine('bob'));
    one.add(5, query(db.root, 'notes'));
    one.add(6, documentsTarget(db.doc('notes/a'), db.doc('notes/b')));
    one.add(7, documentsTarget(db.doc('notes/none')));
    one.add(8, documentsTarget(db.doc('maybe/none')));
    one.add(9, query(db.doc('rooms/r'), 'messages'));
    for (const id of [2, 4, 5, 6, 7]) {
      await removed(one, id);
      assert.deepEqual([one.targets.get(id).removed, one.targets.get(id).why], ['PERMISSION_DENIED', 'Missing or insufficient permissions.']);
      assert.equal(one.targets.get(id).docs.size, 0);
    }
    for (const id of [1, 3, 8, 9]) await one.current(id);
    assert.deepEqual([one.names(1), one.names(3), one.names(9)], [['notes/a'], ['notes/a'], ['rooms/r/messages/m']]);
    assert.ok(!JSON.stringify(one.log).includes('notes/b"'), 'nothing is said of the others');
    const signedOut = listen(nobody);
    signedOut.add(1, documentsTarget(db.doc('public/p')));
    signedOut.add(2, documentsTarget(db.doc('notes/a')));
    await signedOut.current(1);
    await removed(signedOut, 2);
  });

  test('a document that changes so that the listener may not see it any more', async () => {
    const one = listen(nobody);
    one.add(1, documentsTarget(db.doc('maybe/x')));
    await one.current(1);
    await commit(owner, put('maybe/x', { open: v.bool(true), n: v.int(1) }));
    await one.until(() => one.targets.get(1).changes === 2);
    await commit(owner, put('maybe/x', { open: v.bool(false), secret: v.string('not for you') }));
    await removed(one, 1);
    assert.equal(one.targets.get(1).removed, 'PERMISSION_DENIED');
    assert.ok(!JSON.stringify(one.log).includes('not for you'));
  });

  test('in all orders of targets about the same document', async () => {
    const published = query(db.root, 'posts', equals('published', v.bool(true)));
    for (const targets of [[published, documentsTarget(db.doc('posts/p'))], [documentsTarget(db.doc('posts/p')), published], [published, published, documentsTarget(db.doc('posts/p')), documentsTarget(db.doc('posts/p'))]]) {
      await commit(owner, put('posts/p', { published: v.bool(true), author: v.string('bob') }));
      const one = listen(alice), ids = targets.map((_, i) => i + 1);
      for (const id of ids) one.add(id, targets[id - 1]);
      for (const id of ids) await one.current(id);
      await commit(owner, put('posts/p', { published: v.bool(false), author: v.string('bob'), secret: v.string('not for you') }));
      for (const id of ids)
        if (targets[id - 1].documents) await removed(one, id);
        else await one.until(() => one.targets.get(id).docs.size === 0, 'it leaves the query');
      assert.ok(!JSON.stringify(one.log).includes('not for you'));
      await one.close();
    }
  });

  test('a role document that rules read: nothing more comes when it is taken away', async () => {
    for (const target of [query(db.doc('rooms/r'), 'messages'), documentsTarget(db.doc('rooms/r/messages/m')), query(db.doc('rooms/r'), 'messages', { limit: { value: 10 } })]) {
      await commit(owner, put('rooms/r/members/alice', { role: v.string('reader') }), put('rooms/r/messages/m', {}));
      const one = listen(alice);
      one.add(1, target);
      await one.current(1);
      await commit(owner, put('rooms/r/messages/m', { n: v.int(1) }));
      await one.until(() => one.targets.get(1).changes === 2);
      await commit(owner, { delete: db.doc('rooms/r/members/alice') });
      await commit(owner, put('rooms/r/messages/m', { secret: v.string('not for you') }));
      await removed(one, 1);
      assert.equal(one.targets.get(1).removed, 'PERMISSION_DENIED');
      assert.ok(!JSON.stringify(one.log).includes('not for you'));
      await one.close();
    }
  });

  test('who resumes hears nothing of documents that were never in the answer', async () => {
    const first = listen(alice);
    first.add(1, mine('alice'));
    await first.current(1);
    await first.until(() => first.token, 'a token');
    const from = { docs: first.targets.get(1).docs, token: first.token };
    const readTime = first.log.find((one) => one.target_change?.read_time).target_change.read_time;
    await first.close();
    await commit(owner, put('notes/of_bob', note('bob')), put('notes/b', note('bob', { n: v.int(1) })), put('notes/given', note('alice')));
    await commit(owner, put('notes/given', note('bob')), put('notes/a', note('bob')), put('notes/new', note('alice')), { delete: db.doc('notes/of_bob') });
    for (const resume of [{ resume_token: from.token }, { read_time: readTime }, { resume_token: from.token, expected_count: { value: 1 } }]) {
      const one = listen(alice);
      one.add(1, { ...mine('alice'), ...resume }, { docs: from.docs });
      await one.current(1);
      assert.deepEqual(one.names(1), ['notes/new']);
      assert.equal(one.targets.get(1).resets, 0, 'it goes on');
      for (const name of ['of_bob', 'notes/b"', 'given']) assert.ok(!JSON.stringify(one.log).includes(name), `${name}: ${JSON.stringify(one.log)}`);
      await one.close();
    }
    await commit(owner, put('notes/a', note('alice')), { delete: db.doc('notes/new') }, { delete: db.doc('notes/given') });
  });

  test('a resume token of another user, and of another query', async () => {
    const his = listen(bob);
    his.add(1, mine('bob'));
    await his.current(1);
    await his.until(() => his.token, 'a token');
    const one = listen(alice);
    one.add(1, { ...mine('bob'), resume_token: his.token });
    one.add(2, { ...mine('alice'), resume_token: his.token });
    await removed(one, 1);
    await one.current(2);
    assert.deepEqual([one.names(2), one.targets.get(2).resets], [['notes/a'], 1]);
  });

  test('a batch of commits by others while many listen: each hears of its own', async () => {
    const all = await Promise.all(['alice', 'bob', 'carol', 'dora'].map(async (uid) => {
      const one = listen(box.as(uid));
      one.add(1, mine(uid));
      await one.current(1);
      return [uid, one];
    }));
    for (let i = 0; i < 40; i++) await commit(owner, put(`notes/many${i % 8}`, note(all[i % 4][0], { i: v.int(i) })));
    for (const [uid, one] of all) {
      await one.until(() => [...one.targets.get(1).docs.values()].filter(({ fields }) => fields.i?.integer_value >= 32).length === 2, 'the last ones');
      for (const response of one.log) {
        const fields = response.document_change?.document.fields;
        if (fields) assert.equal(fields.owner.string_value, uid);
      }
    }
  });
});

describe('a listener that reads slowly', { skip }, () => {
  let box;
  before(async () => (box = await Box.open(RULES)));
  after(async () => {
    await closeListeners();
    await box.close();
  });

  test('catches up, and hears nothing of documents that were never in its answer', async () => {
    const owner = box.raw(await authorizationOf(box.key('owner')));
    const text = v.string('x'.repeat(20_000));
    await commit(owner, put('notes/stays', note('alice')), put('notes/goes', note('alice', { text })), put('notes/foreign0', note('bob')));
    const one = listen(box.as('alice'));
    one.add(1, mine('alice'));
    await one.current(1);
    one.stream.pause();
    // What comes and goes while its queue and the connection's windows are full, and much of others.
    let last;
    for (let i = 0; i < 60; i++)
      last = await commit(owner,
        ...Array.from({ length: 10 }, (_, j) => put(`notes/mine${i}-${j}`, note('alice', { text }))), put(`notes/brief${i}`, note('alice', { text })),
        ...(i > 0 ? [put(`notes/brief${i - 1}`, note('bob', { secret: v.string('not for you') }))] : []),
        ...Array.from({ length: 5 }, (_, j) => put(`notes/foreign${i * 5 + j}`, note('bob', { secret: v.string('not for you') }))), put('notes/goes', note(i % 2 ? 'alice' : 'bob')));
    last = await commit(owner, { delete: db.doc('notes/goes') }, { delete: db.doc('notes/foreign1') }, put('notes/stays', note('alice', { n: v.int(1) })));
    one.stream.resume();
    await one.reached(last.commit_time);
    const wanted = [...Array.from({ length: 60 }, (_, i) => Array.from({ length: 10 }, (__, j) => `notes/mine${i}-${j}`)).flat(), 'notes/brief59', 'notes/stays'].sort();
    assert.deepEqual(one.names(1), wanted);
    assert.equal(one.targets.get(1).resets, 0);
    assert.ok(!/foreign|not for you/.test(JSON.stringify(one.log.map((response) => [response.document_change?.document.name, response.document_change?.document.fields.secret, response.document_delete?.document, response.document_remove?.document]))));
  });
});

describe('rules that change', { skip }, () => {
  const open = RULES.replace('match /notes/{id} {', 'match /notes/{id} { allow read, write;');
  const shut = `rules_version = '2';\nservice cloud.firestore { match /databases/{database}/documents { match /public/{id} { allow read; } } }\n`;
  let box, alice;
  const noteOf = (name) => alice.call('GetDocument', { name: db.doc(name) });
  before(async () => {
    box = await Box.open(RULES);
    alice = box.as('alice');
    await commit(box.raw(await authorizationOf(box.key('owner'))), put('notes/a', note('alice')), put('notes/b', note('bob')), put('public/p', {}));
  });
  after(async () => {
    await closeListeners();
    await box.close();
  });

  test('SIGHUP: listeners and Write streams are judged by the new ones', async () => {
    const phone = box.phone('alice');
    const seen = [];
    fs.onSnapshot(fs.query(fs.collection(phone.db, 'notes'), fs.where('owner', '==', 'alice')), (s) => seen.push(s.size), (error) => seen.push(error.code));
    await until(() => seen.at(-1) === 1, 'the phone');
    const one = listen(alice), writes = await openWrites(alice);
    one.add(1, mine('alice'));
    one.add(2, documentsTarget(db.doc('public/p')));
    one.add(3, documentsTarget(db.doc('notes/a')));
    for (const id of [1, 2, 3]) await one.current(id);
    await writes.send(put('notes/w', note('alice')));
    await box.reload(shut);
    await removed(one, 1);
    await removed(one, 3);
    assert.equal(one.targets.get(1).removed, 'PERMISSION_DENIED');
    assert.equal(one.targets.get(2).removed, undefined);
    await until(() => seen.at(-1) === 'permission-denied', 'the phone');
    assert.equal((await writes.send(put('notes/w', note('alice')))).end, 'PERMISSION_DENIED');
    await fails(noteOf('notes/a'), code.PERMISSION_DENIED);
    await box.reload(open);
    await noteOf('notes/b');
    one.add(4, query(db.root, 'notes'));
    await one.current(4);
    assert.deepEqual(one.names(4), ['notes/a', 'notes/b', 'notes/w']);
    await box.reload(RULES);
    await removed(one, 4);
    await fails(noteOf('notes/b'), code.PERMISSION_DENIED);
  });

  test('a file with errors: the old ones stay, and the log says where', async () => {
    for (const [text, place] of [[`${RULES}\n}`, /problem=/], [RULES.replace('allow read, delete: if', 'allow read, delete: iff'), /line=\d+ column=\d+/], ['', /problem=|error=/]]) {
      const from = box.server.stderr.length;
      await box.reload(text);
      const log = box.server.stderr.slice(from);
      assert.match(log, /security rules not reloaded, the old ones stay in use/);
      assert.match(log, place);
      await noteOf('notes/a');
      await fails(noteOf('notes/b'), code.PERMISSION_DENIED);
    }
    const bad = RULES.split('\n');
    const line = bad.findIndex((one) => one.includes('match /public')) + 1;
    bad[line - 1] = bad[line - 1].replace('allow read', 'allow reed');
    const from = box.server.stderr.length;
    await box.reload(bad.join('\n'));
    assert.match(box.server.stderr.slice(from), new RegExp(`line=${line} column=${bad[line - 1].indexOf('reed') + 1}\\b`));
    fsFiles.rmSync(box.rulesFile);
    const before = box.server.stderr.match(/not reloaded/g).length;
    box.server.signal('SIGHUP');
    await until(() => box.server.stderr.match(/not reloaded/g).length > before, 'the log');
    await noteOf('notes/a');
    await box.reload(RULES);
  });

  test('deploy is refused where a setting says where rules come from', () => {
    const { code: exit, stderr } = box.run('rules', 'deploy', box.rulesFile);
    assert.equal(exit, 1);
    assert.match(stderr, /SIGHUP/);
  });

  test('a server does not start with rules that have errors', async () => {
    await assert.rejects(Box.open(RULES.replace('allow read;', 'allow read if;')), /\d+:\d+/);
  });
});

describe('without rules, and rules that are deployed', { skip }, () => {
  let box;
  before(async () => (box = await Box.open(undefined)));
  after(async () => {
    await closeListeners();
    await box.close();
  });
  const deploy = (text) => {
    const file = path.join(box.server.dataDir, '..', `deployed-${box.server.port}.rules`);
    fsFiles.writeFileSync(file, text);
    const result = box.run('rules', 'deploy', file);
    fsFiles.rmSync(file);
    return result;
  };

  test('everything is refused, in codes that do not take from phones what they queued', async () => {
    for (const who of [box.as('alice'), box.as(null)]) {
      await fails(who.call('GetDocument', { name: db.doc('public/p') }), code.PERMISSION_DENIED);
      await fails(who.collect('BatchGetDocuments', { database: db.name, documents: [db.doc('public/p')] }), code.PERMISSION_DENIED);
      await fails(who.call('ListDocuments', { parent: db.root, collection_id: 'public' }), code.PERMISSION_DENIED);
      await fails(who.collect('RunQuery', { parent: db.root, structured_query: { from: [{ collection_id: 'public' }] } }), code.PERMISSION_DENIED);
      await fails(who.call('BeginTransaction', { database: db.name }), code.PERMISSION_DENIED);
      await fails(commit(who, put('box/x', {})), code.UNAVAILABLE, /no access rules/);
      await fails(commit(who), code.UNAVAILABLE);
      await fails(who.call('BatchWrite', { database: db.name, writes: [put('box/x', {})] }), code.UNAVAILABLE);
      await fails(who.call('CreateDocument', { parent: db.root, collection_id: 'box', document: {} }), code.UNAVAILABLE);
      await fails(who.call('UpdateDocument', { document: { name: db.doc('box/x') } }), code.UNAVAILABLE);
      await fails(who.call('DeleteDocument', { name: db.doc('box/x') }), code.UNAVAILABLE);
      assert.equal((await openWrites(who)).hello.end, 'UNAVAILABLE');
      const one = listen(who);
      one.add(1, documentsTarget(db.doc('public/p')));
      await removed(one, 1);
      assert.equal(one.targets.get(1).removed, 'PERMISSION_DENIED');
    }
  });

  test('a phone keeps what it wrote until there are rules', async () => {
    const { db: phone } = box.phone('alice');
    let done;
    const written = fs.setDoc(fs.doc(phone, 'notes/queued'), { owner: 'alice' }).then(() => (done = 'written'), (error) => (done = error.code));
    await sleep(1500);
    assert.equal(done, undefined);
    assert.equal(deploy(RULES).code, 0);
    await written;
    assert.equal(done, 'written');
  });

  test('deploying other rules, and what has errors', async () => {
    const alice = box.as('alice'), one = listen(alice);
    one.add(1, mine('alice'));
    await one.current(1);
    const refused = deploy(RULES.replace('allow read;', 'allow read if;'));
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /:\d+:\d+: error: /);
    await alice.call('GetDocument', { name: db.doc('notes/queued') });
    assert.equal(deploy(RULES.replace('match /notes/{id} {', 'match /other/{id} {')).code, 0);
    await removed(one, 1);
    await fails(alice.call('GetDocument', { name: db.doc('notes/queued') }), code.PERMISSION_DENIED);
    assert.equal(deploy(RULES).code, 0);
    await box.server.stop();
    box.server.options.args = box.server.options.args.map((one_) => (one_ === '127.0.0.1:0' ? `127.0.0.1:${box.server.port}` : one_));
    await box.issuer.stop(); // no uplink
    await box.server.start(); // what was deployed is still there, and the issuer's keys
    await alice.call('GetDocument', { name: db.doc('notes/queued') });
    await fails(alice.call('GetDocument', { name: db.doc('notes/b') }), code.PERMISSION_DENIED);
  });
});

describe('tokens and keys that end', { skip }, () => {
  let box;
  before(async () => (box = await Box.open(RULES)));
  after(async () => {
    await closeListeners();
    await box.close();
  });
  /** A token that ends in so many seconds, when the tolerance is over. */
  const ending = (uid, seconds) => {
    const now = Math.floor(Date.now() / 1000);
    return box.token(uid, { iat: now - 3600, exp: now - 60 + seconds });
  };

  test('an expired token ends Listen and Write with UNAUTHENTICATED', async () => {
    const who = box.raw(`Bearer ${ending('alice', 4)}`);
    const one = listen(who), writes = await openWrites(who), idle = await openWrites(who);
    one.add(1, mine('alice'));
    await one.current(1);
    await writes.send(put('notes/t', note('alice')));
    await until(() => one.ended, 'the end of Listen', 10_000);
    assert.equal(one.ended.code, 'UNAUTHENTICATED');
    assert.match(one.ended.details, /expired/);
    assert.equal((await writes.next()).end, 'UNAUTHENTICATED');
    assert.equal((await idle.next()).end, 'UNAUTHENTICATED');
    await fails(commit(who, put('notes/t', note('alice'))), code.UNAUTHENTICATED);
    const late = await openWrites(who);
    assert.equal(late.hello.end, 'UNAUTHENTICATED');
  });

  test('a phone whose token expires brings a new one and goes on', async () => {
    const { db: phone, auth } = box.phone(null);
    auth.renew = () => box.token('alice');
    auth.signInWith('alice', ending('alice', 4));
    const seen = [];
    fs.onSnapshot(fs.query(fs.collection(phone, 'notes'), fs.where('owner', '==', 'alice')), (s) => seen.push(s.size), (error) => seen.push(error.code));
    await until(() => seen.length, 'the first');
    const before = auth.asked.length;
    await until(() => auth.asked.slice(before).includes(true), 'a request for a new token', 15_000);
    await fs.setDoc(fs.doc(phone, 'notes/renewed'), { owner: 'alice' });
    await until(() => seen.at(-1) === 2, () => `it goes on: ${seen}`);
  });

  test('a key that is revoked is of no use within seconds: calls, Listen, Write', async () => {
    const key = box.key('editor'), who = box.raw(await authorizationOf(key));
    const client = box.service(key);
    await client.doc('x/y').set({ n: 1 });
    const one = listen(who), writes = await openWrites(who);
    one.add(1, documentsTarget(db.doc('x/y')));
    await one.current(1);
    await writes.send(put('x/z', {}));
    const other = box.as('alice'), others = listen(other);
    others.add(1, mine('alice'));
    await others.current(1);
    const began = Date.now();
    assert.equal(box.run('key', 'revoke', key.private_key_id).code, 0);
    await fails(commit(who, put('x/z', {})), code.UNAUTHENTICATED, /revoked/);
    await until(() => one.ended, 'the end of Listen', 10_000);
    assert.equal(one.ended.code, 'UNAUTHENTICATED');
    assert.equal((await writes.next()).end, 'UNAUTHENTICATED');
    assert.ok(Date.now() - began < patient(5000));
    await fails(client.doc('x/y').set({ n: 2 }), code.UNAUTHENTICATED);
    const { commit_time } = await commit(other, put('notes/after', note('alice')));
    await others.reached(commit_time); // nobody else is touched
    assert.deepEqual([others.ended, others.targets.get(1).removed], [undefined, undefined]);
  });
});
