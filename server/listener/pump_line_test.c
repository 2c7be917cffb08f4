/* Clients of HTTP/1.1 in the pump, and the line in which they wait when the gateway has no place. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/pump_fixture.h"
#include "tests/support/unit.h"

enum { SECOND_US = 1000000, LINE_BYTES = 300 };

static const char get[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

static char text[4096];

static void with_places(void (*test)(struct pump_fixture *f), unsigned places) {
  for (int is_tls = 0; is_tls < 2; is_tls++) {
    struct pump_fixture f;
    pump_fixture_open_http(&f, is_tls, (struct pump_options){.http_line_bytes_max = LINE_BYTES}, places);
    test(&f);
    for (unsigned i = 0; i < pump_fixture_end_count(&f); i++) /* or the end waits for what they still say */
      pump_fixture_end_close(pump_fixture_end(&f, i));
    pump_fixture_close(&f);
  }
}

static struct pump_client open_client(struct pump_fixture *f) {
  return pump_client_open(f, (struct pump_client_options){.alpn = "http/1.1"});
}

static struct pump_client ask(struct pump_fixture *f) {
  struct pump_client client = open_client(f);
  pump_client_send(&client, get, sizeof get - 1);
  return client;
}

/* Who comes to end number `index` has said this, and nothing else. */
static struct pump_fixture_end *assert_asked(struct pump_fixture *f, unsigned index, const char *said) {
  struct pump_fixture_end *end = pump_fixture_end(f, index);
  ptrdiff_t last;
  size_t len = strlen(said);
  assert_int_equal(pump_end_receive(end, text, len, &last), len);
  assert_memory_equal(text, said, len);
  assert_int_equal(pump_end_read(end, text, 1), PUMP_AGAIN);
  return end;
}

static void assert_answered(struct pump_client *client, const char *said) {
  ptrdiff_t last;
  size_t len = strlen(said);
  assert_int_equal(pump_client_receive(client, text, len, &last), len);
  assert_memory_equal(text, said, len);
  assert_int_equal(pump_client_read(client, text, 1), PUMP_AGAIN);
}

/* This begins what the client gets; then it gets no more. */
static void assert_told(struct pump_client *client, const char *beginning) {
  ptrdiff_t last;
  size_t len = pump_client_receive(client, text, sizeof text, &last);
  assert_int_equal(last, 0);
  assert_true(len > strlen(beginning));
  assert_memory_equal(text, beginning, strlen(beginning));
  pump_client_close(client);
}

static void eventually_in_line(struct pump_fixture *f, unsigned count) {
  eventually(pump_fixture_stats(f).http_line == count);
}

static void close_clients(struct pump_client *clients, unsigned count) {
  for (unsigned i = 0; i < count; i++)
    pump_client_close(&clients[i]);
}

/* ---- In line ---- */

static void waits_its_turn(struct pump_fixture *f) {
  struct pump_client clients[5];
  for (unsigned i = 0; i < 5; i++) {
    clients[i] = ask(f);
    if (i < 2)
      assert_asked(f, i, get);
    else
      eventually_in_line(f, i - 1);
  }
  assert_int_equal(pump_fixture_end_count(f), 2);
  for (unsigned i = 0; i < 3; i++) { /* the place of the one is the next one's */
    struct pump_fixture_end *end = pump_fixture_end(f, i);
    pump_end_send(end, answer, sizeof answer - 1);
    pump_fixture_end_close(end);
    ptrdiff_t last;
    assert_int_equal(pump_client_receive(&clients[i], text, sizeof text, &last), sizeof answer - 1);
    assert_asked(f, i + 2, get);
    eventually_in_line(f, 2 - i);
  }
  assert_int_equal(pump_fixture_stats(f).http_busy, 0);
  pump_end_send(pump_fixture_end(f, 4), answer, sizeof answer - 1);
  assert_answered(&clients[4], answer);
  pump_client_send(&clients[4], get, sizeof get - 1); /* as if there had been no line */
  assert_asked(f, 4, get);
  close_clients(clients, 5);
}

static void test_waits_its_turn(void **state) {
  (void)state;
  with_places(waits_its_turn, 2);
}

/* What comes meanwhile comes after what came first. */
static void in_pieces(struct pump_fixture *f) {
  struct pump_client first = ask(f);
  struct pump_fixture_end *end = assert_asked(f, 0, get);
  struct pump_client second = open_client(f);
  pump_client_send(&second, get, 5);
  eventually_in_line(f, 1);
  pump_client_send(&second, get + 5, sizeof get - 1 - 5);
  pump_client_send(&second, get, sizeof get - 1);
  pump_fixture_end_close(end);
  char both[2 * sizeof get];
  snprintf(both, sizeof both, "%s%s", get, get);
  assert_asked(f, 1, both);
  pump_client_close(&first);
  pump_client_close(&second);
}

static void test_in_pieces(void **state) {
  (void)state;
  with_places(in_pieces, 1);
}

