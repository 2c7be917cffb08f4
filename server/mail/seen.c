#include "server/mail/seen.h"

#include <pthread.h>
#include <stdlib.h>

struct mail_seen {
  struct mail_seen *next;
  struct mail_seen_view view; /* its strings are in `bytes` */
  char bytes[];
};

struct seen_list {
  pthread_mutex_t mutex; /* guards the rest */
  struct mail_seen *first, **end;
  unsigned count;
};

struct seen_list *seen_list_new(void) {
  struct seen_list *list = calloc(1, sizeof *list);
  if (list == NULL)
    return NULL;
  pthread_mutex_init(&list->mutex, NULL);
  list->end = &list->first;
  return list;
}

void seen_list_free(struct seen_list *list) {
  if (list == NULL)
    return;
  while (list->first != NULL) {
    struct mail_seen *next = list->first->next;
    seen_free(list->first);
    list->first = next;
  }
  pthread_mutex_destroy(&list->mutex);
  free(list);
}

static str keep(char **at, str text) {
  char *copy = *at;
  if (text.len > 0)
    memcpy(copy, text.ptr, text.len);
  *at += text.len;
  return str_make(copy, text.len);
}

struct mail_seen *seen_new(const struct mail_order *order) {
  size_t bytes = order->project.len + order->to.len + order->email.len + order->new_email.len +
                 order->code.len + order->link.len;
  struct mail_seen *seen = malloc(sizeof *seen + bytes);
  if (seen == NULL)
    return NULL;
  char *at = seen->bytes;
  seen->next = NULL;
  seen->view.kind = order->kind;
  seen->view.project = keep(&at, order->project);
  seen->view.to = keep(&at, order->to);
  seen->view.email = keep(&at, order->email);
  seen->view.new_email = keep(&at, order->new_email);
  seen->view.code = keep(&at, order->code);
  seen->view.link = keep(&at, order->link);
  return seen;
}

void seen_free(struct mail_seen *seen) {
  free(seen);
}

const struct mail_seen_view *seen_view(const struct mail_seen *seen) {
  return &seen->view;
}

/* With the mutex held. */
static void remove_at(struct seen_list *list, struct mail_seen **place) {
  struct mail_seen *seen = *place;
  *place = seen->next;
  if (list->end == &seen->next)
    list->end = place;
  list->count--;
  seen_free(seen);
}

void seen_list_add(struct seen_list *list, struct mail_seen *seen) {
  pthread_mutex_lock(&list->mutex);
  if (list->count == MAIL_SEEN_MAX)
    remove_at(list, &list->first);
  *list->end = seen;
  list->end = &seen->next;
  list->count++;
  pthread_mutex_unlock(&list->mutex);
}

void seen_list_visit(struct seen_list *list, str project,
                     void (*visit)(void *argument, const struct mail_seen_view *view), void *argument) {
  pthread_mutex_lock(&list->mutex);
  for (const struct mail_seen *seen = list->first; seen != NULL; seen = seen->next)
    if (str_eq(seen->view.project, project))
      visit(argument, &seen->view);
  pthread_mutex_unlock(&list->mutex);
}

void seen_list_clear(struct seen_list *list, str project) {
  pthread_mutex_lock(&list->mutex);
  for (struct mail_seen **place = &list->first; *place != NULL;) {
    if (str_eq((*place)->view.project, project))
      remove_at(list, place);
    else
      place = &(*place)->next;
  }
  pthread_mutex_unlock(&list->mutex);
}
