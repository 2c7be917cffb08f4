/* Accounts and their sessions in the store's system space. Records are messages of
 * proto/skerry/identity/v1/stored.proto; what the C strings in them hold was checked when it came in.
 *
 *   identity/format                         "1"
 *   identity/user/PROJECT 0 UID             StoredUser
 *   identity/email/PROJECT 0 EMAIL          uid
 *   identity/provider/PROJECT 0 ID 0 RAW    uid
 *   identity/session/ID (16 bytes)          StoredSession
 *   identity/code/SHA-256 of the code       StoredCode
 *   identity/idle                           StoredIdle (idle.h)
 *
 * A user's record names its sessions and codes, so that all of a user is found without a scan and goes in one
 * commit. Writing is done within a transaction's resolve (storage/kv.h), where it meets the state that it
 * changes: so two sign-ups with one address cannot both succeed, and a kill leaves all of a change or
 * nothing.
 *
 * Statuses: those of kv.h; ALREADY_EXISTS with the code that SDKs know; DATA_LOSS, a record is damaged;
 * RESOURCE_EXHAUSTED. */
#ifndef SKERRY_SERVER_IDENTITY_USER_STORE_H
#define SKERRY_SERVER_IDENTITY_USER_STORE_H

#include "base/arena.h"
#include "server/identity/refresh_token.h"
#include "skerry/identity/v1/stored.pb-c.h"
#include "storage/kv.h"

typedef Skerry__Identity__V1__StoredUser user_record;
typedef Skerry__Identity__V1__StoredProvider provider_record;
typedef Skerry__Identity__V1__StoredSession session_record;
typedef Skerry__Identity__V1__StoredCode code_record;

/* A message of stored.proto from its bytes, in the arena; *ret is a pointer to its type. DATA_LOSS: these are
 * not such bytes. */
STATUS_MUST_USE status stored_decode(const ProtobufCMessageDescriptor *type, str bytes, struct arena *arena,
                                     void *ret);

enum {
  USER_SESSIONS_MAX = 64,  /* of one user: the oldest gives way. More devices than a person has */
  USER_CODES_MAX = 8,      /* likewise: mails that somebody has not answered */
  USER_RECOVERIES_MAX = 4, /* changes of the address that can be taken back at one time */
  USER_PROVIDERS_MAX = 16, /* ways to sign in of one user */
  USER_PAGE_MAX = 1000,
};

/* Checks the format, or writes it into an empty store. Waits: start-up only. FAILED_PRECONDITION: a newer
 * one. */
STATUS_MUST_USE status user_store_open(struct kv_store *store);

/* What is read from: within resolve its reader, otherwise a snapshot. */
struct user_view {
  struct kv_reader *reader; /* NULL: the snapshot */
  kv_snapshot snapshot;
  str freed; /* uid of an account that gives its address up in the same batch, which a view does not show */
};
STATUS_MUST_USE status user_view_now(struct kv_store *store, struct user_view *ret);

/* *ret lies in the arena, NULL: there is none. */
STATUS_MUST_USE status user_store_find(const struct user_view *view, str project, str uid,
                                       struct arena *arena, user_record **ret);
STATUS_MUST_USE status user_store_find_email(const struct user_view *view, str project, str email,
                                             struct arena *arena, user_record **ret);
STATUS_MUST_USE status user_store_find_provider(const struct user_view *view, str project, str provider_id,
                                                str raw_id, struct arena *arena, user_record **ret);
/* The users of a project in the order of their ids, those after `after`: at most `max`. */
STATUS_MUST_USE status user_store_list(const struct user_view *view, str project, str after, size_t max,
                                       struct arena *arena, user_record **ret, size_t *ret_count);

/* The users of all projects in the order of their keys, those behind *at (a key; empty: all): `visit` is
 * called with each until it says false, or `max` were there. The record, and what `visit` puts into the
 * arena, is gone when it returns; damaged ones are passed over. *at becomes the key of the last one, or
 * empty: there are no more. */
STATUS_MUST_USE status user_store_walk(
    const struct user_view *view, struct buf *at, size_t max, struct arena *arena,
    bool (*visit)(void *argument, const struct user_view *view, const user_record *user), void *argument);

