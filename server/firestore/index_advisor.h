/* Which composite indexes would have helped: the mode `auto` serves a query without the index that it wants,
 * and notes here which that is. `skerry index suggest` prints them. Bounded: the ADVISOR_INDEXES that were
 * wanted last are kept, in memory only. Any thread. */
#ifndef SKERRY_SERVER_FIRESTORE_INDEX_ADVISOR_H
#define SKERRY_SERVER_FIRESTORE_INDEX_ADVISOR_H

#include <stdint.h>

#include "base/str.h"
#include "ports/port.h"

struct index_advisor;

enum {
  ADVISOR_INDEXES = 200,          /* a client may ask for anything: far more than an application has */
  ADVISOR_INDEX_BYTES = 8 * 1024, /* longer ones are not kept */
};

struct index_advisor *index_advisor_new(struct port *port); /* NULL without memory */
void index_advisor_free(struct index_advisor *advisor);     /* NULL is allowed */

/* `index` is query_run_missing_index(): an entry of "indexes" in firestore.indexes.json, or empty: then
 * nothing happens. `duration_us` is what the query took. Logs an index when it is wanted first. A NULL
 * advisor is allowed. */
void index_advisor_note(struct index_advisor *advisor, str index, int64_t duration_us);

struct index_advice {
  str index;
  uint64_t queries;    /* that wanted it */
  int64_t last_us;     /* when it was wanted last, by the wall clock */
  int64_t duration_us; /* what they took together */
};
/* Visits what is kept, most wanted first. The strings live until visit returns; it must not call the advisor.
 */
void index_advisor_visit(struct index_advisor *advisor,
                         void (*visit)(void *argument, const struct index_advice *advice), void *argument);

#endif
