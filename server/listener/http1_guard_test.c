/* The guard of HTTP/1.1: each text in one piece and byte by byte. */
#include <string.h>

#include "server/listener/http1_guard.h"
#include "tests/support/unit.h"

#define HEAD "POST /v1/x HTTP/1.1\r\nHost: x\r\n"

static const char *run(const char *text, size_t len, size_t piece, uint64_t *ret_requests) {
  struct http1_guard guard = {0};
  const char *wrong = NULL;
  for (size_t at = 0; at < len && wrong == NULL; at += piece) {
    size_t part = len - at < piece ? len - at : piece;
    wrong = http1_guard_take(&guard, (const uint8_t *)text + at, part);
  }
  *ret_requests = guard.requests;
  return wrong;
}

static void assert_fine(const char *text, uint64_t requests) {
  for (size_t piece = 1; piece < 200; piece = piece * 3 + 1) {
    uint64_t seen;
    const char *wrong = run(text, strlen(text), piece, &seen);
    if (wrong != NULL)
      fail_msg("%s: %s", text, wrong);
    assert_int_equal(seen, requests);
  }
}

static void assert_refused(const char *text, size_t len, const char *why) {
  for (size_t piece = 1; piece < 200; piece = piece * 3 + 1) {
    uint64_t seen;
    const char *wrong = run(text, len, piece, &seen);
    if (wrong == NULL)
      fail_msg("\"%s\" was taken", text);
    if (strstr(wrong, why) == NULL)
      fail_msg("\"%s\": \"%s\" does not say \"%s\"", text, wrong, why);
  }
}
#define REFUSED(text, why) assert_refused("" text, sizeof(text) - 1, why)

