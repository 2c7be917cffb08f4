// An issuer of tokens for skerry-net to fetch from: issuer.mjs PORT CERTIFICATE KEY, until it is killed.
import fs from 'node:fs';
import process from 'node:process';
import { Issuer } from '../integration/support/issuer.mjs';

const [, , port, cert, key] = process.argv;
const issuer = await new Issuer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }).start(Number(port));
console.log(issuer.url);
