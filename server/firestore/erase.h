/* Empties a database: for tests in development (the emulator's DELETE .../documents). */
#ifndef SKERRY_SERVER_FIRESTORE_ERASE_H
#define SKERRY_SERVER_FIRESTORE_ERASE_H

#include "server/firestore/service.h"

/* Deletes all documents of a database ("projects/p/databases/d"), in commits of a few hundred each: listeners
 * hear of them, and whoever writes meanwhile may leave documents. Blocks; not on a thread of the runtime's or
 * the store's. Statuses of commits; INVALID_ARGUMENT: no name of a database. */
STATUS_MUST_USE status firestore_erase_database(struct firestore_service *service, const char *database);

#endif
