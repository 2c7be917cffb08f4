/* What a store remembers of its indexes: the definitions, and how far each index is. Internal to this
 * directory; others see catalogs.
 *
 * The state is one text (JSON) under INDEX_LEDGER_KEY in KV_SYSTEM. It changes in steps, each a commit:
 *
 *   wanted -> building                  in the catalog: commits maintain it
 *   building -> ready                   the walk over all documents has put the rest; ready = that commit
 *   ready or building -> retiring       not wanted any more: unusable at once, still maintained, until no
 *                                       query that began with it can take part in a commit unseen
 *   retiring -> gone, and `sweep`       not maintained; its entries are deleted in the background
 *
 * A composite index that comes back has a new number, so what is left of the old one does no harm. Entries of
 * single fields have no number: what is wanted again while `sweep` is set is `blocked`, not maintained, until
 * the sweep is through, and then begins as building.
 *
 * Rules. How single fields are indexed is kept for each field that has an override, or had one (its entries
 * are being built or deleted). A field without a rule of its own goes by the rule of the nearest field around
 * it, then by that of "*" (count 0), then by the automatic indexes. */
#ifndef SKERRY_STORAGE_INDEX_LEDGER_H
#define SKERRY_STORAGE_INDEX_LEDGER_H

#include "storage/index/catalog.h"

/* The `ready` of what is not. */
#define INDEX_NOT_READY INT64_MAX
enum { INDEX_HAS_COUNT = 4, INDEX_HAS_AUTOMATIC = INDEX_HAS_VALUES | INDEX_HAS_ELEMENTS };

struct index_ledger_composite {
  struct index_composite_definition definition;
  uint32_t number;  /* 0: nothing on disk (no columns) */
  kv_version ready; /* or INDEX_NOT_READY */
  bool retiring;
};

struct index_ledger_rule {
  str collection_id;
  struct doc_field_path field;
  unsigned wanted;   /* INDEX_HAS_... */
  unsigned blocked;  /* wanted, and not maintained yet */
  unsigned retiring; /* not wanted any more, but maintained */
  kv_version ready[INDEX_HAS_COUNT];
};

struct index_ledger {
  uint64_t generation; /* grows when something new is to be built: a walk of an older one begins again */
  uint32_t last_number;
  kv_version automatic_ready;
  bool sweep;
  struct index_ledger_composite *composites; /* in the order of their numbers */
  size_t composite_count;
  struct index_ledger_rule *rules; /* sorted by collection id and field */
  size_t rule_count;
  const struct index_override *overrides; /* as they were given */
  size_t override_count;
};

/* The state of a store on which nothing was defined. */
struct index_ledger index_ledger_default(kv_version automatic_ready);

/* Everything is in the arena. DATA_LOSS if it is no ledger; FAILED_PRECONDITION if a newer program wrote it.
 */
STATUS_MUST_USE status index_ledger_decode(str text, struct arena *arena, struct index_ledger *ret);
STATUS_MUST_USE status index_ledger_encode(const struct index_ledger *ledger, struct buf *out);

/* index_definitions_parse for what was stored: with what is retiring it may be more than one may define. */
STATUS_MUST_USE status index_definitions_parse_stored(str json, struct arena *arena,
                                                      struct index_definitions *ret);

/* The definitions that were given last, borrowed from the state but for the array of composites. */
STATUS_MUST_USE status index_ledger_definitions(const struct index_ledger *ledger, struct arena *arena,
                                                struct index_definitions *ret);

/* ---- The steps: each changes the state in place and says whether there was something to change ---- */

/* Other definitions. `oldest` is the oldest version that can be read: what has been ready since before it
 * and is as automatic indexes are needs no rule any more. RESOURCE_EXHAUSTED, INVALID_ARGUMENT. */
STATUS_MUST_USE status index_ledger_define(struct index_ledger *ledger,
                                           const struct index_definitions *definitions, kv_version oldest,
                                           struct arena *arena);
/* What is retiring goes. */
bool index_ledger_retire(struct index_ledger *ledger);
/* The sweep of `generation` is through. */
bool index_ledger_swept(struct index_ledger *ledger);
/* The walk is through: what is building is ready. */
bool index_ledger_built(struct index_ledger *ledger, kv_version version);

/* Questions. */
bool index_ledger_is_retiring(const struct index_ledger *ledger);
bool index_ledger_is_building(const struct index_ledger *ledger);
/* What commits maintain of a rule. */
static inline unsigned index_rule_maintained(const struct index_ledger_rule *rule) {
  return (rule->wanted & ~rule->blocked) | rule->retiring;
}
/* Whether a rule has something to build. */
bool index_rule_is_building(const struct index_ledger_rule *rule);

/* The rules of one collection id: a range of ledger->rules. */
struct index_rules {
  const struct index_ledger_rule *items;
  size_t count;
};
/* The rule that a field goes by, or NULL: the automatic indexes. */
const struct index_ledger_rule *index_rules_find(struct index_rules rules,
                                                 const struct doc_field_path *field);

#endif
