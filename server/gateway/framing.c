#include "server/gateway/framing.h"

#include <strings.h>

void framing_init(struct framing *framing, const char *version) {
  *framing = (struct framing){.is_http_1_0 = strcmp(version, "HTTP/1.0") == 0};
}

static bool is_called(str name, const char *wanted) {
  return name.len == strlen(wanted) && strncasecmp(name.ptr, wanted, name.len) == 0;
}

static bool is_token(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* RFC 9110, section 5: no controls but the tab in a value, and a name that is a token. */
static bool is_clean(str name, str value) {
  for (size_t i = 0; i < name.len; i++)
    if (!is_token(name.ptr[i]))
      return false;
  for (size_t i = 0; i < value.len; i++) {
    unsigned char c = (unsigned char)value.ptr[i];
    if ((c < 0x20 && c != '\t') || c == 0x7f)
      return false;
  }
  return name.len > 0;
}

/* A weight: any digit but 0. */
static bool is_positive(str text) {
  for (size_t i = 0; i < text.len; i++)
    if (text.ptr[i] >= '1' && text.ptr[i] <= '9')
      return true;
  return false;
}

/* "gzip" with a weight that is not 0. */
static bool names_gzip(str list) {
  while (list.len > 0) {
    str parameters, item = str_split(list, ',', &list);
    item = str_split(item, ';', &parameters);
    while (item.len > 0 && (item.ptr[0] == ' ' || item.ptr[0] == '\t'))
      item = str_from(item, 1);
    while (item.len > 0 && (item.ptr[item.len - 1] == ' ' || item.ptr[item.len - 1] == '\t'))
      item.len--;
    if (!is_called(item, "gzip"))
      continue;
    for (size_t i = 0; i + 1 < parameters.len; i++)
      if ((parameters.ptr[i] == 'q' || parameters.ptr[i] == 'Q') && parameters.ptr[i + 1] == '=')
        return is_positive(str_from(parameters, i + 2));
    return true;
  }
  return false;
}

void framing_header(void *argument, str name, str value) {
  struct framing *f = argument;
  if (!is_clean(name, value)) {
    f->wrong = "A header holds characters that are not allowed there.";
  } else if (is_called(name, "content-length")) {
    if (f->has_length)
      f->wrong = "The request has more than one Content-Length.";
    else if (!str_to_u64(value, &f->length))
      f->wrong = "The Content-Length is not a number.";
    f->has_length = true;
  } else if (is_called(name, "transfer-encoding")) {
    if (f->has_chunks || !is_called(value, "chunked"))
      f->wrong = "The only Transfer-Encoding that is taken is \"chunked\", once.";
    f->has_chunks = true;
  } else if (is_called(name, "host")) {
    f->hosts++;
  } else if (is_called(name, "accept-encoding")) {
    f->accepts_gzip = f->accepts_gzip || names_gzip(value);
  }
}

const char *framing_wrong(const struct framing *f) {
  if (f->wrong != NULL)
    return f->wrong;
  if (f->has_length && f->has_chunks)
    return "The request has a Content-Length and a Transfer-Encoding.";
  if (f->has_chunks && f->is_http_1_0)
    return "HTTP/1.0 has no Transfer-Encoding.";
  if (f->hosts > 1 || (f->hosts == 0 && !f->is_http_1_0))
    return "The request must have one Host header.";
  return NULL;
}
