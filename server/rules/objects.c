/* `request` and `resource`. Their members are made when they are asked for. */
#include "server/rules/evaluation.h"

static const char *const method_names[] = {"get", "list", "create", "update", "delete"};

static struct rules_value object(enum rules_object kind) {
  return (struct rules_value){.kind = VALUE_OBJECT, .count = (uint32_t)kind};
}

struct rules_value rules_request_object(void) {
  return object(RULES_OBJECT_REQUEST);
}

struct rules_value rules_document_object(const struct rules_document *document, enum rules_object kind) {
  if (document == NULL)
    return rules_null();
  struct rules_value value = object(kind);
  value.as.document = document;
  return value;
}

struct rules_value rules_resource_value(struct rules_evaluation *e) {
  return e->resource_is_partial ? object(RULES_OBJECT_RESOURCE)
                                : rules_document_object(e->resource, RULES_OBJECT_RESOURCE);
}

static bool is_firestore(const struct rules_evaluation *e) {
  return e->request->service.len == 0 || str_eq(e->request->service, STR("cloud.firestore"));
}

struct rules_value rules_document_path(struct rules_evaluation *e, str relative) {
  if (!is_firestore(e))
    return rules_path_from_text(e, relative);
  struct rules_value below = rules_path_from_text(e, relative);
  struct rules_value *items = rules_memory(e, (size_t)below.count + 3, sizeof *items);
  if (items == NULL)
    return rules_error_value(e, RULES_ERROR_MEMORY, NULL);
  items[0] = rules_string(STR("databases"));
  items[1] = rules_string(e->request->database);
  items[2] = rules_string(STR("documents"));
  if (below.kind == VALUE_PATH && below.count > 0)
    memcpy(items + 3, below.as.items, below.count * sizeof *items);
  return rules_items(VALUE_PATH, items, (size_t)below.count + 3);
}

/* ---- request ---- */

static bool find_in_request(struct rules_evaluation *e, str key, struct rules_value *ret) {
  const struct rules_request *request = e->request;
  bool is_write = request->operation >= RULES_CREATE;
  if (str_eq(key, STR("auth")))
    *ret = request->auth == NULL ? rules_null() : object(RULES_OBJECT_AUTH);
  else if (str_eq(key, STR("resource")) && is_write)
    *ret = rules_document_object(request->after, RULES_OBJECT_AFTER);
  else if (str_eq(key, STR("time")))
    rules_time_make(VALUE_TIMESTAMP, request->time_us / 1000000, request->time_us % 1000000 * 1000, ret);
  else if (str_eq(key, STR("method")))
    *ret = rules_string(str_from_cstr(method_names[request->operation]));
  else if (str_eq(key, STR("path")))
    *ret = request->query != NULL && request->query->all_descendants
               ? (struct rules_value){.kind = VALUE_UNKNOWN}
               : rules_document_path(e, request->path);
  else if (str_eq(key, STR("query")) && request->operation == RULES_LIST && request->query != NULL)
    *ret = object(RULES_OBJECT_QUERY);
  else
    return false;
  return true;
}

static bool find_in_auth(const struct rules_evaluation *e, str key, struct rules_value *ret) {
  if (str_eq(key, STR("uid")))
    *ret = rules_string(e->request->auth->uid);
  else if (str_eq(key, STR("token")))
    *ret = rules_map_of_fields(e->request->auth->claims);
  else
    return false;
  return true;
}

/* {"a": "ASC"}: the fields of order by. */
static struct rules_value orders(struct rules_evaluation *e) {
  const struct rules_query *query = e->request->query;
  struct rules_entry *entries = rules_memory(e, query->order_count, sizeof *entries);
  if (entries == NULL)
    return rules_error_value(e, RULES_ERROR_MEMORY, NULL);
  uint32_t count = 0;
  for (size_t i = 0; i < query->order_count; i++) {
    struct rules_entry entry = {query->orders[i].field,
                                rules_string(query->orders[i].descending ? STR("DESC") : STR("ASC"))};
    uint32_t at = count;
    while (at > 0 && rules_work(e, 1) && str_cmp(entries[at - 1].key, entry.key) > 0)
      at--;
    memmove(entries + at + 1, entries + at, (count - at) * sizeof *entries);
    entries[at] = entry;
    count++;
  }
  return (struct rules_value){.kind = VALUE_MAP, .count = count, .as.entries = entries};
}

