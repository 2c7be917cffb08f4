/* What people and stores give as secrets, codes and sets of recovery codes: no code is taken twice, and what
 * is decoded encodes to the same. */
#include <stdlib.h>

#include "server/identity/totp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  str text = str_make(data, size);
  struct buf bytes = {0}, written = {0}, again = {0};
  struct totp_recovery recovery;
  int64_t step;
  if (totp_base32_decode(text, &bytes)) {
    totp_base32_append(buf_str(&bytes), &written);
    if (!totp_base32_decode(buf_str(&written), &again) || !str_eq(buf_str(&again), buf_str(&bytes)))
      abort();
  }
  if (totp_check(STR("12345678901234567890"), text, INT64_C(120000000), INT64_MIN, &step) &&
      totp_check(STR("12345678901234567890"), text, INT64_C(120000000), step, &step))
    abort();
  if (totp_recovery_decode(text, &recovery)) {
    uint8_t stored[TOTP_RECOVERY_STORED_BYTES];
    totp_recovery_encode(&recovery, stored);
    if (!str_eq(str_make(stored, sizeof stored), text))
      abort();
  }
  struct totp_recovery none = {.unused = 1};
  if (totp_recovery_use(&none, text))
    abort();
  buf_fini(&bytes);
  buf_fini(&written);
  buf_fini(&again);
  return 0;
}
