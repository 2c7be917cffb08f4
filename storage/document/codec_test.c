#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/limits.h"
#include "storage/document/codec.h"
#include "storage/document/size.h"
#include "storage/document/wire_build.h"

static struct arena arena;

static int set_up(void **state) {
  (void)state;
  wire_build_init();
  arena_init(&arena, NULL, 0, (size_t)512 << 20);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  wire_build_fini();
  return 0;
}

static void assert_bytes(str got, str wanted) {
  if (!str_eq(got, wanted)) {
    for (size_t i = 0; i < got.len; i++)
      fprintf(stderr, "%02x ", (unsigned char)got.ptr[i]);
    fprintf(stderr, "<- got, wanted ->");
    for (size_t i = 0; i < wanted.len; i++)
      fprintf(stderr, " %02x", (unsigned char)wanted.ptr[i]);
    fail_msg("other bytes than wanted");
  }
}

static struct doc_map decode(str wire) {
  struct doc_document document;
  status s = doc_decode_document(wire, &arena, &document);
  if (!status_is_ok(&s))
    fail_msg("%s", s.message);
  return document.fields;
}

static str canonical(str wire) {
  str bytes;
  status s = doc_encode_fields(decode(wire), &arena, &bytes);
  assert_true(status_is_ok(&s));
  struct doc_map stored;
  s = doc_decode_fields(bytes, &arena, &stored); /* what we write, we read */
  if (!status_is_ok(&s))
    fail_msg("%s", s.message);
  str again;
  s = doc_encode_fields(stored, &arena, &again);
  assert_true(status_is_ok(&s));
  assert_bytes(again, bytes);
  return bytes;
}

static void assert_refused(str wire, enum status_code code, const char *text) {
  struct doc_document document;
  status s = doc_decode_document(wire, &arena, &document);
  assert_int_equal(s.code, code);
  if (strstr(s.message, text) == NULL)
    fail_msg("\"%s\" is not in \"%s\"", text, s.message);
}

#define REFERENCE STR("projects/p/databases/(default)/documents/c/d")

/* ---- Values ---- */

static void every_type_is_kept_and_canonical(void **state) {
  (void)state;
  str all[] = {V_NULL,
               V_BOOL(0),
               V_BOOL(1),
               V_INT(0),
               V_INT(-1),
               V_INT(INT64_MIN),
               V_INT(INT64_MAX),
               V_DOUBLE(0.0),
               V_DOUBLE(-0.0),
               V_DOUBLE(1.5),
               V_DOUBLE((double)INFINITY),
               V_REFERENCE(REFERENCE),
               V_STRING(STR("")),
               V_STRING(STR("a\0b")),
               V_STRING(STR("\xF0\x9F\x90\x9A")),
               V_BYTES(STR("")),
               V_BYTES(STR("\xFF\x00")),
               V_POINT(-90.0, 180.0),
               V_POINT(-0.0, -0.0),
               V_MAP(NOTHING),
               V_ARRAY(NOTHING),
               V_ARRAY(ITEM(V_NULL), ITEM(V_MAP(M("x", V_ARRAY(ITEM(V_INT(1))))))),
               V_TIME(1, 1000),
               V_TIME(-62135596800, 1000),
               V_TIME(253402300799, 999999000),
               raw_field(10, NOTHING)};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    str wire = F("field", all[i]);
    assert_bytes(canonical(wire), wire);
    struct doc_value value;
    status s = doc_decode_value(all[i], DOC_USE_FIELD, &arena, &value);
    assert_true(status_is_ok(&s));
    str bytes;
    s = doc_encode_value(&value, &arena, &bytes);
    assert_true(status_is_ok(&s));
    assert_bytes(bytes, all[i]);
  }
}

static void values_come_out_as_they_went_in(void **state) {
  (void)state;
  struct doc_map map =
      decode(JOIN(F("b", V_BOOL(1)), F("i", V_INT(-7)), F("d", V_DOUBLE(-0.0)), F("s", V_STRING(STR("a\0b"))),
                  F("p", V_POINT(1.5, -2.5)), F("a", V_ARRAY(ITEM(V_NULL), ITEM(V_BYTES(STR("z"))))),
                  F("m", V_MAP(M("k", V_REFERENCE(REFERENCE))))));
  assert_int_equal(map.count, 7);
  assert_true(doc_map_get(map, STR("b"))->as.boolean);
  assert_true(doc_map_get(map, STR("i"))->as.integer == -7);
  assert_true(signbit(doc_map_get(map, STR("d"))->as.number));
  assert_bytes(doc_map_get(map, STR("s"))->as.text, STR("a\0b"));
  assert_true(doc_map_get(map, STR("p"))->as.geo_point.longitude < -2.4);
  assert_int_equal(doc_map_get(map, STR("a"))->as.array.count, 2);
  assert_int_equal(doc_map_get(map, STR("a"))->as.array.items[1].type, DOC_BYTES);
  assert_int_equal(doc_map_get(doc_map_get(map, STR("m"))->as.map, STR("k"))->type, DOC_REFERENCE);
  assert_null(doc_map_get(map, STR("")));
  assert_null(doc_map_get(map, STR("zz")));
}

