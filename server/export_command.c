#include "server/commands.h"
int command_export(int argc, char **argv) {
  (void)argc;
  (void)argv;
  return 2;
}
