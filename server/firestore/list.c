/* ListDocuments and ListCollectionIds: scans over the keys of documents, a page at a time.
 *
 * Both list `groups`: the entries that share a beginning of `segments` segments. For documents a group is the
 * document itself (if it exists) and all that lies below it, for collections all that is in one. Forwards the
 * shortest key of a group comes first, backwards last; the rest of a group is skipped by a seek.
 * (storage/document/key.h) ListDocuments in the order of fields is a query: list_order.h. */
#include "base/wire.h"
#include "server/firestore/handlers.h"
#include "server/firestore/list_order.h"
#include "server/firestore/list_page.h"
#include "server/firestore/order_by.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"

enum {
  PAGE_SEEKS_MAX =
      20000, /* a page ends after so many, full or not, so that no call holds a thread for long */
  PAGE_DECODED_MAX = 4 * 1024 * 1024, /* and after decoding so many bytes for a mask, for the same reason */
};

enum { DOCUMENT_NAME_FIELD = 1 }; /* google.firestore.v1.Document */

struct listing {
  struct list_page page;
  struct query_selector selector;
  struct query_call reading;
  struct doc_path parent;
  const struct access_caller *caller;
  struct doc_key_range range;
  bool reverse;
  size_t segments; /* of a group's beginning */

  /* Adds a group to the page, or not. `stored` is NULL if nothing is stored under its own key. */
  status (*add)(struct listing *l, struct arena *scratch, str group, str stored);
  bool show_missing;
  size_t decoded_bytes;

  /* The order of a ListDocuments that is a query; none otherwise. */
  struct query_order *orders;
  size_t order_count;
};

static struct listing listing_make(struct rpc_call *call) {
  return (struct listing){.page = {.service = request_service(call), .arena = rpc_call_arena(call)}};
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
    return list_page_no_memory();
  if (is_below && l->reverse) { /* the group's own key is still to come, if there is one */
    *ret_more = kv_iter_seek(iter, group);
    return status_ok();
  }
  STATUS_TRY(l->add(l, scratch, group, is_below ? (str){NULL, 0} : kv_iter_value(iter)));
  buf_clear(&l->page.last);
  buf_append_str(&l->page.last, group);
  return pass_group(l, iter, scratch, group, true, ret_more);
}

