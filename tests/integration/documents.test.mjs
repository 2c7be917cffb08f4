// Documents through the official client: what an application does.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer, skerryOnly } from './support/server.mjs';
import { code, fails } from './support/rpc.mjs';
import { connect, disconnectAll, DocumentReference, FieldPath, FieldValue, GeoPoint, Timestamp } from './support/sdk.mjs';

let server;
before(async () => {
  server = await startServer();
});
after(async () => {
  await disconnectAll();
  await server.close();
});

const MIB = 1 << 20;

async function data(reference) {
  return (await reference.get()).data();
}

// ---- The ways to write ----

test('set, get, replace, delete', async () => {
  const rooms = connect(server).collection('rooms');
  const room = rooms.doc('a');
  const missing = await room.get();
  assert.equal(missing.exists, false);
  assert.ok(missing.readTime.toMillis() > 0);

  const { writeTime } = await room.set({ name: 'Ada', seats: 4 });
  const snapshot = await room.get();
  assert.deepEqual(snapshot.data(), { name: 'Ada', seats: 4 });
  assert.ok(snapshot.createTime.isEqual(writeTime));
  assert.ok(snapshot.updateTime.isEqual(writeTime));
  assert.ok(snapshot.readTime.valueOf() >= snapshot.updateTime.valueOf());

  await room.set({ colour: 'red' });
  const replaced = await room.get();
  assert.deepEqual(replaced.data(), { colour: 'red' });
  assert.ok(replaced.createTime.isEqual(snapshot.createTime));
  assert.ok(replaced.updateTime.valueOf() > snapshot.updateTime.valueOf());

  await room.delete();
  assert.equal((await room.get()).exists, false);
  await room.delete(); // of nothing: succeeds
  await room.set({});
  const again = await room.get();
  assert.deepEqual(again.data(), {});
  assert.ok(again.createTime.valueOf() > snapshot.createTime.valueOf());
});

test('create: once', async () => {
  const room = connect(server).doc('rooms/a');
  await room.create({ first: true });
  await fails(room.create({ first: false }), code.ALREADY_EXISTS);
  assert.deepEqual(await data(room), { first: true });
});

test('update: only what is there', async () => {
  const room = connect(server).doc('rooms/a');
  const error = await fails(room.update({ a: 1 }), code.NOT_FOUND);
  if (!skerryOnly) assert.match(error.message, /No document to update: projects\/.*rooms\/a/);
  assert.equal((await room.get()).exists, false);
  await room.set({ a: 1, b: { c: 2, d: 3 }, e: 4 });
  await room.update({ a: 10, 'b.c': 20, 'f.g.h': 30 });
  assert.deepEqual(await data(room), { a: 10, b: { c: 20, d: 3 }, e: 4, f: { g: { h: 30 } } });
  await room.update({ b: { only: true } });
  assert.deepEqual(await data(room), { a: 10, b: { only: true }, e: 4, f: { g: { h: 30 } } });
  await room.update({ e: FieldValue.delete(), 'f.g.h': FieldValue.delete(), 'nothing.here': FieldValue.delete() });
  assert.deepEqual(await data(room), { a: 10, b: { only: true }, f: { g: {} } });
});

test('update through something that is no map replaces it', async () => {
  const room = connect(server).doc('rooms/a');
  await room.set({ a: 1, v: FieldValue.vector([1, 2]), list: [1] });
  await room.update({ 'a.b': 2, 'v.x': 3, 'list.y': 4 });
  assert.deepEqual(await data(room), { a: { b: 2 }, v: { x: 3 }, list: { y: 4 } });
});

const ODD_NAMES = [
  'a.b', 'a b', ' ', '1', '`', '``', '\\', '\\`', 'a`b.c\\d', '*', '~', '/', '[]', 'ä', '名前', '🚀', '\u0000', 'x\u0000y',
  '\n', '__', '___', '_a_', 'a__', "'", '"', '$', '__proto_', 'f'.repeat(1490),
];

