#include "server/tokens/tokens.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/crypto.h"
#include "base/monotonic_wait.h"
#include "net/url.h"
#include "server/tokens/custom_token.h"
#include "server/tokens/jwt.h"

enum { ARENA_FIRST_BYTES = 8192, RULES_ARENA_BYTES = 256 * 1024 };

struct worker {
  struct tokens *tokens;
  size_t index; /* of the issuer */
  pthread_t thread;
};

struct tokens {
  struct port *port;
  bool dev;
  struct tokens_own own;
  struct issuers *issuers;
  struct accounts *accounts;
  struct identity_cache *cache;
  struct arena arena; /* of the rules */
  struct certificate_rule *rules;
  size_t rule_count;
  struct identity *signed_out, *owner;
  struct generations generations;
  /* The threads that fetch keys, one an issuer. The mutex guards the two below it. */
  struct worker workers[ISSUERS_MAX];
  size_t worker_count;
  pthread_mutex_t mutex;
  pthread_cond_t wakes;
  bool stopping;
  uint64_t wake_count;
};

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to look at the token. Try again.");
}

static status wrong(const char *what) {
  return status_make(STATUS_UNAUTHENTICATED, "The token is refused: %s.", what);
}

static void new_generation(void *argument) {
  struct tokens *tokens = argument;
  generations_next(&tokens->generations);
}

void tokens_doubt_all(struct tokens *tokens) {
  new_generation(tokens);
}

uint64_t tokens_generation(const struct tokens *tokens) {
  return atomic_load(&tokens->generations.all);
}

void tokens_doubt_user(struct tokens *tokens, str uid) {
  generations_next_of(&tokens->generations, generations_slot(&tokens->generations, uid));
}

uint64_t tokens_generation_of(const struct tokens *tokens, const struct identity *identity) {
  return identity->generation == 0 ? 0 : generations_at(&tokens->generations, identity->generation_slot);
}

bool tokens_are_current(const struct tokens *tokens, const struct identity *identity, int64_t now_us) {
  return now_us < identity->expires_us && identity->generation == tokens_generation_of(tokens, identity);
}

/* ---- The threads that fetch ---- */

static void wake(void *argument) {
  struct tokens *tokens = argument;
  pthread_mutex_lock(&tokens->mutex);
  tokens->wake_count++;
  pthread_cond_broadcast(&tokens->wakes);
  pthread_mutex_unlock(&tokens->mutex);
}

/* Until the port's monotonic time is that, an hour at most. */
static int64_t wait_us(const struct tokens *tokens, int64_t next_us) {
  int64_t us = next_us - tokens->port->monotonic_us(tokens->port), most_us = INT64_C(3600) * 1000000;
  return us < 0 ? 0 : us > most_us ? most_us : us;
}

static void *work(void *argument) {
  const struct worker *worker = argument;
  struct tokens *tokens = worker->tokens;
  pthread_mutex_lock(&tokens->mutex);
  while (!tokens->stopping) {
    uint64_t seen = tokens->wake_count; /* who wakes while it works is not missed */
    pthread_mutex_unlock(&tokens->mutex);
    int64_t next_us = issuers_work(tokens->issuers, worker->index);
    pthread_mutex_lock(&tokens->mutex);
    if (!tokens->stopping && tokens->wake_count == seen)
      monotonic_wait_for(&tokens->wakes, &tokens->mutex, wait_us(tokens, next_us));
  }
  pthread_mutex_unlock(&tokens->mutex);
  return NULL;
}

static status start_workers(struct tokens *tokens, size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct worker *worker = &tokens->workers[i];
    *worker = (struct worker){.tokens = tokens, .index = i};
    if (pthread_create(&worker->thread, NULL, work, worker) != 0)
      return status_make(STATUS_RESOURCE_EXHAUSTED, "A thread that fetches keys cannot start.");
    tokens->worker_count++;
  }
  return status_ok();
}

static void stop_workers(struct tokens *tokens) {
  pthread_mutex_lock(&tokens->mutex);
  tokens->stopping = true;
  pthread_cond_broadcast(&tokens->wakes);
  pthread_mutex_unlock(&tokens->mutex);
  for (size_t i = 0; i < tokens->worker_count; i++)
    pthread_join(tokens->workers[i].thread, NULL);
}

/* ---- Opening and closing ---- */

