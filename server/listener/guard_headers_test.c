/* The judge of header blocks, behind the whole guard. */
#include <stdlib.h>

#include "server/listener/guard_headers.h"
#include "server/listener/guard_script.h"
#include "tests/support/unit.h"

static const char zeros[16385];

/* ---- Headers ---- */

struct header_case {
  const char
      *lines; /* "name: value\n" of a request; begins with '+' if the usual pseudo-headers come first */
  enum guard_offence offence;
};

static void append_lines(struct buf *out, str lines) {
  if (str_has_prefix(lines, STR("+"))) {
    wire_pseudo(out);
    lines = str_from(lines, 1);
  }
  while (lines.len > 0) {
    str line = str_split(lines, '\n', &lines), rest = str_from(line, 1),
        value; /* a name may begin with ':' */
    str name = str_split(rest, ':', &value);
    wire_literal(out, str_make(line.ptr, name.len + 1), str_from(value, 1), false);
  }
}

static void check_header_case(struct script *script, str block, enum guard_offence offence,
                              const char *what) {
  script_client_frame(script, FRAME_HEADERS, FLAG_END_HEADERS, 1, block);
  struct script_result result;
  script_run_cut(script, &result);
  if (result.offence != offence)
    fail_msg("%s: %s (%s) instead of %s", what, guard_offence_name(result.offence),
             result.why == NULL ? "" : result.why, guard_offence_name(offence));
  buf_fini(&result.out);
  script_free(script);
}

