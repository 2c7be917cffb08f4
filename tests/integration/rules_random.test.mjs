// Random expressions of the rules language, of every type, judged by skerry's rules and by the official emulator.
// The seed is printed; SKERRY_SEED repeats a run, SKERRY_ROUNDS makes it longer (400 expressions a round).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generator } from './support/random.mjs';
import { EmulatorRules, RulesDriver, makeToken } from './support/rules.mjs';
import { emulatorMissing, startServer } from './support/server.mjs';
import { value as v } from './support/rpc.mjs';

const SEED = Number(process.env.SKERRY_SEED ?? 20_261_127);
const ROUNDS = Number(process.env.SKERRY_ROUNDS ?? 2);
const EACH = 400;

const fields = {
  a: v.int(1), f: v.double(1.5), s: v.string('hello'), n: v.null, l: v.array(v.int(1), v.int(2), v.string('x')), nan: v.double(NaN),
  m: v.map({ x: v.int(1), y: v.map({ z: v.string('deep') }) }), t: v.time(1_700_000_000, 123_456_000), by: v.bytes([1, 2, 255]),
  g: v.point(10, 20), e: v.string(''), tags: v.array(v.string('red'), v.string('green')), negative: v.int(-7), empty: v.map({}), none: v.array(),
  people: v.array(v.map({ name: v.string('bob'), age: v.int(40) })),
};

/** Makes expressions of a wanted type, up to a depth. */
function expressions({ pick }) {
  const number = () => pick(['1', '2', '0', '-1', '1.5', '0.5', 'resource.data.a', 'resource.data.f', 'resource.data.negative', 'resource.data.l[0]', 'resource.data.m.x']);
  const text = () => pick(["'a'", "'hello'", "''", "'b1'", 'resource.data.s', 'resource.data.e', 'resource.data.tags[0]', "'A-b'", 'resource.data.m.y.z', 'request.auth.uid']);
  const list = () => pick(['[1, 2]', "['a', 'b']", '[]', 'resource.data.l', 'resource.data.tags', 'resource.data.none', "[1, 'a', null]", 'resource.data.m.keys()', '[1.0]']);
  const map = () => pick(['{}', "{'x': 1}", 'resource.data.m', 'resource.data.empty', "{'x': 1, 'y': 2}", "{'x': 1.0}", 'resource.data.people[0]']);
  const set = () =>
    pick([
      () => `${list()}.toSet()`,
      () => `${map()}.diff(${map()}).${pick(['addedKeys', 'removedKeys', 'changedKeys', 'unchangedKeys', 'affectedKeys'])}()`,
      () => `${list()}.toSet().${pick(['union', 'difference', 'intersection'])}(${list()}.toSet())`,
    ])();
  const time = () => pick(['resource.data.t', 'timestamp.date(2024, 2, 29)', 'timestamp.value(0)', 'timestamp.value(-1)', 'request.time', 'resource.data.t.date()']);
  const duration = () => pick(["duration.value(1, 'd')", "duration.value(-90, 's')", 'duration.time(1, 2, 3, 4)', '(resource.data.t - timestamp.value(0))', 'resource.data.t.time()']);
  const any = () =>
    pick([number, text, list, map, time, duration, ...['null', 'true', 'resource.data.zork', 'resource.data.by', 'resource.data.g', 'resource.data.n', 'resource.data.nan'].map((one) => () => one)])();
  const numberOf = (depth) =>
    depth === 0 ? number() : pick([
      number,
      () => `(${numberOf(depth - 1)} ${pick(['+', '-', '*', '/', '%'])} ${numberOf(depth - 1)})`,
      () => `math.${pick(['abs', 'floor', 'ceil', 'round', 'sqrt'])}(${numberOf(depth - 1)})`,
      () => `${pick([text, list, map])()}.size()`,
      () => `int(${pick([number, text])()})`,
      () => `-(${numberOf(depth - 1)})`,
      () => `${time()}.${pick(['year', 'month', 'day', 'hours', 'minutes', 'seconds', 'nanos', 'dayOfWeek', 'dayOfYear'])}()`,
      () => `${duration()}.${pick(['seconds', 'nanos'])}()`,
    ])();
  const textOf = (depth) =>
    depth === 0 ? text() : pick([
      text,
      () => `(${textOf(depth - 1)} + ${textOf(depth - 1)})`,
      () => `${textOf(depth - 1)}.${pick(['lower', 'upper', 'trim'])}()`,
      () => `string(${pick([number, text])()})`,
      () => `${list()}.join(${text()})`,
      () => `${textOf(depth - 1)}[${number()}]`,
      () => `${textOf(depth - 1)}[${pick(['0', '1', '2'])}:${pick(['1', '2', '3'])}]`,
      () => `${textOf(depth - 1)}.replace(${pick(["'l'", "'[a-z]'", "'(.)(.)'"])}, ${pick(["'-'", "''"])})`,
    ])();
  const condition = (depth) =>
    depth === 0 ? `${any()} == ${any()}` : pick([
      () => `(${condition(depth - 1)} && ${condition(depth - 1)})`,
      () => `(${condition(depth - 1)} || ${condition(depth - 1)})`,
      () => `!(${condition(depth - 1)})`,
      () => `(${condition(depth - 1)} ? ${condition(depth - 1)} : ${condition(depth - 1)})`,
      () => `${numberOf(2)} ${pick(['==', '!=', '<', '<=', '>', '>='])} ${numberOf(2)}`,
      () => `${textOf(2)} ${pick(['==', '!=', '<', '<=', '>', '>='])} ${textOf(1)}`,
      () => `${any()} ${pick(['==', '!='])} ${any()}`,
      () => `${any()} in ${pick([list, map, set])()}`,
      () => `${list()}.${pick(['hasAll', 'hasAny', 'hasOnly'])}(${list()})`,
      () => `${set()}.${pick(['hasAll', 'hasAny', 'hasOnly'])}(${pick([list, set])()})`,
      () => `${set()} == ${set()}`,
      () => `${any()} is ${pick(['int', 'float', 'number', 'string', 'list', 'map', 'bool', 'timestamp', 'duration', 'path', 'bytes', 'latlng'])}`,
      () => `${time()} ${pick(['<', '==', '>='])} (${time()} ${pick(['+', '-'])} ${duration()})`,
      () => `(${duration()} ${pick(['+', '-'])} ${duration()}) ${pick(['<', '==', '>'])} ${duration()}`,
      () => `${textOf(1)}.matches(${pick(["'[a-z]+'", "'.*l.*'", "'h(e|x)l*o'", "''", "'\\\\w*'"])})`,
      () => `${list()}.${pick(['concat', 'removeAll'])}(${list()}) == ${list()}`,
      () => `${map()}.get(${text()}, ${number()}) == ${number()}`,
      () => `${textOf(1)}.split(${pick(["'l'", "','", "'[aeiou]'", "'-'"])}).size() == ${number()}`,
    ])();
  return () => condition(3);
}

