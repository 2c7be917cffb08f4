// Skerry against the official emulator: random queries and aggregations over random data, and the same answers, in the
// same order. The seed is printed; SKERRY_SEED repeats a run. For a longer one:
//   SKERRY_BIN=build/release/skerry node tests/integration/differential_queries.test.mjs --rounds 5000
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { generator } from './support/random.mjs';
import { emulatorMissing, isEmulator, runSkerry, startServer } from './support/server.mjs';
import { Rpc, codeName, freshDatabase, value as v } from './support/rpc.mjs';

const SEED = Number(process.env.SKERRY_SEED ?? 20_261_121);
const argument = process.argv.indexOf('--rounds');
const ROUNDS = Number(argument > 0 ? process.argv[argument + 1] : process.env.SKERRY_ROUNDS ?? 400);
const QUERIES_PER_DATA = 50;
const AT_ONCE = 10;
const skip = isEmulator ? 'it compares skerry with the emulator' : emulatorMissing() ?? false;

// Where the two may differ, and why. Each sees the request and both outcomes.
const KNOWN = [
  {
    why: 'the emulator refuses to read names downwards; production does not',
    is: (request, ours, theirs) => ours.code !== theirs.code && /descending key scans|kind is required for all orders except __key__ ascending/.test(theirs.details),
  },
  {
    why: 'the emulator refuses collection groups below a document; the documentation of parent allows any',
    is: (request, ours, theirs) => ours.code === 'OK' && /only allowed (at the root parent|if they're at the root)/.test(theirs.details),
  },
  {
    why: 'the emulator refuses an order by name if the field of an inequality is not ordered by before; nothing is left to order after a name',
    is: (request, ours, theirs) => ours.code === 'OK' && /cannot contain more fields after the key/.test(theirs.details),
  },
  {
    why: 'the emulator refuses a name that is equal to something beside inequalities of other fields; the documentation does not',
    is: (request, ours, theirs) => ours.code === 'OK' && /Equality on key is not allowed/.test(theirs.details),
  },
  {
    why: 'the emulator wants an index for what is summed after an order by name; there is always one way to find it here',
    is: (request, ours, theirs) => ours.code === 'OK' && /after __name__ and Firestore does not currently support such an index/.test(theirs.details),
  },
  {
    why: 'the emulator compares with no value that is longer than what is indexed of one; here the whole value is compared',
    is: (request, ours, theirs) => ours.code === 'OK' && /too large to be used in a query/.test(theirs.details),
  },
  {
    why: 'a disjunction that nothing can satisfy is dropped before its array-contains are counted',
    is: (request, ours, theirs) => ours.code === 'OK' && /maximum of 1 'ARRAY_CONTAINS' filter/.test(theirs.details) && isEmpty(ours),
  },
  {
    why: 'a sum over documents of all collections with a limit: the limit counts documents by name here, and documents with the field in the emulator',
    is: ({ request: { structured_aggregation_query: aggregation } }) =>
      aggregation && !aggregation.structured_query.from[0].collection_id && (aggregation.structured_query.limit || aggregation.structured_query.offset) && aggregation.aggregations.length > 1,
  },
];

const isEmpty = (answer) => answer.documents?.length === 0 || answer.numbers?.count.integer_value === '0';

// ---- Random data and queries ----

const FIELDS = ['n', 's', 'x', 'tags', 'm.k', 'm', '`o.d`', 'b'];
/** Longer than what counts in an index. */
const LONG = ['', 'a', 'b'].map((end) => 'y'.repeat(1600) + end);
const INEQUALITIES = ['LESS_THAN', 'LESS_THAN_OR_EQUAL', 'GREATER_THAN', 'GREATER_THAN_OR_EQUAL'];

function makeRound(random, db) {
  const { below, pick, some, chance } = random;
  const names = ['c/a', 'c/b', 'c/c', 'c/d', 'c/e', 'c/f', 'c/g', 'c/h', 'c/__id3__', 'c/__id20__', 'c/é', 'c/aa', 'c/a/c/1', 'c/a/c/2', 'c/b/c/1', 'c/z/c/1', 'c/a/d/1', 'd/a', 'd/b', 'd/a/c/x', 'd/a/c/y'];
  const number = () => pick([v.int(0), v.int(1), v.int(2), v.int(3), v.int(-1), v.double(1), v.double(0.5), v.double(2.5), v.double(-0), v.double(NaN), v.double(Infinity), v.int('9007199254740993'), v.double(9007199254740992)]);
  const text = () => v.string(pick(['', 'a', 'b', 'ab', 'é', '\uffff', '🚀', 'a\0', 'z', ...(chance(0.1) ? LONG : [])]));
  const reference = () => v.ref(db.doc(pick(names)));
  const scalar = () => pick([number, number, text, text, () => v.null, () => v.bool(chance(0.5)), () => v.time(below(3), below(2) * 1000), () => v.bytes([below(3)]), () => v.point(below(3), below(3)), reference])();
  const array = () => v.array(...some(3, () => (chance(0.7) ? number() : scalar())));
  const map = () => v.map({ ...(chance(0.7) ? { k: number() } : {}), ...(chance(0.3) ? { j: text() } : {}) });
  const any = () => pick([scalar, scalar, scalar, array, map])();
  const of = { n: number, s: text, x: any, tags: array, 'm.k': number, m: map, '`o.d`': scalar, b: () => v.bool(chance(0.5)) };

  const fields = () => {
    const all = {};
    for (const name of ['n', 's', 'x', 'tags', 'm', 'b']) if (chance(0.75)) all[name] = chance(0.08) ? v.null : of[name]();
    if (chance(0.5)) all['o.d'] = scalar();
    return all;
  };
  const writes = names.filter(() => chance(0.9)).map((name) => ({ update: { name: db.doc(name), fields: fields() } }));

  const operand = (field) => (chance(0.9) ? of[field]() : any());
  const leaf = () => {
    if (chance(0.08)) {
      const op = pick(['EQUAL', 'NOT_EQUAL', ...INEQUALITIES, 'IN', 'NOT_IN']);
      const value = op === 'IN' || op === 'NOT_IN' ? v.array(reference(), reference()) : reference();
      return { field_filter: { field: { field_path: '__name__' }, op, value } };
    }
    const field_path = pick(FIELDS);
    const field = { field_path };
    return pick([
      ...Array(5).fill(() => ({ field_filter: { field, op: 'EQUAL', value: operand(field_path) } })),
      ...Array(4).fill(() => ({ field_filter: { field, op: pick(INEQUALITIES), value: operand(field_path) } })),
      () => ({ field_filter: { field, op: 'NOT_EQUAL', value: operand(field_path) } }),
      () => ({ field_filter: { field, op: 'IN', value: v.array(operand(field_path), ...some(3, () => operand(field_path))) } }),
      () => ({ field_filter: { field, op: 'NOT_IN', value: v.array(operand(field_path), ...some(2, () => operand(field_path))) } }),
      ...Array(2).fill(() => ({ field_filter: { field: { field_path: pick(['tags', 'tags', 'x']) }, op: 'ARRAY_CONTAINS', value: chance(0.7) ? number() : scalar() } })),
      () => ({ field_filter: { field: { field_path: 'tags' }, op: 'ARRAY_CONTAINS_ANY', value: v.array(number(), ...some(2, scalar)) } }),
      () => ({ unary_filter: { field, op: pick(['IS_NULL', 'IS_NAN', 'IS_NOT_NULL', 'IS_NOT_NAN']) } }),
    ])();
  };
  const filter = (depth = 0) => {
    if (depth > 2 || chance(0.55)) return leaf();
    return { composite_filter: { op: pick(['AND', 'AND', 'OR']), filters: Array.from({ length: 1 + below(3) }, () => filter(depth + 1)) } };
  };
  const order = () => ({ field: { field_path: chance(0.12) ? '__name__' : pick(FIELDS) }, direction: pick(['ASCENDING', 'ASCENDING', 'DESCENDING']) });
  const orders = () => (chance(0.5) ? [] : chance(0.75) ? [order()] : [order(), order()]);
  const from = () => pick([{ collection_id: 'c' }, { collection_id: 'c' }, { collection_id: 'c' }, { collection_id: 'c', all_descendants: true }, { collection_id: 'c', all_descendants: true }, { collection_id: 'd' }, { all_descendants: true }]);
  const cursor = (order_by) => {
    const values = [];
    for (const { field } of order_by.slice(0, 1 + below(order_by.length)))
      values.push(field.field_path === '__name__' ? reference() : operand(field.field_path));
    if (values.length === order_by.length && chance(0.3) && !order_by.some(({ field }) => field.field_path === '__name__')) values.push(reference());
    return { values, before: chance(0.5) };
  };
  const query = () => {
    const order_by = orders();
    const one = { from: [from()], order_by };
    if (chance(0.75)) one.where = filter();
    if (order_by.length && chance(0.3)) one.start_at = cursor(order_by);
    if (order_by.length && chance(0.2)) one.end_at = cursor(order_by);
    if (chance(0.3)) one.limit = { value: 1 + below(6) };
    if (chance(0.12)) one.offset = below(5);
    if (chance(0.15)) one.select = { fields: [...new Set(['__name__', ...some(2, () => pick(FIELDS))])].map((field_path) => ({ field_path })) };
    return one;
  };
  const request = () => {
    const parent = chance(0.85) ? db.root : db.doc(pick(['c/a', 'd/a', 'c/z']));
    if (chance(0.75)) return { method: 'RunQuery', request: { parent, structured_query: query() } };
    const aggregations = [
      { count: {}, alias: 'count' },
      ...(chance(0.4) ? [{ sum: { field: { field_path: pick(['n', 'm.k', 'x']) } }, alias: 'sum' }] : []),
      ...(chance(0.4) ? [{ avg: { field: { field_path: pick(['n', 'm.k', 'x']) } }, alias: 'avg' }] : []),
    ];
    const { select, ...structured_query } = query();
    return { method: 'RunAggregationQuery', request: { parent, structured_aggregation_query: { structured_query, aggregations } } };
  };
  return { writes, requests: Array.from({ length: QUERIES_PER_DATA }, request) };
}

// ---- Comparison ----

/** JSON.stringify's replacer for what JSON has not. */
function plain(key, inner) {
  const original = this[key];
  if (Buffer.isBuffer(original)) return { $bytes: original.toString('base64') };
  if (typeof original === 'number' && (!Number.isFinite(original) || Object.is(original, -0))) return { $double: Object.is(original, -0) ? '-0' : String(original) };
  return inner;
}
/** The names of a map have no order, and an empty map or array may be sent without its contents. */
const readable = (value) =>
  JSON.parse(JSON.stringify(value ?? null, plain), (key, inner) => {
    if ((key === 'fields' || key === 'values') && Object.keys(inner).length === 0) return undefined;
    return inner?.constructor === Object ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner;
  });

async function answer(rpc, { method, request }) {
  try {
    const responses = await rpc.collect(method, request);
    if (method === 'RunAggregationQuery') return { code: 'OK', numbers: readable(responses.find((one) => one.result).result.aggregate_fields) };
    return { code: 'OK', documents: responses.filter((one) => one.document).map(({ document }) => readable({ name: document.name, fields: document.fields ?? {} })) };
  } catch (error) {
    if (error.code === undefined) throw error;
    return { code: codeName(error.code), details: error.details };
  }
}

/** Sums of doubles depend on the order of addition in the last bits. */
function sameNumbers(ours, theirs) {
  const close = (a, b) => a === b || Math.abs(a - b) <= 1e-12 * Math.max(Math.abs(a), Math.abs(b));
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b) || (typeof a?.double_value === 'number' && typeof b?.double_value === 'number' && close(a.double_value, b.double_value));
  return Object.keys(ours).length === Object.keys(theirs).length && Object.keys(ours).every((key) => same(ours[key], theirs[key]));
}