static bool find_in_query(struct rules_evaluation *e, str key, struct rules_value *ret) {
  const struct rules_query *query = e->request->query;
  if (str_eq(key, STR("limit")))
    *ret = query->has_limit ? rules_int(query->limit) : rules_null();
  else if (str_eq(key, STR("offset")))
    *ret = rules_int(query->offset);
  else if (str_eq(key, STR("orderBy")))
    *ret = orders(e);
  else
    return false;
  return true;
}

/* ---- Documents ---- */

static str last_segment(str path) {
  size_t at = path.len;
  while (at > 0 && path.ptr[at - 1] != '/')
    at--;
  return str_from(path, at);
}

/* Of services other than cloud.firestore, `resource` is what the caller gives as fields. */
static bool find_in_document(struct rules_evaluation *e, const struct rules_document *document, str key,
                             struct rules_value *ret) {
  struct rules_value fields = rules_map_of_fields(document->fields);
  if (!is_firestore(e))
    return rules_map_find(e, &fields, key, ret);
  if (str_eq(key, STR("data")))
    *ret = fields;
  else if (str_eq(key, STR("id")))
    *ret = rules_string(last_segment(document->path));
  else if (str_eq(key, STR("__name__")))
    *ret = rules_document_path(e, document->path);
  else
    return false;
  return true;
}

/* Any result of a query. */
static bool find_in_result(struct rules_evaluation *e, str key, struct rules_value *ret) {
  if (str_eq(key, STR("data")))
    *ret = rules_partial_root(e);
  else if (str_eq(key, STR("id")) || str_eq(key, STR("__name__")))
    *ret = (struct rules_value){.kind = VALUE_UNKNOWN};
  else
    return false;
  return true;
}

bool rules_object_find(struct rules_evaluation *e, const struct rules_value *value, str key,
                       struct rules_value *ret) {
  switch ((enum rules_object)value->count) {
  case RULES_OBJECT_REQUEST:
    return find_in_request(e, key, ret);
  case RULES_OBJECT_AUTH:
    return find_in_auth(e, key, ret);
  case RULES_OBJECT_QUERY:
    return find_in_query(e, key, ret);
  case RULES_OBJECT_RESOURCE:
  case RULES_OBJECT_AFTER:
    if (value->as.document == NULL) /* of a query */
      return find_in_result(e, key, ret);
    return find_in_document(e, value->as.document, key, ret);
  }
  return false;
}

struct rules_value rules_object_to_map(struct rules_evaluation *e, const struct rules_value *value) {
  /* Sorted. */
  static const char *const names[][7] = {
      [RULES_OBJECT_REQUEST] = {"auth", "method", "path", "query", "resource", "time", NULL},
      [RULES_OBJECT_AUTH] = {"token", "uid", NULL},
      [RULES_OBJECT_QUERY] = {"limit", "offset", "orderBy", NULL},
      [RULES_OBJECT_RESOURCE] = {"__name__", "data", "id", NULL},
      [RULES_OBJECT_AFTER] = {"__name__", "data", "id", NULL},
  };
  if (value->count >= RULES_OBJECT_RESOURCE && !is_firestore(e) && value->as.document != NULL)
    return rules_map_of_fields(value->as.document->fields);
  struct rules_entry *entries = rules_memory(e, 7, sizeof *entries);
  if (entries == NULL)
    return rules_error_value(e, RULES_ERROR_MEMORY, NULL);
  uint32_t count = 0;
  for (size_t i = 0; names[value->count][i] != NULL; i++) {
    entries[count].key = str_from_cstr(names[value->count][i]);
    if (rules_object_find(e, value, entries[count].key, &entries[count].value))
      count++;
  }
  return (struct rules_value){.kind = VALUE_MAP, .count = count, .as.entries = entries};
}
