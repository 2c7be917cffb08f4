/* The same echo as bare_echo, through the runtime and the front door: what they cost.
 *
 *   runtime_echo [--listen ADDRESS] [--dev] [--threads N] [--tls-cert FILE --tls-key FILE] ...
 *
 * takes the settings of `skerry serve` that are about the network, prints "listening on ADDRESS" and serves
 * until it gets SIGTERM. With --dev connections go to gRPC core as they are, otherwise through the HTTP/2
 * guard. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "server/front.h"
#include "server/settings.h"
#include "tests/support/echo_service.h"

static struct echo_service echo;

static status start(int argc, char **argv, struct settings *settings, struct rpc_server **ret_server,
                    struct front **ret_front) {
  STATUS_TRY(settings_load(settings, argc - 1, argv + 1, environ));
  const struct profile *profile = profile_choose((enum profile_choice)settings->profile, port_linux(),
                                                 (uint64_t)settings->memory_limit_bytes);
  STATUS_TRY(settings_apply_profile(settings, profile, port_linux()));
  struct rpc_server_options options = {
      .threads = (unsigned)settings->threads, .reflection = true, .sheds_never = true};
  STATUS_TRY(rpc_server_new(&options, ret_server));
  STATUS_TRY(echo_service_add(&echo, *ret_server));
  STATUS_TRY(rpc_server_start(*ret_server));
  rpc_server_set_serving(*ret_server, "", true);
  return front_open(settings, port_linux(), *ret_server, NULL, ret_front);
}

int main(int argc, char **argv) {
  port_memory_configure();
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  signal(SIGPIPE, SIG_IGN);
  static struct settings settings;
  struct rpc_server *server = NULL;
  struct front *front = NULL;
  status started = start(argc, argv, &settings, &server, &front);
  if (started.code != STATUS_OK) {
    fprintf(stderr, "%s\n", started.message);
    return 1;
  }
  printf("listening on %s\n", front_address(front, 0));
  fflush(stdout);
  int signal_number;
  sigwait(&signals, &signal_number);
  front_stop_accepting(front);
  rpc_server_drain(server, 0);
  front_close(front);
  echo_service_fini(&echo);
  rpc_server_free(server);
  settings_fini(&settings);
  return 0;
}
