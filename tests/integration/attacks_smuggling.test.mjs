// Whether requests can be made to mean something else on their way through the guard: what was accepted arrives as it
// was sent, in whatever form; and nothing that comes after an offence arrives at all. The server is a test's echo
// (SKERRY_ECHO) behind the same front door as Skerry's services: it answers with the headers that it saw.
//
// SKERRY_ATTACK_BARE=1 takes the guard away: then these tests fail.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Wire, data, headers, http2Frame, ping, setting, settings, type } from './support/frames.mjs';
import { Hpack, literal, request, tableSize } from './support/hpack.mjs';
import { generator } from './support/random.mjs';
import { isEmulator } from './support/server.mjs';
import { field, frame } from './support/wire.mjs';
import { patient } from './support/wait.mjs';

const ECHO = process.env.SKERRY_ECHO ?? '';
const skip = isEmulator ? 'only skerry does this' : fs.existsSync(ECHO) ? false : 'SKERRY_ECHO names no program: build runtime_echo';
const UNARY = '/skerry.test.v1.Echo/Unary';
const REQUESTS = 10_000;

let child, address;
before(async () => {
  if (skip) return;
  const how = process.env.SKERRY_ATTACK_BARE === '1' ? ['--dev'] : ['--plaintext'];
  child = spawn(ECHO, ['--listen', '127.0.0.1:0', ...how, '--handshake-timeout', '5s', '--log-level', 'error'], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => child.kill('SIGKILL'));
  address = await new Promise((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
      const found = text.match(/^listening on (\S+)$/m);
      if (found) resolve(found[1]);
    });
    child.once('exit', (code) => reject(new Error(`the echo ended (${code})`)));
  });
});
after(async () => {
  if (skip) return;
  assert.equal(child.exitCode, null, 'it still runs');
  child.kill('SIGTERM');
  await Promise.race([new Promise((resolve) => child.once('exit', resolve)), sleep(patient(5000)).then(() => child.kill('SIGKILL'))]);
});

// ---- The echo's messages ----

/** EchoRequest {text, echo_metadata: true}. */
const askFor = (text) => frame(Buffer.concat([field(1, text), Buffer.from([0x58, 1])]));

function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0, shift = 0, byte;
    do {
      byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      shift += 7;
    } while (byte & 128);
    return value;
  };
  while (at < bytes.length) {
    const tag = varint();
    if ((tag & 7) === 2) {
      const length = varint();
      yield [tag >> 3, bytes.subarray(at, (at += length))];
    } else yield [tag >> 3, varint()];
  }
}

/** EchoResponse: {text, metadata: [[name, value]]}, names sorted, values in their order. */
function parse(answer) {
  const result = { text: '', metadata: [] };
  for (const [number, value] of fields(answer.subarray(5))) {
    if (number === 1) result.text = value.toString();
    if (number === 5) {
      const entry = Object.fromEntries([...fields(value)].map(([n, v]) => [n, v.toString('latin1')]));
      result.metadata.push([entry[1] ?? '', entry[2] ?? '']);
    }
  }
  result.metadata.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return result;
}

const sorted = (list) => [...list].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));

const open = async (options = {}) => {
  const wire = new Wire(address, { values: { [setting.WINDOW]: 1 << 30 }, ...options });
  assert.ok(await wire.until((one) => one.settings, 5000), 'it is greeted');
  wire.write(http2Frame(type.WINDOW_UPDATE, 0, 0, Buffer.from([0x40, 0, 0, 0])));
  return wire;
};

// ---- What was accepted ----

const CHARS = ' !"#$%&\'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~';
const NAME_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789-_.";

