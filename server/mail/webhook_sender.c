#include "server/mail/webhook_sender.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crypto_kdf.h"
#include "server/json/json_time.h"
#include "server/json/json_write.h"

enum { TIMEOUT_MS = 30 * 1000, ANSWER_BYTES_MAX = 64 * 1024, HEX_BYTES = 2 * CRYPTO_SHA256_BYTES };

struct webhook_sender {
  struct net_client *net;
  struct port *port;
  struct buf texts; /* url, from and key, one after the other */
  str url, from, key;
};

status webhook_sender_new(const struct webhook_options *options, struct webhook_sender **ret) {
  if (options->key.len < WEBHOOK_KEY_BYTES_MIN)
    return status_make(STATUS_INVALID_ARGUMENT, "The key in mail_webhook_key_file has fewer than %d bytes.",
                       WEBHOOK_KEY_BYTES_MIN);
  struct webhook_sender *sender = calloc(1, sizeof *sender);
  str url = str_from_cstr(options->url), from = str_from_cstr(options->from);
  if (sender == NULL || !buf_reserve(&sender->texts, url.len + from.len + options->key.len + 1)) {
    free(sender);
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to send mails.");
  }
  sender->net = options->net;
  sender->port = options->port;
  buf_append_str(&sender->texts, url);
  buf_append_str(&sender->texts, from);
  buf_append_str(&sender->texts, options->key);
  sender->url = str_make(sender->texts.data, url.len);
  sender->from = str_make(sender->texts.data + url.len, from.len);
  sender->key = str_make(sender->texts.data + url.len + from.len, options->key.len);
  *ret = sender;
  return status_ok();
}

void webhook_sender_free(struct webhook_sender *sender) {
  if (sender == NULL)
    return;
  crypto_wipe(sender->texts.data, sender->texts.len);
  buf_fini(&sender->texts);
  free(sender);
}

/* ---- The body ---- */

/* Texts were checked when the mail was made; what is no UTF-8 all the same is left out. */
static void append_member(const char *name, str value, struct buf *out) {
  size_t before = out->len;
  buf_printf(out, ",\"%s\":", name);
  if (value.len == 0 || !json_write_string(value, out))
    out->len = before;
}

static void append_time(const char *name, int64_t us, struct buf *out) {
  size_t before = out->len;
  buf_printf(out, ",\"%s\":\"", name);
  if (json_timestamp_write(us / 1000000, 0, out))
    buf_append_byte(out, '"');
  else
    out->len = before;
}

static void append_body(const struct webhook_sender *sender, const struct mail_record *record,
                        struct buf *out) {
  buf_printf(out, "{\"id\":\"" STR_FMT "\"", STR_ARG(record->id));
  append_member("kind", str_from_cstr(mail_kind_name(record->kind)), out);
  append_member("project", record->project, out);
  append_member("from", sender->from, out);
  append_member("to", record->to, out);
  append_member("email", record->email, out);
  append_member("newEmail", record->new_email, out);
  append_member("displayName", record->display_name, out);
  append_member("link", record->link, out);
  append_member("code", record->code, out);
  append_member("subject", record->subject, out);
  append_member("text", record->text, out);
  append_time("createdAt", record->created_us, out);
  append_time("expiresAt", record->expires_us, out);
  buf_append_byte(out, '}');
}

/* "v1=" and the HMAC of the timestamp, a full stop and the body. */
static void sign(str key, str timestamp, str body, char ret[3 + HEX_BYTES + 1]) {
  uint8_t mac[CRYPTO_DIGEST_BYTES_MAX];
  char head[32];
  int len = snprintf(head, sizeof head, STR_FMT ".", STR_ARG(timestamp));
  crypto_hmac_of(CRYPTO_SHA256, key, str_make(head, (size_t)len), body, mac);
  memcpy(ret, "v1=", 3);
  for (unsigned i = 0; i < CRYPTO_SHA256_BYTES; i++)
    snprintf(ret + 3 + 2 * i, 3, "%02x", mac[i]);
}

/* ---- Sending ---- */

static enum mail_result judge(unsigned http_status, char *ret_reason, size_t reason_size) {
  ret_reason[0] = '\0';
  if (http_status >= 200 && http_status < 300)
    return MAIL_SENT;
  snprintf(ret_reason, reason_size, "the webhook answered with HTTP status %u", http_status);
  switch (http_status) {
  case 400:
  case 404:
  case 410:
  case 413:
  case 422:
    return MAIL_REFUSED;
  case 408:
  case 409:
  case 425:
  case 429:
    return MAIL_LATER;
  default:
    return http_status >= 500 && http_status < 600 ? MAIL_LATER : MAIL_AWAY;
  }
}

static enum mail_result post(const struct webhook_sender *sender, const struct mail_record *record, str body,
                             char *ret_reason, size_t reason_size) {
  char timestamp[24], signature[3 + HEX_BYTES + 1];
  struct net_answer answer = {0};
  snprintf(timestamp, sizeof timestamp, "%" PRId64, sender->port->wall_us(sender->port) / 1000000);
  sign(sender->key, str_from_cstr(timestamp), body, signature);
  struct net_request request = {.timeout_ms = TIMEOUT_MS,
                                .body_bytes_max = ANSWER_BYTES_MAX,
                                .method = STR("POST"),
                                .url = sender->url,
                                .headers = {{STR("content-type"), STR("application/json")},
                                            {STR("idempotency-key"), record->id},
                                            {STR("skerry-timestamp"), str_from_cstr(timestamp)},
                                            {STR("skerry-signature"), str_from_cstr(signature)}},
                                .header_count = 4,
                                .body = body};
  status result = net_client_fetch(sender->net, &request, &answer);
  if (!status_is_ok(&result)) {
    snprintf(ret_reason, reason_size, "%s", result.message);
    return MAIL_AWAY;
  }
  enum mail_result outcome = judge(answer.response.http_status, ret_reason, reason_size);
  net_answer_fini(&answer);
  return outcome;
}

static enum mail_result send_mail(void *argument, const struct mail_record *record, char *ret_reason,
                                  size_t reason_size) {
  struct buf body = {0};
  enum mail_result outcome = MAIL_AWAY;
  append_body(argument, record, &body);
  if (body.failed)
    snprintf(ret_reason, reason_size, "there is no memory for the mail");
  else
    outcome = post(argument, record, buf_str(&body), ret_reason, reason_size);
  buf_fini(&body);
  return outcome;
}

struct mail_sender webhook_sender_interface(struct webhook_sender *sender) {
  return (struct mail_sender){send_mail, sender};
}
