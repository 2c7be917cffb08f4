#include "storage/document/mask.h"

#include <assert.h>
#include <stdlib.h>

static status exhausted(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED,
                     "The field masks and documents of one request take too much memory. Split it.");
}

static int compare_paths(const void *a, const void *b) {
  return doc_field_path_compare(a, b);
}

status doc_mask_parse(const str *paths, size_t count, enum doc_mask_use use, struct arena *arena,
                      struct doc_mask *ret) {
  struct doc_field_path *all = ARENA_NEW_ARRAY(arena, struct doc_field_path, count);
  if (all == NULL)
    return exhausted();
  size_t parsed = 0;
  for (size_t i = 0; i < count; i++) {
    if (use == DOC_MASK_READ && doc_field_path_is_name(paths[i]))
      continue;
    STATUS_TRY(doc_field_path_parse(paths[i], arena, &all[parsed]));
    parsed++;
  }
  if (parsed > 1)
    qsort(all, parsed, sizeof *all, compare_paths);
  size_t kept = 0;
  for (size_t i = 0; i < parsed; i++)
    if (kept == 0 || !doc_field_path_has_prefix(&all[i], &all[kept - 1]))
      all[kept++] = all[i];
  *ret = (struct doc_mask){all, kept};
  return status_ok();
}

/* The map that paths lead into: a vector is one value, not a map. */
static struct doc_map inner_map(const struct doc_value *value) {
  return value == NULL || value->type != DOC_MAP || doc_value_is_vector(value) ? (struct doc_map){NULL, 0}
                                                                               : value->as.map;
}

/* The paths that go on like the first one at `level`. Neither of them ends before it. A long branch is not
 * walked: its end is looked for in growing steps and then between the last two. */
static struct doc_mask first_branch(struct doc_mask mask, size_t level) {
  str name = mask.paths[0].segments[level];
  size_t inside = 0, outside = 1;
  while (outside < mask.count && str_eq(mask.paths[outside].segments[level], name)) {
    inside = outside;
    outside = outside * 2;
  }
  if (outside > mask.count)
    outside = mask.count;
  while (outside - inside > 1) {
    size_t middle = inside + (outside - inside) / 2;
    if (str_eq(mask.paths[middle].segments[level], name))
      inside = middle;
    else
      outside = middle;
  }
  return (struct doc_mask){mask.paths, outside};
}

static struct doc_mask after(struct doc_mask mask, struct doc_mask branch) {
  return (struct doc_mask){mask.paths + branch.count, mask.count - branch.count};
}

/* The paths that go on with `name` at `level`; none if there is no such path. For documents that are small
 * against their mask: many of them may be read with one large mask. */
static struct doc_mask find_branch(struct doc_mask mask, size_t level, str name) {
  size_t low = 0, high = mask.count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (str_cmp(mask.paths[middle].segments[level], name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  struct doc_mask rest = {mask.paths + low, mask.count - low};
  if (rest.count == 0 || !str_eq(rest.paths[0].segments[level], name))
    return (struct doc_mask){NULL, 0};
  return first_branch(rest, level);
}

/* The two walks below recurse as deep as maps lie in each other: at most LIMIT_VALUE_DEPTH. */

static status project(struct doc_map map, struct doc_mask mask, size_t level, struct arena *arena,
                      struct doc_map *ret) {
  assert(level < DOC_TREE_DEPTH_MAX);
  /* The time goes with the smaller of the two, whichever it is. */
  bool by_fields = map.count < mask.count;
  size_t room = by_fields ? map.count : mask.count, count = 0;
  struct doc_field *fields = arena_alloc(arena, room * sizeof *fields);
  if (fields == NULL)
    return exhausted();
  for (size_t i = 0; by_fields ? i < map.count : mask.count > 0; i++) {
    struct doc_mask branch =
        by_fields ? find_branch(mask, level, map.fields[i].name) : first_branch(mask, level);
    if (branch.count == 0)
      continue;
    str name = branch.paths[0].segments[level];
    if (!by_fields)
      mask = after(mask, branch);
    const struct doc_value *value = by_fields ? &map.fields[i].value : doc_map_get(map, name);
    if (value == NULL)
      continue;
    struct doc_field field = {name, *value};
    if (branch.paths[0].count > level + 1) {
      struct doc_map inner = inner_map(value);
      if (inner.count > 0)
        STATUS_TRY(project(inner, branch, level + 1, arena, &inner));
      if (inner.count == 0)
        continue;
      field.value.as.map = inner;
    }
    fields[count++] = field;
  }
  *ret = (struct doc_map){fields, count};
  return status_ok();
}

status doc_mask_project(struct doc_map map, const struct doc_mask *mask, struct arena *arena,
                        struct doc_map *ret) {
  return project(map, *mask, 0, arena, ret);
}

static status merge(struct doc_map old, struct doc_map new, struct doc_mask mask, size_t level,
                    struct arena *arena, struct doc_map *ret);

/* What becomes of one field under the paths of `branch`; *ret_present: whether it is there then. */
static status merge_field(const struct doc_value *old, const struct doc_value *new, struct doc_mask branch,
                          size_t level, struct arena *arena, struct doc_value *ret, bool *ret_present) {
  const struct doc_value *chosen = old;
  if (branch.paths[0].count == level + 1) {
    chosen = new;
  } else {
    struct doc_map inner_old = inner_map(old), inner_new = inner_map(new), inner = inner_old;
    if (inner_old.count > 0 || inner_new.count > 0)
      STATUS_TRY(merge(inner_old, inner_new, branch, level + 1, arena, &inner));
    /* A map that was there stays though all of it goes; one that was not is made for something only. */
    bool was_map = old != NULL && old->type == DOC_MAP && !doc_value_is_vector(old);
    if (was_map || inner.count > 0) {
      *ret = (struct doc_value){.type = DOC_MAP, .as.map = inner};
      *ret_present = true;
      return status_ok();
    }
  }
  *ret_present = chosen != NULL;
  if (chosen != NULL)
    *ret = *chosen;
  return status_ok();
}

static status merge(struct doc_map old, struct doc_map new, struct doc_mask mask, size_t level,
                    struct arena *arena, struct doc_map *ret) {
  assert(level < DOC_TREE_DEPTH_MAX);
  /* A path adds a field only where `new` has one. */
  size_t added = mask.count < new.count ? mask.count : new.count, count = 0, at = 0;
  struct doc_field *fields = arena_alloc(arena, (old.count + added) * sizeof *fields);
  if (fields == NULL)
    return exhausted();
  while (mask.count > 0) {
    struct doc_mask branch = first_branch(mask, level);
    str name = mask.paths[0].segments[level];
    mask = after(mask, branch);
    while (at < old.count && str_cmp(old.fields[at].name, name) < 0)
      fields[count++] = old.fields[at++];
    const struct doc_value *old_value = NULL;
    if (at < old.count && str_eq(old.fields[at].name, name))
      old_value = &old.fields[at++].value;
    struct doc_field field = {.name = name};
    bool present;
    STATUS_TRY(merge_field(old_value, doc_map_get(new, name), branch, level, arena, &field.value, &present));
    if (present) {
      assert(count < old.count + added);
      fields[count++] = field;
    }
  }
  while (at < old.count)
    fields[count++] = old.fields[at++];
  *ret = (struct doc_map){fields, count};
  return status_ok();
}

status doc_mask_merge(struct doc_map old, struct doc_map new, const struct doc_mask *mask,
                      struct arena *arena, struct doc_map *ret) {
  return merge(old, new, *mask, 0, arena, ret);
}
