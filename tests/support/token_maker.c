#include "tests/support/token_maker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/base64url.h"

static struct arena arena;
static bool is_open;
static struct crypto_key *keys[3][2];

static struct arena *memory(void) {
  if (!is_open)
    arena_init(&arena, NULL, 0, (size_t)1 << 28);
  is_open = true;
  return &arena;
}

static str keep(struct buf *b) {
  str copy = arena_str_copy(memory(), buf_str(b));
  if (b->failed || copy.ptr == NULL)
    abort();
  buf_fini(b);
  return copy;
}

str token_base64url(str bytes) {
  struct buf text = {0};
  base64url_append(&text, bytes);
  return keep(&text);
}

str token_printf(const char *format, ...) {
  char *text;
  va_list arguments;
  va_start(arguments, format);
  int len = vasprintf(&text, format, arguments);
  va_end(arguments);
  if (len < 0)
    abort();
  str copy = arena_str_copy(memory(), str_make(text, (size_t)len));
  free(text);
  return copy;
}

str token_join(str header, str payload, str signature) {
  struct buf text = {0};
  buf_append_str(&text, header);
  buf_append_byte(&text, '.');
  buf_append_str(&text, payload);
  buf_append_byte(&text, '.');
  buf_append_str(&text, signature);
  return keep(&text);
}

str token_make(const char *header, const char *payload, const struct crypto_key *key) {
  str first = token_base64url(str_from_cstr(header)), second = token_base64url(str_from_cstr(payload));
  struct buf signature = {0}, input = {0};
  if (key != NULL) {
    buf_append_str(&input, first);
    buf_append_byte(&input, '.');
    buf_append_str(&input, second);
    status signed_well = crypto_sign(key, buf_str(&input), &signature);
    if (!status_is_ok(&signed_well))
      abort();
  }
  str third = token_base64url(buf_str(&signature));
  buf_fini(&signature);
  buf_fini(&input);
  return token_join(first, second, third);
}

const struct crypto_key *token_key(enum crypto_algorithm algorithm, bool second) {
  struct crypto_key **key = &keys[algorithm][second];
  if (*key == NULL) {
    status made = crypto_key_make(algorithm, key);
    if (!status_is_ok(&made))
      abort();
  }
  return *key;
}

str token_jwk(const struct crypto_key *key, const char *id, const char *extra) {
  struct buf first = {0}, second = {0};
  status read = crypto_key_append_members(key, &first, &second);
  if (!status_is_ok(&read))
    abort();
  str x = token_base64url(buf_str(&first)), y = token_base64url(buf_str(&second));
  buf_fini(&first);
  buf_fini(&second);
  if (crypto_key_algorithm(key) == CRYPTO_RS256)
    return token_printf("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\",\"kid\":\"%s\"%s}", x.ptr, y.ptr, id,
                        extra);
  if (crypto_key_algorithm(key) == CRYPTO_ES256)
    return token_printf("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\",\"kid\":\"%s\"%s}",
                        x.ptr, y.ptr, id, extra);
  return token_printf("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\",\"kid\":\"%s\"%s}", x.ptr, id,
                      extra);
}

void token_maker_reset(void) {
  if (is_open)
    arena_fini(&arena);
  is_open = false;
}

void token_maker_end(void) {
  token_maker_reset();
  for (unsigned i = 0; i < 3; i++)
    for (unsigned j = 0; j < 2; j++) {
      crypto_key_free(keys[i][j]);
      keys[i][j] = NULL;
    }
}
