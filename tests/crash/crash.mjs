// Kills the server at random moments under concurrent commits of several documents, and checks after each restart that
// every acknowledged commit is there, whole, and none half.
//
//   SKERRY_BIN=build/release/skerry node tests/crash/crash.mjs [ROUNDS] [SEED]     (or the environment's ROUNDS, SEED)
//
// Each writer commits, again and again, one token to all documents of one of its sets, adds 1 to its counter, and creates a
// document of its own: all in one commit. After a kill:
//   - the documents of a set hold one token: no commit is half there;
//   - that token is the newest acknowledged one, or one that was sent later (sent, not yet answered, may be there or not);
//   - each counter lies between the commits acknowledged and those sent, and equals the number of created documents;
//   - no created document of an acknowledged commit is missing, and each holds its own token.
// In each round other index definitions are applied, so that the kill falls into the building or the dropping of indexes.
// After each kill `skerry verify` must find no damage: the engine's, and between documents and index entries.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Rpc, value as v } from '../integration/support/rpc.mjs';
import { makeTempDir, removeDir, runSkerry, Server } from '../integration/support/server.mjs';
import { isUnderQemu, patient } from '../integration/support/wait.mjs';

const ROUNDS = Number(process.argv[2] ?? process.env.ROUNDS ?? 20);
const SEED = Number(process.argv[3] ?? process.env.SEED ?? Date.now() % 1_000_000_000);
const WRITERS = 12;
const CONNECTIONS = 4;
const SETS = 3; // of documents, a writer
const SET_SIZE = 5;
const KILL_AFTER_MS = [20, 400];

const column = (fieldPath, order = 'ASCENDING') => ({ fieldPath, order });
const composite = (collectionGroup, ...fields) => ({ collectionGroup, queryScope: 'COLLECTION', fields });
const created = Array.from({ length: WRITERS }, (_, id) => composite(`created-${id}`, column('tags.a'), column('token', 'DESCENDING')));
const inArrays = Array.from({ length: WRITERS }, (_, id) => composite(`created-${id}`, { fieldPath: 'list', arrayConfig: 'CONTAINS' }, column('token')));
const exempt = { collectionGroup: 'set', fieldPath: 'padding', indexes: [] };
const inGroups = { collectionGroup: 'set', fieldPath: 'token', indexes: [{ queryScope: 'COLLECTION_GROUP', order: 'ASCENDING' }] };
const DEFINITIONS = [
  { indexes: created, fieldOverrides: [exempt] },
  { indexes: [composite('set', column('token'), column('padding')), ...inArrays], fieldOverrides: [] },
  { indexes: [...created, ...inArrays], fieldOverrides: [inGroups] },
  { indexes: [], fieldOverrides: [exempt, inGroups] },
];

let state = SEED >>> 0;
function random(below) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
}

const database = 'projects/crash/databases/(default)';
const nameOf = (path) => `${database}/documents/${path}`;

class Writer {
  constructor(id) {
    this.id = id;
    this.sent = 0; // commits ever
    this.acknowledged = new Set(); // their numbers
    this.newest = Array(SETS).fill(0); // acknowledged, of each set
  }

  setPaths(set) {
    return Array.from({ length: SET_SIZE }, (_, i) => `set/${this.id}-${set}-${i}`);
  }
  counterPath() {
    return `counter/${this.id}`;
  }
  createdPath(number) {
    return `created-${this.id}/${number}`;
  }

  commit(number, set) {
    const token = { token: v.int(number), padding: v.string('x'.repeat(random(2000))) };
    const fields = { token: v.int(number), tags: v.map({ a: v.string(`t${number % 10}`) }), list: v.array(v.int(number % 7), v.int(number % 5), v.string('x')) };
    const writes = this.setPaths(set).map((path) => ({ update: { name: nameOf(path), fields: token } }));
    writes.push({ update: { name: nameOf(this.counterPath()) }, update_mask: { field_paths: [] }, update_transforms: [{ field_path: 'n', increment: v.int(1) }] });
    writes.push({ update: { name: nameOf(this.createdPath(number)), fields }, current_document: { exists: false } });
    return { database, writes };
  }

  /** Commits until the server is gone. Anything but a lost connection is an error. */
  async run(rpc) {
    for (;;) {
      const number = ++this.sent;
      const set = number % SETS;
      try {
        await rpc.call('Commit', this.commit(number, set), { deadlineMs: patient(10_000) });
      } catch (error) {
        assert.equal(error.code, 14, `writer ${this.id}, commit ${number}: ${error.message}`); // UNAVAILABLE
        return;
      }
      this.acknowledged.add(number);
      this.newest[set] = number;
    }
  }

