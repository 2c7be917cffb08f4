#include "server/listener/pipe.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "server/listener/pipe_tls.h"

enum {
  LOG_BURST = 5,
  /* That a client may still send after it was told that nothing more comes: the largest message and some. */
  IGNORED_BYTES_MAX = 16 << 20,
  HTTP_REST_US = 2000000, /* without a byte */
};

static const char SPEAKS_GRPC[] = "HTTP/1.1 426 Upgrade Required\r\n"
                                  "Upgrade: h2c\r\nConnection: close\r\nContent-Type: text/plain\r\n"
                                  "Content-Length: 36\r\n\r\n"
                                  "This port speaks gRPC, over HTTP/2.\n";
static const char BAD_HTTP[] = "HTTP/1.1 400 Bad Request\r\n"
                               "Connection: close\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 54\r\n\r\n"
                               "The request is not well formed (RFC 9112, strictly).\r\n";
#define BUSY_BODY                                                                                            \
  "{\"error\":{\"code\":503,\"message\":\"This server is overloaded. Try again after the time given.\","     \
  "\"status\":\"UNAVAILABLE\"}}\n"
_Static_assert(sizeof BUSY_BODY - 1 == 117, "its Content-Length");
static const char BUSY[] = "HTTP/1.1 503 Service Unavailable\r\n"
                           "Retry-After: 2\r\nConnection: close\r\nContent-Type: application/json\r\n"
                           "Content-Length: 117\r\n\r\n" BUSY_BODY;
static const char SPEAKS_TLS[] = "HTTP/1.1 400 Bad Request\r\n"
                                 "Connection: close\r\nContent-Type: text/plain\r\n"
                                 "Content-Length: 33\r\n\r\n"
                                 "This port speaks TLS (https://).\n";

status pipe_thread_init(struct pipe_thread *thread, const struct pump_options *options, int epoll) {
  memset(thread, 0, sizeof *thread);
  thread->options = options;
  thread->epoll = epoll;
  return pipe_tls_init(thread);
}

void pipe_thread_fini(struct pipe_thread *thread) {
  pipe_tls_fini(thread);
}

/* ---- What could not be written yet ---- */

/* Makes room for `len` bytes behind what it holds. NULL: no memory. */
static uint8_t *pending_extend(struct pipe_pending *pending, size_t len) {
  uint8_t *grown = malloc(pending->len + len);
  if (grown == NULL)
    return NULL;
  if (pending->len > 0)
    memcpy(grown, pending->bytes + pending->start, pending->len);
  free(pending->bytes);
  uint8_t *behind = grown + pending->len;
  *pending = (struct pipe_pending){.bytes = grown, .len = pending->len + len};
  return behind;
}

static void pending_drop(struct pipe_pending *pending) {
  free(pending->bytes);
  *pending = (struct pipe_pending){0};
}

/* False: the other end is gone. */
static bool pending_write(struct pipe_pending *pending, int fd) {
  while (pending->len > 0) {
    ssize_t written = send(fd, pending->bytes + pending->start, pending->len, MSG_NOSIGNAL);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return errno == EAGAIN;
    pending->start += (size_t)written;
    pending->len -= (size_t)written;
  }
  pending_drop(pending);
  return true;
}

/* ---- Sides ---- */

/* Hang-ups are reported whatever the interest is; one that was dealt with must leave the set, or it is
 * reported for ever. */
static void side_unwatch(struct pipe *pipe, struct pipe_side *side) {
  if (side->is_watched)
    epoll_ctl(pipe->thread->epoll, EPOLL_CTL_DEL, side->fd, NULL);
  side->is_watched = false;
}

static void side_close(struct pipe *pipe, struct pipe_side *side) {
  if (side->fd < 0)
    return;
  side_unwatch(pipe, side);
  close(side->fd);
  side->fd = -1;
}

static void side_watch(struct pipe *pipe, struct pipe_side *side, uint32_t interest) {
  if (!side->is_watched || side->interest == interest)
    return;
  struct epoll_event event = {.events = interest, .data.ptr = side};
  epoll_ctl(pipe->thread->epoll, EPOLL_CTL_MOD, side->fd,
            &event); /* of a member with a valid event: succeeds */
  side->interest = interest;
}

