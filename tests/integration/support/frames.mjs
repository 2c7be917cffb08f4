// HTTP/2 frame by frame, as no library would send it: builders of frames, and a connection that writes any bytes and
// keeps what comes back.
import net from 'node:net';
import tls from 'node:tls';
import { patient } from './wait.mjs';

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const type = {
  DATA: 0, HEADERS: 1, PRIORITY: 2, RST_STREAM: 3, SETTINGS: 4, PUSH_PROMISE: 5, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8, CONTINUATION: 9,
};
export const flag = { ACK: 1, END_STREAM: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 };
export const error = { NO: 0, PROTOCOL: 1, INTERNAL: 2, STREAM_CLOSED: 5, FRAME_SIZE: 6, COMPRESSION: 9, CALM: 11 };
export const setting = { TABLE: 1, PUSH: 2, STREAMS: 3, WINDOW: 4, FRAME: 5, HEADERS: 6 };

export function u32(number) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number >>> 0);
  return bytes;
}

const EMPTY = Buffer.alloc(0);
export function http2Frame(kind, flags, stream, payload = EMPTY, length = payload.length) {
  const bytes = Buffer.allocUnsafe(9 + payload.length);
  bytes.writeUIntBE(length, 0, 3);
  bytes[3] = kind;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream >>> 0, 5);
  payload.copy(bytes, 9);
  return bytes;
}

export function settings(values = {}, flags = 0) {
  const parts = Object.entries(values).map(([id, value]) => {
    const bytes = Buffer.alloc(6);
    bytes.writeUInt16BE(Number(id), 0);
    bytes.writeUInt32BE(value >>> 0, 2);
    return bytes;
  });
  return http2Frame(type.SETTINGS, flags, 0, Buffer.concat(parts));
}
export const settingsAck = http2Frame(type.SETTINGS, flag.ACK, 0);
export const ping = (payload = Buffer.alloc(8), flags = 0) => http2Frame(type.PING, flags, 0, payload);
export const reset = (stream, code = 8) => http2Frame(type.RST_STREAM, 0, stream, u32(code));
export const windowUpdate = (stream, by) => http2Frame(type.WINDOW_UPDATE, 0, stream, u32(by));
export const data = (stream, payload, flags = flag.END_STREAM) => http2Frame(type.DATA, flags, stream, payload);

/** A header block in HEADERS and CONTINUATION frames, cut at these places. */
export function headers(stream, block, { end = false, cuts = [], pad, priority, endHeaders = true } = {}) {
  const pieces = [0, ...cuts].map((from, i, all) => block.subarray(from, all[i + 1] ?? block.length));
  return Buffer.concat(pieces.map((piece, i) => {
    let payload = piece;
    let flags = i === pieces.length - 1 && endHeaders ? flag.END_HEADERS : 0;
    if (i > 0) return http2Frame(type.CONTINUATION, flags, stream, payload);
    if (end) flags |= flag.END_STREAM;
    if (priority) {
      flags |= flag.PRIORITY;
      payload = Buffer.concat([priority, payload]);
    }
    if (pad !== undefined) {
      flags |= flag.PADDED;
      payload = Buffer.concat([Buffer.from([pad]), payload, Buffer.alloc(pad)]);
    }
    return http2Frame(type.HEADERS, flags, stream, payload);
  }));
}

/** One connection. Acknowledges SETTINGS and PING unless told otherwise. */
export class Wire {
  constructor(address, { secure, hello = true, acknowledge = true, paused = false, halfOpen = false, values = {} } = {}) {
    const [host, port] = [address.slice(0, address.lastIndexOf(':')), Number(address.slice(address.lastIndexOf(':') + 1))];
    this.acknowledge = acknowledge;
    this.left = EMPTY;
    this.frames = 0;
    this.bytesRead = 0;
    this.data = new Map(); // stream -> chunks
    this.resets = new Map(); // stream -> error code
    this.ended = new Set(); // streams that the server has ended
    this.pings = []; // payloads that were acknowledged
    this.waiting = new Set();
    this.socket = secure
      ? tls.connect({ host, port, rejectUnauthorized: false, ALPNProtocols: ['h2'], ...(secure === true ? {} : secure) })
      : net.connect({ host, port, allowHalfOpen: halfOpen });
    this.socket.setNoDelay(true);
    this.socket.on('error', (failure) => (this.failure = failure));
    this.connected = new Promise((resolve) => this.socket.once(secure ? 'secureConnect' : 'connect', () => resolve(true)).once('close', () => resolve(false)));
    this.closed = new Promise((resolve) => this.socket.once('close', () => ((this.isClosed = true), this.#tell(), resolve())));
    if (!paused) this.socket.on('data', (chunk) => this.#take(chunk));
    this.socket.once('end', () => ((this.isEnded = true), this.#tell()));
    if (hello) this.write(PREFACE, settings(values));
  }

  write(...parts) {
    if (!this.socket.destroyed && !this.socket.writableEnded) this.socket.write(parts.length === 1 ? parts[0] : Buffer.concat(parts));
  }
  close() {
    this.socket.destroy();
  }

  /** Until `condition(this)`, or false after a time or when nothing more can come. */
  until(condition, ms = 5000) {
    return new Promise((resolve) => {
      const done = (value) => (clearTimeout(timer), this.waiting.delete(look), resolve(value));
      const look = () => {
        if (condition(this)) done(true);
        else if (this.isClosed) done(false);
      };
      const timer = setTimeout(() => done(false), patient(ms));
      this.waiting.add(look);
      look();
    });
  }
  /** Until the other side has said that nothing more comes. */
  over(ms = 5000) {
    return this.until((wire) => wire.isEnded || wire.isClosed, ms).then((value) => value || this.isClosed === true);
  }
  answer(stream) {
    return Buffer.concat(this.data.get(stream) ?? []);
  }

  #tell() {
    for (const look of [...this.waiting]) look();
  }

  #take(chunk) {
    this.bytesRead += chunk.length;
    let all = this.left.length === 0 ? chunk : Buffer.concat([this.left, chunk]);
    while (all.length >= 9) {
      const length = all.readUIntBE(0, 3);
      if (all.length < 9 + length) break;
      this.#frame(all[3], all[4], all.readUInt32BE(5) & 0x7fffffff, all.subarray(9, 9 + length));
      all = all.subarray(9 + length);
    }
    this.left = all;
    this.#tell();
  }

  #frame(kind, flags, stream, payload) {
    this.frames++;
    if (kind === type.DATA) {
      if (!this.data.has(stream)) this.data.set(stream, []);
      this.data.get(stream).push(Buffer.from(payload));
    } else if (kind === type.RST_STREAM) {
      this.resets.set(stream, payload.readUInt32BE(0));
    } else if (kind === type.GOAWAY) {
      this.goaway = { last: payload.readUInt32BE(0), code: payload.readUInt32BE(4), text: payload.subarray(8).toString('latin1') };
    } else if (kind === type.PING && (flags & flag.ACK) !== 0) {
      this.pings.push(Buffer.from(payload));
    } else if (kind === type.PING && this.acknowledge) {
      this.write(ping(Buffer.from(payload), flag.ACK));
    } else if (kind === type.SETTINGS && (flags & flag.ACK) === 0) {
      this.settings = Buffer.from(payload);
      if (this.acknowledge) this.write(settingsAck);
    }
    if ((kind === type.DATA || kind === type.HEADERS) && (flags & flag.END_STREAM) !== 0) this.ended.add(stream);
  }
}