test('fields with odd names', async () => {
  const room = connect(server).doc('rooms/a');
  const fields = Object.fromEntries(ODD_NAMES.map((name, i) => [name, i]));
  await room.set({ ...fields, nested: fields });
  assert.deepEqual(await data(room), { ...fields, nested: fields });
  // A mask cannot say U+0000 (docs: a field may be called so, and is written and read with its whole document).
  const sayable = ODD_NAMES.filter((name) => !name.includes('\0'));
  const expected = { ...fields };
  const nested = { ...fields };
  for (const name of sayable) {
    expected[name] = -fields[name];
    delete nested[name];
    await room.update(new FieldPath(name), expected[name], new FieldPath('nested', name), FieldValue.delete());
  }
  assert.deepEqual(await data(room), { ...expected, nested });
  const [masked] = await room.firestore.getAll(room, { fieldMask: [new FieldPath('a`b.c\\d'), new FieldPath('🚀')] });
  assert.deepEqual(masked.data(), { 'a`b.c\\d': expected['a`b.c\\d'], '🚀': expected['🚀'] });
});

test('set with merge', async () => {
  const room = connect(server).doc('rooms/a');
  await room.set({ a: 1, b: { c: 2 } }, { merge: true });
  await room.set({ b: { d: 3 }, e: [1], 'x.y': 1 }, { merge: true });
  assert.deepEqual(await data(room), { a: 1, b: { c: 2, d: 3 }, e: [1], 'x.y': 1 });
  await room.set({ a: FieldValue.delete(), b: { c: FieldValue.delete() } }, { merge: true });
  assert.deepEqual(await data(room), { b: { d: 3 }, e: [1], 'x.y': 1 });
  await room.set({ b: {} }, { merge: true }); // an empty map is a value
  assert.deepEqual(await data(room), { b: {}, e: [1], 'x.y': 1 });
  await room.set({}, { merge: true });
  assert.deepEqual(await data(room), { b: {}, e: [1], 'x.y': 1 });
});

test('set with merge of nothing makes an empty document', async () => {
  const room = connect(server).doc('rooms/a');
  await room.set({}, { merge: true });
  assert.deepEqual(await data(room), {});
});

test('set with mergeFields', async () => {
  const room = connect(server).doc('rooms/a');
  await room.set({ a: 1, b: { c: 2, d: 3 }, e: 4 });
  await room.set({ a: 10, b: { c: 20, d: 30 }, e: 40 }, { mergeFields: ['a', 'b.c'] });
  assert.deepEqual(await data(room), { a: 10, b: { c: 20, d: 3 }, e: 4 });
  await room.set({ b: { z: 1 } }, { mergeFields: ['b'] });
  assert.deepEqual(await data(room), { a: 10, b: { z: 1 }, e: 4 });
  await room.set({ 'o.d': 1, other: 2 }, { mergeFields: [new FieldPath('o.d')] });
  assert.deepEqual(await data(room), { a: 10, b: { z: 1 }, e: 4, 'o.d': 1 });
});

test('add makes ids', async () => {
  const rooms = connect(server).collection('rooms');
  const added = await Promise.all(Array.from({ length: 20 }, (_, i) => rooms.add({ i })));
  assert.equal(new Set(added.map((room) => room.id)).size, 20);
  for (const [i, room] of added.entries()) assert.deepEqual(await data(room), { i });
});

test('an unchanged write keeps update_time', async () => {
  const room = connect(server).doc('rooms/a');
  const first = await room.set({ a: 1, m: { x: [1, 2], t: new Timestamp(5, 0) } });
  const same = [
    () => room.set({ m: { t: new Timestamp(5, 0), x: [1, 2] }, a: 1 }),
    () => room.update({ a: 1 }),
    () => room.update({ 'm.x': [1, 2] }),
    () => room.update({ nothing: FieldValue.delete() }),
    () => room.set({ a: 1 }, { merge: true }),
    () => room.update({ a: FieldValue.increment(0) }),
    () => room.update({ 'm.x': FieldValue.arrayUnion(2) }),
  ];
  for (const write of same) {
    const { writeTime } = await write();
    assert.ok(writeTime.isEqual(first.writeTime), write.toString());
    assert.ok((await room.get()).updateTime.isEqual(first.writeTime), write.toString());
  }
  const changed = [() => room.set({ a: 1.5 }), () => room.set({ a: 2 }), () => room.set({ a: '2' }), () => room.set({})];
  let last = first.writeTime;
  for (const write of changed) {
    const { writeTime } = await write();
    assert.ok(writeTime.valueOf() > last.valueOf(), write.toString());
    last = writeTime;
  }
});