static struct identity *plain_identity(enum identity_kind kind, enum identity_role role) {
  struct identity facts = {.kind = kind, .role = role, .expires_us = IDENTITY_NEVER_EXPIRES};
  return identity_new(&facts);
}

static bool copy_rules(struct tokens *tokens, const struct tokens_options *options) {
  tokens->rule_count = options->certificate_count;
  tokens->rules = ARENA_NEW_ARRAY(&tokens->arena, struct certificate_rule, tokens->rule_count);
  for (size_t i = 0; tokens->rules != NULL && i < tokens->rule_count; i++) {
    struct certificate_rule *rule = &tokens->rules[i];
    *rule = options->certificates[i];
    rule->name = arena_str_copy(&tokens->arena, rule->name);
    rule->uid = arena_str_copy(&tokens->arena, rule->uid);
  }
  return !tokens->arena.exhausted;
}

static void init_waiting(struct tokens *tokens) {
  monotonic_cond_init(&tokens->wakes);
  pthread_mutex_init(&tokens->mutex, NULL);
}

static status open_parts(struct tokens *tokens, const struct tokens_options *options) {
  if (mkdir(options->directory, 0700) != 0 && errno != EEXIST)
    return status_make(STATUS_FAILED_PRECONDITION, "The directory %s cannot be made: %s", options->directory,
                       strerror(errno));
  STATUS_TRY(accounts_open(options->directory, &tokens->accounts));
  struct issuers_options issuers = {.port = options->port,
                                    .directory = options->directory,
                                    .settings = options->issuers,
                                    .count = options->issuer_count,
                                    .fetcher = options->fetcher,
                                    .wake = wake,
                                    .changed = new_generation,
                                    .argument = tokens};
  STATUS_TRY(issuers_open(&issuers, &tokens->issuers));
  tokens->cache =
      identity_cache_new(options->cache_entries > 0 ? options->cache_entries : TOKENS_CACHE_ENTRIES,
                         options->cache_bytes > 0 ? options->cache_bytes : TOKENS_CACHE_BYTES);
  tokens->signed_out = plain_identity(IDENTITY_SIGNED_OUT, IDENTITY_ROLE_NONE);
  tokens->owner = plain_identity(IDENTITY_OWNER, IDENTITY_ROLE_OWNER);
  if (tokens->cache == NULL || tokens->signed_out == NULL || tokens->owner == NULL ||
      !copy_rules(tokens, options))
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to check tokens.");
  return start_workers(tokens, options->issuer_count);
}

