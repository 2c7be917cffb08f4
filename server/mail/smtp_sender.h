/* Mails by SMTP (RFC 5321), through skerry-net: with STARTTLS, which is required, or TLS from the first byte.
 * A refusal for good (5xx) of the recipient or the text is MAIL_REFUSED; one of our own user, password or
 * address, and all that fails before, is MAIL_AWAY, because the next mail would fare no better. */
#ifndef SKERRY_SERVER_MAIL_SMTP_SENDER_H
#define SKERRY_SERVER_MAIL_SMTP_SENDER_H

#include "net/client.h"
#include "server/mail/message.h"
#include "server/mail/sender.h"

struct smtp_options {
  struct net_client *net; /* outlives it; its origins have the URL's */
  const char *url;        /* smtp://host:port or smtps://host:port */
  const char *from;       /* mailbox_parse */
  const char *user;       /* NULL: without */
  str password;
  bool insecure; /* smtp without TLS; then skerry-net was told so too */
};

struct smtp_sender;

/* Copies the options. INVALID_ARGUMENT: `from` is no mailbox; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status smtp_sender_new(const struct smtp_options *options, struct smtp_sender **ret);
void smtp_sender_free(struct smtp_sender *sender); /* NULL is fine */
struct mail_sender smtp_sender_interface(struct smtp_sender *sender);

#endif