// ---- Preconditions ----

test('preconditions', async (t) => {
  const firestore = connect(server);
  const there = firestore.doc('rooms/there');
  const gone = firestore.doc('rooms/gone');
  const { writeTime } = await there.set({ a: 1 });
  const wrong = Timestamp.fromMillis(writeTime.toMillis() - 1000);
  const cases = [
    ['delete, exists: true, missing', () => gone.delete({ exists: true }), code.NOT_FOUND],
    ['delete, lastUpdateTime, missing', () => gone.delete({ lastUpdateTime: writeTime }), code.FAILED_PRECONDITION],
    ['delete, lastUpdateTime, wrong', () => there.delete({ lastUpdateTime: wrong }), code.FAILED_PRECONDITION],
    ['update, lastUpdateTime, wrong', () => there.update({ a: 2 }, { lastUpdateTime: wrong }), code.FAILED_PRECONDITION],
    ['update, lastUpdateTime, missing', () => gone.update({ a: 2 }, { lastUpdateTime: writeTime }), code.FAILED_PRECONDITION],
    ['create, there', () => there.create({ a: 2 }), code.ALREADY_EXISTS],
  ];
  for (const [name, write, wanted] of cases)
    await t.test(name, async () => {
      await fails(write(), wanted);
      assert.deepEqual(await data(there), { a: 1 });
      assert.equal((await gone.get()).exists, false);
    });
  await t.test('the right time', async () => {
    const next = await there.update({ a: 2 }, { lastUpdateTime: writeTime });
    await fails(there.update({ a: 3 }, { lastUpdateTime: writeTime }), code.FAILED_PRECONDITION);
    await there.delete({ lastUpdateTime: next.writeTime });
    assert.equal((await there.get()).exists, false);
  });
  await t.test('delete, exists: true, there', async () => {
    await there.set({});
    await there.delete({ exists: true });
    assert.equal((await there.get()).exists, false);
  });
});

// ---- Values ----

const DOUBLES = [0.5, -1.5, 1e300, 5e-324, Number.MAX_VALUE, Number.EPSILON, NaN, Infinity, -Infinity, -0, 2 ** 60 + 0.0, 0.1];
const STRINGS = [
  '', 'a', 'ä', '漢字', '🚀', '\u0000', 'a\u0000b', '\u0000\u0000', '\uffff', '\u{10ffff}', ' \t\r\n', '"\\', 'x'.repeat(100_000),
  '\ufeff', '\u202e',
];

test('values come back as they were', async (t) => {
  const firestore = connect(server);
  const other = firestore.doc('rooms/other');
  const cases = {
    null: [null],
    boolean: [true, false],
    integer: [0, 1, -1, 2 ** 31, -(2 ** 31), Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER],
    double: DOUBLES,
    string: STRINGS,
    bytes: [Buffer.alloc(0), Buffer.from([0]), Buffer.from(Array.from({ length: 256 }, (_, i) => i)), Buffer.alloc(200_000, 0xff)],
    timestamp: [
      new Timestamp(0, 0), new Timestamp(1, 0), new Timestamp(0, 1000), new Timestamp(-1, 0), new Timestamp(-1, 999_999_000),
      new Timestamp(-62_135_596_800, 0), new Timestamp(253_402_300_799, 999_999_000), new Timestamp(1_700_000_000, 123_456_000),
    ],
    point: [new GeoPoint(0, 0), new GeoPoint(90, 180), new GeoPoint(-90, -180), new GeoPoint(1e-300, -0.1)],
    reference: [other, firestore.doc('a/b/c/d'), firestore.doc('rooms/🚀'), firestore.doc('rooms/`a b.c')],
    array: [[], [null], [1, 'a', true, null, { a: [1] }], [{}, {}], Array.from({ length: 5000 }, (_, i) => i)],
    map: [{}, { a: {} }, { a: { b: { c: { d: [] } } } }, Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`k${i}`, i]))],
  };
  for (const [type, values] of Object.entries(cases))
    await t.test(type, async () => {
      const client = connect(server, { projectId: firestore.projectId });
      for (const [i, value] of values.entries()) {
        const room = client.doc(`values/${type}${i}`);
        await room.set({ value: value instanceof DocumentReference ? client.doc(value.path) : value });
        const read = (await room.get()).get('value');
        if (value instanceof DocumentReference) assert.equal(read.path, value.path);
        else assert.deepStrictEqual(read, value);
      }
    });
});