static bool side_add(struct pipe *pipe, struct pipe_side *side, uint32_t interest) {
  struct epoll_event event = {.events = interest, .data.ptr = side};
  side->interest = interest;
  side->is_watched = epoll_ctl(pipe->thread->epoll, EPOLL_CTL_ADD, side->fd, &event) == 0;
  return side->is_watched;
}

/* Reading waits while the other side has something to take. */
static bool listens_to_client(const struct pipe *pipe) {
  return !pipe->client_ended && (pipe->phase != PIPE_OPEN || (pipe->to_grpc.len == 0 && !pipe->http_leaves));
}

static bool listens_to_grpc(const struct pipe *pipe) {
  return pipe->grpc.fd >= 0 && pipe->to_client.len == 0;
}

static void update_interest(struct pipe *pipe) {
  side_watch(pipe, &pipe->client,
             (listens_to_client(pipe) ? (uint32_t)EPOLLIN : 0) | (pipe->in_line ? (uint32_t)EPOLLRDHUP : 0) |
                 (pipe->to_client.len > 0 ? (uint32_t)EPOLLOUT : 0));
  side_watch(pipe, &pipe->grpc,
             (listens_to_grpc(pipe) ? (uint32_t)EPOLLIN : 0) |
                 (pipe->to_grpc.len > 0 ? (uint32_t)EPOLLOUT : 0));
}

static void move_to(struct pipe *pipe, enum pipe_phase phase) {
  assert(phase > pipe->phase);
  pipe->phase = phase;
}

/* ---- The end ---- */

/* Each kind with a limit of its own: many of one kind must not hide another. */
enum end { END_CLOSED, END_OFFENCE, END_FOREIGN, END_TLS, END_BUSY, END_COUNT };

static void log_end(struct pipe *pipe, enum end end, const char *why) {
  static struct log_limiter limiters[END_COUNT];
  static const char *const messages[END_COUNT] = {
      [END_CLOSED] = "connection closed",    [END_OFFENCE] = "connection ended: HTTP or header rules broken",
      [END_FOREIGN] = "connection refused",  [END_TLS] = "TLS failed",
      [END_BUSY] = "connection turned away",
  };
  uint32_t suppressed = 0;
  if (log_limiter_pass(&limiters[end], LOG_BURST, &suppressed))
    log_event(LOG_LEVEL_INFO, messages[end], LOG_CSTR("reason", why), LOG_CSTR("peer", pipe->peer.address),
              LOG_INT("suppressed", suppressed));
}

static void close_grpc(struct pipe *pipe) {
  if (pipe->grpc.fd < 0)
    return;
  side_close(pipe, &pipe->grpc);
  pending_drop(&pipe->to_grpc);
  const struct pump_options *options = pipe->thread->options;
  if (pipe->is_http)
    options->close_http(options->argument, pipe->http);
  else
    options->close_grpc(options->argument, &pipe->key);
  pipe->http = NULL;
  pipe->thread->stats.open--;
}

static bool rests(const struct pipe *pipe) {
  return pipe->phase == PIPE_OPEN && pipe->is_http && pipe->grpc.fd < 0;
}

static void leave_line(struct pipe *pipe) {
  pipe->in_line = false;
  pipe->thread->stats.http_line--;
  pipe->thread->line_bytes -= pipe->to_grpc.len;
}

/* Nothing more comes from gRPC core, and nothing goes to it. */
static void end_output(struct pipe *pipe) {
  if (pipe->in_line) {
    leave_line(pipe);
    pending_drop(&pipe->to_grpc);
  }
  close_grpc(pipe);
  guard_free(pipe->guard);
  pipe->guard = NULL;
}

void pipe_close(struct pipe *pipe, const char *why) {
  if (pipe->phase == PIPE_CLOSED)
    return;
  if (why != NULL)
    log_end(pipe, END_CLOSED, why);
  if (why == NULL && pipe->phase == PIPE_HANDSHAKE && pipe->has_spoken) {
    pipe->thread->stats.handshakes_failed++;
    log_end(pipe, END_TLS, "the client ended the handshake (perhaps it does not trust the certificate)");
  }
  end_output(pipe);
  pipe_tls_drop(pipe);
  pipe->thread->cipher_out_len = 0; /* another's begins there */
  side_close(pipe, &pipe->client);
  pending_drop(&pipe->to_client);
  move_to(pipe, PIPE_CLOSED);
  const struct pump_options *options = pipe->thread->options;
  options->ended(options->argument, pipe->ticket);
}

