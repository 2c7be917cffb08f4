#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "ports/simulated.h"
#include "server/identity/attempts.h"
#include "server/identity/attempts_kv.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

#define SECRET STR("0123456789abcdef")
#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)

static struct port_simulated *simulated;
static struct attempts *attempts;
static unsigned changes;

static void note_change(void *argument) {
  (void)argument;
  changes++;
}

static struct attempts *new_attempts(void) {
  struct attempts *made;
  assert_status_ok(attempts_new(port_simulated_port(simulated), SECRET,
                                (struct attempts_persistence){note_change, NULL}, &made));
  return made;
}

static int set_up(void **state) {
  (void)state;
  simulated = test_port_new();
  changes = 0;
  attempts = new_attempts();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  attempts_free(attempts);
  port_simulated_free(simulated);
  return 0;
}

static struct attempts_who who(const char *account, const char *address, bool known) {
  return (struct attempts_who){
      .account = str_from_cstr(account), .address = str_from_cstr(address), .known = known};
}

/* The wait in ms that refused it; 0: it was made and ended so. */
static int64_t attempt_at(struct attempts *at, const char *account, const char *address, bool known,
                          enum attempts_outcome outcome) {
  struct attempts_who one = who(account, address, known);
  struct attempts_ticket ticket;
  int64_t wait_ms = -1;
  status result = attempts_begin(at, &one, &ticket, &wait_ms);
  if (status_is_ok(&result)) {
    assert_int_equal(wait_ms, 0);
    attempts_end(at, &ticket, outcome);
    return 0;
  }
  assert_int_equal(result.code, STATUS_RESOURCE_EXHAUSTED);
  assert_non_null(strstr(result.message, "TOO_MANY_ATTEMPTS_TRY_LATER : "));
  assert_true(wait_ms > 0);
  return wait_ms;
}

static int64_t attempt(const char *account, const char *address, bool known, enum attempts_outcome outcome) {
  return attempt_at(attempts, account, address, known, outcome);
}

static int64_t sign_up(const char *address) {
  struct attempts_who one = {.account = STR(""), .address = str_from_cstr(address), .signs_up = true};
  struct attempts_ticket ticket;
  int64_t wait_ms;
  status result = attempts_begin(attempts, &one, &ticket, &wait_ms);
  if (status_is_ok(&result))
    attempts_end(attempts, &ticket, ATTEMPTS_FAILED);
  return wait_ms;
}

static int64_t guess(const char *account, const char *address) {
  return attempt(account, address, false, ATTEMPTS_FAILED);
}

static const char *address_of(unsigned number) {
  static char texts[4][40];
  static unsigned next;
  char *text = texts[next++ % 4];
  snprintf(text, sizeof texts[0], "10.%u.%u.%u:40000", number >> 16 & 255, number >> 8 & 255, number & 255);
  return text;
}

static void delays_grow_to_a_cap(void **state) {
  (void)state;
  for (unsigned i = 0; i < 11; i++)
    assert_int_equal(guess("a", address_of(i)), 0);
  int64_t wanted_ms = 1000;
  for (unsigned i = 0; i < 14; i++) {
    int64_t wait_ms = guess("a", address_of(100 + i));
    if (i < 10)
      assert_int_equal(wait_ms, wanted_ms);
    else /* forgetting sets in, which holds it between the last two steps */
      assert_true(wait_ms >= 512000 && wait_ms <= 900000);
    port_simulated_advance(simulated, wait_ms * 1000 - 1000);
    assert_int_equal(guess("a", address_of(100 + i)), 1); /* refused ones do not make it longer */
    port_simulated_advance(simulated, 1000);
    assert_int_equal(guess("a", address_of(100 + i)), 0);
    wanted_ms *= 2;
  }
  assert_int_equal(guess("b", address_of(1)), 0); /* others do not wait */
}

static void what_is_over_is_forgotten(void **state) {
  (void)state;
  for (unsigned i = 0; i < 11; i++)
    assert_int_equal(guess("a", address_of(i)), 0);
  assert_int_equal(guess("a", address_of(50)), 1000);
  port_simulated_advance(simulated, 11 * 15 * MINUTE);
  for (unsigned i = 0; i < 11; i++)
    assert_int_equal(guess("a", address_of(i)), 0);
  assert_int_equal(guess("a", address_of(50)), 1000);
}

