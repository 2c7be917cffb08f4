#include "server/identity/user_store.h"

#include <assert.h>
#include <stdlib.h>

static const char FORMAT_KEY[] = "identity/format", FORMAT[] = "1";

enum { KEY_BYTES_MAX = 4096 };

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the account. Try again.");
}

/* ---- Keys ---- */

/* Ids and addresses have no U+0000, so it separates. */
static status make_key(struct arena *arena, const char *kind, str a, str b, str c, str *ret) {
  bool has_c = c.ptr != NULL;
  size_t kind_len = strlen(kind), len = kind_len + a.len + 1 + b.len + (has_c ? 1 + c.len : 0);
  if (len > KEY_BYTES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_LOCAL_ID : A name is too long.");
  char *key = arena_alloc(arena, len), *at = key;
  if (key == NULL)
    return no_memory();
  const str parts[] = {a, b, c};
  memcpy(at, kind, kind_len);
  at += kind_len;
  for (size_t i = 0; i < (has_c ? 3 : 2); i++) {
    if (i > 0)
      *at++ = '\0';
    if (parts[i].len > 0)
      memcpy(at, parts[i].ptr, parts[i].len);
    at += parts[i].len;
  }
  *ret = str_make(key, len);
  return status_ok();
}

#define USER_KIND "identity/user/"
static status user_key(struct arena *arena, str project, str uid, str *ret) {
  return make_key(arena, USER_KIND, project, uid, (str){0}, ret);
}
static status email_key(struct arena *arena, str project, str email, str *ret) {
  return make_key(arena, "identity/email/", project, email, (str){0}, ret);
}
static status provider_key(struct arena *arena, str project, str provider_id, str raw_id, str *ret) {
  return make_key(arena, "identity/provider/", project, provider_id, raw_id, ret);
}

#define SESSION_KIND "identity/session/"
enum { SESSION_KEY_BYTES = sizeof SESSION_KIND - 1 + REFRESH_TOKEN_SESSION_BYTES };
static str session_key(str id, char out[SESSION_KEY_BYTES]) {
  assert(id.len == REFRESH_TOKEN_SESSION_BYTES);
  memcpy(out, SESSION_KIND, sizeof SESSION_KIND - 1);
  memcpy(out + sizeof SESSION_KIND - 1, id.ptr, id.len);
  return str_make(out, SESSION_KEY_BYTES);
}

#define CODE_KIND "identity/code/"
enum { CODE_KEY_BYTES = sizeof CODE_KIND - 1 + CRYPTO_SHA256_BYTES };
static str code_key(const uint8_t *hash, char out[CODE_KEY_BYTES]) {
  memcpy(out, CODE_KIND, sizeof CODE_KIND - 1);
  memcpy(out + sizeof CODE_KIND - 1, hash, CRYPTO_SHA256_BYTES);
  return str_make(out, CODE_KEY_BYTES);
}

/* ---- Records ---- */

static void *take(void *arena, size_t size) {
  return arena_alloc(arena, size);
}
static void give(void *arena, void *pointer) {
  (void)arena;
  (void)pointer;
}

status stored_decode(const ProtobufCMessageDescriptor *type, str bytes, struct arena *arena, void *ret) {
  ProtobufCAllocator allocator = {take, give, arena};
  ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, bytes.len,
                                                        (const uint8_t *)(bytes.len == 0 ? "" : bytes.ptr));
  if (message == NULL)
    return arena->exhausted ? no_memory()
                            : status_make(STATUS_DATA_LOSS, "The record of an account is damaged.");
  memcpy(ret, &message, sizeof message);
  return status_ok();
}

static status encode(const ProtobufCMessage *message, struct arena *arena, str *ret) {
  size_t size = protobuf_c_message_get_packed_size(message);
  uint8_t *bytes = arena_alloc(arena, size);
  if (bytes == NULL)
    return no_memory();
  protobuf_c_message_pack(message, bytes);
  *ret = str_make(bytes, size);
  return status_ok();
}

static status get(const struct user_view *view, str key, struct kv_value *ret) {
  return view->reader != NULL ? kv_reader_get(view->reader, KV_SYSTEM, key, ret)
                              : kv_get(view->snapshot, KV_SYSTEM, key, ret);
}

