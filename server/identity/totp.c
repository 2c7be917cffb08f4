#include "server/identity/totp.h"

#include "base/crypto_kdf.h"

enum {
  MICROSECONDS = 1000 * 1000,
  MODULUS = 1000 * 1000, /* TOTP_DIGITS */
  GROUP_CHARACTERS = 4,  /* of recovery codes, between dashes */
  RECOVERY_FORMAT = 1,
};

/* ---- Base32, RFC 4648 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

void totp_base32_append(str bytes, struct buf *out) {
  uint32_t bits = 0;
  unsigned have = 0;
  for (size_t i = 0; i < bytes.len; i++) {
    bits = bits << 8 | (uint8_t)bytes.ptr[i];
    for (have += 8; have >= 5; have -= 5)
      buf_append_byte(out, (uint8_t)alphabet[bits >> (have - 5) & 31]);
  }
  if (have > 0)
    buf_append_byte(out, (uint8_t)alphabet[bits << (5 - have) & 31]);
}

/* 32: it is none. */
static unsigned digit_of(char c) {
  return c >= 'A' && c <= 'Z'   ? (unsigned)(c - 'A')
         : c >= 'a' && c <= 'z' ? (unsigned)(c - 'a')
         : c >= '2' && c <= '7' ? (unsigned)(c - '2') + 26
                                : 32;
}

bool totp_base32_decode(str text, struct buf *out) {
  uint32_t bits = 0;
  unsigned have = 0;
  size_t before = out->len;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i];
    unsigned digit = digit_of(c);
    if (c == ' ' || c == '-' || c == '=')
      continue;
    if (digit == 32) {
      out->len = before;
      return false;
    }
    bits = bits << 5 | digit;
    have += 5;
    if (have >= 8) {
      have -= 8;
      buf_append_byte(out, (uint8_t)(bits >> have));
    }
  }
  if (have < 5 && !out->failed)
    return true;
  out->len = before; /* a last digit that says nothing */
  return false;
}

/* ---- The secret ---- */

void totp_secret_make(uint8_t ret[TOTP_SECRET_BYTES]) {
  crypto_random(ret, TOTP_SECRET_BYTES);
}

/* RFC 3986's unreserved characters stay. */
static void append_encoded(str text, struct buf *out) {
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                 c == '.' || c == '_' || c == '~';
    if (plain)
      buf_append_byte(out, c);
    else
      buf_printf(out, "%%%02X", (unsigned)c);
  }
}

void totp_uri_append(str secret, str issuer, str account, struct buf *out) {
  buf_append_str(out, STR("otpauth://totp/"));
  append_encoded(issuer, out);
  buf_append_byte(out, ':');
  append_encoded(account, out);
  buf_append_str(out, STR("?secret="));
  totp_base32_append(secret, out);
  buf_append_str(out, STR("&issuer="));
  append_encoded(issuer, out);
  buf_printf(out, "&algorithm=SHA1&digits=%d&period=%d", TOTP_DIGITS, TOTP_STEP_S);
}

/* ---- Codes ---- */

int64_t totp_step_at(int64_t now_us) {
  int64_t step_us = (int64_t)TOTP_STEP_S * MICROSECONDS;
  return now_us >= 0 ? now_us / step_us : (now_us - step_us + 1) / step_us;
}

void totp_code_at(str secret, int64_t step, char ret[TOTP_DIGITS + 1]) {
  uint8_t counter[8], mac[CRYPTO_DIGEST_BYTES_MAX];
  for (unsigned i = 0; i < sizeof counter; i++)
    counter[i] = (uint8_t)((uint64_t)step >> 8 * (7 - i));
  crypto_hmac_of(CRYPTO_SHA1, secret, str_make(counter, sizeof counter), (str){NULL, 0}, mac);
  const uint8_t *at = mac + (mac[19] & 15); /* RFC 4226, section 5.3 */
  uint32_t number =
      ((uint32_t)(at[0] & 127) << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]) % MODULUS;
  for (unsigned i = TOTP_DIGITS; i-- > 0; number /= 10)
    ret[i] = (char)('0' + number % 10);
  ret[TOTP_DIGITS] = '\0';
}

static bool read_code(str text, char ret[TOTP_DIGITS]) {
  size_t count = 0;
  for (size_t i = 0; i < text.len; i++) {
    if (text.ptr[i] == ' ')
      continue;
    if (text.ptr[i] < '0' || text.ptr[i] > '9' || count == TOTP_DIGITS)
      return false;
    ret[count++] = text.ptr[i];
  }
  return count == TOTP_DIGITS;
}

bool totp_check(str secret, str code, int64_t now_us, int64_t last_step, int64_t *ret_step) {
  char given[TOTP_DIGITS], right[TOTP_DIGITS + 1];
  int64_t present = totp_step_at(now_us), found = 0;
  bool matches = false;
  if (!read_code(code, given))
    return false;
  for (int64_t step = present - TOTP_WINDOW_STEPS; step <= present + TOTP_WINDOW_STEPS; step++) {
    totp_code_at(secret, step, right);
    bool equal = crypto_equal(str_make(given, sizeof given), str_make(right, TOTP_DIGITS));
    if (equal && step > last_step && !matches) {
      matches = true;
      found = step;
    }
  }
  crypto_wipe(right, sizeof right);
  if (matches)
    *ret_step = found;
  return matches;
}

