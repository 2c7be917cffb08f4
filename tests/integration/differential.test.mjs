// Skerry against the official emulator: the same random operations to both, and the same results. The seed is printed;
// SKERRY_SEED repeats a run, SKERRY_SEQUENCES makes it longer.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { generator } from './support/random.mjs';
import { emulatorMissing, isEmulator, startServer } from './support/server.mjs';
import { Rpc, code, codeName, freshDatabase, timeToMicros, value as v } from './support/rpc.mjs';

const SEED = Number(process.env.SKERRY_SEED ?? 20_240_607);
const SEQUENCES = Number(process.env.SKERRY_SEQUENCES ?? 150);
const STEPS = 12;
const skip = isEmulator ? 'it compares skerry with the emulator' : emulatorMissing() ?? false;

/** The writes of a commit whose document another write of it has too. */
function repeated(operation) {
  const nameOf = (write) => write.delete ?? write.update?.name ?? write.transform.document;
  const writes = operation.request.writes ?? [];
  return writes.filter((one) => writes.some((other) => other !== one && nameOf(other) === nameOf(one)));
}

// Where the two may differ, and why. Each entry sees the operation, skerry's outcome and the emulator's.
const KNOWN = [
  {
    why: 'several writes of one document, with preconditions, in one commit: the emulator refuses some and holds others against the state before the commit; the documentation says that writes are applied in order',
    is: (operation, ours, theirs) => ours.code !== theirs.code && operation.method === 'Commit' && repeated(operation).some((write) => write.current_document),
  },
  {
    why: 'of several writes of one document in one commit, the emulator answers each with the update_time of the last',
    strip: (operation, response) => {
      const several = repeated(operation);
      response.write_results?.forEach((result, i) => {
        if (several.includes(operation.request.writes[i])) delete result.update_time;
      });
    },
  },
  {
    why: 'an update_time that is later than the document\'s: the documentation names FAILED_PRECONDITION for every mismatch, the emulator says INVALID_ARGUMENT for this one',
    is: (operation, ours, theirs) => ours.code === 'FAILED_PRECONDITION' && /greater than the stored version/.test(theirs.details ?? ''),
    nothingChanged: true,
  },
  {
    why: 'show_missing of all collections: the emulator wants one named; the documentation does not',
    is: (operation, ours, theirs) => operation.method === 'ListDocuments' && /collection id must be set/.test(theirs.details ?? ''),
    nothingChanged: true,
  },
  {
    why: 'an update_time for a document that was deleted: FAILED_PRECONDITION, as for one that never was (clients try such a transaction again); the emulator says NOT_FOUND',
    is: (operation, ours, theirs) => ours.code === 'FAILED_PRECONDITION' && /update time is not the required one/.test(ours.details) && theirs.code === 'NOT_FOUND',
    nothingChanged: true,
  },
  {
    why: 'the two above, in the statuses of BatchWrite',
    strip: (operation, response) => {
      response.status?.forEach((status, i) => {
        const wantsTime = operation.request.writes[i].current_document?.label !== undefined;
        if (wantsTime && [code.INVALID_ARGUMENT, code.NOT_FOUND].includes(status.code)) status.code = code.FAILED_PRECONDITION;
      });
    },
  },
  {
    why: 'show_missing: the emulator gives a document that was deleted a time; the documentation says that missing ones have none',
    strip: (operation, response) => {
      for (const document of response.documents ?? []) if (!document.create_time) delete document.update_time;
    },
  },
  {
    why: 'the emulator ignores the mask of ListDocuments with show_missing',
    is: (operation) => operation.method === 'ListDocuments' && operation.request.show_missing && operation.request.mask,
    nothingChanged: true,
  },
];

// ---- Random operations ----

const PATHS = ['c/a', 'c/b', 'c/é', 'c/__id7__', 'c/a/s/1', 'c/m/s/1', 'd/a'];
const FIELD_PATHS = ['a', 'b', 'a.x', 'a.y', 'a.x.z', '`o.d`', 'list', 'n'];

