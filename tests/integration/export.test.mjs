// skerry export and import: a round trip of random documents, consistency under writes, modes, hostile lines, going on.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { ok, refused, start } from './support/backups.mjs';
import { generator } from './support/random.mjs';
import { freshDatabase, Rpc, value as v } from './support/rpc.mjs';
import { makeTempDir, removeDir, runSkerry, Server, skerryBinary } from './support/server.mjs';
import { until } from './support/wait.mjs';

const SEED = Number(process.env.SEED ?? 20261127);
let root, server, rpc;
const at = (name) => path.join(root, name);
const database = freshDatabase('(default)', 'shop');

// Without rules nobody comes in, but the operator on the box does.
before(async () => {
  root = makeTempDir();
  server = await new Server({ args: ['--listen', '127.0.0.1:0', '--projects', 'shop,second'] }).start();
  rpc = new Rpc(`unix:${path.join(server.dataDir, 'admin.sock')}`);
});
after(async () => {
  rpc.close();
  await server.close();
  removeDir(root);
});

const exportTo = (name, ...more) => ok('export', at(name), '--data', server.dataDir, ...more);
const lines = (name) => fs.readFileSync(at(name), 'utf8').split('\n').slice(0, -1);
const load = (text, ...more) => runSkerry(['import', '-', '--data', server.dataDir, ...more], { input: text, timeout: 60_000 });
const put = (...writes) => rpc.call('Commit', { database: database.name, writes });
const set = (relative, fields) => ({ update: { name: database.doc(relative), fields } });

function randomValue(random, depth) {
  const kinds = [
    () => v.null, () => v.bool(random.chance(0.5)), () => v.int(random.pick(['0', '-1', '9223372036854775807', '-9223372036854775808', '9007199254740993'])),
    () => v.double(random.pick([0, -0, NaN, Infinity, -Infinity, 1.5, 5e-324, 1.7976931348623157e308, 0.1])),
    () => v.time(random.pick(['-62135596800', '0', '253402300799']), random.pick([0, 1000, 999999000])),
    () => v.string(random.pick(['', '\0', 'a\0b', '\n"\\/', '\u2028', '😀é', '\u007f', 'x'.repeat(2000)])),
    () => v.bytes(Buffer.from(Array.from({ length: random.below(5) }, () => random.below(256)))),
    () => v.ref(database.doc('rooms/\u00e9')), () => v.point(-90, 180), () => v.point(-0, 0.1),
    () => v.map({ __type__: v.string('__vector__'), value: v.array(v.double(1), v.double(-0), v.double(NaN)) }),
  ];
  if (depth > 0) kinds.push(() => v.map(randomFields(random, depth - 1)), () => v.array(...random.some(3, () => randomValue(random, 0))));
  return random.pick(kinds)();
}
const randomFields = (random, depth) => Object.fromEntries(random.some(5, () => [random.pick(['a', 'b.c', '`', '\0', 'é', '日本', 'x y', 'A'.repeat(200)]), randomValue(random, depth)]));

async function everything(project = 'shop') {
  const responses = await rpc.collect('RunQuery', { parent: `projects/${project}/databases/(default)/documents`, structured_query: { from: [{ all_descendants: true }] } }, { deadlineMs: 60_000 });
  return responses.filter((one) => one.document).map((one) => ({ name: one.document.name, fields: one.document.fields }));
}

