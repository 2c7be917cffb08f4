/* ListDocuments and ListCollectionIds: scans over the keys of documents, a page at a time.
 *
 * Both list `groups`: the entries that share a beginning of `segments` segments. For documents a group is the
 * document itself (if it exists) and all that lies below it, for collections all that is in one. Forwards the
 * shortest key of a group comes first, backwards last; the rest of a group is skipped by a seek.
 * (storage/document/key.h) */
#include <strings.h>

#include "base/wire.h"
#include "server/firestore/handlers.h"
#include "server/firestore/page_token.h"
#include "server/firestore/request.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"

enum {
  PAGE_DEFAULT = 300,
  PAGE_MAX = 65536,                 /* what the Node SDK asks for, rounded up */
  PAGE_BYTES_MAX = 3 * 1024 * 1024, /* a page ends early past it: gRPC clients take 4 MiB by default */
  PAGE_SEEKS_MAX = 20000, /* and after so many seeks, full or not, so that no call holds a thread for long */
  PAGE_DECODED_MAX = 4 * 1024 * 1024, /* and after decoding so many bytes for a mask, for the same reason */
};

/* google.firestore.v1.ListDocumentsResponse and ListCollectionIdsResponse: both are items and
 * next_page_token. */
enum { ITEM_FIELD = 1, NEXT_PAGE_TOKEN_FIELD = 2, DOCUMENT_NAME_FIELD = 1 };

struct listing {
  const struct firestore_service *service;
  struct arena *arena;
  struct doc_path parent;
  struct doc_key_range range;
  bool reverse;
  size_t segments; /* of a group's beginning */
  str request;     /* what its page tokens are bound to */
  kv_snapshot snapshot;
  struct transaction *transaction; /* or NULL */
  str start;                       /* the last group of the page before; empty: begin */

  /* Adds a group to the page, or not. `stored` is NULL if nothing is stored under its own key. */
  status (*add)(struct listing *l, struct arena *scratch, str group, str stored);
  const struct doc_mask *mask;
  bool show_missing;

  /* The page so far. */
  struct buf message, last; /* the response; the last group that was added or passed */
  size_t items, items_max, decoded_bytes;
  bool more;
};

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED,
                     "A page needs more memory than a call may take. Ask for smaller pages.");
}

static status page_size(int32_t wanted, size_t *ret) {
  if (wanted < 0)
    return status_make(STATUS_INVALID_ARGUMENT, "page_size is negative.");
  *ret = wanted == 0 ? PAGE_DEFAULT : wanted > PAGE_MAX ? PAGE_MAX : (size_t)wanted;
  return status_ok();
}

/* Room for an item of so many bytes in the response; NULL without memory. */
static uint8_t *add_item(struct listing *l, size_t item_bytes) {
  size_t size = wire_bytes_field_size(ITEM_FIELD, item_bytes);
  if (!buf_reserve(&l->message, size))
    return NULL;
  uint8_t *at = wire_put_bytes_head(l->message.data + l->message.len, ITEM_FIELD, item_bytes);
  l->message.len += size;
  l->items++;
  return at;
}

/* The pages of one listing read one version: a token carries it. */
static status listing_begin(struct listing *l, const char *page_token,
                            const Google__Protobuf__Timestamp *read_time) {
  if (l->request.ptr == NULL)
    return no_memory();
  if (l->transaction != NULL)
    l->snapshot = transaction_snapshot(l->transaction);
  else if (*page_token == '\0')
    return request_snapshot(l->service, read_time, &l->snapshot);
  if (*page_token == '\0')
    return status_ok();
  struct page_token token;
  str secret = str_make(l->service->secret, sizeof l->service->secret);
  STATUS_TRY(page_token_decode(secret, l->request, str_from_cstr(page_token), l->arena, &token));
  l->start = token.key;
  if (l->transaction != NULL)
    return status_ok();
  status result = kv_snapshot_at(l->service->options.store, token.version, &l->snapshot);
  if (result.code == STATUS_FAILED_PRECONDITION)
    return status_make(STATUS_FAILED_PRECONDITION, "page_token has expired: start the listing again.");
  return result;
}

