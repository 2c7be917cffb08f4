#include "bench/command.h"

int main(int argc, char **argv) {
  return bench_command(argc - 1, argv + 1);
}
