#include "server/admin/metrics_text.h"

#include <inttypes.h>

void metrics_head(struct buf *out, const char *name, const char *type, const char *help) {
  buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void number(struct buf *out, const char *name, const char *type, const char *help, uint64_t value) {
  metrics_head(out, name, type, help);
  buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

void metrics_counter(struct buf *out, const char *name, const char *help, uint64_t value) {
  number(out, name, "counter", help, value);
}

void metrics_gauge(struct buf *out, const char *name, const char *help, uint64_t value) {
  number(out, name, "gauge", help, value);
}

static void put_seconds(struct buf *out, uint64_t us) {
  buf_printf(out, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
}

void metrics_seconds(struct buf *out, const char *name, const char *type, const char *help, uint64_t us) {
  metrics_head(out, name, type, help);
  buf_printf(out, "%s ", name);
  put_seconds(out, us);
  buf_printf(out, "\n");
}

static void put_histogram(struct buf *out, const char *name, const char *label,
                          const struct histogram_summary *summary, bool is_us) {
  const char *comma = *label == '\0' ? "" : ",";
  for (unsigned i = 0; i < summary->bounds; i++) {
    uint64_t bound = (uint64_t)1 << (summary->first_power + i);
    buf_printf(out, "%s_bucket{%s%sle=\"", name, label, comma);
    if (is_us)
      put_seconds(out, bound);
    else
      buf_printf(out, "%" PRIu64, bound - 1);
    buf_printf(out, "\"} %" PRIu64 "\n", summary->below[i]);
  }
  buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, label, comma, summary->total);
  const char *open = *label == '\0' ? "" : "{", *close = *label == '\0' ? "" : "}";
  buf_printf(out, "%s_sum%s%s%s ", name, open, label, close);
  if (is_us)
    put_seconds(out, summary->sum);
  else
    buf_printf(out, "%" PRIu64, summary->sum);
  buf_printf(out, "\n%s_count%s%s%s %" PRIu64 "\n", name, open, label, close, summary->total);
}

void metrics_histogram_us(struct buf *out, const char *name, const char *label,
                          const struct histogram_summary *summary) {
  put_histogram(out, name, label, summary, true);
}

void metrics_histogram_count(struct buf *out, const char *name, const char *label,
                             const struct histogram_summary *summary) {
  put_histogram(out, name, label, summary, false);
}
