#include "server/firestore/listen_message.h"

#include <assert.h>

#include "base/wire.h"

/* Field numbers of google/firestore/v1: ListenResponse, and in write.proto, bloom_filter.proto. */
enum {
  RESPONSE_TARGET_CHANGE = 2,
  RESPONSE_DOCUMENT_CHANGE = 3,
  RESPONSE_DOCUMENT_DELETE = 4,
  RESPONSE_FILTER = 5,
  RESPONSE_DOCUMENT_REMOVE = 6,
  TARGET_CHANGE_TYPE = 1,
  TARGET_CHANGE_IDS = 2,
  TARGET_CHANGE_CAUSE = 3,
  TARGET_CHANGE_TOKEN = 4,
  TARGET_CHANGE_READ_TIME = 6,
  STATUS_CODE = 1,
  STATUS_MESSAGE = 2,
  DOCUMENT_CHANGE_DOCUMENT = 1,
  DOCUMENT_CHANGE_IDS = 5,
  DOCUMENT_CHANGE_REMOVED = 6,
  GONE_NAME = 1,
  GONE_READ_TIME = 4,
  DELETE_REMOVED = 6,
  REMOVE_REMOVED = 2,
  FILTER_TARGET_ID = 1,
  FILTER_COUNT = 2,
  FILTER_NAMES = 3,
  BLOOM_BITS = 1,
  BLOOM_HASH_COUNT = 2,
  BITS_BITMAP = 1,
  BITS_PADDING = 2,
};

/* Opens the response's one member, of `body` bytes. */
static uint8_t *begin(uint32_t member, size_t body, rpc_message *ret) {
  if (!rpc_message_alloc(wire_bytes_field_size(member, body), ret))
    return NULL;
  return wire_put_bytes_head(ret->data, member, body);
}

static bool end(const rpc_message *message, const uint8_t *at) {
  assert(at == message->data + message->len);
  (void)message;
  (void)at;
  return true;
}

static size_t number_size(uint32_t field, uint64_t number) {
  return number == 0 ? 0 : wire_varint_size((uint64_t)field << 3) + wire_varint_size(number);
}
static uint8_t *put_number(uint8_t *at, uint32_t field, uint64_t number) {
  return number == 0 ? at : wire_put_varint(wire_put_tag(at, field, WIRE_VARINT), number);
}

static size_t ids_body(struct listen_ids ids) {
  size_t size = 0;
  for (size_t i = 0; i < ids.count; i++)
    size += wire_varint_size((uint64_t)(int64_t)ids.ids[i]);
  return size;
}
static size_t ids_size(uint32_t field, struct listen_ids ids) {
  return ids.count == 0 ? 0 : wire_bytes_field_size(field, ids_body(ids));
}
static uint8_t *put_ids(uint8_t *at, uint32_t field, struct listen_ids ids) {
  if (ids.count == 0)
    return at;
  at = wire_put_bytes_head(at, field, ids_body(ids));
  for (size_t i = 0; i < ids.count; i++)
    at = wire_put_varint(at, (uint64_t)(int64_t)ids.ids[i]);
  return at;
}

bool listen_message_target(const struct listen_target_news *news, rpc_message *ret) {
  struct listen_ids ids = {&news->target_id, news->target_id != 0};
  str text = news->cause == NULL ? (str){0} : str_from_cstr(news->cause->message);
  size_t cause = 0, body = number_size(TARGET_CHANGE_TYPE, news->type) + ids_size(TARGET_CHANGE_IDS, ids);
  if (news->cause != NULL) {
    cause = number_size(STATUS_CODE, news->cause->code) + wire_bytes_field_size(STATUS_MESSAGE, text.len);
    body += wire_bytes_field_size(TARGET_CHANGE_CAUSE, cause);
  }
  if (news->token.len > 0)
    body += wire_bytes_field_size(TARGET_CHANGE_TOKEN, news->token.len);
  if (news->read_us != 0)
    body += wire_timestamp_field_size(TARGET_CHANGE_READ_TIME, news->read_us);
  uint8_t *at = begin(RESPONSE_TARGET_CHANGE, body, ret);
  if (at == NULL)
    return false;
  at = put_number(at, TARGET_CHANGE_TYPE, news->type);
  at = put_ids(at, TARGET_CHANGE_IDS, ids);
  if (news->cause != NULL) {
    at = put_number(wire_put_bytes_head(at, TARGET_CHANGE_CAUSE, cause), STATUS_CODE, news->cause->code);
    at = wire_put_bytes(at, STATUS_MESSAGE, text);
  }
  if (news->token.len > 0)
    at = wire_put_bytes(at, TARGET_CHANGE_TOKEN, news->token);
  if (news->read_us != 0)
    at = wire_put_timestamp(at, TARGET_CHANGE_READ_TIME, news->read_us);
  return end(ret, at);
}

