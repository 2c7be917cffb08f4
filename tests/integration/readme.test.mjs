// The README's client is what stands in examples/node, and does what it seems to do.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import './support/packages.mjs';
import { startServer } from './support/server.mjs';
import { patient } from './support/wait.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const example = path.join(root, 'examples/node/client.mjs');

let server, folder;
before(async () => {
  server = await startServer();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'skerry-readme-'));
});
after(async () => {
  fs.rmSync(folder, { recursive: true });
  await server.close();
});

test('the README has the example', () => {
  const [, client] = fs.readFileSync(path.join(root, 'README.md'), 'utf8').match(/^```js\n(.*?)^```$/ms);
  assert.ok(fs.readFileSync(example, 'utf8').endsWith(client));
});

test('the example runs', async () => {
  fs.copyFileSync(example, path.join(folder, 'client.mjs'));
  fs.symlinkSync(path.join(root, 'tests/integration/node_modules'), path.join(folder, 'node_modules'));
  const { stdout } = await promisify(execFile)(process.execPath, [path.join(folder, 'client.mjs')], {
    env: { ...process.env, FIRESTORE_EMULATOR_HOST: server.address, METADATA_SERVER_DETECTION: 'none' },
    timeout: patient(30_000),
  });
  assert.match(stdout, /title: 'Lobby'/);
  assert.match(stdout, /visits: 1\b/);
  assert.match(stdout, /^rooms\/lobby$/m);
});

test('its package is the one that is tested', () => {
  const wants = (file) => JSON.parse(fs.readFileSync(path.join(root, file), 'utf8')).dependencies['@google-cloud/firestore'];
  assert.equal(wants('examples/node/package.json'), wants('tests/integration/package.json'));
});
