/* RocksDB's errors as ours: the one place where they are mapped. */
#ifndef SKERRY_STORAGE_ROCKSDB_TRANSLATE_H
#define SKERRY_STORAGE_ROCKSDB_TRANSLATE_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* rocksdb::Status::Code and ::SubCode as numbers (rocksdb/status.h; they are part of its ABI), and its text,
 * which holds file names and is for the operator. */
STATUS_MUST_USE status rocksdb_translate(int code, int subcode, const char *text);

#ifdef __cplusplus
}
#endif

#endif