static void test_headers(void **state) {
  (void)state;
  const struct header_case cases[] = {
      {"+", GUARD_NO_OFFENCE},
      {":method: POST\n:scheme: http\n:path: /a\n", GUARD_NO_OFFENCE},
      {":path: /a\n:scheme: https\n:method: POST\n:authority: \n", GUARD_NO_OFFENCE},
      {"", GUARD_HEADER},
      {":scheme: http\n:path: /a\n", GUARD_HEADER},
      {":method: POST\n:path: /a\n", GUARD_HEADER},
      {":method: POST\n:scheme: http\n", GUARD_HEADER},
      {":method: POST\n:scheme: http\n:authority: a\n", GUARD_HEADER},
      {":method: GET\n:scheme: http\n:path: /a\n", GUARD_HEADER},
      {":method: PUT\n:scheme: http\n:path: /a\n", GUARD_HEADER},
      {":method: CONNECT\n:authority: a\n", GUARD_HEADER},
      {":method: post\n:scheme: http\n:path: /a\n", GUARD_HEADER},
      {":method: POST\n:scheme: httpx\n:path: /a\n", GUARD_HEADER},
      {":method: POST\n:scheme: HTTP\n:path: /a\n", GUARD_HEADER},
      {":method: POST\n:scheme: grpc\n:path: /a\n", GUARD_HEADER},
      {":method: POST\n:scheme: \n:path: /a\n", GUARD_HEADER},
      {":method: POST\n:scheme: http\n:path: a\n", GUARD_HEADER},
      {":method: POST\n:scheme: http\n:path: \n", GUARD_HEADER},
      {":method: POST\n:scheme: http\n:path: *\n", GUARD_HEADER},
      {":method: POST\n:scheme: http\n:path: /a b\n", GUARD_HEADER},
      {":method: POST\n:scheme: http\n:path: /a\n:authority: a b\n", GUARD_HEADER},
      {":method: POST\n:scheme: http\n:path: /a\n:authority: a/b\n", GUARD_HEADER},
      {":method: POST\n:scheme: http\n:path: /a\n:status: 200\n", GUARD_HEADER},
      {":method: POST\n:scheme: http\n:path: /a\n:protocol: websocket\n", GUARD_HEADER},
      {"+:method: POST\n", GUARD_HEADER},
      {"+:scheme: http\n", GUARD_HEADER},
      {"+:path: /\n", GUARD_HEADER},
      {"+:authority: box\n", GUARD_HEADER},
      {":method: POST\n:scheme: http\nx: y\n:path: /a\n", GUARD_HEADER},
      {"+te: trailers\n", GUARD_NO_OFFENCE},
      {"+te: \n", GUARD_HEADER},
      {"+te: gzip\n", GUARD_HEADER},
      {"+te: trailers, gzip\n", GUARD_HEADER},
      {"+tf: gzip\n", GUARD_NO_OFFENCE},
      {"+connection: close\n", GUARD_HEADER},
      {"+proxy-connection: close\n", GUARD_HEADER},
      {"+keep-alive: x\n", GUARD_HEADER},
      {"+transfer-encoding: chunked\n", GUARD_HEADER},
      {"+upgrade: h2c\n", GUARD_HEADER},
      {"+connections: close\n", GUARD_NO_OFFENCE},
      {"+upgrades: h2c\n", GUARD_NO_OFFENCE},
      {"+grpclb_client_stats: x\n", GUARD_HEADER},
      {"+lb-token: x\n", GUARD_HEADER},
      {"+lb-cost-bin: AAAA\n", GUARD_HEADER},
      {"+skerry-connection: x\n", GUARD_HEADER},
      {"+skerry-connectiom: x\n", GUARD_NO_OFFENCE},
      {"+X-Upper: x\n", GUARD_HEADER},
      {"+x y: x\n", GUARD_HEADER},
      {"+x\x7f: x\n", GUARD_HEADER},
      {"+x\xc3\xa9: x\n", GUARD_HEADER},
      {"+x!#$%&'*.^_`|~9: x\n", GUARD_NO_OFFENCE},
      {"+x: a\tb \xc3\xa9\n", GUARD_NO_OFFENCE},
      {"+x:  surrounded \n", GUARD_NO_OFFENCE},
      {"+x: a\rb\n", GUARD_HEADER},
      {"+x: a\x01\n", GUARD_HEADER},
      {"+x: a\x7f\n", GUARD_HEADER},
      {"+x-bin: \n", GUARD_NO_OFFENCE},
      {"+x-bin: AQ\n", GUARD_NO_OFFENCE},
      {"+x-bin: /w==\n", GUARD_NO_OFFENCE},
      {"+x-bin: ABE\n", GUARD_NO_OFFENCE},
      {"+x-bin: //8=\n", GUARD_NO_OFFENCE},
      {"+x-bin: AB\n", GUARD_HEADER}, /* bits left over */
      {"+x-bin: AI==\n", GUARD_HEADER},
      {"+x-bin: ABB\n", GUARD_HEADER},
      {"+x-bin: ABC=\n", GUARD_HEADER},
      {"+x-bin: az09+/AZ\n", GUARD_NO_OFFENCE},
      {"+x-bin: A\n", GUARD_HEADER},
      {"+x-bin: ABCDE\n", GUARD_HEADER},
      {"+x-bin: A===\n", GUARD_HEADER},
      {"+x-bin: ====\n", GUARD_HEADER},
      {"+x-bin: AB=\n", GUARD_HEADER},
      {"+x-bin: A=BC\n", GUARD_HEADER},
      {"+x-bin: AB-_\n", GUARD_HEADER},
      {"+x-bin: AB,CD\n", GUARD_HEADER},
      {"+x-bin: AB C\n", GUARD_HEADER},
      {"+-bin: !\n", GUARD_HEADER},
      {"+x-bim: !\n", GUARD_NO_OFFENCE},
      {"+host: anything\n", GUARD_NO_OFFENCE},
      {"+content-length: 12\n", GUARD_NO_OFFENCE},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct buf block = {0};
    append_lines(&block, str_from_cstr(cases[i].lines));
    check_header_case(script_greeted(), buf_str(&block), cases[i].offence, cases[i].lines);
    buf_fini(&block);
  }
}

static void test_headers_with_odd_bytes(void **state) {
  (void)state;
  const struct {
    str name, value;
    enum guard_offence offence;
  } cases[] = {
      {STR(""), STR("x"), GUARD_HEADER},
      {STR(":"), STR("x"), GUARD_HEADER},
      {STR("x"), STR("a\0b"), GUARD_HEADER},
      {STR("x"), STR("a\nb"), GUARD_HEADER},
      {STR("x\0"), STR("a"), GUARD_HEADER},
      {STR("x\n"), STR("a"), GUARD_HEADER},
      {STR("x:"), STR("a"), GUARD_HEADER},
      {STR("x-bin"), STR("\0raw"), GUARD_HEADER}, /* true binary: not announced */
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct buf block = {0};
    wire_pseudo(&block);
    wire_literal(&block, cases[i].name, cases[i].value, true);
    check_header_case(script_greeted(), buf_str(&block), cases[i].offence, cases[i].name.ptr);
    buf_fini(&block);
  }
}

