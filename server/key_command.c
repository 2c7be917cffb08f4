/* `skerry key create NAME ... | list | revoke ID`: the keys of service accounts of a running server. The
 * private half of a key is made here and printed, and never goes to the server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto_key.h"
#include "server/client.h"
#include "server/commands.h"
#include "server/print.h"
#include "server/tokens/identity.h"
#include "skerry/admin/v1/admin.skerry.h"

enum { DAY_S = 86400, DAYS_MAX = 36500 / 2 };

static const struct rpc_client_options call_options = {.timeout_us = 30000000};

struct key_words {
  const char *data, *verb, *word; /* NAME or ID */
  const char *project, *role, *expires;
};

static bool read_words(int argc, char **argv, struct key_words *ret) {
  *ret = (struct key_words){.data = client_default_data()};
  for (int i = 0; i < argc; i++) {
    if (client_take_flag("--data", argc, argv, &i, &ret->data) ||
        client_take_flag("--project", argc, argv, &i, &ret->project) ||
        client_take_flag("--role", argc, argv, &i, &ret->role) ||
        client_take_flag("--expires", argc, argv, &i, &ret->expires))
      continue;
    if (argv[i][0] == '-' || ret->word != NULL)
      return false;
    if (ret->verb == NULL)
      ret->verb = argv[i];
    else
      ret->word = argv[i];
  }
  if (ret->verb == NULL)
    return false;
  bool creates = strcmp(ret->verb, "create") == 0;
  if (!creates && (ret->project != NULL || ret->role != NULL || ret->expires != NULL))
    return false;
  return strcmp(ret->verb, "list") == 0 ? ret->word == NULL
                                        : (creates || strcmp(ret->verb, "revoke") == 0) && ret->word != NULL;
}

/* ---- create ---- */

static status read_options(const struct key_words *words,
                           Skerry__Admin__V1__CreateServiceAccountKeyRequest *request) {
  enum identity_role role;
  uint64_t days;
  request->account_name = (char *)(uintptr_t)words->word;
  if (words->project != NULL)
    request->project_id = (char *)(uintptr_t)words->project;
  if (words->role != NULL) {
    if (!identity_role_parse(str_from_cstr(words->role), &role))
      return status_make(STATUS_INVALID_ARGUMENT, "\"%s\" is no role: viewer, editor or owner", words->role);
    request->role = (Skerry__Admin__V1__ServiceAccountKey__Role)role;
  }
  if (words->expires != NULL) {
    if (!str_to_u64(str_from_cstr(words->expires), &days) || days == 0 || days > DAYS_MAX)
      return status_make(STATUS_INVALID_ARGUMENT, "\"%s\" is no number of days from 1 to %d", words->expires,
                         DAYS_MAX);
    request->lifetime_seconds = (int64_t)days * DAY_S;
  }
  return status_ok();
}

/* What can be in a PEM text, an address and an id needs no other escapes. */
static void append_json_text(struct buf *out, const char *name, str value, bool last) {
  buf_printf(out, "  \"%s\": \"", name);
  for (size_t i = 0; i < value.len; i++) {
    if (value.ptr[i] == '\n')
      buf_append_str(out, STR("\\n"));
    else
      buf_append_byte(out, (uint8_t)value.ptr[i]);
  }
  buf_append_str(out, last ? STR("\"\n") : STR("\",\n"));
}

/* Google has a number here. Nothing uses it. */
static uint64_t client_id_of(const char *key_id) {
  char digits[17] = "";
  memcpy(digits, key_id, strnlen(key_id, 16));
  return strtoull(digits, NULL, 16);
}

/* As the console of Google Cloud gives it. The URLs are what libraries expect to find; none is asked for
 * tokens that the account signs itself. */
static void append_key_file(struct buf *out, const Skerry__Admin__V1__ServiceAccountKey *key,
                            str private_pem) {
  char client_id[32];
  snprintf(client_id, sizeof client_id, "%llu", (unsigned long long)client_id_of(key->key_id));
  buf_append_str(out, STR("{\n"));
  append_json_text(out, "type", STR("service_account"), false);
  append_json_text(out, "project_id", str_from_cstr(key->project_id), false);
  append_json_text(out, "private_key_id", str_from_cstr(key->key_id), false);
  append_json_text(out, "private_key", private_pem, false);
  append_json_text(out, "client_email", str_from_cstr(key->client_email), false);
  append_json_text(out, "client_id", str_from_cstr(client_id), false);
  append_json_text(out, "auth_uri", STR("https://accounts.google.com/o/oauth2/auth"), false);
  append_json_text(out, "token_uri", STR("https://oauth2.googleapis.com/token"), false);
  append_json_text(out, "auth_provider_x509_cert_url", STR("https://www.googleapis.com/oauth2/v1/certs"),
                   false);
  append_json_text(out, "universe_domain", STR("googleapis.com"), true);
  buf_append_str(out, STR("}\n"));
}

static void revoke_again(struct rpc_client *client, const char *key_id, struct arena *arena) {
  Skerry__Admin__V1__RevokeServiceAccountKeyRequest request =
      SKERRY__ADMIN__V1__REVOKE_SERVICE_ACCOUNT_KEY_REQUEST__INIT;
  const Skerry__Admin__V1__RevokeServiceAccountKeyResponse *response;
  request.key_id = (char *)(uintptr_t)key_id;
  status result = skerry_admin_v1_admin_revoke_service_account_key_call(client, &call_options, &request,
                                                                        arena, &response);
  if (!status_is_ok(&result))
    fprintf(stderr, "skerry key: the key %s is of no use to anybody and could not be taken back: %s\n",
            key_id, result.message);
}

