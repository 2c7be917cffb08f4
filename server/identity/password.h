/* Passwords: the policy, and their stored forms. All functions are pure but for randomness; any thread.
 *
 * A stored form is a text that says everything needed to check a password against it (after the PHC string
 * format; values of bytes are base64url without padding):
 *
 *   $scrypt$ln=14,r=8,p=1$SALT$HASH                            what this server writes (RFC 7914)
 *   $firebase-scrypt$ln=14,r=8,p=1,key=KEY,sep=SEP$SALT$HASH   exports of Firebase Authentication
 *   $pbkdf2-sha256$i=100000$SALT$HASH                          PBKDF2 with sha1 or sha256
 *   $sha256$i=1,o=s$SALT$HASH                                  md5, sha1, sha256, sha512; o: which is first,
 *                                                              s the salt, p the password
 *   $hmac-sha256$o=p,key=KEY$SALT$HASH                         with md5, sha1, sha256, sha512
 *   $2b$10$...                                                 bcrypt, as it is written everywhere
 *
 * All but the first only come in by import, and password_needs_upgrade says so after a sign-in: the caller
 * then stores a new hash of the password that it has in hand. Passwords are bytes: nothing is normalised, so
 * that what an SDK sends to Firebase and to this server gives the same answer.
 *
 * What a check costs is bounded at import: memory by PASSWORD_MEMORY_BYTES_MAX, time by the bounds below,
 * some seconds of a small machine at most. Checks run on the slow pool with password_memory_bytes. */
#ifndef SKERRY_SERVER_IDENTITY_PASSWORD_H
#define SKERRY_SERVER_IDENTITY_PASSWORD_H

#include "base/crypto_kdf.h"

enum {
  PASSWORD_BYTES_MIN = 6, /* Firebase's documented bounds */
  PASSWORD_BYTES_MAX = 4096,
  PASSWORD_SALT_BYTES = 16, /* of forms that are made here */
  PASSWORD_HASH_BYTES = 32,
  PASSWORD_STORED_BYTES_MAX = 2048, /* of any form */
  PASSWORD_PART_BYTES_MAX = 256,    /* salt, key, separator, hash of an import, each */
  PASSWORD_MEMORY_BYTES_MAX = 64 * 1024 * 1024,
  PASSWORD_SCRYPT_WORK_MAX = 1 << 24,   /* N * r * p: 128 times the default of RFC 7914's interactive use */
  PASSWORD_PBKDF2_ROUNDS_MAX = 1000000, /* Firebase takes 120,000 */
  PASSWORD_DIGEST_ROUNDS_MAX = 8192,    /* Firebase's */
  PASSWORD_BCRYPT_COST_MAX = 14,        /* a second or more */
};

/* What new forms cost. Larger machines have larger ones (profiles); where memory is scarce the same work
 * takes half of it. */
#define PASSWORD_COST_TIGHT ((struct crypto_scrypt_cost){.log_n = 13, .r = 8, .p = 2}) /* 8 MiB */
#define PASSWORD_COST_SMALL                                                                                  \
  ((struct crypto_scrypt_cost){.log_n = 14, .r = 8, .p = 1}) /* 16 MiB, 30 to 150 ms */
#define PASSWORD_COST_LARGE ((struct crypto_scrypt_cost){.log_n = 15, .r = 8, .p = 1}) /* 32 MiB */

/* INVALID_ARGUMENT with Firebase's text ("WEAK_PASSWORD : Password should be at least 6 characters"). */
STATUS_MUST_USE status password_check_policy(str password);

/* Appends the stored form. Takes crypto_scrypt_memory_bytes(cost). RESOURCE_EXHAUSTED; INVALID_ARGUMENT:
 * costs out of bounds (never for those above). */
STATUS_MUST_USE status password_hash(struct crypto_scrypt_cost cost, str password, struct buf *ret_stored);

/* Whether the password is the one that was stored, compared in constant time. Any length of password is
 * answered (over the maximum: false). DATA_LOSS: the stored text is no such form; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status password_verify(str stored, str password, bool *ret_matches);

/* The check of a sign-in, which should not tell by its time who has an account: `stored` is empty for an
 * account that does not exist or has no password. Whoever is not let in has cost one scrypt of `cost`: by the
 * check itself, or in addition to one that takes less memory. A form of an import that takes longer than that
 * is still told apart, until its first good sign-in replaces it. Statuses as password_verify. */
STATUS_MUST_USE status password_check(struct crypto_scrypt_cost cost, str stored, str password,
                                      bool *ret_matches);

/* Whether the form takes less work or less memory than what is written today, or is not of this server's
 * kind. */
bool password_needs_upgrade(str stored, struct crypto_scrypt_cost cost);

/* What password_verify takes of memory, for the pool; of a broken form some KiB. */
size_t password_memory_bytes(str stored);

/* ---- Import ---- */

/* The algorithms of Identity Toolkit's accounts:batchCreate, by the names there. */
enum password_import_kind {
  PASSWORD_IMPORT_SCRYPT,          /* SCRYPT: Firebase's own */
  PASSWORD_IMPORT_STANDARD_SCRYPT, /* STANDARD_SCRYPT */
  PASSWORD_IMPORT_PBKDF2,          /* PBKDF_SHA1, PBKDF2_SHA256 */
  PASSWORD_IMPORT_DIGEST,          /* MD5, SHA1, SHA256, SHA512 */
  PASSWORD_IMPORT_HMAC,            /* HMAC_MD5, HMAC_SHA1, HMAC_SHA256, HMAC_SHA512 */
  PASSWORD_IMPORT_BCRYPT,          /* BCRYPT */
};
enum password_order { PASSWORD_ORDER_DEFAULT, PASSWORD_ORDER_SALT_FIRST, PASSWORD_ORDER_PASSWORD_FIRST };

/* The options of one import. Bytes are decoded already; they are borrowed. */
struct password_import {
  enum password_import_kind kind;
  enum crypto_digest digest;                           /* PBKDF2, DIGEST, HMAC */
  str key;                                             /* SCRYPT, HMAC: signerKey */
  str separator;                                       /* SCRYPT: saltSeparator; may be empty */
  uint32_t rounds;                                     /* SCRYPT (r), PBKDF2, DIGEST */
  uint32_t memory_cost;                                /* SCRYPT: log2 N */
  uint64_t cpu_memory_cost;                            /* STANDARD_SCRYPT: N */
  uint32_t block_size, parallelization, derived_bytes; /* STANDARD_SCRYPT */
  enum password_order order; /* DIGEST (salt first unless said), HMAC (password first) */
};

/* Reads the name of an algorithm into kind and digest. False: there is none of that name. */
bool password_import_read_algorithm(str name, struct password_import *ret);

/* Checks the options alone, once an import. INVALID_ARGUMENT with the code that Identity Toolkit has
 * ("INVALID_HASH_ROUNDS : ...") and what would be right. */
STATUS_MUST_USE status password_import_check(const struct password_import *import);

/* Appends the stored form of one user's hash and salt, which are decoded bytes (of BCRYPT the hash is the
 * text). INVALID_ARGUMENT: a hash that cannot be of these options, or too long; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status password_import_user(const struct password_import *import, str hash, str salt,
                                            struct buf *ret_stored);

#endif
