/* The same echo as bare_echo, through the runtime: what it costs.
 *
 *   runtime_echo ADDRESS THREADS     prints "listening on ADDRESS" and serves until it gets SIGTERM */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/listener/listener.h"
#include "tests/support/echo_service.h"

static void adopt(void *server, int fd, const struct rpc_peer *peer) {
  rpc_server_adopt(server, fd, peer);
}

static status start(const char *address, unsigned threads, struct echo_service *echo,
                    struct rpc_server **ret_server, struct listener **ret_listener) {
  struct rpc_server_options options = {.threads = threads, .reflection = true};
  STATUS_TRY(rpc_server_new(&options, ret_server));
  STATUS_TRY(echo_service_add(echo, *ret_server));
  STATUS_TRY(rpc_server_start(*ret_server));
  rpc_server_set_serving(*ret_server, "", true);
  struct listener_options listening = {
      .addresses = &address, .address_count = 1, .on_connection = adopt, .argument = *ret_server};
  return listener_open(&listening, ret_listener);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s ADDRESS THREADS\n", argv[0]);
    return 2;
  }
  port_memory_configure();
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  static struct echo_service echo;
  struct rpc_server *server = NULL;
  struct listener *listener;
  status started = start(argv[1], (unsigned)strtoul(argv[2], NULL, 10), &echo, &server, &listener);
  if (started.code != STATUS_OK) {
    fprintf(stderr, "%s\n", started.message);
    return 1;
  }
  printf("listening on %s\n", listener_address(listener, 0));
  fflush(stdout);
  int signal_number;
  sigwait(&signals, &signal_number);
  listener_stop_accepting(listener);
  rpc_server_drain(server, 0);
  listener_close(listener);
  echo_service_fini(&echo);
  rpc_server_free(server);
  return 0;
}
