// Whom grpc-js trusts, in this process, also inside of SDKs that cannot be told: it reads the variable when it is loaded
// and the file when the first channel is made. So this comes before everything that imports grpc-js.
import fs from 'node:fs';
import path from 'node:path';
import { makeTempDir } from './server.mjs';

export const directory = makeTempDir();
const file = path.join(directory, 'roots.pem');
process.env.GRPC_DEFAULT_SSL_ROOTS_FILE_PATH = file;

export function trust(authority) {
  fs.writeFileSync(file, authority.cert);
}
