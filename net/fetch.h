/* HTTP requests and mails by libcurl, several at once, on one thread: the inside of skerry-net. Only origins
 * that were allowed at the start are reached; redirects are not followed; certificates are checked against
 * the system's authorities and those given. Nobody else includes <curl/...>. */
#ifndef SKERRY_NET_FETCH_H
#define SKERRY_NET_FETCH_H

#include "base/status.h"
#include "net/protocol.h"
#include "net/url.h"

enum { FETCH_ORIGINS_MAX = 64, FETCH_ACTIVE_MAX = 16 };

struct fetch_options {
  struct url origins[FETCH_ORIGINS_MAX]; /* their texts outlive it */
  size_t origin_count;
  bool loopback_http;  /* http is allowed, to loopback addresses only */
  bool smtp_plaintext; /* mail without TLS is allowed, beyond loopback */
  str ca_pem;          /* further authorities; outlives it */
  const char *proxy;   /* http://host:port, for all but loopback; NULL: none. Outlives it */
};

struct fetch;

/* A response that is complete; what it holds is only there during the call. */
typedef void fetch_done(void *argument, const struct net_response *response);

/* Once a process. FAILED_PRECONDITION, RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status fetch_new(const struct fetch_options *options, fetch_done *done, void *argument,
                                 struct fetch **ret);
void fetch_free(struct fetch *fetch);

/* Begins a request, or answers it at once with what is wrong. fetch_active < FETCH_ACTIVE_MAX. */
void fetch_start(struct fetch *fetch, const struct net_request *request);
void fetch_start_mail(struct fetch *fetch, const struct net_mail *mail);
unsigned fetch_active(const struct fetch *fetch);

/* Waits for something to happen to a request, or to `fd` (`events` of poll(2)), for timeout_ms at most, and
 * goes on with the requests. What happened to `fd`. */
short fetch_wait(struct fetch *fetch, int fd, short events, int timeout_ms);

#endif