/* A day of a guesser with an address for every guess gets no more than the header says. */
static void a_distributed_guesser_gets_four_an_hour(void **state) {
  (void)state;
  unsigned made = 0, refused = 0, owner = 0;
  for (unsigned minute = 0; minute < 24 * 60; minute++) {
    for (unsigned i = 0; i < 3; i++)
      *(guess("victim", address_of(minute * 3 + i)) == 0 ? &made : &refused) += 1;
    if (minute % 60 == 7) /* the owner, from where he always is */
      owner += attempt("victim", "203.0.113.9:1000", true, ATTEMPTS_SUCCEEDED) == 0;
    port_simulated_advance(simulated, MINUTE);
  }
  assert_true(made <= 10 + 11 + 24 * 4);
  assert_true(refused > 4000);
  assert_int_equal(owner, 24);
  /* From a new place there are moments in which he may, and a reset makes one at once. */
  assert_true(attempt("victim", "198.51.100.1:1", false, ATTEMPTS_SUCCEEDED) > 0);
  attempts_clear_account(attempts, STR("victim"));
  assert_int_equal(attempt("victim", "198.51.100.1:1", false, ATTEMPTS_SUCCEEDED), 0);
}

static void a_known_place_has_limits_of_its_own(void **state) {
  (void)state;
  for (unsigned i = 0; i < 11; i++)
    assert_int_equal(attempt("a", "192.0.2.1:1", true, ATTEMPTS_FAILED), 0);
  assert_int_equal(attempt("a", "192.0.2.1:9", true, ATTEMPTS_FAILED), 1000);
  assert_int_equal(attempt("a", "192.0.2.2:1", true, ATTEMPTS_FAILED), 0); /* another place */
  assert_int_equal(guess("a", "192.0.2.3:1"), 0);                          /* strangers: not touched */
  assert_int_equal(guess("b", "192.0.2.1:1"), 0);
}

static void one_address_is_limited_over_all_accounts(void **state) {
  (void)state;
  char account[16];
  for (unsigned i = 0; i < 31; i++) {
    snprintf(account, sizeof account, "user%u", i);
    assert_int_equal(guess(account, "192.0.2.1:1"), 0);
  }
  assert_int_equal(guess("another", "192.0.2.1:2"), 1000);
  assert_int_equal(guess("another", "[::ffff:192.0.2.1]:2"), 1000); /* the same in IPv6's clothes */
  assert_int_equal(attempt("", "192.0.2.1:3", false, ATTEMPTS_SUCCEEDED), 1000);
  assert_int_equal(attempt("owner", "192.0.2.1:3", true, ATTEMPTS_SUCCEEDED), 0);
  assert_int_equal(guess("another", "192.0.2.2:1"), 0);
}

static void ipv6_counts_by_network(void **state) {
  (void)state;
  char address[64], account[16];
  for (unsigned i = 0; i < 31; i++) { /* all in one /64 */
    snprintf(address, sizeof address, "[2001:db8:0:1::%x]:1", i + 1);
    snprintf(account, sizeof account, "user%u", i);
    assert_int_equal(guess(account, address), 0);
  }
  assert_int_equal(guess("another", "[2001:db8:0:1:ffff::1]:1"), 1000);
  assert_int_equal(guess("another", "2001:db8:0:2::1"), 0);
  for (unsigned i = 0; i < 209; i++) { /* others of the /48 */
    snprintf(address, sizeof address, "[2001:db8:0:%x::1]:1", 0x100 + i);
    snprintf(account, sizeof account, "more%u", i);
    assert_int_equal(guess(account, address), 0);
  }
  assert_int_equal(guess("another", "[2001:db8:0:4444::1]:1"), 1000);
  assert_int_equal(guess("another", "[2001:db8:1:4444::1]:1"), 0);
}

static void proxies_and_sockets_have_no_address(void **state) {
  (void)state;
  const char *const none[] = {"127.0.0.1:1", "[::1]:1",    "unix:pid=12,uid=0", "unknown", "",
                              "[",           "999.1.1.1:1"};
  char account[16];
  for (unsigned i = 0; i < 100; i++) {
    snprintf(account, sizeof account, "user%u", i);
    assert_int_equal(guess(account, none[i % UNIT_COUNT(none)]), 0);
  }
  struct attempts_info info;
  attempts_info(attempts, &info);
  assert_int_equal(info.accounts, 100);
  assert_int_equal(info.addresses, 0);
}

