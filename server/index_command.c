/* `skerry index apply FILE | list [--json] | suggest`: the index definitions of a running server. */
#include <stdio.h>
#include <string.h>

#include "server/client.h"
#include "server/commands.h"
#include "server/index_file.h"
#include "skerry/admin/v1/admin.skerry.h"

static const struct rpc_client_options call_options = {.timeout_us = 30000000};

struct index_words {
  const char *data, *verb, *file;
  bool json;
};

static bool read_words(int argc, char **argv, struct index_words *ret) {
  *ret = (struct index_words){.data = client_default_data()};
  for (int i = 0; i < argc; i++) {
    const char *word = argv[i];
    if (client_take_flag("--data", argc, argv, &i, &ret->data))
      continue;
    if (strcmp(word, "--json") == 0 && !ret->json)
      ret->json = true;
    else if (word[0] == '-' && word[1] != '\0')
      return false;
    else if (ret->verb == NULL)
      ret->verb = word;
    else if (ret->file == NULL && strcmp(ret->verb, "apply") == 0)
      ret->file = word;
    else
      return false;
  }
  if (ret->verb == NULL || (ret->json && strcmp(ret->verb, "list") != 0))
    return false;
  return strcmp(ret->verb, "list") == 0 || strcmp(ret->verb, "suggest") == 0 || ret->file != NULL;
}

/* ---- list ---- */

static const char *progress_text(Skerry__Admin__V1__IndexStatus__Progress progress) {
  switch (progress) {
  case SKERRY__ADMIN__V1__INDEX_STATUS__PROGRESS__READY:
    return "ready";
  case SKERRY__ADMIN__V1__INDEX_STATUS__PROGRESS__BUILDING:
    return "building";
  case SKERRY__ADMIN__V1__INDEX_STATUS__PROGRESS__WAITING:
    return "waiting";
  case SKERRY__ADMIN__V1__INDEX_STATUS__PROGRESS__DROPPING:
    return "dropping";
  case SKERRY__ADMIN__V1__INDEX_STATUS__PROGRESS__PROGRESS_UNSPECIFIED:
  case _SKERRY__ADMIN__V1__INDEX_STATUS__PROGRESS_IS_INT_SIZE:
    break;
  }
  return "unknown";
}

static status list(struct rpc_client *client, const struct index_words *words, struct arena *arena) {
  Skerry__Admin__V1__ListIndexesRequest request = SKERRY__ADMIN__V1__LIST_INDEXES_REQUEST__INIT;
  const Skerry__Admin__V1__ListIndexesResponse *response;
  STATUS_TRY(skerry_admin_v1_admin_list_indexes_call(client, &call_options, &request, arena, &response));
  if (words->json) {
    fputs(response->definitions_json, stdout);
    return status_ok();
  }
  struct buf out = {0};
  for (size_t i = 0; i < response->n_indexes; i++) {
    buf_printf(&out, "%-9s ", progress_text(response->indexes[i]->progress));
    buf_append_str(&out, str_from_cstr(response->indexes[i]->description));
    buf_append_byte(&out, '\n');
  }
  const Skerry__Admin__V1__IndexWork *work = response->work;
  if (work != NULL && work->building > 0)
    buf_printf(&out, "\n%lld of about %lld documents are done.\n", (long long)work->documents_built,
               (long long)work->documents_to_build);
  client_print(&out);
  return status_ok();
}

/* ---- apply ---- */

static status apply(struct rpc_client *client, const struct index_words *words, struct arena *arena) {
  struct buf text = {0};
  Skerry__Admin__V1__ApplyIndexesRequest request = SKERRY__ADMIN__V1__APPLY_INDEXES_REQUEST__INIT;
  const Skerry__Admin__V1__ApplyIndexesResponse *response;
  status s = index_file_read(words->file, &text);
  buf_append_byte(&text, 0);
  if (status_is_ok(&s) && text.failed)
    s = status_default(STATUS_RESOURCE_EXHAUSTED);
  if (status_is_ok(&s) && strlen((char *)text.data) + 1 != text.len)
    s = status_make(STATUS_INVALID_ARGUMENT, "%s holds a NUL byte: it is no JSON", words->file);
  if (status_is_ok(&s)) {
    request.definitions_json = (char *)text.data;
    s = skerry_admin_v1_admin_apply_indexes_call(client, &call_options, &request, arena, &response);
  }
  buf_fini(&text);
  STATUS_TRY(s);
  puts("Applied. What is new is built in the background: see `skerry index list`.");
  if (response->overridden_at_start)
    puts("The server's setting `indexes` names a file, which will replace this at the next start.");
  return s;
}

/* ---- suggest ---- */

/* What goes into a file stands on standard output, what is for people on standard error. */
static status suggest(struct rpc_client *client, struct arena *arena) {
  Skerry__Admin__V1__SuggestIndexesRequest request = SKERRY__ADMIN__V1__SUGGEST_INDEXES_REQUEST__INIT;
  const Skerry__Admin__V1__SuggestIndexesResponse *response;
  STATUS_TRY(skerry_admin_v1_admin_suggest_indexes_call(client, &call_options, &request, arena, &response));
  if (response->n_suggestions == 0) {
    fputs("No query has missed a composite index since the server started.\n", stderr);
    return status_ok();
  }
  for (size_t i = 0; i < response->n_suggestions; i++) {
    const Skerry__Admin__V1__IndexSuggestion *one = response->suggestions[i];
    long long queries = one->queries > 0 ? (long long)one->queries : 1;
    fprintf(stderr, "wanted by %lld quer%s, %.1f ms each: %s\n", queries, queries == 1 ? "y" : "ies",
            (double)one->duration_us / 1000 / (double)queries, one->index_json);
  }
  fputs("All of them and what is defined, for `skerry index apply -`:\n", stderr);
  fputs(response->definitions_json, stdout);
  return status_ok();
}

int command_index(int argc, char **argv) {
  struct index_words words;
  if (!read_words(argc, argv, &words)) {
    fputs("skerry index: say one of\n"
          "  skerry index apply FILE      make the definitions those of a firestore.indexes.json (- reads "
          "standard "
          "input)\n"
          "  skerry index list [--json]   what is defined and how far it is; or the definitions as a file\n"
          "  skerry index suggest         the composite indexes that queries have missed\n"
          "each with --data DIR, if the server's data is not in ./data\n",
          stderr);
    return 2;
  }
  struct rpc_client *client;
  if (!client_open_admin("index", words.data, &client))
    return 1;
  struct arena arena;
  arena_init(&arena, NULL, 0, CLIENT_RESPONSE_BYTES_MAX);
  status s = strcmp(words.verb, "list") == 0    ? list(client, &words, &arena)
             : strcmp(words.verb, "apply") == 0 ? apply(client, &words, &arena)
                                                : suggest(client, &arena);
  arena_fini(&arena);
  rpc_client_close(client);
  return status_is_ok(&s) ? 0 : client_failed("index", &s);
}
