// A web page in headless Chromium, of another origin than the server's, that lists, edits and streams documents over
// gRPC-Web on the TLS port, with the packages as they are published.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Authority, opensslMissing, OPEN, tlsFlags } from './support/certificates.mjs';
import { descriptorBytes } from './support/descriptors.mjs';
import { makeTempDir, removeDir, startServer } from './support/server.mjs';
import { patient } from './support/wait.mjs';

const CHROMIUM = [process.env.SKERRY_CHROMIUM, '/usr/bin/chromium'].find((path) => path && existsSync(path));
const missing = CHROMIUM ? opensslMissing : 'chromium is not installed (Debian: chromium)';
const COUNT = 120;

// Where a browser finds what the packages import: their modules, as they lie in node_modules.
const IMPORTS = {
  '@bufbuild/protobuf': '@bufbuild/protobuf/dist/esm/index.js',
  '@bufbuild/protobuf/codegenv2': '@bufbuild/protobuf/dist/esm/codegenv2/index.js',
  '@bufbuild/protobuf/reflect': '@bufbuild/protobuf/dist/esm/reflect/index.js',
  '@bufbuild/protobuf/wire': '@bufbuild/protobuf/dist/esm/wire/index.js',
  '@bufbuild/protobuf/wkt': '@bufbuild/protobuf/dist/esm/wkt/index.js',
  '@connectrpc/connect': '@connectrpc/connect/dist/esm/index.js',
  '@connectrpc/connect/protocol': '@connectrpc/connect/dist/esm/protocol/index.js',
  '@connectrpc/connect/protocol-connect': '@connectrpc/connect/dist/esm/protocol-connect/index.js',
  '@connectrpc/connect/protocol-grpc-web': '@connectrpc/connect/dist/esm/protocol-grpc-web/index.js',
  '@connectrpc/connect-web': '@connectrpc/connect-web/dist/esm/index.js',
};
const PAGE = `<!doctype html><meta charset="utf-8"><title>loading</title>
<script type="importmap">${JSON.stringify({ imports: { ...Object.fromEntries(Object.entries(IMPORTS).map(([name, file]) => [name, `/modules/${file}`])), 'grpc-web': '/grpc-web.mjs' } })}</script>
<ul id="listed"></ul><ul id="streamed"></ul><script type="module" src="/page.mjs"></script>`;
const file = (path) => readFileSync(fileURLToPath(new URL(path, import.meta.url)));
const JS = 'text/javascript';

function answer(path) {
  if (path === '/') return ['text/html', PAGE];
  if (path === '/page.mjs') return [JS, file('support/page.mjs')];
  if (path === '/descriptors.bin') return ['application/octet-stream', descriptorBytes()];
  // A CommonJS module; bundlers wrap it likewise.
  if (path === '/grpc-web.mjs') return [JS, `const exports = {}, module = { exports };\n(function () {\n${file('node_modules/grpc-web/index.js')}\n}).call(globalThis);\nexport default module.exports;\n`];
  if (/^\/modules\/@(bufbuild|connectrpc)\/[\w/.-]+\.js$/.test(path) && !path.includes('..')) return [JS, file(path.replace('/modules/', 'node_modules/'))];
  return null;
}

describe('a page in Chromium', { skip: missing }, () => {
  let directory, pages, server, browser, context;
  const origin = () => `http://localhost:${pages.address().port}`;
  before(async () => {
    directory = makeTempDir();
    pages = http.createServer((request, response) => {
      const found = answer(request.url);
      response.writeHead(found ? 200 : 404, { 'content-type': found?.[0] ?? 'text/plain' });
      response.end(found?.[1] ?? '');
    });
    await new Promise((resolve) => pages.listen(0, '127.0.0.1', resolve));
    server = await startServer({
      args: [...tlsFlags(new Authority(directory).server()), '--listen', '127.0.0.1:0', '--projects', 'demo', ...OPEN, '--cors-origins', origin()],
    });
    const { chromium } = await import('playwright-core');
    // Root has no sandbox; pages of this test are ours. The browser does not know the authority.
    browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: ['--no-sandbox', '--disable-gpu'] });
    context = await browser.newContext({ ignoreHTTPSErrors: true });
  });
  after(async () => {
    await browser?.close();
    await server?.close();
    pages?.close();
    removeDir(directory);
  });

  const open = async (at) => {
    const page = await context.newPage();
    const problems = [];
    page.on('pageerror', (error) => problems.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
    page.on('response', (response) => response.status() === 404 && response.url().includes('.js') && problems.push(`404 ${response.url()}`));
    await page.goto(at);
    await page.waitForFunction(() => document.title === 'ready', null, { timeout: patient(20_000) }).catch((error) => assert.fail(`${error}\n${problems.join('\n')}`));
    return page;
  };
  const lines = (page, id) => page.$$eval(`#${id} li`, (items) => items.map((item) => item.textContent));

  for (const kind of ['connect-web', 'grpc-web'])
    test(`${kind} lists, edits and streams`, async () => {
      const page = await open(origin());
      const { failure } = await page.evaluate(([kind, url, count]) => work(kind, url, `page-${kind}`, count), [kind, `https://localhost:${server.port}`, COUNT]);
      const wanted = Array.from({ length: COUNT }, (_, i) => `d${String(i).padStart(4, '0')}: ${i === 1 ? '<b>edited</b> ä\u0000 9007199254740993' : `made ${i}`}`);
      assert.deepEqual(await lines(page, 'listed'), wanted);
      assert.deepEqual(await lines(page, 'streamed'), [...wanted].reverse());
      assert.equal(failure.code, 5);
      assert.match(failure.text, /not found/);
      await page.close();
    });

  test('a page of an origin that is not allowed gets nothing', async () => {
    const page = await open(origin().replace('localhost', '127.0.0.1'));
    await assert.rejects(page.evaluate((url) => work('connect-web', url, 'stranger', 1), `https://localhost:${server.port}`), /fetch/i);
    await page.close();
  });
});
