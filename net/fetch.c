#include <assert.h>
#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/fetch_inside.h"

enum {
  CONNECT_TIMEOUT_MS = 10000,
  CONNECTIONS_KEPT = 4,
  HEADER_BYTES_MAX = 64 * 1024,
  MAIL_REPLY_BYTES_MAX = 64 * 1024
};
static const char SYSTEM_AUTHORITIES[] = "/etc/ssl/certs";

struct fetch {
  struct fetch_options options;
  fetch_done *done;
  void *argument;
  CURLM *multi;
  struct transfer transfers[FETCH_ACTIVE_MAX];
  unsigned active;
};

status fetch_new(const struct fetch_options *options, fetch_done *done, void *argument, struct fetch **ret) {
  struct fetch *fetch = calloc(1, sizeof *fetch);
  if (fetch == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "no memory");
  fetch->options = *options;
  fetch->done = done;
  fetch->argument = argument;
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (fetch->multi = curl_multi_init()) == NULL) {
    free(fetch);
    return status_make(STATUS_FAILED_PRECONDITION, "libcurl does not start");
  }
  curl_multi_setopt(fetch->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
  *ret = fetch;
  return status_ok();
}

static void clear(struct transfer *transfer) {
  curl_slist_free_all(transfer->headers);
  buf_fini(&transfer->url);
  buf_fini(&transfer->request_body);
  buf_fini(&transfer->body);
  buf_fini(&transfer->header_bytes);
  memset(transfer, 0, sizeof *transfer);
}

void fetch_free(struct fetch *fetch) {
  for (unsigned i = 0; i < FETCH_ACTIVE_MAX; i++) {
    struct transfer *transfer = &fetch->transfers[i];
    if (transfer->easy == NULL)
      continue;
    curl_multi_remove_handle(fetch->multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    clear(transfer);
  }
  curl_multi_cleanup(fetch->multi);
  curl_global_cleanup();
  free(fetch);
}

unsigned fetch_active(const struct fetch *fetch) {
  return fetch->active;
}

static void answer_problem(struct fetch *fetch, uint32_t id, const char *problem) {
  struct net_response response = {.id = id, .problem = str_from_cstr(problem)};
  if (response.problem.len > NET_PROBLEM_BYTES_MAX)
    response.problem.len = NET_PROBLEM_BYTES_MAX;
  fetch->done(fetch->argument, &response);
}

/* ---- What comes back ---- */

static size_t take_body(char *bytes, size_t one, size_t len, void *argument) {
  struct transfer *transfer = argument;
  (void)one; /* 1 */
  transfer->too_large = transfer->too_large || len > transfer->body_bytes_max - transfer->body.len;
  if (transfer->too_large)
    return 0;
  buf_append(&transfer->body, bytes, len);
  return transfer->body.failed ? 0 : len;
}

static str trim(str text) {
  while (text.len > 0 && isspace((unsigned char)text.ptr[0]))
    text = str_from(text, 1);
  while (text.len > 0 && isspace((unsigned char)text.ptr[text.len - 1]))
    text.len--;
  return text;
}

static bool is_printable(str text) {
  for (size_t i = 0; i < text.len; i++)
    if ((unsigned char)text.ptr[i] < 0x20 && text.ptr[i] != '\t')
      return false;
  return true;
}

/* One line at a time; a status line begins a new set, as after "100 Continue". */
static size_t take_header(char *bytes, size_t one, size_t len, void *argument) {
  struct transfer *transfer = argument;
  (void)one;
  str line = str_make(bytes, len), value;
  if (str_has_prefix(line, STR("HTTP/"))) {
    transfer->header_count = 0;
    transfer->header_bytes.len = 0;
    return len;
  }
  str name = str_split(line, ':', &value);
  value = trim(value);
  bool fits = transfer->header_count < NET_HEADERS_MAX && name.len > 0 && value.ptr != NULL &&
              name.len + value.len <= NET_HEADER_BYTES_MAX &&
              transfer->header_bytes.len + name.len + value.len <= HEADER_BYTES_MAX && is_printable(value) &&
              memchr(name.ptr, ' ', name.len) == NULL;
  if (!fits)
    return len;
  for (size_t i = 0; i < name.len; i++)
    buf_append_byte(&transfer->header_bytes, (uint8_t)tolower((unsigned char)name.ptr[i]));
  buf_append_str(&transfer->header_bytes, value);
  transfer->name_len[transfer->header_count] = name.len;
  transfer->value_len[transfer->header_count++] = value.len;
  return transfer->header_bytes.failed ? 0 : len;
}

static const char *problem_of(const struct transfer *transfer, CURLcode result, long http_status) {
  if (transfer->too_large)
    return "the answer is too large";
  if (result == CURLE_OK && http_status > 0 && http_status <= 999)
    return NULL;
  return transfer->problem[0] != '\0' ? transfer->problem : curl_easy_strerror(result);
}

static void answer_mail(const struct transfer *transfer, CURLcode result) {
  const char *problem = NULL;
  struct net_response response = {.id = transfer->id};
  response.http_status = fetch_mail_outcome(transfer, result, &problem);
  if (response.http_status == 0)
    answer_problem(transfer->fetch, transfer->id, problem);
  else
    transfer->fetch->done(transfer->fetch->argument, &response);
}

static void answer(struct transfer *transfer, CURLcode result) {
  long http_status = 0;
  struct net_response response = {.id = transfer->id};
  if (transfer->is_mail) {
    answer_mail(transfer, result);
    return;
  }
  curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &http_status);
  const char *problem = problem_of(transfer, result, http_status);
  if (problem != NULL) {
    answer_problem(transfer->fetch, transfer->id, problem);
    return;
  }
  response.http_status = (uint16_t)http_status;
  response.body = buf_str(&transfer->body);
  const char *at = (const char *)transfer->header_bytes.data;
  for (size_t i = 0; i < transfer->header_count; i++) {
    response.headers[i].name = str_make(at, transfer->name_len[i]);
    response.headers[i].value = str_make(at + transfer->name_len[i], transfer->value_len[i]);
    at += transfer->name_len[i] + transfer->value_len[i];
  }
  response.header_count = transfer->header_count;
  transfer->fetch->done(transfer->fetch->argument, &response);
}

