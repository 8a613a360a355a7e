/* The reader and the writer of JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct api_json *parse(const char *text)
{
    struct api_json *root = NULL;
    struct tpc_err err = {0};
    enum tpc_rc rc = api_json_parse(text, strlen(text), &root, &err);
    if (rc) {
        print_error("%s\n%s\n", text, err.text);
    }
    assert_int_equal(rc, TPC_OK);
    return root;
}

static void assert_refused_n(const char *text, size_t size, const char *words)
{
    /* An exact copy on the heap lets the sanitizer see a read beyond the end. */
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    struct api_json *root = NULL;
    struct tpc_err err = {0};
    assert_int_equal(api_json_parse(copy, size, &root, &err), TPC_ESYNTAX);
    assert_null(root);
    if (!strstr(err.text, words)) {
        fail_msg("for %s: \"%s\" lacks \"%s\"", text, err.text, words);
    }
    free(copy);
}

static void assert_refused(const char *text, const char *words)
{
    assert_refused_n(text, strlen(text), words);
}

/* Parse and print again. */
static void assert_prints(const char *text, const char *printed)
{
    struct api_json *root = parse(text);
    struct tpc_buf out = {0};
    api_json_print(&out, root);
    assert_string_equal(out.data, printed);
    tpc_buf_done(&out);
    api_json_free(root);
}

static void test_json_read__every_type(void **state)
{
    (void)state;
    struct api_json *root =
        parse(" {\"n\":null,\"t\":true,\"f\":false,\"i\":-12,\"d\":1.5e3,\"s\":\"x\",\"a\":[1,[]],"
              "\"o\":{}}\r\n\t");
    assert_int_equal(api_json_type(root), API_JSON_OBJECT);
    assert_int_equal(api_json_type(api_json_get(root, "n")), API_JSON_NULL);
    assert_true(api_json_bool(api_json_get(root, "t")));
    assert_false(api_json_bool(api_json_get(root, "f")));
    assert_int_equal(api_json_type(api_json_get(root, "f")), API_JSON_BOOL);
    assert_true(api_json_number(api_json_get(root, "i")) == -12);
    assert_true(api_json_number(api_json_get(root, "d")) == 1500);
    assert_string_equal(api_json_string(api_json_get(root, "s")), "x");
    assert_int_equal(api_json_type(api_json_get(root, "a")), API_JSON_ARRAY);
    assert_int_equal(api_json_count(api_json_get(root, "a")), 2);
    assert_int_equal(api_json_count(api_json_get(root, "o")), 0);
    assert_null(api_json_first(api_json_get(root, "o")));
    assert_null(api_json_get(root, "N")); /* names are compared exactly */
    assert_null(api_json_get(api_json_get(root, "a"), "x"));
    assert_null(api_json_string(api_json_get(root, "i")));
    assert_string_equal(api_json_name(api_json_next(api_json_first(root))), "t");
    assert_string_equal(api_json_type_name(API_JSON_STRING), "a string");
    api_json_free(root);
}

static void test_json_read__malformed_is_refused_with_the_offset(void **state)
{
    (void)state;
    assert_refused("", "at byte 0: expected a value");
    assert_refused("  ", "at byte 2: expected a value");
    assert_refused("{", "at byte 1: expected a member name");
    assert_refused("{\"a\"", "at byte 4: expected ':'");
    assert_refused("{\"a\":1", "at byte 6: expected ',' or '}', found the end");
    assert_refused("{\"a\":1,}", "at byte 7: expected a member name");
    assert_refused("{a:1}", "at byte 1: expected a member name in double quotes");
    assert_refused("[1,]", "at byte 3: expected a value");
    assert_refused("[1 2]", "at byte 3: expected ',' or ']'");
    assert_refused("[1}", "at byte 2: expected ',' or ']'");
    assert_refused("{} {}", "at byte 3: text after the end");
    assert_refused("nul", "at byte 0: expected a value");
    assert_refused("'x'", "at byte 0: expected a value");
    assert_refused("\xEF\xBB\xBF{}", "at byte 0: expected a value");
    assert_refused("[1,\f2]", "at byte 3: expected a value");
    assert_refused("NaN", "at byte 0");
    assert_refused("-Infinity", "at byte 1: expected a digit");
}

