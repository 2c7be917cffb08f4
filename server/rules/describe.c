/* Values as text, for debug(). */
#include "server/rules/evaluation.h"

enum { ITEMS_SHOWN = 20, DEPTH_SHOWN = 4, TEXT_SHOWN = 200 };

static void describe_items(struct rules_evaluation *e, const struct rules_value *value, struct buf *out,
                           unsigned depth) {
  struct rules_cursor cursor = rules_cursor_make(e, value);
  struct rules_value item;
  unsigned shown = 0;
  buf_append_byte(out, '[');
  while (rules_cursor_item(&cursor, &item)) {
    if (shown > 0)
      buf_append_str(out, STR(", "));
    if (shown++ == ITEMS_SHOWN) {
      buf_append_str(out, STR("..."));
      break;
    }
    rules_describe(e, &item, out, depth + 1);
  }
  buf_append_byte(out, ']');
}

static void describe_entries(struct rules_evaluation *e, const struct rules_value *value, struct buf *out,
                             unsigned depth) {
  struct rules_cursor cursor = rules_cursor_make(e, value);
  struct rules_value item;
  str key;
  unsigned shown = 0;
  buf_append_byte(out, '{');
  while (rules_cursor_entry(&cursor, &key, &item)) {
    if (shown > 0)
      buf_append_str(out, STR(", "));
    if (shown++ == ITEMS_SHOWN) {
      buf_append_str(out, STR("..."));
      break;
    }
    buf_append(out, key.ptr, key.len > TEXT_SHOWN ? TEXT_SHOWN : key.len);
    buf_append_str(out, STR(": "));
    rules_describe(e, &item, out, depth + 1);
  }
  buf_append_byte(out, '}');
}

void rules_describe(struct rules_evaluation *e, const struct rules_value *value, struct buf *out,
                    unsigned depth) {
  str text;
  struct rules_value map;
  if (depth > DEPTH_SHOWN) {
    buf_append_str(out, STR("..."));
    return;
  }
  switch ((enum rules_kind)value->kind) {
  case VALUE_OBJECT:
    map = rules_object_to_map(e, value);
    describe_entries(e, &map, out, depth);
    return;
  case VALUE_MAP:
  case VALUE_VECTOR:
    describe_entries(e, value, out, depth);
    return;
  case VALUE_LIST:
  case VALUE_SET:
    describe_items(e, value, out, depth);
    return;
  case VALUE_TIMESTAMP:
  case VALUE_DURATION:
    buf_printf(out, "%s(%lld.%09ds)", rules_kind_name((enum rules_kind)value->kind),
               (long long)value->as.time.seconds, (int)value->as.time.nanos);
    return;
  case VALUE_LATLNG:
    buf_printf(out, "latlng(%g, %g)", value->as.point.latitude, value->as.point.longitude);
    return;
  case VALUE_BYTES:
    buf_printf(out, "bytes(%zu)", value->as.bytes.len);
    return;
  case VALUE_NULL:
  case VALUE_BOOL:
  case VALUE_INT:
  case VALUE_FLOAT:
  case VALUE_STRING:
  case VALUE_PATH:
    if (rules_to_text(e, value, &text))
      buf_append(out, text.ptr, text.len > TEXT_SHOWN ? TEXT_SHOWN : text.len);
    return;
  case VALUE_MAP_DIFF:
  case VALUE_ERROR:
  case VALUE_UNKNOWN:
  case VALUE_PARTIAL:
    buf_append_str(out, str_from_cstr(rules_kind_name((enum rules_kind)value->kind)));
    return;
  }
}
