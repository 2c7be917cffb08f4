// Hostile clients of HTTP/1.1: requests that can be read in two ways, slow and endless ones, what is too large or too deep.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Authority, opensslMissing, OPEN, tlsFlags } from './support/certificates.mjs';
import { json, rawHttp, request } from './support/http.mjs';
import { makeTempDir, removeDir, startServer } from './support/server.mjs';
import { patient } from './support/wait.mjs';

const ROOT = 'projects/demo/databases/(default)/documents';
const HOST = 'Host: x\r\n';
const POST = `POST /v1/${ROOT}:commit HTTP/1.1\r\n${HOST}`;
const NEXT = `GET /healthz HTTP/1.1\r\n${HOST}\r\n`;

let directory, authority, ca;
const servers = {};
const COMMON = ['--projects', 'demo', '--listen', '127.0.0.1:0', '--handshake-timeout', '1s', '--http-idle-timeout', '2s', ...OPEN];
before(async () => {
  servers.plaintext = await startServer({ args: ['--plaintext', ...COMMON] });
  servers.dev = await startServer();
  if (opensslMissing) return;
  directory = makeTempDir();
  authority = new Authority(directory);
  ca = authority.cert;
  servers.tls = await startServer({ args: [...tlsFlags(authority.server()), ...COMMON] });
});
after(async () => {
  for (const server of Object.values(servers)) await server.close();
  if (directory) removeDir(directory);
});

