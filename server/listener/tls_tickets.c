/* A ticket is, as BoringSSL lays it out: name (16 bytes), IV, AES-256-CBC of the session, HMAC-SHA-256 over
 * all before it. The name is ours: 8 random bytes that tell the key, and `not_after_s` in network order. The
 * HMAC covers it, so a client cannot move it. */
#include "server/listener/tls_tickets.h"

#include <assert.h>
#include <openssl/cipher.h>
#include <openssl/digest.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/crypto.h"

enum { KEY_ID_BYTES = 8, AES_KEY_BYTES = 32, MAC_KEY_BYTES = 32, IV_BYTES = 16 };

struct key {
  uint8_t id[KEY_ID_BYTES];
  uint8_t aes[AES_KEY_BYTES], mac[MAC_KEY_BYTES];
  bool exists;
};

struct tls_tickets {
  atomic_uint references;
  struct port *port;
  pthread_mutex_t mutex; /* guards all below */
  struct key current, before;
  int64_t current_since_us;
};

static void draw(struct tls_tickets *tickets, int64_t now_us) {
  struct key *key = &tickets->current;
  crypto_random(key->id, sizeof key->id);
  crypto_random(key->aes, sizeof key->aes);
  crypto_random(key->mac, sizeof key->mac);
  key->exists = true;
  tickets->current_since_us = now_us;
}

struct tls_tickets *tls_tickets_new(struct port *port) {
  struct tls_tickets *tickets = calloc(1, sizeof *tickets);
  if (tickets == NULL)
    return NULL;
  atomic_init(&tickets->references, 1);
  tickets->port = port;
  pthread_mutex_init(&tickets->mutex, NULL);
  draw(tickets, port->monotonic_us(port));
  return tickets;
}

void tls_tickets_ref(struct tls_tickets *tickets) {
  unsigned before = atomic_fetch_add_explicit(&tickets->references, 1, memory_order_relaxed);
  assert(before > 0);
}

void tls_tickets_unref(struct tls_tickets *tickets) {
  if (tickets == NULL || atomic_fetch_sub_explicit(&tickets->references, 1, memory_order_acq_rel) > 1)
    return;
  pthread_mutex_destroy(&tickets->mutex);
  OPENSSL_cleanse(tickets, sizeof *tickets);
  free(tickets);
}

void tls_tickets_rotate(struct tls_tickets *tickets) {
  int64_t now_us = tickets->port->monotonic_us(tickets->port);
  pthread_mutex_lock(&tickets->mutex);
  int64_t age_us = now_us - tickets->current_since_us;
  if (age_us >= (int64_t)TLS_TICKET_KEY_S * 1000000) {
    tickets->before = tickets->current;
    /* After a long sleep both keys are old. */
    if (age_us >= (int64_t)2 * TLS_TICKET_KEY_S * 1000000)
      OPENSSL_cleanse(&tickets->before, sizeof tickets->before);
    draw(tickets, now_us);
  }
  pthread_mutex_unlock(&tickets->mutex);
}

bool tls_tickets_seal(struct tls_tickets *tickets, int64_t not_after_s, uint8_t name[TLS_TICKET_NAME_BYTES],
                      uint8_t *iv, EVP_CIPHER_CTX *cipher, HMAC_CTX *mac) {
  pthread_mutex_lock(&tickets->mutex);
  struct key key = tickets->current;
  pthread_mutex_unlock(&tickets->mutex);
  memcpy(name, key.id, KEY_ID_BYTES);
  for (int i = 0; i < 8; i++)
    name[KEY_ID_BYTES + i] = (uint8_t)((uint64_t)not_after_s >> (56 - 8 * i));
  crypto_random(iv, IV_BYTES);
  bool done = EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) &&
              HMAC_Init_ex(mac, key.mac, sizeof key.mac, EVP_sha256(), NULL);
  OPENSSL_cleanse(&key, sizeof key);
  return done;
}

static bool find(struct tls_tickets *tickets, const uint8_t *id, struct key *ret, bool *ret_is_current) {
  pthread_mutex_lock(&tickets->mutex);
  const struct key *keys[] = {&tickets->current, &tickets->before};
  bool found = false;
  for (size_t i = 0; i < 2 && !found; i++)
    if (keys[i]->exists && memcmp(keys[i]->id, id, KEY_ID_BYTES) == 0) {
      *ret = *keys[i];
      *ret_is_current = i == 0;
      found = true;
    }
  pthread_mutex_unlock(&tickets->mutex);
  return found;
}

enum tls_ticket tls_tickets_open(struct tls_tickets *tickets, const uint8_t name[TLS_TICKET_NAME_BYTES],
                                 const uint8_t *iv, EVP_CIPHER_CTX *cipher, HMAC_CTX *mac,
                                 int64_t *ret_not_after_s) {
  uint64_t not_after_s = 0;
  for (int i = 0; i < 8; i++)
    not_after_s = not_after_s << 8 | name[KEY_ID_BYTES + i];
  struct key key;
  bool is_current;
  int64_t now_s = tickets->port->wall_us(tickets->port) / 1000000;
  if (not_after_s > INT64_MAX || (int64_t)not_after_s <= now_s || !find(tickets, name, &key, &is_current))
    return TLS_TICKET_UNUSABLE;
  bool done = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) &&
              HMAC_Init_ex(mac, key.mac, sizeof key.mac, EVP_sha256(), NULL);
  OPENSSL_cleanse(&key, sizeof key);
  if (!done)
    return TLS_TICKET_UNUSABLE;
  *ret_not_after_s = (int64_t)not_after_s;
  return is_current ? TLS_TICKET_GOOD : TLS_TICKET_RENEW;
}
