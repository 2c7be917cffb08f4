/* Lines of Prometheus' text format, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Names, help and labels are ours: they need
 * no escapes. A failure for lack of memory stays in the buffer. */
#ifndef SKERRY_SERVER_ADMIN_METRICS_TEXT_H
#define SKERRY_SERVER_ADMIN_METRICS_TEXT_H

#include "base/histogram.h"
#include "base/str.h"

/* Before the lines of a metric that are not written by the functions below. */
void metrics_head(struct buf *out, const char *name, const char *type, const char *help);
void metrics_counter(struct buf *out, const char *name, const char *help, uint64_t value);
void metrics_gauge(struct buf *out, const char *name, const char *help, uint64_t value);
/* A counter or gauge in seconds, of microseconds. */
void metrics_seconds(struct buf *out, const char *name, const char *type, const char *help, uint64_t us);

/* The lines of one histogram, after its head. `label`: `method="/a/B"`, or "". Of microseconds the bounds and
 * the sum are told in seconds, and "less than a bound" is as good as "at most" it; of other whole numbers a
 * bound is the number before it, 2^n - 1. */
void metrics_histogram_us(struct buf *out, const char *name, const char *label,
                          const struct histogram_summary *summary);
void metrics_histogram_count(struct buf *out, const char *name, const char *label,
                             const struct histogram_summary *summary);

#endif
