#include "net/client.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/monotonic_wait.h"
#include "net/child.h"
#include "net/url.h"

enum {
  PATH_BYTES_MAX = 4096,
  ARGUMENTS_MAX = 2 * NET_CLIENT_ORIGINS_MAX + 12,
  IDLE_MS = 60 * 1000,
  BACK_OFF_MS_MAX = 60 * 1000,
  STABLE_MS = 60 * 1000, /* a process that lived so long has not failed */
  GRACE_MS = 1000,       /* over the request's own time, which the process minds */
  READ_BYTES = 16 * 1024,
};

/* Of somebody who waits, on their stack. */
struct waiting {
  struct waiting *next;
  uint32_t id;
  bool sent, done; /* taken to the socket; answered */
  status result;
  struct buf frame;  /* the request */
  struct buf answer; /* the response's payload */
};

struct net_client {
  char *arguments[ARGUMENTS_MAX]; /* owned; of the process */
  int64_t idle_ms;
  int wake_fd;
  pthread_t thread;
  /* Guarded by the mutex. */
  pthread_mutex_t mutex;
  pthread_cond_t answered;
  struct waiting *waiting;
  unsigned waiting_count, starts;
  uint32_t last_id;
  bool stopping;
  int64_t not_before_ms; /* no process is started earlier */
  unsigned failures;     /* in a row */
  /* Of the thread. */
  struct child child; /* fd -1: none */
  int64_t started_ms, idle_since_ms;
  struct buf in, out;
};

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Passwords go through these buffers. */
static void wipe(struct buf *buf) {
  if (buf->data != NULL)
    explicit_bzero(buf->data, buf->capacity);
}

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for an outgoing request.");
}

void net_answer_fini(struct net_answer *answer) {
  buf_fini(&answer->memory);
  memset(answer, 0, sizeof *answer);
}

/* ---- Those that wait; with the mutex held ---- */

static void resolve(struct net_client *client, struct waiting *one, status result) {
  one->result = result;
  one->done = true;
  pthread_cond_broadcast(&client->answered);
}

static void resolve_all(struct net_client *client, bool only_sent, const char *why) {
  for (struct waiting *one = client->waiting; one != NULL; one = one->next)
    if (!one->done && (one->sent || !only_sent))
      resolve(client, one, status_make(STATUS_UNAVAILABLE, "%s", why));
}

static void leave(struct net_client *client, struct waiting *leaving) {
  for (struct waiting **place = &client->waiting; *place != NULL; place = &(*place)->next)
    if (*place == leaving) {
      *place = leaving->next;
      client->waiting_count--;
      return;
    }
}

/* ---- The process ---- */

static void end_child(struct net_client *client, bool it_failed) {
  int64_t now = now_ms();
  child_end(&client->child);
  buf_clear(&client->in);
  wipe(&client->out);
  buf_clear(&client->out);
  pthread_mutex_lock(&client->mutex);
  resolve_all(client, true, "skerry-net ended before it had an answer.");
  if (it_failed) {
    client->failures = now - client->started_ms >= STABLE_MS ? 1 : client->failures + 1;
    unsigned doublings = client->failures < 9 ? client->failures : 9;
    int64_t wait_ms = doublings == 1 ? 0 : INT64_C(250) << doublings; /* 1 s the second time */
    client->not_before_ms = now + (wait_ms < BACK_OFF_MS_MAX ? wait_ms : BACK_OFF_MS_MAX);
  }
  unsigned failures = client->failures;
  pthread_mutex_unlock(&client->mutex);
  if (it_failed)
    log_event(LOG_LEVEL_WARN, "skerry-net ended by itself", LOG_INT("times", failures));
}

static void start_child(struct net_client *client) {
  status result = child_start(client->arguments, &client->child);
  client->started_ms = now_ms();
  pthread_mutex_lock(&client->mutex);
  if (status_is_ok(&result)) {
    client->starts++;
  } else {
    client->failures++;
    client->not_before_ms = client->started_ms + BACK_OFF_MS_MAX;
    resolve_all(client, false, result.message);
  }
  pthread_mutex_unlock(&client->mutex);
  if (!status_is_ok(&result)) {
    client->child.fd = -1;
    log_event(LOG_LEVEL_ERROR, "skerry-net does not start", LOG_CSTR("reason", result.message));
  }
}

/* ---- The socket ---- */

