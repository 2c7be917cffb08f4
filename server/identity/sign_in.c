/* Signing in with what the user knows, and with what the app's own server vouches for. */
#include "server/identity/fields.h"
#include "server/identity/handlers.h"
#include "server/identity/mfa.h"
#include "server/identity/user_change.h"
#include "server/tokens/custom_token.h"

static status wrong_credentials(void) {
  return status_make(STATUS_INVALID_ARGUMENT, "INVALID_LOGIN_CREDENTIALS");
}

/* ---- Shared ---- */

size_t sign_in_hash_memory(const struct identity_service *service) {
  return (size_t)crypto_scrypt_memory_bytes(service->cost);
}

status sign_in_hash(struct task *task) {
  struct sign_in *in = (struct sign_in *)task;
  struct buf stored = {0};
  status result = password_hash(task->service->cost, in->password, &stored);
  str copy =
      status_is_ok(&result) && !stored.failed ? arena_str_copy(task->arena, buf_str(&stored)) : (str){0};
  buf_fini(&stored);
  STATUS_TRY(result);
  if (copy.ptr == NULL)
    return task_no_memory();
  in->hash = copy.ptr;
  return status_ok();
}

void sign_in_begin(struct sign_in *in, enum identity_way way) {
  in->way = in->task.way = way;
}

void sign_in_count(struct sign_in *in) {
  if (in->is_new)
    identity_count(&in->task.service->counts.made[in->way], 1);
  task_count(&in->task, in->is_first_half ? IDENTITY_HALF : IDENTITY_OK);
}

void sign_in_reply(struct task *task) {
  struct sign_in *in = (struct sign_in *)task;
  Skerry__Identity__V1__SignInResponse response = SKERRY__IDENTITY__V1__SIGN_IN_RESPONSE__INIT;
  task_end_attempt(task, true);
  status result = status_ok();
  if (!in->is_first_half)
    result =
        sign_in_session_tokens(task, &in->session, in->user, &response.id_token, &response.refresh_token);
  else if (mfa_describe(task->arena, in->user, &response.mfa_info, &response.n_mfa_info))
    result = mfa_make_pending(task, in->user, in->session.record.sign_in_provider,
                              &response.mfa_pending_credential);
  else
    result = task_no_memory();
  if (!status_is_ok(&result)) {
    task_fail(task, result);
    return;
  }
  sign_in_count(in);
  response.local_id = in->user->uid;
  response.email = in->user->email;
  response.display_name = in->user->display_name;
  response.photo_url = in->user->photo_url;
  response.expires_in = in->is_first_half ? 0 : task->service->maker.lifetime_s;
  response.is_new_user = in->is_new;
  response.registered = !in->is_new;
  skerry_identity_v1_accounts_sign_up_reply(task->call, &response);
}

void sign_in_take_over(user_record *user, struct kv_batch *batch) {
  user->password = task_text("");
  user->password_updated_us = 0;
  user->n_providers = 0;
  user->totp = NULL;
  user->email_verified = true;
  user_store_end_sessions(batch, user, STR(""));
  user_store_delete_codes(batch, user);
  user_store_delete_recoveries(batch, user, NULL);
}

/* ---- Password ---- */

/* On the pool. */
static status check_password(struct task *task) {
  struct sign_in *in = (struct sign_in *)task;
  struct crypto_scrypt_cost cost = task->service->cost;
  str stored = str_from_cstr(in->stored);
  STATUS_TRY(password_check(cost, stored, in->password, &in->matches));
  return in->matches && password_needs_upgrade(stored, cost) ? sign_in_hash(task) : status_ok();
}

static status note_place(const struct task *task, user_record *user) {
  const struct attempts *attempts = attempts_kv_attempts(task->service->attempts);
  struct attempts_known known =
      attempts_known_decode(str_make(user->known_places.data, user->known_places.len));
  str account = arena_printf(task->arena, "%s/%s", user->project, user->email);
  uint8_t *bytes = arena_alloc(task->arena, ATTEMPTS_KNOWN_BYTES_MAX);
  if (account.ptr == NULL || bytes == NULL)
    return task_no_memory();
  if (attempts_known_add(attempts, &known, account, str_from_cstr(rpc_call_peer(task->call)->address)))
    user->known_places = (ProtobufCBinaryData){attempts_known_encode(&known, bytes), bytes};
  return status_ok();
}

