#include "server/mail_settings.h"

struct mail_options mail_settings_options(const struct settings *settings, struct kv_store *store,
                                          struct port *port) {
  return (struct mail_options){.store = store,
                               .port = port,
                               .dev = settings->dev,
                               .smtp = settings->smtp,
                               .smtp_user = settings->smtp_user,
                               .smtp_password_file = settings->smtp_password_file,
                               .smtp_insecure = settings->smtp_insecure,
                               .from = settings->mail_from,
                               .webhook = settings->mail_webhook,
                               .webhook_key_file = settings->mail_webhook_key_file,
                               .templates = settings->mail_templates,
                               .app_name = settings->mail_app_name,
                               .ca_file = settings->mail_ca,
                               .net_program = settings->net_program,
                               .net_user = settings->net_user,
                               .proxy = settings->net_proxy};
}
