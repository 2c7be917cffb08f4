/* Path templates, percent-encoding and query strings. */
#include "server/gateway/url.h"
#include "tests/support/unit.h"

static struct arena arena;

static int start(void **state) {
  (void)state;
  arena_init(&arena, NULL, 0, 1 << 20);
  return 0;
}

static int stop(void **state) {
  (void)state;
  arena_fini(&arena);
  return 0;
}

static bool match(const char *template, const char *path, str values[URL_VARIABLES_MAX]) {
  struct url_template parsed;
  struct url_path split;
  assert_status_ok(url_template_parse(str_from_cstr(template), &arena, &parsed));
  return url_path_split(str_from_cstr(path), &split) && url_template_match(&parsed, &split, &arena, values);
}

#define DOCUMENT "/v1/{name=projects/*/databases/*/documents/*/**}"
#define LIST "/v1/{parent=projects/*/databases/*/documents/*/**}/{collection_id}"

static void test_matches(void **state) {
  (void)state;
  static const struct {
    const char *template, *path, *values[3];
  } cases[] = {
      {"/v1/echo", "/v1/echo", {NULL}},
      {"/v1/{a}", "/v1/x", {"x"}},
      {"/v1/{a}/{b}", "/v1/x/y", {"x", "y"}},
      {"/v1/{a}:go", "/v1/x:go", {"x"}},
      {"/v1/{a}:go", "/v1/x:y:go", {"x:y"}},
      {DOCUMENT, "/v1/projects/p/databases/d/documents/a/b", {"projects/p/databases/d/documents/a/b"}},
      {DOCUMENT, "/v1/projects/p/databases/d/documents/a", {"projects/p/databases/d/documents/a"}},
      {DOCUMENT,
       "/v1/projects/p/databases/%28d%29/documents/a%20b/c%2Fd",
       {"projects/p/databases/(d)/documents/a b/c%2Fd"}},
      {"/v1/{a}", "/v1/c%2Fd%25", {"c/d%"}},
      {LIST, "/v1/projects/p/databases/d/documents/a/b/c", {"projects/p/databases/d/documents/a/b", "c"}},
      {LIST, "/v1/projects/p/databases/d/documents/a/c", {"projects/p/databases/d/documents/a", "c"}},
      {"/v1/{database=projects/*}/documents:commit", "/v1/projects/p/documents:commit", {"projects/p"}},
      {"/v1/**", "/v1", {NULL}},
      {"/{a=**}/b", "/x/y/b", {"x/y"}},
      {"/{a=**}/b", "/b", {""}},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    str values[URL_VARIABLES_MAX];
    if (!match(cases[i].template, cases[i].path, values))
      fail_msg("%s does not match %s", cases[i].template, cases[i].path);
    for (size_t v = 0; v < 3 && cases[i].values[v] != NULL; v++)
      assert_str_is(values[v], cases[i].values[v]);
  }
}

static void test_does_not_match(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"/v1/echo", "/v1/echo/"},
      {"/v1/echo", "/v1"},
      {"/v1/echo", "/v1/Echo"},
      {"/v1/{a}", "/v1"},
      {"/v1/{a}", "/v1/x/y"},
      {"/v1/{a}", "/v1/"},
      {"/v1/{a}:go", "/v1/x"},
      {"/v1/{a}:go", "/v1/:go"},
      {"/v1/{a}:go", "/v1/x:gone"},
      {"/v1/{a}:go", "/v1/xgo"},
      {DOCUMENT, "/v1/projects/p/databases/d/documents"},
      {"/{a=**}/b", "/x/y/c"},
      {"/v1/{a}", "v1/x"},
      {"/v1/{a}", ""},
      {"/v1/{a}", "/v1/.."},
      {"/v1/{a}", "/v1/%2e%2E"},
      {"/v1/{a}", "/v1/."},
      {"/v1/{a}", "/v1/%2e"},
      {"/v1/{a}", "/v1/%"},
      {"/v1/{a}", "/v1/%2"},
      {"/v1/{a}", "/v1/%zz"},
      {"/v1/{a}", "//v1/x"},
      {"/v1/{a}", "/v1//x"},
      {DOCUMENT, "/v1/projects/p/databases/d/documents/a/../../b"},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    str values[URL_VARIABLES_MAX];
    if (match(cases[i][0], cases[i][1], values))
      fail_msg("%s matches %s", cases[i][0], cases[i][1]);
  }
  char path[4 * URL_SEGMENTS_MAX];
  for (size_t i = 0; i < sizeof path - 1; i++)
    path[i] = i % 2 == 0 ? '/' : 'a';
  path[sizeof path - 1] = '\0';
  str values[URL_VARIABLES_MAX];
  assert_false(match("/{a=**}", path, values));
}

static void test_bad_templates(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    "v1",
                                    "/",
                                    "/v1/",
                                    "/v1/{",
                                    "/v1/{}",
                                    "/{a=}",
                                    "/{a=b",
                                    "/{a",
                                    "/a}",
                                    "/{a={b}}",
                                    "/**/**",
                                    "/a:",
                                    "/a:b:c",
                                    "/a*",
                                    "/***",
                                    "/{a}{b}",
                                    "/a//b",
                                    "/{a=**}/{b=**}",
                                    "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}"};
  for (size_t i = 0; i < UNIT_COUNT(bad); i++) {
    struct url_template parsed;
    status result = url_template_parse(str_from_cstr(bad[i]), &arena, &parsed);
    if (status_is_ok(&result))
      fail_msg("\"%s\" was taken", bad[i]);
  }
}

static void test_queries(void **state) {
  (void)state;
  str rest = STR("a=1&&b=x+y%26&c&=d&e==&"), name, value;
  static const char *const wanted[][2] = {{"a", "1"}, {"b", "x y&"}, {"c", ""}, {"", "d"}, {"e", "="}};
  bool is_bad;
  for (size_t i = 0; i < UNIT_COUNT(wanted); i++) {
    assert_true(url_query_next(&rest, &arena, &name, &value, &is_bad));
    assert_str_is(name, wanted[i][0]);
    assert_str_is(value, wanted[i][1]);
  }
  assert_false(url_query_next(&rest, &arena, &name, &value, &is_bad));
  assert_false(is_bad);
  rest = STR("a=%4");
  assert_false(url_query_next(&rest, &arena, &name, &value, &is_bad));
  assert_true(is_bad);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_matches),
      cmocka_unit_test(test_does_not_match),
      cmocka_unit_test(test_bad_templates),
      cmocka_unit_test(test_queries),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
