/* A JSON Web Token in compact form, signed (RFC 7515, RFC 7519) or, for the emulator's conventions, not
 * (`alg` none): taken apart and checked, without I/O. Nothing of a token may be believed before its signature
 * was verified with a key of the issuer that it names: jwt_parse only says what it claims.
 *
 * What is refused, following RFC 8725: tokens over JWT_BYTES_MAX, base64url that is not strict, JSON with a
 * name twice or nested deeper than JWT_DEPTH_MAX, algorithms other than RS256, ES256 and EdDSA, `crit`, types
 * (`typ`) other than JWT and at+jwt, registered claims of the wrong type. A key is used with the one
 * algorithm that it is for, whatever the header says.
 *
 * Claims become what documents are made of (storage/document/value.h), for rules read them as such: objects
 * are maps, integers and other numbers integers and doubles, the rest is plain. Firestore has no array
 * directly in an array and gives maps with `__type__` a meaning: tokens with such claims are refused, rather
 * than read by rules as something else.
 *
 * Statuses: UNAUTHENTICATED with what is wrong, never with any part of the token; RESOURCE_EXHAUSTED. Any
 * thread. */
#ifndef SKERRY_SERVER_TOKENS_JWT_H
#define SKERRY_SERVER_TOKENS_JWT_H

#include "base/arena.h"
#include "base/crypto_key.h"
#include "base/status.h"
#include "storage/document/value.h"

enum {
  JWT_BYTES_MAX = 16 * 1024, /* tokens of sign-in services have 1 to 4 KiB, with many groups 8 */
  JWT_DEPTH_MAX = 16,        /* objects and arrays in each other */
  JWT_KEY_ID_BYTES_MAX = 256,
  JWT_SUBJECT_BYTES_MAX = 128,        /* Firebase's limit of a uid */
  JWT_AUDIENCES_MAX = 64,             /* in one token */
  JWT_CLOCK_TOLERANCE_S = 60,         /* by which the clocks of the issuer and of this box may differ */
  JWT_MEMORY_BYTES_MAX = 1024 * 1024, /* what jwt_parse and jwt_encode_claims take of an arena, at most */
};

enum jwt_algorithm { JWT_NONE, JWT_RS256, JWT_ES256, JWT_EDDSA };

/* Everything is in the arena or borrows from the token. A time is in seconds since 1970, or JWT_NO_TIME. */
#define JWT_NO_TIME INT64_MIN
struct jwt {
  enum jwt_algorithm algorithm;
  str key_id; /* empty: none */
  str signing_input, signature;
  str issuer, subject;  /* empty: none */
  const str *audiences; /* `aud`, one or many */
  size_t audience_count;
  int64_t expires_s, issued_s, not_before_s, auth_time_s; /* cut down to whole seconds */
  struct doc_map claims;                                  /* all of them */
};

STATUS_MUST_USE status jwt_parse(str token, struct arena *arena, struct jwt *ret);

/* Whether the signature is this key's, by the algorithm of the key. Never for JWT_NONE. */
bool jwt_is_signed_by(const struct jwt *jwt, const struct crypto_key *key);
/* The algorithm of keys that can have signed it. Not for JWT_NONE. */
enum crypto_algorithm jwt_key_algorithm(const struct jwt *jwt);

/* What every token of an issuer must have: `exp` and `iat`, and not be expired, of the future (iat, nbf,
 * auth_time), each with JWT_CLOCK_TOLERANCE_S; and a subject of 1 to JWT_SUBJECT_BYTES_MAX bytes. */
STATUS_MUST_USE status jwt_check(const struct jwt *jwt, int64_t now_s);
bool jwt_has_audience(const struct jwt *jwt, str audience);

/* A claim that is a string; empty if it is missing or something else. */
str jwt_claim_text(const struct jwt *jwt, str name);

/* The JSON of the claims as it came, of a token that jwt_parse has taken: in the arena, with a NUL behind it.
 * RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status jwt_payload(str token, struct arena *arena, str *ret);

/* The claims as the canonical bytes of a map<string, google.firestore.v1.Value> (storage/document/codec.h),
 * in the arena. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status jwt_encode_claims(const struct jwt *jwt, struct arena *arena, str *ret);

#endif
