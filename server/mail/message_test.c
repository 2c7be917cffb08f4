#include <stdlib.h>

#include "base/base64.h"
#include "server/mail/message.h"
#include "tests/support/unit.h"

#define JANUARY_US INT64_C(1767225600000000) /* 2026-01-01T00:00:00Z, a Thursday */

static void addresses_are_plain(void **state) {
  (void)state;
  const char *const good[] = {"a@b.example", "first.last+tag@sub.example.com", "o'neil@example.co",
                              "x@localhost",
                              "1234567890123456789012345678901234567890123456789012345678901234@example.com"};
  const char *const bad[] = {"",
                             "a",
                             "a@",
                             "@b.example",
                             "a@b",
                             "a@@b.example",
                             "a@b@c.example",
                             ".a@b.example",
                             "a.@b.example",
                             "a..b@c.example",
                             "a@b..example",
                             "a@-b.example",
                             "a@b-.example",
                             "a@b.example.",
                             "a b@c.example",
                             "\"a b\"@c.example",
                             "a@[192.0.2.1]",
                             "a@b.example\r\nBcc: c@d.example",
                             "a@b.example>",
                             "<a@b.example>",
                             "a,b@c.example",
                             "a(comment)@b.example",
                             "\xc3\xa9@b.example",
                             "a@b\xc3\xa9.example",
                             "12345678901234567890123456789012345678901234567890123456789012345@example.com"};
  for (size_t i = 0; i < UNIT_COUNT(good); i++)
    if (!mail_address_is_valid(str_from_cstr(good[i])))
      fail_msg("%s is refused", good[i]);
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    if (mail_address_is_valid(str_from_cstr(bad[i])))
      fail_msg("%s is taken", bad[i]);
  assert_false(mail_address_is_valid(STR("a\0@b.example")));
}

static void mailboxes_are_taken_apart(void **state) {
  (void)state;
  const struct {
    const char *text, *name, *address;
  } good[] = {{"box@example.com", "", "box@example.com"},
              {" <box@example.com> ", "", "box@example.com"},
              {"The Box <box@example.com>", "The Box", "box@example.com"},
              {"\"Box, Inc.\" <box@example.com>", "Box, Inc.", "box@example.com"},
              {"B\xc3\xbcro <box@example.com>", "B\xc3\xbcro", "box@example.com"}};
  const char *const bad[] = {"",
                             "The Box",
                             "The Box <box@example.com",
                             "<a@b.example> <c@d.example>",
                             "a <b> <c@d.example>",
                             "\xff <box@example.com>",
                             "A\nB <box@example.com>"};
  struct mailbox box;
  for (size_t i = 0; i < UNIT_COUNT(good); i++) {
    if (!mailbox_parse(str_from_cstr(good[i].text), &box))
      fail_msg("%s is refused", good[i].text);
    assert_str_is(box.name, good[i].name);
    assert_str_is(box.address, good[i].address);
  }
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    if (mailbox_parse(str_from_cstr(bad[i]), &box))
      fail_msg("%s is taken", bad[i]);
}

/* Owned by the caller, with a NUL. */
static struct buf write_message(const char *name, const char *subject, str text) {
  struct mail_message message = {.from = {str_from_cstr(name), STR("box@example.com")},
                                 .to = STR("ann@example.com"),
                                 .subject = str_from_cstr(subject),
                                 .text = text,
                                 .id = STR("0123@example.com"),
                                 .date_us = JANUARY_US};
  struct buf out = {0};
  mail_message_append(&message, &out);
  assert_false(out.failed);
  buf_append_byte(&out, '\0');
  return out;
}

static void assert_has(const struct buf *message, const char *wanted) {
  if (strstr((const char *)message->data, wanted) == NULL)
    fail_msg("%s is not in:\n%s", wanted, (const char *)message->data);
}

static void assert_has_not(const struct buf *message, const char *unwanted) {
  if (strstr((const char *)message->data, unwanted) != NULL)
    fail_msg("%s is in:\n%s", unwanted, (const char *)message->data);
}

