// `skerry rules test`: the example in docs/rules.md does what is said there, and what goes wrong is told with its place.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { runTool } from './support/tool.mjs';

const skerry = process.env.SKERRY_BIN;
const page = fs.readFileSync(new URL('../../docs/rules.md', import.meta.url), 'utf8');
const blocks = [...page.slice(page.indexOf('## Testing rules')).matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, kind, text]) => ({ kind, text }));
const [rules, cases, output, failure] = blocks.map(({ text }) => text);

let folder;
const file = (name) => path.join(folder, name);
before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'skerry-rules-test-'));
  fs.writeFileSync(file('firestore.rules'), rules);
  fs.writeFileSync(file('cases.json'), cases);
  fs.writeFileSync(file('firebase.json'), '{"firestore": {"rules": "firestore.rules"}}');
});
after(() => fs.rmSync(folder, { recursive: true }));

/** Messages name files as they were given: here without the folder. */
async function run(...args) {
  const result = await runTool(skerry, ['rules', 'test', ...args.map((one) => (/\.(rules|json|html|txt)$/.test(one) ? file(one) : one))]);
  for (const stream of ['stdout', 'stderr', 'all']) result[stream] = result[stream].replaceAll(`${folder}/`, '');
  return result;
}
/** The documented cases, changed. */
function changed(name, change) {
  const all = JSON.parse(cases);
  change(all);
  fs.writeFileSync(file(name), JSON.stringify(all));
  return name;
}

test('the documented example does what the documentation says', async () => {
  assert.equal(blocks[1].kind, 'json');
  const result = await run('firestore.rules', 'cases.json');
  assert.equal(result.all, output);
  assert.equal(result.code, 0);
});

test('a firebase.json may name the rules', async () => {
  const result = await run('firebase.json', 'cases.json');
  assert.deepEqual([result.code, result.all], [0, output]);
});

test('what goes otherwise is told in one line, with the place', async () => {
  const result = await run('firestore.rules', changed('failing.json', (all) => {
    for (const one of all.cases) one.expect = one.expect === 'allow' ? 'deny' : 'allow';
    all.cases.push({ name: 'twice', create: 'rooms/lobby', data: {}, expect: 'deny' });
  }));
  assert.equal(result.code, 1);
  const lines = result.stdout.split('\n');
  assert.equal(`${lines[1]}\n`, failure);
  assert.equal(lines[0], 'FAIL everybody reads a public room: expected deny, got allow: get rooms/lobby: firestore.rules:8:7: this allows it');
  assert.equal(lines[3], 'FAIL but not all rooms: expected allow, got deny: list rooms: firestore.rules:8:54: The query\'s filters do not prove this for every document that it may return.');
  assert.match(lines[7], /^FAIL and not without: expected allow, got deny: create rooms\/cellar\/messages\/1: firestore\.rules:16:24: Property last is undefined/);
  assert.match(lines[8], /^FAIL twice: expected deny, got no verdict: Document already exists: .*rooms\/lobby$/);
  assert.equal(lines[9], '9 cases: 0 as expected, 9 failed.');
  assert.equal(result.stderr, '');
});

test('--verbose shows the statements that were asked', async () => {
  const result = await run('firestore.rules', 'cases.json', '--verbose');
  assert.equal(result.code, 0);
  assert.ok(result.stdout.startsWith('ok   everybody reads a public room: allow\n    get rooms/lobby\n      firestore.rules:8:7: allows\n'), result.stdout);
  assert.ok(result.stdout.includes('ok   a stranger reads no other: deny\n    get rooms/cellar\n      firestore.rules:8:7: does not allow: false\n'));
  assert.ok(result.stdout.includes('    create rooms/cellar/messages/1\n      firestore.rules:15:7: allows\n    update rooms/cellar\n      firestore.rules:11:7: allows\n'));
  assert.ok(result.stdout.endsWith(output));
});

test('coverage is written as a text and as a page', async () => {
  assert.equal((await run('firestore.rules', 'cases.json', '--coverage', 'coverage.txt')).code, 0);
  const text = fs.readFileSync(file('coverage.txt'), 'utf8');
  assert.ok(text.includes(output.split('\n')[1]));
  assert.match(text, /^ +4 +2 +1 \| +8 {8}allow read: if resource/m);
  assert.match(text, /^ +never +\| +14 {8}allow read: if request/m);
  assert.match(text, /^Never evaluated:\n {2}14:22 request\.auth\.uid in room\(id\)\.members$/m);
  assert.equal((await run('firestore.rules', 'cases.json', '--coverage', 'coverage.html')).code, 0);
  const html = fs.readFileSync(file('coverage.html'), 'utf8');
  assert.match(html, /<span class="never" title="never evaluated">/);
  assert.equal(html.match(/<span/g).length, html.match(/<\/span>/g).length);
});

test('what cannot be read is refused', async () => {
  const misspelt = await run('firestore.rules', changed('misspelt.json', (all) => { all.cases[2].were = []; }));
  assert.deepEqual([misspelt.code, misspelt.stdout], [1, '']);
  assert.match(misspelt.stderr, /misspelt\.json: case "public rooms are listed": "were" is not known here/);
  fs.writeFileSync(file('broken.json'), '{\n  "cases": [\n    {"name": }\n  ]\n}\n');
  assert.match((await run('firestore.rules', 'broken.json')).stderr, /broken\.json: line 3, column \d+: /);
  fs.writeFileSync(file('broken.rules'), 'rules_version = \'2\';\nservice cloud.firestore {\n  match /a/{b} { allow read: if ; }\n}\n');
  const broken = await run('broken.rules', 'cases.json');
  assert.deepEqual([broken.code, broken.stdout], [1, '']);
  assert.match(broken.stderr, /^broken\.rules:3:\d+: error: /m);
  assert.equal((await run('firestore.rules', 'missing.json')).code, 1);
});

test('a mistake in how it is called has a code of its own', async () => {
  for (const args of [[], ['firestore.rules'], ['firestore.rules', 'cases.json', 'more.json'], ['firestore.rules', 'cases.json', '--wrong'], ['firestore.rules', 'cases.json', '--coverage']]) {
    const result = await run(...args);
    assert.deepEqual([result.code, result.stdout], [2, ''], args.join(' '));
    assert.match(result.stderr, /skerry rules test RULES CASES/);
  }
});
