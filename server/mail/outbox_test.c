/* The outbox over a real store, with a sender that does as it is told. Ways over the network are tested by
 * tests/integration/mail.test.mjs. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "server/mail/outbox.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

enum { SENT_MAX = 64 };

/* ---- The sender ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static enum mail_result answers[SENT_MAX]; /* in turn; then MAIL_SENT */
static struct { char to[64], id[MAIL_ID_BYTES + 1]; } sent[SENT_MAX];
static unsigned sent_count;
static const char *hangs_up_at; /* NULL, or to whom no mail is ever taken or refused */

static enum mail_result send_mail(void *argument, const struct mail_record *record, char *ret_reason,
                                  size_t reason_size) {
  (void)argument;
  pthread_mutex_lock(&mutex);
  assert_true(sent_count < SENT_MAX);
  snprintf(sent[sent_count].to, sizeof sent[0].to, STR_FMT, STR_ARG(record->to));
  snprintf(sent[sent_count].id, sizeof sent[0].id, STR_FMT, STR_ARG(record->id));
  enum mail_result answer = answers[sent_count++];
  if (hangs_up_at != NULL && str_eq(record->to, str_from_cstr(hangs_up_at)))
    answer = MAIL_AWAY;
  snprintf(ret_reason, reason_size, "%s", answer == MAIL_SENT ? "" : "because");
  pthread_cond_broadcast(&moved);
  pthread_mutex_unlock(&mutex);
  return answer;
}

static void wait_sent(unsigned count) {
  pthread_mutex_lock(&mutex);
  while (sent_count < count)
    pthread_cond_wait(&moved, &mutex);
  pthread_mutex_unlock(&mutex);
}

/* ---- The store and the outbox ---- */

static char directory[64];
static struct port_simulated *clock_of_test;
static struct port port; /* the real monotonic clock, the test's wall clock */
static struct kv_store *store;
static struct outbox *outbox;

static int64_t wall_us(struct port *self) {
  (void)self;
  struct port *simulated = port_simulated_port(clock_of_test);
  return simulated->wall_us(simulated);
}

static void open_store(void) {
  struct kv_rocksdb_options options = {.directory = directory, .clock_trusted = true};
  assert_status_ok(kv_rocksdb_open(&options, &store));
}

static void open_outbox(void) {
  struct outbox_options options = {
      .store = store, .port = &port, .sender = {send_mail, NULL}, .retry_first_ms = 20, .retry_max_ms = 40};
  assert_status_ok(outbox_open(&options, &outbox));
}

static int set_up(void **state) {
  (void)state;
  log_configure(LOG_LEVEL_OFF, LOG_FORMAT_LOGFMT, 2);
  test_directory_make(directory);
  clock_of_test = test_port_new();
  port = *port_linux();
  port.wall_us = wall_us;
  memset(answers, MAIL_SENT, sizeof answers);
  sent_count = 0;
  hangs_up_at = NULL;
  open_store();
  open_outbox();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  outbox_close(outbox);
  kv_close(store);
  port_simulated_free(clock_of_test);
  test_directory_remove(directory);
  return 0;
}

static status resolve_put(void *argument, struct kv_reader *reader, kv_version version,
                          struct kv_batch *batch) {
  (void)reader, (void)version;
  outbox_item_put(argument, batch);
  return status_ok();
}

static struct mail_record record_to(const char *to) {
  return (struct mail_record){.kind = MAIL_VERIFY_EMAIL,
                              .expires_us = wall_us(NULL) + 3600 * INT64_C(1000000),
                              .to = str_from_cstr(to),
                              .subject = STR("s"),
                              .text = STR("t")};
}

static void put_mail(const struct mail_record *record) {
  struct outbox_item item;
  kv_version version;
  assert_status_ok(outbox_reserve(outbox, record, &item));
  struct kv_txn txn = {.resolve = resolve_put, .argument = &item};
  assert_status_ok(kv_commit_wait(store, &txn, &version));
  outbox_committed(&item);
}

static void put_to(const char *to) {
  struct mail_record record = record_to(to);
  put_mail(&record);
}

static struct outbox_info info_of(void) {
  struct outbox_info info;
  outbox_info(outbox, &info);
  return info;
}

