#include "server/identity/attempts.h"

#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"

enum {
  RECORD_FORMAT = 2,
  WORDS = ATTEMPTS_SLOTS / 64,
  TABLE_SLOTS = ATTEMPTS_SETS * ATTEMPTS_WAYS,
  KINDS = 6,
  DOUBLINGS_MAX = 20,
};
#define SECOND_US INT64_C(1000000)
#define WAIT_US_MAX (15 * 60 * SECOND_US)

enum kind { ACCOUNT, PLACE, ADDRESS, NETWORK, KNOWN /* of hashes only */, SIGN_UP };

static const struct {
  uint32_t free;
  int64_t forget_us;
} kinds[KINDS] = {
    [ACCOUNT] = {10, 15 * 60 * SECOND_US}, [PLACE] = {10, 15 * 60 * SECOND_US},
    [ADDRESS] = {30, 2 * 60 * SECOND_US},  [NETWORK] = {240, 15 * SECOND_US},
    [SIGN_UP] = {100, 36 * SECOND_US},
};

/* Times are of the monotonic clock. */
struct record {
  uint64_t key;
  uint32_t count; /* 0: the place is free */
  enum kind kind;
  int64_t forgotten_us; /* until when forgetting was reckoned */
  int64_t until_us;     /* nothing before it */
};

struct attempts {
  struct port *port;
  uint64_t secret[2];
  struct attempts_persistence persistence;
  /* Guarded by the mutex. */
  pthread_mutex_t mutex;
  struct record records[ATTEMPTS_SLOTS]; /* accounts, then addresses; set by set */
  uint64_t changed[WORDS];               /* a bit a slot */
  uint64_t begun, refused, failed;
};

static_assert(ATTEMPTS_SECRET_BYTES == sizeof(uint64_t[2]), "the key of a keyed hash");

