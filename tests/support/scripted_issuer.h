/* An issuer for tests of what fetches keys: it answers as the test says, and counts. Any thread. */
#ifndef SKERRY_TESTS_SUPPORT_SCRIPTED_ISSUER_H
#define SKERRY_TESTS_SUPPORT_SCRIPTED_ISSUER_H

#include <pthread.h>

#include "server/tokens/issuers.h"

struct scripted_issuer {
  pthread_mutex_t mutex; /* guards the rest */
  str keys;              /* what every URL answers but that of discovery; borrowed */
  str discovery;
  int64_t lifetime_s;
  bool down;
  unsigned key_requests, discovery_requests;
  char last_url[256];
};

void scripted_issuer_init(struct scripted_issuer *issuer);
void scripted_issuer_fini(struct scripted_issuer *issuer);
void scripted_issuer_set_keys(struct scripted_issuer *issuer, str keys);
void scripted_issuer_set_down(struct scripted_issuer *issuer, bool down);
unsigned scripted_issuer_requests(struct scripted_issuer *issuer); /* of both kinds */
struct issuers_fetcher scripted_issuer_fetcher(struct scripted_issuer *issuer);

#endif