/* ---- Recovery codes ---- */

static void hash_code(const struct totp_recovery *recovery, const uint8_t code[TOTP_RECOVERY_BYTES],
                      uint8_t ret[CRYPTO_DIGEST_BYTES_MAX]) {
  crypto_digest_of(CRYPTO_SHA256, str_make(recovery->salt, sizeof recovery->salt),
                   str_make(code, TOTP_RECOVERY_BYTES), ret);
}

/* In groups with dashes between. */
static void write_code(const uint8_t code[TOTP_RECOVERY_BYTES], char *ret) {
  uint32_t bits = 0;
  unsigned have = 0, written = 0;
  for (unsigned i = 0; i < TOTP_RECOVERY_BYTES; i++) {
    bits = bits << 8 | code[i];
    for (have += 8; have >= 5; have -= 5) {
      if (written > 0 && written % GROUP_CHARACTERS == 0)
        *ret++ = '-';
      *ret++ = alphabet[bits >> (have - 5) & 31];
      written++;
    }
  }
  *ret = '\0';
}

void totp_recovery_make(struct totp_recovery *ret,
                        char ret_codes[TOTP_RECOVERY_CODES][TOTP_RECOVERY_TEXT_BYTES + 1]) {
  crypto_random(ret->salt, sizeof ret->salt);
  ret->unused = (1 << TOTP_RECOVERY_CODES) - 1;
  for (unsigned i = 0; i < TOTP_RECOVERY_CODES; i++) {
    uint8_t code[TOTP_RECOVERY_BYTES], hash[CRYPTO_DIGEST_BYTES_MAX];
    crypto_random(code, sizeof code);
    hash_code(ret, code, hash);
    memcpy(ret->hashes[i], hash, CRYPTO_SHA256_BYTES);
    write_code(code, ret_codes[i]);
    crypto_wipe(code, sizeof code);
  }
}

/* False: it is no code at all. */
static bool read_recovery(str text, uint8_t ret[TOTP_RECOVERY_BYTES]) {
  struct buf bytes = {.max_bytes = 2 * (size_t)TOTP_RECOVERY_BYTES};
  bool good = text.len <= 2 * (size_t)TOTP_RECOVERY_TEXT_BYTES && totp_base32_decode(text, &bytes) &&
              bytes.len == TOTP_RECOVERY_BYTES;
  if (good)
    memcpy(ret, bytes.data, TOTP_RECOVERY_BYTES);
  buf_fini(&bytes);
  return good;
}

bool totp_recovery_use(struct totp_recovery *recovery, str code) {
  uint8_t bytes[TOTP_RECOVERY_BYTES], hash[CRYPTO_DIGEST_BYTES_MAX];
  unsigned found = 0; /* a bit a code */
  if (!read_recovery(code, bytes))
    return false;
  hash_code(recovery, bytes, hash);
  for (unsigned i = 0; i < TOTP_RECOVERY_CODES; i++)
    found |= (unsigned)crypto_equal(str_make(hash, CRYPTO_SHA256_BYTES),
                                    str_make(recovery->hashes[i], CRYPTO_SHA256_BYTES))
             << i;
  crypto_wipe(bytes, sizeof bytes);
  found &= recovery->unused;
  recovery->unused = (uint16_t)(recovery->unused & ~found);
  return found != 0;
}

unsigned totp_recovery_left(const struct totp_recovery *recovery) {
  return (unsigned)__builtin_popcount(recovery->unused);
}

void totp_recovery_encode(const struct totp_recovery *recovery, uint8_t out[TOTP_RECOVERY_STORED_BYTES]) {
  uint8_t *at = out;
  *at++ = RECOVERY_FORMAT;
  memcpy(at, recovery->salt, sizeof recovery->salt);
  at += sizeof recovery->salt;
  *at++ = (uint8_t)(recovery->unused >> 8);
  *at++ = (uint8_t)recovery->unused;
  memcpy(at, recovery->hashes, sizeof recovery->hashes);
}

bool totp_recovery_decode(str bytes, struct totp_recovery *ret) {
  if (bytes.len != TOTP_RECOVERY_STORED_BYTES || bytes.ptr[0] != RECOVERY_FORMAT)
    return false;
  const uint8_t *at = (const uint8_t *)bytes.ptr + 1 + sizeof ret->salt;
  unsigned unused = (unsigned)at[0] << 8 | at[1];
  if (unused >> TOTP_RECOVERY_CODES != 0)
    return false;
  memcpy(ret->salt, bytes.ptr + 1, sizeof ret->salt);
  ret->unused = (uint16_t)unused;
  memcpy(ret->hashes, at + 2, sizeof ret->hashes);
  return true;
}
