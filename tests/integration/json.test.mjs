// The JSON form of every message of our protos against @bufbuild/protobuf's, with random contents, both ways.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import readline from 'node:readline';
import { after, before, test } from 'node:test';
import { create, fromBinary, fromJson, toBinary, toJson } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { loadRegistry, protoFiles } from './support/descriptors.mjs';

const TOOL = process.env.SKERRY_JSON_TOOL;
const ROUNDS = Number(process.env.SKERRY_JSON_ROUNDS ?? 30);
const SEED = Number(process.env.SKERRY_SEED ?? Date.now() % 1e9);
const registry = loadRegistry();

let child, lines;
const waiting = [];
before(() => {
  child = spawn(TOOL, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  lines = readline.createInterface({ input: child.stdout });
  lines.on('line', (line) => waiting.shift()(line));
});
after(() => child.stdin.end());
const ask = (kind, name, bytes) => new Promise((resolve) => {
  waiting.push(resolve);
  child.stdin.write(`${kind} ${name} ${Buffer.from(bytes).toString('base64')}\n`);
});

// mulberry32
let state = SEED;
const random = () => {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];

const strings = ['', 'a', 'ä€😀', 'a\0b', '"\\/\b\f\n\r\t', '\u2028\u007f\u0080', 'null', '{"a":1}', 'x'.repeat(300), '__proto_'];
const doubles = [0, -0, 1, -1.5, 0.1, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, NaN, Infinity, -Infinity, 123456789012345680, 2 ** 53, 1 / 3];
const scalars = {
  1: () => pick(doubles), // (floats that have the same text as doubles: ours writes the shortest that is the same float)
  2: () => pick([0, -0, 1.5, -0.25, 1048576, NaN, Infinity, -Infinity]),
  3: () => pick([0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 9007199254740993n]), 4: () => pick([0n, 1n, 2n ** 64n - 1n]),
  5: () => pick([0, 1, -1, 2147483647, -2147483648]), 6: () => pick([0n, 2n ** 64n - 1n]), 7: () => pick([0, 4294967295]), 8: () => random() < 0.5,
  9: () => pick(strings), 12: () => new Uint8Array(Array.from({ length: below(8) }, () => below(256))), 13: () => pick([0, 1, 4294967295]),
  15: () => pick([0, -2147483648]), 16: () => pick([0n, -(2n ** 63n)]), 17: () => pick([0, -1, 2147483647]), 18: () => pick([0n, -1n, 2n ** 63n - 1n]),
};

/** A random message of the type; documents in documents end at some depth. */
function make(type, depth = 0) {
  const message = create(type);
  switch (type.typeName) {
    case 'google.protobuf.Timestamp':
      return create(type, { seconds: BigInt(pick([0, 1, -1, -62135596800, 253402300799, below(2e9)])), nanos: pick([0, 1, 999999999, 500000000, 123000, 120000000]) });
    case 'google.protobuf.Duration': {
      const sign = pick([1, -1]);
      return create(type, { seconds: BigInt(sign * pick([0, 1, 315576000000 - 1, below(1e6)])), nanos: sign * pick([0, 1, 999999999, 500000000, 1000]) });
    }
    case 'google.protobuf.FieldMask':
      return create(type, { paths: Array.from({ length: below(3) }, () => pick(['a', 'a.b_c', 'field_name.x', 'ab1'])) });
    case 'google.protobuf.Any': {
      if (random() < 0.2) return message;
      const inside = registry.getMessage(pick(['google.rpc.RetryInfo', 'google.protobuf.Duration', 'google.rpc.BadRequest', 'google.protobuf.Struct', 'google.protobuf.Int64Value']));
      return anyPack(inside, make(inside, depth + 1));
    }
    case 'google.protobuf.Value':
      if (depth > 5) return create(type, { kind: { case: 'nullValue', value: 0 } });
  }
  const oneofs = new Map(type.oneofs.map((oneof) => [oneof, random() < (type.typeName.endsWith('.Value') ? 1 : 0.8) ? pick(oneof.fields) : null]));
  for (const field of type.fields) {
    if (field.oneof ? oneofs.get(field.oneof) !== field : random() < 0.4) continue;
    const value = makeField(field, depth);
    if (value === undefined) continue;
    if (field.oneof) message[field.oneof.localName] = { case: field.localName, value };
    else message[field.localName] = value;
  }
  if (type.typeName === 'google.protobuf.Value') {
    if (message.kind.case === undefined) return create(type, { kind: { case: 'nullValue', value: 0 } });
    if (message.kind.case === 'numberValue' && !Number.isFinite(message.kind.value)) message.kind.value = 1.5; // has no JSON
  }
  return message;
}

function makeField(field, depth) {
  const one = (message, scalar, enumeration) => (message ? (depth > 6 ? undefined : make(message, depth + 1)) : enumeration ? pick(enumeration.values).number : scalars[scalar]());
  if (field.fieldKind === 'list') {
    const all = Array.from({ length: below(depth > 3 ? 2 : 4) }, () => one(field.message, field.scalar, field.enum)).filter((x) => x !== undefined);
    return all;
  }
  if (field.fieldKind === 'map') {
    const all = {};
    for (let i = below(3); i > 0; i--) {
      const value = one(field.message, field.scalar, field.enum);
      if (value !== undefined) all[field.mapKey === 9 ? pick(strings.filter((s) => s !== '__proto__')) : String(scalars[field.mapKey]())] = value;
    }
    return all;
  }
  // a wrapper's field is a plain value here
  if (field.message?.typeName.match(/^google\.protobuf\.(\w+)Value$/) && field.message.fields.length === 1 && field.message.typeName !== 'google.protobuf.ListValue') return scalars[field.message.fields[0].scalar]();
  if (field.message?.typeName === 'google.protobuf.Struct' && field.parent.typeName !== 'google.protobuf.Value') return { a: 1, b: [null, 'x', { c: true }], '': {} };
  return one(field.message, field.scalar, field.enum);
}

/** JSON.stringify drops the sign of -0. */
const stringify = (value) => JSON.stringify(value, (_, v) => (Object.is(v, -0) ? '@-0@' : v)).replaceAll('"@-0@"', '-0');

const types = [...registry].filter((one) => one.kind === 'message' && !one.typeName.startsWith('google.api.') && !one.file.proto.name.includes('descriptor') && one.fields.every((field) => field.fieldKind !== 'message' || field.message !== undefined))
  .filter((one) => one.file.proto.syntax === 'proto3');

test('every message of proto/ is among them', () => {
  // google.api is about the protos themselves: no client sends it.
  const files = protoFiles().filter((name) => !name.startsWith('google/api/'));
  assert.ok(files.length > 15);
  for (const file of files) {
    const messages = [...registry].filter((one) => one.kind === 'message' && `${one.file.name}.proto` === file);
    assert.ok(messages.length > 0 || file === 'google/rpc/code.proto', `${file} is not in support/descriptors.mjs`);
    for (const one of messages) assert.ok(types.includes(one) || one.typeName.endsWith('Entry'), `${one.typeName} is left out`);
  }
});

test(`random messages of ${types.length} types (SKERRY_SEED=${SEED})`, async () => {
  assert.ok(types.length > 100);
  for (const type of types) {
    for (let round = 0; round < ROUNDS; round++) {
      const message = make(type);
      const wire = toBinary(type, message);
      const theirs = toJson(type, message, { registry });
      const where = `${type.typeName} ${JSON.stringify(theirs)?.slice(0, 2000)} seed ${SEED}`;
      // Ours is read by them as the same message, and says the same.
      const written = await ask('w', type.typeName, wire);
      assert.ok(!written.startsWith('!'), `${where}: ${written}`);
      const ours = JSON.parse(Buffer.from(written, 'base64').toString());
      assert.deepEqual(ours, theirs, where);
      assert.deepEqual(Buffer.from(toBinary(type, fromJson(type, ours, { registry }))), Buffer.from(wire), where);
      // Theirs is read by us as the same message.
      const read = await ask('r', type.typeName, Buffer.from(stringify(theirs)));
      assert.ok(!read.startsWith('!'), `${where}: ${read}`);
      assert.deepEqual(toJson(type, fromBinary(type, Buffer.from(read, 'base64')), { registry }), theirs, where);
    }
  }
});
