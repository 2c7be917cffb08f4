/* How a commit runs. doc_commit_prepare links the writes to one document into chains; resolve walks the
 * writes in order and keeps, for each, the document's state after it. Only the last write of a chain puts
 * something into the batch.
 *
 * resolve may be run again (kv.h), so everything it writes is written anew each time: states, results, and
 * memory of the arena, which is given back with the call. */
#include "storage/document/write.h"

#include <assert.h>
#include <stdlib.h>

#include "base/limits.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"

#define NO_WRITE SIZE_MAX

/* A document after a write. */
struct doc_write_state {
  bool exists;
  int64_t create_us, update_us;
  str fields;               /* canonical, if it exists */
  bool existed;             /* before the commit */
  str existed_fields;       /* canonical, as they were before the commit; pinned with `stored` */
  struct doc_record before; /* as it was then, unless it was deleted since: zeroed */
  struct kv_value stored;   /* what was read for the first write of a chain; pinned until resolve ends */
};

static status out_of_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED,
                     "The commit needs more memory than a call may take. Split it.");
}

/* ---- Beforehand ---- */

static int compare_writes(const void *a, const void *b) {
  const struct doc_write *const *left = a, *const *right = b;
  int order = str_cmp((*left)->key, (*right)->key);
  return order != 0 ? order : (*left > *right) - (*left < *right);
}

/* Links the writes to one document, in their order, and counts a document's transforms. */
static status link_chains(struct doc_commit *commit) {
  if (commit->write_count == 1) {
    commit->writes[0].previous = commit->writes[0].next = NO_WRITE;
    return status_ok();
  }
  struct doc_write **sorted = ARENA_NEW_ARRAY(commit->arena, struct doc_write *, commit->write_count);
  if (sorted == NULL)
    return out_of_memory();
  for (size_t i = 0; i < commit->write_count; i++) {
    sorted[i] = &commit->writes[i];
    sorted[i]->previous = sorted[i]->next = NO_WRITE;
  }
  qsort(sorted, commit->write_count, sizeof *sorted, compare_writes);
  size_t transforms = sorted[0]->transforms.count;
  for (size_t i = 1; i < commit->write_count; i++) {
    bool same = str_eq(sorted[i - 1]->key, sorted[i]->key);
    transforms = (same ? transforms : 0) + sorted[i]->transforms.count;
    if (transforms > LIMIT_TRANSFORMS_PER_DOCUMENT)
      return status_make(STATUS_INVALID_ARGUMENT,
                         "A commit may hold at most %d transforms of one document: " STR_FMT,
                         LIMIT_TRANSFORMS_PER_DOCUMENT, STR_ARG(sorted[i]->path.name));
    if (!same)
      continue;
    sorted[i]->previous = (size_t)(sorted[i - 1] - commit->writes);
    sorted[i - 1]->next = (size_t)(sorted[i] - commit->writes);
  }
  return status_ok();
}

static status prepare_write(struct doc_commit *commit, struct doc_write *write) {
  assert(doc_path_is_document(&write->path));
  STATUS_TRY(doc_key_from_path(&write->path, commit->arena, &write->key));
  write->canonical = (str){NULL, 0};
  if (write->kind != DOC_WRITE_SET || write->mask != NULL || write->transforms.count > 0)
    return status_ok();
  STATUS_TRY(doc_document_check(write->path.name, write->fields, &commit->limits));
  return doc_encode_fields(write->fields, commit->arena, &write->canonical);
}

status doc_commit_prepare(struct doc_commit *commit) {
  for (size_t i = 0; i < commit->write_count; i++)
    STATUS_TRY(prepare_write(commit, &commit->writes[i]));
  commit->results = ARENA_NEW_ARRAY(commit->arena, struct doc_write_result, commit->write_count);
  commit->states = ARENA_NEW_ARRAY(commit->arena, struct doc_write_state, commit->write_count);
  if (commit->results == NULL || commit->states == NULL)
    return out_of_memory();
  return commit->write_count == 0 ? status_ok() : link_chains(commit);
}

/* ---- At commit time ---- */

static status check_precondition(const struct doc_write *write, const struct doc_write_state *state) {
  const struct doc_precondition *wanted = &write->precondition;
  str name = write->path.name;
  if (wanted->kind == DOC_PRECONDITION_EXISTS) {
    if (wanted->exists && !state->exists)
      return status_make(STATUS_NOT_FOUND, "No document to update: " STR_FMT, STR_ARG(name));
    if (!wanted->exists && state->exists)
      return status_make(STATUS_ALREADY_EXISTS, "Document already exists: " STR_FMT, STR_ARG(name));
  } else if (wanted->kind == DOC_PRECONDITION_UPDATE_TIME) {
    if (!state->exists)
      return status_make(STATUS_FAILED_PRECONDITION,
                         "The document has no update time, since it does not exist: " STR_FMT, STR_ARG(name));
    if (state->update_us != wanted->update_time_us)
      return status_make(STATUS_FAILED_PRECONDITION,
                         "The document was changed since: its update time is not the required one: " STR_FMT,
                         STR_ARG(name));
  }
  return status_ok();
}

static status load_state(struct kv_reader *reader, const struct doc_write *write,
                         struct doc_write_state *state) {
  STATUS_TRY(kv_reader_get(reader, KV_DOCUMENTS, write->key, &state->stored));
  if (!state->stored.found)
    return status_ok();
  STATUS_TRY(doc_record_decode(state->stored.bytes, &state->before));
  state->exists = state->existed = true;
  state->create_us = state->before.create_us;
  state->update_us = state->before.update_us;
  state->fields = state->existed_fields = state->before.fields;
  return status_ok();
}

