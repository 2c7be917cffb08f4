// Which files of rules are taken: rules/files.txt has them, each after a line "+" or "-", with "---" between. Skerry says what
// the file says, and so does the official emulator where it is present.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { EmulatorRules, RulesDriver } from './support/rules.mjs';
import { emulatorMissing, startServer } from './support/server.mjs';

const cases = fs.readFileSync(new URL('./rules/files.txt', import.meta.url), 'utf8').split('\n---\n').filter((one) => one.trim()).map((one) => ({
  isGood: one.startsWith('+\n'), source: one.slice(2),
}));

test('skerry takes the right ones, and says what is wrong with the others, and where', async () => {
  assert.ok(cases.length > 120);
  const driver = new RulesDriver();
  const wrong = [];
  for (const { isGood, source } of cases) {
    const answer = await driver.compile(source);
    if (answer.ok !== isGood) wrong.push(`${isGood ? '+' : '-'} ${source}: ${answer.message}`);
    const lines = source.split('\n');
    for (const problem of answer.problems) {
      assert.ok(problem.line >= 1 && problem.line <= lines.length && problem.column >= 1 && problem.column <= Buffer.byteLength(lines[problem.line - 1]) + 1, `${source}: ${JSON.stringify(problem)}`);
      assert.ok(problem.text.length > 8);
    }
    assert.equal(answer.problems.some((one) => !one.warning), !answer.ok);
  }
  await driver.close();
  assert.deepEqual(wrong, []);
});

test('the emulator takes the same', { skip: emulatorMissing() ?? false }, async () => {
  const server = await startServer({ emulator: true });
  const emulator = new EmulatorRules(server);
  const wrong = [];
  try {
    for (const { isGood, source } of cases) {
      const problems = await emulator.compile(source);
      if ((problems.length === 0) !== isGood) wrong.push(`${isGood ? '+' : '-'} ${source}: ${problems}`);
    }
  } finally {
    emulator.close();
    await server.close();
  }
  assert.deepEqual(wrong, []);
});
