/* skerry-net: makes HTTP requests and sends mails for its parent, `skerry`, in a process of its own. libcurl
 * brings OpenSSL, whose symbols BoringSSL has too, so the two may not meet; and what parses answers of
 * strangers sees no data.
 *
 *   skerry-net [--origin URL ...] [--ca FILE] [--user NAME] [--proxy URL] [--loopback-http]
 * [--smtp-plaintext]
 *
 * Descriptor 3 is one end of a socket pair, on which it is asked and answers (protocol.h). It ends when the
 * other end does. Not for people: `skerry serve` starts it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/fetch.h"
#include "net/sandbox.h"

enum { CHANNEL_FD = 3, CA_BYTES_MAX = 1024 * 1024, READ_BYTES = 16 * 1024, WAIT_MS = 60000 };

/* While so much waits for the parent to read it, no further requests are taken. */
enum { OUT_BYTES_MAX = 1024 * 1024 };

struct channel {
  struct fetch *fetch;
  struct buf in, out;
  size_t in_taken, out_sent;
  bool broken;
};

static int fail(const char *what) {
  fprintf(stderr, "skerry-net: %s\n", what);
  return 2;
}

/* ---- Arguments ---- */

struct words {
  struct fetch_options options;
  const char *ca_file, *user;
};

static bool add_origin(const char *text, struct fetch_options *options) {
  str origin = str_from_cstr(text);
  struct url *place = &options->origins[options->origin_count];
  if (options->origin_count == FETCH_ORIGINS_MAX ||
      !(url_parse(origin, place) || url_parse_mail(origin, place)))
    return false;
  options->origin_count++;
  return true;
}

static bool read_words(int argc, char **argv, struct words *ret) {
  for (int i = 1; i < argc; i++) {
    str word = str_from_cstr(argv[i]);
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (str_eq(word, STR("--loopback-http"))) {
      ret->options.loopback_http = true;
      continue;
    }
    if (str_eq(word, STR("--smtp-plaintext"))) {
      ret->options.smtp_plaintext = true;
      continue;
    }
    if (value == NULL)
      return false;
    i++;
    if (str_eq(word, STR("--ca")))
      ret->ca_file = value;
    else if (str_eq(word, STR("--user")))
      ret->user = value;
    else if (str_eq(word, STR("--proxy")))
      ret->options.proxy = value;
    else if (!str_eq(word, STR("--origin")) || !add_origin(value, &ret->options))
      return false;
  }
  return true;
}

/* While it may still be read: the other user may not. */
static bool read_ca(const char *path, struct buf *out) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  ssize_t got = -1;
  while (fd >= 0 && out->len <= CA_BYTES_MAX && buf_reserve(out, READ_BYTES) &&
         (got = read(fd, out->data + out->len, READ_BYTES)) > 0)
    out->len += (size_t)got;
  if (fd >= 0)
    close(fd);
  return got == 0;
}

/* ---- The channel ---- */

static void send_response(void *argument, const struct net_response *response) {
  struct channel *channel = argument;
  if (!net_response_encode(response, &channel->out))
    channel->broken = true;
}

/* Drops what was dealt with off the front. */
static void shift(struct buf *b, size_t *dealt) {
  if (*dealt == 0)
    return;
  memmove(b->data, b->data + *dealt, b->len - *dealt);
  b->len -= *dealt;
  explicit_bzero(b->data + b->len, *dealt); /* it may have been a password */
  *dealt = 0;
}

static bool takes_more(const struct channel *channel) {
  return fetch_active(channel->fetch) < FETCH_ACTIVE_MAX &&
         channel->out.len - channel->out_sent < OUT_BYTES_MAX;
}

/* False: it is neither a request nor a mail. */
static bool start(struct channel *channel, str payload) {
  struct net_request request;
  struct net_mail mail;
  if (net_request_decode(payload, &request))
    fetch_start(channel->fetch, &request);
  else if (net_mail_decode(payload, &mail))
    fetch_start_mail(channel->fetch, &mail);
  else
    return false;
  return true;
}

static void take_requests(struct channel *channel) {
  while (!channel->broken && takes_more(channel)) {
    str rest = str_from(buf_str(&channel->in), channel->in_taken), payload;
    enum net_frame frame = net_frame_take(&rest, &payload);
    if (frame == NET_FRAME_INCOMPLETE)
      break;
    if (frame == NET_FRAME_BROKEN || !start(channel, payload)) {
      channel->broken = true;
      break;
    }
    channel->in_taken = channel->in.len - rest.len;
  }
  shift(&channel->in, &channel->in_taken);
}

/* False: the parent is gone. */
static bool read_more(struct channel *channel) {
  if (!buf_reserve(&channel->in, READ_BYTES))
    return false;
  ssize_t got = read(CHANNEL_FD, channel->in.data + channel->in.len, READ_BYTES);
  if (got > 0)
    channel->in.len += (size_t)got;
  return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

static bool write_more(struct channel *channel) {
  ssize_t sent = send(CHANNEL_FD, channel->out.data + channel->out_sent, channel->out.len - channel->out_sent,
                      MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0)
    channel->out_sent += (size_t)sent;
  shift(&channel->out, &channel->out_sent);
  return sent >= 0 || errno == EINTR || errno == EAGAIN;
}

static int serve(struct channel *channel) {
  bool alive = true;
  while (alive && !channel->broken) {
    short events = 0;
    if (takes_more(channel))
      events |= POLLIN;
    if (channel->out.len > channel->out_sent)
      events |= POLLOUT;
    short happened = fetch_wait(channel->fetch, CHANNEL_FD, events, WAIT_MS);
    if ((happened & POLLIN) != 0)
      alive = read_more(channel);
    else if ((happened & (POLLHUP | POLLERR | POLLNVAL)) != 0)
      alive = false;
    take_requests(channel);
    if (alive && channel->out.len > channel->out_sent)
      alive = write_more(channel);
  }
  return channel->broken ? fail("what comes from the parent is not understood") : 0;
}

int main(int argc, char **argv) {
  struct words words = {0};
  struct buf ca = {0};
  struct stat facts;
  if (!read_words(argc, argv, &words) || fstat(CHANNEL_FD, &facts) != 0 || !S_ISSOCK(facts.st_mode))
    return fail("is started by `skerry serve`, and of no use alone");
  fcntl(CHANNEL_FD, F_SETFD, FD_CLOEXEC);
  signal(SIGPIPE, SIG_IGN);
  struct url proxy;
  if (words.options.proxy != NULL && !url_parse(str_from_cstr(words.options.proxy), &proxy))
    return fail("the proxy is no http or https URL");
  if (words.ca_file != NULL && !read_ca(words.ca_file, &ca))
    return fail("the file of certificate authorities cannot be read");
  words.options.ca_pem = buf_str(&ca);
  struct channel channel = {0};
  status result = fetch_new(&words.options, send_response, &channel, &channel.fetch);
  if (status_is_ok(&result))
    result = sandbox_enter(words.user);
  if (!status_is_ok(&result))
    return fail(result.message);
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0,
        0); /* beside the end of the socket pair; a change of user clears it */
  int code = serve(&channel);
  fetch_free(channel.fetch);
  buf_fini(&channel.in);
  buf_fini(&channel.out);
  buf_fini(&ca);
  return code;
}
