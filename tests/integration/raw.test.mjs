// google.firestore.v1 call by call, with what no SDK sends.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer, skerryOnly } from './support/server.mjs';
import { Rpc, code, fails, freshDatabase, microsToTime, timeToMicros, value as v } from './support/rpc.mjs';

let server, rpc;
before(async () => {
  server = await startServer();
  rpc = new Rpc(server.address);
});
after(async () => {
  rpc.close();
  await server.close();
});

// ---- Short forms ----

const commit = (db, ...writes) => rpc.call('Commit', { database: db.name, writes });
const update = (db, path, fields = { n: v.int(1) }, more = {}) => ({ update: { name: db.doc(path), fields }, ...more });
const remove = (db, path, more = {}) => ({ delete: db.doc(path), ...more });
const get = (db, path, more = {}) => rpc.call('GetDocument', { name: db.doc(path), ...more });
const fieldsOf = async (db, path) => (await get(db, path)).fields ?? {};
const mask = (...paths) => ({ field_paths: paths });
const list = (db, more = {}) => rpc.call('ListDocuments', { parent: db.root, collection_id: 'c', ...more });
const ids = (response) => (response.documents ?? []).map((one) => one.name.split('/').at(-1));
const seconds = (time) => Number(time.seconds);
const fill = (db, ...paths) => commit(db, ...paths.map((path) => update(db, path)));

/** Follows the pages: [[ids of page 1], ...]. */
async function pages(method, request, items) {
  const all = [];
  let page_token = '';
  do {
    const response = await rpc.call(method, { ...request, page_token });
    all.push(items(response));
    page_token = response.next_page_token ?? '';
  } while (page_token !== '' && all.length < 1000);
  return all;
}

// ---- GetDocument ----

test('GetDocument', async (t) => {
  const db = freshDatabase();
  const { commit_time } = await commit(db, update(db, 'c/x', { a: v.int(1), m: v.map({ b: v.int(2), c: v.int(3) }), 'o.d': v.null }));
  await t.test('whole', async () =>
    assert.deepEqual(await get(db, 'c/x'), {
      name: db.doc('c/x'),
      fields: { a: v.int(1), m: v.map({ b: v.int(2), c: v.int(3) }), 'o.d': v.null },
      create_time: commit_time,
      update_time: commit_time,
    }));
  const masks = [
    [['a'], { a: v.int(1) }],
    [['m.b'], { m: v.map({ b: v.int(2) }) }],
    [['m', 'm.b'], { m: v.map({ b: v.int(2), c: v.int(3) }) }],
    [['`o.d`', 'absent', 'absent.too'], { 'o.d': v.null }],
    [['`a`'], { a: v.int(1) }],
    [['__name__'], {}],
    [[], {}],
    [['a.b'], {}],
  ];
  for (const [paths, fields] of masks)
    await t.test(`mask ${paths}`, async () => {
      const read = await get(db, 'c/x', { mask: mask(...paths) });
      assert.deepEqual(read.fields ?? {}, fields);
      assert.deepEqual(read.update_time, commit_time);
    });
  for (const path of ['a..b', '.a', '', 'a b', '1a', '`a', '`a``b`', '*', 'a.', 'é', '__x__', '``'])
    await t.test(`mask ${JSON.stringify(path)} is refused`, () => fails(get(db, 'c/x', { mask: mask(path) }), code.INVALID_ARGUMENT));
  await t.test('missing', async () => {
    const error = await fails(get(db, 'c/y'), code.NOT_FOUND, /not found/);
    assert.ok(error.details.includes(db.doc('c/y')));
  });
  const names = ['', 'hello', db.root, db.doc('c'), db.doc('c//x'), db.doc('c/x/'), db.doc('/c/x'), db.doc('c/.'), db.doc('c/__x__'), db.name, 'projects//databases/(default)/documents/c/x'];
  for (const name of names)
    await t.test(`name ${JSON.stringify(name.slice(-20))} is refused`, () => fails(rpc.call('GetDocument', { name }), code.INVALID_ARGUMENT));
});

// ---- Pages ----

