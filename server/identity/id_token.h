/* ID tokens of this server: made for a session, and checked against the account and the session as they are
 * now, so that what was revoked, disabled or deleted counts at once. Claims are those of Firebase's tokens,
 * plus `sid`, the session's id. Any thread. */
#ifndef SKERRY_SERVER_IDENTITY_ID_TOKEN_H
#define SKERRY_SERVER_IDENTITY_ID_TOKEN_H

#include "server/identity/signing_keys.h"
#include "server/identity/user_store.h"

enum { ID_TOKEN_ISSUER_BYTES_MAX = 512 };

struct id_token_maker {
  struct signing_keys *keys;
  struct kv_store *store;
  const char *issuer; /* "{project}" in it stands for the project */
  int64_t lifetime_s;
  bool is_unsigned; /* the emulator's convention, in development */
};

/* Appends what tokens of the project say as `iss`. */
void id_token_put_issuer(const struct id_token_maker *maker, str project, struct buf *out);

/* Whose token it is to be. `id` is the session's. Appends the token. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status id_token_make(const struct id_token_maker *maker, const user_record *user,
                                     const uint8_t id[REFRESH_TOKEN_SESSION_BYTES],
                                     const session_record *session, int64_t now_s, struct buf *out);

/* A token that was checked. */
struct id_token {
  str project, uid;
  uint8_t session[REFRESH_TOKEN_SESSION_BYTES];
  int64_t auth_time_s, expires_s, issued_s;
  const session_record *record; /* of the session; it lies in the arena */
};

/* Whether the token is one of these keys', whatever else is wrong with it; of unsigned ones, whether this
 * server makes such and the issuer is its. */
bool id_token_is_ours(const struct id_token_maker *maker, const struct jwt *jwt);
/* UNAUTHENTICATED with the code that SDKs know: INVALID_ID_TOKEN, TOKEN_EXPIRED (of a session that was ended,
 * too), USER_DISABLED, USER_NOT_FOUND. Statuses of the store. *ret borrows from the token; *ret_user lies in
 * the arena. */
STATUS_MUST_USE status id_token_check(const struct id_token_maker *maker, const struct jwt *jwt,
                                      int64_t now_us, struct arena *arena, struct id_token *ret,
                                      user_record **ret_user);
/* What such a token would say if it were made now, with the times that it has: so that claims that were given
 * or taken since count at once. In the arena. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status id_token_claims(const struct id_token_maker *maker, const struct id_token *token,
                                       const user_record *user, struct arena *arena, struct doc_map *ret);

#endif