test('integers of 64 bits', async () => {
  const firestore = connect(server, { useBigInt: true });
  const room = firestore.doc('rooms/a');
  const all = [0n, 1n, -1n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n), 255n, 2n ** 32n];
  await room.set({ all });
  assert.deepStrictEqual(await data(room), { all });
});

test('times are cut to microseconds, downwards', async () => {
  const room = connect(server).doc('rooms/a');
  const cases = [
    [new Timestamp(1, 999_999_999), new Timestamp(1, 999_999_000)],
    [new Timestamp(-1, 999), new Timestamp(-1, 0)],
    [new Timestamp(-1, 1_999), new Timestamp(-1, 1_000)],
    [new Timestamp(0, 1), new Timestamp(0, 0)],
  ];
  await room.set({ times: cases.map(([sent]) => sent) });
  assert.deepStrictEqual((await data(room)).times, cases.map(([, stored]) => stored));
});

test('vectors', async () => {
  const room = connect(server).doc('rooms/a');
  const vectors = [[1], [0.5, -0.5, 1e-300], [0, -0, 1e308], Array.from({ length: 2048 }, (_, i) => i / 7)];
  for (const numbers of vectors) {
    await room.set({ vector: FieldValue.vector(numbers), map: { deep: FieldValue.vector(numbers) } });
    const read = await data(room);
    assert.deepStrictEqual(read.vector.toArray(), numbers);
    assert.deepStrictEqual(read.map.deep.toArray(), numbers);
  }
  await fails(room.set({ vector: FieldValue.vector(Array(2049).fill(1)) }), code.INVALID_ARGUMENT, /2,?048/);
});

function nested(depth, leaf) {
  let value = leaf;
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? { m: value } : [value];
  return value;
}

test('as deeply nested as the client sends', async () => {
  const room = connect(server).doc('rooms/a');
  const deep = { value: nested(19, 'leaf') };
  await room.set(deep);
  assert.deepEqual(await data(room), deep);
});

test('sizes: 1 MiB a document', async () => {
  const firestore = connect(server);
  const room = firestore.doc('rooms/a');
  await room.set({ a: 'x'.repeat(500_000), b: Buffer.alloc(500_000) });
  await fails(room.update({ c: 'x'.repeat(100_000) }), code.INVALID_ARGUMENT);
  await fails(room.set({ a: 'x'.repeat(600_000), b: 'y'.repeat(600_000) }), code.INVALID_ARGUMENT);
  assert.equal((await data(room)).a.length, 500_000);
  await fails(room.set({ a: 'x'.repeat(1_048_488) }), code.INVALID_ARGUMENT, /1048487 bytes/);
  await room.set({ a: 'é'.repeat(500_000) });
  await fails(room.set({ a: 'é'.repeat(530_000) }), code.INVALID_ARGUMENT);
  assert.equal((await data(room)).a.length, 500_000);
  // Together more than one document may be, in one commit: nine of about 1 MiB are within a request's 10 MiB.
  const COUNT = skerryOnly ? 3 : 9;
  const batch = firestore.batch();
  for (let i = 0; i < COUNT; i++) batch.set(firestore.doc(`big/${i}`), { a: 'x'.repeat(MIB - 1000) });
  await batch.commit();
  const large = await firestore.getAll(...Array.from({ length: COUNT }, (_, i) => firestore.doc(`big/${i}`)));
  assert.ok(large.every((snapshot) => snapshot.get('a').length === MIB - 1000));
});

