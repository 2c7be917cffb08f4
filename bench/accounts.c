/* A load of accounts over HTTP/1.1, for bench/run: each connection has a thread and an account of its own.
 *
 *   skerry-accounts HOST:PORT refresh CONNECTIONS SECONDS   refreshes its session again and again
 *   skerry-accounts HOST:PORT sign-in CONNECTIONS SECONDS   signs in with a password, again and again
 *   skerry-accounts HOST:PORT storm   CONNECTIONS SECONDS   signs in once, all at the same moment
 *   skerry-accounts HOST:PORT read    CONNECTIONS SECONDS   reads documents with the ID tokens of READERS
 * users skerry-accounts HOST:PORT churn   CONNECTIONS SECONDS   signs up and deletes the account, again and
 * again
 *
 * Prints {"per_s": ..., "ok": ..., "refused": ..., "failed": ...}; refused: with RESOURCE_EXHAUSTED. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  ANSWER_BYTES_MAX = 16 * 1024,
  REQUEST_BYTES_MAX = 4096,
  TOKEN_BYTES_MAX = 2048,
  READERS = 4,
  SET_UP_TRIES = 100,
  SET_UP_PAUSE_US = 100000,
  STACK_BYTES = 128 * 1024
};
#define TOOLKIT "/identitytoolkit.googleapis.com/v1/accounts"
#define DOCUMENTS "/v1/projects/demo-bench/databases/(default)/documents"

enum mode { REFRESH, SIGN_IN, STORM, READ, CHURN };

static struct {
  struct sockaddr_in address;
  enum mode mode;
  unsigned connections;
  double seconds;
  pthread_barrier_t ready; /* all have their accounts; the main thread too */
  _Atomic int64_t end_us;
  _Atomic uint64_t ok, refused, failed;
} load;

struct client {
  pthread_t thread;
  unsigned number;
  int fd;
  char answer[ANSWER_BYTES_MAX + 1];
  char token[TOKEN_BYTES_MAX];
  char readers[READERS][TOKEN_BYTES_MAX];
  unsigned reader; /* whose turn it is */
};

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- HTTP ---- */

static bool send_all(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
    if (sent <= 0)
      return false;
    bytes += sent;
    len -= (size_t)sent;
  }
  return true;
}

/* The whole answer, by its Content-Length. Its status; 0: the connection has failed. */
static int receive(struct client *client) {
  size_t have = 0;
  for (;;) {
    ssize_t got = recv(client->fd, client->answer + have, ANSWER_BYTES_MAX - have, 0);
    if (got <= 0)
      return 0;
    have += (size_t)got;
    client->answer[have] = '\0';
    const char *end = strstr(client->answer, "\r\n\r\n"),
               *length = strcasestr(client->answer, "content-length:");
    if (end != NULL && length != NULL && length < end &&
        have >= (size_t)(end + 4 - client->answer) + strtoul(length + 15, NULL, 10))
      return (int)strtol(client->answer + 9, NULL, 10);
    if (have == ANSWER_BYTES_MAX)
      return 0;
  }
}

static int ask(struct client *client, const char *request, int len) {
  if (len < 0 || (size_t)len >= REQUEST_BYTES_MAX || !send_all(client->fd, request, (size_t)len))
    return 0;
  return receive(client);
}

static int post(struct client *client, const char *path, const char *type, const char *body) {
  char request[REQUEST_BYTES_MAX];
  int len = snprintf(request, sizeof request,
                     "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
                     path, type, strlen(body), body);
  return ask(client, request, len);
}

/* Of the reader's own document, with its token. */
static int call_document(struct client *client, const char *method, const char *body) {
  char request[REQUEST_BYTES_MAX];
  int len =
      snprintf(request, sizeof request,
               "%s " DOCUMENTS "/readers/r%u-%u HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
               method, client->number, client->reader, client->readers[client->reader], strlen(body), body);
  return ask(client, request, len);
}

/* The text of a field of the answer. */
static bool read_field(struct client *client, const char *name) {
  const char *at = strstr(client->answer, name);
  if (at == NULL)
    return false;
  at += strlen(name);
  size_t len = strcspn(at, "\"");
  if (len >= TOKEN_BYTES_MAX)
    return false;
  memcpy(client->token, at, len);
  client->token[len] = '\0';
  return true;
}

/* ---- What a client does ---- */

static bool set_up_reader(struct client *client) {
  if (post(client, TOOLKIT ":signUp", "application/json", "{}") != 200 ||
      !read_field(client, "\"idToken\":\""))
    return false;
  memcpy(client->readers[client->reader], client->token, TOKEN_BYTES_MAX);
  return call_document(client, "PATCH", "{\"fields\":{\"n\":{\"integerValue\":\"1\"}}}") == 200;
}

/* All set up at once, so the server turns some away. */
static bool set_up_readers(struct client *client) {
  bool good = true;
  for (client->reader = 0; good && client->reader < READERS; client->reader++) {
    good = set_up_reader(client);
    for (unsigned i = 0; !good && i < SET_UP_TRIES; i++) {
      usleep(SET_UP_PAUSE_US);
      good = set_up_reader(client);
    }
  }
  client->reader = 0;
  return good;
}

