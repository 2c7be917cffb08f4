/* The two ways in which crypto_crc32c computes, apart so that a test can compare them. */
#ifndef SKERRY_BASE_CRC32C_H
#define SKERRY_BASE_CRC32C_H

#include <stdbool.h>

#include "base/str.h"

/* Tables of 8 KiB, made at the first use: about 2 GB/s. */
uint32_t crc32c_by_table(uint32_t crc, str bytes);

/* The processor's own instruction (SSE 4.2; the CRC extension of ARMv8): about 10 GB/s. Only where
 * crc32c_has_instruction. */
uint32_t crc32c_by_instruction(uint32_t crc, str bytes);
bool crc32c_has_instruction(void);

#endif
