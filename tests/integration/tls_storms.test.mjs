// Connections by the thousand: whose each of them is, and what clients that break off leave behind.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { isUnderQemu, makeTempDir, removeDir, runSkerry, skerryOnly, startServer } from './support/server.mjs';
import { Rpc, code, freshDatabase, value as v } from './support/rpc.mjs';
import { GET, getBody, inParallel, openConnection, openRpc } from './support/tls.mjs';
import { generator } from './support/random.mjs';
import { patient, until } from './support/wait.mjs';
import { field, frame, rawCall } from './support/wire.mjs';
import { ANY_PORT, Authority, OPEN, opensslMissing, tlsFlags } from './support/certificates.mjs';

const options = { skip: skerryOnly || opensslMissing };
const seed = Number(process.env.SKERRY_SEED ?? Date.now() % 1e9);
const random = generator(seed);
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

// ---- Who is who ----

test('identities stay with their connections while descriptors are used again and again', options, async () => {
  const CONNECTIONS = 3000, CERTIFICATES = 20, AT_ONCE = 8, MOST_MS = 22_000, LEAST = isUnderQemu ? 100 : 300;
  const flags = [...ANY_PORT, ...tlsFlags(authority.server()), '--tls-client-ca', authority.certFile, '--tls-client-certificates', 'optional', '--access', 'mtls', '--clock', 'trusted'];
  const server = await startServer({ args: flags });
  const clients = Array.from({ length: CERTIFICATES }, (_, i) => ({ name: `client${i}`, own: authority.client(`client${i}`) }));
  const nobody = { name: undefined };
  const ports = new Map(); // local port: who it was; null: several
  const tickets = []; // {name, session}
  let made = 0, resumed = 0, anonymous = 0;

  async function connection(number) {
    const who = random.chance(0.2) ? nobody : random.pick(clients);
    const ticket = who !== nobody && random.chance(0.3) && tickets.length > 0 ? random.pick(tickets) : undefined;
    const { socket, session } = openConnection(server, authority, { own: who.own, resume: ticket?.session });
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    // Whose ticket it is, that is who it is: whatever certificate the client would have shown.
    const name = socket.isSessionReused() ? ticket.name : who.name;
    resumed += socket.isSessionReused();
    const port = socket.localPort;
    ports.set(port, ports.has(port) && ports.get(port) !== name ? null : name);
    socket.on('session', (bytes) => name && (tickets[random.below(CERTIFICATES)] = { name, session: bytes }));
    const label = `${name ?? 'nobody'}.${number}`;
    const [known, unknown, write] = await Promise.all([
      rawCall(session, GET, getBody(DOCUMENT)),
      rawCall(session, GET, getBody(db.doc(`who/${label}`))),
      rawCall(session, '/google.firestore.v1.Firestore/Commit', frame(field(1, `projects/${label.replace('.', '-')}/databases/(default)`))),
    ]);
    const wanted = name ? [code.OK, code.NOT_FOUND, code.UNAVAILABLE] : [code.UNAUTHENTICATED, code.UNAUTHENTICATED, code.UNAVAILABLE];
    assert.deepEqual([known.code, unknown.code, write.code], wanted, `${label}, seed ${seed}: ${JSON.stringify([known, unknown, write])}`);
    if (random.chance(0.5)) session.destroy();
    else await new Promise((resolve) => session.close(resolve));
    anonymous += name === undefined;
    made++;
  }

  const first = openRpc(server, authority, clients[0].own);
  try {
    await put(first, DOCUMENT, {});
    const end = Date.now() + MOST_MS;
    let next = 0;
    await inParallel(AT_ONCE, async () => {
      while (next < CONNECTIONS && Date.now() < end) await connection(next++);
    });
    assert.ok(made >= LEAST && anonymous > made / 10, `${made} connections, ${anonymous} without certificate`);
    assert.ok(resumed > made / 20, `${resumed} of ${made} were resumed`);

    // The log has a part of the failed calls (so many lines a second): each must name the certificate that the call's own
    // text names, and the one that the client used on that port.
    await sleep(200);
    let byText = 0, byPort = 0, without = 0;
    for (const line of server.stderr.split('\n').filter((one) => one.includes('"call failed"'))) {
      const certificate = line.match(/ certificate=(\S+)$/)?.[1];
      const label = line.match(/who\/(client\d+|nobody)\.\d+/)?.[1] ?? line.match(/project \\"(client\d+|nobody)-\d+/)?.[1];
      if (label) {
        assert.equal(certificate, label === 'nobody' ? undefined : label, `seed ${seed}: ${line}`);
        byText++;
      }
      const port = Number(line.match(/peer=127\.0\.0\.1:(\d+)/)?.[1]);
      if (ports.has(port) && ports.get(port) !== null) {
        assert.equal(certificate, ports.get(port), `seed ${seed}: ${line}`);
        byPort++;
      }
      without += certificate === undefined;
    }
    assert.ok(byText > 50 && byPort > 50 && without > 5, `${byText} lines told by their text, ${byPort} by their port, ${without} without`);
    console.log(`${made} connections, ${resumed} resumed, ${anonymous} anonymous; log: ${byText} by text, ${byPort} by port, ${without} without certificate`);
  } finally {
    first.close();
    await server.close();
  }
});

// ---- Clients that break off ----

const BIG = Array.from({ length: 6 }, (_, i) => `c/big${i}`);
const BIG_BODY = frame(Buffer.concat([field(1, db.name), ...BIG.map((one) => field(2, db.doc(one)))]));
const HEADERS = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };

