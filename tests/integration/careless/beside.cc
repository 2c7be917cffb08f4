// C++ of a program whose handlers are in C: it is linked along, and called through C.
#include <string>

extern "C" int careless_length(const char *text);

int careless_length(const char *text) {
  return static_cast<int>(std::string(text).size());
}
