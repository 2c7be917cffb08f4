/* Frames and header blocks as the guard's tests build and read them. For tests only. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_WIRE_H
#define SKERRY_SERVER_LISTENER_GUARD_WIRE_H

#include <nghttp2/nghttp2.h>

#include "base/str.h"
#include "server/listener/guard_frame.h"

#define WIRE_PREFACE STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

void wire_frame(struct buf *out, uint8_t type, uint8_t flags, uint32_t id, str payload);

struct wire_field {
  str name, value;
};
/* Of literals; also for what is static. */
#define WIRE_FIELD(name, value)                                                                              \
  {                                                                                                          \
    {"" name, sizeof(name) - 1}, {                                                                           \
      "" value, sizeof(value) - 1                                                                            \
    }                                                                                                        \
  }

/* Appends a block of these fields. */
void wire_block(struct buf *out, nghttp2_hd_deflater *deflater, const struct wire_field *fields,
                size_t count);

/* HPACK by hand. An integer behind `first`, whose low `prefix` bits it begins in. */
void wire_integer(struct buf *out, uint8_t first, unsigned prefix, uint64_t number);
/* A literal: without a table, or with it; names and values without Huffman's code. */
void wire_literal(struct buf *out, str name, str value, bool indexed);
/* :method POST, :scheme http, :path / from the static table, and :authority as a literal. */
void wire_pseudo(struct buf *out);

/* The next frame of the bytes from *at on, and its payload; false at the end or if it is not whole. */
bool wire_next(str bytes, size_t *at, struct guard_frame *ret, str *ret_payload);

/* The fields of a block as lines "name: value\n"; false if it is not HPACK, or not whole. */
bool wire_fields(nghttp2_hd_inflater *inflater, str block, struct buf *out);

#endif
