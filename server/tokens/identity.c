#include "server/tokens/identity.h"

#include <assert.h>
#include <stdlib.h>

static const char *const role_names[IDENTITY_ROLES] = {"none", "viewer", "editor", "owner"};

const char *identity_role_name(enum identity_role role) {
  assert((unsigned)role < IDENTITY_ROLES);
  return role_names[role];
}

bool identity_role_parse(str name, enum identity_role *ret) {
  for (unsigned i = IDENTITY_ROLE_VIEWER; i < IDENTITY_ROLES; i++) {
    if (!str_eq(name, str_from_cstr(role_names[i])))
      continue;
    *ret = (enum identity_role)i;
    return true;
  }
  return false;
}

size_t identity_size(const struct identity *identity) {
  return sizeof *identity + identity->uid.len + identity->issuer.len + identity->project.len +
         identity->claims.len;
}

/* Copies to *at and moves it on. */
static str put(char **at, str bytes) {
  if (bytes.len > 0)
    memcpy(*at, bytes.ptr, bytes.len);
  str copy = str_make(*at, bytes.len);
  *at += bytes.len;
  return copy;
}

struct identity *identity_new(const struct identity *facts) {
  struct identity *identity = malloc(identity_size(facts));
  if (identity == NULL)
    return NULL;
  char *at = (char *)(identity + 1);
  identity->kind = facts->kind;
  identity->role = facts->role;
  identity->uid = put(&at, facts->uid);
  identity->issuer = put(&at, facts->issuer);
  identity->project = put(&at, facts->project);
  identity->claims = put(&at, facts->claims);
  identity->expires_us = facts->expires_us;
  identity->generation = facts->generation;
  identity->generation_slot = facts->generation_slot;
  atomic_init(&identity->references, 1);
  return identity;
}

struct identity *identity_ref(struct identity *identity) {
  atomic_fetch_add_explicit(&identity->references, 1, memory_order_relaxed);
  return identity;
}

void identity_unref(struct identity *identity) {
  if (identity != NULL && atomic_fetch_sub_explicit(&identity->references, 1, memory_order_acq_rel) == 1)
    free(identity);
}
