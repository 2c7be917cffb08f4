// Nothing that a serial order could not give: over the whole server, by hand and through the official clients. Each
// workload also runs without transactions, when its checker must see that something went wrong.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fs, phone, switchAllOff } from './support/app.mjs';
import { isEmulator, startServer } from './support/server.mjs';
import { code, freshDatabase, Rpc, value } from './support/rpc.mjs';
import { connect, disconnectAll } from './support/sdk.mjs';

let server;
before(async () => {
  server = await startServer();
});
after(async () => {
  await switchAllOff();
  await disconnectAll();
  await server.close();
});

const WRITERS = 12, ATTEMPTS = 25, CLIENTS = 4;
const random = (below) => Math.floor(Math.random() * below);

/** One transaction by hand, or with `safe` false the same reads and writes without one. */
class Attempt {
  constructor(rpc, db, safe) {
    Object.assign(this, { rpc, db, safe, writes: [] });
  }
  async begin(options) {
    if (this.safe) this.transaction = (await this.rpc.call('BeginTransaction', { database: this.db.name, options })).transaction;
    return this;
  }
  get selector() {
    return this.safe ? { transaction: this.transaction } : {};
  }
  async get(...paths) {
    const responses = await this.rpc.collect('BatchGetDocuments', { database: this.db.name, documents: paths.map(this.db.doc), ...this.selector });
    const of = new Map(responses.filter((one) => one.found).map(({ found }) => [found.name, Number(found.fields.n.integer_value)]));
    return paths.map((path) => of.get(this.db.doc(path)) ?? 0);
  }
  async list() {
    const { documents = [] } = await this.rpc.call('ListDocuments', { parent: this.db.root, collection_id: 'seats', page_size: 1000, ...this.selector });
    return documents.map((one) => one.name);
  }
  async query() {
    const structured_query = { from: [{ collection_id: 'seats' }], where: { field_filter: { field: { field_path: 'n' }, op: 'EQUAL', value: value.int(1) } } };
    const responses = await this.rpc.collect('RunQuery', { parent: this.db.root, structured_query, ...this.selector });
    return responses.flatMap((one) => one.document?.name ?? []);
  }
  set(path, n) {
    this.writes.push({ update: { name: this.db.doc(path), fields: { n: value.int(n) } } });
  }
  delete(name) {
    this.writes.push({ delete: name });
  }
  commit() {
    return this.rpc.call('Commit', { database: this.db.name, writes: this.writes, ...this.selector });
  }
}

const ACCOUNTS = ['a/1', 'a/2', 'a/3', 'a/4'], SEATS = 5;
const seats = (find) => ({
  setUp: () => {},
  async write(attempt) {
    const taken = await attempt[find]();
    if (taken.length < SEATS && random(4) > 0) attempt.set(`seats/${random(1000)}`, 1);
    else if (taken.length > 0) attempt.delete(taken[random(taken.length)]);
  },
  isBroken: async (attempt) => (await attempt[find]()).length > SEATS,
});
const workloads = {
  'money moves': {
    setUp: (attempt) => ACCOUNTS.forEach((account) => attempt.set(account, 100)),
    async write(attempt) {
      const from = random(4), to = (from + 1 + random(3)) % 4;
      const [has, gets] = await attempt.get(ACCOUNTS[from], ACCOUNTS[to]);
      const moves = random(has + 1);
      attempt.set(ACCOUNTS[from], has - moves);
      attempt.set(ACCOUNTS[to], gets + moves);
    },
    isBroken: async (attempt) => (await attempt.get(...ACCOUNTS)).reduce((a, b) => a + b) !== 400,
  },
  'doctors on call': {
    setUp: (attempt) => ['d/1', 'd/2'].forEach((doctor) => attempt.set(doctor, 1)),
    async write(attempt) {
      const [one, two] = await attempt.get('d/1', 'd/2');
      attempt.set(`d/${1 + random(2)}`, one + two < 2 ? 1 : 0);
    },
    isBroken: async (attempt) => (await attempt.get('d/1', 'd/2')).every((on) => on === 0),
  },
  'seats, counted in a list': seats('list'),
  'seats, counted by a query': seats('query'),
};

