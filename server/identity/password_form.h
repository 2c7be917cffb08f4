/* The stored forms of passwords (password.h), taken apart and put together. */
#ifndef SKERRY_SERVER_IDENTITY_PASSWORD_FORM_H
#define SKERRY_SERVER_IDENTITY_PASSWORD_FORM_H

#include "server/identity/password.h"

enum password_kind {
  PASSWORD_SCRYPT,
  PASSWORD_FIREBASE_SCRYPT,
  PASSWORD_PBKDF2,
  PASSWORD_DIGEST,
  PASSWORD_HMAC,
  PASSWORD_BCRYPT,
};

struct password_part {
  uint8_t bytes[PASSWORD_PART_BYTES_MAX + 2]; /* what base64url_decoded_max says of the longest */
  size_t len;                                 /* at most PASSWORD_PART_BYTES_MAX */
};

struct password_form {
  enum password_kind kind;
  enum crypto_digest digest;      /* PBKDF2, DIGEST, HMAC */
  struct crypto_scrypt_cost cost; /* SCRYPT, FIREBASE_SCRYPT */
  uint32_t rounds;                /* PBKDF2, DIGEST */
  bool salt_first;                /* DIGEST, HMAC */
  struct password_part key;       /* FIREBASE_SCRYPT, HMAC */
  struct password_part separator; /* FIREBASE_SCRYPT */
  struct password_part salt;
  struct password_part hash; /* BCRYPT: all of its text */
};

static inline str password_part_str(const struct password_part *part) {
  return str_make(part->bytes, part->len);
}
/* False: too long. */
bool password_part_set(struct password_part *part, str bytes);

/* Whether checking a password against it is possible, and cheap enough. */
bool password_form_is_good(const struct password_form *form);
/* False: the text is no good form. */
bool password_form_parse(str text, struct password_form *ret);
void password_form_append(const struct password_form *form, struct buf *out);

#endif
