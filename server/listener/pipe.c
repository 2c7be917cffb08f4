#include "server/listener/pipe.h"

#include <assert.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

enum { LOG_BURST = 5 };

static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
_Static_assert(sizeof PREFACE - 1 == PIPE_PREFACE_BYTES, "HTTP/2's preface");

static const char SPEAKS_GRPC[] = "HTTP/1.1 426 Upgrade Required\r\n"
                                  "Upgrade: h2c\r\nConnection: close\r\nContent-Type: text/plain\r\n"
                                  "Content-Length: 36\r\n\r\n"
                                  "This port speaks gRPC, over HTTP/2.\n";
static const char SPEAKS_TLS[] = "HTTP/1.1 400 Bad Request\r\n"
                                 "Connection: close\r\nContent-Type: text/plain\r\n"
                                 "Content-Length: 33\r\n\r\n"
                                 "This port speaks TLS (https://).\n";

/* ---- BoringSSL reads and writes the thread's buffers ---- */

static int bio_read(BIO *bio, char *out, int len) {
  struct pipe_thread *thread = BIO_get_data(bio);
  size_t taken = thread->cipher_in_len < (size_t)len ? thread->cipher_in_len : (size_t)len;
  BIO_clear_retry_flags(bio);
  if (taken == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  memcpy(out, thread->cipher_in, taken);
  thread->cipher_in += taken;
  thread->cipher_in_len -= taken;
  return (int)taken;
}

static int bio_write(BIO *bio, const char *bytes, int len) {
  struct pipe_thread *thread = BIO_get_data(bio);
  size_t room = sizeof thread->cipher_out - thread->cipher_out_len;
  size_t taken = room < (size_t)len ? room : (size_t)len;
  BIO_clear_retry_flags(bio);
  if (taken == 0) {
    BIO_set_retry_write(bio);
    return -1;
  }
  memcpy(thread->cipher_out + thread->cipher_out_len, bytes, taken);
  thread->cipher_out_len += taken;
  return (int)taken;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
  (void)bio, (void)number, (void)pointer;
  return command == BIO_CTRL_FLUSH;
}

status pipe_thread_init(struct pipe_thread *thread, const struct pump_options *options, int epoll) {
  *thread = (struct pipe_thread){.options = options, .epoll = epoll};
  thread->bio_method = BIO_meth_new(BIO_TYPE_MEM, "connection");
  if (thread->bio_method == NULL || !BIO_meth_set_read(thread->bio_method, bio_read) ||
      !BIO_meth_set_write(thread->bio_method, bio_write) || !BIO_meth_set_ctrl(thread->bio_method, bio_ctrl))
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  thread->bio = BIO_new(thread->bio_method);
  if (thread->bio == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  BIO_set_data(thread->bio, thread);
  BIO_set_init(thread->bio, 1);
  return status_ok();
}

void pipe_thread_fini(struct pipe_thread *thread) {
  BIO_free(thread->bio);
  if (thread->bio_method != NULL)
    BIO_meth_free(thread->bio_method);
  *thread = (struct pipe_thread){.epoll = -1};
}

/* ---- What could not be written yet ---- */

static bool pending_add(struct pipe_pending *pending, const uint8_t *bytes, size_t len) {
  uint8_t *grown = malloc(pending->len + len);
  if (grown == NULL)
    return false;
  if (pending->len > 0)
    memcpy(grown, pending->bytes + pending->start, pending->len);
  memcpy(grown + pending->len, bytes, len);
  free(pending->bytes);
  *pending = (struct pipe_pending){.bytes = grown, .len = pending->len + len};
  return true;
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
static void update_interest(struct pipe *pipe) {
  bool client_reads = pipe->phase == PIPE_OPEN ? pipe->to_grpc.len == 0 : pipe->phase != PIPE_FLUSH;
  side_watch(pipe, &pipe->client,
             (client_reads && !pipe->client_ended ? (uint32_t)EPOLLIN : 0) |
                 (pipe->to_client.len > 0 ? (uint32_t)EPOLLOUT : 0));
  side_watch(pipe, &pipe->grpc,
             (pipe->to_client.len == 0 ? (uint32_t)EPOLLIN : 0) |
                 (pipe->to_grpc.len > 0 ? (uint32_t)EPOLLOUT : 0));
}

/* ---- The end ---- */

static void log_end(struct pipe *pipe, const char *message, const char *why) {
  static struct log_limiter limiter;
  uint32_t suppressed = 0;
  if (log_limiter_pass(&limiter, LOG_BURST, &suppressed))
    log_event(LOG_LEVEL_INFO, message, LOG_CSTR("reason", why), LOG_CSTR("peer", pipe->peer.address),
              LOG_INT("suppressed", suppressed));
}

static void close_grpc(struct pipe *pipe) {
  if (pipe->grpc.fd < 0)
    return;
  side_close(pipe, &pipe->grpc);
  pending_drop(&pipe->to_grpc);
  const struct pump_options *options = pipe->thread->options;
  options->close_grpc(options->argument, &pipe->key);
  pipe->thread->stats.open--;
}

void pipe_close(struct pipe *pipe, const char *why) {
  if (pipe->phase == PIPE_CLOSED)
    return;
  if (why != NULL)
    log_end(pipe, "connection closed", why);
  close_grpc(pipe);
  side_close(pipe, &pipe->client);
  pending_drop(&pipe->to_client);
  SSL_free(pipe->ssl);
  pipe->ssl = NULL;
  guard_free(pipe->guard);
  pipe->guard = NULL;
  pipe->phase = PIPE_CLOSED;
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
  if (len > 0 && !pending_add(&pipe->to_client, bytes, len))
    pipe_close(pipe, "out of memory");
}

/* What BoringSSL wrote by itself or for us. */
static void write_cipher(struct pipe *pipe) {
  struct pipe_thread *thread = pipe->thread;
  size_t len = thread->cipher_out_len;
  thread->cipher_out_len = 0;
  if (len > 0 && pipe->phase != PIPE_CLOSED)
    write_wire(pipe, thread->cipher_out, len);
}

static void write_client(struct pipe *pipe, const uint8_t *bytes, size_t len) {
  if (pipe->ssl == NULL) {
    write_wire(pipe, bytes, len);
    return;
  }
  while (len > 0) {
    int written = SSL_write(pipe->ssl, bytes, (int)len);
    if (written <= 0) { /* its output is memory with room for all of this, so it is a failure */
      ERR_clear_error();
      pipe_close(pipe, "TLS could not write");
      return;
    }
    bytes += written;
    len -= (size_t)written;
  }
  write_cipher(pipe);
}

/* Everything for the client was written, or will be: nothing more comes. */
static void begin_flush(struct pipe *pipe) {
  if (pipe->phase == PIPE_CLOSED)
    return;
  close_grpc(pipe);
  if (pipe->ssl != NULL && !SSL_in_init(pipe->ssl)) {
    SSL_shutdown(pipe->ssl);
    ERR_clear_error();
  }
  pipe->phase = PIPE_FLUSH;
  if (pipe->ssl != NULL)
    write_cipher(pipe);
}

/* The moment in which nothing is left for the client. */
static void begin_linger(struct pipe *pipe) {
  shutdown(pipe->client.fd, SHUT_WR);
  pipe->phase = PIPE_LINGER;
  SSL_free(pipe->ssl);
  pipe->ssl = NULL;
  if (pipe->client_ended)
    pipe_close(pipe, NULL);
}

static void offended(struct pipe *pipe) {
  uint8_t goaway[GUARD_GOAWAY_BYTES_MAX];
  pipe->thread->stats.offences[guard_offence(pipe->guard)]++;
  log_end(pipe, "connection ended: HTTP/2 or header rules broken", guard_why(pipe->guard));
  size_t len = guard_goaway(pipe->guard, goaway);
  if (len > 0)
    write_client(pipe, goaway, len);
  begin_flush(pipe);
}

/* ---- To gRPC core ---- */

/* What was not written of the ranges is kept. False: no memory. */
static bool keep_rest(struct pipe *pipe, const struct guard_output *output, size_t written) {
  for (unsigned i = 0; i < output->count; i++) {
    const struct iovec *range = &output->ranges[i];
    if (written >= range->iov_len) {
      written -= range->iov_len;
      continue;
    }
    if (!pending_add(&pipe->to_grpc, (const uint8_t *)range->iov_base + written, range->iov_len - written))
      return false;
    written = 0;
  }
  return true;
}

static void write_grpc(struct pipe *pipe, struct guard_output *output) {
  size_t written = 0;
  if (output->bytes == 0 || pipe->grpc_hung)
    return;
  if (pipe->to_grpc.len == 0) {
    struct msghdr message = {.msg_iov = output->ranges, .msg_iovlen = output->count};
    ssize_t sent;
    do
      sent = sendmsg(pipe->grpc.fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN)
      return; /* it closed its end: reading tells the rest */
    written = sent < 0 ? 0 : (size_t)sent;
  }
  if (written < output->bytes && !keep_rest(pipe, output, written))
    pipe_close(pipe, "out of memory");
}

static void guard_client_bytes(struct pipe *pipe, const uint8_t *bytes, size_t len, int64_t now_us) {
  struct guard_output *output = &pipe->thread->output;
  while (len > 0 && pipe->phase == PIPE_OPEN) {
    size_t taken = guard_from_client(pipe->guard, now_us, bytes, len, output);
    write_grpc(pipe, output);
    if (pipe->phase == PIPE_OPEN && guard_offence(pipe->guard) != GUARD_NO_OFFENCE) {
      offended(pipe);
      return;
    }
    bytes += taken;
    len -= taken;
  }
}

static void open_grpc(struct pipe *pipe, int64_t now_us) {
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
  pipe->grpc.fd = ends[0];
  pipe->thread->stats.open++;
  pipe->phase = PIPE_OPEN;
  pipe->guard = guard_new(&options->guard, &pipe->key, now_us);
  if (pipe->guard == NULL || !side_add(pipe, &pipe->grpc, EPOLLIN))
    pipe_close(pipe, "out of memory");
}

/* ---- From the client ---- */

static void answer(struct pipe *pipe, const char *text) {
  pipe->thread->stats.foreign++;
  log_end(pipe, "connection refused", "it speaks HTTP/1.1");
  write_client(pipe, (const uint8_t *)text, strlen(text));
  begin_flush(pipe);
}

static void take_preface(struct pipe *pipe, const uint8_t *bytes, size_t len, int64_t now_us) {
  size_t taken = PIPE_PREFACE_BYTES - pipe->preface_len;
  taken = len < taken ? len : taken;
  memcpy(pipe->preface + pipe->preface_len, bytes, taken);
  pipe->preface_len += (uint8_t)taken;
  if (memcmp(pipe->preface, PREFACE, pipe->preface_len) != 0) {
    if (pipe->preface[0] >= 'A' && pipe->preface[0] <= 'Z') {
      answer(pipe, SPEAKS_GRPC);
      return;
    }
    pipe->thread->stats.foreign++;
    pipe_close(pipe,
               pipe->ssl != NULL ? "it does not speak HTTP/2" : "it does not speak HTTP/2 (TLS perhaps)");
  } else if (pipe->preface_len == PIPE_PREFACE_BYTES) {
    open_grpc(pipe, now_us);
    guard_client_bytes(pipe, pipe->preface, PIPE_PREFACE_BYTES, now_us);
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
  if (pipe->phase == PIPE_OPEN)
    end_grpc_input(pipe);
  else if (pipe->phase != PIPE_FLUSH)
    pipe_close(pipe, NULL);
}

static const char *tls_failure(void) {
  uint32_t error = ERR_peek_error();
  const char *reason = error == 0 ? NULL : ERR_reason_error_string(error);
  return reason == NULL ? "TLS failed" : reason;
}

/* BoringSSL's alert, if it wrote one, goes out. */
static void tls_failed(struct pipe *pipe, const char *why) {
  if (pipe->phase == PIPE_HANDSHAKE)
    pipe->thread->stats.handshakes_failed++;
  log_end(pipe, "TLS failed", why);
  ERR_clear_error();
  write_cipher(pipe);
  if (pipe->phase == PIPE_CLOSED)
    return;
  SSL_free(pipe->ssl);
  pipe->ssl = NULL;
  begin_flush(pipe);
}

static void handshake(struct pipe *pipe) {
  struct pipe_thread *thread = pipe->thread;
  int result = SSL_do_handshake(pipe->ssl);
  if (result == 1) {
    thread->stats.handshakes++;
    thread->stats.resumed += SSL_session_reused(pipe->ssl) ? 1 : 0;
    pipe->phase = PIPE_PREFACE;
  } else if (SSL_get_error(pipe->ssl, result) != SSL_ERROR_WANT_READ) {
    tls_failed(pipe, tls_failure());
  }
}

/* Decrypts all that is there, and gives it on as one piece. */
static void take_cipher(struct pipe *pipe, const uint8_t *bytes, size_t len, int64_t now_us) {
  struct pipe_thread *thread = pipe->thread;
  thread->cipher_in = bytes;
  thread->cipher_in_len = len;
  ERR_clear_error();
  if (pipe->phase == PIPE_HANDSHAKE)
    handshake(pipe);
  size_t have = 0;
  int result = 1;
  while ((pipe->phase == PIPE_PREFACE || pipe->phase == PIPE_OPEN) && result > 0 &&
         have < sizeof thread->plain) {
    result = SSL_read(pipe->ssl, thread->plain + have, (int)(sizeof thread->plain - have));
    have += result > 0 ? (size_t)result : 0;
  }
  int error = result > 0 || pipe->ssl == NULL ? SSL_ERROR_NONE : SSL_get_error(pipe->ssl, result);
  if (pipe->phase == PIPE_CLOSED || pipe->phase == PIPE_FLUSH)
    return;
  write_cipher(pipe);
  take_plain(pipe, thread->plain, have, now_us);
  if (pipe->phase == PIPE_CLOSED || pipe->phase == PIPE_FLUSH)
    return;
  if (error == SSL_ERROR_ZERO_RETURN)
    client_ended(pipe);
  else if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ)
    tls_failed(pipe, tls_failure());
  ERR_clear_error();
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
  if (pipe->phase == PIPE_LINGER)
    return;
  if (pipe->ssl == NULL) {
    take_plain(pipe, received, (size_t)got, now_us);
  } else if (is_plaintext(pipe, received)) {
    SSL_free(pipe->ssl);
    pipe->ssl = NULL;
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
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (got <= 0) {
    begin_flush(pipe);
    return;
  }
  guard_from_server(pipe->guard, now_us, received, (size_t)got);
  write_client(pipe, received, (size_t)got);
}

/* ---- Events ---- */

static void run_client(struct pipe *pipe, uint32_t events, int64_t now_us) {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) { /* gone in both directions */
    pipe_close(pipe, NULL);
    return;
  }
  if ((events & EPOLLOUT) != 0 && !pending_write(&pipe->to_client, pipe->client.fd)) {
    pipe_close(pipe, NULL);
    return;
  }
  if ((events & EPOLLIN) != 0)
    read_client(pipe, now_us);
}

static void run_grpc(struct pipe *pipe, uint32_t events, int64_t now_us) {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    side_unwatch(pipe, &pipe->grpc);
    pipe->grpc_hung = true;
    pending_drop(&pipe->to_grpc);
  } else if ((events & EPOLLOUT) != 0) {
    if (!pending_write(&pipe->to_grpc, pipe->grpc.fd))
      pending_drop(&pipe->to_grpc);
    end_grpc_input(pipe);
  }
  if ((events & EPOLLIN) != 0 && pipe->phase == PIPE_OPEN)
    read_grpc(pipe, now_us);
}

void pipe_run(struct pipe *pipe, struct pipe_side *side, uint32_t events, int64_t now_us) {
  if (side == &pipe->client)
    run_client(pipe, events, now_us);
  else
    run_grpc(pipe, events, now_us);
  /* What gRPC core left behind when it closed its end. */
  while (pipe->phase == PIPE_OPEN && pipe->grpc_hung && pipe->to_client.len == 0)
    read_grpc(pipe, now_us);
  if (pipe->phase == PIPE_FLUSH && pipe->to_client.len == 0)
    begin_linger(pipe);
  if (pipe->phase != PIPE_CLOSED)
    update_interest(pipe);
}

void pipe_check(struct pipe *pipe, int64_t now_us) {
  if (pipe->phase == PIPE_OPEN && guard_is_overdue(pipe->guard, now_us)) {
    offended(pipe);
    pipe_run(pipe, &pipe->client, 0, now_us);
  }
}

struct pipe *pipe_new(struct pipe_thread *thread, int fd, const struct rpc_peer *peer, bool always_h2,
                      void *ticket) {
  struct pipe *pipe = calloc(1, sizeof *pipe);
  struct tls *tls = thread->options->tls;
  if (pipe == NULL) {
    close(fd);
    return NULL;
  }
  *pipe = (struct pipe){.thread = thread,
                        .phase = tls != NULL ? PIPE_HANDSHAKE : PIPE_PREFACE,
                        .client = {.pipe = pipe, .fd = fd},
                        .grpc = {.pipe = pipe, .fd = -1},
                        .ticket = ticket,
                        .peer = *peer};
  if (tls != NULL) {
    pipe->ssl = tls_accept(tls, -1, always_h2);
    if (pipe->ssl != NULL) {
      BIO_up_ref(thread->bio);
      SSL_set_bio(pipe->ssl, thread->bio, thread->bio); /* takes the one reference for both */
    }
  }
  if ((tls != NULL && pipe->ssl == NULL) || !side_add(pipe, &pipe->client, EPOLLIN)) {
    SSL_free(pipe->ssl);
    close(fd);
    free(pipe);
    return NULL;
  }
  return pipe;
}
