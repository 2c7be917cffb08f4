#include "server/listener/http1_guard.h"

#include <string.h>
#include <strings.h>

enum { LENGTH_DIGITS_MAX = 15, CHUNK_DIGITS_MAX = 8 };

static bool is_token(uint8_t c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static void begin_line(struct http1_guard *g, enum http1_state state) {
  g->state = state;
  g->line_len = 0;
  g->saw_cr = false;
  g->in_name = true;
  g->spaces = 0;
}

static void begin_request(struct http1_guard *g) {
  begin_line(g, HTTP1_REQUEST_LINE);
  g->head_bytes = 0;
  g->has_length = g->has_chunks = false;
  g->left = 0;
}

/* ---- Lines that are complete ---- */

/* "GET /path HTTP/1.1": two spaces, and the version at the end. */
static const char *end_request_line(struct http1_guard *g) {
  static const char version[] = " HTTP/1.1";
  if (g->line_len < sizeof version - 1 || g->spaces != 2)
    return "a request line that is none";
  for (size_t i = 0; i < sizeof version - 1; i++) {
    char c = g->tail[(g->line_len - (sizeof version - 1) + i) % HTTP1_TAIL_KEPT];
    bool is_last = i + 2 == sizeof version;
    if (c != version[i] && !(is_last && c == '0'))
      return "a request line that is none";
  }
  begin_line(g, HTTP1_HEADERS);
  return NULL;
}

/* The value of the header that the line is, if it is this one; NULL otherwise. *ret_len: without white space
 * around it. A value that was not kept in whole comes without its end: no value that is taken is so long. */
static const char *value_of(const struct http1_guard *g, const char *name, size_t *ret_len) {
  size_t name_len = strlen(name), kept = g->line_len < HTTP1_LINE_KEPT ? g->line_len : HTTP1_LINE_KEPT;
  if (kept <= name_len || g->line[name_len] != ':' || strncasecmp(g->line, name, name_len) != 0)
    return NULL;
  const char *value = g->line + name_len + 1, *end = g->line + kept;
  while (value < end && (*value == ' ' || *value == '\t'))
    value++;
  while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
    end--;
  *ret_len = (size_t)(end - value);
  return value;
}

static const char *read_length(struct http1_guard *g, const char *value, size_t len) {
  if (g->has_length)
    return "two lengths of a body";
  if (len == 0 || len > LENGTH_DIGITS_MAX || g->line_len > HTTP1_LINE_KEPT)
    return "a Content-Length that is no number";
  g->has_length = true;
  g->left = 0;
  for (size_t i = 0; i < len; i++) {
    if (value[i] < '0' || value[i] > '9')
      return "a Content-Length that is no number";
    g->left = g->left * 10 + (uint64_t)(value[i] - '0');
  }
  return NULL;
}

static const char *end_header(struct http1_guard *g) {
  size_t len;
  if (g->in_name)
    return "a header without a colon";
  const char *value = value_of(g, "Content-Length", &len);
  if (value != NULL) {
    const char *wrong = read_length(g, value, len);
    if (wrong != NULL)
      return wrong;
  }
  value = value_of(g, "Transfer-Encoding", &len);
  if (value != NULL) {
    bool is_chunked = len == 7 && strncasecmp(value, "chunked", 7) == 0 && g->line_len <= HTTP1_LINE_KEPT;
    if (g->has_chunks || !is_chunked)
      return "a Transfer-Encoding other than \"chunked\"";
    g->has_chunks = true;
  }
  begin_line(g, HTTP1_HEADERS);
  return NULL;
}

static const char *end_head(struct http1_guard *g) {
  g->requests++;
  if (g->has_length && g->has_chunks)
    return "a length of the body and chunks";
  if (g->has_chunks)
    begin_line(g, HTTP1_CHUNK_LINE);
  else if (g->left > 0)
    g->state = HTTP1_BODY;
  else
    begin_request(g);
  return NULL;
}

static const char *end_chunk_line(struct http1_guard *g) {
  size_t digits = 0;
  g->left = 0;
  while (digits < g->line_len && digits < HTTP1_LINE_KEPT && g->line[digits] != ';') {
    char c = g->line[digits];
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0 || digits == CHUNK_DIGITS_MAX)
      return "a chunk whose size is no number";
    g->left = g->left << 4 | (uint64_t)digit;
    digits++;
  }
  if (digits == 0)
    return "a chunk whose size is no number";
  if (g->left > 0)
    g->state = HTTP1_CHUNK;
  else
    begin_line(g, HTTP1_TRAILERS);
  return NULL;
}

