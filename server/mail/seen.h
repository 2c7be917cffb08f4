/* The mails of development: kept in memory for whoever asks, nothing is sent. Any thread. */
#ifndef SKERRY_SERVER_MAIL_SEEN_H
#define SKERRY_SERVER_MAIL_SEEN_H

#include "server/mail/mail.h"

struct seen_list; /* at most MAIL_SEEN_MAX, the newest */

struct seen_list *seen_list_new(void); /* NULL: no memory */
void seen_list_free(struct seen_list *list);

/* A copy of what is to be listed; NULL: no memory. */
struct mail_seen *seen_new(const struct mail_order *order);
void seen_free(struct mail_seen *seen); /* NULL is fine */
/* Takes it. */
void seen_list_add(struct seen_list *list, struct mail_seen *seen);
const struct mail_seen_view *seen_view(const struct mail_seen *seen);

void seen_list_visit(struct seen_list *list, str project,
                     void (*visit)(void *argument, const struct mail_seen_view *view), void *argument);
void seen_list_clear(struct seen_list *list, str project);

#endif
