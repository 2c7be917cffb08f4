/* One value of the setting `issuer`: whose tokens are taken, and for what audience.
 *
 *   https://securetoken.google.com/PROJECT              Firebase Authentication of that project
 *   URL audience=A[,B...] [project=P] [keys=URL] [provider=ID]   an OpenID Connect issuer
 *
 * URL is what tokens say as `iss`, to the byte. With `project`, its users count in that project only.
 * `keys` is where its keys are (a JWK Set, or certificates as Google gives them), if OpenID Connect discovery
 * should not be asked; needed where they are on another host than the issuer. With `provider` its tokens do
 * not count themselves: users sign in with them to accounts of this server (server/identity), and ID is what
 * apps call it there (google.com, apple.com, oidc.NAME). Values with the same URL are one issuer with the
 * audiences of both. */
#ifndef SKERRY_SERVER_TOKENS_ISSUER_SETTING_H
#define SKERRY_SERVER_TOKENS_ISSUER_SETTING_H

#include "base/arena.h"
#include "base/status.h"

enum { ISSUERS_MAX = 16, ISSUER_AUDIENCES_MAX = 32, ISSUER_PROVIDER_BYTES_MAX = 64 };

/* All texts end in NUL and live in the arena. */
struct issuer_setting {
  str url;
  str audiences[ISSUER_AUDIENCES_MAX];
  size_t audience_count;
  str project;  /* empty: any */
  str keys_url; /* empty: by discovery */
  str provider; /* empty: its tokens count themselves */
};

/* http is for loopback only, and only if it is allowed (development). INVALID_ARGUMENT with what is wrong. */
STATUS_MUST_USE status issuer_setting_parse(str text, bool allow_loopback_http, struct arena *arena,
                                            struct issuer_setting *ret);

#endif
