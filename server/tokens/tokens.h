/* Who calls, from what the call brought: the one place that decides whether a token is good.
 *
 * Taken are
 *   - ID tokens of the configured issuers (issuer_setting.h): signature, issuer, audience, times, subject;
 *   - tokens that service accounts of this server sign themselves (RS256, at most an hour long, issuer and
 *     subject the account's address), with an audience that is this API, `https://HOST/` of Google's or
 *     `https://HOST/google.firestore.v1.Firestore` (or skerry.identity.v1.AccountAdmin), or with a `scope`
 * that covers it, as client libraries send towards hosts that are not Google's;
 *   - ID tokens of this server's own accounts (server/identity), if it has them;
 *   - in development only, the emulator's conventions: "owner", and tokens that are not signed.
 *
 * Good tokens are kept in a cache until they expire (identity_cache.h). Whatever takes a key away (revoked,
 * expired at the issuer, replaced) makes a new generation, and with it everything in the cache is checked
 * anew; what becomes of one user makes one of that user's tokens (generations.h). Who keeps an identity
 * longer than for one call, as a stream does, asks tokens_are_current now and then, and verifies the token
 * again if it is not.
 *
 * Statuses: UNAUTHENTICATED, the token is not good, with what is wrong and never any part of it; UNAVAILABLE,
 * it cannot be known yet (the issuer's keys were never fetched): clients keep what they queued;
 * RESOURCE_EXHAUSTED. Any thread; nothing waits for the network or the disk. The time comes from the caller,
 * who knows whether the wall clock can be trusted. */
#ifndef SKERRY_SERVER_TOKENS_TOKENS_H
#define SKERRY_SERVER_TOKENS_TOKENS_H

#include "ports/port.h"
#include "server/tokens/accounts.h"
#include "server/tokens/certificates.h"
#include "server/tokens/identity.h"
#include "server/tokens/identity_cache.h"
#include "server/tokens/issuers.h"
#include "server/tokens/jwt.h"

enum {
  TOKENS_CACHE_ENTRIES = 8192,
  TOKENS_CACHE_BYTES = 8 * 1024 * 1024, /* of small boxes this is what a thousand phones need twice over */
  TOKENS_ACCOUNT_LIFETIME_MAX_S = 3600, /* as Google has it */
};

/* Tokens that this server has made: they are checked against its own keys and accounts, without a request to
 * anybody. Any thread. */
struct tokens_own {
  bool (*is_own)(void *argument, const struct jwt *jwt); /* NULL: there are none */
  /* What is wrong with one, or whose it is: *ret_uid, and *ret_project as in struct identity, borrow from the
   * token or lie in the arena; *ret_claims are those that count now. */
  status (*check)(void *argument, const struct jwt *jwt, int64_t now_us, struct arena *arena, str *ret_uid,
                  str *ret_project, struct doc_map *ret_claims);
  void *argument;
};

struct tokens_options {
  struct port *port;
  const char *directory; /* for issuers' and accounts' files; made if it is missing (mode 0700) */
  const struct issuer_setting *issuers;
  size_t issuer_count;
  const struct certificate_rule *certificates; /* copied */
  size_t certificate_count;
  struct issuers_fetcher fetcher; /* needed if there are issuers */
  struct tokens_own own;
  bool dev;                          /* the emulator's conventions */
  size_t cache_entries, cache_bytes; /* 0: the defaults */
};

struct tokens;

/* Reads the directory and starts a thread for each issuer, which fetches its keys. FAILED_PRECONDITION,
 * RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status tokens_open(const struct tokens_options *options, struct tokens **ret);
/* No call is under way. Waits for requests to issuers that are. NULL is fine. */
void tokens_close(struct tokens *tokens);

/* `authorization`: the value of that header, empty without one: then *ret is signed out. now_us: wall clock.
 * *ret has a reference for the caller. */
STATUS_MUST_USE status tokens_verify(struct tokens *tokens, str authorization, int64_t now_us,
                                     struct identity **ret);
/* Whose certificate that is by the rules, with a reference; NULL: no rule names it. */
struct identity *tokens_of_certificate(struct tokens *tokens, str name, const uint8_t sha256[32]);

/* Of all tokens: grows when a key may not be good any more. */
uint64_t tokens_generation(const struct tokens *tokens);
/* What identity->generation has to be for the token to be still good; it only grows. Two atomic loads. */
uint64_t tokens_generation_of(const struct tokens *tokens, const struct identity *identity);
/* For who knows of something: a session of the user ended, he was disabled or deleted. After it was
 * committed. */
void tokens_doubt_user(struct tokens *tokens, str uid);
void tokens_doubt_all(struct tokens *tokens);
/* For who keeps an identity, such as a stream: whether it is as good as when it was verified. False: it has
 * expired, or its token has to be verified again (which may well succeed). */
bool tokens_are_current(const struct tokens *tokens, const struct identity *identity, int64_t now_us);

/* Keys of service accounts, as in accounts.h; a revocation acts at once. */
STATUS_MUST_USE status tokens_create_key(struct tokens *tokens, const struct account_request *request,
                                         struct account_key **ret);
STATUS_MUST_USE status tokens_revoke_key(struct tokens *tokens, str key_id);
STATUS_MUST_USE status tokens_list_keys(struct tokens *tokens, struct account_key ***ret, size_t *ret_count);

/* A custom token, with which a service account lets a user in (custom_token.h). */
struct custom_token;
STATUS_MUST_USE status tokens_verify_custom(struct tokens *tokens, str token, int64_t now_us,
                                            struct arena *arena, struct custom_token *ret);

/* An ID token with which a user signs in to accounts of this server, of the issuer whose setting has that
 * `provider`. Everything is checked as for other tokens of issuers; besides, the nonce: the token's `nonce`
 * is the given one, or its SHA-256 in hex, as SDKs have it, and either both are there or none.
 * PERMISSION_DENIED, OPERATION_NOT_ALLOWED: no setting has that provider; INVALID_ARGUMENT with the code that
 * SDKs know: INVALID_IDP_RESPONSE, MISSING_OR_INVALID_NONCE; UNAVAILABLE, RESOURCE_EXHAUSTED as for others.
 * *ret lies in the arena. */
STATUS_MUST_USE status tokens_verify_provider(struct tokens *tokens, str token, str provider, str nonce,
                                              str project, int64_t now_us, struct arena *arena,
                                              struct jwt *ret);

size_t tokens_issuer_count(const struct tokens *tokens);
void tokens_issuer_info(struct tokens *tokens, size_t index, struct issuers_info *ret);
/* Memory is short: tokens that come again are checked again. */
void tokens_cache_clear(struct tokens *tokens);
void tokens_cache_stats(struct tokens *tokens, struct identity_cache_stats *ret);

#endif
