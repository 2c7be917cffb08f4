// A well-behaved client in a process of its own: calls one after the other, now and then on a new connection, until it
// is told to stop; then it says how many there were, which failed, and how long they took.
//   node honest.mjs ADDRESS plain|tls
import { fork } from 'node:child_process';
import http2 from 'node:http2';
import { fileURLToPath } from 'node:url';
import { patient } from './wait.mjs';

const CALLS_A_CONNECTION = 40;
const PAUSE_MS = 4;
const TIMEOUT_MS = patient(15_000);
const here = fileURLToPath(import.meta.url);

/** {stop(): Promise<{calls, failures: [text], p50, p99, most}>, end()} once the first call was answered. */
export function startHonest(address, secure = false) {
  const child = fork(here, [address, secure ? 'tls' : 'plain'], { execArgv: [] });
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the well-behaved client ended (${code})`)));
    child.once('message', () =>
      resolve({
        stop: () =>
          new Promise((done) => {
            child.once('message', (result) => (child.kill(), done(result)));
            child.send('stop');
          }),
        end: () => child.kill(),
      }),
    );
  });
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function connect(address, secure) {
  const session = http2.connect(`${secure ? 'https' : 'http'}://${address}`, { rejectUnauthorized: false });
  session.on('error', () => {});
  return session;
}

/** Null, or why it failed. The document is not there, and being told so is the right answer. */
function call(session) {
  return new Promise((resolve) => {
    let status;
    const done = (why) => (clearTimeout(timer), resolve(why));
    const timer = setTimeout(() => done('no answer in time'), TIMEOUT_MS);
    try {
      const stream = session.request({
        ':method': 'POST', ':path': '/google.firestore.v1.Firestore/GetDocument',
        'content-type': 'application/grpc', te: 'trailers', authorization: 'Bearer owner',
      });
      const take = (all) => (status = all['grpc-status'] ?? status);
      stream.on('response', take).on('trailers', take).on('data', () => {});
      stream.on('error', (error) => done(error.message));
      stream.on('close', () => done(status === '5' ? null : `status ${status}`));
      const name = Buffer.from('projects/skerry/databases/(default)/documents/c/nothing');
      stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, name.length + 2, 0x0a, name.length]), name]));
    } catch (error) {
      done(error.message);
    }
  });
}

async function main(address, secure) {
  const times = [], failures = [];
  let stopped = false, session;
  process.on('message', () => (stopped = true));
  process.on('disconnect', () => process.exit(0));
  for (let i = 0; !stopped; i++) {
    const started = performance.now();
    if (i % CALLS_A_CONNECTION === 0) {
      session?.close();
      session = connect(address, secure);
    }
    const why = await call(session);
    times.push(performance.now() - started);
    if (why !== null) {
      failures.push(why);
      session.destroy();
      i = -1;
      await sleep(20);
    }
    if (times.length === 1) process.send('ready');
    await sleep(PAUSE_MS);
  }
  times.sort((a, b) => a - b);
  const at = (share) => Math.round(times[Math.floor((times.length - 1) * share)] * 10) / 10;
  process.send({ calls: times.length, failures, p50: at(0.5), p99: at(0.99), most: at(1) });
}

if (process.argv[1] === here) await main(process.argv[2], process.argv[3] === 'tls');
