/* The answer of a call that the guard turns away: HTTP/2 frames, with gRPC's status RESOURCE_EXHAUSTED and
 * the time after which the client may come back. The header block leaves HPACK's table as it is, so that it
 * can stand between any two blocks of the server's. No I/O, no state. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_REFUSAL_H
#define SKERRY_SERVER_LISTENER_GUARD_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GUARD_REFUSAL_BYTES_MAX = 512 };

/* `client_has_ended`: otherwise it is told that the rest of its request is not needed (RFC 9113,
 * section 8.1). Returns the length. */
size_t guard_refusal_write(uint32_t stream_id, bool client_has_ended, uint32_t retry_ms,
                           uint8_t ret[GUARD_REFUSAL_BYTES_MAX]);

#endif