static status listing_scan(struct rpc_call *call, struct listing *l, struct kv_iter *iter) {
  _Alignas(max_align_t) char memory[8192];
  struct arena scratch; /* one step's memory */
  arena_init(&scratch, memory, sizeof memory, LIMIT_CALL_ARENA_BYTES);
  bool more = false;
  status result = status_ok();
  if (l->page.start.len > 0)
    result = pass_group(l, iter, &scratch, l->page.start, false, &more);
  else
    more = kv_iter_next(iter);
  for (size_t seeks = 0; status_is_ok(&result) && more; seeks++) {
    if (list_page_is_full(&l->page) || l->decoded_bytes >= PAGE_DECODED_MAX ||
        (seeks >= PAGE_SEEKS_MAX && l->page.last.len > 0)) {
      l->page.has_more = true;
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

static status listing_begin(struct rpc_call *call, struct listing *l, const char *page_token) {
  STATUS_TRY(list_page_begin(&l->page, page_token, &l->selector));
  if (l->order_count > 0)
    return status_ok();
  status begun = query_call_begin(call, &l->parent, &l->selector, &l->reading);
  STATUS_TRY(list_page_check(&l->page, &l->selector, &l->reading, begun));
  return status_ok();
}

/* Makes the part of the range that the page showed, documents that might have been in it included, part of a
 * transaction's read set. */
static status listing_record(const struct listing *l) {
  if (l->reading.transaction == NULL)
    return status_ok();
  const struct list_page *page = &l->page;
  str lower = l->range.lower, upper = l->range.upper, passed = buf_str(&page->last);
  if (page->start.len > 0)
    *(l->reverse ? &upper : &lower) = page->start;
  if (page->has_more && l->reverse)
    lower = passed;
  else if (page->has_more)
    STATUS_TRY(doc_key_skip_descendants(passed, page->arena, &upper));
  return transaction_read_range(l->reading.transaction, KV_DOCUMENTS, lower, upper);
}

/* The whole of both calls after the request was read into `l` (`result` says whether it could be). */
static void listing_run(struct rpc_call *call, struct listing *l, status result) {
  struct kv_iter *iter = NULL;
  rpc_message message = {0};
  if (status_is_ok(&result))
    result =
        kv_iter_open(l->reading.snapshot, KV_DOCUMENTS, l->range.lower, l->range.upper, l->reverse, &iter);
  if (status_is_ok(&result))
    result = listing_scan(call, l, iter);
  kv_iter_close(iter);
  if (status_is_ok(&result))
    result = listing_record(l);
  if (status_is_ok(&result))
    result = list_page_finish(&l->page, l->reading.snapshot.version, &message);
  list_page_fini(&l->page);
  status transaction = query_call_end(&l->reading);
  if (status_is_ok(&result) && !status_is_ok(&transaction)) {
    rpc_message_discard(&message);
    result = transaction;
  }
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
    l->decoded_bytes += l->page.mask == NULL ? 0 : stored.len;
    STATUS_TRY(request_project(&record, l->page.mask, scratch));
  }
  size_t size = exists ? doc_document_wire_size(path.name, &record)
                       : wire_bytes_field_size(DOCUMENT_NAME_FIELD, path.name.len);
  uint8_t *at = list_page_add(&l->page, size);
  if (at == NULL)
    return list_page_no_memory();
  if (exists)
    doc_document_wire_write(path.name, &record, at);
  else
    wire_put_bytes(at, DOCUMENT_NAME_FIELD, path.name);
  return status_ok();
}

/* By names alone it is a scan; by anything else it is a query. */
static status list_order(const Google__Firestore__V1__ListDocumentsRequest *request, struct listing *l) {
  STATUS_TRY(order_by_parse(str_from_cstr(request->order_by), l->page.arena, &l->orders, &l->order_count));
  if (l->order_count > 0 && request->show_missing)
    return status_make(STATUS_INVALID_ARGUMENT, "show_missing does not go with order_by.");
  if (l->order_count == 1 && l->orders[0].field.is_name) {
    l->reverse = l->orders[0].descending;
    l->order_count = 0;
  }
  return status_ok();
}

static status judge_list(const struct listing *l, str collection) {
  struct access_reading reading;
  STATUS_TRY(access_reading_init(l->caller, &l->parent, false, l->page.arena, &reading));
  return access_judge_collection(&reading, &l->parent, collection);
}

static status list_documents_open(struct rpc_call *call,
                                  const Google__Firestore__V1__ListDocumentsRequest *request,
                                  struct listing *l) {
  const struct firestore_service *service = l->page.service;
  struct arena *arena = l->page.arena;
  const Google__Protobuf__Timestamp *read_time = NULL;
  if (request->consistency_selector_case ==
      GOOGLE__FIRESTORE__V1__LIST_DOCUMENTS_REQUEST__CONSISTENCY_SELECTOR_TRANSACTION) {
    l->selector.has_transaction = true;
    l->selector.transaction = request->transaction;
  } else if (request->consistency_selector_case ==
             GOOGLE__FIRESTORE__V1__LIST_DOCUMENTS_REQUEST__CONSISTENCY_SELECTOR_READ_TIME) {
    l->selector.read_time = read_time = request->read_time;
  }
  STATUS_TRY(request_parent(service, request->parent, REQUEST_READS, &l->parent));
  STATUS_TRY(access_enter(service->options.access, call, ACCESS_READ, &l->parent, &l->caller));
  l->segments = l->parent.segment_count + 2;
  str collection = str_from_cstr(request->collection_id);
  if (collection.len > 0) {
    STATUS_TRY(doc_collection_id_check(collection));
    STATUS_TRY(doc_key_children_range(&l->parent, collection, arena, &l->range));
  } else { /* all collections under the parent */
    STATUS_TRY(doc_key_descendants_range(&l->parent, arena, &l->range));
  }
  STATUS_TRY(judge_list(l, collection));
  STATUS_TRY(list_order(request, l));
  l->show_missing = request->show_missing;
  STATUS_TRY(list_page_set_size(&l->page, request->page_size));
  STATUS_TRY(request_read_mask(request->mask, arena, &l->page.mask));
  l->page.request =
      arena_printf(arena, "ListDocuments\n%lld %d\n%d %d\n%s\n%s\n%s",
                   read_time == NULL ? 0 : (long long)read_time->seconds,
                   read_time == NULL ? 0 : read_time->nanos, l->reverse, l->show_missing,
                   request->collection_id, request->parent, l->order_count == 0 ? "" : request->order_by);
  return listing_begin(call, l, request->page_token);
}

void firestore_list_documents(struct rpc_call *call,
                              const Google__Firestore__V1__ListDocumentsRequest *request) {
  struct listing l = listing_make(call);
  l.add = add_document;
  status result = list_documents_open(call, request, &l);
  if (status_is_ok(&result) && l.order_count > 0)
    list_ordered(call, &l.parent, str_from_cstr(request->collection_id), l.orders, l.order_count, &l.page,
                 &l.selector);
  else
    listing_run(call, &l, result);
}

/* ---- ListCollectionIds ---- */

static status add_collection(struct listing *l, struct arena *scratch, str group, str stored) {
  (void)stored;
  struct doc_path path;
  STATUS_TRY(doc_key_to_path(group, scratch, &path));
  str id = doc_path_id(&path);
  uint8_t *at = list_page_add(&l->page, id.len);
  if (at == NULL)
    return list_page_no_memory();
  memcpy(at, id.ptr, id.len);
  return status_ok();
}

static status list_collection_ids_open(struct rpc_call *call,
                                       const Google__Firestore__V1__ListCollectionIdsRequest *request,
                                       struct listing *l) {
  const struct firestore_service *service = l->page.service;
  const Google__Protobuf__Timestamp *read_time = NULL;
  if (request->consistency_selector_case ==
      GOOGLE__FIRESTORE__V1__LIST_COLLECTION_IDS_REQUEST__CONSISTENCY_SELECTOR_READ_TIME)
    l->selector.read_time = read_time = request->read_time;
  STATUS_TRY(request_parent(service, request->parent, REQUEST_READS, &l->parent));
  STATUS_TRY(access_enter(service->options.access, call, ACCESS_READ_ALL, &l->parent, &l->caller));
  l->segments = l->parent.segment_count + 1;
  STATUS_TRY(doc_key_descendants_range(&l->parent, l->page.arena, &l->range));
  STATUS_TRY(list_page_set_size(&l->page, request->page_size));
  l->page.request = arena_printf(l->page.arena, "ListCollectionIds\n%lld %d\n%s",
                                 read_time == NULL ? 0 : (long long)read_time->seconds,
                                 read_time == NULL ? 0 : read_time->nanos, request->parent);
  return listing_begin(call, l, request->page_token);
}

void firestore_list_collection_ids(struct rpc_call *call,
                                   const Google__Firestore__V1__ListCollectionIdsRequest *request) {
  struct listing l = listing_make(call);
  l.add = add_collection;
  listing_run(call, &l, list_collection_ids_open(call, request, &l));
}
