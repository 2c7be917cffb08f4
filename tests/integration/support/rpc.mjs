// google.firestore.v1 without an SDK: requests and responses as plain objects, with the names of the .proto files.
import assert from 'node:assert/strict';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { grpc, protoLoader } from './packages.mjs';
import { patient } from './wait.mjs';

export const { status: code } = grpc;
export const protoDir = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../proto');

const MIB = 1 << 20;

/** The package objects of some .proto files; a field that was not sent is not in the object. */
export function loadProto(...files) {
  const definition = protoLoader.loadSync(files, {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: false,
    oneofs: false,
    includeDirs: [protoDir],
  });
  return grpc.loadPackageDefinition(definition);
}

let firestore;
function firestoreService() {
  firestore ??= loadProto('google/firestore/v1/firestore.proto').google.firestore.v1.Firestore;
  return firestore;
}

/** A client of one service. Every call has a deadline, so that a server that hangs fails a test and no more. */
export class Rpc {
  constructor(address, Service = firestoreService(), { credentials = grpc.credentials.createInsecure(), authorization = 'Bearer owner', ...options } = {}) {
    this.authorization = authorization; // null: none
    this.service = Service.service;
    this.client = new Service(address, credentials, {
      'grpc.max_receive_message_length': 64 * MIB,
      'grpc.max_send_message_length': 64 * MIB,
      ...options,
    });
  }

  close() {
    this.client.close();
  }

  #definition(method) {
    return Object.values(this.service).find((one) => one.originalName === method || one.path.endsWith(`/${method}`));
  }

  #context({ metadata = {}, deadlineMs = patient(20_000) }) {
    const all = new grpc.Metadata();
    if (this.authorization) all.set('authorization', this.authorization);
    for (const [key, value] of Object.entries(metadata)) value === null ? all.remove(key) : all.set(key, value);
    return [all, { deadline: Date.now() + deadlineMs }];
  }

  /** A unary call: the response, or an error with `code` and `details`. `request` may be ready-made bytes. */
  call(method, request, options = {}) {
    const { path, requestSerialize, responseDeserialize } = this.#definition(method);
    const serialize = Buffer.isBuffer(request) ? (bytes) => bytes : requestSerialize;
    return new Promise((resolve, reject) => {
      const [metadata, callOptions] = this.#context(options);
      const call = this.client.makeUnaryRequest(
        path, serialize, responseDeserialize, request, metadata, callOptions,
        (error, response) => (error ? reject(error) : resolve(response)),
      );
      options.onCall?.(call);
    });
  }

  /** A server-streaming call: all responses. */
  async collect(method, request, options = {}) {
    const { path, requestSerialize, responseDeserialize } = this.#definition(method);
    const serialize = Buffer.isBuffer(request) ? (bytes) => bytes : requestSerialize;
    const stream = this.client.makeServerStreamRequest(
      path, serialize, responseDeserialize, request, ...this.#context(options),
    );
    const responses = [];
    for await (const response of stream) responses.push(response);
    return responses;
  }

  /** A bidirectional call. */
  open(method, options = {}) {
    const { path, requestSerialize, responseDeserialize } = this.#definition(method);
    return this.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, ...this.#context(options));
  }
}

/** Calls a path that no .proto knows. */
export function callPath(rpc, path, bytes = Buffer.alloc(0)) {
  const same = (value) => value;
  return new Promise((resolve, reject) =>
    rpc.client.makeUnaryRequest(path, same, same, bytes, new grpc.Metadata(), { deadline: Date.now() + patient(10_000) },
      (error, response) => (error ? reject(error) : resolve(response))),
  );
}

export function codeName(number) {
  return Object.keys(code).find((name) => code[name] === number) ?? String(number);
}

/** Asserts that a call fails with this code, and with a message that says something (and matches). */
export async function fails(promise, wanted, pattern) {
  let response;
  try {
    response = await promise;
  } catch (error) {
    if (error.code === undefined) throw error;
    assert.equal(codeName(error.code), codeName(wanted), `details: ${error.details ?? error.message}`);
    const details = error.details ?? error.message;
    assert.ok(details.length >= 8, `the message says nothing: "${details}"`);
    if (pattern) assert.match(details, pattern);
    return error;
  }
  assert.fail(`expected ${codeName(wanted)}, got a response: ${JSON.stringify(response)?.slice(0, 300)}`);
}

// ---- Names and values ----

let projects = 0;
/** A database that no other test uses: {name, root, doc('rooms/a')}. */
export function freshDatabase(databaseId = '(default)', projectId) {
  const project = projectId ?? `p${process.pid}-${++projects}`;
  const name = `projects/${project}/databases/${databaseId}`;
  return { project, name, root: `${name}/documents`, doc: (relative) => `${name}/documents/${relative}` };
}

export const value = {
  null: { null_value: 'NULL_VALUE' },
  bool: (boolean_value) => ({ boolean_value }),
  int: (number) => ({ integer_value: String(number) }),
  double: (double_value) => ({ double_value }),
  time: (seconds, nanos = 0) => ({ timestamp_value: { seconds: String(seconds), nanos } }),
  string: (string_value) => ({ string_value }),
  bytes: (bytes) => ({ bytes_value: Buffer.from(bytes) }),
  ref: (reference_value) => ({ reference_value }),
  point: (latitude, longitude) => ({ geo_point_value: { latitude, longitude } }),
  array: (...values) => ({ array_value: { values } }),
  map: (fields) => ({ map_value: { fields } }),
};

export function timeToMicros(time) {
  return BigInt(time.seconds ?? 0) * 1_000_000n + BigInt(Math.floor((time.nanos ?? 0) / 1000));
}
export function microsToTime(micros) {
  const seconds = micros / 1_000_000n - (micros % 1_000_000n < 0n ? 1n : 0n);
  return { seconds: String(seconds), nanos: Number(micros - seconds * 1_000_000n) * 1000 };
}