void pipe_free(struct pipe *pipe) {
  assert(pipe->phase == PIPE_CLOSED);
  free(pipe);
}

/* ---- To the client ---- */

/* Bytes as they go over the wire. */
static void write_wire(struct pipe *pipe, const uint8_t *bytes, size_t len) {
  while (len > 0 && pipe->to_client.len == 0) {
    ssize_t written = send(pipe->client.fd, bytes, len, MSG_NOSIGNAL);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0 && errno != EAGAIN) {
      pipe_close(pipe, NULL);
      return;
    }
    if (written < 0)
      break;
    bytes += written;
    len -= (size_t)written;
  }
  if (len == 0)
    return;
  uint8_t *kept = pending_extend(&pipe->to_client, len);
  if (kept == NULL)
    pipe_close(pipe, "out of memory");
  else
    memcpy(kept, bytes, len);
}

/* What BoringSSL wrote by itself or for us. */
static void write_cipher(struct pipe *pipe) {
  struct pipe_thread *thread = pipe->thread;
  size_t len = thread->cipher_out_len;
  thread->cipher_out_len = 0;
  write_wire(pipe, thread->cipher_out, len);
}

static void write_client(struct pipe *pipe, const uint8_t *bytes, size_t len) {
  if (pipe->ssl == NULL)
    write_wire(pipe, bytes, len);
  else if (pipe_tls_put(pipe, bytes, len))
    write_cipher(pipe);
  else
    pipe_close(pipe, "TLS could not write");
}

/* Everything for the client was written, or is kept. */
static void begin_flush(struct pipe *pipe) {
  if (pipe->phase == PIPE_CLOSED)
    return;
  if (pipe->phase != PIPE_FLUSH)
    move_to(pipe, PIPE_FLUSH);
  end_output(pipe);
  if (pipe->ssl != NULL) {
    pipe_tls_end(pipe);
    write_cipher(pipe);
  }
}

/* The moment in which nothing is left for the client. */
static void begin_linger(struct pipe *pipe) {
  shutdown(pipe->client.fd, SHUT_WR);
  move_to(pipe, PIPE_LINGER);
  if (pipe->client_ended)
    pipe_close(pipe, NULL);
}

static void offended(struct pipe *pipe) {
  uint8_t goaway[GUARD_GOAWAY_BYTES_MAX];
  pipe->thread->stats.offences[guard_offence(pipe->guard)]++;
  log_end(pipe, END_OFFENCE, guard_why(pipe->guard));
  size_t len = guard_goaway(pipe->guard, goaway);
  if (len > 0)
    write_client(pipe, goaway, len);
  begin_flush(pipe);
}

/* ---- To gRPC core ---- */

/* What was not written of the ranges is kept. False: no memory. */
static bool keep_rest(struct pipe *pipe, const struct guard_output *output, size_t written) {
  uint8_t *to = pending_extend(&pipe->to_grpc, output->bytes - written);
  for (unsigned i = 0; to != NULL && i < output->count; i++) {
    const struct iovec *range = &output->ranges[i];
    size_t skipped = written < range->iov_len ? written : range->iov_len;
    memcpy(to, (const uint8_t *)range->iov_base + skipped, range->iov_len - skipped);
    to += range->iov_len - skipped;
    written -= skipped;
  }
  return to != NULL;
}

static void write_grpc(struct pipe *pipe, struct guard_output *output) {
  size_t written = 0;
  if (output->bytes == 0)
    return;
  if (pipe->to_grpc.len == 0) {
    struct msghdr message = {.msg_iov = output->ranges, .msg_iovlen = output->count};
    ssize_t sent;
    do
      sent = sendmsg(pipe->grpc.fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN)
      return; /* it closed its end: its hang-up tells the rest */
    written = sent < 0 ? 0 : (size_t)sent;
  }
  if (written < output->bytes && !keep_rest(pipe, output, written))
    pipe_close(pipe, "out of memory");
}

static void http_offended(struct pipe *pipe, const char *why) {
  pipe->thread->stats.http_offences++;
  log_end(pipe, END_OFFENCE, why);
  if (!pipe->http_answered) /* or it would stand in the middle of another answer */
    write_client(pipe, (const uint8_t *)BAD_HTTP, sizeof BAD_HTTP - 1);
  begin_flush(pipe);
}

