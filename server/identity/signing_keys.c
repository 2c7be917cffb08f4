/* In the store: "identity/key/" and the id; the value is sealed, with its own key as the place: 8 bytes of
 * the time when it was made (microseconds, big-endian), then the PEM of the private key. */
#include "server/identity/signing_keys.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64url.h"
#include "base/crypto_kdf.h"
#include "base/crypto_seal.h"
#include "base/log.h"
#include "server/tokens/file.h"

#define KIND "identity/key/"
enum { FILE_BYTES = CRYPTO_SEAL_KEY_BYTES, PATH_BYTES_MAX = 4096, TIME_BYTES = 8, PEM_BYTES_MAX = 8192 };
enum { KEY_BYTES = sizeof KIND - 1 + SIGNING_KEY_ID_BYTES };
#define DAY_US (INT64_C(86400) * 1000000)

struct signing_key {
  char id[SIGNING_KEY_ID_BYTES + 1];
  int64_t created_us;
  struct crypto_key *key;
};

struct signing_keys {
  struct signing_keys_options options;
  uint8_t seal_key[CRYPTO_SEAL_KEY_BYTES], refresh_key[REFRESH_TOKEN_KEY_BYTES];
  uint8_t secrets_key[CRYPTO_SEAL_KEY_BYTES];
  pthread_rwlock_t lock; /* the rest; held for the time of a signature, never over the store */
  struct signing_key keys[SIGNING_KEYS_MAX]; /* the oldest first */
  size_t count;
};

static str store_key(const char *id, char out[KEY_BYTES]) {
  memcpy(out, KIND, sizeof KIND - 1);
  memcpy(out + sizeof KIND - 1, id, SIGNING_KEY_ID_BYTES);
  return str_make(out, KEY_BYTES);
}

/* ---- The file ---- */

static status make_file(struct signing_keys *keys, const char *path) {
  crypto_random(keys->seal_key, sizeof keys->seal_key);
  return file_replace(path, str_make(keys->seal_key, sizeof keys->seal_key));
}

static status read_file(struct signing_keys *keys) {
  char path[PATH_BYTES_MAX];
  struct buf content = {0};
  int len = snprintf(path, sizeof path, "%s/identity.key", keys->options.directory);
  if (len < 0 || (size_t)len >= sizeof path)
    return status_make(STATUS_INVALID_ARGUMENT, "The path of the data directory is too long.");
  status result = file_read(path, FILE_BYTES, &content);
  if (result.code == STATUS_NOT_FOUND)
    result = make_file(keys, path);
  else if (status_is_ok(&result) && content.len == FILE_BYTES)
    memcpy(keys->seal_key, content.data, FILE_BYTES);
  else if (status_is_ok(&result))
    result = status_make(STATUS_FAILED_PRECONDITION,
                         "%s is damaged. Restore it, or remove it: then users' tokens have to be refreshed.",
                         path);
  if (content.data != NULL)
    crypto_wipe(content.data, content.len);
  buf_fini(&content);
  crypto_hmac_sha256(str_make(keys->seal_key, sizeof keys->seal_key), STR("refresh tokens"),
                     keys->refresh_key);
  crypto_hmac_sha256(str_make(keys->seal_key, sizeof keys->seal_key), STR("secrets"), keys->secrets_key);
  return result;
}

/* ---- The store ---- */

static bool keep(struct signing_keys *keys, const char *id, int64_t created_us, struct crypto_key *key) {
  pthread_rwlock_wrlock(&keys->lock);
  bool has_room = keys->count < SIGNING_KEYS_MAX;
  if (has_room) {
    size_t at = keys->count++;
    for (; at > 0 && keys->keys[at - 1].created_us > created_us; at--)
      keys->keys[at] = keys->keys[at - 1];
    keys->keys[at] = (struct signing_key){.created_us = created_us, .key = key};
    memcpy(keys->keys[at].id, id, SIGNING_KEY_ID_BYTES);
  }
  pthread_rwlock_unlock(&keys->lock);
  return has_room;
}

/* One that another file's key has sealed is passed over. */
static void read_key(struct signing_keys *keys, str place, str sealed) {
  struct buf opened = {0};
  struct crypto_key *key = NULL;
  if (place.len != KEY_BYTES || !crypto_open(keys->seal_key, place, sealed, &opened) ||
      opened.len < TIME_BYTES) {
    log_event(LOG_LEVEL_WARN, "a key of ID tokens cannot be opened with identity.key",
              LOG_INT("bytes", sealed.len));
  } else {
    uint64_t created = 0;
    for (size_t i = 0; i < TIME_BYTES; i++)
      created = created << 8 | opened.data[i];
    status read = crypto_key_from_private_pem(str_from(buf_str(&opened), TIME_BYTES), &key);
    if (!status_is_ok(&read) || !keep(keys, place.ptr + sizeof KIND - 1, (int64_t)created, key))
      crypto_key_free(status_is_ok(&read) ? key : NULL);
  }
  if (opened.data != NULL)
    crypto_wipe(opened.data, opened.len);
  buf_fini(&opened);
}

