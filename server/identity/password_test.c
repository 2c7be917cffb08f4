#include <stdio.h>

#include "base/base64.h"
#include "server/identity/password.h"
#include "tests/support/unit.h"

static const struct crypto_scrypt_cost cheap = {.log_n = 4, .r = 8, .p = 1};

/* Owned by the test until the end of it. */
static struct buf stored;

static int forget(void **state) {
  (void)state;
  buf_fini(&stored);
  stored = (struct buf){0};
  return 0;
}

static bool matches(str password) {
  bool answer;
  assert_status_ok(password_verify(buf_str(&stored), password, &answer));
  return answer;
}

static void decode64(const char *text, struct buf *out) {
  assert_true(base64_decode(str_from_cstr(text), out));
}

static void decode16(const char *hex, struct buf *out) {
  for (; *hex != '\0'; hex += 2) {
    unsigned byte;
    assert_int_equal(sscanf(hex, "%2x", &byte), 1);
    buf_append_byte(out, (uint8_t)byte);
  }
}

/* The first scrypts that are computed are noted on their way (the linker's --wrap): log2 of N. */
static unsigned computed[4], computed_count;
status __real_crypto_scrypt(str password, str salt, struct crypto_scrypt_cost cost, uint64_t memory_bytes,
                            uint8_t *out, size_t out_len);
status __wrap_crypto_scrypt(str password, str salt, struct crypto_scrypt_cost cost, uint64_t memory_bytes,
                            uint8_t *out, size_t out_len);
status __wrap_crypto_scrypt(str password, str salt, struct crypto_scrypt_cost cost, uint64_t memory_bytes,
                            uint8_t *out, size_t out_len) {
  if (computed_count < UNIT_COUNT(computed))
    computed[computed_count++] = cost.log_n;
  return __real_crypto_scrypt(password, salt, cost, memory_bytes, out, out_len);
}

/* Whether there is an account, and of which kind, is not told by the work that a wrong password makes. */
static void who_has_an_account_is_not_told_by_work(void **state) {
  (void)state;
  static const struct crypto_scrypt_cost cost = {.log_n = 8, .r = 8, .p = 1};
  static char too_long[PASSWORD_BYTES_MAX + 1];
  static const struct {
    const char *stored;
    unsigned extra; /* a scrypt of another cost that comes first, or 0 */
  } cases[] = {
      {"", 0}, /* no account, or one without a password */
      {"$scrypt$ln=8,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g", 0},
      {"$firebase-scrypt$ln=8,r=8,p=1,key=a2V5LWtleS1rZXkta2V5LQ,sep=cw$c2FsdHNhbHRzYWx0c2FsdA$"
       "aGFzaGhhc2hoYXNoaGFzaA",
       0},
      {"$hmac-sha256$o=p,key=a2V5LWtleS1rZXkta2V5LQ$c2FsdHNhbHRzYWx0c2FsdA$"
       "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
       0},
      {"$sha256$i=1,o=s$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g", 0},
      {"$pbkdf2-sha256$i=10$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g", 0},
      {"$2b$04$abcdefghijklmnopqrstuuWmXmXmXmXmXmXmXmXmXmXmXmXmXmXmX", 0},
      /* Known to be told apart, until they are replaced: */
      {"$scrypt$ln=6,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g", 6},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    bool is_let_in = true;
    computed_count = 0;
    assert_status_ok(password_check(cost, str_from_cstr(cases[i].stored), STR("wrong horse"), &is_let_in));
    assert_false(is_let_in);
    assert_int_equal(computed_count, cases[i].extra == 0 ? 1 : 2);
    assert_int_equal(computed[0], cases[i].extra == 0 ? 8 : cases[i].extra);
    assert_int_equal(computed[computed_count - 1], 8);
    computed_count = 0;
    assert_status_ok(password_check(cost, str_from_cstr(cases[i].stored), str_make(too_long, sizeof too_long),
                                    &is_let_in));
    assert_int_equal(computed_count, 0);
  }
  assert_status_ok(password_hash(cost, STR("correct horse"), &stored));
  bool is_let_in;
  assert_status_ok(password_check(cost, buf_str(&stored), STR("correct horse"), &is_let_in));
  assert_true(is_let_in);
}

