/* Which statements a request meets, and what they say of it. */
#include "server/rules/evaluation.h"

/* What a path is compared with, segment by segment. A query's documents have an id that nobody knows, and
 * those of a collection group any number of segments. */
enum target_kind { TARGET_KNOWN, TARGET_UNKNOWN, TARGET_GAP };
struct target_segment {
  enum target_kind kind;
  str text;
};

struct walk {
  struct rules_evaluation e;
  const struct target_segment *target;
  size_t target_count;
  struct rules_value *captures; /* RULES_CAPTURES_MAX */
  uint8_t method;
  struct rules_decision decision;
  bool has_failure; /* decision has the position and reason of one */
};

/* ---- The path of the request ---- */

static size_t count_segments(str path) {
  size_t count = path.len > 0;
  for (size_t i = 0; i < path.len; i++)
    count += path.ptr[i] == '/';
  return count;
}

static size_t put_path(struct target_segment *target, size_t at, str path) {
  for (str rest = path; rest.len > 0;) {
    str segment = str_split(rest, '/', &rest);
    target[at++] = (struct target_segment){TARGET_KNOWN, segment};
  }
  return at;
}

static bool is_firestore(const struct rules_request *request) {
  return request->service.len == 0 || str_eq(request->service, STR("cloud.firestore"));
}

/* The document that a conjunction names: a path below documents/. */
static bool named_document(struct rules_evaluation *e, const struct rules_conjunction *conjunction,
                           str *ret) {
  for (size_t i = 0; i < conjunction->filter_count; i++) {
    const struct rules_filter *filter = &conjunction->filters[i];
    if (filter->field.count > 0 || filter->op != RULES_EQUAL)
      continue;
    struct rules_value path = rules_value_from_wire(e, filter->value, 0);
    if (path.kind != VALUE_PATH || path.count < 5)
      continue;
    struct rules_value below = rules_items(VALUE_PATH, path.as.items + 3, path.count - 3);
    *ret = str_from(rules_path_text(e, &below), 1);
    return ret->ptr != NULL;
  }
  return false;
}

static bool set_target(struct walk *w, const struct rules_request *request,
                       const struct rules_conjunction *conjunction) {
  str path = request->path;
  bool is_query = request->operation == RULES_LIST;
  bool is_named = conjunction != NULL && named_document(&w->e, conjunction, &path);
  struct target_segment *target = rules_memory(&w->e, count_segments(path) + 6, sizeof *target);
  if (target == NULL)
    return false;
  size_t at = 0;
  if (is_firestore(request)) {
    target[at++] = (struct target_segment){TARGET_KNOWN, STR("databases")};
    target[at++] = (struct target_segment){TARGET_KNOWN, request->database};
    target[at++] = (struct target_segment){TARGET_KNOWN, STR("documents")};
  }
  size_t below = at;
  at = put_path(target, at, path);
  if (is_query && !is_named) {
    bool is_group = request->query != NULL && request->query->all_descendants;
    bool any_collection = (at - below) % 2 == 0; /* a document or the root: of any collection */
    if (is_group && !any_collection) {           /* the gap is before the collection's id */
      target[at] = target[at - 1];
      target[at - 1] = (struct target_segment){TARGET_GAP, {NULL, 0}};
      at++;
    } else if (is_group) {
      target[at++] = (struct target_segment){TARGET_GAP, {NULL, 0}};
    }
    if (any_collection)
      target[at++] = (struct target_segment){TARGET_UNKNOWN, {NULL, 0}};
    target[at++] = (struct target_segment){TARGET_UNKNOWN, {NULL, 0}};
  }
  w->target = target;
  w->target_count = at;
  return true;
}

/* ---- Statements ---- */

static void trace(struct walk *w, const struct rules_allow *allow, enum rules_outcome outcome, str reason) {
  struct rules_trace *to = w->e.request->trace;
  if (to == NULL)
    return;
  if (to->count == RULES_TRACE_MAX) {
    to->has_more = true;
    return;
  }
  struct rules_position position = rules_position_of(w->e.rules, allow->start, allow->start);
  to->entries[to->count++] = (struct rules_trace_entry){position.line, position.column, outcome, reason};
}