/* ---- What goes out ---- */

static const char NOT_ALLOWED[] = "the URL's host is not one of those that this server was told to reach";

static bool is_allowed(const struct fetch *fetch, const struct url *url) {
  for (size_t i = 0; i < fetch->options.origin_count; i++)
    if (url_same_origin(url, &fetch->options.origins[i]))
      return true;
  return false;
}

/* NULL, and the URL. */
static const char *refusal(const struct fetch *fetch, const struct net_request *request, struct url *ret) {
  if (!url_parse(request->url, ret))
    return "the URL is not one that is taken";
  if (ret->scheme != URL_HTTPS && !(fetch->options.loopback_http && url_is_loopback(ret)))
    return "only https is allowed";
  return is_allowed(fetch, ret) ? NULL : NOT_ALLOWED;
}

static const char *mail_refusal(const struct fetch *fetch, const struct net_mail *mail, struct url *ret) {
  if (!url_parse_mail(mail->url, ret))
    return "the mail server's URL is not one that is taken";
  if (mail->tls != NET_TLS_REQUIRED && !fetch->options.smtp_plaintext && !url_is_loopback(ret))
    return "mail without TLS is not allowed";
  return is_allowed(fetch, ret) ? NULL : NOT_ALLOWED;
}

static bool add_headers(struct transfer *transfer, const struct net_request *request) {
  for (size_t i = 0; i < request->header_count; i++) {
    struct buf line = {0};
    str value = request->headers[i].value;
    buf_append_str(&line, request->headers[i].name);
    buf_append_str(&line, value.len == 0 ? STR(";") : STR(": ")); /* libcurl's way to send an empty one */
    buf_append_str(&line, value);
    buf_append_byte(&line, '\0');
    struct curl_slist *longer =
        line.failed ? NULL : curl_slist_append(transfer->headers, (const char *)line.data);
    buf_fini(&line);
    if (longer == NULL)
      return false;
    transfer->headers = longer;
  }
  struct curl_slist *longer = curl_slist_append(transfer->headers, "Expect:");
  if (longer != NULL)
    transfer->headers = longer;
  return longer != NULL;
}

bool fetch_set_up_safety(const struct fetch_options *options, const struct url *url, CURL *easy) {
  const char *proxy = options->proxy != NULL && !url_is_loopback(url) ? options->proxy : "";
  str ca = options->ca_pem;
  struct curl_blob blob = {.data = (void *)(uintptr_t)ca.ptr, .len = ca.len, .flags = CURL_BLOB_NOCOPY};
  bool good = curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_PROXY, proxy) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
  if (good && ca.len > 0) /* in the place of the bundle; the directory has the same */
    good = curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CAPATH, SYSTEM_AUTHORITIES) == CURLE_OK;
  return good;
}

/* What every transfer has of its own. */
static bool set_up_any(struct transfer *transfer, const struct url *url, uint32_t timeout_ms) {
  CURL *easy = transfer->easy;
  long connect_ms = timeout_ms < CONNECT_TIMEOUT_MS ? (long)timeout_ms : CONNECT_TIMEOUT_MS;
  return fetch_set_up_safety(&transfer->fetch->options, url, easy) &&
         curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->problem) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer) == CURLE_OK;
}

