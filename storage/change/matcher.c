/* The thread, and what it does with a batch of versions:
 *
 *   1. reads the keys that the log has for them, each once (at most BATCH_KEYS, then the batch ends earlier);
 *   2. with the mutex, asks the index which of them anybody watches;
 *   3. without it, reads those as they were and as they are;
 *   4. with it again, puts the events into queues, and moves on.
 *
 * A target that is added between 2 and 4 begins at the end of what the thread has claimed, so the batch owes
 * it nothing.
 *
 * A wake-up and a batch have their price, and on a box with two cores commits pay it. So while there are no
 * targets the thread sleeps, whatever is committed, and after a batch that nobody wanted it gathers for
 * GATHER_MS before it takes the next. A target that is added meanwhile must not begin in the past: what has
 * been acknowledged is in its first snapshot. So change_claim claims what is published, for the thread, which
 * then ends a batch there. */
#include "storage/change/matcher.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "storage/change/matcher_internal.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"

enum {
  BATCH_KEYS = 512,                      /* one commit's keys stay together, whatever they are */
  BATCH_ARENA_BYTES = 256 * 1024 * 1024, /* a commit of 10 MiB, before and after, decoded */
  TRIES = 3,
  RETRY_MS = 50,
  TICK_MS = 1000,
  GATHER_MS = 2,
};

struct batch {
  struct change_matcher *matcher;
  kv_version since, until;
  struct arena arena;
  struct change_step *steps;
  size_t count, capacity;
  struct buf scratch;
};

/* ---- 1: keys ---- */

static bool add_step(struct batch *batch, str key) {
  if (batch->count == batch->capacity) {
    size_t capacity = batch->capacity == 0 ? 64 : batch->capacity * 2;
    struct change_step *steps = realloc(batch->steps, capacity * sizeof *steps);
    if (steps == NULL)
      return false;
    batch->steps = steps;
    batch->capacity = capacity;
  }
  struct change_step *step = &batch->steps[batch->count];
  *step = (struct change_step){.key = arena_str_copy(&batch->arena, key)};
  batch->count += step->key.ptr != NULL;
  return step->key.ptr != NULL;
}

static int compare_keys(const void *a, const void *b) {
  return str_cmp(((const struct change_step *)a)->key, ((const struct change_step *)b)->key);
}

static void unite_keys(struct batch *batch) {
  size_t kept = 0;
  if (batch->count > 1)
    qsort(batch->steps, batch->count, sizeof *batch->steps, compare_keys);
  for (size_t i = 0; i < batch->count; i++)
    if (kept == 0 || !str_eq(batch->steps[kept - 1].key, batch->steps[i].key))
      batch->steps[kept++] = batch->steps[i];
  batch->count = kept;
}

