#include "base/base64.h"
#include "server/gateway/web_frame.h"
#include "tests/support/unit.h"

static void assert_read(str body, bool is_text, enum status_code code, const char *message) {
  struct buf scratch = {0};
  str bytes;
  status result = web_frame_read(body, is_text, &scratch, &bytes);
  assert_int_equal(result.code, code);
  if (code == STATUS_OK)
    assert_str_is(bytes, message);
  buf_fini(&scratch);
}

static void test_read(void **state) {
  (void)state;
  assert_read(STR("\0\0\0\0\2hi"), false, STATUS_OK, "hi");
  assert_read(STR("\0\0\0\0\0"), false, STATUS_OK, "");
  assert_read(STR("AAAAAAJoaQ=="), true, STATUS_OK, "hi");
  assert_read(STR("AAAAAA==AmhpCg=="), true, STATUS_INVALID_ARGUMENT, NULL); /* one byte too many */
  assert_read(STR("AAAAAA==Amhp"), true, STATUS_OK, "hi"); /* four bytes of the head, and three more */
  assert_read(STR("AAAAAAI=aGk="), true, STATUS_OK, "hi"); /* in two pieces */
  assert_read(STR(""), false, STATUS_INVALID_ARGUMENT, NULL);
  assert_read(STR("\0\0\0\0"), false, STATUS_INVALID_ARGUMENT, NULL);
  assert_read(STR("\0\0\0\0\3hi"), false, STATUS_INVALID_ARGUMENT, NULL);
  assert_read(STR("\0\0\0\0\1hi"), false, STATUS_INVALID_ARGUMENT, NULL);
  assert_read(STR("\0\xff\xff\xff\xffhi"), false, STATUS_INVALID_ARGUMENT, NULL);
  assert_read(STR("\1\0\0\0\2hi"), false, STATUS_UNIMPLEMENTED, NULL);
  assert_read(STR("\x80\0\0\0\2hi"), false, STATUS_INVALID_ARGUMENT, NULL);
  assert_read(STR("AAAA=AI="), true, STATUS_INVALID_ARGUMENT, NULL);
  assert_read(STR("===="), true, STATUS_INVALID_ARGUMENT, NULL);
}

static void test_write(void **state) {
  (void)state;
  struct buf out = {0}, text = {0}, back = {0};
  const struct rpc_local_header trailers[] = {{STR("a"), STR("b")}, {STR("c-bin"), STR("\0\1")}};
  const struct rpc_local_end end = {STATUS_NOT_FOUND, STR("50%\n\xc3\xa4"), trailers, 2};
  web_frame_message(STR("hi"), false, &out);
  web_frame_trailers(&end, false, &out);
  static const char wanted[] = "grpc-status:5\r\ngrpc-message:50%25%0A%C3%A4\r\na:b\r\nc-bin:AAE=\r\n";
  assert_memory_equal(out.data, "\0\0\0\0\2hi\x80\0\0\0", 11);
  assert_int_equal(out.data[11], sizeof wanted - 1);
  assert_str_is(str_from(buf_str(&out), 12), wanted);
  web_frame_message(STR("hi"), true, &text);
  assert_true(base64_decode(buf_str(&text), &back));
  assert_memory_equal(back.data, out.data, 7);
  buf_fini(&out);
  buf_fini(&text);
  buf_fini(&back);
}

static void test_timeouts(void **state) {
  (void)state;
  int64_t us;
  assert_true(web_timeout(STR("1H"), &us) && us == 3600000000);
  assert_true(web_timeout(STR("99999999M"), &us) && us == 99999999 * 60000000LL);
  assert_true(web_timeout(STR("2S"), &us) && us == 2000000);
  assert_true(web_timeout(STR("3m"), &us) && us == 3000);
  assert_true(web_timeout(STR("4u"), &us) && us == 4);
  assert_true(web_timeout(STR("5999n"), &us) && us == 5);
  static const char *const bad[] = {"", "S", "1", "1s", "-1S", "1.5S", "123456789S", " 1S", "1 S"};
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    assert_false(web_timeout(str_from_cstr(bad[i]), &us));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_read),
      cmocka_unit_test(test_write),
      cmocka_unit_test(test_timeouts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
