/* `skerry doctor` and `skerry profile`: they take the flags, the environment and the file of `skerry serve`.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ports/port.h"
#include "server/commands.h"
#include "server/doctor.h"
#include "server/profile.h"
#include "server/settings.h"

static int refuse(const char *command, const status *why, struct settings *settings) {
  fprintf(stderr, "skerry %s: %s\n", command, why->message);
  settings_fini(settings);
  return 2;
}

int command_doctor(int argc, char **argv) {
  struct settings settings;
  status result = settings_load(&settings, argc, argv, environ);
  if (!status_is_ok(&result))
    return refuse("doctor", &result, &settings);
  printf("skerry %s looks at this machine\n\n", SKERRY_VERSION);
  unsigned wrongs = doctor_examine(&settings, port_linux(), stdout);
  settings_fini(&settings);
  return wrongs > 0 ? 1 : 0;
}

/* For scripts: a line for each value, in bytes. */
int command_profile(int argc, char **argv) {
  struct settings settings;
  struct port *port = port_linux();
  status result = settings_load(&settings, argc, argv, environ);
  if (!status_is_ok(&result))
    return refuse("profile", &result, &settings);
  uint64_t given = (uint64_t)settings.memory_limit_bytes;
  const struct profile *machine = profile_for_machine(port, given);
  const struct profile *profile = profile_choose((enum profile_choice)settings.profile, port, given);
  result = settings_apply_profile(&settings, profile, port);
  if (!status_is_ok(&result))
    return refuse("profile", &result, &settings);
  uint64_t memory_limit = (uint64_t)settings.memory_limit_bytes;
  printf("profile=%s\nmachine_profile=%s\nmemory_limit=%" PRIu64 "\nmemory_max=%" PRIu64
         "\nconnections_max=%" PRId64 "\nstack=%" PRIu64 "\n",
         profile->name, machine->name, memory_limit, profile_memory_max(memory_limit),
         settings.connections_max, profile->stack_bytes);
  settings_fini(&settings);
  return 0;
}