/* Requests that nobody has taken yet, to `out`. Whether there is anybody who waits. */
static bool gather(struct net_client *client) {
  pthread_mutex_lock(&client->mutex);
  bool any = false;
  for (struct waiting *one = client->waiting; one != NULL; one = one->next) {
    if (one->done)
      continue;
    any = true;
    if (one->sent || client->child.fd < 0)
      continue;
    buf_append_str(&client->out, buf_str(&one->frame));
    one->sent = !client->out.failed;
    if (client->out.failed)
      resolve(client, one, no_memory());
    client->out.failed = false;
  }
  pthread_mutex_unlock(&client->mutex);
  return any;
}

static void take_response(struct net_client *client, str payload) {
  struct net_response response;
  if (!net_response_decode(payload, &response))
    return;
  pthread_mutex_lock(&client->mutex);
  struct waiting *one = client->waiting;
  while (one != NULL && (one->id != response.id || one->done))
    one = one->next;
  if (one != NULL && response.http_status == 0) {
    resolve(client, one, status_make(STATUS_UNAVAILABLE, STR_FMT, STR_ARG(response.problem)));
  } else if (one != NULL) {
    buf_append_str(&one->answer, payload);
    resolve(client, one, one->answer.failed ? no_memory() : status_ok());
  } /* else it came too late */
  pthread_mutex_unlock(&client->mutex);
}

/* False: the process is gone, or not to be understood. */
static bool read_more(struct net_client *client) {
  if (!buf_reserve(&client->in, READ_BYTES))
    return false;
  ssize_t got = recv(client->child.fd, client->in.data + client->in.len, READ_BYTES, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return true;
  if (got <= 0)
    return false;
  client->in.len += (size_t)got;
  str rest = buf_str(&client->in), payload;
  enum net_frame frame;
  while ((frame = net_frame_take(&rest, &payload)) == NET_FRAME_WHOLE)
    take_response(client, payload);
  memmove(client->in.data, rest.ptr, rest.len);
  client->in.len = rest.len;
  return frame != NET_FRAME_BROKEN;
}

static bool write_more(struct net_client *client) {
  ssize_t sent = send(client->child.fd, client->out.data, client->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0)
    return errno == EAGAIN || errno == EINTR;
  memmove(client->out.data, client->out.data + sent, client->out.len - (size_t)sent);
  client->out.len -= (size_t)sent;
  explicit_bzero(client->out.data + client->out.len, (size_t)sent);
  return true;
}

/* Waits for the socket or to be woken, and does what there is to do. False: the process is to be ended, as
 * *ret_failed by itself. */
static bool turn(struct net_client *client, bool anybody, bool *ret_failed) {
  int64_t idle_left_ms = client->idle_since_ms + client->idle_ms - now_ms();
  struct pollfd fds[2] = {
      {.fd = client->wake_fd, .events = POLLIN},
      {.fd = client->child.fd, .events = (short)(POLLIN | (client->out.len > 0 ? POLLOUT : 0))}};
  int timeout_ms = client->child.fd < 0 ? -1
                   : anybody            ? GRACE_MS
                                        : (int)(idle_left_ms > 0 ? idle_left_ms : 0);
  poll(fds, 2, timeout_ms); /* a negative descriptor is passed over */
  uint64_t count;
  if ((fds[0].revents & POLLIN) != 0 && read(client->wake_fd, &count, sizeof count) < 0)
    return true;
  if (client->child.fd < 0)
    return true;
  *ret_failed = true;
  if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !read_more(client))
    return false;
  if ((fds[1].revents & POLLOUT) != 0 && !write_more(client))
    return false;
  *ret_failed = false;
  return anybody || now_ms() - client->idle_since_ms < client->idle_ms;
}

static bool is_stopping(struct net_client *client) {
  pthread_mutex_lock(&client->mutex);
  bool stopping = client->stopping;
  pthread_mutex_unlock(&client->mutex);
  return stopping;
}

static void *run(void *argument) {
  struct net_client *client = argument;
  while (!is_stopping(client)) {
    bool anybody = gather(client), failed = false;
    if (anybody && client->child.fd < 0) {
      start_child(client);
      anybody = gather(client);
    }
    if (anybody)
      client->idle_since_ms = now_ms();
    if (!turn(client, anybody, &failed))
      end_child(client, failed);
  }
  if (client->child.fd >= 0)
    end_child(client, false);
  return NULL;
}

