/* Custom tokens: what an app's own server signs with the key of a service account, to let a user in that it
 * knows itself (https://firebase.google.com/docs/auth/admin/create-custom-tokens). A JWT, RS256, with
 *
 *   iss, sub      the account's address           aud    CUSTOM_TOKEN_AUDIENCE
 *   iat, exp      at most an hour apart           uid    1 to 128 bytes
 *   claims        an object, may be missing
 *
 * The account has the role owner, for whoever signs such tokens can be any user. Libraries do not say which
 * key it is
 * (`kid`), so all of the account's are tried. Any thread. */
#ifndef SKERRY_SERVER_TOKENS_CUSTOM_TOKEN_H
#define SKERRY_SERVER_TOKENS_CUSTOM_TOKEN_H

#include "base/arena.h"
#include "base/status.h"
#include "server/tokens/accounts.h"

#define CUSTOM_TOKEN_AUDIENCE                                                                                \
  "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"

struct custom_token {
  str uid;     /* ends in NUL */
  str claims;  /* JSON of an object; empty: none */
  str project; /* of the account; empty: any (not signed) */
};

/* `allow_unsigned`: development, as the emulator's SDKs send them. Everything in *ret lies in the arena.
 * INVALID_ARGUMENT with the code that SDKs know: INVALID_CUSTOM_TOKEN, CREDENTIAL_MISMATCH (another account,
 * or not an owner's), and what is wrong; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status custom_token_verify(struct accounts *accounts, bool allow_unsigned, str token,
                                           int64_t now_us, struct arena *arena, struct custom_token *ret);

#endif