/** Each does something on a new socket up to the moment at which it is torn. */
const moments = {
  async 'before it says anything'() {},
  async 'after some bytes'({ raw }) {
    raw.write(Buffer.from('\x16\x03\x01\x02\x00\x01', 'latin1'));
  },
  async 'in the handshake'({ open }) {
    open();
    await sleep(random.below(4));
  },
  async 'after the handshake'({ open }) {
    await open();
  },
  async 'in the preface'({ open }) {
    (await open()).write('PRI * HTTP/2.0\r\n');
  },
  async 'in a request'({ http }) {
    const stream = (await http()).request({ ...HEADERS, ':path': GET });
    stream.write(getBody(DOCUMENT).subarray(0, 9));
    await sleep(random.below(10));
  },
  async 'in a call'({ http }) {
    (await http()).request({ ...HEADERS, ':path': GET }).end(getBody(DOCUMENT));
    await sleep(random.below(4));
  },
  async 'in a response'({ http }) {
    const stream = (await http()).request({ ...HEADERS, ':path': '/google.firestore.v1.Firestore/BatchGetDocuments' });
    stream.end(BIG_BODY);
    await new Promise((resolve) => stream.once('data', resolve).once('close', resolve));
  },
  async 'without reading a response'({ http }) {
    const stream = (await http()).request({ ...HEADERS, ':path': '/google.firestore.v1.Firestore/BatchGetDocuments' });
    stream.pause();
    stream.end(BIG_BODY);
    await sleep(20);
  },
  async 'while it listens'({ http }) {
    const stream = (await http()).request({ ...HEADERS, ':path': '/google.firestore.v1.Firestore/Listen' });
    const target = field(2, field(3, field(2, DOCUMENT)), Buffer.from([0x28, 1]));
    stream.write(frame(Buffer.concat([field(1, db.name), target])));
    await new Promise((resolve) => stream.once('data', resolve).once('close', resolve));
  },
};
const tears = {
  destroy: (raw) => raw.destroy(),
  reset: (raw) => raw.resetAndDestroy(),
  'half-close': async (raw, top) => {
    const closed = new Promise((resolve) => raw.once('close', () => resolve(true)));
    top.end();
    top.resume?.();
    assert.ok(await Promise.race([closed, sleep(patient(8000), false, { ref: false })]), 'the server closes its side too');
  },
};

/** A machine that stands still for a moment is overloaded for the next one: then later. */
async function served(rpc) {
  await until(() => rpc.call('GetDocument', { name: DOCUMENT }).catch((error) => {
    if (error.code !== 8) throw error;
  }), 'an answer', 10_000);
}

async function breakOff(server, isTls, moment, tear) {
  const raw = net.connect(server.port, '127.0.0.1');
  let top = raw, session;
  raw.on('error', () => {});
  await new Promise((resolve) => raw.once('connect', resolve));
  const open = () =>
    new Promise((resolve) => {
      if (!isTls) return resolve(raw);
      top = tls.connect({ socket: raw, servername: 'localhost', ca: authority.cert, ALPNProtocols: ['h2'] });
      top.on('error', () => {});
      top.once('secureConnect', () => resolve(top)).once('close', () => resolve(top));
    });
  const http = async () => {
    await open();
    session = http2.connect('http://localhost', { createConnection: () => top });
    session.on('error', () => {});
    const request = session.request.bind(session);
    session.request = (headers) => request(headers, { endStream: false }).on('error', () => {});
    return session;
  };
  await moments[moment]({ raw, open, http });
  await tears[tear](raw, top);
  session?.destroy();
  raw.destroy();
}

for (const kind of ['TLS', 'plaintext'])
  test(`${kind}: clients that break off in every moment leave nothing behind`, options, async () => {
    const ROUNDS = 8, AT_ONCE = 6;
    const isTls = kind === 'TLS';
    const server = await startServer({ args: [...ANY_PORT, ...(isTls ? tlsFlags(authority.server()) : ['--plaintext']), ...OPEN, '--log-level', 'error'] });
    const steady = isTls ? openRpc(server, authority) : new Rpc(server.address);
    const sockets = () => fs.readdirSync(`/proc/${server.pid}/fd`).filter((fd) => {
      try {
        return fs.readlinkSync(`/proc/${server.pid}/fd/${fd}`).startsWith('socket:');
      } catch {
        return false; // closed meanwhile
      }
    }).length;
    const open = () => Number(status(server).match(/(\d+) connections,/)[1]);
    const waiting = () => Number(status(server).match(/^network .* (\d+) waiting/m)[1]);
    try {
      for (const one of [DOCUMENT, ...BIG.map(db.doc)]) await put(steady, one, one === DOCUMENT ? {} : { text: v.string('x'.repeat(500_000)) });
      const before = { sockets: sockets(), open: open() };
      const all = Object.keys(moments).flatMap((moment) => Object.keys(tears).map((tear) => [moment, tear]));
      const turns = Array.from({ length: ROUNDS * all.length }, () => random.pick(all));
      let next = 0;
      await inParallel(AT_ONCE, async () => {
        while (next < turns.length) {
          const [moment, tear] = turns[next++];
          await breakOff(server, isTls, moment, tear).catch((error) => {
            throw new Error(`${tear} ${moment}, seed ${seed}: ${error.message}`, { cause: error });
          });
          await served(steady);
        }
      });
      await until(() => sockets() <= before.sockets && open() <= before.open && waiting() === 0,
        () => `${sockets()} sockets, at first ${before.sockets}; ${open()} connections, at first ${before.open}; ${waiting()} waiting; seed ${seed}`, 10_000);
      assert.deepEqual({ sockets: sockets(), open: open() }, before);
      await steady.call('GetDocument', { name: DOCUMENT });
    } finally {
      steady.close();
      await server.close();
    }
  });