static void the_policy_is_firebases(void **state) {
  (void)state;
  static char longest[PASSWORD_BYTES_MAX + 1];
  memset(longest, 'x', sizeof longest);
  status weak = password_check_policy(STR("12345"));
  assert_int_equal(weak.code, STATUS_INVALID_ARGUMENT);
  assert_string_equal(weak.message, "WEAK_PASSWORD : Password should be at least 6 characters");
  assert_status_ok(password_check_policy(STR("123456")));
  assert_status_ok(password_check_policy(STR("\0\0\0\0\0\xff"))); /* bytes are bytes */
  assert_status_ok(password_check_policy(str_make(longest, PASSWORD_BYTES_MAX)));
  assert_status_code(password_check_policy(str_make(longest, sizeof longest)), STATUS_INVALID_ARGUMENT);
}

static void a_hash_is_of_its_password_alone(void **state) {
  (void)state;
  struct buf other = {0};
  assert_status_ok(password_hash(cheap, STR("correct horse"), &stored));
  assert_true(str_has_prefix(buf_str(&stored), STR("$scrypt$ln=4,r=8,p=1$")));
  assert_true(matches(STR("correct horse")));
  assert_false(matches(STR("correct hors")));
  assert_false(matches((str){NULL, 0}));
  /* "é" in two ways of writing is two passwords, as in Firebase. */
  assert_status_ok(password_hash(cheap, STR("caf\xc3\xa9!!"), &other));
  bool answer;
  assert_status_ok(password_verify(buf_str(&other), STR("cafe\xcc\x81!!"), &answer));
  assert_false(answer);
  buf_clear(&other);
  assert_status_ok(password_hash(cheap, STR("correct horse"), &other));
  assert_false(str_eq(buf_str(&other), buf_str(&stored))); /* each has a salt of its own */
  static char longest[PASSWORD_BYTES_MAX + 1];
  assert_false(matches(str_make(longest, sizeof longest)));
  buf_fini(&other);
}

static void weaker_forms_are_upgraded(void **state) {
  (void)state;
  assert_status_ok(password_hash(cheap, STR("correct horse"), &stored));
  assert_false(password_needs_upgrade(buf_str(&stored), cheap));
  assert_true(password_needs_upgrade(buf_str(&stored), (struct crypto_scrypt_cost){5, 8, 1}));
  assert_true(password_needs_upgrade(buf_str(&stored), (struct crypto_scrypt_cost){4, 9, 1}));
  assert_false(password_needs_upgrade(buf_str(&stored), (struct crypto_scrypt_cost){3, 8, 1}));
  assert_true(
      password_needs_upgrade(STR("$sha256$i=1,o=s$$ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"), cheap));
  assert_true(password_needs_upgrade(STR("rubbish"), cheap));
}

/* The box may get more memory, or less. */
static void the_same_work_in_less_memory_is_upgraded_only_where_there_is_more(void **state) {
  (void)state;
  assert_status_ok(password_hash(PASSWORD_COST_TIGHT, STR("correct horse"), &stored));
  assert_true(password_memory_bytes(buf_str(&stored)) < 9 * 1024 * 1024);
  assert_false(password_needs_upgrade(buf_str(&stored), PASSWORD_COST_TIGHT));
  assert_true(password_needs_upgrade(buf_str(&stored), PASSWORD_COST_SMALL));
  buf_clear(&stored);
  assert_status_ok(password_hash(PASSWORD_COST_SMALL, STR("correct horse"), &stored));
  assert_false(password_needs_upgrade(buf_str(&stored), PASSWORD_COST_TIGHT));
}