/* ---- HPACK ---- */

static void test_codes_of_headers(void **state) {
  (void)state;
  const struct {
    const char *what;
    str block;
    enum guard_offence offence;
  } cases[] = {
      {"a smaller table", STR("\x20" SCRIPT_PSEUDO), GUARD_NO_OFFENCE},
      {"smaller, then 4096", STR("\x20\x3f\xe1\x1f" SCRIPT_PSEUDO), GUARD_NO_OFFENCE},
      {"smaller, smaller, then 4096", STR("\x20\x21\x3f\xe1\x1f" SCRIPT_PSEUDO), GUARD_HEADER_CODE},
      {"4097", STR("\x3f\xe2\x1f" SCRIPT_PSEUDO), GUARD_HEADER_CODE},
      {"a size after a field", STR(SCRIPT_PSEUDO "\x20"), GUARD_HEADER_CODE},
      {"index 0", STR("\x80" SCRIPT_PSEUDO), GUARD_HEADER_CODE},
      {"an index past the table", STR(SCRIPT_PSEUDO "\xbe"), GUARD_HEADER_CODE},
      {"a name past the table", STR(SCRIPT_PSEUDO "\x7e\1x"), GUARD_HEADER_CODE},
      {"an index that is cut", STR(SCRIPT_PSEUDO "\xff"), GUARD_HEADER_CODE},
      {"an index with a long tail", STR("\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0" SCRIPT_PSEUDO),
       GUARD_HEADER_CODE},
      {"an index of 2^31", STR("\xff\x80\x80\x80\x80\x08" SCRIPT_PSEUDO), GUARD_HEADER_CODE},
      {"a length of 2^35",
       STR(SCRIPT_PSEUDO "\0\x7f\x80\x80\x80\x80\x7f"
                         "abc"),
       GUARD_HEADER_CODE},
      {"a name of 300 MB",
       STR(SCRIPT_PSEUDO "\0\x7f\x81\x86\x84\x8f\x01"
                         "abc"),
       GUARD_HEADER_CODE},
      {"a value of 300 MB",
       STR(SCRIPT_PSEUDO "\0\1x\x7f\x81\x86\x84\x8f\x01"
                         "abc"),
       GUARD_HEADER_CODE},
      {"a value of 300 MB, Huffman",
       STR(SCRIPT_PSEUDO "\0\1x\xff\x81\x86\x84\x8f\x01"
                         "abc"),
       GUARD_HEADER_CODE},
      {"a value of 60000 bytes of which few come",
       STR(SCRIPT_PSEUDO "\0\1x\x7f\xe1\xd3\x03"
                         "abc"),
       GUARD_HEADER_CODE},
      {"a literal without its value", STR(SCRIPT_PSEUDO "\0\1x"), GUARD_HEADER_CODE},
      {"a literal without its name", STR(SCRIPT_PSEUDO "\0"), GUARD_HEADER_CODE},
      {"Huffman's end of string", STR(SCRIPT_PSEUDO "\0\1x\x84\xff\xff\xff\xff"), GUARD_HEADER_CODE},
      {"Huffman with a byte of padding", STR(SCRIPT_PSEUDO "\0\1x\x82\x1f\xff"), GUARD_HEADER_CODE},
      {"Huffman", STR(SCRIPT_PSEUDO "\0\1x\x81\x1f"), GUARD_NO_OFFENCE},
      {"never indexed", STR(SCRIPT_PSEUDO "\x10\1x\1y"), GUARD_NO_OFFENCE},
      {"indexed, and used", STR(SCRIPT_PSEUDO "\x40\1x\1y\xbe\x7e\1z\xbf"), GUARD_NO_OFFENCE},
      {"indexed, and gone", STR("\x20" SCRIPT_PSEUDO "\x40\1x\1y\xbe"), GUARD_HEADER_CODE},
      {"a method of the static table that is none of ours", STR("\x82\x86\x84"), GUARD_HEADER},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++)
    check_header_case(script_greeted(), cases[i].block, cases[i].offence, cases[i].what);
}

