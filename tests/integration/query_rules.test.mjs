// Queries as requests: what production refuses is refused, with its reason; what an SDK does not send is answered well.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startServer, isEmulator, skerryOnly } from './support/server.mjs';
import { Rpc, code, fails, freshDatabase, value as v } from './support/rpc.mjs';

let server, rpc, db;
before(async () => {
  server = await startServer();
  rpc = new Rpc(server.address);
  db = freshDatabase();
  const document = (path, fields) => ({ update: { name: db.doc(path), fields } });
  await rpc.call('Commit', {
    database: db.name,
    writes: [
      ...Array.from({ length: 9 }, (_, i) => document(`c/${i}`, { n: v.int(i), m: v.int(i % 2), t: v.string(`t${i}`) })),
      document('c/0/s/x', { n: v.int(1) }),
    ],
  });
});
after(async () => {
  rpc?.close();
  await server?.close();
});

// ---- Requests ----

const field = (field_path) => ({ field_path });
const filter = (path, op, value) => ({ field_filter: { field: field(path), op, value } });
const unary = (path, op) => ({ unary_filter: { field: field(path), op } });
const composite = (op, ...filters) => ({ composite_filter: { op, filters } });
const order = (path, direction = 'ASCENDING') => ({ field: field(path), direction });
const from = [{ collection_id: 'c' }];
const numbers = (count) => v.array(...Array.from({ length: count }, (_, i) => v.int(i)));
const vector = (...items) => v.map({ __type__: v.string('__vector__'), value: v.array(...items.map(v.double)) });

const run = (structured_query, more = {}) => rpc.collect('RunQuery', { parent: db.root, structured_query: { from, ...structured_query }, ...more });
const aggregate = (aggregations, structured_query = {}, more = {}) =>
  rpc.collect('RunAggregationQuery', { parent: db.root, structured_aggregation_query: { structured_query: { from, ...structured_query }, aggregations }, ...more });
const ids = (responses) => responses.filter((one) => one.document).map((one) => one.document.name.slice(db.root.length + 3));

// What the emulator answers although the documentation refuses it.
const LENIENT = ['a composite filter of nothing', 'filters 40 deep', 'a value that is too deep', 'a reserved result field', 'a reserved alias', 'count up to 0'];

async function refuse(t, cases, send = run) {
  for (const [name, query, pattern] of cases)
    await t.test(name, { skip: isEmulator && LENIENT.includes(name) }, async () => {
      const error = await fails(send(query), code.INVALID_ARGUMENT, isEmulator ? undefined : pattern);
      assert.ok(!/internal|assert|unknown error/i.test(error.details), error.details);
    });
}

// ---- Rules ----

