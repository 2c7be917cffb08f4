/* The database behind an engine, for the C++ files of this directory. */
#ifndef SKERRY_STORAGE_ROCKSDB_ENGINE_DB_H
#define SKERRY_STORAGE_ROCKSDB_ENGINE_DB_H

#include <rocksdb/db.h>

struct engine;

rocksdb::DB *engine_db(engine *e);

#endif
