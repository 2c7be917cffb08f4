// An app in a process of its own, because what it trusts is decided when node starts: writes, reads and follows a
// document over TLS at the address that it is given, and prints what it saw as JSON.
import { fs, phone, until } from './app.mjs';
import { patient } from './wait.mjs';

const patience = Number(process.env.PHONE_PATIENCE_MS ?? patient(15_000));
const { db } = phone({ address: process.argv[2] }, { project: 'skerry', settings: { ssl: true } });
const doc = fs.doc(db, `phones/${process.pid}`);
const seen = [];
let fromServer = false;
fs.onSnapshot(doc, { includeMetadataChanges: true }, (one) => {
  if (one.metadata.hasPendingWrites || one.metadata.fromCache || !one.exists()) return;
  fromServer = true;
  if (seen.at(-1) !== one.data().n) seen.push(one.data().n);
});
const written = fs.setDoc(doc, { n: 1 }).then(() => true);
const late = new Promise((resolve) => setTimeout(resolve, patience, false));
if (await Promise.race([written, late])) {
  const read = (await fs.getDocFromServer(doc)).data();
  await until(() => seen.at(-1) === 1, 'the first', patience);
  await fs.updateDoc(doc, { n: fs.increment(1) });
  await until(() => seen.at(-1) === 2, 'the second', patience);
  console.log(JSON.stringify({ read, seen, fromServer }));
} else {
  console.log(JSON.stringify({ offline: !fromServer }));
}
process.exit(0);