test('filters that are refused', async (t) => {
  const deep = (levels) => (levels === 0 ? filter('n', 'EQUAL', v.int(1)) : composite('AND', deep(levels - 1), filter('m', 'EQUAL', v.int(1))));
  const many = (count) => composite('AND', ...Array.from({ length: count }, (_, i) => filter(`f${i}`, 'EQUAL', v.int(i))));
  await refuse(t, [
    ['no operator', { where: filter('n', 'OPERATOR_UNSPECIFIED', v.int(1)) }],
    ['an operator that does not exist', { where: { field_filter: { field: field('n'), op: 77, value: v.int(1) } } }],
    ['no value', { where: { field_filter: { field: field('n'), op: 'EQUAL' } } }],
    ['an empty value', { where: filter('n', 'EQUAL', {}) }],
    ['no field', { where: { field_filter: { op: 'EQUAL', value: v.int(1) } } }],
    ['a broken field', { where: filter('a..b', 'EQUAL', v.int(1)) }],
    ['a reserved field', { where: filter('__x__', 'EQUAL', v.int(1)) }],
    ['a unary filter without an operator', { where: unary('n', 'OPERATOR_UNSPECIFIED') }],
    ['a unary filter without a field', { where: { unary_filter: { op: 'IS_NULL' } } }],
    ['an empty filter', { where: {} }],
    ['a composite filter of nothing', { where: composite('AND') }],
    ['a composite filter without an operator', { where: composite('OPERATOR_UNSPECIFIED', filter('n', 'EQUAL', v.int(1)), filter('m', 'EQUAL', v.int(1))) }],
    ['in, no array', { where: filter('n', 'IN', v.int(1)) }, /array/i],
    ['in, an empty array', { where: filter('n', 'IN', v.array()) }],
    ['in, 31 values', { where: filter('n', 'IN', numbers(31)) }, /30/],
    ['in, 100,000 values', { where: filter('n', 'IN', numbers(100_000)) }],
    ['array-contains-any, no array', { where: filter('n', 'ARRAY_CONTAINS_ANY', v.int(1)) }, /array/i],
    ['array-contains-any, an empty array', { where: filter('n', 'ARRAY_CONTAINS_ANY', v.array()) }],
    ['array-contains-any, 31 values', { where: filter('n', 'ARRAY_CONTAINS_ANY', numbers(31)) }, /30/],
    ['not-in, no array', { where: filter('n', 'NOT_IN', v.int(1)) }, /array/i],
    ['not-in, an empty array', { where: filter('n', 'NOT_IN', v.array()) }],
    ['not-in, 11 values', { where: filter('n', 'NOT_IN', numbers(11)) }, /10/],
    ['not-in and in', { where: composite('AND', filter('n', 'NOT_IN', numbers(2)), filter('m', 'IN', numbers(2))) }, /NOT_IN|not-in/i],
    ['not-in and array-contains-any', { where: composite('AND', filter('n', 'NOT_IN', numbers(2)), filter('m', 'ARRAY_CONTAINS_ANY', numbers(2))) }],
    ['not-in and !=', { where: composite('AND', filter('n', 'NOT_IN', numbers(2)), filter('m', 'NOT_EQUAL', v.int(2))) }],
    ['not-in and OR', { where: composite('AND', filter('n', 'NOT_IN', numbers(2)), composite('OR', filter('m', 'EQUAL', v.int(1)), filter('m', 'EQUAL', v.int(2)))) }],
    ['two !=', { where: composite('AND', filter('n', 'NOT_EQUAL', v.int(2)), filter('m', 'NOT_EQUAL', v.int(2))) }],
    ['two not-in', { where: composite('AND', filter('n', 'NOT_IN', numbers(2)), filter('m', 'NOT_IN', numbers(2))) }],
    ['two array-contains', { where: composite('AND', filter('n', 'ARRAY_CONTAINS', v.int(2)), filter('m', 'ARRAY_CONTAINS', v.int(2))) }],
    ['array-contains and array-contains-any', { where: composite('AND', filter('n', 'ARRAY_CONTAINS', v.int(2)), filter('m', 'ARRAY_CONTAINS_ANY', numbers(2))) }],
    ['more than 30 disjunctions', { where: composite('AND', filter('n', 'IN', numbers(6)), filter('m', 'IN', numbers(6))) }, /30/],
    ['11 fields with inequalities', { where: composite('AND', ...Array.from({ length: 11 }, (_, i) => filter(`f${i}`, 'GREATER_THAN', v.int(1)))) }],
    ['101 filters', { where: many(101) }],
    ['10,000 filters', { where: many(10_000) }],
    ['filters 40 deep', { where: deep(40) }],
    ['a name that is no reference', { where: filter('__name__', 'EQUAL', v.string('x')) }],
    ['a name that is no document', { where: filter('__name__', 'EQUAL', v.ref(db.doc('c'))) }],
    ['a name in another database', { where: filter('__name__', 'EQUAL', v.ref('projects/other/databases/(default)/documents/c/1')) }],
    ['a name that is null', { where: unary('__name__', 'IS_NULL') }],
    ['names in, not references', { where: filter('__name__', 'IN', numbers(2)) }],
    ['array-contains on names', { where: filter('__name__', 'ARRAY_CONTAINS', v.ref(db.doc('c/1'))) }],
    ['a value that is too deep', { where: filter('n', 'EQUAL', Array.from({ length: 30 }).reduce((inner) => v.map({ a: inner }), v.int(1))) }],
  ]);
});

