// More calls than the server can answer: what is refused says so at once and when to come back, health answers, and no
// connection takes harm.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { grpc } from './support/packages.mjs';
import { makeTempDir, removeDir, runSkerry, skerryOnly, startServer } from './support/server.mjs';
import { Rpc, code, freshDatabase, loadProto, value as v } from './support/rpc.mjs';
import { runTool, toolMissing } from './support/tool.mjs';
import { isUnderQemu } from './support/wait.mjs';
import { field, frame, tag, varint } from './support/wire.mjs';
import { ANY_PORT, Authority, OPEN, opensslMissing, tlsFlags } from './support/certificates.mjs';

const db = freshDatabase('(default)', 'skerry');
const DOCUMENTS = 2000, CONNECTIONS = 20, STREAMS = 100, SECONDS = isUnderQemu ? 20 : 3;
const RUN_QUERY = '/google.firestore.v1.Firestore/RunQuery';
const number = (id, n) => Buffer.concat([tag(id, 0), varint(n)]);
// Looks at most of the collection and finds one.
const query = field(1, `${db.name}/documents`);
const structured = field(2, field(2, field(2, 'many')), number(6, DOCUMENTS - 10), field(5, number(1, 1)));
const body = Buffer.concat([query, structured]);

/** Milliseconds of google.rpc.RetryInfo in an error, or undefined. */
function retryMs(error) {
  const bytes = error.metadata.get('grpc-status-details-bin')[0];
  if (!bytes) return undefined;
  const at = bytes.indexOf('type.googleapis.com/google.rpc.RetryInfo');
  assert.ok(at > 0, bytes.toString('latin1'));
  const duration = bytes.subarray(bytes.indexOf(0x0a, at + 40) + 2); // retry_delay
  let seconds = 0, nanos = 0;
  for (let i = 0; i < duration.length; ) {
    const key = duration[i++];
    let value = 0, shift = 0;
    do value += (duration[i] & 127) * 2 ** shift, shift += 7;
    while (duration[i++] & 128);
    if (key === 8) seconds = value;
    else nanos = value;
  }
  return seconds * 1000 + nanos / 1e6;
}

for (const kind of ['plaintext', 'TLS'])
  describe(`overload over ${kind}`, { skip: skerryOnly || opensslMissing || toolMissing('h2load') }, () => {
    let directory, server, rpc, health, url;
    before(async () => {
      directory = makeTempDir();
      const authority = new Authority(directory);
      const isTls = kind === 'TLS';
      server = await startServer({ args: [...ANY_PORT, ...(isTls ? tlsFlags(authority.server()) : ['--plaintext']), ...OPEN] });
      const target = server.address.replace('127.0.0.1', 'localhost');
      const options = isTls ? { credentials: grpc.credentials.createSsl(authority.cert) } : {};
      url = `${isTls ? 'https' : 'http'}://${server.address}${RUN_QUERY}`;
      rpc = new Rpc(target, undefined, options);
      health = new Rpc(target, loadProto('grpc/health/v1/health.proto').grpc.health.v1.Health, options);
      for (let from = 0; from < DOCUMENTS; from += 500) {
        const writes = Array.from({ length: 500 }, (_, i) => ({ update: { name: db.doc(`many/${from + i}`), fields: { n: v.int(from + i) } } }));
        await rpc.call('Commit', { database: db.name, writes });
      }
    });
    after(async () => {
      rpc?.close();
      health?.close();
      await server?.close();
      removeDir(directory);
    });

    test('refusals, health and connections', async () => {
      const file = path.join(directory, 'query');
      fs.writeFileSync(file, frame(body));
      let isOver = false;
      const crowd = runTool('h2load', ['-D', String(SECONDS), '-c', String(CONNECTIONS), '-m', String(STREAMS), '-t', '1', '-d', file,
        '-H', 'content-type: application/grpc', '-H', 'te: trailers', ...(kind === 'TLS' ? ['--npn-list=h2'] : []), url]).finally(() => (isOver = true));
      const delays = [], codes = {};
      let healthy = 0, calls = 0;
      while (!isOver) {
        const one = async (method, request) => {
          // A header of its own each time: the connection's table of headers moves on with every call, refused or not.
          const metadata = { 'x-call': `call ${calls++} ${'x'.repeat(calls % 50)}` };
          try {
            await (method === 'GetDocument' ? rpc.call(method, request, { metadata }) : rpc.collect(method, request, { metadata }));
            codes.OK = (codes.OK ?? 0) + 1;
          } catch (error) {
            assert.equal(error.code, code.RESOURCE_EXHAUSTED, String(error));
            codes.refused = (codes.refused ?? 0) + 1;
            delays.push(retryMs(error));
          }
        };
        await Promise.all([one('RunQuery', body), one('RunQuery', body), one('GetDocument', { name: db.doc('many/7') })]);
        assert.equal((await health.call('Check', { service: '' })).status, 'SERVING');
        healthy++;
      }
      const { stdout, stderr } = await crowd;
      const said = stdout + stderr;
      const [, done, succeeded] = stdout.match(/(\d+) done, (\d+) succeeded, 0 failed, 0 errored, 0 timeout/)?.map(Number) ?? assert.fail(said);
      assert.equal(succeeded, done, said); // as HTTP sees it
      assert.ok(delays.length > 0 && delays.every((ms) => ms >= 100 && ms <= 1000), `${JSON.stringify(codes)} ${delays}`);
      assert.ok(new Set(delays).size > 1 || delays.length < 3, String(delays));
      assert.ok(healthy > (isUnderQemu ? 2 : 10), `health was asked ${healthy} times`);
      const status = runSkerry(['status', '--data', server.dataDir]).stdout;
      const [, ok, failed] = status.match(/\/RunQuery +(\d+) +(\d+)/).map(Number);
      assert.ok(ok + failed >= done, `${done} ${status}`);
      assert.ok(failed > done / 2 && ok > 100, `${done} ${status}`);
      const [, refused, asTheyCame] = status.match(/load +(\d+) calls refused for overload, (\d+) of them/).map(Number);
      assert.ok(asTheyCame > 0.9 * refused, status);
      // And then it is over, for the same connections.
      await sleep(500);
      for (let i = 0; i < 20; i++) {
        const found = await rpc.collect('RunQuery', body, { metadata: { 'x-call': `after ${i}` } });
        assert.ok(found.find((one) => one.document).document.name.startsWith(db.doc('many/')));
      }
    });
  });