test('ListDocuments', async (t) => {
  const db = freshDatabase();
  await fill(db, 'c/a', 'c/b', 'c/d/s/1', 'c/e', 'o/1', 'c/__id7__', 'c/__id10__', 'c/e/s/1', 'cc/1', 'c/\u{ff5e}', 'c/\u{1f680}');
  const all = ['__id7__', '__id10__', 'a', 'b', 'e', '\u{ff5e}', '\u{1f680}'];
  const missing = ['__id7__', '__id10__', 'a', 'b', 'd', 'e', '\u{ff5e}', '\u{1f680}'];
  const request = { parent: db.root, collection_id: 'c' };

  await t.test('in order of names', async () => assert.deepEqual(ids(await list(db)), all));
  await t.test('order_by __name__', async () => assert.deepEqual(ids(await list(db, { order_by: '__name__' })), all));
  await t.test('order_by __name__ desc', { skip: skerryOnly }, async () => {
    assert.deepEqual(ids(await list(db, { order_by: '__name__ desc' })), [...all].reverse());
    const paged = await pages('ListDocuments', { ...request, page_size: 2, order_by: '__name__ desc' }, ids);
    assert.deepEqual(paged.flat(), [...all].reverse());
  });
  await t.test('show_missing', async () => {
    const response = await list(db, { show_missing: true });
    assert.deepEqual(ids(response), missing);
    assert.deepEqual(response.documents[4], { name: db.doc('c/d') });
    assert.ok(response.documents[5].create_time);
  });
  for (const page_size of [1, 2, 3, 7, 8, 100]) {
    await t.test(`pages of ${page_size}`, async () => {
      const paged = await pages('ListDocuments', { ...request, page_size }, ids);
      assert.deepEqual(paged.flat(), all);
      assert.ok(paged.every((page) => page.length <= page_size));
    });
    await t.test(`pages of ${page_size} with missing ones`, async () => {
      const paged = await pages('ListDocuments', { ...request, page_size, show_missing: true }, ids);
      assert.deepEqual(paged.flat(), missing);
    });
  }
  await t.test('mask', async () => {
    const response = await list(db, { mask: mask('n') });
    assert.ok(response.documents.every((one) => one.fields.n));
    const none = await list(db, { mask: mask('absent') });
    assert.ok(none.documents.every((one) => one.fields === undefined && one.update_time));
  });
  await t.test('without a collection: all that lie directly below', async () => {
    const names = (await rpc.call('ListDocuments', { parent: db.root })).documents.map((one) => one.name.slice(db.root.length + 1));
    assert.deepEqual(names, [...all.map((id) => `c/${id}`), 'cc/1', 'o/1']);
  });
  await t.test('below a document, also a missing one', async () => {
    assert.deepEqual(ids(await rpc.call('ListDocuments', { parent: db.doc('c/d'), collection_id: 's' })), ['1']);
    assert.deepEqual(await rpc.call('ListDocuments', { parent: db.doc('c/zzz'), collection_id: 's' }), {});
  });
  const refused = [
    ['page_size -1', { page_size: -1 }],
    ['show_missing with order_by', { show_missing: true, order_by: '__name__' }],
    ['a token of nobody', { page_token: 'garbage' }],
    ['a token that is base64', { page_token: 'AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA' }],
    ['a long token', { page_token: 'A'.repeat(100_000) }],
    ['a collection with a slash', { collection_id: 'c/d' }],
    ['a reserved collection', { collection_id: '__c__' }],
    ['a parent that is a collection', { parent: db.doc('c') }],
    ['a parent without /documents', { parent: db.name }],
    ['no parent', { parent: '' }],
    ['a bad mask', { mask: mask('a..b') }],
    ['an order that is none', { order_by: 'garbage!!' }],
  ];
  for (const [name, more] of refused) await t.test(`refused: ${name}`, () => fails(list(db, more), code.INVALID_ARGUMENT));

  await t.test('a token goes with its request only', { skip: skerryOnly }, async () => {
    const token = (await list(db, { page_size: 2 })).next_page_token;
    const others = [{ collection_id: 'o' }, { show_missing: true }, { order_by: '__name__ desc' }, { parent: db.doc('c/d') }, { parent: freshDatabase().root }];
    for (const other of others) await fails(list(db, { ...other, page_token: token }), code.INVALID_ARGUMENT, /page_token/);
    for (let i = 0; i < token.length; i++) {
      const changed = token.slice(0, i) + (token[i] === 'A' ? 'B' : 'A') + token.slice(i + 1);
      await fails(list(db, { page_token: changed }), code.INVALID_ARGUMENT);
    }
    assert.deepEqual(ids(await list(db, { page_token: token, page_size: 1 })), ['a'], 'the page size is free');
    await fails(rpc.call('ListCollectionIds', { parent: db.root, page_token: token }), code.INVALID_ARGUMENT);
  });
  await t.test('pages read one version', { skip: skerryOnly }, async () => {
    const other = freshDatabase();
    await fill(other, 'c/a', 'c/b', 'c/c', 'c/d');
    const first = await list(other, { page_size: 2 });
    await commit(other, remove(other, 'c/c'), update(other, 'c/bb'), update(other, 'c/d', { n: v.int(2) }));
    const rest = await list(other, { page_token: first.next_page_token });
    assert.deepEqual(ids(rest), ['c', 'd']);
    assert.deepEqual(rest.documents[1].fields, { n: v.int(1) });
    assert.deepEqual(ids(await list(other)), ['a', 'b', 'bb', 'd']);
  });
});

test('ListDocuments ends a page before it is too large', { skip: skerryOnly }, async () => {
  const db = freshDatabase();
  for (let i = 0; i < 12; i++) await commit(db, update(db, `c/${i + 10}`, { s: v.string('x'.repeat(900_000)) }));
  const small = new Rpc(server.address, undefined, { 'grpc.max_receive_message_length': 4 << 20 });
  try {
    const found = [];
    let page_token = '';
    do {
      const page = await small.call('ListDocuments', { parent: db.root, collection_id: 'c', page_size: 1000, page_token });
      found.push(...ids(page));
      page_token = page.next_page_token ?? '';
    } while (page_token !== '');
    assert.deepEqual(found, Array.from({ length: 12 }, (_, i) => String(i + 10)));
  } finally {
    small.close();
  }
});

test('ListCollectionIds', async (t) => {
  const db = freshDatabase();
  const names = ['a', 'b', 'c', 'd', 'e', 'é', skerryOnly ? '\u{fffd}' : '\u{ff5e}', ...(skerryOnly ? [] : ['\u{1f680}'])]; // the emulator sorts by UTF-16 here
  await fill(db, ...names.map((name) => `${name}/1`), ...names.map((name) => `${name}/2/sub/3`), 'a/1/x/1', 'a/1/y/1/z/1');
  const items = (response) => response.collection_ids ?? [];
  await t.test('of the root', async () => assert.deepEqual(items(await rpc.call('ListCollectionIds', { parent: db.root })), names));
  await t.test('of a document', async () => {
    assert.deepEqual(items(await rpc.call('ListCollectionIds', { parent: db.doc('a/1') })), ['x', 'y']);
    assert.deepEqual(items(await rpc.call('ListCollectionIds', { parent: db.doc('a/2') })), ['sub']);
    assert.deepEqual(items(await rpc.call('ListCollectionIds', { parent: db.doc('a/none') })), []);
  });
  for (const page_size of [1, 3, 7])
    await t.test(`pages of ${page_size}`, async () => {
      const paged = await pages('ListCollectionIds', { parent: db.root, page_size }, items);
      assert.deepEqual(paged.flat(), names);
      assert.ok(paged.every((page) => page.length <= page_size));
    });
  await t.test('refused', async () => {
    await fails(rpc.call('ListCollectionIds', { parent: db.root, page_size: -1 }), code.INVALID_ARGUMENT);
    await fails(rpc.call('ListCollectionIds', { parent: db.doc('a') }), code.INVALID_ARGUMENT);
    if (!skerryOnly) await fails(rpc.call('ListCollectionIds', { parent: db.root, page_token: 'x' }), code.INVALID_ARGUMENT, /page_token/);
  });
});

