// Authorities and certificates for tests, made by the openssl program.
import { spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

/** Why no certificates can be made here, or false. */
export const opensslMissing = spawnSync('openssl', ['version']).error ? 'the openssl program is not installed' : false;

const KEYS = {
  p256: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  p384: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  rsa: ['-newkey', 'rsa:2048'],
  ed25519: ['-newkey', 'ed25519'],
};
const CONFIG = '[req]\ndistinguished_name = name\n[name]\n';
const NAMES = ['DNS:localhost', 'IP:127.0.0.1'];

function openssl(args) {
  const { status, stderr, error } = spawnSync('openssl', args, { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`openssl ${args.join(' ')}:\n${stderr}`);
}

/** A certificate with its key: the paths `certFile` and `keyFile`, their contents `cert` and `key`, and `sha256`. */
class Certificate {
  constructor(stem) {
    this.certFile = `${stem}.pem`;
    this.keyFile = `${stem}.key`;
    this.cert = fs.readFileSync(this.certFile);
    this.key = fs.readFileSync(this.keyFile);
    this.sha256 = new crypto.X509Certificate(this.cert).fingerprint256;
  }
}

let files = 0;

/** An authority whose files, and those of what it signs, lie in `directory`. */
export class Authority extends Certificate {
  constructor(directory, commonName = 'Test Authority') {
    const stem = path.join(directory, `authority${++files}`);
    const config = path.join(directory, 'openssl.cnf');
    fs.writeFileSync(config, CONFIG);
    openssl(['req', '-x509', '-new', ...KEYS.p256, '-nodes', '-config', config, '-subj', `/CN=${commonName}`, '-days', '40',
      '-addext', 'basicConstraints=critical,CA:true', '-addext', 'keyUsage=critical,keyCertSign',
      '-keyout', `${stem}.key`, '-out', `${stem}.pem`]);
    super(stem);
    this.directory = directory;
    this.config = config;
  }

  /** Signs a new one. `names` as of openssl's subjectAltName; `usage` serverAuth or clientAuth. */
  #issue(commonName, { key = 'p256', names = [], usage, expired = false }) {
    const stem = path.join(this.directory, `${commonName.replace(/[^\w.-]/g, '_')}${++files}`);
    const extensions = ['basicConstraints=critical,CA:false', 'keyUsage=critical,digitalSignature', `extendedKeyUsage=${usage}`];
    if (names.length > 0) extensions.push(`subjectAltName=${names.join(',')}`);
    const request = ['req', '-new', ...KEYS[key], '-nodes', '-config', this.config, '-subj', `/CN=${commonName}`, '-keyout', `${stem}.key`];
    const signer = ['-CA', this.certFile, '-CAkey', this.keyFile];
    if (!expired) {
      openssl([...request, '-x509', ...signer, '-days', '30', ...extensions.flatMap((one) => ['-addext', one]), '-out', `${stem}.pem`]);
    } else { // `req -x509` cannot go back in time
      fs.writeFileSync(`${stem}.ext`, extensions.join('\n'));
      openssl([...request, '-out', `${stem}.csr`]);
      openssl(['x509', '-req', '-in', `${stem}.csr`, ...signer, '-days', '-1', '-extfile', `${stem}.ext`, '-out', `${stem}.pem`]);
    }
    return new Certificate(stem);
  }

  server(commonName = 'box', options = {}) {
    return this.#issue(commonName, { names: NAMES, usage: 'serverAuth', ...options });
  }

  client(commonName, options = {}) {
    return this.#issue(commonName, { usage: 'clientAuth', ...options });
  }
}

/** What `skerry serve` is told of these certificates. */
export function tlsFlags(...certificates) {
  return certificates.flatMap((one) => ['--tls-cert', one.certFile, '--tls-key', one.keyFile]);
}

/** The flags of a server in production that lets everybody in: with TLS, on a free port. */
export const OPEN = ['--access', 'open', '--i-accept-open-access', '--clock', 'trusted'];
export const ANY_PORT = ['--listen', '127.0.0.1:0'];
