#include "server/mail/mail.h"

#include <stdlib.h>

#include "base/crypto_kdf.h"
#include "base/log.h"
#include "base/utf8.h"
#include "net/url.h"
#include "server/mail/seen.h"
#include "server/mail/smtp_sender.h"
#include "server/mail/webhook_sender.h"
#include "server/tokens/file.h"

enum { SECRET_BYTES_MAX = 1024, FIELD_BYTES_MAX = 1024, LINK_BYTES_MAX = 8 * 1024 };

struct mail {
  struct mail_templates *templates;
  struct net_client *net;
  struct smtp_sender *smtp;
  struct webhook_sender *webhook;
  struct outbox *outbox;  /* NULL: there is no way out */
  struct seen_list *seen; /* of development, or NULL */
  char *app_name;         /* NULL: the project */
};

static bool is_set(const char *text) {
  return text != NULL && *text != '\0';
}

/* ---- Settings ---- */

static status wrong(const char *what) {
  return status_make(STATUS_INVALID_ARGUMENT, "%s", what);
}

static status check_smtp(const struct mail_options *options) {
  struct url url;
  struct mailbox from;
  if (!url_parse_mail(str_from_cstr(options->smtp), &url))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "smtp is smtp://host:port (with STARTTLS) or smtps://host:port, not \"%s\".",
                       options->smtp);
  if (!is_set(options->from) || !mailbox_parse(str_from_cstr(options->from), &from))
    return wrong("smtp needs mail_from, the sender's address: box@example.com, or Name <box@example.com>.");
  if (is_set(options->smtp_user) != is_set(options->smtp_password_file))
    return wrong("smtp_user and smtp_password_file go together: one of them is missing.");
  if (options->smtp_insecure && url.scheme == URL_SMTPS)
    return wrong("smtp_insecure is for smtp:// alone: smtps:// has TLS. Leave one of them out.");
  if (options->smtp_insecure && is_set(options->smtp_user) && !url_is_loopback(&url))
    return wrong(
        "With smtp_insecure the password of smtp_user would cross the network in the clear. Use TLS, or a "
        "mail server that needs no password.");
  return status_ok();
}

static status check_webhook(const struct mail_options *options) {
  struct url url;
  struct mailbox from;
  if (!url_parse(str_from_cstr(options->webhook), &url) ||
      (url.scheme != URL_HTTPS && !url_is_loopback(&url)))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "mail_webhook is an https URL (or http to this machine), not \"%s\".",
                       options->webhook);
  if (!is_set(options->webhook_key_file))
    return wrong("mail_webhook needs mail_webhook_key_file, the key that its requests are signed with.");
  if (is_set(options->from) && !mailbox_parse(str_from_cstr(options->from), &from))
    return wrong("mail_from is no address: it is box@example.com, or Name <box@example.com>.");
  return status_ok();
}

status mail_check_options(const struct mail_options *options) {
  bool smtp = is_set(options->smtp), webhook = is_set(options->webhook);
  if (smtp && webhook)
    return wrong("smtp and mail_webhook are two ways to send mails: give one of them.");
  if (!smtp && (is_set(options->smtp_user) || is_set(options->smtp_password_file) || options->smtp_insecure))
    return wrong(
        "smtp_user, smtp_password_file and smtp_insecure say how smtp is used, and smtp is not set.");
  if (!webhook && is_set(options->webhook_key_file))
    return wrong("mail_webhook_key_file is the key of mail_webhook, which is not set.");
  if (is_set(options->app_name) && !utf8_is_valid(options->app_name, strlen(options->app_name)))
    return wrong("mail_app_name is not UTF-8.");
  return smtp ? check_smtp(options) : webhook ? check_webhook(options) : status_ok();
}

/* The content of a file of one secret, without the line's end. */
static status read_secret(const char *path, struct buf *ret) {
  STATUS_TRY(file_read(path, SECRET_BYTES_MAX, ret));
  while (ret->len > 0 && (ret->data[ret->len - 1] == '\n' || ret->data[ret->len - 1] == '\r'))
    ret->len--;
  return ret->len > 0 ? status_ok() : status_make(STATUS_FAILED_PRECONDITION, "The file %s is empty.", path);
}