// ---- One document ----

test('CreateDocument', async (t) => {
  const db = freshDatabase();
  const create = (more) => rpc.call('CreateDocument', { parent: db.root, collection_id: 'c', document: { fields: { a: v.int(1), b: v.int(2) } }, ...more });
  await t.test('with an id', async () => {
    const created = await create({ document_id: 'x' });
    assert.equal(created.name, db.doc('c/x'));
    assert.deepEqual(created.fields, { a: v.int(1), b: v.int(2) });
    assert.deepEqual(created.create_time, created.update_time);
    assert.deepEqual(await get(db, 'c/x'), created);
  });
  await t.test('once', async () => {
    const error = await fails(create({ document_id: 'x' }), code.ALREADY_EXISTS);
    if (!skerryOnly) assert.equal(error.details, `Document already exists: ${db.doc('c/x')}`);
  });
  await t.test('generated ids', async () => {
    const made = await Promise.all(Array.from({ length: 50 }, () => create({})));
    const found = made.map((one) => one.name.slice(db.doc('c/').length));
    assert.ok(found.every((id) => /^[A-Za-z0-9]{20}$/.test(id)), found.join());
    assert.equal(new Set(found).size, 50);
  });
  await t.test('mask', async () => assert.deepEqual((await create({ mask: mask('b') })).fields, { b: v.int(2) }));
  await t.test('without a document', async () => assert.equal((await rpc.call('CreateDocument', { parent: db.root, collection_id: 'c', document_id: 'none' })).fields, undefined));
  await t.test('below a document that is missing', async () => assert.equal((await create({ parent: db.doc('no/no'), document_id: 'x' })).name, db.doc('no/no/c/x')));
  const refused = [
    ['document.name', { document_id: 'y', document: { name: db.doc('c/y') } }],
    ['no collection', { collection_id: '' }],
    ['a parent that is a collection', { parent: db.doc('no') }],
    ['an id with a slash', { document_id: 'a/b' }],
    ['a reserved id', { document_id: '__y__' }],
    ['the id .', { document_id: '.' }],
    ['a collection with a slash', { collection_id: 'a/b' }],
    ['a bad mask', { document_id: 'y', mask: mask('..') }],
    ['a bad field', { document_id: 'y', document: { fields: { __x__: v.null } } }],
  ];
  for (const [name, more] of refused) await t.test(`refused: ${name}`, () => fails(create(more), code.INVALID_ARGUMENT));
  await t.test('and nothing was stored', () => fails(get(db, 'c/y'), code.NOT_FOUND));
});

test('UpdateDocument', async (t) => {
  const db = freshDatabase();
  const change = (fields, more = {}) => rpc.call('UpdateDocument', { document: { name: db.doc('c/x'), fields }, ...more });
  await t.test('makes what is missing', async () => assert.deepEqual(await change({ a: v.int(1) }), await get(db, 'c/x')));
  await t.test('replaces without a mask', async () => assert.deepEqual((await change({ b: v.int(2), m: v.map({ x: v.int(1), y: v.int(2) }) })).fields, { b: v.int(2), m: v.map({ x: v.int(1), y: v.int(2) }) }));
  const masks = [
    // paths, fields of the request, fields after it (each begins where the last ended)
    [['b'], { b: v.int(3), ignored: v.int(1) }, { b: v.int(3), m: v.map({ x: v.int(1), y: v.int(2) }) }],
    [['m.x'], { m: v.map({ x: v.int(9) }) }, { b: v.int(3), m: v.map({ x: v.int(9), y: v.int(2) }) }],
    [['m.x', 'b'], {}, { m: v.map({ y: v.int(2) }) }],
    [['m.y'], {}, { m: v.map({}) }],
    [['m.y.z', 'q.r'], {}, { m: v.map({}) }],
    [['`o.d`.`\\``'], { 'o.d': v.map({ '`': v.bool(true) }) }, { m: v.map({}), 'o.d': v.map({ '`': v.bool(true) }) }],
    [['`o.d`', 'm.a.b'], { m: v.map({ a: v.map({ b: v.int(1), c: v.int(2) }) }) }, { m: v.map({ a: v.map({ b: v.int(1) }) }) }],
    [['m', 'm.a'], { m: v.map({ z: v.int(1) }) }, { m: v.map({ z: v.int(1) }) }],
    [['m.z', 'm.z'], { m: v.map({ z: v.int(2) }) }, { m: v.map({ z: v.int(2) }) }],
    [[], { a: v.int(1) }, { m: v.map({ z: v.int(2) }) }],
  ];
  for (const [paths, fields, then] of masks)
    await t.test(`mask [${paths}]`, async () => {
      const changed = await change(fields, { update_mask: mask(...paths) });
      assert.deepEqual(normal(changed.fields), normal(then));
      assert.deepEqual(await get(db, 'c/x'), changed);
    });
  await t.test('a mask for the answer', async () => {
    assert.deepEqual((await change({ a: v.int(1), b: v.int(2) }, { mask: mask('b') })).fields, { b: v.int(2) });
    assert.deepEqual(await fieldsOf(db, 'c/x'), { a: v.int(1), b: v.int(2) });
  });
  for (const path of ['a..b', '.a', '', 'a b', '1a', '`a', '`a``b`', '*', 'a.', 'é', '__x__', 'a.__x__', 'a'.repeat(1501), '`' + 'é'.repeat(751) + '`'])
    await t.test(`mask ${JSON.stringify(path.slice(0, 10))} is refused`, () => fails(change({}, { update_mask: mask(path) }), code.INVALID_ARGUMENT));
  await t.test('preconditions', async () => {
    const { update_time } = await change({ a: v.int(5) });
    await fails(change({ a: v.int(6) }, { current_document: { exists: false } }), code.ALREADY_EXISTS);
    await fails(change({ a: v.int(6) }, { current_document: { update_time: microsToTime(timeToMicros(update_time) - 1n) } }), code.FAILED_PRECONDITION);
    await fails(change({ a: v.int(6) }, { current_document: { update_time: { seconds: '999999999999' } } }), code.INVALID_ARGUMENT);
    assert.deepEqual(await fieldsOf(db, 'c/x'), { a: v.int(5) });
    await change({ a: v.int(6) }, { current_document: { update_time } });
    await change({ a: v.int(7) }, { current_document: { exists: true } });
    await change({ a: v.int(8) }, { current_document: {} });
    assert.deepEqual(await fieldsOf(db, 'c/x'), { a: v.int(8) });
    const error = await fails(rpc.call('UpdateDocument', { document: { name: db.doc('c/no') }, current_document: { exists: true } }), code.NOT_FOUND);
    if (!skerryOnly) assert.equal(error.details, `No document to update: ${db.doc('c/no')}`);
  });
  await t.test('no document', () => fails(rpc.call('UpdateDocument', {}), code.INVALID_ARGUMENT));
});