static void test_json_read__numbers_follow_the_grammar(void **state)
{
    (void)state;
    assert_refused("01", "at byte 0: a number must not begin with a zero");
    assert_refused("-01", "at byte 1: a number must not begin with a zero");
    assert_refused("+1", "at byte 0");
    assert_refused("1.", "at byte 2: expected a digit");
    assert_refused(".5", "at byte 0");
    assert_refused("1e", "at byte 2: expected a digit");
    assert_refused("1e+", "at byte 3: expected a digit");
    assert_refused("0x10", "at byte 1: text after the end");
    char digits[66] = "";
    memset(digits, '1', 64);
    assert_refused(digits, "longer than 63");
    digits[63] = '\0';
    api_json_free(parse(digits));
    assert_prints("[0,-1,1E2,1.25e-2]", "[0,-1,100,0.0125]");
}

static void test_json_read__strings_follow_the_grammar(void **state)
{
    (void)state;
    assert_refused("\"abc", "at byte 4: the text ends inside a string");
    assert_refused("\"a\nb\"", "at byte 2: a control character");
    assert_refused("\"\\x\"", "at byte 2: expected one of");
    assert_refused("\"\\", "at byte 2: expected one of");
    assert_refused("\"\\u12g4\"", "at byte 5: expected four hexadecimal digits");
    assert_refused("\"\\u12", "expected four hexadecimal digits");
    assert_refused("\"\\ud800\"", "a high surrogate without its low");
    assert_refused("\"\\ud800\\u0041\"", "a high surrogate without its low");
    assert_refused("\"\\udc00\"", "a low surrogate without its high");
    struct api_json *root = parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\ud83d\\ude00\"");
    assert_string_equal(api_json_string(root), "\"\\/\b\f\n\r\tA\xC3\xA9\xF0\x9F\x98\x80");
    api_json_free(root);
}

static void test_json_read__nul_is_refused(void **state)
{
    (void)state;
    assert_refused("\"a\\u0000b\"", "NUL");
    assert_refused_n("\"a\0b\"", 5, "at byte 2");
    assert_refused_n("{}\0", 3, "at byte 2: text after the end");
    assert_refused_n("[\0]", 3, "at byte 1: expected a value (strings");
    assert_refused_n("[\0]", 3, "found a NUL byte");
}

static void test_json_read__bad_utf8_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"\x80\"",         "\"\xC0\xAF\"",         "\"\xC3\"",     "\"\xE0\x80\xAF\"",
        "\"\xED\xA0\x80\"", "\"\xF4\x90\x80\x80\"", "\"\xFF\xFE\"", "\"\xF0\x9F\x98\"",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_refused(bad[i], "at byte 1: a string must be valid UTF-8");
    }
    assert_refused("\"\xE2\x82", "valid UTF-8");
    assert_prints("\"\xE2\x82\xAC \xF0\x9F\x98\x80\"", "\"\xE2\x82\xAC \xF0\x9F\x98\x80\"");
}

static void test_json_read__nesting_is_bounded(void **state)
{
    (void)state;
    char text[200];
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    text[128] = '\0';
    api_json_free(parse(text));
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    text[130] = '\0';
    assert_refused(text, "at byte 64: nested deeper than 64 levels");

    size_t size = 1000000;
    char *deep = malloc(size);
    assert_non_null(deep);
    memset(deep, '[', size);
    assert_refused_n(deep, size, "nested deeper");
    free(deep);
}