/** Requests of one connection, in random forms: {next(): {bytes, stream, text, custom}}. */
function conversation(seed, { many }) {
  const random = generator(seed);
  const hpack = new Hpack();
  const pool = Array.from({ length: 40 }, (_, i) => [
    `x-${i}-${Array.from({ length: random.below(20) }, () => NAME_CHARS[random.below(NAME_CHARS.length)]).join('')}`.replace(/-bin$/, '-nib'),
    text(random, random.chance(0.1) ? 1500 : 60),
  ]);
  let stream = -1;
  const choose = ({ whole, names }) => {
    if (whole.length > 0 && random.chance(0.7)) return { index: random.pick(whole) };
    return {
      form: random.pick(['add', 'add', 'plain', 'never']), huffmanName: random.chance(0.5), huffmanValue: random.chance(0.5),
      name: names.length > 0 && random.chance(0.8) ? random.pick(names) : undefined,
    };
  };
  return {
    next() {
      stream += 2;
      const parts = [];
      // What the server has announced as the largest table is the default.
      if (random.chance(0.02)) parts.push(hpack.resize(random.pick([0, 0, 100, 1000])), hpack.resize(random.pick([4096, 2000, 64, 0, 4096])));
      const required = [[':method', 'POST'], [':scheme', random.pick(['http', 'https'])], [':path', UNARY], [':authority', random.pick(['a', 'b:1', 'localhost'])]];
      for (let i = required.length - 1; i > 0; i--) {
        const k = random.below(i + 1);
        [required[i], required[k]] = [required[k], required[i]];
      }
      const custom = [];
      let bytes = 0;
      for (let i = random.below(random.chance(0.1) ? 30 : 6); i > 0; i--) {
        const [name, value] = random.chance(0.8) ? random.pick(pool) : [`y-${random.below(1e6)}`, text(random, 30)];
        if (custom.some(([other]) => other === name)) continue; // a map keeps one
        bytes += name.length + value.length + 32;
        if (bytes > 5000) break;
        custom.push([name, value]);
      }
      if (random.chance(0.1)) custom.push(['data-bin', Buffer.from(text(random, 40)).toString('base64').replace(/=+$/, random.chance(0.5) ? '' : '$&')]);
      const all = [...required, ['content-type', 'application/grpc'], ['te', 'trailers'], ...custom];
      for (const [name, value] of all) parts.push(hpack.field(name, value, choose));
      const block = Buffer.concat(parts);
      const cuts = random.chance(0.3) ? Array.from({ length: 1 + random.below(5) }, () => random.below(block.length + 1)).sort((a, b) => a - b) : [];
      const question = `question ${stream}`;
      const body = askFor(question);
      const options = {
        cuts, pad: random.chance(0.2) ? random.below(256) : undefined,
        priority: random.chance(0.2) ? Buffer.from([random.chance(0.5) ? 0x80 : 0, 0, 0, 0, random.below(256)]) : undefined,
      };
      const split = random.chance(0.2) ? random.below(body.length + 1) : 0;
      const sent = [headers(stream, block, options)];
      if (split > 0) sent.push(data(stream, body.subarray(0, split), 0));
      sent.push(data(stream, body.subarray(split)));
      if (many && random.chance(0.002)) sent.push(ping(), settings({ [setting.TABLE]: random.pick([0, 4096, 100]) }));
      return { stream, bytes: Buffer.concat(sent), text: question, custom };
    },
  };
}

function text(random, most) {
  return Array.from({ length: random.below(most) }, () => CHARS[random.below(CHARS.length)]).join('').trim();
}

/** As a handler sees them: of -bin names the bytes. */
const seen = (custom) => sorted(custom.map(([name, value]) => [name, name.endsWith('-bin') ? Buffer.from(value, 'base64').toString('latin1') : value]));

/** `wanted` requests, at most `atOnce` of them without an answer; in writes that are cut anywhere. */
async function converse(seed, wanted, atOnce) {
  const wire = await open();
  const random = generator(seed + 1000);
  const talk = conversation(seed, { many: wanted > 100 });
  const asked = [];
  let answered = 0;
  const started = Date.now();
  while (answered < wanted) {
    const parts = [];
    while (asked.length < wanted && asked.length - answered < atOnce) {
      const one = talk.next();
      asked.push(one);
      parts.push(one.bytes);
    }
    const bytes = Buffer.concat(parts);
    for (let at = 0; at < bytes.length; ) {
      const to = random.chance(0.5) ? bytes.length : at + 1 + random.below(3000);
      wire.write(bytes.subarray(at, to));
      at = to;
    }
    const next = asked[answered];
    const more = await wire.until((w) => w.ended.has(next.stream) || w.goaway, 10_000);
    assert.ok(more && !wire.goaway, `seed ${seed}: no answer to ${next.text}: ${JSON.stringify(wire.goaway ?? wire.resets.get(next.stream))}`);
    for (; answered < asked.length && wire.ended.has(asked[answered].stream); answered++) {
      const { stream, text: question, custom } = asked[answered];
      const answer = parse(wire.answer(stream));
      assert.equal(answer.text, question, `seed ${seed}`);
      const metadata = answer.metadata.filter(([name]) => name !== 'user-agent' && name !== ':authority');
      assert.deepEqual(metadata, seen(custom), `seed ${seed}, ${question}`);
      wire.data.delete(stream);
    }
  }
  wire.close();
  return Date.now() - started;
}

