#include "server/admin/indexes.h"

#include "base/limits.h"
#include "server/timestamp.h"

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The answer needs more memory than a call may take.");
}

/* ---- List ---- */

static Skerry__Admin__V1__IndexStatus__Progress progress_of(enum index_progress progress) {
  switch (progress) {
  case INDEX_IS_READY:
    return SKERRY__ADMIN__V1__INDEX_STATUS__PROGRESS__READY;
  case INDEX_IS_BUILDING:
    return SKERRY__ADMIN__V1__INDEX_STATUS__PROGRESS__BUILDING;
  case INDEX_IS_WAITING:
    return SKERRY__ADMIN__V1__INDEX_STATUS__PROGRESS__WAITING;
  case INDEX_IS_DROPPING:
    return SKERRY__ADMIN__V1__INDEX_STATUS__PROGRESS__DROPPING;
  }
  return SKERRY__ADMIN__V1__INDEX_STATUS__PROGRESS__PROGRESS_UNSPECIFIED;
}

/* Indexes as they are visited. */
struct listing {
  struct arena *arena; /* NULL: only count */
  Skerry__Admin__V1__IndexStatus **items;
  size_t count, capacity;
  bool failed;
  Skerry__Admin__V1__IndexWork *work;
};

static bool reserve(struct listing *listing) {
  if (listing->count < listing->capacity)
    return true;
  size_t capacity = listing->capacity == 0 ? 64 : listing->capacity * 2;
  Skerry__Admin__V1__IndexStatus **items =
      ARENA_NEW_ARRAY(listing->arena, Skerry__Admin__V1__IndexStatus *, capacity);
  if (items == NULL)
    return false;
  if (listing->count > 0)
    memcpy(items, listing->items, listing->count * sizeof *items);
  listing->items = items;
  listing->capacity = capacity;
  return true;
}

static void add_index(void *argument, const struct index_info *info) {
  struct listing *listing = argument;
  listing->work->ready += info->progress == INDEX_IS_READY;
  listing->work->building += info->progress == INDEX_IS_BUILDING || info->progress == INDEX_IS_WAITING;
  listing->work->dropping += info->progress == INDEX_IS_DROPPING;
  if (listing->arena == NULL || listing->failed)
    return;
  Skerry__Admin__V1__IndexStatus *index = ARENA_NEW(listing->arena, Skerry__Admin__V1__IndexStatus);
  str text = arena_str_copy(listing->arena, info->text);
  listing->failed = index == NULL || text.ptr == NULL || !reserve(listing);
  if (listing->failed)
    return;
  skerry__admin__v1__index_status__init(index);
  index->progress = progress_of(info->progress);
  index->description = (char *)(uintptr_t)text.ptr;
  listing->items[listing->count++] = index;
}

static status visit_all(const struct admin *admin, struct listing *listing) {
  struct index_work_info work;
  STATUS_TRY(index_set_visit(admin->indexes, add_index, listing, &work));
  listing->work->dropping += work.sweeping && listing->work->dropping == 0;
  listing->work->documents_built = (int64_t)work.documents_built;
  listing->work->documents_to_build = (int64_t)work.documents_to_build;
  return listing->failed ? no_memory() : status_ok();
}

status admin_index_work(const struct admin *admin, Skerry__Admin__V1__IndexWork *ret) {
  struct listing listing = {.work = ret};
  return visit_all(admin, &listing);
}

/* A NUL-terminated copy in the arena. */
static status keep_text(struct arena *arena, struct buf *text, char **ret) {
  str copy = arena_str_copy(arena, text->failed ? STR("") : buf_str(text));
  bool failed = text->failed || copy.ptr == NULL;
  buf_fini(text);
  *ret = (char *)(uintptr_t)copy.ptr;
  return failed ? no_memory() : status_ok();
}

void admin_list_indexes(struct rpc_call *call, const Skerry__Admin__V1__ListIndexesRequest *request) {
  (void)request;
  const struct admin *admin = rpc_call_service(call);
  struct arena *arena = rpc_call_arena(call);
  Skerry__Admin__V1__ListIndexesResponse response = SKERRY__ADMIN__V1__LIST_INDEXES_RESPONSE__INIT;
  Skerry__Admin__V1__IndexWork work = SKERRY__ADMIN__V1__INDEX_WORK__INIT;
  struct listing listing = {.arena = arena, .work = &work};
  struct buf json = {0};
  status s = visit_all(admin, &listing);
  if (status_is_ok(&s))
    s = index_set_format(admin->indexes, &json);
  status kept = keep_text(arena, &json, &response.definitions_json);
  if (status_is_ok(&s))
    s = kept;
  if (!status_is_ok(&s)) {
    rpc_call_finish(call, s);
    return;
  }
  response.indexes = listing.items;
  response.n_indexes = listing.count;
  response.work = &work;
  skerry_admin_v1_admin_list_indexes_reply(call, &response);
}

/* ---- Apply ---- */

