// Backups of a server under test: the commands, and writers whose acknowledged commits a restored copy must have.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Rpc, value as v } from './rpc.mjs';
import { runSkerry, Server, skerryBinary } from './server.mjs';

/** A command that has to succeed; its output. */
export function ok(...args) {
  const { code, stdout, stderr } = runSkerry(args, { timeout: 60_000 });
  assert.equal(code, 0, `skerry ${args.join(' ')}:\n${stdout}${stderr}`);
  return stdout;
}

/** One that has to fail, with what it says. */
export function refused(pattern, ...args) {
  const { code, stdout, stderr } = runSkerry(args, { timeout: 60_000 });
  assert.equal(code, 1, `skerry ${args.join(' ')}:\n${stdout}${stderr}`);
  assert.match(stderr, pattern);
  return stderr;
}

/** A command under way: {child, ended}. */
export function start(...args) {
  const child = spawn(skerryBinary(), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += chunk));
  const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, text })));
  return { child, ended };
}

export const ids = (directory) => [...ok('backup', 'list', directory).matchAll(/^ *(\d+)  \d{4}-/gm)].map((match) => Number(match[1]));

/** Every file below a directory, with its size. */
export function files(directory) {
  const found = new Map();
  const walk = (at) => {
    for (const entry of fs.readdirSync(at, { withFileTypes: true })) {
      const full = path.join(at, entry.name);
      if (entry.isDirectory()) walk(full);
      else found.set(path.relative(directory, full), fs.lstatSync(full).size);
    }
  };
  walk(directory);
  return found;
}

/** A server on a data directory that the test has; it is stopped by the caller. */
export const serve = (dataDir, ...args) => new Server({ dataDir, args: ['--dev', '--listen', '127.0.0.1:0', ...args] }).start();

const DATABASE = 'projects/p/databases/(default)';
export const nameOf = (relative) => `${DATABASE}/documents/${relative}`;

/** Commits 1, 2, 3, ...: each one adds a document and sets two others to its number. */
export class Writer {
  constructor(id) {
    this.id = id;
    this.acknowledged = 0;
    this.sent = 0;
  }

  async run(address) {
    const rpc = new Rpc(address);
    try {
      while (!this.stopped) {
        const number = ++this.sent;
        const fields = { n: v.int(number), pad: v.string('x'.repeat(300)) };
        const writes = [`w${this.id}/${String(number).padStart(6, '0')}`, `pair/${this.id}-a`, `pair/${this.id}-b`].map((one) => ({ update: { name: nameOf(one), fields } }));
        await rpc.call('Commit', { database: DATABASE, writes });
        this.acknowledged = number;
      }
    } finally {
      rpc.close();
    }
  }

  /** In a restored copy: the first `n` commits, whole, with at least those up to `least` and none after `most`. */
  async check(rpc, least, most) {
    const found = await rpc.collect('BatchGetDocuments', { database: DATABASE, documents: [nameOf(`pair/${this.id}-a`), nameOf(`pair/${this.id}-b`)] });
    const pair = found.map((one) => Number(one.found?.fields.n.integer_value ?? 0));
    assert.equal(pair[0], pair[1], `writer ${this.id}: half a commit`);
    const numbers = [];
    let page_token = '';
    do {
      const page = await rpc.call('ListDocuments', { parent: `${DATABASE}/documents`, collection_id: `w${this.id}`, page_size: 5000, page_token });
      for (const one of page.documents ?? []) numbers.push(Number(one.fields.n.integer_value));
      page_token = page.next_page_token ?? '';
    } while (page_token !== '');
    assert.deepEqual(numbers, Array.from({ length: pair[0] }, (_, i) => i + 1), `writer ${this.id}: not a beginning of its history`);
    assert.ok(pair[0] >= least && pair[0] <= most, `writer ${this.id}: ${pair[0]} commits, acknowledged before ${least}, sent ${most}`);
    return pair[0];
  }
}

/** Documents that do not compress, so that there is something to copy. */
export async function fill(address, collection, count, bytes) {
  const rpc = new Rpc(address);
  try {
    for (let from = 0; from < count; from += 50) {
      const writes = Array.from({ length: Math.min(50, count - from) }, (_, i) => {
        const noise = Buffer.alloc(bytes);
        for (let k = 0, x = from + i + 1; k < bytes; k++) noise[k] = (x = (Math.imul(x, 1664525) + 1013904223) >>> 0) >>> 24;
        return { update: { name: nameOf(`${collection}/${from + i}`), fields: { noise: { bytes_value: noise } } } };
      });
      await rpc.call('Commit', { database: DATABASE, writes });
    }
  } finally {
    rpc.close();
  }
}
