/* math., hashing., latlng. */
#include <math.h>

#include "base/crypto.h"
#include "server/rules/builtin.h"
#include "server/rules/evaluation.h"

/* As Java's Math.round and casts: half goes up, what does not fit becomes the nearest that does, NaN 0. */
static int64_t to_integer(double number) {
  if (isnan(number))
    return 0;
  return number >= 9223372036854775807.0    ? INT64_MAX
         : number <= -9223372036854775808.0 ? INT64_MIN
                                            : (int64_t)number;
}

static double round_half_up(double number) {
  double below = floor(number);
  return number - below >= 0.5 ? below + 1 : below;
}

static bool call_math(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  const struct rules_value *value = &call->arguments[0];
  for (uint32_t i = 0; i < call->argument_count; i++)
    if (!rules_is_number(&call->arguments[i]))
      return false;
  double number = rules_to_double(value);
  bool is_int = value->kind == VALUE_INT;
  switch ((unsigned)call->node->number) {
  case MATH_ABS:
    if (is_int && value->as.integer == INT64_MIN)
      *ret = rules_error_value(e, RULES_ERROR_OVERFLOW, call->node);
    else
      *ret = is_int ? rules_int(value->as.integer < 0 ? -value->as.integer : value->as.integer)
                    : rules_float(fabs(number));
    return true;
  case MATH_CEIL:
    *ret = is_int ? *value : rules_float(ceil(number));
    return true;
  case MATH_FLOOR:
    *ret = is_int ? *value : rules_float(floor(number));
    return true;
  case MATH_ROUND:
    *ret = is_int ? *value : rules_int(to_integer(round_half_up(number)));
    return true;
  case MATH_SQRT:
    *ret = rules_float(sqrt(number));
    return true;
  case MATH_POW:
    *ret = rules_float(pow(number, rules_to_double(&call->arguments[1])));
    return true;
  case MATH_IS_NAN:
    *ret = rules_bool(isnan(number));
    return true;
  case MATH_IS_INFINITY:
    *ret = rules_bool(isinf(number) != 0);
    return true;
  default:
    return false;
  }
}

/* ---- hashing. ---- */

static uint32_t crc32_of(str bytes) {
  static const uint32_t nibbles[16] = {0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
                                       0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
                                       0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};
  uint32_t crc = 0xFFFFFFFF;
  for (size_t i = 0; i < bytes.len; i++) {
    crc ^= (unsigned char)bytes.ptr[i];
    crc = nibbles[crc & 15] ^ crc >> 4;
    crc = nibbles[crc & 15] ^ crc >> 4;
  }
  return ~crc;
}

static bool call_hashing(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  enum rules_builtin id = (enum rules_builtin)call->node->number;
  if (id < HASHING_CRC32 || id > HASHING_SHA256 ||
      (call->arguments[0].kind != VALUE_STRING && call->arguments[0].kind != VALUE_BYTES))
    return false;
  str bytes = call->arguments[0].as.bytes;
  uint8_t *out = rules_work(e, bytes.len / 8) ? rules_memory(e, CRYPTO_SHA256_BYTES, 1) : NULL;
  if (out == NULL)
    return true;
  size_t len = id == HASHING_SHA256 ? CRYPTO_SHA256_BYTES : id == HASHING_MD5 ? CRYPTO_MD5_BYTES : 4;
  if (id == HASHING_SHA256) {
    crypto_sha256(bytes, out);
  } else if (id == HASHING_MD5) {
    crypto_md5(bytes, out);
  } else { /* the least byte first */
    uint32_t crc = id == HASHING_CRC32 ? crc32_of(bytes) : crypto_crc32c(0, bytes);
    for (unsigned i = 0; i < 4; i++)
      out[i] = (uint8_t)(crc >> (8 * i));
  }
  *ret = (struct rules_value){.kind = VALUE_BYTES, .as.bytes = str_make(out, len)};
  return true;
}

/* ---- latlng ---- */

/* Metres on a sphere with the mean radius of the Earth. */
static double distance(const struct rules_value *a, const struct rules_value *b) {
  const double earth = 6371010.0, to_radians = 3.14159265358979323846 / 180;
  double lat_a = a->as.point.latitude * to_radians, lat_b = b->as.point.latitude * to_radians;
  double half_lat = sin((lat_b - lat_a) / 2),
         half_lng = sin((b->as.point.longitude - a->as.point.longitude) * to_radians / 2);
  double h = half_lat * half_lat + cos(lat_a) * cos(lat_b) * half_lng * half_lng;
  return 2 * earth * asin(sqrt(h < 1 ? h : 1));
}

static bool call_on_point(const struct rules_call *call, struct rules_value *ret) {
  if (call->node->number == METHOD_LATITUDE)
    *ret = rules_float(call->target->as.point.latitude);
  else if (call->node->number == METHOD_LONGITUDE)
    *ret = rules_float(call->target->as.point.longitude);
  else if (call->node->number == METHOD_DISTANCE && call->arguments[0].kind == VALUE_LATLNG)
    *ret = rules_float(distance(call->target, &call->arguments[0]));
  else
    return false;
  return true;
}

bool rules_call_number(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  if (call->target != NULL)
    return call->target->kind == VALUE_LATLNG && call_on_point(call, ret);
  if (call->node->number != LATLNG_VALUE)
    return call_math(e, call, ret) || call_hashing(e, call, ret);
  if (!rules_is_number(&call->arguments[0]) || !rules_is_number(&call->arguments[1]))
    return false;
  double latitude = rules_to_double(&call->arguments[0]), longitude = rules_to_double(&call->arguments[1]);
  if (!(latitude >= -90 && latitude <= 90 && longitude >= -180 && longitude <= 180)) {
    *ret = rules_error_value(e, RULES_ERROR_POINT, call->node);
    return true;
  }
  *ret = (struct rules_value){.kind = VALUE_LATLNG};
  ret->as.point.latitude = latitude;
  ret->as.point.longitude = longitude;
  return true;
}
