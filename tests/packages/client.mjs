// The server SDK, with a key of `skerry key create`, over TLS: client.mjs write|read|load|count PORT CA KEY
//
// load   writes documents one after the other until it is told to stop (SIGTERM); prints how many were acknowledged,
//        and it must have seen the server come back if that restarted meanwhile
// count  prints how many of those there are
import fs from 'node:fs';
import { createRequire } from 'node:module';
import process from 'node:process';

const require = createRequire(new URL('../integration/package.json', import.meta.url));
const [, , verb, port, ca, key] = process.argv;
process.env.GRPC_DEFAULT_SSL_ROOTS_FILE_PATH = ca; // before grpc-js is loaded
process.env.METADATA_SERVER_DETECTION = 'none';
const { Firestore } = require('@google-cloud/firestore');

const db = new Firestore({ projectId: 'skerry', host: `localhost:${port}`, ssl: true, credentials: JSON.parse(fs.readFileSync(key, 'utf8')) });
const document = db.doc('boxes/this');

async function load() {
  let acknowledged = 0, stopped = false;
  process.on('SIGTERM', () => (stopped = true));
  while (!stopped) {
    // A retry of the SDK's may find what a try before it wrote: set again, the same document is not another.
    await db.doc(`load/${acknowledged}`).set({ n: acknowledged }).then(() => acknowledged++, () => new Promise((resolve) => setTimeout(resolve, 100)));
    if (acknowledged === 100) process.stderr.write('under way\n');
  }
  return acknowledged;
}

if (verb === 'load') console.log(await load());
if (verb === 'count') console.log((await db.collection('load').count().get()).data().count);
if (verb === 'write') await document.set({ text: 'kept', n: 1 });
const { text } = verb === 'write' || verb === 'read' ? (await document.get()).data() ?? {} : { text: 'kept' };
await db.terminate();
if (text !== 'kept') throw new Error(`the document is ${text}`);