/* The canonical fields that a write gives, from the state before it. */
static status new_fields(struct doc_commit *commit, const struct doc_write *write,
                         const struct doc_write_state *state, kv_version version,
                         struct doc_write_result *result, str *ret) {
  if (write->canonical.ptr != NULL) {
    *ret = write->canonical;
    return status_ok();
  }
  struct doc_map map = {0};
  bool needs_old = write->kind == DOC_WRITE_TRANSFORM || write->mask != NULL;
  if (state->exists && needs_old)
    STATUS_TRY(doc_decode_fields(state->fields, commit->arena, &map));
  if (write->kind == DOC_WRITE_SET && write->mask != NULL)
    STATUS_TRY(doc_mask_merge(map, write->fields, write->mask, commit->arena, &map));
  else if (write->kind == DOC_WRITE_SET)
    map = write->fields;
  if (write->transforms.count > 0) {
    struct doc_value *results = ARENA_NEW_ARRAY(commit->arena, struct doc_value, write->transforms.count);
    if (results == NULL)
      return out_of_memory();
    STATUS_TRY(doc_transform_apply(map, &write->transforms, version, &commit->comparisons_left, commit->arena,
                                   &map, results));
    result->transform_results = results;
  }
  STATUS_TRY(doc_document_check(write->path.name, map, &commit->limits));
  return doc_encode_fields(map, commit->arena, ret);
}

static status apply_write(struct doc_commit *commit, const struct doc_write *write, kv_version version,
                          struct doc_write_state *state, struct doc_write_result *result) {
  STATUS_TRY(check_precondition(write, state));
  if (write->kind == DOC_WRITE_VERIFY) {
    result->update_time_us = state->exists ? state->update_us : 0;
    return status_ok();
  }
  if (write->kind == DOC_WRITE_DELETE) {
    state->exists = false;
    state->before = (struct doc_record){0}; /* what comes after is another document, equal or not */
    return status_ok();
  }
  str fields;
  STATUS_TRY(new_fields(commit, write, state, version, result, &fields));
  if (!state->exists || !str_eq(fields, state->fields)) {
    if (!state->exists)
      state->create_us = version;
    state->exists = true;
    state->update_us = version;
    state->fields = fields;
  }
  result->update_time_us = state->update_us;
  return status_ok();
}

/* Whether the commit leaves a document, which exists, as it found it. */
static bool is_unchanged(const struct doc_write_state *state) {
  return state->before.update_us != 0 && str_eq(state->fields, state->before.fields);
}

/* What else is written with a document that the commit changes. */
static status derive(struct doc_commit *commit, const struct doc_write *write,
                     const struct doc_write_state *state, struct kv_batch *batch) {
  if (commit->derive == NULL)
    return status_ok();
  return commit->derive->write(commit->derive->argument, &write->path,
                               state->existed ? &state->existed_fields : NULL,
                               state->exists ? &state->fields : NULL, commit->arena, batch);
}

/* After the last write of a chain: what is stored, and what its results say. */
static status finish_chain(struct doc_commit *commit, size_t index, struct kv_batch *batch) {
  struct doc_write *write = &commit->writes[index];
  struct doc_write_state *state = &commit->states[index];
  if (!state->exists) {
    if (!state->existed)
      return status_ok();
    kv_batch_delete(batch, KV_DOCUMENTS, write->key);
    return derive(commit, write, state, batch);
  }
  if (is_unchanged(state)) {
    state->update_us = state->before.update_us;
    for (size_t i = index; i != NO_WRITE; i = commit->writes[i].previous)
      commit->results[i].update_time_us = state->update_us;
  }
  struct doc_record record = {state->create_us, state->update_us, state->fields};
  if (!is_unchanged(state)) {
    str bytes;
    STATUS_TRY(doc_record_encode(&record, commit->arena, &bytes));
    kv_batch_put(batch, KV_DOCUMENTS, write->key, bytes);
    STATUS_TRY(derive(commit, write, state, batch));
  }
  if (commit->keep_records) {
    record.fields = arena_str_copy(commit->arena, record.fields); /* they may be pinned in the store */
    if (record.fields.ptr == NULL)
      return out_of_memory();
    commit->results[index].record = record;
  }
  return status_ok();
}

static status resolve_write(struct doc_commit *commit, size_t index, struct kv_reader *reader,
                            kv_version version, struct kv_batch *batch) {
  const struct doc_write *write = &commit->writes[index];
  struct doc_write_state *state = &commit->states[index];
  if (write->previous != NO_WRITE) {
    *state = commit->states[write->previous];
    state->stored = (struct kv_value){0}; /* the first of the chain holds the pin */
  } else {
    STATUS_TRY(load_state(reader, write, state));
  }
  STATUS_TRY(apply_write(commit, write, version, state, &commit->results[index]));
  return write->next == NO_WRITE ? finish_chain(commit, index, batch) : status_ok();
}

static status resolve(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  struct doc_commit *commit = argument;
  status result = status_ok();
  size_t started = 0;
  commit->comparisons_left = LIMIT_COMMIT_COMPARISONS;
  for (; started < commit->write_count && status_is_ok(&result); started++) {
    commit->states[started] = (struct doc_write_state){0};
    commit->results[started] = (struct doc_write_result){0};
    result = resolve_write(commit, started, reader, version, batch);
  }
  for (size_t i = 0; i < started; i++)
    kv_value_release(&commit->states[i].stored);
  return result;
}

static void finished(void *argument, status result, kv_version version) {
  struct doc_commit *commit = argument;
  commit->done(commit, result, version);
}

void doc_commit_start(struct kv_store *store, struct doc_commit *commit) {
  commit->txn.resolve = resolve;
  commit->txn.done = finished;
  commit->txn.argument = commit;
  kv_commit(store, &commit->txn);
}
