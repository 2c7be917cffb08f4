/* Bytes as they come through the socket pair, from either side: what is decoded encodes to the same bytes.
 * And the URLs in them. */
#include <stdlib.h>

#include "net/freshness.h"
#include "net/protocol.h"
#include "net/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct buf *again, str payload) {
  if (again->failed || again->len != payload.len + NET_FRAME_HEAD_BYTES ||
      memcmp(again->data + NET_FRAME_HEAD_BYTES, payload.ptr, payload.len) != 0)
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  str bytes = str_make(data, size), payload;
  while (net_frame_take(&bytes, &payload) == NET_FRAME_WHOLE) {
    struct net_request request;
    struct net_response response;
    struct net_mail mail;
    struct buf again = {0};
    struct url url;
    if (net_request_decode(payload, &request)) {
      if (!net_request_encode(&request, &again))
        abort();
      check_same(&again, payload);
      if (url_parse(request.url, &url)) {
        url_is_loopback(&url);
        if (!url_same_origin(&url, &url))
          abort();
      }
    } else if (net_response_decode(payload, &response)) {
      if (!net_response_encode(&response, &again))
        abort();
      check_same(&again, payload);
      if (net_response_lifetime_s(&response) < -1)
        abort();
    } else if (net_mail_decode(payload, &mail)) {
      if (!net_mail_encode(&mail, &again))
        abort();
      check_same(&again, payload);
      if (url_parse_mail(mail.url, &url) && url.target.len > 0)
        abort();
    }
    buf_fini(&again);
  }
  return 0;
}
