#include "server/admin/front_status.h"

#include "server/listener/tls.h"
#include "server/timestamp.h"

static char *copy(struct arena *arena, const char *text) {
  str copied = arena_str_copy(arena, str_from_cstr(text));
  return copied.ptr == NULL ? (char *)(uintptr_t) "" : (char *)(uintptr_t)copied.ptr;
}

static void fill_offences(const struct pump_stats *stats, struct arena *arena,
                          Skerry__Admin__V1__FrontStatus *ret) {
  ret->offences = ARENA_NEW_ARRAY(arena, Skerry__Admin__V1__FrontStatus__Offence *, GUARD_OFFENCE_COUNT);
  for (int i = 0; ret->offences != NULL && i < GUARD_OFFENCE_COUNT; i++) {
    if (stats->offences[i] == 0)
      continue;
    Skerry__Admin__V1__FrontStatus__Offence *offence =
        ARENA_NEW(arena, Skerry__Admin__V1__FrontStatus__Offence);
    if (offence == NULL)
      return;
    skerry__admin__v1__front_status__offence__init(offence);
    offence->name = (char *)(uintptr_t)guard_offence_name((enum guard_offence)i);
    offence->connections = (int64_t)stats->offences[i];
    ret->offences[ret->n_offences++] = offence;
  }
}

static void fill_certificates(struct tls *tls, struct arena *arena, Skerry__Admin__V1__FrontStatus *ret) {
  struct tls_certificate_info info;
  ret->certificates = ARENA_NEW_ARRAY(arena, Skerry__Admin__V1__Certificate *, SETTINGS_LISTEN_MAX);
  for (size_t i = 0; ret->certificates != NULL && i < SETTINGS_LISTEN_MAX && tls_certificate(tls, i, &info);
       i++) {
    Skerry__Admin__V1__Certificate *certificate = ARENA_NEW(arena, Skerry__Admin__V1__Certificate);
    if (certificate == NULL)
      return;
    skerry__admin__v1__certificate__init(certificate);
    certificate->names = copy(arena, info.names);
    certificate->key_type = copy(arena, info.key_type);
    certificate->sha256 = copy(arena, info.sha256);
    certificate->not_before = timestamp_new(arena, info.not_before_s * 1000000);
    certificate->not_after = timestamp_new(arena, info.not_after_s * 1000000);
    ret->certificates[ret->n_certificates++] = certificate;
  }
}

Skerry__Admin__V1__FrontStatus *admin_front_status(const struct admin *admin, struct arena *arena) {
  Skerry__Admin__V1__FrontStatus *ret = ARENA_NEW(arena, Skerry__Admin__V1__FrontStatus);
  if (ret == NULL)
    return NULL;
  skerry__admin__v1__front_status__init(ret);
  struct front_stats stats;
  front_stats(admin->front, &stats);
  ret->accepted = (int64_t)stats.listener.accepted;
  ret->refused = (int64_t)stats.listener.refused;
  ret->waiting = (int64_t)(stats.listener.waiting + stats.pumps.waiting);
  ret->silent = (int64_t)stats.pumps.silent;
  ret->foreign = (int64_t)stats.pumps.foreign;
  ret->tls_handshakes = (int64_t)stats.pumps.handshakes;
  ret->tls_resumed = (int64_t)stats.pumps.resumed;
  ret->tls_failed = (int64_t)stats.pumps.handshakes_failed;
  struct rpc_server_stats calls;
  rpc_server_stats(admin->server, &calls);
  ret->calls_shed = (int64_t)calls.shed;
  ret->calls_turned_away = (int64_t)calls.turned_away;
  ret->overloaded = calls.is_shedding;
  ret->http_connections = (int64_t)stats.gateway.open;
  ret->http_requests = (int64_t)stats.gateway.requests;
  ret->http_refused = (int64_t)stats.gateway.refused;
  fill_offences(&stats.pumps, arena, ret);
  struct tls *tls = front_tls(admin->front);
  if (tls != NULL) {
    struct tls_stats reloads;
    tls_stats(tls, &reloads);
    ret->tls_reloads = (int64_t)reloads.reloads;
    ret->tls_reloads_failed = (int64_t)reloads.reloads_failed;
    fill_certificates(tls, arena, ret);
  }
  return ret;
}