test('DeleteDocument', async () => {
  const db = freshDatabase();
  const del = (more = {}) => rpc.call('DeleteDocument', { name: db.doc('c/x'), ...more });
  assert.deepEqual(await del(), {});
  await fails(del({ current_document: { exists: true } }), code.NOT_FOUND);
  await fails(del({ current_document: { update_time: { seconds: '1' } } }), code.FAILED_PRECONDITION);
  const { commit_time } = await commit(db, update(db, 'c/x'), update(db, 'c/x/s/below'));
  await fails(del({ current_document: { exists: false } }), code.ALREADY_EXISTS);
  await fails(del({ current_document: { update_time: { seconds: '1' } } }), code.FAILED_PRECONDITION);
  await del({ current_document: { update_time: commit_time } });
  await fails(get(db, 'c/x'), code.NOT_FOUND);
  assert.ok(await get(db, 'c/x/s/below'), 'what lies below stays');
  await fails(rpc.call('DeleteDocument', { name: db.doc('c') }), code.INVALID_ARGUMENT);
});

// ---- BatchGetDocuments ----

test('BatchGetDocuments', async (t) => {
  const db = freshDatabase();
  const { commit_time } = await commit(db, update(db, 'c/x', { a: v.int(1), b: v.int(2) }), update(db, 'c/z'));
  const batchGet = (paths, more = {}) => rpc.collect('BatchGetDocuments', { database: db.name, documents: paths.map((path) => db.doc(path)), ...more });
  await t.test('found, missing, duplicates', async () => {
    const responses = await batchGet(['c/z', 'c/y', 'c/x', 'c/z', 'c/y']);
    const found = responses.filter((one) => one.found).map((one) => one.found.name);
    const missing = responses.filter((one) => one.missing).map((one) => one.missing);
    assert.deepEqual(found.sort(), [db.doc('c/x'), db.doc('c/z')]);
    assert.deepEqual(missing, [db.doc('c/y')]);
    assert.equal(new Set(responses.map((one) => timeToMicros(one.read_time))).size, 1);
    assert.ok(timeToMicros(responses[0].read_time) >= timeToMicros(commit_time));
  });
  await t.test('mask', async () => assert.deepEqual((await batchGet(['c/x'], { mask: mask('b') }))[0].found.fields, { b: v.int(2) }));
  await t.test('nothing', async () => assert.ok((await batchGet([])).every((one) => !one.found && !one.missing)));
  await t.test('read_time', async () => {
    await commit(db, update(db, 'c/x', { a: v.int(9) }), remove(db, 'c/z'));
    const old = await batchGet(['c/x', 'c/z'], { read_time: commit_time });
    assert.deepEqual(old.map((one) => one.found.update_time), [commit_time, commit_time]);
    assert.deepEqual(old.map((one) => one.read_time), [commit_time, commit_time]);
  });
  await t.test('1,000 documents of 10 kB', async () => {
    const paths = Array.from({ length: 1000 }, (_, i) => `large/${i}`);
    for (let i = 0; i < 1000; i += 250)
      await commit(db, ...paths.slice(i, i + 250).map((path) => update(db, path, { s: v.string('x'.repeat(10_000)), path: v.string(path) })));
    const read = await batchGet(paths);
    assert.deepEqual(read.map((one) => one.found.fields.path.string_value).sort(), [...paths].sort());
  });
  await t.test('refused', async () => {
    await fails(rpc.collect('BatchGetDocuments', { documents: [db.doc('c/x')] }), code.INVALID_ARGUMENT);
    await fails(batchGet(['c/x', 'c']), code.INVALID_ARGUMENT);
    await fails(batchGet(['c/x'], { mask: mask('..') }), code.INVALID_ARGUMENT);
    if (!skerryOnly) await fails(rpc.collect('BatchGetDocuments', { database: db.name, documents: [freshDatabase().doc('c/x')] }), code.INVALID_ARGUMENT, /database/);
  });
});

// ---- Commit ----

