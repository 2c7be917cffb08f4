#include "server/admin/accounts.h"

#include <inttypes.h>
#include <stdio.h>

#include "server/admin/metrics_text.h"
#include "server/identity/service.h"

/* Also those that have not happened yet: Prometheus sees a first one only as a change from 0. */
static void put_calls(const struct identity_info *info, const char *name, const char *label,
                      enum identity_way way, struct buf *out) {
  for (unsigned result = 0; result < IDENTITY_RESULTS; result++)
    if (identity_result_occurs(way, (enum identity_result)result))
      buf_printf(out, "%s{%sresult=\"%s\"} %" PRIu64 "\n", name, label,
                 identity_result_name((enum identity_result)result), info->calls[way][result]);
}

static void put_sign_ins(const struct identity_info *info, struct buf *out) {
  metrics_head(out, "skerry_sign_ins_total", "counter",
               "Sign-ins that ended; half: a second factor is needed, which then counts itself.");
  for (unsigned way = IDENTITY_PASSWORD; way <= IDENTITY_SECOND_FACTOR; way++) {
    char label[48];
    snprintf(label, sizeof label, "way=\"%s\",", identity_way_name((enum identity_way)way));
    put_calls(info, "skerry_sign_ins_total", label, (enum identity_way)way, out);
  }
  metrics_head(
      out, "skerry_token_refreshes_total", "counter",
      "Refreshes that ended; again: the answer before was perhaps lost; reused: by a spent token, so the "
      "session ended.");
  put_calls(info, "skerry_token_refreshes_total", "", IDENTITY_REFRESH, out);
}

static void put_comings_and_goings(const struct identity_info *info, struct buf *out) {
  if (info->is_counted)
    metrics_gauge(out, "skerry_accounts", "Accounts that there are, about.", info->accounts);
  metrics_head(out, "skerry_accounts_made_total", "counter", "New accounts, by how they came.");
  for (unsigned way = IDENTITY_ANONYMOUS; way < IDENTITY_WAYS; way++)
    if (way != IDENTITY_SECOND_FACTOR && way != IDENTITY_REFRESH)
      buf_printf(out, "skerry_accounts_made_total{way=\"%s\"} %" PRIu64 "\n",
                 identity_way_name((enum identity_way)way), info->made[way]);
  metrics_head(out, "skerry_accounts_deleted_total", "counter", "Deleted accounts, by whom.");
  for (unsigned end = 0; end < IDENTITY_ENDS; end++)
    buf_printf(out, "skerry_accounts_deleted_total{by=\"%s\"} %" PRIu64 "\n",
               identity_end_name((enum identity_end)end), info->deleted[end]);
  metrics_counter(out, "skerry_sessions_expired_total", "Sessions that ended because nobody used them.",
                  info->sessions_expired);
}

static void put_secrets(const struct identity_info *info, struct buf *out) {
  metrics_counter(out, "skerry_attempts_total",
                  "Attempts at passwords, codes, mails and sign-ups that were let through.",
                  info->attempts.begun);
  metrics_counter(out, "skerry_attempts_refused_total", "Those that came too soon after failed ones.",
                  info->attempts.refused);
  metrics_gauge(out, "skerry_password_queue", "Passwords that wait to be hashed or checked.",
                info->hashes.waiting);
  metrics_counter(out, "skerry_password_hashes_total", "Passwords that were.", info->hashes.ran);
  metrics_counter(out, "skerry_password_hashes_refused_total", "For which there was no room to wait.",
                  info->hashes.refused);
  metrics_seconds(out, "skerry_password_hash_wait_seconds_total", "counter",
                  "How long they waited, together.", info->hashes.waited_us);
  metrics_seconds(out, "skerry_password_hash_seconds_total", "counter", "How long they took, together.",
                  info->hashes.took_us);
}

void admin_accounts_metrics(const struct admin *admin, struct buf *out) {
  struct identity_info info;
  if (admin->identity == NULL)
    return;
  identity_service_info(admin->identity, &info);
  put_comings_and_goings(&info, out);
  put_sign_ins(&info, out);
  put_secrets(&info, out);
}

static int64_t of_all_ways(const struct identity_info *info, enum identity_result result) {
  uint64_t all = 0;
  for (unsigned way = IDENTITY_PASSWORD; way <= IDENTITY_SECOND_FACTOR; way++)
    all += info->calls[way][result];
  return (int64_t)all;
}

Skerry__Admin__V1__AccountsStatus *admin_accounts_status(const struct admin *admin, struct arena *arena) {
  struct identity_info info;
  if (admin->identity == NULL)
    return NULL;
  Skerry__Admin__V1__AccountsStatus *ret = ARENA_NEW(arena, Skerry__Admin__V1__AccountsStatus);
  struct outbox_info mails;
  if (ret == NULL)
    return NULL;
  identity_service_info(admin->identity, &info);
  mail_info(admin->mail, &mails);
  skerry__admin__v1__accounts_status__init(ret);
  ret->counted = info.is_counted;
  ret->accounts = (int64_t)info.accounts;
  ret->sign_ins = of_all_ways(&info, IDENTITY_OK);
  ret->sign_ins_wrong = of_all_ways(&info, IDENTITY_WRONG);
  ret->sign_ins_limited = of_all_ways(&info, IDENTITY_LIMITED);
  ret->refreshes =
      (int64_t)(info.calls[IDENTITY_REFRESH][IDENTITY_OK] + info.calls[IDENTITY_REFRESH][IDENTITY_AGAIN]);
  ret->refresh_tokens_reused = (int64_t)info.calls[IDENTITY_REFRESH][IDENTITY_REUSED];
  ret->passwords_waiting = (int64_t)info.hashes.waiting;
  ret->mails_waiting = (int64_t)mails.waiting;
  ret->mails_sent = (int64_t)mails.sent;
  ret->mails_failed = (int64_t)(mails.refused + mails.expired);
  return ret;
}
