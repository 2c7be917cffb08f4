#include "server/identity/idle.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"

enum {
  DUE_MAX = 64, /* of one commit */
  ARENA_BYTES = 8 * 1024 * 1024,
  NAMES_BYTES = 64 * 1024,
};
static const int64_t GAP_US = INT64_C(24) * 3600 * 1000000;
#define TIME_KEY STR("identity/idle")

typedef Skerry__Identity__V1__StoredIdle time_record;

struct due {
  str project, uid; /* in `names` */
  bool deleted;     /* as was committed */
  unsigned ended;
};

struct idle {
  struct idle_options options;
  /* The walk. */
  struct buf at; /* the last key that it saw; empty: it begins */
  uint64_t walked;
  unsigned looks, rest;
  /* The time, as it was seen last, and until when all are spared. */
  int64_t seen_us, spared_until_us;
  bool knows_time;
  unsigned unsaved; /* ticks since it was saved */
  /* The commit that is under way. */
  struct kv_txn txn;
  struct arena arena, names; /* of a look or a change; of `due` */
  int64_t now_us;
  struct due due[DUE_MAX];
  size_t due_count;
  /* Guarded by the mutex. */
  pthread_mutex_t mutex;
  pthread_cond_t settled;
  bool busy;
  struct idle_info info;
};

