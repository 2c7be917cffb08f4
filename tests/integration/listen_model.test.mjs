// A model check of Listen: random commits and random listeners, which are added and removed, disconnect and resume, and
// outlive a server that is killed. At each global snapshot the set that a client holds must be the answer of its query
// at that read time, document by document; the answer comes from our own evaluation of all documents as of that time.
//   SKERRY_SEED=number repeats a run, SKERRY_STEPS=number makes it longer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Listener, documentsTarget, queryTarget } from './support/listen.mjs';
import { Rpc, freshDatabase, timeToMicros, value } from './support/rpc.mjs';
import { skerryOnly, startServer } from './support/server.mjs';

const SEED = Number(process.env.SKERRY_SEED ?? Date.now() % 1_000_000_000);
const STEPS = Number(process.env.SKERRY_STEPS ?? 600);

function randomFrom(seed) {
  let state = seed >>> 0 || 1;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Every version of every document that was acknowledged: name -> [{time, fields or null}], by time. */
class History {
  constructor() {
    this.docs = new Map();
  }
  put(name, time, fields) {
    if (!this.docs.has(name)) this.docs.set(name, []);
    this.docs.get(name).push({ time, fields });
    this.docs.get(name).sort((x, y) => (x.time < y.time ? -1 : 1));
  }
  at(time) {
    const found = [];
    for (const [name, versions] of this.docs) {
      let last;
      for (const one of versions) if (one.time <= time) last = one;
      if (last?.fields) found.push({ name, ...last.fields });
    }
    return found.sort((x, y) => (x.name < y.name ? -1 : 1));
  }
}

const filter = (field, op, operand) => ({ field_filter: { field: { field_path: field }, op, value: operand } });
const orders = (field, direction = 'ASCENDING') => ({ order_by: [{ field: { field_path: field }, direction }] });
const isIn = (collection) => (doc) => doc.name.split('/').at(-2) === collection;

/** A random target and what it means: answer(all documents) -> those in it. */
function randomTarget(random, database) {
  const collection = ['a', 'b'][random(2)], k = random(6), inside = isIn(collection);
  const byN = (docs, sign) => docs.sort((x, y) => sign * (x.n - y.n) || (sign * (x.name < y.name ? -1 : 1)));
  const kinds = [
    () => ({ wire: documentsTarget(database.doc(`${collection}/${k}`)), answer: (all) => all.filter((d) => d.name === database.doc(`${collection}/${k}`)) }),
    () => ({ wire: documentsTarget(...[1, 2, 3].map((i) => database.doc(`b/${i}`))), answer: (all) => all.filter((d) => [1, 2, 3].some((i) => d.name === database.doc(`b/${i}`))) }),
    () => ({ wire: queryTarget(database.root, collection), answer: (all) => all.filter(inside) }),
    () => ({ wire: queryTarget(database.root, collection, { where: filter('n', 'EQUAL', value.int(k)) }), answer: (all) => all.filter((d) => inside(d) && d.n === k) }),
    () => ({ wire: queryTarget(database.root, collection, { where: filter('n', 'GREATER_THAN', value.int(k)) }), answer: (all) => all.filter((d) => inside(d) && d.n > k) }),
    () => ({ wire: queryTarget(database.root, collection, { where: { composite_filter: { op: 'OR', filters: [filter('n', 'EQUAL', value.int(k)), filter('m', 'EQUAL', value.int(1))] } } }), answer: (all) => all.filter((d) => inside(d) && (d.n === k || d.m === 1)) }),
    () => ({ wire: queryTarget(database.root, collection, { ...orders('n'), limit: { value: k + 1 } }), answer: (all) => byN(all.filter(inside), 1).slice(0, k + 1) }),
    () => ({ wire: queryTarget(database.root, collection, { ...orders('n', 'DESCENDING'), limit: { value: 3 }, where: filter('m', 'EQUAL', value.int(k % 2)) }), answer: (all) => byN(all.filter((d) => inside(d) && d.m === k % 2), -1).slice(0, 3) }),
    () => ({ wire: queryTarget(database.root, collection, { ...orders('n'), offset: 2, limit: { value: 4 } }), answer: (all) => byN(all.filter(inside), 1).slice(2, 6) }),
    () => ({ wire: queryTarget(database.root, collection, { ...orders('n'), start_at: { values: [value.int(k)], before: true }, end_at: { values: [value.int(k + 3)], before: true } }), answer: (all) => all.filter((d) => inside(d) && d.n >= k && d.n < k + 3) }),
    () => ({ wire: { query: { parent: database.root, structured_query: { from: [{ collection_id: 'sub', all_descendants: true }] } } }, answer: (all) => all.filter(isIn('sub')) }),
  ];
  return kinds[random(kinds.length)]();
}

test(`at each snapshot every listener has the answer of its query (seed ${SEED}, ${STEPS} steps)`, { skip: skerryOnly }, async () => {
  const random = randomFrom(SEED), server = await startServer();
  server.options.args = ['--dev', '--listen', server.address];
  const database = freshDatabase(), history = new History();
  let rpc = new Rpc(server.address), snapshots = 0, last = 0n, resumed = 0, resets = 0;
  const failures = [], phones = [];

  /** What one client remembers from a snapshot to the next, and over connections. */
  const check = (phone) => (listener, read) => {
    for (const [id, target] of listener.targets) {
      if (!target.current) continue;
      phone.known.set(id, { docs: [...target.docs], token: listener.token });
      phone.checks.push({ id, read, docs: [...target.docs.values()].map((d) => ({ name: d.name, n: Number(d.fields.n.integer_value), m: Number(d.fields.m.integer_value) })) });
    }
  };
  /** Checks wait until the commits of their time are known to the history. */
  const judge = (final) => {
    for (const phone of phones) {
      const later = [];
      for (const one of phone.checks) {
        if (one.read > last && !final) {
          later.push(one);
          continue;
        }
        const meaning = phone.meanings.get(`${one.id}`);
        const wanted = meaning.answer(history.at(one.read)).sort((x, y) => (x.name < y.name ? -1 : 1));
        const got = one.docs.sort((x, y) => (x.name < y.name ? -1 : 1));
        snapshots++;
        try {
          assert.deepEqual(got, wanted);
        } catch (error) {
          failures.push(`target ${one.id} ${JSON.stringify(meaning.wire)} at ${one.read}: ${error.message}`);
        }
      }
      phone.checks = later;
    }
    assert.deepEqual(failures, [], `seed ${SEED}`);
  };
  const connect = (phone) => {
    phone.listener = new Listener(rpc, database, { onSnapshot: check(phone), deadlineMs: 300_000 });
    for (const [id, { wire }] of phone.meanings) {
      if (!phone.active.has(id)) continue;
      const from = phone.known.get(Number(id));
      if (from) resumed++;
      phone.listener.add(Number(id), from && random(2) ? { ...wire, expected_count: { value: from.docs.length } } : wire, from);
    }
  };
  const commit = async () => {
    const writes = [], fields = new Map();
    for (let i = random(5) + 1; i > 0; i--) {
      const name = database.doc([`a/${random(8)}`, `b/${random(8)}`, `a/${random(3)}/sub/${random(4)}`][random(3)]);
      const doc = random(4) ? { n: random(10), m: random(2) } : null;
      fields.set(name, doc);
      writes.push(doc ? { update: { name, fields: { n: value.int(doc.n), m: value.int(doc.m) } } } : { delete: name });
    }
    const time = timeToMicros((await rpc.call('Commit', { database: database.name, writes })).commit_time);
    for (const [name, doc] of fields) history.put(name, time, doc);
    last = time > last ? time : last;
  };
  const reconnectAll = () => {
    for (const phone of phones) connect(phone);
  };

  try {
    for (let i = 0; i < 6; i++) {
      const phone = { meanings: new Map(), active: new Set(), known: new Map(), checks: [], nextId: 1 };
      phones.push(phone);
      connect(phone);
    }
    for (let step = 0; step < STEPS; step++) {
      const phone = phones[random(phones.length)], what = random(100);
      if (what < 60) {
        await Promise.all(Array.from({ length: random(3) ? 1 : 6 }, commit));
      } else if (what < 78) {
        const id = phone.nextId++, meaning = randomTarget(random, database);
        phone.meanings.set(`${id}`, meaning);
        phone.active.add(`${id}`);
        phone.listener.add(id, meaning.wire);
      } else if (what < 88 && phone.active.size > 0) {
        const id = [...phone.active][random(phone.active.size)];
        phone.active.delete(id);
        phone.known.delete(Number(id));
        phone.listener.remove(Number(id));
      } else if (what < 95) {
        for (const one of phone.listener.targets.values()) resets += one.resets;
        phone.listener.stream.cancel();
        phone.listener.onSnapshot = undefined;
        if (random(2)) for (let i = random(4); i >= 0; i--) await commit();
        connect(phone);
      } else if (what === 99 && step % 3 === 0) {
        for (const one of phones) one.listener.onSnapshot = undefined;
        if (random(2)) await server.kill();
        else await server.stop();
        rpc.close();
        await server.start();
        rpc = new Rpc(server.address);
        reconnectAll();
      }
      judge(false);
    }
    // A commit that changes nothing makes no snapshot: one that does, in every collection.
    const end = ['a/0', 'b/0', 'a/0/sub/0'].map((relative) => database.doc(relative));
    last = timeToMicros((await rpc.call('Commit', { database: database.name, writes: end.map((name) => ({ update: { name, fields: { n: value.int(STEPS + 100), m: value.int(1) } } })) })).commit_time);
    for (const name of end) history.put(name, last, { n: STEPS + 100, m: 1 });
    for (const phone of phones) {
      if (phone.active.size > 0)
        await phone.listener.until((l) => [...l.targets.values()].every((t) => t.current), `the end, seed ${SEED}`, 30_000);
    }
    judge(true);
    assert.ok(snapshots > STEPS / 4, `${snapshots} sets were checked`);
    console.log(`seed ${SEED}: ${snapshots} sets checked, ${resumed} targets resumed, ${resets} resets`);
  } catch (error) {
    error.message = `seed ${SEED}: ${error.message}`;
    throw error;
  } finally {
    for (const phone of phones) phone.listener.stream.cancel();
    rpc.close();
    server.discard();
  }
});