test('Commit', async (t) => {
  await t.test('without writes', async () => assert.equal((await commit(freshDatabase())).write_results, undefined));
  await t.test('several writes of one document, in order', async () => {
    const db = freshDatabase();
    const { write_results, commit_time } = await commit(db, update(db, 'c/x', { a: v.int(1) }), update(db, 'c/x', { b: v.int(2) }, { update_mask: mask('b') }), update(db, 'c/y'), remove(db, 'c/y'));
    assert.equal(write_results.length, 4);
    assert.deepEqual(write_results[1].update_time, commit_time);
    assert.deepEqual(await fieldsOf(db, 'c/x'), { a: v.int(1), b: v.int(2) });
    await fails(get(db, 'c/y'), code.NOT_FOUND);
  });
  await t.test('preconditions see the writes before', async () => {
    const db = freshDatabase();
    await commit(db, update(db, 'c/x', {}, { current_document: { exists: false } }), update(db, 'c/x', { n: v.int(2) }, { current_document: { exists: true } }));
    if (!skerryOnly) await fails(commit(db, remove(db, 'c/x'), update(db, 'c/x', {}, { current_document: { exists: true } })), code.NOT_FOUND);
    if (!skerryOnly) await fails(commit(db, update(db, 'c/new'), update(db, 'c/new', {}, { current_document: { exists: false } })), code.ALREADY_EXISTS);
    assert.deepEqual(await fieldsOf(db, 'c/x'), { n: v.int(2) });
    await fails(get(db, 'c/new'), code.NOT_FOUND);
  });
  await t.test('delete and set: a new document', async () => {
    const db = freshDatabase();
    const first = await commit(db, update(db, 'c/x'));
    const second = await commit(db, remove(db, 'c/x'), update(db, 'c/x'));
    const read = await get(db, 'c/x');
    assert.deepEqual(read.create_time, second.commit_time);
    assert.notDeepEqual(read.create_time, first.commit_time);
  });
  await t.test('changed and changed back: as it was', async () => {
    const db = freshDatabase();
    const first = await commit(db, update(db, 'c/x'));
    await commit(db, update(db, 'c/x', { n: v.int(2) }), update(db, 'c/x'));
    assert.deepEqual((await get(db, 'c/x')).update_time, first.commit_time);
  });
  await t.test('a delete has no update_time', async () => {
    const db = freshDatabase();
    assert.deepEqual((await commit(db, remove(db, 'c/x'))).write_results, [{}]);
  });
  await t.test('commit times increase', async () => {
    const db = freshDatabase();
    let last = 0n;
    for (let i = 0; i < 50; i++) {
      const time = timeToMicros((await commit(db, update(db, 'c/x', { n: v.int(i) }))).commit_time);
      assert.ok(time > last);
      last = time;
    }
  });
  const db = freshDatabase();
  const refused = [
    ['no operation', {}],
    ['no operation but a mask', { update_mask: mask('a') }],
    ['a delete with a mask', remove(db, 'c/x', { update_mask: mask('a') })],
    ['a delete with transforms', remove(db, 'c/x', { update_transforms: [{ field_path: 'n', increment: v.int(1) }] })],
    ['an update without a name', { update: { fields: {} } }],
    ['an update of a collection', { update: { name: db.doc('c') } }],
    ['a value without a type', update(db, 'c/x', { a: {} })],
    ['an array in an array', update(db, 'c/x', { a: v.array(v.array(v.int(1))) })],
    ['a reserved field', update(db, 'c/x', { __x__: v.null })],
    ['a reserved field, deep', update(db, 'c/x', { a: v.array(v.map({ __x__: v.null })) })],
    ['a field without a name', update(db, 'c/x', { '': v.null })],
    ['a field reference', update(db, 'c/x', { a: { field_reference_value: 'b' } })],
    ['a function', update(db, 'c/x', { a: { function_value: { name: 'f' } } })],
    ['a pipeline', update(db, 'c/x', { a: { pipeline_value: { stages: [] } } })],
    ['a reference to nothing', update(db, 'c/x', { a: v.ref('') })],
    ['a reference to a collection', update(db, 'c/x', { a: v.ref(db.doc('c')) })],
    ['latitude 91', update(db, 'c/x', { a: v.point(91, 0) })],
    ['latitude NaN', update(db, 'c/x', { a: v.point(NaN, 0) })],
    ['longitude -180.1', update(db, 'c/x', { a: v.point(0, -180.1) })],
    ['year 10000', update(db, 'c/x', { a: v.time('253402300800') })],
    ['year 0', update(db, 'c/x', { a: v.time('-62135596801') })],
    ['nanos -1', update(db, 'c/x', { a: v.time(1, -1) })],
    ['nanos 1,000,000,000', update(db, 'c/x', { a: v.time(1, 1_000_000_000) })],
    ['a vector of strings', update(db, 'c/x', { a: v.map({ __type__: v.string('__vector__'), value: v.array(v.string('x')) }) })],
    ['a vector and more', update(db, 'c/x', { a: v.map({ __type__: v.string('__vector__'), value: v.array(v.double(1)), z: v.null }) })],
    ['a vector that is too long', update(db, 'c/x', { a: v.map({ __type__: v.string('__vector__'), value: v.array(...Array(2049).fill(v.double(1))) }) })],
    ['a map of unknown type', update(db, 'c/x', { a: v.map({ __type__: v.string('__other__'), value: v.array() }) })],
    ['21 levels', update(db, 'c/x', { a: Array(21).fill().reduce((inner) => v.map({ m: inner }), v.null) })],
    ['a mask that is bad', update(db, 'c/x', {}, { update_mask: mask('a b') })],
  ];
  if (!skerryOnly)
    refused.push(
      ['another database', { update: { name: freshDatabase().doc('c/x') } }],
      ['a name over 6 KiB', update(db, Array(3).fill(`${'c'.repeat(1100)}/${'d'.repeat(1100)}`).join('/'))],
    );
  for (const [name, write] of refused)
    await t.test(`refused: ${name}`, async () => {
      await fails(commit(db, update(db, 'c/other'), write), code.INVALID_ARGUMENT);
      await fails(get(db, 'c/other'), code.NOT_FOUND);
    });
  await t.test('refused: no database', () => fails(rpc.call('Commit', { writes: [update(db, 'c/x')] }), code.INVALID_ARGUMENT));
  await t.test('refused: an unknown transaction', () => fails(rpc.call('Commit', { database: db.name, transaction: Buffer.from('zz') }), code.INVALID_ARGUMENT));
  await t.test('20 levels are taken', () => commit(db, update(db, 'c/deep', { a: Array(20).fill().reduce((inner) => v.map({ m: inner }), v.null) })));
});