status idle_new(const struct idle_options *options, struct idle **ret) {
  struct idle *idle = calloc(1, sizeof *idle);
  if (idle == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to look after accounts.");
  idle->options = *options;
  arena_init(&idle->arena, NULL, 0, ARENA_BYTES);
  arena_init(&idle->names, NULL, 0, NAMES_BYTES);
  pthread_mutex_init(&idle->mutex, NULL);
  pthread_cond_init(&idle->settled, NULL);
  *ret = idle;
  return status_ok();
}

void idle_free(struct idle *idle) {
  if (idle == NULL)
    return;
  buf_fini(&idle->at);
  arena_fini(&idle->arena);
  arena_fini(&idle->names);
  pthread_cond_destroy(&idle->settled);
  pthread_mutex_destroy(&idle->mutex);
  free(idle);
}

void idle_wait(struct idle *idle) {
  pthread_mutex_lock(&idle->mutex);
  while (idle->busy)
    pthread_cond_wait(&idle->settled, &idle->mutex);
  pthread_mutex_unlock(&idle->mutex);
}

void idle_info(struct idle *idle, struct idle_info *ret) {
  pthread_mutex_lock(&idle->mutex);
  *ret = idle->info;
  pthread_mutex_unlock(&idle->mutex);
}

static bool is_busy(struct idle *idle) {
  pthread_mutex_lock(&idle->mutex);
  bool busy = idle->busy;
  pthread_mutex_unlock(&idle->mutex);
  return busy;
}

/* ---- What is due ---- */

struct verdict {
  bool deletes;
  bool ends[USER_SESSIONS_MAX];
  unsigned ended, looks;
};

static int64_t later(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static bool is_over(const struct idle *idle, int64_t used_us, int64_t lifetime_us) {
  return lifetime_us > 0 && idle->now_us - used_us > lifetime_us;
}

/* One that an administrator has disabled is kept: its owner could not refresh it. */
static status judge(struct idle *idle, const struct user_view *view, const user_record *user,
                    struct verdict *ret) {
  const struct idle_options *options = &idle->options;
  int64_t used_us = later(user->created_us, user->last_login_us);
  bool may_delete = user->anonymous && !user->disabled && is_over(idle, used_us, options->anonymous_us);
  *ret = (struct verdict){0};
  if (!may_delete && options->session_us == 0)
    return status_ok();
  for (size_t i = 0; i < user->n_sessions && i < USER_SESSIONS_MAX; i++) {
    session_record *session;
    if (user->sessions[i].len != REFRESH_TOKEN_SESSION_BYTES)
      continue;
    STATUS_TRY(user_store_find_session(view, user->sessions[i].data, &idle->arena, &session));
    ret->looks++;
    if (session == NULL)
      continue;
    used_us = later(used_us, session->rotated_us);
    ret->ends[i] = is_over(idle, session->rotated_us, options->session_us);
    ret->ended += ret->ends[i];
  }
  ret->deletes = may_delete && is_over(idle, used_us, options->anonymous_us);
  return status_ok();
}

static bool visit(void *argument, const struct user_view *view, const user_record *user) {
  struct idle *idle = argument;
  struct verdict verdict;
  idle->walked++;
  if (idle->now_us < idle->spared_until_us)
    return true;
  status result = judge(idle, view, user, &verdict);
  if (!status_is_ok(&result)) /* a session that cannot be read keeps nobody else's */
    return true;
  idle->looks += verdict.looks;
  idle->walked -= verdict.deletes;
  if (verdict.deletes || verdict.ended > 0) {
    struct due *due = &idle->due[idle->due_count];
    *due = (struct due){.project = arena_str_copy(&idle->names, str_from_cstr(user->project)),
                        .uid = arena_str_copy(&idle->names, str_from_cstr(user->uid))};
    idle->due_count += !idle->names.exhausted;
  }
  return idle->due_count < DUE_MAX && !idle->names.exhausted && idle->looks < IDLE_LOOKS;
}

/* ---- Commits ---- */

static status change(struct idle *idle, const struct user_view *view, struct kv_batch *batch,
                     struct due *due) {
  user_record *before;
  struct verdict verdict;
  STATUS_TRY(user_store_find(view, due->project, due->uid, &idle->arena, &before));
  if (before == NULL)
    return status_ok();
  STATUS_TRY(judge(idle, view, before, &verdict));
  due->deleted = verdict.deletes;
  if (verdict.deletes)
    return user_store_delete(batch, &idle->arena, before);
  if (verdict.ended == 0)
    return status_ok();
  user_record *user = user_record_copy(&idle->arena, before);
  if (user == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < before->n_sessions && i < USER_SESSIONS_MAX; i++)
    if (verdict.ends[i])
      user_store_end_session(batch, user, str_make(before->sessions[i].data, before->sessions[i].len));
  due->ended = verdict.ended;
  return user_store_put(view, batch, &idle->arena, before, user);
}

static status resolve_step(void *argument, struct kv_reader *reader, kv_version version,
                           struct kv_batch *batch) {
  struct idle *idle = argument;
  const struct user_view view = {.reader = reader};
  (void)version;
  for (size_t i = 0; i < idle->due_count; i++) {
    struct due *due = &idle->due[i];
    due->deleted = false;
    due->ended = 0;
    arena_reset(&idle->arena);
    STATUS_TRY(change(idle, &view, batch, due));
  }
  return status_ok();
}

static void complain(const status *result) {
  static struct log_limiter limiter;
  uint32_t suppressed;
  if (!status_is_ok(result) && log_limiter_pass(&limiter, 1, &suppressed))
    log_event(LOG_LEVEL_WARN, "accounts that nobody uses could not be looked after",
              LOG_CSTR("error", result->message), LOG_INT("suppressed", suppressed));
}

static void settle(struct idle *idle, uint64_t deleted, uint64_t ended) {
  pthread_mutex_lock(&idle->mutex);
  idle->info.deleted += deleted;
  idle->info.sessions_ended += ended;
  idle->busy = false;
  pthread_cond_broadcast(&idle->settled);
  pthread_mutex_unlock(&idle->mutex);
}

static void done_step(void *argument, status result, kv_version version) {
  struct idle *idle = argument;
  uint64_t deleted = 0, ended = 0;
  (void)version;
  complain(&result);
  for (size_t i = 0; status_is_ok(&result) && i < idle->due_count; i++) {
    const struct due *due = &idle->due[i];
    deleted += due->deleted;
    ended += due->ended;
    if (due->deleted || due->ended > 0)
      idle->options.ended(idle->options.argument, due->uid);
  }
  if (deleted > 0)
    log_event(LOG_LEVEL_INFO, "anonymous accounts that nobody used were deleted", LOG_INT("count", deleted));
  settle(idle, deleted, ended);
}

static void commit(struct idle *idle,
                   status (*resolve)(void *argument, struct kv_reader *reader, kv_version version,
                                     struct kv_batch *batch),
                   void (*done)(void *argument, status result, kv_version version)) {
  pthread_mutex_lock(&idle->mutex);
  idle->busy = true;
  pthread_mutex_unlock(&idle->mutex);
  idle->txn = (struct kv_txn){.resolve = resolve, .done = done, .argument = idle};
  kv_commit(idle->options.store, &idle->txn);
}

/* ---- The time ---- */

static status read_time(struct idle *idle) {
  struct user_view view;
  struct kv_value value = {0};
  time_record *record = NULL;
  STATUS_TRY(user_view_now(idle->options.store, &view));
  STATUS_TRY(kv_get(view.snapshot, KV_SYSTEM, TIME_KEY, &value));
  status result = status_ok();
  if (value.found)
    result =
        stored_decode(&skerry__identity__v1__stored_idle__descriptor, value.bytes, &idle->arena, &record);
  kv_value_release(&value);
  STATUS_TRY(result);
  idle->seen_us = record == NULL ? idle->now_us : record->seen_us;
  idle->spared_until_us = record == NULL ? 0 : record->spared_until_us;
  idle->unsaved = IDLE_SAVE_TICKS;
  idle->knows_time = true;
  return status_ok();
}

static status resolve_time(void *argument, struct kv_reader *reader, kv_version version,
                           struct kv_batch *batch) {
  const struct idle *idle = argument;
  uint8_t bytes[32];
  time_record record = SKERRY__IDENTITY__V1__STORED_IDLE__INIT;
  (void)reader;
  record.seen_us = later(idle->seen_us, version);
  record.spared_until_us = idle->spared_until_us;
  kv_batch_put(batch, KV_SYSTEM, TIME_KEY,
               str_make(bytes, skerry__identity__v1__stored_idle__pack(&record, bytes)));
  return status_ok();
}

static void done_time(void *argument, status result, kv_version version) {
  (void)version;
  complain(&result);
  settle(argument, 0, 0);
}

/* True: a commit is under way. */
static bool keep_time(struct idle *idle) {
  int64_t longest_us = later(idle->options.anonymous_us, idle->options.session_us);
  int64_t gap_us = idle->now_us - idle->seen_us;
  idle->seen_us = later(idle->seen_us, idle->now_us);
  if (gap_us > GAP_US) {
    int64_t until_us = idle->now_us + (gap_us < longest_us ? gap_us : longest_us);
    idle->spared_until_us = later(idle->spared_until_us, until_us);
    idle->unsaved = IDLE_SAVE_TICKS;
  }
  if (++idle->unsaved <= IDLE_SAVE_TICKS)
    return false;
  idle->unsaved = 0;
  commit(idle, resolve_time, done_time);
  return true;
}

/* ---- Steps ---- */

static status step(struct idle *idle) {
  struct user_view view;
  idle->looks = 0;
  idle->due_count = 0;
  arena_reset(&idle->names);
  STATUS_TRY(user_view_now(idle->options.store, &view));
  if (idle->at.len == 0) {
    pthread_mutex_lock(&idle->mutex);
    idle->info.begun++;
    pthread_mutex_unlock(&idle->mutex);
  }
  STATUS_TRY(user_store_walk(&view, &idle->at, IDLE_STEP, &idle->arena, visit, idle));
  if (idle->at.len == 0) {
    pthread_mutex_lock(&idle->mutex);
    idle->info.walks++;
    idle->info.accounts = idle->walked;
    pthread_mutex_unlock(&idle->mutex);
    idle->walked = 0;
    idle->rest = IDLE_REST_TICKS;
  }
  if (idle->due_count > 0)
    commit(idle, resolve_step, done_step);
  return status_ok();
}

void idle_tick(struct idle *idle) {
  bool changes = idle->options.anonymous_us > 0 || idle->options.session_us > 0;
  status result = status_ok();
  if (is_busy(idle))
    return;
  idle->now_us = kv_newest_version(idle->options.store);
  if (changes && !idle->knows_time)
    result = read_time(idle);
  if (!status_is_ok(&result)) {
    complain(&result);
    return;
  }
  if (changes && keep_time(idle))
    return;
  if (idle->rest > 0) {
    idle->rest--;
    return;
  }
  result = step(idle);
  if (!status_is_ok(&result)) { /* it begins anew, after a while */
    complain(&result);
    buf_clear(&idle->at);
    idle->walked = 0;
    idle->rest = IDLE_REST_TICKS / 60;
  }
}
