/* gzip for answers (RFC 1952). Any thread. */
#ifndef SKERRY_SERVER_GATEWAY_COMPRESS_H
#define SKERRY_SERVER_GATEWAY_COMPRESS_H

#include "base/str.h"

/* Replaces the bytes by their gzip form if that is smaller. False: they are as they were. */
bool gateway_gzip(struct buf *bytes);

#endif