function makeOperations(random, db) {
  const { below, pick, some, chance } = random;
  const number = () => pick([v.int(0), v.int(1), v.int(-7), v.int('9223372036854775807'), v.int('-9223372036854775808'), v.double(0.5), v.double(-0), v.double(1), v.double(NaN), v.double(Infinity), v.double(-1e300)]);
  const scalar = () => pick([number, () => v.null, () => v.bool(chance(0.5)), () => v.string(pick(['', 'a', 'é', '\0', '🚀', 'long '.repeat(50)])), () => v.bytes([below(256)]), () => v.time(below(10) - 5, below(1_000_000) * 1000 + below(1000)), () => v.point(below(180) - 90, below(360) - 180), () => v.ref(db.doc(pick(PATHS)))])();
  const any = (depth = 0) => {
    if (depth > 2 || chance(0.6)) return scalar();
    if (chance(0.5)) return v.map(fields(depth + 1));
    return v.array(...some(3, () => { let one; do one = any(depth + 1); while (one.array_value); return one; }));
  };
  const fields = (depth = 0) => Object.fromEntries(some(3, () => [pick(['a', 'b', 'x', 'y', 'z', 'o.d', 'list', 'n']), any(depth)]));
  const mask = () => ({ field_paths: [...new Set(some(3, () => pick(FIELD_PATHS)))] });
  const precondition = (times) => pick([{ exists: true }, { exists: false }, ...(times.length ? [{ label: pick(times) }] : [])]);
  const fieldTransform = () => {
    const field_path = pick(FIELD_PATHS);
    const scalars = () => some(3, scalar);
    return pick([
      () => ({ field_path, increment: number() }),
      () => ({ field_path, maximum: number() }),
      () => ({ field_path, minimum: number() }),
      () => ({ field_path, append_missing_elements: { values: scalars() } }),
      () => ({ field_path, remove_all_from_array: { values: scalars() } }),
    ])();
  };
  const write = (times) => {
    const name = db.doc(pick(PATHS));
    const more = chance(0.3) ? { current_document: precondition(times) } : {};
    if (chance(0.2)) return { delete: name, ...more };
    if (chance(0.15)) return { transform: { document: name, field_transforms: [fieldTransform(), ...some(2, fieldTransform)] }, ...more };
    return {
      update: { name, fields: fields() },
      ...(chance(0.4) ? { update_mask: mask() } : {}),
      ...(chance(0.3) ? { update_transforms: [fieldTransform(), ...some(2, fieldTransform)] } : {}),
      ...more,
    };
  };
  return (times) =>
    pick([
      ...Array(6).fill(() => ({ method: 'Commit', request: { database: db.name, writes: [write(times), ...some(2, () => write(times))] } })),
      () => ({ method: 'BatchWrite', request: { database: db.name, writes: some(3, () => write(times)) } }),
      () => ({ method: 'GetDocument', request: { name: db.doc(pick(PATHS)), ...(chance(0.5) ? { mask: mask() } : {}) } }),
      () => ({ method: 'ListDocuments', request: { parent: chance(0.8) ? db.root : db.doc('c/a'), collection_id: pick(['c', 'd', 's', '']), show_missing: chance(0.4), ...(chance(0.3) ? { mask: mask() } : {}) } }),
      () => ({ method: 'ListCollectionIds', request: { parent: chance(0.6) ? db.root : db.doc(pick(PATHS)) } }),
      () => ({ method: 'UpdateDocument', request: { document: { name: db.doc(pick(PATHS)), fields: fields() }, ...(chance(0.5) ? { update_mask: mask() } : {}), ...(chance(0.3) ? { mask: mask() } : {}), ...(chance(0.2) ? { current_document: precondition([]) } : {}) } }),
      () => ({ method: 'DeleteDocument', request: { name: db.doc(pick(PATHS)) } }),
      () => ({ method: 'BatchGetDocuments', request: { database: db.name, documents: some(4, () => db.doc(pick(PATHS))), ...(chance(0.3) ? { mask: mask() } : {}) } }),
    ])();
}

// ---- Comparison ----

/** One of the two servers, with the update times that it gave: times are compared by the operation that they are of. */
class Side {
  constructor(server) {
    this.rpc = new Rpc(server.address);
    this.times = new Map(); // label -> microseconds
  }