/* ---- Opening ---- */

/* skerry-net in the directory of this program, or where packages put it. */
static bool find_program(char *out, size_t size) {
  char own[PATH_BYTES_MAX];
  ssize_t len = readlink("/proc/self/exe", own, sizeof own - 1);
  if (len <= 0)
    return false;
  own[len] = '\0';
  char *slash = strrchr(own, '/');
  *(slash == NULL ? own : slash) = '\0';
  /* An integrator's program is anywhere; Skerry is installed in one of the usual places. */
  static const char *const places[] = {"skerry-net", "../libexec/skerry/skerry-net",
                                       "/usr/libexec/skerry/skerry-net",
                                       "/usr/local/libexec/skerry/skerry-net"};
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    bool is_relative = places[i][0] != '/';
    int wanted = snprintf(out, size, "%s%s%s", is_relative ? own : "", is_relative ? "/" : "", places[i]);
    if (wanted > 0 && (size_t)wanted < size && access(out, X_OK) == 0)
      return true;
  }
  return false;
}

static bool add_argument(struct net_client *client, size_t *count, const char *text) {
  assert(*count + 1 < ARGUMENTS_MAX);
  client->arguments[*count] = strdup(text);
  return client->arguments[(*count)++] != NULL;
}

static status make_arguments(struct net_client *client, const struct net_client_options *options) {
  char program[PATH_BYTES_MAX];
  size_t count = 0;
  if (options->origin_count > NET_CLIENT_ORIGINS_MAX)
    return status_make(STATUS_FAILED_PRECONDITION, "There are too many hosts to be reached.");
  if (options->program == NULL && !find_program(program, sizeof program))
    return status_make(STATUS_FAILED_PRECONDITION,
                       "skerry-net, which makes outgoing requests, is not beside skerry. Install it there.");
  if (options->program != NULL && access(options->program, X_OK) != 0)
    return status_make(STATUS_FAILED_PRECONDITION, "%s cannot be run: %s", options->program, strerror(errno));
  if (options->ca_file != NULL && access(options->ca_file, R_OK) != 0)
    return status_make(STATUS_FAILED_PRECONDITION, "%s cannot be read: %s", options->ca_file,
                       strerror(errno));
  struct url proxy;
  if (options->proxy != NULL && !url_parse(str_from_cstr(options->proxy), &proxy))
    return status_make(STATUS_FAILED_PRECONDITION, "\"%s\" is no proxy: it is http://host:port.",
                       options->proxy);
  bool good = add_argument(client, &count, options->program != NULL ? options->program : program);
  for (size_t i = 0; i < options->origin_count; i++) {
    struct url url;
    str origin = str_from_cstr(options->origins[i]);
    if (!url_parse(origin, &url) && !url_parse_mail(origin, &url))
      return status_make(STATUS_FAILED_PRECONDITION, "\"%s\" is no URL that can be reached.",
                         options->origins[i]);
    good =
        good && add_argument(client, &count, "--origin") && add_argument(client, &count, options->origins[i]);
  }
  if (options->ca_file != NULL)
    good = good && add_argument(client, &count, "--ca") && add_argument(client, &count, options->ca_file);
  if (options->user != NULL)
    good = good && add_argument(client, &count, "--user") && add_argument(client, &count, options->user);
  if (options->proxy != NULL)
    good = good && add_argument(client, &count, "--proxy") && add_argument(client, &count, options->proxy);
  if (options->loopback_http)
    good = good && add_argument(client, &count, "--loopback-http");
  if (options->smtp_plaintext)
    good = good && add_argument(client, &count, "--smtp-plaintext");
  return good ? status_ok() : no_memory();
}

static void free_client(struct net_client *client) {
  for (size_t i = 0; i < ARGUMENTS_MAX; i++)
    free(client->arguments[i]);
  if (client->wake_fd >= 0)
    close(client->wake_fd);
  buf_fini(&client->in);
  buf_fini(&client->out);
  pthread_cond_destroy(&client->answered);
  pthread_mutex_destroy(&client->mutex);
  free(client);
}