/* The record under the key; *ret, a pointer to the type, is NULL if there is none. */
static status get_record(const struct user_view *view, str key, const ProtobufCMessageDescriptor *type,
                         struct arena *arena, void *ret) {
  struct kv_value value = {0};
  const void *none = NULL;
  STATUS_TRY(get(view, key, &value));
  status result = status_ok();
  if (value.found)
    result = stored_decode(type, value.bytes, arena, ret);
  else
    memcpy(ret, &none, sizeof none);
  kv_value_release(&value);
  return result;
}

/* ---- Opening ---- */

static status write_format(void *argument, struct kv_reader *reader, kv_version version,
                           struct kv_batch *batch) {
  (void)argument;
  (void)reader;
  (void)version;
  kv_batch_put(batch, KV_SYSTEM, str_from_cstr(FORMAT_KEY), str_from_cstr(FORMAT));
  return status_ok();
}

status user_store_open(struct kv_store *store) {
  struct user_view view;
  struct kv_value value = {0};
  STATUS_TRY(user_view_now(store, &view));
  STATUS_TRY(get(&view, str_from_cstr(FORMAT_KEY), &value));
  bool found = value.found, known = found && str_eq(value.bytes, str_from_cstr(FORMAT));
  kv_value_release(&value);
  if (known)
    return status_ok();
  if (found)
    return status_make(
        STATUS_FAILED_PRECONDITION,
        "The accounts in this store have the format of a newer version of Skerry. Start that one.");
  struct kv_txn txn = {.resolve = write_format};
  kv_version version;
  return kv_commit_wait(store, &txn, &version);
}

status user_view_now(struct kv_store *store, struct user_view *ret) {
  kv_snapshot snapshot;
  STATUS_TRY(kv_snapshot_at(store, KV_LATEST, &snapshot));
  *ret = (struct user_view){.snapshot = snapshot};
  return status_ok();
}

/* ---- Finding ---- */

status user_store_find(const struct user_view *view, str project, str uid, struct arena *arena,
                       user_record **ret) {
  str key;
  STATUS_TRY(user_key(arena, project, uid, &key));
  return get_record(view, key, &skerry__identity__v1__stored_user__descriptor, arena, ret);
}

/* The user whose id is under the key. */
static status find_by(const struct user_view *view, str project, str key, struct arena *arena,
                      user_record **ret) {
  struct kv_value value = {0};
  STATUS_TRY(get(view, key, &value));
  status result = status_ok();
  user_record *user = NULL;
  if (value.found)
    result = user_store_find(view, project, value.bytes, arena, &user);
  kv_value_release(&value);
  if (status_is_ok(&result))
    *ret = user;
  return result;
}

status user_store_find_email(const struct user_view *view, str project, str email, struct arena *arena,
                             user_record **ret) {
  str key;
  STATUS_TRY(email_key(arena, project, email, &key));
  return find_by(view, project, key, arena, ret);
}

status user_store_find_provider(const struct user_view *view, str project, str provider_id, str raw_id,
                                struct arena *arena, user_record **ret) {
  str key;
  STATUS_TRY(provider_key(arena, project, provider_id, raw_id, &key));
  return find_by(view, project, key, arena, ret);
}

status user_store_list(const struct user_view *view, str project, str after, size_t max, struct arena *arena,
                       user_record **ret, size_t *ret_count) {
  str lower, upper;
  struct kv_iter *iter;
  STATUS_TRY(user_key(arena, project, after, &lower));
  STATUS_TRY(user_key(arena, project, STR(""), &upper));
  ((char *)(uintptr_t)upper.ptr)[upper.len - 1] = 1; /* behind the separator */
  STATUS_TRY(kv_iter_open(view->snapshot, KV_SYSTEM, lower, upper, false, &iter));
  status result = status_ok();
  size_t count = 0;
  while (count < max && status_is_ok(&result) && kv_iter_next(iter)) {
    if (str_eq(kv_iter_key(iter), lower))
      continue;
    result = stored_decode(&skerry__identity__v1__stored_user__descriptor, kv_iter_value(iter), arena,
                           &ret[count]);
    count += status_is_ok(&result);
  }
  if (status_is_ok(&result))
    result = kv_iter_status(iter);
  kv_iter_close(iter);
  *ret_count = count;
  return result;
}

