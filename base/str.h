/* Bytes. `str` borrows them, `struct buf` owns them; neither ends in NUL unless it says so. */
#ifndef SKERRY_BASE_STR_H
#define SKERRY_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes. `ptr` may be NULL if `len` is 0. */
typedef struct str {
  const char *ptr;
  size_t len;
} str;

#define STR(literal) ((str){"" literal, sizeof(literal) - 1})
#define STR_FMT "%.*s"
/* For printf's "%.*s"; longer bytes are cut at 8 KiB, over the longest name that a client may send. */
#define STR_ARG(s) ((int)((s).len > 8192 ? 8192 : (s).len)), ((s).ptr == NULL ? "" : (s).ptr)

static inline str str_make(const void *ptr, size_t len) {
  return (str){(const char *)ptr, len}; /* the cast is for the one C++ file */
}
static inline str str_from_cstr(const char *text) {
  return (str){text, text == NULL ? 0 : strlen(text)};
}
static inline bool str_is_empty(str s) {
  return s.len == 0;
}
static inline bool str_eq(str a, str b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline str str_from(str s, size_t start) {
  return start == 0 ? s : (str){s.ptr + start, s.len - start}; /* NULL + 0 is undefined in C */
}
static inline bool str_has_prefix(str s, str prefix) {
  return s.len >= prefix.len && str_eq(str_make(s.ptr, prefix.len), prefix);
}
static inline bool str_has_suffix(str s, str suffix) {
  return s.len >= suffix.len && str_eq(str_from(s, s.len - suffix.len), suffix);
}

/* Order of the bytes as unsigned numbers; a prefix comes first. <0, 0, >0. */
static inline int str_cmp(str a, str b) {
  size_t shorter = a.len < b.len ? a.len : b.len;
  int order = shorter == 0 ? 0 : memcmp(a.ptr, b.ptr, shorter);
  return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Splits at the first `separator`: what is before it, and in *rest what is after. Without one, all of `s`,
 * and *rest is empty with a NULL pointer. */
str str_split(str s, char separator, str *rest);

/* A decimal number of digits alone, without sign. False if it is anything else or does not fit. */
bool str_to_u64(str s, uint64_t *ret);

/* Owned bytes that grow. Zeroed memory is an empty buffer. Once an allocation fails or `max_bytes` is passed,
 * the buffer is `failed`, further appends do nothing, and the owner looks at the flag once at the end. One
 * thread. */
struct buf {
  uint8_t *data;
  size_t len;
  size_t capacity;
  size_t max_bytes; /* 0: no limit of its own */
  bool failed;
};

void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory */
/* Room for `more` bytes at data + len; false (and `failed`) if there is none. */
bool buf_reserve(struct buf *b, size_t more);
/* `bytes` are not the buffer's own. */
void buf_append(struct buf *b, const void *bytes, size_t len);
void buf_append_byte(struct buf *b, uint8_t byte);
void buf_append_str(struct buf *b, str s);
/* Needs room for one byte more than it appends. */
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline str buf_str(const struct buf *b) {
  return (str){(const char *)b->data, b->len};
}

#endif
