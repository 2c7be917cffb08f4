// Many connections that are opened and left, in processes of their own: one process has not the descriptors for all.
//   node crowd.mjs ADDRESS FROM KIND COUNT
import { fork } from 'node:child_process';
import net from 'node:net';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { PREFACE, headers, settings, settingsAck } from './frames.mjs';
import { request } from './hpack.mjs';

const AT_ONCE = 100;
const DRIP_MS = 150;
const here = fileURLToPath(import.meta.url);
const half = headers(1, request('/a.B/C')).subarray(0, 40);

/** What each kind says, and whether it answers SETTINGS. */
const KINDS = {
  silent: {},
  'half a preface': { first: PREFACE.subarray(0, 10) },
  'a preface, byte by byte': { drip: PREFACE.subarray(0, 23) },
  'a preface and no SETTINGS': { first: PREFACE },
  'no acknowledgement': { first: Buffer.concat([PREFACE, settings()]) },
  'half a HEADERS frame': { first: Buffer.concat([PREFACE, settings()]), then: half, acknowledges: true },
  'HEADERS without an end': { first: Buffer.concat([PREFACE, settings()]), then: headers(1, request('/a.B/C'), { endHeaders: false }), acknowledges: true },
  'half a TLS hello': { first: Buffer.from('16030100c8010000c40303', 'hex') },
  'a TLS hello, byte by byte': { drip: Buffer.concat([Buffer.from('16030100c8010000c40303', 'hex'), Buffer.alloc(150, 7)]) },
  open: { first: Buffer.concat([PREFACE, settings()]), acknowledges: true },
  'TLS and silent': { secure: true },
  'TLS and open': { secure: true, first: Buffer.concat([PREFACE, settings()]), acknowledges: true },
};
export const kinds = Object.keys(KINDS);

/** {opened, refused, closed, state(): Promise<the same now>, leave()} once all are connected, or were refused. */
export function startCrowd(address, kind, count, from = '127.0.0.1') {
  const child = fork(here, [address, from, kind, String(count)], { execArgv: [] });
  const ask = (what) => new Promise((resolve) => (child.once('message', resolve), child.send(what)));
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`a crowd ended (${code})`)));
    child.once('message', (result) =>
      resolve({ ...result, kind, state: () => ask('state'), leave: () => new Promise((done) => (child.exitCode === null && child.signalCode === null ? (child.once('exit', done), child.kill('SIGKILL')) : done())) }));
  });
}

async function main([address, from, kind, count]) {
  const { first, then, drip, secure, acknowledges } = KINDS[kind];
  const [host, port] = address.split(':');
  const sockets = new Set();
  const state = { opened: 0, refused: 0, closed: 0, firstClosedMs: 0, lastClosedMs: 0 };
  const started = Date.now();
  process.on('message', () => process.send(state));
  process.on('disconnect', () => process.exit(0));
  const openOne = () =>
    new Promise((resolve) => {
      const options = { host, port: Number(port), localAddress: from };
      const socket = secure ? tls.connect({ ...options, rejectUnauthorized: false, ALPNProtocols: ['h2'] }) : net.connect(options);
      let isOpen = false, said = false;
      socket.on('error', () => {});
      socket.once(secure ? 'secureConnect' : 'connect', () => {
        isOpen = true;
        state.opened++;
        sockets.add(socket);
        if (first) socket.write(first);
        if (drip) {
          let at = 0;
          const timer = setInterval(() => (at < drip.length && !socket.destroyed ? socket.write(drip.subarray(at, ++at)) : clearInterval(timer)), DRIP_MS);
        }
        resolve();
      });
      socket.on('data', () => {
        if (!acknowledges || said) return;
        said = true;
        socket.write(settingsAck);
        if (then) socket.write(then);
      });
      socket.once('close', () => {
        sockets.delete(socket);
        if (isOpen) {
          state.closed++;
          state.firstClosedMs ||= Date.now() - started;
          state.lastClosedMs = Date.now() - started;
        } else state.refused++;
        resolve();
      });
    });
  for (let left = Number(count); left > 0; left -= AT_ONCE) await Promise.all(Array.from({ length: Math.min(left, AT_ONCE) }, openOne));
  process.send(state);
}

if (process.argv[1] === here) await main(process.argv.slice(2));
