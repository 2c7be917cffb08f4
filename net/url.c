#include "net/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <strings.h>

static bool is_printable(str text) {
  for (size_t i = 0; i < text.len; i++)
    if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f || text.ptr[i] == '\\' || text.ptr[i] == '#')
      return false;
  return true;
}

static bool has_prefix_nocase(str text, const char *prefix) {
  size_t len = strlen(prefix);
  return text.len >= len && strncasecmp(text.ptr, prefix, len) == 0;
}

static bool is_name(str host) {
  for (size_t i = 0; i < host.len; i++) {
    char c = host.ptr[i];
    bool dot = c == '.';
    if (!isalnum((unsigned char)c) && c != '-' && c != '_' && !dot)
      return false;
    if (dot && (i == 0 || host.ptr[i - 1] == '.'))
      return false;
  }
  return host.len > 0;
}

static bool is_ipv6(str host) {
  char text[INET6_ADDRSTRLEN];
  struct in6_addr address;
  if (host.len < 4 || host.len - 2 >= sizeof text || host.ptr[host.len - 1] != ']')
    return false;
  memcpy(text, host.ptr + 1, host.len - 2);
  text[host.len - 2] = '\0';
  return inet_pton(AF_INET6, text, &address) == 1;
}

static bool parse_port(str text, uint16_t *ret) {
  uint64_t number;
  if (text.len > 5 || !str_to_u64(text, &number) || number == 0 || number > UINT16_MAX)
    return false;
  *ret = (uint16_t)number;
  return true;
}

static const struct {
  const char *prefix;
  uint16_t port;
} schemes[] = {[URL_HTTP] = {"http://", 80},
               [URL_HTTPS] = {"https://", 443},
               [URL_SMTP] = {"smtp://", 587},
               [URL_SMTPS] = {"smtps://", 465}};

/* "host", "host:port", and the same with an IPv6 address in brackets; the port stays as it is where there is
 * none. */
static bool parse_authority(str authority, struct url *url) {
  str port = {NULL, 0};
  if (authority.len > 0 && authority.ptr[0] == '[') {
    size_t close = 0;
    while (close < authority.len && authority.ptr[close] != ']')
      close++;
    if (close == authority.len)
      return false;
    url->host = str_make(authority.ptr, close + 1);
    str after = str_from(authority, close + 1);
    if (after.len > 0 && after.ptr[0] != ':')
      return false;
    port = after.len > 0 ? str_from(after, 1) : port;
    if (!is_ipv6(url->host) || (after.len > 0 && port.len == 0))
      return false;
  } else {
    url->host = str_split(authority, ':', &port);
    if (url->host.len > URL_HOST_BYTES_MAX || !is_name(url->host) || (port.ptr != NULL && port.len == 0))
      return false;
  }
  return port.len == 0 || parse_port(port, &url->port);
}

static bool parse(str text, enum url_scheme scheme, struct url *ret) {
  struct url url = {.scheme = scheme, .port = schemes[scheme].port};
  if (text.len > URL_BYTES_MAX || !is_printable(text) || !has_prefix_nocase(text, schemes[scheme].prefix))
    return false;
  str rest = str_from(text, strlen(schemes[scheme].prefix));
  size_t end = 0;
  while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
    end++;
  url.target = str_from(rest, end);
  if (url.target.len > 0 && url.target.ptr[0] == '?')
    return false; /* allowed by the RFC, wanted by nobody */
  if (!parse_authority(str_make(rest.ptr, end), &url))
    return false;
  *ret = url;
  return true;
}

bool url_parse(str text, struct url *ret) {
  return parse(text, URL_HTTPS, ret) || parse(text, URL_HTTP, ret);
}

bool url_parse_mail(str text, struct url *ret) {
  return (parse(text, URL_SMTPS, ret) || parse(text, URL_SMTP, ret)) && ret->target.len == 0;
}

bool url_same_origin(const struct url *a, const struct url *b) {
  return a->scheme == b->scheme && a->port == b->port && a->host.len == b->host.len &&
         strncasecmp(a->host.ptr, b->host.ptr, a->host.len) == 0;
}

bool url_is_loopback(const struct url *url) {
  char text[INET_ADDRSTRLEN];
  struct in_addr address;
  if (url->host.len == 9 && strncasecmp(url->host.ptr, "localhost", 9) == 0)
    return true;
  if (str_eq(url->host, STR("[::1]")))
    return true;
  if (url->host.len >= sizeof text)
    return false;
  memcpy(text, url->host.ptr, url->host.len);
  text[url->host.len] = '\0';
  return inet_pton(AF_INET, text, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

void url_append_origin(const struct url *url, struct buf *out) {
  buf_append_str(out, str_from_cstr(schemes[url->scheme].prefix));
  for (size_t i = 0; i < url->host.len; i++)
    buf_append_byte(out, (uint8_t)tolower((unsigned char)url->host.ptr[i]));
  buf_printf(out, ":%u", (unsigned)url->port);
}
