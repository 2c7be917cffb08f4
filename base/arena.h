/* Memory that is given back all at once: one arena a call.
 *
 * Allocation is a bump of a pointer. The first block may be the owner's own memory (inside the call object);
 * further blocks come from malloc and grow. All of it counts against a hard cap, so that no client can make a
 * call take more than the cap; with a budget, many arenas have a cap together. An arena belongs to one thread
 * at a time. Zeroed memory is not an arena: arena_init. */
#ifndef SKERRY_BASE_ARENA_H
#define SKERRY_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/memory_budget.h"
#include "base/str.h"

struct arena_block;
struct arena_cleanup;

/* Private but for `exhausted`, `over_budget` and `budget`. */
struct arena {
  char *at, *end;             /* free memory of the newest block */
  char *first, *first_end;    /* the owner's block, or NULL */
  struct arena_block *blocks; /* from malloc, newest first */
  struct arena_cleanup *cleanups;
  size_t used_bytes, cap_bytes; /* blocks from malloc count when they are taken */
  size_t next_block_bytes;
  struct memory_budget *budget; /* what arenas share, or NULL; the owner may set it after arena_init */
  bool exhausted;               /* an allocation was refused, for a cap or for lack of memory */
  bool over_budget;             /* and that was because of the others: it may work later */
};

/* `first` (may be NULL) is first_bytes of the owner's memory, aligned for any type, that outlives the arena.
 */
void arena_init(struct arena *a, void *first, size_t first_bytes, size_t cap_bytes);

/* Runs the clean-ups, newest first, and frees all but the first block: the arena is as after arena_init. */
void arena_reset(struct arena *a);

/* arena_reset, for the end. */
void arena_fini(struct arena *a);

/* `size` bytes aligned for any type, not zeroed; NULL (and a->exhausted) past the cap. Size 0 gives a valid
 * pointer. */
void *arena_alloc(struct arena *a, size_t size);

/* Gives an allocation back before the reset, if it is a large one (from some 32 KB on); what is not large,
 * and what is not the arena's, stays as it is. Nobody uses it any more. */
void arena_return(struct arena *a, const void *memory);

/* The same as arena_alloc, zeroed, for count * size with the overflow checked. */
void *arena_calloc(struct arena *a, size_t count, size_t size);

/* A copy that ends in NUL (not counted in len). {NULL, 0} past the cap: tell by a->exhausted or ptr == NULL.
 */
str arena_str_copy(struct arena *a, str s);
str arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Has release(argument) run at reset. False past the cap: then the caller still owns the thing. */
bool arena_defer(struct arena *a, void (*release)(void *argument), void *argument);

/* Bytes that count against the cap now. */
size_t arena_used_bytes(const struct arena *a);

#define ARENA_NEW(a, type) ((type *)arena_calloc((a), 1, sizeof(type)))
#define ARENA_NEW_ARRAY(a, type, count) ((type *)arena_calloc((a), (count), sizeof(type)))

#endif
