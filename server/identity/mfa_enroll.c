/* A second factor comes, and goes. */
#include "base/wire.h"
#include "server/identity/fields.h"
#include "server/identity/mfa.h"

static const char PURPOSE[] = "enrollment";
enum { FACTOR_ID_BYTES = FIELDS_UID_MADE_BYTES };

/* ---- Start ---- */

static status make_session_info(struct task *task, const user_record *user, struct buf *secret_text,
                                Skerry__Identity__V1__TotpSessionInfo *info) {
  uint8_t secret[TOTP_SECRET_BYTES];
  step_record step = SKERRY__IDENTITY__V1__STORED_STEP__INIT;
  totp_secret_make(secret);
  step.expires_us = task->now_us + INT64_C(1000000) * MFA_ENROLL_S;
  step.uid = user->uid;
  step.secret = (ProtobufCBinaryData){sizeof secret, secret};
  STATUS_TRY(mfa_seal_step(task, PURPOSE, &step, &info->session_info));
  totp_base32_append(str_make(secret, sizeof secret), secret_text);
  str copy = secret_text->failed ? (str){0} : arena_str_copy(task->arena, buf_str(secret_text));
  if (copy.ptr == NULL)
    return task_no_memory();
  info->shared_secret_key = task_text(copy.ptr);
  info->verification_code_length = TOTP_DIGITS;
  info->hashing_algorithm = task_text("SHA1");
  info->period_sec = TOTP_STEP_S;
  info->finalize_enrollment_time->seconds = step.expires_us / 1000000;
  return status_ok();
}

/* An address that was not verified may be somebody else's, who would take the account over
 * (sign_in_take_over), with the factor: so it would protect nothing, or keep him out. */
static status check_first_factor(const user_record *user) {
  if (user->anonymous)
    return status_make(STATUS_INVALID_ARGUMENT, "UNSUPPORTED_FIRST_FACTOR");
  if (*user->email != '\0' && !user->email_verified)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "UNVERIFIED_EMAIL : Verify the address of the account first.");
  return status_ok();
}

void identity_start_mfa_enrollment(struct rpc_call *call,
                                   const Skerry__Identity__V1__StartMfaEnrollmentRequest *request) {
  struct task *task = TASK_NEW(call, task);
  struct id_token token;
  user_record *user;
  Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  Skerry__Identity__V1__TotpSessionInfo info = SKERRY__IDENTITY__V1__TOTP_SESSION_INFO__INIT;
  Skerry__Identity__V1__StartMfaEnrollmentResponse response =
      SKERRY__IDENTITY__V1__START_MFA_ENROLLMENT_RESPONSE__INIT;
  struct buf secret_text = {0};
  if (task == NULL)
    return;
  info.finalize_enrollment_time = &time;
  response.totp_session_info = &info;
  status result = task_init(task, call, request->target_project_id, request->tenant_id);
  if (status_is_ok(&result) && request->totp_enrollment_info == NULL)
    result = status_make(STATUS_PERMISSION_DENIED, "OPERATION_NOT_ALLOWED : The second factor here is TOTP.");
  if (status_is_ok(&result))
    result = task_read_id_token(task, request->id_token, &token, &user);
  if (status_is_ok(&result) && user->totp != NULL)
    result = status_make(STATUS_ALREADY_EXISTS, "SECOND_FACTOR_EXISTS");
  if (status_is_ok(&result))
    result = check_first_factor(user);
  if (status_is_ok(&result))
    result = make_session_info(task, user, &secret_text, &info);
  buf_fini(&secret_text);
  if (status_is_ok(&result))
    skerry_identity_v1_accounts_start_mfa_enrollment_reply(call, &response);
  else
    task_fail(task, result);
}

/* ---- Finalize and withdraw: changes of the account that renew the session ---- */

struct factor_change {
  struct task task;
  struct id_token token;
  struct sign_in_session session;
  user_record *user;
  /* What is enrolled; without `totp.id` what is taken away. */
  Skerry__Identity__V1__StoredTotp totp;
  char codes[TOTP_RECOVERY_CODES][TOTP_RECOVERY_TEXT_BYTES + 1];
  const char *withdrawn_id;
};

static status commit_factor(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct factor_change *change = (struct factor_change *)task;
  user_record *before;
  session_record *session;
  STATUS_TRY(task_find_signed_in(task, view, &change->token, &before, &session));
  bool comes = change->withdrawn_id == NULL;
  if (comes)
    STATUS_TRY(check_first_factor(before));
  if (comes && before->totp != NULL)
    return status_make(STATUS_ALREADY_EXISTS, "SECOND_FACTOR_EXISTS");
  if (!comes && (before->totp == NULL || strcmp(before->totp->id, change->withdrawn_id) != 0))
    return status_make(STATUS_INVALID_ARGUMENT, "MFA_ENROLLMENT_NOT_FOUND");
  user_record *user = user_record_copy(task->arena, before);
  if (user == NULL)
    return task_no_memory();
  user->totp = comes ? &change->totp : NULL;
  STATUS_TRY(sign_in_session_renew(task, &change->session, session, user, batch));
  change->session.record.second_factor_id = comes ? change->totp.id : task_text("");
  STATUS_TRY(
      user_store_put_session(batch, task->arena, change->session.token.session, &change->session.record));
  change->user = user;
  return user_store_put(view, batch, task->arena, before, user);
}