/* Blocks for a commit: the administration has a runtime of its own, and nothing else waits for it. */
void admin_apply_indexes(struct rpc_call *call, const Skerry__Admin__V1__ApplyIndexesRequest *request) {
  const struct admin *admin = rpc_call_service(call);
  struct index_definitions definitions;
  status s =
      index_definitions_parse(str_from_cstr(request->definitions_json), rpc_call_arena(call), &definitions);
  if (status_is_ok(&s))
    s = index_set_apply(admin->indexes, &definitions);
  if (!status_is_ok(&s)) {
    rpc_call_finish(call, s);
    return;
  }
  index_worker_wake(admin->index_worker);
  Skerry__Admin__V1__ApplyIndexesResponse response = SKERRY__ADMIN__V1__APPLY_INDEXES_RESPONSE__INIT;
  response.overridden_at_start = *admin->settings->indexes != '\0';
  skerry_admin_v1_admin_apply_indexes_reply(call, &response);
}

/* ---- Suggest ---- */

struct suggesting {
  struct arena *arena;
  Skerry__Admin__V1__IndexSuggestion *items[ADVISOR_INDEXES];
  size_t count;
  bool failed;
};

static void add_suggestion(void *argument, const struct index_advice *advice) {
  struct suggesting *all = argument;
  Skerry__Admin__V1__IndexSuggestion *one = ARENA_NEW(all->arena, Skerry__Admin__V1__IndexSuggestion);
  Google__Protobuf__Timestamp *time = timestamp_new(all->arena, advice->last_us);
  str index = arena_str_copy(all->arena, advice->index);
  all->failed |= one == NULL || time == NULL || index.ptr == NULL;
  if (all->failed)
    return;
  skerry__admin__v1__index_suggestion__init(one);
  one->index_json = (char *)(uintptr_t)index.ptr;
  one->queries = (int64_t)advice->queries;
  one->last_query_time = time;
  one->duration_us = advice->duration_us;
  all->items[all->count++] = one;
}

static bool is_defined(const struct index_definitions *definitions,
                       const struct index_composite_definition *index) {
  for (size_t i = 0; i < definitions->composite_count; i++)
    if (index_composite_definition_equal(&definitions->composites[i], index))
      return true;
  return false;
}

static status parse_suggestion(const char *index_json, struct arena *arena, struct index_definitions *ret) {
  struct buf json = {0};
  buf_append_str(&json, STR("{\"indexes\":["));
  buf_append_str(&json, str_from_cstr(index_json));
  buf_append_str(&json, STR("]}"));
  status s = json.failed ? no_memory() : index_definitions_parse(buf_str(&json), arena, ret);
  buf_fini(&json);
  return s;
}

/* Leaves out what is defined by now, and adds the rest to `definitions`. */
static status merge_suggestions(struct suggesting *all, struct index_definitions *definitions) {
  struct index_composite_definition *composites = ARENA_NEW_ARRAY(
      all->arena, struct index_composite_definition, definitions->composite_count + all->count);
  if (composites == NULL)
    return no_memory();
  if (definitions->composite_count > 0)
    memcpy(composites, definitions->composites, definitions->composite_count * sizeof *composites);
  definitions->composites = composites;
  size_t kept = 0;
  for (size_t i = 0; i < all->count; i++) {
    struct index_definitions one;
    STATUS_TRY(parse_suggestion(all->items[i]->index_json, all->arena, &one));
    if (one.composite_count == 0 || is_defined(definitions, &one.composites[0]))
      continue;
    if (definitions->composite_count < LIMIT_COMPOSITE_INDEXES)
      composites[definitions->composite_count++] = one.composites[0];
    all->items[kept++] = all->items[i];
  }
  all->count = kept;
  return status_ok();
}

static status suggest(const struct admin *admin, struct suggesting *all,
                      Skerry__Admin__V1__SuggestIndexesResponse *response) {
  struct buf json = {0};
  struct index_definitions definitions;
  index_advisor_visit(admin->advisor, add_suggestion, all);
  if (all->failed)
    return no_memory();
  status s = index_set_format(admin->indexes, &json);
  if (status_is_ok(&s))
    s = index_definitions_parse(buf_str(&json), all->arena, &definitions);
  if (status_is_ok(&s))
    s = merge_suggestions(all, &definitions);
  buf_clear(&json);
  if (status_is_ok(&s))
    s = index_definitions_format(&definitions, &json);
  status kept = keep_text(all->arena, &json, &response->definitions_json);
  return status_is_ok(&s) ? kept : s;
}

void admin_suggest_indexes(struct rpc_call *call, const Skerry__Admin__V1__SuggestIndexesRequest *request) {
  (void)request;
  Skerry__Admin__V1__SuggestIndexesResponse response = SKERRY__ADMIN__V1__SUGGEST_INDEXES_RESPONSE__INIT;
  struct suggesting all = {.arena = rpc_call_arena(call)};
  status s = suggest(rpc_call_service(call), &all, &response);
  if (!status_is_ok(&s)) {
    rpc_call_finish(call, s);
    return;
  }
  response.suggestions = all.items;
  response.n_suggestions = all.count;
  skerry_admin_v1_admin_suggest_indexes_reply(call, &response);
}