/* Our end of the socketpair. */
static void attach_server(struct pipe *pipe, int fd) {
  pipe->grpc.fd = fd;
  pipe->thread->stats.open++;
  if (!side_add(pipe, &pipe->grpc, EPOLLIN))
    pipe_close(pipe, "out of memory");
}

/* ---- A place at the gateway ---- */

static void turn_away(struct pipe *pipe, const char *why) {
  pipe->thread->stats.http_busy++;
  log_end(pipe, END_BUSY, why);
  write_client(pipe, (const uint8_t *)BUSY, sizeof BUSY - 1); /* nothing that it asked before is unanswered */
  begin_flush(pipe);
}

/* False: there is none now. */
static bool connect_http(struct pipe *pipe, bool at_any_cost) {
  const struct pump_options *options = pipe->thread->options;
  int ends[2];
  if ((!at_any_cost && options->http_is_full(options->argument)) ||
      socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
    return false;
  pipe->http = options->open_http(options->argument, ends[1], &pipe->peer);
  if (pipe->http == NULL) {
    close(ends[0]);
    return false;
  }
  attach_server(pipe, ends[0]);
  return true;
}

static void stand_in_line(struct pipe *pipe) {
  pipe->in_line = true;
  pipe->thread->stats.http_line++;
}

static void hold_in_line(struct pipe *pipe, const struct guard_output *output) {
  struct pipe_thread *thread = pipe->thread;
  if (output->bytes > thread->options->http_line_bytes_max - thread->line_bytes)
    turn_away(pipe, "the line for a place is full");
  else if (!keep_rest(pipe, output, 0))
    pipe_close(pipe, "out of memory");
  else
    thread->line_bytes += output->bytes;
}

bool pipe_admit(struct pipe *pipe, bool at_any_cost) {
  assert(pipe->in_line);
  if (!connect_http(pipe, at_any_cost))
    return false;
  if (pipe->phase == PIPE_CLOSED)
    return true;
  leave_line(pipe);
  if (!pending_write(&pipe->to_grpc, pipe->grpc.fd))
    pending_drop(&pipe->to_grpc); /* its hang-up tells the rest */
  update_interest(pipe);
  return true;
}

static void http_client_bytes(struct pipe *pipe, const uint8_t *bytes, size_t len, int64_t now_us) {
  if (len == 0 || pipe->phase != PIPE_OPEN)
    return;
  pipe->http_moved_us = now_us;
  const char *wrong = http1_guard_take(&pipe->http1, bytes, len);
  if (wrong != NULL) {
    http_offended(pipe, wrong);
    return;
  }
  if (rests(pipe) && !pipe->in_line && (pipe->thread->stats.http_line > 0 || !connect_http(pipe, false)))
    stand_in_line(pipe);
  if (pipe->phase != PIPE_OPEN)
    return;
  struct guard_output *output = &pipe->thread->output;
  output->ranges[0] = (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
  output->count = 1;
  output->bytes = len;
  if (pipe->in_line)
    hold_in_line(pipe, output);
  else
    write_grpc(pipe, output);
}

static void guard_client_bytes(struct pipe *pipe, const uint8_t *bytes, size_t len, int64_t now_us) {
  struct guard_output *output = &pipe->thread->output;
  if (pipe->is_http) {
    http_client_bytes(pipe, bytes, len, now_us);
    return;
  }
  while (len > 0 && pipe->phase == PIPE_OPEN) {
    output->takes_answers = pipe->to_client.len == 0;
    size_t taken = guard_from_client(pipe->guard, now_us, bytes, len, output);
    write_grpc(pipe, output);
    if (output->answers_len > 0 && pipe->phase == PIPE_OPEN)
      write_client(pipe, output->answers, output->answers_len);
    if (pipe->phase == PIPE_OPEN && guard_offence(pipe->guard) != GUARD_NO_OFFENCE) {
      offended(pipe);
      return;
    }
    bytes += taken;
    len -= taken;
  }
}

static void open_server(struct pipe *pipe, int64_t now_us) {
  const struct pump_options *options = pipe->thread->options;
  int ends[2];
  if (pipe->ssl != NULL)
    tls_peer(pipe->ssl, &pipe->peer);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
    pipe_close(pipe, "no descriptor is left");
    return;
  }
  if (!options->open_grpc(options->argument, ends[1], &pipe->peer, &pipe->key)) {
    close(ends[0]);
    pipe_close(pipe, "the server is stopping, or out of memory");
    return;
  }
  attach_server(pipe, ends[0]);
  if (pipe->phase == PIPE_CLOSED)
    return;
  move_to(pipe, PIPE_OPEN);
  pipe->guard = guard_new(&pipe->thread->options->guard, &pipe->key, now_us);
  if (pipe->guard == NULL)
    pipe_close(pipe, "out of memory");
}

bool pipe_rest(struct pipe *pipe) {
  const struct pump_options *options = pipe->thread->options;
  uint64_t requests = pipe->http1.requests - pipe->http_requests;
  if (pipe->phase != PIPE_OPEN || pipe->http == NULL || pipe->http_leaves || pipe->client_ended ||
      pipe->to_client.len > 0 || pipe->to_grpc.len > 0 || requests == 0 ||
      !http1_guard_is_between(&pipe->http1) || !options->http_rests(options->argument, pipe->http, requests))
    return false;
  pipe->http_leaves = true;
  shutdown(pipe->grpc.fd, SHUT_WR);
  update_interest(pipe); /* what the client sends waits until the other end is closed */
  return true;
}

/* ---- From the client ---- */

static void answer(struct pipe *pipe, const char *text) {
  pipe->thread->stats.foreign++;
  log_end(pipe, END_FOREIGN, "it speaks HTTP/1.1");
  write_client(pipe, (const uint8_t *)text, strlen(text));
  begin_flush(pipe);
}

static void take_http(struct pipe *pipe, const uint8_t *rest, size_t len, int64_t now_us) {
  pipe->is_http = true;
  pipe->thread->stats.http++;
  if (pipe->ssl != NULL)
    tls_peer(pipe->ssl, &pipe->peer);
  move_to(pipe, PIPE_OPEN);
  http_client_bytes(pipe, pipe->preface, pipe->preface_len, now_us);
  http_client_bytes(pipe, rest, len, now_us);
}

static void take_preface(struct pipe *pipe, const uint8_t *bytes, size_t len, int64_t now_us) {
  size_t taken = HTTP2_PREFACE_BYTES - pipe->preface_len;
  taken = len < taken ? len : taken;
  memcpy(pipe->preface + pipe->preface_len, bytes, taken);
  pipe->preface_len += (uint8_t)taken;
  if (memcmp(pipe->preface, HTTP2_PREFACE, pipe->preface_len) != 0) {
    if (pipe->preface[0] >= 'A' && pipe->preface[0] <= 'Z') {
      if (pipe->thread->options->open_http == NULL)
        answer(pipe, SPEAKS_GRPC);
      else
        take_http(pipe, bytes + taken, len - taken, now_us);
      return;
    }
    pipe->thread->stats.foreign++;
    pipe_close(pipe,
               pipe->ssl != NULL ? "it does not speak HTTP/2" : "it does not speak HTTP/2 (TLS perhaps)");
  } else if (pipe->preface_len == HTTP2_PREFACE_BYTES) {
    open_server(pipe, now_us);
    guard_client_bytes(pipe, pipe->preface, HTTP2_PREFACE_BYTES, now_us);
    guard_client_bytes(pipe, bytes + taken, len - taken, now_us);
  }
}

static void take_plain(struct pipe *pipe, const uint8_t *bytes, size_t len, int64_t now_us) {
  if (pipe->phase == PIPE_PREFACE && len > 0)
    take_preface(pipe, bytes, len, now_us);
  else if (pipe->phase == PIPE_OPEN)
    guard_client_bytes(pipe, bytes, len, now_us);
}

/* gRPC core takes the end of its input for the end of the connection, and closes its end in turn. */
static void end_grpc_input(struct pipe *pipe) {
  if (pipe->client_ended && pipe->to_grpc.len == 0 && pipe->grpc.fd >= 0)
    shutdown(pipe->grpc.fd, SHUT_WR);
}

static void client_ended(struct pipe *pipe) {
  pipe->client_ended = true;
  if (rests(pipe))
    begin_flush(pipe);
  else if (pipe->phase == PIPE_OPEN)
    end_grpc_input(pipe);
  else if (pipe->phase != PIPE_FLUSH)
    pipe_close(pipe, NULL); /* nothing was begun, or all is said */
}

/* BoringSSL's alert, if it wrote one, has gone out. */
static void tls_failed(struct pipe *pipe) {
  log_end(pipe, END_TLS, pipe_tls_why());
  if (pipe->phase == PIPE_CLOSED)
    return;
  pipe_tls_drop(pipe);
  begin_flush(pipe);
}

/* Decrypts all that is there, and gives it on as one piece. */
static void take_cipher(struct pipe *pipe, const uint8_t *bytes, size_t len, int64_t now_us) {
  size_t plain_len;
  enum pipe_tls_state state = pipe_tls_take(pipe, bytes, len, &plain_len);
  write_cipher(pipe);
  if (pipe->phase == PIPE_HANDSHAKE && (state == PIPE_TLS_OPEN || state == PIPE_TLS_ENDED || plain_len > 0))
    move_to(pipe, PIPE_PREFACE);
  take_plain(pipe, pipe->thread->plain, plain_len, now_us);
  if (state == PIPE_TLS_FAILED && pipe->phase < PIPE_FLUSH)
    tls_failed(pipe);
  else if (state == PIPE_TLS_ENDED && pipe->phase < PIPE_LINGER)
    client_ended(pipe);
}

/* Somebody who takes this port for one without TLS. */
static bool is_plaintext(const struct pipe *pipe, const uint8_t *bytes) {
  return pipe->phase == PIPE_HANDSHAKE && bytes[0] >= 'A' && bytes[0] <= 'Z' && !pipe->has_spoken;
}

static void read_client(struct pipe *pipe, int64_t now_us) {
  uint8_t *received = pipe->thread->received;
  ssize_t got = recv(pipe->client.fd, received, PIPE_READ_BYTES, 0);
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR)
      pipe_close(pipe, NULL);
    return;
  }
  if (got == 0) {
    client_ended(pipe);
    return;
  }
  if (pipe->phase >= PIPE_FLUSH) {
    pipe->ignored_bytes += (size_t)got;
    if (pipe->ignored_bytes > IGNORED_BYTES_MAX)
      pipe_close(pipe, NULL);
    return;
  }
  if (pipe->ssl == NULL) {
    take_plain(pipe, received, (size_t)got, now_us);
  } else if (is_plaintext(pipe, received)) {
    pipe_tls_drop(pipe);
    answer(pipe, SPEAKS_TLS);
  } else {
    pipe->has_spoken = true;
    take_cipher(pipe, received, (size_t)got, now_us);
  }
}

