// Clients over TLS for tests that count connections.
import http2 from 'node:http2';
import tls from 'node:tls';
import { grpc } from './packages.mjs';
import { Rpc } from './rpc.mjs';
import { field, frame } from './wire.mjs';

/** An ordinary client that trusts the authority and shows the certificate `own`. */
export function openRpc(server, authority, own) {
  return new Rpc(`localhost:${server.port}`, undefined, { credentials: grpc.credentials.createSsl(authority.cert, own?.key ?? null, own?.cert ?? null) });
}

/** A connection of its own, with a handshake of its own: {socket, session}. `resume`: what came with a `session` event. */
export function openConnection(server, authority, { own, resume } = {}) {
  const socket = tls.connect({
    port: server.port, host: '127.0.0.1', servername: 'localhost', ca: authority.cert, cert: own?.cert, key: own?.key, session: resume, ALPNProtocols: ['h2'],
  });
  const session = http2.connect('https://localhost', { createConnection: () => socket });
  session.on('error', () => {});
  return { socket, session };
}

export const GET = '/google.firestore.v1.Firestore/GetDocument';
export const getBody = (name) => frame(field(1, name));

/** Runs `work(0)` to `work(count - 1)` at once. */
export async function inParallel(count, work) {
  await Promise.all(Array.from({ length: count }, async (_, i) => work(i)));
}
