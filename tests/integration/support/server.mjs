// Starts, stops and kills the server under test: skerry (environment SKERRY_BIN), or with SKERRY_PEER=emulator the
// official Firestore emulator, so that the tests themselves can be checked against a second implementation.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isUnderQemu, patient } from './wait.mjs';

export const isEmulator = process.env.SKERRY_PEER === 'emulator';
/** For the option `skip` of a test that only makes sense against skerry. */
export const skerryOnly = isEmulator ? 'only skerry does this' : false;
export { isUnderQemu };

const EMULATOR_JAR =
  process.env.SKERRY_EMULATOR_JAR ??
  '/usr/lib/google-cloud-sdk/platform/cloud-firestore-emulator/cloud-firestore-emulator.jar';
const EMULATOR_CLASS = 'com.google.cloud.datastore.emulator.firestore.CloudFirestore';
/** So slow a processor would shed load that any other carries. */
const PATIENT = { SKERRY_SHED_TARGET: '1s' };
const START_MS = patient(30_000);
const STOP_MS = patient(20_000);
const LOG_BYTES_MAX = 1 << 20;

const alive = new Set();
process.on('exit', () => {
  for (const server of alive) server.discard();
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** Why the emulator cannot run here, or null. */
export function emulatorMissing() {
  if (!fs.existsSync(EMULATOR_JAR)) return `the official emulator is not installed (${EMULATOR_JAR})`;
  if (spawnSync('java', ['-version']).error) return 'java is not installed';
  return null;
}

export function skerryBinary() {
  const binary = process.env.SKERRY_BIN;
  if (!binary || !fs.existsSync(binary)) {
    console.error(`SKERRY_BIN must name the skerry program to test (it is "${binary ?? ''}").`);
    process.exit(1);
  }
  return binary;
}

/** Runs a subcommand to its end: {code, stdout, stderr}. */
export function runSkerry(args, options = {}) {
  const { env = {}, timeout = 20_000, ...rest } = options;
  const result = spawnSync(skerryBinary(), args, {
    encoding: 'utf8',
    timeout: patient(timeout),
    env: { ...process.env, ...env },
    ...rest,
  });
  if (result.error) throw result.error;
  return { code: result.status, signal: result.signal, stdout: result.stdout, stderr: result.stderr };
}

export function makeTempDir() {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'skerry-test-'));
}

export function removeDir(directory) {
  fs.rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
}

/** A port that nobody has now. */
export async function freePort() {
  const socket = net.createServer();
  await new Promise((resolve) => socket.listen(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

async function accepts(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('connect', () => (socket.destroy(), resolve(true)));
    socket.on('error', () => resolve(false));
  });
}

export class Server {
  /** @param {{dataDir?: string, args?: string[], env?: object, emulator?: boolean, limits?: string[]}} options
   * limits: a program that sets limits and becomes the server, with its arguments */
  constructor(options = {}) {
    this.options = options;
    this.emulator = options.emulator ?? isEmulator;
    this.ownsDataDir = !options.dataDir;
    this.dataDir = options.dataDir ?? makeTempDir();
    this.stdout = '';
    this.stderr = '';
  }

  get pid() {
    return this.child.pid;
  }
  get running() {
    return this.child && this.child.exitCode === null && this.child.signalCode === null;
  }
  get log() {
    return this.stdout + this.stderr;
  }

  /** Starts and waits until it serves; a second start on the same data after a stop or a kill is allowed. */
  async start() {
    this.stdout = this.stderr = '';
    if (this.emulator) await this.#startEmulator();
    else await this.#startSkerry();
    return this;
  }

  #spawn(command, args) {
    this.child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...(isUnderQemu && PATIENT), ...this.options.env },
    });
    alive.add(this);
    const keep = (text, chunk) => (text + chunk).slice(-LOG_BYTES_MAX);
    this.child.stdout.on('data', (chunk) => (this.stdout = keep(this.stdout, chunk)));
    this.child.stderr.on('data', (chunk) => (this.stderr = keep(this.stderr, chunk)));
    this.ended = new Promise((resolve) =>
      this.child.on('close', (code, signal) => (alive.delete(this), resolve({ code, signal }))),
    );
  }

  async #until(condition) {
    const deadline = Date.now() + START_MS;
    while (!(await condition())) {
      if (!this.running || Date.now() > deadline) {
        const state = this.running ? 'does not serve' : 'ended';
        if (!this.running) await this.ended; // the process is gone, its last words may still be in the pipe
        this.discard();
        throw new Error(`the server ${state}:\n${this.log}`);
      }
      await sleep(10);
    }
  }

  async #startSkerry() {
    const flags = this.options.args ?? ['--dev', '--listen', '127.0.0.1:0'];
    const [command, ...args] = [...(this.options.limits ?? []), skerryBinary(), 'serve', '--data', this.dataDir, ...flags];
    this.#spawn(command, args);
    await this.#until(() => this.addresses().length > 0 && this.stdout.includes('Stop with'));
    const address = this.addresses().find((one) => !one.startsWith('unix:')) ?? this.addresses()[0];
    this.address = address;
    this.port = Number(address.split(':').at(-1));
  }

  async #startEmulator() {
    this.port = await freePort();
    this.address = `127.0.0.1:${this.port}`;
    const arguments_ = ['-cp', EMULATOR_JAR, EMULATOR_CLASS, 'start', '--host=127.0.0.1', `--port=${this.port}`];
    this.#spawn('java', arguments_);
    await this.#until(() => accepts(this.port));
  }

  /** What skerry says that it listens on. */
  addresses() {
    return [...this.stdout.matchAll(/^Skerry \S+ listens on (\S+)$/gm)].map((match) => match[1]);
  }

  signal(name) {
    this.child.kill(name);
  }

  /** Asks it to stop and checks that it does, with exit code 0. The data stays. */
  async stop() {
    if (!this.child) return;
    const wasRunning = this.running;
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    const { code, signal } = await this.ended;
    clearTimeout(timer);
    if (this.emulator) return;
    if (!wasRunning) throw new Error(`the server had ended by itself (${code ?? signal}):\n${this.log}`);
    if (code !== 0) throw new Error(`the server ended with ${code ?? signal}, not 0:\n${this.log}`);
  }

  /** SIGKILL, as a power cut that spares the kernel. */
  async kill() {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  /** Whatever the state: end it, remove its data. */
  discard() {
    if (this.running) this.child.kill('SIGKILL');
    alive.delete(this);
    if (this.ownsDataDir) removeDir(this.dataDir);
  }

  /** Stop, check, remove: for `after`. */
  async close() {
    try {
      await this.stop();
    } finally {
      this.discard();
    }
  }

  /** Whether what it uses says little of the program: of a sanitizer, whose allocator keeps what is freed, or of qemu. */
  get isInstrumented() {
    return isUnderQemu || Boolean(process.env.SKERRY_SANITIZE) || this.residentBytes() > 150 << 20;
  }

  residentBytes() {
    const status = fs.readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(status.match(/^VmRSS:\s+(\d+) kB$/m)[1]) * 1024;
  }
}

export async function startServer(options) {
  return new Server(options).start();
}
