#include <stdlib.h>

#include "base/base64url.h"
#include "base/crypto_key.h"
#include "tests/support/jose_vectors.h"
#include "tests/support/unit.h"

/* Decoded bytes, in one of a few static buffers that are used in turns. */
static str raw(const char *text) {
  static uint8_t buffers[8][1024];
  static unsigned next;
  uint8_t *out = buffers[next++ % UNIT_COUNT(buffers)];
  size_t len;
  assert_true(base64url_decoded_max(strlen(text)) <= sizeof buffers[0]);
  assert_true(base64url_decode(str_from_cstr(text), out, &len));
  return str_make(out, len);
}

static struct crypto_key *vector_key(enum crypto_algorithm algorithm) {
  struct crypto_key *key = NULL;
  if (algorithm == CRYPTO_RS256)
    assert_status_ok(crypto_key_from_rsa(raw(JOSE_RSA_N), raw(JOSE_RSA_E), &key));
  else if (algorithm == CRYPTO_ES256)
    assert_status_ok(crypto_key_from_p256(raw(JOSE_EC_X), raw(JOSE_EC_Y), &key));
  else
    assert_status_ok(crypto_key_from_ed25519(raw(JOSE_ED_X), &key));
  assert_int_equal(crypto_key_algorithm(key), algorithm);
  return key;
}

static const struct {
  const char *input, *signature;
} vectors[] = {
    [CRYPTO_RS256] = {JOSE_RSA_INPUT, JOSE_RSA_SIGNATURE},
    [CRYPTO_ES256] = {JOSE_EC_INPUT, JOSE_EC_SIGNATURE},
    [CRYPTO_EDDSA] = {JOSE_ED_INPUT, JOSE_ED_SIGNATURE},
};

static void published_signatures_are_good(void **state) {
  (void)state;
  for (unsigned i = 0; i < UNIT_COUNT(vectors); i++) {
    struct crypto_key *key = vector_key((enum crypto_algorithm)i);
    assert_true(crypto_verify(key, str_from_cstr(vectors[i].input), raw(vectors[i].signature)));
    crypto_key_free(key);
  }
}

/* Every bit of every signature counts, and so does its length. */
static void changed_signatures_are_bad(void **state) {
  (void)state;
  for (unsigned i = 0; i < UNIT_COUNT(vectors); i++) {
    struct crypto_key *key = vector_key((enum crypto_algorithm)i);
    str good = raw(vectors[i].signature), input = str_from_cstr(vectors[i].input);
    uint8_t changed[1024] = {0};
    memcpy(changed, good.ptr, good.len);
    for (size_t bit = 0; bit < good.len * 8; bit++) {
      changed[bit / 8] ^= (uint8_t)(1u << bit % 8);
      assert_false(crypto_verify(key, input, str_make(changed, good.len)));
      changed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < good.len; len++)
      assert_false(crypto_verify(key, input, str_make(changed, len)));
    assert_false(crypto_verify(key, input, str_make(changed, good.len + 1)));
    assert_false(crypto_verify(key, input, (str){NULL, 0}));
    memset(changed, 0, sizeof changed); /* r = s = 0 */
    assert_false(crypto_verify(key, input, str_make(changed, good.len)));
    memset(changed, 0xff, sizeof changed);
    assert_false(crypto_verify(key, input, str_make(changed, good.len)));
    assert_false(crypto_verify(key, STR("something else"), good));
    crypto_key_free(key);
  }
}

static void signatures_of_other_keys_are_bad(void **state) {
  (void)state;
  for (unsigned i = 0; i < UNIT_COUNT(vectors); i++)
    for (unsigned j = 0; j < UNIT_COUNT(vectors); j++) {
      struct crypto_key *key = vector_key((enum crypto_algorithm)i);
      if (i != j)
        assert_false(crypto_verify(key, str_from_cstr(vectors[j].input), raw(vectors[j].signature)));
      crypto_key_free(key);
    }
}