static status print_key_file(const Skerry__Admin__V1__ServiceAccountKey *key, str private_pem) {
  struct buf out = {0};
  append_key_file(&out, key, private_pem);
  bool written = !out.failed && fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
  if (out.data != NULL)
    explicit_bzero(out.data, out.len);
  buf_fini(&out);
  return written ? status_ok() : status_make(STATUS_UNAVAILABLE, "the key could not be written");
}

static status register_key(struct rpc_client *client,
                           Skerry__Admin__V1__CreateServiceAccountKeyRequest *request,
                           const struct crypto_key *key, struct arena *arena,
                           const Skerry__Admin__V1__ServiceAccountKey **ret) {
  struct buf public_pem = {0};
  const Skerry__Admin__V1__CreateServiceAccountKeyResponse *response;
  status result = crypto_key_append_public_pem(key, &public_pem);
  buf_append_byte(&public_pem, '\0');
  if (status_is_ok(&result) && public_pem.failed)
    result = status_default(STATUS_RESOURCE_EXHAUSTED);
  if (status_is_ok(&result)) {
    request->public_key_pem = (char *)public_pem.data;
    result = skerry_admin_v1_admin_create_service_account_key_call(client, &call_options, request, arena,
                                                                   &response);
  }
  buf_fini(&public_pem);
  if (status_is_ok(&result) && response->key == NULL)
    result = status_make(STATUS_INTERNAL, "the server's answer holds no key");
  if (status_is_ok(&result))
    *ret = response->key;
  return result;
}

static status create(struct rpc_client *client, const struct key_words *words, struct arena *arena) {
  Skerry__Admin__V1__CreateServiceAccountKeyRequest request =
      SKERRY__ADMIN__V1__CREATE_SERVICE_ACCOUNT_KEY_REQUEST__INIT;
  const Skerry__Admin__V1__ServiceAccountKey *registered;
  struct crypto_key *key;
  struct buf private_pem = {0};
  STATUS_TRY(read_options(words, &request));
  STATUS_TRY(crypto_key_make(CRYPTO_RS256, &key));
  status result = crypto_key_append_private_pem(key, &private_pem);
  if (status_is_ok(&result))
    result = register_key(client, &request, key, arena, &registered);
  if (status_is_ok(&result)) {
    result = print_key_file(registered, buf_str(&private_pem));
    if (!status_is_ok(&result))
      revoke_again(client, registered->key_id, arena);
    else
      fprintf(stderr,
              "The key %s of %s. Whoever has the file can do what the account may: keep it to yourself.\n",
              registered->key_id, registered->client_email);
  }
  if (private_pem.data != NULL)
    explicit_bzero(private_pem.data, private_pem.len);
  buf_fini(&private_pem);
  crypto_key_free(key);
  return result;
}

/* ---- list and revoke ---- */

static status list(struct rpc_client *client, struct arena *arena) {
  Skerry__Admin__V1__ListServiceAccountKeysRequest request =
      SKERRY__ADMIN__V1__LIST_SERVICE_ACCOUNT_KEYS_REQUEST__INIT;
  const Skerry__Admin__V1__ListServiceAccountKeysResponse *response;
  struct buf out = {0};
  STATUS_TRY(skerry_admin_v1_admin_list_service_account_keys_call(client, &call_options, &request, arena,
                                                                  &response));
  for (size_t i = 0; i < response->n_keys; i++) {
    const Skerry__Admin__V1__ServiceAccountKey *key = response->keys[i];
    bool known = (int)key->role >= 0 && (int)key->role < IDENTITY_ROLES;
    buf_printf(&out, "%s  %-6s  %s  ", key->key_id,
               known ? identity_role_name((enum identity_role)key->role) : "?", key->client_email);
    if (key->expire_time == NULL)
      buf_append_str(&out, STR("does not expire"));
    else
      print_time(&out, key->expire_time->seconds * 1000000);
    buf_append_byte(&out, '\n');
  }
  if (response->n_keys == 0)
    fputs("There are no keys. `skerry key create NAME > FILE` makes one.\n", stderr);
  client_print(&out);
  return status_ok();
}

static status revoke(struct rpc_client *client, const char *key_id, struct arena *arena) {
  Skerry__Admin__V1__RevokeServiceAccountKeyRequest request =
      SKERRY__ADMIN__V1__REVOKE_SERVICE_ACCOUNT_KEY_REQUEST__INIT;
  const Skerry__Admin__V1__RevokeServiceAccountKeyResponse *response;
  request.key_id = (char *)(uintptr_t)key_id;
  STATUS_TRY(skerry_admin_v1_admin_revoke_service_account_key_call(client, &call_options, &request, arena,
                                                                   &response));
  puts("Revoked.");
  return status_ok();
}

int command_key(int argc, char **argv) {
  struct key_words words;
  if (!read_words(argc, argv, &words)) {
    fputs("skerry key: say one of\n"
          "  skerry key create NAME [--project P] [--role viewer|editor|owner] [--expires DAYS] > FILE\n"
          "                          a key of the service account NAME, in the format of Google's key files\n"
          "  skerry key list         whose keys there are, what they may do, and until when\n"
          "  skerry key revoke ID    takes one away, at once\n"
          "each with --data DIR, if the server's data is not in ./data\n",
          stderr);
    return 2;
  }
  struct rpc_client *client;
  if (!client_open_admin("key", words.data, &client))
    return 1;
  struct arena arena;
  arena_init(&arena, NULL, 0, CLIENT_RESPONSE_BYTES_MAX);
  status result = strcmp(words.verb, "create") == 0 ? create(client, &words, &arena)
                  : strcmp(words.verb, "list") == 0 ? list(client, &arena)
                                                    : revoke(client, words.word, &arena);
  arena_fini(&arena);
  rpc_client_close(client);
  return status_is_ok(&result) ? 0 : client_failed("key", &result);
}
