#include "server/listener/guard_messages.h"

enum { PREFIX_BYTES = 5, FIRST_LENGTH_BYTE_MAX = 0x7f };

uint32_t guard_messages_pass(struct guard_messages *messages, const uint8_t *bytes, uint32_t len) {
  uint32_t at = 0;
  while (at < len) {
    if (messages->prefix_bytes == 0 && messages->left > 0) {
      uint32_t passed = messages->left < len - at ? messages->left : len - at;
      messages->left -= passed;
      messages->held = messages->left == 0 ? 0 : messages->held + passed;
      at += passed;
      continue;
    }
    if (messages->prefix_bytes == 1 && bytes[at] > FIRST_LENGTH_BYTE_MAX)
      return at;
    if (messages->prefix_bytes > 0)
      messages->left = messages->left << 8 | bytes[at];
    messages->prefix_bytes = (uint8_t)((messages->prefix_bytes + 1) % PREFIX_BYTES);
    at++;
  }
  return len;
}
