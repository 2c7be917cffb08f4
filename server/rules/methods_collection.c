/* Lists and sets. */
#include "server/rules/builtin.h"
#include "server/rules/evaluation.h"

static bool is_collection(const struct rules_value *value) {
  return value->kind == VALUE_LIST || value->kind == VALUE_SET;
}

/* The strings of a larger collection, by hash, so that whether something is in it need not be asked of each
 * item. Strings equal strings only, so what is no string is looked for in the collection itself. */
struct text_index {
  str *slots; /* NULL: none; a slot without a pointer is free */
  size_t mask;
};

enum { INDEX_FROM_ITEMS = 16 };

static struct text_index make_index(struct rules_evaluation *e, size_t count) {
  struct text_index index = {NULL, 0};
  if (count < INDEX_FROM_ITEMS)
    return index;
  size_t capacity = INDEX_FROM_ITEMS;
  while (capacity < 2 * count)
    capacity *= 2;
  index.slots = rules_memory(e, capacity, sizeof *index.slots);
  index.mask = capacity - 1;
  return index;
}

/* The slot where it is or would be. Work is counted, so texts that were made to collide end the evaluation.
 */
static str *find_slot(struct rules_evaluation *e, const struct text_index *index, str text) {
  uint64_t hash = 0xCBF29CE484222325;
  if (text.ptr == NULL)
    text = STR("");
  for (size_t i = 0; i < text.len; i++)
    hash = (hash ^ (unsigned char)text.ptr[i]) * 0x100000001B3;
  hash ^= hash >> 32;
  rules_work(e, text.len / 64);
  for (size_t at = (size_t)hash & index->mask;; at = (at + 1) & index->mask)
    if (index->slots[at].ptr == NULL || str_eq(index->slots[at], text) || !rules_work(e, 1))
      return &index->slots[at];
}

static void add_to_index(struct rules_evaluation *e, const struct text_index *index,
                         const struct rules_value *value) {
  if (index->slots != NULL && value->kind == VALUE_STRING)
    *find_slot(e, index, value->as.bytes) = value->as.bytes.ptr == NULL ? STR("") : value->as.bytes;
}

static struct text_index index_of(struct rules_evaluation *e, const struct rules_value *items) {
  struct text_index index = make_index(e, rules_count(e, items));
  struct rules_cursor cursor = rules_cursor_make(e, items);
  struct rules_value item;
  while (index.slots != NULL && rules_cursor_item(&cursor, &item))
    add_to_index(e, &index, &item);
  return index;
}

/* Sets take 1 and 1.0 for the same, lists do not. */
static enum rules_truth contains(struct rules_evaluation *e, const struct rules_value *items,
                                 const struct text_index *index, const struct rules_value *wanted) {
  if (index->slots != NULL && wanted->kind == VALUE_STRING)
    return find_slot(e, index, wanted->as.bytes)->ptr != NULL ? RULES_TRUE : RULES_FALSE;
  struct rules_cursor cursor = rules_cursor_make(e, items);
  struct rules_value item;
  enum rules_truth result = RULES_FALSE;
  while (rules_cursor_item(&cursor, &item)) {
    enum rules_truth truth =
        rules_equal(e, &item, wanted, items->kind == VALUE_SET ? EQUAL_SAME : EQUAL_STRICT);
    if (truth == RULES_TRUE)
      return truth;
    if (truth == RULES_MAYBE)
      result = truth;
  }
  return result;
}

/* Whether all items of `some` are in `items`. */
static enum rules_truth has_all(struct rules_evaluation *e, const struct rules_value *items,
                                const struct rules_value *some) {
  struct text_index index = index_of(e, items);
  struct rules_cursor cursor = rules_cursor_make(e, some);
  struct rules_value item;
  enum rules_truth result = RULES_TRUE;
  while (rules_cursor_item(&cursor, &item)) {
    enum rules_truth truth = contains(e, items, &index, &item);
    if (truth == RULES_FALSE)
      return truth;
    if (truth == RULES_MAYBE)
      result = truth;
  }
  return result;
}

static enum rules_truth has_any(struct rules_evaluation *e, const struct rules_value *items,
                                const struct rules_value *some) {
  struct text_index index = index_of(e, items);
  struct rules_cursor cursor = rules_cursor_make(e, some);
  struct rules_value item;
  enum rules_truth result = RULES_FALSE;
  while (rules_cursor_item(&cursor, &item)) {
    enum rules_truth truth = contains(e, items, &index, &item);
    if (truth == RULES_TRUE)
      return truth;
    if (truth == RULES_MAYBE)
      result = truth;
  }
  return result;
}

/* What of two collections is wanted. */
enum wanted {
  WANTED_COMMON = 1, /* items of the first that the second has too */
  WANTED_REST = 2,   /* items of the first that it has not */
  WANTED_OTHER = 4,  /* all items of the second */
};