static void too_long(struct pump_fixture *f) {
  struct pump_client first = ask(f);
  assert_asked(f, 0, get);
  struct pump_client early = ask(f);
  eventually_in_line(f, 1);
  pump_fixture_advance(f, 6 * SECOND_US);
  struct pump_client late = ask(f);
  eventually_in_line(f, 2);
  pump_fixture_advance(f, 5 * SECOND_US);
  assert_told(&early, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: ");
  eventually_in_line(f, 1);
  pump_fixture_end_close(pump_fixture_end(f, 0));
  assert_asked(f, 1, get);
  assert_int_equal(pump_fixture_stats(f).http_busy, 1);
  pump_client_close(&first);
  pump_client_close(&late);
}

static void test_too_long(void **state) {
  (void)state;
  with_places(too_long, 1);
}

static void too_much(struct pump_fixture *f) {
  static const char long_get[] =
      "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      " HTTP/1.1\r\nHost: x\r\n\r\n";
  struct pump_client first = ask(f);
  assert_asked(f, 0, get);
  struct pump_client patient = open_client(f), other = open_client(f);
  pump_client_send(&patient, long_get, sizeof long_get - 1);
  eventually_in_line(f, 1);
  pump_client_send(&other, long_get, sizeof long_get - 1); /* two are more than LINE_BYTES */
  assert_told(&other, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: ");
  struct pump_client little = ask(f);
  eventually_in_line(f, 2);
  pump_fixture_end_close(pump_fixture_end(f, 0));
  assert_asked(f, 1, long_get);
  other = open_client(f); /* what the line held is given back */
  pump_client_send(&other, long_get, sizeof long_get - 1);
  eventually_in_line(f, 2);
  pump_client_close(&first);
  pump_client_close(&patient);
  pump_client_close(&other);
  pump_client_close(&little);
}

static void test_too_much(void **state) {
  (void)state;
  with_places(too_much, 1);
}

/* Whoever leaves the line for another reason takes nothing with him. */
static void leaves_the_line(struct pump_fixture *f) {
  struct pump_client first = ask(f);
  assert_asked(f, 0, get);
  for (int how = 0; how < 3; how++) {
    struct pump_client client = ask(f);
    eventually_in_line(f, 1);
    if (how == 0)
      pump_client_close(&client);
    else if (how == 1)
      pump_client_reset(&client);
    else
      pump_client_end(&client);
    eventually_in_line(f, 0);
    eventually(pump_fixture_ended(f, client.number) == 1);
    pump_client_close(&client);
  }
  assert_int_equal(pump_fixture_end_count(f), 1);
  assert_int_equal(pump_fixture_stats(f).http_busy, 0);
  pump_client_close(&first);
}

static void test_leaves_the_line(void **state) {
  (void)state;
  with_places(leaves_the_line, 1);
}

/* What is wrong is said without a place. */
static void wrong_in_line(struct pump_fixture *f) {
  struct pump_client first = ask(f);
  assert_asked(f, 0, get);
  struct pump_client wrong = open_client(f);
  pump_client_send(&wrong, "GET /a HTTP/1.1\r\nHost : x\r\n\r\n", 30);
  assert_told(&wrong, "HTTP/1.1 400 ");
  assert_int_equal(pump_fixture_stats(f).http_line, 0);
  assert_int_equal(pump_fixture_end_count(f), 1);
  pump_client_close(&first);
}

static void test_wrong_in_line(void **state) {
  (void)state;
  with_places(wrong_in_line, 1);
}

/* ---- Places of others ---- */

static void rests_for_others(struct pump_fixture *f) {
  struct pump_client first = ask(f), second;
  struct pump_fixture_end *end = assert_asked(f, 0, get);
  pump_end_send(end, answer, sizeof answer - 1);
  assert_answered(&first, answer);
  pump_fixture_set_http(f, false, true);
  second = ask(f);
  ptrdiff_t last;
  pump_end_receive(end, text, 1, &last);
  assert_int_equal(last, 0); /* its connection is taken away */
  pump_fixture_end_close(end);
  end = assert_asked(f, 1, get);
  pump_fixture_set_http(f, false, false);
  pump_client_send(&first, get, sizeof get - 1); /* now it is this one that waits */
  eventually_in_line(f, 1);
  pump_fixture_end_close(end);
  end = assert_asked(f, 2, get);
  pump_end_send(end, answer, sizeof answer - 1);
  assert_answered(&first, answer);
  pump_client_close(&first);
  pump_client_close(&second);
}

static void test_rests_for_others(void **state) {
  (void)state;
  with_places(rests_for_others, 1);
}

static void others_must_leave(struct pump_fixture *f) {
  struct pump_client first = ask(f), second;
  assert_asked(f, 0, get);
  pump_fixture_set_http(f, true, false);
  second = ask(f);
  assert_asked(f, 1, get);
  pump_client_close(&first);
  pump_client_close(&second);
}

static void test_others_must_leave(void **state) {
  (void)state;
  with_places(others_must_leave, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_waits_its_turn),   cmocka_unit_test(test_in_pieces),
      cmocka_unit_test(test_too_long),         cmocka_unit_test(test_too_much),
      cmocka_unit_test(test_leaves_the_line),  cmocka_unit_test(test_wrong_in_line),
      cmocka_unit_test(test_rests_for_others), cmocka_unit_test(test_others_must_leave),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