status user_store_walk(const struct user_view *view, struct buf *at, size_t max, struct arena *arena,
                       bool (*visit)(void *argument, const struct user_view *view, const user_record *user),
                       void *argument) {
  struct kv_iter *iter;
  str after = at->len == 0 ? STR("") : buf_str(at);
  STATUS_TRY(kv_iter_open(view->snapshot, KV_SYSTEM, at->len == 0 ? STR(USER_KIND) : after,
                          STR("identity/user0"), false, &iter));
  size_t count = 0;
  bool goes_on = true, more = true;
  while (goes_on && count < max && (more = kv_iter_next(iter))) {
    user_record *user;
    if (count == 0 && str_eq(kv_iter_key(iter), after))
      continue;
    status read =
        stored_decode(&skerry__identity__v1__stored_user__descriptor, kv_iter_value(iter), arena, &user);
    count++;
    goes_on = !status_is_ok(&read) || visit(argument, view, user);
    buf_clear(at);
    buf_append_str(at, kv_iter_key(iter));
    after = (str){0};
    arena_reset(arena);
  }
  status result = kv_iter_status(iter);
  kv_iter_close(iter);
  if (!more)
    buf_clear(at);
  return at->failed ? no_memory() : result;
}

/* ---- Users ---- */

user_record *user_record_copy(struct arena *arena, const user_record *user) {
  user_record *copy = arena_alloc(arena, sizeof *copy);
  /* Room for one more. */
  provider_record **providers = ARENA_NEW_ARRAY(arena, provider_record *, user->n_providers + 1);
  ProtobufCBinaryData *sessions = ARENA_NEW_ARRAY(arena, ProtobufCBinaryData, user->n_sessions + 1);
  if (copy == NULL || providers == NULL || sessions == NULL)
    return NULL;
  *copy = *user;
  if (user->n_providers > 0)
    memcpy(providers, user->providers, user->n_providers * sizeof *providers);
  if (user->n_sessions > 0)
    memcpy(sessions, user->sessions, user->n_sessions * sizeof *sessions);
  ProtobufCBinaryData *codes = ARENA_NEW_ARRAY(arena, ProtobufCBinaryData, user->n_codes + 1);
  if (codes == NULL)
    return NULL;
  if (user->n_codes > 0)
    memcpy(codes, user->codes, user->n_codes * sizeof *codes);
  ProtobufCBinaryData *recoveries = ARENA_NEW_ARRAY(arena, ProtobufCBinaryData, user->n_recoveries + 1);
  if (recoveries == NULL)
    return NULL;
  if (user->n_recoveries > 0)
    memcpy(recoveries, user->recoveries, user->n_recoveries * sizeof *recoveries);
  copy->recoveries = recoveries;
  copy->codes = codes;
  copy->providers = providers;
  copy->sessions = sessions;
  return copy;
}

const provider_record *user_record_provider(const user_record *user, str provider_id) {
  for (size_t i = 0; i < user->n_providers; i++)
    if (str_eq(str_from_cstr(user->providers[i]->provider_id), provider_id))
      return user->providers[i];
  return NULL;
}

/* Whether somebody else than the user has the entry: then `code`. */
static status check_entry(const struct user_view *view, str key, str uid, const char *code) {
  struct kv_value value = {0};
  STATUS_TRY(get(view, key, &value));
  bool is_freed = view->freed.len > 0 && str_eq(value.bytes, view->freed);
  bool taken = value.found && !str_eq(value.bytes, uid) && !is_freed;
  kv_value_release(&value);
  return taken ? status_make(STATUS_ALREADY_EXISTS, "%s", code) : status_ok();
}

static bool has_same(const user_record *user, const provider_record *provider) {
  const provider_record *same =
      user == NULL ? NULL : user_record_provider(user, str_from_cstr(provider->provider_id));
  return same != NULL && strcmp(same->raw_id, provider->raw_id) == 0;
}

static status check_new(const struct user_view *view, struct arena *arena, const user_record *before,
                        const user_record *after, str key) {
  str project = str_from_cstr(after->project), uid = str_from_cstr(after->uid), entry;
  if (before == NULL) {
    struct kv_value there = {0};
    STATUS_TRY(get(view, key, &there));
    bool found = there.found;
    kv_value_release(&there);
    if (found)
      return status_make(STATUS_ALREADY_EXISTS, "DUPLICATE_LOCAL_ID");
  }
  if (*after->email != '\0') {
    STATUS_TRY(email_key(arena, project, str_from_cstr(after->email), &entry));
    STATUS_TRY(check_entry(view, entry, uid, "EMAIL_EXISTS"));
  }
  for (size_t i = 0; i < after->n_providers; i++) {
    const provider_record *p = after->providers[i];
    if (has_same(before, p))
      continue;
    STATUS_TRY(provider_key(arena, project, str_from_cstr(p->provider_id), str_from_cstr(p->raw_id), &entry));
    STATUS_TRY(check_entry(view, entry, uid, "FEDERATED_USER_ID_ALREADY_LINKED"));
  }
  return status_ok();
}

