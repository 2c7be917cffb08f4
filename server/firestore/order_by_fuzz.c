/* order_by_parse over any bytes: it ends, stays in its memory, and what it takes has the form that it says.
 */
#include <assert.h>

#include "base/limits.h"
#include "server/firestore/order_by.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  struct query_order *orders;
  size_t count;
  status result = order_by_parse(str_make(data, size), &arena, &orders, &count);
  if (status_is_ok(&result)) {
    assert(count <= LIMIT_QUERY_PARTS && (size == 0) == (count == 0));
    for (size_t i = 0; i < count; i++)
      assert(orders[i].field.is_name == (orders[i].field.path.count == 0));
  } else {
    assert(result.code == STATUS_INVALID_ARGUMENT || result.code == STATUS_RESOURCE_EXHAUSTED);
  }
  arena_fini(&arena);
  return 0;
}
