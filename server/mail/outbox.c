/* The store has what waits, the memory has a line for each: its key and when it is to be tried. One thread
 * takes the first that is due, reads it, has it sent without the mutex, and deletes it or puts it off. A line
 * whose mail was dealt with, but could not be deleted because the store refuses, stays `over`: only the
 * deletion is tried again, so that this process does not send it twice. */
#include "server/mail/outbox.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/monotonic_wait.h"

enum {
  RETRY_FIRST_MS = 1000,
  RETRY_MAX_MS = 5 * 60 * 1000,
  LATER_FIRST_MS = 60 * 1000,
  LATER_MAX_MS = 60 * 60 * 1000,
  STORE_RETRY_MS = 1000,
  LOOK_AGAIN_MS = 60 * 1000, /* the wall clock may have moved */
  DOUBLINGS_MAX = 16,
};
static const char PREFIX[] = "mail/";

struct line {
  uint8_t key[OUTBOX_KEY_BYTES];
  int64_t created_us, expires_us; /* wall clock */
  int64_t due_us;                 /* monotonic */
  size_t bytes;
  unsigned tries; /* that ended with "not now" */
  bool over;
};

struct outbox {
  struct outbox_options options;
  pthread_t thread;
  /* Guarded by the mutex. */
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct line lines[OUTBOX_COUNT_MAX]; /* oldest first */
  unsigned count;
  unsigned reserved;       /* not in lines yet */
  uint64_t bytes;          /* of both */
  unsigned away;           /* failures to reach the other side, in a row */
  int64_t away_until_us;   /* monotonic */
  struct outbox_info info; /* the counts and the problem */
  bool stopping;
};

static int64_t monotonic_us(const struct outbox *outbox) {
  return outbox->options.port->monotonic_us(outbox->options.port);
}

static int64_t wall_us(const struct outbox *outbox) {
  return outbox->options.port->wall_us(outbox->options.port);
}

static int64_t doubled(int64_t first_ms, int64_t most_ms, unsigned failures) {
  unsigned doublings = failures > DOUBLINGS_MAX ? DOUBLINGS_MAX : failures - 1;
  int64_t wait_ms = first_ms << doublings;
  return wait_ms < most_ms ? wait_ms : most_ms;
}

/* ---- Lines; with the mutex held ---- */

static void add_line(struct outbox *outbox, const uint8_t *key, int64_t created_us, int64_t expires_us,
                     size_t bytes) {
  assert(outbox->count < OUTBOX_COUNT_MAX);
  struct line *line = &outbox->lines[outbox->count++];
  *line = (struct line){.created_us = created_us, .expires_us = expires_us, .bytes = bytes};
  line->due_us = monotonic_us(outbox);
  memcpy(line->key, key, OUTBOX_KEY_BYTES);
}

static struct line *find_line(struct outbox *outbox, const uint8_t *key) {
  for (unsigned i = 0; i < outbox->count; i++)
    if (memcmp(outbox->lines[i].key, key, OUTBOX_KEY_BYTES) == 0)
      return &outbox->lines[i];
  return NULL;
}

static void remove_line(struct outbox *outbox, struct line *line) {
  size_t after = (size_t)(outbox->lines + outbox->count - line) - 1;
  outbox->bytes -= line->bytes;
  memmove(line, line + 1, after * sizeof *line);
  outbox->count--;
}

/* Of those that there is something to do for the one that has waited longest since its turn; else when there
 * may be one, in *ret_wait_us. */
static struct line *find_due(struct outbox *outbox, int64_t *ret_wait_us) {
  int64_t now_us = monotonic_us(outbox), wall = wall_us(outbox),
          next_us = now_us + LOOK_AGAIN_MS * INT64_C(1000);
  struct line *first = NULL;
  for (unsigned i = 0; i < outbox->count; i++) {
    struct line *line = &outbox->lines[i];
    bool needs_way = !line->over && line->expires_us > wall;
    int64_t due_us = needs_way && outbox->away_until_us > line->due_us ? outbox->away_until_us : line->due_us;
    if (!needs_way && !line->over)
      due_us = now_us; /* it has expired */
    if (due_us <= now_us && (first == NULL || line->due_us < first->due_us))
      first = line;
    next_us = due_us < next_us ? due_us : next_us;
  }
  *ret_wait_us = next_us - now_us;
  return first;
}

