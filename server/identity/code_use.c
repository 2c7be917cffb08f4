/* Codes come back. Each is good once: what it is for and its end are one commit. */
#include "server/identity/code.h"
#include "server/identity/fields.h"
#include "server/identity/recovery.h"
#include "server/identity/user_change.h"

static status wrong_code(void) {
  return status_make(STATUS_INVALID_ARGUMENT, "INVALID_OOB_CODE");
}

static bool is_of(const code_record *code, enum code_kind kind) {
  return strcmp(code->request_type, code_kind_name(kind)) == 0;
}

struct code_use {
  struct sign_in in; /* first: its password, or its session */
  uint8_t key[CRYPTO_SHA256_BYTES];
  code_record *code;        /* as it was committed, or found */
  const user_record *freed; /* whose address was taken back */
  struct recovery recovery; /* of the address that another takes the place of */
};

/* NULL: the call is finished, there is no memory. */
static struct code_use *begin_use(struct rpc_call *call, const char *project, const char *tenant,
                                  status *ret_result) {
  struct code_use *use = TASK_NEW(call, code_use);
  if (use != NULL)
    *ret_result = task_init(&use->in.task, call, project, tenant);
  return use;
}

/* ---- Reset the password, or ask what a code is for ---- */

static status commit_reset(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct code_use *use = (struct code_use *)task;
  user_record *before, *user;
  STATUS_TRY(code_find(task, view, use->key, &use->code));
  if (!is_of(use->code, CODE_PASSWORD_RESET))
    return wrong_code();
  STATUS_TRY(user_store_find(view, task->project, str_from_cstr(use->code->uid), task->arena, &before));
  if (before == NULL || strcmp(before->email, use->code->email) != 0)
    return wrong_code();
  if (before->disabled)
    return status_make(STATUS_PERMISSION_DENIED, "USER_DISABLED");
  user = user_record_copy(task->arena, before);
  if (user == NULL)
    return task_no_memory();
  if (!user->email_verified)
    sign_in_take_over(user, batch);
  user->password = task_text(use->in.hash);
  user->password_updated_us = task->now_us;
  user->anonymous = false;
  user_store_end_sessions(batch, user, STR(""));
  user_store_delete_codes(batch, user);
  user_store_delete_code(batch, use->key);
  use->in.user = user;
  return user_store_put(view, batch, task->arena, before, user);
}

static void reply_what(struct task *task) {
  const struct code_use *use = (const struct code_use *)task;
  Skerry__Identity__V1__ResetPasswordResponse response = SKERRY__IDENTITY__V1__RESET_PASSWORD_RESPONSE__INIT;
  response.email = use->code->email;
  response.new_email = use->code->new_email;
  response.request_type = use->code->request_type;
  skerry_identity_v1_accounts_reset_password_reply(task->call, &response);
}

static void reply_reset(struct task *task) {
  struct code_use *use = (struct code_use *)task;
  task_end_attempt(task, true);
  str account = arena_printf(task->arena, "%s/%s", use->in.user->project, use->in.user->email);
  if (account.ptr != NULL)
    attempts_clear_account(attempts_kv_attempts(task->service->attempts), account);
  task_doubt(task, use->in.user);
  reply_what(task);
}

static void commit_with_hash(struct task *task) {
  task_commit(task, commit_reset, reply_reset);
}

static status begin_reset(struct code_use *use, const Skerry__Identity__V1__ResetPasswordRequest *request) {
  struct task *task = &use->in.task;
  struct user_view view;
  STATUS_TRY(code_read(request->oob_code, use->key));
  STATUS_TRY(user_view_now(task->service->options.store, &view));
  STATUS_TRY(code_find(task, &view, use->key, &use->code));
  if (*request->new_password == '\0')
    return status_ok();
  if (!is_of(use->code, CODE_PASSWORD_RESET))
    return wrong_code();
  use->in.password = str_from_cstr(request->new_password);
  STATUS_TRY(password_check_policy(use->in.password));
  return task_begin_attempt_at(task, "reset of", str_from_cstr(use->code->email)); /* one code, many hashes */
}

void identity_reset_password(struct rpc_call *call,
                             const Skerry__Identity__V1__ResetPasswordRequest *request) {
  status result;
  struct code_use *use = begin_use(call, request->target_project_id, request->tenant_id, &result);
  if (use == NULL)
    return;
  struct task *task = &use->in.task;
  if (status_is_ok(&result))
    result = begin_reset(use, request);
  if (!status_is_ok(&result))
    task_fail(task, result);
  else if (use->in.password.len == 0)
    reply_what(task);
  else
    task_hash(task, sign_in_hash_memory(task->service), sign_in_hash, commit_with_hash);
}

/* ---- Verify, change or take back the address ---- */

/* What came to the account since the change may be of whoever made it: a second factor of his would keep out
 * whom the address is given back to, and a password or a provider would let himself in. */
