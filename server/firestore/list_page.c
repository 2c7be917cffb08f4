#include "server/firestore/list_page.h"

#include "base/wire.h"
#include "server/firestore/page_token.h"

/* google.firestore.v1.ListDocumentsResponse, ListCollectionIdsResponse and PartitionQueryResponse: all are
 * items and next_page_token. */
enum { ITEM_FIELD = 1, NEXT_PAGE_TOKEN_FIELD = 2 };

status list_page_no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED,
                     "A page needs more memory than a call may take. Ask for smaller pages.");
}

status list_page_set_size(struct list_page *page, int32_t wanted) {
  if (wanted < 0)
    return status_make(STATUS_INVALID_ARGUMENT, "page_size is negative.");
  page->items_max = wanted == 0 ? LIST_PAGE_DEFAULT : wanted > LIST_PAGE_MAX ? LIST_PAGE_MAX : (size_t)wanted;
  return status_ok();
}

static str secret_of(const struct list_page *page) {
  return str_make(page->service->secret, sizeof page->service->secret);
}

status list_page_begin(struct list_page *page, const char *page_token, struct query_selector *selector) {
  if (page->request.ptr == NULL)
    return list_page_no_memory();
  if (*page_token == '\0')
    return status_ok();
  struct page_token token;
  STATUS_TRY(
      page_token_decode(secret_of(page), page->request, str_from_cstr(page_token), page->arena, &token));
  page->start = token.key;
  selector->read_time = NULL;
  selector->version = token.version;
  return status_ok();
}

status list_page_check(const struct list_page *page, const struct query_selector *selector,
                       const struct query_call *reading, status begun) {
  if (begun.code == STATUS_FAILED_PRECONDITION && page->start.len > 0)
    return status_make(STATUS_FAILED_PRECONDITION, "page_token has expired: start the listing again.");
  STATUS_TRY(begun);
  if (selector->version != 0 && reading->snapshot.version != selector->version)
    return status_make(STATUS_INVALID_ARGUMENT, "page_token is not valid for this transaction.");
  return status_ok();
}

uint8_t *list_page_add(struct list_page *page, size_t item_bytes) {
  size_t size = wire_bytes_field_size(ITEM_FIELD, item_bytes);
  if (!buf_reserve(&page->message, size))
    return NULL;
  uint8_t *at = wire_put_bytes_head(page->message.data + page->message.len, ITEM_FIELD, item_bytes);
  page->message.len += size;
  page->items++;
  return at;
}

bool list_page_is_full(const struct list_page *page) {
  return page->items == page->items_max || page->message.len >= LIST_PAGE_BYTES_MAX;
}

status list_page_finish(struct list_page *page, kv_version version, rpc_message *ret) {
  str token_text = {NULL, 0};
  if (page->last.failed || page->message.failed)
    return list_page_no_memory();
  if (page->has_more) {
    struct page_token token = {.key = buf_str(&page->last), .version = version};
    STATUS_TRY(page_token_encode(secret_of(page), page->request, &token, page->arena, &token_text));
  }
  size_t token_size = token_text.len == 0 ? 0 : wire_bytes_field_size(NEXT_PAGE_TOKEN_FIELD, token_text.len);
  if (!rpc_message_alloc(page->message.len + token_size, ret))
    return list_page_no_memory();
  if (page->message.len > 0)
    memcpy(ret->data, page->message.data, page->message.len);
  if (token_size > 0)
    wire_put_bytes(ret->data + page->message.len, NEXT_PAGE_TOKEN_FIELD, token_text);
  return status_ok();
}

void list_page_fini(struct list_page *page) {
  buf_fini(&page->message);
  buf_fini(&page->last);
}