const sourceOf = (list) =>
  `rules_version = '2';\nservice cloud.firestore {\nmatch /databases/{database}/documents {\n${list.map((one, i) => `match /t/e${i} { allow get: if ${one}; }\n`).join('')}}\n}\n`;

/** Without those that the emulator's compiler refuses (types that cannot be right, some of them). */
async function compiled(emulator, list) {
  for (;;) {
    const refused = new Set((await emulator.compile(sourceOf(list))).map((one) => one.match(/^L(\d+):/)).filter(Boolean).map((match) => match[1] - 4).filter((i) => i >= 0));
    if (refused.size === 0) return list;
    list = list.filter((_, i) => !refused.has(i));
  }
}

test('random expressions', { skip: emulatorMissing() ?? false }, async () => {
  const driver = new RulesDriver();
  const server = await startServer({ emulator: true });
  const emulator = new EmulatorRules(server);
  const make = expressions(generator(SEED));
  const { payload } = makeToken(emulator.project, 'alice');
  const wrong = [];
  let allowed = 0, compared = 0;
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const list = await compiled(emulator, Array.from({ length: EACH }, make));
      assert.ok(list.length > EACH / 2, `the emulator refuses most (${list.length} left)`);
      assert.ok((await driver.compile(sourceOf(list))).ok);
      await emulator.store(Object.fromEntries(list.map((_, i) => [`t/e${i}`, fields])));
      for (const [i, expression] of list.entries()) {
        const theirs = await emulator.get(`t/e${i}`, { uid: 'alice' });
        const ours = await driver.judge({ operation: 'get', project: emulator.project, path: `t/e${i}`, uid: 'alice', claims: payload, resource: fields });
        allowed += theirs.outcome === 'allow';
        compared++;
        if (ours.outcome !== theirs.outcome) wrong.push(`${expression}: skerry ${ours.outcome} ${ours.reason}, emulator ${theirs.outcome} ${theirs.reason ?? ''}`);
      }
    }
  } finally {
    emulator.close();
    await driver.close();
    await server.close();
  }
  console.log(`# seed ${SEED}: ${compared} expressions compared, ${allowed} allowed`);
  assert.ok(allowed > compared / 10);
  assert.deepEqual(wrong, []);
});
