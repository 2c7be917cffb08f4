/* Keys of signatures, over BoringSSL: parsed, made, used. Three algorithms of RFC 7518 and RFC 8037, each
 * bound to one type of key, so that a signature is never checked by another algorithm than the key is for:
 *
 *   RS256  RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 4096 bits; a signature has the modulus's length
 *   ES256  ECDSA on P-256 with SHA-256; a signature is r and s, 32 bytes each
 *   EdDSA  Ed25519; a signature has 64 bytes
 *
 * A key never changes and may be used by any number of threads at once. Errors: INVALID_ARGUMENT, the text is
 * no key that this takes, with what is wrong; RESOURCE_EXHAUSTED. No message holds any of the input. Nothing
 * is left in BoringSSL's queue of errors. */
#ifndef SKERRY_BASE_CRYPTO_KEY_H
#define SKERRY_BASE_CRYPTO_KEY_H

#include "base/crypto.h"
#include "base/status.h"

enum crypto_algorithm { CRYPTO_RS256, CRYPTO_ES256, CRYPTO_EDDSA };

enum {
  CRYPTO_RSA_BITS_MIN = 2048,
  CRYPTO_RSA_BITS_MAX = 4096, /* longer ones cost a verifier milliseconds */
  CRYPTO_SIGNATURE_BYTES_MAX = CRYPTO_RSA_BITS_MAX / 8,
};

struct crypto_key;
void crypto_key_free(struct crypto_key *key); /* NULL is fine */
enum crypto_algorithm crypto_key_algorithm(const struct crypto_key *key);
/* SHA-256 of the public key as SubjectPublicKeyInfo (DER): equal for equal keys. False: no memory. */
bool crypto_key_fingerprint(const struct crypto_key *key, uint8_t out[CRYPTO_SHA256_BYTES]);

/* ---- Public keys ---- */

/* From a JWK's members (RFC 7518, section 6; RFC 8037), decoded from base64url. */
STATUS_MUST_USE status crypto_key_from_rsa(str n, str e, struct crypto_key **ret);
STATUS_MUST_USE status crypto_key_from_p256(str x, str y, struct crypto_key **ret);
STATUS_MUST_USE status crypto_key_from_ed25519(str x, struct crypto_key **ret);
/* The first "BEGIN CERTIFICATE" block of a PEM text: the key alone counts. Neither times nor signature of the
 * certificate are looked at, because whoever gives it vouches for the key. */
STATUS_MUST_USE status crypto_key_from_certificate_pem(str pem, struct crypto_key **ret);
/* The first "BEGIN PUBLIC KEY" block: SubjectPublicKeyInfo (RFC 5280). */
STATUS_MUST_USE status crypto_key_from_public_pem(str pem, struct crypto_key **ret);

/* Whether `signature` is the key's over `bytes`. */
bool crypto_verify(const struct crypto_key *key, str bytes, str signature);

/* ---- Private keys ---- */

/* A new one; RSA has 2048 bits and takes tens of milliseconds, more on small machines. */
STATUS_MUST_USE status crypto_key_make(enum crypto_algorithm algorithm, struct crypto_key **ret);
/* The first "BEGIN PRIVATE KEY" block: PKCS#8 (RFC 5958), not encrypted. */
STATUS_MUST_USE status crypto_key_from_private_pem(str pem, struct crypto_key **ret);
/* Of a key that was made or read with its private part; appended, without a NUL. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status crypto_sign(const struct crypto_key *key, str bytes, struct buf *out);
STATUS_MUST_USE status crypto_key_append_private_pem(const struct crypto_key *key, struct buf *out);
/* Of any key. */
STATUS_MUST_USE status crypto_key_append_public_pem(const struct crypto_key *key, struct buf *out);
/* The raw members of a JWK: n and e, or x and y, or x alone (then *ret_second is empty). RESOURCE_EXHAUSTED.
 */
STATUS_MUST_USE status crypto_key_append_members(const struct crypto_key *key, struct buf *first,
                                                 struct buf *second);

#endif
