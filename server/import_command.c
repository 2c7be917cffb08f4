#include "server/commands.h"
int command_import(int argc, char **argv) {
  (void)argc;
  (void)argv;
  return 2;
}
