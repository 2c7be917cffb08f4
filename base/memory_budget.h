/* How much memory many parties may take together: each adds what it takes and subtracts what it gives back.
 * Two kinds of taking: memory_budget_take asks first, memory_budget_charge only tells (for what exists
 * already), after which the others are refused until enough came back. Any thread.
 *
 * A share is one party's part of a whole: what is taken of the share is taken of the whole too. The last
 * quarter of the whole is only for those that hold less than a quarter, so that no party, and no three,
 * keep the others out. */
#ifndef SKERRY_BASE_MEMORY_BUDGET_H
#define SKERRY_BASE_MEMORY_BUDGET_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct memory_budget {
  _Atomic size_t used_bytes;
  size_t max_bytes;
  struct memory_budget *whole; /* of which this is a share, or NULL */
};

static inline void memory_budget_init(struct memory_budget *budget, size_t max_bytes) {
  atomic_init(&budget->used_bytes, 0);
  budget->max_bytes = max_bytes;
  budget->whole = NULL;
}

static inline void memory_budget_init_share(struct memory_budget *share, struct memory_budget *whole) {
  memory_budget_init(share, whole->max_bytes / 4);
  share->whole = whole;
}

static inline size_t memory_budget_used(const struct memory_budget *budget) {
  return atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
}

/* What is left is the last quarter, which is not for those that hold more. */
static inline bool memory_budget_is_low(const struct memory_budget *whole) {
  return memory_budget_used(whole) >= whole->max_bytes - whole->max_bytes / 4;
}

/* False, and nothing is taken, if it would pass the budget. */
static inline bool memory_budget_take(struct memory_budget *budget, size_t bytes) {
  if (budget->whole != NULL && !memory_budget_take(budget->whole, bytes))
    return false;
  size_t before = atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
  bool fits = before <= budget->max_bytes && bytes <= budget->max_bytes - before;
  if (fits || (budget->whole != NULL &&
               memory_budget_used(budget->whole) <= budget->whole->max_bytes - budget->max_bytes))
    return true;
  atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
  if (budget->whole != NULL)
    atomic_fetch_sub_explicit(&budget->whole->used_bytes, bytes, memory_order_relaxed);
  return false;
}

static inline void memory_budget_charge(struct memory_budget *budget, size_t bytes) {
  for (; budget != NULL; budget = budget->whole)
    atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
}

static inline void memory_budget_give(struct memory_budget *budget, size_t bytes) {
  for (; budget != NULL; budget = budget->whole) {
    size_t before = atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    assert(before >= bytes);
    (void)before;
  }
}

static inline bool memory_budget_is_spent(const struct memory_budget *budget) {
  bool has_all = memory_budget_used(budget) >= budget->max_bytes;
  if (budget->whole == NULL)
    return has_all;
  return (has_all && memory_budget_is_low(budget->whole)) || memory_budget_is_spent(budget->whole);
}

#endif
