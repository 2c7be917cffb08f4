#include "server/firestore/listen_evaluate.h"

#include <assert.h>
#include <stdlib.h>

#include "server/firestore/listen_message.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"
#include "storage/query/match.h"

enum {
  TURN_ENTRIES = 512,            /* of the log, or documents, without a message */
  LOG_KEYS_MAX = 64 * 1024,      /* changed documents of one resumed query: past it, everything is sent */
  LOG_ENTRIES_MAX = 1024 * 1024, /* that are looked at for it: half a second in all */
  ARENA_BYTES = 16 * 1024 * 1024,
};

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The server is out of memory. Please try again later.");
}

/* ---- Messages ---- */

static status message_change(struct listen_evaluation *e, str name, struct doc_record record,
                             rpc_message *ret) {
  STATUS_TRY(request_project(&record, e->target->request.mask, &e->scratch));
  struct listen_ids ids = {&e->target->id, 1};
  bool made = listen_message_change(name, &record, ids, (struct listen_ids){0}, ret);
  arena_reset(&e->scratch);
  return made ? status_ok() : no_memory();
}

static status message_gone(struct listen_evaluation *e, str name, bool exists, rpc_message *ret) {
  struct listen_ids ids = {&e->target->id, 1};
  return listen_message_gone(name, exists, ids, e->version, ret) ? status_ok() : no_memory();
}

/* ---- A target of documents ---- */

static status step_documents(struct listen_evaluation *e, bool *ret_made, rpc_message *ret) {
  const struct listen_target *target = e->target;
  for (size_t looked = 0; e->at < target->watch.key_count; looked++) {
    if (looked == TURN_ENTRIES)
      return status_ok();
    size_t at = e->at++;
    struct kv_value value = {0};
    struct doc_record record;
    STATUS_TRY(kv_get(e->snapshot, KV_DOCUMENTS, target->watch.keys[at], &value));
    status result = value.found ? doc_record_decode(value.bytes, &record) : status_ok();
    if (status_is_ok(&result))
      result =
          listen_target_judge_document(e->caller, target->names[at], value.found ? &record.fields : NULL);
    if (status_is_ok(&result)) {
      if (!value.found)
        result = message_gone(e, target->names[at], false, ret);
      else if (record.update_us > target->known)
        result = message_change(e, target->names[at], record, ret);
      *ret_made = status_is_ok(&result) && (!value.found || record.update_us > target->known);
    }
    e->key_count += value.found;
    struct bloom_digest digest = bloom_digest_of(target->names[at]);
    if (value.found && target->has_expected)
      buf_append(&e->digests, &digest, sizeof digest);
    kv_value_release(&value);
    if (*ret_made || !status_is_ok(&result))
      return result;
  }
  e->phase = target->has_expected ? LISTEN_FILTER : LISTEN_DONE;
  return status_ok();
}

/* ---- The rows of a query ---- */

static status open_run(struct listen_evaluation *e, const struct query *query) {
  const struct firestore_query_options *queries = &e->service->options.queries;
  struct index_catalog *catalog = index_set_current(e->service->options.indexes);
  struct query_run_options options = {.snapshot = e->snapshot,
                                      .catalog = catalog,
                                      .mode = queries->index_mode,
                                      .budget = e->budget,
                                      .memory_bytes_max = queries->memory_bytes_max,
                                      .spill_directory = queries->spill_directory,
                                      .spill_bytes_max = queries->spill_bytes_max};
  status result = query_run_open(query, &options, &e->arena, &e->run);
  index_catalog_unref(catalog);
  return result;
}

static status next_row(struct listen_evaluation *e, const struct query *query, enum query_step *ret_step,
                       struct query_row *ret) {
  if (e->run == NULL)
    STATUS_TRY(open_run(e, query));
  STATUS_TRY(query_run_next(e->run, ret_step, ret));
  if (*ret_step == QUERY_END) {
    query_run_close(e->run);
    e->run = NULL;
  }
  return status_ok();
}

static int compare_members(const void *a, const void *b) {
  return str_cmp(((const struct listen_member *)a)->name, ((const struct listen_member *)b)->name);
}

static const struct listen_member *find_member(const struct listen_members *members, str name) {
  struct listen_member wanted = {.name = name};
  return members == NULL || members->count == 0
             ? NULL
             : bsearch(&wanted, members->items, members->count, sizeof wanted, compare_members);
}