  async check(rpc) {
    const documents = await readAll(rpc, [...Array(SETS).keys()].flatMap((set) => this.setPaths(set)).concat(this.counterPath()));
    for (let set = 0; set < SETS; set++) {
      const tokens = new Set(this.setPaths(set).map((path) => Number(documents.get(path)?.fields.token.integer_value ?? 0)));
      assert.equal(tokens.size, 1, `writer ${this.id}, set ${set}: half a commit: ${[...tokens]}`);
      const [token] = tokens;
      assert.ok(token >= this.newest[set], `writer ${this.id}, set ${set}: acknowledged ${this.newest[set]}, found ${token}`);
      assert.ok(token <= this.sent && (token === 0 || token % SETS === set), `writer ${this.id}, set ${set}: token ${token} was never sent`);
      this.newest[set] = token;
    }
    const created = await this.#checkCreated(rpc);
    const counter = Number(documents.get(this.counterPath())?.fields.n.integer_value ?? 0);
    assert.ok(counter >= this.acknowledged.size && counter <= this.sent, `writer ${this.id}: counter ${counter}, acknowledged ${this.acknowledged.size}, sent ${this.sent}`);
    assert.equal(created.length, counter, `writer ${this.id}: ${created.length} created documents, counter ${counter}`);
    this.acknowledged = new Set(created); // what is there stays there
  }

  async #checkCreated(rpc) {
    const found = [];
    let page_token = '';
    do {
      const page = await rpc.call('ListDocuments', { parent: `${database}/documents`, collection_id: `created-${this.id}`, page_size: 5000, page_token });
      for (const document of page.documents ?? []) {
        const number = Number(document.name.split('/').at(-1));
        assert.equal(Number(document.fields.token.integer_value), number);
        found.push(number);
      }
      page_token = page.next_page_token ?? '';
    } while (page_token !== '');
    const there = new Set(found);
    const lost = [...this.acknowledged].filter((number) => !there.has(number));
    assert.deepEqual(lost, [], `writer ${this.id}: acknowledged commits are lost`);
    return found;
  }
}

async function readAll(rpc, paths) {
  const responses = await rpc.collect('BatchGetDocuments', { database, documents: paths.map(nameOf) });
  const prefix = nameOf('').length;
  return new Map(responses.filter((one) => one.found).map(({ found }) => [found.name.slice(prefix), found]));
}

function index(server, ...words) {
  const { code, stdout, stderr } = runSkerry(['index', ...words, '--data', server.dataDir], { timeout: 30_000 });
  assert.equal(code, 0, stderr);
  return stdout;
}

function verify(server) {
  const { code, stdout, stderr } = runSkerry(['verify', '--data', server.dataDir], { timeout: 60_000 });
  assert.equal(code, 0, stdout + stderr);
  return stdout.trim();
}

let cutShort = 0; // kills while indexes were being built or dropped

async function round(server, writers, number) {
  await server.start();
  if (/^(building|waiting|dropping)/m.test(index(server, 'list'))) cutShort++;
  const rpcs = Array.from({ length: CONNECTIONS }, () => new Rpc(server.address));
  try {
    await Promise.all(writers.map((writer) => writer.check(rpcs[writer.id % CONNECTIONS])));
    const runs = Promise.all(writers.map((writer) => writer.run(rpcs[writer.id % CONNECTIONS])));
    fs.writeFileSync(definitionsFile, JSON.stringify(DEFINITIONS[number % DEFINITIONS.length]));
    index(server, 'apply', definitionsFile);
    const [least, most] = KILL_AFTER_MS;
    await Promise.race([sleep(least + random(most - least)), runs]);
    assert.ok(server.running && (await Promise.race([server.ended, null])) === null, 'the server ended by itself');
    await server.kill();
    await runs;
  } finally {
    for (const rpc of rpcs) rpc.close();
  }
  verify(server);
}

console.log(`crash test: ${ROUNDS} rounds, seed ${SEED}`);
const directory = makeTempDir();
const definitionsFile = path.join(directory, 'firestore.indexes.json');
const server = new Server({ args: ['--dev', '--listen', '127.0.0.1:0', '--log-level', 'warn'] });
const writers = Array.from({ length: WRITERS }, (_, id) => new Writer(id));
let failed = true;
try {
  for (let i = 0; i < ROUNDS; i++) await round(server, writers, i);
  await server.start();
  const rpc = new Rpc(server.address);
  for (const writer of writers) await writer.check(rpc);
  rpc.close();
  await server.kill();
  const verified = verify(server);
  const commits = writers.reduce((sum, writer) => sum + writer.acknowledged.size, 0);
  console.log(`${commits} commits of ${SET_SIZE + 2} documents are there, whole; ${cutShort} kills fell into work on indexes. ${verified}`);
  // Under emulation the program that asks for the work takes longer to end than the work.
  assert.ok(ROUNDS < 10 || cutShort > 0 || isUnderQemu, 'no kill fell into work on indexes');
  failed = false;
} catch (error) {
  console.log(`FAILED with seed ${SEED}; the data is kept in ${server.dataDir}`);
  console.log(error.stack ?? error);
  console.log(server.log.slice(-4000));
} finally {
  server.ownsDataDir = !failed;
  server.discard();
  removeDir(directory);
}
process.exit(failed ? 1 : 0);