/* Until so many wait: what was sent is deleted a little later. */
static void wait_waiting(unsigned count) {
  for (unsigned i = 0; info_of().waiting != count; i++) {
    assert_true(i < 2000);
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  }
}

/* ---- Tests ---- */

static void mails_go_out_in_order_and_are_deleted(void **state) {
  (void)state;
  put_to("a@x.example");
  put_to("b@x.example");
  put_to("c@x.example");
  wait_sent(3);
  wait_waiting(0);
  assert_string_equal(sent[0].to, "a@x.example");
  assert_string_equal(sent[2].to, "c@x.example");
  assert_string_not_equal(sent[0].id, sent[1].id);
  struct outbox_info info = info_of();
  assert_int_equal(info.sent, 3);
  assert_int_equal(info.waiting_bytes, 0);
  assert_string_equal(info.problem, "");
  outbox_close(outbox);
  open_outbox();
  assert_int_equal(info_of().waiting, 0);
}

static void all_wait_while_there_is_no_way(void **state) {
  (void)state;
  answers[0] = answers[1] = answers[2] = MAIL_AWAY;
  put_to("a@x.example");
  put_to("b@x.example");
  wait_sent(3);
  assert_string_equal(info_of().problem, "because");
  wait_sent(5);
  wait_waiting(0);
  assert_string_equal(sent[0].to, "a@x.example");
  assert_string_not_equal(sent[3].id, sent[4].id); /* each went out once */
  assert_int_equal(info_of().tries, 5);
}

static void one_that_the_other_side_hangs_up_at_does_not_hold_up_others(void **state) {
  (void)state;
  hangs_up_at = "a@x.example";
  put_to("a@x.example");
  put_to("b@x.example");
  put_to("c@x.example");
  wait_waiting(1);
  assert_int_equal(info_of().sent, 2);
}

static void one_that_is_put_off_does_not_hold_up_others(void **state) {
  (void)state;
  answers[0] = MAIL_LATER;
  put_to("a@x.example");
  put_to("b@x.example");
  wait_sent(2);
  wait_waiting(1);
  assert_string_equal(sent[1].to, "b@x.example");
  wait_sent(3); /* 60 times retry_first_ms later */
  wait_waiting(0);
  assert_string_equal(sent[2].id, sent[0].id);
}

static void refused_ones_are_dropped(void **state) {
  (void)state;
  answers[0] = MAIL_REFUSED;
  put_to("a@x.example");
  put_to("b@x.example");
  wait_sent(2);
  wait_waiting(0);
  assert_int_equal(info_of().refused, 1);
  assert_int_equal(info_of().sent, 1);
}

static void what_is_too_old_is_not_sent(void **state) {
  (void)state;
  answers[0] = MAIL_LATER;
  put_to("a@x.example");
  wait_sent(1);
  port_simulated_advance(clock_of_test, 3601 * INT64_C(1000000));
  put_to("b@x.example"); /* wakes it */
  wait_sent(2);
  wait_waiting(0);
  assert_string_equal(sent[1].to, "b@x.example");
  assert_int_equal(sent_count, 2);
  assert_int_equal(info_of().expired, 1);
}

static void what_waits_survives(void **state) {
  (void)state;
  for (unsigned i = 0; i < SENT_MAX; i++)
    answers[i] = MAIL_AWAY;
  put_to("a@x.example");
  port_simulated_advance(clock_of_test, 1);
  put_to("b@x.example");
  wait_sent(2);
  outbox_close(outbox);
  kv_close(store);
  char id[MAIL_ID_BYTES + 1];
  memcpy(id, sent[0].id, sizeof id);
  memset(answers, MAIL_SENT, sizeof answers);
  sent_count = 0;
  open_store();
  open_outbox();
  wait_sent(2);
  wait_waiting(0);
  assert_string_equal(sent[0].to, "a@x.example");
  assert_string_equal(sent[0].id, id);
  assert_string_equal(sent[1].to, "b@x.example");
}