static void memory_is_told_before(void **state) {
  (void)state;
  assert_status_ok(password_hash(PASSWORD_COST_SMALL, STR("correct horse"), &stored));
  size_t bytes = password_memory_bytes(buf_str(&stored));
  assert_true(bytes > 16 * 1024 * 1024 && bytes < 17 * 1024 * 1024);
  assert_true(password_memory_bytes(STR("rubbish")) < 1024 * 1024);
}

static void broken_forms_are_data_loss(void **state) {
  (void)state;
  const char *const broken[] = {
      "",
      "$",
      "plain",
      "$scrypt$ln=4,r=8,p=1$c2FsdA",
      "$scrypt$ln=4,r=8$c2FsdA$c2FsdHNhbHRzYWx0c2FsdA",
      "$scrypt$ln=4,r=8,p=1,x=1$c2FsdA$c2FsdHNhbHRzYWx0c2FsdA",
      "$scrypt$ln=30,r=8,p=1$c2FsdA$c2FsdHNhbHRzYWx0c2FsdA",    /* a terabyte */
      "$scrypt$ln=14,r=8,p=1024$c2FsdA$c2FsdHNhbHRzYWx0c2FsdA", /* a minute */
      "$scrypt$ln=4294967300,r=8,p=1$c2FsdA$c2FsdHNhbHRzYWx0c2FsdA",
      "$scrypt$ln=4,r=8,p=1$c2FsdA$c2FsdA", /* a hash of 4 bytes */
      "$scrypt$ln=4,r=8,p=1$c2FsdA==$c2FsdHNhbHRzYWx0c2FsdA",
      "$scrypt$ln=4,r=8,p=1$c2FsdA$c2FsdHNhbHRzYWx0c2FsdA$",
      "$pbkdf2-sha256$i=0$c2FsdA$c2FsdHNhbHRzYWx0c2FsdA",
      "$pbkdf2-sha256$i=4000000000$c2FsdA$c2FsdHNhbHRzYWx0c2FsdA",
      "$pbkdf2-sha3$i=1$c2FsdA$c2FsdHNhbHRzYWx0c2FsdA",
      "$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", /* months */
      "$2a$05$CCCC",
  };
  for (size_t i = 0; i < UNIT_COUNT(broken); i++) {
    bool answer;
    status result = password_verify(str_from_cstr(broken[i]), STR("123456"), &answer);
    if (result.code != STATUS_DATA_LOSS)
      fail_msg("%s is taken", broken[i]);
  }
}

/* The example of github.com/firebase/scrypt. */
static void firebases_own_hash_is_checked(void **state) {
  (void)state;
  struct buf key = {0}, separator = {0}, salt = {0}, hash = {0};
  decode64("jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==", &key);
  decode64("Bw==", &separator);
  decode64("42xEC+ixf3L2lw==", &salt);
  decode64("lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==", &hash);
  struct password_import import = {
      .key = buf_str(&key), .separator = buf_str(&separator), .rounds = 8, .memory_cost = 14};
  assert_true(password_import_read_algorithm(STR("SCRYPT"), &import));
  assert_status_ok(password_import_check(&import));
  assert_status_ok(password_import_user(&import, buf_str(&hash), buf_str(&salt), &stored));
  assert_true(matches(STR("user1password")));
  assert_false(matches(STR("user1Password")));
  assert_true(password_needs_upgrade(buf_str(&stored), cheap));
  assert_true(password_memory_bytes(buf_str(&stored)) > 16 * 1024 * 1024);
  hash.len--;
  assert_status_code(password_import_user(&import, buf_str(&hash), buf_str(&salt), &stored),
                     STATUS_INVALID_ARGUMENT);
  buf_fini(&key);
  buf_fini(&separator);
  buf_fini(&salt);
  buf_fini(&hash);
}

static void assert_imports(const char *algorithm, struct password_import import, const char *hex, str salt) {
  struct buf hash = {0};
  decode16(hex, &hash);
  assert_true(password_import_read_algorithm(str_from_cstr(algorithm), &import));
  assert_status_ok(password_import_check(&import));
  buf_clear(&stored);
  assert_status_ok(password_import_user(&import, buf_str(&hash), salt, &stored));
  if (!matches(STR("correct horse")))
    fail_msg("%s does not match", algorithm);
  assert_false(matches(STR("correct horses")));
  assert_true(password_needs_upgrade(buf_str(&stored), cheap) ==
              (import.kind != PASSWORD_IMPORT_STANDARD_SCRYPT));
  buf_fini(&hash);
}