static void forms_that_differ_become_one(void **state) {
  (void)state;
  str nan = F("f", fixed64_field(3, UINT64_C(0x7FF8000000000000)));
  struct {
    str wire, wanted;
  } cases[] = {
      {F("f", fixed64_field(3, UINT64_C(0xFFF8000000000001))), nan},
      {F("f", V_BOOL(300)), F("f", V_BOOL(1))},
      {F("f", varint_field(11, 77)), F("f", V_NULL)},
      {F("f", V_TIME(0, 0)), F("f", raw_field(10, NOTHING))},
      {F("f", V_TIME(0, 999)), F("f", raw_field(10, NOTHING))},
      {F("f", V_TIME(1, 1999)), F("f", V_TIME(1, 1000))},
      {F("f", V_TIME(-1, 999999999)), F("f", V_TIME(-1, 999999000))},
      {F("f", V_POINT(0.0, 0.0)), F("f", raw_field(8, NOTHING))},
      /* lengths and numbers in more bytes than needed */
      {STR("\x92\x00\x8B\x80\x00\x0A\x81\x00"
           "f\x12\x84\x00\x10\x81\x80\x00"),
       F("f", V_INT(1))},
      /* value before key, keys sorted as bytes, a prefix first */
      {raw_field(2, JOIN(raw_field(2, V_NULL), raw_field(1, STR("f")))), F("f", V_NULL)},
      {JOIN(F("b", V_NULL), F("\xC3\xA4", V_NULL), F("aa", V_NULL), F("a", V_NULL), F("B", V_NULL)),
       JOIN(F("B", V_NULL), F("a", V_NULL), F("aa", V_NULL), F("b", V_NULL), F("\xC3\xA4", V_NULL))},
      {F("f", V_MAP(M("b", V_INT(1)), M("a\0", V_INT(2)), M("a", V_INT(3)))),
       F("f", V_MAP(M("a", V_INT(3)), M("a\0", V_INT(2)), M("b", V_INT(1))))},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_bytes(canonical(cases[i].wire), cases[i].wanted);
}

static void protobuf_rules_for_repeats(void **state) {
  (void)state;
  struct {
    str wire, wanted;
  } cases[] = {
      /* of a key the last entry counts, also when it is less */
      {JOIN(F("a", V_MAP(M("x", V_INT(1)))), F("b", V_NULL), F("a", V_MAP(M("y", V_INT(2))))),
       JOIN(F("a", V_MAP(M("y", V_INT(2)))), F("b", V_NULL))},
      /* of a oneof the last member */
      {F("f", JOIN(V_INT(1), V_STRING(STR("x")))), F("f", V_STRING(STR("x")))},
      {F("f", JOIN(V_STRING(STR("x")), V_STRING(STR("y")))), F("f", V_STRING(STR("y")))},
      {F("f", JOIN(V_MAP(M("x", V_NULL)), V_INT(1), V_MAP(M("y", V_NULL)))), F("f", V_MAP(M("y", V_NULL)))},
      /* a message-typed member that comes again merges */
      {F("f", JOIN(V_MAP(M("x", V_INT(1)), M("y", V_INT(2))), varint_field(99, 1), V_MAP(M("x", V_INT(3))))),
       F("f", V_MAP(M("x", V_INT(3)), M("y", V_INT(2))))},
      {F("f", JOIN(V_ARRAY(ITEM(V_INT(1))), V_ARRAY(ITEM(V_INT(2))))),
       F("f", V_ARRAY(ITEM(V_INT(1)), ITEM(V_INT(2))))},
      {F("f", JOIN(raw_field(10, varint_field(1, 5)), raw_field(10, varint_field(2, 7000)))),
       F("f", V_TIME(5, 7000))},
      {F("f", JOIN(raw_field(8, double_field(1, 1.0)), raw_field(8, double_field(2, 2.0)))),
       F("f", V_POINT(1.0, 2.0))},
      /* an entry's value that comes again merges; of its key the last counts */
      {raw_field(2, JOIN(raw_field(1, STR("a")), raw_field(2, V_ARRAY(ITEM(V_INT(1)))),
                         raw_field(1, STR("f")), raw_field(2, V_ARRAY(ITEM(V_INT(2)))))),
       F("f", V_ARRAY(ITEM(V_INT(1)), ITEM(V_INT(2))))},
      /* unknown fields, known ones of another wire type, groups */
      {JOIN(varint_field(2, 1), raw_field(77, STR("?")), F("f", JOIN(fixed64_field(99, 1), V_INT(1))),
            varint_field(1, 5)),
       F("f", V_INT(1))},
      {F("f", JOIN(V_INT(1), raw_field(2, STR("x")), varint_field(17, 3))), F("f", V_INT(1))},
      {JOIN(STR("\xFB\x01\x0A\x03"
                "abc\x13\x10\x01\x14\xFC\x01"),
            F("f", V_NULL)),
       F("f", V_NULL)},
      {F("f", V_ARRAY(STR("\x08\x01"), ITEM(V_NULL), STR("\x55\x01\x02\x03\x04"))),
       F("f", V_ARRAY(ITEM(V_NULL)))},
      /* times of the document are the server's */
      {JOIN(raw_field(3, STR("\xFF")), F("f", V_NULL), raw_field(4, varint_field(1, 1))), F("f", V_NULL)},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_bytes(canonical(cases[i].wire), cases[i].wanted);
}

/* More keys than are sorted in place. */
static void many_keys_are_sorted_and_the_last_counts(void **state) {
  (void)state;
  enum { COUNT = 1000 };
  str *shuffled = calloc(2 * COUNT, sizeof *shuffled), *sorted = calloc(COUNT, sizeof *sorted);
  for (size_t i = 0; i < COUNT; i++) {
    uint8_t *key = build_room(2);
    key[0] = (uint8_t)('a' + i / 100);
    key[1] = (uint8_t)(1 + i % 100);
    size_t place = i * 387 % COUNT; /* coprime: every place once */
    shuffled[place] = ENTRY(2, str_make(key, 2), V_INT(-1));
    shuffled[COUNT + place] = sorted[i] = ENTRY(2, str_make(key, 2), V_INT(i));
  }
  assert_bytes(canonical(join_all(shuffled, 2 * COUNT)), join_all(sorted, COUNT));
  free(shuffled);
  free(sorted);
}

static void a_document_has_a_name(void **state) {
  (void)state;
  struct doc_document document;
  status s = doc_decode_document(JOIN(raw_field(1, STR("old")), F("a", V_NULL), raw_field(1, STR("new"))),
                                 &arena, &document);
  assert_true(status_is_ok(&s));
  assert_bytes(document.name, STR("new"));
  s = doc_decode_document(NOTHING, &arena, &document);
  assert_true(status_is_ok(&s));
  assert_int_equal(document.name.len, 0);
  assert_int_equal(document.fields.count, 0);
  assert_bytes(canonical(NOTHING), NOTHING);
  assert_refused(raw_field(1, STR("\xFF")), STATUS_INVALID_ARGUMENT, "name is not valid UTF-8");
}

/* ---- What is refused ---- */

static str vector_of(size_t count, str value) {
  str *items = calloc(count + 1, sizeof *items);
  for (size_t i = 0; i < count; i++)
    items[i] = ITEM(value);
  str all = join_all(items, count);
  free(items);
  return V_MAP(M("__type__", V_STRING(STR("__vector__"))), M("value", raw_field(9, all)));
}

static void vectors(void **state) {
  (void)state;
  str wire = F("v", vector_of(LIMIT_VECTOR_DIMENSIONS, V_DOUBLE(1.0)));
  assert_bytes(canonical(wire), wire);
  assert_true(doc_value_is_vector(doc_map_get(decode(wire), STR("v"))));
  str swapped = V_MAP(M("value", V_ARRAY(ITEM(V_DOUBLE(1.0)))), M("__type__", V_STRING(STR("__vector__"))));
  assert_bytes(canonical(F("v", swapped)), F("v", vector_of(1, V_DOUBLE(1.0))));

  const char *no_vector = "property \"v\" has the reserved field \"__type__\"";
  assert_refused(F("v", vector_of(LIMIT_VECTOR_DIMENSIONS + 1, V_DOUBLE(1.0))), STATUS_INVALID_ARGUMENT,
                 "2048");
  assert_refused(F("v", vector_of(1, V_STRING(STR("x")))), STATUS_INVALID_ARGUMENT, "not a double");
  assert_refused(F("v", vector_of(1, V_INT(1))), STATUS_INVALID_ARGUMENT, "not a double");
  assert_refused(F("v", vector_of(0, V_NULL)), STATUS_INVALID_ARGUMENT, "without dimensions");
  assert_refused(F("v", V_MAP(M("__type__", V_STRING(STR("__vector__"))))), STATUS_INVALID_ARGUMENT,
                 no_vector);
  assert_refused(F("v", V_MAP(M("__type__", V_INT(1)), M("value", V_ARRAY(NOTHING)))),
                 STATUS_INVALID_ARGUMENT, no_vector);
  assert_refused(F("v", V_MAP(M("__type__", V_STRING(STR("other"))), M("value", V_ARRAY(NOTHING)))),
                 STATUS_INVALID_ARGUMENT, no_vector);
  assert_refused(
      F("v", V_MAP(M("__type__", V_STRING(STR("__vector__"))), M("value", V_ARRAY(NOTHING)), M("x", V_NULL))),
      STATUS_INVALID_ARGUMENT, no_vector);
  assert_refused(F("__type__", V_STRING(STR("__vector__"))), STATUS_INVALID_ARGUMENT, "__type__");
}

static void broken_rules_are_named(void **state) {
  (void)state;
  struct {
    str value;
    const char *text;
  } cases[] = {
      {NOTHING, "property \"f\" is not set"},
      {varint_field(99, 1), "is not set"},
      {raw_field(19, STR("a.b")), "only queries and pipelines"},
      {raw_field(20, NOTHING), "only queries and pipelines"},
      {raw_field(21, NOTHING), "only queries and pipelines"},
      {raw_field(22, STR("v")), "only queries and pipelines"},
      {V_STRING(STR("\xFF")), "not valid UTF-8"},
      {V_STRING(STR("\xED\xA0\x80")), "not valid UTF-8"},
      {V_STRING(STR("abcdefgh\xC0\x80")), "not valid UTF-8"},
      {V_STRING(repeat('x', LIMIT_VALUE_BYTES + 1)),
       "The value of property \"f\" is longer than 1048487 bytes."},
      {V_BYTES(repeat('x', LIMIT_VALUE_BYTES + 1)),
       "The value of property \"f\" is longer than 1048487 bytes."},
      {V_REFERENCE(STR("")), "not a valid reference"},
      {V_REFERENCE(STR("projects/p/databases/(default)/documents/c")), "not a valid reference"},
      {V_REFERENCE(STR("projects/p/databases/(default)/documents")), "not a valid reference"},
      {V_TIME(-62135596801, 0), "years 1 to 9999"},
      {V_TIME(253402300800, 0), "years 1 to 9999"},
      {V_TIME(0, 1000000000), "nanoseconds"},
      {V_TIME(0, -1), "nanoseconds"},
      {V_POINT(90.1, 0.0), "no point"},
      {V_POINT(0.0, -180.1), "no point"},
      {V_POINT((double)NAN, 0.0), "no point"},
      {V_ARRAY(ITEM(V_ARRAY(NOTHING))), "property \"f\" holds an array directly in an array"},
      {V_ARRAY(ITEM(V_MAP(M("g", V_ARRAY(ITEM(V_ARRAY(NOTHING))))))),
       "property \"g\" holds an array directly"},
      {V_ARRAY(ITEM(NOTHING)), "is not set"},
      {V_ARRAY(ITEM(V_NULL), ITEM(STR("\x08"))), "not valid protobuf"},
      {V_MAP(M("", V_NULL)), ""},
      {V_MAP(M("__x__", V_NULL)), "__x__"},
      {V_MAP(M("\xFF", V_NULL)), ""},
      {V_MAP(raw_field(1, NOTHING)), ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_refused(F("f", cases[i].value), STATUS_INVALID_ARGUMENT, cases[i].text);
    assert_refused(JOIN(F("a", V_NULL), F("f", cases[i].value), F("b", V_NULL)), STATUS_INVALID_ARGUMENT,
                   cases[i].text);
  }
  struct doc_value value;
  status s = doc_decode_value(NOTHING, DOC_USE_FIELD, &arena, &value);
  assert_string_equal(s.message,
                      "The value is not set: a Value needs one of its members, for null null_value.");
}

static void names_of_fields(void **state) {
  (void)state;
  str longest = repeat('n', LIMIT_ID_BYTES), longer = repeat('n', LIMIT_ID_BYTES + 1);
  str good[] = {STR("_"), STR("__"), STR("___"), STR("__x"), STR("x__"), STR("a.b`c\\"), STR("\0"), longest};
  str bad[] = {STR(""), STR("____"), STR("__name__"), STR("__a__"), STR("\xC3"), longer};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    str wire = ENTRY(2, good[i], V_MAP(ENTRY(1, good[i], V_NULL)));
    assert_bytes(canonical(wire), wire);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_refused(ENTRY(2, bad[i], V_INT(1)), STATUS_INVALID_ARGUMENT, "");
    assert_refused(F("m", V_MAP(ENTRY(1, bad[i], V_INT(1)))), STATUS_INVALID_ARGUMENT, "");
  }
}

static void longest_values(void **state) {
  (void)state;
  str wire = JOIN(F("b", V_BYTES(repeat('\xFF', LIMIT_VALUE_BYTES))),
                  F("s", V_STRING(repeat('x', LIMIT_VALUE_BYTES))));
  assert_bytes(canonical(wire), wire);
}

/* `value` in `depth` maps (and arrays between them) in each other. */
static str nested_around(str value, size_t depth, bool arrays) {
  for (size_t i = 0; i < depth; i++)
    value = arrays && i % 2 == 0 ? V_ARRAY(ITEM(value)) : V_MAP(M("m", value));
  return value;
}

static str nested(size_t depth, bool arrays) {
  return nested_around(V_NULL, depth, arrays);
}

static void nesting(void **state) {
  (void)state;
  for (int arrays = 0; arrays < 2; arrays++) {
    str wire = F("f", nested(LIMIT_VALUE_DEPTH, arrays));
    assert_bytes(canonical(wire), wire);
    assert_refused(F("f", nested(LIMIT_VALUE_DEPTH + 1, arrays)), STATUS_INVALID_ARGUMENT, "more than 20");
    struct doc_value value;
    status s = doc_decode_value(nested(LIMIT_VALUE_DEPTH, arrays), DOC_USE_FIELD, &arena, &value);
    assert_int_equal(s.code, STATUS_OK);
    s = doc_decode_value(nested(LIMIT_VALUE_DEPTH + 1, arrays), DOC_USE_FIELD, &arena, &value);
    assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  }
  assert_refused(F("f", nested(2000, false)), STATUS_INVALID_ARGUMENT, "more than 20");
  /* A vector has no depth of its own; nothing else may pose as one. */
  str vector = vector_of(2, V_DOUBLE(1.0));
  str wire = F("f", nested_around(vector, LIMIT_VALUE_DEPTH, false));
  assert_bytes(canonical(wire), wire);
  assert_refused(F("f", nested_around(vector, LIMIT_VALUE_DEPTH + 1, false)), STATUS_INVALID_ARGUMENT,
                 "more than");
  str posing[] = {
      V_MAP(NOTHING), V_ARRAY(NOTHING), V_MAP(M("value", V_ARRAY(ITEM(V_DOUBLE(1.0))))),
      V_MAP(M("__type__", V_STRING(STR("__vector__"))), M("value", V_MAP(NOTHING))),
      V_MAP(M("__type__", V_STRING(STR("__vector__"))), M("value", V_ARRAY(ITEM(V_MAP(NOTHING)))))};
  for (size_t i = 0; i < sizeof posing / sizeof posing[0]; i++)
    assert_refused(F("f", nested_around(posing[i], LIMIT_VALUE_DEPTH, false)), STATUS_INVALID_ARGUMENT,
                   "more than 20");
  /* Unknown groups in each other do not recurse. */
  str groups = JOIN(repeat('\x33', 10000), repeat('\x34', 10000));
  assert_refused(groups, STATUS_INVALID_ARGUMENT, "not valid protobuf");
  assert_refused(STR("\x33\x3C"), STATUS_INVALID_ARGUMENT, "not valid protobuf");
  assert_refused(STR("\x33\x3B\x34\x3C"), STATUS_INVALID_ARGUMENT, "not valid protobuf");
  groups = JOIN(repeat('\x33', LIMIT_MESSAGE_DEPTH), repeat('\x34', LIMIT_MESSAGE_DEPTH));
  assert_bytes(canonical(groups), NOTHING);
}

static void uses_differ(void **state) {
  (void)state;
  struct doc_value value;
  str array = V_ARRAY(ITEM(V_INT(1))), list = V_ARRAY(ITEM(array), ITEM(V_NULL));
  str deeper = V_ARRAY(ITEM(V_ARRAY(ITEM(array))));
  struct {
    str wire;
    enum status_code field, element, operand;
  } cases[] = {
      {array, STATUS_OK, STATUS_INVALID_ARGUMENT, STATUS_OK},
      {V_MAP(M("a", array)), STATUS_OK, STATUS_OK, STATUS_OK},
      {list, STATUS_INVALID_ARGUMENT, STATUS_INVALID_ARGUMENT, STATUS_OK},
      {deeper, STATUS_INVALID_ARGUMENT, STATUS_INVALID_ARGUMENT, STATUS_INVALID_ARGUMENT},
      {V_ARRAY(ITEM(V_MAP(M("a", list)))), STATUS_INVALID_ARGUMENT, STATUS_INVALID_ARGUMENT,
       STATUS_INVALID_ARGUMENT},
      {V_ARRAY(ITEM(nested(LIMIT_VALUE_DEPTH, false))), STATUS_INVALID_ARGUMENT, STATUS_INVALID_ARGUMENT,
       STATUS_OK},
      {V_ARRAY(ITEM(nested(LIMIT_VALUE_DEPTH + 1, false))), STATUS_INVALID_ARGUMENT, STATUS_INVALID_ARGUMENT,
       STATUS_INVALID_ARGUMENT},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    status s = doc_decode_value(cases[i].wire, DOC_USE_FIELD, &arena, &value);
    assert_int_equal(s.code, cases[i].field);
    s = doc_decode_value(cases[i].wire, DOC_USE_ELEMENT, &arena, &value);
    assert_int_equal(s.code, cases[i].element);
    s = doc_decode_value(cases[i].wire, DOC_USE_OPERAND, &arena, &value);
    assert_int_equal(s.code, cases[i].operand);
  }
}

static void cut_anywhere_is_refused_or_less(void **state) {
  (void)state;
  str wire = JOIN(F("a", V_ARRAY(ITEM(V_STRING(STR("text"))), ITEM(V_MAP(M("k", V_TIME(1, 2)))))),
                  F("b", V_POINT(1.0, 2.0)), F("c", V_DOUBLE(1.0)));
  str whole = canonical(wire);
  for (size_t i = 0; i < wire.len; i++) {
    uint8_t *exact = malloc(i + 1);
    memcpy(exact, wire.ptr, i);
    struct doc_document document;
    status s = doc_decode_document(str_make(exact, i), &arena, &document);
    assert_true(s.code == STATUS_INVALID_ARGUMENT || document.fields.count < 3);
    struct doc_map map;
    s = doc_decode_fields(str_make(exact, i), &arena, &map);
    assert_true(s.code == STATUS_DATA_LOSS || map.count < 3);
    free(exact);
  }
  assert_true(whole.len > 0);
}

static void stored_damage_is_data_loss(void **state) {
  (void)state;
  str cases[] = {STR("\x12"),
                 JOIN(F("b", V_NULL), F("a", V_NULL)),
                 JOIN(F("a", V_NULL), F("a", V_NULL)),
                 F("", V_NULL),
                 F("f", NOTHING),
                 F("f", V_TIME(253402300800, 0)),
                 F("f", V_ARRAY(ITEM(V_ARRAY(NOTHING)))),
                 F("f", nested(LIMIT_VALUE_DEPTH + 1, false))};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct doc_map map;
    status s = doc_decode_fields(cases[i], &arena, &map);
    assert_int_equal(s.code, STATUS_DATA_LOSS);
  }
}

/* Hostile shapes: memory stays a small multiple of the wire bytes, and the cap answers. */
static void memory_is_bounded(void **state) {
  (void)state;
  enum { COUNT = 100000 };
  str shapes[] = {
      V_NULL, V_ARRAY(NOTHING), V_MAP(NOTHING), V_MAP(M("a", V_NULL)), V_MAP(M("a", V_ARRAY(ITEM(V_NULL)))),
      NOTHING};
  for (size_t shape = 0; shape < sizeof shapes / sizeof shapes[0]; shape++) {
    str *items = calloc(COUNT, sizeof *items);
    for (size_t i = 0; i < COUNT; i++)
      items[i] = ITEM(shapes[shape]);
    str wire = F("f", raw_field(9, join_all(items, COUNT)));
    free(items);
    struct doc_document document;
    struct arena small;
    arena_init(&small, NULL, 0, wire.len * 7 + 300 * 1024); /* a block more */
    status s = doc_decode_document(wire, &small, &document);
    bool good = shape == 0 || shape == 2 || shape == 3 || shape == 4;
    assert_int_equal(s.code, good ? STATUS_OK : STATUS_INVALID_ARGUMENT);
    arena_fini(&small);
    arena_init(&small, NULL, 0, wire.len / 2);
    s = doc_decode_document(wire, &small, &document);
    assert_true(s.code == STATUS_RESOURCE_EXHAUSTED || (!good && s.code == STATUS_INVALID_ARGUMENT));
    arena_fini(&small);
  }
}

/* ---- Size ---- */

static void sizes_follow_the_formula(void **state) {
  (void)state;
  /* The documentation's own examples. */
  str name = STR("projects/p/databases/(default)/documents/users/jeff/tasks/my_task_id");
  assert_int_equal(doc_name_size(name), 44);
  str example = JOIN(F("type", V_STRING(STR("Personal"))), F("done", V_BOOL(0)), F("priority", V_INT(1)),
                     F("description", V_STRING(STR("Learn Cloud Firestore"))));
  assert_int_equal(doc_document_size(name, decode(example)), 147);
  struct {
    str value;
    size_t size;
  } cases[] = {{V_NULL, 1},
               {V_BOOL(1), 1},
               {V_INT(5), 8},
               {V_DOUBLE(1.0), 8},
               {V_TIME(1, 0), 8},
               {V_POINT(1.0, 1.0), 16},
               {V_STRING(STR("abc")), 4},
               {V_BYTES(STR("abc")), 3},
               {V_REFERENCE(REFERENCE), 16 + 2 + 2},
               {V_ARRAY(ITEM(V_INT(1)), ITEM(V_NULL)), 9},
               {V_ARRAY(NOTHING), 0},
               {V_MAP(NOTHING), 32},
               {V_MAP(M("ab", V_INT(1)), M("c", V_MAP(NOTHING))), 32 + 3 + 8 + 2 + 32},
               {vector_of(3, V_DOUBLE(1.0)), 24}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct doc_value value;
    status s = doc_decode_value(cases[i].value, DOC_USE_FIELD, &arena, &value);
    assert_true(status_is_ok(&s));
    assert_int_equal(doc_value_size(&value), cases[i].size);
  }
}

static void documents_are_limited(void **state) {
  (void)state;
  struct doc_limits limits = DOC_LIMITS_DEFAULT;
  size_t around = doc_name_size(REFERENCE) + 32 + 2 + 2 + 1;
  for (size_t over = 0; over < 2; over++) {
    size_t rest = LIMIT_DOCUMENT_BYTES - around - 1000000 + over;
    struct doc_map map =
        decode(JOIN(F("a", V_BYTES(repeat('x', 1000000))), F("b", V_STRING(repeat('x', rest)))));
    assert_int_equal(doc_document_size(REFERENCE, map), LIMIT_DOCUMENT_BYTES + over);
    status s = doc_document_check(REFERENCE, map, &limits);
    assert_int_equal(s.code, over ? STATUS_INVALID_ARGUMENT : STATUS_OK);
    limits.document_bytes = LIMIT_DOCUMENT_BYTES; /* a setting */
  }
  struct doc_map map = decode(F("f", nested(LIMIT_VALUE_DEPTH, false)));
  status s = doc_document_check(REFERENCE, map, &limits);
  assert_int_equal(s.code, STATUS_OK);
  map = decode(F("f", nested_around(vector_of(2, V_DOUBLE(1.0)), LIMIT_VALUE_DEPTH, false)));
  s = doc_document_check(REFERENCE, map, &limits);
  assert_int_equal(s.code, STATUS_OK);
  const struct doc_field deeper = {STR("g"), {.type = DOC_MAP, .as.map = map}};
  s = doc_document_check(REFERENCE, (struct doc_map){&deeper, 1}, &limits);
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  assert_non_null(strstr(s.message, "more than 20"));
}

/* ---- Equality ---- */

static void equality(void **state) {
  (void)state;
  struct {
    str a, b;
    bool equal;
  } cases[] = {
      {V_INT(1), V_DOUBLE(1.0), true},
      {V_DOUBLE(-0.0), V_INT(0), true},
      {V_DOUBLE(-0.0), V_DOUBLE(0.0), true},
      {V_DOUBLE((double)NAN), V_DOUBLE(-(double)NAN), true},
      {V_DOUBLE((double)NAN), V_DOUBLE(0.0), false},
      {V_DOUBLE((double)NAN), V_INT(0), false},
      {V_INT(INT64_MAX), V_DOUBLE(0x1p63), false},
      {V_INT(INT64_MIN), V_DOUBLE(-0x1p63), true},
      {V_INT((INT64_C(1) << 53) + 1), V_DOUBLE(0x1p53), false},
      {V_INT(1), V_DOUBLE(1.5), false},
      {V_BOOL(1), V_INT(1), false},
      {V_NULL, V_NULL, true},
      {V_STRING(STR("a")), V_BYTES(STR("a")), false},
      {V_STRING(STR("a\0b")), V_STRING(STR("a\0c")), false},
      {V_TIME(1, 1000), V_TIME(1, 1999), true},
      {V_POINT(0.0, 1.0), V_POINT(-0.0, 1.0), true},
      {V_POINT(0.0, 1.0), V_POINT(0.0, 2.0), false},
      {V_ARRAY(ITEM(V_INT(1)), ITEM(V_MAP(M("a", V_INT(2))))),
       V_ARRAY(ITEM(V_DOUBLE(1.0)), ITEM(V_MAP(M("a", V_DOUBLE(2.0))))), true},
      {V_ARRAY(ITEM(V_INT(1))), V_ARRAY(ITEM(V_INT(1)), ITEM(V_INT(1))), false},
      {V_MAP(M("a", V_INT(1)), M("b", V_INT(2))), V_MAP(M("b", V_INT(2)), M("a", V_INT(1))), true},
      {V_MAP(M("a", V_INT(1))), V_MAP(M("b", V_INT(1))), false},
      {V_MAP(M("a", V_MAP(M("x", V_INT(1)))), M("b", V_INT(2))),
       V_MAP(M("a", V_MAP(M("x", V_INT(1)))), M("b", V_INT(3))), false},
      {nested(LIMIT_VALUE_DEPTH, true), nested(LIMIT_VALUE_DEPTH, true), true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct doc_value a, b;
    status s = doc_decode_value(cases[i].a, DOC_USE_FIELD, &arena, &a);
    assert_true(status_is_ok(&s));
    s = doc_decode_value(cases[i].b, DOC_USE_FIELD, &arena, &b);
    assert_true(status_is_ok(&s));
    assert_int_equal(doc_value_equal(&a, &b), cases[i].equal);
    assert_int_equal(doc_value_equal(&b, &a), cases[i].equal);
  }
}

/* ---- Speed, by hand: document_codec_test bench ---- */

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The best of many short rounds: what else runs on the machine does not count. */
static void bench_one(const char *what, str wire) {
  enum { ROUNDS = 200, CALLS = 2000 };
  static _Alignas(max_align_t) char first[16384];
  struct arena local;
  arena_init(&local, first, sizeof first, 1 << 20);
  double best[2] = {1e18, 1e18};
  for (int round = 0; round < 2 * ROUNDS; round++) {
    bool encode = round % 2 == 1;
    double start = now_ns();
    for (int i = 0; i < CALLS; i++) {
      struct doc_document document;
      str bytes;
      status s = doc_decode_document(wire, &local, &document);
      if (encode && status_is_ok(&s))
        s = doc_encode_fields(document.fields, &local, &bytes);
      assert_true(status_is_ok(&s));
      arena_reset(&local);
    }
    double took = (now_ns() - start) / CALLS;
    if (took < best[encode])
      best[encode] = took;
  }
  printf("%s, %zu bytes: decode %.0f ns, decode and encode %.0f ns\n", what, wire.len, best[0], best[1]);
  arena_fini(&local);
}

static int bench(void) {
  wire_build_init();
  str flat = JOIN(F("name", V_STRING(STR("Skerry Lighthouse"))), F("city", V_STRING(STR("Stavanger"))),
                  F("age", V_INT(42)), F("score", V_DOUBLE(17.5)), F("active", V_BOOL(1)),
                  F("updated", V_TIME(1790000000, 123456000)),
                  F("note", V_STRING(STR("A rock at the edge of the sea, with a light on it."))));
  bench_one("flat, seven fields, unsorted", flat);
  str sorted = JOIN(F("active", V_BOOL(1)), F("age", V_INT(42)), F("city", V_STRING(STR("Stavanger"))),
                    F("name", V_STRING(STR("Skerry Lighthouse"))),
                    F("note", V_STRING(STR("A rock at the edge of the sea, with a light on it."))),
                    F("score", V_DOUBLE(17.5)), F("updated", V_TIME(1790000000, 123456000)));
  bench_one("flat, seven fields, sorted", sorted);
  str one = F("payload", V_STRING(repeat('x', 180)));
  bench_one("one string", one);
  str deep = F(
      "a", V_MAP(M("list", V_ARRAY(ITEM(V_INT(1)), ITEM(V_INT(2)), ITEM(V_MAP(M("k", V_STRING(STR("v"))))))),
                 M("other", V_MAP(M("x", V_DOUBLE(1.0)), M("y", V_DOUBLE(2.0)))),
                 M("tags", V_ARRAY(ITEM(V_STRING(STR("red"))), ITEM(V_STRING(STR("green")))))));
  bench_one("nested", deep);
  wire_build_fini();
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "bench") == 0)
    return bench();
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(every_type_is_kept_and_canonical),
      TEST(values_come_out_as_they_went_in),
      TEST(forms_that_differ_become_one),
      TEST(protobuf_rules_for_repeats),
      TEST(many_keys_are_sorted_and_the_last_counts),
      TEST(a_document_has_a_name),
      TEST(vectors),
      TEST(broken_rules_are_named),
      TEST(names_of_fields),
      TEST(longest_values),
      TEST(nesting),
      TEST(uses_differ),
      TEST(cut_anywhere_is_refused_or_less),
      TEST(stored_damage_is_data_loss),
      TEST(memory_is_bounded),
      TEST(sizes_follow_the_formula),
      TEST(documents_are_limited),
      TEST(equality),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