static void forget_secret(struct buf *secret) {
  if (secret->data != NULL)
    crypto_wipe(secret->data, secret->capacity);
  buf_fini(secret);
}

/* ---- Opening ---- */

static status check_password(str password, const char *path) {
  for (size_t i = 0; i < password.len; i++)
    if (password.ptr[i] < ' ' || password.ptr[i] > '~')
      return status_make(STATUS_FAILED_PRECONDITION, "The password in %s has other than ASCII characters.",
                         path);
  return status_ok();
}

static status open_net(struct mail *mail, const struct mail_options *options) {
  const char *const origins[] = {is_set(options->smtp) ? options->smtp : options->webhook};
  struct net_client_options net = {.program = is_set(options->net_program) ? options->net_program : NULL,
                                   .origins = origins,
                                   .origin_count = 1,
                                   .ca_file = is_set(options->ca_file) ? options->ca_file : NULL,
                                   .user = is_set(options->net_user) ? options->net_user : NULL,
                                   .proxy = is_set(options->proxy) ? options->proxy : NULL,
                                   .loopback_http = true, /* the origin alone says whether it is used */
                                   .smtp_plaintext = options->smtp_insecure};
  return net_client_open(&net, &mail->net);
}

static status open_smtp(struct mail *mail, const struct mail_options *options, struct buf *secret) {
  if (is_set(options->smtp_user)) {
    STATUS_TRY(read_secret(options->smtp_password_file, secret));
    STATUS_TRY(check_password(buf_str(secret), options->smtp_password_file));
  }
  struct smtp_options smtp = {.net = mail->net,
                              .url = options->smtp,
                              .from = options->from,
                              .user = is_set(options->smtp_user) ? options->smtp_user : NULL,
                              .password = buf_str(secret),
                              .insecure = options->smtp_insecure};
  return smtp_sender_new(&smtp, &mail->smtp);
}

static status open_webhook(struct mail *mail, const struct mail_options *options, struct buf *secret) {
  STATUS_TRY(read_secret(options->webhook_key_file, secret));
  struct webhook_options webhook = {.net = mail->net,
                                    .port = options->port,
                                    .url = options->webhook,
                                    .from = is_set(options->from) ? options->from : "",
                                    .key = buf_str(secret)};
  return webhook_sender_new(&webhook, &mail->webhook);
}

static status open_way(struct mail *mail, const struct mail_options *options) {
  struct buf secret = {0};
  status result = open_net(mail, options);
  if (status_is_ok(&result))
    result = is_set(options->smtp) ? open_smtp(mail, options, &secret) : open_webhook(mail, options, &secret);
  forget_secret(&secret);
  if (!status_is_ok(&result))
    return result;
  struct outbox_options outbox = {.store = options->store,
                                  .port = options->port,
                                  .sender = mail->smtp != NULL ? smtp_sender_interface(mail->smtp)
                                                               : webhook_sender_interface(mail->webhook),
                                  .retry_first_ms = options->retry_first_ms,
                                  .retry_max_ms = options->retry_max_ms};
  return outbox_open(&outbox, &mail->outbox);
}

