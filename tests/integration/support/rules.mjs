// Rules judged twice: by `rules_driver` (tests/support), which needs no server, and by the official emulator.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
import { protobuf } from './packages.mjs';
import { Rpc, codeName, protoDir } from './rpc.mjs';

let types;
function type(name) {
  if (!types) {
    types = new protobuf.Root();
    types.resolvePath = (origin, target) => path.resolve(protoDir, target);
    types.loadSync('google/firestore/v1/firestore.proto', { keepCase: true });
  }
  return types.lookupType(`google.firestore.v1.${name}`);
}

/** A message of google.firestore.v1 as base64. */
export function encode(name, message) {
  const Type = type(name);
  return Buffer.from(Type.encode(Type.fromObject(message)).finish()).toString('base64');
}
const documentOf = (fields) => encode('Document', { fields });

/** A JSON value, such as a claim of a token, as a Value. */
export function jsonValue(value) {
  if (value === null) return { null_value: 'NULL_VALUE' };
  if (typeof value === 'boolean') return { boolean_value: value };
  if (typeof value === 'number') return Number.isInteger(value) ? { integer_value: String(value) } : { double_value: value };
  if (typeof value === 'string') return { string_value: value };
  if (Array.isArray(value)) return { array_value: { values: value.map(jsonValue) } };
  return { map_value: { fields: jsonFields(value) } };
}
export function jsonFields(object) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, jsonValue(value)]));
}

/** An unsigned token, which the emulator accepts, and its payload. */
export function makeToken(project, uid, claims = {}) {
  const payload = {
    iss: `https://securetoken.google.com/${project}`, aud: project, auth_time: 1_700_000_000, iat: 1_700_000_000, exp: 4_000_000_000,
    sub: uid, user_id: uid, firebase: { sign_in_provider: 'password', identities: {} }, ...claims,
  };
  const part = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
  return { payload, token: `${part({ alg: 'none', typ: 'JWT' })}.${part(payload)}.` };
}

/** The driver as a process: commands in, answers out, in order. */
export class RulesDriver {
  constructor() {
    const program = process.env.SKERRY_RULES_DRIVER;
    assert.ok(program, 'SKERRY_RULES_DRIVER must name the rules_driver program');
    this.child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.waiting = [];
    readline.createInterface({ input: this.child.stdout }).on('line', (line) => this.waiting.shift().resolve(JSON.parse(line)));
    this.child.on('exit', (code) => this.waiting.splice(0).forEach((one) => one.reject(new Error(`rules_driver ended (${code})`))));
  }
  #ask(command) {
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.child.stdin.write(`${JSON.stringify(command)}\n`);
    });
  }
  compile(rules) {
    return this.#ask({ rules });
  }
  /** {path: fields or null} */
  store(documents) {
    const encoded = Object.fromEntries(Object.entries(documents).map(([name, fields]) => [name, fields && documentOf(fields)]));
    this.child.stdin.write(`${JSON.stringify({ documents: encoded })}\n`);
  }
  /** @param request {operation, project, path, uid, claims, time_us, resource, after, afterDocuments, query, parent}; documents as fields */
  judge({ resource, after, afterDocuments, claims, query, ...rest }) {
    const request = { database: '(default)', project: 'p', time_us: Date.now() * 1000, ...rest };
    if (resource) request.resource = documentOf(resource);
    if (after) request.after = documentOf(after);
    if (request.uid !== undefined) request.claims = documentOf(jsonFields(claims ?? {}));
    if (afterDocuments) request.afterDocuments = Object.fromEntries(Object.entries(afterDocuments).map(([name, fields]) => [name, fields && documentOf(fields)]));
    if (query) request.query = encode('StructuredQuery', query);
    return this.#ask({ request });
  }
  async close() {
    this.child.stdin.end();
    await new Promise((resolve) => (this.child.exitCode === null ? this.child.once('exit', resolve) : resolve()));
  }
}

let projects = 0;
/** A project of its own on an emulator that runs. */
export class EmulatorRules {
  constructor(server, project = `rules${process.pid}-${++projects}`) {
    this.server = server;
    this.project = project;
    this.database = `projects/${project}/databases/(default)`;
    this.root = `${this.database}/documents`;
    this.rpc = new Rpc(server.address);
  }
  close() {
    this.rpc.close();
  }
  /** What it says of them: [] if it takes them. */
  async compile(content) {
    const response = await fetch(`http://${this.server.address}/emulator/v1/projects/${this.project}:securityRules`, {
      method: 'PUT',
      body: JSON.stringify({ rules: { files: [{ content }] } }),
    });
    const answer = await response.json();
    return response.ok ? [] : answer.error.message.split('\n');
  }
  /** As the owner, past all rules. */
  async store(documents) {
    const entries = Object.entries(documents);
    for (let at = 0; at < entries.length; at += 200) {
      const writes = entries.slice(at, at + 200).map(([name, fields]) =>
        fields ? { update: { name: `${this.root}/${name}`, fields } } : { delete: `${this.root}/${name}` });
      await this.rpc.call('Commit', { database: this.database, writes });
    }
  }
  /** 'allow', or what it said. A document that is missing was allowed to be looked for. */
  async #outcome(call) {
    try {
      await call;
      return { outcome: 'allow' };
    } catch (error) {
      if (codeName(error.code) === 'NOT_FOUND') return { outcome: 'allow' };
      if (codeName(error.code) !== 'PERMISSION_DENIED') throw error;
      return { outcome: 'deny', reason: error.details };
    }
  }
  #options(uid, claims) {
    return { metadata: { authorization: uid === undefined ? null : `Bearer ${makeToken(this.project, uid, claims).token}` } };
  }
  get(name, { uid, claims } = {}) {
    return this.#outcome(this.rpc.call('GetDocument', { name: `${this.root}/${name}` }, this.#options(uid, claims)));
  }
  list(parent, query, { uid, claims } = {}) {
    const where = parent ? `${this.root}/${parent}` : this.root;
    return this.#outcome(this.rpc.collect('RunQuery', { parent: where, structured_query: query }, this.#options(uid, claims)));
  }
  commit(writes, { uid, claims } = {}) {
    return this.#outcome(this.rpc.call('Commit', { database: this.database, writes }, this.#options(uid, claims)));
  }
}
