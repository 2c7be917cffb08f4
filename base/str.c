#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

str str_split(str s, char separator, str *rest) {
  const char *found = s.len == 0 ? NULL : memchr(s.ptr, separator, s.len);
  if (found == NULL) {
    *rest = (str){NULL, 0};
    return s;
  }
  size_t before = (size_t)(found - s.ptr);
  *rest = str_from(s, before + 1);
  return str_make(s.ptr, before);
}

bool str_to_u64(str s, uint64_t *ret) {
  uint64_t number = 0;
  if (s.len == 0)
    return false;
  for (size_t i = 0; i < s.len; i++) {
    unsigned digit = (unsigned)((unsigned char)s.ptr[i]) - '0';
    if (digit > 9 || number > (UINT64_MAX - digit) / 10)
      return false;
    number = number * 10 + digit;
  }
  *ret = number;
  return true;
}

void buf_fini(struct buf *b) {
  free(b->data);
  *b = (struct buf){0};
}

void buf_clear(struct buf *b) {
  b->len = 0;
  b->failed = false;
}

bool buf_reserve(struct buf *b, size_t more) {
  if (b->failed)
    return false;
  if (more <= b->capacity - b->len)
    return true;
  size_t limit = b->max_bytes == 0 ? SIZE_MAX / 2 : b->max_bytes;
  if (b->len > limit || more > limit - b->len) {
    b->failed = true;
    return false;
  }
  size_t wanted = b->len + more, capacity = b->capacity < 64 ? 64 : b->capacity;
  while (capacity < wanted)
    capacity += capacity / 2;
  if (capacity > limit)
    capacity = limit;
  uint8_t *data = realloc(b->data, capacity);
  if (data == NULL) {
    b->failed = true;
    return false;
  }
  b->data = data;
  b->capacity = capacity;
  return true;
}

void buf_append(struct buf *b, const void *bytes, size_t len) {
  if (len == 0 || !buf_reserve(b, len))
    return;
  memcpy(b->data + b->len, bytes, len);
  b->len += len;
}

void buf_append_byte(struct buf *b, uint8_t byte) {
  buf_append(b, &byte, 1);
}

void buf_append_str(struct buf *b, str s) {
  buf_append(b, s.ptr, s.len);
}

void buf_printf(struct buf *b, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int wanted = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (wanted >= 0 && buf_reserve(b, (size_t)wanted + 1)) {
    vsnprintf((char *)b->data + b->len, (size_t)wanted + 1, format, again);
    b->len += (size_t)wanted;
  }
  va_end(again);
}