let servers = [];
let clients = [];
before(async () => {
  if (skip) return;
  servers = await Promise.all([startServer({ emulator: false }), startServer({ emulator: true })]);
  clients = servers.map((one) => new Rpc(one.address));
});
after(async () => {
  for (const rpc of clients) rpc.close();
  await Promise.all(servers.map((one) => one.close()));
});

/** Composite indexes for the second half of a run: the answers must not depend on them. */
function applyIndexes() {
  const up = (fieldPath) => ({ fieldPath, order: 'ASCENDING' });
  const down = (fieldPath) => ({ fieldPath, order: 'DESCENDING' });
  const has = (fieldPath) => ({ fieldPath, arrayConfig: 'CONTAINS' });
  const columns = [
    [up('n'), up('s')], [down('n'), up('s')], [up('b'), up('n')], [up('b'), down('n')], [up('s'), down('x')], [up('x'), up('m.k')],
    [has('tags'), up('n')], [has('tags'), up('b'), down('s')], [up('b'), up('s'), up('n')], [up('`o.d`'), up('n')], [up('m.k'), down('n'), up('s')],
    [up('m'), up('n')], [up('b'), { fieldPath: '__name__', order: 'DESCENDING' }], [up('tags'), up('x')],
  ];
  const indexes = ['c', 'd'].flatMap((collectionGroup) => ['COLLECTION', 'COLLECTION_GROUP'].flatMap((queryScope) => columns.map((fields) => ({ collectionGroup, queryScope, fields }))));
  const [{ dataDir }] = servers;
  const file = path.join(dataDir, 'indexes.json');
  fs.writeFileSync(file, JSON.stringify({ indexes, fieldOverrides: [] }));
  const applied = runSkerry(['index', 'apply', file, '--data', dataDir]);
  assert.equal(applied.code, 0, applied.stderr);
}

