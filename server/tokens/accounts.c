#include "server/tokens/accounts.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/tokens/file.h"
#include "server/tokens/json.h"

enum { PATH_BYTES_MAX = 4096, FILE_BYTES_MAX = 4 * 1024 * 1024, FILE_DEPTH_MAX = 4, FILE_FORMAT = 1 };

struct accounts {
  char path[PATH_BYTES_MAX];
  pthread_mutex_t change; /* held by who changes, over the writing of the file; taken before `mutex` */
  pthread_mutex_t mutex;  /* guards what is below */
  struct account_key *keys[ACCOUNTS_KEYS_MAX];
  size_t count;
};

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for service accounts.");
}

static status invalid(const char *what) {
  return status_make(STATUS_INVALID_ARGUMENT, "The service account cannot be made: %s.", what);
}

struct account_key *account_key_ref(struct account_key *key) {
  atomic_fetch_add_explicit(&key->references, 1, memory_order_relaxed);
  return key;
}

void account_key_unref(struct account_key *key) {
  if (key == NULL || atomic_fetch_sub_explicit(&key->references, 1, memory_order_acq_rel) != 1)
    return;
  crypto_key_free(key->key);
  free(key);
}

/* ---- One key ---- */

static bool has_only(str text, const char *others) {
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i];
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && (c == '\0' || strchr(others, c) == NULL))
      return false;
  }
  return true;
}

static status check_request(const struct account_request *request) {
  str name = request->name, project = request->project;
  if (name.len == 0 || name.len > ACCOUNTS_NAME_BYTES_MAX || !has_only(name, "-") || name.ptr[0] < 'a' ||
      name.ptr[0] > 'z')
    return invalid("its name has 1 to 30 of a-z, 0-9 and -, and begins with a letter");
  if (project.len == 0 || project.len > ACCOUNTS_PROJECT_BYTES_MAX || !has_only(project, "-.:"))
    return invalid("its project is no project id");
  if (request->role == IDENTITY_ROLE_NONE)
    return invalid("its role is one of viewer, editor and owner");
  if (request->expires_s != 0 && request->expires_s <= request->created_s)
    return invalid("it would have expired already");
  return status_ok();
}

static bool set_id(struct account_key *key) {
  uint8_t fingerprint[CRYPTO_SHA256_BYTES];
  if (!crypto_key_fingerprint(key->key, fingerprint))
    return false;
  for (size_t i = 0; i < ACCOUNTS_KEY_ID_BYTES / 2; i++)
    snprintf(key->id + 2 * i, 3, "%02x", fingerprint[i]);
  return true;
}

static status make_key(const struct account_request *request, struct account_key **ret) {
  STATUS_TRY(check_request(request));
  struct account_key *key = calloc(1, sizeof *key);
  if (key == NULL)
    return no_memory();
  atomic_init(&key->references, 1);
  key->role = request->role;
  key->created_s = request->created_s;
  key->expires_s = request->expires_s;
  snprintf(key->name, sizeof key->name, STR_FMT, STR_ARG(request->name));
  snprintf(key->project, sizeof key->project, STR_FMT, STR_ARG(request->project));
  snprintf(key->email, sizeof key->email, "%s@%s%s", key->name, key->project, ACCOUNTS_EMAIL_SUFFIX);
  status result = crypto_key_from_public_pem(request->public_pem, &key->key);
  if (status_is_ok(&result) && crypto_key_algorithm(key->key) != CRYPTO_RS256)
    result = invalid("its key is not an RSA key, which is what client libraries sign with");
  if (status_is_ok(&result) && !set_id(key))
    result = no_memory();
  if (status_is_ok(&result))
    *ret = key;
  else
    account_key_unref(key);
  return result;
}

/* ---- The file ---- */

