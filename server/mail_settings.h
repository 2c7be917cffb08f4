/* What the settings say of mails. */
#ifndef SKERRY_SERVER_MAIL_SETTINGS_H
#define SKERRY_SERVER_MAIL_SETTINGS_H

#include "server/mail/mail.h"
#include "server/settings.h"

/* For mail_open; the texts stay the settings'. */
struct mail_options mail_settings_options(const struct settings *settings, struct kv_store *store,
                                          struct port *port);

#endif
