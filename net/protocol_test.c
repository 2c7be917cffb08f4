#include <stdlib.h>

#include "net/freshness.h"
#include "net/protocol.h"
#include "tests/support/unit.h"

static struct net_request request_of(str url, str body) {
  return (struct net_request){
      .id = 7,
      .timeout_ms = 5000,
      .body_bytes_max = 1000,
      .method = STR("POST"),
      .url = url,
      .headers = {{STR("content-type"), STR("text/plain")}, {STR("x-empty"), STR("")}},
      .header_count = 2,
      .body = body};
}

static void requests_come_back(void **state) {
  (void)state;
  struct buf out = {0};
  struct net_request request = request_of(STR("https://example.com/"), STR("a\0b")), back;
  assert_true(net_request_encode(&request, &out));
  assert_true(net_request_encode(&request, &out));
  str bytes = buf_str(&out), payload;
  for (unsigned i = 0; i < 2; i++) {
    assert_int_equal(net_frame_take(&bytes, &payload), NET_FRAME_WHOLE);
    assert_true(net_request_decode(payload, &back));
    assert_int_equal(back.id, 7);
    assert_int_equal(back.timeout_ms, 5000);
    assert_int_equal(back.body_bytes_max, 1000);
    assert_str_is(back.method, "POST");
    assert_str_is(back.url, "https://example.com/");
    assert_int_equal(back.header_count, 2);
    assert_str_is(back.headers[0].value, "text/plain");
    assert_true(str_eq(back.body, STR("a\0b")));
    struct net_response response;
    assert_false(net_response_decode(payload, &response)); /* of the other kind */
  }
  assert_int_equal(net_frame_take(&bytes, &payload), NET_FRAME_INCOMPLETE);
  buf_fini(&out);
}

static struct net_mail good_mail(void) {
  return (struct net_mail){.id = 3,
                           .timeout_ms = 5000,
                           .tls = NET_TLS_IF_OFFERED,
                           .url = STR("smtp://mail.example:587"),
                           .user = STR("box"),
                           .password = STR("pass word"),
                           .hello = STR("box.example"),
                           .from = STR("box@box.example"),
                           .to = STR("ann@example.com"),
                           .message = STR("Subject: a\r\n\r\nb\0\r\n")};
}

static void mails_come_back(void **state) {
  (void)state;
  struct buf out = {0};
  struct net_mail mail = good_mail(), back;
  struct net_request request;
  assert_true(net_mail_encode(&mail, &out));
  str bytes = buf_str(&out), payload;
  assert_int_equal(net_frame_take(&bytes, &payload), NET_FRAME_WHOLE);
  assert_true(net_mail_decode(payload, &back));
  assert_int_equal(back.id, 3);
  assert_int_equal(back.tls, NET_TLS_IF_OFFERED);
  assert_str_is(back.password, "pass word");
  assert_str_is(back.to, "ann@example.com");
  assert_true(str_eq(back.message, mail.message));
  assert_false(net_request_decode(payload, &request));
  for (size_t len = 0; len < payload.len; len++)
    assert_false(net_mail_decode(str_make(payload.ptr, len), &back));
  buf_fini(&out);
}

/* What would be a command of its own, another recipient, or another path of the URL. */
static void mails_that_say_more_are_refused(void **state) {
  (void)state;
  static char large[NET_BODY_BYTES_MAX + 1];
  struct net_mail cases[11];
  for (size_t i = 0; i < UNIT_COUNT(cases); i++)
    cases[i] = good_mail();
  cases[0].to = STR("ann@example.com>\r\nRCPT TO:<bob@example.com");
  cases[1].to = STR("ann@example.com> <bob@example.com");
  cases[2].to = (str){NULL, 0};
  cases[3].from = STR("box@box.example\nDATA");
  cases[4].hello = STR("box/../x");
  cases[5].hello = (str){NULL, 0};
  cases[6].password = STR("pass\0word");
  cases[7].user = STR("b\xc3\xb6x");
  cases[8].message = (str){large, sizeof large};
  cases[9].message = (str){NULL, 0};
  cases[10].timeout_ms = NET_TIMEOUT_MS_MAX + 1;
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct buf out = {0};
    if (net_mail_encode(&cases[i], &out))
      fail_msg("case %zu is taken", i);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
  }
}

