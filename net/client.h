/* HTTP requests and mails through skerry-net, which does them in a process of its own (main.c).
 *
 * The process starts with the first request, ends when there was none for a minute, and is started again if
 * it dies: at once the first time, then after a second, two, four, up to a minute. What was asked of a
 * process that dies is UNAVAILABLE, nothing is sent twice.
 *
 * Threads: net_client_fetch and net_client_mail from any, and they wait for the answer. One thread of the
 * client's own has the process and the socket; a mutex guards what it shares with those that wait. */
#ifndef SKERRY_NET_CLIENT_H
#define SKERRY_NET_CLIENT_H

#include "base/status.h"
#include "net/protocol.h"

enum { NET_CLIENT_WAITING_MAX = 64, NET_CLIENT_ORIGINS_MAX = 64 };

struct net_client_options {
  const char *program;        /* NULL: skerry-net beside this program, or in ../libexec/skerry of it */
  const char *const *origins; /* URLs; only what has the origin of one of them is reached */
  size_t origin_count;
  const char *ca_file; /* PEM, authorities that are trusted beside the system's; NULL: none */
  const char *user;    /* whom it becomes if this is root; NULL: nobody else */
  bool loopback_http;  /* http to loopback is allowed: development and tests */
  bool smtp_plaintext; /* mail without TLS is allowed beyond loopback */
  const char *proxy;   /* an http or https URL, for all but loopback; NULL: none */
  int64_t idle_ms;     /* 0: a minute */
};

struct net_client;

/* Copies the options. FAILED_PRECONDITION: there is no such program, or an origin is none;
 * RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status net_client_open(const struct net_client_options *options, struct net_client **ret);
/* Lets those that wait go with UNAVAILABLE, and those that come. Once before the end. */
void net_client_stop(struct net_client *client);
/* Nobody is waiting any more. NULL is fine. */
void net_client_close(struct net_client *client);

/* An answer: any HTTP status counts as one. */
struct net_answer {
  struct net_response response; /* borrows from `memory` */
  struct buf memory;
};
void net_answer_fini(struct net_answer *answer);

/* `request->id` is ignored. Waits for timeout_ms at most, and a second. UNAVAILABLE with what went wrong, for
 * the operator; INVALID_ARGUMENT: the request is none that protocol.h allows; RESOURCE_EXHAUSTED: too many
 * wait, or memory. */
STATUS_MUST_USE status net_client_fetch(struct net_client *client, const struct net_request *request,
                                        struct net_answer *ret);

/* The same for a mail: the response's http_status says what became of it (protocol.h). INVALID_ARGUMENT: it
 * is none that protocol.h allows. */
STATUS_MUST_USE status net_client_mail(struct net_client *client, const struct net_mail *mail,
                                       struct net_answer *ret);

/* How often the process was started. */
unsigned net_client_starts(struct net_client *client);

#endif
