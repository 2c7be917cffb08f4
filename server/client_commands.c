/* Subcommands that ask a running server: status, get, list. */
#include <stdio.h>
#include <stdlib.h>

#include "google/firestore/v1/firestore.skerry.h"
#include "server/client.h"
#include "server/commands.h"
#include "server/print.h"
#include "skerry/admin/v1/admin.skerry.h"
#include "storage/document/codec.h"
#include "storage/document/path.h"

enum { LIST_PAGE = 300 };

/* The flags that these commands know, and at most one word. */
struct words {
  const char *target, *data, *word;
};

static bool read_words(const char *command, int argc, char **argv, struct words *ret) {
  const char *target = getenv("SKERRY_TARGET");
  *ret = (struct words){.target = target != NULL ? target : "127.0.0.1:8080", .data = client_default_data()};
  for (int i = 0; i < argc; i++) {
    if (client_take_flag("--target", argc, argv, &i, &ret->target) ||
        client_take_flag("--data", argc, argv, &i, &ret->data))
      continue;
    if (argv[i][0] == '-' || ret->word != NULL) {
      fprintf(stderr, "skerry %s: \"%s\" is not understood: see `skerry help`\n", command, argv[i]);
      return false;
    }
    ret->word = argv[i];
  }
  return true;
}

/* ---- status ---- */

static const char *serving_text(Skerry__Admin__V1__GetStatusResponse__ServingState state) {
  const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
      &skerry__admin__v1__get_status_response__serving_state__descriptor, (int)state);
  return value == NULL ? "unknown" : value->name;
}

static void print_front(const Skerry__Admin__V1__FrontStatus *front, struct buf *out) {
  buf_printf(out,
             "network   %lld connections accepted, %lld refused, %lld waiting; %lld silent, %lld foreign\n",
             (long long)front->accepted, (long long)front->refused, (long long)front->waiting,
             (long long)front->silent, (long long)front->foreign);
  buf_printf(out, "http      %lld connections of HTTP/1.1; %lld requests, %lld refused\n",
             (long long)front->http_connections, (long long)front->http_requests,
             (long long)front->http_refused);
  if (front->n_certificates > 0)
    buf_printf(out,
               "tls       %lld handshakes, %lld resumed, %lld failed; certificates reloaded %lld times\n",
               (long long)front->tls_handshakes, (long long)front->tls_resumed, (long long)front->tls_failed,
               (long long)front->tls_reloads);
  for (size_t i = 0; i < front->n_certificates; i++) {
    const Skerry__Admin__V1__Certificate *certificate = front->certificates[i];
    buf_printf(out, "          %s (%s) until ", certificate->names, certificate->key_type);
    print_time(out, certificate->not_after == NULL ? 0 : certificate->not_after->seconds * 1000000);
    buf_append_byte(out, '\n');
  }
  if (front->tls_reloads_failed > 0)
    buf_printf(out, "PROBLEM   certificates could not be read again %lld times: see the log\n",
               (long long)front->tls_reloads_failed);
  if (front->n_offences > 0)
    buf_append_str(out, STR("guard     connections ended:"));
  for (size_t i = 0; i < front->n_offences; i++)
    buf_printf(out, " %lld %s", (long long)front->offences[i]->connections, front->offences[i]->name);
  if (front->n_offences > 0)
    buf_append_byte(out, '\n');
  if (front->calls_shed > 0)
    buf_printf(out, "load      %lld calls refused for overload, %lld of them as they came%s\n",
               (long long)front->calls_shed, (long long)front->calls_turned_away,
               front->overloaded ? "; OVERLOADED NOW" : "");
}

static void print_issuer(const Skerry__Admin__V1__IssuerStatus *issuer, struct buf *out) {
  buf_printf(out, "issuer    %s: %lld keys", issuer->url, (long long)issuer->keys);
  if (issuer->fetch_time != NULL) {
    buf_append_str(out, STR(", fetched "));
    print_time(out, issuer->fetch_time->seconds * 1000000);
  }
  buf_append_byte(out, '\n');
  if (issuer->failures > 0)
    buf_printf(out, "%s   fetching them failed %lld times: %s\n", issuer->keys == 0 ? "PROBLEM" : "       ",
               (long long)issuer->failures, issuer->problem);
}