status attempts_new(struct port *port, str secret, struct attempts_persistence persistence,
                    struct attempts **ret) {
  assert(secret.len == ATTEMPTS_SECRET_BYTES);
  struct attempts *attempts = calloc(1, sizeof *attempts);
  if (attempts == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to count attempts.");
  attempts->port = port;
  attempts->persistence = persistence;
  memcpy(attempts->secret, secret.ptr, sizeof attempts->secret);
  pthread_mutex_init(&attempts->mutex, NULL);
  *ret = attempts;
  return status_ok();
}

void attempts_free(struct attempts *attempts) {
  if (attempts == NULL)
    return;
  pthread_mutex_destroy(&attempts->mutex);
  free(attempts);
}

static int64_t now_of(const struct attempts *attempts) {
  return attempts->port->monotonic_us(attempts->port);
}

/* ---- Hashes ---- */

/* The first bytes of an address that count for one kind: 4, or 8 or 6 of IPv6. */
struct prefix {
  uint8_t bytes[8];
  size_t len; /* 0: it is no address, or loopback */
  bool is_ipv6;
};

/* "[v6]:port", "[v6]", "v6", "v4:port" or "v4". */
static bool cut_out_host(str address, char *out, size_t size) {
  str host = address;
  if (host.len > 0 && host.ptr[0] == '[') {
    str rest;
    host = str_split(str_from(host, 1), ']', &rest);
  } else {
    str rest;
    str before = str_split(host, ':', &rest);
    if (rest.ptr != NULL && memchr(rest.ptr, ':', rest.len) == NULL)
      host = before; /* one colon: a port */
  }
  if (host.len == 0 || host.len >= size)
    return false;
  memcpy(out, host.ptr, host.len);
  out[host.len] = '\0';
  return true;
}

static struct prefix prefix_of(str address) {
  static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  struct prefix prefix = {.len = 0};
  char host[INET6_ADDRSTRLEN];
  uint8_t v6[16], v4[4];
  bool is_v4 = false;
  if (!cut_out_host(address, host, sizeof host))
    return prefix;
  if (inet_pton(AF_INET, host, v4) == 1) {
    is_v4 = true;
  } else if (inet_pton(AF_INET6, host, v6) != 1) {
    return prefix;
  } else if (memcmp(v6, mapped, sizeof mapped) == 0) {
    is_v4 = true;
    memcpy(v4, v6 + sizeof mapped, sizeof v4);
  } else if (memcmp(v6, &in6addr_loopback, sizeof v6) == 0) {
    return prefix;
  }
  if (is_v4 && v4[0] == 127)
    return prefix;
  prefix.is_ipv6 = !is_v4;
  prefix.len = is_v4 ? sizeof v4 : sizeof prefix.bytes;
  memcpy(prefix.bytes, is_v4 ? v4 : v6, prefix.len);
  return prefix;
}

/* Of the kind, the length of the account, the account, and the prefix. */
static uint64_t hash_of(const struct attempts *attempts, enum kind kind, str account, str prefix) {
  uint8_t bytes[1 + 8 + CRYPTO_SHA256_BYTES + sizeof(struct prefix)] = {(uint8_t)kind};
  uint64_t len = account.len;
  memcpy(bytes + 1, &len, sizeof len);
  if (account.len > 0)
    crypto_sha256(account, bytes + 9);
  if (prefix.len > 0)
    memcpy(bytes + 9 + CRYPTO_SHA256_BYTES, prefix.ptr, prefix.len);
  return crypto_siphash(attempts->secret, str_make(bytes, 9 + (size_t)CRYPTO_SHA256_BYTES + prefix.len));
}

/* ---- Records; with the mutex held ---- */

static void mark(struct attempts *attempts, size_t slot) {
  attempts->changed[slot / 64] |= UINT64_C(1) << slot % 64;
}

static void forget(struct record *record, int64_t now_us) {
  if (record->count == 0)
    return;
  int64_t forget_us = kinds[record->kind].forget_us;
  int64_t steps = now_us > record->forgotten_us ? (now_us - record->forgotten_us) / forget_us : 0;
  record->count = steps >= record->count ? 0 : record->count - (uint32_t)steps;
  record->forgotten_us += steps * forget_us;
}

static struct record *set_of(struct attempts *attempts, enum kind kind, uint64_t key) {
  size_t table = kind == ACCOUNT || kind == PLACE ? 0 : TABLE_SLOTS;
  return &attempts->records[table + key % ATTEMPTS_SETS * ATTEMPTS_WAYS];
}

static struct record *find(struct attempts *attempts, enum kind kind, uint64_t key, int64_t now_us) {
  struct record *set = set_of(attempts, kind, key);
  for (size_t i = 0; i < ATTEMPTS_WAYS; i++) {
    if (set[i].key != key || set[i].kind != kind || set[i].count == 0)
      continue;
    forget(&set[i], now_us);
    return set[i].count > 0 ? &set[i] : NULL;
  }
  return NULL;
}

/* How near a record is to its limit. */
static uint64_t weight(const struct record *record) {
  return record->count * UINT64_C(240) / kinds[record->kind].free;
}

/* The record, or the place of the lightest one of its set. */
static struct record *find_or_replace(struct attempts *attempts, enum kind kind, uint64_t key,
                                      int64_t now_us) {
  struct record *found = find(attempts, kind, key, now_us);
  if (found != NULL)
    return found;
  struct record *set = set_of(attempts, kind, key), *lightest = NULL;
  for (size_t i = 0; i < ATTEMPTS_WAYS; i++) {
    forget(&set[i], now_us);
    if (lightest == NULL || weight(&set[i]) < weight(lightest))
      lightest = &set[i];
  }
  *lightest = (struct record){.key = key, .kind = kind, .forgotten_us = now_us};
  return lightest;
}

static int64_t wait_after(const struct record *record) {
  uint32_t free = kinds[record->kind].free;
  if (record->count <= free)
    return 0;
  uint32_t doublings = record->count - free - 1;
  int64_t wait_us = SECOND_US << (doublings < DOUBLINGS_MAX ? doublings : DOUBLINGS_MAX);
  return wait_us < WAIT_US_MAX ? wait_us : WAIT_US_MAX;
}

/* Another attempt. When the next one may be. */
static int64_t count_one(struct attempts *attempts, struct record *record, int64_t now_us) {
  if (record->count == 0)
    record->forgotten_us = now_us;
  record->count++;
  int64_t wait_us = wait_after(record);
  if (wait_us > 0)
    record->until_us = now_us + wait_us;
  mark(attempts, (size_t)(record - attempts->records));
  return record->until_us;
}

/* Counts far over the limit change nothing but how long forgetting takes: no more than to get the longest
 * wait. */
static void cap(struct record *record) {
  enum { DOUBLINGS_TO_CAP = 11 }; /* 2^10 s is over 15 min */
  uint32_t most = kinds[record->kind].free + DOUBLINGS_TO_CAP;
  if (record->count > most)
    record->count = most;
}

/* ---- Attempts ---- */

struct counted {
  enum kind kind;
  uint64_t key;
};

/* Against what it counts: at most three. */
static unsigned list_counted(const struct attempts *attempts, const struct attempts_who *who,
                             struct counted ret[3]) {
  struct prefix prefix = prefix_of(who->address);
  str bytes = str_make(prefix.bytes, prefix.len), none = {NULL, 0};
  unsigned count = 0;
  if (who->signs_up) {
    if (prefix.len > 0)
      ret[count++] = (struct counted){SIGN_UP, hash_of(attempts, SIGN_UP, none, bytes)};
    if (prefix.is_ipv6)
      ret[count++] = (struct counted){SIGN_UP, hash_of(attempts, SIGN_UP, none, str_make(bytes.ptr, 6))};
    return count;
  }
  if (who->account.len > 0 && who->known && prefix.len > 0) {
    ret[count++] = (struct counted){PLACE, hash_of(attempts, PLACE, who->account, bytes)};
    return count;
  }
  if (who->account.len > 0)
    ret[count++] = (struct counted){ACCOUNT, hash_of(attempts, ACCOUNT, who->account, none)};
  if (prefix.len > 0)
    ret[count++] = (struct counted){ADDRESS, hash_of(attempts, ADDRESS, none, bytes)};
  if (prefix.is_ipv6)
    ret[count++] = (struct counted){NETWORK, hash_of(attempts, NETWORK, none, str_make(bytes.ptr, 6))};
  return count;
}

static void tell(struct attempts *attempts) {
  if (attempts->persistence.changed != NULL)
    attempts->persistence.changed(attempts->persistence.argument);
}

status attempts_begin(struct attempts *attempts, const struct attempts_who *who, struct attempts_ticket *ret,
                      int64_t *ret_wait_ms) {
  struct counted counted[3];
  unsigned count = list_counted(attempts, who, counted);
  int64_t now_us = now_of(attempts), until_us = now_us;
  struct attempts_ticket ticket = {.count = count};
  pthread_mutex_lock(&attempts->mutex);
  for (unsigned i = 0; i < count; i++) {
    const struct record *record = find(attempts, counted[i].kind, counted[i].key, now_us);
    if (record != NULL && record->until_us > until_us)
      until_us = record->until_us;
  }
  bool early = until_us > now_us;
  if (early)
    attempts->refused++;
  else
    attempts->begun++;
  for (unsigned i = 0; i < count && !early; i++) {
    struct record *record = find_or_replace(attempts, counted[i].kind, counted[i].key, now_us);
    ticket.kinds[i] = (uint8_t)counted[i].kind;
    ticket.keys[i] = counted[i].key;
    ticket.until_us[i] = count_one(attempts, record, now_us);
    cap(record);
  }
  pthread_mutex_unlock(&attempts->mutex);
  *ret_wait_ms = early ? (until_us - now_us + 999) / 1000 : 0;
  if (early)
    return status_make(STATUS_RESOURCE_EXHAUSTED,
                       "TOO_MANY_ATTEMPTS_TRY_LATER : There were too many unsuccessful attempts. Please try "
                       "again later, or reset the password.");
  if (count > 0)
    tell(attempts);
  *ret = ticket;
  return status_ok();
}

void attempts_end(struct attempts *attempts, const struct attempts_ticket *ticket,
                  enum attempts_outcome outcome) {
  int64_t now_us = now_of(attempts);
  pthread_mutex_lock(&attempts->mutex);
  if (outcome == ATTEMPTS_FAILED)
    attempts->failed++;
  for (unsigned i = 0; i < ticket->count && outcome != ATTEMPTS_FAILED; i++) {
    struct record *record = find(attempts, (enum kind)ticket->kinds[i], ticket->keys[i], now_us);
    if (record == NULL)
      continue;
    record->count--;
    if (record->until_us == ticket->until_us[i]) /* no later one waits for it */
      record->until_us = now_us;
    mark(attempts, (size_t)(record - attempts->records));
  }
  pthread_mutex_unlock(&attempts->mutex);
  if (outcome != ATTEMPTS_FAILED && ticket->count > 0)
    tell(attempts);
}

void attempts_clear_account(struct attempts *attempts, str account) {
  uint64_t key = hash_of(attempts, ACCOUNT, account, (str){NULL, 0});
  int64_t now_us = now_of(attempts);
  pthread_mutex_lock(&attempts->mutex);
  struct record *record = find(attempts, ACCOUNT, key, now_us);
  if (record != NULL) {
    record->count = 0;
    mark(attempts, (size_t)(record - attempts->records));
  }
  pthread_mutex_unlock(&attempts->mutex);
  if (record != NULL)
    tell(attempts);
}

void attempts_info(struct attempts *attempts, struct attempts_info *ret) {
  int64_t now_us = now_of(attempts);
  *ret = (struct attempts_info){0};
  pthread_mutex_lock(&attempts->mutex);
  ret->begun = attempts->begun;
  ret->refused = attempts->refused;
  ret->failed = attempts->failed;
  for (size_t i = 0; i < ATTEMPTS_SLOTS; i++) {
    forget(&attempts->records[i], now_us);
    *(i < TABLE_SLOTS ? &ret->accounts : &ret->addresses) += attempts->records[i].count > 0;
  }
  pthread_mutex_unlock(&attempts->mutex);
}

/* ---- Places ---- */

static uint64_t place_of(const struct attempts *attempts, str account, str address) {
  struct prefix prefix = prefix_of(address);
  return prefix.len == 0 ? 0 : hash_of(attempts, KNOWN, account, str_make(prefix.bytes, prefix.len));
}

bool attempts_is_known(const struct attempts *attempts, const struct attempts_known *known, str account,
                       str address) {
  uint64_t place = place_of(attempts, account, address);
  for (unsigned i = 0; i < known->count && place != 0; i++)
    if (known->places[i] == place)
      return true;
  return false;
}

bool attempts_known_add(const struct attempts *attempts, struct attempts_known *known, str account,
                        str address) {
  uint64_t place = place_of(attempts, account, address);
  if (place == 0 || (known->count > 0 && known->places[0] == place))
    return false;
  unsigned at = 0;
  while (at < known->count && known->places[at] != place)
    at++;
  if (at == known->count && known->count < ATTEMPTS_KNOWN_MAX)
    known->count++;
  if (at == ATTEMPTS_KNOWN_MAX)
    at--; /* the oldest goes */
  memmove(known->places + 1, known->places, at * sizeof known->places[0]);
  known->places[0] = place;
  return true;
}

/* ---- Bytes ---- */

static uint8_t *put(uint8_t *at, uint64_t number, unsigned bytes) {
  for (unsigned i = bytes; i-- > 0;)
    *at++ = (uint8_t)(number >> 8 * i);
  return at;
}

static uint64_t take(const uint8_t **at, unsigned bytes) {
  uint64_t number = 0;
  for (unsigned i = 0; i < bytes; i++)
    number = number << 8 | *(*at)++;
  return number;
}

enum { KNOWN_FORMAT = 1 };

size_t attempts_known_encode(const struct attempts_known *known, uint8_t out[ATTEMPTS_KNOWN_BYTES_MAX]) {
  uint8_t *at = out;
  if (known->count == 0)
    return 0;
  at = put(at, KNOWN_FORMAT, 1);
  for (unsigned i = 0; i < known->count; i++)
    at = put(at, known->places[i], 8);
  return (size_t)(at - out);
}

struct attempts_known attempts_known_decode(str bytes) {
  struct attempts_known known = {.count = 0};
  const uint8_t *at = (const uint8_t *)bytes.ptr;
  if (bytes.len < 1 || bytes.len > ATTEMPTS_KNOWN_BYTES_MAX || bytes.len % 8 != 1 ||
      take(&at, 1) != KNOWN_FORMAT)
    return known;
  for (; known.count < bytes.len / 8; known.count++)
    known.places[known.count] = take(&at, 8);
  return known;
}

/* format, kind, key, count, wall clock (us), since forgetting was reckoned (ms), wait that is left (ms) */
static void encode(const struct record *record, int64_t now_us, int64_t wall_us,
                   uint8_t out[ATTEMPTS_RECORD_BYTES]) {
  int64_t since_us = now_us > record->forgotten_us ? now_us - record->forgotten_us : 0;
  int64_t left_us = record->until_us > now_us ? record->until_us - now_us : 0;
  uint8_t *at = put(out, RECORD_FORMAT, 1);
  at = put(at, record->kind, 1);
  at = put(at, record->key, 8);
  at = put(at, record->count, 4);
  at = put(at, (uint64_t)wall_us, 8);
  at = put(at, (uint64_t)(since_us / 1000), 4);
  at = put(at, (uint64_t)(left_us / 1000), 4);
  assert(at == out + ATTEMPTS_RECORD_BYTES);
}

bool attempts_restore(struct attempts *attempts, uint16_t slot, str bytes) {
  if (bytes.len != ATTEMPTS_RECORD_BYTES || slot >= ATTEMPTS_SLOTS)
    return false;
  const uint8_t *at = (const uint8_t *)bytes.ptr;
  uint64_t format = take(&at, 1), kind = take(&at, 1);
  struct record record = {.key = take(&at, 8)};
  record.count = (uint32_t)take(&at, 4);
  int64_t wall_us = (int64_t)take(&at, 8), since_us = (int64_t)take(&at, 4) * 1000;
  int64_t left_us = (int64_t)take(&at, 4) * 1000;
  int64_t now_us = now_of(attempts), now_wall_us = attempts->port->wall_us(attempts->port);
  if (format != RECORD_FORMAT || kind >= KINDS || kind == KNOWN || wall_us < 0)
    return false;
  int64_t passed_us = now_wall_us > wall_us ? now_wall_us - wall_us : 0;
  record.kind = (enum kind)kind;
  record.forgotten_us = now_us - since_us - passed_us;
  left_us = left_us < WAIT_US_MAX ? left_us : WAIT_US_MAX;
  record.until_us = left_us > passed_us ? now_us + left_us - passed_us : now_us;
  cap(&record);
  forget(&record, now_us);
  pthread_mutex_lock(&attempts->mutex);
  struct record *place = &attempts->records[slot];
  const struct record *set = set_of(attempts, record.kind, record.key);
  bool fits = place >= set && place < set + ATTEMPTS_WAYS;
  if (fits)
    *place = record;
  pthread_mutex_unlock(&attempts->mutex);
  return fits;
}

size_t attempts_take_changed(struct attempts *attempts, struct attempts_changed *ret, size_t max) {
  int64_t now_us = now_of(attempts), wall_us = attempts->port->wall_us(attempts->port);
  size_t count = 0;
  pthread_mutex_lock(&attempts->mutex);
  for (size_t word = 0; word < WORDS; word++)
    while (attempts->changed[word] != 0 && count < max) {
      size_t slot = word * 64 + (size_t)__builtin_ctzll(attempts->changed[word]);
      attempts->changed[word] &= attempts->changed[word] - 1;
      ret[count].slot = (uint16_t)slot;
      encode(&attempts->records[slot], now_us, wall_us > 0 ? wall_us : 0, ret[count].record);
      count++;
    }
  pthread_mutex_unlock(&attempts->mutex);
  return count;
}

void attempts_give_back(struct attempts *attempts, const struct attempts_changed *changed, size_t count) {
  pthread_mutex_lock(&attempts->mutex);
  for (size_t i = 0; i < count; i++)
    mark(attempts, changed[i].slot);
  pthread_mutex_unlock(&attempts->mutex);
}