/* ---- From gRPC core ---- */

static void read_grpc(struct pipe *pipe, int64_t now_us) {
  uint8_t *received = pipe->thread->received;
  ssize_t got = recv(pipe->grpc.fd, received, PIPE_READ_BYTES, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR) && pipe->phase == PIPE_OPEN)
    return;
  if (got <= 0 && pipe->http_leaves && pipe->phase == PIPE_OPEN) {
    close_grpc(pipe);
    pipe->http_leaves = false;
    pipe->http_requests = pipe->http1.requests;
    return;
  }
  if (got <= 0) {
    begin_flush(pipe);
    return;
  }
  if (pipe->guard != NULL)
    guard_from_server(pipe->guard, now_us, received, (size_t)got);
  pipe->http_moved_us = now_us;
  pipe->http_answered = pipe->http_answered || pipe->is_http;
  write_client(pipe, received, (size_t)got);
}

/* It closed its end. What it wrote before is still to be read, but no event tells of it. */
static void grpc_hung_up(struct pipe *pipe) {
  side_unwatch(pipe, &pipe->grpc);
  pending_drop(&pipe->to_grpc);
  if (pipe->phase == PIPE_OPEN)
    move_to(pipe, PIPE_FLUSH);
}

/* ---- Events ---- */

static void run_client(struct pipe *pipe, uint32_t events, int64_t now_us) {
  if (pipe->in_line && (events & EPOLLRDHUP) != 0) { /* nobody waits for the answer */
    pipe_close(pipe, NULL);
    return;
  }
  /* Gone in both directions; but what it sent is read before. */
  if ((events & EPOLLERR) != 0 || ((events & EPOLLHUP) != 0 && (events & EPOLLIN) == 0)) {
    pipe_close(pipe, NULL);
    return;
  }
  if ((events & EPOLLOUT) != 0 && !pending_write(&pipe->to_client, pipe->client.fd)) {
    pipe_close(pipe, NULL);
    return;
  }
  if ((events & EPOLLIN) != 0 && listens_to_client(pipe))
    read_client(pipe, now_us);
}

