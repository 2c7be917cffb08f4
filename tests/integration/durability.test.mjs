// What was acknowledged is there: after SIGKILL, and after a clean stop.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { Server, skerryOnly } from './support/server.mjs';
import { Rpc, freshDatabase, microsToTime, timeToMicros, value as v } from './support/rpc.mjs';
import { connect, disconnectAll } from './support/sdk.mjs';

/** A server and, after each start, a client of it. */
async function withServer(options, run) {
  const server = new Server(options);
  const clients = [];
  const client = () => {
    clients.push(new Rpc(server.address));
    return clients.at(-1);
  };
  try {
    await server.start();
    await run(server, client);
    await server.stop();
  } finally {
    for (const one of clients) one.close();
    server.discard();
  }
}

/** Writes documents d0, d1, ... until the server is gone; adds what was acknowledged: [path, commit time, i]. */
async function writeUntilGone(rpc, db, writer, acknowledged) {
  for (let i = 0; ; i++) {
    const path = `w${writer}/d${i}`;
    try {
      const { commit_time } = await rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc(path), fields: { writer: v.int(writer), i: v.int(i) } } }] });
      acknowledged.push([path, commit_time, i]);
    } catch {
      return;
    }
  }
}

for (const sync of ['on', 'relaxed'])
  test(`kill -9 under load, sync ${sync}`, { skip: skerryOnly }, () =>
    withServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--sync', sync] }, async (server, client) => {
      const db = freshDatabase();
      let last = 0n;
      for (let round = 0; round < 3; round++) {
        const acknowledged = [];
        const writers = Array.from({ length: 8 }, (_, i) => writeUntilGone(client(), db, round * 8 + i, acknowledged));
        await sleep(300);
        for (let waited = 0; acknowledged.length <= 50; waited++) {
          assert.ok(waited < 300, `only ${acknowledged.length} commits in half a minute`);
          await sleep(100);
        }
        await server.kill();
        await Promise.all(writers);
        await server.start();
        const rpc = client();
        const found = await rpc.collect('BatchGetDocuments', { database: db.name, documents: acknowledged.map(([path]) => db.doc(path)) });
        const times = new Map(found.filter((one) => one.found).map(({ found: one }) => [one.name, one]));
        for (const [path, commit_time, i] of acknowledged) {
          const document = times.get(db.doc(path));
          assert.ok(document, `${path} was acknowledged and is gone`);
          assert.deepEqual(document.update_time, commit_time);
          assert.equal(document.fields.i.integer_value, String(i));
        }
        const { commit_time } = await rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc(`c/after${round}`) } }] });
        const newest = acknowledged.reduce((most, [, time]) => (timeToMicros(time) > most ? timeToMicros(time) : most), last);
        assert.ok(timeToMicros(commit_time) > newest, 'commit times go on');
        last = timeToMicros(commit_time);
      }
    }));

test('a clean stop and a start', { skip: skerryOnly }, () =>
  withServer({}, async (server, client) => {
    const db = freshDatabase();
    let rpc = client();
    const commit = (...writes) => rpc.call('Commit', { database: db.name, writes });
    const first = await commit(...['a', 'b', 'c', 'd'].map((id) => ({ update: { name: db.doc(`c/${id}`), fields: { n: v.int(1), text: v.string('x\0y') } } })));
    const second = await commit({ update: { name: db.doc('c/a'), fields: { n: v.int(2) } } }, { delete: db.doc('c/b') });
    const page = await rpc.call('ListDocuments', { parent: db.root, collection_id: 'c', page_size: 1 });
    const before = await rpc.call('ListDocuments', { parent: db.root, collection_id: 'c' });

    await server.stop();
    await server.start();
    rpc = client();
    assert.deepEqual(await rpc.call('ListDocuments', { parent: db.root, collection_id: 'c' }), before);
    assert.deepEqual((await rpc.call('GetDocument', { name: db.doc('c/a') })).update_time, second.commit_time);
    const old = await rpc.call('GetDocument', { name: db.doc('c/a'), read_time: first.commit_time });
    assert.deepEqual(old.fields.n, v.int(1), 'history outlives a restart');
    assert.ok(await rpc.call('GetDocument', { name: db.doc('c/b'), read_time: microsToTime(timeToMicros(second.commit_time) - 1n) }));
    const rest = await rpc.call('ListDocuments', { parent: db.root, collection_id: 'c', page_token: page.next_page_token });
    assert.equal(rest.documents.length, 2, 'page tokens outlive a restart');
    const third = await commit({ update: { name: db.doc('c/a'), fields: { n: v.int(3) } } });
    assert.ok(timeToMicros(third.commit_time) > timeToMicros(second.commit_time));
  }));

test('the official client goes on after kill -9', { skip: skerryOnly }, async () => {
  const first = new Server({});
  try {
    await first.start();
    const args = ['--dev', '--listen', first.address];
    const firestore = connect(first);
    await firestore.doc('rooms/a').set({ n: 1 });
    await first.kill();
    const second = new Server({ dataDir: first.dataDir, args });
    try {
      await second.start();
      assert.deepEqual((await firestore.doc('rooms/a').get()).data(), { n: 1 });
      await firestore.doc('rooms/a').update({ n: 2 });
      assert.deepEqual((await firestore.doc('rooms/a').get()).data(), { n: 2 });
      await disconnectAll();
      await second.stop();
    } finally {
      second.discard();
    }
  } finally {
    first.discard();
  }
});
