#include "tests/support/scripted_issuer.h"

#include <stdio.h>

void scripted_issuer_init(struct scripted_issuer *issuer) {
  *issuer = (struct scripted_issuer){.lifetime_s = 3600};
  pthread_mutex_init(&issuer->mutex, NULL);
}

void scripted_issuer_fini(struct scripted_issuer *issuer) {
  pthread_mutex_destroy(&issuer->mutex);
}

void scripted_issuer_set_keys(struct scripted_issuer *issuer, str keys) {
  pthread_mutex_lock(&issuer->mutex);
  issuer->keys = keys;
  pthread_mutex_unlock(&issuer->mutex);
}

void scripted_issuer_set_down(struct scripted_issuer *issuer, bool down) {
  pthread_mutex_lock(&issuer->mutex);
  issuer->down = down;
  pthread_mutex_unlock(&issuer->mutex);
}

unsigned scripted_issuer_requests(struct scripted_issuer *issuer) {
  pthread_mutex_lock(&issuer->mutex);
  unsigned requests = issuer->key_requests + issuer->discovery_requests;
  pthread_mutex_unlock(&issuer->mutex);
  return requests;
}

static status get(void *argument, const char *url, struct buf *ret_body, int64_t *ret_lifetime_s) {
  struct scripted_issuer *issuer = argument;
  status result = status_ok();
  pthread_mutex_lock(&issuer->mutex);
  bool discovery = str_has_suffix(str_from_cstr(url), STR("/.well-known/openid-configuration"));
  if (discovery)
    issuer->discovery_requests++;
  else
    issuer->key_requests++;
  snprintf(issuer->last_url, sizeof issuer->last_url, "%s", url);
  if (issuer->down)
    result = status_make(STATUS_UNAVAILABLE, "it is down");
  else
    buf_append_str(ret_body, discovery ? issuer->discovery : issuer->keys);
  *ret_lifetime_s = issuer->lifetime_s;
  pthread_mutex_unlock(&issuer->mutex);
  return result;
}

struct issuers_fetcher scripted_issuer_fetcher(struct scripted_issuer *issuer) {
  return (struct issuers_fetcher){.get = get, .argument = issuer};
}
