/* Where the security rules of a running server come from: a file that the setting `rules` names (or a
 * firebase.json, which names it), or what `skerry rules deploy` brought, which is kept in the data directory.
 * What has errors is refused as a whole, and the rules before it stay. Any thread. */
#ifndef SKERRY_SERVER_RULES_SOURCE_H
#define SKERRY_SERVER_RULES_SOURCE_H

#include "server/access/access.h"

struct rules_source;

struct rules_source_options {
  struct access *access; /* that gets the rules; outlives it */
  const char *file;      /* the setting; NULL: none */
  const char *directory; /* of the data, for what is deployed */
};

/* Reads the rules, if there are some. INVALID_ARGUMENT with the place of the first error; NOT_FOUND,
 * FAILED_PRECONDITION: the file cannot be read. */
STATUS_MUST_USE status rules_source_open(const struct rules_source_options *options,
                                         struct rules_source **ret);
void rules_source_close(struct rules_source *source); /* NULL allowed */

/* Reads the setting's file again. On failure the old rules stay. Nothing without one. */
STATUS_MUST_USE status rules_source_reload(struct rules_source *source);

/* Other rules, durable when it returns; problems as rules_compile. FAILED_PRECONDITION: a setting says where
 * the rules come from. */
STATUS_MUST_USE status rules_source_deploy(struct rules_source *source, str text, struct arena *arena,
                                           struct rules_problems *ret);
/* The same until the server ends: the emulator's way. */
STATUS_MUST_USE status rules_source_use(struct rules_source *source, str text, struct arena *arena,
                                        struct rules_problems *ret);

#endif
