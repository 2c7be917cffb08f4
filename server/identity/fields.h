/* What the fields of an account may hold, and the codes that SDKs know for what they may not. No I/O; any
 * thread. Statuses: INVALID_ARGUMENT with such a code; RESOURCE_EXHAUSTED. */
#ifndef SKERRY_SERVER_IDENTITY_FIELDS_H
#define SKERRY_SERVER_IDENTITY_FIELDS_H

#include "base/arena.h"
#include "base/status.h"

enum {
  FIELDS_UID_BYTES_MAX = 128,   /* as in tokens (jwt.h) */
  FIELDS_UID_MADE_BYTES = 28,   /* of those that the server makes */
  FIELDS_EMAIL_BYTES_MAX = 254, /* RFC 5321: a path has 256 with its brackets */
  FIELDS_NAME_BYTES_MAX = 256,  /* Firebase's documented bounds of display names and URLs */
  FIELDS_URL_BYTES_MAX = 2048,
  FIELDS_CLAIMS_BYTES_MAX = 1000, /* documented */
  FIELDS_CLAIMS_DEPTH_MAX = 8,
};

/* Made of letters and digits, without bias: 166 bits. With a NUL. */
void fields_make_uid(char ret[FIELDS_UID_MADE_BYTES + 1]);
STATUS_MUST_USE status fields_check_uid(str uid);

/* The address in the form in which it is compared and kept: ASCII letters in lower case, what is not ASCII as
 * it is. Not more is asked than that mail could be sent there: one `@` with something before it and a name
 * after it, nothing that ends a line or needs quotes. */
STATUS_MUST_USE status fields_canonical_email(str email, struct arena *arena, str *ret);
STATUS_MUST_USE status fields_check_display_name(str name);
STATUS_MUST_USE status fields_check_photo_url(str url);

/* Custom claims: a JSON object without the names that tokens have themselves, and of what rules can read
 * (server/tokens/claims.h). *ret is its compact form in the arena; "" for an empty one. */
STATUS_MUST_USE status fields_canonical_claims(str json, struct arena *arena, str *ret);
/* Of two such objects one, `stronger` having the last word; appends what stands between the braces, so
 * nothing for two empty ones. */
STATUS_MUST_USE status fields_append_claims(str weaker, str stronger, struct buf *out);

#endif
