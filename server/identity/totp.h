/* One-time codes of an authenticator app as a second factor (RFC 6238: HMAC-SHA-1, 6 digits, a new one every
 * 30 s), and the recovery codes for whoever has lost it. No state of its own: the caller stores what is
 * returned with the user, in the commit that the sign-in makes. Any thread. */
#ifndef SKERRY_SERVER_IDENTITY_TOTP_H
#define SKERRY_SERVER_IDENTITY_TOTP_H

#include "base/crypto.h"
#include "base/status.h"

enum {
  TOTP_SECRET_BYTES = 20, /* RFC 4226: 160 bits */
  TOTP_DIGITS = 6,
  TOTP_STEP_S = 30,
  TOTP_WINDOW_STEPS = 1, /* before and after the present one */
  TOTP_RECOVERY_CODES = 10,
  TOTP_RECOVERY_BYTES = 10,      /* of randomness, each: 80 bits */
  TOTP_RECOVERY_TEXT_BYTES = 19, /* "ABCD-EFGH-JKLM-NPQR" */
};

/* ---- The secret ---- */

void totp_secret_make(uint8_t ret[TOTP_SECRET_BYTES]);
/* Appends base32 (RFC 4648) without padding, as apps take it. */
void totp_base32_append(str bytes, struct buf *out);
/* Upper or lower case, spaces, dashes and padding passed over. False: anything else, and nothing is appended.
 */
bool totp_base32_decode(str text, struct buf *out);
/* Appends "otpauth://totp/ISSUER:ACCOUNT?secret=...&issuer=...&algorithm=SHA1&digits=6&period=30", for a QR
 * code; both names are percent-encoded. */
void totp_uri_append(str secret, str issuer, str account, struct buf *out);

/* ---- Codes ---- */

/* The step (of 30 s since 1970) that a time is in. */
int64_t totp_step_at(int64_t now_us);

/* Whether `code` (six digits, spaces passed over) is that of the present step or one beside it, and of a
 * later step than last_step, the last one that was used (INT64_MIN: none). A code that was seen once is never
 * taken again, and none older than it. *ret_step is to be stored as last_step in the commit that lets the
 * user in, on the condition that what was stored is still last_step. Constant time in the digits. */
bool totp_check(str secret, str code, int64_t now_us, int64_t last_step, int64_t *ret_step);

/* The code of a step, with its NUL. For tests, and for the clock's check at enrolment. */
void totp_code_at(str secret, int64_t step, char ret[TOTP_DIGITS + 1]);

/* ---- Recovery codes ---- */

/* What is stored of a set: a salt, and of each code its salted SHA-256 until it is used. 80 random bits need
 * no slow hash. */
struct totp_recovery {
  uint8_t salt[16];
  uint8_t hashes[TOTP_RECOVERY_CODES][CRYPTO_SHA256_BYTES];
  uint16_t unused; /* a bit a code */
};
enum { TOTP_RECOVERY_STORED_BYTES = 1 + 16 + 2 + TOTP_RECOVERY_CODES * CRYPTO_SHA256_BYTES };

/* A new set: the codes are shown once, with their NULs, and never again. */
void totp_recovery_make(struct totp_recovery *ret,
                        char ret_codes[TOTP_RECOVERY_CODES][TOTP_RECOVERY_TEXT_BYTES + 1]);
/* Whether it is an unused one of the set; then it is used up, and the set is to be stored in the commit that
 * lets the user in, on the condition that what is stored is still the old set. Case, spaces and dashes do not
 * matter. All codes are compared, in constant time. */
bool totp_recovery_use(struct totp_recovery *recovery, str code);
unsigned totp_recovery_left(const struct totp_recovery *recovery);

void totp_recovery_encode(const struct totp_recovery *recovery, uint8_t out[TOTP_RECOVERY_STORED_BYTES]);
/* False: these are not bytes of totp_recovery_encode. */
bool totp_recovery_decode(str bytes, struct totp_recovery *ret);

#endif