static void other_hashes_are_checked(void **state) {
  (void)state;
  str salt = STR("saltsalt"), long_salt = STR("saltsaltsaltsalt");
  assert_imports("MD5", (struct password_import){.rounds = 3}, "dabfdd9a77d23761eb90313565cd8b7a", salt);
  assert_imports("SHA256", (struct password_import){.rounds = 5},
                 "6e1760508d1efcce8fa5e7d5acff0a9bc2023a80b8ac80ed4af0df3ea59b4296", salt);
  assert_imports("SHA512", (struct password_import){.rounds = 0, .order = PASSWORD_ORDER_PASSWORD_FIRST},
                 "e74aec44d05ff23dc8e7113e430687745c8c84ecc84ecb19f01077531c10f922"
                 "3524aca0626e997916130ee532159208a83a27a13b97c01d19fcc00f86040214",
                 salt);
  assert_imports("HMAC_SHA256", (struct password_import){.key = STR("key")},
                 "78043f3258c7ffce1a2a36ecc51b806bc6002f4cc8936fb835896ef8236bbded", salt);
  assert_imports("PBKDF2_SHA256", (struct password_import){.rounds = 1000},
                 "a900cf4996b73ab9b2cbda0ad4fbb464b2f03f64afce6c77caef0ebc376afc9d", salt);
  assert_imports("STANDARD_SCRYPT",
                 (struct password_import){
                     .cpu_memory_cost = 16, .block_size = 8, .parallelization = 1, .derived_bytes = 32},
                 "ae44c8f5f02003bb610f3cd1f051d784c8a88d806b789066613904cd6ca90424", long_salt);
}

static void md5_may_be_written_in_digits(void **state) {
  (void)state;
  struct password_import import = {.rounds = 3};
  assert_true(password_import_read_algorithm(STR("MD5"), &import));
  assert_status_ok(
      password_import_user(&import, STR("dabfdd9a77d23761eb90313565cd8b7a"), STR("saltsalt"), &stored));
  assert_true(matches(STR("correct horse")));
  assert_status_code(
      password_import_user(&import, STR("gabfdd9a77d23761eb90313565cd8b7a"), STR("saltsalt"), &stored),
      STATUS_INVALID_ARGUMENT);
}