static str reason_text(struct walk *w, const struct rules_value *value, uint32_t *ret_start) {
  struct rules_evaluation *e = &w->e;
  if (value->kind >= VALUE_ERROR && value->kind != VALUE_PARTIAL && value->as.where.at != NULL)
    *ret_start = value->as.where.at->start;
  if (value->kind == VALUE_ERROR)
    return rules_error_text(e, value);
  if (value->kind >= VALUE_UNKNOWN)
    return STR("The query's filters do not prove this for every document that it may return.");
  if (value->kind == VALUE_BOOL)
    return STR("false");
  return arena_printf(e->arena, "Type error. Received: [%s] Expected: [bool].",
                      rules_kind_name((enum rules_kind)value->kind));
}

static enum rules_outcome outcome_of(enum rules_error fatal) {
  return fatal == RULES_ERROR_READ_LATER ? RULES_LATER
         : fatal == RULES_ERROR_READ_FAILED || fatal == RULES_ERROR_MEMORY || fatal == RULES_ERROR_DAMAGED
             ? RULES_FAILED
             : RULES_DENY;
}

/* Whether the statement allows. */
static bool judge(struct walk *w, const struct rules_allow *allow) {
  struct rules_value value = rules_bool(true);
  w->e.captures = w->captures;
  if (allow->condition != NULL)
    rules_evaluate(&w->e, allow->condition, NULL, &value);
  bool allows = value.kind == VALUE_BOOL && value.as.boolean;
  enum rules_outcome outcome = allows ? RULES_ALLOW : outcome_of(w->e.fatal);
  uint32_t start = allow->start;
  str reason = STR("");
  bool is_wanted =
      w->e.request->trace != NULL || w->e.fatal != RULES_ERROR_NONE || (!allows && value.kind != VALUE_BOOL);
  if (!allows && is_wanted)
    reason = reason_text(w, &value, &start);
  trace(w, allow, outcome, reason);
  if (allows || w->e.fatal != RULES_ERROR_NONE || value.kind != VALUE_BOOL || !w->has_failure) {
    struct rules_position position = rules_position_of(w->e.rules, start, start);
    w->decision = (struct rules_decision){outcome, position.line, position.column, reason};
    w->has_failure = !allows;
  }
  return allows;
}

/* Whether the walk is over: something allowed, or the evaluation ended. */
static bool judge_all(struct walk *w, const struct rules_match *match) {
  for (const struct rules_allow *allow = match->allows; allow != NULL; allow = allow->next)
    if ((allow->methods & w->method) != 0 && (judge(w, allow) || w->e.fatal != RULES_ERROR_NONE))
      return true;
  return false;
}

/* ---- Match blocks ---- */

static bool walk_match(struct walk *w, const struct rules_match *match, size_t at);

/* The path behind a {name=**}. */
static struct rules_value glob_value(struct walk *w, size_t from, size_t to) {
  struct rules_value *items = NULL;
  for (size_t i = from; i < to; i++)
    if (w->target[i].kind != TARGET_KNOWN)
      return (struct rules_value){.kind = VALUE_UNKNOWN};
  items = rules_memory(&w->e, to - from, sizeof *items);
  for (size_t i = from; items != NULL && i < to; i++)
    items[i - from] = rules_string(w->target[i].text);
  return rules_items(VALUE_PATH, items, items == NULL ? 0 : to - from);
}

/* All of the match's segments are matched, up to `at`. */
static bool enter(struct walk *w, const struct rules_match *match, size_t at) {
  if (at == w->target_count)
    if (judge_all(w, match))
      return true;
  for (const struct rules_match *child = match->children; child != NULL; child = child->next)
    if (walk_match(w, child, at))
      return true;
  return false;
}

/* Segments [segment, count) of `match` against the target from `at`. There is one {=**} on the way at most,
 * so this calls itself once at most. */
