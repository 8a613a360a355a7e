#include "tests/unit/base/unit.h"

#include "base/clock.h"

static void test_clock_mono__never_goes_back(void **state)
{
    (void)state;
    uint64_t last = tpc_clock_mono_us();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = tpc_clock_mono_us();
        assert_true(now >= last);
        last = now;
    }
    assert_true(tpc_clock_mono_ms() >= last / 1000);
}

static void test_clock_wall__is_after_this_was_written(void **state)
{
    (void)state;
    assert_true(tpc_clock_wall_us() > UINT64_C(1700000000000000));
}

static void test_time_format__is_rfc3339_with_milliseconds(void **state)
{
    (void)state;
    char out[TPC_TIME_TEXT];
    assert_string_equal(tpc_time_format(0, out), "1970-01-01T00:00:00.000Z");
    assert_string_equal(tpc_time_format(UINT64_C(1763632800123999), out),
                        "2025-11-20T10:00:00.123Z");
    assert_string_equal(tpc_time_format(UINT64_C(951782400000000), out),
                        "2000-02-29T00:00:00.000Z");
}

static void test_time_format__beyond_four_digit_years_is_the_last(void **state)
{
    (void)state;
    char out[TPC_TIME_TEXT];
    assert_string_equal(tpc_time_format(UINT64_MAX, out), "9999-12-31T23:59:59.999Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_mono__never_goes_back),
        cmocka_unit_test(test_clock_wall__is_after_this_was_written),
        cmocka_unit_test(test_time_format__is_rfc3339_with_milliseconds),
        cmocka_unit_test(test_time_format__beyond_four_digit_years_is_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
