#include "codegen/names.h"
#include "tests/support/unit.h"

static struct arena arena;

struct pair {
  const char *from, *to;
};

static void check(const char *(*convert)(struct arena *, const char *), const struct pair *pairs,
                  size_t count) {
  for (size_t i = 0; i < count; i++)
    assert_string_equal(convert(&arena, pairs[i].from), pairs[i].to);
}
#define CHECK(convert, ...)                                                                                  \
  do {                                                                                                       \
    static const struct pair pairs[] = {__VA_ARGS__};                                                        \
    check(convert, pairs, sizeof(pairs) / sizeof(pairs[0]));                                                 \
  } while (0)

static void test_snake(void **state) {
  (void)state;
  CHECK(name_snake, {"GetDocument", "get_document"}, {"GetHTTPStatus", "get_http_status"},
        {"ListIDs", "list_ids"}, {"IDsOfAll", "ids_of_all"}, {"Sha256Sum", "sha256_sum"}, {"HTTP", "http"},
        {"a", "a"}, {"A", "a"}, {"getThing", "get_thing"}, {"get_thing", "get_thing"},
        {"Get_Thing", "get_thing"}, {"V1Beta1", "v1_beta1"}, {"IsSet", "is_set"}, {"_Leading", "_leading"});
}

static void test_prefix(void **state) {
  (void)state;
  CHECK(name_prefix, {"google.firestore.v1.Firestore", "google_firestore_v1_firestore"}, {"Plain", "plain"},
        {"a.b_C.DE", "a_b_c_de"});
}

static void test_members_avoid_keywords(void **state) {
  (void)state;
  CHECK(name_member, {"default", "default_"}, {"register", "register_"}, {"delete", "delete_"},
        {"errno", "errno_"}, {"get", "get"}, {"defaults", "defaults"});
}

static void test_files(void **state) {
  (void)state;
  CHECK(name_of_file, {"google/api/http.proto", "google_api_http_proto"}, {"3d-x.proto", "file_3d_x_proto"});
  CHECK(name_without_proto, {"a/b.proto", "a/b"}, {"a.v1.proto", "a.v1"}, {"a.protodevel", "a"},
        {"a.x", "a.x"});
}

/* What protoc-gen-c really makes of them is checked by compiling what the generator makes of odd.proto. */
static void test_names_of_protobuf_c(void **state) {
  (void)state;
  CHECK(name_pbc_type, {"google.api.HttpRule", "Google__Api__HttpRule"},
        {"a_b.c.lower_case", "AB__C__LowerCase"}, {"M", "M"});
  CHECK(name_pbc_lower, {"google.api.HttpRule", "google__api__http_rule"}, {"ALLCAPS2Go", "allcaps2_go"},
        {"odd_Package.v1", "odd__package__v1"});
}

int main(void) {
  arena_init(&arena, NULL, 0, 1 << 20);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_snake),
      cmocka_unit_test(test_prefix),
      cmocka_unit_test(test_members_avoid_keywords),
      cmocka_unit_test(test_files),
      cmocka_unit_test(test_names_of_protobuf_c),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  arena_fini(&arena);
  return failed;
}
