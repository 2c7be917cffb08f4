#include "server/tokens/issuers.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "net/url.h"
#include "server/tokens/issuer_file.h"

enum { ARENA_BYTES_MAX = 256 * 1024, SECOND_US = 1000000 };

static const int64_t NEVER_US = INT64_MIN;

struct issuer {
  /* Guarded by the mutex. */
  struct key_set *keys; /* NULL: never fetched */
  int64_t fetched_wall_us;
  int64_t due_us, attempted_us, succeeded_us; /* monotonic */
  unsigned failures;
  uint64_t requests;
  char problem[256];
  /* Of the thread that works for it. */
  struct buf keys_url; /* where the keys are; empty: to be discovered */
  bool discovered;     /* since the start or the last failure */
};

struct issuers {
  struct issuers_options options;
  struct arena arena; /* of the settings */
  struct issuer_setting settings[ISSUERS_MAX];
  pthread_mutex_t mutex;
  struct issuer issuers[ISSUERS_MAX];
};

static int64_t monotonic_us(const struct issuers *issuers) {
  return issuers->options.port->monotonic_us(issuers->options.port);
}

/* ---- Opening ---- */

static bool copy_text(struct arena *arena, str *text) {
  *text = arena_str_copy(arena, *text);
  return text->ptr != NULL;
}

static bool copy_setting(struct issuers *issuers, const struct issuer_setting *from,
                         struct issuer_setting *to) {
  *to = *from;
  bool good = copy_text(&issuers->arena, &to->url) && copy_text(&issuers->arena, &to->project) &&
              copy_text(&issuers->arena, &to->keys_url) && copy_text(&issuers->arena, &to->provider);
  for (size_t i = 0; i < to->audience_count; i++)
    good = good && copy_text(&issuers->arena, &to->audiences[i]);
  return good;
}

static void read_file(struct issuers *issuers, size_t index) {
  struct issuer *issuer = &issuers->issuers[index];
  str url = issuers->settings[index].url;
  struct issuer_file file = {0};
  status result = issuer_file_read(issuers->options.directory, url, &file);
  if (status_is_ok(&result))
    result = key_set_parse(buf_str(&file.document), &issuer->keys);
  if (status_is_ok(&result)) {
    issuer->fetched_wall_us = file.fetched_us;
    if (issuers->settings[index].keys_url.len == 0)
      buf_append_str(&issuer->keys_url, buf_str(&file.keys_url));
  } else if (result.code != STATUS_NOT_FOUND) {
    log_event(LOG_LEVEL_WARN, "the kept keys of an issuer cannot be used", LOG_STR("issuer", url),
              LOG_CSTR("reason", result.message));
  }
  issuer_file_fini(&file);
}