static void test_json_read__duplicate_members_are_refused(void **state)
{
    (void)state;
    assert_refused("{\"a\":1,\"b\":2,\"a\":3}", "\"a\" stands twice");
    assert_refused("[{\"x\":{\"\\u0061\":1,\"a\":2}}]", "\"a\" stands twice");
    assert_prints("[{\"a\":1},{\"a\":1},{\"A\":1,\"a\":2}]",
                  "[{\"a\":1},{\"a\":1},{\"A\":1,\"a\":2}]");
    struct tpc_buf many = {0};
    api_jw_open(&many, '{');
    for (int i = 0; i < 50000; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "m%d", i);
        api_jw_key(&many, name);
        api_jw_null(&many);
    }
    size_t size = many.size;
    api_jw_close(&many, '}');
    api_json_free(parse(many.data));
    many.size = size;
    tpc_buf_adds(&many, ",\"m77\":null}");
    assert_refused(many.data, "\"m77\" stands twice");
    tpc_buf_done(&many);
}

static void test_json_read__unsafe_integers_are_remembered(void **state)
{
    (void)state;
    struct api_json *root =
        parse("[9007199254740991,9007199254740992,{\"a\":[-9007199254740993,1]},"
              "-9007199254740991,18446744073709551617,1e22,12345678901234567.5,"
              "1e999,0.1]");
    static const bool unsafe[] = {false, true, false, false, true, false, false, false, false};
    const struct api_json *item = api_json_first(root);
    for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++) {
        assert_int_equal(api_json_is_unsafe_integer(item), unsafe[i]);
        if (i == 7) {
            assert_true(isinf(api_json_number(item)) != 0);
        }
        item = api_json_next(item);
    }
    assert_null(item);
    item = api_json_next(api_json_next(api_json_first(root)));
    item = api_json_get(item, "a");
    assert_true(api_json_is_unsafe_integer(api_json_first(item)));
    assert_false(api_json_is_unsafe_integer(api_json_next(api_json_first(item))));
    api_json_free(root);
    /* Not a digit is lost on the way through. */
    assert_prints("[1,18446744073709551617,{\"x\":-9007199254740993},1e999]",
                  "[1,18446744073709551617,{\"x\":-9007199254740993},1e999]");
}

static void test_json_read__u64(void **state)
{
    (void)state;
    struct api_json *root =
        parse("[0,9007199254740991,1e3,2.0,-1,1.5,9007199254740992,\"1\",true]");
    static const int64_t values[] = {0, 9007199254740991, 1000, 2, -1, -1, -1, -1, -1};
    const struct api_json *item = api_json_first(root);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint64_t value = 99;
        assert_int_equal(api_json_u64(item, &value), values[i] >= 0);
        assert_int_equal(value, values[i] >= 0 ? (uint64_t)values[i] : 99);
        item = api_json_next(item);
    }
    uint64_t value;
    assert_false(api_json_u64(NULL, &value));
    api_json_free(root);
}

static void test_json_write__structure(void **state)
{
    (void)state;
    struct tpc_id id;
    assert_true(tpc_id_parse("0199c0de-7a11-7c3e-9f00-5a2b1c0d0001", 36, &id));
    struct tpc_buf out = {0};
    api_jw_open(&out, '{');
    api_jw_key(&out, "a");
    api_jw_open(&out, '[');
    api_jw_null(&out);
    api_jw_bool(&out, true);
    api_jw_bool(&out, false);
    api_jw_u64(&out, UINT64_MAX);
    api_jw_i64(&out, INT64_MIN);
    api_jw_i64(&out, 0);
    api_jw_open(&out, '[');
    api_jw_close(&out, ']');
    api_jw_open(&out, '{');
    api_jw_close(&out, '}');
    api_jw_close(&out, ']');
    api_jw_key(&out, "id");
    api_jw_id(&out, &id);
    api_jw_key(&out, "raw");
    api_jw_raw(&out, "[1]", 3);
    api_jw_key(&out, "s");
    api_jw_str(&out, NULL);
    api_jw_close(&out, '}');
    tpc_buf_addc(&out, '\n');
    api_jw_open(&out, '[');
    api_jw_close(&out, ']');
    assert_string_equal(
        out.data, "{\"a\":[null,true,false,18446744073709551615,-9223372036854775808,0,[],{}],"
                  "\"id\":\"0199c0de-7a11-7c3e-9f00-5a2b1c0d0001\",\"raw\":[1],\"s\":null}\n[]");
    tpc_buf_done(&out);
}