test('a document of exactly the limit, and one byte more', async () => {
  // Storage size: the name (16 bytes, and each id and 1), 32 bytes, and for a field its name and 1, and its value and 1.
  const room = connect(server).doc('c/d');
  const overhead = 16 + 2 + 2 + 32 + 2;
  const text = (bytes) => ({ a: 'x'.repeat(500_000), b: 'y'.repeat(bytes - 500_000 - overhead - 1 - 1 - 2) });
  await room.set(text(MIB));
  await fails(room.set(text(MIB + 1)), code.INVALID_ARGUMENT);
});

// ---- Names ----

test('names at their limits', async (t) => {
  const firestore = connect(server);
  const good = [
    'c/d', 'rooms/ü', 'rooms/🚀', 'rooms/a b', 'rooms/`', "rooms/'", 'rooms/a.b', 'rooms/...', 'rooms/_x_', 'rooms/__id7__',
    'rooms/%2F', 'rooms/\u0001', `${'c'.repeat(1500)}/${'d'.repeat(1500)}`, `rooms/${'é'.repeat(750)}`, Array(100).fill('c/d').join('/'),
    '_/_', 'ROOMS/D', 'rooms/__', 'rooms/-',
  ];
  for (const name of good)
    await t.test(`taken: ${name.slice(0, 30)}`, async () => {
      await firestore.doc(name).set({ name });
      assert.deepEqual(await data(firestore.doc(name)), { name });
    });
  const bad = [
    'rooms/.', 'rooms/..', './a', '../a', 'rooms/__x__', '__x__/a', '__id7__/a', `rooms/${'d'.repeat(1501)}`, `${'c'.repeat(1501)}/d`,
    `rooms/${'é'.repeat(751)}`, Array(101).fill('c/d').join('/'),
  ];
  if (!skerryOnly) bad.push(Array(3).fill(`${'c'.repeat(1100)}/${'d'.repeat(1100)}`).join('/'));
  for (const name of bad)
    await t.test(`refused: ${name.slice(0, 30)}`, async () => {
      await fails(firestore.doc(name).set({ name }), code.INVALID_ARGUMENT);
    });
});

test('field names that are refused', async () => {
  const room = connect(server).doc('rooms/a');
  for (const name of ['__x__', '__name__', '____', 'f'.repeat(1501), 'é'.repeat(751)]) {
    if (skerryOnly && name === '____') continue; // the emulator takes it
    await fails(room.set({ [name]: 1 }), code.INVALID_ARGUMENT);
    await fails(room.set({ map: { [name]: 1 } }), code.INVALID_ARGUMENT);
    await fails(room.set({ list: [{ [name]: 1 }] }), code.INVALID_ARGUMENT);
  }
  assert.equal((await room.get()).exists, false);
});

// ---- Sentinels ----

test('serverTimestamp', async () => {
  const firestore = connect(server);
  const [a, b] = [firestore.doc('rooms/a'), firestore.doc('rooms/b')];
  const before = Date.now();
  const batch = firestore.batch();
  batch.set(a, { at: FieldValue.serverTimestamp(), deep: { at: FieldValue.serverTimestamp() } });
  batch.set(b, { at: FieldValue.serverTimestamp() });
  const [{ writeTime }] = await batch.commit();
  const read = await data(a);
  assert.ok(read.at.isEqual(read.deep.at));
  assert.ok(read.at.isEqual((await data(b)).at), 'the same for the whole commit');
  assert.equal(read.at.nanoseconds % 1_000_000, 0, 'whole milliseconds');
  assert.ok(Math.abs(read.at.toMillis() - before) < 30_000);
  assert.ok(Math.abs(read.at.toMillis() - writeTime.toMillis()) <= 30_000);
});

