#include "participant/server_values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void assert_written(void (*write)(struct tpc_buf *, const char *, size_t), const char *text,
                           const char *json)
{
    struct tpc_buf out = {0};
    write(&out, text, strlen(text));
    assert_string_equal(out.data, json);
    tpc_buf_done(&out);
}

static void test_server_values__integers_keep_every_digit(void **state)
{
    (void)state;
    assert_written(part_write_integer, "-17", "-17");
    assert_written(part_write_integer, "9007199254740993", "{\"int64\":\"9007199254740993\"}");
    assert_written(part_write_integer, "99999999999999999999", "\"99999999999999999999\"");
    assert_written(part_write_integer, "1a", "\"1a\"");
}

static void test_server_values__decimals_are_numbers_where_a_double_holds_them(void **state)
{
    (void)state;
    assert_written(part_write_decimal, "12.50", "12.50");
    assert_written(part_write_decimal, "-0.1", "-0.1");
    assert_written(part_write_decimal, "300", "300");
    assert_written(part_write_decimal, "9007199254740993", "{\"int64\":\"9007199254740993\"}");
    assert_written(part_write_decimal, "1234567890.12345", "1234567890.12345");
    assert_written(part_write_decimal, "1234567890.123456", "\"1234567890.123456\"");
    assert_written(part_write_decimal, "NaN", "\"NaN\"");
    assert_written(part_write_decimal, "-Infinity", "\"-Infinity\"");
}

static void test_server_values__reals_are_finite_or_text(void **state)
{
    (void)state;
    assert_written(part_write_real, "0.1", "0.1");
    assert_written(part_write_real, "Infinity", "\"Infinity\"");
    assert_written(part_write_real, "NaN", "\"NaN\"");
}

static void assert_sent(const struct api_value value, const char *text)
{
    struct tpc_buf out = {0};
    part_text_of(&out, &value);
    assert_string_equal(out.data, text);
    assert_int_equal(out.size, strlen(text) + 1);
    tpc_buf_done(&out);
}

static void test_server_values__parameters_are_sent_as_text(void **state)
{
    (void)state;
    assert_sent((struct api_value){.type = API_BOOL, .boolean = true}, "true");
    assert_sent((struct api_value){.type = API_INT64, .int64 = INT64_MIN}, "-9223372036854775808");
    assert_sent((struct api_value){.type = API_DOUBLE, .real = 0.5}, "0.5");
    assert_sent((struct api_value){.type = API_NULL}, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_values__integers_keep_every_digit),
        cmocka_unit_test(test_server_values__decimals_are_numbers_where_a_double_holds_them),
        cmocka_unit_test(test_server_values__reals_are_finite_or_text),
        cmocka_unit_test(test_server_values__parameters_are_sent_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
