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
  size_t failed;            /* the first write of the chain so far that fails, or NO_WRITE */
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
  } else if (wanted->kind == DOC_PRECONDITION_UPDATE_TIME &&
             (!state->exists || state->update_us != wanted->update_time_us)) {
    /* The same words for a document that is gone: they are also for those who may not know (review). */
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
  if (write->kind == DOC_WRITE_VERIFY) {
    result->update_time_us = state->exists ? state->update_us : 0;
    return status_ok();
  }
  if (write->kind == DOC_WRITE_DELETE) {
    state->exists = false;
    state->before = (struct doc_record){0}; /* what comes after is another document, equal or not */
    return status_ok();
  }
  str fields = {NULL, 0};
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
    arena_return(commit->arena, bytes.ptr); /* the batch has a copy */
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

/* What is wrong with the commit, rather than with the server. */
static bool is_verdict(const status *result) {
  return result->code == STATUS_NOT_FOUND || result->code == STATUS_ALREADY_EXISTS ||
         result->code == STATUS_FAILED_PRECONDITION || result->code == STATUS_INVALID_ARGUMENT;
}

/* Applies a write; for a review as if its precondition held. */
static status attempt_write(struct doc_commit *commit, size_t index, kv_version version) {
  const struct doc_write *write = &commit->writes[index];
  struct doc_write_state *state = &commit->states[index];
  status precondition = check_precondition(write, state);
  status result = precondition;
  if (status_is_ok(&precondition) || commit->review != NULL)
    result = apply_write(commit, write, version, state, &commit->results[index]);
  if (!status_is_ok(&precondition) && (status_is_ok(&result) || is_verdict(&result)))
    result = precondition;
  if (!status_is_ok(&result) && state->failed == NO_WRITE)
    state->failed = index;
  return result;
}

/* `batch` is NULL once the commit has failed. */
static status resolve_write(struct doc_commit *commit, size_t index, struct kv_reader *reader,
                            kv_version version, struct kv_batch *batch) {
  const struct doc_write *write = &commit->writes[index];
  struct doc_write_state *state = &commit->states[index];
  commit->results[index] = (struct doc_write_result){0};
  *state = (struct doc_write_state){.failed = NO_WRITE};
  if (write->previous != NO_WRITE) {
    *state = commit->states[write->previous];
    state->stored = (struct kv_value){0}; /* the first of the chain holds the pin */
  } else {
    STATUS_TRY(load_state(reader, write, state));
  }
  STATUS_TRY(attempt_write(commit, index, version));
  return write->next == NO_WRITE && batch != NULL ? finish_chain(commit, index, batch) : status_ok();
}

/* ---- Reviews ---- */

struct doc_view {
  struct doc_commit *commit;
  struct kv_reader *reader;
  kv_version version;
  size_t next; /* write to look at */
};

static struct doc_found before_commit(const struct doc_write_state *state) {
  return (struct doc_found){state->existed, state->existed ? state->existed_fields : (str){NULL, 0}};
}

static struct doc_found after_commit(const struct doc_write_state *state) {
  return (struct doc_found){state->exists, state->exists ? state->fields : (str){NULL, 0}};
}

static bool only_verifies(const struct doc_commit *commit, size_t last) {
  for (size_t i = last; i != NO_WRITE; i = commit->writes[i].previous)
    if (commit->writes[i].kind != DOC_WRITE_VERIFY)
      return false;
  return true;
}

static enum doc_wants wants(const struct doc_reviewed *document) {
  if (!document->after.exists)
    return DOC_WANTS_TO_DELETE;
  return document->before.exists ? DOC_WANTS_TO_UPDATE : DOC_WANTS_TO_CREATE;
}

/* Of a write that fails: by what it demands, which may not be so. */
static enum doc_wants wants_in_vain(const struct doc_write *write, bool existed) {
  if (write->kind == DOC_WRITE_VERIFY)
    return DOC_WANTS_TO_READ;
  if (write->kind == DOC_WRITE_DELETE)
    return DOC_WANTS_TO_DELETE;
  if (write->precondition.kind == DOC_PRECONDITION_EXISTS)
    return write->precondition.exists ? DOC_WANTS_TO_UPDATE : DOC_WANTS_TO_CREATE;
  return existed ? DOC_WANTS_TO_UPDATE : DOC_WANTS_TO_CREATE;
}

bool doc_view_next(struct doc_view *view, struct doc_reviewed *ret) {
  const struct doc_commit *commit = view->commit;
  while (view->next < commit->write_count && commit->writes[view->next].next != NO_WRITE)
    view->next++;
  if (view->next >= commit->write_count)
    return false;
  size_t at = view->next++;
  const struct doc_write_state *state = &commit->states[at];
  *ret = (struct doc_reviewed){
      .path = &commit->writes[at].path, .before = before_commit(state), .after = after_commit(state)};
  if (state->failed != NO_WRITE)
    ret->wants = wants_in_vain(&commit->writes[state->failed], state->existed);
  else
    ret->wants = only_verifies(commit, at) ? DOC_WANTS_TO_READ : wants(ret);
  return true;
}

kv_version doc_view_version(const struct doc_view *view) {
  return view->version;
}

/* The state after the last write to the key, or NULL. */
static const struct doc_write_state *find_state(const struct doc_view *view, str key) {
  const struct doc_commit *commit = view->commit;
  for (size_t i = 0; i < commit->write_count; i++)
    if (commit->writes[i].next == NO_WRITE && str_eq(commit->writes[i].key, key))
      return &commit->states[i];
  return NULL;
}

status doc_view_read(struct doc_view *view, const struct doc_path *path, bool after, struct doc_found *ret) {
  struct arena *arena = view->commit->arena;
  str key;
  STATUS_TRY(doc_key_from_path(path, arena, &key));
  const struct doc_write_state *state = find_state(view, key);
  if (state != NULL) {
    *ret = after ? after_commit(state) : before_commit(state);
    return status_ok();
  }
  struct kv_value value = {0};
  struct doc_record record = {0};
  status result = kv_reader_get(view->reader, KV_DOCUMENTS, key, &value);
  bool found = value.found;
  if (status_is_ok(&result) && found)
    result = doc_record_decode(value.bytes, &record);
  if (status_is_ok(&result)) {
    *ret = (struct doc_found){found, found ? arena_str_copy(arena, record.fields) : (str){NULL, 0}};
    if (found && ret->fields.ptr == NULL)
      result = out_of_memory();
  }
  kv_value_release(&value);
  return result;
}

/* Who may not write must not learn what is there: neither by a precondition of the document, nor by hearing
 * of another write that fails. So the whole commit is reviewed as if all preconditions held, and only then
 * its failure is told.
 *
 * But for an update time that is another, which comes first and is told to everybody: rules would judge what
 * somebody made of an older state by the newer one, and refuse for good what is only to be tried again. It
 * says nothing to those who do not know the microsecond. */
static status review(struct doc_commit *commit, struct kv_reader *reader, kv_version version, status result) {
  if (commit->review == NULL || result.code == STATUS_FAILED_PRECONDITION)
    return result;
  struct doc_view view = {.commit = commit, .reader = reader, .version = version};
  // cppcheck-suppress returnDanglingLifetime ; a status holds no pointers
  STATUS_TRY(commit->review->review(commit->review->argument, &view));
  return result;
}

static status resolve(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  struct doc_commit *commit = argument;
  status result = status_ok(), one = status_ok();
  size_t started = 0;
  bool goes_on = true;
  commit->comparisons_left = LIMIT_COMMIT_COMPARISONS;
  for (; started < commit->write_count && goes_on; started++) {
    one = resolve_write(commit, started, reader, version, status_is_ok(&result) ? batch : NULL);
    goes_on = status_is_ok(&one) || (commit->review != NULL && is_verdict(&one));
    bool comes_first = !goes_on || (one.code == STATUS_FAILED_PRECONDITION && result.code != one.code);
    if (status_is_ok(&result) || comes_first)
      result = one;
  }
  if (started > 0 && goes_on)
    result = review(commit, reader, version, result);
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
