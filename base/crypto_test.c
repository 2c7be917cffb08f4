/* Published vectors: FIPS 180 examples, RFC 4231, RFC 1321 appendix A.5, RFC 3720 appendix B.4. */
#include <stdio.h>

#include "base/crc32c.h"
#include "base/crypto.h"
#include "tests/support/unit.h"

static void assert_hex(const uint8_t *bytes, size_t length, const char *wanted) {
  char hex[2 * CRYPTO_SHA256_BYTES + 1];
  assert_true(length <= CRYPTO_SHA256_BYTES);
  for (size_t i = 0; i < length; i++)
    snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
  assert_string_equal(hex, wanted);
}

static void sha256_agrees_with_fips_180(void **state) {
  (void)state;
  uint8_t out[CRYPTO_SHA256_BYTES];
  crypto_sha256(STR("abc"), out);
  assert_hex(out, sizeof out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  crypto_sha256(STR("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), out);
  assert_hex(out, sizeof out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  crypto_sha256((str){NULL, 0}, out);
  assert_hex(out, sizeof out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void md5_agrees_with_rfc_1321(void **state) {
  (void)state;
  const struct {
    const char *text;
    const char *wanted;
  } cases[] = {
      {"", "d41d8cd98f00b204e9800998ecf8427e"},
      {"a", "0cc175b9c0f1b6a831c399e269772661"},
      {"abc", "900150983cd24fb0d6963f7d28e17f72"},
      {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
      {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
      {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"},
      {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
       "57edf4a22be3c955ac49da2e2107b67a"},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    uint8_t out[CRYPTO_MD5_BYTES];
    crypto_md5(str_from_cstr(cases[i].text), out);
    assert_hex(out, sizeof out, cases[i].wanted);
  }
}

static void hmac_agrees_with_rfc_4231(void **state) {
  (void)state;
  char repeated[131];
  memset(repeated, 0xaa, sizeof repeated);
  char dd[50], cd[50], key4[25];
  memset(dd, 0xdd, sizeof dd);
  memset(cd, 0xcd, sizeof cd);
  for (size_t i = 0; i < sizeof key4; i++)
    key4[i] = (char)(i + 1);
  const struct {
    str key;
    str bytes;
    const char *wanted;
  } cases[] = {
      {STR("\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"),
       STR("Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
      {STR("Jefe"), STR("what do ya want for nothing?"),
       "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
      {str_make(repeated, 20), str_make(dd, sizeof dd),
       "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
      {str_make(key4, sizeof key4), str_make(cd, sizeof cd),
       "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
      {str_make(repeated, 131), STR("Test Using Larger Than Block-Size Key - Hash Key First"),
       "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
      {str_make(repeated, 131),
       STR("This is a test using a larger than block-size key and a larger than block-size data. The key "
           "needs to "
           "be hashed before being used by the HMAC algorithm."),
       "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    uint8_t out[CRYPTO_SHA256_BYTES];
    crypto_hmac_sha256(cases[i].key, cases[i].bytes, out);
    assert_hex(out, sizeof out, cases[i].wanted);
  }
  uint8_t of_nothing[CRYPTO_SHA256_BYTES];
  crypto_hmac_sha256((str){NULL, 0}, (str){NULL, 0}, of_nothing);
  assert_hex(of_nothing, sizeof of_nothing,
             "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

typedef uint32_t crc_function(uint32_t crc, str bytes);

static void assert_crc_agrees_with_rfc_3720(crc_function *crc) {
  uint8_t bytes[32] = {0};
  str all = str_make(bytes, sizeof bytes);
  memset(bytes, 0, sizeof bytes);
  assert_int_equal(crc(0, all), 0x8a9136aa);
  memset(bytes, 0xff, sizeof bytes);
  assert_int_equal(crc(0, all), 0x62a8ab43);
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)i;
  assert_int_equal(crc(0, all), 0x46dd794e);
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(31 - i);
  assert_int_equal(crc(0, all), 0x113fdb5c);
  assert_int_equal(
      crc(0, STR("\x01\xc0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00\x00"
                 "\x00\x00\x04\x00\x00\x00\x00\x14\x00\x00\x00\x18\x28\x00\x00\x00\x00\x00\x00\x00"
                 "\x02\x00\x00\x00\x00\x00\x00\x00")),
      0xd9963a56);
  assert_int_equal(crc(0, STR("123456789")), 0xe3069283);
  assert_int_equal(crc(0, (str){NULL, 0}), 0);
}

static void crc32c_agrees_with_rfc_3720(void **state) {
  (void)state;
  assert_crc_agrees_with_rfc_3720(crypto_crc32c);
  assert_crc_agrees_with_rfc_3720(crc32c_by_table);
  if (crc32c_has_instruction())
    assert_crc_agrees_with_rfc_3720(crc32c_by_instruction);
}

static void crc32c_is_the_same_both_ways_and_in_pieces(void **state) {
  (void)state;
  uint8_t bytes[200];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(i * 37 + 11);
  for (size_t from = 0; from < 9; from++) {
    for (size_t length = 0; length <= sizeof bytes - from; length++) {
      str all = str_make(bytes + from, length);
      uint32_t whole = crc32c_by_table(0, all);
      assert_int_equal(crypto_crc32c(0, all), whole);
      size_t half = length / 3;
      assert_int_equal(crypto_crc32c(crc32c_by_table(0, str_make(all.ptr, half)), str_from(all, half)),
                       whole);
    }
  }
}

static void random_bytes_fill_exactly_what_they_should(void **state) {
  (void)state;
  uint8_t first[66] = {0}, second[66] = {0};
  crypto_random(first + 1, 64);
  crypto_random(second + 1, 64);
  assert_memory_not_equal(first, second, sizeof first);
  assert_int_equal(first[0] | first[65] | second[0] | second[65], 0);
  crypto_random(first, 0);
}

static void equality_is_of_all_bytes(void **state) {
  (void)state;
  assert_true(crypto_equal(STR("abc"), STR("abc")));
  assert_false(crypto_equal(STR("abc"), STR("abd")));
  assert_false(crypto_equal(STR("abc"), STR("xbc")));
  assert_false(crypto_equal(STR("abc"), STR("ab")));
  assert_true(crypto_equal((str){NULL, 0}, STR("")));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sha256_agrees_with_fips_180),
      cmocka_unit_test(md5_agrees_with_rfc_1321),
      cmocka_unit_test(hmac_agrees_with_rfc_4231),
      cmocka_unit_test(crc32c_agrees_with_rfc_3720),
      cmocka_unit_test(crc32c_is_the_same_both_ways_and_in_pieces),
      cmocka_unit_test(random_bytes_fill_exactly_what_they_should),
      cmocka_unit_test(equality_is_of_all_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