test('what the edge of a rule allows', async (t) => {
  const cases = [
    ['in, 30 values', { where: filter('n', 'IN', numbers(30)) }, 9],
    ['not-in, 10 values', { where: filter('n', 'NOT_IN', numbers(10)) }, 0],
    ['!= and an inequality', { where: composite('AND', filter('n', 'NOT_EQUAL', v.int(3)), filter('m', 'GREATER_THAN', v.int(0))) }, 3],
    ['10 fields with inequalities', { where: composite('AND', ...Array.from({ length: 10 }, (_, i) => filter(`f${i}`, 'GREATER_THAN', v.int(1)))) }, 0],
    ['a composite filter of one', { where: composite('AND', filter('n', 'EQUAL', v.int(1))) }, 1],
    ['an array equals an array', { where: filter('n', 'EQUAL', v.array(v.int(1))) }, 0],
    ['limit 0', { limit: { value: 0 } }, 0],
    ['a quoted field', { where: filter('`n`', 'EQUAL', v.int(1)) }, 1],
    ['is-not-nan', { where: unary('n', 'IS_NOT_NAN') }, 9],
    ['is-not-null of a field that is missing', { where: unary('zzz', 'IS_NOT_NULL') }, 0],
    ['the same equality twice', { where: composite('AND', filter('n', 'EQUAL', v.int(1)), filter('n', 'EQUAL', v.int(1))) }, 1],
    ['equalities that exclude each other', { where: composite('AND', filter('n', 'EQUAL', v.int(1)), filter('n', 'EQUAL', v.int(2))) }, 0],
  ];
  for (const [name, query, wanted] of cases)
    await t.test(name, { skip: isEmulator && name === 'limit 0' }, async () => assert.equal(ids(await run(query)).length, wanted));
});

test('orders, cursors, limits that are refused', async (t) => {
  await refuse(t, [
    ['no field to order by', { order_by: [{ direction: 'ASCENDING' }] }],
    ['a broken field to order by', { order_by: [order('a.')] }],
    ['a direction that does not exist', { order_by: [{ field: field('n'), direction: 9 }] }],
    ['the same field twice', { order_by: [order('n'), order('n', 'DESCENDING')] }],
    ['120 orders', { order_by: Array.from({ length: 120 }, (_, i) => order(`f${i}`)) }],
    ['more values than orders', { order_by: [order('n')], start_at: { values: [v.int(1), v.ref(db.doc('c/1')), v.int(3)] } }, /cursor|values/i],
    ['an empty cursor value', { order_by: [order('n')], start_at: { values: [{}] } }],
    ['a cursor for a name that is none', { order_by: [order('__name__')], start_at: { values: [v.string('1')] } }],
    ['a negative limit', { limit: { value: -1 } }, /limit/i],
    ['a negative offset', { offset: -1 }, /offset/i],
    ['a broken projection', { select: { fields: [field('a..b')] } }],
  ]);
});

test('places that are refused', async (t) => {
  await refuse(t, [
    ['a collection id with a slash', { from: [{ collection_id: 'c/d' }] }],
    ['a reserved collection id', { from: [{ collection_id: '__c__' }] }],
    ['two collections', { from: [{ collection_id: 'c' }, { collection_id: 'd' }] }],
  ]);
  await t.test('no query', () => fails(rpc.collect('RunQuery', { parent: db.root }), code.INVALID_ARGUMENT));
  await t.test('no parent', () => fails(rpc.collect('RunQuery', { structured_query: { from } }), code.INVALID_ARGUMENT));
  await t.test('a collection as parent', () => fails(rpc.collect('RunQuery', { parent: db.doc('c'), structured_query: { from } }), code.INVALID_ARGUMENT));
});

test('find_nearest that is refused', async (t) => {
  const nearest = (more) => ({ find_nearest: { vector_field: field('e'), query_vector: vector(1, 2), distance_measure: 'EUCLIDEAN', limit: { value: 3 }, ...more } });
  await refuse(t, [
    ['no limit', nearest({ limit: undefined })],
    ['limit 0', nearest({ limit: { value: 0 } })],
    ['limit 1001', nearest({ limit: { value: 1001 } }), /1,?000/],
    ['no measure', nearest({ distance_measure: 'DISTANCE_MEASURE_UNSPECIFIED' })],
    ['no vector', nearest({ query_vector: undefined })],
    ['an array as vector', nearest({ query_vector: v.array(v.double(1)) })],
    ['2,049 dimensions', nearest({ query_vector: vector(...Array(2049).fill(1)) })],
    ['no field', nearest({ vector_field: undefined })],
    ['a reserved result field', nearest({ distance_result_field: '__x__' })],
  ]);
});

