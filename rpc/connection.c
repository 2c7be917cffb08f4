#include "rpc/connection.h"

enum { KEY_BYTES = 4 + RPC_CONNECTION_SECRET_BYTES, TIME_BITS = 48, TIME_BYTES = TIME_BITS / 8 };

_Static_assert(KEY_BYTES * 4 == RPC_CONNECTION_KEY_CHARS * 3, "a key has no padding, so one text only");
_Static_assert(TIME_BYTES * 4 == RPC_CONNECTION_TIME_CHARS * 3, "nor has a time");

/* ---- base64url, of whole groups of three bytes ---- */

static void encode(const uint8_t *bytes, size_t len, char *out) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (size_t i = 0; i < len; i += 3) {
    uint32_t group = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
    for (unsigned shift = 24; shift > 0; shift -= 6)
      *out++ = digits[(group >> (shift - 6)) & 63];
  }
}

/* 64 and more: none. Without a table, whose cache lines would tell of the secret. */
static uint32_t digit(char c) {
  if (c >= 'A' && c <= 'Z')
    return (uint32_t)(c - 'A');
  if (c >= 'a' && c <= 'z')
    return (uint32_t)(c - 'a') + 26;
  if (c >= '0' && c <= '9')
    return (uint32_t)(c - '0') + 52;
  return c == '-' ? 62 : c == '_' ? 63 : 64;
}

static bool decode(const char *text, size_t chars, uint8_t *out) {
  uint32_t all = 0;
  for (size_t i = 0; i < chars; i += 4) {
    uint32_t a = digit(text[i]), b = digit(text[i + 1]), c = digit(text[i + 2]), d = digit(text[i + 3]);
    all |= a | b | c | d;
    uint32_t group = a << 18 | b << 12 | c << 6 | d;
    *out++ = (uint8_t)(group >> 16);
    *out++ = (uint8_t)(group >> 8);
    *out++ = (uint8_t)group;
  }
  return all < 64;
}

/* ---- Keys ---- */

void rpc_connection_key_write(const struct rpc_connection_id *id, struct rpc_connection_key *ret) {
  uint8_t bytes[KEY_BYTES];
  for (unsigned i = 0; i < 4; i++)
    bytes[i] = (uint8_t)(id->slot >> (24 - 8 * i));
  memcpy(bytes + 4, id->secret, sizeof id->secret);
  encode(bytes, sizeof bytes, ret->text);
}

static bool read_key(const char *text, struct rpc_connection_id *ret) {
  uint8_t bytes[KEY_BYTES];
  if (!decode(text, RPC_CONNECTION_KEY_CHARS, bytes))
    return false;
  ret->slot = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
  memcpy(ret->secret, bytes + 4, sizeof ret->secret);
  return true;
}

bool rpc_connection_key_read(const struct rpc_connection_key *key, struct rpc_connection_id *ret) {
  return read_key(key->text, ret);
}

/* ---- Times ---- */

void rpc_connection_time(int64_t arrived_us, char ret[RPC_CONNECTION_TIME_CHARS]) {
  uint8_t bytes[TIME_BYTES];
  for (unsigned i = 0; i < TIME_BYTES; i++)
    bytes[i] = (uint8_t)((uint64_t)arrived_us >> (TIME_BITS - 8 - 8 * i));
  encode(bytes, sizeof bytes, ret);
}

bool rpc_connection_value_read(str value, int64_t now_us, struct rpc_connection_id *ret_id,
                               int64_t *ret_waited_us) {
  uint8_t bytes[TIME_BYTES];
  struct rpc_connection_id id;
  if (value.len != RPC_CONNECTION_VALUE_CHARS || !read_key(value.ptr, &id) ||
      !decode(value.ptr + RPC_CONNECTION_KEY_CHARS, RPC_CONNECTION_TIME_CHARS, bytes))
    return false;
  uint64_t arrived = 0;
  for (unsigned i = 0; i < TIME_BYTES; i++)
    arrived = arrived << 8 | bytes[i];
  /* The clock may pass 48 bits in between; and it is read by two threads, so it may seem to go back. */
  uint64_t waited = ((uint64_t)now_us - arrived) & (((uint64_t)1 << TIME_BITS) - 1);
  *ret_waited_us = waited >> (TIME_BITS - 1) != 0 ? 0 : (int64_t)waited;
  *ret_id = id;
  return true;
}
