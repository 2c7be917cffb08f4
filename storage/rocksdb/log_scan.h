/* Is a broken log torn or damaged?
 *
 * RocksDB stops at the first broken record of its log and cannot say what comes after. With a sync after each
 * write there are two causes. A power cut in the middle of a write: then nothing that was begun later can be
 * in the log. Damage: then whole records of later writes follow, which were acknowledged. So we look for the
 * beginning of a later write, in the format of RocksDB's log (its wiki, "Write Ahead Log File Format"):
 * blocks of 32 KiB; records of checksum (4 bytes, CRC32C of type and data, masked), length (2), type (1: a
 * whole write, 2: its first part, 3: middle, 4: last) and data. */
#ifndef SKERRY_STORAGE_ROCKSDB_LOG_SCAN_H
#define SKERRY_STORAGE_ROCKSDB_LOG_SCAN_H

#include <stdbool.h>

#include "base/status.h"
#include "base/str.h"

/* Whether the beginning of a write follows a broken record in the bytes of one log file. *ret_broken: there
 * is a broken record at all. */
bool log_scan_bytes(str log, bool *ret_broken);

/* The same over all log files in a directory, in order. UNAVAILABLE if they cannot be read. */
STATUS_MUST_USE status log_scan_directory(const char *directory, bool *ret_damaged);

#endif
