/* What the kernel says of the processor: AT_HWCAP on ARM, CPUID on x86. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include "ports/port.h"

struct feature {
  const char *name;
  bool present;
};

const char *port_processor_features(void) {
#if defined(__aarch64__)
  unsigned long caps = getauxval(AT_HWCAP);
  const struct feature features[] = {
      /* asm/hwcap.h */
      {"AES", (caps & (1UL << 3)) != 0},
      {"PMULL", (caps & (1UL << 4)) != 0},
      {"SHA2", (caps & (1UL << 6)) != 0},
      {"CRC32", (caps & (1UL << 7)) != 0},
  };
#elif defined(__arm__)
  unsigned long caps = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
  const struct feature features[] = {
      {"NEON", (caps & (1UL << 12)) != 0},
      {"AES", (more & (1UL << 0)) != 0},
      {"SHA2", (more & (1UL << 3)) != 0},
      {"CRC32", (more & (1UL << 4)) != 0},
  };
#elif defined(__x86_64__)
  const struct feature features[] = {
      {"AES", __builtin_cpu_supports("aes") != 0},
      {"PCLMUL", __builtin_cpu_supports("pclmul") != 0},
      {"CRC32", __builtin_cpu_supports("sse4.2") != 0},
  };
#else
  const struct feature features[] = {{"", false}};
#endif
  static char text[64];
  size_t used = 0;
  text[0] = '\0';
  for (size_t i = 0; i < sizeof features / sizeof *features; i++)
    if (features[i].present)
      used +=
          (size_t)snprintf(text + used, sizeof text - used, "%s%s", used > 0 ? " " : "", features[i].name);
  return text;
}
