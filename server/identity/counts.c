#include "server/identity/counts.h"

const char *identity_way_name(enum identity_way way) {
  static const char *const names[IDENTITY_WAYS] = {
      [IDENTITY_NO_WAY] = "",
      [IDENTITY_ANONYMOUS] = "anonymous",
      [IDENTITY_PASSWORD] = "password",
      [IDENTITY_EMAIL_LINK] = "email_link",
      [IDENTITY_CUSTOM_TOKEN] = "custom_token",
      [IDENTITY_PROVIDER] = "provider",
      [IDENTITY_SECOND_FACTOR] = "second_factor",
      [IDENTITY_REFRESH] = "refresh",
      [IDENTITY_ADMINISTRATOR] = "administrator",
  };
  return names[way];
}

const char *identity_result_name(enum identity_result result) {
  static const char *const names[IDENTITY_RESULTS] = {
      [IDENTITY_OK] = "ok",           [IDENTITY_HALF] = "half",     [IDENTITY_AGAIN] = "again",
      [IDENTITY_WRONG] = "wrong",     [IDENTITY_REUSED] = "reused", [IDENTITY_LIMITED] = "limited",
      [IDENTITY_REFUSED] = "refused", [IDENTITY_FAILED] = "failed",
  };
  return names[result];
}

const char *identity_end_name(enum identity_end end) {
  static const char *const names[IDENTITY_ENDS] = {[IDENTITY_BY_OWNER] = "owner",
                                                   [IDENTITY_BY_ADMINISTRATOR] = "administrator",
                                                   [IDENTITY_BY_AGE] = "age"};
  return names[end];
}

enum identity_result identity_result_of(enum status_code code) {
  if (code == STATUS_INVALID_ARGUMENT || code == STATUS_NOT_FOUND || code == STATUS_ALREADY_EXISTS ||
      code == STATUS_UNAUTHENTICATED)
    return IDENTITY_WRONG;
  if (code == STATUS_RESOURCE_EXHAUSTED)
    return IDENTITY_LIMITED;
  return code == STATUS_PERMISSION_DENIED ? IDENTITY_REFUSED : IDENTITY_FAILED;
}

bool identity_result_occurs(enum identity_way way, enum identity_result result) {
  if (result == IDENTITY_AGAIN || result == IDENTITY_REUSED)
    return way == IDENTITY_REFRESH;
  if (result == IDENTITY_HALF)
    return way == IDENTITY_PASSWORD || way == IDENTITY_EMAIL_LINK || way == IDENTITY_PROVIDER;
  return true;
}
