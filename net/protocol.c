#include "net/protocol.h"

enum { KIND_REQUEST = 1, KIND_RESPONSE = 2, KIND_MAIL = 3 };

/* ---- Writing ---- */

static void put_number(struct buf *out, uint32_t number, unsigned bytes) {
  for (unsigned i = bytes; i-- > 0;)
    buf_append_byte(out, (uint8_t)(number >> (8 * i)));
}

static void put_text(struct buf *out, str text) {
  put_number(out, (uint32_t)text.len, 4);
  buf_append_str(out, text);
}

/* RFC 9110, section 5.6.2. */
static bool is_token(str text) {
  static const char others[] = "!#$%&'*+-.^_`|~";
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && (c == '\0' || strchr(others, c) == NULL))
      return false;
  }
  return text.len > 0;
}

static bool is_field_value(str text) {
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i];
    if (c == 0x7f || (c < 0x20 && c != '\t'))
      return false;
  }
  return true;
}

static bool headers_are_good(const struct net_header *headers, size_t count) {
  for (size_t i = 0; i < count && i < NET_HEADERS_MAX; i++)
    if (!is_token(headers[i].name) || !is_field_value(headers[i].value) ||
        headers[i].name.len + headers[i].value.len > NET_HEADER_BYTES_MAX)
      return false;
  return count <= NET_HEADERS_MAX;
}

static void put_headers(struct buf *out, const struct net_header *headers, size_t count) {
  put_number(out, (uint32_t)count, 2);
  for (size_t i = 0; i < count; i++) {
    put_text(out, headers[i].name);
    put_text(out, headers[i].value);
  }
}

/* The length of the frame that began at `start`, or nothing of it. */
static bool finish_frame(struct buf *out, size_t start) {
  if (out->failed)
    return false;
  size_t len = out->len - start - NET_FRAME_HEAD_BYTES;
  if (len > NET_FRAME_BYTES_MAX) {
    out->len = start;
    return false;
  }
  for (unsigned i = 0; i < NET_FRAME_HEAD_BYTES; i++)
    out->data[start + i] = (uint8_t)(len >> (8 * (NET_FRAME_HEAD_BYTES - 1 - i)));
  return true;
}

static bool is_method(str method) {
  return str_eq(method, STR("GET")) || str_eq(method, STR("POST")) || str_eq(method, STR("PUT")) ||
         str_eq(method, STR("PATCH")) || str_eq(method, STR("DELETE"));
}

static bool request_is_good(const struct net_request *r) {
  return is_method(r->method) && r->timeout_ms > 0 && r->timeout_ms <= NET_TIMEOUT_MS_MAX &&
         r->body_bytes_max <= NET_BODY_BYTES_MAX && r->body.len <= NET_BODY_BYTES_MAX &&
         headers_are_good(r->headers, r->header_count);
}

bool net_request_encode(const struct net_request *request, struct buf *out) {
  if (!request_is_good(request))
    return false;
  size_t start = out->len;
  put_number(out, 0, NET_FRAME_HEAD_BYTES);
  buf_append_byte(out, KIND_REQUEST);
  put_number(out, request->id, 4);
  put_number(out, request->timeout_ms, 4);
  put_number(out, request->body_bytes_max, 4);
  put_text(out, request->method);
  put_text(out, request->url);
  put_headers(out, request->headers, request->header_count);
  put_text(out, request->body);
  return finish_frame(out, start);
}

static bool response_is_good(const struct net_response *r) {
  return r->problem.len <= NET_PROBLEM_BYTES_MAX && r->body.len <= NET_BODY_BYTES_MAX &&
         headers_are_good(r->headers, r->header_count);
}

bool net_response_encode(const struct net_response *response, struct buf *out) {
  if (!response_is_good(response))
    return false;
  size_t start = out->len;
  put_number(out, 0, NET_FRAME_HEAD_BYTES);
  buf_append_byte(out, KIND_RESPONSE);
  put_number(out, response->id, 4);
  put_number(out, response->http_status, 2);
  put_text(out, response->problem);
  put_headers(out, response->headers, response->header_count);
  put_text(out, response->body);
  return finish_frame(out, start);
}

/* One line of SMTP has it: no control characters, and ASCII. Spaces are for passwords alone. */
static bool is_mail_word(str text, char first, size_t least) {
  for (size_t i = 0; i < text.len; i++)
    if (text.ptr[i] < first || text.ptr[i] > '~')
      return false;
  return text.len >= least && text.len <= NET_MAIL_WORD_BYTES_MAX;
}

static bool has_char(str text, char c) {
  for (size_t i = 0; i < text.len; i++)
    if (text.ptr[i] == c)
      return true;
  return false;
}

static bool is_mail_address(str text) {
  return is_mail_word(text, '!', 3) && !has_char(text, '<') && !has_char(text, '>');
}