/* Past a group: forwards past all of it; backwards its own key is the last of it. Most documents have nothing
 * below them, and a step costs a tenth of a seek: so forwards one step is tried first, if the iterator stands
 * in the group. */
static status pass_group(const struct listing *l, struct kv_iter *iter, struct arena *scratch, str group,
                         bool is_inside, bool *ret_more) {
  if (l->reverse) {
    *ret_more = kv_iter_seek(iter, group);
    if (*ret_more && str_eq(kv_iter_key(iter), group))
      *ret_more = kv_iter_next(iter);
    return status_ok();
  }
  str next;
  STATUS_TRY(doc_key_skip_descendants(group, scratch, &next));
  if (is_inside) {
    *ret_more = kv_iter_next(iter);
    if (!*ret_more || str_cmp(kv_iter_key(iter), next) >= 0)
      return status_ok();
  }
  *ret_more = kv_iter_seek(iter, next);
  return status_ok();
}

/* Looks at the entry under the iterator and moves on. */
static status step(struct listing *l, struct kv_iter *iter, struct arena *scratch, bool *ret_more) {
  str key = kv_iter_key(iter), group;
  STATUS_TRY(doc_key_ancestor(key, l->segments, &group));
  bool is_below = key.len > group.len;
  group = arena_str_copy(scratch, group); /* the iterator will move */
  if (group.ptr == NULL)
    return no_memory();
  if (is_below && l->reverse) { /* the group's own key is still to come, if there is one */
    *ret_more = kv_iter_seek(iter, group);
    return status_ok();
  }
  STATUS_TRY(l->add(l, scratch, group, is_below ? (str){NULL, 0} : kv_iter_value(iter)));
  buf_clear(&l->last);
  buf_append_str(&l->last, group);
  return pass_group(l, iter, scratch, group, true, ret_more);
}

static status listing_scan(struct rpc_call *call, struct listing *l, struct kv_iter *iter) {
  _Alignas(max_align_t) char memory[8192];
  struct arena scratch; /* one step's memory */
  arena_init(&scratch, memory, sizeof memory, LIMIT_CALL_ARENA_BYTES);
  bool more = false;
  status result = status_ok();
  if (l->start.len > 0)
    result = pass_group(l, iter, &scratch, l->start, false, &more);
  else
    more = kv_iter_next(iter);
  for (size_t seeks = 0; status_is_ok(&result) && more; seeks++) {
    if (l->items == l->items_max || l->message.len >= PAGE_BYTES_MAX ||
        l->decoded_bytes >= PAGE_DECODED_MAX || (seeks >= PAGE_SEEKS_MAX && l->last.len > 0)) {
      l->more = true;
      break;
    }
    if (rpc_call_is_cancelled(call))
      result = status_default(STATUS_CANCELLED);
    else
      result = step(l, iter, &scratch, &more);
    arena_reset(&scratch);
  }
  arena_fini(&scratch);
  return status_is_ok(&result) ? kv_iter_status(iter) : result;
}

/* The part of the range that the page showed, documents that might have been in it included. */
static status listing_record(struct listing *l) {
  if (l->transaction == NULL)
    return status_ok();
  str lower = l->range.lower, upper = l->range.upper, passed = buf_str(&l->last);
  if (l->start.len > 0)
    *(l->reverse ? &upper : &lower) = l->start;
  if (l->more && l->reverse)
    lower = passed;
  else if (l->more)
    STATUS_TRY(doc_key_skip_descendants(passed, l->arena, &upper));
  return transaction_read_range(l->transaction, KV_DOCUMENTS, lower, upper);
}

