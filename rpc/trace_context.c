#include "rpc/trace_context.h"

/* version "-" trace-id "-" parent-id "-" flags */
enum { VERSION_LEN = 2, TRACE_ID_LEN = 32, PARENT_ID_LEN = 16, FLAGS_LEN = 2 };
enum {
  TRACE_ID_AT = VERSION_LEN + 1,
  PARENT_ID_AT = TRACE_ID_AT + TRACE_ID_LEN + 1,
  FLAGS_AT = PARENT_ID_AT + PARENT_ID_LEN + 1,
  HEADER_LEN = FLAGS_AT + FLAGS_LEN
};

static bool is_hex(str text) {
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
      return false;
  }
  return true;
}

static bool is_zero(str text) {
  for (size_t i = 0; i < text.len; i++)
    if (text.ptr[i] != '0')
      return false;
  return true;
}

bool rpc_trace_parse(str header, struct rpc_trace *ret) {
  if (header.len < HEADER_LEN || header.ptr[TRACE_ID_AT - 1] != '-' || header.ptr[PARENT_ID_AT - 1] != '-' ||
      header.ptr[FLAGS_AT - 1] != '-')
    return false;
  str version = str_make(header.ptr, VERSION_LEN), flags = str_make(header.ptr + FLAGS_AT, FLAGS_LEN);
  struct rpc_trace trace = {str_make(header.ptr + TRACE_ID_AT, TRACE_ID_LEN),
                            str_make(header.ptr + PARENT_ID_AT, PARENT_ID_LEN)};
  if (!is_hex(version) || str_eq(version, STR("ff")) || !is_hex(trace.trace_id) || !is_hex(trace.parent_id) ||
      !is_hex(flags) || is_zero(trace.trace_id) || is_zero(trace.parent_id))
    return false;
  if (header.len > HEADER_LEN && (str_eq(version, STR("00")) || header.ptr[HEADER_LEN] != '-'))
    return false;
  *ret = trace;
  return true;
}
