#include "server/listener/certificate_time.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t certificate_time_s(const ASN1_TIME *time) {
  ASN1_TIME *epoch = ASN1_TIME_new();
  int days, seconds;
  int64_t result = INT64_MIN;
  if (epoch != NULL && certificate_time_set(epoch, 0) && ASN1_TIME_diff(&days, &seconds, epoch, time))
    result = (int64_t)days * 86400 + seconds;
  ASN1_TIME_free(epoch);
  ERR_clear_error();
  return result;
}

bool certificate_time_set(ASN1_TIME *time, int64_t seconds) {
  time_t when = (time_t)seconds;
  struct tm utc;
  if (gmtime_r(&when, &utc) == NULL)
    return false;
  char text[64];
  const int year = utc.tm_year + 1900;
  if (year >= 1950 && year < 2050) /* UTCTime: two digits */
    snprintf(text, sizeof text, "%02d", year % 100);
  else
    snprintf(text, sizeof text, "%04d", year);
  size_t len = strlen(text);
  snprintf(text + len, sizeof text - len, "%02d%02d%02d%02d%02dZ", utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
           utc.tm_min, utc.tm_sec);
  return ASN1_TIME_set_string(time, text) == 1;
}

int certificate_time_verify(int ok, X509_STORE_CTX *context, int64_t now_s) {
  int error = ok ? X509_V_OK : X509_STORE_CTX_get_error(context);
  if (error != X509_V_OK && error != X509_V_ERR_CERT_NOT_YET_VALID && error != X509_V_ERR_CERT_HAS_EXPIRED)
    return 0;
  const X509 *x509 = X509_STORE_CTX_get_current_cert(context);
  if (certificate_time_s(X509_get0_notBefore(x509)) > now_s)
    error = X509_V_ERR_CERT_NOT_YET_VALID;
  else if (certificate_time_s(X509_get0_notAfter(x509)) <= now_s)
    error = X509_V_ERR_CERT_HAS_EXPIRED;
  else
    error = X509_V_OK;
  X509_STORE_CTX_set_error(context, error);
  return error == X509_V_OK;
}
