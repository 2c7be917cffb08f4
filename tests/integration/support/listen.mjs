// A Listen stream by hand, and what its client knows: a set of documents for each target.
import { codeName, timeToMicros } from './rpc.mjs';
import { patient } from './wait.mjs';

export class Listener {
  /** @param onSnapshot called with (listener, read time in microseconds) at each global snapshot */
  constructor(rpc, database, { onSnapshot, deadlineMs = 60_000 } = {}) {
    this.database = database;
    this.onSnapshot = onSnapshot;
    this.pending = new Map(); // id -> requests that are not answered yet: until then news is of the target before
    this.targets = new Map(); // id -> {docs: Map(name -> document), current, adding, filter, events}
    this.log = [];
    this.read = 0n;
    this.token = undefined;
    this.waiting = [];
    this.stream = rpc.open('Listen', { deadlineMs: patient(deadlineMs) });
    this.stream.on('data', (response) => this.#take(response));
    this.stream.on('error', (error) => this.#end(codeName(error.code), error.details));
    this.stream.on('end', () => this.#end('OK', '')); // after all responses, which `status` is not
  }

  #end(code, details) {
    this.ended ??= { code, details };
    this.#wake();
  }

  #wake() {
    for (const one of this.waiting.splice(0)) one();
  }

  send(request) {
    this.stream.write({ database: this.database.name, ...request });
  }

  /** Adds a target; what is known of it (`from`: {docs, token}) is where it goes on. */
  add(id, target, from) {
    this.pending.set(id, (this.pending.get(id) ?? 0) + 1);
    this.targets.set(id, { docs: new Map(from?.docs), current: false, filter: undefined, resets: 0, changes: 0 });
    this.send({ add_target: { target_id: id, ...target, ...(from?.token && { resume_token: from.token }) } });
  }

  remove(id) {
    this.targets.delete(id);
    this.pending.set(id, (this.pending.get(id) ?? 0) + 1);
    this.send({ remove_target: id });
  }

  #of(ids) {
    return (ids ?? []).filter((id) => !this.pending.get(id)).map((id) => this.targets.get(id)).filter(Boolean);
  }

  #take(response) {
    this.log.push(response);
    const { target_change: change, document_change, document_delete, document_remove, filter } = response;
    if (change) this.#takeTarget(change);
    if (document_change) {
      const { document, target_ids, removed_target_ids } = document_change;
      for (const one of this.#of(target_ids)) one.docs.set(document.name, document), one.changes++;
      for (const one of this.#of(removed_target_ids)) one.docs.delete(document.name);
    }
    const gone = document_delete ?? document_remove;
    if (gone) for (const one of this.#of(gone.removed_target_ids)) one.docs.delete(gone.document), one.changes++;
    if (filter) {
      for (const one of this.#of([filter.target_id])) one.filter = filter;
    }
    this.#wake();
  }

  #takeTarget(change) {
    const type = change.target_change_type ?? 'NO_CHANGE';
    const ids = change.target_ids ?? [];
    if (type === 'ADD' && !this.targets.has(ids[0]) && this.targets.has(0) && !this.pending.get(ids[0])) {
      const one = this.targets.get(0);
      this.targets.delete(0);
      this.targets.set((one.assigned = ids[0]), one);
    } else if ((type === 'ADD' || type === 'REMOVE') && this.pending.get(ids[0])) {
      this.pending.set(ids[0], this.pending.get(ids[0]) - 1);
      if (type === 'ADD' || !change.cause) return;
    }
    for (const one of this.#of(ids)) {
      if (type === 'REMOVE') one.removed = change.cause ? codeName(change.cause.code) : 'OK', (one.why = change.cause?.message);
      if (type === 'RESET') one.docs.clear(), one.resets++, (one.current = false);
      if (type === 'CURRENT') one.current = true, (one.token = change.resume_token);
    }
    if (type === 'NO_CHANGE' && ids.length === 0 && change.read_time) {
      const read = timeToMicros(change.read_time);
      if (read < this.read) throw new Error(`read_time went back from ${this.read} to ${read}`);
      this.read = read;
      if (change.resume_token?.length) {
        this.token = change.resume_token;
        for (const [id, one] of this.targets) if (!this.pending.get(id)) one.token = change.resume_token; // as SDKs do
      }
      this.onSnapshot?.(this, read);
    }
  }

  /** Waits until `condition(this)` holds. */
  async until(condition, what = 'condition', ms = 15_000) {
    const deadline = Date.now() + patient(ms);
    while (!condition(this)) {
      if (Date.now() > deadline) throw new Error(`waited in vain: ${what}; last: ${JSON.stringify(this.log.slice(-5))}`);
      if (this.ended) throw new Error(`the stream ended (${this.ended.code}: ${this.ended.details}) while waiting: ${what}`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 200);
        this.waiting.push(() => (clearTimeout(timer), resolve()));
      });
    }
  }

  current(id) {
    return this.until(() => this.targets.get(id)?.current && this.read > 0n, `target ${id} is current`);
  }

  /** Names below `documents/`, sorted. */
  names(id) {
    return [...this.targets.get(id).docs.keys()].map((name) => name.slice(this.database.root.length + 1)).sort();
  }

  /** Until a snapshot at or after a commit. */
  reached(time) {
    const wanted = timeToMicros(time);
    return this.until(() => this.read >= wanted, `snapshot of ${wanted}`);
  }

  async close() {
    this.stream.cancel();
    if (!this.ended) await this.until(() => this.ended, 'end').catch(() => {});
  }
}

export const documentsTarget = (...names) => ({ documents: { documents: names } });
export const queryTarget = (parent, collection, rest = {}) => ({
  query: { parent, structured_query: { from: [{ collection_id: collection }], ...rest } },
});
