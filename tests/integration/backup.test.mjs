// skerry backup and restore: under load, cut off, on a full disk, damaged, by the schedule; and clients that have seen what
// a restore has lost.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fs as sdk, phone, switchAllOff } from './support/app.mjs';
import { files, fill, ids, nameOf, ok, refused, serve, start, Writer } from './support/backups.mjs';
import { request } from './support/http.mjs';
import { Listener, queryTarget } from './support/listen.mjs';
import { code, fails, freshDatabase, Rpc, timeToMicros, value as v } from './support/rpc.mjs';
import { makeTempDir, removeDir, startServer } from './support/server.mjs';
import { until } from './support/wait.mjs';

let root, server;
const at = (name) => path.join(root, name);
const servers = [];
const serving = async (...args) => {
  servers.push(await serve(...args));
  return servers.at(-1);
};

before(async () => {
  root = makeTempDir();
  server = await startServer();
});
after(async () => {
  await switchAllOff();
  for (const one of servers) one.discard();
  await server.close();
  removeDir(root);
});

const backUp = (directory, ...more) => ok('backup', directory, '--data', server.dataDir, ...more);

test('a backup under load has a beginning of every history', async () => {
  const writers = [0, 1, 2, 3].map((id) => new Writer(id));
  const runs = Promise.all(writers.map((writer) => writer.run(server.address)));
  const expected = [];
  for (let round = 0; round < 3; round++) {
    const wanted = writers.map((writer) => writer.acknowledged + 40);
    await until(() => writers.every((writer, i) => writer.acknowledged >= wanted[i]));
    const least = writers.map((writer) => writer.acknowledged);
    const { code, text } = await start('backup', at('load'), '--data', server.dataDir).ended;
    assert.equal(code, 0, text);
    expected.push({ least, most: writers.map((writer) => writer.sent) });
  }
  for (const writer of writers) writer.stopped = true;
  await runs;
  assert.deepEqual(ids(at('load')), [1, 2, 3]);
  for (const [i, { least, most }] of expected.entries()) {
    const data = at(`load-${i}`);
    ok('restore', at('load'), '--id', String(i + 1), '--data', data);
    const restored = await serving(data);
    const rpc = new Rpc(restored.address);
    for (const [w, writer] of writers.entries()) await writer.check(rpc, least[w], most[w]);
    rpc.close();
    await restored.stop();
    assert.match(ok('verify', '--data', data), / 0 damages/);
  }
});

/** Waits until no table is written or merged any more: a merge between two backups is new bytes. */
async function settled() {
  backUp(at('unsettled')); // what is in memory becomes tables
  const tables = () => fs.readdirSync(server.dataDir, { recursive: true }).filter((name) => name.endsWith('.sst')).sort().join();
  for (let before, now = tables(), quiet = 0; quiet < 10; before = now, now = tables(), quiet = now === before ? quiet + 1 : 0) await sleep(100);
}

test('the second backup shares the files of the first, and all are its own user’s', async () => {
  await fill(server.address, 'noise', 1000, 4000);
  await settled();
  backUp(at('shared'));
  const before = files(at('shared'));
  await fill(server.address, 'more', 10, 100);
  const said = backUp(at('shared'));
  const added = [...files(at('shared'))].filter(([name]) => !before.has(name));
  const bytes = added.reduce((sum, [, size]) => sum + size, 0);
  assert.ok(bytes < 500_000, `${bytes} bytes more: ${added.map(([name]) => name)}`);
  assert.ok([...before.values()].reduce((sum, size) => sum + size, 0) > 4_000_000);
  assert.match(said, /Backup 2 .* is made and verified; 0\.\d MiB are new/);
  for (const name of files(at('shared')).keys()) assert.equal(fs.statSync(at(`shared/${name}`)).mode & 0o777, 0o600, name);
  assert.match(ok('backup', 'verify', at('shared')), /Backup 2 .* is whole/);
  assert.match(ok('backup', 'verify', at('shared'), '--id', '1'), /Backup 1 .* is whole/);
});