static void take_away_since(user_record *user, int64_t changed_us) {
  size_t kept = 0;
  if (user->password_updated_us >= changed_us) {
    user->password = task_text("");
    user->password_updated_us = 0;
  }
  if (user->totp != NULL && user->totp->enrolled_us >= changed_us)
    user->totp = NULL;
  for (size_t i = 0; i < user->n_providers; i++)
    if (user->providers[i]->linked_us < changed_us)
      user->providers[kept++] = user->providers[i];
  user->n_providers = kept;
}

static status change_address(struct code_use *use, const struct user_view *view, const user_record *before,
                             user_record *user, struct kv_batch *batch) {
  const code_record *code = use->code;
  bool recovers = is_of(code, CODE_RECOVER_EMAIL);
  user->email = recovers ? code->email : code->new_email;
  user_store_end_sessions(batch, user, STR(""));
  user_store_delete_codes(batch, user);
  if (!recovers)
    return recovery_put(&use->recovery, &use->in.task, view, batch, before, user);
  user_store_delete_recoveries(batch, user, use->key);
  take_away_since(user, code->expires_us - code_kind_lifetime_us(CODE_RECOVER_EMAIL));
  return status_ok();
}

/* Somebody may have made an account with the address since it was changed. Unless he has shown that it is
 * his, it goes back, with the password that needs it. */
static status free_address(struct code_use *use, struct user_view *view, struct kv_batch *batch) {
  const struct task *task = &use->in.task;
  const code_record *code = use->code;
  user_record *other;
  STATUS_TRY(user_store_find_email(view, task->project, str_from_cstr(code->email), task->arena, &other));
  if (other == NULL || other->email_verified || strcmp(other->uid, code->uid) == 0)
    return status_ok();
  user_record *without = user_record_copy(task->arena, other);
  if (without == NULL)
    return task_no_memory();
  without->email = without->password = task_text("");
  without->password_updated_us = 0;
  without->email_link = false;
  user_store_end_sessions(batch, without, STR(""));
  user_store_delete_codes(batch, without);
  STATUS_TRY(user_store_put(view, batch, task->arena, other, without));
  view->freed = str_from_cstr(without->uid);
  use->freed = without;
  return status_ok();
}

static status commit_apply(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct code_use *use = (struct code_use *)task;
  user_record *before;
  use->freed = NULL;
  STATUS_TRY(code_find(task, view, use->key, &use->code));
  bool recovers = is_of(use->code, CODE_RECOVER_EMAIL),
       changes = recovers || is_of(use->code, CODE_CHANGE_EMAIL);
  if (!changes && !is_of(use->code, CODE_VERIFY_EMAIL))
    return wrong_code();
  STATUS_TRY(user_store_find(view, task->project, str_from_cstr(use->code->uid), task->arena, &before));
  if (before == NULL || (!recovers && strcmp(before->email, use->code->email) != 0))
    return wrong_code();
  if (before->disabled)
    return status_make(STATUS_PERMISSION_DENIED, "USER_DISABLED");
  user_record *user = user_record_copy(task->arena, before);
  if (user == NULL)
    return task_no_memory();
  user->email_verified = true;
  user_store_delete_code(batch, use->key);
  if (changes)
    STATUS_TRY(change_address(use, view, before, user, batch));
  struct user_view seen = *view;
  if (recovers)
    STATUS_TRY(free_address(use, &seen, batch));
  use->in.user = user;
  return user_store_put(&seen, batch, task->arena, before, user);
}

static void reply_apply(struct task *task) {
  const struct code_use *use = (const struct code_use *)task;
  Skerry__Identity__V1__UpdateResponse response = SKERRY__IDENTITY__V1__UPDATE_RESPONSE__INIT;
  recovery_committed(&use->recovery, task);
  task_doubt(task, use->in.user);
  if (use->freed != NULL)
    task_doubt(task, use->freed);
  response.local_id = use->in.user->uid;
  response.email = use->in.user->email;
  response.email_verified = true;
  skerry_identity_v1_accounts_update_reply(task->call, &response);
}

static status prepare_recovery(struct code_use *use) {
  struct task *task = &use->in.task;
  struct user_view view;
  user_record *user;
  STATUS_TRY(user_view_now(task->service->options.store, &view));
  STATUS_TRY(code_find(task, &view, use->key, &use->code));
  if (!is_of(use->code, CODE_CHANGE_EMAIL))
    return status_ok();
  STATUS_TRY(user_store_find(&view, task->project, str_from_cstr(use->code->uid), task->arena, &user));
  return user == NULL ? status_ok() : recovery_prepare(task, user, use->code->new_email, &use->recovery);
}

