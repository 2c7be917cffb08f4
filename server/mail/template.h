/* What mails say: built in, or files of an operator's in their place, one a kind:
 *
 *   verify_email.txt reset_password.txt email_link.txt change_email.txt email_changed.txt
 *
 * The first line is "Subject: ...", then an empty line, then the text. UTF-8, 16 KiB at most. Places are
 * filled in as in Firebase's console: %LINK% %EMAIL% %NEW_EMAIL% %DISPLAY_NAME% %APP_NAME%; "%%" is a percent
 * sign, and what else stands between two is left as it is. What is filled in has its control characters made
 * spaces, and is cut at 256 bytes (the link: as long as it is). A template that asks for it must have %LINK%
 * (email_changed need not). Any thread; read once. */
#ifndef SKERRY_SERVER_MAIL_TEMPLATE_H
#define SKERRY_SERVER_MAIL_TEMPLATE_H

#include "base/status.h"
#include "base/str.h"

enum mail_kind {
  MAIL_VERIFY_EMAIL,   /* Firebase's VERIFY_EMAIL */
  MAIL_RESET_PASSWORD, /* PASSWORD_RESET */
  MAIL_EMAIL_LINK,     /* EMAIL_SIGNIN */
  MAIL_CHANGE_EMAIL,   /* VERIFY_AND_CHANGE_EMAIL, to the new address */
  MAIL_EMAIL_CHANGED,  /* RECOVER_EMAIL, to the old one */
  MAIL_KINDS
};
/* "verify_email"; static. */
const char *mail_kind_name(enum mail_kind kind);

enum { MAIL_TEMPLATE_BYTES_MAX = 16 * 1024, MAIL_TEXT_BYTES_MAX = 64 * 1024 };

struct mail_fields {
  str link, email, new_email, display_name, app_name;
};

struct mail_templates;

/* `directory`: NULL, all are the built-in ones; a file that is missing leaves its kind at that.
 * FAILED_PRECONDITION with the file and what is wrong in it; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status mail_templates_read(const char *directory, struct mail_templates **ret);
void mail_templates_free(struct mail_templates *templates); /* NULL is fine */

/* Appends subject (one line, no more than 512 bytes) and text. RESOURCE_EXHAUSTED: no memory, or the text
 * would pass MAIL_TEXT_BYTES_MAX. */
STATUS_MUST_USE status mail_template_fill(const struct mail_templates *templates, enum mail_kind kind,
                                          const struct mail_fields *fields, struct buf *ret_subject,
                                          struct buf *ret_text);

#endif