static status note_member(struct listen_evaluation *e, const struct query_row *row) {
  if (e->member_count == e->member_capacity) {
    size_t capacity = e->member_capacity == 0 ? 16 : e->member_capacity * 2;
    struct listen_member *members = realloc(e->members, capacity * sizeof *members);
    if (members == NULL)
      return no_memory();
    e->members = members;
    e->member_capacity = capacity;
  }
  str name = arena_str_copy(&e->arena, row->name);
  if (name.ptr == NULL)
    return no_memory();
  e->members[e->member_count++] = (struct listen_member){name, row->record.update_us};
  return status_ok();
}

static status step_rows(struct listen_evaluation *e, bool *ret_made, rpc_message *ret) {
  struct listen_target *target = e->target;
  enum query_step step;
  struct query_row row;
  STATUS_TRY(next_row(e, &target->request.query, &step, &row));
  if (step == QUERY_TURN)
    return status_ok();
  if (step == QUERY_END) {
    e->phase = target->watch.windowed ? LISTEN_FALLEN_OUT : LISTEN_DONE;
    if (e->member_count > 1)
      qsort(e->members, e->member_count, sizeof *e->members, compare_members);
    return status_ok();
  }
  if (target->watch.windowed)
    STATUS_TRY(note_member(e, &row));
  const struct listen_member *had = find_member(target->members, row.name);
  if (had != NULL && had->update_us == row.record.update_us)
    return status_ok();
  *ret_made = true;
  return message_change(e, row.name, row.record, ret);
}

/* Names and all in one block. */
static struct listen_members *members_pack(const struct listen_member *items, size_t count) {
  size_t size = sizeof(struct listen_members) + count * sizeof *items;
  for (size_t i = 0; i < count; i++)
    size += items[i].name.len;
  struct listen_members *members = malloc(size);
  if (members == NULL)
    return NULL;
  members->count = count;
  members->size_bytes = size;
  char *at = (char *)(members->items + count);
  for (size_t i = 0; i < count; i++) {
    members->items[i] = (struct listen_member){str_make(at, items[i].name.len), items[i].update_us};
    memcpy(at, items[i].name.ptr, items[i].name.len);
    at += items[i].name.len;
  }
  return members;
}

static bool exists(struct listen_evaluation *e, str name, status *ret) {
  struct doc_path path;
  struct kv_value value = {0};
  str key = {NULL, 0};
  *ret = doc_path_parse_document(name, &path);
  if (status_is_ok(ret))
    *ret = doc_key_from_path(&path, &e->scratch, &key);
  if (status_is_ok(ret))
    *ret = kv_get(e->snapshot, KV_DOCUMENTS, key, &value);
  bool found = value.found;
  kv_value_release(&value);
  arena_reset(&e->scratch);
  return found;
}

/* What the client had in the window and is not there any more. */
static status step_fallen_out(struct listen_evaluation *e, bool *ret_made, rpc_message *ret) {
  struct listen_target *target = e->target;
  size_t count = target->members == NULL ? 0 : target->members->count;
  for (size_t looked = 0; e->at < count; looked++) {
    if (looked == TURN_ENTRIES)
      return status_ok();
    const struct listen_member *had = &target->members->items[e->at++];
    if (e->member_count > 0 &&
        bsearch(had, e->members, e->member_count, sizeof *had, compare_members) != NULL)
      continue;
    status result;
    bool is_there = exists(e, had->name, &result);
    STATUS_TRY(result);
    *ret_made = true;
    return message_gone(e, had->name, is_there, ret);
  }
  struct listen_members *members = members_pack(e->members, e->member_count);
  if (members == NULL)
    return no_memory();
  listen_target_set_members(target, members);
  e->phase = LISTEN_DONE;
  return status_ok();
}

/* ---- What changed, by the log ---- */

static void all_again(struct listen_evaluation *e) {
  if (e->changes != NULL)
    kv_changes_close(e->changes);
  e->changes = NULL;
  e->target->has_expected = false;
  e->at = e->key_count = 0;
  e->phase = LISTEN_RESET_FIRST;
}

