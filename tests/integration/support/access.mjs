// A server in production: TLS, rules from a file, an OpenID issuer that the test runs; and who comes: users with tokens
// (raw, or with the firebase package), people without, services with keys of `skerry key create`.
import { directory, trust } from './roots.mjs'; // first
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { Authority, opensslMissing, tlsFlags } from './certificates.mjs';
import { Issuer } from './issuer.mjs';
import { app as appPackage, firestore, grpc, sdk } from './packages.mjs';
import { Rpc, codeName, freshDatabase } from './rpc.mjs';
import { Server, removeDir, runSkerry, skerryOnly } from './server.mjs';
import { patient, until } from './wait.mjs';

export const skip = skerryOnly || opensslMissing;
export const db = freshDatabase('(default)', 'shop');

process.env.METADATA_SERVER_DETECTION = 'none';
delete process.env.FIRESTORE_EMULATOR_HOST;
sdk.setLogLevel(process.env.SKERRY_SDK_LOG ?? 'silent');

let boxes = 0;
let authority;
function trusted() { // one a process: grpc-js reads whom it trusts once
  const made = new Authority(directory);
  trust(made);
  return made;
}

export class Box {
  /** @param rules the text; undefined: no setting says where rules are */
  static async open(rules, { args = [], audience = 'app', provider } = {}) {
    const box = new Box();
    box.authority = authority ??= trusted();
    box.issuer = await new Issuer(box.authority.server('issuer')).start();
    box.rulesFile = rules === undefined ? undefined : path.join(directory, `firestore${++boxes}.rules`);
    box.clients = [];
    box.secrets = [];
    if (box.rulesFile) box.writeRules(rules);
    if (provider) { // another issuer, for signing in to accounts
      box.provider = await new Issuer(box.authority.server('provider')).start();
      args = [...args, '--issuer', `${box.provider.url} audience=app provider=${provider}`];
    }
    box.server = new Server({
      args: ['--listen', '127.0.0.1:0', '--clock', 'trusted', '--projects', 'shop,other', ...tlsFlags(box.authority.server()),
        '--issuer', `${box.issuer.url} audience=${audience} project=shop`, '--issuer-ca', box.authority.certFile,
        ...(box.rulesFile ? ['--rules', box.rulesFile] : []), ...args],
    });
    try {
      await box.server.start();
      await until(() => box.status().includes(`${box.issuer.url}: 1 keys`), 'the keys of the issuer');
    } catch (error) {
      await box.issuer.stop();
      await box.provider?.stop();
      box.server.discard();
      throw error;
    }
    return box;
  }

  status() {
    return runSkerry(['status', '--data', this.server.dataDir]).stdout;
  }
  writeRules(text) {
    fs.writeFileSync(this.rulesFile, text);
  }
  /** Other rules in the file, and a SIGHUP. Resolves when the log has told of it. */
  async reload(text) {
    const told = () => this.server.stderr.match(/security rules (not )?reloaded/g)?.length ?? 0;
    const before = told();
    this.writeRules(text);
    this.server.signal('SIGHUP');
    await until(() => told() > before, 'the rules to be read', 10_000);
  }
  run(...args) {
    return runSkerry([...args, '--data', this.server.dataDir]);
  }

  /** A token of a user. */
  token(uid, claims = {}, ...rest) {
    const token = this.issuer.token({ sub: uid, ...claims }, ...rest);
    this.secrets.push(token.split('.')[2]);
    return token;
  }
  /** A raw client with this authorization header; null: none. */
  raw(authorization = null) {
    const rpc = new Rpc(`localhost:${this.server.port}`, undefined, { credentials: grpc.credentials.createSsl(), authorization });
    this.clients.push(() => rpc.close());
    return rpc;
  }
  /** A raw client of a user; null: signed out. */
  as(uid, claims) {
    return this.raw(uid === null ? null : `Bearer ${this.token(uid, claims)}`);
  }
  credentials() {
    return undefined;
  }