static bool mail_is_good(const struct net_mail *m) {
  return m->timeout_ms > 0 && m->timeout_ms <= NET_TIMEOUT_MS_MAX && m->tls <= NET_TLS_NONE &&
         is_mail_word(m->user, ' ', 0) && is_mail_word(m->password, ' ', 0) &&
         is_mail_word(m->hello, '!', 1) && !has_char(m->hello, '/') && is_mail_address(m->from) &&
         is_mail_address(m->to) && m->message.len > 0 && m->message.len <= NET_BODY_BYTES_MAX;
}

bool net_mail_encode(const struct net_mail *mail, struct buf *out) {
  if (!mail_is_good(mail))
    return false;
  size_t start = out->len;
  put_number(out, 0, NET_FRAME_HEAD_BYTES);
  buf_append_byte(out, KIND_MAIL);
  put_number(out, mail->id, 4);
  put_number(out, mail->timeout_ms, 4);
  put_number(out, mail->tls, 1);
  put_text(out, mail->url);
  put_text(out, mail->user);
  put_text(out, mail->password);
  put_text(out, mail->hello);
  put_text(out, mail->from);
  put_text(out, mail->to);
  put_text(out, mail->message);
  return finish_frame(out, start);
}

/* ---- Reading ---- */

/* What is left; once something is missing it is broken, and all that is read is empty. */
struct reader {
  str rest;
  bool broken;
};

static uint32_t take_number(struct reader *in, unsigned bytes) {
  uint32_t number = 0;
  if (in->broken || in->rest.len < bytes) {
    in->broken = true;
    return 0;
  }
  for (unsigned i = 0; i < bytes; i++)
    number = number << 8 | (uint8_t)in->rest.ptr[i];
  in->rest = str_from(in->rest, bytes);
  return number;
}

static str take_text(struct reader *in) {
  uint32_t len = take_number(in, 4);
  if (in->broken || in->rest.len < len) {
    in->broken = true;
    return (str){NULL, 0};
  }
  str text = str_make(in->rest.ptr, len);
  in->rest = str_from(in->rest, len);
  return text;
}

static size_t take_headers(struct reader *in, struct net_header *headers) {
  size_t count = take_number(in, 2);
  if (count > NET_HEADERS_MAX) {
    in->broken = true;
    return 0;
  }
  for (size_t i = 0; i < count; i++) {
    headers[i].name = take_text(in);
    headers[i].value = take_text(in);
  }
  return count;
}

enum net_frame net_frame_take(str *bytes, str *ret_payload) {
  struct reader in = {.rest = *bytes};
  uint32_t len = take_number(&in, NET_FRAME_HEAD_BYTES);
  if (in.broken)
    return NET_FRAME_INCOMPLETE;
  if (len > NET_FRAME_BYTES_MAX)
    return NET_FRAME_BROKEN;
  if (in.rest.len < len)
    return NET_FRAME_INCOMPLETE;
  *ret_payload = str_make(in.rest.ptr, len);
  *bytes = str_from(in.rest, len);
  return NET_FRAME_WHOLE;
}

bool net_request_decode(str payload, struct net_request *ret) {
  struct reader in = {.rest = payload};
  in.broken = take_number(&in, 1) != KIND_REQUEST;
  ret->id = take_number(&in, 4);
  ret->timeout_ms = take_number(&in, 4);
  ret->body_bytes_max = take_number(&in, 4);
  ret->method = take_text(&in);
  ret->url = take_text(&in);
  ret->header_count = take_headers(&in, ret->headers);
  ret->body = take_text(&in);
  return !in.broken && in.rest.len == 0 && request_is_good(ret);
}

bool net_response_decode(str payload, struct net_response *ret) {
  struct reader in = {.rest = payload};
  in.broken = take_number(&in, 1) != KIND_RESPONSE;
  ret->id = take_number(&in, 4);
  ret->http_status = (uint16_t)take_number(&in, 2);
  ret->problem = take_text(&in);
  ret->header_count = take_headers(&in, ret->headers);
  ret->body = take_text(&in);
  return !in.broken && in.rest.len == 0 && response_is_good(ret);
}

bool net_mail_decode(str payload, struct net_mail *ret) {
  struct reader in = {.rest = payload};
  in.broken = take_number(&in, 1) != KIND_MAIL;
  ret->id = take_number(&in, 4);
  ret->timeout_ms = take_number(&in, 4);
  ret->tls = (enum net_tls)take_number(&in, 1);
  ret->url = take_text(&in);
  ret->user = take_text(&in);
  ret->password = take_text(&in);
  ret->hello = take_text(&in);
  ret->from = take_text(&in);
  ret->to = take_text(&in);
  ret->message = take_text(&in);
  return !in.broken && in.rest.len == 0 && mail_is_good(ret);
}

str net_response_header(const struct net_response *response, str name) {
  for (size_t i = 0; i < response->header_count; i++)
    if (str_eq(response->headers[i].name, name))
      return response->headers[i].value;
  return (str){NULL, 0};
}
