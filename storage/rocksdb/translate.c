#include "storage/rocksdb/translate.h"

enum {
  CODE_OK = 0,
  CODE_NOT_FOUND = 1,
  CODE_CORRUPTION = 2,
  CODE_NOT_SUPPORTED = 3,
  CODE_INVALID_ARGUMENT = 4,
  CODE_IO_ERROR = 5,
  CODE_INCOMPLETE = 7,
  CODE_SHUTDOWN = 8,
  CODE_TIMED_OUT = 9,
  CODE_ABORTED = 10,
  CODE_BUSY = 11,
  CODE_EXPIRED = 12,
  CODE_TRY_AGAIN = 13
};
enum { SUBCODE_NO_SPACE = 4, SUBCODE_MEMORY_LIMIT = 7, SUBCODE_SPACE_LIMIT = 8 };

status rocksdb_translate(int code, int subcode, const char *text) {
  if (code == CODE_OK)
    return status_ok();
  /* The subcode comes first: a full disk is reported as an I/O error and, from compaction, as others too. */
  if (subcode == SUBCODE_NO_SPACE || subcode == SUBCODE_SPACE_LIMIT)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "The disk of the store is full: make room. (%s)", text);
  if (subcode == SUBCODE_MEMORY_LIMIT)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "The store is out of memory. (%s)", text);
  switch (code) {
  case CODE_CORRUPTION:
    return status_make(STATUS_DATA_LOSS, "Stored data is damaged: run `skerry verify`. (%s)", text);
  case CODE_IO_ERROR:
    return status_make(STATUS_UNAVAILABLE,
                       "The store's disk reports an error: look at the system's log. (%s)", text);
  case CODE_SHUTDOWN:
    return status_make(STATUS_UNAVAILABLE, "The store is closing.");
  case CODE_INCOMPLETE:
  case CODE_TIMED_OUT:
  case CODE_ABORTED:
  case CODE_BUSY:
  case CODE_EXPIRED:
  case CODE_TRY_AGAIN:
    return status_make(STATUS_UNAVAILABLE, "The store is busy. Please try again. (%s)", text);
  case CODE_NOT_FOUND:
  case CODE_NOT_SUPPORTED:
  case CODE_INVALID_ARGUMENT:
  default:
    return status_make(STATUS_INTERNAL, "The store's engine refused an operation. (%s)", text);
  }
}
