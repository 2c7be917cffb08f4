#include "rpc/descriptor.h"

#include "base/wire.h"

/* ---- Reading ---- */

struct field {
  uint32_t number;
  enum wire_type type;
  uint64_t value; /* of a varint */
  str bytes;
};

static uint64_t take_varint(str *rest) {
  uint64_t value = 0;
  for (unsigned shift = 0; rest->len > 0 && shift < 64; shift += 7) {
    uint8_t byte = (uint8_t)rest->ptr[0];
    *rest = str_from(*rest, 1);
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80)
      break;
  }
  return value;
}

static str take_bytes(str *rest, uint64_t len) {
  str taken = str_make(rest->ptr, len < rest->len ? (size_t)len : rest->len);
  *rest = str_from(*rest, taken.len);
  return taken;
}

/* The next field; false at the end. */
static bool next_field(str *rest, struct field *ret) {
  if (rest->len == 0)
    return false;
  uint64_t tag = take_varint(rest);
  *ret = (struct field){.number = (uint32_t)(tag >> 3), .type = (enum wire_type)(tag & 7)};
  switch (ret->type) {
  case WIRE_VARINT:
    ret->value = take_varint(rest);
    return true;
  case WIRE_BYTES:
    ret->bytes = take_bytes(rest, take_varint(rest));
    return true;
  case WIRE_FIXED64:
    take_bytes(rest, 8);
    return true;
  case WIRE_FIXED32:
    take_bytes(rest, 4);
    return true;
  default:
    return false;
  }
}

static str bytes_field(str message, uint32_t number) {
  struct field field;
  while (next_field(&message, &field))
    if (field.number == number && field.type == WIRE_BYTES)
      return field.bytes;
  return STR("");
}

/* ---- Symbols ---- */

enum kind { KIND_FILE, KIND_MESSAGE, KIND_ENUM, KIND_SERVICE, KIND_LEAF };
enum { NAME_FIELD = 1, PACKAGE_FIELD = 2 };

/* What a declaration's field holds: a kind of declaration with a name of its own. KIND_FILE: none. */
static enum kind child_kind(enum kind parent, uint32_t number) {
  switch (parent) {
  case KIND_FILE:
    return number == 4   ? KIND_MESSAGE
           : number == 5 ? KIND_ENUM
           : number == 6 ? KIND_SERVICE
           : number == 7 ? KIND_LEAF
                         : KIND_FILE;
  case KIND_MESSAGE: /* field, nested_type, enum_type, extension, oneof_decl */
    return number == 2 || number == 6 || number == 8 ? KIND_LEAF
           : number == 3                             ? KIND_MESSAGE
           : number == 4                             ? KIND_ENUM
                                                     : KIND_FILE;
  case KIND_ENUM:
  case KIND_SERVICE: /* value; method */
    return number == 2 ? KIND_LEAF : KIND_FILE;
  case KIND_LEAF:
  default:
    return KIND_FILE;
  }
}

/* Takes "name" or "name." off the front. */
static bool take_name(str *symbol, str name) {
  if (name.len == 0 || !str_has_prefix(*symbol, name))
    return false;
  str rest = str_from(*symbol, name.len);
  if (rest.len > 0 && rest.ptr[0] != '.')
    return false;
  *symbol = rest.len > 0 ? str_from(rest, 1) : rest;
  return true;
}

/* Recursion is as deep as messages are declared in each other, in our own files. */
static bool declares(str declaration, enum kind kind, str symbol) {
  str rest = declaration;
  struct field field;
  while (next_field(&rest, &field)) {
    enum kind child = child_kind(kind, field.number);
    if (child == KIND_FILE || field.type != WIRE_BYTES)
      continue;
    /* The values of an enum are named beside it, as in C++. */
    if (child == KIND_ENUM && declares(field.bytes, KIND_ENUM, symbol))
      return true;
    str left = symbol;
    if (take_name(&left, bytes_field(field.bytes, NAME_FIELD)) &&
        (left.len == 0 || (child != KIND_ENUM && declares(field.bytes, child, left))))
      return true;
  }
  return false;
}

bool rpc_descriptor_declares(str file, str symbol) {
  str package = bytes_field(file, PACKAGE_FIELD);
  if (package.len > 0 && !take_name(&symbol, package))
    return false;
  return symbol.len > 0 && declares(file, KIND_FILE, symbol);
}

/* ---- Extensions ---- */

enum { EXTENSION_EXTENDEE = 2, EXTENSION_NUMBER = 3, FILE_EXTENSION = 7, MESSAGE_EXTENSION = 6 };

static void visit_extension(str extension, str type, void (*visit)(void *, int32_t), void *argument) {
  str extendee = bytes_field(extension, EXTENSION_EXTENDEE); /* ".pkg.Message" */
  if (extendee.len == 0 || !str_eq(str_from(extendee, 1), type))
    return;
  struct field field;
  while (next_field(&extension, &field))
    if (field.number == EXTENSION_NUMBER && field.type == WIRE_VARINT)
      visit(argument, (int32_t)field.value);
}

static void walk_extensions(str declaration, enum kind kind, str type, void (*visit)(void *, int32_t),
                            void *argument) {
  struct field field;
  while (next_field(&declaration, &field)) {
    if (field.type != WIRE_BYTES)
      continue;
    if (field.number == (kind == KIND_FILE ? FILE_EXTENSION : MESSAGE_EXTENSION))
      visit_extension(field.bytes, type, visit, argument);
    else if (child_kind(kind, field.number) == KIND_MESSAGE)
      walk_extensions(field.bytes, KIND_MESSAGE, type, visit, argument);
  }
}

void rpc_descriptor_extensions(str file, str type, void (*visit)(void *argument, int32_t number),
                               void *argument) {
  walk_extensions(file, KIND_FILE, type, visit, argument);
}