static void test_json_write__strings_are_escaped(void **state)
{
    (void)state;
    struct tpc_buf out = {0};
    api_jw_open(&out, '[');
    api_jw_str(&out, "");
    api_jw_str(&out, "a,[{:");
    api_jw_str(&out, "\"\\/\b\f\n\r\t\x01\x1f\x7f");
    api_jw_str(&out, "\xE2\x82\xAC");
    api_jw_strn(&out, "a\0b", 3);
    api_jw_str(&out, "\xFFz\xE2\x82");
    api_jw_close(&out, ']');
    assert_string_equal(
        out.data, "[\"\",\"a,[{:\",\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\","
                  "\"\xE2\x82\xAC\",\"a\\u0000b\",\"\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\"]");
    tpc_buf_done(&out);
}

static void assert_double(double value, const char *text)
{
    struct tpc_buf out = {0};
    api_jw_double(&out, value);
    assert_string_equal(out.data, text);
    tpc_buf_done(&out);
}

static void test_json_write__doubles_are_short_and_exact(void **state)
{
    (void)state;
    assert_double(70, "70");
    assert_double(-0.0, "-0.0");
    assert_double(0.1, "0.1");
    assert_double(1.0 / 3.0, "0.3333333333333333");
    assert_double(5e-324, "4.94065645841247e-324");
    assert_double(9007199254740991.0, "9007199254740991");
    assert_double(-9007199254740992.0, "-9007199254740992.0");
    assert_double(1e22, "1e+22");
    assert_double((double)INFINITY, "null");
    assert_double((double)NAN, "null");
}

static void test_json_write__doubles_read_back_the_same(void **state)
{
    (void)state;
    uint64_t random = 0x9E3779B97F4A7C15u;
    for (int i = 0; i < 20000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        double value;
        memcpy(&value, &random, sizeof(value));
        if (i % 4 == 0) {
            value = (double)random;
        } else if (!isfinite(value)) {
            continue;
        }
        struct tpc_buf out = {0};
        api_jw_double(&out, value);
        struct api_json *root = parse(out.data);
        assert_true(api_json_number(root) == value);
        assert_false(api_json_is_unsafe_integer(root));
        api_json_free(root);
        tpc_buf_done(&out);
    }
    assert_prints("[1.7976931348623157e308,2.2250738585072014e-308]",
                  "[1.7976931348623157e+308,2.2250738585072014e-308]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_read__every_type),
        cmocka_unit_test(test_json_read__malformed_is_refused_with_the_offset),
        cmocka_unit_test(test_json_read__numbers_follow_the_grammar),
        cmocka_unit_test(test_json_read__strings_follow_the_grammar),
        cmocka_unit_test(test_json_read__nul_is_refused),
        cmocka_unit_test(test_json_read__bad_utf8_is_refused),
        cmocka_unit_test(test_json_read__nesting_is_bounded),
        cmocka_unit_test(test_json_read__duplicate_members_are_refused),
        cmocka_unit_test(test_json_read__unsafe_integers_are_remembered),
        cmocka_unit_test(test_json_read__u64),
        cmocka_unit_test(test_json_write__structure),
        cmocka_unit_test(test_json_write__strings_are_escaped),
        cmocka_unit_test(test_json_write__doubles_are_short_and_exact),
        cmocka_unit_test(test_json_write__doubles_read_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