static bool walk_segments(struct walk *w, const struct rules_match *match, uint32_t segment, size_t at,
                          uint32_t capture) {
  for (; segment < match->segment_count; segment++) {
    const struct rules_segment *pattern = &match->segments[segment];
    if (pattern->kind == SEGMENT_GLOB)
      break;
    if (at == w->target_count || w->target[at].kind == TARGET_GAP)
      return false;
    const struct target_segment *here = &w->target[at++];
    if (pattern->kind == SEGMENT_LITERAL &&
        (here->kind != TARGET_KNOWN || !str_eq(here->text, pattern->text)))
      return false;
    if (pattern->kind == SEGMENT_WILDCARD)
      w->captures[capture++] =
          here->kind == TARGET_KNOWN ? rules_string(here->text) : (struct rules_value){.kind = VALUE_UNKNOWN};
  }
  if (segment == match->segment_count)
    return enter(w, match, at);
  /* A glob at the end of all takes the rest; otherwise each length is tried. Version 1: at least one segment.
   */
  size_t least = w->e.rules->version < 2 ? at + 1 : at;
  bool takes_rest = segment + 1 == match->segment_count && match->children == NULL;
  for (size_t end = takes_rest && least < w->target_count ? w->target_count : least;
       end <= w->target_count && rules_work(&w->e, 1); end++) {
    w->captures[capture] = glob_value(w, at, end);
    if (walk_segments(w, match, segment + 1, end, capture + 1))
      return true;
  }
  return w->e.fatal != RULES_ERROR_NONE;
}

static bool walk_match(struct walk *w, const struct rules_match *match, size_t at) {
  return walk_segments(w, match, 0, at, match->first_capture);
}

/* ---- The whole ---- */

static const struct rules_service *find_service(const struct rules *rules,
                                                const struct rules_request *request) {
  str name = request->service.len == 0 ? STR("cloud.firestore") : request->service;
  for (const struct rules_service *service = rules->services; service != NULL; service = service->next)
    if (str_eq(service->name, name))
      return service;
  return NULL;
}

static void decide_one(struct walk *w, const struct rules_service *service,
                       const struct rules_conjunction *conjunction) {
  const struct rules_request *request = w->e.request;
  w->e.evaluations = 0;
  w->e.work = 0;
  w->e.conjunction = conjunction;
  w->e.resource_is_partial =
      request->operation == RULES_LIST && (conjunction == NULL || !conjunction->is_known);
  w->e.resource = conjunction != NULL && conjunction->is_known ? conjunction->document : request->resource;
  w->decision =
      (struct rules_decision){.outcome = RULES_DENY, .reason = STR("No matching allow statements.")};
  w->has_failure = false;
  if (set_target(w, request, conjunction))
    for (const struct rules_match *match = service->matches; match != NULL; match = match->next)
      if (walk_match(w, match, 0))
        break;
  if (w->e.fatal != RULES_ERROR_NONE && w->decision.outcome != outcome_of(w->e.fatal))
    w->decision.outcome = outcome_of(w->e.fatal);
}

struct rules_decision rules_decide(const struct rules *rules, const struct rules_request *request,
                                   struct arena *arena) {
  const struct rules_service *service = find_service(rules, request);
  if (service == NULL)
    return (struct rules_decision){.outcome = RULES_DENY,
                                   .reason = STR("There are no rules for this service.")};
  struct rules_value captures[RULES_CAPTURES_MAX]; /* each is set before it is read */
  struct walk w = {
      .e = {.rules = rules, .request = request, .arena = arena, .reads_left = RULES_READS_SINGLE},
      .captures = captures,
      .method = (uint8_t)(1U << request->operation)};
  if (request->operation != RULES_LIST || request->query == NULL || request->query->conjunction_count == 0) {
    decide_one(&w, service, NULL);
    return w.decision;
  }
  w.decision = (struct rules_decision){.outcome = RULES_ALLOW, .reason = STR("")};
  for (size_t i = 0; i < request->query->conjunction_count; i++) {
    decide_one(&w, service, &request->query->conjunctions[i]);
    if (w.decision.outcome != RULES_ALLOW)
      break;
  }
  return w.decision;
}
