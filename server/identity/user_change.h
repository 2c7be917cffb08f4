/* Changes of an account's fields, the same for its owner and for administrators; and an account as others see
 * it. Inside of the directory. */
#ifndef SKERRY_SERVER_IDENTITY_USER_CHANGE_H
#define SKERRY_SERVER_IDENTITY_USER_CHANGE_H

#include "server/identity/user_store.h"
#include "skerry/identity/v1/user.pb-c.h"

enum user_flag { USER_UNCHANGED, USER_SET, USER_CLEARED };

/* NULL and USER_UNCHANGED: as it is. Texts are borrowed, canonical and checked (user_change_check), "" takes
 * away. */
struct user_change {
  const char *email, *display_name, *photo_url, *custom_claims;
  const char *password; /* as it is stored */
  enum user_flag email_verified, disabled;
  int64_t valid_since_s; /* 0: as it is */
  bool withdraws_mfa;
  char *const *delete_attributes, *const *delete_providers;
  size_t delete_attribute_count, delete_provider_count;
};

/* Replaces texts by their canonical forms, in the arena. INVALID_ARGUMENT with the code; RESOURCE_EXHAUSTED.
 */
STATUS_MUST_USE status user_change_check(struct user_change *change, struct arena *arena);
/* Whether a user may give himself that address (NULL: none) by other means than a mail that changes it. Not
 * in the place of a verified one, whose owner would not hear of it and could not take it back; and with a
 * second factor only one that he has shown to be his, since who has the address could take the account over.
 * PERMISSION_DENIED, OPERATION_NOT_ALLOWED. */
STATUS_MUST_USE status user_change_check_email(const char *email, bool is_shown, const user_record *user);
/* To a copy of the record. INVALID_ARGUMENT: MISSING_EMAIL, a password without an address. */
STATUS_MUST_USE status user_change_apply(const struct user_change *change, int64_t now_us, user_record *user);
/* Whether whoever knew the old secrets has to be signed out. */
bool user_change_is_of_secrets(const struct user_change *change);

/* A record of a new user with that id; texts are borrowed. */
void user_record_init(user_record *user, const char *project, const char *uid, int64_t now_us);

/* For responses, in the arena. NULL: no memory. */
Skerry__Identity__V1__User *user_describe(struct arena *arena, const user_record *user);
/* The ways to sign in alone. False: no memory. */
bool user_describe_providers(struct arena *arena, const user_record *user,
                             Skerry__Identity__V1__ProviderUserInfo ***ret, size_t *ret_count);

#endif
