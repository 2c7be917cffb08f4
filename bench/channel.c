#include "bench/channel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  WINDOW_BYTES = 16 * 1024 * 1024, /* of a connection and a stream: reading never waits for an update */
  READ_BYTES = 64 * 1024,
  HEADERS_MAX = 8,
};

struct channel {
  int fd;
  nghttp2_session *session;
  struct channel_options options;
  char authority[300];
  nghttp2_nv headers[HEADERS_MAX];
  size_t header_count;
  struct buf out; /* what nghttp2 has made and the socket has not taken */
  size_t out_sent;
  bool broken;
};

/* ---- The socket ---- */

static int connect_to(const char *host, const char *port) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *addresses;
  if (getaddrinfo(host, port, &hints, &addresses) != 0)
    return -1;
  int fd = -1;
  for (struct addrinfo *a = addresses; a != NULL && fd < 0; a = a->ai_next) {
    fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
      close(fd);
      fd = -1;
    }
  }
  freeaddrinfo(addresses);
  int one = 1;
  if (fd >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  }
  return fd;
}

static status open_socket(const char *target, int *ret) {
  char host[256];
  const char *colon = strrchr(target, ':');
  size_t len = colon == NULL ? 0 : (size_t)(colon - target);
  if (len == 0 || len >= sizeof host)
    return status_make(STATUS_INVALID_ARGUMENT, "\"%.100s\" is not HOST:PORT.", target);
  bool is_bracketed = target[0] == '[' && target[len - 1] == ']';
  snprintf(host, sizeof host, "%.*s", (int)(is_bracketed ? len - 2 : len), target + (is_bracketed ? 1 : 0));
  int fd = connect_to(host, colon + 1);
  if (fd < 0)
    return status_make(STATUS_UNAVAILABLE, "Nobody answers at %.100s.", target);
  *ret = fd;
  return status_ok();
}

/* ---- What nghttp2 asks and tells ---- */

static ssize_t read_request(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t length,
                            uint32_t *flags, nghttp2_data_source *source, void *user) {
  (void)session;
  (void)stream_id;
  (void)user;
  struct channel_call *call = source->ptr;
  size_t count = call->message.len - call->sent;
  if (count == 0 && call->stays_open)
    return NGHTTP2_ERR_DEFERRED;
  if (count > length)
    count = length;
  memcpy(to, call->message.ptr + call->sent, count);
  call->sent += count;
  if (call->sent == call->message.len && !call->stays_open)
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  return (ssize_t)count;
}

static int parse_status(str text) {
  uint64_t code;
  return str_to_u64(text, &code) && code <= STATUS_CODE_MAX ? (int)code : STATUS_UNKNOWN;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user) {
  (void)flags;
  (void)user;
  struct channel_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
  if (call == NULL)
    return 0;
  str key = str_make(name, name_len);
  if (str_eq(key, STR("grpc-status")))
    call->grpc_status = parse_status(str_make(value, value_len));
  else if (str_eq(key, STR("grpc-message")))
    snprintf(call->detail, sizeof call->detail, "%.*s", (int)value_len, (const char *)value);
  return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t len, void *user) {
  (void)flags;
  const struct channel *channel = user;
  struct channel_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
  if (call == NULL)
    return 0;
  call->bytes_in += len;
  if (channel->options.received != NULL)
    channel->options.received(channel->options.argument, call, data, len);
  return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *user) {
  struct channel *channel = user;
  struct channel_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
  if (call == NULL)
    return 0;
  nghttp2_session_set_stream_user_data(session, stream_id, NULL);
  status result = status_ok();
  if (call->grpc_status < 0)
    result =
        status_make(STATUS_UNAVAILABLE, "The stream ended without a status (HTTP/2 error %u).", error_code);
  else if (call->grpc_status > 0)
    result = status_make((enum status_code)call->grpc_status, "%s", call->detail);
  channel->options.ended(channel->options.argument, call, &result);
  return 0;
}

/* ---- The channel ---- */