static bool set_up(struct transfer *transfer, const struct net_request *request) {
  CURL *easy = transfer->easy;
  bool has_body = request->body.len > 0 || str_eq(request->method, STR("POST")) ||
                  str_eq(request->method, STR("PUT")) || str_eq(request->method, STR("PATCH"));
  const char *protocols = transfer->fetch->options.loopback_http ? "http,https" : "https";
  char method[8];
  snprintf(method, sizeof method, STR_FMT, STR_ARG(request->method));
  buf_append_str(&transfer->url, request->url);
  buf_append_byte(&transfer->url, '\0');
  buf_append_str(&transfer->request_body, request->body);
  if (transfer->url.failed || transfer->request_body.failed || !add_headers(transfer, request) ||
      curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, protocols) != CURLE_OK)
    return false;
  if (has_body &&
      (curl_easy_setopt(easy, CURLOPT_POST, 1L) != CURLE_OK ||
       curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)request->body.len) != CURLE_OK ||
       curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                        request->body.len == 0 ? "" : (const char *)transfer->request_body.data) != CURLE_OK))
    return false;
  return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_URL, (const char *)transfer->url.data) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_USERAGENT, "skerry-net") == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer) == CURLE_OK;
}

static struct transfer *take_place(struct fetch *fetch, uint32_t id) {
  struct transfer *transfer = fetch->transfers;
  while (transfer < fetch->transfers + FETCH_ACTIVE_MAX && transfer->easy != NULL)
    transfer++;
  assert(transfer < fetch->transfers + FETCH_ACTIVE_MAX);
  *transfer = (struct transfer){.fetch = fetch, .easy = curl_easy_init(), .id = id};
  return transfer;
}

static void begin(struct transfer *transfer, bool is_set_up) {
  struct fetch *fetch = transfer->fetch;
  if (is_set_up && curl_multi_add_handle(fetch->multi, transfer->easy) == CURLM_OK) {
    fetch->active++;
    return;
  }
  uint32_t id = transfer->id;
  curl_easy_cleanup(transfer->easy);
  clear(transfer);
  answer_problem(fetch, id, "there is no memory for the request");
}

void fetch_start(struct fetch *fetch, const struct net_request *request) {
  struct url url;
  const char *refused = refusal(fetch, request, &url);
  if (refused != NULL) {
    answer_problem(fetch, request->id, refused);
    return;
  }
  struct transfer *transfer = take_place(fetch, request->id);
  transfer->body_bytes_max = request->body_bytes_max;
  begin(transfer, transfer->easy != NULL && set_up_any(transfer, &url, request->timeout_ms) &&
                      set_up(transfer, request));
}

void fetch_start_mail(struct fetch *fetch, const struct net_mail *mail) {
  struct url url;
  const char *refused = mail_refusal(fetch, mail, &url);
  if (refused != NULL) {
    answer_problem(fetch, mail->id, refused);
    return;
  }
  struct transfer *transfer = take_place(fetch, mail->id);
  transfer->is_mail = true;
  transfer->body_bytes_max = MAIL_REPLY_BYTES_MAX;
  begin(transfer, transfer->easy != NULL && set_up_any(transfer, &url, mail->timeout_ms) &&
                      fetch_mail_set_up(transfer, mail, &url));
}

short fetch_wait(struct fetch *fetch, int fd, short events, int timeout_ms) {
  struct curl_waitfd extra = {.fd = fd,
                              .events = (short)(((events & POLLIN) != 0 ? CURL_WAIT_POLLIN : 0) |
                                                ((events & POLLOUT) != 0 ? CURL_WAIT_POLLOUT : 0))};
  int running, left;
  curl_multi_poll(fetch->multi, &extra, 1, timeout_ms, NULL);
  curl_multi_perform(fetch->multi, &running);
  for (const CURLMsg *message; (message = curl_multi_info_read(fetch->multi, &left)) != NULL;) {
    if (message->msg != CURLMSG_DONE)
      continue;
    CURL *easy = message->easy_handle;
    CURLcode result = message->data.result;
    struct transfer *transfer = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&transfer);
    assert(transfer != NULL && fetch->active > 0);
    answer(transfer, result);
    curl_multi_remove_handle(fetch->multi, easy);
    curl_easy_cleanup(easy);
    clear(transfer);
    fetch->active--;
  }
  struct pollfd again = {.fd = fd, .events = events}; /* what libcurl says of it leaves out a hang-up */
  return poll(&again, 1, 0) > 0 ? again.revents : 0;
}
