/* For tests: rules compiled from a text that must be right, and requests judged by them. */
#ifndef SKERRY_SERVER_RULES_FIXTURE_H
#define SKERRY_SERVER_RULES_FIXTURE_H

#include <stdio.h>

#include "server/rules/rules.h"
#include "storage/document/wire_build.h"

static struct arena fixture_arena;

/* What stands within `match /databases/{database}/documents`. */
static UNUSED_OK struct rules *fixture_rules(const char *body) {
  struct rules_problems problems;
  struct rules *rules = NULL;
  str source = arena_printf(
      &fixture_arena,
      "rules_version = '2';\nservice cloud.firestore {\nmatch /databases/{database}/documents {\n%s\n}\n}\n",
      body);
  status s = rules_compile(source, &fixture_arena, &problems, &rules);
  if (!status_is_ok(&s)) {
    fprintf(stderr, "%s\n" STR_FMT "\n", s.message, STR_ARG(source));
    abort();
  }
  return rules;
}

static UNUSED_OK struct rules_request fixture_request(enum rules_operation operation, const char *path) {
  return (struct rules_request){.operation = operation,
                                .project = STR("p"),
                                .database = STR("(default)"),
                                .path = str_from_cstr(path),
                                .time_us = 1700000000000000};
}

#endif