void identity_apply_code(struct rpc_call *call, const Skerry__Identity__V1__UpdateRequest *request) {
  status result;
  struct code_use *use = begin_use(call, request->target_project_id, request->tenant_id, &result);
  if (use == NULL)
    return;
  struct task *task = &use->in.task;
  if (status_is_ok(&result))
    result = code_read(request->oob_code, use->key);
  if (status_is_ok(&result))
    result = prepare_recovery(use);
  if (status_is_ok(&result))
    task_commit(task, commit_apply, reply_apply);
  else
    task_fail(task, result);
}

/* ---- Sign in by a link ---- */

/* Whose the address is now: the account that links it, the one that has it, or a new one. */
static status find_owner(struct code_use *use, const struct user_view *view, user_record *made,
                         user_record **ret_before) {
  struct sign_in *in = &use->in;
  struct task *task = &in->task;
  if (in->is_linking) {
    session_record *session;
    STATUS_TRY(task_find_signed_in(task, view, &in->linked, ret_before, &session));
    in->session.record.second_factor_id = session->second_factor_id;
    return status_ok();
  }
  STATUS_TRY(user_store_find_email(view, task->project, in->email, task->arena, ret_before));
  in->is_new = *ret_before == NULL;
  if (!in->is_new)
    return status_ok();
  if (task->service->options.sign_up_closed)
    return status_make(STATUS_PERMISSION_DENIED, "ADMIN_ONLY_OPERATION : This server takes no new accounts.");
  user_record_init(made, task->project.ptr, in->uid.ptr, task->now_us);
  return status_ok();
}

static status commit_link_sign_in(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct code_use *use = (struct code_use *)task;
  struct sign_in *in = &use->in;
  user_record made, *before = NULL;
  STATUS_TRY(code_find(task, view, use->key, &use->code));
  if (!is_of(use->code, CODE_EMAIL_SIGNIN))
    return wrong_code();
  if (!str_eq(str_from_cstr(use->code->email), in->email))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_EMAIL");
  STATUS_TRY(find_owner(use, view, &made, &before));
  if (before != NULL && before->disabled)
    return status_make(STATUS_PERMISSION_DENIED, "USER_DISABLED");
  if (in->is_linking)
    STATUS_TRY(user_change_check_email(in->email.ptr, true, before));
  user_record *user = user_record_copy(task->arena, before == NULL ? &made : before);
  if (user == NULL)
    return task_no_memory();
  in->ends_sessions = in->is_linking || (before != NULL && !before->email_verified);
  if (before != NULL && !in->is_linking && !before->email_verified)
    sign_in_take_over(user, batch);
  user->email = task_text(in->email.ptr);
  user->email_verified = user->email_link = true;
  user->anonymous = false;
  user_store_delete_code(batch, use->key);
  if (in->is_linking) {
    user_store_end_sessions(batch, user, STR(""));
    user_store_delete_codes(batch, user);
  }
  in->is_first_half = !in->is_linking && user->totp != NULL;
  if (!in->is_first_half)
    STATUS_TRY(sign_in_session_put(task, &in->session, user, batch));
  in->user = user;
  return user_store_put(view, batch, task->arena, before, user);
}

static void reply_link_sign_in(struct task *task) {
  const struct code_use *use = (const struct code_use *)task;
  if (use->in.ends_sessions)
    task_doubt(task, use->in.user);
  sign_in_reply(task);
}

static status begin_link_sign_in(struct code_use *use,
                                 const Skerry__Identity__V1__SignInWithEmailLinkRequest *request) {
  struct sign_in *in = &use->in;
  char *uid = arena_alloc(in->task.arena, FIELDS_UID_MADE_BYTES + 1);
  if (uid == NULL)
    return task_no_memory();
  fields_make_uid(uid);
  in->uid = str_make(uid, FIELDS_UID_MADE_BYTES);
  if (*request->email == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_EMAIL");
  STATUS_TRY(fields_canonical_email(str_from_cstr(request->email), in->task.arena, &in->email));
  STATUS_TRY(code_read(request->oob_code, use->key));
  in->is_linking = *request->id_token != '\0';
  if (in->is_linking)
    STATUS_TRY(task_read_linked(&in->task, request->id_token, &in->linked, &in->user));
  sign_in_session_init(&in->task, "password", "", &in->session);
  return status_ok();
}

void identity_sign_in_with_email_link(struct rpc_call *call,
                                      const Skerry__Identity__V1__SignInWithEmailLinkRequest *request) {
  status result;
  struct code_use *use = begin_use(call, request->target_project_id, request->tenant_id, &result);
  if (use == NULL)
    return;
  struct task *task = &use->in.task;
  sign_in_begin(&use->in, IDENTITY_EMAIL_LINK);
  if (status_is_ok(&result))
    result = begin_link_sign_in(use, request);
  if (status_is_ok(&result))
    task_commit(task, commit_link_sign_in, reply_link_sign_in);
  else
    task_fail(task, result);
}
