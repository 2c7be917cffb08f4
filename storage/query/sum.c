#include "storage/query/sum.h"

#include <math.h>

void query_sum_add_integer(struct query_sum *sum, int64_t integer) {
  uint64_t low = sum->integer_low + (uint64_t)integer;
  sum->integer_high += (integer < 0 ? -1 : 0) + (low < sum->integer_low);
  sum->integer_low = low;
  sum->count++;
}

void query_sum_add_double(struct query_sum *sum, double number) {
  double total = sum->number + number;
  /* Infinity less infinity would make NaN of what is lost. */
  if (isfinite(total))
    sum->lost +=
        fabs(sum->number) >= fabs(number) ? (sum->number - total) + number : (number - total) + sum->number;
  sum->number = total;
  sum->numbers++;
  sum->count++;
}

void query_sum_add(struct query_sum *sum, const struct doc_value *value) {
  if (value->type == DOC_INTEGER)
    query_sum_add_integer(sum, value->as.integer);
  else if (value->type == DOC_DOUBLE)
    query_sum_add_double(sum, value->as.number);
}

static bool integers_fit(const struct query_sum *sum) {
  return sum->integer_high == (sum->integer_low >> 63 != 0 ? -1 : 0);
}

static double all_as_double(const struct query_sum *sum) {
  double integers = integers_fit(sum) ? (double)(int64_t)sum->integer_low
                                      : (double)sum->integer_high * 0x1p64 + (double)sum->integer_low;
  if (sum->numbers == 0)
    return integers;
  struct query_sum together = *sum;
  query_sum_add_double(&together, integers);
  return isfinite(together.number) ? together.number + together.lost : together.number;
}

struct doc_value query_sum_value(const struct query_sum *sum) {
  if (sum->numbers == 0 && integers_fit(sum))
    return (struct doc_value){.type = DOC_INTEGER, .as.integer = (int64_t)sum->integer_low};
  return (struct doc_value){.type = DOC_DOUBLE, .as.number = all_as_double(sum)};
}

struct doc_value query_sum_average(const struct query_sum *sum) {
  if (sum->count == 0)
    return (struct doc_value){.type = DOC_NULL};
  return (struct doc_value){.type = DOC_DOUBLE, .as.number = all_as_double(sum) / (double)sum->count};
}