test('aggregations that are refused', async (t) => {
  const count = { count: {} };
  await refuse(t, [
    ['none', []],
    ['without an operator', [{ alias: 'x' }]],
    ['the same alias twice', [{ ...count, alias: 'x' }, { sum: { field: field('n') }, alias: 'x' }]],
    ['a reserved alias', [{ ...count, alias: '__x__' }]],
    ['count up to 0', [{ count: { up_to: { value: 0 } } }]],
    ['count up to -1', [{ count: { up_to: { value: -1 } } }]],
    ['sum of no field', [{ sum: {} }]],
    ['sum of a broken field', [{ sum: { field: field('a..') } }]],
  ], (aggregations) => aggregate(aggregations));
  await t.test('six', { skip: skerryOnly }, () => fails(aggregate(Array.from({ length: 6 }, (_, i) => ({ ...count, alias: `a${i}` }))), code.INVALID_ARGUMENT, /5/));
  await t.test('no query', () => fails(rpc.collect('RunAggregationQuery', { parent: db.root }), code.INVALID_ARGUMENT));
});

// ---- Responses ----

test('responses', { skip: skerryOnly }, async (t) => {
  await t.test('every document has a read time, the same', async () => {
    const responses = await run({});
    assert.equal(new Set(responses.map((one) => JSON.stringify(one.read_time))).size, 1);
    assert.equal(ids(responses).length, 9);
    assert.ok(responses.every((one) => one.document));
  });
  await t.test('nothing found', async () => {
    const responses = await run({ where: filter('n', 'EQUAL', v.int(77)) });
    assert.equal(responses.length, 1);
    assert.ok(responses[0].read_time && !responses[0].document);
    assert.equal(responses[0].done, true);
  });
  await t.test('done with the last of a limit', async () => {
    const responses = await run({ limit: { value: 3 } });
    assert.deepEqual(responses.map((one) => one.done ?? false), [false, false, true]);
  });
  await t.test('skipped results', async () => {
    const skipped = (responses) => responses.reduce((sum, one) => sum + (one.skipped_results ?? 0), 0);
    const some = await run({ offset: 4 });
    assert.equal(skipped(some), 4);
    assert.equal(some[0].skipped_results, 4);
    assert.deepEqual(ids(some), ['4', '5', '6', '7', '8']);
    const none = await run({ offset: 40 });
    assert.equal(skipped(none), 9);
    assert.ok(none.at(-1).done);
  });
  await t.test('a new transaction comes alone and first', async () => {
    const [first, ...rest] = await run({}, { new_transaction: { read_write: {} } });
    assert.deepEqual(Object.keys(first), ['transaction']);
    assert.equal(ids(rest).length, 9);
    const again = await run({}, { transaction: first.transaction });
    assert.deepEqual(again.at(-1).read_time, rest.at(-1).read_time);
    assert.ok(again.every((one) => !one.transaction));
    await rpc.call('Rollback', { database: db.name, transaction: first.transaction });
    await fails(run({}, { transaction: first.transaction }), code.INVALID_ARGUMENT);
  });
  await t.test('transaction ids that are none', async () => {
    await fails(run({}, { transaction: Buffer.from('nonsense') }), code.INVALID_ARGUMENT);
    await fails(aggregate([{ count: {} }], {}, { transaction: Buffer.alloc(24) }), code.INVALID_ARGUMENT);
  });
  await t.test('read_time in the future', () => fails(run({}, { read_time: { seconds: '99999999999' } }), code.INVALID_ARGUMENT));
  await t.test('aliases', async () => {
    const [{ result, read_time }] = await aggregate([{ count: {} }, { count: {}, alias: 'mine' }, { sum: { field: field('n') } }]);
    assert.deepEqual(result.aggregate_fields, { field_1: v.int(9), mine: v.int(9), field_2: v.int(36) });
    assert.ok(read_time);
  });
  await t.test('count stops at up_to', async () => {
    const [{ result }] = await aggregate([{ count: { up_to: { value: 4 } }, alias: 'n' }]);
    assert.deepEqual(result.aggregate_fields, { n: v.int(4) });
  });
  await t.test('a new transaction of an aggregation', async () => {
    const [first] = await aggregate([{ count: {}, alias: 'n' }], {}, { new_transaction: { read_only: {} } });
    assert.ok(first.transaction.length > 0);
    assert.deepEqual(first.result.aggregate_fields, { n: v.int(9) });
  });
  await t.test('kindless', async () => {
    const all = await run({ from: [{ all_descendants: true }] });
    assert.deepEqual(ids(all), ['0', '0/s/x', '1', '2', '3', '4', '5', '6', '7', '8']);
    const below = await rpc.collect('RunQuery', { parent: db.doc('c/0'), structured_query: { from: [{ all_descendants: true }], order_by: [order('__name__')] } });
    assert.deepEqual(ids(below), ['0/s/x']);
    const direct = await run({ from: [{}] });
    assert.equal(ids(direct).length, 9);
  });
  await t.test('no place at all is every document below', async () => {
    const all = await rpc.collect('RunQuery', { parent: db.doc('c/0'), structured_query: {} }).catch((error) => error);
    assert.ok(all.code === code.INVALID_ARGUMENT || ids(all).length <= 1);
  });
});

