#include "server/mail/smtp_sender.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/crypto_kdf.h"
#include "net/url.h"

enum { TIMEOUT_MS = 45 * 1000, TAKEN = 250, PERMANENT = 500 };

struct smtp_sender {
  struct net_client *net;
  struct buf texts; /* url, from, user and password, one after the other */
  str url, user, password;
  struct mailbox from;
  str domain; /* of the sender */
  enum net_tls tls;
};

static str keep(struct smtp_sender *sender, str text) {
  size_t at = sender->texts.len;
  buf_append_str(&sender->texts, text);
  return sender->texts.failed ? (str){NULL, 0} : str_make(sender->texts.data + at, text.len);
}

static enum net_tls tls_of(const struct smtp_options *options) {
  struct url url;
  if (options->insecure)
    return NET_TLS_NONE;
  return url_parse_mail(str_from_cstr(options->url), &url) && url_is_loopback(&url) ? NET_TLS_IF_OFFERED
                                                                                    : NET_TLS_REQUIRED;
}

status smtp_sender_new(const struct smtp_options *options, struct smtp_sender **ret) {
  struct smtp_sender *sender = calloc(1, sizeof *sender);
  if (sender == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to send mails.");
  str url = str_from_cstr(options->url), from = str_from_cstr(options->from),
      user = str_from_cstr(options->user);
  sender->net = options->net;
  sender->tls = tls_of(options);
  /* All at once, so that what is kept does not move. */
  status result = buf_reserve(&sender->texts, url.len + from.len + user.len + options->password.len + 1)
                      ? status_ok()
                      : status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to send mails.");
  if (status_is_ok(&result)) {
    sender->url = keep(sender, url);
    sender->user = keep(sender, user);
    sender->password = keep(sender, options->password);
    if (!mailbox_parse(keep(sender, from), &sender->from))
      result = status_make(STATUS_INVALID_ARGUMENT, "mail_from is no address: \"%s\".", options->from);
  }
  if (!status_is_ok(&result)) {
    smtp_sender_free(sender);
    return result;
  }
  str_split(sender->from.address, '@', &sender->domain);
  *ret = sender;
  return status_ok();
}

void smtp_sender_free(struct smtp_sender *sender) {
  if (sender == NULL)
    return;
  if (sender->texts.data != NULL)
    crypto_wipe(sender->texts.data, sender->texts.len);
  buf_fini(&sender->texts);
  free(sender);
}

static void append_message(const struct smtp_sender *sender, const struct mail_record *record,
                           struct buf *out) {
  struct buf id = {0};
  buf_printf(&id, STR_FMT "@" STR_FMT, STR_ARG(record->id), STR_ARG(sender->domain));
  struct mail_message message = {.from = sender->from,
                                 .to = record->to,
                                 .subject = record->subject,
                                 .text = record->text,
                                 .id = buf_str(&id),
                                 .date_us = record->created_us};
  mail_message_append(&message, out);
  out->failed = out->failed || id.failed;
  buf_fini(&id);
}

static enum mail_result judge(const struct net_response *response, char *ret_reason, size_t reason_size) {
  if (response->http_status == TAKEN) {
    ret_reason[0] = '\0';
    return MAIL_SENT;
  }
  snprintf(ret_reason, reason_size, "the mail server answered %u", (unsigned)response->http_status);
  return response->http_status >= PERMANENT ? MAIL_REFUSED : MAIL_LATER;
}

static enum mail_result send_mail(void *argument, const struct mail_record *record, char *ret_reason,
                                  size_t reason_size) {
  const struct smtp_sender *sender = argument;
  struct buf text = {0};
  struct net_answer answer = {0};
  append_message(sender, record, &text);
  struct net_mail mail = {.timeout_ms = TIMEOUT_MS,
                          .tls = sender->tls,
                          .url = sender->url,
                          .user = sender->user,
                          .password = sender->password,
                          .hello = sender->domain,
                          .from = sender->from.address,
                          .to = record->to,
                          .message = buf_str(&text)};
  status result = text.failed ? status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the mail.")
                              : net_client_mail(sender->net, &mail, &answer);
  enum mail_result outcome;
  if (status_is_ok(&result)) {
    outcome = judge(&answer.response, ret_reason, reason_size);
  } else {
    snprintf(ret_reason, reason_size, "%s", result.message);
    outcome =
        result.code == STATUS_INVALID_ARGUMENT ? MAIL_REFUSED : MAIL_AWAY; /* never a mail that we made */
  }
  net_answer_fini(&answer);
  buf_fini(&text);
  return outcome;
}

struct mail_sender smtp_sender_interface(struct smtp_sender *sender) {
  return (struct mail_sender){send_mail, sender};
}
