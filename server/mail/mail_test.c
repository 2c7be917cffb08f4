/* What needs no network: settings, and the list of development. */
#include <stdio.h>

#include "base/log.h"
#include "ports/simulated.h"
#include "server/mail/mail.h"
#include "tests/support/unit.h"

static struct port_simulated *simulated;

static int set_up(void **state) {
  (void)state;
  log_configure(LOG_LEVEL_OFF, LOG_FORMAT_LOGFMT, 2);
  simulated = port_simulated_new();
  return simulated == NULL;
}

static int tear_down(void **state) {
  (void)state;
  port_simulated_free(simulated);
  return 0;
}

static struct mail *open_mail(bool dev) {
  struct mail *mail;
  struct mail_options options = {.port = port_simulated_port(simulated), .dev = dev};
  assert_status_ok(mail_open(&options, &mail));
  return mail;
}

static struct mail_order order_to(const char *to, const char *code) {
  return (struct mail_order){.kind = MAIL_RESET_PASSWORD,
                             .to = str_from_cstr(to),
                             .project = STR("p"),
                             .email = str_from_cstr(to),
                             .link = STR("https://box/?oobCode=1"),
                             .code = str_from_cstr(code),
                             .expires_us = INT64_MAX};
}

static void settings_are_checked(void **state) {
  (void)state;
  const struct {
    struct mail_options options;
    const char *wrong; /* NULL: nothing */
  } cases[] = {
      {{.dev = true}, NULL},
      {{.smtp = "smtp://mail.example:587", .from = "Box <box@example.com>"}, NULL},
      {{.smtp = "smtps://mail.example",
        .from = "box@example.com",
        .smtp_user = "u",
        .smtp_password_file = "f"},
       NULL},
      {{.smtp = "smtp://127.0.0.1:25",
        .from = "box@example.com",
        .smtp_user = "u",
        .smtp_password_file = "f",
        .smtp_insecure = true},
       NULL},
      {{.webhook = "https://hooks.example/mail", .webhook_key_file = "f"}, NULL},
      {{.webhook = "http://localhost:9/mail", .webhook_key_file = "f", .from = "box@example.com"}, NULL},
      {{.smtp = "", .webhook = "", .smtp_user = "", .from = "box@example.com"}, NULL},
      {{.smtp = "mail.example:587", .from = "box@example.com"}, "smtp://host:port"},
      {{.smtp = "https://mail.example", .from = "box@example.com"}, "smtp://host:port"},
      {{.smtp = "smtp://mail.example/path", .from = "box@example.com"}, "smtp://host:port"},
      {{.smtp = "smtp://user:pw@mail.example", .from = "box@example.com"}, "smtp://host:port"},
      {{.smtp = "smtp://mail.example"}, "mail_from"},
      {{.smtp = "smtp://mail.example", .from = "box"}, "mail_from"},
      {{.smtp = "smtp://mail.example", .from = "box@example.com", .smtp_user = "u"}, "smtp_password_file"},
      {{.smtp = "smtp://mail.example", .from = "box@example.com", .smtp_password_file = "f"}, "smtp_user"},
      {{.smtp = "smtps://mail.example", .from = "box@example.com", .smtp_insecure = true}, "smtp_insecure"},
      {{.smtp = "smtp://mail.example",
        .from = "box@example.com",
        .smtp_user = "u",
        .smtp_password_file = "f",
        .smtp_insecure = true},
       "in the clear"},
      {{.smtp = "smtp://mail.example", .from = "box@example.com", .webhook = "https://hooks.example"},
       "one of them"},
      {{.smtp_user = "u", .smtp_password_file = "f"}, "smtp is not set"},
      {{.smtp_insecure = true}, "smtp is not set"},
      {{.webhook = "http://hooks.example/mail", .webhook_key_file = "f"}, "https"},
      {{.webhook = "https://hooks.example/mail"}, "mail_webhook_key_file"},
      {{.webhook = "https://hooks.example/mail", .webhook_key_file = "f", .from = "box"}, "mail_from"},
      {{.webhook_key_file = "f"}, "mail_webhook"},
      {{.app_name = "\xff"}, "mail_app_name"},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    status result = mail_check_options(&cases[i].options);
    if (cases[i].wrong == NULL) {
      assert_status_ok(result);
    } else {
      assert_int_equal(result.code, STATUS_INVALID_ARGUMENT);
      if (strstr(result.message, cases[i].wrong) == NULL)
        fail_msg("%zu: %s", i, result.message);
    }
  }
}

