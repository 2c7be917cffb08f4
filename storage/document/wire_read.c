#include "storage/document/wire_read.h"

bool wire_skip_group(struct wire_reader *in, uint32_t number) {
  uint32_t open[LIMIT_MESSAGE_DEPTH]; /* numbers of the groups that have not ended */
  size_t depth = 0;
  open[depth++] = number;
  while (depth > 0) {
    struct wire_field inner;
    unsigned type;
    if (!wire_read_tag(in, &inner.number, &type))
      return false;
    if (type == WIRE_GROUP_START) {
      if (depth == LIMIT_MESSAGE_DEPTH)
        return false;
      open[depth++] = inner.number;
    } else if (type == WIRE_GROUP_END) {
      if (open[--depth] != inner.number)
        return false;
    } else if (!wire_read_payload(in, type, &inner)) {
      return false;
    }
  }
  return true;
}