// ---- ListDocuments in an order ----

test('ListDocuments with order_by', { skip: skerryOnly }, async (t) => {
  const list = async (more) => {
    const seen = [];
    let page_token = '';
    do {
      const page = await rpc.call('ListDocuments', { parent: db.root, collection_id: 'c', page_token, ...more });
      seen.push((page.documents ?? []).map((one) => one.name.at(-1)));
      page_token = page.next_page_token;
    } while (page_token);
    return seen;
  };
  const flat = async (more) => (await list(more)).flat().join('');
  const cases = [
    ['n', '012345678'],
    ['n desc', '876543210'],
    ['m', '024681357'],
    ['m desc', '753186420'],
    ['m, n desc', '864207531'],
    ['m asc , n DESC', '864207531'],
    ['m desc, __name__ asc', '135702468'],
    ['`t` desc', '876543210'],
    ['zzz', ''],
  ];
  for (const [order_by, wanted] of cases)
    await t.test(order_by, async () => {
      assert.equal(await flat({ order_by }), wanted);
      assert.equal(await flat({ order_by, page_size: 2 }), wanted);
    });
  await t.test('pages are of one version', async () => {
    const first = await rpc.call('ListDocuments', { parent: db.root, collection_id: 'c', order_by: 'n desc', page_size: 4 });
    await rpc.call('Commit', { database: db.name, writes: [{ delete: db.doc('c/5') }, { delete: db.doc('c/4') }] });
    const second = await rpc.call('ListDocuments', { parent: db.root, collection_id: 'c', order_by: 'n desc', page_token: first.next_page_token });
    assert.equal([...first.documents, ...second.documents].map((one) => one.name.at(-1)).join(''), '876543210');
    const restore = [4, 5].map((i) => ({ update: { name: db.doc(`c/${i}`), fields: { n: v.int(i), m: v.int(i % 2), t: v.string(`t${i}`) } } }));
    await rpc.call('Commit', { database: db.name, writes: restore });
    for (const other of [{ order_by: 'n' }, { order_by: 'n desc, m' }, { order_by: '' }])
      await fails(rpc.call('ListDocuments', { parent: db.root, collection_id: 'c', page_token: first.next_page_token, ...other }), code.INVALID_ARGUMENT);
  });
  await t.test('with a mask', async () => {
    const page = await rpc.call('ListDocuments', { parent: db.root, collection_id: 'c', order_by: 'n', page_size: 1, mask: { field_paths: ['m'] } });
    assert.deepEqual(page.documents[0].fields, { m: v.int(0) });
  });
  for (const order_by of ['n up', 'n,', ', n', 'n desc desc', '`n', 'a..b', 'n n'])
    await t.test(`refused: ${order_by}`, () => fails(rpc.call('ListDocuments', { parent: db.root, collection_id: 'c', order_by }), code.INVALID_ARGUMENT));
  await t.test('refused: show_missing', () => fails(rpc.call('ListDocuments', { parent: db.root, collection_id: 'c', order_by: 'n', show_missing: true }), code.INVALID_ARGUMENT));
  await t.test('refused: 1,000 orders', () => fails(rpc.call('ListDocuments', { parent: db.root, collection_id: 'c', order_by: Array.from({ length: 1000 }, (_, i) => `f${i}`).join(',') }), code.INVALID_ARGUMENT));
});