static status write_email(struct kv_batch *batch, struct arena *arena, const user_record *before,
                          const user_record *after) {
  str project = str_from_cstr(after->project), key;
  const char *old = before == NULL ? "" : before->email;
  if (strcmp(old, after->email) == 0)
    return status_ok();
  if (*old != '\0') {
    STATUS_TRY(email_key(arena, project, str_from_cstr(old), &key));
    kv_batch_delete(batch, KV_SYSTEM, key);
  }
  if (*after->email != '\0') {
    STATUS_TRY(email_key(arena, project, str_from_cstr(after->email), &key));
    kv_batch_put(batch, KV_SYSTEM, key, str_from_cstr(after->uid));
  }
  return status_ok();
}

static status write_providers(struct kv_batch *batch, struct arena *arena, const user_record *before,
                              const user_record *after) {
  str project = str_from_cstr(after->project), key;
  for (size_t i = 0; before != NULL && i < before->n_providers; i++) {
    const provider_record *p = before->providers[i];
    if (has_same(after, p))
      continue;
    STATUS_TRY(provider_key(arena, project, str_from_cstr(p->provider_id), str_from_cstr(p->raw_id), &key));
    kv_batch_delete(batch, KV_SYSTEM, key);
  }
  for (size_t i = 0; i < after->n_providers; i++) {
    const provider_record *p = after->providers[i];
    if (has_same(before, p))
      continue;
    STATUS_TRY(provider_key(arena, project, str_from_cstr(p->provider_id), str_from_cstr(p->raw_id), &key));
    kv_batch_put(batch, KV_SYSTEM, key, str_from_cstr(after->uid));
  }
  return status_ok();
}

status user_store_put(const struct user_view *view, struct kv_batch *batch, struct arena *arena,
                      const user_record *before, const user_record *after) {
  str key, value;
  STATUS_TRY(user_key(arena, str_from_cstr(after->project), str_from_cstr(after->uid), &key));
  STATUS_TRY(check_new(view, arena, before, after, key)); /* all of it before anything is written */
  STATUS_TRY(encode(&after->base, arena, &value));
  STATUS_TRY(write_email(batch, arena, before, after));
  STATUS_TRY(write_providers(batch, arena, before, after));
  kv_batch_put(batch, KV_SYSTEM, key, value);
  return status_ok();
}

status user_store_delete(struct kv_batch *batch, struct arena *arena, const user_record *user) {
  str project = str_from_cstr(user->project), key;
  char session[SESSION_KEY_BYTES];
  STATUS_TRY(user_key(arena, project, str_from_cstr(user->uid), &key));
  kv_batch_delete(batch, KV_SYSTEM, key);
  if (*user->email != '\0') {
    STATUS_TRY(email_key(arena, project, str_from_cstr(user->email), &key));
    kv_batch_delete(batch, KV_SYSTEM, key);
  }
  for (size_t i = 0; i < user->n_providers; i++) {
    const provider_record *p = user->providers[i];
    STATUS_TRY(provider_key(arena, project, str_from_cstr(p->provider_id), str_from_cstr(p->raw_id), &key));
    kv_batch_delete(batch, KV_SYSTEM, key);
  }
  for (size_t i = 0; i < user->n_sessions; i++)
    kv_batch_delete(batch, KV_SYSTEM,
                    session_key(str_make(user->sessions[i].data, user->sessions[i].len), session));
  char code[CODE_KEY_BYTES];
  for (size_t i = 0; i < user->n_codes; i++)
    kv_batch_delete(batch, KV_SYSTEM, code_key(user->codes[i].data, code));
  for (size_t i = 0; i < user->n_recoveries; i++)
    kv_batch_delete(batch, KV_SYSTEM, code_key(user->recoveries[i].data, code));
  return status_ok();
}

/* ---- Sessions ---- */

status user_store_find_session(const struct user_view *view, const uint8_t id[REFRESH_TOKEN_SESSION_BYTES],
                               struct arena *arena, session_record **ret) {
  char key[SESSION_KEY_BYTES];
  return get_record(view, session_key(str_make(id, REFRESH_TOKEN_SESSION_BYTES), key),
                    &skerry__identity__v1__stored_session__descriptor, arena, ret);
}

