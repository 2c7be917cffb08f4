/* The hash of the driver's tables of keys. */
#ifndef SKERRY_STORAGE_ROCKSDB_HASH_H
#define SKERRY_STORAGE_ROCKSDB_HASH_H

#include <stdint.h>
#include <string.h>

#include "base/str.h"

/* With a random seed of the table's: clients choose keys, and must not choose where they fall. */
static inline uint64_t rocks_hash(uint64_t seed, str key) {
  uint64_t h = seed ^ (key.len * UINT64_C(0x9e3779b97f4a7c15));
  for (size_t i = 0; i < key.len; i += 8) {
    uint64_t word = 0;
    memcpy(&word, key.ptr + i, key.len - i < 8 ? key.len - i : 8);
    h = (h ^ word) * UINT64_C(0xbf58476d1ce4e5b9);
    h ^= h >> 32;
    h = h * UINT64_C(0x94d049bb133111eb) + seed;
    h ^= h >> 29;
  }
  return h;
}

#endif
