/* One thread. It sleeps until somebody asks, the schedule says so, or the end; while it makes a backup the
 * mutex is free, and others see how far it is. */
#include "server/backup/backups.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/monotonic_wait.h"

enum { LOOK_INTERVAL_US = 1000 * 1000, PROGRESS_INTERVAL_US = 500 * 1000 };

struct backups {
  struct backups_options options;
  pthread_t thread;
  _Atomic bool stop;
  pthread_mutex_t mutex; /* guards the rest; never held during a backup */
  pthread_cond_t wakes;
  bool has_request; /* from backups_start until its `done` was called */
  struct backups_request request;
  struct backups_facts facts;
  struct schedule_last last;
  int64_t started_us, next_try_us; /* monotonic */
};

/* A backup under way, on the thread. */
struct run {
  struct backups *backups;
  const struct backups_request *request; /* NULL: the schedule's */
  int64_t told_us;
};

static int64_t now_us(const struct backups *backups) {
  return backups->options.port->monotonic_us(backups->options.port);
}

/* ---- Making one ---- */

static bool goes_on(void *argument, const char *what, uint64_t bytes_done, uint64_t bytes_total) {
  struct run *run = argument;
  struct backups *backups = run->backups;
  if (atomic_load(&backups->stop))
    return false;
  pthread_mutex_lock(&backups->mutex);
  snprintf(backups->facts.what, sizeof backups->facts.what, "%s", what);
  backups->facts.bytes_done = bytes_done;
  backups->facts.bytes_total = bytes_total;
  pthread_mutex_unlock(&backups->mutex);
  int64_t now = now_us(backups);
  if (run->request == NULL || now - run->told_us < PROGRESS_INTERVAL_US)
    return true;
  run->told_us = now;
  return run->request->progress(run->request->argument, what, bytes_done, bytes_total);
}

static void note_success(struct backups *backups, const char *directory, const struct archive_made *made,
                         int64_t began_us, int64_t wall_us) {
  struct backups_facts *facts = &backups->facts;
  facts->succeeded++;
  facts->copied_bytes += made->copied_bytes;
  facts->last_success_us = wall_us;
  facts->last_copied_bytes = made->copied_bytes;
  facts->last_duration_us = now_us(backups) - began_us;
  facts->same_medium = made->same_medium;
  facts->problem[0] = '\0';
  if (strcmp(directory, backups->options.directory) != 0)
    return;
  facts->failures = 0;
  backups->last = (struct schedule_last){wall_us, true, began_us};
}

static void note_failure(struct backups *backups, bool is_scheduled, const status *result) {
  struct backups_facts *facts = &backups->facts;
  facts->failed++;
  snprintf(facts->problem, sizeof facts->problem, "%.*s", (int)sizeof facts->problem - 1, result->message);
  if (!is_scheduled)
    return;
  facts->failures++;
  backups->next_try_us = now_us(backups) + schedule_retry_us(facts->failures);
}

static void log_result(const struct run *run, const char *directory, const status *result,
                       const struct archive_made *made) {
  bool is_scheduled = run->request == NULL;
  if (!status_is_ok(result)) {
    log_event(LOG_LEVEL_ERROR,
              is_scheduled ? "the scheduled backup failed, and will be tried again" : "backup failed",
              LOG_CSTR("directory", directory), LOG_CSTR("error", result->message));
    return;
  }
  log_event(LOG_LEVEL_INFO, "backup made and verified", LOG_CSTR("directory", directory),
            LOG_INT("id", made->id), LOG_INT("copied_bytes", made->copied_bytes));
  if (made->same_medium)
    log_event(LOG_LEVEL_WARN, "backups lie on the medium of the data: they do not help when it fails",
              LOG_CSTR("directory", directory));
}

static status make(struct run *run, const char *directory, struct archive_made *ret) {
  const struct backups_options *options = &run->backups->options;
  const struct backups_request *request = run->request;
  bool has_limit = request != NULL && request->limit_bytes_per_second >= 0;
  struct archive_job job = {
      .store = options->store,
      .data = options->data,
      .directory = directory,
      .program = options->program,
      .port = options->port,
      .bytes_per_second = has_limit ? (uint64_t)request->limit_bytes_per_second : options->bytes_per_second,
      .free_space_min_bytes = options->free_space_min_bytes,
      .progress = {goes_on, run},
  };
  return archive_make(&job, ret);
}

static void prune(const struct backups *backups) {
  const struct backups_options *options = &backups->options;
  unsigned deleted = 0;
  status s = archive_prune(options->directory, options->keep, options->age_us,
                           options->port->wall_us(options->port), &deleted);
  if (!status_is_ok(&s))
    log_event(LOG_LEVEL_ERROR, "old backups were not deleted", LOG_CSTR("directory", options->directory),
              LOG_CSTR("error", s.message));
  else if (deleted > 0)
    log_event(LOG_LEVEL_INFO, "old backups deleted", LOG_CSTR("directory", options->directory),
              LOG_INT("count", deleted));
}

