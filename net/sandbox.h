/* What skerry-net gives up before it speaks to anybody: another user (if it is root and one is named), new
 * privileges, files to write and programs to start. Needs no library: a filter of system calls that names
 * what is refused, so that what libraries need tomorrow goes on working. */
#ifndef SKERRY_NET_SANDBOX_H
#define SKERRY_NET_SANDBOX_H

#include "base/status.h"

/* `user`: NULL, stay who one is. FAILED_PRECONDITION: there is no such user, or it cannot be become; where
 * the kernel has no such filters (emulators of other machines do not) the rest holds all the same. */
STATUS_MUST_USE status sandbox_enter(const char *user);

#endif
