#include "server/firestore/page_token.h"

#include <assert.h>

#include "base/crypto.h"
#include "storage/kv.h"

enum {
  FORMAT = 1,
  SIGNATURE_BYTES = 16,
  VERSION_BYTES = 8,
  HEAD_BYTES = 1 + SIGNATURE_BYTES + VERSION_BYTES,
  TEXT_BYTES_MAX = (HEAD_BYTES + KV_KEY_MAX_BYTES + 2) / 3 * 4,
};

static status refused(void) {
  return status_make(STATUS_INVALID_ARGUMENT, "page_token is not valid for this request.");
}

/* ---- base64url without padding: RFC 4648, section 5 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encoded_length(size_t length) {
  return (length * 4 + 2) / 3;
}

static void encode(const uint8_t *bytes, size_t length, char *text) {
  uint32_t bits = 0;
  unsigned have = 0;
  for (size_t i = 0; i < length; i++) {
    bits = bits << 8 | bytes[i];
    for (have += 8; have >= 6; have -= 6)
      *text++ = alphabet[bits >> (have - 6) & 63];
  }
  if (have > 0)
    *text++ = alphabet[bits << (6 - have) & 63];
}

static int digit_of(char c) {
  return c >= 'A' && c <= 'Z'   ? c - 'A'
         : c >= 'a' && c <= 'z' ? c - 'a' + 26
         : c >= '0' && c <= '9' ? c - '0' + 52
         : c == '-'             ? 62
         : c == '_'             ? 63
                                : -1;
}

/* text.len * 3 / 4 bytes. Refuses what encode does not write: a lone last digit, and bits that are left over.
 */
static bool decode(str text, uint8_t *bytes) {
  uint32_t bits = 0;
  unsigned have = 0;
  for (size_t i = 0; i < text.len; i++) {
    int digit = digit_of(text.ptr[i]);
    if (digit < 0)
      return false;
    bits = bits << 6 | (uint32_t)digit;
    have += 6;
    if (have >= 8) {
      have -= 8;
      *bytes++ = (uint8_t)(bits >> have);
    }
  }
  return have < 6 && (bits & ((1u << have) - 1)) == 0;
}

/* ---- Tokens ---- */

static uint8_t *put_u64(uint8_t *at, uint64_t number) {
  for (unsigned i = 0; i < 8; i++)
    *at++ = (uint8_t)(number >> 8 * (7 - i));
  return at;
}

static uint64_t get_u64(const uint8_t *at) {
  uint64_t number = 0;
  for (unsigned i = 0; i < 8; i++)
    number = number << 8 | at[i];
  return number;
}

/* Of: a word that no other use of the secret signs, the length of the request, the request, and the token's
 * bytes after the signature. */
static status sign(str secret, str request, str payload, struct arena *arena,
                   uint8_t ret_signature[SIGNATURE_BYTES]) {
  static const char use[] = "skerry page token 1";
  size_t length = sizeof use + 8 + request.len + payload.len;
  uint8_t *bytes = arena_alloc(arena, length), *at = bytes;
  if (bytes == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  memcpy(at, use, sizeof use);
  at = put_u64(at + sizeof use, request.len);
  if (request.len > 0)
    memcpy(at, request.ptr, request.len);
  memcpy(at + request.len, payload.ptr, payload.len);
  uint8_t whole[CRYPTO_SHA256_BYTES];
  crypto_hmac_sha256(secret, str_make(bytes, length), whole);
  memcpy(ret_signature, whole, SIGNATURE_BYTES);
  return status_ok();
}

status page_token_encode(str secret, str request, const struct page_token *token, struct arena *arena,
                         str *ret) {
  assert(token->key.len <= KV_KEY_MAX_BYTES);
  size_t length = HEAD_BYTES + token->key.len, text_length = encoded_length(length);
  uint8_t *bytes = arena_alloc(arena, length);
  char *text = arena_alloc(arena, text_length + 1);
  if (bytes == NULL || text == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  bytes[0] = FORMAT;
  uint8_t *payload = bytes + 1 + SIGNATURE_BYTES, *key = put_u64(payload, (uint64_t)token->version);
  if (token->key.len > 0)
    memcpy(key, token->key.ptr, token->key.len);
  STATUS_TRY(sign(secret, request, str_make(payload, VERSION_BYTES + token->key.len), arena, bytes + 1));
  encode(bytes, length, text);
  text[text_length] = '\0';
  *ret = str_make(text, text_length);
  return status_ok();
}

status page_token_decode(str secret, str request, str text, struct arena *arena, struct page_token *ret) {
  size_t length = text.len * 3 / 4;
  if (text.len > TEXT_BYTES_MAX || length < HEAD_BYTES || length > HEAD_BYTES + (size_t)KV_KEY_MAX_BYTES)
    return refused();
  uint8_t *bytes = arena_alloc(arena, length);
  if (bytes == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  if (!decode(text, bytes) || bytes[0] != FORMAT)
    return refused();
  str payload = str_make(bytes + 1 + SIGNATURE_BYTES, length - 1 - SIGNATURE_BYTES);
  uint8_t signature[SIGNATURE_BYTES];
  STATUS_TRY(sign(secret, request, payload, arena, signature));
  if (!crypto_equal(str_make(signature, sizeof signature), str_make(bytes + 1, SIGNATURE_BYTES)))
    return refused();
  *ret = (struct page_token){.key = str_from(payload, VERSION_BYTES),
                             .version = (int64_t)get_u64(bytes + 1 + SIGNATURE_BYTES)};
  return status_ok();
}