static void reply_factor(struct task *task) {
  struct factor_change *change = (struct factor_change *)task;
  char *id_token, *refresh_token, *codes[TOTP_RECOVERY_CODES];
  task_doubt(task, change->user);
  task_end_attempt(task, true);
  status result = sign_in_session_tokens(task, &change->session, change->user, &id_token, &refresh_token);
  if (!status_is_ok(&result)) {
    task_fail(task, result);
    return;
  }
  if (change->withdrawn_id != NULL) {
    Skerry__Identity__V1__WithdrawMfaResponse gone = SKERRY__IDENTITY__V1__WITHDRAW_MFA_RESPONSE__INIT;
    gone.id_token = id_token;
    gone.refresh_token = refresh_token;
    skerry_identity_v1_accounts_withdraw_mfa_reply(task->call, &gone);
    return;
  }
  Skerry__Identity__V1__FinalizeMfaEnrollmentResponse response =
      SKERRY__IDENTITY__V1__FINALIZE_MFA_ENROLLMENT_RESPONSE__INIT;
  Skerry__Identity__V1__TotpAuthInfo info = SKERRY__IDENTITY__V1__TOTP_AUTH_INFO__INIT;
  for (size_t i = 0; i < TOTP_RECOVERY_CODES; i++)
    codes[i] = change->codes[i];
  response.id_token = id_token;
  response.refresh_token = refresh_token;
  response.totp_auth_info = &info;
  response.recovery_codes = codes;
  response.n_recovery_codes = TOTP_RECOVERY_CODES;
  skerry_identity_v1_accounts_finalize_mfa_enrollment_reply(task->call, &response);
}

/* The factor as it is stored, with its recovery codes. */
static status make_factor(struct factor_change *change, str secret, int64_t step, const char *display_name) {
  struct task *task = &change->task;
  struct totp_recovery recovery;
  char *id = arena_alloc(task->arena, FACTOR_ID_BYTES + 1);
  uint8_t *stored = arena_alloc(task->arena, TOTP_RECOVERY_STORED_BYTES);
  str uid = arena_str_copy(task->arena, change->token.uid);
  if (id == NULL || stored == NULL || uid.ptr == NULL)
    return task_no_memory();
  fields_make_uid(id);
  totp_recovery_make(&recovery, change->codes);
  totp_recovery_encode(&recovery, stored);
  skerry__identity__v1__stored_totp__init(&change->totp);
  change->totp.id = id;
  change->totp.display_name = task_text(display_name);
  change->totp.enrolled_us = task->now_us;
  change->totp.last_step = step;
  change->totp.recovery = (ProtobufCBinaryData){TOTP_RECOVERY_STORED_BYTES, stored};
  return mfa_seal_secret(task, uid.ptr, secret, &change->totp.secret);
}

static status begin_finalize(struct factor_change *change,
                             const Skerry__Identity__V1__FinalizeMfaEnrollmentRequest *request) {
  struct task *task = &change->task;
  const Skerry__Identity__V1__TotpVerificationInfo *info = request->totp_verification_info;
  user_record *user;
  step_record *step;
  int64_t used;
  STATUS_TRY(task_read_id_token(task, request->id_token, &change->token, &user));
  STATUS_TRY(task_check_recent(task, &change->token, user));
  STATUS_TRY(fields_check_display_name(str_from_cstr(request->display_name)));
  if (info == NULL)
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_MFA_SESSION");
  STATUS_TRY(mfa_open_step(task, PURPOSE, info->session_info, "INVALID_MFA_SESSION", &step));
  if (!str_eq(str_from_cstr(step->uid), change->token.uid))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_MFA_SESSION");
  str secret = str_make(step->secret.data, step->secret.len);
  if (!totp_check(secret, str_from_cstr(info->verification_code), task->now_us, INT64_MIN, &used))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_CODE");
  sign_in_session_init(task, "", "", &change->session);
  return make_factor(change, secret, used, request->display_name);
}

void identity_finalize_mfa_enrollment(struct rpc_call *call,
                                      const Skerry__Identity__V1__FinalizeMfaEnrollmentRequest *request) {
  struct factor_change *change = TASK_NEW(call, factor_change);
  if (change == NULL)
    return;
  status result = task_init(&change->task, call, request->target_project_id, request->tenant_id);
  if (status_is_ok(&result))
    result = begin_finalize(change, request);
  if (status_is_ok(&result))
    task_commit(&change->task, commit_factor, reply_factor);
  else
    task_fail(&change->task, result);
}

void identity_withdraw_mfa(struct rpc_call *call, const Skerry__Identity__V1__WithdrawMfaRequest *request) {
  struct factor_change *change = TASK_NEW(call, factor_change);
  user_record *user;
  if (change == NULL)
    return;
  status result = task_init(&change->task, call, request->target_project_id, request->tenant_id);
  if (status_is_ok(&result))
    result = task_read_id_token(&change->task, request->id_token, &change->token, &user);
  if (status_is_ok(&result))
    result = task_check_recent(&change->task, &change->token, user);
  change->withdrawn_id = request->mfa_enrollment_id;
  if (status_is_ok(&result)) {
    sign_in_session_init(&change->task, "", "", &change->session);
    task_commit(&change->task, commit_factor, reply_factor);
  } else {
    task_fail(&change->task, result);
  }
}
