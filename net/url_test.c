#include "net/url.h"
#include "tests/support/unit.h"

static void urls_are_taken_apart(void **state) {
  (void)state;
  static const struct {
    const char *text, *origin, *target;
  } cases[] = {
      {"https://example.com", "https://example.com:443", ""},
      {"HTTPS://Example.COM/a?b=c", "https://example.com:443", "/a?b=c"},
      {"http://127.0.0.1:8080/", "http://127.0.0.1:8080", "/"},
      {"https://[::1]:9/x", "https://[::1]:9", "/x"},
      {"https://[2001:db8::1]", "https://[2001:db8::1]:443", ""},
      {"https://a.b-c.d:65535/", "https://a.b-c.d:65535", "/"},
      {"https://e/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com", "https://e:443",
       "/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct url url;
    struct buf origin = {0};
    if (!url_parse(str_from_cstr(cases[i].text), &url))
      fail_msg("%s was refused", cases[i].text);
    url_append_origin(&url, &origin);
    assert_str_is(buf_str(&origin), cases[i].origin);
    assert_str_is(url.target, cases[i].target);
    buf_fini(&origin);
  }
}

static void mail_servers_are_taken_apart(void **state) {
  (void)state;
  static const struct {
    const char *text, *origin;
    enum url_scheme scheme;
  } cases[] = {{"smtp://mail.example", "smtp://mail.example:587", URL_SMTP},
               {"SMTPS://Mail.example", "smtps://mail.example:465", URL_SMTPS},
               {"smtp://127.0.0.1:25", "smtp://127.0.0.1:25", URL_SMTP},
               {"smtps://[::1]:2465", "smtps://[::1]:2465", URL_SMTPS}};
  static const char *const bad[] = {
      "smtp://mail.example/", "smtp://mail.example/name", "smtp://a:b@mail.example",        "smtp://",
      "https://mail.example", "mail.example:587",         "smtp://mail.example:587\r\nQUIT"};
  struct url url, other;
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct buf origin = {0};
    assert_true(url_parse_mail(str_from_cstr(cases[i].text), &url));
    assert_int_equal(url.scheme, cases[i].scheme);
    url_append_origin(&url, &origin);
    assert_str_is(buf_str(&origin), cases[i].origin);
    buf_fini(&origin);
    assert_false(url_parse(str_from_cstr(cases[i].text), &url)); /* nobody fetches from there */
  }
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    assert_false(url_parse_mail(str_from_cstr(bad[i]), &url));
  assert_true(url_parse_mail(STR("smtp://mail.example:465"), &url));
  assert_true(url_parse_mail(STR("smtps://mail.example"), &other));
  assert_false(url_same_origin(&url, &other));
}

static void what_could_mean_two_things_is_refused(void **state) {
  (void)state;
  static const char *const cases[] = {"",
                                      "example.com",
                                      "ftp://example.com/",
                                      "file:///etc/passwd",
                                      "https://",
                                      "https:///a",
                                      "https://user@example.com/",
                                      "https://example.com:80@evil.example/",
                                      "https://example.com\\@evil.example/",
                                      "https://example.com#@evil.example/",
                                      "https://example.com:/",
                                      "https://example.com:0/",
                                      "https://example.com:65536/",
                                      "https://example.com:8x/",
                                      "https://example.com:+8/",
                                      "https://exa mple.com/",
                                      "https://example.com/a b",
                                      "https://example.com/a\r\nHost: b",
                                      "https://ex\xc3\xa4mple.com/",
                                      "https://example..com/",
                                      "https://.example.com/",
                                      "https://[::1",
                                      "https://[::1]x/",
                                      "https://[::1]:/",
                                      "https://[evil]/",
                                      "https://ex%61mple.com/",
                                      "https://example.com?x=/"};
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct url url;
    if (url_parse(str_from_cstr(cases[i]), &url))
      fail_msg("%s was taken", cases[i]);
  }
  struct url url;
  assert_false(url_parse(STR("https://example.com/\0"), &url));
}

static struct url parsed(const char *text) {
  struct url url;
  assert_true(url_parse(str_from_cstr(text), &url));
  return url;
}

static void origins_are_compared(void **state) {
  (void)state;
  struct url a = parsed("https://Example.com/x"), same = parsed("https://example.com:443/y"),
             port = parsed("https://example.com:444"), scheme = parsed("http://example.com:443"),
             longer = parsed("https://example.com.evil.example");
  assert_true(url_same_origin(&a, &same));
  assert_false(url_same_origin(&a, &port));
  assert_false(url_same_origin(&a, &scheme));
  assert_false(url_same_origin(&a, &longer));
}

static void loopback_is_told_from_the_rest(void **state) {
  (void)state;
  static const char *const local[] = {"http://localhost", "http://127.0.0.1:1", "http://127.9.9.9",
                                      "http://[::1]:5", "http://LOCALHOST:4"};
  static const char *const other[] = {
      "http://127.0.0.1.evil.example", "http://128.0.0.1", "http://[::2]",
      "http://localhost.evil.example", "http://0.0.0.0",   "http://2130706433"};
  for (size_t i = 0; i < UNIT_COUNT(local); i++) {
    struct url url = parsed(local[i]);
    assert_true(url_is_loopback(&url));
  }
  for (size_t i = 0; i < UNIT_COUNT(other); i++) {
    struct url url = parsed(other[i]);
    assert_false(url_is_loopback(&url));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mail_servers_are_taken_apart),          cmocka_unit_test(urls_are_taken_apart),
      cmocka_unit_test(what_could_mean_two_things_is_refused), cmocka_unit_test(origins_are_compared),
      cmocka_unit_test(loopback_is_told_from_the_rest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
