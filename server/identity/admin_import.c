/* Accounts that come from elsewhere with hashes of their passwords. One commit; what is wrong with one
 * account is told, and the others are made. */
#include "server/identity/admin.h"
#include "server/identity/fields.h"
#include "server/identity/user_change.h"

enum { IMPORT_MAX = USER_PAGE_MAX };
static const int64_t TIME_MS_MAX = INT64_C(253402300799) * 1000; /* the end of the year 9999 */

struct import {
  struct task task;
  user_record **users; /* those that are wrong are NULL */
  size_t count;
  const char **errors; /* of each; NULL: none */
  uint64_t made;       /* that were not there, as was committed */
};

/* ---- Reading ---- */

static str bytes_of(ProtobufCBinaryData data) {
  return str_make(data.data, data.len);
}

static status read_options(const Skerry__Identity__V1__ImportAccountsRequest *request,
                           struct password_import *ret, bool *ret_has_hashes) {
  *ret = (struct password_import){
      .key = bytes_of(request->signer_key),
      .separator = bytes_of(request->salt_separator),
      .rounds = request->rounds < 0 ? 0 : (uint32_t)request->rounds,
      .memory_cost = request->memory_cost < 0 ? 0 : (uint32_t)request->memory_cost,
      .cpu_memory_cost = request->cpu_mem_cost < 0 ? 0 : (uint64_t)request->cpu_mem_cost,
      .block_size = request->block_size < 0 ? 0 : (uint32_t)request->block_size,
      .parallelization = request->parallelization < 0 ? 0 : (uint32_t)request->parallelization,
      .derived_bytes = request->dk_len < 0 ? 0 : (uint32_t)request->dk_len};
  if (strcmp(request->password_hash_order, "SALT_AND_PASSWORD") == 0)
    ret->order = PASSWORD_ORDER_SALT_FIRST;
  else if (strcmp(request->password_hash_order, "PASSWORD_AND_SALT") == 0)
    ret->order = PASSWORD_ORDER_PASSWORD_FIRST;
  *ret_has_hashes = *request->hash_algorithm != '\0';
  if (!*ret_has_hashes)
    return status_ok();
  if (!password_import_read_algorithm(str_from_cstr(request->hash_algorithm), ret))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_HASH_ALGORITHM");
  return password_import_check(ret);
}

static status read_password(const struct identity_service *service, const struct password_import *options,
                            bool has_hashes, const Skerry__Identity__V1__User *from, struct arena *arena,
                            user_record *user) {
  struct buf stored = {0};
  if (from->password_hash.len == 0)
    return status_ok();
  if (!has_hashes)
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_HASH_ALGORITHM");
  status result = password_import_user(options, bytes_of(from->password_hash), bytes_of(from->salt), &stored);
  str copy = status_is_ok(&result) && !stored.failed ? arena_str_copy(arena, buf_str(&stored)) : (str){0};
  buf_fini(&stored);
  STATUS_TRY(result);
  if (copy.ptr == NULL)
    return task_no_memory();
  if (password_memory_bytes(copy) > service->options.hash_memory_bytes)
    return status_make(
        STATUS_INVALID_ARGUMENT,
        "INVALID_HASH_MEMORY_COST : A check of this password takes %zu bytes, and this server has %zu for "
        "that (memory_limit).",
        (size_t)password_memory_bytes(copy), service->options.hash_memory_bytes);
  user->password = task_text(copy.ptr);
  return status_ok();
}