/* ---- The thread ---- */

static status resolve_delete(void *argument, struct kv_reader *reader, kv_version version,
                             struct kv_batch *batch) {
  (void)reader, (void)version;
  kv_batch_delete(batch, KV_SYSTEM, str_make(argument, OUTBOX_KEY_BYTES));
  return status_ok();
}

/* Deletes what was dealt with. Without the mutex. */
static void delete_mail(struct outbox *outbox, uint8_t *key) {
  struct kv_txn txn = {.resolve = resolve_delete, .argument = key};
  kv_version version;
  status result = kv_commit_wait(outbox->options.store, &txn, &version);
  pthread_mutex_lock(&outbox->mutex);
  struct line *line = find_line(outbox, key);
  assert(line != NULL); /* only this thread removes lines */
  if (status_is_ok(&result)) {
    remove_line(outbox, line);
  } else {
    line->over = true;
    line->due_us = monotonic_us(outbox) + STORE_RETRY_MS * INT64_C(1000);
  }
  pthread_mutex_unlock(&outbox->mutex);
}

/* Neither to whom nor what: ids are in the mail's own headers. */
static void log_dropped(const char *why, const struct mail_record *record, const char *reason) {
  log_event(LOG_LEVEL_WARN, why, LOG_STR("mail", record->id), LOG_CSTR("kind", mail_kind_name(record->kind)),
            LOG_CSTR("reason", reason));
}

/* What becomes of the line. True: the mail is dealt with. */
static bool take_result(struct outbox *outbox, const uint8_t *key, enum mail_result result,
                        const char *reason) {
  bool over = result == MAIL_SENT || result == MAIL_REFUSED;
  pthread_mutex_lock(&outbox->mutex);
  struct line *line = find_line(outbox, key);
  assert(line != NULL);
  const struct outbox_options *options = &outbox->options;
  int64_t now_us = monotonic_us(outbox);
  outbox->info.tries++;
  outbox->info.sent += result == MAIL_SENT;
  outbox->info.refused += result == MAIL_REFUSED;
  snprintf(outbox->info.problem, sizeof outbox->info.problem, "%s", reason);
  if (result == MAIL_AWAY) {
    outbox->away++;
    outbox->away_until_us =
        now_us + doubled(options->retry_first_ms, options->retry_max_ms, outbox->away) * 1000;
    line->due_us = now_us; /* after the others: it may be this one that the other side hangs up at */
  } else {
    outbox->away = 0;
    outbox->away_until_us = 0;
  }
  if (result == MAIL_LATER) {
    int64_t first_ms = options->retry_first_ms * (LATER_FIRST_MS / RETRY_FIRST_MS);
    line->tries++;
    line->due_us = now_us + doubled(first_ms, LATER_MAX_MS, line->tries) * 1000;
  }
  unsigned away = outbox->away;
  bool stopping = outbox->stopping;
  pthread_mutex_unlock(&outbox->mutex);
  if (result == MAIL_AWAY && away == 1 && !stopping) /* once for each time that the way is gone */
    log_event(LOG_LEVEL_WARN, "mails cannot be sent, and wait", LOG_CSTR("reason", reason));
  return over;
}

static void send_one(struct outbox *outbox, uint8_t *key, str bytes) {
  struct mail_record record;
  char reason[256] = "";
  if (!mail_record_decode(bytes, &record)) {
    log_event(LOG_LEVEL_ERROR, "a mail in the outbox is damaged and dropped", LOG_INT("bytes", bytes.len));
    delete_mail(outbox, key);
    return;
  }
  if (record.expires_us <= wall_us(outbox)) {
    log_dropped("a mail was not sent in time", &record, "its code has expired");
    pthread_mutex_lock(&outbox->mutex);
    outbox->info.expired++;
    pthread_mutex_unlock(&outbox->mutex);
    delete_mail(outbox, key);
    return;
  }
  enum mail_result result =
      outbox->options.sender.send(outbox->options.sender.argument, &record, reason, sizeof reason);
  if (result == MAIL_REFUSED)
    log_dropped("a mail was refused and is dropped", &record, reason);
  if (take_result(outbox, key, result, reason))
    delete_mail(outbox, key);
}