/* Whether it is in the query's answer in that state. */
static status is_in_at(struct listen_evaluation *e, kv_snapshot snapshot, const struct doc_path *path,
                       str key, bool *ret) {
  const struct query *query = &e->target->request.query;
  struct kv_value value = {0};
  struct doc_record record;
  struct doc_map fields;
  *ret = false;
  STATUS_TRY(kv_get(snapshot, KV_DOCUMENTS, key, &value));
  status result = value.found ? doc_record_decode(value.bytes, &record) : status_ok();
  if (status_is_ok(&result) && value.found)
    result = doc_decode_fields(record.fields, &e->scratch, &fields);
  if (status_is_ok(&result) && value.found)
    *ret = query_matches(query, path, fields) && query_within_cursors(query, path, fields);
  kv_value_release(&value);
  return result;
}

/* What a slow client got after `known` it may still have. */
static status find_was_in(struct listen_evaluation *e, const struct kv_change *change,
                          const struct doc_path *path, bool *ret) {
  kv_snapshot then;
  *ret = false;
  if (e->caller->may_read || !e->target->evaluated)
    return status_ok();
  STATUS_TRY(kv_snapshot_at(e->service->options.store, change->version, &then));
  return is_in_at(e, then, path, change->key, ret);
}

static status note_change(struct listen_evaluation *e, const struct kv_change *change) {
  struct doc_path path;
  bool was_in = false;
  STATUS_TRY(doc_key_to_path(change->key, &e->scratch, &path));
  bool covers = query_covers(&e->target->request.query, &path);
  status result = covers ? find_was_in(e, change, &path, &was_in) : status_ok();
  arena_reset(&e->scratch);
  STATUS_TRY(result);
  if (!covers)
    return status_ok();
  if (e->key_count == e->key_capacity) {
    size_t capacity = e->key_capacity == 0 ? 64 : e->key_capacity * 2;
    struct listen_changed *changed = realloc(e->changed, capacity * sizeof *changed);
    if (changed == NULL)
      return no_memory();
    e->changed = changed;
    e->key_capacity = capacity;
  }
  e->changed[e->key_count] = (struct listen_changed){arena_str_copy(&e->arena, change->key), was_in};
  return e->changed[e->key_count++].key.ptr == NULL ? no_memory() : status_ok();
}

static int compare_changed(const void *a, const void *b) {
  return str_cmp(((const struct listen_changed *)a)->key, ((const struct listen_changed *)b)->key);
}

static void unite_keys(struct listen_evaluation *e) {
  size_t kept = 0;
  if (e->key_count > 1)
    qsort(e->changed, e->key_count, sizeof *e->changed, compare_changed);
  for (size_t i = 0; i < e->key_count; i++)
    if (kept == 0 || !str_eq(e->changed[kept - 1].key, e->changed[i].key))
      e->changed[kept++] = e->changed[i];
    else
      e->changed[kept - 1].was_in = e->changed[kept - 1].was_in || e->changed[i].was_in;
  e->key_count = kept;
}

static status step_log(struct listen_evaluation *e) {
  struct kv_change change;
  for (size_t looked = 0; looked < TURN_ENTRIES; looked++) {
    if (!kv_changes_next(e->changes, &change)) {
      STATUS_TRY(kv_changes_status(e->changes));
      kv_changes_close(e->changes);
      e->changes = NULL;
      unite_keys(e);
      e->at = 0;
      e->phase = LISTEN_CHANGED;
      return status_ok();
    }
    if (change.space == KV_DOCUMENTS)
      STATUS_TRY(note_change(e, &change));
    if (++e->at > LOG_ENTRIES_MAX || e->key_count > LOG_KEYS_MAX) {
      all_again(e);
      return status_ok();
    }
  }
  return status_ok();
}

static status changed_document(struct listen_evaluation *e, str key, bool *ret_is_in, struct kv_value *value,
                               struct doc_path *ret_path, struct doc_record *ret_record) {
  const struct query *query = &e->target->request.query;
  STATUS_TRY(doc_key_to_path(key, &e->scratch, ret_path));
  STATUS_TRY(kv_get(e->snapshot, KV_DOCUMENTS, key, value));
  *ret_is_in = false;
  if (!value->found)
    return status_ok();
  struct doc_map fields;
  STATUS_TRY(doc_record_decode(value->bytes, ret_record));
  STATUS_TRY(doc_decode_fields(ret_record->fields, &e->scratch, &fields));
  *ret_is_in = query_matches(query, ret_path, fields) && query_within_cursors(query, ret_path, fields);
  return status_ok();
}

