// The expressions of rules/expressions.txt, judged by skerry's rules and by the official emulator (where it is present).
// A line is "+ EXPRESSION" if it allows and "- EXPRESSION" if it does not; "+ !", "- !": so here, other in the emulator, for
// the reason in the comment above. All of them stand in one file of rules, each for a document of its own.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { EmulatorRules, RulesDriver, makeToken } from './support/rules.mjs';
import { emulatorMissing, startServer } from './support/server.mjs';
import { value as v } from './support/rpc.mjs';

const file = new URL('./rules/expressions.txt', import.meta.url);
const cases = fs.readFileSync(file, 'utf8').split('\n').filter((line) => /^[+-] /.test(line)).map((line, i) => {
  const differs = line.startsWith('! ', 2);
  return { name: `t/e${i}`, allows: line[0] === '+', differs, expression: line.slice(differs ? 4 : 2) };
});
const claims = {
  email: 'alice@example.com', email_verified: true, age: 30, score: 1.5, roles: ['admin', 'x'], org: { id: 'o1', level: 3 }, nothing: null,
};
const fieldsIn = (root) => ({
  a: v.int(1), f: v.double(1.5), s: v.string('hello'), b: v.bool(true), n: v.null, l: v.array(v.int(1), v.int(2), v.string('x')),
  m: v.map({ x: v.int(1), y: v.map({ z: v.string('deep') }) }), t: v.time(1_700_000_000, 123_456_000), by: v.bytes([1, 2, 255]),
  g: v.point(10, 20), r: v.ref(`${root}/t/e0`), u: v.string('héé🚀'), nan: v.double(NaN), e: v.string(''), tags: v.array(v.string('red'), v.string('green')),
  big: v.int('9223372036854775807'), negative: v.int(-7), empty: v.map({}), none: v.array(), people: v.array(v.map({ name: v.string('bob'), age: v.int(40) })),
});
const rulesOf = (some) =>
  `rules_version = '2';\nservice cloud.firestore {\n match /databases/{database}/documents {\n` +
  some.map((one) => `  match /${one.name} { allow get: if ${one.expression}; }\n`).join('') + ' }\n}\n';

test('there are enough of them', () => assert.ok(cases.length >= 400, `${cases.length}`));

test('skerry says what the file says', async () => {
  const driver = new RulesDriver();
  const project = 'p';
  const compiled = await driver.compile(rulesOf(cases));
  assert.ok(compiled.ok, JSON.stringify(compiled));
  const fields = fieldsIn(`projects/${project}/databases/(default)/documents`);
  driver.store(Object.fromEntries(cases.map((one) => [one.name, fields])));
  const { payload } = makeToken(project, 'alice', claims);
  const wrong = [];
  for (const one of cases) {
    const answer = await driver.judge({ operation: 'get', project, path: one.name, uid: 'alice', claims: payload, resource: fields });
    if ((answer.outcome === 'allow') !== one.allows) wrong.push(`${one.allows ? '+' : '-'} ${one.expression}   (${answer.reason})`);
  }
  await driver.close();
  assert.deepEqual(wrong, []);
});

test('the emulator says the same, but for the differences in the file', { skip: emulatorMissing() ?? false }, async () => {
  const server = await startServer({ emulator: true });
  const emulator = new EmulatorRules(server);
  try {
    const own = cases.filter((one) => !one.differs); // what the emulator does not even compile is among the differences
    assert.deepEqual(await emulator.compile(rulesOf(own)), []);
    const fields = fieldsIn(emulator.root);
    await emulator.store(Object.fromEntries(cases.map((one) => [one.name, fields])));
    const wrong = [];
    for (const one of own) {
      const answer = await emulator.get(one.name, { uid: 'alice', claims });
      if ((answer.outcome === 'allow') !== one.allows) wrong.push(`${one.allows ? '+' : '-'} ${one.expression}   (emulator: ${answer.outcome} ${answer.reason ?? ''})`);
    }
    assert.deepEqual(wrong, []);
  } finally {
    emulator.close();
    await server.close();
  }
});