static json_t *json_of(const struct account_key *key) {
  struct buf pem = {0};
  status result = crypto_key_append_public_pem(key->key, &pem);
  json_t *json = status_is_ok(&result)
                     ? json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s%}", "id", key->id, "name", key->name,
                                 "project", key->project, "role", identity_role_name(key->role), "created_s",
                                 (json_int_t)key->created_s, "expires_s", (json_int_t)key->expires_s,
                                 "public_key", (const char *)pem.data, pem.len)
                     : NULL;
  buf_fini(&pem);
  return json;
}

static status write_file(const char *path, struct account_key *const *keys, size_t count) {
  json_t *list = json_array();
  bool good = list != NULL;
  for (size_t i = 0; good && i < count; i++)
    good = json_array_append_new(list, json_of(keys[i])) == 0;
  json_t *json = good ? json_pack("{s:i, s:O}", "format", FILE_FORMAT, "keys", list) : NULL;
  char *text = json == NULL ? NULL : json_dumps(json, JSON_INDENT(1));
  json_decref(json);
  json_decref(list);
  if (text == NULL)
    return no_memory();
  status result = file_replace(path, str_from_cstr(text));
  free(text);
  return result;
}

static status damaged(const char *path) {
  return status_make(
      STATUS_FAILED_PRECONDITION,
      "The keys of service accounts in %s cannot be read. Put a copy of the file back, or move "
      "it away and make new keys.",
      path);
}

static status read_key(const json_t *json, const char *path, struct account_key **ret) {
  struct account_request request = {0};
  str id, role;
  const json_t *created = json_object_get(json, "created_s"), *expires = json_object_get(json, "expires_s");
  if (!json_object_get_str(json, "id", &id) || !json_object_get_str(json, "name", &request.name) ||
      !json_object_get_str(json, "project", &request.project) || !json_object_get_str(json, "role", &role) ||
      !json_object_get_str(json, "public_key", &request.public_pem) || !json_is_integer(created) ||
      !json_is_integer(expires) || !identity_role_parse(role, &request.role))
    return damaged(path);
  request.created_s = (int64_t)json_integer_value(created);
  request.expires_s = (int64_t)json_integer_value(expires);
  struct account_key *key;
  status result = make_key(&request, &key);
  if (!status_is_ok(&result))
    return result.code == STATUS_INVALID_ARGUMENT ? damaged(path) : result;
  if (!str_eq(id, str_from_cstr(key->id))) {
    account_key_unref(key);
    return damaged(path);
  }
  *ret = key;
  return status_ok();
}

static status read_keys(struct accounts *accounts, str text) {
  json_t *json = json_object_parse(text, FILE_DEPTH_MAX);
  const json_t *list = json_object_get(json, "keys"), *format = json_object_get(json, "format"), *item;
  size_t i;
  status result = status_ok();
  if (!json_is_array(list) || json_integer_value(format) != FILE_FORMAT ||
      json_array_size(list) > ACCOUNTS_KEYS_MAX)
    result = damaged(accounts->path);
  json_array_foreach(list, i, item) {
    if (status_is_ok(&result))
      result = read_key(item, accounts->path, &accounts->keys[i]);
    if (!status_is_ok(&result))
      break;
    accounts->count++;
  }
  json_decref(json);
  return result;
}

status accounts_open(const char *directory, struct accounts **ret) {
  struct accounts *accounts = calloc(1, sizeof *accounts);
  if (accounts == NULL)
    return no_memory();
  pthread_mutex_init(&accounts->change, NULL);
  pthread_mutex_init(&accounts->mutex, NULL);
  int len = snprintf(accounts->path, sizeof accounts->path, "%s/service_accounts.json", directory);
  struct buf text = {0};
  status result = len < 0 || (size_t)len >= sizeof accounts->path
                      ? status_make(STATUS_FAILED_PRECONDITION, "The path of the data directory is too long.")
                      : file_read(accounts->path, FILE_BYTES_MAX, &text);
  if (status_is_ok(&result))
    result = read_keys(accounts, buf_str(&text));
  else if (result.code == STATUS_NOT_FOUND)
    result = status_ok();
  buf_fini(&text);
  if (status_is_ok(&result))
    *ret = accounts;
  else
    accounts_close(accounts);
  return result;
}