static void assert_lines_are_short(const struct buf *message) {
  size_t column = 0;
  for (size_t i = 0; i + 1 < message->len; i++) {
    uint8_t c = message->data[i];
    if (c == '\n') {
      assert_true(i > 0 && message->data[i - 1] == '\r');
      column = 0;
      continue;
    }
    assert_true(c != '\r' || message->data[i + 1] == '\n');
    assert_true(c < 0x7f && (c >= ' ' || c == '\r' || c == '\t'));
    assert_true(++column <= 78);
  }
}

static void a_plain_mail_is_readable(void **state) {
  (void)state;
  struct buf message = write_message("The Box", "Hello", STR("Hello,\n\nhere it is: 1+1=2 \n"));
  assert_string_equal((const char *)message.data, "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
                                                  "From: \"The Box\" <box@example.com>\r\n"
                                                  "To: <ann@example.com>\r\n"
                                                  "Subject: Hello\r\n"
                                                  "Message-ID: <0123@example.com>\r\n"
                                                  "MIME-Version: 1.0\r\n"
                                                  "Content-Type: text/plain; charset=utf-8\r\n"
                                                  "Content-Transfer-Encoding: quoted-printable\r\n"
                                                  "Auto-Submitted: auto-generated\r\n"
                                                  "\r\n"
                                                  "Hello,\r\n\r\nhere it is: 1+1=3D2=20\r\n");
  buf_fini(&message);
}

static void headers_stay_headers(void **state) {
  (void)state;
  struct buf message =
      write_message("Box\"\r\nBcc: evil@example.com", "Hi\r\nBcc: evil@example.com\r\n\r\nText", STR("x"));
  assert_has_not(&message, "\nBcc:");
  assert_has(&message, "\\\"  Bcc: evil@example.com\" <box@example.com>\r\n");
  assert_has(&message, "Subject: Hi  Bcc: evil@example.com    Text\r\n");
  assert_lines_are_short(&message);
  buf_fini(&message);
}

static void other_alphabets_become_encoded_words(void **state) {
  (void)state;
  const char *subject = "Best\xc3\xa4tigen Sie Ihre Adresse f\xc3\xbcr den Hafen: "
                        "\xe2\x9a\x93\xf0\x9f\x9a\xa2 und noch vieles mehr, was lang ist";
  struct buf message = write_message("B\xc3\xbcro", subject, STR("x"));
  assert_has(&message, "From: =?utf-8?B?QsO8cm8=?=\r\n <box@example.com>\r\n");
  assert_lines_are_short(&message);
  /* The words together are the subject again. */
  struct buf whole = {0};
  const char *at = strstr((const char *)message.data, "Subject: "), *end = strstr(at, "\r\nMessage-ID");
  while ((at = strstr(at, "=?utf-8?B?")) != NULL && at < end) {
    at += 10;
    size_t len = strcspn(at, "?");
    assert_true(base64_decode(str_make(at, len), &whole));
    at += len;
  }
  assert_str_is(buf_str(&whole), subject);
  buf_fini(&whole);
  buf_fini(&message);
  message = write_message("", "a\xff\xfe z", STR("bad \xff\n"));
  assert_has(&message, "From: <box@example.com>\r\n");
  assert_has(&message, "bad =EF=BF=BD\r\n");
  buf_fini(&message);
  message = write_message("", "=?utf-8?B?SGk=?=", STR("x")); /* no word of a stranger's making */
  assert_has_not(&message, "SGk");
  buf_fini(&message);
}

static void texts_are_wrapped(void **state) {
  (void)state;
  char *text = calloc(1, 3001);
  for (size_t i = 0; i < 3000; i++)
    text[i] = i % 7 == 3 ? '=' : i % 11 == 5 ? '\t' : 'x';
  struct buf message = write_message("Box", "s", str_make(text, 3000));
  assert_lines_are_short(&message);
  assert_has(&message, "=\r\n");
  buf_fini(&message);
  message = write_message("Box", "s", STR("a\r\nb\rc\n.\n"));
  assert_has(&message, "\r\n\r\na\r\nb c\r\n.\r\n");
  buf_fini(&message);
  message = write_message("Box", "s", (str){NULL, 0});
  buf_fini(&message);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(addresses_are_plain),
      cmocka_unit_test(mailboxes_are_taken_apart),
      cmocka_unit_test(a_plain_mail_is_readable),
      cmocka_unit_test(headers_stay_headers),
      cmocka_unit_test(other_alphabets_become_encoded_words),
      cmocka_unit_test(texts_are_wrapped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
