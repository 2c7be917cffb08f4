#include <string.h>

#include "net/fetch_inside.h"

enum { TAKEN = 250, REFUSALS_FROM = 400, REFUSALS_TO = 599 };

static size_t give_text(char *out, size_t one, size_t size, void *argument) {
  struct transfer *transfer = argument;
  size_t left = transfer->request_body.len - transfer->request_sent;
  size_t len = left < one * size ? left : one * size;
  if (len > 0)
    memcpy(out, transfer->request_body.data + transfer->request_sent, len);
  transfer->request_sent += len;
  return len;
}

/* libcurl copies what it is given, so all of it goes through one buffer, which is wiped. */
static bool set_text(CURL *easy, CURLoption option, str text) {
  char copy[NET_MAIL_WORD_BYTES_MAX + 1];
  if (text.len > NET_MAIL_WORD_BYTES_MAX)
    return false;
  memcpy(copy, text.ptr == NULL ? "" : text.ptr, text.len);
  copy[text.len] = '\0';
  bool set = curl_easy_setopt(easy, option, copy) == CURLE_OK;
  explicit_bzero(copy, sizeof copy);
  return set;
}

static bool add_recipient(struct transfer *transfer, str address) {
  char copy[NET_MAIL_WORD_BYTES_MAX + 1];
  if (address.len > NET_MAIL_WORD_BYTES_MAX)
    return false;
  memcpy(copy, address.ptr, address.len);
  copy[address.len] = '\0';
  transfer->headers = curl_slist_append(NULL, copy);
  return transfer->headers != NULL &&
         curl_easy_setopt(transfer->easy, CURLOPT_MAIL_RCPT, transfer->headers) == CURLE_OK;
}

bool fetch_mail_set_up(struct transfer *transfer, const struct net_mail *mail, const struct url *url) {
  static const long tls[] = {[NET_TLS_REQUIRED] = CURLUSESSL_ALL,
                             [NET_TLS_IF_OFFERED] = CURLUSESSL_TRY,
                             [NET_TLS_NONE] = CURLUSESSL_NONE};
  CURL *easy = transfer->easy;
  long use_tls = url->scheme == URL_SMTPS ? CURLUSESSL_ALL : tls[mail->tls];
  /* The path of such a URL is what libcurl says as its own name. */
  url_append_origin(url, &transfer->url);
  buf_append_byte(&transfer->url, '/');
  buf_append_str(&transfer->url, mail->hello);
  buf_append_byte(&transfer->url, '\0');
  buf_append_str(&transfer->request_body, mail->message);
  return !transfer->url.failed && !transfer->request_body.failed &&
         (mail->user.len == 0 || (set_text(easy, CURLOPT_USERNAME, mail->user) &&
                                  set_text(easy, CURLOPT_PASSWORD, mail->password))) &&
         set_text(easy, CURLOPT_MAIL_FROM, mail->from) && add_recipient(transfer, mail->to) &&
         curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps") == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_URL, (const char *)transfer->url.data) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_USE_SSL, use_tls) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_INFILESIZE, (long)mail->message.len) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_text) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_READDATA, transfer) == CURLE_OK;
}

/* Replies that are about us, not about the mail: we are not let in, have to sign in, or may not send as this
 * sender. 500 to 504 say that a command is none; but at RCPT that the address is not one (Postfix has 504 for
 * names that are not complete), and whoever can ask for a mail chooses the address. */
static bool is_about_us(const struct transfer *transfer, CURLcode result, long reply) {
  bool of_recipient = strncmp(transfer->problem, "RCPT failed", 11) == 0;
  return result == CURLE_LOGIN_DENIED || result == CURLE_USE_SSL_FAILED || reply == 421 || reply == 454 ||
         (reply >= 500 && reply <= 504 && !of_recipient) || (reply >= 530 && reply <= 538) ||
         strncmp(transfer->problem, "MAIL failed", 11) == 0;
}

/* The last reply is one to this mail if libcurl gave up at MAIL, RCPT or DATA, which it calls an error of
 * sending, or if it had given the text. */
uint16_t fetch_mail_outcome(const struct transfer *transfer, CURLcode result, const char **ret_problem) {
  long reply = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &reply);
  if (result == CURLE_OK)
    return TAKEN;
  *ret_problem = transfer->problem[0] != '\0' ? transfer->problem : curl_easy_strerror(result);
  bool to_mail = result == CURLE_SEND_ERROR || transfer->request_sent == transfer->request_body.len;
  bool refused = to_mail && reply >= REFUSALS_FROM && reply <= REFUSALS_TO;
  return refused && !is_about_us(transfer, result, reply) ? (uint16_t)reply : 0;
}