/** Runs a workload: {committed, aborted, anomalies}. */
async function run(workload, safe) {
  const db = freshDatabase(), rpcs = Array.from({ length: CLIENTS }, () => new Rpc(server.address));
  const counts = { committed: 0, aborted: 0, anomalies: 0 };
  const setUp = new Attempt(rpcs[0], db, false);
  workload.setUp(setUp);
  await setUp.commit();
  let writing = true;
  const writer = async (_, i) => {
    for (let n = 0; n < ATTEMPTS; n++)
      try {
        const attempt = await new Attempt(rpcs[i % CLIENTS], db, safe).begin();
        await workload.write(attempt);
        await attempt.commit();
        counts.committed++;
      } catch (error) {
        assert.equal(error.code, code.ABORTED, error.message);
        counts.aborted++;
      }
  };
  const checker = async () => {
    for (let last = false; !last; ) {
      last = !writing;
      const attempt = await new Attempt(rpcs[0], db, safe).begin({ read_only: {} });
      if (await workload.isBroken(attempt)) counts.anomalies++;
      if (safe) await attempt.commit();
    }
  };
  const checking = checker();
  await Promise.all(Array.from({ length: WRITERS }, writer));
  writing = false;
  await checking;
  rpcs.forEach((rpc) => rpc.close());
  return counts;
}

async function hasQueries() {
  const rpc = new Rpc(server.address);
  try {
    await new Attempt(rpc, freshDatabase(), false).query();
    return true;
  } catch (error) {
    assert.equal(error.code, code.UNIMPLEMENTED, error.message);
    return false;
  } finally {
    rpc.close();
  }
}

for (const [name, workload] of Object.entries(workloads))
  test(`${name}`, { skip: isEmulator && 'it locks, and this takes minutes' }, async (t) => {
    if (name.includes('query') && !(await hasQueries())) return t.skip('this version has no queries yet');
    const safe = await run(workload, true);
    assert.equal(safe.anomalies, 0);
    assert.ok(safe.committed > 0 && safe.aborted > 0, JSON.stringify(safe));
    let unsafe;
    for (let round = 0; round < 10 && !(unsafe?.anomalies > 0); round++) unsafe = await run(workload, false);
    assert.ok(unsafe.anomalies > 0, 'the checker saw nothing, though there were no transactions');
    console.log(`# ${name}: ${JSON.stringify(safe)}, without transactions ${JSON.stringify(unsafe)}`);
  });

test('the server SDK moves money: all of it succeeds, none is lost', async () => {
  const clients = Array.from({ length: CLIENTS }, () => connect(server, { projectId: `bank${process.pid}` }));
  const accounts = (firestore) => ACCOUNTS.map((path) => firestore.doc(path));
  await Promise.all(accounts(clients[0]).map((account) => account.set({ n: 100 })));
  await Promise.all(Array.from({ length: 16 }, (_, i) => {
    const firestore = clients[i % CLIENTS];
    return firestore.runTransaction(async (transaction) => {
      const all = accounts(firestore), from = all[i % 4], to = all[(i + 1) % 4];
      const [has, gets] = await transaction.getAll(from, to);
      transaction.update(from, { n: has.get('n') - 10 });
      transaction.update(to, { n: gets.get('n') + 10 });
    });
  }));
  const sum = await clients[0].runTransaction(
    async (transaction) => (await transaction.getAll(...accounts(clients[0]))).reduce((total, one) => total + one.get('n'), 0), { readOnly: true });
  assert.equal(sum, 400);
});

test('the app SDK counts: transactions by update_time', async () => {
  const one = phone(server), { db } = one;
  const counter = fs.doc(db, 'counters/c');
  await fs.setDoc(counter, { n: 0 });
  await Promise.all(Array.from({ length: 4 }, () =>
    fs.runTransaction(db, async (transaction) => {
      const n = (await transaction.get(counter)).data().n;
      transaction.update(counter, { n: n + 1 });
    })));
  await fs.runTransaction(db, async (transaction) => {
    const [was, missing] = [await transaction.get(counter), await transaction.get(fs.doc(db, 'counters/none'))];
    assert.equal(was.data().n, 4);
    assert.equal(missing.exists(), false);
    transaction.set(fs.doc(db, 'counters/none'), { n: was.data().n });
  });
  let attempts = 0;
  await fs.runTransaction(db, async (transaction) => {
    const n = (await transaction.get(counter)).data().n;
    if (attempts++ === 0) await fs.updateDoc(counter, { n: 100 });
    transaction.update(counter, { n: n + 1 });
  });
  assert.equal(attempts, 2);
  await assert.rejects(
    fs.runTransaction(db, async (transaction) => void transaction.update(fs.doc(db, 'counters/nowhere'), { n: 1 })),
    { code: 'not-found' });
  await assert.rejects(
    fs.runTransaction(db, async (transaction) => {
      await transaction.get(counter);
      transaction.set(counter, { n: -1 });
      throw new Error('changed my mind');
    }),
    /changed my mind/);
  const rpc = new Rpc(server.address);
  const n = async (path) => (await rpc.call('GetDocument', { name: `${one.root}/${path}` })).fields.n.integer_value;
  assert.deepEqual([await n('counters/c'), await n('counters/none')], ['101', '4']);
  rpc.close();
});
