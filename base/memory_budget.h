/* How much memory many parties may take together: each adds what it takes and subtracts what it gives back.
 * Two kinds of taking: memory_budget_take asks first, memory_budget_charge only tells (for what exists
 * already), after which the others are refused until enough came back. Any thread. */
#ifndef SKERRY_BASE_MEMORY_BUDGET_H
#define SKERRY_BASE_MEMORY_BUDGET_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct memory_budget {
  _Atomic size_t used_bytes;
  size_t max_bytes;
};

static inline void memory_budget_init(struct memory_budget *budget, size_t max_bytes) {
  atomic_init(&budget->used_bytes, 0);
  budget->max_bytes = max_bytes;
}

/* False, and nothing is taken, if it would pass the budget. */
static inline bool memory_budget_take(struct memory_budget *budget, size_t bytes) {
  size_t before = atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
  if (before <= budget->max_bytes && bytes <= budget->max_bytes - before)
    return true;
  atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
  return false;
}

static inline void memory_budget_charge(struct memory_budget *budget, size_t bytes) {
  atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
}

static inline void memory_budget_give(struct memory_budget *budget, size_t bytes) {
  size_t before = atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
  assert(before >= bytes);
  (void)before;
}

static inline size_t memory_budget_used(const struct memory_budget *budget) {
  return atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
}
static inline bool memory_budget_is_spent(const struct memory_budget *budget) {
  return memory_budget_used(budget) >= budget->max_bytes;
}

#endif
