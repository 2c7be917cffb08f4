/* One-time codes that mails bring: what they are for, as text, and the link that has them. Inside of the
 * directory. */
#ifndef SKERRY_SERVER_IDENTITY_CODE_H
#define SKERRY_SERVER_IDENTITY_CODE_H

#include "server/identity/handlers.h"

enum code_kind {
  CODE_PASSWORD_RESET,
  CODE_VERIFY_EMAIL,
  CODE_EMAIL_SIGNIN,
  CODE_CHANGE_EMAIL,
  CODE_RECOVER_EMAIL, /* only the server sends it: to the old address, after a change */
  CODE_KINDS
};

/* By the name that clients send (`request_type`). False: there is none. */
bool code_kind_read(const char *name, enum code_kind *ret);
const char *code_kind_name(enum code_kind kind);
/* How long one is good. */
int64_t code_kind_lifetime_us(enum code_kind kind);
enum mail_kind code_kind_mail(enum code_kind kind);

/* With a NUL. */
void code_write(const uint8_t code[CODE_BYTES], char ret[CODE_TEXT_BYTES + 1]);
/* INVALID_ARGUMENT: INVALID_OOB_CODE, MISSING_OOB_CODE. */
STATUS_MUST_USE status code_read(const char *text, uint8_t ret_key[CRYPTO_SHA256_BYTES]);

/* The link, in the arena. `continue_url` may be empty. INVALID_ARGUMENT: UNAUTHORIZED_DOMAIN, its page is not
 * one that the settings name, and would get the code, or whoever follows it; OPERATION_NOT_ALLOWED: the
 * settings name no page. */
STATUS_MUST_USE status code_link(const struct task *task, enum code_kind kind, const char *code,
                                 const char *continue_url, bool in_app, str *ret);

/* Within a change, or before it: the code, if it is of the kind and good now. INVALID_ARGUMENT:
 * INVALID_OOB_CODE, EXPIRED_OOB_CODE. */
STATUS_MUST_USE status code_find(const struct task *task, const struct user_view *view,
                                 const uint8_t key[CRYPTO_SHA256_BYTES], code_record **ret);

#endif