test('random documents come back as they were', async () => {
  const random = generator(SEED);
  const writes = Array.from({ length: 1500 }, (_, i) => set(random.pick([`rooms/${i}`, `rooms/${i}/messages/m`, `日本/${i}`]), randomFields(random, 3)));
  for (let i = 0; i < writes.length; i += 300) await put(...writes.slice(i, i + 300));
  const before = await everything();
  assert.equal(before.length, 1500);
  exportTo('all.jsonl');
  assert.equal(lines('all.jsonl').length, 1500);
  assert.equal(fs.statSync(at('all.jsonl')).mode & 0o777, 0o600);
  assert.deepEqual(fs.readdirSync(root), ['all.jsonl']); // and no part of it
  for (let i = 0; i < writes.length; i += 300) await put(...writes.slice(i, i + 300).map(({ update }) => ({ delete: update.name })));
  assert.equal((await everything()).length, 0);
  const { code, stderr } = load(fs.readFileSync(at('all.jsonl')));
  assert.equal(code, 0, stderr);
  assert.match(stderr, /Imported 1500 documents, skipped 0, refused 0 lines/);
  const names = (list) => new Map(list.map((one) => [one.name, one.fields]));
  assert.deepEqual(names(await everything()), names(before), `seed ${SEED}`);
  exportTo('again.jsonl');
  const content = (name) => lines(name).map((line) => { const { name: it, fields } = JSON.parse(line); return JSON.stringify({ it, fields }); });
  assert.deepEqual(content('again.jsonl'), content('all.jsonl'), `seed ${SEED}`);
});

