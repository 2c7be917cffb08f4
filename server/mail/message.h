/* A plain-text mail as it goes over the wire: RFC 5322 with MIME (RFC 2045), UTF-8. Whatever is in a name or
 * a subject, it stays within its header: control characters become spaces, and what is not plain ASCII
 * becomes encoded words (RFC 2047). The text becomes quoted-printable, so no line is longer than 76
 * characters. Any thread. */
#ifndef SKERRY_SERVER_MAIL_MESSAGE_H
#define SKERRY_SERVER_MAIL_MESSAGE_H

#include "server/mail/address.h"

struct mail_message {
  struct mailbox from;
  str to;          /* mail_address_is_valid */
  str subject;     /* UTF-8; what is not becomes U+FFFD */
  str text;        /* likewise, lines end in LF */
  str id;          /* of Message-ID, without its brackets: "abc@domain", printable ASCII */
  int64_t date_us; /* since 1970 */
};

/* Appends all of it, lines ending in CRLF. out->failed: no memory. */
void mail_message_append(const struct mail_message *message, struct buf *out);

#endif
