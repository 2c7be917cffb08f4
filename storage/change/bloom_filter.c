#include "storage/change/bloom_filter.h"

/* 0.1% of other names pass: n bits a name, n * ln 2 hashes. A few more, since small filters are worse than
 * that. */
enum { BITS_PER_NAME = 15, HASHES = 10, BITS_MORE = 128 };

struct bloom_digest bloom_digest_of(str name) {
  struct bloom_digest digest;
  crypto_md5(name, digest.bytes);
  return digest;
}

struct bloom_filter bloom_filter_for(size_t count) {
  return count == 0
             ? (struct bloom_filter){0}
             : (struct bloom_filter){.bit_count = count * BITS_PER_NAME + BITS_MORE, .hash_count = HASHES};
}

static uint64_t little_endian(const uint8_t bytes[8]) {
  uint64_t number = 0;
  for (unsigned i = 8; i-- > 0;)
    number = number << 8 | bytes[i];
  return number;
}

static uint64_t bit_at(const struct bloom_filter *filter, const struct bloom_digest *name, uint64_t i) {
  return (little_endian(name->bytes) + i * little_endian(name->bytes + 8)) % filter->bit_count;
}

void bloom_filter_add(struct bloom_filter *filter, const struct bloom_digest *name) {
  for (uint32_t i = 0; i < filter->hash_count && filter->bit_count > 0; i++) {
    uint64_t bit = bit_at(filter, name, i);
    filter->bits[bit / 8] = (uint8_t)(filter->bits[bit / 8] | 1u << bit % 8);
  }
}

bool bloom_filter_has(const struct bloom_filter *filter, const struct bloom_digest *name) {
  if (filter->bit_count == 0)
    return false;
  for (uint32_t i = 0; i < filter->hash_count; i++) {
    uint64_t bit = bit_at(filter, name, i);
    if ((filter->bits[bit / 8] >> bit % 8 & 1) == 0)
      return false;
  }
  return true;
}
