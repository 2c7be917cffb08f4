/* Timestamps and durations as JSON has them: RFC 3339, and seconds with "s" (google/protobuf/timestamp.proto,
 * duration.proto). No I/O; any thread. */
#ifndef SKERRY_SERVER_JSON_JSON_TIME_H
#define SKERRY_SERVER_JSON_JSON_TIME_H

#include "base/str.h"

/* "2026-08-01T12:00:00.5Z", with any offset; years 1 to 9999, at most nine digits of a second. */
bool json_timestamp_read(str text, int64_t *ret_seconds, int32_t *ret_nanos);
/* Appends it in UTC with 0, 3, 6 or 9 digits. False: not within those years. */
bool json_timestamp_write(int64_t seconds, int32_t nanos, struct buf *out);

/* "-1.5s"; up to 315,576,000,000 seconds either way. Both numbers have the sign. */
bool json_duration_read(str text, int64_t *ret_seconds, int32_t *ret_nanos);
bool json_duration_write(int64_t seconds, int32_t nanos, struct buf *out);

#endif