/* Within resolve. `before` is what was found and `after` what it becomes, in memory of its own; before NULL:
 * a new one. ALREADY_EXISTS: DUPLICATE_LOCAL_ID, EMAIL_EXISTS, FEDERATED_USER_ID_ALREADY_LINKED; then nothing
 * was written, so a batch of several users may go on with the next. */
STATUS_MUST_USE status user_store_put(const struct user_view *view, struct kv_batch *batch,
                                      struct arena *arena, const user_record *before,
                                      const user_record *after);
/* The user, its sessions, and what refers to it. */
STATUS_MUST_USE status user_store_delete(struct kv_batch *batch, struct arena *arena,
                                         const user_record *user);

/* A copy whose lists may be changed: of pointers and fields, not of the texts. NULL: no memory. */
user_record *user_record_copy(struct arena *arena, const user_record *user);
/* NULL: it does not have this one. */
const provider_record *user_record_provider(const user_record *user, str provider_id);

/* ---- Sessions ---- */

STATUS_MUST_USE status user_store_find_session(const struct user_view *view,
                                               const uint8_t id[REFRESH_TOKEN_SESSION_BYTES],
                                               struct arena *arena, session_record **ret);
/* Puts it; a new one is added to the user's (a copy), whose oldest may give way. The user is put by the
 * caller, afterwards. */
STATUS_MUST_USE status user_store_put_session(struct kv_batch *batch, struct arena *arena,
                                              const uint8_t id[REFRESH_TOKEN_SESSION_BYTES],
                                              const session_record *session);
STATUS_MUST_USE status user_store_add_session(struct kv_batch *batch, struct arena *arena, user_record *user,
                                              const uint8_t id[REFRESH_TOKEN_SESSION_BYTES],
                                              const session_record *session);
/* Ends it, of a user that is a copy; nothing if it is not the user's. */
void user_store_end_session(struct kv_batch *batch, user_record *user, str id);
/* All but `keep` (empty: all), and counts it: a sign-in that is half way ends too. */
void user_store_end_sessions(struct kv_batch *batch, user_record *user, str keep);

/* ---- Codes of mails ---- */

enum { CODE_BYTES = 32, CODE_TEXT_BYTES = 43 };
/* The key under which a code is: its hash. */
void user_store_code_key(const uint8_t code[CODE_BYTES], uint8_t out[CRYPTO_SHA256_BYTES]);
STATUS_MUST_USE status user_store_find_code(const struct user_view *view,
                                            const uint8_t key[CRYPTO_SHA256_BYTES], struct arena *arena,
                                            code_record **ret);
/* Puts it; of a user (a copy, not NULL) it is added to the user's, whose oldest may give way, and the user is
 * put by the caller. */
STATUS_MUST_USE status user_store_add_code(struct kv_batch *batch, struct arena *arena, user_record *user,
                                           const uint8_t key[CRYPTO_SHA256_BYTES], const code_record *code);
void user_store_delete_code(struct kv_batch *batch, const uint8_t key[CRYPTO_SHA256_BYTES]);
/* All of a user's, but for recoveries. */
void user_store_delete_codes(struct kv_batch *batch, user_record *user);
/* As user_store_add_code, of a code that takes a changed address back. RESOURCE_EXHAUSTED,
 * TOO_MANY_ATTEMPTS_TRY_LATER: the user has USER_RECOVERIES_MAX that are good; none gives way, since the
 * oldest is the one that matters. */
STATUS_MUST_USE status user_store_add_recovery(const struct user_view *view, struct kv_batch *batch,
                                               struct arena *arena, user_record *user,
                                               const uint8_t key[CRYPTO_SHA256_BYTES],
                                               const code_record *code);
/* Deletes the recovery with the key and those of later changes; NULL: all. */
void user_store_delete_recoveries(struct kv_batch *batch, user_record *user, const uint8_t *from);
/* Deletes codes whose time has passed, some thousands at most. Waits. */
STATUS_MUST_USE status user_store_sweep_codes(struct kv_store *store, int64_t now_us);

#endif