static void bcrypt_is_checked(void **state) {
  (void)state;
  struct password_import import = {0};
  assert_true(password_import_read_algorithm(STR("BCRYPT"), &import));
  assert_status_ok(password_import_user(
      &import, STR("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"), (str){NULL, 0}, &stored));
  assert_true(matches(STR("U*U")));
  assert_false(matches(STR("U*u")));
  assert_status_code(password_import_user(&import,
                                          STR("$2a$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
                                          (str){NULL, 0}, &stored),
                     STATUS_INVALID_ARGUMENT);
}

static void the_longest_parts_come_back(void **state) {
  (void)state;
  static char bytes[PASSWORD_PART_BYTES_MAX + 1];
  struct password_import import = {.kind = PASSWORD_IMPORT_STANDARD_SCRYPT,
                                   .cpu_memory_cost = 2,
                                   .block_size = 1,
                                   .parallelization = 1,
                                   .derived_bytes = PASSWORD_PART_BYTES_MAX};
  str longest = str_make(bytes, PASSWORD_PART_BYTES_MAX), longer = str_make(bytes, sizeof bytes);
  assert_status_ok(password_import_user(&import, longest, longest, &stored));
  assert_false(matches(STR("123456")));
  assert_status_code(password_import_user(&import, longest, longer, &stored), STATUS_INVALID_ARGUMENT);
}

static void options_out_of_bounds_are_refused(void **state) {
  (void)state;
  static const char bytes[300];
  str key = str_make(bytes, 64);
  const struct {
    struct password_import import;
    const char *code;
  } cases[] = {
      {{.kind = PASSWORD_IMPORT_SCRYPT, .rounds = 8, .memory_cost = 14}, "EMPTY_HASH_KEY"},
      {{.kind = PASSWORD_IMPORT_SCRYPT, .rounds = 8, .memory_cost = 14, .key = STR("short")},
       "INVALID_HASH_KEY"},
      {{.kind = PASSWORD_IMPORT_SCRYPT, .rounds = 0, .memory_cost = 14, .key = key}, "INVALID_HASH_ROUNDS"},
      {{.kind = PASSWORD_IMPORT_SCRYPT, .rounds = 8, .memory_cost = 0, .key = key},
       "INVALID_HASH_MEMORY_COST"},
      {{.kind = PASSWORD_IMPORT_SCRYPT, .rounds = 8, .memory_cost = 20, .key = key},
       "INVALID_HASH_MEMORY_COST"},
      {{.kind = PASSWORD_IMPORT_SCRYPT, .rounds = 8, .memory_cost = 270, .key = key},
       "INVALID_HASH_MEMORY_COST"},
      {{.kind = PASSWORD_IMPORT_SCRYPT,
        .rounds = 8,
        .memory_cost = 14,
        .key = key,
        .separator = str_make(bytes, sizeof bytes)},
       "INVALID_HASH_SALT_SEPARATOR"},
      {{.kind = PASSWORD_IMPORT_STANDARD_SCRYPT,
        .cpu_memory_cost = 1000,
        .block_size = 8,
        .parallelization = 1},
       "INVALID_HASH_MEMORY_COST"},
      {{.kind = PASSWORD_IMPORT_STANDARD_SCRYPT,
        .cpu_memory_cost = 1024,
        .block_size = 8,
        .parallelization = 1,
        .derived_bytes = 8},
       "INVALID_HASH_DERIVED_KEY_LENGTH"},
      {{.kind = PASSWORD_IMPORT_PBKDF2, .digest = CRYPTO_SHA256}, "INVALID_HASH_ROUNDS"},
      {{.kind = PASSWORD_IMPORT_DIGEST, .digest = CRYPTO_SHA256, .rounds = 8193}, "INVALID_HASH_ROUNDS"},
      {{.kind = PASSWORD_IMPORT_HMAC, .digest = CRYPTO_SHA256}, "EMPTY_HASH_KEY"},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    status result = password_import_check(&cases[i].import);
    assert_int_equal(result.code, STATUS_INVALID_ARGUMENT);
    if (strncmp(result.message, cases[i].code, strlen(cases[i].code)) != 0)
      fail_msg("%s instead of %s", result.message, cases[i].code);
  }
  struct password_import import = {0};
  assert_false(password_import_read_algorithm(STR("ROT13"), &import));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(the_policy_is_firebases, forget),
      cmocka_unit_test_teardown(who_has_an_account_is_not_told_by_work, forget),
      cmocka_unit_test_teardown(a_hash_is_of_its_password_alone, forget),
      cmocka_unit_test_teardown(weaker_forms_are_upgraded, forget),
      cmocka_unit_test_teardown(the_same_work_in_less_memory_is_upgraded_only_where_there_is_more, forget),
      cmocka_unit_test_teardown(memory_is_told_before, forget),
      cmocka_unit_test_teardown(broken_forms_are_data_loss, forget),
      cmocka_unit_test_teardown(firebases_own_hash_is_checked, forget),
      cmocka_unit_test_teardown(other_hashes_are_checked, forget),
      cmocka_unit_test_teardown(md5_may_be_written_in_digits, forget),
      cmocka_unit_test_teardown(bcrypt_is_checked, forget),
      cmocka_unit_test_teardown(the_longest_parts_come_back, forget),
      cmocka_unit_test_teardown(options_out_of_bounds_are_refused, forget),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
