#include "server/embed/server.h"

int main(int argc, char **argv) {
  return skerry_main(argc, argv, NULL);
}
