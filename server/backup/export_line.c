#include "server/backup/export_line.h"

#include <stdlib.h>

#include "google/firestore/v1/document.skerry.h"
#include "server/json/json_read.h"
#include "server/json/json_write.h"
#include "storage/document/codec.h"
#include "storage/document/field_path.h"
#include "storage/document/size.h"

struct export_format {
  struct schema *schema;
  const struct schema_message *document;
};

status export_format_new(struct export_format **ret) {
  static const struct rpc_file *const files[] = {&google_firestore_v1_document_proto};
  struct export_format *format = calloc(1, sizeof *format);
  if (format == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  status s = schema_new(files, 1, &format->schema);
  if (!status_is_ok(&s)) {
    free(format);
    return s;
  }
  format->document = schema_find(format->schema, STR("google.firestore.v1.Document"));
  *ret = format;
  return s;
}

void export_format_free(struct export_format *format) {
  if (format == NULL)
    return;
  schema_free(format->schema);
  free(format);
}

bool export_line_write(const struct export_format *format, str document, struct buf *out) {
  if (!json_write_message(format->schema, format->document, document, out))
    return false;
  buf_append_byte(out, '\n');
  return true;
}

/* ---- Reading ---- */

struct masking {
  struct arena *arena;
  str *paths; /* NULL: they are counted */
  size_t count;
  str segments[DOC_TREE_DEPTH_MAX];
};

static bool is_leaf(const struct doc_value *value) {
  return value->type != DOC_MAP || value->as.map.count == 0 || doc_value_is_vector(value);
}

/* As deep as documents are. */
static status mask_map(struct masking *masking, struct doc_map map, size_t depth) {
  if (depth == DOC_TREE_DEPTH_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "The document's maps are too deep.");
  for (size_t i = 0; i < map.count; i++) {
    masking->segments[depth] = map.fields[i].name;
    if (!is_leaf(&map.fields[i].value)) {
      STATUS_TRY(mask_map(masking, map.fields[i].value.as.map, depth + 1));
      continue;
    }
    if (masking->paths != NULL) {
      struct doc_field_path path = {masking->segments, depth + 1};
      str text = doc_field_path_format(&path, masking->arena);
      if (text.ptr == NULL)
        return status_default(STATUS_RESOURCE_EXHAUSTED);
      masking->paths[masking->count] = text;
    }
    masking->count++;
  }
  return status_ok();
}

static status make_mask(struct doc_map fields, struct arena *arena, struct export_document *ret) {
  struct masking masking = {.arena = arena};
  STATUS_TRY(mask_map(&masking, fields, 0));
  if (masking.count == 0)
    return status_ok();
  masking.paths = ARENA_NEW_ARRAY(arena, str, masking.count);
  if (masking.paths == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  masking.count = 0;
  STATUS_TRY(mask_map(&masking, fields, 0));
  ret->masked = masking.paths;
  ret->masked_count = masking.count;
  return status_ok();
}

static status read_document(str wire, struct arena *arena, struct export_document *ret) {
  struct doc_document document;
  STATUS_TRY(doc_decode_document(wire, arena, &document));
  if (document.name.len == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "There is no \"name\": a line is one document.");
  STATUS_TRY(doc_path_parse_document(document.name, &ret->path));
  ret->wire = wire;
  return make_mask(document.fields, arena, ret);
}

status export_line_read(const struct export_format *format, str line, struct arena *arena,
                        struct export_document *ret) {
  struct buf wire = {.max_bytes = EXPORT_LINE_MAX_BYTES};
  *ret = (struct export_document){0};
  status s = json_read_message(format->schema, format->document, line, &wire);
  if (status_is_ok(&s) && wire.len == 0)
    s = status_make(STATUS_INVALID_ARGUMENT, "The document is empty.");
  str copy = {NULL, 0};
  if (status_is_ok(&s)) {
    copy = arena_str_copy(arena, buf_str(&wire));
    if (copy.ptr == NULL)
      s = status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  buf_fini(&wire);
  STATUS_TRY(s);
  return read_document(copy, arena, ret);
}
