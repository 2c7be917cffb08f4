// Whole files of rules (rules/sets.mjs), with every user, document, query and value: skerry's rules against what is recorded in
// rules/sets.expected.json, and against the official emulator where it is present. SKERRY_RECORD=1 records anew what
// skerry says. What the two say of differently is in DIFFERENCES, with the documentation's word.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { EmulatorRules, RulesDriver, makeToken } from './support/rules.mjs';
import { emulatorMissing, startServer } from './support/server.mjs';
import { TIME, USERS, sets } from './rules/sets.mjs';

const recorded = new URL('./rules/sets.expected.json', import.meta.url);

// Keys are "set: request", with * for any text.
const DOCUMENTED = 'the documentation: a query is evaluated against its potential result set, and fails if it could return a document that the client may not read';
const DIFFERENCES = [
  { which: 'queries by what is not there: * list *', why: `${DOCUMENTED}; the emulator takes a field that no filter names for one that no document has` },
  { which: 'queries by type of number: * list *', why: `${DOCUMENTED}; "n == 5" finds 5.0 too, which is no int` },
  { which: 'queries by type: * list *GREATER_THAN*', why: `${DOCUMENTED}; a range finds values of its own type only` },
  { which: 'queries by several members: * list *"a"*', why: `${DOCUMENTED}; array-contains proves that it is a list that has the item` },
  { which: 'queries by order: * list *"n"*', why: `${DOCUMENTED}; an order leaves out documents without the field` },
];
const differs = (key) => DIFFERENCES.find(({ which }) => new RegExp(`^${which.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&')).join('.*')}$`).test(key));

// ---- Values ----

function valueOf(value, root, nowMs) {
  if (value === TIME) return { timestamp_value: { seconds: String(Math.floor(nowMs / 1000)), nanos: (nowMs % 1000) * 1e6 } };
  if (value === null) return { null_value: 'NULL_VALUE' };
  if (value instanceof Date) return { timestamp_value: { seconds: String(Math.floor(value / 1000)), nanos: (value % 1000) * 1e6 } };
  if (typeof value === 'boolean') return { boolean_value: value };
  if (typeof value === 'number') return Number.isInteger(value) ? { integer_value: String(value) } : { double_value: value };
  if (typeof value === 'string') return { string_value: value };
  if (Array.isArray(value)) return { array_value: { values: value.map((one) => valueOf(one, root, nowMs)) } };
  if (value.ref) return { reference_value: `${root}/${value.ref}` };
  if (value.point) return { geo_point_value: { latitude: value.point[0], longitude: value.point[1] } };
  return { map_value: { fields: fieldsOf(value, root, nowMs) } };
}
const fieldsOf = (object, root, nowMs) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, valueOf(value, root, nowMs)]));

/** The values to write, and of the first all that is one step away from it. */
function variants(values) {
  const [first] = values;
  const other = (value) => (typeof value === 'string' ? 7 : 'text');
  const changed = (value) => (typeof value === 'string' ? `${value}x` : typeof value === 'number' ? value + 1 : typeof value === 'boolean' ? !value : null);
  const steps = Object.keys(first).flatMap((key) => {
    const { [key]: value, ...rest } = first;
    return [rest, { ...first, [key]: other(value) }, { ...first, [key]: changed(value) }];
  });
  return [...values, ...steps, { ...first, more: 1 }];
}

function filterOf(filter, root) {
  if (filter.or) return { composite_filter: { op: 'OR', filters: filter.or.map((one) => filterOf(one, root)) } };
  return { field_filter: { field: { field_path: filter.field_path }, op: filter.op, value: valueOf(filter.value, root) } };
}
function queryOf({ collection, filters, group, limit, offset, order = [] }, root) {
  return {
    from: [{ collection_id: collection, ...(group ? { all_descendants: true } : {}) }],
    ...(filters.length > 0 ? { where: filters.length === 1 ? filterOf(filters[0], root) : { composite_filter: { op: 'AND', filters: filters.map((one) => filterOf(one, root)) } } } : {}),
    ...(order.length > 0 ? { order_by: order.map(([field_path, descending]) => ({ field: { field_path }, direction: descending ? 'DESCENDING' : 'ASCENDING' })) } : {}),
    ...(limit ? { limit: { value: limit } } : {}), ...(offset ? { offset } : {}),
  };
}

function requestsOf({ documents, write = {}, remove = [], queries = [] }) {
  const text = (value) => JSON.stringify(value, (_, one) => (one === TIME ? 'TIME' : one));
  const requests = [];
  for (const user of Object.keys(USERS)) {
    for (const name of Object.keys(documents)) requests.push({ kind: 'get', user, name, key: `${user} get ${name}` });
    for (const query of queries) requests.push({ kind: 'list', user, query, key: `${user} list ${text(query)}` });
    for (const [name, values] of Object.entries(write)) {
      for (const value of variants(values)) {
        const timeIsText = text(Object.fromEntries(Object.entries(value).map(([key, one]) => [key, one === TIME ? 'TIME' : one])));
        requests.push({ kind: 'write', user, name, value, key: `${user} write ${name} ${timeIsText}` });
      }
    }
    for (const name of new Set([...Object.keys(write), ...remove])) requests.push({ kind: 'delete', user, name, key: `${user} delete ${name}` });
  }
  return requests;
}

