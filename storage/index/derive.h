/* Index entries are written with their documents: what every doc_commit has as `derive`. */
#ifndef SKERRY_STORAGE_INDEX_DERIVE_H
#define SKERRY_STORAGE_INDEX_DERIVE_H

#include "storage/document/write.h"
#include "storage/index/catalog.h"

/* The catalog is taken in `resolve`, for each document anew, as those who build indexes rely on. The set
 * outlives the commits. */
struct doc_derive index_derive(struct index_set *set);

#endif
