/* What a client is told beyond code and message: google.rpc.Status, the value of "grpc-status-details-bin".
 * No I/O, no allocation, any thread. */
#ifndef SKERRY_RPC_RICH_STATUS_H
#define SKERRY_RPC_RICH_STATUS_H

#include "base/status.h"
#include "base/str.h"

struct rpc_detail {
  const char *type; /* "google.rpc.BadRequest" */
  str message;      /* serialised */
};

/* google.rpc.Status, serialised: its size, and its bytes. */
size_t rpc_rich_status_size(enum status_code code, str text, const struct rpc_detail *details, size_t count);
void rpc_rich_status_write(enum status_code code, str text, const struct rpc_detail *details, size_t count,
                           uint8_t *ret);

/* ---- A call that is refused because there is too much to do ---- */

#define RPC_OVERLOADED_TEXT "This server is overloaded. Try again after the time given."
enum { RPC_RETRY_INFO_BYTES_MAX = 32, RPC_OVERLOADED_BYTES_MAX = 192 };

/* google.rpc.RetryInfo. Returns its length. */
size_t rpc_retry_info_write(uint32_t delay_ms, uint8_t ret[RPC_RETRY_INFO_BYTES_MAX]);
/* google.rpc.Status of RESOURCE_EXHAUSTED, RPC_OVERLOADED_TEXT and RetryInfo. Returns its length. */
size_t rpc_overloaded_write(uint32_t delay_ms, uint8_t ret[RPC_OVERLOADED_BYTES_MAX]);

#endif
