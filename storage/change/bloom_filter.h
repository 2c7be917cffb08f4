/* The Bloom filter of an existence filter, as google/firestore/v1/bloom_filter.proto defines it: MD5 of a
 * full document name, read as two little-endian 64-bit numbers h1 and h2; its i-th bit is (h1 + i * h2)
 * modulo the number of bits, with unsigned 64-bit arithmetic that wraps. Bits are numbered from the least
 * significant of the first byte. Any thread. */
#ifndef SKERRY_STORAGE_CHANGE_BLOOM_FILTER_H
#define SKERRY_STORAGE_CHANGE_BLOOM_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/crypto.h"
#include "base/str.h"

/* A name as the filter knows it. Whoever builds a filter keeps these until the number of names is known. */
struct bloom_digest {
  uint8_t bytes[CRYPTO_MD5_BYTES];
};
struct bloom_digest bloom_digest_of(str name);

struct bloom_filter {
  uint8_t *bits; /* the owner's memory: bloom_filter_bytes, or NULL if bit_count is 0 */
  size_t bit_count;
  uint32_t hash_count;
};

/* Number of bits and hashes for `count` names, of which one in a thousand others passes; bits is NULL. No
 * names, no bits. */
struct bloom_filter bloom_filter_for(size_t count);
static inline size_t bloom_filter_bytes(const struct bloom_filter *filter) {
  return (filter->bit_count + 7) / 8;
}
/* Unused bits of the last byte: BitSequence.padding. */
static inline uint32_t bloom_filter_padding(const struct bloom_filter *filter) {
  return (uint32_t)(bloom_filter_bytes(filter) * 8 - filter->bit_count);
}

/* `bits` was zeroed once before the first. */
void bloom_filter_add(struct bloom_filter *filter, const struct bloom_digest *name);
bool bloom_filter_has(const struct bloom_filter *filter, const struct bloom_digest *name);

#endif
