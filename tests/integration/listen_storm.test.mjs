// Many listeners at once: each hears of its own document only, all of one document hear of it together, and when they
// are gone the server is as small as before.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Listener, documentsTarget, queryTarget } from './support/listen.mjs';
import { Rpc, freshDatabase, value } from './support/rpc.mjs';
import { skerryOnly, startServer } from './support/server.mjs';
import { isUnderQemu, patient } from './support/wait.mjs';

const MIB = 1 << 20;
const STREAMS = 50, TARGETS = 200;
let server, rpc;
before(async () => {
  server = await startServer();
  rpc = new Rpc(server.address);
});
after(async () => {
  rpc.close();
  await server.close();
});

const set = (name, n) => ({ update: { name, fields: { n: value.int(n) } } });

/** Streams on connections of their own, each with the targets that `target(stream, i)` gives, all current. */
async function many(database, target) {
  const clients = [];
  for (let s = 0; s < STREAMS; s++) {
    const one = new Rpc(server.address, undefined, { 'grpc.use_local_subchannel_pool': 1 });
    const listener = new Listener(one, database);
    for (let i = 0; i < TARGETS; i++) listener.add(i + 1, target(s, i));
    clients.push({ listener, close: () => (listener.stream.cancel(), one.close()) });
  }
  for (const { listener } of clients) await listener.until((l) => [...l.targets.values()].every((t) => t.current), 'all current', 60_000);
  return clients;
}

test(`${STREAMS * TARGETS} listeners come, hear what is theirs, and go`, { skip: skerryOnly, timeout: patient(150_000) }, async (t) => {
  const database = freshDatabase();
  await rpc.call('Commit', { database: database.name, writes: [set(database.doc('c/0'), 0)] });
  const round = async () => {
    const clients = await many(database, (s, i) =>
      i % 2 ? documentsTarget(database.doc(`c/${s}-${i}`)) : queryTarget(database.root, 'd', { where: { field_filter: { field: { field_path: 'n' }, op: 'EQUAL', value: value.int(s * TARGETS + i) } } }));
    const before_ = clients.map(({ listener }) => listener.log.length);
    const time = (await rpc.call('Commit', { database: database.name, writes: [set(database.doc('c/7-3'), 1), set(database.doc('d/x'), 9 * TARGETS + 4)] })).commit_time;
    await clients[7].listener.reached(time);
    await clients[9].listener.reached(time);
    await sleep(100);
    for (const [s, { listener }] of clients.entries()) {
      const news = listener.log.slice(before_[s]).filter((one) => one.document_change);
      assert.equal(news.length, s === 7 || s === 9 ? 1 : 0, `stream ${s}`);
    }
    await rpc.call('Commit', { database: database.name, writes: [{ delete: database.doc('c/7-3') }, { delete: database.doc('d/x') }] });
    for (const one of clients) one.close();
  };
  const fresh = server.residentBytes();
  await round();
  await sleep(8000);
  const small = server.residentBytes();
  await round();
  await round();
  await sleep(10_000);
  const grown = server.residentBytes() - small;
  t.diagnostic(`${(fresh / MIB).toFixed(1)} MiB at first, ${(small / MIB).toFixed(1)} MiB after the first round, ${(grown / MIB).toFixed(1)} more after two others`);
  assert.ok(isUnderQemu || grown < 2 * MIB, `${(grown / MIB).toFixed(1)} MiB more than after the first round`);
});

test('all listeners of one document hear of each commit', { skip: skerryOnly, timeout: patient(100_000) }, async (t) => {
  const database = freshDatabase(), name = database.doc('c/one');
  await rpc.call('Commit', { database: database.name, writes: [set(name, -1)] });
  const clients = await many(database, () => documentsTarget(name));
  const start = Date.now(), commits = 20;
  let time;
  for (let n = 0; n < commits; n++) time = (await rpc.call('Commit', { database: database.name, writes: [set(name, n)] })).commit_time;
  for (const { listener } of clients) {
    await listener.reached(time);
    for (const target of listener.targets.values()) assert.equal(target.docs.get(name).fields.n.integer_value, String(commits - 1));
  }
  t.diagnostic(`${commits} commits to ${STREAMS * TARGETS} listeners in ${Date.now() - start} ms (with this client)`);
  for (const one of clients) one.close();
});
