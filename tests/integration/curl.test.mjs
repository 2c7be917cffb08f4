// Every curl line of the texts does what it says; those of docs/tutorial.md are run by a test of its own.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { JWT } from 'google-auth-library';
import { Authority, opensslMissing, tlsFlags } from './support/certificates.mjs';
import { makeTempDir, removeDir, runSkerry, startServer } from './support/server.mjs';
import { toolMissing } from './support/tool.mjs';

const ROOT = new URL('../../', import.meta.url);
const TEXTS = ['README.md', 'CONTRIBUTING.md', ...fs.readdirSync(new URL('docs/', ROOT)).filter((name) => name.endsWith('.md') && name !== 'tutorial.md').map((name) => `docs/${name}`)];
const linesOf = (text) => fs.readFileSync(new URL(text, ROOT), 'utf8').split('\n');
const skip = toolMissing('curl') || opensslMissing;

let directory, authority, plain, secure, token;
before(async () => {
  if (skip) return;
  directory = makeTempDir();
  authority = new Authority(directory);
  plain = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--metrics', 'local'] });
  secure = await startServer({ args: ['--listen', '127.0.0.1:0', ...tlsFlags(authority.server()), '--clock', 'trusted', '--projects', 'shop'] });
  const key = JSON.parse(runSkerry(['key', 'create', 'till', '--data', secure.dataDir]).stdout);
  const headers = await new JWT({ email: key.client_email, key: key.private_key, keyId: key.private_key_id }).getRequestHeaders('https://firestore.googleapis.com/');
  token = headers.get('authorization').replace('Bearer ', '');
});
after(async () => {
  for (const server of [plain, secure]) await server?.close();
  if (directory) removeDir(directory);
});

/** As they stand, in one shell, with the test's addresses in place of the text's. */
function run(lines) {
  const script = lines.join('\n')
    .replaceAll('127.0.0.1:8080', plain.address)
    .replaceAll('https://box.local:8443', `https://localhost:${secure.port}`)
    .replaceAll('/etc/skerry/tls/ca.pem', authority.certFile)
    .replaceAll('curl ', 'curl -sS --fail-with-body -m 5 ');
  return spawnSync('sh', ['-e', '-c', script], { encoding: 'utf8', env: { ...process.env, TOKEN: token } });
}

test('they run', { skip }, () => {
  let count = 0;
  for (const text of TEXTS) {
    const lines = linesOf(text).filter((line) => /^ {4}(curl |[A-Z]='http)/.test(line));
    if (lines.length === 0) continue;
    const { status, stdout, stderr } = run(lines);
    assert.equal(status, 0, `${text}: ${stdout}${stderr}`);
    count += lines.filter((line) => line.startsWith('    curl ')).length;
    if (text !== 'docs/http.md') continue;
    assert.match(stdout, /"visits":\{"integerValue":"5"\}[^]*"visits":\{"integerValue":"6"\}[^]*\n\[[^]*\{\}/);
    assert.match(stdout, /^ok$/m);
    assert.match(stdout, /^skerry_calls_started_total/m);
  }
  const all = TEXTS.flatMap(linesOf).filter((line) => /^[ >$#]*curl /.test(line));
  assert.equal(count, all.length, 'a line that looks otherwise is not run');
  assert.ok(count >= 9);
});

test('and what is asked for with a token is refused without', { skip }, () => {
  const line = linesOf('docs/http.md').find((one) => one.includes('$TOKEN'));
  const { status, stdout } = run([line.replace('$TOKEN', 'x')]);
  assert.notEqual(status, 0);
  assert.match(stdout, /UNAUTHENTICATED/);
});
