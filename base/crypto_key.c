#include "base/crypto_key.h"

#include <assert.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

enum {
  P256_COORDINATE_BYTES = 32,
  P256_SIGNATURE_BYTES = 2 * P256_COORDINATE_BYTES,
  ED25519_BYTES = 32,
  ED25519_SIGNED_BYTES = 64,
};

struct crypto_key {
  EVP_PKEY *pkey;
  enum crypto_algorithm algorithm;
  bool is_private;
};

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for a key.");
}

static status wrong(const char *what) {
  ERR_clear_error();
  return status_make(STATUS_INVALID_ARGUMENT, "The key cannot be used: %s.", what);
}

static const uint8_t *bytes_of(str s) {
  return s.ptr == NULL ? (const uint8_t *)"" : (const uint8_t *)s.ptr;
}

void crypto_key_free(struct crypto_key *key) {
  if (key == NULL)
    return;
  EVP_PKEY_free(key->pkey);
  free(key);
}

enum crypto_algorithm crypto_key_algorithm(const struct crypto_key *key) {
  return key->algorithm;
}

/* ---- What is taken ---- */

static status check_rsa(const RSA *rsa) {
  unsigned bits = RSA_bits(rsa);
  if (bits < CRYPTO_RSA_BITS_MIN || bits > CRYPTO_RSA_BITS_MAX)
    return wrong("RSA keys have 2048 to 4096 bits");
  const BIGNUM *e = RSA_get0_e(rsa);
  if (e == NULL || !BN_is_odd(e) || BN_is_one(e) || !RSA_check_key(rsa))
    return wrong("it is no RSA key");
  return status_ok();
}

/* Takes `pkey`, NULL included: then it could not be parsed. */
static status take(EVP_PKEY *pkey, bool is_private, struct crypto_key **ret) {
  status result = status_ok();
  enum crypto_algorithm algorithm = CRYPTO_RS256;
  if (pkey == NULL)
    return wrong("it is damaged, or of a kind that is not known here");
  switch (EVP_PKEY_id(pkey)) {
  case EVP_PKEY_RSA:
    result = check_rsa(EVP_PKEY_get0_RSA(pkey));
    break;
  case EVP_PKEY_EC:
    algorithm = CRYPTO_ES256;
    if (EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(pkey))) != NID_X9_62_prime256v1)
      result = wrong("of elliptic curves only P-256 is taken");
    break;
  case EVP_PKEY_ED25519:
    algorithm = CRYPTO_EDDSA;
    break;
  default:
    result = wrong("it is neither RSA nor P-256 nor Ed25519");
  }
  struct crypto_key *key = status_is_ok(&result) ? calloc(1, sizeof *key) : NULL;
  if (key == NULL) {
    EVP_PKEY_free(pkey);
    return status_is_ok(&result) ? no_memory() : result;
  }
  *key = (struct crypto_key){pkey, algorithm, is_private};
  *ret = key;
  ERR_clear_error();
  return status_ok();
}

/* ---- JWK ---- */

/* A key object around `rsa` or `ec`, which are freed in any case. */
static EVP_PKEY *wrap_rsa(RSA *rsa) {
  EVP_PKEY *pkey = EVP_PKEY_new();
  if (rsa == NULL || pkey == NULL || !EVP_PKEY_set1_RSA(pkey, rsa)) {
    EVP_PKEY_free(pkey);
    pkey = NULL;
  }
  RSA_free(rsa);
  return pkey;
}

static EVP_PKEY *wrap_ec(EC_KEY *ec) {
  EVP_PKEY *pkey = EVP_PKEY_new();
  if (ec == NULL || pkey == NULL || !EVP_PKEY_set1_EC_KEY(pkey, ec)) {
    EVP_PKEY_free(pkey);
    pkey = NULL;
  }
  EC_KEY_free(ec);
  return pkey;
}

status crypto_key_from_rsa(str n, str e, struct crypto_key **ret) {
  if (n.len > CRYPTO_RSA_BITS_MAX / 8 + 1 || e.len > 8 || n.len == 0 || e.len == 0)
    return wrong("RSA keys have 2048 to 4096 bits");
  BIGNUM *modulus = BN_bin2bn(bytes_of(n), n.len, NULL), *exponent = BN_bin2bn(bytes_of(e), e.len, NULL);
  RSA *rsa = RSA_new();
  if (modulus == NULL || exponent == NULL || rsa == NULL || !RSA_set0_key(rsa, modulus, exponent, NULL)) {
    BN_free(modulus);
    BN_free(exponent);
    RSA_free(rsa);
    return no_memory();
  }
  return take(wrap_rsa(rsa), false, ret);
}

