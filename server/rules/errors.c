/* What errors of an evaluation say. The texts follow the emulator's, which developers know. */
#include "server/rules/builtin.h"
#include "server/rules/evaluation.h"

static const char *operator_text(enum rules_node_kind kind) {
  static const char *const texts[] = {
      [NODE_NOT] = "!",
      [NODE_NEGATE] = "-",
      [NODE_IN] = "in",
      [NODE_EQUAL] = "==",
      [NODE_NOT_EQUAL] = "!=",
      [NODE_LESS] = "<",
      [NODE_LESS_OR_EQUAL] = "<=",
      [NODE_GREATER] = ">",
      [NODE_GREATER_OR_EQUAL] = ">=",
      [NODE_ADD] = "+",
      [NODE_SUBTRACT] = "-",
      [NODE_MULTIPLY] = "*",
      [NODE_DIVIDE] = "/",
      [NODE_MODULO] = "%",
      [NODE_INDEX] = "[]",
      [NODE_SLICE] = "[:]",
      [NODE_MAP] = "map",
      [NODE_PATH] = "path",
  };
  return (size_t)kind < sizeof texts / sizeof *texts && texts[kind] != NULL ? texts[kind] : "?";
}

static str operand_text(struct rules_evaluation *e, const struct rules_value *error) {
  const struct rules_node *at = error->as.where.at;
  const char *left = rules_kind_name((enum rules_kind)error->as.where.left);
  const char *right =
      error->as.where.right == UINT16_MAX ? NULL : rules_kind_name((enum rules_kind)error->as.where.right);
  if (at == NULL)
    return STR("Unsupported operation error.");
  if (at->kind == NODE_METHOD)
    return arena_printf(e->arena, "Unsupported operation error. Received: %s." STR_FMT "(%s).", left,
                        STR_ARG(at->text), right == NULL ? "" : right);
  if (at->kind == NODE_BUILTIN)
    return arena_printf(e->arena, "Unsupported operation error. Received: " STR_FMT "(%s%s%s).",
                        STR_ARG(at->text), left, right == NULL ? "" : ", ", right == NULL ? "" : right);
  if (right == NULL)
    return arena_printf(e->arena, "Unsupported operation error. Received: %s %s.",
                        operator_text((enum rules_node_kind)at->kind), left);
  return arena_printf(e->arena, "Unsupported operation error. Received: %s %s %s.", left,
                      operator_text((enum rules_node_kind)at->kind), right);
}

static const char *plain_text(enum rules_error error) {
  switch (error) {
  case RULES_ERROR_NULL:
    return "Null value error: it has no members.";
  case RULES_ERROR_INDEX:
    return "Index out of bound error.";
  case RULES_ERROR_RANGE:
    return "Illegal range error.";
  case RULES_ERROR_DIVISION:
    return "Divide by zero error.";
  case RULES_ERROR_OVERFLOW:
    return "Integer value is out of the [-9223372036854775808, 9223372036854775807] range.";
  case RULES_ERROR_CONVERSION:
    return "Type conversion error.";
  case RULES_ERROR_ARGUMENTS:
    return "Incorrect number of arguments.";
  case RULES_ERROR_TIME:
    return "Date, duration or unit is not valid.";
  case RULES_ERROR_POINT:
    return "Latitude should be in [-90,90] range and longitude should be in [-180,180] range.";
  case RULES_ERROR_PATTERN:
    return "Invalid regular expression pattern.";
  case RULES_ERROR_PATTERN_LIMIT:
    return "The regular expression takes too many steps on this text.";
  case RULES_ERROR_PATH:
    return "This is not the path of a document in this database.";
  case RULES_ERROR_BIND:
    return "Variables of bind() and of the path do not agree.";
  case RULES_ERROR_MISSING:
    return "get() of a document that does not exist.";
  case RULES_ERROR_READS:
    return "More documents are read than one request may.";
  case RULES_ERROR_NO_READER:
    return "Documents cannot be read here.";
  case RULES_ERROR_EVALUATIONS:
    return "Maximum of 1000 expressions to evaluate has been reached.";
  case RULES_ERROR_DEPTH:
    return "Expression is too complex to evaluate safely.";
  case RULES_ERROR_WORK:
    return "This takes too much work: the data are too large for it.";
  case RULES_ERROR_DAMAGED:
    return "A stored document or the token is damaged.";
  case RULES_ERROR_MEMORY:
    return "The request's memory does not suffice.";
  case RULES_ERROR_READ_FAILED:
    return "A document could not be read.";
  case RULES_ERROR_READ_LATER:
    return "A document cannot be read yet.";
  case RULES_ERROR_NONE:
  case RULES_ERROR_PROPERTY:
  case RULES_ERROR_TYPE:
  case RULES_ERROR_OPERANDS:
  case RULES_ERROR_NAME:
    break;
  }
  return "Error.";
}

str rules_error_text(struct rules_evaluation *e, const struct rules_value *value) {
  enum rules_error error = (enum rules_error)value->error;
  const struct rules_node *at = value->as.where.at;
  switch ((unsigned)error) {
  case RULES_ERROR_PROPERTY:
    if (at != NULL && at->kind == NODE_MEMBER)
      return arena_printf(e->arena, "Property " STR_FMT " is undefined on object.", STR_ARG(at->text));
    return STR("Property is undefined on object.");
  case RULES_ERROR_TYPE:
    return arena_printf(e->arena, "Type error. Received: [%s] Expected: [bool].",
                        rules_kind_name((enum rules_kind)value->as.where.left));
  case RULES_ERROR_NAME:
    return arena_printf(e->arena, "%s not found error: Name: [" STR_FMT "].",
                        at->kind == NODE_NAME ? "Variable" : "Function", STR_ARG(at->text));
  case RULES_ERROR_OPERANDS:
    return operand_text(e, value);
  default:
    return str_from_cstr(plain_text(error));
  }
}