static status read_provider(const Skerry__Identity__V1__ProviderUserInfo *from, struct arena *arena,
                            user_record *user) {
  str email = STR("");
  if (strcmp(from->provider_id, "password") == 0 || strcmp(from->provider_id, "phone") == 0)
    return status_ok();
  if (*from->provider_id == '\0' || *from->raw_id == '\0' || strlen(from->raw_id) > FIELDS_UID_BYTES_MAX ||
      strlen(from->provider_id) > ISSUER_PROVIDER_BYTES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_PROVIDER_ID");
  if (user->n_providers == USER_PROVIDERS_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "TOO_MANY_PROVIDERS");
  provider_record *provider = ARENA_NEW(arena, provider_record);
  if (provider == NULL)
    return task_no_memory();
  if (*from->email != '\0')
    STATUS_TRY(fields_canonical_email(str_from_cstr(from->email), arena, &email));
  STATUS_TRY(fields_check_display_name(str_from_cstr(from->display_name)));
  STATUS_TRY(fields_check_photo_url(str_from_cstr(from->photo_url)));
  skerry__identity__v1__stored_provider__init(provider);
  provider->provider_id = from->provider_id;
  provider->raw_id = from->raw_id;
  provider->email = task_text(email.ptr);
  provider->display_name = from->display_name;
  provider->photo_url = from->photo_url;
  user->providers[user->n_providers++] = provider;
  return status_ok();
}

static int64_t time_us(int64_t ms, int64_t otherwise_us) {
  return ms > 0 && ms <= TIME_MS_MAX ? ms * 1000 : otherwise_us;
}

static status read_user(struct task *task, const struct password_import *options, bool has_hashes,
                        const Skerry__Identity__V1__User *from, user_record *user) {
  struct user_change change = {.email = from->email,
                               .display_name = from->display_name,
                               .photo_url = from->photo_url,
                               .custom_claims = from->custom_attributes,
                               .disabled = from->disabled ? USER_SET : USER_UNCHANGED,
                               .email_verified = from->email_verified ? USER_SET : USER_UNCHANGED};
  user_record_init(user, task->project.ptr, from->local_id, time_us(from->created_at, task->now_us));
  user->last_login_us = time_us(from->last_login_at, 0);
  user->providers = ARENA_NEW_ARRAY(task->arena, provider_record *, USER_PROVIDERS_MAX);
  if (user->providers == NULL)
    return task_no_memory();
  STATUS_TRY(fields_check_uid(str_from_cstr(from->local_id)));
  STATUS_TRY(user_change_check(&change, task->arena));
  STATUS_TRY(read_password(task->service, options, has_hashes, from, task->arena, user));
  STATUS_TRY(user_change_apply(&change, task->now_us, user));
  for (size_t i = 0; i < from->n_provider_user_info; i++)
    STATUS_TRY(read_provider(from->provider_user_info[i], task->arena, user));
  return status_ok();
}

static bool share_a_provider(const user_record *a, const user_record *b) {
  for (size_t i = 0; i < a->n_providers; i++) {
    const provider_record *same = user_record_provider(b, str_from_cstr(a->providers[i]->provider_id));
    if (same != NULL && strcmp(same->raw_id, a->providers[i]->raw_id) == 0)
      return true;
  }
  return false;
}

/* A batch does not see what it writes itself. */
static const char *find_twin(const struct import *import, size_t index) {
  const user_record *user = import->users[index];
  for (size_t i = 0; i < index; i++) {
    const user_record *other = import->users[i];
    if (other == NULL)
      continue;
    if (strcmp(other->uid, user->uid) == 0)
      return "DUPLICATE_LOCAL_ID";
    if (*user->email != '\0' && strcmp(other->email, user->email) == 0)
      return "EMAIL_EXISTS";
    if (user->n_providers > 0 && share_a_provider(user, other))
      return "FEDERATED_USER_ID_ALREADY_LINKED";
  }
  return NULL;
}

static status refuse(struct import *import, size_t index, const char *message) {
  import->users[index] = NULL;
  import->errors[index] = arena_str_copy(import->task.arena, str_from_cstr(message)).ptr;
  return import->errors[index] == NULL ? task_no_memory() : status_ok();
}

static status read_users(struct import *import, const Skerry__Identity__V1__ImportAccountsRequest *request) {
  struct task *task = &import->task;
  struct password_import options;
  bool has_hashes;
  if (request->n_users == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_USER_ACCOUNT");
  if (request->n_users > IMPORT_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "TOO_MANY_IDS : At most %d at once.", IMPORT_MAX);
  STATUS_TRY(read_options(request, &options, &has_hashes));
  import->count = request->n_users;
  import->users = ARENA_NEW_ARRAY(task->arena, user_record *, import->count);
  import->errors = ARENA_NEW_ARRAY(task->arena, const char *, import->count);
  user_record *records = ARENA_NEW_ARRAY(task->arena, user_record, import->count);
  if (import->users == NULL || import->errors == NULL || records == NULL)
    return task_no_memory();
  for (size_t i = 0; i < import->count; i++) {
    import->users[i] = &records[i];
    status read = read_user(task, &options, has_hashes, request->users[i], &records[i]);
    if (read.code == STATUS_RESOURCE_EXHAUSTED)
      return read;
    const char *twin = status_is_ok(&read) ? find_twin(import, i) : read.message;
    if (twin != NULL)
      STATUS_TRY(refuse(import, i, twin));
  }
  return status_ok();
}

/* ---- Writing ---- */

static status commit_import(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct import *import = (struct import *)task;
  import->made = 0;
  for (size_t i = 0; i < import->count; i++) {
    user_record *before;
    if (import->users[i] == NULL)
      continue;
    STATUS_TRY(
        user_store_find(view, task->project, str_from_cstr(import->users[i]->uid), task->arena, &before));
    import->users[i]->sessions_ended = before == NULL ? 0 : before->sessions_ended + 1;
    status put = user_store_put(view, batch, task->arena, before, import->users[i]);
    if (put.code == STATUS_ALREADY_EXISTS) {
      STATUS_TRY(refuse(import, i, put.message));
      continue;
    }
    STATUS_TRY(put);
    import->made += before == NULL;
    user_record *replaced = before == NULL ? NULL : user_record_copy(task->arena, before);
    if (replaced == NULL)
      continue; /* it is new, or the arena is exhausted */
    user_store_end_sessions(batch, replaced, STR(""));
    user_store_delete_codes(batch, replaced);
    user_store_delete_recoveries(batch, replaced, NULL);
  }
  return task->arena->exhausted ? task_no_memory() : status_ok();
}

static void reply_import(struct task *task) {
  struct import *import = (struct import *)task;
  Skerry__Identity__V1__ImportAccountsResponse response =
      SKERRY__IDENTITY__V1__IMPORT_ACCOUNTS_RESPONSE__INIT;
  identity_count(&task->service->counts.made[IDENTITY_ADMINISTRATOR], import->made);
  for (size_t i = 0; i < import->count; i++)
    if (import->users[i] != NULL)
      task_doubt(task, import->users[i]);
  response.error =
      ARENA_NEW_ARRAY(task->arena, Skerry__Identity__V1__ImportAccountsResponse__Error *, import->count);
  for (size_t i = 0; i < import->count && response.error != NULL; i++) {
    if (import->errors[i] == NULL)
      continue;
    Skerry__Identity__V1__ImportAccountsResponse__Error *error =
        ARENA_NEW(task->arena, Skerry__Identity__V1__ImportAccountsResponse__Error);
    if (error == NULL)
      break;
    skerry__identity__v1__import_accounts_response__error__init(error);
    error->index = (int32_t)i;
    error->message = task_text(import->errors[i]);
    response.error[response.n_error++] = error;
  }
  if (task->arena->exhausted)
    task_fail(task, task_no_memory());
  else
    skerry_identity_v1_account_admin_import_accounts_reply(task->call, &response);
}

void identity_import_accounts(struct rpc_call *call,
                              const Skerry__Identity__V1__ImportAccountsRequest *request) {
  struct import *import = TASK_NEW(call, import);
  if (import == NULL)
    return;
  status result = admin_enter(&import->task, call, request->target_project_id);
  if (status_is_ok(&result))
    result = read_users(import, request);
  if (status_is_ok(&result))
    task_commit(&import->task, commit_import, reply_import);
  else
    task_fail(&import->task, result);
}
