// An OpenID Connect issuer that a test runs: discovery, keys, tokens, by Node's own crypto. And the program that
// checks tokens as the server does (SKERRY_TOKEN_CHECK).
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';
import readline from 'node:readline';
import { patient } from './wait.mjs';

const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

const KINDS = {
  RS256: { make: () => crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }), hash: 'sha256' },
  ES256: { make: () => crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }), hash: 'sha256', dsaEncoding: 'ieee-p1363' },
  EdDSA: { make: () => crypto.generateKeyPairSync('ed25519'), hash: null },
};

/** A signing key with an id: {alg, kid, jwk}. */
export function makeKey(alg, kid) {
  const { publicKey, privateKey } = KINDS[alg].make();
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
  return { alg, kid, jwk, privateKey };
}

export function signToken(key, claims, header = {}) {
  const input = `${encode({ alg: key.alg, kid: key.kid, typ: 'JWT', ...header })}.${encode(claims)}`;
  const { hash, dsaEncoding } = KINDS[key.alg];
  const signature = crypto.sign(hash, Buffer.from(input), { key: key.privateKey, dsaEncoding });
  return `${input}.${signature.toString('base64url')}`;
}

export class Issuer {
  /** `certificate` of support/certificates.mjs, for 127.0.0.1. */
  constructor(certificate) {
    this.certificate = certificate;
    this.keys = [makeKey('RS256', 'k1')];
    this.maxAge = 3600;
    this.requests = [];
    this.answer = undefined; // (request, response) => true if it has answered
  }

  async start(port = 0) {
    this.server = https.createServer({ cert: this.certificate.cert, key: this.certificate.key }, (request, response) => {
      this.requests.push(request.url);
      if (this.answer?.(request, response)) return;
      const document = this.documents()[request.url];
      response.writeHead(document ? 200 : 404, { 'content-type': 'application/json', 'cache-control': `public, max-age=${this.maxAge}` });
      response.end(document ? JSON.stringify(document) : '{}');
    });
    await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    this.port = this.server.address().port;
    this.url = `https://127.0.0.1:${this.port}`;
    return this;
  }

  documents() {
    return {
      '/.well-known/openid-configuration': { issuer: this.url, jwks_uri: `${this.url}/keys`, id_token_signing_alg_values_supported: ['RS256'] },
      '/keys': { keys: this.keys.map((key) => key.jwk) },
      '/certificates': this.certificates,
    };
  }

  count(path) {
    return this.requests.filter((url) => url === path).length;
  }

  token(claims = {}, key = this.keys[0], header = {}) {
    const now = Math.floor(Date.now() / 1000);
    return signToken(key, { iss: this.url, aud: 'app', sub: 'alice', iat: now, exp: now + 3600, ...claims }, header);
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** The running token_check. */
export class Checker {
  constructor(dataDir, args) {
    const program = process.env.SKERRY_TOKEN_CHECK;
    if (!program || !fs.existsSync(program)) throw new Error('SKERRY_TOKEN_CHECK must name the program');
    this.child = spawn(program, ['--data', dataDir, ...args], { stdio: 'pipe' });
    this.log = '';
    this.child.stderr.on('data', (chunk) => (this.log += chunk));
    this.ended = new Promise((resolve) => this.child.on('close', resolve));
    this.lines = readline.createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async ask(line) {
    this.child.stdin.write(`${line}\n`);
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`token_check ended: ${this.log}`);
    return JSON.parse(value);
  }
  verify(token) {
    return this.ask(`Bearer ${token}`);
  }
  issuers() {
    return this.ask('?');
  }
  async issuer() {
    return (await this.issuers())[0];
  }

  async close() {
    this.child.stdin.end();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), patient(10_000));
    const code = await this.ended;
    clearTimeout(timer);
    if (code !== 0) throw new Error(`token_check ended with ${code}: ${this.log}`);
  }
}
