/* The second half of a sign-in. */
#include "server/identity/mfa.h"

struct second_half {
  struct task task;
  const step_record *step;
  const char *enrollment_id, *code, *recovery_code;
  struct sign_in_session session;
  user_record *user;
  unsigned recovery_left;
};

/* Uses up the code, in a copy of the factor. */
static status use_code(struct second_half *half, const user_record *before,
                       Skerry__Identity__V1__StoredTotp *totp) {
  struct task *task = &half->task;
  struct totp_recovery recovery;
  if (!totp_recovery_decode(str_make(totp->recovery.data, totp->recovery.len), &recovery))
    return status_make(STATUS_DATA_LOSS, "The recovery codes of an account are damaged.");
  if (*half->recovery_code != '\0') {
    uint8_t *stored = arena_alloc(task->arena, TOTP_RECOVERY_STORED_BYTES);
    if (stored == NULL)
      return task_no_memory();
    if (!totp_recovery_use(&recovery, str_from_cstr(half->recovery_code)))
      return status_make(STATUS_INVALID_ARGUMENT, "INVALID_CODE");
    totp_recovery_encode(&recovery, stored);
    totp->recovery = (ProtobufCBinaryData){TOTP_RECOVERY_STORED_BYTES, stored};
  } else {
    str secret;
    STATUS_TRY(mfa_secret(task, before, &secret));
    if (!totp_check(secret, str_from_cstr(half->code), task->now_us, totp->last_step, &totp->last_step))
      return status_make(STATUS_INVALID_ARGUMENT, "INVALID_CODE");
  }
  half->recovery_left = totp_recovery_left(&recovery);
  return status_ok();
}

/* What ends sessions ends a sign-in that is half way, too: whoever knows the password may have begun it. */
static bool is_as_it_was(const step_record *step, const user_record *user) {
  return user->sessions_ended == step->sessions_ended && user->valid_since_s == step->valid_since_s &&
         user->password_updated_us == step->password_updated_us;
}

static status commit_second_half(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct second_half *half = (struct second_half *)task;
  user_record *before;
  STATUS_TRY(user_store_find(view, task->project, str_from_cstr(half->step->uid), task->arena, &before));
  if (before == NULL || !is_as_it_was(half->step, before))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_MFA_PENDING_CREDENTIAL");
  if (before->disabled)
    return status_make(STATUS_PERMISSION_DENIED, "USER_DISABLED");
  if (before->totp == NULL ||
      (*half->enrollment_id != '\0' && strcmp(before->totp->id, half->enrollment_id) != 0))
    return status_make(STATUS_INVALID_ARGUMENT, "MFA_ENROLLMENT_NOT_FOUND");
  user_record *user = user_record_copy(task->arena, before);
  Skerry__Identity__V1__StoredTotp *totp = ARENA_NEW(task->arena, Skerry__Identity__V1__StoredTotp);
  if (user == NULL || totp == NULL)
    return task_no_memory();
  *totp = *before->totp;
  STATUS_TRY(use_code(half, before, totp));
  user->totp = totp;
  half->session.record.second_factor_id = totp->id;
  STATUS_TRY(sign_in_session_put(task, &half->session, user, batch));
  half->user = user;
  return user_store_put(view, batch, task->arena, before, user);
}

static void reply_second_half(struct task *task) {
  struct second_half *half = (struct second_half *)task;
  Skerry__Identity__V1__FinalizeMfaSignInResponse response =
      SKERRY__IDENTITY__V1__FINALIZE_MFA_SIGN_IN_RESPONSE__INIT;
  task_end_attempt(task, true);
  status result =
      sign_in_session_tokens(task, &half->session, half->user, &response.id_token, &response.refresh_token);
  response.recovery_codes = (int32_t)half->recovery_left;
  if (!status_is_ok(&result)) {
    task_fail(task, result);
    return;
  }
  task_count(task, IDENTITY_OK);
  skerry_identity_v1_accounts_finalize_mfa_sign_in_reply(task->call, &response);
}

static status begin(struct second_half *half, const Skerry__Identity__V1__FinalizeMfaSignInRequest *request) {
  struct task *task = &half->task;
  step_record *step;
  half->enrollment_id = request->mfa_enrollment_id;
  half->code =
      request->totp_verification_info == NULL ? "" : request->totp_verification_info->verification_code;
  half->recovery_code = request->recovery_code;
  if (*half->code == '\0' && *half->recovery_code == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_CODE");
  STATUS_TRY(mfa_open_step(task, "sign-in", request->mfa_pending_credential, "INVALID_MFA_PENDING_CREDENTIAL",
                           &step));
  half->step = step;
  sign_in_session_init(task, step->sign_in_provider, "", &half->session);
  return task_begin_attempt_at(task, "second factor of", str_from_cstr(step->uid));
}

void identity_finalize_mfa_sign_in(struct rpc_call *call,
                                   const Skerry__Identity__V1__FinalizeMfaSignInRequest *request) {
  struct second_half *half = TASK_NEW(call, second_half);
  if (half == NULL)
    return;
  status result = task_init(&half->task, call, request->target_project_id, request->tenant_id);
  half->task.way = IDENTITY_SECOND_FACTOR;
  if (status_is_ok(&result))
    result = begin(half, request);
  if (status_is_ok(&result))
    task_commit(&half->task, commit_second_half, reply_second_half);
  else
    task_fail(&half->task, result);
}