bool listen_message_change(str name, const struct doc_record *record, struct listen_ids ids,
                           struct listen_ids removed, rpc_message *ret) {
  size_t document = doc_document_wire_size(name, record);
  size_t body = wire_bytes_field_size(DOCUMENT_CHANGE_DOCUMENT, document) +
                ids_size(DOCUMENT_CHANGE_IDS, ids) + ids_size(DOCUMENT_CHANGE_REMOVED, removed);
  uint8_t *at = begin(RESPONSE_DOCUMENT_CHANGE, body, ret);
  if (at == NULL)
    return false;
  at = wire_put_bytes_head(at, DOCUMENT_CHANGE_DOCUMENT, document);
  doc_document_wire_write(name, record, at);
  at = put_ids(at + document, DOCUMENT_CHANGE_IDS, ids);
  return end(ret, put_ids(at, DOCUMENT_CHANGE_REMOVED, removed));
}

bool listen_message_gone(str name, bool exists, struct listen_ids removed, int64_t read_us,
                         rpc_message *ret) {
  uint32_t member = exists ? RESPONSE_DOCUMENT_REMOVE : RESPONSE_DOCUMENT_DELETE;
  uint32_t ids_field = exists ? REMOVE_REMOVED : DELETE_REMOVED;
  size_t body = wire_bytes_field_size(GONE_NAME, name.len) + ids_size(ids_field, removed) +
                wire_timestamp_field_size(GONE_READ_TIME, read_us);
  uint8_t *at = begin(member, body, ret);
  if (at == NULL)
    return false;
  at = put_ids(wire_put_bytes(at, GONE_NAME, name), ids_field, removed);
  return end(ret, wire_put_timestamp(at, GONE_READ_TIME, read_us));
}

bool listen_message_filter(int32_t target_id, size_t count, const struct bloom_filter *names,
                           rpc_message *ret) {
  str bitmap = str_make(names->bits, bloom_filter_bytes(names));
  size_t bits =
      wire_bytes_field_size(BITS_BITMAP, bitmap.len) + number_size(BITS_PADDING, bloom_filter_padding(names));
  size_t bloom = wire_bytes_field_size(BLOOM_BITS, bits) + number_size(BLOOM_HASH_COUNT, names->hash_count);
  size_t body = number_size(FILTER_TARGET_ID, (uint64_t)(int64_t)target_id) +
                number_size(FILTER_COUNT, count) + wire_bytes_field_size(FILTER_NAMES, bloom);
  uint8_t *at = begin(RESPONSE_FILTER, body, ret);
  if (at == NULL)
    return false;
  at = put_number(at, FILTER_TARGET_ID, (uint64_t)(int64_t)target_id);
  at = put_number(at, FILTER_COUNT, count);
  at = wire_put_bytes_head(at, FILTER_NAMES, bloom);
  at = wire_put_bytes_head(at, BLOOM_BITS, bits);
  at = wire_put_bytes(at, BITS_BITMAP, bitmap);
  at = put_number(at, BITS_PADDING, bloom_filter_padding(names));
  return end(ret, put_number(at, BLOOM_HASH_COUNT, names->hash_count));
}