status tokens_open(const struct tokens_options *options, struct tokens **ret) {
  struct tokens *tokens = calloc(1, sizeof *tokens);
  if (tokens == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to check tokens.");
  tokens->port = options->port;
  tokens->dev = options->dev;
  tokens->own = options->own;
  generations_init(&tokens->generations);
  arena_init(&tokens->arena, NULL, 0, RULES_ARENA_BYTES);
  init_waiting(tokens);
  status result = open_parts(tokens, options);
  if (status_is_ok(&result))
    *ret = tokens;
  else
    tokens_close(tokens);
  return result;
}

void tokens_close(struct tokens *tokens) {
  if (tokens == NULL)
    return;
  stop_workers(tokens);
  identity_cache_free(tokens->cache);
  identity_unref(tokens->signed_out);
  identity_unref(tokens->owner);
  issuers_close(tokens->issuers);
  accounts_close(tokens->accounts);
  arena_fini(&tokens->arena);
  pthread_cond_destroy(&tokens->wakes);
  pthread_mutex_destroy(&tokens->mutex);
  free(tokens);
}

/* ---- Users ---- */

/* An attempt to verify one token. */
struct attempt {
  struct tokens *tokens;
  struct arena *arena;
  struct jwt jwt;
  int64_t now_us;
  uint64_t generation; /* as it was before anything but the token itself was looked at */
  uint32_t generation_slot;
};

static int64_t expiry_us(int64_t expires_s) {
  return (expires_s + JWT_CLOCK_TOLERANCE_S) * 1000000;
}

static status finish(const struct attempt *attempt, struct identity *facts, struct identity **ret) {
  STATUS_TRY(jwt_encode_claims(&attempt->jwt, attempt->arena, &facts->claims));
  facts->generation = attempt->generation;
  facts->generation_slot = attempt->generation_slot;
  *ret = identity_new(facts);
  return *ret == NULL ? no_memory() : status_ok();
}

/* Whether it is the issuer's, for one of the audiences, and good now. */
static status check_user(const struct tokens *tokens, size_t index, const struct jwt *jwt, int64_t now_us) {
  const struct issuer_setting *setting = issuers_setting(tokens->issuers, index);
  if (jwt->algorithm == JWT_NONE)
    return wrong("it is not signed");
  bool for_us = false;
  for (size_t i = 0; i < setting->audience_count; i++)
    for_us = for_us || jwt_has_audience(jwt, setting->audiences[i]);
  if (!for_us)
    return wrong("it is meant for another app (`aud`)");
  STATUS_TRY(jwt_check(jwt, now_us / 1000000));
  struct key_set *set;
  const struct crypto_key *key;
  STATUS_TRY(issuers_find(tokens->issuers, index, jwt->key_id, jwt_key_algorithm(jwt), &set, &key));
  bool good = jwt_is_signed_by(jwt, key);
  key_set_unref(set);
  return good ? status_ok() : wrong("its signature is wrong");
}

static status verify_user(struct attempt *attempt, size_t index, struct identity **ret) {
  const struct jwt *jwt = &attempt->jwt;
  const struct issuer_setting *setting = issuers_setting(attempt->tokens->issuers, index);
  if (setting->provider.len > 0)
    return wrong("it is for signing in to an account, and does not count itself");
  STATUS_TRY(check_user(attempt->tokens, index, jwt, attempt->now_us));
  struct identity facts = {.kind = IDENTITY_USER,
                           .uid = jwt->subject,
                           .issuer = jwt->issuer,
                           .project = setting->project,
                           .expires_us = expiry_us(jwt->expires_s)};
  return finish(attempt, &facts, ret);
}

/* Of this server's own accounts. */
static status verify_own(struct attempt *attempt, struct identity **ret) {
  struct jwt *jwt = &attempt->jwt;
  const struct tokens_own *own = &attempt->tokens->own;
  struct doc_map claims;
  struct identity facts = {
      .kind = IDENTITY_USER, .issuer = jwt->issuer, .expires_us = expiry_us(jwt->expires_s)};
  STATUS_TRY(
      own->check(own->argument, jwt, attempt->now_us, attempt->arena, &facts.uid, &facts.project, &claims));
  jwt->claims = claims;
  return finish(attempt, &facts, ret);
}

/* The emulator's: nothing is checked but that there is a user. */
static status take_unsigned(struct attempt *attempt, struct identity **ret) {
  const struct jwt *jwt = &attempt->jwt;
  str uid = jwt->subject.len > 0 ? jwt->subject : jwt_claim_text(jwt, STR("user_id"));
  if (uid.len == 0 || uid.len > JWT_SUBJECT_BYTES_MAX)
    return wrong("its subject (`sub`) does not have 1 to 128 bytes");
  struct identity facts = {
      .kind = IDENTITY_USER, .uid = uid, .issuer = jwt->issuer, .expires_us = IDENTITY_NEVER_EXPIRES};
  return finish(attempt, &facts, ret);
}

/* ---- Service accounts ---- */

static bool is_our_audience(str audience) {
  struct url url;
  if (!url_parse(audience, &url) || url.scheme != URL_HTTPS)
    return false;
  if (str_eq(url.target, STR("/google.firestore.v1.Firestore")) ||
      str_eq(url.target, STR("/skerry.identity.v1.AccountAdmin")))
    return true;
  return (url.target.len == 0 || str_eq(url.target, STR("/"))) &&
         (str_eq(url.host, STR("firestore.googleapis.com")) ||
          str_eq(url.host, STR("identitytoolkit.googleapis.com")));
}

static bool scope_covers_us(str scope) {
  while (scope.ptr != NULL) {
    str one = str_split(scope, ' ', &scope);
    if (str_eq(one, STR("https://www.googleapis.com/auth/datastore")) ||
        str_eq(one, STR("https://www.googleapis.com/auth/cloud-platform")))
      return true;
  }
  return false;
}

static status check_account_claims(const struct attempt *attempt, const struct account_key *key) {
  const struct jwt *jwt = &attempt->jwt;
  int64_t now_s = attempt->now_us / 1000000;
  str email = str_from_cstr(key->email);
  if (!str_eq(jwt->issuer, email) || !str_eq(jwt->subject, email))
    return wrong("its issuer and subject are not the service account that its key belongs to");
  STATUS_TRY(jwt_check(jwt, now_s));
  if (jwt->expires_s - jwt->issued_s > TOKENS_ACCOUNT_LIFETIME_MAX_S)
    return wrong("a service account's token is good for an hour at most");
  if (key->expires_s != 0 && now_s >= key->expires_s)
    return wrong("its key has expired. `skerry key create` makes a new one");
  bool for_us = jwt->audience_count == 0 && scope_covers_us(jwt_claim_text(jwt, STR("scope")));
  for (size_t i = 0; i < jwt->audience_count; i++)
    for_us = for_us || is_our_audience(jwt->audiences[i]);
  return for_us ? status_ok() : wrong("it is meant for another service (`aud`, `scope`)");
}

static status verify_account(struct attempt *attempt, struct account_key *key, struct identity **ret) {
  STATUS_TRY(check_account_claims(attempt, key));
  if (!jwt_is_signed_by(&attempt->jwt, key->key))
    return wrong("its signature is wrong");
  int64_t expires_us = expiry_us(attempt->jwt.expires_s);
  if (key->expires_s != 0 && key->expires_s * 1000000 < expires_us)
    expires_us = key->expires_s * 1000000;
  struct identity facts = {.kind = IDENTITY_SERVICE_ACCOUNT,
                           .role = key->role,
                           .uid = str_from_cstr(key->email),
                           .issuer = attempt->jwt.issuer,
                           .project = str_from_cstr(key->project),
                           .expires_us = expires_us};
  return finish(attempt, &facts, ret);
}

/* ---- Any token ---- */

static status verify(struct attempt *attempt, str token, struct identity **ret) {
  struct tokens *tokens = attempt->tokens;
  STATUS_TRY(jwt_parse(token, attempt->arena, &attempt->jwt));
  const struct jwt *jwt = &attempt->jwt;
  attempt->generation_slot = generations_slot(&tokens->generations, jwt->subject);
  attempt->generation = generations_at(&tokens->generations, attempt->generation_slot);
  if (tokens->own.is_own != NULL && tokens->own.is_own(tokens->own.argument, jwt))
    return verify_own(attempt, ret);
  if (tokens->dev && jwt->algorithm == JWT_NONE)
    return take_unsigned(attempt, ret);
  size_t index = jwt->issuer.len == 0 ? ISSUERS_MAX : issuers_index(tokens->issuers, jwt->issuer);
  if (index != ISSUERS_MAX)
    return verify_user(attempt, index, ret);
  struct account_key *key = jwt->key_id.len == 0 ? NULL : accounts_find(tokens->accounts, jwt->key_id);
  if (key != NULL) {
    status result = verify_account(attempt, key, ret);
    account_key_unref(key);
    return result;
  }
  if (str_has_suffix(jwt->issuer, STR(ACCOUNTS_EMAIL_SUFFIX)))
    return wrong("its service account's key is not known here, or was revoked");
  return wrong("its issuer (`iss`) is not one that this server takes tokens of");
}

status tokens_verify(struct tokens *tokens, str authorization, int64_t now_us, struct identity **ret) {
  if (authorization.len == 0) {
    *ret = identity_ref(tokens->signed_out);
    return status_ok();
  }
  if (authorization.len < 7 || strncasecmp(authorization.ptr, "bearer ", 7) != 0)
    return status_make(STATUS_UNAUTHENTICATED, "Of authorization headers only \"Bearer TOKEN\" is taken.");
  str token = str_from(authorization, 7);
  if (tokens->dev && str_eq(token, STR("owner"))) {
    *ret = identity_ref(tokens->owner);
    return status_ok();
  }
  struct identity *found = token.len > JWT_BYTES_MAX
                               ? NULL
                               : identity_cache_get(tokens->cache, token, &tokens->generations, now_us);
  if (found != NULL) {
    *ret = found;
    return status_ok();
  }
  _Alignas(max_align_t) char first[ARENA_FIRST_BYTES];
  struct arena arena;
  arena_init(&arena, first, sizeof first, JWT_MEMORY_BYTES_MAX);
  struct attempt attempt = {.tokens = tokens, .arena = &arena, .now_us = now_us};
  status result = verify(&attempt, token, ret);
  arena_fini(&arena);
  if (status_is_ok(&result))
    identity_cache_put(tokens->cache, token, *ret);
  return result;
}

status tokens_verify_custom(struct tokens *tokens, str token, int64_t now_us, struct arena *arena,
                            struct custom_token *ret) {
  return custom_token_verify(tokens->accounts, tokens->dev, token, now_us, arena, ret);
}

/* ---- Users of other issuers who sign in to accounts ---- */

static bool is_nonce(str claim, str nonce) {
  uint8_t digest[CRYPTO_SHA256_BYTES];
  char hex[2 * CRYPTO_SHA256_BYTES + 1];
  crypto_sha256(nonce, digest);
  for (size_t i = 0; i < CRYPTO_SHA256_BYTES; i++)
    snprintf(hex + 2 * i, 3, "%02x", digest[i]);
  return str_eq(claim, nonce) || str_eq(claim, str_from_cstr(hex));
}

static bool is_for(const struct issuer_setting *setting, str provider, str project) {
  return str_eq(setting->provider, provider) &&
         (setting->project.len == 0 || str_eq(setting->project, project));
}

static status check_provider(const struct tokens *tokens, const struct jwt *jwt, str provider, str nonce,
                             str project, int64_t now_us) {
  size_t index = jwt->issuer.len == 0 ? ISSUERS_MAX : issuers_index(tokens->issuers, jwt->issuer);
  bool is_set = false;
  for (size_t i = 0; i < issuers_count(tokens->issuers); i++)
    is_set = is_set || is_for(issuers_setting(tokens->issuers, i), provider, project);
  if (!is_set || provider.len == 0)
    return status_make(STATUS_PERMISSION_DENIED, "OPERATION_NOT_ALLOWED : This server has no such provider.");
  if (index == ISSUERS_MAX || !is_for(issuers_setting(tokens->issuers, index), provider, project))
    return wrong("its issuer (`iss`) is not this provider's");
  STATUS_TRY(check_user(tokens, index, jwt, now_us));
  str claim = jwt_claim_text(jwt, STR("nonce"));
  if (claim.len > 0 || nonce.len > 0 ? !is_nonce(claim, nonce) : false)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "MISSING_OR_INVALID_NONCE : The token's nonce is another one.");
  return status_ok();
}

