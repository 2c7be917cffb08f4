#include "server/listener/guard_rates.h"

enum { SECONDS_MAX = 3600 /* more refill every kind */ };

/* What is left of each kind, at most `burst`; more comes by the second and by frames that the server sends.
 * The clients of the tests (grpc-js, grpc++, firebase, h2load, curl) pass under load. */
static const struct {
  uint16_t burst, per_second, per_server_frame;
  enum guard_offence offence;
} RATES[GUARD_RATE_COUNT] = {
    /* every call of a connection given up at once; each costs gRPC core 0.1 ms, and reconnecting brings a new
       burst */
    [GUARD_RATE_RESETS] = {150, 50, 1, GUARD_RESETS},
    /* bandwidth probes come with DATA */
    [GUARD_RATE_PINGS] = {50, 5, 1, GUARD_PINGS},
    [GUARD_RATE_SETTINGS] = {20, 1, 0, GUARD_SETTINGS},
    /* one for the stream, one for the connection */
    [GUARD_RATE_WINDOW_UPDATES] = {1000, 100, 2, GUARD_WINDOW_UPDATES},
    [GUARD_RATE_PRIORITIES] = {200, 10, 1, GUARD_PRIORITIES},
    [GUARD_RATE_EMPTY] = {100, 10, 1, GUARD_EMPTY_FRAMES},
    /* a window's worth under way when the server ends a stream */
    [GUARD_RATE_STRAY] = {1000, 100, 1, GUARD_STRAY_FRAMES},
    [GUARD_RATE_UNKNOWN] = {50, 5, 0, GUARD_UNKNOWN_FRAMES},
};

void guard_rates_init(struct guard_rates *rates, int64_t now_us) {
  rates->refilled_us = now_us;
  for (int i = 0; i < GUARD_RATE_COUNT; i++)
    rates->left[i] = RATES[i].burst;
}

static void add(struct guard_rates *rates, int kind, int64_t more) {
  int64_t sum = rates->left[kind] + more;
  rates->left[kind] = sum > RATES[kind].burst ? RATES[kind].burst : (int32_t)sum;
}

/* By whole seconds, so that a kind that gains one a second gains it. */
static void refill(struct guard_rates *rates, int64_t now_us) {
  int64_t seconds = (now_us - rates->refilled_us) / 1000000;
  if (seconds <= 0)
    return;
  rates->refilled_us += seconds * 1000000;
  for (int i = 0; i < GUARD_RATE_COUNT; i++)
    add(rates, i, (seconds > SECONDS_MAX ? SECONDS_MAX : seconds) * RATES[i].per_second);
}

bool guard_rates_has(struct guard_rates *rates, enum guard_rate rate, int64_t now_us) {
  if (rates->left[rate] <= 0)
    refill(rates, now_us);
  return rates->left[rate] > 0;
}

enum guard_offence guard_rates_spend(struct guard_rates *rates, enum guard_rate rate, int64_t now_us) {
  if (!guard_rates_has(rates, rate, now_us))
    return RATES[rate].offence;
  rates->left[rate]--;
  return GUARD_NO_OFFENCE;
}

void guard_rates_take(struct guard_rates *rates, enum guard_rate rate) {
  if (rates->left[rate] > 0)
    rates->left[rate]--;
}

void guard_rates_earn(struct guard_rates *rates) {
  for (int i = 0; i < GUARD_RATE_COUNT; i++)
    add(rates, i, RATES[i].per_server_frame);
}