// ---- PartitionQuery ----

test('PartitionQuery', { skip: skerryOnly }, async (t) => {
  const group = { from: [{ collection_id: 'c', all_descendants: true }], order_by: [order('__name__')] };
  const partition = (more, query = {}) => rpc.call('PartitionQuery', { parent: db.root, structured_query: { ...group, ...query }, partition_count: '3', ...more });
  await t.test('cursors cut it', async () => {
    const { partitions } = await partition();
    assert.equal(partitions.length, 3);
    for (const cursor of partitions) assert.ok(cursor.before && cursor.values.length === 1 && cursor.values[0].reference_value);
    let start_at;
    const seen = [];
    for (const end_at of [...partitions, undefined]) {
      seen.push(...ids(await run({ ...group, start_at, end_at })));
      start_at = end_at;
    }
    assert.deepEqual(seen, ['0', '1', '2', '3', '4', '5', '6', '7', '8']);
  });
  await t.test('by pages', async () => {
    const { partitions: whole } = await partition({ partition_count: '5' });
    const paged = [];
    let page_token = '';
    do {
      const page = await partition({ partition_count: '5', page_size: 2, page_token });
      assert.ok((page.partitions ?? []).length <= 2);
      paged.push(...(page.partitions ?? []));
      page_token = page.next_page_token;
    } while (page_token);
    assert.deepEqual(paged, whole);
  });
  const refused = [
    ['partition_count 0', { partition_count: '0' }],
    ['partition_count -1', { partition_count: '-1' }],
    ['a negative page_size', { page_size: -1 }],
    ['a page token that is none', { page_token: 'nonsense' }],
    ['a document as parent', { parent: db.doc('c/1') }],
    ['no group', {}, { from }],
    ['a filter', {}, { where: filter('n', 'EQUAL', v.int(1)) }],
    ['another order', {}, { order_by: [order('n')] }],
    ['names downwards', {}, { order_by: [order('__name__', 'DESCENDING')] }],
    ['a limit', {}, { limit: { value: 3 } }],
    ['an offset', {}, { offset: 3 }],
    ['a cursor', {}, { start_at: { values: [v.ref(db.doc('c/1'))] } }],
  ];
  for (const [name, more, query] of refused) await t.test(`refused: ${name}`, () => fails(partition(more, query), code.INVALID_ARGUMENT));
});

// ---- Work in turns ----