status tokens_verify_provider(struct tokens *tokens, str token, str provider, str nonce, str project,
                              int64_t now_us, struct arena *arena, struct jwt *ret) {
  struct jwt jwt;
  status result = jwt_parse(token, arena, &jwt);
  if (status_is_ok(&result))
    result = check_provider(tokens, &jwt, provider, nonce, project, now_us);
  if (result.code == STATUS_UNAUTHENTICATED)
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_IDP_RESPONSE : %s", result.message);
  if (status_is_ok(&result))
    *ret = jwt;
  return result;
}

/* ---- Certificates ---- */

struct identity *tokens_of_certificate(struct tokens *tokens, str name, const uint8_t sha256[32]) {
  const struct certificate_rule *rule =
      certificate_rule_find(tokens->rules, tokens->rule_count, name, sha256);
  if (rule == NULL)
    return NULL;
  struct identity facts = {.kind =
                               rule->role == IDENTITY_ROLE_NONE ? IDENTITY_USER : IDENTITY_SERVICE_ACCOUNT,
                           .role = rule->role,
                           .uid = rule->uid.len > 0 ? rule->uid : name,
                           .expires_us = IDENTITY_NEVER_EXPIRES}; /* the connection's TLS has checked it */
  return identity_new(&facts);
}

/* ---- Keys ---- */

status tokens_create_key(struct tokens *tokens, const struct account_request *request,
                         struct account_key **ret) {
  return accounts_create(tokens->accounts, request, ret);
}

status tokens_revoke_key(struct tokens *tokens, str key_id) {
  status result = accounts_revoke(tokens->accounts, key_id);
  if (result.code != STATUS_NOT_FOUND)
    new_generation(tokens);
  return result;
}

status tokens_list_keys(struct tokens *tokens, struct account_key ***ret, size_t *ret_count) {
  return accounts_list(tokens->accounts, ret, ret_count);
}

size_t tokens_issuer_count(const struct tokens *tokens) {
  return issuers_count(tokens->issuers);
}
void tokens_issuer_info(struct tokens *tokens, size_t index, struct issuers_info *ret) {
  issuers_info(tokens->issuers, index, ret);
}
void tokens_cache_clear(struct tokens *tokens) {
  identity_cache_clear(tokens->cache);
}

void tokens_cache_stats(struct tokens *tokens, struct identity_cache_stats *ret) {
  identity_cache_stats(tokens->cache, ret);
}