// ---- Transforms ----

const increment = (field_path, operand) => ({ field_path, increment: operand });
const maximum = (field_path, operand) => ({ field_path, maximum: operand });
const minimum = (field_path, operand) => ({ field_path, minimum: operand });
const append = (field_path, ...values) => ({ field_path, append_missing_elements: { values } });
const removeAll = (field_path, ...values) => ({ field_path, remove_all_from_array: { values } });

/** Makes what deepEqual should not tell apart the same: an empty map or array with and without its list. */
function normal(object) {
  if (Array.isArray(object)) return object.map(normal);
  if (object === null || typeof object !== 'object' || Buffer.isBuffer(object)) return object;
  const entries = Object.entries(object).map(([key, inner]) => [key, normal(inner)]);
  return Object.fromEntries(entries.filter(([key, inner]) => !((key === 'fields' || key === 'values') && Object.keys(inner).length === 0)));
}

const MAX = v.int('9223372036854775807');
const MIN = v.int('-9223372036854775808');

// stored n, transform, result, n then
const TRANSFORMS = [
  [undefined, increment('n', v.int(5)), v.int(5)],
  [v.int(1), increment('n', v.int(5)), v.int(6)],
  [v.int(1), increment('n', v.double(0.5)), v.double(1.5)],
  [v.double(1.5), increment('n', v.int(1)), v.double(2.5)],
  [MAX, increment('n', v.int(1)), MAX],
  [MIN, increment('n', v.int(-1)), MIN],
  [MAX, increment('n', v.double(0)), v.double(9223372036854775807)],
  [v.string('s'), increment('n', v.int(5)), v.int(5)],
  [v.null, increment('n', v.double(5)), v.double(5)],
  [v.double(NaN), increment('n', v.int(1)), v.double(NaN)],
  [undefined, maximum('n', v.int(5)), v.int(5)],
  [v.int(3), maximum('n', v.int(5)), v.int(5)],
  [v.int(7), maximum('n', v.int(5)), v.int(7)],
  [v.int(3), maximum('n', v.double(3)), v.int(3)],
  [v.double(3), maximum('n', v.int(3)), v.double(3)],
  [v.double(-0), maximum('n', v.int(0)), v.double(-0)],
  [v.int(1), maximum('n', v.double(NaN)), v.double(NaN)],
  [v.double(NaN), maximum('n', v.int(1)), v.double(NaN)],
  [v.string('s'), maximum('n', v.int(1)), v.int(1)],
  [v.int('9007199254740993'), maximum('n', v.double(9007199254740992)), v.int('9007199254740993')],
  [undefined, minimum('n', v.int(5)), v.int(5)],
  [v.int(3), minimum('n', v.int(5)), v.int(3)],
  [v.int(7), minimum('n', v.double(-5.5)), v.double(-5.5)],
  [v.int(3), minimum('n', v.double(3)), v.int(3)],
  [v.int(0), minimum('n', v.double(-0)), v.int(0)],
  [v.int(1), minimum('n', v.double(NaN)), v.double(NaN)],
  [v.map({}), minimum('n', v.int(1)), v.int(1)],
  [undefined, append('n', v.int(1), v.int(1)), v.null, v.array(v.int(1))],
  [v.array(v.int(1), v.string('a')), append('n', v.string('a'), v.string('b')), v.null, v.array(v.int(1), v.string('a'), v.string('b'))],
  [v.array(v.int(1)), append('n', v.double(1)), v.null, v.array(v.int(1))],
  [v.array(v.double(NaN), v.null), append('n', v.double(NaN), v.null), v.null, v.array(v.double(NaN), v.null)],
  [v.array(v.map({ a: v.int(1) })), append('n', v.map({ a: v.int(1) }), v.map({ a: v.int(2) })), v.null, v.array(v.map({ a: v.int(1) }), v.map({ a: v.int(2) }))],
  [v.string('s'), append('n'), v.null, v.array()],
  [v.array(v.int(1), v.int(2), v.int(1)), removeAll('n', v.double(1)), v.null, v.array(v.int(2))],
  [v.array(v.int(1)), removeAll('n', v.int(1), v.int(3)), v.null, v.array()],
  [undefined, removeAll('n', v.int(1)), v.null, v.array()],
  [v.int(1), removeAll('n', v.int(1)), v.null, v.array()],
];

