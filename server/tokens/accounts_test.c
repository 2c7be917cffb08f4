#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/tokens/accounts.h"
#include "tests/support/token_maker.h"
#include "tests/support/unit.h"

static char directory[64], path[128];
static struct accounts *accounts;

static int set_up(void **state) {
  (void)state;
  strcpy(directory, "/tmp/skerry-accounts-XXXXXX");
  if (mkdtemp(directory) == NULL)
    return -1;
  snprintf(path, sizeof path, "%s/service_accounts.json", directory);
  assert_status_ok(accounts_open(directory, &accounts));
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  accounts_close(accounts);
  accounts = NULL;
  char command[256];
  snprintf(command, sizeof command, "chmod -R u+rwx %s && rm -rf %s", directory, directory);
  token_maker_reset();
  return system(command);
}

static str public_pem(const struct crypto_key *key) {
  struct buf pem = {0};
  assert_status_ok(crypto_key_append_public_pem(key, &pem));
  str copy = token_printf(STR_FMT, STR_ARG(buf_str(&pem)));
  buf_fini(&pem);
  return copy;
}

static struct account_request request_of(bool second) {
  return (struct account_request){.name = STR("till-1"),
                                  .project = STR("shop"),
                                  .role = IDENTITY_ROLE_VIEWER,
                                  .created_s = 1000,
                                  .expires_s = 2000,
                                  .public_pem = public_pem(token_key(CRYPTO_RS256, second))};
}

static void reopen(void) {
  accounts_close(accounts);
  accounts = NULL;
  assert_status_ok(accounts_open(directory, &accounts));
}

static void keys_come_back_after_a_restart(void **state) {
  (void)state;
  struct account_key *one, *two;
  struct account_request first = request_of(false), second = request_of(true);
  second.role = IDENTITY_ROLE_OWNER;
  second.expires_s = 0;
  assert_status_ok(accounts_create(accounts, &first, &one));
  assert_status_ok(accounts_create(accounts, &second, &two));
  assert_string_equal(one->email, "till-1@shop.iam.skerry.local");
  assert_int_equal(strlen(one->id), ACCOUNTS_KEY_ID_BYTES);
  reopen();
  struct account_key *found = accounts_find(accounts, str_from_cstr(one->id));
  assert_non_null(found);
  assert_string_equal(found->email, one->email);
  assert_int_equal(found->role, IDENTITY_ROLE_VIEWER);
  assert_int_equal(found->created_s, 1000);
  assert_int_equal(found->expires_s, 2000);
  struct buf signature = {0};
  assert_status_ok(crypto_sign(token_key(CRYPTO_RS256, false), STR("x"), &signature));
  assert_true(crypto_verify(found->key, STR("x"), buf_str(&signature)));
  buf_fini(&signature);
  account_key_unref(found);
  assert_status_ok(accounts_revoke(accounts, str_from_cstr(one->id)));
  assert_null(accounts_find(accounts, str_from_cstr(one->id)));
  assert_status_code(accounts_revoke(accounts, str_from_cstr(one->id)), STATUS_NOT_FOUND);
  reopen();
  assert_null(accounts_find(accounts, str_from_cstr(one->id)));
  struct account_key **keys;
  size_t count;
  assert_status_ok(accounts_list(accounts, &keys, &count));
  assert_int_equal(count, 1);
  assert_string_equal(keys[0]->id, two->id);
  account_key_unref(keys[0]);
  free(keys);
  account_key_unref(one);
  account_key_unref(two);
}

static void the_file_has_no_private_key_and_is_nobody_elses(void **state) {
  (void)state;
  struct account_key *key;
  struct account_request request = request_of(false);
  assert_status_ok(accounts_create(accounts, &request, &key));
  account_key_unref(key);
  struct stat facts;
  assert_int_equal(stat(path, &facts), 0);
  assert_int_equal(facts.st_mode & 0777, 0600);
  char text[8192] = "";
  FILE *file = fopen(path, "re");
  assert_true(fread(text, 1, sizeof text - 1, file) > 100);
  fclose(file);
  assert_null(strstr(text, "PRIVATE"));
  assert_non_null(strstr(text, "BEGIN PUBLIC KEY"));
}

