#include "server/identity/mfa.h"

#include "base/base64url.h"
#include "server/timestamp.h"

enum { STEP_TEXT_BYTES_MAX = 4096 };
static const char PENDING[] = "sign-in";

/* ---- Describing ---- */

static Skerry__Identity__V1__MfaEnrollment *describe(struct arena *arena,
                                                     const Skerry__Identity__V1__StoredTotp *totp) {
  Skerry__Identity__V1__MfaEnrollment *made = ARENA_NEW(arena, Skerry__Identity__V1__MfaEnrollment);
  Google__Protobuf__Timestamp *time = timestamp_new(arena, totp->enrolled_us);
  Skerry__Identity__V1__TotpInfo *info = ARENA_NEW(arena, Skerry__Identity__V1__TotpInfo);
  if (made == NULL || time == NULL || info == NULL)
    return NULL;
  skerry__identity__v1__mfa_enrollment__init(made);
  skerry__identity__v1__totp_info__init(info);
  made->mfa_enrollment_id = totp->id;
  made->display_name = totp->display_name;
  made->enrolled_at = time;
  made->totp_info = info;
  return made;
}

bool mfa_describe(struct arena *arena, const user_record *user, Skerry__Identity__V1__MfaEnrollment ***ret,
                  size_t *ret_count) {
  *ret_count = 0;
  if (user->totp == NULL)
    return true;
  Skerry__Identity__V1__MfaEnrollment **list =
      ARENA_NEW_ARRAY(arena, Skerry__Identity__V1__MfaEnrollment *, 1);
  if (list == NULL)
    return false;
  list[0] = describe(arena, user->totp);
  *ret = list;
  *ret_count = 1;
  return list[0] != NULL;
}

/* ---- Steps ---- */

static str place_of(const struct task *task, const char *purpose) {
  return arena_printf(task->arena, "step/%s/" STR_FMT, purpose, STR_ARG(task->project));
}

status mfa_seal_step(const struct task *task, const char *purpose, const step_record *step, char **ret) {
  size_t size = skerry__identity__v1__stored_step__get_packed_size(step);
  uint8_t *bytes = arena_alloc(task->arena, size);
  str place = place_of(task, purpose), copy = {0};
  struct buf sealed = {0}, text = {0};
  if (bytes == NULL || place.ptr == NULL)
    return task_no_memory();
  skerry__identity__v1__stored_step__pack(step, bytes);
  signing_keys_seal(task->service->keys, place, str_make(bytes, size), &sealed);
  if (!sealed.failed)
    base64url_append(&text, buf_str(&sealed));
  if (!sealed.failed && !text.failed)
    copy = arena_str_copy(task->arena, buf_str(&text));
  buf_fini(&sealed);
  buf_fini(&text);
  *ret = task_text(copy.ptr);
  return copy.ptr == NULL ? task_no_memory() : status_ok();
}

status mfa_open_step(const struct task *task, const char *purpose, const char *text, const char *code,
                     step_record **ret) {
  str place = place_of(task, purpose), coded = str_from_cstr(text);
  struct buf opened = {0};
  size_t len;
  if (coded.len == 0 || coded.len > STEP_TEXT_BYTES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "%s", code);
  char *sealed = arena_alloc(task->arena, base64url_decoded_max(coded.len));
  if (sealed == NULL || place.ptr == NULL)
    return task_no_memory();
  step_record *step = NULL;
  status result = status_ok();
  if (base64url_decode(coded, sealed, &len) &&
      signing_keys_unseal(task->service->keys, place, str_make(sealed, len), &opened))
    result =
        stored_decode(&skerry__identity__v1__stored_step__descriptor, buf_str(&opened), task->arena, &step);
  buf_fini(&opened);
  STATUS_TRY(result);
  if (step == NULL || task->now_us >= step->expires_us)
    return status_make(STATUS_INVALID_ARGUMENT, "%s", code);
  *ret = step;
  return status_ok();
}

status mfa_make_pending(const struct task *task, const user_record *user, const char *provider, char **ret) {
  step_record step = SKERRY__IDENTITY__V1__STORED_STEP__INIT;
  step.expires_us = task->now_us + INT64_C(1000000) * MFA_PENDING_S;
  step.uid = user->uid;
  step.sign_in_provider = task_text(provider);
  step.password_updated_us = user->password_updated_us;
  step.valid_since_s = user->valid_since_s;
  step.sessions_ended = user->sessions_ended;
  return mfa_seal_step(task, PENDING, &step, ret);
}

/* ---- The app's secret ---- */

static str secret_place(const struct task *task, const char *uid) {
  return arena_printf(task->arena, "totp/" STR_FMT "/%s", STR_ARG(task->project), uid);
}

status mfa_secret(const struct task *task, const user_record *user, str *ret) {
  struct buf opened = {0};
  str place = secret_place(task, user->uid);
  if (place.ptr == NULL)
    return task_no_memory();
  bool good = signing_keys_unseal(task->service->keys, place,
                                  str_make(user->totp->secret.data, user->totp->secret.len), &opened);
  str copy = good && opened.len > 0 ? arena_str_copy(task->arena, buf_str(&opened)) : (str){0};
  buf_fini(&opened);
  if (!good)
    return status_make(STATUS_DATA_LOSS, "The second factor cannot be read with this server's identity.key.");
  *ret = copy;
  return copy.ptr == NULL ? task_no_memory() : status_ok();
}

status mfa_seal_secret(const struct task *task, const char *uid, str secret, ProtobufCBinaryData *ret) {
  struct buf sealed = {0};
  str place = secret_place(task, uid), copy = {0};
  if (place.ptr == NULL)
    return task_no_memory();
  signing_keys_seal(task->service->keys, place, secret, &sealed);
  if (!sealed.failed)
    copy = arena_str_copy(task->arena, buf_str(&sealed));
  buf_fini(&sealed);
  if (copy.ptr == NULL)
    return task_no_memory();
  *ret = (ProtobufCBinaryData){copy.len, (uint8_t *)(uintptr_t)copy.ptr};
  return status_ok();
}