test('transforms, in both forms', async (t) => {
  const forms = {
    update_transforms: (db, ...transforms) => update(db, 'c/x', {}, { update_mask: mask(), update_transforms: transforms }),
    transform: (db, ...field_transforms) => ({ transform: { document: db.doc('c/x'), field_transforms } }),
  };
  for (const [form, write] of Object.entries(forms)) {
    for (const [stored, transform, result, then = result] of TRANSFORMS) {
      const kind = Object.keys(transform)[1];
      await t.test(`${form}: ${kind} ${JSON.stringify(transform[kind])} on ${JSON.stringify(stored)}`, async () => {
        const db = freshDatabase();
        await commit(db, update(db, 'c/x', stored ? { n: stored, keep: v.int(1) } : { keep: v.int(1) }));
        const { write_results } = await commit(db, write(db, transform));
        assert.deepStrictEqual(write_results[0].transform_results, [result]);
        assert.deepStrictEqual(normal(await fieldsOf(db, 'c/x')), normal({ keep: v.int(1), n: then }));
      });
    }
    await t.test(`${form}: server time`, async () => {
      const db = freshDatabase();
      const { write_results, commit_time } = await commit(db, write(db, { field_path: 'at', set_to_server_value: 'REQUEST_TIME' }, { field_path: 'm.at', set_to_server_value: 'REQUEST_TIME' }));
      const [first, second] = write_results[0].transform_results;
      assert.deepEqual(first, second);
      assert.equal((first.timestamp_value.nanos ?? 0) % 1_000_000, 0);
      assert.ok(Math.abs(seconds(first.timestamp_value) - seconds(commit_time)) <= 1);
      assert.deepEqual(await fieldsOf(db, 'c/x'), { at: first, m: v.map({ at: first }) });
    });
    await t.test(`${form}: of a missing document makes it`, async () => {
      const db = freshDatabase();
      await commit(db, write(db, increment('a.b', v.int(2)), append('l', v.int(1))));
      assert.deepEqual(await fieldsOf(db, 'c/x'), { a: v.map({ b: v.int(2) }), l: v.array(v.int(1)) });
    });
    await t.test(`${form}: of a missing document with exists: true`, async () => {
      const db = freshDatabase();
      await fails(commit(db, { ...write(db, increment('n', v.int(1))), current_document: { exists: true } }), code.NOT_FOUND);
    });
    await t.test(`${form}: one path twice, in order`, async () => {
      const db = freshDatabase();
      const { write_results } = await commit(db, write(db, increment('n', v.int(1)), increment('n', v.int(2)), maximum('n', v.int(10))));
      assert.deepEqual(write_results[0].transform_results, [v.int(1), v.int(3), v.int(10)]);
    });
    await t.test(`${form}: what is in the way is replaced`, async () => {
      const db = freshDatabase();
      await commit(db, update(db, 'c/x', { a: v.int(1) }));
      await commit(db, write(db, increment('a.b', v.int(2))));
      assert.deepEqual(await fieldsOf(db, 'c/x'), { a: v.map({ b: v.int(2) }) });
    });
    const refused = [
      ['increment by a string', increment('n', v.string('x'))],
      ['increment by nothing', increment('n', {})],
      ['maximum of a string', maximum('n', v.string('x'))],
      ['minimum of null', minimum('n', v.null)],
      ['an unspecified server value', { field_path: 'n', set_to_server_value: 'SERVER_VALUE_UNSPECIFIED' }],
      ['no transform', { field_path: 'n' }],
      ['no path', increment('', v.int(1))],
      ['a bad path', increment('a..b', v.int(1))],
      ['a reserved name', increment('__x__', v.int(1))],
    ];
    if (!skerryOnly) refused.push(['an array in the array', append('n', v.array())]);
    for (const [name, transform] of refused)
      await t.test(`${form}: refused: ${name}`, async () => {
        const db = freshDatabase();
        await fails(commit(db, write(db, transform)), code.INVALID_ARGUMENT);
        await fails(get(db, 'c/x'), code.NOT_FOUND);
      });
    await t.test(`${form}: refused: a path and one below it`, () => {
      const db = freshDatabase();
      return fails(commit(db, write(db, increment('a', v.int(1)), increment('a.b', v.int(1)))), code.INVALID_ARGUMENT);
    });
    await t.test(`${form}: refused: 501`, { skip: skerryOnly }, () => {
      const db = freshDatabase();
      return fails(commit(db, write(db, ...Array.from({ length: 501 }, (_, i) => increment(`f${i}`, v.int(1))))), code.INVALID_ARGUMENT, /500/);
    });
  }
  await t.test('a field of the update first, then its transform', async () => {
    const db = freshDatabase();
    const { write_results } = await commit(db, update(db, 'c/x', { n: v.int(5) }, { update_mask: mask('n'), update_transforms: [increment('n', v.int(1))] }));
    assert.deepEqual(write_results[0].transform_results, [v.int(6)]);
    assert.deepEqual(await fieldsOf(db, 'c/x'), { n: v.int(6) });
  });
  await t.test('300 and 300 of one document in one commit are too many', { skip: skerryOnly }, () => {
    const db = freshDatabase();
    const half = (letter) => forms.update_transforms(db, ...Array.from({ length: 300 }, (_, i) => increment(letter + i, v.int(1))));
    return fails(commit(db, half('a'), half('b')), code.INVALID_ARGUMENT, /500/);
  });
  await t.test('a transform that changes nothing keeps update_time', async () => {
    const db = freshDatabase();
    const { commit_time } = await commit(db, update(db, 'c/x', { n: v.int(1), l: v.array(v.int(1)) }));
    const { write_results } = await commit(db, forms.transform(db, increment('n', v.int(0)), append('l', v.int(1)), maximum('n', v.int(0))));
    assert.deepEqual(write_results[0].update_time, commit_time);
  });
});

// ---- BatchWrite ----

