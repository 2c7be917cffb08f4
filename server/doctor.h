/* Looks at a machine for who wants to run Skerry on it: what there is, which profile fits, what is wrong and
 * what to do about it. Asks the port, and writes and syncs a small file on the medium of the data directory,
 * for a few seconds at most; opens no store and changes nothing. */
#ifndef SKERRY_SERVER_DOCTOR_H
#define SKERRY_SERVER_DOCTOR_H

#include <stdio.h>

#include "ports/port.h"
#include "server/settings.h"

/* Prints what it finds, and returns how many things are wrong: that is, would stop the server or endanger
 * what it is for. `settings` with the profile not applied. */
unsigned doctor_examine(const struct settings *settings, struct port *port, FILE *out);

struct doctor_syncs {
  unsigned count;
  int64_t median_us, slowest_us;
};
/* Some dozens of appends to a file in `directory`, each synced; none after `most_us`. What the system says if
 * it fails, in the words of a status. */
STATUS_MUST_USE status doctor_measure_syncs(const char *directory, int64_t most_us, struct doctor_syncs *ret);

#endif
