// memory_limit is a ceiling: whatever clients do, the resident set stays below it, calls are refused rather than memory
// taken, and nothing that was acknowledged is lost. A mixed load over the port that strangers use: reads, writes, queries,
// listeners, large documents, JSON, idle connections, and clients that mean harm.
//
// SKERRY_CEILING_SECONDS says how long each limit is under load (30), SKERRY_CEILING_LIMITS which, in MB; "+" stands for
// accounts (64,64+,128+,256+).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import tls from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { ANY_PORT, Authority, OPEN, opensslMissing, tlsFlags } from './support/certificates.mjs';
import { startCrowd } from './support/crowd.mjs';
import { limitedTo } from './support/cgroup.mjs';
import { json } from './support/http.mjs';
import { Listener, queryTarget } from './support/listen.mjs';
import { code, codeName, freshDatabase, value as v } from './support/rpc.mjs';
import { generator } from './support/random.mjs';
import { startServer, makeTempDir, removeDir, skerryOnly, isUnderQemu } from './support/server.mjs';
import { openRpc, openConnection } from './support/tls.mjs';
import { field, frame } from './support/wire.mjs';

const MIB = 1 << 20;
const SECONDS = Number(process.env.SKERRY_CEILING_SECONDS ?? 30);
/** A sanitizer's memory is another, so there is no ceiling to hold: the same load looks for faults instead. */
const isSanitized = Boolean(process.env.SKERRY_SANITIZE);
const LIMITS = (process.env.SKERRY_CEILING_LIMITS ?? (isSanitized ? '128+' : '64,64+,128+,256+')).split(',').map((text) => ({ text, limit: parseInt(text), accounts: text.endsWith('+') }));
/** What is left of the limit in any case: what the ceiling is advertised with (docs/operating.md). */
const MARGIN = 0.05;
const DOCUMENTS = 3000;
const LARGE_BYTES = 900_000;
/** With its name and its field, a little less than a document may have. */
const LARGEST_BYTES = (1 << 20) - 200;
/** What a client may be told while there is no room. All of them say: later. So does the end of a connection (ECONNRESET)
 * before there was a request: there may be no place for it. */
const LATER = new Set([code.RESOURCE_EXHAUSTED, code.UNAVAILABLE, code.ABORTED, code.DEADLINE_EXCEEDED, code.CANCELLED]);

const skip = skerryOnly || opensslMissing || (isUnderQemu && 'memory is that of qemu');
const db = freshDatabase('(default)', 'shop');
const files = makeTempDir();
let authority;

before(() => {
  if (!skip) authority = new Authority(files);
});
after(() => removeDir(files));

for (const { text, limit, accounts } of LIMITS)
  test(`${text} MB hold for ${SECONDS} s of everything at once`, { skip, timeout: (SECONDS + 300) * 1000 }, async (t) => {
    const dataDir = makeTempDir();
    const box = isSanitized ? { kind: 'no limit of the kernel', remove() {} } : limitedTo(limit * MIB);
    const options = {
      dataDir,
      limits: box.limits,
      args: [...ANY_PORT, ...OPEN, ...tlsFlags(authority.server()), '--projects', 'shop', '--accounts', accounts ? 'on' : 'off', '--memory-limit', `${limit}M`, '--log-level', 'error'],
    };
    let server = await startServer(options);
    try {
      const load = new Load(server, limit, accounts);
      await load.seed();
      const atRest = server.residentBytes();
      const highest = watch(server);
      await load.run(SECONDS * 1000);
      const { top, course } = highest.stop();
      t.diagnostic(`${text} MB (${box.kind}): at rest ${mb(atRest)}, at most ${mb(top)} (${course}); ${load.summary()}`);
      if (process.env.PROBE) (await import(process.env.PROBE)).default(server.pid, text);
      assert.ok(server.running, `the server ended:\n${server.log.slice(-3000)}`);
      assert.deepEqual(load.surprises, [], 'no other statuses than those that say: later');
      assert.ok(isSanitized || top <= limit * MIB * (1 - MARGIN), `${mb(top)} MB resident of ${limit}`);
      if (!isSanitized) for (const kind of ['reads', 'writes', 'http', ...(accounts ? ['sign-ups', 'sign-ins', 'refreshes'] : [])]) assert.ok(load.count[kind].ok > 0, `${kind}: ${load.summary()}`);
      assert.ok(load.snapshots > 0, 'listeners heard something');
      await load.afterwards();
      if (isSanitized) {
        await server.stop(); // reports make it end with another code than 0, or before
        assert.doesNotMatch(server.log, /Sanitizer|runtime error/);
      } else {
        await settles(server, atRest, limit);
        await server.kill();
      }
      server = await startServer({ ...options, limits: undefined });
      await load.compare(openRpc(server, authority));
    } finally {
      server.discard();
      box.remove();
      removeDir(dataDir);
    }
  });