const sourceOf = ({ rules, version = 2 }) =>
  `${version === 2 ? "rules_version = '2';\n" : ''}service cloud.firestore {\n match /databases/{database}/documents {\n${rules}\n }\n}\n`;

// ---- Skerry ----

async function judgeBySkerry(driver, set) {
  const project = 'p';
  const root = `projects/${project}/databases/(default)/documents`;
  const nowMs = Date.now();
  const compiled = await driver.compile(sourceOf(set));
  assert.ok(compiled.ok, `${set.name}: ${JSON.stringify(compiled)}`);
  const stored = Object.fromEntries(Object.entries(set.documents).map(([name, fields]) => [name, fieldsOf(fields, root, nowMs)]));
  driver.store(stored);
  const outcomes = {};
  for (const request of requestsOf(set)) {
    const { uid, claims } = USERS[request.user];
    const who = uid === undefined ? {} : { uid, claims: makeToken(project, uid, claims).payload };
    const common = { project, time_us: nowMs * 1000, path: request.name, resource: stored[request.name], ...who };
    let answer;
    if (request.kind === 'get') {
      answer = await driver.judge({ ...common, operation: 'get' });
    } else if (request.kind === 'list') {
      const parent = request.query.parent ? `${root}/${request.query.parent}` : root;
      answer = await driver.judge({ ...common, operation: 'list', parent, query: queryOf(request.query, root) });
    } else if (request.kind === 'delete') {
      answer = await driver.judge({ ...common, operation: 'delete', afterDocuments: { [request.name]: null } });
    } else {
      const after = fieldsOf(request.value, root, nowMs);
      answer = await driver.judge({ ...common, operation: stored[request.name] ? 'update' : 'create', after, afterDocuments: { [request.name]: after } });
    }
    outcomes[request.key] = answer.outcome;
  }
  driver.store(Object.fromEntries(Object.keys(stored).map((name) => [name, null])));
  return outcomes;
}

test('there are enough of them', () => assert.ok(sets.length >= 60, `${sets.length}`));

test('skerry says what is recorded', async () => {
  const driver = new RulesDriver();
  const outcomes = {};
  for (const set of sets) outcomes[set.name] = await judgeBySkerry(driver, set);
  await driver.close();
  // One letter a request: what changes is seen, and the file stays small.
  const letters = Object.fromEntries(Object.entries(outcomes).map(([name, all]) => [name, Object.values(all).map((one) => one[0]).join('')]));
  if (process.env.SKERRY_RECORD) fs.writeFileSync(recorded, `${JSON.stringify(letters, null, 1)}\n`);
  assert.deepEqual(letters, JSON.parse(fs.readFileSync(recorded, 'utf8')));
  const all = Object.values(outcomes).flatMap((one) => Object.values(one));
  console.log(`# ${sets.length} files of rules, ${all.length} requests, ${all.filter((one) => one === 'allow').length} allowed`);
});

// ---- The emulator ----

async function judgeByEmulator(emulator, set) {
  const { root } = emulator;
  assert.deepEqual(await emulator.compile(sourceOf(set)), [], set.name);
  const stored = Object.fromEntries(Object.entries(set.documents).map(([name, fields]) => [name, fieldsOf(fields, root)]));
  await emulator.store(stored);
  const outcomes = {};
  for (const request of requestsOf(set)) {
    const user = USERS[request.user];
    if (request.kind === 'get') {
      outcomes[request.key] = await emulator.get(request.name, user);
    } else if (request.kind === 'list') {
      outcomes[request.key] = await emulator.list(request.query.parent, queryOf(request.query, root), user);
    } else {
      const name = `${root}/${request.name}`;
      const plain = Object.fromEntries(Object.entries(request.value ?? {}).filter(([, value]) => value !== TIME));
      const times = Object.entries(request.value ?? {}).filter(([, value]) => value === TIME);
      const write = request.kind === 'delete' ? { delete: name } : {
        update: { name, fields: fieldsOf(plain, root) },
        ...(times.length > 0 ? { update_transforms: times.map(([field_path]) => ({ field_path, set_to_server_value: 'REQUEST_TIME' })) } : {}),
      };
      outcomes[request.key] = await emulator.commit([write], user);
      if (outcomes[request.key].outcome === 'allow') await emulator.store({ [request.name]: stored[request.name] ?? null });
    }
  }
  await emulator.store(Object.fromEntries(Object.keys(stored).map((name) => [name, null])));
  return outcomes;
}

test('the emulator says the same, but for the differences above', { skip: emulatorMissing() ?? false }, async () => {
  const driver = new RulesDriver();
  const server = await startServer({ emulator: true });
  const emulator = new EmulatorRules(server);
  const wrong = [];
  const seen = new Set();
  try {
    for (const set of sets) {
      const theirs = await judgeByEmulator(emulator, set);
      const ours = await judgeBySkerry(driver, set);
      for (const [key, outcome] of Object.entries(ours)) {
        if (outcome === theirs[key].outcome) continue;
        const known = differs(`${set.name}: ${key}`);
        if (known) seen.add(known);
        else wrong.push(`${set.name}: ${key}: skerry ${outcome}, emulator ${theirs[key].outcome} ${theirs[key].reason ?? ''}`);
      }
    }
  } finally {
    emulator.close();
    await driver.close();
    await server.close();
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(DIFFERENCES.filter((one) => !seen.has(one)), [], 'differences that are none any more');
});