enum gone { GONE_TELL, GONE_KEEP_QUIET, GONE_UNKNOWN };

/* Whether the client is told that a document which changed is not in the answer. */
static status judge_gone(struct listen_evaluation *e, const struct listen_changed *changed,
                         const struct doc_path *path, const str *fields, enum gone *ret) {
  bool is_known = changed->was_in || e->caller->may_read;
  if (!is_known && e->has_known)
    STATUS_TRY(is_in_at(e, e->known, path, changed->key, &is_known));
  *ret = is_known ? GONE_TELL : GONE_KEEP_QUIET;
  if (is_known || e->has_known)
    return status_ok();
  status allowed = listen_target_judge_document(e->caller, path->name, fields);
  if (!status_is_ok(&allowed) && allowed.code != STATUS_PERMISSION_DENIED)
    return allowed;
  if (status_is_ok(&allowed))
    *ret = GONE_TELL;
  else if (!e->target->has_expected)
    *ret = GONE_UNKNOWN;
  return status_ok();
}

static status changed_message(struct listen_evaluation *e, const struct listen_changed *changed,
                              struct kv_value *value, bool *ret_made, rpc_message *ret) {
  struct doc_path path;
  struct doc_record record;
  bool is_in;
  enum gone gone = GONE_TELL;
  STATUS_TRY(changed_document(e, changed->key, &is_in, value, &path, &record));
  *ret_made = true;
  if (is_in)
    return message_change(e, path.name, record, ret);
  STATUS_TRY(judge_gone(e, changed, &path, value->found ? &record.fields : NULL, &gone));
  if (gone == GONE_UNKNOWN)
    all_again(e);
  *ret_made = gone == GONE_TELL;
  return gone == GONE_TELL ? message_gone(e, path.name, value->found, ret) : status_ok();
}

static status step_changed(struct listen_evaluation *e, bool *ret_made, rpc_message *ret) {
  for (size_t looked = 0; looked < TURN_ENTRIES && e->phase == LISTEN_CHANGED; looked++) {
    if (e->at == e->key_count) {
      e->phase = e->target->has_expected ? LISTEN_COUNT : LISTEN_DONE;
      e->key_count = 0;
      return status_ok();
    }
    struct kv_value value = {0};
    status result = changed_message(e, &e->changed[e->at++], &value, ret_made, ret);
    kv_value_release(&value);
    arena_reset(&e->scratch);
    if (!status_is_ok(&result))
      *ret_made = false;
    if (*ret_made || !status_is_ok(&result))
      return result;
  }
  return status_ok();
}

/* ---- The existence filter ---- */

static status step_count(struct listen_evaluation *e) {
  enum query_step step;
  struct query_row row;
  e->counted = e->target->request.query;
  e->counted.names_only = true;
  for (size_t looked = 0; looked < TURN_ENTRIES; looked++) {
    STATUS_TRY(next_row(e, &e->counted, &step, &row));
    if (step == QUERY_END)
      e->phase = LISTEN_FILTER;
    if (step != QUERY_ROW)
      return status_ok();
    struct bloom_digest digest = bloom_digest_of(row.name);
    buf_append(&e->digests, &digest, sizeof digest);
    e->key_count++;
  }
  return e->digests.failed ? no_memory() : status_ok();
}

static status step_filter(struct listen_evaluation *e, bool *ret_made, rpc_message *ret) {
  if (e->digests.failed)
    return no_memory();
  struct bloom_filter filter = bloom_filter_for(e->key_count);
  filter.bits = calloc(1, bloom_filter_bytes(&filter) + 1);
  if (filter.bits == NULL)
    return no_memory();
  const struct bloom_digest *digests = (const struct bloom_digest *)(const void *)e->digests.data;
  for (size_t i = 0; i < e->key_count; i++)
    bloom_filter_add(&filter, &digests[i]);
  *ret_made = listen_message_filter(e->target->id, e->key_count, &filter, ret);
  free(filter.bits);
  e->phase = LISTEN_DONE;
  e->target->has_expected = false;
  return *ret_made ? status_ok() : no_memory();
}

/* ---- All of it ---- */