static status read_keys(struct signing_keys *keys) {
  kv_snapshot snapshot;
  struct kv_iter *iter;
  STATUS_TRY(kv_snapshot_at(keys->options.store, KV_LATEST, &snapshot));
  STATUS_TRY(kv_iter_open(snapshot, KV_SYSTEM, STR(KIND), STR("identity/key0"), false, &iter));
  while (kv_iter_next(iter))
    read_key(keys, kv_iter_key(iter), kv_iter_value(iter));
  status result = kv_iter_status(iter);
  kv_iter_close(iter);
  return result;
}

struct change {
  str key, value; /* empty: deleted */
};

static status apply(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  const struct change *change = argument;
  (void)reader;
  (void)version;
  if (change->value.len > 0)
    kv_batch_put(batch, KV_SYSTEM, change->key, change->value);
  else
    kv_batch_delete(batch, KV_SYSTEM, change->key);
  return status_ok();
}

static status store(struct signing_keys *keys, str key, str value) {
  struct change change = {key, value};
  struct kv_txn txn = {.resolve = apply, .argument = &change};
  kv_version version;
  return kv_commit_wait(keys->options.store, &txn, &version);
}

/* ---- Making one ---- */

static void id_of(const struct crypto_key *key, char out[SIGNING_KEY_ID_BYTES + 1]) {
  uint8_t digest[CRYPTO_SHA256_BYTES] = {0};
  if (!crypto_key_fingerprint(key, digest))
    crypto_random(digest, sizeof digest);
  for (size_t i = 0; i < SIGNING_KEY_ID_BYTES / 2; i++)
    snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static status seal_and_store(struct signing_keys *keys, const char *id, int64_t now_us,
                             const struct crypto_key *key) {
  char name[KEY_BYTES];
  struct buf plain = {.max_bytes = PEM_BYTES_MAX}, sealed = {0};
  str place = store_key(id, name);
  if (buf_reserve(&plain, PEM_BYTES_MAX)) /* so that it does not move and leave copies */
    for (size_t i = 0; i < TIME_BYTES; i++)
      buf_append_byte(&plain, (uint8_t)((uint64_t)now_us >> (8 * (TIME_BYTES - 1 - i))));
  status result = crypto_key_append_private_pem(key, &plain);
  if (status_is_ok(&result) && !plain.failed)
    crypto_seal(keys->seal_key, place, buf_str(&plain), &sealed);
  if (status_is_ok(&result) && (plain.failed || sealed.failed))
    result = status_default(STATUS_RESOURCE_EXHAUSTED);
  if (status_is_ok(&result))
    result = store(keys, place, buf_str(&sealed));
  if (plain.data != NULL)
    crypto_wipe(plain.data, plain.len);
  buf_fini(&plain);
  buf_fini(&sealed);
  return result;
}

static status make_key(struct signing_keys *keys, int64_t now_us) {
  struct crypto_key *key;
  char id[SIGNING_KEY_ID_BYTES + 1];
  STATUS_TRY(crypto_key_make(keys->options.algorithm, &key));
  id_of(key, id);
  status result = seal_and_store(keys, id, now_us, key);
  if (status_is_ok(&result) && !keep(keys, id, now_us, key))
    result = status_make(STATUS_RESOURCE_EXHAUSTED, "There are too many keys of ID tokens.");
  if (!status_is_ok(&result))
    crypto_key_free(key);
  return result;
}

/* ---- Opening and closing ---- */

/* The newest of the algorithm; with the lock. NULL: none. */
static const struct signing_key *newest(const struct signing_keys *keys) {
  for (size_t i = keys->count; i > 0; i--)
    if (crypto_key_algorithm(keys->keys[i - 1].key) == keys->options.algorithm)
      return &keys->keys[i - 1];
  return NULL;
}

status signing_keys_open(const struct signing_keys_options *options, struct signing_keys **ret) {
  struct signing_keys *keys = calloc(1, sizeof *keys);
  if (keys == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the keys of ID tokens.");
  keys->options = *options;
  pthread_rwlock_init(&keys->lock, NULL);
  status result = read_file(keys);
  if (status_is_ok(&result))
    result = read_keys(keys);
  if (status_is_ok(&result) && newest(keys) == NULL)
    result = make_key(keys, options->port->wall_us(options->port));
  if (status_is_ok(&result))
    *ret = keys;
  else
    signing_keys_close(keys);
  return result;
}

void signing_keys_close(struct signing_keys *keys) {
  if (keys == NULL)
    return;
  for (size_t i = 0; i < keys->count; i++)
    crypto_key_free(keys->keys[i].key);
  pthread_rwlock_destroy(&keys->lock);
  crypto_wipe(keys, sizeof *keys);
  free(keys);
}

/* ---- Rotation ---- */

/* Takes out the oldest key if it is of no use any more: not the newest of its algorithm, and too old. */
static bool take_old(struct signing_keys *keys, int64_t now_us, struct signing_key *ret) {
  bool found = false;
  pthread_rwlock_wrlock(&keys->lock);
  const struct signing_key *current = newest(keys);
  for (size_t i = 0; i < keys->count && !found; i++) {
    int64_t age_us = now_us - keys->keys[i].created_us;
    if (&keys->keys[i] == current || age_us < (SIGNING_KEYS_ROTATE_DAYS + SIGNING_KEYS_OVERLAP_DAYS) * DAY_US)
      continue;
    found = true;
    *ret = keys->keys[i];
    memmove(&keys->keys[i], &keys->keys[i + 1], (keys->count - i - 1) * sizeof keys->keys[0]);
    keys->count--;
  }
  pthread_rwlock_unlock(&keys->lock);
  return found;
}

void signing_keys_tick(struct signing_keys *keys, int64_t now_us) {
  pthread_rwlock_rdlock(&keys->lock);
  const struct signing_key *current = newest(keys);
  bool due = current == NULL || now_us - current->created_us >= SIGNING_KEYS_ROTATE_DAYS * DAY_US;
  pthread_rwlock_unlock(&keys->lock);
  status result = due ? make_key(keys, now_us) : status_ok();
  struct signing_key old;
  char name[KEY_BYTES];
  while (status_is_ok(&result) && take_old(keys, now_us, &old)) {
    result = store(keys, store_key(old.id, name), (str){0});
    crypto_key_free(old.key);
  }
  if (!status_is_ok(&result))
    log_event(LOG_LEVEL_WARN, "the keys of ID tokens could not be rotated",
              LOG_CSTR("error", result.message));
  else if (due)
    log_event(LOG_LEVEL_INFO, "ID tokens are signed with a new key",
              LOG_INT("days", SIGNING_KEYS_ROTATE_DAYS));
}

/* ---- Use ---- */

static const char *algorithm_name(enum crypto_algorithm algorithm) {
  return algorithm == CRYPTO_RS256 ? "RS256" : algorithm == CRYPTO_ES256 ? "ES256" : "EdDSA";
}

status signing_keys_sign(struct signing_keys *keys, str claims, struct buf *out) {
  char header[128];
  struct buf signature = {0};
  pthread_rwlock_rdlock(&keys->lock);
  const struct signing_key *current = newest(keys);
  assert(current != NULL); /* the newest is never taken out */
  int len = snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"JWT\"}",
                     algorithm_name(crypto_key_algorithm(current->key)), current->id);
  size_t start = out->len;
  base64url_append(out, str_make(header, (size_t)len));
  buf_append_byte(out, '.');
  base64url_append(out, claims);
  status result = out->failed ? status_default(STATUS_RESOURCE_EXHAUSTED)
                              : crypto_sign(current->key, str_from(buf_str(out), start), &signature);
  pthread_rwlock_unlock(&keys->lock);
  if (status_is_ok(&result)) {
    buf_append_byte(out, '.');
    base64url_append(out, buf_str(&signature));
    if (out->failed)
      result = status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  buf_fini(&signature);
  return result;
}

bool signing_keys_verify(struct signing_keys *keys, const struct jwt *jwt, bool *ret_good) {
  bool found = false;
  if (jwt->algorithm == JWT_NONE)
    return false;
  pthread_rwlock_rdlock(&keys->lock);
  for (size_t i = 0; i < keys->count && !found; i++) {
    found = str_eq(jwt->key_id, str_from_cstr(keys->keys[i].id));
    if (found)
      *ret_good = crypto_key_algorithm(keys->keys[i].key) == jwt_key_algorithm(jwt) &&
                  jwt_is_signed_by(jwt, keys->keys[i].key);
  }
  pthread_rwlock_unlock(&keys->lock);
  return found;
}

void signing_keys_visit(struct signing_keys *keys,
                        void (*visit)(void *argument, const char *id, const struct crypto_key *key),
                        void *argument) {
  pthread_rwlock_rdlock(&keys->lock);
  for (size_t i = 0; i < keys->count; i++)
    visit(argument, keys->keys[i].id, keys->keys[i].key);
  pthread_rwlock_unlock(&keys->lock);
}

const uint8_t *signing_keys_refresh_key(const struct signing_keys *keys) {
  return keys->refresh_key;
}

void signing_keys_seal(const struct signing_keys *keys, str place, str bytes, struct buf *out) {
  crypto_seal(keys->secrets_key, place, bytes, out);
}

bool signing_keys_unseal(const struct signing_keys *keys, str place, str sealed, struct buf *out) {
  return crypto_open(keys->secrets_key, place, sealed, out);
}