static void print_backups(const Skerry__Admin__V1__BackupStatus *backups, struct buf *out) {
  if (*backups->directory == '\0' && backups->last_success_time == NULL && *backups->phase == '\0' &&
      *backups->problem == '\0')
    return;
  buf_append_str(out, STR("backups   "));
  if (*backups->directory != '\0')
    buf_printf(out, "%s%s%s, ", backups->schedule, *backups->schedule == '\0' ? "" : " in ",
               backups->directory);
  if (backups->last_success_time == NULL) {
    buf_append_str(out, STR("none yet"));
  } else {
    buf_append_str(out, STR("the last at "));
    print_time(out, backups->last_success_time->seconds * 1000000);
  }
  buf_append_byte(out, '\n');
  if (*backups->phase != '\0')
    buf_printf(out, "          %s now: %lld of %lld MiB\n", backups->phase,
               (long long)backups->bytes_done >> 20, (long long)backups->bytes_total >> 20);
  if (backups->same_medium)
    buf_append_str(out, STR("          on the same medium as the data: no help when that fails\n"));
  if (*backups->problem != '\0')
    buf_printf(out, "PROBLEM   the last backup failed: %s\n", backups->problem);
}

static void print_accounts(const Skerry__Admin__V1__AccountsStatus *accounts, struct buf *out) {
  buf_append_str(out, STR("accounts  "));
  if (accounts->counted)
    buf_printf(out, "about %lld; ", (long long)accounts->accounts);
  buf_printf(out, "%lld sign-ins, %lld with wrong credentials, %lld refused for too many; %lld refreshes\n",
             (long long)accounts->sign_ins, (long long)accounts->sign_ins_wrong,
             (long long)accounts->sign_ins_limited, (long long)accounts->refreshes);
  if (accounts->passwords_waiting > 0)
    buf_printf(out, "          %lld passwords wait to be checked\n", (long long)accounts->passwords_waiting);
  if (accounts->refresh_tokens_reused > 0)
    buf_printf(out, "          %lld sessions ended: their refresh token was used again after it was spent\n",
               (long long)accounts->refresh_tokens_reused);
  if (accounts->mails_waiting > 0 || accounts->mails_sent > 0 || accounts->mails_failed > 0)
    buf_printf(out, "mails     %lld wait, %lld sent, %lld refused or too old\n",
               (long long)accounts->mails_waiting, (long long)accounts->mails_sent,
               (long long)accounts->mails_failed);
}