/* A list, or a set with each item once. `other` may be NULL if all of `from` is wanted. */
static void gather(struct rules_evaluation *e, enum rules_kind kind, unsigned wanted,
                   const struct rules_value *from, const struct rules_value *other, struct rules_value *ret) {
  bool chooses = (wanted & WANTED_COMMON) == 0 || (wanted & WANTED_REST) == 0;
  size_t most = rules_count(e, from) + ((wanted & WANTED_OTHER) != 0 ? rules_count(e, other) : 0), count = 0;
  struct rules_value *items = rules_memory(e, most, sizeof *items), item;
  struct text_index of_other = chooses ? index_of(e, other) : (struct text_index){NULL, 0};
  struct text_index of_items = kind == VALUE_SET ? make_index(e, most) : (struct text_index){NULL, 0};
  for (int pass = 0; items != NULL && pass < ((wanted & WANTED_OTHER) != 0 ? 2 : 1); pass++) {
    struct rules_cursor cursor = rules_cursor_make(e, pass == 0 ? from : other);
    while (count < most && rules_cursor_item(&cursor, &item)) {
      bool is_common = pass == 0 && chooses && contains(e, other, &of_other, &item) == RULES_TRUE;
      if (pass == 0 && (wanted & (is_common ? WANTED_COMMON : WANTED_REST)) == 0)
        continue;
      struct rules_value so_far = rules_items(VALUE_SET, items, count);
      if (kind == VALUE_SET && contains(e, &so_far, &of_items, &item) != RULES_FALSE)
        continue;
      add_to_index(e, &of_items, &item);
      items[count++] = item;
    }
  }
  *ret = rules_items(kind, items, count);
}

static bool join(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  str separator = call->arguments[0].as.bytes, text;
  struct rules_cursor cursor = rules_cursor_make(e, call->target);
  struct rules_value item;
  struct buf out = {.max_bytes = 4 * 1024 * 1024};
  bool good = true;
  for (bool first = true; good && rules_cursor_item(&cursor, &item); first = false) {
    good = rules_to_text(e, &item, &text);
    if (!first && good)
      buf_append_str(&out, separator);
    if (good)
      buf_append_str(&out, text);
  }
  str copy = out.failed ? (str){NULL, 0} : arena_str_copy(e->arena, buf_str(&out));
  buf_fini(&out);
  if (copy.ptr == NULL)
    rules_fail(e, RULES_ERROR_MEMORY);
  *ret = rules_string(copy);
  return good;
}

static bool call_on_list(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  const struct rules_value *list = call->target, *argument = call->arguments;
  if ((enum rules_builtin)call->node->number == METHOD_JOIN)
    return argument->kind == VALUE_STRING && join(e, call, ret);
  if (call->node->number == METHOD_TO_SET) {
    gather(e, VALUE_SET, WANTED_COMMON | WANTED_REST, list, NULL, ret);
    return true;
  }
  if (call->argument_count != 1 || argument->kind != VALUE_LIST)
    return false;
  if (call->node->number == METHOD_CONCAT)
    gather(e, VALUE_LIST, WANTED_COMMON | WANTED_REST | WANTED_OTHER, list, argument, ret);
  else if (call->node->number == METHOD_REMOVE_ALL)
    gather(e, VALUE_LIST, WANTED_REST, list, argument, ret);
  else
    return false;
  return true;
}

static bool call_on_set(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  const struct rules_value *set = call->target, *argument = call->arguments;
  if (call->argument_count != 1 || argument->kind != VALUE_SET)
    return false;
  if (call->node->number == METHOD_UNION)
    gather(e, VALUE_SET, WANTED_COMMON | WANTED_REST | WANTED_OTHER, set, argument, ret);
  else if (call->node->number == METHOD_INTERSECTION)
    gather(e, VALUE_SET, WANTED_COMMON, set, argument, ret);
  else if (call->node->number == METHOD_DIFFERENCE)
    gather(e, VALUE_SET, WANTED_REST, set, argument, ret);
  else
    return false;
  return true;
}

bool rules_call_collection(struct rules_evaluation *e, const struct rules_call *call,
                           struct rules_value *ret) {
  const struct rules_value *target = call->target, *argument = call->arguments;
  if (target == NULL || !is_collection(target))
    return false;
  if (call->node->number == METHOD_SIZE) {
    *ret = rules_int((int64_t)rules_count(e, target));
    return true;
  }
  bool fits = call->argument_count == 1 && is_collection(argument) &&
              (target->kind == VALUE_SET || argument->kind == VALUE_LIST);
  switch ((unsigned)call->node->number) {
  case METHOD_HAS_ALL:
    *ret = rules_truth_value(fits ? has_all(e, target, argument) : RULES_FALSE, call->node);
    return fits;
  case METHOD_HAS_ANY:
    *ret = rules_truth_value(fits ? has_any(e, target, argument) : RULES_FALSE, call->node);
    return fits;
  case METHOD_HAS_ONLY: /* nothing but these */
    *ret = rules_truth_value(fits ? has_all(e, argument, target) : RULES_FALSE, call->node);
    return fits;
  default:
    return target->kind == VALUE_LIST ? call_on_list(e, call, ret) : call_on_set(e, call, ret);
  }
}
