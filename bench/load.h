/* Calls from one thread for a bounded time. A closed loop: `connections` x `in_flight` calls at any time,
 * each followed by the next when it is answered. Or, with a rate, an open one: calls begin by the clock
 * whatever becomes of those before, as those of many apps do, and that many are under way at the most. */
#ifndef SKERRY_BENCH_LOAD_H
#define SKERRY_BENCH_LOAD_H

#include "base/status.h"
#include "bench/durations.h"
#include "bench/requests.h"

struct load_options {
  const char *target;
  struct request_options request; /* `next` is set by load_run */
  uint64_t first;                 /* the first number for unique names */
  unsigned connections, in_flight;
  double rate;                 /* calls a second; 0: a closed loop */
  double warm_up_s, measure_s; /* a fill has neither: it runs until all is there, at most measure_s */
  const char *authorization;   /* NULL: none */
};

struct load_result {
  struct durations
      latency; /* of calls that were OK within the time measured; with a rate, from when they were due */
  double seconds;
  uint64_t failed;
  uint64_t unsent; /* with a rate: what was due while as many were under way as may be */
  uint64_t by_code[STATUS_CODE_MAX + 1];
  status first_failure; /* OK: none */
  double cpu_s;         /* of this process, in the time measured */
  uint64_t next;        /* the number after the last unique name */
  uint64_t bytes_in;    /* of the responses counted in `latency` */
};

/* Blocks. Fails if it cannot start; failed calls are counted. */
STATUS_MUST_USE status load_run(const struct load_options *options, struct load_result *ret);

#endif