for (const [limit, accounts] of [[48, 'off'], [64, 'on']])
  test(`the largest document goes through with ${limit} MB, accounts ${accounts}`, { skip: skip || isSanitized }, async () => {
    const server = await startServer({ args: [...ANY_PORT, ...OPEN, ...tlsFlags(authority.server()), '--projects', 'shop', '--accounts', accounts, '--memory-limit', `${limit}M`, '--log-level', 'error'] });
    const rpc = openRpc(server, authority);
    try {
      const name = db.doc('large/one');
      const put = () => rpc.call('Commit', { database: db.name, writes: [{ update: { name, fields: { blob: v.bytes(Buffer.alloc(LARGEST_BYTES, 7)) } } }] });
      await put();
      await put(); // over another
      assert.equal((await rpc.call('GetDocument', { name })).fields.blob.bytes_value.length, LARGEST_BYTES);
      assert.equal((await rpc.collect('RunQuery', { parent: db.root, structured_query: { from: [{ collection_id: 'large' }] } })).filter((one) => one.document).length, 1);
      await rpc.call('Commit', { database: db.name, writes: [{ delete: name }] });
    } finally {
      rpc.close();
      server.discard();
    }
  });

const mb = (bytes) => (bytes / MIB).toFixed(1);

/** The highest resident set, as the kernel counts it: of the whole time, and of each sixth of it. */
function watch(server) {
  const tops = [];
  const take = () => {
    if (!server.running) return;
    tops.push(Number(fs.readFileSync(`/proc/${server.pid}/status`, 'utf8').match(/^VmHWM:\s+(\d+) kB$/m)[1]) * 1024);
    fs.writeFileSync(`/proc/${server.pid}/clear_refs`, '5'); // VmHWM begins anew
  };
  take();
  tops.pop();
  const timer = setInterval(take, (SECONDS * 1000) / 6);
  return {
    stop() {
      clearInterval(timer);
      take();
      return { top: Math.max(0, ...tops), course: tops.map(mb).join(' ') };
    },
  };
}

/** After the load, what it took is given back: all but the store's share, which is full by now. */
async function settles(server, before, limit) {
  const most = before + (8 + limit / 6) * MIB;
  for (const until = Date.now() + 60_000; Date.now() < until && server.residentBytes() > most; ) await sleep(200);
  assert.ok(server.residentBytes() <= most, `${mb(server.residentBytes())} MB resident after the load, ${mb(before)} before`);
}

class Load {
  constructor(server, limit, accounts) {
    this.server = server;
    this.limit = limit;
    this.hasAccounts = accounts;
    this.random = generator(limit);
    this.written = new Map(); // name -> {last acknowledged number, highest number that was sent}
    this.count = {};
    this.surprises = [];
    this.snapshots = 0;
    this.accounts = 0;
    this.rpcs = new Map(); // each kind of work is another client's, with a connection of its own
  }

  rpc(client) {
    if (!this.rpcs.has(client)) this.rpcs.set(client, openRpc(this.server, authority));
    return this.rpcs.get(client);
  }

  async seed() {
    for (let i = 0; i < DOCUMENTS; i += 250) {
      const writes = Array.from({ length: 250 }, (_, n) => ({ update: { name: db.doc(`items/i${i + n}`), fields: { n: v.int(i + n), group: v.int((i + n) % 7), text: v.string('x'.repeat(300)) } } }));
      await this.rpc('seed').call('Commit', { database: db.name, writes });
    }
  }

