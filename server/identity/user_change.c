#include "server/identity/user_change.h"

#include "server/identity/fields.h"
#include "server/identity/mfa.h"

static char *text(const char *value) {
  return (char *)(uintptr_t)value; /* what protobuf-c wants, and does not change */
}

/* ---- Changing ---- */

status user_change_check(struct user_change *change, struct arena *arena) {
  str canonical;
  if (change->email != NULL && *change->email != '\0') {
    STATUS_TRY(fields_canonical_email(str_from_cstr(change->email), arena, &canonical));
    change->email = canonical.ptr;
  }
  if (change->display_name != NULL)
    STATUS_TRY(fields_check_display_name(str_from_cstr(change->display_name)));
  if (change->photo_url != NULL)
    STATUS_TRY(fields_check_photo_url(str_from_cstr(change->photo_url)));
  if (change->custom_claims != NULL && *change->custom_claims != '\0') {
    STATUS_TRY(fields_canonical_claims(str_from_cstr(change->custom_claims), arena, &canonical));
    change->custom_claims = canonical.ptr;
  }
  return status_ok();
}

status user_change_check_email(const char *email, bool is_shown, const user_record *user) {
  bool is_same = email == NULL || strcmp(email, user->email) == 0;
  bool has_verified = *user->email != '\0' && user->email_verified;
  if (is_same || (!has_verified && (is_shown || user->totp == NULL)))
    return status_ok();
  return status_make(STATUS_PERMISSION_DENIED,
                     "OPERATION_NOT_ALLOWED : Please verify the new email before changing email.");
}

static void set_text(const char *value, char **field) {
  if (value != NULL)
    *field = text(value);
}

static void set_flag(enum user_flag flag, protobuf_c_boolean *field) {
  if (flag != USER_UNCHANGED)
    *field = flag == USER_SET;
}

static void delete_provider(user_record *user, const char *provider_id) {
  size_t kept = 0;
  if (strcmp(provider_id, "password") == 0) {
    user->password = text("");
    user->password_updated_us = 0;
  }
  for (size_t i = 0; i < user->n_providers; i++)
    if (strcmp(user->providers[i]->provider_id, provider_id) != 0)
      user->providers[kept++] = user->providers[i];
  user->n_providers = kept;
}

static void delete_attribute(user_record *user, const char *attribute) {
  if (strcmp(attribute, "DISPLAY_NAME") == 0)
    user->display_name = text("");
  else if (strcmp(attribute, "PHOTO_URL") == 0)
    user->photo_url = text("");
}

status user_change_apply(const struct user_change *change, int64_t now_us, user_record *user) {
  if (change->email != NULL && strcmp(change->email, user->email) != 0) {
    user->email = text(change->email);
    user->email_verified = false;
  }
  set_text(change->display_name, &user->display_name);
  set_text(change->photo_url, &user->photo_url);
  set_text(change->custom_claims, &user->custom_claims);
  set_flag(change->email_verified, &user->email_verified);
  set_flag(change->disabled, &user->disabled);
  if (change->valid_since_s != 0)
    user->valid_since_s = change->valid_since_s;
  for (size_t i = 0; i < change->delete_attribute_count; i++)
    delete_attribute(user, change->delete_attributes[i]);
  for (size_t i = 0; i < change->delete_provider_count; i++)
    delete_provider(user, change->delete_providers[i]);
  if (change->withdraws_mfa)
    user->totp = NULL;
  if (change->password != NULL) {
    user->password = text(change->password);
    user->password_updated_us = now_us;
  }
  if (*user->email == '\0' && *user->password != '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_EMAIL");
  if (*user->password != '\0' || user->n_providers > 0 || *user->email != '\0')
    user->anonymous = false;
  return status_ok();
}

bool user_change_is_of_secrets(const struct user_change *change) {
  return change->email != NULL || change->password != NULL;
}

void user_record_init(user_record *user, const char *project, const char *uid, int64_t now_us) {
  skerry__identity__v1__stored_user__init(user);
  user->project = text(project);
  user->uid = text(uid);
  user->created_us = now_us;
}

/* ---- Describing ---- */

static Skerry__Identity__V1__ProviderUserInfo *describe_provider(struct arena *arena,
                                                                 const provider_record *record) {
  Skerry__Identity__V1__ProviderUserInfo *info = ARENA_NEW(arena, Skerry__Identity__V1__ProviderUserInfo);
  if (info == NULL)
    return NULL;
  skerry__identity__v1__provider_user_info__init(info);
  info->provider_id = record->provider_id;
  info->raw_id = info->federated_id = record->raw_id;
  info->email = record->email;
  info->display_name = record->display_name;
  info->photo_url = record->photo_url;
  return info;
}

bool user_describe_providers(struct arena *arena, const user_record *user,
                             Skerry__Identity__V1__ProviderUserInfo ***ret, size_t *ret_count) {
  Skerry__Identity__V1__ProviderUserInfo **list =
      ARENA_NEW_ARRAY(arena, Skerry__Identity__V1__ProviderUserInfo *, user->n_providers + 1);
  size_t count = 0;
  if (list == NULL)
    return false;
  if (*user->password != '\0' || (user->email_link && *user->email != '\0')) {
    provider_record record;
    skerry__identity__v1__stored_provider__init(&record);
    record.provider_id = text("password");
    record.raw_id = record.email = user->email;
    record.display_name = user->display_name;
    record.photo_url = user->photo_url;
    list[count++] = describe_provider(arena, &record);
  }
  for (size_t i = 0; i < user->n_providers; i++)
    list[count++] = describe_provider(arena, user->providers[i]);
  *ret = list;
  *ret_count = count;
  return !arena->exhausted;
}

Skerry__Identity__V1__User *user_describe(struct arena *arena, const user_record *user) {
  Skerry__Identity__V1__User *made = ARENA_NEW(arena, Skerry__Identity__V1__User);
  if (made == NULL)
    return NULL;
  skerry__identity__v1__user__init(made);
  made->local_id = user->uid;
  made->email = user->email;
  made->email_verified = user->email_verified;
  made->display_name = user->display_name;
  made->photo_url = user->photo_url;
  made->disabled = user->disabled;
  made->valid_since = user->valid_since_s;
  made->created_at = user->created_us / 1000;
  made->last_login_at = user->last_login_us / 1000;
  made->custom_attributes = user->custom_claims;
  made->custom_auth = user->custom_auth;
  made->email_link_signin = user->email_link;
  made->password_updated_at = (double)user->password_updated_us / 1000;
  if (!mfa_describe(arena, user, &made->mfa_info, &made->n_mfa_info))
    return NULL;
  if (!user_describe_providers(arena, user, &made->provider_user_info, &made->n_provider_user_info))
    return NULL;
  return made;
}
