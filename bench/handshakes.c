/* TLS handshakes against any server, and connections that stay.
 *
 *   skerry-handshakes full|resumed HOST_V4 PORT SECONDS THREADS     prints
 * {"per_s":...,"calls":...,"failed":...} skerry-handshakes idle HOST_V4 PORT COUNT opens COUNT connections,
 * with HTTP/2's preface and SETTINGS, prints "open", waits for its input to end
 *
 * The client is BoringSSL, TLS 1.3, ECDSA P-256 or whatever the server's certificate is; it checks no
 * certificate. A resumed handshake uses the ticket of the connection before. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 16, IDLE_MAX = 20000 };

/* HTTP/2's preface and empty SETTINGS; the acknowledgement of the server's. */
static const char HELLO[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
static const char ACKNOWLEDGEMENT[] = "\0\0\0\4\1\0\0\0\0";

static struct sockaddr_in address;
static bool resumes;
static double end_s;

struct worker {
  pthread_t thread;
  SSL_CTX *context;
  SSL_SESSION *session; /* the newest ticket */
  unsigned long done, failed, resumed;
};

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int keep_session(SSL *ssl, SSL_SESSION *session) {
  struct worker *worker = SSL_get_app_data(ssl);
  SSL_SESSION_free(worker->session);
  worker->session = session;
  return 1;
}

static SSL_CTX *make_context(void) {
  SSL_CTX *context = SSL_CTX_new(TLS_method());
  static const uint8_t alpn[] = {2, 'h', '2'};
  if (context == NULL || SSL_CTX_set_alpn_protos(context, alpn, sizeof alpn) != 0)
    exit(1);
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, keep_session);
  return context;
}

/* A connected TLS client, or NULL. The descriptor is closed with it. */
static SSL *connect_tls(struct worker *worker) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (fd < 0)
    return NULL;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  SSL *ssl =
      connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 ? SSL_new(worker->context) : NULL;
  if (ssl == NULL) {
    close(fd);
    return NULL;
  }
  BIO *bio = BIO_new_socket(fd, BIO_CLOSE);
  SSL_set_bio(ssl, bio, bio);
  SSL_set_app_data(ssl, worker);
  if (resumes && worker->session != NULL)
    SSL_set_session(ssl, worker->session);
  if (SSL_connect(ssl) == 1)
    return ssl;
  SSL_free(ssl);
  return NULL;
}

static bool say_hello(SSL *ssl) {
  char byte;
  return SSL_write(ssl, HELLO, sizeof HELLO - 1) > 0 &&
         SSL_read(ssl, &byte, 1) > 0; /* the ticket comes before */
}

/* One handshake; where tickets are wanted, until the server's first byte, which comes after them. */
static bool handshake(struct worker *worker) {
  SSL *ssl = connect_tls(worker);
  if (ssl == NULL)
    return false;
  worker->resumed += SSL_session_reused(ssl) ? 1 : 0;
  bool fine = !resumes || say_hello(ssl);
  /* A reset: no port is left waiting for the end of a connection that is over. */
  const struct linger at_once = {1, 0};
  setsockopt(SSL_get_fd(ssl), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  SSL_free(ssl);
  return fine;
}

static void *work(void *argument) {
  struct worker *worker = argument;
  while (now_s() < end_s && worker->failed < 100)
    if (handshake(worker))
      worker->done++;
    else
      worker->failed++;
  return NULL;
}

static int measure(double seconds, unsigned threads) {
  static struct worker workers[THREADS_MAX];
  double begin_s = now_s();
  end_s = begin_s + seconds;
  for (unsigned i = 0; i < threads; i++) {
    workers[i].context = make_context();
    pthread_create(&workers[i].thread, NULL, work, &workers[i]);
  }
  unsigned long done = 0, failed = 0, resumed = 0;
  for (unsigned i = 0; i < threads; i++) {
    pthread_join(workers[i].thread, NULL);
    done += workers[i].done;
    failed += workers[i].failed;
    resumed += workers[i].resumed;
    SSL_SESSION_free(workers[i].session);
    SSL_CTX_free(workers[i].context);
  }
  printf("{\"per_s\":%.1f,\"calls\":%lu,\"resumed\":%lu,\"failed\":%lu}\n",
         (double)done / (now_s() - begin_s), done, resumed, failed);
  return done > 0 ? 0 : 1;
}

static int idle(unsigned count) {
  static SSL *open[IDLE_MAX];
  struct worker worker = {.context = make_context()};
  for (unsigned i = 0; i < count; i++) {
    open[i] = connect_tls(&worker);
    if (open[i] == NULL || !say_hello(open[i]) ||
        SSL_write(open[i], ACKNOWLEDGEMENT, sizeof ACKNOWLEDGEMENT - 1) <= 0) {
      fprintf(stderr, "connection %u failed\n", i);
      return 1;
    }
  }
  puts("open");
  fflush(stdout);
  while (getchar() != EOF)
    continue;
  for (unsigned i = 0; i < count; i++)
    SSL_free(open[i]);
  SSL_SESSION_free(worker.session);
  SSL_CTX_free(worker.context);
  return 0;
}

int main(int argc, char **argv) {
  bool is_idle = argc == 5 && strcmp(argv[1], "idle") == 0;
  resumes = argc == 6 && strcmp(argv[1], "resumed") == 0;
  bool is_measure = resumes || (argc == 6 && strcmp(argv[1], "full") == 0);
  address.sin_family = AF_INET;
  if ((!is_idle && !is_measure) || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1) {
    fprintf(stderr,
            "usage: %s full|resumed HOST_V4 PORT SECONDS THREADS\n"
            "       %s idle HOST_V4 PORT COUNT\n",
            argv[0], argv[0]);
    return 2;
  }
  address.sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
  if (is_idle) {
    unsigned long count = strtoul(argv[4], NULL, 10);
    return idle((unsigned)(count > IDLE_MAX ? IDLE_MAX : count));
  }
  unsigned long threads = strtoul(argv[5], NULL, 10);
  return measure(strtod(argv[4], NULL), (unsigned)(threads < 1 || threads > THREADS_MAX ? 1 : threads));
}