static void print_status(const Skerry__Admin__V1__GetStatusResponse *s) {
  struct buf out = {0};
  buf_printf(&out, "skerry %s   %s%s, up %lld s, %lld connections, %lld transactions\n", s->version,
             serving_text(s->serving_state), s->development_mode ? " (development mode)" : "",
             (long long)s->uptime_seconds, (long long)s->connections_open, (long long)s->transactions_open);
  buf_printf(&out, "live      %lld calls under way; %lld listen streams with %lld targets\n",
             (long long)s->calls_open, (long long)s->listen_streams, (long long)s->listen_targets);
  for (size_t i = 0; i < s->n_listen_addresses; i++)
    buf_printf(&out, "listens   %s\n", s->listen_addresses[i]);
  for (size_t i = 0; i < s->n_project_ids; i++)
    buf_printf(&out, "project   %s\n", s->project_ids[i]);
  if (s->memory != NULL) {
    buf_printf(&out, "memory    %lld MiB resident, limit %lld MiB, profile %s\n",
               (long long)s->memory->resident_bytes >> 20, (long long)s->memory->limit_bytes >> 20,
               s->memory->profile);
    if (s->memory->caches_sixteenths < 16)
      buf_printf(
          &out,
          "PROBLEM   memory is short around the server (%lld of %lld MiB used): caches shrunk to %d/16\n",
          (long long)s->memory->surroundings_used_bytes >> 20,
          (long long)s->memory->surroundings_limit_bytes >> 20, (int)s->memory->caches_sixteenths);
  }
  if (s->clock != NULL)
    buf_printf(&out, "clock     %s (%s)\n", s->clock->trusted ? "trusted" : "NOT TRUSTED", s->clock->source);
  const Skerry__Admin__V1__StoreStatus *store = s->store;
  if (store != NULL) {
    /* Not the keys: after a start the engine's estimate begins anew. */
    buf_printf(&out, "store     %s, format %d, %.1f MiB; disk %lld of %lld MiB free\n", store->data_dir,
               store->format_number, (double)store->data_bytes / (1 << 20),
               (long long)store->disk_free_bytes >> 20, (long long)store->disk_total_bytes >> 20);
    buf_printf(&out, "          cache %lld KiB, write buffers %lld KiB, %lld commits in %lld syncs\n",
               (long long)store->cache_bytes >> 10, (long long)store->memtable_bytes >> 10,
               (long long)store->commits, (long long)store->syncs);
    buf_append_str(&out, STR("newest    "));
    print_time(&out, store->last_version_us);
    buf_append_byte(&out, '\n');
    if (store->health_message[0] != '\0')
      buf_printf(&out, "PROBLEM   %s\n", store->health_message);
  }
  const Skerry__Admin__V1__IndexWork *indexes = s->indexes;
  if (indexes != NULL) {
    buf_printf(&out, "indexes   %lld ready, %lld building, %lld dropping", (long long)indexes->ready,
               (long long)indexes->building, (long long)indexes->dropping);
    if (indexes->building > 0)
      buf_printf(&out, " (%lld of about %lld documents done)", (long long)indexes->documents_built,
                 (long long)indexes->documents_to_build);
    buf_append_byte(&out, '\n');
  }
  if (s->backups != NULL)
    print_backups(s->backups, &out);
  if (s->front != NULL)
    print_front(s->front, &out);
  if (s->accounts != NULL)
    print_accounts(s->accounts, &out);
  for (size_t i = 0; i < s->n_issuers; i++)
    print_issuer(s->issuers[i], &out);
  if (s->n_methods > 0)
    buf_printf(&out, "\n%-58s %10s %8s %8s %8s\n", "method", "ok", "failed", "p50 us", "p99 us");
  for (size_t i = 0; i < s->n_methods; i++)
    buf_printf(&out, "%-58s %10lld %8lld %8lld %8lld\n", s->methods[i]->path,
               (long long)s->methods[i]->finished_ok, (long long)s->methods[i]->finished_failed,
               (long long)s->methods[i]->latency_p50_us, (long long)s->methods[i]->latency_p99_us);
  client_print(&out);
}

int command_status(int argc, char **argv) {
  struct words words;
  if (!read_words("status", argc, argv, &words))
    return 2;
  struct rpc_client *client;
  if (!client_open_admin("status", words.data, &client))
    return 1;
  struct arena arena;
  arena_init(&arena, NULL, 0, CLIENT_RESPONSE_BYTES_MAX);
  Skerry__Admin__V1__GetStatusRequest request = SKERRY__ADMIN__V1__GET_STATUS_REQUEST__INIT;
  const Skerry__Admin__V1__GetStatusResponse *response;
  struct rpc_client_options options = {.timeout_us = 5000000};
  status result = skerry_admin_v1_admin_get_status_call(client, &options, &request, &arena, &response);
  if (status_is_ok(&result))
    print_status(response);
  arena_fini(&arena);
  rpc_client_close(client);
  return status_is_ok(&result) ? 0 : client_failed("status", &result);
}

/* ---- get and list ---- */

/* "rooms/a" may stand for a full name in the default database of the project `skerry`. */
static char *full_name(const char *word) {
  static const char root[] = "projects/skerry/databases/(default)/documents";
  struct buf name = {0};
  if (strncmp(word, "projects/", 9) != 0)
    buf_printf(&name, *word == '\0' ? "%s" : "%s/", root);
  buf_append(&name, word, strlen(word) + 1);
  if (name.failed)
    abort(); /* no memory for one line of text: nothing sensible is left to do */
  return (char *)name.data;
}

static status print_document(str wire) {
  struct arena arena;
  arena_init(&arena, NULL, 0, CLIENT_RESPONSE_BYTES_MAX);
  struct doc_document document;
  status result = doc_decode_document(wire, &arena, &document);
  if (status_is_ok(&result)) {
    struct buf out = {0};
    print_text(&out, document.name);
    buf_append_str(&out, STR(": "));
    print_fields(&out, document.fields, 0);
    buf_append_byte(&out, '\n');
    client_print(&out);
  }
  arena_fini(&arena);
  return result;
}

