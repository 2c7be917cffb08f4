#include "server/print.h"

#include <math.h>
#include <time.h>

void print_text(struct buf *out, str text) {
  buf_append_byte(out, '"');
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i];
    if (c == '"' || c == '\\')
      buf_printf(out, "\\%c", c);
    else if (c == '\n')
      buf_append_str(out, STR("\\n"));
    else if (c < 0x20 || c == 0x7F)
      buf_printf(out, "\\u%04x", c);
    else
      buf_append_byte(out, c);
  }
  buf_append_byte(out, '"');
}

void print_for_terminal(struct buf *out, str text) {
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i],
                  next = i + 1 < text.len ? (unsigned char)text.ptr[i + 1] : 0;
    if (c == 0xC2 && next >= 0x80 && next <= 0x9F) /* U+0080 to U+009F, in UTF-8 */
      buf_printf(out, "\\u%04x", (unsigned char)text.ptr[++i]);
    else if ((c < 0x20 && c != '\n') || c == 0x7F)
      buf_printf(out, "\\u%04x", c);
    else
      buf_append_byte(out, c);
  }
}

void print_time(struct buf *out, int64_t time_us) {
  int64_t seconds = time_us / 1000000, rest = time_us % 1000000;
  if (rest < 0) {
    rest += 1000000;
    seconds--;
  }
  time_t when = (time_t)seconds;
  struct tm parts;
  gmtime_r(&when, &parts);
  buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", parts.tm_year + 1900, parts.tm_mon + 1,
             parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, (int)rest);
}

static void print_bytes(struct buf *out, str bytes) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  buf_append_byte(out, '"');
  for (size_t i = 0; i < bytes.len; i += 3) {
    size_t left = bytes.len - i;
    uint32_t word = (uint32_t)(unsigned char)bytes.ptr[i] << 16;
    word |= left > 1 ? (uint32_t)(unsigned char)bytes.ptr[i + 1] << 8 : 0;
    word |= left > 2 ? (uint32_t)(unsigned char)bytes.ptr[i + 2] : 0;
    buf_append_byte(out, (uint8_t)letters[word >> 18]);
    buf_append_byte(out, (uint8_t)letters[word >> 12 & 63]);
    buf_append_byte(out, left > 1 ? (uint8_t)letters[word >> 6 & 63] : '=');
    buf_append_byte(out, left > 2 ? (uint8_t)letters[word & 63] : '=');
  }
  buf_append_byte(out, '"');
}

static void print_number(struct buf *out, double number) {
  if (isnan(number))
    buf_append_str(out, STR("\"NaN\""));
  else if (isinf(number))
    buf_append_str(out, number > 0 ? STR("\"Infinity\"") : STR("\"-Infinity\""));
  else
    buf_printf(out, "%.17g", number);
}

static void new_line(struct buf *out, unsigned indent) {
  buf_printf(out, "\n%*s", (int)indent, "");
}

/* Recursion is bounded by LIMIT_VALUE_DEPTH: the values come from the codec. */
static void print_value(struct buf *out, const struct doc_value *value, unsigned indent) {
  switch (value->type) {
  case DOC_NULL:
    buf_append_str(out, STR("null"));
    break;
  case DOC_BOOLEAN:
    buf_append_str(out, value->as.boolean ? STR("true") : STR("false"));
    break;
  case DOC_INTEGER:
    buf_printf(out, "%lld", (long long)value->as.integer);
    break;
  case DOC_DOUBLE:
    print_number(out, value->as.number);
    break;
  case DOC_TIMESTAMP:
    buf_append_byte(out, '"');
    print_time(out, value->as.timestamp_us);
    buf_append_byte(out, '"');
    break;
  case DOC_STRING:
  case DOC_REFERENCE:
    print_text(out, value->as.text);
    break;
  case DOC_BYTES:
    print_bytes(out, value->as.text);
    break;
  case DOC_GEO_POINT:
    buf_printf(out, "{\"latitude\": %.17g, \"longitude\": %.17g}", value->as.geo_point.latitude,
               value->as.geo_point.longitude);
    break;
  case DOC_ARRAY:
    buf_append_byte(out, '[');
    for (size_t i = 0; i < value->as.array.count; i++) {
      if (i > 0)
        buf_append_str(out, STR(", "));
      print_value(out, &value->as.array.items[i], indent);
    }
    buf_append_byte(out, ']');
    break;
  case DOC_MAP:
    print_fields(out, value->as.map, indent);
    break;
  }
}

void print_fields(struct buf *out, struct doc_map fields, unsigned indent) {
  if (fields.count == 0) {
    buf_append_str(out, STR("{}"));
    return;
  }
  buf_append_byte(out, '{');
  for (size_t i = 0; i < fields.count; i++) {
    if (i > 0)
      buf_append_byte(out, ',');
    new_line(out, indent + 2);
    print_text(out, fields.fields[i].name);
    buf_append_str(out, STR(": "));
    print_value(out, &fields.fields[i].value, indent + 2);
  }
  new_line(out, indent);
  buf_append_byte(out, '}');
}