status user_store_put_session(struct kv_batch *batch, struct arena *arena,
                              const uint8_t id[REFRESH_TOKEN_SESSION_BYTES], const session_record *session) {
  char key[SESSION_KEY_BYTES];
  str value;
  STATUS_TRY(encode(&session->base, arena, &value));
  kv_batch_put(batch, KV_SYSTEM, session_key(str_make(id, REFRESH_TOKEN_SESSION_BYTES), key), value);
  return status_ok();
}

void user_store_end_session(struct kv_batch *batch, user_record *user, str id) {
  char key[SESSION_KEY_BYTES];
  size_t kept = 0;
  for (size_t i = 0; i < user->n_sessions; i++) {
    str one = str_make(user->sessions[i].data, user->sessions[i].len);
    if (str_eq(one, id))
      kv_batch_delete(batch, KV_SYSTEM, session_key(one, key));
    else
      user->sessions[kept++] = user->sessions[i];
  }
  user->n_sessions = kept;
}

void user_store_end_sessions(struct kv_batch *batch, user_record *user, str keep) {
  char key[SESSION_KEY_BYTES];
  size_t kept = 0;
  for (size_t i = 0; i < user->n_sessions; i++) {
    str one = str_make(user->sessions[i].data, user->sessions[i].len);
    if (str_eq(one, keep))
      user->sessions[kept++] = user->sessions[i];
    else
      kv_batch_delete(batch, KV_SYSTEM, session_key(one, key));
  }
  user->n_sessions = kept;
  user->sessions_ended++;
}

status user_store_add_session(struct kv_batch *batch, struct arena *arena, user_record *user,
                              const uint8_t id[REFRESH_TOKEN_SESSION_BYTES], const session_record *session) {
  while (user->n_sessions >= USER_SESSIONS_MAX)
    user_store_end_session(batch, user, str_make(user->sessions[0].data, user->sessions[0].len));
  str copy = arena_str_copy(arena, str_make(id, REFRESH_TOKEN_SESSION_BYTES));
  if (copy.ptr == NULL)
    return no_memory();
  user->sessions[user->n_sessions++] = (ProtobufCBinaryData){copy.len, (uint8_t *)(uintptr_t)copy.ptr};
  return user_store_put_session(batch, arena, id, session);
}

/* ---- Codes of mails ---- */

void user_store_code_key(const uint8_t code[CODE_BYTES], uint8_t out[CRYPTO_SHA256_BYTES]) {
  crypto_sha256(str_make(code, CODE_BYTES), out);
}

status user_store_find_code(const struct user_view *view, const uint8_t key[CRYPTO_SHA256_BYTES],
                            struct arena *arena, code_record **ret) {
  char name[CODE_KEY_BYTES];
  return get_record(view, code_key(key, name), &skerry__identity__v1__stored_code__descriptor, arena, ret);
}

void user_store_delete_code(struct kv_batch *batch, const uint8_t key[CRYPTO_SHA256_BYTES]) {
  char name[CODE_KEY_BYTES];
  kv_batch_delete(batch, KV_SYSTEM, code_key(key, name));
}

void user_store_delete_codes(struct kv_batch *batch, user_record *user) {
  for (size_t i = 0; i < user->n_codes; i++)
    user_store_delete_code(batch, user->codes[i].data);
  user->n_codes = 0;
}

status user_store_add_code(struct kv_batch *batch, struct arena *arena, user_record *user,
                           const uint8_t key[CRYPTO_SHA256_BYTES], const code_record *code) {
  char name[CODE_KEY_BYTES];
  str value;
  STATUS_TRY(encode(&code->base, arena, &value));
  kv_batch_put(batch, KV_SYSTEM, code_key(key, name), value);
  if (user == NULL)
    return status_ok();
  if (user->n_codes >= USER_CODES_MAX) {
    user_store_delete_code(batch, user->codes[0].data);
    memmove(user->codes, user->codes + 1, --user->n_codes * sizeof *user->codes);
  }
  str copy = arena_str_copy(arena, str_make(key, CRYPTO_SHA256_BYTES));
  if (copy.ptr == NULL)
    return no_memory();
  user->codes[user->n_codes++] = (ProtobufCBinaryData){copy.len, (uint8_t *)(uintptr_t)copy.ptr};
  return status_ok();
}