test('BatchWrite', async (t) => {
  const batchWrite = (db, ...writes) => rpc.call('BatchWrite', { database: db.name, writes });
  await t.test('a status for each', async () => {
    const db = freshDatabase();
    await fill(db, 'c/there', 'c/old');
    const { write_results, status } = await batchWrite(
      db,
      update(db, 'c/a', {}, { update_transforms: [increment('n', v.int(3))] }),
      update(db, 'c/missing', {}, { current_document: { exists: true } }),
      update(db, 'c/there', {}, { current_document: { exists: false } }),
      remove(db, 'c/nothing'),
      remove(db, 'c/old', { current_document: { update_time: { seconds: '1' } } }),
    );
    assert.deepEqual(status.map((one) => one.code ?? 0), [0, code.NOT_FOUND, code.ALREADY_EXISTS, 0, code.FAILED_PRECONDITION]);
    for (const one of status) assert.ok(!one.code || one.message.length > 8);
    assert.equal(write_results.length, 5);
    assert.ok(write_results[0].update_time);
    assert.deepEqual(write_results[0].transform_results, [v.int(3)]);
    assert.deepEqual(write_results.slice(1), [{}, {}, {}, {}]);
    assert.deepEqual(await fieldsOf(db, 'c/a'), { n: v.int(3) });
    assert.deepEqual(await fieldsOf(db, 'c/there'), { n: v.int(1) });
  });
  await t.test('no writes', async () => assert.deepEqual(await batchWrite(freshDatabase()), {}));
  await t.test('refused: the same document twice', async () => {
    const db = freshDatabase();
    await fails(batchWrite(db, update(db, 'c/a'), update(db, 'c/b'), remove(db, 'c/a')), code.INVALID_ARGUMENT);
    await fails(get(db, 'c/b'), code.NOT_FOUND);
  });
  await t.test('refused: a bad name', async () => {
    const db = freshDatabase();
    await fails(batchWrite(db, update(db, 'c/a'), update(db, 'c/__b__')), code.INVALID_ARGUMENT);
    await fails(get(db, 'c/a'), code.NOT_FOUND);
  });
  await t.test('refused: no operation', () => fails(batchWrite(freshDatabase(), {}), code.INVALID_ARGUMENT));
});

// ---- Old versions ----

test('read_time', async (t) => {
  const db = freshDatabase();
  const versions = [];
  for (let i = 0; i < 5; i++) versions.push((await commit(db, update(db, 'c/x', { n: v.int(i) }), update(db, `c/d${i}`), update(db, `k${i}/x`))).commit_time);
  const gone = (await commit(db, remove(db, 'c/x'))).commit_time;
  const before = (time) => microsToTime(timeToMicros(time) - 1n);

  await t.test('GetDocument, to the microsecond', async () => {
    for (const [i, time] of versions.entries()) {
      const read = await get(db, 'c/x', { read_time: time });
      assert.deepEqual(read.fields, { n: v.int(i) });
      assert.deepEqual(read.update_time, time);
      assert.deepEqual(read.create_time, versions[0]);
      if (i > 0) assert.deepEqual((await get(db, 'c/x', { read_time: before(time) })).fields, { n: v.int(i - 1) });
    }
    await fails(get(db, 'c/x', { read_time: before(versions[0]) }), code.NOT_FOUND);
    await fails(get(db, 'c/x', { read_time: gone }), code.NOT_FOUND);
    await fails(get(db, 'c/x'), code.NOT_FOUND);
    assert.ok(await get(db, 'c/x', { read_time: before(gone) }));
  });
  await t.test('lists', async () => {
    assert.deepEqual(ids(await list(db, { read_time: versions[1] })), ['d0', 'd1', 'x']);
    assert.deepEqual(ids(await list(db)), ['d0', 'd1', 'd2', 'd3', 'd4']);
    assert.deepEqual((await rpc.call('ListCollectionIds', { parent: db.root, read_time: versions[1] })).collection_ids, ['c', 'k0', 'k1']);
    const paged = await pages('ListDocuments', { parent: db.root, collection_id: 'c', page_size: 1, read_time: versions[2] }, ids);
    assert.deepEqual(paged.flat(), ['d0', 'd1', 'd2', 'x']);
  });
  const now = Math.floor(Date.now() / 1000);
  const refused = [
    ['in the future', { seconds: String(now + 60) }, code.INVALID_ARGUMENT],
    ['finer than a microsecond', { seconds: versions[0].seconds, nanos: 1 }, code.INVALID_ARGUMENT],
    ['in no year', { seconds: '999999999999' }, code.INVALID_ARGUMENT],
    ['nanos out of range', { seconds: versions[0].seconds, nanos: 1_000_000_000 }, code.INVALID_ARGUMENT],
  ];
  if (!skerryOnly) refused.push(['too old', { seconds: String(now - 7200) }, code.FAILED_PRECONDITION], ['1970', { seconds: '0' }, code.INVALID_ARGUMENT]);
  for (const [name, read_time, wanted] of refused)
    await t.test(`refused: ${name}`, async () => {
      await fails(get(db, 'c/x', { read_time }), wanted);
      await fails(rpc.collect('BatchGetDocuments', { database: db.name, documents: [db.doc('c/x')], read_time }), wanted);
      if (!skerryOnly) await fails(list(db, { read_time }), wanted);
    });
});

// ---- Values that SDKs cannot send ----

test('what is stored is what was sent', async (t) => {
  const db = freshDatabase();
  const values = {
    'U+0000 in a string': v.string('a\u0000b'),
    'U+0000 in a key': v.map({ a: v.int(2), 'a\u0000b': v.int(1) }),
    'a reference elsewhere': v.ref('projects/other/databases/d/documents/c/x'),
    'minus zero': v.double(-0),
    'the smallest integer': MIN,
    'no bytes': v.bytes([]),
    'an empty string': v.string(''),
    false: v.bool(false),
    zero: v.int(0),
    'zero point': { geo_point_value: {} },
    'time zero': { timestamp_value: {} },
    'a vector': v.map({ __type__: v.string('__vector__'), value: v.array(v.double(1.5), v.double(-0)) }),
  };
  for (const [name, sent] of Object.entries(values))
    await t.test(name, async () => {
      await commit(db, update(db, 'c/x', { sent, list: v.array(sent.map_value?.fields.__type__ ? v.null : sent) }));
      const read = (await fieldsOf(db, 'c/x')).sent;
      const plain = (one) => JSON.stringify(normal(one), (_, inner) => (Object.is(inner, -0) ? '-0' : inner));
      const filled = (one) => plain(one).replace('"seconds":"0",', '').replace('"latitude":0,"longitude":0', '');
      assert.equal(filled(read), filled(sent));
    });
});