static status listing_finish_page(struct listing *l, rpc_message *ret) {
  str token_text = {NULL, 0};
  if (l->last.failed || l->message.failed)
    return no_memory();
  if (l->more) {
    str secret = str_make(l->service->secret, sizeof l->service->secret);
    struct page_token token = {.key = buf_str(&l->last), .version = l->snapshot.version};
    STATUS_TRY(page_token_encode(secret, l->request, &token, l->arena, &token_text));
  }
  size_t token_size = token_text.len == 0 ? 0 : wire_bytes_field_size(NEXT_PAGE_TOKEN_FIELD, token_text.len);
  if (!rpc_message_alloc(l->message.len + token_size, ret))
    return no_memory();
  if (l->message.len > 0)
    memcpy(ret->data, l->message.data, l->message.len);
  if (token_size > 0)
    wire_put_bytes(ret->data + l->message.len, NEXT_PAGE_TOKEN_FIELD, token_text);
  return status_ok();
}

/* The whole of both calls after the request was read into `l` (`result` says whether it could be). */
static void listing_run(struct rpc_call *call, struct listing *l, status result) {
  struct kv_iter *iter = NULL;
  rpc_message message;
  if (status_is_ok(&result))
    result = kv_iter_open(l->snapshot, KV_DOCUMENTS, l->range.lower, l->range.upper, l->reverse, &iter);
  if (status_is_ok(&result))
    result = listing_scan(call, l, iter);
  kv_iter_close(iter);
  if (status_is_ok(&result))
    result = listing_record(l);
  transaction_release(l->transaction);
  if (status_is_ok(&result))
    result = listing_finish_page(l, &message);
  buf_fini(&l->message);
  buf_fini(&l->last);
  if (status_is_ok(&result))
    rpc_call_reply(call, &message);
  else
    rpc_call_finish(call, result);
}

/* ---- ListDocuments ---- */

static status add_document(struct listing *l, struct arena *scratch, str group, str stored) {
  bool exists = stored.ptr != NULL;
  if (!exists && !l->show_missing)
    return status_ok();
  struct doc_path path;
  struct doc_record record = {0};
  STATUS_TRY(doc_key_to_path(group, scratch, &path));
  if (exists) {
    STATUS_TRY(doc_record_decode(stored, &record));
    l->decoded_bytes += l->mask == NULL ? 0 : stored.len;
    STATUS_TRY(request_project(&record, l->mask, scratch));
  }
  size_t size = exists ? doc_document_wire_size(path.name, &record)
                       : wire_bytes_field_size(DOCUMENT_NAME_FIELD, path.name.len);
  uint8_t *at = add_item(l, size);
  if (at == NULL)
    return no_memory();
  if (exists)
    doc_document_wire_write(path.name, &record, at);
  else
    wire_put_bytes(at, DOCUMENT_NAME_FIELD, path.name);
  return status_ok();
}

/* order_by: a field path and, after a space, asc or desc. */
static status list_order(str order_by, struct arena *arena, bool *ret_reverse) {
  str direction, field = str_split(order_by, ' ', &direction);
  bool descending = direction.len == 4 && strncasecmp(direction.ptr, "desc", 4) == 0;
  bool ascending = direction.ptr == NULL || (direction.len == 3 && strncasecmp(direction.ptr, "asc", 3) == 0);
  *ret_reverse = descending;
  if (order_by.len == 0)
    return status_ok();
  struct doc_field_path path;
  bool by_name = doc_field_path_is_name(field);
  status valid = by_name ? status_ok() : doc_field_path_parse(field, arena, &path);
  if (!status_is_ok(&valid) || !(ascending || descending))
    return status_make(STATUS_INVALID_ARGUMENT, "Invalid order by clause \"" STR_FMT "\".",
                       STR_ARG(order_by));
  if (by_name)
    return status_ok();
  return status_make(STATUS_UNIMPLEMENTED,
                     "This version lists documents by __name__ only, not by another field.");
}

