/* A pipe between two ends that a script moves, in plaintext. The script is the input: what either end sends,
 * reads, closes, and which events the pipe is told of, true or not, in any order.
 *
 * Phases go forward only, the connection ends once and gRPC core hears of that once, what arrives is what a
 * guard of its own says of what was sent, all of it unless the script or the guard cut it off, true events
 * come to an end (nothing spins), and no descriptor is left. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "server/listener/pipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SENT_MAX = 1 << 19, LAST_WORD_MAX = 512, TURNS_MAX = 20000, SMALLEST_BUFFER = 1 };

static const uint8_t hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                               "\0\0\0\4\0\0\0\0\0"
                               "\0\0\3\1\4\0\0\0\1\x83\x86\x84";

struct bytes {
  size_t len;
  uint8_t at[SENT_MAX];
};

struct script {
  const uint8_t *at;
  size_t left;
  struct pipe *pipe;
  enum pipe_phase phase;   /* last seen */
  int epoll, client, grpc; /* our ends; -1: closed, or not there yet */
  bool has_small_buffers, grpc_opened;
  bool up_was_cut, down_was_cut; /* by the script: not all has to arrive */
  unsigned grpc_closed, ended;
  int64_t now_us;
};

static struct pipe_thread thread;
static struct bytes up, down, up_arrived, down_arrived;

/* ---- What the pipe calls ---- */

static void shrink(int fd) {
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){SMALLEST_BUFFER}, sizeof(int));
}

static const struct rpc_connection_key key = {"fuzz-fuzz-fuzz-fuzz-fuzz"};

static bool open_grpc(void *argument, int fd, const struct rpc_peer *peer, struct rpc_connection_key *ret) {
  struct script *s = argument;
  (void)peer;
  assert(!s->grpc_opened);
  s->grpc_opened = true;
  s->grpc = fd;
  *ret = key;
  return true;
}

static void close_grpc(void *argument, const struct rpc_connection_key *which) {
  struct script *s = argument;
  assert(memcmp(which, &key, sizeof key) == 0);
  s->grpc_closed++;
}

static void ended(void *argument, void *ticket) {
  struct script *s = argument;
  assert(ticket == s);
  s->ended++;
}

/* ---- The pipe's turns ---- */

static bool is_over(const struct script *s) {
  return s->pipe->phase == PIPE_CLOSED;
}

static void look(struct script *s) {
  assert(s->pipe->phase >= s->phase);
  assert(thread.cipher_out_len == 0);
  assert(s->pipe->to_client.len <= PIPE_READ_BYTES + LAST_WORD_MAX); /* one read and our own words */
  assert(s->pipe->to_grpc.len <= 2 * PIPE_READ_BYTES);               /* one read and what the guard adds */
  assert(s->ended == (is_over(s) ? 1 : 0));
  assert(s->pipe->phase != PIPE_OPEN || s->grpc_opened);
  s->phase = s->pipe->phase;
  if (s->has_small_buffers && s->pipe->grpc.fd >= 0)
    shrink(s->pipe->grpc.fd);
}

static void run(struct script *s, struct pipe_side *side, uint32_t events) {
  if (side->fd < 0)
    return;
  pipe_run(s->pipe, side, events, s->now_us);
  look(s);
}

/* True events, at most `turns` of them. Whether there are no more. */
static bool settle(struct script *s, unsigned turns) {
  struct epoll_event event;
  while (epoll_wait(s->epoll, &event, 1, 0) == 1) {
    if (turns-- == 0)
      return false;
    run(s, event.data.ptr, event.events);
  }
  return true;
}

/* ---- The ends ---- */

static void send_some(int fd, struct bytes *sent, const uint8_t *bytes, size_t len) {
  len = len < SENT_MAX - sent->len ? len : SENT_MAX - sent->len;
  if (fd < 0 || len == 0)
    return;
  ssize_t moved = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (moved > 0)
    memcpy(sent->at + sent->len, bytes, (size_t)moved);
  sent->len += moved > 0 ? (size_t)moved : 0;
}

