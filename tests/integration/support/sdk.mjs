// The official client, pointed at the server under test.
import { firestore } from './packages.mjs';

process.env.METADATA_SERVER_DETECTION = 'none'; // nothing leaves this machine

export const { AggregateField, DocumentReference, FieldPath, FieldValue, Filter, Firestore, GeoPoint, Timestamp } = firestore;

let projects = 0;
const open = [];

/** A client for a project that no other test uses (or the given one). */
export function connect(server, settings = {}) {
  process.env.FIRESTORE_EMULATOR_HOST = server.address;
  const client = new Firestore({ projectId: `sdk${process.pid}-${++projects}`, ...settings });
  open.push(client);
  return client;
}

export async function disconnectAll() {
  await Promise.all(open.splice(0).map((client) => client.terminate()));
}