static status read_keys(struct batch *batch) {
  struct kv_changes *changes;
  STATUS_TRY(kv_changes_open(batch->matcher->options.store, batch->since, batch->until, &changes));
  struct kv_change change;
  kv_version last = batch->since;
  status result = status_ok();
  while (status_is_ok(&result) && kv_changes_next(changes, &change)) {
    if (batch->count >= BATCH_KEYS && change.version != last) {
      batch->until = last;
      break;
    }
    last = change.version;
    if (change.space == KV_DOCUMENTS && !add_step(batch, change.key))
      result = status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  if (status_is_ok(&result))
    result = kv_changes_status(changes);
  kv_changes_close(changes);
  unite_keys(batch);
  return result;
}

/* ---- 2 and 3: what is wanted ---- */

static status find_wanted(struct batch *batch) {
  struct change_matcher *matcher = batch->matcher;
  for (size_t i = 0; i < batch->count; i++)
    STATUS_TRY(doc_key_to_path(batch->steps[i].key, &batch->arena, &batch->steps[i].path));
  status result = status_ok();
  pthread_mutex_lock(&matcher->mutex);
  for (size_t i = 0; i < batch->count && status_is_ok(&result); i++)
    result = change_index_wants(&matcher->index, &batch->steps[i], &batch->scratch);
  pthread_mutex_unlock(&matcher->mutex);
  return result;
}

static status make_document(struct batch *batch, const struct change_step *step, const struct kv_value *value,
                            struct change_document **ret) {
  struct doc_record record = {0};
  str name = step->path.name, key = step->key;
  if (value->found)
    STATUS_TRY(doc_record_decode(value->bytes, &record));
  size_t size = sizeof(struct change_document) + name.len + key.len + record.fields.len;
  struct change_document *document = malloc(size);
  if (document == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  char *at = (char *)(document + 1);
  *document = (struct change_document){.key = str_make(at, key.len),
                                       .name = str_make(at + key.len, name.len),
                                       .exists = value->found,
                                       .record = record,
                                       .size_bytes = size,
                                       .budget = batch->matcher->options.budget};
  atomic_init(&document->references, 1);
  document->record.fields = str_make(at + key.len + name.len, record.fields.len);
  memcpy(at, key.ptr, key.len);
  memcpy(at + key.len, name.ptr, name.len);
  if (record.fields.len > 0)
    memcpy(at + key.len + name.len, record.fields.ptr, record.fields.len);
  if (document->budget != NULL)
    memory_budget_charge(document->budget, size);
  *ret = document;
  return status_ok();
}

static status load(struct batch *batch, struct change_step *step, kv_snapshot before, kv_snapshot after) {
  struct kv_value value = {0};
  STATUS_TRY(kv_get(after, KV_DOCUMENTS, step->key, &value));
  status result = make_document(batch, step, &value, &step->document);
  kv_value_release(&value);
  STATUS_TRY(result);
  STATUS_TRY(kv_get(before, KV_DOCUMENTS, step->key, &step->old_value));
  step->existed = step->old_value.found;
  if (!step->wanted_fields)
    return status_ok();
  if (step->document->exists)
    STATUS_TRY(doc_decode_fields(step->document->record.fields, &batch->arena, &step->new_fields));
  if (!step->existed)
    return status_ok();
  struct doc_record record;
  STATUS_TRY(doc_record_decode(step->old_value.bytes, &record));
  return doc_decode_fields(record.fields, &batch->arena, &step->old_fields);
}

static bool is_wanted(const struct batch *batch) {
  for (size_t i = 0; i < batch->count; i++)
    if (batch->steps[i].wanted)
      return true;
  return false;
}

static status load_wanted(struct batch *batch) {
  kv_snapshot before, after;
  if (!is_wanted(batch))
    return status_ok();
  STATUS_TRY(kv_snapshot_at(batch->matcher->options.store, batch->since, &before));
  STATUS_TRY(kv_snapshot_at(batch->matcher->options.store, batch->until, &after));
  for (size_t i = 0; i < batch->count; i++)
    if (batch->steps[i].wanted)
      STATUS_TRY(load(batch, &batch->steps[i], before, after));
  return status_ok();
}

/* ---- 4: events ---- */

static void move_on(struct change_matcher *matcher, kv_version version) {
  matcher->done = version;
  change_snapshots(matcher, version);
}

static status deliver(struct batch *batch) {
  struct change_matcher *matcher = batch->matcher;
  status result = status_ok();
  pthread_mutex_lock(&matcher->mutex);
  for (size_t i = 0; i < batch->count && status_is_ok(&result); i++)
    if (batch->steps[i].wanted)
      result = change_index_deliver(&matcher->index, &batch->steps[i], batch->until, &batch->scratch);
  if (status_is_ok(&result))
    move_on(matcher, batch->until);
  pthread_mutex_unlock(&matcher->mutex);
  return result;
}

static void batch_fini(struct batch *batch) {
  for (size_t i = 0; i < batch->count; i++) {
    kv_value_release(&batch->steps[i].old_value);
    change_document_release(batch->steps[i].document);
  }
  free(batch->steps);
  buf_fini(&batch->scratch);
  arena_fini(&batch->arena);
}

/* On success *until is how far it came; *ret_wanted is set if there was something for somebody. */
static status run_batch(struct change_matcher *matcher, kv_version since, kv_version *until,
                        bool *ret_wanted) {
  struct batch batch = {.matcher = matcher, .since = since, .until = *until};
  arena_init(&batch.arena, NULL, 0, BATCH_ARENA_BYTES);
  status result = read_keys(&batch);
  if (status_is_ok(&result))
    result = find_wanted(&batch);
  if (status_is_ok(&result))
    result = load_wanted(&batch);
  if (status_is_ok(&result))
    result = deliver(&batch);
  *until = batch.until;
  *ret_wanted = *ret_wanted || is_wanted(&batch);
  batch_fini(&batch);
  return result;
}

/* What could not be read is for the listeners to find out: each reads for itself and gets the store's status.
 */
static void lose_all(struct change_matcher *matcher, kv_version version, const status *why) {
  log_event(LOG_LEVEL_WARN, "changes could not be read: listeners start again",
            LOG_CSTR("code", status_code_name((int)why->code)), LOG_CSTR("error", why->message));
  pthread_mutex_lock(&matcher->mutex);
  for (struct change_listener *at = matcher->listeners; at != NULL; at = at->next)
    change_lose(at);
  move_on(matcher, version);
  pthread_mutex_unlock(&matcher->mutex);
}

static bool is_stopping(struct change_matcher *matcher) {
  pthread_mutex_lock(&matcher->signal_mutex);
  bool stopping = matcher->stopping;
  pthread_mutex_unlock(&matcher->signal_mutex);
  return stopping;
}

/* Whether there was something for somebody. *ret_done is how far it came: not always to `until`. */
static bool catch_up(struct change_matcher *matcher, kv_version until, kv_version *ret_done) {
  pthread_mutex_lock(&matcher->mutex);
  kv_version done = matcher->done;
  if (done < matcher->claimed) /* by change_claim: a batch must end there */
    until = matcher->claimed;
  else if (done < until)
    matcher->claimed = until;
  if (matcher->index.count == 0 && done < until) { /* nobody watches anything */
    move_on(matcher, until);
    done = until;
  }
  pthread_mutex_unlock(&matcher->mutex);
  bool wanted = false;
  for (unsigned tries = 0; done < until && !is_stopping(matcher);) {
    kv_version reached = until;
    status result = run_batch(matcher, done, &reached, &wanted);
    if (status_is_ok(&result)) {
      done = reached;
      tries = 0;
    } else if (++tries < TRIES) {
      nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
    } else {
      lose_all(matcher, until, &result);
      done = until;
    }
  }
  *ret_done = done;
  return wanted;
}

void change_watch(struct change_matcher *matcher, bool watched) {
  pthread_mutex_lock(&matcher->signal_mutex);
  matcher->watched = watched;
  pthread_mutex_unlock(&matcher->signal_mutex);
}

void change_claim(struct change_matcher *matcher) {
  pthread_mutex_lock(&matcher->signal_mutex);
  kv_version published = matcher->published;
  pthread_cond_signal(&matcher->signal);
  pthread_mutex_unlock(&matcher->signal_mutex);
  if (matcher->claimed == matcher->done && matcher->done < published)
    matcher->claimed = published;
}

/* ---- The thread ---- */

/* Waits until there is more than `done`, or for a tick. False: stop. */
static bool wait_more(struct change_matcher *matcher, kv_version done, kv_version *ret_published) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += TICK_MS / 1000;
  pthread_mutex_lock(&matcher->signal_mutex);
  int waited = 0;
  while (!matcher->stopping && matcher->published <= done && waited == 0)
    waited = pthread_cond_timedwait(&matcher->signal, &matcher->signal_mutex, &until);
  *ret_published = matcher->published;
  bool go_on = !matcher->stopping;
  pthread_mutex_unlock(&matcher->signal_mutex);
  return go_on;
}

static void tick(struct change_matcher *matcher, int64_t *last_us) {
  int64_t now_us = matcher->options.port->monotonic_us(matcher->options.port);
  if (now_us - *last_us < TICK_MS * 1000)
    return;
  *last_us = now_us;
  pthread_mutex_lock(&matcher->mutex);
  change_heartbeat(matcher, now_us);
  pthread_mutex_unlock(&matcher->mutex);
}

static void *run(void *argument) {
  struct change_matcher *matcher = argument;
  int64_t ticked_us = 0;
  kv_version done = matcher->done, published;
  while (wait_more(matcher, done, &published)) {
    if (published > done && !catch_up(matcher, published, &done))
      nanosleep(&(struct timespec){.tv_nsec = GATHER_MS * 1000000L}, NULL);
    tick(matcher, &ticked_us);
  }
  return NULL;
}

static void published(void *argument, kv_version version) {
  struct change_matcher *matcher = argument;
  pthread_mutex_lock(&matcher->signal_mutex);
  if (version > matcher->published)
    matcher->published = version;
  if (matcher->watched)
    pthread_cond_signal(&matcher->signal);
  pthread_mutex_unlock(&matcher->signal_mutex);
}

status change_matcher_new(const struct change_matcher_options *options, struct change_matcher **ret) {
  struct change_matcher *matcher = calloc(1, sizeof *matcher);
  if (matcher == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  matcher->options = *options;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&matcher->signal, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_init(&matcher->signal_mutex, NULL);
  pthread_mutex_init(&matcher->mutex, NULL);
  kv_subscribe(options->store, published, matcher);
  matcher->published = matcher->done = matcher->claimed = kv_newest_version(options->store);
  if (pthread_create(&matcher->thread, NULL, run, matcher) == 0) {
    *ret = matcher;
    return status_ok();
  }
  kv_subscribe(options->store, NULL, NULL);
  free(matcher);
  return status_make(STATUS_RESOURCE_EXHAUSTED, "No thread for the matcher of live targets.");
}

void change_matcher_free(struct change_matcher *matcher) {
  if (matcher == NULL)
    return;
  assert(matcher->listeners == NULL);
  pthread_mutex_lock(&matcher->signal_mutex);
  matcher->stopping = true;
  pthread_cond_signal(&matcher->signal);
  pthread_mutex_unlock(&matcher->signal_mutex);
  pthread_join(matcher->thread, NULL);
  kv_subscribe(matcher->options.store, NULL, NULL);
  target_index_fini(&matcher->index);
  pthread_cond_destroy(&matcher->signal);
  pthread_mutex_destroy(&matcher->signal_mutex);
  pthread_mutex_destroy(&matcher->mutex);
  free(matcher);
}

void change_matcher_stats(struct change_matcher *matcher, struct change_stats *ret) {
  pthread_mutex_lock(&matcher->mutex);
  *ret = matcher->stats;
  pthread_mutex_unlock(&matcher->mutex);
}