status crypto_key_from_p256(str x, str y, struct crypto_key **ret) {
  if (x.len != P256_COORDINATE_BYTES || y.len != P256_COORDINATE_BYTES)
    return wrong("coordinates of P-256 have 32 bytes");
  BIGNUM *x_number = BN_bin2bn(bytes_of(x), x.len, NULL), *y_number = BN_bin2bn(bytes_of(y), y.len, NULL);
  EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
  bool made = x_number != NULL && y_number != NULL && ec != NULL;
  bool on_curve = made && EC_KEY_set_public_key_affine_coordinates(ec, x_number, y_number);
  BN_free(x_number);
  BN_free(y_number);
  if (!on_curve) {
    EC_KEY_free(ec);
    return made ? wrong("the point is not on P-256") : no_memory();
  }
  return take(wrap_ec(ec), false, ret);
}

status crypto_key_from_ed25519(str x, struct crypto_key **ret) {
  if (x.len != ED25519_BYTES)
    return wrong("Ed25519 keys have 32 bytes");
  return take(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes_of(x), x.len), false, ret);
}

/* ---- PEM ---- */

/* Texts that ask for a password have no answer, so BoringSSL does not ask at the terminal. */
static int no_password(char *buffer, int size, int for_writing, void *argument) {
  (void)buffer;
  (void)size;
  (void)for_writing;
  (void)argument;
  return -1;
}

static BIO *open_text(str text) {
  return text.len > INT_MAX ? NULL : BIO_new_mem_buf(bytes_of(text), (int)text.len);
}

status crypto_key_from_certificate_pem(str pem, struct crypto_key **ret) {
  BIO *in = open_text(pem);
  if (in == NULL)
    return no_memory();
  X509 *certificate = PEM_read_bio_X509(in, NULL, no_password, NULL);
  EVP_PKEY *pkey = certificate == NULL ? NULL : X509_get_pubkey(certificate);
  X509_free(certificate);
  BIO_free(in);
  return take(pkey, false, ret);
}

status crypto_key_from_public_pem(str pem, struct crypto_key **ret) {
  BIO *in = open_text(pem);
  if (in == NULL)
    return no_memory();
  EVP_PKEY *pkey = PEM_read_bio_PUBKEY(in, NULL, no_password, NULL);
  BIO_free(in);
  return take(pkey, false, ret);
}

status crypto_key_from_private_pem(str pem, struct crypto_key **ret) {
  BIO *in = open_text(pem);
  if (in == NULL)
    return no_memory();
  EVP_PKEY *pkey = PEM_read_bio_PrivateKey(in, NULL, no_password, NULL);
  BIO_free(in);
  return take(pkey, true, ret);
}

/* What was written to `text` (freed) goes to the end of `out`. */
static status append_bio(BIO *text, bool written, struct buf *out) {
  const uint8_t *bytes;
  size_t len;
  bool good = text != NULL && written && BIO_mem_contents(text, &bytes, &len);
  if (good)
    buf_append(out, bytes, len);
  BIO_free(text);
  ERR_clear_error();
  return good && !out->failed ? status_ok() : no_memory();
}

status crypto_key_append_private_pem(const struct crypto_key *key, struct buf *out) {
  assert(key->is_private);
  BIO *text = BIO_new(BIO_s_mem());
  bool written =
      text != NULL && PEM_write_bio_PKCS8PrivateKey(text, key->pkey, NULL, NULL, 0, NULL, NULL) == 1;
  return append_bio(text, written, out);
}

status crypto_key_append_public_pem(const struct crypto_key *key, struct buf *out) {
  BIO *text = BIO_new(BIO_s_mem());
  bool written = text != NULL && PEM_write_bio_PUBKEY(text, key->pkey) == 1;
  return append_bio(text, written, out);
}

