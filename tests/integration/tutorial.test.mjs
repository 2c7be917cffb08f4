// docs/tutorial.md, followed to the letter: its commands are run as they stand, in an empty home.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort, makeTempDir, removeDir } from './support/server.mjs';
import { until } from './support/wait.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const text = fs.readFileSync(path.join(root, 'docs/tutorial.md'), 'utf8');
const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map((match) => match[1]);
const pythonMissing = spawnSync('/usr/bin/python3', ['-c', 'import grpc, grpc_tools']).status !== 0;

const home = makeTempDir();
// Debian's python3, which its packages are for, whatever else is in PATH.
const env = { ...process.env, HOME: home, PATH: `/usr/bin:${process.env.PATH}` };
let serving;
after(async () => {
  if (serving?.kill('SIGTERM')) await once(serving, 'exit'); // it writes to the end
  removeDir(home);
});

// One shell for all blocks but the one that serves, as in a terminal.
function sh(script) {
  const { status, stdout, stderr } = spawnSync('bash', ['-euc', script], { cwd: root, env, encoding: 'utf8', timeout: 280_000 });
  assert.equal(status, 0, `${script}\n${stdout}${stderr}`);
  return stdout;
}

test('the tutorial', async (t) => {
  const port = await freePort(); // 8080 may be taken here
  const steps = blocks.map((block) => block.replaceAll('127.0.0.1:8080', `127.0.0.1:${port}`));
  const [install, contract, code, building, serve, curl, commands, python] = steps;
  assert.equal(steps.length, 8);
  assert.equal(install, 'make install PREFIX=$HOME/skerry\n');
  // The set-up and the build are those that this test is part of.
  if (path.resolve(process.env.SKERRY_BUILD) === path.join(root, 'build/release')) sh(install);
  else sh(`cmake --install ${process.env.SKERRY_BUILD} --prefix $HOME/skerry`);
  sh(contract + code + building);

  serving = spawn('bash', ['-c', `exec ${serve.trim()}`], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  serving.stdout.on('data', (chunk) => (said += chunk));
  await until(() => said.includes('Stop with'), 'the program to serve', 30_000);

  const answers = sh(curl).replaceAll('\n', '');
  const promised = [...text.matchAll(/`([^`\n]*"(?:ada|grace)"[^`\n]*)`/g)].map((match) => match[1]).join('');
  assert.match(promised, /ada.*grace/);
  assert.ok(answers.endsWith(promised), answers);
  const listed = sh(commands.replace(' list ', ` list --target 127.0.0.1:${port} `));
  assert.match(listed, /visitors\/ada|^ada/m);

  await t.test('the client in Python', { skip: pythonMissing && 'python3-grpcio or python3-grpc-tools is not installed' }, () => {
    assert.equal(sh(python), '2\ngrace 2\nada 2\n');
  });
});

test('the other pages name what there is', () => {
  const header = fs.readFileSync(path.join(root, 'server/embed/documents.h'), 'utf8') + fs.readFileSync(path.join(root, 'server/embed/server.h'), 'utf8');
  const page = fs.readFileSync(path.join(root, 'docs/library.md'), 'utf8');
  for (const [, name] of page.matchAll(/`(skerry_[a-z_]+)`/g))
    assert.ok(header.includes(name) || ['skerry_add_service', 'skerry_'].includes(name), `docs/library.md: ${name}`);
});
