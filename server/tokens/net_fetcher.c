#include "server/tokens/net_fetcher.h"

#include "net/freshness.h"

enum { TIMEOUT_MS = 20000 };

static status get(void *argument, const char *url, struct buf *ret_body, int64_t *ret_lifetime_s) {
  struct net_answer answer = {0};
  struct net_request request = {.timeout_ms = TIMEOUT_MS,
                                .body_bytes_max = KEY_SET_BYTES_MAX,
                                .method = STR("GET"),
                                .url = str_from_cstr(url),
                                .headers = {{STR("accept"), STR("application/json")}},
                                .header_count = 1};
  STATUS_TRY(net_client_fetch(argument, &request, &answer));
  status result = status_ok();
  if (answer.response.http_status != 200) {
    result = status_make(STATUS_UNAVAILABLE, "%s answered with HTTP status %u", url,
                         (unsigned)answer.response.http_status);
  } else {
    buf_append_str(ret_body, answer.response.body);
    *ret_lifetime_s = net_response_lifetime_s(&answer.response);
    if (ret_body->failed)
      result = status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the answer of %s", url);
  }
  net_answer_fini(&answer);
  return result;
}

struct issuers_fetcher net_fetcher(struct net_client *client) {
  return (struct issuers_fetcher){.get = get, .argument = client};
}