/* A copy, so that nothing of the store's is held while it is sent. */
static status read_mail(struct outbox *outbox, const uint8_t *key, struct buf *ret, bool *ret_found) {
  kv_snapshot snapshot;
  struct kv_value value = {0};
  STATUS_TRY(kv_snapshot_at(outbox->options.store, KV_LATEST, &snapshot));
  STATUS_TRY(kv_get(snapshot, KV_SYSTEM, str_make(key, OUTBOX_KEY_BYTES), &value));
  *ret_found = value.found;
  buf_append_str(ret, value.bytes);
  kv_value_release(&value);
  return ret->failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

static void put_off(struct outbox *outbox, const uint8_t *key) {
  pthread_mutex_lock(&outbox->mutex);
  struct line *line = find_line(outbox, key);
  assert(line != NULL);
  line->due_us = monotonic_us(outbox) + STORE_RETRY_MS * INT64_C(1000);
  pthread_mutex_unlock(&outbox->mutex);
}

/* Without the mutex. */
static void work_on(struct outbox *outbox, uint8_t *key, bool over) {
  struct buf bytes = {0};
  bool found = false;
  status result = over ? status_ok() : read_mail(outbox, key, &bytes, &found);
  if (!status_is_ok(&result))
    put_off(outbox, key); /* the store is opening again, say */
  else if (found)
    send_one(outbox, key, buf_str(&bytes));
  else
    delete_mail(outbox, key);
  buf_fini(&bytes);
}

static void *run(void *argument) {
  struct outbox *outbox = argument;
  pthread_mutex_lock(&outbox->mutex);
  while (!outbox->stopping) {
    int64_t wait_us;
    struct line *line = find_due(outbox, &wait_us);
    if (line == NULL) {
      monotonic_wait_for(&outbox->changed, &outbox->mutex, wait_us);
      continue;
    }
    uint8_t key[OUTBOX_KEY_BYTES];
    bool over = line->over;
    memcpy(key, line->key, sizeof key);
    pthread_mutex_unlock(&outbox->mutex);
    work_on(outbox, key, over);
    pthread_mutex_lock(&outbox->mutex);
  }
  pthread_mutex_unlock(&outbox->mutex);
  return NULL;
}

/* ---- Opening and closing ---- */

static status read_waiting(struct outbox *outbox) {
  kv_snapshot snapshot;
  struct kv_iter *iter;
  STATUS_TRY(kv_snapshot_at(outbox->options.store, KV_LATEST, &snapshot));
  STATUS_TRY(kv_iter_open(snapshot, KV_SYSTEM, STR("mail/"), STR("mail0"), false, &iter));
  while (kv_iter_next(iter) && outbox->count < OUTBOX_COUNT_MAX) {
    str key = kv_iter_key(iter), value = kv_iter_value(iter);
    struct mail_record record = {0}; /* a damaged one has expired */
    if (key.len != OUTBOX_KEY_BYTES)
      continue;
    mail_record_decode(value, &record);
    outbox->bytes += value.len;
    add_line(outbox, (const uint8_t *)key.ptr, record.created_us, record.expires_us, value.len);
  }
  status result = kv_iter_status(iter);
  kv_iter_close(iter);
  return result;
}

static void free_outbox(struct outbox *outbox) {
  pthread_cond_destroy(&outbox->changed);
  pthread_mutex_destroy(&outbox->mutex);
  free(outbox);
}

status outbox_open(const struct outbox_options *options, struct outbox **ret) {
  struct outbox *outbox = calloc(1, sizeof *outbox);
  if (outbox == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the outbox of mails.");
  outbox->options = *options;
  if (options->retry_first_ms == 0)
    outbox->options.retry_first_ms = RETRY_FIRST_MS;
  if (options->retry_max_ms == 0)
    outbox->options.retry_max_ms = RETRY_MAX_MS;
  monotonic_cond_init(&outbox->changed);
  pthread_mutex_init(&outbox->mutex, NULL);
  status result = read_waiting(outbox);
  if (status_is_ok(&result) && pthread_create(&outbox->thread, NULL, run, outbox) != 0)
    result = status_make(STATUS_RESOURCE_EXHAUSTED, "The system gives no thread for the outbox of mails.");
  if (status_is_ok(&result))
    *ret = outbox;
  else
    free_outbox(outbox);
  return result;
}

void outbox_stop(struct outbox *outbox) {
  pthread_mutex_lock(&outbox->mutex);
  outbox->stopping = true;
  pthread_cond_broadcast(&outbox->changed);
  pthread_mutex_unlock(&outbox->mutex);
}

void outbox_close(struct outbox *outbox) {
  if (outbox == NULL)
    return;
  outbox_stop(outbox);
  pthread_join(outbox->thread, NULL);
  assert(outbox->reserved == 0);
  free_outbox(outbox);
}

/* ---- Mails ---- */

static void make_id(char ret[MAIL_ID_BYTES]) {
  static const char digits[] = "0123456789abcdef";
  uint8_t bytes[MAIL_ID_BYTES / 2];
  crypto_random(bytes, sizeof bytes);
  for (unsigned i = 0; i < MAIL_ID_BYTES; i++)
    ret[i] = digits[bytes[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
}

static status take_place(struct outbox *outbox, size_t bytes) {
  status result = status_ok();
  pthread_mutex_lock(&outbox->mutex);
  if (outbox->stopping)
    result = status_make(STATUS_UNAVAILABLE, "The server is stopping.");
  else if (outbox->count + outbox->reserved >= OUTBOX_COUNT_MAX || outbox->bytes + bytes > OUTBOX_BYTES_MAX)
    result =
        status_make(STATUS_RESOURCE_EXHAUSTED, "Too many mails wait to be sent. Please try again later.");
  if (status_is_ok(&result)) {
    outbox->reserved++;
    outbox->bytes += bytes;
  }
  pthread_mutex_unlock(&outbox->mutex);
  return result;
}

status outbox_reserve(struct outbox *outbox, const struct mail_record *record, struct outbox_item *ret) {
  struct outbox_item item = {.outbox = outbox};
  struct mail_record complete = *record;
  char id[MAIL_ID_BYTES];
  make_id(id);
  complete.id = str_make(id, sizeof id);
  complete.created_us = wall_us(outbox);
  mail_record_encode(&complete, &item.record);
  status result = status_ok();
  if (item.record.failed)
    result = status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the mail.");
  else if (item.record.len > MAIL_RECORD_BYTES_MAX)
    result = status_make(STATUS_INVALID_ARGUMENT, "The mail is too long.");
  else
    result = take_place(outbox, item.record.len);
  if (!status_is_ok(&result)) {
    buf_fini(&item.record);
    return result;
  }
  memcpy(item.key, PREFIX, sizeof PREFIX - 1);
  for (unsigned i = 0; i < 8; i++)
    item.key[sizeof PREFIX - 1 + i] = (uint8_t)((uint64_t)complete.created_us >> 8 * (7 - i));
  memcpy(item.key + sizeof PREFIX - 1 + 8, id, sizeof id);
  *ret = item;
  return result;
}

void outbox_item_put(const struct outbox_item *item, struct kv_batch *batch) {
  if (item->outbox != NULL)
    kv_batch_put(batch, KV_SYSTEM, str_make(item->key, sizeof item->key), buf_str(&item->record));
}

void outbox_committed(struct outbox_item *item) {
  struct outbox *outbox = item->outbox;
  struct mail_record record = {0};
  if (outbox == NULL)
    return;
  bool decoded = mail_record_decode(buf_str(&item->record), &record);
  assert(decoded);
  pthread_mutex_lock(&outbox->mutex);
  outbox->reserved--;
  add_line(outbox, item->key, record.created_us, record.expires_us, item->record.len);
  pthread_cond_broadcast(&outbox->changed);
  pthread_mutex_unlock(&outbox->mutex);
  buf_fini(&item->record);
  *item = (struct outbox_item){0};
}

void outbox_abandon(struct outbox_item *item) {
  struct outbox *outbox = item->outbox;
  if (outbox == NULL)
    return;
  pthread_mutex_lock(&outbox->mutex);
  outbox->reserved--;
  outbox->bytes -= item->record.len;
  pthread_mutex_unlock(&outbox->mutex);
  buf_fini(&item->record);
  *item = (struct outbox_item){0};
}

void outbox_info(struct outbox *outbox, struct outbox_info *ret) {
  pthread_mutex_lock(&outbox->mutex);
  *ret = outbox->info;
  ret->waiting = outbox->count;
  ret->waiting_bytes = outbox->bytes;
  ret->oldest_us = outbox->count > 0 ? outbox->lines[0].created_us : 0;
  pthread_mutex_unlock(&outbox->mutex);
}