static const char *end_line(struct http1_guard *g) {
  switch (g->state) {
  case HTTP1_REQUEST_LINE:
    return end_request_line(g);
  case HTTP1_HEADERS:
    return g->line_len == 0 ? end_head(g) : end_header(g);
  case HTTP1_CHUNK_LINE:
    return end_chunk_line(g);
  case HTTP1_CHUNK_END:
    if (g->line_len > 0)
      return "bytes behind a chunk";
    begin_line(g, HTTP1_CHUNK_LINE);
    return NULL;
  case HTTP1_TRAILERS:
    if (g->line_len == 0)
      begin_request(g);
    else if (g->in_name)
      return "a trailer without a colon";
    else
      begin_line(g, HTTP1_TRAILERS);
    return NULL;
  case HTTP1_BODY:
  case HTTP1_CHUNK:
    break;
  }
  return "a line where none is";
}

/* ---- Bytes of a line ---- */

static const char *check_name(struct http1_guard *g, uint8_t c) {
  if (!g->in_name)
    return NULL;
  if (g->line_len == 0 && (c == ' ' || c == '\t'))
    return "a header line that goes on in the next";
  if (c == ':' && g->line_len > 0)
    g->in_name = false;
  else if (!is_token(c))
    return "a header's name with a character that names do not have";
  return NULL;
}

static const char *take_line_byte(struct http1_guard *g, uint8_t c) {
  const char *wrong = NULL;
  if (++g->head_bytes > HTTP1_HEAD_BYTES_MAX)
    return "a head without an end";
  if (g->saw_cr)
    return c == '\n' ? end_line(g) : "a carriage return without a line feed";
  if (c == '\r') {
    g->saw_cr = true;
    return NULL;
  }
  if (c == '\n')
    return "a line feed without a carriage return";
  if ((c < 0x20 && c != '\t') || c == 0x7f)
    return "a control character";
  if (g->state == HTTP1_HEADERS || g->state == HTTP1_TRAILERS)
    wrong = check_name(g, c);
  else if (g->state == HTTP1_REQUEST_LINE && (c == '\t' || c > 0x7f || (g->line_len == 0 && !is_token(c))))
    wrong = "a request line that is none";
  g->spaces += c == ' ';
  if (g->line_len < HTTP1_LINE_KEPT)
    g->line[g->line_len] = (char)c;
  g->tail[g->line_len % HTTP1_TAIL_KEPT] = (char)c;
  g->line_len++;
  return wrong;
}

/* Passes over as much of a body or chunk as is there; how much. */
static size_t take_data(struct http1_guard *g, size_t len) {
  size_t taken = len < g->left ? len : (size_t)g->left;
  g->left -= taken;
  if (g->left > 0)
    return taken;
  if (g->state == HTTP1_BODY) {
    begin_request(g);
  } else {
    begin_line(g, HTTP1_CHUNK_END);
    g->head_bytes = 0;
  }
  return taken;
}

const char *http1_guard_take(struct http1_guard *g, const uint8_t *bytes, size_t len) {
  size_t at = 0;
  while (at < len) {
    if (g->state == HTTP1_BODY || g->state == HTTP1_CHUNK) {
      at += take_data(g, len - at);
      continue;
    }
    const char *wrong = take_line_byte(g, bytes[at++]);
    if (wrong != NULL)
      return wrong;
  }
  return NULL;
}

bool http1_guard_is_between(const struct http1_guard *guard) {
  return guard->state == HTTP1_REQUEST_LINE && guard->head_bytes == 0;
}
