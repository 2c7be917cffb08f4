/* The first byte says how large the pieces are: whatever they are, the guard says the same. */
#include <assert.h>

#include "server/listener/http1_guard.h"

static const char *run(const uint8_t *bytes, size_t len, size_t piece, uint64_t *ret_requests) {
  struct http1_guard guard = {0};
  const char *wrong = NULL;
  for (size_t at = 0; at < len && wrong == NULL; at += piece)
    wrong = http1_guard_take(&guard, bytes + at, len - at < piece ? len - at : piece);
  *ret_requests = guard.requests;
  return wrong;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  uint64_t whole, pieces;
  const char *a = run(data + 1, size - 1, size, &whole);
  const char *b = run(data + 1, size - 1, 1 + data[0] % 32U, &pieces);
  assert(a == b && whole == pieces);
  return 0;
}