/* Those whose record is still there: the others were used or swept. */
static status keep_good_recoveries(const struct user_view *view, struct arena *arena, user_record *user) {
  size_t kept = 0;
  for (size_t i = 0; i < user->n_recoveries; i++) {
    code_record *code;
    STATUS_TRY(user_store_find_code(view, user->recoveries[i].data, arena, &code));
    if (code != NULL)
      user->recoveries[kept++] = user->recoveries[i];
  }
  user->n_recoveries = kept;
  return status_ok();
}

status user_store_add_recovery(const struct user_view *view, struct kv_batch *batch, struct arena *arena,
                               user_record *user, const uint8_t key[CRYPTO_SHA256_BYTES],
                               const code_record *code) {
  STATUS_TRY(keep_good_recoveries(view, arena, user));
  if (user->n_recoveries >= USER_RECOVERIES_MAX)
    return status_make(STATUS_RESOURCE_EXHAUSTED,
                       "TOO_MANY_ATTEMPTS_TRY_LATER : The address was changed too often. Please try again in "
                       "some days.");
  str copy = arena_str_copy(arena, str_make(key, CRYPTO_SHA256_BYTES));
  if (copy.ptr == NULL)
    return no_memory();
  STATUS_TRY(user_store_add_code(batch, arena, NULL, key, code));
  user->recoveries[user->n_recoveries++] = (ProtobufCBinaryData){copy.len, (uint8_t *)(uintptr_t)copy.ptr};
  return status_ok();
}

void user_store_delete_recoveries(struct kv_batch *batch, user_record *user, const uint8_t *from) {
  size_t kept = 0;
  while (from != NULL && kept < user->n_recoveries &&
         memcmp(user->recoveries[kept].data, from, CRYPTO_SHA256_BYTES) != 0)
    kept++;
  for (size_t i = kept; i < user->n_recoveries; i++)
    user_store_delete_code(batch, user->recoveries[i].data);
  user->n_recoveries = kept;
}

/* ---- Sweeping ---- */

enum { SWEEP_MAX = 500, SWEEP_ROUNDS_MAX = 20, SWEEP_ARENA_BYTES = 4 * 1024 * 1024 };

struct sweep {
  char keys[SWEEP_MAX][CODE_KEY_BYTES];
  size_t count;
};

static status delete_swept(void *argument, struct kv_reader *reader, kv_version version,
                           struct kv_batch *batch) {
  const struct sweep *sweep = argument;
  (void)reader;
  (void)version;
  for (size_t i = 0; i < sweep->count; i++)
    kv_batch_delete(batch, KV_SYSTEM, str_make(sweep->keys[i], CODE_KEY_BYTES));
  return status_ok();
}

static status find_old_codes(struct kv_store *store, int64_t now_us, struct arena *arena,
                             struct sweep *sweep) {
  struct user_view view;
  struct kv_iter *iter;
  STATUS_TRY(user_view_now(store, &view));
  STATUS_TRY(kv_iter_open(view.snapshot, KV_SYSTEM, STR(CODE_KIND), STR("identity/code0"), false, &iter));
  status result = status_ok();
  while (status_is_ok(&result) && sweep->count < SWEEP_MAX && kv_iter_next(iter)) {
    code_record *code;
    str key = kv_iter_key(iter);
    result = stored_decode(&skerry__identity__v1__stored_code__descriptor, kv_iter_value(iter), arena, &code);
    if (status_is_ok(&result) && code->expires_us <= now_us && key.len == CODE_KEY_BYTES)
      memcpy(sweep->keys[sweep->count++], key.ptr, key.len);
    arena_reset(arena);
  }
  if (status_is_ok(&result))
    result = kv_iter_status(iter);
  kv_iter_close(iter);
  return result;
}

status user_store_sweep_codes(struct kv_store *store, int64_t now_us) {
  struct sweep *sweep = calloc(1, sizeof *sweep);
  struct arena arena;
  if (sweep == NULL)
    return no_memory();
  arena_init(&arena, NULL, 0, SWEEP_ARENA_BYTES);
  status result = status_ok();
  bool more = true;
  for (unsigned i = 0; i < SWEEP_ROUNDS_MAX && more && status_is_ok(&result); i++) {
    sweep->count = 0;
    result = find_old_codes(store, now_us, &arena, sweep);
    more = sweep->count == SWEEP_MAX;
    if (status_is_ok(&result) && sweep->count > 0) {
      struct kv_txn txn = {.resolve = delete_swept, .argument = sweep};
      kv_version version;
      result = kv_commit_wait(store, &txn, &version);
    }
  }
  arena_fini(&arena);
  free(sweep);
  return result;
}