status net_client_open(const struct net_client_options *options, struct net_client **ret) {
  struct net_client *client = calloc(1, sizeof *client);
  if (client == NULL)
    return no_memory();
  monotonic_cond_init(&client->answered);
  pthread_mutex_init(&client->mutex, NULL);
  client->child = (struct child){.pid = -1, .fd = -1};
  client->idle_ms = options->idle_ms > 0 ? options->idle_ms : IDLE_MS;
  client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  status result = client->wake_fd < 0 ? no_memory() : make_arguments(client, options);
  if (status_is_ok(&result) && pthread_create(&client->thread, NULL, run, client) != 0)
    result = no_memory();
  if (status_is_ok(&result))
    *ret = client;
  else
    free_client(client);
  return result;
}

static void wake(const struct net_client *client) {
  uint64_t one = 1;
  ssize_t written = write(client->wake_fd, &one, sizeof one);
  (void)written; /* it fails only if it is awake already, 2^64 times */
}

void net_client_stop(struct net_client *client) {
  pthread_mutex_lock(&client->mutex);
  client->stopping = true;
  resolve_all(client, false, "The server is stopping.");
  pthread_mutex_unlock(&client->mutex);
  wake(client);
}

void net_client_close(struct net_client *client) {
  if (client == NULL)
    return;
  net_client_stop(client);
  pthread_join(client->thread, NULL);
  assert(client->waiting == NULL);
  free_client(client);
}

unsigned net_client_starts(struct net_client *client) {
  pthread_mutex_lock(&client->mutex);
  unsigned starts = client->starts;
  pthread_mutex_unlock(&client->mutex);
  return starts;
}

/* ---- Asking ---- */

/* What is asked: one of the two. */
struct asked {
  const struct net_request *request;
  const struct net_mail *mail;
};

static bool encode(const struct asked *asked, uint32_t id, struct buf *out) {
  if (asked->request != NULL) {
    struct net_request numbered = *asked->request;
    numbered.id = id;
    return net_request_encode(&numbered, out);
  }
  struct net_mail numbered = *asked->mail;
  numbered.id = id;
  return net_mail_encode(&numbered, out);
}

/* With the mutex held. */
static status enter(struct net_client *client, struct waiting *one, const struct asked *asked) {
  int64_t wait_ms = client->not_before_ms - now_ms();
  if (client->stopping)
    return status_make(STATUS_UNAVAILABLE, "The server is stopping.");
  if (client->waiting_count == NET_CLIENT_WAITING_MAX)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "Too many outgoing requests are waiting.");
  if (wait_ms > 0)
    return status_make(STATUS_UNAVAILABLE, "skerry-net has failed %u times and is started again in %lld ms.",
                       client->failures, (long long)wait_ms);
  one->id = ++client->last_id;
  if (!encode(asked, one->id, &one->frame))
    return one->frame.failed
               ? no_memory()
               : status_make(STATUS_INVALID_ARGUMENT, "The outgoing request is not allowed: its "
                                                      "method, headers, addresses or size are wrong.");
  one->next = client->waiting;
  client->waiting = one;
  client->waiting_count++;
  return status_ok();
}

static status ask(struct net_client *client, const struct asked *asked, uint32_t timeout_ms,
                  struct net_answer *ret) {
  struct waiting one = {.result = status_ok()};
  int64_t deadline_ms = now_ms() + timeout_ms + GRACE_MS, left_ms;
  pthread_mutex_lock(&client->mutex);
  status result = enter(client, &one, asked);
  if (status_is_ok(&result)) {
    wake(client);
    while (!one.done && (left_ms = deadline_ms - now_ms()) > 0)
      monotonic_wait_for(&client->answered, &client->mutex, left_ms * 1000);
    leave(client, &one);
    result = one.done ? one.result : status_make(STATUS_UNAVAILABLE, "skerry-net did not answer in time.");
  }
  pthread_mutex_unlock(&client->mutex);
  wipe(&one.frame);
  buf_fini(&one.frame);
  if (status_is_ok(&result)) {
    bool decoded = net_response_decode(buf_str(&one.answer), &ret->response);
    assert(decoded); /* it was before */
    ret->memory = one.answer;
  } else {
    buf_fini(&one.answer);
  }
  return result;
}

status net_client_fetch(struct net_client *client, const struct net_request *request,
                        struct net_answer *ret) {
  return ask(client, &(struct asked){.request = request}, request->timeout_ms, ret);
}

status net_client_mail(struct net_client *client, const struct net_mail *mail, struct net_answer *ret) {
  return ask(client, &(struct asked){.mail = mail}, mail->timeout_ms, ret);
}