  /** A key of a service account, as `skerry key create` prints it. */
  key(role, name = `till-${role}`, project = 'shop') {
    const created = this.run('key', 'create', name, '--role', role, '--project', project);
    if (created.code !== 0) throw new Error(created.stderr);
    const key = JSON.parse(created.stdout);
    this.secrets.push(...key.private_key.split('\n').filter((line) => line.length === 64));
    return key;
  }
  /** The server SDK with a key. */
  service(credentials, settings = {}) {
    const client = new firestore.Firestore({ projectId: 'shop', host: `localhost:${this.server.port}`, ssl: true, credentials, ...settings });
    this.clients.push(() => client.terminate());
    return client;
  }

  /** The firebase package, signed in as a user (null: signed out): {db, signIn(uid, claims), signInWith(token)}. */
  phone(uid = null, claims) {
    const app = appPackage.initializeApp({ projectId: 'shop', apiKey: 'none', appId: 'app' }, `access${this.clients.length}-${this.server.port}`);
    const auth = new SignIn((...who) => this.token(...who));
    appPackage._addComponent(app, {
      name: 'auth-internal', type: 'PRIVATE', instanceFactory: () => auth, instantiationMode: 'LAZY', multipleInstances: false, serviceProps: {}, onInstanceCreated: null,
    });
    auth.signIn(uid, claims);
    const db = sdk.initializeFirestore(app, { host: `localhost:${this.server.port}`, ssl: true });
    this.clients.push(() => appPackage.deleteApp(app));
    return { db, auth };
  }

  async close() {
    try {
      for (const { status, reason } of await Promise.allSettled(this.clients.map((end) => end()))) if (status === 'rejected') throw reason;
    } finally {
      await this.issuer.stop().catch(() => {}); // a test may have
      await this.provider?.stop().catch(() => {});
      await this.server.close();
    }
    this.assertNothingTold();
  }
  /** Nothing of tokens and private keys is in what the server said. */
  assertNothingTold() {
    const { log } = this.server;
    assert.deepEqual(log.match(/^.*(PRIVATE KEY|eyJ|Bearer (?!TOKEN)).*$/gm), null, 'the log looks as if there were a secret in it');
    for (const secret of this.secrets) if (secret) assert.ok(!log.includes(secret), 'a secret is in the log');
  }
}

/** What Firebase Authentication is for the firestore package: its internal interface, with tokens of the test's issuer. */
class SignIn {
  #token;
  #uid;
  #listeners = new Set();
  constructor(make) {
    this.make = make;
    this.asked = []; // whether each request for a token wanted a new one
  }
  async getToken(forceRefresh) {
    this.asked.push(forceRefresh);
    if (forceRefresh && this.renew) this.#token = this.renew();
    return this.#token ? { accessToken: this.#token } : null;
  }
  getUid() {
    return this.#uid;
  }
  addAuthTokenListener(listener) {
    this.#listeners.add(listener);
    queueMicrotask(() => listener(this.#token ?? null));
  }
  removeAuthTokenListener(listener) {
    this.#listeners.delete(listener);
  }
  signInWith(uid, token) {
    this.#uid = uid;
    this.#token = token;
    for (const listener of this.#listeners) listener(token ?? null);
  }
  signIn(uid, claims) {
    this.signInWith(uid, uid === null ? undefined : this.make(uid, claims));
  }
}

/** A Write stream by hand: send(writes) gives a response, or {end: status}. */
export async function openWrites(rpc, database = db) {
  const stream = rpc.open('Write', { deadlineMs: patient(30_000) });
  const came = [], waiting = [];
  const put = (one) => (waiting.length ? waiting.shift()(one) : came.push(one));
  stream.on('data', put);
  stream.on('error', (error) => put({ end: codeName(error.code), details: error.details }));
  stream.on('status', (status) => status.code === 0 && put({ end: 'OK' }));
  const next = () => (came.length ? Promise.resolve(came.shift()) : new Promise((resolve) => waiting.push(resolve)));
  stream.write({ database: database.name });
  const hello = await next();
  return {
    hello, next, stream,
    send: (...writes) => (stream.write({ stream_token: hello.stream_token, writes }), next()),
    close: () => stream.cancel(),
  };
}

export function cleanUp() {
  removeDir(directory);
}