static void receive_some(int fd, struct bytes *arrived, size_t len) {
  static uint8_t rest[65536];
  if (fd < 0)
    return;
  ssize_t moved = recv(fd, rest, len < sizeof rest ? len : sizeof rest, MSG_DONTWAIT);
  for (ssize_t i = 0; i < moved && arrived->len < SENT_MAX; i++)
    arrived->at[arrived->len++] = rest[i];
}

static void close_end(int *fd) {
  if (*fd >= 0)
    close(*fd);
  *fd = -1;
}

static uint8_t next(struct script *s) {
  if (s->left == 0)
    return 0;
  s->left--;
  return *s->at++;
}

static void send_literal(struct script *s, int fd, struct bytes *sent) {
  size_t len = next(s);
  len = len < s->left ? len : s->left;
  send_some(fd, sent, s->at, len);
  s->at += len;
  s->left -= len;
}

/* DATA for stream 1; whole frames in one write, if there is room. */
static void send_data(struct script *s, int fd, struct bytes *sent) {
  static uint8_t frame[9 + 16384];
  size_t length = 64U * next(s);
  const uint8_t header[] = {0, (uint8_t)(length >> 8), (uint8_t)length, 0, 0, 0, 0, 0, 1};
  memcpy(frame, header, sizeof header);
  for (size_t i = 0; i < length; i++)
    frame[9 + i] = (uint8_t)(sent->len + i);
  send_some(fd, sent, frame, 9 + length);
}

static void tell_anything(struct script *s) {
  static const uint32_t some[] = {
      EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR, EPOLLIN | EPOLLHUP, EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLERR, 0};
  uint8_t what = next(s);
  run(s, what & 8 ? &s->pipe->grpc : &s->pipe->client, some[what & 7]);
}

static void step(struct script *s) {
  uint8_t op = next(s);
  bool is_cut = (op & 15) == 9 || (op & 15) == 11 || (op & 15) == 15 || ((op & 15) == 7 && (op & 16) != 0);
  s->down_was_cut = s->down_was_cut || is_cut;
  s->up_was_cut = s->up_was_cut || is_cut || (op & 15) == 8 || (op & 15) == 10;
  switch (op & 15) {
  case 0:
    send_some(s->client, &up, hello, sizeof hello - 1);
    break;
  case 1:
    send_literal(s, s->client, &up);
    break;
  case 2:
    send_literal(s, s->grpc, &down);
    break;
  case 3:
    send_data(s, s->client, &up);
    break;
  case 4:
    send_data(s, s->grpc, &down);
    break;
  case 5:
    receive_some(s->client, &down_arrived, 256U * next(s) + 1);
    break;
  case 6:
    receive_some(s->grpc, &up_arrived, 256U * next(s) + 1);
    break;
  case 7:
    if (s->client >= 0)
      shutdown(s->client, op & 16 ? SHUT_RDWR : SHUT_WR);
    break;
  case 8:
    if (s->grpc >= 0)
      shutdown(s->grpc, op & 16 ? SHUT_RDWR : op & 32 ? SHUT_RD : SHUT_WR);
    break;
  case 9:
    close_end(&s->client);
    break;
  case 10:
    close_end(&s->grpc);
    break;
  case 11:
    tell_anything(s);
    break;
  case 12:
    s->now_us += 1000000;
    pipe_check(s->pipe, s->now_us);
    look(s);
    break;
  case 13:
    assert(settle(s, TURNS_MAX));
    break;
  case 14:
    settle(s, op >> 4);
    break;
  default:
    pipe_close(s->pipe, op & 16 ? "the script says so" : NULL);
    look(s);
  }
}

/* ---- What arrived ---- */

static bool had_offence(void) {
  for (int i = 0; i < GUARD_OFFENCE_COUNT; i++)
    if (thread.stats.offences[i] > 0)
      return true;
  return false;
}

