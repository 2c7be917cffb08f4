/* Client certificates as identities: one value of the setting `certificate` a rule.
 *
 *   NAME role=viewer|editor|owner     a service account of that name
 *   NAME uid=UID                      a user, for whom rules decide; uid=* takes the certificate's name
 *
 * NAME is the certificate's (its subject's common name, or its first DNS name or e-mail address), or
 * sha256:HEX, its fingerprint, or *, any that the authority in tls_client_ca has signed. The first rule that
 * fits counts. */
#ifndef SKERRY_SERVER_TOKENS_CERTIFICATES_H
#define SKERRY_SERVER_TOKENS_CERTIFICATES_H

#include "base/arena.h"
#include "base/status.h"
#include "server/tokens/identity.h"

enum {
  CERTIFICATE_RULES_MAX = 64,
  CERTIFICATE_NAME_BYTES_MAX = 94, /* longer names are cut off where they are read: use the fingerprint */
};

struct certificate_rule {
  bool any, by_fingerprint;
  uint8_t sha256[32];
  str name;
  enum identity_role role; /* NONE: a user */
  str uid;                 /* empty: the certificate's name */
};

/* Texts live in the arena. INVALID_ARGUMENT with what is wrong; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status certificate_rule_parse(str text, struct arena *arena, struct certificate_rule *ret);

/* The first rule that fits, or NULL. */
const struct certificate_rule *certificate_rule_find(const struct certificate_rule *rules, size_t count,
                                                     str name, const uint8_t sha256[32]);

#endif