  /** Does one kind of work, again and again, in so many turns at once. */
  #repeat(kind, atOnce, work, pauseMs = 0) {
    this.count[kind] = { ok: 0, refused: 0 };
    return Array.from({ length: atOnce }, async (_, lane) => {
      while (Date.now() < this.until && this.server.running) {
        try {
          await work(lane);
          this.count[kind].ok++;
        } catch (error) {
          this.count[kind].refused++;
          if (error.code !== undefined && !LATER.has(error.code) && error.code !== 'ECONNRESET') this.surprises.push(`${kind}: ${codeName(error.code)} ${error.details ?? error.message}`);
          await sleep(20);
        }
        if (pauseMs) await sleep(pauseMs);
      }
    });
  }

  async run(ms) {
    this.until = Date.now() + ms;
    const any = () => db.doc(`items/i${this.random.below(DOCUMENTS)}`);
    const large = Buffer.alloc(LARGE_BYTES, 7);
    const crowd = await startCrowd(this.server.address, 'TLS and open', 200);
    await Promise.all([
      ...this.#listen(60),
      ...this.#repeat('reads', 8, () => this.rpc('reads').call('GetDocument', { name: any() })),
      ...this.#repeat('writes', 8, (lane) => this.#write(lane)),
      ...this.#repeat('queries', 6, () => this.rpc('queries').collect('RunQuery', { parent: db.root, structured_query: { from: [{ collection_id: 'items' }], order_by: [{ field: { field_path: 'group' }, direction: 'DESCENDING' }], limit: { value: 1500 } } })),
      ...this.#repeat('large', 6, (lane) => this.#large(lane, large)),
      ...this.#repeat('commits of megabytes', 3, (lane) => this.rpc('commits').call('Commit', { database: db.name, writes: Array.from({ length: this.limit / 64 }, (_, n) => n).map((n) => ({ update: { name: db.doc(`large/c${lane}-${n}`), fields: { blob: v.bytes(large) } } })) }), 50),
      ...this.#repeat('lists of megabytes', 4, () => this.rpc('lists').collect('RunQuery', { parent: db.root, structured_query: { from: [{ collection_id: 'large' }] } })),
      ...this.#repeat('http', 4, (lane) => this.#http(lane)),
      ...(this.hasAccounts ? this.#people() : []),
      ...this.#repeat('announced', 8, (lane) => this.#announces(lane), 20),
      ...this.#repeat('does not read', 4, () => this.#doesNotRead(), 20),
      ...this.#repeat('slow bodies', 8, (lane) => this.#slowBody(lane), 20),
      ...this.#repeat('headers', 2, () => this.#headers(), 20),
    ]);
    await crowd.leave();
    for (const rpc of this.rpcs.values()) rpc.close();
  }

  /** Listeners that open again when they are ended, after a while, as apps do. */
  #listen(count) {
    this.count.listeners = { ok: 0, refused: 0 };
    return Array.from({ length: count }, async (_, i) => {
      while (Date.now() < this.until && this.server.running) {
        let heard = false;
        const onSnapshot = () => (heard = true, this.snapshots++);
        const listener = new Listener(this.rpc(`listener ${i % 4}`), db, { onSnapshot, deadlineMs: 600_000 });
        listener.add(1, i % 3 ? queryTarget(db.root, 'items', { limit: { value: 100 } }) : queryTarget(db.root, 'written'));
        while (!listener.ended && Date.now() < this.until) await sleep(100);
        this.count.listeners[heard ? 'ok' : 'refused']++;
        listener.stream.cancel();
        if (Date.now() < this.until) await sleep(1000);
      }
    });
  }

  async #write(lane) {
    const name = db.doc(`written/w${lane}-${this.random.below(20)}`);
    const known = this.written.get(name) ?? { acknowledged: 0, sent: 0 };
    this.written.set(name, known);
    if (known.busy) return;
    known.busy = true;
    const number = ++known.sent;
    try {
      await this.rpc('writes').call('Commit', { database: db.name, writes: [{ update: { name, fields: { number: v.int(number), text: v.string('y'.repeat(200)) } } }] });
      known.acknowledged = number;
    } finally {
      known.busy = false;
    }
  }

  async #large(lane, bytes) {
    const name = db.doc(`large/l${lane}`);
    await this.rpc('large').call('Commit', { database: db.name, writes: [{ update: { name, fields: { blob: v.bytes(bytes) } } }] });
    await this.rpc('large').call('GetDocument', { name });
  }

  async #http(lane) {
    const text = 'z'.repeat(lane ? 500 : LARGE_BYTES);
    const { status, value } = await json(this.server.port, 'PATCH', `/v1/${db.doc(`http/h${lane}`)}`, { fields: { text: { stringValue: text } } }, { ca: authority.cert });
    if (status !== 200) throw Object.assign(new Error(`HTTP ${status}: ${JSON.stringify(value)}`), { code: code[value?.error?.status] });
  }

  /** Accounts: sign-ups and sign-ins, each of which takes a hash of 16 MiB, and refreshes, which take a signature. */
  #people() {
    const known = [];
    const call = async (path, body) => {
      const { status, value } = await json(this.server.port, 'POST', path, body, { ca: authority.cert });
      if (status !== 200) throw Object.assign(new Error(`HTTP ${status}: ${JSON.stringify(value)}`), { code: code[value?.error?.status] });
      return value;
    };
    const password = 'a long password';
    const newest = () => known[known.length - 1 - this.random.below(Math.min(known.length, 50))];
    const signUp = async () => {
      const email = `u${++this.accounts}@shop.example`;
      const { refreshToken } = await call('/identitytoolkit.googleapis.com/v1/accounts:signUp?key=none', { email, password, returnSecureToken: true });
      known.push({ email, refreshToken });
    };
    const signIn = async () => {
      if (known.length) await call('/identitytoolkit.googleapis.com/v1/accounts:signInWithPassword?key=none', { email: newest().email, password, returnSecureToken: true });
    };
    const refresh = async () => {
      if (known.length) await call('/securetoken.googleapis.com/v1/token?key=none', { grant_type: 'refresh_token', refresh_token: newest().refreshToken });
    };
    return [...this.#repeat('sign-ups', 4, signUp), ...this.#repeat('sign-ins', 2, signIn, 50), ...this.#repeat('refreshes', 2, refresh, 50)];
  }

  /** Announces large messages, sends all but the end, and waits. */
  async #announces(lane) {
    const { session } = openConnection(this.server, authority);
    try {
      const size = Math.floor([0.9, 1.9, 3.9, 9][lane % 4] * MIB);
      const part = frame(field(1, Buffer.alloc(size, 'a')), { length: size + 100 });
      for (let i = 0; i < 8; i++) {
        const stream = session.request({ ':method': 'POST', ':path': '/google.firestore.v1.Firestore/Commit', 'content-type': 'application/grpc', te: 'trailers' });
        stream.on('error', () => {});
        stream.on('data', () => {});
        stream.write(part);
      }
      await sleep(1500);
    } finally {
      session.destroy();
    }
  }

  /** Asks for much, with a window that takes all of it from the server, and reads nothing. */
  async #doesNotRead() {
    const { socket, session } = openConnection(this.server, authority);
    try {
      for (let i = 0; i < 10; i++) {
        const query = { parent: db.root, structured_query: { from: [{ collection_id: i % 2 ? 'large' : 'items' }] } };
        const bytes = this.rpc('reads').service.RunQuery.requestSerialize(query);
        const stream = session.request({ ':method': 'POST', ':path': '/google.firestore.v1.Firestore/RunQuery', 'content-type': 'application/grpc', te: 'trailers' });
        stream.on('error', () => {});
        stream.end(frame(bytes));
      }
      await sleep(200);
      socket.pause();
      await sleep(1500);
    } finally {
      session.destroy();
    }
  }

  /** JSON that is never complete. */
  #slowBody(lane) {
    return new Promise((resolve) => {
      const socket = tls.connect({ port: this.server.port, host: '127.0.0.1', servername: 'localhost', ca: authority.cert, ALPNProtocols: ['http/1.1'] });
      const size = Math.floor([0.9, 2.9, 5, 10][lane % 4] * MIB);
      const end = () => (socket.destroy(), resolve());
      socket.on('error', end);
      socket.on('close', end);
      socket.on('secureConnect', () => {
        socket.write(`POST /v1/${db.root}:commit HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${size + 100}\r\n\r\n{"writes":[{"update":{"name":"`);
        socket.write(Buffer.alloc(size - 1000, 'b'));
      });
      setTimeout(end, 1500).unref();
    });
  }

  /** Header blocks as large as they may be, on many streams that stay open. */
  async #headers() {
    const { session } = openConnection(this.server, authority);
    try {
      for (let i = 0; i < 80; i++) {
        const stream = session.request({ ':method': 'POST', ':path': '/google.firestore.v1.Firestore/Listen', 'content-type': 'application/grpc', te: 'trailers', 'x-long': 'h'.repeat(7000) });
        stream.on('error', () => {});
        stream.on('data', () => {});
      }
      await sleep(1500);
    } finally {
      session.destroy();
    }
  }

  /** Everything works again, the large ones too: within some seconds, on a machine that has nothing else to do. */
  async afterwards() {
    const bytes = Buffer.alloc(LARGE_BYTES, 9);
    for (const until = Date.now() + 90_000; ; await sleep(200)) {
      const rpc = openRpc(this.server, authority);
      try {
        await rpc.call('Commit', { database: db.name, writes: [{ update: { name: db.doc('large/after'), fields: { blob: v.bytes(bytes) } } }] });
        const documents = await rpc.collect('RunQuery', { parent: db.root, structured_query: { from: [{ collection_id: 'items' }] } });
        assert.ok(documents.length >= DOCUMENTS);
        return;
      } catch (error) {
        if (Date.now() > until) throw error;
      } finally {
        rpc.close();
      }
    }
  }

  summary() {
    return Object.entries(this.count).map(([kind, { ok, refused }]) => `${kind} ${ok}${refused ? ` (${refused} refused)` : ''}`).join(', ');
  }

  /** What was acknowledged is there: that number or one that was sent after it. */
  async compare(rpc) {
    for (const [name, { acknowledged, sent }] of this.written) {
      if (!acknowledged) continue;
      const document = await rpc.call('GetDocument', { name });
      const number = Number(document.fields.number.integer_value);
      assert.ok(number >= acknowledged && number <= sent, `${name} is ${number}, ${acknowledged} was acknowledged, ${sent} sent`);
    }
    rpc.close();
  }
}