static bool set_up(struct client *client) {
  char body[256] = "{}";
  client->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (client->fd < 0 || connect(client->fd, (const struct sockaddr *)&load.address, sizeof load.address) != 0)
    return false;
  if (load.mode == STORM || load.mode == CHURN)
    return true; /* of accounts that are there already, or come and go */
  if (load.mode == SIGN_IN)
    snprintf(body, sizeof body, "{\"email\":\"bench%u@example.com\",\"password\":\"correct horse\"}",
             client->number);
  if (load.mode == READ)
    return set_up_readers(client);
  int code = post(client, TOOLKIT ":signUp", "application/json", body);
  if (load.mode == SIGN_IN)
    return code == 200 || strstr(client->answer, "EMAIL_EXISTS") != NULL;
  return code == 200 && read_field(client, "\"refreshToken\":\"");
}

static int refresh(struct client *client) {
  char body[TOKEN_BYTES_MAX + 64];
  snprintf(body, sizeof body, "grant_type=refresh_token&refresh_token=%s", client->token);
  int code = post(client, "/securetoken.googleapis.com/v1/token", "application/x-www-form-urlencoded", body);
  return code == 200 && !read_field(client, "\"refresh_token\":\"") ? 0 : code;
}

static int sign_in(struct client *client) {
  char body[256];
  unsigned account = load.mode == STORM ? client->number % 8 : client->number;
  snprintf(body, sizeof body, "{\"email\":\"bench%u@example.com\",\"password\":\"correct horse\"}", account);
  return post(client, TOOLKIT ":signInWithPassword", "application/json", body);
}

static int churn(struct client *client) {
  char body[TOKEN_BYTES_MAX + 32];
  int code = post(client, TOOLKIT ":signUp", "application/json", "{}");
  if (code != 200 || !read_field(client, "\"idToken\":\""))
    return code == 200 ? 0 : code;
  snprintf(body, sizeof body, "{\"idToken\":\"%s\"}", client->token);
  return post(client, TOOLKIT ":delete", "application/json", body);
}

static int act(struct client *client) {
  switch (load.mode) {
  case REFRESH:
    return refresh(client);
  case READ:
    client->reader = (client->reader + 1) % READERS;
    return call_document(client, "GET", "");
  case CHURN:
    return churn(client);
  case SIGN_IN:
  case STORM:
  default:
    return sign_in(client);
  }
}

static void *run(void *argument) {
  struct client *client = argument;
  bool good = set_up(client);
  pthread_barrier_wait(&load.ready);
  pthread_barrier_wait(&load.ready); /* the time is set */
  if (!good)
    atomic_fetch_add(&load.failed, 1);
  while (good && now_us() < atomic_load(&load.end_us)) {
    int code = act(client);
    atomic_fetch_add(code == 200 ? &load.ok : code == 429 ? &load.refused : &load.failed, 1);
    good = code != 0 && load.mode != STORM;
  }
  if (client->fd >= 0)
    close(client->fd);
  return NULL;
}

/* ---- Putting it together ---- */

static bool read_arguments(int argc, char **argv) {
  static const char *const modes[] = {"refresh", "sign-in", "storm", "read", "churn"};
  enum { MODES = sizeof modes / sizeof *modes };
  char host[64];
  unsigned mode = 0;
  const char *colon = argc == 5 ? strrchr(argv[1], ':') : NULL;
  if (colon == NULL || (size_t)(colon - argv[1]) >= sizeof host)
    return false;
  memcpy(host, argv[1], (size_t)(colon - argv[1]));
  host[colon - argv[1]] = '\0';
  unsigned long port = strtoul(colon + 1, NULL, 10);
  while (mode < MODES && strcmp(argv[2], modes[mode]) != 0)
    mode++;
  load.mode = (enum mode)mode;
  load.connections = (unsigned)strtoul(argv[3], NULL, 10);
  load.seconds = strtod(argv[4], NULL);
  load.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  return mode < MODES && load.connections > 0 && load.connections <= 5000 && load.seconds > 0 &&
         inet_pton(AF_INET, host, &load.address.sin_addr) == 1;
}

int main(int argc, char **argv) {
  if (!read_arguments(argc, argv)) {
    fprintf(stderr,
            "usage: skerry-accounts HOST:PORT refresh|sign-in|storm|read|churn CONNECTIONS SECONDS\n");
    return 2;
  }
  struct client *clients = calloc(load.connections, sizeof *clients);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  pthread_barrier_init(&load.ready, NULL, load.connections + 1);
  for (unsigned i = 0; clients != NULL && i < load.connections; i++) {
    clients[i].number = i;
    if (pthread_create(&clients[i].thread, &attributes, run, &clients[i]) != 0)
      return 1;
  }
  pthread_barrier_wait(&load.ready);
  int64_t begin_us = now_us();
  atomic_store(&load.end_us, begin_us + (int64_t)(load.seconds * 1e6));
  pthread_barrier_wait(&load.ready);
  for (unsigned i = 0; clients != NULL && i < load.connections; i++)
    pthread_join(clients[i].thread, NULL);
  double seconds = (double)(now_us() - begin_us) * 1e-6;
  printf("{\"per_s\": %.1f, \"ok\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"failed\": %" PRIu64
         ", \"seconds\": %.2f}\n",
         (double)load.ok / seconds, (uint64_t)load.ok, (uint64_t)load.refused, (uint64_t)load.failed,
         seconds);
  free(clients);
  return load.failed == 0 ? 0 : 1;
}