test('a collection, a group, a project', async () => {
  await rpc.call('Commit', { database: 'projects/second/databases/(default)', writes: [{ update: { name: 'projects/second/databases/(default)/documents/c/1', fields: {} } }] });
  await put(set('part/a', {}), set('part/a/kids/1', {}), set('part/a/kids/1/kids/2', {}), set('part/b', {}));
  const names = (...words) => ok('export', '-', '--data', server.dataDir, ...words).split('\n').slice(0, -1).map((line) => JSON.parse(line).name.replace(/^.*documents\//, ''));
  assert.deepEqual(names('--collection', 'part', '--project', 'shop'), ['part/a', 'part/b']);
  assert.deepEqual(names('--collection', 'part/a/kids', '--project', 'shop'), ['part/a/kids/1']);
  assert.deepEqual(names('--group', 'kids'), ['part/a/kids/1', 'part/a/kids/1/kids/2']);
  assert.deepEqual(names('--project', 'second'), ['c/1']);
  assert.equal(names().length, 1505); // of both
  refused(/INVALID_ARGUMENT/, 'export', '-', '--data', server.dataDir, '--collection', 'part/a');
  refused(/cannot be written/, 'export', at('no/such/file'), '--data', server.dataDir);
});

test('an export is of one moment, whatever is written meanwhile', async () => {
  const random = generator(SEED);
  let n = 0, stopped = false;
  const pair = () => ['moment/first', 'zz/last'].map((one) => set(one, { n: v.int(n) }));
  await put(...pair());
  const writing = (async () => {
    while (!stopped) n++, await put(...pair(), set(`moment/${String(n).padStart(6, '0')}-${random.below(1000)}`, {}));
  })();
  for (let round = 0; round < 8; round++) {
    const { code, text } = await start('export', at('moment.jsonl'), '--data', server.dataDir, '--project', 'shop').ended;
    assert.equal(code, 0, text);
    const found = lines('moment.jsonl').map((line) => JSON.parse(line));
    const numbers = found.filter((one) => /first$|last$/.test(one.name)).map((one) => one.fields.n.integerValue);
    assert.equal(numbers.length, 2);
    assert.equal(numbers[0], numbers[1]);
    assert.equal(found.filter((one) => /moment\/\d/.test(one.name)).length, Number(numbers[0]));
  }
  stopped = true;
  await writing;
});

test('an export replaces files, and nothing else', async () => {
  await put(set('target/a', {}));
  const text = () => ok('export', '-', '--data', server.dataDir, '--collection', 'target', '--project', 'shop');
  const into = (name) => exportTo(name, '--collection', 'target', '--project', 'shop');
  // Somebody else's file is not written into, whatever its mode; a link is followed and stays.
  fs.writeFileSync(at('open.jsonl'), 'old');
  fs.chmodSync(at('open.jsonl'), 0o666);
  const other = fs.openSync(at('open.jsonl'), 'r');
  fs.symlinkSync(at('open.jsonl'), at('link.jsonl'));
  into('link.jsonl');
  assert.equal(fs.readFileSync(other, 'utf8'), 'old');
  fs.closeSync(other);
  assert.ok(fs.lstatSync(at('link.jsonl')).isSymbolicLink());
  assert.equal(fs.statSync(at('open.jsonl')).mode & 0o777, 0o600);
  assert.equal(fs.readFileSync(at('open.jsonl'), 'utf8'), text());
  // A pipe is one afterwards, as a device is.
  spawnSync('mkfifo', [at('pipe')]);
  const reading = spawn('cat', [at('pipe')], { stdio: ['ignore', 'pipe', 'inherit'] });
  let read = '';
  reading.stdout.on('data', (chunk) => (read += chunk));
  const { code, text: said } = await start('export', at('pipe'), '--data', server.dataDir, '--collection', 'target', '--project', 'shop').ended;
  assert.equal(code, 0, said);
  if (reading.exitCode === null) await once(reading, 'close');
  assert.equal(read, text());
  assert.ok(fs.lstatSync(at('pipe')).isFIFO());
  refused(/it is a directory/, 'export', root, '--data', server.dataDir);
  assert.deepEqual(fs.readdirSync(root).filter((one) => /part/.test(one)), []);
});

const noMounts = process.getuid() === 0 && spawnSync('unshare', ['--mount', 'true']).status === 0 ? false : 'a small disk needs root and mounts';
test('a disk that gets full in an export', { skip: noMounts }, async () => {
  await put(...Array.from({ length: 20 }, (_, i) => set(`wide/${i}`, { a: v.string('x'.repeat(200_000)) })));
  const disk = at('disk');
  fs.mkdirSync(disk);
  const script = 'mount -t tmpfs -o size=1m tmpfs "$0"; echo old > "$0/wide.jsonl"; "$@"; code=$?; ls "$0"; cat "$0/wide.jsonl"; exit $code';
  const { status, stdout, stderr } = spawnSync('unshare', ['--mount', 'sh', '-c', script, disk, skerryBinary(), 'export', path.join(disk, 'wide.jsonl'), '--data', server.dataDir,
    '--collection', 'wide', '--project', 'shop'], { encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 1, stderr);
  assert.match(stderr, /No space left on device/);
  assert.equal(stdout, 'wide.jsonl\nold\n'); // what was there is there, and no part of the new one
  const out = fs.openSync('/dev/full', 'w');
  const full = spawnSync(skerryBinary(), ['export', '-', '--data', server.dataDir, '--collection', 'wide', '--project', 'shop'], { stdio: ['ignore', out, 'pipe'], encoding: 'utf8' });
  fs.closeSync(out);
  assert.equal(full.status, 1);
  assert.match(full.stderr, /No space left on device/);
});

const line = (relative, fields) => `${JSON.stringify({ name: database.doc(relative), fields })}\n`;
const get = async (relative) => (await rpc.call('GetDocument', { name: database.doc(relative) })).fields;

test('what is there already: refused, skipped, overwritten, merged', async () => {
  await put(set('modes/a', { keep: v.int(1), m: v.map({ x: v.int(1), y: v.int(1) }) }));
  const two = line('modes/a', { m: { mapValue: { fields: { x: { integerValue: '2' }, 'b.c': { nullValue: null } } } } }) + line('modes/new', {});
  let result = load(two);
  assert.equal(result.code, 1);
  assert.match(result.stderr, /^line 1: this document is there already/m);
  assert.match(result.stderr, /Imported 1 documents, skipped 0, refused 1 lines/);
  assert.deepEqual(await get('modes/new'), undefined);
  result = load(two, '--skip');
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.stderr, /Imported 0 documents, skipped 2, refused 0/);
  result = load(two, '--merge');
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(await get('modes/a'), { keep: v.int('1'), m: v.map({ x: v.int('2'), y: v.int('1'), 'b.c': v.null }) });
  result = load(two, '--overwrite');
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(await get('modes/a'), { m: v.map({ x: v.int('2'), 'b.c': v.null }) });
  result = load(line('modes/twice', { n: { integerValue: '1' } }) + line('modes/twice', { n: { integerValue: '2' } }), '--overwrite');
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(await get('modes/twice'), { n: v.int('2') }); // in their order
});

test('lines that are wrong are named, the others come in', async () => {
  const good = Array.from({ length: 700 }, (_, i) => line(`good/${i}`, {}));
  const bad = ['{', 'null', '{"name":"x"}', '[]', '\0', '{"name":"' + database.doc('good/x') + '","fields":{"a":{"integerValue":"x"}}}',
    JSON.stringify({ name: database.doc('bad/large'), fields: { a: { stringValue: 'x'.repeat(1_100_000) } } }), '{"a":'.repeat(100_000)];
  const all = good.slice(0, 350).join('') + bad.join('\n') + '\n\n' + good.slice(350).join('').trimEnd();
  const { code, stderr } = load(all);
  assert.equal(code, 1);
  const named = [...stderr.matchAll(/^line (\d+): \S/gm)].map((match) => Number(match[1])).sort((a, b) => a - b);
  assert.deepEqual(named, bad.map((_, i) => 351 + i), stderr.slice(0, 2000));
  assert.match(stderr, new RegExp(`Imported 700 documents, skipped 0, refused ${bad.length} lines`));
  const many = load('x\n'.repeat(1000));
  assert.equal(many.code, 1);
  assert.match(many.stderr, /There are 100 lines that are wrong/);
});

test('hostile lines', async () => {
  const nested = (depth, open, close) => `{"name":"${database.doc('evil/deep')}","fields":{"a":${open.repeat(depth)}{"nullValue":null}${close.repeat(depth)}}}`;
  const named = (name) => JSON.stringify({ name });
  const field = (value) => `{"name":"${database.doc('evil/field')}","fields":{"a":${value}}}`;
  const cases = [
    [nested(21, '{"mapValue":{"fields":{"a":', '}}}'), /more than 20 maps/],
    [nested(20_000, '{"mapValue":{"fields":{"a":', '}}}'), /too many objects/],
    [nested(20_000, '{"arrayValue":{"values":[', ']}}'), /too many objects/],
    [field('{"arrayValue":{"values":[{"arrayValue":{}}]}}'), /./],
    [named(database.doc('../evil')), /"\.\."/], [named(database.doc('evil/..')), /"\.\."/], [named(database.doc('evil//x')), /resource id/], [named(database.doc('__evil__/x')), /reserved/],
    [named('projects/../databases/(default)/documents/evil/x'), /Project id/], [named('/etc/passwd'), /./],
    [named(database.doc('evil/a\0b')), /U\+0000/], [`{"name":"${database.doc('evil/x')}\0"}`, /control character/],
    [`{"name":"${database.doc('evil/x')}","name":"${database.doc('evil/y')}"}`, /more than one field "name"/], [field('{"integerValue":"1","stringValue":"x"}'), /more than one/],
    [field('{"integerValue":1.5}'), /whole number/], [field('{"integerValue":"9223372036854775808"}'), /whole number/], [field('{"timestampValue":"yesterday"}'), /timestamp/],
    [field('{"bytesValue":"!"}'), /base64/], [field('{"geoPointValue":{"latitude":91}}'), /latitude/], [field('{"referenceValue":"x"}'), /./], [field('5'), /./],
    [`{"name":5}`, /string/], [`{"name":"${database.doc('evil/x')}","fields":[]}`, /object/], [`{"name":"${database.doc('evil/x')}"} {}`, /./], [`{"name":"${database.doc('evil/\\ud800')}"}`, /surrogate/],
    ['\ufeff{}', /./], [`{"\u001b]0;evil\u0007":1}`, /./], [`{"\\u001b[31m\\u009b5n":1}`, /unknown field "\\u001b\[31m\\u009b5n"/],
  ];
  for (const mode of [[], ['--merge']]) {
    const { code, stderr } = load(cases.map(([text]) => `${text}\n`).join('') + line('evil/good', {}), '--from-line', '1', ...mode);
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`Imported 1 documents, skipped 0, refused ${cases.length} lines`), stderr);
    assert.doesNotMatch(stderr, /[^\x0a\x20-\x7e\u00a0-\uffff]/); // nothing that steers a terminal
    for (const [i, [, pattern]] of cases.entries()) assert.match(stderr.match(new RegExp(`^line ${i + 1}: (.*)$`, 'm'))?.[1] ?? '', pattern, `line ${i + 1}`);
    await rpc.call('Commit', { database: database.name, writes: [{ delete: database.doc('evil/good') }] });
  }
});