static void test_taken(void **state) {
  (void)state;
  assert_fine("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1);
  assert_fine("GET / HTTP/1.0\r\n\r\n", 1);
  assert_fine(HEAD "Content-Length: 5\r\n\r\nhello" HEAD "\r\n", 2);
  assert_fine(HEAD "content-length:\t5 \r\n\r\n\r\n\0\n", 1);
  assert_fine(HEAD "Content-Length: 0\r\n\r\n" HEAD "\r\n", 2);
  assert_fine(HEAD "Transfer-Encoding: Chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\n" HEAD "\r\n",
              2);
  assert_fine(HEAD "transfer-encoding:chunked\r\n\r\n0000000a\r\n0123456789\r\n000\r\n\r\n" HEAD "\r\n", 2);
  assert_fine(HEAD "X: \xc3\xa4:b \tc\r\nY:\r\nContent-Lengthy: 3\r\n\r\n", 1);
  assert_fine("PROPFIND /a%20b?c=d%3F HTTP/1.1\r\n\r\n", 1);
}

static void test_lines(void **state) {
  (void)state;
  REFUSED("GET / HTTP/1.1\n", "line feed without");
  REFUSED(HEAD "X: y\n", "line feed without");
  REFUSED(HEAD "X: a\rY: b\r\n", "carriage return without");
  REFUSED(HEAD "X: a\r\r\n", "carriage return without");
  REFUSED(HEAD "X: a\r\n b\r\n", "goes on");
  REFUSED(HEAD "X: a\r\n\tb\r\n", "goes on");
  REFUSED("GET / HTTP/1.1\r\n X: y\r\n", "goes on");
  REFUSED(HEAD "X: a\0b\r\n", "control");
  REFUSED(HEAD "X: \x0b\r\n", "control");
  REFUSED(HEAD "X: \x7f\r\n", "control");
  REFUSED(HEAD "X\0: b\r\n", "control");
  REFUSED(HEAD "X : b\r\n", "name");
  REFUSED(HEAD ": b\r\n", "name");
  REFUSED(HEAD "X b: c\r\n", "name");
  REFUSED(HEAD "X\xc3\xa4: c\r\n", "name");
  REFUSED(HEAD "Xb\r\n", "colon");
}

static void test_request_lines(void **state) {
  (void)state;
  REFUSED("\r\nGET / HTTP/1.1\r\n", "request line");
  REFUSED("GET / HTTP/1.2\r\n", "request line");
  REFUSED("GET / HTTP/2.0\r\n", "request line");
  REFUSED("GET / http/1.1\r\n", "request line");
  REFUSED("GET / HTTP/1.1 \r\n", "request line");
  REFUSED("GET  / HTTP/1.1\r\n", "request line");
  REFUSED("GET /a b HTTP/1.1\r\n", "request line");
  REFUSED("GET\t/ HTTP/1.1\r\n", "request line");
  REFUSED("GET /\r\n", "request line");
  REFUSED(" HTTP/1.1\r\n", "request line");
  REFUSED("GET /\xc3\xa4 HTTP/1.1\r\n", "request line");
}

static void test_framing(void **state) {
  (void)state;
  REFUSED(HEAD "Content-Length: 3\r\nContent-Length: 3\r\n", "two lengths");
  REFUSED(HEAD "Content-Length: 3, 3\r\n", "no number");
  REFUSED(HEAD "Content-Length: +3\r\n", "no number");
  REFUSED(HEAD "Content-Length: -3\r\n", "no number");
  REFUSED(HEAD "Content-Length: 0x3\r\n", "no number");
  REFUSED(HEAD "Content-Length: 3 3\r\n", "no number");
  REFUSED(HEAD "Content-Length:\r\n", "no number");
  REFUSED(HEAD "Content-Length: 1234567890123456\r\n", "no number");
  REFUSED(HEAD "Content-Length: 3                                      4\r\n", "no number");
  REFUSED(HEAD "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "and chunks");
  REFUSED(HEAD "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", "and chunks");
  REFUSED(HEAD "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding");
  REFUSED(HEAD "Transfer-Encoding: xchunked\r\n", "Transfer-Encoding");
  REFUSED(HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding");
  REFUSED(HEAD "Transfer-Encoding:\r\n", "Transfer-Encoding");
  REFUSED(HEAD "Transfer-Encoding: chunked                            x\r\n", "Transfer-Encoding");
}

static void test_chunks(void **state) {
  (void)state;
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n\r\n"
  REFUSED(CHUNKED "x\r\n", "no number");
  REFUSED(CHUNKED "\r\n", "no number");
  REFUSED(CHUNKED "-1\r\n", "no number");
  REFUSED(CHUNKED "+1\r\n", "no number");
  REFUSED(CHUNKED "0x1\r\n", "no number");
  REFUSED(CHUNKED "1 \r\n", "no number");
  REFUSED(CHUNKED " 1\r\n", "no number");
  REFUSED(CHUNKED "1\n", "line feed without");
  REFUSED(CHUNKED "123456789\r\n", "no number");
  REFUSED(CHUNKED ";a\r\n", "no number");
  REFUSED(CHUNKED "3\r\nabcX\r\n", "behind a chunk");
  REFUSED(CHUNKED "3\r\nabc\n", "line feed without");
  REFUSED(CHUNKED "0\r\nX\r\n", "trailer");
  REFUSED(CHUNKED "0\r\n X: y\r\n", "goes on");
}

static void test_endless_head(void **state) {
  (void)state;
  struct http1_guard guard = {0};
  const char *wrong = http1_guard_take(&guard, (const uint8_t *)HEAD, sizeof HEAD - 1);
  for (int i = 0; i < 100000 && wrong == NULL; i++)
    wrong = http1_guard_take(&guard, (const uint8_t *)"a: b\r\n", 6);
  assert_non_null(wrong);
  assert_non_null(strstr(wrong, "without an end"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_taken),   cmocka_unit_test(test_lines),  cmocka_unit_test(test_request_lines),
      cmocka_unit_test(test_framing), cmocka_unit_test(test_chunks), cmocka_unit_test(test_endless_head),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
