/* CRC-32C, polynomial 0x1EDC6F41, reflected (RFC 3720, appendix B.4). */
#include "base/crc32c.h"

#include <assert.h>
#include <pthread.h>

#include "base/crypto.h"

#if defined(__x86_64__)
#define CRC_INSTRUCTION __attribute__((target("sse4.2")))

bool crc32c_has_instruction(void) {
  return __builtin_cpu_supports("sse4.2") != 0;
}
CRC_INSTRUCTION static inline uint32_t step_byte(uint32_t crc, uint8_t byte) {
  return __builtin_ia32_crc32qi(crc, byte);
}
CRC_INSTRUCTION static inline uint32_t step_word(uint32_t crc, uint64_t word) {
  return (uint32_t)__builtin_ia32_crc32di(crc, word);
}

#elif defined(__aarch64__) && defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <sys/auxv.h>
#define CRC_INSTRUCTION

bool crc32c_has_instruction(void) {
  return (getauxval(AT_HWCAP) & (1UL << 7 /* HWCAP_CRC32 */)) != 0;
}
/* Assembly, because the two compilers name the intrinsics apart and want -march for them. */
static inline uint32_t step_byte(uint32_t crc, uint8_t byte) {
  __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)byte));
  return crc;
}
static inline uint32_t step_word(uint32_t crc, uint64_t word) {
  __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
  return crc;
}

#else
bool crc32c_has_instruction(void) {
  return false;
}
#endif

#ifdef CRC_INSTRUCTION
CRC_INSTRUCTION uint32_t crc32c_by_instruction(uint32_t crc, str bytes) {
  const uint8_t *at = (const uint8_t *)bytes.ptr;
  size_t left = bytes.len;
  crc = ~crc;
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    crc = step_word(crc, word);
  }
  for (; left > 0; at++, left--)
    crc = step_byte(crc, *at);
  return ~crc;
}
#else
uint32_t crc32c_by_instruction(uint32_t crc, str bytes) {
  assert(!"this processor has no CRC instruction");
  return crc32c_by_table(crc, bytes);
}
#endif

enum { POLYNOMIAL_REFLECTED = (int)0x82F63B78 };

/* table[0][b]: the remainder of byte b; table[k][b]: of byte b with k zero bytes after it, so that eight
 * bytes are looked up at once instead of one after the other. */
static uint32_t table[8][256];

static void table_make(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++)
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? (uint32_t)POLYNOMIAL_REFLECTED : 0);
    table[0][byte] = crc;
  }
  for (int zeros = 1; zeros < 8; zeros++)
    for (uint32_t byte = 0; byte < 256; byte++)
      table[zeros][byte] = (table[zeros - 1][byte] >> 8) ^ table[0][table[zeros - 1][byte] & 0xFF];
}

uint32_t crc32c_by_table(uint32_t crc, str bytes) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, table_make);
  const uint8_t *at = (const uint8_t *)bytes.ptr;
  size_t left = bytes.len;
  crc = ~crc;
  for (; left >= 8; at += 8, left -= 8) {
    uint8_t low[4] = {(uint8_t)(at[0] ^ crc), (uint8_t)(at[1] ^ (crc >> 8)), (uint8_t)(at[2] ^ (crc >> 16)),
                      (uint8_t)(at[3] ^ (crc >> 24))};
    crc = table[7][low[0]] ^ table[6][low[1]] ^ table[5][low[2]] ^ table[4][low[3]] ^ table[3][at[4]] ^
          table[2][at[5]] ^ table[1][at[6]] ^ table[0][at[7]];
  }
  for (; left > 0; at++, left--)
    crc = (crc >> 8) ^ table[0][(uint8_t)(crc ^ *at)];
  return ~crc;
}

uint32_t crypto_crc32c(uint32_t crc, str bytes) {
  return crc32c_has_instruction() ? crc32c_by_instruction(crc, bytes) : crc32c_by_table(crc, bytes);
}