test('what else is in the data directory comes with it', async () => {
  const key = JSON.parse(ok('key', 'create', 'till-1', '--data', server.dataDir));
  fs.writeFileSync(at('firestore.rules'), "rules_version = '2'; service cloud.firestore { match /databases/{d}/documents { match /{p=**} { allow read: if true; } } }");
  ok('rules', 'deploy', at('firestore.rules'), '--data', server.dataDir);
  backUp(at('files'));
  ok('restore', at('files'), '--data', at('files-restored'));
  const restored = await serving(at('files-restored'));
  assert.match(ok('key', 'list', '--data', restored.dataDir), new RegExp(key.private_key_id));
  assert.match(ok('rules', 'show', '--data', restored.dataDir), /allow read: if true/);
  await restored.stop();
  fs.rmSync(path.join(server.dataDir, 'firestore.rules'));
  await server.stop();
  await server.start(); // without rules, for the other tests
});

test('a directory that is not for backups, or is in use, is refused', async () => {
  fs.mkdirSync(at('photos'));
  fs.writeFileSync(at('photos/cat.jpg'), '');
  refused(/holds other files/, 'backup', at('photos'), '--data', server.dataDir);
  refused(/lies in the data directory/, 'backup', path.join(server.dataDir, 'backups'), '--data', server.dataDir);
  assert.ok(!fs.existsSync(path.join(server.dataDir, 'backups')));
  refused(/cannot be made/, 'backup', at('no/such/parent'), '--data', server.dataDir);
  refused(/Name a directory/, 'backup', '--data', server.dataDir);
  backUp(at('format'));
  fs.writeFileSync(at('format/SKERRY-BACKUPS'), 'skerry backups\nformat 2\nof 00\n');
  for (const words of [['backup', at('format'), '--data', server.dataDir], ['backup', 'list', at('format')], ['backup', 'verify', at('format')], ['restore', at('format'), '--data', at('format-restored')]])
    refused(/have format 2, and this program knows up to 1/, ...words);
  refused(/There are no backups/, 'backup', 'list', at('photos'));
  refused(/There is no backup 7/, 'backup', 'verify', at('shared'), '--id', '7');
  refused(/is not empty/, 'restore', at('shared'), '--data', at('photos'));
  const other = await serving(at('other-data'));
  refused(/has the backups of other data/, 'backup', at('shared'), '--data', other.dataDir);
  await other.stop();
  assert.match(ok('backup', at('other-backups'), '--data', other.dataDir), /Backup 1/); // without a server
});