void accounts_close(struct accounts *accounts) {
  if (accounts == NULL)
    return;
  for (size_t i = 0; i < accounts->count; i++)
    account_key_unref(accounts->keys[i]);
  pthread_mutex_destroy(&accounts->change);
  pthread_mutex_destroy(&accounts->mutex);
  free(accounts);
}

/* ---- Looking and changing ---- */

/* Its place, or `count`. Who changes needs no `mutex` for it, others do. */
static size_t place_of(const struct accounts *accounts, str key_id) {
  size_t i = 0;
  while (i < accounts->count && !str_eq(key_id, str_make(accounts->keys[i]->id, ACCOUNTS_KEY_ID_BYTES)))
    i++;
  return i;
}

struct account_key *accounts_find(struct accounts *accounts, str key_id) {
  pthread_mutex_lock(&accounts->mutex);
  size_t place = place_of(accounts, key_id);
  struct account_key *key = place < accounts->count ? account_key_ref(accounts->keys[place]) : NULL;
  pthread_mutex_unlock(&accounts->mutex);
  return key;
}

status accounts_create(struct accounts *accounts, const struct account_request *request,
                       struct account_key **ret) {
  struct account_key *key;
  STATUS_TRY(make_key(request, &key));
  status result = status_ok();
  pthread_mutex_lock(&accounts->change);
  if (place_of(accounts, str_from_cstr(key->id)) < accounts->count)
    result = status_make(STATUS_ALREADY_EXISTS, "This key is registered already.");
  else if (accounts->count == ACCOUNTS_KEYS_MAX)
    result = status_make(STATUS_RESOURCE_EXHAUSTED, "There are %d keys already. Revoke some first.",
                         ACCOUNTS_KEYS_MAX);
  if (status_is_ok(&result)) {
    accounts->keys[accounts->count] = key; /* nobody looks there before the count says so */
    result = write_file(accounts->path, accounts->keys, accounts->count + 1);
  }
  if (status_is_ok(&result)) {
    *ret = account_key_ref(key);
    pthread_mutex_lock(&accounts->mutex);
    accounts->count++;
    pthread_mutex_unlock(&accounts->mutex);
  }
  pthread_mutex_unlock(&accounts->change);
  if (!status_is_ok(&result))
    account_key_unref(key);
  return result;
}

status accounts_revoke(struct accounts *accounts, str key_id) {
  pthread_mutex_lock(&accounts->change);
  size_t place = place_of(accounts, key_id);
  status result =
      status_make(STATUS_NOT_FOUND, "There is no key with this id. `skerry key list` shows them.");
  if (place < accounts->count) {
    pthread_mutex_lock(&accounts->mutex);
    struct account_key *key = accounts->keys[place];
    accounts->count--;
    memmove(&accounts->keys[place], &accounts->keys[place + 1],
            (accounts->count - place) * sizeof(struct account_key *));
    pthread_mutex_unlock(&accounts->mutex);
    account_key_unref(key);
    result = write_file(accounts->path, accounts->keys, accounts->count);
  }
  pthread_mutex_unlock(&accounts->change);
  return result;
}

status accounts_list(struct accounts *accounts, struct account_key ***ret, size_t *ret_count) {
  pthread_mutex_lock(&accounts->mutex);
  size_t count = accounts->count;
  struct account_key **keys = malloc((count + 1) * sizeof(struct account_key *));
  for (size_t i = 0; keys != NULL && i < count; i++)
    keys[i] = account_key_ref(accounts->keys[i]);
  pthread_mutex_unlock(&accounts->mutex);
  if (keys == NULL)
    return no_memory();
  *ret = keys;
  *ret_count = count;
  return status_ok();
}
