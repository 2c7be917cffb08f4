/* Page tokens: where a list call goes on, as text that only this server can make.
 *
 * A token carries the last key that was given and the version that the pages are read at. It is bound to its
 * request and signed (HMAC-SHA-256, 128 bits) with a secret of the server, so a token that was made up,
 * damaged or taken from another request is refused and never reaches the store. It is not encrypted: it tells
 * its holder nothing but the name that the last page ended with. Any thread.
 *
 *   token = base64url without padding of: format (1 byte, 1), signature (16), version (8, big-endian), key */
#ifndef SKERRY_SERVER_FIRESTORE_PAGE_TOKEN_H
#define SKERRY_SERVER_FIRESTORE_PAGE_TOKEN_H

#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

struct page_token {
  str key;         /* the last that was given: at most KV_KEY_MAX_BYTES */
  int64_t version; /* kv_version of the pages' snapshot */
};

/* `secret` is 32 random bytes that live as long as tokens shall. `request` is what all pages of one listing
 * have in common, put together by the caller without ambiguity: method, parent, collection, order, read time,
 * flags; not the page size and not masks. The text is in the arena, ends in NUL (not counted);
 * RESOURCE_EXHAUSTED past its cap. */
STATUS_MUST_USE status page_token_encode(str secret, str request, const struct page_token *token,
                                         struct arena *arena, str *ret);

/* INVALID_ARGUMENT if this server did not make `text` for this request. The key is in the arena. An empty
 * text is no token: the caller starts at the beginning without asking here. */
STATUS_MUST_USE status page_token_decode(str secret, str request, str text, struct arena *arena,
                                         struct page_token *ret);

#endif
