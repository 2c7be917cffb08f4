#include "server/listener/guard_wire.h"

#include <assert.h>
#include <stdlib.h>

void wire_frame(struct buf *out, uint8_t type, uint8_t flags, uint32_t id, str payload) {
  uint8_t header[FRAME_HEADER_BYTES];
  guard_frame_write(
      (struct guard_frame){.length = (uint32_t)payload.len, .type = type, .flags = flags, .stream_id = id},
      header);
  buf_append(out, header, sizeof header);
  buf_append_str(out, payload);
}

void wire_block(struct buf *out, nghttp2_hd_deflater *deflater, const struct wire_field *fields,
                size_t count) {
  nghttp2_nv *pairs = calloc(count + 1, sizeof *pairs);
  assert(pairs != NULL);
  for (size_t i = 0; i < count; i++)
    pairs[i] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)fields[i].name.ptr,
                            .namelen = fields[i].name.len,
                            .value = (uint8_t *)(uintptr_t)fields[i].value.ptr,
                            .valuelen = fields[i].value.len};
  size_t bound = nghttp2_hd_deflate_bound(deflater, pairs, count);
  bool has_room = buf_reserve(out, bound);
  assert(has_room);
  (void)has_room;
  ssize_t len = nghttp2_hd_deflate_hd(deflater, out->data + out->len, bound, pairs, count);
  assert(len >= 0);
  out->len += (size_t)len;
  free(pairs);
}

void wire_integer(struct buf *out, uint8_t first, unsigned prefix, uint64_t number) {
  uint64_t most = (1U << prefix) - 1;
  if (number < most) {
    buf_append_byte(out, (uint8_t)(first | number));
    return;
  }
  buf_append_byte(out, (uint8_t)(first | most));
  for (number -= most; number >= 128; number >>= 7)
    buf_append_byte(out, (uint8_t)(number | 128));
  buf_append_byte(out, (uint8_t)number);
}

void wire_literal(struct buf *out, str name, str value, bool indexed) {
  buf_append_byte(out, indexed ? 0x40 : 0);
  wire_integer(out, 0, 7, name.len);
  buf_append_str(out, name);
  wire_integer(out, 0, 7, value.len);
  buf_append_str(out, value);
}

void wire_pseudo(struct buf *out) {
  const uint8_t from_static_table[] = {0x83, 0x86, 0x84};
  buf_append(out, from_static_table, sizeof from_static_table);
  wire_literal(out, STR(":authority"), STR("box"), false);
}

bool wire_next(str bytes, size_t *at, struct guard_frame *ret, str *ret_payload) {
  if (bytes.len - *at < FRAME_HEADER_BYTES)
    return false;
  *ret = guard_frame_read((const uint8_t *)bytes.ptr + *at);
  if (bytes.len - *at - FRAME_HEADER_BYTES < ret->length)
    return false;
  *ret_payload = str_make(bytes.ptr + *at + FRAME_HEADER_BYTES, ret->length);
  *at += FRAME_HEADER_BYTES + ret->length;
  return true;
}

bool wire_fields(nghttp2_hd_inflater *inflater, str block, struct buf *out) {
  int flags = 0;
  while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
    nghttp2_nv field;
    flags = 0;
    ssize_t taken =
        nghttp2_hd_inflate_hd2(inflater, &field, &flags, (const uint8_t *)block.ptr, block.len, 1);
    if (taken < 0)
      return false;
    block = str_from(block, (size_t)taken);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      buf_append(out, field.name, field.namelen);
      buf_append_str(out, STR(": "));
      buf_append(out, field.value, field.valuelen);
      buf_append_byte(out, '\n');
    }
  }
  nghttp2_hd_inflate_end_headers(inflater);
  return true;
}
