/* E-mail addresses as this server takes them: a part of RFC 5321's, so that no address can become a header, a
 * command or a second recipient. Local part: 1 to 64 of RFC 5322's atom characters and dots, no dot first,
 * last or twice; domain: at least two DNS labels (one, where it is "localhost"). ASCII alone, 254 bytes at
 * most: no quotes, no comments, no address literals. Any thread. */
#ifndef SKERRY_SERVER_MAIL_ADDRESS_H
#define SKERRY_SERVER_MAIL_ADDRESS_H

#include "base/str.h"

enum { MAIL_ADDRESS_BYTES_MAX = 254, MAIL_NAME_BYTES_MAX = 256 };

bool mail_address_is_valid(str text);

/* "Name <local@domain>" or "local@domain", as in settings: borrows both parts; the name may be empty, may
 * stand in quotes, is valid UTF-8 and has no control characters. False: it is neither. */
struct mailbox {
  str name, address;
};
bool mailbox_parse(str text, struct mailbox *ret);

#endif