static status open_all(struct mail *mail, const struct mail_options *options) {
  STATUS_TRY(mail_check_options(options));
  STATUS_TRY(mail_templates_read(is_set(options->templates) ? options->templates : NULL, &mail->templates));
  if (is_set(options->app_name) && (mail->app_name = strdup(options->app_name)) == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  if (options->dev && (mail->seen = seen_list_new()) == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  return is_set(options->smtp) || is_set(options->webhook) ? open_way(mail, options) : status_ok();
}

status mail_open(const struct mail_options *options, struct mail **ret) {
  struct mail *mail = calloc(1, sizeof *mail);
  if (mail == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to send mails.");
  status result = open_all(mail, options);
  if (status_is_ok(&result))
    *ret = mail;
  else
    mail_close(mail);
  return result;
}

void mail_stop(struct mail *mail) {
  if (mail->outbox == NULL)
    return;
  outbox_stop(mail->outbox);
  net_client_stop(mail->net);
}

void mail_close(struct mail *mail) {
  if (mail == NULL)
    return;
  mail_stop(mail);
  outbox_close(mail->outbox);
  smtp_sender_free(mail->smtp);
  webhook_sender_free(mail->webhook);
  net_client_close(mail->net);
  seen_list_free(mail->seen);
  mail_templates_free(mail->templates);
  free(mail->app_name);
  free(mail);
}

bool mail_is_set_up(const struct mail *mail) {
  return mail->outbox != NULL || mail->seen != NULL;
}

/* ---- Sending ---- */

static bool fields_are_good(const struct mail_order *order) {
  const str fields[] = {order->project, order->email, order->new_email, order->display_name, order->code};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
    if (fields[i].len > FIELD_BYTES_MAX || !utf8_is_valid(fields[i].ptr, fields[i].len))
      return false;
  return order->link.len <= LINK_BYTES_MAX && utf8_is_valid(order->link.ptr, order->link.len);
}

static status reserve(const struct mail *mail, const struct mail_order *order, struct outbox_item *ret) {
  struct buf subject = {0}, text = {0};
  struct mail_fields fields = {.link = order->link,
                               .email = order->email,
                               .new_email = order->new_email,
                               .display_name = order->display_name,
                               .app_name =
                                   mail->app_name != NULL ? str_from_cstr(mail->app_name) : order->project};
  status result = mail_template_fill(mail->templates, order->kind, &fields, &subject, &text);
  if (status_is_ok(&result)) {
    struct mail_record record = {.kind = order->kind,
                                 .expires_us = order->expires_us,
                                 .to = order->to,
                                 .subject = buf_str(&subject),
                                 .text = buf_str(&text),
                                 .project = order->project,
                                 .email = order->email,
                                 .new_email = order->new_email,
                                 .display_name = order->display_name,
                                 .link = order->link,
                                 .code = order->code};
    result = outbox_reserve(mail->outbox, &record, ret);
  }
  buf_fini(&subject);
  buf_fini(&text);
  return result;
}

status mail_prepare(struct mail *mail, const struct mail_order *order, struct mail_item *ret) {
  struct mail_item item = {.mail = mail};
  if (!mail_is_set_up(mail))
    return status_make(
        STATUS_FAILED_PRECONDITION,
        "OPERATION_NOT_ALLOWED : This server sends no mails: its settings have neither smtp nor "
        "mail_webhook.");
  if (!mail_address_is_valid(order->to))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_EMAIL : The email address is badly formatted.");
  if (!fields_are_good(order))
    return status_make(STATUS_INVALID_ARGUMENT, "A part of the mail is too long or is not UTF-8.");
  if (mail->seen != NULL && (item.seen = seen_new(order)) == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the mail.");
  if (mail->outbox != NULL) {
    status result = reserve(mail, order, &item.item);
    if (!status_is_ok(&result)) {
      seen_free(item.seen);
      return result;
    }
  }
  *ret = item;
  return status_ok();
}

void mail_item_put(const struct mail_item *item, struct kv_batch *batch) {
  outbox_item_put(&item->item, batch);
}

void mail_item_committed(struct mail_item *item) {
  outbox_committed(&item->item);
  if (item->seen != NULL) {
    const struct mail_seen_view *view = seen_view(item->seen);
    log_event(LOG_LEVEL_INFO, "mail", LOG_CSTR("kind", mail_kind_name(view->kind)), LOG_STR("to", view->to),
              LOG_STR("link", view->link)); /* development only */
    seen_list_add(item->mail->seen, item->seen);
  }
  *item = (struct mail_item){0};
}

void mail_item_abandon(struct mail_item *item) {
  outbox_abandon(&item->item);
  seen_free(item->seen);
  *item = (struct mail_item){0};
}

void mail_seen_list(struct mail *mail, str project,
                    void (*visit)(void *argument, const struct mail_seen_view *view), void *argument) {
  if (mail->seen != NULL)
    seen_list_visit(mail->seen, project, visit, argument);
}

void mail_seen_clear(struct mail *mail, str project) {
  if (mail->seen != NULL)
    seen_list_clear(mail->seen, project);
}

void mail_info(struct mail *mail, struct outbox_info *ret) {
  *ret = (struct outbox_info){0};
  if (mail->outbox != NULL)
    outbox_info(mail->outbox, ret);
}