async function indexesReady() {
  for (let tries = 0; tries < 200; tries++) {
    const { stdout } = runSkerry(['index', 'list', '--data', servers[0].dataDir]);
    if (stdout && !/^(building|waiting)/m.test(stdout)) return;
    await sleep(50);
  }
  assert.fail('the indexes are not built');
}

test(`${ROUNDS} random queries, SKERRY_SEED=${SEED}`, { skip }, async (t) => {
  const counts = { known: 0, refused: 0, empty: 0, some: 0 };
  const different = [];
  for (let done = 0, data = 0, applied = false; done < ROUNDS; data++) {
    if (!applied && done >= ROUNDS / 2) {
      applied = true;
      applyIndexes();
      await indexesReady();
    }
    const db = freshDatabase();
    const { writes, requests } = makeRound(generator(SEED + data), db);
    await Promise.all(clients.map((rpc) => rpc.call('Commit', { database: db.name, writes })));
    for (; requests.length > 0 && done < ROUNDS; done += AT_ONCE) {
      const group = requests.splice(0, AT_ONCE);
      const answers = await Promise.all(group.map((one) => Promise.all(clients.map((rpc) => answer(rpc, one)))));
      for (const [i, [ours, theirs]] of answers.entries()) {
        if (KNOWN.some((one) => one.is(group[i], ours, theirs))) {
          counts.known++;
          continue;
        }
        counts[ours.code !== 'OK' ? 'refused' : ours.documents?.length === 0 ? 'empty' : 'some']++;
        const same =
          ours.code === theirs.code &&
          (ours.numbers ? sameNumbers(ours.numbers, theirs.numbers) : JSON.stringify(ours.documents) === JSON.stringify(theirs.documents));
        if (!same) different.push({ seed: SEED + data, query: group[i].request, ours, theirs });
      }
    }
    if (different.length >= 20) break;
  }
  const names = (answer) => answer.documents?.map((one) => one.name.split('/documents/')[1]).join(' ') ?? JSON.stringify(answer.numbers ?? `${answer.code}: ${answer.details}`);
  const report = different.map(({ seed, query, ours, theirs }) => `seed ${seed}\n${JSON.stringify(query, plain)}\n  skerry:   ${names(ours)}\n  emulator: ${names(theirs)}`);
  assert.equal(different.length, 0, `${different.length} differ:\n${report.join('\n')}`);
  assert.ok(counts.some > ROUNDS / 4, `too few queries find something: ${JSON.stringify(counts)}`);
  t.diagnostic(JSON.stringify(counts));
});
