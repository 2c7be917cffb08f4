/* Stored records, stored places and addresses: nothing that is restored makes anybody wait for longer than
 * the longest wait, and places decode to what they encode to. */
#include <stdlib.h>

#include "ports/simulated.h"
#include "server/identity/attempts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct port_simulated *simulated;
  struct attempts *attempts;
  if (simulated == NULL)
    simulated = port_simulated_new();
  status made = attempts_new(port_simulated_port(simulated), STR("0123456789abcdef"),
                             (struct attempts_persistence){NULL, NULL}, &attempts);
  if (!status_is_ok(&made))
    abort();
  str bytes = str_make(data, size);
  struct attempts_known known = attempts_known_decode(bytes);
  uint8_t again[ATTEMPTS_KNOWN_BYTES_MAX];
  if (known.count > 0 && !str_eq(str_make(again, attempts_known_encode(&known, again)), bytes))
    abort();
  if (size >= 2)
    attempts_restore(attempts, (uint16_t)(data[0] << 8 | data[1]), str_from(bytes, 2));
  struct attempts_who who = {.account = STR("a"), .address = bytes};
  struct attempts_ticket ticket;
  int64_t wait_ms;
  status begun = attempts_begin(attempts, &who, &ticket, &wait_ms);
  if (wait_ms < 0 || wait_ms > INT64_C(15) * 60 * 1000)
    abort();
  if (status_is_ok(&begun))
    attempts_end(attempts, &ticket, ATTEMPTS_SUCCEEDED);
  struct attempts_changed changed;
  while (attempts_take_changed(attempts, &changed, 1) > 0)
    if (!attempts_restore(attempts, changed.slot, str_make(changed.record, sizeof changed.record)))
      abort();
  attempts_free(attempts);
  return 0;
}
