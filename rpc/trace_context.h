/* W3C Trace Context, `traceparent` (https://www.w3.org/TR/trace-context/#traceparent-header): which trace a
 * call belongs to, by its client's word. Only for the log. */
#ifndef SKERRY_RPC_TRACE_CONTEXT_H
#define SKERRY_RPC_TRACE_CONTEXT_H

#include <stdbool.h>

#include "base/str.h"

#define RPC_TRACE_HEADER "traceparent"

struct rpc_trace {
  str trace_id;  /* 32 digits in lower-case hexadecimal, not all zero */
  str parent_id; /* 16 of them: the span of the client's that made the call */
};

/* Points into `header`. False: it is not one. Later versions than 00 may have more behind what 00 has. */
bool rpc_trace_parse(str header, struct rpc_trace *ret);

#endif
