// Certificates that change while clients connect and call.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { makeTempDir, removeDir, runSkerry, skerryOnly, startServer } from './support/server.mjs';
import { freshDatabase, value as v } from './support/rpc.mjs';
import { GET, getBody, inParallel, openConnection, openRpc } from './support/tls.mjs';
import { patient, until } from './support/wait.mjs';
import { rawCall } from './support/wire.mjs';
import { ANY_PORT, Authority, OPEN, opensslMissing } from './support/certificates.mjs';

const options = { skip: skerryOnly || opensslMissing };
const db = freshDatabase('(default)', 'skerry');
const DOCUMENT = db.doc('c/x');

let directory, authority;
before(() => {
  if (options.skip) return;
  directory = makeTempDir();
  authority = new Authority(directory);
});
after(() => directory && removeDir(directory));

const status = (server) => runSkerry(['status', '--data', server.dataDir]).stdout;
const put = (rpc, name, fields) => rpc.call('Commit', { database: db.name, writes: [{ update: { name, fields } }] });

test('certificates are swapped a hundred times under load, and no call fails', options, async () => {
  const SWAPS = 100, EVERY_BY_FILE = 25, BROKEN_AT = [10, 50, 74];
  const live = path.join(directory, 'live');
  /** Both files change in one step, as where a renewal moves a link. */
  const point = (to) => {
    fs.symlinkSync(to, `${live}.new`);
    fs.renameSync(`${live}.new`, live);
  };
  const folder = (name, certificate, key) => {
    const target = path.join(directory, name);
    fs.mkdirSync(target);
    fs.writeFileSync(path.join(target, 'cert.pem'), certificate);
    fs.writeFileSync(path.join(target, 'key.pem'), key);
    return target;
  };
  const [a, b] = [authority.server('a'), authority.server('b')];
  const folders = [folder('a', a.cert, a.key), folder('b', b.cert, b.key)];
  const broken = folder('broken', a.cert, b.key);
  const prints = [a.sha256, b.sha256];
  point(folders[0]);
  const server = await startServer({ args: [...ANY_PORT, '--tls-cert', path.join(live, 'cert.pem'), '--tls-key', path.join(live, 'key.pem'), ...OPEN] });
  const steady = [openRpc(server, authority), openRpc(server, authority)];
  let running = true, calls = 0, connections = 0;
  const seen = new Map(prints.map((one) => [one, 0]));

  /** One call on a new connection: the fingerprint of the server's certificate. */
  async function probe() {
    const { socket, session } = openConnection(server, authority);
    const print = new Promise((resolve) => socket.once('secureConnect', () => resolve(socket.getPeerCertificate().fingerprint256)));
    const answer = await rawCall(session, GET, getBody(DOCUMENT));
    assert.equal(answer.code, 0, JSON.stringify(answer));
    connections++;
    const is = await print;
    session.destroy();
    return is;
  }
  const count = (text) => server.stderr.split(text).length - 1;
  const told = async (text, act) => {
    const before = count(text);
    act();
    await until(() => count(text) > before, () => `"${text}":\n${server.stderr.slice(-2000)}`, 10_000);
  };

  try {
    await put(steady[0], DOCUMENT, { n: v.int(0) });
    const listen = steady[1].open('Listen', { deadlineMs: patient(120_000) });
    const changes = [];
    listen.on('data', (one) => one.document_change && changes.push(Number(one.document_change.document.fields.n.integer_value)));
    let listenError;
    listen.on('error', (error) => (listenError = error));
    listen.write({ database: db.name, add_target: { target_id: 1, documents: { documents: [DOCUMENT] } } });
    await until(() => changes.length > 0, 'the first change', 10_000);

    const load = Promise.all([
      inParallel(2, async () => {
        while (running) {
          const print = await probe();
          assert.ok(seen.has(print), 'one of the two');
          seen.set(print, seen.get(print) + 1);
        }
      }),
      inParallel(2, async (i) => {
        while (running) {
          await steady[i].call('GetDocument', { name: DOCUMENT });
          calls++;
        }
      }),
    ]);
    load.catch(() => {}); // it is awaited below
    let failures = 0;
    for (let swap = 1; swap <= SWAPS; swap++) {
      const byFile = swap % EVERY_BY_FILE === 0;
      if (BROKEN_AT.includes(swap)) {
        const byFileToo = swap === BROKEN_AT.at(-1);
        await told(byFileToo ? 'certificates have changed but cannot be used' : 'certificates not reloaded', () => {
          point(broken);
          if (!byFileToo) server.signal('SIGHUP');
        });
        failures++;
        assert.equal(await probe(), prints[(swap - 1) % 2], 'the old one stays');
      }
      await told('certificates reloaded', () => {
        point(folders[swap % 2]);
        if (!byFile) server.signal('SIGHUP');
      });
      assert.equal(await probe(), prints[swap % 2], `after swap ${swap}${byFile ? ', by file' : ''}`);
    }
    running = false;
    await load;
    assert.match(server.stderr, /certificates not reloaded.*does not belong to the first certificate/);

    await put(steady[0], DOCUMENT, { n: v.int(1) });
    await until(() => changes.at(-1) === 1 || listenError, 'the change after all swaps', 10_000);
    assert.equal(listenError, undefined, 'the listener of the first minute still listens');
    listen.cancel();
    const text = status(server);
    assert.match(text, new RegExp(`certificates reloaded ${SWAPS} times`));
    assert.match(text, new RegExp(`^PROBLEM .*could not be read again ${failures} times`, 'm'));
    const [, handshakes, failed] = text.match(/^tls +(\d+) handshakes, \d+ resumed, (\d+) failed/m).map(Number);
    assert.ok(handshakes >= connections, `${handshakes} handshakes, ${connections} connections`);
    assert.equal(failed, 0);
    assert.ok(Math.min(...seen.values()) > 10 && calls > 100, `seen ${[...seen.values()]} times, ${calls} calls`);
  } finally {
    running = false;
    for (const one of steady) one.close();
    await server.close();
  }
});
