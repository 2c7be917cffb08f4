/* Keys of ID tokens: made, kept over a restart, rotated, forgotten; of no use without the file. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/identity/signing_keys.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

#define DAY_US (INT64_C(86400) * 1000000)

static struct {
  struct port_simulated *port;
  struct kv_store *store;
  struct signing_keys *keys;
  char directory[64], path[128];
  int64_t now_us;
} f;

static void open_keys(enum crypto_algorithm algorithm) {
  const struct signing_keys_options options = {.store = f.store,
                                               .port = port_simulated_port(f.port),
                                               .directory = f.directory,
                                               .algorithm = algorithm};
  assert_status_ok(signing_keys_open(&options, &f.keys));
}

static int set_up(void **state) {
  (void)state;
  f.port = test_port_new();
  test_directory_make(f.directory);
  snprintf(f.path, sizeof f.path, "%s/identity.key", f.directory);
  struct kv_rocksdb_options options = {
      .directory = f.directory, .port = port_simulated_port(f.port), .clock_trusted = true};
  assert_status_ok(kv_rocksdb_open(&options, &f.store));
  struct port *port = port_simulated_port(f.port);
  f.now_us = port->wall_us(port);
  open_keys(CRYPTO_ES256);
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  signing_keys_close(f.keys);
  kv_close(f.store);
  test_directory_remove(f.directory);
  port_simulated_free(f.port);
  return 0;
}

struct token {
  struct buf text;
};
static struct token sign(void) {
  struct token token = {0};
  assert_status_ok(signing_keys_sign(f.keys, STR("{\"sub\":\"u\"}"), &token.text));
  return token;
}
/* Whether it is one of the keys', and good. */
static bool is_good(const struct token *token) {
  struct arena arena;
  struct jwt jwt;
  bool good = false;
  arena_init(&arena, NULL, 0, JWT_MEMORY_BYTES_MAX);
  assert_status_ok(jwt_parse(buf_str(&token->text), &arena, &jwt));
  bool found = signing_keys_verify(f.keys, &jwt, &good);
  arena_fini(&arena);
  return found && good;
}
static void count_one(void *argument, const char *id, const struct crypto_key *key) {
  assert_int_equal(strlen(id), SIGNING_KEY_ID_BYTES);
  assert_non_null(key);
  ++*(size_t *)argument;
}
static size_t count(void) {
  size_t found = 0;
  signing_keys_visit(f.keys, count_one, &found);
  return found;
}

static void test_kept_over_a_restart(void **state) {
  (void)state;
  struct token token = sign();
  uint8_t refresh_key[REFRESH_TOKEN_KEY_BYTES];
  memcpy(refresh_key, signing_keys_refresh_key(f.keys), sizeof refresh_key);
  struct stat info;
  assert_int_equal(stat(f.path, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
  signing_keys_close(f.keys);
  open_keys(CRYPTO_ES256);
  assert_true(is_good(&token));
  assert_int_equal(count(), 1);
  assert_memory_equal(refresh_key, signing_keys_refresh_key(f.keys), sizeof refresh_key);
  char *digit = (char *)token.text.data + token.text.len - 8;
  *digit = *digit == 'A' ? 'B' : 'A';
  assert_false(is_good(&token));
  buf_fini(&token.text);
}

static void test_of_no_use_without_the_file(void **state) {
  (void)state;
  struct token token = sign();
  struct buf sealed = {0}, opened = {0};
  signing_keys_seal(f.keys, STR("place"), STR("secret"), &sealed);
  assert_true(signing_keys_unseal(f.keys, STR("place"), buf_str(&sealed), &opened));
  signing_keys_close(f.keys);
  assert_int_equal(unlink(f.path), 0);
  open_keys(CRYPTO_ES256); /* makes others */
  assert_false(is_good(&token));
  assert_false(signing_keys_unseal(f.keys, STR("place"), buf_str(&sealed), &opened));
  assert_int_equal(count(), 1);
  buf_fini(&sealed);
  buf_fini(&opened);
  buf_fini(&token.text);
}

static void test_a_damaged_file_is_told(void **state) {
  (void)state;
  signing_keys_close(f.keys);
  f.keys = NULL;
  assert_int_equal(truncate(f.path, 31), 0);
  const struct signing_keys_options options = {.store = f.store,
                                               .port = port_simulated_port(f.port),
                                               .directory = f.directory,
                                               .algorithm = CRYPTO_ES256};
  assert_status_code(signing_keys_open(&options, &f.keys), STATUS_FAILED_PRECONDITION);
}

static void test_rotation(void **state) {
  (void)state;
  struct token old = sign();
  signing_keys_tick(f.keys, f.now_us + SIGNING_KEYS_ROTATE_DAYS * DAY_US - 1);
  assert_int_equal(count(), 1);
  int64_t rotated_us = f.now_us + (SIGNING_KEYS_ROTATE_DAYS + 1) * DAY_US - DAY_US / 2;
  signing_keys_tick(f.keys, rotated_us);
  assert_int_equal(count(), 2);
  struct token new = sign();
  assert_true(is_good(&old) && is_good(&new));
  assert_false(str_eq(str_make(old.text.data, 60), str_make(new.text.data, 60))); /* another `kid` */
  signing_keys_tick(f.keys, rotated_us + DAY_US);
  assert_int_equal(count(), 1);
  assert_true(!is_good(&old) && is_good(&new));
  signing_keys_close(f.keys);
  open_keys(CRYPTO_ES256);
  assert_true(!is_good(&old) && is_good(&new));
  buf_fini(&old.text);
  buf_fini(&new.text);
}

static void test_another_algorithm(void **state) {
  (void)state;
  struct token es256 = sign();
  signing_keys_close(f.keys);
  open_keys(CRYPTO_RS256);
  struct token rs256 = sign();
  assert_true(is_good(&es256) && is_good(&rs256));
  assert_int_equal(count(), 2);
  buf_fini(&es256.text);
  buf_fini(&rs256.text);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_kept_over_a_restart),    TEST(test_of_no_use_without_the_file),
      TEST(test_a_damaged_file_is_told), TEST(test_rotation),
      TEST(test_another_algorithm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