test('increment', async (t) => {
  const firestore = connect(server, { useBigInt: true });
  const MAX = 2n ** 63n - 1n;
  const MIN = -(2n ** 63n);
  const cases = [
    // stored, operands, then
    [undefined, [1], 1n], [undefined, [0.5], 0.5], [5n, [1, 1, -10], -3n], [5n, [0.5], 5.5], [0.5, [1], 1.5], ['text', [7], 7n], [null, [7], 7n],
    [[1n], [7], 7n], [MAX, [1], MAX], [MAX - 1n, [1], MAX], [MIN, [-1], MIN], [MIN, [1], MIN + 1n], [NaN, [1], NaN],
    [Infinity, [-Infinity], NaN], [1e308, [1e308], Infinity], [{ a: 1n }, [0.25], 0.25],
  ];
  for (const [i, [stored, operands, then]] of cases.entries())
    await t.test(`${stored} ${operands}`, async () => {
      const room = firestore.doc(`rooms/${i}`);
      await room.set(stored === undefined ? {} : { n: stored });
      for (const operand of operands) await room.update({ n: FieldValue.increment(operand) });
      assert.deepStrictEqual((await room.get()).get('n'), then);
    });
  await t.test('of a missing document, by set with merge', async () => {
    const room = firestore.doc('rooms/new');
    await room.set({ n: FieldValue.increment(3), deep: { n: FieldValue.increment(4) } }, { merge: true });
    assert.deepEqual(await data(room), { n: 3n, deep: { n: 4n } });
  });
  await t.test('200 at once lose nothing', async () => {
    const room = firestore.doc('rooms/counter');
    await Promise.all(Array.from({ length: 200 }, () => room.set({ n: FieldValue.increment(1) }, { merge: true })));
    assert.deepEqual(await data(room), { n: 200n });
  });
});

test('arrayUnion and arrayRemove', async () => {
  const room = connect(server).doc('rooms/a');
  const list = async () => (await room.get()).get('list');
  await room.set({ list: FieldValue.arrayUnion(1, 2, 1) });
  assert.deepEqual(await list(), [1, 2]);
  await room.update({ list: FieldValue.arrayUnion(3, 2, { a: 1 }, null, NaN) });
  assert.deepEqual(await list(), [1, 2, 3, { a: 1 }, null, NaN]);
  await room.update({ list: FieldValue.arrayUnion({ a: 1 }, null, NaN) });
  assert.deepEqual(await list(), [1, 2, 3, { a: 1 }, null, NaN]);
  await room.update({ list: FieldValue.arrayRemove(2, { a: 1 }, NaN, 'absent') });
  assert.deepEqual(await list(), [1, 3, null]);
  await room.set({ list: [1, 1, 2, 1] });
  await room.update({ list: FieldValue.arrayRemove(1) });
  assert.deepEqual(await list(), [2]);
  await room.set({ list: 'no array' });
  await room.update({ list: FieldValue.arrayUnion('a') });
  assert.deepEqual(await list(), ['a']);
  await room.set({ list: 'no array' });
  await room.update({ list: FieldValue.arrayRemove('a'), 'deep.list': FieldValue.arrayRemove(1) });
  assert.deepEqual(await data(room), { list: [], deep: { list: [] } });
});

test('sentinels beside plain values', async () => {
  const room = connect(server).doc('rooms/a');
  await room.set({ gone: 1, n: 1, list: [1], map: { a: 1, b: 2 } });
  await room.update({
    gone: FieldValue.delete(), n: FieldValue.increment(1), list: FieldValue.arrayUnion(2), 'map.a': FieldValue.delete(), plain: 'x',
    at: FieldValue.serverTimestamp(),
  });
  const { at, ...rest } = await data(room);
  assert.deepEqual(rest, { n: 2, list: [1, 2], map: { b: 2 }, plain: 'x' });
  assert.ok(at instanceof Timestamp);
});

test('500 transforms a document, not 501', { skip: skerryOnly }, async () => {
  const room = connect(server).doc('rooms/a');
  const fields = (count) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, FieldValue.increment(1)]));
  await room.set(fields(500));
  assert.equal(Object.keys(await data(room)).length, 500);
  await fails(room.set(fields(501)), code.INVALID_ARGUMENT, /500/);
});

// ---- Many at once ----

test('a batch is all or nothing', async () => {
  const firestore = connect(server);
  await firestore.doc('rooms/there').set({ n: 1 });
  const batch = firestore.batch();
  batch.set(firestore.doc('rooms/new'), { n: 1 });
  batch.update(firestore.doc('rooms/there'), { n: 2 });
  batch.delete(firestore.doc('rooms/there'));
  batch.create(firestore.doc('rooms/other'), {});
  batch.update(firestore.doc('rooms/missing'), { n: 1 });
  await fails(batch.commit(), code.NOT_FOUND);
  assert.deepEqual(await data(firestore.doc('rooms/there')), { n: 1 });
  for (const name of ['new', 'other', 'missing']) assert.equal((await firestore.doc(`rooms/${name}`).get()).exists, false, name);
});