bool crypto_key_fingerprint(const struct crypto_key *key, uint8_t out[CRYPTO_SHA256_BYTES]) {
  CBB der;
  uint8_t *bytes = NULL;
  size_t len;
  if (!CBB_init(&der, 512))
    return false;
  bool done = EVP_marshal_public_key(&der, key->pkey) && CBB_finish(&der, &bytes, &len);
  if (done)
    crypto_sha256(str_make(bytes, len), out);
  else
    CBB_cleanup(&der);
  OPENSSL_free(bytes);
  ERR_clear_error();
  return done;
}

/* ---- Making ---- */

static EVP_PKEY *make_rsa(void) {
  RSA *rsa = RSA_new();
  BIGNUM *exponent = BN_new();
  if (rsa == NULL || exponent == NULL || !BN_set_word(exponent, RSA_F4) ||
      !RSA_generate_key_ex(rsa, CRYPTO_RSA_BITS_MIN, exponent, NULL)) {
    RSA_free(rsa);
    rsa = NULL;
  }
  BN_free(exponent);
  return wrap_rsa(rsa);
}

static EVP_PKEY *make_p256(void) {
  EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
  if (ec != NULL && !EC_KEY_generate_key(ec)) {
    EC_KEY_free(ec);
    ec = NULL;
  }
  return wrap_ec(ec);
}

static EVP_PKEY *make_ed25519(void) {
  uint8_t seed[ED25519_BYTES];
  crypto_random(seed, sizeof seed);
  EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
  OPENSSL_cleanse(seed, sizeof seed);
  return pkey;
}

status crypto_key_make(enum crypto_algorithm algorithm, struct crypto_key **ret) {
  EVP_PKEY *pkey = algorithm == CRYPTO_RS256   ? make_rsa()
                   : algorithm == CRYPTO_ES256 ? make_p256()
                                               : make_ed25519();
  return pkey == NULL ? no_memory() : take(pkey, true, ret);
}

/* ---- Signatures ---- */

static bool verify_p256(const EVP_PKEY *pkey, const uint8_t digest[CRYPTO_SHA256_BYTES], str signature) {
  if (signature.len != P256_SIGNATURE_BYTES)
    return false;
  const uint8_t *at = bytes_of(signature);
  ECDSA_SIG *parsed = ECDSA_SIG_new();
  BIGNUM *r = BN_bin2bn(at, P256_COORDINATE_BYTES, NULL);
  BIGNUM *s = BN_bin2bn(at + P256_COORDINATE_BYTES, P256_COORDINATE_BYTES, NULL);
  bool good = false;
  if (parsed != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(parsed, r, s)) {
    r = s = NULL; /* it has them now */
    good = ECDSA_do_verify(digest, CRYPTO_SHA256_BYTES, parsed, EVP_PKEY_get0_EC_KEY(pkey)) == 1;
  }
  BN_free(r);
  BN_free(s);
  ECDSA_SIG_free(parsed);
  return good;
}

static bool verify_ed25519(EVP_PKEY *pkey, str bytes, str signature) {
  EVP_MD_CTX context;
  EVP_MD_CTX_init(&context);
  bool good = EVP_DigestVerifyInit(&context, NULL, NULL, NULL, pkey) &&
              EVP_DigestVerify(&context, bytes_of(signature), signature.len, bytes_of(bytes), bytes.len) == 1;
  EVP_MD_CTX_cleanup(&context);
  return good;
}

bool crypto_verify(const struct crypto_key *key, str bytes, str signature) {
  uint8_t digest[CRYPTO_SHA256_BYTES];
  bool good = false;
  if (key->algorithm != CRYPTO_EDDSA)
    crypto_sha256(bytes, digest);
  switch (key->algorithm) {
  case CRYPTO_RS256:
    good = RSA_verify(NID_sha256, digest, sizeof digest, bytes_of(signature), signature.len,
                      EVP_PKEY_get0_RSA(key->pkey)) == 1;
    break;
  case CRYPTO_ES256:
    good = verify_p256(key->pkey, digest, signature);
    break;
  case CRYPTO_EDDSA:
    good = verify_ed25519(key->pkey, bytes, signature);
    break;
  }
  ERR_clear_error();
  return good;
}

