/* Which file has a function or method. A false answer means that it does not take these types. */
#include "server/rules/builtin.h"
#include "server/rules/evaluation.h"

/* Prints for the log, and is its argument. */
static void debug(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  *ret = call->arguments[0];
  if (e->request->debug == NULL)
    return;
  struct buf text = {.max_bytes = 4096};
  size_t work = e->work;
  rules_describe(e, ret, &text, 0);
  e->work = work; /* to show something decides nothing, if it is damaged or large either */
  e->fatal = RULES_ERROR_NONE;
  e->request->debug(e->request->debug_argument,
                    rules_position_of(e->rules, call->node->start, call->node->end).line, buf_str(&text));
  buf_fini(&text);
}

static bool call_any(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  switch ((unsigned)call->node->number) {
  case FUNCTION_DEBUG:
    debug(e, call, ret);
    return true;
  case FUNCTION_GET:
  case FIRESTORE_GET:
    rules_read_document(e, call->node, &call->arguments[0], false, true, ret);
    return true;
  case FUNCTION_EXISTS:
  case FIRESTORE_EXISTS:
    rules_read_document(e, call->node, &call->arguments[0], false, false, ret);
    return true;
  case FUNCTION_GET_AFTER:
    rules_read_document(e, call->node, &call->arguments[0], true, true, ret);
    return true;
  case FUNCTION_EXISTS_AFTER:
    rules_read_document(e, call->node, &call->arguments[0], true, false, ret);
    return true;
  default:
    return rules_call_text(e, call, ret) || rules_call_collection(e, call, ret) ||
           rules_call_map(e, call, ret) || rules_call_time(e, call, ret) || rules_call_number(e, call, ret);
  }
}

void rules_call_builtin(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  if (call_any(e, call, ret) || e->fatal != RULES_ERROR_NONE)
    return;
  const struct rules_value *first = call->target != NULL ? call->target : &call->arguments[0];
  const struct rules_value *second = call->target != NULL ? call->arguments : call->arguments + 1;
  bool has_second = call->argument_count > (call->target != NULL ? 0U : 1U);
  *ret = rules_operand_error(e, call->node, first, has_second ? second : NULL);
}
