/* What `skerry status` knows, for Prometheus: its text format, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). */
#ifndef SKERRY_SERVER_ADMIN_METRICS_H
#define SKERRY_SERVER_ADMIN_METRICS_H

#include "server/admin/admin.h"
#include "server/gateway/gateway.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends all of it. From the time at which the server serves. Any thread. */
void admin_metrics(const struct admin *admin, struct buf *out);

/* GET /metrics, for everybody or for this machine only; others are told that there is nothing. */
STATUS_MUST_USE status admin_metrics_register(struct admin *admin, struct gateway *gateway,
                                              bool for_everybody);

#endif