static bool sign_rsa(const EVP_PKEY *pkey, const uint8_t digest[CRYPTO_SHA256_BYTES], uint8_t *out,
                     size_t *ret_len) {
  unsigned len = 0;
  if (RSA_sign(NID_sha256, digest, CRYPTO_SHA256_BYTES, out, &len, EVP_PKEY_get0_RSA(pkey)) != 1)
    return false;
  *ret_len = len;
  return true;
}

static bool sign_p256(const EVP_PKEY *pkey, const uint8_t digest[CRYPTO_SHA256_BYTES], uint8_t *out,
                      size_t *ret_len) {
  ECDSA_SIG *made = ECDSA_do_sign(digest, CRYPTO_SHA256_BYTES, EVP_PKEY_get0_EC_KEY(pkey));
  if (made == NULL)
    return false;
  bool done = BN_bn2bin_padded(out, P256_COORDINATE_BYTES, ECDSA_SIG_get0_r(made)) &&
              BN_bn2bin_padded(out + P256_COORDINATE_BYTES, P256_COORDINATE_BYTES, ECDSA_SIG_get0_s(made));
  ECDSA_SIG_free(made);
  *ret_len = P256_SIGNATURE_BYTES;
  return done;
}

static bool sign_ed25519(EVP_PKEY *pkey, str bytes, uint8_t *out, size_t *ret_len) {
  EVP_MD_CTX context;
  EVP_MD_CTX_init(&context);
  size_t len = ED25519_SIGNED_BYTES;
  bool done = EVP_DigestSignInit(&context, NULL, NULL, NULL, pkey) &&
              EVP_DigestSign(&context, out, &len, bytes_of(bytes), bytes.len) == 1;
  EVP_MD_CTX_cleanup(&context);
  *ret_len = len;
  return done;
}

status crypto_sign(const struct crypto_key *key, str bytes, struct buf *out) {
  assert(key->is_private);
  uint8_t digest[CRYPTO_SHA256_BYTES], signature[CRYPTO_SIGNATURE_BYTES_MAX];
  size_t len = 0;
  crypto_sha256(bytes, digest);
  bool done = key->algorithm == CRYPTO_RS256   ? sign_rsa(key->pkey, digest, signature, &len)
              : key->algorithm == CRYPTO_ES256 ? sign_p256(key->pkey, digest, signature, &len)
                                               : sign_ed25519(key->pkey, bytes, signature, &len);
  ERR_clear_error();
  if (done)
    buf_append(out, signature, len);
  return done && !out->failed ? status_ok() : no_memory();
}

/* ---- Members of a JWK ---- */

static bool append_number(const BIGNUM *number, size_t least_bytes, struct buf *out) {
  size_t len = BN_num_bytes(number) > least_bytes ? BN_num_bytes(number) : least_bytes;
  if (!buf_reserve(out, len) || !BN_bn2bin_padded(out->data + out->len, len, number))
    return false;
  out->len += len;
  return true;
}

static bool append_point(const EC_KEY *ec, struct buf *x_out, struct buf *y_out) {
  BIGNUM *x = BN_new(), *y = BN_new();
  bool done =
      x != NULL && y != NULL &&
      EC_POINT_get_affine_coordinates_GFp(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec), x, y, NULL) &&
      append_number(x, P256_COORDINATE_BYTES, x_out) && append_number(y, P256_COORDINATE_BYTES, y_out);
  BN_free(x);
  BN_free(y);
  return done;
}

status crypto_key_append_members(const struct crypto_key *key, struct buf *first, struct buf *second) {
  bool done = false;
  uint8_t raw[ED25519_BYTES];
  size_t len = sizeof raw;
  switch (key->algorithm) {
  case CRYPTO_RS256:
    done = append_number(RSA_get0_n(EVP_PKEY_get0_RSA(key->pkey)), 1, first) &&
           append_number(RSA_get0_e(EVP_PKEY_get0_RSA(key->pkey)), 1, second);
    break;
  case CRYPTO_ES256:
    done = append_point(EVP_PKEY_get0_EC_KEY(key->pkey), first, second);
    break;
  case CRYPTO_EDDSA:
    done = EVP_PKEY_get_raw_public_key(key->pkey, raw, &len) == 1;
    if (done)
      buf_append(first, raw, len);
    break;
  }
  ERR_clear_error();
  return done && !first->failed && !second->failed ? status_ok() : no_memory();
}