/* A certificate of Google's kind: made with OpenSSL for P-256, for one day. Its times do not count. */
static const char certificate[] = "-----BEGIN CERTIFICATE-----\n"
                                  "MIIBNTCB3QIUTg9rg/ydtuREZEh3QWxX8Helf20wCgYIKoZIzj0EAwIwHjEcMBoG\n"
                                  "A1UEAwwTc2VjdXJldG9rZW4uZXhhbXBsZTAeFw0yNjExMjcxMTU5NDNaFw0yNjEx\n"
                                  "MjgxMTU5NDNaMB4xHDAaBgNVBAMME3NlY3VyZXRva2VuLmV4YW1wbGUwWTATBgcq\n"
                                  "hkjOPQIBBggqhkjOPQMBBwNCAAQeR9L7cwsFX0JD6wyZ8jhCGzRrlxH5aCshqarm\n"
                                  "ehfPixKJxJxNq1Mb06//Bww6Y9QKmhJ2N9R/w+c6kTs2F1MdMAoGCCqGSM49BAMC\n"
                                  "A0cAMEQCIAD9MgnvxxKTFam1kvVCO+K9fpXBLRnt1NloYCD9PbnsAiA5Si87nyOV\n"
                                  "v7M1HlS9Wczd6FKlifzuGqcZe8efDYwuJw==\n"
                                  "-----END CERTIFICATE-----\n";

static void a_made_key_signs_and_comes_back(void **state) {
  (void)state;
  for (unsigned i = CRYPTO_RS256; i <= CRYPTO_EDDSA; i++) {
    struct crypto_key *made, *private_key, *public_key, *members_key = NULL;
    struct buf private_pem = {0}, public_pem = {0}, signature = {0}, first = {0}, second = {0};
    assert_status_ok(crypto_key_make((enum crypto_algorithm)i, &made));
    assert_status_ok(crypto_key_append_private_pem(made, &private_pem));
    assert_status_ok(crypto_key_append_public_pem(made, &public_pem));
    assert_true(str_has_prefix(buf_str(&private_pem), STR("-----BEGIN PRIVATE KEY-----\n")));
    assert_true(str_has_prefix(buf_str(&public_pem), STR("-----BEGIN PUBLIC KEY-----\n")));
    assert_status_ok(crypto_key_from_private_pem(buf_str(&private_pem), &private_key));
    assert_status_ok(crypto_key_from_public_pem(buf_str(&public_pem), &public_key));
    assert_int_equal(crypto_key_algorithm(public_key), i);
    assert_status_ok(crypto_sign(private_key, STR("hello"), &signature));
    assert_true(crypto_verify(public_key, STR("hello"), buf_str(&signature)));
    assert_false(crypto_verify(public_key, STR("hallo"), buf_str(&signature)));

    assert_status_ok(crypto_key_append_members(made, &first, &second));
    if (i == CRYPTO_RS256)
      assert_status_ok(crypto_key_from_rsa(buf_str(&first), buf_str(&second), &members_key));
    else if (i == CRYPTO_ES256)
      assert_status_ok(crypto_key_from_p256(buf_str(&first), buf_str(&second), &members_key));
    else
      assert_status_ok(crypto_key_from_ed25519(buf_str(&first), &members_key));
    uint8_t one[CRYPTO_SHA256_BYTES], two[CRYPTO_SHA256_BYTES];
    assert_true(crypto_key_fingerprint(members_key, one));
    assert_true(crypto_key_fingerprint(made, two));
    assert_memory_equal(one, two, sizeof one);

    buf_fini(&private_pem);
    buf_fini(&public_pem);
    buf_fini(&signature);
    buf_fini(&first);
    buf_fini(&second);
    crypto_key_free(made);
    crypto_key_free(private_key);
    crypto_key_free(public_key);
    crypto_key_free(members_key);
  }
}

