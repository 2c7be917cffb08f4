#include <grpc/grpc.h>
#include <string.h>

#include "rpc/call.h"
#include "rpc/message.h"
#include "rpc/message_slice.h"
#include "tests/support/unit.h"

static void test_holds_any_length(void **state) {
  (void)state;
  const size_t lengths[] = {0, 1, 23, 24, 65536, 65537, 5000000};
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    rpc_message message;
    assert_true(rpc_message_alloc(lengths[i], &message));
    assert_non_null(message.data);
    assert_int_equal(message.len, lengths[i]);
    memset(message.data, 0xa5, message.len);
    rpc_message copy = message; /* moves by value */
    grpc_slice slice = rpc_message_take_slice(&copy);
    assert_int_equal(GRPC_SLICE_LENGTH(slice), lengths[i]);
    assert_ptr_equal(GRPC_SLICE_START_PTR(slice), message.data);
    assert_null(copy.data);
    grpc_slice_unref(slice);
  }
}

static void test_discards_once(void **state) {
  (void)state;
  rpc_message message = {0};
  rpc_message_discard(&message);
  assert_true(rpc_message_alloc(100000, &message));
  rpc_message_discard(&message);
  rpc_message_discard(&message);
  assert_null(message.data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_holds_any_length),
      cmocka_unit_test(test_discards_once),
  };
  grpc_init();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  grpc_shutdown();
  return failed;
}