static void run_grpc(struct pipe *pipe, uint32_t events, int64_t now_us) {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    while (pipe->http_leaves && pipe->phase == PIPE_OPEN && listens_to_grpc(pipe))
      read_grpc(pipe, now_us);
    if (pipe->phase != PIPE_OPEN || rests(pipe))
      return;
    grpc_hung_up(pipe);
    return;
  }
  if ((events & EPOLLOUT) != 0) {
    if (!pending_write(&pipe->to_grpc, pipe->grpc.fd))
      pending_drop(&pipe->to_grpc);
    end_grpc_input(pipe);
  }
  if ((events & EPOLLIN) != 0 && listens_to_grpc(pipe))
    read_grpc(pipe, now_us);
}

void pipe_run(struct pipe *pipe, struct pipe_side *side, uint32_t events, int64_t now_us) {
  assert(side->fd >= 0);
  if (side == &pipe->client)
    run_client(pipe, events, now_us);
  else
    run_grpc(pipe, events, now_us);
  while (pipe->phase == PIPE_FLUSH && listens_to_grpc(pipe))
    read_grpc(pipe, now_us);
  if (pipe->phase == PIPE_FLUSH && pipe->to_client.len == 0)
    begin_linger(pipe);
  if (pipe->phase != PIPE_CLOSED)
    update_interest(pipe);
}

