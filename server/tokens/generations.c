#include "server/tokens/generations.h"

#include "base/crypto.h"

void generations_init(struct generations *generations) {
  crypto_random(generations->key, sizeof generations->key);
  atomic_init(&generations->all, 1); /* 0 is of what never changes: identity.h */
  for (size_t i = 0; i < GENERATIONS_SLOTS; i++)
    atomic_init(&generations->slots[i], 0);
}

uint32_t generations_slot(const struct generations *generations, str uid) {
  return (uint32_t)(crypto_siphash(generations->key, uid) % GENERATIONS_SLOTS);
}