static status get_document(struct rpc_client *client, char *name, struct arena *arena) {
  Google__Firestore__V1__GetDocumentRequest request = GOOGLE__FIRESTORE__V1__GET_DOCUMENT_REQUEST__INIT;
  request.name = name;
  const str *response;
  STATUS_TRY(google_firestore_v1_firestore_get_document_call(client, NULL, &request, arena, &response));
  return print_document(*response);
}

static status list_documents(struct rpc_client *client, char *parent, char *collection, struct arena *arena) {
  Google__Firestore__V1__ListDocumentsRequest request = GOOGLE__FIRESTORE__V1__LIST_DOCUMENTS_REQUEST__INIT;
  request.parent = parent;
  request.collection_id = collection;
  request.page_size = LIST_PAGE;
  char *token = strdup("");
  size_t found = 0;
  status result = status_ok();
  while (token != NULL && status_is_ok(&result)) {
    const Google__Firestore__V1__ListDocumentsResponse *response;
    request.page_token = token;
    result = google_firestore_v1_firestore_list_documents_call(client, NULL, &request, arena, &response);
    if (!status_is_ok(&result))
      break;
    found += response->n_documents;
    for (size_t i = 0; i < response->n_documents && status_is_ok(&result); i++)
      result = print_document(str_make(response->documents[i].data, response->documents[i].len));
    free(token);
    token = *response->next_page_token == '\0' ? NULL : strdup(response->next_page_token);
    arena_reset(arena);
  }
  free(token);
  if (found == 0 && status_is_ok(&result))
    fprintf(stderr, "There are no documents in %s/%s.\n", parent, collection);
  return result;
}

static status list_collections(struct rpc_client *client, char *parent, struct arena *arena) {
  Google__Firestore__V1__ListCollectionIdsRequest request =
      GOOGLE__FIRESTORE__V1__LIST_COLLECTION_IDS_REQUEST__INIT;
  request.parent = parent;
  char *token = strdup("");
  size_t found = 0;
  status result = status_ok();
  while (token != NULL && status_is_ok(&result)) {
    const Google__Firestore__V1__ListCollectionIdsResponse *response;
    request.page_token = token;
    result = google_firestore_v1_firestore_list_collection_ids_call(client, NULL, &request, arena, &response);
    if (!status_is_ok(&result))
      break;
    found += response->n_collection_ids;
    for (size_t i = 0; i < response->n_collection_ids; i++)
      puts(response->collection_ids[i]);
    free(token);
    token = *response->next_page_token == '\0' ? NULL : strdup(response->next_page_token);
    arena_reset(arena);
  }
  free(token);
  if (found == 0 && status_is_ok(&result))
    fprintf(stderr, "There are no collections below %s.\n", parent);
  return result;
}

static status list_below(struct rpc_client *client, char *name, struct arena *arena) {
  struct doc_path path;
  STATUS_TRY(doc_path_parse(str_from_cstr(name), &path));
  if (!doc_path_is_collection(&path))
    return list_collections(client, name, arena);
  char *last = strrchr(name, '/');
  *last = '\0'; /* parent and collection */
  return list_documents(client, name, last + 1, arena);
}

static int look(const char *command, int argc, char **argv, bool list) {
  struct words words;
  if (!read_words(command, argc, argv, &words))
    return 2;
  if (words.word == NULL && !list) {
    fprintf(stderr,
            "skerry get: name a document, such as projects/demo/databases/(default)/documents/rooms/a\n");
    return 2;
  }
  struct rpc_client *client;
  status result = rpc_client_open(words.target, false, &client);
  if (!status_is_ok(&result))
    return client_failed(command, &result);
  struct arena arena;
  arena_init(&arena, NULL, 0, CLIENT_RESPONSE_BYTES_MAX);
  char *name = full_name(words.word == NULL ? "" : words.word);
  result = list ? list_below(client, name, &arena) : get_document(client, name, &arena);
  free(name);
  arena_fini(&arena);
  rpc_client_close(client);
  return status_is_ok(&result) ? 0 : client_failed(command, &result);
}

int command_get(int argc, char **argv) {
  return look("get", argc, argv, false);
}
int command_list(int argc, char **argv) {
  return look("list", argc, argv, true);
}