/* The account may have changed since the password was checked. */
static status commit_password(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct sign_in *in = (struct sign_in *)task;
  user_record *before;
  STATUS_TRY(user_store_find(view, task->project, in->uid, task->arena, &before));
  if (before == NULL || strcmp(before->password, in->stored) != 0)
    return wrong_credentials();
  if (before->disabled)
    return status_make(STATUS_PERMISSION_DENIED, "USER_DISABLED");
  user_record *user = user_record_copy(task->arena, before);
  if (user == NULL)
    return task_no_memory();
  if (in->hash != NULL)
    user->password = task_text(in->hash);
  STATUS_TRY(note_place(task, user));
  in->is_first_half = user->totp != NULL;
  if (!in->is_first_half)
    STATUS_TRY(sign_in_session_put(task, &in->session, user, batch));
  in->user = user;
  return user_store_put(view, batch, task->arena, before, user);
}

static void after_check(struct task *task) {
  struct sign_in *in = (struct sign_in *)task;
  if (!in->matches) {
    task_fail(task, wrong_credentials());
    return;
  }
  sign_in_session_init(task, "password", "", &in->session);
  task_commit(task, commit_password, sign_in_reply);
}

static status begin_password(struct sign_in *in,
                             const Skerry__Identity__V1__SignInWithPasswordRequest *request) {
  struct task *task = &in->task;
  struct user_view view;
  user_record *user;
  if (*request->password == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_PASSWORD");
  STATUS_TRY(fields_canonical_email(str_from_cstr(request->email), task->arena, &in->email));
  STATUS_TRY(task_begin_attempt(task, in->email));
  STATUS_TRY(user_view_now(task->service->options.store, &view));
  STATUS_TRY(user_store_find_email(&view, task->project, in->email, task->arena, &user));
  in->password = str_from_cstr(request->password);
  in->stored = user == NULL ? "" : user->password;
  in->uid = user == NULL ? STR("") : str_from_cstr(user->uid);
  return status_ok();
}

void identity_sign_in_with_password(struct rpc_call *call,
                                    const Skerry__Identity__V1__SignInWithPasswordRequest *request) {
  struct sign_in *in = TASK_NEW(call, sign_in);
  if (in == NULL)
    return;
  status result = task_init(&in->task, call, request->target_project_id, request->tenant_id);
  sign_in_begin(in, IDENTITY_PASSWORD);
  if (status_is_ok(&result))
    result = begin_password(in, request);
  if (!status_is_ok(&result)) {
    task_fail(&in->task, result);
    return;
  }
  size_t of_check = *in->stored == '\0' ? 0 : password_memory_bytes(str_from_cstr(in->stored));
  size_t of_hash = sign_in_hash_memory(in->task.service);
  task_hash(&in->task, of_check > of_hash ? of_check : of_hash, check_password, after_check);
}

/* ---- Custom tokens ---- */

static status commit_custom(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct sign_in *in = (struct sign_in *)task;
  user_record *before, *user;
  STATUS_TRY(user_store_find(view, task->project, in->uid, task->arena, &before));
  in->is_new = before == NULL;
  if (before != NULL && before->disabled)
    return status_make(STATUS_PERMISSION_DENIED, "USER_DISABLED");
  user_record made;
  if (before == NULL) {
    user_record_init(&made, task->project.ptr, in->uid.ptr, task->now_us);
    made.custom_auth = true;
  }
  user = user_record_copy(task->arena, before == NULL ? &made : before);
  if (user == NULL)
    return task_no_memory();
  user->anonymous = false; /* the app can let it in again */
  STATUS_TRY(sign_in_session_put(task, &in->session, user, batch));
  in->user = user;
  return user_store_put(view, batch, task->arena, before, user);
}

static status begin_custom(struct sign_in *in,
                           const Skerry__Identity__V1__SignInWithCustomTokenRequest *request) {
  struct task *task = &in->task;
  struct custom_token token;
  str claims = STR("");
  if (*request->token == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_CUSTOM_TOKEN");
  STATUS_TRY(tokens_verify_custom(task->service->tokens, str_from_cstr(request->token), task->now_us,
                                  task->arena, &token));
  if (token.project.len > 0 && !str_eq(token.project, task->project))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "CREDENTIAL_MISMATCH : The service account is of another project.");
  STATUS_TRY(fields_check_uid(token.uid));
  if (token.claims.len > 0)
    STATUS_TRY(fields_canonical_claims(token.claims, task->arena, &claims));
  in->uid = token.uid;
  sign_in_session_init(task, "custom", claims.ptr, &in->session);
  return status_ok();
}

void identity_sign_in_with_custom_token(struct rpc_call *call,
                                        const Skerry__Identity__V1__SignInWithCustomTokenRequest *request) {
  struct sign_in *in = TASK_NEW(call, sign_in);
  if (in == NULL)
    return;
  status result = task_init(&in->task, call, request->target_project_id, request->tenant_id);
  sign_in_begin(in, IDENTITY_CUSTOM_TOKEN);
  if (status_is_ok(&result))
    result = begin_custom(in, request);
  if (status_is_ok(&result))
    task_commit(&in->task, commit_custom, sign_in_reply);
  else
    task_fail(&in->task, result);
}
