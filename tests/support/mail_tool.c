/* Mails through the server's own parts, for tests that play the mail server: `mail_tool SETTINGS...` (as of
 * skerry serve; retries come quickly) opens the store in the data directory and the outbox. Each line of
 * standard input is
 *
 *   send KIND TO CODE SECONDS   a mail whose code ends in so many seconds; "ok" once it is durable, or "!
 * CODE message" info                        "waiting sent refused expired tries problem" seen the mails of
 * development, a line each, then "."
 *
 * It looks for skerry-net beside itself, or takes the setting net_program. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "server/mail_settings.h"
#include "storage/rocksdb/store.h"

enum { RETRY_FIRST_MS = 50, RETRY_MAX_MS = 200 };
static const str PROJECT = {"shop", 4};

static status resolve(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  (void)reader, (void)version;
  mail_item_put(argument, batch);
  return status_ok();
}

static status send_mail(struct mail *mail, struct kv_store *store, const struct mail_order *order) {
  struct mail_item item;
  kv_version version;
  STATUS_TRY(mail_prepare(mail, order, &item));
  struct kv_txn txn = {.resolve = resolve, .argument = &item};
  status result = kv_commit_wait(store, &txn, &version);
  if (status_is_ok(&result))
    mail_item_committed(&item);
  else
    mail_item_abandon(&item);
  return result;
}

static void take_order(struct mail *mail, struct kv_store *store, char *words) {
  char *rest = NULL;
  const char *kind = strtok_r(words, " ", &rest), *to = strtok_r(NULL, " ", &rest);
  const char *code = strtok_r(NULL, " ", &rest), *seconds = strtok_r(NULL, " ", &rest);
  char link[256];
  if (seconds == NULL) {
    puts("! four words are wanted");
    return;
  }
  snprintf(link, sizeof link, "https://box.example/__/auth/action?mode=verifyEmail&oobCode=%s", code);
  struct port *port = port_linux();
  struct mail_order order = {.to = str_from_cstr(to),
                             .project = PROJECT,
                             .email = str_from_cstr(to),
                             .display_name = STR("J\xc3\xbcrgen"),
                             .link = str_from_cstr(link),
                             .code = str_from_cstr(code),
                             .expires_us = port->wall_us(port) + atoll(seconds) * 1000000};
  while (order.kind < MAIL_EMAIL_CHANGED && strcmp(mail_kind_name(order.kind), kind) != 0)
    order.kind++;
  status result = send_mail(mail, store, &order);
  if (status_is_ok(&result))
    puts("ok");
  else
    printf("! %s %s\n", status_code_name((int)result.code), result.message);
}

static void print_info(struct mail *mail) {
  struct outbox_info info;
  mail_info(mail, &info);
  printf("%u %llu %llu %llu %llu %s\n", info.waiting, (unsigned long long)info.sent,
         (unsigned long long)info.refused, (unsigned long long)info.expired, (unsigned long long)info.tries,
         info.problem);
}

static void print_seen(void *argument, const struct mail_seen_view *view) {
  (void)argument;
  printf("%s " STR_FMT " " STR_FMT " " STR_FMT "\n", mail_kind_name(view->kind), STR_ARG(view->to),
         STR_ARG(view->code), STR_ARG(view->link));
}

static void serve(struct mail *mail, struct kv_store *store) {
  char line[1024];
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "send ", 5) == 0) {
      take_order(mail, store, line + 5);
    } else if (strcmp(line, "info") == 0) {
      print_info(mail);
    } else {
      mail_seen_list(mail, PROJECT, print_seen, NULL);
      puts(".");
    }
    fflush(stdout);
  }
}

int main(int argc, char **argv) {
  struct settings settings;
  struct kv_store *store = NULL;
  struct mail *mail = NULL;
  status result = settings_load(&settings, argc - 1, argv + 1, environ);
  log_configure(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT, STDERR_FILENO);
  struct kv_rocksdb_options store_options = {.directory = settings.data, .clock_trusted = true};
  if (status_is_ok(&result))
    result = kv_rocksdb_open(&store_options, &store);
  struct mail_options options = mail_settings_options(&settings, store, port_linux());
  options.retry_first_ms = RETRY_FIRST_MS;
  options.retry_max_ms = RETRY_MAX_MS;
  if (status_is_ok(&result))
    result = mail_open(&options, &mail);
  if (status_is_ok(&result))
    serve(mail, store);
  else
    fprintf(stderr, "mail_tool: %s\n", result.message);
  mail_close(mail);
  if (store != NULL)
    kv_close(store);
  settings_fini(&settings);
  return status_is_ok(&result) ? 0 : 1;
}
