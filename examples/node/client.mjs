// The README's client. With the server of `make run` at work:
//
//   npm ci && FIRESTORE_EMULATOR_HOST=127.0.0.1:8080 npm start
import { Firestore, FieldValue } from '@google-cloud/firestore';
const db = new Firestore({ projectId: 'demo' });
const room = db.doc('rooms/lobby');
await room.set({ title: 'Lobby', visits: 0 });
await room.update({ visits: FieldValue.increment(1), seen: FieldValue.serverTimestamp() });
console.log((await room.get()).data());
for (const ref of await db.collection('rooms').listDocuments()) console.log(ref.path);
await db.terminate();
