/* The sum and the average of numbers, in any order of adding.
 *
 * Integers are added exactly. If there were only integers and the sum is one of 64 bits, it is an integer,
 * whatever it passed on the way; otherwise a double. Doubles are added with what rounding loses kept beside
 * (Neumaier's variant of Kahan's summation). NaN, and infinities of both signs, make NaN. Any thread. */
#ifndef SKERRY_STORAGE_QUERY_SUM_H
#define SKERRY_STORAGE_QUERY_SUM_H

#include "storage/document/value.h"

/* Zeroed memory is the sum of nothing. */
struct query_sum {
  uint64_t integer_low; /* of the exact sum of the integers, two's complement */
  int64_t integer_high;
  double number, lost; /* of the doubles: their sum, and what is missing from it */
  uint64_t numbers;    /* doubles added */
  uint64_t count;      /* of both */
};

void query_sum_add_integer(struct query_sum *sum, int64_t integer);
void query_sum_add_double(struct query_sum *sum, double number);
/* Values that are no numbers are passed over. */
void query_sum_add(struct query_sum *sum, const struct doc_value *value);

/* Of nothing: the integer 0. */
struct doc_value query_sum_value(const struct query_sum *sum);
/* A double; of nothing: null. */
struct doc_value query_sum_average(const struct query_sum *sum);

#endif
