/* A file of security rules, or a firebase.json that names one: as `firestore.rules`, which is a path beside
 * it (of several databases, that of the default one). Blocks for the time of the disk. Any thread. */
#ifndef SKERRY_SERVER_RULES_FILE_H
#define SKERRY_SERVER_RULES_FILE_H

#include "server/rules/rules.h"

/* Appends the rules to `ret_text`, and to `ret_name` the name of the file that they stand in, ending in NUL.
 * NOT_FOUND, FAILED_PRECONDITION: a file cannot be read; INVALID_ARGUMENT: the JSON names none;
 * RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status rules_file_read(const char *path, struct buf *ret_text, struct buf *ret_name);

/* Says on standard error what is wrong with it, as compilers do: FILE:LINE:COLUMN: error: ... */
void rules_file_print_problem(const char *name, uint32_t line, uint32_t column, bool is_warning, str text);
void rules_file_print_problems(const char *name, const struct rules_problems *problems);

#endif