static void success_takes_back_its_own_count_alone(void **state) {
  (void)state;
  for (unsigned i = 0; i < 100; i++) {
    assert_int_equal(attempt("a", "192.0.2.1:1", false, ATTEMPTS_SUCCEEDED), 0);
    assert_int_equal(attempt("a", "192.0.2.1:1", false, ATTEMPTS_NOT_MADE), 0);
  }
  /* Signing in to an account of his own between guesses gives a guesser nothing. */
  unsigned made = 0;
  for (unsigned i = 0; i < 100; i++) {
    char account[16];
    snprintf(account, sizeof account, "other%u", i);
    made += guess(account, "192.0.2.7:1") == 0;
    attempt("his", "192.0.2.7:1", false, ATTEMPTS_SUCCEEDED);
  }
  assert_int_equal(made, 31);
}

static void many_at_once_do_not_pass_together(void **state) {
  (void)state;
  struct attempts_ticket tickets[100];
  struct attempts_who one = who("a", "192.0.2.1:1", false);
  unsigned begun = 0;
  int64_t wait_ms;
  for (unsigned i = 0; i < UNIT_COUNT(tickets); i++) {
    status result = attempts_begin(attempts, &one, &tickets[begun], &wait_ms);
    begun += status_is_ok(&result);
  }
  assert_int_equal(begun, 11);
  /* The last has begun a wait; the success of an earlier one does not end it. */
  attempts_end(attempts, &tickets[0], ATTEMPTS_SUCCEEDED);
  assert_int_equal(guess("a", "192.0.2.2:1"), 1000);
  attempts_end(attempts, &tickets[10], ATTEMPTS_SUCCEEDED);
  assert_int_equal(guess("a", "192.0.2.2:1"), 0);
}

/* Whoever has counts cannot get rid of them by a flood of others, short of filling most of the table. */
static void a_flood_does_not_push_out_who_is_limited(void **state) {
  (void)state;
  for (unsigned i = 0; i < 11; i++)
    assert_int_equal(guess("a", "192.0.2.1:1"), 0);
  assert_int_equal(guess("a", "192.0.2.1:1"), 1000);
  for (unsigned i = 0; i < 20000; i++) {
    char account[16];
    snprintf(account, sizeof account, "user%u", i);
    guess(account, address_of(i));
  }
  struct attempts_info info;
  attempts_info(attempts, &info);
  assert_true(info.accounts <= ATTEMPTS_SETS * ATTEMPTS_WAYS);
  assert_true(info.addresses <= ATTEMPTS_SETS * ATTEMPTS_WAYS);
  assert_int_equal(guess("a", "192.0.2.200:1"), 1000);
}

static void steps_of_the_wall_clock_do_nothing(void **state) {
  (void)state;
  struct port *port = port_simulated_port(simulated);
  for (unsigned i = 0; i < 11; i++)
    guess("a", address_of(i));
  port_simulated_set_wall(simulated, port->wall_us(port) + 1000 * 1000 * MINUTE);
  assert_int_equal(guess("a", address_of(50)), 1000);
  port_simulated_set_wall(simulated, 0);
  assert_int_equal(guess("a", address_of(50)), 1000);
  port_simulated_advance(simulated, SECOND);
  assert_int_equal(guess("a", address_of(50)), 0);
}

/* ---- Restarts ---- */

static void restore_into(struct attempts *into) {
  static struct attempts_changed records[ATTEMPTS_SLOTS];
  size_t count = attempts_take_changed(attempts, records, UNIT_COUNT(records));
  assert_true(count > 0);
  assert_int_equal(attempts_take_changed(attempts, records + count, 1), 0);
  for (size_t i = 0; i < count; i++)
    assert_true(
        attempts_restore(into, records[i].slot, str_make(records[i].record, sizeof records[i].record)));
  attempts_give_back(attempts, records, count);
}

static void counts_survive_a_restart(void **state) {
  (void)state;
  struct port *port = port_simulated_port(simulated);
  for (unsigned i = 0; i < 11; i++)
    guess("a", address_of(i));
  assert_true(changes >= 11);
  struct attempts *later = new_attempts();
  restore_into(later);
  assert_int_equal(attempt_at(later, "a", address_of(50), false, ATTEMPTS_FAILED), 1000);
  attempts_free(later);

  /* Half a second passes between the two: as the wall clock has it. */
  int64_t wall_us = port->wall_us(port);
  static struct attempts_changed records[64];
  size_t count = attempts_take_changed(attempts, records, UNIT_COUNT(records));
  const struct {
    int64_t step_us;
    int64_t wait_ms;
  } cases[] = {{SECOND / 2, 500}, {-1000 * MINUTE, 1000}, {-wall_us, 1000}, {1000 * MINUTE, 0}};
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    port_simulated_set_wall(simulated, wall_us + cases[i].step_us);
    later = new_attempts();
    for (size_t k = 0; k < count; k++)
      assert_true(
          attempts_restore(later, records[k].slot, str_make(records[k].record, sizeof records[k].record)));
    assert_int_equal(attempt_at(later, "a", address_of(50), false, ATTEMPTS_FAILED), cases[i].wait_ms);
    attempts_free(later);
  }
}