static void certificates_give_their_key(void **state) {
  (void)state;
  struct crypto_key *key;
  assert_status_ok(crypto_key_from_certificate_pem(str_from_cstr(certificate), &key));
  assert_int_equal(crypto_key_algorithm(key), CRYPTO_ES256);
  crypto_key_free(key);
  /* Cut anywhere before its last line it is none. */
  size_t end = strlen(certificate) - strlen("-----END CERTIFICATE-----\n");
  for (size_t len = 0; len < end; len += 7)
    assert_status_code(crypto_key_from_certificate_pem(str_make(certificate, len), &key),
                       STATUS_INVALID_ARGUMENT);
}

static void what_is_no_key_is_refused(void **state) {
  (void)state;
  struct crypto_key *key = NULL;
  uint8_t bytes[1024] = {0};
  memset(bytes, 0xa7, sizeof bytes);
  str three = STR("\x03"), one = STR("\x01"), even = STR("\x04");
  assert_status_code(crypto_key_from_rsa(str_make(bytes, 128), three, &key), STATUS_INVALID_ARGUMENT);
  assert_status_code(crypto_key_from_rsa(str_make(bytes, 513), three, &key), STATUS_INVALID_ARGUMENT);
  assert_status_code(crypto_key_from_rsa(str_make(bytes, 1024), three, &key), STATUS_INVALID_ARGUMENT);
  assert_status_code(crypto_key_from_rsa(str_make(bytes, 256), one, &key), STATUS_INVALID_ARGUMENT);
  assert_status_code(crypto_key_from_rsa(str_make(bytes, 256), even, &key), STATUS_INVALID_ARGUMENT);
  assert_status_code(crypto_key_from_rsa(str_make(bytes, 256), str_make(bytes, 256), &key),
                     STATUS_INVALID_ARGUMENT);
  assert_status_code(crypto_key_from_rsa((str){NULL, 0}, three, &key), STATUS_INVALID_ARGUMENT);
  assert_status_code(crypto_key_from_p256(str_make(bytes, 32), str_make(bytes, 32), &key),
                     STATUS_INVALID_ARGUMENT); /* not on the curve */
  assert_status_code(crypto_key_from_p256(raw(JOSE_EC_X), str_make(raw(JOSE_EC_Y).ptr, 31), &key),
                     STATUS_INVALID_ARGUMENT);
  memset(bytes, 0, sizeof bytes);
  assert_status_code(crypto_key_from_p256(str_make(bytes, 32), str_make(bytes, 32), &key),
                     STATUS_INVALID_ARGUMENT);
  assert_status_code(crypto_key_from_ed25519(str_make(bytes, 31), &key), STATUS_INVALID_ARGUMENT);
  assert_status_code(crypto_key_from_public_pem(STR("no PEM"), &key), STATUS_INVALID_ARGUMENT);
  assert_status_code(crypto_key_from_public_pem((str){NULL, 0}, &key), STATUS_INVALID_ARGUMENT);
  assert_status_code(crypto_key_from_private_pem(str_from_cstr(certificate), &key), STATUS_INVALID_ARGUMENT);
}

static void siphash_agrees_with_its_paper(void **state) {
  (void)state;
  uint8_t key_bytes[16], input[15];
  uint64_t key[2];
  for (uint8_t i = 0; i < 16; i++)
    key_bytes[i] = i;
  for (uint8_t i = 0; i < 15; i++)
    input[i] = i;
  memcpy(key, key_bytes, sizeof key);
  assert_true(crypto_siphash(key, str_make(input, sizeof input)) == 0xa129ca6149be45e5u); /* appendix A */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(published_signatures_are_good),    cmocka_unit_test(changed_signatures_are_bad),
      cmocka_unit_test(signatures_of_other_keys_are_bad), cmocka_unit_test(a_made_key_signs_and_comes_back),
      cmocka_unit_test(certificates_give_their_key),      cmocka_unit_test(what_is_no_key_is_refused),
      cmocka_unit_test(siphash_agrees_with_its_paper),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