/* With the mutex held, and again when it returns. */
static void make_one(struct backups *backups, const struct backups_request *request) {
  struct run run = {.backups = backups, .request = request};
  const char *directory =
      request != NULL && request->directory != NULL ? request->directory : backups->options.directory;
  int64_t began_us = now_us(backups), wall_us = backups->options.port->wall_us(backups->options.port);
  backups->facts.is_running = true;
  snprintf(backups->facts.what, sizeof backups->facts.what, "starting");
  backups->facts.bytes_done = backups->facts.bytes_total = 0;
  pthread_mutex_unlock(&backups->mutex);

  struct archive_made made = {0};
  status s = make(&run, directory, &made);
  log_result(&run, directory, &s, &made);
  if (status_is_ok(&s) && request == NULL)
    prune(backups);

  pthread_mutex_lock(&backups->mutex);
  backups->facts.is_running = false;
  if (status_is_ok(&s))
    note_success(backups, directory, &made, began_us, wall_us);
  else if (!atomic_load(&backups->stop) && !(request != NULL && s.code == STATUS_CANCELLED))
    note_failure(backups, request == NULL, &s);
  if (request == NULL)
    return;
  pthread_mutex_unlock(&backups->mutex);
  request->done(request->argument, directory, s, &made);
  pthread_mutex_lock(&backups->mutex);
}

/* ---- The thread ---- */

static bool is_due(const struct backups *backups) {
  struct port *port = backups->options.port;
  struct schedule_now now = {port->wall_us(port), now_us(backups), backups->started_us};
  return now.monotonic_us >= backups->next_try_us &&
         schedule_is_due(&backups->options.schedule, &backups->last, &now);
}

/* Whoever asked is answered here, since the server waits for all calls before it closes anything. */
static void refuse(struct backups_request *request) {
  struct archive_made made = {0};
  request->done(request->argument, "", status_make(STATUS_UNAVAILABLE, "The server is stopping."), &made);
  free(request->directory);
}

static void *backups_main(void *argument) {
  struct backups *backups = argument;
  pthread_mutex_lock(&backups->mutex);
  while (!atomic_load(&backups->stop)) {
    if (backups->has_request) {
      make_one(backups, &backups->request);
      free(backups->request.directory);
      backups->has_request = false;
    } else if (is_due(backups)) {
      make_one(backups, NULL);
    } else if (backups->options.schedule.kind == SCHEDULE_OFF) {
      pthread_cond_wait(&backups->wakes, &backups->mutex);
    } else {
      monotonic_wait_for(&backups->wakes, &backups->mutex, LOOK_INTERVAL_US);
    }
  }
  bool is_refused = backups->has_request; /* it came in the last moment; there will be no other */
  backups->has_request = false;
  pthread_mutex_unlock(&backups->mutex);
  if (is_refused)
    refuse(&backups->request);
  return NULL;
}

/* ---- The outside ---- */

static void take_newest(void *argument, const struct archive_facts *facts) {
  struct backups *backups = argument;
  if (facts->damage == NULL && facts->time_us > 0)
    backups->facts.last_success_us = backups->last.wall_us = facts->time_us;
}

/* What the directory says of earlier runs. If it cannot be read, the first backup will say why. */
static void look_back(struct backups *backups) {
  if (*backups->options.directory == '\0')
    return;
  status s = archive_visit(backups->options.directory, take_newest, backups);
  if (!status_is_ok(&s) && s.code != STATUS_NOT_FOUND)
    log_event(LOG_LEVEL_WARN, "earlier backups cannot be read",
              LOG_CSTR("directory", backups->options.directory), LOG_CSTR("error", s.message));
}

status backups_open(const struct backups_options *options, struct backups **ret) {
  struct backups *backups = calloc(1, sizeof *backups);
  if (backups == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  backups->options = *options;
  backups->facts.directory = options->directory;
  backups->facts.is_scheduled = options->schedule.kind != SCHEDULE_OFF;
  backups->started_us = now_us(backups);
  look_back(backups);
  monotonic_cond_init(&backups->wakes);
  pthread_mutex_init(&backups->mutex, NULL);
  int error = pthread_create(&backups->thread, NULL, backups_main, backups);
  if (error != 0) {
    pthread_cond_destroy(&backups->wakes);
    pthread_mutex_destroy(&backups->mutex);
    free(backups);
    return status_make(STATUS_RESOURCE_EXHAUSTED, "The thread of backups cannot be started: %s",
                       strerror(error));
  }
  *ret = backups;
  return status_ok();
}

void backups_stop(struct backups *backups) {
  pthread_mutex_lock(&backups->mutex);
  atomic_store(&backups->stop, true);
  pthread_cond_signal(&backups->wakes);
  pthread_mutex_unlock(&backups->mutex);
}

void backups_close(struct backups *backups) {
  if (backups == NULL)
    return;
  backups_stop(backups);
  pthread_join(backups->thread, NULL);
  pthread_cond_destroy(&backups->wakes);
  pthread_mutex_destroy(&backups->mutex);
  free(backups);
}

status backups_start(struct backups *backups, const struct backups_request *request) {
  status s = status_ok();
  pthread_mutex_lock(&backups->mutex);
  if (atomic_load(&backups->stop))
    s = status_make(STATUS_UNAVAILABLE, "The server is stopping.");
  else if (backups->has_request || backups->facts.is_running)
    s = status_make(STATUS_FAILED_PRECONDITION,
                    "A backup is under way: `skerry status` shows how far it is.");
  else if (request->directory == NULL && *backups->options.directory == '\0')
    s = status_make(STATUS_FAILED_PRECONDITION,
                    "Name a directory for the backup: the setting backup_dir does not say one.");
  if (status_is_ok(&s)) {
    backups->request = *request;
    backups->has_request = true;
    pthread_cond_signal(&backups->wakes);
  }
  pthread_mutex_unlock(&backups->mutex);
  return s;
}

void backups_facts(struct backups *backups, struct backups_facts *ret) {
  pthread_mutex_lock(&backups->mutex);
  *ret = backups->facts;
  pthread_mutex_unlock(&backups->mutex);
}
