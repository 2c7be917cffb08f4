#include "server/listener/guard_server.h"

#include <string.h>

static uint32_t take(const uint8_t **bytes, size_t *len, uint32_t wanted) {
  uint32_t taken = *len < wanted ? (uint32_t)*len : wanted;
  *bytes += taken;
  *len -= taken;
  return taken;
}

bool guard_server_next(struct guard_server *server, const uint8_t **bytes, size_t *len,
                       struct guard_frame *ret) {
  if (*len == 0)
    return false;
  server->left -= take(bytes, len, server->left);
  const uint8_t *from = *bytes;
  uint32_t taken = take(bytes, len, FRAME_HEADER_BYTES - server->header_len);
  memcpy(server->header + server->header_len, from, taken);
  server->header_len += taken;
  if (server->header_len < FRAME_HEADER_BYTES)
    return false;
  server->header_len = 0;
  *ret = guard_frame_read(server->header);
  server->left = ret->length;
  server->began = true;
  if (ret->type == FRAME_HEADERS || ret->type == FRAME_CONTINUATION)
    server->in_block = (ret->flags & FLAG_END_HEADERS) == 0;
  return true;
}

bool guard_server_is_between_frames(const struct guard_server *server) {
  return server->left == 0 && server->header_len == 0 && !server->in_block;
}
