/* The verifier of tokens (server/tokens/tokens.h) with a clock that stands still, an issuer that answers as
 * the test says, rules for certificates, and a log that the test can read. One test at a time. */
#ifndef SKERRY_TESTS_SUPPORT_TOKENS_FIXTURE_H
#define SKERRY_TESTS_SUPPORT_TOKENS_FIXTURE_H

#include "ports/simulated.h"
#include "server/tokens/tokens.h"
#include "tests/support/scripted_issuer.h"
#include "tests/support/token_maker.h"
#include "tests/support/unit.h"

#define FIXTURE_FIREBASE "https://securetoken.google.com/shop"
#define FIXTURE_AUDIENCE ",\"aud\":\"https://firestore.googleapis.com/\""
#define FIXTURE_RS256 "{\"alg\":\"RS256\",\"kid\":\"r\",\"typ\":\"JWT\"}"
enum { FIXTURE_SECOND = 1000000, FIXTURE_WAIT_STEPS = 20000 };

struct tokens_fixture {
  struct port_simulated *clock;
  struct scripted_issuer issuer; /* with the keys "r", "e" and "d": RS256, ES256, EdDSA */
  struct arena arena;
  struct issuer_setting settings[2]; /* FIXTURE_FIREBASE; https://i.example for app1 and app2 */
  struct certificate_rule rules[4];
  char directory[64];
  struct tokens *tokens; /* after fixture_open */
  int log_fds[2];        /* the log is read from the first */
};
extern struct tokens_fixture fixture;

int fixture_set_up(void **state);
int fixture_tear_down(void **state);
void fixture_open(bool dev);
/* The threads that fetch run by themselves. */
void fixture_wait_for_keys(void);
void fixture_sleep(void); /* a millisecond */

int64_t fixture_now_us(void);
long long fixture_now_s(void);

/* The claims of a token of an hour; `more` begins with a comma, or is empty. */
str fixture_claims(const char *issuer, const char *audience, const char *subject, const char *more);
str fixture_good_claims(void);
/* With the key "r", whatever the header says. */
str fixture_sign(const char *header, str claims);

status fixture_verify(str token, struct identity **ret);
/* The code, and that no message holds a piece of the token. */
enum status_code fixture_code(str token);
#define assert_refused(token) assert_int_equal(fixture_code(token), STATUS_UNAUTHENTICATED)

/* Of the account till@shop.iam.skerry.local, an editor, for the second RSA key; 0: for good. */
struct account_key *fixture_create_key(int64_t expires_s);
str fixture_account_token(const struct account_key *key, const char *issuer, const char *subject,
                          long long lifetime_s, const char *more);

#endif