test('unary calls that take several turns', { skip: skerryOnly }, async (t) => {
  const large = freshDatabase();
  const count = 5000;
  for (let i = 0; i < count; i += 500)
    await rpc.call('Commit', { database: large.name, writes: Array.from({ length: 500 }, (_, j) => ({ update: { name: large.doc(`t/${String(i + j).padStart(5, '0')}`), fields: { m: v.int((i + j) % 7), n: v.int(i + j) } } })) });
  const list = { parent: large.root, collection_id: 't', order_by: 'm, n desc' };
  const group = { parent: large.root, partition_count: '9', structured_query: { from: [{ collection_id: 't', all_descendants: true }], order_by: [order('__name__')] } };
  await t.test('a list that has to be sorted', async () => {
    const seen = [];
    for (let page_token = ''; ;) {
      const page = await rpc.call('ListDocuments', { ...list, page_size: 1500, page_token });
      seen.push(...page.documents.map((one) => Number(one.fields.n.integer_value)));
      if (!(page_token = page.next_page_token)) break;
    }
    const wanted = Array.from({ length: count }, (_, i) => i).sort((a, b) => (a % 7) - (b % 7) || b - a);
    assert.deepEqual(seen, wanted);
  });
  await t.test('partitions of about the same size', async () => {
    const { partitions } = await rpc.call('PartitionQuery', group);
    const starts = [0, ...partitions.map((one) => Number(one.values[0].reference_value.slice(-5))), count];
    const sizes = starts.slice(1).map((end, i) => end - starts[i]);
    assert.equal(sizes.length, 10);
    assert.ok(Math.min(...sizes) > count / 10 / 2 && Math.max(...sizes) < (count / 10) * 1.5, sizes.join(' '));
  });
  await t.test('cancelled midway', async () => {
    const cancelled = [['ListDocuments', list], ['PartitionQuery', group]].flatMap(([method, request]) =>
      Array.from({ length: 30 }, (_, i) => rpc.call(method, request, { onCall: (call) => setTimeout(() => call.cancel(), i % 10) }).catch((error) => error)));
    const answers = await Promise.all(cancelled);
    assert.ok(answers.some((one) => one.code === code.CANCELLED));
    const [{ result }] = await rpc.collect('RunAggregationQuery', { parent: large.root, structured_aggregation_query: { structured_query: { from: [{ collection_id: 't' }], where: filter('m', 'EQUAL', v.int(3)) }, aggregations: [{ count: {}, alias: 'n' }] } });
    assert.deepEqual(result.aggregate_fields, { n: v.int(Math.ceil((count - 3) / 7)) });
  });
  await t.test('a query whose offset takes several turns tells what it skipped', async () => {
    const responses = await rpc.collect('RunQuery', { parent: large.root, structured_query: { from: [{ collection_id: 't' }], offset: 4990 } });
    assert.equal(responses.reduce((sum, one) => sum + (one.skipped_results ?? 0), 0), 4990);
    assert.ok(responses.length > 11, 'progress on the way');
    assert.equal(responses.filter((one) => one.document).length, 10);
  });
});

// ---- Readers ----

test('a slow reader of a large result', { skip: skerryOnly }, async () => {
  const large = freshDatabase();
  const text = v.string('x'.repeat(100_000));
  for (let i = 0; i < 20; i++)
    await rpc.call('Commit', { database: large.name, writes: Array.from({ length: 40 }, (_, j) => ({ update: { name: large.doc(`big/${i * 40 + j}`), fields: { text } } })) });
  await sleep(3000); // memory of the writes is given back
  const before = server.residentBytes();
  const definition = rpc.service.RunQuery;
  const open = () => {
    const stream = rpc.client.makeServerStreamRequest(definition.path, definition.requestSerialize, definition.responseDeserialize,
      { parent: large.root, structured_query: { from: [{ collection_id: 'big' }] } });
    stream.on('error', () => {});
    return stream.pause();
  };
  const streams = Array.from({ length: 8 }, open);
  for (const stream of streams) stream.once('readable', () => stream.read());
  await sleep(2000);
  const grown = server.residentBytes() - before;
  assert.ok(grown < 64 << 20, `${grown >> 20} MiB for 8 readers that do not read 80 MB each`);
  let count = 1;
  for await (const response of streams[0]) count += response.document ? 1 : 0;
  assert.ok(count >= 799, `${count} of 800`);
  for (const stream of streams) stream.cancel();
  assert.equal((await rpc.collect('RunQuery', { parent: large.root, structured_query: { from: [{ collection_id: 'big' }], limit: { value: 3 } } })).length, 3);
});

test('streams cancelled at any moment', { skip: skerryOnly }, async () => {
  const definition = rpc.service.RunQuery;
  for (let i = 0; i < 200; i++) {
    const stream = rpc.client.makeServerStreamRequest(definition.path, definition.requestSerialize, definition.responseDeserialize,
      { parent: db.root, structured_query: { from: [{ collection_id: 'c' }], order_by: [order('n')] } });
    stream.on('error', () => {}).on('data', () => {});
    if (i % 3 === 0) stream.cancel();
    else setTimeout(() => stream.cancel(), i % 7);
  }
  await sleep(100);
  assert.equal(ids(await run({})).length, 9);
});