  async run({ method, request }, step) {
    const own = this.#withTimes(request);
    try {
      const response = method === 'BatchGetDocuments' ? await this.rpc.collect(method, own) : await this.rpc.call(method, own);
      const seen = [...this.times.values()];
      [response, ...(response.write_results ?? [])].forEach((one, i) => {
        const micros = one.update_time && timeToMicros(one.update_time);
        if (micros && !seen.includes(micros)) this.times.set(method === 'BatchWrite' ? `${step}.${i}` : `${step}`, micros);
      });
      return { code: 'OK', response };
    } catch (error) {
      if (error.code === undefined) throw error;
      return { code: codeName(error.code), details: error.details };
    }
  }

  #withTimes(request) {
    return JSON.parse(JSON.stringify(request, plain), (key, inner) => {
      if (key === 'current_document' && inner.label !== undefined) {
        const micros = this.times.get(inner.label) ?? 1n;
        return { update_time: { seconds: String(micros / 1_000_000n), nanos: Number(micros % 1_000_000n) * 1000 } };
      }
      if (inner?.$double) return Number(inner.$double);
      return inner?.$bytes ? Buffer.from(inner.$bytes, 'base64') : inner;
    });
  }

  /** The response with times as names of the commits that they are of. */
  readable(response) {
    const rename = (time) => {
      const [label] = [...this.times].find(([, micros]) => micros === timeToMicros(time)) ?? ['another'];
      return `time of operation ${label}`;
    };
    return JSON.parse(JSON.stringify(response ?? null, plain), (key, inner) => {
      if (['create_time', 'update_time'].includes(key)) return rename(inner);
      if (['commit_time', 'read_time', 'next_page_token', 'message'].includes(key)) return undefined;
      if ((key === 'fields' || key === 'values') && Object.keys(inner).length === 0) return undefined;
      return inner;
    });
  }
}

/** JSON.stringify's replacer for what JSON has not. */
function plain(key, inner) {
  const original = this[key];
  if (Buffer.isBuffer(original)) return { $bytes: original.toString('base64') };
  if (typeof original === 'number' && (!Number.isFinite(original) || Object.is(original, -0))) return { $double: Object.is(original, -0) ? '-0' : String(original) };
  return inner;
}

let servers = [];
let sides;
before(async () => {
  if (skip) return;
  servers = await Promise.all([startServer({ emulator: false }), startServer({ emulator: true })]);
});
after(async () => {
  for (const side of sides ?? []) side.rpc.close();
  await Promise.all(servers.map((one) => one.close()));
});

test(`${SEQUENCES} random sequences, SKERRY_SEED=${SEED}`, { skip }, async (t) => {
  sides = servers.map((one) => new Side(one));
  let operations = 0;
  let known = 0;
  for (let sequence = 0; sequence < SEQUENCES; sequence++) {
    const random = generator(SEED + sequence);
    const db = freshDatabase();
    const next = makeOperations(random, db);
    for (const side of sides) side.times.clear();
    const history = [];
    for (let step = 0; step < STEPS; step++, operations++) {
      const operation = next([...sides[0].times.keys()].filter((label) => sides[1].times.has(label)));
      history.push(operation);
      const [ours, theirs] = await Promise.all(sides.map((side) => side.run(operation, step)));
      const difference = KNOWN.find((one) => one.is?.(operation, ours, theirs));
      if (difference) known++;
      if (difference?.nothingChanged) continue;
      if (difference) break; // from here on they hold different data
      for (const outcome of [ours, theirs]) for (const one of KNOWN) if (one.strip && outcome.response) one.strip(operation, outcome.response);
      const say = `seed ${SEED + sequence}, step ${step}\n${history.slice(-4).map((one) => JSON.stringify(one, plain)).join('\n')}\nskerry: ${ours.details ?? ''}\nemulator: ${theirs.details ?? ''}`;
      assert.equal(ours.code, theirs.code, say);
      const [left, right] = [sides[0].readable(ours.response), sides[1].readable(theirs.response)];
      if (operation.method === 'BatchGetDocuments') for (const list of [left, right]) list?.sort((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
      assert.deepStrictEqual(left, right, say);
    }
  }
  t.diagnostic(`${operations} operations; ${known} known differences`);
});
