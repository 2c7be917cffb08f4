/* A mail that waits to be sent, and its bytes in the store. Any thread. */
#ifndef SKERRY_SERVER_MAIL_RECORD_H
#define SKERRY_SERVER_MAIL_RECORD_H

#include "server/mail/template.h"

enum { MAIL_RECORD_BYTES_MAX = 96 * 1024, MAIL_ID_BYTES = 32 };

/* Borrows everything. */
struct mail_record {
  enum mail_kind kind;
  int64_t created_us, expires_us; /* wall clock; it is not sent after it expires */
  str id;                         /* MAIL_ID_BYTES hexadecimal digits: the same each time it is sent */
  str to, subject, text;
  str project, email, new_email, display_name, link, code; /* for webhooks */
};

/* Appends the bytes. out->failed: no memory. */
void mail_record_encode(const struct mail_record *record, struct buf *out);
/* Borrows from the bytes. False: they are not of mail_record_encode. */
bool mail_record_decode(str bytes, struct mail_record *ret);

#endif
