#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON 1
#endif
#endif
#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

enum {
  ALIGNMENT = _Alignof(max_align_t),
  BLOCK_MIN_BYTES = 4096 - 64,            /* doubled from block to block, up to: */
  BLOCK_MAX_BYTES = 32 * BLOCK_MIN_BYTES, /* under malloc's threshold for mmap (port_memory_configure) */
  LARGE_BYTES = BLOCK_MAX_BYTES / 4,      /* from here on an allocation gets a block of its own */
};

struct arena_block {
  struct arena_block *next;
  size_t size_bytes; /* of data */
  bool is_own;       /* of one large allocation */
  _Alignas(max_align_t) char data[];
};

struct arena_cleanup {
  struct arena_cleanup *next;
  void (*release)(void *);
  void *argument;
};

void arena_init(struct arena *a, void *first, size_t first_bytes, size_t cap_bytes) {
  *a = (struct arena){
      .at = first, .first = first, .cap_bytes = cap_bytes, .next_block_bytes = BLOCK_MIN_BYTES};
  if (first != NULL) {
    assert((uintptr_t)first % ALIGNMENT == 0);
    a->first_end = a->end = a->first + first_bytes;
    ASAN_POISON_MEMORY_REGION(first, first_bytes);
  }
}

void arena_reset(struct arena *a) {
  while (a->cleanups != NULL) {
    struct arena_cleanup *cleanup = a->cleanups;
    a->cleanups = cleanup->next;
    cleanup->release(cleanup->argument);
  }
  if (a->budget != NULL && a->used_bytes > 0)
    memory_budget_give(a->budget, a->used_bytes);
  while (a->blocks != NULL) {
    struct arena_block *block = a->blocks;
    a->blocks = block->next;
    ASAN_UNPOISON_MEMORY_REGION(block->data, block->size_bytes);
    free(block);
  }
  if (a->first != NULL)
    ASAN_POISON_MEMORY_REGION(a->first, (size_t)(a->first_end - a->first));
  a->at = a->first;
  a->end = a->first_end;
  a->used_bytes = 0;
  a->next_block_bytes = BLOCK_MIN_BYTES;
  a->exhausted = a->over_budget = false;
}

void arena_fini(struct arena *a) {
  arena_reset(a);
  if (a->first != NULL)
    ASAN_UNPOISON_MEMORY_REGION(a->first, (size_t)(a->first_end - a->first));
}

/* A new block of malloc's with room for `size`, counted against the cap; NULL past it. */
static struct arena_block *block_new(struct arena *a, size_t size) {
  size_t left = a->cap_bytes - a->used_bytes;
  if (left < sizeof(struct arena_block) || size > left - sizeof(struct arena_block))
    return NULL;
  size_t wanted = a->next_block_bytes;
  if (wanted > left - sizeof(struct arena_block))
    wanted = left - sizeof(struct arena_block);
  if (wanted < size || size >= LARGE_BYTES)
    wanted = size;
  if (a->budget != NULL && !memory_budget_take(a->budget, sizeof(struct arena_block) + wanted)) {
    a->over_budget = true;
    return NULL;
  }
  struct arena_block *block = malloc(sizeof *block + wanted);
  if (block == NULL) {
    if (a->budget != NULL)
      memory_budget_give(a->budget, sizeof *block + wanted);
    return NULL;
  }
  block->next = a->blocks;
  block->size_bytes = wanted;
  block->is_own = size >= LARGE_BYTES;
  a->blocks = block;
  a->used_bytes += sizeof *block + wanted;
  ASAN_POISON_MEMORY_REGION(block->data, wanted);
  return block;
}

/* `size` bytes where the block in use has no room for them. */
static void *alloc_slow(struct arena *a, size_t size) {
  struct arena_block *block = block_new(a, size);
  if (block == NULL)
    return NULL;
  if (size >= LARGE_BYTES) /* the block in use stays in use */
    return block->data;
  a->at = block->data + size;
  a->end = block->data + block->size_bytes;
  if (a->next_block_bytes < BLOCK_MAX_BYTES)
    a->next_block_bytes *= 2;
  return block->data;
}

void arena_return(struct arena *a, const void *memory) {
  for (struct arena_block **at = &a->blocks; *at != NULL; at = &(*at)->next) {
    struct arena_block *block = *at;
    if (block->data != memory || !block->is_own)
      continue;
    size_t bytes = sizeof *block + block->size_bytes;
    *at = block->next;
    a->used_bytes -= bytes;
    if (a->budget != NULL)
      memory_budget_give(a->budget, bytes);
    ASAN_UNPOISON_MEMORY_REGION(block->data, block->size_bytes);
    free(block);
    return;
  }
}

void *arena_alloc(struct arena *a, size_t size) {
  size_t rounded = (size + (ALIGNMENT - 1)) & ~(size_t)(ALIGNMENT - 1);
  if (rounded == 0)
    rounded = ALIGNMENT;
  void *memory = NULL;
  if (rounded <= (size_t)(a->end - a->at) && rounded >= size) {
    memory = a->at;
    a->at += rounded;
  } else if (rounded >= size) {
    memory = alloc_slow(a, rounded);
  }
  if (memory == NULL) {
    a->exhausted = true;
    return NULL;
  }
  ASAN_UNPOISON_MEMORY_REGION(memory, size);
  return memory;
}

void *arena_calloc(struct arena *a, size_t count, size_t size) {
  size_t total;
  if (__builtin_mul_overflow(count, size, &total)) {
    a->exhausted = true;
    return NULL;
  }
  void *memory = arena_alloc(a, total);
  return memory == NULL ? NULL : memset(memory, 0, total);
}

str arena_str_copy(struct arena *a, str s) {
  char *copy = s.len == SIZE_MAX ? NULL : arena_alloc(a, s.len + 1);
  if (copy == NULL)
    return (str){NULL, 0};
  if (s.len > 0)
    memcpy(copy, s.ptr, s.len);
  copy[s.len] = '\0';
  return (str){copy, s.len};
}

str arena_printf(struct arena *a, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int wanted = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  char *text = wanted < 0 ? NULL : arena_alloc(a, (size_t)wanted + 1);
  if (text != NULL)
    vsnprintf(text, (size_t)wanted + 1, format, again);
  va_end(again);
  return text == NULL ? (str){NULL, 0} : (str){text, (size_t)wanted};
}

bool arena_defer(struct arena *a, void (*release)(void *argument), void *argument) {
  struct arena_cleanup *cleanup = arena_alloc(a, sizeof *cleanup);
  if (cleanup == NULL)
    return false;
  *cleanup = (struct arena_cleanup){a->cleanups, release, argument};
  a->cleanups = cleanup;
  return true;
}

size_t arena_used_bytes(const struct arena *a) {
  return a->used_bytes;
}