static void broken_records_are_passed_over(void **state) {
  (void)state;
  uint8_t record[ATTEMPTS_RECORD_BYTES];
  memset(record, 0xff, sizeof record);
  assert_false(attempts_restore(attempts, 0, str_make(record, sizeof record)));
  assert_false(attempts_restore(attempts, 0, STR("short")));
  guess("a", address_of(1));
  struct attempts_changed changed[2];
  assert_int_equal(attempts_take_changed(attempts, changed, 2), 2);
  str good = str_make(changed[0].record, sizeof changed[0].record);
  assert_false(attempts_restore(attempts, (uint16_t)(changed[0].slot ^ 1024), good)); /* not its set */
  assert_false(attempts_restore(attempts, 65535, good));
  assert_true(attempts_restore(attempts, changed[0].slot, good));
}

static void the_store_keeps_them(void **state) {
  (void)state;
  char directory[64];
  test_directory_make(directory);
  struct port *port = port_simulated_port(simulated);
  for (unsigned round = 0; round < 2; round++) {
    struct kv_rocksdb_options options = {.directory = directory, .port = port, .clock_trusted = true};
    struct kv_store *store;
    struct attempts_kv *kv;
    assert_status_ok(kv_rocksdb_open(&options, &store));
    assert_status_ok(attempts_kv_open(store, port, &kv));
    struct attempts *kept = attempts_kv_attempts(kv);
    if (round == 1)
      assert_true(attempt_at(kept, "a", address_of(900), false, ATTEMPTS_FAILED) > 0);
    for (unsigned i = 0; i < 500 && round == 0; i++) {
      char account[16];
      snprintf(account, sizeof account, "user%u", i);
      assert_int_equal(attempt_at(kept, i < 11 ? "a" : account, address_of(i), false, ATTEMPTS_FAILED), 0);
    }
    if (round == 1) {
      struct attempts_info info;
      attempts_info(kept, &info);
      assert_int_equal(info.accounts, 490);
      assert_int_equal(info.addresses, 500);
    }
    attempts_kv_close(kv);
    kv_close(store);
  }
  test_directory_remove(directory);
}

enum { GUESSERS = 4, GUESSES_EACH = 300 };
static struct attempts *shared;

/* In a buffer of each thread's own. */
static const char *address_of_thread(unsigned number, void *argument) {
  static _Thread_local char text[40];
  snprintf(text, sizeof text, "10.%u.%u.%u:40000", (unsigned)(uintptr_t)argument, number >> 8 & 255,
           number & 255);
  return text;
}

static atomic_uint passed;

static void *guess_many(void *argument) {
  for (unsigned i = 0; i < GUESSES_EACH; i++) {
    struct attempts_who one = who(i % 2 == 0 ? "shared" : "other", address_of_thread(i, argument), false);
    struct attempts_ticket ticket;
    int64_t wait_ms;
    status result = attempts_begin(shared, &one, &ticket, &wait_ms);
    if (!status_is_ok(&result))
      continue;
    atomic_fetch_add(&passed, 1);
    attempts_end(shared, &ticket, ATTEMPTS_FAILED);
  }
  return NULL;
}

/* However they come together, no more pass than one after the other. */
static void many_threads_guess_and_the_store_keeps_up(void **state) {
  (void)state;
  char directory[64];
  pthread_t threads[GUESSERS];
  struct kv_store *store;
  struct attempts_kv *kv;
  test_directory_make(directory);
  struct kv_rocksdb_options options = {.directory = directory, .clock_trusted = true};
  assert_status_ok(kv_rocksdb_open(&options, &store));
  assert_status_ok(attempts_kv_open(store, port_simulated_port(simulated), &kv));
  shared = attempts_kv_attempts(kv);
  for (size_t i = 0; i < GUESSERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, guess_many, (void *)i), 0);
  for (size_t i = 0; i < GUESSERS; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(atomic_load(&passed), 22);
  attempts_kv_close(kv);
  assert_status_ok(attempts_kv_open(store, port_simulated_port(simulated), &kv));
  struct attempts_info info;
  attempts_info(attempts_kv_attempts(kv), &info);
  assert_int_equal(info.accounts, 2);
  assert_int_equal(info.addresses, 22);
  attempts_kv_close(kv);
  kv_close(store);
  test_directory_remove(directory);
}