/* Headers of requests name the time, so it stood still. */
static void check_up(const struct script *s, const struct guard_options *options) {
  static struct guard_output output;
  static uint8_t expected[4 * SENT_MAX];
  size_t len = 0, taken = 0;
  if (!s->grpc_opened || s->now_us != 0)
    return;
  struct guard *guard = guard_new(options, &key, 0);
  assert(guard != NULL);
  guard_from_server(guard, 0, down.at, down.len); /* it allows more then: what was refused may be longer */
  do {
    taken += guard_from_client(guard, 0, up.at + taken, up.len - taken, &output);
    for (unsigned i = 0; i < output.count && len + output.ranges[i].iov_len <= sizeof expected; i++) {
      memcpy(expected + len, output.ranges[i].iov_base, output.ranges[i].iov_len);
      len += output.ranges[i].iov_len;
    }
  } while (taken < up.len && output.count > 0);
  guard_free(guard);
  assert(up_arrived.len <= len && memcmp(up_arrived.at, expected, up_arrived.len) == 0);
  assert(up_arrived.len == len || s->up_was_cut || had_offence());
}

/* And perhaps a last word of ours, after which nothing comes. */
static void check_down(const struct script *s) {
  size_t same = 0;
  while (same < down_arrived.len && same < down.len && down_arrived.at[same] == down.at[same])
    same++;
  assert(down_arrived.len - same <= LAST_WORD_MAX);
  assert(down_arrived.len == down.len || s->down_was_cut || had_offence() || thread.stats.foreign > 0);
}

/* ---- One script ---- */

static void begin(struct script *s, const struct pump_options *options) {
  int ends[2];
  uint8_t how = next(s);
  s->has_small_buffers = (how & 1) != 0;
  s->epoll = epoll_create1(EPOLL_CLOEXEC);
  status made = pipe_thread_init(&thread, options, s->epoll);
  assert(s->epoll >= 0 && status_is_ok(&made));
  int made_pair = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
  assert(made_pair == 0);
  if (s->has_small_buffers)
    shrink(ends[0]);
  s->client = ends[1];
  const struct rpc_peer peer = {.address = "fuzz"};
  s->pipe = pipe_new(&thread, ends[0], &peer, false, s);
  assert(s->pipe != NULL);
  s->phase = s->pipe->phase;
}

static void finish(struct script *s) {
  assert(settle(s, TURNS_MAX));
  size_t before;
  do {
    before = down_arrived.len + up_arrived.len;
    receive_some(s->client, &down_arrived, 65536);
    receive_some(s->grpc, &up_arrived, 65536);
    assert(settle(s, TURNS_MAX));
  } while (down_arrived.len + up_arrived.len > before);
  char byte; /* who was not cut off sees the end */
  if (s->phase == PIPE_LINGER && !s->down_was_cut)
    assert(recv(s->client, &byte, 1, MSG_DONTWAIT) == 0);
  close_end(&s->client);
  assert(settle(s, TURNS_MAX));
  close_end(&s->grpc);
  assert(settle(s, TURNS_MAX));
  assert(is_over(s)); /* both are gone, so it is too */
  assert(s->grpc_closed == (s->grpc_opened ? 1 : 0));
  assert(thread.stats.open == 0);
  pipe_free(s->pipe);
  pipe_thread_fini(&thread);
  close(s->epoll);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  log_configure(LOG_LEVEL_OFF, LOG_FORMAT_LOGFMT, 2);
  struct script s = {.at = data, .left = size, .client = -1, .grpc = -1};
  const struct pump_options options = {
      .guard = {.streams_max = 100, .metadata_bytes_max = 16384, .patience_us = 10000000},
      .reader_timeout_ms = UINT32_MAX, /* its time would cut off what should arrive */
      .open_grpc = open_grpc,
      .close_grpc = close_grpc,
      .ended = ended,
      .argument = &s};
  up.len = down.len = up_arrived.len = down_arrived.len = 0;
  int lowest = fcntl(2, F_DUPFD, 0);
  close(lowest);
  begin(&s, &options);
  while (s.left > 0)
    step(&s);
  finish(&s);
  check_up(&s, &options.guard);
  check_down(&s);
  int again = fcntl(2, F_DUPFD, 0);
  close(again);
  assert(again == lowest);
  return 0;
}
