#include "server/firestore/turns.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/crypto.h"

enum {
  BUCKETS = 1024,  /* a power of two; there is a queue only where there is contention */
  TICK_TURNS = 64, /* that a tick ends before it lets go of the lock */
};

/* It exists while somebody holds it, and only then does anybody wait in it. */
struct turn_queue {
  uint64_t hash;
  struct turn *holder;
  struct turn *waiting; /* oldest first */
  struct turn_queue *next;
};

struct turns {
  struct port *port;
  uint64_t seed;
  pthread_mutex_t lock; /* guards the queues and every turn in them */
  size_t queue_count;
  struct turn_queue *buckets[BUCKETS];
};

status turns_new(struct port *port, struct turns **ret) {
  struct turns *turns = calloc(1, sizeof *turns);
  if (turns == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  turns->port = port;
  crypto_random(&turns->seed, sizeof turns->seed);
  pthread_mutex_init(&turns->lock, NULL);
  *ret = turns;
  return status_ok();
}

void turns_free(struct turns *turns) {
  if (turns == NULL)
    return;
  assert(turns->queue_count == 0);
  pthread_mutex_destroy(&turns->lock);
  free(turns);
}

/* FNV-1a: who makes keys that fall together makes them wait for each other, no more. */
static uint64_t key_hash(const struct turns *turns, str key) {
  uint64_t hash = turns->seed ^ UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < key.len; i++)
    hash = (hash ^ (uint8_t)key.ptr[i]) * UINT64_C(0x100000001b3);
  return hash;
}

static struct turn_queue **bucket(struct turns *turns, uint64_t hash) {
  return &turns->buckets[hash & (BUCKETS - 1)];
}

static struct turn_queue *find(struct turns *turns, uint64_t hash) {
  struct turn_queue *queue = *bucket(turns, hash);
  while (queue != NULL && queue->hash != hash)
    queue = queue->next;
  return queue;
}

static void hold(struct turns *turns, struct turn_queue *queue, struct turn *turn) {
  queue->holder = turn;
  turn->state = TURN_HELD;
  turn->queue = queue;
  turn->since_us = turns->port->monotonic_us(turns->port);
}

static void open_queue(struct turns *turns, uint64_t hash, struct turn *turn) {
  struct turn_queue *queue = calloc(1, sizeof *queue);
  if (queue == NULL) /* then without this help */
    return;
  queue->hash = hash;
  LL_PREPEND(*bucket(turns, hash), queue);
  turns->queue_count++;
  hold(turns, queue, turn);
}

/* Takes the turn from its holder and gives it to the next, who is to be told after the lock is let go. */
static struct turn *pass_on(struct turns *turns, struct turn_queue *queue) {
  queue->holder->state = TURN_NONE;
  queue->holder->queue = NULL;
  struct turn *next = queue->waiting;
  if (next == NULL) {
    LL_DELETE(*bucket(turns, queue->hash), queue);
    turns->queue_count--;
    free(queue);
    return NULL;
  }
  DL_DELETE(queue->waiting, next);
  hold(turns, queue, next);
  return next;
}

bool turns_enter(struct turns *turns, struct turn *turn, const str *keys, size_t count, bool opens,
                 void (*came)(void *argument), void *argument) {
  if (count == 0)
    return false;
  size_t first = 0;
  str least = {0};
  bool waits = false;
  pthread_mutex_lock(&turns->lock);
  if (turn->state == TURN_NONE && (opens || turns->queue_count > 0)) {
    struct turn_queue *queue = NULL;
    for (size_t i = 0; i < count; i++) {
      if (str_cmp(keys[i], keys[first]) < 0)
        first = i;
      struct turn_queue *found = turns->queue_count == 0 ? NULL : find(turns, key_hash(turns, keys[i]));
      if (found != NULL && (queue == NULL || str_cmp(keys[i], least) < 0)) {
        queue = found;
        least = keys[i];
      }
    }
    waits = queue != NULL;
    if (waits) {
      *turn = (struct turn){.state = TURN_WAITING, .queue = queue, .came = came, .argument = argument};
      turn->since_us = turns->port->monotonic_us(turns->port);
      DL_APPEND(queue->waiting, turn);
    } else if (opens) {
      open_queue(turns, key_hash(turns, keys[first]), turn);
    }
  }
  pthread_mutex_unlock(&turns->lock);
  return waits;
}

bool turns_give_up(struct turns *turns, struct turn *turn) {
  pthread_mutex_lock(&turns->lock);
  bool waited = turn->state == TURN_WAITING;
  if (waited) {
    DL_DELETE(turn->queue->waiting, turn);
    *turn = (struct turn){0};
  }
  pthread_mutex_unlock(&turns->lock);
  return waited;
}

void turns_leave(struct turns *turns, struct turn *turn) {
  void (*came)(void *) = NULL;
  void *argument = NULL;
  pthread_mutex_lock(&turns->lock);
  assert(turn->state != TURN_WAITING);
  if (turn->state == TURN_HELD) {
    struct turn *next = pass_on(turns, turn->queue);
    if (next != NULL) { /* copied: it may end as soon as the lock is let go */
      came = next->came;
      argument = next->argument;
    }
  }
  pthread_mutex_unlock(&turns->lock);
  if (came != NULL)
    came(argument);
}

/* The callback of one whose wait is over, to be called without the lock. */
struct told {
  void (*came)(void *argument);
  void *argument;
};

static struct turn *wait_is_over(struct turn_queue *queue) {
  struct turn *turn = queue->waiting;
  DL_DELETE(queue->waiting, turn);
  turn->state = TURN_NONE;
  turn->queue = NULL;
  return turn;
}

static size_t end_some(struct turns *turns, int64_t now_us, struct told *told) {
  size_t count = 0;
  for (size_t i = 0; i < BUCKETS && turns->queue_count > 0; i++) {
    struct turn_queue *queue, *after;
    LL_FOREACH_SAFE(turns->buckets[i], queue, after) {
      struct turn *next = NULL;
      bool lives = true;
      if (now_us - queue->holder->since_us >= TURN_HELD_MS * INT64_C(1000)) {
        next = pass_on(turns, queue);
        lives = next != NULL;
      }
      while (lives && count < TICK_TURNS) {
        if (next != NULL)
          told[count++] = (struct told){next->came, next->argument};
        bool waited =
            queue->waiting != NULL && now_us - queue->waiting->since_us >= TURN_WAIT_MS * INT64_C(1000);
        if (!waited || count == TICK_TURNS)
          break;
        next = wait_is_over(queue);
      }
      if (count == TICK_TURNS)
        return count;
    }
  }
  return count;
}

void turns_tick(struct turns *turns) {
  int64_t now_us = turns->port->monotonic_us(turns->port);
  struct told told[TICK_TURNS];
  size_t count = TICK_TURNS;
  while (count == TICK_TURNS) {
    pthread_mutex_lock(&turns->lock);
    count = end_some(turns, now_us, told);
    pthread_mutex_unlock(&turns->lock);
    for (size_t i = 0; i < count; i++)
      told[i].came(told[i].argument);
  }
}
