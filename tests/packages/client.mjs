// The server SDK, with a key of `skerry key create`, over TLS: client.mjs write|read PORT CA KEY
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
if (verb === 'write') await document.set({ text: 'kept', n: 1 });
const { text } = (await document.get()).data() ?? {};
await db.terminate();
if (text !== 'kept') throw new Error(`the document is ${text}`);
