#include "server/mail/address.h"

#include <ctype.h>

#include "base/utf8.h"

enum { LOCAL_BYTES_MAX = 64, LABEL_BYTES_MAX = 63 };

static bool is_atom(char c) {
  static const char others[] = "!#$%&'*+-/=?^_`{|}~";
  return isalnum((unsigned char)c) || (c != '\0' && strchr(others, c) != NULL);
}

static bool is_local_part(str text) {
  if (text.len == 0 || text.len > LOCAL_BYTES_MAX)
    return false;
  for (size_t i = 0; i < text.len; i++) {
    bool dot = text.ptr[i] == '.';
    if (!dot && !is_atom(text.ptr[i]))
      return false;
    if (dot && (i == 0 || i + 1 == text.len || text.ptr[i - 1] == '.'))
      return false;
  }
  return true;
}

static bool is_label(str text) {
  for (size_t i = 0; i < text.len; i++)
    if (!isalnum((unsigned char)text.ptr[i]) && text.ptr[i] != '-')
      return false;
  return text.len > 0 && text.len <= LABEL_BYTES_MAX && text.ptr[0] != '-' && text.ptr[text.len - 1] != '-';
}

static bool is_domain(str text) {
  unsigned labels = 0;
  bool is_local = str_eq(text, STR("localhost"));
  while (text.ptr != NULL) {
    if (!is_label(str_split(text, '.', &text)))
      return false;
    labels++;
  }
  return labels >= 2 || is_local;
}

bool mail_address_is_valid(str text) {
  str domain, local = str_split(text, '@', &domain);
  return text.len <= MAIL_ADDRESS_BYTES_MAX && is_local_part(local) && domain.ptr != NULL &&
         is_domain(domain);
}

static str trim(str text) {
  while (text.len > 0 && text.ptr[0] == ' ')
    text = str_from(text, 1);
  while (text.len > 0 && text.ptr[text.len - 1] == ' ')
    text.len--;
  return text;
}

static bool is_name(str text) {
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i];
    if (c < ' ' || c == 0x7f || c == '"' || c == '\\' || c == '<' || c == '>')
      return false;
  }
  return text.len <= MAIL_NAME_BYTES_MAX && utf8_is_valid(text.ptr, text.len);
}

bool mailbox_parse(str text, struct mailbox *ret) {
  struct mailbox box = {.name = {NULL, 0}, .address = trim(text)};
  if (box.address.len > 0 && box.address.ptr[box.address.len - 1] == '>') {
    str rest;
    box.name = trim(str_split(box.address, '<', &rest));
    if (rest.ptr == NULL)
      return false;
    box.address = str_make(rest.ptr, rest.len - 1);
    if (box.name.len >= 2 && box.name.ptr[0] == '"' && box.name.ptr[box.name.len - 1] == '"')
      box.name = str_make(box.name.ptr + 1, box.name.len - 2);
  }
  if (!mail_address_is_valid(box.address) || !is_name(box.name))
    return false;
  *ret = box;
  return true;
}
