/* The keys with which an issuer signs: parsed from a JWK Set (RFC 7517) or from Google's certificates (an
 * object of key ids and PEM certificates), never changed, counted by references. And the part of an OpenID
 * provider's configuration that says where they are. No I/O.
 *
 * As RFC 7517, section 5, asks, keys that are of no use here are skipped: of other types and curves, for
 * encryption (`use`, `key_ops`), for other algorithms (`alg`), symmetric, damaged. A set that has nothing
 * left is refused.
 *
 * Statuses: INVALID_ARGUMENT with what is wrong; RESOURCE_EXHAUSTED. Any thread. */
#ifndef SKERRY_SERVER_TOKENS_KEY_SET_H
#define SKERRY_SERVER_TOKENS_KEY_SET_H

#include "base/crypto_key.h"
#include "base/status.h"

enum {
  KEY_SET_BYTES_MAX = 256 * 1024, /* of a document */
  KEY_SET_KEYS_MAX = 100,         /* issuers have 2 to 10 */
  KEY_SET_DEPTH_MAX = 8,
  KEY_SET_URL_BYTES_MAX = 2048,
};

struct key_set;

/* Either of the two forms, told apart by a list named `keys`. */
STATUS_MUST_USE status key_set_parse(str document, struct key_set **ret);
struct key_set *key_set_ref(struct key_set *set);
void key_set_unref(struct key_set *set); /* NULL is fine */

size_t key_set_count(const struct key_set *set);
/* The key with that id and algorithm, as long as the set lives. A token without an id (empty) has the only
 * key of the algorithm, if there is only one; a key without an id serves any token if it is the only one of
 * its algorithm. NULL: there is none. */
const struct crypto_key *key_set_find(const struct key_set *set, str key_id, enum crypto_algorithm algorithm);
/* Whether both have the same ids, for the same keys. */
bool key_set_equal(const struct key_set *a, const struct key_set *b);

/* Reads `.well-known/openid-configuration` (OpenID Connect Discovery 1.0): its `issuer` must be the one that
 * was asked for, to the byte (section 4.3). Appends the `jwks_uri`. */
STATUS_MUST_USE status discovery_parse(str document, str issuer, struct buf *ret_keys_url);

#endif
