#include "server/gateway/web_frame.h"

#include "base/base64.h"

enum { FLAG_COMPRESSED = 0x01, FLAG_TRAILERS = 0x80, TIMEOUT_DIGITS_MAX = 8 };

/* ---- Reading ---- */

/* Base64 that may have been put together from pieces with padding of their own. */
static bool decode_pieces(str text, struct buf *out) {
  while (text.len > 0) {
    size_t len = 0;
    while (len < text.len && text.ptr[len] != '=')
      len++;
    while (len < text.len && text.ptr[len] == '=')
      len++;
    if (len < text.len && len % 4 != 0)
      return false;
    if (!base64_decode(str_make(text.ptr, len), out))
      return false;
    text = str_from(text, len);
  }
  return true;
}

status web_frame_read(str body, bool is_text, struct buf *scratch, str *ret) {
  if (is_text) {
    if (!decode_pieces(body, scratch))
      return status_make(STATUS_INVALID_ARGUMENT, "The body is not base64.");
    if (scratch->failed)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    body = scratch->len == 0 ? STR("") : buf_str(scratch);
  }
  if (body.len < WEB_FRAME_HEAD_BYTES)
    return status_make(STATUS_INVALID_ARGUMENT, "The body has no message of gRPC-Web.");
  const uint8_t *head = (const uint8_t *)body.ptr;
  if ((head[0] & FLAG_COMPRESSED) != 0)
    return status_make(STATUS_UNIMPLEMENTED, "Compressed messages are not taken by gRPC-Web here.");
  size_t len = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
  if (head[0] != 0 || len != body.len - WEB_FRAME_HEAD_BYTES)
    return status_make(STATUS_INVALID_ARGUMENT, "The body is not one message of gRPC-Web.");
  *ret = str_from(body, WEB_FRAME_HEAD_BYTES);
  return status_ok();
}

bool web_timeout(str text, int64_t *ret_us) {
  static const struct {
    char unit;
    int64_t us;
  } units[] = {{'H', 3600000000}, {'M', 60000000}, {'S', 1000000}, {'m', 1000}, {'u', 1}};
  uint64_t number;
  if (text.len < 2 || text.len > TIMEOUT_DIGITS_MAX + 1 ||
      !str_to_u64(str_make(text.ptr, text.len - 1), &number))
    return false;
  char unit = text.ptr[text.len - 1];
  if (unit == 'n') {
    *ret_us = (int64_t)number / 1000;
    return true;
  }
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    if (units[i].unit != unit)
      continue;
    *ret_us = (int64_t)number * units[i].us;
    return true;
  }
  return false;
}

/* ---- Writing ---- */

static void put_frame(uint8_t flags, str bytes, bool is_text, struct buf *out) {
  const uint8_t head[WEB_FRAME_HEAD_BYTES] = {flags, (uint8_t)(bytes.len >> 24), (uint8_t)(bytes.len >> 16),
                                              (uint8_t)(bytes.len >> 8), (uint8_t)bytes.len};
  if (!is_text) {
    buf_append(out, head, sizeof head);
    buf_append_str(out, bytes);
    return;
  }
  /* In one run of base64: five bytes do not end at a group of three. */
  struct buf frame = {0};
  buf_append(&frame, head, sizeof head);
  buf_append_str(&frame, bytes);
  if (frame.failed)
    out->failed = true;
  else
    base64_encode(buf_str(&frame), out);
  buf_fini(&frame);
}

void web_frame_message(str message, bool is_text, struct buf *out) {
  put_frame(0, message, is_text, out);
}

/* gRPC's percent-encoding of messages. */
static void put_message(str text, struct buf *out) {
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i];
    if (c < 0x20 || c > 0x7e || c == '%')
      buf_printf(out, "%%%02X", c);
    else
      buf_append_byte(out, c);
  }
}

void web_frame_trailers(const struct rpc_local_end *end, bool is_text, struct buf *out) {
  struct buf lines = {0};
  buf_printf(&lines, "grpc-status:%d\r\n", (int)end->code);
  if (end->text.len > 0) {
    buf_append_str(&lines, STR("grpc-message:"));
    put_message(end->text, &lines);
    buf_append_str(&lines, STR("\r\n"));
  }
  for (size_t i = 0; i < end->trailer_count; i++) {
    const struct rpc_local_header *trailer = &end->trailers[i];
    buf_append_str(&lines, trailer->name);
    buf_append_byte(&lines, ':');
    if (str_has_suffix(trailer->name, STR("-bin")))
      base64_encode(trailer->value, &lines);
    else
      buf_append_str(&lines, trailer->value);
    buf_append_str(&lines, STR("\r\n"));
  }
  if (lines.failed)
    out->failed = true;
  else
    put_frame(FLAG_TRAILERS, buf_str(&lines), is_text, out);
  buf_fini(&lines);
}
