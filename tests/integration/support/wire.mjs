// Protobuf and gRPC bytes made by hand, as wrong as a test wants them.
import http2 from 'node:http2';
import { patient } from './wait.mjs';

export function varint(number) {
  let rest = BigInt.asUintN(64, BigInt(number));
  const bytes = [];
  do {
    const more = rest > 0x7fn;
    bytes.push(Number(rest & 0x7fn) | (more ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Buffer.from(bytes);
}

export const tag = (number, type) => varint((number << 3) | type);

/** A length-delimited field. */
export function field(number, ...parts) {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
  return Buffer.concat([tag(number, 2), varint(body.length), body]);
}

/** `innermost` in `depth` fields of these numbers, repeated from the outside inwards. */
export function nest(depth, numbers, innermost = Buffer.alloc(0)) {
  const heads = [];
  let length = innermost.length;
  for (let i = depth - 1; i >= 0; i--) {
    const head = Buffer.concat([tag(numbers[i % numbers.length], 2), varint(length)]);
    heads.push(head);
    length += head.length;
  }
  return Buffer.concat([...heads.reverse(), innermost]);
}

/** The five bytes before a message, and the message. */
export function frame(message, { compressed = 0, length = message.length } = {}) {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

export function openHttp2(address, options) {
  const session = http2.connect(`http://${address}`, options);
  session.on('error', () => {});
  return session;
}

/**
 * Sends `body` (with its frames) on a stream of its own. Resolves always: {http, code, message, bytes} with what the
 * server said, or {reset} when the stream ended without a status.
 */
export function rawCall(session, path, body, { headers = {}, end = true, timeoutMs = 10_000 } = {}) {
  return new Promise((resolve) => {
    let stream;
    try {
      stream = session.request(
        { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers },
        { endStream: false },
      );
    } catch (error) {
      resolve({ reset: error.message });
      return;
    }
    const answer = { bytes: 0 };
    const take = (all) => {
      if (all[':status'] !== undefined) answer.http = all[':status'];
      if (all['grpc-status'] === undefined) return;
      answer.code = Number(all['grpc-status']);
      answer.message = decodeURIComponent(all['grpc-message'] ?? '');
    };
    const done = (reset) => {
      clearTimeout(timer);
      if (answer.code === undefined && reset) answer.reset = reset;
      resolve(answer);
    };
    const timer = setTimeout(() => {
      done('no answer in time');
      stream.close();
    }, patient(timeoutMs));
    stream.on('response', take);
    stream.on('trailers', take);
    stream.on('data', (chunk) => (answer.bytes += chunk.length));
    stream.on('error', (error) => done(error.message));
    stream.on('close', () => done(`closed (${stream.rstCode})`));
    if (end) stream.end(body);
    else stream.write(body);
  });
}