/* 300 MB announced in a frame that does not end the block, then one CONTINUATION after the other. */
static void test_huge_values_are_not_waited_for(void **state) {
  (void)state;
  struct script *script = script_greeted();
  struct buf block = {0};
  wire_pseudo(&block);
  buf_append(&block, "\0\1x", 3);
  wire_integer(&block, 0, 7, 300000000);
  script_client_frame(script, FRAME_HEADERS, 0, 1, buf_str(&block));
  buf_fini(&block);
  for (int i = 0; i < 20; i++)
    script_client_frame(script, FRAME_CONTINUATION, 0, 1, str_make(zeros, 1000));
  struct script_result result;
  script_run(script, (struct script_cuts){0}, &result);
  assert_int_equal(result.offence, GUARD_HEADER_SIZE);
  buf_fini(&result.out);
  script_expect(script, GUARD_HEADER_SIZE);
}

/* An entry of nearly 4 KB in the table, and a byte for each time that it is meant. */
static void test_header_bombs(void **state) {
  (void)state;
  for (int bombs = 0; bombs < 2; bombs++) {
    struct script *script = script_greeted();
    struct buf block = {0};
    char value[4000];
    memset(value, 'b', sizeof value);
    wire_pseudo(&block);
    wire_literal(&block, STR("x"), str_make(value, sizeof value), true);
    for (int i = 0; i < (bombs == 0 ? 1 : 12000); i++)
      buf_append_byte(&block, 0xbe);
    script->options.metadata_bytes_max = 8242; /* twice 4033, and 176 of the pseudo-headers */
    script_client_frame(script, FRAME_HEADERS, FLAG_END_HEADERS, 1, buf_str(&block));
    buf_fini(&block);
    script_expect(script, bombs == 0 ? GUARD_NO_OFFENCE : GUARD_HEADER_SIZE);
  }
}

/* As RFC 9113 counts: 32 bytes a field, and the text. */
static void test_counts_header_bytes(void **state) {
  (void)state;
  struct buf block = {0};
  wire_pseudo(&block);
  const uint32_t bytes = (7 + 4 + 32) + (7 + 4 + 32) + (5 + 1 + 32) + (10 + 3 + 32);
  for (uint32_t less = 0; less < 2; less++) {
    struct script *script = script_greeted();
    script->options.metadata_bytes_max = bytes - less;
    script_client_frame(script, FRAME_HEADERS, FLAG_END_HEADERS, 1, buf_str(&block));
    script_expect(script, less == 0 ? GUARD_NO_OFFENCE : GUARD_HEADER_SIZE);
  }
  buf_fini(&block);
  assert_int_equal(GUARD_ID_HEADER_COUNTED, 17 + 32 + 32);
}

static void test_floods_of_continuations(void **state) {
  (void)state;
  struct script *script = script_greeted();
  script_client_frame(script, FRAME_HEADERS, 0, 1, STR("\x83"));
  for (int i = 0; i < 100; i++)
    script_client_frame(script, FRAME_CONTINUATION, 0, 1, STR(""));
  script_client_frame(script, FRAME_CONTINUATION, 0, 1, STR("\x86"));
  script_client_frame(script, FRAME_CONTINUATION, FLAG_END_HEADERS, 1, STR("\x84"));
  script_expect(script, GUARD_NO_OFFENCE);
  script = script_greeted();
  script_client_frame(script, FRAME_HEADERS, 0, 1, STR("\x83"));
  for (int i = 0; i < 101; i++)
    script_client_frame(script, FRAME_CONTINUATION, 0, 1, STR(""));
  script_expect(script, GUARD_EMPTY_FRAMES);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_headers),
      cmocka_unit_test(test_headers_with_odd_bytes),
      cmocka_unit_test(test_codes_of_headers),
      cmocka_unit_test(test_huge_values_are_not_waited_for),
      cmocka_unit_test(test_header_bombs),
      cmocka_unit_test(test_counts_header_bytes),
      cmocka_unit_test(test_floods_of_continuations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