static status step_reset(struct listen_evaluation *e, bool *ret_made, rpc_message *ret) {
  struct listen_target *target = e->target;
  struct listen_target_news news = {.type = LISTEN_RESET, .target_id = target->id};
  target->known = 0;
  target->starts_over = false;
  listen_target_set_members(target, NULL);
  e->sent_reset = true;
  e->phase = target->watch.query == NULL ? LISTEN_DOCUMENTS : LISTEN_ROWS;
  *ret_made = listen_message_target(&news, ret);
  return *ret_made ? status_ok() : no_memory();
}

static enum listen_phase first_phase(struct listen_evaluation *e, status *ret) {
  const struct listen_target *target = e->target;
  bool is_ahead = target->known > e->version; /* of a store that was put back to an earlier time */
  *ret = status_ok();
  if (target->starts_over)
    return LISTEN_RESET_FIRST;
  if (target->watch.query == NULL)
    return is_ahead ? LISTEN_RESET_FIRST : LISTEN_DOCUMENTS;
  if (target->known == 0)
    return LISTEN_ROWS;
  if (target->watch.windowed)
    return target->members == NULL || is_ahead ? LISTEN_RESET_FIRST : LISTEN_ROWS;
  if (is_ahead)
    return LISTEN_RESET_FIRST;
  *ret = kv_changes_open(e->service->options.store, target->known, e->version, &e->changes);
  if (ret->code != STATUS_OUT_OF_RANGE) {
    status reaches = kv_snapshot_at(e->service->options.store, target->known, &e->known);
    e->has_known = status_is_ok(&reaches);
    return LISTEN_LOG;
  }
  *ret = status_ok();
  return LISTEN_RESET_FIRST;
}

status listen_evaluation_begin(struct listen_evaluation *e, struct firestore_service *service,
                               struct memory_budget *budget, struct listen_target *target,
                               kv_version version) {
  assert(e->target == NULL);
  *e = (struct listen_evaluation){.target = target, .version = version, .service = service, .budget = budget};
  arena_init(&e->arena, NULL, 0, ARENA_BYTES);
  arena_init(&e->scratch, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  e->arena.budget = e->scratch.budget = budget;
  STATUS_TRY(kv_snapshot_at(service->options.store, version, &e->snapshot));
  status result;
  e->phase = first_phase(e, &result);
  if (e->phase == LISTEN_RESET_FIRST)
    all_again(e);
  return result;
}

static status step(struct listen_evaluation *e, bool *ret_made, rpc_message *ret) {
  status result = status_ok();
  switch (e->phase) {
  case LISTEN_DOCUMENTS:
    result = step_documents(e, ret_made, ret);
    break;
  case LISTEN_RESET_FIRST:
    result = step_reset(e, ret_made, ret);
    break;
  case LISTEN_ROWS:
    result = step_rows(e, ret_made, ret);
    break;
  case LISTEN_FALLEN_OUT:
    result = step_fallen_out(e, ret_made, ret);
    break;
  case LISTEN_LOG:
    result = step_log(e);
    break;
  case LISTEN_CHANGED:
    result = step_changed(e, ret_made, ret);
    break;
  case LISTEN_COUNT:
    result = step_count(e);
    break;
  case LISTEN_FILTER:
    result = step_filter(e, ret_made, ret);
    break;
  case LISTEN_DONE:
    break;
  }
  return result;
}

status listen_evaluation_step(struct listen_evaluation *e, const struct access_caller *caller,
                              enum listen_step *ret_step, rpc_message *ret) {
  bool made = false;
  e->caller = caller;
  STATUS_TRY(step(e, &made, ret));
  *ret_step = made ? LISTEN_MESSAGE : e->phase == LISTEN_DONE ? LISTEN_END : LISTEN_TURN;
  return status_ok();
}

void listen_evaluation_pause(struct listen_evaluation *e) {
  if (e->run != NULL)
    query_run_pause(e->run);
}

void listen_evaluation_end(struct listen_evaluation *e) {
  if (e->target == NULL)
    return;
  query_run_close(e->run);
  if (e->changes != NULL)
    kv_changes_close(e->changes);
  free(e->changed);
  free(e->members);
  buf_fini(&e->digests);
  arena_fini(&e->arena);
  arena_fini(&e->scratch);
  *e = (struct listen_evaluation){0};
}
