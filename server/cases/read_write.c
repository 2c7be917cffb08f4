/* Writes: what SDKs make of create, set, update and delete. */
#include <assert.h>

#include "base/limits.h"
#include "server/cases/reader.h"

/* ---- Which fields a merge names: every value that is no map, or an empty one ---- */

struct mask_paths {
  struct arena *arena;
  str *items;
  size_t count, capacity;
};

static bool add_path(struct mask_paths *paths, str path) {
  if (paths->count == paths->capacity) {
    size_t capacity = paths->capacity == 0 ? 16 : 2 * paths->capacity;
    str *items = ARENA_NEW_ARRAY(paths->arena, str, capacity);
    if (items == NULL)
      return false;
    if (paths->count > 0)
      memcpy(items, paths->items, paths->count * sizeof *items);
    paths->items = items;
    paths->capacity = capacity;
  }
  paths->items[paths->count++] = path;
  return path.ptr != NULL;
}

/* Recurses as deep as the codec let the fields be. */
static bool add_leaves(struct mask_paths *paths, struct doc_map map, str *segments, size_t depth) {
  assert(depth < DOC_TREE_DEPTH_MAX);
  for (size_t i = 0; i < map.count; i++) {
    const struct doc_value *value = &map.fields[i].value;
    segments[depth] = map.fields[i].name;
    struct doc_field_path path = {segments, depth + 1};
    bool is_leaf = value->type != DOC_MAP || value->as.map.count == 0 || doc_value_is_vector(value);
    if (is_leaf ? !add_path(paths, doc_field_path_format(&path, paths->arena))
                : !add_leaves(paths, value->as.map, segments, depth + 1))
      return false;
  }
  return true;
}

static status add_removed(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                          struct mask_paths *paths) {
  struct cases_place here = {at, STR("remove"), CASES_NO_INDEX, false};
  if (json == NULL)
    return status_ok();
  STATUS_TRY(cases_check_array(json, &here, SIZE_MAX));
  for (size_t i = 0; i < json_array_size(json); i++) {
    str path;
    here.index = i;
    STATUS_TRY(cases_read_text(reader, json_array_get(json, i), &here, &path));
    if (!add_path(paths, path))
      return cases_no_memory();
  }
  return status_ok();
}

static status read_merge(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                         struct doc_write *write) {
  const json_t *merge = json_object_get(json, "merge");
  struct cases_place here = {at, STR("merge"), CASES_NO_INDEX, false};
  struct mask_paths paths = {.arena = reader->arena};
  struct doc_mask *mask = ARENA_NEW(reader->arena, struct doc_mask);
  str segments[DOC_TREE_DEPTH_MAX];
  if (merge != NULL)
    STATUS_TRY(cases_read_fields(reader, merge, &here, &write->fields));
  if (mask == NULL || !add_leaves(&paths, write->fields, segments, 0))
    return cases_no_memory();
  STATUS_TRY(add_removed(reader, json_object_get(json, "remove"), at, &paths));
  status result = doc_mask_parse(paths.items, paths.count, DOC_MASK_WRITE, reader->arena, mask);
  if (!status_is_ok(&result))
    return cases_wrong_status(at, result);
  write->mask = mask;
  return status_ok();
}

/* ---- Writes ---- */

static status read_set(struct cases_reader *reader, const json_t *json, const char *name,
                       const struct cases_place *at, struct doc_write *write) {
  const json_t *data = json_object_get(json, "data");
  bool merges = json_object_get(json, "merge") != NULL || json_object_get(json, "remove") != NULL;
  struct cases_place here = {at, STR("data"), CASES_NO_INDEX, false};
  write->kind = DOC_WRITE_SET;
  if (strcmp(name, "set") != 0)
    write->precondition =
        (struct doc_precondition){.kind = DOC_PRECONDITION_EXISTS, .exists = strcmp(name, "update") == 0};
  if (merges && (data != NULL || strcmp(name, "create") == 0))
    return cases_wrong(at, "merge and remove go with update and set, and not with data");
  if (merges)
    return read_merge(reader, json, at, write);
  if (data == NULL)
    return cases_wrong(at, "it lacks \"data\", the fields of the document after it");
  return cases_read_fields(reader, data, &here, &write->fields);
}

status cases_read_write(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                        struct doc_write *ret) {
  static const char *const names[] = {"create", "set", "update", "delete"};
  const char *name = NULL;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (json_object_get(json, names[i]) == NULL)
      continue;
    if (name != NULL)
      return cases_wrong(at, "it has both \"%s\" and \"%s\"", name, names[i]);
    name = names[i];
  }
  if (name == NULL)
    return cases_wrong(at, "it lacks one of \"create\", \"set\", \"update\" and \"delete\"");
  struct doc_write write = {.kind = DOC_WRITE_DELETE};
  struct cases_place here = {at, str_from_cstr(name), CASES_NO_INDEX, false};
  str path;
  STATUS_TRY(cases_read_text(reader, json_object_get(json, name), &here, &path));
  STATUS_TRY(cases_read_path(reader, path, &here, &write.path));
  reader->has_request_time = true;
  status result = strcmp(name, "delete") != 0 ? read_set(reader, json, name, at, &write)
                  : json_object_get(json, "data") == NULL && json_object_get(json, "merge") == NULL &&
                          json_object_get(json, "remove") == NULL
                      ? status_ok()
                      : cases_wrong(at, "a delete has no data");
  reader->has_request_time = false;
  if (status_is_ok(&result))
    *ret = write;
  return result;
}
