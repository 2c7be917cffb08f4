// Clients of HTTP/1.1 for tests: requests by node:http, raw bytes, and a fetch for packages that want one.
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { patient } from './wait.mjs';

/** One request: {status, headers, body (Buffer), text, json()}. `ca`: over TLS. */
export function request(port, path, { method = 'GET', headers = {}, body, ca, cert, key, agent, signal } = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, method, headers, agent: agent ?? false, signal };
    if (ca) Object.assign(options, { ca, cert, key, servername: 'localhost' });
    const sent = (ca ? https : http).request(options, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const all = Buffer.concat(chunks);
        resolve({ status: response.statusCode, headers: response.headers, body: all, text: all.toString(), json: () => JSON.parse(all.toString()) });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** JSON both ways: {status, headers, value}. */
export async function json(port, method, path, value, options = {}) {
  const answer = await request(port, path, {
    method,
    ...options,
    headers: { 'content-type': 'application/json', ...options.headers },
    body: value === undefined ? undefined : JSON.stringify(value),
  });
  return { status: answer.status, headers: answer.headers, value: answer.text === '' ? undefined : answer.json() };
}

/** A `fetch` over TLS whose authority is ours. Answers stream. */
export function fetchTrusting(ca) {
  return (input, init = {}) =>
    new Promise((resolve, reject) => {
      const url = new URL(typeof input === 'string' ? input : input.url);
      const headers = Object.fromEntries(new Headers(init.headers));
      const options = { host: '127.0.0.1', port: url.port, path: url.pathname + url.search, method: init.method ?? 'GET', headers, ca, servername: 'localhost', agent: false, signal: init.signal };
      const sent = (url.protocol === 'https:' ? https : http).request(options, (response) => {
        const body = new ReadableStream({
          start(controller) {
            response.on('data', (chunk) => controller.enqueue(new Uint8Array(chunk)));
            response.on('end', () => controller.close());
            response.on('error', (error) => controller.error(error));
          },
          cancel: () => response.destroy(),
        });
        const names = Object.entries(response.headers).flatMap(([name, value]) => (Array.isArray(value) ? value.map((one) => [name, one]) : [[name, value]]));
        resolve(new Response(body, { status: response.statusCode, headers: names }));
      });
      sent.on('error', reject);
      sent.end(init.body ?? undefined);
    });
}

/** Sends bytes, perhaps over TLS, and gathers what comes until the end or a silence: {text, how, statuses}. */
export function rawHttp(port, bytes, { ca, silenceMs = 700, pieces } = {}) {
  return new Promise((resolve) => {
    const socket = ca ? tls.connect({ port, host: '127.0.0.1', ca, servername: 'localhost', ALPNProtocols: ['http/1.1'] }) : net.connect(port, '127.0.0.1');
    let text = '', how = 'open', timer;
    const done = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ text, how, statuses: [...text.matchAll(/^HTTP\/1\.1 (\d+) /gm)].map((match) => Number(match[1])) });
    };
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(done, patient(silenceMs));
    };
    socket.on('data', (chunk) => ((text += chunk.toString('latin1')), wait()));
    socket.on('error', (error) => (how = error.code));
    socket.on('close', () => ((how = how === 'open' ? 'closed' : how), done()));
    socket.on(ca ? 'secureConnect' : 'connect', async () => {
      wait();
      for (const piece of pieces ?? [bytes]) {
        if (socket.destroyed) return;
        socket.write(Buffer.from(piece, 'latin1'));
        if (pieces) await new Promise((next) => setTimeout(next, 20));
        wait();
      }
    });
  });
}
