/* A resume token from outside either is refused or is, byte for byte, what this server would have written for
 * its version and targets: the signature leaves no other. The first byte chooses: the rest is a token, or it
 * is a version and targets, whose token is read back and then damaged. */
#include <stdint.h>
#include <stdlib.h>

#include "server/firestore/resume_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

#define SECRET STR("0123456789abcdef0123456789abcdef")
#define DATABASE STR("projects/p/databases/(default)")

static void read_token(str input) {
  struct resume_target target = resume_target_of(STR("target"));
  int64_t version = 0;
  if (!resume_token_decode(SECRET, DATABASE, target, input, &version))
    return;
  uint8_t token[RESUME_TOKEN_BYTES_MAX];
  struct resume_targets targets = {.size_bytes = input.len - 25};
  CHECK(input.len <= sizeof token && version > 0);
  memcpy(targets.bits, input.ptr + 9, targets.size_bytes);
  size_t len = resume_token_encode(SECRET, DATABASE, version, &targets, token);
  CHECK(str_eq(str_make(token, len), input));
}

static void write_token(const uint8_t *data, size_t size) {
  struct resume_targets targets;
  uint8_t token[RESUME_TOKEN_BYTES_MAX];
  int64_t version = 0, read = 0;
  for (size_t i = 0; i < size && i < 7; i++)
    version = version << 8 | data[i];
  version++;
  resume_targets_init(&targets, size);
  for (size_t i = 0; i < size; i++)
    resume_targets_add(&targets, resume_target_of(str_make(data + i, 1)));
  size_t len = resume_token_encode(SECRET, DATABASE, version, &targets, token);
  for (size_t i = 0; i < size && i < 16; i++) {
    struct resume_target target = resume_target_of(str_make(data + i, 1));
    CHECK(resume_token_decode(SECRET, DATABASE, target, str_make(token, len), &read) && read == version);
  }
  if (size == 0)
    return;
  struct resume_target target = resume_target_of(str_make(data, 1));
  CHECK(!resume_token_decode(SECRET, STR("projects/p/databases/d"), target, str_make(token, len), &read));
  CHECK(!resume_token_decode(SECRET, DATABASE, target, str_make(token, len - 1), &read));
  token[data[size - 1] % len] ^= (uint8_t)(data[0] | 1);
  CHECK(!resume_token_decode(SECRET, DATABASE, target, str_make(token, len), &read));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > 0 && data[0] % 2 == 0)
    read_token(str_make(data + 1, size - 1));
  else if (size > 0)
    write_token(data + 1, size - 1);
  return 0;
}
