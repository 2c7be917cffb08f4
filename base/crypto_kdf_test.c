#include <stdio.h>

#include "base/crypto_kdf.h"
#include "tests/support/unit.h"

static void assert_hex(const uint8_t *bytes, const char *hex) {
  char text[2 * 128 + 1];
  size_t len = strlen(hex) / 2;
  assert_true(len <= 128);
  for (size_t i = 0; i < len; i++)
    snprintf(text + 2 * i, 3, "%02x", bytes[i]);
  assert_string_equal(text, hex);
}

static void scrypt_agrees_with_rfc_7914(void **state) {
  (void)state;
  uint8_t out[64];
  uint64_t most = UINT64_C(32) << 20;
  assert_status_ok(crypto_scrypt((str){NULL, 0}, (str){NULL, 0}, (struct crypto_scrypt_cost){4, 1, 1}, most,
                                 out, sizeof out));
  assert_hex(out, "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
                  "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906");
  assert_status_ok(crypto_scrypt(STR("password"), STR("NaCl"), (struct crypto_scrypt_cost){10, 8, 16}, most,
                                 out, sizeof out));
  assert_hex(out, "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
                  "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640");
  assert_status_ok(crypto_scrypt(STR("pleaseletmein"), STR("SodiumChloride"),
                                 (struct crypto_scrypt_cost){14, 8, 1}, most, out, sizeof out));
  assert_hex(out, "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
                  "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887");
}

static void scrypt_costs_are_bounded(void **state) {
  (void)state;
  uint8_t out[32];
  const struct crypto_scrypt_cost bad[] = {{0, 8, 1},  {32, 8, 1},         {16, 1, 1},
                                           {14, 0, 1}, {14, 8, 0},         {14, 8, 1 << 30},
                                           {15, 8, 1}, {1, UINT32_MAX, 1}, {1, 1 << 20, 1 << 20}};
  uint64_t most = UINT64_C(128) * 8 * ((1 << 14) + 2);
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    assert_status_code(crypto_scrypt(STR("a"), STR("b"), bad[i], most, out, sizeof out),
                       STATUS_INVALID_ARGUMENT);
  struct crypto_scrypt_cost good = {14, 8, 1};
  assert_true(crypto_scrypt_memory_bytes(good) == most);
  assert_status_ok(
      crypto_scrypt(STR("a"), STR("b"), good, most, out, sizeof out)); /* the sum is BoringSSL's */
  assert_true(crypto_scrypt_memory_bytes((struct crypto_scrypt_cost){63, UINT32_MAX, UINT32_MAX}) ==
              UINT64_MAX);
}

static void pbkdf2_agrees_with_rfc_6070_and_7914(void **state) {
  (void)state;
  uint8_t out[64];
  crypto_pbkdf2(CRYPTO_SHA1, STR("password"), STR("salt"), 2, out, 20);
  assert_hex(out, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957");
  crypto_pbkdf2(CRYPTO_SHA256, STR("passwd"), STR("salt"), 1, out, 64);
  assert_hex(out, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
                  "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783");
}

static void digests_are_of_both_texts(void **state) {
  (void)state;
  uint8_t out[CRYPTO_DIGEST_BYTES_MAX];
  crypto_digest_of(CRYPTO_SHA1, STR("a"), STR("bc"), out);
  assert_hex(out, "a9993e364706816aba3e25717850c26c9cd0d89d");
  crypto_digest_of(CRYPTO_SHA512, STR("abc"), (str){NULL, 0}, out);
  assert_hex(out, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                  "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
  crypto_hmac_of(CRYPTO_MD5, STR("Jefe"), STR("what do ya want "), STR("for nothing?"), out); /* RFC 2202 */
  assert_hex(out, "750c783e6ab0b503eaa86e310a5db738");
  crypto_hmac_of(CRYPTO_SHA1, STR("Jefe"), STR("what do ya want for nothing?"), (str){NULL, 0}, out);
  assert_hex(out, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
  assert_int_equal(crypto_digest_bytes(CRYPTO_MD5), 16);
  assert_int_equal(crypto_digest_bytes(CRYPTO_SHA512), 64);
}

/* NIST SP 800-38A begins its counter elsewhere, so this is FIPS 197's AES-256 block of zeros twice: NIST's
 * known answer for a key of zeros. */
static void aes_counts_from_zero(void **state) {
  (void)state;
  uint8_t key[CRYPTO_AES256_KEY_BYTES] = {0}, zeros[20] = {0}, out[20];
  crypto_aes256_ctr(key, str_make(zeros, sizeof zeros), out);
  assert_hex(out, "dc95c078a2408989ad48a21492842087530f8afb");
}

static bool bcrypt_matches(const char *text, str password) {
  bool matches;
  assert_status_ok(crypto_bcrypt_matches(str_from_cstr(text), password, &matches));
  return matches;
}

static void bcrypt_agrees_with_known_answers(void **state) {
  (void)state;
  const char *known = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
  assert_true(bcrypt_matches(known, STR("U*U")));
  assert_false(bcrypt_matches(known, STR("U*V")));
  assert_false(bcrypt_matches(known, STR("U*U\0")));
  assert_false(bcrypt_matches(known, (str){NULL, 0}));
  /* 72 bytes count. */
  const char *longest = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";
  assert_true(bcrypt_matches(longest, STR("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789chars after 72 are ignored")));
}

static void what_is_no_bcrypt_matches_nothing(void **state) {
  (void)state;
  const char *const bad[] = {"",
                             "$2a$05$",
                             "$1$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeWxx",
                             "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                             "$2a$99$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                             "$2a$0x$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                             "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe*",
                             "*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0*0"};
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    assert_false(bcrypt_matches(bad[i], STR("U*U")));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(scrypt_agrees_with_rfc_7914),
      cmocka_unit_test(scrypt_costs_are_bounded),
      cmocka_unit_test(pbkdf2_agrees_with_rfc_6070_and_7914),
      cmocka_unit_test(digests_are_of_both_texts),
      cmocka_unit_test(aes_counts_from_zero),
      cmocka_unit_test(bcrypt_agrees_with_known_answers),
      cmocka_unit_test(what_is_no_bcrypt_matches_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