static void without_a_way_nothing_is_sent(void **state) {
  (void)state;
  struct mail *mail = open_mail(false);
  struct mail_item item;
  struct mail_order order = order_to("ann@example.com", "1");
  assert_false(mail_is_set_up(mail));
  status result = mail_prepare(mail, &order, &item);
  assert_int_equal(result.code, STATUS_FAILED_PRECONDITION);
  assert_non_null(strstr(result.message, "OPERATION_NOT_ALLOWED : "));
  mail_close(mail);
  struct mail_options options = {.port = port_simulated_port(simulated), .smtp = "rubbish"};
  assert_status_code(mail_open(&options, &mail), STATUS_INVALID_ARGUMENT);
  options = (struct mail_options){.port = port_simulated_port(simulated), .templates = "/nonexistent"};
  assert_status_ok(mail_open(&options, &mail)); /* as if they were missing one by one */
  mail_close(mail);
}

/* ---- The list ---- */

static char listed[4096];

static void note(void *argument, const struct mail_seen_view *view) {
  unsigned *count = argument;
  (*count)++;
  size_t len = strlen(listed);
  snprintf(listed + len, sizeof listed - len, STR_FMT ":" STR_FMT " ", STR_ARG(view->to),
           STR_ARG(view->code));
}

static unsigned list(struct mail *mail, str project) {
  unsigned count = 0;
  listed[0] = '\0';
  mail_seen_list(mail, project, note, &count);
  return count;
}

static void send_to(struct mail *mail, const char *to, const char *code) {
  struct mail_item item;
  struct mail_order order = order_to(to, code);
  assert_status_ok(mail_prepare(mail, &order, &item));
  mail_item_committed(&item);
}

static void development_lists_mails(void **state) {
  (void)state;
  struct mail *mail = open_mail(true);
  struct mail_item item;
  struct mail_order order = order_to("ann@example.com", "x");
  assert_true(mail_is_set_up(mail));
  send_to(mail, "ann@example.com", "1");
  send_to(mail, "bob@example.com", "2");
  assert_status_ok(mail_prepare(mail, &order, &item));
  mail_item_abandon(&item);
  assert_int_equal(list(mail, STR("p")), 2);
  assert_string_equal(listed, "ann@example.com:1 bob@example.com:2 ");
  assert_int_equal(list(mail, STR("q")), 0);
  mail_seen_clear(mail, STR("q"));
  assert_int_equal(list(mail, STR("p")), 2);
  mail_seen_clear(mail, STR("p"));
  assert_int_equal(list(mail, STR("p")), 0);
  send_to(mail, "ann@example.com", "3");
  assert_int_equal(list(mail, STR("p")), 1);
  mail_close(mail);
}

static void the_list_is_bounded(void **state) {
  (void)state;
  struct mail *mail = open_mail(true);
  for (unsigned i = 0; i < MAIL_SEEN_MAX + 5; i++) {
    char code[16];
    snprintf(code, sizeof code, "%u", i);
    send_to(mail, "a@b.example", code);
  }
  assert_int_equal(list(mail, STR("p")), MAIL_SEEN_MAX);
  assert_int_equal(strncmp(listed, "a@b.example:5 ", 14), 0);
  mail_close(mail);
}

static void orders_are_checked(void **state) {
  (void)state;
  static char longest[10000];
  memset(longest, 'x', sizeof longest);
  struct mail *mail = open_mail(true);
  struct mail_item item;
  struct mail_order order = order_to("ann@example.com\r\nBcc: x@example.com", "1");
  status result = mail_prepare(mail, &order, &item);
  assert_int_equal(result.code, STATUS_INVALID_ARGUMENT);
  assert_non_null(strstr(result.message, "INVALID_EMAIL : "));
  order = order_to("ann@example.com", "1");
  order.display_name = str_make(longest, sizeof longest);
  assert_status_code(mail_prepare(mail, &order, &item), STATUS_INVALID_ARGUMENT);
  order = order_to("ann@example.com", "1");
  order.link = str_make(longest, sizeof longest);
  assert_status_code(mail_prepare(mail, &order, &item), STATUS_INVALID_ARGUMENT);
  order = order_to("ann@example.com", "\xff");
  assert_status_code(mail_prepare(mail, &order, &item), STATUS_INVALID_ARGUMENT);
  struct outbox_info info;
  mail_info(mail, &info);
  assert_int_equal(info.waiting, 0);
  mail_close(mail);
  mail_close(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(settings_are_checked),    cmocka_unit_test(without_a_way_nothing_is_sent),
      cmocka_unit_test(development_lists_mails), cmocka_unit_test(the_list_is_bounded),
      cmocka_unit_test(orders_are_checked),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