test('a batch: one time, in order', async () => {
  const firestore = connect(server);
  const batch = firestore.batch();
  const room = firestore.doc('rooms/a');
  batch.create(room, { n: 1, keep: true });
  batch.update(room, { n: 2 });
  batch.update(room, { n: FieldValue.increment(5) });
  for (let i = 0; i < 600; i++) batch.set(firestore.doc(`many/${i}`), { i });
  batch.set(firestore.doc('rooms/b'), {});
  batch.delete(firestore.doc('rooms/b'));
  const results = await batch.commit();
  assert.equal(results.length, 605);
  const times = new Set(results.slice(0, 604).map((result) => result.writeTime.valueOf()));
  assert.equal(times.size, 1);
  assert.deepEqual(await data(room), { n: 7, keep: true });
  assert.equal((await firestore.doc('rooms/b').get()).exists, false);
  assert.deepEqual(await data(firestore.doc('many/599')), { i: 599 });
  assert.deepEqual(await firestore.batch().commit(), []);
});

test('BulkWriter: thousands of documents', async () => {
  const firestore = connect(server);
  const writer = firestore.bulkWriter({ throttling: false });
  const COUNT = 3000;
  let results = 0;
  writer.onWriteResult(() => void results++);
  for (let i = 0; i < COUNT; i++) void writer.set(firestore.doc(`bulk/${i}`), { i, text: 'x'.repeat(i % 100) });
  await writer.close();
  assert.equal(results, COUNT);
  const references = await firestore.collection('bulk').listDocuments();
  assert.equal(references.length, COUNT);
  const snapshots = await firestore.getAll(...references);
  for (const snapshot of snapshots) assert.equal(snapshot.get('i'), Number(snapshot.id));
});

test('BulkWriter: each write has its own end', async () => {
  const firestore = connect(server);
  await firestore.doc('bulk/there').set({ n: 1 });
  const writer = firestore.bulkWriter();
  writer.onWriteError(() => false);
  const outcomes = await Promise.allSettled([
    writer.create(firestore.doc('bulk/new'), { n: 1 }),
    writer.create(firestore.doc('bulk/there'), { n: 2 }),
    writer.update(firestore.doc('bulk/missing'), { n: 2 }),
    writer.delete(firestore.doc('bulk/nothing')),
    writer.close(),
  ].map((promise) => Promise.resolve(promise)));
  assert.deepEqual(outcomes.map((outcome) => outcome.reason?.code ?? 'ok'), ['ok', code.ALREADY_EXISTS, code.NOT_FOUND, 'ok', 'ok']);
  assert.deepEqual(await data(firestore.doc('bulk/new')), { n: 1 });
  assert.deepEqual(await data(firestore.doc('bulk/there')), { n: 1 });
});

test('getAll: order, missing ones, duplicates, masks', async () => {
  const firestore = connect(server);
  const [a, b, c] = ['a', 'b', 'c'].map((id) => firestore.doc(`rooms/${id}`));
  await a.set({ n: 1, map: { x: 1, y: 2 }, 'o.d': 3 });
  await c.set({ n: 3 });
  const all = await firestore.getAll(c, b, a, c);
  assert.deepEqual(all.map((one) => [one.id, one.exists]), [['c', true], ['b', false], ['a', true], ['c', true]]);
  assert.equal(new Set(all.map((one) => one.readTime.valueOf())).size, 1, 'one read time');
  const [masked, other] = await firestore.getAll(a, c, { fieldMask: ['map.y', new FieldPath('o.d'), 'absent'] });
  assert.deepEqual(masked.data(), { map: { y: 2 }, 'o.d': 3 });
  assert.deepEqual(other.data(), {});
  assert.ok(masked.updateTime.valueOf() > 0);
  const [nothing] = await firestore.getAll(a, { fieldMask: [] });
  assert.equal(nothing.exists, true);
});