/* ---- Places ---- */

static void the_last_places_are_known(void **state) {
  (void)state;
  struct attempts_known known = attempts_known_decode((str){NULL, 0});
  uint8_t bytes[ATTEMPTS_KNOWN_BYTES_MAX];
  assert_int_equal(attempts_known_encode(&known, bytes), 0);
  for (unsigned i = 0; i < 5; i++) {
    assert_false(attempts_is_known(attempts, &known, STR("a"), str_from_cstr(address_of(i))));
    assert_true(attempts_known_add(attempts, &known, STR("a"), str_from_cstr(address_of(i))));
    assert_false(attempts_known_add(attempts, &known, STR("a"), str_from_cstr(address_of(i))));
  }
  size_t len = attempts_known_encode(&known, bytes);
  assert_int_equal(len, ATTEMPTS_KNOWN_BYTES_MAX);
  known = attempts_known_decode(str_make(bytes, len));
  assert_int_equal(known.count, ATTEMPTS_KNOWN_MAX);
  assert_false(
      attempts_is_known(attempts, &known, STR("a"), str_from_cstr(address_of(0)))); /* the oldest went */
  for (unsigned i = 1; i < 5; i++)
    assert_true(attempts_is_known(attempts, &known, STR("a"), str_from_cstr(address_of(i))));
  assert_false(attempts_is_known(attempts, &known, STR("b"), str_from_cstr(address_of(1))));
  assert_true(
      attempts_known_add(attempts, &known, STR("a"), str_from_cstr(address_of(1)))); /* to the front */
  assert_int_equal(known.count, ATTEMPTS_KNOWN_MAX);
  assert_true(attempts_is_known(attempts, &known, STR("a"), str_from_cstr(address_of(2))));
  assert_true(attempts_known_add(attempts, &known, STR("a"), STR("[2001:db8::1]:1")));
  assert_true(attempts_is_known(attempts, &known, STR("a"), STR("[2001:db8::ffff]:2"))); /* the /64 */
  assert_false(attempts_known_add(attempts, &known, STR("a"), STR("127.0.0.1:1")));
  assert_false(attempts_is_known(attempts, &known, STR("a"), STR("unknown")));
  bytes[0] = 9;
  assert_int_equal(attempts_known_decode(str_make(bytes, len)).count, 0);
  assert_int_equal(attempts_known_decode(str_make(bytes, 5)).count, 0);
}

/* A hundred, and then a hundred an hour; who signs in there does not notice. */
static void sign_ups_are_bounded(void **state) {
  (void)state;
  for (unsigned i = 0; i < 101; i++)
    assert_int_equal(sign_up("192.0.2.1:5000"), 0);
  assert_true(sign_up("192.0.2.1:5001") > 0);
  assert_int_equal(sign_up("192.0.2.2:5000"), 0);
  assert_int_equal(guess("shop/ann@example.com", "192.0.2.1:5000"), 0);
  port_simulated_advance(simulated, 10 * MINUTE);
  unsigned made = 0;
  while (made < 100 && sign_up("192.0.2.1:5000") == 0)
    made++;
  assert_in_range(made, 16, 17);
  char address[64]; /* all over a /48 */
  for (unsigned i = 0; i < 101; i++) {
    snprintf(address, sizeof address, "[2001:db8:1:%x::1]:5000", i);
    assert_int_equal(sign_up(address), 0);
  }
  assert_true(sign_up("[2001:db8:1:ffff::1]:5000") > 0);
  assert_int_equal(sign_up("[2001:db8:2::1]:5000"), 0);
  assert_int_equal(sign_up("127.0.0.1:5000"), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(delays_grow_to_a_cap),
      TEST(what_is_over_is_forgotten),
      TEST(a_distributed_guesser_gets_four_an_hour),
      TEST(a_known_place_has_limits_of_its_own),
      TEST(one_address_is_limited_over_all_accounts),
      TEST(ipv6_counts_by_network),
      TEST(proxies_and_sockets_have_no_address),
      TEST(success_takes_back_its_own_count_alone),
      TEST(many_at_once_do_not_pass_together),
      TEST(a_flood_does_not_push_out_who_is_limited),
      TEST(steps_of_the_wall_clock_do_nothing),
      TEST(sign_ups_are_bounded),
      TEST(counts_survive_a_restart),
      TEST(broken_records_are_passed_over),
      TEST(the_store_keeps_them),
      TEST(many_threads_guess_and_the_store_keeps_up),
      TEST(the_last_places_are_known),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