static status resolve_damage(void *argument, struct kv_reader *reader, kv_version version,
                             struct kv_batch *batch) {
  (void)argument, (void)reader, (void)version;
  kv_batch_put(batch, KV_SYSTEM, STR("mail/12345678abcdefghabcdefghabcdefghabcdefgh"), STR("damaged"));
  return status_ok();
}

static void damaged_ones_are_dropped(void **state) {
  (void)state;
  kv_version version;
  struct kv_txn txn = {.resolve = resolve_damage};
  outbox_close(outbox);
  assert_status_ok(kv_commit_wait(store, &txn, &version));
  open_outbox();
  wait_waiting(0);
  assert_int_equal(sent_count, 0);
}

static void its_size_is_bounded(void **state) {
  (void)state;
  static struct outbox_item items[OUTBOX_COUNT_MAX];
  struct outbox_item more;
  struct mail_record record = record_to("a@x.example");
  for (unsigned i = 0; i < OUTBOX_COUNT_MAX; i++)
    assert_status_ok(outbox_reserve(outbox, &record, &items[i]));
  assert_status_code(outbox_reserve(outbox, &record, &more), STATUS_RESOURCE_EXHAUSTED);
  outbox_abandon(&items[0]);
  assert_status_ok(outbox_reserve(outbox, &record, &items[0]));
  for (unsigned i = 0; i < OUTBOX_COUNT_MAX; i++)
    outbox_abandon(&items[i]);
  assert_int_equal(info_of().waiting_bytes, 0);
  /* Of large ones fewer. */
  char *text = calloc(1, 64 * 1024);
  memset(text, 'x', 64 * 1024);
  record.text = str_make(text, 64 * 1024);
  unsigned count = 0;
  while (outbox_reserve(outbox, &record, &items[count]).code == STATUS_OK)
    count++;
  assert_in_range(count, 200, OUTBOX_BYTES_MAX / (64 * 1024));
  while (count > 0)
    outbox_abandon(&items[--count]);
  record.link = str_make(text, 64 * 1024);
  assert_status_code(outbox_reserve(outbox, &record, &more), STATUS_INVALID_ARGUMENT);
  free(text);
}

static void stopping_refuses_and_ends(void **state) {
  (void)state;
  struct outbox_item item;
  struct mail_record record = record_to("a@x.example");
  outbox_stop(outbox);
  assert_status_code(outbox_reserve(outbox, &record, &item), STATUS_UNAVAILABLE);
}

static void records_come_back(void **state) {
  (void)state;
  struct mail_record record = {.kind = MAIL_EMAIL_CHANGED,
                               .created_us = 5,
                               .expires_us = -5,
                               .id = STR("0123456789abcdef0123456789abcdef"),
                               .to = STR("t"),
                               .subject = STR("s"),
                               .text = STR("x\0y"),
                               .project = STR("p"),
                               .email = STR("e"),
                               .new_email = STR("n"),
                               .display_name = STR("d"),
                               .link = STR("l"),
                               .code = STR("c")},
                     back;
  struct buf bytes = {0};
  mail_record_encode(&record, &bytes);
  assert_true(mail_record_decode(buf_str(&bytes), &back));
  assert_int_equal(back.kind, MAIL_EMAIL_CHANGED);
  assert_int_equal(back.expires_us, -5);
  assert_true(str_eq(back.text, record.text));
  assert_str_is(back.code, "c");
  assert_str_is(back.display_name, "d");
  for (size_t len = 0; len < bytes.len; len++)
    assert_false(mail_record_decode(str_make(bytes.data, len), &back));
  buf_append_byte(&bytes, 0);
  assert_false(mail_record_decode(buf_str(&bytes), &back));
  buf_fini(&bytes);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(mails_go_out_in_order_and_are_deleted),
      TEST(all_wait_while_there_is_no_way),
      TEST(one_that_the_other_side_hangs_up_at_does_not_hold_up_others),
      TEST(one_that_is_put_off_does_not_hold_up_others),
      TEST(refused_ones_are_dropped),
      TEST(what_is_too_old_is_not_sent),
      TEST(what_waits_survives),
      TEST(damaged_ones_are_dropped),
      TEST(its_size_is_bounded),
      TEST(stopping_refuses_and_ends),
      cmocka_unit_test(records_come_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