/* Whether bytes for the client have waited since an earlier check without one of them moving. */
static bool is_stalled(struct pipe *pipe, int64_t now_us) {
  const uint8_t *first = pipe->to_client.len > 0 ? pipe->to_client.bytes + pipe->to_client.start : NULL;
  if (first == NULL || first != pipe->stalled_at)
    pipe->stalled_since_us = now_us;
  pipe->stalled_at = first;
  return now_us - pipe->stalled_since_us > pipe->thread->options->reader_timeout_ms * 1000LL;
}

void pipe_turn_away(struct pipe *pipe, int64_t now_us) {
  assert(pipe->in_line);
  turn_away(pipe, "no place became free for its request");
  if (pipe->phase != PIPE_CLOSED)
    pipe_run(pipe, &pipe->client, 0, now_us);
}

static void check_http(struct pipe *pipe, int64_t now_us) {
  int64_t still_us = now_us - pipe->http_moved_us;
  if (rests(pipe)) {
    if (!pipe->thread->is_ending && still_us < pipe->thread->options->http_idle_timeout_ms * 1000LL)
      return;
    begin_flush(pipe);
    if (pipe->phase != PIPE_CLOSED)
      pipe_run(pipe, &pipe->client, 0, now_us);
  } else if (still_us >= HTTP_REST_US) {
    pipe_rest(pipe);
  }
}

void pipe_check(struct pipe *pipe, int64_t now_us) {
  if (pipe->phase == PIPE_OPEN && pipe->is_http)
    check_http(pipe, now_us);
  if (pipe->phase == PIPE_OPEN && is_stalled(pipe, now_us)) {
    pipe_close(pipe, "it took nothing of what was there for it");
    return;
  }
  /* While gRPC core takes nothing, nothing is read: it is not the client that is slow. */
  if (pipe->phase == PIPE_OPEN && pipe->guard != NULL && pipe->to_grpc.len == 0 &&
      guard_is_overdue(pipe->guard, now_us)) {
    offended(pipe);
    if (pipe->phase != PIPE_CLOSED)
      pipe_run(pipe, &pipe->client, 0, now_us);
  }
}

struct pipe *pipe_new(struct pipe_thread *thread, int fd, const struct rpc_peer *peer, bool always_h2,
                      void *ticket) {
  struct pipe *pipe = calloc(1, sizeof *pipe);
  bool is_tls = thread->options->tls != NULL;
  if (pipe == NULL) {
    close(fd);
    return NULL;
  }
  *pipe = (struct pipe){.thread = thread,
                        .phase = is_tls ? PIPE_HANDSHAKE : PIPE_PREFACE,
                        .client = {.pipe = pipe, .fd = fd},
                        .grpc = {.pipe = pipe, .fd = -1},
                        .ticket = ticket,
                        .peer = *peer};
  if ((is_tls && !pipe_tls_begin(pipe, always_h2)) || !side_add(pipe, &pipe->client, EPOLLIN)) {
    pipe_tls_drop(pipe);
    close(fd);
    free(pipe);
    return NULL;
  }
  return pipe;
}
