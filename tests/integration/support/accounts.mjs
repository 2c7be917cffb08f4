// The sign-in package towards a server of ours, over TLS too; and the services of accounts by stubs.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { fetchTrusting } from './http.mjs';
import { app as appPackage } from './packages.mjs';
import { loadProto } from './rpc.mjs';
import { runSkerry } from './server.mjs';

const plain = globalThis.fetch;
let current = plain;
globalThis.fetch = (...request) => current(...request); // before the package looks at it
export const auth = await import('firebase/auth');

/** Whose certificates the sign-in package trusts from now on; none: plain HTTP. */
export function trustForHttp(ca) {
  current = ca ? fetchTrusting(ca) : plain;
}

const open = [];
let apps = 0;

/** The app of one phone, signed out: {app, auth}. */
export function signInApp(url, project = 'shop') {
  const app = appPackage.initializeApp({ projectId: project, apiKey: 'none', appId: 'app' }, `accounts${++apps}`);
  const instance = auth.initializeAuth(app);
  auth.connectAuthEmulator(instance, url, { disableWarnings: true });
  open.push(app);
  return { app, auth: instance };
}

export async function closeApps() {
  await Promise.all(open.splice(0).map((app) => appPackage.deleteApp(app)));
}

let services;
/** The stubs: Accounts and AccountAdmin. */
export function accountServices() {
  services ??= loadProto('skerry/identity/v1/accounts.proto', 'skerry/identity/v1/account_admin.proto').skerry.identity.v1;
  return services;
}

/** The code of what a promise fails with. */
export const codeOf = (promise) => promise.then(() => 'nothing', (error) => error.code ?? String(error));

export const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());

/** The code that an authenticator app shows, `steps` of 30 s from now (RFC 6238); the secret in base32. */
export function totp(secret, steps = 0) {
  const bits = [...secret].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const mac = crypto.createHmac('sha1', key).update(counter).digest();
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

/** For `after`: as Server.close, and what the store has of accounts has to agree. */
export async function closeVerified(server) {
  try {
    await server.stop();
    const { code, stdout, stderr } = runSkerry(['verify', '--data', server.dataDir]);
    assert.equal(code, 0, stdout + stderr);
  } finally {
    server.discard();
  }
}