status issuers_open(const struct issuers_options *options, struct issuers **ret) {
  assert(options->count <= ISSUERS_MAX);
  struct issuers *issuers = calloc(1, sizeof *issuers);
  if (issuers == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the issuers.");
  issuers->options = *options;
  pthread_mutex_init(&issuers->mutex, NULL);
  arena_init(&issuers->arena, NULL, 0, ARENA_BYTES_MAX);
  str directory = arena_printf(&issuers->arena, "%s", options->directory);
  issuers->options.directory = directory.ptr;
  bool good = directory.ptr != NULL;
  int64_t now_us = monotonic_us(issuers);
  for (size_t i = 0; i < options->count; i++) {
    struct issuer *issuer = &issuers->issuers[i];
    good = good && copy_setting(issuers, &options->settings[i], &issuers->settings[i]);
    if (!good)
      break;
    issuer->due_us = now_us; /* also with keys from disk: they may be weeks old */
    issuer->attempted_us = issuer->succeeded_us = NEVER_US;
    buf_append_str(&issuer->keys_url, issuers->settings[i].keys_url);
    read_file(issuers, i);
  }
  if (good) {
    *ret = issuers;
    return status_ok();
  }
  issuers_close(issuers);
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the issuers.");
}

void issuers_close(struct issuers *issuers) {
  if (issuers == NULL)
    return;
  for (size_t i = 0; i < ISSUERS_MAX; i++) {
    key_set_unref(issuers->issuers[i].keys);
    buf_fini(&issuers->issuers[i].keys_url);
  }
  arena_fini(&issuers->arena);
  pthread_mutex_destroy(&issuers->mutex);
  free(issuers);
}

size_t issuers_count(const struct issuers *issuers) {
  return issuers->options.count;
}

size_t issuers_index(const struct issuers *issuers, str issuer) {
  for (size_t i = 0; i < issuers->options.count; i++)
    if (str_eq(issuers->settings[i].url, issuer))
      return i;
  return ISSUERS_MAX;
}

const struct issuer_setting *issuers_setting(const struct issuers *issuers, size_t index) {
  assert(index < issuers->options.count);
  return &issuers->settings[index];
}

/* ---- Finding ---- */

static bool passed(int64_t since_us, int64_t now_us, int64_t seconds) {
  return since_us == NEVER_US || now_us - since_us >= seconds * SECOND_US;
}

/* Whether a request is made because of an unknown key. With the mutex held. */
static bool hasten(struct issuer *issuer, int64_t now_us) {
  if (!passed(issuer->attempted_us, now_us, ISSUERS_EARLY_REFRESH_S) || issuer->due_us <= now_us)
    return false;
  issuer->due_us = now_us;
  return true;
}

status issuers_find(struct issuers *issuers, size_t index, str key_id, enum crypto_algorithm algorithm,
                    struct key_set **ret_set, const struct crypto_key **ret_key) {
  assert(index < issuers->options.count);
  struct issuer *issuer = &issuers->issuers[index];
  int64_t now_us = monotonic_us(issuers);
  bool wake = false, fresh = false;
  pthread_mutex_lock(&issuers->mutex);
  struct key_set *set = issuer->keys == NULL ? NULL : key_set_ref(issuer->keys);
  const struct crypto_key *key = set == NULL ? NULL : key_set_find(set, key_id, algorithm);
  if (set != NULL && key == NULL) {
    fresh = !passed(issuer->succeeded_us, now_us, ISSUERS_EARLY_REFRESH_S);
    wake = hasten(issuer, now_us);
  }
  pthread_mutex_unlock(&issuers->mutex);
  if (wake && issuers->options.wake != NULL)
    issuers->options.wake(issuers->options.argument);
  if (key != NULL) {
    *ret_set = set;
    *ret_key = key;
    return status_ok();
  }
  key_set_unref(set);
  if (set == NULL)
    return status_make(STATUS_UNAVAILABLE,
                       "This server could not fetch the keys of the token's issuer yet, so "
                       "it cannot check tokens of it. Try again later.");
  if (fresh)
    return status_make(STATUS_UNAUTHENTICATED,
                       "The token is refused: it is signed with a key that its issuer does not have.");
  return status_make(STATUS_UNAVAILABLE,
                     "The token is signed with a key that is not known here yet. The keys "
                     "of its issuer are being fetched. Try again.");
}

/* ---- Fetching ---- */

static status fetch(struct issuers *issuers, struct issuer *issuer, const char *url, struct buf *body,
                    int64_t *ret_lifetime_s) {
  pthread_mutex_lock(&issuers->mutex);
  issuer->requests++;
  pthread_mutex_unlock(&issuers->mutex);
  return issuers->options.fetcher.get(issuers->options.fetcher.argument, url, body, ret_lifetime_s);
}

static status discover(struct issuers *issuers, size_t index) {
  struct issuer *issuer = &issuers->issuers[index];
  const struct issuer_setting *setting = &issuers->settings[index];
  struct buf url = {0}, body = {0}, keys_url = {0};
  int64_t lifetime_s;
  size_t len = setting->url.len;
  while (len > 0 && setting->url.ptr[len - 1] == '/')
    len--;
  buf_append(&url, setting->url.ptr, len);
  buf_append_str(&url, STR("/.well-known/openid-configuration"));
  buf_append_byte(&url, '\0');
  status result = url.failed ? status_default(STATUS_RESOURCE_EXHAUSTED)
                             : fetch(issuers, issuer, (const char *)url.data, &body, &lifetime_s);
  if (status_is_ok(&result))
    result = discovery_parse(buf_str(&body), setting->url, &keys_url);
  struct url parsed, own;
  if (status_is_ok(&result) && (!url_parse(buf_str(&keys_url), &parsed) || !url_parse(setting->url, &own) ||
                                !url_same_origin(&parsed, &own)))
    result = status_make(STATUS_INVALID_ARGUMENT,
                         "The issuer has its keys on another host (" STR_FMT
                         "). If that is right, add keys=URL to the setting.",
                         STR_ARG(buf_str(&keys_url)));
  if (status_is_ok(&result)) {
    buf_fini(&issuer->keys_url);
    issuer->keys_url = keys_url;
    issuer->discovered = true;
  } else {
    buf_fini(&keys_url);
  }
  buf_fini(&url);
  buf_fini(&body);
  return result;
}

static int64_t bounded_lifetime_s(int64_t lifetime_s) {
  return lifetime_s < ISSUERS_LIFETIME_MIN_S   ? ISSUERS_LIFETIME_MIN_S
         : lifetime_s > ISSUERS_LIFETIME_MAX_S ? ISSUERS_LIFETIME_MAX_S
                                               : lifetime_s;
}

static int64_t retry_s(unsigned failures) {
  int64_t wait_s = ISSUERS_RETRY_FIRST_S;
  for (unsigned i = 1; i < failures && wait_s < ISSUERS_RETRY_MAX_S; i++)
    wait_s *= 2;
  return wait_s < ISSUERS_RETRY_MAX_S ? wait_s : ISSUERS_RETRY_MAX_S;
}

/* Takes the set. Whether it differs from what was there. */
static bool put_keys(struct issuers *issuers, struct issuer *issuer, struct key_set *set,
                     int64_t lifetime_s) {
  int64_t now_us = monotonic_us(issuers), wall_us = issuers->options.port->wall_us(issuers->options.port);
  pthread_mutex_lock(&issuers->mutex);
  struct key_set *old = issuer->keys;
  bool differs = old == NULL || !key_set_equal(old, set);
  issuer->keys = set;
  issuer->fetched_wall_us = wall_us;
  issuer->succeeded_us = now_us;
  issuer->due_us = now_us + bounded_lifetime_s(lifetime_s) * SECOND_US / 5 * 4;
  issuer->failures = 0;
  issuer->problem[0] = '\0';
  pthread_mutex_unlock(&issuers->mutex);
  key_set_unref(old);
  return differs;
}

static void keep_on_disk(struct issuers *issuers, size_t index, const struct buf *document) {
  struct issuer *issuer = &issuers->issuers[index];
  struct issuer_file file = {issuer->keys_url, *document, issuer->fetched_wall_us}; /* borrowed */
  status result = issuer_file_write(issuers->options.directory, issuers->settings[index].url, &file);
  if (!status_is_ok(&result)) /* they work until the next restart */
    log_event(LOG_LEVEL_WARN, "the keys of an issuer cannot be kept on disk",
              LOG_STR("issuer", issuers->settings[index].url), LOG_CSTR("reason", result.message));
}

static status refresh(struct issuers *issuers, size_t index) {
  struct issuer *issuer = &issuers->issuers[index];
  if (issuers->settings[index].keys_url.len == 0 && !issuer->discovered)
    STATUS_TRY(discover(issuers, index));
  struct buf url = {0}, body = {0};
  int64_t lifetime_s = -1;
  struct key_set *set = NULL;
  buf_append_str(&url, buf_str(&issuer->keys_url));
  buf_append_byte(&url, '\0');
  status result = url.failed ? status_default(STATUS_RESOURCE_EXHAUSTED)
                             : fetch(issuers, issuer, (const char *)url.data, &body, &lifetime_s);
  if (status_is_ok(&result))
    result = key_set_parse(buf_str(&body), &set);
  if (status_is_ok(&result)) {
    size_t count = key_set_count(set);
    bool differs = put_keys(issuers, issuer, set, lifetime_s);
    if (differs && issuers->options.changed != NULL)
      issuers->options.changed(issuers->options.argument); /* before the disk: it may take its time */
    if (differs)
      log_event(LOG_LEVEL_INFO, "an issuer's keys are new", LOG_STR("issuer", issuers->settings[index].url),
                LOG_INT("keys", count));
    keep_on_disk(issuers, index, &body);
  }
  buf_fini(&url);
  buf_fini(&body);
  return result;
}

static void failed(struct issuers *issuers, size_t index, const status *result) {
  struct issuer *issuer = &issuers->issuers[index];
  issuer->discovered = false;
  int64_t now_us = monotonic_us(issuers);
  pthread_mutex_lock(&issuers->mutex);
  unsigned failures = ++issuer->failures;
  issuer->due_us = now_us + retry_s(failures) * SECOND_US;
  size_t len = strnlen(result->message, sizeof issuer->problem - 1);
  memcpy(issuer->problem, result->message, len);
  issuer->problem[len] = '\0';
  bool known = issuer->keys != NULL;
  pthread_mutex_unlock(&issuers->mutex);
  if ((failures & (failures - 1)) == 0) /* the first, second, fourth, eighth... */
    log_event(known ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "an issuer's keys cannot be fetched",
              LOG_STR("issuer", issuers->settings[index].url), LOG_CSTR("reason", result->message),
              LOG_INT("failures", failures), LOG_CSTR("meanwhile", known ? "the known keys stay" : "none"));
}

int64_t issuers_work(struct issuers *issuers, size_t index) {
  assert(index < issuers->options.count);
  struct issuer *issuer = &issuers->issuers[index];
  int64_t now_us = monotonic_us(issuers);
  pthread_mutex_lock(&issuers->mutex);
  bool due = issuer->due_us <= now_us;
  if (due)
    issuer->attempted_us = now_us;
  pthread_mutex_unlock(&issuers->mutex);
  if (due) {
    status result = refresh(issuers, index);
    if (!status_is_ok(&result))
      failed(issuers, index, &result);
  }
  pthread_mutex_lock(&issuers->mutex);
  int64_t next_us = issuer->due_us;
  pthread_mutex_unlock(&issuers->mutex);
  return next_us;
}

void issuers_info(struct issuers *issuers, size_t index, struct issuers_info *ret) {
  assert(index < issuers->options.count);
  const struct issuer *issuer = &issuers->issuers[index];
  pthread_mutex_lock(&issuers->mutex);
  *ret = (struct issuers_info){.url = issuers->settings[index].url.ptr,
                               .keys = issuer->keys == NULL ? 0 : key_set_count(issuer->keys),
                               .fetched_us = issuer->fetched_wall_us,
                               .requests = issuer->requests,
                               .failures = issuer->failures};
  memcpy(ret->problem, issuer->problem, sizeof ret->problem);
  pthread_mutex_unlock(&issuers->mutex);
}
