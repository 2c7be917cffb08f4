/* gRPC calls, each with its requests at the beginning, over one HTTP/2 connection on nghttp2, for one thread
 * and an epoll loop.
 *
 * The load generator does not use rpc/client.h because a call on gRPC core costs its client about 30
 * microseconds of processor, over three times what it costs our server: on the box they share, the generator
 * would be what is measured. Here a call costs what it costs h2load. */
#ifndef SKERRY_BENCH_CHANNEL_H
#define SKERRY_BENCH_CHANNEL_H

#include "base/status.h"
#include "base/str.h"

struct channel;

/* One call under way; its owner keeps it and its bytes in place until `ended`. */
struct channel_call {
  str message;     /* the request, with the 5 bytes that gRPC puts before it; or several */
  bool stays_open; /* the client's side of the stream does not end with it */
  size_t sent;     /* the channel's, like all that follows */
  int grpc_status; /* -1: none came */
  size_t bytes_in; /* of the responses */
  char detail[200];
};

struct channel_options {
  const char *target; /* "HOST:PORT" */
  const char *path;
  const char *authorization; /* NULL: none */
  const char *database;      /* NULL, or for google-cloud-resource-prefix: the emulator's Listen wants it */
  /* The call is over, the connection perhaps too (then UNAVAILABLE). May start the next one. */
  void (*ended)(void *argument, struct channel_call *call, const status *result);
  /* Bytes of its responses, as they come; or NULL. */
  void (*received)(void *argument, struct channel_call *call, const uint8_t *bytes, size_t len);
  void *argument;
};

STATUS_MUST_USE status channel_open(const struct channel_options *options, struct channel **ret);
void channel_close(struct channel *channel); /* calls under way end without a word. NULL allowed */

int channel_fd(const struct channel *channel);
bool channel_wants_write(const struct channel *channel);

/* Puts the call in line; channel_work sends it. False: the connection is gone. */
bool channel_start(struct channel *channel, struct channel_call *call);

/* Reads and writes what the socket takes. False: the connection has ended, and all its calls with it. */
bool channel_work(struct channel *channel);

#endif
