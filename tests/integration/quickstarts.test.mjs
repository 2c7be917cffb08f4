// docs/clients, followed to the letter: the blocks that name a file are written, the others run as they stand, and what
// they print is what the page says. Only the box has another name here. A page that cannot run here says so itself.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort, isUnderQemu, makeTempDir, removeDir, skerryBinary, skerryOnly } from './support/server.mjs';
import { toolMissing } from './support/tool.mjs';
import { patient, until } from './support/wait.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGES = path.join(ROOT, 'docs/clients');
const RUN_MS = patient(150_000); // Go compiles the SDK, the first time
const RUNNABLE = { js: '//', py: '#', go: '//', rules: '//', ini: ';' }; // and how a comment begins
const EXPECTED = ['python', 'kotlin', 'kts', 'xml', 'swift'];
const pageText = (page) => fs.readFileSync(path.join(PAGES, page), 'utf8');

/** The blocks of a page: {language, text, file: where it is to be written, if anywhere}. */
function blocksOf(page) {
  return [...pageText(page).matchAll(/^```([^\n]*)\n(.*?)^```$/gms)].map(([, language, text]) => {
    const comment = RUNNABLE[language];
    const file = comment && text.startsWith(`${comment} `) ? text.slice(comment.length + 1, text.indexOf('\n')) : undefined;
    return { language, text, file };
  });
}

const home = makeTempDir();
let port, serving;
before(async () => {
  if (skerryOnly) return;
  port = await freePort();
  fs.mkdirSync(path.join(home, 'bin'));
  fs.writeFileSync(path.join(home, 'bin/skerry'), `#!/bin/sh\nexec '${skerryBinary()}' "$@"\n`, { mode: 0o755 });
  fs.symlinkSync(path.join(ROOT, 'tests/integration/node_modules'), path.join(home, 'node_modules'));
});
process.on('exit', () => serving?.kill('SIGKILL'));
after(async () => {
  if (serving?.kill('SIGTERM')) await once(serving, 'exit'); // it writes to the end
  removeDir(home);
});

const here = (text) => text
  .replaceAll('0.0.0.0:8443', `127.0.0.1:${port}`)
  .replaceAll('box.example:8443', `localhost:${port}`)
  .replaceAll('box.example', 'localhost')
  .replaceAll('/usr/share/skerry/proto', path.join(ROOT, 'proto'));

/** This machine's own, without what makes programs trust others than the pages say. */
function environment() {
  const env = {
    ...process.env,
    PATH: `${home}/bin:/usr/bin:${process.env.PATH}`, // Debian's python3 and go, which its packages are for
    SKERRY_CLOCK: 'trusted',
    ...(isUnderQemu && { SKERRY_SHED_TARGET: '1s' }),
    METADATA_SERVER_DETECTION: 'none', // nothing leaves this machine
    GOCACHE: path.join(ROOT, 'build/go-cache'),
  };
  for (const name of ['GRPC_DEFAULT_SSL_ROOTS_FILE_PATH', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'FIRESTORE_EMULATOR_HOST', 'GOFLAGS', 'PYTHONPATH'])
    delete env[name];
  return env;
}

function sh(script) {
  const { status, stdout, stderr } = spawnSync('bash', ['-euc', here(script)], { cwd: home, env: environment(), encoding: 'utf8', timeout: RUN_MS });
  assert.equal(status, 0, `${script}\n${stdout}${stderr}`);
  return stdout;
}

async function serve(command) {
  serving = spawn('bash', ['-c', `exec ${here(command).trim()}`], { cwd: home, env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [serving.stdout, serving.stderr]) stream.on('data', (chunk) => (said += chunk));
  await until(() => said.includes('Stop with') || serving.exitCode !== null, 'the box to serve', 30_000);
  assert.equal(serving.exitCode, null, said);
}

async function follow(page) {
  let printed = '';
  for (const { language, text, file } of blocksOf(page)) {
    if (file) {
      fs.mkdirSync(path.dirname(path.join(home, file)), { recursive: true });
      fs.writeFileSync(path.join(home, file), here(text));
    } else if (language === 'sh') printed = sh(text);
    else if (language === 'sh serve') await serve(text);
    else if (language === 'text') assert.equal(printed, text);
    else assert.ok(EXPECTED.includes(language), `${page}: a block of "${language}" that nobody runs`);
  }
}

const imports = (modules) => spawnSync('/usr/bin/python3', ['-c', `import ${modules}`]).status === 0;
const goSources = (name) => fs.existsSync(path.join('/usr/share/gocode/src', name));
const PAGES_RUN = {
  'node.md': false,
  'web.md': toolMissing('curl'),
  'python.md': (!imports('grpc') || toolMissing('grpc_python_plugin')) && 'python3-grpcio or protobuf-compiler-grpc is not installed',
  'go.md': (toolMissing('protoc-gen-go') || !goSources('cloud.google.com/go/firestore') || !goSources('google.golang.org/protobuf')) &&
    'Go and its packages are not installed: scripts/setup --go',
};
const PAGES_EXPECTED = ['android.md', 'ios.md'];

test('docs/clients', { skip: skerryOnly }, async (t) => {
  await follow('README.md');
  for (const [page, skip] of Object.entries(PAGES_RUN)) await t.test(page, { skip }, () => follow(page));
});

test('pages that are not run say so, and every page is one or the other', () => {
  for (const page of PAGES_EXPECTED) {
    assert.match(pageText(page), /^Expected, not run/m);
    for (const { language } of blocksOf(page)) assert.ok(EXPECTED.includes(language), `${page}: ${language}`);
  }
  assert.deepEqual(fs.readdirSync(PAGES).sort(), ['README.md', ...Object.keys(PAGES_RUN), ...PAGES_EXPECTED].sort());
});

test('the packages are those that are tested, and there are the pages that are linked to', () => {
  const { dependencies } = JSON.parse(fs.readFileSync(path.join(ROOT, 'tests/integration/package.json'), 'utf8'));
  let named = 0;
  for (const page of fs.readdirSync(PAGES)) {
    for (const [, , names] of pageText(page).matchAll(/^( {4})npm install (.*)$/gm))
      for (const name of names.split(' ')) {
        const at = name.lastIndexOf('@');
        assert.equal(dependencies[name.slice(0, at)], name.slice(at + 1), `${page}: ${name}`);
        named++;
      }
    for (const [, link] of pageText(page).matchAll(/\]\(([^)#]+)\)/g)) assert.ok(fs.existsSync(path.join(PAGES, link)), `${page}: ${link}`);
  }
  assert.ok(named >= 9);
});