test(`${REQUESTS} requests on one connection, in every form that HPACK and HTTP/2 have`, { skip }, async (t) => {
  const seed = Number(process.env.SKERRY_SEED ?? 1);
  const ms = await converse(seed, REQUESTS, 60);
  t.diagnostic(`seed ${seed}: ${ms} ms`);
});

test('the same on many short connections', { skip }, async (t) => {
  const seeds = Array.from({ length: 40 }, (_, i) => 100 + i);
  for (let i = 0; i < seeds.length; i += 8) await Promise.all(seeds.slice(i, i + 8).map((seed) => converse(seed, 25, 25)));
  t.diagnostic(`${seeds.length} connections with 25 requests`);
});

// ---- What was refused ----

/** The names of metadata that a server which has not lost count would see of the request on this stream. */
async function answers(wire, streams, ms = 1000) {
  await wire.until((one) => one.goaway || one.isEnded || streams.every((stream) => one.ended.has(stream) || one.resets.has(stream)), ms);
  return streams.filter((stream) => wire.data.has(stream));
}

test('nothing after an offence reaches a handler', { skip }, async (t) => {
  const victim = (hpack, stream) => {
    const parts = [[':method', 'POST'], [':scheme', 'http'], [':path', UNARY], [':authority', 'a'], ['content-type', 'application/grpc'], ['te', 'trailers'], ['x-who', `request ${stream}`]]
      .map(([name, value]) => hpack.field(name, value, () => ({ form: 'add' })));
    return Buffer.concat([headers(stream, Buffer.concat(parts)), data(stream, askFor(`request ${stream}`))]);
  };
  const good = [[':method', 'POST'], [':scheme', 'http'], [':path', UNARY], [':authority', 'a']];
  const offences = {
    'te: x': [...good, ['te', 'x']],
    'a bad -bin header': [...good, ['a-bin', '!']],
    'an internal header': [...good, ['grpclb_client_stats', 'x']],
    'an upper-case name': [...good, ['X', 'y']],
    'no path': good.slice(0, 2).concat(good.slice(3)),
    'the connection\'s key': [...good, ['skerry-connection', 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA']],
    'too many headers': [...good, ...Array.from({ length: 40 }, (_, i) => [`x-${i}`, 'v'.repeat(450)])],
    'control characters': [...good, ['x', 'a\nb']],
  };
  for (const [what, list] of Object.entries(offences)) {
    const wire = await open();
    const hpack = new Hpack();
    const before = victim(hpack, 1);
    // The offence adds to the table, so that whoever skips it decodes the next ones as something else.
    const block = Buffer.concat(list.map(([name, value]) => hpack.field(name, value, () => ({ form: 'add' }))));
    const cuts = block.length > 16000 ? [8000, 16000] : [];
    const after = [5, 7, 9, 11].map((stream) => victim(hpack, stream));
    wire.write(before);
    assert.deepEqual(await answers(wire, [1]), [1]);
    wire.write(Buffer.concat([headers(3, block, { end: true, cuts }), ...after]));
    assert.deepEqual(await answers(wire, [3, 5, 7, 9, 11]), [], `${what}: something after it was served`);
    assert.ok(wire.goaway, `${what}: no GOAWAY`);
    assert.equal(wire.goaway.last, 1, what);
    await wire.over(1000);
    wire.close();
  }
  t.diagnostic(`${Object.keys(offences).length} offences, 4 requests in the same write after each`);
});

test('around the limits of headers: answered, or refused with a word, and never with another request\'s headers', { skip }, async (t) => {
  const outcome = {};
  for (let size = 6500; size <= 17_500; size += size > 8000 && size < 8400 || size > 16_000 && size < 16_600 ? 29 : 333) {
    const wire = await open();
    const hpack = new Hpack();
    const add = (name, value) => hpack.field(name, value, () => ({ form: 'add' }));
    const start = [[':method', 'POST'], [':scheme', 'http'], [':path', UNARY], [':authority', 'a'], ['content-type', 'application/grpc'], ['te', 'trailers']].map(([name, value]) => add(name, value));
    let left = size - 6 * 32 - 132; // about what these count
    const filler = [];
    for (let i = 0; left > 40; i++) {
      const value = 'v'.repeat(Math.min(left - 36, 700 + i));
      filler.push(add(`x-${i}`, value));
      left -= value.length + 36;
    }
    // What comes after refers to entries that the large block has added.
    const next = (stream) => Buffer.concat([
      headers(stream, Buffer.concat([[':method', 'POST'], [':scheme', 'http'], [':path', UNARY], [':authority', 'a'], ['content-type', 'application/grpc'], ['te', 'trailers'], ['x-who', `me ${stream}`]]
        .map(([name, value]) => hpack.field(name, value, ({ whole, names }) => (whole.length > 0 ? { index: whole.at(-1) } : { form: 'add', name: names.at(-1) }))))),
      data(stream, askFor(`ask ${stream}`)),
    ]);
    const block = Buffer.concat([...start, ...filler]);
    const cuts = [];
    for (let at = 16000; at < block.length; at += 16000) cuts.push(at);
    wire.write(Buffer.concat([headers(1, block, { cuts }), data(1, askFor('ask 1')), next(3), next(5)]));
    const served = await answers(wire, [1, 3, 5], 1500);
    for (const stream of served) {
      const answer = parse(wire.answer(stream));
      if (answer.text === '' && answer.metadata.length === 0) continue;
      assert.equal(answer.text, `ask ${stream}`);
      if (stream > 1) assert.deepEqual(answer.metadata.filter(([name]) => name.startsWith('x-')), [['x-who', `me ${stream}`]], `size ${size}`);
    }
    const how = `${served.join('+') || 'none'} answered${wire.goaway ? `, GOAWAY "${wire.goaway.text}"` : wire.isEnded ? ', closed without a word' : ''}${[1, 3, 5].filter((s) => wire.ended.has(s) && !wire.data.has(s)).map((s) => `, ${s} refused`).join('')}${[1, 3, 5].filter((s) => wire.resets.has(s)).map((s) => `, ${s} reset`).join('')}`;
    (outcome[how] ??= []).push(size);
    assert.ok(served.length === 3 || wire.goaway, `size ${size}: ${how}`);
    wire.close();
  }
  for (const [how, sizes] of Object.entries(outcome)) t.diagnostic(`about ${sizes[0]} to ${sizes.at(-1)} bytes (${sizes.length} sizes): ${how}`);
});

const LEFTOVER = /^(1S|9+H)$/; // base64 whose last character has bits of no byte
test('headers that mean something to gRPC core, with values that do not', { skip }, async (t) => {
  const values = ['', 'x', '-1', '0', '99999999999999999999', '1S', '999999999H', 'gzip', 'identity,gzip,deflate', '\x7f'.slice(1), 'a'.repeat(3000), '%ff%00', 'AAAA', 'AAAAAAAAAAAAAAAAAAAAAA', ';;;,,,==='];
  const names = ['grpc-timeout', 'grpc-encoding', 'grpc-accept-encoding', 'grpc-internal-encoding-request', 'grpc-status', 'grpc-message', 'grpc-previous-rpc-attempts', 'grpc-retry-pushback-ms',
    'grpc-server-stats-bin', 'grpc-trace-bin', 'grpc-tags-bin', 'endpoint-load-metrics-bin', 'x-endpoint-load-metrics-bin', 'x-envoy-peer-metadata', 'user-agent', 'content-type', 'host', 'accept-encoding', 'content-length', 'cookie',
    'grpc-payload-bin', 'lb-token', 'lb-cost-bin', 'te', 'content-encoding', 'waiting-for-concurrency', 'google-cloud-resource-prefix'];
  let served = 0, refused = 0, ended = 0;
  for (const name of names) {
    const results = await Promise.all(values.filter((value) => !name.endsWith('-bin') || !LEFTOVER.test(value)).map(async (value) => {
      const wire = await open();
      wire.write(headers(1, Buffer.concat([request(UNARY), literal(name, value), literal(name, value)])), data(1, askFor('x')),
        headers(3, request(UNARY, [['x-who', 'me']])), data(3, askFor('y')),
        headers(5, request(UNARY)), data(5, askFor('z'), 0), headers(5, literal(name, value), { end: true }),
        headers(7, request(UNARY)), data(7, askFor('last')));
      await wire.until((one) => one.goaway || one.isEnded || one.ended.has(7) || one.resets.has(7), 3000);
      const answer = wire.data.has(3) ? parse(wire.answer(3)) : null;
      if (answer) {
        assert.equal(answer.text, 'y', `${name}: ${value}`);
        assert.deepEqual(answer.metadata.filter(([one]) => one.startsWith('x-')), [['x-who', 'me']], `${name}: ${value}`);
      }
      const result = wire.data.has(7) ? 'served' : wire.goaway ? 'refused' : 'ended';
      wire.close();
      return [value, result];
    }));
    served += results.filter(([, result]) => result === 'served').length;
    refused += results.filter(([, result]) => result === 'refused').length;
    const silent = results.filter(([, result]) => result === 'ended');
    ended += silent.length;
    assert.deepEqual(silent.map(([value]) => value.slice(0, 20)), [], `${name}: closed without a word`);
    assert.equal(child.exitCode, null, `it still runs after ${name}`);
  }
  t.diagnostic(`${served} served, ${refused} refused with GOAWAY, ${ended} otherwise`);
});

test('forms of HPACK that are odd and right', { skip }, async () => {
  const cases = {
    'table sizes, twice': Buffer.concat([tableSize(0), tableSize(4096), request(UNARY, [['x-a', 'b']])]),
    'a table size of 4096, in three bytes more than it needs': Buffer.concat([Buffer.from([0x3f, 0xe1, 0x9f, 0x80, 0x00]), request(UNARY, [['x-a', 'b']])]),
    'a length in four bytes': Buffer.concat([request(UNARY), Buffer.from([0x00, 0x03]), Buffer.from('x-a'), Buffer.from([0x7f, 0x82, 0x80, 0x00]), Buffer.alloc(129, 'c')]),
  };
  for (const [what, block] of Object.entries(cases)) {
    const wire = await open();
    wire.write(headers(1, block), data(1, askFor('x')), headers(3, request(UNARY, [['x-c', 'd']])), data(3, askFor('y')));
    await wire.until((one) => one.goaway || one.isEnded || one.ended.has(3), 2000);
    for (const stream of [1, 3]) {
      if (!wire.data.has(stream)) continue;
      const names = parse(wire.answer(stream)).metadata.filter(([name]) => name.startsWith('x-')).map(([name]) => name);
      assert.deepEqual(names, stream === 1 ? ['x-a'] : ['x-c'], what);
    }
    assert.ok(wire.data.has(3) || wire.goaway, `${what}: neither served nor refused with a word (${[...wire.resets]})`);
    wire.close();
  }
});

// gRPC core ends the connection over these, and all its calls, without a word (as in CVE-2023-32732): the guard has to.
test('what gRPC core cannot read is refused with a word', { skip }, async (t) => {
  const cases = {
    'three table sizes in one block': Buffer.concat([tableSize(0), tableSize(100), tableSize(4096), request(UNARY)]),
    'base64 with bits of no byte: 2 characters': request(UNARY, [['x-a-bin', '1S']]),
    'base64 with bits of no byte: 3 characters': request(UNARY, [['x-a-bin', 'AAB']]),
    'base64 with bits of no byte, padded': request(UNARY, [['x-a-bin', '1S==']]),
  };
  const silent = [];
  for (const [what, block] of Object.entries(cases)) {
    const wire = await open();
    wire.write(headers(1, request(UNARY)), data(1, askFor('a call that has nothing to do with it'), 0));
    await sleep(20);
    wire.write(headers(3, block), data(3, askFor('x')));
    await wire.until((one) => one.goaway || one.isEnded || one.ended.has(3), 1000);
    await sleep(20);
    if (!wire.goaway && (wire.isEnded || wire.ended.has(1))) silent.push(what);
    wire.close();
  }
  t.diagnostic(`without a word: ${JSON.stringify(silent)}`);
  assert.deepEqual(silent, []);
});
