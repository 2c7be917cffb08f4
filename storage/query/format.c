/* The text of a query, for instance
 *
 *   from "rooms/a" all "messages" where (a == 1 and b in ["x", 2.5]) order by a desc, __name__ desc
 *   start before (1, ref "...") limit 10
 *
 * Each part is marked by its word and ended by what cannot stand in it, and values of different types or bits
 * look different, so that no two queries have one text. */
#include <inttypes.h>
#include <stdio.h>

#include "base/limits.h"
#include "storage/query/query.h"

/* A query's values are at most a request, and a byte of a string is at most \x00. */
enum { TEXT_BYTES_MAX = 5 * LIMIT_MESSAGE_BYTES };

static void put(struct buf *out, const char *text) {
  buf_append_str(out, str_from_cstr(text));
}

static bool is_plain(char c) {
  unsigned char byte = (unsigned char)c;
  return byte >= 0x20 && byte != 0x7F && byte != '"' && byte != '\\';
}

static void put_quoted(struct buf *out, str bytes) {
  buf_append_byte(out, '"');
  for (size_t i = 0; i < bytes.len;) {
    size_t end = i;
    while (end < bytes.len && is_plain(bytes.ptr[end]))
      end++;
    buf_append(out, bytes.ptr + i, end - i);
    if (end < bytes.len && (bytes.ptr[end] == '"' || bytes.ptr[end] == '\\'))
      buf_printf(out, "\\%c", bytes.ptr[end]);
    else if (end < bytes.len)
      buf_printf(out, "\\x%02x", (unsigned)bytes.ptr[end]);
    i = end + 1;
  }
  buf_append_byte(out, '"');
}

static void put_bytes(struct buf *out, str bytes) {
  put(out, "bytes ");
  for (size_t i = 0; i < bytes.len; i++)
    buf_printf(out, "%02x", (unsigned char)bytes.ptr[i]);
}

/* Exactly; a double always looks different from an integer. */
static void put_double(struct buf *out, double number) {
  char text[40];
  int length = snprintf(text, sizeof text, "%.17g", number);
  buf_append(out, text, (size_t)length);
  if (strpbrk(text, ".ein") == NULL) /* of 1e300, inf, nan */
    put(out, ".0");
}

/* At most DOC_TREE_DEPTH_MAX deep. */
static void put_value(struct buf *out, const struct doc_value *value) {
  switch (value->type) {
  case DOC_NULL:
    put(out, "null");
    return;
  case DOC_BOOLEAN:
    put(out, value->as.boolean ? "true" : "false");
    return;
  case DOC_INTEGER:
    buf_printf(out, "%" PRId64, value->as.integer);
    return;
  case DOC_DOUBLE:
    put_double(out, value->as.number);
    return;
  case DOC_TIMESTAMP:
    buf_printf(out, "time %" PRId64, value->as.timestamp_us);
    return;
  case DOC_STRING:
    put_quoted(out, value->as.text);
    return;
  case DOC_BYTES:
    put_bytes(out, value->as.text);
    return;
  case DOC_REFERENCE:
    put(out, "ref ");
    put_quoted(out, value->as.text);
    return;
  case DOC_GEO_POINT:
    put(out, "point ");
    put_double(out, value->as.geo_point.latitude);
    put(out, " ");
    put_double(out, value->as.geo_point.longitude);
    return;
  case DOC_ARRAY:
    put(out, "[");
    for (size_t i = 0; i < value->as.array.count; i++) {
      put(out, i == 0 ? "" : ", ");
      put_value(out, &value->as.array.items[i]);
    }
    put(out, "]");
    return;
  case DOC_MAP:
    put(out, "{");
    for (size_t i = 0; i < value->as.map.count; i++) {
      put(out, i == 0 ? "" : ", ");
      put_quoted(out, value->as.map.fields[i].name);
      put(out, ": ");
      put_value(out, &value->as.map.fields[i].value);
    }
    put(out, "}");
    return;
  }
}

static void put_path(struct buf *out, const struct doc_field_path *path, struct arena *arena) {
  str text = doc_field_path_format(path, arena);
  if (text.ptr == NULL)
    out->failed = true;
  else
    buf_append_str(out, text);
}

static void put_field(struct buf *out, const struct query_field *field, struct arena *arena) {
  if (field->is_name)
    put(out, "__name__");
  else
    put_path(out, &field->path, arena);
}

static void put_filter(struct buf *out, const struct query_filter *filter, struct arena *arena) {
  if (filter->kind == QUERY_FIELD_FILTER) {
    put_field(out, &filter->field, arena);
    buf_printf(out, " %s", query_op_name(filter->op));
    if (filter->op < QUERY_IS_NULL) {
      put(out, " ");
      put_value(out, &filter->operand);
    }
    return;
  }
  put(out, "(");
  for (size_t i = 0; i < filter->filter_count; i++) {
    put(out, i == 0 ? "" : filter->kind == QUERY_AND ? " and " : " or ");
    put_filter(out, &filter->filters[i], arena);
  }
  put(out, ")");
}

static void put_orders(struct buf *out, const struct query *query, struct arena *arena) {
  put(out, " order by ");
  for (size_t i = 0; i < query->order_count; i++) {
    put(out, i == 0 ? "" : ", ");
    put_field(out, &query->orders[i].field, arena);
    put(out, query->orders[i].descending ? " desc" : "");
  }
}

static void put_cursor(struct buf *out, const char *word, const struct query_cursor *cursor) {
  if (cursor->count == 0)
    return;
  buf_printf(out, " %s %s ", word, cursor->before ? "before" : "after");
  struct doc_value values = {.type = DOC_ARRAY, .as.array = {cursor->values, cursor->count}};
  put_value(out, &values);
}

static const char *measure_name(enum query_distance measure) {
  return measure == QUERY_EUCLIDEAN ? "euclidean" : measure == QUERY_COSINE ? "cosine" : "dot product";
}

static void put_nearest(struct buf *out, const struct query_nearest *nearest, struct arena *arena) {
  buf_printf(out, " nearest %" PRId32 " by %s of ", nearest->limit, measure_name(nearest->measure));
  put_path(out, &nearest->field, arena);
  put(out, " to ");
  put_value(out, &nearest->vector);
  if (nearest->has_threshold) {
    put(out, " within ");
    put_double(out, nearest->threshold);
  }
  if (nearest->result_field.count > 0) {
    put(out, " as ");
    put_path(out, &nearest->result_field, arena);
  }
}

status query_format(const struct query *query, struct arena *arena, str *ret) {
  struct buf out = {.max_bytes = TEXT_BYTES_MAX};
  put(&out, "from ");
  put_quoted(&out, query->parent.name);
  put(&out, query->all_descendants ? " all" : "");
  if (query->collection_id.len > 0) {
    put(&out, " ");
    put_quoted(&out, query->collection_id);
  }
  if (query->where != NULL) {
    put(&out, " where ");
    put_filter(&out, query->where, arena);
  }
  put_orders(&out, query, arena);
  put_cursor(&out, "start", &query->start);
  put_cursor(&out, "end", &query->end);
  if (query->offset > 0)
    buf_printf(&out, " offset %" PRId64, query->offset);
  if (query->has_limit)
    buf_printf(&out, " limit %" PRId64, query->limit);
  if (query->names_only)
    put(&out, " names");
  if (query->nearest != NULL)
    put_nearest(&out, query->nearest, arena);
  str text = out.failed ? (str){NULL, 0} : arena_str_copy(arena, buf_str(&out));
  buf_fini(&out);
  if (text.ptr == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  *ret = text;
  return status_ok();
}