static void cut_and_longer_payloads_are_refused(void **state) {
  (void)state;
  struct buf out = {0};
  struct net_response response = {.id = 1,
                                  .http_status = 200,
                                  .headers = {{STR("cache-control"), STR("max-age=5")}},
                                  .header_count = 1,
                                  .body = STR("{}")},
                      back;
  assert_true(net_response_encode(&response, &out));
  str bytes = buf_str(&out), payload;
  for (size_t len = 0; len < out.len; len++) {
    str cut = str_make(out.data, len);
    assert_int_equal(net_frame_take(&cut, &payload), NET_FRAME_INCOMPLETE);
  }
  assert_int_equal(net_frame_take(&bytes, &payload), NET_FRAME_WHOLE);
  for (size_t len = 0; len < payload.len; len++) {
    char *copy = malloc(len + 1);
    memcpy(copy, payload.ptr, len);
    assert_false(net_response_decode(str_make(copy, len), &back));
    free(copy);
  }
  buf_append_byte(&out, 0);
  assert_false(net_response_decode(str_make(out.data + 4, out.len - 4), &back));
  str long_frame = STR("\x7f\xff\xff\xff....");
  assert_int_equal(net_frame_take(&long_frame, &payload), NET_FRAME_BROKEN);
  buf_fini(&out);
}

static void what_http_does_not_allow_is_not_sent(void **state) {
  (void)state;
  struct buf out = {0};
  char *large = calloc(1, NET_BODY_BYTES_MAX + 1);
  struct net_request requests[] = {
      request_of(STR("https://a/"), str_make(large, NET_BODY_BYTES_MAX + 1)),
      request_of(STR("https://a/"), STR("")),
      request_of(STR("https://a/"), STR("")),
      request_of(STR("https://a/"), STR("")),
      request_of(STR("https://a/"), STR("")),
      request_of(STR("https://a/"), STR("")),
      request_of(STR("https://a/"), STR("")),
      request_of(STR("https://a/"), STR("")),
  };
  requests[1].method = STR("CONNECT");
  requests[2].headers[0].value = STR("a\r\nb: c");
  requests[3].headers[0].name = STR("a b");
  requests[4].headers[0].name = STR("");
  requests[5].timeout_ms = 0;
  requests[6].timeout_ms = NET_TIMEOUT_MS_MAX + 1;
  requests[7].header_count = NET_HEADERS_MAX + 1;
  for (size_t i = 0; i < UNIT_COUNT(requests); i++) {
    if (net_request_encode(&requests[i], &out))
      fail_msg("number %zu", i);
    assert_int_equal(out.len, 0);
  }
  struct net_request largest = request_of(STR("https://a/"), str_make(large, NET_BODY_BYTES_MAX));
  assert_true(net_request_encode(&largest, &out));
  free(large);
  buf_fini(&out);
}

static int64_t lifetime(const char *cache_control, const char *expires, const char *date, const char *age) {
  struct net_response response = {.http_status = 200};
  const char *const pairs[][2] = {
      {"cache-control", cache_control}, {"expires", expires}, {"date", date}, {"age", age}};
  for (size_t i = 0; i < UNIT_COUNT(pairs); i++)
    if (pairs[i][1] != NULL)
      response.headers[response.header_count++] =
          (struct net_header){str_from_cstr(pairs[i][0]), str_from_cstr(pairs[i][1])};
  return net_response_lifetime_s(&response);
}

static void lifetimes_are_read(void **state) {
  (void)state;
  static const char DATE[] = "Sun, 06 Nov 1994 08:49:37 GMT", LATER[] = "Sun, 06 Nov 1994 09:49:37 GMT";
  assert_int_equal(lifetime(NULL, NULL, NULL, NULL), -1);
  assert_int_equal(lifetime("public, max-age=19845, must-revalidate, no-transform", NULL, NULL, NULL), 19845);
  assert_int_equal(lifetime("MAX-AGE=\"60\"", NULL, NULL, "10"), 50);
  assert_int_equal(lifetime("max-age=60", NULL, NULL, "61"), 0);
  assert_int_equal(lifetime("max-age=60, no-store", NULL, NULL, NULL), 0);
  assert_int_equal(lifetime("max-age=99999999999", NULL, NULL, NULL), INT32_MAX);
  assert_int_equal(lifetime("max-age=-5", NULL, NULL, NULL), -1);
  assert_int_equal(lifetime("max-age", NULL, NULL, NULL), -1);
  assert_int_equal(lifetime(",,=,", NULL, NULL, NULL), -1);
  assert_int_equal(lifetime(NULL, LATER, DATE, NULL), 3600);
  assert_int_equal(lifetime("max-age=5", LATER, DATE, NULL), 5);
  assert_int_equal(lifetime(NULL, DATE, LATER, NULL), 0);
  assert_int_equal(lifetime(NULL, "0", DATE, NULL), 0);
  assert_int_equal(lifetime(NULL, LATER, NULL, NULL), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(requests_come_back),
      cmocka_unit_test(mails_come_back),
      cmocka_unit_test(mails_that_say_more_are_refused),
      cmocka_unit_test(cut_and_longer_payloads_are_refused),
      cmocka_unit_test(what_http_does_not_allow_is_not_sent),
      cmocka_unit_test(lifetimes_are_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