static status list_documents_open(struct rpc_call *call,
                                  const Google__Firestore__V1__ListDocumentsRequest *request,
                                  struct listing *l) {
  const Google__Protobuf__Timestamp *read_time = NULL;
  if (request->consistency_selector_case ==
      GOOGLE__FIRESTORE__V1__LIST_DOCUMENTS_REQUEST__CONSISTENCY_SELECTOR_READ_TIME)
    read_time = request->read_time;
  STATUS_TRY(request_parent(l->service, request->parent, REQUEST_READS, &l->parent));
  STATUS_TRY(access_check(&l->service->options.access, call, ACCESS_LIST, l->parent.name));
  l->segments = l->parent.segment_count + 2;
  str collection = str_from_cstr(request->collection_id);
  if (collection.len > 0) {
    STATUS_TRY(doc_collection_id_check(collection));
    STATUS_TRY(doc_key_children_range(&l->parent, collection, l->arena, &l->range));
  } else { /* all collections under the parent */
    STATUS_TRY(doc_key_descendants_range(&l->parent, l->arena, &l->range));
  }
  STATUS_TRY(list_order(str_from_cstr(request->order_by), l->arena, &l->reverse));
  if (request->show_missing && *request->order_by != '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "show_missing does not go with order_by.");
  l->show_missing = request->show_missing;
  STATUS_TRY(page_size(request->page_size, &l->items_max));
  STATUS_TRY(request_read_mask(request->mask, l->arena, &l->mask));
  l->request = arena_printf(l->arena, "ListDocuments\n%lld %d\n%d %d\n%s\n%s",
                            read_time == NULL ? 0 : (long long)read_time->seconds,
                            read_time == NULL ? 0 : read_time->nanos, l->reverse, l->show_missing,
                            request->collection_id, request->parent);
  if (request->consistency_selector_case ==
      GOOGLE__FIRESTORE__V1__LIST_DOCUMENTS_REQUEST__CONSISTENCY_SELECTOR_TRANSACTION)
    STATUS_TRY(request_use_transaction(l->service, request->transaction, request_database_name(&l->parent),
                                       &l->transaction));
  return listing_begin(l, request->page_token, read_time);
}

void firestore_list_documents(struct rpc_call *call,
                              const Google__Firestore__V1__ListDocumentsRequest *request) {
  struct listing l = {.service = request_service(call), .arena = rpc_call_arena(call), .add = add_document};
  listing_run(call, &l, list_documents_open(call, request, &l));
}

/* ---- ListCollectionIds ---- */

static status add_collection(struct listing *l, struct arena *scratch, str group, str stored) {
  (void)stored;
  struct doc_path path;
  STATUS_TRY(doc_key_to_path(group, scratch, &path));
  str id = doc_path_id(&path);
  uint8_t *at = add_item(l, id.len);
  if (at == NULL)
    return no_memory();
  memcpy(at, id.ptr, id.len);
  return status_ok();
}

static status list_collection_ids_open(struct rpc_call *call,
                                       const Google__Firestore__V1__ListCollectionIdsRequest *request,
                                       struct listing *l) {
  const Google__Protobuf__Timestamp *read_time = NULL;
  if (request->consistency_selector_case ==
      GOOGLE__FIRESTORE__V1__LIST_COLLECTION_IDS_REQUEST__CONSISTENCY_SELECTOR_READ_TIME)
    read_time = request->read_time;
  STATUS_TRY(request_parent(l->service, request->parent, REQUEST_READS, &l->parent));
  STATUS_TRY(access_check(&l->service->options.access, call, ACCESS_LIST, l->parent.name));
  l->segments = l->parent.segment_count + 1;
  STATUS_TRY(doc_key_descendants_range(&l->parent, l->arena, &l->range));
  STATUS_TRY(page_size(request->page_size, &l->items_max));
  l->request = arena_printf(l->arena, "ListCollectionIds\n%lld %d\n%s",
                            read_time == NULL ? 0 : (long long)read_time->seconds,
                            read_time == NULL ? 0 : read_time->nanos, request->parent);
  return listing_begin(l, request->page_token, read_time);
}

void firestore_list_collection_ids(struct rpc_call *call,
                                   const Google__Firestore__V1__ListCollectionIdsRequest *request) {
  struct listing l = {.service = request_service(call), .arena = rpc_call_arena(call), .add = add_collection};
  listing_run(call, &l, list_collection_ids_open(call, request, &l));
}
