/* One page of a list call: a response under construction, and where the next one goes on. */
#ifndef SKERRY_SERVER_FIRESTORE_LIST_PAGE_H
#define SKERRY_SERVER_FIRESTORE_LIST_PAGE_H

#include "server/firestore/query_call.h"

enum {
  LIST_PAGE_DEFAULT = 300,
  LIST_PAGE_MAX = 65536,                 /* what the Node SDK asks for, rounded up */
  LIST_PAGE_BYTES_MAX = 3 * 1024 * 1024, /* a page ends early past it: gRPC clients take 4 MiB by default */
};

struct list_page {
  const struct firestore_service *service;
  struct arena *arena;
  str request;   /* what its page tokens are bound to; NULL ptr: there was no memory for it */
  str start;     /* the key that the page before ended with; empty: begin */
  bool has_more; /* a token is given */
  size_t items, items_max;
  const struct doc_mask *mask; /* of documents; NULL: all of them */
  struct buf message, last;    /* the response; the last key that was added or passed */
};

status list_page_no_memory(void);

/* page_size of the request, 0 for the default. */
STATUS_MUST_USE status list_page_set_size(struct list_page *page, int32_t wanted);
/* Reads page_token (may be ""): the pages of one listing read one version, which goes into the selector, but
 * for those of a transaction, which read that one's. query_call_begin and list_page_check come next. */
STATUS_MUST_USE status list_page_begin(struct list_page *page, const char *page_token,
                                       struct query_selector *selector);
/* What query_call_begin gave, in the words of this call. */
STATUS_MUST_USE status list_page_check(const struct list_page *page, const struct query_selector *selector,
                                       const struct query_call *reading, status begun);

/* Room for an item of so many bytes in the response; NULL without memory. */
uint8_t *list_page_add(struct list_page *page, size_t item_bytes);
bool list_page_is_full(const struct list_page *page);

/* The response. */
STATUS_MUST_USE status list_page_finish(struct list_page *page, kv_version version, rpc_message *ret);
void list_page_fini(struct list_page *page);

#endif