static void add_header(struct channel *channel, const char *name, const char *value) {
  assert(channel->header_count < HEADERS_MAX);
  /* nghttp2's struct wants mutable bytes and does not change them. */
  channel->headers[channel->header_count++] =
      (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
                   NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

static void set_headers(struct channel *channel) {
  snprintf(channel->authority, sizeof channel->authority, "%s", channel->options.target);
  add_header(channel, ":method", "POST");
  add_header(channel, ":scheme", "http");
  add_header(channel, ":path", channel->options.path);
  add_header(channel, ":authority", channel->authority);
  add_header(channel, "content-type", "application/grpc");
  add_header(channel, "te", "trailers");
  if (channel->options.authorization != NULL)
    add_header(channel, "authorization", channel->options.authorization);
  if (channel->options.database != NULL)
    add_header(channel, "google-cloud-resource-prefix", channel->options.database);
}

static void open_session(struct channel *channel) {
  nghttp2_session_callbacks *callbacks;
  int failed = nghttp2_session_callbacks_new(&callbacks);
  assert(!failed);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
  failed = nghttp2_session_client_new(&channel->session, callbacks, channel);
  assert(!failed);
  nghttp2_session_callbacks_del(callbacks);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES}};
  failed = nghttp2_submit_settings(channel->session, NGHTTP2_FLAG_NONE, settings, 2) |
           nghttp2_session_set_local_window_size(channel->session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES);
  assert(!failed);
  (void)failed;
}

status channel_open(const struct channel_options *options, struct channel **ret) {
  int fd = -1;
  STATUS_TRY(open_socket(options->target, &fd));
  struct channel *channel = calloc(1, sizeof *channel);
  if (channel == NULL) {
    close(fd);
    return status_make(STATUS_RESOURCE_EXHAUSTED, "No memory for a connection.");
  }
  channel->fd = fd;
  channel->options = *options;
  set_headers(channel);
  open_session(channel);
  *ret = channel;
  return status_ok();
}

void channel_close(struct channel *channel) {
  if (channel == NULL)
    return;
  nghttp2_session_del(channel->session);
  buf_fini(&channel->out);
  close(channel->fd);
  free(channel);
}

int channel_fd(const struct channel *channel) {
  return channel->fd;
}

bool channel_wants_write(const struct channel *channel) {
  return channel->out_sent < channel->out.len;
}

bool channel_start(struct channel *channel, struct channel_call *call) {
  if (channel->broken)
    return false;
  call->sent = call->bytes_in = 0;
  call->grpc_status = -1;
  call->detail[0] = '\0';
  nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_request};
  return nghttp2_submit_request(channel->session, NULL, channel->headers, channel->header_count, &body,
                                call) > 0;
}

static bool read_all(struct channel *channel) {
  uint8_t bytes[READ_BYTES]; /* on the stack: as a thread-local it would cost every thread of `skerry` */
  for (;;) {
    ssize_t count = recv(channel->fd, bytes, sizeof bytes, 0);
    if (count < 0)
      return errno == EAGAIN || errno == EINTR;
    if (count == 0 || nghttp2_session_mem_recv(channel->session, bytes, (size_t)count) < 0)
      return false;
    if ((size_t)count < sizeof bytes)
      return true;
  }
}

static bool write_all(struct channel *channel) {
  for (;;) {
    if (!channel_wants_write(channel)) {
      buf_clear(&channel->out);
      channel->out_sent = 0;
    }
    while (channel->out.len < READ_BYTES) {
      const uint8_t *bytes;
      ssize_t count = nghttp2_session_mem_send(channel->session, &bytes);
      if (count < 0)
        return false;
      if (count == 0)
        break;
      buf_append(&channel->out, bytes, (size_t)count);
    }
    if (!channel_wants_write(channel))
      return !channel->out.failed;
    ssize_t count = send(channel->fd, channel->out.data + channel->out_sent,
                         channel->out.len - channel->out_sent, MSG_NOSIGNAL);
    if (count < 0)
      return errno == EAGAIN || errno == EINTR;
    channel->out_sent += (size_t)count;
  }
}

bool channel_work(struct channel *channel) {
  if (channel->broken)
    return false;
  if (read_all(channel) && write_all(channel) &&
      (nghttp2_session_want_read(channel->session) || nghttp2_session_want_write(channel->session)))
    return true;
  channel->broken = true;
  nghttp2_session_terminate_session(channel->session, NGHTTP2_NO_ERROR);
  return false;
}