const partFiles = (directory) => [...(fs.existsSync(directory) ? files(directory) : new Map()).keys()].filter((name) => /private\/|shared_checksum\//.test(name));
/** Files that no complete backup has. */
function orphans(directory) {
  const meta = path.join(directory, 'engine/meta');
  const kept = fs.readdirSync(meta).map((name) => fs.readFileSync(path.join(meta, name), 'latin1')).join('\n');
  return partFiles(directory).filter((name) => !kept.includes(name.replace(/^engine\//, '')));
}
/** Starts one that takes a minute, and waits until it is in the middle. */
async function slowBackup(of, directory) {
  const had = new Set(partFiles(directory));
  const one = start('backup', directory, '--data', of.dataDir, '--rate', '100000');
  await until(() => partFiles(directory).some((name) => !had.has(name)), 'the first files');
  return one;
}

test('a backup that is cut off is none, and the next one removes it', async () => {
  const killed = await serving(at('killed-data'));
  await fill(killed.address, 'noise', 300, 4000);
  ok('backup', at('killed'), '--data', killed.dataDir);
  await fill(killed.address, 'more', 1000, 4000);
  const slow = await slowBackup(killed, at('killed'));
  await until(() => /copying now/.test(ok('status', '--data', killed.dataDir)), 'how far it is');
  refused(/A backup is under way/, 'backup', at('elsewhere'), '--data', killed.dataDir);
  refused(/in use by another process/, 'restore', at('killed'), '--data', at('killed-early'));
  await killed.kill();
  assert.equal((await slow.ended).code, 1);
  assert.deepEqual(ids(at('killed')), [1]);
  assert.ok(orphans(at('killed')).length > 0);
  ok('restore', at('killed'), '--data', at('killed-restored')); // the first is still good
  await killed.start();
  assert.match(ok('backup', at('killed'), '--data', killed.dataDir), /Backup 2/);
  assert.deepEqual(orphans(at('killed')), []);
  assert.equal(fs.readdirSync(at('killed/files')).length, 2);
  assert.match(ok('backup', 'verify', at('killed')), /whole/);

  // A client that goes away, and a server that is told to stop, leave nothing.
  await fill(killed.address, 'again', 1000, 4000);
  const gone = await slowBackup(killed, at('killed'));
  gone.child.kill('SIGKILL');
  await gone.ended;
  await until(() => !/(copying|starting|verifying) now/.test(ok('status', '--data', killed.dataDir)), 'the end of it');
  assert.deepEqual(ids(at('killed')), [1, 2]);
  assert.deepEqual(orphans(at('killed')), []);
  const stopped = await slowBackup(killed, at('killed'));
  await killed.stop();
  assert.equal((await stopped.ended).code, 1);
  assert.deepEqual(orphans(at('killed')), []);
  assert.equal(fs.readdirSync(at('killed/files')).length, 2);
});

test('a restore that is cut off is no store', async () => {
  const data = at('cut');
  for (let round = 0; ; round++) {
    assert.ok(round < 20, 'it is always done before it can be killed');
    removeDir(data);
    const one = start('restore', at('killed'), '--data', data);
    await until(() => fs.existsSync(path.join(data, 'rocksdb/CURRENT')) || one.child.exitCode !== null);
    one.child.kill('SIGKILL');
    await one.ended;
    if (!fs.readFileSync(path.join(data, 'FORMAT'), 'utf8').includes('ready')) break;
  }
  await assert.rejects(serve(data), /A restore into .* was cut off/);
  refused(/A restore into .* was cut off/, 'verify', '--data', data);
  refused(/is not empty/, 'restore', at('killed'), '--data', data);
  removeDir(data);
  ok('restore', at('killed'), '--data', data);
});

test('a full disk stops a backup and nothing else', { skip: process.getuid() !== 0 }, async (t) => {
  const small = at('small');
  fs.mkdirSync(small);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'skerry-test', small]).status !== 0) return t.skip('mounting a tmpfs is not permitted');
  try {
    const full = await serving(at('full-data'), '--free-space-min', '2M');
    await fill(full.address, 'noise', 2000, 4000);
    const slow = await slowBackup(full, path.join(small, 'b'));
    fs.writeFileSync(path.join(small, 'other'), Buffer.alloc(22 << 20)); // somebody else needs the space
    const { code, text } = await slow.ended;
    assert.equal(code, 1);
    assert.match(text, /RESOURCE_EXHAUSTED: The backup needs .* make room/);
    assert.deepEqual(partFiles(path.join(small, 'b')), []);
    refused(/RESOURCE_EXHAUSTED: The backup needs \d+ MiB more/, 'backup', path.join(small, 'b'), '--data', full.dataDir); // and before it begins
    await fill(full.address, 'on', 10, 100); // the server does not mind
    assert.match(ok('status', '--data', full.dataDir), /PROBLEM   the last backup failed: The backup needs/);
    fs.rmSync(path.join(small, 'other'));
    ok('backup', path.join(small, 'b'), '--data', full.dataDir);
    await full.stop();
  } finally {
    spawnSync('umount', [small]);
  }
});

test('damage is found, by name', () => {
  const copy = (name) => (fs.cpSync(at('shared'), at(name), { recursive: true }), at(name));
  const flip = (file) => {
    const bytes = fs.readFileSync(file);
    bytes[Math.floor(bytes.length / 2)] ^= 1;
    fs.writeFileSync(file, bytes);
  };
  for (const [name, pattern] of [['table', /^engine\/shared_checksum\//], ['manifest', /^engine\/private\/2\/MANIFEST/], ['id', /^files\/.*backup-id$/], ['list', /^files\/.*LIST$/]]) {
    const directory = copy(`damaged-${name}`);
    const damaged = [...files(directory).keys()].filter((one) => pattern.test(one)).sort().at(-1);
    flip(path.join(directory, damaged));
    assert.match(refused(/DATA_LOSS/, 'backup', 'verify', directory), new RegExp(path.basename(damaged).replaceAll('.', '\\.')));
    refused(/DATA_LOSS/, 'restore', directory, '--data', at(`restored-${name}`));
    refused(/was cut off/, 'verify', '--data', at(`restored-${name}`));
  }
  const directory = copy('damaged-missing');
  const shared = [...files(directory).keys()].filter((one) => /^engine\/shared_checksum\//.test(one)).sort()[0]; // both backups have it
  fs.rmSync(path.join(directory, shared));
  assert.match(ok('backup', 'list', directory), /DAMAGED/);
  refused(/DATA_LOSS/, 'backup', 'verify', directory);
  const newest = copy('damaged-newest'); // only the newest has it: the one before is whole, and that is not enough
  fs.rmSync(path.join(newest, [...files(newest).keys()].find((one) => /^engine\/private\/2\/MANIFEST/.test(one))));
  assert.match(refused(/DATA_LOSS/, 'backup', 'verify', newest), /Backup 2 .*is damaged.*1 is whole/);
  ok('backup', 'verify', newest, '--id', '1');
});

const metrics = async (of) => (await request(of.port, '/metrics')).text;
const metric = async (of, name) => Number((await metrics(of)).match(new RegExp(`^${name} (\\S+)$`, 'm'))[1]);

test('the schedule: what was missed is made at the start, and failures are loud', async () => {
  const scheduled = ['--metrics', 'local', '--backup-dir', at('scheduled'), '--backup-schedule', 'every 1d'];
  let one = await serving(at('scheduled-data'), ...scheduled);
  await until(() => fs.existsSync(at('scheduled')) && ids(at('scheduled')).length === 1, 'the first');
  await until(async () => (await metric(one, 'skerry_backups_total')) === 1);
  assert.ok(Math.abs((await metric(one, 'skerry_backup_last_success_seconds')) - Date.now() / 1000) < 60);
  assert.match(ok('status', '--data', one.dataDir), /^backups   every 1d in .*scheduled, the last at /m);
  assert.match(ok('backup', '--data', one.dataDir), /Backup 2 in .*scheduled/); // without a name: there
  await one.stop();
  one = await serving(at('scheduled-data'), ...scheduled);
  assert.ok((await metric(one, 'skerry_backup_last_success_seconds')) > 0); // from its directory
  await new Promise((resolve) => setTimeout(resolve, 2500)); // looks every second
  assert.deepEqual(ids(at('scheduled')), [1, 2]);
  await one.stop();
  one = await serving(at('scheduled-data'), ...scheduled.with(3, at('no/parent')));
  await until(async () => (await metric(one, 'skerry_backup_failures')) === 1);
  assert.match(ok('status', '--data', one.dataDir), /PROBLEM   the last backup failed: The directory .* cannot be made/);
  assert.match(one.log, /level=error msg="the scheduled backup failed, and will be tried again"/);
  await one.stop();
  for (const [args, pattern] of [[['--backup-schedule', 'hourly'], /say off, every 6h/], [['--backup-schedule', 'every 1h'], /needs backup_dir/], [['--backup-dir', 'relative'], /absolute/]])
    await assert.rejects(serve(at('scheduled-data'), ...args), pattern);
});

// ---- Clients that know more than the backup ----

test('a listener with a token from after the backup begins anew', async () => {
  const one = await serving(at('token-data'));
  const database = freshDatabase('(default)', 'p');
  const target = queryTarget(database.root, 'rooms');
  let rpc = new Rpc(one.address);
  const put = (id, n) => rpc.call('Commit', { database: database.name, writes: [{ update: { name: database.doc(`rooms/${id}`), fields: { n: v.int(n) } } }] });
  await put('a', 1);
  await put('b', 1);
  ok('backup', at('token'), '--data', one.dataDir);
  await put('a', 2);
  await put('lost', 1);
  let listener = new Listener(rpc, database);
  listener.add(2, target);
  await listener.current(2);
  assert.deepEqual(listener.names(2), ['rooms/a', 'rooms/b', 'rooms/lost']);
  const page = { parent: database.root, collection_id: 'rooms', page_size: 1 };
  const { next_page_token } = await rpc.call('ListDocuments', page);
  const known = { docs: listener.targets.get(2).docs, token: listener.targets.get(2).token };
  const seen = listener.read;
  const times = [...known.docs.values()].map((document) => timeToMicros(document.update_time));
  await listener.close();
  rpc.close();
  await one.stop();
  ok('restore', at('token'), '--data', at('token-restored'));
  const restored = await serving(at('token-restored'));
  rpc = new Rpc(restored.address);
  const check = async (pattern) => {
    listener = new Listener(rpc, database);
    listener.add(2, target, known);
    await listener.current(2);
    assert.equal(listener.targets.get(2).resets, 1);
    assert.deepEqual(listener.names(2), pattern);
    assert.ok(listener.read > seen);
    for (const document of listener.targets.get(2).docs.values()) assert.ok(timeToMicros(document.update_time) > times.reduce((a, b) => (a > b ? a : b)), 'a document is older than what a client has seen');
    await listener.close();
  };
  await fails(rpc.call('ListDocuments', { ...page, page_token: next_page_token }), code.INVALID_ARGUMENT); // it is of another store
  await check(['rooms/a', 'rooms/b']);
  await put('c', 1); // the store is past the token now
  await check(['rooms/a', 'rooms/b', 'rooms/c']);
  listener = new Listener(rpc, database); // by time, as a client may ask too
  listener.add(2, { ...target, read_time: { seconds: String(seen / 1_000_000n), nanos: Number(seen % 1_000_000n) * 1000 } }, { docs: known.docs });
  await listener.current(2);
  assert.deepEqual(listener.names(2), ['rooms/a', 'rooms/b', 'rooms/c']);
  await listener.close();
  rpc.close();
  await restored.stop();
});

test('an app that has seen what is lost shows what was restored', async () => {
  let one = await serving(at('app-data'));
  const port = String(one.port);
  const { db } = phone(one, { project: 'p' });
  const seen = [];
  const names = () => seen.at(-1)?.docs.map((d) => `${d.id}=${d.data().n}`).join();
  const current = () => seen.at(-1) && !seen.at(-1).metadata.fromCache && !seen.at(-1).metadata.hasPendingWrites;
  sdk.onSnapshot(sdk.collection(db, 'rooms'), { includeMetadataChanges: true }, (snapshot) => seen.push(snapshot));
  await sdk.setDoc(sdk.doc(db, 'rooms/a'), { n: 1 });
  await sdk.setDoc(sdk.doc(db, 'rooms/deleted'), { n: 1 });
  ok('backup', at('app'), '--data', one.dataDir);
  await sdk.setDoc(sdk.doc(db, 'rooms/a'), { n: 2 });
  await sdk.setDoc(sdk.doc(db, 'rooms/lost'), { n: 1 });
  await sdk.deleteDoc(sdk.doc(db, 'rooms/deleted'));
  await until(() => current() && names() === 'a=2,lost=1', names);
  await one.kill();
  ok('restore', at('app'), '--data', at('app-restored'));
  await sdk.disableNetwork(db);
  const offline = sdk.setDoc(sdk.doc(db, 'rooms/offline'), { n: 1 }); // what was typed meanwhile is not lost
  servers.push((one = await new one.constructor({ dataDir: at('app-restored'), args: ['--dev', '--listen', `127.0.0.1:${port}`] }).start()));
  await sdk.enableNetwork(db);
  await offline;
  await until(() => current() && names() === 'a=1,deleted=1,offline=1', names);
  await sdk.setDoc(sdk.doc(db, 'rooms/a'), { n: 3 });
  await until(() => current() && names() === 'a=3,deleted=1,offline=1', names);
  assert.equal((await sdk.getDocFromServer(sdk.doc(db, 'rooms/lost'))).exists(), false);
});

test('a clock that is behind the backup is not taken', () => {
  fs.cpSync(at('token'), at('future'), { recursive: true });
  const meta = at('future/engine/meta/1');
  const hex = (text) => Buffer.from(text).toString('hex').toUpperCase();
  const text = fs.readFileSync(meta, 'latin1').replace(/metadata (\S+)/, (_, note) => `metadata ${hex(Buffer.from(note, 'hex').toString().replace(/time \d+/, 'time 4000000000000000'))}`);
  fs.writeFileSync(meta, text, 'latin1');
  refused(/clock says .* the backup was made at 2096-.*Set the clock/, 'restore', at('future'), '--data', at('future-restored'));
  assert.ok(!fs.existsSync(at('future-restored')));
});