const smuggling = {
  'two lengths': `${POST}Content-Length: 2\r\nContent-Length: 30\r\n\r\n{}${NEXT}`,
  'the same length twice': `${POST}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}`,
  'a list of lengths': `${POST}Content-Length: 2, 2\r\n\r\n{}`,
  'a length with a sign': `${POST}Content-Length: +2\r\n\r\n{}`,
  'a length in hexadecimal': `${POST}Content-Length: 0x2\r\n\r\n{}`,
  'a length that is too long': `${POST}Content-Length: 99999999999999999999\r\n\r\n{}`,
  'a space before the colon': `${POST}Content-Length : 2\r\n\r\n{}`,
  'a length and chunks': `${POST}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${NEXT}`,
  'chunks and a length': `${POST}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n${NEXT}`,
  'an encoding that is none': `${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
  'two encodings': `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n`,
  'a list of encodings': `${POST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  'chunks in HTTP/1.0': `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'a vertical tab before the encoding': `${POST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`,
  'no host': 'GET /healthz HTTP/1.1\r\n\r\n',
  'two hosts': `GET /healthz HTTP/1.1\r\n${HOST}${HOST}\r\n`,
  'a bare CR in a header': `GET /healthz HTTP/1.1\r\n${HOST}X-A: b\rX-B: c\r\n\r\n`,
  'two CRs': `GET /healthz HTTP/1.1\r\n${HOST}X-A: b\r\r\n\r\n`,
  'a header without a colon': `GET /healthz HTTP/1.1\r\n${HOST}XA\r\n\r\n`,
  'a space in a name': `GET /healthz HTTP/1.1\r\n${HOST}X A: b\r\n\r\n`,
  'a size that is no number': `${POST}Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n`,
  'a size with a sign': `${POST}Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n`,
  'a size with 0x': `${POST}Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n`,
  'a size that overflows': `${POST}Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n`,
  'a chunk that is longer than it says': `${POST}Transfer-Encoding: chunked\r\n\r\n2\r\n{}X0\r\n\r\n`,
};
// Strangers only: their bytes are looked at before libmicrohttpd, which takes these.
const lax = {
  'a line that goes on': `GET /healthz HTTP/1.1\r\n${HOST}X-A: b\r\n c\r\n\r\n`,
  'an encoding on the next line': `${POST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`,
  'bare line feeds': `GET /healthz HTTP/1.1\nHost: x\n\n`,
  'a NUL in a value': `GET /healthz HTTP/1.1\r\n${HOST}X-A: b\0c\r\n\r\n`,
  'a header without a name': `GET /healthz HTTP/1.1\r\n${HOST}: b\r\n\r\n`,
  'a line feed behind a chunk’s size': `${POST}Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n`,
  'another version': `GET /healthz HTTP/1.2\r\n${HOST}\r\n`,
};

for (const kind of ['plaintext', 'tls', 'dev'])
  describe(`what can be read in two ways, ${kind}`, { skip: kind === 'tls' && opensslMissing }, () => {
    for (const [name, bytes] of Object.entries(kind === 'dev' ? smuggling : { ...smuggling, ...lax }))
      test(name, async () => {
        const { how, statuses, text } = await rawHttp(servers[kind].port, bytes, { ca: kind === 'tls' ? ca : undefined });
        assert.equal(how, 'closed', text);
        assert.ok(statuses.length >= 1 && statuses.every((status) => status === 400 || status === 413), `${statuses} ${text}`);
        assert.doesNotMatch(text, /^ok$/m);
      });
    test('in the middle of a connection it ends the same', async () => {
      const { how, statuses } = await rawHttp(servers[kind].port, '', { ca: kind === 'tls' ? ca : undefined, pieces: [NEXT, smuggling['two lengths']] });
      assert.equal(how, 'closed');
      assert.equal(statuses[0], 200);
      assert.ok(statuses.slice(1).every((status) => status === 400), String(statuses));
    });
    test('honest requests in single bytes, and one behind the other', async () => {
      const options = { ca: kind === 'tls' ? ca : undefined };
      const slow = await rawHttp(servers[kind].port, '', { ...options, pieces: [...`GET /healthz HTTP/1.1\r\n${HOST}\r\n`] });
      assert.deepEqual(slow.statuses, [200]);
      const chunked = `POST /v1/${ROOT}:commit HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n`;
      const piped = await rawHttp(servers[kind].port, NEXT + chunked + NEXT, options);
      assert.deepEqual(piped.statuses, [200, 200, 200], piped.text);
    });
  });

for (const kind of ['plaintext', 'dev'])
  describe(`too much, ${kind}`, () => {
    const port = () => servers[kind].port;
    test('heads', async () => {
      for (const [bytes, statuses] of [[`GET /healthz HTTP/1.1\r\n${HOST}X: ${'a'.repeat(100_000)}\r\n\r\n`, [431]], [`GET /${'a'.repeat(100_000)} HTTP/1.1\r\n${HOST}\r\n`, [414]], [`GET /healthz HTTP/1.1\r\n${HOST}${'a: b\r\n'.repeat(5000)}\r\n`, [431]]]) {
        const answer = await rawHttp(port(), bytes);
        assert.notEqual(answer.how, 'open');
        assert.ok(answer.statuses.every((status) => statuses.includes(status)), answer.text);
      }
    });
    test('a body that says its length, and one that does not', async () => {
      const said = await rawHttp(port(), `${POST}Content-Length: ${1 << 30}\r\n\r\n{`);
      assert.deepEqual(said.statuses, [413]);
      assert.equal(said.how, 'closed');
      const before = servers[kind].residentBytes();
      const ended = await new Promise((resolve) => {
        const socket = net.connect(port(), '127.0.0.1');
        const chunk = `10000\r\n${'x'.repeat(65536)}\r\n`;
        let sent = 0;
        const go = () => {
          while (!socket.destroyed && sent < 200 << 20) {
            sent += 65536;
            if (!socket.write(chunk)) return socket.once('drain', go);
          }
          return undefined;
        };
        socket.on('error', () => {});
        socket.on('close', () => resolve(sent));
        socket.write(`${POST}Transfer-Encoding: chunked\r\n\r\n`, go);
      });
      assert.ok(ended < 40 << 20, `${ended} bytes were taken`);
      assert.ok(servers[kind].residentBytes() - before < 64 << 20);
    });
    test('100,000 levels of JSON', async () => {
      for (const [left, right] of [['{"writes":[', ']}'], ['[', ']'], ['{"a":', '}'], ['{"mapValue":{"fields":{"a":', '}}}']]) {
        const body = left.repeat(100_000) + right.repeat(100_000);
        const answer = await request(port(), `/v1/${ROOT}:commit`, { method: 'POST', body });
        assert.equal(answer.status, 400);
      }
      const value = '{"mapValue":{"fields":{"a":'.repeat(40) + '{"nullValue":null}' + '}}}'.repeat(40);
      const deep = await request(port(), `/v1/${ROOT}/deep/one`, { method: 'PATCH', body: `{"fields":{"a":${value}}}` });
      assert.equal(deep.status, 400);
    });
    test('a body in gzip is not inflated', async () => {
      const answer = await request(port(), `/v1/${ROOT}:commit`, { method: 'POST', headers: { 'content-encoding': 'gzip' }, body: Buffer.from('1f8b0800000000000003ab56', 'hex') });
      assert.equal(answer.status, 415);
    });
    test('many parameters, and long paths', async () => {
      const parameters = await request(port(), `/v1/${ROOT}/a/b?${'mask.fieldPaths=a&'.repeat(800)}`);
      assert.ok([200, 404, 414, 431].includes(parameters.status), String(parameters.status));
      const path = await request(port(), `/v1/${ROOT}${'/a'.repeat(400)}`);
      assert.equal(path.status, 400);
    });
    test('100 requests whose answers nobody waits for', async () => {
      for (let i = 0; i < 100; i++) {
        const socket = net.connect(port(), '127.0.0.1');
        socket.on('error', () => {});
        socket.write(`GET /v1/${ROOT}/a/b HTTP/1.1\r\n${HOST}\r\n`, () => socket.destroy());
      }
      await sleep(200);
      assert.equal((await request(port(), '/healthz')).status, 200);
    });
  });

describe('too slow', () => {
  const ended = (socket) => new Promise((resolve) => socket.on('close', () => resolve(Date.now())));
  test('a head', async () => {
    const socket = net.connect(servers.plaintext.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(`GET /healthz HTTP/1.1\r\n`);
    const started = Date.now(), end = ended(socket);
    const timer = setInterval(() => socket.write('X: y\r\n'), 200);
    const took = (await end) - started;
    clearInterval(timer);
    assert.ok(took > 900 && took < patient(5000), `${took} ms`);
  });
  test('a body, at a byte a second', { timeout: patient(60_000) }, async () => {
    const socket = net.connect(servers.plaintext.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(`${POST}Content-Length: 100000\r\n\r\n`);
    const started = Date.now(), end = ended(socket);
    const timer = setInterval(() => socket.write('x'), 1000);
    const took = (await end) - started;
    clearInterval(timer);
    assert.ok(took > 9000 && took < patient(20_000), `${took} ms`);
  });
  test('nothing after a request', async () => {
    const socket = net.connect(servers.plaintext.port, '127.0.0.1');
    socket.on('data', () => {});
    socket.write(NEXT);
    const started = Date.now();
    const took = (await ended(socket)) - started;
    assert.ok(took > 1900 && took < patient(6000), `${took} ms`);
  });
  test('a thousand of them do not keep others out', async () => {
    const sockets = Array.from({ length: 1000 }, () => {
      const socket = net.connect(servers.plaintext.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(`${POST}Content-Length: 10\r\n\r\n{`);
      return socket;
    });
    await sleep(300);
    const made = await json(servers.plaintext.port, 'PATCH', `/v1/${ROOT}/slow/one`, {});
    assert.equal(made.status, 200);
    for (const socket of sockets) socket.destroy();
  });
});

test('nothing of what was sent is in the log', () => {
  // A field's name may be, in an error.
  for (const server of Object.values(servers)) assert.doesNotMatch(server.log, /Bearer|x{30}|(fields|writes)\\":/);
});
