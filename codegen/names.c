#include "codegen/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ASCII only, whatever the locale: identifiers of a .proto are ASCII. */
static bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
static bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
static bool is_alnum(char c) {
  return is_upper(c) || is_lower(c) || (c >= '0' && c <= '9');
}
static char to_lower(char c) {
  return is_upper(c) ? (char)(c - 'A' + 'a') : c;
}
static char to_upper(char c) {
  return is_lower(c) ? (char)(c - 'a' + 'A') : c;
}

static char *take(struct arena *arena, size_t bytes) {
  char *memory = arena_alloc(arena, bytes);
  if (memory == NULL) {
    fputs("protoc-gen-skerry: out of memory\n", stderr);
    exit(1);
  }
  return memory;
}

const char *name_printf(struct arena *arena, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int len = vsnprintf(NULL, 0, format, args);
  va_end(args);
  size_t size = len < 0 ? 1 : (size_t)len + 1;
  char *text = take(arena, size);
  text[0] = '\0';
  vsnprintf(text, size, format, again);
  va_end(again);
  return text;
}

const char *name_copy(struct arena *arena, str bytes) {
  char *out = take(arena, bytes.len + 1);
  if (bytes.len > 0)
    memcpy(out, bytes.ptr, bytes.len);
  out[bytes.len] = '\0';
  return out;
}

/* Whether a word begins at name[i], an upper-case letter that is not the first. A run of capitals is one word
 * ("HTTP"), its last one begins the next if small letters follow ("HTTPStatus"), but for the s of a plural
 * ("IDs"). */
static bool begins_word(const char *name, size_t i) {
  char before = name[i - 1], after = name[i + 1];
  if (before == '_')
    return false;
  if (!is_upper(before))
    return true;
  return is_lower(after) && !(after == 's' && !is_lower(name[i + 2]));
}

const char *name_snake(struct arena *arena, const char *name) {
  char *out = take(arena, 2 * strlen(name) + 1), *at = out;
  for (size_t i = 0; name[i] != '\0'; i++) {
    if (i > 0 && is_upper(name[i]) && begins_word(name, i))
      *at++ = '_';
    *at++ = to_lower(name[i]);
  }
  *at = '\0';
  return out;
}

const char *name_upper(struct arena *arena, const char *name) {
  char *out = take(arena, strlen(name) + 1), *at = out;
  for (; *name != '\0'; name++)
    *at++ = to_upper(*name);
  *at = '\0';
  return out;
}

const char *name_lower(struct arena *arena, const char *name) {
  char *out = take(arena, strlen(name) + 1), *at = out;
  for (; *name != '\0'; name++)
    *at++ = to_lower(*name);
  *at = '\0';
  return out;
}

const char *name_prefix(struct arena *arena, const char *full_name) {
  const char *dot = strrchr(full_name, '.');
  char *out = take(arena, (dot == NULL ? 0 : (size_t)(dot - full_name) + 1) + 1), *at = out;
  /* The package is lower case already by every style guide; if it is not, its words stay together. */
  for (const char *c = full_name; dot != NULL && c <= dot; c++)
    *at++ = *c == '.' ? '_' : to_lower(*c);
  *at = '\0';
  return name_printf(arena, "%s%s", out, name_snake(arena, dot == NULL ? full_name : dot + 1));
}

/* Keywords of C (23 too) and C++, and what the standard headers define as macros without arguments. */
static const char *const reserved[] = {
    "alignas",
    "alignof",
    "and",
    "and_eq",
    "asm",
    "assert",
    "auto",
    "bitand",
    "bitor",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "class",
    "compl",
    "complex",
    "concept",
    "const",
    "const_cast",
    "consteval",
    "constexpr",
    "constinit",
    "continue",
    "co_await",
    "co_return",
    "co_yield",
    "decltype",
    "default",
    "delete",
    "do",
    "double",
    "dynamic_cast",
    "else",
    "enum",
    "errno",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "imaginary",
    "inline",
    "int",
    "linux",
    "long",
    "mutable",
    "namespace",
    "new",
    "noexcept",
    "noreturn",
    "not",
    "not_eq",
    "nullptr",
    "offsetof",
    "operator",
    "or",
    "or_eq",
    "private",
    "protected",
    "public",
    "register",
    "reinterpret_cast",
    "requires",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_assert",
    "static_cast",
    "stderr",
    "stdin",
    "stdout",
    "struct",
    "switch",
    "template",
    "this",
    "thread_local",
    "throw",
    "true",
    "try",
    "typedef",
    "typeid",
    "typename",
    "typeof",
    "typeof_unqual",
    "union",
    "unix",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "xor",
    "xor_eq",
};

const char *name_member(struct arena *arena, const char *snake) {
  for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
    if (strcmp(reserved[i], snake) == 0)
      return name_printf(arena, "%s_", snake);
  }
  return snake;
}

const char *name_of_file(struct arena *arena, const char *path) {
  char *out = take(arena, strlen(path) + 1), *at = out;
  for (const char *c = path; *c != '\0'; c++)
    *at++ = is_alnum(*c) ? *c : '_';
  *at = '\0';
  bool starts_with_letter = is_upper(out[0]) || is_lower(out[0]);
  return starts_with_letter ? out : name_printf(arena, "file_%s", out);
}

const char *name_without_proto(struct arena *arena, const char *path) {
  str name = str_from_cstr(path);
  static const char *const endings[] = {".protodevel", ".proto"};
  for (size_t i = 0; i < 2; i++) {
    str ending = str_from_cstr(endings[i]);
    if (str_has_suffix(name, ending))
      return name_printf(arena, "%.*s", (int)(name.len - ending.len), path);
  }
  return path;
}

const char *name_pbc_type(struct arena *arena, const char *full_name) {
  char *out = take(arena, 2 * strlen(full_name) + 1), *at = out;
  bool starts = true; /* a word */
  for (const char *c = full_name; *c != '\0'; c++) {
    if (*c == '.') {
      *at++ = '_';
      *at++ = '_';
    }
    if (*c == '.' || *c == '_') {
      starts = true;
      continue;
    }
    *at++ = starts ? to_upper(*c) : *c;
    starts = false;
  }
  *at = '\0';
  return out;
}

const char *name_pbc_lower(struct arena *arena, const char *full_name) {
  char *out = take(arena, 2 * strlen(full_name) + 1), *at = out;
  bool was_upper = true;
  for (const char *c = full_name; *c != '\0'; c++) {
    if (*c == '.') {
      *at++ = '_';
      *at++ = '_';
      was_upper = true;
      continue;
    }
    if (is_upper(*c) && !was_upper)
      *at++ = '_';
    *at++ = to_lower(*c);
    was_upper = is_upper(*c);
  }
  *at = '\0';
  return out;
}
