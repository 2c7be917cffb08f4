/* What a token costs: in the cache, and cold. Run it alone on a machine that has nothing else to do. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "server/tokens/jwt.h"
#include "server/tokens/tokens.h"
#include "tests/support/tokens_fixture.h"

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double time_verify(str header, unsigned times) {
  double begin = seconds();
  for (unsigned i = 0; i < times; i++) {
    struct identity *identity;
    assert_status_ok(tokens_verify(fixture.tokens, header, fixture_now_us(), &identity));
    identity_unref(identity);
  }
  return (seconds() - begin) / times * 1e6;
}

static void bench(void **state) {
  (void)state;
  fixture_open(false);
  fixture_wait_for_keys();
  char filler[600];
  memset(filler, 'f', sizeof filler - 1);
  filler[sizeof filler - 1] = '\0';
  str claims =
      fixture_claims(FIXTURE_FIREBASE, "shop", "alice", token_printf(",\"picture\":\"%s\"", filler).ptr);
  str token = fixture_sign(FIXTURE_RS256, claims), header = token_printf("Bearer %s", token.ptr);
  printf("token of %zu bytes, cached: %.2f us\n", token.len, time_verify(header, 1000000));
  for (unsigned algorithm = 0; algorithm < 3; algorithm++) {
    static const char *const headers[] = {FIXTURE_RS256, "{\"alg\":\"ES256\",\"kid\":\"e\"}",
                                          "{\"alg\":\"EdDSA\",\"kid\":\"d\"}"};
    const struct crypto_key *key = token_key((enum crypto_algorithm)algorithm, false);
    enum { COLD = 400 };
    str cold[COLD];
    for (unsigned i = 0; i < COLD; i++)
      cold[i] = token_printf("Bearer %s",
                             token_make(headers[algorithm],
                                        fixture_claims(FIXTURE_FIREBASE, "shop", token_printf("u%u", i).ptr,
                                                       token_printf(",\"p\":\"%s\"", filler).ptr)
                                            .ptr,
                                        key)
                                 .ptr);
    double begin = seconds();
    for (unsigned i = 0; i < COLD; i++) {
      struct identity *identity;
      assert_status_ok(tokens_verify(fixture.tokens, cold[i], fixture_now_us(), &identity));
      identity_unref(identity);
    }
    double all_us = (seconds() - begin) / COLD * 1e6;
    struct jwt jwt;
    struct arena arena;
    arena_init(&arena, NULL, 0, JWT_MEMORY_BYTES_MAX);
    assert_status_ok(jwt_parse(str_from(cold[0], 7), &arena, &jwt));
    begin = seconds();
    for (unsigned i = 0; i < COLD; i++)
      assert_true(jwt_is_signed_by(&jwt, key));
    double signature_us = (seconds() - begin) / COLD * 1e6;
    arena_fini(&arena);
    printf("%s cold: %.1f us, of these the signature %.1f us\n", headers[algorithm], all_us, signature_us);
  }
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)
  const struct CMUnitTest tests[] = {
      CASE(bench),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  token_maker_end();
  return failed;
}
