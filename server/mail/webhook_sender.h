/* Mails by a webhook: a POST of JSON to one URL, through skerry-net; a service behind it sends the mail as it
 * likes.
 *
 *   POST ...                              {"id": "...", "kind": "verify_email", "project": "p", "to":
 * "a@b.example", content-type: application/json         "email": "...", "newEmail": "...", "displayName":
 * "...", "link": "...", idempotency-key: ID                    "code": "...", "subject": "...", "text":
 * "...", "from": "...", skerry-timestamp: 1767225600           "createdAt": "2026-01-01T00:00:00Z",
 * "expiresAt": "..."} skerry-signature: v1=HEX
 *
 * HEX is HMAC-SHA-256, under the key of the settings, of the timestamp (seconds since 1970, of this try), a
 * full stop and the body. Any 2xx takes it. 400, 404, 410, 413 and 422 refuse it for good; 408, 409, 425, 429
 * and 5xx are "not now"; all else is MAIL_AWAY. */
#ifndef SKERRY_SERVER_MAIL_WEBHOOK_SENDER_H
#define SKERRY_SERVER_MAIL_WEBHOOK_SENDER_H

#include "net/client.h"
#include "ports/port.h"
#include "server/mail/sender.h"

enum { WEBHOOK_KEY_BYTES_MIN = 16 };

struct webhook_options {
  struct net_client *net; /* outlives it; its origins have the URL's */
  struct port *port;
  const char *url;
  const char *from; /* "": not in the body */
  str key;
};

struct webhook_sender;

/* Copies the options. INVALID_ARGUMENT: the key is too short; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status webhook_sender_new(const struct webhook_options *options, struct webhook_sender **ret);
void webhook_sender_free(struct webhook_sender *sender); /* NULL is fine */
struct mail_sender webhook_sender_interface(struct webhook_sender *sender);

#endif