// ---- Lists ----

test('listDocuments shows missing ones, in order, over pages', async () => {
  const firestore = connect(server);
  const writer = firestore.batch();
  for (const name of ['c/b', 'c/a', 'c/é', 'c/__id2__', 'c/__id10__', 'c/hidden/sub/x', 'c/zz/sub/y/sub/z', 'cc/other', 'b/other', 'c/a/sub/1', 'c/B'])
    writer.set(firestore.doc(name), {});
  await writer.commit();
  const ids = (await firestore.collection('c').listDocuments()).map((reference) => reference.id);
  assert.deepEqual(ids, ['__id2__', '__id10__', 'B', 'a', 'b', 'hidden', 'zz', 'é']);
  for (const id of ids) {
    const snapshot = await firestore.collection('c').doc(id).get();
    assert.equal(snapshot.exists, !['hidden', 'zz'].includes(id), id);
  }
  assert.deepEqual(await firestore.collection('nothing').listDocuments(), []);
  assert.deepEqual((await firestore.collection('c/hidden/sub').listDocuments()).map((one) => one.path), ['c/hidden/sub/x']);
});

test('listDocuments with thousands', async () => {
  const firestore = connect(server);
  for (let start = 0; start < 2500; start += 500) {
    const batch = firestore.batch();
    for (let i = start; i < start + 500; i++) batch.set(firestore.doc(`many/${String(i).padStart(5, '0')}`), { i });
    await batch.commit();
  }
  const ids = (await firestore.collection('many').listDocuments()).map((one) => Number(one.id));
  assert.deepEqual(ids, Array.from({ length: 2500 }, (_, i) => i));
});

test('listCollections', async () => {
  const firestore = connect(server);
  const batch = firestore.batch();
  const names = Array.from({ length: 150 }, (_, i) => `k${String(i).padStart(3, '0')}`);
  for (const name of names) batch.set(firestore.doc(`${name}/d`), {});
  batch.set(firestore.doc('a/missing/below/d'), {});
  batch.set(firestore.doc('k000/d/sub2/x'), {});
  batch.set(firestore.doc('k000/d/sub1/x'), {});
  await batch.commit();
  assert.deepEqual((await firestore.listCollections()).map((one) => one.id), ['a', ...names]);
  assert.deepEqual((await firestore.doc('k000/d').listCollections()).map((one) => one.id), ['sub1', 'sub2']);
  assert.deepEqual((await firestore.doc('a/missing').listCollections()).map((one) => one.id), ['below']);
  assert.deepEqual(await firestore.doc('a/none').listCollections(), []);
  await firestore.doc('k000/d/sub1/x').delete();
  assert.deepEqual((await firestore.doc('k000/d').listCollections()).map((one) => one.id), ['sub2']);
});

// ---- Projects and databases ----

test('projects and databases are apart', async () => {
  const projectId = `apart-${process.pid}`;
  const clients = [
    connect(server, { projectId }),
    connect(server, { projectId, databaseId: 'orders' }),
    connect(server, { projectId, databaseId: 'orders-2' }),
    connect(server, { projectId: `${projectId}-b` }),
    connect(server, { projectId: `${projectId}-b`, databaseId: 'orders' }),
  ];
  for (const [i, client] of clients.entries()) {
    await client.doc('rooms/a').set({ i });
    await client.doc(`only${i}/a`).set({});
  }
  for (const [i, client] of clients.entries()) {
    assert.deepEqual(await data(client.doc('rooms/a')), { i });
    assert.deepEqual((await client.listCollections()).map((one) => one.id), [`only${i}`, 'rooms']);
  }
  await clients[0].doc('rooms/a').delete();
  assert.deepEqual(await data(clients[1].doc('rooms/a')), { i: 1 });
});

// ---- Names that are none ----

test('names that are none', { skip: skerryOnly }, async () => {
  const firestore = connect(server);
  await Promise.all([
    fails(firestore.doc('rooms/__x__').get(), code.INVALID_ARGUMENT),
    fails(firestore.doc(`rooms/${'d'.repeat(1501)}`).get(), code.INVALID_ARGUMENT),
  ]);
});