test('large lines that are refused take nothing from those that are good', async () => {
  const large = `{"name":"${database.doc('large/x')}","fields":{"a":{"stringValue":"${'x'.repeat(24 * 1024 * 1024)}"}}}\n`;
  const file = at('large.jsonl');
  fs.writeFileSync(file, line('large/first', {}));
  for (let i = 0; i < 6; i++) fs.appendFileSync(file, large); // more than an import may hold at once
  fs.appendFileSync(file, line('large/last', {}));
  const { code, stderr } = runSkerry(['import', file, '--data', server.dataDir], { timeout: 170_000 });
  fs.rmSync(file);
  assert.equal(code, 1);
  assert.match(stderr, /Imported 2 documents, skipped 0, refused 6 lines/);
  assert.equal(stderr.match(/is longer than 1048487 bytes/g).length, 6, stderr);
});

test('an import that is cut off and made again', async () => {
  const count = 4000, text = Array.from({ length: count }, (_, i) => line(`cut/${i}`, { n: { integerValue: String(i) } })).join('');
  fs.writeFileSync(at('cut.jsonl'), text);
  const { child, ended } = start('import', at('cut.jsonl'), '--data', server.dataDir);
  const stored = async () => (await rpc.collect('RunQuery', { parent: database.root, structured_query: { from: [{ collection_id: 'cut' }], select: { fields: [{ field_path: '__name__' }] } } })).filter((one) => one.document).length;
  await until(async () => (await stored()) > 0, 'the first documents');
  child.kill('SIGKILL');
  await ended;
  const before = await stored(); // at least: what the import had sent may still be written
  const { code, stderr } = load(text, '--skip');
  assert.equal(code, 0, stderr);
  const [imported, skipped] = stderr.match(/Imported (\d+) documents, skipped (\d+), refused 0/).slice(1).map(Number);
  assert.ok(skipped >= before && imported + skipped === count, `${before} before; ${stderr}`);
  assert.equal(await stored(), count);
});

test('an import goes on where it ended', async () => {
  const text = Array.from({ length: 1200 }, (_, i) => line(`on/${String(i).padStart(4, '0')}`, {})).join('');
  const { code, stderr } = load(text.slice(0, 40) + text.slice(40), '--from-line', '601');
  assert.equal(code, 0, stderr);
  assert.match(stderr, /Imported 600 documents/);
  assert.equal((await rpc.collect('RunQuery', { parent: database.root, structured_query: { from: [{ collection_id: 'on' }] } })).filter((one) => one.document).length, 600);
  const foreign = load(JSON.stringify({ name: 'projects/other/databases/(default)/documents/a/b' }) + '\n');
  assert.equal(foreign.code, 1);
  assert.match(foreign.stderr, /Lines up to 0 are done: go on with --from-line 1/);
});

test('the socket of the administration is not for others', async () => {
  const outside = new Rpc(server.address, undefined, { authorization: null });
  await assert.rejects(outside.call('GetDocument', { name: database.doc('modes/a') }), { code: 7 });
  outside.close();
  assert.equal(fs.statSync(path.join(server.dataDir, 'admin.sock')).mode & 0o777, 0o600);
});