static void requests_that_are_refused(void **state) {
  (void)state;
  struct account_key *key;
  static const char *const names[] = {"",
                                      "Till",
                                      "1till",
                                      "-till",
                                      "till_1",
                                      "till.1",
                                      "t\xc3\xa4ll",
                                      "a@b",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
  for (size_t i = 0; i < UNIT_COUNT(names); i++) {
    struct account_request request = request_of(false);
    request.name = str_from_cstr(names[i]);
    assert_status_code(accounts_create(accounts, &request, &key), STATUS_INVALID_ARGUMENT);
  }
  struct account_request request = request_of(false);
  request.project = STR("a/b");
  assert_status_code(accounts_create(accounts, &request, &key), STATUS_INVALID_ARGUMENT);
  request = request_of(false);
  request.role = IDENTITY_ROLE_NONE;
  assert_status_code(accounts_create(accounts, &request, &key), STATUS_INVALID_ARGUMENT);
  request = request_of(false);
  request.expires_s = request.created_s;
  assert_status_code(accounts_create(accounts, &request, &key), STATUS_INVALID_ARGUMENT);
  request = request_of(false);
  request.public_pem = STR("nothing");
  assert_status_code(accounts_create(accounts, &request, &key), STATUS_INVALID_ARGUMENT);
  request.public_pem = public_pem(token_key(CRYPTO_ES256, false));
  assert_status_code(accounts_create(accounts, &request, &key), STATUS_INVALID_ARGUMENT);
  assert_int_equal(access(path, F_OK), -1);
  request = request_of(false);
  assert_status_ok(accounts_create(accounts, &request, &key));
  account_key_unref(key);
  request.name = STR("other"); /* the same key */
  assert_status_code(accounts_create(accounts, &request, &key), STATUS_ALREADY_EXISTS);
}

static void a_damaged_file_lets_nobody_in_and_stays(void **state) {
  (void)state;
  static const char *const texts[] = {
      "",
      "{",
      "[]",
      "{\"format\":2,\"keys\":[]}",
      "{\"format\":1}",
      "{\"format\":1,\"keys\":[{}]}",
      ("{\"format\":1,\"keys\":[{\"id\":\"a\",\"name\":\"b\",\"project\":\"c\",\"role\":"
       "\"owner\",\"created_s\":1,\"expires_s\":0,\"public_key\":\"\"}]}")};
  for (size_t i = 0; i < UNIT_COUNT(texts); i++) {
    FILE *file = fopen(path, "we");
    fputs(texts[i], file);
    fclose(file);
    struct accounts *damaged = NULL;
    assert_status_code(accounts_open(directory, &damaged), STATUS_FAILED_PRECONDITION);
  }
}

/* Where nothing can be written, a new key is not taken, and a revoked one is of no use all the same. */
static void a_disk_that_fails(void **state) {
  (void)state;
  struct account_key *key, *other;
  struct account_request request = request_of(false), another = request_of(true);
  assert_status_ok(accounts_create(accounts, &request, &key));
  char command[256];
  snprintf(command, sizeof command, "rm -rf %s", directory);
  assert_int_equal(system(command), 0);
  assert_status_code(accounts_create(accounts, &another, &other), STATUS_UNAVAILABLE);
  assert_status_code(accounts_revoke(accounts, str_from_cstr(key->id)), STATUS_UNAVAILABLE);
  assert_null(accounts_find(accounts, str_from_cstr(key->id)));
  account_key_unref(key);
  snprintf(command, sizeof command, "mkdir %s", directory);
  assert_int_equal(system(command), 0);
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      CASE(keys_come_back_after_a_restart),
      CASE(the_file_has_no_private_key_and_is_nobody_elses),
      CASE(requests_that_are_refused),
      CASE(a_damaged_file_lets_nobody_in_and_stays),
      CASE(a_disk_that_fails),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  token_maker_end();
  return failed;
}
